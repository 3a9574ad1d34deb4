"""How long a process takes that imports the package and ends.

`python` is a process that imports nothing.
"""

import subprocess
import sys

from benchmarks.cases import Case, Group

GROUPS = [Group("against NumPy's import", against=["numpy"])]


def _case(code):
    def process():
        subprocess.run([sys.executable, "-c", code], check=True)

    return [Case("the whole process", process)]


def tinygrad_act():
    """The package."""
    return _case("import tinygrad_act")


def python():
    """The interpreter alone."""
    return _case("pass")


def numpy():
    """NumPy."""
    return _case("import numpy")


def scipy():
    """SciPy with its linear algebra."""
    return _case("import scipy.linalg")


def torch():
    """PyTorch."""
    return _case("import torch")


def jax():
    """JAX with its NumPy."""
    return _case("import jax.numpy")


def tensorflow():
    """TensorFlow."""
    return _case("import tensorflow")
