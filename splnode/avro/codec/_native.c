/* The native codec engine: carries out the plans of plan.py in C, beside plain.py and with its results.
 *
 * A plan (a graph of ReadNode or WriteNode objects) is compiled once into C structs of the same names;
 * then three walkers work on them: decode (bytes -> value), encode (value -> bytes) and conform (value ->
 * the value that decoding its encoding would give, without the bytes). What a schema means was decided in
 * the plan; what a value must be like to be taken is decided in one place here each (the take_* functions,
 * shared by encode and conform), and so is what a value read looks like (the give_* functions, shared by
 * decode and conform).
 *
 * Ownership
 * - A compiled plan borrows its Python objects (names, callables, symbols, classes): `Codec.keep`, a tuple,
 *   owns every one of them, and lives as long as the Codec.
 * - A Codec never changes what it owns once made (but for `seen`, below), as a tuple doesn't. So it has a
 *   tp_traverse and needs no tp_clear: a cycle through it also goes through something that can be cleared.
 *   Since it is never cleared, its plan is whole as long as anybody can call it, finalizers included.
 * - `WriteNode.seen` is the last Struct class met there, a strong reference that tp_traverse visits; a class
 *   can be cleared, so the argument holds for it too.
 * - Functions return new references; arguments are borrowed. "steals" is said where it is so.
 *
 * Callbacks (logical types, defaults, constructors, __eq__ of keys) run any Python, which may change the
 * lists and dicts being encoded, or use the same Codec. So: every item is owned while it is used, sizes are
 * read again after each item, and the spare output buffer is taken out of the module's state while in use.
 *
 * The C stack is bounded by Limits.depth, and where that allows more than SHALLOW levels also by the
 * interpreter's own recursion limit.
 */

#include "native.h"
#include <structmember.h> /* T_OBJECT_EX */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define RECENT 1024      /* places in the table of recent strings; a power of two */
#define RECENT_LONGEST 39 /* bytes of the longest string kept there */
#define SPARE_LARGEST (64 * 1024) /* bytes of the output buffer that is kept; larger values get their own */
#define APART (32 * 1024) /* bytes of a value from which on it is not copied where that can be helped */
#define MOST_CLASSES 64  /* Struct classes that a union remembers the branch of */
#define SHALLOW 64       /* levels that any stack has room for: below 48 KiB */
#define FIRST_ITEMS 64   /* items of a list that room is made for at once */
#define BREATH 12        /* 2^12 values are read before other threads may run */
#define MOST_CHARGED 1000 /* nodes that one value may charge before it is read */
#define FEW 16           /* fields of a Struct that are gathered without an allocation */

/* The values of plan.Op and plan.Promote; module_exec checks that they agree. */
enum { NULL_, BOOLEAN, INT, LONG, FLOAT, DOUBLE, BYTES, STRING, FIXED, ENUM, ARRAY, MAP, RECORD, UNION, FAIL, OPS };
enum { NONE, TO_FLOAT, TO_STRING, TO_BYTES };

/* The kinds of value that a union tells apart. */
enum { IS_NONE, IS_BOOL, IS_INT, IS_FLOAT, IS_BYTES, IS_STR, IS_LIST, IS_DICT, IS_STRUCT, IS_OTHER, KINDS };

/* A string met lately, and its UTF-8. */
typedef struct {
    PyObject *string; /* owned; or NULL */
    uint8_t length, bytes[RECENT_LONGEST];
} Recent;

typedef struct {
    PyObject *data_error, *decode_error, *encode_error, *limit_exceeded;
    PyObject *enum_class;
    PyObject *struct_class; /* msgspec.Struct, once somebody has imported that: see struct_class_of */
    PyObject *branch_of, *symbol_of, *struct_attributes; /* of choice.py */
    Recent recent[RECENT];    /* short strings, by hash */
    uint8_t *spare;           /* the output buffer that no Encoder is using now, or NULL */
    Py_ssize_t spare_size;
    CodecApi api;
} State;

typedef struct {
    Py_ssize_t message_bytes, depth, nodes;
} Limits;

typedef struct ReadNode ReadNode;
typedef struct WriteNode WriteNode;

typedef struct {
    PyObject *name;
    const ReadNode *node;
    Py_ssize_t target; /* the place among `names`, or -1: drop it */
} Step;

typedef struct {
    Py_ssize_t place;
    PyObject *make;
} Default;

struct ReadNode {
    int op, promote;
    bool straight;
    PyObject *logical;         /* or NULL */
    PyObject *reason;
    int64_t weight, cost, each; /* what is charged to the limit of nodes, see plan.py */
    int64_t size;              /* FIXED */
    const ReadNode *items;     /* ARRAY, MAP */
    Py_ssize_t count;          /* of the array that the op uses: branches, symbols or steps */
    const ReadNode **branches; /* UNION */
    PyObject **symbols;        /* ENUM; NULL where the reader has none */
    Step *steps;               /* RECORD */
    Py_ssize_t places;         /* RECORD: the reader's fields */
    Default *defaults;
    Py_ssize_t default_count;
    PyObject **names;          /* by place: the dict's keys */
    PyObject *blank;           /* a dict of all names in order, to copy; NULL where the factory makes a Struct */
    PyObject *factory;
    PyObject *keywords;        /* the factory's, a tuple; NULL where it takes positions */
    Py_ssize_t *offsets;       /* of a Struct's slots by place, where they may be filled without a call; or NULL */
};

typedef struct {
    PyObject *name;
    const WriteNode *node;
    PyObject *make; /* the default; NULL: must be given */
} Field;

/* The Struct class that a record was last given as; all owned. */
typedef struct {
    PyTypeObject *class;
    PyObject *names;     /* its attributes by field, a tuple; None where it has none */
    Py_ssize_t *offsets; /* their slots; 0 where the attribute is no plain slot */
} Seen;

struct WriteNode {
    int op;
    PyObject *source;           /* the node of plan.py */
    PyObject *label;
    PyObject *logical;          /* or NULL */
    PyObject *accepts;          /* tuple of the classes that logical converts; a UNION: not NULL if a branch has one */
    int64_t weight, cost, each; /* as of ReadNode */
    int64_t size;               /* FIXED */
    const WriteNode *items;     /* ARRAY, MAP */
    Py_ssize_t count;           /* of branches or fields */
    const WriteNode **branches; /* UNION */
    Py_ssize_t sure[KINDS];     /* UNION: the branch of every value of a kind; -1 where the value has to be asked */
    PyObject *struct_places;    /* UNION: dict of Struct class to branch, those met lately */
    PyObject *indexes;          /* ENUM: dict of symbol to index */
    Field *fields;              /* RECORD */
    PyObject *names;
    Seen seen;                  /* RECORD */
};

typedef struct Block {
    struct Block *next;
    max_align_t room[];
} Block;

typedef struct {
    PyObject_HEAD
    State *state; /* of the module, which the type holds */
    Limits limits;
    const ReadNode *read;
    WriteNode *write;
    Py_ssize_t write_count; /* of the nodes from `write` on, for their `seen` */
    PyObject *keep;
    Block *blocks; /* the memory of the plan */
    bool quiet;    /* neither plan has a logical type: no rule calls anybody who could see a dict half conformed */
} Codec;

/* What is left to spend on one datum. */
typedef struct {
    State *state;
    const Limits *limits;
    Py_ssize_t depth_left, nodes_left;
    bool deep; /* then the interpreter is asked whether there is stack left */
} Budget;

/* ---- errors ---------------------------------------------------------------------------------------- */

static void *fail(PyObject *class, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    PyErr_FormatV(class, format, args);
    va_end(args);
    return NULL;
}

static void *fail_limit(State *state, const char *limit, Py_ssize_t allowed, const char *what)
{
    PyObject *error = PyObject_CallFunction(state->limit_exceeded, "sns", limit, allowed, what);
    if (error != NULL) {
        PyErr_SetObject(state->limit_exceeded, error);
        Py_DECREF(error);
    }
    return NULL;
}

/* The exception being raised, taken off the thread; put back with raise_again. */
static PyObject *take_exception(void)
{
#if PY_VERSION_HEX >= 0x030c0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value != NULL && traceback != NULL)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

static void raise_again(PyObject *error) /* steals */
{
#if PY_VERSION_HEX >= 0x030c0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef(Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

/* Adds a step to the path of the DataError being raised; steals the step. Other exceptions have no path. */
static void at(State *state, PyObject *step)
{
    PyObject *error = take_exception();
    if (step != NULL && error != NULL && PyObject_TypeCheck(error, (PyTypeObject *)state->data_error)) {
        PyObject *done = PyObject_CallMethod(error, "at", "O", step);
        if (done == NULL)
            PyErr_Clear(); /* a path that is short of a step is better than another error */
        Py_XDECREF(done);
    }
    Py_XDECREF(step);
    if (error != NULL)
        raise_again(error);
}

static void at_field(State *state, PyObject *name) { at(state, PyUnicode_FromFormat(".%U", name)); }
static void at_index(State *state, Py_ssize_t index) { at(state, PyUnicode_FromFormat("[%zd]", index)); }
static void at_key(State *state, PyObject *key) { at(state, PyUnicode_FromFormat("[\"%U\"]", key)); }

/* ValueError and ArithmeticError are how a logical type says "bad data". */
static void *blame_data(PyObject *class)
{
    if (PyErr_ExceptionMatches(PyExc_ValueError) || PyErr_ExceptionMatches(PyExc_ArithmeticError)) {
        PyObject *error = take_exception();
        PyErr_Format(class, "%S", error);
        Py_XDECREF(error);
    }
    return NULL;
}

/* Python's stack may end before Limits.depth does; that is no other kind of fault. */
static void blame_depth(State *state, const Limits *limits)
{
    if (PyErr_ExceptionMatches(PyExc_RecursionError)) {
        PyErr_Clear();
        fail_limit(state, "depth", limits->depth, "nested deeper than the interpreter's stack");
    }
}

/* ---- the budget ------------------------------------------------------------------------------------ */

static Budget new_budget(Codec *codec)
{
    const Limits *limits = &codec->limits;
    return (Budget){codec->state, limits, limits->depth, limits->nodes, limits->depth > SHALLOW};
}

static inline int spend(Budget *budget, int64_t nodes)
{
    if (nodes <= budget->nodes_left) {
        budget->nodes_left -= (Py_ssize_t)nodes;
        return 0;
    }
    fail_limit(budget->state, "nodes", budget->limits->nodes, "too many values in one datum");
    return -1;
}

/* Charges for some items of an array or a map. Neither factor is so large that their product overflows: see limit and
 * fill_charges. */
static inline int spend_items(Budget *budget, int64_t count, int64_t each)
{
    return spend(budget, count <= budget->nodes_left ? count * each : INT64_MAX);
}

static inline int enter(Budget *budget)
{
    if (budget->depth_left == 0) {
        fail_limit(budget->state, "depth", budget->limits->depth, "records, arrays or maps nested too deep");
        return -1;
    }
    if (budget->deep && Py_EnterRecursiveCall(" in an Avro datum"))
        return -1;
    budget->depth_left--;
    return 0;
}

static inline void leave(Budget *budget)
{
    budget->depth_left++;
    if (budget->deep)
        Py_LeaveRecursiveCall();
}

static Py_NO_INLINE int refuse_length(Budget *budget, int64_t length)
{
    char what[64];
    snprintf(what, sizeof what, "a bytes, string or fixed of %lld", (long long)length);
    fail_limit(budget->state, "message_bytes", budget->limits->message_bytes, what);
    return -1;
}

static inline int check_length(Budget *budget, int64_t length)
{
    return length <= budget->limits->message_bytes ? 0 : refuse_length(budget, length);
}

/* ---- what a value read looks like ------------------------------------------------------------------ */

static void *not_utf8(State *state)
{
    if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyObject *error = take_exception(), *reason = PyUnicodeDecodeError_GetReason(error);
        Py_ssize_t start = -1;
        if (reason != NULL && PyUnicodeDecodeError_GetStart(error, &start) == 0)
            fail(state->decode_error, "a string that is not UTF-8: %U at its byte %zd", reason, start);
        Py_XDECREF(reason);
        Py_DECREF(error);
    }
    return NULL;
}

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

/* A string that is not in the table; it takes the place, if there is one for it. */
static Py_NO_INLINE PyObject *new_text(State *state, const uint8_t *bytes, Py_ssize_t length, Recent *place)
{
    PyObject *string = PyUnicode_DecodeUTF8((const char *)bytes, length, NULL);
    if (string == NULL)
        return not_utf8(state);
    if (place != NULL) {
        memcpy(place->bytes, bytes, (size_t)length);
        place->length = (uint8_t)length;
        Py_XSETREF(place->string, Py_NewRef(string));
    }
    return string;
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

static Py_NO_INLINE PyObject *converted(State *state, const ReadNode *node, PyObject *raw)
{
    if (raw == NULL)
        return NULL;
    PyObject *value = PyObject_CallOneArg(node->logical, raw);
    Py_DECREF(raw);
    return value != NULL ? value : blame_data(state->decode_error);
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

static Py_NO_INLINE PyObject *promoted_bytes(State *state, const ReadNode *node, const uint8_t *bytes,
                                             Py_ssize_t length)
{
    PyObject *value = text(state, bytes, length);
    if (value != NULL && node->promote == TO_BYTES) /* the writer's string had to be UTF-8 all the same */
        Py_SETREF(value, PyBytes_FromStringAndSize((const char *)bytes, length));
    return finish(state, node, value);
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

/* The place in a Struct's memory that an attribute is kept in; 0 if it is no plain slot of the class. */
static Py_ssize_t slot_offset(PyTypeObject *class, PyObject *name)
{
    PyObject *found = PyObject_GetAttr((PyObject *)class, name);
    Py_ssize_t offset = 0;
    if (found == NULL)
        PyErr_Clear();
    else if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDescrObject *slot = (PyMemberDescrObject *)found;
        if (slot->d_member->type == T_OBJECT_EX && PyType_IsSubtype(class, PyDescr_TYPE(slot)))
            offset = slot->d_member->offset;
    }
    Py_XDECREF(found);
    return offset;
}

static inline PyObject **slot_at(PyObject *object, Py_ssize_t offset)
{
    return (PyObject **)((char *)object + offset);
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

static int set_defaults(Making *making)
{
    const ReadNode *node = making->node;
    for (Py_ssize_t i = 0; i < node->default_count; i++) {
        PyObject *value = PyObject_CallNoArgs(node->defaults[i].make);
        if (value == NULL)
            return -1;
        Py_ssize_t place = node->defaults[i].place;
        if (set_field(making, place, node->names[place], value) < 0)
            return -1;
    }
    return 0;
}

static void drop_record(Making *making)
{
    Py_CLEAR(making->dict);
    Py_CLEAR(making->object);
    if (making->values != NULL) {
        for (Py_ssize_t i = 0; i < making->node->places; i++)
            Py_XDECREF(making->values[i]);
        if (making->node->places > FEW)
            PyMem_Free(making->values - 1);
    }
}

/* As msgspec does: the collector need not look at a Struct that holds nothing of its kind. */
static void untrack_if_plain(PyObject *object, const ReadNode *node)
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
    size_t flags = PY_VECTORCALL_ARGUMENTS_OFFSET;
    if (node->keywords == NULL)
        flags |= (size_t)node->places;
    PyObject *value = PyObject_Vectorcall(node->factory, making->values, flags, node->keywords);
    drop_record(making);
    if (value == NULL) { /* its __post_init__ does not like them */
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyObject *error = take_exception();
            PyErr_Format(state->decode_error, "%S", error);
            Py_XDECREF(error);
        }
        return blame_data(state->decode_error);
    }
    return finish(state, node, value);
}

/* ---- IEEE 754, little-endian ------------------------------------------------------------------------- */

static inline uint64_t little_endian(uint64_t bits, int size)
{
#if PY_BIG_ENDIAN
    uint64_t swapped = 0;
    for (int i = 0; i < size; i++)
        swapped = swapped << 8 | (bits >> 8 * i & 0xff);
    return swapped;
#else
    (void)size;
    return bits;
#endif
}

static inline double unpack_float(const uint8_t *bytes)
{
    uint32_t bits;
    float number;
    memcpy(&bits, bytes, 4);
    bits = (uint32_t)little_endian(bits, 4);
    memcpy(&number, &bits, 4);
    return number;
}

static inline double unpack_double(const uint8_t *bytes)
{
    uint64_t bits;
    double number;
    memcpy(&bits, bytes, 8);
    bits = little_endian(bits, 8);
    memcpy(&number, &bits, 8);
    return number;
}

static inline void pack_float(uint8_t *bytes, double real)
{
    float number = (float)real;
    uint32_t bits;
    memcpy(&bits, &number, 4);
    bits = (uint32_t)little_endian(bits, 4);
    memcpy(bytes, &bits, 4);
}

static inline void pack_double(uint8_t *bytes, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, 8);
    bits = little_endian(bits, 8);
    memcpy(bytes, &bits, 8);
}

/* A copy without a call where it is short, as most strings are; the last words may overlap. */
static inline void copy(uint8_t *to, const uint8_t *from, Py_ssize_t length)
{
    if (length > 32)
        memcpy(to, from, (size_t)length);
    else if (length >= 8) {
        Py_ssize_t done = 0;
        for (; done < length - 8; done += 8)
            memcpy(to + done, from + done, 8);
        memcpy(to + length - 8, from + length - 8, 8);
    }
    else if (length >= 4) {
        uint32_t first, last;
        memcpy(&first, from, 4);
        memcpy(&last, from + length - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + length - 4, &last, 4);
    }
    else {
        for (Py_ssize_t done = 0; done < length; done++)
            to[done] = from[done];
    }
}

/* ---- decode ---------------------------------------------------------------------------------------- */

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

/* Lets other threads run, once in 2^BREATH items: what one datum may unfold to takes a quarter of a second. */
static inline void breathe(int64_t left)
{
    if ((left & ((1 << BREATH) - 1)) == 0) {
        Py_BEGIN_ALLOW_THREADS;
        Py_END_ALLOW_THREADS;
    }
}

static int spend_reading(Budget *budget, int64_t count, int64_t each)
{
    Py_ssize_t before = budget->nodes_left >> BREATH;
    if (spend_items(budget, count, each) < 0)
        return -1;
    if (before != budget->nodes_left >> BREATH)
        breathe(0);
    return 0;
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

/* Room for the first items of a list; not for all that a sender only says will come. */
static PyObject *new_list(int64_t count)
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
            breathe(count);
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
            breathe(count);
            if (read_entry(in, node->items, dict) < 0)
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

/* ---- what a value must be like to be taken --------------------------------------------------------- */

static const char *type_name(PyObject *value)
{
    const char *dot = strrchr(Py_TYPE(value)->tp_name, '.');
    return dot != NULL ? dot + 1 : Py_TYPE(value)->tp_name;
}

static void *refuse_as(State *state, PyObject *wanted, PyObject *value) /* steals wanted */
{
    if (wanted != NULL)
        fail(state->encode_error, "%U expected, not %s", wanted, type_name(value));
    Py_XDECREF(wanted);
    return NULL;
}

static void *refuse(State *state, const char *wanted, PyObject *value)
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

static int take_float(State *state, const WriteNode *node, PyObject *value, double *number)
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

static void release_span(Span *span)
{
    if (span->buffer.obj != NULL)
        PyBuffer_Release(&span->buffer);
    Py_CLEAR(span->copy);
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

static int take_span(Budget *budget, const WriteNode *node, PyObject *value, Span *span)
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

static int take_symbol(State *state, const WriteNode *node, PyObject *value, int64_t *index)
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

/* An exact list or tuple of the value's items, so that nothing can happen while they are counted. */
static PyObject *take_sequence(State *state, PyObject *value)
{
    if (PyList_CheckExact(value) || PyTuple_CheckExact(value))
        return Py_NewRef(value);
    if (PyList_Check(value) || PyTuple_Check(value))
        return PySequence_List(value);
    return refuse(state, "list", value);
}

/* The same for dicts: a subclass may have an order or values of its own. */
static PyObject *take_dict(State *state, PyObject *value)
{
    if (PyDict_CheckExact(value))
        return Py_NewRef(value);
    if (PyDict_Check(value))
        return PyObject_CallOneArg((PyObject *)&PyDict_Type, value);
    return refuse(state, "dict", value);
}

static int changed(State *state)
{
    fail(state->encode_error, "the value was changed while it was encoded");
    return -1;
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

/* A value that is to be a record, being read field by field. */
typedef struct {
    const WriteNode *node;
    PyObject *dict;      /* owned; or NULL, and */
    PyObject *object;    /* a Struct, borrowed */
    Py_ssize_t found;    /* fields that the value has */
    Py_ssize_t position; /* see dict_field */
} Source;

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

static void forget(const Seen *seen)
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

static Py_NO_INLINE PyObject *struct_attribute(State *state, const WriteNode *node, PyObject *value, Py_ssize_t index)
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

/* The field of a Struct; NULL without an exception if there is none. */
static inline PyObject *struct_field(State *state, const WriteNode *node, PyObject *value, Py_ssize_t index)
{
    /* Asked each time: the fields before this one may have seen other classes, and seeing one may run Python. */
    if (node->seen.class == Py_TYPE(value) && node->seen.offsets[index] != 0)
        return Py_XNewRef(*slot_at(value, node->seen.offsets[index]));
    return struct_attribute(state, node, value, index);
}

/* msgspec.Struct, borrowed; NULL while nobody has imported msgspec: then there are no Structs, and a short program
 * need not pay for its import, which takes longer than a call. */
static PyTypeObject *struct_class_of(State *state)
{
    if (state->struct_class == NULL) {
        PyObject *msgspec = PyDict_GetItemString(PyImport_GetModuleDict(), "msgspec"); /* borrowed */
        state->struct_class = msgspec != NULL ? PyObject_GetAttrString(msgspec, "Struct") : NULL;
        if (state->struct_class == NULL)
            PyErr_Clear(); /* it is being imported just now */
    }
    return (PyTypeObject *)state->struct_class;
}

static int is_struct(State *state, PyObject *value)
{
    PyTypeObject *struct_class = struct_class_of(state);
    return struct_class != NULL && PyObject_TypeCheck(value, struct_class);
}

static int take_record(State *state, const WriteNode *node, PyObject *value, Source *source)
{
    *source = (Source){node, NULL, NULL, 0, 0};
    if (node->seen.class == Py_TYPE(value) || (!PyDict_CheckExact(value) && is_struct(state, value)))
        source->object = value;
    else
        source->dict = take_dict(state, value);
    return source->object != NULL || source->dict != NULL ? 0 : -1;
}

static void release_record(Source *source) { Py_CLEAR(source->dict); }

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

static Py_NO_INLINE PyObject *missing_field(State *state, const Field *field)
{
    if (PyErr_Occurred())
        return NULL;
    if (field->make != NULL)
        return PyObject_CallNoArgs(field->make);
    return fail(state->encode_error, "the field is missing");
}

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

static int refuse_unknown(State *state, Source *source)
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

/* After the last field: a dict may hold nothing else. */
static inline int end_source(State *state, Source *source)
{
    if (source->dict == NULL || source->found == PyDict_GET_SIZE(source->dict))
        return 0;
    return refuse_unknown(state, source);
}

/* ---- the branch of a union ------------------------------------------------------------------------- */

/* The rows of plan.WriteNode's table that the value's type decides are here; the others, and the refusals,
 * are choice.py's. */
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

/* The first branch whose type takes a value of this kind; -1 where choice.py has to say. */
static Py_ssize_t fitting_branch(const WriteNode *node, PyObject *value, int kind)
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

/* What choice.branch_of says: of a Branch, a Struct, an enum's member, and of what no branch takes. */
static Py_ssize_t chosen_branch(State *state, const WriteNode *node, PyObject *value, PyObject **inner)
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

/* Which branch takes Structs of a class is asked once. */
static Py_ssize_t struct_branch(State *state, const WriteNode *node, PyObject *value, PyObject **inner)
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

/* The raw value that a logical type's value is written as; owned. */
static inline PyObject *take_logical(State *state, const WriteNode *node, PyObject *value)
{
    PyObject *raw = PyObject_CallOneArg(node->logical, value);
    return raw != NULL ? raw : blame_data(state->encode_error);
}

/* ---- encode ---------------------------------------------------------------------------------------- */

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

static int check_size(Budget *budget, Py_ssize_t size)
{
    if (size <= budget->limits->message_bytes)
        return 0;
    fail_limit(budget->state, "message_bytes", budget->limits->message_bytes, "the encoded value is too long");
    return -1;
}

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

/* The encoding of the value, as bytes. */
static PyObject *encode(Codec *self, PyObject *value)
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

/* ---- conform --------------------------------------------------------------------------------------- */

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

/* ---- compile --------------------------------------------------------------------------------------- */

/* A graph of Python nodes being turned into C ones: first all nodes are found, then each is filled in. */
typedef struct {
    Codec *codec;
    PyObject *nodes;   /* list, in the order found; the root is the first */
    PyObject *indexes; /* dict: address of a node -> its place in the list */
    PyObject *keep;    /* list of what the plan borrows */
    char *made;        /* the array of C nodes, */
    size_t node_size;  /* each of this size */
} Compiling;

/* Zeroed memory that lives as long as the Codec. */
static void *new_memory(Codec *codec, size_t count, size_t size)
{
    Block *block = count < PY_SSIZE_T_MAX / (size + 1) ? PyMem_Calloc(1, sizeof(Block) + count * size) : NULL;
    if (block == NULL)
        return PyErr_NoMemory(), NULL;
    block->next = codec->blocks;
    codec->blocks = block;
    return block->room;
}

/* Gives an object to the plan, which then owns it: steals, and returns it borrowed. */
static PyObject *kept(Compiling *c, PyObject *object)
{
    if (object == NULL)
        return NULL;
    int failed = PyList_Append(c->keep, object);
    Py_DECREF(object);
    return failed ? NULL : object;
}

/* An attribute of a node, which the plan then owns; borrowed. `type` may be NULL: any. */
static PyObject *attribute(Compiling *c, PyObject *object, const char *name, PyTypeObject *type)
{
    PyObject *value = kept(c, PyObject_GetAttrString(object, name));
    if (value == NULL)
        return NULL;
    if (type != NULL && !PyObject_TypeCheck(value, type))
        return fail(PyExc_TypeError, "%s of a plan's node is %s, not %s", name, Py_TYPE(value)->tp_name, type->tp_name);
    return value;
}

/* The same for one that may be None: then *value is NULL. */
static int optional(Compiling *c, PyObject *object, const char *name, PyObject **value)
{
    if ((*value = attribute(c, object, name, NULL)) == NULL)
        return -1;
    if (*value == Py_None)
        *value = NULL;
    return 0;
}

static int integer(PyObject *object, const char *name, int64_t *number)
{
    PyObject *value = PyObject_GetAttrString(object, name);
    if (value == NULL)
        return -1;
    *number = PyLong_AsLongLong(value);
    Py_DECREF(value);
    return *number == -1 && PyErr_Occurred() ? -1 : 0;
}

/* The item of a tuple of tuples; NULL if it is not there. */
static PyObject *part(PyObject *tuple, Py_ssize_t index)
{
    if (!PyTuple_Check(tuple) || index >= PyTuple_GET_SIZE(tuple))
        return fail(PyExc_TypeError, "a step, field or default of a plan is no tuple of the right length");
    return PyTuple_GET_ITEM(tuple, index);
}

/* A name as dicts find it soonest; borrowed. */
static PyObject *interned(Compiling *c, PyObject *name)
{
    if (name == NULL || !PyUnicode_CheckExact(name))
        return name == NULL ? NULL : fail(PyExc_TypeError, "a name in a plan is no str");
    Py_INCREF(name);
    PyUnicode_InternInPlace(&name);
    return kept(c, name);
}

static int find_node(Compiling *c, PyObject *node)
{
    PyObject *address = PyLong_FromVoidPtr(node);
    int known = address == NULL ? -1 : PyDict_Contains(c->indexes, address);
    if (known == 0) {
        PyObject *index = PyLong_FromSsize_t(PyList_GET_SIZE(c->nodes));
        known = index == NULL || PyDict_SetItem(c->indexes, address, index) < 0 || PyList_Append(c->nodes, node) < 0;
        Py_XDECREF(index);
        known = -known;
    }
    Py_XDECREF(address);
    return known < 0 ? -1 : 0;
}

/* The C node of a Python node that find_node has seen. */
static void *made_node(Compiling *c, PyObject *node)
{
    PyObject *address = PyLong_FromVoidPtr(node);
    PyObject *index = address != NULL ? PyDict_GetItemWithError(c->indexes, address) : NULL;
    Py_XDECREF(address);
    if (index == NULL)
        return PyErr_Occurred() ? NULL : fail(PyExc_RuntimeError, "the plan changed while it was compiled");
    return c->made + (size_t)PyLong_AsSsize_t(index) * c->node_size;
}

/* Finds the children of a node: its items, branches, or the second part of its steps or fields. */
static int find_children(Compiling *c, PyObject *node, const char *members)
{
    int64_t op;
    if (integer(node, "op", &op) < 0)
        return -1;
    if (op == ARRAY || op == MAP) {
        PyObject *items = attribute(c, node, "items", NULL);
        return items == NULL ? -1 : find_node(c, items);
    }
    if (op != UNION && op != RECORD)
        return 0;
    PyObject *tuple = attribute(c, node, op == UNION ? "branches" : members, &PyTuple_Type);
    for (Py_ssize_t i = 0; tuple != NULL && i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *child = op == UNION ? part(tuple, i) : part(PyTuple_GET_ITEM(tuple, i), 1);
        if (child == NULL || find_node(c, child) < 0)
            return -1;
    }
    return tuple == NULL ? -1 : 0;
}

/* The C nodes of a union's branches. */
static int fill_branches(Compiling *c, PyObject *node, Py_ssize_t *count, const void ***made)
{
    PyObject *branches = attribute(c, node, "branches", &PyTuple_Type);
    if (branches == NULL)
        return -1;
    *count = PyTuple_GET_SIZE(branches);
    if ((*made = new_memory(c->codec, (size_t)*count, sizeof(void *))) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < *count; i++) {
        PyObject *branch = PyTuple_GET_ITEM(branches, i);
        int64_t op;
        if (integer(branch, "op", &op) < 0 || ((*made)[i] = made_node(c, branch)) == NULL)
            return -1;
        if (op == UNION) { /* the walkers step into a union once */
            fail(PyExc_ValueError, "a plan has a union directly in a union");
            return -1;
        }
    }
    return 0;
}

static int fill_steps(Compiling *c, PyObject *source, ReadNode *node)
{
    PyObject *steps = attribute(c, source, "steps", &PyTuple_Type);
    if (steps == NULL)
        return -1;
    node->count = PyTuple_GET_SIZE(steps);
    if ((node->steps = new_memory(c->codec, (size_t)node->count, sizeof(Step))) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->count; i++) {
        Step *step = &node->steps[i];
        PyObject *parts = PyTuple_GET_ITEM(steps, i), *target = part(parts, 2);
        if (target == NULL || (step->node = made_node(c, part(parts, 1))) == NULL)
            return -1;
        step->target = PyLong_AsSsize_t(target);
        if ((step->name = interned(c, part(parts, 0))) == NULL || PyErr_Occurred())
            return -1;
        if (step->target < -1 || step->target >= node->places) {
            fail(PyExc_ValueError, "a step of a plan has no such target");
            return -1;
        }
    }
    return 0;
}

static int fill_defaults(Compiling *c, PyObject *source, ReadNode *node)
{
    PyObject *defaults = attribute(c, source, "defaults", &PyTuple_Type);
    if (defaults == NULL)
        return -1;
    node->default_count = PyTuple_GET_SIZE(defaults);
    if ((node->defaults = new_memory(c->codec, (size_t)node->default_count, sizeof(Default))) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->default_count; i++) {
        PyObject *parts = PyTuple_GET_ITEM(defaults, i), *place = part(parts, 0);
        if (place == NULL || (node->defaults[i].make = part(parts, 1)) == NULL)
            return -1;
        node->defaults[i].place = PyLong_AsSsize_t(place);
        if (PyErr_Occurred())
            return -1;
        if (node->defaults[i].place < 0 || node->defaults[i].place >= node->places) {
            fail(PyExc_ValueError, "a default of a plan has no such place");
            return -1;
        }
    }
    return 0;
}

/* Every place must be filled by a step or a default: a Struct is called with all of its values. */
static int check_places(const ReadNode *node)
{
    bool *filled = PyMem_Calloc((size_t)node->places + 1, sizeof(bool));
    if (filled == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < node->count; i++)
        filled[node->steps[i].target < 0 ? node->places : node->steps[i].target] = true;
    for (Py_ssize_t i = 0; i < node->default_count; i++)
        filled[node->defaults[i].place] = true;
    Py_ssize_t place = 0;
    while (place < node->places && filled[place])
        place++;
    PyMem_Free(filled);
    if (place == node->places)
        return 0;
    fail(PyExc_ValueError, "no step and no default of a plan fills field %U", node->names[place]);
    return -1;
}

/* A Struct class whose every slot the plan fills, and whose constructor would do nothing else, needs no call. */
static int find_slots(Compiling *c, ReadNode *node, PyObject *names)
{
    PyTypeObject *struct_class = struct_class_of(c->codec->state);
    if (struct_class == NULL || Py_TYPE(node->factory) != Py_TYPE(struct_class) || PyObject_HasAttrString(node->factory, "__post_init__"))
        return 0;
    PyObject *fields = PyObject_GetAttrString(node->factory, "__struct_fields__");
    Py_ssize_t count = fields != NULL ? PyObject_Size(fields) : -1;
    Py_XDECREF(fields);
    if (count < 0)
        return -1;
    Py_ssize_t *offsets = new_memory(c->codec, (size_t)node->places, sizeof(Py_ssize_t));
    if (offsets == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->places; i++) {
        offsets[i] = slot_offset((PyTypeObject *)node->factory, PyTuple_GET_ITEM(names, i));
        for (Py_ssize_t j = 0; j < i; j++)
            offsets[i] = offsets[i] == offsets[j] ? 0 : offsets[i];
        if (offsets[i] == 0)
            return 0;
    }
    if (count == node->places)
        node->offsets = offsets;
    return 0;
}

/* The record's names by place, and the dict or the call that its values go into. */
static int fill_target(Compiling *c, PyObject *source, ReadNode *node)
{
    PyObject *names = attribute(c, source, "names", &PyTuple_Type), *value;
    if (names == NULL || optional(c, source, "factory", &node->factory) < 0)
        return -1;
    node->places = PyTuple_GET_SIZE(names);
    if ((node->names = new_memory(c->codec, (size_t)node->places, sizeof(PyObject *))) == NULL)
        return -1;
    if (node->factory == NULL && (node->blank = kept(c, PyDict_New())) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->places; i++) {
        if ((node->names[i] = interned(c, PyTuple_GET_ITEM(names, i))) == NULL)
            return -1;
        if (node->blank != NULL && PyDict_SetItem(node->blank, node->names[i], Py_None) < 0)
            return -1;
    }
    if ((value = attribute(c, source, "straight", NULL)) == NULL)
        return -1;
    node->straight = value == Py_True;
    if (node->factory == NULL)
        return 0;
    if ((names = attribute(c, source, "struct_names", &PyTuple_Type)) == NULL
        || (value = attribute(c, source, "positional", NULL)) == NULL)
        return -1;
    if (PyTuple_GET_SIZE(names) != node->places) {
        fail(PyExc_ValueError, "struct_names and names of a plan differ in length");
        return -1;
    }
    for (Py_ssize_t i = 0; i < node->places; i++) {
        if (!PyUnicode_Check(PyTuple_GET_ITEM(names, i))) {
            fail(PyExc_TypeError, "a name in a plan is no str");
            return -1;
        }
    }
    node->keywords = value != Py_True ? names : NULL;
    return find_slots(c, node, names);
}

static int fill_symbols(Compiling *c, PyObject *source, ReadNode *node)
{
    PyObject *symbols = attribute(c, source, "symbols", &PyTuple_Type);
    if (symbols == NULL)
        return -1;
    node->count = PyTuple_GET_SIZE(symbols);
    if ((node->symbols = new_memory(c->codec, (size_t)node->count, sizeof(PyObject *))) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->count; i++) {
        PyObject *symbol = PyTuple_GET_ITEM(symbols, i);
        node->symbols[i] = symbol != Py_None ? symbol : NULL;
    }
    return 0;
}

static int fill_op(PyObject *source, int *op)
{
    int64_t number;
    if (integer(source, "op", &number) < 0)
        return -1;
    if (number < 0 || number >= OPS) {
        fail(PyExc_ValueError, "a plan has op %lld", (long long)number);
        return -1;
    }
    *op = (int)number;
    return 0;
}

static int fill_items(Compiling *c, PyObject *source, const void **items)
{
    PyObject *child = attribute(c, source, "items", NULL);
    return child == NULL || (*items = made_node(c, child)) == NULL ? -1 : 0;
}

/* What a node charges; a value or an item has to charge something, or there would be no end of them. */
static int fill_charges(PyObject *source, int64_t *weight, int64_t *cost, int64_t *each)
{
    if (integer(source, "weight", weight) < 0 || integer(source, "cost", cost) < 0 || integer(source, "each", each) < 0)
        return -1;
    if (*weight < 1 || *weight > MOST_CHARGED || *cost < 0 || *each < 1 || *each > MOST_CHARGED) {
        fail(PyExc_ValueError, "a plan charges %lld, %lld and %lld nodes", (long long)*weight, (long long)*cost,
             (long long)*each);
        return -1;
    }
    return 0;
}

static int fill_read(Compiling *c, PyObject *source, void *made)
{
    ReadNode *node = made;
    int64_t promote;
    if (fill_op(source, &node->op) < 0 || integer(source, "promote", &promote) < 0
        || integer(source, "size", &node->size) < 0
        || fill_charges(source, &node->weight, &node->cost, &node->each) < 0
        || optional(c, source, "logical", &node->logical) < 0
        || (node->reason = attribute(c, source, "reason", &PyUnicode_Type)) == NULL)
        return -1;
    node->promote = (int)promote;
    if (node->size < 0) {
        fail(PyExc_ValueError, "a plan has a negative size");
        return -1;
    }
    switch (node->op) {
    case ENUM:
        return fill_symbols(c, source, node);
    case ARRAY:
    case MAP:
        return fill_items(c, source, (const void **)&node->items);
    case UNION:
        return fill_branches(c, source, &node->count, (const void ***)&node->branches);
    case RECORD:
        if (fill_target(c, source, node) < 0 || fill_steps(c, source, node) < 0)
            return -1;
        return fill_defaults(c, source, node) < 0 ? -1 : check_places(node);
    default:
        return 0;
    }
}

static int fill_union(Compiling *c, PyObject *source, WriteNode *node)
{
    if (fill_branches(c, source, &node->count, (const void ***)&node->branches) < 0)
        return -1;
    PyObject *branches = attribute(c, source, "branches", &PyTuple_Type), *accepts = NULL;
    for (Py_ssize_t i = 0; accepts == NULL && branches != NULL && i < PyTuple_GET_SIZE(branches); i++) {
        /* the branch's own C node may not be filled yet */
        if ((accepts = attribute(c, PyTuple_GET_ITEM(branches, i), "accepts", &PyTuple_Type)) == NULL)
            return -1;
        if (PyTuple_GET_SIZE(accepts) == 0)
            accepts = NULL;
    }
    node->accepts = accepts;
    node->struct_places = kept(c, PyDict_New());
    return branches != NULL && node->struct_places != NULL ? 0 : -1;
}

/* The branch that every value of a kind is for, or -1. */
static Py_ssize_t sure_branch(const WriteNode *node, int kind)
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

/* Fills what needs all nodes filled: of each union its sure branches. */
static void find_sure(WriteNode *nodes, Py_ssize_t count)
{
    for (WriteNode *node = nodes; node < nodes + count; node++) {
        for (int kind = 0; node->op == UNION && kind < KINDS; kind++)
            node->sure[kind] = node->accepts == NULL ? sure_branch(node, kind) : -1;
    }
}

static int fill_fields(Compiling *c, PyObject *source, WriteNode *node)
{
    PyObject *fields = attribute(c, source, "fields", &PyTuple_Type);
    if (fields == NULL || (node->names = attribute(c, source, "names", &PyFrozenSet_Type)) == NULL)
        return -1;
    node->count = PyTuple_GET_SIZE(fields);
    if ((node->fields = new_memory(c->codec, (size_t)node->count, sizeof(Field))) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->count; i++) {
        PyObject *parts = PyTuple_GET_ITEM(fields, i), *make = part(parts, 2);
        if (make == NULL || (node->fields[i].node = made_node(c, part(parts, 1))) == NULL)
            return -1;
        node->fields[i].make = make != Py_None ? make : NULL;
        if ((node->fields[i].name = interned(c, part(parts, 0))) == NULL)
            return -1;
    }
    return 0;
}

static int fill_indexes(Compiling *c, PyObject *source, WriteNode *node)
{
    PyObject *indexes = attribute(c, source, "indexes", NULL), *symbol, *index;
    Py_ssize_t position = 0;
    if (indexes == NULL)
        return -1;
    node->indexes = kept(c, PyObject_CallOneArg((PyObject *)&PyDict_Type, indexes));
    int failed = node->indexes == NULL ? -1 : 0;
    while (!failed && PyDict_Next(node->indexes, &position, &symbol, &index)) {
        if (!PyLong_Check(index)) {
            fail(PyExc_TypeError, "an index of an enum's symbol is no int");
            failed = -1;
        }
    }
    return failed;
}

static int fill_write(Compiling *c, PyObject *source, void *made)
{
    WriteNode *node = made;
    if (fill_op(source, &node->op) < 0 || integer(source, "size", &node->size) < 0
        || fill_charges(source, &node->weight, &node->cost, &node->each) < 0
        || optional(c, source, "logical", &node->logical) < 0
        || (node->label = attribute(c, source, "label", &PyUnicode_Type)) == NULL
        || (node->accepts = attribute(c, source, "accepts", &PyTuple_Type)) == NULL)
        return -1;
    if (PyTuple_GET_SIZE(node->accepts) == 0)
        node->accepts = NULL;
    node->source = kept(c, Py_NewRef(source));
    if (node->source == NULL)
        return -1;
    switch (node->op) {
    case ENUM:
        return fill_indexes(c, source, node);
    case ARRAY:
    case MAP:
        return fill_items(c, source, (const void **)&node->items);
    case UNION:
        return fill_union(c, source, node);
    case RECORD:
        return fill_fields(c, source, node);
    case FAIL:
        fail(PyExc_ValueError, "a plan for writing cannot fail");
        return -1;
    default:
        return 0;
    }
}

static void *compile_graph(Codec *codec, PyObject *root, PyObject *keep, size_t node_size, const char *members,
                           int (*fill)(Compiling *, PyObject *, void *), Py_ssize_t *count)
{
    Compiling c = {codec, PyList_New(0), PyDict_New(), keep, NULL, node_size};
    bool failed = c.nodes == NULL || c.indexes == NULL || find_node(&c, root) < 0;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(c.nodes); i++)
        failed = find_children(&c, PyList_GET_ITEM(c.nodes, i), members) < 0;
    if (!failed) {
        *count = PyList_GET_SIZE(c.nodes);
        c.made = new_memory(codec, (size_t)*count, node_size);
        failed = c.made == NULL;
    }
    for (Py_ssize_t i = 0; !failed && i < *count; i++)
        failed = fill(&c, PyList_GET_ITEM(c.nodes, i), c.made + (size_t)i * node_size) < 0;
    Py_XDECREF(c.nodes);
    Py_XDECREF(c.indexes);
    return failed ? NULL : c.made;
}

static int pair_up(PyObject *pairs, PyObject *seen, const void *write, const void *read)
{
    PyObject *pair = Py_BuildValue("(NN)", PyLong_FromVoidPtr((void *)write), PyLong_FromVoidPtr((void *)read));
    int known = pair == NULL ? -1 : PySet_Contains(seen, pair);
    if (known == 0)
        known = PySet_Add(seen, pair) < 0 || PyList_Append(pairs, pair) < 0 ? -1 : 0;
    Py_XDECREF(pair);
    return known < 0 ? -1 : 0;
}

/* The children of two nodes that conform walks together; the reader's may end in FAIL. */
static int pair_children(PyObject *pairs, PyObject *seen, const WriteNode *write, const ReadNode *read)
{
    if (read->op == FAIL)
        return 0;
    if (read->op != write->op || (read->op >= RECORD && read->count != write->count)) {
        fail(PyExc_ValueError, "the two plans are not of the same writer's schema");
        return -1;
    }
    if (read->op == ARRAY || read->op == MAP)
        return pair_up(pairs, seen, write->items, read->items);
    for (Py_ssize_t i = 0; read->op >= RECORD && i < read->count; i++) {
        int failed = read->op == UNION
            ? pair_up(pairs, seen, write->branches[i], read->branches[i])
            : pair_up(pairs, seen, write->fields[i].node, read->steps[i].node);
        if (failed)
            return -1;
    }
    return 0;
}

/* Holds the plans of a Conformer against each other once, so that the walker need not. */
static int check_pair(const WriteNode *write, const ReadNode *read)
{
    PyObject *pairs = PyList_New(0), *seen = PySet_New(NULL);
    int failed = pairs == NULL || seen == NULL ? -1 : pair_up(pairs, seen, write, read);
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(pairs); i++) {
        PyObject *pair = PyList_GET_ITEM(pairs, i);
        failed = pair_children(pairs, seen, PyLong_AsVoidPtr(PyTuple_GET_ITEM(pair, 0)),
                               PyLong_AsVoidPtr(PyTuple_GET_ITEM(pair, 1)));
    }
    Py_XDECREF(pairs);
    Py_XDECREF(seen);
    return failed;
}

static int limit(PyObject *limits, const char *name, Py_ssize_t *value)
{
    int64_t number;
    if (integer(limits, name, &number) < 0)
        return -1;
    /* so that sums of two cannot overflow, nor what so many items charge */
    *value = (Py_ssize_t)Py_MIN(Py_MAX(number, 0), PY_SSIZE_T_MAX / MOST_CHARGED);
    return 0;
}

static bool is_quiet(const Codec *codec, Py_ssize_t read_count)
{
    bool quiet = true;
    for (Py_ssize_t i = 0; i < codec->write_count; i++)
        quiet = quiet && codec->write[i].logical == NULL;
    for (Py_ssize_t i = 0; i < read_count; i++)
        quiet = quiet && codec->read[i].logical == NULL;
    return quiet;
}

/* A Codec of the given type; `write` or `read` may be NULL. */
static PyObject *new_codec(PyTypeObject *type, PyObject *write, PyObject *read, PyObject *limits)
{
    Codec *codec = (Codec *)type->tp_alloc(type, 0);
    PyObject *keep = PyList_New(0);
    Py_ssize_t read_count;
    bool failed = codec == NULL || keep == NULL || (codec->state = PyType_GetModuleState(type)) == NULL;
    if (!failed)
        failed = limit(limits, "message_bytes", &codec->limits.message_bytes) < 0
            || limit(limits, "depth", &codec->limits.depth) < 0 || limit(limits, "nodes", &codec->limits.nodes) < 0;
    if (!failed && write != NULL) {
        Py_ssize_t count;
        codec->write = compile_graph(codec, write, keep, sizeof(WriteNode), "fields", fill_write, &count);
        failed = codec->write == NULL;
        if (!failed)
            find_sure(codec->write, count);
        codec->write_count = failed ? 0 : count; /* only now: the collector may look at any time */
    }
    if (!failed && read != NULL) {
        codec->read = compile_graph(codec, read, keep, sizeof(ReadNode), "steps", fill_read, &read_count);
        failed = codec->read == NULL;
    }
    if (!failed && write != NULL && read != NULL) {
        failed = check_pair(codec->write, codec->read) < 0;
        codec->quiet = is_quiet(codec, read_count);
    }
    if (!failed)
        failed = (codec->keep = PyList_AsTuple(keep)) == NULL;
    Py_XDECREF(keep);
    if (failed)
        Py_CLEAR(codec);
    return (PyObject *)codec;
}

/* ---- the module ------------------------------------------------------------------------------------ */

static int codec_traverse(Codec *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->keep);
    for (Py_ssize_t i = 0; i < self->write_count; i++) {
        Py_VISIT(self->write[i].seen.class);
        Py_VISIT(self->write[i].seen.names);
    }
    return 0;
}

static void codec_dealloc(Codec *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    for (Py_ssize_t i = 0; i < self->write_count; i++)
        forget(&self->write[i].seen);
    while (self->blocks != NULL) {
        Block *block = self->blocks;
        self->blocks = block->next;
        PyMem_Free(block);
    }
    Py_XDECREF(self->keep);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *encoder_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"plan", "limits", NULL};
    PyObject *write, *limits;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:Encoder", names, &write, &limits))
        return NULL;
    return new_codec(type, write, NULL, limits);
}

static PyObject *decoder_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"plan", "limits", NULL};
    PyObject *read, *limits;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:Decoder", names, &read, &limits))
        return NULL;
    return new_codec(type, NULL, read, limits);
}

static PyObject *conformer_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"write", "read", "limits", NULL};
    PyObject *write, *read, *limits;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO:Conformer", names, &write, &read, &limits))
        return NULL;
    return new_codec(type, write, read, limits);
}

static PyMethodDef encoder_methods[] = {
    {"encode", (PyCFunction)encoder_encode, METH_O, PyDoc_STR("encode(value) -> bytes")},
    {"encode_parts", (PyCFunction)encoder_encode_parts, METH_O, PyDoc_STR("encode_parts(value) -> bytes | list[bytes]")},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef decoder_methods[] = {
    {"decode", (PyCFunction)(void (*)(void))decoder_decode, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("decode(data, start=0) -> (value, offset behind it)")},
    {"locate", (PyCFunction)decoder_locate, METH_VARARGS, PyDoc_STR("locate(data, start) -> (offset, size) | None")},
    {"decode_apart", (PyCFunction)decoder_decode_apart, METH_VARARGS,
     PyDoc_STR("decode_apart(data, start, at, part) -> (value, offset behind it)")},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef conformer_methods[] = {
    {"conform", (PyCFunction)conformer_conform, METH_O, PyDoc_STR("conform(value) -> value")},
    {NULL, NULL, 0, NULL},
};

#define CODEC_TYPE(lower, upper, text) \
    static PyType_Slot lower##_slots[] = { \
        {Py_tp_doc, PyDoc_STR(text)}, \
        {Py_tp_new, lower##_new}, \
        {Py_tp_dealloc, codec_dealloc}, \
        {Py_tp_traverse, codec_traverse}, \
        {Py_tp_methods, lower##_methods}, \
        {0, NULL}, \
    }; \
    static PyType_Spec lower##_spec = { \
        .name = "splnode.avro.codec._native." upper, \
        .basicsize = sizeof(Codec), \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, \
        .slots = lower##_slots, \
    }

CODEC_TYPE(encoder, "Encoder", "Writes the values of one plan.");
CODEC_TYPE(decoder, "Decoder", "Reads the values of one plan.");
CODEC_TYPE(conformer, "Conformer", "Gives what reading a value written would give, without writing it.");

static PyObject *imported(const char *module, const char *name)
{
    PyObject *object = PyImport_ImportModule(module);
    PyObject *value = object != NULL ? PyObject_GetAttrString(object, name) : NULL;
    Py_XDECREF(object);
    return value;
}

/* The numbers of an enum of plan.py must be those of the C enum beside it. */
static int check_enum(const char *name, const char *const *members, Py_ssize_t count)
{
    PyObject *class = imported("splnode.avro.codec.plan", name);
    if (class == NULL)
        return -1;
    Py_ssize_t size = PyObject_Size(class);
    for (Py_ssize_t i = 0; i < count; i++) {
        int64_t number = -1;
        if (size != count || integer(class, members[i], &number) < 0 || number != i) {
            if (!PyErr_Occurred())
                fail(PyExc_ImportError, "plan.%s is not the one that _native was built for", name);
            Py_DECREF(class);
            return -1;
        }
    }
    Py_DECREF(class);
    return 0;
}

static int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int failed = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return failed;
}

/* ---- for the other native parts: native.h ---------------------------------------------------------- */

static destructor dealloc_of(PyObject *object) { return Py_TYPE(object)->tp_dealloc; }

static int api_is_encoder(PyObject *object)
{
    return dealloc_of(object) == (destructor)codec_dealloc && ((Codec *)object)->write && !((Codec *)object)->read;
}

static int api_is_decoder(PyObject *object)
{
    return dealloc_of(object) == (destructor)codec_dealloc && ((Codec *)object)->read && !((Codec *)object)->write;
}

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

static int api_encode(PyObject *encoder, PyObject *value, Output *out)
{
    Codec *self = (Codec *)encoder;
    Writer writer = begin_writing(self);
    writer.cuts = out->cuts;
    int failed = spend(&writer.budget, self->write->weight) < 0 || write_value(&writer, self->write, value) < 0;
    return give_out(&writer, self, failed, out);
}

static int api_encode_fields(PyObject *encoder, PyObject *const *fields, Py_ssize_t count, Output *out)
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

static PyObject *api_decode(PyObject *decoder, const uint8_t **at, const uint8_t *end)
{
    Codec *self = (Codec *)decoder;
    Reader in = {new_budget(self), *at, end, NULL};
    PyObject *value = spend(&in.budget, self->read->weight) < 0 ? NULL : read_value(&in, self->read);
    if (value == NULL)
        blame_depth(self->state, &self->limits);
    *at = in.p;
    return value;
}

static int api_locate(PyObject *decoder, const uint8_t *at, const uint8_t *end, const uint8_t **place, Py_ssize_t *size)
{
    return locate((Codec *)decoder, at, end, place, size);
}

static PyObject *api_decode_apart(PyObject *decoder, const uint8_t **at, const uint8_t *end, const uint8_t *place,
                                  PyObject *part)
{
    return decode_apart((Codec *)decoder, at, end, place, part);
}

static int add_api(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->api = (CodecApi){
        api_is_encoder, api_is_decoder, api_encode, api_encode_fields, api_decode, api_locate, api_decode_apart,
    };
    PyObject *capsule = PyCapsule_New(&state->api, SPLNODE_CODEC_CAPSULE, NULL);
    int failed = capsule == NULL ? -1 : PyModule_AddObjectRef(module, "_api", capsule);
    Py_XDECREF(capsule);
    return failed;
}

static int module_exec(PyObject *module)
{
    static const char *const ops[] = {"NULL", "BOOLEAN", "INT", "LONG", "FLOAT", "DOUBLE", "BYTES", "STRING",
                                      "FIXED", "ENUM", "ARRAY", "MAP", "RECORD", "UNION", "FAIL"};
    static const char *const promotions[] = {"NONE", "TO_FLOAT", "TO_STRING", "TO_BYTES"};
    State *state = PyModule_GetState(module);
    if ((state->data_error = imported("splnode.errors", "DataError")) == NULL
        || (state->decode_error = imported("splnode.errors", "DecodeError")) == NULL
        || (state->encode_error = imported("splnode.errors", "EncodeError")) == NULL
        || (state->limit_exceeded = imported("splnode.errors", "LimitExceeded")) == NULL
        || (state->branch_of = imported("splnode.avro.codec.choice", "branch_of")) == NULL
        || (state->symbol_of = imported("splnode.avro.codec.choice", "symbol_of")) == NULL
        || (state->struct_attributes = imported("splnode.avro.codec.choice", "struct_attributes")) == NULL
        || (state->enum_class = imported("enum", "Enum")) == NULL
        || check_enum("Op", ops, Py_ARRAY_LENGTH(ops)) < 0
        || check_enum("Promote", promotions, Py_ARRAY_LENGTH(promotions)) < 0)
        return -1;
    return add_type(module, &encoder_spec) < 0 || add_type(module, &decoder_spec) < 0
            || add_type(module, &conformer_spec) < 0 || add_api(module) < 0
        ? -1
        : 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->data_error);
    Py_VISIT(state->decode_error);
    Py_VISIT(state->encode_error);
    Py_VISIT(state->limit_exceeded);
    Py_VISIT(state->struct_class);
    Py_VISIT(state->enum_class);
    Py_VISIT(state->branch_of);
    Py_VISIT(state->symbol_of);
    Py_VISIT(state->struct_attributes);
    return 0;
}

/* No m_clear, for the reason at the top: a Codec that outlives the module's dict still needs the state. */
static void module_free(void *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->data_error);
    Py_CLEAR(state->decode_error);
    Py_CLEAR(state->encode_error);
    Py_CLEAR(state->limit_exceeded);
    Py_CLEAR(state->struct_class);
    Py_CLEAR(state->enum_class);
    Py_CLEAR(state->branch_of);
    Py_CLEAR(state->symbol_of);
    Py_CLEAR(state->struct_attributes);
    for (int i = 0; i < RECENT; i++)
        Py_CLEAR(state->recent[i].string);
    PyMem_Free(state->spare);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "splnode.avro.codec._native",
    .m_doc = PyDoc_STR("The native codec engine; see plan.py for what it carries out, and plain.py for its twin."),
    .m_size = sizeof(State),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module_def); }
