/* Pipeline: the table of calls in flight, requests into bytes, bytes into answers. */

#include "pipeline.h"
#include "room.h"
#include <structmember.h>

#define FIRST_PLACES 16
#define KEPT_OUTPUT (256 * 1024) /* bytes of the output buffer that are kept once they were sent */

static void *missing_holder(void)
{
    PyErr_SetString(PyExc_RuntimeError, "nobody holds this pipeline, or it was closed");
    return NULL;
}

/* ---- the table ------------------------------------------------------------------------------------- */

static inline Place *place_of(const Pipeline *pipe, uint32_t serial)
{
    if (pipe->size == 0)
        return NULL;
    Place *place = &pipe->places[serial & (uint32_t)(pipe->size - 1)];
    return place->entry != NULL && place->serial == serial ? place : NULL;
}

static inline bool is_slot(const Pipeline *pipe, PyObject *entry) { return Py_TYPE(entry) == pipe->state->slot; }

/* Twice as many places; those that differ in their low bits still do with one more. */
static int grow(Pipeline *pipe)
{
    Py_ssize_t size = pipe->size ? pipe->size * 2 : FIRST_PLACES;
    Place *places = PyMem_Calloc((size_t)size, sizeof(Place));
    if (places == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < pipe->size; i++)
        if (pipe->places[i].entry != NULL)
            places[pipe->places[i].serial & (uint32_t)(size - 1)] = pipe->places[i];
    PyMem_Free(pipe->places);
    pipe->places = places;
    pipe->size = size;
    return 0;
}

/* The next serial whose place is free, and that place. */
static Place *next_place(Pipeline *pipe)
{
    if (pipe->in_flight * 2 >= pipe->size && grow(pipe) < 0)
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
static PyObject *take_entry(Pipeline *pipe, uint32_t serial)
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

static int put_entry(Pipeline *pipe, uint32_t serial, PyObject *entry)
{
    Py_XDECREF(take_entry(pipe, serial));
    while (pipe->size == 0 || pipe->places[serial & (uint32_t)(pipe->size - 1)].entry != NULL)
        if (grow(pipe) < 0)
            return -1;
    pipe->places[serial & (uint32_t)(pipe->size - 1)] = (Place){serial, Py_NewRef(entry)};
    pipe->in_flight++;
    pipe->waiting += is_slot(pipe, entry);
    return 0;
}

/* ---- requests -------------------------------------------------------------------------------------- */

/* The codec that a bound method belongs to, if it is the native one; else NULL, with no exception. */
static PyObject *codec_of(PyObject *method, int (*is_one)(PyObject *))
{
    PyObject *codec = PyObject_GetAttrString(method, "__self__");
    if (codec == NULL)
        PyErr_Clear();
    else if (!is_one(codec))
        Py_CLEAR(codec);
    return codec;
}

static Way *make_way(Pipeline *pipe, PyObject *call)
{
    State *state = pipe->state;
    Way *way = PyObject_GC_New(Way, state->way);
    if (way == NULL)
        return NULL;
    way->call = Py_NewRef(call);
    way->encode = way->encoder = way->decoder = way->name = NULL;
    PyObject *request = PyObject_GetAttrString(call, "request"), *decode = PyObject_GetAttrString(call, "decode");
    PyObject *one_way = request == NULL ? NULL : PyObject_GetAttrString(request, "one_way");
    way->one_way = one_way == Py_True;
    if (one_way != NULL && decode != NULL && (way->name = PyObject_GetAttrString(request, "name")) != NULL
        && (way->encode = PyObject_GetAttrString(request, "encode")) != NULL) {
        way->encoder = codec_of(way->encode, state->api->is_encoder);
        way->decoder = codec_of(decode, state->api->is_decoder);
        if (!PyBytes_CheckExact(way->name))
            PyErr_SetString(PyExc_TypeError, "the name of a message on the wire is bytes");
    }
    Py_XDECREF(request);
    Py_XDECREF(decode);
    Py_XDECREF(one_way);
    PyObject_GC_Track(way);
    if (PyErr_Occurred())
        Py_CLEAR(way);
    return way;
}

/* How the message is called here; NULL with the CallError that says why it cannot be. */
Way *find_way(Pipeline *pipe, PyObject *name)
{
    if (pipe->pair == NULL)
        return missing_holder();
    PyObject *known = PyDict_GetItemWithError(pipe->ways, name);
    if (known != NULL || PyErr_Occurred())
        return (Way *)Py_XNewRef(known);
    PyObject *call = PyObject_CallMethod(pipe->pair, "prepare", "O", name);
    Way *way = call == NULL ? NULL : make_way(pipe, call);
    Py_XDECREF(call);
    if (way != NULL && PyDict_SetItem(pipe->ways, name, (PyObject *)way) < 0)
        Py_CLEAR(way);
    return way;
}

/* The metadata of a call that has `left` ms, written. Nearly all have no other and a time that was met before. */
PyObject *find_head(Pipeline *pipe, long long left, PyObject *metadata)
{
    int place = (int)(left & (HEADS - 1));
    if (pipe->head == NULL)
        return missing_holder();
    if (metadata == NULL && pipe->heads[place] != NULL && pipe->lefts[place] == left)
        return Py_NewRef(pipe->heads[place]);
    PyObject *head = PyObject_CallFunction(pipe->head, "LO", left, metadata != NULL ? metadata : Py_None);
    if (head != NULL && !PyBytes_CheckExact(head)) {
        PyErr_SetString(PyExc_TypeError, "the metadata of a call on the wire is bytes");
        Py_CLEAR(head);
    }
    if (head != NULL && metadata == NULL) {
        pipe->lefts[place] = left;
        Py_XSETREF(pipe->heads[place], Py_NewRef(head));
    }
    return head;
}

static int append(Output *out, PyObject *bytes)
{
    Py_ssize_t length = PyBytes_GET_SIZE(bytes);
    uint8_t *room = output_room(out, length);
    if (room == NULL)
        return -1;
    memcpy(room, PyBytes_AS_STRING(bytes), (size_t)length);
    out->used += length;
    return 0;
}

static int append_params(Pipeline *pipe, Way *way, const Params *params, Output *out)
{
    const CodecApi *api = pipe->state->api;
    if (params->params == NULL)
        return api->encode_fields(way->encoder, params->fields, params->count, out);
    if (way->encoder != NULL)
        return api->encode(way->encoder, params->params, out);
    PyObject *payload = PyObject_CallOneArg(way->encode, params->params);
    int failed = payload == NULL ? -1 : PyBytes_CheckExact(payload) ? append(out, payload) : -1;
    Py_XDECREF(payload);
    return failed;
}

/* Raises the holder's reason why a request of `length` bytes is not sent. */
static void refuse(Pipeline *pipe, Py_ssize_t length)
{
    PyObject *error = pipe->refusal == NULL ? missing_holder() : PyObject_CallFunction(pipe->refusal, "n", length);
    if (error != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
}

/* A frame without its serial behind what is in `out`, or its beginning, and the rest in parts; `out` stays as it was
 * where that fails. */
static int write_frame(Pipeline *pipe, Way *way, PyObject *head, const Params *params, Output *out)
{
    Py_ssize_t start = out->used;
    int failed = output_room(out, FRAME_HEAD) == NULL ? -1 : 0;
    if (!failed) {
        out->used += FRAME_HEAD;
        out->cuts = true;
        failed = append(out, head) < 0 || append(out, way->name) < 0 || append_params(pipe, way, params, out) < 0;
        out->cuts = false;
    }
    Py_ssize_t length = out->used - start - FRAME_HEAD + out->given;
    if (!failed && length > pipe->largest) {
        refuse(pipe, length);
        failed = -1;
    }
    if (failed) {
        out->used = start;
        Py_CLEAR(out->parts);
    }
    return failed ? -1 : 0;
}

/* Moves what is in the buffer to the parts. */
static int part(Pipeline *pipe)
{
    Output *out = &pipe->out;
    if (pipe->parts == NULL && (pipe->parts = PyList_New(0)) == NULL)
        return -1;
    if (out->used == 0)
        return 0;
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)out->bytes, out->used);
    int failed = bytes == NULL ? -1 : PyList_Append(pipe->parts, bytes);
    Py_XDECREF(bytes);
    if (failed)
        return -1;
    pipe->parted += out->used;
    out->used = 0;
    if (out->size > KEPT_OUTPUT) {
        PyMem_Free(out->bytes);
        *out = (Output){0};
    }
    return 0;
}

/* What was taken from the pipeline comes back; what others have written meanwhile stands behind it. */
static int give_back(Pipeline *pipe, Output *out)
{
    Output theirs = pipe->out;
    pipe->out = *out;
    if (theirs.used) {
        uint8_t *room = output_room(&pipe->out, theirs.used);
        if (room == NULL) {
            PyMem_Free(theirs.bytes);
            return -1;
        }
        memcpy(room, theirs.bytes, (size_t)theirs.used);
        pipe->out.used += theirs.used;
    }
    PyMem_Free(theirs.bytes);
    return 0;
}

/* The holder hears that there is something to send, unless it is in `receive` and will look itself. */
static int tell(Pipeline *pipe)
{
    PyObject *told = NULL;
    if (pipe->soon == NULL) /* a session without a holder asks by itself */
        return 0;
    if (pipe->parted + pipe->out.used >= pipe->high_water)
        told = PyObject_CallNoArgs(pipe->flush);
    else if (pipe->receiving || pipe->told)
        return 0;
    else {
        pipe->told = true;
        told = PyObject_CallNoArgs(pipe->soon);
    }
    Py_XDECREF(told);
    return told == NULL ? -1 : 0;
}

static int watch(Pipeline *pipe, double deadline)
{
    if (deadline >= pipe->armed)
        return 0;
    pipe->armed = deadline;
    PyObject *done = PyObject_CallFunction(pipe->arm, "d", deadline);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* What is in the buffer, and `parts` behind it. */
static int write_parts(Pipeline *pipe, PyObject *parts, Py_ssize_t given)
{
    PyObject *first = PyList_GET_ITEM(parts, 0); /* what stands before the first large value */
    PyObject *rest = PyList_GetSlice(parts, 1, PyList_GET_SIZE(parts));
    if (rest == NULL || append(&pipe->out, first) < 0 || part(pipe) < 0) {
        Py_XDECREF(rest);
        return -1;
    }
    Py_ssize_t end = PyList_GET_SIZE(pipe->parts);
    int failed = PyList_SetSlice(pipe->parts, end, end, rest);
    Py_DECREF(rest);
    pipe->parted += given - PyBytes_GET_SIZE(first);
    return failed;
}

/* Puts a request behind those that are to be sent: 0 and its slot, or no slot for what is one-way; -1 with an
 * exception, and nothing was sent; 1 where the parameters' own code took the last room, or closed the pipeline. */
int put_request(Pipeline *pipe, Way *way, PyObject *head, const Params *params, double deadline, PyObject *call,
                Slot **slot)
{
    Output out = pipe->out; /* taken out while Python code may use the pipeline */
    pipe->out = (Output){0};
    Py_ssize_t start = out.used;
    int failed = write_frame(pipe, way, head, params, &out);
    PyObject *parts = out.parts;
    Py_ssize_t given = out.given;
    out.parts = NULL;
    out.given = 0;
    if (!failed && (pipe->closed || pipe->soon == NULL || pipe->in_flight >= pipe->most)) {
        out.used = start;
        failed = 1;
    }
    Py_ssize_t length = out.used - start + given;
    if (give_back(pipe, &out) < 0 || failed) {
        Py_XDECREF(parts);
        return failed ? failed : -1;
    }
    Place *place = next_place(pipe);
    if (place != NULL)
        put_head(pipe->out.bytes + start, place->serial, length - FRAME_HEAD);
    *slot = place == NULL || way->one_way ? NULL : new_slot(pipe, way, call, deadline, place->serial);
    if (*slot != NULL) {
        place->entry = Py_NewRef(*slot);
        pipe->in_flight++;
        pipe->waiting++;
    }
    else if (place == NULL || !way->one_way) {
        pipe->out.used = start;
        Py_XDECREF(parts);
        return -1;
    }
    failed = parts != NULL ? write_parts(pipe, parts, given) : 0;
    Py_XDECREF(parts);
    if (!failed && tell(pipe) == 0 && (*slot == NULL || watch(pipe, deadline) == 0))
        return 0;
    if (*slot != NULL)
        Py_XDECREF(take_entry(pipe, (*slot)->serial));
    Py_CLEAR(*slot);
    return -1;
}

/* Nobody waits for this answer any more; the server is told where it understands that. */
int forget_slot(Slot *slot)
{
    Pipeline *pipe = slot->pipe;
    Place *place = place_of(pipe, slot->serial);
    if (place == NULL || place->entry != (PyObject *)slot || pipe->forget == NULL)
        return 0;
    PyObject *done = PyObject_CallFunction(pipe->forget, "k", (unsigned long)slot->serial);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* ---- answers --------------------------------------------------------------------------------------- */

/* The answer is no plain value: the session reads it. */
static int answer_read(Pipeline *pipe, PyObject *session, Slot *slot, PyObject *body)
{
    PyObject *response = PyObject_CallMethod(session, "read", "kOO", (unsigned long)slot->serial, slot->way->call, body);
    if (response == NULL)
        return -1;
    PyObject *error = PyObject_GetAttrString(response, "error"), *value = PyObject_GetAttrString(response, "value");
    PyObject *metadata = slot->call == NULL ? NULL : PyObject_GetAttrString(response, "metadata");
    Py_DECREF(response);
    int failed = error == NULL || value == NULL
        || (metadata != NULL && PyObject_SetAttrString(slot->call, "answer_metadata", metadata) < 0);
    if (!failed && error != Py_None)
        failed = settle(slot, FAILED, Py_NewRef(error), pipe->direct);
    else if (!failed)
        failed = settle(slot, ANSWERED, Py_NewRef(value), pipe->direct);
    Py_XDECREF(error);
    Py_XDECREF(value);
    Py_XDECREF(metadata);
    return failed ? -1 : 0;
}

/* 1 if the body is a plain value, and its waiter was told; 0 if not; -1 with an exception. */
static int answer_plainly(Pipeline *pipe, Slot *slot, const uint8_t *body, Py_ssize_t length)
{
    if (length < 2 || body[0] != 0 || body[1] != 0 || slot->way->decoder == NULL) /* no metadata, no error */
        return 0;
    const uint8_t *at = body + 2;
    PyObject *value = pipe->state->api->decode(slot->way->decoder, &at, body + length);
    if (value == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return -1;
        PyErr_Clear(); /* the session finds it again, and says it */
        return 0;
    }
    if (at != body + length) {
        Py_DECREF(value);
        return 0;
    }
    return settle(slot, ANSWERED, value, pipe->direct) < 0 ? -1 : 1;
}

/* With the exception that is set the connection is at its end: the call whose answer it was ends as the others do. */
static void put_back(Pipeline *pipe, Slot *slot)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (slot->fate == PENDING && !pipe->closed && put_entry(pipe, slot->serial, (PyObject *)slot) < 0)
        PyErr_Clear();
    PyErr_Restore(type, value, trace);
}

static int answer_slot(Pipeline *pipe, PyObject *session, Slot *slot, const uint8_t *body, Py_ssize_t length)
{
    if (slot->fate != PENDING) /* it is being cancelled */
        return 0;
    int done = answer_plainly(pipe, slot, body, length);
    if (done)
        return done < 0 ? -1 : 0;
    PyObject *copy = PyBytes_FromStringAndSize((const char *)body, length);
    int failed = copy == NULL ? -1 : answer_read(pipe, session, slot, copy);
    Py_XDECREF(copy);
    if (failed)
        put_back(pipe, slot);
    return failed;
}

/* One whole message of the server. */
static int answer(Pipeline *pipe, PyObject *session, uint32_t serial, const uint8_t *body, Py_ssize_t length)
{
    PyObject *entry = take_entry(pipe, serial);
    int failed;
    if (entry != NULL && is_slot(pipe, entry))
        failed = answer_slot(pipe, session, (Slot *)entry, body, length);
    else {
        PyObject *done = PyObject_CallMethod(session, "unusual", "kOy#", (unsigned long)serial,
                                             entry != NULL ? entry : Py_None, (const char *)body, length);
        failed = done == NULL ? -1 : 0;
        Py_XDECREF(done);
    }
    Py_XDECREF(entry);
    return failed;
}

/* Before answers are taken: may tasks be resumed right here? Only where no other one is running. One that was resumed
 * may have more received, through a transport in memory: `before` is what held outside. */
static int begin_receiving(Pipeline *pipe, bool *before)
{
    *before = pipe->direct;
    pipe->direct = false;
    if (pipe->current_task != NULL) {
        PyObject *task = PyObject_CallOneArg(pipe->current_task, pipe->loop);
        if (task == NULL)
            return -1;
        pipe->direct = task == Py_None;
        Py_DECREF(task);
    }
    pipe->receiving++;
    return 0;
}

static void end_receiving(Pipeline *pipe, bool before)
{
    pipe->receiving--;
    pipe->direct = before;
}

static PyObject *pipeline_receive(Pipeline *self, PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer data;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "receive(data, session)");
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    const uint8_t *at = data.buf, *end = at + data.len;
    bool before;
    int failed = begin_receiving(self, &before);
    if (!failed) {
        Frame frame;
        while (!failed && !self->closed && next_frame(&at, end, self->largest, &frame))
            failed = answer(self, args[1], frame.serial, frame.body, frame.length);
        end_receiving(self, before);
    }
    Py_ssize_t done = at - (const uint8_t *)data.buf;
    if (self->closed)
        done = data.len;
    PyBuffer_Release(&data);
    return failed ? NULL : PyLong_FromSsize_t(done);
}

static PyObject *pipeline_answer(Pipeline *self, PyObject *args)
{
    unsigned long serial;
    Py_buffer body;
    PyObject *session;
    if (!PyArg_ParseTuple(args, "ky*O", &serial, &body, &session))
        return NULL;
    bool before;
    int failed = begin_receiving(self, &before);
    if (!failed) {
        failed = answer(self, session, (uint32_t)serial, body.buf, body.len);
        end_receiving(self, before);
    }
    PyBuffer_Release(&body);
    return failed ? NULL : Py_NewRef(Py_None);
}

/* Takes the plain answers that `*at` begins with, and moves it behind them. */
static int take_plain(Pipeline *pipe, const uint8_t **at, const uint8_t *end)
{
    Frame frame;
    for (const uint8_t *next = *at; !pipe->closed && next_frame(&next, end, pipe->largest, &frame); *at = next) {
        Place *place = place_of(pipe, frame.serial);
        if (place == NULL || !is_slot(pipe, place->entry) || frame.length < 2 || frame.body[0] != 0 || frame.body[1] != 0)
            return 0;
        PyObject *session = Py_NewRef(pipe->session);
        Slot *slot = (Slot *)take_entry(pipe, frame.serial);
        int failed = answer_slot(pipe, session, slot, frame.body, frame.length);
        Py_DECREF(session);
        Py_DECREF(slot);
        if (failed)
            return -1;
    }
    return 0;
}

/* All that came was taken: what is to be sent goes out, and whoever waits for room hears that there is some. */
static int end_feed(Pipeline *pipe)
{
    Output *out = &pipe->out;
    if (!pipe->open || pipe->parts != NULL || pipe->outlet == NULL || pipe->outlet == Py_None) {
        PyObject *done = PyObject_CallNoArgs(pipe->freed);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    if (out->used == 0)
        return 0;
    PyObject *outlet = Py_NewRef(pipe->outlet), *bytes = PyBytes_FromStringAndSize((const char *)out->bytes, out->used);
    PyObject *done = NULL;
    if (bytes != NULL) {
        out->used = 0;
        pipe->told = false;
        done = PyObject_CallOneArg(outlet, bytes);
    }
    Py_DECREF(outlet);
    Py_XDECREF(bytes);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The bytes are copied: their owner may use the buffer again while tasks run. */
static uint8_t *copy_of(PyObject *buffer, Py_ssize_t length)
{
    Py_buffer data;
    uint8_t *copy = NULL;
    if (PyObject_GetBuffer(buffer, &data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (length < 0 || length > data.len)
        PyErr_Format(PyExc_ValueError, "%zd bytes of a buffer of %zd", length, data.len);
    else if ((copy = PyMem_Malloc((size_t)length)) == NULL)
        PyErr_NoMemory();
    else
        memcpy(copy, data.buf, (size_t)length);
    PyBuffer_Release(&data);
    return copy;
}

static PyObject *pipeline_feed(Pipeline *self, PyObject *const *args, Py_ssize_t nargs)
{
    Py_ssize_t length = nargs == 2 ? PyLong_AsSsize_t(args[1]) : -1;
    if (nargs != 2)
        PyErr_SetString(PyExc_TypeError, "feed(buffer, count)");
    else if (self->session == NULL && !PyErr_Occurred())
        missing_holder();
    uint8_t *copy = PyErr_Occurred() ? NULL : copy_of(args[0], length);
    if (copy == NULL)
        return NULL;
    const uint8_t *at = copy;
    bool before;
    int failed = begin_receiving(self, &before);
    if (!failed) {
        failed = take_plain(self, &at, copy + length);
        end_receiving(self, before);
    }
    Py_ssize_t done = at - copy;
    PyMem_Free(copy);
    if (self->closed)
        done = length;
    else if (!failed && done == length)
        failed = end_feed(self);
    return failed ? NULL : PyLong_FromSsize_t(done);
}

/* A plain value whose bytes the session has read. */
static PyObject *pipeline_complete(Pipeline *self, PyObject *args)
{
    unsigned long serial;
    PyObject *value;
    if (!PyArg_ParseTuple(args, "kO", &serial, &value))
        return NULL;
    bool before;
    int failed = begin_receiving(self, &before);
    if (!failed) {
        PyObject *entry = take_entry(self, (uint32_t)serial);
        if (entry != NULL && is_slot(self, entry) && ((Slot *)entry)->fate == PENDING)
            failed = settle((Slot *)entry, ANSWERED, Py_NewRef(value), self->direct) < 0;
        Py_XDECREF(entry);
        end_receiving(self, before);
    }
    return failed ? NULL : Py_NewRef(Py_None);
}

/* The slot of that serial, if a call waits there; borrowed. */
static Slot *waiting_slot(Pipeline *pipe, uint32_t serial)
{
    Place *place = place_of(pipe, serial);
    Slot *slot = place != NULL && is_slot(pipe, place->entry) ? (Slot *)place->entry : NULL;
    return slot != NULL && slot->fate == PENDING && slot->way->decoder != NULL ? slot : NULL;
}

static PyObject *pipeline_begin_large(Pipeline *self, PyObject *args)
{
    Py_buffer data;
    Py_ssize_t start, size;
    if (!PyArg_ParseTuple(args, "y*nn:begin_large", &data, &start, &size))
        return NULL;
    const uint8_t *at = (const uint8_t *)data.buf + start, *end = (const uint8_t *)data.buf + size;
    PyObject *parcel = NULL;
    Frame frame;
    if (start >= 0 && start <= size && size <= data.len && begins_large(at, end, self->largest, &frame)) {
        Slot *slot = waiting_slot(self, frame.serial);
        if (slot != NULL && frame.body[0] == 0 && frame.body[1] == 0) {
            PyObject *decoder = Py_NewRef(slot->way->decoder);
            parcel = begin_parcel(self->state, decoder, &frame, frame.body + 2, end, self->proven);
            Py_DECREF(decoder);
        }
    }
    PyBuffer_Release(&data);
    return parcel == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None) : parcel;
}

static PyObject *pipeline_answer_large(Pipeline *self, PyObject *object)
{
    Room *parcel = whole_parcel(self->state, object);
    Slot *slot = parcel != NULL ? waiting_slot(self, parcel->serial) : NULL;
    if (slot == NULL)
        return parcel == NULL ? NULL : Py_NewRef(Py_False);
    const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(parcel->rest), *end = at + PyBytes_GET_SIZE(parcel->rest);
    at += 2;
    self->proven = parcel->total;
    PyObject *decoder = Py_NewRef(slot->way->decoder);
    PyObject *value = self->state->api->decode_apart(decoder, &at, end, end, parcel->bytes);
    Py_DECREF(decoder);
    if (value == NULL && !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyErr_Clear(); /* the session finds it again, and says it */
    slot = waiting_slot(self, parcel->serial);
    if (value == NULL || at != end || slot == NULL) {
        Py_XDECREF(value);
        Py_RETURN_FALSE;
    }
    bool before;
    int failed = begin_receiving(self, &before);
    if (!failed) {
        PyObject *entry = take_entry(self, parcel->serial);
        failed = settle((Slot *)entry, ANSWERED, value, self->direct) < 0;
        Py_DECREF(entry);
        end_receiving(self, before);
    }
    else
        Py_DECREF(value);
    return failed ? NULL : Py_NewRef(Py_True);
}

/* ---- for the session ------------------------------------------------------------------------------- */

static PyObject *pipeline_called(Pipeline *self, PyObject *serial)
{
    unsigned long number = PyLong_AsUnsignedLong(serial);
    if (number == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    Place *place = place_of(self, (uint32_t)number);
    bool waits = place != NULL && is_slot(self, place->entry) && ((Slot *)place->entry)->fate == PENDING;
    return Py_NewRef(waits ? ((Slot *)place->entry)->way->call : Py_None);
}

static PyObject *pipeline_serial(Pipeline *self, PyObject *Py_UNUSED(nothing))
{
    Place *place = next_place(self);
    return place == NULL ? NULL : PyLong_FromUnsignedLong(place->serial);
}

static PyObject *pipeline_expect(Pipeline *self, PyObject *args)
{
    unsigned long serial;
    PyObject *entry;
    if (!PyArg_ParseTuple(args, "kO", &serial, &entry) || put_entry(self, (uint32_t)serial, entry) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *pipeline_entry(Pipeline *self, PyObject *serial)
{
    unsigned long number = PyLong_AsUnsignedLong(serial);
    if (number == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    Place *place = place_of(self, (uint32_t)number);
    return Py_NewRef(place != NULL ? place->entry : Py_None);
}

static PyObject *pipeline_pop(Pipeline *self, PyObject *serial)
{
    unsigned long number = PyLong_AsUnsignedLong(serial);
    if (number == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    PyObject *entry = take_entry(self, (uint32_t)number);
    return entry != NULL ? entry : Py_NewRef(Py_None);
}

static PyObject *pipeline_write(Pipeline *self, PyObject *frame)
{
    if (!PyBytes_CheckExact(frame)) {
        PyErr_SetString(PyExc_TypeError, "a frame is bytes");
        return NULL;
    }
    if (PyBytes_GET_SIZE(frame) < LARGE)
        return append(&self->out, frame) < 0 ? NULL : Py_NewRef(Py_None);
    if (part(self) < 0 || PyList_Append(self->parts, frame) < 0)
        return NULL;
    self->parted += PyBytes_GET_SIZE(frame);
    return Py_NewRef(Py_None);
}

static PyObject *pipeline_take(Pipeline *self, PyObject *Py_UNUSED(nothing))
{
    if (part(self) < 0)
        return NULL;
    PyObject *parts = self->parts;
    self->parts = NULL;
    self->parted = 0;
    self->told = false;
    return parts;
}

static PyObject *pipeline_queued(Pipeline *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(self->parted + self->out.used);
}

static PyObject *pipeline_establish(Pipeline *self, PyObject *pair)
{
    PyObject *contract = PyObject_GetAttrString(pair, "contract");
    if (contract == NULL)
        return NULL;
    Py_XSETREF(self->contract, contract);
    Py_XSETREF(self->pair, Py_NewRef(pair));
    PyDict_Clear(self->ways);
    return Py_NewRef(Py_None);
}

/* ---- for the holder -------------------------------------------------------------------------------- */

static PyObject *pipeline_hold(Pipeline *self, PyObject *holder)
{
    PyObject *high = PyObject_GetAttrString(holder, "high_water");
    self->high_water = high == NULL ? -1 : PyLong_AsSsize_t(high);
    Py_XDECREF(high);
    if (self->high_water < 0 && PyErr_Occurred())
        return NULL;
#define X(name)                                                                                                        \
    Py_XSETREF(self->name, PyObject_GetAttrString(holder, #name));                                                     \
    if (self->name == NULL)                                                                                            \
        return NULL;
    HOLDER(X)
#undef X
    Py_XSETREF(self->get_loop, PyObject_GetAttr(self->done, self->state->names[NAME_GET_LOOP]));
    return self->get_loop != NULL ? Py_NewRef(Py_None) : NULL;
}

static int expire_slot(Pipeline *pipe, Slot *slot)
{
    PyObject *error = pipe->expired == NULL ? missing_holder() : PyObject_CallOneArg(pipe->expired, slot->way->call);
    if (error == NULL || settle(slot, FAILED, error, false) < 0)
        return -1;
    return forget_slot(slot);
}

static int by_serial(const void *one, const void *other)
{
    uint32_t first = (*(Slot *const *)one)->serial, second = (*(Slot *const *)other)->serial;
    return (first > second) - (first < second);
}

/* The slots of all calls in flight that are due by `now`, in a list, the oldest first. */
static PyObject *due_slots(Pipeline *pipe, double now)
{
    PyObject *due = PyList_New(0);
    for (Py_ssize_t i = 0; due != NULL && i < pipe->size; i++) {
        PyObject *entry = pipe->places[i].entry;
        if (entry != NULL && is_slot(pipe, entry) && ((Slot *)entry)->deadline <= now
            && PyList_Append(due, entry) < 0)
            Py_CLEAR(due);
    }
    if (due != NULL && PyList_GET_SIZE(due) > 1)
        qsort(((PyListObject *)due)->ob_item, (size_t)PyList_GET_SIZE(due), sizeof(PyObject *), by_serial);
    return due;
}

static PyObject *pipeline_expire(Pipeline *self, PyObject *moment)
{
    double now = PyFloat_AsDouble(moment);
    PyObject *due = now == -1.0 && PyErr_Occurred() ? NULL : due_slots(self, now);
    if (due == NULL)
        return NULL;
    int failed = 0;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(due); i++)
        failed = expire_slot(self, (Slot *)PyList_GET_ITEM(due, i));
    Py_DECREF(due);
    self->armed = Py_HUGE_VAL;
    for (Py_ssize_t i = 0; i < self->size; i++) {
        PyObject *entry = self->places[i].entry;
        if (entry != NULL && is_slot(self, entry) && ((Slot *)entry)->deadline < self->armed)
            self->armed = ((Slot *)entry)->deadline;
    }
    return failed ? NULL : Py_NewRef(Py_None);
}

/* Lets go of the holder, but for what tasks that still wait are resumed with. */
static void drop_holder(Pipeline *pipe)
{
    Py_CLEAR(pipe->outlet);
    Py_CLEAR(pipe->head);
    Py_CLEAR(pipe->arm);
    Py_CLEAR(pipe->soon);
    Py_CLEAR(pipe->flush);
    Py_CLEAR(pipe->freed);
    Py_CLEAR(pipe->session);
    Py_CLEAR(pipe->forget);
    Py_CLEAR(pipe->expired);
    Py_CLEAR(pipe->refusal);
}

static PyObject *pipeline_close(Pipeline *self, PyObject *args)
{
    PyObject *make_error, *general;
    if (!PyArg_ParseTuple(args, "OO", &make_error, &general))
        return NULL;
    Place *places = self->places;
    Py_ssize_t size = self->size;
    self->closed = true;
    self->open = false;
    self->places = NULL;
    self->size = self->in_flight = self->waiting = 0;
    self->out.used = self->parted = 0;
    Py_CLEAR(self->parts);
    drop_holder(self);
    Py_XSETREF(self->general, Py_NewRef(general));
    int failed = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *entry = places[i].entry;
        if (entry != NULL && is_slot(self, entry) && !failed) {
            PyObject *error = PyObject_CallNoArgs(make_error);
            failed = error == NULL || settle((Slot *)entry, FAILED, error, false) < 0;
        }
        Py_XDECREF(entry);
    }
    PyMem_Free(places);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *pipeline_call(Pipeline *self, PyObject *call) { return new_calling_of_call(self, call); }
static PyObject *pipeline_put(Pipeline *self, PyObject *call) { return put_call(self, call); }

/* ---- the type -------------------------------------------------------------------------------------- */

static PyObject *pipeline_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"most", "largest", NULL};
    Py_ssize_t most, largest;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "nn", names, &most, &largest))
        return NULL;
    Pipeline *self = (Pipeline *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->state = PyType_GetModuleState(type);
    self->most = most;
    self->largest = largest;
    self->high_water = PY_SSIZE_T_MAX;
    self->armed = Py_HUGE_VAL;
    if ((self->ways = PyDict_New()) == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int pipeline_traverse(Pipeline *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (Py_ssize_t i = 0; i < self->size; i++)
        Py_VISIT(self->places[i].entry);
    Py_VISIT(self->outlet);
    Py_VISIT(self->get_loop);
    Py_VISIT(self->pair);
    Py_VISIT(self->contract);
    Py_VISIT(self->ways);
#define X(name) Py_VISIT(self->name);
    HOLDER(X)
#undef X
    return 0;
}

static int pipeline_clear(Pipeline *self)
{
    Place *places = self->places;
    Py_ssize_t size = self->size;
    self->closed = true;
    self->open = false;
    self->places = NULL;
    self->size = self->in_flight = self->waiting = 0;
    for (Py_ssize_t i = 0; i < size; i++)
        Py_XDECREF(places[i].entry);
    PyMem_Free(places);
    Py_CLEAR(self->outlet);
    Py_CLEAR(self->get_loop);
    Py_CLEAR(self->pair);
    Py_CLEAR(self->contract);
    if (self->ways != NULL)
        PyDict_Clear(self->ways);
#define X(name) Py_CLEAR(self->name);
    HOLDER(X)
#undef X
    return 0;
}

static void pipeline_dealloc(Pipeline *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    pipeline_clear(self);
    Py_CLEAR(self->ways);
    Py_CLEAR(self->parts);
    for (int i = 0; i < HEADS; i++)
        Py_CLEAR(self->heads[i]);
    PyMem_Free(self->out.bytes);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef pipeline_methods[] = {
    {"serial", (PyCFunction)pipeline_serial, METH_NOARGS, NULL},
    {"expect", (PyCFunction)pipeline_expect, METH_VARARGS, NULL},
    {"entry", (PyCFunction)pipeline_entry, METH_O, NULL},
    {"pop", (PyCFunction)pipeline_pop, METH_O, NULL},
    {"write", (PyCFunction)pipeline_write, METH_O, NULL},
    {"take", (PyCFunction)pipeline_take, METH_NOARGS, NULL},
    {"establish", (PyCFunction)pipeline_establish, METH_O, NULL},
    {"receive", (PyCFunction)(void (*)(void))pipeline_receive, METH_FASTCALL, NULL},
    {"answer", (PyCFunction)pipeline_answer, METH_VARARGS, NULL},
    {"feed", (PyCFunction)(void (*)(void))pipeline_feed, METH_FASTCALL, NULL},
    {"begin_large", (PyCFunction)pipeline_begin_large, METH_VARARGS, NULL},
    {"answer_large", (PyCFunction)pipeline_answer_large, METH_O, NULL},
    {"called", (PyCFunction)pipeline_called, METH_O, NULL},
    {"complete", (PyCFunction)pipeline_complete, METH_VARARGS, NULL},
    {"hold", (PyCFunction)pipeline_hold, METH_O, NULL},
    {"call", (PyCFunction)pipeline_call, METH_O, NULL},
    {"put", (PyCFunction)pipeline_put, METH_O, NULL},
    {"expire", (PyCFunction)pipeline_expire, METH_O, NULL},
    {"close", (PyCFunction)pipeline_close, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef pipeline_members[] = {
    {"in_flight", T_PYSSIZET, offsetof(Pipeline, in_flight), READONLY, NULL},
    {"outlet", T_OBJECT, offsetof(Pipeline, outlet), 0, NULL},
    {"armed", T_DOUBLE, offsetof(Pipeline, armed), READONLY, NULL},
    {"waiting", T_PYSSIZET, offsetof(Pipeline, waiting), READONLY, NULL},
    {"open", T_BOOL, offsetof(Pipeline, open), 0, NULL},
    {"next", T_UINT, offsetof(Pipeline, next), 0, NULL},
    {"wrapped", T_BOOL, offsetof(Pipeline, wrapped), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef pipeline_getset[] = {
    {"queued", (getter)pipeline_queued, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot pipeline_slots[] = {
    {Py_tp_doc, "The calls of one connection on their way; see splnode.wire.pipeline."},
    {Py_tp_new, pipeline_new},
    {Py_tp_traverse, pipeline_traverse},
    {Py_tp_clear, pipeline_clear},
    {Py_tp_dealloc, pipeline_dealloc},
    {Py_tp_methods, pipeline_methods},
    {Py_tp_members, pipeline_members},
    {Py_tp_getset, pipeline_getset},
    {0, NULL},
};

static PyType_Spec pipeline_spec = {
    "splnode.wire._native.Pipeline", sizeof(Pipeline), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, pipeline_slots,
};

static int way_traverse(Way *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->call);
    Py_VISIT(self->encode);
    Py_VISIT(self->encoder);
    Py_VISIT(self->decoder);
    return 0;
}

/* No tp_clear: it never changes, as a tuple. */
static void way_dealloc(Way *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->call);
    Py_XDECREF(self->encode);
    Py_XDECREF(self->encoder);
    Py_XDECREF(self->decoder);
    Py_XDECREF(self->name);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot way_slots[] = {
    {Py_tp_traverse, way_traverse},
    {Py_tp_dealloc, way_dealloc},
    {0, NULL},
};

static PyType_Spec way_spec = {
    "splnode.wire._native.Way", sizeof(Way), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, way_slots,
};

int add_pipeline(PyObject *module)
{
    State *state = PyModule_GetState(module);
    return add_type(module, &pipeline_spec, &state->pipeline) < 0 || add_type(module, &way_spec, &state->way) < 0
            || add_slot(module) < 0 || add_calling(module) < 0 || add_track(module) < 0
        ? -1
        : 0;
}
