"""Reductions and what goes along an axis: the conventions of the records, exactly, and NumPy.

That each is what its reference says is tested for all ops together; here are ties, nothing,
infinities, nan, equal numbers and zeros, long rows, and integers.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import same_bits, threads
from strategies import lay_out, leaf

import tinygrad_act as tga
from tinygrad_act import Tensor, grad
from tinygrad_act.testing.strategies import LAYOUTS

INF, NAN = math.inf, math.nan
GRAIN = 32768  # more elements are worth a second thread
ALL = ("float32", "float64", "int64", "bool", "uint8")


def gradients(function, values, dtype):
    """The gradient of a function's sum at a point, by kernels and by the recorded rule."""
    for create_graph in (False, True):
        x = leaf(values, dtype)
        y = function(x)
        yield grad(y, x, tga.ones_like(y), create_graph=create_graph)[0].tolist()


# ---- rows and columns --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["var", "std", "norm", "logsumexp", "amax", "amin", "prod"])
def test_a_line_has_one_gradient_as_a_row_and_as_a_column(name, dtype, isa):
    rng = np.random.default_rng(4)
    for n in (2, 3, 6, 33, 70):
        for lines in (2, 19, 140):
            # where the order of multiplying matters: products overflow and vanish on the way
            x = (
                10.0 ** rng.integers(-30, 31, (n, lines))
                if name == "prod"
                else rng.normal(size=(n, lines))
            )
            gradient = []
            for values, axis in ((x, 0), (x.T, 1)):
                values = leaf(np.ascontiguousarray(values), dtype)
                y = getattr(tga, name)(values, axis=axis)
                gradient.append(grad(y, values, tga.ones_like(y))[0].numpy())
            assert same_bits(gradient[0], gradient[1].T.copy()), (n, lines)


# ---- ties and extremes ----------------------------------------------------------------------


@pytest.mark.parametrize("op", [tga.amax, tga.amin, tga.max, tga.min])
def test_ties_share_the_gradient(op, dtype):
    rows = [[1.0, 1.0, 1.0, 1.0], [-2.0, -2.0, -2.0, -2.0]]
    for g in gradients(lambda x: op(x, axis=1), rows, dtype):
        assert g == [[0.25] * 4] * 2


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_place_of_the_extreme(name, kind, isa):
    """The first of several, or the first nan, as NumPy has it; of long rows, too."""
    op, numpy = getattr(tga, name), getattr(np, name)
    rng = np.random.default_rng(1)
    for shape in ((), (1,), (7,), (3, 5), (2, 3, 4), (2, 3000)):
        x = rng.integers(0, 2 if kind == "bool" else 5, shape).astype(kind)
        for axis in (None, *range(-len(shape), len(shape))):
            for keepdims in (False, True):
                got = op(Tensor(x), axis=axis, keepdims=keepdims)
                assert got.dtype == "int64"
                assert same_bits(got.numpy(), np.asarray(numpy(x, axis=axis, keepdims=keepdims)))
    if kind.startswith("float"):
        x = np.array([[1.0, NAN, 3.0, NAN], [INF, -INF, INF, -INF]], kind)
        assert op(Tensor(x), axis=1).tolist() == numpy(x, axis=1).tolist()


def test_place_in_any_layout():
    x = Tensor(np.random.default_rng(2).normal(size=(4, 5, 3)))
    for layout in LAYOUTS:
        y = lay_out(x, layout)
        for axis in (None, 0, 1, 2):
            assert tga.argmax(y, axis=axis).tolist() == np.argmax(x.numpy(), axis=axis).tolist()


# ---- variance -------------------------------------------------------------------------------


def test_variance_of_one_number_is_nan(dtype):
    for op in (tga.var, tga.std):
        assert math.isnan(op(Tensor([2.0], dtype=dtype)).item())
        assert op(Tensor([2.0], dtype=dtype), correction=0).item() == 0.0
        assert op(Tensor([2.0, 3.0], dtype=dtype), correction=5).item() == INF
        assert math.isnan(op(Tensor(5.0, dtype=dtype)).item())
        assert all(math.isnan(v) for v in op(Tensor([[], []], dtype=dtype), axis=1).tolist())
        assert op(Tensor([[], []], dtype=dtype), axis=0).shape == (0,)
    for g in gradients(tga.var, [2.0], dtype):
        assert math.isnan(g[0])


def test_deviation_of_equal_numbers(dtype):
    x = [[3.0, 3.0, 3.0], [1.0, 2.0, 3.0]]
    for g in gradients(lambda x: x.std(axis=1), x, dtype):
        assert g[0] == [0.0, 0.0, 0.0] and g[1] == pytest.approx([-0.5, 0.0, 0.5])


def test_variance_of_long_and_distant_rows(dtype, isa):
    """The mean is taken off first: squares of 1000 would have lost the digits."""
    eps = np.finfo(dtype).eps
    for n in (2, 17, 1000, 40_000):
        x = (1000 + np.random.default_rng(n).normal(size=(3, n))).astype(dtype)
        exact = x.astype("float64").var(axis=1, ddof=1)
        got = tga.var(Tensor(x), axis=1).numpy()
        shift = 1000 * eps * 4  # by which the mean may be off
        assert (np.abs(got - exact) <= 40 * eps * exact + shift**2 * 2).all()
        with threads(2):
            assert same_bits(tga.var(Tensor(x), axis=1).numpy(), got)
        columns = tga.var(Tensor(np.ascontiguousarray(x.T)), axis=0).numpy()
        assert same_bits(columns, got)


# ---- log of a sum of exponentials -----------------------------------------------------------


def test_logsumexp_far_out(dtype, isa):
    for row, value in [
        ([-INF, -INF], -INF),
        ([INF, 1.0], INF),
        ([INF, -INF], INF),
        ([NAN, INF], NAN),
        ([-INF, 3.0], 3.0),
        ([1e4, -1e4], 1e4),
        ([-1e4], -1e4),
        ([], -INF),
    ]:
        got = tga.logsumexp(Tensor(row, dtype=dtype)).item()
        assert got == value or (math.isnan(got) and math.isnan(value)), row
    for g in gradients(lambda x: x.logsumexp(axis=1), [[-INF, 3.0], [1e4, -1e4]], dtype):
        assert g == [[0.0, 1.0], [1.0, 0.0]]
    for g in gradients(tga.logsumexp, [-INF, -INF], dtype):
        assert all(map(math.isnan, g))


def test_logsumexp_is_that_of_log_softmax(dtype, isa):
    x = np.random.default_rng(3).normal(0, 3, (5, 777)).astype(dtype)
    got = (Tensor(x) - tga.logsumexp(Tensor(x), axis=1, keepdims=True)).numpy()
    eps = np.finfo(dtype).eps
    expected = tga.log_softmax(Tensor(x), axis=1).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=50 * eps)


# ---- length ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "value", "gradient"),
    [
        (2, 5.0, [0.0, 0.6, -0.8]),
        (1, 7.0, [0.0, 1.0, -1.0]),
        (0, 2.0, [0.0, 0.0, 0.0]),
        (INF, 4.0, [0.0, 0.0, -1.0]),
        (-INF, 0.0, [0.0, 0.0, 0.0]),
        (3, 91.0 ** (1 / 3), [0.0, 9 / 91 ** (2 / 3), -16 / 91 ** (2 / 3)]),
        (0.5, 7 + 48**0.5, [0.0, (7 + 48**0.5) ** 0.5 / 3**0.5, -((7 + 48**0.5) ** 0.5) / 2]),
    ],
)
def test_norm(p, value, gradient):
    x = [0.0, 3.0, -4.0]
    assert tga.norm(Tensor(x, dtype="float64"), p=p).item() == pytest.approx(value, rel=1e-14)
    for g in gradients(lambda x: x.norm(p), x, "float64"):
        assert g == pytest.approx(gradient, rel=1e-14)


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, INF])
def test_norm_of_zeros(p, dtype):
    """The derivative is 0, and so is that of the derivative."""
    for g in gradients(lambda x: x.norm(p), [0.0, 0.0], dtype):
        assert g == [0.0, 0.0]
    x = Tensor([0.0, 0.0], dtype=dtype, requires_grad=True)
    (g,) = grad(x.norm(p), x, create_graph=True)
    (second,) = grad(g.sum(), x)
    assert second.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("p", [-3, -1, 0.5, 1.5, 3, 5.5])
@pytest.mark.parametrize("exponent", [-0.8, 0.8])
def test_powers_of_norm_do_not_overflow(p, exponent, dtype):
    """Of numbers whose p-th powers cannot be stored: value, derivative and second derivative."""
    size = np.dtype(dtype).type(float(np.finfo(dtype).max) ** exponent)
    row = [3.0, -4.0, 0.5]

    def all_of(unit):
        x = Tensor(np.array(row, dtype) * unit, requires_grad=True)
        y = x.norm(p)
        (g,) = grad(y, x, create_graph=True)
        (second,) = grad(g[0], x)
        return (y / unit).item(), g.tolist(), (second * unit).tolist()

    near = 100 * float(np.finfo(dtype).eps)
    for far, usual in zip(all_of(size), all_of(size / size), strict=True):
        assert far == pytest.approx(usual, rel=near, abs=near)


def test_norm_of_a_negative_order(dtype):
    """One 0 makes it 0, whatever the others are; infinities among others do not count."""
    for row, value in [([0.0, 1.0], 0.0), ([INF, 1.0], 1.0), ([INF, INF], INF)]:
        assert tga.norm(Tensor(row, dtype=dtype), p=-2).item() == value
    for g in gradients(lambda x: x.norm(-2), [0.0, 3.0], dtype):
        assert g == [0.0, 0.0]
    x = Tensor([0.0, 3.0], dtype=dtype, requires_grad=True)
    (g,) = grad(x.norm(-2), x, create_graph=True)
    assert grad(g.sum(), x)[0].tolist() == [0.0, 0.0]


def test_largest_sizes_share_the_gradient():
    for g in gradients(lambda x: x.norm(INF), [3.0, -3.0, 1.0], "float64"):
        assert g == [0.5, -0.5, 0.0]
    for g in gradients(lambda x: x.norm(-INF), [3.0, -3.0, 5.0], "float64"):
        assert g == [0.5, -0.5, 0.0]


def test_norm_does_not_overflow(dtype, isa):
    info = np.finfo(dtype)
    for size in (info.max / 4, info.tiny, info.smallest_subnormal * 4, 1.0, 1e18, 1e-18):
        x = np.array([3, -4], dtype) * np.dtype(dtype).type(size) / 4
        exact = 5 * (float(x[0]) / 3)
        assert tga.norm(Tensor(x)).item() == pytest.approx(exact, rel=4 * float(info.eps), abs=0)
    for row, value in [([INF, 1.0], INF), ([-INF], INF), ([], 0.0), ([NAN, INF], NAN)]:
        got = tga.norm(Tensor(row, dtype=dtype)).item()
        assert got == value or (math.isnan(got) and math.isnan(value))


# ---- truth ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_truth_as_numpy_has_it(kind):
    rng = np.random.default_rng(4)
    for shape in ((), (0,), (3,), (2, 0, 3), (4, 5), (2, 3, 4), (70_000,)):
        x = (rng.random(shape) < rng.choice([0.02, 0.5, 1.0])).astype(kind)
        axes = [None, (), *range(len(shape)), *([(0, -1)] if len(shape) > 1 else [])]
        for name in ("any", "all", "count_nonzero"):
            for axis in axes:
                got = getattr(tga, name)(Tensor(x), axis=axis, keepdims=True)
                expected = np.asarray(getattr(np, name)(x, axis=axis, keepdims=True))
                assert same_bits(got.numpy(), expected), (name, shape, axis)


def test_nan_is_true():
    x = Tensor([NAN, 0.0, -0.0])
    assert (x.any().item(), x.all().item(), x.count_nonzero().item()) == (True, False, 1)


# ---- along an axis --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_cumulated_as_numpy_has_it(name, kind):
    rng = np.random.default_rng(5)
    for shape in ((), (0,), (1,), (300,), (3, 4), (2, 0, 3), (3, 200, 5), (4, GRAIN)):
        x = rng.integers(-2, 3, shape)
        x = (x + 0.5 if kind.startswith("float") and x.size < 1000 else abs(x) % 2).astype(kind)
        for axis in (None, *range(-len(shape), len(shape))):
            got = getattr(tga, name)(Tensor(x), axis=axis).numpy()
            expected = getattr(np, name)(x, axis=axis, dtype=None if "f" in kind else "int64")
            assert same_bits(got, expected), (shape, axis)
            if name == "cumsum" and shape:
                backwards = tga.cumsum(Tensor(x), axis=axis, reverse=True).numpy()
                flat = x if axis is not None else x.ravel()
                turned = np.flip(flat, axis or 0)
                again = np.cumsum(turned, axis or 0, dtype=expected.dtype)
                assert same_bits(backwards, np.flip(again, axis or 0))


@given(
    x=st.lists(st.sampled_from([0.0, 0.5, -1.0, 2.0]), min_size=1, max_size=9),
    data=st.data(),
)
def test_cumprod_with_zeros(x, data):
    """The derivative is a sum of products of the others, whatever is 0."""
    n = len(x)
    gy = data.draw(st.lists(st.sampled_from([1.0, -2.0, 0.25]), min_size=n, max_size=n))
    expected = [
        sum(gy[j] * math.prod(x[i] for i in range(j + 1) if i != k) for j in range(k, n))
        for k in range(n)
    ]
    for create_graph in (False, True):
        p = leaf(x)
        (g,) = grad(p.cumprod(), p, Tensor(gy, dtype="float64"), create_graph=create_graph)
        assert g.tolist() == expected


@pytest.mark.parametrize("kind", ALL)
def test_order_as_numpy_has_it(kind):
    """Stable in both directions, along any axis, nan as the largest."""
    rng = np.random.default_rng(6)
    for shape in ((0,), (1,), (5,), (13,), (100,), (5000,), (3, 7), (2, 40, 3), (2, 0)):
        x = rng.integers(0, 2 if kind == "bool" else 9, shape).astype(kind)
        if kind.startswith("float"):
            x = np.where(rng.random(shape) < 0.2, rng.choice([NAN, INF, -INF, -0.0], shape), x - 4)
            x = x.astype(kind)
        if kind == "int64" and x.size > 4:
            x.flat[1], x.flat[2] = np.iinfo(kind).min, np.iinfo(kind).max
        for axis in (None, *range(-len(shape), len(shape))):
            expected = np.argsort(x, axis=axis, kind="stable")
            got = tga.argsort(Tensor(x), axis=axis)
            assert same_bits(got.numpy(), expected), (shape, axis)
            values = x.ravel() if axis is None else x
            taken = np.take_along_axis(values, expected, axis or 0)
            assert same_bits(tga.sort(Tensor(x), axis=axis).numpy(), taken)
            falling = tga.argsort(Tensor(x), axis=axis, descending=True).numpy()
            turned = np.flip(values, axis or 0)
            place = np.flip(np.argsort(turned, axis=axis or 0, kind="stable"), axis or 0)
            assert same_bits(falling, values.shape[axis or 0] - 1 - place)
    x = rng.normal(size=(4, 20_000)).astype("float32")
    with threads(2):
        assert same_bits(tga.argsort(Tensor(x)).numpy(), np.argsort(x, kind="stable"))


@pytest.mark.parametrize("kind", ALL)
def test_first_places_are_those_of_the_order(kind, isa):
    """Few of many, which are selected, and many of few, which are sorted; ties and nan."""
    rng = np.random.default_rng(8)
    for n in (1, 2, 15, 16, 17, 33, 100, 300):
        x = rng.integers(0, 2 if kind == "bool" else 200, (3, n, 2)).astype(kind)
        if kind.startswith("float"):
            x[0] = np.where(rng.random((n, 2)) < 0.3, rng.choice([NAN, INF, -INF, -0.0], (n, 2)), 0)
            x[1] = NAN
            x[1, n // 2] = -1
        x = Tensor(x)
        for k in sorted({0, 1, 2, n // 16, n // 16 + 1, n} & set(range(n + 1))):
            for largest in (False, True):
                order = x.argsort(axis=1, descending=largest).numpy()[:, :k]
                assert same_bits(tga.topk_index(x, k, 1, largest).numpy(), order), (n, k, largest)
                column = tga.topk_index(x[1, :, 0], k, 0, largest).numpy()
                assert same_bits(column, order[1, :, 0])


def test_first_places_of_long_lines(isa):
    """On both sides of the largest number that is selected rather than sorted, 128."""
    rng = np.random.default_rng(9)
    for n in (2047, 2048, 4096):
        x = Tensor(rng.integers(0, 500, (2, n, 2)), dtype="float32")
        for k in (127, 128, 129):
            for largest in (False, True):
                order = x.argsort(axis=1, descending=largest).numpy()[:, :k]
                assert same_bits(tga.topk_index(x, k, 1, largest).numpy(), order), (n, k, largest)
                column = tga.topk_index(x[1, :, 0], k, 0, largest).numpy()
                assert same_bits(column, order[1, :, 0]), (n, k, largest)


def test_gradients_go_back_to_where_the_values_came_from(dtype):
    gy = Tensor([1.0, 2.0, 4.0, 8.0], dtype=dtype)
    x = leaf([3.0, 1.0, 3.0, 2.0], dtype)
    assert grad(x.sort(), x, gy)[0].tolist() == [4.0, 1.0, 8.0, 2.0]
    assert grad(x.sort(descending=True), x, gy)[0].tolist() == [1.0, 8.0, 2.0, 4.0]


def test_topk(dtype):
    x = leaf([[3.0, 1.0, 3.0, 2.0], [0.0, NAN, 7.0, -1.0]], dtype)
    values, indices = x.topk(2)
    np.testing.assert_array_equal(values.numpy(), [[3.0, 3.0], [NAN, 7.0]])
    assert indices.tolist() == [[0, 2], [1, 2]] and indices.dtype == "int64"
    (g,) = grad(values, x, Tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype))
    assert g.tolist() == [[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 4.0, 0.0]]
    values, indices = tga.topk(x, 1, axis=0, largest=False)
    assert values.tolist() == [[0.0, 1.0, 3.0, -1.0]] and indices.tolist() == [[1, 0, 0, 1]]
    assert [one.shape for one in x.topk(0)] == [(2, 0), (2, 0)]
    for k in (np.int64(1), np.uint8(1)):
        values, indices = x.topk(k)
        assert same_bits(values.numpy(), x.numpy()[[0, 1], [0, 1], None])
        assert indices.tolist() == [[0], [1]]
        assert tga.topk_index(x, k).tolist() == [[0], [1]]


# ---- what is refused ------------------------------------------------------------------------

X = Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
NOTHING = tga.zeros(2, 0)
WHOLE = Tensor([1, 2, 3], dtype="int64")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: NOTHING.argmax(axis=1), ValueError, ["argmax", "(2, 0)"]),
        (lambda: NOTHING.argmin(), ValueError, ["argmin", "(2, 0)"]),
        (lambda: NOTHING.amax(), ValueError, ["amax", "(2, 0)"]),
        (lambda: NOTHING.amin(axis=1), ValueError, ["amin", "(2, 0)"]),
        (lambda: NOTHING.norm(INF), ValueError, ["norm", "(2, 0)"]),
        (lambda: X.argmax(axis=(0, 1)), TypeError, ["argmax", "axis"]),
        (lambda: X.argmax(axis=2), ValueError, ["argmax", "axis 2"]),
        (lambda: X.var(axis=(0, 0)), ValueError, ["var", "twice"]),
        (lambda: X.std(correction="1"), TypeError, ["std", "correction"]),
        (lambda: WHOLE.var(), TypeError, ["var", "float32"]),
        (lambda: WHOLE.std(), TypeError, ["std", "float32"]),
        (lambda: WHOLE.logsumexp(), TypeError, ["logsumexp", "float32"]),
        (lambda: WHOLE.norm(), TypeError, ["norm", "float32"]),
        (lambda: X.norm("fro"), TypeError, ["norm", "p", "'fro'"]),
        (lambda: X.logsumexp(axis=3), ValueError, ["logsumexp", "axis 3"]),
        (lambda: X.cumsum(axis=2), ValueError, ["cumsum", "axis 2"]),
        (lambda: X.cumprod(axis=(0,)), TypeError, ["cumprod", "axis"]),
        (lambda: Tensor(1.0).sort(), ValueError, ["sort: axis -1"]),
        (lambda: X.topk(4), ValueError, ["topk", "4", "(2, 3)"]),
        (lambda: X.topk(-1), ValueError, ["topk", "-1"]),
        (lambda: X.topk(1.0), TypeError, ["topk", "1.0"]),
        (lambda: X.topk(True), TypeError, ["topk", "True"]),
        (lambda: X.topk(np.True_), TypeError, ["topk", "True"]),
        (lambda: X.topk(1, axis=5), ValueError, ["topk", "axis 5"]),
        (lambda: X.glu(), ValueError, ["glu", "axis 1", "(2, 3)"]),
        (lambda: X.glu(axis=3), ValueError, ["glu", "axis 3"]),
        (lambda: WHOLE.glu(), TypeError, ["glu", "float32"]),
        (lambda: X.prelu(Tensor([1.0, 2.0])), ValueError, ["prelu", "(2,)", "(2, 3)"]),
        (lambda: X.prelu(tga.ones(3, 1)), ValueError, ["prelu", "(3, 1)"]),
        (lambda: X.clamp("a"), TypeError, ["attribute", "min='a'"]),
        (lambda: X.clamp(Tensor(1.0), 2.0), TypeError, ["clamp", "min", "number"]),
        (lambda: WHOLE.sin(), TypeError, ["sin", "float32"]),
        (lambda: X.atan2(tga.ones(4)), ValueError, ["atan2", "(2, 3)", "(4,)"]),
    ],
)
def test_misuse(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
