"""What a caller gives, checked: each function returns the value, or says what is wrong with it.

The messages begin with `owner`, the name of what was called, and with the name of the argument.
"""

from math import inf
from numbers import Real

from .array import is_whole
from .dtype import as_dtype


def whole(owner, name, value, least=None):
    """An integer, at least `least`.

    Raises
    ------
    TypeError
        If it is none; bools are none.
    ValueError
        If it is below.
    """
    wanted = "a whole number" if least is None else f"a whole number of at least {least}"
    if not is_whole(value):
        raise TypeError(f"{owner}: {name} must be {wanted}, not {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{owner}: {name} must be {wanted}, not {value}")
    return int(value)


def number(owner, name, value, least=-inf, most=inf):
    """A float from `least` to `most`.

    Raises
    ------
    TypeError
        If it is no number; bools and tensors are none.
    ValueError
        If it lies outside, or is nan.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{owner}: {name} must be a number, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{owner}: {name} is {value}, but must {_range(least, most)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{owner}: {name} is too large for a float") from None


def _range(least, most):
    if (least, most) == (-inf, inf):
        return "be a number"
    if most == inf:
        return f"be at least {least}"
    return f"be from {least} to {most}"


def flag(owner, name, value):
    """True or False; TypeError for anything else, since it may have been meant for another."""
    if not isinstance(value, bool):
        raise TypeError(f"{owner}: {name} must be True or False, not {value!r}")
    return value


def function(owner, name, value):
    """Something that can be called; else TypeError."""
    if not callable(value):
        raise TypeError(f"{owner}: {name} must be a function, not {value!r}")
    return value


def float_dtype(owner, value):
    """float32 or float64, from a DType or a name; else TypeError."""
    try:
        dtype = as_dtype(value)
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or not dtype.is_float:
        raise TypeError(f"{owner}: dtype must be float32 or float64, not {value!r}")
    return dtype
