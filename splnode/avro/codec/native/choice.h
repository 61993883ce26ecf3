/* The branch of a union that takes a value: the rows of plan.WriteNode's table that its type decides. */

#ifndef SPLNODE_CODEC_CHOICE_H
#define SPLNODE_CODEC_CHOICE_H

#include "taking.h"

/* The branch that every value of a kind is for, or -1. */
Py_ssize_t sure_branch(const WriteNode *node, int kind);

/* The kind of a value. The rows that its type alone does not decide, and the refusals, are choice.py's. */
static inline int kind_of(State *state, PyObject *value)
{
    if (value == Py_None) return IS_NONE;
    if (PyUnicode_Check(value)) return IS_STR;
    if (PyBool_Check(value)) return IS_BOOL;
    if (PyLong_Check(value)) return IS_INT;
    if (PyDict_Check(value)) return IS_DICT;
    if (PyBytes_Check(value)) return IS_BYTES;
    if (PyList_Check(value) || PyTuple_Check(value)) return IS_LIST;
    if (PyFloat_Check(value)) return IS_FLOAT;
    if (PyByteArray_Check(value) || PyMemoryView_Check(value)) return IS_BYTES;
    if (is_struct(state, value)) return IS_STRUCT;
    return IS_OTHER;
}

/* The first branch whose type takes a value of this kind; -1 where choice.py has to say. */
Py_ssize_t fitting_branch(const WriteNode *node, PyObject *value, int kind);

/* The branch of a Struct; that of its class is asked of choice.py once. */
Py_ssize_t struct_branch(State *state, const WriteNode *node, PyObject *value, PyObject **inner);

/* What choice.branch_of says: of a Branch, a Struct, an enum's member, and of what no branch takes. */
Py_ssize_t chosen_branch(State *state, const WriteNode *node, PyObject *value, PyObject **inner);

/* The branch that takes the value, or -1; `inner` is what to write there, owned. */
static inline Py_ssize_t take_branch(State *state, const WriteNode *node, PyObject *value, PyObject **inner)
{
    int kind = kind_of(state, value);
    Py_ssize_t place = node->sure[kind];
    if (place < 0)
        place = fitting_branch(node, value, kind);
    if (place >= 0)
        *inner = Py_NewRef(value);
    else if (PyErr_Occurred())
        return -1;
    else if (kind == IS_STRUCT)
        place = struct_branch(state, node, value, inner);
    else
        place = chosen_branch(state, node, value, inner);
    return place;
}

#endif
