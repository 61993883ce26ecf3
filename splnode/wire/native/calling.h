/* Calling: what a method gives to be awaited. Method (method.c) makes them of parameters, Pipeline of a Call. */

#ifndef SPLNODE_WIRE_CALLING_H
#define SPLNODE_WIRE_CALLING_H

#include "pipeline.h"

enum { CREATED, RUNNING, SENT, WAITING, HANDED_ON, DONE };

typedef struct Calling {
    PyObject_HEAD
    State *state;
    uint8_t stage;
    PyObject *method; /* a Method, or NULL: */
    Pipeline *pipe;   /* that it goes to, and */
    PyObject *call;   /* the Call */
    PyObject *params, *metadata; /* of a Method: a mapping or NULL; NULL for none */
    double timeout;
    Py_ssize_t count;
    PyObject *fields[FIELDS]; /* the parameters, where there is no mapping */
    Slot *slot;
    PyObject *account; /* the Track that counts it, until it has ended, or NULL */
    double deadline;   /* of what is counted */
    PyObject *inner;   /* HANDED_ON: the coroutine that does it the general way, or after it failed */
} Calling;

Calling *new_calling(State *state);

/* Sends it: 1 and the slot is there, or NULL for what is one-way; 0 if it is to go the general way; -1 with an
 * exception. Either takes what it needs out of the Calling. */
int send_by_method(Calling *calling);
/* The general way's coroutine. */
PyObject *general_of_method(Calling *calling);
/* What takes over a call that ended with this error on a line that somebody keeps account of. */
PyObject *recovery_of_method(Calling *calling, PyObject *failed, PyObject *error);
PyObject *name_of_method(Calling *calling);

int add_method(PyObject *module);

#endif
