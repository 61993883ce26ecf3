/* How a fault is told: the class, the limit, and the path to where it is. */

#include "budget.h"
#include <stdio.h>

void *fail(PyObject *class, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    PyErr_FormatV(class, format, args);
    va_end(args);
    return NULL;
}

void *fail_limit(State *state, const char *limit, Py_ssize_t allowed, const char *what)
{
    PyObject *error = PyObject_CallFunction(state->limit_exceeded, "sns", limit, allowed, what);
    if (error != NULL) {
        PyErr_SetObject(state->limit_exceeded, error);
        Py_DECREF(error);
    }
    return NULL;
}

void at(State *state, PyObject *step)
{
    PyObject *error = take_exception();
    if (step != NULL && error != NULL && PyObject_TypeCheck(error, (PyTypeObject *)state->data_error)) {
        PyObject *done = PyObject_CallMethod(error, "at", "O", step);
        if (done == NULL)
            PyErr_Clear(); /* a path that is short of a step is better than another error */
        Py_XDECREF(done);
    }
    Py_XDECREF(step);
    if (error != NULL)
        raise_again(error);
}

void at_field(State *state, PyObject *name) { at(state, PyUnicode_FromFormat(".%U", name)); }
void at_index(State *state, Py_ssize_t index) { at(state, PyUnicode_FromFormat("[%zd]", index)); }
void at_key(State *state, PyObject *key) { at(state, PyUnicode_FromFormat("[\"%U\"]", key)); }

void *blame_data(PyObject *class)
{
    if (PyErr_ExceptionMatches(PyExc_ValueError) || PyErr_ExceptionMatches(PyExc_ArithmeticError)) {
        PyObject *error = take_exception();
        PyErr_Format(class, "%S", error);
        Py_XDECREF(error);
    }
    return NULL;
}

void blame_depth(State *state, const Limits *limits)
{
    if (PyErr_ExceptionMatches(PyExc_RecursionError)) {
        PyErr_Clear();
        fail_limit(state, "depth", limits->depth, "nested deeper than the interpreter's stack");
    }
}

int refuse_length(Budget *budget, int64_t length)
{
    char what[64];
    snprintf(what, sizeof what, "a bytes, string or fixed of %lld", (long long)length);
    fail_limit(budget->state, "message_bytes", budget->limits->message_bytes, what);
    return -1;
}
