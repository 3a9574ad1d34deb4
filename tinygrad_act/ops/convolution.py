"""Convolution: a window of weights moves over images, and at each place sums what it sees.

Images are (n, channels, rows, columns), weights (channels out, channels in / groups, rows,
columns).  The three ops in two dimensions are one bilinear form of x, w and y, read in its
three directions, so that each is made of the other two when it is differentiated:

    conv2d(x, w) -> y      conv_transpose2d(y, w) -> x      conv2d_weight(x, y) -> w

`stride`, `padding` and `dilation` are a number, or a pair for rows and columns.  `padding` may
also be "same" or "valid" (none), or a pair of pairs, ``((top, bottom), (left, right))``; less
than 0 at the bottom or right leaves rows or columns out.
"""

from functools import lru_cache
from math import prod

from .. import kernels
from ..array import contiguous, empty, is_whole
from ..op import General, needs_float, register
from . import nested
from .absent import ComposedWithAbsent, GeneralWithAbsent
from .reduction import sum_
from .shape import getitem, reshape

lib = kernels.lib

# ---- where the window goes ------------------------------------------------------------------


def pair(value, name, op, least, ndim=2):
    """A number, or one for each axis, as a tuple.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or a number is below `least`.
    """
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,) * ndim
    if len(numbers) != ndim or not all(map(is_whole, numbers)):
        wanted = "an integer" if ndim == 1 else f"an integer or {ndim} of them"
        raise TypeError(f"{op}: {name} must be {wanted}, not {value!r}")
    if any(number < least for number in numbers):
        raise ValueError(f"{op}: {name} is {value}, but must be at least {least}")
    if any(number >= 1 << 31 for number in numbers):
        raise ValueError(f"{op}: {name} is {value}, but must be below 2**31")
    return tuple(map(int, numbers))


def paddings(value, op, sizes, reach, stride):
    """Padding as ((top, bottom), (left, right)), or of one axis alone.

    Parameters
    ----------
    value : int, tuple, "same" or "valid", which is 0
    sizes, reach, stride : tuples of int
        Of the image, of the window with its gaps, and its steps: "same" pads so that the
        result has ceil(size / stride) elements, with the odd one behind.
    """
    ndim = len(sizes)
    if value == "same":
        totals = [
            max((-(-n // step) - 1) * step + width - n, 0)
            for n, width, step in zip(sizes, reach, stride, strict=True)
        ]
        return tuple((total // 2, total - total // 2) for total in totals)
    if value == "valid":
        return ((0, 0),) * ndim
    if isinstance(value, str):
        raise ValueError(
            f"{op}: padding must be a number, a pair, 'same' or 'valid', not {value!r}"
        )
    if isinstance(value, (tuple, list)) and any(isinstance(v, (tuple, list)) for v in value):
        both = [pair(v, "padding", op, -(1 << 40)) for v in value]
        if len(both) != ndim or any(before < 0 for before, _ in both):
            raise ValueError(
                f"{op}: padding is {value}, but must be {ndim} pairs of which the first "
                f"number is at least 0"
            )
        return tuple(both)
    return tuple((number, number) for number in pair(value, "padding", op, 0, ndim))


def reaches(size, dilation):
    """How far a window reaches, its gaps included."""
    return tuple((n - 1) * gap + 1 for n, gap in zip(size, dilation, strict=True))


class Window:
    """How a window moves over images, worked out once per shape.

    Attributes
    ----------
    image, out, size : tuples of int
        Rows and columns of the images, of the result and of the window.
    attrs : dict
        Stride, padding and dilation in full: with them each of the three ops leads from the
        shapes of two operands to that of the third.
    c : tga_window
        The same for C.
    """

    __slots__ = ("image", "out", "size", "attrs", "c")

    def __init__(self, image, out, size, stride, before, dilation):
        reach = reaches(size, dilation)
        self.image, self.out, self.size = image, out, size
        self.attrs = {
            "stride": stride,
            "padding": tuple(
                (first, (o - 1) * step + width - n - first)
                for first, o, step, width, n in zip(before, out, stride, reach, image, strict=True)
            ),
            "dilation": dilation,
        }
        self.c = kernels.window(image, out, size, stride, before, dilation)


def hashable(value):
    """Lists as tuples, so that a cache can keep what follows from them.

    What else cannot be a key is refused in the end, and only needs to be shown then.
    """
    if isinstance(value, (list, tuple)):
        return tuple(map(hashable, value))
    return repr(value) if type(value).__hash__ is None else value


@lru_cache(maxsize=2048, typed=True)
def _forward_window(op, image, size, stride, padding, dilation):
    """The window that leads from images to a result of the size that follows."""
    stride = pair(stride, "stride", op, 1)
    dilation = pair(dilation, "dilation", op, 1)
    reach = reaches(size, dilation)
    padding = paddings(padding, op, image, reach, stride)
    padded = [n + sum(pads) for n, pads in zip(image, padding, strict=True)]
    if any(width > n for n, width in zip(padded, reach, strict=True)):
        raise ValueError(
            f"{op}: the window reaches over {reach[0]} x {reach[1]}, more than the image, "
            f"{image[0]} x {image[1]} with padding {padding}"
        )
    out = tuple((n - width) // step + 1 for n, width, step in zip(padded, reach, stride))
    return Window(image, out, size, stride, [first for first, _ in padding], dilation)


@lru_cache(maxsize=2048, typed=True)
def _backward_window(op, out, size, stride, padding, output_padding, dilation):
    """The window that leads from images whose size follows to a result of the given size."""
    stride = pair(stride, "stride", op, 1)
    dilation = pair(dilation, "dilation", op, 1)
    extra = pair(output_padding, "output_padding", op, 0)
    if any(n >= max(s, d) for n, s, d in zip(extra, stride, dilation, strict=True) if n):
        raise ValueError(
            f"{op}: output_padding is {output_padding}, but must be below stride or dilation"
        )
    if padding == "same":
        raise ValueError(f"{op}: padding must be a number or a pair, not 'same'")
    reach = reaches(size, dilation)
    padding = paddings(padding, op, out, reach, stride)
    image = tuple(
        (n - 1) * step + width + more - sum(pads)
        for n, step, width, more, pads in zip(out, stride, reach, extra, padding, strict=True)
    )
    if min(image) < 1:
        raise ValueError(f"{op}: nothing is left of the result with padding {padding}")
    return Window(image, out, size, stride, [first for first, _ in padding], dilation)


def _check_groups(op, groups, **channels):
    if not is_whole(groups) or groups < 1:
        raise ValueError(f"{op}: groups must be an integer of at least 1, not {groups!r}")
    for name, count in channels.items():
        if count % groups:
            raise ValueError(f"{op}: {name} has {count} channels, no multiple of groups = {groups}")


def _check_operands(op, ndim, **operands):
    axes = "(n, channels, rows, columns)" if ndim == 4 else "(n, channels, length)"
    for name, a in operands.items():
        needs_float(op, a)
        if len(a.shape) != ndim or (0 in a.shape[1:]):
            what = f"(channels out, channels in / groups, {axes.split(', ', 2)[2]}"
            raise ValueError(
                f"{op}: {name} is {a.shape}, but must be {what if name == 'w' else axes}, each "
                f"at least 1"
            )


def _check_bias(op, b, channels, w):
    needs_float(op, b)
    if b.shape not in ((channels,), (0,)):
        raise ValueError(f"{op}: w is {w.shape} but b is {b.shape}: b must be {(channels,)}")


def _bias_data(b):
    return contiguous(b).data if b.size else kernels.NULL


# ---- conv2d ---------------------------------------------------------------------------------


def _conv2d_window(x, w, groups, op="conv2d", **attrs):
    _check_operands(op, 4, x=x, w=w)
    _check_groups(op, groups, x=x.shape[1], w=w.shape[0])
    if x.shape[1] != w.shape[1] * groups:
        raise ValueError(
            f"{op}: x is {x.shape} but w is {w.shape}: with groups = {groups} w must have "
            f"{x.shape[1] // groups} channels in, not {w.shape[1]}"
        )
    attrs = {name: hashable(value) for name, value in attrs.items()}
    return _forward_window(op, x.shape[2:], w.shape[2:], **attrs)


def _conv2d(x, w, b, stride, padding, dilation, groups):
    window = _conv2d_window(
        x, w, groups, stride=stride, padding=padding, dilation=dilation
    )
    n, co = x.shape[0], w.shape[0]
    _check_bias("conv2d", b, co, w)
    x, w, b = contiguous(x), contiguous(w), contiguous(b)
    shape = (n, co, *window.out)
    y = empty(shape, x.dtype, prod(shape))
    status = lib.tga_conv_forward(
        x.dtype.code, n, groups, x.shape[1], co, window.c, x.data, w.data, _bias_data(b), y.data
    )
    kernels.check(status, "conv2d")
    return y


def _conv2d_fused(parents, gy, y, x, w, b, groups, **attrs):
    window = _conv2d_window(x, w, groups, **attrs)
    gy, x, w = contiguous(gy), contiguous(x), contiguous(w)
    numbers = (gy.dtype.code, x.shape[0], groups, x.shape[1], w.shape[0], window.c)
    gx = gw = gb = None
    if parents[0] is not None:
        gx = empty(x.shape, x.dtype, x.size)
        kernels.check(
            lib.tga_conv_backward_x(*numbers, gy.data, w.data, kernels.NULL, gx.data), "conv2d"
        )
    if parents[1] is not None:
        gw = empty(w.shape, w.dtype, w.size)
    if parents[2] is not None:
        gb = empty(b, gy.dtype, prod(b))  # of b, which is not needed, the shape alone was saved
    if gw is not None or (gb is not None and gb.size):
        status = lib.tga_conv_backward_w(
            *numbers,
            gy.data,
            x.data,
            kernels.NULL if gw is None else gw.data,
            gb.data if gb is not None and gb.size else kernels.NULL,
        )
        kernels.check(status, "conv2d")
    return gx, gw, gb


def _bias_vjp(gy, b):
    """Of a bias, whose shape alone was saved."""
    if b == (0,):
        return getitem(sum_(gy, axis=(0, 2, 3)), index=slice(0, 0))
    return sum_(gy, axis=(0, 2, 3))


def _conv2d_vjp_x(gy, y, x, w, b, groups, **attrs):
    full = _conv2d_window(x, w, groups, **attrs).attrs
    return conv_transpose2d(gy, w, groups=groups, **full)


def _conv2d_vjp_w(gy, y, x, w, b, groups, **attrs):
    window = _conv2d_window(x, w, groups, **attrs)
    return conv2d_weight(x, gy, size=window.size, groups=groups, **window.attrs)


def _draw_window(random):
    """Rows and columns of a window and how it moves, and the image's least size."""
    size = random.choice([(1, 1), (1, 2), (2, 1), (2, 2), (1, 3)])
    stride = [random.choice([1, 1, 2, 3]) for _ in range(2)]
    dilation = [random.choice([1, 1, 2]) for _ in range(2)]
    return size, stride, dilation, reaches(size, dilation)


def _simplified(random, numbers):
    """A pair as one number now and then, where it can be."""
    return numbers[0] if numbers[0] == numbers[1] and random.random() < 0.7 else tuple(numbers)


def _draw_padding(random):
    kind = random.random()
    if kind < 0.2:
        return random.choice(["same", "same", "valid"])
    if kind < 0.4:
        return tuple((random.randint(0, 2), random.randint(0, 2)) for _ in range(2))
    return _simplified(random, [random.choice([0, 0, 1, 2]) for _ in range(2)])


def _draw_channels(random):
    """Images, groups, channels in and out of a group."""
    return random.choice([(1, 1, 1, 1), (1, 1, 1, 1), (2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 2, 2)])


def _sample_conv2d(random):
    n, groups, ci, co = _draw_channels(random)
    size, stride, dilation, reach = _draw_window(random)
    image = [width + random.choice([0, 0, 1, 2]) for width in reach]
    shapes = [(n, ci * groups, *image), (co * groups, ci, *size), (co * groups,)]
    attrs = {
        "stride": _simplified(random, stride),
        "padding": _draw_padding(random),
        "dilation": _simplified(random, dilation),
        "groups": groups,
    }
    return [nested.draw_numbers(random, shape) for shape in shapes], attrs


def _places(image, size, stride, padding, dilation):
    """The result's shape, and a function (i, j, p, q) -> where its pixel (i, j) sees the image
    through place (p, q) of the window, or None beyond the image."""
    stride, dilation = [v if isinstance(v, tuple) else (v, v) for v in (stride, dilation)]
    reach = reaches(size, dilation)
    padding = paddings(padding, "reference", image, reach, stride)
    out = [
        (n + sum(pads) - width) // step + 1
        for n, pads, width, step in zip(image, padding, reach, stride)
    ]

    def place(index, tap):
        at = [
            i * step - pads[0] + p * gap
            for i, p, step, pads, gap in zip(index, tap, stride, padding, dilation)
        ]
        return at if all(0 <= i < n for i, n in zip(at, image)) else None

    return tuple(out), place


def _reference_conv2d(x, w, b, groups, **attrs):
    n, _, *image = nested.shape(x)
    co, ci, *size = nested.shape(w)
    out, place = _places(image, size, **attrs)

    def one(index):
        item, channel, *pixel = index
        first = channel // (co // groups) * ci
        total = b[channel] if b else 0
        for c, *tap in nested.indices((ci, *size)):
            at = place(pixel, tap)
            if at is not None:
                total += nested.at(w, (channel, c, *tap)) * nested.at(x, (item, first + c, *at))
        return total

    return nested.build((n, co, *out), one)


conv2d = register(
    GeneralWithAbsent(
        "conv2d",
        "x w b",
        forward=_conv2d,
        vjp=(_conv2d_vjp_x, _conv2d_vjp_w, lambda gy, y, x, w, b, **attrs: _bias_vjp(gy, b)),
        fused=_conv2d_fused,
        saves="x w",
        attrs={"stride": 1, "padding": 0, "dilation": 1, "groups": 1},
        promotes=1,
        sample=_sample_conv2d,
        reference=_reference_conv2d,
        conventions="x (n, channels in, rows, columns), w (channels out, channels in / groups, "
        "rows, columns), b (channels out) or None; the window is not turned round (a "
        "cross-correlation), as in PyTorch; padding 'same' gives ceil(size / stride), with the odd "
        "zero at the bottom and right",
    )
)


# ---- conv_transpose2d -----------------------------------------------------------------------


def _transpose_window(x, w, groups, **attrs):
    op = "conv_transpose2d"
    _check_operands(op, 4, x=x, w=w)
    _check_groups(op, groups, x=x.shape[1])
    if x.shape[1] != w.shape[0]:
        raise ValueError(
            f"{op}: x is {x.shape} but w is {w.shape}: the second axis of x and the first of w "
            f"must be equal"
        )
    attrs = {name: hashable(value) for name, value in attrs.items()}
    return _backward_window(op, x.shape[2:], w.shape[2:], **attrs)


def _conv_transpose2d(x, w, b, groups, **attrs):
    window = _transpose_window(x, w, groups, **attrs)
    n, channels = x.shape[0], w.shape[1] * groups
    _check_bias("conv_transpose2d", b, channels, w)
    x, w, b = contiguous(x), contiguous(w), contiguous(b)
    shape = (n, channels, *window.image)
    y = empty(shape, x.dtype, prod(shape))
    status = lib.tga_conv_backward_x(
        x.dtype.code,
        n,
        groups,
        channels,
        x.shape[1],
        window.c,
        x.data,
        w.data,
        _bias_data(b),
        y.data,
    )
    kernels.check(status, "conv_transpose2d")
    return y


def _transpose_vjp_x(gy, y, x, w, b, groups, **attrs):
    full = _transpose_window(x, w, groups, **attrs).attrs
    return conv2d(gy, w, groups=groups, **full)


def _transpose_vjp_w(gy, y, x, w, b, groups, **attrs):
    window = _transpose_window(x, w, groups, **attrs)
    return conv2d_weight(gy, x, size=window.size, groups=groups, **window.attrs)


def _sample_conv_transpose2d(random):
    while True:
        n, groups, ci, co = _draw_channels(random)
        size, stride, dilation, reach = _draw_window(random)
        rows = random.choice([(1, 1), (1, 2), (2, 1), (2, 2), (1, 3)])
        padding = [random.choice([0, 0, 0, 1]) for _ in range(2)]
        extra = [
            random.choice([0, 0, max(s, d) - 1]) for s, d in zip(stride, dilation, strict=True)
        ]
        left = [
            (m - 1) * s + r - 2 * p
            for m, s, r, p in zip(rows, stride, reach, padding, strict=True)
        ]
        if min(left) > 0:
            break
    shapes = [(n, ci * groups, *rows), (ci * groups, co, *size), (co * groups,)]
    attrs = {
        "stride": _simplified(random, stride),
        "padding": _simplified(random, padding),
        "output_padding": _simplified(random, extra),
        "groups": groups,
        "dilation": _simplified(random, dilation),
    }
    return [nested.draw_numbers(random, shape) for shape in shapes], attrs


def _reference_conv_transpose2d(x, w, b, stride, padding, output_padding, groups, dilation):
    n, channels, *out = nested.shape(x)
    _, co, *size = nested.shape(w)
    extra = output_padding if isinstance(output_padding, tuple) else (output_padding,) * 2
    stride, dilation = [v if isinstance(v, tuple) else (v, v) for v in (stride, dilation)]
    reach = reaches(size, dilation)
    padding = paddings(padding, "reference", out, reach, stride)
    image = [
        (m - 1) * s + r + e - sum(p)
        for m, s, r, e, p in zip(out, stride, reach, extra, padding, strict=True)
    ]
    y = nested.build((n, co * groups, *image), lambda index: b[index[1]] if b else 0)
    for item, c, i, j, d, p, q in nested.indices((n, channels, *out, co, *size)):
        row = i * stride[0] - padding[0][0] + p * dilation[0]
        column = j * stride[1] - padding[1][0] + q * dilation[1]
        if 0 <= row < image[0] and 0 <= column < image[1]:
            channel = c // (channels // groups) * co + d
            y[item][channel][row][column] += x[item][c][i][j] * w[c][d][p][q]
    return y


conv_transpose2d = register(
    GeneralWithAbsent(
        "conv_transpose2d",
        "x w b",
        forward=_conv_transpose2d,
        vjp=(
            _transpose_vjp_x,
            _transpose_vjp_w,
            lambda gy, y, x, w, b, **attrs: _bias_vjp(gy, b),
        ),
        saves="x w",
        attrs={"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1},
        promotes=1,
        sample=_sample_conv_transpose2d,
        reference=_reference_conv_transpose2d,
        conventions="the gradient of conv2d with respect to its images, plus a bias: x (n, "
        "channels in, rows, columns), w (channels in, channels out / groups, rows, columns); "
        "padding is taken off the result, output_padding added at the bottom and right, as in "
        "PyTorch",
    )
)


# ---- conv2d_weight --------------------------------------------------------------------------


def _weight_window(x, gy, size, groups, **attrs):
    op = "conv2d_weight"
    _check_operands(op, 4, x=x, gy=gy)
    _check_groups(op, groups, x=x.shape[1], gy=gy.shape[1])
    if size is None:
        raise TypeError(f"{op}: size must be given: the rows and columns of the weights")
    size = pair(size, "size", op, 1)
    attrs = {name: hashable(value) for name, value in attrs.items()}
    window = _forward_window(op, x.shape[2:], size, **attrs)
    if gy.shape[2:] != window.out or gy.shape[0] != x.shape[0]:
        raise ValueError(
            f"{op}: x is {x.shape} but gy is {gy.shape}: of {x.shape[0]} images it must have "
            f"{window.out[0]} x {window.out[1]} pixels"
        )
    return window


def _conv2d_weight(x, gy, groups, **attrs):
    window = _weight_window(x, gy, groups=groups, **attrs)
    x, gy = contiguous(x), contiguous(gy)
    n, ci, co = x.shape[0], x.shape[1], gy.shape[1]
    shape = (co, ci // groups, *window.size)
    gw = empty(shape, x.dtype, prod(shape))
    status = lib.tga_conv_backward_w(
        x.dtype.code, n, groups, ci, co, window.c, gy.data, x.data, gw.data, kernels.NULL
    )
    kernels.check(status, "conv2d_weight")
    return gw


def _weight_vjp_x(gw, w, x, gy, groups, **attrs):
    return conv_transpose2d(
        gy, gw, groups=groups, **_weight_window(x, gy, groups=groups, **attrs).attrs
    )


def _weight_vjp_gy(gw, w, x, gy, groups, **attrs):
    return conv2d(x, gw, groups=groups, **_weight_window(x, gy, groups=groups, **attrs).attrs)


def _sample_conv2d_weight(random):
    (x, w, _), attrs = _sample_conv2d(random)
    size = nested.shape(w)[2:]
    others = {name: value for name, value in attrs.items() if name != "groups"}
    out, _ = _places(nested.shape(x)[2:], size, **others)
    gy = nested.draw_numbers(random, (nested.shape(x)[0], nested.shape(w)[0], *out))
    return [x, gy], {"size": _simplified(random, tuple(size)), **attrs}


def _reference_conv2d_weight(x, gy, size, groups, **attrs):
    n, channels, *image = nested.shape(x)
    co = nested.shape(gy)[1]
    ci = channels // groups
    size = size if isinstance(size, tuple) else (size, size)
    out, place = _places(image, size, **attrs)

    def one(index):
        channel, c, *tap = index
        c += channel // (co // groups) * ci
        total = 0
        for item, *pixel in nested.indices((n, *out)):
            at = place(pixel, tap)
            if at is not None:
                total += nested.at(gy, (item, channel, *pixel)) * nested.at(x, (item, c, *at))
        return total

    return nested.build((co, ci, *size), one)


conv2d_weight = register(
    General(
        "conv2d_weight",
        "x gy",
        forward=_conv2d_weight,
        vjp=(_weight_vjp_x, _weight_vjp_gy),
        output="w",
        saves="x gy",
        attrs={"size": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
        promotes=1,
        sample=_sample_conv2d_weight,
        reference=_reference_conv2d_weight,
        conventions="the gradient of conv2d with respect to its weights, whose rows and columns "
        "are `size`, from x and the gradient of the result",
    )
)


# ---- conv1d ---------------------------------------------------------------------------------


def _conv1d(x, w, b, stride, padding, dilation, groups):
    op = "conv1d"
    _check_operands(op, 3, x=x, w=w)
    _check_groups(op, groups, x=x.shape[1], w=w.shape[0])
    if x.shape[1] != w.shape[1] * groups:
        raise ValueError(
            f"{op}: x is {x.shape} but w is {w.shape}: with groups = {groups} w must have "
            f"{x.shape[1] // groups} channels in, not {w.shape[1]}"
        )
    (stride,) = pair(stride, "stride", op, 1, ndim=1)
    (dilation,) = pair(dilation, "dilation", op, 1, ndim=1)
    reach = reaches(w.shape[2:], (dilation,))
    if isinstance(padding, (tuple, list)) and len(padding) == 2:
        padding = (padding,)
    (pads,) = paddings(padding, op, x.shape[2:], reach, (stride,))
    if x.shape[2] + sum(pads) < reach[0]:
        raise ValueError(
            f"{op}: the window reaches over {reach[0]}, more than x, {x.shape[2]} long with "
            f"padding {pads}"
        )
    x, w = [reshape(a, shape=(*a.shape[:2], 1, a.shape[2])) for a in (x, w)]
    y = conv2d(
        x,
        w,
        b,
        stride=(1, stride),
        padding=((0, 0), pads),
        dilation=(1, dilation),
        groups=groups,
    )
    return reshape(y, shape=(*y.shape[:2], y.shape[3]))


def _sample_conv1d(random):
    n, groups, ci, co = _draw_channels(random)
    (_, size), (_, stride), (_, dilation), (_, reach) = _draw_window(random)
    length = reach + random.choice([0, 0, 1, 2, 3])
    shapes = [(n, ci * groups, length), (co * groups, ci, size), (co * groups,)]
    attrs = {
        "stride": stride,
        "padding": random.choice([0, 0, 1, 2, "same", (0, 1), (2, 0)]),
        "dilation": dilation,
        "groups": groups,
    }
    return [nested.draw_numbers(random, shape) for shape in shapes], attrs


def _reference_conv1d(x, w, b, stride, padding, dilation, groups):
    co, ci, size = nested.shape(w)
    reach = reaches((size,), (dilation,))
    padding = (padding,) if isinstance(padding, tuple) else padding
    (pads,) = paddings(padding, "reference", nested.shape(x)[2:], reach, (stride,))
    y = []
    for item in x:
        padded = [[*[0] * pads[0], *row, *[0] * pads[1]] for row in item]
        count = (len(padded[0]) - reach[0]) // stride + 1
        channels = []
        for channel, weights in enumerate(w):
            seen = padded[channel // (co // groups) * ci :][:ci]
            channels.append(
                [
                    (b[channel] if b else 0)
                    + sum(
                        v * row[i * stride + p * dilation]
                        for row, line in zip(seen, weights)
                        for p, v in enumerate(line)
                    )
                    for i in range(count)
                ]
            )
        y.append(channels)
    return y


conv1d = register(
    ComposedWithAbsent(
        "conv1d",
        "x w b",
        forward=_conv1d,
        attrs={"stride": 1, "padding": 0, "dilation": 1, "groups": 1},
        promotes=1,
        sample=_sample_conv1d,
        reference=_reference_conv1d,
        conventions="conv2d of images of one row: x (n, channels in, length), w (channels out, "
        "channels in / groups, length); padding may be a pair, (before, after)",
    )
)
