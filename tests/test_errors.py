"""Misuse: what kind of exception, and which words the message must have.

A message names the op and shows the values that do not fit, so that the line of code need
not be searched; where there is a right form, it shows that.
"""

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Scalar, Tensor, grad

F = Tensor(np.arange(6, dtype="float32").reshape(2, 3))  # floats, (2, 3)
V = Tensor([1.0, 2.0, 3.0])
I = Tensor([0, 1], dtype="int64")
B = Tensor([True, False])
Z = Tensor(2.0)  # 0-d
LEAF = Tensor([1.0, 2.0], requires_grad=True)


class Stranger:
    """An object that nothing here knows."""

    def __repr__(self):
        return "Stranger()"


CASES = [
    # ---- making tensors
    (lambda: Tensor([[1, 2], [3]]), ValueError, ["ragged", "length 1", "length 2"]),
    (lambda: Tensor([1, [2]]), TypeError, ["numbers", "[2]"]),
    (lambda: Tensor([[1], 2]), ValueError, ["ragged", "2"]),
    (lambda: Tensor("text"), TypeError, ["numbers", "text"]),
    (lambda: Tensor([1, "a"]), TypeError, ["numbers", "'a'"]),
    (lambda: Tensor(None), TypeError, ["numbers", "None"]),
    (lambda: Tensor([1, None]), TypeError, ["numbers", "None"]),
    (lambda: Tensor({1: 2}), TypeError, ["numbers"]),
    (lambda: Tensor(Stranger()), TypeError, ["numbers", "Stranger"]),
    (lambda: Tensor(1j), TypeError, ["complex", ".real"]),
    (lambda: Tensor([1.0], dtype="float16"), TypeError, ["float16", "float32"]),
    (lambda: Tensor([1.0], dtype="nonsense"), TypeError, ["nonsense", "float32"]),
    (lambda: Tensor([1.0], dtype=3), TypeError, ["3", "float32"]),
    (lambda: Tensor([2**70], dtype="int64"), OverflowError, ["int64"]),
    (lambda: Tensor([256], dtype="uint8"), OverflowError, ["uint8"]),
    (lambda: Tensor([float("nan")], dtype="int64"), ValueError, ["int"]),
    (lambda: Tensor([1], requires_grad=True, dtype="int64"), TypeError, ["int64", ".astype"]),
    (lambda: Tensor([True], requires_grad=True), TypeError, ["bool", "float32"]),
    (lambda: tga.from_numpy([1.0]), TypeError, ["from_numpy", "list"]),
    (lambda: tga.from_numpy(F), TypeError, ["from_numpy", "Tensor"]),
    (lambda: tga.from_numpy(np.float32(1)), TypeError, ["from_numpy"]),
    (lambda: tga.zeros(2, -1), ValueError, ["zeros", "negative", "(2, -1)"]),
    (lambda: tga.zeros(2.5), TypeError, ["zeros", "integers", "2.5"]),
    (lambda: tga.zeros("3"), TypeError, ["zeros", "integers"]),
    (lambda: tga.zeros(2**40, 2**40), ValueError, ["zeros", "memory"]),
    (lambda: tga.zeros(*[1] * 100), ValueError, ["zeros", "100 axes"]),
    (lambda: tga.full((2,), "a"), TypeError, ["full", "'a'"]),
    (lambda: tga.full((2,), 2**70, dtype="int64"), OverflowError, ["int64"]),
    (lambda: tga.zeros(2, dtype="int64", requires_grad=True), TypeError, ["int64"]),
    (lambda: tga.arange(0, 5, 0), ValueError, ["arange", "step"]),
    (lambda: tga.arange("a"), TypeError, ["arange", "'a'"]),
    (lambda: tga.arange(float("inf")), ValueError, ["arange"]),
    (lambda: tga.arange(0, 1, float("nan")), ValueError, ["arange"]),
    (lambda: tga.eye(-1), ValueError, ["eye", "negative"]),
    (lambda: tga.manual_seed(1.5), TypeError, ["manual_seed", "1.5"]),
    (lambda: tga.rand(2, dtype="int64"), TypeError, ["rand", "int64"]),
    (lambda: tga.randn(-1), ValueError, ["randn", "negative"]),
    (lambda: tga.uniform(2, low=2.0, high=1.0), ValueError, ["uniform", "2.0", "1.0"]),
    # ---- operators and elementwise functions
    (lambda: F + V[:2], ValueError, ["add", "(2, 3)", "(2,)", "3 and 2"]),
    (lambda: F * Tensor(np.zeros((3, 2))), ValueError, ["mul", "(2, 3)", "(3, 2)"]),
    (lambda: F + np.zeros(4), ValueError, ["add", "(2, 3)", "(4,)"]),
    (lambda: np.zeros(4) - F, ValueError, ["sub", "(4,)", "(2, 3)"]),
    (lambda: F < V[:2], ValueError, ["lt", "(2, 3)", "(2,)"]),
    (lambda: tga.maximum(F, V[:2]), ValueError, ["maximum", "(2, 3)", "(2,)"]),
    (lambda: tga.where(B, F, V), ValueError, ["where"]),
    (lambda: F + "a", TypeError, ["Tensor", "str"]),
    (lambda: "a" - F, TypeError, ["Tensor", "str"]),
    (lambda: F / None, TypeError, ["Tensor", "NoneType"]),
    (lambda: F + [1, 2, 3], TypeError, ["Tensor", "list"]),
    (lambda: F @ [[1.0]], TypeError, ["Tensor", "list"]),
    (lambda: F < Stranger(), TypeError, ["Tensor", "Stranger"]),
    (lambda: F + 1j, TypeError, ["Tensor", "complex"]),
    (lambda: F.maximum("a"), TypeError, ["maximum", "'a'"]),
    (lambda: F + np.zeros(3, "float16"), TypeError, ["float16", "astype"]),
    (lambda: np.zeros(3, "int32") * F, TypeError, ["int32", "astype"]),
    (lambda: I.exp(), TypeError, ["exp", "int64", "astype"]),
    (lambda: B.sigmoid(), TypeError, ["sigmoid", "bool", "astype"]),
    (lambda: F.matmul("a"), TypeError, ["matmul", "'a'"]),
    (lambda: I**2, TypeError, ["pow", "int64", "astype"]),
    (lambda: I.mean(), TypeError, ["mean", "int64", "astype"]),
    (lambda: I @ I, TypeError, ["matmul", "int64", "astype"]),
    (lambda: tga.exp("a"), TypeError, ["exp", "str", "Tensor"]),
    (lambda: tga.exp(None), TypeError, ["exp", "NoneType", "Tensor"]),
    (lambda: tga.exp([1.0]), TypeError, ["exp", "list", "Tensor(...)"]),
    (lambda: tga.exp(), TypeError, ["exp", "1 inputs", "0 given"]),
    (lambda: tga.add(F), TypeError, ["add", "2 inputs", "x, y", "1 given"]),
    (lambda: tga.exp(F, 2), TypeError, ["exp", "1 arguments too many"]),
    (lambda: tga.leaky_relu(F, alpha=0.1), TypeError, ["leaky_relu", "'alpha'"]),
    (lambda: F.leaky_relu(slope="steep"), TypeError, ["slope", "steep"]),
    (lambda: tga.where(F, F, F), TypeError, ["where", "bool", "float32", "!= 0"]),
    (lambda: tga.relu(2.0, 3.0), TypeError, ["relu"]),
    # ---- axes and shapes
    (lambda: F.sum(axis=2), ValueError, ["sum", "axis 2", "2 axes"]),
    (lambda: F.sum(axis=-3), ValueError, ["sum", "axis -3"]),
    (lambda: F.sum(axis=(0, 0)), ValueError, ["sum", "twice"]),
    (lambda: F.sum(axis=(0, -2)), ValueError, ["sum", "twice"]),
    (lambda: F.sum(axis=1.0), TypeError, ["sum", "integer", "1.0"]),
    (lambda: F.sum(axis="x"), TypeError, ["sum", "integer", "'x'"]),
    (lambda: tga.sum(F, dim=1), TypeError, ["sum", "'dim'", "'axis'"]),
    (lambda: tga.sum(F, keepdim=True), TypeError, ["sum", "'keepdim'", "'keepdims'"]),
    (lambda: tga.softmax(F, dim=1), TypeError, ["softmax", "'axis'"]),
    (lambda: tga.max(tga.zeros(0)), ValueError, ["max", "(0,)"]),
    (lambda: tga.zeros(2, 0).min(axis=1), ValueError, ["min", "(2, 0)"]),
    (lambda: F.softmax(axis=2), ValueError, ["softmax", "axis 2"]),
    (lambda: Z.softmax(), ValueError, ["softmax", "axis -1", "0 axes"]),
    (lambda: F.reshape(4, 2), ValueError, ["reshape", "(2, 3)", "(4, 2)", "6", "8"]),
    (lambda: F.reshape(-1, -1), ValueError, ["reshape", "(-1, -1)"]),
    (lambda: F.reshape(4, -1), ValueError, ["reshape", "6", "(4, -1)"]),
    (lambda: F.reshape(2.0, 3), TypeError, ["reshape", "2.0"]),
    (lambda: F.reshape(-2, -3), ValueError, ["reshape"]),
    (lambda: tga.zeros(0).reshape(0, -1), ValueError, ["reshape", "(0, -1)"]),
    (lambda: F.permute(0), ValueError, ["permute", "(0,)", "2 axes"]),
    (lambda: F.permute(0, 0), ValueError, ["permute", "(0, 0)"]),
    (lambda: F.permute(0, 2), ValueError, ["permute", "axis 2"]),
    (lambda: V.transpose(), ValueError, ["transpose", "axis -2"]),
    (lambda: F.expand(3, 3), ValueError, ["expand", "(2, 3)", "(3, 3)"]),
    (lambda: F.expand(3), ValueError, ["expand", "(2, 3)", "(3,)"]),
    (lambda: F.expand(2, 3, -1), ValueError, ["expand"]),
    (lambda: F.expand(-1, 2, 3), ValueError, ["expand", "-1"]),
    (lambda: F.squeeze(0), ValueError, ["squeeze", "axis 0", "(2, 3)", "size 2"]),
    (lambda: F.squeeze(5), ValueError, ["squeeze", "axis 5"]),
    (lambda: F.unsqueeze(4), ValueError, ["unsqueeze", "axis 4"]),
    (lambda: tga.concat(), TypeError, ["concat", "at least one"]),
    (lambda: tga.concat([]), TypeError, ["concat", "at least one"]),
    (lambda: tga.concat(F, V), ValueError, ["concat", "(2, 3)", "(3,)"]),
    (lambda: tga.concat(F, tga.zeros(2, 2)), ValueError, ["concat", "(2, 3)", "(2, 2)", "axis 0"]),
    (lambda: tga.concat(Z, Z), ValueError, ["concat", "0-d", "stack"]),
    (lambda: tga.concat(F, F, axis=2), ValueError, ["concat", "axis 2"]),
    (lambda: tga.concat(F, "a"), TypeError, ["concat", "'a'"]),
    (lambda: tga.stack(F, V), ValueError, ["stack", "(2, 3)", "(3,)"]),
    (lambda: tga.stack(F, F, axis=4), ValueError, ["stack", "axis 4"]),
    # ---- linear algebra
    (
        lambda: tga.zeros(4, 3) @ tga.zeros(2, 5),
        ValueError,
        ["matmul", "(4, 3)", "(2, 5)", "3 and 2"],
    ),
    (lambda: V @ tga.zeros(2), ValueError, ["matmul", "(3,)", "(2,)"]),
    (lambda: V @ Z, ValueError, ["matmul", "(3,)", "()", "*"]),
    (lambda: F @ 2.0, ValueError, ["matmul", "(2, 3)", "()", "*"]),
    (lambda: tga.zeros(2, 4, 3) @ tga.zeros(3, 3, 5), ValueError, ["matmul", "2", "3"]),
    (lambda: tga.linear(F, F.T, V), ValueError, ["linear", "(2, 3)", "(3, 2)"]),
    (lambda: tga.linear(F, F, V), ValueError, ["linear", "b is (3,)", "(2,)"]),
    (lambda: tga.linear(Z, F, V), ValueError, ["linear", "()"]),
    # ---- losses
    (lambda: tga.mse(F, V), ValueError, ["mse", "(2, 3)", "(3,)"]),
    (lambda: tga.mse(F, 1.0), ValueError, ["mse", "(2, 3)", "()"]),
    (lambda: tga.bce(F, F, reduction="max"), ValueError, ["bce", "'max'", "'mean'"]),
    (lambda: tga.bce_with_logits(F, F[:1]), ValueError, ["bce_with_logits", "(1, 3)"]),
    (lambda: tga.cross_entropy(F, V), TypeError, ["cross_entropy", "int64", "float32", "astype"]),
    (lambda: tga.cross_entropy(F, I[:1]), ValueError, ["cross_entropy", "(1,)", "(2,)"]),
    (lambda: tga.cross_entropy(F, I + 2), ValueError, ["cross_entropy", "label", "0 to 2"]),
    (lambda: tga.cross_entropy(F, I - 1), ValueError, ["cross_entropy", "label", "0 to 2"]),
    (lambda: tga.cross_entropy(Z, I), ValueError, ["cross_entropy", "()"]),
    (lambda: tga.cross_entropy(F, I, reduction=1), ValueError, ["cross_entropy", "reduction"]),
    (lambda: tga.cross_entropy(F, F.astype("float64")), TypeError, ["probabilities", "'float32'"]),
    (lambda: tga.cross_entropy(F, I, label_smoothing=2), ValueError, ["label_smoothing", "2"]),
    (lambda: tga.cross_entropy(F, I, ignore_index=None), TypeError, ["ignore_index", "None"]),
    (lambda: tga.cross_entropy(F, I, weight=V[:2]), ValueError, ["weight", "(2,)", "3 classes"]),
    (lambda: tga.cross_entropy(F, I, weight="a"), TypeError, ["numbers", "'a'"]),
    (lambda: tga.nll(F, I, weight=LEAF), TypeError, ["nll", "gradient", "weight.detach()"]),
    (lambda: tga.nll(F, I + 2), ValueError, ["nll", "label", "0 to 2"]),
    (lambda: tga.nll(F, F), TypeError, ["nll", "labels", "int64"]),
    (lambda: tga.nll(tga.zeros(2, 3, 4), I), ValueError, ["nll", "(2, 3, 4)", "(2, 4)"]),
    (lambda: tga.huber(F, F, delta=0), ValueError, ["huber", "delta", "positive", "0"]),
    (lambda: tga.huber(F, F, delta=V), TypeError, ["delta", "number"]),
    (lambda: tga.smooth_l1(F, F, beta=-1), ValueError, ["smooth_l1", "beta", "-1"]),
    (
        lambda: tga.bce_with_logits(F, F, pos_weight=Tensor([1.0, 2.0])),
        ValueError,
        ["bce_with_logits", "(2,)", "(2, 3)"],
    ),
    (lambda: tga.cosine_similarity(F, V, axis=2), ValueError, ["axis 2", "2 axes"]),
    (lambda: tga.cosine_similarity(F, V[:2]), ValueError, ["cosine_similarity", "(2, 3)", "(2,)"]),
    (lambda: F.maxout(2), ValueError, ["maxout", "(2, 3)", "2"]),
    (lambda: F.maxout(0), ValueError, ["maxout", "0"]),
    (lambda: F.maxout(1.5), ValueError, ["maxout", "1.5"]),
    (lambda: Z.maxout(1), ValueError, ["maxout", "()"]),
    # ---- indexing
    (lambda: F[2], IndexError, ["getitem", "index 2", "axis 0", "size 2"]),
    (lambda: F[0, -4], IndexError, ["getitem", "index -4", "axis 1", "size 3"]),
    (lambda: F[0, 0, 0], IndexError, ["getitem", "3 indices", "(2, 3)"]),
    (lambda: F[..., ...], IndexError, ["Ellipsis"]),
    (lambda: F[1.0], TypeError, ["index", "1.0"]),
    (lambda: F["a"], TypeError, ["index", "'a'"]),
    (lambda: F[True], TypeError, ["index", "True"]),
    (lambda: F[[0, 1]], TypeError, ["index", "[0, 1]"]),
    (lambda: F[F > 0], TypeError, ["index"]),
    (lambda: F[::0], ValueError, ["step"]),
    (lambda: Z[0], IndexError, ["getitem", "()"]),
    (lambda: F.__setitem__(5, 1.0), IndexError, ["setitem", "index 5"]),
    # ---- values for Python
    (lambda: F.item(), ValueError, ["item", "one element", "(2, 3)"]),
    (lambda: float(F), ValueError, ["(2, 3)"]),
    (lambda: bool(F), ValueError, ["(2, 3)", "ambiguous"]),
    (lambda: bool(Tensor([])), ValueError, ["(0,)"]),
    (lambda: F == F and 1, ValueError, ["ambiguous"]),
    (lambda: [1, 2][V], TypeError, ["float32"]),
    (lambda: len(Z), TypeError, ["0-d"]),
    (lambda: iter(Z), TypeError, ["0-d"]),
    # ---- in place
    (lambda: F.clone().copy_(tga.zeros(3, 3)), ValueError, ["copy_", "(3, 3)", "(2, 3)"]),
    (lambda: V.clone().copy_(F), ValueError, ["copy_", "(2, 3)", "(3,)"]),
    (lambda: F.clone().copy_([1.0]), TypeError, ["copy_", "[1.0]"]),
    (lambda: F.clone().fill_("a"), TypeError, ["fill_", "'a'"]),
    (lambda: V.clone().__iadd__(F), ValueError, ["add in place", "(2, 3)", "(3,)"]),
    (lambda: V.clone().__imul__(tga.zeros(2)), ValueError, ["mul", "(3,)", "(2,)"]),
    (lambda: V.clone().__iadd__("a"), TypeError, ["add in place", "'a'"]),
    (lambda: I.clone().__iadd__(0.5), TypeError, ["add in place", "int64", "x = x + y"]),
    (lambda: I.clone().__itruediv__(2), TypeError, ["div in place", "int64", "x = x / y"]),
    (lambda: I.clone().__itruediv__(I), TypeError, ["div in place", "int64", "x = x / y"]),
    (lambda: B.clone().__iadd__(B), TypeError, ["add in place", "bool", "x = x + y"]),
    (lambda: V[:1].expand(3).fill_(1.0), ValueError, ["fill_", "(3,)", "expand", "clone()"]),
    (lambda: V[:1].expand(3).__iadd__(1.0), ValueError, ["add in place", "(3,)", "clone()"]),
    (lambda: I.clone().fill_(2**70), OverflowError, ["int64"]),
    # ---- the graph
    (lambda: V.backward(), RuntimeError, ["backward", "requires_grad"]),
    (lambda: (LEAF * 2).backward(), ValueError, ["backward", "(2,)", ".sum()"]),
    (lambda: (LEAF * 2).backward(V), ValueError, ["backward", "(2,)", "(3,)"]),
    (
        lambda: (LEAF * 2).backward(Tensor([1.0, 1.0], dtype="float64")),
        ValueError,
        ["backward", "float32", "float64"],
    ),
    (lambda: (LEAF * 2).backward("a"), TypeError, ["'a'"]),
    (lambda: (LEAF > 1).backward(), RuntimeError, ["backward"]),
    (lambda: grad(LEAF * 2, LEAF), ValueError, ["grad", "(2,)", ".sum()"]),
    (lambda: grad(LEAF.sum(), V), ValueError, ["grad", "input 0", "require"]),
    (lambda: grad(LEAF.sum(), [LEAF, V]), ValueError, ["grad", "input 1"]),
    (lambda: grad(LEAF.sum(), "a"), TypeError, ["grad", "'a'"]),
    (lambda: grad(1.0, LEAF), TypeError, ["grad"]),
    (lambda: grad([LEAF.sum(), 1.0], LEAF), TypeError, ["grad", "outputs", "1.0"]),
    (lambda: grad(LEAF.sum(), LEAF, [V[0], V[1]]), ValueError, ["grad", "1 outputs", "2 grad_"]),
    (lambda: grad(LEAF.sum(), LEAF, V), ValueError, ["grad", "()", "(3,)"]),
    (lambda: setattr(LEAF * 2, "requires_grad", False), RuntimeError, ["mul", "detach"]),
    (lambda: setattr(LEAF * 2, "requires_grad", True), RuntimeError, ["mul", "detach"]),
    (lambda: setattr(I.clone(), "requires_grad", True), TypeError, ["int64", "astype"]),
    (lambda: setattr(LEAF, "grad", V), ValueError, ["grad", "(2,)"]),
    (lambda: setattr(LEAF, "grad", 1.0), ValueError, ["grad", "(2,)", "float32"]),
    (lambda: setattr(V, "grad", V), RuntimeError, ["grad", "leaf"]),
    (lambda: setattr(V, "shape", (1, 3)), AttributeError, ["shape"]),
    (lambda: setattr(V, "spelling", 1), AttributeError, ["spelling"]),
    # ---- scalars
    (lambda: Scalar("a"), (TypeError, ValueError), []),
    (lambda: Scalar(1.0) + "1", TypeError, ["add", "Scalar", "'1'"]),
    (lambda: Scalar(1.0) + V, TypeError, ["add", "Scalar"]),
    (lambda: tga.softmax(Scalar(1.0)), TypeError, ["softmax", "Tensor"]),
    # ---- settings
    (lambda: tga.set_isa("sse9"), ValueError, ["sse9", "base"]),
    (lambda: tga.use_isa("").__enter__(), ValueError, ["base"]),
    (lambda: tga.set_num_threads(0), ValueError, ["set_num_threads", "0"]),
    (lambda: tga.set_num_threads(1.5), ValueError, ["set_num_threads", "1.5"]),
    (lambda: tga.set_num_threads(True), ValueError, ["set_num_threads", "True"]),
    (lambda: tga.set_pool_limit(-1), ValueError, ["set_pool_limit", "-1"]),
    # ---- own ops
    (lambda: tga.activation("tanh", f=lambda x: x, df=lambda: 1), ValueError, ["'tanh'", "exists"]),
    (lambda: tga.activation("a", f=lambda x: x, df=lambda: 1, saves="z"), ValueError, ["a", "'z'"]),
    # ---- gradcheck
    (lambda: tga.testing.gradcheck(tga.exp, [V]), ValueError, ["gradcheck", "requires a gradient"]),
    (lambda: tga.testing.gradcheck(tga.exp, [LEAF]), TypeError, ["gradcheck", "float64"]),
]


def words_of(part):
    """How a case is named in a report."""
    if isinstance(part, list):
        return " ".join(part)
    return part.__name__ if isinstance(part, type) else ""


@pytest.mark.parametrize(("call", "kind", "words"), CASES)
def test_misuse(call, kind, words):
    before = [x.numpy().tobytes() for x in (F, V, I, B, Z, LEAF)]
    with pytest.raises(kind) as raised:
        call()
    message = str(raised.value)
    for word in words:
        assert word in message, message
    assert "\n" not in message
    assert [x.numpy().tobytes() for x in (F, V, I, B, Z, LEAF)] == before
    assert LEAF.grad is None and tga.graph.mode.recording
