"""replay.py: a step that was written down, as a plan that is checked and can be run."""

import struct
import weakref

from . import kernels
from .array import contiguous, empty, mark_all_written, next_write, reshape
from .passes import PASSES
from .plan import CALLS, Plan, Ref, is_ref
from .recorder import CaptureError, digest, nbytes_of
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
        self._noted = [buffer for buffer in recorded.written if buffer in arrays]
        self.changed = [arrays[buffer] for buffer in self._noted]
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
            self.watched += _watched_in(vars(module))
        self.modules = list(recorded.recorder.modules)
        self.modes = [module.training for module in self.modules]
        self._look()

        kernels.release_pool()  # what eager mode has left there would come on top of the plan
        self._plan = self.make_plan()
        self.batch_plans = {}
        self._check(recorded)
        self._quick = None  # what `once` hands to C, and the number of the last write by it
        self._last_write = -1

    @property
    def plan(self):
        """The plan of the step alone; made again if `release_plan` has let it go."""
        if self._plan is None:
            self._plan = self.make_plan()
        return self._plan

    def release_plan(self):
        """Let the plan of the step alone go, with its memory: epochs have another."""
        self._plan = self._quick = None
        self._last_write = -1  # another plan has nothing of what this one was told
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
        handed = self.inputs, self.results, self.writes_back
        plan = Plan(instructions, *handed, set(self._noted), self.passes)
        plan.rate_slot = None if self.rate is None else plan.feed(self.rate, 8)
        return plan

    def _check(self, recorded):
        """Run the plan from the start that eager mode had, and compare all bits.

        What is outside is then as after the step; or, if a bit differs, as before it.
        """
        outputs = [empty(*one) for one in self.shapes]
        recorded.restore()
        bases = _bases(self.plan, [b.address for b in self.inputs], outputs)
        self.plan.begin(bases)
        self.plan.run(1, 1, SECONDS, bases)
        self.plan.end(bases)
        wrong = [
            f"what {_writer(buffer, self.instructions)} writes"
            for buffer, content in recorded.written.items()
            if digest(buffer) != content
        ]
        pairs = [("an output", y, z) for y, z in zip(recorded.outputs, outputs, strict=True)]
        for (_, _, after, _), (_, grad) in zip(recorded.gradients, self.leaves, strict=True):
            if after is not None:
                pairs.append(("a gradient", contiguous(after.array), grad.array))
        wrong += [
            f"{what} of shape {y.shape}" for what, y, z in pairs if _content(y) != _content(z)
        ]
        if wrong:
            recorded.restore()
            raise CaptureError(
                f"capture: the plan does not give the bits of eager mode: {', '.join(wrong)}"
            )

    def _look(self):
        """Note what is there now, for `unchanged` of csrc/step.c."""
        dicts = [vars(module) for module in self.modules]
        known = set(map(id, dicts))  # of which every item is looked at
        others = [one for one in self.watched if id(one.container) not in known]
        columns = [[getattr(one, name) for one in others] for name in ("container", "key", "value")]
        items = [[part for item in one.items() for part in item] for one in dicts]
        self._seen = (*columns, dicts, items)
        self._watch = lib.array_watch(*self._seen)

    def check_surroundings(self):
        """Raise if a parameter was replaced or freed, or a module changed its mode."""
        if not lib.unchanged(self._watch):
            for one in self.watched:
                if one.held() is not one.value:
                    raise ReplayMismatch(
                        f"replay: {one.name!r} is another than when the step was captured; "
                        f"capture(fn) again"
                    )
            for module, training in zip(self.modules, self.modes, strict=True):
                if module.training is not training:
                    was, now = ("train", "eval") if training else ("eval", "train")
                    raise ReplayMismatch(
                        f"replay: {type(module).__name__} is in {now} mode, but was captured in "
                        f"{was} mode; call {was}() on it, or capture(fn) again"
                    )
            self._look()  # something else has changed, that does not matter
            self._quick = None
        for leaf, _ in self.leaves:
            if leaf() is None:
                raise ReplayMismatch(
                    "replay: a parameter of the captured step is gone, or requires no gradient "
                    "any more; capture(fn) again"
                )

    def once(self, inputs):
        """One step; returns the results.  The same as `run`, for a loop in Python."""
        if self._quick is None:
            self.check_surroundings()
            self._quick = self._prepared()
        arrays = [x.array for x in inputs]
        number = next_write()
        values = lib.quick_step(self._quick[0], arrays, self._last_write, number)
        if type(values) is list:
            self._last_write = number
            return values
        self._last_write = -1
        if values is not None:
            self.plan.raise_for(values)
        self.check_surroundings()  # something has changed, or is not plain
        given = [x.address for x in arrays]
        values = self.run(self.plan, given, (), 1, 1, None)
        return [_wrap(reshape(y, y.shape[1:]), None) for y in values]

    def _prepared(self):
        """What `quick_step` of csrc/step.c needs, and all that keeps it valid."""
        plan = self.plan
        given = (
            self._watch,
            [leaf for leaf, _ in self.leaves],
            [grad for _, grad in self.leaves],
            self.changed,
            [(shape, dtype.code, size) for shape, dtype, size in self.shapes],
        )
        return lib.array_step(plan.address_in_c, plan.slots, *given), given, plan

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
                done = plan.done()  # also of a run that Ctrl-C has ended
                if done:  # else there is nothing to write back: not even zeros, as gradients
                    plan.end(bases)
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


class Watched:
    """Something that a step depends on: `value`, which `container` holds as `key`.

    The container is a dict, a list or the cell of a closure; `name` is for people.
    """

    __slots__ = ("container", "key", "value", "name")

    def __init__(self, container, key, value, name):
        self.container = container
        self.key = key
        self.value = value
        self.name = name

    def held(self):
        """What the container holds now; None if nothing."""
        try:
            if isinstance(self.container, (dict, list)):
                return self.container[self.key]
            return self.container.cell_contents
        except (LookupError, ValueError):
            return None


def _watched(function):
    """The tensors, modules and optimizers that a function refers to by name."""
    owner = getattr(function, "__self__", None)
    function = getattr(function, "__func__", function)
    watched = _watched_in(vars(owner)) if hasattr(owner, "__dict__") else []
    code = getattr(function, "__code__", None)
    if code is None:
        return watched
    for name in code.co_names:
        if name in function.__globals__:
            watched += _watched_as(function.__globals__, name, function.__globals__[name], name)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            watched += _watched_as(cell, name, cell.cell_contents, name)
        except ValueError:  # empty so far
            continue
    return watched


def _watched_in(names):
    return [one for name, value in names.items() for one in _watched_as(names, name, value, name)]


def _watched_as(container, key, value, name):
    """What is to be watched of a value: itself, or those in a list, a tuple or a dict."""
    from .nn.module import Module
    from .optim import Optimizer

    kinds = (Tensor, Module, Optimizer)
    itself = Watched(container, key, value, name)
    if isinstance(value, kinds):
        return [itself]
    if type(value) is tuple and any(isinstance(item, kinds) for item in value):
        return [itself]
    items = []
    if type(value) is list:
        items = list(enumerate(value))
    elif type(value) is dict:
        items = list(value.items())
    inside = [
        Watched(value, one, item, f"{name}[{one!r}]")
        for one, item in items
        if isinstance(item, kinds)
    ]
    return [itself, *inside] if inside else []
