"""Modules: modes, state, summary; the recurrent cells; initial weights that are computed."""

import math

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor, nn
from tinygrad_act.nn import Buffer, Linear, Module, Parameter, Sequential, init
from tinygrad_act.testing import gradcheck


class Counter(Module):
    """A layer with something that is saved but not trained."""

    def __init__(self):
        self.calls = Buffer(tga.zeros(1))

    def forward(self, x):
        if self.training:
            self.calls += 1.0
        return x


def small_net():
    return Sequential(Linear(2, 3), "tanh", Sequential(Counter(), Linear(3, 1)))


# ---- modes ----------------------------------------------------------------------------------


def test_modes_reach_every_module():
    net = small_net()
    assert all(module.training for _, module in net.modules())
    assert net.eval() is net
    assert not any(module.training for _, module in net.modules())
    net(tga.zeros(1, 2))
    assert net[2][0].calls.item() == 0.0
    assert net.train() is net and net[2][0].training
    net(tga.zeros(1, 2))
    assert net[2][0].calls.item() == 1.0


def test_modules_that_refer_to_each_other():
    class Part(nn.Module):
        def __init__(self, whole=None):
            self.weight = nn.Parameter([1.0])
            self.whole = whole
            self.part = None if whole else Part(self)

    net = Part()
    assert [path for path, _ in net.modules()] == ["", "part"]
    assert [name for name, _ in net.named_parameters()] == ["weight", "part.weight"]
    assert list(net.state_dict()) == ["weight", "part.weight"]
    assert repr(net).split() == ["Part(", "(part):", "Part(", "(whole):", "...", ")", ")"]


def test_evaluating_puts_back_the_modes_it_found():
    net = small_net()
    net[2].eval()
    before = [module.training for _, module in net.modules()]
    with pytest.raises(KeyError), nn.evaluating(net):
        assert not any(module.training for _, module in net.modules())
        raise KeyError
    assert [module.training for _, module in net.modules()] == before


def test_modules_each_once_the_outer_first():
    net = small_net()
    net.again = net[2]
    assert [path for path, _ in net.modules()] == ["", "0", "1", "2", "2.0", "2.1"]


def test_apply_comes_to_the_inner_first_and_in_order():
    seen = []
    net = small_net()
    assert net.apply(seen.append) is net
    assert seen == [net[0], net[1], net[2][0], net[2][1], net[2], net]


# ---- observing ------------------------------------------------------------------------------


def test_observing_sees_every_call_and_leaves_nothing_behind():
    net, seen, outer = small_net(), [], []
    x = Tensor([[1.0, 2.0]])
    expected = net(x).tolist()
    with nn.observing(net, lambda path, module, y: outer.append(path)):
        with nn.observing(net, lambda path, module, y: seen.append((path, module, y.shape))):
            assert net(x).tolist() == expected
        net[0](x)
    assert [path for path, _, _ in seen] == ["0", "1", "2.0", "2.1", "2", ""]
    assert seen[0][1] is net[0] and seen[-1][2] == (1, 1)
    assert outer == [*[path for path, _, _ in seen], "0"]
    assert not any("forward" in vars(module) for _, module in net.modules())


def test_observing_ends_with_an_error():
    net = small_net()
    with pytest.raises(ValueError, match="linear"):
        with nn.observing(net, lambda *_: None):
            net(tga.zeros(1, 5))
    assert not any("forward" in vars(module) for _, module in net.modules())


# ---- summary --------------------------------------------------------------------------------


def test_summary():
    net = small_net()
    text = net.summary(tga.zeros(8, 2))
    assert text == net.summary((8, 2))
    assert [line.split() for line in text.splitlines()] == [
        "layer output parameters".split(),
        "0: Linear(2, 3) (8, 3) 9".split(),
        "1: Activation('tanh') (8, 3) 0".split(),
        "2.0: Counter() (8, 3) 0".split(),
        "2.1: Linear(3, 1) (8, 1) 4".split(),
        "total 13".split(),
    ]
    assert len({len(line) for line in text.splitlines()}) == 1
    assert net.training and net[2][0].calls.item() == 0.0


def test_summary_counts_shared_and_own_parameters_once():
    class Tied(Module):
        def __init__(self):
            self.scale = Parameter(tga.ones(1000))
            self.first = Linear(1000, 1000, bias=False)
            self.second = Linear(1000, 1000, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(self.first(self.first(x))) * self.scale

    rows = [line.split() for line in Tied().summary((1000,)).splitlines()[1:]]
    assert [row[-1] for row in rows] == ["1,000,000", "0", "1,000", "1,001,000"]


# ---- state ----------------------------------------------------------------------------------


def test_state_is_a_copy_of_parameters_and_buffers():
    net = small_net()
    net(tga.zeros(1, 2))
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.bias", "2.1.weight", "2.1.bias", "2.0.calls"]
    assert not any(value.requires_grad for value in state.values())
    assert state["2.0.calls"].item() == 1.0
    init.constant(net[0].weight, 7.0)
    assert 7.0 not in state["0.weight"].numpy()


@pytest.mark.parametrize("convert", [lambda x: x, lambda x: x.numpy()], ids=["Tensor", "NumPy"])
def test_state_goes_into_another_net(convert):
    one, other = small_net(), small_net()
    x = Tensor([[1.0, 2.0]])
    one(x)
    other.load_state_dict({name: convert(value) for name, value in one.state_dict().items()})
    assert other(x).tolist() == one(x).tolist()
    assert other[2][0].calls.item() == 2.0
    assert all(p.requires_grad for p in other.parameters())


def test_differences_are_listed_and_nothing_is_written():
    net = small_net()
    before = net.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    del state["0.bias"]
    state["0.weights"] = tga.zeros(3, 2)
    state["2.1.weight"] = tga.zeros(3, 1)
    state["2.1.bias"] = np.zeros(1)
    with pytest.raises(ValueError) as caught:
        net.load_state_dict(state)
    assert str(caught.value).splitlines() == [
        "Sequential: the state does not fit:",
        "  missing: 0.bias",
        "  not expected: 0.weights",
        "  2.1.weight: shape (3, 1), but (1, 3) is needed",
        "  2.1.bias: dtype float64, but float32 is needed",
    ]
    after = net.state_dict()
    assert all(after[name].tolist() == before[name].tolist() for name in before)


def test_long_lists_of_differences_are_cut():
    with pytest.raises(ValueError, match=r"and 11 more") as caught:
        Linear(2, 2).load_state_dict({f"w{i}": tga.zeros(1) for i in range(29)})
    assert len(str(caught.value).splitlines()) == 22


# ---- layers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (2, 6, 5, 4)),
        ({"stride": 2, "padding": 1, "bias": False}, (2, 6, 4, 3)),
        ({"padding": "same", "groups": 2, "dilation": (2, 1)}, (2, 6, 7, 6)),
    ],
    ids=str,
)
def test_convolution_is_the_op(options, shape):
    layer = nn.Conv2d(4, 6, 3, **options, dtype="float64")
    x = tga.randn(2, 4, 7, 6, dtype="float64")
    if layer.bias is not None:
        init.normal(layer.bias)
    attrs = {name: value for name, value in options.items() if name != "bias"}
    expected = tga.conv2d(x, layer.weight, layer.bias, **attrs)
    assert layer(x).shape == shape and layer(x).tolist() == expected.tolist()
    assert layer.weight.shape == (6, 2 if "groups" in options else 4, 3, 3)
    arguments = "".join(f", {name}={value!r}" for name, value in options.items() if name in attrs)
    if "groups" in options:
        arguments = ", padding='same', dilation=(2, 1), groups=2"
    arguments += ", bias=False" if layer.bias is None else ""
    assert repr(layer) == f"Conv2d(4, 6, (3, 3){arguments})"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Linear(0, 0), "Linear: inputs must be a whole number of at least 1, not 0"),
        (lambda: nn.Conv2d(1, 1, 0), "Conv2d: size is 0, but must be at least 1"),
        (lambda: nn.Conv2d(1, 2, (3, 0)), r"Conv2d: size is \(3, 0\), but must be at least 1"),
        (lambda: nn.Conv2d(0, 1, 3), "Conv2d: inputs must be .* of at least 1, not 0"),
        (lambda: nn.MaxoutLinear(3, 4, pieces=0), "MaxoutLinear: pieces must be .*, not 0"),
    ],
)
def test_layers_of_size_0(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_convolution_in_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="4 and 6 channels make no 4 groups"):
        nn.Conv2d(4, 6, 3, groups=4)


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("options", [{}, {"stride": 1, "padding": 1}], ids=str)
def test_pooling_is_the_op(kind, options):
    layer = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[kind](2, **options)
    x = tga.randn(2, 3, 5, 6)
    expected = getattr(tga, f"{kind}_pool2d")(x, size=2, **options)
    assert layer(x).tolist() == expected.tolist()
    arguments = "2, stride=1, padding=1" if options else "2"
    assert repr(layer) == f"{kind.title()}Pool2d({arguments})"


@pytest.mark.parametrize("kind", ["Dropout", "AlphaDropout"])
def test_dropout_in_training_alone(kind):
    layer = getattr(nn, kind)(0.25)
    x = tga.ones(100, 100)
    tga.manual_seed(21)
    y = layer(x).numpy()
    values, counts = np.unique(y, return_counts=True)
    assert len(values) == 2 and 0.23 < counts[0] / y.size < 0.27
    assert layer.eval()(x).tolist() == x.tolist()
    assert repr(layer) == f"{kind}(0.25)"
    with pytest.raises(ValueError, match=f"{kind}: p is 1.5"):
        getattr(nn, kind)(1.5)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [("BatchNorm1d", (8, 3)), ("BatchNorm1d", (8, 3, 5)), ("BatchNorm2d", (8, 3, 5, 2))],
)
def test_batch_norm_trains_and_remembers(kind, shape, affine):
    layer = getattr(nn, kind)(3, affine=affine, dtype="float64")
    rng = np.random.default_rng(6)
    around = tuple(i for i in range(len(shape)) if i != 1)
    wide = [1, 3, *[1] * (len(shape) - 2)]
    w, b = np.ones(3), np.zeros(3)
    if affine:
        w, b = rng.normal(size=(2, 3))
        layer.load_state_dict({**layer.state_dict(), "weight": w, "bias": b})
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = rng.normal(2, 3, size=shape)
        here = x.mean(axis=around), x.var(axis=around)
        expected = (x - here[0].reshape(wide)) / np.sqrt(here[1].reshape(wide) + 1e-5)
        expected = expected * w.reshape(wide) + b.reshape(wide)
        np.testing.assert_allclose(layer(Tensor(x)).numpy(), expected, rtol=1e-10, atol=1e-12)
        n = x.size // 3
        mean, var = 0.9 * mean + 0.1 * here[0], 0.9 * var + 0.1 * here[1] * n / (n - 1)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-12)
    expected = (x - mean.reshape(wide)) / np.sqrt(var.reshape(wide) + 1e-5)
    expected = expected * w.reshape(wide) + b.reshape(wide)
    np.testing.assert_allclose(layer.eval()(Tensor(x)).numpy(), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-12)
    names = ["weight", "bias"] * affine + ["running_mean", "running_var"]
    assert list(layer.state_dict()) == names and repr(layer) == f"{kind}(3)"
    assert [name for name, _ in layer.named_parameters()] == names[: 2 * affine]


def test_batch_norm_of_other_shapes():
    with pytest.raises(ValueError, match=r"BatchNorm1d: x is \(2, 3, 4, 4\).*2 or 3 axes"):
        nn.BatchNorm1d(3)(tga.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"BatchNorm2d: x is \(2, 3\).*4 axes"):
        nn.BatchNorm2d(3)(tga.zeros(2, 3))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [5, (4, 5)], ids=str)
def test_layer_norm_is_of_the_last_axes(shape, affine):
    layer = nn.LayerNorm(shape, affine=affine, dtype="float64")
    rng = np.random.default_rng(7)
    axes = (-1,) if shape == 5 else (-2, -1)
    w, b = np.ones(shape), np.zeros(shape)
    if affine:
        w, b = rng.normal(size=(2, *layer.shape))
        layer.load_state_dict({"weight": w, "bias": b})
    x = rng.normal(2, 3, size=(3, 4, 5))
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    expected = (x - mean) / np.sqrt(var + 1e-5) * w + b
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), expected, rtol=1e-10, atol=1e-12)
    assert repr(layer) == f"LayerNorm({layer.shape})"
    if affine:
        assert gradcheck(lambda *_: layer(Tensor(x)), [layer.weight, layer.bias])


@pytest.mark.parametrize("seed", [0, 1])
def test_selu_keeps_mean_and_variance_through_fifty_layers(seed):
    """With LeCun's weights and alpha dropout, as published."""
    tga.manual_seed(seed)
    layers = []
    for _ in range(50):
        layers += [Linear(512, 512, initialize=init.lecun), "selu", nn.AlphaDropout(0.1)]
    seen = []

    def note(path, module, y):
        if isinstance(module, nn.AlphaDropout):
            seen.append((y.mean().item(), ((y - y.mean()) ** 2).mean().item()))

    net = Sequential(*layers)
    with tga.no_grad(), nn.observing(net, note):
        net(tga.randn(1024, 512))
    assert len(seen) == 50
    assert all(abs(mean) < 0.1 and 0.8 < variance < 1.2 for mean, variance in seen)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3), (5,), (0, 3, 4), (3, 0, 4)], ids=str)
def test_flatten(shape):
    x = Tensor(np.arange(math.prod(shape), dtype="float32").reshape(shape))
    y = nn.Flatten()(x)
    assert y.shape == (shape[0], math.prod(shape[1:]))
    assert y.numpy().ravel().tolist() == x.numpy().ravel().tolist()


def test_embedding_learns_the_rows_that_are_used():
    layer = nn.Embedding(5, 2, dtype="float64")
    index = Tensor([[0, 3], [3, 3]], dtype="int64")
    assert layer(index).tolist() == layer.weight.numpy()[index.numpy()].tolist()
    layer(index).sum().backward()
    assert layer.weight.grad.tolist() == [[1.0] * 2, [0.0] * 2, [0.0] * 2, [3.0] * 2, [0.0] * 2]
    assert repr(layer) == "Embedding(5, 2)"
    with pytest.raises(IndexError, match="embedding"):
        layer(Tensor([5], dtype="int64"))


def test_dense_maxout_is_the_largest_of_linear_functions():
    layer = nn.MaxoutLinear(3, 4, pieces=3, dtype="float64")
    x = np.random.default_rng(0).normal(size=(5, 3))
    w, b = layer.linear.weight.numpy(), layer.linear.bias.numpy()
    expected = (x @ w.T + b).reshape(5, 4, 3).max(axis=2)
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), expected, rtol=1e-14)
    assert repr(layer) == "MaxoutLinear(3, 4, pieces=3)"


def randomized(cell):
    rng = np.random.default_rng(1)
    cell.load_state_dict(
        {name: rng.normal(size=value.shape) for name, value in cell.state_dict().items()}
    )
    return cell


def torch_cell(torch, kind, cell):
    """PyTorch's cell with our weights; the rows of the gates come in the same order."""
    reference = getattr(torch.nn, kind)(*cell.input.weight.shape[::-1], dtype=torch.float64)
    if kind == "LSTMCell":
        reference = torch.nn.LSTMCell(cell.input.weight.shape[1], cell.units, dtype=torch.float64)
    with torch.no_grad():
        for ours, theirs in (
            (cell.input.weight, reference.weight_ih),
            (cell.input.bias, reference.bias_ih),
            (cell.recurrent.weight, reference.weight_hh),
        ):
            theirs.copy_(torch.tensor(ours.numpy()))
        reference.bias_hh.zero_()
    return reference


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell"])
def test_cells_are_those_of_pytorch(kind):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    cell = randomized(getattr(nn, kind)(3, 5, dtype="float64"))
    reference = torch_cell(torch, kind, cell)
    ours = theirs = None
    for x in np.random.default_rng(2).normal(size=(4, 2, 3)):
        ours, theirs = cell(Tensor(x), ours), reference(torch.tensor(x), theirs)
    if kind == "RNNCell":
        ours, theirs = [ours], [theirs]
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got.numpy(), expected.detach().numpy(), rtol=1e-12)


def test_lstm_cell_is_the_published_one():
    cell = randomized(nn.LSTMCell(3, 2, dtype="float64"))
    w, b, u = (p.numpy() for p in (cell.input.weight, cell.input.bias, cell.recurrent.weight))

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    h, c, state = np.zeros((4, 2)), np.zeros((4, 2)), None
    for x in np.random.default_rng(3).normal(size=(3, 4, 3)):
        i, f, g, o = np.split(x @ w.T + b + h @ u.T, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        state = cell(Tensor(x), state)
    np.testing.assert_allclose(state[0].numpy(), h, rtol=1e-13)
    np.testing.assert_allclose(state[1].numpy(), c, rtol=1e-13)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell"])
def test_gradients_go_back_through_time(kind):
    cell = randomized(getattr(nn, kind)(2, 2, dtype="float64"))
    x = Tensor(np.random.default_rng(4).normal(size=(3, 1, 2)), requires_grad=True)

    def last(*_):
        state = None
        for t in range(3):
            state = cell(x[t], state)
        return state if kind == "RNNCell" else state[0]

    assert gradcheck(last, [x, *cell.parameters()])


def test_memory_lasts_at_first():
    cell = nn.LSTMCell(3, 5)
    assert cell.input.bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    w = nn.RNNCell(3, 5).recurrent.weight.numpy()
    np.testing.assert_allclose(w @ w.T, np.eye(5), atol=1e-6)


def test_recurrent_net_learns_to_remember_the_first_number():
    tga.manual_seed(12)
    cell, last = nn.LSTMCell(1, 8), Linear(8, 1)
    adam = tga.optim.Adam(cell.parameters() + last.parameters(), lr=0.02)
    rng = np.random.default_rng(5)
    for _ in range(150):
        x = rng.choice([-1.0, 1.0], size=(6, 32, 1)).astype("float32")
        state = None
        for t in range(6):
            state = cell(Tensor(x[t]), state)
        adam.zero_grad()
        loss = tga.mse(last(state[0]), Tensor(x[0]))
        loss.backward()
        adam.step()
    assert loss.item() < 0.05


# ---- initial weights ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fill", "std", "bounded"),
    [
        (lambda w: init.he(w, fan="out"), math.sqrt(2 / 100), False),
        (lambda w: init.he(w, 1.0, distribution="uniform"), math.sqrt(1 / 300), True),
        (lambda w: init.xavier(w, distribution="normal"), math.sqrt(2 / 400), False),
        (lambda w: init.lecun(w, distribution="uniform"), math.sqrt(1 / 300), True),
    ],
)
def test_standard_deviation(fill, std, bounded):
    tga.manual_seed(13)
    a = fill(Parameter(tga.zeros(100, 300))).numpy().astype("float64")
    assert a.std() == pytest.approx(std, rel=0.02)
    assert (np.abs(a).max() <= math.sqrt(3) * std) == bounded


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4), (6, 2, 3, 1), (1, 9)], ids=str)
def test_orthogonal(shape, dtype):
    w = init.orthogonal(Parameter(tga.zeros(*shape, dtype=dtype)), gain=2.0)
    assert w.requires_grad and w.shape == shape
    a = w.numpy().reshape(shape[0], -1).astype("float64") / 2
    a = a if len(a) <= a.shape[1] else a.T
    np.testing.assert_allclose(a @ a.T, np.eye(len(a)), atol=1e-6 if dtype == "float32" else 1e-14)


def test_orthogonal_begins_with_the_seed_and_has_both_signs():
    tga.manual_seed(14)
    first = init.orthogonal(Parameter(tga.zeros(3, 3))).tolist()
    assert init.orthogonal(Parameter(tga.zeros(3, 3))).tolist() != first
    tga.manual_seed(14)
    assert init.orthogonal(Parameter(tga.zeros(3, 3))).tolist() == first
    corners = {init.orthogonal(Parameter(tga.zeros(1, 1))).item() for _ in range(64)}
    assert corners == {-1.0, 1.0}


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "selu"])
def test_lsuv_gives_every_layer_variance_one(name):
    tga.manual_seed(15)
    net = Sequential(*[part for _ in range(6) for part in (Linear(40, 40), name)])
    x = tga.randn(256, 40) * 7 + 3
    assert init.lsuv(net, x) is net and net.training
    variances = []
    with nn.observing(net, lambda path, layer, y: variances.append((layer, y.numpy().var()))):
        net(x)
    variances = [v for layer, v in variances if isinstance(layer, Linear)]
    assert len(variances) == 6 and all(abs(v - 1) < 0.1 for v in variances)


def test_lsuv_ends_where_there_is_no_variance():
    net = Sequential(Linear(3, 3), lambda x: x * 0.0, Linear(3, 3))
    init.lsuv(net, tga.randn(8, 3))
    np.testing.assert_allclose(abs(np.linalg.det(net[2].weight.numpy())), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda w: init.he(w, fan="both"), "fan is 'both'"),
        (lambda w: init.xavier(w, distribution="cauchy"), "distribution is 'cauchy'"),
        (lambda w: init.orthogonal(w[0]), r"orthogonal: weight of shape \(3,\)"),
    ],
)
def test_misuse_of_init(make, words):
    with pytest.raises(ValueError, match=words):
        make(tga.zeros(2, 3))
    assert init.zeros(tga.ones(2)).tolist() == [0.0, 0.0]
