"""Input that a review tried: each either works or says what is wrong; none is silently wrong."""

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor, grad, nn, no_grad, optim

INF = float("inf")


def test_memory_of_a_read_only_array_cannot_become_writable():
    x = tga.from_numpy(np.frombuffer(bytes(16)))
    with pytest.raises(ValueError, match="read-only"):
        x.numpy(writable=True)


def test_a_bool_is_a_mask_and_no_integer():
    x = Tensor([5.0, 6.0, 7.0])
    assert x[Tensor(True)].tolist() == [[5.0, 6.0, 7.0]]  # not x[1]
    assert x[False].shape == (0, 3)
    assert x[np.array([0, 1])].tolist() == [5.0, 6.0]
    assert x[tga.arange(3)[1]].item() == 6.0
    assert x[:: 2**63].tolist() == [5.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_of_max_at_infinity(dtype):
    x = Tensor([[1.0, INF], [-INF, -INF]], requires_grad=True, dtype=dtype)
    (gx,) = grad(x.max(axis=1).sum(), x)
    assert gx.tolist() == [[0.0, 1.0], [0.5, 0.5]] and gx.dtype == dtype


def test_no_grad_says_how_it_is_written():
    def numbers():
        yield 1

    with pytest.raises(TypeError, match="parentheses"):
        no_grad(numbers)
    with pytest.raises(TypeError, match="generator"):
        no_grad()(numbers)


def test_integers_are_exact():
    start = 2**53 + 1
    assert tga.arange(start, start + 3).tolist() == [start, start + 1, start + 2]
    assert tga.arange(5, 0, -2).tolist() == [5, 3, 1]
    with pytest.raises(OverflowError, match="uint8"):
        tga.full((2,), 300, dtype="uint8")


def test_a_frozen_parameter_stays():
    layer = nn.Linear(2, 2)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    layer.weight.requires_grad = False
    before = layer.weight.tolist()
    layer(tga.ones(1, 2)).sum().backward()
    optimizer.step()
    layer.zero_grad()
    assert layer.weight.tolist() == before
    assert layer.bias.tolist() == Tensor([-0.1, -0.1]).tolist()


def test_attributes_are_numbers():
    with pytest.raises(TypeError, match="slope"):
        Tensor([-1.0]).leaky_relu(Tensor(0.5, requires_grad=True))


def test_modules_are_found_in_lists_and_dicts():
    class Net(nn.Module):
        def __init__(self):
            self.named = {"a": nn.Linear(1, 1)}
            self.nested = [[nn.Linear(1, 1, bias=False)]]

    names = [name for name, _ in Net().named_parameters()]
    assert names == ["named.a.weight", "named.a.bias", "nested.0.0.weight"]


def test_the_same_input_twice_gives_two_gradients():
    x = Tensor([1.0, 2.0], requires_grad=True)
    a, b = grad((x * x).sum(), [x, x])
    a *= 10.0
    assert b.tolist() == [2.0, 4.0]


def test_more_axes_than_possible():
    with pytest.raises(ValueError, match="at most 32"):
        Tensor(np.zeros((1,) * 32)).unsqueeze(0)


def test_copy_between_views_of_other_element_sizes():
    a = np.arange(4.0)
    wide, narrow = tga.from_numpy(a[:2]), tga.from_numpy(a.view("f4")[:2])
    a.view("f4")[:2] = [3, 4]
    assert wide.copy_(narrow).tolist() == [3.0, 4.0]
