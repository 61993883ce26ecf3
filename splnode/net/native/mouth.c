/* Mouth and Outlet: where the bytes of a peer come in, and where those for it go out. net/mouth.py is their twin. */

#include "net.h"
#include <stdbool.h>
#include <stddef.h>
#include <structmember.h>

#define LIGHT 256  /* as in mouth.py, */
#define STEADY 4   /* and this */

typedef struct {
    PyObject_HEAD
    PyObject *space, *came, *left; /* the connection's own ways; NULL once it is closed */
    PyObject *buffer, *feed, *turns; /* feed, turns: or NULL, as None */
    unsigned int light;
    unsigned long long received;
    double heard;
    char busy;
} Mouth;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *write; /* the transport's; or NULL, as None: it is closed */
    unsigned long long written;
} Outlet;

static PyObject *light_name, *polite_name; /* interned */

static inline bool is_set(PyObject *object) { return object != NULL && object != Py_None; }

/* ---- Mouth ----------------------------------------------------------------------------------------- */

static PyObject *missing_connection(void)
{
    PyErr_SetString(PyExc_RuntimeError, "this connection was closed");
    return NULL;
}

static PyObject *mouth_get_buffer(Mouth *self, PyObject *hint)
{
    if (is_set(self->feed))
        return Py_NewRef(self->buffer);
    if (self->space == NULL)
        return missing_connection();
    PyObject *space = Py_NewRef(self->space), *given = PyObject_CallOneArg(space, hint);
    Py_DECREF(space);
    return given;
}

/* What the engine has taken of so many bytes; -1 with an exception. */
static Py_ssize_t feed(Mouth *self, PyObject *count)
{
    PyObject *args[] = {self->buffer, count}, *engine = Py_NewRef(self->feed);
    char outer = self->busy;
    Py_INCREF(args[0]);
    self->busy = true;
    PyObject *taken = PyObject_Vectorcall(engine, args, 2, NULL);
    self->busy = outer;
    Py_ssize_t number = taken != NULL ? PyLong_AsSsize_t(taken) : -1;
    Py_XDECREF(taken);
    Py_DECREF(args[0]);
    Py_DECREF(engine);
    return number;
}

/* 1 if it is so much that it must not be fed now. */
static int is_much(Mouth *self, Py_ssize_t count)
{
    PyObject *done = NULL;
    int much = 0;
    if (count > LIGHT)
        self->light = 0;
    else if (self->light <= STEADY)
        self->light++;
    if (!is_set(self->turns) || (count > LIGHT ? !is_set(self->feed) : self->light <= STEADY))
        return 0;
    PyObject *turns = Py_NewRef(self->turns);
    if (count <= LIGHT)
        much = PyObject_SetAttr(turns, light_name, (PyObject *)self);
    else if ((done = PyObject_CallMethodOneArg(turns, polite_name, (PyObject *)self)) == NULL)
        much = -1;
    else
        much = PyObject_IsTrue(done);
    Py_DECREF(turns);
    Py_XDECREF(done);
    return much;
}

static PyObject *mouth_buffer_updated(Mouth *self, PyObject *count)
{
    Py_ssize_t number = PyLong_AsSsize_t(count);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    self->heard = moment();
    self->received += (unsigned long long)number;
    PyObject *way = NULL, *done = NULL;
    int much = is_much(self, number);
    if (much < 0)
        return NULL;
    if (!much && is_set(self->feed)) {
        Py_ssize_t taken = feed(self, count);
        if (taken == -1 && PyErr_Occurred())
            return NULL;
        if (taken >= number || self->left == NULL)
            return Py_NewRef(Py_None);
        way = Py_NewRef(self->left);
        done = PyObject_CallFunction(way, "nO", taken, count);
    }
    else if (self->came == NULL)
        return missing_connection();
    else {
        way = Py_NewRef(self->came);
        done = PyObject_CallOneArg(way, count);
    }
    Py_DECREF(way);
    Py_XDECREF(done);
    return done != NULL ? Py_NewRef(Py_None) : NULL;
}

static int mouth_clear(Mouth *self)
{
    Py_CLEAR(self->space);
    Py_CLEAR(self->came);
    Py_CLEAR(self->left);
    Py_CLEAR(self->feed);
    Py_CLEAR(self->turns);
    return 0;
}

static PyObject *mouth_close(Mouth *self, PyObject *Py_UNUSED(nothing))
{
    mouth_clear(self);
    return Py_NewRef(Py_None);
}

static PyObject *mouth_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"buffer", "space", "came", "left", NULL};
    PyObject *buffer, *space, *came, *left;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOO:Mouth", names, &buffer, &space, &came, &left))
        return NULL;
    Mouth *self = (Mouth *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->buffer = Py_NewRef(buffer);
    self->space = Py_NewRef(space);
    self->came = Py_NewRef(came);
    self->left = Py_NewRef(left);
    self->heard = moment();
    return (PyObject *)self;
}

static int mouth_traverse(Mouth *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->space);
    Py_VISIT(self->came);
    Py_VISIT(self->left);
    Py_VISIT(self->buffer);
    Py_VISIT(self->feed);
    Py_VISIT(self->turns);
    return 0;
}

static void mouth_dealloc(Mouth *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    mouth_clear(self);
    Py_CLEAR(self->buffer);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef mouth_methods[] = {
    {"get_buffer", (PyCFunction)mouth_get_buffer, METH_O, PyDoc_STR("get_buffer(sizehint)")},
    {"buffer_updated", (PyCFunction)mouth_buffer_updated, METH_O, PyDoc_STR("buffer_updated(nbytes)")},
    {"close", (PyCFunction)mouth_close, METH_NOARGS, PyDoc_STR("close()")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef mouth_members[] = {
    {"buffer", T_OBJECT_EX, offsetof(Mouth, buffer), 0, NULL},
    {"feed", T_OBJECT, offsetof(Mouth, feed), 0, NULL},
    {"turns", T_OBJECT, offsetof(Mouth, turns), 0, NULL},
    {"light", T_UINT, offsetof(Mouth, light), 0, NULL},
    {"received", T_ULONGLONG, offsetof(Mouth, received), 0, NULL},
    {"heard", T_DOUBLE, offsetof(Mouth, heard), 0, NULL},
    {"busy", T_BOOL, offsetof(Mouth, busy), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot mouth_slots[] = {
    {Py_tp_doc, PyDoc_STR("Where the bytes of a peer come in; net.mouth.Mouth says how.")},
    {Py_tp_new, mouth_new},
    {Py_tp_traverse, mouth_traverse},
    {Py_tp_clear, mouth_clear},
    {Py_tp_dealloc, mouth_dealloc},
    {Py_tp_methods, mouth_methods},
    {Py_tp_members, mouth_members},
    {0, NULL},
};

static PyType_Spec mouth_spec = {
    .name = "splnode.net._native.Mouth",
    .basicsize = sizeof(Mouth),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = mouth_slots,
};

/* ---- Outlet ---------------------------------------------------------------------------------------- */

static PyObject *outlet_call(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Outlet *self = (Outlet *)object;
    if (PyVectorcall_NARGS(nargsf) != 1 || names != NULL || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "an outlet takes bytes");
        return NULL;
    }
    if (!is_set(self->write))
        return Py_NewRef(Py_None);
    self->written += (unsigned long long)PyBytes_GET_SIZE(args[0]);
    PyObject *write = Py_NewRef(self->write), *done = PyObject_CallOneArg(write, args[0]);
    Py_DECREF(write);
    return done;
}

static PyObject *outlet_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, ":Outlet", names))
        return NULL;
    Outlet *self = (Outlet *)type->tp_alloc(type, 0);
    if (self != NULL)
        self->vectorcall = outlet_call;
    return (PyObject *)self;
}

static int outlet_traverse(Outlet *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->write);
    return 0;
}

static int outlet_clear(Outlet *self)
{
    Py_CLEAR(self->write);
    return 0;
}

static void outlet_dealloc(Outlet *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    outlet_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef outlet_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Outlet, vectorcall), READONLY, NULL},
    {"write", T_OBJECT, offsetof(Outlet, write), 0, NULL},
    {"written", T_ULONGLONG, offsetof(Outlet, written), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot outlet_slots[] = {
    {Py_tp_doc, PyDoc_STR("Where bytes for a peer go out; net.mouth.Outlet says how.")},
    {Py_tp_new, outlet_new},
    {Py_tp_traverse, outlet_traverse},
    {Py_tp_clear, outlet_clear},
    {Py_tp_dealloc, outlet_dealloc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, outlet_members},
    {0, NULL},
};

static PyType_Spec outlet_spec = {
    .name = "splnode.net._native.Outlet",
    .basicsize = sizeof(Outlet),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = outlet_slots,
};

static int add_one(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int failed = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return failed;
}

int add_mouth(PyObject *module)
{
    if ((light_name = PyUnicode_InternFromString("light")) == NULL
        || (polite_name = PyUnicode_InternFromString("polite")) == NULL)
        return -1;
    return add_one(module, &mouth_spec) < 0 ? -1 : add_one(module, &outlet_spec);
}
