/* Entry: how one message of one client is read, run and answered. It is asked for once, and
 * again when its handler is withdrawn. */

#include "intake.h"

static int entry_traverse(Entry *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->codec);
    Py_VISIT(self->handler);
    Py_VISIT(self->function);
    Py_VISIT(self->fields);
    Py_VISIT(self->names);
    Py_VISIT(self->gate);
    Py_VISIT(self->contract);
    Py_VISIT(self->message);
    Py_VISIT(self->decoder);
    Py_VISIT(self->encoder);
    Py_VISIT(self->counts.obj);
    return 0;
}

/* No tp_clear: an Entry never changes once made, and a cycle through it goes through the intake's dict too. */
static void entry_dealloc(Entry *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->name);
    Py_XDECREF(self->codec);
    Py_XDECREF(self->handler);
    Py_XDECREF(self->function);
    Py_XDECREF(self->fields);
    Py_XDECREF(self->names);
    Py_XDECREF(self->gate);
    Py_XDECREF(self->contract);
    Py_XDECREF(self->message);
    Py_XDECREF(self->decoder);
    Py_XDECREF(self->encoder);
    if (self->counts.obj != NULL)
        PyBuffer_Release(&self->counts);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot entry_slots[] = {
    {Py_tp_dealloc, entry_dealloc},
    {Py_tp_traverse, entry_traverse},
    {0, NULL},
};

PyType_Spec entry_spec = {
    .name = "splnode.wire._native.Entry",
    .basicsize = sizeof(Entry),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = entry_slots,
};

/* The codec whose bound method an attribute is. */
static int codec_of(PyObject *call, const char *method, PyObject **codec)
{
    PyObject *bound = PyObject_GetAttrString(call, method);
    int failed = bound == NULL ? -1 : attribute(bound, "__self__", codec);
    Py_XDECREF(bound);
    return failed;
}

static bool are_names(PyObject *names, PyObject *fields)
{
    bool fit = PyTuple_CheckExact(names) && PyTuple_CheckExact(fields)
        && PyTuple_GET_SIZE(names) == PyTuple_GET_SIZE(fields);
    for (Py_ssize_t i = 0; fit && i < PyTuple_GET_SIZE(names); i++)
        fit = PyUnicode_CheckExact(PyTuple_GET_ITEM(names, i)) && PyUnicode_CheckExact(PyTuple_GET_ITEM(fields, i));
    return fit;
}

/* Everything of the handler and its message that is used for each call. */
static int fill_entry(Intake *self, Entry *entry)
{
    const CodecApi *api = self->state->api;
    PyObject *counts, *one_way, *asynchronous, *handler = entry->handler, *codec = entry->codec;
    if (attribute(handler, "function", &entry->function) < 0 || attribute(handler, "fields", &entry->fields) < 0
        || attribute(handler, "names", &entry->names) < 0 || attribute(handler, "gate", &entry->gate) < 0
        || attribute(codec, "contract", &entry->contract) < 0 || attribute(codec, "message", &entry->message) < 0
        || codec_of(codec, "decode", &entry->decoder) < 0 || codec_of(codec, "encode", &entry->encoder) < 0)
        return -1;
    if (entry->gate == Py_None)
        Py_CLEAR(entry->gate);
    if (!are_names(entry->names, entry->fields) || !api->is_decoder(entry->decoder)
        || !api->is_encoder(entry->encoder)) {
        PyErr_SetString(PyExc_TypeError, "a handler for the native intake has tuples of names and native codecs");
        return -1;
    }
    entry->listed = api->gives_fields(entry->decoder, entry->fields);
    if (attribute(codec, "one_way", &one_way) < 0)
        return -1;
    entry->one_way = one_way == Py_True;
    Py_DECREF(one_way);
    if (attribute(handler, "asynchronous", &asynchronous) < 0)
        return -1;
    entry->asynchronous = asynchronous == Py_True;
    Py_DECREF(asynchronous);
    if ((entry->withdrawn = slot_offset((PyObject *)Py_TYPE(handler), "withdrawn")) == 0
        || attribute(handler, "counts", &counts) < 0)
        return -1;
    int failed = PyObject_GetBuffer(counts, &entry->counts, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS);
    Py_DECREF(counts);
    if (failed)
        return -1;
    if (entry->counts.len < (Py_ssize_t)(PLACES * sizeof(int64_t))) {
        PyErr_SetString(PyExc_ValueError, "too few places in the counts of a handler");
        return -1;
    }
    return 0;
}

/* Asks for the message's handler. A new reference, also in `entries`; NULL with an exception. */
static Entry *new_entry(Intake *self, PyObject *name, PyObject *codec)
{
    PyTypeObject *type = (PyTypeObject *)self->entry_type;
    Entry *entry = (Entry *)type->tp_alloc(type, 0);
    if (entry == NULL)
        return NULL;
    entry->name = Py_NewRef(name);
    entry->codec = Py_NewRef(codec);
    entry->handler = PyObject_CallOneArg(self->handler, codec);
    self->known_length = 0; /* what was allowed then may not be now */
    self->asked = true;
    bool failed = entry->handler == NULL;
    if (entry->handler == Py_None)
        Py_CLEAR(entry->handler);
    else if (!failed)
        failed = fill_entry(self, entry) < 0;
    if (failed || self->entries == NULL || PyDict_SetItem(self->entries, name, (PyObject *)entry) < 0)
        Py_CLEAR(entry);
    return entry;
}

static inline bool is_withdrawn(const Entry *entry)
{
    return entry->handler != NULL && *slot_at(entry->handler, entry->withdrawn) == Py_True;
}

Entry *find_entry(Intake *self, const uint8_t *bytes, Py_ssize_t length)
{
    Entry *last = (Entry *)self->last;
    if (last != NULL && PyBytes_GET_SIZE(last->name) == length
        && memcmp(PyBytes_AS_STRING(last->name), bytes, (size_t)length) == 0 && !is_withdrawn(last))
        return last;
    PyObject *name = PyBytes_FromStringAndSize((const char *)bytes, length);
    if (name == NULL || self->entries == NULL || self->calls == NULL) {
        Py_XDECREF(name);
        return NULL;
    }
    Entry *entry = (Entry *)PyDict_GetItemWithError(self->entries, name);
    if (entry != NULL && !is_withdrawn(entry))
        Py_INCREF(entry);
    else {
        PyObject *codec = PyErr_Occurred() ? NULL : PyDict_GetItemWithError(self->calls, name);
        Py_XINCREF(codec);
        entry = codec != NULL ? new_entry(self, name, codec) : NULL;
        Py_XDECREF(codec);
    }
    Py_DECREF(name);
    if (entry != NULL)
        Py_XSETREF(self->last, (PyObject *)entry);
    return entry;
}
