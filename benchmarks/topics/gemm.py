"""Matrix products: squares, the layers of small and middle-sized nets, transposed operands.

NN is x @ w, NT is x @ w.T and TN is x.T @ w, where .T is a view; x is M by K and w is K
by N then.  The peers write into a result that exists already, which is their fastest
way; we make a new one, as `Tensor @ Tensor` does.
"""

from benchmarks.cases import Case, Group
from benchmarks.machine_limits import limit as greatest

THREADED = True
TOLERANCE = 1e-3
SQUARES = (4, 5, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
LAYERS = ((4, 5, 5), (128, 784, 128), (128, 9216, 128), (128, 128, 10), (4096, 288, 64))
SHAPES = [("NN", n, n, n) for n in SQUARES]
SHAPES += [(how, n, n, n) for n in (64, 256, 1024) for how in ("NT", "TN")]
SHAPES += [(how, *shape) for shape in LAYERS for how in ("NN", "NT", "TN")]
DTYPES = ("float32", "float64")
CASES = {
    f"{dtype} {how} {m}x{k}x{n}": (dtype, how, m, k, n)
    for dtype in DTYPES
    for how, m, k, n in SHAPES
}


def flops(case):
    """Floating-point operations of a case."""
    _, _, m, k, n = CASES[case]
    return 2 * m * k * n


def rate(case):
    """A small product is given as a time, since the call is the cost there."""
    return (flops(case), "GFLOP/s") if flops(case) > 20_000 else (0, "")


def _is_large(case, dtype):
    return CASES[case][0] == dtype and min(CASES[case][2:]) >= 64


def _is_small(case, dtype):
    _, _, m, k, n = CASES[case]
    return CASES[case][0] == dtype and (max(m, k, n) <= 48 or min(m, k, n) < 32)


def _is_large_square(case):
    dtype, how, m, k, n = CASES[case]
    return dtype == "float32" and how == "NN" and m == k == n >= 512


GROUPS = [
    Group(f"{dtype}, all of M, K, N >= 64", lambda case, dtype=dtype: _is_large(case, dtype))
    for dtype in DTYPES
]
GROUPS += [
    Group(
        f"{dtype}, at most 48 or skinny", lambda case, dtype=dtype: _is_small(case, dtype), [peer]
    )
    for dtype in DTYPES
    for peer in ("numpy", "torch")
]
GROUPS.append(Group("float32, squares 512 to 2048", _is_large_square, ["limit"]))


def operands():
    """Name, how, x and w of each case as they are stored: TN has x as K by M."""
    import numpy as np

    for name, (dtype, how, m, k, n) in CASES.items():
        rng = np.random.default_rng(0)
        x = rng.random((k, m) if how == "TN" else (m, k), dtype) - 0.5
        w = rng.random((n, k) if how == "NT" else (k, n), dtype) - 0.5
        yield name, how, x, w


def _case(name, call):
    def value():
        y = call()
        return float(y[0, 0]), float(y[-1, -1])

    return Case(name, call, value=value)


def tinygrad_act():
    """Tensor @ Tensor."""
    from tinygrad_act import Tensor

    for name, how, x, w in operands():
        x, w = Tensor(x), Tensor(w)
        x, w = x.T if how == "TN" else x, w.T if how == "NT" else w
        yield _case(name, lambda x=x, w=w: x @ w)


def numpy():
    """numpy.matmul, which calls OpenBLAS."""
    import numpy as np

    for name, how, x, w in operands():
        x, w = x.T if how == "TN" else x, w.T if how == "NT" else w
        y = x @ w
        yield _case(name, lambda x=x, w=w, y=y: np.matmul(x, w, out=y))


def scipy():
    """BLAS's gemm; it stores by columns, so it multiplies the transposed matrices."""
    from scipy.linalg import blas

    for name, how, x, w in operands():
        gemm = blas.sgemm if name.startswith("float32") else blas.dgemm
        x, w, nt, tn = x.T, w.T, how == "NT", how == "TN"
        y = gemm(1.0, w, x, trans_a=nt, trans_b=tn)

        def call(gemm=gemm, x=x, w=w, y=y, nt=nt, tn=tn):
            return gemm(1.0, w, x, 0.0, y, nt, tn, 1)

        yield _case(name, call)


def torch():
    """torch.mm, which calls MKL or oneDNN."""
    import torch

    torch.set_grad_enabled(False)
    for name, how, x, w in operands():
        x, w = torch.from_numpy(x), torch.from_numpy(w)
        x, w = x.T if how == "TN" else x, w.T if how == "NT" else w
        y = torch.mm(x, w)
        yield _case(name, lambda x=x, w=w, y=y: torch.mm(x, w, out=y))


def jax():
    """jnp.matmul, compiled."""
    import jax

    jax.config.update("jax_enable_x64", True)
    product = {
        "NN": jax.jit(lambda x, w: x @ w),
        "NT": jax.jit(lambda x, w: x @ w.T),
        "TN": jax.jit(lambda x, w: x.T @ w),
    }
    for name, how, x, w in operands():
        x, w = jax.numpy.asarray(x), jax.numpy.asarray(w)
        yield _case(name, lambda f=product[how], x=x, w=w: f(x, w).block_until_ready())


def limit():
    """As many multiply-adds as the processor can do without any memory."""
    for name, (dtype, *_) in CASES.items():
        if flops(name) > 20_000:
            yield Case(name, flops(name) / greatest(f"fma_{dtype}"))
