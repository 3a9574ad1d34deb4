"""The examples in docstrings run, and there are some.

``pytest`` runs them all with its own option --doctest-modules; here it is checked that it is
asked to, and that an example works by itself, whatever ran before it.
"""

import doctest
import importlib
import pkgutil
import tomllib
from pathlib import Path

import pytest

import tinygrad_act as tga

ROOT = Path(__file__).resolve().parent.parent
MODULES = [
    module.name
    for module in pkgutil.walk_packages(tga.__path__, "tinygrad_act.")
    if not module.name.endswith("_kernels")
]
EXAMPLES = [
    example
    for name in MODULES
    for example in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    if example.examples
]


def test_pytest_is_asked_to_run_them():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "--doctest-modules" in options["addopts"].split()
    assert "tinygrad_act" in options["testpaths"]


def test_the_main_classes_and_functions_have_examples():
    shown = {example.name.removeprefix("tinygrad_act.") for example in EXAMPLES}
    assert {"tensor.Tensor", "tensor.grad", "scalar", "op.activation"} <= shown
    assert {"testing.differences.gradcheck", "testing.strategies"} <= shown
    assert {"nn.module.Module", "nn.layers.Sequential", "optim.SGD"} <= shown


@pytest.fixture
def registry():
    """Leaves the registry of ops as it was."""
    kept = [dict(one) for one in (tga.op.REGISTRY, tga.op.ACTIVATIONS)]
    yield
    for one, before in zip((tga.op.REGISTRY, tga.op.ACTIVATIONS), kept, strict=True):
        one.clear()
        one.update(before)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(example):
    tga.op.REGISTRY.pop("bump", None)  # declared by one of them, perhaps already run
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example, out=report.append, clear_globs=False)
    assert not report, "".join(report)
