"""The staircase of docs/gemm.md: each step's GFLOP/s, beside what the processor can do.

    python -m benchmarks.staircase [--size 1008 1024] [--rounds 5] [--threads 2]

The first steps are in benchmarks/staircase.c, which the system's compiler compiles for this
processor; the last are the package's own kernels.  The limit is measured in between: a loop of
nothing but multiplications and additions in registers.
"""

import argparse
import ctypes
import time

import numpy as np

import tinygrad_act as tga
from benchmarks import native

ENOUGH = 2.0  # seconds after which a step is not timed again
STEPS = {  # function of staircase.c: what the table calls it
    "step_naive": "three loops",
    "step_reordered": "reordered",
    "step_tile": "tile in registers",
    "step_packed": "blocked and packed",
    "step_registers": "registers filled",
}


def library():
    """staircase.c, compiled for this processor, as a ctypes library."""
    lib = ctypes.CDLL(native.build("staircase.c", "-shared", "-fPIC", "-Wno-psabi"))
    lib.fma_peak.argtypes = [ctypes.c_int64]
    lib.fma_peak.restype = ctypes.c_double
    for step in STEPS:
        getattr(lib, step).argtypes = [ctypes.c_int64] + [ctypes.c_void_p] * 3
    return lib


def product(lib, step, a, b):
    """The product of two square float32 matrices by one step of staircase.c."""
    c = np.empty_like(a)
    if getattr(lib, step)(len(a), a.ctypes.data, b.ctypes.data, c.ctypes.data):
        raise MemoryError(f"{step}: no memory left for the packed blocks")
    return c


def ways(lib, size, threads):
    """All ways to compute one product: what each is called, a function that does it, and a clock.

    The clock of one thread is the processor's time that it was given: other programs that run
    beside it count less then.
    """
    rng = np.random.default_rng(0)
    a, b = rng.random((2, size, size), dtype=np.float32)
    for step, name in STEPS.items():
        yield name, lambda step=step: product(lib, step, a, b), time.thread_time
    x, w = tga.Tensor(a), tga.Tensor(b)

    def own(isa, count):
        before = tga.get_num_threads()
        tga.set_num_threads(count)
        try:
            with tga.use_isa(isa):
                return x @ w
        finally:
            tga.set_num_threads(before)

    for isa in tga.supported_isas():
        yield f"csrc/gemm.c, {isa}", lambda isa=isa: own(isa, 1), time.thread_time
    if threads > 1:
        name = f"csrc/gemm.c, {isa}, {threads} threads"
        yield name, lambda: own(isa, threads), time.perf_counter


def measure(lib, size, rounds, threads):
    """The best GFLOP/s of all rounds: of the limit, and of each way by its name."""
    peak, best, spent = 0.0, {}, {}
    for _ in range(rounds):
        for name, way, clock in ways(lib, size, threads):
            if spent.get(name, 0.0) > ENOUGH:
                continue
            start = time.thread_time()
            operations = lib.fma_peak(1_000_000)
            peak = max(peak, operations / (time.thread_time() - start) / 1e9)
            start = clock()
            way()
            seconds = clock() - start
            spent[name] = spent.get(name, 0.0) + seconds
            best[name] = max(best.get(name, 0.0), 2e-9 * size**3 / seconds)
    return peak, best


def table(sizes, results):
    """A Markdown table of GFLOP/s, and of how much of one core's limit that is."""
    peak = max(peak for peak, _ in results)
    heads = ["step", *(f"{size} x {size}" for size in sizes)]
    rows = [heads, ["---"] * len(heads)]
    for name in results[0][1]:
        speeds = [best[name] for _, best in results]
        rows.append([name, *(f"{speed:.1f} ({100 * speed / peak:.0f} %)" for speed in speeds)])
    rows.append(["limit: multiply and add in registers", *[f"{peak:.1f} (100 %)"] * len(sizes)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.staircase",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--size", type=int, nargs="+", default=[1008, 1024],
        help="multiples of 16; default: 1008 1024",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--threads", type=int, default=2, help="of the last row; default: 2")
    arguments = parser.parse_args()
    for size in arguments.size:
        if size < 16 or size % 16:
            parser.error(f"--size {size}: it must be a multiple of 16")
    print("c = a @ b, float32, square matrices: GFLOP/s\n")
    lib = library()
    results = [measure(lib, n, arguments.rounds, arguments.threads) for n in arguments.size]
    print(table(arguments.size, results))


if __name__ == "__main__":
    main()
