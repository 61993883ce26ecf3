/* conform: value -> the value that decoding its encoding would give, without the bytes. */

#include "choice.h"
#include "giving.h"
#include "walkers.h"

/* Both sides at once: what the writer would take is what the reader would give. The charges are the
 * reader's, which are never below the writer's. `size` is what the encoding would measure. */
typedef struct {
    Budget budget;
    Py_ssize_t size;
    bool quiet; /* of the Codec */
} Conforming;

static PyObject *conform_value(Conforming *c, const WriteNode *write, const ReadNode *read, PyObject *value);

static inline void count_long(Conforming *c, int64_t number)
{
    uint64_t bits = (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
    do
        c->size++;
    while (bits >>= 7);
}

/* Whether reading gives what was written: nobody can change it, so it need not be copied. */
static inline bool is_same(const ReadNode *read, PyObject *value, PyTypeObject *type)
{
    return Py_IS_TYPE(value, type) && read->promote == NONE;
}

static inline int count_bytes(Conforming *c, const WriteNode *write, Py_ssize_t length)
{
    if (write->op != FIXED)
        count_long(c, length);
    c->size += length;
    return check_size(&c->budget, c->size);
}

static Py_NO_INLINE PyObject *conform_span(Conforming *c, const WriteNode *write, const ReadNode *read,
                                           PyObject *value)
{
    Span span;
    PyObject *result = NULL;
    if (take_span(&c->budget, write, value, &span) == 0 && count_bytes(c, write, span.length) == 0) {
        bool same = is_same(read, value, read->op == STRING ? &PyUnicode_Type : &PyBytes_Type);
        result = same ? finish(c->budget.state, read, Py_NewRef(value))
                      : give_bytes(c->budget.state, read, span.bytes, span.length);
    }
    release_span(&span);
    return result;
}

/* BYTES, STRING and FIXED. */
static inline PyObject *conform_bytes(Conforming *c, const WriteNode *write, const ReadNode *read, PyObject *value)
{
    const uint8_t *bytes;
    Py_ssize_t length;
    if (read->promote != NONE || !is_plain(write->op, value, &bytes, &length))
        return conform_span(c, write, read, value);
    if (check_length(&c->budget, length) < 0 || count_bytes(c, write, length) < 0)
        return NULL;
    return finish(c->budget.state, read, Py_NewRef(value));
}

static Py_NO_INLINE PyObject *conform_items(Conforming *c, const WriteNode *write, const ReadNode *read, PyObject *value)
{
    State *state = c->budget.state;
    PyObject *sequence = take_sequence(state, value), *item;
    if (sequence == NULL)
        return NULL;
    Py_ssize_t index = 0, size = PySequence_Fast_GET_SIZE(sequence);
    PyObject *list = spend_items(&c->budget, size, read->each) < 0 ? NULL : new_list(size);
    int more = 0;
    for (; list != NULL && (more = next_item(state, sequence, index, size, &item)) > 0; index++) {
        PyObject *given = conform_value(c, write->items, read->items, item);
        Py_DECREF(item);
        if (given == NULL)
            at_index(state, index);
        if (given == NULL || append(list, given) < 0)
            Py_CLEAR(list);
    }
    Py_DECREF(sequence);
    if (more < 0)
        Py_CLEAR(list);
    if (size > 0)
        count_long(c, size);
    count_long(c, 0);
    return finish(state, read, list);
}

static PyObject *conform_key(Conforming *c, PyObject *key)
{
    static const WriteNode write = {.op = STRING};
    static const ReadNode read = {.op = STRING};
    return conform_bytes(c, &write, &read, key);
}

/* The entries of an exact dict, one by one into another. */
static int conform_each(Conforming *c, const WriteNode *write, const ReadNode *read, PyObject *dict, PyObject *result)
{
    State *state = c->budget.state;
    Py_ssize_t index = 0, position = 0, size = PyDict_GET_SIZE(dict);
    PyObject *key, *value;
    int more = 0;
    for (; (more = next_entry(state, dict, &position, index, size, &key, &value)) > 0; index++) {
        PyObject *own_key = conform_key(c, key);
        PyObject *given = own_key != NULL ? conform_value(c, write->items, read->items, value) : NULL;
        if (own_key != NULL && given == NULL)
            at_key(state, key);
        int failed = given == NULL ? -1 : PyDict_SetItem(result, own_key, given);
        Py_DECREF(key);
        Py_DECREF(value);
        Py_XDECREF(own_key);
        Py_XDECREF(given);
        if (failed)
            return -1;
    }
    return more;
}

/* The entries of a copy, which then is the result: most values are the same, and need not be put in again. 1 if a key
 * is not what it has to be in the result. */
static int conform_in_place(Conforming *c, const WriteNode *write, const ReadNode *read, PyObject *copy)
{
    State *state = c->budget.state;
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(copy, &position, &key, &value)) {
        if (!PyUnicode_CheckExact(key))
            return 1;
        PyObject *own_key = conform_key(c, key);
        if (own_key == NULL)
            return -1;
        Py_DECREF(own_key); /* the key itself */
        PyObject *given = conform_value(c, write->items, read->items, value);
        if (given == NULL)
            at_key(state, key);
        int failed = given == NULL ? -1 : given == value ? 0 : PyDict_SetItem(copy, key, given);
        Py_XDECREF(given);
        if (failed)
            return -1;
    }
    return 0;
}

static Py_NO_INLINE PyObject *conform_entries(Conforming *c, const WriteNode *write, const ReadNode *read,
                                              PyObject *value)
{
    PyObject *dict = take_dict(c->budget.state, value), *result = NULL;
    if (dict == NULL)
        return NULL;
    Py_ssize_t size = PyDict_GET_SIZE(dict);
    int failed = spend_items(&c->budget, size, read->each);
    Conforming before = *c;
    if (!failed && c->quiet) {
        result = PyDict_Copy(dict);
        failed = result == NULL ? -1 : conform_in_place(c, write, read, result);
    }
    if (failed > 0 || (!failed && !c->quiet)) {
        *c = before;
        Py_XSETREF(result, PyDict_New());
        failed = result == NULL ? -1 : conform_each(c, write, read, dict, result);
    }
    Py_DECREF(dict);
    if (failed)
        Py_CLEAR(result);
    if (size > 0)
        count_long(c, size);
    count_long(c, 0);
    return finish(c->budget.state, read, result);
}

/* Whether the reader's dict has the fields of the writer's, as the value should have them: then it is made of a copy. */
static inline bool is_copied(const Conforming *c, const WriteNode *write, const ReadNode *read, PyObject *value)
{
    return c->quiet && read->blank != NULL && read->straight && read->default_count == 0 && PyDict_CheckExact(value)
        && PyDict_GET_SIZE(value) == write->count && read->places == write->count;
}

static inline int conform_field(Conforming *c, Source *source, Making *making, Py_ssize_t index)
{
    const Step *step = &making->node->steps[index];
    PyObject *value = take_field(c->budget.state, source, &source->node->fields[index]);
    PyObject *given = value == NULL ? NULL : conform_value(c, source->node->fields[index].node, step->node, value);
    bool same = given == value && source->dict != NULL && source->dict == making->dict; /* it is there already */
    Py_XDECREF(value);
    if (given == NULL) {
        at_field(c->budget.state, step->name);
        return -1;
    }
    if (step->target >= 0 && !same)
        return set_field(making, step->target, making->node->names[step->target], given);
    Py_DECREF(given);
    return 0;
}

/* A dict whose keys are not the fields' names themselves, or in another order, made new. */
static int put_in_order(Making *making)
{
    PyObject *ordered = PyDict_New();
    int failed = ordered == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; !failed && i < making->node->places; i++) {
        PyObject *value = PyDict_GetItemWithError(making->dict, making->node->names[i]);
        failed = value == NULL ? -1 : PyDict_SetItem(ordered, making->node->names[i], value);
    }
    if (failed)
        Py_CLEAR(ordered);
    Py_SETREF(making->dict, ordered);
    return failed;
}

static Py_NO_INLINE PyObject *conform_record(Conforming *c, const WriteNode *write, const ReadNode *read,
                                             PyObject *value)
{
    State *state = c->budget.state;
    Source source;
    Making making;
    bool copied = is_copied(c, write, read, value);
    if (copied) {
        source = (Source){write, PyDict_Copy(value), NULL, 0, 0};
        making = (Making){.node = read, .dict = Py_XNewRef(source.dict)};
        if (source.dict == NULL)
            return NULL;
    }
    else if (take_record(state, write, value, &source) < 0)
        return NULL;
    else if (begin_record(&making, read) < 0) {
        release_record(&source);
        return NULL;
    }
    int failed = 0;
    for (Py_ssize_t i = 0; !failed && i < write->count; i++)
        failed = conform_field(c, &source, &making, i);
    if (!failed)
        failed = end_source(state, &source);
    if (!failed && copied && source.position < 0)
        failed = put_in_order(&making);
    release_record(&source);
    if (!failed)
        return end_record(state, &making);
    drop_record(&making);
    return NULL;
}

static Py_NO_INLINE PyObject *conform_container(Conforming *c, const WriteNode *write, const ReadNode *read,
                                                PyObject *value)
{
    if (enter(&c->budget) < 0)
        return NULL;
    PyObject *result = spend(&c->budget, read->cost) < 0 ? NULL
        : write->op == RECORD                            ? conform_record(c, write, read, value)
        : write->op == ARRAY                             ? conform_items(c, write, read, value)
                                                         : conform_entries(c, write, read, value);
    leave(&c->budget);
    return result;
}

static Py_NO_INLINE PyObject *conform_integer(Conforming *c, const WriteNode *write, const ReadNode *read,
                                              PyObject *value)
{
    int64_t number;
    if (take_integer(c->budget.state, write, value, &number) < 0)
        return NULL;
    count_long(c, number);
    if (is_same(read, value, &PyLong_Type))
        return finish(c->budget.state, read, Py_NewRef(value));
    return give_integer(c->budget.state, read, number);
}

static Py_NO_INLINE PyObject *conform_real(Conforming *c, const WriteNode *write, const ReadNode *read,
                                           PyObject *value)
{
    double real;
    c->size += write->op == FLOAT ? 4 : 8;
    if (take_float(c->budget.state, write, value, &real) < 0)
        return NULL;
    if (write->op == DOUBLE && is_same(read, value, &PyFloat_Type))
        return finish(c->budget.state, read, Py_NewRef(value));
    return give_float(c->budget.state, read, real);
}

static Py_NO_INLINE PyObject *conform_symbol(Conforming *c, const WriteNode *write, const ReadNode *read,
                                             PyObject *value)
{
    int64_t index;
    if (take_symbol(c->budget.state, write, value, &index) < 0)
        return NULL;
    count_long(c, index);
    return give_symbol(c->budget.state, read, index);
}

static inline PyObject *conform_raw(Conforming *c, const WriteNode *write, const ReadNode *read, PyObject *value)
{
    State *state = c->budget.state;
    switch (write->op) {
    case NULL_:
        return value == Py_None ? finish(state, read, Py_NewRef(value)) : refuse(state, "None", value);
    case BOOLEAN:
        c->size++;
        return PyBool_Check(value) ? finish(state, read, Py_NewRef(value)) : refuse(state, "bool", value);
    case INT:
    case LONG:
        return conform_integer(c, write, read, value);
    case FLOAT:
    case DOUBLE:
        return conform_real(c, write, read, value);
    case BYTES:
    case STRING:
    case FIXED:
        return conform_bytes(c, write, read, value);
    case ENUM:
        return conform_symbol(c, write, read, value);
    default:
        return conform_container(c, write, read, value);
    }
}

static Py_NO_INLINE PyObject *conform_logical(Conforming *c, const WriteNode *write, const ReadNode *read,
                                              PyObject *value)
{
    PyObject *raw = take_logical(c->budget.state, write, value);
    PyObject *result = raw == NULL ? NULL : conform_raw(c, write, read, raw);
    Py_XDECREF(raw);
    return result;
}

static Py_NO_INLINE PyObject *conform_branch(Conforming *c, const WriteNode *write, const ReadNode *read,
                                             PyObject *value)
{
    PyObject *inner;
    Py_ssize_t index = take_branch(c->budget.state, write, value, &inner);
    if (index < 0)
        return NULL;
    count_long(c, index);
    if (read->op == UNION)
        read = read->branches[index];
    PyObject *result = conform_value(c, write->branches[index], read, inner); /* which is no union */
    Py_DECREF(inner);
    return result;
}

static PyObject *conform_value(Conforming *c, const WriteNode *write, const ReadNode *read, PyObject *value)
{
    if (write->op == UNION)
        return conform_branch(c, write, read, value);
    if (read->op == FAIL)
        return fail(c->budget.state->decode_error, "%U", read->reason);
    if (write->logical != NULL)
        return conform_logical(c, write, read, value);
    return conform_raw(c, write, read, value);
}

static PyObject *conformer_conform(Codec *self, PyObject *value)
{
    Conforming c = {new_budget(self), 0, self->quiet};
    PyObject *result = spend(&c.budget, self->read->weight) < 0 ? NULL : conform_value(&c, self->write, self->read, value);
    if (result != NULL && check_size(&c.budget, c.size) < 0)
        Py_CLEAR(result);
    if (result != NULL || PyErr_ExceptionMatches(self->state->encode_error)
        || !PyErr_ExceptionMatches(PyExc_Exception)) /* nothing of the value's: an interrupt, say */
        return result;
    blame_depth(self->state, &self->limits);
    /* Reading comes after writing: a fault in reading counts only if the whole value can be written. */
    PyObject *error = take_exception();
    PyObject *bytes = encode(self, value);
    if (bytes == NULL)
        Py_DECREF(error);
    else {
        Py_DECREF(bytes);
        raise_again(error);
    }
    return NULL;
}

PyMethodDef conformer_methods[] = {
    {"conform", (PyCFunction)conformer_conform, METH_O, PyDoc_STR("conform(value) -> value")},
    {NULL, NULL, 0, NULL},
};
