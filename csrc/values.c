/* values.c: new arrays with given content: a constant, the numbers of nested lists, a copy of an
 * array, several joined; and the way back, from an array to nested lists.
 *
 * Shortcuts all, see shortcuts.c: what is not plain they decline by returning None, and array.py
 * or the op goes the long way.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "array.h"
#include "kernels.h"

/* The code of a dtype, one of ours; -1 without an exception if it is none. */
static int code_of(const State *state, PyObject *dtype)
{
    int code = DTYPES - 1;
    while (code >= 0 && state->dtype[code] != dtype)
        code--;
    return code;
}

/* ---- constants -------------------------------------------------------------------------------- */

/* quick_full(shape, value, dtype) -> a new array of a float dtype with every element `value` */
static PyObject *quick_full(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_full", count, 3))
        return NULL;
    const int code = code_of(state, args[2]);
    if (!PyTuple_CheckExact(args[0]) || PyTuple_Size(args[0]) > TGA_MAX_DIMS ||
        !PyFloat_CheckExact(args[1]) || (code != TGA_FLOAT32 && code != TGA_FLOAT64))
        Py_RETURN_NONE;
    Py_ssize_t size = 1;
    for (Py_ssize_t i = PyTuple_Size(args[0]) - 1; i >= 0; i--) {
        PyObject *item = PyTuple_GetItem(args[0], i);
        const Py_ssize_t length = PyLong_CheckExact(item) ? PyLong_AsSsize_t(item) : 0;
        PyErr_Clear(); /* of a number beyond all lengths, which is then -1 */
        if (length <= 0 || __builtin_mul_overflow(size, length, &size))
            Py_RETURN_NONE;
    }
    if (size >> 40) /* more than there can be: the long way says so */
        Py_RETURN_NONE;
    Array *y = tga_array_new(state, args[0], code, size);
    if (!y)
        return NULL;
    const double value = PyFloat_AsDouble(args[1]);
    int status;
    RUN(status, size, tga_fill(code, size, value, y->start));
    return finished(y, status);
}

/* ---- nested lists ----------------------------------------------------------------------------- */

static Py_ssize_t length_of(PyObject *list)
{
    return PyList_CheckExact(list) ? PyList_Size(list) : PyTuple_Size(list);
}

static PyObject *item_of(PyObject *list, Py_ssize_t i)
{
    return PyList_CheckExact(list) ? PyList_GetItem(list, i) : PyTuple_GetItem(list, i);
}

static int is_list(PyObject *x) { return PyList_CheckExact(x) || PyTuple_CheckExact(x); }

/* Put a number of Python's at a place, floats through a double; 0 if it does not fit. */
static int put_number(PyObject *number, int code, char *place)
{
    if (code == TGA_INT64) {
        const int64_t whole = PyLong_CheckExact(number) ? PyLong_AsLongLong(number) : 0;
        memcpy(place, &whole, sizeof whole);
        return PyLong_CheckExact(number) && !PyErr_Occurred();
    }
    if (!PyFloat_CheckExact(number) && !PyLong_CheckExact(number))
        return 0;
    const double value = PyFloat_AsDouble(number);
    if (code == TGA_FLOAT64) {
        memcpy(place, &value, sizeof value);
    } else if (isfinite(value) && fabs(value) > (double)FLT_MAX) {
        return 0;
    } else {
        const float single = (float)value;
        memcpy(place, &single, sizeof single);
    }
    return !PyErr_Occurred();
}

/* Put the numbers of nested lists one after the other; 0 if they are not of this shape. */
static int put_list(PyObject *data, int code, const Py_ssize_t *shape, Py_ssize_t ndim,
                    char **place)
{
    if (ndim == 0) {
        if (!put_number(data, code, *place))
            return 0;
        *place += tga_item_size(code);
        return 1;
    }
    if (!is_list(data) || length_of(data) != shape[0])
        return 0;
    for (Py_ssize_t i = 0; i < shape[0]; i++)
        if (!put_list(item_of(data, i), code, shape + 1, ndim - 1, place))
            return 0;
    return 1;
}

/* quick_list(data, dtype) -> a new array: of numbers in nested lists or tuples, none of them empty */
static PyObject *quick_list(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_list", count, 2))
        return NULL;
    const int code = code_of(state, args[1]);
    Py_ssize_t lengths[TGA_MAX_DIMS], ndim = 0, size = 1;
    if (code != TGA_FLOAT32 && code != TGA_FLOAT64 && code != TGA_INT64)
        Py_RETURN_NONE;
    for (PyObject *first = args[0]; is_list(first); first = item_of(first, 0)) {
        if (ndim == TGA_MAX_DIMS || !length_of(first) ||
            __builtin_mul_overflow(size, length_of(first), &size))
            Py_RETURN_NONE;
        lengths[ndim++] = length_of(first);
    }
    if (size >> 40)
        Py_RETURN_NONE;
    PyObject *shape = tga_tuple_of(lengths, ndim);
    Array *y = shape ? tga_array_new(state, shape, code, size) : NULL;
    Py_XDECREF(shape);
    if (!y)
        return NULL;
    char *place = y->start;
    const int done = put_list(args[0], code, lengths, ndim, &place);
    PyErr_Clear(); /* of a number that does not fit: the long way says what is wrong */
    return finished(y, done ? TGA_OK : TGA_NO_KERNEL);
}

PyObject *tga_number_at(int code, const char *place)
{
    float single;
    double wide;
    int64_t whole;
    switch (code) {
    case TGA_FLOAT32:
        memcpy(&single, place, sizeof single);
        return PyFloat_FromDouble((double)single);
    case TGA_FLOAT64:
        memcpy(&wide, place, sizeof wide);
        return PyFloat_FromDouble(wide);
    case TGA_INT64:
        memcpy(&whole, place, sizeof whole);
        return PyLong_FromLongLong(whole);
    case TGA_BOOL:
        return PyBool_FromLong(*place);
    default:
        return PyLong_FromLong(*(const unsigned char *)place);
    }
}

/* Nested lists of what a view shows from one of its axes on. */
static PyObject *listed(const View *view, Py_ssize_t axis, int code, const char *place)
{
    if (axis == view->ndim)
        return tga_number_at(code, place);
    PyObject *list = PyList_New(view->shape[axis]);
    for (Py_ssize_t i = 0; list && i < view->shape[axis]; i++) {
        PyObject *item = listed(view, axis + 1, code, place);
        if (item)
            PyList_SetItem(list, i, item);
        else
            Py_CLEAR(list);
        place += view->strides[axis] * (Py_ssize_t)tga_item_size(code);
    }
    return list;
}

/* quick_to_list(x) -> nested lists of numbers; of a 0-d array the number */
static PyObject *quick_to_list(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (!expect("quick_to_list", count, 1))
        return NULL;
    const Array *x = as_array(state_of(module), args[0]);
    View view;
    if (!tga_view_of(x, &view) || !x->size)
        Py_RETURN_NONE;
    return listed(&view, 0, x->code, x->start);
}

/* ---- copies ----------------------------------------------------------------------------------- */

/* quick_convert(x, dtype) -> a new array in C order with the elements of x */
static PyObject *quick_convert(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_convert", count, 2))
        return NULL;
    const Array *x = as_array(state, args[0]);
    const int code = code_of(state, args[1]);
    View view;
    if (code < 0 || !tga_view_of(x, &view))
        Py_RETURN_NONE;
    Array *y = tga_array_new(state, x->shape, code, x->size);
    if (!y)
        return NULL;
    tga_layout walk = {.ndim = view.ndim};
    int64_t step = 1;
    for (Py_ssize_t i = view.ndim - 1; i >= 0; i--) {
        walk.shape[i] = view.shape[i];
        walk.stride[0][i] = step;
        walk.stride[1][i] = view.strides[i];
        step *= view.shape[i];
    }
    int status;
    RUN(status, x->size, tga_copy_strided(code, x->code, &walk, x->start, y->start));
    return finished(y, status);
}

/* quick_join(arrays, axis, is it a new one?) -> the arrays, a tuple of them in C order of one dtype,
 * one after the other along an axis counted from the front */
static PyObject *quick_join(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    if (!expect("quick_join", count, 3))
        return NULL;
    const Py_ssize_t number = PyTuple_CheckExact(args[0]) ? PyTuple_Size(args[0]) : 0;
    const Array *first = number ? as_array(state, PyTuple_GetItem(args[0], 0)) : NULL;
    const Py_ssize_t axis = PyLong_AsSsize_t(args[1]);
    const int is_new = args[2] == Py_True;
    View y, x;
    if (!tga_view_of(first, &y) || axis < 0 || axis >= y.ndim + is_new ||
        y.ndim + is_new > TGA_MAX_DIMS)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    Py_ssize_t before = 1, after = 1, length = 0;
    for (Py_ssize_t i = 0; i < y.ndim; i++)
        *(i < axis ? &before : &after) *= i == axis && !is_new ? 1 : y.shape[i];
    for (Py_ssize_t k = 0; k < number; k++) {
        const Array *one = as_array(state, PyTuple_GetItem(args[0], k));
        if (!tga_view_of(one, &x) || one->code != first->code || !is_contiguous(one) ||
            !one->size || x.ndim != y.ndim)
            Py_RETURN_NONE;
        for (Py_ssize_t i = 0; i < x.ndim; i++)
            if (x.shape[i] != y.shape[i] && (is_new || i != axis))
                Py_RETURN_NONE;
        length += is_new ? 1 : x.shape[axis];
    }
    if (is_new) {
        memmove(y.shape + axis + 1, y.shape + axis, (size_t)(y.ndim - axis) * sizeof *y.shape);
        y.ndim++;
    }
    y.shape[axis] = length;
    PyObject *shape = tga_tuple_of(y.shape, y.ndim);
    Array *joined =
        shape ? tga_array_new(state, shape, first->code, before * length * after) : NULL;
    Py_XDECREF(shape);
    if (!joined)
        return NULL;
    char *place = joined->start;
    int status = TGA_OK;
    for (Py_ssize_t k = 0; k < number && status == TGA_OK; k++) {
        const Array *one = (Array *)PyTuple_GetItem(args[0], k);
        const Py_ssize_t block = one->size / before;
        const tga_layout walk = {
            .ndim = 2,
            .shape = {before, block},
            .stride = {{length * after, 1}, {block, 1}},
        };
        RUN(status, one->size, tga_copy_strided(one->code, one->code, &walk, one->start, place));
        place += block * (Py_ssize_t)tga_item_size(one->code);
    }
    return finished(joined, status);
}

PyMethodDef tga_value_shortcuts[] = {
    FUNCTION(quick_full),
    FUNCTION(quick_list),
    FUNCTION(quick_to_list),
    FUNCTION(quick_convert),
    FUNCTION(quick_join),
    {0},
};
