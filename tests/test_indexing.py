"""Indexing by arrays, as NumPy's; and the kernels under it: bounds, threads, memory."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import CODES, GuardedPage, in_child, pointer, same_bits, threads
from strategies import lay_out, layouts

import tinygrad_act as tga
from tinygrad_act import Tensor, kernels

lib = kernels.lib
DTYPES = ["float32", "float64", "int64", "bool", "uint8"]
GRAIN = 32768  # more elements are worth a second thread


# ---- any index, against NumPy ---------------------------------------------------------------


@st.composite
def shapes_and_indices(draw):
    """A shape, and an index of arrays, masks, integers, slices, None and Ellipsis for it."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 3, 0]), min_size=1, max_size=4)))
    meeting = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 0]), max_size=2)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = ["array", "array", "array", "mask", "integer", "slice", "slice", "none", "bool"]
    items, axis = [], 0
    while axis < len(shape) and draw(st.integers(0, 9)):
        kind, n = draw(st.sampled_from(kinds)), shape[axis]
        if kind == "none":
            items.append(None)
            continue
        if kind == "bool":
            items.append(draw(st.booleans()))
            continue
        if kind == "mask":
            end = draw(st.integers(axis + 1, len(shape)))
            items.append(rng.random(shape[axis:end]) < 0.5)
            axis = end
            continue
        if kind == "slice" or n == 0:
            bounds = [draw(st.none() | st.integers(-3, 3)) for _ in range(2)]
            items.append(slice(*bounds, draw(st.sampled_from([None, 1, 2, -1]))))
        elif kind == "integer":
            items.append(draw(st.integers(-n, n - 1)))
        else:
            own = [1 if draw(st.booleans()) and draw(st.booleans()) else m for m in meeting]
            items.append(rng.integers(-n, n, own[draw(st.integers(0, len(own))) :]))
        axis += 1
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))) if axis == len(shape) else len(items), ...)
    return shape, tuple(items)


def as_given(item, how):
    """An array of an index as the user may write it."""
    if not isinstance(item, np.ndarray):
        return item
    if how == "list" and item.size:
        return item.tolist()
    return Tensor(item) if how == "Tensor" else item


@given(
    drawn=shapes_and_indices(),
    how=st.sampled_from(["NumPy", "Tensor", "list"]),
    layout=layouts,
    value=st.sampled_from(["number", "rows", "all"]),
)
def test_as_numpy(drawn, how, layout, value):
    """Values, gradients, and assignment; what does not broadcast raises."""
    shape, index = drawn
    a = np.arange(1.0, 1.0 + math.prod(shape)).reshape(shape)
    items = tuple(as_given(item, how) for item in index)
    x = lay_out(Tensor(a), layout)
    x.requires_grad = True
    try:
        expected = a[index]
    except IndexError:
        with pytest.raises(IndexError, match="getitem"):
            x[items]
        with pytest.raises(IndexError, match="setitem"):
            x.detach()[items] = 0.0
        return
    y = x[items]
    assert y.shape == expected.shape and y.tolist() == expected.tolist()

    weights = np.arange(1.0, 1.0 + expected.size).reshape(expected.shape)
    summed = np.zeros(shape)
    np.add.at(summed, index, weights)
    for create_graph in (False, True):
        (g,) = tga.grad(y, x, Tensor(weights), retain_graph=True, create_graph=create_graph)
        assert g.tolist() == summed.tolist()

    rows = weights[..., :1] if weights.ndim else weights
    new = {"number": np.float64(7.0), "rows": rows, "all": weights}[value]
    target, changed = lay_out(Tensor(a), layout).clone(), a.copy()
    target[items] = new if how == "NumPy" else Tensor(new)
    changed[index] = new
    assert target.tolist() == changed.tolist()


def test_an_ellipsis_parts_arrays_even_where_it_stands_for_no_axis():
    a = np.arange(6.0).reshape(2, 3)
    x = Tensor(a)
    for index in ((0, ..., [1, 2]), (slice(None), False, ..., 0), ([[0], [1]], ..., [1, 2])):
        assert x[index].shape == a[index].shape and x[index].tolist() == a[index].tolist()
    b = np.arange(24.0).reshape(2, 3, 4)
    assert Tensor(b)[[0, 1], ..., [1, 2]].tolist() == b[[0, 1], ..., [1, 2]].tolist()


@pytest.mark.parametrize("layout", ["transposed", "reversed", "spaced", "of a slice"])
def test_assignment_into_a_view(layout):
    """Into memory of which the view shows a part, or in another order."""
    a = np.arange(24.0).reshape(2, 3, 4)
    rng = np.random.default_rng(3)
    mask = rng.random((3, 4)) < 0.5
    for index in ([1], (slice(None), [2, 0]), (1, ..., [3, 3]), ([0, 1], slice(None), [1, 2]),
                  (slice(None), mask), (mask[0][:2], [0, 2], slice(1, 3))):  # fmt: skip
        x, b = lay_out(Tensor(a), layout), a.copy()
        values = np.arange(b[index].size, dtype=float).reshape(b[index].shape) + 100
        x[index] = values
        b[index] = values
        assert x.tolist() == b.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype):
    a = np.array([[0, 1, 2], [3, 0, 5]]).astype(dtype)
    x = Tensor(a)
    for index in (([1, 0], [2, 1]), a != 0, (slice(None), [0, 0, 2])):
        got = x[index]
        assert same_bits(got.numpy(), a[index])
        changed, b = x.clone(), a.copy()
        changed[index], b[index] = 1, 1
        assert same_bits(changed.numpy(), b)
        values = a[index][::-1]
        changed[index], b[index] = values, values
        assert same_bits(changed.numpy(), b)
    assert same_bits(x.take([5, -1, 0]).numpy(), a.take([5, -1, 0]))
    places = np.array([[0, -1], [1, 1]])
    assert same_bits(x.gather(places, 1).numpy(), np.take_along_axis(a, places, 1))
    columns = np.array([True, False, True])
    filled = np.where(columns, np.ones((), dtype), a)
    assert same_bits(x.masked_fill(Tensor(columns), 1).numpy(), filled)


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_index_may_be_of_small_integers(dtype):
    """uint8 are integers here, and no mask."""
    x = Tensor([5.0, 6.0, 7.0], dtype="float64")
    index = Tensor([0, 1, 1, 0], dtype=dtype)
    assert x[index].tolist() == x.take(index).tolist() == [5.0, 6.0, 6.0, 5.0]
    assert tga.one_hot(index, 2).tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    assert tga.embedding(index, x.reshape(3, 1)).tolist() == [[5.0], [6.0], [6.0], [5.0]]


def test_one_tensor_is_an_index_and_its_later_values_count():
    """Not read when the graph is made: a step that is replayed may move it."""
    x, place = Tensor([5.0, 6.0, 7.0]), Tensor(1, dtype="int64")
    y = x[place]
    assert y.shape == () and y.item() == 6.0
    assert x[place, None].shape == (1,) and x[None, place].tolist() == [6.0]


def test_an_index_written_to_after_its_use_is_noticed():
    x, index = Tensor([5.0, 6.0], requires_grad=True), Tensor([0, 0], dtype="int64")
    for y in (x.take(index), x.gather(index, 0), tga.embedding(index, x.unsqueeze(1))):
        index[0] = 1
        with pytest.raises(RuntimeError, match=r"was written to in place after it was used"):
            y.sum().backward()


def test_the_last_of_several_values_stays():
    x = tga.zeros(3)
    x[[1, 1, 1, 0]] = Tensor([1.0, 2.0, 3.0, 4.0])
    assert x.tolist() == [4.0, 3.0, 0.0]
    x[[0, 1]] = x[[1, 0]]
    assert x.tolist() == [3.0, 4.0, 0.0]
    x[x > 3] = -1
    assert x.tolist() == [3.0, -1.0, 0.0]
    x[Tensor([[True, False, True]])[0]] += 10
    assert x.tolist() == [13.0, -1.0, 10.0]


def test_sums_of_many():
    """By groups, as a histogram or a segmented sum."""
    labels = Tensor([2, 0, 2, 2], dtype="int64")
    ones = Tensor([1, 1, 1, 1], dtype="int64")
    assert tga.index_sum(ones, labels, axis=0, shape=(3,)).tolist() == [1, 0, 3]
    assert tga.zeros(3, dtype="int64").scatter_add(labels, ones, 0).tolist() == [1, 0, 3]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_nothing(shape):
    x = tga.zeros(*shape, dtype="float64")
    x.requires_grad = True
    none = tga.zeros(0, dtype="int64")
    for y in (x[none], x[[]], x.take(none), x.index_select(none, 0), x[x > 0], x[:, None][..., []]):
        assert 0 in y.shape
        (g,) = tga.grad(y, x, tga.zeros_like(y), create_graph=True)
        assert g.shape == shape and not g.numpy().any()
    assert tga.one_hot(none, 4).shape == (0, 4)
    assert tga.one_hot(none.reshape(0, 2), 0).shape == (0, 2, 0)
    with pytest.raises(IndexError, match="size 0"):
        tga.zeros(0).take([0])
    with pytest.raises(IndexError, match="size 0"):
        tga.zeros(0, 3)[[0]]


# ---- kernels --------------------------------------------------------------------------------


def walk(y, x, index):
    """The layout of three arrays of three axes each."""
    strides = [[s // a.itemsize for s in a.strides] for a in (y, x, index)]
    return kernels.layout(index.shape, *map(tuple, strides))


def call(kernel, y, x, index, lowest=None):
    length = x.shape[1]
    lowest = -length if lowest is None else lowest
    places = kernels.as_int64(pointer(index))
    order = (x, y) if kernel is lib.tga_gather else (y, x)
    return kernel(
        CODES[y.dtype.name], walk(y, x, index), lowest, length,
        pointer(order[0]), places, pointer(order[1]),
    )  # fmt: skip


@pytest.mark.parametrize("whole_rows", [True, False])
@pytest.mark.parametrize("shape", [(1, 70_000, 1), (3, 5000, 7), (2000, 3, 9), (40_000, 2, 1)])
def test_threads(whole_rows, shape, dtype):
    """The same bits on any number; sums in the order of the index."""
    rng = np.random.default_rng(1)
    outer, count, inner = shape
    length = 50
    x = rng.normal(0, 1, (outer, length, inner)).astype(dtype)
    y = rng.normal(0, 1, shape).astype(dtype)
    index = rng.integers(-length, length, (1, count, 1) if whole_rows else shape)
    index = np.broadcast_to(index, shape)
    taken = np.take_along_axis(x, index, axis=1)
    added, put = x.copy(), x.copy()
    o, _, i = np.indices(shape, sparse=True)
    np.add.at(added, (o, index, i), y)
    for j in range(count):
        put[o[:, 0], index[:, j], i[:, 0]] = y[:, j]
    for n in (1, 2, 3):
        with threads(n):
            results = np.empty_like(y), x.copy(), x.copy()
            assert call(lib.tga_gather, results[0], x, index) == 0
            assert call(lib.tga_scatter_add, y, results[1], index) == 0
            assert call(lib.tga_scatter, y, results[2], index) == 0
        for got, expected in zip(results, (taken, added, put), strict=True):
            assert same_bits(got, expected)


@pytest.mark.parametrize("name", ["tga_gather", "tga_scatter", "tga_scatter_add"])
@pytest.mark.parametrize("bad", [3, -4, 2**62, -(2**63)])
def test_nothing_is_written_where_an_index_is_wrong(name, bad):
    for place in ((0, 0, 0), (1, 4, 1)):
        index = np.zeros((2, 5, 2), "int64")
        index[place] = bad
        y, x = np.ones((2, 5, 2)), np.ones((2, 3, 2))
        (x if name == "tga_gather" else y)[:] = 7.0
        assert call(getattr(lib, name), y, x, index) == lib.TGA_BAD_INDEX
        assert ((y if name == "tga_gather" else x) == 1.0).all()
    index = np.full((1, 1, 1), -1)
    assert call(getattr(lib, name), np.ones((1, 1, 1)), np.ones((1, 3, 1)), index, 0) != 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_nothing_beyond_the_elements_is_touched():
    def work(report):
        pages = [GuardedPage() for _ in range(3)]
        for dtype in DTYPES:
            for count, inner in ((1, 1), (3, 1), (5, 3), (2, 17)):
                report(f"{dtype} {count} {inner}")
                for place in ("at_end", "at_start"):
                    y, x, index = [
                        getattr(page, place)(n * inner, kind).reshape(1, n, inner)
                        for page, n, kind in zip(
                            pages, (count, 4, count), (dtype, dtype, "int64"), strict=True
                        )
                    ]
                    index[:] = [3, 0, -4, 2, -1][count - 1]
                    call(lib.tga_gather, y, x, index)
                    call(lib.tga_scatter, y, x, index)
                    call(lib.tga_scatter_add, y, x, index)
                    mask = getattr(pages[0], place)(count, "uint8")
                    mask[:] = 1
                    places = getattr(pages[1], place)(count, "int64")
                    bits, to = kernels.as_bytes(pointer(mask)), kernels.as_int64(pointer(places))
                    lib.tga_mask_places(count, bits, count, to)

    status, last = in_child(work)
    assert status == 0, last


@pytest.mark.parametrize("kernel", ["tga_scatter_add"])
def test_no_kernel_for_sums_of_bytes(kernel):
    index = np.zeros((1, 1, 1), "int64")
    for dtype in ("bool", "uint8"):
        x = np.zeros((1, 1, 1), dtype)
        assert call(getattr(lib, kernel), x, x, index) == lib.TGA_NO_KERNEL


# ---- in a step that is replayed -------------------------------------------------------------


def trained(loss_of, replayed):
    """A weight after three steps, computed eagerly or replayed."""
    w = Tensor(np.arange(28.0).reshape(7, 4) / 16, requires_grad=True)
    optimizer = tga.optim.SGD([w], lr=0.01)

    def step():
        w.grad = None
        loss = loss_of(w)
        loss.backward()
        optimizer.step()
        return loss

    step = tga.capture(step) if replayed else step
    for _ in range(3):
        step()
    return w.numpy()


def test_replay():
    """Indices are read by the kernels; a mask, whose count makes the shape, is refused."""
    rows = Tensor([[0, 6, 6], [2, 2, -1]], dtype="int64")
    columns = Tensor([[3], [0]], dtype="int64")
    for loss_of in (
        lambda w: w[rows].square().sum(),
        lambda w: w[rows[0], [1, 1, -2]].square().sum(),
        lambda w: w.take(rows).square().sum() + (w[:2] * tga.one_hot(columns[:, 0], 4)).sum(),
        lambda w: (w[:2].gather(columns, 1) * w.pad(1, "reflect")[2:4]).sum(),
        lambda w: w.scatter_add(columns, w[:2, :1], 1).masked_fill(w > 1, 0.0).square().sum(),
        lambda w: tga.einsum("bij,bkj->", w[rows], w[rows]) + w.roll(1).tril().square().sum(),
    ):
        assert same_bits(trained(loss_of, replayed=True), trained(loss_of, replayed=False))
    with pytest.raises(RuntimeError, match="reads a value"):
        trained(lambda w: w[w > 1].sum(), replayed=True)
