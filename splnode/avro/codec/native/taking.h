/* What a value must be like to be taken, whether it becomes bytes (write.c) or another value (conform.c). */

#ifndef SPLNODE_CODEC_TAKING_H
#define SPLNODE_CODEC_TAKING_H

#include "budget.h"
#include <math.h>

/* The short name of a value's type, for an error. */
const char *type_name(PyObject *value);

/* Fails: the value is not what was wanted. */
void *refuse_as(State *state, PyObject *wanted, PyObject *value); /* steals wanted */
void *refuse(State *state, const char *wanted, PyObject *value);

/* Fails: a callback has changed the list or the dict. */
static inline int changed(State *state)
{
    fail(state->encode_error, "the value was changed while it was encoded");
    return -1;
}

/* Whether an int (no bool) is of one digit, so that its value is at hand. */
static inline bool is_short_int(PyObject *value, int64_t *number)
{
    if (!PyLong_CheckExact(value))
        return false;
#if PY_VERSION_HEX >= 0x030c0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)value))
        return false;
    *number = PyUnstable_Long_CompactValue((PyLongObject *)value);
#else
    Py_ssize_t size = Py_SIZE(value);
    if (size < -1 || size > 1)
        return false;
    *number = size == 0 ? 0 : size * (int64_t)((PyLongObject *)value)->ob_digit[0];
#endif
    return true;
}

static inline int take_integer(State *state, const WriteNode *node, PyObject *value, int64_t *number)
{
    int overflow;
    if (is_short_int(value, number))
        return 0; /* of 30 bits: they fit an int too */
    if (!PyLong_Check(value) || PyBool_Check(value)) {
        refuse(state, "int", value);
        return -1;
    }
    *number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow || (node->op == INT && (*number < INT32_MIN || *number > INT32_MAX))) {
        fail(state->encode_error, "the number does not fit %s bits", node->op == INT ? "int, of 32" : "long, of 64");
        return -1;
    }
    return 0;
}

static inline int take_float(State *state, const WriteNode *node, PyObject *value, double *number)
{
    if (PyFloat_Check(value))
        *number = PyFloat_AS_DOUBLE(value);
    else if (PyLong_Check(value) && !PyBool_Check(value)) {
        *number = PyLong_AsDouble(value);
        if (*number == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            fail(state->encode_error, "the number does not fit a %s", node->op == FLOAT ? "float" : "double");
            return -1;
        }
    }
    else {
        refuse(state, "float", value);
        return -1;
    }
    if (node->op == FLOAT) {
        float narrow = (float)*number;
        if (isinf(narrow) && !isinf(*number)) {
            fail(state->encode_error, "the number does not fit a float");
            return -1;
        }
        *number = narrow;
    }
    return 0;
}

/* The bytes of a BYTES, FIXED or STRING value; valid until release_span, which is always due. */
typedef struct {
    const uint8_t *bytes;
    Py_ssize_t length;
    Py_buffer buffer;
    PyObject *copy;
} Span;

static inline void release_span(Span *span)
{
    if (span->buffer.obj != NULL)
        PyBuffer_Release(&span->buffer);
    Py_CLEAR(span->copy);
}

/* The bytes of an exact str or bytes, if they are at hand: then nothing need be released. */
static inline bool is_plain(int op, PyObject *value, const uint8_t **bytes, Py_ssize_t *length)
{
    if (op == STRING && PyUnicode_CheckExact(value) && PyUnicode_IS_COMPACT_ASCII(value)) {
        *bytes = PyUnicode_1BYTE_DATA(value);
        *length = PyUnicode_GET_LENGTH(value);
        return true;
    }
    if (op == BYTES && PyBytes_CheckExact(value)) {
        *bytes = (const uint8_t *)PyBytes_AS_STRING(value);
        *length = PyBytes_GET_SIZE(value);
        return true;
    }
    return false;
}

/* The same of any value. -1 with an exception. */
int take_span(Budget *budget, const WriteNode *node, PyObject *value, Span *span);

/* The index of an enum's symbol, or of an enum.Enum that stands for one. */
int take_symbol(State *state, const WriteNode *node, PyObject *value, int64_t *index);

/* An exact list or tuple of the value's items, so that nothing can happen while they are counted. */
static inline PyObject *take_sequence(State *state, PyObject *value)
{
    if (PyList_CheckExact(value) || PyTuple_CheckExact(value))
        return Py_NewRef(value);
    if (PyList_Check(value) || PyTuple_Check(value))
        return PySequence_List(value);
    return refuse(state, "list", value);
}

/* The same for dicts: a subclass may have an order or values of its own. */
static inline PyObject *take_dict(State *state, PyObject *value)
{
    if (PyDict_CheckExact(value))
        return Py_NewRef(value);
    if (PyDict_Check(value))
        return PyObject_CallOneArg((PyObject *)&PyDict_Type, value);
    return refuse(state, "dict", value);
}

/* The next item of a list or tuple, owned: 1, or 0 at the end, or -1. */
static inline int next_item(State *state, PyObject *sequence, Py_ssize_t index, Py_ssize_t size, PyObject **item)
{
    if (PySequence_Fast_GET_SIZE(sequence) != size)
        return changed(state);
    if (index == size)
        return 0;
    *item = Py_NewRef(PySequence_Fast_GET_ITEM(sequence, index));
    return 1;
}

/* The next entry, both owned: 1, or 0 at the end, or -1. */
static inline int next_entry(State *state, PyObject *dict, Py_ssize_t *position, Py_ssize_t index, Py_ssize_t size,
                             PyObject **key, PyObject **value)
{
    if (PyDict_GET_SIZE(dict) != size)
        return changed(state);
    if (!PyDict_Next(dict, position, key, value))
        return index == size ? 0 : changed(state);
    if (index == size)
        return changed(state);
    if (!PyUnicode_Check(*key)) {
        fail(state->encode_error, "a map's keys are str, not %s", type_name(*key));
        return -1;
    }
    Py_INCREF(*key);
    Py_INCREF(*value);
    return 1;
}

/* msgspec.Struct, borrowed; NULL while nobody has imported msgspec: then there are no Structs, and a short program
 * need not pay for its import, which takes longer than a call. */
static inline PyTypeObject *struct_class_of(State *state)
{
    if (state->struct_class == NULL) {
        PyObject *msgspec = PyDict_GetItemString(PyImport_GetModuleDict(), "msgspec"); /* borrowed */
        state->struct_class = msgspec != NULL ? PyObject_GetAttrString(msgspec, "Struct") : NULL;
        if (state->struct_class == NULL)
            PyErr_Clear(); /* it is being imported just now */
    }
    return (PyTypeObject *)state->struct_class;
}

static inline int is_struct(State *state, PyObject *value)
{
    PyTypeObject *struct_class = struct_class_of(state);
    return struct_class != NULL && PyObject_TypeCheck(value, struct_class);
}

/* A value that is to be a record, being read field by field. */
typedef struct {
    const WriteNode *node;
    PyObject *dict;      /* owned; or NULL, and */
    PyObject *object;    /* a Struct, borrowed */
    Py_ssize_t found;    /* fields that the value has */
    Py_ssize_t position; /* see dict_field */
} Source;

/* As struct_field, of a class that was not the last one. */
PyObject *struct_attribute(State *state, const WriteNode *node, PyObject *value, Py_ssize_t index);

/* The field of a Struct; NULL without an exception if there is none. */
static inline PyObject *struct_field(State *state, const WriteNode *node, PyObject *value, Py_ssize_t index)
{
    /* Asked each time: the fields before this one may have seen other classes, and seeing one may run Python. */
    if (node->seen.class == Py_TYPE(value) && node->seen.offsets[index] != 0)
        return Py_XNewRef(*slot_at(value, node->seen.offsets[index]));
    return struct_attribute(state, node, value, index);
}

/* Lets go of a class that was seen. */
void forget(const Seen *seen);

static inline int take_record(State *state, const WriteNode *node, PyObject *value, Source *source)
{
    *source = (Source){node, NULL, NULL, 0, 0};
    if (node->seen.class == Py_TYPE(value) || (!PyDict_CheckExact(value) && is_struct(state, value)))
        source->object = value;
    else
        source->dict = take_dict(state, value);
    return source->object != NULL || source->dict != NULL ? 0 : -1;
}

static inline void release_record(Source *source) { Py_CLEAR(source->dict); }

/* The value of a key, borrowed; NULL without an exception if there is none. Most dicts have their keys in the
 * schema's order and interned, as the fields' names are: then the next entry is the one, and nothing is looked
 * up. `position` is that of PyDict_Next, from 0 on, and -1 once the dict has turned out to be another. */
static inline PyObject *dict_field(PyObject *dict, Py_ssize_t *position, PyObject *name)
{
    PyObject *key, *value;
    if (*position >= 0) {
        if (PyDict_Next(dict, position, &key, &value) && key == name)
            return value;
        *position = -1;
    }
    return PyDict_GetItemWithError(dict, name);
}

/* The default of a field that the value does not have; fails where there is none. */
PyObject *missing_field(State *state, const Field *field);

/* The value of a field, owned; its default where there is none. */
static inline PyObject *take_field(State *state, Source *source, const Field *field)
{
    PyObject *value = source->dict != NULL
        ? Py_XNewRef(dict_field(source->dict, &source->position, field->name))
        : struct_field(state, source->node, source->object, field - source->node->fields);
    if (value == NULL)
        return missing_field(state, field);
    source->found++;
    return value;
}

/* Fails: the dict has a key that is no field. -1. */
int refuse_unknown(State *state, Source *source);

/* After the last field: a dict may hold nothing else. */
static inline int end_source(State *state, Source *source)
{
    if (source->dict == NULL || source->found == PyDict_GET_SIZE(source->dict))
        return 0;
    return refuse_unknown(state, source);
}

/* The raw value that a logical type's value is written as; owned. */
static inline PyObject *take_logical(State *state, const WriteNode *node, PyObject *value)
{
    PyObject *raw = PyObject_CallOneArg(node->logical, value);
    return raw != NULL ? raw : blame_data(state->encode_error);
}

#endif
