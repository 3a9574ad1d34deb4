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


# ---- computing it ---------------------------------------------------------------------------


def _einsum(*xs, subscripts):
    if not isinstance(subscripts, str):
        raise TypeError("einsum: write einsum('ij,jk->ik', x, y): the expression comes first")
    shapes = [x.shape for x in xs]
    operands, result = parse(subscripts, tuple(map(len, shapes)))
    _check_sizes(subscripts, operands, shapes)
    pending = [Term(x, axes) for x, axes in zip(xs, operands, strict=True)]
    term = pending.pop(0).without_repetition()
    term = term.summed({*result, *[name for other in pending for name in other.axes]})
    while pending:  # from left to right
        other = pending.pop(0).without_repetition()
        wanted = {*result, *[name for later in pending for name in later.axes]}
        term = _contract(term, other, wanted)
    return term.ordered(result)


class Term:
    """A tensor or array x, and the names of its axes."""

    def __init__(self, x, axes):
        self.x = x
        self.axes = tuple(axes)

    def sizes(self, names):
        """The lengths of these axes."""
        return [self.x.shape[self.axes.index(name)] for name in names]

    def without_repetition(self):
        """Of axes with the same name, the diagonal."""
        x, axes = self.x, list(self.axes)
        while len(set(axes)) < len(axes):
            name = next(name for name in axes if axes.count(name) > 1)
            first = axes.index(name)
            second = axes.index(name, first + 1)
            x = diagonal(x, axis0=first, axis1=second)
            axes = [other for i, other in enumerate(axes) if i not in (first, second)] + [name]
        return Term(x, axes)

    def summed(self, kept):
        """Summed over all axes but these."""
        gone = tuple(i for i, name in enumerate(self.axes) if name not in kept)
        if not gone:
            return self
        return Term(sum_(self.x, axis=gone), [name for name in self.axes if name in kept])

    def dropped(self, names):
        """Without these axes, which have length 1."""
        kept = [name for name in self.axes if name not in names]
        return Term(_reshaped(self.x, tuple(self.sizes(kept))), kept)

    def ordered(self, names):
        """The array with its axes in the order of these names."""
        order = tuple(self.axes.index(name) for name in names)
        return self.x if order == tuple(range(len(order))) else permute(self.x, axes=order)

    def grouped(self, *groups):
        """The array with one axis for each group of names."""
        names = [name for group in groups for name in group]
        return self.shaped(names, [prod(self.sizes(group)) for group in groups])

    def shaped(self, names, shape):
        """The array with its axes in the order of these names, and then in another shape."""
        return _reshaped(self.ordered(names), tuple(shape))


def _reshaped(x, shape):
    return x if x.shape == shape else reshape(x, shape=shape)


def _contract(x, y, wanted):
    """Two terms as one: their product, summed over what is not wanted any more."""
    x_sizes, y_sizes = dict(zip(x.axes, x.x.shape)), dict(zip(y.axes, y.x.shape))
    unlike = {name for name in x_sizes if y_sizes.get(name, x_sizes[name]) != x_sizes[name]}
    # where one is 1 and the other is not, the one has the same value all along: it needs no axis
    x = x.dropped({name for name in unlike if x_sizes[name] == 1})
    y = y.dropped({name for name in unlike if y_sizes[name] == 1})
    x = x.summed(wanted | set(y.axes))
    y = y.summed(wanted | set(x.axes))

    both = [name for name in x.axes if name in y.axes]
    batch = [name for name in both if name in wanted]
    gone = [name for name in both if name not in wanted]
    rows = [name for name in x.axes if name not in both]
    columns = [name for name in y.axes if name not in both]
    axes = (*batch, *rows, *columns)
    across, down, along = x.sizes(batch), x.sizes(rows), y.sizes(columns)
    if not gone:
        by_row = x.shaped([*batch, *rows], [*across, *down, *[1] * len(along)])
        by_column = y.shaped([*batch, *columns], [*across, *[1] * len(down), *along])
        return Term(by_row * by_column, axes)
    if not x.x.dtype.is_float:  # of which there is no matrix product
        by_row, by_column = x.grouped(batch, rows, (), gone), y.grouped(batch, (), columns, gone)
        z = sum_(by_row * by_column, axis=-1)
    elif batch:
        z = matmul(x.grouped(batch, rows, gone), y.grouped(batch, gone, columns))
    else:
        z = matmul(x.grouped(rows, gone), y.grouped(gone, columns))
    return Term(_reshaped(z, (*across, *down, *along)), axes)


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
