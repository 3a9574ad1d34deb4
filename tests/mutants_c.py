"""Mutants of the derivatives in C: all in one library, and a number picks which is in force.

Mutated are the backward and derivative columns of the .def files and the values that functions
named `backward` or `derivative` compute; not their addresses and sizes.  Each expression e of
which there are mutants becomes

    (MUTANT(7) ? mutant 7 : MUTANT(8) ? mutant 8 : e)

with e's own parts treated likewise, so that one build serves all (Untch, Offutt and Harrold
call this a mutant schema, 1993).  Only the kernels for the base instruction set are built:
the others come from the same source.  See mutants.py, which runs them.
"""

import re
from dataclasses import dataclass, field

HEADER = """
extern int tga_mutant; /* the number of the mutant in force; 0 is none */
extern unsigned char tga_mutants_reached[];
static inline int tga_is_mutant(int number)
{
    tga_mutants_reached[number] = 1;
    return tga_mutant == number;
}
#define MUTANT(number) tga_is_mutant(number)
"""
SOURCE = """
#define VISIBLE __attribute__((visibility("default")))
VISIBLE int tga_mutant = 0;
VISIBLE unsigned char tga_mutants_reached[{count}];
"""

# the column of each row that holds a derivative
COLUMNS = {"ACT": -1, "UNARY": -1, "LOSS": -1}
FUNCTION = re.compile(r"\b(?:TN\()?(\w*(?:backward|derivative|softmax_product)\w*(?:##\w+)?)\)?\(")
FLIPPED = {"+": "-", "-": "+", "*": "/", "/": "*", "==": "!=", "!=": "==", "<": ">", ">": "<"}
BACKWARDS = {"v_lt": "v_gt", "v_gt": "v_lt", "v_le": "v_ge", "v_ge": "v_le", "v_eq": "v_ne"}
BOUNDARY = {"v_lt": "v_le", "v_gt": "v_ge", "v_le": "v_lt", "v_ge": "v_gt"}
EXCHANGED = {"v_min": "v_max", "v_max": "v_min"}
NEGATED = re.compile(r"v_(exp|abs|sign|sigmoid|tanh|erf|gauss)\w*$")
# Their arguments are addresses.
OPAQUE = re.compile(r"v_load\w*$|v_store\w*$|load$|tga_(?!gemm$)\w+$")
OPAQUE_TEMPLATE = re.compile(r"TN\((pool_load|pool_split|max_pool_place|load_some)\)")


@dataclass
class Mutant:
    number: int
    file: str
    line: int
    function: str
    original: str
    mutated: str
    language = "c"

    @property
    def place(self):
        return f"{self.file}:{self.line}"

    @property
    def ops(self):
        """Names that the ids of its tests may carry."""
        return {re.sub(r"^(v_|tga_)|_(backward|derivative)\w*$|##\w*$", "", self.function)}

    @property
    def signature(self):
        """What the page of explanations knows it by."""
        return self.function, self.original, self.mutated

    def enforce(self, library):
        """Put the mutant in force, for the rest of this process."""
        from ctypes import c_int

        c_int.in_dll(library, "tga_mutant").value = self.number


# ---- a small parser of C expressions --------------------------------------------------------

NAMES_ONLY = {"NULL", "TGA_OK", "TGA_NO_MEMORY"}
TOKEN = re.compile(
    r"(?P<skip>\s+|\\\n|/\*.*?\*/)"
    r"|(?P<number>\.?\d[\w.]*(?:(?<=[eEpP])[+-]\w+)?)|(?P<name>\w+(?:##\w+)*)"
    r"|(?P<mark>->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^!~<>=?:;,.(){}\[\]])",
    re.DOTALL,
)
LEVELS = [["||"], ["&&"], ["|"], ["^"], ["&"], ["==", "!="], ["<", ">", "<=", ">="], ["<<", ">>"],
          ["+", "-"], ["*", "/", "%"]]  # fmt: skip
TYPES = {
    "T",
    "V",
    "VI",
    "M",
    "int",
    "int64_t",
    "size_t",
    "float",
    "double",
    "void",
    "char",
    "const",
}


@dataclass
class Node:
    """An expression: what kind of, where in the text it stands, and its parts."""

    kind: str  # binary, minus, call, choice, number, name, other
    begin: int
    end: int
    parts: list = field(default_factory=list)
    word: str = ""  # the operator, or the function that is called


class Parser:
    def __init__(self, text, begin, end):
        self.text = text
        self.tokens = [m for m in TOKEN.finditer(text, begin, end) if m.lastgroup != "skip"]
        self.at = 0

    def peek(self, ahead=0):
        i = self.at + ahead
        return self.tokens[i].group() if i < len(self.tokens) else ""

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def expression(self):
        test = self.binary(0)
        if self.peek() != "?":
            return test
        self.take()
        first = self.expression()
        self.take()
        second = self.expression()
        return Node("choice", test.begin, second.end, [test, first, second])

    def binary(self, level):
        if level == len(LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.peek() in LEVELS[level]:
            word = self.take().group()
            right = self.binary(level + 1)
            left = Node("binary", left.begin, right.end, [left, right], word)
        return left

    def unary(self):
        token = self.tokens[self.at]
        if token.group() in ("-", "!", "~", "*", "&", "++", "--"):
            self.take()
            inner = self.unary()
            kind = "minus" if token.group() == "-" else "other"
            return Node(kind, token.start(), inner.end, [inner])
        if token.group() == "(" and self.peek(1) in TYPES:  # a cast
            while self.take().group() != ")":
                pass
            if self.peek() == "{":
                return Node("other", token.start(), self.skip_brackets(), [])
            inner = self.unary()
            return Node("other", token.start(), inner.end, [inner])
        return self.postfix()

    def postfix(self):
        token = self.take()
        if token.group() == "(":
            inner = self.expression()
            node = Node("other", token.start(), self.take().end(), [inner])
        else:
            node = Node(token.lastgroup, token.start(), token.end(), word=token.group())
        while self.peek() in ("(", "[", ".", "->", "++", "--"):
            if self.peek() in ("++", "--"):
                node = Node("other", node.begin, self.take().end())
            elif self.peek() == "(":
                self.take()
                arguments = []
                while self.peek() != ")":
                    arguments.append(self.expression())
                    if self.peek() == ",":
                        self.take()
                node = Node("call", node.begin, self.take().end(), arguments, node.word)
            elif self.peek() == "[":
                node = Node("other", node.begin, self.skip_brackets())
            else:
                self.take()
                node = Node("other", node.begin, self.take().end())
        return node

    def skip_brackets(self):
        depth = 0
        while True:
            token = self.take()
            depth += token.group() in ("(", "[", "{")
            depth -= token.group() in (")", "]", "}")
            if not depth:
                return token.end()


# ---- where the expressions are --------------------------------------------------------------


def matching(text, begin):
    """The place after the bracket that closes the one at `begin`."""
    depth = 0
    for m in TOKEN.finditer(text, begin):
        depth += m.group() in ("(", "[", "{")
        depth -= m.group() in (")", "]", "}")
        if not depth:
            return m.end()
    raise ValueError("a bracket is not closed")


def regions(name, text):
    """The derivatives in a file: (function, begin, end, whether it is a number or a vector)."""
    if name.endswith(".def"):
        yield from _columns(text)
        return
    if "#include <Python.h>" in text:  # calls the kernels, and computes nothing itself
        return
    for m in FUNCTION.finditer(text):
        if text.startswith("#define", text.rfind("\n", 0, m.start()) + 1):
            continue
        after = matching(text, text.index("(", m.end() - 1))
        while (brace := re.compile(r"[\s\\]*").match(text, after).end()) != after:
            after = brace
        if text[after] == "{":
            is_value = re.search(r"\b(?:V|T|double)\s+$", text[: m.start()]) is not None
            yield from _values(m[1], text, after, matching(text, after), is_value)


def _columns(text):
    without_comments = re.sub(r"/\*.*?\*/", lambda m: " " * len(m[0]), text, flags=re.DOTALL)
    for m in re.finditer(r"^(\w+)\(", without_comments, re.MULTILINE):
        if m[1] in COLUMNS:
            begin, end = m.end(), matching(text, m.end() - 1) - 1
            parts = [begin - 1]
            depth = 0
            for token in TOKEN.finditer(text, begin, end):
                depth += token.group() in ("(", "[") or -(token.group() in (")", "]"))
                if token.group() == "," and depth == 0:
                    parts.append(token.start())
            row = text[begin : parts[1]].strip()
            yield row, parts[COLUMNS[m[1]]] + 1, end, True


def _values(function, text, begin, end, is_value):
    """The right-hand sides of a function's body, what it stores, and returns if `is_value`."""
    declared = {}  # name -> type
    start = begin + 1
    for m in _statement_ends(text, begin + 1, end - 1):
        statement = _Statement(text, start, m)
        start = m + 1
        if is_value or not statement.returns:
            yield from statement.values(function, declared)


def _statement_ends(text, begin, end):
    depth = 0
    for m in TOKEN.finditer(text, begin, end):
        depth += m.group() in ("(", "[")
        depth -= m.group() in (")", "]")
        if depth == 0 and m.group() in (";", "{", "}"):
            yield m.start()


class _Statement:
    def __init__(self, text, begin, end):
        self.text = text
        tokens = [m for m in TOKEN.finditer(text, begin, end) if m.lastgroup != "skip"]
        while tokens and tokens[0].group() in ("for", "if", "while", "else"):
            if tokens[0].group() == "else":
                tokens = tokens[1:]
            else:
                after = matching(text, tokens[1].start())
                tokens = [m for m in tokens if m.start() >= after]
        self.tokens = tokens
        self.end = end
        self.returns = bool(tokens) and tokens[0].group() == "return"

    def values(self, function, declared):
        words = [m.group() for m in self.tokens]
        if not words:
            return
        if self.returns:
            if len(words) > 1:
                yield function, self.tokens[1].start(), self.end, True
        elif words[0] in ("v_store", "v_store_n"):
            comma = self._commas(depth=1)[0]
            ends = [*self._commas(depth=1)[1:], self.tokens[-1].start()]
            yield function, comma + 1, ends[0], True
        elif words[:4] == ["TN", "(", "store", ")"]:  # (stream, where, what, ...)
            yield function, self._commas(depth=1)[1] + 1, self._commas(depth=1)[2], True
        elif words[0] == "TN" and words[2] in ("pool_store", "store_some"):  # (where, what, n)
            yield function, self._commas(depth=1)[0] + 1, self._commas(depth=1)[1], True
        elif words[0] == "TN" and "=" not in words and words[2] != "pool_split":
            yield function, self.tokens[0].start(), self.end, False
        elif words[0] in TYPES or (
            words[0].isidentifier() and words[1:2] and words[1].isidentifier()
        ):
            kind = next(word for word in words if word != "const")
            for begin, end in self._declarators(declared, kind):
                if kind in ("V", "M"):
                    yield function, begin, end, kind == "V"
        elif words[0] == ".":
            yield from self._initialisers(function)
        elif "=" in words and words[1:2] in (["."], ["->"]):
            return  # a field of a struct: a size, or an address
        elif "=" in words[:-1] and declared.get(words[0]) not in ("int64_t",):
            equals = words.index("=")
            begin = self.tokens[equals + 1].start()
            is_value = declared.get(words[0]) in ("V", "T") or words[0] == "gx"
            yield function, begin, self.end, is_value

    def _commas(self, depth):
        found, level = [], 0
        for m in self.tokens:
            level += m.group() in ("(", "[", "{")
            level -= m.group() in (")", "]", "}")
            if m.group() == "," and level == depth:
                found.append(m.start())
        return found

    def _declarators(self, declared, kind):
        bounds = [*self._commas(depth=0), self.end]
        begin = self.tokens[0].start()
        for end in bounds:
            words = [m for m in self.tokens if begin <= m.start() < end and m.group() != ","]
            names = [m.group() for m in words if m.lastgroup == "name" and m.group() not in TYPES]
            if names:
                declared[names[0]] = "T" if kind == "T" else kind
            equals = [m for m in words if m.group() == "="]
            if equals:
                yield equals[0].end(), end
            begin = end

    def _initialisers(self, function):
        """Of a struct: the one number among them is the factor."""
        bounds = [*self._commas(depth=0), self.end]
        begin = self.tokens[0].start()
        for end in bounds:
            words = [m for m in self.tokens if begin <= m.start() < end and m.group() != ","]
            if len(words) > 3 and words[1].group() == "factor":
                yield function, words[3].start(), end, True
            begin = end


# ---- which changes --------------------------------------------------------------------------


class File:
    """A file of csrc/, with its mutants written into it."""

    def __init__(self, name, text, first):
        self.name = name
        self.text = text
        self.mutants = []
        self.next = first
        pieces, done = [], 0
        for function, begin, end, is_value in regions(name, text):
            self.function = function
            node = Parser(text, begin, end).expression()
            if node.begin < done:
                continue  # part of the one before
            pieces += [text[done : node.begin], self.emit(node, is_value)]
            done = node.end
        self.mutated = "".join([*pieces, text[done:]])

    def source(self, node):
        return self.text[node.begin : node.end]

    def emit(self, node, negate=False, parent=None):
        """The text of an expression with all of its mutants."""
        parts, done = [], node.begin
        is_constant = node.kind == "call" and node.word == "K" and node.parts[0].kind == "number"
        for part in [] if is_constant or self.is_opaque(node) else node.parts:
            parts += [self.text[done : part.begin], self.emit(part, parent=node)]
            done = part.end
        text = "".join([*parts, self.text[done : node.end]])
        changes = [*self.changes(node)]
        if negate and node.kind != "minus" and self.source(node) != "NULL":
            changes.append(f"-({self.source(node)})")
        chosen = ""
        # a number alone says little: show what it stands in
        shown = parent if parent and (is_constant or not node.parts) else node
        before, after = self.text[shown.begin : node.begin], self.text[node.end : shown.end]
        for change in dict.fromkeys(changes):
            if _plain(change) != _plain(self.source(node)):
                line = self.text.count("\n", 0, node.begin) + 1
                original, mutated = _plain(self.source(shown)), _plain(before + change + after)
                self.mutants.append(
                    Mutant(self.next, self.name, line, self.function, original, mutated)
                )
                chosen += f"MUTANT({self.next}) ? ({change}) : "
                self.next += 1
        return f"({chosen}{text})" if chosen else text

    def is_opaque(self, node):
        return (
            (node.kind == "call" and OPAQUE.match(node.word))
            or (node.kind == "call" and OPAQUE_TEMPLATE.match(self.source(node)))
            or (node.kind == "choice" and _is_about_memory(node))
            or "T_BITS" in self.source(node)
        )

    def changes(self, node):
        parts = [self.source(part) for part in node.parts]
        if self.is_opaque(node):
            return
        if node.kind == "binary" and node.word in FLIPPED:
            yield f"{parts[0]} {FLIPPED[node.word]} {parts[1]}"
            if node.word in "+-*/":
                yield from parts
        elif node.kind == "minus":
            yield parts[0]
        elif node.kind == "choice":
            yield f"{parts[0]} ? {parts[2]} : {parts[1]}"
            yield from parts[1:]
        elif node.kind == "number":
            yield from _changed_number(node.word)
        elif node.kind == "name" and node.word.isupper() and len(node.word) > 2:
            if node.word not in NAMES_ONLY and not node.word.startswith(("REDUCE_", "POOL_")):
                yield f"(2 * {node.word})"
                if self.text[node.begin - 1] != "-":
                    yield f"(-{node.word})"
        elif node.kind == "call":
            if node.word == "K" and node.parts[0].kind == "number":
                yield from (f"K({change})" for change in _changed_constant(parts[0]))
            yield from _changed_call(node.word, parts)


def _is_about_memory(choice):
    """Whether it chooses between ways to load, or keeps a leading dimension from being 0."""
    _, first, second = choice.parts
    return first.word.startswith("v_load") or (first.kind == "name" and second.word == "1")


def _changed_number(word):
    """Of a number that is no K(c): a flag, a scale, a count."""
    if word.isdigit():
        yield str(int(word) - 1) if word != "0" else "1"
    else:
        yield from _changed_constant(word)


def _changed_constant(word):
    value = float.fromhex(word) if "x" in word else float(word)
    yield f"{word} + 1"
    if value != 0:
        yield f"-{word}"
    if value not in (0, 1):
        yield f"2 * {word}"


def _changed_call(name, parts):
    others = ", ".join(parts[1:])
    if name in BACKWARDS:
        yield f"{BACKWARDS[name]}({parts[0]}, {others})"
        if name in BOUNDARY:
            yield f"{BOUNDARY[name]}({parts[0]}, {others})"
    elif name in EXCHANGED:
        yield f"{EXCHANGED[name]}({parts[0]}, {others})"
        yield from parts
    elif name == "v_select":
        yield f"v_select({parts[0]}, {parts[2]}, {parts[1]})"
        yield from parts[1:]
    elif name == "v_fma":
        a, b, c = parts
        yield f"v_fma(-({a}), {b}, {c})"
        yield f"v_fma({a}, {b}, -({c}))"
        yield f"({a}) * ({b})"
        yield f"({a}) + ({c})"
        yield f"({b}) + ({c})"
        yield c
    elif NEGATED.match(name):
        yield f"{name}({', '.join([f'-({parts[0]})', *parts[1:]])})"
        if name != "v_times_gauss":
            yield parts[0]


def _plain(text):
    """Without line ends and comments."""
    return re.sub(r"\s+", " ", re.sub(r"\\\n|/\*.*?\*/", " ", text, flags=re.DOTALL)).strip()


def write(csrc, empty=False):
    """Write all mutants into the sources of `csrc`, a folder that is a copy; returns them.

    None if `empty`; the base instruction set is the only one in any case.
    """
    found = []
    for path in [] if empty else sorted(csrc.iterdir()):
        if path.suffix in (".c", ".h", ".def") and path.name not in ("tga.h", "kernels.h"):
            file = File(path.name, path.read_text(encoding="utf-8"), first=len(found) + 1)
            found += file.mutants
            path.write_text(file.mutated, encoding="utf-8")
    header = csrc / "kernels.h"
    text = header.read_text(encoding="utf-8")
    header.write_text(text.replace('#include "tga.h"', '#include "tga.h"\n' + HEADER, 1))
    (csrc / "mutants.c").write_text(SOURCE.format(count=len(found) + 1))
    for isa in csrc.glob("isa_*.c"):
        if isa.name != "isa_base.c":
            isa.unlink()
    for name in ("cpu.c", "dispatch.c"):  # they shall know of no other instruction set
        path = csrc / name
        path.write_text(path.read_text().replace("#if defined(__x86_64__)", "#if 0"))
    return found


def marks(library, count):
    """One byte for each mutant and one for 0, which is set once the place of it was executed."""
    from ctypes import c_ubyte

    return (c_ubyte * (count + 1)).in_dll(library, "tga_mutants_reached")
