"""Pooling: of what a window sees of each channel of an image, the largest or the mean.

Images are (n, channels, rows, columns).  `size`, `stride`, `padding` and `dilation` are a number,
or a pair for rows and columns; the stride is the size unless given.  With ``ceil_mode=True`` a
last window may reach beyond the image, as long as it begins inside.
"""

from functools import lru_cache
from math import prod

from .. import kernels
from ..array import contiguous, empty, from_python
from ..dtype import int64
from ..op import composed, general, needs_float, shape_of
from . import nested
from .convolution import conv_transpose2d, hashable, pair, reaches
from .indexing import masked_fill, scatter_sum, take
from .reduction import mean, sum_
from .shape import reshape, transpose

lib = kernels.lib


def _check_images(op, x):
    needs_float(op, x)
    if len(x.shape) != 4 or 0 in x.shape[1:]:
        raise ValueError(
            f"{op}: x is {x.shape}, but must be (n, channels, rows, columns), each at least 1"
        )


@lru_cache(maxsize=2048, typed=True)
def _window(op, image, size, stride, padding, ceil_mode, dilation=1):
    """The window for C, and the rows and columns of the result."""
    if size is None:
        raise TypeError(f"{op}: size must be given: the rows and columns of the window")
    size = pair(size, "size", op, 1)
    stride = size if stride is None else pair(stride, "stride", op, 1)
    padding, dilation = pair(padding, "padding", op, 0), pair(dilation, "dilation", op, 1)
    if any(2 * pad > n for pad, n in zip(padding, size, strict=True)):
        raise ValueError(f"{op}: padding {padding} is more than half of the size {size}")
    out = []
    for n, reach, step, pad, gap, k in zip(
        image, reaches(size, dilation), stride, padding, dilation, size, strict=True
    ):
        free = n + 2 * pad - reach
        if free < 0:
            raise ValueError(
                f"{op}: the window reaches over {reach}, more than the image's {n} with padding "
                f"{pad}"
            )
        count = -(-free // step) + 1 if ceil_mode else free // step + 1
        if (count - 1) * step >= n + pad:  # it would begin beyond the image
            count -= 1
        for begin in (-pad, (count - 1) * step - pad):
            if not any(0 <= begin + tap * gap < n for tap in range(k)):
                raise ValueError(f"{op}: a window of {size} sees nothing of the image {image}")
        out.append(count)
    window = kernels.window(image, out, size, stride, padding, dilation)
    return window, tuple(out), (size, stride, padding)


def _window_of(op, x, size, stride, padding, ceil_mode, dilation=1):
    _check_images(op, x)
    given = map(hashable, (size, stride, padding))
    return _window(op, x.shape[2:], *given, bool(ceil_mode), hashable(dilation))


def _pooled(x, out, dtype=None):
    shape = (*x.shape[:2], *out)
    return empty(shape, dtype or x.dtype, prod(shape))


# ---- the largest ----------------------------------------------------------------------------


def _max_pool2d(x, **attrs):
    window, out, _ = _window_of("max_pool2d", x, **attrs)
    x, y = contiguous(x), _pooled(x, out)
    planes = x.shape[0] * x.shape[1]
    status = lib.tga_max_pool_forward(x.dtype.code, planes, window, x.data, y.data)
    kernels.check(status, "max_pool2d")
    return y


def _max_pool2d_fused(parents, gy, y, x, **attrs):
    window, _, _ = _window_of("max_pool2d", x, **attrs)
    gy, x = contiguous(gy), contiguous(x)
    gx = empty(x.shape, x.dtype, x.size)
    planes = x.shape[0] * x.shape[1]
    status = lib.tga_max_pool_backward(x.dtype.code, planes, window, gy.data, x.data, gx.data)
    kernels.check(status, "max_pool2d")
    return (gx,)


def _max_pool2d_vjp(gy, y, x, **attrs):
    n, channels, rows, columns = x.shape
    places = reshape(max_pool2d_index(x, **attrs), shape=(n, channels, -1))
    gy = reshape(gy, shape=(n, channels, prod(gy.shape[2:])))
    gx = scatter_sum(gy, places, axis=2, shape=(n, channels, rows * columns))
    return reshape(gx, shape=x.shape)


def _max_pool2d_index(x, **attrs):
    window, out, _ = _window_of("max_pool2d_index", x, **attrs)
    x, index = contiguous(x), _pooled(x, out, int64)
    planes = x.shape[0] * x.shape[1]
    status = lib.tga_max_pool_index(
        x.dtype.code, planes, window, x.data, kernels.as_int64(index.data)
    )
    kernels.check(status, "max_pool2d_index")
    return index


def _draw_pooling(random, dilated):
    """Attributes of a pooling, and an image that they fit."""
    while True:
        size = random.choice([(1, 1), (2, 2), (2, 2), (1, 2), (3, 2)])
        stride = random.choice([None, None, 1, 2, (2, 1)])
        padding = random.choice([0, 0, 0, tuple(n // 2 for n in size)])
        attrs = {
            "size": size[0] if size[0] == size[1] and random.random() < 0.5 else size,
            "stride": stride,
            "padding": padding,
            "ceil_mode": random.random() < 0.3,
        }
        if dilated:
            attrs["dilation"] = random.choice([1, 1, 2])
        image = (random.randint(1, 5), random.randint(1, 5))
        try:
            _window("sample", image, **attrs)
        except ValueError:
            continue
        return attrs, (random.randint(1, 2), random.choice([1, 1, 2]), *image)


def _sample_max_pool2d(random):
    attrs, shape = _draw_pooling(random, dilated=True)
    order = ("size", "stride", "padding", "dilation", "ceil_mode")
    return [nested.draw_distinct(random, shape)], {name: attrs[name] for name in order}


def _seen(image, index, size, stride, padding, dilation=1):
    """Where the window at output pixel `index` sees the image."""
    stride = size if stride is None else stride
    size, stride, padding, dilation = [
        v if isinstance(v, tuple) else (v, v) for v in (size, stride, padding, dilation)
    ]
    for tap in nested.indices(size):
        place = tuple(
            i * s - p + t * d
            for i, t, s, p, d in zip(index, tap, stride, padding, dilation, strict=True)
        )
        if all(0 <= i < n for i, n in zip(place, image, strict=True)):
            yield place


def _reference_max_pool2d(x, ceil_mode, **attrs):
    def value(places, plane):
        return nested.at(plane, places[0])

    return _reference_largest(x, ceil_mode, value, attrs)


def _reference_max_pool2d_index(x, ceil_mode, **attrs):
    def number(places, plane):
        return places[0][0] * len(plane[0]) + places[0][1]

    return _reference_largest(x, ceil_mode, number, attrs)


def _reference_largest(x, ceil_mode, result, attrs):
    n, channels, *image = nested.shape(x)
    _, out, _ = _window("reference", tuple(image), ceil_mode=ceil_mode, **attrs)

    def one(index):
        plane = x[index[0]][index[1]]
        places = list(_seen(image, index[2:], **attrs))
        places.sort(key=lambda place: nested.at(plane, place), reverse=True)
        return result(places, plane)

    return nested.build((n, channels, *out), one)


max_pool2d = general(
    "max_pool2d",
    "x",
    forward=_max_pool2d,
    vjp=(_max_pool2d_vjp,),
    fused=_max_pool2d_fused,
    saves="x",
    attrs={"size": None, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False},
    sample=_sample_max_pool2d,
    reference=_reference_max_pool2d,
    conventions="of several that are the largest, the first in reading order gets the gradient; "
    "nan counts as largest; what lies in the padding counts as -inf",
)

max_pool2d_index = general(
    "max_pool2d_index",
    "x",
    forward=_max_pool2d_index,
    vjp=(None,),
    attrs={"size": None, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False},
    sample=_sample_max_pool2d,
    reference=_reference_max_pool2d_index,
    conventions="where max_pool2d found the largest: row * columns + column in the image; no "
    "gradient",
)


# ---- the mean -------------------------------------------------------------------------------


def _avg_pool2d(x, count_include_pad, **attrs):
    window, out, _ = _window_of("avg_pool2d", x, **attrs)
    x, y = contiguous(x), _pooled(x, out)
    planes, include = x.shape[0] * x.shape[1], bool(count_include_pad)
    status = lib.tga_avg_pool_forward(x.dtype.code, planes, window, include, x.data, y.data)
    kernels.check(status, "avg_pool2d")
    return y


class _Image:
    """The shape alone of what was not needed, and so not saved."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, dtype


def _avg_pool2d_fused(parents, gy, y, x, count_include_pad, **attrs):
    shape = shape_of(x)
    window, _, _ = _window_of("avg_pool2d", _Image(shape, gy.dtype), **attrs)
    gy = contiguous(gy)
    gx = empty(shape, gy.dtype, prod(shape))
    planes, include = shape[0] * shape[1], bool(count_include_pad)
    status = lib.tga_avg_pool_backward(gy.dtype.code, planes, window, include, gy.data, gx.data)
    kernels.check(status, "avg_pool2d")
    return (gx,)


def _counts(image, out, size, stride, padding, include):
    """How many elements each mean is of, as nested lists."""
    axes = []
    for n, o, k, step, pad in zip(image, out, size, stride, padding, strict=True):
        low, high = (-pad, n + pad) if include else (0, n)
        begins = [i * step - pad for i in range(o)]
        axes.append([min(begin + k, high) - max(begin, low) for begin in begins])
    return [[rows * columns for columns in axes[1]] for rows in axes[0]]


def _avg_pool2d_vjp(gy, y, x, count_include_pad, **attrs):
    """A transposed convolution of each channel with a window of ones."""
    shape = shape_of(x)
    _, out, (size, stride, padding) = _window_of("avg_pool2d", _Image(shape, gy.dtype), **attrs)
    counts = _counts(shape[2:], out, size, stride, padding, count_include_pad)
    channels = shape[1]
    ones = from_python([[[[1.0] * size[1]] * size[0]]] * channels, gy.dtype)
    behind = [
        (o - 1) * step + k - n - pad
        for o, step, k, n, pad in zip(out, stride, size, shape[2:], padding, strict=True)
    ]
    return conv_transpose2d(
        gy / from_python(counts, gy.dtype),
        ones,
        stride=stride,
        padding=tuple(zip(padding, behind, strict=True)),
        groups=channels,
    )


def _sample_avg_pool2d(random):
    attrs, shape = _draw_pooling(random, dilated=False)
    attrs["count_include_pad"] = random.random() < 0.5
    return [nested.draw_numbers(random, shape)], attrs


def _reference_avg_pool2d(x, ceil_mode, count_include_pad, **attrs):
    n, channels, *image = nested.shape(x)
    _, out, sizes = _window("reference", tuple(image), ceil_mode=ceil_mode, **attrs)
    counts = _counts(image, out, *sizes, count_include_pad)

    def one(index):
        places = _seen(image, index[2:], **attrs)
        total = sum(nested.at(x, (*index[:2], *place)) for place in places)
        return total / nested.at(counts, index[2:])

    return nested.build((n, channels, *out), one)


avg_pool2d = general(
    "avg_pool2d",
    "x",
    forward=_avg_pool2d,
    vjp=(_avg_pool2d_vjp,),
    fused=_avg_pool2d_fused,
    attrs={
        "size": None,
        "stride": None,
        "padding": 0,
        "ceil_mode": False,
        "count_include_pad": True,
    },
    sample=_sample_avg_pool2d,
    reference=_reference_avg_pool2d,
    conventions="the padding is zeros, which count for the mean unless count_include_pad is "
    "False; what ceil_mode adds beyond it never counts, as in PyTorch",
)


# ---- to a given size ------------------------------------------------------------------------


def _parts(n, o):
    """Of one axis: where each of o parts of n places begins and ends."""
    return [(i * n // o, -(-(i + 1) * n // o)) for i in range(o)]


def _means_of_parts(x, o):
    """Of the last axis, the mean of each of o parts.

    The parts differ in length, so they are brought to the length of the longest by places that
    do not count.  Those are filled with 0, since 0 times an infinity would be nan.
    """
    parts = _parts(x.shape[-1], o)
    longest = max(end - begin for begin, end in parts)
    places = [[min(begin + i, end - 1) for i in range(longest)] for begin, end in parts]
    beyond = [[begin + i >= end for i in range(longest)] for begin, end in parts]
    taken = take(x, from_python(places, int64), axis=-1)
    total = sum_(masked_fill(taken, from_python(beyond), 0.0), axis=-1)
    return total / from_python([float(end - begin) for begin, end in parts], x.dtype)


def _adaptive_avg_pool2d(x, size):
    op = "adaptive_avg_pool2d"
    _check_images(op, x)
    if size is None:
        raise TypeError(f"{op}: size must be given: the rows and columns of the result")
    size, image = pair(size, "size", op, 1), x.shape[2:]
    if size == (1, 1):
        return mean(x, axis=(2, 3), keepdims=True)
    if all(n % o == 0 for n, o in zip(image, size, strict=True)):
        return avg_pool2d(x, tuple(n // o for n, o in zip(image, size, strict=True)))
    across = _means_of_parts(x, size[1])
    return transpose(_means_of_parts(transpose(across), size[0]))


def _sample_adaptive_avg_pool2d(random):
    shape = [random.choice(one) for one in ([1, 2], [1, 1, 2], [1, 2, 3, 4], [1, 2, 3, 4])]
    size = random.choice([1, 2, (1, 2), (3, 1), tuple(shape[2:])])
    return [nested.draw_numbers(random, tuple(shape))], {"size": size}


def _reference_adaptive_avg_pool2d(x, size):
    n, channels, *image = nested.shape(x)
    size = size if isinstance(size, tuple) else (size, size)
    rows, columns = [_parts(n, o) for n, o in zip(image, size, strict=True)]

    def one(index):
        item, channel, i, j = index
        seen = [v for row in x[item][channel][slice(*rows[i])] for v in row[slice(*columns[j])]]
        return sum(seen) / len(seen)

    return nested.build((n, channels, *size), one)


adaptive_avg_pool2d = composed(
    "adaptive_avg_pool2d",
    "x",
    forward=_adaptive_avg_pool2d,
    attrs={"size": None},
    sample=_sample_adaptive_avg_pool2d,
    reference=_reference_adaptive_avg_pool2d,
    conventions="part i of n places in o parts is from floor(i n / o) to ceil((i + 1) n / o), so "
    "parts may overlap, as in PyTorch",
)
