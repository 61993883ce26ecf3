/* A call: its handler is called, and answered. At once, or on a stage (stage.h) where that is a coroutine. */

#include "intake.h"

#define FEW 8 /* parameters that need no allocation */

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

int run_call(Intake *self, Entry *entry, uint32_t serial, PyObject *params, PyObject *metadata, double deadline,
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
