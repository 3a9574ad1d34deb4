"""What the losses chose where mathematics leaves it open, exactly.

That values and derivatives are those of the formulas is tested from the registry.
"""

import math

import numpy as np
import pytest
from strategies import leaf

import tinygrad_act as tga
from tinygrad_act import Tensor, grad

both_ways = pytest.mark.parametrize("create_graph", [False, True], ids=["kernel", "rule"])

ELEMENTWISE = [
    *(tga.l1, tga.mse, tga.huber, tga.smooth_l1, tga.bce, tga.bce_with_logits, tga.kl_div),
    tga.hinge,
]
LOG_2 = math.log(2)


def labels(*values):
    return Tensor(values, dtype="int64")


def gradients(function, *values, create_graph=False):
    """Of the sum of a loss, with respect to each of its inputs."""
    leaves = [leaf(value) for value in values]
    result = grad(function(*leaves, reduction="sum"), leaves, create_graph=create_graph)
    return [g.tolist() for g in result]


# ---- the mean of nothing --------------------------------------------------------------------


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
@both_ways
def test_nothing_to_average(op, create_graph):
    x = leaf(np.zeros((0, 3)))
    t = Tensor(np.zeros((0, 3)))
    assert math.isnan(op(x, t).item())
    assert op(x, t, reduction="sum").item() == 0.0
    assert op(x, t, reduction="none").shape == (0, 3)
    (g,) = grad(op(x, t), x, create_graph=create_graph)
    assert g.shape == (0, 3)


@pytest.mark.parametrize("op", [tga.cross_entropy, tga.nll], ids=lambda op: op.name)
@both_ways
def test_no_label_counts(op, create_graph):
    """Nothing counts: the mean is nan, as in PyTorch, and nothing flows back."""
    for rows in (0, 3):
        x = leaf(np.ones((rows, 4)))
        t = Tensor(np.full(rows, -100))
        loss = op(x, t)
        assert math.isnan(loss.item())
        assert op(x, t, reduction="sum").item() == 0.0
        assert op(x, t, reduction="none").tolist() == [0.0] * rows
        assert grad(loss, x, create_graph=create_graph)[0].tolist() == [[0.0] * 4] * rows


# ---- elementwise losses at their borders ----------------------------------------------------


@both_ways
def test_borders(create_graph):
    def at(function, *values):
        x, t = leaf([values[0]]), Tensor([values[1]], dtype="float64")
        alone = grad(function(x, t, reduction="sum"), x, create_graph=create_graph)[0].tolist()
        both = gradients(function, *[[v] for v in values], create_graph=create_graph)
        assert both[0] == alone  # of x by a kernel, where t needs none
        return both

    assert at(tga.l1, 2.0, 2.0) == [[0.0], [0.0]]
    # the parabola and the line meet in value and slope
    for x, slope in [(2.0, 2.0), (-2.0, -2.0), (2.5, 2.0), (0.0, 0.0)]:
        assert at(lambda x, t, **r: tga.huber(x, t, delta=2.0, **r), x, 0.0) == [[slope], [-slope]]
        smooth = at(lambda x, t, **r: tga.smooth_l1(x, t, beta=2.0, **r), x, 0.0)
        assert smooth == [[slope / 2], [-slope / 2]]
    for x, slope in [(0.0, 0.0), (1e-9, 1.0), (-3.0, -1.0)]:
        assert at(lambda x, t, **r: tga.smooth_l1(x, t, beta=0.0, **r), x, 0.0)[0] == [slope]
    assert at(tga.hinge, 1.0, 1.0) == [[0.0], [0.0]]
    assert at(tga.hinge, -1.0, -1.0) == [[0.0], [0.0]]
    assert at(tga.hinge, 0.5, 1.0) == [[-1.0], [-0.5]]
    assert at(tga.kl_div, -3.0, 0.0)[0] == [-0.0]


@both_ways
def test_probabilities_that_are_certain(create_graph):
    """The logarithms are cut off at -100, and x (1 - x) at 1e-12, where x is 0 or 1."""
    for x, t, dx, dt in [
        (0.0, 1.0, -1e12, 100.0),
        (1.0, 0.0, 1e12, -100.0),
        (0.0, 0.0, 0.0, 100.0),
    ]:
        x, t = leaf([x]), leaf([t])
        assert grad(tga.bce(x, t), [x, t], create_graph=create_graph)[0].item() == dx
        assert grad(tga.bce(x, t), t, create_graph=create_graph)[0].item() == dt
    for x, slope in [(1e-13, -1e12), (1e-12, -1e12), (1e-11, -1e11)]:
        x = leaf([x])
        (gx,) = grad(tga.bce(x, Tensor([1.0], dtype="float64")), x, create_graph=create_graph)
        assert gx.item() == pytest.approx(slope, rel=1e-10)


def test_values_at_the_borders(isa, dtype):
    def value(op, x, t, **attrs):
        return op(Tensor([x], dtype=dtype), Tensor([t], dtype=dtype), **attrs).item()

    assert value(tga.huber, 2.0, 0.0, delta=2.0) == 2.0
    assert value(tga.huber, 4.0, 0.0, delta=2.0) == 6.0
    assert value(tga.smooth_l1, 2.0, 0.0, beta=2.0) == 1.0
    assert value(tga.smooth_l1, 4.0, 0.0, beta=2.0) == 3.0
    assert value(tga.smooth_l1, -3.0, 0.0, beta=0.0) == 3.0
    assert value(tga.smooth_l1, 0.0, 0.0, beta=0.0) == 0.0
    assert value(tga.kl_div, -math.inf, 0.0) == 0.0
    assert value(tga.kl_div, -math.inf, 1.0) == math.inf
    assert value(tga.hinge, math.inf, 1.0) == 0.0
    assert value(tga.hinge, math.inf, -1.0) == math.inf
    for op in ELEMENTWISE:
        assert math.isnan(value(op, math.nan, 0.5)), op


def test_weight_of_the_positives():
    """A number, or an array that broadcasts: the same as weighting by hand."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(0, 3, (4, 3)), rng.random((4, 3))
    softplus = np.logaddexp(0, x)
    for weight in (2.5, [0.5, 2.0, 3.0], Tensor([[1.0], [2.0], [3.0], [4.0]], dtype="float64")):
        w = np.asarray(weight if not isinstance(weight, Tensor) else weight.numpy())
        expected = w * t * (softplus - x) + (1 - t) * softplus
        loss = tga.bce_with_logits(Tensor(x), Tensor(t), reduction="none", pos_weight=weight)
        np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-13)
        leaves = leaf(x), leaf(t)
        loss = tga.bce_with_logits(*leaves, pos_weight=weight)
        assert loss.item() == pytest.approx(expected.mean(), rel=1e-14)
        gx, gt = grad(loss, leaves)
        p = 1 / (1 + np.exp(-x))
        slope = (1 - t) * p - w * t * (1 - p)
        np.testing.assert_allclose(gx.numpy(), slope / 12, rtol=1e-12, atol=1e-16)
        np.testing.assert_allclose(gt.numpy(), (w * (softplus - x) - softplus) / 12, rtol=1e-12)


@pytest.mark.parametrize("values", [[0.5, -2.0], ([1.0], (-2.0,)), np.array([1.0, -2.0])], ids=str)
def test_weights_of_the_positives_are_not_negative(values):
    with pytest.raises(ValueError, match="with_logits: pos_weight must be 0 or positive, not -2"):
        tga.bce_with_logits(tga.zeros(2, 2), tga.zeros(2, 2), pos_weight=values)


# ---- the loss of a class --------------------------------------------------------------------


@both_ways
def test_ignored_rows(create_graph, dtype, isa):
    x = leaf([[0.0, 0.0], [math.nan, math.inf], [0.0, 0.0]], dtype)
    t = labels(0, 7, 1)
    loss = tga.cross_entropy(x, t, ignore_index=7)
    assert loss.item() == pytest.approx(LOG_2, rel=1e-6)
    (g,) = grad(loss, x, create_graph=create_graph)
    assert g.tolist() == [[-0.25, 0.25], [0.0, 0.0], [0.25, -0.25]]
    loss = tga.nll(x, t, ignore_index=7)
    (g,) = grad(loss, x, create_graph=create_graph)
    assert g.tolist() == [[-0.5, 0.0], [0.0, 0.0], [0.0, -0.5]]


@both_ways
def test_class_weights(create_graph):
    """'mean' divides by the weights of the labels, 'sum' by nothing."""
    x, t = leaf(np.zeros((3, 2))), labels(0, 1, 1)
    for weight in ([1.0, 3.0], Tensor([1.0, 3.0]), np.array([1.0, 3.0])):
        each = tga.cross_entropy(x, t, "none", weight)
        np.testing.assert_allclose(each.tolist(), [LOG_2, 3 * LOG_2, 3 * LOG_2], rtol=1e-15)
        loss = tga.cross_entropy(x, t, weight=weight)
        assert loss.item() == pytest.approx(LOG_2, rel=1e-15)
        (g,) = grad(loss, x, create_graph=create_graph)
        expected = np.array([[-1.0, 1.0], [3.0, -3.0], [3.0, -3.0]]) / 14
        np.testing.assert_allclose(g.numpy(), expected, rtol=1e-14)


def test_impossible_classes(dtype, isa):
    """A logit of -inf costs nothing where its class is not asked for, and all where it is."""
    x = Tensor([[0.0, -math.inf, 0.0]] * 2, dtype=dtype)
    loss = tga.cross_entropy(x, labels(0, 1), reduction="none")
    assert loss.tolist() == [pytest.approx(LOG_2, rel=1e-6), math.inf]
    loss = tga.cross_entropy(x, Tensor([[0.5, 0.0, 0.5]] * 2, dtype=dtype))
    assert loss.item() == pytest.approx(LOG_2, rel=1e-6)


def test_probabilities_of_one_class_are_its_label(dtype, isa):
    rng = np.random.default_rng(1)
    x = rng.normal(0, 3, (5, 4, 2)).astype(dtype)  # the classes lie along axis 1
    t = rng.integers(0, 4, (5, 2))
    one_hot = np.moveaxis(np.eye(4, dtype=dtype)[t], -1, 1)
    for smoothing in (0.0, 0.25):
        values, slopes = [], []
        for target in (t, one_hot):
            p = leaf(x, dtype)
            loss = tga.cross_entropy(p, Tensor(target), "none", label_smoothing=smoothing)
            values.append(loss.numpy())
            slopes.append(grad(loss.sum(), p)[0].numpy())
        tolerance = 20 * np.finfo(dtype).eps
        np.testing.assert_allclose(values[0], values[1], rtol=tolerance)
        np.testing.assert_allclose(slopes[0], slopes[1], rtol=tolerance, atol=tolerance)


def test_many_rows_and_classes(dtype, isa):
    """More than the stack has room for, with weights, smoothing and rows that do not count."""
    rng = np.random.default_rng(2)
    x = rng.normal(0, 3, (301, 37))
    t = rng.integers(0, 37, 301)
    t[::5] = -100
    weight = rng.uniform(0.5, 2.0, 37)
    p = leaf(x, dtype)
    loss = tga.cross_entropy(p, Tensor(t), weight=weight, label_smoothing=0.1)
    (g,) = grad(loss, p)

    log_p = x - x.max(1, keepdims=True)
    log_p = log_p - np.log(np.exp(log_p).sum(1, keepdims=True))
    counts = t >= 0
    target = (0.9 * np.eye(37)[t * counts] + 0.1 / 37) * weight * counts[:, None]
    total = weight[t * counts] @ counts
    expected = (target.sum(1, keepdims=True) * np.exp(log_p) - target) / total
    eps = float(np.finfo(dtype).eps)
    assert loss.item() == pytest.approx(-(target * log_p).sum() / total, rel=20 * eps)
    np.testing.assert_allclose(g.numpy(), expected, rtol=100 * eps, atol=eps / 10)


@both_ways
def test_ignore_index_may_be_of_numpy(create_graph):
    x, names = leaf([[1.0, 2.0], [0.5, 0.0]]), labels(0, 1)
    for loss in (tga.nll, tga.cross_entropy):
        results = []
        for ignored in (1, np.int64(1)):
            y = loss(x, names, ignore_index=ignored)
            results.append((y.item(), grad(y, [x], create_graph=create_graph)[0].tolist()))
        assert results[0] == results[1]
        for wrong in (True, 1.0):
            with pytest.raises(TypeError, match=f"{loss.name}: ignore_index .* not {wrong}"):
                loss(x, names, ignore_index=wrong)


def test_probabilities_have_no_label_to_ignore():
    with pytest.raises(ValueError, match="cross_entropy: ignore_index is 1, .*probabilities"):
        tga.cross_entropy(tga.zeros(2, 3), tga.ones(2, 3), ignore_index=1)


@both_ways
@pytest.mark.parametrize("wanted", [0, 1], ids=["x", "t"])
def test_a_mean_is_of_the_rows(create_graph, wanted):
    """Not of the classes: with probabilities, and more axes behind the classes."""
    rng = np.random.default_rng(4)
    x, t = leaf(rng.normal(size=(5, 4, 2))), leaf(rng.random((5, 4, 2)))

    def gradient(reduction):
        loss = tga.cross_entropy(x, t, reduction=reduction, weight=[1.0, 2.0, 0.5, 1.5])
        return grad(loss, [x, t][wanted], create_graph=create_graph)[0].numpy()

    np.testing.assert_allclose(gradient("mean"), gradient("sum") / 10, rtol=1e-14)


@both_ways
def test_an_ignored_class_does_not_count(create_graph):
    """Neither in the gradient nor in what a mean divides by, though it is a class like others."""
    x, t = leaf(np.random.default_rng(5).normal(size=(4, 3))), labels(0, 1, 2, 1)
    loss = tga.cross_entropy(x, t, ignore_index=1, weight=[1.0, 5.0, 3.0])
    (gx,) = grad(loss, x, create_graph=create_graph)
    kept = x[[0, 2]].detach()
    kept.requires_grad = True
    loss = tga.cross_entropy(kept, t[[0, 2]], weight=[1.0, 5.0, 3.0])
    (expected,) = grad(loss, kept)
    np.testing.assert_allclose(gx.numpy()[[0, 2]], expected.numpy(), rtol=1e-14)
    assert gx.numpy()[[1, 3]].tolist() == [[0.0] * 3] * 2


# ---- cosine similarity ----------------------------------------------------------------------


@both_ways
def test_vectors_shorter_than_eps(create_graph):
    """Their length is eps: a constant, through which no gradient flows."""
    x, y = leaf([0.1, 0.2]), leaf([3.0, 4.0])
    cosine = tga.cosine_similarity(x, y, eps=0.5)
    assert cosine.item() == pytest.approx((0.3 + 0.8) / (0.5 * 5))
    (gx,) = grad(cosine, x, create_graph=create_graph)
    np.testing.assert_allclose(gx.tolist(), [0.6 / 0.5, 0.8 / 0.5], rtol=1e-14)


@both_ways
def test_vector_of_zeros(create_graph):
    """Of no direction: the cosine is 0, and the derivative finite, to second order too."""
    x, y = leaf([0.0, 0.0]), leaf([3.0, 4.0])
    cosine = tga.cosine_similarity(x, y, eps=0.5)
    assert cosine.item() == 0.0
    gx, gy = grad(cosine, [x, y], create_graph=create_graph)
    np.testing.assert_allclose(gx.tolist(), [1.2, 1.6], rtol=1e-15)
    assert gy.tolist() == [0.0, 0.0]
    if create_graph:
        for second in grad((gx * gx).sum(), [x, y]):
            assert np.isfinite(second.numpy()).all()


@both_ways
def test_long_vectors(create_graph):
    """No square and no product of the lengths must be a number of float32."""
    x, y = leaf([1e10, 0.0], dtype="float32"), leaf([1e10, 1e10], dtype="float32")
    gx, gy = grad(tga.cosine_similarity(x, y), [x, y], create_graph=create_graph)
    half = math.sqrt(0.5) * 1e-10
    np.testing.assert_allclose(gx.tolist(), [0.0, half], rtol=1e-6, atol=1e-16)
    np.testing.assert_allclose(gy.tolist(), [half / 2, -half / 2], rtol=1e-6)


@both_ways
@pytest.mark.parametrize("a, b", [(1e30, 1e30), (1e-30, 1e30), (1e-30, 1e-30)])
def test_very_long_and_short_vectors(a, b, create_graph):
    x, y = leaf([a, 0.0], dtype="float32"), leaf([b, b], dtype="float32")
    cosine = tga.cosine_similarity(x, y, eps=1e-35)
    gx, gy = grad(cosine, [x, y], create_graph=create_graph)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(cosine.item(), half, rtol=1e-6)
    np.testing.assert_allclose(gx.numpy() * np.float32(a), [0.0, half], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gy.numpy() * np.float32(b), [half / 2, -half / 2], rtol=1e-6)


def test_cosine_of_angles():
    x = Tensor([[1.0, 0.0], [1.0, 1.0], [-2.0, 0.0]], dtype="float64")
    y = Tensor([1.0, 0.0], dtype="float64")
    expected = [1.0, math.sqrt(0.5), -1.0]
    np.testing.assert_allclose(tga.cosine_similarity(x, y).tolist(), expected, rtol=1e-15)
    np.testing.assert_allclose(tga.cosine_similarity(x.T, y[:, None], axis=0).tolist(), expected)
