/* Stage: where an async handler runs. It is what a task of the event loop carries out, made before there is a call:
 *
 * ```
 * WAITING   its task waits for `called`; calls begin in its name, and most end there: it waits on
 * CALLED    a call did not end at once: `called` is done, the task will come
 * GOING     the task carries the coroutine out
 * OVER
 * ```
 *
 * A coroutine stepped by hand must find a real task: asyncio.timeout, TaskGroup and others ask for the current one and
 * cancel it later. To make a task for each call costs as much as the rest of the call; so one is kept, and stands in
 * for the first step of call after call until one of them suspends and keeps it, or leaves something behind in it.
 * ("Extending asyncio" in Python's documentation: enter_task, leave_task)
 */

#include "stage.h"
#include <structmember.h>

enum { WAITING, CALLED, GOING, OVER };

struct Stage {
    PyObject_HEAD
    int state;
    PyObject *context, *task, *called;
    PyObject *coroutine, *waits_for, *ended, *running; /* from CALLED on */
};

/* ---- as the intake sees it ------------------------------------------------------------------------- */

Stage *new_stage(PyTypeObject *type, const Tasks *tasks, PyObject *context)
{
    Stage *stage = (Stage *)type->tp_alloc(type, 0);
    if (stage == NULL)
        return NULL;
    PyObject *names = Py_BuildValue("(s)", "context");
    stage->called = PyObject_CallNoArgs(tasks->create_future);
    stage->context = PyContext_Copy(context);
    if (names != NULL && stage->called != NULL && stage->context != NULL) {
        PyObject *args[] = {(PyObject *)stage, stage->context};
        stage->task = PyObject_Vectorcall(tasks->create_task, args, 1, names);
    }
    Py_XDECREF(names);
    if (stage->task == NULL)
        Py_CLEAR(stage);
    return stage;
}

PyObject *stage_task(Stage *stage) { return stage->task; }

PyObject *stage_context(Stage *stage) { return stage->context; }

PySendResult first_step(Stage *stage, const Tasks *tasks, PyObject *coroutine, PyObject **result)
{
    PyObject *args[] = {tasks->loop, stage->task};
    PyObject *entered = PyObject_Vectorcall(tasks->enter_task, args, 2, NULL);
    if (entered == NULL)
        return PYGEN_ERROR;
    Py_DECREF(entered);
    PySendResult step = PyIter_Send(coroutine, Py_None, result);
    PyObject *error = step == PYGEN_ERROR ? take_exception() : NULL;
    PyObject *left = PyObject_Vectorcall(tasks->leave_task, args, 2, NULL);
    if (left == NULL)
        PyErr_WriteUnraisable(stage->task); /* who swaps tasks under asyncio's feet must see to them himself */
    Py_XDECREF(left);
    if (error != NULL)
        raise_again(error);
    return step;
}

/* Lets the task of a stage that waits go on. */
static int wake(Stage *stage)
{
    PyObject *done = PyObject_CallMethod(stage->called, "done", NULL);
    int is_done = done != NULL ? PyObject_IsTrue(done) : -1;
    Py_XDECREF(done);
    if (is_done == 0) { /* else it was cancelled in this moment, and its task comes anyway */
        PyObject *woken = PyObject_CallMethod(stage->called, "set_result", "O", Py_None);
        is_done = woken != NULL ? 0 : -1;
        Py_XDECREF(woken);
    }
    return is_done < 0 ? -1 : 0;
}

int carry_on(Stage *stage, PyObject *coroutine, PyObject *waits_for, PyObject *ended, PyObject *running)
{
    stage->state = CALLED;
    stage->coroutine = Py_NewRef(coroutine);
    stage->waits_for = Py_NewRef(waits_for);
    stage->ended = Py_NewRef(ended);
    stage->running = Py_NewRef(running);
    return wake(stage);
}

/* Whether an attribute of the task is what it is where nobody has touched it. */
static int is_untouched(PyObject *task, const char *name, PyObject *untouched)
{
    PyObject *value = PyObject_GetAttrString(task, name);
    int same = value != NULL ? value == untouched : -1;
    Py_XDECREF(value);
    return same;
}

/* A task that is not asyncio's own may say nothing of itself: then it is not used again. */
static int or_unknown(int is)
{
    if (is < 0 && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return 0;
    }
    return is;
}

int is_free(Stage *stage)
{
    if (stage->state != WAITING)
        return 0;
    PyObject *done = PyObject_CallMethod(stage->called, "done", NULL);
    int is_waiting = done != NULL ? done == Py_False : -1; /* else its task was cancelled */
    Py_XDECREF(done);
    return is_waiting;
}

int is_clean(Stage *stage, PyObject *context)
{
    if (stage->state != WAITING)
        return 0;
    int is_same = PyObject_RichCompareBool(stage->context, context, Py_EQ);
    if (is_same > 0)
        is_same = is_untouched(stage->task, "_must_cancel", Py_False);
    if (is_same > 0)
        is_same = is_untouched(stage->task, "_callbacks", Py_None);
    return or_unknown(is_same);
}

void end_stage(Stage *stage)
{
    if (stage->state != WAITING)
        return;
    PyObject *error = PyErr_Occurred() ? take_exception() : NULL;
    stage->state = OVER;
    if (wake(stage) < 0)
        PyErr_WriteUnraisable((PyObject *)stage); /* the loop is closed */
    if (error != NULL)
        raise_again(error);
}

/* ---- as its task sees it: a coroutine -------------------------------------------------------------- */

static void is_over(Stage *stage)
{
    stage->state = OVER;
    Py_CLEAR(stage->task);
    Py_CLEAR(stage->called);
    Py_CLEAR(stage->coroutine);
    Py_CLEAR(stage->waits_for);
    Py_CLEAR(stage->ended);
    Py_CLEAR(stage->running);
    Py_CLEAR(stage->context);
}

/* Waits for a call, as awaiting the future would. */
static PySendResult wait_for_call(Stage *stage, PyObject **result)
{
    *result = NULL;
    if (PyObject_SetAttrString(stage->called, "_asyncio_future_blocking", Py_True) < 0)
        return PYGEN_ERROR;
    *result = Py_NewRef(stage->called);
    return PYGEN_NEXT;
}

/* The coroutine has ended, with a value or the error that is being raised. */
static PySendResult end_coroutine(Stage *stage, PyObject *value, PyObject **result) /* steals; NULL: an error */
{
    *result = NULL;
    PyObject *error = value == NULL ? take_exception() : NULL;
    PyObject *args[] = {stage->running, value != NULL ? value : Py_None, error != NULL ? error : Py_None};
    PyObject *dealt = PyObject_Vectorcall(stage->ended, args, 3, NULL);
    int done = dealt != NULL ? PyObject_IsTrue(dealt) : -1;
    Py_XDECREF(dealt);
    Py_XDECREF(value);
    is_over(stage);
    if (done == 0 && error != NULL) {
        raise_again(error);
        return PYGEN_ERROR;
    }
    Py_XDECREF(error);
    if (done < 0)
        return PYGEN_ERROR;
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static PySendResult go_on(Stage *stage, PyObject *sent, PyObject **result)
{
    PyObject *coroutine = Py_NewRef(stage->coroutine);
    PySendResult step = PyIter_Send(coroutine, sent, result);
    Py_DECREF(coroutine);
    return step == PYGEN_NEXT ? step : end_coroutine(stage, step == PYGEN_RETURN ? *result : NULL, result);
}

static PySendResult stage_send(Stage *stage, PyObject *sent, PyObject **result)
{
    switch (stage->state) {
    case WAITING:
        return wait_for_call(stage, result);
    case CALLED:
        stage->state = GOING;
        *result = stage->waits_for;
        stage->waits_for = NULL;
        if (*result != Py_None)
            return PYGEN_NEXT;
        Py_CLEAR(*result); /* it wanted one turn of the loop, and has had it */
        return go_on(stage, Py_None, result);
    case GOING:
        return go_on(stage, sent, result);
    default:
        is_over(stage);
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
}

/* Whether what the coroutine waits for takes the cancelling upon itself, as for any task that waits for it. */
static int passes_on(PyObject *waits_for)
{
    PyObject *cancel = PyObject_GetAttrString(waits_for, "cancel");
    PyObject *taken = cancel != NULL ? PyObject_CallNoArgs(cancel) : NULL;
    int passed = taken != NULL ? PyObject_IsTrue(taken) : -1;
    Py_XDECREF(cancel);
    Py_XDECREF(taken);
    if (passed < 0)
        PyErr_Clear(); /* None, or something strange: the coroutine gets it itself */
    return passed > 0;
}

static PySendResult throw_in(Stage *stage, PyObject *error, PyObject **result)
{
    PyObject *coroutine = Py_NewRef(stage->coroutine);
    *result = PyObject_CallMethod(coroutine, "throw", "O", error);
    Py_DECREF(coroutine);
    if (*result != NULL)
        return PYGEN_NEXT;
    PyObject *value = NULL;
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyObject *stop = take_exception();
        value = PyObject_GetAttrString(stop, "value");
        Py_DECREF(stop);
    }
    return end_coroutine(stage, value, result);
}

static PyObject *give(PySendResult step, PyObject *result) /* steals */
{
    if (step == PYGEN_NEXT)
        return result;
    if (step == PYGEN_RETURN) {
        if (result == Py_None)
            PyErr_SetNone(PyExc_StopIteration);
        Py_DECREF(result);
    }
    return NULL;
}

static PyObject *stage_throw(Stage *stage, PyObject *const *args, Py_ssize_t nargs)
{
    /* (error), or what older Pythons call: (class, error, traceback) */
    PyObject *error = nargs >= 2 && args[1] != Py_None ? args[1] : nargs >= 1 ? args[0] : NULL;
    if (error == NULL || (!PyExceptionInstance_Check(error) && !PyExceptionClass_Check(error))) {
        PyErr_SetString(PyExc_TypeError, "throw(error)");
        return NULL;
    }
    PyObject *result = NULL;
    if (stage->state == CALLED) {
        stage->state = GOING;
        PyObject *waits_for = stage->waits_for;
        stage->waits_for = NULL;
        if (waits_for != Py_None && passes_on(waits_for))
            return waits_for;
        Py_DECREF(waits_for);
    }
    if (stage->state == GOING) {
        PySendResult step = throw_in(stage, error, &result);
        return give(step, result);
    }
    is_over(stage);
    PyErr_SetObject(PyExceptionInstance_Check(error) ? (PyObject *)Py_TYPE(error) : error,
                    PyExceptionInstance_Check(error) ? error : NULL);
    return NULL;
}

static PyObject *stage_send_method(Stage *stage, PyObject *sent)
{
    PyObject *result = NULL;
    PySendResult step = stage_send(stage, sent, &result);
    return give(step, result);
}

static PyObject *stage_close(Stage *stage, PyObject *Py_UNUSED(ignored))
{
    PyObject *coroutine = stage->coroutine;
    Py_XINCREF(coroutine);
    is_over(stage);
    PyObject *closed = coroutine != NULL ? PyObject_CallMethod(coroutine, "close", NULL) : Py_NewRef(Py_None);
    Py_XDECREF(coroutine);
    return closed;
}

static PyObject *stage_self(Stage *stage) { return Py_NewRef(stage); }

static PyObject *stage_next(Stage *stage) { return stage_send_method(stage, Py_None); }

static int stage_traverse(Stage *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->context);
    Py_VISIT(self->task);
    Py_VISIT(self->called);
    Py_VISIT(self->coroutine);
    Py_VISIT(self->waits_for);
    Py_VISIT(self->ended);
    Py_VISIT(self->running);
    return 0;
}

static int stage_clear(Stage *self)
{
    is_over(self);
    return 0;
}

static void stage_dealloc(Stage *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    is_over(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef stage_methods[] = {
    {"send", (PyCFunction)stage_send_method, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))stage_throw, METH_FASTCALL, NULL},
    {"close", (PyCFunction)stage_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot stage_slots[] = {
    {Py_tp_doc, PyDoc_STR("What the task of an async handler carries out.")},
    {Py_tp_dealloc, stage_dealloc},
    {Py_tp_traverse, stage_traverse},
    {Py_tp_clear, stage_clear},
    {Py_tp_iter, stage_self},
    {Py_tp_iternext, stage_next},
    {Py_am_await, stage_self},
    {Py_am_send, stage_send},
    {Py_tp_methods, stage_methods},
    {0, NULL},
};

static PyType_Spec stage_spec = {
    .name = "splnode.wire._native.Stage",
    .basicsize = sizeof(Stage),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = stage_slots,
};

int add_stage(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &stage_spec, NULL);
    int failed = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return failed;
}
