"""Tensors among others: NumPy's functions, DLPack, copies and pickles, notebooks."""

import copy
import gc
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
from strategies import leaf

import tinygrad_act as tga
from tinygrad_act import Tensor, grad, interoperability, nn

A = np.array([[0.25, 0.5, 0.75], [0.125, 0.625, 0.375]])

UFUNCS = {name: f for name, f in vars(np).items() if isinstance(f, np.ufunc) and f.nout == 1}
FUNCTIONS = {  # those of the package itself that dispatch on their arguments
    name: f
    for name, f in vars(np).items()
    if callable(f) and hasattr(f, "_implementation") and not name.startswith("_")
}


def attempt(function, *args, **kwargs):
    """What a call returns; its exception, if that is a TypeError."""
    try:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)
    except TypeError as error:
        return error


# ---- NumPy's universal functions ------------------------------------------------------------


@pytest.mark.parametrize("name", UFUNCS)
def test_a_ufunc_is_the_op_of_the_same_meaning_or_a_type_error(name):
    ufunc = UFUNCS[name]
    arrays = [A] if ufunc.nin == 1 else [A, A[::-1] + 0.0625]
    if name in ("matmul", "vecmat"):
        arrays[1] = arrays[1].T
    expected = attempt(ufunc, *arrays)
    leaves = list(map(leaf, arrays))
    y = attempt(ufunc, *leaves)
    if isinstance(y, TypeError):
        if "needs bool" not in str(y):  # as the logical ones do
            assert f"np.{ufunc.__name__}" in str(y) and ".numpy()" in str(y)
        return
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-14)
    assert type(y) is Tensor and y.requires_grad == y.dtype.is_float
    if ufunc.nin == 2:  # with an array on either side, or a number
        for mixed in ([leaves[0], arrays[1]], [arrays[0], leaves[1]]):
            y = ufunc(*mixed)
            assert type(y) is Tensor
            np.testing.assert_allclose(y.numpy(), expected, rtol=1e-14)


def test_most_ufuncs_are_there():
    named = {"tanh", "exp", "add", "subtract", "multiply", "divide", "power", "maximum", "matmul"}
    named |= {"sqrt", "log", "negative", "absolute", "sign", "square", "greater_equal", "equal"}
    for name in named:
        arguments = [leaf(A)] * UFUNCS[name].nin
        if name == "matmul":
            arguments[1] = arguments[1].T
        assert type(UFUNCS[name](*arguments)) is Tensor, name


@pytest.mark.parametrize(
    "operator",
    ["__add__", "__sub__", "__mul__", "__truediv__", "__pow__", "__matmul__", "__lt__", "__eq__"],
)
def test_operators_of_arrays_make_tensors(operator):
    other = A.T if operator == "__matmul__" else A + 0.5
    x = leaf(other)
    y = getattr(A, operator)(x)
    assert type(y) is Tensor
    np.testing.assert_allclose(y.numpy(), getattr(A, operator)(other), rtol=1e-14)
    scalar = np.float32(2.0)
    assert type(scalar * x) is Tensor and (scalar * x).dtype == "float64"


def test_gradients_flow_through_numpy():
    x = leaf(A)
    y = np.tanh(np.add(np.concatenate([x, A]), 1) * A[0]).sum()
    (g,) = grad(y, x)
    np.testing.assert_allclose(g.numpy(), A[0] / np.cosh((A + 1) * A[0]) ** 2, rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: np.add(x, 1, out=A.copy()), ["np.add", "cannot be written to an array"]),
        (lambda x: np.add(x, 1, where=A > 0), ["np.add", "where"]),
        (lambda x: np.add.reduce(x), ["np.add.reduce", ".numpy()"]),
        (lambda x: np.multiply.outer(x, x), ["np.multiply.outer"]),
        (lambda x: np.add(x, [1, 2, 3]), ["add", "[1, 2, 3]"]),
        (lambda x: np.add(x, np.array([1, "a"], dtype=object)[:1]), ["object"]),
        (lambda x: A.copy().__iadd__(x), ["np.add", "array"]),
        (lambda x: np.sum(x, dtype="float32"), ["np.sum", "dtype"]),
        (lambda x: np.mean(x, out=A), ["np.mean", "out"]),
        (lambda x: np.linalg.svd(x), ["np.linalg.svd", ".numpy()"]),
        (lambda x: np.fft.fft(x), ["np.fft.fft", ".numpy()"]),
        (lambda x: np.dot(x[None], x), ["np.dot", "einsum"]),
        (lambda x: np.round(x, 2), ["np.round", "decimals"]),
        (lambda x: np.clip(x, A, 1.0), ["clamp", "numbers"]),
    ],
)
def test_what_numpy_cannot_do_with_tensors(call, words):
    with pytest.raises(TypeError) as raised:
        call(leaf(A))
    for word in words:
        assert word in str(raised.value), str(raised.value)


# ---- NumPy's other functions ----------------------------------------------------------------

OTHER_ARGUMENTS = {  # besides, or instead of, one array
    "concatenate": lambda x: ([x, A],),
    "stack": lambda x: ([x, A],),
    "where": lambda x: (A > 0.4, x, A),
    "reshape": lambda x: (x, (3, 2)),
    "swapaxes": lambda x: (x, 0, -1),
    "expand_dims": lambda x: (x, 1),
    "broadcast_to": lambda x: (x, (4, 2, 3)),
    "dot": lambda x: (x, A.T),
    "clip": lambda x: (x, 0.2, 0.5),
    "roll": lambda x: (x, 2),
    "tile": lambda x: (x, (2, 1)),
    "repeat": lambda x: (x, 2),
    "moveaxis": lambda x: (x, 0, 1),
    "take": lambda x: (x, np.array([1, 0])),
    "outer": lambda x: (x[0], A[1]),
    "einsum": lambda x: ("ij,kj->ik", x, A),
    "full_like": lambda x: (x, 3.0),
}


@pytest.mark.parametrize("name", interoperability.FUNCTIONS)
def test_a_function_is_the_op_of_the_same_meaning(name):
    function = FUNCTIONS[name]
    arguments = OTHER_ARGUMENTS.get(name, lambda x: (x,))
    y, expected = function(*arguments(leaf(A))), function(*arguments(A))
    if name in ("shape", "ndim", "size"):
        assert y == expected
        return
    assert type(y) is Tensor and y.dtype == expected.dtype
    assert y.requires_grad == (y.dtype.is_float and not name.endswith("_like"))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-14)
    if name == "einsum":
        return
    allowed = inspect.signature(function).parameters
    for parameter in inspect.signature(interoperability.FUNCTIONS[name]).parameters:
        assert parameter in allowed, "a name of ours"
    if "axis" in allowed and name not in ("squeeze", "expand_dims"):
        y, expected = [function(*arguments(x), axis=1) for x in (leaf(A), A)]
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-14)
    if "keepdims" in allowed:
        y, expected = [function(*arguments(x), axis=1, keepdims=True) for x in (leaf(A), A)]
        assert y.shape == expected.shape


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_makes_an_array_of_objects(name):
    """Of a tensor alone, and of two: a result without objects, or an exception."""
    if name.startswith("save"):
        return  # would write files
    for arguments in ([leaf(A)], [leaf(A), leaf(A)], [[leaf(A), leaf(A)]]):
        try:
            y = FUNCTIONS[name](*arguments)
        except Exception as error:
            assert str(error)
        else:
            assert getattr(getattr(y, "dtype", None), "kind", "f") != "O"


def test_questions_about_values_have_answers():
    x = leaf(A)
    assert np.allclose(x, A) and np.array_equal(A, x) and not np.array_equal(x, A + 1)
    assert np.shares_memory(x, x.numpy()) and not np.shares_memory(x, A)
    assert np.array2string(x) == np.array2string(A)
    np.testing.assert_allclose(x, A)
    assert np.asarray(x).dtype == np.float64 and np.array([x, x]).shape == (2, 2, 3)


# ---- DLPack ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("layout", [lambda x: x, lambda x: x.T, lambda x: x[1:, ::2]])
def test_dlpack_shares_memory_both_ways(dtype, layout):
    x = layout(Tensor(np.arange(12).reshape(3, 4) % 2, dtype=dtype))
    assert x.__dlpack_device__() == (1, 0)
    a = np.from_dlpack(x)
    assert a.shape == x.shape and a.dtype == dtype and np.shares_memory(a, x.numpy())
    y = tga.from_dlpack(x)
    assert np.shares_memory(y.numpy(), a) and y.dtype == dtype
    np.testing.assert_array_equal(y.numpy(), x.numpy())


def test_dlpack_keeps_memory_alive():
    a = np.from_dlpack(Tensor(np.arange(1e5)))
    y = tga.from_dlpack(np.arange(1e5))
    gc.collect()
    others = [tga.zeros(100_000, dtype="float64") for _ in range(3)]
    assert np.array_equal(a, np.arange(1e5)) and np.array_equal(y, a) and others


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: np.from_dlpack(leaf(A)), BufferError, "detach"),
        (lambda: Tensor(A).__dlpack__(stream=1), BufferError, "streams"),
        (lambda: tga.from_dlpack(A.tolist()), TypeError, "from_dlpack.*__dlpack__"),
        (lambda: tga.from_dlpack(A.astype("float16")), TypeError, "float16"),
        (lambda: tga.from_dlpack(A.astype("complex64")), TypeError, "complex64"),
        (lambda: tga.from_dlpack(A.astype(">f8")), TypeError, "from_dlpack"),
    ],
)
def test_what_dlpack_cannot_carry(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_read_only_memory_stays_so():
    a = A.copy()
    a.flags.writeable = False
    x = tga.from_numpy(a)
    with pytest.raises((BufferError, ValueError), match="read.?only"):
        np.from_dlpack(x)[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        x.fill_(1.0)
    assert np.array_equal(a, A)


def test_pytorch_takes_and_gives():
    torch = pytest.importorskip("torch")
    x = Tensor(A)
    t = torch.from_dlpack(x)
    t += 1
    np.testing.assert_array_equal(x.numpy(), A + 1)
    y = tga.from_dlpack(t)
    y *= 2.0
    np.testing.assert_array_equal(t.numpy(), 2 * A + 2)
    with pytest.raises(TypeError, match="from_dlpack"):
        tga.from_dlpack(torch.ones(3, dtype=torch.bfloat16))


# ---- copy and pickle ------------------------------------------------------------------------

WAYS = {
    "deepcopy": copy.deepcopy,
    **{f"pickle {p}": lambda x, p=p: pickle.loads(pickle.dumps(x, p)) for p in (2, 4, 5)},
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@every_way
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_copies_of_tensors(way, dtype):
    for x in (Tensor(A * 10, dtype=dtype), Tensor(A, dtype=dtype).T, tga.zeros(2, 0), Tensor(1.5)):
        y = way(x)
        assert type(y) is Tensor and y.dtype is x.dtype and y.shape == x.shape
        assert y.numpy().tobytes() == x.numpy().tobytes() and not y.requires_grad
        assert not np.shares_memory(x.numpy(), y.numpy())


@every_way
def test_copies_of_leaves_have_gradients_of_their_own(way):
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    y = way(x)
    assert y.requires_grad and y.grad.tolist() == [2.0, 4.0]
    (y * 3).sum().backward()
    assert y.grad.tolist() == [5.0, 7.0] and x.grad.tolist() == [2.0, 4.0]
    for z in (x * 2, x.T):
        with pytest.raises(RuntimeError, match=r"detach\(\)"):
            way(z)


def test_a_shallow_copy_is_the_same_value():
    x = leaf([1.0, 2.0]) * 2
    y = copy.copy(x)
    assert y is not x and y.node is x.node and np.shares_memory(x.numpy(), y.numpy())


@every_way
def test_copies_of_modules(way):
    tga.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(2, 3), "tanh", nn.Linear(3, 3), nn.LeakyReLU(0.2), "softmax", nn.Linear(3, 1)
    )
    x = Tensor([[1.0, -2.0]])
    other = way(net)
    assert repr(other) == repr(net)
    assert other(x).numpy().tobytes() == net(x).numpy().tobytes()
    assert [type(p) for p in other.parameters()] == [nn.Parameter] * 6
    tga.optim.SGD(other.parameters(), lr=0.1).zero_grad()
    other(x).sum().backward()
    assert all(p.grad is None for p in net.parameters())
    assert all(p.grad is not None for p in other.parameters())


def test_what_is_shared_stays_shared():
    first = nn.Linear(2, 2)
    tied = {"a": first.weight, "b": [first.weight, first]}
    for way in WAYS.values():
        other = way(tied)
        assert other["a"] is other["b"][0] is other["b"][1].weight is not first.weight


def test_ops_are_pickled_by_name():
    assert pickle.loads(pickle.dumps(tga.softmax)) is tga.softmax
    assert copy.deepcopy(tga.tanh) is tga.tanh
    content = pickle.dumps(tga.tanh).replace(b"tanh", b"tang")
    with pytest.raises(ValueError, match="'tang'.*declare"):
        pickle.loads(content)


def test_a_pickle_is_read_in_another_process():
    content = pickle.dumps({"x": leaf(A)})
    code = f"import pickle; print(pickle.loads({content!r})['x'].sum().item())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert float(result.stdout) == A.sum(), result.stderr


# ---- notebooks ------------------------------------------------------------------------------


def test_tables_of_notebooks():
    x = leaf([[1.0, 1 / 3], [0.0, -2e-9]])
    html = x._repr_html_()
    assert html.count("<tr>") == 2 and html.count("<td>") == 4
    assert "<td>0.3333</td>" in html and "<td>-2e-09</td>" in html
    assert "Tensor (2, 2), float64, requires_grad" in html
    assert "op=mul" in (x * 2)._repr_html_()
    big = tga.zeros(100, 30)._repr_html_()
    assert big.count("<tr>") == 21 and big.count("…") == 20
    assert "True" in (Tensor([1.0]) > 0)._repr_html_()
    for other in (Tensor(1.0), tga.zeros(2, 2, 2), tga.zeros(0, 2)):
        assert other._repr_html_().startswith("<pre>Tensor(")
