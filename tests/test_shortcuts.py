"""The shortcuts of csrc/array.c: the same bits as the long way, to which they leave the rest."""

import gc
import weakref
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_act as tga
from tinygrad_act import Tensor, array, kernels
from tinygrad_act.dtype import DTYPES, float32, float64, int64
from tinygrad_act.formula import REGISTRY
from tinygrad_act.op import Binary, Elementwise

lib = kernels.lib
SIDES = st.integers(0, 6)
UNARY = [name for name, op in REGISTRY.items() if isinstance(op, Elementwise)]
BINARY = [name for name, op in REGISTRY.items() if isinstance(op, Binary) and not op.compares]


def both_ways(function):
    """Whatever `function` returns, with the shortcuts and without; lists of Tensors."""
    found = []
    for way in (nullcontext(), kernels.no_shortcuts()):
        with way:
            found.append([None if y is None else y.numpy().copy() for y in function()])
    return found


def assert_same_bits(function):
    short, long = both_ways(function)
    for a, b in zip(short, long, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def numbers(rng, shape, dtype):
    return Tensor(rng.uniform(0.1, 0.9, shape), dtype=dtype)


def forward_and_backward(function, *inputs, wanted=None):
    """The result and the gradients of the inputs; those not `wanted` need none."""

    def run():
        leaves = [Tensor(x) for x in inputs]
        for i, x in enumerate(leaves):
            x.requires_grad = wanted is None or wanted[i]
        y = function(*leaves)
        if y.requires_grad:
            y.backward(tga.full_like(y, 0.75))
        return [y, *[x.grad for x in leaves]]

    return run


@given(st.sampled_from(UNARY), st.lists(SIDES, max_size=3), st.sampled_from(["float32", "float64"]))
def test_unary(name, shape, dtype):
    x = numbers(np.random.default_rng(1), shape, dtype)
    assert_same_bits(forward_and_backward(REGISTRY[name], x))
    assert_same_bits(forward_and_backward(lambda x: REGISTRY[name](x.T), x))


@given(
    st.sampled_from(BINARY),
    st.lists(SIDES, max_size=3),
    st.sampled_from(["same", "x is a number", "y is a number", "y is a row"]),
    st.sampled_from(["float32", "float64"]),
)
def test_binary(name, shape, kind, dtype):
    rng = np.random.default_rng(1)
    x = numbers(rng, () if kind == "x is a number" else shape, dtype)
    y = numbers(rng, () if kind == "y is a number" else shape[kind == "y is a row" :], dtype)
    assert_same_bits(forward_and_backward(REGISTRY[name], x, y))


WANTED = st.tuples(st.booleans(), st.booleans(), st.booleans())


@given(SIDES, SIDES, SIDES, st.sampled_from(["float32", "float64"]), st.booleans(), WANTED)
def test_matrices(m, n, k, dtype, turned, wanted):
    rng = np.random.default_rng(1)
    x, w, b = [numbers(rng, shape, dtype) for shape in [(m, k), (n, k), (n,)]]
    assert_same_bits(forward_and_backward(tga.linear, x, w, b, wanted=wanted))
    v = numbers(rng, (n, k) if turned else (k, n), dtype)
    product = (lambda x, v: x @ v.T) if turned else (lambda x, v: x @ v)
    assert_same_bits(forward_and_backward(product, x, v, wanted=wanted[:2]))


def test_large_ones_run_without_the_lock():
    rng = np.random.default_rng(1)
    x, y = numbers(rng, (130, 150), "float32"), numbers(rng, (130, 150), "float32")
    assert_same_bits(forward_and_backward(lambda x, y: (x * y).tanh() @ y.T, x, y))
    b = numbers(rng, (130,), "float32")
    assert_same_bits(forward_and_backward(lambda x, y, b: x.linear(y, b), x, y, b))


def test_a_sum_of_many_uses():
    """From the third use on, the gradients are added in place."""

    def function(x):
        return sum([x * i for i in range(2, 8)], start=x.expand(2, 3, 3).sum(axis=0))

    x = numbers(np.random.default_rng(1), (3, 3), "float32")
    assert_same_bits(forward_and_backward(function, x))
    (_, gradient), _ = both_ways(forward_and_backward(function, x))
    assert (gradient == 0.75 * (2 + sum(range(2, 8)))).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_matrix_is_multiplied_where_it_lies(dtype):
    """Transposed, part of a larger one, a row or column; what has other gaps is declined."""
    large = numbers(np.random.default_rng(2), (9, 8), dtype).detach()
    kinds = [lambda x: x, lambda x: x.T, lambda x: x[2:7, 1:6], lambda x: x[2:7, 1:6].T]
    kinds += [lambda x: x[3:4, 1:5], lambda x: x[1:5, 3:4], lambda x: x[1:5, 3:4].T]
    for left in kinds:
        for right in kinds:
            x, w = left(large), right(large)
            if x.shape[1] == w.shape[0]:
                assert_same_bits(lambda x=x, w=w: [x @ w])
    assert lib.quick_matmul(large[:, ::2].array, large[:4].array) is None
    assert lib.quick_matmul(large[:4, ::-1].array, large[:8].array) is None


DECLINED = {
    "turned": lambda a: a((2, 3)).T,
    "integers": lambda a: Tensor([[1, 2], [3, 4]], dtype="int64"),
    "a tensor, not its array": None,
}


@pytest.mark.parametrize("kind", DECLINED)
def test_what_is_not_plain_is_declined(kind):
    def make(shape):
        return numbers(np.random.default_rng(1), shape, "float32")

    x = make((3, 2)) if DECLINED[kind] is None else DECLINED[kind](make).array
    y, row = make((3, 2)).array, REGISTRY["tanh"].row
    assert lib.quick_unary(row, x) is None
    assert lib.quick_unary_backward(row, y, x) is lib.quick_unary_backward(row, x, y) is None
    assert lib.quick_binary(REGISTRY["add"].row, x, y) is None
    assert lib.quick_binary(REGISTRY["add"].row, y, x) is None
    assert lib.quick_add_to(REGISTRY["add"].row, y, x) is None
    if kind != "turned":  # which the product reads where it lies
        assert lib.quick_matmul(x, make((2, 2)).array) is None
        assert lib.quick_matmul(make((2, 3)).array, x) is None
    assert lib.quick_linear(x, make((2, 2)).array, make((2,)).array) is None
    assert lib.quick_linear_backward(x, y, make((2, 2)).array, (2,), (1, 1, 1)) is None
    assert lib.quick_matmul_backward(x, y, make((2, 2)).array, (1, 1)) is None


def test_two_dtypes_or_shapes_are_declined():
    x, y = [numbers(np.random.default_rng(1), (3, 2), one).array for one in ("float32", "float64")]
    z = numbers(np.random.default_rng(1), (2, 3), "float32").array
    for other in (y, z):
        assert lib.quick_binary(REGISTRY["add"].row, x, other) is None
    assert lib.quick_matmul(x, x) is lib.quick_matmul(y, z) is None
    assert lib.quick_unary_backward(REGISTRY["tanh"].row, x, y) is None
    assert lib.quick_unary(-1, x) is None, "no row of that op"
    assert lib.quick_unary(10**6, x) is None, "no such row"
    b = numbers(np.random.default_rng(1), (3,), "float32").array
    assert lib.quick_linear(x, x, b) is not None
    assert lib.quick_linear(x, z, b) is lib.quick_linear(x, x, x) is None
    assert lib.quick_linear(x, y, b) is None


def test_wrong_use_raises():
    x = array.empty((2,), float32, 2)
    names = [name for name in vars(lib) if name.startswith(("array_", "quick_"))]
    assert len(names) >= 11
    for name in names:
        with pytest.raises(TypeError, match=f"{name}: .* arguments"):
            getattr(lib, name)(*[x] * 20)
    with pytest.raises(TypeError, match="not a DType"):
        lib.array_empty((2,), "float32", 2)
    with pytest.raises(TypeError, match="not an Array"):
        lib.array_view(Tensor([1.0]), (1,), None, 1, 0)
    with pytest.raises(TypeError):
        lib.array_empty((2,), float32, "2")
    with pytest.raises(TypeError):
        array.Array()


def test_no_shortcuts_is_undone():
    before = dict(vars(lib))
    with pytest.raises(KeyError), kernels.no_shortcuts():
        assert lib.quick_unary(0, None) is None
        raise KeyError
    assert vars(lib) == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 5, 1 << 17])
def test_memory_of_ours(dtype, size):
    x = array.empty((size,), dtype, size)
    assert (x.shape, x.strides, x.dtype, x.size) == ((size,), None, dtype, size)
    assert len(memoryview(x.memory)) == size * dtype.itemsize
    assert x.memory.owner is None and x.memory.version == 0
    assert x.address == x.memory.address == kernels.number_of(x.data) and x.data is x.data


def test_memory_goes_with_the_last_that_holds_it():
    x = array.empty((4,), float64, 4)
    memory = weakref.ref(x.memory)
    view, pointer = array.reshape(x, (2, 2)), x.data
    part = array.index_view(view, (1,))
    assert part.memory is view.memory is x.memory and part.address == x.address + 16
    gc.disable()  # by counting references alone
    try:
        del x, view
        assert memory() is not None
        del part
        assert memory() is not None, "a pointer to the beginning keeps it, too"
        del pointer
        assert memory() is None
    finally:
        gc.enable()


def test_memory_of_another():
    a = np.arange(6.0)[::-1]
    x = tga.from_numpy(a).array
    assert x.memory.owner is a and x.strides == (-1,) and array.to_list(x) == [5, 4, 3, 2, 1, 0]
    assert x.memory.version == 0
    holder = weakref.ref(x.memory)
    view = array.index_view(x, (slice(2, 4),))
    del x
    assert array.to_list(view) == [3, 2]
    del view
    assert holder() is None
    a.flags.writeable = False
    frozen = tga.from_numpy(a).array
    assert frozen.memory.version == -1 and memoryview(frozen.memory).readonly


def test_an_array_cannot_be_changed_into_another():
    x = array.empty((2,), int64, 2)
    for name in ("shape", "strides", "dtype", "size", "memory", "data"):
        with pytest.raises(AttributeError):
            setattr(x, name, getattr(x, name))
