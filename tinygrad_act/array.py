"""Array: the strided view of a C buffer that a Tensor holds.

An array is memory, a pointer into it, a shape and strides.  Views (transposes,
slices, broadcasts) share the memory and cost nothing.  There is no derivative
here: arrays are the plain values that kernels read and write.  Rules of calculus
may be written on them with the usual operators (see ``formula.Value``).

Memory goes back when its last holder is gone: an array, a view of it, or a NumPy
array that shares it.
"""

import itertools
import math
import struct
import sys
from functools import lru_cache
from math import prod

from . import kernels
from .dtype import DTYPES, as_dtype, bool_, float32
from .formula import Value

lib = kernels.lib

# Writes in place are numbered, over all arrays.  A buffer remembers the number of
# the last write to it; whoever saved it for a derivative remembers the number of
# that moment, and can see whether it was written to since.
_count_write = itertools.count(1)
writes = 0


class Array(kernels.ArrayBase, Value):
    """A view of memory: `size` elements of one dtype in a grid of a given shape.

    The fields stand in csrc/array.h, where C makes small arrays quickly; they are read from
    here, but never set: another shape is another Array.

    Attributes
    ----------
    memory : Memory
        What keeps the elements alive, shared by all views: its `version` is the number of
        the last write to it, -1 if it must not be written to; its `owner` is the object
        that it belongs to, such as a NumPy array, or None if it is ours.
    data : pointer
        The first element, for the kernels.
    address : int
        The same as a number.
    shape : tuple of int
    strides : tuple of int, or None
        Elements from one index to the next along each axis; None if the elements
        lie in C order without gaps, which is what kernels like best.
    dtype : DType
    size : int
        The number of elements.
    """

    __slots__ = ()

    node = None  # among the inputs of an op on Tensors an Array is a constant

    @property
    def array(self):
        """Itself, as a Tensor's array is."""
        return self

    @property
    def ndim(self):
        """The number of axes."""
        return len(self.shape)

    def __repr__(self):
        return f"Array(shape={self.shape}, strides={self.strides}, dtype={self.dtype})"


kernels.configure(Array, DTYPES)


# ---- shapes ---------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def contiguous_strides(shape):
    """Strides of a C-ordered array of this shape, in elements."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def strides_of(x):
    """The strides of an array, also where they are the usual ones."""
    return contiguous_strides(x.shape) if x.strides is None else x.strides


def checked_shape(shape, op):
    """`shape` as a tuple of ints, and the number of elements in it.

    Raises
    ------
    TypeError, ValueError
        For sizes that are no integers or negative, too many axes, or more bytes
        than there are addresses.
    """
    if isinstance(shape, int) and not isinstance(shape, bool):
        shape = (shape,)
    try:
        checked = tuple(length.__index__() for length in shape)
    except (AttributeError, TypeError):
        raise TypeError(f"{op}: shape must be made of integers, not {shape!r}") from None
    if any(length < 0 for length in checked):
        raise ValueError(f"{op}: shape {checked} has a negative size")
    if len(checked) > kernels.MAX_DIMS:
        raise ValueError(
            f"{op}: shape has {len(checked)} axes, but at most {kernels.MAX_DIMS} are possible"
        )
    if prod(length or 1 for length in checked) > 1 << 59:
        raise ValueError(f"{op}: shape {checked} has more elements than memory can hold")
    return checked, prod(checked)


@lru_cache(maxsize=4096)
def broadcast_shape(op, x, y):
    """The shape in which shapes `x` and `y` meet, by NumPy's rules."""
    shape = []
    for a, b in itertools.zip_longest(reversed(x), reversed(y), fillvalue=1):
        if a != b and a != 1 and b != 1:
            raise ValueError(f"{op}: shapes {x} and {y} do not broadcast: sizes {a} and {b} differ")
        shape.append(b if a == 1 else a)
    return tuple(reversed(shape))


@lru_cache(maxsize=4096)
def broadcast_strides(shape, strides, to):
    """Strides that repeat an array of `shape` over the shape `to`."""
    padded = len(to) - len(shape)
    return (0,) * padded + tuple(
        0 if length == 1 and wanted != 1 else step
        for length, wanted, step in zip(shape, to[padded:], strides, strict=True)
    )


def normalized_axis(axis, ndim, op):
    """An axis counted from the front.

    Raises
    ------
    TypeError, ValueError
        If it is no integer or there is no such axis.
    """
    try:
        number = axis.__index__()
        if axis is True or axis is False:
            raise TypeError
    except (AttributeError, TypeError):
        raise TypeError(f"{op}: axis must be an integer, not {axis!r}") from None
    if not -ndim <= number < ndim:
        raise ValueError(f"{op}: axis {number} does not exist in an array of {ndim} axes")
    return number % ndim


def is_whole(value):
    """Whether a value is an integer, of Python's or of NumPy's; bools are none."""
    if type(value) is int:
        return True
    from numbers import Integral  # late: others are rare, and an import takes time

    return isinstance(value, Integral) and not isinstance(value, bool)


# ---- making arrays --------------------------------------------------------------------------


def empty(shape, dtype, size):
    """A new array with whatever the memory held before."""
    return lib.array_empty(shape, dtype, size)


def full(shape, value, dtype, op="full"):
    """A new array with every element `value`, a Python number."""
    if (y := lib.quick_full(shape, value, dtype)) is not None:
        return y
    shape, size = checked_shape(shape, op)
    y = empty(shape, dtype, size)
    if dtype.is_float:
        lib.tga_fill(dtype.code, size, value, y.data)
    else:  # a double would round beyond 2**53; and what does not fit raises
        copy_into(y, expand(number(value, dtype), shape))
    return y


def _pack(flat, dtype):
    """The bytes of a list of Python numbers."""
    if dtype is bool_:
        flat = [bool(item) for item in flat]
    elif not dtype.is_float:
        try:
            flat = [int(item) for item in flat]
        except (OverflowError, ValueError):
            wrong = next(x for x in flat if isinstance(x, float) and not math.isfinite(x))
            raise ValueError(f"{wrong} is no integer, and does not fit {dtype}") from None
    try:
        return struct.pack(f"{len(flat)}{dtype.format}", *flat)
    except OverflowError:  # beyond float32: becomes infinite, as in a cast
        largest = struct.unpack("f", b"\xff\xff\x7f\x7f")[0]
        return _pack([v if abs(v) <= largest else v * math.inf for v in flat], dtype)
    except struct.error:
        for item in flat:
            if not isinstance(item, (float, int)):
                raise TypeError(f"there must be numbers, not {item!r}") from None
        raise OverflowError(f"a number does not fit {dtype}") from None


def number(value, dtype):
    """A new 0-d array with one Python number.

    Raises
    ------
    OverflowError
        If an integer does not fit the dtype.
    """
    y = empty((), dtype, 1)
    kernels.write_bytes(y.data, _pack([value], dtype))
    return y


@lru_cache(maxsize=1024)
def _kept_constant(value, dtype):
    return number(value, dtype)


def constant(value, dtype):
    """Like `number`, for an operand that nobody will write to: kept for the next time."""
    # 0.0 and -0.0 are equal as keys, and so are 1, 1.0 and True
    if value and type(value) is float and kernels.recorder is None:
        return _kept_constant(value, dtype)
    return number(value, dtype)


def _shape_of_nested(data):
    shape = []
    while isinstance(data, (list, tuple)):
        shape.append(len(data))
        if len(shape) > kernels.MAX_DIMS:
            raise ValueError(f"Tensor: data is nested more than {kernels.MAX_DIMS} deep")
        if not data:
            break
        data = data[0]
    return tuple(shape)


def _flatten(data, shape, depth, out):
    if depth == len(shape):
        out.append(data)
        return
    if not isinstance(data, (list, tuple)) or len(data) != shape[depth]:
        found = f"length {len(data)}" if isinstance(data, (list, tuple)) else repr(data)
        raise ValueError(
            f"Tensor: the nested lists are ragged: at depth {depth} there is {found} "
            f"where length {shape[depth]} was begun"
        )
    for item in data:
        _flatten(item, shape, depth + 1, out)


def from_python(data, dtype=None):
    """A new array from a number or nested lists or tuples of numbers.

    The dtype is float32 unless given; bool if all of the data are bools.

    Raises
    ------
    TypeError, ValueError
        For anything that is no number, and for ragged lists.
    """
    if isinstance(data, range):
        data = list(data)
    if (y := lib.quick_list(data, dtype or float32)) is not None:
        return y
    shape = _shape_of_nested(data)
    flat = []
    _flatten(data, shape, 0, flat)
    kinds = set(map(type, flat))
    if dtype is None:
        dtype = bool_ if kinds == {bool} else float32
    if not kinds <= {float, int, bool}:
        flat = [_as_python_number(item) for item in flat]
    shape, size = checked_shape(shape, "Tensor")
    y = empty(shape, dtype, size)
    kernels.write_bytes(y.data, _pack(flat, dtype))
    return y


def _as_python_number(item):
    if isinstance(item, complex):
        raise TypeError("Tensor: complex numbers are not supported; take .real and .imag apart")
    if isinstance(item, (float, int)):
        return item
    value = getattr(item, "item", None)  # a NumPy scalar, or a tensor of one element
    if callable(value) and getattr(item, "shape", None) == ():
        return _as_python_number(value())
    if hasattr(item, "shape"):
        raise TypeError(
            f"Tensor: data must be numbers, but in a list stands {type(item).__name__} of shape "
            f"{item.shape}; join Tensors with stack, arrays with numpy.stack"
        )
    hint = "; write list(...) around it" if hasattr(item, "__next__") else ""
    raise TypeError(f"Tensor: data must be numbers, but there is {item!r}{hint}")


def is_numpy(x):
    """Whether x is a NumPy array or scalar, found out without importing NumPy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(x, (numpy.ndarray, numpy.generic))


def view_of_numpy(a):
    """An array on the same memory as a NumPy array, which it keeps alive.

    Raises
    ------
    TypeError, ValueError
        For dtypes other than the five, too many axes, or memory that is not aligned.
    """
    dtype = as_dtype(a.dtype)
    shape, size = checked_shape(a.shape, "from_numpy")
    if not a.flags.aligned:
        raise ValueError("from_numpy: the array is not aligned; copy it first, with a.copy()")
    address = a.__array_interface__["data"][0]
    strides = tuple(step // dtype.itemsize for step in a.strides)
    if a.flags.c_contiguous or size <= 1:
        strides = None
    return lib.array_at(a, address, a.nbytes, a.flags.writeable, shape, strides, dtype, size)


def from_numpy(a, dtype=None):
    """A new array with a copy of a NumPy array's or scalar's content."""
    import numpy

    dtype = as_dtype(a.dtype if dtype is None else dtype)
    copied = numpy.array(a, dtype=as_dtype(a.dtype).name, order="C", copy=True)
    return convert(view_of_numpy(copied), dtype)


class _SharedWithNumPy:
    """What NumPy asks for in order to see our memory; it keeps this object alive."""

    def __init__(self, x, writable):
        self.memory = x.memory
        self.__array_interface__ = {
            "version": 3,
            "shape": x.shape,
            "strides": tuple(step * x.dtype.itemsize for step in strides_of(x)),
            "typestr": x.dtype.dtype.str,
            "data": (x.address, not writable),
        }


def to_numpy(x, writable=False):
    """The NumPy array on the same memory.

    Raises
    ------
    ValueError
        If it shall be writable, but the memory is that of a read-only NumPy array.
    """
    import numpy

    kernels.refuse_in_capture("hands out memory, as numpy() does: do it after the step")
    if writable and x.memory.version < 0:
        raise ValueError(
            "numpy: the memory belongs to a read-only NumPy array; clone() the tensor first"
        )
    if writable:
        x.memory.shared = True  # nothing tells us of writes by NumPy
    return numpy.asarray(_SharedWithNumPy(x, writable))


def to_list(x):
    """Nested lists of Python numbers; of a 0-d array the number itself."""
    if (found := lib.quick_to_list(x)) is not None:
        return found
    x = contiguous(x)
    content = kernels.as_buffer(x.data, x.size * x.dtype.itemsize)
    items = list(struct.unpack(f"{x.size}{x.dtype.format}", content))
    if not x.shape:
        return items[0]
    if not x.shape[0]:
        return []
    for length in reversed(x.shape[1:]):
        count = len(items) // length if length else prod(x.shape[: x.shape.index(0)])
        items = [items[i * length : (i + 1) * length] for i in range(count)]
    return items


def item(x):
    """The first element as a Python number."""
    kernels.refuse_to_read()
    return lib.array_item(x)


# ---- views: the same memory, seen otherwise -------------------------------------------------


def _view(x, shape, strides, size, skip=0):
    _check_axes(shape)
    usual = contiguous_strides(shape)
    # along an axis of length 1 no stride is ever taken
    if all(n == 1 or a == b for n, a, b in zip(shape, strides, usual, strict=True)):
        strides = None
    return lib.array_view(x, shape, strides, size, skip if size else 0)


def _check_axes(shape):
    if len(shape) > kernels.MAX_DIMS:
        raise ValueError(f"a shape of {len(shape)} axes: at most {kernels.MAX_DIMS} are possible")


def expand(x, shape):
    """Repeat x over a larger shape; its own must broadcast to it."""
    if (y := lib.quick_expand(0, x, shape)) is not None:
        return y
    strides = broadcast_strides(x.shape, strides_of(x), shape)
    return _view(x, shape, strides, prod(shape))


def permute(x, axes):
    """Axis i of the result is axis axes[i] of x."""
    if (y := lib.quick_permute(0, x, axes)) is not None:
        return y
    strides = strides_of(x)
    return _view(x, tuple(x.shape[a] for a in axes), tuple(strides[a] for a in axes), x.size)


def reshape(x, shape):
    """The same elements in another shape of the same size: a view where that is possible."""
    if (y := lib.quick_reshape(0, x, shape)) is not None:
        return y
    if x.strides is not None:
        merged = _split_strides(x, shape)
        if merged is not None:
            return _view(x, shape, merged, x.size)
        x = contiguous(x)
    _check_axes(shape)
    return lib.array_view(x, shape, None, x.size, 0)


def _split_strides(x, shape):
    """Strides that show x in another shape without moving an element; None if there are none."""
    if 0 in shape:
        return contiguous_strides(shape)
    # axes of length 1 may go and come anywhere
    old = [(n, step) for n, step in zip(x.shape, x.strides, strict=True) if n != 1]
    new = [n for n in shape if n != 1]
    steps = []
    while new:
        # take axes from either side until the same number of elements is covered
        taken, wanted = [old.pop(0)], [new.pop(0)]
        while (have := prod(n for n, _ in taken)) != (want := prod(wanted)):
            if have < want:
                taken.append(old.pop(0))
            else:
                wanted.append(new.pop(0))
        for (_, outer), (n, inner) in itertools.pairwise(taken):
            if outer != n * inner:
                return None
        inner = taken[-1][1]
        steps += [inner * prod(wanted[i + 1 :]) for i in range(len(wanted))]
    steps.reverse()
    return tuple(steps.pop() if n != 1 else 1 for n in shape)


def index_view(x, index, op="getitem"):
    """Basic indexing: integers, slices, Ellipsis and None, as NumPy's.

    Raises
    ------
    IndexError, TypeError
        For indices out of range, too many of them, or of another kind.
    """
    if (y := lib.quick_getitem(0, x, index)) is not None:
        return y
    if not isinstance(index, tuple):
        index = (index,)
    named = sum(item is not None and item is not Ellipsis for item in index)
    dots = sum(item is Ellipsis for item in index)  # by identity: == would ask NumPy arrays
    if dots > 1:
        raise IndexError(f"{op}: an index can have only one Ellipsis")
    if named > x.ndim:
        raise IndexError(f"{op}: {named} indices for an array of shape {x.shape}")
    if not dots:
        index += (Ellipsis,)
    steps = strides_of(x)
    shape, strides, skip, axis = [], [], 0, 0
    for item in index:
        if item is None:
            shape.append(1)
            strides.append(0)
        elif item is Ellipsis:
            end = axis + x.ndim - named
            shape += x.shape[axis:end]
            strides += steps[axis:end]
            axis = end
        elif isinstance(item, slice):
            start, stop, step = item.indices(x.shape[axis])
            length = len(range(start, stop, step))
            shape.append(length)
            strides.append(steps[axis] * step if length > 1 else 1)
            skip += start * steps[axis] if length else 0
            axis += 1
        else:
            skip += _checked_index(item, x.shape[axis], axis, op) * steps[axis]
            axis += 1
    return _view(x, tuple(shape), tuple(strides), prod(shape), skip)


def _checked_index(item, length, axis, op):
    if isinstance(item, bool) or not hasattr(item, "__index__"):
        raise TypeError(
            f"{op}: an index must be an integer, a slice, Ellipsis or None, not {item!r}"
        )
    number = item.__index__()
    if not -length <= number < length:
        raise IndexError(f"{op}: index {number} is out of range for axis {axis} of size {length}")
    return number + length if number < 0 else number


def diagonal(x, offset, axis0, axis1):
    """The elements whose index along axis1 is `offset` more than along axis0: a new last axis."""
    axes = [axis for axis in range(x.ndim) if axis not in (axis0, axis1)]
    steps = strides_of(x)
    down, right = max(-offset, 0), max(offset, 0)  # where the diagonal begins
    length = max(min(x.shape[axis0] - down, x.shape[axis1] - right), 0)
    shape = (*[x.shape[axis] for axis in axes], length)
    strides = (*[steps[axis] for axis in axes], steps[axis0] + steps[axis1])
    skip = down * steps[axis0] + right * steps[axis1] if length else 0
    return _view(x, shape, strides, prod(shape), skip)


# ---- copies and writes ----------------------------------------------------------------------


def convert(x, dtype):
    """A new contiguous array with x's elements in another (or the same) dtype."""
    if (y := lib.quick_convert(x, dtype)) is not None:
        return y
    y = empty(x.shape, dtype, x.size)
    _copy(x, y)
    return y


def contiguous(x):
    """x itself if its elements lie in C order, else a copy whose do."""
    return x if x.strides is None else convert(x, x.dtype)


def _copy(x, y):
    walk = kernels.layout(x.shape, strides_of(y), strides_of(x))
    lib.tga_copy_strided(y.dtype.code, x.dtype.code, walk, x.data, y.data)


def mark_all_written(arrays, op):
    """Note that the memory of each array is about to be written to.

    Raises
    ------
    ValueError
        If it must not be: memory of a read-only NumPy array.
    """
    if kernels.recorder is not None:
        kernels.recorder.note_written(arrays)
    if not lib.array_written(list(arrays), next_write()):
        raise ValueError(f"{op}: the memory belongs to a read-only NumPy array; clone() it first")


def next_write():
    """The number of a write that comes now."""
    global writes
    number = next(_count_write)
    writes = max(writes, number)
    return number


def mark_written(y, op):
    """`mark_all_written` of one array, which may be a view but must not repeat elements."""
    if (
        y.strides is not None
        and y.size
        and any(step == 0 and n > 1 for n, step in zip(y.shape, y.strides, strict=True))
    ):
        raise ValueError(
            f"{op}: elements of x, of shape {y.shape}, share memory, as expand() makes them; "
            f"clone() it first"
        )
    mark_all_written((y,), op)


def reach(x):
    """Address and length in bytes of the memory that an array touches."""
    if not x.size:
        return x.address, 0
    ends = [(n - 1) * step for n, step in zip(x.shape, strides_of(x), strict=True)]
    low, high = sum(end for end in ends if end < 0), sum(end for end in ends if end > 0)
    item = x.dtype.itemsize
    return x.address + low * item, (high - low + 1) * item


def overlap(x, y):
    """Whether x and y may share elements otherwise than each with its counterpart."""
    if x.address == y.address and x.dtype is y.dtype and strides_of(x) == strides_of(y):
        return False
    if x.memory is y.memory:
        return True
    if x.memory.owner is None and y.memory.owner is None:
        return False
    (x_start, x_length), (y_start, y_length) = reach(x), reach(y)
    return x_start < y_start + y_length and y_start < x_start + x_length


def copy_into(y, x, op="copy_"):
    """Write the elements of x, of the same shape, over those of y."""
    mark_written(y, op)
    _copy(convert(x, x.dtype) if overlap(x, y) else x, y)
