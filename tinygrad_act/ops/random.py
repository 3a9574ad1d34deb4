"""Random numbers: one stream, reproducible on every machine.

The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers:
as easy as 1, 2, 3", SC11).  It has no state but a key and a count of the numbers drawn:
number i is a function of the two, so that it does not matter which thread or which
instruction set computes it.
"""

import os
import threading

from ..array import checked_shape, empty
from ..op import kernels

lib = kernels.lib


class Generator:
    """A stream of random numbers.

    Parameters
    ----------
    seed : int
        Picks the stream; 64 bits of it count.

    Attributes
    ----------
    key : int
        The seed.
    offset : int
        How many blocks of 128 random bits have been used.
    """

    __slots__ = ("key", "offset", "_lock")

    def __init__(self, seed):
        self._lock = threading.Lock()
        self.manual_seed(seed)

    def manual_seed(self, seed):
        """Begin the stream of `seed`, an integer."""
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise TypeError(f"manual_seed: seed must be an integer, not {seed!r}")
        self.key = seed % (1 << 64)
        self.offset = 0

    def draw(self, kernel, shape, dtype, first, second, op):
        """A new array from a kernel of csrc/random.c."""
        shape, size = checked_shape(shape, op)
        if not dtype.is_float:
            raise TypeError(f"{op}: dtype must be float32 or float64, not {dtype}")
        y = empty(shape, dtype, size)
        used = kernels.used_counter()
        with self._lock:  # two threads must not draw the same numbers
            kernel(dtype.code, self.key, self.offset, size, first, second, y.data, used)
            self.offset += used[0]
        return y


default_generator = Generator(int.from_bytes(os.urandom(8), "little"))


def uniform(shape, low, high, dtype, op="uniform"):
    """An array of numbers evenly spread over [low, high)."""
    if not low <= high:
        raise ValueError(f"{op}: low is {low} and high is {high}, but low must not be above high")
    return default_generator.draw(lib.tga_random_uniform, shape, dtype, low, high, op)


def normal(shape, mean, std, dtype, op="normal"):
    """An array of normally distributed numbers."""
    if not std >= 0:
        raise ValueError(f"{op}: std is {std}, but must not be negative")
    return default_generator.draw(lib.tga_random_normal, shape, dtype, mean, std, op)
