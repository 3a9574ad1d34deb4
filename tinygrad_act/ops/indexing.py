"""Indexing by arrays: elements named by integers or by masks.

Of `take` and `gather` each is the transpose of a sum: what was taken twice gets the sum of
both gradients.  An index as NumPy has it, with arrays, masks, slices and integers mixed, is
brought to a view and one `take` (see `resolve`).

In all of them an index counts from the end where it is negative, and is int64 or uint8.
"""

from functools import lru_cache
from itertools import pairwise
from math import prod

from .. import kernels
from ..array import (
    Array,
    broadcast_shape,
    broadcast_strides,
    checked_shape,
    constant,
    contiguous,
    contiguous_strides,
    convert,
    copy_into,
    empty,
    from_python,
    index_view,
    mark_written,
    normalized_axis,
    strides_of,
    to_list,
)
from ..array import expand as expand_view
from ..array import permute as permute_view
from ..array import reshape as reshape_view
from ..dtype import as_dtype, bool_, float32, float64, int64, uint8
from ..op import composed, general, shape_of
from . import nested
from .arithmetic import where
from .shape import getitem, permute, reshape

lib = kernels.lib


def zeros(shape, dtype):
    """A new array of zeros."""
    y = empty(shape, dtype, prod(shape))
    lib.tga_fill(dtype.code, y.size, 0.0, y.data)
    return y


def _as_integers(index, op):
    """The index as contiguous int64.

    Raises
    ------
    TypeError
        If it has another dtype.
    """
    if index.dtype is int64:
        return contiguous(index)
    if index.dtype is not uint8:
        raise TypeError(
            f"{op}: the index must be int64, not {index.dtype}; write index.astype('int64')"
        )
    return convert(index, int64)


def _refuse_index(status, op, index, lowest, length, axis):
    """Raise what a status that is not TGA_OK means, with the first index at fault."""
    if status == lib.TGA_BAD_INDEX:
        flat = to_list(reshape_view(contiguous(index), (index.size,)))
        wrong = next(i for i in flat if not lowest <= i < length)
        raise IndexError(f"{op}: index {wrong} is out of range for axis {axis} of size {length}")
    kernels.check(status, op)


def _as_grid(x, axis):
    """x as (outer, length, inner) with `axis` in the middle: a view, or a copy if none can be."""
    return reshape_view(x, (prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])))


def _scatter(kernel, op, y, x, index, lowest, axis):
    """Put or add x to those places of y that the index names; x and index as the kernel has
    them: (outer, count, inner).
    """
    grid = _as_grid(y, axis)
    length = grid.shape[1]
    walk = kernels.layout(x.shape, strides_of(x), strides_of(grid), strides_of(index))
    status = kernel(
        y.dtype.code, walk, lowest, length, x.data, kernels.as_int64(index.data), grid.data
    )
    if status:
        _refuse_index(status, op, index, lowest, length, axis)
    if grid.memory is not y.memory:
        copy_into(y, reshape_view(grid, y.shape), op)


# ---- whole slices of an axis ----------------------------------------------------------------


@lru_cache(maxsize=2048, typed=True)
def _plan_of_take(op, shape, strides, grid, index_shape, axis):
    """The result's shape and size, and the layout for C; strides and grid: x as three axes."""
    axis = normalized_axis(axis, len(shape), op)
    outer, _, inner = grid
    count = prod(index_shape)
    result = (*shape[:axis], *index_shape, *shape[axis + 1 :])
    walk = kernels.layout((outer, count, inner), (count * inner, inner, 1), strides, (0, 1, 0))
    return result, prod(result), walk


def _take(op, x, index, axis, wraps=True):
    if axis is None:
        x, axis = reshape_view(x, (x.size,)), 0
    axis = normalized_axis(axis, x.ndim, op)
    index = _as_integers(index, op)
    grid = _as_grid(x, axis)
    length = grid.shape[1]
    lowest = -length if wraps else 0
    shape, size, walk = _plan_of_take(op, x.shape, strides_of(grid), grid.shape, index.shape, axis)
    y = empty(shape, x.dtype, size)
    places = kernels.as_int64(index.data)
    status = lib.tga_gather(x.dtype.code, walk, lowest, length, grid.data, places, y.data)
    if status:
        _refuse_index(status, op, index, lowest, length, axis)
    return y


def _draw_index(random, shape, length):
    """Integers that name places among `length`, some counted from the end."""
    return nested.build(shape, lambda place: random.randrange(-length, length))


def _sample_take(random):
    shape = nested.draw_shape(random, least=1, empty=False)
    axis = random.choice([None, *range(-len(shape), len(shape))])
    length = prod(shape) if axis is None else shape[axis]
    index = _draw_index(random, nested.draw_shape(random, most=2, empty=False), length)
    return [nested.draw_numbers(random, shape), index], {"axis": axis}


def _places_of_take(shape, index, axis):
    """The shape that `take` yields, and which place in `shape` each of its elements is from."""
    if axis is None:
        shape, axis = (prod(shape),), 0
    axis %= len(shape)
    own = nested.shape(index)
    before, after = shape[:axis], shape[axis + 1 :]

    def place(taken):
        within = taken[axis : axis + len(own)]
        number = nested.at(index, within) % shape[axis]
        return (*taken[:axis], number, *taken[axis + len(own) :])

    return (*before, *own, *after), place


def _reference_take(x, index, axis):
    shape, place = _places_of_take(nested.shape(x), index, axis)
    x = nested.flat(x) if axis is None else x
    return nested.build(shape, lambda taken: nested.at(x, place(taken)))


take = general(
    "take",
    "x index",
    forward=lambda x, index, axis: _take("take", x, index, axis),
    vjp=(
        lambda gy, y, x, index, axis: index_sum(gy, index, axis=axis, shape=shape_of(x)),
        None,
    ),
    shortcut=("take",),
    saves="index",
    attrs={"axis": None},
    indices="index",
    sample=_sample_take,
    reference=_reference_take,
    conventions="x[..., index, ...] with the index, of any shape, at `axis`; without an axis, of x "
    "flattened, as in NumPy and PyTorch",
)


def _index_sum(x, index, axis, shape):
    index = _as_integers(index, "index_sum")
    y = zeros(shape, x.dtype)
    target, place = (reshape_view(y, (y.size,)), 0) if axis is None else (y, axis)
    place = normalized_axis(place, target.ndim, "index_sum")
    before, after = target.shape[:place], target.shape[place + 1 :]
    if x.shape != (*before, *index.shape, *after):
        raise ValueError(
            f"index_sum: x must have shape {(*before, *index.shape, *after)}, not {x.shape}"
        )
    grid = (prod(before), index.size, prod(after))
    spread = expand_view(reshape_view(index, (1, index.size, 1)), grid)
    x = reshape_view(x, grid)
    _scatter(lib.tga_scatter_add, "index_sum", target, x, spread, -target.shape[place], place)
    return y


def _sample_index_sum(random):
    (source, index), attrs = _sample_take(random)
    shape = nested.shape(source)
    taken, _ = _places_of_take(shape, index, attrs["axis"])
    return [nested.draw_numbers(random, taken), index], {**attrs, "shape": shape}


def _sums(x, shape, place, start=None):
    """Zeros of `shape`, or what there is to start with, and each element of x added where
    `place` says.
    """
    terms = {}
    for taken in nested.indices(nested.shape(x)):
        terms.setdefault(place(taken), []).append(nested.at(x, taken))
    begin = nested.build(shape, lambda to: 0.0) if start is None else start
    return nested.build(shape, lambda to: sum(terms.get(to, []), nested.at(begin, to)))


def _reference_index_sum(x, index, axis, shape):
    _, place = _places_of_take(shape, index, axis)
    if axis is None:
        return nested.nest(_sums(x, (prod(shape),), place), shape)
    return _sums(x, shape, place)


index_sum = general(
    "index_sum",
    "x index",
    forward=_index_sum,
    vjp=(lambda gy, y, x, index, axis, shape: take(gy, index, axis=axis), None),
    saves="index",
    attrs={"axis": None, "shape": None},
    indices="index",
    sample=_sample_index_sum,
    reference=_reference_index_sum,
    conventions="zeros of `shape`, with the slices of x added at `axis` where the index says, in "
    "the index's order: the derivative of take, and a sum by groups",
)


def _index_select(x, index, axis):
    if len(index.shape) != 1:
        raise ValueError(
            f"index_select: the index must have one axis, not shape {index.shape}; use take"
        )
    if axis is None:
        raise TypeError("index_select: write index_select(x, index, axis)")
    return take(x, index, axis=axis)


def _sample_index_select(random):
    shape = nested.draw_shape(random, least=1, empty=False)
    axis = nested.draw_axis(random, len(shape))
    index = _draw_index(random, (random.randint(1, 4),), shape[axis])
    return [nested.draw_numbers(random, shape), index], {"axis": axis}


index_select = composed(
    "index_select",
    "x index",
    forward=_index_select,
    attrs={"axis": None},
    indices="index",
    sample=_sample_index_select,
    reference=_reference_take,
    conventions="take with an index of one axis; inputs come first, so the axis is the last "
    "argument, unlike in PyTorch",
)


def _embedding(index, w):
    if w.ndim != 2:
        raise ValueError(f"embedding: w must be (rows, features), but its shape is {w.shape}")
    return _take("embedding", w, index, 0, wraps=False)


def _sample_embedding(random):
    rows, features = random.randint(1, 4), random.randint(1, 4)
    places = nested.draw_shape(random, most=2, empty=False)
    index = nested.build(places, lambda place: random.randrange(rows))
    return [index, nested.draw_numbers(random, (rows, features))], {}


embedding = general(
    "embedding",
    "index w",
    forward=_embedding,
    vjp=(
        None,
        lambda gy, y, index, w: index_sum(gy, index, axis=0, shape=shape_of(w)),
    ),
    saves="index",
    indices="index",
    sample=_sample_embedding,
    reference=lambda index, w: _reference_take(w, index, 0),
    conventions="row number index of w, for an index of any shape; a negative one raises, unlike "
    "in w[index], since it is more often a mistake than meant",
)

# ---- an element of each row -----------------------------------------------------------------


def _check_gather(op, name, x_shape, index_shape, axis):
    axis = normalized_axis(axis, len(x_shape), op)
    if len(index_shape) != len(x_shape) or any(
        i != axis and own > n for i, (own, n) in enumerate(zip(index_shape, x_shape, strict=True))
    ):
        raise ValueError(
            f"{op}: {name} has shape {x_shape} but the index {index_shape}: it must have as many "
            f"axes, and but for axis {axis} be no longer"
        )
    return axis


def _corner(x, shape, axis):
    """The part of x that an index of `shape` can reach: but for `axis`, no longer than it."""
    return index_view(x, tuple(slice(None if i == axis else n) for i, n in enumerate(shape)))


def _step_of(shape, strides):
    """The stride of neighbouring axes walked as one; None if they cannot be."""
    n, step = 1, 0
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1:
            if n > 1 and stride != n * step:
                return None
            step = stride if n == 1 else step
            n *= length
    return step


@lru_cache(maxsize=2048, typed=True)
def _plan_of_gather(op, name, shape, strides, index_shape, axis):
    """The axis, and the layout for C of arrays like the index and of what it can reach of one of
    `shape`; None if that is no view of three axes.
    """
    axis = _check_gather(op, name, shape, index_shape, axis)
    outer = _step_of(index_shape[:axis], strides[:axis])
    inner = _step_of(index_shape[axis + 1 :], strides[axis + 1 :])
    if outer is None or inner is None:
        return axis, None
    grid = (prod(index_shape[:axis]), index_shape[axis], prod(index_shape[axis + 1 :]))
    own = contiguous_strides(grid)
    return axis, kernels.layout(grid, own, (outer, strides[axis], inner), own)


def _gather(x, index, axis):
    _refuse_other_order("gather", axis)
    axis, shape = normalized_axis(axis, x.ndim, "gather"), index.shape
    axis, walk = _plan_of_gather("gather", "x", x.shape, strides_of(x), shape, axis)
    index = _as_integers(index, "gather")
    if walk is None:
        x = contiguous(_corner(x, shape, axis))
        _, walk = _plan_of_gather("gather", "x", x.shape, strides_of(x), shape, axis)
    length = x.shape[axis]
    y = empty(shape, x.dtype, index.size)
    pointer = kernels.as_int64(index.data)
    status = lib.tga_gather(x.dtype.code, walk, -length, length, x.data, pointer, y.data)
    if status:
        _refuse_index(status, "gather", index, -length, length, axis)
    return y


def _refuse_other_order(op, axis):
    if axis is None or getattr(axis, "shape", ()):
        others = ", source" if op == "scatter_add" else ""
        raise TypeError(f"{op}: the axis comes last, as in {op}(x, index{others}, axis)")


def _sample_gather(random):
    shape = nested.draw_shape(random, least=1, empty=False)
    axis = nested.draw_axis(random, len(shape))
    places = [n if random.random() < 0.7 else random.randint(1, n) for n in shape]
    places[axis] = random.randint(1, 4)
    index = _draw_index(random, tuple(places), shape[axis])
    return [nested.draw_numbers(random, shape), index], {"axis": axis}


def _place_of_gather(shape, index, axis):
    """Which place in `shape` an element of the result of `gather` is from."""
    axis %= len(shape)
    return lambda at: (*at[:axis], nested.at(index, at) % shape[axis], *at[axis + 1 :])


def _reference_gather(x, index, axis):
    place = _place_of_gather(nested.shape(x), index, axis)
    return nested.build(nested.shape(index), lambda at: nested.at(x, place(at)))


gather = general(
    "gather",
    "x index",
    forward=_gather,
    vjp=(
        lambda gy, y, x, index, axis: scatter_sum(gy, index, axis=axis, shape=shape_of(x)),
        None,
    ),
    saves="index",
    attrs={"axis": None},
    indices="index",
    sample=_sample_gather,
    reference=_reference_gather,
    conventions="element by element: y[i, j, k] is x[i, index[i, j, k], k] with axis=1; the index "
    "may be shorter than x along the other axes, as in PyTorch; inputs come first, so the axis is "
    "the last argument, unlike there",
)


def _add_along(op, y, index, source, axis):
    """y[..., index, ...] += source, in place, element by element."""
    axis = normalized_axis(axis, y.ndim, op)
    axis, walk = _plan_of_gather(op, "x", y.shape, strides_of(y), index.shape, axis)
    if source.shape != index.shape:
        raise ValueError(
            f"{op}: what is added has shape {source.shape} but the index {index.shape}: "
            f"they must be equal"
        )
    index = _as_integers(index, op)
    if walk is not None:
        source, length = contiguous(source), y.shape[axis]
        places = kernels.as_int64(index.data)
        status = lib.tga_scatter_add(
            y.dtype.code, walk, -length, length, source.data, places, y.data
        )
        if status:
            _refuse_index(status, op, index, -length, length, axis)
        return y
    target = _corner(y, index.shape, axis)
    source, places = _as_grid(source, axis), _as_grid(index, axis)
    _scatter(lib.tga_scatter_add, op, target, source, places, -y.shape[axis], axis)
    return y


def _scatter_sum(x, index, axis, shape):
    _refuse_other_order("scatter_sum", axis)
    return _add_along("scatter_sum", zeros(shape, x.dtype), index, x, axis)


def _sample_scatter_sum(random):
    (source, index), attrs = _sample_gather(random)
    x = nested.draw_numbers(random, nested.shape(index))
    return [x, index], {**attrs, "shape": nested.shape(source)}


def _reference_scatter_sum(x, index, axis, shape):
    return _sums(x, shape, _place_of_gather(shape, index, axis))


scatter_sum = general(
    "scatter_sum",
    "x index",
    forward=_scatter_sum,
    vjp=(lambda gy, y, x, index, axis, shape: gather(gy, index, axis=axis), None),
    saves="index",
    attrs={"axis": None, "shape": None},
    indices="index",
    sample=_sample_scatter_sum,
    reference=_reference_scatter_sum,
    conventions="zeros of `shape`, with the elements of x added along `axis` where the index says, "
    "in its order: the derivative of gather",
)


def _scatter_add(x, index, source, axis):
    _refuse_other_order("scatter_add", axis)
    if x.dtype is not source.dtype or x.dtype in (bool_, uint8):
        raise TypeError(
            f"scatter_add: x is {x.dtype} and source {source.dtype}: they must be equal, and "
            f"float32, float64 or int64; use astype"
        )
    return _add_along("scatter_add", convert(x, x.dtype), index, source, axis)


def _sample_scatter_add(random):
    (source, index), attrs = _sample_scatter_sum(random)
    x = nested.draw_numbers(random, attrs.pop("shape"))
    return [x, index, source], attrs


def _reference_scatter_add(x, index, source, axis):
    place = _place_of_gather(nested.shape(x), index, axis)
    return _sums(source, nested.shape(x), place, x)


scatter_add = general(
    "scatter_add",
    "x index source",
    forward=_scatter_add,
    vjp=(
        lambda gy, y, x, index, source, axis: gy,
        None,
        lambda gy, y, x, index, source, axis: gather(gy, index, axis=axis),
    ),
    saves="index",
    attrs={"axis": None},
    indices="index",
    sample=_sample_scatter_add,
    reference=_reference_scatter_add,
    conventions="x, with the elements of source added along `axis` where the index says, in its "
    "order; the axis is the last argument, unlike in PyTorch",
)


# ---- by a mask, to a class ------------------------------------------------------------------


def _masked_fill(x, mask, value):
    if value is None:
        raise TypeError("masked_fill: write masked_fill(x, mask, value)")
    if mask.dtype is not bool_:
        raise TypeError(f"masked_fill: the mask must be bool, not {mask.dtype}; write mask != 0")
    if broadcast_shape("masked_fill", x.shape, mask.shape) != x.shape:
        raise ValueError(
            f"masked_fill: x is {x.shape} but the mask is {mask.shape}, which does not repeat to it"
        )
    return where(mask, constant(value, x.dtype), x)  # of x's dtype, also where that is no float


def _sample_masked_fill(random):
    shape = nested.draw_shape(random)
    mask = nested.draw_bools(random, nested.draw_part(random, [n or 1 for n in shape]))
    value = random.choice([0.0, 2, -1.5])
    return [nested.draw_numbers(random, shape), mask], {"value": value}


masked_fill = composed(
    "masked_fill",
    "x mask",
    forward=_masked_fill,
    attrs={"value": None},
    sample=_sample_masked_fill,
    reference=lambda x, mask, value: (
        nested.mapped(
            lambda item, fill: value if fill else item, x, nested.repeat(mask, nested.shape(x))
        )
        if nested.flat(x)
        else x
    ),
    conventions="where(mask, value, x); the gradient does not pass where the mask is true",
)


def _one_hot(index, classes, dtype):
    if classes is None:
        raise TypeError("one_hot: write one_hot(index, classes)")
    dtype = as_dtype(dtype)
    index = _as_integers(index, "one_hot")
    shape, size = checked_shape((*index.shape, classes), "one_hot")
    y = zeros(shape, dtype)
    one = empty((1, 1, 1), dtype, 1)
    lib.tga_fill(dtype.code, 1, 1.0, one.data)
    rows = reshape_view(index, (index.size, 1, 1))
    target = reshape_view(y, (index.size, shape[-1]))
    _scatter(lib.tga_scatter, "one_hot", target, expand_view(one, rows.shape), rows, 0, 1)
    return y


def _sample_one_hot(random):
    classes = random.randint(1, 4)
    places = nested.draw_shape(random, most=2, empty=False)
    index = nested.build(places, lambda place: random.randrange(classes))
    return [index], {"classes": classes, "dtype": random.choice([float32, float64])}


def _reference_one_hot(index, classes, dtype):
    return nested.build(
        (*nested.shape(index), classes),
        lambda place: 1.0 if nested.at(index, place[:-1]) == place[-1] else 0.0,
    )


one_hot = general(
    "one_hot",
    "index",
    forward=_one_hot,
    vjp=(None,),
    attrs={"classes": None, "dtype": float32},
    indices="index",
    sample=_sample_one_hot,
    reference=_reference_one_hot,
    conventions="a new last axis of length `classes`, 0 but for a 1 at the index, which must not "
    "be negative; float32, as targets need it, where PyTorch has int64; `classes` must be given",
)


# ---- any index ------------------------------------------------------------------------------


def index_array(data):
    """The array meant by lists of integers or of bools, or by one such number.

    Raises
    ------
    TypeError
        For other numbers, and for anything that is no number.
    """
    array = from_python(data)
    if array.dtype is bool_:
        return array
    wrong = next((item for item in _leaves(data) if not hasattr(item, "__index__")), None)
    if wrong is not None:
        raise TypeError(f"an index must be made of integers or bools, not {wrong!r}")
    return from_python(data, int64)


def _leaves(data):
    if not isinstance(data, (list, tuple)):
        return [data]
    return [item for part in data for item in _leaves(part)]


def _places(mask):
    """Where a mask is true: the places in its C order, an array.

    How many there are is read, so the shape of the result depends on values.
    """
    mask = contiguous(mask)
    bits = kernels.as_bytes(mask.data)
    counter = empty((), int64, 1)
    lib.tga_mask_count(mask.size, bits, kernels.as_int64(counter.data))
    count = to_list(counter)
    places = empty((count,), int64, count)
    status = lib.tga_mask_places(mask.size, bits, count, kernels.as_int64(places.data))
    kernels.check(status, "mask")
    return places


class Resolved:
    """What an index with arrays in it means, for an array of a given shape.

    x[items] is ``take(v, places, axis=axis)``, where v is x[basic], with its axes in this
    order, and with `covered` axes from `axis` on made one.

    Attributes
    ----------
    basic : tuple
        Integers, slices and None: what a view can show; a whole slice for each array.
    order : tuple of int, or None
        None if the axes stay as they are.
    axis, covered : int
    places : Array
        int64, checked, of the shape in which all the arrays meet.
    """

    def __init__(self, basic, order, axis, covered, places):
        self.basic = basic
        self.order = order
        self.axis = axis
        self.covered = covered
        self.places = places


def resolve(shape, items, op):
    """Split an index into what a view can show and one array of places.

    As NumPy has it: arrays and masks meet by broadcasting, a mask of k axes stands for k of x,
    and the axes of the result that they make come where they stood, if nothing but integers
    is between them, else first.

    Parameters
    ----------
    shape : tuple of int
    items : tuple
        Integers, slices, None, Ellipsis, and Arrays of integers or bools.
    op : str
        For messages.

    Returns
    -------
    Resolved

    Raises
    ------
    IndexError, TypeError
        For indices out of range, too many of them, masks of another shape, arrays that do
        not broadcast or are of floats.
    """
    unnamed = _count_unnamed(shape, items, op)
    basic, arrays, stood = [], [], []
    of_x = of_view = 0  # axes passed so far
    for place, item in enumerate(items):
        if item is Ellipsis:  # parts what is on either side, even where it stands for no axis
            basic += [slice(None)] * unnamed
            of_view += unnamed
            of_x += unnamed
        elif isinstance(item, Array):
            stood.append(place)
            count = item.ndim if item.dtype is bool_ else 1
            lengths = shape[of_x : of_x + count]
            if item.dtype is bool_:
                _check_mask(item, lengths, op)
            index = _places(item) if item.dtype is bool_ else _as_integers(item, op)
            # a mask without axes stands for a new one, of length 1
            arrays.append((index, of_x, prod(lengths), range(of_view, of_view + (count or 1))))
            basic += [slice(None)] * count or [None]
            of_view += count or 1
            of_x += count
        elif item is None or isinstance(item, slice):
            basic.append(item)
            of_view += 1
            of_x += item is not None
        else:
            stood.append(place)
            basic.append(item)
            of_x += 1
    of_view += len(shape) - of_x  # the axes that follow, if no Ellipsis stands for them
    axes = [axis for *_, own in arrays for axis in own]
    axis, order = axes[0], None
    if any(b != a + 1 for a, b in pairwise(stood)):
        axis, order = 0, (*axes, *[other for other in range(of_view) if other not in axes])
    return Resolved(tuple(basic), order, axis, len(axes), _joined(arrays, op))


def _check_mask(mask, lengths, op):
    if mask.shape != lengths:
        raise IndexError(f"{op}: a mask of shape {mask.shape} stands where the array has {lengths}")


def _count_unnamed(shape, items, op):
    """How many axes no item names."""
    named = sum(
        item.ndim if isinstance(item, Array) and item.dtype is bool_ else 1
        for item in items
        if item is not None and item is not Ellipsis
    )
    if sum(item is Ellipsis for item in items) > 1:
        raise IndexError(f"{op}: an index can have only one Ellipsis")
    if named > len(shape):
        raise IndexError(f"{op}: {named} indices for an array of shape {shape}")
    return len(shape) - named


def _joined(arrays, op):
    """Indices of several axes as one of these axes taken together."""
    shape = ()
    for index, *_ in arrays:
        try:
            shape = broadcast_shape(op, shape, index.shape)
        except ValueError as error:
            raise IndexError(str(error)) from None
    joined = empty(shape, int64, prod(shape))
    for place, (index, axis, length, _) in enumerate(arrays):
        strides = broadcast_strides(index.shape, contiguous_strides(index.shape), shape)
        walk = kernels.layout(shape, contiguous_strides(shape), strides)
        pointers = kernels.as_int64(index.data), kernels.as_int64(joined.data)
        status = lib.tga_index_join(walk, place == 0, length, *pointers)
        if status:
            _refuse_index(status, op, index, -length, length, axis)
    return joined


_FIRST_AXIS = {"axis": 0}


def index_by_arrays(x, items, op="getitem"):
    """x[items], where arrays are among the items: in ops, so that it can be recorded."""
    if len(items) == 1 and x.node is None:  # rows of data, which nobody differentiates
        # the plain case, in C; else None
        if (y := lib.quick_apply(take.shortcut, take, _FIRST_AXIS, x, items[0])) is not None:
            return y
    found = resolve(x.shape, items, op)
    if any(item != slice(None) for item in found.basic):
        x = getitem(x, index=found.basic)
    if found.order is not None:
        x = permute(x, axes=found.order)
    if found.covered == len(x.shape):
        return take(x, found.places, axis=None)
    if found.covered > 1:
        x = reshape(x, shape=_merged(x.shape, found))
    return take(x, found.places, axis=found.axis)


def _merged(shape, found):
    """The shape with the axes that arrays stand for made one."""
    end = found.axis + found.covered
    return (*shape[: found.axis], prod(shape[found.axis : end]), *shape[end:])


def assign_by_arrays(x, items, value, op="setitem"):
    """x[items] = value for Arrays, in place; what is named twice keeps the later value.

    Raises
    ------
    IndexError, TypeError, ValueError
        For a wrong index, or a value that does not broadcast to what is named.
    """
    if value.shape == () and len(items) == 1 and items[0].dtype is bool_:
        # how many elements are named makes no difference: no value needs to be read
        mask = items[0]
        _check_mask(mask, x.shape[: mask.ndim], op)
        mask = reshape_view(mask, (*mask.shape, *[1] * (x.ndim - mask.ndim)))
        copy_into(x, where.forward(mask, convert(value, x.dtype), x), op)
        return
    found = resolve(x.shape, items, op)
    x = index_view(x, found.basic, op)
    if found.order is not None:
        x = permute_view(x, found.order)
    places, axis, end = found.places, found.axis, found.axis + found.covered
    before, after = x.shape[:axis], x.shape[end:]
    shape = (*before, *places.shape, *after)
    if broadcast_shape(op, value.shape, shape) != shape:
        raise ValueError(f"{op}: shape {value.shape} does not fit into shape {shape}")
    mark_written(x, op)
    grid = (prod(before), places.size, prod(after))
    value = reshape_view(convert(expand_view(value, shape), x.dtype), grid)
    places = expand_view(reshape_view(places, (1, places.size, 1)), grid)
    target = reshape_view(x, _merged(x.shape, found))
    _scatter(lib.tga_scatter, op, target, value, places, 0, axis)
    if target.memory is not x.memory:
        copy_into(x, reshape_view(target, x.shape), op)
