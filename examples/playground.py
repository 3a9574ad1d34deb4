"""How much sooner do ReLU and tanh learn than sigmoid?  Measured, from many starts.

    python examples/playground.py
    python examples/playground.py --data spiral --activations relu,tanh --seeds 50 --jobs 2

The network of a well-known playground in the browser: two inputs, two hidden layers of three
units, tanh at the output; points of two classes, a disc in a ring, half of them held out;
batches of 10, rate 0.03.  It is said that ReLU needs a tenth of sigmoid's epochs, and half of
tanh's.  Here the same networks start from many seeds, and the epochs are counted until the
error on the points held out is small.

It prints a table, and writes pictures of where each network draws the line.
"""

from statistics import median

from common import count, for_each, names, new_figure, parser, write_picture, write_table

import tinygrad_act as tga
from tinygrad_act import Tensor, data, nn, optim
from tinygrad_act.op import ACTIVATIONS

DATA = {"circle": data.circle, "xor": data.xor, "gauss": data.gauss, "spiral": data.spiral}
HIDDEN = 3
LEVELS = [i / 10 for i in range(-10, 11)]  # of the output, which tanh keeps within ±1
GOOD = 0.1  # of the mean of (y - t)² / 2, with t = ±1; a constant guess has 0.5


def build(activation):
    """Weights begin evenly in ±1/2 and biases at 0.1, as in the playground."""
    pieces = 2 if activation == "maxout" else 1
    layers, inputs = [], 2
    for _ in range(2):
        layers += [nn.Linear(inputs, HIDDEN * pieces), activation]
        inputs = HIDDEN
    net = nn.Sequential(*layers, nn.Linear(inputs, 1), "tanh")
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.uniform(layer.weight, -0.5, 0.5)
            nn.init.constant(layer.bias, 0.1)
    return net


def error(y, t):
    return 0.5 * tga.mse(y, t)


def epochs_until_good(activation, seed, problem, most):
    """After how many epochs the error is small; `most` if it never was.  And the network."""
    x, t = DATA[problem](seed=seed)
    (x, t), (x_held_out, t_held_out) = data.split((x, 2 * t - 1), 0.5, seed)
    tga.manual_seed(seed)
    net = build(activation)
    sgd = optim.SGD(net.parameters(), lr=0.03)

    @tga.capture  # written down once, and then run in C
    def step(inputs, targets):
        sgd.zero_grad()
        error(net(inputs), targets).backward()
        sgd.step()

    for epoch in range(most):
        step.epoch((x, t), 10, data.permutation(len(x), seed, epoch))
        with tga.no_grad():
            if error(net(x_held_out), t_held_out).item() < GOOD:
                return epoch + 1, net
    return most, net


def measure(activation, seed, problem, most):
    return epochs_until_good(activation, seed, problem, most)[0]


def show(results, most):
    print("   activation    learnt   epochs: fewest   median     most")
    for activation, epochs in results.items():
        learnt = [n for n in epochs if n < most]
        row = f"   {activation:12} {len(learnt):3} of {len(epochs):3}"
        if learnt:
            row += f"   {min(learnt):14}   {median(learnt):6.0f}   {max(learnt):6}"
        print(row)
    for one, other, said in (("relu", "sigmoid", 0.1), ("relu", "tanh", 0.5)):
        if one in results and other in results:
            middles = [median(results[name]) for name in (one, other)]
            ratio = middles[0] / middles[1]
            print(f"   {one} / {other}: {ratio:.2f} of the epochs; said to be about {said}")
    print("   (a start that never learnt counts with all epochs it was given in these ratios)")


def draw(nets, problem, seed, path, n=101):
    """Where the output of each network is above 0, and where below."""
    figure = new_figure(1 + 3.4 * len(nets), 3.8)
    if figure is None:
        return
    line = [-6 + 12 * i / (n - 1) for i in range(n)]
    points = Tensor([[a, b] for b in line for a in line])
    x, t = DATA[problem](seed=seed)
    (x1, x2), classes = x.numpy().T, t.numpy().ravel()
    for panel, (title, net) in zip(figure.subplots(1, len(nets), squeeze=False)[0], nets.items()):
        with tga.no_grad():
            output = net(points).reshape(n, n).numpy()
        shown = panel.contourf(line, line, output, levels=LEVELS, cmap="RdBu")
        panel.contour(line, line, output, levels=[0], colors="black", linewidths=0.8)
        for one, colour in ((1, "tab:blue"), (0, "tab:red")):
            chosen = classes == one
            panel.plot(x1[chosen], x2[chosen], ".", color=colour, markersize=3)
        panel.set_title(title, fontsize=10)
        panel.set_aspect("equal")
    figure.colorbar(shown, ax=figure.axes, ticks=[-1, 0, 1], shrink=0.8)
    write_picture(figure, path)


def main(arguments=None):
    made = parser(__doc__, "playground_out")
    add = made.add_argument
    few = ["sigmoid", "tanh", "relu"]
    add("--activations", type=names(ACTIVATIONS), default=few, metavar="A,B,...")
    add("--data", choices=DATA, default="circle", help="default: circle")
    add("--seeds", type=count, metavar="N", help="default: 20, or 100 with --full")
    add("--epochs", type=count, metavar="N", help="at most; default: 4000")
    add("--jobs", type=count, default=1, metavar="N", help="processes, by joblib; default: 1")
    add("--full", action="store_true", help="more starts")
    options = made.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    seeds = options.seeds or (100 if options.full else 20)
    most = options.epochs or 4000

    print(f"{options.data}: epochs until the error on held out points is below {GOOD}")
    cases = [(a, seed, options.data, most) for a in options.activations for seed in range(seeds)]
    epochs = for_each(measure, cases, options.jobs)
    rows = [(activation, seed, n) for (activation, seed, *_), n in zip(cases, epochs)]
    results = {a: [n for name, _, n in rows if name == a] for a in options.activations}
    show(results, most)
    write_table(options.out / "epochs.csv", ["activation", "seed", "epochs"], rows)

    nets = {}
    for activation, numbers in results.items():  # the start that is in the middle
        seed = sorted(range(seeds), key=numbers.__getitem__)[seeds // 2]
        n, net = epochs_until_good(activation, seed, options.data, most)
        nets[f"{activation}: {n} epochs"] = net
    draw(nets, options.data, 0, options.out / "boundaries.png")


if __name__ == "__main__":
    main()
