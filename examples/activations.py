"""Every activation and its derivative, in one picture.

    python examples/activations.py

The derivatives are not typed in: they come out of the engine, from ``y.sum().backward()``.
"""

from common import new_figure, parser, write_picture, write_table

import tinygrad_act as tga
from tinygrad_act import Tensor
from tinygrad_act.op import ACTIVATIONS


def beside(x, other):
    """Rows of two numbers: x and the other."""
    return tga.stack([x, other], axis=-1)


# Not of one number: these are shown along a line through their inputs.
LINES = {
    "maxout": ("maxout(x, -x/2)", lambda x: beside(x, -x / 2).maxout().reshape(-1)),
    "glu": ("glu(x, x)", lambda x: tga.glu(beside(x, x)).reshape(-1)),
    "softmax": ("softmax(x, 0)[0]", lambda x: tga.softmax(beside(x, 0 * x))[:, 0]),
    "softmin": ("softmin(x, 0)[0]", lambda x: tga.softmin(beside(x, 0 * x))[:, 0]),
    "log_softmax": ("log_softmax(x, 0)[0]", lambda x: tga.log_softmax(beside(x, 0 * x))[:, 0]),
}


def curves(n=401):
    """Of each activation: its label, and x, y and dy/dx at n points of [-5, 5]."""
    found = {}
    for name, function in ACTIVATIONS.items():
        label, function = LINES.get(name, (name, function))
        x = Tensor([-5 + 10 * i / (n - 1) for i in range(n)], requires_grad=True, dtype="float64")
        y = function(x)
        y.sum().backward()
        found[label] = x.tolist(), y.tolist(), x.grad.tolist()
    return found


def describe(label, x, y, slope):
    """What the reader should see."""
    flattest, steepest = min(slope), max(slope)
    words = [f"derivative {flattest:6.3f} to {steepest:6.3f}"]
    left, right = slope[0], slope[-1]
    if abs(left) < 0.01 and abs(right) < 0.01:
        words.append("flat at both ends: it saturates")
    elif left == 0:
        words.append("exactly flat on the left: a unit there is dead")
    elif abs(left) < 0.05:
        words.append("nearly flat on the left")
    if flattest < 0 < steepest:
        words.append("not monotonic")
    print(f"{label:22} {'; '.join(words)}")


def draw(found, path):
    rows = -(-len(found) // 5)
    figure = new_figure(15, 2.4 * rows + 0.4)
    if figure is None:
        return
    figure.suptitle("activations (blue) and their derivatives (orange)")
    panels = figure.subplots(rows, 5, squeeze=False).flat
    for panel in panels:
        panel.set_visible(False)
    for panel, (label, (x, y, slope)) in zip(figure.axes, found.items()):
        panel.set_visible(True)
        panel.axhline(0, color="0.8", linewidth=0.8)
        panel.axvline(0, color="0.8", linewidth=0.8)
        panel.plot(x, y)
        panel.plot(x, slope, linewidth=1)
        panel.set_title(label, fontsize=10)
    write_picture(figure, path)


def main(arguments=None):
    options = parser(__doc__, "activations_out").parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    found = curves()
    for label, (x, y, slope) in found.items():
        describe(label, x, y, slope)
    rows = [(label, *row) for label, values in found.items() for row in zip(*values)]
    write_table(options.out / "activations.csv", ["activation", "x", "y", "slope"], rows)
    draw(found, options.out / "activations.png")


if __name__ == "__main__":
    main()
