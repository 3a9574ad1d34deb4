"""One eager training step of the XOR nets, as a user would write it.

Forward, backward, update, 4 rows, learning rate 0.1, binary cross-entropy.  PyTorch
twice: with nn.Sequential, BCELoss and optim.SGD; and by hand, with as few calls as
it can be done with.
"""

NETS = {
    "small 2-2-1": [2, 2, 1],
    "wide 2-5-4-1": [2, 5, 4, 1],
    "deep 2-5-(5x9)-1": [2] + [5] * 10 + [1],
}
HIDDEN = ("sigmoid", "relu")
X = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
T = [[0.0], [1.0], [1.0], [0.0]]


def _cases(make_step):
    for net, sizes in NETS.items():
        for hidden in HIDDEN:
            yield f"{net} {hidden}", make_step(sizes, hidden)


def tinygrad_act():
    """nn.Sequential, bce and optim.SGD."""
    from tinygrad_act import Tensor, bce, nn, optim

    def make_step(sizes, hidden):
        layers = []
        for inputs, outputs in zip(sizes, sizes[1:]):
            layers += [nn.Linear(inputs, outputs, initialize=nn.init.uniform), hidden]
        net = nn.Sequential(*layers[:-1], "sigmoid")
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        x, t = Tensor(X), Tensor(T)

        def step():
            cost = bce(net(x), t)
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()

        return step

    return _cases(make_step)


def torch_nn():
    """PyTorch as in its tutorials."""
    import torch

    def make_step(sizes, hidden):
        activation = {"sigmoid": torch.nn.Sigmoid, "relu": torch.nn.ReLU}[hidden]
        layers = []
        for inputs, outputs in zip(sizes, sizes[1:]):
            layers += [torch.nn.Linear(inputs, outputs), activation()]
        net = torch.nn.Sequential(*layers[:-1], torch.nn.Sigmoid())
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        loss = torch.nn.BCELoss()
        x, t = torch.tensor(X), torch.tensor(T)

        def step():
            cost = loss(net(x), t)
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()

        return step

    return _cases(make_step)


def torch_by_hand():
    """PyTorch with addmm, autograd.grad and one multi-tensor update."""
    import torch
    from torch.nn.functional import binary_cross_entropy

    def make_step(sizes, hidden):
        hidden = {"sigmoid": torch.sigmoid, "relu": torch.relu}[hidden]
        weights = [torch.rand(i, o, requires_grad=True) for i, o in zip(sizes, sizes[1:])]
        biases = [torch.zeros(o, requires_grad=True) for o in sizes[1:]]
        parameters = weights + biases
        x, t = torch.tensor(X), torch.tensor(T)

        def step():
            h = x
            for w, b in zip(weights[:-1], biases[:-1]):
                h = hidden(torch.addmm(b, h, w))
            p = torch.sigmoid(torch.addmm(biases[-1], h, weights[-1]))
            gradients = torch.autograd.grad(binary_cross_entropy(p, t), parameters)
            with torch.no_grad():
                torch._foreach_sub_(parameters, gradients, alpha=0.1)

        return step

    return _cases(make_step)
