/* views.c: the shortcuts of ops that move nothing: their result is a view, the same memory seen in
 * another shape.  See shortcuts.c; the long way is in array.py, and explains what is wrong.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "array.h"
#include "kernels.h"

int tga_view_of(const Array *x, View *view)
{
    const Py_ssize_t ndim = x ? PyTuple_Size(x->shape) : TGA_MAX_DIMS + 1;
    Py_ssize_t step = 1;
    if (ndim > TGA_MAX_DIMS)
        return 0;
    view->ndim = ndim;
    view->skip = 0;
    for (Py_ssize_t i = ndim - 1; i >= 0; i--) {
        view->shape[i] = PyLong_AsSsize_t(PyTuple_GetItem(x->shape, i));
        view->strides[i] =
            is_contiguous(x) ? step : PyLong_AsSsize_t(PyTuple_GetItem(x->strides, i));
        step *= view->shape[i];
    }
    return 1;
}

PyObject *tga_tuple_of(const Py_ssize_t *numbers, Py_ssize_t count)
{
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple && i < count; i++) {
        PyObject *number = PyLong_FromSsize_t(numbers[i]);
        if (!number)
            Py_CLEAR(tuple);
        else
            PyTuple_SetItem(tuple, i, number);
    }
    return tuple;
}

static Py_ssize_t size_of(const View *view)
{
    Py_ssize_t size = 1;
    for (Py_ssize_t i = 0; i < view->ndim; i++)
        size *= view->shape[i];
    return size;
}

/* The array that shows the memory of x so. */
static PyObject *made(State *state, const Array *x, const View *view)
{
    const Py_ssize_t size = size_of(view);
    char *start = x->start + (size ? view->skip : 0) * (Py_ssize_t)tga_item_size(x->code);
    Py_ssize_t step = 1;
    int in_order = 1; /* whether the elements lie in C order: along 1 no stride is ever taken */
    for (Py_ssize_t i = view->ndim - 1; i >= 0; i--) {
        in_order = in_order && (view->shape[i] == 1 || view->strides[i] == step);
        step *= view->shape[i];
    }
    PyObject *shape = tga_tuple_of(view->shape, view->ndim);
    PyObject *strides = in_order ? Py_NewRef(Py_None) : tga_tuple_of(view->strides, view->ndim);
    Array *y = NULL;
    if (shape && strides)
        y = tga_array_on(state, (Memory *)Py_NewRef(x->memory), start, shape, strides, x->code,
                         size);
    Py_XDECREF(shape);
    Py_XDECREF(strides);
    return (PyObject *)y;
}

/* ---- the order of axes ------------------------------------------------------------------------ */

/* The view of x whose axis i is axis axes[i] of x; or the inverse of that.  Axes are a tuple of
 * numbers, each once, counted from the front. */
static PyObject *permuted(State *state, const Array *x, PyObject *axes, int inverse)
{
    View all, y;
    char used[TGA_MAX_DIMS] = {0};
    if (!tga_view_of(x, &all) || !PyTuple_CheckExact(axes) || PyTuple_Size(axes) != all.ndim)
        Py_RETURN_NONE;
    y.ndim = all.ndim;
    y.skip = 0;
    for (Py_ssize_t i = 0; i < all.ndim; i++) {
        Py_ssize_t axis;
        if (!in_range(PyTuple_GetItem(axes, i), 0, all.ndim - 1, &axis) || used[axis]++)
            Py_RETURN_NONE;
        const Py_ssize_t to = inverse ? axis : i, from = inverse ? i : axis;
        y.shape[to] = all.shape[from];
        y.strides[to] = all.strides[from];
    }
    return made(state, x, &y);
}

/* quick_permute(0, x, axes) -> y */
PyObject *quick_permute(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_permute", count, 3))
        return NULL;
    return permuted(state, as_array(state, args[1]), args[2], 0);
}

/* quick_permute_backward(0, gy, gy, axes) -> gx */
PyObject *quick_permute_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_permute_backward", count, 4))
        return NULL;
    return permuted(state, as_array(state, args[1]), args[3], 1);
}

/* ---- another shape of the same size, of an array in C order ----------------------------------- */

static PyObject *reshaped(State *state, const Array *x, const Py_ssize_t *lengths, Py_ssize_t ndim)
{
    PyObject *shape = tga_tuple_of(lengths, ndim);
    if (!shape)
        return NULL;
    Memory *memory = (Memory *)Py_NewRef(x->memory);
    Array *y = tga_array_on(state, memory, x->start, shape, Py_None, x->code, x->size);
    Py_DECREF(shape);
    return (PyObject *)y;
}

/* quick_reshape(0, x, shape) -> y; one length may be -1 */
PyObject *quick_reshape(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_reshape", count, 3))
        return NULL;
    const Array *x = as_array(state, args[1]);
    const int is_tuple = PyTuple_CheckExact(args[2]);
    const Py_ssize_t ndim = is_tuple ? PyTuple_Size(args[2]) : 1;
    Py_ssize_t lengths[TGA_MAX_DIMS], rest = -1, size = 1;
    if (!x || !is_contiguous(x) || ndim > TGA_MAX_DIMS)
        Py_RETURN_NONE;
    for (Py_ssize_t i = 0; i < ndim; i++) {
        PyObject *item = is_tuple ? PyTuple_GetItem(args[2], i) : args[2];
        if (!in_range(item, -1, PY_SSIZE_T_MAX, &lengths[i]))
            Py_RETURN_NONE;
        if (lengths[i] >= 0 ? __builtin_mul_overflow(size, lengths[i], &size) : rest >= 0)
            Py_RETURN_NONE;
        if (lengths[i] < 0)
            rest = i;
    }
    if (rest >= 0) { /* what is left */
        if (size == 0 || x->size % size)
            Py_RETURN_NONE;
        lengths[rest] = x->size / size;
    } else if (size != x->size) {
        Py_RETURN_NONE;
    }
    return reshaped(state, x, lengths, ndim);
}

/* quick_unsqueeze(0, x, axis) -> y */
PyObject *quick_unsqueeze(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_unsqueeze", count, 3))
        return NULL;
    const Array *x = as_array(state, args[1]);
    View y;
    Py_ssize_t axis;
    if (!tga_view_of(x, &y) || !is_contiguous(x) || y.ndim == TGA_MAX_DIMS ||
        !in_range(args[2], -y.ndim - 1, y.ndim, &axis))
        Py_RETURN_NONE;
    axis += axis < 0 ? y.ndim + 1 : 0;
    memmove(y.shape + axis + 1, y.shape + axis, (size_t)(y.ndim - axis) * sizeof *y.shape);
    y.shape[axis] = 1;
    return reshaped(state, x, y.shape, y.ndim + 1);
}

/* quick_squeeze(0, x, axis or None) -> y */
PyObject *quick_squeeze(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_squeeze", count, 3))
        return NULL;
    const Array *x = as_array(state, args[1]);
    View y;
    Py_ssize_t axis = 0, kept = 0;
    const int all = args[2] == Py_None;
    if (!tga_view_of(x, &y) || !is_contiguous(x) ||
        (!all && !in_range(args[2], -y.ndim, y.ndim - 1, &axis)))
        Py_RETURN_NONE;
    axis += axis < 0 ? y.ndim : 0;
    if (!all && y.shape[axis] != 1)
        Py_RETURN_NONE;
    for (Py_ssize_t i = 0; i < y.ndim; i++)
        if (all ? y.shape[i] != 1 : i != axis)
            y.shape[kept++] = y.shape[i];
    return reshaped(state, x, y.shape, kept);
}

/* quick_reshape_backward(0, gy, shape of x, the attribute) -> gx; of squeeze and unsqueeze, too */
PyObject *quick_reshape_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (!expect("quick_reshape_backward", count, 4))
        return NULL;
    PyObject *given[] = {args[0], args[1], args[2]};
    return quick_reshape(module, given, 3);
}

/* ---- elements repeated ------------------------------------------------------------------------ */

/* quick_expand(0, x, shape) -> y; -1 keeps a length */
PyObject *quick_expand(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_expand", count, 3))
        return NULL;
    const Array *x = as_array(state, args[1]);
    View all, y = {.ndim = PyTuple_CheckExact(args[2]) ? PyTuple_Size(args[2]) : -1};
    const Py_ssize_t lead = tga_view_of(x, &all) ? y.ndim - all.ndim : -1;
    Py_ssize_t size = 1;
    if (lead < 0 || y.ndim > TGA_MAX_DIMS)
        Py_RETURN_NONE;
    for (Py_ssize_t i = 0; i < y.ndim; i++) {
        const Py_ssize_t own = i < lead ? 1 : all.shape[i - lead];
        if (!in_range(PyTuple_GetItem(args[2], i), i < lead ? 0 : -1, PY_SSIZE_T_MAX, &y.shape[i]))
            Py_RETURN_NONE;
        if (y.shape[i] < 0)
            y.shape[i] = own;
        if ((own != 1 && own != y.shape[i]) || __builtin_mul_overflow(size, y.shape[i], &size))
            Py_RETURN_NONE;
        y.strides[i] = i < lead || own != y.shape[i] ? 0 : all.strides[i - lead];
    }
    return size >> 59 ? Py_NewRef(Py_None) : made(state, x, &y);
}

/* ---- parts ------------------------------------------------------------------------------------ */

static int push(View *y, Py_ssize_t length, Py_ssize_t stride)
{
    if (y->ndim == TGA_MAX_DIMS)
        return 0;
    y->shape[y->ndim] = length;
    y->strides[y->ndim++] = stride;
    return 1;
}

/* The part of `all` that an index of numbers, slices, one Ellipsis and None names; else 0. */
static int indexed(const View *all, PyObject *index, View *y)
{
    const int is_tuple = PyTuple_CheckExact(index);
    const Py_ssize_t count = is_tuple ? PyTuple_Size(index) : 1;
    Py_ssize_t named = 0, dots = 0, axis = 0, number;
    y->ndim = y->skip = 0;
    for (Py_ssize_t k = 0; k < count; k++) {
        PyObject *item = is_tuple ? PyTuple_GetItem(index, k) : index;
        dots += item == Py_Ellipsis;
        named += item != Py_Ellipsis && item != Py_None;
    }
    if (dots > 1 || named > all->ndim)
        return 0;
    for (Py_ssize_t k = 0; k < count + !dots; k++) { /* the last, an Ellipsis, unsaid */
        PyObject *item = k == count ? Py_Ellipsis : is_tuple ? PyTuple_GetItem(index, k) : index;
        if (item == Py_None) {
            if (!push(y, 1, 0))
                return 0;
        } else if (item == Py_Ellipsis) {
            for (Py_ssize_t rest = all->ndim - named; rest > 0; rest--, axis++)
                if (!push(y, all->shape[axis], all->strides[axis]))
                    return 0;
        } else if (PySlice_Check(item)) {
            Py_ssize_t start, stop, step;
            if (PySlice_Unpack(item, &start, &stop, &step) < 0) {
                PyErr_Clear();
                return 0;
            }
            const Py_ssize_t length =
                PySlice_AdjustIndices(all->shape[axis], &start, &stop, step);
            if (!push(y, length, length > 1 ? all->strides[axis] * step : 1))
                return 0;
            y->skip += length ? start * all->strides[axis] : 0;
            axis++;
        } else {
            const Py_ssize_t length = all->shape[axis];
            if (!in_range(item, -length, length - 1, &number))
                return 0;
            y->skip += (number + (number < 0 ? length : 0)) * all->strides[axis];
            axis++;
        }
    }
    return 1;
}

/* quick_getitem(0, x, index) -> y */
PyObject *quick_getitem(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_getitem", count, 3))
        return NULL;
    const Array *x = as_array(state, args[1]);
    View all, y;
    if (!tga_view_of(x, &all) || !indexed(&all, args[2], &y))
        Py_RETURN_NONE;
    return made(state, x, &y);
}

/* quick_getitem_backward(0, gy, shape of x, index) -> gx: gy at its place, 0 elsewhere */
PyObject *quick_getitem_backward(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_getitem_backward", count, 4))
        return NULL;
    const Array *gy = as_array(state, args[1]);
    View g, all, part;
    Py_ssize_t size = 1;
    if (!tga_view_of(gy, &g) || !is_float(gy) || !PyTuple_CheckExact(args[2]) ||
        PyTuple_Size(args[2]) > TGA_MAX_DIMS)
        Py_RETURN_NONE;
    all.ndim = PyTuple_Size(args[2]);
    for (Py_ssize_t i = all.ndim - 1; i >= 0; i--) {
        all.shape[i] = PyLong_AsSsize_t(PyTuple_GetItem(args[2], i));
        all.strides[i] = size;
        size *= all.shape[i];
    }
    if (!indexed(&all, args[3], &part) || part.ndim != g.ndim || !gy->size ||
        memcmp(part.shape, g.shape, (size_t)g.ndim * sizeof *g.shape) != 0)
        Py_RETURN_NONE;
    Array *gx = tga_array_new(state, args[2], gy->code, size);
    if (!gx)
        return NULL;
    tga_layout walk = {.ndim = g.ndim};
    for (Py_ssize_t i = 0; i < g.ndim; i++) {
        walk.shape[i] = g.shape[i];
        walk.stride[0][i] = part.strides[i];
        walk.stride[1][i] = g.strides[i];
    }
    int status;
    RUN(status, size, tga_fill(gx->code, size, 0.0, gx->start));
    if (status == TGA_OK)
        RUN(status, gy->size,
            tga_copy_strided(gx->code, gy->code, &walk, gy->start,
                             gx->start + part.skip * (Py_ssize_t)tga_item_size(gx->code)));
    return finished(gx, status);
}

PyMethodDef tga_view_shortcuts[] = {
    FUNCTION(quick_permute),
    FUNCTION(quick_permute_backward),
    FUNCTION(quick_reshape),
    FUNCTION(quick_unsqueeze),
    FUNCTION(quick_squeeze),
    FUNCTION(quick_reshape_backward),
    FUNCTION(quick_expand),
    FUNCTION(quick_getitem),
    FUNCTION(quick_getitem_backward),
    {0},
};
