"""tinygrad_act: an autodiff micro-framework with C kernels.

Read it in this order: ``graph.py``, ``scalar.py``, ``tensor.py``, one record in ``ops/``,
its row in ``csrc/``.
"""

from . import array, tensor
from .creation import (
    arange,
    eye,
    full,
    full_like,
    manual_seed,
    ones,
    ones_like,
    rand,
    randn,
    uniform,
    zeros,
    zeros_like,
)
from .dtype import DType, bool_, float32, float64, int64, uint8
from .graph import no_grad
from .kernels import (
    get_num_threads,
    isa,
    pool_bytes,
    release_pool,
    set_isa,
    set_num_threads,
    set_pool_limit,
    supported_isas,
    use_isa,
)
from .op import Attr, activation
from .ops.activation import (
    celu,
    elu,
    gelu,
    gelu_tanh,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    identity,
    leaky_relu,
    log_softmax,
    logsigmoid,
    maxout,
    mish,
    prelu,
    relu,
    relu6,
    rrelu,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    swish,
    tanh,
    tanhshrink,
    threshold,
    very_leaky_relu,
)
from .ops.arithmetic import abs_ as abs
from .ops.arithmetic import (
    acos,
    acosh,
    add,
    asin,
    asinh,
    astype,
    atan,
    atan2,
    atanh,
    ceil,
    clamp,
    cos,
    cosh,
    div,
    eq,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    floor,
    ge,
    gt,
    hypot,
    isfinite,
    isinf,
    isnan,
    le,
    lerp,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    reciprocal,
    remainder,
    rsqrt,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    sub,
    tan,
    where,
)
from .ops.arithmetic import pow_ as pow
from .ops.arithmetic import round_ as round
from .ops.axis import argsort, cumprod, cumsum, sort, topk, topk_index
from .ops.convolution import conv1d, conv2d, conv2d_weight, conv_transpose2d
from .ops.dropout import alpha_dropout, drop, dropout, dropout2d
from .ops.einsum import bilinear, einsum
from .ops.indexing import (
    embedding,
    gather,
    index_select,
    index_sum,
    masked_fill,
    one_hot,
    scatter_add,
    scatter_sum,
    take,
)
from .ops.linalg import dot, linear, matmul, outer, trace
from .ops.loss import (
    bce,
    bce_with_logits,
    cosine_similarity,
    cross_entropy,
    hinge,
    huber,
    kl_div,
    l1,
    mse,
    nll,
    smooth_l1,
)
from .ops.normalisation import batch_norm, group_norm, layer_norm, standardize
from .ops.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d, max_pool2d_index
from .ops.rearrange import (
    chunk,
    diagonal,
    diagonal_put,
    flip,
    pad,
    repeat,
    roll,
    split,
    tile,
    tril,
    triu,
)
from .ops.reduction import all_ as all
from .ops.reduction import (
    amax,
    amin,
    argmax,
    argmin,
    count_nonzero,
    logsumexp,
    mean,
    norm,
    std,
    var,
)
from .ops.reduction import any_ as any
from .ops.reduction import max_ as max
from .ops.reduction import min_ as min
from .ops.reduction import prod_ as prod
from .ops.reduction import sum_ as sum
from .ops.shape import (
    clone,
    concat,
    expand,
    flatten,
    getitem,
    moveaxis,
    permute,
    put,
    reshape,
    squeeze,
    stack,
    swapaxes,
    transpose,
    unsqueeze,
)
from .scalar import Scalar
from .tensor import Tensor, from_dlpack, from_numpy, grad


class _Module(type(tensor)):
    """Elsewhere the functions that make tensors have the names of these modules."""

    def __call__(self, *_, **__):
        raise TypeError(f"{self.__name__} is a module; write tinygrad_act.Tensor(...)")


array.__class__ = tensor.__class__ = _Module

# An import takes no longer than it must: these are imported when first used.
_MODULES = ("checkpoint", "data", "nn", "optim", "testing", "train", "transform")
_NAMES = {
    "recorder": ("CaptureError",),
    "replay": ("ReplayMismatch",),
    "step": ("Step", "capture"),
    "transform": ("hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name):
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    from .hints import PACKAGE, no_attribute

    raise no_attribute(f"module {__name__!r}", name, PACKAGE)


def __dir__():
    return sorted({*globals(), *_MODULES, *_MODULE_OF})


__version__ = "0.1.0"
