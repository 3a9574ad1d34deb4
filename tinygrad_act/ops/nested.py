"""Nested lists: arrays of numbers of any kind, slow and plain.

The references in the records are textbook loops over them, and the samples are drawn as
them.  A 0-d array is the number itself.  Of an array without elements only the axes before
the empty one can be told from the lists, so drawn shapes have a 0 in the last place only.
"""

from itertools import product
from math import prod

# ---- reading and building -------------------------------------------------------------------


def shape(x):
    """The length of each axis."""
    lengths = []
    while isinstance(x, list):
        lengths.append(len(x))
        if not x:
            break
        x = x[0]
    return tuple(lengths)


def indices(shape):
    """Every index of an array, in C order."""
    return product(*map(range, shape))


def at(x, index):
    """The element at an index, a tuple of integers."""
    for i in index:
        x = x[i]
    return x


def build(shape, value, index=()):
    """The array of a shape whose element at `index` is ``value(index)``."""
    if not shape:
        return value(index)
    return [build(shape[1:], value, (*index, i)) for i in range(shape[0])]


def flat(x):
    """The elements in C order, as one list."""
    return [item for row in x for item in flat(row)] if isinstance(x, list) else [x]


def nest(items, shape):
    """The array of a shape with these elements in C order."""
    remaining = iter(items)
    return build(shape, lambda index: next(remaining))


def broadcast(*shapes):
    """The shape in which all of them meet."""
    ndim = max(map(len, shapes))
    padded = [(1,) * (ndim - len(one)) + tuple(one) for one in shapes]
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*padded, strict=True))


def repeat(x, to):
    """The array repeated over a larger shape."""
    own = shape(x)
    lead = len(to) - len(own)
    return build(to, lambda index: at(x, [0 if n == 1 else i for i, n in zip(index[lead:], own)]))


def mapped(function, *arrays):
    """The function of the elements of several arrays, whose shapes meet by broadcasting."""
    to = broadcast(*map(shape, arrays))
    spread = [repeat(x, to) for x in arrays]
    return build(to, lambda index: function(*[at(x, index) for x in spread]))


# ---- drawing --------------------------------------------------------------------------------


def draw_shape(random, least=0, most=3, empty=True):
    """From `least` to `most` axes of length 1 to 4; the last may be of length 0."""
    drawn = [random.randint(1, 4) for _ in range(random.randint(least, most))]
    if drawn and empty and random.random() < 0.1:
        drawn[-1] = 0
    return tuple(drawn)


def draw_part(random, shape):
    """A shape that broadcasts to `shape`: some axes are 1, some of the first are not there."""
    part = [1 if random.random() < 0.3 else n for n in shape]
    return tuple(part[random.choice([0, 0, random.randint(0, len(part))]) :])


def draw_numbers(random, shape, low=-2.0, high=2.0):
    """Numbers between two bounds, in steps of 1/1024: every precision holds them exactly."""
    steps = range(round(low * 1024), round(high * 1024) + 1)
    return nest([random.choice(steps) / 1024 for _ in range(prod(shape))], shape)


def draw_distinct(random, shape):
    """Numbers that differ by at least 1/8 from each other, in random order."""
    count = prod(shape)
    return nest(random.sample([(i - count // 2) / 8 for i in range(count)], count), shape)


def draw_bools(random, shape):
    """True and False."""
    return nest([random.random() < 0.5 for _ in range(prod(shape))], shape)


def draw_axis(random, ndim):
    """One of the axes, counted from the front or from the back."""
    return random.randrange(-ndim, ndim)


def draw_axes(random, ndim):
    """None, an axis, or a tuple of several: what reductions take."""
    if ndim == 0 or random.random() < 0.2:
        return random.choice([None, ()]) if ndim == 0 else None
    if random.random() < 0.4:
        return draw_axis(random, ndim)
    chosen = random.sample(range(ndim), random.randint(1, ndim))
    return tuple(axis - random.choice([0, ndim]) for axis in chosen)
