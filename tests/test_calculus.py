"""Calculus: every derivative in the records against finite differences of its own function.

In arbitrary precision a central difference has 30 right digits, so no tolerance can hide a
wrong formula.  Nothing of C runs here but in the last two parts: the conventions, which hold
exactly and everywhere, and the rules of the ops that mix elements, which are written for
Tensors.
"""

import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mpmath import mp, mpf
from oracle import (
    BINARY,
    ELEMENTWISE,
    GENERAL,
    LOSSES,
    agree,
    away_from,
    by_name,
    derivative,
    difference,
    drawn_attrs,
    holds_floats,
    kinks_of,
    tensor,
    truth,
    with_source,
)

import tinygrad_act as tga
from tinygrad_act import Scalar, Tensor
from tinygrad_act.formula import REGISTRY
from tinygrad_act.ops import nested

# ---- one input ------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ELEMENTWISE, ids=by_name)
@given(data=st.data())
def test_derivative(op, data):
    attrs = data.draw(drawn_attrs(op), label="attrs")
    x = data.draw(away_from(kinks_of(op, attrs), *op.domain), label="x")
    slope = difference(lambda x: op.f(x, **attrs), x)
    assert agree(derivative(op, truth(op, x, **attrs), x, **attrs), slope)


@pytest.mark.parametrize("op", [op for op in ELEMENTWISE if op.stable is not op.f], ids=by_name)
@given(data=st.data())
def test_stable_form(op, data):
    """What is computed instead of the textbook formula is the same function."""
    attrs = data.draw(drawn_attrs(op), label="attrs")
    x = data.draw(st.floats(*op.domain), label="x")
    with mp.workdps(100):
        assert agree(op.stable(mpf(x), **attrs), truth(op, x, **attrs), digits=28)


# ---- two inputs -----------------------------------------------------------------------------


@pytest.mark.parametrize("op", BINARY, ids=by_name)
@given(data=st.data())
def test_binary_rule(op, data):
    x, y = [data.draw(st.floats(*bounds)) for bounds in op.domain]
    gz = data.draw(st.floats(-2.0, 2.0))
    if op.ties is not None:
        assume(not op.ties(x, y) and abs(x - y) > 1e-6)
    with mp.workdps(100):
        x, y, gz = mpf(x), mpf(y), mpf(gz)
        z = op.f(x, y)
        for which, rule in enumerate(op.vjp):
            slope = difference(op.f, x, y, which=which)
            assert agree(mpf(rule(gz, z, x, y)), gz * slope)


@pytest.mark.parametrize("op", LOSSES, ids=by_name)
@given(data=st.data())
def test_loss_derivatives(op, data):
    x, t = [data.draw(st.floats(*bounds)) for bounds in op.domain]
    attrs = data.draw(drawn_attrs(op), label="attrs")
    assume(op.distance is None or op.distance(x, t, **attrs) > 1e-6)
    with mp.workdps(100):
        x, t, attrs = mpf(x), mpf(t), {name: mpf(value) for name, value in attrs.items()}
        for which, rule in enumerate((op.dx, op.dt)):
            slope = difference(lambda *at: op.f(*at, **attrs), x, t, which=which)
            assert agree(mpf(rule(x, t, **attrs)), slope)


# ---- where the derivative jumps -------------------------------------------------------------

# name -> (attributes, point, exactly this derivative), for every point that a record names
AT_KINKS = {
    "relu": [({}, 0.0, 0.0)],
    "leaky_relu": [({"slope": 0.25}, 0.0, 0.25), ({"slope": 1 / 3}, 0.0, 1 / 3)],
    "elu": [({"alpha": 1.0}, 0.0, 1.0), ({"alpha": 0.375}, 0.0, 0.375)],
    "selu": [({}, 0.0, 1.75809934084737686)],
    "abs": [({}, 0.0, 0.0)],
    "sign": [({}, 0.0, 0.0)],
    "celu": [({"alpha": 0.375}, 0.0, 1.0)],
    "softsign": [({}, 0.0, 1.0)],
    "softplus": [({}, 20.0, 0.9999999979388464)],
    "hardtanh": [({}, -1.0, 0.0), ({}, 1.0, 0.0)],
    "relu6": [({}, 0.0, 0.0), ({}, 6.0, 0.0)],
    "hardsigmoid": [({}, -3.0, 0.0), ({}, 3.0, 0.0)],
    "hardswish": [({}, -3.0, 0.0), ({}, 3.0, 1.0)],
    "softshrink": [({"lambd": 0.5}, -0.5, 0.0), ({"lambd": 0.5}, 0.5, 0.0)],
    "hardshrink": [({"lambd": 0.5}, -0.5, 0.0), ({"lambd": 0.5}, 0.5, 0.0)],
    "threshold": [({"threshold": 0.0, "value": 2.0}, 0.0, 0.0)],
    "rrelu": [({"lower": 0.125, "upper": 0.375}, 0.0, 0.25)],
    "floor": [({}, x, 0.0) for x in (-2.0, -1.0, 0.0, 1.0, 2.0)],
    "ceil": [({}, x, 0.0) for x in (-2.0, -1.0, 0.0, 1.0, 2.0)],
    "round": [({}, x, 0.0) for x in (-1.5, -0.5, 0.5, 1.5)],
}


def test_every_kink_has_a_convention():
    for op in ELEMENTWISE:
        attrs = {name: attr.default for name, attr in op.attrs.items()}
        points = {x for _, x, _ in AT_KINKS.get(op.name, [])}
        assert points == set(kinks_of(op, attrs)), op.name


@pytest.mark.parametrize(
    "name, attrs, x, expected",
    [(name, *row) for name, rows in AT_KINKS.items() for row in rows],
)
@pytest.mark.parametrize("zero", [0.0, -0.0], ids=["+0", "-0"])
def test_convention_at_kink(name, attrs, x, expected, zero, isa):
    op = REGISTRY[name]
    x, attrs = x or zero, op.complete(attrs)
    exact = float(derivative(op, mpf(x), mpf(x), **attrs))
    assert exact == expected
    for dtype in ("float32", "float64"):
        expected = Tensor(exact, dtype=dtype).item()
        for create_graph in (False, True):  # the kernel, and the recorded formula
            leaf = Tensor([x, x], requires_grad=True, dtype=dtype)
            op(leaf, **attrs).backward(Tensor([1.0, 1.0], dtype=dtype), create_graph=create_graph)
            assert leaf.grad.tolist() == [expected] * 2, (dtype, create_graph)
    leaf = Scalar(x)
    op(leaf, **attrs).backward()
    assert leaf.grad == exact


# name -> (x, y, value, derivative with respect to x, to y): exactly these
AT_TIES = {
    "maximum": [
        (1.5, 1.5, 1.5, 0.5, 0.5),
        (0.0, -0.0, 0.0, 0.5, 0.5),
        (math.inf, math.inf, math.inf, 0.5, 0.5),
        (math.nan, 1.0, math.nan, 0.0, 0.0),
        (1.0, math.nan, math.nan, 0.0, 0.0),
    ],
    "minimum": [
        (1.5, 1.5, 1.5, 0.5, 0.5),
        (0.0, -0.0, -0.0, 0.5, 0.5),
        (math.nan, 1.0, math.nan, 0.0, 0.0),
    ],
    "pow": [
        (0.0, 0.0, 1.0, 0.0, 0.0),
        (0.0, 1.0, 0.0, 1.0, 0.0),
        (0.0, 2.0, 0.0, 0.0, 0.0),
        (2.0, 0.0, 1.0, 0.0, 0.6931471805599453),
        (-2.0, 3.0, -8.0, 12.0, math.nan),
        (-2.0, 0.5, math.nan, math.nan, math.nan),
        (0.0, 0.5, 0.0, math.inf, 0.0),
    ],
    "div": [
        (1.0, 0.0, math.inf, math.inf, -math.inf),
        (0.0, 0.0, math.nan, math.inf, math.nan),
    ],
    "remainder": [
        (4.0, 2.0, 0.0, 1.0, -2.0),
        (-4.0, 2.0, 0.0, 1.0, 2.0),
        (-1.0, 3.0, 2.0, 1.0, 1.0),
        (5.5, -2.0, -0.5, 1.0, 3.0),
        (5.0, math.inf, 5.0, 1.0, 0.0),
        (-5.0, math.inf, math.inf, 1.0, math.nan),
        (5.0, 0.0, math.nan, 1.0, math.nan),
    ],
    "logaddexp": [
        (0.0, 0.0, math.log(2), 0.5, 0.5),
        (-math.inf, -math.inf, -math.inf, 0.5, 0.5),
        (math.inf, math.inf, math.inf, 0.5, 0.5),
        (-math.inf, 1.0, 1.0, 0.0, 1.0),
        (1000.0, -1000.0, 1000.0, 1.0, 0.0),
    ],
    "hypot": [
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (3.0, -4.0, 5.0, 0.6, -0.8),
        (1e30, 0.0, 1e30, 1.0, 0.0),
    ],
    "atan2": [
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (0.0, -2.0, math.pi, -0.5, 0.0),
        (2.0, 0.0, math.pi / 2, 0.0, -0.5),
        (2.0**100, 0.0, math.pi / 2, 0.0, -(2.0**-100)),
    ],
}


def test_every_tie_has_a_convention():
    assert {op.name for op in BINARY if op.ties or op.conventions} == set(AT_TIES)


def same(x, y):
    return x == y or (math.isnan(x) and math.isnan(y))


@pytest.mark.parametrize("name", AT_TIES)
def test_convention_at_tie(name, isa, dtype):
    op = REGISTRY[name]
    for x, y, *expected in AT_TIES[name]:
        expected = [Tensor(v, dtype=dtype).item() for v in expected]
        for create_graph in (False, True):
            p, q = [Tensor(v, requires_grad=True, dtype=dtype) for v in (x, y)]
            z = op(p, q)
            z.backward(create_graph=create_graph)
            got = [v.item() for v in (z, p.grad, q.grad)]
            assert all(map(same, got, expected)), (x, y, got, expected)


def test_largest_shared():
    """The conventions of reductions and of maxout where several are the largest."""
    x = Tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], requires_grad=True)
    x.max(axis=1).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.5, 0.5], [Tensor(1 / 3).item()] * 3]
    x = Tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], requires_grad=True)
    x.min(axis=0).sum().backward()
    assert x.grad.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    x = Tensor([1.0, 1.0, 2.0, 3.0, 4.0, 4.0], requires_grad=True)
    for create_graph in (False, True):
        x.grad = None
        tga.maxout(x, pieces=3).backward(Tensor([5.0, 7.0]), create_graph=create_graph)
        assert x.grad.tolist() == [0.0, 0.0, 5.0, 0.0, 7.0, 0.0]


def test_bce_is_finite_at_0_and_1():
    for x, t, value, slope in [
        (0.0, 0.0, 0.0, 0.0),
        (1.0, 1.0, 0.0, 0.0),
        (0.0, 1.0, 100.0, -1e12),
        (1.0, 0.0, 100.0, 1e12),
    ]:
        for dtype in ("float32", "float64"):
            leaf = Tensor([x], requires_grad=True, dtype=dtype)
            loss = tga.bce(leaf, Tensor([t], dtype=dtype))
            loss.backward()
            assert loss.item() == value
            assert leaf.grad.item() == pytest.approx(slope, rel=1e-6, abs=0)


# ---- ops that mix elements: the rule, on Tensors, against differences of the reference ------


def weights(shape, rng):
    """A gradient to begin with: small whole numbers, none 0."""
    return nested.build(shape, lambda index: float(rng.choice([-3, -2, -1, 1, 2, 3])))


def slopes_of_reference(op, inputs, attrs, gy, which):
    """The gradient of sum(gy * reference) with respect to one input, element by element."""
    gy = nested.flat(gy)
    shape, items = nested.shape(inputs[which]), nested.flat(inputs[which])

    def weighted(*moved):
        changed = [*inputs[:which], nested.nest(moved, shape), *inputs[which + 1 :]]
        y = nested.flat(op.reference(*changed, **attrs))
        return sum((g * v for g, v in zip(gy, y, strict=True)), mpf(0))

    return [difference(weighted, *items, which=i) for i in range(len(items))]


@pytest.mark.parametrize("op", GENERAL, ids=by_name)
@given(seed=st.integers(0, 2**32 - 1))
def test_rule_of_mixing_op(op, seed):
    rng = random.Random(seed)
    inputs, attrs = op.sample(rng)
    attrs = with_source(attrs, "float64")
    wanted = [i for i, x in enumerate(inputs) if holds_floats(x)]
    leaves = [tensor(x, requires_grad=i in wanted) for i, x in enumerate(inputs)]
    y = op(*leaves, **attrs)
    gy = weights(y.shape, rng)
    seed = Tensor(nested.flat(gy), dtype=y.dtype).reshape(y.shape)
    by_kernel = tga.grad(y, [leaves[i] for i in wanted], seed, retain_graph=True)
    by_rule = tga.grad(y, [leaves[i] for i in wanted], seed, create_graph=True)
    for i, fused, recorded in zip(wanted, by_kernel, by_rule, strict=True):
        exact = slopes_of_reference(op, inputs, attrs, gy, i)
        for gradient in (fused, recorded):
            assert gradient.shape == leaves[i].shape
            for got, slope in zip(nested.flat(gradient.tolist()), exact, strict=True):
                # a few dozen terms of float64, each at most some tens in size
                assert abs(got - slope) <= 1e-12 * (1 + abs(slope)), (inputs, attrs, i)
