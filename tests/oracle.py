"""The truth, in arbitrary precision, and how far a computed number is from it.

A record's formula is read with mpmath's numbers, as precise as it takes, so the truth comes
from the textbook form and from nothing that the kernels use.  Three things are made of it:

    truth, derivative    a formula's value at a point
    Truth                many values at once, and the distance of computed ones in ulp
    Rounded              a number that carries a bound on its rounding error along, so that a
                         reference yields its own tolerance
"""

import contextlib
import ctypes
import mmap
import os
import signal

import numpy as np
from hypothesis import strategies as st
from mpmath import inf, isnan, mp, mpc, mpf, nan

import tinygrad_act as tga
from tinygrad_act import kernels
from tinygrad_act.formula import REGISTRY, Constant, Value, evaluate, interpreter
from tinygrad_act.op import Attr, Binary, Elementwise, General
from tinygrad_act.ops import nested
from tinygrad_act.testing.strategies import kinks_of  # noqa: F401  (the tests take it from here)

mp.dps = 60

# A Constant meets an mpf with all of its digits: mpmath asks any operand for `_mpf_`.
Constant._mpf_ = property(lambda self: mpf(self.digits)._mpf_)

OPS = list(REGISTRY.values())
ELEMENTWISE = [op for op in OPS if isinstance(op, Elementwise)]
BINARY = [op for op in OPS if isinstance(op, Binary) and not op.compares]
COMPARISONS = [op for op in OPS if isinstance(op, Binary) and op.compares]
GENERAL = [op for op in OPS if isinstance(op, General)]
LOSSES = [op for op in GENERAL if hasattr(op, "dx")]


def by_name(op):
    """What pytest calls a test case about this op."""
    return op.name


# ---- formulas, read in arbitrary precision --------------------------------------------------


def _number(x):
    """As an mpf of all the digits there are; nan for what is not real."""
    if isinstance(x, mpc):
        return nan
    return mpf(x.digits) if isinstance(x, Constant) else mpf(x)


def _log(x):
    return nan if x < 0 else -inf if x == 0 else mp.log(x)


def _exp(x):
    """exp, sooner than mpmath, which multiplies large whole powers of e out."""
    if 1e30 < abs(x) < inf:  # no float64 comes near; its logarithm still has 30 digits
        return mp.ldexp(mpf(1), int(x / mp.ln2))
    if abs(x) > 100 and mp.isint(x):
        return mp.exp(x - mpf(0.5)) * mp.exp(mpf(0.5))
    return mp.exp(x)


def _erfc(x):
    if abs(x) > 10_000:  # mpmath cannot; what is left of it is no number of float64
        return _exp(-x * x) if x > 0 else mpf(2)
    return mp.erfc(x)


def _periodic(function):
    return lambda x: nan if abs(x) >= FAR else function(x)


FAR = mpf("1e400")  # stands for infinity, where the limit is looked for

_PRIMITIVES = {
    **{"exp": _exp, "log": _log, "sqrt": mp.sqrt, "erf": mp.erf, "erfc": _erfc},
    **{"sin": _periodic(mp.sin), "cos": _periodic(mp.cos), "tanh": mp.tanh},
    **{"asin": mp.asin, "acos": mp.acos, "atan": mp.atan, "atan2": mp.atan2},
    **{"floor": mp.floor, "ceil": mp.ceil, "round": mp.nint},
}


@interpreter(mpf)
def _apply(op, inputs, attrs):
    if op.name == "where":
        condition, x, y = inputs
        return _number(x if condition else y)
    if op.name in _PRIMITIVES:
        return _number(_PRIMITIVES[op.name](*inputs))
    return _number(op.f(*map(_number, inputs), **attrs))


def _settled(function):
    """The value of a function without arguments, to 30 digits of its own.

    Precision is doubled until two values agree.  A 0 may be a difference in which all digits
    were lost, so it is believed only when the precision exceeds the exponents of float64.
    """
    bits, before = 128, None
    while True:
        with mp.workprec(bits):
            value = _number(function())
        if isnan(value) or abs(value) == inf or bits > 4000:
            return value
        if before is not None and value and abs(value - before) <= abs(value) * mpf(2) ** -100:
            return value
        bits, before = 2 * bits, value


def truth(op, *inputs, **attrs):
    """The formula of a record at some numbers, to 30 digits; at ±inf, its limit."""
    if any(isnan(x) for x in inputs):
        return nan
    attrs = {name: value if value is None else mpf(value) for name, value in attrs.items()}
    try:
        return _limit(lambda *at: op.f(*at, **attrs), *inputs)
    except ZeroDivisionError:
        return mpf(evaluate(op.f, tga.float64, *_scalars(inputs), **attrs).data)


def _scalars(numbers):
    """The numbers as Scalars: at a pole, IEEE's infinity and its sign are those of the formula."""
    return [tga.Scalar(float(x), requires_grad=False) for x in numbers]


def _limit(function, *inputs):
    """The function, settled; where an input is infinite, at a number far beyond float64.

    If it is still growing there, however slowly, the limit is infinite; if it is shrinking, 0.
    """
    def at(far):
        return [far * mp.sign(x) if abs(x) == inf else mpf(x) for x in inputs]

    value = _settled(lambda: function(*at(FAR)))
    if inf in map(abs, inputs) and 0 < abs(value) < inf:
        farther = _settled(lambda: function(*at(FAR * FAR)))
        if abs(farther) > 1.5 * abs(value) > 1.5:
            return inf * mp.sign(value)
        return mpf(0) if 1.5 * abs(farther) < abs(value) < 1 else value
    return value


def derivative(op, y, x, **attrs):
    """`df` of a record, to 30 digits, at y and x as they are: y need not be exactly f(x).

    At a pole it is infinite, as IEEE says.
    """
    try:
        attrs = {name: value if value is None else mpf(value) for name, value in attrs.items()}
        return _limit(lambda *at: op.derivative(*at, **attrs), y, x)
    except ZeroDivisionError:
        return mpf(op.derivative(*_scalars([y, x]), dtype=tga.float64, **attrs).data)


STEP = mpf(10) ** -25


def difference(function, *at, which=0):
    """The central difference of a function of numbers: its derivative to 30 digits and more.

    The step is 1e-25, the numbers have 100 digits: of the result some 45 are right, as long
    as the third derivative is not huge.
    """
    with mp.workdps(100):
        at = [mpf(x) for x in at]

        def moved(step):
            return _number(function(*[x + step * (i == which) for i, x in enumerate(at)]))

        return (moved(STEP) - moved(-STEP)) / (2 * STEP)


def agree(x, y, digits=30):
    """Whether two numbers are the same to so many digits (and both 0, where one is)."""
    with mp.workdps(100):
        return abs(x - y) <= mpf(10) ** -digits * abs(y) + mpf(10) ** -45


# ---- distance in ulp ------------------------------------------------------------------------

_FORMAT = {"float32": (24, -125, 128), "float64": (53, -1021, 1024)}  # digits, exponents


class Truth:
    """Exact numbers, against which computed ones are measured.

    Parameters
    ----------
    values : sequence of mpf
        nan and infinities are allowed.

    A value is kept as (hi + lo) * 2**exponent with 1/2 <= |hi| < 1: to about 105 bits.
    """

    def __init__(self, values):
        self.values = list(values)
        parts = [self._split(v) for v in self.values]
        self.hi, self.lo = np.array([p[:2] for p in parts], dtype="float64").reshape(-1, 2).T
        self.exponent = np.array([p[2] for p in parts], dtype="int64")

    @staticmethod
    def _split(v):
        if isnan(v) or abs(v) == inf or v == 0:
            return float(v), 0.0, 0
        fraction, exponent = mp.frexp(v)
        hi = float(fraction)
        with mp.workprec(200):
            return hi, float(fraction - mpf(hi)), max(-5000, min(5000, exponent))

    def ulps(self, computed):
        """How far each computed number is off, in units in the last place of the truth.

        Below the smallest normal number the unit is the spacing there.  Infinity counts as
        the number after the largest, as in rounding.  It is infinitely wrong to have a nan
        where there is none or none where there is one, the wrong sign of a zero that stands
        for a number too small, or anything but 0 and infinity for exactly these.
        """
        digits, lowest, highest = _FORMAT[computed.dtype.name]
        exact = (self.hi == 0) | ~np.isfinite(self.hi)
        overflow = ~exact & (self.exponent > highest)
        hi = np.where(overflow, np.copysign(0.5, self.hi), self.hi)
        lo = np.where(overflow, 0.0, self.lo)
        exponent = np.where(overflow, highest + 1, self.exponent)
        unit = np.clip(exponent, lowest, highest) - digits
        with np.errstate(all="ignore"):
            c = computed.astype("float64")
            units = np.ldexp(c, -unit)
            units = np.where(np.isinf(c), np.ldexp(np.sign(c), highest - unit), units)
            off = units - np.ldexp(hi, exponent - unit) - np.ldexp(lo, exponent - unit)
            same = (c == self.hi) | (np.isnan(c) & np.isnan(self.hi))
            lost_sign = (c == 0) & (np.signbit(c) != np.signbit(self.hi))
        wrong = np.isnan(c) | (lost_sign & (self.hi != 0))
        off = np.where(wrong, np.inf, np.abs(off))
        return np.where(exact, np.where(same, 0.0, np.inf), off)

    def absolute(self, computed):
        """How far each computed number is off."""
        with np.errstate(all="ignore"):
            hi = np.ldexp(self.hi, self.exponent)
            off = np.abs(computed.astype("float64") - hi - np.ldexp(self.lo, self.exponent))
        return np.where(np.isnan(off), np.inf, off)


def check_ulps(name, dtype, x, computed, exact, max_ulp, tail=None):
    """Fail with the worst input unless every computed number is as near as a record says."""
    bound = np.full(len(x), float(max_ulp[dtype]))
    error = exact.ulps(computed)
    if tail is not None:
        left = x < tail.x
        if tail.max_ulp is not None:
            bound = np.where(left, tail.max_ulp[dtype], bound)
        else:
            bound = np.where(left, tail.max_abs[dtype], bound)
            error = np.where(left, exact.absolute(computed), error)
    if len(x) and not (error <= bound).all():
        i = int(np.argmax(np.where(error <= bound, -1.0, error / (bound + 1e-300))))
        raise AssertionError(
            f"{name} {dtype} at x = {x[i]!r} ({float(x[i]).hex()}): got {computed[i]!r}, exact is "
            f"{mp.nstr(exact.values[i], 20)}; off by {error[i]:.4g}, but promised is at most "
            f"{bound[i]:.4g}; {int((error > bound).sum())} of {len(x)} points are off, with "
            f"{tga.isa()}"
        )


# ---- numbers that know their rounding error -------------------------------------------------


class Rounded(Value):
    """A number, and how far rounding may carry a computation of it away.

    A reference evaluated on these yields the bound that the textbook computation has in
    floating point, to first order: c * n * eps * sum|terms| for a sum of n terms.

    Attributes
    ----------
    value : mpf
        The number itself.
    size : mpf
        The same with all terms of the sums in it taken as positive: no partial sum is larger,
        in whatever order.
    error : mpf
        The bound, in units of half an eps.
    """

    __slots__ = ("value", "size", "error")

    def __init__(self, value, size=None, error=0):
        self.value = mpf(value)
        self.size = abs(self.value) if size is None else size
        self.error = error

    def bound(self, dtype):
        """The largest error that may be seen.  Twice the textbook's: kernels order and group
        the operations otherwise, and multiply by a reciprocal."""
        digits, lowest, _ = _FORMAT[dtype]
        return 2 * float(self.error) * 2.0**-digits + 2.0 ** (lowest - digits)


@interpreter(Rounded)
def _apply_rounded(op, inputs, attrs):
    inputs = [x if isinstance(x, (Rounded, bool)) else Rounded(_number(x)) for x in inputs]
    if op.name == "where":
        return inputs[1] if inputs[0] else inputs[2]
    values = [x.value for x in inputs]
    if op in COMPARISONS:
        return op.f(*values)
    if op.name in ("add", "sub"):
        x, y = inputs
        size = x.size + y.size
        return Rounded(op.f(*values), size, x.error + y.error + size)
    if op.name == "mul":
        x, y = inputs
        size = x.size * y.size
        return Rounded(op.f(*values), size, x.error * y.size + y.error * x.size + size)
    if op.name == "div":
        x, y = inputs
        size = x.size / abs(y.value)
        error = (x.error + size * y.error) / abs(y.value) + size
        return Rounded(op.f(*values), size, error)
    if isinstance(op, Elementwise):
        (x,) = inputs
        y = _apply(op, values, attrs)
        slope = op.derivative(y, x.value, **attrs)
        # an ulp is at most two halves of eps
        return Rounded(y, error=abs(slope) * x.error + 2 * max(op.max_ulp.values()) * abs(y))
    return op.f(*inputs, **attrs)  # maximum, minimum: a choice


# ---- samples as tensors ---------------------------------------------------------------------


def tensor(x, dtype="float64", requires_grad=False):
    """Nested lists of a sample as a Tensor: bools stay bools and integers int64."""
    kinds = {type(item) for item in nested.flat(x)}
    if kinds in ({bool}, {int}):
        return tga.Tensor(x, dtype="bool" if kinds == {bool} else "int64")
    return tga.Tensor(x, dtype=dtype, requires_grad=requires_grad)


def holds_floats(x):
    """Whether a sample's input is made of floats."""
    return all(type(item) is float for item in nested.flat(x))


def is_cast(attrs):
    """Whether these are the attributes of astype, one of which names the dtype that x has."""
    return {"dtype", "source"} <= set(attrs)


def with_source(attrs, dtype):
    """The attributes of a sample; that of astype which names x's dtype, put right."""
    return {**attrs, "source": tga.Tensor(0.0, dtype=dtype).dtype} if is_cast(attrs) else attrs


# ---- what Hypothesis draws ------------------------------------------------------------------


def drawn_attrs(op):
    """Attributes of an op, from the ranges that its record names."""
    return st.fixed_dictionaries(
        {name: st.floats(*attr.drawn) for name, attr in op.attrs.items() if isinstance(attr, Attr)}
    )


def away_from(kinks, low, high, least=1e-6):
    """Numbers between two bounds, at least so far from each kink."""
    bounds = [low, *sorted(k for k in kinks if low < k < high), high]
    return st.one_of(
        [
            st.floats(a + least * (a in kinks), b - least * (b in kinks))
            for a, b in zip(bounds, bounds[1:])
        ]
    )


def bit_patterns(dtype):
    """Arrays of any floating-point numbers: subnormal, huge, infinite, nan."""
    bits = int(dtype[-2:])
    return st.lists(st.integers(0, 2**bits - 1), max_size=16).map(
        lambda words: np.array(words, dtype=f"uint{bits}").view(dtype)
    )


# ---- kernels on NumPy memory ----------------------------------------------------------------

CODES = {dtype.name: dtype.code for dtype in tga.dtype.DTYPES}


def pointer(a):
    """Where an array's first element lies, as C takes it."""
    return kernels.ffi.cast("char *", a.ctypes.data)


def same_bits(x, y):
    """Whether two arrays hold the same bits, nan and the sign of zero included."""
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


@contextlib.contextmanager
def threads(n):
    """Inside, large kernels use up to n threads."""
    before = tga.get_num_threads()
    tga.set_num_threads(n)
    try:
        yield
    finally:
        tga.set_num_threads(before)


class GuardedPage:
    """Pages of memory between two that cannot be touched: who leaves them, dies."""

    def __init__(self, pages=1):
        guard, self.size = mmap.PAGESIZE, pages * mmap.PAGESIZE
        self._memory = mmap.mmap(-1, self.size + 2 * guard)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for address in (start, start + guard + self.size):
            assert protect(address, guard, 0) == 0, "mprotect refused"
        self._bytes = np.frombuffer(self._memory, "uint8", self.size, guard)

    def at_end(self, n, dtype):
        """n elements, the last of which ends where the page ends."""
        nbytes = n * np.dtype(dtype).itemsize
        return self._bytes[self.size - nbytes :].view(dtype)

    def at_start(self, n, dtype):
        """n elements, the first of which begins where the page begins."""
        return self._bytes[: n * np.dtype(dtype).itemsize].view(dtype)


def in_child(work):
    """Run `work(report)` in a child process; its exit status, and what it reported last.

    A kernel that leaves its memory kills the process that it runs in.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # pytest's faulthandler would print
        try:
            work(lambda text: os.write(write, text.encode().ljust(80)[:80]))
            os._exit(0)
        except BaseException as error:
            os.write(write, repr(error).encode().ljust(80)[:80])
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said[-80:].decode().strip()
