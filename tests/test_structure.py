"""The shape of the package: who imports whom, which names there are, what each file may know."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DIFFERENTIABLE, OPS, by_name, calls

import tinygrad_act as tga
from tinygrad_act import Tensor, nn
from tinygrad_act.op import ACTIVATIONS, Binary, Elementwise, Op

PACKAGE = Path(tga.__file__).parent
FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def imports(name, everywhere=True):
    """What a file imports: ('.array', 'empty'), ('numpy', None) ...; each with its level of dots
    counted from the package: `..array` in ops/ is '.array'.

    With ``everywhere=False`` only what is imported as soon as the file is.
    """
    depth = name.count("/")
    nodes = ast.walk(TREES[name]) if everywhere else _at_import(TREES[name])
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            inside = "." * bool(node.level) + "".join(
                f"{part}." for part in name.split("/")[: depth + 1 - node.level]
            ) * bool(node.level)
            for alias in node.names:
                module = inside + (node.module or "")
                yield module.rstrip("."), alias.name


def _at_import(tree):
    """The nodes that run when the file is imported: all that are not inside a function."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield node
            yield from _at_import(node)


def modules(name):
    """The modules of the package that a file imports, such as 'array' and 'ops.shape'."""
    for module, item in imports(name):
        if module.startswith("."):
            module = module.strip(".")
            inner = f"{module}.{item}".strip(".")
            is_module = inner.replace(".", "/") + ".py" in FILES or f"{inner}/__init__.py" in FILES
            yield inner if is_module else module
        elif module.split(".")[0] == "tinygrad_act":
            raise AssertionError(f"{name}: imports inside the package are relative")


# ---- who imports whom --------------------------------------------------------------------------


def test_the_reader_of_imports_understands_them():
    assert {"graph", "array", "op", "ops.activation", "kernels"} >= {"graph"}
    assert {"graph", "array", "op", "ops.activation"} <= set(modules("tensor.py"))
    assert {"array", "ops.arithmetic", "dtype"} <= set(modules("ops/reduction.py"))
    assert {"nn.init", "nn.module", "tensor"} <= set(modules("nn/layers.py"))
    assert "_kernels" in set(modules("kernels.py"))


def test_graph_knows_no_other_file():
    assert list(modules("graph.py")) == []
    assert {module for module, _ in imports("graph.py")} <= {"threading", "operator", "functools"}


@pytest.mark.parametrize("name", FILES)
def test_only_kernels_knows_cffi(name):
    if name == "kernels.py":
        return
    for module, item in imports(name):
        assert "cffi" not in module and "_kernels" not in (module.strip("."), item)
    names = {node.id for node in ast.walk(TREES[name]) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)}
    assert "ffi" not in names | attributes


@pytest.mark.parametrize("name", FILES)
def test_numpy_is_imported_where_it_is_needed_alone(name):
    assert "numpy" not in {module.split(".")[0] for module, _ in imports(name, everywhere=False)}


@pytest.mark.parametrize("name", FILES)
def test_nothing_but_numpy_cffi_and_the_standard_library(name):
    allowed = {"numpy", "cffi", *sys.stdlib_module_names}
    assert {module.split(".")[0] for module, _ in imports(name) if module[0] != "."} <= allowed


def test_tensor_holds_no_mathematics():
    assert not {module for module, _ in imports("tensor.py")} & {"math", "cmath", "random"}
    for node in ast.walk(TREES["tensor.py"]):
        if isinstance(node, ast.FunctionDef) and node.name in tga.op.REGISTRY:
            body = [n for n in node.body if not isinstance(getattr(n, "value", None), ast.Constant)]
            assert len(body) == 1, f"{node.name}: an op is one line here"


def test_records_know_no_tensors_and_no_graph():
    for name in FILES:
        if name.startswith("ops/"):
            assert not set(modules(name)) & {"tensor", "scalar", "graph", "nn", "optim"}, name


def test_engine_knows_nothing_above_it():
    for name in ("formula.py", "dtype.py", "kernels.py", "array.py", "op.py", "scalar.py", "tensor.py"):
        assert not set(modules(name)) & {"nn", "optim", "testing", "creation"}, name


def test_networks_stand_on_the_surface():
    """No arrays, kernels or formulas: what a user could have written."""
    for name in FILES:
        if name.startswith("nn/") or name == "optim.py":
            below = {"array", "kernels", "formula", "dtype", "_kernels", "scalar"}
            assert not set(modules(name)) & below, name


# ---- what an import costs, and leaves behind -----------------------------------------------------


def python(code, **environment):
    """Run code in a new interpreter, which sees this package."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_numpy_is_imported_late():
    code = """
import sys
import tinygrad_act as tga
assert "numpy" not in sys.modules, "by the import"
x = tga.Tensor([[1.0, 2.0]], requires_grad=True, dtype="float64")
net = tga.nn.Sequential(tga.nn.Linear(2, 3, dtype="float64"), "tanh")
loss = (net(x) * 2 + 1).mean()
loss.backward()
tga.optim.SGD(net.parameters(), lr=0.1).step()
print(x.grad.tolist(), x.dtype, loss.item(), tga.rand(3).shape, x == x, file=sys.stderr)
assert tga.float32 != "float64" and tga.float32 == "float32"
assert "numpy" not in sys.modules or True
tga.Tensor([1.0]).numpy()
assert "numpy" in sys.modules
"""
    python(code.replace(", x == x", "").replace("\nassert \"numpy\" not in sys.modules or True", "\nassert \"numpy\" not in sys.modules, \"by computing\""))


def test_import_does_not_change_how_the_processor_rounds():
    """Denormals are kept: nothing here may set flush-to-zero for the whole process."""
    code = """
import numpy as np
before = (np.float64(5e-324) + np.zeros(64), np.float32(1e-45) + np.zeros(64, "float32"))
import tinygrad_act as tga
tga.zeros(100, 100) @ tga.zeros(100, 100)
after = (np.float64(5e-324) + np.zeros(64), np.float32(1e-45) + np.zeros(64, "float32"))
assert all((a == b).all() and a.all() for a, b in zip(before, after))
assert 5e-324 / 1.0 > 0
"""
    python(code)


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_keep_denormals(isa, threads):
    before = tga.get_num_threads()
    try:
        tga.set_num_threads(threads)
        for dtype in ("float32", "float64"):
            tiny = float(np.finfo(dtype).smallest_subnormal)
            normal = float(np.finfo(dtype).smallest_normal)
            for n in (1, 37, 300_000):
                x = tga.full((n,), tiny, dtype)
                assert (x + x).numpy().min() == 2 * tiny
                assert (tga.full((n,), normal, dtype) * 0.5).numpy().min() == normal / 2
                assert x.relu().numpy().min() == tiny
            assert (tga.full((8, 8), normal, dtype) @ (tga.eye(8, dtype) * 0.5)).numpy().min() == normal / 2
    finally:
        tga.set_num_threads(before)


# ---- names -----------------------------------------------------------------------------------------

# What a Tensor has that is no op.
NO_OPS = {
    *("shape", "ndim", "size", "dtype", "T", "grad", "requires_grad", "array", "node"),
    *("item", "tolist", "numpy", "backward", "detach", "copy_", "fill_"),
}


@pytest.mark.parametrize("op", OPS, ids=by_name)
def test_every_op_is_a_function_of_the_package(op):
    assert getattr(tga, op.name) is op


def test_every_op_function_is_registered():
    for name, value in vars(tga).items():
        if isinstance(value, Op):
            assert tga.op.REGISTRY[name] is value


@pytest.mark.parametrize("op", OPS, ids=by_name)
def test_every_op_can_be_written_with_a_tensor(op):
    """As a method or as an operator; where it joins several tensors, or two of unlike
    meaning, as a function alone."""
    operators = {"div": "__truediv__"}.get(op.name, f"__{op.name}__")
    if isinstance(op, (Elementwise, Binary)) and op.name != "identity":
        assert hasattr(Tensor, op.name) or hasattr(Tensor, operators)


def test_every_method_is_an_op():
    public = {name for name in dir(Tensor) if not name.startswith("_")}
    assert NO_OPS <= public, "gone: take it off the list above"
    assert public - NO_OPS <= set(tga.op.REGISTRY)


METHODS = [op for op in OPS if callable(getattr(Tensor, op.name, None))]


@pytest.mark.parametrize("op", METHODS, ids=by_name)
def test_method_has_the_records_attributes_and_defaults(op):
    parameters = list(inspect.signature(getattr(Tensor, op.name)).parameters.values())[1:]
    others, given = parameters[: len(op.inputs) - 1], parameters[len(op.inputs) - 1 :]
    assert len(others) == len(op.inputs) - 1
    assert all(p.default is p.empty for p in others)
    attrs = {name: default for name, default in op.defaults.items() if name != "source"}
    assert [p.name for p in given] == list(attrs)
    for p in given:
        if p.default is p.empty:  # must be given, spread or not
            assert attrs[p.name] is None
        else:
            assert p.default == attrs[p.name] and type(p.default) is type(attrs[p.name])


@pytest.mark.parametrize("op", [op for op in METHODS if op in DIFFERENTIABLE], ids=by_name)
@given(data=st.data())
def test_method_is_the_function(op, data):
    call = data.draw(calls(op))
    inputs = [Tensor(x) for x in call.inputs]
    expected = call.plain(*inputs)
    attrs = {name: value for name, value in call.attrs.items() if name != "source"}
    if op.name == "where":
        got = inputs[1].where(inputs[0], inputs[2])
    elif list(attrs) in (["shape"], ["axes"]):
        got = getattr(inputs[0], op.name)(*attrs.popitem()[1])
    else:
        got = getattr(inputs[0], op.name)(*inputs[1:], **attrs)
    assert got.shape == expected.shape and got.numpy().tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize("op", [op for op in OPS if op.attrs], ids=by_name)
def test_attributes_have_defaults_and_ranges(op):
    for name, attr in op.attrs.items():
        assert name in op.defaults
        if isinstance(attr, tga.Attr):
            low, high = attr.drawn
            assert low < high and low <= attr.default <= high


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_a_function_and_a_module(name):
    x = Tensor([[0.5, -1.5], [2.0, -0.25]], dtype="float64")
    expected = getattr(tga, name)(x).tolist()
    assert ACTIVATIONS[name] is getattr(tga, name)
    assert nn.Activation(name)(x).tolist() == expected
    classes = {one.lower(): getattr(nn, one) for one in nn.__all__}
    assert classes[name.replace("_", "")]()(x).tolist() == expected


# ---- documentation -------------------------------------------------------------------------------


def public_objects():
    for name, tree in TREES.items():
        yield name, tree
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                yield f"{name}: {node.name}", node
                for inner in getattr(node, "body", []):
                    if isinstance(node, ast.ClassDef) and isinstance(inner, ast.FunctionDef):
                        yield f"{name}: {node.name}.{inner.name}", inner


# Methods whose meaning is that of an op of the same name, or known from the base class.
TOLD_ELSEWHERE = set(tga.op.REGISTRY) | {"forward", "backward", "keep", "on_numbers", "fused"}


@pytest.mark.parametrize(("name", "node"), list(public_objects()), ids=lambda v: v if isinstance(v, str) else "")
def test_public_things_are_documented(name, node):
    own_name = name.rpartition(".")[2] if isinstance(node, ast.FunctionDef) else ""
    accessor = isinstance(node, ast.FunctionDef) and any(
        isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list
    )
    if own_name.startswith("_") or own_name in TOLD_ELSEWHERE or accessor:
        return
    text = ast.get_docstring(node)
    assert text, name
    first = text.splitlines()[0]
    assert first[-1] in ".:?!,;" or len(text.splitlines()) > 1, f"{name}: {first!r}"


@pytest.mark.parametrize("op", OPS, ids=by_name)
def test_ops_document_themselves(op):
    assert op.__doc__.startswith(f"{op.name}(") and op.__doc__ != type(op).__doc__
    for name in (*op.inputs, *op.attrs):
        assert name in op.__doc__


def test_lines_are_at_most_100_long():
    for name, path in FILES.items():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= 100, f"{name}:{number}"
