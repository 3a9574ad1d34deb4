"""Neural networks: modules made of parameters and other modules."""

from . import init
from .layers import (
    ELU,
    GELU,
    SELU,
    Activation,
    GELUTanh,
    Identity,
    LeakyReLU,
    Linear,
    LogSoftmax,
    Maxout,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    VeryLeakyReLU,
)
from .module import Module, Parameter

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "GELUTanh",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Maxout",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "VeryLeakyReLU",
    "init",
]
