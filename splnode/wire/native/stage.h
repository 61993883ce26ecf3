/* Stage: where an async handler runs. */

#ifndef SPLNODE_WIRE_STAGE_H
#define SPLNODE_WIRE_STAGE_H

#include "engine.h"
#include <stdbool.h>

/* The exception being raised, taken off the thread; put back with raise_again. */
static inline PyObject *take_exception(void)
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

static inline void raise_again(PyObject *error) /* steals */
{
#if PY_VERSION_HEX >= 0x030c0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef(Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

/* The names that are asked for in every call. */
enum { DONE, SET_RESULT, BLOCKING, MUST_CANCEL, CALLBACKS, CANCELLING, TASK_NAMES };

/* What the holder hands in of its event loop; an Intake owns them. Zeroed memory is an empty one. */
typedef struct {
    PyObject *loop, *create_future, *create_task, *enter_task, *leave_task, *current_task;
    PyObject *names[TASK_NAMES], *context_name; /* the last a tuple */
} Tasks;

/* From `tasks`, by their names; 0, or -1 with an exception. Both ends are drop_tasks. */
int take_tasks(Tasks *of, PyObject *tasks);
int visit_tasks(Tasks *of, visitproc visit, void *arg);
void drop_tasks(Tasks *of);

typedef struct Stage Stage;

struct Stage {
    PyObject_HEAD
    int state;
    const Tasks *tasks; /* of `owner` */
    PyObject *owner;    /* the Intake */
    PyObject *context, *task, *called;
    PyObject *coroutine, *waits_for; /* of a call that was suspended; what follows is the intake's */
    PyObject *entry, *codec, *handler, *call, *token, *serving;
    unsigned int serial;
    double began;
    char placed, begun;
    Py_ssize_t weight;
};

/* A stage that waits for its first call: its task is made, in a copy of `context`. NULL with an exception. */
Stage *new_stage(PyTypeObject *type, PyObject *owner, const Tasks *tasks, PyObject *context);

/* Carries the coroutine out as far as it goes at once, as the stage's task. PYGEN_RETURN or PYGEN_ERROR: it has ended.
 * PYGEN_NEXT: it waits for `*result`; `carry_on` then, or drop it. */
PySendResult first_step(Stage *stage, PyObject *coroutine, PyObject **result);

/* The coroutine waits for `waits_for`: from now on the task carries it out. */
int carry_on(Stage *stage, PyObject *coroutine, PyObject *waits_for);

/* Whether a call may begin in it: nobody has cancelled it meanwhile. -1 with an exception. */
int is_free(Stage *stage);

/* Whether a call that is over has left nothing in it, whose context was a copy of `context`. An exception is none. */
bool is_clean(Stage *stage, PyObject *context);

/* Ends one that waits for a call. */
void end_stage(Stage *stage);

int add_stage(PyObject *module);

/* What intake.c says to a call that was suspended, in its task and its context, when its coroutine has ended with a
 * value or an error. 1: it was dealt with; 0: the error is to end the task too; -1 with an exception. */
int call_ended(Stage *stage, PyObject *value, PyObject *error);

/* And whether the stage may wait for another call then; takes it if so. */
bool keep_stage(Stage *stage);

#endif
