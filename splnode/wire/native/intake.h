/* An Intake and its messages, for the parts that share them: entry.c, running.c and intake.c. */

#ifndef SPLNODE_WIRE_INTAKE_H
#define SPLNODE_WIRE_INTAKE_H

#include "calls.h"
#include "places.h"
#include "room.h"
#include "seat.h"
#include "stage.h"

#define HASH 16
#define KNOWN_LONGEST 256 /* bytes of metadata that are remembered */

/* How one message of one client is read, run and answered. */
typedef struct {
    PyObject_HEAD
    PyObject *name;  /* bytes */
    PyObject *codec; /* the ServerCall */
    PyObject *handler; /* NULL: the message is the session's */
    PyObject *function, *fields, *names, *gate, *contract, *message, *decoder, *encoder; /* gate NULL: none */
    bool one_way, asynchronous;
    bool listed; /* its parameters are read as a tuple, in the order of `fields` */
    Py_ssize_t withdrawn; /* the offset of that slot of the handler */
    Py_buffer counts;
} Entry;

typedef struct {
    PyObject_HEAD
    State *state; /* of the module, which the type holds */
    PyObject *entry_type;
    PyObject *call, *peer, *running, *context, *clock, *allowed, *handler, *unusual; /* handed in */
    Template template; /* of the calls that are made here: begun, with `peer` */
    Seat seat;         /* of those that end at once */
    Py_ssize_t largest;
    bool large;      /* in `run_large` */
    PyObject *parts; /* of an answer of its, to be written as they are; else NULL */
    Py_ssize_t proven; /* bytes of the last large value, which came whole */
    PyObject *read_metadata; /* a Decoder */
    uint8_t hash[HASH];
    PyObject *calls;   /* ServerCall by name in bytes; NULL before `begin` and after `close` */
    PyObject *entries; /* Entry by name in bytes */
    PyObject *last;    /* the Entry used last, or NULL */
    uint8_t known[KNOWN_LONGEST]; /* the metadata met last */
    Py_ssize_t known_length;
    PyObject *known_metadata;
    double known_allowed;
    PyObject *empty; /* no metadata */
    double empty_allowed; /* NAN: not asked yet */
    PyObject *gate; /* the one that was entered, or NULL */
    Stages *stages; /* for async handlers; NULL: none are run */
    PyObject *suspended, *ended, *answered, *unfit;
    int alone;    /* no task is being carried out now; -1: not asked yet in this run */
    Output out;
    char stopped, over;
    bool busy, closed;
    bool asked; /* for a handler, since metadata was last asked about */
    Py_ssize_t served, room, turn;
    double slice;
    PyObject *outlet; /* or NULL */
} Intake;

/* What becomes of a frame. */
enum { FAILED = -1, LEFT, TAKEN, TAKEN_ODDLY };

/* 0 where the fault is the data's, and somebody else will find it again; -1 where it ends more. */
static inline int forgive(void)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyErr_Clear();
    return 0;
}

/* The result of a hook as a number. -1.0 with an exception. */
static inline double number_of(PyObject *result) /* steals; may be NULL */
{
    double number = result != NULL ? PyFloat_AsDouble(result) : -1.0;
    Py_XDECREF(result);
    return number;
}

static inline int attribute(PyObject *object, const char *name, PyObject **value)
{
    return (*value = PyObject_GetAttrString(object, name)) != NULL ? 0 : -1;
}

/* entry.c */

/* The message of that name: borrowed from `last`. NULL, perhaps with an exception: it is the session's. */
Entry *find_entry(Intake *self, const uint8_t *bytes, Py_ssize_t length);

extern PyType_Spec entry_spec;

/* running.c */

/* Calls the message's handler, and writes its answer where that is plain. */
int run_call(Intake *self, Entry *entry, uint32_t serial, PyObject *params, PyObject *metadata, double deadline,
             double began);

#endif
