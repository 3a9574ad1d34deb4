/* eager.c: an op applied to Tensors and written down, and backward, each in one call.
 *
 * tensor.py says what happens when an op is applied, graph.py what backward is; with both, an op
 * on a few numbers spends its time in Python.  Here is the plain case of the same: of an op that
 * has a shortcut (shortcuts.c, views.c) the result, its Tensor and its Node are made in one call,
 * and the chain rule runs over a graph without asking Python at nodes of that kind.  Everything
 * else is declined, or asked of Python.  As with all shortcuts nothing here is needed for a result,
 * and the tests compare both ways bit by bit.
 *
 * Tensor, Node and Leaf are classes written in Python.  What Python calls a slot of theirs is a
 * pointer at a fixed place in the object, so it is read and set here like the field of a struct.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "array.h"

/* ---- Tensors and Nodes ------------------------------------------------------------------------ */

static int is_tensor(const Engine *engine, PyObject *x)
{
    return PyObject_TypeCheck(x, engine->tensor) && SLOT(x, engine->array) &&
           SLOT(x, engine->origin);
}

PyObject *tga_tensor_new(State *state, PyObject *array, PyObject *node)
{
    const Engine *engine = &state->engine;
    PyObject *tensor = engine->new_tensor(engine->tensor, 0);
    if (tensor) {
        set_slot(tensor, engine->array, array);
        set_slot(tensor, engine->origin, node);
    }
    return tensor;
}

/* graph.mode.recording; -1 with an exception. */
static int is_recording(Engine *engine)
{
    /* the attributes of a threading.local are a dict for each thread: the last one is kept */
    const uint64_t thread = PyThreadState_GetID(PyThreadState_Get());
    if (!engine->mode_of_thread || engine->thread != thread) {
        PyObject *dict = PyObject_GetAttrString(engine->mode, "__dict__");
        PyObject *before = engine->mode_of_thread;
        if (!dict)
            return -1;
        engine->mode_of_thread = dict;
        engine->thread = thread;
        Py_XDECREF(before);
    }
    PyObject *recording = PyDict_GetItemWithError(engine->mode_of_thread, engine->recording);
    if (recording)
        return PyObject_IsTrue(recording);
    return PyErr_Occurred() ? -1 : 1; /* as each thread starts */
}

/* ---- what C knows of an op -------------------------------------------------------------------- */

enum { MOST_INPUTS = 3, MOST_ATTRS = 2 };

/* Which functions of shortcuts.c and views.c an op is computed by. */
static const struct kind {
    const char *name;
    Py_ssize_t inputs;
    Shortcut *forward, *backward; /* no backward: the op's own, in Python */
} kinds[] = {
    {"unary", 1, quick_unary, quick_unary_backward},
    {"binary", 2, quick_binary, NULL},
    {"compare", 2, quick_compare, NULL},
    {"where", 3, quick_where, quick_where_backward},
    {"softmax", 1, quick_softmax, quick_softmax_backward},
    {"glu", 1, quick_glu, quick_glu_backward},
    {"maxout", 1, quick_maxout, quick_maxout_backward},
    {"sum", 1, quick_sum, quick_sum_backward},
    {"reduce", 1, quick_reduce, NULL},
    {"take", 2, quick_take, NULL},
    {"permute", 1, quick_permute, quick_permute_backward},
    {"reshape", 1, quick_reshape, quick_reshape_backward},
    {"unsqueeze", 1, quick_unsqueeze, quick_reshape_backward},
    {"squeeze", 1, quick_squeeze, quick_reshape_backward},
    {"expand", 1, quick_expand, NULL},
    {"getitem", 1, quick_getitem, quick_getitem_backward},
    {"matmul", 2, quick_matmul, quick_matmul_backward},
    {"linear", 3, quick_linear, quick_linear_backward},
    {0},
};

typedef struct {
    PyObject_HEAD
    const struct kind *kind;
    PyObject *row;              /* which of its kind: a row of the .def files; or None */
    int keeps[1 + MOST_INPUTS]; /* whether output and inputs are saved whole, or their shape */
    int reads;                  /* which of them the backward of a row reads; -1 for none */
} OpShortcut;

/* shortcut_of(kind, row or None, keeps, reads): for the attribute `shortcut` of an op */
static PyObject *shortcut_of(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("shortcut_of", count, 4))
        return NULL;
    const struct kind *kind = kinds;
    while (kind->name && PyUnicode_CompareWithASCIIString(args[0], kind->name) != 0)
        kind++;
    if (!kind->name || PyTuple_Size(args[2]) != 1 + kind->inputs)
        return PyErr_Format(PyExc_ValueError, "shortcut_of: %R", args[0]);
    allocfunc alloc = (allocfunc)PyType_GetSlot(state->shortcut_type, Py_tp_alloc);
    OpShortcut *op = (OpShortcut *)alloc(state->shortcut_type, 0);
    if (!op)
        return NULL;
    op->kind = kind;
    op->row = Py_NewRef(args[1]);
    for (Py_ssize_t i = 0; i <= kind->inputs; i++)
        op->keeps[i] = PyObject_IsTrue(PyTuple_GetItem(args[2], i));
    op->reads = (int)PyLong_AsLong(args[3]);
    if (PyErr_Occurred())
        Py_CLEAR(op);
    return (PyObject *)op;
}

static void shortcut_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    Py_XDECREF(((OpShortcut *)self)->row);
    release(self);
    Py_DECREF(type);
}

static PyType_Slot shortcut_slots[] = {{Py_tp_dealloc, shortcut_dealloc}, {0, NULL}};
static PyType_Spec shortcut_spec = {
    .name = "tinygrad_act._array.OpShortcut",
    .basicsize = sizeof(OpShortcut),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = shortcut_slots,
};

/* Put the values of a dict after the others; 0 if there are too many. */
static int add_values(PyObject **args, Py_ssize_t *count, PyObject *attrs)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;
    if (!PyDict_CheckExact(attrs) || PyDict_Size(attrs) > MOST_ATTRS)
        return 0;
    while (PyDict_Next(attrs, &at, &key, &value))
        args[(*count)++] = value;
    return 1;
}

/* ---- an op applied ---------------------------------------------------------------------------- */

/* The Node of an application: `arrays` are its inputs, `origins` the nodes that made them. */
static PyObject *new_node(State *state, const OpShortcut *shortcut, PyObject *op, PyObject *attrs,
                          PyObject *y, PyObject *const *arrays, PyObject *const *origins)
{
    const Engine *engine = &state->engine;
    const Py_ssize_t inputs = shortcut->kind->inputs;
    PyObject *node = engine->new_node(engine->node, 0);
    PyObject *parents = PyTuple_New(inputs), *saved = PyTuple_New(1 + inputs);
    if (node && parents && saved) {
        for (Py_ssize_t i = 0; i < inputs; i++)
            PyTuple_SetItem(parents, i, Py_NewRef(origins[i]));
        for (Py_ssize_t i = 0; i <= inputs; i++) {
            PyObject *x = i ? arrays[i - 1] : y;
            PyTuple_SetItem(saved, i, Py_NewRef(shortcut->keeps[i] ? x : ((Array *)x)->shape));
        }
        set_slot(node, engine->op, op);
        set_slot(node, engine->parents, parents);
        set_slot(node, engine->saved, saved);
        set_slot(node, engine->attrs, attrs);
        set_slot(node, engine->time, state->writes);
    } else {
        Py_CLEAR(node);
    }
    Py_XDECREF(parents);
    Py_XDECREF(saved);
    return node;
}

/* A number of Python's as an array of the dtype of what it meets; NULL if it cannot be. */
static PyObject *array_of_number(State *state, PyObject *number, PyObject *other)
{
    const Array *like = other ? as_array(state, other) : NULL;
    if (!like || !is_float(like) || !(PyFloat_CheckExact(number) || PyLong_CheckExact(number)))
        return NULL;
    const double value = PyFloat_AsDouble(number);
    Array *x = PyErr_Occurred() ? NULL : tga_array_number(state, like->code, value);
    PyErr_Clear(); /* the long way says what is wrong */
    return (PyObject *)x;
}

/* An op with all of its attributes, applied to as many inputs as it has: a Tensor; an Array, if
 * there is no Tensor among them; None if this is not a plain case. */
static PyObject *applied(PyObject *module, const OpShortcut *shortcut, PyObject *op,
                         PyObject *attrs, PyObject *const *items)
{
    State *state = state_of(module);
    Engine *engine = &state->engine;
    const Py_ssize_t inputs = shortcut->kind->inputs;
    PyObject *given[1 + MOST_INPUTS + MOST_ATTRS], **arrays = given, *origins[MOST_INPUTS];
    if (shortcut->row != Py_None)
        *arrays++ = shortcut->row;
    Py_ssize_t tensors = 0, numbers = 0, number = 0, filled = arrays - given + inputs;
    int any_origin = 0;
    for (Py_ssize_t i = 0; i < inputs; i++) {
        PyObject *x = items[i];
        origins[i] = Py_None;
        arrays[i] = NULL;
        if (is_tensor(engine, x)) {
            tensors++;
            arrays[i] = SLOT(x, engine->array);
            origins[i] = SLOT(x, engine->origin);
            any_origin |= origins[i] != Py_None;
        } else if (as_array(state, x)) {
            arrays[i] = x;
        } else {
            numbers++;
            number = i;
        }
    }
    const Py_ssize_t other = inputs == 3 ? 3 - number : 1 - number; /* which the number meets */
    if (numbers > (inputs >= 2) || (numbers && other == 3) ||
        !add_values(given, &filled, attrs))
        Py_RETURN_NONE;
    for (Py_ssize_t i = 0; i < inputs; i++) { /* a Tensor may lose them while others run */
        Py_INCREF(origins[i]);
        Py_XINCREF(arrays[i]);
    }
    if (numbers)
        arrays[number] = array_of_number(state, items[number], arrays[other]);

    PyObject *y = numbers && !arrays[number] ? Py_NewRef(Py_None)
                                             : shortcut->kind->forward(module, given, filled);
    PyObject *result = y;
    if (y && y != Py_None && tensors) {
        const int recorded = any_origin && is_float((Array *)y) ? is_recording(engine) : 0;
        PyObject *node = recorded > 0 ? new_node(state, shortcut, op, attrs, y, arrays, origins)
                         : recorded   ? NULL
                                      : Py_NewRef(Py_None);
        result = node ? tga_tensor_new(state, y, node) : NULL;
        Py_DECREF(y);
        Py_XDECREF(node);
    }
    for (Py_ssize_t i = 0; i < inputs; i++) {
        Py_DECREF(origins[i]);
        Py_XDECREF(arrays[i]);
    }
    return result;
}

/* What C knows of an op, if it has so many inputs; else NULL. */
static const OpShortcut *as_shortcut(State *state, PyObject *shortcut, Py_ssize_t inputs)
{
    if (Py_TYPE(shortcut) != state->shortcut_type)
        return NULL;
    return ((OpShortcut *)shortcut)->kind->inputs == inputs ? (OpShortcut *)shortcut : NULL;
}

/* quick_apply(shortcut, op, attrs, inputs ...) -> Tensor; if there are none among them, Array */
static PyObject *quick_apply(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count < 4)
        return expect("quick_apply", count, 4), NULL;
    const OpShortcut *shortcut = as_shortcut(state_of(module), args[0], count - 3);
    return shortcut ? applied(module, shortcut, args[1], args[2], args + 3) : Py_NewRef(Py_None);
}

/* The attributes of a call: the defaults, those given by name in their place.  NULL, perhaps
 * without an exception, if there is one that the op does not have. */
static PyObject *completed(PyObject *defaults, PyObject *by_name)
{
    PyObject *attrs = PyDict_Copy(defaults);
    if (attrs && (PyDict_Update(attrs, by_name) < 0 || PyDict_Size(attrs) > PyDict_Size(defaults)))
        Py_CLEAR(attrs);
    return attrs;
}

/* quick_call(shortcut, op, defaults, inputs, attributes by name), as of a call of the op: op.py */
static PyObject *quick_call(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *items[MOST_INPUTS];
    if (!expect("quick_call", count, 5))
        return NULL;
    const Py_ssize_t inputs = PyTuple_CheckExact(args[3]) ? PyTuple_Size(args[3]) : -1;
    const OpShortcut *shortcut = as_shortcut(state_of(module), args[0], inputs);
    if (!shortcut || !PyDict_CheckExact(args[2]) || !PyDict_CheckExact(args[4]))
        Py_RETURN_NONE;
    for (Py_ssize_t i = 0; i < inputs; i++)
        items[i] = PyTuple_GetItem(args[3], i);
    PyObject *attrs = PyDict_Size(args[4]) ? completed(args[2], args[4]) : Py_NewRef(args[2]);
    if (!attrs)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    PyObject *result = applied(module, shortcut, args[1], attrs, items);
    Py_DECREF(attrs);
    return result;
}

/* ---- the walk --------------------------------------------------------------------------------- */

/* A node on the way. */
typedef struct {
    PyObject *node, *parents; /* parents: NULL of a leaf */
    PyObject *gradient;       /* NULL if none has arrived */
    Py_ssize_t users;         /* edges to it over which none has arrived */
    int is_sum;               /* whether the gradient is a sum made here */
} Visit;

enum { FEW = 16 };

typedef struct {
    Py_ssize_t count, room;
    Visit *visits;       /* in the order in which they were found, leaves last */
    Py_ssize_t *buckets; /* a hash table of 2 * room places: an index into visits, or -1 */
    Py_ssize_t *ready;   /* the nodes whose turn has come */
    Visit few_visits[FEW];
    Py_ssize_t few_buckets[2 * FEW], few_ready[FEW]; /* where these begin */
} Walk;

static void begin(Walk *walk)
{
    walk->count = 0;
    walk->room = FEW;
    walk->visits = walk->few_visits;
    walk->buckets = walk->few_buckets;
    walk->ready = walk->few_ready;
    memset(walk->buckets, -1, sizeof walk->few_buckets);
}

static void release(Walk *walk)
{
    if (walk->room > FEW) {
        PyMem_Free(walk->visits);
        PyMem_Free(walk->buckets);
        PyMem_Free(walk->ready);
    }
}

static void end(Walk *walk)
{
    for (Py_ssize_t i = 0; i < walk->count; i++) {
        Py_DECREF(walk->visits[i].node);
        Py_XDECREF(walk->visits[i].parents);
        Py_XDECREF(walk->visits[i].gradient);
    }
    release(walk);
}

/* Where the table has the index of an object, or would have it. */
static Py_ssize_t *bucket_of(const Walk *walk, PyObject *node)
{
    const size_t mask = 2 * (size_t)walk->room - 1;
    size_t at = ((uint64_t)(uintptr_t)node * 0x9E3779B97F4A7C15u >> 32) & mask;
    while (walk->buckets[at] >= 0 && walk->visits[walk->buckets[at]].node != node)
        at = (at + 1) & mask;
    return &walk->buckets[at];
}

/* Double the room. */
static int grow(Walk *walk)
{
    const size_t room = 2 * (size_t)walk->room;
    Visit *visits = PyMem_Malloc(room * sizeof *visits);
    Py_ssize_t *buckets = PyMem_Malloc(2 * room * sizeof *buckets);
    Py_ssize_t *ready = PyMem_Malloc(room * sizeof *ready);
    if (!visits || !buckets || !ready) {
        PyMem_Free(visits);
        PyMem_Free(buckets);
        PyMem_Free(ready);
        return PyErr_NoMemory(), 0;
    }
    memcpy(visits, walk->visits, (size_t)walk->count * sizeof *visits);
    memcpy(ready, walk->ready, (size_t)walk->room * sizeof *ready);
    memset(buckets, -1, 2 * room * sizeof *buckets);
    release(walk);
    walk->room = (Py_ssize_t)room;
    walk->visits = visits;
    walk->buckets = buckets;
    walk->ready = ready;
    for (Py_ssize_t i = 0; i < walk->count; i++)
        *bucket_of(walk, visits[i].node) = i;
    return 1;
}

/* The index of an object, which is entered if it is new; -1 with an exception. */
static Py_ssize_t index_of(Walk *walk, PyObject *node)
{
    if (walk->count == walk->room && !grow(walk))
        return -1;
    Py_ssize_t *bucket = bucket_of(walk, node);
    if (*bucket < 0) {
        walk->visits[walk->count] = (Visit){.node = Py_NewRef(node)};
        *bucket = walk->count++;
    }
    return *bucket;
}

/* Find every node that the first was computed from, but for leaves, and count its users.  0 if
 * there is one that has been freed or is of another kind; or with an exception. */
static int count_users(const Engine *engine, Walk *walk)
{
    for (Py_ssize_t i = 0; i < walk->count; i++) {
        PyObject *node = walk->visits[i].node;
        if (Py_TYPE(node) != engine->node)
            return 0;
        PyObject *parents = SLOT(node, engine->parents), *saved = SLOT(node, engine->saved);
        if (!parents || !saved || !PyTuple_CheckExact(parents) || saved == Py_None)
            return 0;
        walk->visits[i].parents = Py_NewRef(parents);
        const Py_ssize_t length = PyTuple_Size(parents);
        for (Py_ssize_t k = 0; k < length; k++) {
            PyObject *parent = PyTuple_GetItem(parents, k);
            if (parent == Py_None || Py_TYPE(parent) == engine->leaf)
                continue;
            const Py_ssize_t index = index_of(walk, parent);
            if (index < 0)
                return 0;
            walk->visits[index].users++;
        }
    }
    return 1;
}

/* ---- the chain rule --------------------------------------------------------------------------- */

/* Whether no array of `saved` has been written to since; else Python says what is wrong. */
static int is_fresh(State *state, PyObject *saved, PyObject *time)
{
    if (time == state->writes)
        return 1;
    const long long since = PyLong_AsLongLong(time);
    for (Py_ssize_t i = 0; i < PyTuple_Size(saved); i++) {
        const Array *x = as_array(state, PyTuple_GetItem(saved, i));
        if (x && ((Memory *)x->memory)->version > since)
            return 0;
    }
    return 1;
}

/* The gradients of a node's inputs by a function of shortcuts.c: an Array or a tuple; None if they
 * must be asked of Python, NULL with an exception. */
static PyObject *pull_back_quickly(PyObject *module, const OpShortcut *shortcut, PyObject *node,
                                   PyObject *parents, PyObject *gy)
{
    State *state = state_of(module);
    const Engine *engine = &state->engine;
    PyObject *saved = SLOT(node, engine->saved), *attrs = SLOT(node, engine->attrs);
    PyObject *time = SLOT(node, engine->time);
    const Py_ssize_t inputs = shortcut->kind->inputs;
    if (!shortcut->kind->backward || !saved || !attrs || !time || !PyTuple_CheckExact(saved) ||
        PyTuple_Size(saved) != 1 + inputs || PyTuple_Size(parents) != inputs ||
        !is_fresh(state, saved, time))
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);

    PyObject *given[2 + MOST_INPUTS + MOST_ATTRS];
    Py_ssize_t filled = 0;
    if (shortcut->row != Py_None) { /* (row, gy, what the row reads, attributes ...) */
        given[filled++] = shortcut->row;
        given[filled++] = gy;
        given[filled++] = shortcut->reads < 0 ? gy : PyTuple_GetItem(saved, shortcut->reads);
        if (!add_values(given, &filled, attrs))
            Py_RETURN_NONE;
    } else { /* (gy, inputs ..., parents) */
        given[filled++] = gy;
        for (Py_ssize_t i = 1; i <= inputs; i++)
            given[filled++] = PyTuple_GetItem(saved, i);
        given[filled++] = parents;
    }
    Py_INCREF(saved); /* while Python's lock may be given away */
    PyObject *result = shortcut->kind->backward(module, given, filled);
    Py_DECREF(saved);
    return result;
}

/* The same from wherever, an Array or a tuple. */
static PyObject *pull_back(PyObject *module, PyObject *node, PyObject *parents, PyObject *gy)
{
    State *state = state_of(module);
    const Engine *engine = &state->engine;
    PyObject *op = SLOT(node, engine->op);
    PyObject *shortcut = op ? PyObject_GetAttr(op, engine->shortcut) : NULL, *found = NULL;
    PyErr_Clear(); /* an op that is none of op.py's is asked in Python, too */
    if (shortcut && Py_TYPE(shortcut) == state->shortcut_type)
        found = pull_back_quickly(module, (OpShortcut *)shortcut, node, parents, gy);
    else
        found = Py_NewRef(Py_None);
    Py_XDECREF(shortcut);
    if (found == Py_None) {
        Py_DECREF(found);
        found = PyObject_CallFunctionObjArgs(engine->pull_back, node, gy, NULL);
        if (found && !PyTuple_CheckExact(found)) {
            PyObject *tuple = PySequence_Tuple(found);
            Py_DECREF(found);
            found = tuple;
        }
    }
    return found;
}

/* x + y, in x itself if nobody else holds it. */
static PyObject *sum_of(PyObject *module, PyObject *x, PyObject *y, int in_place)
{
    PyObject *given[] = {state_of(module)->engine.add_row, x, y};
    PyObject *sum = (in_place ? quick_add_to : quick_binary)(module, given, 3);
    if (sum == Py_None) {
        Py_DECREF(sum);
        sum = PyNumber_Add(x, y);
    }
    return sum;
}

/* Pass a gradient on to a parent. */
static int pass_on(PyObject *module, Walk *walk, PyObject *parent, PyObject *contribution,
                   Py_ssize_t *last)
{
    if (parent == Py_None)
        return 1;
    const Py_ssize_t index = index_of(walk, parent);
    if (index < 0)
        return 0;
    Visit *visit = &walk->visits[index];
    PyObject *before = visit->gradient;
    if (!before) {
        visit->gradient = Py_NewRef(contribution);
    } else {
        visit->gradient = sum_of(module, before, contribution, visit->is_sum);
        visit->is_sum = 1;
        Py_DECREF(before);
        if (!visit->gradient)
            return 0;
    }
    if (Py_TYPE(parent) != state_of(module)->engine.leaf && --visit->users == 0)
        walk->ready[(*last)++] = index;
    return 1;
}

/* What a node is given: its gradient, added to what was there before if that is a Tensor; a new
 * Tensor in memory that is not among those `taken`. */
static PyObject *total_of(PyObject *module, PyObject *before, PyObject *gradient, Walk *taken)
{
    State *state = state_of(module);
    const Engine *engine = &state->engine;
    PyObject *own, *tensor = NULL;
    if (before && is_tensor(engine, before)) {
        PyObject *array = Py_NewRef(SLOT(before, engine->array));
        own = sum_of(module, array, gradient, 0);
        Py_DECREF(array);
    } else {
        own = Py_NewRef(gradient);
    }
    const Array *x = own ? as_array(state, own) : NULL;
    if (x && (!is_contiguous(x) || *bucket_of(taken, x->memory) >= 0)) {
        PyObject *copy = PyObject_CallFunctionObjArgs(engine->convert, x, x->dtype, NULL);
        Py_DECREF(own);
        own = copy;
        x = own ? as_array(state, own) : NULL;
    }
    if (x && index_of(taken, x->memory) >= 0)
        tensor = tga_tensor_new(state, own, Py_None);
    if (own && !x)
        PyErr_Format(PyExc_TypeError, "backward: a gradient is no Array: %R", own);
    Py_XDECREF(own);
    return tensor;
}

/* Add a gradient to the `grad` of a leaf, or put it in `found`, a dict, under the node. */
static int deliver(PyObject *module, PyObject *node, PyObject *gradient, Walk *taken,
                   PyObject *found)
{
    const Py_ssize_t grad = state_of(module)->engine.grad;
    int done = 0, overtaken = 1;
    while (overtaken) { /* by another thread, which has delivered to this leaf meanwhile */
        PyObject *before = found ? NULL : Py_XNewRef(SLOT(node, grad));
        PyObject *total = total_of(module, before, gradient, taken);
        overtaken = total && !found && SLOT(node, grad) != before;
        done = total && (!found || PyDict_SetItem(found, node, total) == 0);
        if (done && !found && !overtaken)
            set_slot(node, grad, total);
        Py_XDECREF(before);
        Py_XDECREF(total);
    }
    return done;
}

/* A node's turn: the gradients of its inputs, each to its parent. */
static int take_turn(PyObject *module, Walk *walk, Py_ssize_t turn, int retain, Py_ssize_t *last)
{
    Visit *visit = &walk->visits[walk->ready[turn]];
    PyObject *node = visit->node, *parents = visit->parents, *gradient = visit->gradient;
    visit->gradient = NULL;
    PyObject *found = pull_back(module, node, parents, gradient);
    Py_DECREF(gradient);
    if (!found)
        return 0;
    if (!retain)
        set_slot(node, state_of(module)->engine.saved, Py_None);
    int done = 1;
    if (PyTuple_CheckExact(found)) {
        Py_ssize_t length = PyTuple_Size(parents);
        length = PyTuple_Size(found) < length ? PyTuple_Size(found) : length;
        for (Py_ssize_t k = 0; done && k < length; k++)
            done = pass_on(module, walk, PyTuple_GetItem(parents, k), PyTuple_GetItem(found, k),
                           last);
    } else {
        done = pass_on(module, walk, PyTuple_GetItem(parents, 0), found, last);
    }
    Py_DECREF(found);
    return done;
}

/* The gradient with which backward begins, an Array; NULL if there is something to say. */
static PyObject *seed_of(State *state, PyObject *output, PyObject *gradient)
{
    const Engine *engine = &state->engine;
    const Array *y = as_array(state, SLOT(output, engine->array));
    if (!y)
        return NULL;
    if (gradient == Py_None) {
        Array *one = y->size == 1 ? tga_array_like(state, y) : NULL;
        if (one)
            tga_fill(one->code, 1, 1.0, one->start);
        return (PyObject *)one;
    }
    if (!is_tensor(engine, gradient))
        return NULL;
    PyObject *seed = SLOT(gradient, engine->array);
    const Array *gy = as_array(state, seed);
    return gy && gy->code == y->code && same_shape(gy, y) ? Py_NewRef(seed) : NULL;
}

/* The walk from the node in visit 0, whose gradient is `seed`: graph.backward. */
static int walk_back(PyObject *module, Walk *walk, PyObject *seed, int retain, PyObject *found)
{
    const Py_ssize_t leaves = walk->count;
    Py_ssize_t last = 0;
    Walk taken;
    begin(&taken);
    int done = index_of(&taken, ((Array *)seed)->memory) >= 0;
    walk->visits[0].gradient = Py_NewRef(seed);
    walk->ready[last++] = 0;
    for (Py_ssize_t turn = 0; done && turn < last; turn++) {
        const Visit *visit = &walk->visits[walk->ready[turn]];
        const int wanted = found ? PyDict_Contains(found, visit->node) : 0;
        done = wanted >= 0 &&
               (!wanted || deliver(module, visit->node, visit->gradient, &taken, found)) &&
               take_turn(module, walk, turn, retain, &last) &&
               PyErr_CheckSignals() == 0; /* Ctrl-C */
    }
    for (Py_ssize_t i = leaves; done && i < walk->count; i++) {
        PyObject *leaf = walk->visits[i].node;
        const int wanted = found ? PyDict_Contains(found, leaf) : 1;
        done = wanted >= 0 &&
               (!wanted || deliver(module, leaf, walk->visits[i].gradient, &taken, found));
    }
    end(&taken);
    return done;
}

/* quick_backward(Tensor, gradient or None, retain_graph, found) -> True.  found: None, and the
 * gradients go to the leaves; or a dict, of which each key is a node that gets its own. */
static PyObject *quick_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    const Engine *engine = &state->engine;
    if (!expect("quick_backward", count, 4))
        return NULL;
    const int retain = PyObject_IsTrue(args[2]);
    if (retain < 0 || !is_tensor(engine, args[0]))
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    PyObject *root = SLOT(args[0], engine->origin);
    PyObject *seed = Py_TYPE(root) == engine->node ? seed_of(state, args[0], args[1]) : NULL;
    if (!seed)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);

    Walk walk;
    begin(&walk);
    const int begun = index_of(&walk, root) == 0 && count_users(engine, &walk);
    PyObject *found = PyDict_CheckExact(args[3]) ? args[3] : NULL;
    const int done = begun && walk_back(module, &walk, seed, retain, found);
    end(&walk);
    Py_DECREF(seed);
    if (done)
        Py_RETURN_TRUE;
    return begun || PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* ---- the module ------------------------------------------------------------------------------- */

/* The place of a slot in the objects of a class: where a value appears when Python sets it. */
static int find_slot(Py_ssize_t *place, PyTypeObject *type, const char *name)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *object = alloc(type, 0), *size = NULL;
    *place = 0;
    if (object && PyObject_SetAttrString(object, name, (PyObject *)type) == 0 &&
        (size = PyObject_GetAttrString((PyObject *)type, "__basicsize__"))) {
        const Py_ssize_t after = PyLong_AsSsize_t(size);
        for (Py_ssize_t at = sizeof(PyObject); at < after; at += (Py_ssize_t)sizeof(PyObject *))
            if (SLOT(object, at) == (PyObject *)type)
                *place = at;
        if (!*place)
            PyErr_Format(PyExc_TypeError, "%R: %s is no slot", type, name);
    }
    Py_XDECREF(object);
    Py_XDECREF(size);
    return *place > 0;
}

/* configure_engine(Tensor, Node, Leaf, mode, pull_back, convert, row of add): see Engine */
static PyObject *configure_engine(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Engine *engine = &state_of(module)->engine;
    if (!expect("configure_engine", count, 7))
        return NULL;
    engine->tensor = (PyTypeObject *)Py_NewRef(args[0]);
    engine->node = (PyTypeObject *)Py_NewRef(args[1]);
    engine->leaf = (PyTypeObject *)Py_NewRef(args[2]);
    engine->mode = Py_NewRef(args[3]);
    engine->pull_back = Py_NewRef(args[4]);
    engine->convert = Py_NewRef(args[5]);
    engine->add_row = Py_NewRef(args[6]);
    engine->recording = PyUnicode_InternFromString("recording");
    engine->shortcut = PyUnicode_InternFromString("shortcut");
    engine->new_tensor = (allocfunc)PyType_GetSlot(engine->tensor, Py_tp_alloc);
    engine->new_node = (allocfunc)PyType_GetSlot(engine->node, Py_tp_alloc);
    if (!engine->recording || !engine->shortcut ||
        !find_slot(&engine->array, engine->tensor, "array") ||
        !find_slot(&engine->origin, engine->tensor, "node") ||
        !find_slot(&engine->op, engine->node, "op") ||
        !find_slot(&engine->parents, engine->node, "parents") ||
        !find_slot(&engine->saved, engine->node, "saved") ||
        !find_slot(&engine->attrs, engine->node, "attrs") ||
        !find_slot(&engine->time, engine->node, "time") ||
        !find_slot(&engine->grad, engine->leaf, "grad"))
        return NULL;
    Py_RETURN_NONE;
}

PyMethodDef tga_eager_functions[] = {
    FUNCTION(configure_engine),
    FUNCTION(shortcut_of),
    FUNCTION(quick_apply),
    FUNCTION(quick_call),
    FUNCTION(quick_backward),
    {0},
};

int tga_eager_types(PyObject *module)
{
    State *state = state_of(module);
    state->shortcut_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &shortcut_spec, NULL);
    return state->shortcut_type != NULL;
}
