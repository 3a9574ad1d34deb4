"""Arithmetic: sums, products, powers, exponentials, comparisons, choices.

In a rule, gz is the gradient of the result with respect to the output z.
"""

import math

from .. import kernels
from ..array import Array, broadcast_shape, constant, convert, empty
from ..dtype import bool_, float32, float64, promote
from ..formula import Constant
from ..op import (
    Attr,
    array_of,
    binary,
    comparison,
    elementwise,
    general,
    number_dtype,
    shape_of,
    unbroadcast,
    walk_broadcast,
)
from . import nested

lib = kernels.lib

# ---- one operand ----------------------------------------------------------------------------

neg = elementwise(
    "neg",
    f=lambda x: 0 - x,
    df=lambda: -1,
    saves="",
    on_integers=lambda x: 0 - x,
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
)

exp = elementwise(
    "exp",
    f=lambda x: exp(x),
    df=lambda y: y,
    saves="y",
    domain=(-20.0, 20.0),
    max_ulp={"float32": 1.1, "float64": 1.1},
    df_ulp={"float32": 0, "float64": 0},
)

expm1 = elementwise(
    "expm1",
    f=lambda x: exp(x) - 1,
    df=lambda x: exp(x),
    saves="x",
    max_ulp={"float32": 1.3, "float64": 1.3},
    df_ulp={"float32": 1.1, "float64": 1.1},
)

log = elementwise(
    "log",
    f=lambda x: log(x),
    df=lambda x: 1 / x,
    saves="x",
    domain=(0.01, 50.0),
    max_ulp={"float32": 1.0, "float64": 1.0},
    df_ulp={"float32": 0.5, "float64": 0.5},
    conventions="log(0) is -inf and log of a negative number is nan, as IEEE says",
)

log1p = elementwise(
    "log1p",
    f=lambda x: log(1 + x),
    df=lambda x: 1 / (1 + x),
    saves="x",
    domain=(-0.99, 50.0),
    max_ulp={"float32": 1.6, "float64": 1.5},
    df_ulp={"float32": 1.5, "float64": 1.5},
)

sqrt = elementwise(
    "sqrt",
    f=lambda x: sqrt(x),
    df=lambda y: 1 / (2 * y),
    saves="y",
    domain=(0.01, 50.0),
    max_ulp={"float32": 0.5, "float64": 0.5},
    df_ulp={"float32": 0.5, "float64": 0.5},
    conventions="the derivative at 0 is inf, its limit",
)

square = elementwise(
    "square",
    f=lambda x: x * x,
    df=lambda x: 2 * x,
    saves="x",
    on_integers=lambda x: x * x,
    max_ulp={"float32": 0.5, "float64": 0.5},
    df_ulp={"float32": 0, "float64": 0},
)

TWO_OVER_SQRT_PI = Constant("1.12837916709551257389615890312154517168810126")

erf = elementwise(
    "erf",
    f=lambda x: erf(x),
    df=lambda x: TWO_OVER_SQRT_PI * exp(-x * x),
    saves="x",
    domain=(-4.0, 4.0),
    max_ulp={"float32": 1.9, "float64": 1.7},
    df_ulp={"float32": 2.0, "float64": 2.0},
)

erfc = elementwise(
    "erfc",
    f=lambda x: erfc(x),
    df=lambda x: -(TWO_OVER_SQRT_PI * exp(-x * x)),
    saves="x",
    domain=(-4.0, 4.0),
    max_ulp={"float32": 6.8, "float64": 9.5},
    df_ulp={"float32": 2.0, "float64": 2.0},
    conventions="stays exact for large x, where 1 - erf(x) would be 0",
)

LN_2 = Constant("0.693147180559945309417232121458176568075500134360255254120680")
LN_10 = Constant("2.30258509299404568401799145468436420760110148862877297603332")

exp2 = elementwise(
    "exp2",
    f=lambda x: 2**x,
    df=lambda y: y * LN_2,
    saves="y",
    max_ulp={"float32": 1.1, "float64": 1.1},
    df_ulp={"float32": 1.0, "float64": 1.0},
)

log2 = elementwise(
    "log2",
    f=lambda x: log(x) / LN_2,
    df=lambda x: 1 / (x * LN_2),
    saves="x",
    domain=(0.01, 50.0),
    max_ulp={"float32": 1.9, "float64": 1.9},
    df_ulp={"float32": 1.5, "float64": 1.5},
    conventions="exact at powers of 2; at 0 and below as log",
)

log10 = elementwise(
    "log10",
    f=lambda x: log(x) / LN_10,
    df=lambda x: 1 / (x * LN_10),
    saves="x",
    domain=(0.01, 50.0),
    max_ulp={"float32": 2.1, "float64": 2.1},
    df_ulp={"float32": 1.5, "float64": 1.5},
    conventions="at 0 and below as log",
)

rsqrt = elementwise(
    "rsqrt",
    f=lambda x: 1 / sqrt(x),
    df=lambda y: -y * (y * y) / 2,
    saves="y",
    domain=(0.01, 50.0),
    max_ulp={"float32": 1.5, "float64": 1.5},
    df_ulp={"float32": 2.0, "float64": 2.0},
    conventions="at 0 it is inf with the sign of the zero, and nan below, as IEEE says",
)

reciprocal = elementwise(
    "reciprocal",
    f=lambda x: 1 / x,
    df=lambda y: -y * y,
    saves="y",
    domain=(0.1, 8.0),
    max_ulp={"float32": 0.5, "float64": 0.5},
    df_ulp={"float32": 0.5, "float64": 0.5},
    conventions="at 0 it is inf with the sign of the zero, as IEEE says; integers raise, since "
    "PyTorch makes floats of them and NumPy integers",
)

# ---- trigonometric and hyperbolic -----------------------------------------------------------

sin = elementwise(
    "sin",
    f=lambda x: sin(x),
    df=lambda x: cos(x),
    saves="x",
    max_ulp={"float32": 1.0, "float64": 1.0},
    df_ulp={"float32": 1.0, "float64": 1.0},
)

cos = elementwise(
    "cos",
    f=lambda x: cos(x),
    df=lambda x: -sin(x),
    saves="x",
    max_ulp={"float32": 1.0, "float64": 1.0},
    df_ulp={"float32": 1.0, "float64": 1.0},
)

tan = elementwise(
    "tan",
    f=lambda x: sin(x) / cos(x),
    df=lambda y: 1 + y * y,
    saves="y",
    domain=(-1.4, 1.4),
    max_ulp={"float32": 1.8, "float64": 1.8},
    df_ulp={"float32": 1.0, "float64": 1.0},
)

asin = elementwise(
    "asin",
    f=lambda x: asin(x),
    df=lambda x: 1 / sqrt((1 - x) * (1 + x)),
    saves="x",
    domain=(-0.95, 0.95),
    max_ulp={"float32": 2.1, "float64": 1.8},
    df_ulp={"float32": 2.4, "float64": 2.4},
    conventions="the derivative at -1 and 1 is inf, its limit; beyond them all is nan",
)

acos = elementwise(
    "acos",
    f=lambda x: acos(x),
    df=lambda x: -1 / sqrt((1 - x) * (1 + x)),
    saves="x",
    domain=(-0.95, 0.95),
    max_ulp={"float32": 1.5, "float64": 1.5},
    df_ulp={"float32": 2.4, "float64": 2.4},
    conventions="the derivative at -1 and 1 is -inf, its limit; beyond them all is nan",
)

atan = elementwise(
    "atan",
    f=lambda x: atan(x),
    df=lambda x: 1 / (1 + x * x),
    saves="x",
    max_ulp={"float32": 1.2, "float64": 1.2},
    df_ulp={"float32": 4.4, "float64": 4.4},
)

sinh = elementwise(
    "sinh",
    f=lambda x: (exp(x) - exp(-x)) / 2,
    df=lambda x: cosh(x),
    saves="x",
    max_ulp={"float32": 2.4, "float64": 2.4},
    df_ulp={"float32": 1.9, "float64": 1.9},
)

cosh = elementwise(
    "cosh",
    f=lambda x: (exp(x) + exp(-x)) / 2,
    df=lambda x: sinh(x),
    saves="x",
    max_ulp={"float32": 1.9, "float64": 1.9},
    df_ulp={"float32": 2.4, "float64": 2.4},
)

asinh = elementwise(
    "asinh",
    f=lambda x: sign(x) * log(abs_(x) + sqrt(x * x + 1)),
    df=lambda x: 1 / sqrt(1 + x * x),
    saves="x",
    max_ulp={"float32": 1.7, "float64": 1.7},
    df_ulp={"float32": 2.4, "float64": 2.4},
)

acosh = elementwise(
    "acosh",
    f=lambda x: log(x + sqrt(x - 1) * sqrt(x + 1)),
    df=lambda x: 1 / (sqrt(x - 1) * sqrt(x + 1)),
    saves="x",
    domain=(1.05, 50.0),
    max_ulp={"float32": 1.6, "float64": 1.6},
    df_ulp={"float32": 3.5, "float64": 3.5},
    conventions="the derivative at 1 is inf, its limit; below 1 all is nan",
)

atanh = elementwise(
    "atanh",
    f=lambda x: log((1 + x) / (1 - x)) / 2,
    df=lambda x: 1 / (1 - x) / (1 + x),
    saves="x",
    domain=(-0.95, 0.95),
    max_ulp={"float32": 1.4, "float64": 1.4},
    df_ulp={"float32": 3.0, "float64": 3.0},
    conventions="at -1 and 1 it is -inf and inf, and nan beyond",
)

# ---- to an integer, to an interval ----------------------------------------------------------


def _steps(points):
    return {point: "the function jumps; its derivative is 0 on both sides" for point in points}


floor = elementwise(
    "floor",
    f=lambda x: floor(x),
    df=lambda: 0,
    saves="",
    on_integers=lambda x: convert(x, x.dtype),
    domain=(-2.75, 2.75),
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks=_steps([-2.0, -1.0, 0.0, 1.0, 2.0]),
)

ceil = elementwise(
    "ceil",
    f=lambda x: ceil(x),
    df=lambda: 0,
    saves="",
    on_integers=lambda x: convert(x, x.dtype),
    domain=(-2.75, 2.75),
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks=_steps([-2.0, -1.0, 0.0, 1.0, 2.0]),
)

round_ = elementwise(
    "round",
    f=lambda x: round_(x),
    df=lambda: 0,
    saves="",
    on_integers=lambda x: convert(x, x.dtype),
    domain=(-2.25, 2.25),
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks=_steps([-1.5, -0.5, 0.5, 1.5]),
    conventions="halves go to the even neighbour, as in PyTorch, JAX and NumPy",
)


def _clamp(x, min, max):
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)


def _clamp_integers(x, min, max):
    y = _clamp(x, min, max)
    return convert(x, x.dtype) if y is x else y  # without bounds too, memory of its own


def _within(x, min, max):
    low, high = -math.inf if min is None else min, math.inf if max is None else max
    return where(x >= low, where(x <= high, 1, 0), 0)


clamp = elementwise(
    "clamp",
    attrs={"min": Attr(None, drawn=(-4.0, -0.5)), "max": Attr(None, drawn=(0.5, 4.0))},
    f=_clamp,
    df=_within,
    saves="x",
    on_integers=_clamp_integers,
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks=lambda min, max: {
        bound: "the derivative at a bound is 1, as in PyTorch; JAX shares it, 0.5"
        for bound in (min, max)
        if bound is not None
    },
    conventions="None is no bound; where min is above max, all becomes max, as in PyTorch and "
    "NumPy; nan stays nan, with the derivative 0",
)

sign = elementwise(
    "sign",
    f=lambda x: where(x > 0, 1, where(x < 0, -1, 0 * x)),  # 0 * x, since nan stays nan
    df=lambda: 0,
    saves="",
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks={0.0: "sign(0) is 0, and the derivative there is 0 like everywhere else"},
)

abs_ = elementwise(
    "abs",
    f=lambda x: where(x < 0, -x, x),
    df=lambda x: sign(x),
    saves="x",
    on_integers=lambda x: maximum(x, 0 - x),
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks={0.0: "derivative there is 0: the middle of -1 and 1, as in PyTorch, JAX"},
)

# ---- two operands ---------------------------------------------------------------------------

add = binary(
    "add",
    f=lambda x, y: x + y,
    vjp=(lambda gz, z, x, y: gz, lambda gz, z, x, y: gz),
    on_integers="same",
    max_ulp={"float32": 0.5, "float64": 0.5},
)

sub = binary(
    "sub",
    f=lambda x, y: x - y,
    vjp=(lambda gz, z, x, y: gz, lambda gz, z, x, y: -gz),
    on_integers="same",
    max_ulp={"float32": 0.5, "float64": 0.5},
)

mul = binary(
    "mul",
    f=lambda x, y: x * y,
    vjp=(lambda gz, z, x, y: gz * y, lambda gz, z, x, y: gz * x),
    saves="x y",
    on_integers="same",
    max_ulp={"float32": 0.5, "float64": 0.5},
)

div = binary(
    "div",
    f=lambda x, y: x / y,
    vjp=(lambda gz, z, x, y: gz / y, lambda gz, z, x, y: -gz * (z / y)),
    saves="y z",
    on_integers="float",
    domain=((-8.0, 8.0), (0.1, 8.0)),
    max_ulp={"float32": 0.5, "float64": 0.5},
    conventions="division by zero gives inf or nan, as IEEE says; integers give float32",
)


def _pow_base(gz, z, x, y):
    # y * x**(y-1); where both are 0 that would be 0 * inf, and is 0 by convention
    at_zero = where(x == 0, y == 0, x != x)
    return gz * (y * x ** where(at_zero, 1, y - 1))


def _pow_exponent(gz, z, x, y):
    # x**y * log(x); at x = 0 the power is 0 on both sides for y > 0, and by
    # convention for y = 0
    at_zero = where(x == 0, y >= 0, x != x)
    return gz * (z * log(where(at_zero, 1, x)))


pow_ = binary(
    "pow",
    f=lambda x, y: x**y,
    vjp=(_pow_base, _pow_exponent),
    saves="x y z",
    domain=((0.1, 4.0), (-3.0, 3.0)),
    max_ulp={"float32": 1.1, "float64": 1.1},
    conventions="pow(0, 0) is 1; its derivative with respect to the base and to the exponent is "
    "0, as in PyTorch; a negative base with a fraction as exponent gives nan",
)

maximum = binary(
    "maximum",
    f=lambda x, y: where(x >= y, x, y),
    vjp=(
        lambda gz, z, x, y: where(x > y, gz, where(x == y, 0.5 * gz, 0)),
        lambda gz, z, x, y: where(x < y, gz, where(x == y, 0.5 * gz, 0)),
    ),
    saves="x y",
    on_integers="same",
    ties=lambda x, y: x == y,
    max_ulp={"float32": 0, "float64": 0},
    conventions="nan if either is nan; where both are equal, each gets half of the gradient, as "
    "in PyTorch and JAX",
)

minimum = binary(
    "minimum",
    f=lambda x, y: where(x <= y, x, y),
    vjp=(
        lambda gz, z, x, y: where(x < y, gz, where(x == y, 0.5 * gz, 0)),
        lambda gz, z, x, y: where(x > y, gz, where(x == y, 0.5 * gz, 0)),
    ),
    saves="x y",
    on_integers="same",
    ties=lambda x, y: x == y,
    max_ulp={"float32": 0, "float64": 0},
    conventions="as maximum",
)

# x less the whole number of times that y goes into it, which is found from the exact rest
remainder = binary(
    "remainder",
    f=lambda x, y: x - y * floor(x / y),
    vjp=(lambda gz, z, x, y: gz, lambda gz, z, x, y: -gz * round_((x - z) / y)),
    saves="x y z",
    on_integers="same",
    domain=((0.1, 3.9), (2.0, 3.0)),
    ties=lambda x, y: abs(x / y - round(x / y)) < 1e-6,
    max_ulp={"float32": 0.5, "float64": 0.5},
    conventions="the result has the sign of y, also if it is 0, as in NumPy and Python; by 0 it is "
    "nan, and of integers 0, as in NumPy; where x is a multiple of y it jumps, and the "
    "derivative is that to the right",
)


def _share(x, y):
    # sigmoid(x - y), where equal infinities have the difference 0
    difference = where(x == y, where(x - x == 0, x - y, 0), x - y)
    return 1 / (1 + exp(-difference))


logaddexp = binary(
    "logaddexp",
    f=lambda x, y: log(exp(x) + exp(y)),
    vjp=(lambda gz, z, x, y: gz * _share(x, y), lambda gz, z, x, y: gz * _share(y, x)),
    saves="x y",
    ties=None,
    max_ulp={"float32": 2.4, "float64": 2.4},
    conventions="equal infinities give that infinity, as in PyTorch, JAX and NumPy, and share the "
    "gradient, where PyTorch has nan",
)


def _over_length(gz, z, x):
    return gz * (x / where(z == 0, 1, z))


hypot = binary(
    "hypot",
    f=lambda x, y: sqrt(x * x + y * y),
    vjp=(
        lambda gz, z, x, y: _over_length(gz, z, x),
        lambda gz, z, x, y: _over_length(gz, z, y),
    ),
    saves="x y z",
    domain=((0.1, 8.0), (-8.0, 8.0)),
    max_ulp={"float32": 1.2, "float64": 1.2},
    conventions="infinite if either is, even beside nan, as C99 says; both derivatives at (0, 0) "
    "are 0, the shortest of all subgradients, as in JAX and as of norm; PyTorch has nan",
)


def _turned(gz, x, y):
    # gz * x / (x^2 + y^2), where the square of the length may overflow
    length = hypot(x, y)
    length = where(length == 0, 1, length)
    return gz * (x / length / length)


atan2 = binary(
    "atan2",
    f=lambda x, y: atan2(x, y),
    vjp=(lambda gz, z, x, y: _turned(gz, y, x), lambda gz, z, x, y: -_turned(gz, x, y)),
    saves="x y",
    domain=((-8.0, 8.0), (0.1, 8.0)),
    max_ulp={"float32": 1.6, "float64": 1.6},
    conventions="the angle of the point whose ordinate is x and abscissa y, as in NumPy and "
    "PyTorch; both derivatives at (0, 0) are 0, as in PyTorch; JAX has nan",
)

eq = comparison("eq", f=lambda x, y: x == y)
ne = comparison("ne", f=lambda x, y: x != y)
lt = comparison("lt", f=lambda x, y: x < y)
le = comparison("le", f=lambda x, y: x <= y)
gt = comparison("gt", f=lambda x, y: x > y)
ge = comparison("ge", f=lambda x, y: x >= y)

# ---- choice ---------------------------------------------------------------------------------


def _where(condition, x, y):
    if condition.dtype is not bool_:
        raise TypeError(
            f"where: the condition must be bool, not {condition.dtype}; write condition != 0"
        )
    if not isinstance(x, Array) and not isinstance(y, Array):
        x, y = constant(x, number_dtype()), constant(y, number_dtype())
    elif not isinstance(x, Array):
        x = array_of(x, y)
    else:
        y = array_of(y, x)
    if x.dtype is not y.dtype:
        dtype = promote(x.dtype, y.dtype)
        x, y = convert(x, dtype), convert(y, dtype)
    shape = broadcast_shape("where", x.shape, y.shape)
    shape = broadcast_shape("where", condition.shape, shape)
    z = empty(shape, x.dtype, math.prod(shape))
    walk = walk_broadcast(shape, condition, x, y)
    mask = kernels.as_bytes(condition.data)
    lib.tga_where_strided(x.dtype.code, walk, mask, x.data, y.data, z.data)
    return z


def _unbroadcast(g, saved):
    return g if g.shape == shape_of(saved) else unbroadcast(g, shape_of(saved))


def _sample_where(random):
    whole = nested.draw_shape(random)
    x, y = nested.draw_part(random, whole), nested.draw_part(random, whole)
    condition = nested.draw_part(random, [n or 1 for n in whole])  # [] would not look like bools
    return [
        nested.draw_bools(random, condition),
        nested.draw_numbers(random, x),
        nested.draw_numbers(random, y),
    ], {}


where = general(
    "where",
    "condition x y",
    forward=_where,
    vjp=(
        None,
        lambda gz, z, condition, x, y: _unbroadcast(where(condition, gz, 0), x),
        lambda gz, z, condition, x, y: _unbroadcast(where(condition, 0, gz), y),
    ),
    shortcut=("where",),
    output="z",
    saves="condition",
    promotes=2,
    by_element=lambda condition, x, y: x if condition else y,
    sample=_sample_where,
    reference=lambda condition, x, y: nested.mapped(lambda c, a, b: a if c else b, condition, x, y),
    max_ulp={"float32": 0, "float64": 0},
    conventions="the branch that is not taken gets the gradient 0; a nan or inf in it does "
    "not spread, unless its own derivative makes 0 * inf of it",
)

# ---- three operands -------------------------------------------------------------------------


def _lerp(x, y, weight):
    return x + weight * (y - x)


def _lerp_arrays(x, y, weight):
    broadcast_shape("lerp", broadcast_shape("lerp", x.shape, y.shape), weight.shape)
    return _lerp(x, y, weight)


def _sample_lerp(random):
    whole = nested.draw_shape(random)
    return [nested.draw_numbers(random, nested.draw_part(random, whole)) for _ in range(3)], {}


lerp = general(
    "lerp",
    "x y weight",
    forward=_lerp_arrays,
    vjp=(
        lambda gz, z, x, y, weight: _unbroadcast(gz * (1 - weight), x),
        lambda gz, z, x, y, weight: _unbroadcast(gz * weight, y),
        lambda gz, z, x, y, weight: _unbroadcast(gz * (y - x), weight),
    ),
    output="z",
    saves="x y weight",
    promotes=1,
    by_element=_lerp,
    sample=_sample_lerp,
    reference=lambda x, y, weight: nested.mapped(_lerp, x, y, weight),
    conventions="from x at weight 0 to y at weight 1, and beyond; at weight 1 it may differ from y "
    "by a rounding error",
)

# ---- kinds of number ------------------------------------------------------------------------


def _question(name, answer, conventions):
    """Declare a question about each number; the answers are bools and carry no gradient."""
    return general(
        name,
        "x",
        forward=answer,
        vjp=(None,),
        by_element=answer,
        sample=lambda random: ([nested.draw_numbers(random, nested.draw_shape(random))], {}),
        reference=lambda x: nested.mapped(answer, x),
        conventions=conventions,
    )


isfinite = _question("isfinite", lambda x: x - x == 0, "no infinity and no nan; bool, no gradient")
isinf = _question("isinf", lambda x: abs(x) == math.inf, "either infinity; bool, no gradient")
isnan = _question("isnan", lambda x: x != x, "bool, no gradient")


# ---- bools ----------------------------------------------------------------------------------


def _logical(name, inputs, on_bools, of_values, conventions):
    """Declare an op of bools; the results are bools and carry no gradient."""
    names = inputs.split()

    def forward(*arrays):
        for one, x in zip(names, arrays):
            if x.dtype is not bool_:
                raise TypeError(f"{name}: needs bool, but {one} is {x.dtype}; write {one} != 0")
        return on_bools(*arrays)

    def sample(random):
        shape = nested.draw_shape(random)
        parts = [nested.draw_part(random, [n or 1 for n in shape]) for _ in names]
        return [nested.draw_bools(random, part) for part in parts], {}

    return general(
        name,
        inputs,
        forward=forward,
        vjp=(None,) * len(names),
        output="z" if len(names) > 1 else "y",
        sample=sample,
        reference=lambda *values: nested.mapped(of_values, *values),
        conventions=f"{conventions}; bools alone, no gradient",
    )


logical_and = _logical("logical_and", "x y", lambda x, y: x * y != 0, lambda x, y: x and y, "x & y")
logical_or = _logical("logical_or", "x y", lambda x, y: x + y != 0, lambda x, y: x or y, "x | y")
logical_xor = _logical("logical_xor", "x y", lambda x, y: x != y, lambda x, y: x != y, "x ^ y")
logical_not = _logical("logical_not", "x", lambda x: x == 0, lambda x: not x, "~x")


# ---- change of dtype ------------------------------------------------------------------------


def _astype(x, dtype, source):
    if source is None:
        raise TypeError("astype: write x.astype(dtype), which knows the dtype to go back to")
    return x if x.dtype is dtype else convert(x, dtype)


astype = general(
    "astype",
    "x",
    forward=_astype,
    vjp=(lambda gy, y, x, dtype, source: astype(gy, dtype=source, source=dtype),),
    attrs={"dtype": None, "source": None},  # source: the dtype that x has
    sample=lambda random: (
        [nested.draw_numbers(random, nested.draw_shape(random))],
        {"dtype": random.choice([float32, float64]), "source": float64},
    ),
    reference=lambda x, dtype, source: x,  # numbers that every precision holds
    conventions="a float cast to an integer is cut off towards 0; what does not fit becomes the "
    "smallest integer",
)
