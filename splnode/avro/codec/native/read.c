/* decode: bytes -> value. */

#include "giving.h"
#include "bits.h"
#include "walkers.h"

#define BREATH 12 /* 2^12 values are read before other threads may run */

/* A bytes or string value that is not among the data: `part`, which belongs at `at`, where the tail is shorter than it.
 * Without a `part` it is sought: `at` becomes where its bytes would begin. */
typedef struct {
    PyObject *part;
    const uint8_t *at;
    Py_ssize_t size;
} Aside;

typedef struct {
    Budget budget;
    const uint8_t *p, *end;
    Aside *aside; /* or NULL */
} Reader;

static PyObject *read_value(Reader *in, const ReadNode *node);

static Py_NO_INLINE int read_long_slowly(Reader *in, int64_t *number)
{
    uint64_t bits = 0;
    const uint8_t *p = in->p, *end = in->end;
    for (int shift = 0; p < end; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) {
            fail(in->budget.state->decode_error, "a number of more than 10 bytes or 64 bits");
            return -1;
        }
        bits |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *number = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            in->p = p;
            return 0;
        }
    }
    fail(in->budget.state->decode_error, "the data end within a number");
    return -1;
}

static inline int read_long(Reader *in, int64_t *number)
{
    if (in->p < in->end && *in->p < 0x80) {
        uint8_t byte = *in->p++;
        *number = (int64_t)(byte >> 1) ^ -(int64_t)(byte & 1);
        return 0;
    }
    return read_long_slowly(in, number);
}

static Py_NO_INLINE void *too_few(Reader *in, int64_t size)
{
    return fail(in->budget.state->decode_error, "%lld bytes expected, but only %zd are left", (long long)size,
                (Py_ssize_t)(in->end - in->p));
}

/* Steps over `size` bytes and gives where they start; NULL if there are fewer. */
static inline const uint8_t *read_raw(Reader *in, int64_t size)
{
    if (size > in->end - in->p)
        return too_few(in, size);
    const uint8_t *bytes = in->p;
    in->p += size;
    return bytes;
}

static Py_NO_INLINE void *negative_length(Reader *in, int64_t size)
{
    return fail(in->budget.state->decode_error, "a length of %lld", (long long)size);
}

static inline const uint8_t *read_sized(Reader *in, Py_ssize_t *length)
{
    int64_t size;
    if (read_long(in, &size) < 0)
        return NULL;
    if (size < 0)
        return negative_length(in, size);
    if (check_length(&in->budget, size) < 0)
        return NULL;
    *length = (Py_ssize_t)size;
    return read_raw(in, size);
}

/* Lets other threads run, once in 2^BREATH items, if one has waited for its turn: what one datum may unfold to takes a
 * tenth of a second. A function of Python's does so as it begins. To release the interpreter's lock and take it again
 * would not: it wakes who waits for it, finds it free, and who waits begins to count its 5 ms anew. -1 with the
 * exception of a signal's handler. */
static inline int breathe(State *state, int64_t left)
{
    if ((left & ((1 << BREATH) - 1)) != 0)
        return 0;
    PyObject *none = PyObject_CallNoArgs(state->nothing);
    Py_XDECREF(none);
    return none != NULL ? 0 : -1;
}

static int spend_reading(Budget *budget, int64_t count, int64_t each)
{
    Py_ssize_t before = budget->nodes_left >> BREATH;
    if (spend_items(budget, count, each) < 0)
        return -1;
    return before != budget->nodes_left >> BREATH ? breathe(budget->state, 0) : 0;
}

/* The count of the next block of an array or a map; `block_end` is NULL where the writer gave no size. */
static int read_block(Reader *in, const ReadNode *node, int64_t *count, const uint8_t **block_end)
{
    int64_t size;
    *block_end = NULL;
    if (read_long(in, count) < 0)
        return -1;
    if (*count < 0) {
        if (*count == INT64_MIN) {
            fail(in->budget.state->decode_error, "a block count of -2^63");
            return -1;
        }
        *count = -*count;
        if (read_long(in, &size) < 0)
            return -1;
        if (size < 0 || size > in->end - in->p) {
            fail(in->budget.state->decode_error, "a block of %lld bytes, but %zd are left", (long long)size,
                 (Py_ssize_t)(in->end - in->p));
            return -1;
        }
        *block_end = in->p + size;
    }
    return spend_reading(&in->budget, *count, node->each);
}

static int end_block(Reader *in, const uint8_t *block_end)
{
    if (block_end == NULL || block_end == in->p)
        return 0;
    fail(in->budget.state->decode_error, "a block's size is wrong by %zd bytes", (Py_ssize_t)(block_end - in->p));
    return -1;
}

static int read_items(Reader *in, const ReadNode *node, PyObject **list)
{
    int64_t count;
    const uint8_t *block_end;
    for (;;) {
        if (read_block(in, node, &count, &block_end) < 0)
            return -1;
        if (*list == NULL && (*list = new_list(count)) == NULL)
            return -1;
        if (count == 0)
            return end_block(in, block_end);
        for (; count > 0; count--) {
            if (breathe(in->budget.state, count) < 0)
                return -1;
            PyObject *value = read_value(in, node->items);
            if (value == NULL)
                at_index(in->budget.state, PyList_GET_SIZE(*list));
            if (value == NULL || append(*list, value) < 0)
                return -1;
        }
        if (end_block(in, block_end) < 0)
            return -1;
    }
}

static int read_entry(Reader *in, const ReadNode *items, PyObject *dict)
{
    Py_ssize_t length = 0;
    const uint8_t *bytes = read_sized(in, &length);
    PyObject *key = bytes != NULL ? text(in->budget.state, bytes, length) : NULL;
    if (key == NULL)
        return -1;
    PyObject *value = read_value(in, items);
    if (value == NULL)
        at_key(in->budget.state, key);
    int failed = value == NULL ? -1 : PyDict_SetItem(dict, key, value);
    Py_DECREF(key);
    Py_XDECREF(value);
    return failed;
}

static int read_entries(Reader *in, const ReadNode *node, PyObject *dict)
{
    int64_t count;
    const uint8_t *block_end;
    for (;;) {
        if (read_block(in, node, &count, &block_end) < 0)
            return -1;
        if (count == 0)
            return end_block(in, block_end);
        for (; count > 0; count--) {
            if (breathe(in->budget.state, count) < 0 || read_entry(in, node->items, dict) < 0)
                return -1;
        }
        if (end_block(in, block_end) < 0)
            return -1;
    }
}

static int read_fields(Reader *in, Making *making)
{
    const ReadNode *node = making->node;
    for (const Step *step = node->steps, *end = step + node->count; step < end; step++) {
        PyObject *value = read_value(in, step->node);
        if (value == NULL) {
            at_field(in->budget.state, step->name);
            return -1;
        }
        if (step->target < 0)
            Py_DECREF(value);
        else if (set_field(making, step->target, node->names[step->target], value) < 0)
            return -1;
    }
    return 0;
}

static Py_NO_INLINE PyObject *read_record(Reader *in, const ReadNode *node)
{
    Making making;
    if (begin_record(&making, node) < 0)
        return NULL;
    if (read_fields(in, &making) == 0)
        return end_record(in->budget.state, &making);
    drop_record(&making);
    return NULL;
}

static Py_NO_INLINE PyObject *read_container(Reader *in, const ReadNode *node)
{
    PyObject *value = NULL;
    if (enter(&in->budget) < 0)
        return NULL;
    int failed = spend_reading(&in->budget, 1, node->cost);
    if (!failed && node->op == RECORD)
        value = read_record(in, node);
    else if (!failed && node->op == ARRAY)
        failed = read_items(in, node, &value);
    else if (!failed)
        failed = (value = PyDict_New()) == NULL ? -1 : read_entries(in, node, value);
    if (failed)
        Py_CLEAR(value);
    if (node->op != RECORD)
        value = finish(in->budget.state, node, value);
    leave(&in->budget);
    return value;
}

static Py_NO_INLINE PyObject *read_boolean(Reader *in, const ReadNode *node)
{
    const uint8_t *bytes = read_raw(in, 1);
    if (bytes == NULL)
        return NULL;
    if (*bytes > 1)
        return fail(in->budget.state->decode_error, "a boolean of %d", *bytes);
    return finish(in->budget.state, node, PyBool_FromLong(*bytes));
}

static Py_NO_INLINE PyObject *read_integer(Reader *in, const ReadNode *node)
{
    int64_t number;
    if (read_long(in, &number) < 0)
        return NULL;
    if (node->op == INT && (number < INT32_MIN || number > INT32_MAX))
        return fail(in->budget.state->decode_error, "%lld does not fit an int of 32 bits", (long long)number);
    return give_integer(in->budget.state, node, number);
}

static Py_NO_INLINE PyObject *read_real(Reader *in, const ReadNode *node)
{
    const uint8_t *bytes = read_raw(in, node->op == FLOAT ? 4 : 8);
    if (bytes == NULL)
        return NULL;
    return give_float(in->budget.state, node, node->op == FLOAT ? unpack_float(bytes) : unpack_double(bytes));
}

/* Bytes or a string that may be aside. */
static Py_NO_INLINE PyObject *read_aside(Reader *in, const ReadNode *node)
{
    Aside *aside = in->aside;
    int64_t length;
    if (read_long(in, &length) < 0)
        return NULL;
    if (length < 0)
        return negative_length(in, length);
    if (check_length(&in->budget, length) < 0)
        return NULL;
    if (length > in->end - in->p && aside->part == NULL) {
        aside->at = in->p;
        aside->size = (Py_ssize_t)length;
        PyErr_SetNone(PyExc_EOFError); /* nobody hears of it: no text, and no path */
        return NULL;
    }
    if (length > in->end - in->p && aside->at == in->p && aside->size == length) {
        aside->at = NULL; /* it was taken */
        if (node->op == BYTES && node->promote == NONE)
            return finish(in->budget.state, node, Py_NewRef(aside->part));
        return give_bytes(in->budget.state, node, (const uint8_t *)PyBytes_AS_STRING(aside->part), aside->size);
    }
    const uint8_t *bytes = read_raw(in, length);
    return bytes != NULL ? give_bytes(in->budget.state, node, bytes, (Py_ssize_t)length) : NULL;
}

static Py_NO_INLINE PyObject *read_bytes(Reader *in, const ReadNode *node)
{
    if (in->aside != NULL)
        return read_aside(in, node);
    Py_ssize_t length = 0;
    const uint8_t *bytes = read_sized(in, &length);
    return bytes != NULL ? give_bytes(in->budget.state, node, bytes, length) : NULL;
}

static Py_NO_INLINE PyObject *read_fixed(Reader *in, const ReadNode *node)
{
    if (check_length(&in->budget, node->size) < 0)
        return NULL;
    const uint8_t *bytes = read_raw(in, node->size);
    return bytes != NULL ? give_bytes(in->budget.state, node, bytes, node->size) : NULL;
}

static Py_NO_INLINE PyObject *read_symbol(Reader *in, const ReadNode *node)
{
    int64_t index;
    return read_long(in, &index) < 0 ? NULL : give_symbol(in->budget.state, node, index);
}

static Py_NO_INLINE PyObject *read_branch(Reader *in, const ReadNode *node)
{
    int64_t index;
    if (read_long(in, &index) < 0)
        return NULL;
    if (index < 0 || index >= node->count)
        return fail(in->budget.state->decode_error, "union index %lld, but there are %zd branches", (long long)index,
                    node->count);
    return read_value(in, node->branches[index]); /* which is no union */
}

/* Only chooses: each function takes the stack that it needs itself. */
static PyObject *read_value(Reader *in, const ReadNode *node)
{
    switch (node->op) {
    case NULL_:
        return finish(in->budget.state, node, Py_NewRef(Py_None));
    case BOOLEAN:
        return read_boolean(in, node);
    case INT:
    case LONG:
        return read_integer(in, node);
    case FLOAT:
    case DOUBLE:
        return read_real(in, node);
    case BYTES:
    case STRING:
        return read_bytes(in, node);
    case FIXED:
        return read_fixed(in, node);
    case ENUM:
        return read_symbol(in, node);
    case UNION:
        return read_branch(in, node);
    case FAIL:
        return fail(in->budget.state->decode_error, "%U", node->reason);
    default:
        return read_container(in, node);
    }
}

static PyObject *pair(PyObject *first, PyObject *second) /* steals both */
{
    PyObject *tuple = second != NULL ? PyTuple_New(2) : NULL;
    if (tuple != NULL) {
        PyTuple_SET_ITEM(tuple, 0, first);
        PyTuple_SET_ITEM(tuple, 1, second);
        return tuple;
    }
    Py_DECREF(first);
    Py_XDECREF(second);
    return NULL;
}

static PyObject *decoder_decode(Codec *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    Py_ssize_t start = 0;
    Py_buffer data;
    if (nargs < 1 || nargs > 2 || keywords != NULL)
        return fail(PyExc_TypeError, "decode(data, start=0) takes one or two arguments by position");
    if (nargs == 2 && (start = PyLong_AsSsize_t(args[1])) == -1 && PyErr_Occurred())
        return NULL;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *result = NULL;
    if (start < 0 || start > data.len)
        fail(self->state->decode_error, "start %zd lies outside of %zd bytes", start, data.len);
    else {
        const uint8_t *bytes = data.buf;
        Reader in = {new_budget(self), bytes + start, bytes + data.len, NULL};
        PyObject *value = spend(&in.budget, self->read->weight) < 0 ? NULL : read_value(&in, self->read);
        if (value == NULL)
            blame_depth(self->state, &self->limits);
        else
            result = pair(value, PyLong_FromSsize_t(in.p - bytes));
    }
    PyBuffer_Release(&data);
    return result;
}

static int locate(Codec *self, const uint8_t *at, const uint8_t *end, const uint8_t **place, Py_ssize_t *size)
{
    Aside aside = {NULL, NULL, 0};
    Reader in = {new_budget(self), at, end, &aside};
    PyObject *value = spend(&in.budget, self->read->weight) < 0 ? NULL : read_value(&in, self->read);
    Py_XDECREF(value);
    if (value == NULL) {
        if (aside.at == NULL && !PyErr_ExceptionMatches(self->state->data_error)
            && !PyErr_ExceptionMatches(PyExc_RecursionError))
            return -1;
        PyErr_Clear();
    }
    *place = aside.at;
    *size = aside.size;
    return aside.at != NULL;
}

static PyObject *decoder_locate(Codec *self, PyObject *args)
{
    PyObject *data;
    Py_ssize_t start, size;
    if (!PyArg_ParseTuple(args, "Sn:locate", &data, &start))
        return NULL;
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(data), *end = bytes + PyBytes_GET_SIZE(data), *place;
    if (start < 0 || start > end - bytes)
        Py_RETURN_NONE;
    int found = locate(self, bytes + start, end, &place, &size);
    if (found <= 0)
        return found < 0 ? NULL : Py_NewRef(Py_None);
    return Py_BuildValue("nn", (Py_ssize_t)(place - bytes), size);
}

static PyObject *decode_apart(Codec *self, const uint8_t **at, const uint8_t *end, const uint8_t *place,
                              PyObject *part)
{
    if (place < *at || place > end || PyBytes_GET_SIZE(part) <= end - place)
        return fail(PyExc_ValueError, "no place for a part of more bytes than are behind it");
    Aside aside = {part, place, PyBytes_GET_SIZE(part)};
    Reader in = {new_budget(self), *at, end, &aside};
    PyObject *value = spend(&in.budget, self->read->weight) < 0 ? NULL : read_value(&in, self->read);
    if (value == NULL)
        blame_depth(self->state, &self->limits);
    else if (aside.at != NULL) {
        Py_CLEAR(value);
        fail(self->state->decode_error, "no value where the part belongs");
    }
    *at = in.p;
    return value;
}

static PyObject *decoder_decode_apart(Codec *self, PyObject *args)
{
    PyObject *data, *part;
    Py_ssize_t start, place;
    if (!PyArg_ParseTuple(args, "SnnS:decode_apart", &data, &start, &place, &part))
        return NULL;
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    if (start < 0 || start > size || place < start || place > size)
        return fail(PyExc_ValueError, "no place for a part of more bytes than are behind it");
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(data), *at = bytes + start;
    PyObject *value = decode_apart(self, &at, bytes + size, bytes + place, part);
    return value != NULL ? pair(value, PyLong_FromSsize_t(at - bytes)) : NULL;
}

PyMethodDef decoder_methods[] = {
    {"decode", (PyCFunction)(void (*)(void))decoder_decode, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("decode(data, start=0) -> (value, offset behind it)")},
    {"locate", (PyCFunction)decoder_locate, METH_VARARGS, PyDoc_STR("locate(data, start) -> (offset, size) | None")},
    {"decode_apart", (PyCFunction)decoder_decode_apart, METH_VARARGS,
     PyDoc_STR("decode_apart(data, start, at, part) -> (value, offset behind it)")},
    {NULL, NULL, 0, NULL},
};

/* For the other native parts: see native.h. */

PyObject *api_decode(PyObject *decoder, const uint8_t **at, const uint8_t *end)
{
    Codec *self = (Codec *)decoder;
    Reader in = {new_budget(self), *at, end, NULL};
    PyObject *value = spend(&in.budget, self->read->weight) < 0 ? NULL : read_value(&in, self->read);
    if (value == NULL)
        blame_depth(self->state, &self->limits);
    *at = in.p;
    return value;
}

int api_gives_fields(PyObject *decoder, PyObject *names)
{
    const ReadNode *node = ((Codec *)decoder)->read;
    bool fit = node->op == RECORD && node->blank != NULL && node->logical == NULL
        && node->places == PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; fit && i < node->places; i++)
        fit = PyUnicode_Compare(node->names[i], PyTuple_GET_ITEM(names, i)) == 0;
    return fit;
}

PyObject *api_decode_fields(PyObject *decoder, const uint8_t **at, const uint8_t *end)
{
    Codec *self = (Codec *)decoder;
    const ReadNode *node = self->read;
    Reader in = {new_budget(self), *at, end, NULL};
    PyObject *fields = PyTuple_New(node->places);
    if (fields == NULL)
        return NULL;
    Making making;
    making.node = node;
    making.dict = making.object = NULL;
    making.values = ((PyTupleObject *)fields)->ob_item;
    bool entered = spend(&in.budget, node->weight) == 0 && enter(&in.budget) == 0;
    if (!entered || spend_reading(&in.budget, 1, node->cost) < 0 || read_fields(&in, &making) < 0
        || (node->default_count > 0 && set_defaults(&making) < 0)) {
        blame_depth(self->state, &self->limits);
        Py_CLEAR(fields);
    }
    if (entered)
        leave(&in.budget);
    *at = in.p;
    return fields;
}

int api_locate(PyObject *decoder, const uint8_t *at, const uint8_t *end, const uint8_t **place, Py_ssize_t *size)
{
    return locate((Codec *)decoder, at, end, place, size);
}

PyObject *api_decode_apart(PyObject *decoder, const uint8_t **at, const uint8_t *end, const uint8_t *place,
                                  PyObject *part)
{
    return decode_apart((Codec *)decoder, at, end, place, part);
}
