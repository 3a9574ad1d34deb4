"""State: named tensors that are saved and put back, all of them or none."""

from .graph import no_grad
from .tensor import Tensor


def restore(owner, kept, given):
    """Copy the values of `given` into the tensors of `kept`, if they match in every respect.

    Parameters
    ----------
    owner : str
        Whose state it is, for the message.
    kept : dict from str to Tensor
        Where the values go; written to in place.
    given : dict from str to Tensor or NumPy array
        With the same names, shapes and dtypes.

    Raises
    ------
    TypeError
        If `given` is no dict.
    ValueError
        If anything differs; the message lists all of it, and nothing has been written.
    """
    if not hasattr(given, "keys"):
        raise TypeError(f"{owner}: a state is a dict, as state_dict() returns, not {given!r}")
    values, differences = {}, []
    for name in given.keys():
        if name in kept:
            try:
                values[name] = _as_tensor(given[name])
            except (TypeError, ValueError) as error:
                differences.append(f"{name}: {error}")
    differences += [f"missing: {name}" for name in kept if name not in given.keys()]
    differences += [f"not expected: {name}" for name in given.keys() if name not in kept]
    for name, value in values.items():
        here = kept[name]
        if value.shape != here.shape:
            differences.append(f"{name}: shape {value.shape}, but {here.shape} is needed")
        elif value.dtype is not here.dtype:
            differences.append(f"{name}: dtype {value.dtype}, but {here.dtype} is needed")
    if differences:
        shown = differences[:20]
        if len(differences) > len(shown):
            shown.append(f"and {len(differences) - len(shown)} more")
        raise ValueError(f"{owner}: the state does not fit:\n  " + "\n  ".join(shown))
    with no_grad():
        for name, value in values.items():
            kept[name].copy_(value)


def _as_tensor(value):
    if hasattr(value, "keys"):
        raise TypeError("a dict, but a Tensor is needed")
    return value if isinstance(value, Tensor) else Tensor(value)
