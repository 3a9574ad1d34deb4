"""Random numbers: Philox against a plain one, its known answers, and the distributions."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from oracle import CODES, GuardedPage, Truth, in_child, pointer, same_bits, threads

import tinygrad_act as tga
from tinygrad_act import kernels

lib = kernels.lib
ISAS = tga.supported_isas()
KINDS = ["uniform", "normal"]


def draw(kind, dtype, key, offset, n, a=0.0, b=1.0, y=None):
    """The C function on NumPy memory; also how many blocks it used."""
    y = np.empty(n, dtype) if y is None else y
    state = np.array([key, offset], np.uint64)
    kernel = getattr(lib, f"tga_random_{kind}")
    assert kernel(CODES[dtype], pointer(state), n, a, b, pointer(y)) == 0
    assert state[0] == key
    return y, int(state[1] - np.uint64(offset))


# ---- the generator --------------------------------------------------------------------------


def philox(counter, key):
    """Philox4x32-10 as its paper defines it: four words from four words and two."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(x0 * 0xD2511F53, 1 << 32)
        high1, low1 = divmod(x2 * 0xCD9E8D57, 1 << 32)
        x0, x1, x2, x3 = high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % (1 << 32), (k1 + 0xBB67AE85) % (1 << 32)
    return x0, x1, x2, x3


ONES = 0xFFFFFFFF

# the known answers that come with Random123, the authors' library
KNOWN = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("counter, key, words", KNOWN)
def test_known_answers(counter, key, words):
    assert philox(counter, key) == words


def words(key, offset, count):
    """The words of the blocks from `offset` on."""
    found = []
    for block in range(offset, offset + math.ceil(count / 4)):
        block %= 1 << 64
        found += philox((block % (1 << 32), block >> 32, 0, 0), (key % (1 << 32), key >> 32))
    return found[:count]


def fractions(dtype, key, offset, n):
    """The numbers in [0, 1) that words stand for: 24 bits of one, or 53 of two."""
    if dtype == "float32":
        return [word >> 8 for word in words(key, offset, n)], 24
    pair = words(key, offset, 2 * n)
    return [high << 21 | low >> 11 for low, high in zip(pair[::2], pair[1::2])], 53


def test_known_answer_of_the_kernel(isa):
    y, used = draw("uniform", "float32", 0, 0, 4)
    assert [int(v * 2**24) for v in y] == [word >> 8 for word in KNOWN[0][2]]
    assert used == 1


@given(
    key=st.integers(0, 2**64 - 1),
    offset=st.one_of(st.integers(0, 2**64 - 1), st.integers(2**32 - 9, 2**32 + 9)),
    n=st.integers(0, 300),
)
def test_uniform_is_philox(dtype, key, offset, n):
    whole, bits = fractions(dtype, key, offset, n)
    expected = np.array([v * 2.0**-bits for v in whole], dtype)
    for name in ISAS:
        with tga.use_isa(name):
            y, used = draw("uniform", dtype, key, offset, n)
            assert same_bits(y, expected)
            assert used == math.ceil(n * (1 if dtype == "float32" else 2) / 4)


# ---- the bits depend on key, offset and place alone -----------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_everywhere(kind, dtype):
    """On every instruction set and number of threads; and fewer numbers are the first of more."""
    key, offset, n = 0x0123456789ABCDEF, 2**32 - 1000, 100_003
    expected, used = draw(kind, dtype, key, offset, n, -1.0, 2.0)
    for name in ISAS:
        for count in (1, 2):
            with tga.use_isa(name), threads(count):
                y, again = draw(kind, dtype, key, offset, n, -1.0, 2.0)
                assert same_bits(y, expected) and used == again
        with tga.use_isa(name):
            for fewer in [*range(70), 255, 256, 257, 511, 513, 1025, 40_000]:
                y, _ = draw(kind, dtype, key, offset, fewer, -1.0, 2.0)
                assert same_bits(y, expected[:fewer]), (name, fewer)
    per_block = 4 if dtype == "float32" else 2
    later, _ = draw(kind, dtype, key, offset + 10, 1000, -1.0, 2.0)
    assert same_bits(later, expected[10 * per_block :][:1000])


def test_a_seed_begins_a_stream(dtype):
    """What is drawn in pieces is what is drawn at once, block by block; seeds differ."""
    tga.manual_seed(7)
    first, second = tga.rand(8, dtype=dtype).numpy(), tga.randn(8, dtype=dtype).numpy()
    tga.manual_seed(7)
    assert same_bits(tga.rand(8, dtype=dtype).numpy(), first)
    assert same_bits(tga.randn(8, dtype=dtype).numpy(), second)
    tga.manual_seed(7)
    assert same_bits(tga.rand(16, dtype=dtype).numpy()[:8], first)
    tga.manual_seed(8)
    assert not (tga.rand(8, dtype=dtype).numpy() == first).any()


# ---- the distributions ----------------------------------------------------------------------


@given(bounds=st.tuples(*[st.floats(-1e6, 1e6)] * 2).map(sorted), seed=st.integers(0, 2**64 - 1))
def test_uniform_stays_inside(dtype, bounds, seed):
    low, high = [np.dtype(dtype).type(v) for v in bounds]
    y, _ = draw("uniform", dtype, seed, 0, 200, float(low), float(high))
    if low < high:
        assert (low <= y).all() and (y < high).all()
    else:
        assert (y == low).all()


def test_uniform_between_neighbours(dtype, isa):
    """The upper bound is not reached, even where low + u (high - low) would round to it."""
    one = np.ones((), dtype)[()]
    for low, high in [(one, np.nextafter(one, 2 * one)), (-one, -np.nextafter(one, 0 * one))]:
        y, _ = draw("uniform", dtype, 1, 0, 1000, float(low), float(high))
        assert (y == low).all()
    y, _ = draw("uniform", dtype, 1, 0, 1000, 1.0, 1.0 + 4 * float(np.finfo(dtype).eps))
    assert y.min() == 1.0 and y.max() < 1.0 + 4 * np.finfo(dtype).eps


def moments_agree(y, moments):
    """Sample moments within 6 standard errors of those of the distribution."""
    for power, (mean, square) in enumerate(zip(moments, moments[1::2]), start=1):
        spread = math.sqrt((moments[2 * power - 1] - mean * mean) / y.size)
        assert abs((y**power).mean() - mean) <= 6 * spread, (power, square)


def test_moments(dtype):
    n = 1 << 20
    y, _ = draw("uniform", dtype, 42, 0, n)
    moments_agree(y.astype("float64"), [1 / (p + 1) for p in range(1, 9)])
    y, _ = draw("normal", dtype, 42, 0, n)
    moments_agree(y.astype("float64"), [0, 1, 0, 3, 0, 15, 0, 105])
    # each number against the next one, and neighbours in neighbouring blocks
    for lag in (1, 2, 3, 4, 5, 8):
        assert abs((y[:-lag].astype("float64") * y[lag:]).mean()) <= 6 / math.sqrt(n)
    counts, _ = np.histogram(draw("uniform", dtype, 43, 0, n)[0], 256, (0, 1))
    assert ((counts - n / 256) ** 2).sum() / (n / 256) < 255 + 6 * math.sqrt(2 * 255)


def quantile(u):
    """The inverse of the normal distribution function at 1/2 + u, in arbitrary precision."""
    return mp.sqrt(2) * mp.erfinv(2 * u)


def middles(dtype, key, n):
    """The probabilities, less 1/2, that words stand for: the middles of equal parts."""
    if dtype == "float32":
        return [(mpf(word) + mpf(0.5)) / 2**32 - mpf(0.5) for word in words(key, 0, n)]
    whole, _ = fractions(dtype, key, 0, n)
    return [(mpf(v) + mpf(0.5)) / 2**53 - mpf(0.5) for v in whole]


def test_normal_is_the_quantile(dtype):
    """PPND16 is good to 1e-16; in float64 the polynomials' own rounding adds some ulp.

    float32 rounds once what was computed in float64.
    """
    n = 120
    exact = Truth([quantile(u) for u in middles(dtype, 5, n)])
    y, _ = draw("normal", dtype, 5, 0, n)
    error = exact.ulps(y)
    assert error.max() <= (0.5 + 1e-6 if dtype == "float32" else 16), error.max()


def test_normal_tails(dtype):
    """The farthest of many numbers: those of the second and third formula."""
    n = 1 << 20
    y, _ = draw("normal", dtype, 9, 0, n)
    per_block = 4 if dtype == "float32" else 2
    for i in np.concatenate([np.argsort(y)[:8], np.argsort(y)[-8:]]):
        block, place = divmod(int(i), per_block)
        if dtype == "float32":
            u = (mpf(words(9, block, 4)[place]) + mpf(0.5)) / 2**32
        else:
            u = (mpf(fractions(dtype, 9, block, 2)[0][place]) + mpf(0.5)) / 2**53
        error = Truth([quantile(u - mpf(0.5))]).ulps(y[i : i + 1])[0]
        assert error <= (0.5 + 1e-6 if dtype == "float32" else 16), (i, y[i], error)
    assert 4.5 < np.abs(y).max() < 6.5


def test_mean_and_standard_deviation(dtype):
    y, _ = draw("normal", dtype, 3, 0, 1000)
    z, _ = draw("normal", dtype, 3, 0, 1000, 2.0, 0.5)
    np.testing.assert_allclose(z, 2 + 0.5 * y.astype("float64"), rtol=2 * np.finfo(dtype).eps)
    still, _ = draw("normal", dtype, 3, 0, 10, 2.5, 0.0)
    assert (still == 2.5).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_nothing_beyond_the_elements_is_touched(kind, dtype, isa):
    def work(report):
        page = GuardedPage(2)
        rng = random.Random(0)
        for n in [*range(70), 255, 256, 257, 512, 513]:
            report(f"{kind} of {n}")
            for place in (page.at_end, page.at_start):
                draw(kind, dtype, rng.getrandbits(64), rng.getrandbits(32), n, y=place(n, dtype))

    status, last = in_child(work)
    assert status == 0, f"{last}: signal {-status}" if status < 0 else last
