/* What a union's branches take: see choice.h. */

#include "choice.h"

#define MOST_CLASSES 64 /* Struct classes that a union remembers the branch of */

/* The kinds that a branch may take, by its op: a bit for each. */
static const unsigned takes[OPS] = {
    [NULL_] = 1 << IS_NONE, [BOOLEAN] = 1 << IS_BOOL, [INT] = 1 << IS_INT, [LONG] = 1 << IS_INT,
    [FLOAT] = 1 << IS_INT | 1 << IS_FLOAT, [DOUBLE] = 1 << IS_INT | 1 << IS_FLOAT, [BYTES] = 1 << IS_BYTES,
    [FIXED] = 1 << IS_BYTES, [STRING] = 1 << IS_STR, [ENUM] = 1 << IS_STR, [ARRAY] = 1 << IS_LIST,
    [MAP] = 1 << IS_DICT, [RECORD] = 1 << IS_DICT,
};

/* Whether the record has all of the dict's keys, and the dict all the fields that have no default. */
static int dict_fits(const WriteNode *node, PyObject *dict)
{
    Py_ssize_t found = 0, position = 0;
    for (Py_ssize_t i = 0; i < node->count; i++) {
        if (dict_field(dict, &position, node->fields[i].name) != NULL)
            found++;
        else if (PyErr_Occurred())
            return -1;
        else if (node->fields[i].make == NULL)
            return 0;
    }
    return found == PyDict_GET_SIZE(dict);
}

static Py_ssize_t raw_size(PyObject *value)
{
    if (PyMemoryView_Check(value))
        return PyMemoryView_GET_BUFFER(value)->len;
    return PyBytes_Check(value) ? PyBytes_GET_SIZE(value) : PyByteArray_GET_SIZE(value);
}

/* Whether the branch takes a value of this kind: 1, 0, or -1 with an exception. */
static int fits(const WriteNode *node, PyObject *value, int kind)
{
    int overflow;
    int64_t number;
    if (!(takes[node->op] >> kind & 1))
        return 0;
    switch (node->op) {
    case INT:
    case LONG:
        number = PyLong_AsLongLongAndOverflow(value, &overflow);
        return !overflow && (node->op == LONG || (number >= INT32_MIN && number <= INT32_MAX));
    case FIXED:
        return raw_size(value) == node->size;
    case ENUM:
        return PyDict_Contains(node->indexes, value);
    case RECORD:
        return dict_fits(node, value);
    default:
        return 1;
    }
}

Py_ssize_t fitting_branch(const WriteNode *node, PyObject *value, int kind)
{
    for (Py_ssize_t i = 0; node->accepts != NULL && i < node->count; i++) {
        int is = node->branches[i]->accepts == NULL ? 0 : PyObject_IsInstance(value, node->branches[i]->accepts);
        if (is != 0)
            return is < 0 ? -1 : i;
    }
    for (Py_ssize_t i = 0; i < node->count; i++) {
        int fit = fits(node->branches[i], value, kind);
        if (fit != 0)
            return fit < 0 ? -1 : i;
    }
    return -1;
}

Py_ssize_t chosen_branch(State *state, const WriteNode *node, PyObject *value, PyObject **inner)
{
    PyObject *choice = PyObject_CallFunctionObjArgs(state->branch_of, node->source, value, NULL);
    Py_ssize_t place = -1;
    if (choice == NULL)
        return -1;
    if (PyTuple_Check(choice) && PyTuple_GET_SIZE(choice) == 2)
        place = PyLong_AsSsize_t(PyTuple_GET_ITEM(choice, 0));
    if (place >= 0 && place < node->count)
        *inner = Py_NewRef(PyTuple_GET_ITEM(choice, 1));
    else {
        place = -1;
        if (!PyErr_Occurred())
            fail(PyExc_TypeError, "branch_of gave %R", choice);
    }
    Py_DECREF(choice);
    return place;
}

Py_ssize_t struct_branch(State *state, const WriteNode *node, PyObject *value, PyObject **inner)
{
    PyObject *class = (PyObject *)Py_TYPE(value), *known = PyDict_GetItemWithError(node->struct_places, class);
    Py_ssize_t place;
    if (known != NULL) {
        *inner = Py_NewRef(value);
        return PyLong_AsSsize_t(known);
    }
    if (PyErr_Occurred() || (place = chosen_branch(state, node, value, inner)) < 0)
        return -1;
    if (PyDict_GET_SIZE(node->struct_places) >= MOST_CLASSES)
        PyDict_Clear(node->struct_places);
    PyObject *number = PyLong_FromSsize_t(place);
    if (number == NULL || PyDict_SetItem(node->struct_places, class, number) < 0)
        PyErr_Clear(); /* then it is asked again */
    Py_XDECREF(number);
    return place;
}

Py_ssize_t sure_branch(const WriteNode *node, int kind)
{
    Py_ssize_t sure = -1;
    for (Py_ssize_t i = 0; i < node->count; i++) {
        int op = node->branches[i]->op;
        if (!(takes[op] >> kind & 1))
            continue;
        if (op == RECORD) { /* the only one for a dict has to take it, so that the error says what is wrong inside */
            if (sure >= 0)
                return -1;
            sure = i;
        }
        else if (sure >= 0 || op == INT || op == LONG || op == FIXED || op == ENUM)
            return -1;
        else
            return i;
    }
    return sure;
}
