"""The records are complete, and say the same as the C sources.

What an op must state so that the other tests can be generated from it; and that rows of the
.def files, the accuracy written above the functions of math.tmpl.h and the records agree.
"""

import inspect
import random
import re
from pathlib import Path

import pytest
from oracle import (
    BINARY,
    COMPARISONS,
    ELEMENTWISE,
    GENERAL,
    LOSSES,
    OPS,
    by_name,
    holds_floats,
    kinks_of,
)

from tinygrad_act import kernels
from tinygrad_act.op import Attr, Binary
from tinygrad_act.ops import nested

CSRC = Path(__file__).resolve().parent.parent / "csrc"
FLOATS = ("float32", "float64")


# ---- what a record must state ----------------------------------------------------------------


@pytest.mark.parametrize("op", [*ELEMENTWISE, *BINARY, *LOSSES], ids=by_name)
def test_elementwise_states_its_accuracy(op):
    bounds = {"max_ulp": op.max_ulp}
    if op in ELEMENTWISE and op.row >= 0:
        bounds["df_ulp"] = op.df_ulp
    if op in LOSSES:
        bounds["dx"] = op.dx_ulp or op.dx_abs
    for name, bound in bounds.items():
        assert set(bound) == set(FLOATS), name
        assert all(0 <= bound[dtype] <= 10 for dtype in FLOATS), name


@pytest.mark.parametrize("op", ELEMENTWISE, ids=by_name)
def test_elementwise_is_complete(op):
    low, high = op.domain
    assert low < high
    attrs = {name: attr.default for name, attr in op.attrs.items()}
    assert all(isinstance(attr, Attr) for attr in op.attrs.values())
    for formula, first in ((op.f, ["x"]), (op.df, op._df_takes)):
        assert list(inspect.signature(formula).parameters) == [*first, *attrs], formula
    for point, convention in kinks_of(op, attrs).items():
        assert isinstance(point, float) and len(convention) > 20
    for tail in (op.tail, op.df_tail):
        if tail is not None:
            assert (tail.max_ulp is None) != (tail.max_abs is None)
            assert set(tail.max_ulp or tail.max_abs) == set(FLOATS)


@pytest.mark.parametrize("op", BINARY, ids=by_name)
def test_binary_is_complete(op):
    assert op.row >= 0 and len(op.vjp) == 2
    assert all(low < high for low, high in op.domain)
    assert op.on_integers in ("no", "same", "float")
    if op.ties is not None:
        assert op.ties(1.0, 1.0) and not op.ties(1.0, 2.0) and op.conventions


@pytest.mark.parametrize("vjp", [(lambda gz, z, x, y: gz, None), None], ids=["binary", "compare"])
def test_a_binary_op_must_have_a_row(vjp):
    with pytest.raises(ValueError, match="no row of that name in arithmetic.def; declare .* gener"):
        Binary("reverse_sub", lambda x, y: y - x, vjp)


@pytest.mark.parametrize("op", GENERAL, ids=by_name)
def test_mixing_op_is_complete(op):
    assert callable(op.sample) and callable(op.reference)
    if op.composed:
        assert op.vjp is None  # its parts have one each
    else:
        assert callable(op.vjp) if op.variadic else len(op.vjp) == len(op.inputs)
    assert op.conventions or op.name in ("concat", "stack", "mse")  # nothing was left open


@pytest.mark.parametrize("op", GENERAL, ids=by_name)
def test_samples(op):
    """Reproducible, of every attribute, and of floats that both precisions hold exactly."""
    for seed in range(100):
        inputs, attrs = op.sample(random.Random(seed))
        assert (inputs, attrs) == tuple(op.sample(random.Random(seed)))
        assert set(attrs) == set(op.attrs)
        assert op.variadic or len(inputs) == len(op.inputs)
        for x in inputs:
            kinds = {type(item) for item in nested.flat(x)}
            assert kinds in (set(), {float}, {bool}, {int})
            assert nested.nest(nested.flat(x), nested.shape(x)) == x, "ragged"
            if holds_floats(x):
                assert all((item * 1024).is_integer() for item in nested.flat(x))


def test_samples_cover_the_corners():
    """Not by chance but by construction: axes, shapes, views and layouts of every kind."""

    def drawn(name):
        op = next(op for op in GENERAL if op.name == name)
        return [op.sample(random.Random(seed)) for seed in range(300)]

    def shapes(name):
        return {nested.shape(x) for inputs, _ in drawn(name) for x in inputs}

    for op in GENERAL:
        found = shapes(op.name)
        lengths = {n for shape in found for n in shape}
        if op.name not in ("matmul", "linear", "dot", "outer", "cross_entropy", "maxout"):
            assert 1 in lengths and max(map(len, found)) >= 2, op.name
        if op.name in ("sum", "mean", "where", "clone", "reshape", "permute", "unsqueeze"):
            assert () in found and (0,) in found, op.name
    for name in ("sum", "prod", "mean", "max", "min"):
        attrs = [attrs for _, attrs in drawn(name)]
        kinds = {type(a["axis"]) for a in attrs}
        assert kinds == {type(None), int, tuple}, name
        assert {a["keepdims"] for a in attrs} == {False, True}
        assert any(isinstance(a["axis"], int) and a["axis"] < 0 for a in attrs)
    pairs = {tuple(len(nested.shape(x)) for x in inputs) for inputs, _ in drawn("matmul")}
    assert {(1, 1), (1, 2), (2, 1), (2, 2)} <= pairs and any(max(p) > 2 for p in pairs)
    items = [item for _, attrs in drawn("getitem") for item in attrs["index"]]
    assert None in items and Ellipsis in items and any(isinstance(i, int) for i in items)
    assert any(isinstance(i, slice) and (i.step or 1) < 0 for i in items)
    for name in ("max", "min", "maxout"):
        for inputs, _ in drawn(name):
            values = sorted(nested.flat(inputs[0]))
            assert all(b - a >= 1 / 8 for a, b in zip(values, values[1:])), name


# ---- rows of the .def files -------------------------------------------------------------------

KINDS = {
    "unary": {op.name for op in ELEMENTWISE},
    "binary": {op.name for op in BINARY},
    "compare": {op.name for op in COMPARISONS},
    "reduce": {op.name for op in GENERAL},
    "loss": {op.name for op in LOSSES},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_has_a_record(kind):
    names = kernels.names(kind)
    assert names and len(set(names)) == len(names)
    assert set(names) <= KINDS[kind]
    for index, name in enumerate(names):
        assert kernels.find(kind, name) == index
    assert kernels.find(kind, "nonsense") == -1


@pytest.mark.parametrize("op", OPS, ids=by_name)
def test_a_record_knows_its_row(op):
    kinds = [kind for kind in KINDS if kind != "reduce" and op.name in KINDS[kind]]
    if not kinds:
        assert getattr(op, "row", -1) == -1
        return
    names = kernels.names(kinds[0])
    if kinds != ["unary"]:  # only these may do without a row, in their stable form
        assert op.name in names
    assert op.row == (names.index(op.name) if op.name in names else -1)


def rows(text, macro):
    """The arguments of every row of a macro: names and expressions."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    for start in re.finditer(rf"^{macro}\(", text, flags=re.MULTILINE):
        depth, arguments, begin = 1, [], start.end()
        for place in range(start.end(), len(text)):
            depth += {"(": 1, ")": -1}.get(text[place], 0)
            if depth == 0 or (depth == 1 and text[place] == ","):
                arguments.append(" ".join(text[begin:place].split()))
                begin = place + 1
            if depth == 0:
                break
        yield arguments


def unary_rows():
    for file, macro in (("activations.def", "ACT"), ("arithmetic.def", "UNARY")):
        yield from rows((CSRC / file).read_text(encoding="utf-8"), macro)


UNARY_ROWS = {row[0]: row[1:] for row in unary_rows()}


def test_the_reader_of_rows_finds_them_all():
    assert list(UNARY_ROWS) == kernels.names("unary")


@pytest.mark.parametrize("name", UNARY_ROWS)
def test_row_and_record_agree_on_what_is_saved_and_on_attributes(name):
    op = next(op for op in ELEMENTWISE if op.name == name)
    saves, attributes, _, _ = UNARY_ROWS[name]
    assert op.saves == {"X": "x", "Y": "y", "NONE": ""}[saves]
    assert kernels.row_saves(op.row) == op.saves
    named = re.findall(r"\w+", attributes)[1:] if attributes != "NO_ATTR" else []
    assert named == list(op.attrs)


# ---- the accuracy stated above the functions of math.tmpl.h ------------------------------------

STATED = re.compile(
    r"/\* (v_\w+): max (ulp|abs) f32 ([\d.e-]+), f64 ([\d.e-]+); range (.+?) \*/", re.DOTALL
)


def stated():
    """function -> {range: (kind, {dtype: bound})}"""
    found = {}
    for function, kind, f32, f64, where in STATED.findall(
        (CSRC / "math.tmpl.h").read_text(encoding="utf-8")
    ):
        found.setdefault(function, {})[where] = kind, {"float32": float(f32), "float64": float(f64)}
    return found


MATH = stated()


def promised(max_ulp, tail):
    """The same from the fields of a record."""
    if tail is None:
        return {"all": ("ulp", max_ulp)}
    left = ("ulp", tail.max_ulp) if tail.max_ulp is not None else ("abs", tail.max_abs)
    return {f"x >= {tail.x:g}": ("ulp", max_ulp), f"x < {tail.x:g}": left}


def function_of(expression):
    """The one function of math.tmpl.h that a row calls, if that is all it does but for gy."""
    match = re.fullmatch(r"(?:gy \* )?(v_\w+)\(x(?:, \w+)*\)", expression)
    return match and match[1] in MATH and match[1]


ACCURACIES = [
    *[(name, "forward", function_of(row[2])) for name, row in UNARY_ROWS.items()],
    *[(name, "backward", function_of(row[3])) for name, row in UNARY_ROWS.items()],
    *[
        (row[0], "forward", function_of(row[1]))
        for row in rows((CSRC / "arithmetic.def").read_text(encoding="utf-8"), "BINARY")
    ],
]


@pytest.mark.parametrize("name, direction, function", [row for row in ACCURACIES if row[2]])
def test_record_promises_what_the_source_states(name, direction, function):
    op = next(op for op in OPS if op.name == name)
    if direction == "forward":
        assert promised(op.max_ulp, getattr(op, "tail", None)) == MATH[function]
    else:
        assert promised(op.df_ulp, op.df_tail) == MATH[function]


def test_losses_promise_what_the_source_states():
    """Over the domain of their inputs."""
    text = (CSRC / "loss.def").read_text(encoding="utf-8")
    for name, value, slope in rows(text, "LOSS"):
        op = next(op for op in LOSSES if op.name == name)
        for expression, bound in ((value, op.max_ulp), (slope, op.dx_ulp)):
            function = re.fullmatch(r"(v_\w+)\(x, t\)", expression)
            if function:
                assert list(MATH[function[1]].values()) == [("ulp", bound)], name


def test_the_reader_of_comments_finds_them_all():
    comments = re.findall(r"/\* v_\w+: max", (CSRC / "math.tmpl.h").read_text(encoding="utf-8"))
    assert len(comments) == sum(map(len, MATH.values())) > 20


def test_every_accurate_function_is_held_to_it():
    """What math.tmpl.h states is measured, through the row that uses it."""
    used = {function for *_, function in ACCURACIES if function}
    used |= set(re.findall(r"v_\w+", (CSRC / "loss.def").read_text(encoding="utf-8")))
    assert set(MATH) - used <= {"v_softplus"}
