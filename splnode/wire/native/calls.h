/* What the server's halves know of calls: the slots that Python's Call keeps things in, and how calls are counted. */

#ifndef SPLNODE_WIRE_CALLS_H
#define SPLNODE_WIRE_CALLS_H

#include "engine.h"
#include <stdbool.h>
#include <structmember.h>

#define BUCKETS 28 /* as in intake.py, */

enum { CALLS, IN_FLIGHT, NANOSECONDS, TIMES, PLACES = TIMES + BUCKETS }; /* and these */

/* Where a class keeps a slot, or 0 with TypeError. */
static inline Py_ssize_t slot_offset(PyObject *class, PyObject *name)
{
    PyObject *slot = PyObject_GetAttr(class, name);
    Py_ssize_t offset = 0;
    if (slot != NULL && Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)slot)->d_member;
        if (member->type == T_OBJECT_EX && !(member->flags & READONLY))
            offset = member->offset;
    }
    Py_XDECREF(slot);
    if (offset == 0 && !PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "%S has no slot %S", class, name);
    return offset;
}

static inline PyObject **slot_at(PyObject *object, Py_ssize_t offset)
{
    return (PyObject **)((char *)object + offset);
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
