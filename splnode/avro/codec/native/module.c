/* The module: its three types, its state, and what it lends to the package's other native parts. */

#include "plan.h"
#include "walkers.h"

static int codec_traverse(Codec *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->keep);
    for (Py_ssize_t i = 0; i < self->write_count; i++) {
        Py_VISIT(self->write[i].seen.class);
        Py_VISIT(self->write[i].seen.names);
    }
    return 0;
}

static void codec_dealloc(Codec *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    drop_plan(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *encoder_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"plan", "limits", NULL};
    PyObject *write, *limits;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:Encoder", names, &write, &limits))
        return NULL;
    return new_codec(type, write, NULL, limits);
}

static PyObject *decoder_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"plan", "limits", NULL};
    PyObject *read, *limits;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:Decoder", names, &read, &limits))
        return NULL;
    return new_codec(type, NULL, read, limits);
}

static PyObject *conformer_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"write", "read", "limits", NULL};
    PyObject *write, *read, *limits;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO:Conformer", names, &write, &read, &limits))
        return NULL;
    return new_codec(type, write, read, limits);
}

#define CODEC_TYPE(lower, upper, text) \
    static PyType_Slot lower##_slots[] = { \
        {Py_tp_doc, PyDoc_STR(text)}, \
        {Py_tp_new, lower##_new}, \
        {Py_tp_dealloc, codec_dealloc}, \
        {Py_tp_traverse, codec_traverse}, \
        {Py_tp_methods, lower##_methods}, \
        {0, NULL}, \
    }; \
    static PyType_Spec lower##_spec = { \
        .name = "splnode.avro.codec._native." upper, \
        .basicsize = sizeof(Codec), \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, \
        .slots = lower##_slots, \
    }

CODEC_TYPE(encoder, "Encoder", "Writes the values of one plan.");
CODEC_TYPE(decoder, "Decoder", "Reads the values of one plan.");
CODEC_TYPE(conformer, "Conformer", "Gives what reading a value written would give, without writing it.");

static PyObject *imported(const char *module, const char *name)
{
    PyObject *object = PyImport_ImportModule(module);
    PyObject *value = object != NULL ? PyObject_GetAttrString(object, name) : NULL;
    Py_XDECREF(object);
    return value;
}

/* The numbers of an enum of plan.py must be those of the C enum beside it. */
static int check_enum(const char *name, const char *const *members, Py_ssize_t count)
{
    PyObject *class = imported("splnode.avro.codec.plan", name);
    if (class == NULL)
        return -1;
    Py_ssize_t size = PyObject_Size(class);
    for (Py_ssize_t i = 0; i < count; i++) {
        int64_t number = -1;
        if (size != count || integer(class, members[i], &number) < 0 || number != i) {
            if (!PyErr_Occurred())
                fail(PyExc_ImportError, "plan.%s is not the one that _native was built for", name);
            Py_DECREF(class);
            return -1;
        }
    }
    Py_DECREF(class);
    return 0;
}

static int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int failed = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return failed;
}

/* For the other native parts: see native.h. */

static destructor dealloc_of(PyObject *object) { return Py_TYPE(object)->tp_dealloc; }

static int api_is_encoder(PyObject *object)
{
    return dealloc_of(object) == (destructor)codec_dealloc && ((Codec *)object)->write && !((Codec *)object)->read;
}

static int api_is_decoder(PyObject *object)
{
    return dealloc_of(object) == (destructor)codec_dealloc && ((Codec *)object)->read && !((Codec *)object)->write;
}

static int add_api(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->api = (CodecApi){
        api_is_encoder, api_is_decoder, api_encode, api_encode_fields, api_decode, api_locate, api_decode_apart,
        api_gives_fields, api_decode_fields,
    };
    PyObject *capsule = PyCapsule_New(&state->api, SPLNODE_CODEC_CAPSULE, NULL);
    int failed = capsule == NULL ? -1 : PyModule_AddObjectRef(module, "_api", capsule);
    Py_XDECREF(capsule);
    return failed;
}

static int module_exec(PyObject *module)
{
    static const char *const ops[] = {"NULL", "BOOLEAN", "INT", "LONG", "FLOAT", "DOUBLE", "BYTES", "STRING",
                                      "FIXED", "ENUM", "ARRAY", "MAP", "RECORD", "UNION", "FAIL"};
    static const char *const promotions[] = {"NONE", "TO_FLOAT", "TO_STRING", "TO_BYTES"};
    State *state = PyModule_GetState(module);
    if ((state->data_error = imported("splnode.errors", "DataError")) == NULL
        || (state->decode_error = imported("splnode.errors", "DecodeError")) == NULL
        || (state->encode_error = imported("splnode.errors", "EncodeError")) == NULL
        || (state->limit_exceeded = imported("splnode.errors", "LimitExceeded")) == NULL
        || (state->branch_of = imported("splnode.avro.codec.choice", "branch_of")) == NULL
        || (state->symbol_of = imported("splnode.avro.codec.choice", "symbol_of")) == NULL
        || (state->struct_attributes = imported("splnode.avro.codec.choice", "struct_attributes")) == NULL
        || (state->nothing = imported("splnode.avro.codec.budget", "nothing")) == NULL
        || (state->enum_class = imported("enum", "Enum")) == NULL
        || check_enum("Op", ops, Py_ARRAY_LENGTH(ops)) < 0
        || check_enum("Promote", promotions, Py_ARRAY_LENGTH(promotions)) < 0)
        return -1;
    return add_type(module, &encoder_spec) < 0 || add_type(module, &decoder_spec) < 0
            || add_type(module, &conformer_spec) < 0 || add_api(module) < 0
        ? -1
        : 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->data_error);
    Py_VISIT(state->decode_error);
    Py_VISIT(state->encode_error);
    Py_VISIT(state->limit_exceeded);
    Py_VISIT(state->struct_class);
    Py_VISIT(state->enum_class);
    Py_VISIT(state->branch_of);
    Py_VISIT(state->symbol_of);
    Py_VISIT(state->struct_attributes);
    Py_VISIT(state->nothing);
    return 0;
}

/* No m_clear, for the reason at the top: a Codec that outlives the module's dict still needs the state. */
static void module_free(void *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->data_error);
    Py_CLEAR(state->decode_error);
    Py_CLEAR(state->encode_error);
    Py_CLEAR(state->limit_exceeded);
    Py_CLEAR(state->struct_class);
    Py_CLEAR(state->enum_class);
    Py_CLEAR(state->branch_of);
    Py_CLEAR(state->symbol_of);
    Py_CLEAR(state->struct_attributes);
    Py_CLEAR(state->nothing);
    for (int i = 0; i < RECENT; i++)
        Py_CLEAR(state->recent[i].string);
    PyMem_Free(state->spare);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "splnode.avro.codec._native",
    .m_doc = PyDoc_STR("The native codec engine; see plan.py for what it carries out, and plain.py for its twin."),
    .m_size = sizeof(State),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module_def); }
