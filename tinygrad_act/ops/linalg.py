"""Linear algebra: products of vectors and matrices, the trace, and the linear layer."""

from math import prod

from .. import kernels
from ..array import (
    broadcast_shape,
    broadcast_strides,
    contiguous,
    empty,
    strides_of,
)
from ..array import reshape as reshape_view
from ..op import composed, general, needs_float, unbroadcast
from . import nested
from .rearrange import diagonal
from .reduction import sum_
from .shape import reshape, transpose

lib = kernels.lib
NULL = kernels.NULL


def _leading(x):
    """How the kernel sees a matrix without moving it: (x, is it stored transposed, row step).

    Rows or columns must lie without gaps between neighbours; anything else is copied.
    """
    if x.strides is None:
        return x, 0, x.shape[-1] or 1
    (rows, columns), (down, along) = x.shape[-2:], x.strides[-2:]
    if (along == 1 or columns == 1) and down >= columns:
        return x, 0, max(down, 1)
    if (down == 1 or rows == 1) and along >= rows:
        return x, 1, max(along, 1)
    return contiguous(x), 0, columns or 1


def _product(x, w, bias=None):
    """x @ w for two matrices; + bias."""
    x, x_turned, x_step = _leading(x)
    w, w_turned, w_step = _leading(w)
    (m, k), n = x.shape, w.shape[1]
    y = empty((m, n), x.dtype, m * n)
    status = lib.tga_gemm(
        x.dtype.code,
        x_turned,
        w_turned,
        m,
        n,
        k,
        1.0,
        x.data,
        x_step,
        w.data,
        w_step,
        0.0,
        y.data,
        n or 1,
        kernels.NULL if bias is None else bias.data,
    )
    if status:
        kernels.check(status, "matmul")
    return y


def _turned(x):
    """The transpose of a matrix, as a view."""
    rows, columns = x.shape
    down, along = strides_of(x)
    return lib.array_view(x, (columns, rows), (along, down), x.size, 0)


def _matmul(x, w):
    # the plain case, in C; else None
    if (y := lib.quick_matmul(x, w)) is not None:
        return y
    if len(x.shape) == 2 and len(w.shape) == 2 and x.shape[1] == w.shape[0] and x.dtype.is_float:
        return _product(x, w)
    needs_float("matmul", x)
    needs_float("matmul", w)
    if x.ndim == 0 or w.ndim == 0:
        raise ValueError(f"matmul: x is {x.shape} but w is {w.shape}: use * for a number")
    x2 = x if x.ndim > 1 else reshape_view(x, (1, *x.shape))
    w2 = w if w.ndim > 1 else reshape_view(w, (*w.shape, 1))
    if x2.shape[-1] != w2.shape[-2]:
        raise ValueError(
            f"matmul: x is {x.shape} but w is {w.shape}: inner sizes {x2.shape[-1]} and "
            f"{w2.shape[-2]} differ"
        )
    if (y := lib.quick_matmul(x2, w2)) is None:
        y = _product(x2, w2) if x2.ndim == w2.ndim == 2 else _batched(x2, w2)
    shape = (
        y.shape[:-2] + (y.shape[-2:-1] if x.ndim > 1 else ()) + (y.shape[-1:] if w.ndim > 1 else ())
    )
    return y if y.shape == shape else reshape_view(y, shape)


def _batched(x, w):
    """x @ w for stacks of matrices, whose leading axes broadcast."""
    batch = broadcast_shape("matmul", x.shape[:-2], w.shape[:-2])
    x, x_turned, x_step = _leading(x)
    w, w_turned, w_step = _leading(w)
    m, k, n = x.shape[-2], x.shape[-1], w.shape[-1]
    shape = (*batch, m, n)
    y = empty(shape, x.dtype, prod(shape))
    walk = kernels.layout(
        batch,
        strides_of(y)[:-2],
        broadcast_strides(x.shape[:-2], strides_of(x)[:-2], batch),
        broadcast_strides(w.shape[:-2], strides_of(w)[:-2], batch),
    )
    status = lib.tga_gemm_batched(
        x.dtype.code,
        x_turned,
        w_turned,
        m,
        n,
        k,
        walk,
        x.data,
        x_step,
        w.data,
        w_step,
        y.data,
        n or 1,
    )
    kernels.check(status, "matmul")
    return y


def _as_matrices(gy, x, w):
    """All three with at least two axes: a vector x becomes a row, a vector w a column."""
    x2 = x if x.ndim > 1 else reshape(x, shape=(1, *x.shape))
    w2 = w if w.ndim > 1 else reshape(w, shape=(*w.shape, 1))
    batch = broadcast_shape("matmul", x2.shape[:-2], w2.shape[:-2])
    return reshape(gy, shape=(*batch, x2.shape[-2], w2.shape[-1])), x2, w2


def _matmul_vjp_x(gy, y, x, w):
    gy, x2, w2 = _as_matrices(gy, x, w)
    gx = matmul(gy, transpose(w2))
    gx = gx if gx.shape == x2.shape else unbroadcast(gx, x2.shape)
    return gx if x.ndim > 1 else reshape(gx, shape=x.shape)


def _matmul_vjp_w(gy, y, x, w):
    gy, x2, w2 = _as_matrices(gy, x, w)
    gw = matmul(transpose(x2), gy)
    gw = gw if gw.shape == w2.shape else unbroadcast(gw, w2.shape)
    return gw if w.ndim > 1 else reshape(gw, shape=w.shape)


def _matmul_fused(parents, gy, y, x, w):
    # the plain case, in C; else None
    if (both := lib.quick_matmul_backward(gy, x, w, parents)) is not None:
        return both
    if not len(x.shape) == len(w.shape) == 2:
        return (
            parents[0] and _matmul_vjp_x(gy, y, x, w),
            parents[1] and _matmul_vjp_w(gy, y, x, w),
        )
    return (
        parents[0] and _product(gy, _turned(w)),
        parents[1] and _product(_turned(x), gy),
    )


def _sample_matmul(random):
    m, k, n = [random.randint(1, 4) for _ in range(3)]
    batch = nested.draw_shape(random, most=2, empty=False)
    x, w = [
        random.choice([inner[:1] if inner == (k, n) else inner[1:], inner, (*part, *inner)])
        for inner in [(m, k), (k, n)]
        for part in [nested.draw_part(random, batch)]
    ]
    return [nested.draw_numbers(random, x), nested.draw_numbers(random, w)], {}


def _reference_matmul(x, w):
    row, column = not isinstance(x[0], list), not isinstance(w[0], list)
    x = [x] if row else x
    w = [[item] for item in w] if column else w
    (*batch_x, m, k), (*batch_w, _, n) = nested.shape(x), nested.shape(w)
    batch = nested.broadcast(batch_x, batch_w)
    x, w = nested.repeat(x, (*batch, m, k)), nested.repeat(w, (*batch, k, n))

    def one(index):
        *item, i, j = index
        return sum(nested.at(x, (*item, i, p)) * nested.at(w, (*item, p, j)) for p in range(k))

    y = nested.build((*batch, m, n), one)
    return nested.nest(nested.flat(y), (*batch, *[m] * (not row), *[n] * (not column)))


matmul = general(
    "matmul",
    "x w",
    forward=_matmul,
    vjp=(_matmul_vjp_x, _matmul_vjp_w),
    fused=_matmul_fused,
    shortcut=("matmul",),
    saves="x w",
    promotes=1,
    sample=_sample_matmul,
    reference=_reference_matmul,
    conventions="as NumPy's: a vector is a row on the left and a column on the right, and leading "
    "axes broadcast; the kernel reads transposed operands where they lie",
)


# ---- vectors, the trace ---------------------------------------------------------------------


def _dot(x, y):
    if len(x.shape) != 1 or len(y.shape) != 1:
        raise ValueError(
            f"dot: x is {x.shape} and y is {y.shape}: both must be vectors; of matrices use matmul"
        )
    if x.shape != y.shape:
        raise ValueError(f"dot: x is {x.shape} but y is {y.shape}: they must be equal")
    return matmul(x, y) if x.dtype.is_float else sum_(x * y)


def _draw_vectors(random, m, n):
    return [nested.draw_numbers(random, (n,)) for n in (m, n)]


def _sample_dot(random):
    n = random.randint(1, 5)
    return _draw_vectors(random, n, n), {}


dot = composed(
    "dot",
    "x y",
    output="z",
    forward=_dot,
    promotes=1,
    sample=_sample_dot,
    reference=lambda x, y: sum(a * b for a, b in zip(x, y, strict=True)),
    conventions="of two vectors, as in PyTorch; NumPy's dot of more axes is matmul or einsum",
)


def _outer(x, y):
    if len(x.shape) != 1 or len(y.shape) != 1:
        raise ValueError(
            f"outer: x is {x.shape} and y is {y.shape}: both must be vectors; flatten() them"
        )
    return reshape(x, shape=(*x.shape, 1)) * y


outer = composed(
    "outer",
    "x y",
    output="z",
    forward=_outer,
    promotes=1,
    sample=lambda random: (_draw_vectors(random, random.randint(1, 4), random.randint(1, 4)), {}),
    reference=lambda x, y: [[a * b for b in y] for a in x],
    conventions="of two vectors, as in PyTorch; NumPy flattens what has more axes",
)


def _trace(x, offset, axis0, axis1):
    if len(x.shape) < 2:
        raise ValueError(f"trace: x must have at least two axes, but its shape is {x.shape}")
    return sum_(diagonal(x, offset=offset, axis0=axis0, axis1=axis1), axis=-1)


trace = composed(
    "trace",
    "x",
    forward=_trace,
    attrs=dict(diagonal.attrs),
    sample=diagonal.sample,
    reference=lambda x, **attrs: _sum_last(diagonal.reference(x, **attrs)),
    conventions="the sum of a diagonal, see there; of more than two axes an array of them",
)


def _sum_last(x):
    return [_sum_last(row) for row in x] if isinstance(x[0], list) else sum(x)


# ---- the linear layer -----------------------------------------------------------------------


def _check_linear(x, w, b):
    for a in (x, w, b):
        needs_float("linear", a)
    if x.ndim == 0 or w.ndim != 2 or x.shape[-1] != w.shape[1]:
        raise ValueError(
            f"linear: x is {x.shape} but w is {w.shape}: w must be (outputs, inputs) with the "
            f"inputs of the last axis of x"
        )
    if b.shape != w.shape[:1]:
        raise ValueError(f"linear: w is {w.shape} but b is {b.shape}: b must be {w.shape[:1]}")


def _linear(x, w, b):
    # the plain case, in C; else None
    if (y := lib.quick_linear(x, w, b)) is not None:
        return y
    if not (len(x.shape) == len(w.shape) == 2 and x.strides is w.strides is b.strides is None):
        _check_linear(x, w, b)
        rows = reshape_view(x, (prod(x.shape[:-1]), x.shape[-1]))
        y = _linear(contiguous(rows), contiguous(w), contiguous(b))
        return reshape_view(y, (*x.shape[:-1], w.shape[0]))
    dtype = x.dtype
    m, k = x.shape
    n, inputs = w.shape
    if inputs != k or b.shape != (n,) or not dtype.is_float:
        _check_linear(x, w, b)
    y = empty((m, n), dtype, m * n)
    status = lib.tga_linear_forward(dtype.code, m, n, k, x.data, w.data, b.data, y.data)
    if status:
        kernels.check(status, "linear")
    return y


def _flat(a):
    """All axes but the last as one."""
    return a if a.ndim == 2 else reshape(a, shape=(prod(a.shape[:-1]), a.shape[-1]))


def _linear_fused(parents, gy, y, x, w, b):
    # of b, which is not needed, the shape alone was saved
    # the plain case, in C; else None
    if (all_three := lib.quick_linear_backward(gy, x, w, b, parents)) is not None:
        return all_three
    if not (gy.strides is x.strides is w.strides is None):
        gy, x, w = contiguous(gy), contiguous(x), contiguous(w)
    dtype = gy.dtype
    n, k = w.shape
    gx = gw = gb = None
    px = pw = pb = NULL
    if parents[0] is not None:
        gx = empty(x.shape, dtype, x.size)
        px = gx.data
    if parents[1] is not None:
        gw = empty(w.shape, dtype, w.size)
        pw = gw.data
    if parents[2] is not None:
        gb = empty(b, dtype, n)
        pb = gb.data
    rows = prod(x.shape[:-1])
    status = lib.tga_linear_backward(dtype.code, rows, n, k, gy.data, x.data, w.data, px, pw, pb)
    if status:
        kernels.check(status, "linear")
    return gx, gw, gb


def _sample_linear(random):
    lead = nested.draw_shape(random, most=2, empty=False)
    k, n = random.randint(1, 4), random.randint(1, 4)
    return [nested.draw_numbers(random, shape) for shape in [(*lead, k), (n, k), (n,)]], {}


def _reference_linear(x, w, b):
    if isinstance(x[0], list):
        return [_reference_linear(row, w, b) for row in x]
    return [sum(p * q for p, q in zip(x, row)) + c for row, c in zip(w, b)]


linear = general(
    "linear",
    "x w b",
    forward=_linear,
    vjp=(
        lambda gy, y, x, w, b: matmul(gy, w),
        lambda gy, y, x, w, b: matmul(transpose(_flat(gy)), _flat(x)),
        lambda gy, y, x, w, b: sum_(_flat(gy), axis=0),
    ),
    fused=_linear_fused,
    shortcut=("linear",),
    saves="x w",
    promotes=1,
    sample=_sample_linear,
    reference=_reference_linear,
    conventions="x @ w.T + b in one pass: w is (outputs, inputs), as in PyTorch",
)
