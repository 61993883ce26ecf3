/* What is not done for most values that are written: see taking.h. */

#include "taking.h"

const char *type_name(PyObject *value)
{
    const char *dot = strrchr(Py_TYPE(value)->tp_name, '.');
    return dot != NULL ? dot + 1 : Py_TYPE(value)->tp_name;
}

void *refuse_as(State *state, PyObject *wanted, PyObject *value) /* steals wanted */
{
    if (wanted != NULL)
        fail(state->encode_error, "%U expected, not %s", wanted, type_name(value));
    Py_XDECREF(wanted);
    return NULL;
}

void *refuse(State *state, const char *wanted, PyObject *value)
{
    return refuse_as(state, PyUnicode_FromString(wanted), value);
}

static void refuse_symbol(State *state, const WriteNode *node, PyObject *symbol)
{
    PyObject *start = PyUnicode_Substring(symbol, 0, 60);
    if (start != NULL)
        fail(state->encode_error, "%R is no symbol of %U", start, node->label);
    Py_XDECREF(start);
}

static int take_text(State *state, PyObject *value, Span *span)
{
    if (!PyUnicode_Check(value)) {
        refuse(state, "str", value);
        return -1;
    }
    if (PyUnicode_IS_COMPACT_ASCII(value)) {
        span->bytes = PyUnicode_1BYTE_DATA(value);
        span->length = PyUnicode_GET_LENGTH(value);
        return 0;
    }
    span->bytes = (const uint8_t *)PyUnicode_AsUTF8AndSize(value, &span->length);
    if (span->bytes != NULL)
        return 0;
    if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        PyObject *error = take_exception(), *reason = PyUnicodeEncodeError_GetReason(error);
        Py_ssize_t start = -1;
        if (reason != NULL && PyUnicodeEncodeError_GetStart(error, &start) == 0)
            fail(state->encode_error, "a str that is no text: %U at %zd", reason, start);
        Py_XDECREF(reason);
        Py_DECREF(error);
    }
    return -1;
}

static int take_raw(State *state, PyObject *value, Span *span)
{
    if (PyBytes_Check(value)) {
        span->bytes = (const uint8_t *)PyBytes_AS_STRING(value);
        span->length = PyBytes_GET_SIZE(value);
        return 0;
    }
    if (!PyByteArray_Check(value) && !PyMemoryView_Check(value)) {
        refuse(state, "bytes", value);
        return -1;
    }
    if (PyObject_GetBuffer(value, &span->buffer, PyBUF_SIMPLE) == 0) {
        span->bytes = span->buffer.buf;
        span->length = span->buffer.len;
        return 0;
    }
    span->buffer.obj = NULL;
    PyErr_Clear(); /* not contiguous: only a copy has the bytes in a row */
    span->copy = PyBytes_FromObject(value);
    if (span->copy == NULL) {
        blame_data(state->encode_error);
        return -1;
    }
    span->bytes = (const uint8_t *)PyBytes_AS_STRING(span->copy);
    span->length = PyBytes_GET_SIZE(span->copy);
    return 0;
}

int take_span(Budget *budget, const WriteNode *node, PyObject *value, Span *span)
{
    span->buffer.obj = NULL;
    span->copy = NULL;
    if ((node->op == STRING ? take_text(budget->state, value, span) : take_raw(budget->state, value, span)) < 0)
        return -1;
    if (check_length(budget, span->length) < 0)
        return -1;
    if (node->op == FIXED && span->length != node->size) {
        fail(budget->state->encode_error, "%zd bytes for a fixed of %lld", span->length, (long long)node->size);
        return -1;
    }
    return 0;
}

int take_symbol(State *state, const WriteNode *node, PyObject *value, int64_t *index)
{
    bool member = !PyUnicode_CheckExact(value) && PyObject_TypeCheck(value, (PyTypeObject *)state->enum_class);
    PyObject *symbol = member ? PyObject_CallOneArg(state->symbol_of, value) : Py_NewRef(value);
    if (symbol == NULL)
        return -1;
    if (!PyUnicode_Check(symbol)) {
        Py_DECREF(symbol);
        return refuse_as(state, PyUnicode_FromFormat("a symbol of %U", node->label), value), -1;
    }
    PyObject *known = PyDict_GetItemWithError(node->indexes, symbol);
    if (known == NULL && !PyErr_Occurred())
        refuse_symbol(state, node, symbol);
    Py_DECREF(symbol);
    if (known == NULL)
        return -1;
    *index = PyLong_AsLongLong(known);
    return 0;
}

/* The attributes of a Struct class that hold the record's fields: a tuple by field, None where it has none. */
static PyObject *attributes_by_field(State *state, const WriteNode *node, PyTypeObject *class)
{
    PyObject *known = PyObject_CallOneArg(state->struct_attributes, (PyObject *)class);
    if (known != NULL && !PyDict_Check(known)) {
        fail(PyExc_TypeError, "struct_attributes gave no dict");
        Py_CLEAR(known);
    }
    PyObject *attributes = known != NULL ? PyTuple_New(node->count) : NULL;
    for (Py_ssize_t i = 0; attributes != NULL && i < node->count; i++) {
        PyObject *attribute = PyDict_GetItemWithError(known, node->fields[i].name);
        PyTuple_SET_ITEM(attributes, i, Py_NewRef(attribute != NULL ? attribute : Py_None));
        if (attribute == NULL && PyErr_Occurred())
            Py_CLEAR(attributes);
    }
    Py_XDECREF(known);
    return attributes;
}

void forget(const Seen *seen)
{
    Py_XDECREF(seen->class);
    Py_XDECREF(seen->names);
    PyMem_Free(seen->offsets);
}

/* Makes the value's class the one that was seen last. */
static int see_class(State *state, const WriteNode *constant, PyTypeObject *class)
{
    WriteNode *node = (WriteNode *)constant; /* constant but for `seen` */
    PyObject *attributes = attributes_by_field(state, node, class);
    if (attributes == NULL)
        return -1;
    Py_ssize_t *offsets = PyMem_Calloc((size_t)node->count + 1, sizeof(Py_ssize_t));
    if (offsets == NULL) {
        Py_DECREF(attributes);
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < node->count; i++) {
        PyObject *name = PyTuple_GET_ITEM(attributes, i);
        offsets[i] = name != Py_None ? slot_offset(class, name) : 0;
    }
    /* All three at once, and only then what may run Python: letting go of the class before. */
    Seen was = node->seen;
    node->seen = (Seen){(PyTypeObject *)Py_NewRef(class), attributes, offsets};
    forget(&was);
    return 0;
}

PyObject *struct_attribute(State *state, const WriteNode *node, PyObject *value, Py_ssize_t index)
{
    while (node->seen.class != Py_TYPE(value)) {
        if (see_class(state, node, Py_TYPE(value)) < 0)
            return NULL;
    }
    if (node->seen.offsets[index] != 0)
        return Py_XNewRef(*slot_at(value, node->seen.offsets[index]));
    PyObject *name = PyTuple_GET_ITEM(node->seen.names, index), *found;
    if (name == Py_None)
        return NULL;
    Py_INCREF(name); /* a property may do anything */
    found = PyObject_GetAttr(value, name);
    Py_DECREF(name);
    if (found == NULL && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Clear();
    return found;
}

PyObject *missing_field(State *state, const Field *field)
{
    if (PyErr_Occurred())
        return NULL;
    if (field->make != NULL)
        return PyObject_CallNoArgs(field->make);
    return fail(state->encode_error, "the field is missing");
}

int refuse_unknown(State *state, Source *source)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(source->dict, &position, &key, &value)) {
        Py_INCREF(key);
        int known = PySet_Contains(source->node->names, key);
        if (known == 0)
            fail(state->encode_error, "%U has no field %R", source->node->label, key);
        Py_DECREF(key);
        if (known <= 0)
            return -1;
    }
    return changed(state);
}
