/* Places: how many calls run at a time. wire/places.py is its twin, and says what is whose. */

#include "places.h"
#include <stdbool.h>
#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    Py_ssize_t limit, running;
    char closed;
    PyObject *returned; /* or NULL, as None */
} Places;

static bool take_place(Places *self)
{
    if (self->closed || self->running >= self->limit)
        return false;
    self->running++;
    return true;
}

static int return_place(Places *self)
{
    if (self->returned == NULL || self->returned == Py_None) {
        self->running--;
        return 0;
    }
    PyObject *returned = Py_NewRef(self->returned), *done = PyObject_CallNoArgs(returned);
    Py_DECREF(returned);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

int enter_gate(State *state, PyObject *gate)
{
    if (Py_IS_TYPE(gate, state->places))
        return take_place((Places *)gate);
    PyObject *entered = PyObject_CallMethodNoArgs(gate, state->names[NAME_ENTER]);
    int inside = entered == NULL ? -1 : PyObject_IsTrue(entered);
    Py_XDECREF(entered);
    return inside;
}

int leave_gate(State *state, PyObject *gate)
{
    if (Py_IS_TYPE(gate, state->places))
        return return_place((Places *)gate);
    PyObject *left = PyObject_CallMethodNoArgs(gate, state->names[NAME_LEAVE]);
    Py_XDECREF(left);
    return left != NULL ? 0 : -1;
}

/* ---- the type -------------------------------------------------------------------------------------- */

static PyObject *places_enter(Places *self, PyObject *Py_UNUSED(nothing)) { return PyBool_FromLong(take_place(self)); }

static PyObject *places_leave(Places *self, PyObject *Py_UNUSED(nothing))
{
    return return_place(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *places_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"limit", NULL};
    Py_ssize_t limit;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "n:Places", names, &limit))
        return NULL;
    Places *self = (Places *)type->tp_alloc(type, 0);
    if (self != NULL)
        self->limit = limit;
    return (PyObject *)self;
}

static int places_traverse(Places *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->returned);
    return 0;
}

static int places_clear(Places *self)
{
    Py_CLEAR(self->returned);
    return 0;
}

static void places_dealloc(Places *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    places_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef places_methods[] = {
    {"enter", (PyCFunction)places_enter, METH_NOARGS, PyDoc_STR("enter() -> bool")},
    {"leave", (PyCFunction)places_leave, METH_NOARGS, PyDoc_STR("leave()")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef places_members[] = {
    {"limit", T_PYSSIZET, offsetof(Places, limit), 0, NULL},
    {"running", T_PYSSIZET, offsetof(Places, running), 0, NULL},
    {"closed", T_BOOL, offsetof(Places, closed), 0, NULL},
    {"returned", T_OBJECT, offsetof(Places, returned), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot places_slots[] = {
    {Py_tp_doc, PyDoc_STR("How many calls run at a time; wire.places.Places says how.")},
    {Py_tp_new, places_new},
    {Py_tp_traverse, places_traverse},
    {Py_tp_clear, places_clear},
    {Py_tp_dealloc, places_dealloc},
    {Py_tp_methods, places_methods},
    {Py_tp_members, places_members},
    {0, NULL},
};

static PyType_Spec places_spec = {
    .name = "splnode.wire._native.Places",
    .basicsize = sizeof(Places),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = places_slots,
};

int add_places(PyObject *module)
{
    State *state = PyModule_GetState(module);
    return add_type(module, &places_spec, &state->places);
}
