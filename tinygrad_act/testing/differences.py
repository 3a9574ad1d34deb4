"""Derivatives against finite differences, in float64."""

from math import sin

from ..creation import zeros_like
from ..tensor import Tensor, grad


def gradcheck(function, inputs, eps=1e-6, rtol=1e-5, atol=1e-7, order=1):
    """Compare a function's derivatives with central differences, in float64.

    Parameters
    ----------
    function : callable
        Of the inputs, to one Tensor or a sequence of them.
    inputs : sequence of Tensor
        float64; those that require a gradient are differentiated.
    eps : float
        The step h of (f(x + h) - f(x - h)) / 2h.  Default: 1e-6.
    rtol, atol : float
        A derivative d may be off its estimate e by ``atol + rtol * |e|``.
    order : int
        2 to check the derivative of the derivative, too.  Default: 1.

    Returns
    -------
    bool
        True; a difference raises.

    Raises
    ------
    AssertionError
        Where the two differ; it names the output, the input and the element.
    TypeError
        If an input that requires a gradient is not float64.

    Examples
    --------
    >>> gradcheck(lambda x: x.tanh(), [Tensor([0.5, -2.0], requires_grad=True, dtype="float64")])
    True
    """
    inputs, wanted = _checked_inputs(inputs, "gradcheck")
    _check_first("gradcheck", function, inputs, wanted, eps, rtol, atol)
    if order > 1:
        first = _derivative(function, wanted)
        _check_first("gradcheck", first, inputs, wanted, eps, rtol, atol)
    return True


def gradgradcheck(function, inputs, eps=1e-6, rtol=1e-5, atol=1e-7):
    """Compare second derivatives with central differences of the first, in float64.

    What is differenced is the gradient that backward brings to the inputs, for a fixed gradient
    of the outputs; with respect to the inputs, and to that gradient.

    Parameters
    ----------
    function, inputs, eps, rtol, atol
        As of `gradcheck`.

    Returns
    -------
    bool
        True; a difference raises.

    Raises
    ------
    AssertionError, TypeError, ValueError
        As `gradcheck`.

    Examples
    --------
    >>> gradgradcheck(lambda x: x.tanh(), [Tensor([0.5], requires_grad=True, dtype="float64")])
    True
    """
    inputs, wanted = _checked_inputs(inputs, "gradgradcheck")
    seeds = []
    for number, y in enumerate(_outputs(function, inputs)):
        if y.requires_grad:  # any numbers, but no two alike
            flat = [1.0 + 0.5 * sin(1 + number + place) for place in range(y.size)]
            flat = Tensor(flat, dtype=y.dtype).reshape(y.shape)
            seeds.append(Tensor(flat, requires_grad=True))

    def first(*values):
        outputs = [y for y in _outputs(function, values[: len(inputs)]) if y.requires_grad]
        return grad(outputs, wanted, values[len(inputs) :], create_graph=True)

    given = [*inputs, *seeds]
    _check_first("gradgradcheck", first, given, [*wanted, *seeds], eps, rtol, atol)
    return True


def _checked_inputs(inputs, name):
    """The inputs as a list, and those that require a gradient."""
    inputs = list(inputs)
    wanted = [x for x in inputs if x.requires_grad]
    if not wanted:
        raise ValueError(f"{name}: no input requires a gradient")
    for x in wanted:
        if x.dtype.name != "float64":
            raise TypeError(f"{name}: an input is {x.dtype}, but finite differences need float64")
    return inputs, wanted


def _outputs(function, inputs):
    outputs = function(*inputs)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _check_first(name, function, inputs, wanted, eps, rtol, atol):
    outputs = _outputs(function, inputs)
    for number, output in enumerate(outputs):
        if not output.dtype.is_float:
            continue
        for place in range(output.size):
            seed = [0.0] * output.size
            seed[place] = 1.0
            seed = Tensor(seed, dtype=output.dtype).reshape(output.shape)
            if output.requires_grad:
                gradients = grad(output, wanted, seed, retain_graph=True)
            else:  # so it must be constant
                gradients = list(map(zeros_like, wanted))
            for x, gradient in zip(wanted, gradients, strict=True):
                _compare(
                    lambda n=number, p=place: _outputs(function, inputs)[n].reshape(-1)[p].item(),
                    x,
                    gradient,
                    f"{name}: derivative of output {number}, element {place}, with respect to "
                    f"input {_position(inputs, x)}",
                    eps,
                    rtol,
                    atol,
                )


def _position(inputs, x):
    return next(i for i, candidate in enumerate(inputs) if candidate is x)


def _compare(value, x, gradient, where, eps, rtol, atol):
    flat = x.numpy(writable=True)
    for index, got in zip(_indices(x.shape), gradient.reshape(-1).tolist(), strict=True):
        before = flat[index]
        flat[index] = before + eps
        above = value()
        flat[index] = before - eps
        below = value()
        flat[index] = before
        expected = (above - below) / (2 * eps)
        if not abs(got - expected) <= atol + rtol * abs(expected):
            raise AssertionError(
                f"{where}, element {index}: got {got!r}, but finite differences give {expected!r}"
            )


def _indices(shape):
    """Every index of an array, in C order."""
    from itertools import product

    return product(*map(range, shape))


def _derivative(function, wanted):
    """The gradient of the sum of squares of the outputs, as a function of the same inputs."""

    def first(*values):
        outputs = _outputs(function, values)
        total = sum((y * y).sum() for y in outputs if y.requires_grad)
        return grad(total, wanted, create_graph=True)

    return first
