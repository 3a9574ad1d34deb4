"""What an op costs besides its arithmetic: a chain of 1000 recorded ops on 5x5 tensors.

Time of one op, forward and backward.  No peer compiles here: the graph is made anew each
time, as when a user writes one op after the other.
"""

from benchmarks.cases import Case

LENGTH = 1000
SIZE = 5
X, W = 0.01, 0.2


def _cases(ops, gradient):
    """`gradient(op)` applies op LENGTH times and gives the gradient of the result's sum."""
    for name, op in ops.items():

        def value(op=op):
            return [float(gradient(op)[0, 0])]

        yield Case(name, lambda op=op: gradient(op), per=LENGTH, value=value)


def tinygrad_act():
    """Operators and methods of Tensor."""
    import tinygrad_act as tga

    x = tga.full((SIZE, SIZE), X, requires_grad=True)
    w = tga.full((SIZE, SIZE), W, requires_grad=True)

    def gradient(op):
        x.grad = w.grad = None
        y = x
        for _ in range(LENGTH):
            y = op(y)
        y.sum().backward()
        return x.grad

    return _cases(
        {"add": lambda y: y + w, "matmul": lambda y: y @ w, "tanh": lambda y: y.tanh()}, gradient
    )


def torch():
    """The same in PyTorch."""
    import torch

    x = torch.full((SIZE, SIZE), X, requires_grad=True)
    w = torch.full((SIZE, SIZE), W, requires_grad=True)

    def gradient(op):
        x.grad = w.grad = None
        y = x
        for _ in range(LENGTH):
            y = op(y)
        y.sum().backward()
        return x.grad

    return _cases(
        {"add": lambda y: y + w, "matmul": lambda y: y @ w, "tanh": lambda y: y.tanh()}, gradient
    )


def tensorflow():
    """Eager, under a GradientTape."""
    import tensorflow as tf

    x, w = tf.fill((SIZE, SIZE), X), tf.fill((SIZE, SIZE), W)

    def gradient(op):
        with tf.GradientTape() as tape:
            tape.watch((x, w))
            y = x
            for _ in range(LENGTH):
                y = op(y)
            total = tf.reduce_sum(y)
        return tape.gradient(total, (x, w))[0]

    return _cases({"add": lambda y: y + w, "matmul": lambda y: y @ w, "tanh": tf.tanh}, gradient)


def jax():
    """jax.grad without jit."""
    import jax
    import jax.numpy as jnp

    start, weight = jnp.full((SIZE, SIZE), X), jnp.full((SIZE, SIZE), W)

    def gradient(op):
        def total(x, w):
            for _ in range(LENGTH):
                x = op(x, w)
            return x.sum()

        return jax.grad(total, (0, 1))(start, weight)[0].block_until_ready()

    return _cases(
        {"add": jnp.add, "matmul": jnp.matmul, "tanh": lambda x, w: jnp.tanh(x)}, gradient
    )
