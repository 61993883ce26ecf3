/* The native codec engine: carries out the plans of plan.py in C, beside plain.py and with its results.
 *
 * A plan (a graph of ReadNode or WriteNode objects) is compiled once into C structs of the same names; then three
 * walkers work on them. What a schema means was decided in the plan; what a value must be like to be taken, and what
 * one that was read looks like, is decided in one place each, which two walkers share.
 *
 *   plan     the structs, and how they are made               of plan.py
 *   read     bytes -> value                                   read.py; source_read.py
 *   write    value -> bytes                                   write.py; source_write.py
 *   conform  value -> what decoding its encoding would give   conform.py; source_conform.py
 *   taking   what a value must be like                        taking.py
 *   choice   which branch of a union takes it                 choice.py, which has the rest
 *   giving   what a value that was read looks like            giving.py
 *   budget   what one datum may cost                          budget.py
 *   errors   how a fault is told
 *   module   the types, and what is lent to the package's other native parts (../native.h)
 *
 * The headers hold what is done for most values, so that the walkers have no call in between.
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

#ifndef SPLNODE_CODEC_ENGINE_H
#define SPLNODE_CODEC_ENGINE_H

#include "../native.h"
#include <stddef.h>

#define RECENT 1024 /* places in the table of recent strings; a power of two */
#define RECENT_LONGEST 39 /* bytes of the longest string kept there */

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
    PyObject *nothing; /* of budget.py */
    Recent recent[RECENT];    /* short strings, by hash */
    uint8_t *spare;           /* the output buffer that no Encoder is using now, or NULL */
    Py_ssize_t spare_size;
    CodecApi api;
} State;

typedef struct {
    Py_ssize_t message_bytes, depth, nodes;
} Limits;

/* errors.c: fails, and gives NULL, so that it can be returned. */
void *fail(PyObject *class, const char *format, ...);
void *fail_limit(State *state, const char *limit, Py_ssize_t allowed, const char *what);

/* Adds a step to the path of the DataError being raised; steals the step. Other exceptions have no path. */
void at(State *state, PyObject *step);

void at_field(State *state, PyObject *name);
void at_index(State *state, Py_ssize_t index);
void at_key(State *state, PyObject *key);

/* ValueError and ArithmeticError are how a logical type says "bad data". */
void *blame_data(PyObject *class);

/* Python's stack may end before Limits.depth does; that is no other kind of fault. */
void blame_depth(State *state, const Limits *limits);

#endif
