"""What may go wrong when a step is written down and run again without Python.

Each case raises, works, or is constant by definition, and its section says which.  What the
function refers to by name itself, also in a list or dict, and the modules that it calls, are
watched; what it reaches by way of other functions or objects is found once, when it runs: that is
constant, too.
"""

import threading

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import CaptureError, ReplayMismatch, Tensor, capture, nn, optim

DATA = Tensor([[1.0, 2.0], [3.0, 4.0]])


def regression(net=None):
    """A net, its optimizer, and a step of training towards 0."""
    tga.manual_seed(0)
    net = net or nn.Sequential(nn.Linear(2, 3), "tanh", nn.Linear(3, 1))
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        cost = net(DATA).square().mean()
        cost.backward()
        optimizer.step()
        return cost

    return net, optimizer, step


# ---- raises, when the step is captured ----------------------------------------------------------
# A value that Python sees cannot be followed: the plan would keep what it was at capture.


@pytest.mark.parametrize(
    "read",
    [
        lambda y: y.item(),
        lambda y: y.tolist(),
        lambda y: y.numpy(),
        lambda y: np.asarray(y),
        lambda y: float(y),
        lambda y: int(y),
        lambda y: bool(y),
        lambda y: repr(y),
        lambda y: list(range(y.astype("int64"))),
    ],
    ids="item tolist numpy asarray float int bool repr index".split(),
)
def test_raises_reading_a_value(read):
    def step():
        y = DATA.sum()
        read(y)
        return y

    with pytest.raises(CaptureError, match="the step (reads a value|hands out memory)"):
        capture(step)()


def test_raises_control_flow_on_values():
    def step():
        y = DATA.sum()
        return y if y > 0 else -y

    with pytest.raises(CaptureError, match="reads a value"):
        capture(step)()


@pytest.mark.parametrize(
    "index",
    [Tensor([True, False]), np.array([True, False])],
    ids=["tensor", "numpy"],
)
def test_raises_a_shape_that_depends_on_values(index):
    with pytest.raises(CaptureError, match="capture: the step"):
        capture(lambda: DATA[index])()


@pytest.mark.parametrize(
    "make",
    [
        lambda: DATA + np.ones((2, 2), "float32"),
        lambda: Tensor(np.ones((2, 2), "float32")) * DATA,
        lambda: tga.from_numpy(np.ones((2, 2), "float32")) * DATA,
    ],
    ids=["operand", "Tensor", "from_numpy"],
)
def test_raises_new_data_from_numpy(make):
    with pytest.raises(CaptureError, match="takes in memory from outside"):
        capture(make)()


def test_raises_capture_inside_capture():
    inner = capture(lambda: DATA * 2)
    with pytest.raises(CaptureError, match="cannot be nested"):
        capture(lambda: inner())()


def test_raises_gradients_that_add_up():
    """Each step would add to another tensor: zero_grad() belongs into the step."""
    w = Tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()

    def step():
        cost = (w * w).sum()
        cost.backward()
        return cost

    with pytest.raises(CaptureError, match=r"call zero_grad\(\) in it"):
        capture(step)()


def test_raises_gradients_that_add_up_from_the_second_call_on():
    w = Tensor([1.0, 2.0], requires_grad=True)

    def step():
        cost = (w * w).sum()
        cost.backward()
        return cost

    captured = capture(step)
    captured()
    with pytest.raises(CaptureError, match=r"call zero_grad\(\) in it"):
        captured()


@pytest.mark.parametrize("use", [lambda s: s.replay(2), lambda s: [s(), s()]])
def test_raises_gradients_that_add_up_without_a_call_before(use):
    w = Tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    def step():
        cost = (w * w).sum()
        cost.backward()
        optimizer.step()
        return cost

    with pytest.raises(CaptureError, match=r"call zero_grad\(\) in it"):
        use(capture(step))


def test_raises_a_replaced_optimizer():
    w = Tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    def function():
        optimizer.zero_grad()
        cost = (w * w).sum()
        cost.backward()
        optimizer.step()
        return cost

    step = capture(function)
    step.replay(1)
    optimizer = optim.SGD([w], lr=0.0)
    with pytest.raises(ReplayMismatch, match="'optimizer' is another"):
        step()


def test_raises_a_parameter_that_is_frozen_later():
    net, _, function = regression(nn.Linear(2, 1))
    step = capture(function)
    step.replay(1)
    net.weight.requires_grad = False
    with pytest.raises(ReplayMismatch, match="requires no gradient any more"):
        step()


def test_raises_writing_to_an_input():
    def step(x):
        x *= 2.0
        return x.sum()

    with pytest.raises(CaptureError, match="writes to one of its inputs"):
        capture(step)(DATA.clone())


def test_raises_an_input_that_requires_a_gradient():
    with pytest.raises(CaptureError, match="must not require a gradient"):
        capture(lambda x: x * 2)(Tensor([1.0], requires_grad=True))


def test_raises_a_result_that_is_no_tensor():
    with pytest.raises(CaptureError, match="must return a Tensor"):
        capture(lambda: "done")()


# ---- raises, at the second call or a replay ------------------------------------------------------


def test_raises_another_number_at_the_second_call():
    """Seen because the second call runs the function once more."""
    factor = [2.0]
    step = capture(lambda: DATA * factor[0])
    step()
    factor[0] = 3.0
    with pytest.raises(ReplayMismatch, match="instruction 0 was mul"):
        step()


def test_raises_other_kernels_at_the_second_call():
    ops = [Tensor.tanh, Tensor.sigmoid]
    step = capture(lambda: ops.pop(0)(DATA))
    step()
    with pytest.raises(ReplayMismatch, match="was tanh and is sigmoid"):
        step()


def test_raises_more_kernels_at_the_second_call():
    times = [1, 2]

    def step():
        y = DATA
        for _ in range(times.pop(0)):
            y = y.tanh()
        return y

    step = capture(step)
    step()
    with pytest.raises(ReplayMismatch, match="ran 2 kernels, the first 1"):
        step()


@pytest.mark.parametrize(
    "other", [Tensor([1.0, 2.0, 3.0]), Tensor([1, 2], dtype="int64")], ids=["shape", "dtype"]
)
def test_raises_inputs_of_other_shape_or_dtype(other):
    step = capture(lambda x: x * 2)
    step(Tensor([1.0, 2.0]))
    with pytest.raises(ReplayMismatch, match=r"captured with float32 of shape \(2,\)"):
        step(other)


def test_raises_a_replaced_parameter():
    net, _, function = regression(nn.Linear(2, 1))
    step = capture(function)
    step.replay(2)
    net.weight = nn.Parameter([[0.5, 0.5]])
    for use in (step, lambda: step.replay(1)):
        with pytest.raises(ReplayMismatch, match="'weight' is another"):
            use()


def test_raises_a_replaced_variable():
    def make():
        w = Tensor([1.0, 2.0], requires_grad=True)

        def step():
            w.grad = None
            cost = (w * w).sum()
            cost.backward()
            return cost

        def replace():
            nonlocal w
            w = Tensor([3.0, 4.0], requires_grad=True)

        return step, replace

    function, replace = make()
    step = capture(function)
    step.replay(1)
    replace()
    with pytest.raises(ReplayMismatch, match="'w' is another"):
        step()


def squares_of(find):
    """A step on the weight that `find` returns."""

    def function():
        weight = find()
        weight.grad = None
        cost = (weight * 2).sum()
        cost.backward()
        return cost

    return function


@pytest.mark.parametrize("holder", [list, dict], ids=["list", "dict"])
def test_raises_a_replaced_item(holder):
    weights = holder([(0, Tensor([1.0], requires_grad=True))])
    if holder is list:
        weights = [weights[0][1]]

    def function():
        weights[0].grad = None
        cost = (weights[0] * 2).sum()
        cost.backward()
        return cost

    step = capture(function)
    step.replay(1)
    step()
    weights[0] = Tensor([1.0], requires_grad=True)
    for use in (step, lambda: step.replay(1)):
        with pytest.raises(ReplayMismatch, match=r"'weights\[0\]' is another"):
            use()


def test_raises_a_freed_parameter():
    class Holder:
        weight = Tensor([1.0], requires_grad=True)

    step = capture(squares_of(lambda: Holder.weight))
    step.replay(1)
    step()
    Holder.weight = Tensor([1.0], requires_grad=True)
    for use in (step, lambda: step.replay(1)):
        with pytest.raises(ReplayMismatch, match="a parameter of the captured step is gone"):
            use()


def test_raises_a_changed_mode():
    class Noise(nn.Module):
        def forward(self, x):
            return x + tga.randn(*x.shape) if self.training else x

    net, _, function = regression(nn.Sequential(nn.Linear(2, 3), Noise(), nn.Linear(3, 1)))
    step = capture(function)
    step.replay(2)
    net.eval()
    with pytest.raises(ReplayMismatch, match="is in eval mode, but was captured in train mode"):
        step.replay(1)
    net.train()
    step.replay(1)


def test_raises_replay_from_two_threads():
    _, _, function = regression()
    step = capture(function)
    step.replay(2)
    started, errors = threading.Event(), []

    def second():
        started.wait()
        try:
            step.replay(1)
        except ReplayMismatch as error:
            errors.append(str(error))

    thread = threading.Thread(target=second)
    thread.start()

    def progress(done, n):
        started.set()
        thread.join()

    step.replay(10, progress=progress)
    assert errors == ["replay: another thread is running this step"]


# ---- works --------------------------------------------------------------------------------------


def test_works_a_parameter_changed_outside_between_replays():
    net, _, function = regression(nn.Linear(2, 1))
    step = capture(function)
    step.replay(3)
    with tga.no_grad():
        net.weight.copy_(Tensor([[1.0, -1.0]]))
        net.bias.fill_(0.5)
    found = step.replay(2).tolist()
    twin, _, eager = regression(nn.Linear(2, 1))
    with tga.no_grad():
        twin.weight.copy_(Tensor([[1.0, -1.0]]))
        twin.bias.fill_(0.5)
    assert found == [eager().item() for _ in range(2)]


def _by_copy(parameter):
    with tga.no_grad():
        parameter.copy_(Tensor(0.25 * np.ones(parameter.shape, "float32")))


def _by_arithmetic(parameter):
    with tga.no_grad():
        parameter *= 0.5


def _by_numpy(parameter):
    parameter.numpy(writable=True)[:] = 0.25


def _by_dlpack(parameter):
    np.from_dlpack(parameter.detach())[:] = 0.25


def _by_a_view(parameter):
    parameter.detach()[:1].fill_(0.25)


def _by_another_step(parameter):
    capture(lambda: parameter.detach().fill_(0.25)).replay(1)


def _by_a_gradient_in_place(parameter):
    parameter.grad.fill_(0.0)


@pytest.mark.parametrize(
    "change",
    [
        _by_copy,
        _by_arithmetic,
        _by_numpy,
        _by_dlpack,
        _by_a_view,
        _by_another_step,
        _by_a_gradient_in_place,
    ],
)
def test_works_a_parameter_changed_between_calls(change):
    """A call copies no parameter in that nobody has written to since the last; see csrc/step.c."""
    costs = []
    for captured in (True, False):
        tga.manual_seed(0)
        net, _, function = regression(nn.Linear(2, 1))
        step = capture(function) if captured else function
        found = []
        for _ in range(2):
            found += [step().item() for _ in range(4)]
            change(net.weight)
        found += [step().item(), net.weight.tolist(), net.weight.grad.tolist()]
        costs.append(found)
    assert costs[0] == costs[1]


def test_works_memory_that_numpy_writes_to_at_any_time():
    """Once it was handed out, each call looks at it again."""
    net, _, function = regression(nn.Linear(2, 1))
    step = capture(function)
    memory = net.weight.numpy(writable=True)
    for _ in range(4):
        step()
    memory[:] = 0.0
    net.bias.detach().fill_(0.0)
    assert step().item() == 0.0


def test_works_another_attribute_of_a_module():
    net, _, function = regression()
    step = capture(function)
    step.replay(2)
    costs = [step().item()]
    net.note = "nobody looks at this"
    net.train()
    costs += [step().item(), *step.replay(1).tolist()]
    _, _, twin = regression()
    assert costs == [twin().item() for _ in range(5)][2:]


def test_works_a_call_after_one_that_failed():
    net = nn.Linear(2, 3)
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def function(labels):
        optimizer.zero_grad()
        cost = tga.cross_entropy(net(DATA), labels)
        cost.backward()
        optimizer.step()
        return cost

    step = capture(function)
    right, wrong = Tensor([0, 2], dtype="int64"), Tensor([0, 3], dtype="int64")
    for _ in range(3):
        step(right)
    before = [p.tolist() for p in net.parameters()]
    with pytest.raises(ValueError, match="cross_entropy"):
        step(wrong)
    assert [p.tolist() for p in net.parameters()] == before
    expected = tga.cross_entropy(net(DATA), right).item()
    assert step(right).item() == expected


def test_works_a_call_after_an_epoch_that_was_refused():
    """An epoch lets the plan of calls go, with the parameters in it: the next must get them."""
    costs = []
    for refused in (True, False):
        net = nn.Linear(2, 1, initialize=nn.init.zeros)
        optimizer = optim.SGD(net.parameters(), lr=0.01)

        def function(x, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            y = net(x)
            cost = (y - 1.0).square().mean()
            cost.backward()
            optimizer.step()
            return cost, y.T

        step, rows = capture(function), DATA.shape[0]
        found = []
        for _ in range(2):
            found += [step(DATA)[0].item() for _ in range(4)]
            if refused:
                with pytest.raises(ValueError, match="epoch: a result of shape .* for the last"):
                    step.epoch([tga.ones(2 * rows + 1, 2)], rows)
        costs.append([*found, step(DATA)[0].item(), net.weight.tolist()])
    assert costs[0] == costs[1]


def test_works_a_learning_rate_changed_between_replays():
    net, optimizer, function = regression()
    step = capture(function)
    step.replay(2)
    optimizer.lr = 0.0
    before = [p.tolist() for p in net.parameters()]
    step.replay(2)
    assert [p.tolist() for p in net.parameters()] == before


def test_works_data_changed_in_place():
    data = Tensor([1.0, 2.0])
    step = capture(lambda: data * 2)
    step.replay(2)
    data.fill_(5.0)
    assert step().tolist() == [10.0, 10.0]


def test_works_numpy_memory_made_before():
    memory = np.ones(3, "float32")
    shared = tga.from_numpy(memory)
    step = capture(lambda: shared * 2)
    step.replay(2)
    memory[:] = 4.0
    assert step().tolist() == [8.0, 8.0, 8.0]


@pytest.mark.parametrize(
    "result",
    [lambda w: w, lambda w: w.detach(), lambda w: w.reshape(1), lambda w: w.grad],
    ids=["itself", "detached", "view", "gradient"],
)
def test_works_a_result_that_is_state(result):
    """What a step returned stays as it was, whatever the next ones do."""
    w = Tensor([0.0], requires_grad=True)
    w.grad = Tensor([0.0])

    def function():
        with tga.no_grad():
            w.copy_(w + 1)
            w.grad.copy_(w)
        return result(w)

    step = capture(function)
    results = [step() for _ in range(4)]
    assert [y.tolist() for y in results] == [[1.0], [2.0], [3.0], [4.0]]


@pytest.mark.parametrize("kind", ["contiguous", "transposed", "numpy", "transposed numpy"])
def test_works_data_of_an_epoch_written_to_between_epochs(kind):
    data = np.ones((2, 4) if "transposed" in kind else (4, 2), "float32")
    data = data.T if "transposed" in kind else data
    if "numpy" not in kind:
        data = tga.from_numpy(data)
    step = capture(lambda x: x.sum())
    assert step.epoch((data,), 2).tolist() == [4.0, 4.0]
    data[...] = 5.0
    assert step.epoch((data,), 2).tolist() == [20.0, 20.0]


@pytest.mark.parametrize("kind", [list, np.array], ids=["list", "numpy"])
def test_works_scales_of_an_epoch_changed_between_epochs(kind):
    data, scale = tga.ones(4, 2), kind([1.0])
    step = capture(lambda x: x.sum())
    assert step.epoch((data,), 2, scale=scale).tolist() == [4.0, 4.0]
    scale[0] = 10.0
    assert step.epoch((data,), 2, scale=scale).tolist() == [40.0, 40.0]


def test_works_neighbours_in_numpy_memory():
    memory = np.zeros(8, "float32")
    a, b = tga.from_numpy(memory[:4]), tga.from_numpy(memory[4:])
    step = capture(lambda: (a.sum(), b.sum()))
    step.replay(1)
    memory[:] = 5.0
    assert [y.item() for y in step()] == [20.0, 20.0]


def test_works_writing_to_numpy_memory():
    memory = np.zeros(4, "float32")
    a = tga.from_numpy(memory)

    def function():
        a.__iadd__(1.0)
        return a.sum()

    assert capture(function).replay(3).tolist() == [4.0, 8.0, 12.0]
    assert memory.tolist() == [3.0] * 4


def test_works_a_view_of_a_parameter():
    w = Tensor([1.0, 2.0, 3.0, 4.0])
    half = w[2:]

    def function():
        half.__iadd__(1.0)
        return half.sum()

    step = capture(function)
    assert step.replay(3).tolist() == [9.0, 11.0, 13.0]
    assert w.tolist() == [1.0, 2.0, 6.0, 7.0]


def test_works_eager_steps_between_replays():
    _, _, function = regression()
    step = capture(function)
    mixed = [*step.replay(2).tolist(), function().item(), step().item(), function().item()]
    _, _, twin = regression()
    assert mixed == [twin().item() for _ in range(5)]


def test_works_a_graph_older_than_a_replay_sees_the_write():
    """A saved parameter that a replay has changed since is noticed, as any write in place."""
    net, _, function = regression(nn.Linear(2, 1))
    step = capture(function)
    step.replay(2)
    x = Tensor([[1.0, 1.0]], requires_grad=True)
    y = net(x).sum()
    step.replay(1)
    with pytest.raises(RuntimeError, match="was written to in place"):
        y.backward()


def test_works_another_instruction_set():
    """The plan asks for the kernels in force at each step, as eager mode does."""
    for name in tga.supported_isas():
        _, _, function = regression()
        step = capture(function)
        found = step.replay(2).tolist()
        _, _, twin = regression()
        expected = [twin().item() for _ in range(2)]
        with tga.use_isa(name):
            found += step.replay(2).tolist()
            expected += [twin().item() for _ in range(2)]
        assert found == expected


def test_works_after_the_step_is_gone():
    """A plan keeps what it needs, and nothing keeps the plan."""
    import gc
    import weakref

    _, _, function = regression()
    step = capture(function)
    costs = step.replay(3)
    gone = weakref.ref(step.plan)
    del step
    gc.collect()
    assert gone() is None
    assert costs.shape == (3,)


# ---- constant by definition ---------------------------------------------------------------------
# Python numbers and Python's own state are read when the function runs, which is at capture only.


def test_constant_a_number_of_a_closure():
    factor = 2.0

    def step():
        return DATA.sum() * factor

    step = capture(step)
    step.replay(1)
    factor = 3.0
    assert step().item() == 20.0


def test_constant_an_attribute_that_is_a_number():
    class Scaled(nn.Module):
        factor = 2.0

        def forward(self, x):
            return x * self.factor

    module = Scaled()
    step = capture(lambda: module(DATA).sum())
    step.replay(1)
    module.factor = 3.0
    assert step().item() == 20.0


def test_constant_what_is_reached_through_other_functions_and_containers():
    data = Tensor([1.0, 2.0])
    listed = [data]

    def total():
        return listed[0].sum()

    step = capture(lambda: total())
    step.replay(1)
    listed[0] = Tensor([10.0, 20.0])
    assert step().item() == 3.0
    data.fill_(5.0)  # the memory that was found is read at each replay
    assert step().item() == 10.0


def test_constant_what_python_prints_or_counts():
    seen = []

    def function():
        seen.append(len(seen))
        return DATA.sum()

    capture(function).replay(100)
    assert len(seen) == 2


def test_not_constant_a_number_that_is_an_argument():
    step = capture(lambda factor: DATA.sum() * factor)
    assert [step(f).item() for f in (1, 2, 3.0, 4.5)] == [10.0, 20.0, 30.0, 45.0]
