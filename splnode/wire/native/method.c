/* Method: one message of a client, called as a function: parameters to a Calling, and that on its way. */

#include "calling.h"
#include "calls.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    State *state;
    PyObject *track, *contract;
    PyObject *name, *doc;
    PyObject *parameters;               /* a tuple of their names, interned */
    PyObject *function;                 /* async, for whatever is unusual about the arguments */
    Template template;                  /* of the calls that go the general way, */
    PyObject *proceed;                  /* to this: a call to what is to be awaited */
    PyObject *running, *limit, *inherit; /* what a call inherits: two ContextVars, and a function if one is set */
    PyObject *clock;
    double timeout, longest;
    PyObject *pair; /* that `way` is of, or NULL */
    Way *way;
} Method;

/* ---- arguments ------------------------------------------------------------------------------------- */

/* The place of a parameter, nearly always the one it is looked for at first; -1: there is none of this name. */
static Py_ssize_t place_of(PyObject *parameters, PyObject *name, Py_ssize_t likely)
{
    Py_ssize_t count = PyTuple_GET_SIZE(parameters);
    if (likely < count && PyTuple_GET_ITEM(parameters, likely) == name)
        return likely;
    for (Py_ssize_t i = 0; i < count; i++)
        if (PyTuple_GET_ITEM(parameters, i) == name)
            return i;
    for (Py_ssize_t i = 0; i < count; i++)
        if (PyUnicode_Compare(PyTuple_GET_ITEM(parameters, i), name) == 0)
            return i;
    return -1;
}

/* 1 if each parameter is given once, and then they are taken; 0 if not. */
static int take_arguments(Method *self, Calling *calling, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
    Py_ssize_t count = PyTuple_GET_SIZE(self->parameters), named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (given + named != count || count > FIELDS)
        return 0;
    calling->count = count;
    for (Py_ssize_t i = 0; i < given; i++)
        calling->fields[i] = Py_NewRef(args[i]);
    for (Py_ssize_t i = 0; i < named; i++) {
        Py_ssize_t place = place_of(self->parameters, PyTuple_GET_ITEM(names, i), given + i);
        if (place < 0 || calling->fields[place] != NULL)
            return 0;
        calling->fields[place] = Py_NewRef(args[given + i]);
    }
    return 1;
}

static void forget_unused(Calling *calling)
{
    calling->stage = DONE; /* nobody has seen it: that it is not awaited is no mistake */
    PyObject_GC_Track(calling);
    Py_DECREF(calling);
}

static PyObject *method_vectorcall(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Method *self = (Method *)object;
    Calling *calling = new_calling(self->state);
    if (calling == NULL)
        return NULL;
    if (!take_arguments(self, calling, args, PyVectorcall_NARGS(nargsf), names)) {
        forget_unused(calling);
        return PyErr_Occurred() ? NULL : PyObject_Vectorcall(self->function, args, nargsf, names);
    }
    calling->method = Py_NewRef(object);
    calling->timeout = self->timeout;
    PyObject_GC_Track(calling);
    return (PyObject *)calling;
}

static PyObject *method_call(Method *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "call(params, timeout, metadata)");
        return NULL;
    }
    double timeout = args[1] == Py_None ? self->timeout : PyFloat_AsDouble(args[1]);
    if (timeout == -1.0 && PyErr_Occurred())
        return NULL;
    Calling *calling = new_calling(self->state);
    if (calling == NULL)
        return NULL;
    calling->method = Py_NewRef(self);
    calling->params = Py_NewRef(args[0]);
    calling->timeout = timeout;
    calling->metadata = args[2] == Py_None ? NULL : Py_NewRef(args[2]);
    PyObject_GC_Track(calling);
    return (PyObject *)calling;
}

/* ---- on its way ------------------------------------------------------------------------------------ */

/* 1 if a variable of the context holds something. */
static int is_set(PyObject *variable)
{
    PyObject *value;
    if (PyContextVar_Get(variable, NULL, &value) < 0)
        return -1;
    int set = value != NULL && value != Py_None;
    Py_XDECREF(value);
    return set;
}

/* The deadline, and what metadata there is (or NULL), of a call that begins now. */
static int find_terms(Method *self, Calling *calling, double now, double *deadline, PyObject **metadata)
{
    int inherits = is_set(self->running);
    if (inherits == 0)
        inherits = is_set(self->limit);
    *deadline = now + Py_MIN(calling->timeout, self->longest);
    *metadata = Py_XNewRef(calling->metadata);
    if (inherits > 0) {
        PyObject *own = *metadata != NULL ? *metadata : Py_None;
        PyObject *terms = PyObject_CallFunction(self->inherit, "dO", calling->timeout, own);
        Py_CLEAR(*metadata);
        int read = terms != NULL && PyArg_ParseTuple(terms, "dO", deadline, metadata);
        if (read)
            Py_INCREF(*metadata);
        Py_XDECREF(terms);
        inherits = read ? 0 : -1;
    }
    int some = inherits < 0 || *metadata == NULL ? inherits : PyObject_IsTrue(*metadata);
    if (some <= 0)
        Py_CLEAR(*metadata);
    return some < 0 ? -1 : 0;
}

static Way *way_on(Method *self, Pipeline *pipe)
{
    if (self->pair != pipe->pair) {
        Way *way = find_way(pipe, self->name);
        if (way == NULL)
            return NULL;
        Py_XSETREF(self->way, way);
        Py_XSETREF(self->pair, Py_NewRef(pipe->pair));
    }
    return (Way *)Py_NewRef(self->way);
}

static int send_on(Method *self, Pipeline *pipe, Calling *calling)
{
    double deadline, now = now_of(self->clock);
    PyObject *metadata = NULL, *head = NULL;
    if ((now == -1.0 && PyErr_Occurred()) || find_terms(self, calling, now, &deadline, &metadata) < 0)
        return -1;
    calling->deadline = deadline;
    Way *way = way_on(self, pipe);
    int failed = way == NULL ? -1 : 0;
    double left = Py_MIN(deadline - now, calling->timeout) * 1000.0; /* without what rounding lost */
    if (!failed && (!(left >= 1.0) || (calling->params == NULL && way->encoder == NULL)))
        failed = 1;
    if (!failed && (head = find_head(pipe, (long long)left, metadata)) == NULL)
        failed = -1;
    if (!failed) {
        Params params = {calling->params, calling->fields, calling->count};
        failed = put_request(pipe, way, head, &params, deadline, NULL, &calling->slot);
    }
    Py_XDECREF(head);
    Py_XDECREF(metadata);
    Py_XDECREF(way);
    return failed < 0 ? -1 : failed == 0;
}

/* With an account it stays with the Calling where it was sent, or failed on the way; its ends are counted there. */
int send_by_method(Calling *calling)
{
    Method *self = (Method *)calling->method;
    PyObject *account;
    Pipeline *pipe = pick_line(self->track, &account);
    if (pipe == NULL || pipe->contract != self->contract)
        return 0;
    int more = account == NULL ? 0 : calling->metadata != NULL ? 1 : is_set(self->running);
    if (more != 0) /* who looks at metadata, and counts hops, sees all that there is */
        return more < 0 ? -1 : 0;
    Py_INCREF(pipe);
    if ((calling->account = Py_XNewRef(account)) != NULL)
        count_begun(account);
    int sent = send_on(self, pipe, calling);
    if (sent == 0 && account != NULL) {
        uncount_begun(account);
        Py_CLEAR(calling->account);
    }
    Py_DECREF(pipe);
    return sent;
}

/* The Call that it is, for those who take one. */
static PyObject *call_of(Method *self, Calling *calling, double deadline, PyObject *metadata)
{
    PyObject *params = calling->params != NULL ? Py_NewRef(calling->params) : PyDict_New();
    for (Py_ssize_t i = 0; params != NULL && i < calling->count; i++)
        if (PyDict_SetItem(params, PyTuple_GET_ITEM(self->parameters, i), calling->fields[i]) < 0)
            Py_CLEAR(params);
    PyObject *until = params == NULL ? NULL : PyFloat_FromDouble(deadline);
    PyObject *call = until == NULL ? NULL : new_call_like(&self->template, params, until, metadata, NULL);
    Py_XDECREF(params);
    Py_XDECREF(until);
    return call;
}

PyObject *general_of_method(Calling *calling)
{
    Method *self = (Method *)calling->method;
    double deadline, now = now_of(self->clock);
    PyObject *metadata = NULL, *call = NULL;
    if (!(now == -1.0 && PyErr_Occurred()) && find_terms(self, calling, now, &deadline, &metadata) == 0)
        call = call_of(self, calling, deadline, metadata);
    PyObject *given = call == NULL ? NULL : PyObject_CallOneArg(self->proceed, call);
    Py_XDECREF(metadata);
    Py_XDECREF(call);
    return given;
}

PyObject *recovery_of_method(Calling *calling, PyObject *failed, PyObject *error)
{
    PyObject *call = call_of((Method *)calling->method, calling, calling->deadline, calling->metadata);
    PyObject *args[] = {call, error};
    PyObject *given = call == NULL ? NULL : PyObject_Vectorcall(failed, args, 2, NULL);
    Py_XDECREF(call);
    return given;
}

PyObject *name_of_method(Calling *calling) { return Py_NewRef(((Method *)calling->method)->name); }

/* ---- the type -------------------------------------------------------------------------------------- */

static PyObject *method_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"track", "contract", "name", "doc", "parameters", "function", "blank", "proceed",
                            "running", "limit", "inherit", "clock", "timeout", "longest", NULL};
    State *state = PyType_GetModuleState(type);
    PyObject *track, *contract, *name, *doc, *parameters, *function, *blank, *proceed, *running, *limit, *inherit;
    PyObject *clock;
    double timeout, longest;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!OUOO!OOOOOOOdd", names, state->track, &track, &contract, &name,
                                     &doc, &PyTuple_Type, &parameters, &function, &blank, &proceed, &running, &limit,
                                     &inherit, &clock, &timeout, &longest))
        return NULL;
    Method *self = (Method *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = method_vectorcall;
    self->state = state;
    self->track = Py_NewRef(track);
    self->contract = Py_NewRef(contract);
    self->name = Py_NewRef(name);
    self->doc = Py_NewRef(doc);
    self->function = Py_NewRef(function);
    self->proceed = Py_NewRef(proceed);
    self->running = Py_NewRef(running);
    self->limit = Py_NewRef(limit);
    self->inherit = Py_NewRef(inherit);
    self->clock = Py_NewRef(clock);
    self->timeout = timeout;
    self->longest = longest;
    self->parameters = PyTuple_New(PyTuple_GET_SIZE(parameters));
    for (Py_ssize_t i = 0; self->parameters != NULL && i < PyTuple_GET_SIZE(parameters); i++) {
        PyObject *parameter = Py_NewRef(PyTuple_GET_ITEM(parameters, i));
        PyUnicode_InternInPlace(&parameter); /* as those in the code that calls are */
        PyTuple_SET_ITEM(self->parameters, i, parameter);
    }
    if (self->parameters == NULL || take_template(&self->template, blank) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int method_traverse(Method *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->track);
    Py_VISIT(self->contract);
    Py_VISIT(self->function);
    Py_VISIT(self->template.blank);
    Py_VISIT(self->proceed);
    Py_VISIT(self->running);
    Py_VISIT(self->limit);
    Py_VISIT(self->inherit);
    Py_VISIT(self->clock);
    Py_VISIT(self->pair);
    Py_VISIT(self->way);
    return 0;
}

/* No tp_clear: what it was made of never changes, and what it has learned refers to no Method. */
static void method_dealloc(Method *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->track);
    Py_XDECREF(self->contract);
    Py_XDECREF(self->name);
    Py_XDECREF(self->doc);
    Py_XDECREF(self->parameters);
    Py_XDECREF(self->function);
    drop_template(&self->template);
    Py_XDECREF(self->proceed);
    Py_XDECREF(self->running);
    Py_XDECREF(self->limit);
    Py_XDECREF(self->inherit);
    Py_XDECREF(self->clock);
    Py_XDECREF(self->pair);
    Py_XDECREF(self->way);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *method_repr(Method *self) { return PyUnicode_FromFormat("<method %U of a client>", self->name); }

static PyMethodDef method_methods[] = {
    {"call", (PyCFunction)(void (*)(void))method_call, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef method_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Method, vectorcall), READONLY, NULL},
    {"__name__", T_OBJECT, offsetof(Method, name), READONLY, NULL},
    {"__qualname__", T_OBJECT, offsetof(Method, name), READONLY, NULL},
    {"__doc__", T_OBJECT, offsetof(Method, doc), READONLY, NULL},
    {"__wrapped__", T_OBJECT, offsetof(Method, function), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot method_slots[] = {
    {Py_tp_new, method_new},         {Py_tp_traverse, method_traverse}, {Py_tp_dealloc, method_dealloc},
    {Py_tp_call, PyVectorcall_Call}, {Py_tp_repr, method_repr},         {Py_tp_methods, method_methods},
    {Py_tp_members, method_members}, {0, NULL},
};

static PyType_Spec method_spec = {
    "splnode.wire._native.Method", sizeof(Method), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL, method_slots,
};

int add_method(PyObject *module)
{
    State *state = PyModule_GetState(module);
    return add_type(module, &method_spec, &state->method);
}
