/* Calling: a call that its caller awaits, once. It behaves like a coroutine, and is taken for one by asyncio.
 *
 * | stage     | means                                              | send                                  |
 * |-----------|----------------------------------------------------|---------------------------------------|
 * | CREATED   | nothing was done                                   | puts the request in, yields the slot  |
 * | RUNNING   | that is being done                                 | is an error                           |
 * | SENT      | it was put in at once (Pipeline.put)               | yields the slot                       |
 * | WAITING   | the slot was yielded                               | gives the answer                      |
 * | HANDED_ON | a coroutine does it, the general way or once more  | goes to that                          |
 * | DONE      | answered, failed, closed or thrown into            | is an error                           |
 */

#include "calling.h"
#include <structmember.h>

Calling *new_calling(State *state)
{
    Calling *self;
    if (state->spare_calling_count > 0)
        self = (Calling *)PyObject_Init(state->spare_callings[--state->spare_calling_count], state->calling);
    else if ((self = PyObject_GC_New(Calling, state->calling)) == NULL)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof(Calling) - sizeof(PyObject));
    self->state = state;
    self->timeout = -1.0;
    return self; /* its maker has the collector track it */
}

/* What it was to do is done. */
static void drop_request(Calling *self)
{
    Py_CLEAR(self->params);
    Py_CLEAR(self->metadata);
    Py_CLEAR(self->call);
    for (Py_ssize_t i = 0; i < self->count; i++)
        Py_CLEAR(self->fields[i]);
    self->count = 0;
}

/* It is over, on the line that it was put into. */
static void settle_account(Calling *self, bool well)
{
    if (self->account != NULL) {
        count_ended(self->account, well);
        Py_CLEAR(self->account);
    }
}

static int calling_clear(Calling *self)
{
    drop_request(self);
    settle_account(self, false);
    Py_CLEAR(self->method);
    Py_CLEAR(self->pipe);
    Py_CLEAR(self->slot);
    Py_CLEAR(self->inner);
    return 0;
}

static void finish(Calling *self)
{
    self->stage = DONE;
    calling_clear(self);
}

/* ---- of a Call ------------------------------------------------------------------------------------- */

PyObject *new_calling_of_call(Pipeline *pipe, PyObject *call)
{
    Calling *self = new_calling(pipe->state);
    if (self == NULL)
        return NULL;
    self->pipe = (Pipeline *)Py_NewRef(pipe);
    self->call = Py_NewRef(call);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* The name of the Call's message; its deadline. */
static PyObject *read_call(State *state, PyObject *call, double *deadline)
{
    PyObject *message = PyObject_GetAttr(call, state->names[NAME_MESSAGE]);
    PyObject *name = message == NULL ? NULL : PyObject_GetAttr(message, state->names[NAME_NAME]);
    PyObject *until = name == NULL ? NULL : PyObject_GetAttr(call, state->names[NAME_DEADLINE]);
    *deadline = until == NULL ? -1.0 : PyFloat_AsDouble(until);
    Py_XDECREF(message);
    Py_XDECREF(until);
    if (until == NULL || (*deadline == -1.0 && PyErr_Occurred()))
        Py_CLEAR(name);
    return name;
}

/* As send_by_method. */
static int send_call(Pipeline *pipe, PyObject *call, Slot **slot)
{
    double deadline, now;
    PyObject *name = read_call(pipe->state, call, &deadline);
    if (name == NULL || ((now = now_of(pipe->clock)) == -1.0 && PyErr_Occurred())) {
        Py_XDECREF(name);
        return -1;
    }
    long long left = (long long)((deadline - now) * 1000.0);
    if (left <= 0) {
        Py_DECREF(name);
        return 0;
    }
    PyObject *head = NULL, *params = NULL, *metadata = PyObject_GetAttr(call, pipe->state->names[NAME_METADATA]);
    Way *way = metadata == NULL ? NULL : find_way(pipe, name);
    int some = way == NULL ? -1 : PyObject_IsTrue(metadata);
    if (some >= 0 && (head = find_head(pipe, left, some ? metadata : NULL)) != NULL)
        params = PyObject_GetAttr(call, pipe->state->names[NAME_PARAMS]);
    int failed = params == NULL ? -1 : put_request(pipe, way, head, &(Params){params, NULL, 0}, deadline, call, slot);
    Py_DECREF(name);
    Py_XDECREF(metadata);
    Py_XDECREF(way);
    Py_XDECREF(head);
    Py_XDECREF(params);
    return failed < 0 ? -1 : failed == 0;
}

static PyObject *general_of_call(Calling *self)
{
    if (self->pipe->general == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nobody holds this pipeline");
        return NULL;
    }
    return PyObject_CallOneArg(self->pipe->general, self->call);
}

/* Puts a Call in now, whoever else waits for room: what comes back only waits for the answer. */
PyObject *put_call(Pipeline *pipe, PyObject *call)
{
    Calling *self = (Calling *)new_calling_of_call(pipe, call);
    if (self == NULL)
        return NULL;
    int sent = pipe->closed || pipe->clock == NULL ? 0 : send_call(pipe, call, &self->slot);
    if (sent > 0) {
        self->stage = SENT;
        drop_request(self);
    }
    else if (sent == 0)
        PyErr_SetString(PyExc_RuntimeError, "the call cannot be put in: its deadline, or no room");
    if (sent <= 0) {
        finish(self);
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* ---- as a coroutine -------------------------------------------------------------------------------- */

static PySendResult wrong(const char *what)
{
    PyErr_SetString(PyExc_RuntimeError, what);
    return PYGEN_ERROR;
}

static PySendResult go_on(Calling *self, PyObject *value, PyObject **result)
{
    PyObject *inner = Py_NewRef(self->inner);
    PySendResult how = PyIter_Send(inner, value, result);
    Py_DECREF(inner);
    if (how != PYGEN_NEXT)
        finish(self);
    return how;
}

/* What `await` would take of what the general way gave: a coroutine, or anything else that can be awaited. Steals. */
static PyObject *awaited(PyObject *given)
{
    if (given == NULL || PyCoro_CheckExact(given))
        return given;
    PyAsyncMethods *methods = Py_TYPE(given)->tp_as_async;
    PyObject *iterator = NULL;
    if (methods != NULL && methods->am_await != NULL)
        iterator = methods->am_await(given);
    else
        PyErr_Format(PyExc_TypeError, "object %.100s can't be used in 'await' expression", Py_TYPE(given)->tp_name);
    Py_DECREF(given);
    return iterator;
}

/* It failed on a line that somebody keeps account of, who takes it over. Steals the error. */
static PySendResult recover(Calling *self, PyObject *error, PyObject **result)
{
    PyObject *failed = Py_XNewRef(failed_of(self->account)), *given = NULL;
    self->stage = RUNNING;
    settle_account(self, false);
    Py_CLEAR(self->slot);
    if (failed == NULL) /* nobody does any more */
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    else
        given = awaited(recovery_of_method(self, failed, error));
    Py_XDECREF(failed);
    Py_DECREF(error);
    drop_request(self);
    if ((self->inner = given) == NULL) {
        finish(self);
        return PYGEN_ERROR;
    }
    self->stage = HANDED_ON;
    return go_on(self, Py_None, result);
}

/* The slot has its answer. */
static PySendResult give(Calling *self, PyObject **result)
{
    Slot *slot = self->slot;
    PyObject *value = slot->value;
    int fate = slot->fate;
    slot->value = NULL;
    if (fate == FAILED && value != NULL && self->account != NULL)
        return recover(self, value, result);
    settle_account(self, fate == ANSWERED);
    finish(self);
    if (fate == ANSWERED) {
        *result = value;
        return PYGEN_RETURN;
    }
    if (fate == CANCELLED || value == NULL) {
        Py_XDECREF(value);
        return wrong("a call that is being cancelled was resumed");
    }
    PyErr_SetObject((PyObject *)Py_TYPE(value), value);
    Py_DECREF(value);
    return PYGEN_ERROR;
}

static PySendResult wait(Calling *self, PyObject **result)
{
    if (self->slot == NULL) { /* one-way: it is done */
        settle_account(self, true);
        finish(self);
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    if (self->slot->fate == ANSWERED || self->slot->fate == FAILED)
        return give(self, result);
    self->stage = WAITING;
    self->slot->blocking = true;
    *result = Py_NewRef(self->slot);
    return PYGEN_NEXT;
}

/* The exception that is set, and is not any more. */
static PyObject *raised(void)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
}

static PySendResult begin(Calling *self, PyObject *value, PyObject **result)
{
    if (value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
        return PYGEN_ERROR;
    }
    self->stage = RUNNING;
    int sent = self->method != NULL ? send_by_method(self)
        : has_room(self->pipe)      ? send_call(self->pipe, self->call, &self->slot)
                                    : 0;
    if (sent == 0 && (self->inner = awaited(self->method ? general_of_method(self) : general_of_call(self))) == NULL)
        sent = -1;
    if (self->account == NULL)
        drop_request(self);
    else if (sent < 0 && PyErr_ExceptionMatches(PyExc_Exception))
        return recover(self, raised(), result);
    if (sent < 0) {
        finish(self);
        return PYGEN_ERROR;
    }
    if (sent > 0)
        return wait(self, result);
    self->stage = HANDED_ON;
    return go_on(self, value, result);
}

static PySendResult calling_am_send(PyObject *object, PyObject *value, PyObject **result)
{
    Calling *self = (Calling *)object;
    *result = NULL;
    switch (self->stage) {
    case CREATED:
        return begin(self, value, result);
    case RUNNING:
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return PYGEN_ERROR;
    case SENT:
        return wait(self, result);
    case WAITING:
        if (self->slot->fate == PENDING)
            return wrong("await wasn't used with future");
        return give(self, result);
    case HANDED_ON:
        return go_on(self, value, result);
    default:
        return wrong("cannot reuse already awaited coroutine");
    }
}

/* The result of a step as an iterator gives it. */
static PyObject *as_iterator(PySendResult how, PyObject *result)
{
    if (how == PYGEN_NEXT)
        return result;
    if (how == PYGEN_RETURN) { /* called, and not set: a tuple would be taken for its arguments */
        PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
        if (stop != NULL)
            PyErr_SetObject(PyExc_StopIteration, stop);
        Py_XDECREF(stop);
        Py_DECREF(result);
    }
    return NULL;
}

static PyObject *calling_next(PyObject *self)
{
    PyObject *result;
    PySendResult how = calling_am_send(self, Py_None, &result);
    return as_iterator(how, result);
}

static PyObject *calling_send(PyObject *self, PyObject *value)
{
    PyObject *result;
    PySendResult how = calling_am_send(self, value, &result);
    return as_iterator(how, result);
}

static PyObject *calling_await(PyObject *object)
{
    Calling *self = (Calling *)object;
    if (self->stage == WAITING || self->stage == HANDED_ON) {
        wrong("coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef(object);
}

/* It is over before it was answered. */
static int give_up(Calling *self)
{
    Slot *slot = (Slot *)Py_XNewRef(self->slot);
    finish(self);
    int failed = slot == NULL ? 0 : forget_slot(slot);
    Py_XDECREF(slot);
    return failed;
}

static PyObject *raise_given(PyObject *type, PyObject *value, PyObject *traceback)
{
    if (value == Py_None)
        value = NULL;
    if (traceback == Py_None)
        traceback = NULL;
    if (traceback != NULL && !PyTraceBack_Check(traceback))
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback object");
    else if (PyExceptionInstance_Check(type)) {
        if (traceback != NULL)
            PyException_SetTraceback(type, traceback);
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    }
    else if (PyExceptionClass_Check(type))
        PyErr_Restore(Py_NewRef(type), Py_XNewRef(value), Py_XNewRef(traceback));
    else
        PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException");
    return NULL;
}

static PyObject *calling_throw(PyObject *object, PyObject *args)
{
    Calling *self = (Calling *)object;
    PyObject *type, *value = NULL, *traceback = NULL;
    if (!PyArg_UnpackTuple(args, "throw", 1, 3, &type, &value, &traceback))
        return NULL;
    if (self->stage == HANDED_ON) {
        PyObject *inner = Py_NewRef(self->inner), *method = PyObject_GetAttrString(inner, "throw");
        PyObject *result = method == NULL ? NULL : PyObject_CallObject(method, args);
        Py_XDECREF(method);
        Py_DECREF(inner);
        if (result == NULL)
            finish(self);
        return result;
    }
    if (self->stage == RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    }
    if (self->stage == DONE) {
        wrong("cannot reuse already awaited coroutine");
        return NULL;
    }
    return give_up(self) < 0 ? NULL : raise_given(type, value, traceback);
}

static PyObject *calling_close(PyObject *object, PyObject *Py_UNUSED(nothing))
{
    Calling *self = (Calling *)object;
    if (self->stage == RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    }
    if (self->stage == HANDED_ON) {
        PyObject *inner = Py_NewRef(self->inner), *done = PyObject_CallMethod(inner, "close", NULL);
        finish(self);
        Py_DECREF(inner);
        return done;
    }
    return give_up(self) < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- the type -------------------------------------------------------------------------------------- */

static PyObject *message_name(Calling *self)
{
    double deadline;
    PyObject *name = self->method != NULL ? name_of_method(self)
        : self->call != NULL              ? read_call(self->state, self->call, &deadline)
                                          : NULL;
    if (name == NULL) {
        PyErr_Clear();
        name = PyUnicode_FromString("call");
    }
    return name;
}

static PyObject *calling_name(Calling *self, void *Py_UNUSED(closure)) { return message_name(self); }

static PyObject *calling_running(Calling *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->stage == RUNNING);
}

static PyObject *calling_awaits(Calling *self, void *Py_UNUSED(closure))
{
    PyObject *awaits = self->stage == HANDED_ON ? self->inner : self->stage == WAITING ? (PyObject *)self->slot : Py_None;
    return Py_NewRef(awaits);
}

static PyObject *calling_nothing(Calling *Py_UNUSED(self), void *Py_UNUSED(closure)) { return Py_NewRef(Py_None); }

static PyObject *calling_repr(Calling *self)
{
    static const char *const stages[] = {"created", "running", "sent", "waiting", "waiting", "done"};
    PyObject *name = message_name(self), *text = NULL;
    if (name != NULL)
        text = PyUnicode_FromFormat("<call of %U, %s>", name, stages[self->stage]);
    Py_XDECREF(name);
    return text;
}

static int calling_traverse(Calling *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->method);
    Py_VISIT(self->pipe);
    Py_VISIT(self->call);
    Py_VISIT(self->params);
    Py_VISIT(self->metadata);
    for (Py_ssize_t i = 0; i < self->count; i++)
        Py_VISIT(self->fields[i]);
    Py_VISIT(self->slot);
    Py_VISIT(self->account);
    Py_VISIT(self->inner);
    return 0;
}

static void warn_never_awaited(Calling *self)
{
    PyObject *type, *error, *traceback, *name;
    PyErr_Fetch(&type, &error, &traceback);
    name = message_name(self);
    if (name == NULL || PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%U' was never awaited", name) < 0)
        PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(name);
    PyErr_Restore(type, error, traceback);
}

/* Dropped while it waits: nobody will take the answer. */
static void calling_finalize(PyObject *object)
{
    Calling *self = (Calling *)object;
    if (self->stage == CREATED)
        warn_never_awaited(self);
    else if (self->slot != NULL) {
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        if (give_up(self) < 0)
            PyErr_WriteUnraisable(object);
        PyErr_Restore(type, error, traceback);
    }
    self->stage = DONE;
}

static void calling_dealloc(Calling *self)
{
    PyTypeObject *type = Py_TYPE(self);
    State *state = self->state;
    if (self->stage != DONE && PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    calling_clear(self);
    if (state->spare_calling_count < SPARE && !PyObject_GC_IsFinalized((PyObject *)self))
        state->spare_callings[state->spare_calling_count++] = (PyObject *)self;
    else
        PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef calling_methods[] = {
    {"send", calling_send, METH_O, NULL},
    {"throw", calling_throw, METH_VARARGS, NULL},
    {"close", calling_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef calling_getset[] = {
    {"__name__", (getter)calling_name, NULL, NULL, NULL},
    {"__qualname__", (getter)calling_name, NULL, NULL, NULL},
    {"cr_running", (getter)calling_running, NULL, NULL, NULL},
    {"cr_await", (getter)calling_awaits, NULL, NULL, NULL},
    {"cr_frame", (getter)calling_nothing, NULL, NULL, NULL},
    {"cr_code", (getter)calling_nothing, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot calling_slots[] = {
    {Py_tp_traverse, calling_traverse}, {Py_tp_clear, calling_clear},       {Py_tp_dealloc, calling_dealloc},
    {Py_tp_finalize, calling_finalize}, {Py_tp_iternext, calling_next},     {Py_tp_repr, calling_repr},
    {Py_tp_methods, calling_methods},   {Py_tp_getset, calling_getset},     {Py_am_await, calling_await},
    {Py_am_send, calling_am_send},      {0, NULL},
};

static PyType_Spec calling_spec = {
    "splnode.wire._native.Calling", sizeof(Calling), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, calling_slots,
};

int add_calling(PyObject *module)
{
    State *state = PyModule_GetState(module);
    return add_type(module, &calling_spec, &state->calling) < 0 ? -1 : add_method(module);
}
