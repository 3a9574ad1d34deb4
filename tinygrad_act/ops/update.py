"""Updates: one step of an optimizer, in place, over all parameters in one call."""

from ..array import contiguous, mark_written
from ..op import kernels

lib = kernels.lib


def sgd(parameters, gradients, lr):
    """p -= lr * g for each pair of arrays.

    Parameters
    ----------
    parameters, gradients : sequence of Array
        Pairs of one shape and dtype; parameters are contiguous.
    lr : float
        The learning rate.
    """
    by_dtype = {}
    for p, g in zip(parameters, gradients, strict=True):
        mark_written(p, "sgd")
        by_dtype.setdefault(p.dtype, []).append((p, contiguous(g)))
    for dtype, pairs in by_dtype.items():
        lib.tga_sgd(
            dtype.code,
            len(pairs),
            kernels.pointers([p.data for p, _ in pairs]),
            kernels.pointers([g.data for _, g in pairs]),
            kernels.integers([p.size for p, _ in pairs]),
            lr,
        )
