"""How long a process takes that imports the package and ends.

`python` is a process that imports nothing.
"""

from benchmarks.cases import Case, Group
from benchmarks.timing import seconds_of_process

GROUPS = [Group("import", against=["numpy"])]


def _case(code):
    return [Case("the whole process", seconds_of_process(code, samples=3))]


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
