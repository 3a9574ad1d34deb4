"""Shape: the same numbers in another arrangement; mostly views, so nothing moves."""

from math import prod

from .. import kernels
from ..array import (
    broadcast_shape,
    checked_shape,
    convert,
    copy_into,
    empty,
    full,
    index_view,
    normalized_axis,
)
from ..array import expand as expand_view
from ..array import permute as permute_view
from ..array import reshape as reshape_view
from ..dtype import promote
from ..op import composed, general, shape_of, unbroadcast
from . import nested

lib = kernels.lib


def _reshape(x, shape):
    shape = wanted = (shape,) if isinstance(shape, int) else tuple(shape)
    if -1 in shape:
        known = prod(n for n in shape if n != -1)
        if shape.count(-1) > 1 or known == 0 or x.size % known:
            raise ValueError(f"reshape: {x.size} elements do not fit into shape {wanted}")
        shape = tuple(x.size // known if n == -1 else n for n in shape)
    shape, size = checked_shape(shape, "reshape")
    if size != x.size:
        raise ValueError(
            f"reshape: x has shape {x.shape}, {x.size} elements, but shape {wanted} has {size}"
        )
    return reshape_view(x, shape)


def _sample_reshape(random):
    shape = nested.draw_shape(random)
    wanted, rest = [], prod(shape)
    while rest > 1:
        wanted.append(random.choice([n for n in range(2, rest + 1) if rest % n == 0]))
        rest //= wanted[-1]
    for _ in range(random.randint(0, 2)):
        wanted.insert(random.randint(0, len(wanted)), 1)
    if 0 in shape:
        wanted.append(0)
    elif wanted and random.random() < 0.3:
        wanted[random.randrange(len(wanted))] = -1
    return [nested.draw_numbers(random, shape)], {"shape": tuple(wanted)}


def _reference_reshape(x, shape):
    items = nested.flat(x)
    missing = len(items) // -prod(shape) if -1 in shape else None
    return nested.nest(items, [missing if n == -1 else n for n in shape])


reshape = general(
    "reshape",
    "x",
    forward=_reshape,
    vjp=(lambda gy, y, x, shape: reshape(gy, shape=shape_of(x)),),
    shortcut=("reshape", 0, "x"),
    attrs={"shape": None},
    sample=_sample_reshape,
    reference=_reference_reshape,
    conventions="one size may be -1: what is left; a view where the strides allow it",
)


def _flatten(x, start_axis, end_axis):
    if not x.shape:
        return reshape(x, shape=(1,))
    start = normalized_axis(start_axis, len(x.shape), "flatten")
    end = normalized_axis(end_axis, len(x.shape), "flatten")
    if start > end:
        raise ValueError(f"flatten: start_axis {start_axis} comes after end_axis {end_axis}")
    merged = prod(x.shape[start : end + 1])
    return reshape(x, shape=(*x.shape[:start], merged, *x.shape[end + 1 :]))


def _sample_flatten(random):
    shape = nested.draw_shape(random)
    ndim = len(shape) or 1
    start = random.randrange(ndim)
    axes = start, random.randrange(start, ndim)
    start, end = [axis - random.choice([0, ndim]) for axis in axes]
    return [nested.draw_numbers(random, shape)], {"start_axis": start, "end_axis": end}


def _reference_flatten(x, start_axis, end_axis):
    shape = nested.shape(x) or (1,)
    start, end = start_axis % len(shape), end_axis % len(shape)
    merged = prod(shape[start : end + 1])
    return nested.nest(nested.flat(x), (*shape[:start], merged, *shape[end + 1 :]))


flatten = composed(
    "flatten",
    "x",
    forward=_flatten,
    attrs={"start_axis": 0, "end_axis": -1},
    sample=_sample_flatten,
    reference=_reference_flatten,
    conventions="the axes from the start to the end become one; a 0-d x becomes shape (1,)",
)


def normalized_permutation(axes, ndim, op):
    """`axes` counted from the front; raises unless each axis is named once."""
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    order = tuple(normalized_axis(axis, ndim, op) for axis in axes)
    if sorted(order) != list(range(ndim)):
        raise ValueError(f"{op}: axes {tuple(axes)} must name each of the {ndim} axes once")
    return order


def _inverse(order):
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _sample_permute(random):
    shape = nested.draw_shape(random)
    axes = [axis - random.choice([0, len(shape)]) for axis in range(len(shape))]
    random.shuffle(axes)
    return [nested.draw_numbers(random, shape)], {"axes": tuple(axes)}


def _reference_permute(x, axes):
    shape = nested.shape(x)
    from_axis = _inverse([axis % len(shape) for axis in axes])
    return nested.build(
        tuple(shape[axis] for axis in axes),
        lambda index: nested.at(x, [index[axis] for axis in from_axis]),
    )


permute = general(
    "permute",
    "x",
    forward=lambda x, axes: permute_view(x, normalized_permutation(axes, x.ndim, "permute")),
    vjp=(
        lambda gy, y, x, axes: permute(
            gy, axes=_inverse(normalized_permutation(axes, gy.ndim, "permute"))
        ),
    ),
    shortcut=("permute", 0),
    attrs={"axes": None},
    sample=_sample_permute,
    reference=_reference_permute,
    conventions="axis i of the result is axis axes[i] of x",
)


def _transpose(x, axis0, axis1):
    if isinstance(axis0, (tuple, list)):
        raise TypeError(f"transpose: exchanges two axes; for the order {axis0!r} write permute")
    axes = list(range(x.ndim))
    i = normalized_axis(axis0, x.ndim, "transpose")
    j = normalized_axis(axis1, x.ndim, "transpose")
    axes[i], axes[j] = axes[j], axes[i]
    return permute_view(x, tuple(axes))


def _sample_transpose(random):
    shape = nested.draw_shape(random, least=1)
    axes = {"axis0": nested.draw_axis(random, len(shape)), "axis1": -1}
    if len(shape) > 1 and random.random() < 0.5:
        axes = {"axis0": -2, "axis1": -1}
    return [nested.draw_numbers(random, shape)], axes


def _reference_transpose(x, axis0, axis1):
    axes = list(range(len(nested.shape(x))))
    axes[axis0], axes[axis1] = axes[axis1], axes[axis0]
    return _reference_permute(x, axes)


transpose = general(
    "transpose",
    "x",
    forward=_transpose,
    vjp=(lambda gy, y, x, axis0, axis1: transpose(gy, axis0=axis0, axis1=axis1),),
    attrs={"axis0": -2, "axis1": -1},
    sample=_sample_transpose,
    reference=_reference_transpose,
    conventions="swaps two axes, the last two by default",
)


def _swapaxes(x, axis0, axis1):
    if axis0 is None or axis1 is None:
        raise TypeError("swapaxes: write swapaxes(x, axis0, axis1)")
    axes = list(range(len(x.shape)))
    i, j = [normalized_axis(axis, len(axes), "swapaxes") for axis in (axis0, axis1)]
    axes[i], axes[j] = axes[j], axes[i]
    return permute(x, axes=tuple(axes))


def _sample_swapaxes(random):
    shape = nested.draw_shape(random, least=1)
    axis0, axis1 = [nested.draw_axis(random, len(shape)) for _ in range(2)]
    return [nested.draw_numbers(random, shape)], {"axis0": axis0, "axis1": axis1}


swapaxes = composed(
    "swapaxes",
    "x",
    forward=_swapaxes,
    attrs={"axis0": None, "axis1": None},
    sample=_sample_swapaxes,
    reference=_reference_transpose,
    conventions="transpose, with both axes given; a view",
)


def _axes_list(axes, ndim, op):
    axes = axes if isinstance(axes, (tuple, list)) else (axes,)
    axes = [normalized_axis(axis, ndim, op) for axis in axes]
    if len(set(axes)) < len(axes):
        raise ValueError(f"{op}: an axis is named twice in {axes}")
    return axes


def _moveaxis(x, source, destination):
    if source is None or destination is None:
        raise TypeError("moveaxis: write moveaxis(x, source, destination)")
    ndim = len(x.shape)
    sources = _axes_list(source, ndim, "moveaxis")
    destinations = _axes_list(destination, ndim, "moveaxis")
    if len(sources) != len(destinations):
        raise ValueError(
            f"moveaxis: {len(sources)} axes to move, but {len(destinations)} places to move them to"
        )
    order = [axis for axis in range(ndim) if axis not in sources]
    for to, axis in sorted(zip(destinations, sources, strict=True)):
        order.insert(to, axis)
    return permute(x, axes=tuple(order))


def _sample_moveaxis(random):
    shape = nested.draw_shape(random, least=1)
    ndim = len(shape)
    if random.random() < 0.5:
        axes = [nested.draw_axis(random, ndim) for _ in range(2)]
    else:
        count = random.randint(0, ndim)
        axes = [
            tuple(axis - random.choice([0, ndim]) for axis in random.sample(range(ndim), count))
            for _ in range(2)
        ]
    return [nested.draw_numbers(random, shape)], {"source": axes[0], "destination": axes[1]}


def _reference_moveaxis(x, source, destination):
    ndim = len(nested.shape(x))
    source, destination = [
        [axis % ndim for axis in (axes if isinstance(axes, tuple) else (axes,))]
        for axes in (source, destination)
    ]
    stay = iter([axis for axis in range(ndim) if axis not in source])
    axes = [
        source[destination.index(to)] if to in destination else next(stay) for to in range(ndim)
    ]
    return _reference_permute(x, axes)


moveaxis = composed(
    "moveaxis",
    "x",
    forward=_moveaxis,
    attrs={"source": None, "destination": None},
    sample=_sample_moveaxis,
    reference=_reference_moveaxis,
    conventions="the axes in `source` stand at `destination` of the result, the others keep "
    "their order, as in NumPy; a view",
)


def _expand(x, shape):
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    lead = len(shape) - x.ndim
    if lead >= 0:
        shape = tuple(
            x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape)
        )
    shape, _ = checked_shape(shape, "expand")
    if lead < 0 or broadcast_shape("expand", x.shape, shape) != shape:
        raise ValueError(f"expand: x has shape {x.shape}, which does not repeat to {shape}")
    return expand_view(x, shape)


def _sample_expand(random):
    shape = nested.draw_shape(random)
    part = nested.draw_part(random, shape)
    lead = len(shape) - len(part)
    kept = [
        -1 if i >= lead and part[i - lead] == n and random.random() < 0.3 else n
        for i, n in enumerate(shape)
    ]
    return [nested.draw_numbers(random, part)], {"shape": tuple(kept)}


def _reference_expand(x, shape):
    own = (1,) * (len(shape) - len(nested.shape(x))) + nested.shape(x)
    return nested.repeat(x, [n if m == -1 else m for n, m in zip(own, shape)])


expand = general(
    "expand",
    "x",
    forward=_expand,
    vjp=(lambda gy, y, x, shape: unbroadcast(gy, shape_of(x)),),
    shortcut=("expand", 0),
    attrs={"shape": None},
    sample=_sample_expand,
    reference=_reference_expand,
    conventions="-1 keeps the size of an axis; a view, whose elements share memory",
)


def _squeeze(x, axis):
    if axis is None:
        return reshape_view(x, tuple(n for n in x.shape if n != 1))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = [normalized_axis(one, x.ndim, "squeeze") for one in axes]
    for one in axes:
        if x.shape[one] != 1:
            raise ValueError(
                f"squeeze: x has shape {x.shape}, so axis {one} has size {x.shape[one]}, not 1"
            )
    return reshape_view(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def _sample_squeeze(random):
    shape = tuple(random.choice([1, n]) for n in nested.draw_shape(random, empty=False))
    ones = [i - random.choice([0, len(shape)]) for i, n in enumerate(shape) if n == 1]
    axis = random.choice([None, *ones, tuple(random.sample(ones, random.randint(0, len(ones))))])
    return [nested.draw_numbers(random, shape)], {"axis": axis}


def _reference_squeeze(x, axis):
    shape = nested.shape(x)
    axes = [i for i, n in enumerate(shape) if n == 1] if axis is None else axis
    axes = [i % len(shape) for i in (axes if isinstance(axes, (list, tuple)) else [axes])]
    return nested.nest(nested.flat(x), [n for i, n in enumerate(shape) if i not in axes])


squeeze = general(
    "squeeze",
    "x",
    forward=_squeeze,
    vjp=(lambda gy, y, x, axis: reshape(gy, shape=shape_of(x)),),
    shortcut=("squeeze", 0, "x"),
    attrs={"axis": None},
    sample=_sample_squeeze,
    reference=_reference_squeeze,
    conventions="takes away axes of length 1: all of them, or those named, which must be of it",
)


def _unsqueeze(x, axis):
    axis = normalized_axis(axis, x.ndim + 1, "unsqueeze")
    return reshape_view(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def _sample_unsqueeze(random):
    shape = nested.draw_shape(random)
    return [nested.draw_numbers(random, shape)], {"axis": nested.draw_axis(random, len(shape) + 1)}


def _reference_unsqueeze(x, axis):
    shape = list(nested.shape(x))
    shape.insert(axis % (len(shape) + 1), 1)
    return nested.nest(nested.flat(x), shape)


unsqueeze = general(
    "unsqueeze",
    "x",
    forward=_unsqueeze,
    vjp=(lambda gy, y, x, axis: reshape(gy, shape=shape_of(x)),),
    shortcut=("unsqueeze", 0, "x"),
    attrs={"axis": 0},
    sample=_sample_unsqueeze,
    reference=_reference_unsqueeze,
    conventions="a new axis of length 1 stands at `axis` of the result",
)


# ---- joining --------------------------------------------------------------------------------


def _common_dtype(xs):
    dtype = xs[0].dtype
    for x in xs[1:]:
        dtype = dtype if x.dtype is dtype else promote(dtype, x.dtype)
    return dtype


def _concat(*xs, axis):
    first = xs[0]
    if first.ndim == 0:
        raise ValueError("concat: a 0-d tensor has no axis to join along; use stack")
    axis = normalized_axis(axis, first.ndim, "concat")
    if (y := lib.quick_join(xs, axis, False)) is not None:
        return y
    for x in xs:
        if x.ndim != first.ndim or any(
            i != axis and a != b for i, (a, b) in enumerate(zip(x.shape, first.shape, strict=True))
        ):
            raise ValueError(
                f"concat: shapes {first.shape} and {x.shape} differ in more than axis {axis}"
            )
    length = sum(x.shape[axis] for x in xs)
    shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
    y = empty(shape, _common_dtype(xs), prod(shape))
    start = 0
    for x in xs:
        copy_into(index_view(y, _slab(axis, start, start + x.shape[axis])), x)
        start += x.shape[axis]
    return y


def _slab(axis, start, stop):
    """The index of everything between two places along one axis."""
    return (*[slice(None)] * axis, slice(start, stop))


def _concat_vjp(gy, y, *xs, axis):
    axis = axis % len(shape_of(y))
    gradients, start = [], 0
    for x in xs:
        stop = start + shape_of(x)[axis]
        gradients.append(getitem(gy, index=_slab(axis, start, stop)))
        start = stop
    return gradients


def _sample_concat(random):
    shape = nested.draw_shape(random, least=1)
    axis = nested.draw_axis(random, len(shape))
    least = 0 if axis % len(shape) == len(shape) - 1 else 1
    xs = []
    for _ in range(random.randint(1, 3)):
        length = random.randint(least, 3)
        own = [length if i == axis % len(shape) else n for i, n in enumerate(shape)]
        xs.append(nested.draw_numbers(random, own))
    return xs, {"axis": axis}


def _reference_concat(*xs, axis):
    depth = axis % len(nested.shape(xs[0]))
    if depth == 0:
        return [row for x in xs for row in x]
    return [_reference_concat(*rows, axis=depth - 1) for rows in zip(*xs, strict=True)]


concat = general(
    "concat",
    "*xs",
    forward=_concat,
    vjp=_concat_vjp,
    attrs={"axis": 0},
    promotes=1,
    sample=_sample_concat,
    reference=_reference_concat,
)


def _stack(*xs, axis):
    axis = normalized_axis(axis, xs[0].ndim + 1, "stack")
    if (y := lib.quick_join(xs, axis, True)) is not None:
        return y
    for x in xs:
        if x.shape != xs[0].shape:
            raise ValueError(f"stack: shapes {xs[0].shape} and {x.shape} differ")
    return _concat(*[_unsqueeze(x, axis) for x in xs], axis=axis)


def _stack_vjp(gy, y, *xs, axis):
    axis = axis % gy.ndim
    return [getitem(gy, index=(*[slice(None)] * axis, i)) for i in range(len(xs))]


def _sample_stack(random):
    shape = nested.draw_shape(random, most=2)
    xs = [nested.draw_numbers(random, shape) for _ in range(random.randint(1, 3))]
    return xs, {"axis": nested.draw_axis(random, len(shape) + 1)}


def _reference_stack(*xs, axis):
    depth = axis % (len(nested.shape(xs[0])) + 1)
    if depth == 0:
        return list(xs)
    return [_reference_stack(*rows, axis=depth - 1) for rows in zip(*xs, strict=True)]


stack = general(
    "stack",
    "*xs",
    forward=_stack,
    vjp=_stack_vjp,
    attrs={"axis": 0},
    promotes=1,
    sample=_sample_stack,
    reference=_reference_stack,
)


# ---- indexing -------------------------------------------------------------------------------


def _draw_index(random, shape):
    """An integer or a slice for some of the axes; None and Ellipsis in between."""
    index = []
    for n in shape[: random.randint(0, len(shape))]:
        if n and random.random() < 0.3:
            index.append(random.randrange(-n, n))
        else:
            bounds = [random.choice([None, random.randint(-n - 1, n + 1)]) for _ in range(2)]
            index.append(slice(*bounds, random.choice([None, 1, 2, -1, -2])))
    for item in (None, Ellipsis):
        if random.random() < 0.3:
            # an Ellipsis at the end: the axes that follow are those that were not named
            index.insert(len(index) if item is Ellipsis else random.randint(0, len(index)), item)
    return tuple(index)


def _sample_getitem(random):
    while True:
        shape = nested.draw_shape(random)
        index = _draw_index(random, shape)
        x = nested.draw_numbers(random, shape)
        ndim = len(shape) + index.count(None) - sum(isinstance(item, int) for item in index)
        if len(nested.shape(_reference_getitem(x, index))) == ndim:  # the lists tell its shape
            return [x], {"index": index}


def _reference_getitem(x, index):
    if index == () or index[0] is Ellipsis:
        return x
    first, rest = index[0], index[1:]
    if first is None:
        return [_reference_getitem(x, rest)]
    if isinstance(first, slice):
        return [_reference_getitem(row, rest) for row in x[first]]
    return _reference_getitem(x[first], rest)


getitem = general(
    "getitem",
    "x",
    forward=lambda x, index: index_view(x, index),
    vjp=(lambda gy, y, x, index: put(gy, index=index, shape=shape_of(x)),),
    shortcut=("getitem", 0, "x"),
    attrs={"index": ()},
    sample=_sample_getitem,
    reference=_reference_getitem,
    conventions="integers, slices, Ellipsis and None, as in NumPy; a view",
)


def _put(x, index, shape):
    y = full(shape, 0, x.dtype)
    copy_into(index_view(y, index), x)
    return y


def _sample_put(random):
    (source,), attrs = _sample_getitem(random)
    taken = nested.shape(_reference_getitem(source, attrs["index"]))
    return [nested.draw_numbers(random, taken)], {**attrs, "shape": nested.shape(source)}


def _reference_put(x, index, shape):
    places = _reference_getitem(nested.build(shape, lambda place: place), index)
    items = dict(zip(nested.flat(places), nested.flat(x), strict=True))
    return nested.build(shape, lambda place: items.get(place, 0))


put = general(
    "put",
    "x",
    forward=_put,
    vjp=(lambda gy, y, x, index, shape: getitem(gy, index=index),),
    attrs={"index": (), "shape": None},
    sample=_sample_put,
    reference=_reference_put,
    conventions="zeros of `shape` with x at `index`: the derivative of indexing",
)


# ---- copying --------------------------------------------------------------------------------

clone = general(
    "clone",
    "x",
    forward=lambda x: convert(x, x.dtype),
    vjp=(lambda gy, y, x: gy,),
    sample=lambda random: ([nested.draw_numbers(random, nested.draw_shape(random))], {}),
    reference=lambda x: x,
    conventions="a copy in memory of its own, C-ordered",
)
