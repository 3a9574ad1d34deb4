"""replay.py: a step that was written down, as a plan that is checked and can be run."""

import struct
import weakref

from . import kernels
from .array import contiguous, empty, mark_all_written
from .passes import PASSES
from .plan import CALLS, Plan, Ref, is_ref
from .recorder import CaptureError, nbytes_of
from .tensor import Tensor, _wrap

lib = kernels.lib

SECONDS = 0.05  # how long C runs before Python looks whether somebody wants to stop


class ReplayMismatch(RuntimeError):
    """A step is no longer what was captured."""


class Captured:
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
            (ref, nbytes_of(y)) for ref, y in zip(recorded.results, recorded.outputs, strict=True)
        ]
        self.changed = [arrays[buffer] for buffer in recorded.written if buffer in arrays]
        self.writes_back = [(Ref(b), b.nbytes, b.address) for b in recorded.written]
        self.leaves = []  # (weak reference to a leaf, the tensor that becomes its gradient)
        for leaf, _, after, ref in recorded.gradients:
            grad = None
            if after is not None:
                grad = _wrap(empty(after.shape, after.dtype, after.size), None)
                address = grad.array.address
                self.writes_back.append((ref, nbytes_of(grad.array), address))
                self.changed.append(grad.array)  # the next replay writes to it again
            self.leaves.append((weakref.ref(leaf), grad))
        for ref, nbytes, *_ in (*self.results, *self.writes_back):
            if ref.offset or nbytes != ref.buffer.nbytes:
                ref.buffer.plain = True

        # what must stay as it is
        self.watched = _watched(function)
        for module in recorded.recorder.modules:
            self.watched += _watched_of(vars(module))
        self._in_cells = [one for one in self.watched if type(one[0]) is _Cell]
        others = [one for one in self.watched if type(one[0]) is not _Cell]
        self._in_dicts = [list(column) for column in zip(*others)] or ([], [], [])
        self.modules = list(recorded.recorder.modules)
        self.modes = [module.training for module in self.modules]

        kernels.release_pool()  # what eager mode has left there would come on top of the plan
        self._plan = self.make_plan()
        self.batch_plans = {}
        self._bases = kernels.integers([0] * self._plan.slots)  # for one step at a time
        self._check(recorded)

    @property
    def plan(self):
        """The plan of the step alone; made again if `release_plan` has let it go."""
        if self._plan is None:
            self._plan = self.make_plan()
        return self._plan

    def release_plan(self):
        """Let the plan of the step alone go, with its memory: epochs have another."""
        self._plan = None
        kernels.release_pool()

    def make_plan(self, before=()):
        """The plan, with more instructions before it, if wanted."""
        instructions = [*before, *self.instructions]
        for one in instructions:
            for buffer in one.reads() | one.writes():
                buffer.form, buffer.item = None, 1
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
        if not (lib.unchanged(*self._in_dicts) and all(map(_is_same, self._in_cells))):
            for names, name, value in self.watched:
                if names.get(name) is value:
                    continue
                raise ReplayMismatch(
                    f"replay: {name!r} is another than when the step was captured; "
                    f"capture(fn) again"
                )
        if [module.training for module in self.modules] != self.modes:
            for module, training in zip(self.modules, self.modes, strict=True):
                if module.training is not training:
                    was, now = ("train", "eval") if training else ("eval", "train")
                    raise ReplayMismatch(
                        f"replay: {type(module).__name__} is in {now} mode, but was captured in "
                        f"{was} mode; call {was}() on it, or capture(fn) again"
                    )
        for leaf, _ in self.leaves:
            if leaf() is None:
                raise ReplayMismatch(
                    "replay: a parameter of the captured step is gone, or requires no gradient "
                    "any more; capture(fn) again"
                )

    def once(self, inputs):
        """One step; returns the results.  The same as `run`, for a loop in Python."""
        bases, values = self._bases, []
        slot = 0
        for x in inputs:
            bases[slot] = x.array.address
            slot += 1
        for shape, dtype, size in self.shapes:
            y = empty(shape, dtype, size)
            bases[slot] = y.address
            values.append(y)
            slot += 1
        mark_all_written(self.changed, "replay")
        self.plan.once(bases)
        for leaf, grad in self.leaves:
            leaf().grad = grad
        return values

    def run(self, plan, given, tables, n, every, progress, rates=None):
        """Run the plan; returns the recorded results.

        `given` are the addresses of the inputs, `tables` those of what is fed at each step,
        `rates` the learning rates among it: the optimizer keeps that of the last step done.
        `progress` is told (steps done, n, results), of which those of the steps done are there.
        Where a kernel fails, nothing is written back.
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
                    progress(done, n, values)
        finally:
            if not broken:
                plan.end(bases)
                done = plan.done()  # also of a run that Ctrl-C has ended
                if done:
                    for leaf, grad in self.leaves:
                        leaf().grad = grad
                    if rates:
                        rate = struct.pack("d", rates[done - 1])
                        kernels.write_memory(self.rate.address, rate)
        return values


def _bases(plan, given, values, tables=()):
    """The addresses of all slots of a plan: inputs, results, and the tables {slot: address}."""
    bases = [*given, *[y.address for y in values]]
    bases += [0] * (plan.slots - len(bases))
    for slot, address in dict(tables).items():
        bases[slot] = address
    return kernels.integers(bases)


def _content(array):
    return kernels.read_memory(array.address, nbytes_of(array))


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
    from .optim import Optimizer

    kinds = (Tensor, Module, Optimizer)
    return [(names, name, value) for name, value in names.items() if isinstance(value, kinds)]


def _is_same(watched):
    names, name, value = watched
    return names.get(name) is value


class _Cell:
    """A closure's variable, asked like a dict."""

    def __init__(self, cell):
        self.cell = cell

    def get(self, name):
        return self.cell.cell_contents
