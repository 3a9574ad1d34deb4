"""Layers: the linear layer, the activations as modules, and a chain of modules."""

from functools import partial
from math import prod

from ..arguments import flag, float_dtype, function, number, whole
from ..creation import full, ones, uniform, zeros
from ..graph import no_grad
from ..op import ACTIVATIONS, Op
from ..ops import activation as built_in
from ..ops.arithmetic import where
from ..ops.convolution import conv2d, hashable, paddings, pair
from ..ops.dropout import alpha_dropout, dropout
from ..ops.indexing import embedding
from ..ops.normalisation import batch_norm, layer_norm
from ..ops.pooling import avg_pool2d, max_pool2d
from ..tensor import Tensor
from . import init
from .module import Buffer, Module, Parameter


def _sizes(owner, **sizes):
    """The sizes of a layer, each a whole number from 1 on."""
    return [whole(owner, name, value, least=1) for name, value in sizes.items()]


def _checked(owner, bias, initialize, dtype):
    """The dtype of a layer with weights, when all of this is what it should be."""
    flag(owner, "bias", bias)
    function(owner, "initialize", initialize)
    return float_dtype(owner, dtype)


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

    Raises
    ------
    TypeError, ValueError
        For sizes that are no whole numbers or below 1, and for other arguments of a wrong kind.
    """

    def __init__(self, inputs, outputs, bias=True, initialize=init.xavier, dtype="float32"):
        inputs, outputs = _sizes("Linear", inputs=inputs, outputs=outputs)
        dtype = _checked("Linear", bias, initialize, dtype)
        self.weight = Parameter(zeros(outputs, inputs, dtype=dtype))
        initialize(self.weight)
        self.bias = Parameter(zeros(outputs, dtype=dtype)) if bias else None

    def forward(self, x):
        if self.bias is None:
            return x @ self.weight.T
        try:
            return x.linear(self.weight, self.bias)
        except AttributeError:
            if isinstance(x, Tensor):
                raise
            raise TypeError(
                f"Linear: x must be a Tensor, not {type(x).__name__}; write Tensor(x)"
            ) from None

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
            if isinstance(module, (list, tuple)):
                raise TypeError("Sequential: give the modules one by one: Sequential(*modules)")
            setattr(self, str(i), module if isinstance(module, Module) else Activation(module))

    def forward(self, x):
        for module in vars(self).values():
            if isinstance(module, Module):
                x = module.forward(x)  # as module(x), at less than half the price for small nets
        return x

    def __len__(self):
        return len(list(self.children()))

    def __getitem__(self, i):
        return [module for _, module in self.children()][i]

    def __iter__(self):
        return (module for _, module in self.children())


def _strides(owner, **steps):
    """Steps that are a number or a pair, each as it was given."""
    for name, value in steps.items():
        pair(value, name, owner, 1)
    return steps.values()


class Conv2d(Module):
    """Convolution of images: y[n, c] is the sum over input channels of x[n, i] * weight[c, i].

    Parameters
    ----------
    inputs, outputs : int
        Numbers of channels.
    size : int or pair of int
        Of the window.
    stride, dilation : int or pair of int
        Default: 1.
    padding : int, pair, "same" or "valid"
        Zeros around the images; "same" keeps their size where `stride` is 1.  Default: 0.
    groups : int
        Into how many parts, convolved each by itself, the channels are divided.  Default: 1.
    bias : bool
        Default: True; zeros at first.
    initialize : function (weight), optional
        Default: `init.he`.
    dtype : str or DType
        Default: float32.

    Examples
    --------
    >>> layer = Conv2d(1, 32, 3)
    >>> layer(zeros(8, 1, 28, 28)).shape
    (8, 32, 26, 26)
    """

    def __init__(
        self,
        inputs,
        outputs,
        size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        initialize=init.he,
        dtype="float32",
    ):
        inputs, outputs, groups = _sizes("Conv2d", inputs=inputs, outputs=outputs, groups=groups)
        rows, columns = pair(size, "size", "Conv2d", 1)
        stride, dilation = _strides("Conv2d", stride=stride, dilation=dilation)
        paddings(hashable(padding), "Conv2d", (1, 1), (1, 1), (1, 1))
        dtype = _checked("Conv2d", bias, initialize, dtype)
        if inputs % groups or outputs % groups:
            raise ValueError(f"Conv2d: {inputs} and {outputs} channels make no {groups} groups")
        self.weight = Parameter(zeros(outputs, inputs // groups, rows, columns, dtype=dtype))
        initialize(self.weight)
        self.bias = Parameter(zeros(outputs, dtype=dtype)) if bias else None
        self.attrs = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }

    def forward(self, x):
        return conv2d(x, self.weight, self.bias, **self.attrs)

    def __repr__(self):
        outputs, inputs, rows, columns = self.weight.shape
        usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        attrs = [f", {k}={v!r}" for k, v in self.attrs.items() if v != usual[k]]
        attrs += [", bias=False"] if self.bias is None else []
        inputs *= self.attrs["groups"]
        return f"Conv2d({inputs}, {outputs}, ({rows}, {columns}){''.join(attrs)})"


class _Pool2d(Module):
    """A window over images, and one number for each of its places."""

    def __init__(self, size, stride=None, padding=0):
        owner = type(self).__name__
        pair(size, "size", owner, 1)
        if stride is not None:
            pair(stride, "stride", owner, 1)
        pair(padding, "padding", owner, 0)
        self.attrs = {"size": size, "stride": stride, "padding": padding}

    def __repr__(self):
        usual = {"size": None, "stride": None, "padding": 0}
        attrs = "".join(f", {k}={v!r}" for k, v in self.attrs.items() if v != usual[k])
        return f"{type(self).__name__}({attrs[2:]})".replace("size=", "")


class MaxPool2d(_Pool2d):
    """The largest number in each window.

    Parameters
    ----------
    size : int or pair of int
        Of the window.
    stride : int or pair of int, optional
        Default: the size, so that windows lie side by side.
    padding : int or pair
        Rows and columns around the images that never are the largest.  Default: 0.

    Examples
    --------
    >>> MaxPool2d(2)(zeros(8, 3, 28, 28)).shape
    (8, 3, 14, 14)
    """

    def forward(self, x):
        return max_pool2d(x, **self.attrs)


class AvgPool2d(_Pool2d):
    """The mean of the numbers in each window; zeros around the images count.

    Parameters
    ----------
    size, stride, padding : as of `MaxPool2d`
    """

    def forward(self, x):
        return avg_pool2d(x, **self.attrs)


class Dropout(Module):
    """In training, each element becomes 0 with probability `p`, and the others 1 / (1 - p) times.

    Parameters
    ----------
    p : float
        Default: 0.5.

    Notes
    -----
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: a simple way to prevent
    neural networks from overfitting" (2014).
    """

    def __init__(self, p=0.5):
        self.p = number(type(self).__name__, "p", p, 0, 1)

    def forward(self, x):
        return dropout(x, p=self.p, training=self.training)

    def __repr__(self):
        return f"{type(self).__name__}({self.p})"


class AlphaDropout(Dropout):
    """Dropout that keeps mean 0 and variance 1, for SELU.

    Parameters
    ----------
    p : float
        With this probability an element becomes what SELU tends to on the left.  Default: 0.5.

    Notes
    -----
    Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks" (2017).
    """

    def forward(self, x):
        return alpha_dropout(x, p=self.p, training=self.training)


class _BatchNorm(Module):
    """Normalisation of channels; see `BatchNorm2d`."""

    axes = ()  # how many x may have

    def __init__(self, channels, momentum=0.1, eps=1e-5, affine=True, dtype="float32"):
        owner = type(self).__name__
        (channels,) = _sizes(owner, channels=channels)
        flag(owner, "affine", affine)
        dtype = float_dtype(owner, dtype)
        self.weight = Parameter(ones(channels, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(channels, dtype=dtype)) if affine else None
        self.running_mean = Buffer(zeros(channels, dtype=dtype))
        self.running_var = Buffer(ones(channels, dtype=dtype))
        self.momentum = number(owner, "momentum", momentum, 0, 1)
        self.eps = number(owner, "eps", eps, 0)

    def forward(self, x):
        if x.ndim not in self.axes:
            axes = " or ".join(map(str, self.axes))
            raise ValueError(f"{type(self).__name__}: x is {x.shape}, but must have {axes} axes")
        return batch_norm(
            x,
            self.weight,
            self.bias,
            running_mean=self.running_mean,
            running_var=self.running_var,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )

    def __repr__(self):
        return f"{type(self).__name__}({self.running_mean.size})"


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (n, channels) or (n, channels, length); see `BatchNorm2d`."""

    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Each channel of images to mean 0 and variance 1 over the batch, times weight, plus bias.

    Parameters
    ----------
    channels : int
        The length of the second axis.
    momentum : float
        How far the running statistics move in each step towards those of the batch.
        Default: 0.1.
    eps : float
        Added to the variance.  Default: 1e-5.
    affine : bool
        Whether there are a weight, ones at first, and a bias, zeros.  Default: True.
    dtype : str or DType
        Default: float32.

    Attributes
    ----------
    running_mean, running_var : Buffer, (channels,)
        What takes the place of the batch's own statistics when it does not train.

    Notes
    -----
    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing
    internal covariate shift" (2015).
    """

    axes = (4,)


class LayerNorm(Module):
    """Each row, over its last axes, to mean 0 and variance 1, times weight, plus bias.

    Parameters
    ----------
    shape : int or tuple of int
        Of the last axes.
    eps : float
        Added to the variance.  Default: 1e-5.
    affine : bool
        Whether there are a weight, ones at first, and a bias, zeros.  Default: True.
    dtype : str or DType
        Default: float32.

    Notes
    -----
    Ba, Kiros and Hinton, "Layer normalization" (2016).
    """

    def __init__(self, shape, eps=1e-5, affine=True, dtype="float32"):
        sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
        self.shape = tuple(whole("LayerNorm", "shape", n, least=1) for n in sizes)
        if not self.shape:
            raise ValueError("LayerNorm: shape is (), but must name at least one axis")
        flag("LayerNorm", "affine", affine)
        dtype = float_dtype("LayerNorm", dtype)
        self.weight = Parameter(ones(self.shape, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(self.shape, dtype=dtype)) if affine else None
        self.eps = number("LayerNorm", "eps", eps, 0)

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias, shape=self.shape, eps=self.eps)

    def __repr__(self):
        return f"LayerNorm({self.shape})"


class Flatten(Module):
    """All axes but the first become one: (N, C, H, W) to (N, C * H * W)."""

    def forward(self, x):
        return x.reshape(x.shape[0], prod(x.shape[1:]))


class Embedding(Module):
    """A vector to learn for each of `count` things, which are named by their numbers.

    Parameters
    ----------
    count, size : int
        How many things there are, and the length of a vector.
    initialize : function (weight), optional
        Default: `init.normal`.
    dtype : str or DType
        Default: float32.

    Examples
    --------
    >>> layer = Embedding(10, 3)
    >>> layer(Tensor([[1, 2], [1, 9]], dtype="int64")).shape
    (2, 2, 3)
    """

    def __init__(self, count, size, initialize=init.normal, dtype="float32"):
        count, size = _sizes("Embedding", count=count, size=size)
        dtype = _checked("Embedding", False, initialize, dtype)
        self.weight = Parameter(zeros(count, size, dtype=dtype))
        initialize(self.weight)

    def forward(self, index):
        return embedding(index, self.weight)

    def __repr__(self):
        count, size = self.weight.shape
        return f"Embedding({count}, {size})"


class MaxoutLinear(Module):
    """Dense maxout: of `pieces` linear functions of x, the largest, for each output.

    Parameters
    ----------
    inputs, outputs : int
        Sizes of the last axis of x and of y.
    pieces : int
        Default: 2.
    initialize, dtype : as of `Linear`

    Notes
    -----
    Goodfellow, Warde-Farley, Mirza, Courville and Bengio, "Maxout networks" (2013).

    Examples
    --------
    >>> layer = MaxoutLinear(3, 5)
    >>> layer(zeros(4, 3)).shape, layer.linear.weight.shape
    ((4, 5), (10, 3))
    """

    def __init__(self, inputs, outputs, pieces=2, initialize=init.xavier, dtype="float32"):
        inputs, outputs, pieces = _sizes(
            "MaxoutLinear", inputs=inputs, outputs=outputs, pieces=pieces
        )
        dtype = _checked("MaxoutLinear", True, initialize, dtype)
        self.linear = Linear(inputs, outputs * pieces, initialize=initialize, dtype=dtype)
        self.pieces = pieces

    def forward(self, x):
        return self.linear(x).maxout(pieces=self.pieces)

    def __repr__(self):
        outputs, inputs = self.linear.weight.shape
        return f"MaxoutLinear({inputs}, {outputs // self.pieces}, pieces={self.pieces})"


# ---- recurrent cells ------------------------------------------------------------------------


class RNNCell(Module):
    """One step of a simple recurrent network: h' = tanh(W x + b + U h + c).

    Parameters
    ----------
    inputs, units : int
        Sizes of the last axis of x and of h.
    activation : str or function
        Default: "tanh".
    dtype : str or DType
        Default: float32.

    Notes
    -----
    Elman, "Finding structure in time" (1990).  Input weights begin as in `Linear`, those from
    step to step orthonormal.  There is one bias, since two would only be added up.

    Examples
    --------
    >>> cell = RNNCell(3, 5)
    >>> h = None
    >>> for x in zeros(7, 4, 3):  # 7 steps of a batch of 4
    ...     h = cell(x, h)
    >>> h.shape
    (4, 5)
    """

    def __init__(self, inputs, units, activation="tanh", dtype="float32"):
        inputs, units = _sizes("RNNCell", inputs=inputs, units=units)
        dtype = float_dtype("RNNCell", dtype)
        self.input = Linear(inputs, units, dtype=dtype)
        self.recurrent = Linear(units, units, bias=False, initialize=init.orthogonal, dtype=dtype)
        self.activation = Activation(activation)

    def forward(self, x, h=None):
        """The state after one more step.

        Parameters
        ----------
        x : Tensor, (N, inputs)
        h : Tensor, (N, units), optional
            The state before.  Default: zeros.
        """
        total = self.input(x)
        if h is not None:
            total = total + self.recurrent(h)
        return self.activation(total)


class LSTMCell(Module):
    """One step of a long short-term memory.

    Parameters
    ----------
    inputs, units : int
        Sizes of the last axis of x and of the state.
    dtype : str or DType
        Default: float32.

    Notes
    -----
    Hochreiter and Schmidhuber, "Long short-term memory" (1997), with the forget gate of Gers,
    Schmidhuber and Cummins, "Learning to forget" (2000), whose bias begins with 1, so that at
    first the memory lasts.  The rows of the weights belong to the input gate, the forget gate,
    the new content and the output gate, in this order.

    Examples
    --------
    >>> cell = LSTMCell(3, 5)
    >>> state = None
    >>> for x in zeros(7, 4, 3):  # 7 steps of a batch of 4
    ...     h, c = state = cell(x, state)
    >>> h.shape, c.shape
    ((4, 5), (4, 5))
    """

    def __init__(self, inputs, units, dtype="float32"):
        inputs, units = _sizes("LSTMCell", inputs=inputs, units=units)
        dtype = float_dtype("LSTMCell", dtype)
        self.input = Linear(inputs, 4 * units, dtype=dtype)
        self.recurrent = Linear(units, 4 * units, bias=False, dtype=dtype)
        with no_grad():
            self.input.bias[units : 2 * units].fill_(1.0)
        self.units = units

    def forward(self, x, state=None):
        """The output and the memory after one more step.

        Parameters
        ----------
        x : Tensor, (N, inputs)
        state : pair of Tensor, each (N, units), optional
            Output and memory before.  Default: zeros.
        """
        gates = self.input(x)
        if state is not None:
            gates = gates + self.recurrent(state[0])
        n = self.units
        enters, stays, content, leaves = (gates[..., k * n : (k + 1) * n] for k in range(4))
        memory = enters.sigmoid() * content.tanh()
        if state is not None:
            memory = stays.sigmoid() * state[1] + memory
        return leaves.sigmoid() * memory.tanh(), memory


# ---- activations ----------------------------------------------------------------------------


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
    TypeError, ValueError
        If there is no activation of that name, in which case the message lists those there
        are; for an attribute that it does not have, or of a wrong kind.
    """

    def __init__(self, name, **attrs):
        if isinstance(name, str) and name not in ACTIVATIONS:
            raise ValueError(f"there is no activation {name!r}; there are {', '.join(ACTIVATIONS)}")
        function = name
        if isinstance(name, str):
            function = ACTIVATIONS[name]
            if function is getattr(built_in, name, None):  # its method is a shorter way to it
                function = getattr(Tensor, name, function)
        if not callable(function):
            raise TypeError(f"an activation must be a name or a function, not {function!r}")
        if isinstance(function, type) and issubclass(function, Module):
            kind = function.__name__
            raise TypeError(f"an activation must be a name or a function: write {kind}()")
        self.name = name
        attrs = self._checked(attrs) if isinstance(name, str) else attrs
        self.function = partial(function, **attrs) if attrs else function
        self.attrs = attrs

    def _checked(self, attrs):
        """The attributes, each a number where the record's default is one."""
        op = ACTIVATIONS[self.name]
        if not isinstance(op, Op):
            return attrs
        op.complete(attrs)
        owner = self.name if type(self) is Activation else type(self).__name__
        checks = {float: number, int: whole}
        for name, value in attrs.items():
            check = checks.get(type(op.defaults[name]))
            attrs[name] = check(owner, name, value) if check else value
        return attrs

    def forward(self, x):
        return self.function(x)

    def __repr__(self):
        attrs = [f"{name}={value}" for name, value in self.attrs.items()]
        if type(self) is Activation:
            attrs.insert(0, repr(self.name))
        return f"{type(self).__name__}({', '.join(attrs)})"


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


class CELU(Activation):
    """The activation `celu` as a module."""

    def __init__(self, alpha=1.0):
        super().__init__("celu", alpha=alpha)


class SiLU(Activation):
    """The activation `silu` as a module."""

    def __init__(self):
        super().__init__("silu")


class Mish(Activation):
    """The activation `mish` as a module."""

    def __init__(self):
        super().__init__("mish")


class Softplus(Activation):
    """The activation `softplus` as a module."""

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__("softplus", beta=beta, threshold=threshold)


class LogSigmoid(Activation):
    """The activation `logsigmoid` as a module."""

    def __init__(self):
        super().__init__("logsigmoid")


class Softsign(Activation):
    """The activation `softsign` as a module."""

    def __init__(self):
        super().__init__("softsign")


class Hardtanh(Activation):
    """The activation `hardtanh` as a module."""

    def __init__(self, min_val=-1.0, max_val=1.0):
        super().__init__("hardtanh", min_val=min_val, max_val=max_val)


class ReLU6(Activation):
    """The activation `relu6` as a module."""

    def __init__(self):
        super().__init__("relu6")


class Hardsigmoid(Activation):
    """The activation `hardsigmoid` as a module."""

    def __init__(self):
        super().__init__("hardsigmoid")


class Hardswish(Activation):
    """The activation `hardswish` as a module."""

    def __init__(self):
        super().__init__("hardswish")


class Tanhshrink(Activation):
    """The activation `tanhshrink` as a module."""

    def __init__(self):
        super().__init__("tanhshrink")


class Softshrink(Activation):
    """The activation `softshrink` as a module."""

    def __init__(self, lambd=0.5):
        super().__init__("softshrink", lambd=lambd)


class Hardshrink(Activation):
    """The activation `hardshrink` as a module."""

    def __init__(self, lambd=0.5):
        super().__init__("hardshrink", lambd=lambd)


class Threshold(Activation):
    """The activation `threshold` as a module."""

    def __init__(self, threshold=0.0, value=0.0):
        super().__init__("threshold", threshold=threshold, value=value)


class RReLU(Activation):
    """In training `leaky_relu` with a slope drawn for each element, else `rrelu`, their middle.

    Parameters
    ----------
    lower, upper : float
        Between which the slopes lie evenly.  Default: 1/8 and 1/3.

    Notes
    -----
    Xu, Wang, Chen and Li, "Empirical evaluation of rectified activations in convolutional
    network" (2015).
    """

    def __init__(self, lower=1 / 8, upper=1 / 3):
        super().__init__("rrelu", lower=lower, upper=upper)
        if not lower <= upper:
            raise ValueError(f"RReLU: lower is {lower}, above upper, which is {upper}")

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        slopes = uniform(x.shape, low=self.attrs["lower"], high=self.attrs["upper"], dtype=x.dtype)
        return where(x > 0, x, slopes * x)


class Maxout(Activation):
    """The activation `maxout` as a module."""

    def __init__(self, pieces=2):
        super().__init__("maxout", pieces=whole("Maxout", "pieces", pieces, least=1))


class Softmax(Activation):
    """The activation `softmax` as a module."""

    def __init__(self, axis=-1):
        super().__init__("softmax", axis=axis)


class LogSoftmax(Activation):
    """The activation `log_softmax` as a module."""

    def __init__(self, axis=-1):
        super().__init__("log_softmax", axis=axis)


class Softmin(Activation):
    """The activation `softmin` as a module."""

    def __init__(self, axis=-1):
        super().__init__("softmin", axis=axis)


class GLU(Activation):
    """The activation `glu` as a module."""

    def __init__(self, axis=-1):
        super().__init__("glu", axis=axis)


class PReLU(Module):
    """The activation `prelu`: `leaky_relu` with a slope that is learnt.

    Parameters
    ----------
    count : int
        How many slopes there are: one for all, or one for each channel, axis 1.  Default: 1.
    slope : float
        What they begin with.  Default: 0.25.
    dtype : str or DType
        Default: float32.

    Notes
    -----
    He, Zhang, Ren and Sun, "Delving deep into rectifiers" (2015).

    Examples
    --------
    >>> PReLU()(Tensor([-2.0, 4.0])).tolist()
    [-0.5, 4.0]
    """

    def __init__(self, count=1, slope=0.25, dtype="float32"):
        (count,) = _sizes("PReLU", count=count)
        slope, dtype = number("PReLU", "slope", slope), float_dtype("PReLU", dtype)
        self.weight = Parameter(full(count, slope, dtype=dtype))

    def forward(self, x):
        return x.prelu(self.weight)

    def __repr__(self):
        return f"PReLU({self.weight.size})"
