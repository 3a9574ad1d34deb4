"""The most memory that a process has held when it ends, with everything that it has imported.

It trains the convolutional network of the topic `cnn` for some steps, or the deep sigmoid net on
XOR for 10,001, or only imports.  With threads a process holds more, for each has memory of its own.
"""

from benchmarks.cases import Case, Group
from benchmarks.timing import peak_of_process

STEPS = 8
NETWORK = f"convolutional network, {STEPS} steps"
XOR = "XOR, 10,001 steps"
IMPORT = "import"
GROUPS = [
    Group(NETWORK, lambda case: case == NETWORK, ["torch", "torch_channels_last"]),
    Group(XOR, lambda case: case == XOR),
    Group(IMPORT, lambda case: case == IMPORT),
]


def show(nbytes, case):
    """A case's figure is bytes."""
    return f"{nbytes / 2**20:.0f} MiB"


def _network(column):
    code = f"""
from benchmarks.topics import cnn
step = cnn.step_of({column!r})
for _ in range({STEPS}):
    step()
"""
    return Case(NETWORK, peak_of_process(code))


def _xor(way, *more):
    code = f"""
from benchmarks import nets, xor_ways
run = xor_ways.{way}(nets.NETS["deep 2-5-(5x9)-1"], "sigmoid", 10_001, *{more})
run().tolist()
"""
    return Case(XOR, peak_of_process(code))


def _xor_by_steps(way):
    code = f"""
from benchmarks import nets, xor_ways
step = xor_ways.{way}(nets.NETS["deep 2-5-(5x9)-1"], "sigmoid")
costs = [float(step()) for _ in range(10_001)]
"""
    return Case(XOR, peak_of_process(code))


def _import(package):
    return Case(IMPORT, peak_of_process(f"import {package}"))


def tinygrad_act():
    """The steps captured."""
    yield _network("tinygrad_act")
    yield _xor("tinygrad_act_replay")
    yield _import("tinygrad_act")


def numpy():
    """By hand."""
    yield _xor_by_steps("numpy")
    yield _import("numpy")


def torch():
    """NCHW; the XOR net by hand."""
    yield _network("torch")
    yield _xor_by_steps("torch_by_hand")
    yield _import("torch")


def torch_channels_last():
    """The other layout."""
    yield _network("torch_channels_last")


def jax():
    """lax.scan over all steps."""
    yield _xor("jax_scan", "float32")
    yield _import("jax.numpy")


def tensorflow():
    """tf.function; TensorFlow 1: Session.run."""
    yield _network("tensorflow")
    yield _xor_by_steps("tensorflow_session")
    yield _import("tensorflow")
