"""Optimizers: how parameters follow their gradients."""

from .ops import update
from .tensor import Tensor


class SGD:
    """Gradient descent: p -= lr * p.grad.

    Parameters
    ----------
    parameters : iterable of Tensor
        Leaves that require a gradient.
    lr : float
        The learning rate.

    Raises
    ------
    TypeError, ValueError
        If there are no parameters, if one is no leaf, or for a negative rate.

    Examples
    --------
    >>> p = Tensor([1.0], requires_grad=True)
    >>> (p * p).sum().backward()
    >>> SGD([p], lr=0.25).step()
    >>> p.tolist()
    [0.5]
    """

    def __init__(self, parameters, lr):
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("SGD: there are no parameters")
        for p in self.parameters:
            if not isinstance(p, Tensor):
                raise TypeError(f"SGD: parameters must be Tensors, not {p!r}")
            if p.node is None or p.node.op is not None:
                raise ValueError("SGD: a parameter must be a leaf that requires a gradient")
            if p.array.strides is not None:
                raise ValueError(
                    f"SGD: a parameter, of shape {p.shape}, is a view with gaps or another order "
                    f"of axes; make it a leaf of its own, with Tensor(x, requires_grad=True)"
                )
        if not lr >= 0:
            raise ValueError(f"SGD: lr is {lr}, but must not be negative")
        self.lr = lr
        by_dtype = {}
        for p in self.parameters:
            by_dtype.setdefault(p.dtype, []).append(p)
        self._groups = [
            (group, update.ParameterList([p.array for p in group])) for group in by_dtype.values()
        ]

    def step(self):
        """Update every parameter that has a gradient."""
        for group, listed in self._groups:
            try:
                gradients = [p.node.grad.array for p in group]
            except AttributeError:  # some have none
                group = [p for p in group if p.grad is not None]
                if not group:
                    continue
                listed = update.ParameterList([p.array for p in group])
                gradients = [p.node.grad.array for p in group]
            update.sgd(listed, gradients, self.lr)

    def zero_grad(self):
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None
