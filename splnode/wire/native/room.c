/* Room: memory for bytes that were announced, and are received where they stay. wire/room.py is its twin. One that
 * `begin_parcel` makes knows what stands in front of its bytes, too: a whole frame but for them.
 *
 * The bytes object that `take` gives is the very memory that was received into. Whoever still has a view of it then
 * keeps it alive, and shall not write any more: a loop lets go of its view when it has told what it received. */

#include "room.h"

static Py_ssize_t size_now(const Room *self) { return PyBytes_GET_SIZE(self->bytes); }

static int check_open(const Room *self)
{
    if (!self->taken && self->bytes != NULL)
        return 0;
    PyErr_SetString(PyExc_ValueError, "the bytes were taken");
    return -1;
}

/* There is as much room as what came may claim. */
static int grow(Room *self, Py_ssize_t came)
{
    Py_ssize_t size = came > self->total / GROWTH ? self->total : Py_MIN(self->total, Py_MAX(LEAST, came * GROWTH));
    if (self->bytes == NULL) {
        self->bytes = PyBytes_FromStringAndSize(NULL, size);
        return self->bytes == NULL ? -1 : 0;
    }
    if (size <= size_now(self))
        return 0;
    if (self->views > 0) {
        PyErr_SetString(PyExc_BufferError, "it cannot grow while there are views of it");
        return -1;
    }
    return _PyBytes_Resize(&self->bytes, size); /* where that fails, `bytes` is NULL */
}

static int put(Room *self, const uint8_t *bytes, Py_ssize_t count)
{
    if ((self->bytes == NULL || self->filled + count > size_now(self)) && grow(self, self->filled + count) < 0)
        return -1;
    memcpy(PyBytes_AS_STRING(self->bytes) + self->filled, bytes, (size_t)count);
    self->filled += count;
    return 0;
}

PyObject *begin_parcel(State *state, PyObject *decoder, const Frame *frame, const uint8_t *at, const uint8_t *end,
                       Py_ssize_t proven)
{
    const uint8_t *place, *looked = frame->body + Py_MIN(end - frame->body, ENOUGH_AHEAD);
    Py_ssize_t size;
    int found = state->api->locate(decoder, at, looked, &place, &size);
    if (found <= 0 || size < LEAST || place - frame->body + size != frame->length)
        return NULL;
    Room *self = (Room *)state->room->tp_alloc(state->room, 0);
    if (self == NULL)
        return NULL;
    self->total = size;
    self->serial = frame->serial;
    self->rest = PyBytes_FromStringAndSize((const char *)frame->body, place - frame->body);
    if (self->rest == NULL || grow(self, Py_MAX(proven / GROWTH, end - place)) < 0 || put(self, place, end - place) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

PyObject *begin_large(State *state, PyObject *args, Py_ssize_t largest, Py_ssize_t proven, FindDecoder find, void *self)
{
    Py_buffer data;
    Py_ssize_t start, size;
    if (!PyArg_ParseTuple(args, "y*nn:begin_large", &data, &start, &size))
        return NULL;
    const uint8_t *at = (const uint8_t *)data.buf + start, *end = (const uint8_t *)data.buf + size;
    PyObject *parcel = NULL;
    Frame frame;
    if (start >= 0 && start <= size && size <= data.len && begins_large(at, end, largest, &frame)) {
        PyObject *decoder = find(self, &frame, &at, end);
        parcel = decoder != NULL ? begin_parcel(state, decoder, &frame, at, end, proven) : NULL;
        Py_XDECREF(decoder);
    }
    PyBuffer_Release(&data);
    return parcel == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None) : parcel;
}

Room *whole_parcel(State *state, PyObject *object)
{
    Room *self = (Room *)object;
    if (Py_TYPE(object) == state->room && self->rest != NULL && self->filled == self->total && !self->taken)
        return self;
    PyErr_SetString(PyExc_TypeError, "not what `begin` gave, with all of its bytes");
    return NULL;
}

static PyObject *room_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    Py_ssize_t total;
    if (!PyArg_ParseTuple(args, "n:Room", &total))
        return NULL;
    if (total < 1 || (keywords != NULL && PyDict_GET_SIZE(keywords) > 0)) {
        PyErr_SetString(PyExc_ValueError, "Room(total) takes a positive number of bytes");
        return NULL;
    }
    Room *self = (Room *)type->tp_alloc(type, 0);
    if (self != NULL)
        self->total = total;
    return (PyObject *)self;
}

static void room_dealloc(Room *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->bytes);
    Py_XDECREF(self->rest);
    type->tp_free(self);
    Py_DECREF(type);
}

static int room_getbuffer(Room *self, Py_buffer *view, int flags)
{
    view->obj = NULL;
    if (check_open(self) < 0)
        return -1;
    char *bytes = PyBytes_AS_STRING(self->bytes) + self->filled;
    if (PyBuffer_FillInfo(view, (PyObject *)self, bytes, size_now(self) - self->filled, 0, flags) < 0)
        return -1;
    self->views++;
    return 0;
}

static void room_releasebuffer(Room *self, Py_buffer *view)
{
    (void)view;
    self->views--;
    if (self->views == 0 && self->taken)
        Py_CLEAR(self->bytes);
}

static PyObject *room_space(Room *self, PyObject *unused)
{
    (void)unused;
    if (self->bytes == NULL && !self->taken && grow(self, 0) < 0)
        return NULL;
    if (check_open(self) < 0 || (self->filled == size_now(self) && grow(self, self->filled) < 0))
        return NULL;
    return PyMemoryView_FromObject((PyObject *)self);
}

static PyObject *room_add(Room *self, PyObject *number)
{
    Py_ssize_t count = PyLong_AsSsize_t(number);
    if ((count == -1 && PyErr_Occurred()) || check_open(self) < 0)
        return NULL;
    if (count < 0 || count > size_now(self) - self->filled) {
        PyErr_Format(PyExc_ValueError, "%zd bytes in a space of %zd", count, size_now(self) - self->filled);
        return NULL;
    }
    self->filled += count;
    Py_RETURN_NONE;
}

static PyObject *room_put(Room *self, PyObject *object)
{
    Py_buffer data;
    if (self->taken && check_open(self) < 0)
        return NULL;
    if (PyObject_GetBuffer(object, &data, PyBUF_SIMPLE) < 0)
        return NULL;
    Py_ssize_t count = Py_MIN(data.len, self->total - self->filled);
    int failed = put(self, data.buf, count);
    PyBuffer_Release(&data);
    return failed ? NULL : PyLong_FromSsize_t(count);
}

static PyObject *room_take(Room *self, PyObject *unused)
{
    (void)unused;
    if (check_open(self) < 0)
        return NULL;
    if (self->filled < self->total) {
        PyErr_Format(PyExc_ValueError, "%zd bytes are still to come", self->total - self->filled);
        return NULL;
    }
    PyObject *bytes = Py_NewRef(self->bytes);
    self->taken = true;
    if (self->views == 0)
        Py_CLEAR(self->bytes);
    return bytes;
}

/* The frame of a parcel, as far as it has come. */
static PyObject *room_frame(Room *self, PyObject *unused)
{
    (void)unused;
    if (check_open(self) < 0)
        return NULL;
    Py_ssize_t ahead = self->rest != NULL ? PyBytes_GET_SIZE(self->rest) : 0;
    PyObject *frame = PyBytes_FromStringAndSize(NULL, FRAME_HEAD + ahead + self->filled);
    if (frame == NULL)
        return NULL;
    uint8_t *at = (uint8_t *)PyBytes_AS_STRING(frame);
    put_head(at, self->serial, ahead + self->total);
    if (ahead > 0)
        memcpy(at + FRAME_HEAD, PyBytes_AS_STRING(self->rest), (size_t)ahead);
    memcpy(at + FRAME_HEAD + ahead, PyBytes_AS_STRING(self->bytes), (size_t)self->filled);
    return frame;
}

static PyObject *room_missing(Room *self, void *unused)
{
    (void)unused;
    return PyLong_FromSsize_t(self->total - self->filled);
}

static PyObject *room_filled(Room *self, void *unused)
{
    (void)unused;
    return PyLong_FromSsize_t(self->filled);
}

static PyMethodDef room_methods[] = {
    {"space", (PyCFunction)room_space, METH_NOARGS, PyDoc_STR("space() -> memoryview")},
    {"add", (PyCFunction)room_add, METH_O, PyDoc_STR("add(count)")},
    {"put", (PyCFunction)room_put, METH_O, PyDoc_STR("put(data) -> int")},
    {"take", (PyCFunction)room_take, METH_NOARGS, PyDoc_STR("take() -> bytes")},
    {"frame", (PyCFunction)room_frame, METH_NOARGS, PyDoc_STR("frame() -> bytes")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef room_getset[] = {
    {"missing", (getter)room_missing, NULL, NULL, NULL},
    {"filled", (getter)room_filled, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot room_slots[] = {
    {Py_tp_doc, PyDoc_STR("Memory for bytes that are received where they stay; wire.room.Room says how.")},
    {Py_tp_new, room_new},
    {Py_tp_dealloc, room_dealloc},
    {Py_tp_methods, room_methods},
    {Py_tp_getset, room_getset},
    {Py_bf_getbuffer, room_getbuffer},
    {Py_bf_releasebuffer, room_releasebuffer},
    {0, NULL},
};

static PyType_Spec room_spec = {
    .name = "splnode.wire._native.Room",
    .basicsize = sizeof(Room),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = room_slots,
};

int add_room(PyObject *module)
{
    State *state = PyModule_GetState(module);
    return add_type(module, &room_spec, &state->room);
}
