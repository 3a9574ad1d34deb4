"""Losses: how far a prediction x is from a target t, as one number to make small.

The value of an elementwise loss is a formula of x and t; so are its derivatives
with respect to each.  `reduction` is 'mean', 'sum', or 'none' for one value per
element.
"""

from ..array import contiguous, convert, empty
from ..dtype import int64, uint8
from ..op import General, evaluate, general, kernels, needs_float, register
from . import nested
from .activation import log_softmax, sigmoid, softmax
from .arithmetic import abs_, exp, log, log1p, maximum, where
from .reduction import sum_
from .shape import reshape

lib = kernels.lib

REDUCTIONS = ("mean", "sum", "none")


def _scale(reduction, count, op):
    if reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    return 1.0 / count if reduction == "mean" and count else 1.0


class ElementwiseLoss(General):
    """A loss that is a formula f(x, t), with derivatives dx and dt.

    Its kernel computes value and reduction in one pass, and the gradient in another.
    `max_ulp` bounds the error of the value of one element, `dx_ulp` or `dx_abs` (absolute)
    that of its derivative.
    """

    def __init__(self, name, f, dx, dt, domain, max_ulp, dx_ulp=None, dx_abs=None, conventions=""):
        super().__init__(
            name,
            "x t",
            forward=self._forward,
            vjp=(self._vjp_x, self._vjp_t),
            fused=self._fused,
            saves="x t",
            attrs={"reduction": "mean"},
            promotes=1,
            sample=self._sample,
            reference=self._reference,
            max_ulp=max_ulp,
            conventions=conventions,
        )
        self.f, self.dx, self.dt = f, dx, dt
        self.dx_ulp, self.dx_abs = dx_ulp, dx_abs
        self.domain = domain
        self.row = kernels.find("loss", name)

    def _forward(self, x, t, reduction):
        if x.shape != t.shape or not x.dtype.is_float:
            self._refuse(x, t)
        scale = _scale(reduction, x.size, self.name)
        if reduction == "none":
            return evaluate(self.f, x.dtype, x, t)
        x, t = contiguous(x), contiguous(t)
        total = empty((), x.dtype, 1)
        lib.tga_loss_forward(self.row, x.dtype.code, x.size, x.data, t.data, scale, total.data)
        return total

    def _refuse(self, x, t):
        needs_float(self.name, x)
        raise ValueError(
            f"{self.name}: x is {x.shape} but t is {t.shape}: they must be equal; "
            f"reshape one of them"
        )

    def _fused(self, parents, gy, y, x, t, reduction):
        if parents[1] is not None or reduction == "none":
            return [
                parent and rule(gy, y, x, t, reduction)
                for parent, rule in zip(parents, self.vjp, strict=True)
            ]
        x, t = contiguous(x), contiguous(t)
        gx = empty(x.shape, x.dtype, x.size)
        scale = _scale(reduction, x.size, self.name)
        lib.tga_loss_backward(
            self.row, x.dtype.code, x.size, gy.data, x.data, t.data, scale, gx.data
        )
        return gx, None

    def _sample(self, random):
        shape = nested.draw_shape(random, empty=False)
        x, t = [nested.draw_numbers(random, shape, *bounds) for bounds in self.domain]
        return [x, t], {"reduction": random.choice(REDUCTIONS)}

    def _reference(self, x, t, reduction):
        values = nested.mapped(self.f, x, t)
        if reduction == "none":
            return values
        values = nested.flat(values)
        return sum(values) / len(values) if reduction == "mean" else sum(values)

    def _vjp_x(self, gy, y, x, t, reduction):
        scale = _scale(reduction, x.size, self.name)
        return gy * scale * evaluate(self.dx, x.dtype, x, t)

    def _vjp_t(self, gy, y, x, t, reduction):
        scale = _scale(reduction, x.size, self.name)
        return gy * scale * evaluate(self.dt, x.dtype, x, t)


mse = register(
    ElementwiseLoss(
        "mse",
        f=lambda x, t: (x - t) * (x - t),
        dx=lambda x, t: 2 * (x - t),
        dt=lambda x, t: -2 * (x - t),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        max_ulp={"float32": 2.5, "float64": 2.5},
        dx_ulp={"float32": 0.5, "float64": 0.5},
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
    ElementwiseLoss(
        "bce_with_logits",
        f=lambda x, t: maximum(x, 0) - x * t + log1p(exp(-abs_(x))),
        dx=lambda x, t: sigmoid(x) - t,
        dt=lambda x, t: -x,
        domain=((-6.0, 6.0), (0.0, 1.0)),
        max_ulp={"float32": 2.4, "float64": 2.3},
        dx_abs={"float32": 1.5e-7, "float64": 2.7e-16},
        conventions="bce(sigmoid(x), t) without overflow, so that it needs no cutting off",
    )
)


# ---- cross-entropy of classes ---------------------------------------------------------------


def _check_labels(x, labels):
    needs_float("cross_entropy", x)
    if x.ndim not in (1, 2):
        raise ValueError(
            f"cross_entropy: x is {x.shape}, but must be (rows, classes) or (classes,)"
        )
    if labels.dtype not in (int64, uint8):
        raise TypeError(
            f"cross_entropy: labels must be int64, not {labels.dtype}; write labels.astype('int64')"
        )
    if labels.shape != x.shape[:-1]:
        raise ValueError(
            f"cross_entropy: x is {x.shape} but labels are {labels.shape}: "
            f"they must be {x.shape[:-1]}"
        )


def _cross_entropy(x, labels, reduction):
    _check_labels(x, labels)
    rows, classes = x.shape if x.ndim == 2 else (1, *x.shape)
    scale = _scale(reduction, rows, "cross_entropy")
    log_p, total = empty(x.shape, x.dtype, x.size), empty((), x.dtype, 1)
    x = contiguous(x)
    status = lib.tga_cross_entropy_forward(
        x.dtype.code,
        rows,
        classes,
        x.data,
        kernels.as_int64(convert(labels, int64).data),
        scale,
        log_p.data,
        total.data,
    )
    kernels.check(status, "cross_entropy", f": there are {classes} classes, 0 to {classes - 1}")
    if reduction == "none":
        return -sum_(where(_is_label(x, labels), log_p, 0), axis=-1)
    return total


def _is_label(x, labels):
    """Whether an element of x, (rows, classes) or (classes,), is the one that its label names."""
    classes = empty((x.shape[-1],), int64, x.shape[-1])
    lib.tga_arange(int64.code, classes.size, 0, 1, classes.data)
    return reshape(labels, shape=(*labels.shape, 1)) == classes


def _cross_entropy_vjp(gy, y, x, labels, reduction):
    scale = _scale(reduction, x.shape[0] if x.ndim == 2 else 1, "cross_entropy")
    gy = gy * scale
    if reduction == "none":
        gy = reshape(gy, shape=(*labels.shape, 1))
    p = softmax(x, axis=-1)
    return gy * where(_is_label(x, labels), p - 1, p)


def _cross_entropy_fused(parents, gy, y, x, labels, reduction):
    if reduction == "none":
        return _cross_entropy_vjp(gy, y, x, labels, reduction), None
    rows, classes = x.shape if x.ndim == 2 else (1, *x.shape)
    log_p = log_softmax.forward(x, -1)
    gx = empty(x.shape, x.dtype, x.size)
    lib.tga_cross_entropy_backward(
        x.dtype.code,
        rows,
        classes,
        gy.data,
        log_p.data,
        kernels.as_int64(convert(labels, int64).data),
        _scale(reduction, rows, "cross_entropy"),
        gx.data,
    )
    return gx, None


def _sample_cross_entropy(random):
    *rows, classes = nested.draw_shape(random, least=1, most=2, empty=False)
    x = nested.draw_numbers(random, (*rows, classes), -4.0, 4.0)
    labels = nested.build(rows, lambda index: random.randrange(classes))
    return [x, labels], {"reduction": random.choice(REDUCTIONS)}


def _reference_cross_entropy(x, labels, reduction):
    if not isinstance(labels, list):
        top = max(x)
        return log(sum(exp(v - top) for v in x)) - (x[labels] - top)
    values = [_reference_cross_entropy(row, label, "none") for row, label in zip(x, labels)]
    if reduction == "none":
        return values
    return sum(values) / len(values) if reduction == "mean" else sum(values)


cross_entropy = general(
    "cross_entropy",
    "x labels",
    forward=_cross_entropy,
    vjp=(_cross_entropy_vjp, None),
    fused=_cross_entropy_fused,
    saves="x labels",
    attrs={"reduction": "mean"},
    sample=_sample_cross_entropy,
    reference=_reference_cross_entropy,
    conventions="of logits x, (rows, classes), and integer labels, (rows,): -log_softmax(x) at the "
    "label",
)
