"""Capture and replay: what the plan computes has the bits of eager mode."""

import random
import weakref
from functools import partial

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from oracle import same_bits, threads
from strategies import OPS, by_name, calls, lay_out, leaf

import tinygrad_act as tga
from tinygrad_act import CaptureError, ReplayMismatch, Tensor, capture, kernels, nn, optim
from tinygrad_act.passes import PASSES
from tinygrad_act.plan import PLACEMENTS

ISAS = tga.supported_isas()
ALL_PASSES = (*PASSES, *PLACEMENTS)


def bits(tensors):
    """The content of tensors, to be compared; None for a gradient that is missing."""
    return [None if x is None else (x.shape, x.numpy().tobytes()) for x in tensors]


def in_turn(step, n):
    """What n eager calls of a step return, each result with a first axis for the steps."""
    found = [[x.numpy().copy() for x in step()] for _ in range(n)]
    return [np.stack(values) for values in zip(*found, strict=True)]


# ---- every op ---------------------------------------------------------------------------------


def training_step(call, inputs):
    """A step that applies an op, and changes its inputs by their gradients."""
    leaves = [x for x in inputs if x.requires_grad]

    def step():
        for x in leaves:
            x.grad = None
        y = call.plain(*inputs)
        if y.requires_grad:
            (y * y).sum().backward()
            with tga.no_grad():
                for x in leaves:
                    if x.grad is not None:
                        x -= x.grad * 0.03125
        return [y]

    return step


def inputs_of(call, dtype):
    return [
        leaf(x, dtype, layout) if x.dtype.kind == "f" else lay_out(Tensor(x), layout)
        for x, layout in zip(call.inputs, ["contiguous"] * len(call.inputs), strict=True)
    ]


@pytest.mark.parametrize("op", OPS, ids=by_name)
@settings(max_examples=2, phases=[Phase.generate])  # each example captures three times
@given(data=st.data())
def test_every_op(op, data):
    call = data.draw(calls(op, most=24))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    with tga.use_isa(data.draw(st.sampled_from(ISAS))):
        eager, replayed = inputs_of(call, dtype), inputs_of(call, dtype)
        expected = in_turn(training_step(call, eager), 3)
        step = capture(training_step(call, replayed))
        found = step.replay(3)
    assert all(same_bits(x, y.numpy()) for x, y in zip(expected, found, strict=True))
    assert bits(eager) == bits(replayed)
    assert bits(x.grad for x in eager) == bits(x.grad for x in replayed)


# ---- networks ---------------------------------------------------------------------------------

x = Tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
target = Tensor([[0], [1], [1], [0]])


def xor(widths, activation, dtype="float32", make=optim.SGD, **rates):
    """A network, and one step of its training."""
    tga.manual_seed(3)
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, outputs, dtype=dtype, initialize=nn.init.uniform), activation]
    net = nn.Sequential(*layers[:-1], "sigmoid")
    optimizer = make(net.parameters(), **rates)
    points, targets = x.astype(dtype), target.astype(dtype)

    def step():
        probability = net(points)
        cost = tga.bce(probability, targets)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        return cost, probability

    return net, optimizer, step


def assert_replay_is_eager(make, n=5, passes=ALL_PASSES):
    """`make` gives a network, its optimizer and a step: it is compared after n steps."""
    eager_net, _, eager = make()
    expected = in_turn(eager, n)
    net, _, function = make()
    step = capture(function, passes)
    found = step.replay(n)
    assert all(same_bits(a, b.numpy()) for a, b in zip(expected, found, strict=True))
    assert bits(net.parameters()) == bits(eager_net.parameters())
    assert bits(p.grad for p in net.parameters()) == bits(p.grad for p in eager_net.parameters())
    return step


SMALL, WIDE, DEEP = [2, 2, 1], [2, 5, 4, 1], [2, 5, 5, 5, 5, 1]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("widths", [SMALL, WIDE, DEEP], ids=str)
def test_xor_networks(widths, dtype, isa):
    with tga.use_isa(isa):
        for activation in ("sigmoid", "relu", "selu"):
            step = assert_replay_is_eager(partial(xor, widths, activation, dtype, lr=0.1))
            assert "rows_forward" in repr(step.plan)


HALVES = {"maxout", "glu"}  # whose result has fewer columns than x


@pytest.mark.parametrize("name", [name for name in tga.op.ACTIVATIONS if name not in HALVES])
def test_every_activation_between_small_layers(name):
    assert_replay_is_eager(lambda: xor(WIDE, name, lr=0.1))


def convolutional(dtype):
    """Convolution, normalisation with running statistics, pooling, dropout, and Adam."""
    tga.manual_seed(5)
    rng = np.random.default_rng(5)
    images = Tensor(rng.normal(size=(6, 1, 9, 8)), dtype=dtype)
    labels = Tensor(rng.integers(0, 3, 6))
    net = nn.Sequential(nn.Conv2d(1, 3, 3, dtype=dtype), nn.Linear(27, 3, dtype=dtype))
    mean, var = tga.zeros(3, dtype=dtype), tga.ones(3, dtype=dtype)
    optimizer = optim.Adam(net.parameters(), lr=0.01)

    def step():
        y = net[0](images)
        y = tga.batch_norm(y, running_mean=mean, running_var=var, training=True).relu()
        y = tga.dropout(tga.max_pool2d(y, 2), 0.25).reshape(6, 27)
        cost = tga.cross_entropy(net[1](y), labels)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        return cost, mean.clone(), var.clone()

    return net, optimizer, step


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolutional_network(dtype, isa):
    assert_replay_is_eager(partial(convolutional, dtype))


@pytest.mark.parametrize(
    "make, rates",
    [
        (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        (optim.Adam, {"lr": 0.1}),
        (optim.AdamW, {"lr": 0.1}),
        (optim.RMSprop, {"lr": 0.1}),
        (optim.Adagrad, {"lr": 0.1}),
    ],
)
@pytest.mark.parametrize("widths", [WIDE, [2, 40, 9, 1]], ids=str)
def test_optimizers(make, rates, widths):
    assert_replay_is_eager(lambda: xor(widths, "tanh", make=make, **rates))


@pytest.mark.parametrize("clip", [optim.clip_grad_norm_, optim.clip_grad_value_])
@pytest.mark.parametrize("widths", [WIDE, [2, 40, 9, 1]], ids=str)
def test_clipping(clip, widths):
    def make():
        net, optimizer, _ = xor(widths, "tanh", lr=0.5)

        def step():
            cost = tga.bce(net(x), target)
            optimizer.zero_grad()
            cost.backward()
            norm = clip(net.parameters(), 0.01)
            optimizer.step()
            return (cost,) if norm is None else (cost, norm)

        return net, optimizer, step

    assert_replay_is_eager(make)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8, 9, 16, 33, 64, 65])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_a_batch(rows, dtype):
    """Small layers on batches of any length: below, at and above what a tile takes."""
    for isa in ISAS:
        with tga.use_isa(isa):
            tga.manual_seed(rows)
            points = tga.randn(rows, 3, dtype=dtype)
            labels = tga.randn(rows, 2, dtype=dtype)

            def make(points=points, labels=labels):
                tga.manual_seed(1)
                layers = nn.Linear(3, 8, dtype=dtype), "tanh", nn.Linear(8, 2, dtype=dtype)
                net = nn.Sequential(*layers)
                optimizer = optim.SGD(net.parameters(), lr=0.1)

                def step():
                    optimizer.zero_grad()
                    loss = tga.mse(net(points), labels)
                    loss.backward()
                    optimizer.step()
                    return (loss,)

                return net, optimizer, step

            assert_replay_is_eager(make, n=2)


@pytest.mark.parametrize("n", [1, 2])
def test_threads(n):
    """Layers that are large enough for two threads."""

    def make():
        tga.manual_seed(1)
        net = nn.Sequential(nn.Linear(64, 256), "relu", nn.Linear(256, 10))
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        points, labels = tga.randn(128, 64), tga.zeros(128, dtype="int64")

        def step():
            optimizer.zero_grad()
            loss = tga.cross_entropy(net(points), labels)
            loss.backward()
            optimizer.step()
            return (loss,)

        return net, optimizer, step

    with threads(n):
        assert_replay_is_eager(make, n=3)


def test_weights_that_two_layers_share():
    def make():
        tga.manual_seed(5)
        first, shared = nn.Linear(2, 4), nn.Linear(4, 4)
        net = nn.Sequential(first, "tanh", shared, "tanh", shared, "tanh", nn.Linear(4, 1))
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def step():
            optimizer.zero_grad()
            loss = tga.bce_with_logits(net(x), target)
            loss.backward()
            optimizer.step()
            return (loss,)

        return net, optimizer, step

    assert_replay_is_eager(make)


def test_random_numbers_go_on_as_in_eager_mode():
    def make():
        tga.manual_seed(11)
        w = Tensor([[0.5, -0.5]], requires_grad=True)
        optimizer = optim.SGD([w], lr=0.1)

        def step():
            optimizer.zero_grad()
            noise = tga.randn(4, 2)
            loss = tga.mse((x + noise) @ w.T, target)
            loss.backward()
            optimizer.step()
            return loss, noise

        return nn.Sequential(), optimizer, step

    assert_replay_is_eager(make)
    after_replay = tga.rand(3).tolist()
    *_, step = make()
    for _ in range(5):
        step()
    assert tga.rand(3).tolist() == after_replay


# ---- passes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [(), *[(name,) for name in ALL_PASSES]], ids=str)
@pytest.mark.parametrize("widths", [WIDE, [2, 40, 9, 1]], ids=str)
def test_passes_leave_the_bits_alone(passes, widths):
    assert_replay_is_eager(lambda: xor(widths, "elu", lr=0.1), passes=passes)


def instructions(step):
    return [one.name for one in step.plan.instructions]


def captured(function, **options):
    step = capture(function, **options)
    step.replay(1)
    return step


def test_drop_dead():
    def step():
        y = x.exp()
        y.log()  # nobody reads it
        return y

    assert len(instructions(captured(step, passes=()))) == 2
    assert instructions(captured(step, passes=("drop_dead",))) == ["tga_unary_forward"]


def test_fuse_linear():
    w, b = tga.randn(40, 2), tga.zeros(40)

    def step():
        return x.linear(w, b).tanh()

    assert instructions(captured(step)) == ["tga_linear_activation_forward"]


def test_merged_updates_lie_in_one_piece():
    _, _, function = xor(WIDE, "tanh", lr=0.1)
    apart, together = [captured(function, passes=p) for p in [(), ("merge_updates",)]]
    assert together.plan.nbytes >= apart.plan.nbytes  # gaps between parameters are filled up
    update = together.plan.instructions[-1]
    assert update.name == "tga_sgd" and update["count"] == 6
    assert together.plan._as_one(update)[1] == 1


def test_elementwise_results_take_the_place_of_their_operands():
    """Of a chain, one buffer is left; unless an operand is needed later, as is `y` here."""
    wide = tga.randn(1000)

    def step():
        y = wide.exp()
        return y.tanh().sigmoid().abs().sum() + y.sum()

    apart, together = [captured(step, passes=p) for p in [(), ("in_place",)]]
    assert together.plan.nbytes < apart.plan.nbytes - 3900
    unary = [one for one in together.plan.instructions if one.name == "tga_unary_forward"]
    y, *others = [one["y"].buffer.place for one in unary]
    assert len(others) == 3 and len(set(others)) == 1 and y not in others
    assert same_bits(together().numpy(), step().numpy())


# ---- what a plan shows ------------------------------------------------------------------------


def test_listing():
    _, _, function = xor(WIDE, "tanh", lr=0.1)
    step = capture(function)
    assert step.plan is None
    step.replay(1)
    text = repr(step.plan)
    assert "linear + tanh" in text and "0 Linear" in text and "bce + backward" in text
    assert "instructions" in text and "live from step to step" in text
    cost = step.plan.cost()
    # forward 4 x (2 x 5 + 5 x 4 + 4 x 1) products; backward the same twice, without x's
    products = 4 * (10 + 20 + 4) * 2 + 4 * (20 + 4)
    assert 2 * products <= cost["flops"] <= 2 * products + 200
    assert cost["bytes"] > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [lambda x: x.sum(), lambda x: x.T * x.T], ids=["sum", "strided"])
def test_cost_counts_elements(make, dtype):
    x = tga.ones(10, 10, dtype=dtype)
    step = capture(lambda: make(x))
    step()
    assert step.plan.cost()["flops"] == 100


def test_memory_is_reused():
    """Of a chain of 100 ops, a few buffers are alive at a time."""

    def step():
        y = Tensor.exp(x)
        for _ in range(100):
            y = y.tanh()
        return y

    plan = captured(step).plan
    assert plan.nbytes < 20 * 64


# ---- the check --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(8))
def test_the_check_sees_a_wrong_instruction(number, monkeypatch):
    """Change one number of one instruction of the plan: capture refuses it."""
    _, _, function = xor(SMALL, "tanh", lr=0.1)
    seen = []

    def corrupt(instructions):
        rng = random.Random(number)
        one = instructions[rng.randrange(len(instructions))]
        if one.name in ("tga_unary_forward", "tga_unary_backward"):
            args = {"op": one["op"] + 1}
        elif "n" in [name for name, _ in kernels.calls()[one.name][1]]:
            args = {"n": one["n"] - 1}
        else:
            return corrupt_update(instructions)
        seen.append(one.name)
        return [one.with_args(**args) if other is one else other for other in instructions]

    def corrupt_update(instructions):
        seen.append("tga_sgd")
        return [one for one in instructions if one.name != "tga_sgd"]

    monkeypatch.setitem(PASSES, "drop_dead", corrupt)
    with pytest.raises(CaptureError, match="does not give the bits of eager mode"):
        capture(function, passes=("drop_dead",)).replay(1)
    assert seen


# ---- calls, replays, epochs -------------------------------------------------------------------


def test_calls():
    """The first two calls run the function, the others do not; all are steps."""
    eager_net, _, eager = xor(WIDE, "tanh", lr=0.1)
    expected = in_turn(eager, 5)
    net, _, function = xor(WIDE, "tanh", lr=0.1)
    ran = []

    def counted():
        ran.append(1)
        return function()

    step = capture(counted)
    found = [step() for _ in range(5)]
    assert len(ran) == 2
    for number, (cost, probability) in enumerate(found):
        assert same_bits(cost.numpy(), expected[0][number])
        assert same_bits(probability.numpy(), expected[1][number])
        assert not cost.requires_grad
    assert bits(net.parameters()) == bits(eager_net.parameters())


def test_replay_runs_the_function_without_lasting_effect():
    net, optimizer, function = xor(SMALL, "tanh", lr=0.1)
    before = bits(net.parameters())
    assert capture(function).replay(0)[0].shape == (0,)
    assert bits(net.parameters()) == before
    assert all(p.grad is None for p in net.parameters())


def test_replay_of_no_step_leaves_the_gradients():
    w = Tensor([1.0, 2.0], requires_grad=True)

    def function():
        w.grad = None
        cost = (w * w).sum()
        cost.backward()
        return cost

    step = capture(function)
    step.replay(1)
    w.grad.fill_(7.0)
    assert step.replay(0).shape == (0,)
    assert w.grad.tolist() == [7.0, 7.0]


def test_the_first_result_is_not_kept():
    class Results(dict):
        pass  # unlike a dict's, references to it can be weak

    found = []

    def function():
        result = Results(cost=tga.ones(2).sum())
        found.append(weakref.ref(result))
        return result

    step = capture(function)
    assert step()["cost"].item() == 2.0
    assert found[0]() is None
    assert step()["cost"].item() == step()["cost"].item() == 2.0


def test_record_every():
    _, _, function = xor(SMALL, "tanh", lr=0.1)
    all_costs = capture(function).replay(10)[0].tolist()
    _, _, function = xor(SMALL, "tanh", lr=0.1)
    assert capture(function).replay(10, record_every=4)[0].tolist() == all_costs[::4]


def test_learning_rates_given_ahead():
    rates = [0.5, 0.25, 0.125, 0.0]
    eager_net, optimizer, eager = xor(SMALL, "tanh", lr=0.1)
    expected = []
    for rate in rates:
        optimizer.lr = rate
        expected.append(eager()[0].item())
    net, optimizer, function = xor(SMALL, "tanh", lr=0.1)
    step = capture(function)
    assert step.replay(4, lr=rates)[0].tolist() == expected
    assert bits(net.parameters()) == bits(eager_net.parameters())
    assert optimizer.lr == 0.0
    with pytest.raises(ValueError, match="4 steps, but 3 learning rates"):
        step.replay(4, lr=rates[:3])
    with pytest.raises(ValueError, match="no optimizer"):
        capture(lambda: x.exp()).replay(1, lr=[0.1])


def test_inputs():
    w = Tensor(2.0, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.0)

    def function(points, factor):
        optimizer.zero_grad()
        y = (points * w * factor).sum()
        y.backward()
        optimizer.step()
        return {"y": y, "twice": y * 2}

    step = capture(function)
    for factor in (1, 2.0, Tensor(3.0), 4):
        for points in (Tensor([1.0, 2.0]), Tensor([5.0, 0.0])):
            got = step(points, factor)
            expected = points.sum().item() * 2.0 * float(factor)
            assert got["y"].item() == expected and got["twice"].item() == 2 * expected
    assert step.replay(2, Tensor([7.0, 7.0]), 1)["y"].tolist() == [28.0, 28.0]
    assert step.replay(1)["y"].tolist() == [28.0]  # the last inputs again


@pytest.mark.parametrize("rows", [640, 645, 3])
def test_results_so_far(rows):
    """What an epoch would return is there on the way, the last short batch included."""
    data = Tensor(np.arange(rows, dtype="float32"))
    step = capture(lambda x: {"sum": x.sum(), "last": x[-1]})
    seen = []

    def watch(done, n, results):
        found = results()
        assert n == -(-rows // 10) and found["sum"].shape == found["last"].shape == (done,)
        seen.append((done, found["last"].numpy().copy()))

    whole = step.epoch([data], 10, watch=watch)["last"].numpy()
    for done, found in seen:
        np.testing.assert_array_equal(found, whole[:done])
    assert seen[-1][0] == whole.size == -(-rows // 10)


def test_progress():
    _, _, function = xor(SMALL, "tanh", lr=0.1)
    seen = []
    capture(function).replay(1000, progress=lambda done, n: seen.append((done, n)))
    assert seen[-1] == (1000, 1000)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_interrupt_leaves_whole_steps():
    """Ctrl-C comes between two steps: what is written back is where the run has come."""
    net, _, function = xor(WIDE, "tanh", lr=0.1)
    reached = []

    def interrupt(done, n):
        reached.append(done)
        raise KeyboardInterrupt

    step = capture(function)
    with pytest.raises(KeyboardInterrupt):
        step.replay(10**12, record_every=10**9, progress=interrupt)
    twin, _, other = xor(WIDE, "tanh", lr=0.1)
    capture(other).replay(reached[0], record_every=10**9)
    assert bits(net.parameters()) == bits(twin.parameters())


@pytest.mark.parametrize("rows, size", [(10, 5), (10, 4), (3, 8), (1, 1), (7, 7)])
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_epoch(rows, size, kind):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (rows, 3)).astype(kind)
    labels = rng.normal(size=(rows, 1)).astype("float32")
    order = rng.permutation(rows)

    def make():
        tga.manual_seed(2)
        net = nn.Sequential(nn.Linear(3, 3), "tanh", nn.Linear(3, 1))
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def function(points, labels):
            optimizer.zero_grad()
            y = net(points)
            loss = tga.mse(y, labels)
            loss.backward()
            optimizer.step()
            return loss, y

        return net, function

    net, function = make()
    step = capture(function)
    eager_net, eager = make()
    for _ in range(2):  # epochs
        expected = []
        for start in range(0, rows, size):
            chosen = order[start : start + size]
            points = Tensor(data[chosen].astype("float32")) * 0.0078125
            expected.append(eager(points, Tensor(labels[chosen])))
        losses, ys = step.epoch((data, labels), size, order, scale=(0.0078125, 1))
        assert losses.tolist() == [loss.item() for loss, _ in expected]
        flat = np.concatenate([y.numpy() for _, y in expected])
        assert same_bits(ys.numpy().reshape(flat.shape), flat)
        assert bits(net.parameters()) == bits(eager_net.parameters())


def test_epoch_errors():
    step = capture(lambda points: points.sum())
    points = tga.ones(4, 2)
    with pytest.raises(ValueError, match="different lengths: 4, 3"):
        step.epoch((points, tga.ones(3)), 2)
    with pytest.raises(ValueError, match="2 data sets, but 3 scales|1 data sets, but 3 scales"):
        step.epoch((points,), 2, scale=(1, 2, 3))
    with pytest.raises(TypeError, match="int64 cannot be scaled"):
        step.epoch((tga.zeros(4, dtype="int64"),), 2, scale=2.0)
    for order, wrong in ([0, 4, 1, 2], 4), ([0, 1, -1], -1):
        with pytest.raises(ValueError, match=f"order has the number {wrong}, but there are 4"):
            step.epoch((points,), 2, order=order)
    with pytest.raises(ValueError, match="only its first axis may be that of the batch"):
        capture(lambda x: x.T * 1.0).epoch((tga.ones(10, 2),), 4)
    for wrong in (Tensor([0.5, 1.0]), np.array([0.9, 1.9]), Tensor([True, False])):
        with pytest.raises(ValueError, match="row of integers"):
            step.epoch((points,), 2, order=wrong)
    with pytest.raises(TypeError, match="float"):
        step.epoch((points,), 2, order=[0.9, 1.9])
    with pytest.raises(ValueError, match="epoch: 2 steps, but 1 learning rates"):
        step.epoch((points,), 2, lr=[0.1])
    with pytest.raises(TypeError, match="Tensors or NumPy arrays, not list"):
        step.epoch(([1, 2],), 2)
    assert step.epoch((points,), 2).tolist() == [4.0, 4.0]
    assert step.epoch((points[:0],), 2) is None


@pytest.mark.parametrize("shape", [(8, 3, 2), (8, 6), (8, 2, 3)], ids=str)
@pytest.mark.parametrize("size", [8, 4, 3])
def test_epoch_of_data_that_is_reshaped(shape, size):
    """What the batch is gathered as is not what the layer sees as rows."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=shape).astype("float32")

    def make():
        tga.manual_seed(2)
        net = nn.Sequential(nn.Linear(2, 3), "tanh", nn.Linear(3, 1))
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def function(points):
            optimizer.zero_grad()
            loss = net(points.reshape(-1, 2)).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return net, function

    net, function = make()
    found = capture(function).epoch((data,), size).tolist()
    eager_net, eager = make()
    assert found == [eager(Tensor(data[i : i + size])).item() for i in range(0, 8, size)]
    assert bits(net.parameters()) == bits(eager_net.parameters())


@pytest.mark.parametrize("index", [0, 1, slice(1, 3), (slice(None), 0)], ids=str)
def test_results_that_are_a_part_of_a_small_matrix(index):
    net = nn.Linear(2, 8)
    points = tga.ones(64, 2)
    step = capture(lambda: net(points)[index])
    assert same_bits(step.replay(2)[1].numpy(), net(points)[index].numpy())


def test_parameters_that_are_parts_of_one_buffer():
    def make():
        flat = tga.ones(100)
        parts = [flat[:4].detach(), flat[8:12].detach()]
        for p in parts:
            p.requires_grad = True
        optimizer = optim.SGD(parts, lr=0.1, momentum=0.5)

        def step():
            optimizer.zero_grad()
            cost = (parts[0] * parts[1]).sum()
            cost.backward()
            optimizer.step()
            return (cost,)

        return nn.Sequential(), optimizer, step

    assert_replay_is_eager(make)


def test_two_threads_capture_at_a_time():
    """One of them is told to wait, and the library is as before afterwards."""
    from concurrent.futures import ThreadPoolExecutor

    before = dict(vars(kernels.lib))

    def work(number):
        data, found = tga.full((3,), float(number)), 0
        for _ in range(30):
            try:
                found += capture(lambda: data * 2)().tolist() == [2.0 * number] * 3
            except CaptureError as error:
                assert "one thread captures at a time" in str(error)
        return found

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(work, range(3))) > 0
    assert vars(kernels.lib) == before and kernels.recorder is None


def test_labels_out_of_range_in_a_replay():
    """An error in the middle of a step: it is named, and nothing is written back."""
    net, data = nn.Linear(2, 3), tga.ones(4, 2)
    labels = tga.zeros(4, dtype="int64")
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def function():
        optimizer.zero_grad()
        loss = tga.cross_entropy(net(data), labels)
        loss.backward()
        optimizer.step()
        return loss

    step = capture(function)
    step.replay(2)
    before = bits(net.parameters())
    labels[0] = 3
    with pytest.raises(ValueError, match="cross_entropy"):
        step.replay(2)
    assert bits(net.parameters()) == before


def test_two_threads_replay_two_steps():
    from concurrent.futures import ThreadPoolExecutor

    alone = capture(xor(WIDE, "tanh", lr=0.1)[2]).replay(3000)[0].tolist()
    steps = [capture(xor(WIDE, "tanh", lr=0.1)[2]) for _ in range(2)]
    for step in steps:
        step.replay(0)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda step: step.replay(3000)[0].tolist(), steps))
    assert found == [alone, alone]


def test_another_thread_goes_on_eagerly_while_one_captures():
    import threading

    results = []

    def function():
        other = threading.Thread(target=lambda: results.append(x.exp().tolist()))
        other.start()
        other.join()
        return x.tanh()

    step = capture(function)
    assert step.replay(1)[0].tolist() == x.tanh().tolist()
    assert results == [x.exp().tolist()] * 2
    assert instructions(step) == ["tga_unary_forward"]


def test_errors_in_the_function_leave_nothing_behind():
    before = dict(vars(kernels.lib))

    def function():
        raise ArithmeticError("from the step")

    with pytest.raises(ArithmeticError, match="from the step"):
        capture(function)()
    assert vars(kernels.lib) == before and kernels.recorder is None


def test_bad_arguments():
    step = capture(lambda: x.exp())
    for n in (-1, 1.5, True, "3"):
        with pytest.raises((TypeError, ValueError), match="n must be a whole number"):
            step.replay(n)
    with pytest.raises(ValueError, match="record_every"):
        step.replay(1, record_every=0)
    with pytest.raises(ValueError, match="there is no pass magic"):
        capture(lambda: x, passes=("magic",))
    with pytest.raises(TypeError, match="a Tensor or a number, not str"):
        capture(lambda y: y)("text")
    with pytest.raises(CaptureError, match="must return"):
        capture(lambda: 3.0)()
    with pytest.raises(ReplayMismatch, match="captured with"):
        twice = capture(lambda y: y * 2)
        twice(Tensor([1.0]))
        twice(Tensor([1.0, 2.0]))
