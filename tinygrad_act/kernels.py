"""The border to C: the only file that knows cffi.

Above it are arrays with shapes, below it are pointers and counts.  It loads the
compiled extension, hands out memory, chooses the instruction set and the number
of threads, and turns a status of C into an exception.  The kernels themselves
are re-exported as they are (``lib.tga_...``): the callers in ``ops/`` have
checked shapes and dtypes by then, and nothing is checked twice.  For the plain cases of
what small nets are made of there are shortcuts, ``lib.quick_...``: see csrc/shortcuts.c,
eager.c and step.c.
"""

import os
from _imp import create_dynamic, exec_dynamic
from functools import lru_cache

from ._build_info import source_hash

_ROOT = os.path.dirname(os.path.dirname(__file__))
_SOURCES = source_hash(_ROOT)  # None where there are none: an installed wheel
_REMEDY = "run: python build.py" if _SOURCES else "install tinygrad_act again"

try:
    from . import _kernels
except ImportError as error:
    raise ImportError(
        f"tinygrad_act: the C extension cannot be loaded ({error}); {_REMEDY}"
    ) from None

ffi = _kernels.ffi

# csrc/array.c is a module of its own in the same library
ModuleSpec = type(__spec__)  # of importlib.machinery, which would take its time
_array = create_dynamic(ModuleSpec(f"{__package__}._array", None, origin=_kernels.__file__))
exec_dynamic(_array)
ArrayBase = _array.ArrayBase



class Library:
    """Functions and numbers, as attributes."""


# All that C offers, as plain attributes.  Callers write ``lib.tga_...`` at each call and keep no
# other name for it: so recorder.py can put itself between, and see every kernel that runs.  It
# declines the shortcuts, for they call their kernel in C.
lib = Library()
for _name in dir(_kernels.lib):
    setattr(lib, _name, getattr(_kernels.lib, _name))
for _name in dir(_array):
    if _name.startswith(("array_", "quick_", "unchanged", "shortcut_")):
        setattr(lib, _name, getattr(_array, _name))

if _SOURCES not in (None, ffi.string(lib.tga_source_hash()).decode()):
    raise ImportError(f"tinygrad_act: the C extension is older than csrc/; {_REMEDY}")

MAX_DIMS = lib.TGA_MAX_DIMS
NULL = ffi.NULL

# ---- memory ---------------------------------------------------------------------------------

BYTES = ffi.typeof("char[]")
POINTERS = ffi.typeof("void *[]")
ADDRESS = ffi.typeof("char *")


recorder = None  # of the capture that is under way, if there is one: see recorder.py


def refuse_in_capture(what):
    """Raise CaptureError if this thread is capturing a step: it could not be replayed."""
    if recorder is not None:
        recorder.refuse(what)


def refuse_to_read():
    """Raise CaptureError if this thread is capturing a step: a value would leave it."""
    if recorder is not None:
        recorder.refuse(
            "reads a value, as item() does: return the tensor and read it afterwards"
        )


def configure(array_type, dtypes):
    """Tell csrc/array.c which class arrays have, and the dtypes in the order of their codes."""
    _array.configure(array_type, dtypes, ffi.from_buffer, BYTES, ffi.cast, ADDRESS)


def configure_engine(tensor, node, leaf, mode, pull_back, convert, add):
    """Tell csrc/eager.c the classes of the graph, and what it asks of Python; add is a row."""
    _array.configure_engine(tensor, node, leaf, mode, pull_back, convert, add)


def write_bytes(pointer, content):
    """Copy a bytes-like object to where the pointer points."""
    if recorder is not None:
        recorder.note_constant(pointer, content)
    ffi.memmove(pointer, content, len(content))


def offset(pointer, nbytes):
    """The pointer `nbytes` further on."""
    return ffi.cast("char *", pointer) + nbytes


def as_bytes(pointer):
    """The pointer as one to bytes, which is what masks are made of."""
    return ffi.cast("uint8_t *", pointer)


def as_int64(pointer):
    """The pointer as one to int64, which is what labels are."""
    return ffi.cast("int64_t *", pointer)


def as_float64(pointer):
    """The pointer as one to float64, which is what learning rates and step counts are."""
    return ffi.cast("double *", pointer)


def as_buffer(pointer, nbytes):
    """Python's buffer view of `nbytes` bytes from `pointer` on."""
    refuse_to_read()
    return ffi.buffer(pointer, nbytes)


def pool_bytes():
    """Bytes of freed large buffers that are kept for reuse at this moment."""
    return lib.tga_pool_bytes()


def release_pool():
    """Give all memory kept for reuse back to the system."""
    lib.tga_pool_release()


def set_pool_limit(nbytes):
    """Keep at most `nbytes` bytes of freed buffers for reuse."""
    if nbytes < 0:
        raise ValueError(f"set_pool_limit: nbytes is {nbytes}, but must not be negative")
    lib.tga_pool_set_limit(nbytes)


# ---- shortcuts ------------------------------------------------------------------------------

SHORTCUTS = tuple(name for name in vars(lib) if name.startswith("quick_"))


def decline(*args):
    """In place of a shortcut: None, and the caller goes the long way."""
    return None


class no_shortcuts:
    """``with no_shortcuts():`` every kernel is called as ``lib.tga_...``; for all threads."""

    def __enter__(self):
        self._before = {name: getattr(lib, name) for name in SHORTCUTS}
        vars(lib).update(dict.fromkeys(SHORTCUTS, decline))

    def __exit__(self, *_):
        vars(lib).update(self._before)


# ---- layouts and lists ----------------------------------------------------------------------


@lru_cache(maxsize=2048)
def layout(shape, *strides):
    """How to walk arrays of one shape: strides of the result, then of the inputs."""
    record = ffi.new("tga_layout *")
    record.ndim = len(shape)
    record.shape[0 : len(shape)] = shape
    for operand, steps in enumerate(strides):
        record.stride[operand][0 : len(shape)] = steps
    return record


def window(image, out, size, stride, padding, dilation):
    """How a window moves over images: each a pair, for rows and columns; see tga.h."""
    record = ffi.new("tga_window *")
    setattr(record, "in", image)
    record.out = out
    record.size = size
    record.stride = stride
    record.padding = padding
    record.dilation = dilation
    return record


def pointers(items):
    """A C list of pointers."""
    return ffi.new("void *[]", items)


def pointers_to(arrays):
    """A C list of pointers to the first elements of a list of arrays, which do not keep them."""
    return ffi.from_buffer(POINTERS, lib.array_addresses(arrays))


def integers(items):
    """A C list of int64."""
    return ffi.new("int64_t[]", items)


def doubles(items):
    """A C list of double."""
    return ffi.new("double[]", items)


# ---- plans: see plan.py ---------------------------------------------------------------------


def calls():
    """The entry points that a plan can call: {"tga_...": (number, ((parameter, kind), ...))}."""
    found = {}
    while (name := lib.tga_call_name(len(found))) != ffi.NULL:
        signature = ffi.string(lib.tga_call_signature(len(found))).decode()
        parameters = tuple(tuple(one.split(":")) for one in signature.split())
        found["tga_" + ffi.string(name).decode()] = len(found), parameters
    return found


def length_of(pointer):
    """How many bytes there are at a pointer to the beginning of our memory; 0 at any other."""
    return ffi.sizeof(pointer) if ffi.typeof(pointer) is BYTES else 0


def number_of(pointer):
    """The numerical address that a pointer of any type holds."""
    return int(ffi.cast("uintptr_t", pointer))


def list_of(items):
    """The elements of a C list of pointers or of int64."""
    return ffi.unpack(items, len(items))


def is_list(pointer):
    """Whether it is a list that `integers` made: an argument, not the memory of an array."""
    return ffi.typeof(pointer).cname == "int64_t[]"


def described(argument):
    """A C list or struct as something to compare."""
    return bytes(ffi.buffer(argument))


def as_pointers(addresses):
    """A C list of pointers from numerical addresses."""
    return ffi.new("void *[]", [ffi.cast("void *", address) for address in addresses])


def read_memory(address, nbytes):
    """The bytes at a numerical address."""
    return ffi.buffer(ffi.cast("char *", address), nbytes)[:]


def write_memory(address, content):
    """Put bytes at a numerical address."""
    ffi.memmove(ffi.cast("char *", address), content, len(content))


def new_plan(nbytes):
    """A plan of C with so much memory, which goes with the last reference to it."""
    plan = lib.tga_plan_new(nbytes)
    if plan == ffi.NULL:
        raise MemoryError("capture: no memory left for the plan")
    return ffi.gc(plan, lib.tga_plan_free)


def add_copy(plan, **fields):
    """Add a tga_plan_copy to a plan of C."""
    check(lib.tga_plan_add_copy(plan, ffi.new("tga_plan_copy *", fields)), "capture")


# ---- rows of the .def files -----------------------------------------------------------------


def find(kind, name):
    """Index of a row: kind is unary, binary, compare, reduce or loss; -1 if none."""
    return getattr(lib, f"tga_{kind}_find")(name.encode())


def names(kind):
    """The names of all rows of a kind, in order."""
    name_of = getattr(lib, f"tga_{kind}_name")
    found = []
    while (name := name_of(len(found))) != ffi.NULL:
        found.append(ffi.string(name).decode())
    return found


def row_saves(index):
    """What the backward of unary row `index` reads: 'x', 'y' or ''."""
    return chr(lib.tga_unary_saves(index)).replace("-", "")


# ---- status ---------------------------------------------------------------------------------


def check(status, op, detail=""):
    """Turn a status that is not TGA_OK into an exception that names the op."""
    if status == lib.TGA_OK:
        return
    if status == lib.TGA_NO_MEMORY:
        raise MemoryError(f"{op}: no memory left for the workspace")
    if status == lib.TGA_BAD_LABEL:
        raise ValueError(f"{op}: a label is out of range{detail}")
    if status == lib.TGA_BAD_INDEX:
        raise IndexError(f"{op}: an index is out of range{detail}")
    raise TypeError(f"{op}: there is no kernel for this dtype{detail}")


# ---- instruction sets -----------------------------------------------------------------------

ISAS = ("base", "avx2", "avx512")


def isa():
    """Name of the instruction set in force: 'base', 'avx2' or 'avx512'."""
    return ISAS[lib.tga_isa_current()]


def supported_isas():
    """Names of the instruction sets that this machine can run, narrowest first."""
    return tuple(name for number, name in enumerate(ISAS) if lib.tga_isa_supported(number))


def set_isa(name):
    """Run every kernel from now on, in every thread, with this instruction set.

    Raises
    ------
    ValueError
        If the name is unknown or this machine cannot run it.
    """
    if name not in supported_isas():
        raise ValueError(
            f"instruction set {name!r}: this machine has {', '.join(supported_isas())}"
        )
    lib.tga_isa_use(ISAS.index(name))


class use_isa:
    """``with use_isa('base'):`` runs the kernels inside with that instruction set.

    Raises
    ------
    ValueError
        If the name is unknown or this machine cannot run it.
    """

    def __init__(self, name):
        self._name = name

    def __enter__(self):
        self._before = isa()
        set_isa(self._name)

    def __exit__(self, *_):
        set_isa(self._before)


# ---- threads --------------------------------------------------------------------------------


def get_num_threads():
    """How many threads a large kernel may use."""
    return lib.tga_threads_get()


def set_num_threads(n):
    """Let large kernels use up to `n` threads; results do not depend on it.

    Raises
    ------
    ValueError
        If `n` is not a whole number of at least 1.
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"set_num_threads: n is {n!r}, but must be a whole number, at least 1")
    lib.tga_threads_set(min(n, 1024))


def _read_environment():
    name = os.environ.get("TGA_ISA")
    if name:
        try:
            set_isa(name)
        except ValueError as error:
            raise ValueError(f"environment variable TGA_ISA: {error}") from None
    threads = os.environ.get("TGA_NUM_THREADS")
    if threads:
        if not threads.isdigit() or int(threads) < 1:
            raise ValueError(
                f"environment variable TGA_NUM_THREADS is {threads!r}, "
                f"but must be a whole number, at least 1"
            )
        set_num_threads(int(threads))


_read_environment()
