"""The graph of a computation, and the chain rule over it.

With this file you can record which op made a value from which, and send
derivatives back along that record.  It knows no op, no array and no C: a
gradient is anything that can be added, and how one op passes its gradient on
is asked of the function `pull_back`.  ``scalar.py`` and ``tensor.py`` stand on it.
"""

import threading
from operator import add

_RUNS_IN_PIECES = 0x20 | 0x80 | 0x200  # of the inspect module: generator, coroutine, both


class Node:
    """One application of an op: plain data, so it can be printed, drawn and replayed.

    Attributes
    ----------
    op : Op
        What was applied.
    parents : tuple of (Node or None)
        Where each input came from, in the order of the inputs, with repetitions:
        ``x * x`` has two edges to ``x``.  None for an input without gradient.
    saved : tuple or None
        What the derivative needs: the output, then the inputs; where only the
        shape is needed, the shape alone.  None once backward has freed it.
    attrs : dict
        The op's attributes, such as ``axis``.
    time : int
        The count of writes in place when this was recorded; a saved buffer
        written to later is stale.
    hooks : Hooks
        Functions that are shown its gradient; not set where there are none.
    """

    __slots__ = ("op", "parents", "saved", "attrs", "time", "hooks", "__weakref__")

    def __init__(self, op, parents, saved, attrs, time):
        self.op = op
        self.parents = parents
        self.saved = saved
        self.attrs = attrs
        self.time = time

    def __repr__(self):
        return f"<Node {self.op.name}>"


class Leaf(Node):
    """Where the graph begins: a value that was not computed but given.

    The gradient is kept here and not in the tensor, which refers to its leaf;
    so neither refers to the other in a circle, and memory goes as soon as the
    last reference does.
    """

    __slots__ = ("grad", "name")

    def __init__(self, name=None):
        super().__init__(None, (), (), {}, 0)
        self.grad = None
        self.name = name

    def __repr__(self):
        return f"<Leaf {self.name}>" if self.name else "<Leaf>"


class _Mode(threading.local):
    recording = True  # each thread starts so
    no_grads = 0  # how many no_grad blocks the thread is in


mode = _Mode()


class no_grad:
    """Record nothing inside: ``with no_grad(): ...``, or ``@no_grad()`` on a function.

    Holds for the thread that enters it, and can be nested.

    Raises
    ------
    TypeError
        As a decorator without parentheses, or of a generator: its body runs later and
        in pieces.
    """

    def __init__(self, *wrong):
        if wrong:
            raise TypeError("no_grad: write @no_grad(), with parentheses")

    def __enter__(self):
        mode.no_grads += 1
        mode.recording = False
        return self

    def __exit__(self, *_):
        mode.no_grads -= 1
        mode.recording = mode.no_grads == 0

    def __call__(self, function):
        from functools import wraps

        code = getattr(function, "__code__", None)  # a callable object has none
        if code is not None and code.co_flags & _RUNS_IN_PIECES:
            raise TypeError("no_grad: of a generator, use `with no_grad():` inside it instead")

        @wraps(function)
        def without_recording(*args, **kwargs):
            with no_grad():
                return function(*args, **kwargs)

        return without_recording


def count_users(roots):
    """Every node that `roots` were computed from, and how many edges lead to it; no leaves.

    Without recursion, since a chain may be longer than Python's stack.

    Raises
    ------
    RuntimeError
        If a node's saved values have been freed by an earlier backward.
    """
    found = list(roots)
    users = dict.fromkeys(found, 0)
    for node in found:  # grows while we walk along it
        if node.saved is None:
            raise RuntimeError(
                f"backward: the graph of {node.op.name!r} was freed by an earlier backward; "
                f"write backward(retain_graph=True) the first time to run it twice"
            )
        for parent in node.parents:
            if parent is None or parent.op is None:
                continue
            if parent in users:
                users[parent] += 1
            else:
                users[parent] = 1
                found.append(parent)
    return users


def backward(seeds, pull_back, deliver, retain_graph=False, watched=(), add_to=add):
    """The chain rule: the gradient of a node is the sum over all nodes that use it.

    Nodes are visited in topological order.  Why an order is needed: in ``a = x * 2;
    b = a + 1; y = a * b`` the gradient of ``a`` comes from ``y`` directly and through
    ``b``.  Passed on after only one of them had arrived, half of it would be lost to
    ``x``.  So a node's turn comes when all nodes that use it have had theirs (Kahn 1962).
    A leaf needs no turn, since it passes nothing on: it only adds up.

    Parameters
    ----------
    seeds : dict from Node to gradient
        The outputs, each with the gradient of the result with respect to it.
    pull_back : function (node, gradient) -> sequence of gradients
        The gradient of each of the node's inputs; of an input without a node
        anything, since it is not looked at.
    deliver : function (node, gradient)
        Told the gradient of each leaf, once and whole, when all have been found.  What it
        returns goes on from a node in `watched`.
    retain_graph : bool
        Keep what the nodes saved, so that backward can run again.
    watched : container of Node
        Nodes on the way whose gradient `deliver` is told as well, in their turn.
    add_to : function (sum, gradient) -> sum
        How a third and further gradient is added to the sum of the first two, which it may
        overwrite: nobody else holds that.  Default: ``+``.

    Raises
    ------
    RuntimeError
        If a node's saved values have been freed by an earlier backward.
    """
    users = count_users(seeds)
    gradients = dict(seeds)
    sums = set()  # the nodes whose gradient is a sum made here
    ready = [node for node in seeds if not users[node]]
    for node in ready:  # grows, too
        if node.op is None:  # a leaf that is itself an output
            continue
        gradient = gradients.pop(node)
        if watched and node in watched:
            gradient = deliver(node, gradient)
        contributions = pull_back(node, gradient)
        if not retain_graph:
            node.saved = None
        for parent, contribution in zip(node.parents, contributions):
            if parent is None:
                continue
            if parent not in gradients:
                gradients[parent] = contribution
            elif parent in sums:
                gradients[parent] = add_to(gradients[parent], contribution)
            else:
                gradients[parent] = gradients[parent] + contribution
                sums.add(parent)
            if parent.op is None:
                continue
            if users[parent] == 1:
                ready.append(parent)
            else:
                users[parent] -= 1
    for leaf, gradient in gradients.items():  # all others have been passed on
        deliver(leaf, gradient)
