"""The kernels that mix elements: reductions, softmax, maxout, losses of many elements.

A record's reference, evaluated on numbers that know their rounding error, yields truth and
tolerance at once.  Long sums have their own bound, logarithmic in their length.
"""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from oracle import (
    CODES,
    GENERAL,
    LOSSES,
    GuardedPage,
    Rounded,
    by_name,
    holds_floats,
    in_child,
    pointer,
    same_bits,
    tensor,
    threads,
    with_source,
)

import tinygrad_act as tga
from tinygrad_act import Tensor, kernels
from tinygrad_act.ops import nested

lib = kernels.lib
ISAS = tga.supported_isas()
GRAIN = 32768  # more elements are worth a second thread


# ---- every op against its reference ---------------------------------------------------------


def rounded(x):
    """Nested lists with every float as a Rounded."""
    if not holds_floats(x):
        return x
    return nested.nest([Rounded(item) for item in nested.flat(x)], nested.shape(x))


@pytest.mark.parametrize("op", GENERAL, ids=by_name)
@given(seed=st.integers(0, 2**32 - 1))
def test_reference(op, dtype, seed):
    inputs, attrs = op.sample(random.Random(seed))
    attrs = with_source(attrs, dtype)
    expected = op.reference(*map(rounded, inputs), **attrs)
    tensors = [tensor(x, dtype) for x in inputs]
    kept = [x.tolist() for x in tensors]
    for name in ISAS:
        with tga.use_isa(name):
            y = op(*tensors, **attrs)
            got = nested.flat(y.tolist())
            assert nested.shape(y.tolist()) == nested.shape(expected)
            if not y.dtype.is_float:
                assert got == nested.flat(expected), (inputs, attrs)
                continue
            for value, exact in zip(got, nested.flat(expected), strict=True):
                exact = exact if isinstance(exact, Rounded) else Rounded(exact)
                if math.isnan(exact.value):
                    assert math.isnan(value)
                elif math.isinf(exact.value):
                    assert value == exact.value
                else:
                    assert abs(mpf(value) - exact.value) <= exact.bound(y.dtype.name), (
                        inputs, attrs, value, exact.value, exact.bound(y.dtype.name)
                    )  # fmt: skip
    assert [x.tolist() for x in tensors] == kept


# ---- reductions -----------------------------------------------------------------------------

REDUCTIONS = [tga.sum, tga.prod, tga.max, tga.min]
# a chunk is 64 vectors: 128 to 1024 elements
LENGTHS = [*range(68), 127, 128, 129, 255, 256, 257, 511, 513, 1023, 1024, 1025, 2049, 3000, 5001]


def depth(n):
    """Additions on the longest way from an element to the sum, by csrc/reduce.tmpl.h.

    Within a chunk: 3 in a group of 8, one for each of 8 groups, 7 for what is left and one
    for its rest, 4 for the lanes.  Then chunks in pairs: at most log2(n / 128), rounded up.
    """
    return 3 + 8 + 8 + 4 + max(0, math.ceil(math.log2(max(n, 1) / 128)))


def numbers(dtype, shape, seed=1):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(dtype)


@pytest.mark.parametrize("kind", ["mixed signs", "0.1", "cancelling", "wide"])
def test_sum(kind, dtype, isa):
    """math.fsum gives the sum of floats without error."""
    eps = np.finfo(dtype).eps
    for n in [*LENGTHS, 100_000, 1_000_003]:
        if kind == "0.1":
            x = np.full(n, 0.1, dtype)
        else:
            x = numbers(dtype, n)
            if kind == "cancelling":
                x[n // 2 :] = -x[: n - n // 2]
            if kind == "wide":
                x *= np.exp2(np.arange(n) % 60 - 30).astype(dtype)
        if n > 5001 and kind not in ("0.1", "wide"):
            continue
        exact = math.fsum(x.tolist())
        size = math.fsum(np.abs(x).tolist())
        got = Tensor(x).sum().item()
        assert abs(got - exact) <= depth(n) * eps / 2 * size, (n, got, exact)


@pytest.mark.parametrize("op", REDUCTIONS, ids=by_name)
def test_one_order_on_every_path(op, dtype, isa):
    """Rows, columns and gathered elements: the same bits, on one thread and on two."""
    for n in LENGTHS[1:]:
        for width in (1, 2, 3, 5, 16, 17, 40) if n < 200 or n in (1025, 3000) else (3,):
            a = numbers(dtype, (n, width), n)
            rows = Tensor(np.ascontiguousarray(a.T))
            expected = op(rows, axis=1).numpy()
            columns = Tensor(a)
            wider = Tensor(np.concatenate([a, np.full((n, 3), np.nan, dtype)], axis=1))
            apart = Tensor(np.stack([a.T, np.full_like(a.T, np.nan)], axis=-1))
            assert same_bits(op(columns, axis=0).numpy(), expected), (n, width)
            assert same_bits(op(wider[:, :width], axis=0).numpy(), expected), (n, width)
            assert same_bits(op(apart[..., 0], axis=1).numpy(), expected), (n, width)
            assert same_bits(op(rows[::-1], axis=1).numpy(), expected[::-1]), (n, width)
    a = numbers(dtype, (3, GRAIN + 77))
    for view in (lambda x: x, lambda x: x.T, lambda x: x[:, ::-1], lambda x: x[1:, 5:]):
        for axis in (None, 0, 1):
            with threads(1):
                one = op(view(Tensor(a)), axis=axis).numpy()
            with threads(2):
                assert same_bits(op(view(Tensor(a)), axis=axis).numpy(), one)
            assert same_bits(op(view(Tensor(a)).clone(), axis=axis).numpy(), one)


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("kind", ["float32", "float64", "int64"])
def test_extremes(name, kind, isa):
    """As NumPy: a nan anywhere wins, infinities count."""
    op, choose = getattr(tga, name), getattr(np, name)
    rng = np.random.default_rng(2)
    for n in (1, 2, 15, 16, 17, 63, 64, 65, 130, 1025, 5000):
        x = (rng.normal(0, 1000, n)).astype(kind)
        assert op(Tensor(x)).item() == choose(x)
        where = rng.integers(0, n)
        for value in (math.inf, -math.inf, math.nan) if kind != "int64" else (2**62 + 1, -(2**62)):
            y = x.copy()
            y[where] = value
            got, expected = op(Tensor(y)).item(), choose(y).item()
            assert got == expected or (math.isnan(got) and math.isnan(expected)), (n, where, value)


def test_counts():
    """Sums of bools and of small integers are exact int64."""
    x = np.arange(70_000) % 7 < 3
    assert tga.sum(Tensor(x)).item() == int(x.sum())
    assert tga.sum(Tensor(x), axis=0).dtype == "int64"
    for kind in ("uint8", "int64"):
        y = (np.arange(70_000) % 251).astype(kind)
        assert tga.sum(Tensor(y)).item() == int(y.sum(dtype="int64"))
        two = y.reshape(700, 100)
        assert tga.sum(Tensor(two), axis=0).tolist() == two.sum(axis=0, dtype="int64").tolist()


# ---- softmax --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_log", [False, True], ids=["softmax", "log_softmax"])
@pytest.mark.parametrize("scale", [1.0, 30.0, 3000.0])
def test_softmax_of_long_rows(is_log, scale, dtype, isa):
    """Against twice the precision, in which exp of the differences needs no care."""
    op = tga.log_softmax if is_log else tga.softmax
    wide = np.longdouble if dtype == "float64" else np.float64
    unit = np.finfo(dtype).eps / 2
    for n in (1, 2, 7, 16, 17, 31, 33, 64, 65, 100, 129, 1000, 3001):
        x = numbers(dtype, (5, n), n) * np.dtype(dtype).type(scale)
        z = x.astype(wide) - x.max(axis=1, keepdims=True)
        total = np.exp(z).sum(axis=1, keepdims=True)
        # z is rounded once, which in exp(z) counts |z| times; an ulp is at most two units
        e = np.exp(z)
        of_sum = (np.abs(z) * e).sum(axis=1, keepdims=True) / total
        of_sum += depth(n) + 2 * tga.exp.max_ulp[dtype]
        if is_log:
            exact = z - np.log(total)
            of_log = 2 * tga.log.max_ulp[dtype] * np.abs(np.log(total))
            bound = np.abs(z) + of_sum + of_log + np.abs(exact)
        else:  # times the reciprocal of the sum
            exact = e / total
            bound = exact * (np.abs(z) + 2 * tga.exp.max_ulp[dtype] + of_sum + 2)
        got = op(Tensor(x), axis=1).numpy()
        assert (np.abs(got - exact) <= bound * unit + np.finfo(dtype).smallest_subnormal).all(), n


@pytest.mark.parametrize("is_log", [False, True], ids=["softmax", "log_softmax"])
def test_softmax_far_out(is_log, dtype, isa):
    op = tga.log_softmax if is_log else tga.softmax
    inf, nan = math.inf, math.nan
    for n in (3, 16, 40, 200):
        fill = [-inf] * (n - 3)
        got = op(Tensor([0.0, 0.0, -inf, *fill], dtype=dtype)).numpy()
        half = math.log(0.5) if is_log else 0.5
        nothing = -inf if is_log else 0.0
        np.testing.assert_allclose(got[:2], half, rtol=4 * np.finfo(dtype).eps)
        assert (got[2:] == nothing).all()
        big = np.finfo(dtype).max
        got = op(Tensor([-big, big, 0.0, *fill], dtype=dtype)).numpy()
        assert got[1] == (0.0 if is_log else 1.0) and not np.isnan(got).any()
        for first in ([-inf] * 3, [inf, 0.0, 0.0], [nan, 0.0, 0.0]):
            for row in ([*first, *fill], [*fill, *first]):
                assert np.isnan(op(Tensor(row, dtype=dtype)).numpy()).all(), first


@pytest.mark.parametrize("is_log", [0, 1], ids=["softmax", "log_softmax"])
def test_softmax_row_depends_on_itself_alone(is_log, dtype, isa):
    """Whatever rows stand beside it, forward and backward, on one thread and on two."""
    code = CODES[dtype]

    def both(x, gy):
        y, gx = np.empty_like(x), np.empty_like(x)
        rows, n = x.shape
        assert lib.tga_softmax_forward(code, is_log, rows, n, pointer(x), pointer(y)) == 0
        status = lib.tga_softmax_backward(
            code, is_log, rows, n, pointer(gy), pointer(y), pointer(gx)
        )
        assert status == 0
        return y, gx

    for n in [*range(1, 70), 128, 200, 1025]:
        x, gy = numbers(dtype, (2, 19, n), n)
        y, gx = both(x, gy)
        for row in (0, 1, 7, 15, 16, 18):
            alone = both(x[row : row + 1].copy(), gy[row : row + 1].copy())
            assert same_bits(alone[0][0], y[row]) and same_bits(alone[1][0], gx[row]), (n, row)
    x, gy = numbers(dtype, (2, 2 * GRAIN // 10 + 3, 10))
    with threads(1):
        one = both(x, gy)
    with threads(2):
        two = both(x, gy)
    assert same_bits(one[0], two[0]) and same_bits(one[1], two[1])


# ---- gates ----------------------------------------------------------------------------------

GATE_SHAPES = [(n,) for n in (*range(0, 36), 64, 67)]
GATE_SHAPES += [(3, 5), (7, 1), (2, 33), (3, 2, 4), (2, 5, 17), (4, 3, 2, 2), (2, 0, 3)]


def test_prelu_has_the_bits_of_leaky_relu(dtype, isa):
    """One slope, or one for each channel, wherever an element lies."""
    for shape in GATE_SHAPES:
        x, gy = numbers(dtype, (2, *shape), len(shape))
        counts = {1, shape[1] if len(shape) > 1 else 1} - {0}
        for count in counts:
            slopes = numbers(dtype, (count,), 7)
            p, w = Tensor(x, requires_grad=True), Tensor(slopes, requires_grad=True)
            y = p.prelu(w)
            gx, gw = tga.grad(y, [p, w], Tensor(gy))
            for c in range(count):
                at = (slice(None), slice(c, c + 1)) if count > 1 else ...
                one = Tensor(x[at], requires_grad=True)
                slope = slopes[c].item()
                expected = one.leaky_relu(slope)
                assert same_bits(y.numpy()[at], expected.numpy()), shape
                (g,) = tga.grad(expected, one, Tensor(gy[at]))
                assert same_bits(gx.numpy()[at], g.numpy()), shape
                terms = np.where(x[at] > 0, 0, gy[at] * x[at])
                bound = np.finfo(dtype).eps * 8 * np.abs(terms).sum()
                assert abs(gw.numpy()[c] - math.fsum(terms.ravel().tolist())) <= bound


def test_glu_has_the_bits_of_its_parts(dtype, isa):
    for shape in GATE_SHAPES:
        for axis in range(len(shape)):
            whole = [2 * n if i == axis else n for i, n in enumerate(shape)]
            x = Tensor(numbers(dtype, whole, 5), requires_grad=True)
            before = (slice(None),) * axis
            passed, gate = x[(*before, slice(shape[axis]))], x[(*before, slice(shape[axis], None))]
            y = tga.glu(x, axis=axis)
            assert same_bits(y.numpy(), (passed * gate.sigmoid()).numpy())
            gy = Tensor(numbers(dtype, shape, 6))
            (gx,) = tga.grad(y, x, gy)
            to_passed = gx[(*before, slice(shape[axis]))].numpy()
            assert same_bits(to_passed, (gy * gate.sigmoid()).numpy())


def glu_of_rows(x, gy, offset=1):
    """y and the gradient of x (rows, 2, n), by the kernels.

    Each result begins `offset` elements behind the beginning of a line of memory.
    """
    rows, _, n = x.shape
    code, results = CODES[x.dtype.name], []
    for shape in (gy.shape, x.shape):
        size = math.prod(shape)
        memory = np.full(size + 96, 77, x.dtype)
        begin = -memory.ctypes.data % 64 // memory.itemsize + offset
        result = memory[begin : begin + size]
        if len(results) == 0:
            status = lib.tga_glu_forward(code, rows, n, pointer(x), pointer(result))
        else:
            status = lib.tga_glu_backward(code, rows, n, pointer(gy), pointer(x), pointer(result))
        assert status == 0
        assert (memory[:begin] == 77).all() and (memory[begin + size :] == 77).all()
        results.append(result.reshape(shape))
    return results


def assert_like_one_row(x, gy, y, gx):
    """The bits that one row of all first halves and of all second halves gets."""
    one = np.ascontiguousarray(x.swapaxes(0, 1).reshape(1, 2, -1))
    expected_y, expected_gx = glu_of_rows(one, gy.reshape(1, -1))
    assert same_bits(y.ravel(), expected_y.ravel())
    assert same_bits(gx.swapaxes(0, 1).ravel(), expected_gx.ravel())


def test_glu_of_rows_of_any_length(dtype, isa):
    """The bits of an element do not depend on its row, nor is anything else written."""
    for n in [*range(1, 71), 100, 341, 512, 1023, 1024, 1025]:
        for rows in (1, 2, 3, 4, 7, 16, 33) if n < 71 else (1, 3, 5):
            x, gy = numbers(dtype, (rows, 2, n), n), numbers(dtype, (rows, n), rows)
            assert_like_one_row(x, gy, *glu_of_rows(x, gy))


@pytest.mark.parametrize("n", [5, 16, 333, 2048, 2049])
def test_glu_of_large_results(n, dtype, isa):
    """Results that are stored round the caches: the same bits, also on two threads."""
    rows = (8 << 20) // np.dtype(dtype).itemsize // n + 3  # csrc/kernels.h: STREAM_BYTES
    x, gy = numbers(dtype, (3, 2, n), n), numbers(dtype, (3, n))
    y, gx = glu_of_rows(x, gy)

    def again(a):
        return np.concatenate([a] * (rows // 3 + 1))[:rows]

    for count, offset in ((1, 0), (2, 0), (2, 1)):
        with threads(count):
            large_y, large_gx = glu_of_rows(again(x), again(gy), offset)
        assert same_bits(large_y, again(y)) and same_bits(large_gx, again(gx))


def test_gates_and_rows_on_two_threads(dtype):
    x = Tensor(numbers(dtype, (3, 4, 30_000)), requires_grad=True)
    w = Tensor(numbers(dtype, (4,)), requires_grad=True)

    def results():
        outputs = [x.prelu(w), x.glu(axis=1), x.logsumexp(axis=2), x.var(axis=(1, 2)), x.norm()]
        outputs += [x.cumsum(axis=2), x.cumprod(axis=0)]
        for y in outputs:
            yield y.numpy()
            yield from [g.numpy() for g in tga.grad(y, [x, w], tga.ones_like(y))]
        yield from [x.argmax(axis=1).numpy(), x.detach()[:, :, :3000].argsort().numpy()]

    with threads(1):
        one = list(results())
    with threads(2):
        for a, b in zip(one, results(), strict=True):
            assert same_bits(a, b)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_gates_and_rows_touch_nothing_else(dtype, isa):
    """Every size, at both borders of guarded pages."""
    code = CODES[dtype]

    def work(report):
        pages = [GuardedPage() for _ in range(4)]
        for n in range(1, 68):
            report(f"{n}")
            for place in ("at_end", "at_start"):
                x, y, gy, terms = [getattr(page, place)(n, dtype) for page in pages]
                x[:], gy[:] = 0.5, 1.0
                p, q, g, t = map(pointer, (x, y, gy, terms))
                one = pointer(np.full(n, 0.25, dtype))
                for around in ((1, 1, n), (1, n, 1)):
                    lib.tga_prelu_forward(code, *around, p, one, q)
                    lib.tga_prelu_backward(code, *around, g, p, one, q, t)
                lib.tga_var_backward(code, 1, n, 1, 1.0, one, p, q)
                for around in ((1, n, 1), (1, 1, n)):
                    lib.tga_var_backward(code, *around, 1.0, g, p, q)
                    lib.tga_prod_backward(code, *around, g, p, q)
                    for name in ("norm", "logsumexp", "extreme"):
                        getattr(lib, f"tga_{name}_backward")(code, *around, g, g, p, q)
                    lib.tga_softmax_columns_forward(code, n % 2, *around, p, q)
                    lib.tga_softmax_columns_backward(code, n % 2, *around, g, p, q)
                for direction in (0, 1):
                    lib.tga_cumulate(code, 0, direction, 1, n, 1, p, q)
                    lib.tga_cumulate(code, 1, direction, 1, 1, n, p, q)
                lib.tga_cumprod_backward(code, 1, n, 1, g, p, q)
                if n % 2 == 0:
                    for rows in (r for r in range(1, n) if n // 2 % r == 0):
                        half = pointer(getattr(pages[1], place)(n // 2, dtype))
                        lib.tga_glu_forward(code, rows, n // 2 // rows, p, half)
                        gate = pointer(getattr(pages[2], place)(n // 2, dtype))
                        lib.tga_glu_backward(code, rows, n // 2 // rows, gate, p, q)
                result = getattr(pages[1], place)(1, dtype)
                lib.tga_var_forward(code, 1, n, 1.0, p, pointer(result))
                lib.tga_norm_forward(code, 1, n, p, pointer(result))
                lib.tga_logsumexp_forward(code, 1, n, p, pointer(result))
                places = kernels.as_int64(pointer(getattr(pages[2], place)(n, "int64")))
                lib.tga_argsort(code, 0, 1, n, 1, n, p, places)
                lib.tga_argsort(code, n % 2, 1, n, 1, 1, p, places)
                lib.tga_argmax(code, 0, 1, n, p, places)

    status, last = in_child(work)
    assert status == 0, f"{last}: signal {-status}" if status < 0 else last


def leaf(x, dtype):
    return Tensor(x, requires_grad=True, dtype=dtype)


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "var", "norm", "logsumexp", "max", "min"])
def test_columns_are_rows(op, dtype, isa):
    """What is done along another axis has the bits of a row, forward and backward."""
    op = getattr(tga, op)
    for n, inner in [(1, 2), (2, 3), (5, 16), (8, 17), (33, 129), (300, 20), (1100, 3)]:
        x = np.random.default_rng(n).normal(size=(2, n, inner)).astype(dtype)
        x[0, n // 2] = x[0, 0]  # ties
        x[1, :, 1] = 0.0
        x[1, n - 1, 0] = np.nan
        columns, rows = leaf(x, dtype), leaf(x.swapaxes(1, 2).copy(), dtype)
        y, z = op(columns, axis=1), op(rows, axis=2)
        gy = np.random.default_rng(2).normal(size=y.shape).astype(dtype)
        turned = gy.swapaxes(1, 2).copy() if gy.ndim == 3 else gy
        (gx,), (gz,) = tga.grad(y, [columns], Tensor(gy)), tga.grad(z, [rows], Tensor(turned))
        if y.ndim == 3:
            z = z.transpose()
        for one, other in [(y, z), (gx, gz.transpose())]:
            one, other = (np.where(np.isnan(a), np.nan, a) for a in (one.numpy(), other.numpy()))
            assert same_bits(one, other), (n, inner)


def test_products_of_all_others(dtype, isa):
    """Along rows and columns, also where elements are 0, and where a product is large or small."""
    for n, inner in [(1, 1), (2, 1), (5, 3), (16, 1), (17, 17), (31, 1), (33, 129), (130, 1)]:
        x = np.random.default_rng(n).uniform(0.9, 1.1, (2, n, inner)).astype(dtype)
        x[1, n // 2, 0] = 0.0
        exact = np.empty(x.shape)
        for k in range(n):
            exact[:, k] = np.delete(x, k, axis=1).prod(axis=1, dtype="float64")
        p = leaf(x, dtype)
        gy = np.random.default_rng(3).normal(size=(2, inner)).astype(dtype)
        (gx,) = tga.grad(p.prod(axis=1), [p], Tensor(gy))
        bound = (n + 1) * np.finfo(dtype).eps
        np.testing.assert_allclose(gx.numpy(), exact * gy[:, None], rtol=bound, atol=0)
        if n > 2:
            x[1, 0] = x[1, n - 1] = 0.0
            p = leaf(x, dtype)
            assert not tga.grad(p.prod(axis=1), [p], Tensor(gy))[0].numpy()[1].any()
    tiny = float(np.finfo(dtype).tiny)
    p = leaf([tiny, 2.0, 4.0, 0.25 / tiny], dtype)
    assert tga.grad(p.prod(), [p])[0].tolist() == [2.0 / tiny, 1.0, 0.5, 8.0 * tiny]


# ---- maxout ---------------------------------------------------------------------------------


def test_maxout(dtype, isa):
    """The first largest piece wins, or the first nan; it alone gets the gradient."""
    rng = np.random.default_rng(3)
    for pieces in (1, 2, 3, 4, 5, 8):
        for n in (0, 1, 2, 7, 16, 33, 100):
            x = rng.integers(-2, 3, (n, pieces)).astype(dtype)
            x[rng.random(x.shape) < 0.1] = np.nan
            leaf = Tensor(x.ravel(), requires_grad=True)
            y = tga.maxout(leaf, pieces=pieces)
            gy = rng.normal(0, 1, n).astype(dtype)
            y.backward(Tensor(gy))
            best = np.argmax(x, axis=1)  # NumPy's argmax, too, takes the first nan
            expected = np.zeros_like(x)
            expected[np.arange(n), best] = gy
            assert np.array_equal(y.numpy(), x[np.arange(n), best], equal_nan=True)
            assert same_bits(leaf.grad.numpy(), expected.ravel())


# ---- losses ---------------------------------------------------------------------------------


def losses_of(op, x, t, scale=1.0):
    total = np.empty(1, x.dtype)
    code = CODES[x.dtype.name]
    status = lib.tga_loss_forward(
        op.row, code, x.size, pointer(x), pointer(t), 1.0, scale, pointer(total)
    )
    assert status == 0
    return total[0]


@pytest.mark.parametrize("op", LOSSES, ids=by_name)
def test_sum_of_losses(op, dtype, isa):
    """The sum of the single losses, to the bound of a sum; the same bits on two threads."""
    rng = np.random.default_rng(4)
    for n in [0, 1, 2, 15, 17, 63, 64, 65, 130, 1025, 5001, 3 * GRAIN + 5]:
        x, t = [rng.uniform(*bounds, n).astype(dtype) for bounds in op.domain]
        got = losses_of(op, x, t)
        if n < 2000:
            single = [losses_of(op, x[i : i + 1], t[i : i + 1]).item() for i in range(n)]
            exact = math.fsum(single)
            assert abs(got - exact) <= depth(n) * np.finfo(dtype).eps / 2 * exact
        half = losses_of(op, x, t, 0.5)
        assert half == got / 2
        with threads(2):
            two = losses_of(op, x, t)
        with threads(1):
            assert same_bits(np.array(losses_of(op, x, t)), np.array(two))


def test_cross_entropy_far_out(dtype, isa):
    """A hopeless logit costs its distance; a safe one costs nothing; rows do not mix."""
    x = Tensor([[0.0, 1000.0], [1000.0, 0.0], [-1e4, 1e4]], requires_grad=True, dtype=dtype)
    labels = Tensor([0, 0, 1], dtype="int64")
    loss = tga.cross_entropy(x, labels, reduction="none")
    assert loss.tolist() == [1000.0, 0.0, 0.0]
    total = tga.cross_entropy(x, labels, reduction="sum")
    total.backward()
    assert total.item() == 1000.0
    assert x.grad.tolist() == [[-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_label_out_of_range(label, dtype):
    x = Tensor([[0.0, 1.0, 2.0]] * 2, dtype=dtype)
    with pytest.raises(ValueError, match="label"):
        tga.cross_entropy(x, Tensor([0, label], dtype="int64"))


def test_cross_entropy_in_threads(dtype, isa):
    rng = np.random.default_rng(5)
    rows, classes = GRAIN // 5 + 3, 11
    x = rng.normal(0, 3, (rows, classes)).astype(dtype)
    labels = Tensor(rng.integers(0, classes, rows))
    results = []
    for count in (1, 2):
        with threads(count):
            leaf = Tensor(x, requires_grad=True)
            loss = tga.cross_entropy(leaf, labels)
            loss.backward()
            results.append((loss.numpy(), leaf.grad.numpy()))
    assert same_bits(results[0][0], results[1][0]) and same_bits(results[0][1], results[1][1])


# ---- guarded memory -------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_nothing_beyond_the_elements_is_touched(isa, dtype):
    code = CODES[dtype]
    labels = np.zeros(80, "int64")
    one, ones = np.ones(1, dtype), np.ones(80, dtype)

    def reduce(n, width, x, y, z):
        for op in ("sum", "max", "min"):
            row = kernels.find("reduce", op)
            # each row to a number, then the columns to a row
            along = kernels.layout((width, n), (0, 0), (n, 1))
            lib.tga_reduce(row, code, along, 1, pointer(x), pointer(y[:width]))
            down = kernels.layout((n, width), (0, 0), (1, n))
            lib.tga_reduce(row, code, down, 1, pointer(x), pointer(y[-n:] if n else y))

    def softmax(n, rows, x, y, z):
        for is_log in (0, 1):
            lib.tga_softmax_forward(code, is_log, rows, n, pointer(x), pointer(y))
            lib.tga_softmax_backward(code, is_log, rows, n, pointer(x), pointer(y), pointer(z))

    def maxout(n, pieces, x, y, z):
        lib.tga_maxout_forward(code, n, pieces, pointer(x), pointer(y[:n]))
        lib.tga_maxout_backward(code, n, pieces, pointer(y[:n]), pointer(x), pointer(z))

    def cross_entropy(n, rows, x, y, z):
        label = kernels.as_int64(pointer(labels))
        if n:
            for weight, smoothing in ((kernels.NULL, 0.0), (pointer(ones), 0.5)):
                given = (2, rows, n)  # the mean
                lib.tga_cross_entropy_forward(
                    code, *given, pointer(x), label, weight, -1, smoothing, pointer(one)
                )
                lib.tga_cross_entropy_backward(
                    code, *given, pointer(one), pointer(x), label, weight, -1, smoothing, pointer(z)
                )
                lib.tga_nll_forward(code, *given, pointer(x), label, weight, -1, pointer(one))
                lib.tga_nll_backward(code, *given, pointer(one), label, weight, -1, pointer(z))

    def work(report):
        pages = [GuardedPage(2) for _ in range(3)]
        for call in (reduce, softmax, maxout, cross_entropy):
            for n in [*range(20), 31, 33, 63, 64, 65, 67]:
                for other in (1, 2, 5, 9):
                    report(f"{call.__name__} of {n} and {other}")
                    for place in ("at_end", "at_start"):
                        x, y, z = [getattr(page, place)(n * other, dtype) for page in pages]
                        x[:] = 0.5
                        call(n, other, x, y, z)

    status, last = in_child(work)
    assert status == 0, f"{last}: signal {-status}" if status < 0 else last
