"""The ways to train an XOR net, one for each peer and style.

Those that take one step at a time are functions (sizes, hidden) -> step, where step()
computes the cost, its gradient and the update, and returns the cost, which float() reads.
The others are functions (sizes, hidden, steps) -> run, where run() takes so many steps and
returns the cost of each.  All start from the same weights.
"""

import ctypes

from . import native
from .nets import LEARNING_RATE, T, X, start

# ---- one step at a time ---------------------------------------------------------------------


def tinygrad_act(sizes, hidden):
    """nn.Sequential, bce and optim.SGD, eager."""
    from tinygrad_act import Tensor, bce, nn, no_grad, optim

    layers = []
    for w, b in start(sizes):
        linear = nn.Linear(len(w), len(b))
        with no_grad():
            linear.weight.copy_(Tensor(w).T)
        layers += [linear, hidden]
    net = nn.Sequential(*layers[:-1], "sigmoid")
    optimizer = optim.SGD(net.parameters(), lr=LEARNING_RATE)
    x, t = Tensor(X), Tensor(T)

    def step():
        cost = bce(net(x), t)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        return cost

    return step


def tinygrad_act_step(sizes, hidden):
    """The same, captured: a call runs the step in C."""
    from tinygrad_act import capture

    return capture(tinygrad_act(sizes, hidden))


def torch_nn(sizes, hidden):
    """nn.Sequential, BCELoss and optim.SGD, as in PyTorch's tutorials."""
    import torch

    activation = {"sigmoid": torch.nn.Sigmoid, "relu": torch.nn.ReLU}[hidden]
    layers = []
    for w, b in start(sizes):
        linear = torch.nn.Linear(len(w), len(b))
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(w).T)
            linear.bias.zero_()
        layers += [linear, activation()]
    net = torch.nn.Sequential(*layers[:-1], torch.nn.Sigmoid())
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)
    loss = torch.nn.BCELoss()
    x, t = torch.tensor(X), torch.tensor(T)

    def step():
        cost = loss(net(x), t)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        return cost.detach()

    return step


def _torch_cost(hidden):
    """The cost as a function of the list of weights and biases, with as few calls as possible."""
    import torch
    from torch.nn.functional import binary_cross_entropy

    hidden = {"sigmoid": torch.sigmoid, "relu": torch.relu}[hidden]
    x, t = torch.tensor(X), torch.tensor(T)

    def cost(parameters):
        h = x
        *first, last = zip(parameters[::2], parameters[1::2])
        for w, b in first:
            h = hidden(torch.addmm(b, h, w))
        return binary_cross_entropy(torch.sigmoid(torch.addmm(last[1], h, last[0])), t)

    return cost


def torch_by_hand(sizes, hidden):
    """PyTorch with addmm, autograd.grad and one update of all parameters."""
    import torch

    parameters = [torch.tensor(p).requires_grad_() for layer in start(sizes) for p in layer]
    cost_of = _torch_cost(hidden)

    def step():
        cost = cost_of(parameters)
        gradients = torch.autograd.grad(cost, parameters)
        with torch.no_grad():
            torch._foreach_sub_(parameters, gradients, alpha=LEARNING_RATE)
        return cost.detach()

    return step


def torch_compile(sizes, hidden):
    """The whole step as one compiled function."""
    import torch

    gradient_and_cost = torch.func.grad_and_value(_torch_cost(hidden))

    @torch.compile
    def update(parameters):
        gradients, cost = gradient_and_cost(parameters)
        return [p - LEARNING_RATE * g for p, g in zip(parameters, gradients)], cost

    parameters = [torch.tensor(p) for layer in start(sizes) for p in layer]

    def step():
        nonlocal parameters
        with torch.no_grad():
            parameters, cost = update(parameters)
        return cost

    return step


def numpy(sizes, hidden):
    """By hand, without a graph, every result in memory that exists already."""
    import numpy as np

    layers = [(np.float32(w), np.float32(b)) for w, b in start(sizes)]
    x, t = np.float32(X), np.float32(T)
    rows = len(x)
    outputs = [np.empty((rows, len(b)), np.float32) for _, b in layers]
    inputs = [x, *outputs]
    gz = [np.empty_like(y) for y in outputs]
    work = [np.empty_like(y) for y in outputs]
    gw = [(np.empty_like(w), np.empty_like(b)) for w, b in layers]

    def sigmoid(y):
        np.negative(y, out=y)
        np.exp(y, out=y)
        np.add(y, 1, out=y)
        np.reciprocal(y, out=y)

    def step():
        for index, ((w, b), h, y) in enumerate(zip(layers, inputs, outputs)):
            np.matmul(h, w, out=y)
            np.add(y, b, out=y)
            if hidden == "sigmoid" or index == len(layers) - 1:
                sigmoid(y)
            else:
                np.maximum(y, 0, out=y)
        p = outputs[-1]
        cost = -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))
        np.subtract(p, t, out=gz[-1])
        np.divide(gz[-1], rows, out=gz[-1])
        for index in range(len(layers) - 1, -1, -1):
            w, b = layers[index]
            grad_w, grad_b = gw[index]
            np.matmul(inputs[index].T, gz[index], out=grad_w)
            np.add.reduce(gz[index], axis=0, out=grad_b)
            if index > 0:
                y, below, slope = outputs[index - 1], gz[index - 1], work[index - 1]
                np.matmul(gz[index], w.T, out=below)
                if hidden == "sigmoid":
                    np.subtract(1, y, out=slope)
                    np.multiply(slope, y, out=slope)
                else:
                    np.greater(y, 0, out=slope)
                np.multiply(below, slope, out=below)
            np.multiply(grad_w, LEARNING_RATE, out=grad_w)
            np.multiply(grad_b, LEARNING_RATE, out=grad_b)
            np.subtract(w, grad_w, out=w)
            np.subtract(b, grad_b, out=b)
        return cost

    return step


def _jax_step(hidden, dtype):
    """(parameters -> new parameters, cost) of one step, not yet compiled."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    hidden = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}[hidden]
    x, t = jnp.asarray(X, dtype), jnp.asarray(T, dtype)

    def cost(parameters):
        h = x
        *first, last = parameters
        for w, b in first:
            h = hidden(h @ w + b)
        p = jax.nn.sigmoid(h @ last[0] + last[1])
        return -jnp.mean(t * jnp.log(p) + (1 - t) * jnp.log(1 - p))

    def step(parameters):
        value, gradients = jax.value_and_grad(cost)(parameters)
        update = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradients)
        return update, value

    return step


def _jax_start(sizes, dtype):
    import jax.numpy as jnp

    return [(jnp.asarray(w, dtype), jnp.asarray(b, dtype)) for w, b in start(sizes)]


def jax_step(sizes, hidden):
    """One compiled function, called for each step."""
    import jax

    update = jax.jit(_jax_step(hidden, "float32"))
    parameters = _jax_start(sizes, "float32")

    def step():
        nonlocal parameters
        parameters, cost = update(parameters)
        return cost

    return step


def tensorflow_session(sizes, hidden):
    """A graph with placeholders and a Session, as in the tutorials of TensorFlow 1."""
    import tensorflow

    tf = tensorflow.compat.v1
    activation = {"sigmoid": tf.sigmoid, "relu": tf.nn.relu}[hidden]
    with tf.Graph().as_default():
        x, t = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.float32, [None, 1])
        h = x
        layers = start(sizes)
        for index, (w, b) in enumerate(layers):
            z = tf.matmul(h, tf.Variable(w)) + tf.Variable(b)
            h = activation(z) if index < len(layers) - 1 else tf.sigmoid(z)
        cost = -tf.reduce_mean(t * tf.log(h) + (1 - t) * tf.log(1 - h))
        train = tf.train.GradientDescentOptimizer(LEARNING_RATE).minimize(cost)
        right = tf.equal(tf.cast(h > 0.5, tf.float32), t)
        accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
        session = tf.Session()
        session.run(tf.global_variables_initializer())
    feed = {x: X, t: T}

    def step():
        return session.run([cost, train, accuracy], feed)[0]

    return step


# ---- many steps in one call -----------------------------------------------------------------


def tinygrad_act_replay(sizes, hidden, steps):
    """The captured step, replayed."""
    step = tinygrad_act_step(sizes, hidden)
    return lambda: step.replay(steps)


def jax_scan(sizes, hidden, steps, dtype):
    """lax.scan over all steps, compiled as one function."""
    import jax
    import numpy as np

    step = _jax_step(hidden, dtype)

    @jax.jit
    def all_steps(parameters):
        return jax.lax.scan(lambda p, _: step(p), parameters, length=steps)

    parameters = _jax_start(sizes, dtype)

    def run():
        nonlocal parameters
        parameters, costs = all_steps(parameters)
        return np.asarray(costs)

    return run


def in_c(source, sizes, hidden, steps):
    """A function in C, compiled for this net alone."""
    widths = ",".join(map(str, sizes))
    flags = ["-shared", "-fPIC", f"-DWIDTHS={widths}", f"-DSIGMOID={int(hidden == 'sigmoid')}"]
    train = ctypes.CDLL(native.build(source, *flags)).train
    pointer = ctypes.POINTER(ctypes.c_float)
    train.argtypes = [pointer] * 3 + [ctypes.c_float, ctypes.c_long, pointer]

    def floats(numbers):
        return (ctypes.c_float * len(numbers))(*numbers)

    flat = [number for w, b in start(sizes) for row in (*w, b) for number in row]
    parameters, costs = floats(flat), floats([0.0] * steps)
    x, t = floats(sum(X, [])), floats(sum(T, []))

    def run():
        train(x, t, parameters, LEARNING_RATE, steps, costs)
        return costs

    return run
