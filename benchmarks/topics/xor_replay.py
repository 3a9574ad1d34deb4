"""Training the XOR nets, the cost of every step kept; time of one step.

Forward, backward, update, 4 rows, learning rate 0.1, binary cross-entropy.  Whoever can
takes 10,000 steps in one call; the others take one at a time and read the cost.  The two
loops in C are compiled for the one net.
"""

from benchmarks import xor_ways
from benchmarks.cases import Case, Group
from benchmarks.nets import each

TOLERANCE = 1e-3
MANY, FEW = 10_000, 200
SCAN = ["jax_scan_float32", "jax_scan_float64"]
NETS = ("deep", "wide", "small")


def _of(net):
    return lambda case: case.startswith(net)


GROUPS = [
    *[Group(f"{net}: replay", _of(net), SCAN) for net in NETS],
    Group("deep: replay", _of("deep"), ["tensorflow_session"]),
    *[Group(f"{net}: replay", _of(net), ["c_vector"]) for net in NETS],
    Group("deep: C with vectors", _of("deep"), SCAN, ours="c_vector"),
    Group("deep: one call for each step", _of("deep"), ["jax_step"], ours="tinygrad_act_step"),
    Group("deep: eager", _of("deep"), ["torch_by_hand"], "tinygrad_act_eager"),
]


def _one_by_one(way):
    for name, sizes, hidden in each():
        step = way(sizes, hidden)

        def run(step=step):
            return [float(step()) for _ in range(FEW)]

        yield Case(name, run, FEW, _ends(run))


def _at_once(way):
    for name, sizes, hidden in each():
        run = way(sizes, hidden, MANY)
        yield Case(name, run, MANY, _ends(run))


def _ends(run):
    """The costs of the first step and of the 200th."""

    def value():
        costs = run()
        return costs[0], costs[FEW - 1]

    return value


def tinygrad_act():
    """The captured step, replayed."""
    return _at_once(xor_ways.tinygrad_act_replay)


def tinygrad_act_step():
    """The captured step, one call from Python for each."""
    return _one_by_one(xor_ways.tinygrad_act_step)


def tinygrad_act_eager():
    """nn.Sequential, bce and optim.SGD, the graph new for each step."""
    return _one_by_one(xor_ways.tinygrad_act)


def c_vector():
    """Vectors, by hand."""
    return _at_once(lambda *net: xor_ways.in_c("xor_vector.c", *net))


def c_plain():
    """Loops over numbers."""
    return _at_once(lambda *net: xor_ways.in_c("xor_plain.c", *net))


def jax_scan_float32():
    """lax.scan over all steps."""
    return _at_once(lambda *net: xor_ways.jax_scan(*net, "float32"))


def jax_scan_float64():
    """The same in float64, which is faster where XLA cannot use vectors anyway."""
    return _at_once(lambda *net: xor_ways.jax_scan(*net, "float64"))


def jax_step():
    """jit of one step."""
    return _one_by_one(xor_ways.jax_step)


def torch_compile():
    """torch.compile of one step."""
    return _one_by_one(xor_ways.torch_compile)


def torch_by_hand():
    """Eager, addmm and autograd.grad."""
    return _one_by_one(xor_ways.torch_by_hand)


def torch_nn():
    """Eager, as in the tutorials."""
    return _one_by_one(xor_ways.torch_nn)


def tensorflow_session():
    """TensorFlow 1: Session.run."""
    return _one_by_one(xor_ways.tensorflow_session)


def numpy():
    """By hand, without a graph."""
    return _one_by_one(xor_ways.numpy)
