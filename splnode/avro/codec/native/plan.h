/* A plan as the walkers see it: plan.py's nodes, compiled by plan.c. */

#ifndef SPLNODE_CODEC_PLAN_H
#define SPLNODE_CODEC_PLAN_H

#include "engine.h"

/* The values of plan.Op and plan.Promote; module_exec checks that they agree. */
enum { NULL_, BOOLEAN, INT, LONG, FLOAT, DOUBLE, BYTES, STRING, FIXED, ENUM, ARRAY, MAP, RECORD, UNION, FAIL, OPS };
enum { NONE, TO_FLOAT, TO_STRING, TO_BYTES };

/* The kinds of value that a union tells apart. */
enum { IS_NONE, IS_BOOL, IS_INT, IS_FLOAT, IS_BYTES, IS_STR, IS_LIST, IS_DICT, IS_STRUCT, IS_OTHER, KINDS };

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

typedef struct Block Block;

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

/* A Codec of the given type; `write` or `read` may be NULL. */
PyObject *new_codec(PyTypeObject *type, PyObject *write, PyObject *read, PyObject *limits);

/* Lets go of what `new_codec` has made, but for the object itself. */
void drop_plan(Codec *codec);

/* An attribute that is an int of 64 bits. -1 with an exception. */
int integer(PyObject *object, const char *name, int64_t *number);

/* The place in a Struct's memory that an attribute is kept in; 0 if it is no plain slot of the class. */
Py_ssize_t slot_offset(PyTypeObject *class, PyObject *name);

static inline PyObject **slot_at(PyObject *object, Py_ssize_t offset)
{
    return (PyObject **)((char *)object + offset);
}

#endif
