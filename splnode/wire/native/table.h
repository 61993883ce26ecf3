/* The table of a Pipeline's calls in flight, by serial. */

#ifndef SPLNODE_WIRE_TABLE_H
#define SPLNODE_WIRE_TABLE_H

#include "pipeline.h"

/* pipeline.c */

/* Twice as many places; those that differ in their low bits still do with one more. */
int grow_table(Pipeline *pipe);

/* Puts an entry in, for the one that is there. -1 with an exception. */
int put_entry(Pipeline *pipe, uint32_t serial, PyObject *entry);

static inline Place *place_of(const Pipeline *pipe, uint32_t serial)
{
    if (pipe->size == 0)
        return NULL;
    Place *place = &pipe->places[serial & (uint32_t)(pipe->size - 1)];
    return place->entry != NULL && place->serial == serial ? place : NULL;
}

static inline bool is_slot(const Pipeline *pipe, PyObject *entry) { return Py_TYPE(entry) == pipe->state->slot; }

/* The next serial whose place is free, and that place. */
static inline Place *next_place(Pipeline *pipe)
{
    if (pipe->in_flight * 2 >= pipe->size && grow_table(pipe) < 0)
        return NULL;
    uint32_t serial = pipe->next, mask = (uint32_t)(pipe->size - 1);
    while (pipe->places[serial & mask].entry != NULL)
        serial = (serial + 1) & LAST_SERIAL;
    uint32_t next = (serial + 1) & LAST_SERIAL;
    if (next < pipe->next)
        pipe->wrapped = true;
    pipe->next = next;
    pipe->places[serial & mask].serial = serial;
    return &pipe->places[serial & mask];
}

/* Takes the entry out: the reference is the caller's. NULL, with no exception, where there is none. */
static inline PyObject *take_entry(Pipeline *pipe, uint32_t serial)
{
    Place *place = place_of(pipe, serial);
    if (place == NULL)
        return NULL;
    PyObject *entry = place->entry;
    place->entry = NULL;
    pipe->in_flight--;
    pipe->waiting -= is_slot(pipe, entry);
    return entry;
}

#endif
