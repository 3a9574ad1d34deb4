/* array.c: an Array as an object of Python, and the module to which it belongs.
 *
 * A small net spends its time between the kernels: to Python, making an array costs several times
 * the arithmetic.  So the fields of an Array and its memory live here, in C; array.py has the rest.
 *
 * This file and those that belong to the same module, shortcuts.c, views.c, values.c, eager.c and
 * step.c, are the only ones besides cffi's that speak to Python, by its stable ABI.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>
#include <structmember.h>

#include "array.h"
#include "kernels.h"

enum {
    SMALL = 1 << 14,  /* bytes; above, the pool in memory.c saves the page faults */
};

static const Py_ssize_t MOST = (Py_ssize_t)1 << 59;  /* elements, whose bytes can be counted */

/* ---- making ------------------------------------------------------------------------------ */

static Memory *no_memory(int64_t bytes)
{
    PyErr_Format(PyExc_MemoryError, "there is no memory for an array of %lld bytes",
                 (long long)bytes);
    return NULL;
}

static Memory *new_memory(State *state, int64_t bytes)
{
    const int small = bytes <= SMALL;
    Memory *memory = PyObject_Malloc(sizeof *memory + (small ? (size_t)bytes : 0));
    if (!memory)
        return no_memory(bytes);
    memory->start = small ? memory->inside : tga_alloc((size_t)bytes);
    if (!memory->start) {
        PyObject_Free(memory);
        return no_memory(bytes);
    }
    memory->weak = memory->owner = NULL;
    memory->version = 0;
    memory->nbytes = bytes;
    memory->shared = 0;
    return (Memory *)PyObject_Init((PyObject *)memory, state->memory_type);
}

static void memory_dealloc(PyObject *self)
{
    Memory *memory = (Memory *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (memory->weak)
        PyObject_ClearWeakRefs(self);
    if (memory->owner)
        Py_DECREF(memory->owner);
    else if (memory->start != memory->inside)
        tga_free(memory->start);
    PyObject_Free(self);
    Py_DECREF(type);
}

static int memory_buffer(PyObject *self, Py_buffer *view, int flags)
{
    Memory *memory = (Memory *)self;
    return PyBuffer_FillInfo(view, self, memory->start, memory->nbytes, memory->version < 0, flags);
}

/* An Array on `memory`, a reference to which is taken over; it may be NULL.  Classes written in
 * Python take part in the search for reference cycles; but no cycle leads through an Array, so it
 * is never tracked. */
Array *tga_array_on(State *state, Memory *memory, char *start, PyObject *shape,
                    PyObject *strides, int code, Py_ssize_t size)
{
    if (!memory)
        return NULL;
    Array *x = PyObject_GC_New(Array, state->array_type);
    if (!x) {
        Py_DECREF(memory);
        return NULL;
    }
    x->memory = (PyObject *)memory;
    x->shape = Py_NewRef(shape);
    x->strides = Py_NewRef(strides);
    x->dtype = Py_NewRef(state->dtype[code]);
    x->data = NULL;
    x->start = start;
    x->size = size;
    x->code = code;
    return x;
}

static void array_dealloc(PyObject *self)
{
    Array *x = (Array *)self;
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(x->memory);
    Py_DECREF(x->shape);
    Py_DECREF(x->strides);
    Py_DECREF(x->dtype);
    Py_XDECREF(x->data);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

Array *tga_array_new(State *state, PyObject *shape, int code, Py_ssize_t size)
{
    static const int item_size[DTYPES] = {4, 8, 8, 1, 1};
    if (size > MOST) {
        PyErr_Format(PyExc_ValueError, "an array of shape %R has more elements than memory can hold",
                     shape);
        return NULL;
    }
    Memory *memory = new_memory(state, size * item_size[code]);
    return tga_array_on(state, memory, memory ? memory->start : NULL, shape, Py_None, code, size);
}

Array *tga_array_like(State *state, const Array *x)
{
    return tga_array_new(state, x->shape, x->code, x->size);
}

Array *tga_array_number(State *state, int code, double value)
{
    PyObject *shape = PyTuple_New(0);
    Array *x = shape ? tga_array_new(state, shape, code, 1) : NULL;
    Py_XDECREF(shape);
    if (x)
        tga_fill(code, 1, value, x->start);
    return x;
}

static int code_of(State *state, PyObject *dtype)
{
    for (int code = 0; code < DTYPES; code++)
        if (state->dtype[code] == dtype)
            return code;
    PyErr_Format(PyExc_TypeError, "not a DType: %R", dtype);
    return -1;
}

/* array_empty(shape, dtype, size): a new array with whatever the memory held before */
static PyObject *array_empty(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("array_empty", count, 3))
        return NULL;
    const int code = code_of(state, args[1]);
    Py_ssize_t size = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear();
        size = PY_SSIZE_T_MAX;  /* the product of the shape, so too many in any case */
    }
    if (code < 0 || PyErr_Occurred())
        return NULL;
    return (PyObject *)tga_array_new(state, args[0], code, size);
}

/* array_view(x, shape, strides, size, skip): the memory of x, from element `skip` of it on */
static PyObject *array_view(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("array_view", count, 5))
        return NULL;
    Array *x = as_array(state, args[0]);
    if (!x)
        return PyErr_Format(PyExc_TypeError, "array_view: not an Array: %R", args[0]);
    const Py_ssize_t size = PyLong_AsSsize_t(args[3]), skip = PyLong_AsSsize_t(args[4]);
    if (PyErr_Occurred())
        return NULL;
    char *start = x->start + skip * (Py_ssize_t)tga_item_size(x->code);
    Memory *memory = (Memory *)Py_NewRef(x->memory);
    return (PyObject *)tga_array_on(state, memory, start, args[1], args[2], x->code, size);
}

/* array_at(owner, address, bytes, writable, shape, strides, dtype, size): memory of another */
static PyObject *array_at(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("array_at", count, 8))
        return NULL;
    char *start = PyLong_AsVoidPtr(args[1]);
    const Py_ssize_t bytes = PyLong_AsSsize_t(args[2]), size = PyLong_AsSsize_t(args[7]);
    const int writable = PyObject_IsTrue(args[3]), code = code_of(state, args[6]);
    if (PyErr_Occurred())
        return NULL;
    Memory *memory = new_memory(state, 0);
    if (memory) {
        memory->owner = Py_NewRef(args[0]);
        memory->start = start;
        memory->nbytes = bytes;
        memory->version = writable ? 0 : -1;
    }
    return (PyObject *)tga_array_on(state, memory, start, args[4], args[5], code, size);
}

/* array_addresses(list of arrays) -> bytes: of each the address of its first element */
static PyObject *array_addresses(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("array_addresses", count, 1))
        return NULL;
    const Py_ssize_t length = PyList_Size(args[0]);
    if (length < 0)
        return NULL;
    PyObject *content = PyBytes_FromStringAndSize(NULL, length * (Py_ssize_t)sizeof(char *));
    if (!content)
        return NULL;
    char *to = PyBytes_AsString(content);
    for (Py_ssize_t i = 0; i < length; i++, to += sizeof(char *)) {
        PyObject *item = PyList_GetItem(args[0], i);
        const Array *x = as_array(state, item);
        if (!x) {
            Py_DECREF(content);
            return PyErr_Format(PyExc_TypeError, "array_addresses: not an Array: %R", item);
        }
        memcpy(to, &x->start, sizeof x->start);
    }
    return content;
}

void tga_note_write(State *state, PyObject *number)
{
    if (PyLong_AsLongLong(state->writes) < PyLong_AsLongLong(number)) {
        PyObject *before = state->writes;
        state->writes = Py_NewRef(number);
        Py_DECREF(before);
    }
}

/* array_written(list of arrays, number of the write) -> True; False, and nothing is noted, if
 * the memory of one must not be written to */
static PyObject *array_written(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("array_written", count, 2))
        return NULL;
    const Py_ssize_t length = PyList_Size(args[0]);
    const long long number = PyLong_AsLongLong(args[1]);
    if (PyErr_Occurred())
        return NULL;
    for (Py_ssize_t i = 0; i < length; i++) {
        PyObject *item = PyList_GetItem(args[0], i);
        const Array *x = as_array(state, item);
        if (!x)
            return PyErr_Format(PyExc_TypeError, "array_written: not an Array: %R", item);
        if (((Memory *)x->memory)->version < 0)
            Py_RETURN_FALSE;
    }
    for (Py_ssize_t i = 0; i < length; i++)
        ((Memory *)((Array *)PyList_GetItem(args[0], i))->memory)->version = number;
    tga_note_write(state, args[1]);
    Py_RETURN_TRUE;
}

/* array_item(x) -> the first element as a Python number */
static PyObject *array_item(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (!expect("array_item", count, 1))
        return NULL;
    const Array *x = as_array(state_of(module), args[0]);
    if (!x)
        return PyErr_Format(PyExc_TypeError, "array_item: not an Array: %R", args[0]);
    if (x->size)
        return tga_number_at(x->code, x->start);
    PyErr_SetString(PyExc_ValueError, "array_item: an array without elements");
    return NULL;
}

/* ---- the types ----------------------------------------------------------------------------- */

static PyObject *array_data(PyObject *self, void *closure)
{
    (void)closure;
    Array *x = (Array *)self;
    if (!x->data) {
        PyObject *data = NULL;
        PyTypeObject *base = PyType_GetSlot(Py_TYPE(self), Py_tp_base);
        State *state = PyType_GetModuleState(base);
        if (!state)
            return NULL;
        const Memory *memory = (Memory *)x->memory;
        if (!memory->owner && memory->start == x->start) { /* which keeps the memory, too */
            data = PyObject_CallFunctionObjArgs(state->from_buffer, state->bytes, memory, NULL);
        } else {
            PyObject *number = PyLong_FromVoidPtr(x->start);
            if (number)
                data = PyObject_CallFunctionObjArgs(state->cast, state->address, number, NULL);
            Py_XDECREF(number);
        }
        if (x->data) /* another thread has made it meanwhile */
            Py_XDECREF(data);
        else
            x->data = data;
    }
    return Py_XNewRef(x->data);
}

static PyObject *array_address(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromVoidPtr(((Array *)self)->start);
}

static PyObject *memory_address(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromVoidPtr(((Memory *)self)->start);
}

static PyMemberDef array_members[] = {
    {"memory", T_OBJECT_EX, offsetof(Array, memory), READONLY, NULL},
    {"shape", T_OBJECT_EX, offsetof(Array, shape), READONLY, NULL},
    {"strides", T_OBJECT_EX, offsetof(Array, strides), READONLY, NULL},
    {"dtype", T_OBJECT_EX, offsetof(Array, dtype), READONLY, NULL},
    {"size", T_PYSSIZET, offsetof(Array, size), READONLY, NULL},
    {0},
};
static PyGetSetDef array_getters[] = {
    {"data", array_data, NULL, "The first element, as a pointer for cffi.", NULL},
    {"address", array_address, NULL, "The address of the first element.", NULL},
    {0},
};
static PyType_Slot array_slots[] = {
    {Py_tp_dealloc, array_dealloc},
    {Py_tp_members, array_members},
    {Py_tp_getset, array_getters},
    {0, NULL},
};
static PyType_Spec array_spec = {
    .name = "tinygrad_act._array.ArrayBase",
    .basicsize = sizeof(Array),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = array_slots,
};

static PyMemberDef memory_members[] = {
    {"owner", T_OBJECT, offsetof(Memory, owner), READONLY, NULL},
    {"version", T_LONGLONG, offsetof(Memory, version), 0, NULL},
    {"nbytes", T_LONGLONG, offsetof(Memory, nbytes), READONLY, NULL},
    {"shared", T_INT, offsetof(Memory, shared), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Memory, weak), READONLY, NULL},
    {0},
};
static PyGetSetDef memory_getters[] = {
    {"address", memory_address, NULL, "Where it begins.", NULL},
    {0},
};
static PyType_Slot memory_slots[] = {
    {Py_tp_dealloc, memory_dealloc},
    {Py_tp_members, memory_members},
    {Py_tp_getset, memory_getters},
    {Py_bf_getbuffer, memory_buffer},
    {0, NULL},
};
static PyType_Spec memory_spec = {
    .name = "tinygrad_act._array.Memory",
    .basicsize = sizeof(Memory),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = memory_slots,
};

/* ---- the module --------------------------------------------------------------------------------- */

/* configure(Array, dtypes, from_buffer, bytes, cast, address): the class in array.py, the DTypes
 * by code, and how cffi makes pointers: see State */
static PyObject *configure(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("configure", count, 6))
        return NULL;
    state->array_type = (PyTypeObject *)Py_NewRef(args[0]);
    for (int code = 0; code < DTYPES; code++)
        state->dtype[code] = Py_XNewRef(PyTuple_GetItem(args[1], code));
    state->from_buffer = Py_NewRef(args[2]);
    state->bytes = Py_NewRef(args[3]);
    state->cast = Py_NewRef(args[4]);
    state->address = Py_NewRef(args[5]);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    FUNCTION(configure),
    FUNCTION(array_empty),
    FUNCTION(array_view),
    FUNCTION(array_at),
    FUNCTION(array_addresses),
    FUNCTION(array_written),
    FUNCTION(array_item),
    FUNCTION(array_watch),
    FUNCTION(unchanged),
    FUNCTION(array_step),
    FUNCTION(quick_step),
    {0},
};

static int execute(PyObject *module)
{
    State *state = state_of(module);
    state->memory_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &memory_spec, NULL);
    state->base_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &array_spec, NULL);
    state->writes = PyLong_FromLong(0);
    state->cell_contents = PyUnicode_InternFromString("cell_contents");
    if (!state->memory_type || !state->base_type || !state->writes)
        return -1;
    if (PyModule_AddFunctions(module, tga_shortcuts) < 0 ||
        PyModule_AddFunctions(module, tga_view_shortcuts) < 0 ||
        PyModule_AddFunctions(module, tga_value_shortcuts) < 0 || !tga_eager_types(module) ||
        PyModule_AddFunctions(module, tga_eager_functions) < 0)
        return -1;
    return PyModule_AddObjectRef(module, "ArrayBase", (PyObject *)state->base_type);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};
static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tinygrad_act._array",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__array(void) { return PyModuleDef_Init(&definition); }
