"""Tensor: the engine on arrays.

A Tensor is an array and the node of the graph that made it; nothing else.  Each op is
one line here, with its signature; what the op is stands in ``ops/``, and how its
derivative travels in ``graph.py``.

To follow one value: ``x.tanh()`` calls `_unary`, which lets the record's `forward` run
the C kernel on the array and writes down a `Node`.  ``y.backward()`` hands the graph to
`graph.backward`, which asks `_pull_back` for each node; that calls the record's
`backward`, and so the C kernel of the derivative.  In the plain case ``lib.quick_apply`` and
``lib.quick_backward`` do the same in one call each, to the same bits: see csrc/eager.c.
"""

from operator import attrgetter

from . import array as _array
from . import graph, hooks, kernels
from .array import (
    Array,
    constant,
    convert,
    copy_into,
    from_python,
    full,
    is_numpy,
    mark_written,
    number,
    overlap,
    to_list,
    to_numpy,
    view_of_numpy,
)
from .array import (
    from_numpy as array_from_numpy,
)
from .dtype import as_dtype, bool_, promote, uint8
from .formula import interpreter
from .op import array_of, number_dtype
from .ops import activation as act
from .ops import arithmetic as arith
from .ops import axis as along
from .ops import indexing, linalg, rearrange, reduction
from .ops import shape as shapes

lib = kernels.lib
_NO_ATTRS = {}
_new = object.__new__


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    Where a method takes ``**wrong``, it has no such arguments: names that it does not know, such
    as PyTorch's, are there to be refused with the right one.

    Parameters
    ----------
    data : number, nested lists or tuples of numbers, range, NumPy array, or Tensor
        The values; they are copied.
    requires_grad : bool
        Whether it is a leaf that collects a gradient.  Default: False.
    dtype : DType, NumPy dtype or str, optional
        Default: NumPy's or the Tensor's own; of Python data bool if all are bools,
        else float32.

    Attributes
    ----------
    array : Array
        The values.
    node : Node or None
        The application that made it, or its leaf; None where no gradient flows.

    Raises
    ------
    TypeError
        For data that are no numbers, for other dtypes, or if an integer or bool
        tensor shall require a gradient.
    ValueError
        For ragged lists.

    Examples
    --------
    >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.tolist()
    [[2.0, 4.0], [6.0, 8.0]]
    """

    __slots__ = ("array", "node", "__weakref__")

    def __init__(self, data, requires_grad=False, dtype=None):
        dtype = None if dtype is None else as_dtype(dtype)
        if isinstance(data, Tensor):
            self.array = convert(data.array, dtype or data.dtype)
        elif is_numpy(data):
            self.array = array_from_numpy(data, dtype)
        else:
            self.array = from_python(data, dtype)
        self.node = None
        if requires_grad is not False:
            self.requires_grad = requires_grad

    # ---- what it is -------------------------------------------------------------------------

    @property
    def shape(self):
        """The length of each axis, a tuple of int."""
        return self.array.shape

    @property
    def ndim(self):
        """The number of axes."""
        return len(self.array.shape)

    @property
    def size(self):
        """The number of elements."""
        return self.array.size

    @property
    def dtype(self):
        """The element type: float32, float64, int64, bool or uint8."""
        return self.array.dtype

    @property
    def requires_grad(self):
        """Whether gradients flow to it.  Can be set where nothing computed it."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted):
        if self.node is not None and self.node.op is not None:
            raise RuntimeError(
                f"requires_grad: this tensor was computed, by {self.node.op.name}; "
                f"use detach() for one without gradient"
            )
        # NumPy's bools, too, but not, say, a dtype, which has another place
        if not isinstance(wanted, bool) and not (
            is_numpy(wanted) and wanted.ndim == 0 and wanted.dtype.kind == "b"
        ):
            raise TypeError(f"requires_grad: must be True or False, not {wanted!r}")
        if wanted and not self.dtype.is_float:
            raise TypeError(
                f"requires_grad: only float32 and float64 have gradients, not {self.dtype}; "
                f"write .astype('float32')"
            )
        if not wanted:
            self.node = None
        elif self.node is None:
            self.node = graph.Leaf()

    @property
    def grad(self):
        """The sum of the gradients that `backward` has brought to this leaf, or None.

        Of a tensor that was computed None, unless `retain_grad` was called.
        """
        node = self.node
        if type(node) is graph.Leaf:
            return node.grad
        return None if node is None else hooks.retained(node)

    @grad.setter
    def grad(self, value):
        if value is None and self.node is None:
            return  # there is nothing to forget
        if type(self.node) is not graph.Leaf:
            raise RuntimeError("grad: only a leaf that requires a gradient has one")
        if value is not None and (
            not isinstance(value, Tensor)
            or value.shape != self.shape
            or value.dtype is not self.dtype
        ):
            raise ValueError(
                f"grad: must be None or a Tensor of shape {self.shape} and dtype {self.dtype}"
            )
        self.node.grad = value

    def __repr__(self):
        import numpy

        values = numpy.array2string(to_numpy(self.array), separator=", ", prefix="Tensor(")
        notes = f", dtype={self.dtype}"
        if not self.size and self.shape != (0,):  # the brackets do not show it
            notes = f", shape={self.shape}{notes}"
        if self.node is not None:
            op = self.node.op
            notes += ", requires_grad=True" if op is None else f", op={op.name}"
        return f"Tensor({values}{notes})"

    # ---- values for Python and NumPy --------------------------------------------------------

    def item(self):
        """The only element, as a Python number.

        Raises
        ------
        ValueError
            If there is not exactly one element.
        """
        if self.array.size != 1:
            raise ValueError(f"item: needs exactly one element, but the shape is {self.shape}")
        return _array.item(self.array)

    def tolist(self):
        """The elements as nested lists of Python numbers; of a 0-d tensor, the number."""
        return to_list(self.array)

    def numpy(self, writable=False):
        """The elements as a NumPy array that shares the memory.

        Parameters
        ----------
        writable : bool
            Whether the array may be written to.  What is written is not noticed by
            the graph, so derivatives of earlier computations may be wrong.  Default: False.
        """
        return to_numpy(self.array, writable)

    def __array__(self, dtype=None, copy=None):
        import numpy

        return numpy.array(to_numpy(self.array), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        from .interoperability import array_ufunc

        return array_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        from .interoperability import array_function

        return array_function(function, args, kwargs)

    def __dlpack__(self, *, stream=None, **options):
        from .interoperability import dlpack

        return dlpack(self, stream, **options)

    def __dlpack_device__(self):
        return (1, 0)  # the processor

    def __reduce__(self):
        from .interoperability import made_of, parts

        return made_of, parts(self, "pickle")

    def __copy__(self):
        tensor = _new(type(self))
        tensor.array, tensor.node = self.array, self.node
        return tensor

    def __deepcopy__(self, memo):
        from copy import deepcopy

        from .interoperability import made_of, parts

        *rest, leaf = parts(self, "deepcopy")
        memo[id(self)] = tensor = made_of(*rest, deepcopy(leaf, memo))
        return tensor

    def _repr_html_(self):
        from .interoperability import html

        return html(self)

    def __getattr__(self, name):  # asked last, when there is no such attribute
        from .hints import TENSOR, no_attribute

        raise no_attribute(f"{type(self).__name__!r} object", name, TENSOR)

    def __format__(self, spec):
        if not spec:
            return str(self)
        if self.size != 1:
            raise TypeError(
                f"format: {spec!r} is for one number, but the shape is {self.shape}; format the "
                f"numbers of x.tolist()"
            )
        return format(self.item(), spec)

    def __float__(self):
        return float(self._number("float"))

    def __int__(self):
        return int(self._number("int"))

    def _number(self, wanted):
        if self.size != 1:
            raise ValueError(
                f"{wanted}: needs exactly one element, but the shape is {self.shape}; "
                f"x.tolist() has the numbers of all"
            )
        return self.item()

    def __bool__(self):
        if self.size != 1:
            raise ValueError(
                f"bool: the truth of a tensor of shape {self.shape} is ambiguous; "
                f"compare and reduce it first"
            )
        return bool(self.item())

    def __index__(self):
        if self.dtype.name not in ("int64", "uint8") or self.shape != ():
            raise TypeError(
                f"index: only one integer, of shape (), can be an index, not {self.dtype} "
                f"of shape {self.shape}"
            )
        return int(self.item())

    def __len__(self):
        if not self.shape:
            raise TypeError("len: a 0-d tensor has no length")
        return self.shape[0]

    def __iter__(self):
        if not self.shape:
            raise TypeError("iteration: a 0-d tensor cannot be iterated over")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, index):
        if type(index) in _BASIC or (type(index) is tuple and _BASIC.issuperset(map(type, index))):
            return _unary(shapes.getitem, self, {"index": index})
        items = _index_items(index)
        if Array not in map(type, items):
            return _unary(shapes.getitem, self, {"index": items})
        return indexing.index_by_arrays(self, items)

    def __setitem__(self, index, value):
        _refuse_if_recorded("indexed assignment", "where(mask, value, x)", self, value)
        if isinstance(value, (list, tuple)):
            value = Tensor(value, dtype=self.dtype)
        items = _index_items(index)
        if Array not in map(type, items):
            _write(_array.index_view(self.array, items, "setitem"), value, "setitem")
        else:
            indexing.assign_by_arrays(self.array, items, _value(value, self.array, "setitem"))

    # ---- the graph --------------------------------------------------------------------------

    def backward(self, gradient=None, retain_graph=None, create_graph=False):
        """Add the gradient of this tensor with respect to each leaf to the leaf's `grad`.

        Parameters
        ----------
        gradient : Tensor, optional
            The gradient of the final result with respect to this tensor, of its shape.
            Default: 1, for a tensor of one element.
        retain_graph : bool, optional
            Keep what the graph has saved, to run backward again.  Default: as
            `create_graph`.
        create_graph : bool
            Record the gradient's own computation, for derivatives of higher order.
            Default: False.

        Notes
        -----
        Threads may run backward at the same time, each through a graph of its own: what they
        bring to one leaf adds up.

        Raises
        ------
        RuntimeError
            If nothing here requires a gradient, if the graph was freed by an earlier
            backward, or if a saved tensor has been written to since.
        ValueError
            If `gradient` is missing or of another shape.
        """
        if self.node is None:
            raise RuntimeError("backward: this tensor does not depend on any that requires_grad")
        is_plain = not (create_graph or hooks.in_use)
        if is_plain and lib.quick_backward(self, gradient, retain_graph, None):
            return
        seed = _seed(self, gradient, "backward", create_graph)
        if create_graph:
            _run({self.node: seed}, retain_graph, recorded=True)
        else:
            _run({self.node: seed.array}, retain_graph)

    def register_hook(self, hook):
        """Show this tensor's gradient to a function whenever backward comes by.

        Parameters
        ----------
        hook : function (gradient) -> Tensor or None
            Is given the whole gradient of one backward.  A Tensor that it returns goes on in
            place of that; what it does to its argument has no effect.

        Returns
        -------
        Handle
            Its method `remove` takes the hook off again.

        Raises
        ------
        RuntimeError
            If the tensor does not require a gradient.

        Examples
        --------
        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * x
        >>> handle = y.register_hook(lambda g: 10 * g)
        >>> y.sum().backward()
        >>> x.grad.tolist()
        [20.0, 40.0]
        """
        if self.node is None:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        if not callable(hook):
            raise TypeError(f"register_hook: a hook must be a function, not {hook!r}")
        return hooks.register(self.node, hook)

    def retain_grad(self):
        """Keep the gradient of a tensor that was computed in its `grad`, as of a leaf.

        Raises
        ------
        RuntimeError
            If the tensor does not require a gradient.
        """
        if self.node is None:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        if self.node.op is not None:
            hooks.retain(self.node)

    def detach(self):
        """The same values, sharing memory, outside the graph."""
        return _wrap(self.array, None)

    def clone(self):
        """A copy in memory of its own; gradients flow through it."""
        return _unary(shapes.clone, self)

    def astype(self, dtype):
        """The values in another dtype; gradients flow between floats."""
        dtype = as_dtype(dtype)
        if dtype is self.dtype:
            return self
        return _unary(arith.astype, self, {"dtype": dtype, "source": self.dtype})

    # ---- operators --------------------------------------------------------------------------

    def __neg__(self):
        return _unary(arith.neg, self)

    def __pos__(self):
        return self

    def __abs__(self):
        return _unary(arith.abs_, self)

    def __round__(self, digits=None):
        if digits is not None:
            raise TypeError(
                f"round: to whole numbers only; write (x * 10**{digits}).round() / 10**{digits}"
            )
        return _unary(arith.round_, self)

    def __add__(self, other):
        return _binary(arith.add, self, other)

    def __radd__(self, other):
        return _binary(arith.add, other, self)

    def __sub__(self, other):
        return _binary(arith.sub, self, other)

    def __rsub__(self, other):
        return _binary(arith.sub, other, self)

    def __mul__(self, other):
        return _binary(arith.mul, self, other)

    def __rmul__(self, other):
        return _binary(arith.mul, other, self)

    def __truediv__(self, other):
        return _binary(arith.div, self, other)

    def __rtruediv__(self, other):
        return _binary(arith.div, other, self)

    def __floordiv__(self, _):
        raise TypeError(
            "floor division: there is no x // y of Tensors; write (x / y).floor(), or of integers "
            "(x.astype('float64') / y).floor().astype('int64')"
        )

    __rfloordiv__ = __divmod__ = __rdivmod__ = __floordiv__

    def __mod__(self, other):
        return _binary(arith.remainder, self, other)

    def __rmod__(self, other):
        return _binary(arith.remainder, other, self)

    def __pow__(self, other):
        if type(other) in (int, float) and other == 2 and self.dtype.is_float:
            return _unary(arith.square, self)  # the same number, and its derivative at once
        return _binary(arith.pow_, self, other)

    def __rpow__(self, other):
        return _binary(arith.pow_, other, self)

    def __matmul__(self, other):
        return _binary(linalg.matmul, self, other)

    def __rmatmul__(self, other):
        return _binary(linalg.matmul, other, self)

    def __eq__(self, other):
        return _binary(arith.eq, self, other)

    def __ne__(self, other):
        return _binary(arith.ne, self, other)

    def __lt__(self, other):
        return _binary(arith.lt, self, other)

    def __le__(self, other):
        return _binary(arith.le, self, other)

    def __gt__(self, other):
        return _binary(arith.gt, self, other)

    def __ge__(self, other):
        return _binary(arith.ge, self, other)

    __hash__ = object.__hash__  # by identity, since == compares elements

    def __and__(self, other):
        return _binary(arith.logical_and, self, other)

    def __rand__(self, other):
        return _binary(arith.logical_and, other, self)

    def __or__(self, other):
        return _binary(arith.logical_or, self, other)

    def __ror__(self, other):
        return _binary(arith.logical_or, other, self)

    def __xor__(self, other):
        return _binary(arith.logical_xor, self, other)

    def __rxor__(self, other):
        return _binary(arith.logical_xor, other, self)

    def __invert__(self):
        return _unary(arith.logical_not, self)

    # ---- in place: under no_grad, or where no gradient flows --------------------------------

    def __iadd__(self, other):
        return _in_place(arith.add, self, other, "x = x + y")

    def __isub__(self, other):
        return _in_place(arith.sub, self, other, "x = x - y")

    def __imul__(self, other):
        return _in_place(arith.mul, self, other, "x = x * y")

    def __itruediv__(self, other):
        return _in_place(arith.div, self, other, "x = x / y")

    def copy_(self, source):
        """Overwrite the elements with those of `source`, which broadcasts; returns self."""
        _refuse_if_recorded("copy_", "x = y.clone()", self, source)
        _write(self.array, source, "copy_")
        return self

    def fill_(self, value):
        """Overwrite every element with a number; returns self."""
        _refuse_if_recorded("fill_", "x = full_like(x, value)", self, value)
        _write(self.array, value, "fill_")
        return self

    # ---- elementwise ------------------------------------------------------------------------

    def exp(self):
        return _unary(arith.exp, self)

    def expm1(self):
        return _unary(arith.expm1, self)

    def log(self):
        return _unary(arith.log, self)

    def log1p(self):
        return _unary(arith.log1p, self)

    def sqrt(self):
        return _unary(arith.sqrt, self)

    def abs(self):
        return _unary(arith.abs_, self)

    def square(self):
        return _unary(arith.square, self)

    def erf(self):
        return _unary(arith.erf, self)

    def sign(self):
        return _unary(arith.sign, self)

    def exp2(self):
        return _unary(arith.exp2, self)

    def log2(self):
        return _unary(arith.log2, self)

    def log10(self):
        return _unary(arith.log10, self)

    def rsqrt(self):
        return _unary(arith.rsqrt, self)

    def reciprocal(self):
        return _unary(arith.reciprocal, self)

    def erfc(self):
        return _unary(arith.erfc, self)

    def sin(self):
        return _unary(arith.sin, self)

    def cos(self):
        return _unary(arith.cos, self)

    def tan(self):
        return _unary(arith.tan, self)

    def asin(self):
        return _unary(arith.asin, self)

    def acos(self):
        return _unary(arith.acos, self)

    def atan(self):
        return _unary(arith.atan, self)

    def sinh(self):
        return _unary(arith.sinh, self)

    def cosh(self):
        return _unary(arith.cosh, self)

    def asinh(self):
        return _unary(arith.asinh, self)

    def acosh(self):
        return _unary(arith.acosh, self)

    def atanh(self):
        return _unary(arith.atanh, self)

    def floor(self):
        return _unary(arith.floor, self)

    def ceil(self):
        return _unary(arith.ceil, self)

    def round(self):
        return _unary(arith.round_, self)

    def clamp(self, min=None, max=None):
        return _unary(arith.clamp, self, {"min": min, "max": max})

    def isfinite(self):
        return _unary(arith.isfinite, self)

    def isinf(self):
        return _unary(arith.isinf, self)

    def isnan(self):
        return _unary(arith.isnan, self)

    def logical_and(self, other):
        return _binary(arith.logical_and, self, other)

    def logical_or(self, other):
        return _binary(arith.logical_or, self, other)

    def logical_xor(self, other):
        return _binary(arith.logical_xor, self, other)

    def logical_not(self):
        return _unary(arith.logical_not, self)

    def remainder(self, other):
        return apply(arith.remainder, (self, other), _NO_ATTRS)

    def logaddexp(self, other):
        return apply(arith.logaddexp, (self, other), _NO_ATTRS)

    def hypot(self, other):
        return apply(arith.hypot, (self, other), _NO_ATTRS)

    def atan2(self, other):
        return apply(arith.atan2, (self, other), _NO_ATTRS)

    def lerp(self, other, weight):
        return apply(arith.lerp, (self, other, weight), _NO_ATTRS)

    def maximum(self, other):
        return apply(arith.maximum, (self, other), _NO_ATTRS)

    def minimum(self, other):
        return apply(arith.minimum, (self, other), _NO_ATTRS)

    def where(self, condition, other):
        return apply(arith.where, (condition, self, other), _NO_ATTRS)

    # ---- activations ------------------------------------------------------------------------

    def sigmoid(self):
        return _unary(act.sigmoid, self)

    def tanh(self):
        return _unary(act.tanh, self)

    def relu(self):
        return _unary(act.relu, self)

    def leaky_relu(self, slope=0.01, **wrong):
        return _unary(act.leaky_relu, self, {"slope": slope}, wrong)

    def elu(self, alpha=1.0):
        return _unary(act.elu, self, {"alpha": alpha})

    def selu(self):
        return _unary(act.selu, self)

    def gelu(self):
        return _unary(act.gelu, self)

    def gelu_tanh(self):
        return _unary(act.gelu_tanh, self)

    def celu(self, alpha=1.0):
        return _unary(act.celu, self, {"alpha": alpha})

    def silu(self):
        return _unary(act.silu, self)

    def mish(self):
        return _unary(act.mish, self)

    def softplus(self, beta=1.0, threshold=20.0):
        return _unary(act.softplus, self, {"beta": beta, "threshold": threshold})

    def logsigmoid(self):
        return _unary(act.logsigmoid, self)

    def softsign(self):
        return _unary(act.softsign, self)

    def hardtanh(self, min_val=-1.0, max_val=1.0):
        return _unary(act.hardtanh, self, {"min_val": min_val, "max_val": max_val})

    def relu6(self):
        return _unary(act.relu6, self)

    def hardsigmoid(self):
        return _unary(act.hardsigmoid, self)

    def hardswish(self):
        return _unary(act.hardswish, self)

    def tanhshrink(self):
        return _unary(act.tanhshrink, self)

    def softshrink(self, lambd=0.5):
        return _unary(act.softshrink, self, {"lambd": lambd})

    def hardshrink(self, lambd=0.5):
        return _unary(act.hardshrink, self, {"lambd": lambd})

    def threshold(self, threshold=0.0, value=0.0):
        return _unary(act.threshold, self, {"threshold": threshold, "value": value})

    def rrelu(self, lower=0.125, upper=0.3333333333333333):
        return _unary(act.rrelu, self, {"lower": lower, "upper": upper})

    def softmin(self, axis=-1, **wrong):
        return _unary(act.softmin, self, {"axis": axis}, wrong)

    def softmax(self, axis=-1, **wrong):
        return _unary(act.softmax, self, {"axis": axis}, wrong)

    def log_softmax(self, axis=-1, **wrong):
        return _unary(act.log_softmax, self, {"axis": axis}, wrong)

    def prelu(self, w):
        return apply(act.prelu, (self, w), _NO_ATTRS)

    def glu(self, axis=-1, **wrong):
        return _unary(act.glu, self, {"axis": axis}, wrong)

    def maxout(self, pieces=2):
        return _unary(act.maxout, self, {"pieces": pieces})

    # ---- reductions -------------------------------------------------------------------------

    def sum(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.sum_, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def prod(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.prod_, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def mean(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.mean, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def amax(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.amax, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def amin(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.amin, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def logsumexp(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.logsumexp, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def argmax(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.argmax, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def argmin(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.argmin, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def count_nonzero(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.count_nonzero, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def any(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.any_, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def all(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.all_, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def var(self, axis=None, correction=1, keepdims=False, **wrong):
        attrs = {"axis": axis, "correction": correction, "keepdims": keepdims}
        return _unary(reduction.var, self, attrs, wrong)

    def std(self, axis=None, correction=1, keepdims=False, **wrong):
        attrs = {"axis": axis, "correction": correction, "keepdims": keepdims}
        return _unary(reduction.std, self, attrs, wrong)

    def norm(self, p=2, axis=None, keepdims=False, **wrong):
        return _unary(reduction.norm, self, {"p": p, "axis": axis, "keepdims": keepdims}, wrong)

    def cumsum(self, axis=None, reverse=False, **wrong):
        return _unary(along.cumsum, self, {"axis": axis, "reverse": reverse}, wrong)

    def cumprod(self, axis=None, **wrong):
        return _unary(along.cumprod, self, {"axis": axis}, wrong)

    def argsort(self, axis=-1, descending=False, **wrong):
        return _unary(along.argsort, self, {"axis": axis, "descending": descending}, wrong)

    def sort(self, axis=-1, descending=False, **wrong):
        return apply(along.sort, (self,), {"axis": axis, "descending": descending}, wrong)

    def topk(self, k, axis=-1, largest=True, **wrong):
        """The k largest elements along an axis and their places: see `tinygrad_act.topk`."""
        return along.topk(self, k, axis, largest, **wrong)

    def max(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.max_, self, {"axis": axis, "keepdims": keepdims}, wrong)

    def min(self, axis=None, keepdims=False, **wrong):
        return _unary(reduction.min_, self, {"axis": axis, "keepdims": keepdims}, wrong)

    # ---- shape ------------------------------------------------------------------------------

    @property
    def T(self):
        """The tensor with its axes in reverse order: of a matrix, the transpose."""
        return _unary(shapes.permute, self, {"axes": tuple(range(self.ndim))[::-1]})

    def reshape(self, *shape):
        return _unary(shapes.reshape, self, {"shape": _spread(shape)})

    def permute(self, *axes):
        return _unary(shapes.permute, self, {"axes": _spread(axes)})

    def transpose(self, axis0=-2, axis1=-1, **wrong):
        return _unary(shapes.transpose, self, {"axis0": axis0, "axis1": axis1}, wrong)

    def expand(self, *shape):
        return _unary(shapes.expand, self, {"shape": _spread(shape)})

    def squeeze(self, axis=None, **wrong):
        return _unary(shapes.squeeze, self, {"axis": axis}, wrong)

    def unsqueeze(self, axis=0, **wrong):
        return _unary(shapes.unsqueeze, self, {"axis": axis}, wrong)

    def flatten(self, start_axis=0, end_axis=-1, **wrong):
        attrs = {"start_axis": start_axis, "end_axis": end_axis}
        return apply(shapes.flatten, (self,), attrs, wrong)

    def swapaxes(self, axis0, axis1, **wrong):
        return apply(shapes.swapaxes, (self,), {"axis0": axis0, "axis1": axis1}, wrong)

    def moveaxis(self, source, destination):
        return apply(shapes.moveaxis, (self,), {"source": source, "destination": destination})

    def flip(self, axis=None, **wrong):
        return _unary(rearrange.flip, self, {"axis": axis}, wrong)

    def roll(self, shift, axis=None, **wrong):
        return apply(rearrange.roll, (self,), {"shift": shift, "axis": axis}, wrong)

    def tile(self, *reps):
        return apply(rearrange.tile, (self,), {"reps": _spread(reps)})

    def repeat(self, repeats, axis=None, **wrong):
        return apply(rearrange.repeat, (self,), {"repeats": repeats, "axis": axis}, wrong)

    def pad(self, width, mode="constant", value=0.0):
        return _unary(rearrange.pad, self, {"width": width, "mode": mode, "value": value})

    def tril(self, k=0, **wrong):
        return _unary(rearrange.tril, self, {"k": k}, wrong)

    def triu(self, k=0, **wrong):
        return _unary(rearrange.triu, self, {"k": k}, wrong)

    def diagonal(self, offset=0, axis0=0, axis1=1, **wrong):
        attrs = {"offset": offset, "axis0": axis0, "axis1": axis1}
        return _unary(rearrange.diagonal, self, attrs, wrong)

    def split(self, size, axis=0, **wrong):
        """Parts of a length along an axis, see `tinygrad_act.split`."""
        return rearrange.split(self, size, axis, **wrong)

    def chunk(self, chunks, axis=0, **wrong):
        """So many parts along an axis, see `tinygrad_act.chunk`."""
        return rearrange.chunk(self, chunks, axis, **wrong)

    # ---- indexing ---------------------------------------------------------------------------

    def take(self, index, axis=None, **wrong):
        return apply(indexing.take, (self, index), {"axis": axis}, wrong)

    def index_select(self, index, axis, **wrong):
        return apply(indexing.index_select, (self, index), {"axis": axis}, wrong)

    def gather(self, index, axis, **wrong):
        return apply(indexing.gather, (self, index), {"axis": axis}, wrong)

    def scatter_add(self, index, source, axis, **wrong):
        return apply(indexing.scatter_add, (self, index, source), {"axis": axis}, wrong)

    def masked_fill(self, mask, value):
        return apply(indexing.masked_fill, (self, mask), {"value": value})

    # ---- linear algebra ---------------------------------------------------------------------

    def matmul(self, other):
        return apply(linalg.matmul, (self, other), _NO_ATTRS)

    def dot(self, other):
        return apply(linalg.dot, (self, other), _NO_ATTRS)

    def outer(self, other):
        return apply(linalg.outer, (self, other), _NO_ATTRS)

    def trace(self, offset=0, axis0=0, axis1=1, **wrong):
        attrs = {"offset": offset, "axis0": axis0, "axis1": axis1}
        return apply(linalg.trace, (self,), attrs, wrong)

    def linear(self, w, b):
        return _ternary(linalg.linear, self, w, b)


_BASIC = {int, slice, type(None), type(Ellipsis)}  # indices that a view can show


def _index_items(index):
    """The items of an index as a tuple, those that are arrays or masks as Arrays."""
    return tuple(map(_index_item, index if isinstance(index, tuple) else (index,)))


def _index_item(item):
    if isinstance(item, Tensor):
        return item.array
    if isinstance(item, (list, tuple, bool)):
        return indexing.index_array(item)
    if isinstance(item, range):
        return indexing.index_array(list(item))
    if is_numpy(item) and (item.ndim or item.dtype.kind == "b"):
        return array_from_numpy(item)
    return item


def _spread(numbers):
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    if len(numbers) == 1 and isinstance(numbers[0], (tuple, list)):
        return tuple(numbers[0])
    return numbers


# ---- applying an op -------------------------------------------------------------------------


def _wrap(array, node):
    """A Tensor of an array and a node."""
    tensor = _new(Tensor)
    tensor.array = array
    tensor.node = node
    return tensor


def _unary(op, x, attrs=_NO_ATTRS, wrong=None):
    """Apply an op of one input; `wrong` holds keywords that it does not have."""
    if wrong:
        op.complete(wrong)
    # the plain case, in C; else None
    if (result := lib.quick_apply(op.shortcut, op, attrs, x)) is not None:
        return result
    array = x.array
    y = op.forward(array, **attrs) if attrs else op.forward(array)
    tensor = _new(Tensor)  # _wrap, written out: views and many other ops come by here
    tensor.array = y
    node = x.node
    if node is not None and graph.mode.recording and y.dtype.is_float:
        node = graph.Node(op, (node,), op.keep(y, array), attrs, _array.writes)
    else:
        node = None
    tensor.node = node
    return tensor


def _ternary(op, x, y, z):
    """Apply an op of three Tensors."""
    # the plain case, in C; else None
    if (result := lib.quick_apply(op.shortcut, op, _NO_ATTRS, x, y, z)) is not None:
        return result
    return apply(op, (x, y, z), _NO_ATTRS)


def _binary(op, x, y, attrs=_NO_ATTRS):
    """Apply an op of two inputs, one of which may be a number or a NumPy array."""
    # the plain case, in C; else None
    if (result := lib.quick_apply(op.shortcut, op, attrs, x, y)) is not None:
        return result
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        try:
            x, y = _operands(x, y)
        except TypeError:
            if all(isinstance(v, (Tensor, *_NUMBERS)) or is_numpy(v) for v in (x, y)):
                raise
            _refuse_lists(op, x, y)
            return NotImplemented  # let the other operand try; else Python says it well
    a, b = x.array, y.array
    if a.dtype is not b.dtype:
        return apply(op, (x, y), attrs)
    z = op.forward(a, b, **attrs) if attrs else op.forward(a, b)
    p, q = x.node, y.node
    node = None
    if (p is not None or q is not None) and graph.mode.recording and z.dtype.is_float:
        node = graph.Node(op, (p, q), op.keep(z, a, b), attrs, _array.writes)
    tensor = _new(Tensor)
    tensor.array = z
    tensor.node = node
    return tensor


_NUMBERS = (float, int)


def _refuse_lists(op, x, y):
    for data, tensor in ((x, y), (y, x)):
        # [0] * n repeats a list, where n is one integer
        if isinstance(data, (list, tuple)) and not (op is arith.mul and tensor.shape == ()):
            kind = type(data).__name__
            raise TypeError(f"{op.name}: a Tensor meets a {kind}; make it one with Tensor(...)")


def _operands(x, y):
    if isinstance(x, Tensor):
        return x, _as_tensor(y, x.array)
    return _as_tensor(x, y.array), y


def _as_tensor(x, like=None):
    """An input of an op as a Tensor: itself, a number, a NumPy array or an Array."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, _NUMBERS):
        if like is None:
            return _wrap(constant(x, number_dtype()), None)
        return _wrap(array_of(x, like), None)
    if is_numpy(x):
        return _wrap(array_from_numpy(x), None)
    if isinstance(x, Array):
        return _wrap(x, None)
    raise TypeError(f"an input must be a Tensor, a number or a NumPy array, not {x!r}")


_array_of_tensor = attrgetter("array")
_node_of_tensor = attrgetter("node")
_memory_of_array = attrgetter("memory")


@interpreter(Tensor)
def apply(op, inputs, attrs, wrong=None):
    """Apply an op to Tensors, numbers and NumPy arrays, and record it.

    Parameters
    ----------
    op : Op
    inputs : sequence
        Its inputs; a number takes the dtype of the first float tensor it meets.
    attrs : dict
        All of its attributes.
    wrong : dict, optional
        Keywords that were given, but that it does not have.

    Raises
    ------
    TypeError, ValueError
        As the op says, before any kernel runs.
    """
    if wrong:
        op.complete(wrong)
    if op.composed:
        return _compose(op, inputs, attrs)
    if len(inputs) == 1:
        return _unary(op, inputs[0], attrs)
    if len(inputs) == 2:
        x, y = inputs
        if type(x) is type(y) is Tensor and x.array.dtype is y.array.dtype:
            return _binary(op, x, y, attrs)
    try:
        arrays = list(map(_array_of_tensor, inputs))
    except AttributeError:  # not all are Tensors yet
        inputs = _all_tensors(op, inputs)
        arrays = list(map(_array_of_tensor, inputs))
    if op.promotes:
        dtype = arrays[-1].dtype
        for x in arrays[op.promotes - 1 :]:
            if x.dtype is not dtype:
                inputs = _promoted(inputs, op.promotes)
                arrays = list(map(_array_of_tensor, inputs))
                break
    y = op.forward(*arrays, **attrs)
    node = None
    if graph.mode.recording and y.dtype.is_float:
        parents = tuple(map(_node_of_tensor, inputs))
        if any(parents):
            node = graph.Node(op, parents, op.keep(y, *arrays), attrs, _array.writes)
    return _wrap(y, node)


def _compose(op, inputs, attrs):
    """Apply an op that is made of others, each of which is recorded."""
    if any(type(x) is not Tensor for x in inputs):
        inputs = _all_tensors(op, inputs)
    if op.promotes:
        inputs = _promoted(inputs, op.promotes)
    return op.forward(*inputs, **attrs)


def _all_tensors(op, inputs):
    """The inputs as Tensors; a number takes the dtype of what it meets, a float before all."""
    inputs = list(inputs)
    for i in op.indices:
        if isinstance(inputs[i], (list, tuple, int)):
            inputs[i] = _wrap(indexing.index_array(inputs[i]), None)
    try:
        inputs = [x if isinstance(x, _NUMBERS) else _as_tensor(x) for x in inputs]
        met = [x.array for x in inputs[max(op.promotes - 1, 0) :] if isinstance(x, Tensor)]
        like = next((x for x in met if x.dtype.is_float), met[0] if met else None)
        tensors = [_as_tensor(x, like) for x in inputs]
    except TypeError as error:
        raise TypeError(f"{op.name}: {error}") from None
    for i in range(op.promotes - 1):  # those before take no dtype: a bool stays a bool
        if isinstance(inputs[i], bool):
            tensors[i] = _wrap(number(inputs[i], bool_), None)
    return tensors


def _promoted(tensors, which):
    """The tensors, those from number `which` - 1 on in the dtype in which they meet.

    The casts are recorded, so that each input gets its gradient in its own dtype.
    """
    first, meeting = tensors[: which - 1], tensors[which - 1 :]
    dtype = meeting[0].dtype
    for x in meeting[1:]:
        dtype = dtype if x.dtype is dtype else promote(dtype, x.dtype)
    return [*first, *[x if x.dtype is dtype else x.astype(dtype) for x in meeting]]


# ---- in place -------------------------------------------------------------------------------


def _refuse_if_recorded(op, instead, *operands):
    if graph.mode.recording and any(isinstance(x, Tensor) and x.requires_grad for x in operands):
        raise RuntimeError(
            f"{op}: a tensor through which gradients flow cannot be written to; write "
            f"{instead}, or do it under no_grad()"
        )


def _value(source, target, op):
    """What is to be written into the array `target`: a number, a Tensor's array or NumPy's."""
    if isinstance(source, _NUMBERS):
        return number(source, target.dtype)
    if not isinstance(source, Tensor) and not is_numpy(source):
        raise TypeError(f"{op}: needs a Tensor, a number or a NumPy array, not {source!r}")
    return _as_tensor(source).array


def _write(target, source, op):
    """Overwrite an array with a number, or with values that broadcast to it."""
    value = _value(source, target, op)
    if _array.broadcast_shape(op, value.shape, target.shape) != target.shape:
        raise ValueError(f"{op}: shape {value.shape} does not fit into shape {target.shape}")
    copy_into(target, _array.expand(value, target.shape), op)


def _in_place(op, x, y, instead):
    name = f"{op.name} in place"
    _refuse_if_recorded(name, instead, x, y)
    try:
        y = _as_tensor(y, x.array)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    a, b = x.array, y.array
    if not a.dtype.is_float and (b.dtype.is_float or a.dtype is bool_ or op is arith.div):
        raise TypeError(f"{name}: x is {a.dtype} and cannot hold the result; write {instead}")
    if (
        a.shape == b.shape
        and a.dtype is b.dtype
        and a.dtype is not uint8  # computed in int64, as out of place
        and a.strides is None
        and b.strides is None
        and not overlap(b, a)
    ):
        mark_written(a, name)
        status = lib.tga_binary_forward(op.row, a.dtype.code, a.size, a.data, 1, b.data, 1, a.data)
        kernels.check(status, name)
    else:
        result = op.forward(a, b)
        if result.shape != a.shape:
            raise ValueError(f"{name}: y of shape {b.shape} does not fit into x of shape {a.shape}")
        copy_into(a, result, name)
    return x


# ---- backward -------------------------------------------------------------------------------


def _seed(output, gradient, op, create_graph):
    """The gradient with which backward begins."""
    if gradient is None:
        if output.size != 1:
            raise ValueError(
                f"{op}: the output has shape {output.shape}, so its gradient must be given; "
                f"or reduce it to one number, with .sum() or .mean()"
            )
        if create_graph:
            return _wrap(full(output.shape, 1.0, output.dtype), None)
        # a constant that is kept: `_run` hands out no memory of a seed, but copies it
        return _wrap(_array.reshape(constant(1.0, output.dtype), output.shape), None)
    if not isinstance(gradient, Tensor):
        gradient = Tensor(gradient, dtype=output.dtype)
    x, g = output.array, gradient.array
    if g.shape != x.shape or g.dtype is not x.dtype:
        raise ValueError(
            f"{op}: the output is {output.dtype} of shape {output.shape}, but its gradient is "
            f"{gradient.dtype} of shape {gradient.shape}"
        )
    return gradient


def _run(seeds, retain_graph, found=None, recorded=False):
    """Backward from `seeds` (node -> Array; node -> Tensor if it shall be recorded in turn).

    Gradients go to the leaves' `grad`, or, if `found` is given, to its keys; as Tensors.  One
    that is handed out shares its memory with no other: neither with the gradient of another node
    (addition passes its own on to both operands), nor with the seed.
    """
    if kernels.recorder is not None:
        kernels.recorder.note_leaves(seeds)
    arrays = [seed.array if recorded else seed for seed in seeds.values()]
    taken = set(map(_memory_of_array, arrays))

    def own(gradient):
        array = gradient.array if recorded else gradient
        if array.memory in taken or array.strides is not None:
            gradient = gradient.clone() if recorded else convert(array, array.dtype)
        tensor = gradient if recorded else _wrap(gradient, None)
        taken.add(tensor.array.memory)
        return tensor

    def added(before, gradient):
        if before is None:
            return gradient
        return before + gradient if recorded else arith.add.forward(before.array, gradient)

    def deliver(node, gradient):
        if found is not None:
            if node in found:
                found[node] = own(gradient)
            return gradient
        while True:  # until no other thread has delivered meanwhile
            before = node.grad
            total = own(added(before, gradient))
            if node.grad is before:
                node.grad = total
                return gradient

    watched = found
    if hooks.in_use:
        watched, deliver = _shown_to_hooks(found, deliver, recorded)
    if recorded:
        retain_graph = True if retain_graph is None else retain_graph
        graph.backward(seeds, _pull_back_recorded, deliver, retain_graph, watched)
    else:
        graph.backward(seeds, _pull_back, deliver, retain_graph, watched, _add_to)


def _shown_to_hooks(found, deliver, create_graph):
    """The same container and `deliver`, with the hooks in between."""
    nodes = hooks.watched()

    def deliver_shown(node, gradient):
        if node in nodes:
            shown = hooks.show(node, gradient if create_graph else _wrap(gradient, None))
            gradient = shown if create_graph else shown.array
        if node.op is None or found is not None:
            deliver(node, gradient)
        return gradient

    return {*nodes, *(found or ())}, deliver_shown


def _add_to(total, gradient):
    """total += gradient, for two arrays of one shape; total lies in C order."""
    # the plain case, in C; else None
    if lib.quick_add_to(arith.add.row, total, gradient) is not None:
        return total
    if gradient.strides is not None:
        return arith.add.forward(total, gradient)
    code, row = total.dtype.code, arith.add.row
    lib.tga_binary_forward(row, code, total.size, total.data, 1, gradient.data, 1, total.data)
    return total


def _check_fresh(node):
    """Raise if anything saved for a derivative has been written to since."""
    for value in node.saved:
        if type(value) is Array and value.memory.version > node.time:
            raise RuntimeError(
                f"backward: a tensor that {node.op.name} needs for its derivative, of shape "
                f"{value.shape}, was written to in place after it was used; clone() it before "
                f"the write"
            )


def _pull_back(node, gy):
    """The gradients of an op's inputs, as arrays: by kernels, recording nothing."""
    if _array.writes != node.time:
        _check_fresh(node)
    return node.op.backward(node.parents, gy, node.saved, node.attrs)


kernels.configure_engine(
    Tensor, graph.Node, graph.Leaf, graph.mode, _pull_back, convert, arith.add.row
)


def _pull_back_recorded(node, gy):
    """The same as tensors, by the record's formula: each step is recorded in turn.

    What was saved gets its place in the graph back: an input the node that made it,
    the output this very node.  Else a derivative through a saved y would be lost.
    """
    _check_fresh(node)
    saved = [
        _wrap(value, origin) if type(value) is Array else value
        for value, origin in zip(node.saved, (node, *node.parents), strict=True)
    ]
    return node.op.backward(node.parents, gy, saved, node.attrs)


def grad(
    outputs, inputs, grad_outputs=None, create_graph=False, retain_graph=None, allow_unused=True
):
    """The gradients of `outputs` with respect to `inputs`; no `.grad` is touched.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensors
        What is differentiated; the sum of all, if several.
    inputs : Tensor or sequence of Tensors
        With respect to what: leaves, or tensors computed on the way.
    grad_outputs : Tensor or sequence of (Tensor or None), optional
        The gradient with respect to each output.  Default: 1, for one element.
    create_graph : bool
        Record the computation of the gradients, so that they can be differentiated.
    retain_graph : bool, optional
        Keep the graph, to run again.  Default: as `create_graph`.
    allow_unused : bool
        Whether an input may be one on which no output depends; it gets zeros.  Default: True.

    Returns
    -------
    tuple of Tensor
        One for each input, of its shape; zeros where no output depends on it.

    Raises
    ------
    ValueError
        If an input does not require a gradient, or a gradient is missing or of the
        wrong shape; or if an input is not used and ``allow_unused=False``.

    Examples
    --------
    >>> x = Tensor(3.0, requires_grad=True)
    >>> (first,) = grad(x * x * x, x, create_graph=True)
    >>> (second,) = grad(first, x)
    >>> first.item(), second.item()
    (27.0, 18.0)
    """
    outputs, inputs = _sequence(outputs, "outputs"), _sequence(inputs, "inputs")
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: {len(outputs)} outputs, but {len(grad_outputs)} grad_outputs")
    for i, x in enumerate(inputs):
        if x.node is None:
            raise ValueError(f"grad: input {i} does not require a gradient")
    found = dict.fromkeys(x.node for x in inputs)
    is_plain = len(outputs) == 1 and not (create_graph or hooks.in_use)
    if not (is_plain and lib.quick_backward(*outputs, *grad_outputs, retain_graph, found)):
        seeds = {}
        for y, gradient in zip(outputs, grad_outputs, strict=True):
            if y.node is not None:
                seed = _seed(y, gradient, "grad", create_graph)
                seeds[y.node] = seeds[y.node] + seed if y.node in seeds else seed
        if create_graph:
            _run(seeds, retain_graph, found, recorded=True)
        else:
            _run({node: seed.array for node, seed in seeds.items()}, retain_graph, found)
    gradients, handed_out = [], set()
    for i, x in enumerate(inputs):
        gradient = found[x.node]
        if gradient is None:
            if not allow_unused:
                raise ValueError(f"grad: no output depends on input {i}")
            gradient = _wrap(full(x.shape, 0.0, x.dtype), None)
        elif x.node in handed_out:
            gradient = gradient.clone()
        handed_out.add(x.node)
        gradients.append(gradient)
    return tuple(gradients)


def _sequence(tensors, name):
    try:
        tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    except TypeError:
        tensors = [tensors]
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"grad: {name} must be Tensors, not {x!r}")
    return tensors


def from_numpy(a):
    """A Tensor on the same memory as a NumPy array.

    Parameters
    ----------
    a : numpy.ndarray
        Of one of the five dtypes.  Writes to either are seen by the other, and not
        noticed by the graph.

    Raises
    ------
    TypeError
        For anything else, and for other dtypes.
    """
    if not is_numpy(a) or not hasattr(a, "__array_finalize__"):  # which scalars do not have
        raise TypeError(f"from_numpy: needs a NumPy array, not {type(a).__name__}")
    return _wrap(view_of_numpy(a), None)


def from_dlpack(source):
    """A Tensor on the same memory as an array of another library.

    Parameters
    ----------
    source : object with ``__dlpack__``
        An array in the processor's memory: of PyTorch, JAX, NumPy and others.

    Raises
    ------
    TypeError
        For anything else, for memory elsewhere, and for other dtypes than the five.
    """
    from .interoperability import array_of_dlpack

    return _wrap(array_of_dlpack(source), None)
