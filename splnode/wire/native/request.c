/* Requests of a Pipeline into bytes, behind those that are to be sent. */

#include "table.h"

#define KEPT_OUTPUT (256 * 1024) /* bytes of the output buffer that are kept once they were sent */

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

int append_bytes(Output *out, PyObject *bytes)
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
    int failed = payload == NULL ? -1 : PyBytes_CheckExact(payload) ? append_bytes(out, payload) : -1;
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
        failed = append_bytes(out, head) < 0 || append_bytes(out, way->name) < 0
            || append_params(pipe, way, params, out) < 0;
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

int move_to_parts(Pipeline *pipe)
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

int tell_holder(Pipeline *pipe)
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
    if (rest == NULL || append_bytes(&pipe->out, first) < 0 || move_to_parts(pipe) < 0) {
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
    if (!failed && tell_holder(pipe) == 0 && (*slot == NULL || watch(pipe, deadline) == 0))
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
