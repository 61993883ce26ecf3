/* What the parts of the native call engine share: the module's state, and the codec's walkers.
 *
 * The engine knows the ordinary call on an established Netty connection, and nothing else; whatever is unusual goes
 * to the plain Python beside it (wire/client.py, wire/server.py), in order. It owns no loop, no clock and no socket.
 */

#ifndef SPLNODE_WIRE_ENGINE_H
#define SPLNODE_WIRE_ENGINE_H

#include "../../avro/codec/native.h"

typedef struct {
    PyObject *codec; /* the module that `api` belongs to */
    const CodecApi *api;
} State;

int add_pipeline(PyObject *module); /* pipeline.c: the client's calls on their way */
int add_intake(PyObject *module);   /* intake.c: the requests that a server takes in */
int add_room(PyObject *module);     /* room.c: memory that is received into */

#endif
