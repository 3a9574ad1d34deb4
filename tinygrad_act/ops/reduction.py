"""Reductions: many numbers to one, over all axes or some.

`axis` is None for all axes, an integer, or a tuple of integers; with
``keepdims=True`` a reduced axis stays, with length 1.
"""

from functools import lru_cache
from itertools import product
from math import nan, prod

from ..array import Array, contiguous, empty, normalized_axis, strides_of
from ..dtype import bool_, int64, uint8
from ..op import evaluate, general, kernels, needs_float, shape_of
from . import nested
from .arithmetic import where
from .shape import concat, expand, getitem, permute, reshape

lib = kernels.lib


def normalized_axes(axis, ndim, op):
    """The axes meant by `axis`, as a sorted tuple.

    Raises
    ------
    TypeError, ValueError
        If one is no integer, does not exist or is named twice.
    """
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, (tuple, list)):
        return (normalized_axis(axis, ndim, op),)
    axes = sorted(normalized_axis(one, ndim, op) for one in axis)
    if len(set(axes)) < len(axes):
        raise ValueError(f"{op}: axis {axis} names an axis twice")
    return tuple(axes)


def kept_shape(shape, axes):
    """The shape with length 1 at the reduced axes."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


@lru_cache(maxsize=2048, typed=True)
def _plan(name, shape, strides, axis, keepdims):
    """What a reduction of such an array needs: the layout for C, how many axes stay, and the
    result's shape and size.
    """
    axes = normalized_axes(axis, len(shape), name)
    kept = [i for i in range(len(shape)) if i not in axes]
    result = tuple(shape[i] for i in kept)
    size = prod(result)
    if name in ("max", "min") and size and not prod(shape):
        raise ValueError(f"{name}: nothing to choose from, x has shape {shape}")
    order = (*kept, *axes)
    walk = kernels.layout(
        tuple(shape[i] for i in order), (0,) * len(order), tuple(strides[i] for i in order)
    )
    return walk, len(kept), kept_shape(shape, axes) if keepdims else result, size


def _reduce(name):
    row = kernels.find("reduce", name)

    def forward(x, axis, keepdims):
        axis = tuple(axis) if isinstance(axis, list) else axis
        walk, kept, shape, size = _plan(name, x.shape, strides_of(x), axis, bool(keepdims))
        dtype = int64 if name in ("sum", "prod") and x.dtype in (bool_, uint8) else x.dtype
        y = empty(shape, dtype, size)
        status = lib.tga_reduce(row, x.dtype.code, walk, kept, x.data, y.data)
        if status:
            kernels.check(status, name)
        return y

    return forward


def _reference(choose):
    """The textbook form of a reduction: `choose` of the list of all that becomes one."""

    def reference(x, axis, keepdims):
        shape = nested.shape(x)
        axes = normalized_axes(axis, len(shape), "reference")

        def one(kept):
            taken = [range(n) if i in axes else [kept[i]] for i, n in enumerate(shape)]
            return choose([nested.at(x, index) for index in product(*taken)])

        y = nested.build(kept_shape(shape, axes), one)
        if keepdims:
            return y
        return nested.nest(nested.flat(y), [n for i, n in enumerate(shape) if i not in axes])

    return reference


def _sample(random, draw=nested.draw_numbers, empty=True):
    shape = nested.draw_shape(random, empty=empty)
    axis = nested.draw_axes(random, len(shape))
    return [draw(random, shape)], {"axis": axis, "keepdims": random.random() < 0.5}


def _sample_distinct(random):
    return _sample(random, nested.draw_distinct, empty=False)


def _spread(g, x, axis, op):
    """A gradient of a reduction's result, repeated along the reduced axes of its input."""
    shape = shape_of(x)
    kept = kept_shape(shape, normalized_axes(axis, len(shape), op))
    spread = expand(g if g.shape == kept else reshape(g, shape=kept), shape=shape)
    # all that follows goes faster along arrays in C order than along repeated elements
    return contiguous(spread) if type(spread) is Array else spread


sum_ = general(
    "sum",
    "x",
    forward=_reduce("sum"),
    vjp=(lambda gy, y, x, axis, keepdims: _spread(gy, x, axis, "sum"),),
    attrs={"axis": None, "keepdims": False},
    sample=_sample,
    reference=_reference(sum),
    conventions="of nothing, 0; of bools, their count as int64; summed in chunks, so that the "
    "error grows with the logarithm of the length only",
)


def _mean_forward(x, axis, keepdims):
    needs_float("mean", x)
    y = sum_.forward(x, axis, keepdims)
    return y / float(x.size // y.size if y.size else 1) if x.size else y / 0.0


mean = general(
    "mean",
    "x",
    forward=_mean_forward,
    vjp=(
        lambda gy, y, x, axis, keepdims: _spread(
            gy / float(prod(shape_of(x)) // max(gy.size, 1)), x, axis, "mean"
        ),
    ),
    attrs={"axis": None, "keepdims": False},
    sample=_sample,
    reference=_reference(lambda xs: sum(xs) / len(xs) if xs else nan),
    conventions="of nothing, nan",
)


def _product_before(x):
    """Of each element, the product of all before it in the last axis: log2(n) steps."""
    one = getitem(x, index=(..., slice(1))) ** 0
    y = concat(one, getitem(x, index=(..., slice(-1))), axis=-1)
    step = 1
    while step < x.shape[-1]:
        first, rest = [getitem(y, index=(..., part)) for part in (slice(step), slice(step, None))]
        y = concat(first, rest * getitem(y, index=(..., slice(-step))), axis=-1)
        step *= 2
    return y


def _prod_vjp(gy, y, x, axis, keepdims):
    # the product of all others, those before times those after: y / x fails where x is 0
    gy = _spread(gy, x, axis, "prod")
    if not x.size:
        return gy
    axes = normalized_axes(axis, len(x.shape), "prod")
    order = (*[i for i in range(len(x.shape)) if i not in axes], *axes)
    turned = permute(x, axes=order)
    rows = reshape(turned, shape=(-1, prod(x.shape[i] for i in axes)))
    backwards = (..., slice(None, None, -1))
    after = getitem(_product_before(getitem(rows, index=backwards)), index=backwards)
    others = reshape(_product_before(rows) * after, shape=turned.shape)
    return gy * permute(others, axes=tuple(sorted(range(len(order)), key=order.__getitem__)))


prod_ = general(
    "prod",
    "x",
    forward=_reduce("prod"),
    vjp=(_prod_vjp,),
    saves="x",
    attrs={"axis": None, "keepdims": False},
    sample=_sample,
    reference=_reference(prod),
    conventions="of nothing, 1; the derivative is the product of all others, also where one is 0",
)


def _extreme_vjp(gy, y, x, axis, keepdims):
    # all that equal the extreme share the gradient
    top = _spread(y, x, axis, "max")
    chosen = evaluate(lambda: where(x == top, 1.0, 0.0), x.dtype)
    count = sum_(chosen, axis=axis, keepdims=keepdims)
    return chosen * _spread(gy / count, x, axis, "max")


max_ = general(
    "max",
    "x",
    forward=_reduce("max"),
    vjp=(_extreme_vjp,),
    saves="x y",
    attrs={"axis": None, "keepdims": False},
    sample=_sample_distinct,
    reference=_reference(max),
    conventions="nan if there is any nan; where several are the largest, they share the gradient "
    "equally, as in JAX; of nothing, an error",
)

min_ = general(
    "min",
    "x",
    forward=_reduce("min"),
    vjp=(_extreme_vjp,),
    saves="x y",
    attrs={"axis": None, "keepdims": False},
    sample=_sample_distinct,
    reference=_reference(min),
    conventions="as max",
)
