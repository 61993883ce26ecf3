/* Moments of a clock that was handed in. Python's own is not asked by way of an object: it is looked at for each call. */

#include "engine.h"
#include <time.h>

static PyCFunction monotonic; /* what stands behind time.monotonic */

int find_clock(void)
{
    PyObject *module = PyImport_ImportModule("time");
    PyObject *clock = module != NULL ? PyObject_GetAttrString(module, "monotonic") : NULL;
    if (clock != NULL && PyCFunction_CheckExact(clock))
        monotonic = PyCFunction_GET_FUNCTION(clock);
    Py_XDECREF(module);
    Py_XDECREF(clock);
    return clock != NULL ? 0 : -1;
}

double now_of(PyObject *clock)
{
#ifdef __linux__ /* where it is CLOCK_MONOTONIC, in nanoseconds */
    struct timespec now;
    if (monotonic != NULL && PyCFunction_CheckExact(clock) && PyCFunction_GET_FUNCTION(clock) == monotonic
        && clock_gettime(CLOCK_MONOTONIC, &now) == 0)
        return (double)((int64_t)now.tv_sec * 1000000000 + now.tv_nsec) / 1e9;
#endif
    PyObject *now_object = PyObject_CallNoArgs(clock);
    double value = now_object == NULL ? -1.0 : PyFloat_AsDouble(now_object);
    Py_XDECREF(now_object);
    return value;
}
