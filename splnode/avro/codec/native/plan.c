/* Compiles a plan: a graph of Python nodes becomes one of C nodes. */

#include "choice.h"
#include <structmember.h> /* T_OBJECT_EX */

#define MOST_CHARGED 1000 /* nodes that one value may charge before it is read */

Py_ssize_t slot_offset(PyTypeObject *class, PyObject *name)
{
    PyObject *found = PyObject_GetAttr((PyObject *)class, name);
    Py_ssize_t offset = 0;
    if (found == NULL)
        PyErr_Clear();
    else if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDescrObject *slot = (PyMemberDescrObject *)found;
        if (slot->d_member->type == T_OBJECT_EX && PyType_IsSubtype(class, PyDescr_TYPE(slot)))
            offset = slot->d_member->offset;
    }
    Py_XDECREF(found);
    return offset;
}

/* A piece of the plan's memory. */
struct Block {
    struct Block *next;
    max_align_t room[];
};

/* A graph of Python nodes being turned into C ones: first all nodes are found, then each is filled in. */
typedef struct {
    Codec *codec;
    PyObject *nodes;   /* list, in the order found; the root is the first */
    PyObject *indexes; /* dict: address of a node -> its place in the list */
    PyObject *keep;    /* list of what the plan borrows */
    char *made;        /* the array of C nodes, */
    size_t node_size;  /* each of this size */
} Compiling;

/* Zeroed memory that lives as long as the Codec. */
static void *new_memory(Codec *codec, size_t count, size_t size)
{
    Block *block = count < PY_SSIZE_T_MAX / (size + 1) ? PyMem_Calloc(1, sizeof(Block) + count * size) : NULL;
    if (block == NULL)
        return PyErr_NoMemory(), NULL;
    block->next = codec->blocks;
    codec->blocks = block;
    return block->room;
}

/* Gives an object to the plan, which then owns it: steals, and returns it borrowed. */
static PyObject *kept(Compiling *c, PyObject *object)
{
    if (object == NULL)
        return NULL;
    int failed = PyList_Append(c->keep, object);
    Py_DECREF(object);
    return failed ? NULL : object;
}

/* An attribute of a node, which the plan then owns; borrowed. `type` may be NULL: any. */
static PyObject *attribute(Compiling *c, PyObject *object, const char *name, PyTypeObject *type)
{
    PyObject *value = kept(c, PyObject_GetAttrString(object, name));
    if (value == NULL)
        return NULL;
    if (type != NULL && !PyObject_TypeCheck(value, type))
        return fail(PyExc_TypeError, "%s of a plan's node is %s, not %s", name, Py_TYPE(value)->tp_name, type->tp_name);
    return value;
}

/* The same for one that may be None: then *value is NULL. */
static int optional(Compiling *c, PyObject *object, const char *name, PyObject **value)
{
    if ((*value = attribute(c, object, name, NULL)) == NULL)
        return -1;
    if (*value == Py_None)
        *value = NULL;
    return 0;
}

int integer(PyObject *object, const char *name, int64_t *number)
{
    PyObject *value = PyObject_GetAttrString(object, name);
    if (value == NULL)
        return -1;
    *number = PyLong_AsLongLong(value);
    Py_DECREF(value);
    return *number == -1 && PyErr_Occurred() ? -1 : 0;
}

/* The item of a tuple of tuples; NULL if it is not there. */
static PyObject *part(PyObject *tuple, Py_ssize_t index)
{
    if (!PyTuple_Check(tuple) || index >= PyTuple_GET_SIZE(tuple))
        return fail(PyExc_TypeError, "a step, field or default of a plan is no tuple of the right length");
    return PyTuple_GET_ITEM(tuple, index);
}

/* A name as dicts find it soonest; borrowed. */
static PyObject *interned(Compiling *c, PyObject *name)
{
    if (name == NULL || !PyUnicode_CheckExact(name))
        return name == NULL ? NULL : fail(PyExc_TypeError, "a name in a plan is no str");
    Py_INCREF(name);
    PyUnicode_InternInPlace(&name);
    return kept(c, name);
}

static int find_node(Compiling *c, PyObject *node)
{
    PyObject *address = PyLong_FromVoidPtr(node);
    int known = address == NULL ? -1 : PyDict_Contains(c->indexes, address);
    if (known == 0) {
        PyObject *index = PyLong_FromSsize_t(PyList_GET_SIZE(c->nodes));
        known = index == NULL || PyDict_SetItem(c->indexes, address, index) < 0 || PyList_Append(c->nodes, node) < 0;
        Py_XDECREF(index);
        known = -known;
    }
    Py_XDECREF(address);
    return known < 0 ? -1 : 0;
}

/* The C node of a Python node that find_node has seen. */
static void *made_node(Compiling *c, PyObject *node)
{
    PyObject *address = PyLong_FromVoidPtr(node);
    PyObject *index = address != NULL ? PyDict_GetItemWithError(c->indexes, address) : NULL;
    Py_XDECREF(address);
    if (index == NULL)
        return PyErr_Occurred() ? NULL : fail(PyExc_RuntimeError, "the plan changed while it was compiled");
    return c->made + (size_t)PyLong_AsSsize_t(index) * c->node_size;
}

/* Finds the children of a node: its items, branches, or the second part of its steps or fields. */
static int find_children(Compiling *c, PyObject *node, const char *members)
{
    int64_t op;
    if (integer(node, "op", &op) < 0)
        return -1;
    if (op == ARRAY || op == MAP) {
        PyObject *items = attribute(c, node, "items", NULL);
        return items == NULL ? -1 : find_node(c, items);
    }
    if (op != UNION && op != RECORD)
        return 0;
    PyObject *tuple = attribute(c, node, op == UNION ? "branches" : members, &PyTuple_Type);
    for (Py_ssize_t i = 0; tuple != NULL && i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *child = op == UNION ? part(tuple, i) : part(PyTuple_GET_ITEM(tuple, i), 1);
        if (child == NULL || find_node(c, child) < 0)
            return -1;
    }
    return tuple == NULL ? -1 : 0;
}

/* The C nodes of a union's branches. */
static int fill_branches(Compiling *c, PyObject *node, Py_ssize_t *count, const void ***made)
{
    PyObject *branches = attribute(c, node, "branches", &PyTuple_Type);
    if (branches == NULL)
        return -1;
    *count = PyTuple_GET_SIZE(branches);
    if ((*made = new_memory(c->codec, (size_t)*count, sizeof(void *))) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < *count; i++) {
        PyObject *branch = PyTuple_GET_ITEM(branches, i);
        int64_t op;
        if (integer(branch, "op", &op) < 0 || ((*made)[i] = made_node(c, branch)) == NULL)
            return -1;
        if (op == UNION) { /* the walkers step into a union once */
            fail(PyExc_ValueError, "a plan has a union directly in a union");
            return -1;
        }
    }
    return 0;
}

static int fill_steps(Compiling *c, PyObject *source, ReadNode *node)
{
    PyObject *steps = attribute(c, source, "steps", &PyTuple_Type);
    if (steps == NULL)
        return -1;
    node->count = PyTuple_GET_SIZE(steps);
    if ((node->steps = new_memory(c->codec, (size_t)node->count, sizeof(Step))) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->count; i++) {
        Step *step = &node->steps[i];
        PyObject *parts = PyTuple_GET_ITEM(steps, i), *target = part(parts, 2);
        if (target == NULL || (step->node = made_node(c, part(parts, 1))) == NULL)
            return -1;
        step->target = PyLong_AsSsize_t(target);
        if ((step->name = interned(c, part(parts, 0))) == NULL || PyErr_Occurred())
            return -1;
        if (step->target < -1 || step->target >= node->places) {
            fail(PyExc_ValueError, "a step of a plan has no such target");
            return -1;
        }
    }
    return 0;
}

static int fill_defaults(Compiling *c, PyObject *source, ReadNode *node)
{
    PyObject *defaults = attribute(c, source, "defaults", &PyTuple_Type);
    if (defaults == NULL)
        return -1;
    node->default_count = PyTuple_GET_SIZE(defaults);
    if ((node->defaults = new_memory(c->codec, (size_t)node->default_count, sizeof(Default))) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->default_count; i++) {
        PyObject *parts = PyTuple_GET_ITEM(defaults, i), *place = part(parts, 0);
        if (place == NULL || (node->defaults[i].make = part(parts, 1)) == NULL)
            return -1;
        node->defaults[i].place = PyLong_AsSsize_t(place);
        if (PyErr_Occurred())
            return -1;
        if (node->defaults[i].place < 0 || node->defaults[i].place >= node->places) {
            fail(PyExc_ValueError, "a default of a plan has no such place");
            return -1;
        }
    }
    return 0;
}

/* Every place must be filled by a step or a default: a Struct is called with all of its values. */
static int check_places(const ReadNode *node)
{
    bool *filled = PyMem_Calloc((size_t)node->places + 1, sizeof(bool));
    if (filled == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < node->count; i++)
        filled[node->steps[i].target < 0 ? node->places : node->steps[i].target] = true;
    for (Py_ssize_t i = 0; i < node->default_count; i++)
        filled[node->defaults[i].place] = true;
    Py_ssize_t place = 0;
    while (place < node->places && filled[place])
        place++;
    PyMem_Free(filled);
    if (place == node->places)
        return 0;
    fail(PyExc_ValueError, "no step and no default of a plan fills field %U", node->names[place]);
    return -1;
}

/* A Struct class whose every slot the plan fills, and whose constructor would do nothing else, needs no call. */
static int find_slots(Compiling *c, ReadNode *node, PyObject *names)
{
    PyTypeObject *struct_class = struct_class_of(c->codec->state);
    if (struct_class == NULL || Py_TYPE(node->factory) != Py_TYPE(struct_class) || PyObject_HasAttrString(node->factory, "__post_init__"))
        return 0;
    PyObject *fields = PyObject_GetAttrString(node->factory, "__struct_fields__");
    Py_ssize_t count = fields != NULL ? PyObject_Size(fields) : -1;
    Py_XDECREF(fields);
    if (count < 0)
        return -1;
    Py_ssize_t *offsets = new_memory(c->codec, (size_t)node->places, sizeof(Py_ssize_t));
    if (offsets == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->places; i++) {
        offsets[i] = slot_offset((PyTypeObject *)node->factory, PyTuple_GET_ITEM(names, i));
        for (Py_ssize_t j = 0; j < i; j++)
            offsets[i] = offsets[i] == offsets[j] ? 0 : offsets[i];
        if (offsets[i] == 0)
            return 0;
    }
    if (count == node->places)
        node->offsets = offsets;
    return 0;
}

/* The record's names by place, and the dict or the call that its values go into. */
static int fill_target(Compiling *c, PyObject *source, ReadNode *node)
{
    PyObject *names = attribute(c, source, "names", &PyTuple_Type), *value;
    if (names == NULL || optional(c, source, "factory", &node->factory) < 0)
        return -1;
    node->places = PyTuple_GET_SIZE(names);
    if ((node->names = new_memory(c->codec, (size_t)node->places, sizeof(PyObject *))) == NULL)
        return -1;
    if (node->factory == NULL && (node->blank = kept(c, PyDict_New())) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->places; i++) {
        if ((node->names[i] = interned(c, PyTuple_GET_ITEM(names, i))) == NULL)
            return -1;
        if (node->blank != NULL && PyDict_SetItem(node->blank, node->names[i], Py_None) < 0)
            return -1;
    }
    if ((value = attribute(c, source, "straight", NULL)) == NULL)
        return -1;
    node->straight = value == Py_True;
    if (node->factory == NULL)
        return 0;
    if ((names = attribute(c, source, "struct_names", &PyTuple_Type)) == NULL
        || (value = attribute(c, source, "positional", NULL)) == NULL)
        return -1;
    if (PyTuple_GET_SIZE(names) != node->places) {
        fail(PyExc_ValueError, "struct_names and names of a plan differ in length");
        return -1;
    }
    for (Py_ssize_t i = 0; i < node->places; i++) {
        if (!PyUnicode_Check(PyTuple_GET_ITEM(names, i))) {
            fail(PyExc_TypeError, "a name in a plan is no str");
            return -1;
        }
    }
    node->keywords = value != Py_True ? names : NULL;
    return find_slots(c, node, names);
}

static int fill_symbols(Compiling *c, PyObject *source, ReadNode *node)
{
    PyObject *symbols = attribute(c, source, "symbols", &PyTuple_Type);
    if (symbols == NULL)
        return -1;
    node->count = PyTuple_GET_SIZE(symbols);
    if ((node->symbols = new_memory(c->codec, (size_t)node->count, sizeof(PyObject *))) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->count; i++) {
        PyObject *symbol = PyTuple_GET_ITEM(symbols, i);
        node->symbols[i] = symbol != Py_None ? symbol : NULL;
    }
    return 0;
}

static int fill_op(PyObject *source, int *op)
{
    int64_t number;
    if (integer(source, "op", &number) < 0)
        return -1;
    if (number < 0 || number >= OPS) {
        fail(PyExc_ValueError, "a plan has op %lld", (long long)number);
        return -1;
    }
    *op = (int)number;
    return 0;
}

static int fill_items(Compiling *c, PyObject *source, const void **items)
{
    PyObject *child = attribute(c, source, "items", NULL);
    return child == NULL || (*items = made_node(c, child)) == NULL ? -1 : 0;
}

/* What a node charges; a value or an item has to charge something, or there would be no end of them. */
static int fill_charges(PyObject *source, int64_t *weight, int64_t *cost, int64_t *each)
{
    if (integer(source, "weight", weight) < 0 || integer(source, "cost", cost) < 0 || integer(source, "each", each) < 0)
        return -1;
    if (*weight < 1 || *weight > MOST_CHARGED || *cost < 0 || *each < 1 || *each > MOST_CHARGED) {
        fail(PyExc_ValueError, "a plan charges %lld, %lld and %lld nodes", (long long)*weight, (long long)*cost,
             (long long)*each);
        return -1;
    }
    return 0;
}

static int fill_read(Compiling *c, PyObject *source, void *made)
{
    ReadNode *node = made;
    int64_t promote;
    if (fill_op(source, &node->op) < 0 || integer(source, "promote", &promote) < 0
        || integer(source, "size", &node->size) < 0
        || fill_charges(source, &node->weight, &node->cost, &node->each) < 0
        || optional(c, source, "logical", &node->logical) < 0
        || (node->reason = attribute(c, source, "reason", &PyUnicode_Type)) == NULL)
        return -1;
    node->promote = (int)promote;
    if (node->size < 0) {
        fail(PyExc_ValueError, "a plan has a negative size");
        return -1;
    }
    switch (node->op) {
    case ENUM:
        return fill_symbols(c, source, node);
    case ARRAY:
    case MAP:
        return fill_items(c, source, (const void **)&node->items);
    case UNION:
        return fill_branches(c, source, &node->count, (const void ***)&node->branches);
    case RECORD:
        if (fill_target(c, source, node) < 0 || fill_steps(c, source, node) < 0)
            return -1;
        return fill_defaults(c, source, node) < 0 ? -1 : check_places(node);
    default:
        return 0;
    }
}

static int fill_union(Compiling *c, PyObject *source, WriteNode *node)
{
    if (fill_branches(c, source, &node->count, (const void ***)&node->branches) < 0)
        return -1;
    PyObject *branches = attribute(c, source, "branches", &PyTuple_Type), *accepts = NULL;
    for (Py_ssize_t i = 0; accepts == NULL && branches != NULL && i < PyTuple_GET_SIZE(branches); i++) {
        /* the branch's own C node may not be filled yet */
        if ((accepts = attribute(c, PyTuple_GET_ITEM(branches, i), "accepts", &PyTuple_Type)) == NULL)
            return -1;
        if (PyTuple_GET_SIZE(accepts) == 0)
            accepts = NULL;
    }
    node->accepts = accepts;
    node->struct_places = kept(c, PyDict_New());
    return branches != NULL && node->struct_places != NULL ? 0 : -1;
}

/* Fills what needs all nodes filled: of each union its sure branches. */
static void find_sure(WriteNode *nodes, Py_ssize_t count)
{
    for (WriteNode *node = nodes; node < nodes + count; node++) {
        for (int kind = 0; node->op == UNION && kind < KINDS; kind++)
            node->sure[kind] = node->accepts == NULL ? sure_branch(node, kind) : -1;
    }
}

static int fill_fields(Compiling *c, PyObject *source, WriteNode *node)
{
    PyObject *fields = attribute(c, source, "fields", &PyTuple_Type);
    if (fields == NULL || (node->names = attribute(c, source, "names", &PyFrozenSet_Type)) == NULL)
        return -1;
    node->count = PyTuple_GET_SIZE(fields);
    if ((node->fields = new_memory(c->codec, (size_t)node->count, sizeof(Field))) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < node->count; i++) {
        PyObject *parts = PyTuple_GET_ITEM(fields, i), *make = part(parts, 2);
        if (make == NULL || (node->fields[i].node = made_node(c, part(parts, 1))) == NULL)
            return -1;
        node->fields[i].make = make != Py_None ? make : NULL;
        if ((node->fields[i].name = interned(c, part(parts, 0))) == NULL)
            return -1;
    }
    return 0;
}

static int fill_indexes(Compiling *c, PyObject *source, WriteNode *node)
{
    PyObject *indexes = attribute(c, source, "indexes", NULL), *symbol, *index;
    Py_ssize_t position = 0;
    if (indexes == NULL)
        return -1;
    node->indexes = kept(c, PyObject_CallOneArg((PyObject *)&PyDict_Type, indexes));
    int failed = node->indexes == NULL ? -1 : 0;
    while (!failed && PyDict_Next(node->indexes, &position, &symbol, &index)) {
        if (!PyLong_Check(index)) {
            fail(PyExc_TypeError, "an index of an enum's symbol is no int");
            failed = -1;
        }
    }
    return failed;
}

static int fill_write(Compiling *c, PyObject *source, void *made)
{
    WriteNode *node = made;
    if (fill_op(source, &node->op) < 0 || integer(source, "size", &node->size) < 0
        || fill_charges(source, &node->weight, &node->cost, &node->each) < 0
        || optional(c, source, "logical", &node->logical) < 0
        || (node->label = attribute(c, source, "label", &PyUnicode_Type)) == NULL
        || (node->accepts = attribute(c, source, "accepts", &PyTuple_Type)) == NULL)
        return -1;
    if (PyTuple_GET_SIZE(node->accepts) == 0)
        node->accepts = NULL;
    node->source = kept(c, Py_NewRef(source));
    if (node->source == NULL)
        return -1;
    switch (node->op) {
    case ENUM:
        return fill_indexes(c, source, node);
    case ARRAY:
    case MAP:
        return fill_items(c, source, (const void **)&node->items);
    case UNION:
        return fill_union(c, source, node);
    case RECORD:
        return fill_fields(c, source, node);
    case FAIL:
        fail(PyExc_ValueError, "a plan for writing cannot fail");
        return -1;
    default:
        return 0;
    }
}

static void *compile_graph(Codec *codec, PyObject *root, PyObject *keep, size_t node_size, const char *members,
                           int (*fill)(Compiling *, PyObject *, void *), Py_ssize_t *count)
{
    Compiling c = {codec, PyList_New(0), PyDict_New(), keep, NULL, node_size};
    bool failed = c.nodes == NULL || c.indexes == NULL || find_node(&c, root) < 0;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(c.nodes); i++)
        failed = find_children(&c, PyList_GET_ITEM(c.nodes, i), members) < 0;
    if (!failed) {
        *count = PyList_GET_SIZE(c.nodes);
        c.made = new_memory(codec, (size_t)*count, node_size);
        failed = c.made == NULL;
    }
    for (Py_ssize_t i = 0; !failed && i < *count; i++)
        failed = fill(&c, PyList_GET_ITEM(c.nodes, i), c.made + (size_t)i * node_size) < 0;
    Py_XDECREF(c.nodes);
    Py_XDECREF(c.indexes);
    return failed ? NULL : c.made;
}

static int pair_up(PyObject *pairs, PyObject *seen, const void *write, const void *read)
{
    PyObject *pair = Py_BuildValue("(NN)", PyLong_FromVoidPtr((void *)write), PyLong_FromVoidPtr((void *)read));
    int known = pair == NULL ? -1 : PySet_Contains(seen, pair);
    if (known == 0)
        known = PySet_Add(seen, pair) < 0 || PyList_Append(pairs, pair) < 0 ? -1 : 0;
    Py_XDECREF(pair);
    return known < 0 ? -1 : 0;
}

/* The children of two nodes that conform walks together; the reader's may end in FAIL. */
static int pair_children(PyObject *pairs, PyObject *seen, const WriteNode *write, const ReadNode *read)
{
    if (read->op == FAIL)
        return 0;
    if (read->op != write->op || (read->op >= RECORD && read->count != write->count)) {
        fail(PyExc_ValueError, "the two plans are not of the same writer's schema");
        return -1;
    }
    if (read->op == ARRAY || read->op == MAP)
        return pair_up(pairs, seen, write->items, read->items);
    for (Py_ssize_t i = 0; read->op >= RECORD && i < read->count; i++) {
        int failed = read->op == UNION
            ? pair_up(pairs, seen, write->branches[i], read->branches[i])
            : pair_up(pairs, seen, write->fields[i].node, read->steps[i].node);
        if (failed)
            return -1;
    }
    return 0;
}

/* Holds the plans of a Conformer against each other once, so that the walker need not. */
static int check_pair(const WriteNode *write, const ReadNode *read)
{
    PyObject *pairs = PyList_New(0), *seen = PySet_New(NULL);
    int failed = pairs == NULL || seen == NULL ? -1 : pair_up(pairs, seen, write, read);
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(pairs); i++) {
        PyObject *pair = PyList_GET_ITEM(pairs, i);
        failed = pair_children(pairs, seen, PyLong_AsVoidPtr(PyTuple_GET_ITEM(pair, 0)),
                               PyLong_AsVoidPtr(PyTuple_GET_ITEM(pair, 1)));
    }
    Py_XDECREF(pairs);
    Py_XDECREF(seen);
    return failed;
}

static int limit(PyObject *limits, const char *name, Py_ssize_t *value)
{
    int64_t number;
    if (integer(limits, name, &number) < 0)
        return -1;
    /* so that sums of two cannot overflow, nor what so many items charge */
    *value = (Py_ssize_t)Py_MIN(Py_MAX(number, 0), PY_SSIZE_T_MAX / MOST_CHARGED);
    return 0;
}

static bool is_quiet(const Codec *codec, Py_ssize_t read_count)
{
    bool quiet = true;
    for (Py_ssize_t i = 0; i < codec->write_count; i++)
        quiet = quiet && codec->write[i].logical == NULL;
    for (Py_ssize_t i = 0; i < read_count; i++)
        quiet = quiet && codec->read[i].logical == NULL;
    return quiet;
}

PyObject *new_codec(PyTypeObject *type, PyObject *write, PyObject *read, PyObject *limits)
{
    Codec *codec = (Codec *)type->tp_alloc(type, 0);
    PyObject *keep = PyList_New(0);
    Py_ssize_t read_count;
    bool failed = codec == NULL || keep == NULL || (codec->state = PyType_GetModuleState(type)) == NULL;
    if (!failed)
        failed = limit(limits, "message_bytes", &codec->limits.message_bytes) < 0
            || limit(limits, "depth", &codec->limits.depth) < 0 || limit(limits, "nodes", &codec->limits.nodes) < 0;
    if (!failed && write != NULL) {
        Py_ssize_t count;
        codec->write = compile_graph(codec, write, keep, sizeof(WriteNode), "fields", fill_write, &count);
        failed = codec->write == NULL;
        if (!failed)
            find_sure(codec->write, count);
        codec->write_count = failed ? 0 : count; /* only now: the collector may look at any time */
    }
    if (!failed && read != NULL) {
        codec->read = compile_graph(codec, read, keep, sizeof(ReadNode), "steps", fill_read, &read_count);
        failed = codec->read == NULL;
    }
    if (!failed && write != NULL && read != NULL) {
        failed = check_pair(codec->write, codec->read) < 0;
        codec->quiet = is_quiet(codec, read_count);
    }
    if (!failed)
        failed = (codec->keep = PyList_AsTuple(keep)) == NULL;
    Py_XDECREF(keep);
    if (failed)
        Py_CLEAR(codec);
    return (PyObject *)codec;
}

void drop_plan(Codec *codec)
{
    for (Py_ssize_t i = 0; i < codec->write_count; i++)
        forget(&codec->write[i].seen);
    while (codec->blocks != NULL) {
        Block *block = codec->blocks;
        codec->blocks = block->next;
        PyMem_Free(block);
    }
    Py_XDECREF(codec->keep);
}
