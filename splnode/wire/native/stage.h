/* Stage: where an async handler runs. */

#ifndef SPLNODE_WIRE_STAGE_H
#define SPLNODE_WIRE_STAGE_H

#include "engine.h"
#include <stdbool.h>

#define SPARES 256 /* stages that wait for calls */

/* The stages of one event loop, for all connections of one host. */
typedef struct Stages Stages;
typedef struct Stage Stage;

struct Stage {
    PyObject_HEAD
    int state;
    Stages *stages;
    PyObject *context, *task, *called;
    PyObject *coroutine, *waits_for; /* of a call that was suspended; what follows is the intake's */
    PyObject *intake, *entry, *codec, *handler, *call, *token, *serving;
    unsigned int serial;
    double began;
    char placed, begun;
    Py_ssize_t weight;
};

/* Whether the object is Stages. */
bool are_stages(PyObject *object);

/* Whether a coroutine may be stepped here: no task is being carried out now. -1 with an exception. */
int is_nobodys_turn(Stages *stages);

/* One that waits for a call; a new reference. NULL with an exception. */
Stage *take_stage(Stages *stages);

/* Keeps it for another call, unless the one before has left something in it: then it is ended. */
void give_stage_back(Stage *stage);

/* Carries the coroutine out as far as it goes at once, as the stage's task. PYGEN_RETURN or PYGEN_ERROR: it has ended.
 * PYGEN_NEXT: it waits for `*result`; `carry_on` then, or drop it. */
PySendResult first_step(Stage *stage, PyObject *coroutine, PyObject **result);

/* The coroutine waits for `waits_for`: from now on the task carries it out. */
int carry_on(Stage *stage, PyObject *coroutine, PyObject *waits_for);

int add_stage(PyObject *module);

/* running.c's, in the task and the context of a call that was suspended, when its coroutine has ended with a value or
 * an error. 1: it was dealt with; 0: the error is to end the task too; -1 with an exception. */
int call_ended(Stage *stage, PyObject *value, PyObject *error);

/* And then: the context is as it was before the call. False if it could not be. */
bool leave_call(Stage *stage);

#endif
