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
 * for the first step of call after call until one of them suspends, and keeps it till it ends, or leaves something in it.
 * ("Extending asyncio" in Python's documentation: enter_task, leave_task)
 */

#include "stage.h"
#include <structmember.h>

enum { WAITING, CALLED, GOING, OVER };

/* The names that are asked for in every call. */
enum { DONE, SET_RESULT, BLOCKING, MUST_CANCEL, CALLBACKS, CANCELLING, TASK_NAMES };
static const char *const task_names[TASK_NAMES] = {
    "done", "set_result", "_asyncio_future_blocking", "_must_cancel", "_callbacks", "cancelling",
};

struct Stages {
    PyObject_HEAD
    PyObject *stage_type;
    PyObject *context; /* each stage has a copy */
    PyObject *loop, *create_future, *create_task, *enter_task, *leave_task, *current_task;
    PyObject *names[TASK_NAMES], *context_name; /* the last a tuple */
    bool closed;
    int spares;
    Stage *spare[SPARES]; /* those that wait */
};

/* ---- a stage as the intake sees it ----------------------------------------------------------------- */

static Stage *new_stage(Stages *stages)
{
    PyTypeObject *type = (PyTypeObject *)stages->stage_type;
    Stage *stage = (Stage *)type->tp_alloc(type, 0);
    if (stage == NULL)
        return NULL;
    stage->stages = (Stages *)Py_NewRef(stages);
    stage->begun = true;
    stage->called = PyObject_CallNoArgs(stages->create_future);
    stage->context = stage->called != NULL ? PyContext_Copy(stages->context) : NULL;
    if (stage->context != NULL) {
        PyObject *args[] = {(PyObject *)stage, stage->context};
        stage->task = PyObject_Vectorcall(stages->create_task, args, 1, stages->context_name);
    }
    if (stage->task == NULL)
        Py_CLEAR(stage);
    return stage;
}

PySendResult first_step(Stage *stage, PyObject *coroutine, PyObject **result)
{
    PyObject *args[] = {stage->stages->loop, stage->task};
    PyObject *entered = PyObject_Vectorcall(stage->stages->enter_task, args, 2, NULL);
    if (entered == NULL)
        return PYGEN_ERROR;
    Py_DECREF(entered);
    PySendResult step = PyIter_Send(coroutine, Py_None, result);
    PyObject *error = step == PYGEN_ERROR ? take_exception() : NULL;
    PyObject *left = PyObject_Vectorcall(stage->stages->leave_task, args, 2, NULL);
    if (left == NULL)
        PyErr_WriteUnraisable(stage->task); /* who swaps tasks under asyncio's feet must see to them himself */
    Py_XDECREF(left);
    if (error != NULL)
        raise_again(error);
    return step;
}

/* Whether the future is done that the stage waits for. -1 with an exception. */
static int is_called(Stage *stage)
{
    PyObject *done = PyObject_CallMethodNoArgs(stage->called, stage->stages->names[DONE]);
    int is_done = done != NULL ? PyObject_IsTrue(done) : -1;
    Py_XDECREF(done);
    return is_done;
}

/* Lets the task of a stage that waits go on. */
static int wake(Stage *stage)
{
    int is_done = is_called(stage);
    if (is_done == 0) { /* else it was cancelled in this moment, and its task comes anyway */
        PyObject *woken = PyObject_CallMethodOneArg(stage->called, stage->stages->names[SET_RESULT], Py_None);
        is_done = woken != NULL ? 0 : -1;
        Py_XDECREF(woken);
    }
    return is_done < 0 ? -1 : 0;
}

int carry_on(Stage *stage, PyObject *coroutine, PyObject *waits_for)
{
    stage->state = CALLED;
    stage->coroutine = Py_NewRef(coroutine);
    stage->waits_for = Py_NewRef(waits_for);
    return wake(stage);
}

/* Whether a call may begin in it: nobody has cancelled it meanwhile. -1 with an exception. */
static int is_free(Stage *stage)
{
    int called = stage->state == WAITING ? is_called(stage) : 1; /* else its task was cancelled */
    return called < 0 ? -1 : !called;
}

/* Whether an attribute of the task is what it is where nobody has touched it. */
static int is_untouched(Stage *stage, int name, PyObject *untouched)
{
    PyObject *value = PyObject_GetAttr(stage->task, stage->stages->names[name]);
    int same = value != NULL ? value == untouched : -1;
    Py_XDECREF(value);
    return same;
}

/* Whether every cancelling of the task was taken back. */
static int is_not_cancelled(Stage *stage)
{
    PyObject *count = PyObject_CallMethodNoArgs(stage->task, stage->stages->names[CANCELLING]);
    int none = count != NULL ? !PyObject_IsTrue(count) : -1;
    Py_XDECREF(count);
    return none;
}

/* Whether a call that is over has left nothing in it. */
static bool is_clean(Stage *stage)
{
    PyObject *error = PyErr_Occurred() ? take_exception() : NULL;
    int clean = PyObject_RichCompareBool(stage->context, stage->stages->context, Py_EQ);
    if (clean > 0)
        clean = is_untouched(stage, MUST_CANCEL, Py_False);
    if (clean > 0)
        clean = is_untouched(stage, CALLBACKS, Py_None);
    if (clean > 0)
        clean = is_not_cancelled(stage);
    if (clean < 0)
        PyErr_Clear(); /* a value that cannot be compared is another; a task that is not asyncio's says nothing */
    if (error != NULL)
        raise_again(error);
    return clean > 0;
}

/* Ends one that waits for a call. */
static void end_stage(Stage *stage)
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

/* ---- those that wait ------------------------------------------------------------------------------- */

static bool keep_stage(Stage *stage)
{
    Stages *stages = stage->stages;
    if (stages->closed || stages->spares >= SPARES || !is_clean(stage))
        return false;
    stages->spare[stages->spares++] = (Stage *)Py_NewRef(stage);
    return true;
}

void give_stage_back(Stage *stage)
{
    if (!keep_stage(stage))
        end_stage(stage);
}

Stage *take_stage(Stages *stages)
{
    while (stages->spares > 0) {
        Stage *stage = stages->spare[--stages->spares];
        int usable = is_free(stage);
        if (usable > 0)
            return stage;
        if (usable == 0)
            end_stage(stage);
        Py_DECREF(stage);
        if (usable < 0)
            return NULL;
    }
    return new_stage(stages);
}

int is_nobodys_turn(Stages *stages)
{
    PyObject *task = PyObject_CallOneArg(stages->current_task, stages->loop);
    int nobodys = task != NULL ? task == Py_None : -1;
    Py_XDECREF(task);
    return nobodys;
}

/* ---- as its task sees it: a coroutine -------------------------------------------------------------- */

/* Nothing is kept of a call. */
static void forget_call(Stage *stage)
{
    Py_CLEAR(stage->coroutine);
    Py_CLEAR(stage->waits_for);
    Py_CLEAR(stage->intake);
    Py_CLEAR(stage->entry);
    Py_CLEAR(stage->codec);
    Py_CLEAR(stage->handler);
    Py_CLEAR(stage->call);
    Py_CLEAR(stage->token);
    Py_CLEAR(stage->serving);
}

static void is_over(Stage *stage)
{
    stage->state = OVER;
    forget_call(stage);
    Py_CLEAR(stage->task);
    Py_CLEAR(stage->called);
    Py_CLEAR(stage->context);
    Py_CLEAR(stage->stages);
}

/* Waits for a call, as awaiting the future would. */
static PySendResult wait_for_call(Stage *stage, PyObject **result)
{
    *result = NULL;
    if (PyObject_SetAttr(stage->called, stage->stages->names[BLOCKING], Py_True) < 0)
        return PYGEN_ERROR;
    *result = Py_NewRef(stage->called);
    return PYGEN_NEXT;
}

/* Back to waiting, for another call. */
static PySendResult wait_again(Stage *stage, PyObject **result)
{
    PyObject *called = PyObject_CallNoArgs(stage->stages->create_future);
    if (called == NULL) {
        *result = NULL;
        return PYGEN_ERROR;
    }
    Py_XSETREF(stage->called, called);
    forget_call(stage);
    stage->state = WAITING;
    return wait_for_call(stage, result);
}

/* The coroutine has ended, with a value or the error that is being raised. */
static PySendResult end_coroutine(Stage *stage, PyObject *value, PyObject **result) /* steals; NULL: an error */
{
    *result = NULL;
    PyObject *error = value == NULL ? take_exception() : NULL;
    int dealt = call_ended(stage, value, error);
    bool kept = dealt > 0 && value != NULL && leave_call(stage) && keep_stage(stage);
    Py_XDECREF(value);
    if (kept) {
        PySendResult waits = wait_again(stage, result);
        if (waits == PYGEN_ERROR)
            is_over(stage);
        return waits;
    }
    is_over(stage);
    if (dealt == 0 && error != NULL) {
        raise_again(error);
        return PYGEN_ERROR;
    }
    Py_XDECREF(error);
    if (dealt < 0)
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
    Py_VISIT(self->stages);
    Py_VISIT(self->intake);
    Py_VISIT(self->context);
    Py_VISIT(self->task);
    Py_VISIT(self->called);
    Py_VISIT(self->coroutine);
    Py_VISIT(self->waits_for);
    Py_VISIT(self->entry);
    Py_VISIT(self->codec);
    Py_VISIT(self->handler);
    Py_VISIT(self->call);
    Py_VISIT(self->token);
    Py_VISIT(self->serving);
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

/* What the holder sees of a call that was suspended; `serving` is its own. */
static PyMemberDef stage_members[] = {
    {"task", T_OBJECT, offsetof(Stage, task), READONLY, NULL},
    {"call", T_OBJECT, offsetof(Stage, call), READONLY, NULL},
    {"codec", T_OBJECT, offsetof(Stage, codec), READONLY, NULL},
    {"handler", T_OBJECT, offsetof(Stage, handler), READONLY, NULL},
    {"serving", T_OBJECT, offsetof(Stage, serving), 0, NULL},
    {"serial", T_UINT, offsetof(Stage, serial), READONLY, NULL},
    {"began", T_DOUBLE, offsetof(Stage, began), READONLY, NULL},
    {"placed", T_BOOL, offsetof(Stage, placed), READONLY, NULL},
    {"begun", T_BOOL, offsetof(Stage, begun), READONLY, NULL},
    {"weight", T_PYSSIZET, offsetof(Stage, weight), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
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
    {Py_tp_members, stage_members},
    {0, NULL},
};

static PyType_Spec stage_spec = {
    .name = "splnode.wire._native.Stage",
    .basicsize = sizeof(Stage),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = stage_slots,
};

/* ---- the stages of a loop -------------------------------------------------------------------------- */

static PyObject *stages_close(Stages *self, PyObject *Py_UNUSED(ignored))
{
    self->closed = true;
    while (self->spares > 0) {
        Stage *stage = self->spare[--self->spares];
        end_stage(stage);
        Py_DECREF(stage);
    }
    Py_RETURN_NONE;
}

static int stages_traverse(Stages *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->stage_type);
    Py_VISIT(self->context);
    Py_VISIT(self->loop);
    Py_VISIT(self->create_future);
    Py_VISIT(self->create_task);
    Py_VISIT(self->enter_task);
    Py_VISIT(self->leave_task);
    Py_VISIT(self->current_task);
    for (int i = 0; i < self->spares; i++)
        Py_VISIT(self->spare[i]);
    return 0;
}

/* Those that wait go; every other cycle goes through one of them, or through what can be cleared itself. */
static int stages_clear(Stages *self)
{
    self->closed = true;
    while (self->spares > 0)
        Py_DECREF(self->spare[--self->spares]);
    return 0;
}

static void stages_dealloc(Stages *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    stages_clear(self);
    Py_XDECREF(self->stage_type);
    Py_XDECREF(self->context);
    Py_XDECREF(self->loop);
    Py_XDECREF(self->create_future);
    Py_XDECREF(self->create_task);
    Py_XDECREF(self->enter_task);
    Py_XDECREF(self->leave_task);
    Py_XDECREF(self->current_task);
    Py_XDECREF(self->context_name);
    for (int i = 0; i < TASK_NAMES; i++)
        Py_XDECREF(self->names[i]);
    type->tp_free(self);
    Py_DECREF(type);
}

static int init_stages(Stages *self, PyTypeObject *type)
{
    for (int i = 0; i < TASK_NAMES; i++)
        if ((self->names[i] = PyUnicode_InternFromString(task_names[i])) == NULL)
            return -1;
    return (self->create_future = PyObject_GetAttrString(self->loop, "create_future")) == NULL
            || (self->create_task = PyObject_GetAttrString(self->loop, "create_task")) == NULL
            || (self->context_name = Py_BuildValue("(s)", "context")) == NULL
            || (self->stage_type = PyObject_GetAttrString(PyType_GetModule(type), "Stage")) == NULL
        ? -1
        : 0;
}

static PyObject *stages_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"loop", "context", "enter_task", "leave_task", "current_task", NULL};
    PyObject *loop, *context, *enter_task, *leave_task, *current_task;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO!OOO:Stages", names, &loop, &PyContext_Type, &context,
                                     &enter_task, &leave_task, &current_task))
        return NULL;
    Stages *self = (Stages *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->loop = Py_NewRef(loop);
    self->context = Py_NewRef(context);
    self->enter_task = Py_NewRef(enter_task);
    self->leave_task = Py_NewRef(leave_task);
    self->current_task = Py_NewRef(current_task);
    if (init_stages(self, type) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static PyMethodDef stages_methods[] = {
    {"close", (PyCFunction)stages_close, METH_NOARGS, PyDoc_STR("close()")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot stages_slots[] = {
    {Py_tp_doc, PyDoc_STR("The tasks that async handlers begin in, of one event loop.")},
    {Py_tp_new, stages_new},
    {Py_tp_dealloc, stages_dealloc},
    {Py_tp_traverse, stages_traverse},
    {Py_tp_clear, stages_clear},
    {Py_tp_methods, stages_methods},
    {0, NULL},
};

static PyType_Spec stages_spec = {
    .name = "splnode.wire._native.Stages",
    .basicsize = sizeof(Stages),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stages_slots,
};

bool are_stages(PyObject *object) { return Py_TYPE(object)->tp_dealloc == (destructor)stages_dealloc; }

int add_stage(PyObject *module)
{
    return add_type(module, &stage_spec, NULL) < 0 || add_type(module, &stages_spec, NULL) < 0 ? -1 : 0;
}
