"""The border to C: the only file that knows cffi.

Above it are arrays with shapes, below it are pointers and counts.  It loads the
compiled extension, hands out memory, chooses the instruction set and the number
of threads, and turns a status of C into an exception.  The kernels themselves
are re-exported as they are (``lib.tga_...``): the callers in ``ops/`` have
checked shapes and dtypes by then, and nothing is checked twice.
"""

import os
from contextlib import contextmanager
from functools import lru_cache
from types import SimpleNamespace

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

# All that C offers, as plain attributes.  Callers write ``lib.tga_...`` at each call and keep no
# other name for it: so capture.py can put itself between, and see every kernel that runs.
lib = SimpleNamespace(**{name: getattr(_kernels.lib, name) for name in dir(_kernels.lib)})

if _SOURCES not in (None, ffi.string(lib.tga_source_hash()).decode()):
    raise ImportError(f"tinygrad_act: the C extension is older than csrc/; {_REMEDY}")

MAX_DIMS = lib.TGA_MAX_DIMS
NULL = ffi.NULL

# ---- memory ---------------------------------------------------------------------------------

SMALL = 1 << 14  # bytes; above, the pool in csrc/memory.c saves the page faults
BYTES = ffi.typeof("char[]")
lib.allocate_small = ffi.new_allocator(should_clear_after_alloc=False)
lib.allocate_large = ffi.new_allocator(
    _kernels.lib.tga_alloc, _kernels.lib.tga_free, should_clear_after_alloc=False
)


def allocate(nbytes):
    """Uninitialised memory, freed when the last reference to it goes.

    Raises
    ------
    MemoryError
        If the system has none left.
    """
    return (lib.allocate_small if nbytes <= SMALL else lib.allocate_large)(BYTES, nbytes)


def from_bytes(content):
    """A copy of a bytes-like object in memory of its own."""
    memory = allocate(len(content))
    ffi.memmove(memory, content, len(content))
    return memory


def address(number):
    """The pointer with this numerical address (of memory that others own)."""
    return ffi.cast("char *", number)


def address_of(pointer):
    """The numerical address that a pointer holds."""
    return int(ffi.cast("uintptr_t", pointer))


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


def pointers(items):
    """A C list of pointers."""
    return ffi.new("void *[]", items)


def integers(items):
    """A C list of int64."""
    return ffi.new("int64_t[]", items)


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


@contextmanager
def use_isa(name):
    """``with use_isa('base'):`` runs the kernels inside with that instruction set."""
    before = isa()
    set_isa(name)
    try:
        yield
    finally:
        set_isa(before)


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
