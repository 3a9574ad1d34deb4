"""Scalars are the specification: in float64, a Tensor gives their very bits.

Random expressions are drawn from the registry and run twice: number by number on Scalars,
and on Tensors that hold several numbers at once, in any layout.
"""

import math
import random
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import BINARY, ELEMENTWISE, OPS, by_name, draw_attrs, isas, layouts, leaf

import tinygrad_act as tga
from tinygrad_act import Scalar, Tensor, grad, use_isa
from tinygrad_act.op import Binary, General

# ---- random expressions ---------------------------------------------------------------------

moderate = st.floats(-4, 4)
anything = st.one_of(
    moderate,
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 5e-324, 1.7e308, 710.0]),
)


@st.composite
def expressions(draw):
    """Steps (op, operands, attributes); an operand is the index of an earlier value (the
    first `leaves` are given) or, for an op of two operands, a plain number."""
    leaves = draw(st.integers(1, 3))
    steps = []
    for made in range(draw(st.integers(1, 7))):
        op = draw(st.sampled_from(ELEMENTWISE + BINARY))
        earlier = st.integers(0, leaves + made - 1)
        if made:  # mostly use what was made last, so that little is left over
            earlier = st.one_of(st.just(leaves + made - 1), earlier)
        operands = [draw(earlier) for _ in op.inputs]
        if isinstance(op, Binary) and draw(st.integers(0, 3)) == 0:
            operands[draw(st.integers(0, 1))] = draw(
                st.one_of(moderate, st.integers(-3, 3).map(float))
            )
        steps.append((op, operands, draw_attrs(op, random.Random(draw(st.integers(0, 99))))))
    return leaves, steps


def evaluate(steps, leaves):
    """Every value of the expression on these leaves, of whatever kind they are."""
    values = list(leaves)
    for op, operands, attrs in steps:
        inputs = [values[i] if isinstance(i, int) else i for i in operands]
        values.append(op(*inputs, **attrs))
    return values


def describe(leaves, steps):
    lines = [
        f"v{leaves + n} = {op.name}{tuple(f'v{i}' if isinstance(i, int) else i for i in operands)}"
        f" {attrs or ''}"
        for n, (op, operands, attrs) in enumerate(steps)
    ]
    return "\n".join(lines)


def assert_same_bits(got, expected, message):
    got, expected = np.asarray(got, "float64"), np.asarray(expected, "float64")
    same = (got.view("int64") == expected.view("int64")) | (np.isnan(got) & np.isnan(expected))
    assert same.all(), f"{message}\ntensor {got[~same]}, scalar {expected[~same]}"


@pytest.mark.parametrize("isa", tga.supported_isas())
@settings(max_examples=5 * settings().max_examples)
@given(expression=expressions(), data=st.data())
def test_tensor_has_the_bits_of_scalars(isa, expression, data):
    """Every value on the way, and the gradient of every leaf."""
    with use_isa(isa):
        compare_bits(isa, expression, data)


def compare_bits(isa, expression, data):
    leaves, steps = expression
    columns = data.draw(st.integers(1, 9))  # fewer and more than a vector register holds
    row = st.lists(anything, min_size=columns, max_size=columns)
    given_values = [data.draw(row) for _ in range(leaves)]
    message = f"{isa}\n{describe(leaves, steps)}"

    tensors = [leaf(row, layout=data.draw(layouts)) for row in given_values]
    by_tensor = evaluate(steps, tensors)
    by_tensor[-1].backward(tga.ones_like(by_tensor[-1]))
    for column in range(columns):
        scalars = [Scalar(row[column]) for row in given_values]
        by_scalar = evaluate(steps, scalars)
        by_scalar[-1].backward()
        for n, (y, s) in enumerate(zip(by_tensor, by_scalar, strict=True)):
            assert_same_bits(y[column].item(), s.data, f"{message}\nvalue of v{n}")
        for n, (x, s) in enumerate(zip(tensors, scalars, strict=True)):
            assert (x.grad is None) == (s.grad is None), f"v{n}"
            if s.grad is not None:
                assert_same_bits(x.grad[column].item(), s.grad, f"{message}\ngradient of v{n}")


@pytest.mark.parametrize("op", ELEMENTWISE + BINARY, ids=by_name)
@given(data=st.data())
def test_recorded_gradient_and_second_derivative(op, data):
    """By the records' rules on both sides; equal, but for the sign of a zero."""
    attrs = draw_attrs(op, random.Random(data.draw(st.integers(0, 99))))
    domains = op.domain if isinstance(op, Binary) else [op.domain]
    numbers = [data.draw(st.floats(*domain)) for domain in domains]
    with use_isa(data.draw(isas)):
        tensors, scalars = [leaf([x]) for x in numbers], [Scalar(x) for x in numbers]
        y = op(*tensors, **attrs)
        first = grad(y, tensors, tga.ones_like(y), create_graph=True)
        op(*scalars, **attrs).backward(create_graph=True)
        recorded = [s.grad for s in scalars]
        for a, b in zip(first, recorded, strict=True):
            np.testing.assert_array_equal(a.item(), float(b))
        for a, b in zip(first, recorded, strict=True):
            for s in scalars:
                s.grad = None
            if b.node is not None:  # else it is constant on this side of a kink
                b.backward(retain_graph=True)
            second = grad(a, tensors, tga.ones_like(a), retain_graph=True)
            for g, s in zip(second, scalars, strict=True):
                np.testing.assert_array_equal(g.item(), s.grad or 0.0)


@pytest.mark.parametrize(
    "op", [op for op in OPS if isinstance(op, Binary) and op.compares], ids=by_name
)
@given(x=anything, y=anything)
def test_comparisons(op, x, y):
    expected = bool(op(Tensor(x, dtype="float64"), Tensor(y, dtype="float64")))
    assert op(Scalar(x), Scalar(y)) is op(Scalar(x), y) is op(x, Scalar(y)) is expected
    assert op(x, y) is expected


@pytest.mark.parametrize("op", ELEMENTWISE + BINARY, ids=by_name)
@given(data=st.data())
def test_plain_numbers_give_plain_numbers(op, data):
    numbers = [data.draw(anything) for _ in op.inputs]
    y = op(*numbers)
    assert type(y) is float
    assert_same_bits(y, op(*map(Scalar, numbers)).data, f"{op.name}{numbers}")


# ---- what it is -----------------------------------------------------------------------------


def test_attributes():
    x = Scalar(2)
    assert (x.data, x.grad, float(x), bool(x), bool(Scalar(0.0))) == (2.0, None, 2.0, True, False)
    assert type(x.data) is float
    y = x * 3
    assert repr(x) == "Scalar(2.0)" and repr(y) == "Scalar(6.0, op=mul)"
    assert y.grad is None and Scalar(1.0, requires_grad=False).node is None


def test_operators():
    x, y = Scalar(3.0), Scalar(2.0)
    results = [x + y, x - y, x * y, x / y, x**y, -x, abs(-x), 1 + x, 1 - x, 2 * x, 6 / x, 2**x]
    assert [r.data for r in results] == [
        5.0,
        1.0,
        6.0,
        1.5,
        9.0,
        -3.0,
        3.0,
        4.0,
        -2.0,
        6.0,
        2.0,
        8.0,
    ]
    assert (x > y, x < y, x >= y, x <= y, x == y, x != y) == (True, False, True, False, False, True)


def test_grad_can_be_set_on_leaves_alone():
    x = Scalar(3.0)
    x.grad = 1.0
    (x * x).backward()
    assert x.grad == 7.0
    with pytest.raises(RuntimeError, match="only a leaf"):
        (x * x).grad = 1.0


def test_backward_without_a_leaf():
    with pytest.raises(RuntimeError, match="not computed from any leaf"):
        (Scalar(3.0, requires_grad=False) * 2).backward()


@pytest.mark.parametrize("op", [op for op in OPS if isinstance(op, General)], ids=by_name)
def test_ops_that_mix_elements_say_that_they_need_tensors(op):
    if op.by_element is not None:
        return
    inputs = [Scalar(1.0) for _ in op.inputs]
    with pytest.raises(TypeError, match=f"{op.name}.*Tensor"):
        op(*inputs)


def test_ops_of_several_operands_on_scalars():
    x, y, weight = [Scalar(v) for v in (1.0, 5.0, 0.25)]
    assert tga.where(True, x, 2.0) is x and tga.where(False, x, 2.0).data == 2.0
    z = tga.lerp(x, y, weight)
    z.backward()
    assert (z.data, x.grad, y.grad, weight.grad) == (2.0, 0.75, 0.25, 4.0)
    for number, answers in [(1.0, (True, False, False)), (INF, (False, True, False))]:
        assert tuple(op(Scalar(number)) for op in (tga.isfinite, tga.isinf, tga.isnan)) == answers
    assert tga.isnan(Scalar(NAN)) and tga.isnan(NAN) and tga.lerp(1.0, 5.0, 0.5) == 3.0


@pytest.mark.parametrize("wrong", [None, "2", [2.0], object()])
def test_strangers_are_refused(wrong):
    with pytest.raises(TypeError):
        Scalar(1.0) + wrong
    with pytest.raises(TypeError):
        wrong * Scalar(1.0)


def test_scalar_and_tensor_do_not_mix():
    with pytest.raises(TypeError):
        Scalar(1.0) * Tensor([1.0])
    with pytest.raises(TypeError):
        Tensor([1.0]) * Scalar(1.0)


# ---- IEEE -----------------------------------------------------------------------------------

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("function", "x", "value", "derivative"),
    [
        (lambda x: 1 / x, 0.0, INF, -INF),
        (lambda x: 1 / x, -0.0, -INF, -INF),
        (lambda x: x / 0, 1.0, INF, INF),
        (lambda x: x / 0, 0.0, NAN, INF),
        (tga.log, 0.0, -INF, INF),
        (tga.log, -1.0, NAN, -1.0),
        (tga.log1p, -1.0, -INF, INF),
        (tga.sqrt, 0.0, 0.0, INF),
        (tga.sqrt, -1.0, NAN, NAN),
        (tga.exp, 1000.0, INF, INF),
        (tga.exp, -1000.0, 0.0, 0.0),
        (tga.exp, -INF, 0.0, 0.0),
        (lambda x: x**0.5, -4.0, NAN, NAN),
        (lambda x: x**-1, 0.0, INF, -INF),
        (lambda x: x**2, -3.0, 9.0, -6.0),
        (lambda x: x**0, 0.0, 1.0, 0.0),
        (lambda x: x * INF, 0.0, NAN, INF),
        (tga.sigmoid, INF, 1.0, 0.0),
        (tga.sigmoid, -1000.0, 0.0, 0.0),
        (tga.tanh, -INF, -1.0, 0.0),
        (tga.relu, NAN, NAN, 0.0),
    ],
)
def test_values_follow_ieee(function, x, value, derivative):
    for kind in (Scalar, Tensor):
        leaf = kind(x, requires_grad=True)
        y = function(leaf)
        y.backward()
        assert_same_bits([float(y), float(leaf.grad)], [value, derivative], kind.__name__)


# ---- higher order ---------------------------------------------------------------------------


def test_derivatives_of_any_order():
    x = Scalar(1.5)
    y, expected = x * x * x * x, [4 * 1.5**3, 12 * 1.5**2, 24 * 1.5, 24.0]
    for value in expected:
        x.grad = None
        y.backward(create_graph=True)
        y, x.grad = x.grad, None
        assert y.data == value


def test_second_derivative_through_a_saved_output():
    x = Scalar(0.5)
    tga.tanh(x).backward(create_graph=True)
    first, x.grad = x.grad, None
    first.backward()
    t = math.tanh(0.5)
    assert first.data == pytest.approx(1 - t * t, rel=1e-15)
    assert x.grad == pytest.approx(-2 * t * (1 - t * t), rel=1e-15)


# ---- an activation of the user's own --------------------------------------------------------


@pytest.fixture
def swish():
    """x * sigmoid(x), declared by its formula alone; it is gone after the test."""
    op = tga.activation(
        "my_swish",
        attrs={"beta": tga.Attr(1.0, drawn=(0.5, 2.0))},
        f=lambda x, beta: x * tga.sigmoid(beta * x),
        df=lambda x, y, beta: beta * y + tga.sigmoid(beta * x) * (1 - beta * y),
        saves="x y",
        kinks={},
    )
    yield op
    del tga.op.REGISTRY["my_swish"], tga.op.ACTIVATIONS["my_swish"]


@given(x=st.floats(-20, 20), beta=st.floats(0.5, 2.0))
def test_own_activation_on_scalars_and_tensors(x, beta):
    swish = tga.op.Elementwise(
        "own",
        attrs={"beta": tga.Attr(1.0, drawn=(0.5, 2.0))},
        f=lambda x, beta: x * tga.sigmoid(beta * x),
        df=lambda x, y, beta: beta * y + tga.sigmoid(beta * x) * (1 - beta * y),
        saves="x y",
    )
    s, t = Scalar(x), Tensor(x, requires_grad=True, dtype="float64")
    for y in (swish(s, beta=beta), swish(t, beta=beta)):
        y.backward()
        assert float(y) == pytest.approx(x / (1 + math.exp(-beta * x)), rel=1e-14)
    assert_same_bits(t.grad.item(), s.grad, "own")
    assert swish(x, beta=beta) == swish(Scalar(x), beta=beta).data


def test_own_activation_named_like_a_method_of_tensors():
    """The layer takes the activation, not the method."""
    with mock.patch.dict(tga.op.REGISTRY), mock.patch.dict(tga.op.ACTIVATIONS):
        tga.activation("detach", f=lambda x: 2 * x, df=lambda: 2, saves="")
        assert tga.nn.Sequential("detach")(Tensor([1.5])).tolist() == [3.0]


def test_own_activation_by_name(swish):
    net = tga.nn.Sequential("my_swish")
    x = Tensor([0.5, -2.0], requires_grad=True, dtype="float64")
    assert net(x).tolist() == swish(x).tolist()
    assert tga.testing.gradcheck(swish, [x], order=2)
    assert swish(1.0, beta=2.0) == pytest.approx(1 / (1 + math.exp(-2.0)))
    with pytest.raises(ValueError, match="'my_swish' exists already"):
        tga.activation("my_swish", f=lambda x: x, df=lambda: 1, saves="")


def test_own_activation_that_reads_what_it_does_not_save():
    with pytest.raises(ValueError, match="df reads .*'y'.*but saves is 'x'"):
        tga.activation("careless", f=lambda x: x, df=lambda y: y, saves="x")
    assert "careless" not in tga.op.REGISTRY and "careless" not in tga.op.ACTIVATIONS
