"""Dropout: some elements, chosen at random, are dropped, and the others make up for them.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to prevent neural
networks from overfitting" (2014); alpha dropout: Klambauer, Unterthiner, Mayr, Hochreiter,
"Self-normalizing neural networks" (2017).
"""

from math import sqrt

from .. import kernels
from ..array import contiguous, empty
from ..dtype import bool_
from ..op import Attr, composed, general, needs_float
from . import nested
from .activation import identity
from .random import default_generator

lib = kernels.lib

# What selu tends to on the left, -scale * alpha: alpha dropout puts it in place of the dropped.
SELU_LIMIT = -1.7580993408473766


# ---- by a given mask ------------------------------------------------------------------------


def _drop(x, mask, scale, shift, fill):
    needs_float("drop", x)
    if mask.dtype is not bool_:
        raise TypeError(f"drop: the mask must be bool, not {mask.dtype}")
    lead = len(mask.shape)
    while lead and mask.shape[lead - 1] == 1:
        lead -= 1
    if mask.shape[:lead] != x.shape[:lead] or len(mask.shape) > len(x.shape):
        raise ValueError(
            f"drop: x is {x.shape} but the mask is {mask.shape}: it must be of the first axes of "
            f"x, and may end in axes of length 1"
        )
    x, mask = contiguous(x), contiguous(mask)
    y = empty(x.shape, x.dtype, x.size)
    status = lib.tga_dropout_apply(
        x.dtype.code,
        mask.size,
        x.size // mask.size if mask.size else 0,
        kernels.as_bytes(mask.data),
        x.data,
        scale,
        shift,
        fill,
        y.data,
    )
    kernels.check(status, "drop")
    return y


def _sample_drop(random):
    shape = nested.draw_shape(random, empty=False)
    lead = random.randint(0, len(shape))
    mask = (*shape[:lead], *[1] * (len(shape) - lead))
    attrs = {name: random.choice([0.0, 0.5, -1.25, 2.0]) for name in ("scale", "shift", "fill")}
    return [nested.draw_numbers(random, shape), nested.draw_bools(random, mask)], attrs


def _reference_drop(x, mask, scale, shift, fill):
    def one(index):
        at = [0 if n == 1 else i for i, n in zip(index, nested.shape(mask))]
        kept = nested.at(mask, at)
        return nested.at(x, index) * scale + shift if kept else fill + 0 * nested.at(x, index)

    return nested.build(nested.shape(x), one)


drop = general(
    "drop",
    "x mask",
    forward=_drop,
    vjp=(lambda gy, y, x, mask, scale, shift, fill: drop(gy, mask, scale=scale), None),
    saves="mask",
    attrs={"scale": 1.0, "shift": 0.0, "fill": 0.0},
    sample=_sample_drop,
    reference=_reference_drop,
    conventions="x * scale + shift where the mask is true, else fill; the mask is of the first "
    "axes of x, and holds for all that follows",
)


# ---- at random ------------------------------------------------------------------------------


def _checked(op, x, p):
    needs_float(op, x)
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise ValueError(f"{op}: p must be a number from 0 to 1, not {p!r}")


def _dropout(x, p, training):
    _checked("dropout", x, p)
    if not training or p == 0:
        return identity(x)
    mask = default_generator.draw_mask(x.shape, p, "dropout")
    return drop(x, mask, scale=1.0 / (1.0 - p) if p < 1 else 0.0)


def _dropout2d(x, p, training):
    _checked("dropout2d", x, p)
    if len(x.shape) < 2:
        raise ValueError(f"dropout2d: x is {x.shape}, but must be (n, channels, ...)")
    if not training or p == 0:
        return identity(x)
    mask = default_generator.draw_mask(
        (*x.shape[:2], *[1] * (len(x.shape) - 2)), p, "dropout2d"
    )
    return drop(x, mask, scale=1.0 / (1.0 - p) if p < 1 else 0.0)


def _alpha_dropout(x, p, training):
    _checked("alpha_dropout", x, p)
    if not training or p == 0:
        return identity(x)
    mask = default_generator.draw_mask(x.shape, p, "alpha_dropout")
    if p == 1:
        return drop(x, mask)
    a = 1.0 / sqrt((1.0 - p) * (1.0 + p * SELU_LIMIT**2))
    b = -a * p * SELU_LIMIT
    return drop(x, mask, scale=a, shift=b, fill=a * SELU_LIMIT + b)


def _sampler(least):
    def sample(random):
        """Where chance has no say: the mask itself is tested with `drop`."""
        shape = nested.draw_shape(random, least=least)
        training = random.random() < 0.7
        p = random.choice([0.0, 1.0]) if training else random.choice([0.0, 0.25, 1.0])
        return [nested.draw_numbers(random, shape)], {"p": p, "training": training}

    return sample


def _reference(x, p, training):
    if 0 in nested.shape(x):
        return x
    return nested.mapped(lambda v: v * (1 - p) if training else v, x)


dropout = composed(
    "dropout",
    "x",
    forward=_dropout,
    attrs={"p": Attr(0.5, drawn=(0.0, 1.0)), "training": True},
    sample=_sampler(0),
    reference=_reference,
    conventions="each element is 0 with probability p, else divided by 1 - p, so that the mean "
    "stays; x itself where training is False",
)

dropout2d = composed(
    "dropout2d",
    "x",
    forward=_dropout2d,
    attrs={"p": Attr(0.5, drawn=(0.0, 1.0)), "training": True},
    sample=_sampler(2),
    reference=_reference,
    conventions="dropout of whole channels of x, (n, channels, ...)",
)

alpha_dropout = composed(
    "alpha_dropout",
    "x",
    forward=_alpha_dropout,
    attrs={"p": Attr(0.5, drawn=(0.0, 1.0)), "training": True},
    sample=_sampler(0),
    reference=_reference,
    conventions="dropped elements get selu's limit on the left, and all are moved and scaled so "
    "that mean 0 and variance 1 stay; with p = 1 all is 0",
)
