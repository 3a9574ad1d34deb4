"""Names that others use: the error says how it is called here, and that is there."""

import copy
import pickle
import re

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor, hints, nn

X = Tensor([1.0, 2.0])
PLACES = [
    *[(X, name, hint) for name, hint in hints.TENSOR.items()],
    *[(tga, name, hint) for name, hint in hints.PACKAGE.items()],
    *[(nn, name, hint) for name, hint in hints.NN.items()],
]


@pytest.mark.parametrize(("owner", "name", "hint"), PLACES, ids=lambda one: str(one)[:20])
def test_what_is_meant_is_named_and_there(owner, name, hint):
    with pytest.raises(AttributeError, match=f"no attribute {name!r}; here it is ") as raised:
        getattr(owner, name)
    assert hint in str(raised.value)
    if re.match(r"[-(]?x\b", hint):  # an expression or a statement in which x is the tensor
        return
    package, path = re.match(r"(tinygrad_act\.|numpy\.)?([\w.]+)", hint).groups()
    place = {"tinygrad_act.": tga, "numpy.": np, None: owner}[package]
    for part in path.split("."):
        place = getattr(place, part)


def test_what_nobody_knows_has_no_hint():
    for owner in (X, tga, nn):
        with pytest.raises(AttributeError, match="no attribute 'spelling'$"):
            _ = owner.spelling
    assert not hasattr(X, "spelling") and getattr(X, "view", None) is None
    assert copy.deepcopy(X).tolist() == pickle.loads(pickle.dumps(X)).tolist() == [1.0, 2.0]


def test_numbers_are_formatted():
    loss = Tensor(1.25)
    assert f"{loss:.1f} {Tensor([[2]], dtype='int64'):3d}" == "1.2   2"
    assert f"{X}" == str(X)
    with pytest.raises(TypeError, match=r"format: '.2f' is for one number, but .*\(2,\)"):
        f"{X:.2f}"


def test_masks_are_joined_by_operators():
    a, b = Tensor([True, True, False, False]), Tensor([True, False, True, False])
    p, q = a.numpy(), b.numpy()
    for got, expected in [
        (a & b, p & q),
        (a | b, p | q),
        (a ^ b, p ^ q),
        (~a, ~p),
        (a & True, p),
        (False | a, p),
        (p ^ b, p ^ q),
        (np.logical_and(a, b), p & q),
        (np.bitwise_or(p, b), p | q),
        (np.invert(a), ~p),
        (a[:1] & b[:, None], p[:1] & q[:, None]),
    ]:
        assert isinstance(got, Tensor) and got.dtype == "bool"
        np.testing.assert_array_equal(got.numpy(), expected)
    for call in (lambda: X & a[:2], lambda: 1 & X, lambda: ~X, lambda: np.bitwise_or(X, 1)):
        with pytest.raises(
            TypeError, match="logical_.*: needs bool, but . is float32; write . != 0"
        ):
            call()
    with pytest.raises(TypeError, match="needs bool, but x is float32"):
        assert (X > 1 & X < 3) is None  # read as X > (1 & X) < 3
