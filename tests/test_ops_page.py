"""docs/ops.md is what the registry says now, and its maker can read the records."""

import importlib.util
from pathlib import Path

from tinygrad_act import relu, tanh
from tinygrad_act.op import REGISTRY

ROOT = Path(__file__).resolve().parent.parent


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


maker = load(ROOT / "docs" / "make_ops.py")


def test_the_page_is_current():
    page = maker.page()
    assert maker.PAGE.read_text(encoding="utf-8") == page, "run: python docs/make_ops.py"


def test_every_op_is_on_it():
    lines = maker.PAGE.read_text(encoding="utf-8").splitlines()
    named = [line.split("`")[1].split("(")[0] for line in lines if line.startswith("| `")]
    assert sorted(named) == sorted(op.name for op in REGISTRY.values() if maker.module_of(op))
    rows = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    widths = {len(row.split("|")) for row in rows}
    assert widths <= {6, 9}, "a cell has a | of its own"


def test_formulas_are_the_source():
    assert maker.formula(tanh.df) == "`(1 - y) * (1 + y)`"
    assert maker.formula(relu.f) == "`maximum(x, 0)`"
    pair = (lambda x: x + 1, lambda x: x * 2)  # two in one line
    assert [maker.formula(f) for f in pair] == ["`x + 1`", "`x * 2`"]

    def named(x):
        """A docstring."""
        s = x * x
        return s + 1

    assert maker.formula(named) == "`s = x * x; s + 1`"


def test_kernels_are_seen_to_run():
    assert "softmax_forward" in maker.computed_by(REGISTRY["softmax"])
    assert maker.computed_by(REGISTRY["tanh"]) == "row"
    assert maker.computed_by(REGISTRY["permute"]) == "a view"
