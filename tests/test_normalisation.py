"""Normalisation: sets of any size against twice the precision, running statistics, threads."""

import numpy as np
import pytest
from oracle import same_bits, threads

import tinygrad_act as tga
from tinygrad_act import Tensor, grad

SHAPES = [(1, 3, 7), (5, 2, 1), (3, 2, 33), (1, 2, 2500), (40, 3, 16), (2, 1, 1024), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_standardize(shape, offset, dtype, isa):
    """Of numbers far from 0 as well: their mean is subtracted before they are squared."""
    rng = np.random.default_rng(1)
    wide = np.longdouble if dtype == "float64" else np.float64
    x = (rng.normal(size=shape) + offset).astype(dtype)
    gy = rng.normal(size=shape).astype(dtype)
    leaf = Tensor(x, requires_grad=True)
    y = tga.standardize(leaf, eps=1e-3)
    (gx,) = grad(y, leaf, Tensor(gy))
    centred = x.astype(wide) - x.astype(wide).mean(axis=(0, 2), keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis=(0, 2), keepdims=True) + 1e-3)
    exact = centred * scale

    def mean(a):
        return a.mean(axis=(0, 2), keepdims=True)

    g_exact = scale * (gy - mean(gy.astype(wide)) - exact * mean(gy * exact))
    eps = np.finfo(dtype).eps
    bound = 8 * eps * (np.abs(exact) + (1 + np.abs(offset)) * scale)
    assert (np.abs(y.numpy() - exact) <= bound).all()
    bound = 32 * eps * scale * (1 + np.abs(gy) + np.abs(exact)) * (1 + np.abs(offset) * scale)
    assert (np.abs(gx.numpy() - g_exact) <= bound).all()


def test_threads(dtype, isa):
    x = np.random.default_rng(2).normal(size=(9, 33, 257)).astype(dtype)
    results = []
    for count in (1, 2):
        with threads(count):
            leaf = Tensor(x, requires_grad=True)
            y = tga.standardize(leaf)
            results.append((y.numpy(), grad(y, leaf, Tensor(x[::-1].copy()))[0].numpy()))
    assert same_bits(results[0][0], results[1][0]) and same_bits(results[0][1], results[1][1])


def test_running_statistics(dtype):
    """They move by the momentum towards the batch's, the variance with n - 1; then they serve."""
    rng = np.random.default_rng(3)
    mean, var = tga.zeros(4, dtype=dtype), tga.ones(4, dtype=dtype)
    expected = np.zeros(4), np.ones(4)
    for _ in range(3):
        x = rng.normal(2, 3, (6, 4, 5)).astype(dtype)
        y = tga.batch_norm(Tensor(x), running_mean=mean, running_var=var, training=True)
        np.testing.assert_allclose(y.numpy().mean(axis=(0, 2)), 0, atol=1e-6)
        expected = (
            0.9 * expected[0] + 0.1 * x.mean(axis=(0, 2)),
            0.9 * expected[1] + 0.1 * x.var(axis=(0, 2), ddof=1),
        )
    rtol = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(mean.numpy(), expected[0], rtol=rtol)
    np.testing.assert_allclose(var.numpy(), expected[1], rtol=rtol)
    before = mean.tolist()
    y = tga.batch_norm(Tensor(x), running_mean=mean, running_var=var)
    shape = (1, 4, 1)
    right = (x - expected[0].reshape(shape)) / np.sqrt(expected[1].reshape(shape) + 1e-5)
    np.testing.assert_allclose(y.numpy(), right, rtol=1e-5, atol=1e-6)
    assert mean.tolist() == before


def test_parameters_may_be_left_out(dtype):
    x = Tensor(np.random.default_rng(4).normal(size=(3, 4, 5)), dtype=dtype)
    ones, zeros = tga.ones(4, dtype=dtype), tga.zeros(4, dtype=dtype)
    weight = Tensor([1.0, 2.0, 3.0, 4.0], dtype=dtype)
    for op, attrs in ((tga.batch_norm, {"training": True}), (tga.group_norm, {"groups": 2})):
        plain = op(x, **attrs)
        assert op(x, ones, zeros, **attrs).tolist() == plain.tolist()
        assert op(x, None, None, **attrs).tolist() == plain.tolist()
        assert op(x, weight, **attrs).tolist() == op(x, weight, zeros, **attrs).tolist()
        assert op(x, bias=weight, **attrs).tolist() == op(x, ones, weight, **attrs).tolist()
    rows = tga.layer_norm(x)
    assert rows.tolist() == tga.layer_norm(x, shape=5).tolist()
    np.testing.assert_allclose(rows.numpy().std(axis=2), 1, rtol=1e-4)
    both = tga.layer_norm(x, shape=(4, 5)).numpy()
    np.testing.assert_allclose(both.mean(axis=(1, 2)), 0, atol=1e-6)


def test_statistics_of_numpy_and_of_python(dtype):
    x = Tensor([[1.0, 2.0], [3.0, 5.0]], dtype=dtype)
    mean, var = [1.0, 3.0], [4.0, 0.25]
    expected = tga.batch_norm(
        x, running_mean=Tensor(mean, dtype=dtype), running_var=Tensor(var, dtype=dtype)
    )
    for given in ((mean, var), (np.array(mean), np.array(var, "float32"))):
        y = tga.batch_norm(x, running_mean=given[0], running_var=given[1])
        assert y.dtype == dtype and y.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: tga.batch_norm(x[0, 0]), r"batch_norm: x is \(2,\), but must be \(n, channels"),
        (lambda x: tga.batch_norm(x, x[0, 0]), r"x is \(3, 4, 2\) but weight is \(2,\): it must"),
        (lambda x: tga.batch_norm(x, eps=-1.0), r"eps must be a number of at least 0, not -1.0"),
        (lambda x: tga.batch_norm(x, running_mean=tga.zeros(4)), r"come together or not at all"),
        (
            lambda x: tga.batch_norm(x, running_mean=tga.zeros(3), running_var=tga.zeros(4)),
            r"running_mean is \(3,\): it must be \(4,\)",
        ),
        (
            lambda x: tga.batch_norm(
                x[:1, :, 0], running_mean=tga.zeros(4), running_var=tga.ones(4), training=True
            ),
            r"no variance of one number for each channel",
        ),
        (
            lambda x: tga.batch_norm(
                x, running_mean=[0.0] * 4, running_var=tga.ones(4), training=True
            ),
            r"batch_norm: running_mean must be a Tensor, since training writes to it, not list",
        ),
        (lambda x: tga.layer_norm(x, shape=3), r"x is \(3, 4, 2\), which does not end in shape"),
        (lambda x: tga.layer_norm(x, x[0]), r"but weight is \(4, 2\): it must be \(2,\)"),
        (lambda x: tga.group_norm(x, groups=3), r"a multiple of groups = 3 channels"),
        (lambda x: tga.group_norm(x, groups=0), r"groups must be an integer of at least 1, not 0"),
        (lambda x: tga.standardize(x[0]), r"standardize: x is \(4, 2\), but must be \(outer"),
    ],
)
def test_errors(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(tga.ones(3, 4, 2))
