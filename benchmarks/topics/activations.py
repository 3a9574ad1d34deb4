"""Activations on float32: forward alone, and forward with backward.

The backward pass begins with a gradient of ones that is made beforehand.
"""

SIZES = (16, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
NAMES = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh")


def _cases(functions, make, ones):
    for n in SIZES:
        x, leaf, seed = make(n, False), make(n, True), ones(n)
        for name in NAMES:
            function = functions[name]
            yield f"{name} {n} forward", lambda f=function, x=x: f(x)

            def both(f=function, leaf=leaf, seed=seed):
                leaf.grad = None
                f(leaf).backward(seed)

            yield f"{name} {n} forward + backward", both


def tinygrad_act():
    """Methods of Tensor."""
    import tinygrad_act as tga

    functions = {name: getattr(tga, name) for name in NAMES}
    return _cases(
        functions, lambda n, grad: tga.uniform(n, low=-3.0, high=3.0, requires_grad=grad), tga.ones
    )


def torch():
    """Functions of torch.nn.functional."""
    import torch
    from torch.nn import functional as F

    functions = {name: getattr(F, name) for name in NAMES if hasattr(F, name)}
    functions.update(
        sigmoid=torch.sigmoid, tanh=torch.tanh, gelu_tanh=lambda x: F.gelu(x, approximate="tanh")
    )
    return _cases(
        functions, lambda n, grad: (torch.rand(n) * 6 - 3).requires_grad_(grad), torch.ones
    )
