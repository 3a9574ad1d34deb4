"""Along an axis: sums and products of all up to each element, and the order of elements.

The axis is an integer, or None for all elements in C order, as if in one row.
"""

from math import prod

from .. import kernels
from ..array import contiguous, empty, is_whole, normalized_axis
from ..array import reshape as reshape_view
from ..dtype import int64
from ..op import composed, general, refuse_unknown, shape_of
from . import nested
from .indexing import gather
from .reduction import product_before
from .shape import concat, getitem, permute, reshape

lib = kernels.lib


# ---- what both have in common ---------------------------------------------------------------


def _along(x, axis, op):
    """x contiguous, flattened if there is no axis, and its axis and shape around it."""
    if axis is None:
        x, axis = reshape_view(x, (x.size,)), 0
    axis = normalized_axis(axis, x.ndim, op)
    x = contiguous(x)
    return x, axis, (prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :]))


# ---- sums and products ----------------------------------------------------------------------


def _cumulate(op, product, x, axis, reverse):
    x, _, around = _along(x, axis, op)
    y = empty(x.shape, x.dtype if x.dtype.is_float else int64, x.size)
    lib.tga_cumulate(x.dtype.code, product, bool(reverse), *around, x.data, y.data)
    return y


def _sample_along(random):
    shape = nested.draw_shape(random)
    axis = nested.draw_axis(random, len(shape)) if shape and random.random() < 0.8 else None
    return [nested.draw_numbers(random, shape)], {"axis": axis}


def _reference_along(of_line):
    """The textbook form: `of_line` of the list of elements along the axis, as such a list."""

    def reference(x, axis, **attrs):
        if axis is None:
            x, axis = nested.flat(x), 0
        shape = nested.shape(x)
        axis = axis % len(shape)

        def one(index):
            before, after = index[:axis], index[axis + 1 :]
            line = [nested.at(x, (*before, i, *after)) for i in range(shape[axis])]
            return of_line(line, **attrs)[index[axis]]

        return nested.build(shape, one)

    return reference


def _sums(line, reverse):
    if reverse:
        return [sum(line[i:]) for i in range(len(line))]
    return [sum(line[: i + 1]) for i in range(len(line))]


def _sample_cumsum(random):
    inputs, attrs = _sample_along(random)
    return inputs, {**attrs, "reverse": random.random() < 0.5}


cumsum = general(
    "cumsum",
    "x",
    forward=lambda x, axis, reverse: _cumulate("cumsum", 0, x, axis, reverse),
    vjp=(
        lambda gy, y, x, axis, reverse: reshape(
            cumsum(gy, axis=axis, reverse=not reverse), shape=shape_of(x)
        ),
    ),
    attrs={"axis": None, "reverse": False},
    sample=_sample_cumsum,
    reference=_reference_along(_sums),
    conventions="of all up to each element, or, in reverse, from it on; one after the other, so "
    "the error grows with the length; without an axis of x flattened, as in NumPy; integers and "
    "bools give int64",
)


def _cumprod_vjp(gy, y, x, axis):
    # the product of all before k, times s[k] = gy[k] + x[k + 1] s[k + 1]: no division by x.
    # The recurrence is doubled: s reaches over 1, 2, 4 ... elements, and so does `over`,
    # the product that carries on
    shape = x.shape
    if not x.size:
        return reshape(gy, shape=shape)
    if axis is None:
        x, axis = reshape(x, shape=(-1,)), 0
    ndim = len(x.shape)
    axis = axis % ndim
    order = (*range(axis), *range(axis + 1, ndim), axis)
    x, s = permute(x, axes=order), permute(gy, axes=order)
    parts = [getitem(x, index=(..., part)) for part in (slice(1, None), slice(1))]
    over = concat(*parts, axis=-1)
    step = 1
    while step < x.shape[-1]:
        first, later = (..., slice(-step)), (..., slice(step, None))
        last = (..., slice(-step, None))
        carried = getitem(over, index=first) * getitem(s, index=later)
        s = concat(getitem(s, index=first) + carried, getitem(s, index=last), axis=-1)
        doubled = getitem(over, index=first) * getitem(over, index=later)
        over = concat(doubled, getitem(over, index=last), axis=-1)
        step *= 2
    gx = permute(product_before(x) * s, axes=tuple(sorted(range(ndim), key=order.__getitem__)))
    return reshape(gx, shape=shape)


def _cumprod_fused(parents, gy, y, x, axis):
    shape = x.shape
    x, _, around = _along(x, axis, "cumprod")
    gx, gy = empty(shape, x.dtype, x.size), contiguous(gy)
    lib.tga_cumprod_backward(x.dtype.code, *around, gy.data, x.data, gx.data)
    return (gx,)


cumprod = general(
    "cumprod",
    "x",
    forward=lambda x, axis: _cumulate("cumprod", 1, x, axis, False),
    vjp=(_cumprod_vjp,),
    fused=_cumprod_fused,
    saves="x",
    attrs={"axis": None},
    sample=_sample_along,
    reference=_reference_along(lambda line: [prod(line[: i + 1]) for i in range(len(line))]),
    conventions="as cumsum; the derivative divides by no element, so any may be 0",
)

# ---- order ----------------------------------------------------------------------------------


def _first_places(op, x, axis, descending, k=None):
    """The places of the first k elements in order, or of all."""
    x, axis, around = _along(x, axis, op)
    k = x.shape[axis] if k is None else k
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    y = empty(shape, int64, prod(shape))
    to = kernels.as_int64(y.data)
    status = lib.tga_argsort(x.dtype.code, bool(descending), *around, k, x.data, to)
    if status:
        kernels.check(status, op)
    return y


def _argsort_forward(x, axis, descending):
    return _first_places("argsort", x, axis, descending)


def _sample_order(random):
    shape = nested.draw_shape(random, empty=False)
    axis = nested.draw_axis(random, len(shape)) if shape and random.random() < 0.8 else None
    return [nested.draw_distinct(random, shape)], {
        "axis": axis,
        "descending": random.random() < 0.5,
    }


argsort = general(
    "argsort",
    "x",
    forward=_argsort_forward,
    vjp=(None,),
    attrs={"axis": -1, "descending": False},
    sample=_sample_order,
    reference=_reference_along(
        lambda line, descending: sorted(
            range(len(line)), key=lambda i: -line[i] if descending else line[i]
        )
    ),
    conventions="int64; equal elements keep their order, in both directions; nan comes last, and "
    "first in descending order, as in PyTorch; without an axis, of x flattened",
)


def _sort(x, axis, descending):
    if axis is None:
        x, axis = reshape(x, shape=(-1,)), 0
    axis = normalized_axis(axis, len(x.shape), "sort")  # where it does not exist, name this op
    return gather(x, argsort(x, axis=axis, descending=descending), axis=axis)


sort = composed(
    "sort",
    "x",
    forward=_sort,
    attrs={"axis": -1, "descending": False},
    sample=_sample_order,
    reference=_reference_along(lambda line, descending: sorted(line, reverse=descending)),
    conventions="the values alone, as in NumPy; argsort has the places; each gradient goes back to "
    "where its value came from, of equal ones in their order",
)


def _topk_index_forward(x, k, axis, largest):
    if axis is None:
        raise TypeError(f"topk_index: axis must be an integer, not {axis!r}")
    k = _checked_k("topk_index", x.shape, k, normalized_axis(axis, x.ndim, "topk_index"))
    return _first_places("topk_index", x, axis, largest, k)


def _checked_k(op, shape, k, axis):
    if not is_whole(k):
        raise TypeError(f"{op}: k must be an integer, not {k!r}")
    if not 0 <= k <= shape[axis]:
        raise ValueError(
            f"{op}: k is {k}, but axis {axis} of x, whose shape is {shape}, has "
            f"{shape[axis]} elements"
        )
    return int(k)


def _sample_topk(random):
    shape = nested.draw_shape(random, least=1, empty=False)
    axis = nested.draw_axis(random, len(shape))
    attrs = {"k": random.randint(1, shape[axis]), "axis": axis, "largest": random.random() < 0.5}
    return [nested.draw_distinct(random, shape)], attrs


def _reference_topk_index(x, k, axis, largest):
    order = argsort.reference(x, axis, descending=largest)
    shape = list(nested.shape(x))
    shape[axis] = k
    return nested.build(tuple(shape), lambda index: nested.at(order, index))


topk_index = general(
    "topk_index",
    "x",
    forward=_topk_index_forward,
    vjp=(None,),
    attrs={"k": None, "axis": -1, "largest": True},
    sample=_sample_topk,
    reference=_reference_topk_index,
    conventions="int64; where topk finds the largest, or the smallest: the first k places of "
    "argsort, without sorting all if they are few",
)


def topk(x, k, axis=-1, largest=True, **wrong):
    """The k largest elements along an axis, in descending order, and their places.

    Parameters
    ----------
    x : Tensor
    k : int
        From 0 to the length of the axis.
    axis : int
        Default: the last one.
    largest : bool
        Otherwise the k smallest, in ascending order.  Default: True.

    Returns
    -------
    values, indices : Tensor
        Of x's shape, with k in place of the axis's length; indices are int64.  Gradients
        flow through the values.

    Raises
    ------
    ValueError, TypeError
        If there is no such axis, or there are not so many elements along it.

    Examples
    --------
    >>> from tinygrad_act import Tensor
    >>> values, indices = topk(Tensor([3.0, 9.0, 5.0]), 2)
    >>> values.tolist(), indices.tolist()
    ([9.0, 5.0], [1, 2])
    """
    refuse_unknown("topk", wrong, ("k", "axis", "largest"))
    axis = normalized_axis(axis, len(x.shape), "topk")
    k = _checked_k("topk", x.shape, k, axis)
    indices = topk_index(x, k=k, axis=axis, largest=bool(largest))
    return gather(x, indices, axis=axis), indices
