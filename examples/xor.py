"""Can a network learn XOR?  It depends on how deep it is, and on its activation.

XOR is 1 where exactly one of two inputs is 1.  No straight line parts the four points, so
a network needs a hidden layer.  One is enough.  With ten, sigmoid learns nothing: its
derivative is at most 1/4, so the gradient shrinks at every layer on its way back, and the
first layers never hear of the error.  ReLU, whose derivative is 1 or 0, can learn.

    python examples/xor.py                                  the deep network: sigmoid beside ReLU
    python examples/xor.py --network small --activation tanh
    python examples/xor.py --activation relu --seeds 20     how often does it learn?
    python examples/xor.py --activation relu --seeds 500 --jobs 2
    python examples/xor.py --eager                          the graph made anew at each step

It prints what each network says in the end, and writes cost and accuracy of every step to
xor_out/: as tables (CSV) and, if matplotlib is installed, as a picture.
"""

import argparse
import math
import sys
import time
from itertools import pairwise

from common import count, for_each, new_figure, parser, write_picture, write_table

import tinygrad_act as tga
from tinygrad_act import Tensor, nn, optim

try:
    from tqdm import tqdm  # a progress bar
except ImportError:
    tqdm = None

# All the data there are: four points, one in each row, and what XOR makes of them.
x = Tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
target = Tensor([[0], [1], [1], [0]])

# The widths, from the two inputs to the one output.
NETWORKS = {
    "small": [2, 2, 1],
    "wide": [2, 5, 4, 1],
    "deep": [2, 5] + 9 * [5] + [1],  # a layer for the input, nine hidden, one for the output
}

# A ReLU network this deep learns from some starts only: a unit that is closed at all four
# points gets no gradient any more.  From this start it learns; --seeds 20 tries others.
SEED = 40


# ---- the network, and how it learns ---------------------------------------------------------


def build(widths, activation):
    """Linear layers with the activation between them, and sigmoid last, for a probability."""

    def linear(inputs, outputs):  # weights evenly from [-1, 1), biases 0
        return nn.Linear(inputs, outputs, initialize=nn.init.uniform)

    pieces = 2 if activation in ("maxout", "glu") else 1  # they make one number of two
    *hidden, last = pairwise(widths)
    layers = []
    for inputs, outputs in hidden:
        layers += [linear(inputs, pieces * outputs), activation]
    return nn.Sequential(*layers, linear(*last), "sigmoid")


def train(net, steps, lr, eager=False, show=None):
    """Gradient descent on all four points at once; returns each step's cost and accuracy.

    `show` is told now and then how many steps are done.
    """
    optimizer = optim.SGD(net.parameters(), lr=lr)

    def step():
        probability = net(x)  # forward; the graph is recorded on the way
        cost = tga.bce(probability, target)  # mean of -(t * log(p) + (1 - t) * log(1 - p))

        optimizer.zero_grad()
        cost.backward()  # the chain rule, from the cost back to every weight
        optimizer.step()  # weight -= lr * gradient
        return cost, probability

    if not eager:  # the step is written down once, and then runs in C
        costs, probabilities = tga.capture(step).replay(steps, progress=show)
        return costs.tolist(), accuracy(probabilities)
    costs, shares = [], []
    for done in range(1, steps + 1):  # Python makes the graph of each step anew
        cost, probability = step()
        costs.append(cost.item())
        shares.append(accuracy(probability))
        if show:
            show(done, steps)
    return costs, shares


def accuracy(probability):
    """The share of the points for which the probability lies on the right side of 1/2.

    probability: (4, 1), or (steps, 4, 1) for a list of one share for each step.
    """
    right = (probability > 0.5) == (target > 0.5)
    return right.astype("float32").mean(axis=(-2, -1)).tolist()


# ---- what you see ---------------------------------------------------------------------------


def watch(steps, label):
    """The function that shows how many of the steps are done; and one to call at the end."""
    if tqdm and sys.stderr.isatty():
        bar = tqdm(desc=label, total=steps, unit=" steps", leave=False)
        return lambda done, _: bar.update(done - bar.n), bar.close
    shown = [0]

    def show(done, _):  # a line for each fifth of a long run
        if 5 * done >= steps * (shown[0] + 1) and done < steps:
            shown[0] = 5 * done // steps
            print(f"{label}: {done:,} of {steps:,} steps", flush=True)

    return show, lambda: None


def print_curve(costs, shares):
    """Six points of the way."""
    for step in range(0, len(costs), max(1, len(costs) // 5)):
        print(f"  step {step:<8} cost {costs[step]:.7f}   accuracy {shares[step]}")


def print_answers(hypothesis):
    """What the network says to each of the four points."""
    print("\n   x1  x2   target   hypothesis   prediction")
    for (x1, x2), (t,), (p,) in zip(x.tolist(), target.tolist(), hypothesis):
        print(f"    {x1:.0f}   {x2:.0f}     {t:.0f}      {p:.8f}        {p > 0.5:d}")


def draw(path, title, results):
    """One column for each activation: cost above, accuracy below, a line for each seed."""
    figure = new_figure(1 + 4 * len(results), 6)
    if figure is None:
        return
    figure.suptitle(title)
    axes = figure.subplots(2, len(results), sharex=True, sharey="row", squeeze=False)
    for (above, below), (activation, (outcome, curves)) in zip(axes.T, results.items()):
        for curve in curves.values():
            costs, shares = zip(*curve)
            width = 1.5 if len(curves) == 1 else 0.5
            above.plot(costs, linewidth=width)
            below.plot(shares, linewidth=width)
        above.set(title=f"{activation}: {outcome}", yscale="log")
        above.axhline(math.log(2), color="gray", linestyle=":", zorder=0)
        below.set(xlabel="step", ylim=(-0.05, 1.05), yticks=[0, 0.25, 0.5, 0.75, 1])
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(min(low, 0.1), max(high, 1))  # else a flat cost would fill the axis
    axes[0, 0].set_ylabel("cost (dotted: log 2, a mere guess)")
    axes[1, 0].set_ylabel("accuracy")
    write_picture(figure, path)


# ---- the command line -----------------------------------------------------------------------


def learn(widths, activation, seed, steps, lr, eager=False, shown=False):
    """Make and train one network; returns its curve, last answers, their cost, and the seconds."""
    tga.manual_seed(seed)  # each activation begins with the same weights
    net = build(widths, activation)
    show, close = watch(steps, f"  seed {seed}") if shown else (None, lambda: None)
    start = time.perf_counter()
    costs, shares = train(net, steps, lr, eager, show)
    seconds = time.perf_counter() - start
    close()
    with tga.no_grad():
        hypothesis = net(x)
        cost = tga.bce(hypothesis, target).item()
    return list(zip(costs, shares)), hypothesis.tolist(), cost, seconds


def main(arguments=None):
    options = read_options(arguments)
    widths = NETWORKS[options.network]
    title = f"XOR, {options.network} network {'-'.join(map(str, widths))}"
    print(f"{title}: {options.steps:,} steps, learning rate {options.lr:g}")
    seeds = range(options.seed, options.seed + options.seeds)

    results = {}
    for activation in options.activation:
        print(f"\n{activation}")
        rest = options.steps, options.lr, options.eager, options.jobs == 1
        cases = [(widths, activation, seed, *rest) for seed in seeds]
        curves, learnt = {}, 0
        for seed, result in zip(seeds, for_each(learn, cases, options.jobs)):
            curves[seed], hypothesis, cost, seconds = result
            share = accuracy(Tensor(hypothesis))
            learnt += share == 1
            if len(seeds) == 1:
                print_curve(*zip(*curves[seed]))
                print_answers(hypothesis)
            speed = f"{options.steps / seconds:,.0f} steps per second"
            print(f"  seed {seed:<8} cost {cost:.7f}   accuracy {share}   {speed}", flush=True)

        outcome = f"accuracy {share} after {options.steps:,} steps"
        if len(seeds) > 1:
            outcome = f"{learnt} of {options.seeds} seeds learn"
            print(f"  {outcome}")
        results[activation] = outcome, curves

    print()
    for activation, (_, curves) in results.items():
        points = [(seed, i, *point) for seed in curves for i, point in enumerate(curves[seed])]
        path = options.out / f"{options.network}_{activation}.csv"
        write_table(path, ["seed", "step", "cost", "accuracy"], points)
    draw(options.out / f"{options.network}.png", title, results)


def read_options(arguments):
    made = parser(__doc__, "xor_out")
    add = made.add_argument
    add("--network", choices=NETWORKS, default="deep", help="default: deep")
    add(
        "--activation",
        action="append",
        metavar="NAME",
        help="of the hidden layers; several by repeating it or with commas; default: sigmoid,relu",
    )
    add("--steps", type=count, default=10_001, metavar="N", help="default: 10001")
    add("--seed", type=int, default=SEED, metavar="N", help=f"default: {SEED}")
    add("--seeds", type=count, default=1, metavar="N", help="how many, from --seed on; default: 1")
    add("--lr", type=rate, default=0.1, metavar="X", help="learning rate; default: 0.1")
    add("--eager", action="store_true", help="make the graph of each step anew, in Python")
    add("--jobs", type=count, default=1, metavar="N", help="processes, by joblib; default: 1")
    options = made.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    names = ",".join(options.activation or ["sigmoid", "relu"]).split(",")
    options.activation = list(dict.fromkeys(name.strip() for name in names))
    try:
        for name in options.activation:
            nn.Activation(name)
    except ValueError as error:
        made.error(str(error))
    return options


def rate(text):
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


if __name__ == "__main__":
    main()
