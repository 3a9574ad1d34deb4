"""Misuse: what kind of exception, and which words the message must have.

A message names the op and shows the values that do not fit, so that the line of code need
not be searched; where there is a right form, it shows that.
"""

import copy
import pickle
import re

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


READ_ONLY = np.zeros(3, "float32")
READ_ONLY.flags.writeable = False
IMAGE, FILTERS = tga.zeros(1, 2, 5, 5), tga.zeros(3, 2, 3, 3)


def used_twice():
    y = (V.detach() * Tensor(1.0, requires_grad=True)).sum()
    y.backward()
    y.backward()


def written_to_before_backward():
    x = tga.ones(2)
    y = (x * LEAF).sum()
    x.fill_(3.0)
    y.backward()


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
    (lambda: F.flatten(1, 0), ValueError, ["flatten", "start_axis 1", "end_axis 0"]),
    (lambda: F.flatten(2), ValueError, ["flatten", "axis 2"]),
    (lambda: tga.flatten(F, start_dim=1), TypeError, ["flatten", "'start_dim'"]),
    (lambda: F.swapaxes(0, 2), ValueError, ["swapaxes", "axis 2"]),
    (lambda: tga.swapaxes(F, 0), TypeError, ["swapaxes(x, axis0, axis1)"]),
    (lambda: F.moveaxis((0, 1), 0), ValueError, ["moveaxis", "2 axes", "1 places"]),
    (lambda: F.moveaxis((0, 0), (0, 1)), ValueError, ["moveaxis", "twice"]),
    (lambda: F.moveaxis(2, 0), ValueError, ["moveaxis", "axis 2"]),
    (lambda: F.flip(2), ValueError, ["flip", "axis 2"]),
    (lambda: F.flip((0, 0)), ValueError, ["flip", "twice"]),
    (lambda: F.roll(1.5, 0), TypeError, ["roll", "shift", "1.5"]),
    (lambda: F.roll((1, 2, 3), (0, 1)), ValueError, ["roll", "3 shifts", "2 axes"]),
    (lambda: F.roll(1, 2), ValueError, ["roll", "axis 2"]),
    (lambda: F.tile(-1), ValueError, ["tile", "negative"]),
    (lambda: F.tile(1.5), TypeError, ["tile", "1.5"]),
    (lambda: F.tile(2**40, 2**40), ValueError, ["tile", "memory"]),
    (lambda: F.repeat(2, 2), ValueError, ["repeat", "axis 2"]),
    (lambda: F.repeat(-1), ValueError, ["repeat", "negative"]),
    (lambda: F.repeat((1, 2), 1), ValueError, ["repeat", "2 repeats", "axis 1", "size 3"]),
    (lambda: F.pad((1, 2)), ValueError, ["pad", "2 axes", "(before, after)", "(1, 2)"]),
    (lambda: F.pad(-1), ValueError, ["pad", "negative", "slice"]),
    (lambda: F.pad(0.5), ValueError, ["pad", "whole number", "0.5"]),
    (lambda: F.pad(1, "mirror"), ValueError, ["pad", "'mirror'", "'reflect'"]),
    (lambda: F.pad(2, "reflect"), ValueError, ["pad", "axis 0", "size 2", "2 elements"]),
    (lambda: V[:0].pad(1, "replicate"), ValueError, ["pad", "axis 0", "size 0"]),
    (lambda: tga.pad(F), ValueError, ["pad", "None"]),
    (lambda: V.tril(), ValueError, ["tril", "two axes", "(3,)"]),
    (lambda: F.triu(0.5), TypeError, ["triu", "0.5"]),
    (lambda: V.diagonal(), ValueError, ["diagonal", "two axes"]),
    (lambda: F.diagonal(0, 1, -1), ValueError, ["diagonal", "both axis 1"]),
    (lambda: F.diagonal("a"), TypeError, ["diagonal", "offset", "'a'"]),
    (lambda: tga.diagonal_put(V, (2, 2)), ValueError, ["diagonal_put", "(3,)", "(2, 2)", "(2,)"]),
    (lambda: F.split(0), ValueError, ["split", "size is 0"]),
    (lambda: F.split(1.0), TypeError, ["split", "1.0"]),
    (lambda: F.split((1, 1), 1), ValueError, ["split", "(1, 1)", "2", "axis 1", "size 3"]),
    (lambda: F.split(1, 2), ValueError, ["split", "axis 2"]),
    (lambda: tga.split([1.0, 2.0], 1), TypeError, ["split", "Tensor", "list"]),
    (lambda: F.chunk(0), ValueError, ["chunk", "chunks is 0"]),
    (lambda: Z.chunk(2), ValueError, ["chunk", "axis 0", "0 axes"]),
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
    (lambda: V.linear(F, None), TypeError, ["linear", "an input must be a Tensor", "None"]),
    (lambda: V.dot(F), ValueError, ["dot", "(3,)", "(2, 3)", "vectors", "matmul"]),
    (lambda: V.dot(V[:2]), ValueError, ["dot", "(3,)", "(2,)"]),
    (lambda: F.outer(V), ValueError, ["outer", "(2, 3)", "vectors"]),
    (lambda: V.trace(), ValueError, ["trace", "two axes", "(3,)"]),
    (lambda: tga.einsum(F, F), TypeError, ["einsum", "expression"]),
    (lambda: tga.einsum("ij,jk", F), ValueError, ["einsum", "2 operands", "1 are given"]),
    (lambda: tga.einsum("i", F), ValueError, ["einsum", "'i'", "1 axes", "operand 0", "2 axes"]),
    (lambda: tga.einsum("...ijk", F), ValueError, ["einsum", "3 axes", "2 axes"]),
    (lambda: tga.einsum("ij,jk", F, F), ValueError, ["einsum", "(2, 3)", "3 and 2", "'j'"]),
    (lambda: tga.einsum("ii", F), ValueError, ["einsum", "2 and 3", "'i'"]),
    (lambda: tga.einsum("ii", F[:, :1]), ValueError, ["einsum", "2 and 1", "'i'"]),
    (lambda: tga.einsum("...,...", F, V[:2]), ValueError, ["einsum", "3 and 2", "'...'"]),
    (lambda: tga.einsum("ij->ijj", F), ValueError, ["einsum", "'j'", "twice"]),
    (lambda: tga.einsum("ij->k", F), ValueError, ["einsum", "'k'", "result alone"]),
    (lambda: tga.einsum("i1", F), ValueError, ["einsum", "'1'", "letters"]),
    (lambda: tga.einsum("......", F), ValueError, ["einsum", "'.'", "..."]),
    (lambda: tga.einsum("ij->i->j", F), ValueError, ["einsum", "'-'"]),
    (lambda: tga.einsum("i,i"), TypeError, ["einsum", "at least one"]),
    (lambda: tga.einsum("i,i", V, "a"), TypeError, ["einsum", "'a'"]),
    (lambda: tga.bilinear(V, V, F, V), ValueError, ["bilinear", "(2, 3)", "(outputs, inputs1"]),
    (
        lambda: tga.bilinear(V, V, tga.zeros(2, 3, 4), V[:2]),
        ValueError,
        ["bilinear", "x2 (..., 4)"],
    ),
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
    (lambda: F[[0.5, 1]], TypeError, ["index", "integers or bools", "0.5"]),
    (lambda: F[["a"]], TypeError, ["'a'"]),
    (lambda: F[F], TypeError, ["getitem", "int64", "float32", "astype"]),
    (lambda: F[np.zeros(2, "int32")], TypeError, ["int32", "astype"]),
    (lambda: F[[0, 2]], IndexError, ["getitem", "index 2", "axis 0", "size 2"]),
    (lambda: F[:, [[0], [-4]]], IndexError, ["getitem", "index -4", "axis 1", "size 3"]),
    (lambda: F[[0, 1], [0, 1, 2]], IndexError, ["getitem", "(2,)", "(3,)"]),
    (lambda: F[[0], [0], [0]], IndexError, ["getitem", "3 indices", "(2, 3)"]),
    (lambda: F[..., [0], ...], IndexError, ["Ellipsis"]),
    (lambda: F[[0], "a"], TypeError, ["index", "'a'"]),
    (lambda: F[[0], 3], IndexError, ["getitem", "index 3", "axis 1", "size 3"]),
    (lambda: F[F.T > 0], IndexError, ["getitem", "mask", "(3, 2)", "(2, 3)"]),
    (lambda: F[:, B], IndexError, ["getitem", "mask", "(2,)", "(3,)"]),
    (lambda: F[B, F > 0], IndexError, ["getitem", "3 indices", "(2, 3)"]),
    (lambda: F.clone().__setitem__([0, 5], 1.0), IndexError, ["setitem", "index 5", "size 2"]),
    (lambda: F.clone().__setitem__([0, 1], V[:2]), ValueError, ["setitem", "(2,)", "(2, 3)"]),
    (lambda: F.clone().__setitem__(V > 0, 1.0), IndexError, ["setitem", "mask", "(3,)", "(2,)"]),
    (lambda: F.clone().__setitem__(F > 0, V), ValueError, ["setitem", "(3,)"]),
    (lambda: F.clone().__setitem__([0], "a"), TypeError, ["setitem", "'a'"]),
    (lambda: V[:1].expand(3).__setitem__([0], 1.0), ValueError, ["setitem", "expand", "clone()"]),
    (lambda: LEAF.__setitem__([0], 1.0), RuntimeError, ["indexed assignment", "where", "no_grad"]),
    (lambda: F.take([0, 6]), IndexError, ["take", "index 6", "size 6"]),
    (lambda: F.take(V), TypeError, ["take", "int64", "float32", "astype"]),
    (lambda: F.take([0], axis=2), ValueError, ["take", "axis 2", "2 axes"]),
    (lambda: F.take("a"), TypeError, ["take", "'a'"]),
    (lambda: F.index_select([[0]], 0), ValueError, ["index_select", "(1, 1)", "take"]),
    (lambda: tga.index_select(F, I), TypeError, ["index_select", "axis"]),
    (lambda: tga.index_sum(F, I, 0, (4, 2)), ValueError, ["index_sum", "(2, 2)", "(2, 3)"]),
    (lambda: tga.index_sum(F, I + 4, 0, (4, 3)), IndexError, ["index_sum", "index 4", "size 4"]),
    (lambda: F.gather(I, 0), ValueError, ["gather", "(2, 3)", "(2,)", "axis 0"]),
    (lambda: F.gather(0, I), TypeError, ["gather", "gather(x, index, axis)"]),
    (lambda: F.gather([[0, 3]], 1), IndexError, ["gather", "index 3", "axis 1", "size 3"]),
    (lambda: F.gather([[0]] * 3, 1), ValueError, ["gather", "(3, 1)", "axis 1"]),
    (lambda: F.scatter_add([[0]], V, 0), ValueError, ["scatter_add", "(3,)", "(1, 1)"]),
    (lambda: F.scatter_add(0, I, V), TypeError, ["scatter_add(x, index, source, axis)"]),
    (lambda: F.scatter_add([[0, 0, -3]], F[:1], 0), IndexError, ["scatter_add", "index -3"]),
    (lambda: F.masked_fill(F, 0.0), TypeError, ["masked_fill", "bool", "float32", "!= 0"]),
    (lambda: V.masked_fill(F > 0, 0.0), ValueError, ["masked_fill", "(3,)", "(2, 3)"]),
    (lambda: tga.masked_fill(F, F > 0), TypeError, ["masked_fill", "value"]),
    (lambda: tga.one_hot(I + 1, 2), IndexError, ["one_hot", "index 2", "size 2"]),
    (lambda: tga.one_hot(I - 1, 2), IndexError, ["one_hot", "index -1", "size 2"]),
    (lambda: tga.one_hot(I), TypeError, ["one_hot", "classes"]),
    (lambda: tga.one_hot(V, 3), TypeError, ["one_hot", "int64", "float32"]),
    (lambda: tga.one_hot(I, -3), ValueError, ["one_hot", "negative"]),
    (lambda: tga.embedding(I, V), ValueError, ["embedding", "(3,)"]),
    (lambda: tga.embedding(I + 1, F), IndexError, ["embedding", "index 2", "axis 0", "size 2"]),
    (lambda: tga.embedding(I - 1, F), IndexError, ["embedding", "index -1", "axis 0", "size 2"]),
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
    (used_twice, RuntimeError, ["backward", "freed", "retain_graph=True"]),
    (written_to_before_backward, RuntimeError, ["mul", "(2,)", "written to", "clone()"]),
    (lambda: LEAF.register_hook("a"), TypeError, ["register_hook", "'a'"]),
    (lambda: V.register_hook(print), RuntimeError, ["register_hook", "gradient"]),
    (lambda: V.retain_grad(), RuntimeError, ["retain_grad", "gradient"]),
    (lambda: grad(LEAF.sum(), Z + LEAF, allow_unused=False), ValueError, ["no output", "input 0"]),
    (lambda: copy.deepcopy(LEAF * 2), RuntimeError, ["deepcopy", "mul", "detach()"]),
    (lambda: pickle.dumps(LEAF * 2), RuntimeError, ["pickle", "mul", "detach()"]),
    (lambda: tga.no_grad(print), TypeError, ["no_grad", "parentheses"]),
    (lambda: tga.transform.grad(3), TypeError, ["value_and_grad", "function", "3"]),
    (lambda: tga.jacobian("a"), TypeError, ["jacobian", "function", "'a'"]),
    # ---- what arrays may not be
    (lambda: Tensor(np.array([1, None])), TypeError, ["object", "no numbers"]),
    (lambda: Tensor(np.array(["a"])), TypeError, ["str", "no numbers"]),
    (lambda: Tensor(np.zeros(2, complex)), TypeError, ["complex128", "a.real and a.imag"]),
    (lambda: F.astype("complex64"), TypeError, ["complex64", "a.real"]),
    (lambda: F + np.zeros(3, complex), TypeError, ["complex128"]),
    (lambda: F * 2j, TypeError, ["complex"]),
    (lambda: Tensor(np.zeros(3, ">f4")), TypeError, ["float32", "native-endian", "astype"]),
    (lambda: tga.from_numpy(np.zeros(3, ">f8")), TypeError, ["float64", "native-endian"]),
    (lambda: Tensor(np.zeros(2, "datetime64[s]")), TypeError, ["datetime64", "no numbers"]),
    (lambda: tga.from_numpy(READ_ONLY).fill_(1.0), ValueError, ["fill_", "read-only", "clone()"]),
    (lambda: tga.from_numpy(READ_ONLY).__iadd__(1.0), ValueError, ["add in place", "read-only"]),
    (lambda: tga.from_numpy(READ_ONLY).numpy(writable=True), ValueError, ["numpy", "read-only"]),
    (lambda: tga.zeros(*[1] * 65), ValueError, ["zeros", "65 axes", "32"]),
    (lambda: tga.zeros(1).reshape(*[1] * 65), ValueError, ["reshape", "65 axes"]),
    (lambda: Tensor(np.zeros((1,) * 64)), ValueError, ["64 axes", "32"]),
    (lambda: Z.expand(2**31, 2**30) + 1.0, ValueError, ["(2147483648, 1073741824)", "memory"]),
    (lambda: V[:1].expand(2**32).outer(V[:1].expand(2**32)), ValueError, ["memory"]),
    (lambda: Z.expand(2**52) * 2.0, MemoryError, ["no memory", "18014398509481984 bytes"]),
    (lambda: tga.max(V, V), TypeError, ["max", "axis", "integer"]),
    (lambda: F.sum(axis=True), TypeError, ["sum", "axis", "integer", "True"]),
    (lambda: F.expand(2**61, 2, 3), ValueError, ["expand", "memory"]),
    (lambda: tga.tile(F, 2**60), ValueError, ["tile", "memory"]),
    (lambda: tga.repeat(F, 2**62), ValueError, ["repeat", "memory"]),
    (lambda: np.linalg.inv(F), TypeError, ["np.linalg.inv", ".numpy()"]),
    (lambda: np.add(F, 1, out=READ_ONLY), TypeError, ["np.add", "written"]),
    (lambda: tga.from_dlpack(3), TypeError, ["from_dlpack", "__dlpack__", "3"]),
    # ---- functions of each element
    (lambda: F.clamp(min="a"), TypeError, ["clamp", "numbers", "min='a'"]),
    (lambda: F.clamp(min=V), TypeError, ["clamp", "min", "gradient"]),
    (lambda: F.softplus(beta=V), TypeError, ["softplus", "beta", "number"]),
    (lambda: tga.lerp(F, V[:2], 0.5), ValueError, ["lerp", "(2, 3)", "(2,)"]),
    (lambda: tga.atan2(F, V[:2]), ValueError, ["atan2", "(2, 3)", "(2,)"]),
    (lambda: tga.hypot(I, I), TypeError, ["hypot", "int64", "astype"]),
    (lambda: I.sin(), TypeError, ["sin", "int64", "astype"]),
    (lambda: Z.softmin(), ValueError, ["softmin", "axis -1"]),
    (lambda: tga.nn.Sequential(3), TypeError, ["activation", "function", "3"]),
    # ---- convolution
    (
        lambda: tga.conv2d(IMAGE, tga.zeros(3, 3, 3, 3)),
        ValueError,
        ["conv2d", "(1, 2, 5, 5)", "2 channels"],
    ),
    (lambda: tga.conv2d(F, FILTERS), ValueError, ["conv2d", "(2, 3)", "channels"]),
    (lambda: tga.conv2d(IMAGE, FILTERS, stride=0), ValueError, ["conv2d", "stride", "0"]),
    (lambda: tga.conv2d(IMAGE, FILTERS, padding="big"), ValueError, ["conv2d", "'same'", "'big'"]),
    (lambda: tga.conv2d(IMAGE, FILTERS, groups=2), ValueError, ["conv2d", "3 channels", "2"]),
    (lambda: tga.conv2d(IMAGE, tga.zeros(3, 2, 9, 9)), ValueError, ["conv2d", "9 x 9", "5 x 5"]),
    (lambda: tga.conv2d(IMAGE, FILTERS, tga.zeros(4)), ValueError, ["conv2d", "(4,)", "(3,)"]),
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


def test_there_are_many_and_they_differ():
    """Not one sentence for everything: told apart without the names, numbers and shapes in it."""
    messages = set()
    for call, kind, _ in CASES:
        with pytest.raises(kind) as raised:
            call()
        messages.add(re.sub(r"\([^)]*\)|'[^']*'|[\d.+-]+|^\w+:", "", str(raised.value)))
    assert len(CASES) >= 250 and len(messages) >= 120
