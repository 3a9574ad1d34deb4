"""A convolutional network on handwritten digits, once for each of several activations.

    python examples/mnist_cnn.py
    python examples/mnist_cnn.py --activations relu,tanh,maxout --epochs 5
    python examples/mnist_cnn.py --full --data FOLDER      all of MNIST, 100 epochs

Two convolutions of 3x3 with 32 and 64 channels, the largest of each 2x2, a layer of 128 units,
dropout, and ten outputs; Adam, with every element of the gradient clipped to ±0.5; a fifth of the
images held out.  SELU has the weights and the dropout that it was made for.

By default it trains on 2,000 images of an excerpt of MNIST that lies beside this file.  It prints
a line for each epoch and a table at the end, and writes the histories as a table and as a picture.
"""

from functools import partial

from common import HERE, count, for_each, names, new_figure, parser, write_picture, write_table

import tinygrad_act as tga
from tinygrad_act import data, nn, optim, train


def maxout_channels(x):
    """The larger of two channels: (n, 2 c, h, w) to (n, c, h, w)."""
    n, channels, *image = x.shape
    return x.reshape(n, channels // 2, 2, *image).max(axis=2)


# Each name with its activation behind a convolution, and behind a linear layer.
ACTIVATIONS = {
    "sigmoid": ("sigmoid", "sigmoid"),
    "relu": ("relu", "relu"),
    "elu": ("elu", "elu"),
    "leaky_relu": (nn.LeakyReLU(0.2), nn.LeakyReLU(0.2)),
    "selu": ("selu", "selu"),
    "gelu": ("gelu", "gelu"),
    "tanh": ("tanh", "tanh"),
    "very_leaky_relu": ("very_leaky_relu", "very_leaky_relu"),
    "maxout": (maxout_channels, "maxout"),
}
PUBLISHED = ["sigmoid", "relu", "elu", "leaky_relu", "selu", "gelu"]


def build(activation):
    """From (n, 1, 28, 28) to (n, 10), of which softmax would make probabilities."""
    after_conv, after_linear = ACTIVATIONS[activation]
    pieces = 2 if activation == "maxout" else 1
    begin = nn.init.lecun if activation == "selu" else nn.init.xavier
    dropout = nn.AlphaDropout if activation == "selu" else nn.Dropout
    conv = partial(nn.Conv2d, initialize=begin)
    linear = partial(nn.Linear, initialize=begin)
    return nn.Sequential(
        conv(1, 32 * pieces, 3),
        after_conv,
        conv(32, 64 * pieces, 3),
        after_conv,
        nn.MaxPool2d(2),
        dropout(0.25),
        nn.Flatten(),
        linear(64 * 12 * 12, 128 * pieces),
        after_linear,
        dropout(0.5),
        linear(128, 10),
    )


def history_of(activation, folder, subset, epochs, batch_size, seed):
    """Train one network, in one call."""
    images, labels = data.mnist(folder)
    images, labels = images[:subset].reshape(-1, 1, 28, 28), labels[:subset]
    tga.manual_seed(seed)
    net = build(activation)
    print(f"\n{activation}: {len(images)} images, a fifth of them held out", flush=True)
    return train.fit(
        net,
        (images, labels),
        tga.cross_entropy,  # of softmax, and with the classes by their numbers
        optim.Adam(net.parameters()),
        epochs,
        batch_size,
        validation_split=0.2,
        clip=("value", 0.5),
        seed=seed,
    )


def show(histories):
    print(f"\n   {'activation':16} val_accuracy: last      best   val_loss: last")
    ordered = sorted(histories, key=lambda name: -max(histories[name]["val_accuracy"]))
    for name in ordered:
        accuracy, loss = histories[name]["val_accuracy"], histories[name]["val_loss"]
        print(f"   {name:16} {accuracy[-1]:18.2%} {max(accuracy):9.2%} {loss[-1]:16.4f}")
    if len(ordered) > 1:
        print(f"   In the picture {ordered[0]} gets highest on the left, {ordered[-1]} least.")


def draw(histories, path):
    figure = new_figure(11, 4.5)
    if figure is None:
        return
    panels = figure.subplots(1, 2)
    for panel, key in zip(panels, ("val_accuracy", "val_loss")):
        for name, history in histories.items():
            epochs = range(1, history.epochs + 1)
            panel.plot(epochs, history[key], marker=".", label=name)
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_title(key.replace("val_", "validation "))
    panels[0].legend()
    panels[1].set_yscale("log")
    write_picture(figure, path)


def main(arguments=None):
    made = parser(__doc__, "mnist_out")
    add = made.add_argument
    add("--activations", type=names(ACTIVATIONS), default=PUBLISHED, metavar="A,B,...")
    add("--data", default=HERE / "mnist", metavar="DIR", help="MNIST's files; default: an excerpt")
    add("--subset", type=count, metavar="N", help="images; default: 2000, or all with --full")
    add("--epochs", type=count, metavar="N", help="default: 3, or 100 with --full")
    add("--batch-size", type=count, default=128, metavar="N", help="default: 128")
    add("--seed", type=int, default=0, metavar="N", help="default: 0")
    add("--jobs", type=count, default=1, metavar="N", help="processes, by joblib; default: 1")
    add("--full", action="store_true", help="the real thing, in hours")
    options = made.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    subset = options.subset or (None if options.full else 2000)
    epochs = options.epochs or (100 if options.full else 3)

    fixed = options.data, subset, epochs, options.batch_size, options.seed
    cases = [(activation, *fixed) for activation in options.activations]
    histories = dict(zip(options.activations, for_each(history_of, cases, options.jobs)))
    show(histories)
    rows = [(name, *row.values()) for name, history in histories.items() for row in history.rows()]
    head = ["activation", "epoch", *next(iter(histories.values()))]
    write_table(options.out / "histories.csv", head, rows)
    draw(histories, options.out / "histories.png")


if __name__ == "__main__":
    main()
