/* Intake: the ordinary requests of one connection, run as soon as they are read. wire/intake.py is its twin, and says
 * what is ordinary and what the holder is told.
 *
 * Handlers, gates and hooks are Python, and may come back: take answers, close, begin another pair. So what is used
 * after one of them is owned here meanwhile (`Entry` above all), and the bytes being read are the caller's, whose
 * buffer is held until `run` returns. A handler that comes back to `run` itself finds the intake busy.
 */

#include "calls.h"
#include "places.h"
#include "room.h"
#include "seat.h"
#include "stage.h"

#define HEAVY 65536            /* as in intake.py */
#define ENOUGH (256 * 1024)    /* as in intake.py, */
#define TURN 128               /* and this, */
#define SLICE 0.003            /* and this, */
#define MANY 24                /* and this, */
#define FRESH 0.0001           /* and this */
#define SHORTEST_HANDSHAKE 34  /* handshake.SHORTEST_REQUEST */
#define HASH 16
#define NAME_LONGEST 63        /* bytes of a name whose length is one byte */
#define KNOWN_LONGEST 256      /* bytes of metadata that are remembered */
#define KEPT_OUTPUT (64 * 1024) /* bytes of the output buffer that are kept */
#define FEW 8                  /* parameters that need no allocation */

/* How one message of one client is read, run and answered. */
typedef struct {
    PyObject_HEAD
    PyObject *name;  /* bytes */
    PyObject *codec; /* the ServerCall */
    PyObject *handler; /* NULL: the message is the session's */
    PyObject *function, *fields, *names, *gate, *contract, *message, *decoder, *encoder; /* gate NULL: none */
    bool one_way, asynchronous;
    bool listed; /* its parameters are read as a tuple, in the order of `fields` */
    Py_ssize_t withdrawn; /* the offset of that slot of the handler */
    Py_buffer counts;
} Entry;

typedef struct {
    PyObject_HEAD
    State *state; /* of the module, which the type holds */
    PyObject *entry_type;
    PyObject *call, *peer, *running, *context, *clock, *allowed, *handler, *unusual; /* handed in */
    Template template; /* of the calls that are made here: begun, with `peer` */
    Seat seat;         /* of those that end at once */
    Py_ssize_t largest;
    bool large;      /* in `run_large` */
    PyObject *parts; /* of an answer of its, to be written as they are; else NULL */
    Py_ssize_t proven; /* bytes of the last large value, which came whole */
    PyObject *read_metadata; /* a Decoder */
    uint8_t hash[HASH];
    PyObject *calls;   /* ServerCall by name in bytes; NULL before `begin` and after `close` */
    PyObject *entries; /* Entry by name in bytes */
    PyObject *last;    /* the Entry used last, or NULL */
    uint8_t known[KNOWN_LONGEST]; /* the metadata met last */
    Py_ssize_t known_length;
    PyObject *known_metadata;
    double known_allowed;
    PyObject *empty; /* no metadata */
    double empty_allowed; /* NAN: not asked yet */
    PyObject *gate; /* the one that was entered, or NULL */
    Stages *stages; /* for async handlers; NULL: none are run */
    PyObject *suspended, *ended, *answered, *unfit;
    int alone;    /* no task is being carried out now; -1: not asked yet in this run */
    Output out;
    char stopped, over;
    bool busy, closed;
    bool asked; /* for a handler, since metadata was last asked about */
    Py_ssize_t served, room, turn;
    double slice;
    PyObject *outlet; /* or NULL */
} Intake;

/* What becomes of a frame. */
enum { FAILED = -1, LEFT, TAKEN, TAKEN_ODDLY };

/* ---- small things ---------------------------------------------------------------------------------- */

/* 0 where the fault is the data's, and somebody else will find it again; -1 where it ends more. */
static int forgive(void)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyErr_Clear();
    return 0;
}

/* The result of a hook as a number. -1.0 with an exception. */
static double number_of(PyObject *result) /* steals; may be NULL */
{
    double number = result != NULL ? PyFloat_AsDouble(result) : -1.0;
    Py_XDECREF(result);
    return number;
}

/* ---- one message ----------------------------------------------------------------------------------- */

static int entry_traverse(Entry *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->codec);
    Py_VISIT(self->handler);
    Py_VISIT(self->function);
    Py_VISIT(self->fields);
    Py_VISIT(self->names);
    Py_VISIT(self->gate);
    Py_VISIT(self->contract);
    Py_VISIT(self->message);
    Py_VISIT(self->decoder);
    Py_VISIT(self->encoder);
    Py_VISIT(self->counts.obj);
    return 0;
}

/* No tp_clear: an Entry never changes once made, and a cycle through it goes through the intake's dict too. */
static void entry_dealloc(Entry *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->name);
    Py_XDECREF(self->codec);
    Py_XDECREF(self->handler);
    Py_XDECREF(self->function);
    Py_XDECREF(self->fields);
    Py_XDECREF(self->names);
    Py_XDECREF(self->gate);
    Py_XDECREF(self->contract);
    Py_XDECREF(self->message);
    Py_XDECREF(self->decoder);
    Py_XDECREF(self->encoder);
    if (self->counts.obj != NULL)
        PyBuffer_Release(&self->counts);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot entry_slots[] = {
    {Py_tp_dealloc, entry_dealloc},
    {Py_tp_traverse, entry_traverse},
    {0, NULL},
};

static PyType_Spec entry_spec = {
    .name = "splnode.wire._native.Entry",
    .basicsize = sizeof(Entry),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = entry_slots,
};

static int attribute(PyObject *object, const char *name, PyObject **value)
{
    return (*value = PyObject_GetAttrString(object, name)) != NULL ? 0 : -1;
}

/* The codec whose bound method an attribute is. */
static int codec_of(PyObject *call, const char *method, PyObject **codec)
{
    PyObject *bound = PyObject_GetAttrString(call, method);
    int failed = bound == NULL ? -1 : attribute(bound, "__self__", codec);
    Py_XDECREF(bound);
    return failed;
}

static bool are_names(PyObject *names, PyObject *fields)
{
    bool fit = PyTuple_CheckExact(names) && PyTuple_CheckExact(fields)
        && PyTuple_GET_SIZE(names) == PyTuple_GET_SIZE(fields);
    for (Py_ssize_t i = 0; fit && i < PyTuple_GET_SIZE(names); i++)
        fit = PyUnicode_CheckExact(PyTuple_GET_ITEM(names, i)) && PyUnicode_CheckExact(PyTuple_GET_ITEM(fields, i));
    return fit;
}

/* Everything of the handler and its message that is used for each call. */
static int fill_entry(Intake *self, Entry *entry)
{
    const CodecApi *api = self->state->api;
    PyObject *counts, *one_way, *asynchronous, *handler = entry->handler, *codec = entry->codec;
    if (attribute(handler, "function", &entry->function) < 0 || attribute(handler, "fields", &entry->fields) < 0
        || attribute(handler, "names", &entry->names) < 0 || attribute(handler, "gate", &entry->gate) < 0
        || attribute(codec, "contract", &entry->contract) < 0 || attribute(codec, "message", &entry->message) < 0
        || codec_of(codec, "decode", &entry->decoder) < 0 || codec_of(codec, "encode", &entry->encoder) < 0)
        return -1;
    if (entry->gate == Py_None)
        Py_CLEAR(entry->gate);
    if (!are_names(entry->names, entry->fields) || !api->is_decoder(entry->decoder)
        || !api->is_encoder(entry->encoder)) {
        PyErr_SetString(PyExc_TypeError, "a handler for the native intake has tuples of names and native codecs");
        return -1;
    }
    entry->listed = api->gives_fields(entry->decoder, entry->fields);
    if (attribute(codec, "one_way", &one_way) < 0)
        return -1;
    entry->one_way = one_way == Py_True;
    Py_DECREF(one_way);
    if (attribute(handler, "asynchronous", &asynchronous) < 0)
        return -1;
    entry->asynchronous = asynchronous == Py_True;
    Py_DECREF(asynchronous);
    if ((entry->withdrawn = slot_offset((PyObject *)Py_TYPE(handler), "withdrawn")) == 0
        || attribute(handler, "counts", &counts) < 0)
        return -1;
    int failed = PyObject_GetBuffer(counts, &entry->counts, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS);
    Py_DECREF(counts);
    if (failed)
        return -1;
    if (entry->counts.len < (Py_ssize_t)(PLACES * sizeof(int64_t))) {
        PyErr_SetString(PyExc_ValueError, "too few places in the counts of a handler");
        return -1;
    }
    return 0;
}

/* Asks for the message's handler. A new reference, also in `entries`; NULL with an exception. */
static Entry *new_entry(Intake *self, PyObject *name, PyObject *codec)
{
    PyTypeObject *type = (PyTypeObject *)self->entry_type;
    Entry *entry = (Entry *)type->tp_alloc(type, 0);
    if (entry == NULL)
        return NULL;
    entry->name = Py_NewRef(name);
    entry->codec = Py_NewRef(codec);
    entry->handler = PyObject_CallOneArg(self->handler, codec);
    self->known_length = 0; /* what was allowed then may not be now */
    self->asked = true;
    bool failed = entry->handler == NULL;
    if (entry->handler == Py_None)
        Py_CLEAR(entry->handler);
    else if (!failed)
        failed = fill_entry(self, entry) < 0;
    if (failed || self->entries == NULL || PyDict_SetItem(self->entries, name, (PyObject *)entry) < 0)
        Py_CLEAR(entry);
    return entry;
}

static inline bool is_withdrawn(const Entry *entry)
{
    return entry->handler != NULL && *slot_at(entry->handler, entry->withdrawn) == Py_True;
}

/* The message of that name: borrowed from `last`. NULL, perhaps with an exception: it is the session's. */
static Entry *find_entry(Intake *self, const uint8_t *bytes, Py_ssize_t length)
{
    Entry *last = (Entry *)self->last;
    if (last != NULL && PyBytes_GET_SIZE(last->name) == length
        && memcmp(PyBytes_AS_STRING(last->name), bytes, (size_t)length) == 0 && !is_withdrawn(last))
        return last;
    PyObject *name = PyBytes_FromStringAndSize((const char *)bytes, length);
    if (name == NULL || self->entries == NULL || self->calls == NULL) {
        Py_XDECREF(name);
        return NULL;
    }
    Entry *entry = (Entry *)PyDict_GetItemWithError(self->entries, name);
    if (entry != NULL && !is_withdrawn(entry))
        Py_INCREF(entry);
    else {
        PyObject *codec = PyErr_Occurred() ? NULL : PyDict_GetItemWithError(self->calls, name);
        Py_XINCREF(codec);
        entry = codec != NULL ? new_entry(self, name, codec) : NULL;
        Py_XDECREF(codec);
    }
    Py_DECREF(name);
    if (entry != NULL)
        Py_XSETREF(self->last, (PyObject *)entry);
    return entry;
}

/* ---- metadata -------------------------------------------------------------------------------------- */

static double ask_allowed(Intake *self, PyObject *metadata)
{
    return number_of(PyObject_CallOneArg(self->allowed, metadata));
}

/* Reads what is not what came last. */
static int new_metadata(Intake *self, const uint8_t **at, const uint8_t *end)
{
    const uint8_t *start = *at;
    PyObject *dict = self->state->api->decode(self->read_metadata, at, end);
    if (dict == NULL)
        return forgive() < 0 ? FAILED : LEFT;
    PyObject *metadata = PyDictProxy_New(dict); /* the next call with the same bytes gets it too */
    Py_DECREF(dict);
    double allowed = metadata != NULL ? ask_allowed(self, metadata) : -1.0;
    if (allowed == -1.0 && PyErr_Occurred()) {
        Py_XDECREF(metadata);
        return FAILED;
    }
    self->known_length = *at - start <= KNOWN_LONGEST ? *at - start : 0;
    memcpy(self->known, start, (size_t)self->known_length);
    self->known_allowed = allowed;
    Py_XSETREF(self->known_metadata, metadata);
    return TAKEN;
}

/* The metadata at `*at`, borrowed, and the seconds that a call with it has. LEFT where it cannot be read. */
static int find_metadata(Intake *self, const uint8_t **at, const uint8_t *end, PyObject **metadata, double *allowed)
{
    if (*at < end && **at == 0) {
        if (self->empty_allowed != self->empty_allowed) { /* NAN */
            double asked = ask_allowed(self, self->empty);
            if (asked == -1.0 && PyErr_Occurred())
                return FAILED;
            self->empty_allowed = asked;
        }
        ++*at;
        *metadata = self->empty;
        *allowed = self->empty_allowed;
        return TAKEN;
    }
    Py_ssize_t length = self->known_length;
    if (length && end - *at >= length && memcmp(*at, self->known, (size_t)length) == 0)
        *at += length;
    else {
        int found = new_metadata(self, at, end);
        if (found != TAKEN)
            return found;
    }
    *metadata = self->known_metadata;
    *allowed = self->known_allowed;
    return TAKEN;
}

/* ---- a call ---------------------------------------------------------------------------------------- */

static int leave(Intake *self)
{
    PyObject *gate = self->gate;
    if (gate == NULL)
        return 0;
    self->gate = NULL;
    PyObject *error = PyErr_Occurred() ? take_exception() : NULL; /* it is left on the way out of an error too */
    int left = leave_gate(self->state, gate);
    Py_DECREF(gate);
    if (error == NULL)
        return left;
    raise_again(error); /* the first error is the one that is told */
    return 0;
}

/* TAKEN inside of the entry's gate, if it has one; LEFT where there is no place. */
static int enter(Intake *self, const Entry *entry)
{
    if (entry->gate == self->gate)
        return TAKEN;
    if (leave(self) < 0)
        return FAILED;
    if (entry->gate == NULL)
        return TAKEN;
    int inside = enter_gate(self->state, entry->gate);
    if (inside <= 0)
        return inside < 0 ? FAILED : LEFT;
    self->gate = Py_NewRef(entry->gate);
    return TAKEN;
}

/* Makes of a blank call what call(contract, message, params, deadline, metadata, peer, True) would make, begun. */
static int fill_call(Intake *self, const Entry *entry, PyObject *call, PyObject *params, double deadline,
                     PyObject *metadata)
{
    const Template *template = &self->template;
    PyObject *until = PyFloat_FromDouble(deadline);
    if (until == NULL)
        return -1;
    set_known(template, call, PARAMS, params);
    set_known(template, call, METADATA, metadata);
    set_known(template, call, CONTRACT, entry->contract);
    set_known(template, call, MESSAGE, entry->message);
    set_known(template, call, DEADLINE, until);
    Py_DECREF(until);
    return 0;
}

static void end_call(Intake *self, PyObject *call) { set_known(&self->template, call, ENDED, Py_True); }

/* function(**params), by the names of the function. */
static PyObject *call_function(const Entry *entry, PyObject *params)
{
    Py_ssize_t count = PyTuple_GET_SIZE(entry->fields), filled = 0;
    PyObject *few[FEW + 1], **room = few, *result = NULL;
    if (count > FEW && (room = PyMem_New(PyObject *, (size_t)count + 1)) == NULL)
        return PyErr_NoMemory();
    PyObject **args = room + 1;
    for (; filled < count; filled++) {
        PyObject *value = PyTuple_CheckExact(params)
            ? PyTuple_GET_ITEM(params, filled)
            : PyDict_GetItemWithError(params, PyTuple_GET_ITEM(entry->fields, filled));
        if (value == NULL)
            break;
        args[filled] = Py_NewRef(value);
    }
    if (filled == count)
        result = PyObject_Vectorcall(entry->function, args, PY_VECTORCALL_ARGUMENTS_OFFSET, count ? entry->names : NULL);
    else if (!PyErr_Occurred())
        PyErr_SetObject(PyExc_KeyError, PyTuple_GET_ITEM(entry->fields, filled));
    while (filled > 0)
        Py_DECREF(args[--filled]);
    if (room != few)
        PyMem_Free(room);
    return result;
}

/* Tells the holder what has no plain answer. */
static int tell(Intake *self, const Entry *entry, uint32_t serial, PyObject *call, PyObject *value, PyObject *error,
                double began)
{
    PyObject *number = PyLong_FromUnsignedLong(serial), *since = PyFloat_FromDouble(began), *told = NULL;
    if (number != NULL && since != NULL) {
        PyObject *args[] = {NULL, entry->handler, number, entry->codec, call, value, error, since};
        told = PyObject_Vectorcall(self->unusual, args + 1, 7 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    Py_XDECREF(number);
    Py_XDECREF(since);
    Py_XDECREF(told);
    return told != NULL ? TAKEN_ODDLY : FAILED;
}

/* An answer that holds large bytes: all of it and what is before it in the output, as parts to be written as they are. */
static int write_parts(Intake *self, Output *out, Py_ssize_t start, uint32_t serial)
{
    PyObject *first = PyList_GET_ITEM(out->parts, 0);
    Py_ssize_t length = out->used - start - FRAME_HEAD + out->given, ahead = PyBytes_GET_SIZE(first);
    if (length > self->largest)
        return LEFT;
    PyObject *joined = PyBytes_FromStringAndSize(NULL, out->used + ahead);
    if (joined == NULL)
        return FAILED;
    uint8_t *bytes = (uint8_t *)PyBytes_AS_STRING(joined);
    memcpy(bytes, out->bytes, (size_t)out->used);
    put_head(bytes + start, serial, length);
    bytes[start + FRAME_HEAD] = bytes[start + FRAME_HEAD + 1] = 0;
    memcpy(bytes + out->used, PyBytes_AS_STRING(first), (size_t)ahead);
    if (PyList_SetItem(out->parts, 0, joined) < 0)
        return FAILED;
    self->parts = Py_NewRef(out->parts);
    out->used = 0;
    return TAKEN;
}

/* Writes an answer. LEFT where the value does not fit: the holder tries it again, and says what is wrong with it. So it
 * does with one that holds large bytes, which the session writes as they are, unless it is in `run_large`. */
static int write_answer(Intake *self, const Entry *entry, uint32_t serial, PyObject *value)
{
    Output out = self->out; /* the value's own code may take what was answered before: it finds nothing meanwhile */
    self->out = (Output){0};
    Py_ssize_t start = out.used;
    int written = FAILED;
    if (output_room(&out, FRAME_HEAD + 2) != NULL) {
        out.used += FRAME_HEAD + 2;
        out.cuts = true;
        if (self->state->api->encode(entry->encoder, value, &out) == 0)
            written = out.parts == NULL ? out.used - start - FRAME_HEAD <= self->largest ? TAKEN : LEFT
                : self->large           ? write_parts(self, &out, start, serial)
                                        : LEFT;
        else
            written = forgive() < 0 ? FAILED : LEFT;
    }
    if (written == TAKEN && out.parts == NULL) {
        uint8_t *head = out.bytes + start;
        put_head(head, serial, out.used - start - FRAME_HEAD);
        head[FRAME_HEAD] = head[FRAME_HEAD + 1] = 0; /* no metadata, and the flag of a success */
    }
    else if (written != TAKEN)
        out.used = start;
    out.cuts = false;
    out.given = 0;
    Py_CLEAR(out.parts);
    PyMem_Free(self->out.bytes);
    self->out = out;
    return written;
}

static int has_metadata(Intake *self, PyObject *call)
{
    const Template *template = &self->template;
    PyObject *metadata = *slot_at(call, template->known[ANSWER_METADATA]);
    bool own = metadata != NULL && metadata != *slot_at(template->blank, template->known[ANSWER_METADATA]);
    return own ? PyObject_IsTrue(metadata) : 0;
}

/* The handler has raised. */
static int end_badly(Intake *self, const Entry *entry, uint32_t serial, PyObject *call, double began)
{
    PyObject *error = take_exception();
    end_call(self, call);
    int told = tell(self, entry, serial, call, Py_None, error, began);
    Py_DECREF(error);
    return told;
}

/* The handler has given a value, or something to wait for. */
static int end_well(Intake *self, const Entry *entry, uint32_t serial, PyObject *call, PyObject *value, double began)
{
    int done = LEFT;
    if (!is_awaitable(value)) {
        end_call(self, call);
        int odd = has_metadata(self, call);
        if (odd < 0)
            done = FAILED;
        else if (!odd)
            done = entry->one_way || self->closed ? TAKEN : write_answer(self, entry, serial, value);
    }
    return done == LEFT ? tell(self, entry, serial, call, value, Py_None, began) : done;
}

static int64_t *in_flight(const Entry *entry) { return (int64_t *)entry->counts.buf + IN_FLIGHT; }

/* Calls the handler in a copy of the host's context, where the call is the one that runs, and writes its answer. */
static int run_sync(Intake *self, const Entry *entry, uint32_t serial, PyObject *call, PyObject *params, double began)
{
    if (take_seat(&self->seat, self->context, self->running) < 0)
        return FAILED;
    ++*in_flight(entry);
    PyObject *value = call_function(entry, params);
    --*in_flight(entry);
    int done = value != NULL ? end_well(self, entry, serial, call, value, began)
                             : end_badly(self, entry, serial, call, began);
    Py_XDECREF(value);
    return leave_seat(&self->seat, &self->template) < 0 ? FAILED : done;
}

/* ---- an async call --------------------------------------------------------------------------------- */

/* Whether an async handler may begin here. -1 with an exception. */
static int is_alone(Intake *self)
{
    if (self->alone < 0 && self->stages != NULL)
        self->alone = is_nobodys_turn(self->stages);
    return self->stages != NULL ? self->alone : 0;
}

/* The coroutine waits for something: the holder takes the call over, with its place, and the stage's task goes on. */
static int suspend(Intake *self, Entry *entry, uint32_t serial, PyObject *call, Stage *stage, PyObject *token,
                   PyObject *coroutine, PyObject *waits_for, double began)
{
    stage->intake = Py_NewRef(self);
    stage->entry = Py_NewRef(entry);
    stage->codec = Py_NewRef(entry->codec);
    stage->handler = Py_NewRef(entry->handler);
    stage->call = Py_NewRef(call);
    stage->token = Py_NewRef(token);
    stage->serial = serial;
    stage->began = began;
    stage->placed = self->gate != NULL; /* it leaves the gate when it has ended */
    Py_CLEAR(self->gate);
    PyObject *told = PyObject_CallOneArg(self->suspended, (PyObject *)stage);
    Py_XDECREF(told);
    return told == NULL || carry_on(stage, coroutine, waits_for) < 0 ? FAILED : TAKEN_ODDLY;
}

/* What a call that was suspended has given is written, if somebody waits for it. 1, or -1 with an exception. */
static int answer_late(Intake *self, Stage *stage, const Entry *entry, PyObject *value)
{
    int done = LEFT, odd = has_metadata(self, stage->call);
    if (odd == 0)
        done = entry->one_way ? TAKEN : write_answer(self, entry, stage->serial, value);
    if (odd < 0 || done == FAILED)
        return -1;
    PyObject *args[] = {(PyObject *)stage, value};
    PyObject *told = PyObject_Vectorcall(done == TAKEN ? self->answered : self->unfit, args, done == TAKEN ? 1 : 2, NULL);
    Py_XDECREF(told);
    return told != NULL ? 1 : -1;
}

int call_ended(Stage *stage, PyObject *value, PyObject *error)
{
    Intake *self = (Intake *)stage->intake;
    const Entry *entry = (const Entry *)stage->entry;
    end_call(self, stage->call);
    --*in_flight(entry);
    if (stage->placed && leave_gate(self->state, entry->gate) < 0)
        return -1;
    if (error == NULL) {
        double now = now_of(self->clock);
        if (now == -1.0 && PyErr_Occurred())
            return -1;
        count_call(entry->counts.buf, now - stage->began);
    }
    PyObject *args[] = {(PyObject *)stage, error != NULL ? error : Py_None};
    PyObject *told = PyObject_Vectorcall(self->ended, args, 2, NULL);
    int yes = told != NULL ? PyObject_IsTrue(told) : -1;
    Py_XDECREF(told);
    if (error != NULL || yes < 0)
        return yes;
    return yes ? answer_late(self, stage, entry, value) : 1;
}

bool leave_call(Stage *stage)
{
    int left = PyContextVar_Reset(((Intake *)stage->intake)->running, stage->token);
    if (left < 0)
        PyErr_Clear();
    return left == 0;
}

/* Calls an async handler and carries it out as far as it goes at once. */
static int run_async(Intake *self, Entry *entry, uint32_t serial, PyObject *call, PyObject *params, double began)
{
    Stage *stage = take_stage(self->stages);
    if (stage == NULL || PyContext_Enter(stage->context) < 0) {
        Py_XDECREF(stage);
        return FAILED;
    }
    PyObject *token = PyContextVar_Set(self->running, call);
    int done = FAILED;
    PySendResult step = PYGEN_ERROR;
    PyObject *coroutine = NULL, *result = NULL;
    if (token != NULL) {
        ++*in_flight(entry);
        coroutine = call_function(entry, params);
        if (coroutine != NULL && PyCoro_CheckExact(coroutine))
            step = first_step(stage, coroutine, &result);
        else if (coroutine != NULL) {
            step = PYGEN_RETURN;
            result = Py_NewRef(coroutine);
        }
        if (step != PYGEN_NEXT) {
            --*in_flight(entry);
            done = step == PYGEN_RETURN ? end_well(self, entry, serial, call, result, began)
                                        : end_badly(self, entry, serial, call, began);
            PyObject *error = PyErr_Occurred() ? take_exception() : NULL;
            if (PyContextVar_Reset(self->running, token) < 0)
                PyErr_Clear();
            if (error != NULL)
                raise_again(error);
        }
    }
    if (PyContext_Exit(stage->context) < 0)
        done = FAILED;
    if (step == PYGEN_NEXT)
        done = suspend(self, entry, serial, call, stage, token, coroutine, result, began);
    else
        give_stage_back(stage);
    Py_DECREF(stage);
    Py_XDECREF(token);
    Py_XDECREF(coroutine);
    Py_XDECREF(result);
    return done;
}

/* A large value that was received by itself, and where it belongs. */
typedef struct {
    const uint8_t *place;
    PyObject *part;
} Apart;

/* The parameters of an ordinary frame, a dict or a tuple, a new reference. NULL, perhaps with an exception: LEFT. */
static PyObject *read_params(Intake *self, const Entry *entry, const uint8_t *at, const uint8_t *end,
                             const Apart *apart)
{
    const CodecApi *api = self->state->api;
    PyObject *params = apart != NULL ? api->decode_apart(entry->decoder, &at, end, apart->place, apart->part)
        : entry->listed              ? api->decode_fields(entry->decoder, &at, end)
                                     : api->decode(entry->decoder, &at, end);
    if (params == NULL)
        forgive();
    else if (at != end || !(PyTuple_CheckExact(params) || PyDict_CheckExact(params)))
        Py_CLEAR(params);
    return params;
}

/* Calls the message's handler. */
static int run_call(Intake *self, Entry *entry, uint32_t serial, PyObject *params, PyObject *metadata, double deadline,
                    double began)
{
    if (!entry->asynchronous) {
        PyObject *call = seat_call(&self->seat, &self->template);
        bool ready = call != NULL && fill_call(self, entry, call, params, deadline, metadata) == 0;
        return ready ? run_sync(self, entry, serial, call, params, began) : FAILED;
    }
    PyObject *call = new_call_like(&self->template, NULL, NULL, NULL, NULL);
    bool ready = call != NULL && fill_call(self, entry, call, params, deadline, metadata) == 0;
    int done = ready ? run_async(self, entry, serial, call, params, began) : FAILED;
    Py_XDECREF(call);
    return done;
}

/* Runs the request of a frame, unless it is LEFT to the session, and nothing has been done. `*entry` is its message.
 * `apart` is NULL, or what the frame lacks: then it is only run if it is done with at once. */
static int take_frame(Intake *self, const Frame *frame, const Apart *apart, double now, Entry **entry)
{
    const uint8_t *at = frame->body, *end = at + frame->length;
    PyObject *metadata;
    double allowed;
    if (frame->length >= HEAVY
        || (frame->length >= SHORTEST_HANDSHAKE && memcmp(at, self->hash, HASH) == 0))
        return LEFT;
    int found = find_metadata(self, &at, end, &metadata, &allowed);
    if (found != TAKEN)
        return found;
    if (at == end || *at & 1 || *at >> 1 > NAME_LONGEST || (*at >> 1) > end - at - 1 || allowed <= 0)
        return LEFT;
    Py_ssize_t length = *at++ >> 1;
    Py_INCREF(metadata);
    *entry = find_entry(self, at, length);
    Py_XINCREF(*entry);
    int done = *entry != NULL && (*entry)->handler != NULL ? TAKEN : LEFT;
    if (self->asked) {
        self->asked = false;
        if (*entry != NULL && metadata != self->empty && (allowed = ask_allowed(self, metadata)) <= 0)
            done = PyErr_Occurred() ? FAILED : LEFT;
    }
    if (done == TAKEN && (*entry)->asynchronous && apart != NULL)
        done = LEFT;
    if (done == TAKEN && (*entry)->asynchronous) {
        int alone = is_alone(self);
        done = alone > 0 ? TAKEN : alone == 0 ? LEFT : FAILED;
    }
    if (done == TAKEN)
        done = enter(self, *entry);
    PyObject *params = done == TAKEN ? read_params(self, *entry, at + length, end, apart) : NULL;
    if (params != NULL && !self->stopped)
        done = run_call(self, *entry, frame->serial, params, metadata, now + allowed, now);
    else if (done == TAKEN)
        done = LEFT;
    Py_XDECREF(params);
    Py_DECREF(metadata);
    return PyErr_Occurred() ? FAILED : done;
}

/* ---- a run ----------------------------------------------------------------------------------------- */

/* Runs what is ordinary from `*at` on, which moves behind it. */
static int run_frames(Intake *self, const uint8_t **at, const uint8_t *end, Py_ssize_t most, double seconds)
{
    double now = now_of(self->clock);
    if (now == -1.0 && PyErr_Occurred())
        return -1;
    double until = now + seconds;
    Frame frame;
    const uint8_t *next = *at;
    while (self->served < most && !self->over && !self->stopped && next_frame(&next, end, self->largest, &frame)) {
        Entry *entry = NULL;
        int done = take_frame(self, &frame, NULL, now, &entry);
        if (done > LEFT) {
            *at = next;
            self->served++;
            double then = now_of(self->clock);
            if (then == -1.0 && PyErr_Occurred())
                done = FAILED;
            else if (done == TAKEN)
                count_call(entry->counts.buf, then - now);
            now = then;
            self->over = now >= until || self->out.used >= ENOUGH;
        }
        Py_XDECREF(entry);
        if (done <= LEFT)
            return done;
    }
    return 0;
}

/* As much of the data as `run` takes, from `*at` on. */
static int run_some(Intake *self, const uint8_t **at, const uint8_t *end, Py_ssize_t most, double seconds)
{
    self->served = 0;
    self->over = false;
    self->alone = -1;
    if (self->busy || self->stopped)
        return 0;
    self->busy = true;
    int failed = run_frames(self, at, end, most, seconds);
    self->busy = false;
    return leave(self) < 0 ? -1 : failed;
}

static PyObject *intake_run(Intake *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 4 && nargs != 5) {
        PyErr_SetString(PyExc_TypeError, "run(data, start, most, seconds, size)");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), most = PyLong_AsSsize_t(args[2]);
    double seconds = PyFloat_AsDouble(args[3]);
    Py_ssize_t size = nargs == 5 ? PyLong_AsSsize_t(args[4]) : -1;
    if (PyErr_Occurred())
        return NULL;
    Py_buffer data;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    int failed = 0;
    if (nargs == 4)
        size = data.len;
    if (start < 0 || start > size || size > data.len) {
        PyErr_SetString(PyExc_ValueError, "run begins and ends within the data");
        failed = -1;
    }
    const uint8_t *at = (const uint8_t *)data.buf + start, *end = (const uint8_t *)data.buf + size;
    if (!failed)
        failed = run_some(self, &at, end, most, seconds);
    start = at - (const uint8_t *)data.buf;
    PyBuffer_Release(&data);
    return failed ? NULL : PyLong_FromSsize_t(start);
}

static PyObject *intake_take(Intake *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *taken = PyBytes_FromStringAndSize((const char *)self->out.bytes, self->out.used);
    if (taken != NULL) {
        self->out.used = 0;
        if (self->out.size > KEPT_OUTPUT) {
            PyMem_Free(self->out.bytes);
            self->out = (Output){0};
        }
    }
    return taken;
}

/* What has been answered goes out. */
static int write_out(Intake *self)
{
    if (self->out.used == 0 || self->outlet == NULL || self->outlet == Py_None)
        return 0;
    PyObject *outlet = Py_NewRef(self->outlet), *taken = intake_take(self, NULL);
    PyObject *done = taken != NULL ? PyObject_CallOneArg(outlet, taken) : NULL;
    Py_DECREF(outlet);
    Py_XDECREF(taken);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* A turn: answers go out at its end, and before it those that are many, or have waited a while. */
static int run_turn(Intake *self, const uint8_t **at, const uint8_t *end)
{
    double now = now_of(self->clock), until = now + self->slice;
    for (Py_ssize_t left = self->turn; left > 0 && now < until; left -= self->served) {
        Py_ssize_t most = Py_MIN(Py_MIN(left, self->room), MANY);
        if (PyErr_Occurred() || run_some(self, at, end, most, FRESH) < 0 || write_out(self) < 0)
            return -1;
        bool more = self->over || (most > 0 && self->served == most);
        if (!more || *at == end)
            return 0;
        now = now_of(self->clock);
    }
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *intake_feed(Intake *self, PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer data;
    Py_ssize_t size = nargs == 2 ? PyLong_AsSsize_t(args[1]) : -1;
    if (nargs != 2)
        PyErr_SetString(PyExc_TypeError, "feed(buffer, count)");
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (size < 0 || size > data.len) {
        PyErr_Format(PyExc_ValueError, "%zd bytes of a buffer of %zd", size, data.len);
        PyBuffer_Release(&data);
        return NULL;
    }
    const uint8_t *at = data.buf;
    int failed = run_turn(self, &at, at + size);
    size = at - (const uint8_t *)data.buf;
    PyBuffer_Release(&data);
    return failed ? NULL : PyLong_FromSsize_t(size);
}

static int run_apart(Intake *self, const Frame *frame, const Apart *apart)
{
    double now = now_of(self->clock);
    if (now == -1.0 && PyErr_Occurred())
        return FAILED;
    Entry *entry = NULL;
    int done = take_frame(self, frame, apart, now, &entry);
    if (done == TAKEN) {
        double then = now_of(self->clock);
        if (then == -1.0 && PyErr_Occurred())
            done = FAILED;
        else
            count_call(entry->counts.buf, then - now);
    }
    Py_XDECREF(entry);
    return done;
}

static PyObject *intake_run_apart(Intake *self, PyObject *args)
{
    unsigned long serial;
    PyObject *rest, *part;
    Py_ssize_t at;
    if (!PyArg_ParseTuple(args, "kSnS:run_apart", &serial, &rest, &at, &part))
        return NULL;
    Frame frame = {(uint32_t)serial, (const uint8_t *)PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest)};
    if (self->busy || self->stopped || at < 0 || at > frame.length)
        Py_RETURN_FALSE;
    Apart apart = {frame.body + at, part};
    self->busy = true;
    int done = run_apart(self, &frame, &apart);
    self->busy = false;
    if (leave(self) < 0 || done == FAILED)
        return NULL;
    return PyBool_FromLong(done > LEFT);
}

/* Whose parameters begin at `*at`, behind the name: TAKEN and its message if it is ordinary but for its size. */
static int find_large(Intake *self, const Frame *frame, const uint8_t **at, const uint8_t *end, Entry **entry)
{
    PyObject *metadata;
    double allowed;
    *at = frame->body;
    if (memcmp(*at, self->hash, HASH) == 0)
        return LEFT;
    int found = find_metadata(self, at, end, &metadata, &allowed);
    if (found != TAKEN)
        return found;
    if (end - *at < 64 || **at & 1 || **at >> 1 > NAME_LONGEST)
        return LEFT;
    Py_ssize_t length = *(*at)++ >> 1;
    *entry = find_entry(self, *at, length);
    *at += length;
    if (*entry == NULL || (*entry)->handler == NULL || (*entry)->asynchronous)
        return PyErr_Occurred() ? FAILED : LEFT;
    return TAKEN;
}

static PyObject *intake_begin_large(Intake *self, PyObject *args)
{
    Py_buffer data;
    Py_ssize_t start, size;
    if (!PyArg_ParseTuple(args, "y*nn:begin_large", &data, &start, &size))
        return NULL;
    const uint8_t *at = (const uint8_t *)data.buf + start, *end = (const uint8_t *)data.buf + size;
    PyObject *parcel = NULL;
    Frame frame;
    if (!self->busy && !self->stopped && start >= 0 && start <= size && size <= data.len
        && begins_large(at, end, self->largest, &frame)) {
        Entry *entry = NULL;
        if (find_large(self, &frame, &at, end, &entry) == TAKEN) {
            Py_INCREF(entry);
            parcel = begin_parcel(self->state, entry->decoder, &frame, at, end, self->proven);
            Py_DECREF(entry);
        }
    }
    PyBuffer_Release(&data);
    return parcel == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None) : parcel;
}

static PyObject *intake_run_large(Intake *self, PyObject *object)
{
    Room *parcel = whole_parcel(self->state, object);
    if (parcel == NULL)
        return NULL;
    self->proven = parcel->total;
    if (self->busy || self->stopped)
        Py_RETURN_FALSE;
    Frame frame = {parcel->serial, (const uint8_t *)PyBytes_AS_STRING(parcel->rest), PyBytes_GET_SIZE(parcel->rest)};
    Apart apart = {frame.body + frame.length, parcel->bytes};
    Py_INCREF(object);
    self->busy = self->large = true;
    int done = run_apart(self, &frame, &apart);
    self->busy = self->large = false;
    Py_DECREF(object);
    PyObject *parts = self->parts;
    self->parts = NULL;
    if (leave(self) < 0 || done == FAILED) {
        Py_XDECREF(parts);
        return NULL;
    }
    return parts != NULL ? parts : PyBool_FromLong(done > LEFT);
}

static void forget_messages(Intake *self)
{
    PyObject *entries = self->entries, *last = self->last, *calls = self->calls;
    self->entries = self->last = self->calls = NULL;
    Py_XDECREF(entries);
    Py_XDECREF(last);
    Py_XDECREF(calls);
}

static PyObject *intake_begin(Intake *self, PyObject *args)
{
    Py_buffer hash;
    PyObject *calls;
    if (!PyArg_ParseTuple(args, "y*O!:begin", &hash, &PyDict_Type, &calls))
        return NULL;
    bool fits = hash.len == HASH;
    if (fits)
        memcpy(self->hash, hash.buf, HASH);
    PyBuffer_Release(&hash);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "a hash has 16 bytes");
        return NULL;
    }
    Py_INCREF(calls);
    forget_messages(self);
    if ((self->entries = PyDict_New()) == NULL) {
        Py_DECREF(calls);
        return NULL;
    }
    self->calls = calls;
    Py_RETURN_NONE;
}

static PyObject *intake_close(Intake *self, PyObject *Py_UNUSED(ignored))
{
    self->stopped = self->closed = true;
    forget_messages(self);
    Py_RETURN_NONE;
}

/* ---- the type -------------------------------------------------------------------------------------- */

/* What reads metadata, as the session does it. */
static PyObject *metadata_decoder(State *state, PyObject *limits)
{
    PyObject *module = PyImport_ImportModule("splnode.wire.metadata");
    PyObject *codec = module != NULL ? PyObject_CallMethod(module, "metadata_codec", "O", limits) : NULL;
    PyObject *decoder = codec != NULL ? PyObject_GetAttrString(codec, "decoder") : NULL;
    Py_XDECREF(module);
    Py_XDECREF(codec);
    if (decoder != NULL && !state->api->is_decoder(decoder)) {
        PyErr_SetString(PyExc_TypeError, "the native intake needs the native codec engine");
        Py_CLEAR(decoder);
    }
    return decoder;
}

/* The call that others are made like. */
static int init_template(Intake *self)
{
    PyObject *blank =
        PyObject_CallFunction(self->call, "OO{}dOOO", Py_None, Py_None, 0.0, self->empty, self->peer, Py_True);
    int failed = blank == NULL ? -1 : take_template(&self->template, blank);
    if (!failed)
        set_known(&self->template, blank, BEGUN, Py_True);
    Py_XDECREF(blank);
    return failed;
}

static int init_intake(Intake *self, PyObject *limits)
{
    PyObject *largest = PyObject_GetAttrString(limits, "message_bytes"), *nothing = PyDict_New();
    self->largest = largest != NULL ? PyLong_AsSsize_t(largest) : -1;
    self->empty = nothing != NULL ? PyDictProxy_New(nothing) : NULL;
    self->empty_allowed = Py_NAN;
    Py_XDECREF(largest);
    Py_XDECREF(nothing);
    if (self->empty == NULL || PyErr_Occurred() || init_template(self) < 0)
        return -1;
    return (self->read_metadata = metadata_decoder(self->state, limits)) != NULL ? 0 : -1;
}

static int take_tasks(Intake *self, PyObject *tasks)
{
    if (tasks == Py_None)
        return 0;
    PyObject *stages;
    if (attribute(tasks, "stages", &stages) < 0)
        return -1;
    if (!are_stages(stages)) {
        Py_DECREF(stages);
        PyErr_SetString(PyExc_TypeError, "the native intake needs its own Stages");
        return -1;
    }
    self->stages = (Stages *)stages;
    return attribute(tasks, "suspended", &self->suspended) < 0 || attribute(tasks, "ended", &self->ended) < 0
            || attribute(tasks, "answered", &self->answered) < 0 || attribute(tasks, "unfit", &self->unfit) < 0
        ? -1
        : 0;
}

static PyObject *intake_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {
        "limits", "call", "peer", "running", "context", "clock", "allowed", "handler", "unusual", "tasks", NULL,
    };
    PyObject *limits, *call = NULL, *peer = NULL, *running = NULL, *context = NULL, *clock = NULL, *allowed = NULL;
    PyObject *handler = NULL, *unusual = NULL, *tasks = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|$O!OO!O!OOOOO:Intake", names, &limits, &PyType_Type, &call, &peer,
                                     &PyContextVar_Type, &running, &PyContext_Type, &context, &clock, &allowed,
                                     &handler, &unusual, &tasks))
        return NULL;
    if (!call || !peer || !running || !context || !clock || !allowed || !handler || !unusual) {
        PyErr_SetString(PyExc_TypeError, "Intake() is to be handed in all but its tasks");
        return NULL;
    }
    Intake *self = (Intake *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->room = PY_SSIZE_T_MAX;
    self->turn = TURN;
    self->slice = SLICE;
    self->call = Py_NewRef(call);
    self->peer = Py_NewRef(peer);
    self->running = Py_NewRef(running);
    self->context = Py_NewRef(context);
    self->clock = Py_NewRef(clock);
    self->allowed = Py_NewRef(allowed);
    self->handler = Py_NewRef(handler);
    self->unusual = Py_NewRef(unusual);
    if ((self->state = PyType_GetModuleState(type)) == NULL
        || attribute(PyType_GetModule(type), "Entry", &self->entry_type) < 0
        || take_tasks(self, tasks) < 0
        || init_intake(self, limits) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int intake_traverse(Intake *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->entry_type);
    Py_VISIT(self->call);
    Py_VISIT(self->peer);
    Py_VISIT(self->running);
    Py_VISIT(self->context);
    Py_VISIT(self->clock);
    Py_VISIT(self->allowed);
    Py_VISIT(self->handler);
    Py_VISIT(self->unusual);
    Py_VISIT(self->read_metadata);
    Py_VISIT(self->calls);
    Py_VISIT(self->entries);
    Py_VISIT(self->last);
    Py_VISIT(self->known_metadata);
    Py_VISIT(self->empty);
    Py_VISIT(self->template.blank);
    Py_VISIT(self->gate);
    Py_VISIT(self->stages);
    Py_VISIT(self->suspended);
    Py_VISIT(self->ended);
    Py_VISIT(self->answered);
    Py_VISIT(self->unfit);
    Py_VISIT(self->outlet);
    return visit_seat(&self->seat, visit, arg);
}

/* The messages and their handlers go: every cycle through an intake goes through these, or through its hooks' owner,
 * which can be cleared itself. What is used in a run stays. */
static int intake_clear(Intake *self)
{
    self->stopped = self->closed = true;
    forget_messages(self);
    Py_CLEAR(self->outlet);
    return 0;
}

static void intake_dealloc(Intake *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    forget_messages(self);
    Py_XDECREF(self->entry_type);
    Py_XDECREF(self->call);
    Py_XDECREF(self->peer);
    Py_XDECREF(self->running);
    Py_XDECREF(self->context);
    Py_XDECREF(self->clock);
    Py_XDECREF(self->allowed);
    Py_XDECREF(self->handler);
    Py_XDECREF(self->unusual);
    Py_XDECREF(self->read_metadata);
    Py_XDECREF(self->known_metadata);
    Py_XDECREF(self->empty);
    drop_seat(&self->seat);
    drop_template(&self->template);
    Py_XDECREF(self->gate);
    Py_XDECREF(self->stages);
    Py_XDECREF(self->suspended);
    Py_XDECREF(self->ended);
    Py_XDECREF(self->answered);
    Py_XDECREF(self->unfit);
    Py_XDECREF(self->outlet);
    PyMem_Free(self->out.bytes);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef intake_methods[] = {
    {"begin", (PyCFunction)intake_begin, METH_VARARGS, PyDoc_STR("begin(client_hash, calls)")},
    {"run", (PyCFunction)(void (*)(void))intake_run, METH_FASTCALL, PyDoc_STR("run(data, start, most, seconds, size) -> end")},
    {"feed", (PyCFunction)(void (*)(void))intake_feed, METH_FASTCALL, PyDoc_STR("feed(buffer, count) -> int")},
    {"run_apart", (PyCFunction)intake_run_apart, METH_VARARGS, PyDoc_STR("run_apart(serial, rest, at, part) -> bool")},
    {"begin_large", (PyCFunction)intake_begin_large, METH_VARARGS, PyDoc_STR("begin_large(data, start, size)")},
    {"run_large", (PyCFunction)intake_run_large, METH_O, PyDoc_STR("run_large(parcel) -> bool | list[bytes]")},
    {"take", (PyCFunction)intake_take, METH_NOARGS, PyDoc_STR("take() -> bytes")},
    {"close", (PyCFunction)intake_close, METH_NOARGS, PyDoc_STR("close()")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef intake_members[] = {
    {"served", T_PYSSIZET, offsetof(Intake, served), READONLY, NULL},
    {"over", T_BOOL, offsetof(Intake, over), READONLY, NULL},
    {"room", T_PYSSIZET, offsetof(Intake, room), 0, NULL},
    {"turn", T_PYSSIZET, offsetof(Intake, turn), 0, NULL},
    {"slice", T_DOUBLE, offsetof(Intake, slice), 0, NULL},
    {"outlet", T_OBJECT, offsetof(Intake, outlet), 0, NULL},
    {"stopped", T_BOOL, offsetof(Intake, stopped), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot intake_slots[] = {
    {Py_tp_doc, PyDoc_STR("Runs the ordinary requests of one connection; wire.intake.Intake says how.")},
    {Py_tp_new, intake_new},
    {Py_tp_dealloc, intake_dealloc},
    {Py_tp_traverse, intake_traverse},
    {Py_tp_clear, intake_clear},
    {Py_tp_methods, intake_methods},
    {Py_tp_members, intake_members},
    {0, NULL},
};

static PyType_Spec intake_spec = {
    .name = "splnode.wire._native.Intake",
    .basicsize = sizeof(Intake),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = intake_slots,
};

int add_intake(PyObject *module)
{
    return add_type(module, &entry_spec, NULL) < 0 || add_stage(module) < 0 || add_type(module, &intake_spec, NULL) < 0
        ? -1
        : 0;
}
