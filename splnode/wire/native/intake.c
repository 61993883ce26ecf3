/* Intake: the ordinary requests of one connection, run as soon as they are read. wire/intake.py is its twin, and says
 * what is ordinary and what the holder is told.
 *
 * Handlers, gates and hooks are Python, and may come back: take answers, close, begin another pair. So what is used
 * after one of them is owned here meanwhile (`Entry` above all), and the bytes being read are the caller's, whose
 * buffer is held until `run` returns. A handler that comes back to `run` itself finds the intake busy.
 */

#include "intake.h"

#define HEAVY 65536 /* as in intake.py */
#define ENOUGH (256 * 1024) /* as in intake.py, */
#define TURN 128 /* and this, */
#define SLICE 0.003 /* and this, */
#define MANY 24 /* and this, */
#define FRESH 0.0001 /* and this */
#define SHORTEST_HANDSHAKE 34 /* handshake.SHORTEST_REQUEST */
#define NAME_LONGEST 63 /* bytes of a name whose length is one byte */
#define KEPT_OUTPUT (64 * 1024) /* bytes of the output buffer that are kept */

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

/* ---- a request ------------------------------------------------------------------------------------- */

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

/* Whether an async handler may begin here. -1 with an exception. */
static int is_alone(Intake *self)
{
    if (self->alone < 0 && self->stages != NULL)
        self->alone = is_nobodys_turn(self->stages);
    return self->stages != NULL ? self->alone : 0;
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

/* The decoder of the parameters, which begin behind the name, if the request is ordinary but for its size. */
static PyObject *find_decoder(void *object, const Frame *frame, const uint8_t **at, const uint8_t *end)
{
    Intake *self = object;
    PyObject *metadata;
    double allowed;
    *at = frame->body;
    if (self->busy || self->stopped || memcmp(*at, self->hash, HASH) == 0
        || find_metadata(self, at, end, &metadata, &allowed) != TAKEN)
        return NULL;
    if (end - *at < 64 || **at & 1 || **at >> 1 > NAME_LONGEST)
        return NULL;
    Py_ssize_t length = *(*at)++ >> 1;
    const Entry *entry = find_entry(self, *at, length);
    *at += length;
    return entry == NULL || entry->handler == NULL || entry->asynchronous ? NULL : Py_NewRef(entry->decoder);
}

static PyObject *intake_begin_large(Intake *self, PyObject *args)
{
    return begin_large(self->state, args, self->largest, self->proven, find_decoder, self);
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
