"""Einstein's sums against NumPy's, in every dtype; and what else is made of matrix products."""

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor
from tinygrad_act.ops.einsum import parse

CASES = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,kj->ki", (2, 3), (4, 3)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ba", (2, 3)),
    ("bA", (2, 3)),
    ("i,i", (3,), (3,)),
    ("i,j->ij", (3,), (2,)),
    ("ij->", (2, 3)),
    ("ij->j", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iij->ji", (3, 3, 2)),
    ("iii->i", (2, 2, 2)),
    ("ijij->ij", (2, 3, 2, 3)),
    ("iijj->", (2, 2, 3, 3)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("bhqk,bhkd->bqhd", (2, 2, 3, 4), (2, 2, 4, 2)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
    ("...ij,jk", (2, 3, 4), (4, 2)),
    ("i...,...i", (3, 2), (2, 3)),
    ("...,...", (2, 3), (3,)),
    ("...,i->i...", (2, 3), (2,)),
    ("i...i->...", (2, 3, 2)),
    ("ij...->...ji", (2, 3, 4)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("ij,jk,ki->", (2, 3), (3, 4), (4, 2)),
    ("i,ij,j", (2,), (2, 3), (3,)),
    ("ijk,ijk->", (2, 3, 4), (2, 3, 4)),
    ("ijk,jil->kl", (2, 3, 4), (3, 2, 5)),
    ("ij,ij->ij", (3, 1), (3, 4)),
    ("ij,ij->i", (3, 1), (3, 4)),
    ("ij,jk->ik", (3, 1), (4, 2)),
    ("i,i,i->i", (1,), (3,), (1,)),
    ("i,j,k->kij", (2,), (3,), (2,)),
    ("ij,k->j", (2, 3), (4,)),
    (" i j , j k -> k i ", (2, 3), (3, 4)),
    ("->", ()),
    ("", ()),
    ("i,", (2,), ()),
    (",ij,->ji", (), (2, 3), ()),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("ij,jk->ik", (0, 2), (2, 3)),
    ("bij,bjk->bik", (0, 2, 3), (0, 3, 2)),
]


@pytest.mark.parametrize(("subscripts", "shapes"), [(case[0], case[1:]) for case in CASES])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_as_numpy(subscripts, shapes, dtype):
    """Of whole numbers, so that the order of the sums makes no difference."""
    rng = np.random.default_rng(1)
    arrays = [rng.integers(-4, 5, shape).astype(dtype) for shape in shapes]
    expected = np.einsum(subscripts, *arrays)
    got = tga.einsum(subscripts, *map(Tensor, arrays))
    assert got.shape == expected.shape and got.dtype == expected.dtype
    assert got.tolist() == expected.tolist()
    turned = [Tensor(a.T.copy()).T for a in arrays]
    assert tga.einsum(subscripts, *turned).tolist() == expected.tolist()
    assert tga.einsum(subscripts, turned).tolist() == expected.tolist()
    assert tga.einsum(*turned, subscripts=subscripts).tolist() == expected.tolist()


def test_an_ellipsis_that_the_result_lacks_is_summed_over():
    """As in PyTorch; NumPy refuses."""
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert tga.einsum("...->", x).item() == 10.0
    assert tga.einsum("...i->i", x).tolist() == [4.0, 6.0]


def test_parsing():
    assert parse("a...b,b->...a", (4, 1)) == ((("a", 1, 0, "b"), ("b",)), (1, 0, "a"))
    assert parse("...ba,...", (2, 3)) == ((("b", "a"), (2, 1, 0)), (2, 1, 0, "a", "b"))
    assert parse("ii", (2,)) == ((("i", "i"),), ())


def test_dtypes_meet():
    x, y = Tensor([1.5, 2.0], requires_grad=True), Tensor([2, 3], dtype="int64")
    z = tga.einsum("i,i", x, y)
    assert z.dtype == "float32" and z.item() == 9.0
    z.backward()
    assert x.grad.tolist() == [2.0, 3.0]
    assert tga.einsum("i,i", y, np.array([1.0, 0.5])).dtype == "float64"
    assert tga.einsum("i,i", Tensor([True, True]), Tensor([True, False])).item() == 1


def test_a_matrix_product_is_one():
    """No detours where the operands already lie as the kernel reads them."""
    x, y = tga.ones(3, 4, requires_grad=True), tga.ones(4, 5, requires_grad=True)
    z = tga.einsum("ij,jk->ik", x, y)
    assert z.node.op is tga.matmul and z.node.parents == (x.node, y.node)
    assert tga.einsum("ij,ij->ij", x, x).node.op.name == "mul"


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool"])
def test_vectors(dtype):
    a, b = np.array([1, 0, 3]).astype(dtype), np.array([1, 1, 2]).astype(dtype)
    x, y = Tensor(a), Tensor(b)
    as_int = "int64" if dtype != "float32" else dtype
    assert x.dot(y).item() == a.astype(as_int) @ b.astype(as_int)
    assert x.outer(y).tolist() == np.outer(a.astype(as_int), b.astype(as_int)).tolist()
    c = np.arange(12).reshape(3, 4).astype(dtype)
    assert Tensor(c).trace().item() == np.trace(c.astype(as_int))
    assert Tensor(c).trace(1).item() == np.trace(c.astype(as_int), 1)
    assert Tensor(c).trace(7).item() == 0
