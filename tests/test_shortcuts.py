"""csrc/shortcuts.c and eager.c: the same bits as the long way, to which they leave the rest."""

import gc
import signal
import sys
import threading
import time
import weakref
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_act as tga
from tinygrad_act import Tensor, array, graph, kernels
from tinygrad_act.dtype import DTYPES, float32, float64, int64
from tinygrad_act.formula import REGISTRY
from tinygrad_act.op import Binary, Elementwise

lib = kernels.lib
SIDES = st.integers(0, 6)
ROWS = ["softmax", "log_softmax", "softmin", "glu", "maxout"]
UNARY = [name for name, op in REGISTRY.items() if isinstance(op, Elementwise)]
BINARY = [name for name, op in REGISTRY.items() if isinstance(op, Binary) and not op.compares]

LAYOUTS = {
    "in order": lambda x: x,
    "turned": lambda x: x.T,
    "backwards": lambda x: x[::-1] if x.ndim else x,
}
LENGTHS = st.lists(st.integers(0, 3), max_size=4)


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


def test_an_op_of_more_attributes_than_a_row_has():
    op = Elementwise(  # not in the registry
        "parabola",
        f=lambda x, a, b, c: a * x * x + b * x + c,
        df=lambda x, a, b, c: 2 * a * x + b,
        attrs={"a": 1.0, "b": 2.0, "c": 3.0},
    )
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = op(x)
    y.sum().backward()
    assert y.tolist() == [6.0, 11.0] and x.grad.tolist() == [4.0, 6.0]
    assert op(x, c=0.0).tolist() == [3.0, 8.0]


@pytest.mark.parametrize("name", ROWS)
@given(
    shape=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    axis=st.integers(-3, 2),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_rows(name, shape, axis, dtype):
    op, axis = REGISTRY[name], axis % len(shape)
    if name == "maxout":
        shape, attrs = [*shape[:-1], 6 * shape[-1]], {"pieces": 1 + axis}
    else:
        shape, attrs = [*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]], {"axis": axis}
    x = numbers(np.random.default_rng(1), shape, dtype)
    assert_same_bits(forward_and_backward(lambda x: op(x, **attrs), x))
    assert_same_bits(forward_and_backward(lambda x: op(x[::-1], **attrs), x))
    if "axis" in attrs and axis == len(shape) - 1:
        assert_same_bits(forward_and_backward(lambda x: op(x, axis=-1), x))


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "amax", "amin", "prod"])
@given(
    st.lists(st.integers(0, 9), max_size=3),
    st.permutations(range(3)),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
)
def test_reductions(name, shape, order, count, keepdims, dtype):
    op, x = REGISTRY[name], numbers(np.random.default_rng(1), shape, dtype)
    if name not in ("sum", "mean"):
        shape = [n or 1 for n in shape]
        x = numbers(np.random.default_rng(1), shape, dtype)
    axes = tuple(axis - len(shape) * (axis % 2) for axis in order[:count] if axis < len(shape))
    for axis in (None, axes, *axes[:1]):
        attrs = {"axis": axis, "keepdims": keepdims}
        assert_same_bits(forward_and_backward(lambda x, attrs=attrs: op(x, **attrs), x))
        assert_same_bits(forward_and_backward(lambda x, attrs=attrs: op(x.T, **attrs) * 2, x))


def test_wrong_axes_raise():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    for axis in (2, -3, 10**30):
        with pytest.raises(ValueError, match=f"sum: axis {axis} does not exist"):
            x.sum(axis=axis)
    with pytest.raises(ValueError, match="names an axis twice"):
        x.sum(axis=(0, -2))
    with pytest.raises(TypeError, match="axis must be an integer, not True"):
        x.sum(axis=True)
    assert x.sum(axis=np.int64(0)).tolist() == [4.0, 6.0]


PLAIN = st.one_of(st.floats(width=32), st.floats(), st.integers(-(2**64), 2**64), st.booleans())


def nested(items):
    return st.one_of(st.lists(items, max_size=3), st.lists(items, max_size=3).map(tuple))


@given(
    st.one_of(PLAIN, nested(PLAIN), nested(nested(PLAIN)), nested(st.one_of(PLAIN, nested(PLAIN)))),
    st.sampled_from([None, *DTYPES]),
)
def test_nested_lists(data, dtype):
    found = []
    for way in (nullcontext(), kernels.no_shortcuts()):
        with way:
            try:
                x = Tensor(data, dtype=dtype)
                found.append((x.shape, x.dtype, x.numpy().tobytes()))
            except (ValueError, TypeError, OverflowError) as error:
                found.append(repr(error))
    assert found[0] == found[1]


def test_rectangles_of_numbers_are_plain():
    for data in (2, 2.5, [1, 2.0], [[1.0, 2.0], (3, 4)], [[[1.5]]]):
        assert lib.quick_list(data, float32) is not None
    assert lib.quick_list([[1, 2], [3, 4]], int64).shape == (2, 2)
    for data in ([], [[]], [1.0, [2.0]], [[1.0], 2.0], [[1.0], [1.0, 2.0]], [True], ["1"], [1e39]):
        assert lib.quick_list(data, float32) is None
    assert lib.quick_list([1.0], int64) is lib.quick_list([2**63], int64) is None


@given(LENGTHS, st.sampled_from(list(LAYOUTS)), st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_lists_and_copies_of_arrays(shape, layout, dtype, other):
    values = np.random.default_rng(1).integers(0, 2, shape)
    x = LAYOUTS[layout](Tensor(values, dtype=dtype))
    lists = []
    for way in (nullcontext(), kernels.no_shortcuts()):
        with way:
            lists.append(repr(x.tolist()))
    assert lists[0] == lists[1] == repr(x.numpy().tolist())
    assert_same_bits(lambda: [x.clone(), Tensor(x, dtype=other)])


@given(LENGTHS, st.sampled_from([0.0, -0.0, 1.5, float("nan"), 1e300]), st.sampled_from(DTYPES[:2]))
def test_constants(shape, value, dtype):
    assert_same_bits(lambda: [tga.full(tuple(shape), value, dtype), tga.zeros(*shape, dtype=dtype)])


def test_wrong_shapes_of_constants_raise():
    for shape, error in (((-1,), ValueError), ((1.0,), TypeError), ((1 << 62,), ValueError)):
        with pytest.raises(error):
            tga.zeros(shape)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.data())
def test_joining(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    rng = np.random.default_rng(1)
    lengths = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    dtypes = data.draw(st.sampled_from([["float32"], ["float64"], ["float32", "float64"]]))
    parts = []
    for k, n in enumerate(lengths):
        own = [n if i == axis % len(shape) else length for i, length in enumerate(shape)]
        parts.append(numbers(rng, own, dtypes[k % len(dtypes)]))
    assert_same_bits(forward_and_backward(lambda *xs: tga.concat(xs, axis=axis), *parts))
    alike = [numbers(rng, shape, dtypes[0]) for _ in lengths]
    for place in (axis, len(shape)):
        assert_same_bits(forward_and_backward(lambda *xs, p=place: tga.stack(xs, axis=p), *alike))
    assert_same_bits(forward_and_backward(lambda *xs: tga.stack([x.T for x in xs]), *alike))


def assert_same_view(function, x):
    """A shortcut's view of x is the one that Python would make; or both raise the same error."""
    found = []
    for way in (nullcontext(), kernels.no_shortcuts()):
        with way:
            try:
                found.append(function(x).array)
            except (ValueError, IndexError, TypeError) as error:
                found.append(repr(error))
    short, long = found
    if isinstance(long, str):
        assert short == long
        return
    assert (short.shape, short.strides, short.size) == (long.shape, long.strides, long.size)
    assert short.dtype is long.dtype is x.dtype
    if short.memory is x.array.memory or long.memory is x.array.memory:
        assert short.memory is long.memory and short.address == long.address


INDEX_ITEMS = st.one_of(
    st.integers(-4, 4),
    st.slices(4),
    st.sampled_from([None, Ellipsis, True, np.int64(1), slice(1, None), slice(None, "1")]),
)
VIEWS = st.one_of(
    st.tuples(st.just("getitem"), st.one_of(INDEX_ITEMS, st.lists(INDEX_ITEMS).map(tuple))),
    st.tuples(
        st.just("reshape"), st.one_of(st.integers(-2, 9), st.lists(st.integers(-2, 9)).map(tuple))
    ),
    st.tuples(st.just("expand"), st.lists(st.integers(-2, 3)).map(tuple)),
    st.tuples(st.just("unsqueeze"), st.one_of(st.integers(-6, 5), st.sampled_from([True, None]))),
    st.tuples(st.just("squeeze"), st.one_of(st.integers(-5, 4), st.sampled_from([None, (0,)]))),
)


@given(LENGTHS, st.sampled_from(list(LAYOUTS)), st.sampled_from(DTYPES), VIEWS)
def test_views(shape, layout, dtype, view):
    name, given_attr = view
    (attr,) = REGISTRY[name].attrs
    x = LAYOUTS[layout](Tensor(np.random.default_rng(1).integers(0, 2, shape), dtype=dtype))
    assert_same_view(lambda x: REGISTRY[name](x, **{attr: given_attr}), x)


def test_one_row_lies_in_order():
    """Whatever the stride along an axis of length 1 is, the shortcuts serve the view."""
    x = Tensor(np.random.default_rng(1).random((4, 3)))
    for function in (
        lambda x: x[1:2],
        lambda x: x[:, 1:2][2:3],
        lambda x: x[None, 1, None],
        lambda x: x[3:4].expand(1, 1, 3),
        lambda x: x[::-1][:1],
        lambda x: x[1:2].unsqueeze(1).permute((1, 0, 2)),
        lambda x: x[:, :1].permute((1, 0))[:, 2:3],
    ):
        assert_same_view(function, x)
        assert function(x).array.strides is None
        assert lib.quick_unary(REGISTRY["tanh"].row, function(x).array) is not None
    assert x[:, 1:2].array.strides == (3, 1)


@given(LENGTHS, st.sampled_from(list(LAYOUTS)), st.data())
def test_views_and_their_gradients(shape, layout, data):
    lengths = [n or 1 for n in shape]
    size = int(np.prod(lengths))
    x = numbers(np.random.default_rng(1), lengths, "float32")
    seen = LAYOUTS[layout](x).shape  # which may be in another order
    parts = [st.one_of(st.integers(-n, n - 1), st.slices(n)) for n in seen]
    index = data.draw(st.tuples(*parts[: data.draw(st.integers(0, len(parts)))]))
    axis = data.draw(st.integers(0, len(lengths)))
    for function in (
        lambda x: x[index],
        lambda x: x[(*index, None, ...)],
        lambda x: x.reshape(-1) * 2,
        lambda x: x.reshape(1, size, 1).T,
        lambda x: x.unsqueeze(axis).squeeze(axis),
        lambda x: x.squeeze() * 2,
        lambda x: x.expand(2, *x.shape),
    ):
        laid_out = LAYOUTS[layout]
        assert_same_bits(forward_and_backward(lambda x, f=function, g=laid_out: f(g(x)), x))


COMPARISONS = [name for name, op in REGISTRY.items() if isinstance(op, Binary) and op.compares]


@given(
    st.lists(st.integers(1, 3), max_size=3),
    st.lists(st.lists(st.booleans(), max_size=3), min_size=3, max_size=3),
    st.sampled_from(list(LAYOUTS)),
    st.sampled_from(["float32", "float64"]),
)
def test_what_meets_by_broadcasting(shape, stretched, layout, dtype):
    """Each operand lacks axes of the result at the front, or has length 1 there."""
    rng = np.random.default_rng(1)
    parts = []
    for ones in stretched:
        lengths = shape[len(shape) - len(ones) :] if len(ones) <= len(shape) else shape
        parts.append([1 if one else n for n, one in zip(lengths, ones)])
    x, y, z = [LAYOUTS[layout](numbers(rng, part, dtype)) for part in parts]
    condition = z > 0.5
    for name in ("add", "div", "maximum"):
        assert_same_bits(forward_and_backward(lambda x, y, f=REGISTRY[name]: f(x, y), x, y))
    for name in COMPARISONS:
        assert_same_bits(lambda f=REGISTRY[name]: [f(x, y), f(x, 0.5), f(0.5, x)])
    choose = tga.where
    assert_same_bits(forward_and_backward(lambda x, y: choose(condition, x, y), x, y))
    assert_same_bits(forward_and_backward(lambda x: choose(condition, x, 0.25), x))
    assert_same_bits(forward_and_backward(lambda x: choose(condition, 0.25, x), x))


def test_a_comparison_is_not_recorded():
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert not (x > 1.5).requires_grad and (x > 1.5).tolist() == [False, True]


def test_what_does_not_meet_raises():
    x, y = numbers(np.random.default_rng(1), (2, 3), "float32"), Tensor([1.0, 2.0])
    for function in (tga.add, tga.lt, lambda x, y: tga.where(x > 0, x, y)):
        with pytest.raises(ValueError, match="do not broadcast"):
            function(x, y)
    with pytest.raises(TypeError, match="the condition must be bool"):
        tga.where(x, x, x)


def test_attributes_of_a_call():
    """Given by name or by place, in whatever order, they stand in the order of the record."""
    x = Tensor([-3.0, 0.5, 3.0])
    for call in (
        lambda: [tga.hardtanh(x, max_val=2.0, min_val=-2.0), tga.hardtanh(x, -2.0, 2.0)],
        lambda: [tga.leaky_relu(x, slope=0.5), tga.leaky_relu(x, 0.5), tga.leaky_relu(x)],
        lambda: [tga.sum(x, keepdims=True), tga.sum(x, axis=0), tga.softmax(x, axis=0)],
    ):
        assert_same_bits(call)
    assert tga.hardtanh(x, max_val=2.0, min_val=-1.0).tolist() == [-1.0, 0.5, 2.0]
    with pytest.raises(TypeError, match="leaky_relu: there is no attribute 'alpha'"):
        tga.leaky_relu(x, alpha=0.5)
    with pytest.raises(TypeError, match="sum: there is no attribute 'dim'; it is called 'axis'"):
        tga.sum(x, dim=0)
    leaky_relu = tga.leaky_relu
    for inputs, attrs in (((x, 0.5), {}), ((), {}), ((x,), {"alpha": 1.0}), ([x], {})):
        shortcut, defaults = leaky_relu.shortcut, leaky_relu.defaults
        assert lib.quick_call(shortcut, leaky_relu, defaults, inputs, attrs) is None
    assert leaky_relu.defaults == {"slope": 0.01}


@given(st.permutations(range(4)), st.integers(0, 4), st.lists(st.integers(0, 3), min_size=4))
def test_permuted_axes(axes, ndim, shape):
    axes = [axis for axis in axes if axis < ndim]
    x = numbers(np.random.default_rng(1), shape[:ndim], "float32")
    assert_same_bits(forward_and_backward(lambda x: x.permute(*axes), x))
    assert_same_bits(forward_and_backward(lambda x: x.T.permute(axes).T * 2, x))
    views = []
    for way in (nullcontext(), kernels.no_shortcuts()):
        with way:
            views.append(x.permute(axes).array)
    short, long = views
    assert (short.shape, short.strides, short.size) == (long.shape, long.strides, long.size)
    assert short.memory is long.memory is x.array.memory and short.address == long.address


def test_axes_that_are_no_permutation_are_declined():
    x, permute = Tensor([[1.0, 2.0], [3.0, 4.0]]), REGISTRY["permute"]
    for axes in (None, (0,), (0, 0), (1, 1), (0, 2), (0, -1), [1, 0], (True, 0), (0, 10**30)):
        assert lib.quick_apply(permute.shortcut, permute, {"axes": axes}, x) is None
        assert lib.quick_permute_backward(0, x.array, x.array, axes) is None


@given(
    st.lists(st.integers(0, 3), max_size=3),
    st.lists(st.integers(0, 3), max_size=2),
    st.sampled_from(DTYPES),
    st.integers(0, 5),
)
def test_rows_by_index(shape, places, dtype, seed):
    rng = np.random.default_rng(seed)
    x = Tensor(rng.integers(0, 2, [4, *shape]), dtype=dtype)
    index = Tensor(rng.integers(-4, 4, places), dtype="int64")
    assert_same_bits(lambda: [x[index], x[::-1][index], x.take(index, axis=0)])
    if dtype.is_float:
        assert_same_bits(forward_and_backward(lambda x: x[index] * x.take(index, axis=0), x))


def test_rows_by_a_wrong_index():
    x, index = Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([1, 2], dtype="int64")
    with pytest.raises(IndexError, match="getitem: index 2 is out of range for axis 0 of size 2"):
        x[index]


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_many(dtype):
    x = numbers(np.random.default_rng(1), (3, 41, 257), dtype)
    for op in (tga.sum, tga.mean):
        assert_same_bits(forward_and_backward(op, x))


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


# ---- whole graphs: csrc/eager.c -------------------------------------------------------------

STEPS = {
    "tanh": lambda x, y, w, b: x.tanh(),
    "neg, which saves nothing": lambda x, y, w, b: -x,
    "of two attributes": lambda x, y, w, b: x.clamp(0.25, 0.75),
    "add": lambda x, y, w, b: x + y,
    "mul": lambda x, y, w, b: x * y,
    "a number": lambda x, y, w, b: 2 * x,
    "matmul": lambda x, y, w, b: x @ w,
    "turned matmul": lambda x, y, w, b: x.T @ w.T,
    "linear": lambda x, y, w, b: x.linear(w, b),
    "a constant": lambda x, y, w, b: x * y.detach(),
    "a view": lambda x, y, w, b: x.T,
    "a row": lambda x, y, w, b: x + y[1],
    "no shortcut": lambda x, y, w, b: x.softmax(),
    "written to since": lambda x, y, w, b: x.detach().clone().fill_(0.5) * y,
}


def grown(steps, w, b):
    """A value made by steps, each of which takes any two of the earlier ones."""
    values = [w, w * 0.5]
    for kind, i, j in steps:
        values.append(STEPS[kind](values[i % len(values)], values[j % len(values)], w, b))
    return values[-1]


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(["sum", "given", "twice", "added", "grad"]),
)
def test_graphs(steps, dtype, kind):
    rng = np.random.default_rng(1)
    start = [numbers(rng, shape, dtype) for shape in [(3, 3), (3,)]]

    def run():
        w, b = [Tensor(x, requires_grad=True) for x in start]
        y = grown(steps, w, b)
        if not y.requires_grad:
            return [y]
        if kind == "given":
            y.backward(tga.full_like(y, 0.75))
        elif kind == "grad":
            half = w * 0.5
            y = grown(steps, half, b) + half  # its own derivative is among those wanted
            wanted = [y, half, b, w, half]
            return [y, *tga.grad(y, wanted, tga.full_like(y, 0.75))]
        else:
            total = y.sum()
            total.backward(retain_graph=kind == "twice")
            if kind == "twice":
                total.backward()
            elif kind == "added":
                grown(steps, w, b).sum().backward()
        return [y, w.grad, b.grad]

    assert_same_bits(run)


def test_what_is_written_down():
    """The Nodes are those of the long way."""
    x, w = [Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=kind) for kind in (True, False)]
    b = Tensor([1.0, 2.0], requires_grad=True)

    def seen(value):
        return value.shape if type(value) is array.Array else ("shape", value)

    for make in (
        lambda: x.tanh(),
        lambda: x.leaky_relu(0.5),
        lambda: x.clamp(max=2.0),
        lambda: x * w,
        lambda: w @ x,
        lambda: x.linear(w, b),
    ):
        nodes = []
        for way in (nullcontext(), kernels.no_shortcuts()):
            with way:
                y = make()
                assert type(y) is Tensor and type(y.node) is graph.Node
                assert y.node.saved[0] is y.array or y.node.saved[0] == y.shape
                nodes.append(y.node)
        short, long = nodes
        assert (short.op, short.parents, short.attrs) == (long.op, long.parents, long.attrs)
        assert short.time == long.time == array.writes
        assert [*map(seen, short.saved)] == [*map(seen, long.saved)]
    assert w.tanh().node is None
    with tga.no_grad():
        assert x.tanh().node is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("number", [0.1, -0.0, 3, True, 2**70, 1e39, -1e308, float("nan"), 1e-320])
def test_a_number_meets_a_tensor(number, dtype):
    """Rounded as by the long way; beyond float32 it becomes infinite."""
    rng = np.random.default_rng(1)
    x = numbers(rng, (2, 3), dtype)
    for name in ("add", "sub", "mul", "div", "pow", "maximum"):
        op = REGISTRY[name]
        assert_same_bits(forward_and_backward(lambda x, op=op: op(x, number), x))
        assert_same_bits(forward_and_backward(lambda x, op=op: op(number, x), x))
        z = op(x.array, number)  # as rules of calculus do
        assert array.to_numpy(z).tobytes() == op(x, number).numpy().tobytes()


def test_each_thread_records_or_not():
    x = Tensor([1.0, 2.0], requires_grad=True)
    seen = []

    def look():
        seen.append(x.tanh().node is not None)

    def look_in_another_thread(turned_off):
        def run():
            look()
            with tga.no_grad() if turned_off else nullcontext():
                look()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    look()
    look_in_another_thread(True)
    look()
    with tga.no_grad():
        look_in_another_thread(False)
        look()
    look()
    assert seen == [True, True, False, True, True, True, False, True]


def test_a_tensor_may_lose_its_node_while_a_kernel_runs():
    """To another thread; what is written down is what went into the kernel."""
    x = Tensor(np.ones((700, 700)), requires_grad=True)
    before, begun = weakref.ref(x.node), threading.Event()

    def lose():
        begun.wait()
        time.sleep(0.002)
        x.requires_grad = False

    thread = threading.Thread(target=lose)
    thread.start()
    begun.set()
    y = x @ x
    thread.join()
    assert y.node is None or y.node.parents == (before(), before()) != (None, None)


@pytest.mark.parametrize("way", [nullcontext, kernels.no_shortcuts])
def test_what_two_threads_bring_to_a_leaf_adds_up(way):
    x = Tensor(np.ones(300_000), dtype="float32", requires_grad=True)

    def run():
        for _ in range(100):
            (2 * x).backward(tga.full_like(x, 1.0))

    threads = [threading.Thread(target=run) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with way():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert (x.grad.numpy() == 400).all()


@pytest.mark.parametrize("way", [nullcontext, kernels.no_shortcuts])
def test_backward_can_be_interrupted(way, monkeypatch):
    """As by Ctrl-C; no leaf has a part of its gradient then."""

    def interrupt(*_):
        raise KeyboardInterrupt

    def begin(*args):
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        return backward(*args)

    backward = REGISTRY["clone"].backward
    monkeypatch.setattr(REGISTRY["clone"], "backward", begin)
    x = y = Tensor(np.ones(200_000), requires_grad=True)
    for _ in range(100):
        y = y.tanh()
    y = y.clone().sum()
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        with way(), pytest.raises(KeyboardInterrupt):
            y.backward()
            time.sleep(1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert x.grad is None
    with pytest.raises(RuntimeError, match="was freed"):
        y.backward()


def test_gradients_share_no_memory():
    """Of a sum both terms get the gradient of the result: the seed itself."""
    x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    seed = tga.full_like(x, 1.0)
    for way in (nullcontext(), kernels.no_shortcuts()):
        with way:
            x.grad = y.grad = None
            (x + y).backward(seed)
            assert len({one.array.memory for one in (x.grad, y.grad, seed)}) == 3
            assert x.grad.tolist() == y.grad.tolist() == [1.0, 1.0]


def test_gradients_handed_out_share_no_memory():
    x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    for way in (nullcontext(), kernels.no_shortcuts()):
        with way:
            z = x + y
            seed = tga.full_like(z, 1.0)
            found = [seed, *tga.grad(z, [z, x, y, z], seed)]
            assert len({one.array.memory for one in found}) == 5
            assert {tuple(one.tolist()) for one in found} == {(1.0, 1.0)}
            assert x.grad is None and y.grad is None


def test_memory_goes_with_backward():
    gc.disable()  # by counting references alone
    try:
        x = Tensor([1.0, 2.0], requires_grad=True)
        y = x.exp()
        z = (y * y).sum()
        kept = [weakref.ref(y.node.saved[0].memory), weakref.ref(y.node), weakref.ref(y)]
        del y
        assert kept[2]() is None and kept[0]() is not None
        z.backward()
        assert kept[0]() is None and kept[1]() is not None
        del z
        assert kept[1]() is None
    finally:
        gc.enable()


def test_backward_by_shortcut_leaves_errors_to_the_long_way():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    for wrong in (None, Tensor([1.0]), Tensor([1.0, 2.0], dtype="float64"), [1.0, 2.0], "1"):
        assert lib.quick_backward(y, wrong, False, None) is None
    for leaf in (x, x.detach()):
        assert lib.quick_backward(leaf, None, False, None) is None
    y.backward(y)
    assert lib.quick_backward(y, y.detach(), False, None) is None, "freed"
    y = x.exp().tanh()
    with tga.no_grad():
        y.fill_(0.5)
    with pytest.raises(RuntimeError, match="tanh .* was written to in place"):
        lib.quick_backward(y, y.detach(), False, None)


def test_a_node_of_an_op_that_is_no_record():
    """Anything with a name and `backward` can stand in a Node."""

    class Twice:
        name = "twice"

        def backward(self, parents, gy, saved, attrs):
            return (gy + gy,)

    def run():
        x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([2.0, 4.0])
        y.node = graph.Node(Twice(), (x.node,), (y.array, x.shape), {}, array.writes)
        y.exp().sum().backward()
        return [x.grad]

    assert_same_bits(run)


def test_an_op_without_shortcut_is_declined():
    x = Tensor([1.0, 2.0], requires_grad=True)
    tanh, clamp = REGISTRY["tanh"], REGISTRY["clamp"]
    assert lib.quick_apply(REGISTRY["cumsum"].shortcut, REGISTRY["cumsum"], {}, x) is None
    assert lib.quick_apply(tanh.shortcut, tanh, {}, x) is not None
    assert type(lib.quick_apply(tanh.shortcut, tanh, {}, x.array)) is array.Array
    assert lib.quick_apply(tanh.shortcut, tanh, {}, 0.5) is None
    add = REGISTRY["add"]
    for wrong in ("1", None, [1.0], True, 10**400, np.float32(1)):
        assert lib.quick_apply(add.shortcut, add, {}, x, wrong) is None
    assert lib.quick_apply(add.shortcut, add, {}, 1, 1.0) is None
    assert lib.quick_apply(add.shortcut, add, {}, x.astype("int64"), 1.0) is None
    assert lib.quick_apply(tanh.shortcut, tanh, {}, x, x) is None
    assert lib.quick_apply(tanh.shortcut, tanh, None, x) is None
    for attrs in ({"min": None, "max": 1.0}, {"min": "0", "max": 1.0}, dict.fromkeys("abc", 1.0)):
        assert lib.quick_apply(clamp.shortcut, clamp, attrs, x) is None
    for wrong in (("unarily", 0, (True, True), 0), ("unary", 0, (True,), 0)):
        with pytest.raises(ValueError, match="shortcut_of"):
            lib.shortcut_of(*wrong)


# ---- what is declined -----------------------------------------------------------------------

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
    if kind != "turned":  # which is walked along its strides
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
    names = [name for name in vars(lib) if name.startswith(("array_", "quick_", "shortcut_"))]
    assert len(names) >= 14
    few = {"quick_apply": 2, "quick_unary": 1, "quick_unary_backward": 2}  # they take any more
    for name in names:
        with pytest.raises(TypeError, match=f"{name}: .* arguments"):
            getattr(lib, name)(*[x] * few.get(name, 20))
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
