"""Ops that only move memory, against the fastest copy in C of as many bytes.

Forward reads x and writes y; backward reads the gradient and what was saved and writes
the gradient of x, with three arrays like the sum of two.
"""

from benchmarks.cases import Case, Group
from benchmarks.machine_limits import limit as greatest

THREADED = True
SIZES = (1_000_000, 10_000_000)
OPS = ("relu", "leaky_relu")
FLOAT = 4  # bytes

GROUPS = [
    Group(f"{n:,} elements", lambda case, n=n: case.endswith(f" {n}"), ["limit"]) for n in SIZES
]


def tinygrad_act():
    """Methods of Tensor, float32."""
    import tinygrad_act as tga

    for n in SIZES:
        x, leaf = (tga.uniform(n, low=-3.0, high=3.0, requires_grad=g) for g in (False, True))
        other = tga.uniform(n, low=-3.0, high=3.0)
        for op in OPS:
            function = getattr(tga, op)

            def both(function=function, leaf=leaf, other=other):
                leaf.grad = None
                function(leaf).backward(other)

            yield Case(f"{op}, forward {n}", lambda f=function, x=x: f(x))
            yield Case(f"{op}, forward + backward {n}", both)
        yield Case(f"add, forward {n}", lambda x=x, other=other: x + other)


def limit():
    """A copy forward; and a triad, which reads two arrays and writes a third, backward.

    A median like ours, over arrays of such numbers as ours: neither the best moment of the
    memory nor zeros, which some processors move faster.
    """
    for n in SIZES:
        copy = 2 * FLOAT * n / greatest("copy", FLOAT * n)
        triad = 3 * FLOAT * n / greatest("triad", FLOAT * n)
        both = 5 * FLOAT * n / greatest("copy_triad", FLOAT * n)
        for op in OPS:
            yield Case(f"{op}, forward {n}", copy)
            yield Case(f"{op}, forward + backward {n}", both)
        yield Case(f"add, forward {n}", triad)
