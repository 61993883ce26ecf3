/* Track: where a call may be put right now. One that has `failed` keeps account of the calls that went over it. */

#include "pipeline.h"
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    State *state;
    PyObject *lines;  /* a tuple of Pipelines and Tracks */
    PyObject *failed; /* or NULL */
    unsigned long long begun, ended, well;
    uint32_t dice;
} Track;

static Pipeline *open_line(State *state, PyObject *line, PyObject **account);

/* A different number each time; which, hardly matters. (xorshift32, Marsaglia 2003) */
static uint32_t throw_dice(Track *self)
{
    uint32_t x = self->dice;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return self->dice = x;
}

/* Of two at random the one with fewer calls in flight; any other that is open where neither is. */
static Pipeline *pick_of_many(Track *self, Py_ssize_t count, PyObject **account)
{
    PyObject *others = NULL;
    Py_ssize_t first = throw_dice(self) % count, second = throw_dice(self) % (count - 1);
    second += second >= first;
    Pipeline *one = open_line(self->state, PyTuple_GET_ITEM(self->lines, first), account);
    Pipeline *other = open_line(self->state, PyTuple_GET_ITEM(self->lines, second), &others);
    for (Py_ssize_t i = 0; one == NULL && other == NULL && i < count; i++)
        one = open_line(self->state, PyTuple_GET_ITEM(self->lines, i), account);
    if (one != NULL && (other == NULL || other->waiting >= one->waiting))
        return one;
    *account = others;
    return other;
}

static Pipeline *pick(Track *self, PyObject **account)
{
    Py_ssize_t count = PyTuple_GET_SIZE(self->lines);
    Pipeline *line = count == 0 ? NULL
        : count == 1            ? open_line(self->state, PyTuple_GET_ITEM(self->lines, 0), account)
                                : pick_of_many(self, count, account);
    if (line != NULL && *account == NULL && self->failed != NULL)
        *account = (PyObject *)self;
    return line;
}

static Pipeline *open_line(State *state, PyObject *line, PyObject **account)
{
    if (Py_TYPE(line) == state->pipeline)
        return has_room((Pipeline *)line) ? (Pipeline *)line : NULL;
    return pick((Track *)line, account);
}

/* The Pipeline that takes the next call, and the Track that keeps account of it, or NULL; both borrowed. NULL, with no
 * exception, where none can. */
Pipeline *pick_line(PyObject *track, PyObject **account)
{
    *account = NULL;
    return pick((Track *)track, account);
}

void count_begun(PyObject *account) { ((Track *)account)->begun++; }

/* It was not sent there after all. */
void uncount_begun(PyObject *account) { ((Track *)account)->begun--; }

void count_ended(PyObject *account, bool well)
{
    ((Track *)account)->ended++;
    ((Track *)account)->well += well;
}

/* Who takes over a call that failed, borrowed, or NULL. */
PyObject *failed_of(PyObject *account) { return ((Track *)account)->failed; }

/* Whether a track can be reached from another: then it must not be put into that. */
static bool reaches(State *state, PyObject *from, PyObject *track)
{
    if (from == track)
        return true;
    if (Py_TYPE(from) != state->track)
        return false;
    PyObject *lines = ((Track *)from)->lines;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(lines); i++)
        if (reaches(state, PyTuple_GET_ITEM(lines, i), track))
            return true;
    return false;
}

static int track_set_lines(Track *self, PyObject *value, void *Py_UNUSED(closure))
{
    PyObject *lines = value == NULL ? PyTuple_New(0) : PySequence_Tuple(value);
    if (lines == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(lines); i++) {
        PyObject *line = PyTuple_GET_ITEM(lines, i);
        bool fits = Py_TYPE(line) == self->state->pipeline || Py_TYPE(line) == self->state->track;
        if (!fits || reaches(self->state, line, (PyObject *)self)) {
            PyErr_Format(PyExc_TypeError, "a line is a Pipeline or another Track, not %R", line);
            Py_DECREF(lines);
            return -1;
        }
    }
    Py_XSETREF(self->lines, lines);
    return 0;
}

static int track_set_failed(Track *self, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(self->failed, value == Py_None ? NULL : Py_XNewRef(value));
    return 0;
}

static PyObject *track_get_failed(Track *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->failed != NULL ? self->failed : Py_None);
}

static PyObject *track_get_lines(Track *self, void *Py_UNUSED(closure)) { return Py_NewRef(self->lines); }

static PyObject *track_pick(Track *self, PyObject *Py_UNUSED(nothing))
{
    PyObject *account = NULL;
    Pipeline *line = pick(self, &account);
    return Py_NewRef(line != NULL ? (PyObject *)line : Py_None);
}

static PyObject *track_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "", names))
        return NULL;
    Track *self = (Track *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->state = PyType_GetModuleState(type);
    self->dice = (uint32_t)((uintptr_t)self >> 4) | 1;
    if ((self->lines = PyTuple_New(0)) == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int track_traverse(Track *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->lines);
    Py_VISIT(self->failed);
    return 0;
}

static int track_clear(Track *self)
{
    Py_CLEAR(self->failed);
    PyObject *none = PyTuple_New(0); /* the empty tuple is there already */
    if (none != NULL)
        Py_XSETREF(self->lines, none);
    return 0;
}

static void track_dealloc(Track *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->lines);
    Py_CLEAR(self->failed);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef track_methods[] = {
    {"pick", (PyCFunction)track_pick, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef track_getset[] = {
    {"lines", (getter)track_get_lines, (setter)track_set_lines, NULL, NULL},
    {"failed", (getter)track_get_failed, (setter)track_set_failed, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef track_members[] = {
    {"begun", T_ULONGLONG, offsetof(Track, begun), READONLY, NULL},
    {"ended", T_ULONGLONG, offsetof(Track, ended), READONLY, NULL},
    {"well", T_ULONGLONG, offsetof(Track, well), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot track_slots[] = {
    {Py_tp_doc, "Where a call may be put right now; see splnode.wire.pipeline."},
    {Py_tp_new, track_new},
    {Py_tp_traverse, track_traverse},
    {Py_tp_clear, track_clear},
    {Py_tp_dealloc, track_dealloc},
    {Py_tp_methods, track_methods},
    {Py_tp_getset, track_getset},
    {Py_tp_members, track_members},
    {0, NULL},
};

static PyType_Spec track_spec = {
    "splnode.wire._native.Track", sizeof(Track), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, track_slots,
};

int add_track(PyObject *module)
{
    State *state = PyModule_GetState(module);
    return add_type(module, &track_spec, &state->track);
}
