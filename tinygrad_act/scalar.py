"""Scalar: the engine on single numbers.

Read this after ``graph.py``: the same graph, the same rules and the same kernels as
for tensors, without shapes, memory or broadcasting.  It is the specification that
tensors are tested against: in float64 both give the same bits.

>>> x = Scalar(2.0)
>>> y = x * x + 1
>>> y.backward()
>>> x.grad
4.0
"""

from . import graph, kernels
from .dtype import float64
from .formula import Value, evaluate, interpreter
from .op import Binary, Elementwise, pair

lib = kernels.lib


class Scalar(Value):
    """A number that remembers how it was computed.

    Parameters
    ----------
    data : float
        The number; computed with in float64.
    requires_grad : bool
        Whether it is a leaf that collects a gradient.  Default: True.

    Attributes
    ----------
    data : float
    node : Node or None
    grad : float, Scalar or None
        The sum of the gradients that `backward` has brought; a Scalar, which can be
        differentiated again, after ``backward(create_graph=True)``.
    """

    __slots__ = ("data", "node")

    def __init__(self, data, requires_grad=True):
        self.data = float(data)
        self.node = graph.Leaf() if requires_grad else None

    @property
    def grad(self):
        return self.node.grad if type(self.node) is graph.Leaf else None

    @grad.setter
    def grad(self, value):
        if type(self.node) is not graph.Leaf:
            raise RuntimeError("grad: only a leaf that requires a gradient has one")
        self.node.grad = value

    def backward(self, create_graph=False, retain_graph=None):
        """Add the derivative of this number with respect to each leaf to the leaf's `grad`.

        Parameters
        ----------
        create_graph : bool
            Record the derivative's own computation, so that it can be differentiated.
        retain_graph : bool, optional
            Keep the graph, to run backward again.  Default: as `create_graph`.

        Raises
        ------
        RuntimeError
            If no leaf that requires a gradient took part, or the graph has been freed.
        """
        if self.node is None:
            raise RuntimeError("backward: this Scalar was not computed from any leaf")
        seeds = {self.node: Scalar(1.0, requires_grad=False)}
        retain_graph = create_graph if retain_graph is None else retain_graph
        if create_graph:
            graph.backward(seeds, _pull_back_recorded, _deliver, retain_graph)
            return
        with graph.no_grad():
            graph.backward(seeds, _pull_back, _deliver, retain_graph)

    def __float__(self):
        return self.data

    def __bool__(self):
        return bool(self.data)

    def __repr__(self):
        made_by = f", op={self.node.op.name}" if self.node is not None and self.node.op else ""
        return f"Scalar({self.data!r}{made_by})"


def _number(op, x):
    """What a kernel gets for an input: the number itself."""
    if isinstance(x, Scalar):
        return x.data
    if isinstance(x, (float, int)):
        return x
    raise TypeError(f"{op.name}: needs a Scalar or a number, not {x!r}")


@interpreter(Scalar)
def apply(op, inputs, attrs):
    """Apply an op to Scalars and numbers, and record it."""
    if not isinstance(op, (Elementwise, Binary)):
        if op.by_element is not None:  # made of other ops; those are recorded
            y = op.by_element(*inputs, **attrs)
            return y if isinstance(y, (Scalar, bool)) else _constant(y)
        raise TypeError(f"{op.name}: works on Tensors, not on Scalars")
    numbers = [_number(op, x) for x in inputs]
    if isinstance(op, Binary) and op.compares:
        return op.on_numbers(*numbers)
    y = Scalar(op.on_numbers(*numbers, **attrs), requires_grad=False)
    parents = tuple([x.node if isinstance(x, Scalar) else None for x in inputs])
    if graph.mode.recording and any(parents):
        y.node = graph.Node(op, parents, (y.data, *numbers), attrs, 0)
    return y


def _pull_back(node, gy):
    """The gradients of an op's inputs: by the row of C that tensors use, or by its rule."""
    op = node.op
    if isinstance(op, Elementwise) and op.row >= 0:
        saved = node.saved[0 if op.row_reads_y else 1]
        attrs = pair(node.attrs, op.name)
        return [_constant(lib.tga_unary_backward_scalar(op.row, gy.data, saved, *attrs))]
    return _rule(op, gy, [_constant(x) for x in node.saved], node.attrs)


def _pull_back_recorded(node, gy):
    """The same by the rule, on Scalars that remember where they came from."""
    origins = (node, *node.parents)
    saved = [_constant(x) for x in node.saved]
    for value, origin in zip(saved, origins, strict=True):
        value.node = origin
    return _rule(node.op, gy, saved, node.attrs)


def _rule(op, gy, saved, attrs):
    if isinstance(op, Elementwise):
        return [gy * op.derivative(*saved, dtype=float64, **attrs)]
    return [evaluate(rule, float64, gy, *saved) for rule in op.vjp]


def _constant(x):
    return Scalar(x, requires_grad=False)


def _deliver(node, gradient):
    if type(node) is graph.Leaf:
        if not graph.mode.recording:
            gradient = gradient.data
        node.grad = gradient if node.grad is None else node.grad + gradient
