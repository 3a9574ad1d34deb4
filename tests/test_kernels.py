"""The elementwise kernels: against the truth in ulp, on every instruction set of this machine.

What a kernel promises stands in its record (`max_ulp`, `df_ulp`, `tail`), and how near it is
to the formula is measured on special points, on a grid over all magnitudes and on random bits.
Then what holds for all of them: the bits of an element depend on the element alone, and
nothing beyond the named elements is read or written.
"""

import functools
import itertools
import math
import random
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from oracle import (
    BINARY,
    CODES,
    COMPARISONS,
    ELEMENTWISE,
    LOSSES,
    GuardedPage,
    Truth,
    bit_patterns,
    by_name,
    check_ulps,
    derivative,
    drawn_attrs,
    in_child,
    pointer,
    same_bits,
    threads,
    truth,
)

import tinygrad_act as tga
from tinygrad_act import Tensor, kernels
from tinygrad_act.array import convert, to_numpy
from tinygrad_act.op import Attr, pair

lib = kernels.lib

ROWS = [op for op in ELEMENTWISE if op.row >= 0]
ISAS = tga.supported_isas()
FLOATS = ("float32", "float64")
ALL = ("float32", "float64", "int64", "bool", "uint8")
SIZES = range(4 * 16 + 4)  # to 4 VL + 3, and VL is at most 16
THOROUGH = settings.get_current_profile_name() == "thorough"
DENSITY = 10_000 if THOROUGH else 300  # points of a grid
GRAIN = 32768  # csrc/elementwise.c: more elements are worth a second thread


def forward(op, x, attrs=None, y=None):
    """The C row on contiguous NumPy memory."""
    y = np.empty_like(x) if y is None else y
    a, b = pair(op.complete(attrs or {}), op.name)
    dtype = CODES[x.dtype.name]
    assert lib.tga_unary_forward(op.row, dtype, x.size, pointer(x), pointer(y), a, b) == 0
    return y


def backward(op, gy, saved, attrs=None, gx=None):
    """The C row's backward on contiguous NumPy memory."""
    gx = np.empty_like(gy) if gx is None else gx
    a, b = pair(op.complete(attrs or {}), op.name)
    dtype = CODES[gy.dtype.name]
    status = lib.tga_unary_backward(
        op.row, dtype, gy.size, pointer(gy), pointer(saved), pointer(gx), a, b
    )
    assert status == 0
    return gx


def rounded(attrs, dtype):
    """The attributes as the kernel sees them."""
    return {
        name: value if value is None else float(np.dtype(dtype).type(value))
        for name, value in attrs.items()
    }


def attrs_of(op):
    """Some attributes: the defaults, and two others of the range that the record names."""
    ranges = {name: attr.drawn for name, attr in op.attrs.items() if isinstance(attr, Attr)}
    rng = random.Random(0)
    drawn = [{name: rng.uniform(*bounds) for name, bounds in ranges.items()} for _ in range(2)]
    return [dict(op.defaults), *(drawn if ranges else [])]


# ---- where it is measured -------------------------------------------------------------------


def special_points(dtype):
    """Zeros, subnormals, huge, infinite, nan, ones and their neighbours, thresholds of exp."""
    info = np.finfo(dtype)
    one = np.ones((), dtype)[()]
    points = [0.0, info.smallest_subnormal, info.tiny, np.nextafter(info.tiny, one * 0)]
    points += [info.max, np.nextafter(info.max, one * 0), math.inf, 1.0]
    points += [np.nextafter(one, one * 2), np.nextafter(one, one * 0), 0.5, 2.0, math.pi]
    points += [info.eps, info.eps / 2, math.log(2), math.log(2) / 2]
    edge = [math.log(float(info.max)), -math.log(float(info.smallest_subnormal))]
    points += [step * e for e in edge for step in (0.5, 0.999, 1.0, 1.001)]
    points = np.array(points, dtype)
    return np.concatenate([points, -points, np.array([math.nan], dtype)])


@functools.cache
def points(op, dtype, count):
    """Special points, `count` of the record's domain, and as many of all magnitudes."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    exponents = rng.uniform(math.log2(info.smallest_subnormal), math.log2(info.max), count)
    magnitudes = np.exp2(exponents) * rng.choice([-1.0, 1.0], count)
    middle = np.exp2(rng.uniform(-12, 7, count)) * rng.choice([-1.0, 1.0], count)
    low, high = op.domain
    inside = low + (high - low) * (np.arange(count) + rng.uniform(size=count)) / count
    with np.errstate(over="ignore"):
        drawn = np.concatenate([magnitudes, middle, inside]).astype(dtype)
    return np.concatenate([special_points(dtype), drawn])


def check_forward(op, dtype, x, attrs):
    attrs = rounded(attrs, dtype)
    exact = Truth([truth(op, float(v), **attrs) for v in x])
    for name in ISAS:
        with tga.use_isa(name):
            y = forward(op, x, attrs)
            check_ulps(op.name, dtype, x, y, exact, op.max_ulp, op.tail)


def check_backward(op, dtype, x, attrs):
    """gx against df of what was saved, and against the derivative of the function itself."""
    attrs = rounded(attrs, dtype)
    x = x[~np.isnan(x)]
    rng = np.random.default_rng(1)
    gy = (rng.uniform(1.0, 2.0, x.size) * rng.choice([-1.0, 1.0], x.size)).astype(dtype)
    known = {}  # the instruction sets differ in y seldom
    for name in ISAS:
        with tga.use_isa(name):
            y = forward(op, x, attrs)
            number = ~np.isnan(y) if op.saves == "y" else np.ones(x.size, bool)
            at, y, g = x[number], y[number], gy[number]
            saved = y if op.saves == "y" else at
            slopes = []
            for x_i, y_i in zip(at.tolist(), y.tolist(), strict=True):
                key = (x_i, y_i if op.saves == "y" else 0, math.copysign(1, x_i))
                if key not in known:
                    known[key] = derivative(op, y_i, x_i, **attrs)
                slopes.append(known[key])
            # with gy = 1 the product is exact: the error is that of the derivative
            slope = backward(op, np.ones_like(at), saved, attrs)
            label = f"derivative of {op.name}"
            check_ulps(label, dtype, at, slope, Truth(slopes), op.df_ulp, op.df_tail)
            # an ulp of the derivative may be two of the product, which is rounded once more
            bound = {dtype: 2 * op.df_ulp[dtype] + 0.5}
            tail = op.df_tail and tga.op.Tail(
                op.df_tail.x, max_abs={dtype: 2 * op.df_tail.max_abs[dtype] + np.finfo(dtype).eps}
            )
            product = Truth([mpf(float(g_i)) * s for g_i, s in zip(g, slopes, strict=True)])
            gx = backward(op, g, saved, attrs)
            check_ulps(label, dtype, at, gx, product, bound, tail)


@pytest.mark.parametrize("op", ROWS, ids=by_name)
def test_forward(op, dtype):
    for i, attrs in enumerate(attrs_of(op)):
        check_forward(op, dtype, points(op, dtype, DENSITY // 2 if i else DENSITY), attrs)


@pytest.mark.parametrize("op", ROWS, ids=by_name)
def test_backward(op, dtype):
    for i, attrs in enumerate(attrs_of(op)):
        check_backward(op, dtype, points(op, dtype, DENSITY // 4 if i else DENSITY // 2), attrs)


@pytest.mark.parametrize("op", ROWS, ids=by_name)
@given(data=st.data())
def test_random_bits(op, dtype, data):
    attrs = rounded(data.draw(drawn_attrs(op)), dtype)
    x = data.draw(bit_patterns(dtype))
    if 0.0 in attrs.values():  # 0 * inf is nan, the limit is not
        x = x[np.isfinite(x)]
    check_forward(op, dtype, x, attrs)
    check_backward(op, dtype, x, attrs)


@pytest.mark.parametrize("op", [op for op in ROWS if op.saves == "y"], ids=by_name)
def test_derivative_from_stored_output(op, dtype):
    """Reading a rounded y costs what y's own error costs: max_ulp at a slope of at most 2."""
    low, high = op.domain
    x = np.linspace(low, high, 200).astype(dtype)
    exact = Truth([derivative(op, truth(op, float(v)), float(v)) for v in x])
    bound = (2 * op.max_ulp[dtype] + op.df_ulp[dtype]) * np.finfo(dtype).eps
    for name in ISAS:
        with tga.use_isa(name):
            slope = backward(op, np.ones_like(x), forward(op, x))
            size = np.maximum(1, np.abs(slope.astype("float64")))
            assert (exact.absolute(slope) <= bound * size).all()


@pytest.mark.parametrize("op", ROWS, ids=by_name)
def test_sign_of_zero(op, isa, dtype):
    """f(0) = 0 has the sign that f has on that side, where f rises or falls through 0."""
    zeros = np.array([0.0, -0.0], dtype)
    y = forward(op, zeros)
    for zero, at_zero in zip(zeros, y, strict=True):
        beside = truth(op, math.copysign(1e-30, zero), **op.defaults)
        if at_zero == 0 and abs(beside) < 1e-20 and beside != 0:
            assert np.signbit(at_zero) == (beside < 0), (zero, at_zero)


@pytest.mark.parametrize("op", ROWS, ids=by_name)
def test_row_saves_what_the_record_saves(op):
    assert set(kernels.row_saves(op.row)) <= set(op.saves.split())


@pytest.mark.parametrize("op", [tga.sin, tga.cos, tga.tan], ids=by_name)
def test_near_quarter_turns(op, dtype):
    """Where nearly all digits of the argument cancel, and where the C library takes over."""
    rng = np.random.default_rng(13)
    most = {"float32": 12288.0, "float64": 1572864.0}[dtype]  # csrc/math.tmpl.h: SIN_HIGHEST
    turns = np.concatenate([np.arange(1, 20), np.exp2(rng.uniform(2, 22, 60)).astype(int)])
    near = np.array([float(mp.pi / 2 * int(k)) for k in turns], dtype)
    edge = np.array([most, -most, 1.1 * most, 1e30], dtype)
    x = np.concatenate([near, np.nextafter(near, near * 0), -near, edge, np.nextafter(edge, 0)])
    check_forward(op, dtype, x.astype(dtype), {})


def doubtful(op, x, y, exact):
    """The x whose float32 y is not as near to a float64 result as the record says, beyond doubt."""
    with np.errstate(all="ignore"):
        near = (y == exact.astype("float32")) | (np.isnan(y) & np.isnan(exact))
        away = np.flatnonzero(~near)  # few: the rest is for them alone
        x, y, exact = x[away], y[away], exact[away]
        unit = np.ldexp(1.0, np.maximum(np.frexp(exact)[1], -125) - 24)  # the last place
        allowed = (op.max_ulp["float32"] - 1e-4) * unit
        if op.tail is not None:
            tail = op.tail
            in_tail = tail.max_ulp["float32"] * unit if tail.max_ulp else tail.max_abs["float32"]
            allowed = np.where(x < tail.x, 0.999 * in_tail, allowed)
        return x[~(np.abs(y - exact) <= allowed)]


@pytest.mark.thorough
@pytest.mark.parametrize("op", ROWS, ids=by_name)
def test_every_float32(op, isa):
    """All 2**32 numbers against the float64 kernel; where that leaves a doubt, against the truth.

    The float64 kernel is measured above, and its error is nothing in float32.
    """
    chunk, found = 1 << 18, []
    attrs = rounded(dict(op.defaults), "float32")
    for begin in range(0, 1 << 32, chunk):
        x = np.arange(begin, begin + chunk, dtype="uint64").astype("uint32").view("float32")
        y, exact = forward(op, x, attrs), forward(op, x.astype("float64"), attrs)
        found.extend(doubtful(op, x, y, exact))
        assert len(found) < 100_000, f"many are off, such as {found[:5]}"
    x = np.array(found, "float32")
    exact = Truth([truth(op, float(v), **attrs) for v in x])
    check_ulps(op.name, "float32", x, forward(op, x, attrs), exact, op.max_ulp, op.tail)


# ---- two inputs -----------------------------------------------------------------------------


def binary(op, x, y, z=None):
    """The C row on contiguous NumPy memory; an input of one element meets all of the other."""
    n = max(x.size, y.size)
    z = np.empty(n, x.dtype) if z is None else z
    status = lib.tga_binary_forward(
        op.row, CODES[x.dtype.name], n, pointer(x), int(x.size == n), pointer(y), int(y.size == n),
        pointer(z),
    )  # fmt: skip
    assert status == 0
    return z


def pairs(dtype, count=400):
    """Each special point with each, and pairs of all and of moderate magnitudes."""
    special = special_points(dtype)
    x, y = (a.ravel() for a in np.meshgrid(special, special))
    rng = np.random.default_rng(2)
    bits = int(dtype[-2:])
    wild = rng.integers(0, 2**bits, (2, count), dtype=f"uint{bits}").view(dtype)
    mild = rng.normal(0, 3, (2, count)).astype(dtype)
    return np.concatenate([x, wild[0], mild[0]]), np.concatenate([y, wild[1], mild[1]])


NUMPY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "remainder": np.remainder,
}


@pytest.mark.parametrize("op", [op for op in BINARY if op.name in NUMPY], ids=by_name)
def test_binary_as_ieee_says(op, isa, dtype):
    x, y = pairs(dtype)
    with np.errstate(all="ignore"):
        expected = NUMPY[op.name](x, y)
    got = binary(op, x, y)
    assert (np.isnan(got) == np.isnan(expected)).all()
    number = ~np.isnan(expected)
    if op.name in ("maximum", "minimum"):  # of two zeros, NumPy may give either
        zeros = (x == 0) & (y == 0)
        both = np.logical_and if op.name == "maximum" else np.logical_or
        assert (np.signbit(got) == both(np.signbit(x), np.signbit(y)))[zeros].all()
        number &= ~zeros
    assert same_bits(got[number], expected[number])


def test_pow(dtype):
    op = tga.pow
    rng = np.random.default_rng(3)
    count = 300
    x = np.exp2(rng.uniform(-40, 40, count))
    y = rng.uniform(-1, 1, count) * 1.05 * np.where(x > 1, 1024, 1074) / np.abs(np.log2(x))
    y[: count // 2] = rng.uniform(-4, 4, count // 2)
    x[::7] = -x[::7]
    y[::7] = np.round(y[::7])
    x[1::7] = 1 + rng.uniform(-1e-3, 1e-3, x[1::7].size)
    y[1::7] = rng.uniform(-1e5, 1e5, x[1::7].size)
    y[2::7] = rng.choice([-2.0, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0], x[2::7].size)
    with np.errstate(over="ignore"):
        x, y = x.astype(dtype), y.astype(dtype)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    exact = Truth([truth(op, float(a), float(b)) for a, b in zip(x, y, strict=True)])
    for name in ISAS:
        with tga.use_isa(name):
            check_ulps("pow", dtype, x, binary(op, x, y), exact, op.max_ulp)


@pytest.mark.parametrize("y", [-1.0, 0.5, 1.0, 2.0, 3.0, 2.5])
def test_power_does_not_depend_on_other_exponents(y, isa, dtype):
    """Some exponents take a short way if all of a vector do; the bits are those of the long one."""
    rng = np.random.default_rng(14)
    x = rng.uniform(0.1, 9.0, 67).astype(dtype)
    alone = binary(tga.pow, x, np.array([y], dtype))
    mixed = np.where(np.arange(67) % 2, y, rng.uniform(-3, 3, 67)).astype(dtype)
    assert same_bits(binary(tga.pow, x, mixed)[1::2], alone[1::2])
    if y in (-1.0, 0.5, 1.0, 2.0):
        shorter = {-1.0: 1 / x, 0.5: np.sqrt(x), 1.0: x, 2.0: x * x}[y]
        assert same_bits(alone, shorter.astype(dtype))


def test_pow_of_special_points(isa, dtype):
    """C99 annex F, which NumPy follows, too."""
    special = special_points(dtype)
    whole = np.array([-4, -3, -2, -1, 1, 2, 3, 4, 1e10, 1e10 + 1], dtype)
    points = np.concatenate([special, whole, -whole, [np.finfo(dtype).max]]).astype(dtype)
    x, y = (a.ravel() for a in np.meshgrid(points, points))
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    got = binary(tga.pow, x, y)
    exact = ~np.isfinite(expected) | (expected == 0) | (np.abs(x) == 1) | (y == 0)
    agrees = np.where(np.isnan(expected), np.isnan(got), got == expected)
    agrees &= np.isnan(expected) | (np.signbit(got) == np.signbit(expected))
    # at the border to infinity and to 0 either neighbour is within the bound
    info = np.finfo(dtype)
    border = (np.abs(got) == info.max) | (np.abs(got) == info.smallest_subnormal)
    bad = exact & ~agrees & ~border
    assert not bad.any(), (x[bad][:5], y[bad][:5], got[bad][:5], expected[bad][:5])


@pytest.mark.parametrize("op", [tga.hypot, tga.atan2], ids=by_name)
def test_length_and_angle_of_special_points(op, isa, dtype):
    """C99 annex F, which NumPy follows, too: all pairs of zeros, infinities, nan and extremes."""
    x, y = pairs(dtype, 0)
    with np.errstate(all="ignore"):
        expected = {"hypot": np.hypot, "atan2": np.arctan2}[op.name](x, y)
    got = binary(op, x, y)
    assert (np.isnan(got) == np.isnan(expected)).all()
    number = ~np.isnan(expected)
    x, y, got, expected = x[number], y[number], got[number], expected[number]
    assert (np.signbit(got) == np.signbit(expected)).all()
    exact = (
        ~np.isfinite(expected) | (expected == 0) | (x == 0) | (y == 0) | np.isinf(x) | np.isinf(y)
    )
    assert same_bits(got[exact], expected[exact])


@pytest.mark.parametrize("quotient", [1.0, 2.0**23, 2.0**24 + 1, 2.0**30, 2.0**53 + 2, 2.0**60])
def test_remainder_of_large_quotients(quotient, isa, dtype):
    """Where the integer quotient is no more known exactly, and just before."""
    rng = np.random.default_rng(5)
    y = np.exp2(rng.uniform(-30, 60, 64)).astype(dtype)
    x = (y * (quotient * rng.uniform(0.9, 1.1, 64))).astype(dtype)
    x, y = (
        np.concatenate([x, -x, x, y * np.dtype(dtype).type(quotient)]),
        np.concatenate([y, y, -y, y]),
    )
    assert same_bits(binary(tga.remainder, x, y), np.remainder(x, y))


@pytest.mark.parametrize("op", BINARY, ids=by_name)
@given(data=st.data())
def test_binary_random_bits(op, dtype, data):
    x = data.draw(bit_patterns(dtype))
    y = data.draw(bit_patterns(dtype))
    n = min(x.size, y.size)
    x, y = x[:n], y[:n]
    finite = np.isfinite(x) & np.isfinite(y) & (x != 0) & (y != 0)
    x, y = x[finite], y[finite]
    exact = Truth([truth(op, float(a), float(b)) for a, b in zip(x, y, strict=True)])
    for name in ISAS:
        with tga.use_isa(name):
            check_ulps(op.name, dtype, x, binary(op, x, y), exact, op.max_ulp)


@pytest.mark.parametrize("op", BINARY, ids=by_name)
def test_binary_sizes_and_steps(op, isa, dtype):
    """One element that meets all of the other, in place, and any size: the bits of single ones."""
    rng = np.random.default_rng(4)
    x, y = rng.uniform(0.1, 3.0, (2, len(SIZES))).astype(dtype)
    single = np.concatenate([binary(op, x[i : i + 1], y[i : i + 1]) for i in range(x.size)])
    left = np.concatenate([binary(op, x[:1], y[i : i + 1]) for i in range(x.size)])
    right = np.concatenate([binary(op, x[i : i + 1], y[:1]) for i in range(x.size)])
    for n in SIZES:
        for begin in (0, 1, 3) if n + 3 <= x.size else (0,):
            part = slice(begin, begin + n)
            assert same_bits(binary(op, x[part], y[part]), single[part])
        if n > 1:
            assert same_bits(binary(op, x[:1], y[:n]), left[:n])
            assert same_bits(binary(op, x[:n], y[:1]), right[:n])
        for target in (x, y):
            operands = x.copy(), y.copy()
            z = operands[0] if target is x else operands[1]
            binary(op, operands[0][:n], operands[1][:n], z[:n])
            assert same_bits(z[:n], single[:n]) and same_bits(z[n:], target[n:])


@pytest.mark.parametrize("op", [op for op in ELEMENTWISE if op.on_integers], ids=by_name)
def test_results_on_integers_have_memory_of_their_own(op):
    x = Tensor([1, -2, 3], dtype="int64")
    y = op(x)
    y += 1
    assert x.tolist() == [1, -2, 3]


@pytest.mark.parametrize("op", [op for op in BINARY if op.on_integers == "same"], ids=by_name)
@given(data=st.data())
def test_binary_int64(op, data):
    number = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)
    x = np.array(data.draw(st.lists(number, min_size=1, max_size=20)), "int64")
    y = np.array([data.draw(number) for _ in x], "int64")
    with np.errstate(over="ignore", divide="ignore"):
        expected = NUMPY[op.name](x, y)
    assert same_bits(op(Tensor(x), Tensor(y)).numpy(), expected)


# ---- comparisons, choice, casts, fill -------------------------------------------------------


def some(dtype, rng, n):
    """n values of any dtype; of floats special ones and small numbers."""
    if dtype == "bool":
        return rng.integers(0, 2, n).astype("bool")
    if dtype == "uint8":
        return rng.integers(0, 256, n).astype("uint8")
    if dtype == "int64":
        info = np.iinfo("int64")
        wide = rng.integers(info.min, info.max, n)
        return np.where(rng.integers(0, 2, n), rng.integers(-3, 4, n), wide)
    return rng.choice(np.concatenate([special_points(dtype), np.arange(-3, 4)]), n).astype(dtype)


COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


@pytest.mark.parametrize("op", COMPARISONS, ids=by_name)
@pytest.mark.parametrize("kind", ALL)
def test_comparison(op, kind, isa):
    rng = np.random.default_rng(5)
    for n in (0, 1, 2, 15, 16, 17, 67, 300):
        x, y = some(kind, rng, n), some(kind, rng, n)
        expected = COMPARE[op.name](x, y)
        assert same_bits(op(Tensor(x), Tensor(y)).numpy(), expected)
        if n:
            number = Tensor(y[0])
            assert same_bits(op(Tensor(x), number).numpy(), COMPARE[op.name](x, y[0]))
            assert same_bits(op(number, Tensor(x)).numpy(), COMPARE[op.name](y[0], x))


@pytest.mark.parametrize("kind", ALL)
def test_where(kind, isa):
    rng = np.random.default_rng(6)
    for n in (0, 1, 2, 16, 17, 67, 300):
        condition = some("bool", rng, n)
        x, y = some(kind, rng, n), some(kind, rng, n)
        z = tga.where(Tensor(condition), Tensor(x), Tensor(y)).numpy()
        assert same_bits(z, np.where(condition, x, y))


@pytest.mark.parametrize("source", ALL)
@pytest.mark.parametrize("target", ALL)
def test_cast(source, target):
    """As NumPy casts; what does not fit an integer becomes the smallest one."""
    rng = np.random.default_rng(7)
    x = some(source, rng, 300)
    if source.startswith("float"):
        powers = np.array([2.0**e for e in range(64)], source)
        edges = np.concatenate([powers, np.nextafter(powers, powers * 0)])
        x = np.concatenate([x, edges, -edges, rng.normal(0, 1000, 100).astype(source)])
        if target == "uint8":
            x = rng.uniform(-0.99, 255.99, 300).astype(source)
    with np.errstate(all="ignore"):
        expected = x.astype(target)
    if target == "int64" and source.startswith("float"):
        fits = (x >= -(2.0**63)) & (x < 2.0**63)
        expected = np.where(fits, np.where(fits, x, 0).astype("int64"), np.iinfo("int64").min)
    assert same_bits(Tensor(x).astype(target).numpy(), expected)
    assert same_bits(Tensor(x)[::-2].astype(target).numpy(), expected[::-2])


@pytest.mark.parametrize("kind", ALL)
def test_fill(kind):
    for value in (0.0, 1.0, 200.0, *([-0.5, math.inf, math.nan] if "float" in kind else [])):
        for n in (0, 1, 5, 64, 67):
            y = np.zeros(n + 2, kind)
            assert lib.tga_fill(CODES[kind], n, value, pointer(y[1:])) == 0
            expected = np.zeros(n + 2, kind)
            expected[1 : n + 1] = value
            assert same_bits(y, expected)


@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "uint8"])
def test_arange(kind):
    for start, step in [(0, 1), (3, 2), (5, -1), *([(0.1, 0.7)] if "float" in kind else [])]:
        for n in (0, 1, 5, 67):
            y = np.full(n + 2, 99, kind)
            assert lib.tga_arange(CODES[kind], n, start, step, pointer(y[1:])) == 0
            exact = [start + i * step for i in range(n)]
            expected = np.array([99, *exact, 99]).astype("int64" if kind == "uint8" else kind)
            assert same_bits(y, expected.astype(kind))


# ---- losses of one element ------------------------------------------------------------------


@pytest.mark.parametrize("op", LOSSES, ids=by_name)
def test_loss(op, dtype):
    """Value and derivative of single elements, in ulp; at the ends of the domain, too."""
    rng = np.random.default_rng(8)
    (low, high), (least, most) = op.domain
    x = np.concatenate([np.linspace(low, high, 60), rng.uniform(low, high, 60)]).astype(dtype)
    if op.name == "bce":
        near = np.exp2(rng.uniform(-100, -5, 60))
        x = np.concatenate([x, near.astype(dtype), (1 - near).astype(dtype), [1e-38, 0.5]])
    x = x.astype(dtype)
    t = rng.choice([least, most, *rng.uniform(least, most, 5)], x.size).astype(dtype)
    attrs = {name: attr.drawn for name, attr in op.attrs.items() if isinstance(attr, tga.Attr)}
    for which in range(2) if attrs else [0]:
        _check_loss(op, dtype, x, t, {name: drawn[which] for name, drawn in attrs.items()})


def _check_loss(op, dtype, x, t, attrs):
    with mp.workdps(60):
        given = {name: mpf(value) for name, value in attrs.items()}
        points = [(mpf(float(a)), mpf(float(b))) for a, b in zip(x, t, strict=True)]
        values = Truth([mpf(op.f(*point, **given)) for point in points])
        slopes = Truth([mpf(op.dx(*point, **given)) for point in points])
    one, code = np.ones(1, dtype), CODES[dtype]
    a = sum(attrs.values())
    for name in ISAS:
        with tga.use_isa(name):
            y = np.empty_like(x)
            for i in range(x.size):
                at = [pointer(a[i:]) for a in (x, t, y)]
                assert lib.tga_loss_forward(op.row, code, 1, *at[:2], a, 1.0, at[2]) == 0
            check_ulps(op.name, dtype, x, y, values, op.max_ulp)
            gx = np.empty_like(x)
            status = lib.tga_loss_backward(
                op.row, code, x.size, pointer(one), pointer(x), pointer(t), a, 1.0, pointer(gx)
            )
            assert status == 0
            tail = None if op.dx_abs is None else tga.op.Tail(math.inf, max_abs=op.dx_abs)
            bound = op.dx_ulp or {dtype: 0.0}
            check_ulps(f"derivative of {op.name}", dtype, x, gx, slopes, bound, tail)


# ---- the bits of an element depend on the element alone -------------------------------------


def inputs_of(op, dtype, n, seed=9):
    rng = np.random.default_rng(seed)
    return rng.uniform(*op.domain, n).astype(dtype)


@pytest.mark.parametrize("op", ROWS, ids=by_name)
def test_position(op, isa, dtype):
    """Any size and any alignment, on guarded memory or not: the bits of single elements.

    What lies behind the n elements stays as it was.
    """
    x = inputs_of(op, dtype, len(SIZES) + 16)
    gy = inputs_of(op, dtype, x.size, 10)
    y = np.concatenate([forward(op, x[i : i + 1]) for i in range(x.size)])
    saved = y if op.row_reads_y else x
    gx = np.concatenate(
        [backward(op, gy[i : i + 1], saved[i : i + 1].copy()) for i in range(x.size)]
    )
    for n in SIZES:
        for begin in (0, 1 + n % 15):
            part = slice(begin, begin + n)
            out = np.full(n + 24, 77, dtype)
            offset = (3 * n + begin) % 8
            forward(op, x[part], y=out[offset : offset + n])
            assert same_bits(out[offset : offset + n], y[part])
            assert (out[:offset] == 77).all() and (out[offset + n :] == 77).all()
            out[:] = 77
            backward(op, gy[part], saved[part], gx=out[offset : offset + n])
            assert same_bits(out[offset : offset + n], gx[part])
            assert (out[:offset] == 77).all() and (out[offset + n :] == 77).all()


@pytest.mark.parametrize("op", ROWS, ids=by_name)
def test_threads(op, isa, dtype):
    n = 3 * GRAIN + 5
    x, gy = inputs_of(op, dtype, n), inputs_of(op, dtype, n, 10)
    results = []
    for count in (1, 2):
        with threads(count):
            y = forward(op, x)
            results.append((y, backward(op, gy, y if op.row_reads_y else x)))
    assert same_bits(results[0][0], results[1][0])
    assert same_bits(results[0][1], results[1][1])
    some = slice(GRAIN - 40, GRAIN + 40)
    assert same_bits(results[0][0][some], forward(op, x[some].copy()))


@pytest.mark.parametrize("op", BINARY, ids=by_name)
def test_binary_threads(op, isa, dtype):
    rng = np.random.default_rng(11)
    x, y = rng.uniform(0.1, 3.0, (2, 3 * GRAIN + 5)).astype(dtype)
    results = []
    for count in (1, 2):
        with threads(count):
            results.append([binary(op, x, y), binary(op, x[:1], y), binary(op, x, y[:1])])
    for one, two in zip(*results, strict=True):
        assert same_bits(one, two)


def aligned(n, dtype, offset=0):
    """n elements, the first of which lies `offset` elements behind the beginning of a line."""
    memory = np.full(n + 64, 77, dtype)
    begin = -memory.ctypes.data % 64 // memory.itemsize + offset
    return memory[begin : begin + n]


@pytest.mark.parametrize("offset", [0, 1])
def test_large_results(offset, isa, dtype):
    """What is stored round the caches, and what is not for being misaligned: the same bits.

    Such a result is cut into small ones here, which are stored the plain way.
    """
    n = (8 << 20) // np.dtype(dtype).itemsize + 5  # csrc/kernels.h: STREAM_BYTES
    x, gy = inputs_of(tga.relu, dtype, n), inputs_of(tga.relu, dtype, n, 10)
    pieces = [slice(i, min(i + GRAIN, n)) for i in range(0, n, GRAIN)]
    y = aligned(n + 1, dtype, offset)

    def check(whole, piece):
        whole()
        assert same_bits(y[:n], np.concatenate([piece(p) for p in pieces])) and y[n] == 77

    check(lambda: forward(tga.relu, x, y=y[:n]), lambda p: forward(tga.relu, x[p]))
    check(lambda: backward(tga.relu, gy, x, gx=y[:n]), lambda p: backward(tga.relu, gy[p], x[p]))
    check(lambda: binary(tga.add, x, gy, y[:n]), lambda p: binary(tga.add, x[p], gy[p]))
    check(lambda: binary(tga.sub, x[:1], gy, y[:n]), lambda p: binary(tga.sub, x[:1], gy[p]))
    check(lambda: binary(tga.sub, x, gy[:1], y[:n]), lambda p: binary(tga.sub, x[p], gy[:1]))


VIEWS = {
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[::-1, ::-1],
    "spaced": lambda a: a[1::2, ::3],
    "row": lambda a: a[2:3].expand(40, a.shape[1]),
    "column": lambda a: a[:, 5:6].expand(a.shape[0], 33),
    "point": lambda a: a[3:4, 4:5].expand(9, 70),
    "inner": lambda a: a[1:, 2:-3],
}


@pytest.mark.parametrize("op", ROWS, ids=by_name)
def test_views(op, isa, dtype):
    """A view gives the bits of its contiguous copy, forward and backward."""
    x = Tensor(inputs_of(op, dtype, 37 * 41).reshape(37, 41))
    gy = Tensor(inputs_of(op, dtype, 37 * 41, 10).reshape(37, 41))

    def seen(gy, saved):
        return to_numpy(op.backward((None,), gy, (saved, saved), op.defaults)[0])

    for name, view in VIEWS.items():
        x_view, gy_view = view(x).array, view(gy).array
        x_copy, gy_copy = [convert(a, a.dtype) for a in (x_view, gy_view)]
        y = op.forward(x_copy, **op.defaults)
        assert same_bits(to_numpy(op.forward(x_view, **op.defaults)), to_numpy(y)), name
        saved = [y] if op.row_reads_y else [x_copy, x_view]
        gx = seen(gy_copy, saved[0])
        for g, s in itertools.product((gy_copy, gy_view), saved):
            assert same_bits(seen(g, s), gx), name


@pytest.mark.parametrize("op", [*BINARY, *COMPARISONS], ids=by_name)
def test_binary_views(op, isa, dtype):
    rng = np.random.default_rng(12)
    x, y = [Tensor(rng.uniform(0.1, 3.0, (37, 41)).astype(dtype)) for _ in range(2)]
    views = [view for name, view in VIEWS.items() if name not in ("row", "column", "point")]
    for view in views:
        a, b = view(x), view(y)
        plain = op(a.clone(), b.clone()).numpy()
        assert same_bits(op(a, b).numpy(), plain)
        assert same_bits(op(a, b.clone()).numpy(), plain)
        for part in (b[:1], b[:, :1], b[0], b[0, 0]):
            spread = part.expand(*a.shape).clone()
            assert same_bits(op(a, part).numpy(), op(a.clone(), spread).numpy())
            assert same_bits(op(part, a).numpy(), op(spread, a.clone()).numpy())


def permuted(a, *axes):
    return a.permute(*axes) if isinstance(a, Tensor) else a.transpose(*axes)


LARGE_VIEWS = {
    "last two turned": lambda a: permuted(a, 0, 2, 1),
    "all turned": lambda a: permuted(a, 2, 1, 0),
    "first comes last": lambda a: permuted(a, 1, 2, 0),
    "few in a row": lambda a: permuted(a[:, :3], 0, 2, 1),
    "parts of rows": lambda a: permuted(a[:, 1::2, 5:-7], 2, 0, 1),
}


@pytest.mark.parametrize("name", LARGE_VIEWS)
@pytest.mark.parametrize("threads", [1, 2])
def test_large_views(name, threads):
    """Many tiles of three axes, cut at every border, by one thread and by two; and into views."""
    view = LARGE_VIEWS[name]
    a, b = [np.random.default_rng(seed).random((3, 70, 1100), np.float32) for seed in (1, 2)]
    before = tga.get_num_threads()
    tga.set_num_threads(threads)
    try:
        for dtype in ("float32", "float64", "int64", "bool"):
            x = Tensor((a * 2).astype(dtype))
            assert same_bits(view(x).clone().numpy(), view(x.numpy()))
        x, y = view(Tensor(a)), view(Tensor(b))
        assert same_bits((x - y).numpy(), view(a) - view(b))
        assert same_bits((x - y.clone()).numpy(), view(a) - view(b))
        chosen = np.where(view(a) > view(b), view(a), 0.5)
        assert same_bits(tga.where(x > y, x, 0.5).numpy(), chosen)
        target, expected = Tensor(b.copy()), b.copy()
        view(target)[::2, ::-1].copy_(x[::2, ::-1])
        view(expected)[::2, ::-1] = view(a)[::2, ::-1]
        assert same_bits(target.numpy(), expected)
    finally:
        tga.set_num_threads(before)


def test_bools_of_any_bits_become_0_and_1():
    """Memory of others may hold a 2 for True: a copy holds 1."""
    b = np.array([2, 0, 1], np.uint8).view(bool)
    assert Tensor(b).clone().astype("int64").tolist() == [1, 0, 1]
    assert Tensor(b).sum().item() == 2


# ---- guarded memory -------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_guard_guards():
    """The page after the buffer, and the one before, do kill who reads or writes there."""

    def read_after(report):
        page = GuardedPage()
        lib.tga_unary_forward(
            tga.identity.row, 1, 9, pointer(page.at_end(8, "float64")), pointer(np.empty(9)), 0, 0
        )

    def write_before(report):
        page = GuardedPage()
        before = kernels.offset(pointer(page.at_start(1, "float64")), -8)
        lib.tga_fill(1, 2, 0.0, before)

    for work in (read_after, write_before):
        assert in_child(work)[0] == -signal.SIGSEGV


def unary_call(op, code):
    a, b = pair(op.defaults, op.name)

    def call(x, y, gy):
        x[:], gy[:] = 0.5, 1
        n = x.size
        lib.tga_unary_forward(op.row, code, n, pointer(x), pointer(y), a, b)
        lib.tga_unary_backward(op.row, code, n, pointer(gy), pointer(x), pointer(y), a, b)

    return call


def binary_call(op, code):
    def call(x, y, z):
        x[:], y[:] = 0.5, 0.25
        one = np.ones(1, x.dtype)
        for p, step_p, q, step_q in ((x, 1, y, 1), (one, 0, y, 1), (x, 1, one, 0)):
            lib.tga_binary_forward(
                op.row, code, x.size, pointer(p), step_p, pointer(q), step_q, pointer(z)
            )

    return call


def compare_call(op, code):
    def call(x, y, z):
        x[:], y[:] = 0.5, 0.25
        walk = kernels.layout((x.size,), (1,), (1,), (1,))
        to = kernels.as_bytes(pointer(z))
        lib.tga_compare_strided(op.row, code, walk, pointer(x), pointer(y), to)

    return call


def loss_call(op, code):
    def call(x, t, gx):
        x[:], t[:] = 0.5, 0.25
        one = np.ones(1, x.dtype)
        lib.tga_loss_forward(op.row, code, x.size, pointer(x), pointer(t), 1.0, 1.0, pointer(one))
        lib.tga_loss_backward(
            op.row, code, x.size, pointer(one), pointer(x), pointer(t), 1.0, 1.0, pointer(gx)
        )

    return call


def strided_call(op, code):
    """Every second element up to the last, and the same backwards."""

    def call(x, y, unused):
        n = x.size // 2
        x[:] = 0.5
        for start, step in ((1, 2), (2 * n - 1, -2)) if n else ():
            walk = kernels.layout((n,), (1,), (step,))
            first = kernels.offset(pointer(x), start * x.itemsize)
            lib.tga_unary_forward_strided(op.row, code, walk, first, pointer(y), 0, 0)
            lib.tga_copy_strided(code, code, walk, first, pointer(y))

    return call


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_nothing_beyond_the_elements_is_touched(isa, dtype):
    """Every elementwise and loss kernel, any size, at both borders of guarded pages."""
    code = CODES[dtype]
    calls = [(op, unary_call(op, code)) for op in ROWS]
    calls += [(op, binary_call(op, code)) for op in BINARY]
    calls += [(op, compare_call(op, code)) for op in COMPARISONS]
    calls += [(op, loss_call(op, code)) for op in LOSSES]
    calls += [(tga.tanh, strided_call(tga.tanh, code))]

    def work(report):
        pages = [GuardedPage() for _ in range(3)]
        for op, call in calls:
            for n in SIZES:
                report(f"{op.name} of {n}")
                call(*[page.at_end(n, dtype) for page in pages])
                call(*[page.at_start(n, dtype) for page in pages])

    status, last = in_child(work)
    assert status == 0, f"{last}: signal {-status}" if status < 0 else last
