"""Checkpoints: named tensors in one file, which is whole or not there.

A file is first written beside its place and then moved there, so that whoever is killed in
between leaves the former one as it was.  No file is a pickle: reading one runs no code.
"""

import os
import zipfile
import zlib
from pathlib import Path

from .tensor import Tensor

_SAVED = ("float32", "float64", "int64", "bool", "uint8")  # the dtypes


def save(path, state):
    """Write a state to a file, in place of the one that may be there.

    Parameters
    ----------
    path : str or path
        Ending with .npz, or with .safetensors for that format (extra ``safetensors``).
    state : dict
        From str to Tensor, NumPy array, number, list of numbers, or another such dict.

    Raises
    ------
    TypeError, ValueError
        For other values, a name with "/" in it, or another ending.

    Examples
    --------
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/net.npz"
    >>> save(path, {"net": {"w": Tensor([1.0, 2.0])}, "epoch": 3})
    >>> state = load(path)
    >>> state["net"]["w"].tolist(), state["epoch"].item()
    ([1.0, 2.0], 3)
    """
    path = Path(path)
    write = _formats(path)[0]
    arrays = dict(_flat(state, ""))
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            write(file, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)  # the new name, too, must reach the disk
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path):
    """The state in a file that `save` wrote, as nested dicts from str to Tensor.

    Numbers and lists come back as tensors, of int64 or float64.  A file that another program
    wrote is taken, too, if it holds arrays of our dtypes, in either order of bytes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or no such file, or holds anything but arrays of our dtypes.
    """
    path = Path(path)
    read = _formats(path)[1]
    state = {}
    for name, array in read(path).items():
        *outer, last = name.split("/")
        place = state
        for part in outer:
            place = place.setdefault(part, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last in place:
            raise ValueError(f"load: {path}: {name!r} is an array, and part of another's name")
        place[last] = _loaded(path, name, array)
    return state


def _loaded(path, name, array):
    """The Tensor of what stands in a file under a name."""
    dtype = getattr(array, "dtype", None)
    if dtype is None or dtype.name not in _SAVED:
        found = "no array" if dtype is None else f"of dtype {dtype.name}"
        raise ValueError(f"load: {path}: {name!r} is {found}, but must be {', '.join(_SAVED)}")
    return Tensor(array.astype(dtype.newbyteorder("="), copy=False))


def _flat(state, prefix):
    import numpy

    for name, value in state.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f'save: a name must be a str without "/", not {name!r}')
        path = prefix + name
        if isinstance(value, dict):
            yield from _flat(value, f"{path}/")
            continue
        if isinstance(value, Tensor):
            value = value.numpy()
        elif not isinstance(value, (numpy.ndarray, numpy.generic)):
            value = numpy.array(value)
        if value.dtype.name not in _SAVED:
            raise TypeError(f"save: {path} is of dtype {value.dtype}, which cannot be saved")
        native = value.dtype.newbyteorder("=")  # as `load` takes it, whoever wrote it
        yield path, numpy.ascontiguousarray(value, native).reshape(value.shape)


# ---- the two formats ------------------------------------------------------------------------


def _formats(path):
    if path.suffix == ".npz":
        return _write_npz, _read_npz
    if path.suffix == ".safetensors":
        return _write_safetensors, _read_safetensors
    raise ValueError(f"checkpoint: the name must end with .npz or .safetensors, not {path.name!r}")


# What reading a damaged archive may raise: flags or a method of compression that are none end in
# RuntimeError or NotImplementedError, which is one.
_DAMAGES = (
    *(OSError, ValueError, EOFError, AttributeError, TypeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def _write_npz(file, arrays):
    import numpy

    # not savez: it would take names such as "file" for its own parameters
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                numpy.lib.format.write_array(entry, array, allow_pickle=False)


def _read_npz(path):
    import numpy

    try:
        with numpy.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except _DAMAGES as error:
        raise ValueError(f"load: {path} is damaged or no .npz file: {error}") from None


def _safetensors():
    try:
        from safetensors import SafetensorError, numpy
    except ImportError:
        raise ImportError(
            'checkpoint: .safetensors needs: pip install "tinygrad_act[safetensors]"'
        ) from None
    return numpy, SafetensorError


def _write_safetensors(file, arrays):
    file.write(_safetensors()[0].save(arrays))


def _read_safetensors(path):
    library, error_of_library = _safetensors()
    content = path.read_bytes()
    try:
        return library.load(content)
    except (error_of_library, ValueError, KeyError) as error:
        raise ValueError(f"load: {path} is damaged or no .safetensors file: {error}") from None
