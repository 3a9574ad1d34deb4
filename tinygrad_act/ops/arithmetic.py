"""Arithmetic: sums, products, powers, exponentials, comparisons, choices.

In a rule, gz is the gradient of the result with respect to the output z.
"""

import math

from ..array import Array, broadcast_shape, convert, empty
from ..dtype import bool_, float32, float64, promote
from ..formula import Constant
from ..op import (
    array_of,
    binary,
    comparison,
    constant,
    elementwise,
    general,
    kernels,
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

sign = elementwise(
    "sign",
    f=lambda x: where(x > 0, 1, where(x < 0, -1, 0 * x)),
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
    max_ulp={"float32": 1.0, "float64": 1.0},
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
    output="z",
    saves="condition",
    promotes=2,
    sample=_sample_where,
    reference=lambda condition, x, y: nested.mapped(lambda c, a, b: a if c else b, condition, x, y),
    max_ulp={"float32": 0, "float64": 0},
    conventions="the branch that is not taken gets the gradient 0; a nan or inf in it does "
    "not spread, unless its own derivative makes 0 * inf of it",
)
where.on_numbers = lambda condition, x, y: x if condition else y


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
