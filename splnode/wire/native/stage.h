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

/* What the holder hands in of its event loop; an Intake owns them. */
typedef struct {
    PyObject *loop, *create_future, *create_task, *enter_task, *leave_task, *current_task;
} Tasks;

typedef struct Stage Stage;

/* A stage that waits for its first call: its task is made, in a copy of `context`. NULL with an exception. */
Stage *new_stage(PyTypeObject *type, const Tasks *tasks, PyObject *context);

/* The task, and the context in which its calls run; borrowed. */
PyObject *stage_task(Stage *stage);
PyObject *stage_context(Stage *stage);

/* Carries the coroutine out as far as it goes at once, as the stage's task. PYGEN_RETURN or PYGEN_ERROR: it has ended.
 * PYGEN_NEXT: it waits for `*result`; `carry_on` then, or drop it. */
PySendResult first_step(Stage *stage, const Tasks *tasks, PyObject *coroutine, PyObject **result);

/* The coroutine waits for `waits_for`: from now on the task carries it out. When it has ended
 * `ended(running, value, error)` is called, and says whether the error was dealt with. */
int carry_on(Stage *stage, PyObject *coroutine, PyObject *waits_for, PyObject *ended, PyObject *running);

/* Whether a call may begin in it: nobody has cancelled it meanwhile. -1 with an exception. */
int is_free(Stage *stage);

/* Whether a call that is over has left nothing in it, whose context was a copy of `context`. -1 with an exception. */
int is_clean(Stage *stage, PyObject *context);

/* Ends one that waits for a call. */
void end_stage(Stage *stage);

int add_stage(PyObject *module);

#endif
