"""What an op costs besides its arithmetic: a chain of 1000 recorded ops on 5x5 tensors.

Forward and backward; the figure is per 1000 ops.
"""

LENGTH = 1000
SIZE = 5


def _cases(make_ops):
    for name, op, x in make_ops():

        def chain(op=op, x=x):
            y = x
            for _ in range(LENGTH):
                y = op(y)
            y.sum().backward()

        yield f"{name}, forward + backward", chain


def tinygrad_act():
    """Operators and methods of Tensor."""
    from tinygrad_act import Tensor

    def ops():
        x = Tensor([[0.01] * SIZE] * SIZE, requires_grad=True)
        w = Tensor([[0.2] * SIZE] * SIZE, requires_grad=True)
        yield "add", lambda y: y + w, x
        yield "matmul", lambda y: y @ w, x
        yield "tanh", lambda y: y.tanh(), x

    return _cases(ops)


def torch():
    """The same in PyTorch."""
    import torch

    def ops():
        x = torch.full((SIZE, SIZE), 0.01, requires_grad=True)
        w = torch.full((SIZE, SIZE), 0.2, requires_grad=True)
        yield "add", lambda y: y + w, x
        yield "matmul", lambda y: y @ w, x
        yield "tanh", lambda y: y.tanh(), x

    return _cases(ops)
