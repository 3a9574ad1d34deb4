"""Mutants of the derivatives in Python: each differs from the original in one place.

Mutated are the rules of all records (`df`, `vjp`, `fused`, and what else a class of op calls by
these names), the `backward` methods, and the helper functions that only they use; what the
forward pass uses as well is left to the tests of the forward pass.

A mutant changes the code of functions that live already, so it is put in force within
microseconds, in a process that has collected its tests.  See mutants.py, which runs them.
"""

import ast
import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType

ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
              ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult}  # fmt: skip
COMPARISONS = {ast.Lt: [ast.Gt, ast.LtE], ast.Gt: [ast.Lt, ast.GtE], ast.LtE: [ast.GtE, ast.Lt],
               ast.GtE: [ast.LtE, ast.Gt], ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq],
               ast.Is: [ast.IsNot], ast.IsNot: [ast.Is]}  # fmt: skip

NEGATED = {"exp", "expm1", "log", "log1p", "tanh", "erf", "sigmoid", "softmax", "abs_", "sign"}
EXCHANGED = {"maximum": "minimum", "minimum": "maximum"}
SWAPPED = {"where": (1, 2), "matmul": (0, 1), "_product": (0, 1)}
# Calls that no expression can stand for, and functions that return no gradient: what such a
# mutant does is raise a TypeError, which says nothing about the tests.
KEPT = {"type", "len", "range", "prod", "float", "tuple", "sorted", "map", "list", "empty", "zip",
        "enumerate", "max", "isinstance", "evaluate", "pair", "walk_broadcast", "shape_of",
        "_scale", "_slab", "_inverse", "normalized_axis", "normalized_axes",
        "normalized_permutation", "broadcast_shape", "unary_backward", "linear_backward",
        "strides_of", "kept_shape", "Array", "empty_together", "_as_matrices",
        "_is_label"}  # fmt: skip
NO_GRADIENT = {"shape_of", "_inverse", "_as_matrices", "_is_label", "_slab", "_turned"}
RULES = ("df", "vjp", "fused", "dx", "dt", "_vjp_x", "_vjp_t", "_fused")


@dataclass
class Site:
    """Live functions that share one piece of source, and its place in the syntax tree."""

    functions: list
    node: ast.AST
    tree: ast.Module
    key: tuple
    ops: set  # names of the ops whose derivative runs it
    name: str  # such as mul.vjp[0], _spread or Binary.backward


@dataclass
class Mutant:
    """One change: `site`, where it is, and what stands there before and after."""

    site: Site
    line: int
    original: str
    mutated: str
    put: object  # puts the changed node into the tree

    language = "python"

    @property
    def place(self):
        path = Path(self.site.functions[0].__code__.co_filename)
        return f"{path.parent.name}/{path.name}:{self.line}"

    @property
    def function(self):
        return self.site.name

    @property
    def ops(self):
        return self.site.ops

    @property
    def signature(self):
        """What the page of explanations knows it by."""
        return self.function, self.original, self.mutated

    def enforce(self):
        """Put the mutant in the place of the original, for the rest of this process."""
        self.put()
        replace_code(self.site)


# ---- which functions ------------------------------------------------------------------------


def sites():
    """Every rule of every record, and the helpers of the rules."""
    from tinygrad_act.op import REGISTRY

    users = {}  # function -> names of the ops
    names = {}  # code -> what to call it, if it is a lambda
    forward = set()
    for op in REGISTRY.values():
        for attribute in RULES:
            rule = getattr(op, attribute, None)
            for place, one in enumerate(rule if isinstance(rule, tuple) else [rule]):
                _follow(one, op.name, users)
                if hasattr(one, "__code__"):
                    number = f"[{place}]" if isinstance(rule, tuple) and len(rule) > 1 else ""
                    names.setdefault(one.__code__, f"{op.name}.{attribute}{number}")
        _follow(type(op).backward, None, users)
        if hasattr(type(op), "derivative"):
            _follow(type(op).derivative, None, users)
        seen = {}
        _follow(op.forward, None, seen)
        forward |= set(seen)
    by_code = {}
    for function in users:
        if function not in forward:
            by_code.setdefault(function.__code__, []).append(function)
    trees = {}
    found = []
    for code, functions in by_code.items():
        if code.co_filename not in trees:
            trees[code.co_filename] = _Source(code.co_filename)
        tree = trees[code.co_filename]
        key, node = tree.find(code)
        ops = set().union(*[users[function] for function in functions]) - {None}
        name = functions[0].__qualname__.replace("<locals>.", "")
        if code.co_name == "<lambda>":
            name = names.get(code, name)
        found.append(Site(functions, node, tree.tree, key, ops, name))
    return sorted(found, key=lambda site: (site.functions[0].__code__.co_filename, site.key[1:]))


def _follow(function, op, users):
    """Note that `op` uses the function and all functions of ops/ and op.py that it names."""
    function = getattr(function, "__func__", function)  # of a method
    if not isinstance(function, FunctionType) or op in users.get(function, ()):
        return
    module = function.__module__
    if not module.startswith("tinygrad_act.op") or module.endswith(".nested"):
        return
    users.setdefault(function, set()).add(op)
    for name in _names(function.__code__):
        _follow(function.__globals__.get(name), op, users)


def _names(code):
    nested = [const for const in code.co_consts if hasattr(const, "co_names")]
    return set(code.co_names).union(*map(_names, nested))


def _codes(code):
    """The functions inside a compiled module, by (file, line, name), in source order."""
    found = {}

    def visit(code):
        for const in code.co_consts:
            if hasattr(const, "co_code"):
                key = (const.co_filename, const.co_firstlineno, const.co_name)
                found.setdefault(key, []).append(const)
                visit(const)

    visit(code)
    return found


class _Source:
    """A file's syntax tree, and how compiled functions are found in it."""

    def __init__(self, filename):
        self.tree = ast.parse(Path(filename).read_text(encoding="utf-8"), filename)
        self.codes = _codes(compile(self.tree, filename, "exec"))
        self.nodes = {}
        functions = (ast.FunctionDef, ast.Lambda)
        nodes = [node for node in ast.walk(self.tree) if isinstance(node, functions)]
        for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
            line = min([node.lineno, *[d.lineno for d in getattr(node, "decorator_list", [])]])
            key = (filename, line, getattr(node, "name", "<lambda>"))
            self.nodes.setdefault(key, []).append(node)

    def find(self, code):
        key = (code.co_filename, code.co_firstlineno, code.co_name)
        number = self.codes[key].index(code)
        return (*key, number), self.nodes[key][number]


def replace_code(site):
    """Give the live functions of a site the code that its tree has now."""
    *key, number = site.key
    ast.fix_missing_locations(site.tree)
    code = _codes(compile(site.tree, key[0], "exec"))[tuple(key)][number]
    for function in site.functions:
        function.__code__ = code


def watch(every_site, note):
    """Call ``note(site)`` whenever one of the sites runs; for the rest of this process."""
    import builtins

    builtins._note_mutation_site = lambda number: note(every_site[number])
    for number, site in enumerate(every_site):
        call = ast.parse(f"_note_mutation_site({number})").body[0]
        if isinstance(site.node, ast.Lambda):
            noted = ast.parse(f"(_note_mutation_site({number}), None)[1]", mode="eval").body
            noted.value.elts[1] = site.node.body
            site.node.body = noted
        else:
            site.node.body.insert(0, call)
    for site in every_site:
        replace_code(site)


# ---- which changes --------------------------------------------------------------------------


def mutants(every_site):
    """Every mutant of the sites, in source order."""
    found = []
    for site in every_site:
        seen = set()
        is_rule = bool(site.ops) and site.functions[0].__name__ not in NO_GRADIENT
        for parent, field, index, node in _expressions(site.node):
            if not site.ops and not isinstance(node, (ast.BinOp, ast.Call)):
                continue  # of the methods of a class of ops, the arithmetic
            results = [*_changes(node, site.functions[0].__globals__)]
            if is_rule and _is_result(site.node, parent, field):
                results += _negated(node)
            # a number alone says little: show what it stands in
            outer = isinstance(parent, (ast.expr, ast.keyword))
            shown = parent if outer and _is_small(node) else node
            original = ast.unparse(shown)
            for changed in results:
                ast.copy_location(changed, node)
                put = partial(_put, parent, field, index, changed)
                put()
                mutated = ast.unparse(changed if shown is node else shown)
                _put(parent, field, index, node)
                if (id(shown), mutated) not in seen and mutated != original:
                    seen.add((id(shown), mutated))
                    found.append(Mutant(site, node.lineno, original, mutated, put))
    return found


def _is_small(node):
    return isinstance(node, (ast.Constant, ast.Name)) or (
        isinstance(node, ast.UnaryOp) and _is_small(node.operand)
    )


def _put(parent, field, index, node):
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _expressions(function):
    """Every expression in the body of a function: (parent, field, index or None, node)."""
    pending = [function]
    while pending:
        parent = pending.pop()
        for field, value in ast.iter_fields(parent):
            if parent is function and field in ("args", "decorator_list", "returns", "name"):
                continue
            items = value if isinstance(value, list) else [value]
            for index, node in enumerate(items):
                if not isinstance(node, ast.AST) or isinstance(node, (ast.Raise, ast.Assert)):
                    continue
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                    continue  # a docstring
                if isinstance(node, ast.keyword) and node.arg == "strict":
                    continue  # of zip: a check
                if isinstance(node, ast.If) and all(isinstance(s, ast.Raise) for s in node.body):
                    continue  # a check, with its message
                if isinstance(node, ast.expr) and not _is_target(parent, field):
                    yield parent, field, index if isinstance(value, list) else None, node
                pending.append(node)


def _is_target(parent, field):
    return field in ("targets", "target", "func", "keywords", "annotation") or (
        isinstance(parent, ast.Attribute) and field == "value"
    )


def _is_result(function, parent, field):
    """Whether an expression is what a rule returns."""
    if parent is function:
        return isinstance(function, ast.Lambda)
    return isinstance(parent, ast.Return) and field == "value"


def _negated(node):
    """A gradient, or each of several, with the other sign."""
    if isinstance(node, (ast.Tuple, ast.List)):
        for place, element in enumerate(node.elts):
            if not isinstance(element, ast.Constant):
                elements = list(node.elts)
                elements[place] = ast.UnaryOp(ast.USub(), element)
                yield type(node)(elements, ast.Load())
    elif not isinstance(node, (ast.UnaryOp, ast.Constant, ast.ListComp)):
        yield ast.UnaryOp(ast.USub(), node)


def _changes(node, names):
    """What may stand in the place of an expression: one change each."""
    new = copy.copy
    if isinstance(node, ast.BinOp):
        if type(node.op) in ARITHMETIC:
            yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
        yield new(node.left)
        yield new(node.right)
    elif isinstance(node, ast.UnaryOp):
        yield new(node.operand)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in COMPARISONS.get(type(node.ops[0]), []):
            yield ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(other, node.values)
    elif isinstance(node, ast.IfExp):
        yield new(node.body)
        yield new(node.orelse)
    elif isinstance(node, ast.Constant):
        yield from _changed_constant(node)
    elif isinstance(node, ast.Name) and isinstance(names.get(node.id), float):
        yield ast.BinOp(ast.Constant(2), ast.Mult(), new(node))
        yield ast.UnaryOp(ast.USub(), new(node))
    elif isinstance(node, ast.Call):
        yield from _changed_call(node)


def _changed_constant(node):
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1)
        if value not in (0, 1):
            yield ast.Constant(2 * value)


def _changed_call(node):
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if not node.args or name in KEPT or isinstance(node.args[0], ast.Starred):
        return
    first, *rest = node.args
    if name in NEGATED:
        if not isinstance(first, ast.UnaryOp):
            first = ast.UnaryOp(ast.USub(), first)
            yield ast.Call(node.func, [first, *rest], node.keywords)
            first = node.args[0]
    if name in EXCHANGED:
        yield ast.Call(ast.Name(EXCHANGED[name], ast.Load()), node.args, node.keywords)
    if name in SWAPPED:
        i, j = SWAPPED[name]
        args = list(node.args)
        args[i], args[j] = args[j], args[i]
        yield ast.Call(node.func, args, node.keywords)
    if name in SWAPPED or name in EXCHANGED:
        yield from map(copy.copy, node.args[-2:])  # either operand alone
    if name == "where":
        for place in (1, 2):
            args = list(node.args)
            if not (isinstance(args[place], ast.Constant) and args[place].value == 0):
                args[place] = ast.UnaryOp(ast.USub(), args[place])
                yield ast.Call(node.func, args, node.keywords)
    elif isinstance(node.func, ast.Name):
        yield copy.copy(first)  # the function left out
