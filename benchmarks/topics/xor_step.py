"""One eager training step of the XOR nets, as a user would write it; the graph is new each time.

Forward, backward, update, 4 rows, learning rate 0.1, binary cross-entropy.  PyTorch
twice: with nn.Sequential, BCELoss and optim.SGD; and by hand, with as few calls as
it can be done with.
"""

from benchmarks.cases import Case, Group
from benchmarks.nets import LEARNING_RATE, T, X, each, start

GROUPS = [
    Group("against PyTorch as in its tutorials", against=["torch_nn"]),
    Group("against PyTorch by hand", against=["torch_by_hand"]),
    Group("deep net, against PyTorch by hand", lambda case: "deep" in case, ["torch_by_hand"]),
]


def _cases(make_step):
    for name, sizes, hidden in each():
        step = make_step(sizes, hidden)

        def value(step=step):
            """The cost of the first step and of one a little later."""
            costs = [float(step()) for _ in range(20)]
            return costs[0], costs[-1]

        yield Case(name, step, value=value)


def tinygrad_act():
    """nn.Sequential, bce and optim.SGD."""
    from tinygrad_act import Tensor, bce, nn, no_grad, optim

    def make_step(sizes, hidden):
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

    return _cases(make_step)


def torch_nn():
    """PyTorch as in its tutorials."""
    import torch

    def make_step(sizes, hidden):
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

    return _cases(make_step)


def torch_by_hand():
    """PyTorch with addmm, autograd.grad and one multi-tensor update."""
    import torch
    from torch.nn.functional import binary_cross_entropy

    def make_step(sizes, hidden):
        hidden = {"sigmoid": torch.sigmoid, "relu": torch.relu}[hidden]
        layers = [(torch.tensor(w), torch.tensor(b)) for w, b in start(sizes)]
        parameters = [p.requires_grad_() for layer in layers for p in layer]
        *first, (last_w, last_b) = layers
        x, t = torch.tensor(X), torch.tensor(T)

        def step():
            h = x
            for w, b in first:
                h = hidden(torch.addmm(b, h, w))
            p = torch.sigmoid(torch.addmm(last_b, h, last_w))
            cost = binary_cross_entropy(p, t)
            gradients = torch.autograd.grad(cost, parameters)
            with torch.no_grad():
                torch._foreach_sub_(parameters, gradients, alpha=LEARNING_RATE)
            return cost.detach()

        return step

    return _cases(make_step)
