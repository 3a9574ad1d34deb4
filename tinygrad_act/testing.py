"""Checks that users can run on their own ops: derivatives against finite differences."""

from .tensor import Tensor, grad


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
    inputs = list(inputs)
    wanted = [x for x in inputs if x.requires_grad]
    if not wanted:
        raise ValueError("gradcheck: no input requires a gradient")
    for x in wanted:
        if x.dtype.name != "float64":
            raise TypeError(
                f"gradcheck: an input is {x.dtype}, but finite differences need float64"
            )
    _check_first(function, inputs, wanted, eps, rtol, atol)
    if order > 1:
        _check_first(*_derivative(function, inputs, wanted), eps, rtol, atol)
    return True


def _outputs(function, inputs):
    outputs = function(*inputs)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _check_first(function, inputs, wanted, eps, rtol, atol):
    outputs = _outputs(function, inputs)
    for number, output in enumerate(outputs):
        if not output.requires_grad:
            continue
        for place in range(output.size):
            seed = [0.0] * output.size
            seed[place] = 1.0
            seed = Tensor(seed, dtype=output.dtype).reshape(output.shape)
            gradients = grad(output, wanted, seed, retain_graph=True)
            for x, gradient in zip(wanted, gradients, strict=True):
                _compare(
                    lambda n=number, p=place: _outputs(function, inputs)[n].reshape(-1)[p].item(),
                    x,
                    gradient,
                    f"output {number}, element {place}, with respect to input "
                    f"{_position(inputs, x)}",
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
                f"gradcheck: derivative of {where}, element {index}: got {got!r}, but finite "
                f"differences give {expected!r}"
            )


def _indices(shape):
    """Every index of an array, in C order."""
    from itertools import product

    return product(*map(range, shape))


def _derivative(function, inputs, wanted):
    """The gradient of the function's weighted outputs, as a function of the same inputs."""

    def first(*values):
        outputs = _outputs(function, values)
        total = sum((y * y).sum() for y in outputs if y.requires_grad)
        return grad(total, wanted, create_graph=True)

    return first, inputs, wanted
