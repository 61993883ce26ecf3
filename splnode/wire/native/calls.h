/* What is known here of calls: the slots that Python's Call keeps things in, and how calls are counted. */

#ifndef SPLNODE_WIRE_CALLS_H
#define SPLNODE_WIRE_CALLS_H

#include "engine.h"
#include <stdbool.h>
#include <structmember.h>

#define BUCKETS 28 /* as in handling.py, */

enum { CALLS, IN_FLIGHT, NANOSECONDS, TIMES, PLACES = TIMES + BUCKETS }; /* and these */

/* The slots that mean something here. */
enum { PARAMS, DEADLINE, METADATA, PEER, CONTRACT, MESSAGE, ANSWER_METADATA, BEGUN, ENDED, KNOWN };

/* A blank call, that others are made like: without its constructor, slot by slot. Zeroed memory is an empty one. */
typedef struct {
    PyObject *blank;
    PyObject *names[KNOWN];
    Py_ssize_t count, *slots; /* the offsets of all slots, */
    Py_ssize_t known[KNOWN];  /* and of those */
} Template;

/* Where a class keeps a slot, or 0 with TypeError. */
Py_ssize_t slot_offset(PyObject *class, const char *name);

/* -1 with TypeError or AttributeError if calls of the class have not all of that in slots. */
int take_template(Template *template, PyObject *blank);
void drop_template(Template *template);

/* A call like the blank one, with these for its own; what is NULL is the blank one's. */
PyObject *new_call_like(const Template *template, PyObject *params, PyObject *deadline, PyObject *metadata,
                        PyObject *peer);

/* A call that nobody else knows of is like the blank one again. */
void blank_call(const Template *template, PyObject *call);

/* What is known of a call, whatever its class: a new reference. */
PyObject *known_of(const Template *template, PyObject *call, int which);

static inline PyObject **slot_at(PyObject *object, Py_ssize_t offset)
{
    return (PyObject **)((char *)object + offset);
}

static inline void set_known(const Template *template, PyObject *call, int which, PyObject *value)
{
    PyObject **slot = slot_at(call, template->known[which]);
    Py_XSETREF(*slot, Py_NewRef(value));
}

static inline bool is_awaitable(PyObject *value)
{
    return Py_TYPE(value)->tp_as_async != NULL && Py_TYPE(value)->tp_as_async->am_await != NULL;
}

/* Counts a call that has ended after so many seconds. */
static inline void count_call(int64_t *counts, double seconds)
{
    int64_t nanoseconds = (int64_t)(seconds * 1e9);
    int place = 0;
    for (int64_t rest = nanoseconds / 1000; rest > 0 && place < BUCKETS - 1; rest >>= 1)
        place++;
    counts[CALLS]++;
    counts[NANOSECONDS] += nanoseconds;
    counts[TIMES + place]++;
}

#endif
