"""The graph and the chain rule: what is added up, kept, freed, refused, and in which order."""

import gc
import sys
import threading
import weakref
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Scalar, Tensor, grad, graph, no_grad
from tinygrad_act.graph import Leaf, Node

BOTH = pytest.mark.parametrize("kind", [Scalar, Tensor], ids=["Scalar", "Tensor"])


def leaf(kind, value):
    return kind(value, requires_grad=True)


def value(x):
    """The number in a gradient: Scalars keep it as a float."""
    return x if isinstance(x, float) else float(x)


# ---- a value used several times -------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("function", "derivative"),
    [
        (lambda x: x * x, 6.0),
        (lambda x: x + x + x, 3.0),
        (lambda x: x * x * x, 27.0),
        (lambda x: (x * 2) * (x * 2 + 1), 26.0),  # a diamond
        (lambda x: (x - x) * x, 0.0),
        (lambda x: x / x, 0.0),
    ],
    ids=["x*x", "x+x+x", "x*x*x", "diamond", "cancels", "x/x"],
)
def test_contributions_of_every_use_add_up(kind, function, derivative):
    x = leaf(kind, 3.0)
    function(x).backward()
    assert value(x.grad) == derivative


@BOTH
def test_many_diamonds_in_a_row(kind):
    """2**200 paths, but each node is visited once."""
    x = leaf(kind, 1.0)
    y = x
    for _ in range(200):
        y = (y + y) * 0.5
    y.backward()
    assert value(x.grad) == 1.0


@BOTH
def test_grad_adds_up_over_calls_until_cleared(kind):
    x = leaf(kind, 2.0)
    for expected in (4.0, 8.0, 12.0):
        (x * x).backward()
        assert value(x.grad) == expected
    x.grad = None
    (x * x).backward()
    assert value(x.grad) == 4.0


def test_grad_adds_up_in_one_leaf_used_by_two_graphs():
    x, w = Tensor([1.0, 2.0], True), Tensor([3.0, 4.0], True)
    a, b = (x * w).sum(), (x + w).sum()
    a.backward()
    b.backward()
    assert x.grad.tolist() == [4.0, 5.0] and w.grad.tolist() == [2.0, 3.0]


def test_adding_to_grad_does_not_change_the_tensor_handed_out_before():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert first.tolist() == [2.0, 4.0] and x.grad.tolist() == [4.0, 8.0]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    "function",
    [lambda x: x.sum(), lambda x: x.mean(), lambda x: (x.T @ x).sum(), lambda x: x[:, 0].T.sum()],
    ids=["sum", "mean", "product", "column"],
)
def test_grad_can_be_written_to(function, create_graph):
    """It has memory of its own, with a place for each element."""
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    function(x).backward(create_graph=create_graph)
    before = x.grad.tolist()
    with no_grad():
        x.grad[1, 0] = 7.0
        x.grad *= 2.0
    before[1][0] = 7.0
    assert x.grad.tolist() == [[2.0 * g for g in row] for row in before]
    x.grad = None


def test_only_leaves_have_grad():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    y.sum().backward()
    assert y.grad is None
    with pytest.raises(RuntimeError, match="only a leaf"):
        y.grad = x


@BOTH
def test_a_leaf_is_its_own_derivative(kind):
    x = leaf(kind, 5.0)
    x.backward()
    assert value(x.grad) == 1.0


# ---- freeing --------------------------------------------------------------------------------


@BOTH
def test_second_backward_raises(kind):
    x = leaf(kind, 2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match=r"'mul' was freed .*retain_graph=True"):
        y.backward()
    assert value(x.grad) == 4.0  # the refused call left it alone


@BOTH
def test_retain_graph_allows_a_second_backward(kind):
    x = leaf(kind, 2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert value(x.grad) == 8.0
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


@BOTH
def test_freed_part_shared_by_another_output_raises(kind):
    x = leaf(kind, 2.0)
    shared = x * x
    a, b = shared + 1, shared.exp() if kind is Tensor else tga.exp(shared)
    a.backward()
    with pytest.raises(RuntimeError, match="'mul' was freed"):
        b.backward()
    assert value(x.grad) == 4.0  # nothing of b arrived: checked before the first rule ran


def test_create_graph_keeps_the_graph_unless_told_otherwise():
    x = Tensor(2.0, requires_grad=True)
    y = x * x
    grad(y, x, create_graph=True)
    grad(y, x, create_graph=True, retain_graph=False)
    with pytest.raises(RuntimeError, match="freed"):
        grad(y, x)


# ---- higher order ---------------------------------------------------------------------------


def test_third_order():
    x = Tensor([0.5, -1.25], requires_grad=True, dtype="float64")
    y = x * x * x * x
    derivatives = [4 * x**3, 12 * x**2, 24 * x]
    for expected in derivatives:
        (y,) = grad(y.sum(), x, create_graph=True)
        assert y.tolist() == pytest.approx(expected.tolist(), rel=1e-14)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "exp", "log", "sqrt"])
def test_third_order_through_a_saved_output(name):
    """A rule that reads y must see y's own dependence on x."""
    mpmath = pytest.importorskip("mpmath")
    x = Tensor(0.75, requires_grad=True, dtype="float64")
    y = getattr(x, name)()
    function = {"sigmoid": lambda x: 1 / (1 + mpmath.exp(-x))}.get(name) or getattr(mpmath, name)
    for order in (1, 2, 3):
        (y,) = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(float(mpmath.diff(function, 0.75, order)), rel=1e-12)


def test_backward_with_create_graph_gives_a_grad_that_can_be_differentiated():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x * x).sum().backward(create_graph=True)
    first, x.grad = x.grad, None
    assert first.tolist() == [3.0, 12.0] and first.requires_grad
    first.sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    x.grad = None


def test_mixed_second_derivatives_agree():
    x = Tensor([0.3, 0.7], requires_grad=True, dtype="float64")
    w = Tensor([1.1, -0.4], requires_grad=True, dtype="float64")
    y = (tga.tanh(x * w) * w).sum()
    gx, gw = grad(y, (x, w), create_graph=True)
    (xw,) = grad(gx.sum(), w, retain_graph=True)
    (wx,) = grad(gw.sum(), x)
    assert xw.tolist() == pytest.approx(wx.tolist(), rel=1e-14)


def test_identically_zero_second_derivative_is_zeros():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (first,) = grad((3 * x).sum(), x, create_graph=True)
    assert first.tolist() == [3.0, 3.0]
    w = Tensor([5.0, 5.0], requires_grad=True)
    (first,) = grad((w * x).sum(), x, create_graph=True)  # is w: depends on w, not on x
    (second,) = grad(first.sum(), x)
    assert second.tolist() == [0.0, 0.0] and second.dtype == x.dtype


@BOTH
def test_first_order_gradient_carries_no_graph(kind):
    x = leaf(kind, 2.0)
    (x * x).backward()
    assert isinstance(x.grad, float) or not x.grad.requires_grad


# ---- no_grad and detach ---------------------------------------------------------------------


@BOTH
def test_no_grad_as_context(kind):
    x = leaf(kind, 2.0)
    with no_grad():
        y = x * x
    assert y.node is None
    assert (x * x).node is not None


@BOTH
def test_no_grad_as_decorator(kind):
    @no_grad()
    def square(x, times=1):
        """Doc."""
        assert not graph.mode.recording
        return x * x * times

    x = leaf(kind, 2.0)
    assert square(x, times=2).node is None and square.__name__ == "square"
    assert (x * x).node is not None


def test_no_grad_nested_and_left_by_an_exception():
    x = Tensor(2.0, requires_grad=True)
    again = no_grad()
    with again:
        with no_grad(), again:
            assert (x * x).node is None
        assert (x * x).node is None  # the inner exit does not switch recording on
        with pytest.raises(ZeroDivisionError), no_grad():
            1 / 0
        assert (x * x).node is None
    assert (x * x).node is not None


def test_no_grad_holds_for_its_own_thread_alone():
    x = Tensor(2.0, requires_grad=True)
    seen = []
    with no_grad():
        other = threading.Thread(target=lambda: seen.append((x * x).requires_grad))
        other.start()
        other.join()
        assert seen == [True] and not (x * x).requires_grad


def test_leaves_made_under_no_grad_still_require_a_gradient():
    with no_grad():
        x = Tensor(2.0, requires_grad=True)
    (x * x).backward()
    assert x.grad.item() == 4.0


def test_backward_under_no_grad():
    x = Tensor(2.0, requires_grad=True)
    y = x * x
    with no_grad():
        y.backward()
    assert x.grad.item() == 4.0


def test_detach_stops_the_gradient_and_shares_memory():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x.detach()
    assert not y.requires_grad and np.shares_memory(x.numpy(), y.numpy())
    (x * y).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0]


# ---- writes in place ------------------------------------------------------------------------

WRITES = {
    "fill_": lambda x: x.fill_(7.0),
    "copy_": lambda x: x.copy_(Tensor([5.0, 6.0])),
    "+=": lambda x: x.__iadd__(1.0),
    "-=": lambda x: x.__isub__(1.0),
    "*=": lambda x: x.__imul__(2.0),
    "/=": lambda x: x.__itruediv__(2.0),
    "x[0] =": lambda x: x.__setitem__(0, 9.0),
    "to a slice": lambda x: x[1:].fill_(9.0),
    "to a reversed view": lambda x: x[::-1].__iadd__(1.0),
    "to the transpose": lambda x: x.T.fill_(9.0),
    "to a reshape": lambda x: x.reshape(2, 1).fill_(9.0),
    "to an unsqueezed view": lambda x: x.unsqueeze(0).fill_(9.0),
    "through detach": lambda x: x.detach().fill_(9.0),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_write_to_a_saved_tensor_is_noticed(write):
    w, x = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    y = (w * x).sum()
    write(x)
    with pytest.raises(RuntimeError, match=r"mul needs .*shape \(2,\), was written to in place"):
        y.backward()
    assert w.grad is None


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_write_is_noticed_by_create_graph_too(write):
    w, x = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    y = (w * x).sum()
    write(x)
    with pytest.raises(RuntimeError, match="written to in place"):
        grad(y, w, create_graph=True)


def test_write_to_a_parameter_or_to_a_saved_output_is_noticed():
    w = Tensor([1.0, 2.0], requires_grad=True)
    y = (w * w).sum()
    with no_grad():
        w -= 0.1
    with pytest.raises(RuntimeError, match="written to in place"):
        y.backward()
    y = w.tanh()  # saves y
    with no_grad():
        y *= 2
    with pytest.raises(RuntimeError, match="tanh needs"):
        y.sum().backward()


def test_optimizer_step_between_forward_and_backward_is_noticed():
    w = Tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    y = (w * w).sum()
    tga.optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="written to in place"):
        y.backward()


def test_write_through_one_view_is_noticed_by_an_op_that_saved_another():
    base = Tensor([[1.0, 2.0], [3.0, 4.0]])
    w = Tensor([1.0, 1.0], requires_grad=True)
    y = (w * base[0]).sum()
    base[1].fill_(0.0)  # another row, the same memory: refused on suspicion
    with pytest.raises(RuntimeError, match="written to in place"):
        y.backward()


def test_write_to_memory_shared_with_numpy_is_noticed():
    a = np.array([3.0, 4.0])
    x, w = tga.from_numpy(a), Tensor([1.0, 2.0], requires_grad=True, dtype="float64")
    y = (w * x).sum()
    x.fill_(0.0)
    assert a.tolist() == [0.0, 0.0]
    with pytest.raises(RuntimeError, match="written to in place"):
        y.backward()


def test_writes_that_do_no_harm():
    w, x = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    x += 1  # before its use
    y = (w * x).sum()
    z = (w + x).sum()  # a sum saves no values
    other = Tensor([0.0, 0.0])
    other.fill_(3.0)  # memory of its own
    y.backward()
    x.fill_(0.0)  # when y's graph is done
    z.backward()
    assert w.grad.tolist() == [5.0, 6.0]


def test_clone_protects_from_a_later_write():
    w, x = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    y = (w * x.clone()).sum()
    x.fill_(0.0)
    y.backward()
    assert w.grad.tolist() == [3.0, 4.0]


def test_write_after_a_backward_that_retains_the_graph_is_noticed():
    w, x = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    y = (w * x).sum()
    y.backward(retain_graph=True)
    x.fill_(0.0)
    with pytest.raises(RuntimeError, match="written to in place"):
        y.backward()


@pytest.mark.parametrize(
    ("write", "instead"),
    [
        (lambda x: x.fill_(0.0), "full_like"),
        (lambda x: x.copy_(Tensor([5.0, 6.0])), "clone"),
        (lambda x: x.__iadd__(1.0), r"x = x \+ y"),
        (lambda x: x.__isub__(1.0), "x = x - y"),
        (lambda x: x.__imul__(2.0), r"x = x \* y"),
        (lambda x: x.__itruediv__(2.0), "x = x / y"),
        (lambda x: x.__setitem__(0, 1.0), "where"),
        (lambda x: x[:1].fill_(0.0), "full_like"),
    ],
)
def test_write_where_a_gradient_flows_is_refused_with_the_form_to_write(write, instead):
    x = Tensor([1.0, 2.0], requires_grad=True)
    for target in (x, x * 1):
        with pytest.raises(RuntimeError, match=instead):
            write(target)
        assert target.tolist() == [1.0, 2.0]
        with no_grad():
            write(target)


@pytest.mark.parametrize("write", [lambda t, x: t.copy_(x), lambda t, x: t.__iadd__(x)])
def test_write_of_a_value_with_gradient_into_a_plain_tensor_is_refused(write):
    """It would lose the gradient without a word."""
    x, target = Tensor([1.0, 2.0], requires_grad=True), Tensor([0.0, 0.0])
    with pytest.raises(RuntimeError, match="gradients flow"):
        write(target, x)
    write(target, x.detach())
    assert target.tolist() == [1.0, 2.0]


# ---- grad() ---------------------------------------------------------------------------------


def test_grad_leaves_dot_grad_alone():
    x, w = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    x.grad = before = Tensor([10.0, 10.0])
    gx, gw = grad((x * w).sum(), (x, w))
    assert (gx.tolist(), gw.tolist()) == ([3.0, 4.0], [1.0, 2.0])
    assert x.grad is before and before.tolist() == [10.0, 10.0] and w.grad is None


def test_grad_is_zeros_where_nothing_depends_on_an_input():
    x = Tensor([1.0, 2.0], requires_grad=True)
    w = Tensor([[3.0]], requires_grad=True, dtype="float64")
    gx, gw = grad((x * x).sum(), [x, w])
    assert gx.tolist() == [2.0, 4.0]
    assert gw.shape == (1, 1) and gw.dtype == "float64" and gw.tolist() == [[0.0]]


def test_grad_of_an_output_without_graph_is_zeros():
    x = Tensor([1.0], requires_grad=True)
    (gx,) = grad(Tensor(3.0), x)
    assert gx.tolist() == [0.0]


def test_grad_with_respect_to_values_on_the_way():
    x = Tensor([1.0, 2.0], requires_grad=True)
    a = x * 3
    y = (a * a).sum()
    ga, gy, gx = grad(y, (a, y, x))
    assert (ga.tolist(), gy.tolist(), gx.tolist()) == ([6.0, 12.0], 1.0, [18.0, 36.0])


def test_grad_of_several_outputs_is_that_of_their_sum():
    x = Tensor([1.0, 2.0], requires_grad=True)
    a, b = x * x, x.sum()
    (gx,) = grad((a, b), x, grad_outputs=(Tensor([1.0, 10.0]), None))
    assert gx.tolist() == [3.0, 41.0]


def test_grad_of_the_same_output_twice_and_of_one_that_is_on_the_way_to_another():
    x = Tensor(3.0, requires_grad=True)
    a = x * x
    b = a * 2
    (gx,) = grad((b, a, b), x)
    assert gx.item() == 2 * 12.0 + 6.0


def test_grad_outputs_weigh_the_elements():
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    (gx,) = grad(x * x, x, grad_outputs=[Tensor([1.0, 0.0, -1.0])])
    assert gx.tolist() == [2.0, 0.0, -6.0]
    (gx,) = grad(x * x, x, Tensor([1.0, 0.0, -1.0]))
    assert gx.tolist() == [2.0, 0.0, -6.0]


def test_second_order_flows_into_grad_outputs():
    """Their part in the gradient is recorded too: the trick by which Jv is made of two vjps."""
    x = Tensor([1.0, 2.0], requires_grad=True)
    u = Tensor([1.0, 1.0], requires_grad=True)
    (gx,) = grad(x * x * x, x, u, create_graph=True)
    (jv,) = grad(gx, u, Tensor([1.0, 10.0]))
    assert jv.tolist() == [3.0, 120.0]


def test_the_same_input_twice():
    x = Tensor(3.0, requires_grad=True)
    assert [g.item() for g in grad(x * x, (x, x))] == [6.0, 6.0]


# ---- order ----------------------------------------------------------------------------------


OP = SimpleNamespace(name="op")


def node(*parents):
    return Node(OP, parents, (), {}, 0)


def run_by_hand(roots, retain_graph=False):
    """Backward with integers: the order of visits, and what each leaf was told in all."""
    visited, delivered = [], {}

    def pull_back(node, gradient):
        visited.append(node)
        return [gradient] * len(node.parents)

    def deliver(node, gradient):
        delivered[node] = delivered.get(node, 0) + gradient

    graph.backward(dict.fromkeys(roots, 1), pull_back, deliver, retain_graph)
    return visited, delivered


def test_order_of_the_counter_example():
    """Breadth first, `a` would come before `b`, and half of its gradient be lost."""
    x = Leaf("x")
    a = node(x)
    b = node(a)
    y = node(a, b)
    z = node(b, a)  # from the other side
    assert run_by_hand([y], retain_graph=True) == ([y, b, a], {x: 2})
    assert run_by_hand([z]) == ([z, b, a], {x: 2})
    x = Scalar(5.0)
    a = x * 2
    b = a + 1
    (a * b).backward()
    assert x.grad == 2 * (2 * 10.0 + 1)


def paths(roots):
    """How many ways lead from the roots to each node: what gradients of 1 add up to."""
    ways = {}

    def walk(one):
        ways[one] = ways.get(one, 0) + 1
        for parent in one.parents:
            if parent is not None:
                walk(parent)

    for root in dict.fromkeys(roots):
        walk(root)
    return ways


def test_order_of_random_graphs():
    rng = Random(1)
    for _ in range(300):
        nodes = [Leaf() for _ in range(rng.randint(1, 3))]
        for _ in range(rng.randint(1, 12)):
            parents = [rng.choice([*nodes[-5:], None]) for _ in range(rng.randint(1, 3))]
            nodes.append(node(*parents))
        roots = rng.choices(nodes, k=rng.randint(1, 3))
        visited, delivered = run_by_hand(roots)
        ways = paths(roots)
        place = {one: i for i, one in enumerate(visited)}
        inner = {one for one in ways if one.op is not None}
        assert len(place) == len(visited) and set(place) == inner, "each node once"
        for one in visited:
            for parent in one.parents:
                assert parent not in inner or place[parent] > place[one]
        assert delivered == {one: n for one, n in ways.items() if one.op is None}


def test_watched_nodes_are_told_their_whole_gradient():
    x = Leaf("x")
    a = node(x)
    y, seen = node(a, a, None), []
    graph.backward(
        {y: 1},
        lambda node, gradient: [10 * gradient] * len(node.parents),
        lambda node, gradient: seen.append((node, gradient)) or gradient,
        watched=(a,),
    )
    assert seen == [(a, 20), (x, 200)]


# ---- long chains ----------------------------------------------------------------------------

LENGTH = 100_000


@BOTH
def test_chain_of_100_000_ops(kind):
    """Forward, backward and deallocation; none of them may need Python's stack."""
    assert sys.getrecursionlimit() < LENGTH
    x = leaf(kind, 1.0)
    y = x
    for _ in range(LENGTH):
        y = y * 1.0
    y.backward()
    assert value(x.grad) == 1.0
    del y


@BOTH
def test_chain_of_100_000_ops_is_freed_without_backward(kind):
    x = leaf(kind, 1.0)
    y = x
    for _ in range(LENGTH):
        y = tga.tanh(y)  # saves its output
    last = weakref.ref(y.node)
    del y
    assert last() is None


def test_long_chain_with_create_graph():
    x = Tensor(1.0, requires_grad=True, dtype="float64")
    y = x
    for _ in range(5_000):
        y = y * 1.0
    (first,) = grad(y * y, x, create_graph=True)
    (second,) = grad(first, x)
    assert (first.item(), second.item()) == (2.0, 2.0)


# ---- memory ---------------------------------------------------------------------------------


@pytest.fixture
def no_collector():
    """What is freed inside is freed by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def memory_of(x):
    return weakref.ref(x.array.memory)


@pytest.mark.usefixtures("no_collector")
def test_intermediate_that_nothing_needs_is_freed_at_once():
    x = Tensor([1.0, 2.0], requires_grad=True)
    a = x + 1
    b = a + 1  # a sum saves nothing
    memory, tensor = memory_of(a), weakref.ref(a)
    del a
    assert tensor() is None and memory() is None
    b.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


@pytest.mark.usefixtures("no_collector")
def test_saved_value_lives_until_backward_has_passed():
    x = Tensor([1.0, 2.0], requires_grad=True)
    a = x * 3
    y = (a * a).sum()
    memory, tensor = memory_of(a), weakref.ref(a)
    del a
    assert tensor() is None and memory() is not None  # the buffer is kept, not the tensor
    y.backward()
    assert memory() is None and y.node.saved is None


@pytest.mark.usefixtures("no_collector")
def test_whole_graph_goes_with_its_last_holder():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = (x * 3).tanh().sum()
    nodes, stack = [], [y.node]
    while stack:
        one = stack.pop()
        nodes.append(weakref.ref(one))
        stack += [p for p in one.parents if p is not None]
    del y, one
    assert [ref() for ref in nodes if ref() is not None] == [x.node]


@pytest.mark.usefixtures("no_collector")
@BOTH
def test_first_order_backward_leaves_no_cycle(kind):
    x = leaf(kind, 2.0)
    y = tga.tanh(x * x) * x
    y.backward()
    refs = [weakref.ref(y.node), weakref.ref(x.node)]
    del x, y
    assert [ref() for ref in refs] == [None, None]
    assert gc.collect() == 0


@pytest.mark.usefixtures("no_collector")
def test_grad_with_create_graph_leaves_no_cycle():
    x = Tensor([0.5, 2.0], requires_grad=True)
    y = (x * x).tanh().sum()
    (first,) = grad(y, x, create_graph=True)
    (second,) = grad(first.sum(), x)
    refs = [weakref.ref(one.node) for one in (x, y, first)]
    del x, y, first, second
    assert [ref() for ref in refs] == [None] * 3


@pytest.mark.usefixtures("no_collector")
def test_leaf_and_its_grad_go_together():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    memory = memory_of(x.grad)
    del x
    assert memory() is None


@pytest.mark.usefixtures("no_collector")
def test_training_loop_does_not_grow():
    w = Tensor(np.ones((8, 8)), requires_grad=True)
    sgd, held = tga.optim.SGD([w], lr=0.01), []
    for _ in range(20):
        sgd.zero_grad()
        y = ((w @ w).tanh() - 1).square().mean()
        y.backward()
        sgd.step()
        held.append(sum(isinstance(one, (Node, Tensor)) for one in gc.get_objects()))
    assert held[-1] == held[2]


@pytest.mark.usefixtures("no_collector")
def test_failing_backward_keeps_nothing_alive():
    w, x = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    y = (w * x).exp().sum()
    ref = weakref.ref(y.node)
    x.fill_(0.0)
    try:
        y.backward()
    except RuntimeError:
        pass
    del y
    assert ref() is None


# ---- threads --------------------------------------------------------------------------------


def run_in_threads(function, count):
    """Run function(0), function(1) ... at once; raise what any of them raised."""
    start, errors, results = threading.Barrier(count), [], [None] * count

    def work(i):
        try:
            start.wait(timeout=60)
            results[i] = function(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
    return results


def test_threads_build_and_run_graphs_at_once():
    def train(i):
        w = Tensor(np.full((16, 16), 0.01 * (i % 2 + 1)), requires_grad=True)
        x = Tensor(np.linspace(-1, 1, 64).reshape(4, 16))
        for step in range(100):
            w.grad = None
            y = ((x @ w).tanh() * (step + 1)).square().mean()
            y.backward()
            with no_grad():
                w -= 0.01 * w.grad
        return w.numpy().tobytes()

    alone = [train(0), train(1)]
    assert run_in_threads(train, 4) == alone * 2


def test_threads_share_a_leaf_as_input():
    """Each has a graph of its own; grad() writes to nothing that they share."""
    w = Tensor(np.linspace(-1, 1, 16).reshape(4, 4), requires_grad=True)

    def gradient(i):
        for _ in range(50):
            y = ((w * (i + 1)).tanh() @ w).sum()
            (g,) = grad(y, w)
        return g.numpy().tobytes()

    alone = [gradient(i) for i in range(3)]
    assert run_in_threads(gradient, 3) == alone


def test_recording_is_on_in_every_new_thread():
    with no_grad():
        assert run_in_threads(lambda i: graph.mode.recording, 2) == [True, True]
