/* Seat: a context and a Call that are used again, where nobody can tell. */

#include "seat.h"

/* The beginning of CPython's PyContext (Include/internal/pycore_context.h), the same from 3.8 to 3.14. Its variables
 * are a tree that never changes: copies of the context share it, and to set a variable puts another in its place. */
typedef struct {
    PyObject_HEAD
    PyObject *previous, *variables;
} Context;

#if defined(Py_GIL_DISABLED) || PY_VERSION_HEX >= 0x030f0000
#define CAN_TELL false /* references are not counted so there, or nobody has looked yet: each call gets new ones */
#else
#define CAN_TELL true
#endif

PyObject *seat_call(Seat *seat, const Template *template)
{
    if (seat->call == NULL)
        seat->call = new_call_like(template, NULL, NULL, NULL, NULL);
    return seat->call;
}

void drop_seat(Seat *seat)
{
    Py_CLEAR(seat->variables);
    Py_CLEAR(seat->context);
    Py_CLEAR(seat->call);
}

static int enter_new(Seat *seat, PyObject *context, PyObject *running)
{
    if ((seat->context = PyContext_Copy(context)) == NULL || PyContext_Enter(seat->context) < 0)
        return -1;
    PyObject *token = PyContextVar_Set(running, seat->call);
    if (token == NULL) {
        PyContext_Exit(seat->context);
        return -1;
    }
    Py_DECREF(token);
    if (CAN_TELL)
        seat->variables = Py_NewRef(((Context *)seat->context)->variables);
    return 0;
}

int take_seat(Seat *seat, PyObject *context, PyObject *running)
{
    int failed = seat->context != NULL ? PyContext_Enter(seat->context) : enter_new(seat, context, running);
    if (failed)
        drop_seat(seat);
    return failed;
}

/* Whether nobody has kept anything of it: all references are the seat's own, and that of the variables to the call. */
static bool is_untouched(const Seat *seat)
{
    return CAN_TELL && Py_REFCNT(seat->context) == 1 && Py_REFCNT(seat->call) == 2
        && ((Context *)seat->context)->variables == seat->variables && Py_REFCNT(seat->variables) == 2;
}

int leave_seat(Seat *seat, const Template *template)
{
    int left = PyContext_Exit(seat->context);
    if (left == 0 && is_untouched(seat))
        blank_call(template, seat->call);
    else
        drop_seat(seat);
    return left;
}
