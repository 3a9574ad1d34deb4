"""Optimizers: how parameters follow their gradients; schedules of the rate; clipping."""

import math

from .arguments import flag, function, number, whole
from .creation import full, zeros
from .ops import update
from .state import restore
from .tensor import Tensor, _wrap


class Optimizer:
    """What all optimizers share; see `SGD`, `Adam`, `AdamW`, `RMSprop` and `Adagrad`.

    A step updates all parameters of one dtype in one call of C.  The learning rate and the
    count of the steps lie in memory that C reads, so that a step which was captured follows
    when they change.

    Attributes
    ----------
    parameters : list of Tensor
    lr_tensor : Tensor
        The learning rate: one float64, of shape ().
    state : list of dict from str to Tensor
        For each parameter, what the update remembers; zeros at first.
    """

    def __init__(self, parameters, lr, rule, settings):
        self.parameters = _checked_parameters(type(self).__name__, parameters)
        self.lr_tensor = full((), 0.0, dtype="float64")
        self.lr = lr
        self._rule = rule
        self._settings = settings
        self.state = [
            {name: zeros(p.shape, dtype=p.dtype) for name in rule.state} for p in self.parameters
        ]
        # One count for each parameter, since one without gradient is left out of a step.
        # Those that have always been updated together form a group, and share its first's.
        self._counts = [full((), 0.0, dtype="float64") for _ in self.parameters]
        self._stepped = False
        by_dtype = {}
        for i, p in enumerate(self.parameters):
            by_dtype.setdefault(p.dtype, []).append(i)
        self._groups = [self._group(indices) for indices in by_dtype.values()]

    def _group(self, indices):
        arrays = [self.parameters[i].array for i in indices]
        states = [[self.state[i][name].array for i in indices] for name in self._rule.state]
        counted = self._counts[indices[0]].array
        group = update.Group(self._rule, arrays, states, self.lr_tensor.array, counted)
        return indices, [self.parameters[i] for i in indices], group

    @property
    def lr(self):
        """The learning rate; can be set to any number that is not negative."""
        return self.lr_tensor.item()

    @lr.setter
    def lr(self, value):
        self.lr_tensor.fill_(number(type(self).__name__, "lr", value, 0))

    def step(self):
        """Update every parameter that has a gradient."""
        for entry in self._groups:
            indices, parameters, group = entry
            try:
                gradients = [p.node.grad.array for p in parameters]
            except AttributeError:  # some have none
                if not any(p.grad is not None for p in parameters):
                    continue
                parameters, group = self._split(entry)
                gradients = [p.node.grad.array for p in parameters]
            group.apply(gradients, self._settings)
        self._stepped = True

    def _split(self, entry):
        """Part a group in those with gradient, whose entry's end is returned, and those without."""
        indices = entry[0]
        updated = [i for i in indices if self.parameters[i].grad is not None]
        others = [i for i in indices if self.parameters[i].grad is None]
        if self._stepped and self._rule.counts:
            for first in (updated[0], others[0]):
                if first != indices[0]:
                    self._counts[first].copy_(self._counts[indices[0]])
        parts = [self._group(updated), self._group(others)]
        self._groups = [one for one in self._groups if one is not entry] + parts
        return parts[0][1:]

    def zero_grad(self):
        """Forget the gradients."""
        for p in self.parameters:
            if p.node is not None:  # which it is, if it was frozen
                p.node.grad = None

    def state_dict(self):
        """All that a later step depends on but the parameters: a dict from str to Tensor.

        The rate, and per parameter what is remembered of earlier steps, with the parameter's
        position at the end of the name; all of it copied.
        """
        return {name: tensor.clone() for name, tensor in self._named_state().items()}

    def _named_state(self):
        named = {"lr": self.lr_tensor}
        for i, state in enumerate(self.state):
            named |= {f"{name}.{i}": tensor for name, tensor in state.items()}
        if self._rule.counts:
            for indices, _, _ in self._groups:
                named |= {f"step.{i}": self._counts[indices[0]] for i in indices}
        return named

    def load_state_dict(self, state):
        """Go on from a state that `state_dict` of such an optimizer returned.

        Raises
        ------
        ValueError
            If names, shapes or dtypes differ; the message lists all differences, and the
            optimizer is as it was.
        """
        kept = self._named_state()
        if self._rule.counts:
            kept |= {f"step.{i}": counted for i, counted in enumerate(self._counts)}
        restore(type(self).__name__, kept, state)
        together = {}
        for i, p in enumerate(self.parameters):
            together.setdefault((p.dtype, self._counts[i].item()), []).append(i)
        self._groups = [self._group(indices) for indices in together.values()]
        self._stepped = True

    def __reduce_ex__(self, protocol):
        name = type(self).__name__
        raise TypeError(
            f"{name}: an optimizer follows its own parameters and can be neither copied nor "
            f"pickled; make a new {name} for the other parameters, and give it the state with "
            f"load_state_dict(optimizer.state_dict())"
        )

    def __repr__(self):
        settings = "".join(f", {name}={value}" for name, value in self._settings.items())
        return f"{type(self).__name__}({len(self.parameters)} parameters, lr={self.lr:g}{settings})"


def _checked_parameters(owner, parameters):
    if isinstance(parameters, Tensor):
        raise TypeError(f"{owner}: parameters must be several Tensors; of one, write [x]")
    try:
        parameters = list(parameters)
    except TypeError:
        hint = "; write model.parameters()" if hasattr(parameters, "parameters") else ""
        raise TypeError(f"{owner}: parameters must be Tensors, not {parameters!r}{hint}") from None
    if not parameters:
        raise ValueError(f"{owner}: there are no parameters")
    for p in parameters:
        if not isinstance(p, Tensor):
            raise TypeError(f"{owner}: parameters must be Tensors, not {p!r}")
        if p.node is None or p.node.op is not None:
            raise ValueError(f"{owner}: a parameter must be a leaf that requires a gradient")
        if p.array.strides is not None:
            raise ValueError(
                f"{owner}: a parameter, of shape {p.shape}, is a view with gaps or another order "
                f"of axes; make it a leaf of its own, with Tensor(x, requires_grad=True)"
            )
    if len({id(p) for p in parameters}) < len(parameters):
        raise ValueError(f"{owner}: a parameter is given twice")
    return parameters


def _fraction(owner, name, value):
    """Of a running mean how much stays: from 0 on, and below 1, which would never move."""
    if number(owner, name, value, 0, 1) == 1:
        raise ValueError(f"{owner}: {name} is {value}, but must be below 1")
    return float(value)


class SGD(Optimizer):
    """Gradient descent: p -= lr * p.grad; or, with momentum, along a running sum of gradients.

    Parameters
    ----------
    parameters : iterable of Tensor
        Leaves that require a gradient.
    lr : float
        The learning rate.
    momentum : float
        How much of the last velocity stays: v = momentum * v + p.grad; p -= lr * v.
        Default: 0.
    weight_decay : float
        ``weight_decay * p`` is added to the gradient.  Default: 0.
    nesterov : bool
        Go along p.grad + momentum * v instead of v.  Default: False.

    Raises
    ------
    TypeError, ValueError
        If there are no parameters, if one is no leaf or given twice, for a number that is
        negative, or for `nesterov` without momentum.

    Examples
    --------
    >>> p = Tensor([1.0], requires_grad=True)
    >>> (p * p).sum().backward()
    >>> SGD([p], lr=0.25).step()
    >>> p.tolist()
    [0.5]
    """

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        settings = {"weight_decay": number("SGD", "weight_decay", weight_decay, 0)}
        momentum = number("SGD", "momentum", momentum, 0)
        flag("SGD", "nesterov", nesterov)
        if momentum:
            settings |= {"momentum": momentum, "nesterov": nesterov}
        elif nesterov:
            raise ValueError("SGD: nesterov needs a momentum above 0")
        super().__init__(parameters, lr, update.momentum if momentum else update.sgd, settings)


class Adam(Optimizer):
    """Steps of about lr in each direction: the mean gradient over its root mean square.

    Parameters
    ----------
    parameters, lr : as of `SGD`; lr default: 0.001
    betas : pair of float
        How much stays of the running means of gradients and of their squares.
        Default: (0.9, 0.999).
    eps : float
        Added to the root.  Default: 1e-8.
    weight_decay : float
        ``weight_decay * p`` is added to the gradient.  Default: 0.

    Notes
    -----
    Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.
    """

    def __init__(self, parameters, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        settings = _adam_settings("Adam", betas, eps, weight_decay)
        super().__init__(parameters, lr, update.adam, settings)


class AdamW(Optimizer):
    """Adam with weight decay on the parameter itself: p -= lr * weight_decay * p.

    Parameters
    ----------
    parameters, lr, betas, eps : as of `Adam`
    weight_decay : float
        Default: 0.01.

    Notes
    -----
    Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2.
    """

    def __init__(self, parameters, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        settings = _adam_settings("AdamW", betas, eps, weight_decay)
        super().__init__(parameters, lr, update.adamw, settings)


def _adam_settings(owner, betas, eps, weight_decay):
    try:
        beta1, beta2 = betas
    except (TypeError, ValueError):
        raise TypeError(f"{owner}: betas must be two numbers, not {betas!r}") from None
    return {
        "beta1": _fraction(owner, "betas[0]", beta1),
        "beta2": _fraction(owner, "betas[1]", beta2),
        "eps": number(owner, "eps", eps, 0),
        "weight_decay": number(owner, "weight_decay", weight_decay, 0),
    }


class RMSprop(Optimizer):
    """The gradient over the root of the running mean of its squares.

    Parameters
    ----------
    parameters, lr : as of `SGD`; lr default: 0.01
    alpha : float
        How much of the running mean stays.  Default: 0.99.
    eps, weight_decay : as of `Adam`

    Notes
    -----
    Tieleman and Hinton, "Neural networks for machine learning" (2012), lecture 6.5.
    """

    def __init__(self, parameters, lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0):
        settings = {
            "alpha": _fraction("RMSprop", "alpha", alpha),
            "eps": number("RMSprop", "eps", eps, 0),
            "weight_decay": number("RMSprop", "weight_decay", weight_decay, 0),
        }
        super().__init__(parameters, lr, update.rmsprop, settings)


class Adagrad(Optimizer):
    """The gradient over the root of the sum of its squares so far.

    Parameters
    ----------
    parameters, lr : as of `SGD`; lr default: 0.01
    eps : float
        Default: 1e-10.
    weight_decay : as of `Adam`

    Notes
    -----
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization" (2011), with a diagonal matrix.
    """

    def __init__(self, parameters, lr=0.01, eps=1e-10, weight_decay=0.0):
        settings = {
            "eps": number("Adagrad", "eps", eps, 0),
            "weight_decay": number("Adagrad", "weight_decay", weight_decay, 0),
        }
        super().__init__(parameters, lr, update.adagrad, settings)


# ---- clipping: between backward and step ----------------------------------------------------


def _gradients(name, parameters):
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for p in parameters:
        if not isinstance(p, Tensor):
            raise TypeError(f"{name}: parameters must be Tensors, not {p!r}")
    return [p.grad.array for p in parameters if p.grad is not None]


def clip_grad_value_(parameters, clip_value):
    """Put every element of the gradients into [-clip_value, clip_value], in place.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without gradient are passed over.
    clip_value : float
        At least 0.

    Examples
    --------
    >>> p = Tensor([1.0, 2.0], requires_grad=True)
    >>> (p * Tensor([100.0, -0.25])).sum().backward()
    >>> clip_grad_value_([p], 0.5)
    >>> p.grad.tolist()
    [0.5, -0.25]
    """
    number("clip_grad_value_", "clip_value", clip_value, 0)
    update.clip_value(_gradients("clip_grad_value_", parameters), float(clip_value))


def clip_grad_norm_(parameters, max_norm):
    """Scale the gradients, in place, so that their norm, of all together, is at most max_norm.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without gradient are passed over.
    max_norm : float
        At least 0.

    Returns
    -------
    Tensor
        The norm before: one float64.  Where it is nan, the gradients stay as they are.

    Notes
    -----
    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks"
    (2013), algorithm 1.

    Examples
    --------
    >>> p = Tensor([1.0, 2.0], requires_grad=True)
    >>> (p * Tensor([30.0, 40.0])).sum().backward()
    >>> clip_grad_norm_([p], 5.0).item(), p.grad.tolist()
    (50.0, [3.0, 4.0])
    """
    number("clip_grad_norm_", "max_norm", max_norm, 0)
    return _wrap(update.clip_norm(_gradients("clip_grad_norm_", parameters), max_norm), None)


# ---- schedules: the rate of each step, known ahead ------------------------------------------


class Schedule:
    """The learning rate as a function of the number of the step, which begins with 0.

    Parameters
    ----------
    rate : function (int) -> float

    Examples
    --------
    >>> halved = step_decay(0.8, every=2, factor=0.5)
    >>> halved(3), halved.values(5)
    (0.4, [0.8, 0.8, 0.4, 0.4, 0.2])
    >>> sgd = SGD([Tensor([1.0], requires_grad=True)], lr=halved(0))
    >>> for k in range(5):
    ...     sgd.lr = halved(k)
    ...     sgd.step()
    """

    def __init__(self, rate):
        self._rate = function("Schedule", "rate", rate)

    def __call__(self, step):
        if whole("Schedule", "step", step) < 0:
            raise ValueError(f"Schedule: there is no step {step}")
        return float(self._rate(step))

    def values(self, n, start=0):
        """The rates of `n` steps from number `start` on: a list of float."""
        return [self(step) for step in range(start, start + n)]


def constant(lr):
    """The same rate at every step."""
    number("constant", "lr", lr, 0)
    return Schedule(lambda step: lr)


def step_decay(lr, every, factor=0.1):
    """lr * factor ** (step // every): lower by `factor` after each `every` steps."""
    number("step_decay", "lr", lr, 0)
    number("step_decay", "factor", factor, 0)
    whole("step_decay", "every", every, least=1)
    return Schedule(lambda step: lr * factor ** (step // every))


def exponential(lr, factor):
    """lr * factor ** step."""
    number("exponential", "lr", lr, 0)
    number("exponential", "factor", factor, 0)
    return Schedule(lambda step: lr * factor**step)


def _half_cosine(first, last, share):
    """From `first` at share 0 to `last` at share 1, level at both ends."""
    return last + (first - last) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def cosine(lr, steps, last=0.0):
    """Half a cosine from `lr` down to `last` over `steps` steps, then `last`.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts"
    (2017), equation 5, one period.
    """
    number("cosine", "lr", lr, 0)
    number("cosine", "last", last, 0)
    whole("cosine", "steps", steps, least=1)
    return Schedule(lambda step: _half_cosine(lr, last, step / steps))


def one_cycle(lr, steps, rise=0.3, first=None, last=None):
    """From `first` up to `lr` and down to `last`, each along half a cosine, in `steps` steps.

    Parameters
    ----------
    lr : float
        The highest rate.
    steps : int
        Of the whole training, at least 2; afterwards the rate stays at `last`.
    rise : float
        The share of the steps on the way up.  Default: 0.3.
    first : float, optional
        Default: lr / 25.
    last : float, optional
        Default: first / 10000.

    Notes
    -----
    Smith and Topin, "Super-convergence: very fast training of neural networks using large
    learning rates" (2018), in the form with cosines.
    """
    number("one_cycle", "lr", lr, 0)
    whole("one_cycle", "steps", steps, least=2)
    if not 0 < number("one_cycle", "rise", rise) < 1:
        raise ValueError(f"one_cycle: rise is {rise}, but must be above 0 and below 1")
    first = lr / 25 if first is None else number("one_cycle", "first", first, 0)
    last = first / 1e4 if last is None else number("one_cycle", "last", last, 0)
    top = rise * steps - 1  # the step of the highest rate; perhaps between two

    def rate(step):
        if step < top:
            return _half_cosine(first, lr, step / top)
        return _half_cosine(lr, last, (step - top) / (steps - 1 - top))

    return Schedule(rate)


def warm_up(schedule, steps):
    """Rates that rise evenly over `steps` steps to the first of `schedule`, which then follows.

    Parameters
    ----------
    schedule : Schedule or float
    steps : int

    Notes
    -----
    Goyal and others, "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017),
    section 2.2.

    Examples
    --------
    >>> warm_up(0.5, 4).values(6)
    [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
    """
    whole("warm_up", "steps", steps, least=1)
    if not isinstance(schedule, Schedule):
        schedule = constant(number("warm_up", "schedule", schedule, 0))

    def rate(step):
        if step < steps:
            return schedule(0) * (step + 1) / steps
        return schedule(step - steps)

    return Schedule(rate)
