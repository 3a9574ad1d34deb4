/* eager.c: an op applied to Tensors and written down, and backward, each in one call.
 *
 * tensor.py says what happens when an op is applied, graph.py what backward is; with both, an op
 * on a few numbers spends its time in Python.  Here is the plain case of the same: of an op whose
 * kernel has a shortcut in array.c the result, its Tensor and its Node are made in one call, and
 * the chain rule runs over a graph without asking Python at nodes of that kind.  Everything else
 * is declined, or asked of Python.  As with all shortcuts nothing here is needed for a result, and
 * the tests compare both ways bit by bit.
 *
 * Tensor, Node and Leaf are classes written in Python; their slots are read and set here through
 * their descriptors.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "array.h"

/* ---- Tensors and Nodes ------------------------------------------------------------------------ */

/* A new reference; NULL with an exception where the slot is empty. */
static PyObject *get(const Field *field, PyObject *object)
{
    return field->get(field->descriptor, object, (PyObject *)Py_TYPE(object));
}

static int set(const Field *field, PyObject *object, PyObject *value)
{
    return field->set(field->descriptor, object, value) == 0;
}

static PyObject *new_tensor(const Engine *engine, PyObject *array, PyObject *node)
{
    PyObject *tensor = engine->new_tensor(engine->tensor, 0);
    if (tensor && set(&engine->array, tensor, array) && set(&engine->tensor_node, tensor, node))
        return tensor;
    Py_XDECREF(tensor);
    return NULL;
}

PyObject *tga_tensor_new(State *state, PyObject *array, PyObject *node)
{
    return new_tensor(&state->engine, array, node);
}

static int is_recording(const Engine *engine)
{
    PyObject *recording = PyObject_GetAttr(engine->mode, engine->recording);
    const int truth = recording ? PyObject_IsTrue(recording) : -1;
    Py_XDECREF(recording);
    return truth;
}

/* ---- what C knows of an op -------------------------------------------------------------------- */

enum { MOST_INPUTS = 3, MOST_ATTRS = 2 };

/* Which functions of array.c an op is computed by. */
static const struct kind {
    const char *name;
    Py_ssize_t inputs;
    Shortcut *forward, *backward; /* no backward: the op's own, in Python */
} kinds[] = {
    {"unary", 1, quick_unary, quick_unary_backward},
    {"binary", 2, quick_binary, NULL},
    {"matmul", 2, quick_matmul, quick_matmul_backward},
    {"linear", 3, quick_linear, quick_linear_backward},
    {0},
};

typedef struct {
    PyObject_HEAD
    const struct kind *kind;
    PyObject *row;             /* of the .def file, or None */
    int keeps[1 + MOST_INPUTS]; /* whether output and inputs are saved whole, or their shape */
    int reads;                 /* which of them the backward of a unary row reads; -1 for none */
} Known;

/* known(kind, row or None, keeps, reads): for the attribute `known` of an op */
static PyObject *known(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("known", count, 4))
        return NULL;
    const struct kind *kind = kinds;
    while (kind->name && PyUnicode_CompareWithASCIIString(args[0], kind->name) != 0)
        kind++;
    if (!kind->name || PyTuple_Size(args[2]) != 1 + kind->inputs)
        return PyErr_Format(PyExc_ValueError, "known: %R", args[0]);
    allocfunc alloc = (allocfunc)PyType_GetSlot(state->known_type, Py_tp_alloc);
    Known *op = (Known *)alloc(state->known_type, 0);
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

static void known_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    Py_XDECREF(((Known *)self)->row);
    release(self);
    Py_DECREF(type);
}

static PyType_Slot known_slots[] = {{Py_tp_dealloc, known_dealloc}, {0, NULL}};
static PyType_Spec known_spec = {
    .name = "tinygrad_act._array.Known",
    .basicsize = sizeof(Known),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = known_slots,
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

/* The Node of an application; a new reference. */
static PyObject *new_node(State *state, const Known *known, PyObject *op, PyObject *attrs,
                          PyObject *y, PyObject *const *arrays, PyObject *const *origins)
{
    const Engine *engine = &state->engine;
    const Py_ssize_t inputs = known->kind->inputs;
    PyObject *node = engine->new_node(engine->node, 0);
    PyObject *parents = PyTuple_New(inputs), *saved = PyTuple_New(1 + inputs);
    int done = node && parents && saved;
    if (done) {
        for (Py_ssize_t i = 0; i < inputs; i++)
            PyTuple_SetItem(parents, i, Py_NewRef(origins[i]));
        for (Py_ssize_t i = 0; i <= inputs; i++) {
            PyObject *x = i ? arrays[i - 1] : y;
            PyTuple_SetItem(saved, i, Py_NewRef(known->keeps[i] ? x : ((Array *)x)->shape));
        }
        done = set(&engine->op, node, op) && set(&engine->parents, node, parents) &&
               set(&engine->saved, node, saved) && set(&engine->attrs, node, attrs) &&
               set(&engine->time, node, state->writes);
    }
    Py_XDECREF(parents);
    Py_XDECREF(saved);
    if (!done)
        Py_CLEAR(node);
    return node;
}

/* quick_apply(known, op, attrs, Tensors ...) -> Tensor */
static PyObject *quick_apply(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    const Engine *engine = &state->engine;
    const Py_ssize_t inputs = count - 3;
    if (inputs < 1 || inputs > MOST_INPUTS)
        return expect("quick_apply", count, 4), NULL;
    if (Py_TYPE(args[0]) != state->known_type)
        Py_RETURN_NONE;
    const Known *known = (Known *)args[0];
    if (inputs != known->kind->inputs)
        Py_RETURN_NONE;
    PyObject *given[1 + MOST_INPUTS + MOST_ATTRS], **arrays = given, *origins[MOST_INPUTS] = {0};
    PyObject *y = NULL, *node = NULL, *result = NULL;
    if (known->row != Py_None)
        *arrays++ = known->row;
    Py_ssize_t got = 0, filled = arrays - given + inputs;
    for (; got < inputs; got++) {
        PyObject *x = args[3 + got];
        if (!PyObject_TypeCheck(x, engine->tensor) || !(arrays[got] = get(&engine->array, x)))
            break;
    }
    if (got == inputs && add_values(given, &filled, args[2]))
        y = known->kind->forward(module, given, filled);
    if (y && y != Py_None) {
        int recorded = 0;
        for (Py_ssize_t i = 0; i < inputs; i++) {
            origins[i] = get(&engine->tensor_node, args[3 + i]);
            recorded |= origins[i] && origins[i] != Py_None;
        }
        if (recorded && !PyErr_Occurred())
            recorded = is_recording(engine);
        if (recorded)
            node = new_node(state, known, args[1], args[2], y, arrays, origins);
        else
            node = Py_NewRef(Py_None);
        if (node && !PyErr_Occurred())
            result = new_tensor(engine, y, node);
    }
    for (Py_ssize_t i = 0; i < got; i++) {
        Py_DECREF(arrays[i]);
        Py_XDECREF(origins[i]);
    }
    Py_XDECREF(y);
    Py_XDECREF(node);
    return result || PyErr_Occurred() ? result : Py_NewRef(Py_None);
}

/* ---- the chain rule --------------------------------------------------------------------------- */

/* A node on the way. */
typedef struct {
    PyObject *node, *parents; /* parents: NULL of a leaf */
    PyObject *gradient;       /* NULL if none has arrived */
    Py_ssize_t users;         /* edges to it over which none has arrived */
    int is_sum;               /* whether the gradient is a sum made here */
} Visit;

typedef struct {
    Py_ssize_t count, room;
    Visit *visits;       /* in the order in which they were found, leaves last */
    Py_ssize_t *buckets; /* a hash table of 2 * room places: an index into visits, or -1 */
    Py_ssize_t *ready;   /* the nodes whose turn has come */
} Graph;

static Py_ssize_t *bucket_of(const Graph *graph, PyObject *node)
{
    const size_t mask = 2 * (size_t)graph->room - 1;
    size_t at = ((size_t)node >> 4) * (size_t)0x9E3779B97F4A7C15u >> 20 & mask;
    while (graph->buckets[at] >= 0 && graph->visits[graph->buckets[at]].node != node)
        at = (at + 1) & mask;
    return &graph->buckets[at];
}

static int grow(Graph *graph)
{
    const Py_ssize_t room = graph->room ? 2 * graph->room : 32;
    Visit *visits = PyMem_Realloc(graph->visits, (size_t)room * sizeof *visits);
    graph->visits = visits ? visits : graph->visits;
    Py_ssize_t *ready = PyMem_Realloc(graph->ready, (size_t)room * sizeof *ready);
    graph->ready = ready ? ready : graph->ready;
    Py_ssize_t *buckets = PyMem_Realloc(graph->buckets, 2 * (size_t)room * sizeof *buckets);
    graph->buckets = buckets ? buckets : graph->buckets;
    if (!visits || !ready || !buckets)
        return PyErr_NoMemory(), 0;
    graph->room = room;
    memset(buckets, -1, 2 * (size_t)room * sizeof *buckets);
    for (Py_ssize_t i = 0; i < graph->count; i++)
        *bucket_of(graph, graph->visits[i].node) = i;
    return 1;
}

/* The index of a node, which is entered if it is new; -1 with an exception. */
static Py_ssize_t index_of(Graph *graph, PyObject *node)
{
    if (graph->count == graph->room && !grow(graph))
        return -1;
    Py_ssize_t *bucket = bucket_of(graph, node);
    if (*bucket < 0) {
        graph->visits[graph->count] = (Visit){.node = Py_NewRef(node)};
        *bucket = graph->count++;
    }
    return *bucket;
}

static void forget(Graph *graph)
{
    for (Py_ssize_t i = 0; i < graph->count; i++) {
        Py_DECREF(graph->visits[i].node);
        Py_XDECREF(graph->visits[i].parents);
        Py_XDECREF(graph->visits[i].gradient);
    }
    PyMem_Free(graph->visits);
    PyMem_Free(graph->ready);
    PyMem_Free(graph->buckets);
}

/* Find every node that the first was computed from, but for leaves, and count its users.  0 if
 * one has been freed, or with an exception. */
static int count_users(const Engine *engine, Graph *graph)
{
    for (Py_ssize_t i = 0; i < graph->count; i++) {
        PyObject *node = graph->visits[i].node;
        PyObject *saved = get(&engine->saved, node), *parents = get(&engine->parents, node);
        graph->visits[i].parents = parents;
        Py_XDECREF(saved); /* the node still holds it */
        if (!saved || saved == Py_None || !parents)
            return 0;
        const Py_ssize_t length = PyTuple_Size(parents);
        for (Py_ssize_t k = 0; k < length; k++) {
            PyObject *parent = PyTuple_GetItem(parents, k);
            if (parent == Py_None || Py_TYPE(parent) == engine->leaf)
                continue;
            const Py_ssize_t found = index_of(graph, parent);
            if (found < 0)
                return 0;
            graph->visits[found].users++;
        }
    }
    return 1;
}

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

/* The gradients of a node's inputs by a function of array.c: a new reference to an Array or a
 * tuple, None if it must be asked of Python, NULL with an exception. */
static PyObject *pull_back_quickly(PyObject *module, PyObject *node, PyObject *parents,
                                   PyObject *gy)
{
    State *state = state_of(module);
    const Engine *engine = &state->engine;
    PyObject *op = get(&engine->op, node), *saved = get(&engine->saved, node);
    PyObject *attrs = get(&engine->attrs, node), *time = get(&engine->time, node);
    PyObject *about = op ? PyObject_GetAttr(op, engine->known) : NULL, *result = NULL;
    const int is_known = about && Py_TYPE(about) == state->known_type;
    const struct kind *kind = is_known ? ((Known *)about)->kind : NULL;
    const Py_ssize_t inputs = kind ? kind->inputs : 0;
    if (kind && kind->backward && saved && attrs && time && PyTuple_Size(saved) == 1 + inputs &&
        PyTuple_Size(parents) == inputs && is_fresh(state, saved, time)) {
        const Known *known = (Known *)about;
        PyObject *given[3 + MOST_INPUTS + MOST_ATTRS];
        Py_ssize_t filled = 0;
        if (known->row != Py_None) { /* (row, gy, what the row reads, attributes ...) */
            given[filled++] = known->row;
            given[filled++] = gy;
            given[filled++] = known->reads < 0 ? gy : PyTuple_GetItem(saved, known->reads);
            if (add_values(given, &filled, attrs))
                result = kind->backward(module, given, filled);
        } else { /* (gy, inputs ..., parents) */
            given[filled++] = gy;
            for (Py_ssize_t i = 1; i <= inputs; i++)
                given[filled++] = PyTuple_GetItem(saved, i);
            given[filled++] = parents;
            result = kind->backward(module, given, filled);
        }
    }
    Py_XDECREF(op);
    Py_XDECREF(saved);
    Py_XDECREF(attrs);
    Py_XDECREF(time);
    Py_XDECREF(about);
    return result || PyErr_Occurred() ? result : Py_NewRef(Py_None);
}

/* The same as a tuple, from wherever. */
static PyObject *pull_back(PyObject *module, PyObject *node, PyObject *parents, PyObject *gy)
{
    State *state = state_of(module);
    PyObject *found = pull_back_quickly(module, node, parents, gy);
    if (found == Py_None) {
        Py_DECREF(found);
        found = PyObject_CallFunctionObjArgs(state->engine.pull_back, node, gy, NULL);
    }
    if (!found || PyTuple_CheckExact(found))
        return found;
    PyObject *tuple = as_array(state, found) ? PyTuple_Pack(1, found) : PySequence_Tuple(found);
    Py_DECREF(found);
    return tuple;
}

/* x + y, in x itself if nobody else holds it; a new reference. */
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

/* Pass the gradient on to a node's parents. */
static int pass_on(PyObject *module, Graph *graph, PyObject *parents, PyObject *contributions,
                   Py_ssize_t *last)
{
    const Engine *engine = &state_of(module)->engine;
    Py_ssize_t length = PyTuple_Size(parents);
    if (PyTuple_Size(contributions) < length)
        length = PyTuple_Size(contributions);
    for (Py_ssize_t k = 0; k < length; k++) {
        PyObject *parent = PyTuple_GetItem(parents, k);
        if (parent == Py_None)
            continue;
        const Py_ssize_t index = index_of(graph, parent);
        if (index < 0)
            return 0;
        PyObject *contribution = PyTuple_GetItem(contributions, k);
        Visit *visit = &graph->visits[index];
        if (!visit->gradient) {
            visit->gradient = Py_NewRef(contribution);
        } else {
            PyObject *before = visit->gradient;
            PyObject *sum = sum_of(module, before, contribution, visit->is_sum);
            if (!sum)
                return 0;
            visit = &graph->visits[index];
            visit->gradient = sum;
            visit->is_sum = 1;
            Py_DECREF(before);
        }
        if (Py_TYPE(parent) != engine->leaf && --visit->users == 0)
            graph->ready[(*last)++] = index;
    }
    return 1;
}

/* x in memory of its own: x itself, or a copy if the memory is `taken` or x is a view. */
static PyObject *own(State *state, Array *x, const Graph *taken)
{
    if (is_contiguous(x) && *bucket_of(taken, x->memory) < 0)
        return Py_NewRef((PyObject *)x);
    return PyObject_CallFunctionObjArgs(state->engine.convert, x, x->dtype, NULL);
}

/* Add the gradients of the leaves, which come from visit `first` on, to their `grad`. */
static int deliver(PyObject *module, const Graph *graph, Py_ssize_t first, PyObject *seed)
{
    State *state = state_of(module);
    const Engine *engine = &state->engine;
    Graph taken = {0};
    int done = index_of(&taken, ((Array *)seed)->memory) >= 0;
    for (Py_ssize_t i = first; done && i < graph->count; i++) {
        PyObject *leaf = graph->visits[i].node, *gradient = Py_NewRef(graph->visits[i].gradient);
        PyObject *before = get(&engine->grad, leaf), *tensor = NULL;
        if (before && before != Py_None) {
            PyObject *array = get(&engine->array, before);
            Py_DECREF(gradient);
            gradient = array ? sum_of(module, array, graph->visits[i].gradient, 0) : NULL;
            Py_XDECREF(array);
        }
        if (gradient && as_array(state, gradient)) {
            PyObject *array = own(state, (Array *)gradient, &taken);
            if (array && index_of(&taken, ((Array *)array)->memory) >= 0)
                tensor = new_tensor(engine, array, Py_None);
            Py_XDECREF(array);
        }
        done = before && tensor && set(&engine->grad, leaf, tensor);
        Py_XDECREF(before);
        Py_XDECREF(gradient);
        Py_XDECREF(tensor);
    }
    forget(&taken);
    return done;
}

/* The gradient with which backward begins, an Array; None if there is something to say. */
static PyObject *seed_of(State *state, PyObject *output, PyObject *gradient)
{
    PyObject *x = get(&state->engine.array, output), *seed = NULL;
    if (gradient == Py_None) {
        Array *y = x ? as_array(state, x) : NULL;
        if (y && y->size == 1 && is_float(y) && (y = tga_array_like(state, y))) {
            tga_fill(y->code, 1, 1.0, y->start);
            seed = (PyObject *)y;
        }
    } else if (PyObject_TypeCheck(gradient, state->engine.tensor)) {
        seed = get(&state->engine.array, gradient);
        const Array *a = x ? as_array(state, x) : NULL, *b = seed ? as_array(state, seed) : NULL;
        if (!a || !b || a->code != b->code || !same_shape(a, b))
            Py_CLEAR(seed);
    }
    Py_XDECREF(x);
    return seed || PyErr_Occurred() ? seed : Py_NewRef(Py_None);
}

/* quick_backward(Tensor, gradient or None, retain_graph) -> True */
static PyObject *quick_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    const Engine *engine = &state->engine;
    if (!expect("quick_backward", count, 3))
        return NULL;
    const int retain = PyObject_IsTrue(args[2]);
    PyObject *root = get(&engine->tensor_node, args[0]);
    if (!root || retain < 0 || root == Py_None || Py_TYPE(root) != engine->node) {
        Py_XDECREF(root);
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    PyObject *seed = seed_of(state, args[0], args[1]);
    Graph graph = {0};
    int done = 0, begun = 0;
    if (seed && seed != Py_None && index_of(&graph, root) == 0 && count_users(engine, &graph)) {
        const Py_ssize_t leaves = graph.count;
        Py_ssize_t last = 0;
        begun = done = 1;
        graph.visits[0].gradient = Py_NewRef(seed);
        graph.ready[last++] = 0;
        for (Py_ssize_t turn = 0; done && turn < last; turn++) {
            Visit *visit = &graph.visits[graph.ready[turn]];
            PyObject *node = visit->node, *parents = visit->parents, *gradient = visit->gradient;
            visit->gradient = NULL;
            PyObject *contributions = pull_back(module, node, parents, gradient);
            Py_DECREF(gradient);
            done = contributions && (retain || set(&engine->saved, node, Py_None)) &&
                   pass_on(module, &graph, parents, contributions, &last);
            Py_XDECREF(contributions);
        }
        done = done && deliver(module, &graph, leaves, seed);
    }
    forget(&graph);
    Py_DECREF(root);
    Py_XDECREF(seed);
    if (done)
        Py_RETURN_TRUE;
    if (begun && !PyErr_Occurred())
        PyErr_SetString(PyExc_SystemError, "quick_backward");
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* ---- the module ------------------------------------------------------------------------------- */

static int find_field(Field *field, PyObject *type, const char *name)
{
    field->descriptor = PyObject_GetAttrString(type, name);
    if (!field->descriptor)
        return 0;
    field->get = (descrgetfunc)PyType_GetSlot(Py_TYPE(field->descriptor), Py_tp_descr_get);
    field->set = (descrsetfunc)PyType_GetSlot(Py_TYPE(field->descriptor), Py_tp_descr_set);
    return field->get && field->set;
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
    engine->known = PyUnicode_InternFromString("known");
    engine->new_tensor = (allocfunc)PyType_GetSlot(engine->tensor, Py_tp_alloc);
    engine->new_node = (allocfunc)PyType_GetSlot(engine->node, Py_tp_alloc);
    if (!engine->recording || !engine->known || !find_field(&engine->array, args[0], "array") ||
        !find_field(&engine->tensor_node, args[0], "node") ||
        !find_field(&engine->op, args[1], "op") ||
        !find_field(&engine->parents, args[1], "parents") ||
        !find_field(&engine->saved, args[1], "saved") ||
        !find_field(&engine->attrs, args[1], "attrs") ||
        !find_field(&engine->time, args[1], "time") ||
        !find_field(&engine->grad, args[2], "grad"))
        return NULL;
    Py_RETURN_NONE;
}

PyMethodDef tga_eager_functions[] = {
    FUNCTION(configure_engine),
    FUNCTION(known),
    FUNCTION(quick_apply),
    FUNCTION(quick_backward),
    {0},
};

int tga_eager_types(PyObject *module)
{
    State *state = state_of(module);
    state->known_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &known_spec, NULL);
    return state->known_type != NULL;
}
