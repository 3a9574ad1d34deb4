"""What users of PyTorch and NumPy look for under another name.

The errors say how it is called here.  No second name is made for anything.
"""

TENSOR = {
    "view": "reshape(...)",
    "dim": "ndim",
    "numel": "size",
    "nelement": "size",
    "t": "T",
    "mT": "transpose()",
    "to": "astype(dtype)",
    "type": "astype(dtype)",
    "double": "astype('float64')",
    "float": "astype('float32')",
    "long": "astype('int64')",
    "int": "astype('int64')",
    "bool": "x != 0",
    "cpu": "x itself: all tensors are on the processor",
    "cuda": "x itself: all tensors are on the processor",
    "device": "x itself: all tensors are on the processor",
    "data": "detach()",
    "copy": "clone()",
    "contiguous": "x itself: every layout is taken",
    "requires_grad_": "x.requires_grad = True",
    "zero_": "fill_(0)",
    "add_": "x += y",
    "sub_": "x -= y",
    "mul_": "x *= y",
    "div_": "x /= y",
    "clip": "clamp(min, max)",
    "pow_": "x.copy_(x ** y)",
}

PACKAGE = {
    "cat": "concat",
    "concatenate": "concat",
    "vstack": "concat",
    "hstack": "concat(..., axis=1)",
    "asarray": "Tensor",
    "as_tensor": "Tensor",
    "clip": "clamp",
    "power": "pow",
    "absolute": "abs",
    "negative": "neg",
    "divide": "div",
    "multiply": "mul",
    "subtract": "sub",
    "mse_loss": "mse",
    "l1_loss": "l1",
    "nll_loss": "nll",
    "huber_loss": "huber",
    "smooth_l1_loss": "smooth_l1",
    "binary_cross_entropy": "bce",
    "binary_cross_entropy_with_logits": "bce_with_logits",
    "randperm": "data.permutation",
    "linspace": "from_numpy(numpy.linspace(...))",
    "empty": "zeros",
    "save": "checkpoint.save",
    "load": "checkpoint.load",
    "set_grad_enabled": "no_grad",
    "inference_mode": "no_grad",
}

NN = {
    "MSELoss": "tinygrad_act.mse",
    "L1Loss": "tinygrad_act.l1",
    "HuberLoss": "tinygrad_act.huber",
    "SmoothL1Loss": "tinygrad_act.smooth_l1",
    "CrossEntropyLoss": "tinygrad_act.cross_entropy",
    "NLLLoss": "tinygrad_act.nll",
    "BCELoss": "tinygrad_act.bce",
    "BCEWithLogitsLoss": "tinygrad_act.bce_with_logits",
    "KLDivLoss": "tinygrad_act.kl_div",
    "functional": "tinygrad_act.conv2d and so on",
    "utils": "tinygrad_act.optim.clip_grad_norm_ and so on",
}


def no_attribute(owner, name, known):
    """The error for a name that is not there."""
    hint = f"; here it is {known[name]}" if name in known else ""
    return AttributeError(f"{owner} has no attribute {name!r}{hint}")
