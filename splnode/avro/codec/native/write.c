/* encode: value -> bytes. */

#include "choice.h"
#include "bits.h"
#include "walkers.h"

#define SPARE_LARGEST (64 * 1024) /* bytes of the output buffer that is kept; larger values get their own */
#define APART (32 * 1024) /* bytes of a value from which on it is not copied where that can be helped */

typedef struct {
    Budget budget;
    uint8_t *at, *end; /* where the output goes on, and where its room ends */
    uint8_t *start;    /* of the output: `buffer`, or within `result` */
    uint8_t *buffer;   /* reused from one value to the next */
    Py_ssize_t buffer_size;
    PyObject *result; /* bytes, for a large value, which then need not be copied; else NULL */
    bool cuts;        /* large bytes are given as they are, as parts of their own */
    PyObject *parts;  /* a list, once there is one; what stands behind them is in `start` */
    Py_ssize_t given; /* bytes in `parts` */
} Writer;

static int write_value(Writer *out, const WriteNode *node, PyObject *value);

static inline Py_ssize_t written(const Writer *out) { return out->at - out->start; }
static inline Py_ssize_t encoded(const Writer *out) { return out->given + written(out); }

static int grow_buffer(Writer *out, Py_ssize_t size)
{
    Py_ssize_t used = written(out);
    uint8_t *buffer = PyMem_Realloc(out->buffer, (size_t)size);
    if (buffer == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->start = out->buffer = buffer;
    out->at = buffer + used;
    out->end = buffer + size;
    out->buffer_size = size;
    return 0;
}

static int grow_result(Writer *out, Py_ssize_t size)
{
    Py_ssize_t used = written(out);
    if (out->result != NULL)
        _PyBytes_Resize(&out->result, size);
    else if ((out->result = PyBytes_FromStringAndSize(NULL, size)) != NULL && used > 0)
        memcpy(PyBytes_AS_STRING(out->result), out->buffer, (size_t)used);
    if (out->result == NULL)
        return -1;
    out->start = (uint8_t *)PyBytes_AS_STRING(out->result);
    out->at = out->start + used;
    out->end = out->start + size;
    return 0;
}

static Py_NO_INLINE int grow(Writer *out, Py_ssize_t need)
{
    Py_ssize_t used = written(out), size = out->end - out->start;
    if (check_size(&out->budget, encoded(out)) < 0)
        return -1;
    size = Py_MAX(size + size / 2, used + need + 256);
    return size <= SPARE_LARGEST ? grow_buffer(out, size) : grow_result(out, size);
}

static inline int make_room(Writer *out, Py_ssize_t need)
{
    return out->end - out->at >= need ? 0 : grow(out, need);
}

static inline uint8_t *put_long(uint8_t *at, int64_t number)
{
    uint64_t bits = (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
    for (; bits >= 0x80; bits >>= 7)
        *at++ = (uint8_t)(bits | 0x80);
    *at++ = (uint8_t)bits;
    return at;
}

static inline int write_long(Writer *out, int64_t number)
{
    if (make_room(out, 10) < 0)
        return -1;
    out->at = put_long(out->at, number);
    return 0;
}

static inline int write_raw(Writer *out, const uint8_t *bytes, Py_ssize_t length)
{
    if (make_room(out, length) < 0)
        return -1;
    copy(out->at, bytes, length);
    out->at += length;
    return 0;
}

static inline int write_sized(Writer *out, const uint8_t *bytes, Py_ssize_t length)
{
    if (check_length(&out->budget, length) < 0 || make_room(out, length + 10) < 0)
        return -1;
    uint8_t *at = put_long(out->at, length);
    copy(at, bytes, length);
    out->at = at + length;
    return 0;
}

/* What was written, as bytes. */
static PyObject *bytes_of(Writer *out)
{
    if (out->result == NULL)
        return PyBytes_FromStringAndSize((const char *)out->start, written(out));
    PyObject *result = _PyBytes_Resize(&out->result, written(out)) == 0 ? out->result : NULL;
    out->result = NULL;
    return result;
}

/* Ends a part; what follows goes to the next one. */
static int end_part(Writer *out)
{
    Py_ssize_t size = written(out);
    PyObject *part = bytes_of(out);
    out->start = out->at = out->buffer;
    out->end = out->buffer + out->buffer_size;
    if (part != NULL && out->parts == NULL)
        out->parts = PyList_New(0);
    int failed = part == NULL || out->parts == NULL || PyList_Append(out->parts, part) < 0 ? -1 : 0;
    Py_XDECREF(part);
    out->given += size;
    return failed;
}

/* A large bytes object, which nobody can change, is a part by itself. */
static Py_NO_INLINE int write_apart(Writer *out, PyObject *value)
{
    Py_ssize_t length = PyBytes_GET_SIZE(value);
    if (check_length(&out->budget, length) < 0 || write_long(out, length) < 0 || end_part(out) < 0
        || PyList_Append(out->parts, value) < 0)
        return -1;
    out->given += length;
    return check_size(&out->budget, out->given);
}

static Py_NO_INLINE int write_span(Writer *out, const WriteNode *node, PyObject *value)
{
    Span span;
    int failed = take_span(&out->budget, node, value, &span);
    if (!failed && node->op != FIXED)
        failed = write_long(out, span.length);
    if (!failed)
        failed = write_raw(out, span.bytes, span.length);
    release_span(&span);
    return failed;
}

static Py_NO_INLINE int write_items(Writer *out, const WriteNode *node, PyObject *value)
{
    PyObject *sequence = take_sequence(out->budget.state, value), *item;
    if (sequence == NULL)
        return -1;
    Py_ssize_t index = 0, size = PySequence_Fast_GET_SIZE(sequence);
    int more = 0, failed = spend_items(&out->budget, size, node->each);
    if (!failed && size > 0)
        failed = write_long(out, size);
    for (; !failed && (more = next_item(out->budget.state, sequence, index, size, &item)) > 0; index++) {
        failed = write_value(out, node->items, item);
        if (failed)
            at_index(out->budget.state, index);
        Py_DECREF(item);
    }
    Py_DECREF(sequence);
    return failed || more < 0 ? -1 : write_long(out, 0);
}

static inline int write_key(Writer *out, PyObject *key)
{
    static const WriteNode string = {.op = STRING};
    const uint8_t *bytes;
    Py_ssize_t length;
    return is_plain(STRING, key, &bytes, &length) ? write_sized(out, bytes, length) : write_span(out, &string, key);
}

static Py_NO_INLINE int write_entries(Writer *out, const WriteNode *node, PyObject *value)
{
    State *state = out->budget.state;
    PyObject *dict = take_dict(state, value), *key;
    if (dict == NULL)
        return -1;
    Py_ssize_t index = 0, position = 0, size = PyDict_GET_SIZE(dict);
    int more = 0, failed = spend_items(&out->budget, size, node->each);
    if (!failed && size > 0)
        failed = write_long(out, size);
    for (; !failed && (more = next_entry(state, dict, &position, index, size, &key, &value)) > 0; index++) {
        failed = write_key(out, key);
        if (!failed && (failed = write_value(out, node->items, value)))
            at_key(state, key);
        Py_DECREF(key);
        Py_DECREF(value);
    }
    Py_DECREF(dict);
    return failed || more < 0 ? -1 : write_long(out, 0);
}

static Py_NO_INLINE int write_record(Writer *out, const WriteNode *node, PyObject *value)
{
    State *state = out->budget.state;
    Source source;
    if (take_record(state, node, value, &source) < 0)
        return -1;
    int failed = 0;
    for (const Field *field = node->fields, *end = field + node->count; field < end; field++) {
        PyObject *each = take_field(state, &source, field);
        failed = each == NULL ? -1 : write_value(out, field->node, each);
        if (failed)
            at_field(state, field->name);
        Py_XDECREF(each);
        if (failed)
            break;
    }
    if (!failed)
        failed = end_source(state, &source);
    release_record(&source);
    return failed;
}

static Py_NO_INLINE int write_container(Writer *out, const WriteNode *node, PyObject *value)
{
    if (enter(&out->budget) < 0)
        return -1;
    int failed = spend(&out->budget, node->cost) < 0 ? -1
        : node->op == RECORD                         ? write_record(out, node, value)
        : node->op == ARRAY                          ? write_items(out, node, value)
                                                     : write_entries(out, node, value);
    leave(&out->budget);
    return failed;
}

static Py_NO_INLINE int write_integer(Writer *out, const WriteNode *node, PyObject *value)
{
    int64_t number;
    return take_integer(out->budget.state, node, value, &number) < 0 ? -1 : write_long(out, number);
}

static Py_NO_INLINE int write_real(Writer *out, const WriteNode *node, PyObject *value)
{
    double real;
    if (take_float(out->budget.state, node, value, &real) < 0 || make_room(out, 8) < 0)
        return -1;
    if (node->op == FLOAT)
        pack_float(out->at, real);
    else
        pack_double(out->at, real);
    out->at += node->op == FLOAT ? 4 : 8;
    return 0;
}

static Py_NO_INLINE int write_symbol(Writer *out, const WriteNode *node, PyObject *value)
{
    int64_t index;
    return take_symbol(out->budget.state, node, value, &index) < 0 ? -1 : write_long(out, index);
}

/* A raw value: what is short is done here, the rest in functions of its own, so that this one needs little stack. */
static inline int write_raw_value(Writer *out, const WriteNode *node, PyObject *value)
{
    State *state = out->budget.state;
    const uint8_t *bytes;
    Py_ssize_t length;
    int64_t number;

    switch (node->op) {
    case NULL_:
        return value == Py_None ? 0 : (refuse(state, "None", value), -1);
    case BOOLEAN:
        if (!PyBool_Check(value))
            return refuse(state, "bool", value), -1;
        if (make_room(out, 1) < 0)
            return -1;
        *out->at++ = value == Py_True;
        return 0;
    case INT:
    case LONG:
        return is_short_int(value, &number) ? write_long(out, number) : write_integer(out, node, value);
    case FLOAT:
    case DOUBLE:
        return write_real(out, node, value);
    case BYTES:
    case STRING:
    case FIXED:
        if (is_plain(node->op, value, &bytes, &length))
            return length >= APART && out->cuts && node->op == BYTES ? write_apart(out, value)
                                                                     : write_sized(out, bytes, length);
        return write_span(out, node, value);
    case ENUM:
        return write_symbol(out, node, value);
    default:
        return write_container(out, node, value);
    }
}

static Py_NO_INLINE int write_logical(Writer *out, const WriteNode *node, PyObject *value)
{
    PyObject *raw = take_logical(out->budget.state, node, value);
    int failed = raw == NULL ? -1 : write_raw_value(out, node, raw);
    Py_XDECREF(raw);
    return failed;
}

static Py_NO_INLINE int write_branch(Writer *out, const WriteNode *node, PyObject *value)
{
    PyObject *inner;
    Py_ssize_t index = take_branch(out->budget.state, node, value, &inner);
    if (index < 0)
        return -1;
    int failed = write_long(out, index);
    if (!failed)
        failed = write_value(out, node->branches[index], inner); /* which is no union */
    Py_DECREF(inner);
    return failed;
}

static int write_value(Writer *out, const WriteNode *node, PyObject *value)
{
    if (node->op == UNION)
        return write_branch(out, node, value);
    return node->logical == NULL ? write_raw_value(out, node, value) : write_logical(out, node, value);
}

static Writer begin_writing(Codec *codec)
{
    State *state = codec->state;
    uint8_t *spare = state->spare;
    uint8_t *end = spare != NULL ? spare + state->spare_size : NULL; /* NULL + 0 is undefined in C */
    Writer out = {new_budget(codec), spare, end, spare, spare, state->spare_size, NULL, false, NULL, 0};
    state->spare = NULL; /* ours alone now: a callback may encode too */
    state->spare_size = 0;
    return out;
}

static void end_writing(Writer *out)
{
    State *state = out->budget.state;
    Py_CLEAR(out->result);
    Py_CLEAR(out->parts);
    if (out->buffer_size > state->spare_size) {
        PyMem_Free(state->spare);
        state->spare = out->buffer;
        state->spare_size = out->buffer_size;
    }
    else
        PyMem_Free(out->buffer);
}

PyObject *encode(Codec *self, PyObject *value)
{
    Writer out = begin_writing(self);
    PyObject *result = NULL;
    if (spend(&out.budget, self->write->weight) < 0 || write_value(&out, self->write, value) < 0
        || check_size(&out.budget, written(&out)) < 0)
        blame_depth(self->state, &self->limits);
    else
        result = bytes_of(&out);
    end_writing(&out);
    return result;
}

static PyObject *encoder_encode(Codec *self, PyObject *value) { return encode(self, value); }

static PyObject *encoder_encode_parts(Codec *self, PyObject *value)
{
    Writer out = begin_writing(self);
    PyObject *result = NULL;
    out.cuts = true;
    if (spend(&out.budget, self->write->weight) < 0 || write_value(&out, self->write, value) < 0
        || check_size(&out.budget, encoded(&out)) < 0)
        blame_depth(self->state, &self->limits);
    else if (out.parts == NULL)
        result = bytes_of(&out);
    else if (written(&out) == 0 || end_part(&out) == 0) {
        result = out.parts;
        out.parts = NULL;
    }
    end_writing(&out);
    return result;
}

PyMethodDef encoder_methods[] = {
    {"encode", (PyCFunction)encoder_encode, METH_O, PyDoc_STR("encode(value) -> bytes")},
    {"encode_parts", (PyCFunction)encoder_encode_parts, METH_O, PyDoc_STR("encode_parts(value) -> bytes | list[bytes]")},
    {NULL, NULL, 0, NULL},
};

/* For the other native parts: see native.h. */

static int give_out(Writer *writer, Codec *self, int failed, Output *out)
{
    Py_ssize_t length = written(writer);
    if (failed || check_size(&writer->budget, encoded(writer)) < 0) {
        blame_depth(self->state, &self->limits);
        failed = -1;
    }
    else if (writer->parts != NULL) {
        failed = length > 0 ? end_part(writer) : 0;
        if (!failed) {
            out->parts = writer->parts;
            out->given = writer->given;
            writer->parts = NULL;
        }
    }
    else {
        uint8_t *room = output_room(out, length);
        failed = room == NULL ? -1 : 0;
        if (!failed) {
            memcpy(room, writer->start, (size_t)length);
            out->used += length;
        }
    }
    end_writing(writer);
    return failed;
}

int api_encode(PyObject *encoder, PyObject *value, Output *out)
{
    Codec *self = (Codec *)encoder;
    Writer writer = begin_writing(self);
    writer.cuts = out->cuts;
    int failed = spend(&writer.budget, self->write->weight) < 0 || write_value(&writer, self->write, value) < 0;
    return give_out(&writer, self, failed, out);
}

int api_encode_fields(PyObject *encoder, PyObject *const *fields, Py_ssize_t count, Output *out)
{
    Codec *self = (Codec *)encoder;
    const WriteNode *node = self->write;
    if (node->op != RECORD || node->logical != NULL || node->count != count) {
        fail(PyExc_TypeError, "not the fields of this encoder's record");
        return -1;
    }
    Writer writer = begin_writing(self);
    writer.cuts = out->cuts;
    int failed = spend(&writer.budget, self->write->weight) < 0 || enter(&writer.budget) < 0;
    if (!failed) {
        failed = spend(&writer.budget, node->cost) < 0;
        for (Py_ssize_t i = 0; !failed && i < count; i++) {
            failed = write_value(&writer, node->fields[i].node, fields[i]) < 0;
            if (failed)
                at_field(self->state, node->fields[i].name);
        }
        leave(&writer.budget);
    }
    return give_out(&writer, self, failed, out);
}
