"""One eager training step of the XOR nets, as a user would write it; the graph is new each time.

Forward, backward, update, 4 rows, learning rate 0.1, binary cross-entropy.  PyTorch
twice: with nn.Sequential, BCELoss and optim.SGD; and by hand, with as few calls as
it can be done with.
"""

from benchmarks import xor_ways
from benchmarks.cases import Case, Group
from benchmarks.nets import each

TOLERANCE = 1e-3
GROUPS = [
    Group("all", against=["torch_nn"]),
    Group("all", against=["torch_by_hand"]),
    Group("deep net", lambda case: "deep" in case, ["torch_by_hand"]),
]


def _cases(way):
    for name, sizes, hidden in each():
        step = way(sizes, hidden)

        def value(step=step):
            """The cost of the first step and of one a little later."""
            costs = [float(step()) for _ in range(20)]
            return costs[0], costs[-1]

        yield Case(name, step, value=value)


def tinygrad_act():
    """nn.Sequential, bce and optim.SGD."""
    return _cases(xor_ways.tinygrad_act)


def torch_nn():
    """PyTorch as in its tutorials."""
    return _cases(xor_ways.torch_nn)


def torch_by_hand():
    """PyTorch with addmm, autograd.grad and one multi-tensor update."""
    return _cases(xor_ways.torch_by_hand)
