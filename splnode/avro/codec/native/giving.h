/* What a value read looks like, whether it comes out of bytes (read.c) or of another value (conform.c). */

#ifndef SPLNODE_CODEC_GIVING_H
#define SPLNODE_CODEC_GIVING_H

#include "budget.h"

#define FIRST_ITEMS 64 /* items of a list that room is made for at once */
#define FEW 16 /* fields of a Struct that are gathered without an allocation */

/* A string that is not in the table; it takes the place, if there is one for it. */
PyObject *new_text(State *state, const uint8_t *bytes, Py_ssize_t length, Recent *place);

/* Applies the logical type, for `finish`: steals the raw value, which may be NULL. */
PyObject *converted(State *state, const ReadNode *node, PyObject *raw);

/* BYTES and STRING that the reader has as the other one. */
PyObject *promoted_bytes(State *state, const ReadNode *node, const uint8_t *bytes, Py_ssize_t length);

/* Where the table of recent strings keeps this one, of 2 to RECENT_LONGEST bytes; the last word may overlap. */
static inline uint64_t recent_place(const uint8_t *bytes, Py_ssize_t length)
{
    uint64_t hash = (uint64_t)length, word;
    uint32_t half;
    if (length >= 8) {
        for (Py_ssize_t done = 0; done < length - 8; done += 8) {
            memcpy(&word, bytes + done, 8);
            hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
            hash ^= hash >> 32;
        }
        memcpy(&word, bytes + length - 8, 8);
    }
    else if (length >= 4) {
        memcpy(&half, bytes, 4);
        word = (uint64_t)half << 32;
        memcpy(&half, bytes + length - 4, 4);
        word |= half;
    }
    else
        word = bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[length - 1] << 16;
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return (hash >> 40) & (RECENT - 1);
}

/* Whether some 2 to RECENT_LONGEST bytes are the same; the last words may overlap. */
static inline bool is_equal(const uint8_t *one, const uint8_t *other, Py_ssize_t length)
{
    uint64_t word, own;
    if (length >= 8) {
        for (Py_ssize_t done = 0; done < length - 8; done += 8) {
            memcpy(&word, one + done, 8);
            memcpy(&own, other + done, 8);
            if (word != own)
                return false;
        }
        memcpy(&word, one + length - 8, 8);
        memcpy(&own, other + length - 8, 8);
        return word == own;
    }
    if (length >= 4) {
        uint32_t half, own_half, last, own_last;
        memcpy(&half, one, 4);
        memcpy(&own_half, other, 4);
        memcpy(&last, one + length - 4, 4);
        memcpy(&own_last, other + length - 4, 4);
        return half == own_half && last == own_last;
    }
    return one[0] == other[0] && one[1] == other[1] && one[length - 1] == other[length - 1];
}

/* The string of some UTF-8; short ones come from the table of recent strings. */
static inline PyObject *text(State *state, const uint8_t *bytes, Py_ssize_t length)
{
    if (length > RECENT_LONGEST || length < 2) /* Python itself keeps those of one character */
        return new_text(state, bytes, length, NULL);
    Recent *recent = &state->recent[recent_place(bytes, length)];
    if (recent->length == length && is_equal(recent->bytes, bytes, length))
        return Py_NewRef(recent->string);
    return new_text(state, bytes, length, recent);
}

/* Applies the logical type to a raw value, which it steals. */
static inline PyObject *finish(State *state, const ReadNode *node, PyObject *raw)
{
    return node->logical == NULL ? raw : converted(state, node, raw);
}

static inline PyObject *give_integer(State *state, const ReadNode *node, int64_t number)
{
    if (node->promote == TO_FLOAT)
        return finish(state, node, PyFloat_FromDouble((double)number));
    return finish(state, node, PyLong_FromLongLong(number));
}

static inline PyObject *give_float(State *state, const ReadNode *node, double number)
{
    return finish(state, node, PyFloat_FromDouble(number));
}

/* BYTES, STRING and FIXED, of either side. */
static inline PyObject *give_bytes(State *state, const ReadNode *node, const uint8_t *bytes, Py_ssize_t length)
{
    if (node->promote != NONE)
        return promoted_bytes(state, node, bytes, length);
    if (node->op == STRING)
        return finish(state, node, text(state, bytes, length));
    return finish(state, node, PyBytes_FromStringAndSize((const char *)bytes, length));
}

static inline PyObject *give_symbol(State *state, const ReadNode *node, int64_t index)
{
    if (index < 0 || index >= node->count)
        return fail(state->decode_error, "enum index %lld, but there are %zd symbols", (long long)index, node->count);
    if (node->symbols[index] == NULL)
        return fail(state->decode_error, "%U", node->reason);
    return finish(state, node, Py_NewRef(node->symbols[index]));
}

/* Room for the first items of a list; not for all that a sender only says will come. */
static inline PyObject *new_list(int64_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)Py_MIN(count, FIRST_ITEMS));
    if (list != NULL)
        Py_SET_SIZE(list, 0);
    return list;
}

static inline int append(PyObject *object, PyObject *value) /* steals the value */
{
    PyListObject *list = (PyListObject *)object;
    Py_ssize_t size = Py_SIZE(list);
    if (size < list->allocated) {
        list->ob_item[size] = value;
        Py_SET_SIZE(list, size + 1);
        return 0;
    }
    int failed = PyList_Append(object, value);
    Py_DECREF(value);
    return failed;
}

/* A record being put together: a dict, a Struct, or the arguments of a Struct class. */
typedef struct {
    const ReadNode *node;
    PyObject *dict;
    PyObject *object;  /* its slots are filled one after another; until then they read as unset */
    PyObject **values; /* by place, owned; values[-1] is free for the called (PY_VECTORCALL_ARGUMENTS_OFFSET) */
    PyObject *few[FEW + 1];
} Making;

static inline int begin_record(Making *making, const ReadNode *node)
{
    making->node = node;
    making->values = NULL;
    making->dict = making->object = NULL;
    if (node->offsets != NULL) {
        making->object = ((PyTypeObject *)node->factory)->tp_alloc((PyTypeObject *)node->factory, 0);
        return making->object != NULL ? 0 : -1;
    }
    if (node->blank != NULL) {
        /* A copy has the keys in the reader's order and never has to grow; small straight dicts need neither. */
        making->dict = node->straight && node->places <= 5 ? PyDict_New() : PyDict_Copy(node->blank);
        return making->dict != NULL ? 0 : -1;
    }
    size_t room = ((size_t)node->places + 1) * sizeof(PyObject *);
    PyObject **start = making->few;
    if (node->places > FEW) {
        start = PyMem_Malloc(room);
        if (start == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    memset(start, 0, room);
    making->values = start + 1;
    return 0;
}

static inline int set_field(Making *making, Py_ssize_t place, PyObject *name, PyObject *value) /* steals the value */
{
    if (making->dict == NULL) {
        PyObject **to = making->object != NULL ? slot_at(making->object, making->node->offsets[place])
                                               : &making->values[place];
        Py_XSETREF(*to, value);
        return 0;
    }
    int failed = PyDict_SetItem(making->dict, name, value);
    Py_DECREF(value);
    return failed;
}

/* Fills what the writer does not have. */
int set_defaults(Making *making);

/* Lets go of what `end_record` would have given. */
void drop_record(Making *making);

/* Calls the record's factory with the values, of which nothing is left then. */
PyObject *call_factory(State *state, Making *making);

/* As msgspec does: the collector need not look at a Struct that holds nothing of its kind. */
static inline void untrack_if_plain(PyObject *object, const ReadNode *node)
{
    if (!PyType_IS_GC(Py_TYPE(object)))
        return;
    for (Py_ssize_t i = 0; i < node->places; i++) {
        if (PyType_IS_GC(Py_TYPE(*slot_at(object, node->offsets[i]))))
            return;
    }
    PyObject_GC_UnTrack(object);
}

static inline PyObject *end_record(State *state, Making *making)
{
    const ReadNode *node = making->node;
    if (node->default_count > 0 && set_defaults(making) < 0) {
        drop_record(making);
        return NULL;
    }
    if (making->dict != NULL)
        return finish(state, node, making->dict);
    if (making->object != NULL) {
        untrack_if_plain(making->object, node);
        return finish(state, node, making->object);
    }
    return finish(state, node, call_factory(state, making));
}

#endif
