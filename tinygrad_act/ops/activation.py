"""Activations: the functions between the layers.

In a rule, y is the function's value at x, and gy the gradient of the result with
respect to y.
"""

from math import prod

from .. import kernels
from ..array import contiguous, empty, normalized_axis
from ..formula import Constant
from ..op import ACTIVATIONS, Attr, Tail, activation, general, needs_float
from . import nested
from .arithmetic import abs_, clamp, erf, exp, log, maximum, minimum, where
from .reduction import sum_
from .shape import concat, getitem, reshape, stack

lib = kernels.lib

identity = activation(
    "identity",
    f=lambda x: x,
    df=lambda: 1,
    saves="",
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
)

sigmoid = activation(
    "sigmoid",
    f=lambda x: 1 / (1 + exp(-x)),
    df=lambda y: y * (1 - y),
    saves="y",
    max_ulp={"float32": 1.9, "float64": 1.9},
    df_ulp={"float32": 1.5, "float64": 1.5},
)

tanh = activation(
    "tanh",
    f=lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x)),
    df=lambda y: (1 - y) * (1 + y),
    saves="y",
    max_ulp={"float32": 1.9, "float64": 1.9},
    df_ulp={"float32": 2.5, "float64": 2.5},
)

relu = activation(
    "relu",
    f=lambda x: maximum(x, 0),
    df=lambda y: where(y > 0, 1, 0),
    saves="y",
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks={0.0: "derivative there is 0, as in PyTorch, JAX and TensorFlow"},
)

leaky_relu = activation(
    "leaky_relu",
    attrs={"slope": Attr(0.01, drawn=(0.0, 1.0))},
    f=lambda x, slope: where(x > 0, x, slope * x),
    df=lambda x, slope: where(x > 0, 1, slope),
    saves="x",
    max_ulp={"float32": 0.5, "float64": 0.5},
    df_ulp={"float32": 0, "float64": 0},
    kinks={0.0: "derivative there is slope: the left one, as in PyTorch"},
)

elu = activation(
    "elu",
    attrs={"alpha": Attr(1.0, drawn=(0.1, 2.0))},
    f=lambda x, alpha: where(x > 0, x, alpha * (exp(x) - 1)),
    # minimum shields the branch that is not taken: exp(1000) is inf, and 0 * inf nan
    df=lambda x, alpha: where(x > 0, 1, alpha * exp(minimum(x, 0))),
    saves="x",
    max_ulp={"float32": 2.6, "float64": 2.6},
    df_ulp={"float32": 2.6, "float64": 2.6},
    kinks={0.0: "derivative there is alpha: the left one, as in PyTorch"},
)

# Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks" (2017):
# the pair for which mean 0 and variance 1 are a fixed point.
SELU_SCALE = Constant("1.0507009873554804934193349852946")
SELU_ALPHA = Constant("1.6732632423543772848170429916717")
# their product
SELU_SLOPE = Constant("1.75809934084737685994021752081231934206024580891220830977098282")

selu = activation(
    "selu",
    f=lambda x: SELU_SCALE * where(x > 0, x, SELU_ALPHA * (exp(x) - 1)),
    df=lambda x: where(x > 0, SELU_SCALE, SELU_SLOPE * exp(minimum(x, 0))),
    saves="x",
    max_ulp={"float32": 2.0, "float64": 2.0},
    df_ulp={"float32": 2.0, "float64": 1.8},
    kinks={0.0: "derivative there is scale * alpha: the left one, as in PyTorch"},
)

# Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016): x times the chance that
# a standard normal number is below x; and the form with tanh that they give for it.
SQRT_2 = Constant("1.41421356237309504880168872420969807856967188")
SQRT_2_PI = Constant("2.5066282746310005024157652848110452530069867406")



def _gelu_derivative(x):
    # clamp, here and below: beyond it the slope is 0 or 1 in all digits, but inf * 0 is nan
    x = clamp(x, -1000, 1000)
    return (1 + erf(x / SQRT_2)) / 2 + x * exp(-x * x / 2) / SQRT_2_PI


gelu = activation(
    "gelu",
    f=lambda x: x * (1 + erf(x / SQRT_2)) / 2,
    df=_gelu_derivative,
    saves="x",
    max_ulp={"float32": 4.3, "float64": 4.6},
    tail=Tail(-1.0, max_ulp={"float32": 7.5, "float64": 12}),
    df_ulp={"float32": 2.3, "float64": 2.1},
    df_tail=Tail(0.0, max_abs={"float32": 1e-7, "float64": 2e-16}),
)

GELU_SCALE = Constant("0.797884560802865355879892119868763736951717263")  # sqrt(2 / pi)
GELU_CUBIC = Constant("0.044715")


def _gelu_tanh_derivative(x):
    x = clamp(x, -1000, 1000)
    t = tanh(GELU_SCALE * (x + GELU_CUBIC * (x * x * x)))
    slope = GELU_SCALE * (1 + GELU_CUBIC * (3 * x * x))
    return 0.5 * (1 + t) + 0.5 * x * ((1 - t) * (1 + t)) * slope


gelu_tanh = activation(
    "gelu_tanh",
    f=lambda x: 0.5 * x * (1 + tanh(GELU_SCALE * (x + GELU_CUBIC * (x * x * x)))),
    df=_gelu_tanh_derivative,
    saves="x",
    max_ulp={"float32": 3.2, "float64": 3.2},
    tail=Tail(-1.0, max_abs={"float32": 6e-8, "float64": 1.2e-16}),
    df_ulp={"float32": 3.1, "float64": 2.9},
    df_tail=Tail(0.0, max_abs={"float32": 1e-7, "float64": 1.8e-16}),
)

celu = activation(
    "celu",
    attrs={"alpha": Attr(1.0, drawn=(0.1, 2.0))},
    f=lambda x, alpha: where(x > 0, x, alpha * (exp(x / alpha) - 1)),
    df=lambda x, alpha: where(x > 0, 1, exp(minimum(x, 0) / alpha)),
    saves="x",
    max_ulp={"float32": 3.0, "float64": 3.0},
    df_ulp={"float32": 1.9, "float64": 1.9},
    kinks={0.0: "derivative there is 1 from both sides; the second one jumps"},
    conventions="Barron, Continuously Differentiable Exponential Linear Units (2017)",
)


def _silu_derivative(x):
    x = clamp(x, -1000, 1000)
    s = sigmoid(x)
    return s + x * (s * sigmoid(-x))


silu = activation(
    "silu",
    f=lambda x: x / (1 + exp(-x)),
    df=_silu_derivative,
    saves="x",
    max_ulp={"float32": 3.5, "float64": 3.5},
    df_ulp={"float32": 3.0, "float64": 3.0},
    df_tail=Tail(0.0, max_abs={"float32": 1e-7, "float64": 2e-16}),
    conventions="also named swish: Elfwing, Uchibe, Doya (2017); Ramachandran, Zoph, Le (2017)",
)
swish = silu


def _mish_derivative(x):
    # with w = tanh(softplus(x)): w + x (1 - w^2) sigmoid(x)
    x = clamp(x, -1000, 1000)
    w = tanh(softplus(x, threshold=1e4))
    return w + x * ((1 - w) * (1 + w) * sigmoid(x))


mish = activation(
    "mish",
    f=lambda x: x * ((1 + exp(x)) ** 2 - 1) / ((1 + exp(x)) ** 2 + 1),
    df=_mish_derivative,
    saves="x",
    max_ulp={"float32": 4.8, "float64": 4.8},
    df_ulp={"float32": 4.0, "float64": 4.0},
    df_tail=Tail(0.0, max_abs={"float32": 2e-7, "float64": 4e-16}),
    conventions="x tanh(log(1 + exp(x))): Misra, Mish (2019)",
)

softplus = activation(
    "softplus",
    attrs={"beta": Attr(1.0, drawn=(0.5, 2.0)), "threshold": Attr(20.0, drawn=(10.0, 30.0))},
    f=lambda x, beta, threshold: where(beta * x > threshold, x, log(1 + exp(beta * x)) / beta),
    df=lambda x, beta, threshold: where(beta * x > threshold, 1, sigmoid(beta * x)),
    saves="x",
    max_ulp={"float32": 2.6, "float64": 2.6},
    df_ulp={"float32": 2.6, "float64": 2.6},
    kinks=lambda beta, threshold: {
        threshold / beta: "above it the function is x, as in PyTorch; there it still is not"
    },
)

logsigmoid = activation(
    "logsigmoid",
    f=lambda x: -log(1 + exp(-x)),
    df=lambda x: sigmoid(-x),
    saves="x",
    max_ulp={"float32": 1.9, "float64": 1.9},
    df_ulp={"float32": 1.9, "float64": 1.9},
    conventions="stays exact far out on the left, where log(sigmoid(x)) would be -inf",
)


def _softsign_derivative(x):
    root = 1 / (1 + abs_(x))
    return root * root


softsign = activation(
    "softsign",
    f=lambda x: x / (1 + abs_(x)),
    df=_softsign_derivative,
    saves="x",
    max_ulp={"float32": 1.5, "float64": 1.5},
    df_ulp={"float32": 3.6, "float64": 3.6},
    kinks={0.0: "derivative there is 1 from both sides; the second one jumps"},
)


def _corners(*points):
    return {point: "derivative there is 0: that outside, as in PyTorch" for point in points}


hardtanh = activation(
    "hardtanh",
    attrs={"min_val": Attr(-1.0, drawn=(-3.0, -0.5)), "max_val": Attr(1.0, drawn=(0.5, 3.0))},
    f=lambda x, min_val, max_val: minimum(maximum(x, min_val), max_val),
    df=lambda x, min_val, max_val: where(x > min_val, where(x < max_val, 1, 0), 0),
    saves="x",
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks=lambda min_val, max_val: _corners(min_val, max_val),
    conventions="at the bounds PyTorch has the derivative 0, as of relu, and JAX 1; clamp has 1",
)

relu6 = activation(
    "relu6",
    f=lambda x: minimum(maximum(x, 0), 6),
    df=lambda x: where(x > 0, where(x < 6, 1, 0), 0),
    saves="x",
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks=_corners(0.0, 6.0),
)

SIXTH = Constant("0.1666666666666666666666666666666666666666666667")

hardsigmoid = activation(
    "hardsigmoid",
    f=lambda x: relu6(x + 3) / 6,
    df=lambda x: where(x > -3, where(x < 3, SIXTH, 0), 0),
    saves="x",
    max_ulp={"float32": 1.5, "float64": 1.5},
    df_ulp={"float32": 0.5, "float64": 0.5},
    kinks=_corners(-3.0, 3.0),
)

# Howard and others, "Searching for MobileNetV3" (2019)
hardswish = activation(
    "hardswish",
    f=lambda x: x * relu6(x + 3) / 6,
    df=lambda x: where(x < 3, where(x > -3, x / 3 + 0.5, 0), 1),
    saves="x",
    max_ulp={"float32": 2.0, "float64": 2.0},
    df_ulp={"float32": 1.5, "float64": 1.5},
    df_tail=Tail(-1.0, max_abs={"float32": 1.2e-7, "float64": 2.3e-16}),
    kinks={
        -3.0: "derivative there is 0: the left one, as in PyTorch",
        3.0: "derivative there is 1: the right one, as in PyTorch",
    },
)


def _tanh_squared(x):
    y = tanh(x)
    return y * y


tanhshrink = activation(
    "tanhshrink",
    f=lambda x: x - tanh(x),
    df=_tanh_squared,
    saves="x",
    max_ulp={"float32": 3.3, "float64": 3.3},
    df_ulp={"float32": 5.0, "float64": 5.0},
)

softshrink = activation(
    "softshrink",
    attrs={"lambd": Attr(0.5, drawn=(0.1, 2.0))},
    # 0 * x, since nan stays nan
    f=lambda x, lambd: where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0 * x)),
    df=lambda x, lambd: where(abs_(x) > lambd, 1, 0),
    saves="x",
    max_ulp={"float32": 0.5, "float64": 0.5},
    df_ulp={"float32": 0, "float64": 0},
    kinks=lambda lambd: {
        point: "derivative there is 0: the inner one, as in PyTorch" for point in (-lambd, lambd)
    },
)

hardshrink = activation(
    "hardshrink",
    attrs={"lambd": Attr(0.5, drawn=(0.1, 2.0))},
    f=lambda x, lambd: where(abs_(x) <= lambd, 0, x),
    df=lambda x, lambd: where(abs_(x) <= lambd, 0, 1),
    saves="x",
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks=lambda lambd: {
        point: "derivative there is 0, that of the inner part" for point in (-lambd, lambd)
    },
)

threshold = activation(
    "threshold",
    attrs={"threshold": Attr(0.0, drawn=(-1.0, 1.0)), "value": Attr(0.0, drawn=(-2.0, 2.0))},
    f=lambda x, threshold, value: where(x <= threshold, value, x),
    df=lambda x, threshold, value: where(x <= threshold, 0, 1),
    saves="x",
    max_ulp={"float32": 0, "float64": 0},
    df_ulp={"float32": 0, "float64": 0},
    kinks=lambda threshold, value: {threshold: "derivative there is 0, that of the left part"},
)


# Xu, Wang, Chen, Li, "Empirical Evaluation of Rectified Activations" (2015)
rrelu = activation(
    "rrelu",
    attrs={"lower": Attr(1 / 8, drawn=(0.0, 0.3)), "upper": Attr(1 / 3, drawn=(0.3, 1.0))},
    f=lambda x, lower, upper: where(x > 0, x, (lower * x + upper * x) / 2),
    df=lambda x, lower, upper: where(x > 0, 1, (lower + upper) / 2),
    saves="x",
    max_ulp={"float32": 1.5, "float64": 1.5},
    df_ulp={"float32": 0.5, "float64": 0.5},
    kinks={0.0: "derivative there is the left one, as in PyTorch"},
    conventions="as when evaluating a network: with the middle of the slopes that training draws",
)


def very_leaky_relu(x):
    """leaky_relu with slope 1/3; the name is that of Mishkin and Matas (2016)."""
    return leaky_relu(x, slope=1 / 3)


ACTIVATIONS.update(very_leaky_relu=very_leaky_relu, swish=swish)

# ---- activations of a whole row -------------------------------------------------------------


def _around(x, axis):
    """x's shape as (outer, length of the axis, inner)."""
    return prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])


def _softmax_forward(name, is_log):
    def forward(x, axis):
        needs_float(name, x)
        axis = normalized_axis(axis, x.ndim, name)
        x = contiguous(x)
        y = empty(x.shape, x.dtype, x.size)
        outer, n, inner = _around(x, axis)
        if inner == 1:
            lib.tga_softmax_forward(x.dtype.code, is_log, outer, n, x.data, y.data)
        else:
            lib.tga_softmax_columns_forward(x.dtype.code, is_log, outer, n, inner, x.data, y.data)
        return y

    return forward


def _softmax_reference(of_row):
    """The textbook form: `of_row` of an element and all of its row, less the largest."""

    def reference(x, axis):
        shape = nested.shape(x)
        axis = axis % len(shape)

        def one(index):
            row = [nested.at(x, (*index[:axis], i, *index[axis + 1 :])) for i in range(shape[axis])]
            top = max(row)
            return of_row(row[index[axis]] - top, [v - top for v in row])

        return nested.build(shape, one)

    return reference


def _sample_softmax(random):
    shape = nested.draw_shape(random, least=1)
    x = nested.draw_numbers(random, shape, -4.0, 4.0)
    return [x], {"axis": nested.draw_axis(random, len(shape))}


def _softmax_fused(is_log):
    def fused(parents, gy, y, x, axis):
        gy, y = contiguous(gy), contiguous(y)
        gx = empty(y.shape, y.dtype, y.size)
        outer, n, inner = _around(y, axis % y.ndim)
        code, data = y.dtype.code, (gy.data, y.data, gx.data)
        if inner == 1:
            lib.tga_softmax_backward(code, is_log, outer, n, *data)
        else:
            lib.tga_softmax_columns_backward(code, is_log, outer, n, inner, *data)
        return (gx,)

    return fused


softmax = general(
    "softmax",
    "x",
    forward=_softmax_forward("softmax", 0),
    vjp=(lambda gy, y, x, axis: y * (gy - sum_(gy * y, axis=axis, keepdims=True)),),
    fused=_softmax_fused(0),
    shortcut=("softmax", 0, "y"),
    saves="y",
    attrs={"axis": -1},
    sample=_sample_softmax,
    reference=_softmax_reference(lambda v, row: exp(v) / sum(exp(w) for w in row)),
    conventions="the largest of a row is subtracted first, so that nothing overflows; a row "
    "that is all -inf, or holds +inf or nan, gives nan",
)

log_softmax = general(
    "log_softmax",
    "x",
    forward=_softmax_forward("log_softmax", 1),
    vjp=(lambda gy, y, x, axis: gy - exp(y) * sum_(gy, axis=axis, keepdims=True),),
    fused=_softmax_fused(1),
    shortcut=("softmax", 1, "y"),
    saves="y",
    attrs={"axis": -1},
    sample=_sample_softmax,
    reference=_softmax_reference(lambda v, row: v - log(sum(exp(w) for w in row))),
    conventions="as softmax; far out it stays exact where log(softmax(x)) would be -inf",
)

softmin = general(
    "softmin",
    "x",
    forward=lambda x, axis: softmax.forward(-x, normalized_axis(axis, x.ndim, "softmin")),
    vjp=(lambda gy, y, x, axis: y * (sum_(gy * y, axis=axis, keepdims=True) - gy),),
    fused=lambda parents, gy, y, x, axis: (-softmax.fused(parents, gy, y, x, axis)[0],),
    shortcut=("softmax", 2, "y"),
    saves="y",
    attrs={"axis": -1},
    sample=_sample_softmax,
    reference=lambda x, axis: softmax.reference(nested.mapped(lambda v: -v, x), axis),
    conventions="softmax of -x",
)

# ---- gates ----------------------------------------------------------------------------------


def _channels(x, w):
    """x's shape as (outer, channels, inner) around the axis of channels, the second one.

    Raises
    ------
    ValueError
        If w is not one number, or one for each channel.
    """
    count = w.size
    fits = len(w.shape) == 1 and (count == 1 or (x.ndim > 1 and x.shape[1] == count))
    if not fits and w.shape != ():
        raise ValueError(
            f"prelu: w has shape {w.shape}, but must hold one number, or one for each channel "
            f"(axis 1) of x, whose shape is {x.shape}"
        )
    return (1, 1, x.size) if count == 1 else (x.shape[0], count, prod(x.shape[2:]))


def _prelu_forward(x, w):
    needs_float("prelu", x)
    around = _channels(x, w)
    x, w = contiguous(x), contiguous(w)
    y = empty(x.shape, x.dtype, x.size)
    lib.tga_prelu_forward(x.dtype.code, *around, x.data, w.data, y.data)
    return y


def _prelu_fused(parents, gy, y, x, w):
    around = _channels(x, w)
    gy, x, w = contiguous(gy), contiguous(x), contiguous(w)
    gx, terms = empty(x.shape, x.dtype, x.size), empty(around, x.dtype, x.size)
    lib.tga_prelu_backward(
        x.dtype.code, *around, gy.data, x.data, w.data, gx.data, terms.data
    )
    gw = sum_(terms, axis=(0, 2))
    return gx, reshape(gw, shape=w.shape)


def _spread_slopes(x, w):
    """w in a shape that broadcasts to that of x: along axis 1."""
    if len(x.shape) < 2:
        return reshape(w, shape=())
    return reshape(w, shape=(-1, *[1] * (len(x.shape) - 2)))


def _slopes_gradient(gy, x, w):
    terms = where(x > 0, 0, gy * x)
    return reshape(sum_(reshape(terms, shape=_channels(x, w)), axis=(0, 2)), shape=w.shape)


def _sample_prelu(random):
    shape = nested.draw_shape(random)
    counts = [(1,), (), *[(n,) for n in shape[1:2]]]
    x = nested.mapped(lambda v: v + 1 / 16, nested.draw_distinct(random, shape))  # none is 0
    return [x, nested.draw_numbers(random, random.choice(counts))], {}


def _reference_prelu(x, w):
    slopes = nested.flat(w)

    def one(index):
        v, slope = nested.at(x, index), slopes[index[1] if len(slopes) > 1 else 0]
        return v if v > 0 else slope * v

    return nested.build(nested.shape(x), one)


# He, Zhang, Ren, Sun, "Delving Deep into Rectifiers" (2015)
prelu = general(
    "prelu",
    "x w",
    forward=_prelu_forward,
    vjp=(
        lambda gy, y, x, w: gy * where(x > 0, 1, _spread_slopes(x, w)),
        lambda gy, y, x, w: _slopes_gradient(gy, x, w),
    ),
    fused=_prelu_fused,
    saves="x w",
    promotes=1,
    sample=_sample_prelu,
    reference=_reference_prelu,
    conventions="leaky_relu with a slope that is learnt: one for all, or one for each channel, "
    "axis 1; at 0 the derivative is the slope, as in PyTorch",
)


def _halves(x, axis):
    axis = normalized_axis(axis, len(x.shape), "glu")
    if x.shape[axis] % 2:
        raise ValueError(f"glu: axis {axis} of x, whose shape is {x.shape}, has no two halves")
    return axis, x.shape[axis] // 2


def _glu_forward(x, axis):
    needs_float("glu", x)
    axis, half = _halves(x, axis)
    x = contiguous(x)
    y = empty((*x.shape[:axis], half, *x.shape[axis + 1 :]), x.dtype, x.size // 2)
    n = half * prod(x.shape[axis + 1 :])
    if n:
        lib.tga_glu_forward(x.dtype.code, y.size // n, n, x.data, y.data)
    return y


def _glu_fused(parents, gy, y, x, axis):
    axis, half = _halves(x, axis)
    gy, x = contiguous(gy), contiguous(x)
    gx = empty(x.shape, x.dtype, x.size)
    n = half * prod(x.shape[axis + 1 :])
    if n:
        lib.tga_glu_backward(x.dtype.code, gy.size // n, n, gy.data, x.data, gx.data)
    return (gx,)


def _glu_vjp(gy, y, x, axis):
    axis, half = _halves(x, axis)
    before = (slice(None),) * axis
    passed = getitem(x, index=(*before, slice(half)))
    gate = getitem(x, index=(*before, slice(half, None)))
    s = sigmoid(gate)
    return concat(gy * s, gy * passed * (s * sigmoid(-gate)), axis=axis)


def _sample_glu(random):
    shape = list(nested.draw_shape(random, least=1))
    axis = nested.draw_axis(random, len(shape))
    shape[axis] *= 2
    return [nested.draw_numbers(random, shape)], {"axis": axis}


def _reference_glu(x, axis):
    shape = list(nested.shape(x))
    axis = axis % len(shape)
    half = shape[axis] = shape[axis] // 2

    def one(index):
        gate = nested.at(x, (*index[:axis], index[axis] + half, *index[axis + 1 :]))
        return nested.at(x, index) * (1 / (1 + exp(-gate)))

    return nested.build(shape, one)


# Dauphin, Fan, Auli, Grangier, "Language Modeling with Gated Convolutional Networks" (2017)
glu = general(
    "glu",
    "x",
    forward=_glu_forward,
    vjp=(_glu_vjp,),
    fused=_glu_fused,
    shortcut=("glu", 0, "x"),
    saves="x",
    attrs={"axis": -1},
    sample=_sample_glu,
    reference=_reference_glu,
    conventions="the first half of the axis passes as far as the sigmoid of the second lets it",
)

# Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout Networks" (2013).


def _check_pieces(x, pieces):
    needs_float("maxout", x)
    if not isinstance(pieces, int) or pieces < 1:
        raise ValueError(f"maxout: pieces must be an integer of at least 1, not {pieces!r}")
    if x.ndim == 0 or x.shape[-1] % pieces:
        raise ValueError(
            f"maxout: the last axis of x, whose shape is {x.shape}, must be a multiple of "
            f"pieces = {pieces}"
        )


def _maxout_forward(x, pieces):
    _check_pieces(x, pieces)
    x = contiguous(x)
    n = x.size // pieces
    y = empty((*x.shape[:-1], x.shape[-1] // pieces), x.dtype, n)
    lib.tga_maxout_forward(x.dtype.code, n, pieces, x.data, y.data)
    return y


def _maxout_fused(parents, gy, y, x, pieces):
    gy, x = contiguous(gy), contiguous(x)
    gx = empty(x.shape, x.dtype, x.size)
    lib.tga_maxout_backward(x.dtype.code, gy.size, pieces, gy.data, x.data, gx.data)
    return (gx,)


def _maxout_vjp(gy, y, x, pieces):
    windows = reshape(x, shape=(*y.shape, pieces))
    open_, closed = y == y, y != y  # open: the largest piece is not yet found
    gradients = []
    for p in range(pieces):
        here = where(open_, getitem(windows, index=(..., p)) == y, open_)
        gradients.append(where(here, gy, 0))
        open_ = where(here, closed, open_)
    return reshape(stack(*gradients, axis=-1), shape=x.shape)


def _sample_maxout(random):
    pieces = random.randint(1, 3)
    shape = nested.draw_shape(random, least=1, most=2)
    shape = (*shape[:-1], shape[-1] * pieces)
    return [nested.draw_distinct(random, shape)], {"pieces": pieces}


def _reference_maxout(x, pieces):
    if isinstance(x[0], list) if x else False:
        return [_reference_maxout(row, pieces) for row in x]
    return [max(x[i : i + pieces]) for i in range(0, len(x), pieces)]


maxout = general(
    "maxout",
    "x",
    forward=_maxout_forward,
    vjp=(_maxout_vjp,),
    fused=_maxout_fused,
    shortcut=("maxout", 0, "x"),
    saves="x y",
    attrs={"pieces": 2},
    sample=_sample_maxout,
    reference=_reference_maxout,
    conventions="neighbours in the last axis, `pieces` at a time, compete; where several are "
    "the largest, the first gets the gradient",
)

ACTIVATIONS.update(softmax=softmax, log_softmax=log_softmax, softmin=softmin)
ACTIVATIONS.update(maxout=maxout, glu=glu)
