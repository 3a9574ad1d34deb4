"""Activations on float32: forward alone, and forward with backward.

The functions are those that a layer accepts by name; each peer does those it has, and
NumPy those that it can do by hand in its fastest way.  What mixes elements, such as softmax,
works on rows of 10 and of 1000.  Backward begins with a gradient of ones.
"""

from benchmarks.cases import Case, Group

THREADED = True
TOLERANCE = 1e-3
SIZES = (16, 10_000, 100_000, 1_000_000, 10_000_000)
WIDTHS = (10, 1000)
FORWARD, BOTH = "forward", "forward + backward"


def _size(case):
    return int(case.split()[1])


def _from_10_000(direction, in_c):
    """Whether a case goes that way, is large, and has a kernel in C or only the formula."""

    def belongs(case):
        large = case.endswith(f" {direction}") and _size(case) >= 10_000
        return large and has_kernel(case.split()[0].rstrip("0123456789")) == in_c

    return belongs


GROUPS = [
    Group(f"{BOTH}, 16 elements", lambda case: case.endswith(BOTH) and _size(case) == 16, ["torch"])
]
for direction in (FORWARD, BOTH):
    GROUPS.append(Group(f"{direction}, from 10,000 on", _from_10_000(direction, True)))
for direction in (FORWARD, BOTH):
    label = f"{direction}, from 10,000 on, ops that are a formula without a kernel"
    GROUPS.append(Group(label, _from_10_000(direction, False)))


def place(case):
    """Where a case stands: in which table, row and column."""
    function, n, direction = case.split(" ", 2)
    return direction, function, f"{int(n):,}"


def names():
    """(name, width or None) of all activations of the registry but identity, each once."""
    from tinygrad_act.op import ACTIVATIONS, General

    seen = [ACTIVATIONS["identity"]]
    for name, op in ACTIVATIONS.items():
        if op not in seen:
            seen.append(op)
            for width in WIDTHS if isinstance(op, General) else [None]:
                yield name, width


def has_kernel(name):
    """Whether the op is in C; if not, its formula runs, op by op."""
    from tinygrad_act.op import ACTIVATIONS

    return getattr(ACTIVATIONS.get(name), "row", 0) >= 0


def _cases(functions, make, backward, finish=lambda y: y):
    """The cases of one peer.

    Parameters
    ----------
    functions : dict from an op's name to what is applied to x
    make : function from a NumPy array to the peer's array
    backward : function from (function, x, gy) to a function without arguments, which
        computes y and the gradient of x and returns the gradient
    finish : function that waits for a result
    """
    import numpy as np

    for n in SIZES:
        numbers = np.random.default_rng(0).uniform(-3, 3, n).astype(np.float32)
        for name, width in names():
            if name not in functions or (width or 1) > n:
                continue
            x = numbers[: n // width * width].reshape(-1, width) if width else numbers
            label = f"{name}{width or ''} {n}"
            function, given = functions[name], make(x)

            def forward(function=function, given=given):
                return finish(function(given))

            yield Case(f"{label} {FORWARD}", forward, value=_ends(forward))
            ones = np.ones_like(np.asarray(forward()))
            both = backward(function, make(x), make(ones))
            yield Case(f"{label} {BOTH}", both, value=_ends(both))


def _ends(function):
    """A few of a result's numbers, by which it is compared."""

    def value():
        import numpy as np

        y = np.asarray(function()).reshape(-1)
        return y[[0, len(y) // 2, -1]]

    return value


def tinygrad_act():
    """Functions of the package."""
    from tinygrad_act import Tensor
    from tinygrad_act.op import ACTIVATIONS

    def backward(function, x, gy):
        x.requires_grad = True

        def both():
            x.grad = None
            function(x).backward(gy)
            return x.grad

        return both

    return _cases(ACTIVATIONS, Tensor, backward)


def torch():
    """Functions of torch.nn.functional."""
    import torch
    from torch.nn import functional as F

    functions = {name: getattr(F, name) for name, _ in names() if hasattr(F, name)}
    functions.update(
        sigmoid=torch.sigmoid,
        tanh=torch.tanh,
        gelu_tanh=lambda x: F.gelu(x, approximate="tanh"),
        very_leaky_relu=lambda x: F.leaky_relu(x, 1 / 3),
        threshold=lambda x: F.threshold(x, 0.0, 0.0),
        softmax=lambda x: torch.softmax(x, -1),
        softmin=lambda x: F.softmin(x, -1),
        log_softmax=lambda x: torch.log_softmax(x, -1),
    )

    def backward(function, x, gy):
        x.requires_grad_()

        def both():
            x.grad = None
            function(x).backward(gy)
            return x.grad

        return both

    return _cases(functions, lambda x: torch.from_numpy(x.copy()), backward)


def jax():
    """Functions of jax.nn, compiled."""
    import jax

    functions = {name: getattr(jax.nn, name) for name, _ in names() if hasattr(jax.nn, name)}
    functions.update(
        gelu=lambda x: jax.nn.gelu(x, approximate=False),
        gelu_tanh=jax.nn.gelu,
        very_leaky_relu=lambda x: jax.nn.leaky_relu(x, 1 / 3),
        logsigmoid=jax.nn.log_sigmoid,
        softsign=jax.nn.soft_sign,
        hardtanh=jax.nn.hard_tanh,
        hardsigmoid=jax.nn.hard_sigmoid,
        hardswish=jax.nn.hard_swish,
    )

    def backward(function, x, gy):
        def both(x, gy):
            y, vjp = jax.vjp(function, x)
            return y, vjp(gy)[0]

        both = jax.jit(both)
        return lambda: jax.block_until_ready(both(x, gy))[1]

    compiled = {name: jax.jit(function) for name, function in functions.items()}
    return _cases(compiled, jax.numpy.asarray, backward, lambda y: y.block_until_ready())


def tensorflow():
    """Functions of tf.nn, in a tf.function."""
    import tensorflow as tf

    functions = {name: getattr(tf.nn, name) for name, _ in names() if hasattr(tf.nn, name)}
    functions.update(
        gelu=lambda x: tf.nn.gelu(x, approximate=False),
        gelu_tanh=lambda x: tf.nn.gelu(x, approximate=True),
        leaky_relu=lambda x: tf.nn.leaky_relu(x, 0.01),
        very_leaky_relu=lambda x: tf.nn.leaky_relu(x, 1 / 3),
        logsigmoid=tf.math.log_sigmoid,
        mish=lambda x: x * tf.tanh(tf.math.softplus(x)),
    )

    def backward(function, x, gy):
        @tf.function
        def both(x, gy):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
            return y, tape.gradient(y, x, gy)

        return lambda: both(x, gy)[1]

    compiled = {name: tf.function(function) for name, function in functions.items()}
    return _cases(compiled, tf.constant, backward)


def numpy():
    """By hand, in place, without a graph: forward and backward of each."""
    from benchmarks import numpy_activations

    by_hand = {
        name: getattr(numpy_activations, name)
        for name, _ in names()
        if hasattr(numpy_activations, name)
    }

    class Function:
        """The function with a result of its own for each shape of input."""

        def __init__(self, both):
            self.forward, self.backward = both
            self.y = None

        def __call__(self, x):
            if self.y is None or self.y.shape != x.shape:
                self.y = x.copy()
            self.forward(x, self.y)
            return self.y

    def backward(function, x, gy):
        y, gx = x.copy(), x.copy()

        def both():
            function.forward(x, y)
            function.backward(gy, x, y, gx)
            return gx

        return both

    return _cases({name: Function(both) for name, both in by_hand.items()}, lambda x: x, backward)
