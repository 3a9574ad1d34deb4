"""Activations in NumPy, written for speed: no array is made but the result.

Each is a pair of functions: forward(x, y) writes y, and backward(gy, x, y, gx) writes the
gradient of x.  There are those of which NumPy has all parts, and is fast at some size.
"""

import numpy as np

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
GELU_C1, GELU_C3 = 0.7978845608028654, 0.044715  # sqrt(2 / pi)


def _sigmoid(x, y):
    np.negative(x, out=y)
    np.exp(y, out=y)
    np.add(y, 1, out=y)
    np.reciprocal(y, out=y)


def _sigmoid_backward(gy, x, y, gx):
    np.subtract(1, y, out=gx)
    np.multiply(gx, y, out=gx)
    np.multiply(gx, gy, out=gx)


def _tanh(x, y):
    np.tanh(x, out=y)


def _tanh_backward(gy, x, y, gx):
    np.multiply(y, y, out=gx)
    np.subtract(1, gx, out=gx)
    np.multiply(gx, gy, out=gx)


def _relu(x, y):
    np.maximum(x, 0, out=y)


def _relu_backward(gy, x, y, gx):
    np.multiply(gy, np.greater(x, 0), out=gx)


def _leaky_relu(x, y):
    np.multiply(x, 0.01, out=y)
    np.maximum(x, y, out=y)


def _leaky_relu_backward(gy, x, y, gx):
    np.multiply(np.greater(x, 0), np.float32(0.99), out=gx)
    np.add(gx, 0.01, out=gx)
    np.multiply(gx, gy, out=gx)


def _elu(x, y):
    np.minimum(x, 0, out=y)
    np.exp(y, out=y)
    np.subtract(y, 1, out=y)
    np.maximum(x, y, out=y)  # exp(x) - 1 is never below x


def _elu_backward(gy, x, y, gx):
    np.minimum(y, 0, out=gx)
    np.add(gx, 1, out=gx)
    np.multiply(gx, gy, out=gx)


def _selu(x, y):
    np.minimum(x, 0, out=y)
    np.exp(y, out=y)
    np.subtract(y, 1, out=y)
    np.multiply(y, SELU_ALPHA, out=y)
    np.add(y, np.maximum(x, 0), out=y)
    np.multiply(y, SELU_SCALE, out=y)


def _selu_backward(gy, x, y, gx):
    np.add(y, SELU_SCALE * SELU_ALPHA, out=gx)
    np.copyto(gx, SELU_SCALE, where=np.greater(x, 0))
    np.multiply(gx, gy, out=gx)


def _gelu_tanh(x, y):
    np.multiply(x, x, out=y)
    np.multiply(y, GELU_C1 * GELU_C3, out=y)
    np.add(y, GELU_C1, out=y)
    np.multiply(y, x, out=y)
    np.tanh(y, out=y)
    np.add(y, 1, out=y)
    np.multiply(y, x, out=y)
    np.multiply(y, 0.5, out=y)


def _gelu_tanh_backward(gy, x, y, gx):
    """With t the tanh: (1 + t) / 2 + x (1 - t^2) / 2 times the inner derivative."""
    square = x * x
    t = np.multiply(square, GELU_C1 * GELU_C3)
    np.add(t, GELU_C1, out=t)
    np.multiply(t, x, out=t)
    np.tanh(t, out=t)
    np.multiply(square, 3 * GELU_C1 * GELU_C3, out=square)
    np.add(square, GELU_C1, out=square)
    np.multiply(square, x, out=square)
    np.multiply(t, t, out=gx)
    np.subtract(1, gx, out=gx)
    np.multiply(gx, square, out=gx)
    np.add(gx, t, out=gx)
    np.add(gx, 1, out=gx)
    np.multiply(gx, 0.5, out=gx)
    np.multiply(gx, gy, out=gx)


def _silu(x, y):
    _sigmoid(x, y)
    np.multiply(x, y, out=y)


def _silu_backward(gy, x, y, gx):
    """s + y (1 - s), s the sigmoid."""
    s = np.empty_like(x)
    _sigmoid(x, s)
    np.subtract(1, s, out=gx)
    np.multiply(gx, y, out=gx)
    np.add(gx, s, out=gx)
    np.multiply(gx, gy, out=gx)


sigmoid = _sigmoid, _sigmoid_backward
tanh = _tanh, _tanh_backward
relu = _relu, _relu_backward
leaky_relu = _leaky_relu, _leaky_relu_backward
elu = _elu, _elu_backward
selu = _selu, _selu_backward
gelu_tanh = _gelu_tanh, _gelu_tanh_backward
silu = _silu, _silu_backward
