"""Hooks on gradients, and gradients of tensors that were computed."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest
from strategies import leaf

import tinygrad_act as tga
from tinygrad_act import Tensor, grad, hooks

both_ways = pytest.mark.parametrize("create_graph", [False, True])


@pytest.fixture(autouse=True)
def none_left():
    before = len(hooks.watched())
    yield
    gc.collect()
    assert len(hooks.watched()) <= before, "a hook outlived its tensor"
    assert hooks.in_use == bool(hooks.watched())


@both_ways
def test_a_hook_sees_the_whole_gradient_once(create_graph):
    x = leaf([1.0, 2.0])
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: seen.append(g.tolist()))
    (y * y + y + y.sum()).sum().backward(create_graph=create_graph)
    assert seen == [[9.0, 15.0], [27.0, 45.0]]
    assert x.grad.tolist() == [27.0, 45.0] and y.grad is None
    x.grad = None


@both_ways
def test_what_a_hook_returns_goes_on(create_graph):
    x = leaf([1.0, 2.0])
    y = x * 3
    y.register_hook(lambda g: g * 10)
    handle = y.register_hook(lambda g: g + 1)  # in the order of registration
    x.register_hook(lambda g: -g)
    z = y.sum()
    z.backward(retain_graph=True, create_graph=create_graph)
    assert x.grad.tolist() == [-33.0, -33.0]
    handle.remove()
    handle.remove()
    x.grad = None
    z.backward(create_graph=create_graph)
    assert x.grad.tolist() == [-30.0, -30.0]
    x.grad = None


@both_ways
def test_gradients_that_are_asked_for_have_passed_the_hooks(create_graph):
    x = leaf([1.0, 2.0])
    y = x * 3
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g * 2)
    gx, gy = grad((y * y).sum(), [x, y], create_graph=create_graph)
    assert gy.tolist() == [60.0, 120.0] and gx.tolist() == [360.0, 720.0]
    assert x.grad is None and y.grad is None


def test_a_recorded_gradient_is_changed_in_the_graph():
    x = leaf(2.0)
    y = x * x
    y.register_hook(lambda g: g * x)  # 3 x^2 instead of 2 x, at x = 2 with y * x
    (g,) = grad(y, x, create_graph=True)
    assert g.item() == 8.0
    assert grad(g, x)[0].item() == 8.0  # (2 x^2)' = 4 x


@both_ways
def test_a_hook_cannot_harm_by_writing(create_graph):
    """Neither to its argument nor, later, to what it returned."""
    x = leaf([1.0, 2.0])
    mine = Tensor([5.0, 5.0], dtype="float64")

    def hook(g):
        g.detach().numpy(writable=True)[:] = 99.0

    x.register_hook(hook)
    y = x * 1
    y.register_hook(lambda g: mine)
    y.sum().backward(create_graph=create_graph)
    assert x.grad.tolist() == [5.0, 5.0]
    mine.fill_(7.0)
    assert x.grad.tolist() == [5.0, 5.0]
    z = leaf(1.0)
    (z * 1).backward()  # the seed 1 is kept for all
    assert z.grad.item() == 1.0
    x.grad = None


@both_ways
def test_retained_gradients_add_up(create_graph):
    x = leaf([1.0, 2.0])
    y = x * 3
    assert y.grad is None
    y.retain_grad()
    y.retain_grad()
    assert y.grad is None
    y.register_hook(lambda g: g * 2)  # though registered later, it comes first
    z = (y * y).sum()
    z.backward(retain_graph=True, create_graph=create_graph)
    assert y.grad.tolist() == [12.0, 24.0]
    z.backward(create_graph=create_graph)
    assert y.grad.tolist() == [24.0, 48.0]
    assert y.grad.requires_grad == create_graph
    x.retain_grad()  # a leaf keeps its gradient anyway
    x.grad = None
    del y, z


def test_output_and_leaf_in_one():
    x = leaf(3.0)
    x.register_hook(lambda g: g * 4)
    x.backward()
    assert x.grad.item() == 4.0


def test_hooks_go_with_their_tensor():
    x = leaf([1.0])
    y = x * 2
    big = Tensor(np.zeros(10))
    y.register_hook(lambda g, big=big: None)
    y.retain_grad()
    gone = weakref.ref(big)
    del y, big
    gc.collect()
    assert gone() is None
    assert x.grad is None


def test_a_hook_that_holds_its_own_tensor_is_collected():
    x = leaf([1.0])
    y = x * 2
    y.register_hook(lambda g, y=y: None)
    y.retain_grad()
    (y * y).sum().backward(create_graph=True)
    gone = weakref.ref(y)
    del y
    x.grad = None
    gc.collect()
    assert gone() is None


def test_clipping_on_the_way():
    tga.manual_seed(0)
    net = tga.nn.Sequential(tga.nn.Linear(2, 3), "tanh", tga.nn.Linear(3, 1))
    for p in net.parameters():
        p.register_hook(lambda g: g.minimum(0.1).maximum(-0.1))
    (net(Tensor([[100.0, -100.0]])) ** 2).sum().backward()
    for p in net.parameters():
        assert np.abs(p.grad.numpy()).max() <= np.float32(0.1)


@pytest.mark.parametrize(
    ("hook", "kind", "words"),
    [
        (lambda g: 1.0, TypeError, "Tensor or None, not 1.0"),
        (lambda g: g[:1], ValueError, r"shape \(2,\).*returned.*\(1,\)"),
        (lambda g: g.astype("float32"), ValueError, "float64.*float32"),
    ],
)
def test_wrong_hooks(hook, kind, words):
    x = leaf([1.0, 2.0])
    x.register_hook(hook)
    with pytest.raises(kind, match=words):
        (x * 2).sum().backward()


def test_tensors_without_gradient():
    x = Tensor([1.0])
    with pytest.raises(RuntimeError, match="register_hook"):
        x.register_hook(print)
    with pytest.raises(RuntimeError, match="retain_grad"):
        x.retain_grad()
    with pytest.raises(TypeError, match="function"):
        leaf([1.0]).register_hook(3)


def test_unused_inputs():
    x, y = leaf([1.0, 2.0]), leaf(3.0)
    gradients = grad(x.sum(), [x, y])
    assert [g.tolist() for g in gradients] == [[1.0, 1.0], 0.0]
    with pytest.raises(ValueError, match="no output depends on input 1"):
        grad(x.sum(), [x, y], allow_unused=False)
    assert grad(x.sum() * y, [x, y], allow_unused=False)[1].item() == 3.0


class SlowSet(weakref.WeakSet):
    """Lets other threads run while it is looked through."""

    def __iter__(self):
        for item in super().__iter__():
            time.sleep(1e-4)
            yield item


def test_hooks_from_several_threads(monkeypatch):
    """While one looks at the nodes with hooks, others add some."""
    monkeypatch.setattr(hooks, "_hooked", SlowSet(hooks._hooked))
    errors, started = [], threading.Barrier(3)

    def work():
        try:
            started.wait()
            for _ in range(10):
                x = leaf([1.0, 2.0])
                seen = []
                x.register_hook(seen.append)
                (x * 2.0).sum().backward()
                assert len(seen) == 1 and x.grad.tolist() == [2.0, 2.0]
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
