/* Pipeline: the calls of one connection on their way, as its session and its holder see them. */

#include "answer.h"
#include "table.h"
#include <structmember.h>

#define FIRST_PLACES 16

void *missing_holder(void)
{
    PyErr_SetString(PyExc_RuntimeError, "nobody holds this pipeline, or it was closed");
    return NULL;
}

int grow_table(Pipeline *pipe)
{
    Py_ssize_t size = pipe->size ? pipe->size * 2 : FIRST_PLACES;
    Place *places = PyMem_Calloc((size_t)size, sizeof(Place));
    if (places == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < pipe->size; i++)
        if (pipe->places[i].entry != NULL)
            places[pipe->places[i].serial & (uint32_t)(size - 1)] = pipe->places[i];
    PyMem_Free(pipe->places);
    pipe->places = places;
    pipe->size = size;
    return 0;
}

int put_entry(Pipeline *pipe, uint32_t serial, PyObject *entry)
{
    Py_XDECREF(take_entry(pipe, serial));
    while (pipe->size == 0 || pipe->places[serial & (uint32_t)(pipe->size - 1)].entry != NULL)
        if (grow_table(pipe) < 0)
            return -1;
    pipe->places[serial & (uint32_t)(pipe->size - 1)] = (Place){serial, Py_NewRef(entry)};
    pipe->in_flight++;
    pipe->waiting += is_slot(pipe, entry);
    return 0;
}

/* ---- for the session ------------------------------------------------------------------------------- */

static PyObject *pipeline_serial(Pipeline *self, PyObject *Py_UNUSED(nothing))
{
    Place *place = next_place(self);
    return place == NULL ? NULL : PyLong_FromUnsignedLong(place->serial);
}

static PyObject *pipeline_expect(Pipeline *self, PyObject *args)
{
    unsigned long serial;
    PyObject *entry;
    if (!PyArg_ParseTuple(args, "kO", &serial, &entry) || put_entry(self, (uint32_t)serial, entry) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *pipeline_entry(Pipeline *self, PyObject *serial)
{
    unsigned long number = PyLong_AsUnsignedLong(serial);
    if (number == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    Place *place = place_of(self, (uint32_t)number);
    return Py_NewRef(place != NULL ? place->entry : Py_None);
}

static PyObject *pipeline_pop(Pipeline *self, PyObject *serial)
{
    unsigned long number = PyLong_AsUnsignedLong(serial);
    if (number == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    PyObject *entry = take_entry(self, (uint32_t)number);
    return entry != NULL ? entry : Py_NewRef(Py_None);
}

static PyObject *pipeline_write(Pipeline *self, PyObject *frame)
{
    if (!PyBytes_CheckExact(frame)) {
        PyErr_SetString(PyExc_TypeError, "a frame is bytes");
        return NULL;
    }
    if (PyBytes_GET_SIZE(frame) < LARGE)
        return append_bytes(&self->out, frame) < 0 ? NULL : Py_NewRef(Py_None);
    if (move_to_parts(self) < 0 || PyList_Append(self->parts, frame) < 0)
        return NULL;
    self->parted += PyBytes_GET_SIZE(frame);
    return Py_NewRef(Py_None);
}

static PyObject *pipeline_take(Pipeline *self, PyObject *Py_UNUSED(nothing))
{
    if (move_to_parts(self) < 0)
        return NULL;
    PyObject *parts = self->parts;
    self->parts = NULL;
    self->parted = 0;
    self->told = false;
    return parts;
}

static PyObject *pipeline_queued(Pipeline *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(self->parted + self->out.used);
}

static PyObject *pipeline_establish(Pipeline *self, PyObject *pair)
{
    PyObject *contract = PyObject_GetAttrString(pair, "contract");
    if (contract == NULL)
        return NULL;
    Py_XSETREF(self->contract, contract);
    Py_XSETREF(self->pair, Py_NewRef(pair));
    PyDict_Clear(self->ways);
    return Py_NewRef(Py_None);
}

/* ---- for the holder -------------------------------------------------------------------------------- */

static PyObject *pipeline_hold(Pipeline *self, PyObject *holder)
{
    PyObject *high = PyObject_GetAttrString(holder, "high_water");
    self->high_water = high == NULL ? -1 : PyLong_AsSsize_t(high);
    Py_XDECREF(high);
    if (self->high_water < 0 && PyErr_Occurred())
        return NULL;
#define X(name)                                                                                                        \
    Py_XSETREF(self->name, PyObject_GetAttrString(holder, #name));                                                     \
    if (self->name == NULL)                                                                                            \
        return NULL;
    HOLDER(X)
#undef X
    Py_XSETREF(self->get_loop, PyObject_GetAttr(self->done, self->state->names[NAME_GET_LOOP]));
    return self->get_loop != NULL ? Py_NewRef(Py_None) : NULL;
}

static int expire_slot(Pipeline *pipe, Slot *slot)
{
    PyObject *error = pipe->expired == NULL ? missing_holder() : PyObject_CallOneArg(pipe->expired, slot->way->call);
    if (error == NULL || settle(slot, FAILED, error, false) < 0)
        return -1;
    return forget_slot(slot);
}

static int by_serial(const void *one, const void *other)
{
    uint32_t first = (*(Slot *const *)one)->serial, second = (*(Slot *const *)other)->serial;
    return (first > second) - (first < second);
}

/* The slots of all calls in flight that are due by `now`, in a list, the oldest first. */
static PyObject *due_slots(Pipeline *pipe, double now)
{
    PyObject *due = PyList_New(0);
    for (Py_ssize_t i = 0; due != NULL && i < pipe->size; i++) {
        PyObject *entry = pipe->places[i].entry;
        if (entry != NULL && is_slot(pipe, entry) && ((Slot *)entry)->deadline <= now
            && PyList_Append(due, entry) < 0)
            Py_CLEAR(due);
    }
    if (due != NULL && PyList_GET_SIZE(due) > 1)
        qsort(((PyListObject *)due)->ob_item, (size_t)PyList_GET_SIZE(due), sizeof(PyObject *), by_serial);
    return due;
}

static PyObject *pipeline_expire(Pipeline *self, PyObject *moment)
{
    double now = PyFloat_AsDouble(moment);
    PyObject *due = now == -1.0 && PyErr_Occurred() ? NULL : due_slots(self, now);
    if (due == NULL)
        return NULL;
    int failed = 0;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(due); i++)
        failed = expire_slot(self, (Slot *)PyList_GET_ITEM(due, i));
    Py_DECREF(due);
    self->armed = Py_HUGE_VAL;
    for (Py_ssize_t i = 0; i < self->size; i++) {
        PyObject *entry = self->places[i].entry;
        if (entry != NULL && is_slot(self, entry) && ((Slot *)entry)->deadline < self->armed)
            self->armed = ((Slot *)entry)->deadline;
    }
    return failed ? NULL : Py_NewRef(Py_None);
}

/* Lets go of the holder, but for what tasks that still wait are resumed with. */
static void drop_holder(Pipeline *pipe)
{
    Py_CLEAR(pipe->outlet);
    Py_CLEAR(pipe->head);
    Py_CLEAR(pipe->arm);
    Py_CLEAR(pipe->soon);
    Py_CLEAR(pipe->flush);
    Py_CLEAR(pipe->freed);
    Py_CLEAR(pipe->session);
    Py_CLEAR(pipe->forget);
    Py_CLEAR(pipe->expired);
    Py_CLEAR(pipe->refusal);
}

static PyObject *pipeline_close(Pipeline *self, PyObject *args)
{
    PyObject *make_error, *general;
    if (!PyArg_ParseTuple(args, "OO", &make_error, &general))
        return NULL;
    Place *places = self->places;
    Py_ssize_t size = self->size;
    self->closed = true;
    self->open = false;
    self->places = NULL;
    self->size = self->in_flight = self->waiting = 0;
    self->out.used = self->parted = 0;
    Py_CLEAR(self->parts);
    drop_holder(self);
    Py_XSETREF(self->general, Py_NewRef(general));
    int failed = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *entry = places[i].entry;
        if (entry != NULL && is_slot(self, entry) && !failed) {
            PyObject *error = PyObject_CallNoArgs(make_error);
            failed = error == NULL || settle((Slot *)entry, FAILED, error, false) < 0;
        }
        Py_XDECREF(entry);
    }
    PyMem_Free(places);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *pipeline_call(Pipeline *self, PyObject *call) { return new_calling_of_call(self, call); }
static PyObject *pipeline_put(Pipeline *self, PyObject *call) { return put_call(self, call); }

/* ---- the type -------------------------------------------------------------------------------------- */

static PyObject *pipeline_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"most", "largest", NULL};
    Py_ssize_t most, largest;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "nn", names, &most, &largest))
        return NULL;
    Pipeline *self = (Pipeline *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->state = PyType_GetModuleState(type);
    self->most = most;
    self->largest = largest;
    self->high_water = PY_SSIZE_T_MAX;
    self->armed = Py_HUGE_VAL;
    if ((self->ways = PyDict_New()) == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int pipeline_traverse(Pipeline *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (Py_ssize_t i = 0; i < self->size; i++)
        Py_VISIT(self->places[i].entry);
    Py_VISIT(self->outlet);
    Py_VISIT(self->get_loop);
    Py_VISIT(self->pair);
    Py_VISIT(self->contract);
    Py_VISIT(self->ways);
#define X(name) Py_VISIT(self->name);
    HOLDER(X)
#undef X
    return 0;
}

static int pipeline_clear(Pipeline *self)
{
    Place *places = self->places;
    Py_ssize_t size = self->size;
    self->closed = true;
    self->open = false;
    self->places = NULL;
    self->size = self->in_flight = self->waiting = 0;
    for (Py_ssize_t i = 0; i < size; i++)
        Py_XDECREF(places[i].entry);
    PyMem_Free(places);
    Py_CLEAR(self->outlet);
    Py_CLEAR(self->get_loop);
    Py_CLEAR(self->pair);
    Py_CLEAR(self->contract);
    if (self->ways != NULL)
        PyDict_Clear(self->ways);
#define X(name) Py_CLEAR(self->name);
    HOLDER(X)
#undef X
    return 0;
}

static void pipeline_dealloc(Pipeline *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    pipeline_clear(self);
    Py_CLEAR(self->ways);
    Py_CLEAR(self->parts);
    for (int i = 0; i < HEADS; i++)
        Py_CLEAR(self->heads[i]);
    PyMem_Free(self->out.bytes);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef pipeline_methods[] = {
    {"serial", (PyCFunction)pipeline_serial, METH_NOARGS, NULL},
    {"expect", (PyCFunction)pipeline_expect, METH_VARARGS, NULL},
    {"entry", (PyCFunction)pipeline_entry, METH_O, NULL},
    {"pop", (PyCFunction)pipeline_pop, METH_O, NULL},
    {"write", (PyCFunction)pipeline_write, METH_O, NULL},
    {"take", (PyCFunction)pipeline_take, METH_NOARGS, NULL},
    {"establish", (PyCFunction)pipeline_establish, METH_O, NULL},
    {"receive", (PyCFunction)(void (*)(void))pipeline_receive, METH_FASTCALL, NULL},
    {"answer", (PyCFunction)pipeline_answer, METH_VARARGS, NULL},
    {"feed", (PyCFunction)(void (*)(void))pipeline_feed, METH_FASTCALL, NULL},
    {"begin_large", (PyCFunction)pipeline_begin_large, METH_VARARGS, NULL},
    {"answer_large", (PyCFunction)pipeline_answer_large, METH_O, NULL},
    {"called", (PyCFunction)pipeline_called, METH_O, NULL},
    {"complete", (PyCFunction)pipeline_complete, METH_VARARGS, NULL},
    {"hold", (PyCFunction)pipeline_hold, METH_O, NULL},
    {"call", (PyCFunction)pipeline_call, METH_O, NULL},
    {"put", (PyCFunction)pipeline_put, METH_O, NULL},
    {"expire", (PyCFunction)pipeline_expire, METH_O, NULL},
    {"close", (PyCFunction)pipeline_close, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef pipeline_members[] = {
    {"in_flight", T_PYSSIZET, offsetof(Pipeline, in_flight), READONLY, NULL},
    {"outlet", T_OBJECT, offsetof(Pipeline, outlet), 0, NULL},
    {"armed", T_DOUBLE, offsetof(Pipeline, armed), READONLY, NULL},
    {"waiting", T_PYSSIZET, offsetof(Pipeline, waiting), READONLY, NULL},
    {"open", T_BOOL, offsetof(Pipeline, open), 0, NULL},
    {"next", T_UINT, offsetof(Pipeline, next), 0, NULL},
    {"wrapped", T_BOOL, offsetof(Pipeline, wrapped), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef pipeline_getset[] = {
    {"queued", (getter)pipeline_queued, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot pipeline_slots[] = {
    {Py_tp_doc, "The calls of one connection on their way; see splnode.wire.pipeline."},
    {Py_tp_new, pipeline_new},
    {Py_tp_traverse, pipeline_traverse},
    {Py_tp_clear, pipeline_clear},
    {Py_tp_dealloc, pipeline_dealloc},
    {Py_tp_methods, pipeline_methods},
    {Py_tp_members, pipeline_members},
    {Py_tp_getset, pipeline_getset},
    {0, NULL},
};

static PyType_Spec pipeline_spec = {
    "splnode.wire._native.Pipeline", sizeof(Pipeline), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, pipeline_slots,
};

int add_pipeline(PyObject *module)
{
    State *state = PyModule_GetState(module);
    return add_type(module, &pipeline_spec, &state->pipeline) < 0 || add_type(module, &way_spec, &state->way) < 0
            || add_slot(module) < 0 || add_calling(module) < 0 || add_track(module) < 0
        ? -1
        : 0;
}
