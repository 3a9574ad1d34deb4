"""Losses: how far a prediction x is from a target t, as one number to make small.

The value of an elementwise loss is a formula of x and t; so are its derivatives
with respect to each.  `reduction` is 'mean', 'sum', or 'none' for one value per
element.  The mean of nothing is nan.
"""

from math import nan

from .. import kernels
from ..array import (
    Array,
    broadcast_shape,
    contiguous,
    convert,
    empty,
    from_numpy,
    from_python,
    full,
    is_numpy,
    is_whole,
)
from ..dtype import int64, uint8
from ..op import Attr, General, evaluate, general, needs_float, pair, register, unbroadcast
from . import nested
from .activation import log_softmax, sigmoid, softmax
from .arithmetic import abs_, exp, log, log1p, maximum, minimum, sign, sqrt, where
from .reduction import mean, norm, sum_
from .shape import expand, permute, reshape

lib = kernels.lib

REDUCTIONS = ("none", "sum", "mean")  # in the order of enum tga_reduction


def _checked(reduction, op):
    """The reduction's number in C."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    return REDUCTIONS.index(reduction)


def _scale(reduction, count, op):
    _checked(reduction, op)
    if reduction == "mean":
        return 1.0 / count if count else nan
    return 1.0


def _reduced(values, reduction):
    """One value per element, as Array, reduced."""
    if reduction == "none":
        return values
    return (mean if reduction == "mean" else sum_).forward(values, None, False)


def _fixed(value, name, op, dtype):
    """An attribute that may be many numbers, as an Array: no gradient flows to it."""
    if getattr(value, "requires_grad", False):
        raise TypeError(f"{op}: no gradient flows to {name}; write {name}.detach()")
    value = getattr(value, "array", value)
    if is_numpy(value):
        value = from_numpy(value)
    elif not isinstance(value, Array):
        value = from_python(value, dtype)
    return value if value.dtype is dtype else convert(value, dtype)


class ElementwiseLoss(General):
    """A loss that is a formula f(x, t), with derivatives dx and dt.

    Its kernel computes value and reduction in one pass, and the gradient in another.
    `max_ulp` bounds the error of the value of one element, `dx_ulp` or `dx_abs` (absolute)
    that of its derivative.  There may be one attribute, for which `legal` says in words and
    as a function which values it may have; `distance` tells how far (x, t) is from where a
    derivative jumps, for the tests to keep away from there.  With ``symmetric=True``, which says
    that f(x, t) is f(t, x), the kernel serves the gradient of t as well.
    """

    def __init__(
        self,
        name,
        f,
        dx,
        dt,
        domain,
        max_ulp,
        dx_ulp=None,
        dx_abs=None,
        attrs=None,
        legal=None,
        distance=None,
        symmetric=False,
        conventions="",
    ):
        super().__init__(
            name,
            "x t",
            forward=self._forward,
            vjp=(self._vjp_x, self._vjp_t),
            fused=self._fused,
            saves="x t",
            attrs={"reduction": "mean", **(attrs or {})},
            promotes=1,
            sample=self._sample,
            reference=self._reference,
            max_ulp=max_ulp,
            conventions=conventions,
        )
        self.f, self.dx, self.dt = f, dx, dt
        self.dx_ulp, self.dx_abs = dx_ulp, dx_abs
        self.legal = legal
        self.distance = distance
        self.symmetric = symmetric
        self.domain = domain
        self.row = kernels.find("loss", name)

    def _forward(self, x, t, reduction, **attrs):
        if x.shape != t.shape or not x.dtype.is_float:
            self._refuse(x, t)
        scale = _scale(reduction, x.size, self.name)
        a = self._number(attrs) if attrs else 0.0
        if reduction == "none" or a is None:
            return _reduced(self._formula(self.f, x, t, attrs), reduction)
        # the plain case, in C; else None
        if (total := lib.quick_loss(self.row, x, t, a, scale)) is not None:
            return total
        x, t = contiguous(x), contiguous(t)
        total = empty((), x.dtype, 1)
        lib.tga_loss_forward(self.row, x.dtype.code, x.size, x.data, t.data, a, scale, total.data)
        return total

    def _refuse(self, x, t):
        needs_float(self.name, x)
        raise ValueError(
            f"{self.name}: x is {x.shape} but t is {t.shape}: they must be equal; "
            f"reshape one of them"
        )

    def _number(self, attrs):
        """The attribute as C takes it."""
        a = pair(attrs, self.name)[0]
        text, is_legal = self.legal
        if not is_legal(a):
            (name,) = attrs
            raise ValueError(f"{self.name}: {name} must be {text}, not {a}")
        return a

    def _formula(self, formula, x, t, attrs):
        return evaluate(formula, x.dtype, x, t, **attrs)

    def _fused(self, parents, gy, y, x, t, reduction, **attrs):
        a = self._number(attrs) if attrs else 0.0
        by_rules = parents[1] is not None and not self.symmetric
        if by_rules or reduction == "none" or a is None:
            return [
                parent and rule(gy, y, x, t, reduction, **attrs)
                for parent, rule in zip(parents, self.vjp, strict=True)
            ]
        scale = _scale(reduction, x.size, self.name)
        gx = parents[0] and self._gradient(gy, x, t, a, scale)
        gt = parents[1] and self._gradient(gy, t, x, a, scale)
        return gx, gt

    def _gradient(self, gy, x, t, a, scale):
        """That of x, by the kernel."""
        # the plain case, in C; else None
        if (gx := lib.quick_loss_backward(self.row, gy, x, t, a, scale)) is not None:
            return gx
        x, t = contiguous(x), contiguous(t)
        gx = empty(x.shape, x.dtype, x.size)
        lib.tga_loss_backward(
            self.row, x.dtype.code, x.size, gy.data, x.data, t.data, a, scale, gx.data
        )
        return gx

    def _sample(self, random):
        attrs = {
            name: random.randint(round(attr.drawn[0] * 8), round(attr.drawn[1] * 8)) / 8
            for name, attr in self.attrs.items()
            if isinstance(attr, Attr)
        }
        shape = nested.draw_shape(random, empty=False)
        x, t = [nested.draw_numbers(random, shape, *bounds) for bounds in self.domain]
        if self.distance is not None:
            near = nested.mapped(lambda a, b: self.distance(a, b, **attrs) < 1 / 16, x, t)
            if any(nested.flat(near)):
                return self._sample(random)
        return [x, t], {"reduction": random.choice(REDUCTIONS), **attrs}

    def _reference(self, x, t, reduction, **attrs):
        values = nested.mapped(lambda a, b: self.f(a, b, **attrs), x, t)
        return _reference_reduced(values, reduction)

    def _vjp_x(self, gy, y, x, t, reduction, **attrs):
        scale = _scale(reduction, x.size, self.name)
        return gy * scale * self._formula(self.dx, x, t, attrs)

    def _vjp_t(self, gy, y, x, t, reduction, **attrs):
        scale = _scale(reduction, x.size, self.name)
        return gy * scale * self._formula(self.dt, x, t, attrs)


def _numbers(values):
    """The numbers in nested lists and tuples."""
    for value in values:
        yield from _numbers(value) if isinstance(value, (list, tuple)) else (value,)


class WeightedLoss(ElementwiseLoss):
    """An elementwise loss whose attribute may be an array, too, that broadcasts to x.

    Whether its numbers are legal is looked up where they are given as data of Python or of
    NumPy; those of a tensor are not read.
    """

    def _number(self, attrs):
        ((name, value),) = attrs.items()
        if isinstance(value, (float, int)):
            return super()._number(attrs)
        text, is_legal = self.legal
        if is_numpy(value) or isinstance(value, (list, tuple)):
            for number in value.ravel().tolist() if is_numpy(value) else _numbers(value):
                if not is_legal(number):
                    raise ValueError(f"{self.name}: {name} must be {text}, not {number}")
        return None

    def _formula(self, formula, x, t, attrs):
        ((name, value),) = attrs.items()
        if not isinstance(value, (float, int)):
            value = _fixed(value, name, self.name, x.dtype)
            if broadcast_shape(self.name, value.shape, x.shape) != x.shape:
                raise ValueError(
                    f"{self.name}: {name} of shape {value.shape} does not broadcast to x, "
                    f"which is {x.shape}"
                )
        return super()._formula(formula, x, t, {name: value})


def _reference_reduced(values, reduction):
    """The textbook form of a reduction."""
    if reduction == "none":
        return values
    values = nested.flat(values)
    return sum(values) / len(values) if reduction == "mean" else sum(values)


l1 = register(
    ElementwiseLoss(
        "l1",
        f=lambda x, t: abs_(x - t),
        dx=lambda x, t: sign(x - t),
        dt=lambda x, t: sign(t - x),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        max_ulp={"float32": 0.5, "float64": 0.5},
        dx_ulp={"float32": 0, "float64": 0},
        distance=lambda x, t: abs(x - t),
        symmetric=True,
        conventions="the derivative is 0 where x equals t, as that of abs at 0",
    )
)

mse = register(
    ElementwiseLoss(
        "mse",
        f=lambda x, t: (x - t) * (x - t),
        dx=lambda x, t: 2 * (x - t),
        dt=lambda x, t: -2 * (x - t),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        max_ulp={"float32": 2.5, "float64": 2.5},
        dx_ulp={"float32": 0.5, "float64": 0.5},
        symmetric=True,
    )
)

huber = register(
    ElementwiseLoss(
        "huber",
        f=lambda x, t, delta: where(
            abs_(x - t) <= delta,
            0.5 * (x - t) * (x - t),
            delta * (abs_(x - t) - 0.5 * delta),
        ),
        dx=lambda x, t, delta: maximum(-delta, minimum(delta, x - t)),
        dt=lambda x, t, delta: maximum(-delta, minimum(delta, t - x)),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        attrs={"delta": Attr(1.0, drawn=(0.5, 2.0))},
        legal=("positive", lambda delta: delta > 0),
        max_ulp={"float32": 2.5, "float64": 2.5},
        dx_ulp={"float32": 0.5, "float64": 0.5},
        distance=lambda x, t, delta: abs(abs(x - t) - delta),
        symmetric=True,
        conventions="half the square up to delta, and beyond it straight on with slope delta",
    )
)

smooth_l1 = register(
    ElementwiseLoss(
        "smooth_l1",
        f=lambda x, t, beta: where(
            abs_(x - t) < beta, 0.5 * (x - t) * (x - t) / beta, abs_(x - t) - 0.5 * beta
        ),
        dx=lambda x, t, beta: where(abs_(x - t) < beta, (x - t) / beta, sign(x - t)),
        dt=lambda x, t, beta: where(abs_(x - t) < beta, (t - x) / beta, sign(t - x)),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        attrs={"beta": Attr(1.0, drawn=(0.5, 2.0))},
        legal=("0 or positive", lambda beta: beta >= 0),
        max_ulp={"float32": 2.6, "float64": 2.6},
        dx_ulp={"float32": 1.0, "float64": 1.0},
        distance=lambda x, t, beta: abs(abs(x - t) - beta),
        symmetric=True,
        conventions="huber with delta = beta, divided by beta; with beta = 0 it is l1",
    )
)

# log is cut off at -100, and x * (1 - x) at 1e-12 below, so that a prediction of exactly
# 0 or 1 gives a finite loss and gradient, whatever the target.
bce = register(
    ElementwiseLoss(
        "bce",
        f=lambda x, t: -(t * maximum(log(x), -100) + (1 - t) * maximum(log1p(-x), -100)),
        dx=lambda x, t: (x - t) / maximum(x * (1 - x), 1e-12),
        dt=lambda x, t: maximum(log1p(-x), -100) - maximum(log(x), -100),
        domain=((0.05, 0.95), (0.0, 1.0)),
        max_ulp={"float32": 2.6, "float64": 2.4},
        dx_ulp={"float32": 2.8, "float64": 2.7},
        conventions="binary cross-entropy of probabilities x; the logarithms are cut off at -100, "
        "as in PyTorch, so that value and gradient are finite for x in [0, 1]",
    )
)

bce_with_logits = register(
    WeightedLoss(
        "bce_with_logits",
        f=lambda x, t, pos_weight: (
            (pos_weight * t) * maximum(-x, 0)
            + (1 - t) * maximum(x, 0)
            + (pos_weight * t + (1 - t)) * log1p(exp(-abs_(x)))
        ),
        dx=lambda x, t, pos_weight: (1 + (pos_weight - 1) * t) * sigmoid(x) - pos_weight * t,
        dt=lambda x, t, pos_weight: (
            pos_weight * maximum(-x, 0) - maximum(x, 0) + (pos_weight - 1) * log1p(exp(-abs_(x)))
        ),
        domain=((-6.0, 6.0), (0.0, 1.0)),
        attrs={"pos_weight": Attr(1.0, drawn=(0.5, 4.0))},
        legal=("0 or positive", lambda pos_weight: pos_weight >= 0),
        max_ulp={"float32": 3.4, "float64": 3.3},
        dx_abs={"float32": 5e-7, "float64": 1e-15},
        # written in two parts of which one is 0; they meet at x = 0
        distance=lambda x, t, pos_weight: abs(x),
        conventions="bce(sigmoid(x), t) without overflow, so that it needs no cutting off; "
        "pos_weight, a number or an array that broadcasts to x, multiplies the part of t = 1",
    )
)

kl_div = register(
    ElementwiseLoss(
        "kl_div",
        f=lambda x, t: where(t == 0, 0, t * (log(where(t == 0, 1, t)) - x)),
        dx=lambda x, t: -t,
        dt=lambda x, t: log(t) + 1 - x,
        domain=((-8.0, -2.5), (0.25, 1.0)),
        max_ulp={"float32": 3.0, "float64": 3.0},
        dx_ulp={"float32": 0, "float64": 0},
        conventions="of log-probabilities x and probabilities t, as in PyTorch; where t is 0 the "
        "value is 0, whatever x.  'mean' divides by the number of elements, so for a divergence "
        "per row take 'sum' and divide by the rows",
    )
)

hinge = register(
    ElementwiseLoss(
        "hinge",
        f=lambda x, t: maximum(0, 1 - x * t),
        dx=lambda x, t: where(x * t < 1, -t, 0),
        dt=lambda x, t: where(x * t < 1, -x, 0),
        domain=((-3.0, 3.0), (-1.0, 1.0)),
        max_ulp={"float32": 1.0, "float64": 1.0},
        dx_ulp={"float32": 0, "float64": 0},
        distance=lambda x, t: abs(x * t - 1),
        conventions="of a score x and t = 1 or -1; the derivative is 0 where x * t is 1, for "
        "the margin is kept there",
    )
)


# ---- the loss of a class: cross-entropy and nll ---------------------------------------------
#
# Classes lie along axis 1 of x, (rows, classes, ...), or along its only axis.  The kernels
# and the rules take them last.


def _classes_last(x):
    return x if x.ndim < 3 else permute(x, axes=(0, *range(2, x.ndim), 1))


def _classes_second(rows):
    """The inverse of `_classes_last`."""
    last = rows.ndim - 1
    return rows if rows.ndim < 3 else permute(rows, axes=(0, last, *range(1, last)))


def _check_classes(op, x, labels, ignore_index):
    needs_float(op, x)
    if x.ndim == 0:
        raise ValueError(f"{op}: x is (), but must be (classes,) or (rows, classes, ...)")
    if labels.dtype not in (int64, uint8):
        raise TypeError(
            f"{op}: labels must be int64, not {labels.dtype}; write labels.astype('int64')"
        )
    expected = x.shape[: x.ndim > 1] + x.shape[2:]
    if labels.shape != expected:
        raise ValueError(
            f"{op}: x is {x.shape} but labels are {labels.shape}: they must be {expected}"
        )
    if not is_whole(ignore_index):
        raise TypeError(f"{op}: ignore_index must be an integer, not {ignore_index!r}")


def _class_weights(op, weight, rows):
    """The weight of each class as a contiguous Array; of all 1, None."""
    if weight is None:
        return None
    weight = _fixed(weight, "weight", op, rows.dtype)
    if weight.shape != rows.shape[-1:]:
        raise ValueError(f"{op}: weight is {weight.shape}, but there are {rows.shape[-1]} classes")
    return contiguous(weight)


def _given_labels(labels, weight, ignore_index):
    """Labels and weights as C takes them; and the arrays, which must live until then."""
    labels = contiguous(labels if labels.dtype is int64 else convert(labels, int64))
    pointer = kernels.as_int64(labels.data)
    return pointer, kernels.NULL if weight is None else weight.data, ignore_index, labels


def _check_status(status, op, rows):
    kernels.check(status, op, f": there are {rows.shape[-1]} classes, 0 to {rows.shape[-1] - 1}")


def _hits(op, rows, labels, weight, ignore_index):
    """The weight of the class where a row's label names it, else 0; and whether a row counts.

    Both have the classes last, of which the second has one.
    """
    labels = reshape(labels, shape=(*labels.shape, 1))
    classes = empty(rows.shape[-1:], int64, rows.shape[-1])
    lib.tga_arange(int64.code, classes.size, 0, 1, classes.data)
    counts = labels != ignore_index
    weight = _class_weights(op, weight, rows)
    if weight is None:
        weight = full((), 1.0, rows.dtype)
    return where(counts, where(labels == classes, weight, 0), 0), counts


def _row_gradient(gy, reduction, counted):
    """gy for each row, with one class; `counted` is what a mean divides by."""
    if reduction == "none":
        return reshape(gy, shape=(*gy.shape, 1))
    return gy / counted if reduction == "mean" else gy


def _nll(x, labels, reduction, weight, ignore_index):
    _check_classes("nll", x, labels, ignore_index)
    rows = contiguous(_classes_last(x))
    weight = _class_weights("nll", weight, rows)
    number = _checked(reduction, "nll")
    y = empty(labels.shape, x.dtype, labels.size) if number == 0 else empty((), x.dtype, 1)
    *given, _ = _given_labels(labels, weight, ignore_index)
    status = lib.tga_nll_forward(
        x.dtype.code, number, labels.size, rows.shape[-1], rows.data, *given, y.data
    )
    _check_status(status, "nll", rows)
    return y


def _nll_vjp(gy, y, x, labels, reduction, weight, ignore_index):
    # -weight at the label
    rows = _classes_last(x)
    hits, counts = _hits("nll", rows, labels, weight, ignore_index)
    gy = _row_gradient(gy, reduction, sum_(hits))
    return _classes_second(where(counts, -gy * hits, 0))


def _nll_fused(parents, gy, y, x, labels, reduction, weight, ignore_index):
    rows = _classes_last(x)
    weight = _class_weights("nll", weight, rows)
    gx = empty(rows.shape, x.dtype, x.size)
    *given, _ = _given_labels(labels, weight, ignore_index)
    lib.tga_nll_backward(
        x.dtype.code,
        _checked(reduction, "nll"),
        labels.size,
        rows.shape[-1],
        contiguous(gy).data,
        *given,
        gx.data,
    )
    return _classes_second(gx), None


def _target(t, rows, weight, label_smoothing):
    """The probabilities t, smoothed and weighted."""
    t = t * (1.0 - label_smoothing) + label_smoothing / rows.shape[-1]
    weight = _class_weights("cross_entropy", weight, rows)
    return t if weight is None else t * weight


def _cross_entropy(x, labels, reduction, weight, ignore_index, label_smoothing):
    number = _checked(reduction, "cross_entropy")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: label_smoothing must lie between 0 and 1, not {label_smoothing!r}"
        )
    if labels.dtype.is_float and labels.shape == x.shape:
        if ignore_index != -100:
            raise ValueError(
                f"cross_entropy: ignore_index is {ignore_index!r}, but there are no labels to "
                f"ignore: the target, {labels.dtype} of shape {labels.shape}, holds probabilities"
            )
        return _cross_entropy_of_probabilities(x, labels, reduction, weight, label_smoothing)
    _check_classes("cross_entropy", x, labels, ignore_index)
    rows = contiguous(_classes_last(x))
    weight = _class_weights("cross_entropy", weight, rows)
    y = empty(labels.shape, x.dtype, labels.size) if number == 0 else empty((), x.dtype, 1)
    *given, _ = _given_labels(labels, weight, ignore_index)
    status = lib.tga_cross_entropy_forward(
        x.dtype.code,
        number,
        labels.size,
        rows.shape[-1],
        rows.data,
        *given,
        label_smoothing,
        y.data,
    )
    _check_status(status, "cross_entropy", rows)
    return y


def _cross_entropy_of_probabilities(x, t, reduction, weight, label_smoothing):
    needs_float("cross_entropy", x)
    if x.dtype is not t.dtype or x.ndim == 0:
        raise TypeError(
            f"cross_entropy: x is {x.dtype} of shape {x.shape}, but the probabilities are "
            f"{t.dtype}; write t.astype({x.dtype.name!r})"
        )
    rows = _classes_last(x)
    target = _target(_classes_last(t), rows, weight, label_smoothing)
    # a class of probability 0 may have the logit -inf
    terms = where(target == 0, 0, target * log_softmax(rows, axis=-1))
    return _reduced(-sum_(terms, axis=-1), reduction)


def _cross_entropy_vjp(gy, y, x, labels, reduction, weight, ignore_index, label_smoothing):
    # softmax(x) less the target, which adds up to 1 where there are no weights
    rows = _classes_last(x)
    p = softmax(rows, axis=-1)
    if labels.dtype.is_float:
        target = _target(_classes_last(labels), rows, weight, label_smoothing)
        gy = _row_gradient(gy, reduction, x.size / rows.shape[-1])
        return _classes_second(gy * (p * sum_(target, axis=-1, keepdims=True) - target))
    hits, counts = _hits("cross_entropy", rows, labels, weight, ignore_index)
    gy = _row_gradient(gy, reduction, sum_(hits))
    ones, _ = _hits("cross_entropy", rows, labels, None, ignore_index)
    target = _target(ones, rows, weight, label_smoothing)
    difference = p * sum_(target, axis=-1, keepdims=True) - target
    return _classes_second(where(counts, gy * difference, 0))


def _cross_entropy_vjp_t(gy, y, x, t, reduction, weight, ignore_index, label_smoothing):
    rows = _classes_last(x)
    weight = _class_weights("cross_entropy", weight, rows)
    gy = _row_gradient(gy, reduction, x.size / rows.shape[-1]) * (label_smoothing - 1.0)
    gt = gy * log_softmax(rows, axis=-1)
    return _classes_second(gt if weight is None else gt * weight)


def _cross_entropy_fused(
    parents, gy, y, x, labels, reduction, weight, ignore_index, label_smoothing
):
    given = (reduction, weight, ignore_index, label_smoothing)
    if labels.dtype.is_float:
        return (
            parents[0] and _cross_entropy_vjp(gy, y, x, labels, *given),
            parents[1] and _cross_entropy_vjp_t(gy, y, x, labels, *given),
        )
    rows = contiguous(_classes_last(x))
    weight = _class_weights("cross_entropy", weight, rows)
    gx = empty(rows.shape, x.dtype, x.size)
    *given, _ = _given_labels(labels, weight, ignore_index)
    lib.tga_cross_entropy_backward(
        x.dtype.code,
        _checked(reduction, "cross_entropy"),
        labels.size,
        rows.shape[-1],
        contiguous(gy).data,
        rows.data,
        *given,
        label_smoothing,
        gx.data,
    )
    return _classes_second(gx), None


def _sample_classes(random, low, high):
    """Scores, and labels of which some are 0, which may be ignored; and the attributes."""
    rows, classes = nested.draw_shape(random, most=2, empty=False), random.randint(1, 4)
    shape = (*rows[:1], classes, *rows[1:])
    x = nested.draw_numbers(random, shape, low, high)
    labels = nested.build(rows, lambda index: random.randrange(classes))
    weight = [random.randint(1, 8) / 4 for _ in range(classes)]
    ignored = random.choice([-100, -100, 0])
    if ignored == 0 and not any(nested.flat(labels)):
        ignored = -100  # of a mean of nothing there is no derivative
    return [x, labels], {
        "reduction": random.choice(REDUCTIONS),
        "weight": random.choice([None, weight]),
        "ignore_index": ignored,
    }


def _sample_cross_entropy(random):
    [x, labels], attrs = _sample_classes(random, -4.0, 4.0)
    if random.random() < 0.3:
        labels = nested.draw_numbers(random, nested.shape(x), 0.0625, 1.0)
        attrs["ignore_index"] = -100
    return [x, labels], {**attrs, "label_smoothing": random.choice([0.0, 0.0, 0.25])}


def _places(shape):
    """For each row the places of its classes in x."""
    if len(shape) == 1:
        return [((), [(c,) for c in range(shape[0])])]
    lengths = (shape[0], *shape[2:])
    return [
        (index, [(index[0], c, *index[1:]) for c in range(shape[1])])
        for index in nested.indices(lengths)
    ]


def _reference_nll(x, labels, reduction, weight, ignore_index, target_of=None):
    places = _places(nested.shape(x))
    weight = weight or [1.0] * len(places[0][1])
    values, counted = [], []
    for index, row in places:
        label = nested.at(labels, index)
        if label == ignore_index:
            values.append(0.0)
            continue
        target = target_of(label) if target_of else [float(c == label) for c in range(len(row))]
        values.append(-sum(w * t * nested.at(x, c) for w, t, c in zip(weight, target, row) if t))
        counted.append(weight[label])
    if reduction == "none":
        return nested.nest(values, nested.shape(labels))
    return sum(values) / sum(counted) if reduction == "mean" else sum(values)


def _reference_cross_entropy(x, labels, reduction, weight, ignore_index, label_smoothing):
    shape = nested.shape(x)
    places = _places(shape)
    logarithms = {}
    for _, row in places:
        top = max(nested.at(x, c) for c in row)
        total = log(sum(exp(nested.at(x, c) - top) for c in row))
        logarithms.update({c: nested.at(x, c) - top - total for c in row})
    log_p = nested.build(shape, logarithms.__getitem__)

    def smoothed(target):
        return [(1 - label_smoothing) * t + label_smoothing / len(target) for t in target]

    classes = len(places[0][1])
    if nested.shape(labels) != shape:
        return _reference_nll(
            log_p,
            labels,
            reduction,
            weight,
            ignore_index,
            lambda label: smoothed([float(c == label) for c in range(classes)]),
        )
    values = [
        -sum(
            w * t * nested.at(log_p, c)
            for w, t, c in zip(
                weight or [1.0] * classes, smoothed([nested.at(labels, c) for c in row]), row
            )
        )
        for _, row in places
    ]
    if reduction == "none":
        return nested.nest(values, shape[: len(shape) > 1] + shape[2:])
    return _reference_reduced(values, reduction)


nll = general(
    "nll",
    "x labels",
    forward=_nll,
    vjp=(_nll_vjp, None),
    fused=_nll_fused,
    saves="x labels",
    attrs={"reduction": "mean", "weight": None, "ignore_index": -100},
    sample=lambda random: _sample_classes(random, -6.0, 0.0),
    reference=_reference_nll,
    conventions="-x at the label, times its weight, of log-probabilities x, (rows, classes, ...), "
    "and integer labels, (rows, ...); rows whose label is ignore_index count nothing.  'mean' "
    "divides by the weights of the labels that count, as in PyTorch; if none does, it is nan, "
    "and the gradient 0",
)

cross_entropy = general(
    "cross_entropy",
    "x labels",
    forward=_cross_entropy,
    vjp=(_cross_entropy_vjp, _cross_entropy_vjp_t),
    fused=_cross_entropy_fused,
    saves="x labels",
    attrs={"reduction": "mean", "weight": None, "ignore_index": -100, "label_smoothing": 0.0},
    sample=_sample_cross_entropy,
    reference=_reference_cross_entropy,
    conventions="nll of log_softmax of the logits x.  Instead of labels there may be the "
    "probabilities of all classes, in the shape of x; then 'mean' divides by the rows.  "
    "label_smoothing is the part of the target that is spread evenly over all classes",
)


# ---- the angle between two vectors ----------------------------------------------------------


def _met(x, y):
    """Both in the shape in which they meet."""
    shape = broadcast_shape("cosine_similarity", x.shape, y.shape)
    return [v if v.shape == shape else expand(v, shape=shape) for v in (x, y)]


def _direction(x, axis, eps):
    """x divided by its length, and the length; one below eps counts as eps."""
    length = maximum(norm(x, axis=axis, keepdims=True), eps)
    return x / length, length


def _cosine(u, v, axis, keepdims=False):
    return sum_(u * v, axis=axis, keepdims=keepdims)


def _cosine_similarity(x, y, axis, eps):
    needs_float("cosine_similarity", x)
    x, y = _met(x, y)
    return _cosine(_direction(x, axis, eps)[0], _direction(y, axis, eps)[0], axis)


def _cosine_vjp(gz, x, y, axis, eps):
    """With respect to x: of the direction of y, the part across x, by the length of x."""
    a, b = _met(x, y)
    (u, length), (v, _) = _direction(a, axis, eps), _direction(b, axis, eps)
    along = where(length > eps, _cosine(u, v, axis, keepdims=True), 0)
    gx = reshape(gz, shape=length.shape) * (v - along * u) / length
    return gx if gx.shape == x.shape else unbroadcast(gx, x.shape)


def _sample_cosine(random):
    whole = nested.draw_shape(random, least=1, empty=False)
    axis = nested.draw_axis(random, len(whole))
    shapes = [tuple(1 if random.random() < 0.2 else n for n in whole) for _ in range(2)]
    # all of one sign: no length or product is small
    x, y = [nested.draw_numbers(random, shape, 0.25, 2.0) for shape in shapes]
    return [x, y], {"axis": axis, "eps": 1e-8}


def _reference_cosine(x, y, axis, eps):
    shape = nested.broadcast(nested.shape(x), nested.shape(y))
    x, y = nested.repeat(x, shape), nested.repeat(y, shape)
    axis %= len(shape)

    def one(index):
        line = [(*index[:axis], i, *index[axis:]) for i in range(shape[axis])]
        p, q = [[nested.at(v, place) for place in line] for v in (x, y)]
        lengths = [maximum(sqrt(sum(a * a for a in v)), eps) for v in (p, q)]
        return sum(a * b for a, b in zip(p, q)) / (lengths[0] * lengths[1])

    return nested.build(shape[:axis] + shape[axis + 1 :], one)


cosine_similarity = general(
    "cosine_similarity",
    "x y",
    forward=_cosine_similarity,
    vjp=(
        lambda gz, z, x, y, axis, eps: _cosine_vjp(gz, x, y, axis, eps),
        lambda gz, z, x, y, axis, eps: _cosine_vjp(gz, y, x, axis, eps),
    ),
    output="z",
    saves="x y",
    attrs={"axis": -1, "eps": 1e-8},
    promotes=1,
    sample=_sample_cosine,
    reference=_reference_cosine,
    conventions="x . y / (|x| |y|) along an axis, the last by default, after broadcasting; a "
    "length below eps counts as eps, so of a vector of zeros it is 0",
)
