/* Gates, which let calls in: Places, or anything of Python that has its `enter` and `leave`. */

#ifndef SPLNODE_WIRE_PLACES_H
#define SPLNODE_WIRE_PLACES_H

#include "engine.h"

/* 1 if the call is let in, 0 if not; -1 with an exception. */
int enter_gate(State *state, PyObject *gate);

/* -1 with an exception. */
int leave_gate(State *state, PyObject *gate);

#endif
