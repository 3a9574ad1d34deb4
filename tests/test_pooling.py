"""Pooling: every path of csrc/pool.c against NumPy, ties and nan, and the sizes of ceil_mode."""

import itertools
import sys

import numpy as np
import pytest
from oracle import in_child, same_bits, threads

import tinygrad_act as tga
from tinygrad_act import Tensor, grad

# image, size, stride, padding, dilation
WINDOWS = {
    "2 x 2": ((24, 24), 2, None, 0, 1),
    "2 x 2, odd": ((7, 75), 2, None, 0, 1),
    "2 x 2, narrow": ((4, 3), 2, None, 0, 1),
    "overlapping": ((9, 13), 3, 2, 1, 1),
    "neighbours": ((6, 37), 3, 1, 1, 1),
    "rows of several vectors": ((7, 79), (3, 4), (1, 2), (1, 2), (2, 1)),
    "strides": ((7, 90), 3, 5, 1, 1),
    "lopsided": ((8, 11), (2, 3), (1, 2), (1, 0), 1),
    "gaps": ((9, 10), (2, 3), (2, 1), 1, (3, 2)),
    "whole": ((5, 6), (5, 6), None, 0, 1),
}


def both(value):
    return value if isinstance(value, tuple) else (value, value)


def places(image, out, size, stride, padding, dilation):
    """For each pixel of the result the pixels that its window sees, in reading order."""
    size, padding, dilation = both(size), both(padding), both(dilation)
    stride = size if stride is None else both(stride)
    for i, j in np.ndindex(*out):
        rows = [i * stride[0] - padding[0] + p * dilation[0] for p in range(size[0])]
        columns = [j * stride[1] - padding[1] + q * dilation[1] for q in range(size[1])]
        yield (i, j), [
            (r, c)
            for r, c in itertools.product(rows, columns)
            if 0 <= r < image[0] and 0 <= c < image[1]
        ]


def largest(plane, seen):
    """The first of the largest; nan before all."""
    values = np.array([plane[at] for at in seen])
    return seen[int(np.argmax(np.where(np.isnan(values), np.inf, values)))]


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("values", ["many ties", "nan"])
def test_largest(name, values, dtype, isa):
    image, size, stride, padding, dilation = WINDOWS[name]
    rng = np.random.default_rng(1)
    x = rng.integers(-2, 3, (2, 3, *image)).astype(dtype)
    if values == "nan":
        x[rng.random(x.shape) < 0.1] = np.nan
    leaf = Tensor(x, requires_grad=True)
    y = tga.max_pool2d(leaf, size, stride, padding, dilation)
    index = tga.max_pool2d_index(Tensor(x), size, stride, padding, dilation).numpy()
    gy = rng.integers(1, 9, y.shape).astype(dtype)
    (gx,) = grad(y, leaf, Tensor(gy), retain_graph=True)
    (by_rule,) = grad(y, leaf, Tensor(gy), create_graph=True)
    expected, g_expected = np.empty(y.shape, dtype), np.zeros_like(x)
    for pixel, seen in places(image, y.shape[2:], size, stride, padding, dilation):
        for plane in np.ndindex(2, 3):
            at = largest(x[plane], seen)
            expected[(*plane, *pixel)] = x[(*plane, *at)]
            g_expected[(*plane, *at)] += gy[(*plane, *pixel)]
            assert index[(*plane, *pixel)] == at[0] * image[1] + at[1]
    np.testing.assert_array_equal(y.numpy(), expected)
    np.testing.assert_array_equal(gx.numpy(), g_expected)
    np.testing.assert_array_equal(by_rule.numpy(), g_expected)


@pytest.mark.parametrize("columns", [3, 5, 9, 40])
@pytest.mark.parametrize("row", [[-0.0, 0.0, -0.0], [0.0, -0.0, -0.0], [-0.0, -0.0, -0.0]])
def test_the_largest_zero_is_positive_in_images_of_any_width(columns, row, dtype, isa):
    x = np.full((1, 1, 2, columns), -1, dtype)
    x[..., :3] = row
    for size in ((1, 3), (2, 3)):
        y = tga.max_pool2d(Tensor(x), size, stride=1)
        assert np.signbit(y.numpy()[0, 0, 0, 0]) == np.signbit(row).all()
    two = np.array([[[row[:2], row[1:]]]], dtype)
    assert np.signbit(tga.max_pool2d(Tensor(two), 2).item()) == np.signbit(row).all()


@pytest.mark.skipif(sys.platform != "linux", reason="memory in use is read from /proc")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_pairs_side_by_side_need_no_copy_of_the_image():
    """Where memory is left for the results alone."""
    import resource

    def work(report):
        x = tga.ones((1, 1, 4096, 4096), requires_grad=True)  # 64 MB
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (130 << 20), resource.RLIM_INFINITY))
        report("mean")
        tga.avg_pool2d(x.detach(), 2)
        report("largest")
        y = tga.max_pool2d(x, 2)
        report("backward of the largest")
        grad(y, x, y.detach())

    status, last = in_child(work)
    assert status == 0, last


@pytest.mark.parametrize("name", [name for name in WINDOWS if WINDOWS[name][4] == 1])
@pytest.mark.parametrize("include", [False, True])
def test_mean(name, include, dtype, isa):
    image, size, stride, padding, dilation = WINDOWS[name]
    rng = np.random.default_rng(2)
    x = rng.integers(-64, 65, (2, 3, *image)).astype(dtype)
    leaf = Tensor(x, requires_grad=True)
    y = tga.avg_pool2d(leaf, size, stride, padding, count_include_pad=include)
    gy = rng.integers(-64, 65, y.shape).astype(dtype)
    (gx,) = grad(y, leaf, Tensor(gy))
    expected, g_expected = np.empty(y.shape), np.zeros(x.shape)
    for pixel, seen in places(image, y.shape[2:], size, stride, padding, dilation):
        count = np.prod(both(size)) if include else len(seen)
        rows, columns = zip(*seen, strict=True)
        expected[(..., *pixel)] = x[:, :, rows, columns].sum(axis=2) / count
        for at in seen:
            g_expected[(..., *at)] += gy[(..., *pixel)] / count
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y.numpy(), expected, rtol=2 * eps, atol=64 * eps)
    np.testing.assert_allclose(gx.numpy(), g_expected, rtol=2 * eps, atol=256 * eps)


def test_threads(dtype, isa):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(16, 9, 24, 26)).astype(dtype)
    results = []
    for count in (1, 2):
        with threads(count):
            leaf = Tensor(x, requires_grad=True)
            results.append([])
            for y in (tga.max_pool2d(leaf, 2), tga.max_pool2d(leaf, 3, 2), tga.avg_pool2d(leaf, 2)):
                (gx,) = grad(y, leaf, y.detach())
                results[-1] += [y.numpy(), gx.numpy()]
    assert all(map(same_bits, *results))


@pytest.mark.parametrize(
    "n, size, stride, padding, expected",
    [(5, 2, 2, 0, 3), (5, 2, 2, 1, 3), (4, 3, 2, 1, 3), (3, 2, 3, 1, 2), (6, 3, 3, 0, 2)],
)
def test_ceil_mode(n, size, stride, padding, expected):
    """A last window begins inside the image or its padding before, or is left out."""
    y = tga.max_pool2d(tga.ones(1, 1, n, n), size, stride, padding, ceil_mode=True)
    assert y.shape == (1, 1, expected, expected) and y.numpy().min() == 1.0


def test_means_at_the_border():
    """Padding counts or not; what ceil_mode adds never does."""
    x = tga.ones(1, 1, 1, 5)
    y = tga.avg_pool2d(x, (1, 2), padding=(0, 1), ceil_mode=True)
    assert y.tolist() == [[[[0.5, 1.0, 1.0]]]]
    y = tga.avg_pool2d(x, (1, 2), ceil_mode=True)
    assert y.tolist() == [[[[1.0, 1.0, 1.0]]]]
    y = tga.avg_pool2d(x, (1, 2), padding=(0, 1), ceil_mode=True, count_include_pad=False)
    assert y.tolist() == [[[[1.0, 1.0, 1.0]]]]


@pytest.mark.parametrize("size", [1, 2, 3, (3, 2), 7])
def test_adaptive(size):
    x = np.arange(2 * 6 * 7.0).reshape(1, 2, 6, 7)
    rows, columns = both(size)
    y = tga.adaptive_avg_pool2d(Tensor(x), size).numpy()
    for i, j in np.ndindex(rows, columns):
        part = x[:, :, i * 6 // rows : -(-(i + 1) * 6 // rows)]
        part = part[..., j * 7 // columns : -(-(j + 1) * 7 // columns)]
        np.testing.assert_allclose(y[:, :, i, j], part.mean(axis=(2, 3)), rtol=1e-14)


@pytest.mark.parametrize("size", [3, (2, 5), (7, 8)])
def test_adaptive_keeps_windows_apart(size, dtype):
    """What is no number in one window is none in the others, nor is an infinite gradient."""
    x = np.arange(30.0, dtype=dtype).reshape(1, 1, 5, 6)
    x[0, 0, 0, 0], x[0, 0, 4, 5] = np.inf, np.nan
    leaf = Tensor(x, requires_grad=True)
    y = tga.adaptive_avg_pool2d(leaf, size)
    rows, columns = both(size)
    seen = {
        (i, j): x[0, 0, i * 5 // rows : -(-(i + 1) * 5 // rows)][
            :, j * 6 // columns : -(-(j + 1) * 6 // columns)
        ]
        for i, j in np.ndindex(rows, columns)
    }
    expected = np.array([part.mean() for part in seen.values()], dtype).reshape(1, 1, rows, columns)
    np.testing.assert_allclose(y.numpy(), expected, rtol=4 * np.finfo(dtype).eps)
    gy = np.ones_like(expected)
    gy[0, 0, 0, 0] = np.inf
    (gx,) = grad(y, leaf, Tensor(gy))
    reached = np.zeros((5, 6), bool)
    reached[: seen[0, 0].shape[0], : seen[0, 0].shape[1]] = True
    np.testing.assert_array_equal(np.isinf(gx.numpy()[0, 0]), reached)
    assert not np.isnan(gx.numpy()).any()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: tga.max_pool2d(x), r"max_pool2d: size must be given"),
        (lambda x: tga.max_pool2d(x[0], 2), r"max_pool2d: x is \(2, 4, 5\), but must be \(n, cha"),
        (lambda x: tga.max_pool2d(x.astype("int64"), 2), r"float32 or float64, but x is int64"),
        (lambda x: tga.max_pool2d(x, 6), r"reaches over 6, more than the image's 4"),
        (lambda x: tga.max_pool2d(x, 2, padding=2), r"more than half of the size \(2, 2\)"),
        (lambda x: tga.max_pool2d(x, 2, stride=0), r"stride is 0, but must be at least 1"),
        (lambda x: tga.avg_pool2d(x, (2, 2, 2)), r"size must be an integer or 2 of them"),
        (lambda x: tga.avg_pool2d(x, 2.0), r"size must be an integer or 2 of them, not 2.0"),
        (lambda x: tga.adaptive_avg_pool2d(x), r"adaptive_avg_pool2d: size must be given"),
        (lambda x: tga.adaptive_avg_pool2d(x, 0), r"size is 0, but must be at least 1"),
    ],
)
def test_errors(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(tga.zeros(1, 2, 4, 5))
