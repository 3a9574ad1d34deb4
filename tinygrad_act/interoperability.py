"""How tensors meet others: NumPy's functions, DLPack, copy and pickle, notebooks.

A NumPy function of a tensor is the op of the same meaning, with its gradient; where there is
none, it is a TypeError that says so, and never an array of objects.
"""

import inspect
from html import escape

from . import kernels
from .array import contiguous, empty, view_of_numpy
from .creation import full_like, ones_like, zeros_like
from .formula import REGISTRY
from .graph import Leaf

# ---- NumPy's universal functions ------------------------------------------------------------

# Where NumPy calls an op otherwise than we do.
UFUNCS = {
    **{"subtract": "sub", "multiply": "mul", "divide": "div", "power": "pow"},
    **{"negative": "neg", "positive": "identity", "absolute": "abs", "fabs": "abs"},
    **{"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le"},
    **{"greater": "gt", "greater_equal": "ge", "rint": "round"},
    **{"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2"},
    **{"arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh"},
    **{"bitwise_and": "logical_and", "bitwise_or": "logical_or"},
    **{"bitwise_xor": "logical_xor", "invert": "logical_not"},
}


def array_ufunc(ufunc, method, inputs, kwargs):
    """``np.tanh(t)``, ``np.add(a, t)``, ``a * t``: what `Tensor.__array_ufunc__` does."""
    name = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
    op = REGISTRY.get(UFUNCS.get(ufunc.__name__, ufunc.__name__))
    if op is None or method != "__call__" or len(op.inputs) != ufunc.nin:
        raise _no_such_op(name)
    if kwargs:
        if "out" in kwargs:
            raise TypeError(
                f"{name}: a result cannot be written to an array; write y = {name}(...)"
            )
        raise TypeError(f"{name}: {', '.join(kwargs)} cannot be given for Tensors")
    return op(*inputs)


def _no_such_op(name):
    return TypeError(
        f"{name}: there is no such op on Tensors; write {name}(x.numpy()), through which no "
        f"gradient flows"
    )


# ---- NumPy's other functions ----------------------------------------------------------------


def _reduction(name):
    return lambda a, axis=None, keepdims=False: REGISTRY[name](a, axis=axis, keepdims=keepdims)


def _spread(name):
    """NumPy divides by the count less `ddof`, which is 0 unless given."""
    return lambda a, axis=None, ddof=0, keepdims=False: REGISTRY[name](
        a, axis=axis, correction=ddof, keepdims=keepdims
    )


def _along(name):
    return lambda a, axis=None: REGISTRY[name](a, axis=axis)


def _sorted(name):
    return lambda a, axis=-1: REGISTRY[name](a, axis=axis)


def _triangle(name):
    return lambda m, k=0: REGISTRY[name](m, k=k)


def _round(a, decimals=0):
    if decimals != 0:
        raise TypeError(f"np.round of Tensors: decimals must be 0, not {decimals!r}")
    return REGISTRY["round"](a)


def _clip(a, a_min=None, a_max=None, *, min=None, max=None):
    low, high = a_min if min is None else min, a_max if max is None else max
    return REGISTRY["clamp"](a, min=low, max=high)


def _transpose(a, axes=None):
    axes = tuple(range(a.ndim))[::-1] if axes is None else axes
    return REGISTRY["permute"](a, axes=axes)


def _swapaxes(a, axis1, axis2):
    return REGISTRY["transpose"](a, axis0=axis1, axis1=axis2)


def _dot(a, b):
    if max(a.ndim, b.ndim) > 2:
        raise TypeError("np.dot: of more than two axes, write a @ b or einsum")
    return a * b if 0 in (a.ndim, b.ndim) else a @ b


# With NumPy's names of the arguments that there are.
FUNCTIONS = {
    "sum": _reduction("sum"),
    "prod": _reduction("prod"),
    "mean": _reduction("mean"),
    "max": _reduction("max"),
    "amax": _reduction("max"),
    "min": _reduction("min"),
    "amin": _reduction("min"),
    "all": _reduction("all"),
    "any": _reduction("any"),
    "count_nonzero": _reduction("count_nonzero"),
    "argmax": _reduction("argmax"),
    "argmin": _reduction("argmin"),
    "var": _spread("var"),
    "std": _spread("std"),
    "cumsum": _along("cumsum"),
    "cumprod": _along("cumprod"),
    "sort": _sorted("sort"),
    "argsort": _sorted("argsort"),
    "round": _round,
    "around": _round,
    "clip": _clip,
    "tril": _triangle("tril"),
    "triu": _triangle("triu"),
    "flip": lambda m, axis=None: REGISTRY["flip"](m, axis=axis),
    "roll": lambda a, shift, axis=None: REGISTRY["roll"](a, shift=shift, axis=axis),
    "tile": lambda A, reps: REGISTRY["tile"](A, reps=reps),
    "repeat": lambda a, repeats, axis=None: REGISTRY["repeat"](a, repeats=repeats, axis=axis),
    "moveaxis": lambda a, source, destination: REGISTRY["moveaxis"](a, source, destination),
    "diagonal": lambda a, offset=0, axis1=0, axis2=1: REGISTRY["diagonal"](a, offset, axis1, axis2),
    "trace": lambda a, offset=0, axis1=0, axis2=1: REGISTRY["trace"](a, offset, axis1, axis2),
    "take": lambda a, indices, axis=None: REGISTRY["take"](a, indices, axis=axis),
    "outer": lambda a, b: REGISTRY["outer"](a, b),
    "einsum": lambda *operands: REGISTRY["einsum"](*operands[1:], subscripts=operands[0]),
    "concatenate": lambda arrays, axis=0: REGISTRY["concat"](*arrays, axis=axis),
    "stack": lambda arrays, axis=0: REGISTRY["stack"](*arrays, axis=axis),
    "where": lambda condition, x, y: REGISTRY["where"](condition, x, y),
    "reshape": lambda a, shape: REGISTRY["reshape"](a, shape=shape),
    "ravel": lambda a: REGISTRY["reshape"](a, shape=(-1,)),
    "transpose": _transpose,
    "swapaxes": _swapaxes,
    "squeeze": lambda a, axis=None: REGISTRY["squeeze"](a, axis=axis),
    "expand_dims": lambda a, axis: REGISTRY["unsqueeze"](a, axis=axis),
    "broadcast_to": lambda array, shape: REGISTRY["expand"](array, shape=shape),
    "copy": lambda a: REGISTRY["clone"](a),
    "dot": _dot,
    "zeros_like": lambda a, dtype=None: zeros_like(a, dtype=dtype),
    "ones_like": lambda a, dtype=None: ones_like(a, dtype=dtype),
    "full_like": lambda a, fill_value, dtype=None: full_like(a, fill_value, dtype=dtype),
    "shape": lambda a: a.shape,
    "ndim": lambda a: a.ndim,
    "size": lambda a: a.size,
}

# These tell something about values, or write them down: nothing that has a gradient.
OF_VALUES = {
    *("allclose", "isclose", "array_equal", "array_equiv", "shares_memory", "may_share_memory"),
    *("array_repr", "array_str", "array2string", "save", "savez", "savez_compressed", "savetxt"),
}


def array_function(function, args, kwargs):
    """``np.sum(t)``, ``np.concatenate([t, a])``: what `Tensor.__array_function__` does."""
    name = f"{function.__module__.replace('numpy', 'np', 1)}.{function.__name__}"
    if function.__name__ in OF_VALUES:
        return function(*map(_as_numpy, args), **{k: _as_numpy(v) for k, v in kwargs.items()})
    adapter = FUNCTIONS.get(function.__name__) if function.__module__ == "numpy" else None
    if adapter is None:
        raise _no_such_op(name)
    try:
        bound = inspect.signature(adapter).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name} of Tensors: {error}") from None
    return adapter(*bound.args, **bound.kwargs)


def _as_numpy(x):
    return x.numpy() if hasattr(x, "requires_grad") else x


# ---- DLPack ---------------------------------------------------------------------------------


def dlpack(tensor, stream=None, **options):
    """The capsule that `Tensor.__dlpack__` returns: a view of the same memory."""
    if tensor.requires_grad:
        raise BufferError("dlpack: the tensor requires a gradient; export x.detach()")
    if stream is not None:
        raise BufferError(f"dlpack: the memory is the processor's, without streams; not {stream!r}")
    array = tensor.numpy(writable=tensor.array.memory.version >= 0)
    return array.__dlpack__(**{name: v for name, v in options.items() if v is not None})


def array_of_dlpack(source):
    """An Array on the memory of any object with DLPack's two methods."""
    import numpy

    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack: needs an object with __dlpack__, not {source!r}")
    try:
        array = numpy.from_dlpack(source)
    except (BufferError, RuntimeError, ValueError, AttributeError) as error:
        raise TypeError(f"from_dlpack: {error}") from None
    return view_of_numpy(array)


# ---- copy and pickle ------------------------------------------------------------------------


def parts(tensor, op):
    """What makes up a tensor, for `made_of`: class, bytes, shape, dtype, whether it requires a
    gradient, and its gradient and name.

    Raises
    ------
    RuntimeError
        If it was computed: a graph can be neither copied nor pickled.
    """
    node = tensor.node
    if node is not None and node.op is not None:
        raise RuntimeError(
            f"{op}: this tensor was computed, by {node.op.name}, and its graph cannot come along; "
            f"write x.detach()"
        )
    array = contiguous(tensor.array)
    content = bytes(kernels.as_buffer(array.data, array.size * array.dtype.itemsize))
    leaf = None if node is None else (node.grad, node.name)
    return type(tensor), content, array.shape, array.dtype, leaf


def made_of(cls, content, shape, dtype, leaf):
    """The tensor of these `parts`."""
    tensor = cls.__new__(cls)
    tensor.array = empty(shape, dtype, len(content) // dtype.itemsize)
    kernels.write_bytes(tensor.array.data, content)
    tensor.node = None
    if leaf is not None:
        tensor.node = Leaf(leaf[1])
        tensor.node.grad = leaf[0]
    return tensor


def op_named(name):
    """The op that a pickle names.

    Raises
    ------
    ValueError
        If there is none: one of the user's own must be declared again first.
    """
    if name not in REGISTRY:
        raise ValueError(f"there is no op named {name!r}: declare it before it is unpickled")
    return REGISTRY[name]


# ---- notebooks ------------------------------------------------------------------------------

MOST_SHOWN = 20  # rows, and columns


def html(tensor):
    """A tensor of one or two axes as a table; of others what `repr` says."""
    if tensor.ndim not in (1, 2) or tensor.size == 0:
        return f"<pre>{escape(repr(tensor))}</pre>"
    rows = tensor.detach() if tensor.ndim == 2 else tensor.detach().unsqueeze(0)
    body = [_row(values, rows.shape[1]) for values in rows[:MOST_SHOWN, :MOST_SHOWN].tolist()]
    if rows.shape[0] > MOST_SHOWN:
        body.append("<tr><td>⋮</td></tr>")
    about = f"Tensor {tensor.shape}, {tensor.dtype}"
    if tensor.requires_grad:
        op = tensor.node.op
        about += ", requires_grad" if op is None else f", op={op.name}"
    return f"<table><caption>{escape(about)}</caption>{''.join(body)}</table>"


def _row(values, length):
    cells = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in values]
    cells += ["…"] * (length > MOST_SHOWN)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
