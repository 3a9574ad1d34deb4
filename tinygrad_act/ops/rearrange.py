"""Rearranging: numbers turned round, shifted, repeated, padded, cut into parts."""

from itertools import accumulate
from math import prod

from .. import kernels
from ..array import (
    checked_shape,
    constant,
    copy_into,
    empty,
    full,
    index_view,
    normalized_axis,
)
from ..array import diagonal as diagonal_view
from ..array import reshape as reshape_view
from ..dtype import int64
from ..formula import interpreter_of
from ..op import composed, general, refuse_unknown, shape_of
from . import nested
from .arithmetic import where
from .indexing import index_array, index_sum, take, zeros
from .reduction import normalized_axes
from .shape import clone, concat, expand, getitem, reshape

lib = kernels.lib


def _slab(axis, *bounds):
    """The index of a slice of one axis, and of all of those before and after it."""
    return (*[slice(None)] * axis, slice(*bounds))


def _whole_number(value, op, name):
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{op}: {name} must be a whole number, not {value!r}")
    return value.__index__()


# ---- turned round, shifted ------------------------------------------------------------------


def _flip(x, axis):
    axes = normalized_axes(axis, x.ndim, "flip")
    backwards, all_ = slice(None, None, -1), slice(None)
    return index_view(x, tuple(backwards if i in axes else all_ for i in range(x.ndim)))


def _sample_flip(random):
    shape = nested.draw_shape(random)
    return [nested.draw_numbers(random, shape)], {"axis": nested.draw_axes(random, len(shape))}


def _reference_flip(x, axis):
    shape = nested.shape(x)
    axes = normalized_axes(axis, len(shape), "reference")
    return nested.build(
        shape,
        lambda place: nested.at(
            x, [shape[a] - 1 - i if a in axes else i for a, i in enumerate(place)]
        ),
    )


flip = general(
    "flip",
    "x",
    forward=_flip,
    vjp=(lambda gy, y, x, axis: flip(gy, axis=axis),),
    attrs={"axis": None},
    sample=_sample_flip,
    reference=_reference_flip,
    conventions="the order along the axes turned round: along all of them, or those named; a view",
)


def _shifts(x, shift, axis):
    """Pairs of a shift and the axis that it moves along."""
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    if len(shifts) != len(axes) and 1 not in (len(shifts), len(axes)):
        raise ValueError(f"roll: {len(shifts)} shifts, but {len(axes)} axes")
    count = max(len(shifts), len(axes)) if shifts and axes else 0
    shifts = [_whole_number(one, "roll", "shift") for one in shifts] * (count // len(shifts or "-"))
    axes = [normalized_axis(one, len(x.shape), "roll") for one in axes] * (
        count // len(axes or "-")
    )
    return zip(shifts, axes, strict=True)


def _roll(x, shift, axis):
    if shift is None:
        raise TypeError("roll: write roll(x, shift, axis)")
    if axis is None:
        flat = reshape(x, shape=(prod(x.shape),))
        return reshape(_roll(flat, shift, 0), shape=x.shape)
    y = x
    for by, along in _shifts(x, shift, axis):
        length = x.shape[along]
        cut = length - by % length if length else 0
        if cut not in (0, length):
            parts = _slab(along, cut, None), _slab(along, cut)
            y = concat(*[getitem(y, index=part) for part in parts], axis=along)
    return clone(y) if y is x else y


def _sample_roll(random):
    shape = nested.draw_shape(random)
    axis = nested.draw_axes(random, len(shape)) or None  # no axes are no place to shift along
    if isinstance(axis, tuple) and random.random() < 0.7:
        shift = tuple(random.randint(-5, 5) for _ in axis)
    else:
        shift = random.randint(-5, 5)
    return [nested.draw_numbers(random, shape)], {"shift": shift, "axis": axis}


def _reference_roll(x, shift, axis):
    shape = nested.shape(x)
    if axis is None:
        items, shift = nested.flat(x), shift % (len(nested.flat(x)) or 1)
        return nested.nest(items[-shift:] + items[:-shift] if shift else items, shape)
    axes = [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]
    shifts = shift if isinstance(shift, tuple) else [shift] * len(axes)
    by = dict(zip(axes, shifts, strict=True))
    return nested.build(
        shape,
        lambda place: nested.at(x, [(i - by.get(a, 0)) % shape[a] for a, i in enumerate(place)]),
    )


roll = composed(
    "roll",
    "x",
    forward=_roll,
    attrs={"shift": None, "axis": None},
    sample=_sample_roll,
    reference=_reference_roll,
    conventions="elements move on by `shift` places, and round the end; without an axis, in the "
    "order of x flattened",
)


# ---- repeated -------------------------------------------------------------------------------


def _tile(x, reps):
    if reps is None:
        raise TypeError("tile: write tile(x, reps)")
    reps = reps if isinstance(reps, (tuple, list)) else (reps,)
    reps, _ = checked_shape(reps, "tile")
    ndim = max(len(reps), len(x.shape))
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - len(x.shape)) + x.shape
    checked_shape([r * n for r, n in zip(reps, shape, strict=True)], "tile")
    apart = reshape(x, shape=tuple(m for n in shape for m in (1, n)))
    repeated = expand(apart, shape=tuple(m for pair in zip(reps, shape) for m in pair))
    return _copied(reshape(repeated, shape=tuple(r * n for r, n in zip(reps, shape))), prod(reps))


def _copied(y, times):
    """y in memory of its own, which it has already unless all is there once."""
    return clone(y) if times == 1 else y


def _sample_tile(random):
    shape = nested.draw_shape(random, most=2)
    count = random.randint(0 if shape else 1, 3)
    reps = tuple(random.randint(1, 3 if i == 0 else 2) for i in range(count))
    return [nested.draw_numbers(random, shape)], {"reps": reps}


def _reference_tile(x, reps):
    shape = nested.shape(x)
    ndim = max(len(reps), len(shape))
    reps = (1,) * (ndim - len(reps)) + tuple(reps)
    lead = ndim - len(shape)
    own = (1,) * lead + shape
    return nested.build(
        [r * n for r, n in zip(reps, own)],
        lambda place: nested.at(x, [i % n for i, n in zip(place, own)][lead:]),
    )


tile = composed(
    "tile",
    "x",
    forward=_tile,
    attrs={"reps": None},
    sample=_sample_tile,
    reference=_reference_tile,
    conventions="x `reps[i]` times along axis i, counted from the last, as in NumPy",
)


def _repeat(x, repeats, axis):
    if repeats is None:
        raise TypeError("repeat: write repeat(x, repeats, axis)")
    if axis is None:
        x, axis = reshape(x, shape=(prod(x.shape),)), 0
    axis = normalized_axis(axis, len(x.shape), "repeat")
    length = x.shape[axis]
    if isinstance(repeats, (tuple, list)):
        counts = checked_shape(repeats, "repeat")[0]
        if len(counts) != length:
            raise ValueError(
                f"repeat: {len(counts)} repeats, but axis {axis} of x, {x.shape}, has size {length}"
            )
        return take(x, index_array([i for i, n in enumerate(counts) for _ in range(n)]), axis=axis)
    (times,), _ = checked_shape((repeats,), "repeat")
    before, after = x.shape[: axis + 1], x.shape[axis + 1 :]
    checked_shape((*before[:-1], length * times, *after), "repeat")
    apart = reshape(x, shape=(*before, 1, *after))
    repeated = expand(apart, shape=(*before, times, *after))
    return _copied(reshape(repeated, shape=(*before[:-1], length * times, *after)), times)


def _sample_repeat(random):
    shape = nested.draw_shape(random, most=2)
    axis = random.choice([None, *range(-len(shape), len(shape))])
    length = prod(shape) if axis is None else shape[axis]
    repeats = random.randint(1, 3)
    if length and random.random() < 0.5:
        repeats = tuple(random.randint(0 if i else 1, 2) for i in range(length))
    return [nested.draw_numbers(random, shape)], {"repeats": repeats, "axis": axis}


def _reference_repeat(x, repeats, axis):
    if axis is None:
        x, axis = nested.flat(x), 0
    depth = axis % len(nested.shape(x))
    if depth:
        return [_reference_repeat(row, repeats, depth - 1) for row in x]
    counts = repeats if isinstance(repeats, tuple) else [repeats] * len(x)
    return [row for row, n in zip(x, counts, strict=True) for _ in range(n)]


repeat = composed(
    "repeat",
    "x",
    forward=_repeat,
    attrs={"repeats": None, "axis": None},
    sample=_sample_repeat,
    reference=_reference_repeat,
    conventions="each element `repeats` times in a row, or each its own number of times, as in "
    "NumPy; what PyTorch calls repeat is tile here",
)


# ---- padded ---------------------------------------------------------------------------------

PAD_MODES = ("constant", "reflect", "replicate")


def _widths(shape, width, mode):
    """Per axis how many elements are put before and after it."""
    if mode not in PAD_MODES:
        raise ValueError(f"pad: mode must be 'constant', 'reflect' or 'replicate', not {mode!r}")
    if hasattr(width, "__index__"):
        pairs = [(width, width)] * len(shape)
    elif len(shape) == 1 and isinstance(width, (tuple, list)) and len(width) == 2:
        pairs = width if isinstance(width[0], (tuple, list)) else [width]
    else:
        pairs = width
    try:
        pairs = [(before.__index__(), after.__index__()) for before, after in pairs]
        if len(pairs) != len(shape):
            raise ValueError
    except (TypeError, ValueError, AttributeError):
        raise ValueError(
            f"pad: width must be a whole number or, for each of the {len(shape)} axes of x, a "
            f"pair (before, after), but it is {width!r}"
        ) from None
    for axis, (n, pair) in enumerate(zip(shape, pairs, strict=True)):
        if min(pair) < 0:
            raise ValueError(f"pad: width {pair} of axis {axis} is negative; cut with a slice")
        most = {"constant": max(pair), "reflect": n - 1, "replicate": n and max(pair)}[mode]
        if max(pair) > max(most, 0):
            raise ValueError(
                f"pad: axis {axis} has size {n}, too little to {mode} {max(pair)} elements of it"
            )
    return pairs


def _arange(*parts):
    """One array of the numbers of several ranges: (length, start, step) each."""
    size = sum(length for length, _, _ in parts)
    y = empty((size,), int64, size)
    begin = 0
    for length, start, step in parts:
        lib.tga_arange(int64.code, length, start, step, index_view(y, slice(begin, None)).data)
        begin += length
    return y


def _source(n, before, after, mode):
    """Where the elements along an axis of length n come from, and those put beside them."""
    if mode == "reflect":
        return _arange((before, before, -1), (n, 0, 1), (after, n - 2, -1))
    return _arange((before, 0, 0), (n, 0, 1), (after, n - 1, 0))


def _pad(x, width, mode, value):
    pairs = _widths(x.shape, width, mode)
    if mode == "constant":
        shape = [n + before + after for n, (before, after) in zip(x.shape, pairs, strict=True)]
        y = full(shape, value, x.dtype, "pad")
        copy_into(index_view(y, _inside(x.shape, pairs)), x, "pad")
        return y
    y = x
    for axis, pair in enumerate(pairs):
        if any(pair):
            y = take(y, _source(x.shape[axis], *pair, mode), axis=axis)
    return clone(y) if y is x else y


def _inside(shape, pairs):
    return tuple(slice(before, before + n) for n, (before, _) in zip(shape, pairs, strict=True))


def _pad_vjp(gy, y, x, width, mode, value):
    shape = shape_of(x)
    pairs = _widths(shape, width, mode)
    if mode == "constant":
        return getitem(gy, index=_inside(shape, pairs))
    for axis, pair in reversed(list(enumerate(pairs))):
        if any(pair):
            n = shape[axis]
            smaller = (*gy.shape[:axis], n, *gy.shape[axis + 1 :])
            gy = index_sum(gy, _source(n, *pair, mode), axis=axis, shape=smaller)
    return gy


def _sample_pad(random):
    mode = random.choice(PAD_MODES)
    shape = nested.draw_shape(random, empty=mode == "constant")
    most = [{"reflect": n - 1, "replicate": 2, "constant": 2}[mode] for n in shape]
    width = tuple((random.randint(0, m), random.randint(0, m)) for m in most)
    if 0 in shape or random.random() < 0.2:
        width = random.randint(0, min(most, default=1) if 0 not in shape else 0)
    elif len(shape) == 1 and random.random() < 0.5:
        (width,) = width
    value = random.choice([0.0, 1.5]) if mode == "constant" else 0.0
    x = nested.draw_numbers(random, shape)
    return [x], {"width": width, "mode": mode, "value": value}


def _reference_pad(x, width, mode, value):
    shape = nested.shape(x)
    pairs = _widths(shape, width, mode)

    def one(place):
        at = [i - before for i, (before, _) in zip(place, pairs)]
        if mode == "constant":
            return nested.at(x, at) if all(0 <= i < n for i, n in zip(at, shape)) else value
        if mode == "replicate":
            return nested.at(x, [min(max(i, 0), n - 1) for i, n in zip(at, shape)])
        return nested.at(x, [n - 1 - abs(n - 1 - abs(i)) for i, n in zip(at, shape)])

    return nested.build([n + b + a for n, (b, a) in zip(shape, pairs)], one)


pad = general(
    "pad",
    "x",
    forward=_pad,
    vjp=(_pad_vjp,),
    attrs={"width": None, "mode": "constant", "value": 0.0},
    sample=_sample_pad,
    reference=_reference_pad,
    conventions="`width` is a number, or a pair (before, after) for each axis from the first on, "
    "as in NumPy (PyTorch lists them from the last axis on); 'constant' puts `value` there, "
    "'reflect' mirrors at the border element, 'replicate' repeats it",
)


# ---- triangles and diagonals ----------------------------------------------------------------


def _triangle(name, keeps):
    """tril or triu, whose `keeps` (column, row + k) says which elements stay."""

    def forward(x, k):
        if x.ndim < 2:
            raise ValueError(f"{name}: x must have at least two axes, but its shape is {x.shape}")
        k = _whole_number(k, name, "k")
        rows, columns = x.shape[-2:]
        row = reshape_view(_arange((rows, k, 1)), (rows, 1))
        return where.forward(keeps(_arange((columns, 0, 1)), row), x, constant(0, x.dtype))

    def sample(random):
        shape = nested.draw_shape(random, least=2, most=3)
        return [nested.draw_numbers(random, shape)], {"k": random.randint(-3, 3)}

    def reference(x, k):
        return nested.build(
            nested.shape(x),
            lambda place: nested.at(x, place) if keeps(place[-1], place[-2] + k) else 0.0,
        )

    return {"forward": forward, "attrs": {"k": 0}, "sample": sample, "reference": reference}


tril = general(
    "tril",
    "x",
    vjp=(lambda gy, y, x, k: tril(gy, k=k),),
    conventions="the lower triangle of the last two axes, up to the diagonal number k, to the "
    "right of the main one where positive; 0 elsewhere, even where x is nan",
    **_triangle("tril", lambda column, row: column <= row),
)

triu = general(
    "triu",
    "x",
    vjp=(lambda gy, y, x, k: triu(gy, k=k),),
    conventions="the upper triangle of the last two axes, from the diagonal number k on; as tril",
    **_triangle("triu", lambda column, row: column >= row),
)


def _diagonal_axes(op, ndim, offset, axis0, axis1):
    if ndim < 2:
        raise ValueError(f"{op}: needs at least two axes, not {ndim}")
    first, second = normalized_axis(axis0, ndim, op), normalized_axis(axis1, ndim, op)
    if first == second:
        raise ValueError(f"{op}: axis0 and axis1 are both axis {first}")
    return _whole_number(offset, op, "offset"), first, second


def _diagonal(x, offset, axis0, axis1):
    return diagonal_view(x, *_diagonal_axes("diagonal", x.ndim, offset, axis0, axis1))


def draw_diagonal(random):
    """A shape of two axes at least, and which diagonal of it."""
    shape = nested.draw_shape(random, least=2, empty=False)
    axis0, axis1 = [axis - random.choice([0, len(shape)]) for axis in
                    random.sample(range(len(shape)), 2)]  # fmt: skip
    m, n = shape[axis0], shape[axis1]
    return shape, {"offset": random.randint(1 - m, n - 1), "axis0": axis0, "axis1": axis1}


def _sample_diagonal(random):
    shape, attrs = draw_diagonal(random)
    return [nested.draw_numbers(random, shape)], attrs


def _places_on_diagonal(shape, offset, axis0, axis1):
    """The diagonal's shape, and where in `shape` each of its elements stands."""
    first, second = axis0 % len(shape), axis1 % len(shape)
    others = [axis for axis in range(len(shape)) if axis not in (first, second)]
    down, right = max(-offset, 0), max(offset, 0)
    length = max(min(shape[first] - down, shape[second] - right), 0)

    def place(on):
        at = dict(zip(others, on))
        return tuple(
            {**at, first: on[-1] + down, second: on[-1] + right}[a] for a in range(len(shape))
        )

    return (*[shape[axis] for axis in others], length), place


def _reference_diagonal(x, **attrs):
    shape, place = _places_on_diagonal(nested.shape(x), **attrs)
    return nested.build(shape, lambda on: nested.at(x, place(on)))


diagonal = general(
    "diagonal",
    "x",
    forward=_diagonal,
    vjp=(lambda gy, y, x, **attrs: diagonal_put(gy, shape=shape_of(x), **attrs),),
    attrs={"offset": 0, "axis0": 0, "axis1": 1},
    sample=_sample_diagonal,
    reference=_reference_diagonal,
    conventions="the elements whose index along axis1 is `offset` more than along axis0, as a new "
    "last axis; a view",
)


def _diagonal_put(x, shape, offset, axis0, axis1):
    shape, _ = checked_shape(shape, "diagonal_put")
    y = zeros(shape, x.dtype)
    target = diagonal_view(y, *_diagonal_axes("diagonal_put", len(shape), offset, axis0, axis1))
    if x.shape != target.shape:
        raise ValueError(
            f"diagonal_put: x is {x.shape}, but that diagonal of {shape} is {target.shape}"
        )
    copy_into(target, x, "diagonal_put")
    return y


def _sample_diagonal_put(random):
    shape, attrs = draw_diagonal(random)
    taken, _ = _places_on_diagonal(shape, **attrs)
    return [nested.draw_numbers(random, taken)], {"shape": shape, **attrs}


def _reference_diagonal_put(x, shape, **attrs):
    taken, place = _places_on_diagonal(shape, **attrs)
    items = {place(on): nested.at(x, on) for on in nested.indices(taken)}
    return nested.build(shape, lambda at: items.get(at, 0.0))


diagonal_put = general(
    "diagonal_put",
    "x",
    forward=_diagonal_put,
    vjp=(lambda gy, y, x, shape, **attrs: diagonal(gy, **attrs),),
    attrs={"shape": None, "offset": 0, "axis0": 0, "axis1": 1},
    sample=_sample_diagonal_put,
    reference=_reference_diagonal_put,
    conventions="zeros of `shape` with x on a diagonal: the derivative of diagonal",
)


# ---- cut into parts -------------------------------------------------------------------------


def split(x, size, axis=0, **wrong):
    """Cut x into parts along an axis; they are views.

    Parameters
    ----------
    x : Tensor
    size : int or sequence of int
        The length of each part, where the last takes what is left; or of every part, as
        in PyTorch (NumPy's `split` takes their number).
    axis : int
        Default: 0.

    Returns
    -------
    tuple of Tensor

    Raises
    ------
    TypeError, ValueError
        For a size that is no integer or less than 1, or sizes that do not add up to the
        length of x.

    Examples
    --------
    >>> from tinygrad_act import arange, split
    >>> [part.tolist() for part in split(arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    refuse_unknown("split", wrong, ("size", "axis"))
    axis, length = _axis_and_length("split", x, axis)
    if isinstance(size, (tuple, list)):
        sizes, _ = checked_shape(size, "split")
        if sum(sizes) != length:
            raise ValueError(
                f"split: sizes {sizes} add up to {sum(sizes)}, but axis {axis} of x, of shape "
                f"{x.shape}, has size {length}"
            )
    else:
        size = _whole_number(size, "split", "size")
        if size < 1:
            raise ValueError(f"split: size is {size}, but must be at least 1")
        sizes = [min(size, length - start) for start in range(0, length, size)] or [0]
    stops = list(accumulate(sizes))
    return tuple(
        getitem(x, index=_slab(axis, stop - n, stop)) for n, stop in zip(sizes, stops, strict=True)
    )


def chunk(x, chunks, axis=0, **wrong):
    """Cut x along an axis into at most `chunks` parts of equal length; the last may be shorter.

    Parameters
    ----------
    x : Tensor
    chunks : int
    axis : int
        Default: 0.

    Returns
    -------
    tuple of Tensor
        Views.  Fewer than `chunks`, if parts of that length are enough, as in PyTorch.

    Raises
    ------
    TypeError, ValueError
        If `chunks` is no integer of at least 1.

    Examples
    --------
    >>> from tinygrad_act import arange, chunk
    >>> [part.tolist() for part in chunk(arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    refuse_unknown("chunk", wrong, ("chunks", "axis"))
    _, length = _axis_and_length("chunk", x, axis)
    chunks = _whole_number(chunks, "chunk", "chunks")
    if chunks < 1:
        raise ValueError(f"chunk: chunks is {chunks}, but must be at least 1")
    return split(x, max(-(-length // chunks), 1), axis)


def _axis_and_length(op, x, axis):
    if interpreter_of((x,)) is None:
        raise TypeError(f"{op}: needs a Tensor, not {type(x).__name__}; write Tensor(...)")
    axis = normalized_axis(axis, len(x.shape), op)
    return axis, x.shape[axis]
