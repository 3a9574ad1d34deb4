"""Matrix products in float32: squares, the layers of small nets, transposed operands.

NN is x @ w, NT is x @ w.T and TN is x.T @ w, where .T is a view.
"""

SHAPES = (
    [("NN", n, n, n) for n in (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)]
    + [
        (case, m, k, n)
        for case in ("NN", "NT", "TN")
        for m, k, n in [
            (4, 5, 5),
            (128, 784, 128),
            (128, 9216, 128),
            (128, 128, 10),
            (4096, 288, 64),
        ]
    ]
    + [(case, n, n, n) for case in ("NT", "TN") for n in (64, 256, 1024)]
)


def _cases(product, make):
    for case, m, k, n in SHAPES:
        x = make(k, m).T if case == "TN" else make(m, k)
        w = make(n, k).T if case == "NT" else make(k, n)
        yield f"{case} {m}x{k}x{n}", lambda x=x, w=w: product(x, w)


def flops(case):
    """Floating-point operations of a case, by its name."""
    m, k, n = map(int, case.split()[1].split("x"))
    return 2 * m * k * n


def tinygrad_act():
    """Tensor @ Tensor."""
    import tinygrad_act

    return _cases(lambda x, w: x @ w, tinygrad_act.rand)


def numpy():
    """ndarray @ ndarray, which calls OpenBLAS."""
    import numpy

    rng = numpy.random.default_rng(0)
    return _cases(lambda x, w: x @ w, lambda *shape: rng.random(shape, numpy.float32))


def torch():
    """Tensor @ Tensor, which calls MKL or oneDNN."""
    import torch

    return _cases(lambda x, w: x @ w, torch.rand)
