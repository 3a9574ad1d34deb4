"""Make the table of ops, docs/ops.md, from the registry:  python docs/make_ops.py

Nothing of it is written by hand: formulas are the records' own source, conventions and
accuracy what the records state, and kernels those that are seen to run.
"""

import ast
import inspect
import random
import re
import textwrap
from functools import cache
from pathlib import Path

from tinygrad_act import Tensor, kernels
from tinygrad_act.op import REGISTRY, Attr, Binary, Elementwise
from tinygrad_act.ops import nested

PAGE = Path(__file__).with_name("ops.md")

HEAD = """\
# The ops

All of them, made from the registry by `python docs/make_ops.py`. Each is a function of the package;
most are methods of a tensor, too.

- **Formulas** are the records' own source, in [tinygrad_act/ops](../tinygrad_act/ops). In a
  derivative, `y` (or `z`, of two operands) is the value, and `gy` the gradient that arrives. What a
  derivative does not name is not kept for it.
- **ulp** is how far the kernel may be off, in units in the last place, in float32 and float64: for
  the value, and for the derivative at what was kept. The tests measure it, on every instruction
  set. Without a number, the bound is that of the textbook's computation: it grows with how much is
  summed.
- **C** tells what computes it: a row of a table of kernels, functions of
  [tga.h](../csrc/tga.h), a view, which computes nothing, or other ops.
"""

TITLES = {
    "arithmetic": "Arithmetic",
    "activation": "Activations",
    "reduction": "Reductions",
    "shape": "Shapes",
    "rearrange": "Rearranging elements",
    "indexing": "Indexing",
    "linalg": "Linear algebra",
    "convolution": "Convolution",
    "pooling": "Pooling",
    "normalisation": "Normalisation",
    "dropout": "Dropout",
    "loss": "Losses",
}

# ---- formulas, as they stand in the source --------------------------------------------------

LONGEST = 160  # characters of a formula that is shown


@cache
def _tree(path):
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _node_of(function):
    """The syntax tree of a function or lambda."""
    code = function.__code__
    kinds = ast.Lambda if function.__name__ == "<lambda>" else ast.FunctionDef
    names = code.co_varnames[: code.co_argcount]
    found = [
        node
        for node in ast.walk(_tree(code.co_filename))
        if isinstance(node, kinds)
        and node.lineno == code.co_firstlineno
        and tuple(a.arg for a in node.args.args) == names
    ]
    if len(found) > 1:  # several lambdas in one line
        found = [node for node in found if _compiled(node).co_code == code.co_code]
    return found[0]


def _compiled(node):
    return compile(ast.Expression(node), "", "eval").co_consts[0]


def formula(function):
    """What a function computes, in one line; where that is long, its name and file."""
    node = _node_of(function)
    if isinstance(node, ast.Lambda):
        text = ast.unparse(node.body)
    else:
        body = node.body[bool(ast.get_docstring(node)) :]
        text = "; ".join(ast.unparse(line).removeprefix("return ") for line in body)
    text = " ".join(text.split())
    text = re.sub(r"\b(abs|sum|pow|round|max|min|prod|all|any)_\(", r"\1(", text)
    if "\n" in text or len(text) > LONGEST:
        return f"`{function.__name__}` in {Path(function.__code__.co_filename).name}"
    return f"`{text}`".replace("|", "\\|")


def _rule(function):
    if function is None:
        return "none"
    function = getattr(function, "__func__", function)
    return formula(function) if inspect.isfunction(function) else "see there"


# ---- kernels, as they are seen to run -------------------------------------------------------

# What every op may need besides: copies, and what its formula is made of.
COMMON = {"copy_strided", "fill", "arange", "where_strided", "compare_strided", "reduce"}
COMMON |= {f"{kind}_{way}{form}" for kind in ("unary", "binary") for way in ("forward", "backward")
           for form in ("", "_strided")}  # fmt: skip


def _calls(op):
    """The names of the functions of C that run on samples of an op, forward and backward."""
    lib, seen = vars(kernels.lib), set()
    before = {name: f for name, f in lib.items() if name.startswith("tga_") and callable(f)}

    def watched(name, function):
        def call(*args):
            seen.add(name.removeprefix("tga_"))
            return function(*args)

        return call

    with kernels.no_shortcuts():
        lib.update({name: watched(name, function) for name, function in before.items()})
        try:
            shares = [_run(op, random.Random(seed)) for seed in range(8)]
        finally:
            lib.update(before)
    return seen, any(shares)


def _run(op, rng):
    """Apply an op to a sample, and go back; whether the result is a view of an input."""
    inputs, attrs = op.sample(rng)
    leaves = []
    for x in inputs:
        kinds = {type(item) for item in nested.flat(x)}
        is_float = kinds <= {float}
        dtype = "float32" if is_float else "bool" if kinds == {bool} else "int64"
        leaves.append(Tensor(x, dtype=dtype, requires_grad=is_float))
    if "source" in attrs and op.name == "astype":
        attrs = {**attrs, "source": leaves[0].dtype}
    y = op(*leaves, **attrs)
    if y.requires_grad:
        y.backward(Tensor(nested.build(y.shape, lambda index: 1.0), dtype=y.dtype)
                   if y.size else y.detach())  # fmt: skip
    return any(y.array.memory is x.array.memory for x in leaves)


def computed_by(op):
    """The column that tells what computes an op."""
    row = getattr(op, "row", -1)
    if row >= 0:
        return "row"
    if isinstance(op, (Elementwise, Binary)):
        return "its formula"
    seen, shares = _calls(op)
    own = sorted(seen - COMMON)
    if own:
        return ", ".join(f"`{name}`" for name in own)
    common = sorted(seen & {"reduce", "where_strided", "compare_strided"})
    if getattr(op, "composed", False):
        return "a view" if shares else "other ops"
    if shares:
        return "a view"
    return ", ".join(f"`{name}`" for name in common) or "other ops"


# ---- the tables -----------------------------------------------------------------------------


def signature(op):
    attrs = [
        f"{name}={getattr(value, 'name', value)!r}".replace("'float32'", "float32")
        for name, value in op.defaults.items()
        if (op.name, name) != ("astype", "source")
    ]
    return f"`{op.name}({', '.join(['*' * op.variadic + op.inputs[0], *op.inputs[1:], *attrs])})`"


def accuracy(bound, tail=None):
    if bound is None:
        return ""
    text = f"{bound['float32']:g} / {bound['float64']:g}"
    if tail is not None:
        kind, left = ("ulp", tail.max_ulp) if tail.max_ulp else ("absolute", tail.max_abs)
        text += f"; x < {tail.x:g}: {left['float32']:g} / {left['float64']:g} {kind}"
    return text


def conventions(op):
    kinks = op.kinks
    if callable(kinks):
        kinks = kinks(**{k: v.default if isinstance(v, Attr) else v for k, v in op.attrs.items()})
    points = {}
    for point, text in (kinks or {}).items():
        points.setdefault(text, []).append(f"{point:g}")
    told = [f"at {', '.join(where)}: {text}" for text, where in points.items()]
    if op.conventions:
        told.append(op.conventions)
    return "; ".join(told).replace("|", "\\|").replace("*", "\\*")


def cells(op):
    """Formula, derivative, accuracy of both."""
    if isinstance(op, Elementwise):
        slope = [formula(op.df), accuracy(op.df_ulp, op.df_tail)]
        return [formula(op.f), accuracy(op.max_ulp, op.tail), *slope]
    if isinstance(op, Binary):
        slope = "none" if op.compares else "; ".join(map(_rule, op.vjp))
        return [formula(op.f), accuracy(op.max_ulp), slope, ""]
    if hasattr(op, "dx"):
        bound = accuracy(op.dx_ulp) if op.dx_ulp else accuracy(op.dx_abs) + " absolute"
        return [formula(op.f), accuracy(op.max_ulp), f"{formula(op.dx)}; {formula(op.dt)}", bound]
    if getattr(op, "composed", False):
        return ["", "", "of the ops it is made of", ""]
    rules = op.vjp if isinstance(op.vjp, tuple) else (op.vjp,)
    return ["", accuracy(op.max_ulp), "; ".join(map(_rule, rules)), ""]


def table(ops, wide):
    """Rows of ops; `wide` where they have formulas."""
    head = "| op | formula | ulp | derivative | ulp | conventions | C |"
    if not wide:
        head = "| op | gradient | conventions | C |"
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for op in ops:
        value, value_ulp, slope, slope_ulp = cells(op)
        middle = [value, value_ulp, slope, slope_ulp] if wide else [slope]
        row = [signature(op), *middle, conventions(op), computed_by(op)]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def module_of(op):
    function = getattr(op, "f", None) or op.forward
    package, _, module = function.__module__.rpartition(".")
    return module if package == "tinygrad_act.ops" else None  # None: declared by a user


def page():
    """The text of docs/ops.md."""
    parts = [textwrap.dedent(HEAD)]
    ops = [op for op in REGISTRY.values() if module_of(op) is not None]
    modules = list(dict.fromkeys(map(module_of, ops)))
    for module in sorted(modules, key=lambda m: list(TITLES).index(m) if m in TITLES else 99):
        parts.append(f"## {TITLES.get(module, module.capitalize())}\n")
        mine = [op for op in ops if module_of(op) == module]
        has_formula = [op for op in mine if hasattr(op, "f")]
        others = [op for op in mine if not hasattr(op, "f")]
        for group, wide in ((has_formula, True), (others, False)):
            if group:
                parts.append(table(group, wide) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(REGISTRY)} ops")
