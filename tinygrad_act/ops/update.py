"""Updates: one step of an optimizer, in place, over all parameters in one call."""

from ..array import contiguous, mark_all_written
from ..op import kernels

lib = kernels.lib


class ParameterList:
    """Parameters as C sees them: their addresses and sizes, written down once.

    Parameters
    ----------
    arrays : sequence of Array
        Contiguous, of one dtype; they keep their memory as long as this list is used.
    """

    def __init__(self, arrays):
        self.arrays = arrays
        self.pointers = kernels.pointers([p.data for p in arrays])
        self.sizes = kernels.integers([p.size for p in arrays])
        self.code = arrays[0].dtype.code


def sgd(parameters, gradients, lr):
    """p -= lr * g for each parameter and its gradient.

    Parameters
    ----------
    parameters : ParameterList
    gradients : sequence of Array
        In the order of the parameters, and of their shapes and dtype.
    lr : float
        The learning rate.
    """
    gradients = [g if g.strides is None else contiguous(g) for g in gradients]
    mark_all_written(parameters.arrays, "sgd")
    pointers = kernels.pointers([g.data for g in gradients])
    count = len(gradients)
    lib.tga_sgd(parameters.code, count, parameters.pointers, pointers, parameters.sizes, lr)
