"""capture: write one training step down, and run it again and again in C, without Python.

    step = capture(train_step)
    costs = step.replay(10_000)

The life of a step: the first call runs eagerly, while every call of a kernel is written down; then
the plan made of it runs once from the same start, and its results must have the same bits.  The
second call runs eagerly too, and what is written down must be the same again.  From the third on,
and in `replay` and `epoch`, the plan runs.

A plan has copies of what it reads.  When it begins, parameters, the optimizer's state, that of the
random generator and the inputs are copied in; when it ends, what it has changed, the gradients and
the results are copied out.
"""

import gc
import struct
import sys
import threading
import weakref
from bisect import bisect_right, insort
from contextlib import contextmanager
from math import prod

from . import graph, kernels
from .array import (
    contiguous,
    convert,
    copy_into,
    empty,
    index_view,
    is_numpy,
    mark_all_written,
    reshape,
    strides_of,
    view_of_numpy,
)
from .dtype import float32, int64, uint8
from .op import Op
from .passes import PASSES
from .plan import CALLS, Buffer, Instruction, Plan, Ref, is_ref
from .tensor import Tensor, _wrap

lib = kernels.lib

SECONDS = 0.05  # how long C runs before Python looks whether somebody wants to stop


class CaptureError(RuntimeError):
    """A step does what cannot be replayed."""


class ReplayMismatch(RuntimeError):
    """A step is no longer what was captured."""


# ---- writing a step down ------------------------------------------------------------------------


class Recorder:
    """Sees every kernel that the capturing thread calls, and all memory that it gets.

    While it is in force, the functions of `kernels.lib` are replaced by others that run them
    and write them down.
    """

    def __init__(self):
        self.thread = threading.get_ident()
        self.instructions = []
        self.buffers = {}  # address -> Buffer, of everything known
        self.lengths = {}  # address -> bytes
        self.addresses = []  # sorted
        self.memory = {}  # buffer -> what keeps it alive: an address must not be used twice
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
        return self._note_outside(memory, *_reach(array))

    def _note_outside(self, memory, address, nbytes):
        buffer = Buffer(nbytes, "state", address)
        self._note(address, nbytes, buffer, memory)
        return buffer

    def _search(self):
        """Look at all tensors that there are, for a pointer into the memory of one."""
        self._has_searched = True
        for thing in gc.get_objects():
            if issubclass(type(thing), Tensor):
                self._buffer_of(thing.array)

    def _note(self, address, nbytes, buffer, memory):
        if address not in self.buffers:
            insort(self.addresses, address)
        self.buffers[address] = buffer
        self.lengths[address] = nbytes
        self.memory[buffer] = memory

    def note_input(self, array):
        """An input of the step: memory that nobody else has."""
        buffer = Buffer(_nbytes(array), "input", array.address)
        self._note(array.address, buffer.nbytes, buffer, array.memory)
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
        if address > start + self.lengths[start]:
            return None
        return Ref(self.buffers[start], address - start)

    # standing between

    def __enter__(self):
        if kernels.recorder is not None:
            raise CaptureError("capture: a step is being captured already; they cannot be nested")
        for name in CALLS:
            self._replace(name, self._recording(name, getattr(lib, name)))
        for name in kernels.SHORTCUTS:
            self._replace(name, self._declining(getattr(lib, name)))
        self._replace("array_empty", self._allocating(lib.array_empty))
        self._replace("array_at", self._taking_in(lib.array_at))
        kernels.recorder = self
        return self

    def _replace(self, name, function):
        self._original[name] = getattr(lib, name)
        setattr(lib, name, function)

    def __exit__(self, *_):
        kernels.recorder = None
        for name, function in self._original.items():
            setattr(lib, name, function)

    def _declining(self, shortcut):
        def declined(*args):
            return None if threading.get_ident() == self.thread else shortcut(*args)

        return declined

    def _allocating(self, allocate):
        def noted(*args):
            array = allocate(*args)
            if threading.get_ident() == self.thread:
                nbytes = _nbytes(array)
                self._note(array.address, nbytes, Buffer(nbytes, "scratch"), array.memory)
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
        while frame is not None:
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


def _reach(array):
    """Address and length of the memory that an array of others' memory touches."""
    if not array.size:
        return 0, 0
    ends = [(n - 1) * step for n, step in zip(array.shape, strides_of(array), strict=True)]
    low, high = sum(e for e in ends if e < 0), sum(e for e in ends if e > 0)
    item = array.dtype.itemsize
    return array.address + low * item, (high - low + 1) * item


# ---- one step, for inputs of certain shapes -----------------------------------------------------


class _Recorded:
    """A step written down: its instructions, and what goes in and out."""

    def __init__(self, function, inputs):
        arrays = [convert(x.array, x.dtype) for x in inputs]  # so that nobody else has them
        with Recorder() as recorder:
            self.inputs = [recorder.note_input(array) for array in arrays]
            result = function(*[_wrap(array, None) for array in arrays])
            outputs, self.rebuild = _flatten(result)
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
        self.written = {
            buffer: kernels.read_memory(buffer.address, buffer.nbytes) for buffer in recorder.before
        }
        if any(b.role == "input" for one in self.instructions for b in one.writes()):
            raise CaptureError("capture: the step writes to one of its inputs; clone() it first")

    def restore(self, contents):
        """Put back what was outside: {buffer: bytes}."""
        for buffer, content in contents.items():
            kernels.write_memory(buffer.address, content)

    def undo(self):
        """Take back all that the step has done to tensors outside."""
        self.restore(self.recorder.before)
        for leaf, before, *_ in self.gradients:
            leaf.grad = before

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


def _flatten(result):
    """The tensors in what a step returns, and the function that puts others in their place."""
    if isinstance(result, Tensor):
        return [result], lambda tensors: tensors[0]
    if result is None:
        return [], lambda tensors: None
    if isinstance(result, dict):
        tensors, kind = list(result.values()), lambda values: dict(zip(result, values))
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


class _Captured:
    """A step that was written down and whose plan was checked, for inputs of certain shapes."""

    def __init__(self, recorded, function, passes):
        self.signature = recorded.signature()
        self.instructions = recorded.instructions
        self.passes = passes
        self.rebuild = recorded.rebuild
        self.confirmed = False  # by a second recording

        # what goes in
        arrays = recorded.recorder.arrays
        self.inputs = recorded.inputs
        used = {b for one in self.instructions for b in one.reads() | one.writes()}
        self.alive = [memory for b in used for memory in recorded.recorder.memory_of(b)]
        rates = {ref.buffer for one in self.instructions for ref in _learning_rate(one)}
        self.rate = rates.pop() if len(rates) == 1 else None
        self.several_rates = bool(rates)

        # what goes out
        self.shapes = [(y.shape, y.dtype, y.size) for y in recorded.outputs]
        self.results = [
            (ref, _nbytes(y)) for ref, y in zip(recorded.results, recorded.outputs, strict=True)
        ]
        self.changed = [arrays[buffer] for buffer in recorded.written if buffer in arrays]
        self.writes_back = [(Ref(b), b.nbytes, b.address) for b in recorded.written]
        self.leaves = []  # (weak reference to a leaf, the tensor that becomes its gradient)
        for leaf, _, after, ref in recorded.gradients:
            grad = None
            if after is not None:
                grad = _wrap(empty(after.shape, after.dtype, after.size), None)
                address = grad.array.address
                self.writes_back.append((ref, _nbytes(grad.array), address))
            self.leaves.append((weakref.ref(leaf), grad))

        # what must stay as it is
        self.watched = _watched(function)
        for module in recorded.recorder.modules:
            self.watched += _watched_of(vars(module))
        self.modes = [(module, module.training) for module in recorded.recorder.modules]

        self.plan = self.make_plan()
        self.batch_plans = {}
        self._check(recorded)

    def make_plan(self, before=()):
        """The plan, with more instructions before it, if wanted."""
        instructions = [*before, *self.instructions]
        for name in self.passes:
            if name in PASSES:
                instructions = PASSES[name](instructions)
        together = "merge_updates" in self.passes
        plan = Plan(instructions, self.inputs, self.results, self.writes_back, together)
        plan.rate_slot = None if self.rate is None else plan.feed(self.rate, 8)
        return plan

    def _check(self, recorded):
        """Run the plan from the start that eager mode had, and compare all bits."""
        outputs = [empty(*one) for one in self.shapes]
        recorded.restore(recorded.recorder.before)
        try:
            bases = _bases(self.plan, [b.address for b in self.inputs], outputs)
            self.plan.begin(bases)
            self.plan.run(1, 1, SECONDS, bases)
            self.plan.end(bases)
            wrong = [
                f"what {_writer(buffer, self.instructions)} writes"
                for buffer, content in recorded.written.items()
                if kernels.read_memory(buffer.address, buffer.nbytes) != content
            ]
        finally:
            recorded.restore(recorded.written)
        pairs = [("an output", y, z) for y, z in zip(recorded.outputs, outputs, strict=True)]
        for (_, _, after, _), (_, grad) in zip(recorded.gradients, self.leaves, strict=True):
            if after is not None:
                pairs.append(("a gradient", contiguous(after.array), grad.array))
        wrong += [
            f"{what} of shape {y.shape}" for what, y, z in pairs if _content(y) != _content(z)
        ]
        if wrong:
            raise CaptureError(
                f"capture: the plan does not give the bits of eager mode: {', '.join(wrong)}"
            )

    def check_surroundings(self):
        """Raise if a parameter was replaced or freed, or a module changed its mode."""
        for place, name, value in self.watched:
            if place.get(name) is not value:
                raise ReplayMismatch(
                    f"replay: {name!r} is another than when the step was captured; "
                    f"capture(fn) again"
                )
        for module, training in self.modes:
            if module.training is not training:
                was, now = ("train", "eval") if training else ("eval", "train")
                raise ReplayMismatch(
                    f"replay: {type(module).__name__} is in {now} mode, but was captured in {was} "
                    f"mode; call {was}() on it, or capture(fn) again"
                )
        for leaf, _ in self.leaves:
            if leaf() is None:
                raise ReplayMismatch(
                    "replay: a parameter of the captured step is gone; capture(fn) again"
                )

    def run(self, plan, given, tables, n, every, progress):
        """Run the plan; returns the recorded results.

        `given` are the addresses of the inputs, `tables` those of what is fed at each step.
        """
        count = -(-n // every)
        values = [empty((count, *shape), dtype, count * size) for shape, dtype, size in self.shapes]
        bases = _bases(plan, given, values, tables)
        mark_all_written(self.changed, "replay")
        plan.begin(bases)
        done, broken = 0, False
        try:
            while done < n:
                try:
                    done = plan.run(n, every, SECONDS, bases)
                except (ValueError, TypeError, MemoryError, IndexError):
                    broken = True  # in the middle of a step: nothing is written back
                    raise
                if progress is not None:
                    progress(done, n)
        finally:
            if not broken:
                plan.end(bases)
                if done:
                    for leaf, grad in self.leaves:
                        leaf().grad = grad
        return values


def _bases(plan, given, values, tables=()):
    """The addresses of all slots of a plan: inputs, results, and the tables {slot: address}."""
    bases = [*given, *[y.address for y in values]]
    bases += [0] * (plan.slots - len(bases))
    for slot, address in dict(tables).items():
        bases[slot] = address
    return kernels.integers(bases)


def _nbytes(array):
    return array.size * array.dtype.itemsize


def _content(array):
    return kernels.read_memory(array.address, _nbytes(array))


def _writer(buffer, instructions):
    names = [one.op or one.name for one in instructions if buffer in one.writes()]
    return names[-1] if names else "nobody"


def _learning_rate(instruction):
    """The pointer to the learning rate, in a list; empty if the instruction has none."""
    if "lr" not in [parameter for parameter, _ in CALLS[instruction.name][1]]:
        return []
    rate = instruction["lr"]
    return [rate] if is_ref(rate) and rate.buffer.role == "state" else []


def _watched(function):
    """The tensors and modules that a function refers to by name: (dict, name, value)."""
    owner = getattr(function, "__self__", None)
    function = getattr(function, "__func__", function)
    watched = _watched_of(vars(owner)) if hasattr(owner, "__dict__") else []
    code = getattr(function, "__code__", None)
    if code is None:
        return watched
    used = {name: function.__globals__.get(name) for name in code.co_names}
    watched += [(function.__globals__, name, value) for _, name, value in _watched_of(used)]
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            watched += [
                (_Cell(cell), name, value) for *_, value in _watched_of({name: cell.cell_contents})
            ]
        except ValueError:  # empty so far
            continue
    return watched


def _watched_of(names):
    from .nn.module import Module

    return [
        (names, name, value) for name, value in names.items() if isinstance(value, (Tensor, Module))
    ]


class _Cell:
    """A closure's variable, asked like a dict."""

    def __init__(self, cell):
        self.cell = cell

    def get(self, name):
        return self.cell.cell_contents


# ---- what users call ----------------------------------------------------------------------------


def capture(function, passes=(*PASSES, "merge_updates")):
    """Make a step of a function: it is written down when first called, and then runs in C.

    Parameters
    ----------
    function : callable
        Does one training step: forward, backward, update.  Its arguments are tensors, and
        numbers, which become 0-d float32 tensors.  It returns what shall be kept of a step: a
        Tensor, a tuple, list or dict of Tensors, or None.  A Python number that it finds
        elsewhere is constant by definition.
    passes : sequence of str
        The ways in which the plan is made shorter, see passes.py.  The bits of all results are
        the same with any of them.  Default: all.

    Returns
    -------
    Step

    Examples
    --------
    >>> import tinygrad_act as tga
    >>> w = tga.Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = tga.optim.SGD([w], lr=0.25)
    >>> def train_step():
    ...     optimizer.zero_grad()
    ...     cost = (w * w).sum()
    ...     cost.backward()
    ...     optimizer.step()
    ...     return cost
    >>> step = capture(train_step)
    >>> step.replay(3).tolist()
    [5.0, 1.25, 0.3125]
    >>> w.tolist()
    [0.125, 0.25]
    """
    unknown = set(passes) - {*PASSES, "merge_updates"}
    if unknown:
        raise ValueError(f"capture: there is no pass {', '.join(sorted(unknown))}")
    return Step(function, tuple(passes))


class Step:
    """A training step that is captured when first used; made by `capture`."""

    def __init__(self, function, passes):
        self._function = function
        self._passes = passes
        self._captured = {}  # shapes and dtypes of the inputs -> _Captured
        self._last = None  # the one used last, and its inputs
        self._inputs = []
        self._lock = threading.Lock()

    @property
    def plan(self):
        """The instructions of the step as last used, to be printed; None before."""
        return None if self._last is None else self._last.plan

    def __call__(self, *inputs):
        """Do one step: the first two times eagerly, after that by the plan.

        Parameters
        ----------
        *inputs : Tensor or number
            Of the same shapes and dtypes at each call.

        Returns
        -------
        What the function returns, with tensors outside the graph.

        Raises
        ------
        CaptureError
            If the step cannot be replayed.
        ReplayMismatch
            If the inputs have other shapes or dtypes than before, or the step itself is
            another: it runs other kernels at its second call, a parameter was replaced, a
            module changed its mode; or if another thread is running it.
        """
        with self._running():
            inputs = [_as_input(x) for x in inputs]
            captured = self._known(inputs)
            if captured is None or not captured.confirmed:
                captured, recorded = self._record(captured, inputs)
                self._last, self._inputs = captured, inputs
                return captured.rebuild([_wrap(y, None) for y in recorded.outputs])
            captured.check_surroundings()
            self._last, self._inputs = captured, inputs
            given = [x.array.address for x in inputs]
            values = captured.run(captured.plan, given, (), 1, 1, None)
            return captured.rebuild([_wrap(reshape(y, y.shape[1:]), None) for y in values])

    def replay(self, n, *inputs, lr=None, record_every=1, progress=None):
        """Do `n` steps in C.

        Parameters
        ----------
        n : int
        *inputs : Tensor or number
            The same for all of the steps.  Default: those of the last call.
        lr : sequence of n floats, optional
            The learning rate of each step, for the optimizer in it.
        record_every : int
            Keep the results of steps 0, k, 2 k, ...  Default: 1.
        progress : function (done, n), optional
            Called about every 50 ms.

        Returns
        -------
        As the function, with a first axis for the recorded steps in each tensor.

        Raises
        ------
        CaptureError, ReplayMismatch
            As a call.
        ValueError
            For a negative `n`, or another number of learning rates.
        KeyboardInterrupt
            On Ctrl-C, within 100 ms or one step, whichever is longer; every step up to
            then is done, none by half.

        Notes
        -----
        A step that was not called twice before is captured first, for which the function runs
        without lasting effect on any tensor.
        """
        n, every = _count(n, "n", 0), _count(record_every, "record_every", 1)
        with self._running():
            inputs = [_as_input(x) for x in inputs] or self._inputs
            captured = self._prepared(inputs)
            self._last, self._inputs = captured, inputs
            tables, alive = self._rates(captured, captured.plan, lr, n)
            given = [x.array.address for x in inputs]
            values = captured.run(captured.plan, given, tables, n, every, progress)
            self._keep_rate(captured, alive)
            return captured.rebuild([_wrap(y, None) for y in values])

    def epoch(self, data, batch_size, order=None, scale=1.0, lr=None, progress=None):
        """Do one step for each batch of some data sets, gathered in C.

        Parameters
        ----------
        data : sequence of Tensor or numpy.ndarray
            One for each input of the function, all of the same length: (rows, ...).
        batch_size : int
            Rows in a batch; the last may be shorter.
        order : sequence of int, Tensor or numpy.ndarray, optional
            The numbers of the rows, in the order of their use, such as a permutation.
            Default: 0, 1, 2, ...
        scale : float or sequence of float
            By which each data set is multiplied; data of uint8 become float32 if theirs is
            not 1.  Default: 1.
        lr : sequence of floats, optional
            The learning rate of each batch.
        progress : function (done, n), optional
            Called about every 50 ms with the number of batches done.

        Returns
        -------
        As the function; each tensor has a first axis for the batches.  If the last batch is
        shorter and the tensor has the rows of a batch, those of all batches follow each other.

        Raises
        ------
        ValueError, TypeError
            If lengths, scales or numbers of rows do not fit.
        CaptureError, ReplayMismatch
            As a call.
        """
        with self._running():
            sets = _DataSets(data, scale)
            size = _count(batch_size, "batch_size", 1)
            order = _order(order, sets.rows)
            whole, rest = divmod(order.size, size)
            parts = [(0, whole, size)] if whole else []
            parts += [(whole * size, 1, rest)] if rest else []
            count = whole + (rest > 0)
            if lr is not None:
                lr = _floats(lr, count)
            found, done = [], 0
            for start, steps, rows in parts:
                inputs = sets.batch(order, start, rows)
                captured = self._prepared(inputs, another=True)
                plan, index_slot = sets.plan(captured, rows)
                rates = None if lr is None else lr[done : done + steps]
                tables, alive = self._rates(captured, plan, rates, steps)
                tables[index_slot] = order.address + 8 * start
                report = progress and (lambda more, _, done=done: progress(done + more, count))
                given = [0] * len(inputs)
                found.append(captured.run(plan, given, tables, steps, 1, report))
                self._keep_rate(captured, alive)
                self._last = captured
                done += steps
            if not found:
                return None
            return self._last.rebuild([_wrap(_joined(ys), None) for ys in zip(*found)])

    # ---- capturing --------------------------------------------------------------------------

    def _known(self, inputs, another=False):
        key = tuple((x.shape, x.dtype) for x in inputs)
        if key not in self._captured and self._captured and not another:
            known = next(iter(self._captured))
            raise ReplayMismatch(
                f"replay: the inputs are {_listed(key)}, but the step was captured with "
                f"{_listed(known)}; capture(fn) again for others"
            )
        return self._captured.get(key)

    def _record(self, captured, inputs):
        """Run the function, write it down, and make or confirm the plan."""
        recorded = _Recorded(self._function, inputs)
        if captured is None:
            captured = _Captured(recorded, self._function, self._passes)
            self._captured[tuple((x.shape, x.dtype) for x in inputs)] = captured
            return captured, recorded
        signature = recorded.signature()
        pairs = enumerate(zip(captured.signature, signature))
        number = next((i for i, (first, second) in pairs if first != second), None)
        if number is not None:
            old, new = captured.instructions[number], recorded.instructions[number]
            raise ReplayMismatch(
                f"replay: the second call is another step: instruction {number} was "
                f"{old.op or old.name} and is {new.op or new.name}, or has other arguments; "
                f"what changes must be a tensor, and an input of the function"
            )
        if len(signature) != len(captured.signature):
            raise ReplayMismatch(
                f"replay: the second call is another step: it ran {len(signature)} kernels, the "
                f"first {len(captured.signature)}"
            )
        captured.confirmed = True
        return captured, recorded

    def _prepared(self, inputs, another=False):
        """The plan for such inputs; where needed, made without lasting effect."""
        captured = self._known(inputs, another)
        while captured is None or not captured.confirmed:
            captured, recorded = self._record(captured, inputs)
            recorded.undo()
        captured.check_surroundings()
        return captured

    # ---- learning rates ---------------------------------------------------------------------

    def _rates(self, captured, plan, lr, n):
        """The table of learning rates for a run: {slot: address}, and what keeps it alive."""
        if lr is None:
            return {}, None
        if captured.rate is None:
            there = "several optimizers" if captured.several_rates else "no optimizer"
            raise ValueError(f"replay: lr is given, but the step has {there}")
        rates = _floats(lr, n)
        memory = kernels.doubles(rates)
        return {plan.rate_slot: kernels.number_of(memory)}, (memory, rates)

    def _keep_rate(self, captured, alive):
        """The optimizer keeps the last learning rate, as it would in eager mode."""
        if alive and alive[1]:
            kernels.write_memory(captured.rate.address, struct.pack("d", alive[1][-1]))

    @contextmanager
    def _running(self):
        if not self._lock.acquire(blocking=False):
            raise ReplayMismatch("replay: another thread is running this step")
        try:
            yield
        finally:
            self._lock.release()


class _DataSets:
    """The data of an epoch: arrays with the same number of rows."""

    def __init__(self, data, scale):
        if isinstance(data, Tensor) or is_numpy(data):
            data = (data,)
        self.arrays = [_as_data(x) for x in data]
        if not self.arrays or any(not x.shape for x in self.arrays):
            raise ValueError("epoch: data must be arrays with a first axis for the rows")
        self.rows = self.arrays[0].shape[0]
        if any(x.shape[0] != self.rows for x in self.arrays):
            lengths = ", ".join(str(x.shape[0]) for x in self.arrays)
            raise ValueError(f"epoch: the data sets have different lengths: {lengths}")
        count = len(self.arrays)
        self.scales = [float(scale)] * count if isinstance(scale, (int, float)) else list(scale)
        if len(self.scales) != count:
            raise ValueError(f"epoch: {count} data sets, but {len(self.scales)} scales")
        self.scales = [1.0 if s is None else float(s) for s in self.scales]
        for x, s in zip(self.arrays, self.scales, strict=True):
            if s != 1 and not (x.dtype.is_float or x.dtype is uint8):
                raise TypeError(f"epoch: data of {x.dtype} cannot be scaled")

    def _call(self, number, rows):
        """How one data set is gathered: dtype of the result, shape and size, arguments."""
        x, scale = self.arrays[number], self.scales[number]
        dtype = float32 if x.dtype is uint8 and scale != 1 else x.dtype
        shape = (rows, *x.shape[1:])
        return dtype, shape, [dtype.code, x.dtype.code, rows, prod(x.shape[1:]), self.rows]

    def batch(self, order, start, rows):
        """The inputs made of some rows, as in eager mode."""
        index = kernels.offset(order.data, 8 * start)
        inputs = []
        for number, (x, scale) in enumerate(zip(self.arrays, self.scales, strict=True)):
            dtype, shape, sizes = self._call(number, rows)
            y = empty(shape, dtype, prod(shape))
            status = lib.tga_batch(*sizes, kernels.as_int64(index), x.data, scale, y.data)
            kernels.check(status, "epoch", ": a row's number is")
            inputs.append(_wrap(y, None))
        return inputs

    def plan(self, captured, rows):
        """The plan of a step with the gathering of its batch before it, and the index' slot."""
        addresses = [x.address for x in self.arrays]
        key = (*addresses, *self.scales, self.rows)
        if key not in captured.batch_plans:
            index = Buffer(8 * rows, "scratch")
            index.kept = True
            before = []
            for number, buffer in enumerate(captured.inputs):
                *_, sizes = self._call(number, rows)
                args = [*sizes, Ref(index), addresses[number], self.scales[number], Ref(buffer)]
                before.append(Instruction("tga_batch", args, "batch"))
            plan = captured.make_plan(before)
            captured.batch_plans.clear()  # of other data
            captured.batch_plans[key] = plan, plan.feed(index, 8 * rows), self.arrays
        plan, slot, _ = captured.batch_plans[key]
        return plan, slot


def _as_data(x):
    if isinstance(x, Tensor):
        return contiguous(x.array)
    if is_numpy(x):
        return contiguous(view_of_numpy(x))
    raise TypeError(f"epoch: data must be Tensors or NumPy arrays, not {type(x).__name__}")


def _order(order, rows):
    """The numbers of the rows as a contiguous int64 array."""
    if order is None:
        y = empty((rows,), int64, rows)
        lib.tga_arange(int64.code, rows, 0, 1, y.data)
        return y
    if is_numpy(order):
        array = view_of_numpy(order.astype("int64"))
    elif isinstance(order, Tensor):
        array = order.array
    else:
        array = Tensor(list(order), dtype="int64").array
    if len(array.shape) != 1 or array.dtype.is_float:
        raise ValueError(
            f"epoch: order must be a row of integers, not {array.dtype} of shape {array.shape}"
        )
    return contiguous(array if array.dtype is int64 else convert(array, int64))


def _joined(values):
    """The results of the parts of an epoch, one after the other."""
    if len(values) == 1:
        return values[0]
    whole, rest = values
    if whole.shape[1:] != rest.shape[1:]:  # they have the rows of a batch
        whole, rest = [reshape(y, (y.shape[0] * y.shape[1], *y.shape[2:])) for y in (whole, rest)]
    shape = (whole.shape[0] + rest.shape[0], *whole.shape[1:])
    joined = empty(shape, whole.dtype, whole.size + rest.size)
    copy_into(index_view(joined, slice(whole.shape[0])), whole)
    copy_into(index_view(joined, slice(whole.shape[0], None)), rest)
    return joined


def _as_input(x):
    if isinstance(x, (int, float)):
        return Tensor(x)
    if not isinstance(x, Tensor):
        raise TypeError(f"capture: an input must be a Tensor or a number, not {type(x).__name__}")
    if x.requires_grad:
        raise CaptureError(
            "capture: an input of a step must not require a gradient; make it a parameter that "
            "the function finds by itself, or detach() it"
        )
    return x if x.array.strides is None else _wrap(contiguous(x.array), None)


def _listed(key):
    return ", ".join(f"{dtype} of shape {shape}" for shape, dtype in key) or "none"


def _count(n, name, least):
    if not isinstance(n, int) or isinstance(n, bool) or n < least:
        raise ValueError(f"replay: {name} must be a whole number of at least {least}, not {n!r}")
    return n


def _floats(values, n):
    values = [float(value) for value in values]
    if len(values) != n:
        raise ValueError(f"replay: {n} steps, but {len(values)} learning rates")
    return values
