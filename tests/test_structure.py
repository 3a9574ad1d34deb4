"""The shape of the package: who imports whom, which names there are, what each file may know."""

import ast
import inspect
import os
import subprocess
import sys
from importlib.util import resolve_name
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
MODULES = {
    ".".join(["tinygrad_act", *name.removesuffix(".py").removesuffix("__init__").split("/")]).strip(
        "."
    )
    for name in FILES
} | {"tinygrad_act._kernels"}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def imports(name, when_run=True):
    """What a file imports, as absolute names: 'numpy', 'tinygrad_act.ops.shape' ...

    With ``when_run=False`` only what it imports as soon as it is imported itself, and not
    what a function does when it runs.
    """
    package = ".".join(("tinygrad_act", *name.split("/")[:-1]))
    found = set()
    for node in ast.walk(TREES[name]) if when_run else outside_functions(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            items = {f"{source}.{alias.name}" for alias in node.names}
            found |= (items & MODULES) or {source}
    return found


def outside_functions(tree):
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            yield node
            yield from outside_functions(node)


def package_imports(name):
    """The modules of the package that a file imports, such as 'array' and 'ops.shape'."""
    prefix = "tinygrad_act."
    return {one.removeprefix(prefix) for one in imports(name) if one.startswith(prefix)}


def foreign_imports(name, when_run=True):
    """What it imports from elsewhere, such as 'numpy'."""
    return {one.split(".")[0] for one in imports(name, when_run)} - {"tinygrad_act"}


# ---- who imports whom -----------------------------------------------------------------------


def test_the_reader_of_imports_understands_them():
    assert {"graph", "array", "op", "ops.activation", "ops.shape"} <= package_imports("tensor.py")
    assert {"array", "ops.arithmetic", "dtype"} <= package_imports("ops/reduction.py")
    assert {"nn.init", "nn.module", "tensor"} <= package_imports("nn/layers.py")
    assert "_kernels" in package_imports("kernels.py")
    assert "numpy" in foreign_imports("array.py") - foreign_imports("array.py", when_run=False)


def test_graph_knows_no_other_file():
    assert not package_imports("graph.py")
    assert foreign_imports("graph.py") <= {"threading", "operator", "functools"}


@pytest.mark.parametrize("name", FILES)
def test_only_kernels_knows_cffi(name):
    if name == "kernels.py":
        return
    assert "cffi" not in foreign_imports(name) and "_kernels" not in package_imports(name)
    names = {node.id for node in ast.walk(TREES[name]) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)}
    assert "ffi" not in names | attributes


@pytest.mark.parametrize("name", FILES)
def test_numpy_is_imported_where_it_is_needed_alone(name):
    assert "numpy" not in foreign_imports(name, when_run=False)


# What a function may import when it is asked for something that needs an extra.
EXTRAS = {
    "data.py": {"pooch"},
    "train.py": {"tqdm", "tensorboard"},
    "checkpoint.py": {"safetensors"},
}


@pytest.mark.parametrize("name", FILES)
def test_nothing_but_numpy_cffi_and_the_standard_library(name):
    needed = {"numpy", "cffi", *sys.stdlib_module_names}
    if name == "testing/strategies.py":  # imported by nobody but the tests of a user
        needed |= {"hypothesis"}
        assert not any("testing.strategies" in package_imports(other) for other in FILES)
    assert foreign_imports(name, when_run=False) <= needed
    assert foreign_imports(name) <= needed | EXTRAS.get(name, set())


def test_tensor_holds_no_mathematics():
    assert not foreign_imports("tensor.py") & {"math", "cmath", "random"}
    for node in ast.walk(TREES["tensor.py"]):
        if isinstance(node, ast.FunctionDef) and node.name in tga.op.REGISTRY:
            assert not any(isinstance(part, ast.BinOp) for part in ast.walk(node)), node.name


def test_records_know_no_tensors_and_no_graph():
    for name in FILES:
        if name.startswith("ops/"):
            above = {"tensor", "scalar", "graph", "nn", "optim", "creation"}
            assert not package_imports(name) & above, name


def test_engine_knows_nothing_above_it():
    for name in (
        "formula.py",
        "dtype.py",
        "kernels.py",
        "array.py",
        "op.py",
        "scalar.py",
        "tensor.py",
    ):
        assert not package_imports(name) & {"nn", "optim", "testing", "creation"}, name


def test_networks_stand_on_the_surface():
    """No arrays, kernels or formulas: what a user could have written."""
    for name in FILES:
        if name.startswith("nn/") or name == "optim.py":
            below = {"array", "kernels", "formula", "dtype", "_kernels", "scalar"}
            assert not package_imports(name) & below, name


# ---- what an import costs, and leaves behind ------------------------------------------------


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
x = tga.Tensor([[1.0, 2.0]], requires_grad=True)
net = tga.nn.Sequential(tga.nn.Linear(2, 3), "tanh")
loss = (net(x) * 2 + 1).mean()
loss.backward()
tga.optim.SGD(net.parameters(), lr=0.1).step()
print(x.grad.tolist(), loss.item(), x.T.shape, tga.rand(3).dtype, tga.float32 == "float32")
assert "numpy" not in sys.modules, "by computing"
tga.Tensor([1.0]).numpy()
assert "numpy" in sys.modules
"""
    python(code)


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
            assert (
                tga.full((8, 8), normal, dtype) @ (tga.eye(8, dtype) * 0.5)
            ).numpy().min() == normal / 2
    finally:
        tga.set_num_threads(before)


# ---- names ----------------------------------------------------------------------------------

# What a Tensor has that is no op.
NO_OPS = {
    *("shape", "ndim", "size", "dtype", "T", "grad", "requires_grad", "array", "node"),
    *("topk", "item", "tolist", "numpy", "backward", "detach", "copy_", "fill_"),
    *("register_hook", "retain_grad"),
    *("split", "chunk"),  # of several results: each is that of getitem
}


@pytest.mark.parametrize("op", OPS, ids=by_name)
def test_every_op_is_a_function_of_the_package(op):
    assert getattr(tga, op.name) is op


def test_every_op_function_is_registered():
    for value in vars(tga).values():
        if isinstance(value, Op):
            assert tga.op.REGISTRY[value.name] is value


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
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        assert parameters.pop().name == "wrong"  # keywords that the record does not have
    others, given = parameters[: len(op.inputs) - 1], parameters[len(op.inputs) - 1 :]
    assert len(others) == len(op.inputs) - 1
    assert all(p.default is p.empty for p in others)
    attrs = {
        name: default
        for name, default in op.defaults.items()
        if op is not tga.astype or name != "source"
    }
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
    attrs = {
        name: value
        for name, value in call.attrs.items()
        if op is not tga.astype or name != "source"
    }
    if op.name == "where":
        got = inputs[1].where(inputs[0], inputs[2])
    elif list(attrs) in (["shape"], ["axes"], ["reps"]):
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
            assert low < high and (attr.default is None or low <= attr.default <= high)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_a_function_and_a_module(name):
    x = Tensor([[0.5, -1.5], [2.0, -0.25]], dtype="float64")
    expected = getattr(tga, name)(x).tolist()
    assert ACTIVATIONS[name] is getattr(tga, name)
    assert nn.Activation(name)(x).tolist() == expected
    if name != "swish":  # another name of silu
        kind = {one.lower(): getattr(nn, one) for one in nn.__all__}[name.replace("_", "")]
        assert kind().eval()(x).tolist() == expected
        given = {one.name: one.default for one in inspect.signature(kind).parameters.values()}
        assert given == getattr(ACTIVATIONS[name], "defaults", {})


# ---- documentation --------------------------------------------------------------------------


def public_objects():
    """Name, syntax tree, and whether the class documents it among its attributes."""
    for name, tree in TREES.items():
        yield name, tree, ""
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                yield f"{name}: {node.name}", node, ""
                for inner in node.body if isinstance(node, ast.ClassDef) else []:
                    if isinstance(inner, ast.FunctionDef):
                        text = ast.get_docstring(node) or ""
                        told = text if f"\n{inner.name} : " in text else ""
                        yield f"{name}: {node.name}.{inner.name}", inner, told


# Methods whose meaning is that of an op of the same name, or known from the base class.
TOLD_ELSEWHERE = set(tga.op.REGISTRY) | {"forward", "backward", "keep", "on_numbers", "fused"}
TOLD_ELSEWHERE |= {"begin", "epoch", "end", "state_dict", "load_state_dict"}  # of callbacks


@pytest.mark.parametrize(
    ("name", "node", "told_by_class"), [pytest.param(*one, id=one[0]) for one in public_objects()]
)
def test_public_things_are_documented(name, node, told_by_class):
    own_name = name.rpartition(".")[2] if isinstance(node, ast.FunctionDef) else ""
    accessor = isinstance(node, ast.FunctionDef) and any(
        isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list
    )
    if own_name.startswith("_") or own_name in TOLD_ELSEWHERE or accessor:
        return
    assert ast.get_docstring(node) or told_by_class, name


@pytest.mark.parametrize("op", OPS, ids=by_name)
def test_ops_document_themselves(op):
    assert op.__doc__.startswith(f"{op.name}(") and op.__doc__ != type(op).__doc__
    for name in (*op.inputs, *op.attrs):
        assert name in op.__doc__


def test_lines_are_at_most_100_long():
    for name, path in FILES.items():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= 100, f"{name}:{number}"
