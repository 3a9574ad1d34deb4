"""Layers: the linear layer, the activations as modules, and a chain of modules."""

from functools import partial

from ..creation import zeros
from ..op import ACTIVATIONS
from ..tensor import Tensor
from . import init
from .module import Module, Parameter


class Linear(Module):
    """y = x @ weight.T + bias.

    Parameters
    ----------
    inputs, outputs : int
        Sizes of the last axis of x and of y.
    bias : bool
        Default: True; zeros at first.
    initialize : function (weight), optional
        Fills the weight, see `nn.init`.  Default: `init.xavier`.
    dtype : str or DType
        Default: float32.
    """

    def __init__(self, inputs, outputs, bias=True, initialize=init.xavier, dtype="float32"):
        self.weight = Parameter(zeros(outputs, inputs, dtype=dtype))
        initialize(self.weight)
        self.bias = Parameter(zeros(outputs, dtype=dtype)) if bias else None

    def forward(self, x):
        if self.bias is None:
            return x @ self.weight.T
        return x.linear(self.weight, self.bias)

    def __repr__(self):
        outputs, inputs = self.weight.shape
        return f"Linear({inputs}, {outputs}{'' if self.bias is not None else ', bias=False'})"


class Sequential(Module):
    """Modules one after the other; a name stands for the activation of that name.

    Parameters
    ----------
    *modules : Module, str or function

    Examples
    --------
    >>> Sequential(Linear(2, 3), "tanh", Linear(3, 1), "sigmoid")
    Sequential(
      (0): Linear(2, 3)
      (1): Activation('tanh')
      (2): Linear(3, 1)
      (3): Activation('sigmoid')
    )
    """

    def __init__(self, *modules):
        for i, module in enumerate(modules):
            setattr(self, str(i), module if isinstance(module, Module) else Activation(module))

    def forward(self, x):
        for _, module in self.children():
            x = module(x)
        return x

    def __len__(self):
        return len(list(self.children()))

    def __getitem__(self, i):
        return [module for _, module in self.children()][i]

    def __iter__(self):
        return (module for _, module in self.children())


class Activation(Module):
    """An activation as a module.

    Parameters
    ----------
    name : str or function
        Of a built-in activation, of one that was declared with `activation`, or any
        function of a tensor.
    **attrs
        Its attributes, such as ``slope``.

    Raises
    ------
    ValueError
        If there is no activation of that name; the message lists those there are.
    """

    def __init__(self, name, **attrs):
        if isinstance(name, str) and name not in ACTIVATIONS:
            raise ValueError(f"there is no activation {name!r}; there are {', '.join(ACTIVATIONS)}")
        function = name
        if isinstance(name, str):  # the method, where there is one, is a shorter way to the same
            function = getattr(Tensor, name, ACTIVATIONS[name])
        self.function = partial(function, **attrs) if attrs else function
        self.name = name
        self.attrs = attrs

    def forward(self, x):
        return self.function(x)

    def __repr__(self):
        attrs = "".join(f", {name}={value}" for name, value in self.attrs.items())
        return f"Activation({self.name!r}{attrs})"


class Identity(Activation):
    """The activation `identity` as a module."""

    def __init__(self):
        super().__init__("identity")


class Sigmoid(Activation):
    """The activation `sigmoid` as a module."""

    def __init__(self):
        super().__init__("sigmoid")


class Tanh(Activation):
    """The activation `tanh` as a module."""

    def __init__(self):
        super().__init__("tanh")


class ReLU(Activation):
    """The activation `relu` as a module."""

    def __init__(self):
        super().__init__("relu")


class LeakyReLU(Activation):
    """The activation `leaky_relu` as a module."""

    def __init__(self, slope=0.01):
        super().__init__("leaky_relu", slope=slope)


class VeryLeakyReLU(Activation):
    """The activation `very_leaky_relu` as a module."""

    def __init__(self):
        super().__init__("very_leaky_relu")


class ELU(Activation):
    """The activation `elu` as a module."""

    def __init__(self, alpha=1.0):
        super().__init__("elu", alpha=alpha)


class SELU(Activation):
    """The activation `selu` as a module."""

    def __init__(self):
        super().__init__("selu")


class GELU(Activation):
    """The activation `gelu` as a module."""

    def __init__(self):
        super().__init__("gelu")


class GELUTanh(Activation):
    """The activation `gelu_tanh` as a module."""

    def __init__(self):
        super().__init__("gelu_tanh")


class Maxout(Activation):
    """The activation `maxout` as a module."""

    def __init__(self, pieces=2):
        super().__init__("maxout", pieces=pieces)


class Softmax(Activation):
    """The activation `softmax` as a module."""

    def __init__(self, axis=-1):
        super().__init__("softmax", axis=axis)


class LogSoftmax(Activation):
    """The activation `log_softmax` as a module."""

    def __init__(self, axis=-1):
        super().__init__("log_softmax", axis=axis)
