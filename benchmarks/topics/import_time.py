"""How long an import takes: the statement alone, and a whole process that ends after it.

`python` is a process that imports nothing; its start and its end are in every process.
"""

from benchmarks.cases import Case, Group
from benchmarks.timing import seconds_of_process, seconds_within_process

STATEMENT, PROCESS = "the statement", "the whole process"
GROUPS = [
    Group("import", lambda case: case == STATEMENT, against=["numpy"]),
    Group("process", lambda case: case == PROCESS, against=["numpy"]),
]


def _case(code):
    if code != "pass":
        yield Case(STATEMENT, seconds_within_process(code, samples=3))
    yield Case(PROCESS, seconds_of_process(code, samples=3))


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
