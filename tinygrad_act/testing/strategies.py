"""What Hypothesis draws: shapes, layouts, tensors, attributes of an op.

A tensor's values lie on a grid that every precision holds exactly, away from points that are
named, by construction and not by rejection; and not only next to each other in memory.

Examples
--------
>>> from hypothesis import given
>>> from tinygrad_act import sigmoid
>>> from tinygrad_act.testing import gradcheck
>>> @given(tensors(shapes(most=6)))
... def test_sigmoid(x):
...     gradcheck(sigmoid, [x], order=2)
>>> test_sigmoid()
"""

import math
import random

from hypothesis import strategies as st

from ..creation import full, full_like
from ..op import Attr
from ..ops.shape import concat, stack
from ..tensor import Tensor

# ---- shapes ---------------------------------------------------------------------------------

SIDES = st.sampled_from([0, 1, 1, 2, 2, 3, 5])


def shapes(most=None):
    """Shapes with 0 to 3 axes, of which each may have length 0 or 1; of at most `most` elements.

    Without a bound now and then one long axis, which fills several vector registers and
    leaves a rest.
    """
    small = st.lists(SIDES, max_size=3).map(tuple)
    if most is not None:
        return small.map(lambda shape: _cut(shape, most))
    return st.one_of(small, small, small, st.sampled_from([(37,), (1, 67), (2, 33)]))


def _cut(shape, most):
    """The first axes, as many as `most` elements allow."""
    while math.prod(shape) > most:
        shape = shape[:-1]
    return shape


@st.composite
def broadcastable_shapes(draw, most=None):
    """Two shapes that broadcast: from either, axes are made 1 or left out in front."""
    full = draw(shapes(most))
    pair = []
    for _ in range(2):
        shape = tuple(1 if draw(st.booleans()) and draw(st.booleans()) else n for n in full)
        pair.append(shape[draw(st.integers(0, len(shape))) if draw(st.booleans()) else 0 :])
    return tuple(pair)


# ---- layouts: the same values, otherwise in memory ------------------------------------------
#
# Each is a function of a Tensor, made of differentiable ops, so that it can stand in front
# of an op (the input comes so) or behind it (the gradient comes so).


def _contiguous(x):
    return x.clone()


def _transposed(x):
    return x.T.clone().T


def _reversed(x):
    """Every axis with a negative stride."""
    backwards = (slice(None, None, -1),) * x.ndim
    return x[backwards].clone()[backwards]


def _spaced(x):
    """Every second element of memory whose other elements are nan, and a row before the first."""
    gaps = full_like(x, math.nan if x.dtype.is_float else 99)
    return concat(*[stack(gaps, x, axis=-1)[None]] * 2)[1, ..., 1]


def _of_a_slice(x):
    """A part of a larger tensor: rows have gaps between them."""
    if x.ndim == 0:
        return _spaced(x)
    border = full((*x.shape[:-1], 1), math.nan if x.dtype.is_float else 99, x.dtype)
    return concat(border, x, border, axis=-1)[..., 1:-1]


def _expanded(x):
    """A view with stride 0 wherever an axis has length 1, and one more such axis in front."""
    return x[None].expand(3, *x.shape)[1]


LAYOUTS = {
    "contiguous": _contiguous,
    "transposed": _transposed,
    "reversed": _reversed,
    "spaced": _spaced,
    "of a slice": _of_a_slice,
    "expanded": _expanded,
}
layouts = st.sampled_from(sorted(LAYOUTS))


def lay_out(x, layout):
    """The values of x in one of LAYOUTS; recorded if x is."""
    y = LAYOUTS[layout](x)
    assert y.shape == x.shape and y.dtype == x.dtype
    return y


def leaf(values, dtype="float64", layout="contiguous"):
    """A leaf that requires a gradient, with its memory in one of LAYOUTS."""
    x = lay_out(Tensor(values, dtype=dtype), layout)
    x.requires_grad = True
    return x


# ---- values ---------------------------------------------------------------------------------

STEP = 1 / 32  # of the grid of values; exact in float32


def _intervals(low, high, kinks):
    """The parts of [low, high] that are a step away from every kink, on the grid."""
    bounds = [low, *sorted(k for k in kinks if low < k < high), high]
    for i, (a, b) in enumerate(zip(bounds, bounds[1:])):
        a = math.ceil(a / STEP) + (i > 0)
        b = math.floor(b / STEP) - (i < len(bounds) - 2)
        if a <= b:
            yield a, b


def numbers(rng, size, domain, kinks=(), shift=0.0):
    """`size` numbers of the grid, moved by `shift`, away from the kinks; by a random.Random."""
    intervals = list(_intervals(*domain, kinks))
    return [rng.randint(*rng.choice(intervals)) * STEP + shift for _ in range(size)]


def draw_attrs(op, rng):
    """Values of an op's attributes, from the ranges that its record names."""
    return {
        name: round(rng.uniform(*attr.drawn), 3)
        for name, attr in op.attrs.items()
        if isinstance(attr, Attr)
    }


def kinks_of(op, attrs):
    """Where the derivative of an elementwise op jumps."""
    return op.kinks(**attrs) if callable(op.kinks) else op.kinks


@st.composite
def tensors(
    draw, shape=None, dtype="float64", domain=(-8.0, 8.0), away_from=(), requires_grad=True
):
    """Tensors of any shape and layout.

    Parameters
    ----------
    shape : strategy or tuple of int, optional
        Default: `shapes()`.
    dtype : str or DType
        float32 or float64, the default.
    domain : pair of floats
        Between which values lie.  Default: -8 and 8.
    away_from : iterable of floats
        Points from which they stay away, at least 1/32.
    requires_grad : bool
        Default: True.
    """
    shape = shapes() if shape is None else shape
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    rng = random.Random(draw(st.integers(0, 2**32)))
    flat = numbers(rng, math.prod(shape), domain, away_from)
    x = lay_out(Tensor(flat, dtype=dtype).reshape(shape), draw(layouts))
    x.requires_grad = requires_grad
    return x


@st.composite
def attributes(draw, op):
    """Attributes of an op, from the ranges that its record names."""
    return draw_attrs(op, random.Random(draw(st.integers(0, 2**32))))
