"""The five element types: float32, float64, int64, bool, uint8.

They are small objects of our own, so that NumPy need not be imported to name
one; each equals NumPy's type of the same name and is accepted in its place.
"""

import sys


class DType:
    """An element type.

    Attributes
    ----------
    name : str
        NumPy's name for it.
    code : int
        Its number in ``csrc/tga.h`` (enum tga_dtype).
    itemsize : int
        Bytes of one element.
    is_float : bool
        Whether it can carry a gradient.
    """

    __slots__ = ("name", "code", "itemsize", "is_float", "format")

    def __init__(self, name, code, itemsize, format):
        self.name = name
        self.code = code
        self.itemsize = itemsize
        self.is_float = name.startswith("float")
        self.format = format  # the struct module's letter

    @property
    def dtype(self):
        """The NumPy dtype of the same name; lets ``np.dtype(float32)`` work."""
        import numpy

        return numpy.dtype(self.name)

    def __eq__(self, other):
        if isinstance(other, DType):
            return self is other
        try:
            return as_dtype(other) is self
        except (TypeError, ValueError):
            return NotImplemented

    def __hash__(self):
        return hash(self.name)

    def __repr__(self):
        return self.name

    def __reduce__(self):
        return as_dtype, (self.name,)


float32 = DType("float32", 0, 4, "f")
float64 = DType("float64", 1, 8, "d")
int64 = DType("int64", 2, 8, "q")
bool_ = DType("bool", 3, 1, "?")
uint8 = DType("uint8", 4, 1, "B")

DTYPES = (float32, float64, int64, bool_, uint8)
_BY_NAME = {dtype.name: dtype for dtype in DTYPES}
_FOUND = {float: float32, bool: bool_, int: int64}  # what was asked for -> DType


def as_dtype(spec):
    """The DType meant by `spec`: a DType, a name, a NumPy dtype or scalar type.

    Python's ``float``, ``int`` and ``bool`` mean float32, int64 and bool.

    Raises
    ------
    TypeError
        If it is none of the five; the message says what to cast to.
    """
    if type(spec) is DType:
        return spec
    try:
        return _FOUND[spec]
    except (KeyError, TypeError):  # not asked for before, or nothing that has a hash
        dtype = _find(spec)
    numpy = sys.modules.get("numpy")
    if isinstance(spec, (str, type)) or (numpy is not None and isinstance(spec, numpy.dtype)):
        _FOUND[spec] = dtype
    return dtype


def _find(spec):
    name = spec if isinstance(spec, str) else None
    numpy = sys.modules.get("numpy")
    if name not in _BY_NAME and spec is not None and numpy is not None:  # None is NumPy's default
        try:
            numpy_dtype = numpy.dtype(spec)
        except TypeError:
            numpy_dtype = None
        if numpy_dtype is not None:
            name = numpy_dtype.name + (" (not native-endian)" if not numpy_dtype.isnative else "")
    if name in _BY_NAME:
        return _BY_NAME[name]
    remedy = "cast first, for example with a.astype('float32')"
    if name is None:
        name, remedy = str(spec), "write one of these"
    if name.startswith("complex"):
        remedy = "take a.real and a.imag apart"
    elif name.startswith(("int", "uint")):
        remedy = "cast first, for example with a.astype('int64')"
    elif name.startswith(("object", "str", "bytes", "datetime", "timedelta", "void")):
        remedy = "these are no numbers"
    raise TypeError(f"dtype {name!r} is not one of float32, float64, int64, bool, uint8: {remedy}")


def promote(x, y):
    """The dtype in which `x` and `y` meet in arithmetic.

    float32 with float64 is float64, as in NumPy; an integer or bool takes the
    float's dtype; among themselves integers and bools meet in int64.
    """
    if x is y and x not in (bool_, uint8):
        return x
    if x.is_float and y.is_float:
        return float64
    if x.is_float:
        return x
    if y.is_float:
        return y
    return int64
