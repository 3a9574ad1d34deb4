"""Random programs on Tensors, each mirrored number by number on Scalars.

Hypothesis grows a graph step by step: values are used again, summed, multiplied as
matrices, moved about, sent backward at any time, and leaves follow their gradients.  What
was computed element by element must agree to the bit.  Where a sum comes in, whose order a
kernel chooses for itself, values and gradients may differ by rounding: the bound is a
multiple of the sum over all paths of the absolute values that are multiplied along each.
"""

import math
import random
from functools import wraps

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from strategies import BINARY, ELEMENTWISE, draw_attrs, isas, lay_out, layouts

import tinygrad_act as tga
from tinygrad_act import Scalar, Tensor, graph, no_grad, use_isa
from tinygrad_act import scalar as scalar_engine

SMOOTH = [op for op in ELEMENTWISE + BINARY if not op.kinks and not getattr(op, "ties", None)]
LARGEST = 50.0  # of the numbers that sums are made of

numbers = st.integers(-48, 48).map(lambda n: n / 16 + 1 / 64)  # no zeros, no ties at small integers


def each(function, *arrays):
    """`function` of the elements of arrays of Scalars, with broadcasting."""
    with np.errstate(all="ignore"):
        return as_array(np.frompyfunc(function, len(arrays), 1)(*arrays))


def as_array(x):
    """np.frompyfunc gives a bare object for a 0-d array."""
    if isinstance(x, np.ndarray):
        return x
    array = np.empty((), object)
    array[()] = x
    return array


def floats(scalars):
    return np.array([s.data for s in scalars.flat], "float64").reshape(scalars.shape)


def added(scalars):
    """The sum of a sequence of Scalars, from left to right."""
    total = scalars[0]
    for s in scalars[1:]:
        total = total + s
    return total


def assert_same_bits(got, expected):
    same = got.view("int64") == expected.view("int64")
    same |= np.isnan(got) & np.isnan(expected)
    assert same.all(), f"{got} for {expected}"


class Value:
    """A Tensor and its mirror, an array of Scalars; `exact` if both must agree to the bit.

    A leaf has two more attributes about its gradient: whether that is exact, too, and else
    by how much the two may differ.
    """

    def __init__(self, tensor, scalars, exact):
        self.tensor, self.scalars, self.exact = tensor, scalars, exact
        assert tensor.shape == scalars.shape
        got, expected = tensor.numpy().copy(), floats(scalars)
        if exact:
            assert_same_bits(got, expected)
        else:
            assert np.abs(got - expected).max() <= 1e-11 * LARGEST
        self.clear()

    def clear(self):
        """No gradient has arrived."""
        self.grad_is_exact, self.slack = True, np.zeros(self.tensor.shape)

    @property
    def is_leaf(self):
        return type(self.tensor.node) is graph.Leaf

    @property
    def is_tame(self):
        return bool(np.all(np.abs(self.tensor.numpy()) <= LARGEST))


class DoesNotApply(Exception):
    """A step that cannot be taken here; the program goes on with the next."""


def only_if(condition):
    if not condition:
        raise DoesNotApply


def step(**draws):
    """A rule that needs a value to begin with, and that may not apply."""

    def declare(function):
        @wraps(function)
        def attempt(self, **drawn):
            try:
                function(self, **drawn)
            except DoesNotApply:
                pass

        return precondition(lambda self: self.values)(rule(**draws)(attempt))

    return declare


class Programs(RuleBasedStateMachine):
    @initialize(isa=isas)
    def start(self, isa):
        self.values = []
        self.leaves = []
        self.isa = use_isa(isa)
        self.isa.__enter__()

    def teardown(self):
        if hasattr(self, "isa"):
            self.isa.__exit__(None, None, None)

    def add(self, tensor, scalars, exact):
        self.values.append(Value(tensor, scalars, exact))

    def pick(self, data, fits=lambda value: True):
        """One of the values, mostly a late one."""
        fitting = [i for i, value in enumerate(self.values) if fits(value)]
        if not fitting:
            raise DoesNotApply
        late = st.sampled_from(fitting[-3:])
        return self.values[data.draw(st.one_of(late, st.sampled_from(fitting)), label="value")]

    # ---- values out of nothing --------------------------------------------------------------

    @rule(data=st.data(), shape=st.sampled_from([(), (1,), (3,), (2, 3), (3, 2), (2, 2), (1, 3)]))
    def leaf(self, data, shape):
        rows = [data.draw(numbers) for _ in range(math.prod(shape))]
        values = np.array(rows, "float64").reshape(shape)
        tensor = lay_out(Tensor(values), data.draw(layouts))
        tensor.requires_grad = True
        self.add(tensor, each(Scalar, as_array(values.astype(object))), True)
        self.leaves.append(self.values[-1])

    # ---- element by element -----------------------------------------------------------------

    @step(data=st.data(), op=st.sampled_from(ELEMENTWISE), seed=st.integers(0, 99))
    def unary(self, data, op, seed):
        x = self.pick(data, lambda value: value.exact or op in SMOOTH)
        self.apply(op, [x], [x.tensor], [x.scalars], draw_attrs(op, random.Random(seed)))

    @step(data=st.data(), op=st.sampled_from(BINARY))
    def binary(self, data, op):
        def meets(value):
            sizes = zip(reversed(x.tensor.shape), reversed(value.tensor.shape))
            return (value.exact or op in SMOOTH) and all(a == b or 1 in (a, b) for a, b in sizes)

        x = self.pick(data, lambda value: value.exact or op in SMOOTH)
        y = self.pick(data, meets)
        self.apply(op, [x, y], [x.tensor, y.tensor], [x.scalars, y.scalars], {})

    @step(data=st.data(), op=st.sampled_from(BINARY), number=numbers, first=st.booleans())
    def binary_with_number(self, data, op, number, first):
        x = self.pick(data, lambda value: value.exact or op in SMOOTH)
        scalars = [x.scalars, as_array(number)]
        tensors = [x.tensor, number]
        self.apply(op, [x], tensors[:: -1 if first else 1], scalars[:: -1 if first else 1], {})

    def apply(self, op, values, tensors, scalars, attrs):
        shapes = {np.shape(x) for x in scalars if np.shape(x) or isinstance(x[()], Scalar)}
        exact = all(value.exact for value in values) and len(shapes) == 1
        if not exact:
            only_if(all(value.is_tame for value in values))
            only_if(well_conditioned(op, scalars, attrs))
        result = each(lambda *inputs: op(*inputs, **attrs), *scalars)
        if not exact:
            only_if(np.all(np.abs(floats(result)) <= LARGEST))
        self.add(op(*tensors, **attrs), result, exact)

    # ---- sums -------------------------------------------------------------------------------

    @step(data=st.data(), keepdims=st.booleans(), mean=st.booleans())
    def reduce(self, data, keepdims, mean):
        x = self.pick(data, lambda value: value.is_tame)
        ndim = x.tensor.ndim
        axis = data.draw(st.one_of(st.none(), *[st.integers(-ndim, ndim - 1)] * (ndim > 0)))
        rows = x.scalars.reshape(-1, 1) if axis is None else np.moveaxis(x.scalars, axis, 0)
        columns = rows.reshape(rows.shape[0], -1)
        totals = np.empty(columns.shape[1], object)
        for i, column in enumerate(columns.T):
            totals[i] = added(column) / len(column) if mean else added(column)
        shape = list(x.tensor.shape) if axis is not None else [1] * ndim
        if axis is not None:
            shape[axis] = 1
            if not keepdims:
                del shape[axis]
        elif not keepdims:
            shape = []
        scalars = totals.reshape(shape)
        only_if(np.all(np.abs(floats(scalars)) <= LARGEST))
        op = tga.mean if mean else tga.sum
        self.add(op(x.tensor, axis=axis, keepdims=keepdims), scalars, False)

    @step(data=st.data())
    def matmul(self, data):
        x = self.pick(data, lambda value: value.is_tame and value.tensor.ndim)
        inner = x.tensor.shape[-1]

        def fits(value):
            shape = value.tensor.shape
            return value.is_tame and shape and shape[-2:][0] == inner

        w = self.pick(data, fits)
        a = x.scalars if x.scalars.ndim > 1 else x.scalars[None, :]
        b = w.scalars if w.scalars.ndim > 1 else w.scalars[:, None]
        product = np.empty((len(a), b.shape[1]), object)
        for i, j in np.ndindex(product.shape):
            product[i, j] = added([p * q for p, q in zip(a[i], b[:, j])])
        scalars = product.reshape(x.scalars.shape[:-1] + w.scalars.shape[1:])
        only_if(np.all(np.abs(floats(scalars)) <= LARGEST))
        self.add(x.tensor @ w.tensor, scalars, False)

    # ---- moved about: the values stay exact, but gradients are added up in other orders -----

    @step(data=st.data())
    def transpose(self, data):
        x = self.pick(data, lambda value: value.is_tame)
        self.add(x.tensor.T, x.scalars.T, False)

    @step(data=st.data())
    def flatten(self, data):
        x = self.pick(data, lambda value: value.is_tame)
        self.add(x.tensor.reshape(-1), x.scalars.reshape(-1), False)

    @step(data=st.data(), start=st.integers(0, 1), step=st.sampled_from([1, 2, -1]))
    def index(self, data, start, step):
        x = self.pick(data, lambda value: value.is_tame and value.tensor.ndim)
        part = slice(None, None, -1) if step < 0 else slice(start, None, step)
        only_if(x.scalars[part].size)
        self.add(x.tensor[part], x.scalars[part], False)

    @step(data=st.data())
    def detach(self, data):
        x = self.pick(data)
        copies = each(lambda s: Scalar(s.data, requires_grad=False), x.scalars)
        self.add(x.tensor.detach(), copies, x.exact)

    # ---- backward ---------------------------------------------------------------------------

    @step(data=st.data())
    def backward(self, data):
        y = self.pick(data, is_computed)
        self.go_backward(y, retain_graph=True)

    @step(data=st.data())
    def backward_and_free(self, data):
        y = self.pick(data, is_computed)
        self.go_backward(y, retain_graph=False)
        before = [leaf.tensor.grad for leaf in self.leaves]
        with pytest.raises(RuntimeError, match="freed"):
            y.tensor.backward(tga.ones_like(y.tensor))
        for leaf, gradient in zip(self.leaves, before):
            assert leaf.tensor.grad is gradient
        self.values = list(self.leaves)  # parts of the others may be freed

    def go_backward(self, y, retain_graph):
        paths, visited = self.sums_over_paths(y)
        y.tensor.backward(tga.ones_like(y.tensor), retain_graph=retain_graph)
        for s in y.scalars.flat:
            if s.node is not None:
                s.backward(retain_graph=True)  # elements share parts of their graphs
        for leaf in self.leaves:
            terms = np.array([paths.get(s.node, 0.0) for s in leaf.scalars.flat])
            leaf.slack = leaf.slack + 1e-14 * visited * terms.reshape(leaf.slack.shape)
            leaf.grad_is_exact &= y.exact or not any(s.node in paths for s in leaf.scalars.flat)
            self.compare_gradient(leaf)

    def sums_over_paths(self, y):
        """Per leaf the sum over all paths of the product of absolute derivatives along each,
        and the number of nodes on them: this, with the signs, is the gradient."""
        found, visited = {}, set()

        def absolute(node, gradient):
            visited.add(node)
            contributions = scalar_engine._pull_back(node, Scalar(gradient, requires_grad=False))
            return [abs(g.data) for g in contributions]

        def add_up(leaf, gradient):
            found[leaf] = found.get(leaf, 0.0) + gradient

        roots = {s.node: 1.0 for s in y.scalars.flat if s.node is not None}
        with no_grad():
            graph.backward(roots, absolute, add_up, retain_graph=True)
        return found, len(visited) + 1

    def compare_gradient(self, leaf):
        got, expected = gradients_of(leaf)
        if leaf.grad_is_exact:
            assert_same_bits(got, expected)
        else:
            usable = np.isfinite(leaf.slack + expected)
            assert np.all((np.abs(got - expected) <= leaf.slack)[usable]), (got, expected)

    # ---- learning ---------------------------------------------------------------------------

    @step(data=st.data())
    def zero_grad(self, data):
        leaf = self.pick(data, lambda value: value.is_leaf)
        leaf.tensor.grad = None
        for s in leaf.scalars.flat:
            s.grad = None
        leaf.clear()

    @step(data=st.data())
    def descend(self, data):
        """A leaf follows its gradient; values computed from it before are stale."""
        leaf = self.pick(data, lambda value: value.is_leaf and value.tensor.grad is not None)
        got, expected = gradients_of(leaf)
        only_if(np.abs(got).max() <= LARGEST and leaf.grad_is_exact)
        with no_grad():
            leaf.tensor -= 0.125 * leaf.tensor.grad
        for s in leaf.scalars.flat:
            s.data -= 0.125 * (s.grad or 0.0)
        assert_same_bits(leaf.tensor.numpy().copy(), floats(leaf.scalars))
        self.values = list(self.leaves)


def is_computed(value):
    return value.tensor.requires_grad and not value.is_leaf


def gradients_of(leaf):
    """Of the Tensor, and of its mirror."""
    got, expected = leaf.tensor.grad, [s.grad for s in leaf.scalars.flat]
    if leaf.grad_is_exact:
        assert (got is None) == all(g is None for g in expected)
    got = np.zeros(leaf.tensor.shape) if got is None else got.numpy().copy()
    return got, np.array([0.0 if g is None else g for g in expected]).reshape(got.shape)


def well_conditioned(op, scalars, attrs):
    """Whether the op's first and second derivatives are small, so that errors stay small."""
    for numbers in np.broadcast(*scalars):
        inputs = [Scalar(x.data if isinstance(x, Scalar) else x) for x in numbers]
        op(*inputs, **attrs).backward(create_graph=True)
        first = [x.grad for x in inputs]
        for slope in first:
            for x in inputs:
                x.grad = None
            if slope.node is not None:
                slope.backward(retain_graph=True)
            if not all(abs(g) <= 8 for g in (slope.data, *[x.grad or 0.0 for x in inputs])):
                return False
    return True


TestPrograms = Programs.TestCase
TestPrograms.settings = settings(max_examples=2 * settings().max_examples, stateful_step_count=40)
