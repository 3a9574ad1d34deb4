/* array.h: what the files that speak to Python share: an Array and its memory, the state of
 * the module, and the shortcuts.  Python.h comes before it.
 */
#ifndef TGA_ARRAY_H
#define TGA_ARRAY_H

#include "tga.h"

enum { DTYPES = 5 };

/* What keeps elements alive: memory of our own, or an object that owns it. */
typedef struct {
    PyObject_HEAD
    PyObject *weak;
    PyObject *owner;   /* NULL if the memory is our own */
    long long version; /* the number of the last write; -1 if it must not be written to */
    char *start;
    long long nbytes;
    int shared;        /* whether somebody may write to it without telling: NumPy, for example */
    _Alignas(16) char inside[]; /* the elements, if they are few */
} Memory;

typedef struct {
    PyObject_HEAD
    PyObject *memory, *shape, *strides, *dtype;
    PyObject *data;    /* the pointer for cffi, made when somebody asks for it; or NULL */
    char *start;       /* the first element */
    Py_ssize_t size;
    int code;          /* of the dtype; see tga.h */
} Array;

/* The classes in graph.py and tensor.py, as far as eager.c makes and reads their objects. */
typedef struct {
    PyTypeObject *tensor, *node, *leaf;
    allocfunc new_tensor, new_node;
    Py_ssize_t array, origin;                   /* where a Tensor has its slots array and node, */
    Py_ssize_t op, parents, saved, attrs, time; /* a Node these, */
    Py_ssize_t grad;                            /* and a Leaf this */
    PyObject *mode, *recording;                 /* graph.mode, and its attribute's name */
    PyObject *mode_of_thread;                   /* the attributes that it has in a thread, */
    uint64_t thread;                            /* in this one */
    PyObject *pull_back, *convert;              /* functions of tensor.py and array.py */
    PyObject *shortcut, *add_row;               /* an op's attribute's name; the row of add */
} Engine;

typedef struct {
    PyTypeObject *memory_type;
    PyTypeObject *base_type;
    PyTypeObject *array_type;       /* the class in array.py */
    PyTypeObject *shortcut_type;    /* what C knows of an op: see eager.c */
    PyObject *dtype[DTYPES];        /* by code */
    PyObject *from_buffer, *bytes;  /* of cffi: from_buffer(bytes, memory) is a pointer to it, */
    PyObject *cast, *address;       /* and cast(address, number) one to anywhere */
    PyObject *cell_contents;        /* the name of an attribute */
    PyObject *writes;               /* the number of the last write in place, of all */
    Engine engine;
} State;

/* The slot of an object at a place given in Engine. */
#define SLOT(object, place) (*(PyObject **)((char *)(object) + (place)))

static inline void set_slot(PyObject *object, Py_ssize_t place, PyObject *value)
{
    PyObject *before = SLOT(object, place);
    SLOT(object, place) = Py_NewRef(value);
    Py_XDECREF(before);
}

static inline State *state_of(PyObject *module) { return PyModule_GetState(module); }

static inline int is_float(const Array *x)
{
    return x->code == TGA_FLOAT32 || x->code == TGA_FLOAT64;
}

static inline int is_contiguous(const Array *x) { return x->strides == Py_None; }

static inline int expect(const char *function, Py_ssize_t count, Py_ssize_t wanted)
{
    if (count == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%s: %zd arguments, not %zd", function, wanted, count);
    return 0;
}

/* x as an Array, or NULL without an exception if it is none. */
static inline Array *as_array(State *state, PyObject *x)
{
    return Py_TYPE(x) == state->array_type ? (Array *)x : NULL;
}

static inline int same_shape(const Array *x, const Array *y)
{
    return x->shape == y->shape || PyObject_RichCompareBool(x->shape, y->shape, Py_EQ) == 1;
}

/* array.c: a new array in C order, of undefined content; the second of the shape and dtype of x;
 * the third a single number. */
Array *tga_array_new(State *state, PyObject *shape, int code, Py_ssize_t size);
Array *tga_array_like(State *state, const Array *x);
Array *tga_array_number(State *state, int code, double value);

/* array.c: an array on memory, a reference to which is taken over. */
Array *tga_array_on(State *state, Memory *memory, char *start, PyObject *shape,
                    PyObject *strides, int code, Py_ssize_t size);

/* array.c: the number of a write in place, of the last so far unless there was a later one. */
void tga_note_write(State *state, PyObject *number);

enum { ALONE = 1 << 13 }; /* elements; above, other threads of Python may run meanwhile */

/* Call a kernel; a large one without Python's lock, which others may want meanwhile. */
#define RUN(status, work, call)                                                                    \
    do {                                                                                           \
        if ((work) <= ALONE) {                                                                     \
            status = (call);                                                                       \
        } else {                                                                                   \
            Py_BEGIN_ALLOW_THREADS                                                                 \
            status = (call);                                                                       \
            Py_END_ALLOW_THREADS                                                                   \
        }                                                                                          \
    } while (0)

/* A result that was computed; None, so that the long way says what is wrong, if it was not. */
static inline PyObject *finished(Array *y, int status)
{
    if (status == TGA_OK)
        return (PyObject *)y;
    Py_DECREF(y);
    Py_RETURN_NONE;
}

/* A number from `low` to `high`; 0 if it is none of Python's own, or outside. */
static inline int in_range(PyObject *item, Py_ssize_t low, Py_ssize_t high, Py_ssize_t *number)
{
    if (!PyLong_CheckExact(item))
        return 0;
    *number = PyLong_AsSsize_t(item);
    if (*number == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return *number >= low && *number <= high;
}

/* views.c: lengths and strides of an array, or of what it is to be seen as. */
typedef struct {
    Py_ssize_t ndim, shape[TGA_MAX_DIMS], strides[TGA_MAX_DIMS];
    Py_ssize_t skip; /* elements from the first of the array to that of the view */
} View;

/* As the array is; 0 if it is NULL or has too many axes. */
int tga_view_of(const Array *x, View *view);
PyObject *tga_tuple_of(const Py_ssize_t *numbers, Py_ssize_t count);

/* shortcuts.c, views.c: those that eager.c calls, too; `args` are what Python gives them. */
typedef PyObject *Shortcut(PyObject *module, PyObject *const *args, Py_ssize_t count);
Shortcut quick_unary, quick_unary_backward, quick_binary, quick_add_to, quick_softmax,
    quick_softmax_backward, quick_glu, quick_glu_backward, quick_maxout, quick_maxout_backward,
    quick_sum, quick_sum_backward, quick_take, quick_permute, quick_permute_backward, quick_matmul,
    quick_matmul_backward, quick_linear, quick_linear_backward, quick_compare, quick_where,
    quick_where_backward, quick_reshape, quick_reshape_backward, quick_unsqueeze, quick_squeeze,
    quick_expand, quick_getitem, quick_getitem_backward, quick_reduce;

/* values.c: an element as a number of Python's. */
PyObject *tga_number_at(int code, const char *place);

extern PyMethodDef tga_shortcuts[], tga_view_shortcuts[], tga_value_shortcuts[];

/* step.c */
Shortcut array_watch, unchanged, array_step, quick_step;

/* eager.c: a Tensor on an Array; node: its Node, or None. */
PyObject *tga_tensor_new(State *state, PyObject *array, PyObject *node);
extern PyMethodDef tga_eager_functions[];
int tga_eager_types(PyObject *module);

#define FUNCTION(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}

#endif
