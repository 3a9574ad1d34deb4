"""Wrong arguments of layers, optimizers and schedules: the message names both.

Nothing here is listed by hand but what is wrong for an argument of a name: the calls follow from
the signatures, so that a new layer, or a new argument of one, is tried too.
"""

import inspect
import math

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor, nn, optim

NAN = math.nan
SIZE = [0, -1, 1.5, True, None, "a", (1, 2), NAN, Tensor(2.0)]
PAIR = [0, -1, 1.5, True, "a", (1, 2, 3), (1, 0), {}, np.ones(2), 1 << 40]
NUMBER = ["a", True, NAN, (0.1,), 1j, Tensor(0.1)]
WRONG = {
    **dict.fromkeys(["inputs", "outputs", "units", "channels", "count", "pieces", "groups"], SIZE),
    **dict.fromkeys(["steps", "every"], SIZE),
    **dict.fromkeys(["stride", "dilation"], PAIR),
    "size": [0, -1, 1.5, True, None, "a", (1, 2, 3), {}],
    "padding": [-1, 1.5, True, None, "a", (1, 2, 3), {}, np.ones(2)],
    "shape": [0, 1.5, "a", None, (), (2, 0), [2, "a"]],
    "axis": ["a", 1.5, True, None],
    **dict.fromkeys(["bias", "affine", "nesterov"], [0, "no", None, nn.init.he]),
    "initialize": [None, "he", 3],
    "dtype": ["float16", "int64", None, 3, "real", [], object()],
    "activation": ["rleu", 3, None, nn.ReLU],
    **dict.fromkeys(["slope", "alpha", "beta", "threshold", "value", "min_val"], [*NUMBER, None]),
    **dict.fromkeys(["max_val", "lambd", "lower", "upper"], [*NUMBER, None]),
    "betas": [0.9, (0.9,), (0.9, 1.0), ("a", 0.9), None],
    **dict.fromkeys(["p", "momentum", "eps", "weight_decay", "lr"], [-0.5, *NUMBER, None]),
    **dict.fromkeys(["last", "first", "factor"], [-0.5, *NUMBER]),
    "rise": [0, 1, -0.5, *NUMBER],
    "rate": [None, "a", 0.1],
    "parameters": [None, 3, [], [3], Tensor([1.0]), [Tensor([1.0])], nn.Linear(1, 1), "ab"],
    "schedule": ["a", -1.0, None],
}
REQUIRED = {
    **{"inputs": 2, "outputs": 4, "units": 3, "channels": 3, "count": 5, "size": 2, "shape": 3},
    **{"lr": 0.1, "every": 2, "steps": 8, "factor": 0.5, "rate": lambda k: 0.1, "schedule": 0.1},
    "parameters": [Tensor([1.0], requires_grad=True)],
}


def _makers():
    """Everything that is made of arguments of these kinds."""
    for name, kind in vars(nn).items():
        if isinstance(kind, type) and issubclass(kind, nn.Module) and kind is not nn.Module:
            if kind is not nn.Activation and name != "Sequential":
                yield kind
    for kind in vars(optim).values():
        if isinstance(kind, type) and kind.__module__ == optim.__name__:
            if kind is not optim.Optimizer:
                yield kind
    for name in ("constant", "step_decay", "exponential", "cosine", "one_cycle", "warm_up"):
        yield getattr(optim, name)


MAKERS = list(_makers())


def arguments_of(make):
    given = inspect.signature(make).parameters.values()
    return {p.name: REQUIRED[p.name] for p in given if p.default is p.empty}


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_wrong_arguments_are_named(make):
    make(**arguments_of(make))  # right ones are taken
    for name, parameter in inspect.signature(make).parameters.items():
        for value in WRONG[name]:
            if value is None and parameter.default is None:
                continue
            with pytest.raises((TypeError, ValueError)) as raised:
                make(**{**arguments_of(make), name: value})
            message = str(raised.value)
            if name == "activation":
                assert message.startswith(("an activation must be", "there is no activation"))
            else:
                assert message.startswith(f"{make.__name__}: "), (name, value, message)
                assert name.removesuffix("s") in message, (name, value, message)
            assert "\n" not in message


@pytest.mark.parametrize("scalar", [np.int64(3), np.uint8(3)], ids=repr)
def test_sizes_may_be_numbers_of_numpy(scalar):
    assert nn.Linear(scalar, scalar).weight.shape == (3, 3)
    assert nn.Conv2d(scalar, 1, scalar, stride=scalar).weight.shape == (1, 3, 3, 3)
    assert nn.MaxPool2d(scalar)(tga.ones(1, 1, 6, 6)).shape == (1, 1, 2, 2)
    assert optim.SGD([Tensor([1.0], requires_grad=True)], lr=np.float32(0.5)).lr == 0.5


def test_what_sequential_is_made_of():
    with pytest.raises(TypeError, match=r"Sequential: give the modules one by one"):
        nn.Sequential([nn.Linear(2, 3), "tanh"])
    with pytest.raises(TypeError, match=r"write ReLU\(\)"):
        nn.Sequential(nn.Linear(2, 3), nn.ReLU)
    with pytest.raises(TypeError, match="elu: there is no attribute 'slope'"):
        nn.Activation("elu", slope=0.1)
    with pytest.raises(TypeError, match="elu: alpha must be a number, not 'a'"):
        nn.Activation("elu", alpha="a")
