"""Every step of benchmarks/staircase.c multiplies matrices; else its speed would mean nothing."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent))

from benchmarks import staircase  # noqa: E402


@pytest.fixture(scope="module")
def lib():
    return staircase.library()


@pytest.mark.parametrize("size", [16, 48, 304])  # one panel; a rest; several blocks of k
def test_steps(lib, size):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-4, 5, (2, size, size)).astype("float32")
    for step in staircase.STEPS:
        assert (staircase.product(lib, step, a, b) == a @ b).all(), step


def test_table(lib):
    peak, best = staircase.measure(lib, 16, rounds=1, threads=2)
    assert 0 < peak and all(0 < speed for speed in best.values())
    lines = staircase.table([16], [(peak, best)]).splitlines()
    assert len(lines) == len(best) + 3 and all(line.count("|") == 3 for line in lines)
