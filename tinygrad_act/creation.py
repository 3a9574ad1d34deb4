"""Tensors out of nothing: constants, sequences, random numbers.

A shape is given as ``zeros(2, 3)`` or ``zeros((2, 3))``.  The dtype is float32 unless
said otherwise.
"""

import math

from .array import checked_shape, convert, copy_into, empty, index_view, is_numpy, number, reshape
from .array import full as full_array
from .dtype import as_dtype, float32, int64
from .op import kernels
from .ops import random
from .tensor import Tensor, _spread, _wrap

lib = kernels.lib


def _made(array, requires_grad):
    tensor = _wrap(array, None)
    if requires_grad:
        tensor.requires_grad = True
    return tensor


def _number(op, wanted, value):
    """A number of Python's own; NumPy's are turned into one."""
    if is_numpy(value) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, (float, int)):
        raise TypeError(f"{op}: {wanted}, not {value!r}")
    return value


def _shape_of(op, x):
    if not isinstance(x, Tensor) and not is_numpy(x):
        raise TypeError(f"{op}: x must be a Tensor or a NumPy array, not {x!r}")
    return x.shape


def full(shape, value, dtype=float32, requires_grad=False):
    """A Tensor of `shape` with every element `value`, a number."""
    value = _number("full", "value must be a number", value)
    return _made(full_array(shape, value, as_dtype(dtype)), requires_grad)


def zeros(*shape, dtype=float32, requires_grad=False):
    """A Tensor of zeros."""
    return _made(full_array(_spread(shape), 0.0, as_dtype(dtype), "zeros"), requires_grad)


def ones(*shape, dtype=float32, requires_grad=False):
    """A Tensor of ones."""
    return _made(full_array(_spread(shape), 1.0, as_dtype(dtype), "ones"), requires_grad)


def full_like(x, value, dtype=None, requires_grad=False):
    """A Tensor of the shape and, unless given, dtype of `x`, filled with a number."""
    return full(_shape_of("full_like", x), value, dtype or x.dtype, requires_grad)


def zeros_like(x, dtype=None, requires_grad=False):
    """Zeros of the shape and, unless given, dtype of `x`."""
    shape = _shape_of("zeros_like", x)
    return zeros(shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


def ones_like(x, dtype=None, requires_grad=False):
    """Ones of the shape and, unless given, dtype of `x`."""
    shape = _shape_of("ones_like", x)
    return ones(shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


def arange(start, stop=None, step=1, dtype=None, requires_grad=False):
    """The numbers from `start` (or 0) up to, without, `stop`, in steps of `step`.

    Parameters
    ----------
    start, stop, step : int or float
        With one argument, that is `stop`.
    dtype : DType, optional
        Default: int64 if all are integers, else float32.

    Raises
    ------
    ValueError
        If `step` is 0.

    Examples
    --------
    >>> arange(3).tolist(), arange(1.0, 2.0, 0.5).tolist()
    ([0, 1, 2], [1.0, 1.5])
    """
    if stop is None:
        start, stop = 0, start
    wanted = "start, stop and step must be numbers"
    start, stop, step = (_number("arange", wanted, bound) for bound in (start, stop, step))
    for bound in (start, stop, step):
        if isinstance(bound, float) and not math.isfinite(bound):
            raise ValueError(f"arange: start, stop and step must be finite, not {bound!r}")
    if step == 0:
        raise ValueError("arange: step must not be 0")
    if dtype is None:
        dtype = int64 if all(isinstance(v, int) for v in (start, stop, step)) else float32
    dtype = as_dtype(dtype)
    length = max(0, -int((start - stop) // step)) if step else 0
    _, size = checked_shape((length,), "arange")
    if dtype.is_float:
        y = empty((size,), dtype, size)
        lib.tga_arange(dtype.code, size, start, step, y.data)
        return _made(y, requires_grad)
    y = empty((size,), int64, size)
    lib.tga_arange(int64.code, size, 0, 1, y.data)  # exact, unlike start + i * step in doubles
    y = y * number(step, int64) + number(start, int64)
    return _made(y if dtype is int64 else convert(y, dtype), requires_grad)


def eye(n, dtype=float32, requires_grad=False):
    """The identity matrix of `n` rows."""
    y = full_array((n, n), 0.0, as_dtype(dtype), "eye")
    if n:  # every (n + 1)th element of the rows laid end to end
        diagonal = index_view(reshape(y, (n * n,)), slice(None, None, n + 1))
        copy_into(diagonal, full_array((n,), 1.0, y.dtype))
    return _made(y, requires_grad)


def manual_seed(seed):
    """Begin the stream of random numbers that belongs to `seed`, an integer."""
    random.default_generator.manual_seed(seed)


def uniform(*shape, low=0.0, high=1.0, dtype=float32, requires_grad=False):
    """Numbers evenly spread over [low, high)."""
    return _made(random.uniform(_spread(shape), low, high, as_dtype(dtype)), requires_grad)


def rand(*shape, dtype=float32, requires_grad=False):
    """Numbers evenly spread over [0, 1)."""
    return _made(random.uniform(_spread(shape), 0.0, 1.0, as_dtype(dtype), "rand"), requires_grad)


def randn(*shape, dtype=float32, requires_grad=False):
    """Normally distributed numbers of mean 0 and variance 1."""
    return _made(random.normal(_spread(shape), 0.0, 1.0, as_dtype(dtype), "randn"), requires_grad)
