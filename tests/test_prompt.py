"""What somebody types at a prompt: the same expression on Tensors and on NumPy arrays.

Each is evaluated twice, and value and shape must agree; the dtype is left out, since Python
numbers are float32 here.  What is an error stands in test_errors.py.
"""

import copy
import math
import pickle
import re
import threading

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor

ARRAYS = {
    "x": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
    "v": np.array([1.0, 2.0, 3.0]),
    "z": np.array(2.5),
    "e": np.zeros((0, 3)),
    "i": np.array([1, 0]),
    "b": np.array([True, False]),
    "m": np.array([True, False, True]),
}

SAME = """
x % 2           2 % x           -x % 2          x ** 2          2 ** x          x ** -1
+x              -x              abs(-x)         np.round(x / 2) -abs(v)         x / 2
x @ v           v @ v           x @ x.T         2 * x - 1       1 / x           i + 1
b * 2           b + 1           b.sum()         ~b              b & b           b | True
b ^ b           i / 2           i % 2           i + 0.5         i * 2**40       x > 2
x == x          x != 3          i == 1          2 < x           x + True        x + i[0]
x[0]            x[-1]           x[0, 1]         x[:, 1]         x[..., -1]      x[None]
x[1:]           x[:, ::-1]      x[::-1, 1:]     x[()]           x[...]          z[()]
z[None]         z[...]          x[[0, 1]]       x[[1, 1, 0]]    x[i]            x[i, i]
x[[0, 1], [1, 2]]               x[i[0]]         x[b]            x[:, m]         x[x > 2]
x[[True, False]]                x[True]         x[False]        x[[]]           x[range(2)]
x[:, [0, 2]]    x[0, [0, 2]]    x[(0, 1), ]     x[[[0, 1], [1, 0]]]             x[2:]
x[i[0]:]        x[:10**20]      e[:, 0]         e + 1           e * e           e.sum(axis=0)
e.T             x[b][0]         x.T[1:]         list(v)         list(x)         len(x)
sum(v)          max(v)          min(v)          sorted(-v)      list(reversed(v))
any(b)          all(b)          float(z)        int(z)          bool(z)         complex(z)
1.0 in v        9.0 in v        [10, 20][i[0]]  list(range(i[0]))               [7] * i[0]
1 < z < 3       not z           z or 1          math.sqrt(z)    math.floor(z)   f"{z:.3f}"
"%.2f %d" % (z, i[0])           x.sum(0)        x.sum((0, 1))   x.sum(axis=-1, keepdims=True)
x.mean(1)       x.max(0)        x.argmax(1)     x.prod()        x.any()         x.all(axis=0)
x.cumsum(0)     x.reshape(3, 2)                 x.reshape((3, -1))              x.reshape(-1)
x.swapaxes(0, 1)                x.T             x.squeeze()     x.tolist()      x.flatten()
x.take([0, 5])  x.repeat(2)     v.dot(v)        x.trace()       x.diagonal()    z.tolist()
np.sqrt(x)      np.add(x, 1)    np.add(1, x)    np.sum(x, axis=1)               np.maximum(x, 3)
np.stack([v, v])                np.concatenate([x, x])          np.where(x > 2, x, 0)
np.asarray(x)   np.array([v, v])                np.shape(x)     np.isnan(x)     np.matmul(x, v)
np.float64(2) * x               np.array([1.0, 2.0, 3.0]) - x   x * np.ones((2, 1))
np.clip(x, 2, 3)                np.einsum("ij,j->i", x, v)      np.cumsum(x)    np.tile(v, 2)
pickle.loads(pickle.dumps(x))   copy.deepcopy(x.T)              copy.copy(v)
x is None       [x is y for y in (x, v)]        v.ndim, x.size
"""
EXPRESSIONS = re.split(r"\s{2,}|\n", SAME.strip())

STATEMENTS = """
x += 1          x -= v          x *= x          x /= 2          x **= 2         x %= 2
x /= v          i += 1          i *= i          b &= True       b |= b          x += x[0]
x += x[:, :1]   x[0] = 5        x[0] = [7, 8, 9]                x[:, 0] = (1, 2)
x[0, 0] = 5     x[0] = v        x[0] = x[1]     x[:] = x[::-1]  x[x > 2] = 0    x[[0, 1]] = 9
x[i, i] = 0     x[b] = v        x[..., 1] = z   x[None] = 3     z[...] = 5      z[()] = 5
x[0] += 1       x[0][0] = 9     x.T[0] = 9      x[0] = i[0]     i[0] = 2        b[0] = False
y = x[0]; y += 1                y = x.T; y *= y                 y = x.reshape(3, 2); y[0] = 7
y = x; y += 1   y = x + 0; y += 1               y = x[:, 1:]; y -= y[:, ::-1]
"""
CHANGES = re.split(r"\s{2,}|\n", STATEMENTS.strip())


def names(tensors):
    arrays = {name: a.copy() for name, a in ARRAYS.items()}
    given = {name: Tensor(a) for name, a in arrays.items()} if tensors else arrays
    return {**given, "np": np, "math": math, "copy": copy, "pickle": pickle}


def plain(value):
    """As nested lists and numbers, with the shape of what is an array."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        array = np.asarray(value)
        return array.shape, array.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expression_means_what_it_means_in_numpy(expression):
    got = plain(eval(expression, names(tensors=True)))
    assert got == plain(eval(expression, names(tensors=False)))


@pytest.mark.parametrize("statement", CHANGES)
def test_statement_changes_what_it_changes_in_numpy(statement):
    got, expected = names(tensors=True), names(tensors=False)
    exec(statement, got)
    exec(statement, expected)
    for name in (*ARRAYS, *({"y"} & set(expected))):
        assert plain(got[name]) == plain(expected[name]), name


def test_what_is_printed():
    assert repr(Tensor(2.5)) == "Tensor(2.5, dtype=float32)"
    assert repr(Tensor([[1, 2], [3, 4]], dtype="int64")) == (
        "Tensor([[1, 2],\n        [3, 4]], dtype=int64)"
    )
    assert repr(Tensor([])) == "Tensor([], dtype=float32)"
    assert repr(tga.zeros(2, 0)) == "Tensor([], shape=(2, 0), dtype=float32)"
    assert repr(Tensor([math.nan, -math.inf, -0.0])) == "Tensor([ nan, -inf,  -0.], dtype=float32)"
    assert "..." in repr(tga.zeros(100, 100)) and len(repr(tga.zeros(100, 100))) < 500
    leaf = Tensor([1.0], requires_grad=True)
    assert repr(leaf) == "Tensor([1.], dtype=float32, requires_grad=True)"
    assert repr(leaf * 2) == str(leaf * 2) == "Tensor([2.], dtype=float32, op=mul)"


def test_numbers_of_numpy_are_numbers():
    assert tga.full((2,), np.float32(2)).tolist() == [2.0, 2.0]
    assert tga.full((), np.int64(3), dtype="int64").tolist() == 3
    assert tga.arange(np.int64(3)).tolist() == [0, 1, 2]
    assert tga.arange(np.float32(1), 2.0, np.float64(0.5)).tolist() == [1.0, 1.5]
    assert Tensor([np.float32(1), np.int64(2), np.True_]).tolist() == [1.0, 2.0, 1.0]
    assert tga.zeros(np.int64(2), np.uint8(1)).shape == (2, 1)
    assert Tensor(range(3)).tolist() == [0.0, 1.0, 2.0]


def test_each_thread_sees_the_same():
    x, results = Tensor(ARRAYS["x"], requires_grad=True), []

    def work():
        (gx,) = tga.grad((x * x).sum(), x)
        results.append(gx.tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(2 * ARRAYS["x"]).tolist()] * 4
