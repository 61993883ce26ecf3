/* Slot: a call in flight, and all that asyncio's tasks want of the future that they wait for.
 *
 * A task that waits for a Slot is resumed right where its answer is read, in its own context, if no other task is
 * running there: that is what the loop would do with it one turn later, and saves the turn. Otherwise, and for
 * anybody who is no task of asyncio's own, the loop does it (call_soon).
 */

#include "pipeline.h"
#include <structmember.h>

Slot *new_slot(Pipeline *pipe, Way *way, PyObject *call, double deadline, uint32_t serial)
{
    State *state = pipe->state;
    Slot *slot;
    if (state->spare_slot_count > 0)
        slot = (Slot *)PyObject_Init(state->spare_slots[--state->spare_slot_count], state->slot);
    else if ((slot = PyObject_GC_New(Slot, state->slot)) == NULL)
        return NULL;
    slot->pipe = (Pipeline *)Py_NewRef(pipe);
    slot->way = (Way *)Py_NewRef(way);
    slot->call = Py_XNewRef(call);
    slot->deadline = deadline;
    slot->serial = serial;
    slot->fate = PENDING;
    slot->blocking = false;
    slot->value = slot->waker = slot->context = NULL;
    PyObject_GC_Track(slot);
    return slot;
}

/* ---- whoever waits is told ------------------------------------------------------------------------- */

static inline bool wakes_a_task(const Slot *slot, PyObject *waker)
{
    PyObject *self = PyCFunction_CheckExact(waker) ? PyCFunction_GET_SELF(waker) : NULL;
    return self != NULL && slot->pipe->task != NULL && (PyObject *)Py_TYPE(self) == slot->pipe->task;
}

/* A task takes any future for what it waited for, as long as that is done; this one needs no `result` of ours. */
static inline PyObject *told_with(Slot *slot, PyObject *waker)
{
    return slot->fate != CANCELLED && wakes_a_task(slot, waker) ? slot->pipe->done : (PyObject *)slot;
}

static int resume_later(Slot *slot, PyObject *waker, PyObject *context)
{
    PyObject *args[] = {waker, told_with(slot, waker), context}, *names = slot->pipe->state->context_name;
    PyObject *handle = PyObject_Vectorcall(slot->pipe->call_soon, args, 2, names);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

/* What comes out of a task here is no fault of the reader's: it is raised where the loop deals with it. */
static int raise_in_loop(Slot *slot)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    PyObject *args[] = {slot->pipe->raised, error};
    PyObject *done = PyObject_Vectorcall(slot->pipe->call_soon, args, 2, NULL);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int resume_now(Slot *slot, PyObject *waker, PyObject *context)
{
    if (PyContext_Enter(context) < 0) { /* it is entered already */
        PyErr_Clear();
        return resume_later(slot, waker, context);
    }
    PyObject *result = PyObject_CallOneArg(waker, slot->pipe->done);
    int failed = result == NULL ? raise_in_loop(slot) : 0;
    Py_XDECREF(result);
    return PyContext_Exit(context) < 0 ? -1 : failed;
}

/* Ends the wait with a value (ANSWERED), an error (FAILED) or a message or NULL (CANCELLED), which it steals. Where it
 * has ended before, nothing happens. */
int settle(Slot *slot, int fate, PyObject *value, bool direct)
{
    if (slot->fate != PENDING) {
        Py_XDECREF(value);
        return 0;
    }
    slot->fate = (uint8_t)fate;
    slot->value = value;
    PyObject *waker = slot->waker, *context = slot->context;
    if (waker == NULL)
        return 0;
    slot->waker = slot->context = NULL;
    int failed = direct && wakes_a_task(slot, waker) ? resume_now(slot, waker, context)
                                                     : resume_later(slot, waker, context);
    Py_DECREF(waker);
    Py_DECREF(context);
    return failed;
}

/* ---- what a task calls ----------------------------------------------------------------------------- */

static PyObject *slot_get_loop(Slot *self, PyObject *Py_UNUSED(nothing)) { return Py_NewRef(self->pipe->loop); }

static PyObject *slot_add_done_callback(Slot *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (nargs != 1 || named > 1) {
        PyErr_SetString(PyExc_TypeError, "add_done_callback(callback, *, context=None)");
        return NULL;
    }
    if (self->waker != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "somebody waits for this answer already");
        return NULL;
    }
    PyObject *context = named && args[1] != Py_None ? Py_NewRef(args[1]) : PyContext_CopyCurrent();
    if (context == NULL)
        return NULL;
    if (self->fate == PENDING) {
        self->waker = Py_NewRef(args[0]);
        self->context = context;
        return Py_NewRef(Py_None);
    }
    int failed = resume_later(self, args[0], context);
    Py_DECREF(context);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *slot_remove_done_callback(Slot *self, PyObject *callback)
{
    int same = self->waker == NULL ? 0 : PyObject_RichCompareBool(self->waker, callback, Py_EQ);
    if (same < 0)
        return NULL;
    if (same) {
        Py_CLEAR(self->waker);
        Py_CLEAR(self->context);
    }
    return PyLong_FromLong(same);
}

static PyObject *slot_cancel(Slot *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"msg", NULL};
    PyObject *message = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &message))
        return NULL;
    if (self->fate != PENDING)
        return Py_NewRef(Py_False);
    if (message == Py_None)
        message = NULL;
    return settle(self, CANCELLED, Py_XNewRef(message), false) < 0 ? NULL : Py_NewRef(Py_True);
}

/* Whether it is cancelled is all that a task asks; value and error are its Calling's. */
static PyObject *slot_result(Slot *self, PyObject *Py_UNUSED(nothing))
{
    if (self->fate == PENDING) {
        PyErr_SetString(PyExc_RuntimeError, "there is no answer yet");
        return NULL;
    }
    if (self->fate != CANCELLED)
        return Py_NewRef(Py_None);
    PyObject *error = self->value == NULL ? PyObject_CallNoArgs(self->pipe->cancelled)
                                          : PyObject_CallOneArg(self->pipe->cancelled, self->value);
    if (error != NULL)
        PyErr_SetObject(self->pipe->cancelled, error);
    Py_XDECREF(error);
    return NULL;
}

static PyObject *slot_done(Slot *self, PyObject *Py_UNUSED(nothing)) { return PyBool_FromLong(self->fate != PENDING); }

static PyObject *slot_is_cancelled(Slot *self, PyObject *Py_UNUSED(nothing))
{
    return PyBool_FromLong(self->fate == CANCELLED);
}

#define ADD_DONE_CALLBACK                                                                                              \
    {"add_done_callback", (PyCFunction)(void (*)(void))slot_add_done_callback, METH_FASTCALL | METH_KEYWORDS, NULL}

/* What a task asks of every future, without a search through the type; it gives what that would. */
static PyObject *slot_getattro(PyObject *object, PyObject *name)
{
    static PyMethodDef add_done_callback = ADD_DONE_CALLBACK;
    Slot *self = (Slot *)object;
    PyObject *const *names = self->pipe->state->names;
    if (name == names[NAME_BLOCKING])
        return PyBool_FromLong(self->blocking);
    if (name == names[NAME_GET_LOOP] && self->pipe->get_loop != NULL)
        return Py_NewRef(self->pipe->get_loop);
    if (name == names[NAME_ADD_CALLBACK])
        return PyCFunction_New(&add_done_callback, object);
    return PyObject_GenericGetAttr(object, name);
}

static int slot_setattro(PyObject *object, PyObject *name, PyObject *value)
{
    Slot *self = (Slot *)object;
    if (name != self->pipe->state->names[NAME_BLOCKING] || value == NULL || !PyBool_Check(value))
        return PyObject_GenericSetAttr(object, name, value);
    self->blocking = value == Py_True;
    return 0;
}

/* ---- the type -------------------------------------------------------------------------------------- */

static int slot_traverse(Slot *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->pipe);
    Py_VISIT(self->way);
    Py_VISIT(self->call);
    Py_VISIT(self->value);
    Py_VISIT(self->waker);
    Py_VISIT(self->context);
    return 0;
}

/* The pipeline and the way stay: whoever still has the slot may ask it. */
static int slot_clear(Slot *self)
{
    Py_CLEAR(self->call);
    Py_CLEAR(self->value);
    Py_CLEAR(self->waker);
    Py_CLEAR(self->context);
    return 0;
}

static void slot_dealloc(Slot *self)
{
    PyTypeObject *type = Py_TYPE(self);
    State *state = self->pipe->state;
    PyObject_GC_UnTrack(self);
    slot_clear(self);
    Py_CLEAR(self->way);
    Py_CLEAR(self->pipe);
    if (state->spare_slot_count < SPARE)
        state->spare_slots[state->spare_slot_count++] = (PyObject *)self;
    else
        PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef slot_methods[] = {
    {"get_loop", (PyCFunction)slot_get_loop, METH_NOARGS, NULL},
    ADD_DONE_CALLBACK,
    {"remove_done_callback", (PyCFunction)slot_remove_done_callback, METH_O, NULL},
    {"cancel", (PyCFunction)(void (*)(void))slot_cancel, METH_VARARGS | METH_KEYWORDS, NULL},
    {"cancelled", (PyCFunction)slot_is_cancelled, METH_NOARGS, NULL},
    {"done", (PyCFunction)slot_done, METH_NOARGS, NULL},
    {"result", (PyCFunction)slot_result, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef slot_members[] = {
    {"_asyncio_future_blocking", T_BOOL, offsetof(Slot, blocking), 0, NULL},
    {"serial", T_UINT, offsetof(Slot, serial), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slot_slots[] = {
    {Py_tp_traverse, slot_traverse}, {Py_tp_clear, slot_clear},     {Py_tp_dealloc, slot_dealloc},
    {Py_tp_methods, slot_methods},   {Py_tp_members, slot_members}, {Py_tp_getattro, slot_getattro},
    {Py_tp_setattro, slot_setattro}, {0, NULL},
};

static PyType_Spec slot_spec = {
    "splnode.wire._native.Slot", sizeof(Slot), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slot_slots,
};

int add_slot(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->context_name = Py_BuildValue("(N)", PyUnicode_InternFromString("context"));
    return state->context_name == NULL ? -1 : add_type(module, &slot_spec, &state->slot);
}
