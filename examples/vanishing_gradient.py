"""Why do deep sigmoid networks not learn?  Their gradient vanishes on its way back.

    python examples/vanishing_gradient.py

1. The chain rule on paper: ten sigmoids in a row, the derivative of each, and their product.
2. The size of the gradient in each layer of the deep XOR network, over the steps of training:
   sigmoid, tanh, ReLU, SELU.
3. The opposite: weights of 100, and the gradient explodes; clipping by value and by norm.
4. Dead units of ReLU, and how sparse its activations are.

It prints what it finds, and writes the second part as a picture and a table.
"""

from itertools import pairwise

from common import count, new_figure, parser, write_picture, write_table

import tinygrad_act as tga
from tinygrad_act import Scalar, Tensor, data, nn, optim

ACTIVATIONS = {
    "sigmoid": nn.init.uniform,
    "tanh": nn.init.xavier,
    "relu": nn.init.he,
    "selu": nn.init.lecun,
}
WIDTHS = [2, 5] + 9 * [5] + [1]  # the deep network of xor.py


# ---- 1. the chain rule, edge by edge --------------------------------------------------------


def chain(depth=10, weight=1.0):
    """The gradient of sigmoid(w * sigmoid(w * ... x)), and the derivatives it is made of."""
    values = [Scalar(0.0)]
    for _ in range(depth):
        values.append(tga.sigmoid(weight * values[-1]))
    values[-1].backward()
    local = [weight * y.data * (1 - y.data) for y in values[1:]]
    return local, values[0].grad


def show_chain():
    print("1. ten sigmoids in a row: y' = y (1 - y), at most 1/4\n")
    local, whole = chain()
    product = 1.0
    print("   layer   its derivative   product of all from here to the end")
    for layer in range(len(local), 0, -1):
        product *= local[layer - 1]
        print(f"   {layer:5}   {local[layer - 1]:14.6f}   {product:.3e}")
    print(f"   the engine's gradient at the input:   {whole:.3e}\n")

    w = Tensor([0.2], requires_grad=True, dtype="float64")
    w.grad = Tensor([4.38e-8], dtype="float64")
    optim.SGD([w], lr=0.5).step()
    print(f"   a step with such a gradient, 4.38e-8, and rate 0.5: weight 0.2 -> {w.item():.9f}\n")


# ---- 2. the gradient of each layer, over the steps ------------------------------------------


def build(activation):
    layers = []
    for inputs, outputs in pairwise(WIDTHS[:-1]):
        layers += [nn.Linear(inputs, outputs, initialize=ACTIVATIONS[activation]), activation]
    last = nn.Linear(WIDTHS[-2], 1, initialize=ACTIVATIONS[activation])
    return nn.Sequential(*layers, last, "sigmoid")


def gradient_sizes(activation, steps, seed):
    """For each step, the norm of the gradient of each layer's weights; and the last cost."""
    tga.manual_seed(seed)
    net = build(activation)
    x, t = data.xor()
    weights = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    sgd = optim.SGD(net.parameters(), lr=0.1)
    sizes = []
    for _ in range(steps):
        sgd.zero_grad()
        cost = tga.bce(net(x), t)
        cost.backward()
        sizes.append([(w.grad * w.grad).sum().sqrt().item() for w in weights])
        sgd.step()
    return sizes, cost.item(), net


def show_sizes(steps, seed, out):
    print(f"2. the deep XOR network: size of the gradient of each layer, over {steps} steps")
    print()
    print("   activation   step   first layer   middle layer   last layer   last / first")
    found, table = {}, []
    for activation in ACTIVATIONS:
        sizes, cost, _ = gradient_sizes(activation, steps, seed)
        found[activation] = sizes, cost
        for step in (0, steps - 1):
            size = sizes[step]
            first, middle, last = size[0], size[len(size) // 2], size[-1]
            ratio = f"{last / first:.1e}" if first else "first is 0"
            print(
                f"   {activation:10} {step:6}   {first:11.1e}   {middle:12.1e}   {last:10.1e}   "
                f"{ratio:>12}"
            )
        table += [(activation, step, *row) for step, row in enumerate(sizes)]
    head = ["activation", "step", *[f"layer {i + 1}" for i in range(len(WIDTHS) - 1)]]
    write_table(out / "gradients.csv", head, table)
    draw(found, out / "gradients.png")
    print("   In the picture: sigmoid's lines begin far apart, the first layer lowest, and sink to")
    print("   1e-7, the rounding of float32; those of the others lie close together.\n")


def draw(found, path):
    figure = new_figure(14, 4.2)
    if figure is None:
        return
    figure.suptitle("size of the gradient of each layer of the deep XOR network, step by step")
    panels = figure.subplots(1, len(found), sharey=True)
    for panel, (activation, (sizes, cost)) in zip(panels, found.items()):
        layers = list(zip(*sizes))
        for i, line in enumerate(layers):
            share = i / (len(layers) - 1)
            ends = {0: "first layer", len(layers) - 1: "last layer"}
            panel.plot(line, color=(1 - share, 0.3, share), linewidth=1, label=ends.get(i))
        panel.set_yscale("log")
        panel.set_ylim(1e-9, 10)
        panel.set_title(f"{activation}: cost {cost:.3f} in the end")
        panel.set_xlabel("step")
    panels[0].set_ylabel("norm of the gradient")
    panels[0].legend()
    write_picture(figure, path)


# ---- 3. exploding gradients, and clipping ---------------------------------------------------


def one_unit_per_layer(depth, weight):
    """x -> sigmoid(w x + b) -> ...; each bias puts its unit where sigmoid is steepest."""
    layers, y = [], 1.0
    for _ in range(depth):
        layer = nn.Linear(1, 1, initialize=lambda w: nn.init.constant(w, weight))
        nn.init.constant(layer.bias, -weight * y)  # so that w y + b is 0
        y = 0.5
        layers += [layer, "sigmoid"]
    return nn.Sequential(*layers)


def bias_gradients(net, clip):
    net.zero_grad()
    net(Tensor([[1.0]])).sum().backward()
    clip(net.parameters())
    return [layer.bias.grad.item() for layer in net if isinstance(layer, nn.Linear)]


def show_explosion():
    print("3. one unit in each of five layers: gradient of each bias, from the first to the last\n")
    ways = {
        "as it is": lambda parameters: None,
        "by value 0.5": lambda parameters: optim.clip_grad_value_(parameters, 0.5),
        "by norm 0.5": lambda parameters: optim.clip_grad_norm_(parameters, 0.5),
    }
    for weight in (100.0, 1.0):
        net = one_unit_per_layer(5, weight)
        for label, clip in ways.items():
            gradients = bias_gradients(net, clip)
            numbers = "  ".join(f"{g:10.3g}" for g in gradients)
            print(f"   weights {weight:5.0f}   {label:12}  {numbers}")
    print("   With weights of 100 each layer multiplies by 25.  Clipping by value changes the")
    print("   gradient's direction, clipping by norm only its length.  Where it vanishes, with")
    print("   weights of 1, neither helps: there is nothing to clip.\n")


# ---- 4. dead units, and sparsity ------------------------------------------------------------


def show_dead_units(seed):
    print("4. a ReLU network of five layers of 20 units on 500 points of the circle\n")
    x, t = data.circle()
    for label, bias in (("biases 0", 0.0), ("biases -2", -2.0)):
        tga.manual_seed(seed)
        widths = [2, 20, 20, 20, 20, 20]
        linear = [nn.Linear(a, b, initialize=nn.init.he) for a, b in pairwise(widths)]
        for layer in linear:
            nn.init.constant(layer.bias, bias)
        layers = [part for layer in linear for part in (layer, "relu")]
        net = nn.Sequential(*layers, nn.Linear(20, 1), "sigmoid")
        zeros = {}

        def note(path, module, y, zeros=zeros):
            if isinstance(module, nn.Activation) and module.name == "relu":
                zeros[path] = y.detach() == 0

        with nn.observing(net, note):
            cost = tga.bce(net(x), t)
        cost.backward()
        print(f"   {label}")
        print("   layer   activations that are 0   dead units   their gradient")
        for i, (zero, layer) in enumerate(zip(zeros.values(), linear)):
            share = zero.astype("float32").mean().item()
            dead = zero.astype("float32").mean(axis=0).numpy() == 1
            norms = abs(layer.weight.grad.numpy()).sum(axis=1)
            largest = f"{norms[dead].max():14.1e}" if dead.any() else ""
            print(f"   {i + 1:5}   {share:21.0%}   {dead.sum():4} of {len(dead)}   {largest}")
    print("   A unit that is 0 at every point gets the gradient 0: nothing can revive it.")


def main(arguments=None):
    made = parser(__doc__, "vanishing_out")
    made.add_argument("--steps", type=count, default=2000, metavar="N", help="default: 2000")
    made.add_argument("--seed", type=int, default=40, metavar="N", help="default: 40")
    made.add_argument("--full", action="store_true", help="20,000 steps")
    options = made.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    show_chain()
    show_sizes(20_000 if options.full else options.steps, options.seed, options.out)
    show_explosion()
    show_dead_units(options.seed)


if __name__ == "__main__":
    main()
