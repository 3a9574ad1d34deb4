"""Reductions: many numbers to one, over all axes or some.

`axis` is None for all axes, an integer, or a tuple of integers; with
``keepdims=True`` a reduced axis stays, with length 1.
"""

from functools import lru_cache
from itertools import product
from math import inf, nan, prod

from .. import kernels
from ..array import Array, contiguous, empty, normalized_axis, strides_of
from ..array import permute as permute_view
from ..array import reshape as view_reshaped
from ..dtype import bool_, int64, uint8
from ..op import evaluate, general, needs_float, shape_of
from . import nested
from .arithmetic import abs_, exp, log, sign, sqrt, where
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
    if name in ("max", "min", "amax", "amin") and size and not prod(shape):
        raise ValueError(f"{name}: nothing to choose from, x has shape {shape}")
    order = (*kept, *axes)
    walk = kernels.layout(
        tuple(shape[i] for i in order), (0,) * len(order), tuple(strides[i] for i in order)
    )
    return walk, len(kept), kept_shape(shape, axes) if keepdims else result, size


def _reduce(name, row=None):
    """The forward pass of a row of reduce.def, by default that of the same name."""
    row = kernels.find("reduce", row or name)

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


# ---- what is reduced is brought together, or lies along one axis ------------------------------


def _as_rows(x, axis, op):
    """x with the reduced axes last, contiguous: (what stays ..., what is reduced ...).

    Also the order of the axes, the number of rows and their length.
    """
    axes = normalized_axes(axis, x.ndim, op)
    kept = [i for i in range(x.ndim) if i not in axes]
    order = (*kept, *axes)
    rows = contiguous(permute_view(x, order))
    return rows, order, prod(x.shape[i] for i in kept), prod(x.shape[i] for i in axes)


def _result_shape(shape, axis, keepdims, op):
    axes = normalized_axes(axis, len(shape), op)
    if keepdims:
        return kept_shape(shape, axes)
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _back(rows, order):
    """The inverse of the permutation in `_as_rows`, as a view."""
    return permute_view(rows, tuple(sorted(range(len(order)), key=order.__getitem__)))


def _as_lines(x, axis, op):
    """x contiguous, how C sees it, as (outer, what is reduced, inner), and the order of its axes.

    That order is None where they stay as they are: where neighbours are reduced.
    """
    axes = normalized_axes(axis, x.ndim, op)
    if axes and axes[-1] - axes[0] >= len(axes):
        rows, order, count, n = _as_rows(x, axis, op)
        return rows, (count, n, 1), order
    shape, first = x.shape, axes[0] if axes else x.ndim
    end = first + len(axes)
    return contiguous(x), (prod(shape[:first]), prod(shape[first:end]), prod(shape[end:])), None


def _lines_backward(op, kernel, axis, gy, y, x):
    """The gradient of a reduction, by `kernel(dtype, outer, n, inner, gy, y, x, gx)` of C."""
    x, lines, order = _as_lines(x, axis, op)
    gx, gy, y = empty(x.shape, x.dtype, x.size), contiguous(gy), contiguous(y)
    kernel(x.dtype.code, *lines, gy.data, y.data, x.data, gx.data)
    return (gx if order is None else _back(gx, order),)


# ---- sums and the like -----------------------------------------------------------------------

sum_ = general(
    "sum",
    "x",
    forward=_reduce("sum"),
    vjp=(lambda gy, y, x, axis, keepdims: _spread(gy, x, axis, "sum"),),
    shortcut=("sum", 0, "x"),
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
    shortcut=("sum", 1, "x"),
    attrs={"axis": None, "keepdims": False},
    sample=_sample,
    reference=_reference(lambda xs: sum(xs) / len(xs) if xs else nan),
    conventions="of nothing, nan",
)


def product_before(x):
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
    after = getitem(product_before(getitem(rows, index=backwards)), index=backwards)
    others = reshape(product_before(rows) * after, shape=turned.shape)
    return gy * permute(others, axes=tuple(sorted(range(len(order)), key=order.__getitem__)))


def _prod_fused(parents, gy, y, x, axis, keepdims):
    x, lines, order = _as_lines(x, axis, "prod")
    gx, gy = empty(x.shape, x.dtype, x.size), contiguous(gy)
    lib.tga_prod_backward(x.dtype.code, *lines, gy.data, x.data, gx.data)
    return (gx if order is None else _back(gx, order),)


prod_ = general(
    "prod",
    "x",
    forward=_reduce("prod"),
    vjp=(_prod_vjp,),
    fused=_prod_fused,
    saves="x",
    shortcut=("reduce", kernels.find("reduce", "prod")),
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


def _extreme_fused(parents, gy, y, x, axis, keepdims):
    return _lines_backward("max", lib.tga_extreme_backward, axis, gy, y, x)


max_ = general(
    "max",
    "x",
    forward=_reduce("max"),
    vjp=(_extreme_vjp,),
    fused=_extreme_fused,
    saves="x y",
    shortcut=("reduce", kernels.find("reduce", "max")),
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
    fused=_extreme_fused,
    saves="x y",
    shortcut=("reduce", kernels.find("reduce", "min")),
    attrs={"axis": None, "keepdims": False},
    sample=_sample_distinct,
    reference=_reference(min),
    conventions="as max",
)

amax = general(
    "amax",
    "x",
    forward=_reduce("amax", row="max"),
    vjp=(_extreme_vjp,),
    fused=_extreme_fused,
    saves="x y",
    shortcut=("reduce", kernels.find("reduce", "max")),
    attrs={"axis": None, "keepdims": False},
    sample=_sample_distinct,
    reference=_reference(max),
    conventions="the same as max: PyTorch, too, shares the gradient of amax equally among ties, "
    "while its max gives it to one",
)

amin = general(
    "amin",
    "x",
    forward=_reduce("amin", row="min"),
    vjp=(_extreme_vjp,),
    fused=_extreme_fused,
    saves="x y",
    shortcut=("reduce", kernels.find("reduce", "min")),
    attrs={"axis": None, "keepdims": False},
    sample=_sample_distinct,
    reference=_reference(min),
    conventions="as amax",
)

# ---- what needs x more than once -------------------------------------------------------------


def _freedom(x, axis, correction, op):
    """The divisor of a variance: how many numbers there are, less the correction."""
    if isinstance(correction, bool) or not isinstance(correction, (int, float)):
        raise TypeError(f"{op}: correction must be a number, not {correction!r}")
    shape = shape_of(x)
    axes = normalized_axes(axis, len(shape), op)
    return float(max(prod(shape[i] for i in axes) - correction, 0))


def _var_forward(x, axis, correction, keepdims, op="var"):
    needs_float(op, x)
    divisor = _freedom(x, axis, correction, op)
    rows, _, count, n = _as_rows(x, axis, op)
    y = empty(_result_shape(x.shape, axis, keepdims, op), x.dtype, count)
    lib.tga_var_forward(x.dtype.code, count, n, divisor, rows.data, y.data)
    return y


def _twice_over(divisor):
    return 2 / divisor if divisor else inf


def _var_vjp(gy, y, x, axis, correction, keepdims):
    factor = _twice_over(_freedom(x, axis, correction, "var"))
    return _spread(gy * factor, x, axis, "var") * (x - mean(x, axis=axis, keepdims=True))


def _var_fused(parents, gy, y, x, axis, correction, keepdims):
    factor = _twice_over(_freedom(x, axis, correction, "var"))
    x, lines, order = _as_lines(x, axis, "var")
    gx, gy = empty(x.shape, x.dtype, x.size), contiguous(gy)
    lib.tga_var_backward(x.dtype.code, *lines, factor, gy.data, x.data, gx.data)
    return (gx if order is None else _back(gx, order),)


def _sample_var(random):
    """Of at least two different numbers each, or of nothing at all."""
    while True:
        shape = nested.draw_shape(random)
        axis = nested.draw_axes(random, len(shape))
        axes = normalized_axes(axis, len(shape), "var")
        if 0 in shape or prod(shape[i] for i in axes) > 1:
            break
    attrs = {"axis": axis, "correction": random.choice([0, 1]), "keepdims": random.random() < 0.5}
    return [nested.draw_distinct(random, shape)], attrs


def _variance_of(correction):
    def variance(xs):
        if len(xs) <= correction or not xs:
            return nan
        middle = sum(xs) / len(xs)
        return sum((x - middle) * (x - middle) for x in xs) / (len(xs) - correction)

    return variance


var = general(
    "var",
    "x",
    forward=_var_forward,
    vjp=(_var_vjp,),
    fused=_var_fused,
    saves="x",
    attrs={"axis": None, "correction": 1, "keepdims": False},
    sample=_sample_var,
    reference=lambda x, axis, correction, keepdims: _reference(_variance_of(correction))(
        x, axis, keepdims
    ),
    conventions="divided by the count less the correction, 1 as in PyTorch, where NumPy and JAX "
    "take 0; where nothing is left it is a division by 0, which of one number is nan, as in all of "
    "them; of nothing, nan",
)


def _per_length(gy, y):
    # where y is 0, so is x - mean: any finite factor will do
    return gy / (2 * where(y == 0, 1, y))


std = general(
    "std",
    "x",
    forward=lambda x, axis, correction, keepdims: sqrt(
        _var_forward(x, axis, correction, keepdims, "std")
    ),
    vjp=(
        lambda gy, y, x, axis, correction, keepdims: _var_vjp(
            _per_length(gy, y), y, x, axis, correction, keepdims
        ),
    ),
    fused=lambda parents, gy, y, x, axis, correction, keepdims: _var_fused(
        parents, _per_length(gy, y), y, x, axis, correction, keepdims
    ),
    saves="x y",
    attrs={"axis": None, "correction": 1, "keepdims": False},
    sample=_sample_var,
    reference=lambda x, axis, correction, keepdims: nested.mapped(
        sqrt, var.reference(x, axis, correction, keepdims)
    ),
    conventions="the root of var; where all numbers are equal the derivative is 0, as in PyTorch",
)


def _logsumexp_forward(x, axis, keepdims):
    needs_float("logsumexp", x)
    rows, _, count, n = _as_rows(x, axis, "logsumexp")
    y = empty(_result_shape(x.shape, axis, keepdims, "logsumexp"), x.dtype, count)
    lib.tga_logsumexp_forward(x.dtype.code, count, n, rows.data, y.data)
    return y


def _logsumexp_fused(parents, gy, y, x, axis, keepdims):
    return _lines_backward("logsumexp", lib.tga_logsumexp_backward, axis, gy, y, x)


logsumexp = general(
    "logsumexp",
    "x",
    forward=_logsumexp_forward,
    vjp=(
        lambda gy, y, x, axis, keepdims: (
            _spread(gy, x, axis, "logsumexp") * exp(x - _spread(y, x, axis, "logsumexp"))
        ),
    ),
    fused=_logsumexp_fused,
    saves="x y",
    attrs={"axis": None, "keepdims": False},
    sample=_sample,
    reference=_reference(lambda xs: log(sum(exp(x) for x in xs))),
    conventions="the largest is subtracted first, so that nothing overflows; of nothing and of "
    "numbers that are all -inf it is -inf, and the derivative of the latter nan, as in PyTorch "
    "and JAX; inf with any inf, nan with any nan",
)

# ---- length ---------------------------------------------------------------------------------


def _order(p):
    if isinstance(p, bool) or not isinstance(p, (int, float)):
        raise TypeError(f"norm: p must be a number, not {p!r}")
    return float(p)


def _norm_forward(x, p, axis, keepdims):
    needs_float("norm", x)
    p = _order(p)
    if p == 2:
        rows, _, count, n = _as_rows(x, axis, "norm")
        y = empty(_result_shape(x.shape, axis, keepdims, "norm"), x.dtype, count)
        lib.tga_norm_forward(x.dtype.code, count, n, rows.data, y.data)
        return y
    size = abs_(x)
    if abs(p) == inf:
        if not x.size and prod(_result_shape(x.shape, axis, keepdims, "norm")):
            raise ValueError(f"norm: with p={p} of nothing, x has shape {x.shape}")
        return (max_ if p > 0 else min_).forward(size, axis, keepdims)
    if p == 0:
        return sum_.forward(evaluate(lambda: where(x != 0, 1, 0), x.dtype), axis, keepdims)
    if p == 1:
        return sum_.forward(size, axis, keepdims)
    if not x.size:
        return sum_.forward(size, axis, keepdims) ** (1 / p)
    # divided by the largest, or for p < 0 the least, so that no power over- or underflows
    extreme = (max_ if p > 0 else min_).forward(size, axis, True)
    unit = where(extreme == 0, 1, where(extreme == inf, 1, extreme))
    length = sum_.forward((size / unit) ** p, axis, True) ** (1 / p) * unit
    return view_reshaped(length, _result_shape(x.shape, axis, keepdims, "norm"))


def _norm_vjp(gy, y, x, p, axis, keepdims):
    p = _order(p)
    g, length = _spread(gy, x, axis, "norm"), _spread(y, x, axis, "norm")
    if p == 0:
        return g * 0
    if p == 1:
        return g * sign(x)
    if p == 2:
        return g * (x / where(length == 0, inf, length))
    if abs(p) == inf:
        chosen = evaluate(lambda: where(abs_(x) == length, 1, 0), x.dtype)
        count = sum_(chosen, axis=axis, keepdims=keepdims)
        return sign(x) * chosen * _spread(gy / count, x, axis, "norm")
    zero = x == 0  # where the power may be infinite
    size = where(zero, 1, abs_(x))
    if p < 1:  # the length may be 0 though x is not
        return g * (sign(x) * where(zero, 1, length / size) ** (1 - p))
    return g * (sign(x) * (size / where(zero, 1, length)) ** (p - 1))


def _norm_fused(parents, gy, y, x, p, axis, keepdims):
    if _order(p) != 2:
        return (_norm_vjp(gy, y, x, p, axis, keepdims),)
    return _lines_backward("norm", lib.tga_norm_backward, axis, gy, y, x)


def _sample_norm(random):
    shape = nested.draw_shape(random, empty=False)
    x = nested.mapped(lambda v: v + 1 / 32, nested.draw_distinct(random, shape))  # sizes differ
    attrs = {"axis": nested.draw_axes(random, len(shape)), "keepdims": random.random() < 0.5}
    return [x], {"p": random.choice([2, 2, 1, 3, 0.5, inf, -inf]), **attrs}


def _norm_of(p):
    def norm(xs):
        if abs(p) == inf:
            return (max if p > 0 else min)(abs(x) for x in xs)
        if p == 2:
            return sqrt(sum(x * x for x in xs))
        return exp(log(sum(exp(p * log(abs(x))) for x in xs)) / p)

    return norm


norm = general(
    "norm",
    "x",
    forward=_norm_forward,
    vjp=(_norm_vjp,),
    fused=_norm_fused,
    saves="x y",
    attrs={"p": 2, "axis": None, "keepdims": False},
    sample=_sample_norm,
    reference=lambda x, p, axis, keepdims: _reference(_norm_of(p))(x, axis, keepdims),
    conventions="sum(abs(x)**p)**(1/p), of all numbers as one vector; p = inf: the largest size, "
    "-inf: the least, shared among ties, 0: how many are not 0; no power overflows on the way. "
    "Where all are 0 the derivative is 0, the shortest of all subgradients, as in PyTorch; JAX has "
    "nan",
)

# ---- places ---------------------------------------------------------------------------------


def _place(name, smallest):
    def forward(x, axis, keepdims):
        if axis is not None:
            axis = normalized_axis(axis, x.ndim, name)
        rows, _, count, n = _as_rows(x, axis, name)
        if n == 0:
            raise ValueError(f"{name}: nothing to choose from, x has shape {x.shape}")
        y = empty(_result_shape(x.shape, axis, keepdims, name), int64, count)
        to = kernels.as_int64(y.data)
        lib.tga_argmax(x.dtype.code, smallest, count, n, rows.data, to)
        return y

    return forward


def _sample_place(random):
    shape = nested.draw_shape(random, empty=False)
    axis = nested.draw_axis(random, len(shape)) if shape and random.random() < 0.8 else None
    x = nested.draw_distinct(random, shape)
    return [x], {"axis": axis, "keepdims": random.random() < 0.5}


argmax = general(
    "argmax",
    "x",
    forward=_place("argmax", 0),
    vjp=(None,),
    attrs={"axis": None, "keepdims": False},
    sample=_sample_place,
    reference=_reference(lambda xs: xs.index(max(xs))),
    conventions="int64; the first of several, or the first nan, as in NumPy; without an axis, the "
    "place in x flattened; of nothing, an error",
)

argmin = general(
    "argmin",
    "x",
    forward=_place("argmin", 1),
    vjp=(None,),
    attrs={"axis": None, "keepdims": False},
    sample=_sample_place,
    reference=_reference(lambda xs: xs.index(min(xs))),
    conventions="as argmax",
)

# ---- truth ----------------------------------------------------------------------------------

_any_of_bools = _reduce("any", row="max")


def _any_forward(x, axis, keepdims):
    return _any_of_bools(x if x.dtype is bool_ else x != 0, axis, keepdims)


def _sample_truth(random):
    inputs, attrs = _sample(random)
    return [nested.mapped(lambda v: v if random.random() < 0.4 else 0.0, inputs[0])], attrs


any_ = general(
    "any",
    "x",
    forward=_any_forward,
    vjp=(None,),
    attrs={"axis": None, "keepdims": False},
    sample=_sample_truth,
    reference=_reference(lambda xs: any(x != 0 for x in xs)),
    conventions="bool; of nothing, False; nan is not 0",
)

all_ = general(
    "all",
    "x",
    forward=lambda x, axis, keepdims: _any_forward(x == 0, axis, keepdims) == 0,
    vjp=(None,),
    attrs={"axis": None, "keepdims": False},
    sample=_sample_truth,
    reference=_reference(lambda xs: all(x != 0 for x in xs)),
    conventions="bool; of nothing, True; nan is not 0",
)

count_nonzero = general(
    "count_nonzero",
    "x",
    forward=lambda x, axis, keepdims: sum_.forward(x != 0, axis, keepdims),
    vjp=(None,),
    attrs={"axis": None, "keepdims": False},
    sample=_sample_truth,
    reference=_reference(lambda xs: sum(x != 0 for x in xs)),
    conventions="int64; nan is not 0",
)
