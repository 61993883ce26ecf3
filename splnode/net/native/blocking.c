/* The ordinary call of the client that blocks: encoded, sent, waited for and decoded with no Python in between.
 *
 * A Line is an established Netty connection, a Method one message called over it with one timeout. Whatever is unusual
 * is Python's, in order (net/blocking.py, sync.py): a call that was not sent goes to `slow`, one that was, and whose
 * answer is no plain value or not there yet, to `resume`. Both are bound to the client and its channel.
 */

#include "../../wire/native/frames.h"
#include "net.h"
#include <errno.h>
#include <structmember.h>
#include <sys/socket.h>
#include <sys/time.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* Python ignores SIGPIPE anyway */
#endif

#define FIELDS 8          /* parameters of a message; one with more is unusual */
#define BUFFER 65536      /* bytes of one read; an answer that does not come whole in it is unusual */
#define SMALL 16384       /* bytes of a request that a socket takes at once */
#define GLANCE_MICROS 50000 /* a read waits so long in the kernel; after that the wait is measured */

typedef struct {
    PyObject_HEAD
    Module *module;
    PyObject *acquire, *release;  /* of the lock that a call holds */
    PyObject *running, *limit;    /* rpc.call's context variables: where one is set, a call has more than a timeout */
    PyObject *serial;             /* gives the next serial, or NULL: there is no connection */
    int fd;
    unsigned long generation;     /* of connections */
    unsigned long forks, owner;   /* the thread whose call runs */
    double heard, idle;           /* when the server was last heard; a silence after which it is to be asked first */
    Py_ssize_t largest;
    Output out;
    uint8_t *buffer;
} Line;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Line *line;
    PyObject *names;             /* of the parameters, interned */
    PyObject *prepare;           /* gives (encoder, decoder, head, call) for the present connection, or None */
    PyObject *slow, *resume, *abort;
    double timeout;
    unsigned long generation;    /* that the following are for */
    PyObject *encoder, *decoder, *head, *call;
} Method;

enum { STALE, UNSENT, CUT, SENT };

/* Whether a call here inherits something: 1, 0, or -1 with an exception. */
static int inherits(PyObject *variable)
{
    PyObject *value;
    if (PyContextVar_Get(variable, NULL, &value) < 0)
        return -1;
    int set = value != NULL && value != Py_None;
    Py_XDECREF(value);
    return set;
}

/* The parameters by their place in `fields`, borrowed; 0 where they are not all there, or not all known. */
static int gather(Method *self, PyObject *const *args, Py_ssize_t given, PyObject *kwnames, PyObject **fields)
{
    Py_ssize_t count = PyTuple_GET_SIZE(self->names), named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    if (given + named != count)
        return 0;
    for (Py_ssize_t i = 0; i < given; i++)
        fields[i] = args[i];
    for (Py_ssize_t i = given; i < count; i++)
        fields[i] = NULL;
    for (Py_ssize_t i = 0; i < named; i++) {
        Py_ssize_t place = given;
        while (place < count && PyTuple_GET_ITEM(self->names, place) != PyTuple_GET_ITEM(kwnames, i))
            place++;
        if (place == count || fields[place] != NULL)
            return 0;
        fields[place] = args[given + i];
    }
    return 1;
}

/* Takes the codecs for the present connection: 1, 0 where the call is unusual there, -1 with an exception. */
static int prepare(Method *self)
{
    unsigned long generation = self->line->generation;
    PyObject *found = PyObject_CallNoArgs(self->prepare), *encoder, *decoder, *head, *call;
    if (found == NULL)
        return -1;
    if (found == Py_None || generation != self->line->generation) {
        Py_DECREF(found);
        return 0;
    }
    if (!PyArg_ParseTuple(found, "OOSO", &encoder, &decoder, &head, &call)) {
        Py_DECREF(found);
        return -1;
    }
    const CodecApi *api = self->line->module->api;
    int fits = api->is_encoder(encoder) && api->is_decoder(decoder);
    if (fits) {
        Py_XSETREF(self->encoder, Py_NewRef(encoder));
        Py_XSETREF(self->decoder, Py_NewRef(decoder));
        Py_XSETREF(self->head, Py_NewRef(head));
        Py_XSETREF(self->call, Py_NewRef(call));
        self->generation = generation;
    }
    Py_DECREF(found);
    return fits;
}

/* The request into the line's buffer, which stays empty where it is too large for here. */
static int write_request(Method *self, PyObject *const *fields, uint32_t *serial)
{
    Line *line = self->line;
    Py_ssize_t head = PyBytes_GET_SIZE(self->head);
    Output *out = &line->out; /* nobody else's while the lock is ours */
    out->used = 0;
    if (output_room(out, FRAME_HEAD + head) == NULL)
        return -1;
    memcpy(out->bytes + FRAME_HEAD, PyBytes_AS_STRING(self->head), (size_t)head);
    out->used = FRAME_HEAD + head;
    if (line->module->api->encode_fields(self->encoder, fields, PyTuple_GET_SIZE(self->names), out) < 0)
        return -1;
    if (out->used > SMALL || line->serial == NULL) { /* what was encoded may have closed it */
        out->used = 0;
        return 0;
    }
    PyObject *number = PyObject_CallNoArgs(line->serial);
    if (number == NULL)
        return -1;
    *serial = (uint32_t)PyLong_AsUnsignedLongMask(number);
    put_head(out->bytes, *serial, out->used - FRAME_HEAD);
    Py_DECREF(number);
    return 0;
}

/* Sends what is written, and waits a moment for the answer: `got` is what recv gave, `fault` its errno. */
static int exchange(Line *line, Py_ssize_t *got, int *fault)
{
    int fd = line->fd, state;
    Py_BEGIN_ALLOW_THREADS
    /* Late answers, or the end of the connection: nothing must have been sent then. */
    if (recv(fd, line->buffer, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
        state = STALE;
    else {
        ssize_t sent = send(fd, line->out.bytes, (size_t)line->out.used, MSG_DONTWAIT | MSG_NOSIGNAL);
        state = sent == line->out.used ? SENT : sent <= 0 ? UNSENT : CUT;
    }
    if (state == SENT) {
        *got = recv(fd, line->buffer, BUFFER, 0);
        *fault = errno;
    }
    Py_END_ALLOW_THREADS
    return state;
}

/* The value of an ordinary answer; NULL, with no exception but Ctrl-C, for any other. */
static PyObject *plain_value(Method *self, uint32_t serial, Py_ssize_t got)
{
    Line *line = self->line;
    Frame frame;
    const uint8_t *at = line->buffer, *end = at + got;
    if (!next_frame(&at, end, line->largest, &frame) || at != end || frame.serial != serial || frame.length < 2
        || frame.body[0] != 0 || frame.body[1] != 0) /* metadata, or an error */
        return NULL;
    at = frame.body + 2;
    PyObject *value = line->module->api->decode(self->decoder, &at, end);
    if (value != NULL && at != end)
        Py_CLEAR(value);
    if (value == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_Clear(); /* Python reads it once more, and says what is wrong */
    return value;
}

static PyObject *resume(Method *self, uint32_t serial, double deadline, Py_ssize_t got, int fault)
{
    if (got < 0 && fault == EINTR && PyErr_CheckSignals() < 0) { /* Ctrl-C: where the two ends stand is unknown */
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        PyObject *done = PyObject_CallNoArgs(self->abort);
        if (done == NULL)
            PyErr_WriteUnraisable(self->abort);
        Py_XDECREF(done);
        PyErr_Restore(type, error, traceback);
        return NULL;
    }
    PyObject *data = got < 0 ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize((char *)self->line->buffer, got);
    if (data == NULL)
        return NULL;
    return PyObject_CallFunction(self->resume, "OkdN", self->call, (unsigned long)serial, deadline, data);
}

/* The call, while the line is this thread's. NULL with no exception where nothing was sent: the slow way. */
static PyObject *call_in_turn(Method *self, PyObject *const *fields)
{
    Line *line = self->line;
    double now = moment(), deadline = now + self->timeout;
    if (line->serial == NULL || self->generation != line->generation || now - line->heard > line->idle)
        return NULL;
    uint32_t serial = 0;
    Py_ssize_t got = 0;
    int fault = 0;
    if (write_request(self, fields, &serial) < 0 || line->out.used == 0)
        return NULL;
    switch (exchange(line, &got, &fault)) {
    case CUT: {
        PyObject *done = PyObject_CallNoArgs(self->abort);
        Py_XDECREF(done);
        return NULL;
    }
    case SENT: break;
    default: return NULL;
    }
    PyObject *value = got > 0 ? plain_value(self, serial, got) : NULL;
    if (value == NULL && !PyErr_Occurred())
        return resume(self, serial, deadline, got, fault);
    line->heard = now;
    return value;
}

static PyObject *method_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Method *self = (Method *)callable;
    Line *line = self->line;
    PyObject *fields[FIELDS], *result = NULL;
    if (line->serial == NULL || line->forks != line->module->forks)
        goto slow;
    int usual = self->generation == line->generation ? 1 : prepare(self);
    if (usual > 0)
        usual = gather(self, args, PyVectorcall_NARGS(nargsf), kwnames, fields);
    for (int i = 0; usual > 0 && i < 2; i++) {
        int set = inherits(i ? line->limit : line->running);
        usual = set < 0 ? -1 : !set;
    }
    if (usual < 0)
        return NULL;
    if (!usual)
        goto slow;
    PyObject *taken = PyObject_CallOneArg(line->acquire, Py_False);
    if (taken == NULL)
        return NULL;
    int mine = taken == Py_True;
    Py_DECREF(taken);
    if (!mine)
        goto slow;
    line->owner = PyThread_get_thread_ident();
    Py_INCREF(self);
    result = call_in_turn(self, fields);
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *released = PyObject_CallNoArgs(line->release);
    Py_XDECREF(released);
    Py_DECREF(self);
    if (type != NULL)
        PyErr_Restore(type, error, traceback);
    if (result != NULL || PyErr_Occurred())
        return result;
slow:
    return PyObject_Vectorcall(self->slow, args, nargsf, kwnames);
}

/* ---- Method ---------------------------------------------------------------------------------------- */

static int method_traverse(Method *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->line);
    Py_VISIT(self->names);
    Py_VISIT(self->prepare);
    Py_VISIT(self->slow);
    Py_VISIT(self->resume);
    Py_VISIT(self->abort);
    Py_VISIT(self->encoder);
    Py_VISIT(self->decoder);
    Py_VISIT(self->call);
    return 0;
}

/* All but the bound methods stays: whoever still has it may call it. */
static int method_clear(Method *self)
{
    (void)self;
    return 0;
}

static void method_dealloc(Method *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->line);
    Py_CLEAR(self->names);
    Py_CLEAR(self->prepare);
    Py_CLEAR(self->slow);
    Py_CLEAR(self->resume);
    Py_CLEAR(self->abort);
    Py_CLEAR(self->encoder);
    Py_CLEAR(self->decoder);
    Py_CLEAR(self->head);
    Py_CLEAR(self->call);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *method_get(Method *self, PyObject *name)
{
    PyObject *found = PyObject_GenericGetAttr((PyObject *)self, name);
    if (found != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return found;
    PyErr_Clear();
    return PyObject_GetAttr(self->slow, name); /* __name__, __doc__ */
}

static PyObject *method_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"line", "names", "timeout", "prepare", "slow", "resume", "abort", NULL};
    Module *module = PyType_GetModuleState(type);
    PyObject *line, *names, *prepare, *slow, *resume, *abort;
    double timeout;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!dOOOO", words, module->line, &line, &PyTuple_Type, &names,
                                     &timeout, &prepare, &slow, &resume, &abort))
        return NULL;
    if (PyTuple_GET_SIZE(names) > FIELDS)
        return PyErr_Format(PyExc_ValueError, "%zd parameters; here are at most %d", PyTuple_GET_SIZE(names), FIELDS);
    Method *self = (Method *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = method_vectorcall;
    self->line = (Line *)Py_NewRef(line);
    self->names = Py_NewRef(names);
    self->prepare = Py_NewRef(prepare);
    self->slow = Py_NewRef(slow);
    self->resume = Py_NewRef(resume);
    self->abort = Py_NewRef(abort);
    self->timeout = timeout;
    return (PyObject *)self;
}

static PyMemberDef method_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Method, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot method_slots[] = {
    {Py_tp_doc, "One message of a Line, called with one timeout; see splnode.net.blocking."},
    {Py_tp_new, method_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_getattro, method_get},
    {Py_tp_traverse, method_traverse},
    {Py_tp_clear, method_clear},
    {Py_tp_dealloc, method_dealloc},
    {Py_tp_members, method_members},
    {0, NULL},
};

static PyType_Spec method_spec = {
    "splnode.net._native.Method", sizeof(Method), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL, method_slots,
};

/* ---- Line ------------------------------------------------------------------------------------------ */

static PyObject *line_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"lock", "running", "limit", "idle", NULL};
    PyObject *lock, *running, *limit;
    double idle;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!O!d", words, &lock, &PyContextVar_Type, &running,
                                     &PyContextVar_Type, &limit, &idle))
        return NULL;
    Line *self = (Line *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->module = PyType_GetModuleState(type);
    self->forks = self->module->forks;
    self->fd = -1;
    self->idle = idle;
    self->running = Py_NewRef(running);
    self->limit = Py_NewRef(limit);
    if ((self->buffer = PyMem_Malloc(BUFFER)) == NULL)
        PyErr_NoMemory();
    if (self->buffer == NULL || (self->acquire = PyObject_GetAttrString(lock, "acquire")) == NULL
        || (self->release = PyObject_GetAttrString(lock, "release")) == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static PyObject *line_open(Line *self, PyObject *args)
{
    int fd;
    Py_ssize_t largest;
    PyObject *serial;
    if (!PyArg_ParseTuple(args, "inO", &fd, &largest, &serial))
        return NULL;
    struct timeval glance = {0, GLANCE_MICROS};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &glance, sizeof glance) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    self->fd = fd;
    self->largest = largest;
    self->generation++;
    Py_XSETREF(self->serial, Py_NewRef(serial));
    return Py_NewRef(Py_None);
}

static PyObject *line_shut(Line *self, PyObject *Py_UNUSED(nothing))
{
    self->fd = -1;
    self->generation++;
    Py_CLEAR(self->serial);
    return Py_NewRef(Py_None);
}

static int line_traverse(Line *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->acquire);
    Py_VISIT(self->release);
    Py_VISIT(self->running);
    Py_VISIT(self->limit);
    Py_VISIT(self->serial);
    return 0;
}

static int line_clear(Line *self)
{
    Py_CLEAR(self->serial);
    return 0;
}

static void line_dealloc(Line *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->acquire);
    Py_CLEAR(self->release);
    Py_CLEAR(self->running);
    Py_CLEAR(self->limit);
    Py_CLEAR(self->serial);
    PyMem_Free(self->out.bytes);
    PyMem_Free(self->buffer);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef line_methods[] = {
    {"open", (PyCFunction)line_open, METH_VARARGS, NULL},
    {"shut", (PyCFunction)line_shut, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef line_members[] = {
    {"heard", T_DOUBLE, offsetof(Line, heard), 0, NULL},
    {"owner", T_ULONG, offsetof(Line, owner), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot line_slots[] = {
    {Py_tp_doc, "An established Netty connection for ordinary calls; see splnode.net.blocking."},
    {Py_tp_new, line_new},
    {Py_tp_traverse, line_traverse},
    {Py_tp_clear, line_clear},
    {Py_tp_dealloc, line_dealloc},
    {Py_tp_methods, line_methods},
    {Py_tp_members, line_members},
    {0, NULL},
};

static PyType_Spec line_spec = {
    "splnode.net._native.Line", sizeof(Line), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, line_slots,
};

int add_blocking(PyObject *module)
{
    Module *state = PyModule_GetState(module);
    PyObject *line = PyType_FromModuleAndSpec(module, &line_spec, NULL);
    PyObject *method = line == NULL ? NULL : PyType_FromModuleAndSpec(module, &method_spec, NULL);
    state->line = (PyTypeObject *)line;
    int failed = method == NULL || PyModule_AddObjectRef(module, "Line", line) < 0
        || PyModule_AddObjectRef(module, "Method", method) < 0;
    Py_XDECREF(method);
    return failed ? -1 : 0;
}
