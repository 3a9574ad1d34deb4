"""Initial weights: how large random numbers to begin with.

Each function fills a parameter in place and returns it.  `fan_in` is the number of
inputs of a unit, `fan_out` the number of units that an input feeds: of a weight of
shape (outputs, inputs), its second and first size.
"""

import math

from ..graph import no_grad
from ..ops import random
from ..tensor import _wrap


def _fans(weight, name):
    if weight.ndim < 2:
        raise ValueError(f"{name}: weight of shape {weight.shape} has no fan_in and fan_out")
    field = math.prod(weight.shape[2:])
    return weight.shape[1] * field, weight.shape[0] * field


def _fill(weight, array):
    with no_grad():
        return weight.copy_(_wrap(array, None))


def uniform(weight, low=-1.0, high=1.0):
    """Evenly from [low, high)."""
    return _fill(weight, random.uniform(weight.shape, low, high, weight.dtype, "init.uniform"))


def normal(weight, mean=0.0, std=1.0):
    """From a normal distribution."""
    return _fill(weight, random.normal(weight.shape, mean, std, weight.dtype, "init.normal"))


def constant(weight, value):
    """All elements the same number."""
    with no_grad():
        return weight.fill_(value)


def xavier(weight, gain=1.0):
    """Evenly from ±gain * sqrt(6 / (fan_in + fan_out)), for sigmoid and tanh.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward
    neural networks" (2010), equation 16.
    """
    fan_in, fan_out = _fans(weight, "xavier")
    bound = gain * math.sqrt(6 / (fan_in + fan_out))
    return uniform(weight, -bound, bound)


def he(weight, gain=None):
    """Normally with standard deviation gain / sqrt(fan_in), for ReLU; gain is sqrt(2).

    Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers" (2015), equation 10.
    """
    gain = math.sqrt(2) if gain is None else gain
    return normal(weight, 0.0, gain / math.sqrt(_fans(weight, "he")[0]))


def lecun(weight):
    """Normally with standard deviation 1 / sqrt(fan_in), for SELU.

    Source: LeCun, Bottou, Orr, Müller, "Efficient backprop" (1998), section 4.6.
    """
    return normal(weight, 0.0, 1 / math.sqrt(_fans(weight, "lecun")[0]))
