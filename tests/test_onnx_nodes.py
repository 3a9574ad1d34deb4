"""ONNX's own tests of its nodes, run on our ops through a thin adapter.

NODES says how a node is written with our functions; every test that ONNX has of such a node
is run, but those of other dtypes (an int32 counts as an int64), and those in LEFT_OUT, each for
the reason given there.

``pip install -e .[onnx]`` installs what this file needs; it is skipped without.
"""

import math
import warnings
from functools import lru_cache

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor

onnx = pytest.importorskip("onnx", reason="ONNX's tests need the package onnx: extra `onnx`")

OUR_DTYPES = {"float32", "float64", "int64", "bool", "uint8"}


# ---- ONNX's tests ---------------------------------------------------------------------------


@lru_cache(1)
def all_cases():
    """op_type -> the tests of a single node of this type."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about infinities in the expected values
        cases = collect_testcases(None)
    found = {}
    for case in cases:
        if len(case.model.graph.node) == 1:
            found.setdefault(case.model.graph.node[0].op_type, []).append(case)
    return found


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def as_array(value):
    """An array; the integers of 32 bits in 64."""
    if isinstance(value, onnx.TensorProto):
        value = onnx.numpy_helper.to_array(value)
    return value.astype("int64") if getattr(value, "dtype", None) == "int32" else value


def is_ours(values):
    """Whether all inputs and outputs are arrays of our dtypes."""
    return all(getattr(v, "dtype", np.dtype("O")).name in OUR_DTYPES for v in values)


# ---- how a node is written with our functions -----------------------------------------------


class NotOurs(Exception):
    """A test needs what there is not here."""


def needs(condition, reason):
    if not condition:
        raise NotOurs(reason)


def ints(x):
    """A tensor of integers, such as axes, as a tuple."""
    return tuple(x.reshape(-1).tolist())


def plain(function):
    """A node whose inputs are those of an op, without attributes."""
    return lambda *inputs: function(*inputs)


def folded(function):
    """A node of any number of inputs, by an op of two."""

    def node(*inputs):
        y = inputs[0]
        for x in inputs[1:]:
            y = function(y, x)
        return y

    return node


def reduction(function):
    """Axes came as an attribute once, and are an input now."""

    def node(x, axes=None, keepdims=1, noop_with_empty_axes=0):
        if isinstance(axes, Tensor):
            axes = ints(axes)
        if not axes:
            if noop_with_empty_axes:
                axes = ()
            else:
                axes = None
        return function(x, None if axes is None else tuple(axes), bool(keepdims))

    return node


def arg_reduction(function):
    def node(x, axis=0, keepdims=1, select_last_index=0):
        if not select_last_index:
            return function(x, axis=axis, keepdims=bool(keepdims))
        y = function(tga.flip(x, axis=axis), axis=axis, keepdims=bool(keepdims))
        return x.shape[axis] - 1 - y

    return node


def softmax(function):
    return lambda x, axis=-1: function(x, axis=axis)


def cast(x, to, saturate=1, round_mode=None):
    return x.astype(onnx.helper.tensor_dtype_to_np_dtype(to).name)


def clip(x, low=None, high=None, min=None, max=None):
    low = min if low is None else low.item()
    high = max if high is None else high.item()
    return tga.clamp(x, min=low, max=high)


def gemm(a, b, c=None, alpha=1.0, beta=1.0, transA=0, transB=0):
    y = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return y if c is None else y + beta * c


def pad(x, pads, value=None, axes=None, mode=b"constant"):
    before, after = np.array(ints(pads)).reshape(2, -1)
    width = np.zeros((x.ndim, 2), int)
    chosen = range(x.ndim) if axes is None else ints(axes)
    for axis, b, a in zip(chosen, before, after, strict=True):
        width[axis] = b, a
    mode = {"edge": "replicate"}.get(mode.decode(), mode.decode())
    value = 0.0 if value is None else value.item()
    return tga.pad(x, [tuple(pair) for pair in width.tolist()], mode=mode, value=value)


def reshape(x, shape, allowzero=0):
    shape = [n if n or allowzero else x.shape[i] for i, n in enumerate(ints(shape))]
    return x.reshape(*shape)


def slice_(x, starts, ends, axes=None, steps=None):
    starts, ends = ints(starts), ints(ends)
    axes = range(len(starts)) if axes is None else ints(axes)
    steps = [1] * len(starts) if steps is None else ints(steps)
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        n = x.shape[axis]
        start = start + n if start < 0 else start
        end = end + n if end < 0 else end
        if step > 0:
            index[axis] = slice(min(max(start, 0), n), min(max(end, 0), n), step)
        else:
            start, end = min(start, n - 1), max(end, -1)
            index[axis] = slice(start, None if end < 0 else end, step)
    return x[tuple(index)]


def split(x, sizes=None, axis=0, num_outputs=None, split=None):
    n = x.shape[axis]
    if sizes is not None or split is not None:
        sizes = ints(sizes) if sizes is not None else split
    else:
        size = -(-n // num_outputs)
        sizes = [min(size, n - i * size) for i in range(num_outputs)]
    edges = np.cumsum([0, *sizes]).tolist()
    lead = (slice(None),) * (axis % x.ndim)
    return tuple(x[(*lead, slice(a, b))] for a, b in zip(edges, edges[1:], strict=False))


def squeeze(x, axes=None):
    axes = range(x.ndim) if axes is None else ints(axes)
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.squeeze(axis) if x.shape[axis] == 1 else x
    return x


def unsqueeze(x, axes):
    axes = ints(axes)
    for axis in sorted(a % (x.ndim + len(axes)) for a in axes):
        x = x.unsqueeze(axis)
    return x


def expand(x, shape):
    return x.expand(np.broadcast_shapes(x.shape, ints(shape)))


def flatten(x, axis=1):
    rows = math.prod(x.shape[: axis if axis >= 0 else x.ndim + axis])
    return x.reshape(rows, math.prod(x.shape) // rows)


def transpose(x, perm=None):
    return x.T if perm is None else x.permute(*perm)


def trilu(x, k=None, upper=1):
    return (tga.triu if upper else tga.tril)(x, k=0 if k is None else k.item())


def one_hot(index, depth, values, axis=-1):
    depth, (off, on) = int(depth.item()), values.tolist()
    index = index.astype("int64")
    index = tga.where(index < 0, index + depth, index)
    index = tga.where(index < 0, depth, tga.where(index < depth, index, depth))
    y = tga.one_hot(index, depth + 1)[..., :depth]  # what is out of range is no class
    y = off + (on - off) * y
    axes = list(range(y.ndim - 1))
    axes.insert(axis if axis >= 0 else y.ndim + axis, y.ndim - 1)
    return y.permute(*axes).astype(values.dtype)


def gather_elements(x, index, axis=0):
    return tga.gather(x, index, axis=axis)


def scatter_elements(x, index, updates, axis=0, reduction=b"none"):
    assert reduction == b"add"
    return tga.scatter_add(x, index, updates, axis=axis)


def loss(function, is_cross_entropy):
    def node(x, labels, weight=None, ignore_index=-100, reduction=b"mean"):
        y = function(x, labels, reduction.decode(), weight, ignore_index)
        return (y, tga.log_softmax(x, axis=1)) if is_cross_entropy else y

    return node


def layer_normalization(x, scale, bias=None, axis=-1, epsilon=1e-5, stash_type=1):
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean, var = x.mean(axes, keepdims=True), x.var(axes, correction=0, keepdims=True)
    y = tga.layer_norm(x, scale, bias, shape=x.shape[axes[0] :], eps=epsilon)
    return y, mean, (var + epsilon) ** -0.5


def group_normalization(x, scale, bias, num_groups, epsilon=1e-5, stash_type=1):
    return tga.group_norm(x, scale, bias, groups=num_groups, eps=epsilon)


def instance_normalization(x, scale, bias, epsilon=1e-5):
    return tga.group_norm(x, scale, bias, groups=x.shape[1], eps=epsilon)


def batch_normalization(x, scale, bias, mean, var, epsilon=1e-5, momentum=0.9, training_mode=0):
    y = tga.batch_norm(
        x, scale, bias, running_mean=mean, running_var=var, training=bool(training_mode),
        momentum=1 - momentum, eps=epsilon,
    )  # fmt: skip
    return y, mean, var  # which training has moved


def dropout(x, ratio=None, training_mode=None, seed=0):
    assert training_mode is None or not training_mode.item()
    return tga.dropout(x, training=False), tga.ones(x.shape) > 0


def pooling(function):
    """Our pools pad both sides alike and by half a window at most; else it is padded before."""
    is_max = function is tga.max_pool2d

    def node(
        x, kernel_shape, pads=None, strides=None, dilations=None, auto_pad=b"NOTSET", ceil_mode=0,
        count_include_pad=0, storage_order=0,
    ):  # fmt: skip
        size, stride = tuple(kernel_shape), tuple(strides or [1] * len(kernel_shape))
        dilation = tuple(dilations or [1] * len(kernel_shape))
        needs(x.ndim == 4, "images have two axes here")
        needs(x.dtype.is_float, "pools are of floats alone here")
        needs(is_max or set(dilation) == {1}, "the windows of avg_pool2d have no gaps here")
        both = padding_of(pads, auto_pad, x, tga.zeros(1, 1, *size), stride, dilation)
        padding = tuple(before for before, _ in both)
        options = {"dilation": dilation} if is_max else {}
        if all(a == b <= n // 2 for (a, b), n in zip(both, size, strict=True)):
            if not is_max:
                options["count_include_pad"] = bool(count_include_pad)
            return function(x, size, stride, padding, ceil_mode=bool(ceil_mode), **options)
        width = [(0, 0), (0, 0), *both]
        y = function(tga.pad(x, width, value=-math.inf if is_max else 0.0), size, stride, **options)
        if is_max or count_include_pad:
            return y
        return y / function(tga.pad(tga.ones_like(x), width), size, stride)

    return node


def gelu(x, approximate=b"none"):
    return tga.gelu_tanh(x) if approximate == b"tanh" else tga.gelu(x)


def mod(x, y, fmod=0):
    assert not fmod
    return tga.remainder(x, y)


def celu(x, alpha=1.0):
    return tga.celu(x, alpha=alpha)


def top_k(x, k, axis=-1, largest=1, sorted=1):
    places = tga.argsort(x, axis=axis, descending=bool(largest))
    lead = (slice(None),) * (axis % x.ndim)
    places = places[(*lead, slice(0, int(k.item())))]
    return tga.gather(x, places, axis=axis), places


def padding_of(pads, auto_pad, x, w, strides, dilations):
    """(before, after) of each axis of the image."""
    n = w.ndim - 2
    if auto_pad in (b"NOTSET", b"VALID"):
        pads = pads or [0] * (2 * n)
        return list(zip(pads[:n], pads[n:], strict=True))
    found = []
    for length, size, stride, dilation in zip(x.shape[2:], w.shape[2:], strides, dilations):
        reach = (size - 1) * dilation + 1
        total = max((-(-length // stride) - 1) * stride + reach - length, 0)
        small, large = total // 2, total - total // 2
        found.append((small, large) if auto_pad == b"SAME_UPPER" else (large, small))
    return found


def conv(
    x, w, b=None, pads=None, strides=None, dilations=None, group=1, kernel_shape=None,
    auto_pad=b"NOTSET",
):  # fmt: skip
    n = w.ndim - 2
    strides, dilations = strides or [1] * n, dilations or [1] * n
    padding = padding_of(pads, auto_pad, x, w, strides, dilations)
    b = tga.zeros(w.shape[0]) if b is None else b
    return tga.conv2d(
        x, w, b, stride=tuple(strides), padding=padding, dilation=tuple(dilations), groups=group
    )


def conv_transpose(
    x, w, b=None, pads=None, strides=None, dilations=None, group=1, kernel_shape=None,
    output_padding=None,
):  # fmt: skip
    n = w.ndim - 2
    b = tga.zeros(w.shape[1] * group) if b is None else b
    return tga.conv_transpose2d(
        x, w, b, stride=tuple(strides or [1] * n), padding=tuple((pads or [0] * n)[:n]),
        output_padding=tuple(output_padding or [0] * n), groups=group,
        dilation=tuple(dilations or [1] * n),
    )  # fmt: skip


def cumulated(function, neutral):
    def node(x, axis, exclusive=0, reverse=0):
        axis = int(axis.item())
        x = tga.flip(x, axis=axis) if reverse else x
        y = function(x, axis=axis)
        if exclusive:
            lead = (slice(None),) * (axis % x.ndim)
            first = tga.full_like(x[(*lead, slice(0, 1))], neutral)
            y = tga.concat(first, y[(*lead, slice(0, -1))], axis=axis)
        return tga.flip(y, axis=axis) if reverse else y

    return node


NODES = {
    **{name: plain(getattr(tga, name.lower())) for name in (
        "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Div",
        "Erf", "Exp", "Floor", "Identity", "IsNaN", "Log", "MatMul", "Mish", "Mul", "Neg", "Pow",
        "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign",
        "Sqrt", "Sub", "Tan", "Tanh", "Where", "Add", "HardSwish",
    )},
    "Equal": plain(tga.eq),
    "Greater": plain(tga.gt),
    "GreaterOrEqual": plain(tga.ge),
    "Less": plain(tga.lt),
    "LessOrEqual": plain(tga.le),
    "Max": folded(tga.maximum),
    "Min": folded(tga.minimum),
    "Sum": folded(tga.add),
    "Mean": lambda *xs: folded(tga.add)(*xs) / len(xs),
    "Mod": mod,
    # activations
    "Celu": celu,
    "Clip": clip,
    "Elu": lambda x, alpha=1.0: tga.elu(x, alpha=alpha),
    "Gelu": gelu,
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: tga.clamp(alpha * x + beta, 0.0, 1.0),
    "LeakyRelu": lambda x, alpha=0.01: tga.leaky_relu(x, slope=alpha),
    "PRelu": lambda x, slope: tga.where(x > 0, x, slope * x),
    "Selu": lambda x, alpha=1.67326324, gamma=1.05070098: gamma * tga.elu(x, alpha=alpha),
    "Shrink": lambda x, bias=0.0, lambd=0.5: tga.where(
        x < -lambd, x + bias, tga.where(x > lambd, x - bias, 0.0)
    ),
    "Swish": lambda x, alpha=1.0: x * tga.sigmoid(alpha * x),
    "ThresholdedRelu": lambda x, alpha=1.0: tga.threshold(x, threshold=alpha),
    "Softmax": softmax(tga.softmax),
    "LogSoftmax": softmax(tga.log_softmax),
    # reductions
    "ReduceSum": reduction(tga.sum),
    "ReduceMean": reduction(tga.mean),
    "ReduceProd": reduction(tga.prod),
    "ReduceMax": reduction(tga.max),
    "ReduceMin": reduction(tga.min),
    "ReduceL1": reduction(lambda x, axes, keep: x.abs().sum(axes, keep)),
    "ReduceL2": reduction(lambda x, axes, keep: x.square().sum(axes, keep).sqrt()),
    "ReduceSumSquare": reduction(lambda x, axes, keep: x.square().sum(axes, keep)),
    "ReduceLogSum": reduction(lambda x, axes, keep: x.sum(axes, keep).log()),
    "ReduceLogSumExp": reduction(tga.logsumexp),
    "ArgMax": arg_reduction(tga.argmax),
    "ArgMin": arg_reduction(tga.argmin),
    "CumSum": cumulated(tga.cumsum, 0.0),
    "CumProd": cumulated(tga.cumprod, 1.0),
    "TopK": top_k,
    # shapes
    "Cast": cast,
    "Concat": lambda *xs, axis: tga.concat(*xs, axis=axis),
    "Expand": expand,
    "Flatten": flatten,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": lambda x, repeats: tga.tile(x, ints(repeats)),
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
    "Gather": lambda x, index, axis=0: tga.take(x, index, axis=axis),
    "GatherElements": gather_elements,
    "ScatterElements": scatter_elements,
    "OneHot": one_hot,
    "Shape": lambda x, start=0, end=None: Tensor(np.array(x.shape[start:end], dtype="int64")),
    "Size": lambda x: Tensor(np.array(x.size, dtype="int64")),
    # linear algebra, losses, normalisation
    "Gemm": gemm,
    "Einsum": lambda *xs, equation: tga.einsum(*xs, subscripts=equation.decode()),
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "NegativeLogLikelihoodLoss": loss(tga.nll, False),
    "SoftmaxCrossEntropyLoss": loss(tga.cross_entropy, True),
    "LayerNormalization": layer_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "BatchNormalization": batch_normalization,
    "Dropout": dropout,
    "MaxPool": pooling(tga.max_pool2d),
    "AveragePool": pooling(tga.avg_pool2d),
    "GlobalAveragePool": lambda x: x.mean(tuple(range(2, x.ndim)), keepdims=True),
    "GlobalMaxPool": lambda x: x.max(tuple(range(2, x.ndim)), keepdims=True),
}  # fmt: skip

# name of the test -> why it is not run
LEFT_OUT = {
    **dict.fromkeys(
        ["test_div_uint8", "test_div_int32_trunc"],
        "division of integers gives floats here, as in NumPy",
    ),
    **dict.fromkeys(
        [
            *("test_pow_types_int64_float32", "test_pow_types_int64_int64"),
            *("test_pow_types_int32_float32", "test_pow_types_int32_int32"),
        ],
        "pow is of floats alone",
    ),
    **dict.fromkeys(
        ["test_batchnorm_example_training_mode", "test_batchnorm_epsilon_training_mode"],
        "the running variance is that of a sample here, as in PyTorch",
    ),
    **dict.fromkeys(
        [
            f"test_training_dropout{ratio}{mask}"
            for ratio in ("", "_default", "_zero_ratio")
            for mask in ("", "_mask")
        ],
        "at random",
    ),
    "test_wrap_pad": "there is no such mode here",
    **dict.fromkeys(
        ["test_mod_mixed_sign_float64", "test_mod_mixed_sign_float32", "test_mod_int64_fmod"],
        "fmod: the remainder here has the sign of the divisor",
    ),
    **dict.fromkeys(
        [f"test_reduce_{n}" for n in ("max_empty_set", "max_empty_set_bool", "min_empty_set")],
        "the largest of nothing is an error here, as in NumPy",
    ),
    **dict.fromkeys(
        [
            *("test_scatter_elements_without_axis", "test_scatter_elements_with_axis"),
            "test_scatter_elements_with_negative_indices",
            *(f"test_scatter_elements_with_reduction_{name}" for name in ("mul", "max", "min")),
        ],
        "here scattered values are added",
    ),
    **dict.fromkeys(
        ["test_convtranspose_1d", "test_convtranspose_3d"], "images have two axes here"
    ),
    **dict.fromkeys(
        [f"test_convtranspose_{n}" for n in ("output_shape", "kernel_shape", "autopad_same")],
        "here the padding is given, and not the shape of the result",
    ),
}


# What ONNX expects of these is given to four digits.
FEW_DIGITS = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}

REFUSED = {}  # the same, as the adapter tells


@pytest.mark.parametrize("op_type", NODES)
def test_node(op_type):
    ran, failed = 0, []
    for case in all_cases()[op_type]:
        node = case.model.graph.node[0]
        for data in case.data_sets:
            inputs, outputs = [list(map(as_array, values)) for values in data]
            if case.name in LEFT_OUT or not is_ours([*inputs, *outputs]):
                continue
            ran += 1
            try:
                _check(case, node, inputs, outputs)
            except NotOurs as error:
                ran -= 1
                REFUSED[case.name] = str(error)
            except Exception as error:
                failed.append(f"{case.name}: {type(error).__name__}: {str(error)[:300]}")
    assert not failed, "\n".join(failed)
    assert ran, "ONNX has no test of it in our dtypes"


def _check(case, node, inputs, outputs):
    given = iter(inputs)
    tensors = [Tensor(next(given)) if name else None for name in node.input]
    attrs = attributes(node)
    if node.op_type == "Split":
        attrs["num_outputs"] = len(node.output)
    got = NODES[node.op_type](*tensors, **attrs)
    got = got if isinstance(got, tuple) else (got,)
    needs(len(got) >= len(node.output), "the places of the largest are counted otherwise here")
    wanted = [i for i, name in enumerate(node.output) if name]
    for i, expected in zip(wanted, outputs, strict=True):
        y = got[i].numpy()
        if expected.dtype == "uint8":  # storage here: arithmetic is in int64
            y = y.astype("uint8")
        assert y.shape == expected.shape and y.dtype == expected.dtype, (y, expected)
        rtol = case.rtol if case.name in FEW_DIGITS else 1e-5 if y.dtype.kind == "f" else 0
        np.testing.assert_allclose(y, expected, rtol=rtol, atol=case.atol)


def test_report(capsys):
    """What was run, and what not."""
    with capsys.disabled():
        print(f"\nrun on our ops, of ONNX {onnx.__version__}: {', '.join(sorted(NODES))}")
        for name, reason in {**LEFT_OUT, **REFUSED}.items():
            print(f"not run: {name}: {reason}")
    assert set(LEFT_OUT) <= {case.name for name in NODES for case in all_cases()[name]}
