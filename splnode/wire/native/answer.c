/* Answers of a Pipeline: bytes into values, given to whoever waits. */

#include "answer.h"
#include "room.h"
#include "table.h"

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

PyObject *pipeline_receive(Pipeline *self, PyObject *const *args, Py_ssize_t nargs)
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

PyObject *pipeline_answer(Pipeline *self, PyObject *args)
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

PyObject *pipeline_feed(Pipeline *self, PyObject *const *args, Py_ssize_t nargs)
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

PyObject *pipeline_complete(Pipeline *self, PyObject *args)
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

static PyObject *find_decoder(void *self, const Frame *frame, const uint8_t **at, const uint8_t *Py_UNUSED(end))
{
    Slot *slot = waiting_slot(self, frame->serial);
    *at = frame->body + 2;
    bool plain = slot != NULL && frame->body[0] == 0 && frame->body[1] == 0;
    return plain ? Py_NewRef(slot->way->decoder) : NULL;
}

PyObject *pipeline_begin_large(Pipeline *self, PyObject *args)
{
    return begin_large(self->state, args, self->largest, self->proven, find_decoder, self);
}

PyObject *pipeline_answer_large(Pipeline *self, PyObject *object)
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

PyObject *pipeline_called(Pipeline *self, PyObject *serial)
{
    unsigned long number = PyLong_AsUnsignedLong(serial);
    if (number == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    Place *place = place_of(self, (uint32_t)number);
    bool waits = place != NULL && is_slot(self, place->entry) && ((Slot *)place->entry)->fate == PENDING;
    return Py_NewRef(waits ? ((Slot *)place->entry)->way->call : Py_None);
}
