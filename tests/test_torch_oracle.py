"""PyTorch as oracle: value, gradient and second gradient of every op that both have.

PyTorch computes in float64, and what we compute in float32 and float64 must be as near to
that as the records promise: in ulp where they state it, else within the bound of the
textbook's computation.  An op is found in PyTorch by its name, unless ADAPTERS says how it
is called there; LEFT_OUT says why one is not compared.

``pip install -e .[oracle]`` installs what this file needs; it is skipped without.
"""

import random
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import Rounded
from strategies import OPS, by_name, calls, is_differentiable
from test_gradients import EPS, bounds_on_gradients, gradients_for
from test_mixing import rounded

import tinygrad_act as tga
from tinygrad_act import Tensor, grad
from tinygrad_act.op import Binary, Elementwise

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: extra `oracle`")
F = torch.nn.functional

few = settings(max_examples=max(settings().max_examples // 4, 3))

LEFT_OUT = {
    "maxout": "PyTorch has none",
    "hinge": "PyTorch's hinge_embedding_loss is another function",
    "put": "PyTorch writes in place: y[index] = x",
    "index_sum": "the transpose of take; PyTorch writes in place: index_add_",
    "scatter_sum": "the transpose of gather; PyTorch writes in place: scatter_add_",
    "diagonal_put": "the transpose of diagonal; PyTorch writes in place",
    "conv2d_weight": "compared as the gradient of conv2d",
    "standardize": "what the norms are made of; PyTorch has none",
    "drop": "PyTorch has no dropout by a given mask",
    "dropout2d": "at random; PyTorch takes images alone",
}

# PyTorch cannot differentiate these twice, or not exactly.
FIRST_ORDER_ALONE = {
    "hardsigmoid": "not implemented there",
    "bce": "it adds 1e-12 to both factors of the denominator",
}

# PyTorch computes with a constant of float32, in float64 too: 1 / alpha, and 1 / 6.
SINGLE_THERE = {"celu", "hardsigmoid"}

# ---- how PyTorch calls an op ----------------------------------------------------------------


def axes_of(x, axis):
    """The axes of a reduction, from the last to the first."""
    if axis is None:
        return list(range(x.ndim))[::-1]
    axes = axis if isinstance(axis, (tuple, list)) else [axis]
    return sorted((a % x.ndim for a in axes), reverse=True)


def one_by_one(function):
    """A reduction over several axes, by one that takes a single axis."""

    def reduce(x, axis, keepdims):
        x = x.clone() if x.ndim or axis == () else function(x.reshape(1), 0, False)
        for a in axes_of(x, axis):
            x = function(x, a, keepdims)
        return x

    return reduce


def over_axes(function):
    """A reduction that takes many axes, but means all of them by none."""

    def reduce(x, axis, keepdims, **attrs):
        axes = axes_of(x, axis)
        return function(x, dim=axes, keepdim=keepdims, **attrs) if axes or not x.ndim else x.clone()

    return reduce


def loss(function):
    """PyTorch's losses call the prediction `input` and the rest alike."""

    def call(x, t, **attrs):
        if attrs.get("weight") is not None:
            attrs["weight"] = torch.tensor(attrs["weight"], dtype=x.dtype)
        if "pos_weight" in attrs:
            attrs["pos_weight"] = torch.tensor(attrs["pos_weight"], dtype=x.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # kl_div's 'mean' is what it is here, too
            return function(x, t, **attrs)

    return call


def getitem(x, index):
    assume(not any(isinstance(i, slice) and (i.step or 1) < 0 for i in index))
    return x[tuple(torch.as_tensor(i) if isinstance(i, (list, np.ndarray)) else i for i in index)]


def from_the_front(index, length):
    """PyTorch counts no index from the end."""
    return torch.where(index < 0, index + length, index)


def index_select(x, index, axis):
    assume(index.ndim <= 1)
    return torch.index_select(x, axis, from_the_front(index, x.shape[axis]))


def embedding(index, w):
    assume(w.ndim == 2)
    return F.embedding(from_the_front(index, len(w)), w)


def gather(x, index, axis):
    return torch.gather(x, axis, from_the_front(index, x.shape[axis]))


def scatter_add(x, index, source, axis):
    return torch.scatter_add(x, axis, from_the_front(index, x.shape[axis]), source)


def take(x, index, axis):
    if axis is None:
        return torch.take(x, index)
    axis %= x.ndim
    index = from_the_front(index, x.shape[axis])
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, index.reshape(-1)).reshape(shape)


def clamp(x, min, max):
    return x.clone() if min is None and max is None else torch.clamp(x, min, max)


def along_axis(function):
    """What goes along an axis, of x flattened if there is none."""

    def call(x, axis, **attrs):
        return function(x.reshape(-1), 0, **attrs) if axis is None else function(x, axis, **attrs)

    return call


def cumsum(x, axis, reverse):
    if not reverse:
        return torch.cumsum(x, axis)
    return torch.flip(torch.cumsum(torch.flip(x, [axis]), axis), [axis])


def sort(x, axis, descending):
    return torch.sort(x, dim=axis, descending=descending, stable=True)


def norm(x, p, axis, keepdims):
    axes = axes_of(x, axis)
    if not axes and x.ndim:  # of nothing but the number itself
        return x.abs() if p else (x != 0).double()
    return torch.linalg.vector_norm(x, p, axes or None, keepdims)


def convolution(function):
    """PyTorch pads both sides alike; so what differs is padded before."""

    def convolve(x, w, b=None, *, padding, **attrs):
        assume(padding != "same" or np.max(attrs["stride"]) == 1)  # there it is for stride 1
        if isinstance(padding, (tuple, list)):
            pairs = [padding] if x.ndim == 3 else [np.broadcast_to(p, 2).tolist() for p in padding]
            x, padding = F.pad(x, [n for pair in reversed(pairs) for n in pair]), 0
        return function(x, w, b, padding=padding, **attrs)

    return convolve


def roll(x, shift, axis):
    if isinstance(axis, tuple) and not isinstance(shift, tuple):
        shift = (shift,) * len(axis)
    return torch.roll(x, shift, axis)


def repeat(x, repeats, axis):
    repeats = torch.tensor(repeats) if isinstance(repeats, (tuple, list)) else repeats
    return torch.repeat_interleave(x, repeats, axis)


def pad(x, width, mode, value):
    width = width if x.ndim else np.zeros((0, 2), int)
    flat = [n for pair in reversed(np.broadcast_to(width, (x.ndim, 2)).tolist()) for n in pair]
    assume(mode == "constant" or all(n == 0 for n in flat))
    return F.pad(x, flat, value=value)


def batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps):
    running = [
        None if v is None else torch.tensor(v, dtype=x.dtype) for v in (running_mean, running_var)
    ]
    training = training or running_mean is None
    return F.batch_norm(x, *running, weight, bias, training, momentum, eps)


def group_norm(x, weight, bias, groups, eps):
    assume(x.numel() > x.shape[0] * groups)  # PyTorch refuses sets of one
    return F.group_norm(x, groups, weight, bias, eps)


ADAPTERS = {
    "max_pool2d": lambda x, size, **attrs: F.max_pool2d(x, size, **attrs),
    "max_pool2d_index": lambda x, size, **attrs: F.max_pool2d(
        x, size, return_indices=True, **attrs
    )[1],
    "avg_pool2d": lambda x, size, **attrs: F.avg_pool2d(x, size, **attrs),
    "adaptive_avg_pool2d": lambda x, size: F.adaptive_avg_pool2d(x, size),
    "batch_norm": batch_norm,
    "group_norm": group_norm,
    "layer_norm": lambda x, weight, bias, shape, eps: F.layer_norm(
        x, shape or x.shape[-1:], weight, bias, eps
    ),
    "dropout": lambda x, p, training: F.dropout(x, p, training),
    "alpha_dropout": lambda x, p, training: F.alpha_dropout(x, p, training),
    "div": torch.div,
    "identity": lambda x: x.clone(),
    "clamp": clamp,
    "astype": lambda x, dtype, source: x.clone(),
    "leaky_relu": lambda x, slope: F.leaky_relu(x, slope),
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "threshold": lambda x, threshold, value: F.threshold(x, threshold, value),
    "rrelu": lambda x, lower, upper: F.rrelu(x, lower, upper, training=False),
    "softmin": lambda x, axis: F.softmin(x, dim=axis),
    "reshape": lambda x, shape: x.reshape(shape),
    "flatten": lambda x, start_axis, end_axis: torch.flatten(x, start_axis, end_axis),
    "expand": lambda x, shape: x.expand(shape),
    "transpose": lambda x, axis0, axis1: x.transpose(axis0, axis1),
    "squeeze": lambda x, axis: x.squeeze() if axis is None else x.squeeze(axis),
    "concat": lambda *xs, axis: torch.cat(xs, axis),
    "stack": lambda *xs, axis: torch.stack(xs, axis),
    "getitem": getitem,
    "take": take,
    "embedding": embedding,
    "gather": gather,
    "scatter_add": scatter_add,
    "index_select": index_select,
    "masked_fill": lambda x, mask, value: x.masked_fill(mask, value),
    "one_hot": lambda index, classes, dtype: F.one_hot(index, classes or -1).double(),
    "sum": over_axes(torch.sum),
    "mean": over_axes(torch.mean),
    "prod": one_by_one(torch.prod),
    "max": over_axes(torch.amax),
    "min": over_axes(torch.amin),
    "amax": over_axes(torch.amax),
    "amin": over_axes(torch.amin),
    "var": over_axes(torch.var),
    "std": over_axes(torch.std),
    "logsumexp": over_axes(torch.logsumexp),
    "norm": norm,
    "argmax": lambda x, axis, keepdims: torch.argmax(x, axis, keepdims),
    "argmin": lambda x, axis, keepdims: torch.argmin(x, axis, keepdims),
    "any": lambda x, axis, keepdims: one_by_one(torch.any)(x != 0, axis, keepdims),
    "all": lambda x, axis, keepdims: one_by_one(torch.all)(x != 0, axis, keepdims),
    "prelu": lambda x, w: F.prelu(x, w.reshape(-1)),
    "glu": lambda x, axis: F.glu(x, axis),
    "bilinear": lambda x1, x2, w, b: F.bilinear(x1, x2, w, b),
    "conv1d": convolution(F.conv1d),
    "conv2d": convolution(F.conv2d),
    "count_nonzero": over_axes(lambda x, dim, keepdim: (x != 0).sum(dim=dim, keepdim=keepdim)),
    "cumsum": along_axis(cumsum),
    "cumprod": along_axis(torch.cumprod),
    "sort": along_axis(lambda x, axis, descending: sort(x, axis, descending).values),
    "topk_index": lambda x, k, axis, largest: x.topk(k, axis, largest).indices,
    "argsort": along_axis(lambda x, axis, descending: sort(x, axis, descending).indices),
    "tile": lambda x, reps: torch.tile(x, (reps,) if isinstance(reps, int) else tuple(reps)),
    "repeat": repeat,
    "flip": lambda x, axis: torch.flip(x, axes_of(x, axis)),
    "roll": roll,
    "pad": pad,
    "tril": lambda x, k: torch.tril(x, k),
    "triu": lambda x, k: torch.triu(x, k),
    "diagonal": lambda x, offset, axis0, axis1: torch.diagonal(x, offset, axis0, axis1),
    "trace": lambda x, offset, axis0, axis1: torch.diagonal(x, offset, axis0, axis1).sum(-1),
    "einsum": lambda *xs, subscripts: torch.einsum(subscripts, *xs),
    "l1": loss(F.l1_loss),
    "mse": loss(F.mse_loss),
    "huber": loss(F.huber_loss),
    "smooth_l1": loss(F.smooth_l1_loss),
    "bce": loss(F.binary_cross_entropy),
    "bce_with_logits": loss(F.binary_cross_entropy_with_logits),
    "kl_div": loss(F.kl_div),
    "nll": loss(F.nll_loss),
    "cross_entropy": loss(F.cross_entropy),
}

RENAMED = {"axis": "dim", "keepdims": "keepdim", "axes": "dims"}


def in_torch(op):
    """The function of PyTorch that is this op, or None."""
    if op.name in LEFT_OUT:
        return None
    if op.name in ADAPTERS:
        return ADAPTERS[op.name]
    for module in (torch, torch.special, F):
        function = getattr(module, op.name, None)
        if function is not None:
            return lambda *inputs, **attrs: function(
                *inputs, **{RENAMED.get(name, name): value for name, value in attrs.items()}
            )
    return None


COMPARED = [op for op in OPS if in_torch(op) is not None]

# ---- what is compared -----------------------------------------------------------------------


def bound_on_values(call, precision, exact):
    """How far a value may be off, computed in float32 or float64."""
    op = call.op
    if op.max_ulp is not None and isinstance(op, (Elementwise, Binary)):
        size = np.abs(exact).astype(precision)
        bound = op.max_ulp[precision] * np.spacing(size).astype("float64")
        tail = getattr(op, "tail", None)
        if tail is not None and tail.max_abs is not None:
            bound = np.where(call.inputs[0] < tail.x, tail.max_abs[precision], bound)
        elif tail is not None:
            wider = tail.max_ulp[precision] * np.spacing(size).astype("float64")
            bound = np.where(call.inputs[0] < tail.x, wider, bound)
        return bound
    reference = getattr(op, "reference", None)
    if reference is None:  # ops made of others
        n = max([exact.size, *[x.size for x in call.inputs]], default=1) + 4
        return np.full(exact.shape, 4 * n * EPS[precision] * np.max(np.abs(exact), initial=1.0))
    expected = np.array(reference(*[rounded(x.tolist()) for x in call.inputs], **call.attrs))
    bounds = [x.bound(precision) if isinstance(x, Rounded) else 0.0 for x in expected.flat]
    return np.array(bounds).reshape(exact.shape)


def own_error(call, exact):
    """PyTorch's, in float64: its gelu and elu lose digits far out on the left."""
    size = max([0.0, *[np.abs(x).max(initial=0.0) for x in call.inputs if x.dtype.kind == "f"]])
    eps = EPS["float32" if call.op.name in SINGLE_THERE else "float64"]
    return 8 * eps * (np.abs(exact) + size)


def in_float32(call):
    """The call with attributes that float32 holds exactly."""
    for name, value in call.attrs.items():
        if type(value) is float:
            call.attrs[name] = float(np.float32(value))
    return call


def torch_leaves(call):
    return [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in call.inputs]


def attributes(call):
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in call.attrs.items()
    }


def assert_near(got, exact, bound, what):
    assert got.shape == exact.shape, what
    with np.errstate(invalid="ignore"):
        fits = (np.abs(got - exact) <= bound) | (got == exact) | (np.isnan(got) & np.isnan(exact))
    assert fits.all(), f"{what}: {got[~fits]} for {exact[~fits]}"


def derivatives(y, leaves, gy, weights, gradients_of, twice):
    """The gradient, and that of its weighted sum."""
    first = gradients_of([y], leaves, [gy])
    if not twice:
        return first, []
    pairs = [(g, w) for g, w in zip(first, weights, strict=True)]
    total = sum((g * w).sum() for g, w in pairs)
    return first, gradients_of([total], leaves, [None])


def torch_gradients(outputs, inputs, seeds):
    wanted = [(y, seed) for y, seed in zip(outputs, seeds, strict=True) if y.requires_grad]
    if not wanted:
        return [torch.zeros_like(x) for x in inputs]
    outputs, seeds = zip(*wanted)
    found = torch.autograd.grad(outputs, inputs, seeds, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


def our_gradients(outputs, inputs, seeds):
    return grad(outputs, inputs, seeds, create_graph=True)


@pytest.mark.parametrize("op", COMPARED, ids=by_name)
@few
@given(data=st.data())
def test_against_torch(op, data):
    call = in_float32(data.draw(calls(op, most=12)))
    function, inputs = in_torch(op), torch_leaves(call)
    y = function(*inputs, **attributes(call))
    exact = y.detach().numpy()
    bounds = {p: bound_on_values(call, p, exact) for p in EPS} if exact.dtype.kind == "f" else {}
    slack = own_error(call, exact) if bounds else 0
    assume(op is not tga.astype or call.attrs["dtype"].is_float)
    for precision in EPS:
        leaves = [
            Tensor(x, dtype=precision, requires_grad=True) if x.dtype.kind == "f" else Tensor(x)
            for x in call.inputs
        ]
        got = call.plain(*leaves).numpy()
        if got.dtype.kind != "f":
            np.testing.assert_array_equal(got, exact)
            continue
        bound = bounds.get(got.dtype.name, 0)
        assert_near(got.astype("float64"), exact, bound + slack, f"{call} in {precision}")
    if exact.dtype.kind == "f" and is_differentiable(op) and y.requires_grad:
        _compare_gradients(call, y, inputs, data)


def _compare_gradients(call, y, inputs, data):
    gy = data.draw(gradients_for(tuple(y.shape)))
    rng = random.Random(1)
    wanted = [x for x in inputs if x.requires_grad]
    weights = [np.array([rng.uniform(-1, 1) for _ in range(x.numel())]) for x in wanted]
    weights = [w.reshape(tuple(x.shape)) for w, x in zip(weights, wanted, strict=True)]
    twice = call.op.name not in FIRST_ORDER_ALONE
    exact = derivatives(
        y, wanted, torch.tensor(gy), [torch.tensor(w) for w in weights], torch_gradients, twice
    )
    exact = [[g.detach().numpy(force=True) for g in order] for order in exact]
    own = bounds_on_gradients(call, gy, "float64")
    for precision in EPS:
        leaves = call.leaves(precision)
        given = [Tensor(x) if x.dtype.kind != "f" else None for x in call.inputs]
        rest = iter(leaves)
        result = call.plain(*[next(rest) if x is None else x for x in given])
        if result.dtype != precision:
            continue  # astype to another
        tensor_of = partial(Tensor, dtype=precision)
        seed = tensor_of(gy)
        by_kernel = [g.numpy() for g in grad(result, leaves, seed, retain_graph=True)]
        ours = derivatives(
            result, leaves, seed, list(map(tensor_of, weights)), our_gradients, twice
        )
        ours = [[g.numpy().astype("float64") for g in order] for order in ours]
        bounds = bounds_on_gradients(call, gy, precision)
        for place, bound in enumerate(bounds):
            what = f"{call} in {precision}, input {place}"
            bound = bound + own[place] + own_error(call, exact[0][place])
            assert_near(by_kernel[place].astype("float64"), exact[0][place], bound, what)
            assert_near(ours[0][place], exact[0][place], bound, what)
        # by norms: what is summed, and how many of it
        n = sum(x.size for x in call.inputs) + y.numel()
        size = max([1.0, *[np.abs(g).max(initial=0.0) for order in exact for g in order]])
        for got, expected in zip(ours[1], exact[1], strict=True):
            eps = EPS["float32" if call.op.name in SINGLE_THERE else precision]
            bound = 32 * n * eps * size
            assert_near(got, expected, bound, f"{call} in {precision}, second order")


def test_report(capsys):
    """What was compared, and what not."""
    missing = [op.name for op in OPS if in_torch(op) is None]
    with capsys.disabled():
        names = ", ".join(op.name for op in COMPARED)
        print(f"\ncompared with PyTorch {torch.__version__}, {len(COMPARED)} ops: {names}")
        for name, reason in FIRST_ORDER_ALONE.items():
            print(f"compared to first order alone: {name}: {reason}")
        for name in sorted(SINGLE_THERE):
            print(f"compared in float32 alone: {name}: PyTorch's own constant is one of float32")
        for name in missing:
            print(f"not compared: {name}: {LEFT_OUT.get(name, 'not in PyTorch by this name')}")
    assert set(LEFT_OUT) <= {op.name for op in OPS}
    assert len(COMPARED) > 100
