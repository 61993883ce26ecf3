/* The client's calls on their way; pipeline.py says what each class is for and is its twin in plain Python.
 *
 *     Method ──makes──► Calling ──puts a request into──► Pipeline ──completes──► Slot ──resumes──► the task
 *        │                                                  ▲                     ▲
 *      Track ──────────────── picks ────────────────────────┘   Calling yields ───┘
 *
 * Any Python may run while a value is encoded or decoded, and while a task is resumed: whatever was read from a
 * Pipeline before is read again behind it.
 */

#ifndef SPLNODE_WIRE_PIPELINE_H
#define SPLNODE_WIRE_PIPELINE_H

#include "frames.h"
#include <stdbool.h>
#include <stddef.h>

#define LAST_SERIAL 0x7FFFFFFFu /* serials stay positive: to most peers they are signed words */
#define HEADS 4 /* metadata written lately; a power of two */
#define LARGE 16384 /* from so many bytes on a frame of the session's is not copied */
#define FIELDS 8 /* parameters that a Calling keeps without a dict */

/* How one message is sent to one server, and its answer read. */
typedef struct {
    PyObject_HEAD
    PyObject *call;    /* the ClientCall */
    PyObject *encode;  /* its request's */
    PyObject *encoder; /* the codec's own, or NULL: it is of another engine */
    PyObject *decoder;
    PyObject *name; /* as an Avro string */
    bool one_way;
} Way;

typedef struct {
    uint32_t serial;
    PyObject *entry; /* a Slot, or whatever the session keeps there; NULL: free */
} Place;

/* What a Pipeline needs of the event loop and of who owns the socket: holder.py's Holder, attribute by attribute. */
#define HOLDER(X)                                                                                                      \
    X(loop) X(call_soon) X(clock) X(current_task) X(task) X(done) X(cancelled) X(general) X(head) X(arm) X(soon)       \
    X(flush) X(freed) X(session) X(forget) X(expired) X(refusal) X(raised)

typedef struct Pipeline {
    PyObject_HEAD
    State *state;
    Place *places; /* by the low bits of the serial: a serial whose place is taken is passed over */
    Py_ssize_t size, in_flight, waiting;
    Py_ssize_t most, largest, high_water;
    Py_ssize_t proven; /* bytes of the last large value, which came whole */
    uint32_t next;
    bool wrapped, open, closed;
    bool told;     /* the holder knows that something is to be sent */
    bool direct;   /* tasks may be resumed right here: no other one runs */
    int receiving;
    double armed;  /* when `expire` will be called at the latest */
    Output out;
    PyObject *parts;   /* a list of what is to be sent before `out`, or NULL */
    Py_ssize_t parted; /* its bytes */
    PyObject *outlet;  /* what bytes are written with, or NULL */
    PyObject *get_loop; /* that of `done`: it gives the loop; NULL without a holder */
    PyObject *pair, *contract; /* once the handshake is done */
    PyObject *ways;            /* dict of name to Way */
    long long lefts[HEADS];
    PyObject *heads[HEADS];
#define X(name) PyObject *name;
    HOLDER(X)
#undef X
} Pipeline;

enum { PENDING, ANSWERED, FAILED, CANCELLED };

/* One call in flight, and the future that its task waits for. */
typedef struct {
    PyObject_HEAD
    Pipeline *pipe;
    Way *way;
    PyObject *call; /* the Call that wants to see the answer's metadata, or NULL */
    double deadline;
    uint32_t serial;
    uint8_t fate;
    bool blocking;
    PyObject *value;           /* of ANSWERED; the error of FAILED; the message of CANCELLED, or NULL */
    PyObject *waker, *context; /* who is to be told, or NULL */
} Slot;

typedef struct {
    PyObject *params;        /* a mapping, or NULL: */
    PyObject *const *fields; /* all of them */
    Py_ssize_t count;
} Params;

/* pipeline.c */
/* Fails: nobody holds the pipeline. NULL. */
void *missing_holder(void);
static inline bool has_room(const Pipeline *pipe) { return pipe->open && pipe->in_flight < pipe->most; }

/* way.c */
extern PyType_Spec way_spec;
Way *find_way(Pipeline *pipe, PyObject *name);

/* request.c */
PyObject *find_head(Pipeline *pipe, long long left, PyObject *metadata);
int put_request(Pipeline *pipe, Way *way, PyObject *head, const Params *params, double deadline, PyObject *call,
                Slot **slot);
int forget_slot(Slot *slot);

/* Puts bytes behind what is in `out`. -1 with an exception. */
int append_bytes(Output *out, PyObject *bytes);

/* Moves what is in the buffer to the parts. */
int move_to_parts(Pipeline *pipe);

/* The holder hears that there is something to send, unless it is in `receive` and will look itself. */
int tell_holder(Pipeline *pipe);

/* slot.c */
int add_slot(PyObject *module);
Slot *new_slot(Pipeline *pipe, Way *way, PyObject *call, double deadline, uint32_t serial);
int settle(Slot *slot, int fate, PyObject *value, bool direct);

/* calling.c */
int add_calling(PyObject *module);
PyObject *new_calling_of_call(Pipeline *pipe, PyObject *call);
PyObject *put_call(Pipeline *pipe, PyObject *call);

/* track.c */
int add_track(PyObject *module);
Pipeline *pick_line(PyObject *track, PyObject **account);
void count_begun(PyObject *account);
void uncount_begun(PyObject *account);
void count_ended(PyObject *account, bool well);
PyObject *failed_of(PyObject *account);

int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type);

#endif
