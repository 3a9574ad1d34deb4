"""Data: small problems in the plane, MNIST from its files, splits and shuffled batches.

All that is random here follows from a `seed` alone, not from `manual_seed`, so that one may
change while the other stays.
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from random import Random

from .arguments import number, whole
from .array import is_numpy
from .dtype import float64
from .ops.random import Generator, uniform
from .tensor import Tensor, _wrap, from_numpy

# ---- points in the plane, of two classes ----------------------------------------------------


def xor(n=None, seed=0):
    """Exclusive or: 1 where exactly one of two inputs is.

    Parameters
    ----------
    n : int, optional
        For n points spread evenly over [-5, 5)², which belong together where the signs of
        their coordinates are equal.  Default: the four points with coordinates 0 and 1.
    seed : int

    Returns
    -------
    x : Tensor, (4 or n, 2), float32
    t : Tensor, (4 or n, 1), float32
        The class, 0 or 1.

    Examples
    --------
    >>> x, t = xor()
    >>> x.tolist(), t.tolist()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[0.0], [1.0], [1.0], [0.0]])
    """
    if n is None:
        points = [(0, 0), (0, 1), (1, 0), (1, 1)]
        return _classes(points, [x != y for x, y in points])
    draw = _random("xor", n, 0.0, seed)
    points = [(draw.uniform(-5, 5), draw.uniform(-5, 5)) for _ in range(n)]
    return _classes(points, [x * y < 0 for x, y in points])


def circle(n=500, noise=0.0, seed=0):
    """A disc of radius 2.5, class 1, in a ring from radius 3.5 to 5, class 0.

    Parameters
    ----------
    n : int
        The number of points, half of them in the disc.  Default: 500.
    noise : float
        Before its class is looked up, a point is moved by up to 5 * noise along each axis.
        Default: 0.
    seed : int

    Returns
    -------
    x : Tensor, (n, 2), float32
    t : Tensor, (n, 1), float32
    """
    draw = _random("circle", n, noise, seed)
    points, classes = [], []
    for i in range(n):
        radius = draw.uniform(0, 2.5) if i < n // 2 else draw.uniform(3.5, 5)
        angle = draw.uniform(0, 2 * math.pi)
        x, y = radius * math.sin(angle), radius * math.cos(angle)
        moved = x + 5 * noise * draw.uniform(-1, 1), y + 5 * noise * draw.uniform(-1, 1)
        points.append((x, y))
        classes.append(math.hypot(*moved) < 2.5)
    return _classes(points, classes)


def spiral(n=500, noise=0.0, seed=0):
    """Two spirals of 1.75 turns each, one the other's image through the origin.

    Parameters
    ----------
    n : int
        The number of points, half of them on each arm.  Default: 500.
    noise : float
        Each point is moved by up to this along each axis.  Default: 0.
    seed : int

    Returns
    -------
    x : Tensor, (n, 2), float32
    t : Tensor, (n, 1), float32
    """
    draw = _random("spiral", n, noise, seed)
    points, classes = [], []
    for i in range(n):
        arm, along = (0, i) if i < n // 2 else (1, i - n // 2)
        share = along / max(1, n // 2)
        angle = 1.75 * 2 * math.pi * share + math.pi * arm
        x = 5 * share * math.sin(angle) + noise * draw.uniform(-1, 1)
        y = 5 * share * math.cos(angle) + noise * draw.uniform(-1, 1)
        points.append((x, y))
        classes.append(arm == 0)
    return _classes(points, classes)


def gauss(n=500, noise=0.0, seed=0):
    """Two normal distributions, around (2, 2) and (-2, -2).

    Parameters
    ----------
    n : int
        The number of points, half of them of each class.  Default: 500.
    noise : float
        The variance along each axis is 0.5 + 7 * noise.  Default: 0.
    seed : int

    Returns
    -------
    x : Tensor, (n, 2), float32
    t : Tensor, (n, 1), float32
    """
    draw = _random("gauss", n, noise, seed)
    width = math.sqrt(0.5 + 7 * noise)
    classes = [i < n // 2 for i in range(n)]
    centres = [2 if one else -2 for one in classes]
    points = [(draw.gauss(c, width), draw.gauss(c, width)) for c in centres]
    return _classes(points, classes)


def _random(name, n, noise, seed):
    whole(name, "n", n, least=1)
    number(name, "noise", noise, 0)
    return Random(whole(name, "seed", seed))


def _classes(points, classes):
    return Tensor(points), Tensor([[float(one)] for one in classes])


# ---- MNIST and Fashion-MNIST, from IDX files ------------------------------------------------

_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
# Where the files are published, and their MD5 sums.
_SOURCES = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
}


def mnist(folder=None, part="train", download=False):
    """Handwritten digits: 60,000 images to train with and 10,000 to test with.

    Parameters
    ----------
    folder : str or path, optional
        Where the four IDX files lie, compressed with gzip or not.  Default: a cache, see
        `cache_folder`.
    part : {"train", "test"}
    download : bool
        Fetch what is missing there, with pooch (extra ``data``), which checks the sums.
        Default: False.

    Returns
    -------
    images : Tensor, (n, 28, 28), uint8
    labels : Tensor, (n,), int64
        0 to 9.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message says where to put it.
    ValueError
        If a file is truncated, of another kind, or does not belong to the other.

    Notes
    -----
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
    """
    return _images("mnist", folder, part, download)


def fashion_mnist(folder=None, part="train", download=False):
    """Pictures of clothes, in ten classes and in the form of `mnist`, whose parameters it has.

    Notes
    -----
    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms" (2017).
    """
    return _images("fashion_mnist", folder, part, download)


def cache_folder():
    """Where data are kept: $TGA_DATA, else ``tinygrad_act`` in $XDG_CACHE_HOME or ~/.cache."""
    given = os.environ.get("TGA_DATA")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinygrad_act"


def _images(name, folder, part, download):
    if part not in _FILES:
        raise ValueError(f"{name}: part is {part!r}, but must be train or test")
    folder = cache_folder() / name if folder is None else Path(folder)
    paths = [_found(name, folder, file, download) for file in _FILES[part]]
    images, labels = (read_idx(path) for path in paths)
    if images.ndim != 3 or labels.ndim != 1 or images.shape[0] != labels.shape[0]:
        raise ValueError(
            f"{name}: {paths[0]} holds an array of shape {images.shape} and {paths[1]} one of "
            f"{labels.shape}, but (n, 28, 28) and (n,) are needed"
        )
    return images, labels.astype("int64")


def _found(name, folder, file, download):
    for path in (folder / file, folder / file.removesuffix(".gz")):
        if path.is_file():
            return path
    if not download:
        raise FileNotFoundError(
            f"{name}: there is no {file} in {folder}; give the folder that holds it, or let it be "
            f'fetched, with download=True (which needs: pip install "tinygrad_act[data]")'
        )
    try:
        import pooch
    except ImportError:
        raise ImportError(
            f'{name}: download=True needs pooch: pip install "tinygrad_act[data]"'
        ) from None
    address, sums = _SOURCES[name]
    return Path(pooch.retrieve(address + file, f"md5:{sums[file]}", fname=file, path=folder))


def read_idx(path):
    """The array in an IDX file of bytes, which may be compressed with gzip.

    The format: two zero bytes, 8 for bytes, the number of axes; their lengths as big-endian
    integers of 4 bytes; the elements.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Tensor, uint8

    Raises
    ------
    ValueError
        If it is no such file, or truncated, or longer than it should be.
    """
    import numpy

    content = Path(path).read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"read_idx: {path} is damaged or truncated: {error}") from None
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ValueError(f"read_idx: {path} is no IDX file: it begins with {content[:4]!r}")
    kind, axes = content[2], content[3]
    if kind != 8:
        raise ValueError(f"read_idx: {path} holds elements of type {kind:#04x}, not bytes (0x08)")
    begin = 4 + 4 * axes
    if len(content) < begin:
        raise ValueError(f"read_idx: {path} is truncated: it ends within the sizes")
    shape = struct.unpack(f">{axes}I", content[4:begin])
    needed, there = math.prod(shape), len(content) - begin
    if needed != there:
        raise ValueError(
            f"read_idx: {path} is {'truncated' if there < needed else 'too long'}: its shape "
            f"{shape} needs {needed:,} bytes, but {there:,} follow"
        )
    return Tensor(numpy.frombuffer(content, "uint8", offset=begin).reshape(shape))


def write_idx(path, x):
    """Write an array of bytes as an IDX file; compressed with gzip if the name ends with .gz.

    Parameters
    ----------
    path : str or path
    x : Tensor, uint8

    Raises
    ------
    TypeError
        For another dtype.
    """
    if x.dtype.name != "uint8":
        raise TypeError(f"write_idx: needs uint8, but x is {x.dtype}")
    content = struct.pack(f">BBBB{x.ndim}I", 0, 0, 8, x.ndim, *x.shape) + x.numpy().tobytes()
    if str(path).endswith(".gz"):
        content = gzip.compress(content, mtime=0)  # the same bytes whenever it is made
    Path(path).write_bytes(content)


# ---- splits and batches ---------------------------------------------------------------------


def permutation(n, seed=0, epoch=0):
    """The numbers below n in a random order, which follows from seed and epoch alone.

    Parameters
    ----------
    n, seed, epoch : int
        `seed` and `epoch` count modulo 2³².

    Returns
    -------
    Tensor, (n,), int64

    Examples
    --------
    >>> sorted(permutation(4).tolist())
    [0, 1, 2, 3]
    """
    import numpy

    whole("permutation", "n", n, least=0)
    seed, epoch = whole("permutation", "seed", seed), whole("permutation", "epoch", epoch)
    generator = Generator((seed % (1 << 32)) << 32 | epoch % (1 << 32))
    keys = uniform((n,), 0.0, 1.0, float64, "permutation", generator)
    order = numpy.argsort(_wrap(keys, None).numpy(), kind="stable")
    return from_numpy(order.astype("int64"))


def batches(data, batch_size, order=None):
    """The data in pieces of `batch_size` rows; the last piece may be shorter.

    Parameters
    ----------
    data : Tensor or sequence of Tensor
        All with the same number of rows, the length of the first axis.
    batch_size : int
    order : Tensor or NumPy array of int64, (m,), optional
        Which rows, one after the other, such as `permutation` returns.  Default: all, as
        they come.

    Yields
    ------
    tuple of Tensor
        The rows of each, copied; views, where no order is given.

    Raises
    ------
    TypeError, ValueError
        If the tensors have different numbers of rows, for a batch size below 1, or an order
        that is no vector of integers.

    Examples
    --------
    >>> x, t = xor()
    >>> for inputs, targets in batches((x, t), 3):
    ...     print(inputs.shape, targets.shape)
    (3, 2) (3, 1)
    (1, 2) (1, 1)
    """
    data, rows = checked_rows("batches", data)
    check_batch_size("batches", batch_size)
    return _batches(data, batch_size, rows, None if order is None else _checked_order(order))


def _checked_order(order):
    """The numbers of rows as a NumPy array."""
    if not isinstance(order, Tensor) and not is_numpy(order):
        raise TypeError(f"batches: order must be a Tensor or a NumPy array, not {order!r}")
    if order.ndim != 1 or order.dtype not in ("int64", "int32"):
        raise TypeError(
            f"batches: order must be a vector of int64, not {order.dtype} of shape {order.shape}"
        )
    return order.numpy() if isinstance(order, Tensor) else order


def _batches(data, batch_size, rows, order):
    if order is None:
        for begin in range(0, rows, batch_size):
            yield tuple(x[begin : begin + batch_size] for x in data)
        return
    arrays = [x.numpy() for x in data]
    for begin in range(0, len(order), batch_size):
        piece = order[begin : begin + batch_size]
        yield tuple(from_numpy(a[piece]) for a in arrays)


def check_batch_size(name, batch_size):
    """Raise TypeError or ValueError unless `batch_size` is a whole number of at least 1."""
    whole(name, "batch_size", batch_size, least=1)


def checked_rows(name, data):
    """`data` as a tuple of Tensors, and the number of rows that each of them has."""
    data = (data,) if isinstance(data, Tensor) else data
    if not isinstance(data, (tuple, list)):
        raise TypeError(f"{name}: data must be Tensors, not {type(data).__name__}")
    data = tuple(data)
    for x in data:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: data must be Tensors, not {type(x).__name__}")
    counts = {x.shape[0] if x.shape else 0 for x in data}
    if len(counts) != 1 or not all(x.shape for x in data):
        shapes = ", ".join(str(x.shape) for x in data)
        raise ValueError(f"{name}: the first sizes must be equal, but the shapes are {shapes}")
    return data, counts.pop()


def end_of_first(owner, name, rows, share):
    """How many of the rows are in the first part, if the second has `share` of them; >= 1 each."""
    share = number(owner, name, share)
    if not 0 < share < 1 or not 0 < round(rows * share) < rows:
        raise ValueError(f"{owner}: a {name} of {share} of {rows} rows leaves nothing for one part")
    return rows - round(rows * share)


def split(data, share, seed=0):
    """Part the rows at random: the first part, and one with `share` of the rows.

    Parameters
    ----------
    data : Tensor or sequence of Tensor
    share : float
        Of the second part; above 0 and below 1.
    seed : int

    Returns
    -------
    first, second : tuple of Tensor

    Examples
    --------
    >>> train, held_out = split(circle(10), 0.3)
    >>> train[0].shape, held_out[1].shape
    ((7, 2), (3, 1))
    """
    data, rows = checked_rows("split", data)
    end = end_of_first("split", "share", rows, share)
    order = permutation(rows, seed).numpy()
    ((*first,),) = _batches(data, rows, rows, order[:end])
    ((*second,),) = _batches(data, rows, rows, order[end:])
    return tuple(first), tuple(second)
