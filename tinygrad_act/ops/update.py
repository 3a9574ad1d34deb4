"""Updates: one step of an optimizer, in place, over all parameters in one call.

As an op, an update is declared once: its record states the published formula, and the
kernel in ``csrc/update.c`` is compared with it.  In a formula p is the parameter before the
step, g its gradient, lr the learning rate and t the number of this step, from 1 on; what
the update remembers of earlier steps begins with zeros.
"""

from .. import kernels
from ..array import contiguous, convert, copy_into, full, mark_all_written
from ..dtype import float64
from ..op import Attr
from .arithmetic import sqrt

lib = kernels.lib

UPDATES = {}  # name -> Update


class Update:
    """The record of one way to update parameters.

    Attributes
    ----------
    name : str
    state : tuple of str
        What is remembered for each parameter, in arrays of its shape.
    settings : dict from str to Attr
        Numbers that stay the same from step to step.
    formula : function (p, g, *state, lr, t, **settings) -> (p, *state)
        The published update of one number.
    kernel : function (group, gradients, **settings) -> status
        The same in C: of a `Group`, and the C list of its gradients.
    source : str
        Where it was published.
    counts : bool
        Whether the number of the step matters, so that it is counted.
    """

    def __init__(self, name, *, state="", settings=None, formula, kernel, source, counts=False):
        self.name = name
        self.state = tuple(state.split())
        self.settings = settings or {}
        self.formula = formula
        self.kernel = kernel
        self.source = source
        self.counts = counts
        UPDATES[name] = self

    def __repr__(self):
        return f"<update {self.name}>"


class Group:
    """Parameters that are updated together, as C sees them: addresses and sizes.

    Parameters
    ----------
    update : Update
    arrays : sequence of Array
        The parameters: contiguous, and of one dtype.
    states : sequence of sequence of Array
        For each name in ``update.state``, an array per parameter.
    lr, step : Array
        The learning rate and the count of the updates so far: one float64 each, that C reads.
    """

    def __init__(self, update, arrays, states, lr, step):
        self.update = update
        self.written = [*arrays, *[s for state in states for s in state]]
        self.read = [lr, step]  # the two lists keep all memory as long as this group is used
        self.code = arrays[0].dtype.code
        self.count = len(arrays)
        self.pointers = kernels.pointers([p.data for p in arrays])
        self.sizes = kernels.integers([p.size for p in arrays])
        self.states = [kernels.pointers([s.data for s in state]) for state in states]
        self.lr = kernels.as_float64(lr.data)
        self.step = kernels.as_float64(step.data)

    def apply(self, gradients, settings):
        """One step, given the gradient of each parameter, of its shape and dtype."""
        gradients = [g if g.strides is None else contiguous(g) for g in gradients]
        if kernels.recorder is not None:
            kernels.recorder.note_used(self.read)
        mark_all_written(self.written, self.update.name)
        self.update.kernel(self, kernels.pointers_to(gradients), **settings)


# ---- the updates ----------------------------------------------------------------------------

WEIGHT_DECAY = Attr(0.0, drawn=(0.0, 0.5))


def _sgd_kernel(group, g, weight_decay):
    return lib.tga_sgd(
        group.code, group.count, group.pointers, g, group.sizes, group.lr, weight_decay
    )


def _sgd(p, g, lr, t, weight_decay):
    return (p - lr * (g + weight_decay * p),)


sgd = Update(
    "sgd",
    settings={"weight_decay": WEIGHT_DECAY},
    formula=_sgd,
    kernel=_sgd_kernel,
    source="Robbins and Monro, A stochastic approximation method (1951)",
)


def _momentum_kernel(group, g, momentum, nesterov, weight_decay):
    return lib.tga_momentum(
        group.code,
        group.count,
        group.pointers,
        g,
        group.states[0],
        group.sizes,
        group.lr,
        momentum,
        nesterov,
        weight_decay,
    )


def _momentum(p, g, velocity, lr, t, momentum, nesterov, weight_decay):
    g = g + weight_decay * p
    velocity = momentum * velocity + g
    return p - lr * (g + momentum * velocity if nesterov else velocity), velocity


momentum = Update(
    "momentum",
    state="velocity",
    settings={
        "momentum": Attr(0.9, drawn=(0.0, 1.0)),
        "nesterov": Attr(False, drawn=(False, True)),
        "weight_decay": WEIGHT_DECAY,
    },
    formula=_momentum,
    kernel=_momentum_kernel,
    source="Polyak, Some methods of speeding up the convergence of iteration methods (1964); "
    "Nesterov's form as in Sutskever, Martens, Dahl, Hinton, On the importance of "
    "initialization and momentum in deep learning (2013), with the rate outside",
)


def _adam_kernel(decoupled):
    def kernel(group, g, beta1, beta2, eps, weight_decay):
        return lib.tga_adam(
            group.code,
            group.count,
            group.pointers,
            g,
            *group.states,
            group.sizes,
            group.lr,
            group.step,
            beta1,
            beta2,
            eps,
            weight_decay,
            decoupled,
        )

    return kernel


def _adam(p, g, m, v, lr, t, beta1, beta2, eps, weight_decay):
    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    m_unbiased = m / (1 - beta1**t)
    v_unbiased = v / (1 - beta2**t)
    return p - lr * m_unbiased / (sqrt(v_unbiased) + eps), m, v


def _adamw(p, g, m, v, lr, t, beta1, beta2, eps, weight_decay):
    decay = lr * weight_decay * p
    p, m, v = _adam(p, g, m, v, lr, t, beta1, beta2, eps, 0)
    return p - decay, m, v


ADAM_SETTINGS = {
    "beta1": Attr(0.9, drawn=(0.5, 0.99)),
    "beta2": Attr(0.999, drawn=(0.5, 0.999)),
    "eps": Attr(1e-8, drawn=(1e-8, 1e-3)),
    "weight_decay": WEIGHT_DECAY,
}

adam = Update(
    "adam",
    state="m v",
    settings=ADAM_SETTINGS,
    formula=_adam,
    kernel=_adam_kernel(0),
    source="Kingma and Ba, Adam: a method for stochastic optimization (2015), algorithm 1",
    counts=True,
)

adamw = Update(
    "adamw",
    state="m v",
    settings={**ADAM_SETTINGS, "weight_decay": Attr(0.01, drawn=(0.0, 0.5))},
    formula=_adamw,
    kernel=_adam_kernel(1),
    source="Loshchilov and Hutter, Decoupled weight decay regularization (2019), algorithm 2, "
    "with the decay times the rate, as usual since",
    counts=True,
)


def _rmsprop_kernel(group, g, alpha, eps, weight_decay):
    return lib.tga_rmsprop(
        group.code,
        group.count,
        group.pointers,
        g,
        group.states[0],
        group.sizes,
        group.lr,
        alpha,
        eps,
        weight_decay,
    )


def _rmsprop(p, g, s, lr, t, alpha, eps, weight_decay):
    g = g + weight_decay * p
    s = alpha * s + (1 - alpha) * g * g
    return p - lr * g / (sqrt(s) + eps), s


rmsprop = Update(
    "rmsprop",
    state="s",
    settings={
        "alpha": Attr(0.99, drawn=(0.5, 0.99)),
        "eps": Attr(1e-8, drawn=(1e-8, 1e-3)),
        "weight_decay": WEIGHT_DECAY,
    },
    formula=_rmsprop,
    kernel=_rmsprop_kernel,
    source="Tieleman and Hinton, Neural networks for machine learning (2012), lecture 6.5",
)


def _adagrad_kernel(group, g, eps, weight_decay):
    return lib.tga_adagrad(
        group.code,
        group.count,
        group.pointers,
        g,
        group.states[0],
        group.sizes,
        group.lr,
        eps,
        weight_decay,
    )


def _adagrad(p, g, s, lr, t, eps, weight_decay):
    g = g + weight_decay * p
    s = s + g * g
    return p - lr * g / (sqrt(s) + eps), s


adagrad = Update(
    "adagrad",
    state="s",
    settings={"eps": Attr(1e-10, drawn=(1e-8, 1e-3)), "weight_decay": WEIGHT_DECAY},
    formula=_adagrad,
    kernel=_adagrad_kernel,
    source="Duchi, Hazan, Singer, Adaptive subgradient methods for online learning and "
    "stochastic optimization (2011), with a diagonal matrix",
)


# ---- clipping -------------------------------------------------------------------------------


def _in_place(gradients, work):
    """Call ``work(code, count, pointers, sizes)`` for the gradients of each dtype."""
    by_dtype = {}
    for g in gradients:
        by_dtype.setdefault(g.dtype, []).append(g)
    for dtype, arrays in by_dtype.items():
        whole = [g if g.strides is None else convert(g, g.dtype) for g in arrays]
        pointers = kernels.pointers([g.data for g in whole])
        sizes = kernels.integers([g.size for g in whole])
        work(dtype.code, len(whole), pointers, sizes)
        for g, clipped in zip(arrays, whole, strict=True):
            if clipped is not g:
                copy_into(g, clipped)


def clip_value(gradients, bound):
    """Put every element of the gradients, a sequence of Array, into [-bound, bound]."""
    mark_all_written(gradients, "clip_grad_value_")
    _in_place(gradients, lambda *listed: lib.tga_clip_value(*listed, bound))


def clip_norm(gradients, max_norm):
    """Scale the gradients so that the norm of all of them together is at most `max_norm`.

    Source: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural
    networks" (2013), algorithm 1.

    Returns
    -------
    Array
        The norm before, one float64.
    """
    mark_all_written(gradients, "clip_grad_norm_")
    total = full((), 0.0, float64)
    squares = kernels.as_float64(total.data)
    _in_place(gradients, lambda *listed: lib.tga_sum_squares(*listed, squares))
    norm = sqrt.forward(total)
    pointer = kernels.as_float64(norm.data)
    _in_place(gradients, lambda *listed: lib.tga_clip_norm(*listed, pointer, max_norm))
    return norm
