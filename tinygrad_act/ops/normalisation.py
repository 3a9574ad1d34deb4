"""Normalisation: sets of numbers are brought to mean 0 and variance 1, then scaled and moved.

Which numbers make a set is all that tells them apart: one channel of all images (Ioffe, Szegedy,
"Batch normalization", 2015), one row (Ba, Kiros, Hinton, "Layer normalization", 2016), or some
channels of one image (Wu, He, "Group normalization", 2018).
"""

from math import prod

from .. import kernels
from ..array import (
    Array,
    contiguous,
    convert,
    empty,
    from_numpy,
    from_python,
    is_numpy,
    mark_all_written,
)
from ..op import general, needs_float, register
from . import nested
from .absent import ComposedWithAbsent
from .arithmetic import sqrt
from .reduction import mean
from .shape import reshape

lib = kernels.lib

# ---- the sets -------------------------------------------------------------------------------


def _check_eps(op, eps):
    if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not eps >= 0:
        raise ValueError(f"{op}: eps must be a number of at least 0, not {eps!r}")


def _standardize(x, eps):
    needs_float("standardize", x)
    if len(x.shape) != 3:
        raise ValueError(f"standardize: x is {x.shape}, but must be (outer, sets, inner)")
    _check_eps("standardize", eps)
    x = contiguous(x)
    y = empty(x.shape, x.dtype, x.size)
    status = lib.tga_standardize_forward(
        x.dtype.code, *x.shape, eps, x.data, y.data, kernels.NULL, kernels.NULL
    )
    kernels.check(status, "standardize")
    return y


def _standardize_fused(parents, gy, y, x, eps):
    gy, x = contiguous(gy), contiguous(x)
    gx = empty(x.shape, x.dtype, x.size)
    status = lib.tga_standardize_backward(x.dtype.code, *x.shape, eps, gy.data, x.data, gx.data)
    kernels.check(status, "standardize")
    return (gx,)


def _mean(x):
    return mean(x, axis=(0, 2), keepdims=True)


def _standardize_vjp(gy, y, x, eps):
    centred = x - _mean(x)
    scale = 1 / sqrt(_mean(centred * centred) + eps)
    y = centred * scale
    return scale * (gy - _mean(gy) - y * _mean(gy * y))


def _reference_set(values, eps):
    """One set, as a flat list."""
    centre = sum(values) / len(values)
    variance = sum((v - centre) * (v - centre) for v in values) / len(values)
    return [(v - centre) / sqrt(variance + eps) for v in values]


def _by_sets(x, name_of_set, eps):
    """Every element of an array, normalised among those whose index names the same set."""
    shape = nested.shape(x)
    sets = {}
    for index in nested.indices(shape):
        sets.setdefault(name_of_set(index), []).append(index)
    done = {}
    for members in sets.values():
        values = _reference_set([nested.at(x, index) for index in members], eps)
        done.update(zip(members, values, strict=True))
    return nested.build(shape, lambda index: done[index])


def _sample_standardize(random):
    shape = tuple(random.choice([1, 2, 3]) for _ in range(3))
    return [nested.draw_distinct(random, shape)], {"eps": random.choice([0.125, 0.5])}


standardize = general(
    "standardize",
    "x",
    forward=_standardize,
    vjp=(_standardize_vjp,),
    fused=_standardize_fused,
    saves="x",
    attrs={"eps": 1e-5},
    sample=_sample_standardize,
    reference=lambda x, eps: _by_sets(x, lambda index: index[1], eps),
    conventions="x is (outer, sets, inner); y = (x - mean) / sqrt(variance + eps), where the "
    "variance of n numbers is divided by n; a single number becomes 0",
)


# ---- scaled and moved -----------------------------------------------------------------------


def _check_parameters(op, x, weight, bias, shape):
    needs_float(op, x)
    for name, a in (("weight", weight), ("bias", bias)):
        if a.shape not in (shape, (0,)):
            raise ValueError(f"{op}: x is {x.shape} but {name} is {a.shape}: it must be {shape}")


def _affine(y, weight, bias, shape):
    """y * weight + bias, each seen in a shape; what has no elements is left out."""
    if weight.size:
        y = y * reshape(weight, shape=shape)
    if bias.size:
        y = y + reshape(bias, shape=shape)
    return y


def _reference_affine(y, weight, bias, index_of):
    def one(index):
        at = index_of(index)
        value = nested.at(y, index)
        value = value * nested.at(weight, at) if weight else value
        return value + nested.at(bias, at) if bias else value

    return nested.build(nested.shape(y), one)


class _Norm(ComposedWithAbsent):
    required = 1


def _draw_parameters(random, shape):
    """weight and bias."""
    return [nested.draw_numbers(random, shape, 0.5, 2.0), nested.draw_numbers(random, shape)]


# ---- of a batch -----------------------------------------------------------------------------


def _statistic(value, name, x, op):
    """A running mean or variance as an Array."""
    if getattr(value, "requires_grad", False):
        raise TypeError(f"{op}: no gradient flows to {name}; write {name}.detach()")
    value = getattr(value, "array", value)
    if is_numpy(value):
        value = from_numpy(value)
    elif not isinstance(value, Array):
        value = from_python(value, x.dtype)
    if value.shape != x.shape[1:2]:
        raise ValueError(
            f"{op}: x is {x.shape} but {name} is {value.shape}: it must be {x.shape[1:2]}"
        )
    return value


def _remember(x, running_mean, running_var, momentum):
    """Move the running statistics towards those of x."""
    op, count = "batch_norm", x.size // x.shape[1]
    if isinstance(momentum, bool) or not isinstance(momentum, (int, float)):
        raise TypeError(f"{op}: momentum must be a number, not {momentum!r}")
    if count < 2:
        raise ValueError(f"{op}: x is {x.shape}: no variance of one number for each channel")
    for name, value in (("running_mean", running_mean), ("running_var", running_var)):
        if not isinstance(getattr(value, "array", value), Array):
            raise TypeError(
                f"{op}: {name} must be a Tensor, since training writes to it, not "
                f"{type(value).__name__}"
            )
    old = [
        _statistic(value, name, x, op)
        for name, value in (("running_mean", running_mean), ("running_var", running_var))
    ]
    if any(a.dtype is not x.dtype or a.strides is not None for a in old):
        raise TypeError(f"{op}: the running statistics must be contiguous, and {x.dtype} as x")
    a = contiguous(getattr(x, "array", x))
    new = [empty(old[0].shape, a.dtype, old[0].size) for _ in old]
    inner = prod(a.shape[2:])
    numbers = (a.dtype.code, a.shape[0], a.shape[1], inner)
    status = lib.tga_standardize_forward(
        *numbers, 0.0, a.data, kernels.NULL, new[0].data, new[1].data
    )
    kernels.check(status, op)
    mark_all_written(old, op)
    for to, value, factor in zip(old, new, (1.0, count / (count - 1)), strict=True):
        lib.tga_running_update(a.dtype.code, to.size, momentum, factor, value.data, to.data)


def _batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps):
    op = "batch_norm"
    needs_float(op, x)
    if len(x.shape) < 2 or x.shape[1] == 0:
        raise ValueError(f"{op}: x is {x.shape}, but must be (n, channels, ...)")
    _check_eps(op, eps)
    channels = x.shape[1:2]
    _check_parameters(op, x, weight, bias, channels)
    if (running_mean is None) != (running_var is None):
        raise TypeError(f"{op}: running_mean and running_var come together or not at all")
    along = (1, *channels, *[1] * (len(x.shape) - 2))
    if training or running_mean is None:
        if running_mean is not None:
            _remember(x, running_mean, running_var, momentum)
        sets = reshape(x, shape=(x.shape[0], x.shape[1], prod(x.shape[2:])))
        return _affine(reshape(standardize(sets, eps=eps), shape=x.shape), weight, bias, along)
    centre, variance = [
        convert(_statistic(value, name, x, op), x.dtype)
        for name, value in (("running_mean", running_mean), ("running_var", running_var))
    ]
    scale = 1 / sqrt(variance + eps)
    y = (x - reshape(centre, shape=along)) * reshape(scale, shape=along)
    return _affine(y, weight, bias, along)


def _sample_batch_norm(random):
    shape = random.choice([(2, 1), (3, 2), (2, 2, 2), (1, 2, 3), (2, 1, 2, 2), (4, 1)])
    training = random.random() < 0.6
    statistics = [None, None]
    if not training and random.random() < 0.7:
        statistics = [
            nested.draw_numbers(random, shape[1:2]),
            nested.draw_numbers(random, shape[1:2], 0.5, 2.0),
        ]
    attrs = {
        "running_mean": statistics[0],
        "running_var": statistics[1],
        "training": training,
        "momentum": 0.1,
        "eps": random.choice([0.125, 0.5]),
    }
    return [nested.draw_distinct(random, shape), *_draw_parameters(random, shape[1:2])], attrs


def _reference_batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps):
    if training or running_mean is None:
        y = _by_sets(x, lambda index: index[1], eps)
    else:

        def one(index):
            centre, variance = running_mean[index[1]], running_var[index[1]]
            return (nested.at(x, index) - centre) / sqrt(0 * nested.at(x, index) + variance + eps)

        y = nested.build(nested.shape(x), one)
    return _reference_affine(y, weight, bias, lambda index: index[1:2])


batch_norm = register(
    _Norm(
        "batch_norm",
        "x weight bias",
        forward=_batch_norm,
        attrs={
            "running_mean": None,
            "running_var": None,
            "training": False,
            "momentum": 0.1,
            "eps": 1e-5,
        },
        promotes=1,
        sample=_sample_batch_norm,
        reference=_reference_batch_norm,
        conventions="over all but the second axis of x, (n, channels, ...).  In training the "
        "running statistics, where given, move by `momentum` towards those of x, in place, the "
        "variance with n - 1; else they take their place",
    )
)


# ---- of the last axes -----------------------------------------------------------------------


def _layer_norm(x, weight, bias, shape, eps):
    op = "layer_norm"
    needs_float(op, x)
    _check_eps(op, eps)
    if shape is None:
        shape = x.shape[-1:]
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"{op}: x is {x.shape}, which does not end in shape {shape}")
    _check_parameters(op, x, weight, bias, shape)
    inner = prod(shape)
    rows = reshape(x, shape=(1, x.size // inner if inner else 0, inner))
    return _affine(reshape(standardize(rows, eps=eps), shape=x.shape), weight, bias, shape)


def _sample_layer_norm(random):
    shape = random.choice([(2,), (3, 2), (2, 2, 2), (1, 3), (4,)])
    last = random.randint(1, len(shape))
    attrs = {
        "shape": None if last == 1 and random.random() < 0.5 else shape[-last:],
        "eps": random.choice([0.125, 0.5]),
    }
    return [nested.draw_distinct(random, shape), *_draw_parameters(random, shape[-last:])], attrs


def _reference_layer_norm(x, weight, bias, shape, eps):
    axes = len(nested.shape(x))
    lead = axes - (1 if shape is None else len(shape))
    y = _by_sets(x, lambda index: index[:lead], eps)
    return _reference_affine(y, weight, bias, lambda index: index[lead:])


layer_norm = register(
    _Norm(
        "layer_norm",
        "x weight bias",
        forward=_layer_norm,
        attrs={"shape": None, "eps": 1e-5},
        promotes=1,
        sample=_sample_layer_norm,
        reference=_reference_layer_norm,
        conventions="over the last axes of x, those of `shape`, by default the last alone; weight "
        "and bias have that shape",
    )
)


# ---- of groups of channels ------------------------------------------------------------------


def _group_norm(x, weight, bias, groups, eps):
    op = "group_norm"
    needs_float(op, x)
    _check_eps(op, eps)
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
        raise ValueError(f"{op}: groups must be an integer of at least 1, not {groups!r}")
    if len(x.shape) < 2 or x.shape[1] % groups:
        raise ValueError(
            f"{op}: x is {x.shape}, but must be (n, channels, ...) with a multiple of groups = "
            f"{groups} channels"
        )
    _check_parameters(op, x, weight, bias, x.shape[1:2])
    sets = x.shape[0] * groups
    rows = reshape(x, shape=(1, sets, x.size // sets if sets else 0))
    along = (1, x.shape[1], *[1] * (len(x.shape) - 2))
    return _affine(reshape(standardize(rows, eps=eps), shape=x.shape), weight, bias, along)


def _sample_group_norm(random):
    groups = random.randint(1, 2)
    channels = groups * random.randint(1, 2)
    shape = (random.randint(1, 2), channels, *random.choice([(), (2,), (1, 2)]))
    attrs = {"groups": groups, "eps": random.choice([0.125, 0.5])}
    return [nested.draw_distinct(random, shape), *_draw_parameters(random, shape[1:2])], attrs


def _reference_group_norm(x, weight, bias, groups, eps):
    size = nested.shape(x)[1] // groups
    y = _by_sets(x, lambda index: (index[0], index[1] // size), eps)
    return _reference_affine(y, weight, bias, lambda index: index[1:2])


group_norm = register(
    _Norm(
        "group_norm",
        "x weight bias",
        forward=_group_norm,
        attrs={"groups": 1, "eps": 1e-5},
        promotes=1,
        sample=_sample_group_norm,
        reference=_reference_group_norm,
        conventions="over groups of neighbouring channels of each item of x, (n, channels, ...); "
        "weight and bias are of single channels",
    )
)
