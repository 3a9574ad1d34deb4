"""Inputs that may be left out: a bias, or weights that are all 1.

In their place stands an array without elements, so that an op has the same number of inputs
whether they are given or not.
"""

from ..array import empty
from ..dtype import bool_, float32, float64, int64, uint8
from ..op import Composed, General

ABSENT = {dtype: empty((0,), dtype, 0) for dtype in (float32, float64, int64, uint8, bool_)}


class MayBeAbsent:
    """Of an op: the inputs from number `required` on may be left out or None."""

    required = 2

    def __call__(self, *inputs, **attrs):
        """Apply the op; inputs may be given by name."""
        names = self.inputs
        if len(inputs) >= self.required and (
            len(inputs) < len(names) or any(x is None for x in inputs[: len(names)])
        ):
            given = [*inputs[: len(names)]]
            given += [attrs.pop(name, None) for name in names[len(given) :]]
            dtype = getattr(inputs[self.required - 1], "dtype", None)
            absent = ABSENT.get(dtype, ABSENT[float32])
            inputs = (*[absent if x is None else x for x in given], *inputs[len(names) :])
        return super().__call__(*inputs, **attrs)


class GeneralWithAbsent(MayBeAbsent, General):
    """A `General` op of which inputs may be left out."""


class ComposedWithAbsent(MayBeAbsent, Composed):
    """A `Composed` op of which inputs may be left out."""
