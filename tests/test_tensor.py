"""The surface of Tensor: data in and out, dtypes, operators, indexing, printing, creation."""

import gc
import math
import operator
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import BINARY, by_name, calls

import tinygrad_act as tga
from tinygrad_act import Tensor

DTYPES = ["float32", "float64", "int64", "bool", "uint8"]
in_every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def assert_is(x, expected, dtype=None):
    """x has the values, the shape and (unless given: NumPy's) dtype of a NumPy array."""
    expected = np.asarray(expected)
    assert isinstance(x, Tensor)
    assert x.shape == expected.shape
    assert x.dtype == (dtype or expected.dtype)
    np.testing.assert_array_equal(x.numpy(), expected)


# ---- data in --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (3, ()),
        (2.5, ()),
        ([1, 2, 3], (3,)),
        ((1.0, 2.0), (2,)),
        ([[1, 2, 3], [4, 5, 6]], (2, 3)),
        ([(1, 2), (3, 4)], (2, 2)),
        ([[[1]], [[2]]], (2, 1, 1)),
        ([], (0,)),
        ([[], []], (2, 0)),
        ([True, 2], (2,)),
        ([1, 2.5, False], (3,)),
    ],
)
def test_python_data_become_float32(data, shape):
    x = Tensor(data)
    assert x.shape == shape and x.dtype == tga.float32 and x.ndim == len(shape)
    assert x.size == math.prod(shape)
    np.testing.assert_array_equal(x.numpy(), np.array(data, "float32"))


def test_bools_stay_bools():
    assert_is(Tensor([True, False]), np.array([True, False]))
    assert_is(Tensor(True), np.array(True))


@in_every_dtype
def test_numpy_data_keep_their_dtype_and_are_copied(dtype):
    a = np.array([[1, 0, 1], [1, 1, 0]], dtype=dtype)
    x = Tensor(a)
    assert_is(x, a)
    a[0, 0] = 0
    assert x.tolist()[0][0] == 1
    assert_is(Tensor(a[1, 1]), a[1, 1])  # a NumPy scalar


@in_every_dtype
@pytest.mark.parametrize("source", DTYPES)
def test_dtype_can_be_given(source, dtype):
    a = np.array([0, 1, 3], dtype=source)
    for data in (a, a.tolist(), Tensor(a)):
        assert_is(Tensor(data, dtype=dtype), a.astype(dtype))


@pytest.mark.parametrize("layout", ["T", "[::-1]", "[::2, 1:]", "[1]", "expanded", "fortran"])
def test_numpy_data_in_any_layout(layout):
    a = np.arange(12.0).reshape(3, 4)
    a = {
        "T": a.T,
        "[::-1]": a[::-1, ::-1],
        "[::2, 1:]": a[::2, 1:],
        "[1]": a[1],
        "expanded": np.broadcast_to(a[:1], (5, 4)),
        "fortran": np.asfortranarray(a),
    }[layout]
    assert_is(Tensor(a), a)
    assert_is(tga.from_numpy(a), a)


def test_tensor_from_tensor_is_a_copy_outside_the_graph():
    x = Tensor([1.0, 2.0], requires_grad=True, dtype="float64")
    y = Tensor(x)
    assert y.dtype == "float64" and not y.requires_grad
    assert not np.shares_memory(x.numpy(), y.numpy())


def test_data_may_hold_numpy_scalars_and_tensors_of_one_element():
    x = Tensor([np.float32(1.5), np.int64(2), Tensor(3.5), 4])
    assert_is(x, np.array([1.5, 2, 3.5, 4], "float32"))


def test_numbers_beyond_float32_become_infinite():
    assert Tensor([1e300, -1e300, 3.4e38]).tolist()[:2] == [math.inf, -math.inf]
    assert math.isfinite(Tensor(3.4e38).item())


def test_integers_keep_all_their_bits():
    values = [2**63 - 1, -(2**63), 2**53 + 1]
    x = Tensor(values, dtype="int64")
    assert x.tolist() == values and x.numpy().tolist() == values
    assert tga.full((2,), 2**53 + 1, dtype="int64").tolist() == [2**53 + 1] * 2
    assert (Tensor([0], dtype="int64") + (2**53 + 1)).tolist() == [2**53 + 1]
    assert Tensor([0], dtype="int64").fill_(2**53 + 1).tolist() == [2**53 + 1]


# ---- data out -------------------------------------------------------------------------------


@in_every_dtype
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (0, 2), (2, 3), (1, 2, 2)])
def test_tolist_item_numpy(dtype, shape):
    a = (np.arange(math.prod(shape)).reshape(shape) % 2).astype(dtype)
    x = Tensor(a)
    assert x.tolist() == a.tolist() and x.numpy().dtype == a.dtype
    if a.size == 1:
        assert x.item() == a.item() and type(x.item()) is type(a.item())


def test_numpy_is_read_only_and_shares_memory():
    x = Tensor([1.0, 2.0, 3.0])
    a = x.numpy()
    assert not a.flags.writeable
    with pytest.raises(ValueError):
        a[0] = 5
    x.fill_(7.0)
    assert a.tolist() == [7.0, 7.0, 7.0]
    x.numpy(writable=True)[1] = 5
    assert x.tolist() == [7.0, 5.0, 7.0]


@pytest.mark.parametrize("size", [3, 100_000], ids=["small", "from the pool"])
def test_numpy_keeps_the_memory_alive(size):
    a = Tensor(np.arange(size, dtype="float32"))[::2].numpy()
    b = tga.arange(size, dtype="float32").reshape(1, -1).T.numpy()
    gc.collect()
    others = [tga.full((size,), math.nan) for _ in range(5)]  # would take freed memory
    assert a.tolist() == list(range(0, size, 2)) and b[:, 0].tolist() == list(range(size))
    del others


def test_numpy_of_a_view_has_its_strides():
    x = Tensor(np.arange(12.0).reshape(3, 4))
    for view in (lambda a: a.T, lambda a: a[::-1, ::2], lambda a: a[1], lambda a: a[None, 2:, 1]):
        assert view(x).numpy().tolist() == view(x.numpy()).tolist()
        assert np.shares_memory(view(x).numpy(), x.numpy())


def test_as_array_argument_of_numpy():
    x = Tensor([1.0, 2.0])
    assert np.asarray(x).tolist() == [1.0, 2.0] and np.asarray(x).dtype == "float32"
    assert np.array(x, dtype="float64").dtype == "float64"
    assert np.concatenate([x, x]).tolist() == [1.0, 2.0, 1.0, 2.0]
    np.testing.assert_allclose(x, [1.0, 2.0])


def test_python_numbers_from_one_element():
    assert float(Tensor([[2.5]])) == 2.5 and int(Tensor(2.9)) == 2
    assert bool(Tensor([0.0])) is False and bool(Tensor(3)) is True
    assert [10, 20, 30][Tensor(1, dtype="int64")] == 20
    assert list(range(5))[Tensor(1, dtype="int64") : Tensor(3, dtype="int64")] == [1, 2]


def test_len_and_iteration():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert len(x) == 2 and [row.tolist() for row in x] == [[1.0, 2.0], [3.0, 4.0]]
    first, second = x
    (first * second).sum().backward()
    assert x.grad.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert len(Tensor([])) == 0 and list(Tensor([])) == []


# ---- sharing memory with NumPy --------------------------------------------------------------


def test_from_numpy_shares_memory_both_ways():
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    x = tga.from_numpy(a)
    a[0, 1] = 9.0
    assert x.tolist() == [[1.0, 9.0], [3.0, 4.0]]
    x *= 2
    assert a.tolist() == [[2.0, 18.0], [6.0, 8.0]]
    tga.from_numpy(a[:, 1]).fill_(0.0)  # a view with steps
    assert a.tolist() == [[2.0, 0.0], [6.0, 0.0]] == x.tolist()


def test_from_numpy_keeps_the_array_alive():
    x = tga.from_numpy(np.arange(1000.0)[::-2])
    gc.collect()
    assert x.tolist() == list(np.arange(1000.0)[::-2])


def test_from_numpy_of_a_read_only_array_can_be_read():
    a = np.arange(3.0)
    a.flags.writeable = False
    x = tga.from_numpy(a)
    assert (x * 2).tolist() == [0.0, 2.0, 4.0]
    for write in (lambda: x.fill_(1.0), lambda: x.__iadd__(1.0), lambda: x[1:].fill_(1.0)):
        with pytest.raises(ValueError, match="read-only NumPy array; clone"):
            write()
    assert a.tolist() == [0.0, 1.0, 2.0]
    x.clone().fill_(1.0)


def test_from_numpy_collects_a_gradient():
    x = tga.from_numpy(np.array([1.0, 2.0]))
    x.requires_grad = True
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


# ---- dtypes ---------------------------------------------------------------------------------


@in_every_dtype
def test_dtypes_equal_those_of_numpy(dtype):
    ours = Tensor([1], dtype=dtype).dtype
    assert ours == np.dtype(dtype) and ours == getattr(np, dtype if dtype != "bool" else "bool_")
    assert ours == dtype and np.dtype(dtype) == ours and ours != "complex64"
    assert np.dtype(ours) == np.dtype(dtype) and np.zeros(2, ours).dtype == dtype
    assert repr(ours) == str(ours) == dtype and ours.itemsize == np.dtype(dtype).itemsize
    for name in (ours, dtype, np.dtype(dtype), np.dtype(dtype).type):
        assert Tensor([1], dtype=name).dtype is ours
        assert Tensor([1.0]).astype(name).dtype is ours
    others = [one for one in DTYPES if one != dtype]
    assert all(ours != one and ours != Tensor([1], dtype=one).dtype for one in others)


def test_pythons_types_name_dtypes():
    assert Tensor([1], dtype=float).dtype == "float32"
    assert Tensor([1], dtype=int).dtype == "int64" and Tensor([1], dtype=bool).dtype == "bool"


def test_dtypes_can_be_keys_and_pickled():
    import copy
    import pickle

    assert {tga.float32: 1}[tga.float32] == 1 and hash(tga.float32) != hash(tga.float64)
    assert pickle.loads(pickle.dumps(tga.float64)) is tga.float64
    assert copy.deepcopy(tga.int64) is tga.int64


@pytest.mark.parametrize(
    "dtype, advice",
    [
        *[(name, "astype") for name in ("float16", "int32", "int8", "uint64")],
        ("complex64", "take a.real and a.imag apart"),
        ("object", "these are no numbers"),
        ("U3", "these are no numbers"),
    ],
)
def test_other_dtypes_are_refused_with_what_to_write(dtype, advice):
    a = np.array([1, 2]).astype(dtype)
    for make in (Tensor, tga.from_numpy, lambda a: Tensor([1.0]) * a):
        with pytest.raises(TypeError, match=f"float32, float64, int64, bool, uint8.*{advice}"):
            make(a)


def test_foreign_byte_order_is_refused():
    with pytest.raises(TypeError, match="not native-endian"):
        Tensor(np.array([1.0, 2.0], dtype=">f8"))


@pytest.mark.parametrize("x", DTYPES)
@pytest.mark.parametrize("y", DTYPES)
@pytest.mark.parametrize("op", [operator.add, operator.mul, operator.sub])
def test_promotion(x, y, op):
    """Floats as NumPy's; an integer takes the float's dtype; integers meet in int64."""
    a, b = np.array([1, 0, 1]).astype(x), np.array([1, 1, 0]).astype(y)
    if "float" in x and "float" in y:
        expected = np.promote_types(x, y)
    elif "float" in x or "float" in y:
        expected = x if "float" in x else y
    else:
        expected = "int64"
    assert_is(op(Tensor(a), Tensor(b)), op(a.astype(expected), b.astype(expected)))
    assert_is(op(Tensor(a), b), op(a.astype(expected), b.astype(expected)))
    assert_is(op(a, Tensor(b)), op(a.astype(expected), b.astype(expected)))


@in_every_dtype
def test_python_numbers_are_weak(dtype):
    x = Tensor([1, 0], dtype=dtype)
    if x.dtype.is_float:
        for y in (x + 1, 1 + x, x * 2.5, 1.0 - x, x / 3, x**2, 2**x, x + True):
            assert y.dtype == dtype
    else:
        assert (x + 1).dtype == (1 * x).dtype == (x + True).dtype == "int64"
        assert (x + 1.5).dtype == (0.5 * x).dtype == "float32"
        assert (x + 1.5).tolist() == [2.5, 1.5]


def test_weak_numbers_are_rounded_once_to_the_tensors_dtype():
    assert (Tensor([1.0]) * 0.1).item() == float(np.float32(0.1))
    assert (Tensor([1.0], dtype="float64") * 0.1).item() == 0.1
    assert (Tensor([16777216.0]) + 1).item() == 16777216.0


def test_division_of_integers_gives_float32():
    for x, y in [(Tensor([1, 2], dtype="int64"), 2), (3, Tensor([2, 4], dtype="int64"))]:
        assert (x / y).dtype == "float32"
    assert (Tensor([7], dtype="int64") / Tensor([2], dtype="int64")).tolist() == [3.5]


def test_sign_and_absolute_value_of_integers():
    i = Tensor([-(2**53) - 1, 0, 7], dtype="int64")
    assert_is(-i, np.array([2**53 + 1, 0, -7]))
    assert_is(abs(i), np.array([2**53 + 1, 0, 7]))


def test_integer_arithmetic_is_exact_and_wraps_as_numpys():
    a = np.array([2**62, -(2**62), 2**53 + 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for op in (operator.add, operator.mul, operator.sub):
            assert_is(op(Tensor(a), Tensor(a)), op(a, a))
            assert_is(op(Tensor(a), 3), op(a, 3))
    assert_is(tga.maximum(Tensor(a), 5), np.maximum(a, 5))
    assert_is(tga.minimum(Tensor(a), Tensor(-a)), np.minimum(a, -a))


@in_every_dtype
@pytest.mark.parametrize("target", DTYPES)
def test_astype_converts_as_numpy(dtype, target):
    a = np.array([0, 1, 3, 200]).astype(dtype)
    x = Tensor(a)
    assert_is(x.astype(target), a.astype(target))
    assert_is(Tensor(a.reshape(2, 2)).T.astype(target), a.reshape(2, 2).T.astype(target))
    assert (x.astype(target) is x) == (dtype == target)


def test_astype_of_floats_cuts_off_towards_zero():
    x = Tensor([1.9, -1.9, 0.5, -0.0, 3e9])
    assert x.astype("int64").tolist() == [1, -1, 0, 0, 3_000_000_000]
    assert Tensor([0.5, -0.0, math.nan]).astype("bool").tolist() == [True, False, True]


def test_astype_lets_the_gradient_through_in_its_own_dtype():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x.astype("float64")
    (y * y).sum().backward()
    assert x.grad.dtype == "float32" and x.grad.tolist() == [2.0, 4.0]
    assert not x.astype("int64").requires_grad


def test_numbers_are_weak_in_functions_too():
    i, x = Tensor([2**53 + 1], dtype="int64"), Tensor([1.0], dtype="float64")
    assert tga.add(i, 1).tolist() == [2**53 + 2] and tga.eq(2**53, i).tolist() == [False]
    assert tga.where(i > 0, i, 0).tolist() == [2**53 + 1]
    assert tga.where(i > 0, 0.1, x).item() == tga.mul(0.1, x).item() == 0.1
    assert tga.where(i > 0, 0.1, x.numpy()).item() == 0.1
    assert tga.where(i > 0, 1, 0).dtype == "float32"
    assert tga.stack(i[0], 0.1, x[0]).tolist() == [float(2**53), 0.1, 1.0]


def test_numbers_that_compare_equal_are_told_apart():
    x = Tensor([1.0])
    for zero in (0.0, -0.0, 0.0, 0, False):  # constants may be kept from one call to the next
        assert math.copysign(1.0, (x * zero).item()) == math.copysign(1.0, zero)


def test_sum_of_bools_counts():
    x = Tensor([[True, False], [True, True]])
    assert_is(x.sum(), np.array(3))
    assert_is(x.sum(axis=0), np.array([2, 1]))
    assert_is((Tensor([1.0, -1.0]) > 0).astype("float32").mean(), np.float32(0.5))


# ---- operators ------------------------------------------------------------------------------

OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.pow,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.__name__)
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((3,), ()),
        ((2, 3), (3,)),
        ((2, 1), (1, 3)),
        ((2, 0), (1,)),
        ((1, 2, 1), (3, 1, 2)),
        ((), ()),
    ],
    ids=str,
)
def test_operators_broadcast_on_either_side_with_tensors_arrays_and_numbers(op, x, y):
    a = np.linspace(0.5, 2.0, math.prod(x)).reshape(x)
    b = np.linspace(2.0, 0.5, math.prod(y)).reshape(y)
    for first, second in [(a, b), (b, a)]:
        expected = op(first, second)
        for p, q in [
            (Tensor(first), Tensor(second)),
            (Tensor(first), second),
            (first, Tensor(second)),
        ]:
            got = op(p, q)
            assert isinstance(got, Tensor) and got.shape == expected.shape
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got.numpy(), expected, rtol=4e-16)
        if second.shape == ():
            number = float(second)
            np.testing.assert_allclose(op(Tensor(first), number).numpy(), expected, rtol=4e-16)
            np.testing.assert_allclose(
                op(number, Tensor(first)).numpy(), op(second, first), rtol=4e-16
            )


def test_unary_operators():
    x = Tensor([-1.5, 2.0])
    assert (-x).tolist() == [1.5, -2.0] and abs(x).tolist() == [1.5, 2.0]
    assert (x.T @ x).item() == 6.25


@pytest.mark.parametrize("other", [np.float64(2.0), np.float32(2.0), np.int64(2), np.array(2.0)])
def test_numpy_scalars_are_operands(other):
    for y in (Tensor([1.0, 3.0]) * other, other * Tensor([1.0, 3.0])):
        assert isinstance(y, Tensor) and y.tolist() == [2.0, 6.0]


def test_matmul_with_numpy_on_either_side():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    for y in (Tensor(a) @ b, a @ Tensor(b), Tensor(a) @ Tensor(b), tga.matmul(a, Tensor(b))):
        assert_is(y, a @ b)


def test_numpy_times_tensor_is_differentiable():
    x = Tensor([1.0, 2.0], requires_grad=True, dtype="float64")
    (np.array([3.0, 4.0]) * x).sum().backward()
    assert x.grad.tolist() == [3.0, 4.0]
    y = np.eye(2) @ x
    assert isinstance(y, Tensor) and y.requires_grad


def test_augmented_assignment_to_a_numpy_array_does_not_make_an_object_array():
    a = np.array([1.0, 2.0])
    with pytest.raises(TypeError, match="cannot be written to an array"):
        a += Tensor([1.0, 1.0])
    assert a.tolist() == [1.0, 2.0]


def test_comparisons_give_bools_without_gradient():
    x = Tensor([1.0, 2.0, math.nan], requires_grad=True)
    for y in (x > 1.5, x == x, x != 2.0, 1.5 < x, x <= Tensor([1.0, 1.0, 1.0])):
        assert y.dtype == "bool" and not y.requires_grad
    assert (x == x).tolist() == [True, True, False] and (x != x).tolist() == [False, False, True]
    assert (Tensor([2**53 + 1], dtype="int64") == Tensor([2**53], dtype="int64")).tolist() == [
        False
    ]
    assert (Tensor([1, 2], dtype="int64") < 1.5).tolist() == [True, False]


def test_hash_is_by_identity():
    x, y = Tensor([1.0]), Tensor([1.0])
    assert {x: 1}[x] == 1 and y not in {x: 1}


@pytest.mark.parametrize("op", BINARY, ids=by_name)
@given(data=st.data())
def test_method_operator_and_function_are_the_same(op, data):
    call = data.draw(calls(op))
    x, y = [Tensor(a) for a in call.inputs]
    expected = op(x, y).numpy().tobytes()
    symbol = {"div": "truediv"}.get(op.name, op.name)
    forms = [getattr(x, f"__{symbol}__", None), getattr(x, op.name, None)]
    reflected = getattr(y, f"__r{symbol}__", None)
    assert any(forms)
    for form in filter(None, forms):
        assert form(y).numpy().tobytes() == expected
    if reflected is not None:
        assert reflected(x).numpy().tobytes() == expected


# ---- in place -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv"])
@pytest.mark.parametrize("shape", [(2, 3), (3,), (1, 1), ()], ids=str)
@pytest.mark.parametrize("kind", ["tensor", "numpy", "transposed target"])
def test_in_place_operators(name, shape, kind):
    op, in_place = getattr(operator, name), getattr(operator, f"i{name}")
    a, b = np.arange(1.0, 7.0).reshape(2, 3), np.linspace(1, 2, math.prod(shape)).reshape(shape)
    x = Tensor(a.T.copy()).T if kind == "transposed target" else Tensor(a)
    y = b if kind == "numpy" else Tensor(b)
    before = x
    assert in_place(x, y) is before
    np.testing.assert_array_equal(x.numpy(), op(a, b))
    x = Tensor(a)
    assert in_place(x, 2).tolist() == op(a, 2).tolist()


def test_in_place_keeps_the_dtype():
    x = Tensor([1.0, 2.0])
    x += Tensor([0.5, 0.5], dtype="float64")
    x *= 2
    assert_is(x, np.array([3.0, 5.0], "float32"))
    i = Tensor([1, 2], dtype="int64")
    i += 3
    i *= True
    assert_is(i, np.array([4, 5]))
    u = Tensor([250, 3], dtype="uint8")
    u += Tensor([10, 10], dtype="uint8")
    u += 1
    assert_is(u, np.array([5, 14], "uint8"))


def test_in_place_with_itself_and_with_its_own_views():
    x = Tensor(np.arange(6.0))
    x += x
    assert x.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    x += x[::-1]  # reads what it writes: as if copied first
    assert x.tolist() == [10.0] * 6
    for n in (6, 1000):  # also when longer than what a kernel has read before it writes
        for x in (Tensor(np.arange(float(n))), tga.from_numpy(np.arange(float(n)))):
            x[1:] -= x[:-1]
            assert x.tolist() == [0.0] + [1.0] * (n - 1)
        a = np.arange(float(n))
        first, rest = tga.from_numpy(a[:-1]), tga.from_numpy(a[1:])
        rest += first
        assert a.tolist() == [0.0, *range(1, 2 * n - 1, 2)]
        rest.copy_(first)
        assert a.tolist() == [0.0, 0.0, *range(1, 2 * n - 3, 2)]
    m = Tensor(np.arange(4.0).reshape(2, 2))
    m.copy_(m.T)
    assert m.tolist() == [[0.0, 2.0], [1.0, 3.0]]


def test_copy_and_fill():
    x = Tensor(np.zeros((2, 3)))
    assert x.copy_(Tensor([1, 2, 3], dtype="int64")) is x
    assert x.tolist() == [[1.0, 2.0, 3.0]] * 2
    assert x.copy_(np.array([[7.0], [8.0]])).tolist() == [[7.0] * 3, [8.0] * 3]
    assert x.fill_(5).tolist() == [[5.0] * 3] * 2
    assert x.T[1:].fill_(0.5).shape == (2, 2) and x.tolist() == [[5.0, 0.5, 0.5]] * 2


def test_assignment_to_elements():
    x = Tensor(np.zeros((3, 3)))
    x[0] = 1
    x[:, 2] = np.array([5.0, 6.0, 7.0])
    x[1, 1] = Tensor(9.0)
    x[2, ::-1] = Tensor([1.0, 2.0, 3.0])
    assert x.tolist() == [[1.0, 1.0, 5.0], [0.0, 9.0, 6.0], [3.0, 2.0, 1.0]]


# ---- indexing -------------------------------------------------------------------------------

small_int = st.integers(-4, 4)
slices = st.builds(
    slice,
    st.none() | small_int,
    st.none() | small_int,
    st.none() | st.sampled_from([1, 2, 3, -1, -2, -5]),
)
indices = st.one_of(
    st.lists(st.one_of(st.integers(-2, 1), slices, st.none()), max_size=4).map(tuple),
    st.tuples(st.just(Ellipsis), st.integers(-2, 1)),
    st.tuples(slices, st.just(Ellipsis), slices),
    slices,
    st.just(Ellipsis),
)


@given(index=indices, shape=st.sampled_from([(2, 3, 4), (3, 2), (5,), (2, 0, 3), (2, 2, 2)]))
def test_indexing_is_numpys(index, shape):
    a = np.arange(float(math.prod(shape))).reshape(shape)
    x = Tensor(a, requires_grad=True)
    try:
        expected = a[index]
    except IndexError:
        with pytest.raises(IndexError, match="getitem"):
            x[index]
        return
    y = x[index]
    assert_is(y, expected)
    if expected.size:
        assert np.shares_memory(y.numpy(), x.numpy())  # a view
    weights = np.arange(1.0, 1.0 + expected.size).reshape(expected.shape)
    y.backward(Tensor(weights))
    expected_grad = np.zeros(shape)
    expected_grad[index] = weights
    np.testing.assert_array_equal(x.grad.numpy(), expected_grad)


@pytest.mark.parametrize("index", [np.int64(1), Tensor(1, dtype="int64")], ids=["NumPy", "Tensor"])
def test_index_may_be_any_integer(index):
    assert Tensor([1.0, 2.0, 3.0])[index].item() == 2.0


# ---- shapes ---------------------------------------------------------------------------------


def test_shapes_may_be_given_spread_or_as_a_tuple():
    x = Tensor(np.arange(6.0))
    assert x.reshape(2, 3).shape == x.reshape((2, 3)).shape == x.reshape([2, -1]).shape == (2, 3)
    y = x.reshape(1, 2, 3)
    assert y.permute(2, 0, 1).shape == y.permute((2, 0, 1)).shape == (3, 1, 2)
    assert y.expand(4, -1, 3).shape == (4, 2, 3) == y.expand((4, 2, 3)).shape


def test_transposes():
    a = np.arange(24.0).reshape(2, 3, 4)
    x = Tensor(a)
    assert_is(x.T, a.T)
    assert_is(x.transpose(), np.swapaxes(a, -2, -1))
    assert_is(x.transpose(0, 2), np.swapaxes(a, 0, 2))
    assert_is(Tensor(2.0).T, np.array(2.0, "float32"))
    assert np.shares_memory(x.T.numpy(), x.numpy())


def test_squeeze_and_unsqueeze():
    x = Tensor(np.zeros((1, 2, 1)))
    assert x.squeeze().shape == (2,) and x.squeeze(0).shape == (2, 1)
    assert x.squeeze(-1).shape == (1, 2) and x.squeeze((0, 2)).shape == (2,)
    assert x.unsqueeze().shape == (1, 1, 2, 1) and x.unsqueeze(-1).shape == (1, 2, 1, 1)


def test_concat_and_stack_take_lists_and_arguments():
    a, b = np.arange(6.0).reshape(2, 3), np.ones((1, 3))
    x, y = Tensor(a), Tensor(b)
    assert_is(tga.concat(x, y), np.concatenate([a, b]))
    assert_is(tga.concat([x, y, x], axis=-2), np.concatenate([a, b, a]))
    assert_is(tga.stack([x, x], axis=-1), np.stack([a, a], axis=-1))
    assert_is(tga.stack(x, x), np.stack([a, a]))
    mixed = tga.concat(Tensor([1.0]), Tensor([2.0], dtype="float64"), Tensor([3], dtype="int64"))
    assert_is(mixed, np.array([1.0, 2.0, 3.0]))


@given(data=st.data())
def test_reshape_of_any_layout(data):
    from strategies import lay_out, layouts, shapes

    shape = data.draw(shapes(most=24))
    a = np.arange(float(math.prod(shape))).reshape(shape)
    x = lay_out(Tensor(a), data.draw(layouts))
    size = a.size
    for target in [
        (-1,),
        (size,),
        (1, size),
        (size, 1),
        *[(n, -1) for n in range(1, 7) if size % n == 0],
    ]:
        if size or -1 not in target:
            assert_is(x.reshape(target), a.reshape(target))


# ---- what a tensor says of itself -----------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Tensor([1.0, 2.5]), "Tensor([1. , 2.5], dtype=float32)"),
        (lambda: Tensor(3), "Tensor(3., dtype=float32)"),
        (lambda: Tensor([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]], dtype=float32)"),
        (lambda: Tensor([], dtype="float64"), "Tensor([], dtype=float64)"),
        (lambda: Tensor([True]), "Tensor([ True], dtype=bool)"),
        (lambda: Tensor([1, 2], dtype="int64"), "Tensor([1, 2], dtype=int64)"),
        (lambda: Tensor(1, requires_grad=True), "Tensor(1., dtype=float32, requires_grad=True)"),
        (lambda: Tensor(1, True).exp() * 0, "Tensor(0., dtype=float32, op=mul)"),
        (lambda: Tensor(1, True).detach(), "Tensor(1., dtype=float32)"),
    ],
)
def test_printing(make, expected):
    assert repr(make()) == str(make()) == expected


def test_printing_of_large_tensors_is_short():
    assert "..." in repr(tga.zeros(100, 100)) and len(repr(tga.zeros(100, 100))) < 1000


# ---- requires_grad --------------------------------------------------------------------------


def test_requires_grad_can_be_switched_on_leaves():
    x = Tensor([1.0])
    assert not x.requires_grad and x.grad is None
    x.requires_grad = True
    x.requires_grad = True  # again: nothing is lost
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0]
    x.requires_grad = False
    assert not (x * 2).requires_grad and x.grad is None


def test_grad_can_be_set():
    x = Tensor([1.0, 2.0], requires_grad=True)
    x.grad = Tensor([10.0, 10.0])
    (x * x).sum().backward()
    assert x.grad.tolist() == [12.0, 14.0]
    x.grad = None
    assert x.grad is None


def test_clone_has_memory_of_its_own_and_passes_the_gradient():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x.clone()
    assert not np.shares_memory(x.numpy(), y.numpy()) and y.requires_grad
    (y * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


# ---- creation -------------------------------------------------------------------------------


def test_constants():
    assert_is(tga.zeros(2, 3), np.zeros((2, 3), "float32"))
    assert_is(tga.ones((2,), dtype="int64"), np.ones(2, "int64"))
    assert_is(tga.zeros(), np.zeros((), "float32"))
    assert_is(tga.full((2, 0), 3.0), np.full((2, 0), 3.0, "float32"))
    assert_is(tga.full((2,), True, dtype=bool), np.array([True, True]))
    assert_is(tga.eye(3, dtype="float64"), np.eye(3))
    assert_is(tga.eye(0), np.eye(0, dtype="float32"))
    x = Tensor([[1, 2]], dtype="int64")
    assert_is(tga.zeros_like(x), np.zeros((1, 2), "int64"))
    assert_is(tga.ones_like(x, dtype="float64"), np.ones((1, 2)))
    assert_is(tga.full_like(x, 7), np.full((1, 2), 7))
    assert tga.zeros(2, requires_grad=True).requires_grad


@pytest.mark.parametrize("kind", [bool, np.bool_, np.array])
def test_requires_grad_of_any_bool(kind):
    x = Tensor([1.0], requires_grad=kind(True))
    assert x.requires_grad is True
    x.requires_grad = kind(False)
    assert x.requires_grad is False and not tga.zeros(2, requires_grad=kind(False)).requires_grad


@pytest.mark.parametrize(
    "arguments",
    [
        (5,),
        (0,),
        (-3,),
        (2, 7),
        (7, 2),
        (2, 9, 3),
        (9, 2, -3),
        (2, 3, 5),
        (0, 1, 0.25),
        (1.0, 0.0, -0.3),
    ],
    ids=str,
)
def test_arange_is_numpys(arguments):
    expected = np.arange(*arguments)
    dtype = "int64" if expected.dtype == "int64" else "float32"
    x = tga.arange(*arguments)
    assert x.dtype == dtype and x.shape == expected.shape
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-6, atol=1e-7)
    double = tga.arange(*arguments, dtype="float64")
    assert double.dtype == "float64"
    np.testing.assert_allclose(double.numpy(), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("make", [tga.rand, tga.randn, tga.uniform], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_numbers_follow_the_seed(make, dtype):
    tga.manual_seed(1)
    x, y = make(100, 3, dtype=dtype), make(100, 3, dtype=dtype)
    assert x.shape == (100, 3) and x.dtype == dtype
    assert x.tolist() != y.tolist(), "the stream goes on"
    tga.manual_seed(1)
    assert make((100, 3), dtype=dtype).tolist() == x.tolist()
    tga.manual_seed(2)
    assert make(100, 3, dtype=dtype).tolist() != x.tolist()
    assert make(0).shape == (0,) and make().shape == ()
    assert make(2, requires_grad=True).requires_grad


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions(dtype):
    """Mean and variance within five standard errors, and the range; the seed is fixed."""
    tga.manual_seed(3)
    n = 40_000
    for x, mean, variance in [
        (tga.rand(n, dtype=dtype), 0.5, 1 / 12),
        (tga.uniform(n, low=-3.0, high=1.0, dtype=dtype), -1.0, 16 / 12),
        (tga.randn(n, dtype=dtype), 0.0, 1.0),
    ]:
        a = x.numpy().astype("float64")
        assert abs(a.mean() - mean) <= 5 * math.sqrt(variance / n)
        fourth = np.mean((a - mean) ** 4)
        assert abs(a.var() - variance) <= 5 * math.sqrt((fourth - variance**2) / n)
    a = tga.uniform(n, low=-3.0, high=1.0, dtype=dtype).numpy()
    assert -3.0 <= a.min() and a.max() < 1.0


def test_uniform_never_reaches_its_upper_end():
    tga.manual_seed(4)
    a = tga.uniform(200_000, low=1.0, high=1.0 + 2.0**-22).numpy()
    assert set(a.tolist()) <= {1.0, 1.0 + 2.0**-23}


def test_from_pool_memory_is_reused_without_mixing_up_values():
    """Large buffers come from a pool; a live one is never handed out again."""
    live = [tga.full((50_000,), float(i)) for i in range(4)]
    for _ in range(20):
        tga.full((50_000,), -1.0)
    assert [x.numpy().min() == x.numpy().max() == i for i, x in enumerate(live)] == [True] * 4
