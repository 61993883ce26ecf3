/* The native call engine: the module, and the codec that it stands on. */

#include "engine.h"

int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **kept)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    int failed = type == NULL || PyModule_AddType(module, type) < 0 ? -1 : 0;
    if (kept != NULL)
        *kept = (PyTypeObject *)Py_XNewRef(type);
    Py_XDECREF(type);
    return failed;
}

static int make_names(State *state)
{
    static const char *const names[NAMES] = {
        "message", "name", "deadline", "metadata", "params", "enter", "leave", "_asyncio_future_blocking",
        "get_loop", "add_done_callback",
    };
    for (int i = 0; i < NAMES; i++)
        if ((state->names[i] = PyUnicode_InternFromString(names[i])) == NULL)
            return -1;
    return 0;
}

static int module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    if (make_names(state) < 0)
        return -1;
    if ((state->codec = PyImport_ImportModule("splnode.avro.codec._native")) == NULL)
        return -1;
    PyObject *capsule = PyObject_GetAttrString(state->codec, "_api");
    state->api = capsule != NULL ? PyCapsule_GetPointer(capsule, SPLNODE_CODEC_CAPSULE) : NULL;
    Py_XDECREF(capsule);
    if (state->api == NULL || find_clock() < 0 || add_places(module) < 0 || add_pipeline(module) < 0 || add_intake(module) < 0 || add_room(module) < 0)
        return -1;
    return add_local(module);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->codec);
    Py_VISIT(state->room);
    Py_VISIT(state->places);
    return 0;
}

/* No m_clear: what outlives the module's dict still needs the state. */
static void module_free(void *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->codec);
    Py_CLEAR(state->room);
    Py_CLEAR(state->places);
    while (state->spare_slot_count > 0)
        PyObject_GC_Del(state->spare_slots[--state->spare_slot_count]);
    while (state->spare_calling_count > 0)
        PyObject_GC_Del(state->spare_callings[--state->spare_calling_count]);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "splnode.wire._native",
    .m_doc = PyDoc_STR("The native call engine; pipeline.py and intake.py are its twins in plain Python."),
    .m_size = sizeof(State),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module_def); }
