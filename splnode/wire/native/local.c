/* Local: calls that stay in their process. wire/local.py is its twin, and says what is ordinary and what an Odd is.
 *
 * Handlers, gates, values and hooks are Python, and may come back to `run`: nothing of a call is kept in the Local, and
 * what is handed in never changes, so that it is whole as long as somebody can call it (it is not cleared: whatever
 * cycle goes through it goes through the function or the blank call too).
 */

#include "calls.h"
#include "places.h"
#include "stage.h" /* take_exception */

enum { LATE, FULL, WAITS, FAILED, UNFIT };

typedef struct {
    PyObject_HEAD
    State *state;
    Template template; /* of the calls that handlers serve */
    PyObject *running, *clock, *params, *result, *function, *gate, *odd, *not_begun; /* gate, result: or NULL */
    Py_buffer counts;
} Local;

/* A call on its way through `run`; what it has is owned. */
typedef struct {
    PyObject *params, *served, *value, *first;
    double since;
    PyObject *gate; /* the one it is in, borrowed; or NULL */
} Run;

/* ---- small things ---------------------------------------------------------------------------------- */

/* 1 if a call with this deadline has no time left, 0 if it has; -1 with an exception. */
static int is_late(PyObject *deadline, double now)
{
    double until = PyFloat_AsDouble(deadline);
    return (until == -1.0 || now == -1.0) && PyErr_Occurred() ? -1 : until <= now;
}

/* ---- the way in and out ---------------------------------------------------------------------------- */

/* Whether a call that has not ended runs here. */
static int is_inside(const Local *self)
{
    PyObject *outer;
    if (PyContextVar_Get(self->running, Py_None, &outer) < 0)
        return -1;
    PyObject *ended = outer == Py_None ? Py_NewRef(Py_True) : known_of(&self->template, outer, ENDED);
    Py_DECREF(outer);
    int over = ended == NULL ? -1 : PyObject_IsTrue(ended);
    Py_XDECREF(ended);
    return over < 0 ? -1 : !over;
}

/* 1 where the call may run, 0 where there is no place. */
static int enter(const Local *self, Run *run)
{
    int inside = self->gate == NULL ? 1 : is_inside(self);
    if (inside != 0)
        return inside;
    int let_in = enter_gate(self->state, self->gate);
    if (let_in > 0)
        run->gate = self->gate;
    return let_in;
}

static int64_t *counts_of(const Local *self) { return self->counts.buf; }

/* The handler is done, whatever it has given. -1 with an exception if the gate has one. */
static int end(const Local *self, Run *run)
{
    set_known(&self->template, run->served, ENDED, Py_True);
    counts_of(self)[IN_FLIGHT]--;
    return run->gate == NULL ? 0 : leave_gate(self->state, run->gate);
}

static int count(const Local *self, double since)
{
    double now = now_of(self->clock);
    if (now == -1.0 && PyErr_Occurred())
        return -1;
    count_call(counts_of(self), now - since);
    return 0;
}

static PyObject *new_odd(const Local *self, int what, const Run *run, PyObject *value)
{
    PyObject *number = PyLong_FromLong(what), *since = PyFloat_FromDouble(run->since), *odd = NULL;
    PyObject *args[] = {
        NULL, number, run->served != NULL ? run->served : Py_None, since, value != NULL ? value : Py_None,
        run->first != NULL ? run->first : Py_None, run->gate != NULL && what == WAITS ? run->gate : Py_None,
    };
    if (number != NULL && since != NULL)
        odd = PyObject_Vectorcall(self->odd, args + 1, 6 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_XDECREF(number);
    Py_XDECREF(since);
    return odd;
}

/* The error that is being raised, as an Odd. */
static PyObject *odd_error(const Local *self, int what, const Run *run)
{
    PyObject *error = take_exception(), *odd = new_odd(self, what, run, error);
    Py_XDECREF(error);
    return odd;
}

/* ---- run ------------------------------------------------------------------------------------------- */

/* Calls the handler. 1: `value` is what it gave; 0: it waits, as an Odd says it; -1 with its exception. */
static int call_function(const Local *self, Run *run)
{
    PyObject *result = NULL;
    run->value = PyObject_VectorcallDict(self->function, NULL, 0, run->params);
    if (run->value == NULL)
        return -1;
    if (!PyCoro_CheckExact(run->value)) {
        if (!is_awaitable(run->value))
            return 1;
        run->first = Py_NewRef(self->not_begun);
        return 0;
    }
    switch (PyIter_Send(run->value, Py_None, &result)) {
    case PYGEN_RETURN:
        Py_SETREF(run->value, result);
        return 1;
    case PYGEN_NEXT:
        run->first = result;
        return 0;
    default:
        return -1;
    }
}

/* The same with `running` set meanwhile. */
static int begin(const Local *self, Run *run)
{
    PyObject *token = PyContextVar_Set(self->running, run->served);
    if (token == NULL)
        return -1;
    set_known(&self->template, run->served, BEGUN, Py_True);
    int begun = call_function(self, run);
    PyObject *error = begun < 0 ? take_exception() : NULL;
    int reset = PyContextVar_Reset(self->running, token);
    Py_DECREF(token);
    if (error != NULL)
        raise_again(error);
    return reset < 0 ? -1 : begun;
}

/* The caller's value of the handler's. */
static PyObject *answer(const Local *self, const Run *run, PyObject *call)
{
    const Template *template = &self->template;
    PyObject *metadata = *slot_at(run->served, template->known[ANSWER_METADATA]);
    bool own = metadata != NULL && metadata != *slot_at(template->blank, template->known[ANSWER_METADATA]);
    int any = own ? PyObject_IsTrue(metadata) : 0;
    if (any < 0 || (any && PyObject_SetAttr(call, template->names[ANSWER_METADATA], metadata) < 0))
        return NULL;
    if (count(self, run->since) < 0)
        return NULL;
    if (self->result == NULL)
        return Py_NewRef(Py_None);
    PyObject *result = PyObject_CallOneArg(self->result, run->value);
    if (result == NULL && PyErr_ExceptionMatches(PyExc_Exception))
        return odd_error(self, UNFIT, run);
    return result;
}

/* A call whose parameters are the handler's, and which has time. */
static PyObject *run_served(const Local *self, Run *run, PyObject *call)
{
    int entered = enter(self, run);
    if (entered <= 0)
        return entered < 0 ? NULL : new_odd(self, FULL, run, NULL);
    counts_of(self)[IN_FLIGHT]++;
    int begun = begin(self, run);
    if (begun == 0)
        return new_odd(self, WAITS, run, run->value);
    PyObject *error = begun < 0 ? take_exception() : NULL, *result = NULL;
    if (end(self, run) < 0)
        Py_XDECREF(error);
    else if (error == NULL)
        result = answer(self, run, call);
    else {
        result = new_odd(self, FAILED, run, error);
        Py_DECREF(error);
    }
    return result;
}

/* The call that the handler of this one serves. */
static PyObject *new_served(const Local *self, PyObject *call, PyObject *params, PyObject *deadline)
{
    PyObject *metadata = known_of(&self->template, call, METADATA), *peer = known_of(&self->template, call, PEER);
    PyObject *served = NULL;
    if (metadata != NULL && peer != NULL)
        served = new_call_like(&self->template, params, deadline, metadata, peer);
    Py_XDECREF(metadata);
    Py_XDECREF(peer);
    return served;
}

static PyObject *local_run(Local *self, PyObject *call)
{
    Run run = {0};
    PyObject *given = known_of(&self->template, call, PARAMS), *result = NULL;
    run.params = given != NULL ? PyObject_CallOneArg(self->params, given) : NULL;
    PyObject *deadline = run.params != NULL ? known_of(&self->template, call, DEADLINE) : NULL;
    run.since = deadline != NULL ? now_of(self->clock) : -1.0;
    int late = deadline != NULL ? is_late(deadline, run.since) : -1;
    if (late > 0)
        result = new_odd(self, LATE, &run, NULL);
    else if (late == 0 && (run.served = new_served(self, call, run.params, deadline)) != NULL)
        result = run_served(self, &run, call);
    Py_XDECREF(given);
    Py_XDECREF(deadline);
    Py_XDECREF(run.params);
    Py_XDECREF(run.served);
    Py_XDECREF(run.value);
    Py_XDECREF(run.first);
    return result;
}

/* ---- the type -------------------------------------------------------------------------------------- */

static int take_counts(Local *self, PyObject *counts)
{
    if (PyObject_GetBuffer(counts, &self->counts, PyBUF_WRITABLE) < 0)
        return -1;
    if (self->counts.len == PLACES * (Py_ssize_t)sizeof(int64_t))
        return 0;
    PyErr_Format(PyExc_ValueError, "counts are %d integers of 64 bits", PLACES);
    return -1;
}

/* What stands beside the plain twin: the class Odd, and NOT_BEGUN. */
static int find_twin(Local *self)
{
    PyObject *twin = PyImport_ImportModule("splnode.wire.local");
    if (twin == NULL)
        return -1;
    self->odd = PyObject_GetAttrString(twin, "Odd");
    self->not_begun = PyObject_GetAttrString(twin, "NOT_BEGUN");
    Py_DECREF(twin);
    return self->odd != NULL && self->not_begun != NULL ? 0 : -1;
}

static PyObject *local_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"blank", "running", "clock", "params", "result", "function", "gate", "counts", NULL};
    PyObject *blank, *running, *clock, *params, *result, *function, *gate, *counts;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O$O!OOOOOO:Local", names, &blank, &PyContextVar_Type, &running,
                                     &clock, &params, &result, &function, &gate, &counts))
        return NULL;
    Local *self = (Local *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->running = Py_NewRef(running);
    self->clock = Py_NewRef(clock);
    self->params = Py_NewRef(params);
    self->result = result != Py_None ? Py_NewRef(result) : NULL;
    self->function = Py_NewRef(function);
    self->gate = gate != Py_None ? Py_NewRef(gate) : NULL;
    self->state = PyType_GetModuleState(type);
    if (take_template(&self->template, blank) < 0
        || find_twin(self) < 0 || take_counts(self, counts) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int local_traverse(Local *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->template.blank);
    Py_VISIT(self->running);
    Py_VISIT(self->clock);
    Py_VISIT(self->params);
    Py_VISIT(self->result);
    Py_VISIT(self->function);
    Py_VISIT(self->gate);
    Py_VISIT(self->odd);
    return 0;
}

static void local_dealloc(Local *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    PyObject *const owned[] = {
        self->running, self->clock, self->params, self->result, self->function, self->gate, self->odd,
        self->not_begun,
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(owned); i++)
        Py_XDECREF(owned[i]);
    drop_template(&self->template);
    if (self->counts.obj != NULL)
        PyBuffer_Release(&self->counts);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef local_methods[] = {
    {"run", (PyCFunction)local_run, METH_O, PyDoc_STR("run(call) -> the answer, or an Odd")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot local_slots[] = {
    {Py_tp_doc, PyDoc_STR("One message of one caller in the process of its handler.")},
    {Py_tp_new, local_new},
    {Py_tp_dealloc, local_dealloc},
    {Py_tp_traverse, local_traverse},
    {Py_tp_methods, local_methods},
    {0, NULL},
};

static PyType_Spec local_spec = {
    .name = "splnode.wire._native.Local",
    .basicsize = sizeof(Local),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = local_slots,
};

int add_local(PyObject *module)
{
    return add_type(module, &local_spec, NULL);
}
