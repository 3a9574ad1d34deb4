"""recorder.py: which kernels a step calls, and on which memory, written down while it runs.

The functions of `kernels.lib` are replaced meanwhile by others that run them and write them down.
Nothing else changes: the step runs eagerly.
"""

import gc
import sys
import threading
from bisect import bisect_left, bisect_right

from . import graph, kernels
from .array import contiguous, convert, reach
from .op import Op
from .plan import CALLS, Buffer, Instruction, Ref, is_ref
from .tensor import Tensor, _wrap

lib = kernels.lib


class CaptureError(RuntimeError):
    """A step does what cannot be replayed."""


LARGE = 1 << 20  # bytes

_capturing = threading.Lock()  # held by the one Recorder in force


class Recorder:
    """Sees every kernel that the capturing thread calls, and all memory that it gets.

    ``with Recorder() as recorder:`` it is in force.
    """

    def __init__(self):
        self.thread = threading.get_ident()
        self.instructions = []
        self.buffers = {}  # address -> Buffer, of everything known
        self.lengths = {}  # address -> bytes
        self.addresses = []  # sorted
        self.memory = {}  # buffer that the step does not make -> what keeps it alive
        self.arrays = {}  # outside buffer -> an Array of it, if it is written
        self.leaves = {}  # leaf -> its gradient before backward
        self.before = {}  # outside buffer -> content before its first write
        self.modules = {}  # those that were at work, in order
        self._has_searched = False
        self._original = {}

    # what the step finds outside

    def note_written(self, arrays):
        """Called before arrays are written to in place."""
        if threading.get_ident() == self.thread:
            for array in arrays:
                buffer = self._buffer_of(array)
                if buffer.role == "state":
                    self.arrays[buffer] = array

    def note_used(self, arrays):
        """Called by who hands a kernel pointers that do not tell whose memory they point into."""
        if threading.get_ident() == self.thread:
            for array in arrays:
                self._buffer_of(array)

    def note_leaves(self, seeds):
        """Called before a backward from these nodes."""
        if threading.get_ident() == self.thread:
            for node in (*seeds, *graph.count_users(seeds)):
                for one in (node, *node.parents):
                    if type(one) is graph.Leaf:
                        self.leaves.setdefault(one, one.grad)

    def _buffer_of(self, array):
        ref = self.find(array.address)
        if ref is not None:
            return ref.buffer
        memory = array.memory
        if memory.owner is None:
            return self._note_outside(memory, memory.address, memoryview(memory).nbytes)
        # memory of others, such as NumPy's: as far as the array reaches
        return self._note_outside(memory, *reach(array))

    def _note_outside(self, memory, address, nbytes):
        buffer = Buffer(nbytes, "state", address)
        self._note(address, nbytes, buffer)
        self.memory[buffer] = memory
        return buffer

    def _search(self):
        """Look at all tensors that there are, for a pointer into the memory of one."""
        self._has_searched = True
        for thing in gc.get_objects():
            if issubclass(type(thing), Tensor) and hasattr(thing, "array"):
                self._buffer_of(thing.array)

    def _note(self, address, nbytes, buffer):
        """From now on this memory is that buffer; what lay there before has been freed."""
        first = last = bisect_left(self.addresses, address)
        if first:  # no two overlap, so one at most begins before and reaches in here
            before = self.addresses[first - 1]
            first -= before + self.lengths[before] > address
        while last < len(self.addresses) and self.addresses[last] < address + max(nbytes, 1):
            last += 1
        for place in self.addresses[first:last]:
            if self.buffers[place] in self.memory:  # which is not freed
                raise CaptureError(
                    "capture: two tensors share memory of NumPy in part; make them views of one"
                )
        self.addresses[first:last] = [address]
        self.buffers[address] = buffer
        self.lengths[address] = nbytes

    def note_input(self, array):
        """An input of the step: memory that nobody else has."""
        buffer = Buffer(nbytes_of(array), "input", array.address)
        self._note(array.address, buffer.nbytes, buffer)
        self.memory[buffer] = array.memory
        return buffer

    def note_constant(self, pointer, content):
        """Numbers that Python made: the same ones at every replay."""
        if threading.get_ident() == self.thread:
            buffer = self.find(kernels.number_of(pointer)).buffer
            buffer.role, buffer.content = "constant", bytes(content)

    def refuse(self, what):
        """Called where a value would leave the step, or new data enter it."""
        if threading.get_ident() == self.thread:
            raise CaptureError(f"capture: the step {what}")

    def memory_of(self, buffer):
        """What keeps a buffer alive, in a list; empty for what the step makes."""
        return [self.memory[buffer]] if buffer.role == "state" else []

    def find(self, address):
        """The `Ref` for an address, or None."""
        at = bisect_right(self.addresses, address) - 1
        if at < 0:
            return None
        start = self.addresses[at]
        if address >= start + max(self.lengths[start], 1):
            return None
        return Ref(self.buffers[start], address - start)

    # standing between

    def __enter__(self):
        if not _capturing.acquire(blocking=False):
            raise CaptureError(
                "capture: a step is being captured already; they cannot be nested, and one "
                "thread captures at a time"
            )
        try:
            for name in CALLS:
                self._replace(name, self._recording(name, getattr(lib, name)))
            for name in kernels.SHORTCUTS:
                self._replace(name, self._declining(getattr(lib, name)))
            self._replace("array_empty", self._allocating(lib.array_empty))
            self._replace("array_at", self._taking_in(lib.array_at))
            kernels.recorder = self
        except BaseException:  # Ctrl-C, too
            self.__exit__()
            raise
        return self

    def _replace(self, name, function):
        self._original[name] = getattr(lib, name)
        setattr(lib, name, function)

    def __exit__(self, *_):
        kernels.recorder = None
        for name, function in self._original.items():
            setattr(lib, name, function)
        _capturing.release()

    def _declining(self, shortcut):
        def declined(*args):
            return None if threading.get_ident() == self.thread else shortcut(*args)

        return declined

    def _allocating(self, allocate):
        def noted(*args):
            array = allocate(*args)
            if threading.get_ident() == self.thread:
                nbytes = nbytes_of(array)
                self._note(array.address, nbytes, Buffer(nbytes, "scratch"))
            return array

        return noted

    def _taking_in(self, array_at):
        def refused(*args):
            self.refuse("takes in memory from outside: make the tensor before, and pass it")
            return array_at(*args)

        return refused

    def _recording(self, name, function):
        parameters = CALLS[name][1]

        def recorded(*args):
            if threading.get_ident() != self.thread:
                return function(*args)
            op, layer = self._origin()
            noted = [
                self._argument(arg, kind) for arg, (_, kind) in zip(args, parameters, strict=True)
            ]
            instruction = Instruction(name, noted, op, layer)
            for buffer in instruction.writes():
                if buffer.role == "state" and buffer not in self.before:
                    if buffer.nbytes > LARGE:
                        kernels.release_pool()  # what the step has freed would come on top
                    content = kernels.read_memory(buffer.address, buffer.nbytes)
                    self.before[buffer] = content
                elif buffer.role == "constant":
                    buffer.role = "scratch"
                    raise CaptureError(f"capture: {op or name} writes to a number made by the step")
            self.instructions.append(instruction)
            return function(*args)

        return recorded

    def _argument(self, arg, kind):
        if kind == "i":
            return int(arg)
        if kind == "d":
            return float(arg)
        if kind == "L":
            return [self._pointer(one) for one in kernels.list_of(arg)]
        if kind == "l":
            return arg
        if arg == kernels.NULL:
            return None
        if kind == "r" and kernels.is_list(arg):
            return arg
        return self._pointer(arg)

    def _pointer(self, pointer):
        address = kernels.number_of(pointer)
        if not address:
            return None
        ref = self.find(address)
        if ref is None and (nbytes := kernels.length_of(pointer)):
            return Ref(self._note_outside(pointer, address, nbytes))
        if ref is None and not self._has_searched:
            self._search()
            ref = self.find(address)
        if ref is None:
            raise CaptureError(
                "capture: a kernel reads memory of which nobody knows where it comes from; "
                "make all tensors before the step, in the same thread"
            )
        return ref

    # for people: which op and which layer a kernel belongs to

    def _origin(self):
        """The names of the op and the layer that the running kernel works for, from the stack."""
        from .nn.module import Module

        op, layers, frame = "", [], sys._getframe(2)
        # no further than the step: who looks at a frame's variables keeps them alive with it
        while frame is not None and frame.f_code is not Recording.__init__.__code__:
            names = frame.f_locals
            node, owner = names.get("node"), names.get("self")
            if isinstance(node, graph.Node) and node.op is not None and "seeds" not in names:
                op = f"{node.op.name} backward"
            elif isinstance(names.get("op"), Op):
                op = names["op"].name
            elif isinstance(owner, Op):
                op = owner.name
            elif not op and frame.f_code.co_name == "step" and owner is not None:
                op = type(owner).__name__
            if isinstance(owner, Module) and frame.f_code.co_name == "forward":
                layers.append(owner)
            frame = frame.f_back
        return op, self._path(layers)

    def _path(self, layers):
        """The name of the innermost of the modules that are at work."""
        self.modules.update(dict.fromkeys(layers))
        if not layers:
            return ""
        outer, inner = layers[-1], layers[0]
        path = next((path for path, module in outer.modules() if module is inner), "")
        return f"{path} {type(inner).__name__}".strip()


def nbytes_of(array):
    """The bytes of an array's elements."""
    return array.size * array.dtype.itemsize


def digest(buffer):
    """What tells one content of a buffer outside from another, without keeping it."""
    from hashlib import blake2b

    return blake2b(kernels.read_memory(buffer.address, buffer.nbytes)).digest()


class Recording:
    """A step written down: its instructions, and what goes in and out."""

    def __init__(self, function, inputs):
        arrays = [convert(x.array, x.dtype) for x in inputs]  # so that nobody else has them
        with Recorder() as recorder:
            self.inputs = [recorder.note_input(array) for array in arrays]
            result = function(*[_wrap(array, None) for array in arrays])
            outputs, self.rebuild = flatten(result)
            self.outputs = [contiguous(x.array) for x in outputs]
        self.recorder = recorder
        self.instructions = recorder.instructions
        self.results = [self._whole(array) for array in self.outputs]
        self.gradients = []  # (leaf, its gradient before and after, Ref of that)
        for leaf, before in recorder.leaves.items():
            after = leaf.grad
            if after is before:
                continue
            if before is not None and after is not None:
                self._refuse_sum(before)
            ref = None if after is None else self._whole(contiguous(after.array))
            self.gradients.append((leaf, before, after, ref))
        for ref in (*self.results, *[ref for *_, ref in self.gradients if ref]):
            ref.buffer.kept = True
        self.written = {buffer: digest(buffer) for buffer in recorder.before}
        if any(b.role == "input" for one in self.instructions for b in one.writes()):
            raise CaptureError("capture: the step writes to one of its inputs; clone() it first")

    def restore(self):
        """Put back what was outside before the step."""
        for buffer, content in self.recorder.before.items():
            kernels.write_memory(buffer.address, content)

    def _whole(self, array):
        ref = self.recorder.find(array.address)
        if ref is None:
            raise CaptureError("capture: the step returns a tensor of unknown memory")
        return ref

    def _refuse_sum(self, before):
        ref = self.recorder.find(before.array.address)
        if ref and any(ref.buffer in one.reads() for one in self.instructions):
            raise CaptureError(
                "capture: the step adds to gradients of earlier steps; call zero_grad() in it, "
                "before backward()"
            )

    def signature(self):
        """What must be the same when the step is written down again."""
        names = {buffer: ("input", i) for i, buffer in enumerate(self.inputs)}

        def name(buffer):
            if buffer.role == "constant":
                return "constant", buffer.content
            if buffer.role == "state":
                return "outside", buffer.address
            return names.setdefault(buffer, ("made", len(names)))

        def described(arg):
            if type(arg) is list:
                return [described(one) for one in arg]
            if is_ref(arg):
                return (*name(arg.buffer), arg.offset)
            if arg is None or isinstance(arg, (int, float)):
                return repr(arg)  # as nan equals itself there, and 0.0 not -0.0
            return kernels.described(arg)

        return [(one.name, *map(described, one.args)) for one in self.instructions]


def flatten(result):
    """The tensors in what a step returns, and the function that puts others in their place."""
    if isinstance(result, Tensor):
        return [result], lambda tensors: tensors[0]
    if result is None:
        return [], lambda tensors: None
    if isinstance(result, dict):
        names = list(result)  # not `result` itself, which would live as long as the step
        tensors, kind = list(result.values()), lambda values: dict(zip(names, values))
    elif isinstance(result, (tuple, list)):
        tensors, kind = list(result), type(result)
        if hasattr(kind, "_fields"):  # a named tuple
            kind = kind._make
    else:
        tensors, kind = [result], None
    if not all(isinstance(x, Tensor) for x in tensors):
        raise CaptureError(
            "capture: the step must return a Tensor, or a tuple, list or dict of Tensors, or None"
        )
    return tensors, kind
