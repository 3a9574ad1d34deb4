"""The derivative of every op as it travels through the engine; generated from the registry.

Each test holds one property for all differentiable ops, over shapes, broadcasting pairs,
layouts of inputs and of gradients, and the instruction sets of the machine.  That the
formulas of the records are true, and the kernels exact, is tested elsewhere, in
arbitrary precision.
"""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import DIFFERENTIABLE, by_name, calls, isas, kinks_of, lay_out, layouts, leaf

import tinygrad_act as tga
from tinygrad_act import Scalar, Tensor, grad, use_isa
from tinygrad_act.formula import Value, interpreter
from tinygrad_act.op import ACTIVATIONS, Binary, Elementwise, General
from tinygrad_act.testing import gradcheck, gradgradcheck

every_op = pytest.mark.parametrize("op", DIFFERENTIABLE, ids=by_name)
# an op that is made of others has neither a rule nor a kernel: those of its parts are tested
every_rule = pytest.mark.parametrize(
    "op", [op for op in DIFFERENTIABLE if not op.composed], ids=by_name
)
in_both_precisions = pytest.mark.parametrize("precision", ["float32", "float64"])

half_as_often = settings(max_examples=settings().max_examples // 2)  # many checks in each example

EPS = {"float32": 2.0**-24, "float64": 2.0**-53}  # half a unit in the last place of 1


@st.composite
def gradients_for(draw, shape):
    """A gradient to begin with: numbers that float32 holds exactly, none of them 0."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.integers(1, 33, shape) * rng.choice([-1, 1], shape) / 16


def run(call, gy, precision, create_graph=False):
    """The gradients of a call, as float64 NumPy arrays."""
    leaves = call.leaves(precision)
    y = call(*leaves)
    gy = Tensor(gy, dtype=y.dtype)
    return [g.numpy().astype("float64") for g in grad(y, leaves, gy, create_graph=create_graph)]


# ---- against finite differences -------------------------------------------------------------


def is_straight(function, x):
    """Whether `function` runs straight from x - 1 to x + 1 along each axis.

    Then its differences can be taken with step 1: they have no error of truncation, and
    hardly one of rounding.
    """
    for index in np.ndindex(x.shape):
        values = []
        for step in (-1.0, 0.0, 0.625, 1.0):
            moved = x.copy()
            moved[index] += step
            values.append(function(Tensor(moved)).numpy().astype("float64"))
        below, here, between, above = values
        size = np.max(np.abs(values), initial=0.0)
        for bend in (below - 2 * here + above, 0.375 * here - between + 0.625 * above):
            if not np.all(np.abs(bend) <= 1e-14 * size):
                return False
    return True


@every_op
@half_as_often
@given(data=st.data())
def test_first_and_second_order_against_finite_differences(op, data):
    call = data.draw(calls(op, most=10))
    leaves = call.leaves()
    with use_isa(data.draw(isas)):
        for place, x in enumerate(leaves):

            def function(x, place=place):
                inputs = [one.detach() for one in leaves]
                inputs[place] = x
                return call(*inputs)

            # what is differenced: the values, and the gradient of the sum of their squares
            y = function(x)
            (g,) = grad((y * y).sum(), x)
            size = max(np.abs(a.numpy()).max(initial=0.0) for a in (y, g))
            if is_straight(function, x.numpy()):
                options = {"eps": 1.0, "rtol": 1e-13, "atol": 1e-14 * size}
            else:
                # truncation: eps**2 times a derivative of higher order; rounding: size / eps
                options = {"eps": 1e-6, "rtol": 1e-5, "atol": 1e-7 + 2e-9 * size}
            assert gradcheck(function, [x], order=2, **options)


@pytest.mark.parametrize("factor", [0.0, 0.999, 1.001, -1.0])
def test_gradcheck_notices_a_wrong_derivative(factor):
    wrong = Elementwise("wrong", f=lambda x: x * x, df=lambda x: factor * 2 * x)
    x = leaf([0.5, -2.0])
    with pytest.raises(AssertionError, match=r"element 0, with respect to input 0.*element \(0,\)"):
        gradcheck(wrong, [x])


def test_gradcheck_notices_a_wrong_second_derivative():
    # right at first order; the rule's own derivative is that of another function
    inner = Elementwise("inner", f=lambda x: 2 * x, df=lambda: 3)
    outer = Elementwise("outer_rule", f=lambda x: x * x, df=lambda x: inner(x))
    x = leaf([0.5, -2.0])
    assert gradcheck(outer, [x])
    with pytest.raises(AssertionError, match="finite differences"):
        gradcheck(outer, [x], order=2)


def test_gradgradcheck():
    # right at first order; the rule's own derivative is that of another function
    inner = Elementwise("inner_too", f=lambda x: 2 * x, df=lambda: 3)
    outer = Elementwise("outer_too", f=lambda x: x * x, df=lambda x: inner(x))
    x, y = leaf([0.5, -2.0]), leaf([1.5, 3.0])
    assert gradcheck(outer, [x])
    with pytest.raises(AssertionError, match="gradgradcheck.*finite differences"):
        gradgradcheck(outer, [x])
    assert gradgradcheck(lambda x, y: (x * y, x.exp() / y), [x, y])
    assert gradgradcheck(lambda x: 2 * x, [x])  # by the seed alone it is not constant
    # a derivative that is not recorded looks constant, and is not
    lost = lambda x: grad((x * x * x).sum(), x)[0]
    with pytest.raises(AssertionError, match="got 0.0"):
        gradcheck(lost, [x])


def test_gradcheck_leaves_its_inputs_as_they_were():
    x = leaf([0.1, -2.3])
    before = x.numpy().tobytes()
    gradcheck(lambda x: x.tanh(), [x], order=2)
    assert x.numpy().tobytes() == before and x.grad is None


# ---- the dot-product test -------------------------------------------------------------------


@every_rule
@given(data=st.data())
def test_dot_product(op, data):
    """<v, J'w> = <Jv, w>: the backward pass is the transpose of the derivative."""
    call = data.draw(calls(op))
    leaves = call.leaves()
    assume(all(x.dtype == "float64" for x in (call(*leaves), *leaves)))
    w = data.draw(gradients_for(call(*leaves).shape))
    v = [data.draw(gradients_for(x.shape)) for x in leaves]
    with use_isa(data.draw(isas)):
        gradients = run(call, w, "float64")

        def difference(h):
            above, below = [
                call(*[Tensor(x.numpy() + s * d) for x, d in zip(leaves, v)]).numpy()
                for s in (h, -h)
            ]
            return (above - below) / (2 * h)

        values = call(*leaves).numpy()
        assume(np.isfinite(values).all())  # the mean of nothing is nan
        jv = (4 * difference(1e-4) - difference(2e-4)) / 3  # Richardson: error of order h**4
    left = sum(np.sum(d * g) for d, g in zip(v, gradients))
    right = np.sum(jv * w)
    terms = sum(np.sum(np.abs(d * g)) for d, g in zip(v, gradients)) + np.sum(np.abs(jv * w))
    assert abs(left - right) <= 1e-7 * terms + 1e-11 * np.sum(np.abs(values * w))


# ---- how exact a gradient is ----------------------------------------------------------------


class Bounded(Value):
    """Numbers, each with a bound on the rounding error that it may carry.

    The records' formulas run on it: an op adds the error that its record states, and
    amplifies those of its inputs by its derivative.
    """

    def __init__(self, value, error, precision):
        self.value = np.asarray(value)
        self.error = np.broadcast_to(error, self.value.shape)
        self.precision = precision


def _bounded(x, precision):
    if isinstance(x, Bounded):
        return x
    is_exact = float(np.dtype(precision).type(x)) == x
    return Bounded(float(x), 0.0 if is_exact else EPS[precision] * abs(x), precision)


@interpreter(Bounded)
def _on_bounded(op, inputs, attrs):
    precision = next(x.precision for x in inputs if isinstance(x, Bounded))
    inputs = [_bounded(x, precision) for x in inputs]
    values = np.broadcast_arrays(*[x.value for x in inputs])
    errors = np.broadcast_arrays(*[x.error for x in inputs])
    if op.name == "where":
        return Bounded(np.where(*values), np.where(values[0], *errors[1:]), precision)
    if not isinstance(op, Elementwise) and op.compares:
        return Bounded(op.f(*values), 0.0, precision)
    leaves = [leaf(x) for x in values]
    y = op(*leaves, **attrs)
    error = op.max_ulp[precision] * 2 * EPS[precision] * np.abs(y.numpy())
    error = error + float(np.finfo(precision).smallest_subnormal)
    for slope, carried in zip(grad(y, leaves, tga.ones_like(y)), errors):
        amplified = np.zeros(error.shape)
        np.multiply(np.abs(slope.numpy()), carried, out=amplified, where=carried > 0)
        error = error + amplified
    return Bounded(y.numpy(), error, precision)


def bounds_on_gradients(call, gy, precision):
    """For each leaf how far its gradient may be off, computed in float32 or float64.

    From the records' `max_ulp` where an element depends on few numbers.  An op that mixes
    elements is measured by norms: n roundings of the largest sum of terms, plus what a
    rounding error of the inputs would do to the gradient.
    """
    op = call.op
    slack = 4  # a kernel may round in other places than the formula does
    if isinstance(op, General):
        bound = slack * EPS[precision] * _norm_of_terms(call, gy)
        return [np.full(x.shape, bound) for x in call.inputs if x.dtype.kind == "f"]
    exact = [Bounded(x, 0.0, precision) for x in (gy, *call.inputs)]
    y = op(*exact[1:], **call.attrs)
    if isinstance(op, Elementwise):
        gradients = [exact[0] * op.derivative(y, exact[1], **call.attrs)]
    else:
        gradients = [rule(exact[0], y, *exact[1:]) for rule in op.vjp]
    return [slack * _summed(g, x.shape, precision) for g, x in zip(gradients, call.inputs)]


def _summed(g, shape, precision):
    """The bound on a gradient after broadcasting is undone: errors add up, and each addition
    makes one."""
    lead = g.value.ndim - len(shape)
    axes = (*range(lead), *[lead + i for i, n in enumerate(shape) if n != g.value.shape[lead + i]])
    if not axes:
        return g.error
    count = np.prod([g.value.shape[axis] for axis in axes])
    error = g.error + count * EPS[precision] * np.abs(g.value)
    return error.sum(axis=axes).reshape(shape)


def _norm_of_terms(call, gy):
    leaves = call.leaves()
    y = call(*leaves)
    terms = [np.zeros(x.shape) for x in leaves]
    for index in np.ndindex(y.shape):
        one = np.zeros(y.shape)
        one[index] = gy[index]
        one = Tensor(one, dtype=y.dtype)
        for total, g in zip(terms, grad(y, leaves, one, retain_graph=True)):
            total += np.abs(g.numpy())
    amplified = [np.zeros(x.shape) for x in leaves]
    for x, index in [(one, index) for one in leaves for index in np.ndindex(one.shape)]:
        a, gradients = x.numpy(writable=True), []
        before = a[index]
        for h in (1e-5, -1e-5):
            a[index] = before + h
            gradients.append(grad(call(*leaves), leaves, Tensor(gy, dtype=y.dtype)))
            a[index] = before
        for total, above, below in zip(amplified, *gradients):
            total += np.abs(above.numpy() - below.numpy()) / 2e-5 * abs(before)
    n = max(a.size for a in (y, *leaves)) + 4
    return n * sum(np.max([np.max(np.abs(a), initial=0.0) for a in group])
                   for group in (terms, amplified, [gy]))  # fmt: skip


def assert_within(got, expected, bounds, call):
    for place, (a, b, bound) in enumerate(zip(got, expected, bounds, strict=True)):
        assert a.shape == b.shape == bound.shape
        off = np.abs(a - b) > bound
        assert not off.any(), f"{call}, leaf {place}: {a[off]} for {b[off]}, bound {bound[off]}"


@every_rule
@given(data=st.data())
def test_float32_against_float64(op, data):
    call = data.draw(calls(op, most=12))
    gy = data.draw(gradients_for(call(*call.leaves()).shape))
    with use_isa(data.draw(isas)):
        single, double = run(call, gy, "float32"), run(call, gy, "float64")
    assert_within(single, double, bounds_on_gradients(call, gy, "float32"), call)


@every_rule
@in_both_precisions
@half_as_often
@given(data=st.data())
def test_kernel_against_recorded_rule(op, precision, data):
    """Backward by C kernels, and by the formula in recorded ops: the same gradient."""
    call = data.draw(calls(op, most=None if not isinstance(op, General) else 12))
    gy = data.draw(gradients_for(call(*call.leaves()).shape))
    with use_isa(data.draw(isas)):
        by_kernel = run(call, gy, precision)
        by_rule = run(call, gy, precision, create_graph=True)
    assert_within(by_kernel, by_rule, bounds_on_gradients(call, gy, precision), call)


@every_rule
@given(data=st.data())
def test_constant_gradient_with_stride_0(op, data):
    """As `sum` hands it on: every element the same memory."""
    call = data.draw(calls(op))
    with use_isa(data.draw(isas)):
        y, leaves = call.on_leaves("float64", call.layouts)
        gradient = Tensor(1.5, dtype=y.dtype).expand(y.shape)
        shared = grad(y, leaves, gradient, retain_graph=True)
        plain = grad(y, leaves, gradient.clone())
    for a, b in zip(shared, plain, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


# ---- what must not depend on the layout -----------------------------------------------------


@every_op
@in_both_precisions
@given(data=st.data())
def test_bits_do_not_depend_on_the_layout(op, precision, data):
    """Neither of a leaf nor of the gradient that arrives; and none of them is written to."""
    call = data.draw(calls(op))
    with use_isa(data.draw(isas)):
        y, leaves = call.on_leaves(precision, ["contiguous"] * len(call.inputs))
        gy = Tensor(data.draw(gradients_for(y.shape)), dtype=y.dtype)
        expected = [a.numpy() for a in (y, *grad(y, leaves, gy))]

        y, leaves = call.on_leaves(precision, call.layouts)
        gy = lay_out(gy, call.layout_of_gradient)
        before = [a.numpy().tobytes() for a in (*leaves, gy, y)]
        got = [a.numpy() for a in (y, *grad(y, leaves, gy))]
    assert [a.numpy().tobytes() for a in (*leaves, gy, y)] == before
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert a.tobytes() == b.tobytes(), f"{call}: {a} for {b}"


# ---- whose memory a gradient is -------------------------------------------------------------


@every_op
@pytest.mark.parametrize("create_graph", [False, True])
@given(data=st.data())
def test_gradients_share_no_memory(op, create_graph, data):
    """With one another, with the gradient that backward began with, or with any value."""
    call = data.draw(calls(op))
    y, leaves = call.on_leaves("float64", call.layouts)
    gy = lay_out(Tensor(data.draw(gradients_for(y.shape)), dtype=y.dtype), data.draw(layouts))
    y.backward(gy, retain_graph=True, create_graph=create_graph)
    first = [x.grad for x in leaves]
    others = [*leaves, y, gy]
    for a, b in [*itertools.combinations(first, 2), *itertools.product(first, others)]:
        assert not np.shares_memory(a.numpy(), b.numpy()), call
    before = [g.numpy().tobytes() for g in first]
    y.backward(gy, create_graph=create_graph)
    assert [g.numpy().tobytes() for g in first] == before  # adding up makes a new tensor
    for x in leaves:
        x.grad = None


# ---- where the derivative jumps: what the records chose -------------------------------------


def at(function, *values):
    """The gradients of a function at single numbers."""
    leaves = [leaf(value) for value in values]
    return [g.item() for g in grad(function(*leaves), leaves)]


@pytest.mark.parametrize(
    "op", [op for op in DIFFERENTIABLE if isinstance(op, Elementwise) and op.kinks], ids=by_name
)
@in_both_precisions
def test_kernel_and_rule_choose_alike_at_kinks(op, precision):
    attrs = {name: 0.25 for name in op.attrs}
    points = np.array([0.0, -0.0, *kinks_of(op, attrs)])
    for sign in (1.0, -1.0):
        x = leaf(points, precision)
        gy = tga.full_like(x, sign)
        (by_kernel,) = grad(op(x, **attrs), x, gy)
        (by_rule,) = grad(op(x, **attrs), x, gy, create_graph=True)
        slack = 2 * EPS[precision] * op.max_ulp[precision]
        np.testing.assert_allclose(by_kernel.numpy(), by_rule.numpy(), rtol=slack)


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        (lambda x: tga.maximum(x, 2.0), [2.0], [0.5]),
        (lambda x: tga.maximum(x, x), [2.0], [1.0]),
        (lambda x: x**0, [0.0], [0.0]),
        (lambda x: x**2, [-3.0], [-6.0]),
        (lambda x: x**3, [0.0], [0.0]),
        (lambda x: 0.0**x, [2.0], [0.0]),
        (tga.sqrt, [0.0], [np.inf]),
        (tga.log, [0.0], [np.inf]),
    ],
)
def test_conventions(function, values, expected):
    assert at(function, *values) == pytest.approx(expected, rel=1e-15, abs=0.0)


@pytest.mark.parametrize("op", [tga.max, tga.min], ids=["max", "min"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_ties_of_an_extreme_share_the_gradient(op, create_graph):
    x = leaf([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    (g,) = grad(op(x, axis=1).sum(), x, create_graph=create_graph)
    assert g.tolist() == [[0.25] * 4] * 2
    (g,) = grad(op(x), x, create_graph=create_graph)
    assert g.tolist() == [[0.125] * 4] * 2


# ---- far out --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
@in_both_precisions
@pytest.mark.parametrize("size", [100.0, 1000.0])
def test_activations_far_out(name, precision, size, isa):
    """Value and both derivatives are finite, and the function is straight there."""
    x = leaf([[-size, size], [size, -size]], precision)
    y = ACTIVATIONS[name](x)
    weights = Tensor([[1.0, -2.0], [0.5, 3.0]], dtype=precision)[: y.shape[0], : y.shape[1]]
    (first,) = grad(y, x, weights, create_graph=True)
    (second,) = grad(first, x, tga.ones_like(first)) if first.requires_grad else (first * 0,)
    by_kernel = grad(ACTIVATIONS[name](x), x, weights)[0]
    for values in (y, first, second, by_kernel):
        assert np.isfinite(values.numpy()).all(), values
    if name != "softsign":  # whose second derivative falls like 1 / x**3
        assert np.abs(second.numpy()).max() <= 1e-20
    np.testing.assert_allclose(by_kernel.numpy(), first.numpy(), rtol=1e-6, atol=1e-20)


@pytest.mark.parametrize(
    "op",
    [op for op in DIFFERENTIABLE if isinstance(op, Elementwise) and op in ACTIVATIONS.values()],
    ids=by_name,
)
@in_both_precisions
def test_activations_at_the_ends_of_the_numbers(op, precision):
    """Kernel, rule and Scalar have the limits of the derivative, and the second one is finite."""
    most = np.finfo(precision).max.item()
    points = [s * x for x in (1e4, 1e10, 1e20, 1e30, most / 2, most, np.inf) for s in (1, -1)]
    x = leaf([*points, np.nan], precision)
    (by_kernel,) = grad(op(x), x, tga.ones_like(x))
    (by_rule,) = grad(op(x), x, tga.ones_like(x), create_graph=True)
    slopes = by_kernel.numpy()
    least = np.finfo(precision).tiny
    np.testing.assert_allclose(by_rule.numpy(), slopes, rtol=1e-6, atol=least)
    for point, slope in zip(x.tolist(), slopes):
        scalar = Scalar(point)
        op(scalar).backward()
        np.testing.assert_allclose(scalar.grad, slope, rtol=1e-6, atol=least)
    for far in (slopes[0::2], slopes[1::2]):  # each of one sign; nan is the last of the first
        np.testing.assert_allclose(far[: len(points) // 2], far[0], atol=1e-7)
    if by_rule.requires_grad:
        (second,) = grad(by_rule, x, tga.ones_like(x))
        np.testing.assert_allclose(second.numpy()[:-1], 0, atol=1e-11)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@in_both_precisions
def test_softmax_of_large_logits(name, precision):
    op = ACTIVATIONS[name]
    x = leaf([1e4, 1e4, -1e4], precision)
    weights = Tensor([1.0, 2.0, 4.0], dtype=precision)
    expected = {
        "softmax": [0.5 * (1 - 1.5), 0.5 * (2 - 1.5), 0.0],
        "log_softmax": [1 - 3.5, 2 - 3.5, 4.0],
    }[name]
    for create_graph in (False, True):
        (g,) = grad(op(x), x, weights, create_graph=create_graph)
        assert g.tolist() == expected


@in_both_precisions
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_cross_entropies_of_hopeless_predictions(precision, label):
    """Finite, and of the right sign, where the logarithm of a probability is not."""
    x = leaf([-1000.0, 1000.0], precision)
    loss = tga.bce_with_logits(x, Tensor([label, label], dtype=precision), reduction="sum")
    assert loss.item() == 1000.0
    assert grad(loss, x)[0].tolist() == [-label, 1.0 - label]

    p = leaf([0.0, 1.0], precision)
    loss = tga.bce(p, Tensor([label, label], dtype=precision), reduction="sum")
    (g,) = grad(loss, p)
    assert loss.item() == 100.0 and np.isfinite(g.numpy()).all()
    assert (g.numpy() * (1 - 2 * label) >= 0).all()


# ---- mixed precision ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op", [op for op in DIFFERENTIABLE if isinstance(op, Binary) or op.promotes], ids=by_name
)
@given(data=st.data())
def test_each_leaf_gets_its_gradient_in_its_own_dtype(op, data):
    call = data.draw(calls(op, most=12))
    leaves = call.leaves("float64")
    leaves[0] = leaf(leaves[0].numpy(), "float32")
    y = call(*leaves)
    assert y.dtype == ("float64" if len(leaves) > 1 else "float32")
    gy = data.draw(gradients_for(y.shape))
    gradients = grad(y, leaves, Tensor(gy, dtype=y.dtype))
    assert [g.dtype for g in gradients] == [x.dtype for x in leaves]
    if len(leaves) > 1:  # computed in float64; the first is rounded once, at the end
        for g, expected in zip(gradients, run(call, gy, "float64"), strict=True):
            np.testing.assert_array_equal(g.numpy(), expected.astype(g.numpy().dtype))


def test_every_differentiable_op_is_tested():
    """A new kind of op must not fall through the isinstance tests above."""
    assert {type(op).__mro__[-3] for op in DIFFERENTIABLE} <= {Elementwise, Binary, General}
    for op in DIFFERENTIABLE:
        assert not isinstance(op, General) or callable(op.sample), f"{op}: sample is missing"
