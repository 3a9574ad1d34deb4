"""Which initial weights go with which activation?  A table, on a thin deep network and MNIST.

    python examples/init_table.py
    python examples/init_table.py --full --data FOLDER     all of MNIST, more epochs, three seeds

Published, for a thin convolutional network of 17 layers on CIFAR-10 (Mishkin and Matas, "All you
need is a good init", 2016): sigmoid does not converge from any start, very leaky ReLU is at least
as good as ReLU, and LSUV and orthonormal weights are safe.  Here each cell of the table is a
network of 17 linear layers of 64 units, trained in the same way; n/c, did not converge, stands for
less than 20 % of the test images.
"""

import math
from statistics import mean

from common import HERE, count, for_each, names, parser, write_table

import tinygrad_act as tga
from tinygrad_act import data, nn, optim
from tinygrad_act.nn import init
from tinygrad_act.train import accuracy

LAYERS, UNITS = 17, 64
ACTIVATIONS = ["maxout", "relu", "very_leaky_relu", "tanh", "sigmoid"]
# The gain of He's and of scaled orthonormal weights, for the activation that follows.
GAIN = {"very_leaky_relu": math.sqrt(2 / (1 + 1 / 9))}
CONVERGED = 0.2


def he(weight, activation):
    init.he(weight, GAIN.get(activation))


def scaled_orthogonal(weight, activation):
    init.orthogonal(weight, GAIN.get(activation, math.sqrt(2)))


INITS = {
    "LSUV": lambda weight, activation: None,  # needs data: see `begin`
    "orthonormal": lambda weight, activation: init.orthogonal(weight),
    "orthonormal, MSRA-scaled": scaled_orthogonal,
    "Xavier": lambda weight, activation: init.xavier(weight),
    "MSRA (He)": he,
}


def build(activation):
    if activation == "maxout":  # which is part of the layer
        hidden = [nn.MaxoutLinear(784 if i == 0 else UNITS, UNITS) for i in range(LAYERS - 1)]
    else:
        hidden = []
        for i in range(LAYERS - 1):
            hidden += [nn.Linear(784 if i == 0 else UNITS, UNITS), activation]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(UNITS, 10))


def begin(net, way, activation, images):
    for _, layer in net.modules():
        if isinstance(layer, nn.Linear):
            INITS[way](layer.weight, activation)
    if way == "LSUV":
        init.lsuv(net, images)


def scaled(images):
    """Bytes as floats, less about the mean of all pixels, over their standard deviation."""
    return (images.astype("float32") - 33.0) * (1 / 78.5)


def cell(way, activation, seed, folder, epochs, lr):
    """The share of the test images that a network of this kind gets right."""
    images, labels = data.mnist(folder)
    test_images, test_labels = data.mnist(folder, "test")
    tga.manual_seed(seed)
    net = build(activation)
    begin(net, way, activation, scaled(images[:256]))
    sgd = optim.SGD(net.parameters(), lr=lr, momentum=0.9)

    @tga.capture  # written down once, and then run in C
    def step(x, t):
        sgd.zero_grad()
        tga.cross_entropy(net(scaled(x)), t).backward()
        sgd.step()

    for epoch in range(epochs):
        step.epoch((images, labels), 100, data.permutation(len(images), seed, epoch))
    with tga.no_grad():
        return accuracy(net(scaled(test_images)), test_labels).item()


def show(table, ways, activations):
    print(f"   {'':26}" + "".join(f"{name:>17}" for name in activations))
    for way in ways:
        cells = [table[way, name] for name in activations]
        shown = [f"{100 * share:.1f}" if share >= CONVERGED else "n/c" for share in cells]
        print(f"   {way:26}" + "".join(f"{text:>17}" for text in shown))


def tell(table, ways):
    """Whether what is published holds here, too."""

    def converged(activation):
        return sum(table[way, activation] >= CONVERGED for way in ways)

    known = {activation for _, activation in table}
    if "sigmoid" in known:
        print(f"   sigmoid converges from {converged('sigmoid')} of {len(ways)}; published: none")
    if {"relu", "very_leaky_relu"} <= known:
        ahead = sum(table[way, "very_leaky_relu"] >= table[way, "relu"] for way in ways)
        print(f"   very leaky ReLU is at least as good as ReLU from {ahead} of {len(ways)}")
    for way in ("LSUV", "orthonormal"):
        if way in ways:
            safe = all(table[way, name] >= CONVERGED for name in known - {"sigmoid"})
            print(f"   {way}: {'safe' if safe else 'not safe'} with all others; published: safe")


def main(arguments=None):
    made = parser(__doc__, "init_out")
    add = made.add_argument
    add("--data", default=HERE / "mnist", metavar="DIR", help="MNIST's files; default: an excerpt")
    add("--activations", type=names(ACTIVATIONS), default=ACTIVATIONS, metavar="A,B,...")
    add("--epochs", type=count, metavar="N", help="default: 5, or 15 with --full")
    add("--seeds", type=count, metavar="N", help="default: 1, or 3 with --full")
    add("--lr", type=float, default=0.01, metavar="X", help="default: 0.01")
    add("--jobs", type=count, default=1, metavar="N", help="processes, by joblib; default: 1")
    add("--full", action="store_true", help="the real thing, in many minutes")
    options = made.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    epochs = options.epochs or (15 if options.full else 5)
    seeds = range(options.seeds or (3 if options.full else 1))

    pairs = [(way, activation) for way in INITS for activation in options.activations]
    cases = [(*pair, seed, options.data, epochs, options.lr) for pair in pairs for seed in seeds]
    shares = for_each(cell, cases, options.jobs)
    rows = [(*case[:3], share) for case, share in zip(cases, shares)]
    table = {
        pair: mean(share for way, name, _, share in rows if (way, name) == pair) for pair in pairs
    }
    print(f"test accuracy in % after {epochs} epochs, {LAYERS} layers of {UNITS} units\n")
    show(table, INITS, options.activations)
    print()
    tell(table, INITS)
    write_table(options.out / "table.csv", ["init", "activation", "seed", "accuracy"], rows)


if __name__ == "__main__":
    main()
