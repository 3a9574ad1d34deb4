"""batches.py: the data sets of an epoch, gathered batch by batch in C, as part of a plan."""

import operator
from math import prod

from . import kernels
from .array import (
    contiguous,
    convert,
    copy_into,
    empty,
    index_view,
    is_numpy,
    reshape,
    view_of_numpy,
)
from .dtype import float32, int64, uint8
from .plan import Buffer, Instruction, Ref
from .tensor import Tensor, _wrap

lib = kernels.lib


class DataSets:
    """The data of an epoch: arrays with the same number of rows."""

    def __init__(self, data, scale):
        self.given = _listed(data)
        self._keys = {}  # rows of a batch -> what `key` returns
        self._sources = [_as_data(x) for x in self.given]
        self.arrays = [contiguous(x) for x in self._sources]
        if not self.arrays or any(not x.shape for x in self.arrays):
            raise ValueError("epoch: data must be arrays with a first axis for the rows")
        self.rows = self.arrays[0].shape[0]
        if any(x.shape[0] != self.rows for x in self.arrays):
            lengths = ", ".join(str(x.shape[0]) for x in self.arrays)
            raise ValueError(f"epoch: the data sets have different lengths: {lengths}")
        self.scales = _as_scales(scale, len(self.arrays))
        for x, s in zip(self.arrays, self.scales, strict=True):
            if s != 1 and not (x.dtype.is_float or x.dtype is uint8):
                raise TypeError(f"epoch: data of {x.dtype} cannot be scaled")

    def are(self, data, scale):
        """Whether they were made of these very objects."""
        data = _listed(data)
        return (
            len(data) == len(self.given)
            and all(map(operator.is_, data, self.given))
            and self.scales == _as_scales(scale, len(data))
            and all(x.shape == y.shape for x, y in zip(data, self.arrays, strict=True))
        )

    def refresh(self):
        """Copy once more what does not lie in C order: it may have been written to."""
        for source, array in zip(self._sources, self.arrays, strict=True):
            if array is not source:
                copy_into(array, source)

    def _call(self, number, rows):
        """How one data set is gathered: dtype of the result, shape and size, arguments."""
        x, scale = self.arrays[number], self.scales[number]
        dtype = float32 if x.dtype is uint8 and scale != 1 else x.dtype
        shape = (rows, *x.shape[1:])
        width = prod(x.shape[1:])
        return dtype, shape, [dtype.code, x.dtype.code, rows, width, width, self.rows]

    def key(self, rows):
        """Shapes and dtypes of the inputs made of so many rows."""
        if rows not in self._keys:
            calls = [self._call(number, rows) for number in range(len(self.arrays))]
            self._keys[rows] = tuple([(shape, dtype) for dtype, shape, _ in calls])
        return self._keys[rows]

    def batch(self, order, start, rows):
        """The inputs made of some rows, as in eager mode."""
        index = kernels.offset(order.data, 8 * start)
        inputs = []
        for number, (x, scale) in enumerate(zip(self.arrays, self.scales, strict=True)):
            dtype, shape, sizes = self._call(number, rows)
            y = empty(shape, dtype, prod(shape))
            status = lib.tga_batch(*sizes, kernels.as_int64(index), x.data, scale, y.data)
            kernels.check(status, "epoch")
            inputs.append(_wrap(y, None))
        return inputs

    def plan(self, captured, rows):
        """The plan of a step with the gathering of its batch before it, and the index' slot."""
        addresses = [x.address for x in self.arrays]
        key = (*addresses, *self.scales, self.rows)
        if key not in captured.batch_plans:
            index = Buffer(8 * rows, "scratch")
            index.kept = True
            before = []
            for number, buffer in enumerate(captured.inputs):
                *_, sizes = self._call(number, rows)
                args = [*sizes, Ref(index), addresses[number], self.scales[number], Ref(buffer)]
                before.append(Instruction("tga_batch", args, "batch"))
            captured.release_plan()
            captured.batch_plans.clear()  # of other data
            plan = captured.make_plan(before)
            captured.batch_plans[key] = plan, plan.feed(index, 8 * rows), self.arrays
        plan, slot, _ = captured.batch_plans[key]
        return plan, slot


def _listed(data):
    return [data] if isinstance(data, Tensor) or is_numpy(data) else list(data)


def _as_data(x):
    if isinstance(x, Tensor):
        return x.array
    if is_numpy(x):
        return view_of_numpy(x)
    raise TypeError(f"epoch: data must be Tensors or NumPy arrays, not {type(x).__name__}")


def _as_scales(scale, count):
    """One scale for each data set."""
    if isinstance(scale, (int, float)):
        return [float(scale)] * count
    scales = [1.0 if s is None else float(s) for s in scale]
    if len(scales) != count:
        raise ValueError(f"epoch: {count} data sets, but {len(scales)} scales")
    return scales


def as_order(order, rows):
    """The numbers of the rows as a contiguous int64 array."""
    if order is None:
        y = empty((rows,), int64, rows)
        lib.tga_arange(int64.code, rows, 0, 1, y.data)
        return y
    if is_numpy(order):
        dtype, shape, is_whole = order.dtype, order.shape, order.dtype.kind in "iu"
    elif isinstance(order, Tensor):
        dtype, shape, is_whole = order.dtype, order.shape, order.dtype in (int64, uint8)
    else:
        order = Tensor([operator.index(number) for number in order], dtype="int64")
        dtype, shape, is_whole = int64, order.shape, True
    if len(shape) != 1 or not is_whole:
        raise ValueError(f"epoch: order must be a row of integers, not {dtype} of shape {shape}")
    array = view_of_numpy(order.astype("int64")) if is_numpy(order) else order.array
    array = contiguous(array if array.dtype is int64 else convert(array, int64))
    index, code = kernels.as_int64(array.data), uint8.code
    # rows of no element: what remains is the check of their numbers
    if lib.tga_batch(code, code, array.size, 0, 0, rows, index, array.data, 1.0, array.data):
        numbers = _wrap(array, None)
        low, high = numbers.min().item(), numbers.max().item()
        wrong = low if low < 0 else high
        raise ValueError(f"epoch: order has the number {wrong}, but there are {rows} rows")
    return array


def joined(values):
    """The results of the parts of an epoch, one after the other."""
    if len(values) == 1:
        return values[0]
    whole, rest = values
    if whole.shape[1:] != rest.shape[1:]:  # they have the rows of a batch
        whole, rest = [reshape(y, (y.shape[0] * y.shape[1], *y.shape[2:])) for y in (whole, rest)]
    shape = (whole.shape[0] + rest.shape[0], *whole.shape[1:])
    joined = empty(shape, whole.dtype, whole.size + rest.size)
    copy_into(index_view(joined, slice(whole.shape[0])), whole)
    copy_into(index_view(joined, slice(whole.shape[0], None)), rest)
    return joined
