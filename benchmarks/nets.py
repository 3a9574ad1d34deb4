"""The XOR nets that several topics train, from the same weights for every peer."""

import random
import struct

NETS = {
    "small 2-2-1": [2, 2, 1],
    "wide 2-5-4-1": [2, 5, 4, 1],
    "deep 2-5-(5x9)-1": [2] + [5] * 10 + [1],
}
HIDDEN = ("sigmoid", "relu")
LEARNING_RATE = 0.1
SEED = 6  # from it the deep ReLU net learns; from most it dies at once, and computes with zeros
X = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
T = [[0.0], [1.0], [1.0], [0.0]]


def start(sizes, seed=SEED):
    """Weights, as lists of rows from input to output, and biases: (w, b) of each layer.

    They are evenly from [-1, 1) and biases 0, rounded to float32.
    """
    rng = random.Random(seed)

    def number():
        return struct.unpack("f", struct.pack("f", rng.uniform(-1, 1)))[0]

    return [
        ([[number() for _ in range(outputs)] for _ in range(inputs)], [0.0] * outputs)
        for inputs, outputs in zip(sizes, sizes[1:])
    ]


def each():
    """(name of the case, sizes, hidden activation) of every net."""
    for net, sizes in NETS.items():
        for hidden in HIDDEN:
            yield f"{net} {hidden}", sizes, hidden
