#include "frames.h"

int add_intake(PyObject *module)
{
    (void)module;
    return 0;
}
