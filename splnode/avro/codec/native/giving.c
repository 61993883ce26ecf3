/* What is not done for most values that are read: see giving.h. */

#include "giving.h"

static void *not_utf8(State *state)
{
    if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyObject *error = take_exception(), *reason = PyUnicodeDecodeError_GetReason(error);
        Py_ssize_t start = -1;
        if (reason != NULL && PyUnicodeDecodeError_GetStart(error, &start) == 0)
            fail(state->decode_error, "a string that is not UTF-8: %U at its byte %zd", reason, start);
        Py_XDECREF(reason);
        Py_DECREF(error);
    }
    return NULL;
}

PyObject *new_text(State *state, const uint8_t *bytes, Py_ssize_t length, Recent *place)
{
    PyObject *string = PyUnicode_DecodeUTF8((const char *)bytes, length, NULL);
    if (string == NULL)
        return not_utf8(state);
    if (place != NULL) {
        memcpy(place->bytes, bytes, (size_t)length);
        place->length = (uint8_t)length;
        Py_XSETREF(place->string, Py_NewRef(string));
    }
    return string;
}

PyObject *converted(State *state, const ReadNode *node, PyObject *raw)
{
    if (raw == NULL)
        return NULL;
    PyObject *value = PyObject_CallOneArg(node->logical, raw);
    Py_DECREF(raw);
    return value != NULL ? value : blame_data(state->decode_error);
}

PyObject *promoted_bytes(State *state, const ReadNode *node, const uint8_t *bytes,
                                             Py_ssize_t length)
{
    PyObject *value = text(state, bytes, length);
    if (value != NULL && node->promote == TO_BYTES) /* the writer's string had to be UTF-8 all the same */
        Py_SETREF(value, PyBytes_FromStringAndSize((const char *)bytes, length));
    return finish(state, node, value);
}

int set_defaults(Making *making)
{
    const ReadNode *node = making->node;
    for (Py_ssize_t i = 0; i < node->default_count; i++) {
        PyObject *value = PyObject_CallNoArgs(node->defaults[i].make);
        if (value == NULL)
            return -1;
        Py_ssize_t place = node->defaults[i].place;
        if (set_field(making, place, node->names[place], value) < 0)
            return -1;
    }
    return 0;
}

void drop_record(Making *making)
{
    Py_CLEAR(making->dict);
    Py_CLEAR(making->object);
    if (making->values != NULL) {
        for (Py_ssize_t i = 0; i < making->node->places; i++)
            Py_XDECREF(making->values[i]);
        if (making->node->places > FEW)
            PyMem_Free(making->values - 1);
    }
}

PyObject *call_factory(State *state, Making *making)
{
    const ReadNode *node = making->node;
    size_t flags = PY_VECTORCALL_ARGUMENTS_OFFSET;
    if (node->keywords == NULL)
        flags |= (size_t)node->places;
    PyObject *value = PyObject_Vectorcall(node->factory, making->values, flags, node->keywords);
    drop_record(making);
    if (value == NULL) { /* its __post_init__ does not like them */
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyObject *error = take_exception();
            PyErr_Format(state->decode_error, "%S", error);
            Py_XDECREF(error);
        }
        return blame_data(state->decode_error);
    }
    return value;
}
