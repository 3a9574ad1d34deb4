"""What mutants.py found that no other test noticed: places where a derivative could be wrong."""

import numpy as np
import pytest
from strategies import by_name, leaf

import tinygrad_act as tga
from tinygrad_act import Tensor, grad

both_ways = pytest.mark.parametrize("create_graph", [False, True], ids=["kernel", "rule"])


@pytest.mark.parametrize("op", [tga.maximum, tga.minimum], ids=by_name)
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


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("n", [17, 33, 65, 100, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backward_of_long_rows(name, n, dtype):
    """Rows of more than four vectors have a loop of their own; it must equal the rule."""
    tga.manual_seed(n)
    x = tga.uniform(3, n, low=-3.0, high=3.0, dtype=dtype, requires_grad=True)
    gy = tga.uniform(3, n, low=-1.0, high=1.0, dtype=dtype)
    op = getattr(tga, name)
    (by_kernel,) = grad(op(x), x, gy)
    (by_rule,) = grad(op(x), x, gy, create_graph=True)
    eps = {"float32": 2.0**-24, "float64": 2.0**-53}[dtype]
    # each of the two adds up n products of at most 1, and rounds a few times more
    difference = (by_kernel - by_rule).abs().max().item()
    assert difference <= 2 * (n + 8) * eps
    assert by_kernel.abs().max().item() > 1e-4


@both_ways
def test_equal_numbers_share_logaddexp(create_graph):
    """Also infinities, whose difference would be nan."""
    for value in (1.0, np.inf, -np.inf):
        x, y = leaf([value]), leaf([value])
        gradients = grad(tga.logaddexp(x, y), [x, y], create_graph=create_graph)
        assert [g.tolist() for g in gradients] == [[0.5], [0.5]]


def test_second_derivatives_of_logaddexp():
    assert hessian(tga.logaddexp, 1.0, 1.0) == [[0.25, -0.25], [-0.25, 0.25]]
    assert hessian(tga.logaddexp, np.inf, np.inf)[0][0] == 0.0


@both_ways
def test_softplus_is_straight_above_its_threshold(create_graph):
    for beta, threshold, x, slope in [
        (1.0, 2.0, 3.0, 1.0),
        (2.0, 3.0, 1.6, 1.0),
        (0.5, 2.0, 5, 1.0),
    ]:
        x = leaf([x])
        (gx,) = grad(x.softplus(beta, threshold), x, create_graph=create_graph)
        assert gx.tolist() == [slope]


@both_ways
def test_leaks_end_at_zero(create_graph):
    """Just above 0 the derivative is 1, and at 0 the slope of the left."""
    x = leaf([-0.5, 0.0, 1e-3, 0.5])
    for function, slope in [
        (lambda x: x.rrelu(0.25, 0.5), 0.375),
        (lambda x: x.prelu(Tensor([0.375], dtype="float64")), 0.375),
    ]:
        (gx,) = grad(function(x).sum(), x, create_graph=create_graph)
        assert gx.tolist() == [slope, slope, 1.0, 1.0]


@both_ways
@pytest.mark.parametrize(
    ("bounds", "slopes"),
    [
        ((-1.0, 1.0), [0, 1, 1, 1, 0]),
        ((None, 1.0), [1, 1, 1, 1, 0]),
        ((-1.0, None), [0, 1, 1, 1, 1]),
    ],
    ids=str,
)
def test_clamp_passes_at_its_bounds(bounds, slopes, create_graph):
    x = leaf([-2.0, -1.0, 0.0, 1.0, 2.0])
    (gx,) = grad(x.clamp(*bounds).sum(), x, create_graph=create_graph)
    assert gx.tolist() == slopes
