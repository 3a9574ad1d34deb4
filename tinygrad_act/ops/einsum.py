"""Einstein's sum convention: any product of tensors, written as the names of their axes.

``einsum("bij,bjk->bik", x, y)`` names the axes of each operand and of the result; an axis
that the result does not name is summed over.  Nothing is computed here: an expression
becomes diagonals, sums, permutations and matrix products, each an op with a derivative.
"""

from functools import lru_cache, reduce
from itertools import product
from math import prod

from ..op import Composed, composed, register
from . import nested
from .arithmetic import mul
from .linalg import matmul
from .rearrange import diagonal
from .reduction import sum_
from .shape import permute, reshape

LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

# ---- reading an expression ------------------------------------------------------------------


@lru_cache(maxsize=1024)
def parse(subscripts, ndims):
    """The names of the axes of each operand, and of the result.

    An axis is named by its letter; those of an ellipsis by numbers, 0 for the last one.

    Parameters
    ----------
    subscripts : str
        Such as ``"...ij,jk->...ik"``.
    ndims : tuple of int
        How many axes each operand has.

    Returns
    -------
    operands : tuple of tuples
    result : tuple
        Without ``->`` an ellipsis first, then what occurs once, in the alphabet's order.

    Raises
    ------
    ValueError
        If it is no valid expression for such operands.
    """
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ndims):
        raise ValueError(
            f"einsum: {subscripts!r} has {len(terms)} operands, but {len(ndims)} are given"
        )
    operands = tuple(
        _axes(subscripts, term, ndim, f"operand {i}")
        for i, (term, ndim) in enumerate(zip(terms, ndims, strict=True))
    )
    named = [name for axes in operands for name in axes]
    dots = tuple(sorted({name for name in named if isinstance(name, int)}, reverse=True))
    if not arrow:
        letters = [name for name in named if name not in dots]
        return operands, (*dots, *sorted(name for name in set(letters) if letters.count(name) == 1))
    ndim = len(output.replace("...", "")) + (len(dots) if "..." in output else 0)
    result = _axes(subscripts, output, ndim, "the result")
    for name in result:
        if result.count(name) > 1:
            raise ValueError(f"einsum: {subscripts!r} names {name!r} twice in the result")
        if name not in named:
            raise ValueError(f"einsum: {subscripts!r} names {name!r} in the result alone")
    return operands, result


def _axes(subscripts, term, ndim, whose):
    """The names of the axes of one operand, or of the result."""
    before, dots, after = term.partition("...")
    wrong = sorted(set(before + after) - LETTERS)
    if wrong:
        raise ValueError(
            f"einsum: {subscripts!r} has {wrong[0]!r} in {whose}, but axes are named by letters, "
            f"and any number of them by one '...'"
        )
    count = len(before) + len(after)
    if count > ndim or (count < ndim and not dots):
        raise ValueError(
            f"einsum: {subscripts!r} names {count} axes of {whose}, which has {ndim} axes"
        )
    return (*before, *reversed(range(ndim - count)), *after)


def _check_sizes(subscripts, operands, shapes):
    """Raise unless each name means one size; where it stands in several operands, 1 fits any."""
    sizes = {}
    for axes, shape in zip(operands, shapes, strict=True):
        for name, n in zip(axes, shape, strict=True):
            own = shape[axes.index(name)]
            other = own if own != n else sizes.get(name, n)
            if other != n and (own != n or n != 1):
                raise ValueError(
                    f"einsum: {subscripts!r} with shapes {', '.join(map(str, shapes))}: sizes "
                    f"{other} and {n} of {name if isinstance(name, str) else '...'!r} differ"
                )
            if n != 1:
                sizes[name] = n


# ---- from the expression to ops -------------------------------------------------------------


class Plan:
    """Ops to be applied one after the other.

    Values are numbered, first those that are given; each op takes some of them and makes the
    next.  The last is the result.
    """

    def __init__(self, given):
        self.given = given
        self.steps = []

    def add(self, op, operands, attrs):
        """One more op; the number of the value that it makes."""
        self.steps.append((op, operands, attrs))
        return self.given + len(self.steps) - 1

    def run(self, values):
        """The result for these values, Tensors or Arrays."""
        values = list(values)
        for op, operands, attrs in self.steps:
            values.append(op(*[values[number] for number in operands], **attrs))
        return values[-1]


class Term:
    """A value of a plan, and what is known of it beforehand: the names of its axes, its shape."""

    def __init__(self, plan, number, names, shape):
        self.plan = plan
        self.number = number
        self.names = tuple(names)
        self.shape = tuple(shape)

    def lengths(self, names):
        """The lengths of these axes."""
        return tuple(self.shape[self.names.index(name)] for name in names)

    def then(self, op, attrs, names, shape, *others):
        """What an op makes of this term, and of others."""
        operands = [term.number for term in (self, *others)]
        return Term(self.plan, self.plan.add(op, operands, attrs), names, shape)

    def without_repetition(self):
        """Of two axes with the same name, the diagonal."""
        names = self.names
        name = next((name for name in names if names.count(name) > 1), None)
        if name is None:
            return self
        first = names.index(name)
        second = names.index(name, first + 1)
        rest = [i for i in range(len(names)) if i not in (first, second)]
        kept = [names[i] for i in rest] + [name]
        shape = [self.shape[i] for i in rest] + [self.shape[first]]
        axes = {"axis0": first, "axis1": second}
        return self.then(diagonal, axes, kept, shape).without_repetition()

    def summed(self, wanted):
        """Summed over all axes but these."""
        gone = tuple(i for i, name in enumerate(self.names) if name not in wanted)
        kept = [name for name in self.names if name in wanted]
        return self.then(sum_, {"axis": gone}, kept, self.lengths(kept)) if gone else self

    def ordered(self, names):
        """With all its axes in the order of these names."""
        order = tuple(self.names.index(name) for name in names)
        if order == tuple(range(len(order))):
            return self
        return self.then(permute, {"axes": order}, names, self.lengths(names))

    def named(self, names, shape):
        """The same elements with other axes."""
        if self.shape == tuple(shape):
            return Term(self.plan, self.number, names, shape)
        return self.then(reshape, {"shape": tuple(shape)}, names, shape)

    def dropped(self, gone):
        """Without these axes, which have length 1."""
        kept = [name for name in self.names if name not in gone]
        return self.named(kept, self.lengths(kept))


@lru_cache(maxsize=1024)
def lower(subscripts, shapes, is_float):
    """The plan of an expression, for operands of these shapes."""
    operands, result = parse(subscripts, tuple(map(len, shapes)))
    _check_sizes(subscripts, operands, shapes)
    plan = Plan(len(shapes))
    term, *pending = [
        Term(plan, number, names, shape).without_repetition()
        for number, (names, shape) in enumerate(zip(operands, shapes, strict=True))
    ]
    while pending:  # from left to right
        other = pending.pop(0)
        wanted = {*result, *[name for later in pending for name in later.names]}
        term = _contract(term, other, wanted, is_float)
    term.summed(result).ordered(result)
    return plan


def _contract(x, y, wanted, is_float):
    """Two terms as one: their product, summed over what is not wanted any more."""
    x_lengths, y_lengths = dict(zip(x.names, x.shape)), dict(zip(y.names, y.shape))
    unlike = [name for name, n in x_lengths.items() if y_lengths.get(name, n) != n]
    # where one is 1 and the other is not, the one has the same value all along: it needs no axis
    x = x.dropped([name for name in unlike if x_lengths[name] == 1])
    y = y.dropped([name for name in unlike if y_lengths[name] == 1])
    x, y = x.summed(wanted | set(y.names)), y.summed(wanted | set(x.names))

    both = [name for name in x.names if name in y.names]
    batch = [name for name in both if name in wanted]
    gone = [name for name in both if name not in wanted]
    rows = [name for name in x.names if name not in both]
    columns = [name for name in y.names if name not in both]
    across, down, along = x.lengths(batch), x.lengths(rows), y.lengths(columns)
    names, shape = (*batch, *rows, *columns), (*across, *down, *along)

    by_row = x.ordered([*batch, *rows, *gone])
    if not gone:
        by_row = by_row.named(names, (*across, *down, *[1] * len(along)))
        by_column = y.ordered([*batch, *columns])
        by_column = by_column.named(names, (*across, *[1] * len(down), *along))
        return by_row.then(mul, {}, names, shape, by_column)
    m, n, k = prod(down), prod(along), prod(x.lengths(gone))
    if is_float:
        axes = (*batch, "m", "n")
        by_row = by_row.named(axes, (*across, m, k))
        by_column = y.ordered([*batch, *gone, *columns]).named(axes, (*across, k, n))
        z = by_row.then(matmul, {}, axes, (*across, m, n), by_column)
    else:  # of which there is no matrix product
        axes = (*batch, "m", "n", "k")
        by_row = by_row.named(axes, (*across, m, 1, k))
        by_column = y.ordered([*batch, *columns, *gone]).named(axes, (*across, 1, n, k))
        z = by_row.then(mul, {}, axes, (*across, m, n, k), by_column)
        z = z.then(sum_, {"axis": -1}, axes[:-1], (*across, m, n))
    return z.named(names, shape)


def _einsum(*xs, subscripts):
    if not isinstance(subscripts, str):
        raise TypeError("einsum: write einsum('ij,jk->ik', x, y): the expression comes first")
    return lower(subscripts, tuple([x.shape for x in xs]), xs[0].dtype.is_float).run(xs)


# ---- the record -----------------------------------------------------------------------------


def _sample_einsum(random):
    letters = "ijkl"[: random.randint(1, 4)]
    sizes = {name: random.randint(1, 3) for name in letters}
    dots = tuple(random.randint(1, 2) for _ in range(random.randint(0, 2)))
    terms, xs = [], []
    for _ in range(random.choice([1, 2, 2, 3])):
        names = [random.choice(letters) for _ in range(random.randint(0, 3))]
        shape = [
            1 if names.count(name) == 1 and random.random() < 0.1 else sizes[name] for name in names
        ]
        if random.random() < 0.3:
            place = random.randint(0, len(names))
            shape[place:place] = nested.draw_part(random, dots)
            names.insert(place, "...")
        terms.append("".join(names))
        xs.append(nested.draw_numbers(random, shape))
    subscripts = ",".join(terms)
    if random.random() < 0.8:
        used = sorted({name for term in terms for name in term} - {"."})
        result = random.sample(used, random.randint(0, len(used)))
        if "..." in subscripts and random.random() < 0.8:
            result.insert(random.randint(0, len(result)), "...")
        subscripts += "->" + "".join(result)
    return xs, {"subscripts": subscripts}


def _reference_einsum(*xs, subscripts):
    """The sum over every index, with digits in the place of the ellipsis."""
    inputs, arrow, output = subscripts.partition("->")
    shapes = [nested.shape(x) for x in xs]
    terms, dots = [], ""
    for term, shape in zip(inputs.split(","), shapes, strict=True):
        own = "9876543210"[10 - (len(shape) - len(term.replace("...", ""))) :]
        dots = max(dots, own, key=len)
        terms.append(term.replace("...", own))
    if not arrow:
        letters = "".join(terms)
        once = [name for name in sorted(set(letters)) if letters.count(name) == 1]
        output = "..." + "".join(name for name in once if name.isalpha())
    output = output.replace("...", dots)
    sizes = {}
    for name, n in [pair for term, shape in zip(terms, shapes) for pair in zip(term, shape)]:
        sizes[name] = max(n, sizes.get(name, 1))
    summed = [name for name in sizes if name not in output]

    def one(place):
        terms_of_sum = []
        for others in product(*[range(sizes[name]) for name in summed]):
            index = {**dict(zip(output, place)), **dict(zip(summed, others))}
            factors = [
                nested.at(x, [0 if n == 1 else index[name] for name, n in zip(term, shape)])
                for x, term, shape in zip(xs, terms, shapes)
            ]
            terms_of_sum.append(reduce(lambda a, b: a * b, factors))
        return sum(terms_of_sum)

    return nested.build([sizes[name] for name in output], one)


class Einsum(Composed):
    """einsum("ij,jk->ik", x, y): the op of which the expression comes first."""

    def __call__(self, *inputs, **attrs):
        if inputs and isinstance(inputs[0], str):
            attrs["subscripts"], inputs = inputs[0], inputs[1:]
        return super().__call__(*inputs, **attrs)


einsum = register(
    Einsum(
        "einsum",
        "*xs",
        _einsum,
        attrs={"subscripts": None},
        promotes=1,
        sample=_sample_einsum,
        reference=_reference_einsum,
        conventions="einsum('bij,bjk->bik', x, y): what the result does not name is summed over; a "
        "letter twice in an operand is its diagonal; without '->' the result has what occurs once, "
        "in the alphabet's order; '...' stands for any number of axes, which broadcast, and is "
        "summed over like a letter if the result lacks it, as in PyTorch; size 1 fits any; "
        "operands are multiplied from left to right",
    )
)


# ---- a form of two vectors ------------------------------------------------------------------


def _bilinear(x1, x2, w, b):
    shapes = f"x1 is {x1.shape}, x2 is {x2.shape}, w is {w.shape} and b is {b.shape}"
    if len(w.shape) != 3 or b.shape != w.shape[:1]:
        raise ValueError(f"bilinear: {shapes}: w must be (outputs, inputs1, inputs2), b (outputs,)")
    if (
        x1.shape[-1:] != w.shape[1:2]
        or x2.shape[-1:] != w.shape[2:]
        or x1.shape[:-1] != x2.shape[:-1]
    ):
        raise ValueError(
            f"bilinear: {shapes}: x1 must be (..., {w.shape[1]}) and x2 (..., {w.shape[2]})"
        )
    return einsum(x1, w, x2, subscripts="...i,oij,...j->...o") + b


def _sample_bilinear(random):
    lead = nested.draw_shape(random, most=2, empty=False)
    i, j, n = [random.randint(1, 3) for _ in range(3)]
    shapes = [(*lead, i), (*lead, j), (n, i, j), (n,)]
    return [nested.draw_numbers(random, shape) for shape in shapes], {}


def _reference_bilinear(x1, x2, w, b):
    if isinstance(x1[0], list):
        return [_reference_bilinear(p, q, w, b) for p, q in zip(x1, x2, strict=True)]
    return [
        sum(p * v * q for p, row in zip(x1, form) for v, q in zip(row, x2)) + c
        for form, c in zip(w, b)
    ]


bilinear = composed(
    "bilinear",
    "x1 x2 w b",
    forward=_bilinear,
    promotes=1,
    sample=_sample_bilinear,
    reference=_reference_bilinear,
    conventions="x1 @ w[k] @ x2 + b[k] for each k: w is (outputs, inputs1, inputs2), as in PyTorch",
)
