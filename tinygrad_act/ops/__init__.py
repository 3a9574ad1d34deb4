"""The facts of calculus: one record per op, grouped by subject."""

from . import (
    activation,
    arithmetic,
    convolution,
    dropout,
    einsum,
    indexing,
    linalg,
    loss,
    normalisation,
    pooling,
    rearrange,
    reduction,
    shape,
)

__all__ = [
    "activation",
    "arithmetic",
    "convolution",
    "dropout",
    "einsum",
    "indexing",
    "linalg",
    "loss",
    "normalisation",
    "pooling",
    "rearrange",
    "reduction",
    "shape",
]
