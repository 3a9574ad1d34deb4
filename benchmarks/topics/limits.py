"""The limits of the machine: multiply-adds, and memory at each level of the caches.

A copy counts the bytes read and written.
"""

from benchmarks.cases import Case
from benchmarks.machine_limits import limit as greatest

THREADED = True
SIZES = {
    "10 KiB": 10 << 10,
    "256 KiB": 256 << 10,
    "4 MiB": 4 << 20,
    "40 MiB": 40 << 20,
    "256 MiB": 256 << 20,
}


def rate(case):
    """A case's figure is the seconds of 10^9 operations or bytes."""
    return 1e9, "GFLOP/s" if case.startswith("fma") else "GB/s"


def limit():
    """Operations by arithmetic alone, and copies of arrays of each size."""
    for dtype in ("float32", "float64"):
        yield Case(f"fma, {dtype}", 1e9 / greatest(f"fma_{dtype}"))
    for what in ("read", "copy", "triad"):
        for name, nbytes in SIZES.items():
            yield Case(f"{what}, arrays of {name}", 1e9 / greatest(what, nbytes))
