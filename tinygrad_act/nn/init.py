"""Initial weights: how large random numbers to begin with.

Each function fills a parameter in place and returns it.  `fan_in` is the number of
inputs of a unit, `fan_out` the number of units that an input feeds: of a weight of
shape (outputs, inputs), its second and first size.
"""

import math

from ..graph import no_grad
from ..ops import random
from ..tensor import Tensor, _wrap
from .module import Parameter, evaluating, observing


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


def zeros(weight):
    """All elements 0."""
    return constant(weight, 0.0)


def _scaled(weight, name, std, distribution):
    """Random numbers of mean 0 and this standard deviation."""
    if distribution == "normal":
        return normal(weight, 0.0, std)
    if distribution == "uniform":  # over ±b the standard deviation is b / sqrt(3)
        return uniform(weight, -math.sqrt(3) * std, math.sqrt(3) * std)
    raise ValueError(f"{name}: distribution is {distribution!r}, but must be normal or uniform")


def xavier(weight, gain=1.0, distribution="uniform"):
    """With standard deviation gain * sqrt(2 / (fan_in + fan_out)), for sigmoid and tanh.

    Parameters
    ----------
    weight : Parameter
        Of two axes or more.
    gain : float
        Default: 1.
    distribution : {"uniform", "normal"}

    Notes
    -----
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (2010), equation 16.
    """
    fan_in, fan_out = _fans(weight, "xavier")
    return _scaled(weight, "xavier", gain * math.sqrt(2 / (fan_in + fan_out)), distribution)


def he(weight, gain=None, fan="in", distribution="normal"):
    """With standard deviation gain / sqrt(fan), for ReLU; also known as MSRA.

    Parameters
    ----------
    weight : Parameter
        Of two axes or more.
    gain : float, optional
        Default: sqrt(2); for a leaky ReLU it would be sqrt(2 / (1 + slope**2)).
    fan : {"in", "out"}
        "in" keeps the variance on the way forward, "out" that of gradients on the way back.
    distribution : {"normal", "uniform"}

    Notes
    -----
    He, Zhang, Ren and Sun, "Delving deep into rectifiers" (2015), equations 10 and 14.
    """
    gain = math.sqrt(2) if gain is None else gain
    if fan not in ("in", "out"):
        raise ValueError(f"he: fan is {fan!r}, but must be in or out")
    size = _fans(weight, "he")[fan == "out"]
    return _scaled(weight, "he", gain / math.sqrt(size), distribution)


def lecun(weight, distribution="normal"):
    """With standard deviation 1 / sqrt(fan_in), for SELU.

    Source: LeCun, Bottou, Orr, Müller, "Efficient backprop" (1998), section 4.6.
    """
    return _scaled(weight, "lecun", 1 / math.sqrt(_fans(weight, "lecun")[0]), distribution)


def orthogonal(weight, gain=1.0):
    """A random matrix of (outputs, all others) whose rows or columns are orthonormal, times gain.

    Its singular values are all `gain`, so that it changes the length of no vector or, where
    it has fewer rows than columns, of none that it does not map to 0.

    Notes
    -----
    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks" (2014).  From the QR decomposition of a normal random matrix,
    with the signs of R's diagonal, so that all orthogonal matrices are equally likely.
    """
    import numpy as np

    fan_in, _ = _fans(weight, "orthogonal")  # which there must be
    rows = weight.shape[0]
    columns = weight.size // rows if rows else fan_in
    tall = (max(rows, columns), min(rows, columns))
    drawn = _wrap(random.normal(tall, 0.0, 1.0, weight.dtype, "init.orthogonal"), None)
    q, r = np.linalg.qr(drawn.numpy().astype("float64"))
    q *= gain * np.where(np.diag(r) < 0, -1.0, 1.0)
    if rows < columns:
        q = q.T
    with no_grad():
        return weight.copy_(Tensor(q.reshape(weight.shape), dtype=weight.dtype))


def lsuv(module, *inputs, tolerance=0.1, rounds=10):
    """Layer-sequential unit variance: each layer's outputs have variance 1 on the data given.

    Every weight of two axes or more begins orthonormal.  Then, from the first layer to the
    last, it is divided by the standard deviation of the layer's outputs until their variance
    is within `tolerance` of 1.

    Parameters
    ----------
    module : Module
    *inputs : Tensor
        A batch of data, to call the module with.
    tolerance : float
        Default: 0.1.
    rounds : int
        How often at most a weight is rescaled.  Default: 10.

    Returns
    -------
    Module
        The one given.

    Notes
    -----
    Mishkin and Matas, "All you need is a good init" (2016), algorithm 1.
    """
    layers = {}  # path -> the layer's weight, in the order in which they are called
    variance = {}

    def note(path, layer, output):
        weight = vars(layer).get("weight")
        if isinstance(weight, Parameter) and weight.ndim >= 2:
            layers.setdefault(path, weight)
            values = output.detach()
            variance[path] = ((values - values.mean()) ** 2).mean().item()

    with no_grad(), evaluating(module), observing(module, note):
        module(*inputs)
        for weight in layers.values():
            orthogonal(weight)
        for path, weight in layers.items():
            for _ in range(rounds):
                module(*inputs)
                if abs(variance[path] - 1) < tolerance or not variance[path] > 0:
                    break
                weight /= math.sqrt(variance[path])
    return module
