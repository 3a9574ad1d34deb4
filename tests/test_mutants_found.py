"""What mutants.py found that no other test noticed: places where a derivative could be wrong."""

import numpy as np
import pytest
from strategies import BINARY, by_name, leaf

import tinygrad_act as tga
from tinygrad_act import Tensor, grad

both_ways = pytest.mark.parametrize("create_graph", [False, True], ids=["kernel", "rule"])


@pytest.mark.parametrize("op", [op for op in BINARY if op.ties], ids=by_name)
@both_ways
def test_ties_share_whatever_gradient_arrives(op, create_graph):
    values = [2.0, -1.0, 0.0]
    x, y = leaf(values), leaf(values)
    gz = Tensor([3.0, -0.25, 8.0], dtype="float64")
    gradients = grad(op(x, y), [x, y], gz, create_graph=create_graph)
    assert [g.tolist() for g in gradients] == [[1.5, -0.125, 4.0]] * 2


def hessian(function, *values):
    """All second derivatives of a function of numbers."""
    leaves = [leaf(value) for value in values]
    first = grad(function(*leaves), leaves, create_graph=True)
    return [[g.item() for g in grad(one, leaves, retain_graph=True)] for one in first]


def test_second_derivatives_of_a_power_with_exponent_0():
    # x**y at y = 0: d/dx d/dy = 1 / x, although the derivative with respect to x is 0 there
    log_2 = tga.log(Tensor(2.0, dtype="float64")).item()
    assert hessian(lambda x, y: x**y, 2.0, 0.0) == [[0.0, 0.5], [0.5, log_2 * log_2]]
    assert hessian(lambda x, y: x**y, 0.0, 0.0) == [[0.0, 0.0], [0.0, 0.0]]
    assert hessian(lambda x, y: x**y, 0.0, 2.0) == [[2.0, 0.0], [0.0, 0.0]]


@both_ways
def test_linear_with_many_leading_axes(create_graph):
    shape = (2, 1, 2, 3)
    x = leaf([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]], [[[7.0, 8.0, 9.0], [0.0, 1.0, 2.0]]]])
    w, b = leaf([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]]), leaf([0.0, 1.0])
    gy = Tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]]], dtype="float64")
    assert x.shape == shape
    got = grad(tga.linear(x, w, b), [x, w, b], gy, create_graph=create_graph)
    rows, gy_rows = x.reshape(4, 3).detach(), gy.reshape(4, 2)
    assert got[0].tolist() == (gy_rows @ w.detach()).reshape(shape).tolist()
    assert got[1].tolist() == (gy_rows.T @ rows).tolist()
    assert got[2].tolist() == [16.0, 20.0]


@both_ways
def test_linear_without_inputs(create_graph):
    x, w, b = leaf([[[], []]]), leaf([[], [], []]), leaf([1.0, 2.0, 3.0])
    gy = Tensor([[[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]], dtype="float64")
    got = grad(tga.linear(x, w, b), [x, w, b], gy, create_graph=create_graph)
    assert [g.shape for g in got] == [(1, 2, 0), (3, 0), (3,)]
    assert got[2].tolist() == [11.0, 22.0, 33.0]


@pytest.mark.parametrize(("op", "value"), [(tga.max, np.inf), (tga.min, -np.inf)])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@both_ways
def test_infinite_extreme_gets_the_gradient(op, value, precision, create_graph):
    x = leaf([1.0, value, 0.0], precision)
    (g,) = grad(op(x), x, create_graph=create_graph)
    assert g.tolist() == [0.0, 1.0, 0.0] and g.dtype == precision


@both_ways
def test_bce_of_certain_predictions(create_graph):
    """Where the logarithms and the denominator are cut off."""
    x, t = leaf([0.0, 1.0, 0.0, 1.0]), leaf([0.0, 0.0, 0.75, 1.0])
    loss = tga.bce(x, t, reduction="sum")
    gx, gt = grad(loss, [x, t], create_graph=create_graph)
    assert gx.tolist() == [0.0, 1 / 1e-12, -0.75 / 1e-12, 0.0]
    assert gt.tolist() == [100.0, -100.0, 100.0, -100.0]
    (gx,) = grad(tga.bce(x, t.detach(), reduction="sum"), x, create_graph=create_graph)
    assert gx.tolist() == [0.0, 1 / 1e-12, -0.75 / 1e-12, 0.0]
