"""A 2-3-3-1 tanh net on circle data, in batches of 10 and a new order; time of one step.

500 points in the square from -1 to 1, of which those inside a circle have the target 1 and
the others -1; half the squared error, learning rate 0.03.  One call is an epoch, 50 steps,
where the peer can, and the costs of all steps are kept.
"""

import random

from benchmarks.cases import Case, Group
from benchmarks.nets import start

TOLERANCE = 1e-3
SIZES = [2, 3, 3, 1]
POINTS, BATCH, RATE = 500, 10, 0.03
GROUPS = [
    Group("a captured epoch", against=["jax_scan"]),
    Group("eager", against=["torch_by_hand"], ours="tinygrad_act_eager"),
]


def data():
    """The points, their targets, and the order of an epoch."""
    rng = random.Random(0)
    x = [[rng.uniform(-1, 1), rng.uniform(-1, 1)] for _ in range(POINTS)]
    t = [[1.0 if a * a + b * b < 0.5 else -1.0] for a, b in x]
    order = list(range(POINTS))
    rng.shuffle(order)
    return x, t, order


def _case(epoch):
    """`epoch` trains once over all points and returns the costs of its steps."""

    def value():
        costs = epoch()
        return float(costs[0]), float(costs[-1])

    return [Case("2-3-3-1 tanh", epoch, POINTS // BATCH, value)]


def _step():
    """The training step as a function of x and t, eager."""
    from tinygrad_act import Tensor, mse, nn, no_grad, optim

    layers = []
    for w, b in start(SIZES):
        linear = nn.Linear(len(w), len(b))
        with no_grad():
            linear.weight.copy_(Tensor(w).T)
        layers += [linear, "tanh"]
    net = nn.Sequential(*layers)
    optimizer = optim.SGD(net.parameters(), lr=RATE)

    def step(x, t):
        cost = mse(net(x), t) * 0.5
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        return cost

    return step


def _tensors():
    from tinygrad_act import Tensor

    x, t, order = data()
    return Tensor(x), Tensor(t), Tensor(order, dtype="int64")


def tinygrad_act():
    """The step captured, an epoch in one call."""
    from tinygrad_act import capture

    step = capture(_step())
    x, t, order = _tensors()
    return _case(lambda: step.epoch((x, t), BATCH, order))


def tinygrad_act_eager():
    """nn.Sequential and optim.SGD, the graph new for each step."""
    step = _step()
    x, t, order = _tensors()

    def epoch():
        batches = [order[i : i + BATCH] for i in range(0, POINTS, BATCH)]
        return [step(x[index], t[index]).item() for index in batches]

    return _case(epoch)


def torch_by_hand():
    """Eager: addmm, autograd.grad and one update of all parameters."""
    import torch

    parameters = [torch.tensor(p).requires_grad_() for layer in start(SIZES) for p in layer]
    layers = list(zip(parameters[::2], parameters[1::2]))
    x, t, order = map(torch.tensor, data())

    def step(index):
        h = x[index]
        for w, b in layers:
            h = torch.tanh(torch.addmm(b, h, w))
        cost = torch.nn.functional.mse_loss(h, t[index]) * 0.5
        gradients = torch.autograd.grad(cost, parameters)
        with torch.no_grad():
            torch._foreach_sub_(parameters, gradients, alpha=RATE)
        return cost.item()

    return _case(lambda: [step(order[i : i + BATCH]) for i in range(0, POINTS, BATCH)])


def _jax():
    """(parameters, batches of indices, step), step not yet compiled."""
    import jax
    import jax.numpy as jnp

    parameters = [(jnp.float32(w), jnp.float32(b)) for w, b in start(SIZES)]
    x, t, order = data()
    x, t = jnp.float32(x), jnp.float32(t)

    def cost(parameters, x, t):
        h = x
        for w, b in parameters:
            h = jnp.tanh(h @ w + b)
        return jnp.mean((h - t) ** 2) * 0.5

    def step(parameters, index):
        value, gradients = jax.value_and_grad(cost)(parameters, x[index], t[index])
        return jax.tree.map(lambda p, g: p - RATE * g, parameters, gradients), value

    return parameters, jnp.asarray(order).reshape(-1, BATCH), step


def jax_scan():
    """lax.scan over the batches of an epoch."""
    import jax
    import numpy as np

    parameters, order, step = _jax()
    scan = jax.jit(lambda parameters, order: jax.lax.scan(step, parameters, order))

    def epoch():
        nonlocal parameters
        parameters, costs = scan(parameters, order)
        return np.asarray(costs)

    return _case(epoch)


def jax_step():
    """jit of one step."""
    import jax

    parameters, order, step = _jax()
    step = jax.jit(step)
    batches = list(order)

    def epoch():
        nonlocal parameters
        costs = []
        for index in batches:
            parameters, cost = step(parameters, index)
            costs.append(float(cost))
        return costs

    return _case(epoch)


def numpy():
    """By hand, without a graph."""
    import numpy as np

    layers = [(np.float32(w), np.float32(b)) for w, b in start(SIZES)]
    x, t, order = data()
    x, t, batches = np.float32(x), np.float32(t), np.reshape(order, (-1, BATCH))

    def step(index):
        hs = [x[index]]
        for w, b in layers:
            hs.append(np.tanh(hs[-1] @ w + b))
        error = hs[-1] - t[index]
        gh = error / BATCH
        for (w, b), h, y in zip(reversed(layers), hs[-2::-1], reversed(hs)):
            gz = gh * (1 - y * y)
            gh = gz @ w.T
            w -= np.float32(RATE) * (h.T @ gz)
            b -= np.float32(RATE) * gz.sum(axis=0)
        return np.mean(error * error) * 0.5

    return _case(lambda: [step(index) for index in batches])
