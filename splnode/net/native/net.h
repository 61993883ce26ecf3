/* What the parts of net's extension share. It waits for nothing but the answers of the client that blocks. */

#ifndef SPLNODE_NET_H
#define SPLNODE_NET_H

#include "../../avro/codec/native.h"
#include <time.h>

typedef struct {
    PyObject *codec; /* the module that `api` belongs to */
    const CodecApi *api;
    PyTypeObject *line;
    unsigned long forks; /* of this process since the module was loaded */
} Module;

#ifdef CLOCK_UPTIME_RAW /* macOS: its CLOCK_MONOTONIC is another */
#define CLOCK CLOCK_UPTIME_RAW
#else
#define CLOCK CLOCK_MONOTONIC
#endif

/* As time.monotonic() gives it. */
static inline double moment(void)
{
    struct timespec time;
    clock_gettime(CLOCK, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int add_blocking(PyObject *module); /* blocking.c: the ordinary call of the client that blocks */
int add_mouth(PyObject *module);    /* mouth.c: where the bytes of a peer come in, and where those for it go out */

#endif
