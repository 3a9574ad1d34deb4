"""Functions made from functions: gradients, products with the Jacobian, whole matrices."""

from collections import namedtuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import DIFFERENTIABLE, by_name, calls

import tinygrad_act as tga
from tinygrad_act import (
    Tensor,
    hessian,
    hvp,
    jacobian,
    jvp,
    no_grad,
    transform,
    value_and_grad,
    vjp,
)

few = settings(max_examples=max(settings().max_examples // 4, 3))


def tensor(values):
    return Tensor(values, dtype="float64")


X, V, W = tensor([0.5, -1.0, 2.0]), tensor([1.0, 2.0, -0.5]), tensor([[1.0, 2.0, 3.0]] * 2)


# ---- against what is known ------------------------------------------------------------------


def test_a_quadratic_form():
    """f(x) = x'Ax: its gradient is (A + A')x and its Hessian A + A'."""
    rng = np.random.default_rng(0)
    a, x, v = rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=4)
    matrix = tensor(a)

    def form(x):
        return x @ matrix @ x

    value, gradient = value_and_grad(form)(tensor(x))
    assert value.item() == pytest.approx(x @ a @ x)
    np.testing.assert_allclose(gradient.numpy(), (a + a.T) @ x)
    np.testing.assert_allclose(hessian(form)(tensor(x)).numpy(), a + a.T)
    value, (product,) = hvp(form, (tensor(x),), (tensor(v),))
    assert value.item() == pytest.approx(x @ a @ x)
    np.testing.assert_allclose(product.numpy(), (a + a.T) @ v)
    np.testing.assert_allclose(jacobian(lambda x: matrix @ x)(tensor(x)).numpy(), a)
    y, dy = jvp(lambda x: matrix @ x, (tensor(x),), (tensor(v),))
    np.testing.assert_allclose([y.numpy(), dy.numpy()], [a @ x, a @ v])
    y, pull_back = vjp(lambda x: matrix @ x, tensor(x))
    np.testing.assert_allclose(pull_back(tensor(v))[0].numpy(), a.T @ v)
    np.testing.assert_allclose(pull_back(tensor(x))[0].numpy(), a.T @ x)  # and again


def test_shapes_of_a_jacobian():
    j = jacobian(lambda x: x.T @ x)(W)
    assert j.shape == (3, 3, 2, 3)
    w = W.numpy()
    expected = np.einsum("ja,bi->abij", np.eye(3), w.T) + np.einsum("jb,ai->abij", np.eye(3), w.T)
    np.testing.assert_allclose(j.numpy(), expected)
    assert jacobian(lambda x: x.sum())(W).shape == (2, 3)
    assert jacobian(lambda x: x * 2)(tga.zeros(0)).shape == (0, 0)
    assert jacobian(lambda x: x[:0])(X).shape == (0, 3)


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=by_name)
@few
@given(data=st.data())
def test_forward_and_backward_are_transposed(op, data):
    """<w, Jv> = <J'w, v> for each op, exactly but for rounding: Jv by pulling back twice."""
    call = data.draw(calls(op, most=10))
    primals = call.leaves()
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    tangents = [Tensor(rng.normal(size=x.shape), dtype=x.dtype) for x in primals]
    with no_grad():
        y, dy = jvp(call, primals, tangents)
        value, pull_back = vjp(call, *primals)
        w = Tensor(rng.normal(size=y.shape), dtype=y.dtype)
        back = pull_back(w)
    assert y.numpy().tobytes() == value.numpy().tobytes()
    assume(np.isfinite(y.numpy()).all())  # the mean of nothing is nan
    assert not any(t.requires_grad for t in (y, dy, value, *back))
    right = [(g * v).numpy() for g, v in zip(back, tangents, strict=True)]
    left = (w * dy).numpy()
    size = np.abs(left).sum() + sum(np.abs(r).sum() for r in right)
    eps = np.finfo("float32" if y.dtype == "float32" else "float64").eps
    assert abs(left.sum() - sum(r.sum() for r in right)) <= 1e3 * eps * (1 + size)


# ---- nesting --------------------------------------------------------------------------------


def test_derivatives_of_derivatives():
    function = lambda x: (x**5).sum()
    for factor, power in [(1, 5), (5, 4), (20, 3), (60, 2), (120, 1)]:
        np.testing.assert_allclose(
            function(X).item() if power == 5 else function(X).numpy(),
            factor * (X.numpy() ** power).sum(),
        )
        function = (lambda f: lambda x: transform.grad(f)(x).sum())(function)


def test_a_gradient_that_others_depend_on_can_be_differentiated():
    """By a parameter outside, by the argument itself, by the seed."""
    w = Tensor(3.0, requires_grad=True, dtype="float64")
    x = Tensor(2.0, requires_grad=True, dtype="float64")
    value, slope = value_and_grad(lambda x: w * x * x)(x)
    assert (value.item(), slope.item()) == (12.0, 12.0)
    assert [g.item() for g in tga.grad(slope, [w, x])] == [4.0, 6.0]
    _, pull_back = vjp(lambda x: x * x, x.detach())
    seed = Tensor(5.0, requires_grad=True, dtype="float64")
    (gradient,) = pull_back(seed)
    assert tga.grad(gradient, seed)[0].item() == 4.0
    _, dy = jvp(lambda x: x * x * w, (x,), (seed,))
    assert [g.item() for g in tga.grad(dy, [x, w, seed])] == [30.0, 20.0, 12.0]
    _, (product,) = hvp(lambda x: w * x**3, (x,), (tensor(1.0),))
    assert [g.item() for g in tga.grad(product, [x, w])] == [18.0, 12.0]


def test_nothing_is_recorded_that_nobody_can_want():
    for result in (
        *value_and_grad(lambda x: (x * x).sum())(X),
        jacobian(lambda x: x * x)(X),
        hessian(lambda x: (x**3).sum())(X),
        *jvp(lambda x: x * x, (X,), (V,)),
        vjp(lambda x: x * x, X)[0],
        hvp(lambda x: (x**3).sum(), (X,), (V,))[0],
    ):
        assert not result.requires_grad
    assert not X.requires_grad and X.grad is None
    w = Tensor(3.0, requires_grad=True, dtype="float64")
    with no_grad():
        value, slope = value_and_grad(lambda x: (w * x * x).sum())(X)
        assert not tga.graph.mode.recording
    assert not value.requires_grad and not slope.requires_grad
    np.testing.assert_allclose(slope.numpy(), 6 * X.numpy())
    assert w.grad is None


def test_recording_mode_is_restored_after_an_error():
    with no_grad():
        with pytest.raises(ZeroDivisionError):
            value_and_grad(lambda x: 1 / 0)(X)
        assert not tga.graph.mode.recording
    assert tga.graph.mode.recording


# ---- nested structures ----------------------------------------------------------------------

Pair = namedtuple("Pair", "a b")


def test_gradients_have_the_form_of_the_argument():
    tree = {"layers": [(X, V), Pair(X * 2, tensor(3.0))], "empty": [], "scale": tensor(2.0)}

    def function(tree, power, *, factor):
        (p, q), pair = tree["layers"]
        return factor * tree["scale"] * ((p * q).sum() + (pair.a**power).sum() * pair.b)

    g = transform.grad(function)(tree, 2, factor=10.0)
    assert type(g["layers"][0]) is tuple and type(g["layers"][1]) is Pair and g["empty"] == []
    np.testing.assert_allclose(g["layers"][0][1].numpy(), 20 * X.numpy())
    np.testing.assert_allclose(g["layers"][1].a.numpy(), 20 * 3 * 4 * X.numpy())
    assert list(g) == list(tree)

    value, back = vjp(lambda tree: {"y": [tree["a"] * tree["b"]], "z": tree["a"]}, {"a": X, "b": V})
    assert list(value) == ["y", "z"]
    (g,) = back({"y": [V], "z": X})
    np.testing.assert_allclose(g["a"].numpy(), (V * V + X).numpy())
    np.testing.assert_allclose(g["b"].numpy(), (V * X).numpy())


def test_blocks_of_jacobian_and_hessian():
    both = {"a": X, "b": tensor([3.0, 4.0])}
    j = jacobian(lambda t: [t["a"] * 2, t["a"].sum() * t["b"]])(both)
    assert [{k: v.shape for k, v in row.items()} for row in j] == [
        {"a": (3, 3), "b": (3, 2)},
        {"a": (2, 3), "b": (2, 2)},
    ]
    assert j[0]["b"].numpy().any() == False  # noqa: E712
    np.testing.assert_allclose(j[1]["a"].numpy(), [[3.0] * 3, [4.0] * 3])
    h = hessian(lambda t: (t["a"].sum() * t["b"] ** 2).sum())(both)
    assert h["a"]["a"].numpy().any() == False  # noqa: E712
    np.testing.assert_allclose(h["a"]["b"].numpy(), [[6.0, 8.0]] * 3)
    np.testing.assert_allclose(h["b"]["b"].numpy(), np.diag([3.0, 3.0]))


def test_several_arguments():
    function = lambda x, scale, y: (scale * x * y).sum()
    x, y = transform.grad(function, argnums=(0, -1))(X, 2.0, V)
    np.testing.assert_allclose([x.numpy(), y.numpy()], [2 * V.numpy(), 2 * X.numpy()])
    x, y = jacobian(lambda x, y: x * y, argnums=(0, 1))(X, V)
    np.testing.assert_allclose(y.numpy(), np.diag(X.numpy()))
    ((xx, xy), (yx, _)) = hessian(lambda x, y: (x * x * y).sum(), argnums=(0, 1))(X, V)
    np.testing.assert_allclose(xy.numpy(), np.diag(2 * X.numpy()))
    np.testing.assert_allclose(yx.numpy(), xy.numpy())
    np.testing.assert_allclose(xx.numpy(), np.diag(2 * V.numpy()))


def test_a_result_that_does_not_depend_on_the_argument():
    assert transform.grad(lambda x: tensor(2.0))(X).tolist() == [0.0] * 3
    _, dy = jvp(lambda x: V, (X,), (V,))
    assert dy.tolist() == [0.0] * 3
    assert hessian(lambda x: x.sum())(X).tolist() == [[0.0] * 3] * 3


def test_modules_names_and_signatures():
    assert value_and_grad(len).__name__ == "len"
    assert transform.grad is not tga.grad


# ---- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: value_and_grad(lambda x: x)(X), ValueError, ["value_and_grad", "(3,)"]),
        (lambda: value_and_grad(lambda x: 1.0)(X), ValueError, ["value_and_grad", "1.0"]),
        (lambda: value_and_grad(len)(3.0), TypeError, ["value_and_grad", "3.0"]),
        (lambda: value_and_grad(len, argnums=1)(X), ValueError, ["no argument 1", "1 were"]),
        (lambda: transform.grad(len, (0, 1, -2))(X, X), ValueError, ["(0, 1, -2)", "twice"]),
        (lambda: value_and_grad(len, argnums="x")(X), TypeError, ["argnums", "'x'"]),
        (lambda: transform.grad(len)({"a": [X, 2]}), TypeError, ["['a'][1]", "2"]),
        (lambda: transform.grad(len)(Tensor([1], dtype="int64")), TypeError, ["int64"]),
        (lambda: jacobian(lambda x: 1.0)(X), TypeError, ["jacobian", "result", "1.0"]),
        (lambda: vjp(lambda x: x, X)[1](V[:2]), ValueError, ["vjp", "(2,)", "(3,)"]),
        (lambda: vjp(lambda x: [x, x], X)[1]([V]), ValueError, ["vjp", "1 tensors", "2"]),
        (lambda: jvp(lambda x: x, X, (V,)), TypeError, ["jvp", "tuple"]),
        (lambda: jvp(lambda x: x, (X,), (V, V)), ValueError, ["jvp", "2 tensors", "1"]),
        (lambda: jvp(lambda x: x, (X,), (V.astype("float32"),)), ValueError, ["float32"]),
        (lambda: hvp(lambda x: x, (X,), (V,)), ValueError, ["hvp", "(3,)"]),
    ],
)
def test_misuse(call, kind, words):
    with pytest.raises(kind) as raised:
        call()
    for word in words:
        assert word in str(raised.value), str(raised.value)
