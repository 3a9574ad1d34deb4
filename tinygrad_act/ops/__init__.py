"""The facts of calculus: one record per op, grouped by subject."""

from . import (
    activation,
    arithmetic,
    convolution,
    einsum,
    indexing,
    linalg,
    loss,
    rearrange,
    reduction,
    shape,
)

__all__ = [
    "activation",
    "arithmetic",
    "convolution",
    "einsum",
    "indexing",
    "linalg",
    "loss",
    "rearrange",
    "reduction",
    "shape",
]
