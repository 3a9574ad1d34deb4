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
from oracle import by_name  # noqa: F401  (the tests take it from here)

import tinygrad_act as tga
from tinygrad_act import Tensor
from tinygrad_act.op import REGISTRY, Binary, Elementwise, General
from tinygrad_act.testing.strategies import (
    STEP,
    broadcastable_shapes,
    draw_attrs,
    kinks_of,
    lay_out,
    layouts,
    leaf,
    numbers,
    shapes,
)

OPS = list(REGISTRY.values())


def is_differentiable(op):
    """Whether any of its inputs gets a gradient."""
    if isinstance(op, General) and isinstance(op.vjp, tuple):
        return any(op.vjp)
    return not (isinstance(op, Binary) and op.compares)


DIFFERENTIABLE = [op for op in OPS if is_differentiable(op)]
ELEMENTWISE = [op for op in OPS if isinstance(op, Elementwise)]
BINARY = [op for op in DIFFERENTIABLE if isinstance(op, Binary)]


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
        if self.op is tga.astype:  # the dtype that x has
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
