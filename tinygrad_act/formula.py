"""One formula, many readers.

The records in ``ops/`` state functions and derivatives as formulas, such as
``lambda x, y: (1 - y) * (1 + y)``.  What ``-``, ``*`` or ``exp`` do there depends on
what they are given: a Tensor, and the op is recorded; an Array, and the kernel
runs; a Scalar; a plain number, which follows IEEE and never raises; or, in the
tests, a number of arbitrary precision.  This file is that dispatch and nothing else.
"""

import threading

REGISTRY = {}  # name -> Op; filled by op.register

INTERPRETERS = {}  # type of a value -> function (op, inputs, attrs)


def interpreter(kind):
    """Decorator: the function (op, inputs, attrs) applies an op to values of `kind`.

    The attributes that it gets are complete.
    """

    def enter(function):
        INTERPRETERS[kind] = function
        return function

    return enter


def interpreter_of(inputs):
    """The function that applies ops to the first of `inputs` that is no plain number, or None."""
    for x in inputs:
        kind = type(x)
        if kind not in INTERPRETERS:  # a subclass, or not one of ours: remember which
            bases = [base for base in kind.__mro__ if INTERPRETERS.get(base)]
            INTERPRETERS[kind] = INTERPRETERS[bases[0]] if bases else None
        interpret = INTERPRETERS[kind]
        if interpret is not None:
            return interpret
    return None


class Constant(float):
    """A number of more digits than a float holds: ``Constant("3.14159265358979323846")``.

    It is a float like any other, but where a formula is read in arbitrary precision, all of
    its digits count.
    """

    __slots__ = ("digits",)

    def __new__(cls, digits):
        self = super().__new__(cls, digits)
        self.digits = digits
        return self


class _Formula(threading.local):
    dtype = None


formula = _Formula()


def evaluate(function, dtype, *args, **attrs):
    """Evaluate a record's formula; a number that meets only numbers takes this dtype.

    Otherwise ``where(x > 0, 1, slope)`` would not know in which precision to
    store the slope: there is no array among the two to take it from.
    """
    before, formula.dtype = formula.dtype, dtype
    try:
        return function(*args, **attrs)
    finally:
        formula.dtype = before


class Value:
    """The operators of everything that a formula can be evaluated on."""

    __slots__ = ()

    def __neg__(self):
        return REGISTRY["neg"](self)

    def __abs__(self):
        return REGISTRY["abs"](self)

    def __add__(self, other):
        return REGISTRY["add"](self, other)

    def __radd__(self, other):
        return REGISTRY["add"](other, self)

    def __sub__(self, other):
        return REGISTRY["sub"](self, other)

    def __rsub__(self, other):
        return REGISTRY["sub"](other, self)

    def __mul__(self, other):
        return REGISTRY["mul"](self, other)

    def __rmul__(self, other):
        return REGISTRY["mul"](other, self)

    def __truediv__(self, other):
        return REGISTRY["div"](self, other)

    def __rtruediv__(self, other):
        return REGISTRY["div"](other, self)

    def __mod__(self, other):
        return REGISTRY["remainder"](self, other)

    def __rmod__(self, other):
        return REGISTRY["remainder"](other, self)

    def __pow__(self, other):
        return REGISTRY["pow"](self, other)

    def __rpow__(self, other):
        return REGISTRY["pow"](other, self)

    def __eq__(self, other):
        return REGISTRY["eq"](self, other)

    def __ne__(self, other):
        return REGISTRY["ne"](self, other)

    __hash__ = object.__hash__  # by identity, since == compares elements

    def __lt__(self, other):
        return REGISTRY["lt"](self, other)

    def __le__(self, other):
        return REGISTRY["le"](self, other)

    def __gt__(self, other):
        return REGISTRY["gt"](self, other)

    def __ge__(self, other):
        return REGISTRY["ge"](self, other)
