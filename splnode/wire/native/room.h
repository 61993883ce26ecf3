/* Memory that is received into, and frames of which a large value at the end is received so. */

#ifndef SPLNODE_WIRE_ROOM_H
#define SPLNODE_WIRE_ROOM_H

#include "frames.h"
#include <stdbool.h>

typedef struct {
    PyObject_HEAD
    PyObject *bytes; /* nobody else's until it is taken; its size is the room there is now */
    Py_ssize_t filled, total;
    Py_ssize_t views;
    bool taken;
    PyObject *rest; /* of a parcel: the frame's bytes in front of it; else NULL */
    uint32_t serial;
} Room;

/* The parcel of a frame that begins, with what is here of it up to `end`: the value that `decoder` reads from `at` on
 * ends the frame with large bytes. There is room at once for as much as was `proven`: who sent so much before, and all
 * of it. NULL, perhaps with an exception, where it does not end so, or too little is here to know. */
PyObject *begin_parcel(State *state, PyObject *decoder, const Frame *frame, const uint8_t *at, const uint8_t *end,
                       Py_ssize_t proven);

/* What reads the value of a large frame that has begun: a new reference to its decoder, and `*at` where the value begins.
 * NULL, perhaps with an exception, where the frame is not ordinary. */
typedef PyObject *(*FindDecoder)(void *self, const Frame *frame, const uint8_t **at, const uint8_t *end);

/* The method begin_large(data, start, size) of a pipeline or an intake: a parcel, or None. */
PyObject *begin_large(State *state, PyObject *args, Py_ssize_t largest, Py_ssize_t proven, FindDecoder find, void *self);

/* The object, if it is a parcel that has all of its bytes; else NULL with TypeError. */
Room *whole_parcel(State *state, PyObject *object);

#endif
