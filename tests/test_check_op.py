"""`check_op`: right records pass, and each kind of mistake is found."""

import math

import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor
from tinygrad_act.op import General
from tinygrad_act.testing import check_op


def record(name="mixture", **changed):
    """x * y + sin(x), which is not entered in the registry."""
    fields = {
        "forward": lambda x, y, shift: x * y + tga.sin(x) + shift,
        "vjp": (
            lambda gz, z, x, y, shift: gz * (y + tga.cos(x)),
            lambda gz, z, x, y, shift: gz * x,
        ),
        "saves": "x y",
        "attrs": {"shift": 0.0},
        "sample": lambda random: (
            [[random.uniform(-1, 1) for _ in range(3)] for _ in "xy"],
            {"shift": random.choice([0.0, 1.0])},
        ),
        "reference": lambda x, y, shift: [
            a * b + math.sin(a) + shift for a, b in zip(x, y, strict=True)
        ],
    }
    return General(name, "x y", output="z", **{**fields, **changed})


def detached(gz, z, x, y, shift):
    """The rule for y; right as a value, but what it says of x is lost to second derivatives."""
    return gz * (x.detach() if isinstance(x, Tensor) else x)


def test_right_records():
    assert check_op(record())
    assert check_op(record(vjp=(record().vjp[0], None)))  # nothing is asked of the other
    for name in ("matmul", "linear", "gather", "where", "concat", "argmax", "tril"):
        assert check_op(tga.op.REGISTRY[name], examples=5)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"forward": lambda x, y, shift: x * y + tga.sin(x)}, "in the reference"),
        (
            {"forward": lambda x, y, shift: tga.sum(x * y, keepdims=True)},
            "1 elements, but 3 in the reference",
        ),
        ({"vjp": (lambda gz, z, x, y, shift: gz * y, record().vjp[1])}, "gradcheck: .* input 0"),
        ({"vjp": (record().vjp[0], detached)}, "gradgradcheck: "),
        ({"vjp": (record().vjp[0], lambda gz, z, x, y, shift: gz * x * math.nan)}, "input 1"),
    ],
)
def test_wrong_records(changed, words):
    with pytest.raises(AssertionError, match=f"check_op: mixture of .*{words}"):
        check_op(record(**changed))


def test_records_that_cannot_be_checked():
    with pytest.raises(TypeError, match="check_op: <op mixture> needs a sample and a reference"):
        check_op(record(sample=None))


def test_a_gradient_of_another_shape_is_refused():
    """By whatever it would reach next: kernels take it that a gradient has its input's shape."""
    for rule in (
        lambda gz, z, x, y, shift: tga.sum(gz),
        lambda gz, z, x, y, shift: tga.concat(gz, gz),
        lambda gz, z, x, y, shift: None,
        lambda gz, z, x, y, shift: 1.0,
    ):
        op = record(vjp=(rule, None))
        x = tga.ones(1000, requires_grad=True)
        with pytest.raises(ValueError, match=r"mixture: .* of shape \(1000,\) is .*: the rule is"):
            op(x.tanh(), tga.ones(1000)).sum().backward()


@pytest.mark.parametrize("create_graph", [False, True])
def test_one_rule_for_any_number_of_inputs_may_yield(create_graph):
    """Its gradients are looked at before they are passed on, and none may be lost by that."""
    op = General(
        "total",
        "*xs",
        forward=lambda *xs: sum(xs[1:], start=xs[0]),
        vjp=lambda gy, y, *xs: (gy * (i + 1) for i in range(len(xs))),
    )
    xs = [Tensor([1.0], requires_grad=True) for _ in range(3)]
    gradients = tga.grad(op(*xs), xs, create_graph=create_graph)
    assert [g.tolist() for g in gradients] == [[1.0], [2.0], [3.0]]


def test_an_input_without_a_rule_says_so():
    op = record(vjp=(None, record().vjp[1]))
    x = Tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"mixture: no gradient flows to x; write x.detach\(\)"):
        op(x, Tensor([2.0])).sum().backward()
