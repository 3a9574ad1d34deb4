"""Convolution: larger shapes than the records' samples, so that every path of csrc/conv.c runs.

The truth is a sum over the places of the window of NumPy products in float64.  Sums of n terms
may be off by n units in the last place of the sum of their sizes, whatever their order.
"""

import itertools

import numpy as np
import pytest
from oracle import GuardedPage, in_child, same_bits, threads

import tinygrad_act as tga
from tinygrad_act import Tensor, grad

# images, channels in, channels out, groups, image, window, stride, padding, dilation
SHAPES = {
    "plain": (3, 3, 5, 1, (9, 11), (3, 3), 1, 0, 1),
    "rows of a vector and a half": (2, 2, 30, 1, (26, 26), (3, 3), 1, 0, 1),
    "one channel": (17, 1, 33, 1, (12, 10), (3, 3), 1, 0, 1),
    "padded": (2, 2, 4, 1, (7, 18), (3, 5), 1, (1, 2), 1),
    "strides": (2, 3, 4, 1, (11, 40), (3, 3), (2, 3), (1, 0), 1),
    "strides beyond the window": (1, 2, 3, 1, (9, 13), (1, 2), (3, 4), 0, 1),
    "gaps": (1, 2, 3, 1, (12, 36), (3, 2), (1, 2), (2, 1), (2, 5)),
    "groups": (2, 6, 9, 3, (8, 9), (2, 2), 1, 1, 1),
    "depthwise": (18, 5, 5, 5, (6, 37), (3, 3), 1, 1, 1),
    "depthwise with strides": (2, 3, 3, 3, (8, 41), (3, 2), (1, 2), 1, (1, 3)),
    "depthwise, five rows": (2, 3, 3, 3, (7, 19), (5, 3), 1, (2, 1), 1),
    "depthwise, padding alone": (2, 3, 3, 3, (5, 6), (3, 3), 1, 4, 1),
    "depthwise with gaps": (2, 2, 2, 2, (9, 35), (3, 3), 1, (2, 3), (2, 3)),
    "depthwise, cropped": (2, 3, 3, 3, (8, 9), (3, 3), 1, ((1, -2), (0, -1)), 1),
    "one to one": (1, 70, 20, 1, (5, 7), (1, 1), 1, 0, 1),
    "as large as the image": (2, 3, 4, 1, (6, 5), (6, 5), 1, 0, 1),
    "one column": (2, 1, 2, 1, (40, 1), (3, 1), 1, (1, 0), 1),
    "many weights": (1, 60, 3, 1, (6, 6), (3, 3), 1, 1, 1),
    "many channels out": (1, 2, 600, 1, (5, 6), (2, 3), 1, 0, 1),
    "many pixels": (1, 2, 3, 1, (60, 70), (3, 3), 1, 1, 1),
    "lopsided": (1, 2, 2, 1, (7, 8), (2, 4), (2, 1), "same", 1),
    "cropped": (1, 2, 2, 1, (8, 9), (3, 3), 2, ((1, -2), (0, -1)), 1),
    "no images": (0, 2, 3, 1, (5, 5), (3, 3), 1, 0, 1),
}


def both(value):
    return value if isinstance(value, tuple) else (value, value)


class Case:
    """Operands, and what NumPy makes of them."""

    def __init__(self, n, ci, co, groups, image, size, stride, padding, dilation):
        rng = np.random.default_rng(1)
        self.attrs = {
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups
        }  # fmt: skip
        self.groups, self.size = groups, size
        self.stride, self.dilation = both(stride), both(dilation)
        reach = [(k - 1) * d + 1 for k, d in zip(size, self.dilation, strict=True)]
        if padding == "same":
            total = [
                max((-(-m // s) - 1) * s + r - m, 0)
                for m, s, r in zip(image, self.stride, reach, strict=True)
            ]
            pads = [(t // 2, t - t // 2) for t in total]
        else:
            pads = [p if isinstance(p, tuple) else (p, p) for p in both(padding)]
        self.before = [p[0] for p in pads]
        self.out = [
            (m + sum(p) - r) // s + 1
            for m, p, r, s in zip(image, pads, reach, self.stride, strict=True)
        ]
        self.x = rng.normal(size=(n, ci, *image)).astype("float32").astype("float64")
        self.w = rng.normal(size=(co, ci // groups, *size)).astype("float32").astype("float64")
        self.b = rng.normal(size=co).astype("float32").astype("float64")
        self.gy = rng.normal(size=(n, co, *self.out)).astype("float32").astype("float64")

    def seen(self, padded, p, q):
        """What place (p, q) of the window sees: a view (n, channels, rows, columns)."""
        i, j = p * self.dilation[0], q * self.dilation[1]
        return padded[
            :,
            :,
            i : i + (self.out[0] - 1) * self.stride[0] + 1 : self.stride[0],
            j : j + (self.out[1] - 1) * self.stride[1] + 1 : self.stride[1],
        ]

    def around(self, x):
        """x with so many zeros around that every place is inside, and x's corner in it."""
        far = [
            (o - 1) * s + (k - 1) * d + 1
            for o, s, k, d in zip(self.out, self.stride, self.size, self.dilation, strict=True)
        ]
        sizes = [a + b + n for a, b, n in zip(self.before, far, x.shape[2:], strict=True)]
        padded = np.zeros((*x.shape[:2], *sizes))
        padded[self.inside(x.shape)] = x
        return padded

    def inside(self, shape):
        rows, columns = [slice(b, b + n) for b, n in zip(self.before, shape[2:], strict=True)]
        return (slice(None), slice(None), rows, columns)

    def results(self, x, w, b, gy):
        """y, and the gradients of x, w and b."""
        n, co = gy.shape[:2]
        padded = self.around(x)
        g_padded = np.zeros_like(padded)
        w = w.reshape(self.groups, co // self.groups, -1, *self.size)
        gy = gy.reshape(n, self.groups, co // self.groups, *self.out)
        y = np.zeros_like(gy) + b.reshape(1, self.groups, -1, 1, 1)
        gw = np.zeros_like(w)
        for p, q in itertools.product(*map(range, self.size)):
            seen = self.seen(padded, p, q).reshape(n, self.groups, w.shape[2], *self.out)
            y += np.einsum("ngcij,gdc->ngdij", seen, w[..., p, q])
            gw[..., p, q] = np.einsum("ngcij,ngdij->gdc", seen, gy)
            view = self.seen(g_padded, p, q)
            view += np.einsum("ngdij,gdc->ngcij", gy, w[..., p, q]).reshape(view.shape)
        return [
            y.reshape(n, co, *self.out),
            g_padded[self.inside(x.shape)],
            gw.reshape(co, -1, *self.size),
            gy.sum(axis=(0, 3, 4)).ravel(),
        ]

    def computed(self, dtype):
        """The same from our kernels."""
        leaves = [Tensor(a, requires_grad=True, dtype=dtype) for a in (self.x, self.w, self.b)]
        y = tga.conv2d(*leaves, **self.attrs)
        gradients = grad(y, leaves, Tensor(self.gy, dtype=dtype))
        return [t.numpy() for t in (y, *gradients)]

    def full_padding(self):
        return tuple(
            (b, (o - 1) * s + (k - 1) * d + 1 - n - b)
            for b, o, s, k, d, n in zip(
                self.before, self.out, self.stride, self.size, self.dilation, self.x.shape[2:],
                strict=True,
            )
        )  # fmt: skip


@pytest.fixture(scope="module", params=SHAPES)
def case(request):
    return Case(*SHAPES[request.param])


def test_values_and_gradients(case, dtype, isa):
    operands = case.x, case.w, case.b, case.gy
    exact = case.results(*operands)
    sizes = case.results(*map(np.abs, operands))
    pixels = len(case.x) * case.out[0] * case.out[1]
    k, taps = case.w[0].size, case.size[0] * case.size[1]
    counts = [k + 1, len(case.w) * taps, pixels, pixels]
    for got, right, size, count in zip(case.computed(dtype), exact, sizes, counts, strict=True):
        assert got.shape == right.shape
        bound = (count + 2) * np.finfo(dtype).eps * size
        assert (np.abs(got - right) <= bound).all(), np.abs(got - right).max()


def test_threads_and_neighbours(case, dtype, isa):
    """The same bits on two threads; and y and the gradient of x of an image on its own."""
    with threads(1):
        one = case.computed(dtype)
    with threads(2):
        two = case.computed(dtype)
    assert all(map(same_bits, one, two))
    if len(case.x):
        last = Case.__new__(Case)
        vars(last).update(vars(case))
        last.x, last.gy = case.x[-1:], case.gy[-1:]
        alone = last.computed(dtype)
        assert same_bits(alone[0][0], one[0][-1]) and same_bits(alone[1][0], one[1][-1])


def test_transposed_is_the_gradient(case, dtype):
    """conv_transpose2d, with a bias, is the gradient of conv2d with respect to x, plus the bias."""
    x, w, gy = [Tensor(a, dtype=dtype) for a in (case.x, case.w, case.gy)]
    bias = np.arange(case.x.shape[1], dtype="float64")
    attrs = {**case.attrs, "padding": case.full_padding()}
    got = tga.conv_transpose2d(gy, w, Tensor(bias, dtype=dtype), **attrs)
    expected = case.computed("float64")[1] + bias.reshape(-1, 1, 1)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=3e3 * eps)
    weight = tga.conv2d_weight(x, gy, size=case.size, **attrs).numpy()
    np.testing.assert_array_equal(weight, case.computed(dtype)[2])


def test_bias_may_be_left_out(dtype):
    case = Case(*SHAPES["plain"])
    x, w = Tensor(case.x, dtype=dtype), Tensor(case.w, dtype=dtype)
    zero = tga.conv2d(x, w, tga.zeros(5, dtype=dtype), 2, 1)
    for y in (
        tga.conv2d(x, w, stride=2, padding=1),
        tga.conv2d(x, w, None, 2, 1),
        tga.conv2d(x, w, b=None, stride=2, padding=1),
        tga.conv2d(x, w, b=tga.zeros(5, dtype=dtype), stride=2, padding=1),
    ):
        assert y.tolist() == zero.tolist()
    row = Tensor(case.x[:, :, 0], dtype=dtype)
    y = tga.conv1d(row, w[:, :, 0], padding="same")
    assert y.shape == (3, 5, 11)
    assert y.tolist() == tga.conv1d(row, w[:, :, 0], tga.zeros(5, dtype=dtype), padding=1).tolist()


def test_gradient_of_one_operand_alone(dtype):
    """Those that are not wanted are not computed, and change nothing."""
    case = Case(*SHAPES["groups"])
    every = case.computed(dtype)[1:]
    for i, values in enumerate((case.x, case.w, case.b)):
        operands = [Tensor(a, dtype=dtype) for a in (case.x, case.w, case.b)]
        operands[i] = Tensor(values, requires_grad=True, dtype=dtype)
        y = tga.conv2d(*operands, **case.attrs)
        (alone,) = grad(y, operands[i], Tensor(case.gy, dtype=dtype))
        assert same_bits(alone.numpy(), every[i])


def test_infinity_stays_where_it_is_seen(dtype, isa):
    """Pixels that are not seen, and columns that only fill up a vector, do not matter."""
    x = np.zeros((1, 1, 6, 40), dtype)
    x[0, 0, 2, 20] = np.inf
    leaf = Tensor(x, requires_grad=True)
    w = Tensor(np.ones((1, 1, 3, 3), dtype))
    y = tga.conv2d(leaf, w)
    seen = np.zeros((4, 38), bool)
    seen[0:3, 18:21] = True
    assert (np.isinf(y.numpy()[0, 0]) == seen).all() and not np.isnan(y.numpy()).any()
    gy = np.zeros(y.shape, dtype)
    gy[0, 0, 3, 37] = np.nan
    (gx,) = grad(y, leaf, Tensor(gy))
    touched = np.zeros((6, 40), bool)
    touched[3:6, 37:40] = True
    assert (np.isnan(gx.numpy()[0, 0]) == touched).all()


def test_infinity_meets_no_lane_that_is_empty(dtype, isa):
    """A depthwise window's tap sums what it sees, not what its row of lanes reaches over."""
    x = np.zeros((1, 2, 3, 20), dtype)
    x[0, :, 1, 18:] = np.inf
    w = Tensor(np.zeros((2, 1, 1, 3), dtype), requires_grad=True)
    (gw,) = grad(tga.conv2d(Tensor(x), w, groups=2).sum(), w)
    np.testing.assert_array_equal(gw.numpy()[:, 0, 0], [[0, np.inf, np.inf]] * 2)


@pytest.mark.parametrize("channels", [(1, 1), (2, 3), (8, 8), (40, 70), "depthwise"], ids=str)
def test_an_infinite_weight_does_not_meet_the_padding(channels, dtype, isa):
    """What is beyond the border is no number, so that nothing is 0 times infinity there."""
    inputs, outputs = (5, 5) if channels == "depthwise" else channels
    groups = 5 if channels == "depthwise" else 1
    x = Tensor(np.ones((2, inputs, 5, 6), dtype), requires_grad=True)
    w = Tensor(np.full((outputs, inputs // groups, 3, 3), np.inf, dtype))
    y = tga.conv2d(x, w, padding=1, groups=groups)
    assert np.isposinf(y.numpy()).all()
    (gx,) = grad(y, x, Tensor(np.ones(y.shape, dtype)))
    assert np.isposinf(gx.numpy()).all()


def test_an_infinite_gradient_meets_the_padding_on_all_sides(dtype, isa):
    """A channel has the same gradient of its window by itself and among others."""
    x = Tensor(np.ones((1, 2, 8, 8), dtype))
    gy = np.ones((1, 2, 8, 8), dtype)
    gy[..., 0, 0] = np.inf
    gradients = []
    for groups in (1, 2):
        w = Tensor(np.ones((2, 2 // groups, 3, 3), dtype), requires_grad=True)
        b = Tensor(np.ones(2, dtype), requires_grad=True)
        y = tga.conv2d(x, w, b, padding=1, groups=groups)
        gw, gb = grad(y, (w, b), Tensor(gy))
        assert np.isposinf(gb.numpy()).all()
        gradients.append(gw.numpy()[:, 0])
    np.testing.assert_array_equal(*gradients)
    seen = [[np.nan] * 3, [np.nan, np.inf, np.inf], [np.nan, np.inf, np.inf]]
    np.testing.assert_array_equal(gradients[0], [seen] * 2)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_nothing_beyond_the_operands_is_touched(isa, dtype):
    def work(report):
        pages = [GuardedPage(8) for _ in range(4)]
        cases = ("plain", "padded", "strides", "groups", "one column", "cropped")
        for name in (*cases, "depthwise with strides", "depthwise, cropped"):
            case = Case(*SHAPES[name])
            for place in ("at_end", "at_start"):
                report(f"{name} {place}")
                arrays = []
                operands = (case.x, case.w, case.b, case.gy)
                for page, values in zip(pages, operands, strict=True):
                    flat = getattr(page, place)(values.size, dtype)
                    flat[:] = values.ravel()
                    arrays.append(tga.from_numpy(flat.reshape(values.shape)))
                *leaves, gy = arrays
                for leaf in leaves:
                    leaf.requires_grad = True
                grad(tga.conv2d(*leaves, **case.attrs), leaves, gy)

    status, last = in_child(work)
    assert status == 0, f"{last}: signal {-status}" if status < 0 else last


ERRORS = [
    (lambda x, w: tga.conv2d(x[0], w), r"conv2d: x is \(2, 5, 6\), but must be \(n, channels"),
    (lambda x, w: tga.conv2d(x, w[0]), r"conv2d: w is \(2, 3, 3\), but must be \(channels out"),
    (lambda x, w: tga.conv2d(x, w[:, :1]), r"with groups = 1 w must have 2 channels in, not 1"),
    (lambda x, w: tga.conv2d(x, w, groups=2), r"w must have 1 channels in, not 2"),
    (lambda x, w: tga.conv2d(x, w[:3], groups=2), r"w has 3 channels, no multiple of groups = 2"),
    (lambda x, w: tga.conv2d(x, w, groups=0), r"groups must be an integer of at least 1, not 0"),
    (lambda x, w: tga.conv2d(x, w, w[0, 0, 0]), r"b is \(3,\): b must be \(4,\)"),
    (lambda x, w: tga.conv2d(x, w, stride=0), r"stride is 0, but must be at least 1"),
    (lambda x, w: tga.conv2d(x, w, stride=(1, 2, 3)), r"stride must be an integer or 2 of them"),
    (lambda x, w: tga.conv2d(x, w, stride=1.5), r"stride must be an integer or 2 of them, not 1.5"),
    (lambda x, w: tga.conv2d(x, w, padding=-1), r"padding is -1, but must be at least 0"),
    (lambda x, w: tga.conv2d(x, w, padding="full"), r"'same' or 'valid', not 'full'"),
    (lambda x, w: tga.conv2d(x, w, padding=((-1, 0), 0)), r"2 pairs of which the first"),
    (lambda x, w: tga.conv2d(x, w, dilation=3), r"reaches over 7 x 7, more than the image, 5 x 6"),
    (
        lambda x, w: tga.conv2d(x.astype("int64"), w.astype("int64")),
        r"conv2d: needs float32 or float64, but x is int64",
    ),
    (lambda x, w: tga.conv2d(x, w[:, :, :0]), r"w is \(4, 2, 0, 3\).*each at least 1"),
    (lambda x, w: tga.conv_transpose2d(x, w), r"second axis of x and the first of w"),
    (lambda x, w: tga.conv_transpose2d(x, w[:2], padding=9), r"nothing is left"),
    (lambda x, w: tga.conv_transpose2d(x, w[:2], padding="same"), r"not 'same'"),
    (
        lambda x, w: tga.conv_transpose2d(x, w[:2], output_padding=1),
        r"output_padding is 1, but must be below stride or dilation",
    ),
    (lambda x, w: tga.conv2d_weight(x, x), r"size must be given"),
    (lambda x, w: tga.conv2d_weight(x, x, 3), r"gy is \(1, 2, 5, 6\): of 1 images .* 3 x 4 pixels"),
    (lambda x, w: tga.conv1d(x, w), r"conv1d: x is \(1, 2, 5, 6\), but must be \(n, channels, len"),
    (
        lambda x, w: tga.conv1d(x[:, 0], w[:, :1, 0].expand(4, 5, 3), stride=(1, 1)),
        r"conv1d: stride must be an integer, not \(1, 1\)",
    ),
    (lambda x, w: tga.conv1d(x[:, 0, :4], w[:, 0], groups=2), r"w must have 2 channels in, not 3"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", ERRORS)
def test_errors(call, message):
    x, w = tga.zeros(1, 2, 5, 6), tga.zeros(4, 2, 3, 3)
    with pytest.raises((TypeError, ValueError), match=message):
        call(x, w)


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_bias_without_elements_is_none(create_graph):
    """As what stands in the place of one that is not given; its gradient has no elements either."""
    x, w, b = (tga.ones(*s, requires_grad=True) for s in ((1, 2, 4, 5), (3, 2, 3, 3), (0,)))
    y = tga.conv2d(x, w, b)
    assert y.tolist() == tga.conv2d(x, w).tolist()
    gw, gb = tga.grad(y.sum(), [w, b], create_graph=create_graph)
    assert gb.shape == (0,) and gw.tolist() == [[[[6.0] * 3] * 3] * 2] * 3
