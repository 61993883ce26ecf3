/* Seat: the context that handlers are called in, one after the other, and the Call that `running` is there.
 *
 * Both are made for one call, and serve the next one too if nobody has kept anything of them: no copy of the context
 * (which a task has, or a callback), no variable set in it, no reference to the Call. Otherwise the next call gets new
 * ones. To make them takes longer than all else that the intake does for a call.
 */

#ifndef SPLNODE_WIRE_SEAT_H
#define SPLNODE_WIRE_SEAT_H

#include "calls.h"

typedef struct {
    PyObject *call;      /* NULL: the next one is made anew; */
    PyObject *context;   /* so is this, */
    PyObject *variables; /* and these are its own, with `running` among them, as long as nobody sets any */
} Seat;

/* A Call like the blank one; borrowed. NULL with an exception. */
PyObject *seat_call(Seat *seat, const Template *template);

/* Enters a copy of `context` in which `running` is that call. -1 with an exception. */
int take_seat(Seat *seat, PyObject *context, PyObject *running);

/* Leaves it. -1 with an exception where that cannot be done. */
int leave_seat(Seat *seat, const Template *template);

void drop_seat(Seat *seat);

static inline int visit_seat(const Seat *seat, visitproc visit, void *arg)
{
    Py_VISIT(seat->call);
    Py_VISIT(seat->context);
    Py_VISIT(seat->variables);
    return 0;
}

#endif
