"""What the generated tests draw: shapes, layouts, and valid inputs of every op.

Inputs lie away from the points where a derivative jumps, by construction and not by
rejection: one-sided values come from intervals between the kinks, and two operands
that must not tie come from grids that do not meet.  All values are exact in float32,
so that both precisions compute with the same numbers.
"""

import math
import random
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import tinygrad_act as tga
from tinygrad_act import Tensor
from tinygrad_act.op import REGISTRY, Attr, Binary, Elementwise, General

OPS = list(REGISTRY.values())


def is_differentiable(op):
    """Whether any of its inputs gets a gradient."""
    if isinstance(op, General) and isinstance(op.vjp, tuple):
        return any(op.vjp)
    return not (isinstance(op, Binary) and op.compares)


DIFFERENTIABLE = [op for op in OPS if is_differentiable(op)]
ELEMENTWISE = [op for op in OPS if isinstance(op, Elementwise)]
BINARY = [op for op in DIFFERENTIABLE if isinstance(op, Binary)]


def by_name(op):
    """What pytest calls a test case about this op."""
    return op.name


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
    gaps = tga.full_like(x, math.nan if x.dtype.is_float else 99)
    return tga.concat(*[tga.stack(gaps, x, axis=-1)[None]] * 2)[1, ..., 1]


def _of_a_slice(x):
    """A part of a larger tensor: rows have gaps between them."""
    if x.ndim == 0:
        return _spaced(x)
    border = tga.full((*x.shape[:-1], 1), math.nan if x.dtype.is_float else 99, x.dtype)
    return tga.concat(border, x, border, axis=-1)[..., 1:-1]


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
    """`size` numbers of the grid, moved by `shift`, away from the kinks."""
    intervals = list(_intervals(*domain, kinks))
    return [rng.randint(*rng.choice(intervals)) * STEP + shift for _ in range(size)]


def draw_attrs(op, rng):
    """Values of the op's attributes, from the ranges that its record names."""
    return {
        name: round(rng.uniform(*attr.drawn), 3)
        for name, attr in op.attrs.items()
        if isinstance(attr, Attr)
    }


def kinks_of(op, attrs):
    return op.kinks(**attrs) if callable(op.kinks) else op.kinks


def _filled(rng, shape, domain, kinks=(), shift=0.0):
    flat = numbers(rng, math.prod(shape), domain, kinks, shift)
    return np.array(flat, dtype="float64").reshape(shape)


# ---- a call of an op ------------------------------------------------------------------------


@dataclass
class Call:
    """An op with valid inputs and attributes, and the layouts of its inputs and its gradient.

    Inputs are NumPy arrays: float64 for those that carry a gradient, else int64 or bool.
    """

    op: object
    inputs: list
    attrs: dict
    layouts: list
    layout_of_gradient: str

    def __repr__(self):
        inputs = ", ".join(
            f"{x.dtype}{list(x.shape)} {layout}"
            for x, layout in zip(self.inputs, self.layouts, strict=True)
        )
        attrs = "".join(f", {name}={value!r}" for name, value in self.attrs.items())
        return f"<{self.op.name}({inputs}{attrs}), gradient {self.layout_of_gradient}>"

    def leaves(self, dtype="float64"):
        """The inputs that carry a gradient, as contiguous leaves."""
        return [leaf(x, dtype) for x in self.inputs if x.dtype.kind == "f"]

    def __call__(self, *leaves):
        """The op on the leaves, each first brought into its layout, and its result in another."""
        leaves = iter(leaves)
        inputs = [
            lay_out(next(leaves) if x.dtype.kind == "f" else Tensor(x), layout)
            for x, layout in zip(self.inputs, self.layouts, strict=True)
        ]
        return lay_out(self.plain(*inputs), self.layout_of_gradient)

    def on_leaves(self, precision, layouts):
        """The op on leaves that themselves have these layouts: the result, and the leaves."""
        inputs = [
            leaf(x, precision, layout) if x.dtype.kind == "f" else lay_out(Tensor(x), layout)
            for x, layout in zip(self.inputs, layouts, strict=True)
        ]
        return self.plain(*inputs), [x for x in inputs if x.requires_grad]

    def plain(self, *inputs):
        """The op on all of its inputs, as they are."""
        attrs = self.attrs
        if "source" in attrs:  # of astype: the dtype that x has
            attrs = {**attrs, "source": inputs[0].dtype}
        return self.op(*inputs, **attrs)


@st.composite
def calls(draw, op, most=None):
    """Valid calls of one op, of any shape and layout; of at most `most` input elements."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    attrs = {}
    if isinstance(op, Elementwise):
        attrs = draw_attrs(op, rng)
        shape = draw(shapes(most=most))
        inputs = [_filled(rng, shape, op.domain, kinks_of(op, attrs))]
    elif isinstance(op, Binary):
        # the second operand lies between the points of the first one's grid: no ties
        inputs = [
            _filled(rng, shape, domain, shift=shift)
            for shape, domain, shift in zip(
                draw(broadcastable_shapes(most=most and most // 2)),
                op.domain,
                (0.0, STEP / 2),
                strict=True,
            )
        ]
    else:
        while True:
            inputs, attrs = op.sample(rng)
            inputs = [_as_array(x) for x in inputs]
            if most is None or sum(x.size for x in inputs) <= most:
                break
    return Call(op, inputs, attrs, [draw(layouts) for _ in inputs], draw(layouts))


def _as_array(nested):
    """A sample's nested lists as an array; its floats such that float32 holds them exactly."""
    array = np.array(nested)
    return array.astype("float32").astype("float64") if array.dtype.kind == "f" else array


isas = st.sampled_from(tga.supported_isas())
