"""Rearranging and cutting, against NumPy: every dtype, views that share memory, the edges."""

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor

DTYPES = ["float32", "float64", "int64", "bool", "uint8"]
A = np.arange(24).reshape(2, 3, 4) % 7


def assert_is(x, expected):
    """x has the values, the shape and the dtype of a NumPy array."""
    assert x.shape == expected.shape and x.dtype == expected.dtype
    np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_as_numpy(dtype):
    a = A.astype(dtype)
    for x in (Tensor(a), Tensor(a.transpose(2, 0, 1).copy()).permute(1, 2, 0)):
        assert_is(x.flatten(), a.reshape(-1))
        assert_is(x.flatten(1), a.reshape(2, 12))
        assert_is(x.flatten(0, -2), a.reshape(6, 4))
        assert_is(x.swapaxes(0, -1), a.swapaxes(0, -1))
        assert_is(x.moveaxis(0, -1), np.moveaxis(a, 0, -1))
        assert_is(x.moveaxis((0, 2), (1, 0)), np.moveaxis(a, (0, 2), (1, 0)))
        for axis in (None, 0, -1, (0, 2), ()):
            assert_is(x.flip(axis), np.flip(a, axis))
        for shift, axis in ((5, None), (-1, 1), (7, -1), ((1, -2), (0, 2)), (1, (0, 1)), (0, 0)):
            assert_is(x.roll(shift, axis), np.roll(a, shift, axis))
        for reps in ((2,), (1, 3), (2, 1, 1, 2), (0,), ()):
            assert_is(x.tile(*reps), np.tile(a, reps))
        for repeats, axis in ((2, None), (3, 1), (0, 0), ((1, 0, 2), 1), ([2, 1], 0)):
            assert_is(x.repeat(repeats, axis), np.repeat(a, repeats, axis))
        for width in (0, 1, ((0, 1), (2, 0), (1, 1))):
            for mode, name in (("constant", "constant"), ("reflect", "reflect"),
                               ("replicate", "edge")):  # fmt: skip
                if mode != "reflect" or np.max(width) < 2:
                    assert_is(x.pad(width, mode), np.pad(a, width, name))
        for k in (-3, -1, 0, 2, 9):
            assert_is(x.tril(k), np.tril(a, k))
            assert_is(x.triu(k), np.triu(a, k))
        for offset in (-1, 0, 2):
            assert_is(x.diagonal(offset, 1, 2), a.diagonal(offset, 1, 2))
            assert_is(x.diagonal(offset, -1, 0), a.diagonal(offset, -1, 0))
        assert x.diagonal(7).shape == (4, 0) == a.diagonal(7).shape
        for one, other in zip(x.split(3, 2), np.split(a, [3], 2), strict=True):
            assert_is(one, other)


def test_views_share_memory():
    x = Tensor(A.astype("float32"))
    for y in (x.flip(), x.flip(1), x.swapaxes(0, 1), x.moveaxis(0, 2), x.diagonal(), x.flatten(),
              x.split(2, 1)[1], x.chunk(2)[0]):  # fmt: skip
        assert np.shares_memory(y.numpy(), x.numpy())
    x.diagonal(0, 1, 2).fill_(9.0)
    assert x[1].tolist()[1][1] == 9.0
    for y in (x.roll(1), x.tile(1), x.pad(0), x.tril(), x.repeat(1)):
        y.fill_(-1.0)
    assert x.numpy().min() == 0.0


def test_parts():
    """As PyTorch's: a length of the parts, or at most so many parts."""

    def lengths(parts):
        return [part.shape[0] for part in parts]

    x = tga.arange(10)
    assert lengths(x.split(4)) == [4, 4, 2]
    assert lengths(x.split(10)) == lengths(x.split(99)) == [10]
    assert lengths(x.split((3, 0, 7))) == [3, 0, 7]
    assert lengths(x.chunk(3)) == [4, 4, 2] and lengths(x.chunk(4)) == [3, 3, 3, 1]
    assert lengths(x.chunk(6)) == [2, 2, 2, 2, 2] and lengths(x.chunk(1)) == [10]
    assert lengths(x[:0].split(2)) == lengths(x[:0].chunk(3)) == [0]
    assert [part.tolist() for part in tga.split(x.reshape(2, 5), 3, axis=1)] == [
        [[0, 1, 2], [5, 6, 7]],
        [[3, 4], [8, 9]],
    ]
    y = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    first, second = y.split(2)
    (first.sum() * 5 + second.sum()).backward()
    assert y.grad.tolist() == [5.0, 5.0, 1.0]


def test_what_is_cut_off_does_not_spread():
    x = Tensor([[1.0, np.nan], [np.inf, 2.0]], requires_grad=True)
    assert x.tril().tolist()[0] == [1.0, 0.0] and x.triu().tolist()[1] == [0.0, 2.0]
    (x.tril(-1) + x.triu(1)).sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_reflected_gradients_add_up():
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert x.pad((2, 1), "reflect").tolist() == [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
    x.pad((2, 1), "reflect").sum().backward()
    assert x.grad.tolist() == [1.0, 3.0, 2.0]
    x.grad = None
    x.pad((2, 1), "replicate").sum().backward()
    assert x.grad.tolist() == [3.0, 1.0, 2.0]
    assert x.pad((1, 0), value=7.0).tolist() == [7.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (0, 3)])
def test_nothing(shape):
    a = np.zeros(shape)
    x = Tensor(a)
    assert_is(x.flatten(), a.reshape(-1))
    assert_is(x.flip(), np.flip(a))
    assert_is(x.roll(2), np.roll(a, 2))
    assert_is(x.tile(2, 2), np.tile(a, (2, 2)))
    assert_is(x.repeat(2), np.repeat(a, 2))
    assert_is(x.pad(1), np.pad(a, 1))
    if len(shape) == 2:
        assert_is(x.tril(), np.tril(a))
        assert_is(x.diagonal(), a.diagonal())
