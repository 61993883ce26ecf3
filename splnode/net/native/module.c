/* The module of net's extension, and the codec that it stands on. */

#include "net.h"

static PyObject *forked(PyObject *module, PyObject *Py_UNUSED(nothing))
{
    ((Module *)PyModule_GetState(module))->forks++;
    return Py_NewRef(Py_None);
}

static int module_exec(PyObject *module)
{
    Module *state = PyModule_GetState(module);
    if ((state->codec = PyImport_ImportModule("splnode.avro.codec._native")) == NULL)
        return -1;
    PyObject *capsule = PyObject_GetAttrString(state->codec, "_api");
    state->api = capsule != NULL ? PyCapsule_GetPointer(capsule, SPLNODE_CODEC_CAPSULE) : NULL;
    Py_XDECREF(capsule);
    return state->api == NULL || add_blocking(module) < 0 ? -1 : add_mouth(module);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    Module *state = PyModule_GetState(module);
    Py_VISIT(state->codec);
    Py_VISIT(state->line);
    return 0;
}

/* No m_clear: what outlives the module's dict still needs the state. */
static void module_free(void *module)
{
    Module *state = PyModule_GetState(module);
    Py_CLEAR(state->codec);
    Py_CLEAR(state->line);
}

static PyMethodDef module_methods[] = {
    {"forked", forked, METH_NOARGS, "Called in a child after a fork: its lines are the parent's."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "splnode.net._native",
    .m_doc = PyDoc_STR("Bytes in and out of connections, and the ordinary call of the client that blocks."),
    .m_size = sizeof(Module),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module_def); }
