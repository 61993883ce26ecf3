/* Calls made like a blank one: what a constructor in Python takes longer for than for all the rest of a call. */

#include "calls.h"

static const char *const known_names[KNOWN] = {
    "params", "deadline", "metadata", "peer", "contract", "message", "answer_metadata", "begun", "ended",
};
static const char params_slot[] = "_params"; /* a dict, or a tuple of which Call makes one where it is asked for */

Py_ssize_t slot_offset(PyObject *class, const char *name)
{
    PyObject *slot = PyObject_GetAttrString(class, name);
    Py_ssize_t offset = 0;
    if (slot != NULL && Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)slot)->d_member;
        if (member->type == T_OBJECT_EX && !(member->flags & READONLY))
            offset = member->offset;
    }
    Py_XDECREF(slot);
    if (offset == 0 && !PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "%S has no slot %s", class, name);
    return offset;
}

int take_template(Template *template, PyObject *blank)
{
    PyObject *type = (PyObject *)Py_TYPE(blank), *slots = PyObject_GetAttrString(type, "__slots__");
    PyObject *names = slots != NULL ? PySequence_Tuple(slots) : NULL;
    Py_XDECREF(slots);
    if (names == NULL)
        return -1;
    template->blank = Py_NewRef(blank);
    template->count = PyTuple_GET_SIZE(names);
    template->slots = PyMem_Calloc((size_t)template->count + 1, sizeof(Py_ssize_t));
    int failed = template->slots == NULL ? (PyErr_NoMemory(), -1) : 0;
    for (Py_ssize_t i = 0; !failed && i < template->count; i++) {
        const char *name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, i));
        template->slots[i] = name != NULL ? slot_offset(type, name) : 0;
        failed = template->slots[i] == 0 ? -1 : 0;
    }
    Py_DECREF(names);
    for (int which = 0; !failed && which < KNOWN; which++) {
        template->names[which] = PyUnicode_InternFromString(known_names[which]);
        template->known[which] = template->names[which] != NULL ? slot_offset(type, which == PARAMS ? params_slot : known_names[which]) : 0;
        failed = template->known[which] == 0 ? -1 : 0;
    }
    return failed;
}

void drop_template(Template *template)
{
    Py_CLEAR(template->blank);
    for (int which = 0; which < KNOWN; which++)
        Py_CLEAR(template->names[which]);
    PyMem_Free(template->slots);
    template->slots = NULL;
}

PyObject *new_call_like(const Template *template, PyObject *params, PyObject *deadline, PyObject *metadata,
                        PyObject *peer)
{
    PyTypeObject *type = Py_TYPE(template->blank);
    PyObject *call = type->tp_alloc(type, 0);
    if (call == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < template->count; i++)
        *slot_at(call, template->slots[i]) = Py_XNewRef(*slot_at(template->blank, template->slots[i]));
    PyObject *const own[] = {params, deadline, metadata, peer}; /* as PARAMS to PEER */
    for (int which = PARAMS; which <= PEER; which++) {
        if (own[which] != NULL)
            set_known(template, call, which, own[which]);
    }
    return call;
}

void blank_call(const Template *template, PyObject *call)
{
    for (Py_ssize_t i = 0; i < template->count; i++) {
        PyObject **slot = slot_at(call, template->slots[i]), *blank = *slot_at(template->blank, template->slots[i]);
        if (*slot != blank)
            Py_XSETREF(*slot, Py_XNewRef(blank));
    }
}

PyObject *known_of(const Template *template, PyObject *call, int which)
{
    PyObject *value = Py_IS_TYPE(call, Py_TYPE(template->blank)) ? *slot_at(call, template->known[which]) : NULL;
    bool fits = value != NULL && !(which == PARAMS && PyTuple_CheckExact(value));
    return fits ? Py_NewRef(value) : PyObject_GetAttr(call, template->names[which]);
}
