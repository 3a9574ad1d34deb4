"""Modules, layers, initial weights and optimizers."""

import math

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor, nn
from tinygrad_act.nn import Linear, Module, Parameter, Sequential, init
from tinygrad_act.op import ACTIVATIONS
from tinygrad_act.optim import SGD
from tinygrad_act.testing import gradcheck

# ---- parameters and modules -----------------------------------------------------------------


def test_parameter_is_a_leaf_that_requires_a_gradient():
    p = Parameter([1.0, 2.0])
    assert isinstance(p, Tensor) and p.requires_grad and p.grad is None and p.dtype == "float32"
    assert Parameter(np.zeros(3)).dtype == "float64"
    assert Parameter([1], dtype="float64").dtype == "float64"
    assert not isinstance(p * 2, Parameter)
    with pytest.raises(TypeError, match="int64"):
        Parameter([1], dtype="int64")


class Block(Module):
    def __init__(self):
        self.w = Parameter([1.0])
        self.size = 3
        self.constant = Tensor([5.0])

    def forward(self, x):
        return x * self.w + self.constant


class Net(Module):
    def __init__(self):
        self.first = Block()
        self.blocks = [Block(), Block()]
        self.tied = self.first
        self.shared = self.first.w
        self.scales = (Parameter([2.0]), Parameter([3.0]))
        self.bias = None

    def forward(self, x):
        for block in (self.first, *self.blocks, self.tied):
            x = block(x)
        return x * self.scales[0] * self.scales[1]


def test_parameters_are_found_each_once_under_the_path_to_it():
    net = Net()
    assert dict(net.named_parameters()) == {
        "shared": net.first.w,
        "scales.0": net.scales[0],
        "scales.1": net.scales[1],
        "blocks.0.w": net.blocks[0].w,
        "blocks.1.w": net.blocks[1].w,
    }
    assert len(net.parameters()) == len(set(net.parameters())) == 5
    assert [name for name, _ in net.children()] == ["first", "blocks.0", "blocks.1", "tied"]


def test_every_parameter_gets_its_gradient_and_loses_it():
    net = Net()
    net(Tensor([2.0])).backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_module_without_forward():
    class Empty(Module):
        pass

    with pytest.raises(TypeError, match="Empty: forward is not defined"):
        Empty()(Tensor([1.0]))


def test_modules_print_as_a_tree():
    assert repr(Net()) == (
        "Net(\n  (first): Block()\n  (blocks.0): Block()\n  (blocks.1): Block()\n"
        "  (tied): Block()\n)"
    )
    assert repr(Sequential(Sequential(Linear(2, 3, bias=False)))) == (
        "Sequential(\n  (0): Sequential(\n    (0): Linear(2, 3, bias=False)\n  )\n)"
    )


# ---- layers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (0, 3)], ids=str)
def test_linear_is_x_times_w_transposed_plus_b(bias, shape):
    layer = Linear(3, 2, bias=bias, dtype="float64")
    assert layer.weight.shape == (2, 3) and (layer.bias is None) != bias
    w, b = layer.weight.numpy(), np.zeros(2)
    if bias:
        layer.bias.numpy(writable=True)[:] = b = np.array([1.0, -2.0])
    x = Tensor(np.linspace(-1, 1, math.prod(shape)).reshape(shape), requires_grad=True)
    np.testing.assert_allclose(layer(x).numpy(), x.numpy() @ w.T + b, rtol=1e-14, atol=1e-15)
    assert gradcheck(lambda *_: layer(x), [x, *layer.parameters()], eps=1.0, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("k", [1, 3, 17])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_linear_with_and_without_bias_agree(k, dtype):
    """The bias is added after the products: 0 changes nothing, not even a bit."""
    x = Tensor(np.linspace(-1, 1, 4 * k).reshape(4, k), dtype=dtype)
    layer = Linear(k, 5, dtype=dtype)
    assert layer(x).numpy().tobytes() == (x @ layer.weight.T).numpy().tobytes()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name_by_function_and_in_a_chain(name):
    x = Tensor([[0.5, -1.0, 2.0, -0.25]], dtype="float64")
    expected = ACTIVATIONS[name](x).tolist()
    assert nn.Activation(ACTIVATIONS[name])(x).tolist() == expected
    assert Sequential(name)(x).tolist() == Sequential(ACTIVATIONS[name])(x).tolist() == expected
    assert repr(nn.Activation(name)) == f"Activation({name!r})"


def test_activations_with_attributes():
    x = Tensor([-2.0, 4.0], dtype="float64")
    assert nn.LeakyReLU(0.25)(x).tolist() == [-0.5, 4.0]
    assert nn.LeakyReLU()(x).tolist() == [-2.0 * 0.01, 4.0]
    assert nn.VeryLeakyReLU()(x).tolist() == pytest.approx([-2 / 3, 4.0], rel=1e-15)
    assert nn.ELU(alpha=2.0)(x).tolist() == pytest.approx([2 * math.expm1(-2), 4.0], rel=1e-15)
    assert nn.Maxout(pieces=2)(x).tolist() == [4.0]
    assert nn.Softmax(axis=0)(x).tolist() == tga.softmax(x, axis=0).tolist()
    assert repr(nn.Activation("leaky_relu", slope=0.5)) == "Activation('leaky_relu', slope=0.5)"


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.CELU(alpha=2.0), [2 * math.expm1(-1), 4.0]),
        (nn.Softplus(beta=2.0), [math.log1p(math.exp(-4)) / 2, math.log1p(math.exp(8)) / 2]),
        (nn.Softplus(threshold=3.0), [math.log1p(math.exp(-2)), 4.0]),
        (nn.Hardtanh(-1.5, 3.0), [-1.5, 3.0]),
        (nn.Softshrink(1.5), [-0.5, 2.5]),
        (nn.Hardshrink(3.0), [0.0, 4.0]),
        (nn.Threshold(1.0, 7.0), [7.0, 4.0]),
        (nn.GLU(axis=0), [-2 / (1 + math.exp(-4))]),
        (nn.Softmin(axis=0), [1 / (1 + math.exp(-6)), 1 / (1 + math.exp(6))]),
    ],
    ids=lambda value: value.name if isinstance(value, nn.Activation) else "",
)
def test_more_activations_with_attributes(layer, expected):
    got = layer(Tensor([-2.0, 4.0], dtype="float64")).tolist()
    assert got == pytest.approx(expected, rel=1e-14)


def test_slopes_are_learnt():
    x = Tensor([[-1.0, 2.0], [-3.0, -4.0]], dtype="float64")
    layer = nn.PReLU(2, slope=0.5, dtype="float64")
    assert repr(layer) == "PReLU(2)" and layer.parameters() == [layer.weight]
    y = layer(x)
    assert y.tolist() == [[-0.5, 2.0], [-1.5, -2.0]]
    y.sum().backward()
    assert layer.weight.grad.tolist() == [-4.0, -4.0]
    assert nn.PReLU()(x).tolist() == tga.leaky_relu(x.astype("float32"), slope=0.25).tolist()
    with pytest.raises(ValueError, match="PReLU: count must be .* of at least 1, not 0"):
        nn.PReLU(0)


def test_slopes_are_drawn_in_training_alone():
    layer = nn.RReLU(0.25, 0.5)
    x = Tensor([-1.0] * 1000 + [3.0], requires_grad=True)
    tga.manual_seed(1)
    y = layer(x)
    slopes = -y.numpy()[:-1]
    assert 0.25 <= slopes.min() < 0.26 and 0.49 < slopes.max() <= 0.5 and y[-1].item() == 3.0
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [*slopes, 1.0])
    assert not np.array_equal(layer(x).numpy(), y.numpy())  # drawn anew
    assert layer.eval()(x).tolist() == [-0.375] * 1000 + [3.0]
    assert repr(layer) == "RReLU(lower=0.25, upper=0.5)"
    assert repr(nn.Activation("elu", alpha=2)) == "Activation('elu', alpha=2.0)"
    assert repr(nn.ReLU()) == "ReLU()"
    with pytest.raises(ValueError, match="RReLU: lower is 0.5, above upper, which is 0.25"):
        nn.RReLU(0.5, 0.25)
    capture = tga.capture(lambda: layer.train()(x))
    assert np.unique(capture.replay(4).numpy()[:, 0]).size == 4


def test_activation_that_is_not_there_lists_those_that_are():
    with pytest.raises(ValueError, match=r"no activation 'rleu'; there are .*relu.*tanh"):
        Sequential(Linear(2, 2), "rleu")
    with pytest.raises(TypeError, match="relu.*'slope'"):
        nn.Activation("relu", slope=1.0)(Tensor([1.0]))


def test_sequential_is_a_sequence():
    net = Sequential(Linear(2, 3), "tanh", lambda x: x * 2)
    assert len(net) == 3 and [type(m).__name__ for m in net] == [
        "Linear",
        "Activation",
        "Activation",
    ]
    assert isinstance(net[0], Linear) and net[-1] is list(net)[2]
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    x = Tensor([[1.0, 2.0]])
    assert net(x).tolist() == ((net[0](x)).tanh() * 2).tolist()


def test_wrong_size_of_input_names_both():
    with pytest.raises(ValueError, match=r"linear: x is \(4, 5\) but w is \(2, 3\)"):
        Linear(3, 2)(tga.zeros(4, 5))
    with pytest.raises(ValueError, match=r"matmul: x is \(4, 5\) but w is \(3, 2\)"):
        Linear(3, 2, bias=False)(tga.zeros(4, 5))


# ---- initial weights ------------------------------------------------------------------------

FAN_IN, FAN_OUT = 300, 100


@pytest.mark.parametrize(
    ("fill", "variance", "bound"),
    [
        (init.uniform, 1 / 3, 1.0),
        (lambda w: init.uniform(w, 2.0, 6.0), 16 / 12, None),
        (init.normal, 1.0, None),
        (lambda w: init.normal(w, 5.0, 0.5), 0.25, None),
        (init.xavier, 2 / (FAN_IN + FAN_OUT), math.sqrt(6 / (FAN_IN + FAN_OUT))),
        (lambda w: init.xavier(w, gain=5 / 3), 25 / 9 * 2 / (FAN_IN + FAN_OUT), None),
        (init.he, 2 / FAN_IN, None),
        (init.lecun, 1 / FAN_IN, None),
    ],
    ids=["uniform", "uniform 2-6", "normal", "normal 5", "xavier", "xavier gain", "he", "lecun"],
)
def test_variance_of_initial_weights(fill, variance, bound):
    """Within five standard errors of the published one; the seed is fixed."""
    tga.manual_seed(5)
    w = Parameter(tga.zeros(FAN_OUT, FAN_IN))
    assert fill(w) is w and w.requires_grad
    a = w.numpy().astype("float64")
    spread = np.mean((a - a.mean()) ** 4) - a.var() ** 2
    assert abs(a.var() - variance) <= 5 * math.sqrt(spread / a.size)
    if bound is not None:
        assert np.abs(a).max() <= bound and np.abs(a).max() > 0.99 * bound


def test_fans_of_a_convolution_count_its_window():
    w = Parameter(tga.zeros(64, 32, 3, 3))
    tga.manual_seed(6)
    init.xavier(w)
    bound = math.sqrt(6 / ((64 + 32) * 9))
    assert 0.99 * bound < np.abs(w.numpy()).max() <= bound


def test_constant_and_seed():
    assert init.constant(Parameter(tga.zeros(2)), 3).tolist() == [3.0, 3.0]
    tga.manual_seed(7)
    first = Linear(4, 3)
    tga.manual_seed(7)
    assert Linear(4, 3).weight.tolist() == first.weight.tolist()
    assert first.bias.tolist() == [0.0] * 3
    assert Linear(4, 3).weight.tolist() != first.weight.tolist()


@pytest.mark.parametrize("fill", [init.xavier, init.he, init.lecun])
def test_vectors_have_no_fans(fill):
    with pytest.raises(ValueError, match=rf"{fill.__name__}.*\(3,\).*fan_in"):
        fill(Parameter(tga.zeros(3)))


def test_initial_weights_are_written_where_the_graph_sees_it():
    """A graph that saved the old weights must not be sent backward."""
    layer = Linear(2, 2)
    y = layer(Tensor([[1.0, 2.0]], requires_grad=True)).sum()
    init.constant(layer.weight, 0.0)
    with pytest.raises(RuntimeError, match="written to in place"):
        y.backward()


# ---- SGD ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (37,), (5, 7), (0,)], ids=str)
def test_sgd_step_is_p_minus_lr_g(dtype, shape, isa):
    a = np.linspace(-1, 1, math.prod(shape)).reshape(shape).astype(dtype)
    g = np.linspace(3, -2, math.prod(shape)).reshape(shape).astype(dtype)
    p = Parameter(a)
    p.grad = Tensor(g)
    memory, gradient = p.numpy(), p.grad
    SGD([p], lr=0.1).step()
    expected = a - np.dtype(dtype).type(0.1) * g
    np.testing.assert_array_max_ulp(p.numpy(), expected, maxulp=1)  # fma or not
    assert np.shares_memory(memory, p.numpy()) or not a.size, "in place"
    assert p.grad is gradient and gradient.tolist() == g.tolist()


def test_sgd_with_parameters_of_both_dtypes_and_without_gradient():
    p, q, r = Parameter([1.0]), Parameter([1.0], dtype="float64"), Parameter([1.0])
    sgd = SGD(iter([p, q, r]), lr=0.5)
    (p * 2 + q.astype("float32") * 4).sum().backward()
    sgd.step()
    assert (p.item(), q.item(), r.item()) == (0.0, -1.0, 1.0)
    r.grad = Tensor([2.0])
    p.grad = None
    sgd.step()
    assert (p.item(), q.item(), r.item()) == (0.0, -3.0, 0.0)
    sgd.zero_grad()
    assert p.grad is q.grad is r.grad is None
    sgd.step()
    assert (p.item(), q.item(), r.item()) == (0.0, -3.0, 0.0)


def test_sgd_takes_gradients_in_any_layout():
    p = Parameter(np.zeros((2, 3)))
    p.grad = Tensor(np.arange(6.0).reshape(3, 2)).T
    SGD([p], lr=1.0).step()
    assert p.tolist() == [[-0.0, -2.0, -4.0], [-1.0, -3.0, -5.0]]


def test_rate_can_be_changed():
    p = Parameter([0.0])
    sgd = SGD([p], lr=0.0)
    p.grad = Tensor([1.0])
    sgd.step()
    assert p.item() == 0.0
    sgd.lr = 0.25
    sgd.step()
    assert p.item() == -0.25


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: SGD([], lr=0.1), ValueError, "no parameters"),
        (lambda: SGD([1.0], lr=0.1), TypeError, "must be Tensors, not 1.0"),
        (lambda: SGD([Tensor([1.0])], lr=0.1), ValueError, "leaf that requires a gradient"),
        (lambda: SGD([Parameter([1.0]) * 2], lr=0.1), ValueError, "leaf that requires"),
        (lambda: SGD([Parameter([1.0])], lr=-0.1), ValueError, "lr is -0.1"),
        (lambda: SGD([Parameter([1.0])], lr=math.nan), ValueError, "lr is nan"),
        (lambda: SGD([view_as_leaf()], lr=0.1), ValueError, r"\(3, 2\), is a view"),
    ],
)
def test_misuse_of_sgd(make, kind, words):
    with pytest.raises(kind, match=words):
        make()


def view_as_leaf():
    x = tga.zeros(2, 3).T
    x.requires_grad = True
    return x


def test_sgd_refuses_read_only_memory():
    a = np.ones(2)
    a.flags.writeable = False
    p = tga.from_numpy(a)
    p.requires_grad = True
    p.grad = Tensor(np.ones(2))
    with pytest.raises(ValueError, match="read-only"):
        SGD([p], lr=0.5).step()
    assert a.tolist() == [1.0, 1.0]


# ---- together -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_step_is_that_of_numpy(dtype):
    """Two layers, ten steps, against the same written out with NumPy."""
    tga.manual_seed(8)
    net = Sequential(Linear(2, 4, dtype=dtype), "tanh", Linear(4, 1, dtype=dtype), "sigmoid")
    w1, b1, w2, b2 = [p.numpy().astype("float64") for p in net.parameters()]
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype="float64")
    t = np.array([[0], [1], [1], [0]], dtype="float64")
    sgd, rate = SGD(net.parameters(), lr=0.5), 0.5
    for _ in range(10):
        sgd.zero_grad()
        loss = tga.bce(net(Tensor(x, dtype=dtype)), Tensor(t, dtype=dtype))
        loss.backward()
        sgd.step()

        h = np.tanh(x @ w1.T + b1)
        p = 1 / (1 + np.exp(-(h @ w2.T + b2)))
        expected = -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))
        gz = (p - t) / len(t)
        gh = (gz @ w2) * (1 - h * h)
        w2, b2 = w2 - rate * gz.T @ h, b2 - rate * gz.sum(axis=0)
        w1, b1 = w1 - rate * gh.T @ x, b1 - rate * gh.sum(axis=0)
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        assert loss.item() == pytest.approx(expected, rel=tolerance)
    for got, expected in zip(net.parameters(), (w1, b1, w2, b2), strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=tolerance, atol=tolerance)


def test_regression_reaches_the_least_squares_solution():
    rng = np.random.default_rng(9)
    x, t = rng.normal(size=(50, 3)), rng.normal(size=(50, 1))
    best = np.linalg.lstsq(np.hstack([x, np.ones((50, 1))]), t, rcond=None)[0].ravel()
    layer = Linear(3, 1, dtype="float64")
    sgd = SGD(layer.parameters(), lr=0.3)
    for _ in range(500):
        sgd.zero_grad()
        tga.mse(layer(Tensor(x)), Tensor(t)).backward()
        sgd.step()
    got = np.append(layer.weight.numpy(), layer.bias.numpy())
    np.testing.assert_allclose(got, best, atol=1e-10)


def test_classifier_learns_with_cross_entropy():
    rng = np.random.default_rng(10)
    labels = rng.integers(0, 3, 120)
    centres = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    x = centres[labels] + 0.3 * rng.normal(size=(120, 2))
    tga.manual_seed(11)
    net = Sequential(Linear(2, 8), "relu", Linear(8, 3))
    sgd = SGD(net.parameters(), lr=0.5)
    inputs, targets = Tensor(x, dtype="float32"), Tensor(labels)
    for _ in range(100):
        sgd.zero_grad()
        loss = tga.cross_entropy(net(inputs), targets)
        loss.backward()
        sgd.step()
    assert loss.item() < 0.02
    assert (net(inputs).numpy().argmax(axis=1) == labels).all()
