"""Random numbers: one stream, reproducible on every machine.

The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers:
as easy as 1, 2, 3", SC11).  It has no state but a key and a count of the numbers drawn:
number i is a function of the two, so that it does not matter which thread or which
instruction set computes it.
"""

import os
import threading
from math import prod

from .. import kernels
from ..array import checked_shape, copy_into, empty, index_view, mark_all_written, to_list
from ..array import number as array_of_number
from ..dtype import bool_, int64

lib = kernels.lib

WORD = 1 << 64


class Generator:
    """A stream of random numbers.

    Parameters
    ----------
    seed : int
        Picks the stream; 64 bits of it count.

    Attributes
    ----------
    state : Array of 2 int64
        The key, which is the seed, and how many blocks of 128 random bits have been
        drawn.  C reads it and moves it on, so a captured step can do without Python.
    """

    __slots__ = ("state", "_lock")

    def __init__(self, seed):
        self._lock = threading.Lock()
        self.state = empty((2,), int64, 2)
        self.manual_seed(seed)

    def manual_seed(self, seed):
        """Begin the stream of `seed`, an integer."""
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise TypeError(f"manual_seed: seed must be an integer, not {seed!r}")
        self.set_state((seed % WORD, 0))

    def get_state(self):
        """The key and the number of blocks drawn, to go on from here another time."""
        return tuple(word % WORD for word in to_list(self.state))

    def set_state(self, state):
        """Go on from what `get_state` gave."""
        for place, word in enumerate(state):
            signed = (word + WORD // 2) % WORD - WORD // 2
            copy_into(index_view(self.state, place), array_of_number(signed, int64))

    def draw(self, kernel, shape, dtype, first, second, op):
        """A new array from a kernel of csrc/random.c."""
        shape, size = checked_shape(shape, op)
        if not dtype.is_float:
            raise TypeError(f"{op}: dtype must be float32 or float64, not {dtype}")
        y = empty(shape, dtype, size)
        with self._lock:  # two threads must not draw the same numbers
            mark_all_written((self.state,), op)
            kernel(dtype.code, self.state.data, size, first, second, y.data)
        return y

    def draw_mask(self, shape, p, op):
        """A new array of bools, each False with probability `p`."""
        mask = empty(shape, bool_, prod(shape))
        with self._lock:
            mark_all_written((self.state,), op)
            lib.tga_dropout_mask(self.state.data, mask.size, p, kernels.as_bytes(mask.data))
        return mask


default_generator = Generator(int.from_bytes(os.urandom(8), "little"))


def uniform(shape, low, high, dtype, op="uniform", generator=default_generator):
    """An array of numbers evenly spread over [low, high)."""
    if not low <= high:
        raise ValueError(f"{op}: low is {low} and high is {high}, but low must not be above high")
    return generator.draw(lib.tga_random_uniform, shape, dtype, low, high, op)


def normal(shape, mean, std, dtype, op="normal"):
    """An array of normally distributed numbers."""
    if not std >= 0:
        raise ValueError(f"{op}: std is {std}, but must not be negative")
    return default_generator.draw(lib.tga_random_normal, shape, dtype, mean, std, op)
