"""The matrix product against three loops.

Products of small whole numbers are exact in any order, so they show every wrong address
without a tolerance.  Products of real numbers show the rounding: an element is a chain of
additions, k ascending, whatever stands around it.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import (
    CODES,
    ELEMENTWISE,
    GuardedPage,
    by_name,
    in_child,
    pointer,
    same_bits,
    threads,
)

import tinygrad_act as tga
from tinygrad_act import Tensor, kernels
from tinygrad_act.op import pair

lib = kernels.lib
ISAS = tga.supported_isas()
ROWS = [op for op in ELEMENTWISE if op.row >= 0]
# rows of C that threads share; C as a grid; B packed, with k in two blocks
LARGE_LAYERS = [(2000, 3, 5), (100, 130, 80), (192, 40, 530)]
TRANSPOSED = [(0, 0), (0, 1), (1, 0), (1, 1)]  # A, B


def gemm(a, b, c, trans_a=0, trans_b=0, alpha=1.0, beta=0.0, bias=None):
    """C = alpha op(A) op(B) + beta C + bias on NumPy matrices whose rows may lie apart."""
    m, n = c.shape
    k = a.shape[0] if trans_a else a.shape[1]
    step_a, step_b, step_c = [
        max(1, x.strides[0] // x.itemsize if x.shape[0] > 1 else x.shape[1]) for x in (a, b, c)
    ]
    status = lib.tga_gemm(
        CODES[c.dtype.name], trans_a, trans_b, m, n, k, alpha, pointer(a), step_a, pointer(b),
        step_b, beta, pointer(c), step_c, kernels.NULL if bias is None else pointer(bias),
    )  # fmt: skip
    assert status == 0
    return c


def with_gaps(x, gap):
    """The same matrix with `gap` nans behind each row; and the memory it lies in."""
    memory = np.full((x.shape[0], x.shape[1] + gap), np.nan, x.dtype)
    memory[:, : x.shape[1]] = x
    return memory[:, : x.shape[1]], memory


def whole(rng, shape, dtype):
    return rng.integers(-4, 5, shape).astype(dtype)


# around the tiles (6 or 14 rows, 2 vectors of 2 to 16), and the blocks of k (from 257 on)
EDGES = [1, 2, 3, 5, 6, 7, 8, 13, 14, 15, 16, 17, 28, 29, 31, 32, 33, 47, 63, 64, 65, 127, 130]
sizes = st.one_of(st.integers(0, 40), st.sampled_from(EDGES))
depths = st.one_of(sizes, st.sampled_from([255, 256, 257, 300, 511, 513, 600]))


@given(
    m=sizes, n=sizes, k=depths, trans=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    gaps=st.tuples(*[st.sampled_from([0, 0, 1, 5])] * 3), factors=st.sampled_from(
        [(1, 0), (1, 1), (2, 0), (-1, 3), (0.5, -1), (0, 1), (0, 0)]),
    with_bias=st.booleans(), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_exact(dtype, m, n, k, trans, gaps, factors, with_bias, seed):
    """Everything at once; rows may lie apart, and what lies between them stays as it was."""
    rng = np.random.default_rng(seed)
    x, w, c0 = whole(rng, (m, k), dtype), whole(rng, (k, n), dtype), whole(rng, (m, n), dtype)
    alpha, beta = factors
    bias = whole(rng, n, dtype) if with_bias else None
    expected = alpha * (x @ w) + beta * c0 + (bias if with_bias else 0)
    a, _ = with_gaps(np.ascontiguousarray(x.T) if trans[0] else x, gaps[0])
    b, _ = with_gaps(np.ascontiguousarray(w.T) if trans[1] else w, gaps[1])
    for name in ISAS:
        with tga.use_isa(name):
            c, memory = with_gaps(c0 if beta else np.full_like(c0, np.nan), gaps[2])
            gemm(a, b, c, *trans, alpha, beta, bias)
            assert (c == expected).all(), name
            assert np.isnan(memory[:, n:]).all()


@pytest.mark.parametrize("shape", [(200, 150, 300), (33, 700, 64), (700, 33, 64), (129, 257, 1030)])
@pytest.mark.parametrize("trans", TRANSPOSED)
def test_exact_when_large(shape, trans, dtype, isa):
    """Where operands are packed and threads share the work."""
    m, n, k = shape
    rng = np.random.default_rng(6)
    x, w, bias = whole(rng, (m, k), dtype), whole(rng, (k, n), dtype), whole(rng, n, dtype)
    expected = x.astype("int64") @ w.astype("int64") + bias.astype("int64")
    a = np.ascontiguousarray(x.T) if trans[0] else x
    b = np.ascontiguousarray(w.T) if trans[1] else w
    for count in (1, 2):
        with threads(count):
            c = gemm(a, b, np.full((m, n), np.nan, dtype), *trans, bias=bias)
            assert (c == expected).all()


def wide(dtype):
    """Twice the precision, or as much more as there is."""
    return np.float64 if dtype == "float32" else np.longdouble


@given(m=sizes, n=sizes, k=depths, seed=st.integers(0, 2**32 - 1))
def test_rounding(dtype, m, n, k, seed):
    """n roundings of half an eps of sum|terms|, as of any order: k products, k sums."""
    rng = np.random.default_rng(seed)
    a = (rng.normal(0, 1, (m, k)) * np.exp2(rng.integers(-9, 9, (m, k)))).astype(dtype)
    b = rng.normal(0, 1, (k, n)).astype(dtype)
    exact = a.astype(wide(dtype)) @ b.astype(wide(dtype))
    size = np.abs(a).astype("float64") @ np.abs(b).astype("float64")
    bound = (k + 1) * np.finfo(dtype).eps / 2 * size
    for name in ISAS:
        with tga.use_isa(name):
            c = gemm(a, b, np.empty((m, n), dtype))
            assert (np.abs(c - exact) <= bound).all(), name


def fused(a, b, c):
    """a * b + c rounded once to float32: the product is exact in float64, and the sum is odd
    there wherever it is not exact, so the second rounding cannot go wrong."""
    product = a.astype("float64") * b.astype("float64")
    total = product + c.astype("float64")
    back = total - product
    lost = (product - (total - back)) + (c.astype("float64") - back)
    bits = total.view("int64")
    even = (lost != 0) & (bits & 1 == 0)
    step = np.where((lost > 0) == (total > 0), 1, -1)
    return np.where(even, bits + step, bits).view("float64").astype("float32")


def test_chain(isa):
    """An element is one chain of v_fma, k ascending; bias comes last."""
    rng = np.random.default_rng(7)
    for m, n, k in [(3, 5, 7), (17, 33, 29), (40, 40, 256), (64, 64, 64), (1, 100, 50)]:
        a, b = rng.normal(0, 1, (m, k)).astype("f4"), rng.normal(0, 1, (k, n)).astype("f4")
        bias = rng.normal(0, 1, n).astype("f4")
        chain = np.zeros((m, n), "f4")
        for p in range(k):
            x, y = np.broadcast_arrays(a[:, p : p + 1], b[p : p + 1])
            chain = x * y + chain if isa == "base" else fused(x, y, chain)
        c = gemm(a, b, np.empty((m, n), "f4"))
        assert same_bits(c, chain)
        assert same_bits(gemm(a, b, np.empty((m, n), "f4"), bias=bias), chain + bias)


@pytest.mark.parametrize("k", [1, 7, 64, 256, 257, 300, 700, 1100])
def test_element_depends_on_its_row_and_column_alone(k, dtype, isa):
    """The bits of an element are those of its row times its column, whatever is around it,
    however it is stored, and on any number of threads."""
    rng = np.random.default_rng(8)
    m, n = 150, 131
    a, b = rng.normal(0, 1, (m, k)).astype(dtype), rng.normal(0, 1, (k, n)).astype(dtype)
    with threads(1):
        c = gemm(a, b, np.empty((m, n), dtype))
    with threads(2):
        assert same_bits(gemm(a, b, np.empty((m, n), dtype)), c)
    turned_a, turned_b = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
    for trans in TRANSPOSED:
        operands = (turned_a if trans[0] else a), (turned_b if trans[1] else b)
        assert same_bits(gemm(*operands, np.empty((m, n), dtype), *trans), c), trans
    for i, j, height, width in [
        (0, 0, 1, 1), (3, 5, 1, 1), (149, 130, 1, 1), (7, 0, 1, n), (0, 9, m, 1), (2, 3, 5, 17),
        (14, 32, 14, 32), (100, 100, 31, 31), (1, 1, 60, 70),
    ]:  # fmt: skip
        part = gemm(
            a[i : i + height].copy(), b[:, j : j + width].copy(), np.empty((height, width), dtype)
        )
        assert same_bits(part, c[i : i + height, j : j + width]), (i, j, height, width)


def test_nan_and_inf_go_where_they_belong(dtype, isa):
    rng = np.random.default_rng(9)
    for m, n, k in [(5, 7, 3), (70, 70, 70)]:
        a, b = rng.normal(0, 1, (m, k)).astype(dtype), rng.normal(0, 1, (k, n)).astype(dtype)
        a[2, 1], b[2, 4] = np.nan, np.inf
        c = gemm(a, b, np.full((m, n), np.nan, dtype))
        expected = np.zeros((m, n), bool)
        expected[2] = True
        expected[:, 4] = True
        assert (np.isfinite(c) == ~expected).all()
        assert np.isnan(c[2]).all() and np.isinf(np.delete(c[:, 4], 2)).all()


def test_nothing_to_multiply(dtype, isa):
    """k = 0: beta C + bias; m = 0 or n = 0: nothing is written."""
    a, b = np.empty((3, 0), dtype), np.empty((0, 4), dtype)
    bias = np.arange(4).astype(dtype)
    c = np.full((3, 4), np.nan, dtype)
    assert (gemm(a, b, c) == 0).all()
    assert (gemm(a, b, c, bias=bias) == bias).all()
    assert (gemm(a, b, c, beta=2.0) == 2 * bias).all()
    x, w = Tensor(np.empty((2, 0), dtype)), Tensor(np.empty((0, 3), dtype))
    assert tga.matmul(x, w).tolist() == [[0.0] * 3] * 2


# ---- through Tensors: views and stacks ------------------------------------------------------

VIEWS = {
    "as it is": lambda x: Tensor(x),
    "transposed": lambda x: Tensor(np.ascontiguousarray(np.swapaxes(x, -1, -2))).transpose(-2, -1),
    "reversed": lambda x: Tensor(np.ascontiguousarray(x[..., ::-1, ::-1]))[..., ::-1, ::-1],
    "of a slice": lambda x: Tensor(np.pad(x, [(0, 0)] * (x.ndim - 1) + [(2, 3)]))[..., 2:-3],
    "every second": lambda x: Tensor(np.repeat(x, 2, axis=-1))[..., ::2],
}


@pytest.mark.parametrize("x_view", VIEWS)
@pytest.mark.parametrize("w_view", VIEWS)
@pytest.mark.parametrize(
    "shapes",
    [
        ((5, 7), (7, 3)),
        ((1, 9), (9, 1)),
        ((40, 33), (33, 50)),
        ((2, 5, 7), (7, 3)),
        ((1, 4, 3), (6, 3, 2)),
        ((0, 4, 3), (3, 2)),
        ((4, 1, 5, 2), (3, 2, 6)),
        ((3, 1, 2, 2), (1, 5, 2, 1)),
    ],
    ids=str,
)
def test_views(x_view, w_view, shapes, dtype, isa):
    rng = np.random.default_rng(10)
    x, w = [whole(rng, shape, dtype) for shape in shapes]
    y = tga.matmul(VIEWS[x_view](x), VIEWS[w_view](w))
    assert y.shape == (x @ w).shape and (y.numpy() == x @ w).all()


@pytest.mark.parametrize("trans", TRANSPOSED)
def test_batched(trans, dtype, isa):
    """Any step between the matrices of a stack, 0 and negative ones included."""
    rng = np.random.default_rng(11)
    m, n, k = 4, 5, 3
    x, w = whole(rng, (2, 3, m, k), dtype), whole(rng, (2, 3, k, n), dtype)
    a = np.ascontiguousarray(np.swapaxes(x, -1, -2)) if trans[0] else x
    b = np.ascontiguousarray(np.swapaxes(w, -1, -2)) if trans[1] else w
    c = np.empty((2, 3, m, n), dtype)
    for steps_a, steps_b, one, other in [
        ((3 * m * k, m * k), (3 * k * n, k * n), x, w),
        ((0, m * k), (3 * k * n, 0), x[:1], w[:, :1]),
        ((0, 0), (0, 0), x[:1, :1], w[:1, :1]),
    ]:
        walk = kernels.layout((2, 3), (3 * m * n, m * n), steps_a, steps_b)
        status = lib.tga_gemm_batched(
            CODES[dtype], *trans, m, n, k, walk, pointer(a), m if trans[0] else k, pointer(b),
            k if trans[1] else n, pointer(c), n,
        )  # fmt: skip
        assert status == 0 and (c == np.broadcast_to(one @ other, c.shape)).all()


@pytest.mark.parametrize("shape", [(40, 30, 20, 50), (2, 330, 330, 330)], ids=str)
def test_stack_shared_among_threads(shape, dtype, isa):
    """Many small products are dealt out to the threads; of a few large ones each is shared."""
    count, m, k, n = shape
    rng = np.random.default_rng(14)
    x, w = whole(rng, (count, m, k), dtype), whole(rng, (count, k, n), dtype)
    expected = x @ w
    for number in (1, 2):
        with threads(number):
            assert (tga.matmul(Tensor(x), Tensor(w)).numpy() == expected).all()


def test_linear_is_gemm_and_sum(dtype, isa):
    """The layer's own entry points give the bits of the products that they stand for."""
    rng = np.random.default_rng(12)
    for m, n, k in [(1, 1, 1), (4, 3, 2), (33, 17, 20), (0, 3, 2), (100, 64, 300), (3, 5, 0)]:
        x, w = rng.normal(0, 1, (m, k)).astype(dtype), rng.normal(0, 1, (n, k)).astype(dtype)
        b, gy = rng.normal(0, 1, n).astype(dtype), rng.normal(0, 1, (m, n)).astype(dtype)
        y, gx, gw, gb = [np.full(s, np.nan, dtype) for s in ((m, n), (m, k), (n, k), n)]
        code = CODES[dtype]
        assert lib.tga_linear_forward(code, m, n, k, *map(pointer, (x, w, b, y))) == 0
        status = lib.tga_linear_backward(code, m, n, k, *map(pointer, (gy, x, w, gx, gw, gb)))
        assert status == 0
        assert same_bits(y, gemm(x, w, np.empty_like(y), trans_b=1, bias=b))
        assert same_bits(gx, gemm(gy, w, np.empty_like(gx)))
        assert same_bits(gw, gemm(gy, x, np.empty_like(gw), trans_a=1))
        assert same_bits(gb, Tensor(gy).sum(axis=0).numpy())


@pytest.mark.parametrize("op", ROWS, ids=by_name)
def test_linear_with_activation_is_both(op, dtype, isa):
    """One pass or two: the same bits, on any path, whether the product is kept or not."""
    rng = np.random.default_rng(13)
    code, attrs = CODES[dtype], pair(op.defaults, op.name)
    for m, n, k in [(4, 5, 5), (1, 1, 1), (3, 2, 0), (0, 3, 2), (33, 17, 20), *LARGE_LAYERS]:
        x, w = rng.normal(0, 1, (m, k)).astype(dtype), rng.normal(0, 1, (n, k)).astype(dtype)
        b = rng.normal(0, 1, n).astype(dtype)
        z, y = np.empty((m, n), dtype), np.empty((m, n), dtype)
        assert lib.tga_linear_forward(code, m, n, k, *map(pointer, (x, w, b, z))) == 0
        assert lib.tga_unary_forward(op.row, code, m * n, pointer(z), pointer(y), *attrs) == 0
        for count in (1, 2) if m * n > 2000 else (1,):
            kept, both, alone = [np.full((m, n), np.nan, dtype) for _ in range(3)]
            for product, result in [(pointer(kept), both), (kernels.NULL, alone)]:
                with threads(count):
                    status = lib.tga_linear_activation_forward(
                        op.row, code, m, n, k, pointer(x), pointer(w), pointer(b), product,
                        pointer(result), *attrs,
                    )  # fmt: skip
                assert status == 0
            assert same_bits(kept, z) and same_bits(both, y) and same_bits(alone, y), (m, n, k)


def test_linear_with_an_activation_that_is_none():
    x = np.ones((1, 1), "f4")
    for op, dtype in [(-1, "float32"), (len(kernels.names("unary")), "float32"), (0, "int64")]:
        status = lib.tga_linear_activation_forward(
            op, CODES[dtype], 1, 1, 1, *[pointer(x)] * 5, 0.0, 0.0
        )
        assert status == lib.TGA_NO_KERNEL


# ---- guarded memory -------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_nothing_beyond_the_matrices_is_touched(isa, dtype):
    def work(report):
        pages = [GuardedPage(8) for _ in range(4)]
        short = [1, 2, 3, 5, 8, 15, 17, 33]
        for m, n, k, trans in itertools.product(short, short, [1, 2, 7, 16, 19], range(4)):
            report(f"{m} {n} {k} {trans}")
            trans_a, trans_b = divmod(trans, 2)
            shape_a, shape_b = (k, m) if trans_a else (m, k), (n, k) if trans_b else (k, n)
            for place in ("at_end", "at_start"):
                x, w, c, bias = [
                    getattr(page, place)(rows * columns, dtype).reshape(rows, columns)
                    for page, (rows, columns) in zip(pages, [shape_a, shape_b, (m, n), (1, n)])
                ]
                x[:], w[:], bias[:] = 1, 2, 3
                gemm(x, w, c, trans_a, trans_b, bias=bias)
                assert (c == 2 * k + 3).all()

    status, last = in_child(work)
    assert status == 0, f"{last}: signal {-status}" if status < 0 else last
