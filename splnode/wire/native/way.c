/* Way: how one message is sent to one server, and its answer read. It is found by its name, and made
 * when that is first called. */

#include "pipeline.h"

/* The codec that a bound method belongs to, if it is the native one; else NULL, with no exception. */
static PyObject *codec_of(PyObject *method, int (*is_one)(PyObject *))
{
    PyObject *codec = PyObject_GetAttrString(method, "__self__");
    if (codec == NULL)
        PyErr_Clear();
    else if (!is_one(codec))
        Py_CLEAR(codec);
    return codec;
}

static Way *make_way(Pipeline *pipe, PyObject *call)
{
    State *state = pipe->state;
    Way *way = PyObject_GC_New(Way, state->way);
    if (way == NULL)
        return NULL;
    way->call = Py_NewRef(call);
    way->encode = way->encoder = way->decoder = way->name = NULL;
    PyObject *request = PyObject_GetAttrString(call, "request"), *decode = PyObject_GetAttrString(call, "decode");
    PyObject *one_way = request == NULL ? NULL : PyObject_GetAttrString(request, "one_way");
    way->one_way = one_way == Py_True;
    if (one_way != NULL && decode != NULL && (way->name = PyObject_GetAttrString(request, "name")) != NULL
        && (way->encode = PyObject_GetAttrString(request, "encode")) != NULL) {
        way->encoder = codec_of(way->encode, state->api->is_encoder);
        way->decoder = codec_of(decode, state->api->is_decoder);
        if (!PyBytes_CheckExact(way->name))
            PyErr_SetString(PyExc_TypeError, "the name of a message on the wire is bytes");
    }
    Py_XDECREF(request);
    Py_XDECREF(decode);
    Py_XDECREF(one_way);
    PyObject_GC_Track(way);
    if (PyErr_Occurred())
        Py_CLEAR(way);
    return way;
}

/* How the message is called here; NULL with the CallError that says why it cannot be. */
Way *find_way(Pipeline *pipe, PyObject *name)
{
    if (pipe->pair == NULL)
        return missing_holder();
    PyObject *known = PyDict_GetItemWithError(pipe->ways, name);
    if (known != NULL || PyErr_Occurred())
        return (Way *)Py_XNewRef(known);
    PyObject *call = PyObject_CallMethod(pipe->pair, "prepare", "O", name);
    Way *way = call == NULL ? NULL : make_way(pipe, call);
    Py_XDECREF(call);
    if (way != NULL && PyDict_SetItem(pipe->ways, name, (PyObject *)way) < 0)
        Py_CLEAR(way);
    return way;
}

static int way_traverse(Way *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->call);
    Py_VISIT(self->encode);
    Py_VISIT(self->encoder);
    Py_VISIT(self->decoder);
    return 0;
}

/* No tp_clear: it never changes, as a tuple. */
static void way_dealloc(Way *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->call);
    Py_XDECREF(self->encode);
    Py_XDECREF(self->encoder);
    Py_XDECREF(self->decoder);
    Py_XDECREF(self->name);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot way_slots[] = {
    {Py_tp_traverse, way_traverse},
    {Py_tp_dealloc, way_dealloc},
    {0, NULL},
};

PyType_Spec way_spec = {
    "splnode.wire._native.Way", sizeof(Way), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, way_slots,
};
