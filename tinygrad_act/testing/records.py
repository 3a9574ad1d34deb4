"""A whole record against itself: value, derivative and second derivative."""

from random import Random

from ..tensor import Tensor
from .differences import gradcheck, gradgradcheck


def check_op(op, examples=20, seed=0, rtol=1e-9, atol=1e-9):
    """Compare what an op computes with its reference, and its derivatives with differences.

    The inputs are those that the record's `sample` draws, in float64.  An op whose rules are
    all None has its values compared alone.

    Parameters
    ----------
    op : Op
        With `sample` and `reference`, see `General`.
    examples : int
        How many samples to draw.  Default: 20.
    seed : int
        Which ones.  Default: 0.
    rtol, atol : float
        A value v may be off the reference r by ``atol + rtol * |r|``.

    Returns
    -------
    bool
        True; a difference raises.

    Raises
    ------
    AssertionError
        Where two differ; it shows the inputs.
    TypeError
        If the record has no sample or no reference.
    """
    if getattr(op, "sample", None) is None or getattr(op, "reference", None) is None:
        raise TypeError(f"check_op: {op!r} needs a sample and a reference")
    random = Random(seed)
    for _ in range(examples):
        inputs, attrs = op.sample(random)
        call = lambda *xs, attrs=attrs: op(*xs, **attrs)
        rules = op.vjp if isinstance(op.vjp, tuple) else [True] * len(inputs)
        leaves = [_leaf(x, bool(rule)) for x, rule in zip(inputs, rules, strict=True)]
        try:
            _compare(call(*leaves), op.reference(*inputs, **attrs), rtol, atol)
            if call(*leaves).requires_grad:
                gradcheck(call, leaves)
                gradgradcheck(call, leaves)
        except AssertionError as error:
            given = ", ".join(map(repr, inputs))
            raise AssertionError(f"check_op: {op.name} of {given}, {attrs}: {error}") from None
    return True


def _leaf(x, has_rule):
    """A nested list as a Tensor; floats require a gradient, integers and bools cannot."""
    kinds = {type(item) for item in _flat(x)}
    if kinds and kinds <= {bool, int}:
        return Tensor(x, dtype="bool" if kinds == {bool} else "int64")
    return Tensor(x, dtype="float64", requires_grad=has_rule)


def _compare(y, expected, rtol, atol):
    expected = list(_flat(expected))
    if y.size != len(expected):
        raise AssertionError(f"there are {y.size} elements, but {len(expected)} in the reference")
    for place, (got, wanted) in enumerate(zip(y.reshape(-1).tolist(), expected)):
        same = got == wanted or (got != got and wanted != wanted)
        if not same and not abs(got - wanted) <= atol + rtol * abs(wanted):
            raise AssertionError(f"element {place} is {got!r}, but {wanted!r} in the reference")


def _flat(x):
    for item in x if isinstance(x, (list, tuple)) else [x]:
        yield from _flat(item) if isinstance(item, (list, tuple)) else [item]
