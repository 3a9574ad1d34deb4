"""The whole job, a process from its start to its end: 10,001 steps of the deep sigmoid net.

The cost of every step is kept, no picture is drawn.  Besides, the example with its
picture, and what only importing TensorFlow takes.
"""

import importlib.util
import tempfile
from pathlib import Path

from benchmarks.cases import Case, Group
from benchmarks.timing import seconds_of_process

STEPS = 10_001
JOB = f"{STEPS:,} steps"
PICTURE = "examples/xor.py with its picture; import tensorflow"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "xor.py"
SCAN = ["jax_scan_float32", "jax_scan_float64"]
GROUPS = [
    Group(JOB, lambda case: case == JOB, SCAN),
    Group(JOB, lambda case: case == JOB, ["tensorflow_session"]),
    Group(PICTURE, lambda case: case == PICTURE, ["tensorflow_import"]),
]


def _one_by_one(way):
    """A process that takes one step after the other and reads each cost."""
    code = f"""
from benchmarks import nets, xor_ways
step = xor_ways.{way}(nets.NETS["deep 2-5-(5x9)-1"], "sigmoid")
costs = [float(step()) for _ in range({STEPS})]
"""
    yield Case(JOB, seconds_of_process(code))


def _at_once(way, *more):
    """A process that takes all steps in one call."""
    code = f"""
from benchmarks import nets, xor_ways
run = xor_ways.{way}(nets.NETS["deep 2-5-(5x9)-1"], "sigmoid", {STEPS}, *{more})
costs = run().tolist()
"""
    yield Case(JOB, seconds_of_process(code))


def tinygrad_act():
    """The captured step, replayed; and the example, which does so, too."""
    yield from _at_once("tinygrad_act_replay")
    yield from _example()


def _example():
    """The example at its defaults; without matplotlib it would draw nothing."""
    if importlib.util.find_spec("matplotlib"):
        with tempfile.TemporaryDirectory() as out:
            code = f"import sys, runpy; sys.argv = ['xor.py', '--out', {out!r}]; "
            code += f"sys.path.insert(0, {str(EXAMPLE.parent)!r}); "  # as where a file is run
            code += f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
            yield Case(PICTURE, seconds_of_process(code))


def tinygrad_act_eager():
    """The graph new for each step."""
    return _one_by_one("tinygrad_act")


def jax_scan_float32():
    """lax.scan over all steps."""
    return _at_once("jax_scan", "float32")


def jax_scan_float64():
    """The same in float64."""
    return _at_once("jax_scan", "float64")


def jax_step():
    """jit of one step."""
    return _one_by_one("jax_step")


def torch_by_hand():
    """Eager, addmm and autograd.grad."""
    return _one_by_one("torch_by_hand")


def torch_nn():
    """Eager, as in the tutorials."""
    return _one_by_one("torch_nn")


def tensorflow_session():
    """TensorFlow 1: Session.run."""
    return _one_by_one("tensorflow_session")


def tensorflow_import():
    """Nothing but the import."""
    yield Case(PICTURE, seconds_of_process("import tensorflow"))


def numpy():
    """By hand, without a graph."""
    return _one_by_one("numpy")
