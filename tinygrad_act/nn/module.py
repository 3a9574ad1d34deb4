"""Module: a part of a network, made of parameters and of other modules."""

from ..tensor import Tensor


class Parameter(Tensor):
    """A Tensor that belongs to a Module and is trained: it always requires a gradient.

    Parameters
    ----------
    data : as of `Tensor`
    dtype : DType, optional
    """

    __slots__ = ()

    def __init__(self, data, dtype=None):
        super().__init__(data, requires_grad=True, dtype=dtype)


class Module:
    """A part of a network: derive from it, set parameters and modules, write `forward`.

    Examples
    --------
    >>> class Shift(Module):
    ...     def __init__(self):
    ...         self.by = Parameter([1.0])
    ...     def forward(self, x):
    ...         return x + self.by
    >>> net = Shift()
    >>> net(Tensor([2.0])).tolist()
    [3.0]
    >>> [name for name, _ in net.named_parameters()]
    ['by']
    """

    def forward(self, *inputs):
        """What the module computes; to be defined by each module."""
        raise TypeError(f"{type(self).__name__}: forward is not defined")

    def __call__(self, *inputs):
        return self.forward(*inputs)

    def children(self):
        """The modules set directly on this one, as pairs of name and module."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                for i, item in enumerate(value):
                    if isinstance(item, Module):
                        yield f"{name}.{i}", item

    def named_parameters(self):
        """All parameters, each once, with a name that is the path to it.

        Returns
        -------
        list of (str, Parameter)
        """
        found = {}
        self._collect("", found)
        return [(name, parameter) for parameter, name in found.items()]

    def _collect(self, prefix, found):
        for name, value in vars(self).items():
            items = value if isinstance(value, (list, tuple)) else ()
            for suffix, item in [("", value), *[(f".{i}", item) for i, item in enumerate(items)]]:
                if isinstance(item, Parameter):
                    found.setdefault(item, prefix + name + suffix)
        for name, child in self.children():
            child._collect(f"{prefix}{name}.", found)

    def parameters(self):
        """All parameters, each once: a list of Parameter."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self):
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def __repr__(self):
        inside = "".join(
            "\n  " + f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children()
        )
        return f"{type(self).__name__}({inside}\n)" if inside else f"{type(self).__name__}()"
