/* step.c: one captured step as one call from Python.
 *
 * A loop in Python that calls a captured step, and looks at its cost each time, spends more time
 * around the plan than in it.  So what is done around it stands here: looking whether everything
 * is as it was captured, noting what is written, making the results and handing out the
 * gradients.  replay.py has the same in Python, for all that is not plain, and says what is wrong.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "array.h"

/* What a weak reference refers to, borrowed, or None.  Python 3.13 calls the function deprecated,
 * since the object might die meanwhile: here only another thread could see to that, and none runs
 * between the call and the last use.  Its successor is not in the stable ABI that we build for. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static PyObject *referent(PyObject *weak) { return PyWeakref_GetObject(weak); }
#pragma GCC diagnostic pop

/* Something that a step depends on: what `container` holds under `key` must be `value`. */
typedef struct {
    enum { IN_DICT, IN_LIST, IN_CELL } kind; /* of the container; a cell is that of a closure */
    PyObject *container, *key, *value;
} Watched;

/* A dict that must hold what it held: keys and values, one after the other. */
typedef struct {
    PyObject *dict, **items;
    Py_ssize_t count; /* of items: two for each key */
} Snapshot;

/* All objects here and in Prepared are borrowed: the Captured in replay.py, to which both belong,
 * keeps the lists that hold them. */
typedef struct {
    Watched *watched;
    Snapshot *snapshots;
    Py_ssize_t watched_count, snapshot_count;
} Watch;

typedef struct {
    PyObject *shape;
    int code;
    Py_ssize_t size;
} Result;

/* What is the same at each call. */
typedef struct {
    tga_plan *plan;
    const Watch *watch;
    int64_t *bases; /* the addresses that a run is given: of inputs, results and tables */
    Py_ssize_t slots, leaf_count, written_count, result_count;
    PyObject **leaves, **gradients; /* weak references; the tensor that becomes the gradient */
    Memory **written;               /* what the step writes outside its plan */
    Result *results;
} Prepared;

static const char watch_name[] = "tinygrad_act._array.Watch";
static const char prepared_name[] = "tinygrad_act._array.Prepared";

/* A list of `count` elements, all 0; NULL with an exception if there is no memory. */
static void *new_list(Py_ssize_t count, size_t size)
{
    void *list = PyMem_Calloc((size_t)count + 1, size);
    if (!list)
        PyErr_NoMemory();
    return list;
}

/* ---- is everything as it was? --------------------------------------------------------------- */

static void free_watch(Watch *watch)
{
    for (Py_ssize_t i = 0; watch->snapshots && i < watch->snapshot_count; i++)
        PyMem_Free(watch->snapshots[i].items);
    PyMem_Free(watch->snapshots);
    PyMem_Free(watch->watched);
    PyMem_Free(watch);
}

static void free_watch_capsule(PyObject *capsule)
{
    free_watch(PyCapsule_GetPointer(capsule, watch_name));
}

/* array_watch(containers, keys, values, dicts, items), five lists: what `unchanged` looks at.
 * Each container, a dict, a list or the cell of a closure, must hold that value; each dict these
 * items, a list of keys and values in turn.  The caller keeps all of it. */
PyObject *array_watch(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (!expect("array_watch", count, 5))
        return NULL;
    Watch *watch = new_list(1, sizeof *watch);
    if (!watch)
        return NULL;
    const Py_ssize_t watched_count = PyList_Size(args[0]), snapshot_count = PyList_Size(args[3]);
    if (!PyErr_Occurred()) {
        watch->watched = new_list(watched_count, sizeof *watch->watched);
        watch->snapshots = new_list(snapshot_count, sizeof *watch->snapshots);
    }
    if (!PyErr_Occurred()) {
        watch->watched_count = watched_count;
        watch->snapshot_count = snapshot_count;
    }
    for (Py_ssize_t i = 0; i < watch->watched_count; i++) {
        PyObject *container = PyList_GetItem(args[0], i);
        watch->watched[i] = (Watched){
            .kind = PyDict_Check(container) ? IN_DICT : PyList_Check(container) ? IN_LIST : IN_CELL,
            .container = container,
            .key = PyList_GetItem(args[1], i),
            .value = PyList_GetItem(args[2], i),
        };
    }
    for (Py_ssize_t i = 0; i < watch->snapshot_count; i++) {
        Snapshot *snapshot = &watch->snapshots[i];
        PyObject *items = PyList_GetItem(args[4], i);
        const Py_ssize_t length = items ? PyList_Size(items) : 0;
        snapshot->dict = PyList_GetItem(args[3], i);
        snapshot->items = PyErr_Occurred() ? NULL : new_list(length, sizeof *snapshot->items);
        for (; snapshot->items && snapshot->count < length; snapshot->count++)
            snapshot->items[snapshot->count] = PyList_GetItem(items, snapshot->count);
    }
    PyObject *capsule =
        PyErr_Occurred() ? NULL : PyCapsule_New(watch, watch_name, free_watch_capsule);
    if (!capsule)
        free_watch(watch);
    return capsule;
}

/* Borrowed, and NULL without an exception if there is nothing. */
static PyObject *held(const State *state, const Watched *one)
{
    PyObject *item;
    if (one->kind == IN_DICT) {
        item = PyDict_GetItemWithError(one->container, one->key);
    } else {
        item = one->kind == IN_LIST ? PyObject_GetItem(one->container, one->key)
                                    : PyObject_GetAttr(one->container, state->cell_contents);
        Py_XDECREF(item); /* the container still holds it */
    }
    if (!item && PyErr_Occurred())
        PyErr_Clear(); /* a list that has become shorter, a cell that is empty now */
    return item;
}

static int is_as_it_was(const Snapshot *snapshot)
{
    if (2 * PyDict_Size(snapshot->dict) != snapshot->count)
        return 0;
    PyObject *const *items = snapshot->items, *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(snapshot->dict, &at, &key, &value); items += 2)
        if (key != items[0] || value != items[1])
            return 0;
    return 1;
}

static int is_unchanged(const State *state, const Watch *watch)
{
    for (Py_ssize_t i = 0; i < watch->watched_count; i++)
        if (held(state, &watch->watched[i]) != watch->watched[i].value)
            return 0;
    for (Py_ssize_t i = 0; i < watch->snapshot_count; i++)
        if (!is_as_it_was(&watch->snapshots[i]))
            return 0;
    return 1;
}

/* unchanged(watch) -> bool */
PyObject *unchanged(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (!expect("unchanged", count, 1))
        return NULL;
    const Watch *watch = PyCapsule_GetPointer(args[0], watch_name);
    return watch ? PyBool_FromLong(is_unchanged(state_of(module), watch)) : NULL;
}

static int is_as_captured(const State *state, const Prepared *p)
{
    if (!is_unchanged(state, p->watch))
        return 0;
    for (Py_ssize_t i = 0; i < p->leaf_count; i++)
        if (referent(p->leaves[i]) == Py_None)
            return 0;
    for (Py_ssize_t i = 0; i < p->written_count; i++)
        if (p->written[i]->version < 0) /* of a NumPy array that has become read-only */
            return 0;
    return 1;
}

/* ---- preparing ------------------------------------------------------------------------------ */

static void free_prepared(Prepared *p)
{
    PyMem_Free(p->bases);
    PyMem_Free(p->leaves);
    PyMem_Free(p->gradients);
    PyMem_Free(p->written);
    PyMem_Free(p->results);
    PyMem_Free(p);
}

static void free_prepared_capsule(PyObject *capsule)
{
    free_prepared(PyCapsule_GetPointer(capsule, prepared_name));
}

/* array_step(plan, slots, watch, leaves, gradients, written, results): what quick_step needs.
 * plan: its address; slots: how many addresses a run is given; leaves: weak references, with
 * their gradients; written: arrays; results: of each (shape, code of the dtype, size).  The
 * caller keeps all of it, too. */
PyObject *array_step(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("array_step", count, 7))
        return NULL;
    Prepared *p = new_list(1, sizeof *p);
    if (!p)
        return NULL;
    p->plan = PyLong_AsVoidPtr(args[0]);
    p->slots = PyLong_AsSsize_t(args[1]);
    p->watch = PyCapsule_GetPointer(args[2], watch_name);
    const Py_ssize_t leaf_count = PyList_Size(args[3]), written_count = PyList_Size(args[5]);
    const Py_ssize_t result_count = PyList_Size(args[6]);
    if (!PyErr_Occurred()) {
        p->bases = new_list(p->slots, sizeof *p->bases);
        p->leaves = new_list(leaf_count, sizeof *p->leaves);
        p->gradients = new_list(leaf_count, sizeof *p->gradients);
        p->written = new_list(written_count, sizeof *p->written);
        p->results = new_list(result_count, sizeof *p->results);
    }
    if (PyErr_Occurred()) {
        free_prepared(p);
        return NULL;
    }
    p->leaf_count = leaf_count;
    p->written_count = written_count;
    p->result_count = result_count;
    for (Py_ssize_t i = 0; i < p->leaf_count; i++) {
        p->leaves[i] = PyList_GetItem(args[3], i);
        p->gradients[i] = PyList_GetItem(args[4], i);
    }
    for (Py_ssize_t i = 0; i < p->written_count; i++) {
        const Array *x = as_array(state, PyList_GetItem(args[5], i));
        if (x)
            p->written[i] = (Memory *)x->memory;
        else
            PyErr_SetString(PyExc_TypeError, "array_step: not an Array");
    }
    for (Py_ssize_t i = 0; i < p->result_count; i++) {
        PyObject *result = PyList_GetItem(args[6], i);
        p->results[i].shape = PyTuple_GetItem(result, 0);
        p->results[i].code = (int)PyLong_AsLong(PyTuple_GetItem(result, 1));
        p->results[i].size = PyLong_AsSsize_t(PyTuple_GetItem(result, 2));
    }
    PyObject *capsule = PyErr_Occurred() ? NULL : PyCapsule_New(p, prepared_name, free_prepared_capsule);
    if (!capsule)
        free_prepared(p);
    return capsule;
}

/* ---- a step --------------------------------------------------------------------------------- */

/* Gives what is written the number of this write; whether all had that of the last one, and
 * nobody writes to them without leaving a number. */
static int mark_written(const Prepared *p, long long last, long long number)
{
    int as_left = 1;
    for (Py_ssize_t i = 0; i < p->written_count; i++) {
        Memory *memory = p->written[i];
        as_left = as_left && memory->version == last && !memory->owner && !memory->shared;
        memory->version = number;
    }
    return as_left;
}

/* Tensors for the results, whose memory the plan is told; NULL with an exception on failure. */
static PyObject *new_results(State *state, const Prepared *p, Py_ssize_t slot)
{
    PyObject *values = PyList_New(p->result_count);
    for (Py_ssize_t i = 0; values && i < p->result_count; i++) {
        const Result *result = &p->results[i];
        Array *y = tga_array_new(state, result->shape, result->code, result->size);
        PyObject *tensor = y ? tga_tensor_new(state, (PyObject *)y, Py_None) : NULL;
        if (tensor) {
            p->bases[slot + i] = (int64_t)(intptr_t)y->start;
            PyList_SetItem(values, i, tensor);
        } else {
            Py_CLEAR(values);
        }
        Py_XDECREF((PyObject *)y);
    }
    return values;
}

/* quick_step(prepared, inputs, last, number)
 * inputs: list of arrays, in C order and as captured; last, number: of the last write by this
 * plan, and of this one.  Returns the list of results, which are Tensors; the status of the
 * kernel that failed; or None, and nothing has happened, if anything is not as it was. */
PyObject *quick_step(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_step", count, 4))
        return NULL;
    const Prepared *p = PyCapsule_GetPointer(args[0], prepared_name);
    const Py_ssize_t inputs = PyList_Size(args[1]);
    const long long last = PyLong_AsLongLong(args[2]), number = PyLong_AsLongLong(args[3]);
    if (PyErr_Occurred())
        return NULL;
    if (!is_as_captured(state, p) || inputs + p->result_count > p->slots)
        Py_RETURN_NONE;
    for (Py_ssize_t i = 0; i < inputs; i++) {
        const Array *x = as_array(state, PyList_GetItem(args[1], i));
        if (!x)
            return PyErr_Format(PyExc_TypeError, "quick_step: not an Array");
        p->bases[i] = (int64_t)(intptr_t)x->start;
    }
    PyObject *values = new_results(state, p, inputs);
    if (!values)
        return NULL;

    const int as_left = mark_written(p, last, number);
    tga_note_write(state, args[3]);
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = tga_plan_once(p->plan, p->bases, as_left);
    Py_END_ALLOW_THREADS
    if (status != TGA_OK) {
        Py_DECREF(values);
        return PyLong_FromLong(status);
    }
    for (Py_ssize_t i = 0; i < p->leaf_count; i++) {
        PyObject *leaf = referent(p->leaves[i]);
        if (leaf != Py_None)
            set_slot(leaf, state->engine.grad, p->gradients[i]);
    }
    return values;
}
