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


def _members(values):
    """The items of a dict, and those of the lists, tuples and dicts in it, with paths as names."""
    for name, value in values.items():
        if isinstance(value, (list, tuple)):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            for path, item in _members(value):
                yield f"{name}.{path}", item
        else:
            yield str(name), value


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
        """The modules set on this one, also in lists and dicts: pairs of name and module."""
        for name, value in _members(vars(self)):
            if isinstance(value, Module):
                yield name, value

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
        for name, value in _members(vars(self)):
            if isinstance(value, Parameter):
                found.setdefault(value, prefix + name)
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
