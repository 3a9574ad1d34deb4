"""Random small programs of many ops: captured they have the bits of eager mode, and their
gradients are those of finite differences.

A program is a list of instructions, each a name and three numbers.  The numbers choose operands
among the values there are, an axis, a place; so every list is a program, whatever the shapes, and
Hypothesis can make one that fails shorter.
"""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import same_bits
from strategies import BINARY, ELEMENTWISE, isas
from test_capture import bits, in_turn

import tinygrad_act as tga
from tinygrad_act import Tensor, capture, no_grad, use_isa

SHAPES = [(), (3,), (2, 3), (3, 3), (1, 3), (2, 1), (2, 3, 2)]  # of the leaves
LARGEST = 200  # elements of a value

# ---- instructions: functions (x, values, j, k) -> value ---------------------------------------


def within(x, domain):
    """A value brought to where an op is defined, whatever it was."""
    low, high = domain
    return x if isinstance(x, float) else low + (high - low) * x.sigmoid()


def elementwise(op):
    is_anywhere = op.domain == (-8.0, 8.0)
    return lambda x, values, j, k: op(x if is_anywhere and k % 2 else within(x, op.domain))


def binary(op):
    def apply(x, values, j, k):
        pair = [x, 0.5 + j / 4 if k % 3 == 0 else fitting(values, x, j)]
        if k % 2:
            pair.reverse()
        given = zip(pair, op.domain, strict=True)
        return op(*[v if domain == (-8.0, 8.0) else within(v, domain) for v, domain in given])

    return apply


def fitting(values, x, j):
    """A value with which x broadcasts: x itself is one."""

    def fits(y):
        return all(1 in (a, b) or a == b for a, b in zip(x.shape[::-1], y.shape[::-1]))

    found = [y for y in values if fits(y)]
    return found[j % len(found)]


def matrix(x):
    return x.reshape(-1, x.shape[-1] if x.ndim else 1)


def product(x, values, j, k):
    x = matrix(x)
    found = [y for y in map(matrix, values) if y.shape[0] == x.shape[1]]
    return x @ [*found, x.T][j % (len(found) + 1)]


def layer(x, values, j, k):
    x = matrix(x)
    found = [w for w in map(matrix, values) if w.shape[1] == x.shape[1]]
    w = found[j % len(found)]
    y = x.linear(w, w.sum(axis=1) * 0.25)
    return [y, y.tanh(), y.sigmoid()][k % 3]


def reduction(op):
    def apply(x, values, j, k):
        axis = j % x.ndim if x.ndim and k % 3 else None
        return op(x, axis=axis, keepdims=bool(k % 2))

    return apply


def along(op):
    return lambda x, values, j, k: op(x, axis=j % x.ndim) if x.ndim else x


def like(function):
    """Of two values of one shape."""

    def apply(x, values, j, k):
        found = [y for y in values if y.shape == x.shape]
        return function(x, found[j % len(found)])

    return apply


MOVES = {
    "T": lambda x, j: x.T,
    "flat": lambda x, j: x.reshape(-1),
    "turned": lambda x, j: x.T.reshape(x.shape),  # no view
    "unsqueeze": lambda x, j: x.unsqueeze(j % (x.ndim + 1)),
    "squeeze": lambda x, j: x.squeeze(),
    "first": lambda x, j: x[0] if x.ndim else x,
    "last column": lambda x, j: x[..., -1] if x.ndim else x,
    "rest": lambda x, j: x[x.shape[0] // 2 :] if x.ndim else x,
    "backwards": lambda x, j: x[..., ::-1] if x.ndim else x,
    "rows": lambda x, j: x[[0, -1, 0]] if x.ndim else x,
    "expand": lambda x, j: x.expand(2, *x.shape),
    "roll": lambda x, j: x.roll(1, j % x.ndim) if x.ndim else x,
    "flip": lambda x, j: x.flip(j % x.ndim) if x.ndim else x,
    "repeat": lambda x, j: x.repeat(2, j % x.ndim) if x.ndim else x,
    "pad": lambda x, j: x.pad(1),
    "tril": lambda x, j: x.tril() if x.ndim > 1 else x,
    "clone": lambda x, j: x.clone(),
    "half": lambda x, j: x * 0.5,
}

SMOOTH = {
    **{op.name: elementwise(op) for op in ELEMENTWISE if not op.kinks},
    **{op.name: binary(op) for op in BINARY if not op.ties},
    **{op.name: reduction(op) for op in (tga.sum, tga.mean, tga.prod, tga.logsumexp, tga.var)},
    **{op.name: along(op) for op in (tga.softmax, tga.log_softmax, tga.cumsum)},
    **{name: lambda x, values, j, k, move=move: move(x, j) for name, move in MOVES.items()},
    "matmul": product,
    "linear": layer,
    "mse": like(tga.mse),
    "stack": like(lambda x, y: tga.stack(x, y)),
    "concat": like(lambda x, y: tga.concat(x, y) if x.ndim else x),
}
ALL = {
    **SMOOTH,
    **{op.name: elementwise(op) for op in ELEMENTWISE if op.kinks},
    **{op.name: binary(op) for op in BINARY if op.ties},
    **{op.name: reduction(op) for op in (tga.amax, tga.min, tga.norm)},
    "sort": along(tga.sort),
    "where": like(lambda x, y: tga.where(x > y, x, 1.0)),
    "detach": lambda x, values, j, k: x.detach(),
}


def run(program, leaves):
    """The values that a program computes, the leaves first."""
    values = list(leaves)
    for name, i, j, k in program:
        x = values[-1 - i % len(values)]  # 0 is the newest
        y = ALL[name](x, values, j, k)
        if 0 < y.size <= LARGEST and y.ndim <= 4:
            values.append(y)
    return values


def cost(values):
    """One number that depends on the two newest values."""
    return values[-1].sum() + (values[-2] * 0.5).mean()


small = st.integers(0, 11)


def programs(instructions):
    names = st.sampled_from(sorted(instructions))
    return st.lists(st.tuples(names, small, small, small), min_size=2, max_size=10)


def leaves_of(seed, dtype):
    """One leaf of each shape; the same for the same seed."""
    random = np.random.default_rng(seed)
    values = [random.normal(size=shape) for shape in SHAPES]
    return [Tensor(x, dtype=dtype, requires_grad=True) for x in values]


# ---- what must hold ---------------------------------------------------------------------------


def training_step(program, leaves):
    def step():
        for x in leaves:
            x.grad = None
        values = run(program, leaves)
        loss = cost(values)
        if loss.requires_grad:
            loss.backward()
        with no_grad():
            for x in leaves:
                if x.grad is not None:
                    x -= x.grad * 0.03125
        return [loss, *values[-2:]]

    return step


@settings(max_examples=settings().max_examples * 8)
@given(programs(ALL), st.integers(0, 99), st.sampled_from(["float32", "float64"]), isas)
def test_captured_programs_have_the_bits_of_eager_ones(program, seed, dtype, isa):
    with use_isa(isa):
        eager, replayed = leaves_of(seed, dtype), leaves_of(seed, dtype)
        expected = in_turn(training_step(program, eager), 3)
        found = capture(training_step(program, replayed)).replay(3)
    assert all(same_bits(x, y.numpy()) for x, y in zip(expected, found, strict=True))
    assert bits(eager) == bits(replayed)
    assert bits(x.grad for x in eager) == bits(x.grad for x in replayed)


@settings(max_examples=settings().max_examples * 5)
@given(programs(SMOOTH), st.integers(0, 99))
def test_gradients_of_programs_are_those_of_differences(program, seed):
    """Along one direction; the difference for two steps tells how far off it may be."""
    leaves = leaves_of(seed, "float64")
    values = run(program, leaves)
    largest = np.max([np.abs(x.numpy()).max() for x in values])
    assume(largest < 1e3)  # and is no nan
    directions = [Tensor(np.sign(x.numpy()[..., ::-1] if x.ndim else 1.0)) for x in leaves]
    gradients = tga.grad(cost(values), leaves)
    slope = sum((g * v.reshape(g.shape)).sum().item() for g, v in zip(gradients, directions))

    def difference(h):
        with no_grad():
            ends = [
                cost(run(program, [x + s * v for x, v in zip(leaves, directions)])).item()
                for s in (h, -h)
            ]
        return (ends[0] - ends[1]) / (2 * h)

    near, far = difference(1e-5), difference(2e-5)
    slack = abs(near - far) + 1e-7 * (largest + abs(slope))
    assert abs(slope - near) <= slack
