/* shortcuts.c: for each op that small nets are made of, one function that makes the result and
 * calls the kernel.
 *
 * To Python, calling a kernel with a dozen arguments costs ten times the arithmetic on a few
 * numbers.  A shortcut takes arrays, and serves the plain case alone: floats of one dtype, of
 * shapes that fit, in C order or, of matrices, turned.  Everything else it declines by returning
 * None, before anything has happened; the caller, in ops/, then goes the long way, which checks,
 * explains and calls the same kernel by tga.h.  So nothing here is needed for a result, and the
 * tests compare both ways bit by bit.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "array.h"
#include "kernels.h"

static void drop(Array *x) { Py_XDECREF((PyObject *)x); }

static Array *make_matrix(State *state, int code, Py_ssize_t rows, Py_ssize_t columns)
{
    PyObject *shape = Py_BuildValue("(nn)", rows, columns);
    if (!shape)
        return NULL;
    Array *x = tga_array_new(state, shape, code, rows * columns);
    Py_DECREF(shape);
    return x;
}

static Array *make_vector(State *state, int code, Py_ssize_t size)
{
    PyObject *shape = Py_BuildValue("(n)", size);
    if (!shape)
        return NULL;
    Array *x = tga_array_new(state, shape, code, size);
    Py_DECREF(shape);
    return x;
}

/* The number of rows and columns of a matrix; 0 if x is none. */
static int sides_in_any_order(const Array *x, Py_ssize_t *rows, Py_ssize_t *columns)
{
    if (!x || PyTuple_Size(x->shape) != 2)
        return 0;
    *rows = PyLong_AsSsize_t(PyTuple_GetItem(x->shape, 0));
    *columns = PyLong_AsSsize_t(PyTuple_GetItem(x->shape, 1));
    return 1;
}

/* The same of a matrix in C order; 0 for any other. */
static int sides(const Array *x, Py_ssize_t *rows, Py_ssize_t *columns)
{
    return x && is_contiguous(x) && sides_in_any_order(x, rows, columns);
}

/* The attributes of a row, at most two, if they are numbers of Python's own; else 0. */
static int numbers(PyObject *const *args, Py_ssize_t count, double *a)
{
    a[0] = a[1] = 0;
    if (count > 2)
        return 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!PyFloat_CheckExact(args[i]) && !PyLong_CheckExact(args[i]))
            return 0;
        a[i] = PyFloat_AsDouble(args[i]);
        if (PyErr_Occurred()) { /* an int beyond all doubles */
            PyErr_Clear();
            return 0;
        }
    }
    return 1;
}

/* quick_unary(row, x, attributes ...) -> y */
PyObject *quick_unary(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (count < 2)
        return expect("quick_unary", count, 2), NULL;
    const int row = (int)PyLong_AsLong(args[0]);
    const Array *x = as_array(state, args[1]);
    double a[2];
    if (row < 0 || !x || !is_float(x) || !is_contiguous(x) || !numbers(args + 2, count - 2, a))
        Py_RETURN_NONE;
    Array *y = tga_array_like(state, x);
    if (!y)
        return NULL;
    int status;
    RUN(status, x->size, tga_unary_forward(row, x->code, x->size, x->start, y->start, a[0], a[1]));
    return finished(y, status);
}

/* quick_unary_backward(row, gy, saved, attributes ...) -> gx */
PyObject *quick_unary_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (count < 3)
        return expect("quick_unary_backward", count, 3), NULL;
    const int row = (int)PyLong_AsLong(args[0]);
    const Array *gy = as_array(state, args[1]), *s = as_array(state, args[2]);
    double a[2];
    if (row < 0 || !gy || !s || !is_float(gy) || gy->code != s->code || gy->size != s->size ||
        !is_contiguous(gy) || !is_contiguous(s) || !numbers(args + 3, count - 3, a))
        Py_RETURN_NONE;
    Array *gx = tga_array_like(state, gy);
    if (!gx)
        return NULL;
    int status;
    RUN(status, gy->size,
        tga_unary_backward(row, gy->code, gy->size, gy->start, s->start, gx->start, a[0], a[1]));
    return finished(gx, status);
}

/* The shape in which arrays meet by broadcasting, and how to walk the result, in C order, and
 * them; NULL, without an exception, if they do not meet. */
static PyObject *met(const Array *const *xs, int count, tga_layout *walk, Py_ssize_t *size)
{
    View views[3];
    int longest = 0; /* of the shapes: the result's is that one, unless a 1 in it is stretched */
    for (int k = 0; k < count; k++) {
        if (!tga_view_of(xs[k], &views[k]))
            return NULL;
        longest = views[k].ndim > views[longest].ndim ? k : longest;
    }
    const Py_ssize_t ndim = views[longest].ndim;
    Py_ssize_t shape[TGA_MAX_DIMS];
    int is_new = 0;
    *size = 1;
    walk->ndim = ndim;
    for (Py_ssize_t i = ndim - 1; i >= 0; i--) {
        shape[i] = 1;
        for (int k = 0; k < count; k++) {
            const Py_ssize_t at = i - (ndim - views[k].ndim);
            const Py_ssize_t length = at < 0 ? 1 : views[k].shape[at];
            if (length != 1 && shape[i] != 1 && shape[i] != length)
                return NULL;
            shape[i] = length == 1 ? shape[i] : length;
            walk->stride[1 + k][i] = length == 1 ? 0 : views[k].strides[at];
        }
        is_new |= shape[i] != views[longest].shape[i];
        walk->shape[i] = shape[i];
        walk->stride[0][i] = *size;
        if (__builtin_mul_overflow(*size, shape[i], size))
            return NULL;
    }
    return is_new ? tga_tuple_of(shape, ndim) : Py_NewRef(xs[longest]->shape);
}

/* A new array for the result of arrays that meet; NULL as above, or with an exception. */
static Array *make_met(State *state, const Array *const *xs, int count, int code,
                       tga_layout *walk)
{
    Py_ssize_t size;
    PyObject *shape = met(xs, count, walk, &size);
    Array *z = shape ? tga_array_new(state, shape, code, size) : NULL;
    Py_XDECREF(shape);
    return z;
}

/* quick_binary(row, x, y) -> z */
PyObject *quick_binary(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_binary", count, 3))
        return NULL;
    const int row = (int)PyLong_AsLong(args[0]);
    const Array *x = as_array(state, args[1]), *y = as_array(state, args[2]);
    if (row < 0 || !x || !y || !is_float(x) || x->code != y->code)
        Py_RETURN_NONE;
    const int x_is_number = PyTuple_Size(x->shape) == 0, y_is_number = PyTuple_Size(y->shape) == 0;
    const int alike = x_is_number || y_is_number || same_shape(x, y);
    int status;
    if (alike && is_contiguous(x) && is_contiguous(y)) {
        Array *z = tga_array_like(state, x_is_number ? y : x);
        if (!z)
            return NULL;
        RUN(status, z->size,
            tga_binary_forward(row, z->code, z->size, x->start, !x_is_number || y_is_number,
                               y->start, !y_is_number, z->start));
        return finished(z, status);
    }
    const Array *both[] = {x, y};
    tga_layout walk;
    Array *z = make_met(state, both, 2, x->code, &walk);
    if (!z)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    RUN(status, z->size,
        tga_binary_forward_strided(row, z->code, &walk, x->start, y->start, z->start));
    return finished(z, status);
}

/* quick_compare(row, x, y) -> z, of bools */
PyObject *quick_compare(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_compare", count, 3))
        return NULL;
    const int row = (int)PyLong_AsLong(args[0]);
    const Array *both[] = {as_array(state, args[1]), as_array(state, args[2])};
    tga_layout walk;
    if (row < 0 || !both[0] || !both[1] || both[0]->code != both[1]->code)
        Py_RETURN_NONE;
    Array *z = make_met(state, both, 2, TGA_BOOL, &walk);
    if (!z)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    int status;
    RUN(status, z->size,
        tga_compare_strided(row, both[0]->code, &walk, both[0]->start, both[1]->start,
                            (uint8_t *)z->start));
    return finished(z, status);
}

/* quick_where(condition, x, y) -> z */
PyObject *quick_where(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_where", count, 3))
        return NULL;
    const Array *three[] = {as_array(state, args[0]), as_array(state, args[1]),
                            as_array(state, args[2])};
    const Array *condition = three[0], *x = three[1], *y = three[2];
    tga_layout walk;
    if (!condition || !x || !y || condition->code != TGA_BOOL || !is_float(x) ||
        x->code != y->code)
        Py_RETURN_NONE;
    Array *z = make_met(state, three, 3, x->code, &walk);
    if (!z)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    int status;
    RUN(status, z->size,
        tga_where_strided(z->code, &walk, (const uint8_t *)condition->start, x->start, y->start,
                          z->start));
    return finished(z, status);
}

/* quick_where_backward(gz, condition, shape of x, shape of y, parents) -> (None, gx, gy), None
 * where not wanted: gz where it was taken, 0 elsewhere.  Not where x or y were broadcast. */
PyObject *quick_where_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_where_backward", count, 5))
        return NULL;
    const Array *gz = as_array(state, args[0]);
    if (!gz || !is_float(gz) || PyTuple_GetItem(args[4], 0) != Py_None)
        Py_RETURN_NONE;
    PyObject *found[3] = {Py_None, Py_None, Py_None}, *zero;
    int done = 1;
    if (!(zero = (PyObject *)tga_array_number(state, gz->code, 0.0)))
        return NULL;
    for (int k = 1; done && k <= 2; k++) {
        if (PyTuple_GetItem(args[4], k) == Py_None)
            continue;
        PyObject *given[] = {args[1], k == 1 ? args[0] : zero, k == 1 ? zero : args[0]};
        done = PyObject_RichCompareBool(args[1 + k], gz->shape, Py_EQ) == 1 &&
               (found[k] = quick_where(module, given, 3)) && found[k] != Py_None;
    }
    PyObject *three = done ? PyTuple_Pack(3, Py_None, found[1], found[2]) : NULL;
    for (int k = 1; k <= 2; k++)
        if (found[k] != Py_None)
            Py_XDECREF(found[k]);
    Py_DECREF(zero);
    return three || PyErr_Occurred() ? three : Py_NewRef(Py_None);
}

/* quick_add_to(row of add, total, x) -> total, having added x to it; of one shape */
PyObject *quick_add_to(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_add_to", count, 3))
        return NULL;
    const int row = (int)PyLong_AsLong(args[0]);
    Array *total = as_array(state, args[1]);
    const Array *x = as_array(state, args[2]);
    if (!total || !x || !is_float(x) || x->code != total->code || x->size != total->size ||
        !is_contiguous(x) || !is_contiguous(total))
        Py_RETURN_NONE;
    int status;
    RUN(status, x->size,
        tga_binary_forward(row, x->code, x->size, total->start, 1, x->start, 1, total->start));
    return finished((Array *)Py_NewRef((PyObject *)total), status);
}

/* The length of the last axis, if `axis` names that one by a number; else 0. */
static Py_ssize_t last_length(const Array *x, PyObject *axis)
{
    const Py_ssize_t ndim = PyTuple_Size(x->shape);
    if (ndim == 0 || !PyLong_CheckExact(axis))
        return 0;
    const long number = PyLong_AsLong(axis);
    if (PyErr_Occurred())
        PyErr_Clear();
    else if (number == -1 || number == ndim - 1)
        return PyLong_AsSsize_t(PyTuple_GetItem(x->shape, ndim - 1));
    return 0;
}

/* A new array of the shape of x but for the length of the last axis. */
static Array *make_with_last(State *state, const Array *x, Py_ssize_t size, Py_ssize_t length)
{
    const Py_ssize_t ndim = PyTuple_Size(x->shape);
    PyObject *shape = PyTuple_New(ndim), *last = PyLong_FromSsize_t(length);
    if (!shape || !last) {
        Py_XDECREF(shape);
        Py_XDECREF(last);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < ndim - 1; i++)
        PyTuple_SetItem(shape, i, Py_NewRef(PyTuple_GetItem(x->shape, i)));
    PyTuple_SetItem(shape, ndim - 1, last);
    Array *y = tga_array_new(state, shape, x->code, size);
    Py_DECREF(shape);
    return y;
}

/* Whether both are floats of one dtype, in C order, with elements. */
static int are_alike(const Array *x, const Array *y)
{
    return x && y && is_float(x) && x->code == y->code && is_contiguous(x) && is_contiguous(y) &&
           x->size && y->size;
}

enum { SOFTMAX, LOG_SOFTMAX, SOFTMIN };

/* quick_softmax(which, x, axis) -> y */
PyObject *quick_softmax(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_softmax", count, 3))
        return NULL;
    const long which = PyLong_AsLong(args[0]);
    const Array *x = as_array(state, args[1]);
    const Py_ssize_t n = are_alike(x, x) ? last_length(x, args[2]) : 0;
    if (!n)
        Py_RETURN_NONE;
    Array *y = tga_array_like(state, x), *turned = NULL;
    if (!y)
        return NULL;
    if (which == SOFTMIN) { /* that of -x */
        if (!(turned = tga_array_like(state, x)))
            return drop(y), NULL;
        tga_unary_forward(UNARY_neg, x->code, x->size, x->start, turned->start, 0, 0);
        x = turned;
    }
    int status;
    RUN(status, x->size,
        tga_softmax_forward(x->code, which == LOG_SOFTMAX, x->size / n, n, x->start, y->start));
    drop(turned);
    return finished(y, status);
}

/* quick_softmax_backward(which, gy, y, axis) -> gx */
PyObject *quick_softmax_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_softmax_backward", count, 4))
        return NULL;
    const long which = PyLong_AsLong(args[0]);
    const Array *gy = as_array(state, args[1]), *y = as_array(state, args[2]);
    const Py_ssize_t n = are_alike(gy, y) && gy->size == y->size ? last_length(y, args[3]) : 0;
    if (!n)
        Py_RETURN_NONE;
    Array *gx = tga_array_like(state, y);
    if (!gx)
        return NULL;
    int status;
    RUN(status, y->size,
        tga_softmax_backward(y->code, which == LOG_SOFTMAX, y->size / n, n, gy->start, y->start,
                             gx->start));
    if (which == SOFTMIN)
        tga_unary_forward(UNARY_neg, y->code, y->size, gx->start, gx->start, 0, 0);
    return finished(gx, status);
}

/* quick_glu(0, x, axis) -> y; the 0 stands where others are told their row */
PyObject *quick_glu(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_glu", count, 3))
        return NULL;
    const Array *x = as_array(state, args[1]);
    const Py_ssize_t n = are_alike(x, x) ? last_length(x, args[2]) : 0;
    if (!n || n % 2)
        Py_RETURN_NONE;
    Array *y = make_with_last(state, x, x->size / 2, n / 2);
    if (!y)
        return NULL;
    int status;
    RUN(status, x->size, tga_glu_forward(x->code, x->size / n, n / 2, x->start, y->start));
    return finished(y, status);
}

/* quick_glu_backward(0, gy, x, axis) -> gx; the same of maxout */
PyObject *quick_glu_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_glu_backward", count, 4))
        return NULL;
    const Array *gy = as_array(state, args[1]), *x = as_array(state, args[2]);
    const Py_ssize_t n = are_alike(gy, x) && 2 * gy->size == x->size ? last_length(x, args[3]) : 0;
    if (!n)
        Py_RETURN_NONE;
    Array *gx = tga_array_like(state, x);
    if (!gx)
        return NULL;
    int status;
    RUN(status, x->size,
        tga_glu_backward(x->code, x->size / n, n / 2, gy->start, x->start, gx->start));
    return finished(gx, status);
}

/* How many pieces each result of maxout is chosen from; 0 if x cannot be cut so. */
static Py_ssize_t pieces_of(const Array *x, PyObject *number)
{
    const Py_ssize_t ndim = PyTuple_Size(x->shape);
    if (ndim == 0 || !PyLong_CheckExact(number))
        return 0;
    const Py_ssize_t pieces = PyLong_AsSsize_t(number);
    PyErr_Clear();
    const Py_ssize_t n = PyLong_AsSsize_t(PyTuple_GetItem(x->shape, ndim - 1));
    return pieces >= 1 && n % pieces == 0 ? pieces : 0;
}

/* quick_maxout(0, x, pieces) -> y */
PyObject *quick_maxout(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_maxout", count, 3))
        return NULL;
    const Array *x = as_array(state, args[1]);
    const Py_ssize_t pieces = are_alike(x, x) ? pieces_of(x, args[2]) : 0;
    if (!pieces)
        Py_RETURN_NONE;
    PyObject *last = PyTuple_GetItem(x->shape, PyTuple_Size(x->shape) - 1);
    const Py_ssize_t n = x->size / pieces;
    Array *y = make_with_last(state, x, n, PyLong_AsSsize_t(last) / pieces);
    if (!y)
        return NULL;
    int status;
    RUN(status, x->size, tga_maxout_forward(x->code, n, pieces, x->start, y->start));
    return finished(y, status);
}

/* quick_maxout_backward(0, gy, x, pieces) -> gx */
PyObject *quick_maxout_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_maxout_backward", count, 4))
        return NULL;
    const Array *gy = as_array(state, args[1]), *x = as_array(state, args[2]);
    const Py_ssize_t pieces = are_alike(gy, x) ? pieces_of(x, args[3]) : 0;
    if (!pieces || gy->size * pieces != x->size)
        Py_RETURN_NONE;
    Array *gx = tga_array_like(state, x);
    if (!gx)
        return NULL;
    int status;
    RUN(status, x->size,
        tga_maxout_backward(x->code, gy->size, pieces, gy->start, x->start, gx->start));
    return finished(gx, status);
}

/* Which axes an attribute names, None for all: `chosen` tells; 0 if it is none of a plain kind. */
static int axes_of(PyObject *axis, Py_ssize_t ndim, char *chosen)
{
    const int is_tuple = PyTuple_CheckExact(axis);
    const Py_ssize_t count = is_tuple ? PyTuple_Size(axis) : 1;
    memset(chosen, axis == Py_None, TGA_MAX_DIMS);
    for (Py_ssize_t k = 0; axis != Py_None && k < count; k++) {
        PyObject *item = is_tuple ? PyTuple_GetItem(axis, k) : axis;
        Py_ssize_t number;
        if (!in_range(item, -ndim, ndim - 1, &number))
            return 0;
        number += number < 0 ? ndim : 0;
        if (chosen[number]++)
            return 0;
    }
    return 1;
}

/* A row of reduce.def over some axes; NULL, without an exception if this is not a plain case. */
static Array *reduced(State *state, int row, const Array *x, PyObject *axis, PyObject *keepdims)
{
    View all;
    char chosen[TGA_MAX_DIMS];
    if (!tga_view_of(x, &all) || !is_float(x) || !x->size || !axes_of(axis, all.ndim, chosen) ||
        !PyBool_Check(keepdims))
        return NULL;
    tga_layout walk = {.ndim = all.ndim}; /* the axes that stay come first */
    Py_ssize_t shape[TGA_MAX_DIMS], ndim = 0, at = 0, kept = 0, size = 1;
    for (int pass = 0; pass < 2; pass++) {
        for (Py_ssize_t i = 0; i < all.ndim; i++) {
            if (chosen[i] != pass)
                continue;
            walk.shape[at] = all.shape[i];
            walk.stride[1][at++] = all.strides[i];
            size *= pass ? 1 : all.shape[i];
        }
        kept = pass ? kept : at;
    }
    for (Py_ssize_t i = 0; i < all.ndim; i++)
        if (!chosen[i] || keepdims == Py_True)
            shape[ndim++] = chosen[i] ? 1 : all.shape[i];
    PyObject *tuple = tga_tuple_of(shape, ndim);
    Array *y = tuple ? tga_array_new(state, tuple, x->code, size) : NULL;
    Py_XDECREF(tuple);
    int status = TGA_NO_MEMORY;
    if (y)
        RUN(status, x->size, tga_reduce(row, x->code, &walk, kept, x->start, y->start));
    if (status != TGA_OK) {
        drop(y);
        y = NULL;
    }
    return y;
}

/* x = y / divisor, of as many elements */
static int divide(Array *x, const Array *y, double divisor)
{
    char number[sizeof(double)];
    int status = tga_fill(x->code, 1, divisor, number);
    RUN(status, x->size,
        tga_binary_forward(BINARY_div, x->code, x->size, y->start, 1, number, 0, x->start));
    return status;
}

/* quick_reduce(row, x, axis, keepdims) -> y */
PyObject *quick_reduce(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_reduce", count, 4))
        return NULL;
    const int row = (int)PyLong_AsLong(args[0]);
    Array *y = reduced(state, row, as_array(state, args[1]), args[2], args[3]);
    return y || PyErr_Occurred() ? (PyObject *)y : Py_NewRef(Py_None);
}

/* quick_sum(is it the mean?, x, axis, keepdims) -> y */
PyObject *quick_sum(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_sum", count, 4))
        return NULL;
    const long is_mean = PyLong_AsLong(args[0]);
    const Array *x = as_array(state, args[1]);
    Array *y = reduced(state, REDUCE_sum, x, args[2], args[3]);
    if (!y)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    return finished(y, is_mean ? divide(y, y, (double)(x->size / y->size)) : TGA_OK);
}

/* gx = the only element of gy, or that of each sum, wherever it was added */
static int spread(Array *gx, const Array *gy, const char *chosen)
{
    int status;
    if (gy->size == 1) {
        float single;
        double value;
        if (gx->code == TGA_FLOAT32) {
            memcpy(&single, gy->start, sizeof single);
            value = (double)single;
        } else {
            memcpy(&value, gy->start, sizeof value);
        }
        RUN(status, gx->size, tga_fill(gx->code, gx->size, value, gx->start));
        return status;
    }
    View all;
    int64_t step = 1, step_g = 1;
    if (!tga_view_of(gx, &all))
        return TGA_NO_KERNEL;
    tga_layout walk = {.ndim = all.ndim};
    for (Py_ssize_t i = all.ndim - 1; i >= 0; i--) {
        walk.shape[i] = all.shape[i];
        walk.stride[0][i] = step;
        walk.stride[1][i] = chosen[i] ? 0 : step_g;
        step *= all.shape[i];
        step_g *= chosen[i] ? 1 : all.shape[i];
    }
    if (step_g != gy->size)
        return TGA_NO_KERNEL;
    RUN(status, gx->size, tga_copy_strided(gx->code, gy->code, &walk, gy->start, gx->start));
    return status;
}

/* quick_sum_backward(is it the mean?, gy, shape of x, axis, keepdims) -> gx */
PyObject *quick_sum_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_sum_backward", count, 5))
        return NULL;
    const long is_mean = PyLong_AsLong(args[0]);
    const Array *gy = as_array(state, args[1]);
    char chosen[TGA_MAX_DIMS];
    const Py_ssize_t ndim = PyTuple_CheckExact(args[2]) ? PyTuple_Size(args[2]) : TGA_MAX_DIMS + 1;
    if (!are_alike(gy, gy) || ndim > TGA_MAX_DIMS || !axes_of(args[3], ndim, chosen) ||
        !PyBool_Check(args[4]))
        Py_RETURN_NONE;
    Py_ssize_t size = 1;
    for (Py_ssize_t i = 0; i < ndim; i++)
        size *= PyLong_AsSsize_t(PyTuple_GetItem(args[2], i));
    Array *gx = size ? tga_array_new(state, args[2], gy->code, size) : NULL;
    Array *share = gx && is_mean ? tga_array_like(state, gy) : NULL;
    int status = TGA_NO_MEMORY;
    if (share)
        status = divide(share, gy, (double)(size / gy->size));
    else if (gx && !is_mean)
        status = TGA_OK;
    if (status == TGA_OK)
        status = spread(gx, is_mean ? share : gy, chosen);
    drop(share);
    if (!gx || PyErr_Occurred()) {
        drop(gx);
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    return finished(gx, status);
}

/* quick_take(x, index, axis) -> x[index], along the first axis, of any dtype */
PyObject *quick_take(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_take", count, 3))
        return NULL;
    const Array *x = as_array(state, args[0]), *index = as_array(state, args[1]);
    const Py_ssize_t ndim = x ? PyTuple_Size(x->shape) : 0;
    if (!index || ndim == 0 || index->code != TGA_INT64 || !is_contiguous(x) ||
        !is_contiguous(index) || !x->size || !index->size || !PyLong_CheckExact(args[2]) ||
        PyObject_IsTrue(args[2]))
        Py_RETURN_NONE;
    const Py_ssize_t length = PyLong_AsSsize_t(PyTuple_GetItem(x->shape, 0));
    const Py_ssize_t n = index->size, inner = x->size / length;
    PyObject *rest = PyTuple_GetSlice(x->shape, 1, ndim);
    PyObject *shape = rest ? PySequence_Concat(index->shape, rest) : NULL;
    Array *y = shape && PyTuple_Size(shape) <= TGA_MAX_DIMS
                   ? tga_array_new(state, shape, x->code, n * inner)
                   : NULL;
    Py_XDECREF(rest);
    Py_XDECREF(shape);
    if (!y)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    const tga_layout walk = {
        .ndim = 3,
        .shape = {1, n, inner},
        .stride = {{n * inner, inner, 1}, {x->size, inner, 1}, {0, 1, 0}},
    };
    int status;
    RUN(status, y->size,
        tga_gather(x->code, &walk, -length, length, x->start, (const int64_t *)index->start,
                   y->start));
    return finished(y, status);
}

/* How the product reads a matrix where it lies: whether it is stored transposed, and the step
 * from one stored row to the next; 0 if it would have to be copied. */
static int stored(const Array *x, Py_ssize_t rows, Py_ssize_t columns, int *turned,
                  Py_ssize_t *step)
{
    *turned = 0;
    *step = columns;
    if (is_contiguous(x))
        return 1;
    const Py_ssize_t down = PyLong_AsSsize_t(PyTuple_GetItem(x->strides, 0));
    const Py_ssize_t along = PyLong_AsSsize_t(PyTuple_GetItem(x->strides, 1));
    *turned = down == 1;
    *step = *turned ? along : down;
    return *turned ? along >= rows : along == 1 && down >= columns;
}

/* The sides of an operand of a product: a vector is a row before the @, a column after it. */
static int sides_in_product(const Array *x, int after, Py_ssize_t *rows, Py_ssize_t *columns)
{
    if (!x || !is_contiguous(x) || PyTuple_Size(x->shape) != 1)
        return sides_in_any_order(x, rows, columns);
    *rows = after ? x->size : 1;
    *columns = after ? 1 : x->size;
    return 1;
}

static int is_vector(const Array *x) { return PyTuple_Size(x->shape) == 1; }

/* quick_matmul(x, w) -> x @ w, for two matrices, which may be transposes, or one and a vector */
PyObject *quick_matmul(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_matmul", count, 2))
        return NULL;
    const Array *x = as_array(state, args[0]), *w = as_array(state, args[1]);
    Py_ssize_t m, k, inner, n, step_x, step_w;
    int turned_x, turned_w;
    if (!sides_in_product(x, 0, &m, &k) || !sides_in_product(w, 1, &inner, &n) || inner != k ||
        !is_float(x) || x->code != w->code || m < 1 || n < 1 || k < 1 ||
        (is_vector(x) && is_vector(w)) || !stored(x, m, k, &turned_x, &step_x) ||
        !stored(w, k, n, &turned_w, &step_w))
        Py_RETURN_NONE;
    Array *y = is_vector(x)   ? make_vector(state, x->code, n)
               : is_vector(w) ? make_vector(state, x->code, m)
                              : make_matrix(state, x->code, m, n);
    if (!y)
        return NULL;
    int status;
    RUN(status, m * n * k,
        tga_gemm(x->code, turned_x, turned_w, m, n, k, 1.0, x->start, step_x, w->start, step_w, 0.0,
                 y->start, n, NULL));
    return finished(y, status);
}

/* Whether the gradient of input i is wanted: `parents` has None where not. */
static int wants(PyObject *parents, Py_ssize_t i) { return PyTuple_GetItem(parents, i) != Py_None; }

/* quick_matmul_backward(gy, x, w, parents) -> (gx or None, gw or None) */
PyObject *quick_matmul_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_matmul_backward", count, 4))
        return NULL;
    PyObject *parents = args[3];
    const Array *gy = as_array(state, args[0]);
    const Array *x = as_array(state, args[1]), *w = as_array(state, args[2]);
    Py_ssize_t m, n, k, inner;
    if (!gy || !sides_in_product(x, 0, &m, &k) || !sides_in_product(w, 1, &inner, &n) ||
        inner != k || gy->size != m * n || !is_contiguous(gy) || !is_contiguous(x) ||
        !is_contiguous(w) || !is_float(gy) || gy->code != x->code || gy->code != w->code)
        Py_RETURN_NONE;
    Array *gx = NULL, *gw = NULL;
    int status = TGA_OK;
    if (wants(parents, 0)) { /* gx = gy @ w.T */
        if (!(gx = tga_array_like(state, x)))
            return NULL;
        RUN(status, m * n * k,
            tga_gemm(gy->code, 0, 1, m, k, n, 1.0, gy->start, n ? n : 1, w->start, n ? n : 1, 0.0,
                     gx->start, k ? k : 1, NULL));
    }
    if (wants(parents, 1) && status == TGA_OK) { /* gw = x.T @ gy */
        if (!(gw = tga_array_like(state, w))) {
            drop(gx);
            return NULL;
        }
        RUN(status, m * n * k,
            tga_gemm(gy->code, 1, 0, k, n, m, 1.0, x->start, k ? k : 1, gy->start, n ? n : 1, 0.0,
                     gw->start, n ? n : 1, NULL));
    }
    PyObject *pair = NULL;
    if (status == TGA_OK)
        pair = PyTuple_Pack(2, gx ? (PyObject *)gx : Py_None, gw ? (PyObject *)gw : Py_None);
    drop(gx);
    drop(gw);
    return pair || PyErr_Occurred() ? pair : Py_NewRef(Py_None);
}

/* quick_linear(x, w, b) -> x @ w.T + b, for matrices x and w */
PyObject *quick_linear(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_linear", count, 3))
        return NULL;
    const Array *x = as_array(state, args[0]), *w = as_array(state, args[1]);
    const Array *b = as_array(state, args[2]);
    Py_ssize_t m, k, n, inputs;
    if (!b || !sides(x, &m, &k) || !sides(w, &n, &inputs) || inputs != k || !is_float(x) ||
        x->code != w->code || x->code != b->code || !is_contiguous(b) ||
        PyTuple_Size(b->shape) != 1 || b->size != n)
        Py_RETURN_NONE;
    Array *y = make_matrix(state, x->code, m, n);
    if (!y)
        return NULL;
    int status;
    RUN(status, m * n * k,
        tga_linear_forward(x->code, m, n, k, x->start, w->start, b->start, y->start));
    return finished(y, status);
}

/* quick_linear_backward(gy, x, w, shape of b, parents) -> (gx, gw, gb), None where not wanted */
PyObject *quick_linear_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_linear_backward", count, 5))
        return NULL;
    PyObject *parents = args[4];
    const Array *gy = as_array(state, args[0]);
    const Array *x = as_array(state, args[1]), *w = as_array(state, args[2]);
    Py_ssize_t m, n, k, rows, columns, inputs;
    if (!sides(gy, &rows, &columns) || !sides(x, &m, &k) || !sides(w, &n, &inputs) ||
        inputs != k || rows != m || columns != n || !is_float(gy) || gy->code != x->code ||
        gy->code != w->code)
        Py_RETURN_NONE;
    Array *gx = NULL, *gw = NULL, *gb = NULL;
    int status = TGA_NO_MEMORY;
    if ((!wants(parents, 0) || (gx = tga_array_like(state, x))) &&
        (!wants(parents, 1) || (gw = tga_array_like(state, w))) &&
        (!wants(parents, 2) || (gb = tga_array_new(state, args[3], gy->code, n))))
        RUN(status, m * n * k,
            tga_linear_backward(gy->code, m, n, k, gy->start, x->start, w->start,
                                gx ? gx->start : NULL, gw ? gw->start : NULL,
                                gb ? gb->start : NULL));
    PyObject *three = NULL;
    if (status == TGA_OK)
        three = PyTuple_Pack(3, gx ? (PyObject *)gx : Py_None, gw ? (PyObject *)gw : Py_None,
                             gb ? (PyObject *)gb : Py_None);
    drop(gx);
    drop(gw);
    drop(gb);
    return three || PyErr_Occurred() ? three : Py_NewRef(Py_None);
}

/* quick_loss(row, x, t, a, scale) -> total, of one shape; a is the row's attribute */
static PyObject *quick_loss(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_loss", count, 5))
        return NULL;
    const int row = (int)PyLong_AsLong(args[0]);
    const Array *x = as_array(state, args[1]), *t = as_array(state, args[2]);
    const double a = PyFloat_AsDouble(args[3]), scale = PyFloat_AsDouble(args[4]);
    if (PyErr_Occurred())
        return NULL;
    if (row < 0 || !x || !t || !is_float(x) || x->code != t->code || !is_contiguous(x) ||
        !is_contiguous(t) || !same_shape(x, t))
        Py_RETURN_NONE;
    PyObject *shape = PyTuple_New(0);
    Array *total = shape ? tga_array_new(state, shape, x->code, 1) : NULL;
    Py_XDECREF(shape);
    if (!total)
        return NULL;
    int status;
    RUN(status, x->size,
        tga_loss_forward(row, x->code, x->size, x->start, t->start, a, scale, total->start));
    return finished(total, status);
}

/* quick_loss_backward(row, gy, x, t, a, scale) -> gx */
static PyObject *quick_loss_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_loss_backward", count, 6))
        return NULL;
    const int row = (int)PyLong_AsLong(args[0]);
    const Array *gy = as_array(state, args[1]);
    const Array *x = as_array(state, args[2]), *t = as_array(state, args[3]);
    const double a = PyFloat_AsDouble(args[4]), scale = PyFloat_AsDouble(args[5]);
    if (PyErr_Occurred())
        return NULL;
    if (row < 0 || !gy || !x || !t || !is_float(x) || x->code != t->code || x->code != gy->code ||
        gy->size != 1 || !is_contiguous(x) || !is_contiguous(t) || !same_shape(x, t))
        Py_RETURN_NONE;
    Array *gx = tga_array_like(state, x);
    if (!gx)
        return NULL;
    int status;
    RUN(status, x->size,
        tga_loss_backward(row, x->code, x->size, gy->start, x->start, t->start, a, scale,
                          gx->start));
    return finished(gx, status);
}

PyMethodDef tga_shortcuts[] = {
    FUNCTION(quick_unary),
    FUNCTION(quick_unary_backward),
    FUNCTION(quick_binary),
    FUNCTION(quick_compare),
    FUNCTION(quick_where),
    FUNCTION(quick_where_backward),
    FUNCTION(quick_add_to),
    FUNCTION(quick_softmax),
    FUNCTION(quick_softmax_backward),
    FUNCTION(quick_glu),
    FUNCTION(quick_glu_backward),
    FUNCTION(quick_maxout),
    FUNCTION(quick_maxout_backward),
    FUNCTION(quick_reduce),
    FUNCTION(quick_sum),
    FUNCTION(quick_sum_backward),
    FUNCTION(quick_take),
    FUNCTION(quick_matmul),
    FUNCTION(quick_matmul_backward),
    FUNCTION(quick_linear),
    FUNCTION(quick_linear_backward),
    FUNCTION(quick_loss),
    FUNCTION(quick_loss_backward),
    {0},
};
