"""The facts of calculus: one record per op, grouped by subject."""

from . import (
    activation,
    arithmetic,
    convolution,
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
    "indexing",
    "linalg",
    "loss",
    "rearrange",
    "reduction",
    "shape",
]
