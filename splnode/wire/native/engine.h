/* What the parts of the native call engine share: the module's state, and the codec's walkers.
 *
 * The engine knows the ordinary call on an established Netty connection, and nothing else; whatever is unusual goes
 * to the plain Python beside it (wire/client.py, wire/server.py), in order. It owns no loop, no clock and no socket.
 */

#ifndef SPLNODE_WIRE_ENGINE_H
#define SPLNODE_WIRE_ENGINE_H

#include "../../avro/codec/native.h"

enum {
    NAME_MESSAGE, NAME_NAME, NAME_DEADLINE, NAME_METADATA, NAME_PARAMS, NAME_ENTER, NAME_LEAVE, NAME_BLOCKING,
    NAME_GET_LOOP, NAME_ADD_CALLBACK, NAMES
};

#define SPARE 64

typedef struct {
    PyObject *codec; /* the module that `api` belongs to */
    const CodecApi *api;

    /* of the client's half: pipeline.h */
    PyTypeObject *pipeline, *way, *slot, *calling, *method, *track;
    PyObject *names[NAMES];
    PyObject *context_name; /* ("context",) */
    PyObject *spare_slots[SPARE], *spare_callings[SPARE]; /* freed, and kept for the next calls */
    int spare_slot_count, spare_calling_count;

    PyTypeObject *room;   /* room.c */
    PyTypeObject *places; /* places.c */
} State;

/* The moment of a clock that was handed in, in seconds; -1.0, perhaps with an exception. */
double now_of(PyObject *clock);
int find_clock(void);

/* Makes a type and puts it into the module; `*kept`, unless that is NULL, is a reference to it. */
int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **kept);

int add_pipeline(PyObject *module); /* pipeline.c: the client's calls on their way */
int add_intake(PyObject *module);   /* intake.c: the requests that a server takes in */
int add_room(PyObject *module);     /* room.c: memory that is received into */
int add_places(PyObject *module);   /* places.c: how many calls run at a time */
int add_local(PyObject *module);    /* local.c: calls that stay in their process */

#endif
