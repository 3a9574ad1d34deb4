"""Shape: the same numbers in another arrangement; mostly views, so nothing moves."""

from math import prod

from ..array import (
    broadcast_shape,
    checked_shape,
    convert,
    copy_into,
    empty,
    full,
    index_view,
    normalized_axis,
)
from ..array import expand as expand_view
from ..array import permute as permute_view
from ..array import reshape as reshape_view
from ..dtype import promote
from ..op import general, shape_of, unbroadcast


def _reshape(x, shape):
    wanted = shape
    if -1 in shape:
        known = prod(n for n in shape if n != -1)
        if shape.count(-1) > 1 or known == 0 or x.size % known:
            raise ValueError(f"reshape: {x.size} elements do not fit into shape {wanted}")
        shape = tuple(x.size // known if n == -1 else n for n in shape)
    shape, size = checked_shape(shape, "reshape")
    if size != x.size:
        raise ValueError(
            f"reshape: x has shape {x.shape}, {x.size} elements, but shape {wanted} has {size}"
        )
    return reshape_view(x, shape)


reshape = general(
    "reshape",
    "x",
    forward=_reshape,
    vjp=(lambda gy, y, x, shape: reshape(gy, shape=shape_of(x)),),
    attrs={"shape": None},
    conventions="one size may be -1: what is left; a view where the strides allow it",
)


def normalized_permutation(axes, ndim, op):
    """`axes` counted from the front; raises unless each axis is named once."""
    order = tuple(normalized_axis(axis, ndim, op) for axis in axes)
    if sorted(order) != list(range(ndim)):
        raise ValueError(f"{op}: axes {tuple(axes)} must name each of the {ndim} axes once")
    return order


def _inverse(order):
    return tuple(sorted(range(len(order)), key=order.__getitem__))


permute = general(
    "permute",
    "x",
    forward=lambda x, axes: permute_view(x, normalized_permutation(axes, x.ndim, "permute")),
    vjp=(
        lambda gy, y, x, axes: permute(
            gy, axes=_inverse(normalized_permutation(axes, gy.ndim, "permute"))
        ),
    ),
    attrs={"axes": None},
    conventions="axis i of the result is axis axes[i] of x",
)


def _transpose(x, axis0, axis1):
    axes = list(range(x.ndim))
    i = normalized_axis(axis0, x.ndim, "transpose")
    j = normalized_axis(axis1, x.ndim, "transpose")
    axes[i], axes[j] = axes[j], axes[i]
    return permute_view(x, tuple(axes))


transpose = general(
    "transpose",
    "x",
    forward=_transpose,
    vjp=(lambda gy, y, x, axis0, axis1: transpose(gy, axis0=axis0, axis1=axis1),),
    attrs={"axis0": -2, "axis1": -1},
    conventions="swaps two axes, the last two by default",
)


def _expand(x, shape):
    lead = len(shape) - x.ndim
    if lead >= 0:
        shape = tuple(
            x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape)
        )
    shape, _ = checked_shape(shape, "expand")
    if lead < 0 or broadcast_shape("expand", x.shape, shape) != shape:
        raise ValueError(f"expand: x has shape {x.shape}, which does not repeat to {shape}")
    return expand_view(x, shape)


expand = general(
    "expand",
    "x",
    forward=_expand,
    vjp=(lambda gy, y, x, shape: unbroadcast(gy, shape_of(x)),),
    attrs={"shape": None},
    conventions="-1 keeps the size of an axis; a view, whose elements share memory",
)


def _squeeze(x, axis):
    if axis is None:
        return reshape_view(x, tuple(n for n in x.shape if n != 1))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = [normalized_axis(one, x.ndim, "squeeze") for one in axes]
    for one in axes:
        if x.shape[one] != 1:
            raise ValueError(
                f"squeeze: axis {one} of x, whose shape is {x.shape}, has size {x.shape[one]}, not 1"
            )
    return reshape_view(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


squeeze = general(
    "squeeze",
    "x",
    forward=_squeeze,
    vjp=(lambda gy, y, x, axis: reshape(gy, shape=shape_of(x)),),
    attrs={"axis": None},
    conventions="takes away axes of length 1: all of them, or those named, which must be of it",
)


def _unsqueeze(x, axis):
    axis = normalized_axis(axis, x.ndim + 1, "unsqueeze")
    return reshape_view(x, (*x.shape[:axis], 1, *x.shape[axis:]))


unsqueeze = general(
    "unsqueeze",
    "x",
    forward=_unsqueeze,
    vjp=(lambda gy, y, x, axis: reshape(gy, shape=shape_of(x)),),
    attrs={"axis": 0},
    conventions="a new axis of length 1 stands at `axis` of the result",
)


# ---- joining -----------------------------------------------------------------------------------


def _common_dtype(xs):
    dtype = xs[0].dtype
    for x in xs[1:]:
        dtype = dtype if x.dtype is dtype else promote(dtype, x.dtype)
    return dtype


def _concat(*xs, axis):
    first = xs[0]
    if first.ndim == 0:
        raise ValueError("concat: a 0-d tensor has no axis to join along; use stack")
    axis = normalized_axis(axis, first.ndim, "concat")
    for x in xs:
        if x.ndim != first.ndim or any(
            i != axis and a != b for i, (a, b) in enumerate(zip(x.shape, first.shape, strict=True))
        ):
            raise ValueError(
                f"concat: shapes {first.shape} and {x.shape} differ in more than axis {axis}"
            )
    length = sum(x.shape[axis] for x in xs)
    shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
    y = empty(shape, _common_dtype(xs), prod(shape))
    start = 0
    for x in xs:
        copy_into(index_view(y, _slab(axis, start, start + x.shape[axis])), x)
        start += x.shape[axis]
    return y


def _slab(axis, start, stop):
    """The index of everything between two places along one axis."""
    return (*[slice(None)] * axis, slice(start, stop))


def _concat_vjp(gy, y, *xs, axis):
    axis = axis % len(shape_of(y))
    gradients, start = [], 0
    for x in xs:
        stop = start + shape_of(x)[axis]
        gradients.append(getitem(gy, index=_slab(axis, start, stop)))
        start = stop
    return gradients


concat = general(
    "concat",
    "*xs",
    forward=_concat,
    vjp=_concat_vjp,
    attrs={"axis": 0},
    promotes=1,
)


def _stack(*xs, axis):
    axis = normalized_axis(axis, xs[0].ndim + 1, "stack")
    for x in xs:
        if x.shape != xs[0].shape:
            raise ValueError(f"stack: shapes {xs[0].shape} and {x.shape} differ")
    return _concat(*[_unsqueeze(x, axis) for x in xs], axis=axis)


def _stack_vjp(gy, y, *xs, axis):
    axis = axis % gy.ndim
    return [getitem(gy, index=(*[slice(None)] * axis, i)) for i in range(len(xs))]


stack = general(
    "stack",
    "*xs",
    forward=_stack,
    vjp=_stack_vjp,
    attrs={"axis": 0},
    promotes=1,
)


# ---- indexing ----------------------------------------------------------------------------------

getitem = general(
    "getitem",
    "x",
    forward=lambda x, index: index_view(x, index),
    vjp=(lambda gy, y, x, index: put(gy, index=index, shape=shape_of(x)),),
    attrs={"index": ()},
    conventions="integers, slices, Ellipsis and None, as in NumPy; a view",
)


def _put(x, index, shape):
    y = full(shape, 0, x.dtype)
    copy_into(index_view(y, index), x)
    return y


put = general(
    "put",
    "x",
    forward=_put,
    vjp=(lambda gy, y, x, index, shape: getitem(gy, index=index),),
    attrs={"index": (), "shape": None},
    conventions="zeros of `shape` with x at `index`: the derivative of indexing",
)


# ---- copying -----------------------------------------------------------------------------------

clone = general(
    "clone",
    "x",
    forward=lambda x: convert(x, x.dtype),
    vjp=(lambda gy, y, x: gy,),
    conventions="a copy in memory of its own, C-ordered",
)

