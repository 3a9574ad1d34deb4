"""A captured step: write one training step down, and run it again and again in C, without Python.

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

import threading

from . import kernels
from .arguments import whole as whole_number
from .array import contiguous, convert, index_view
from .batches import DataSets, as_order, joined
from .passes import PASSES
from .plan import PLACEMENTS
from .recorder import CaptureError, Recording
from .replay import Captured, ReplayMismatch
from .tensor import Tensor, _wrap


def capture(function, passes=(*PASSES, *PLACEMENTS)):
    """Make a step of a function: it is written down when first called, and then runs in C.

    Parameters
    ----------
    function : callable
        Does one training step: forward, backward, update.  Its arguments are tensors, and
        numbers, which become 0-d float32 tensors.  It returns what shall be kept of a step: a
        Tensor, a tuple, list or dict of Tensors, or None.  A Python number that it finds
        elsewhere is constant by definition.
    passes : sequence of str
        The ways in which the plan is made shorter and smaller, see passes.py and plan.py.  The
        bits of all results are the same with any of them.  Default: all.

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
    unknown = set(passes) - {*PASSES, *PLACEMENTS}
    if unknown:
        raise ValueError(f"capture: there is no pass {', '.join(sorted(unknown))}")
    return Step(function, tuple(passes))


class Step:
    """A training step that is captured when first used; made by `capture`."""

    def __init__(self, function, passes):
        self._function = function
        self._passes = passes
        self._captured = {}  # shapes and dtypes of the inputs -> Captured
        self._last = None  # the captured step used last, and its inputs
        self._inputs = []
        self._epoch_plan = None  # that of the last epoch, if nothing else ran since
        self._sets = None  # the data sets of the last epoch
        self._running = threading.Lock()

    @property
    def plan(self):
        """The instructions of the step as last used, to be printed; None before."""
        return self._epoch_plan or (self._last and self._last.plan)

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
        self._begin()
        try:
            inputs = [_as_input(x) for x in inputs]
            captured = self._captured_for(inputs)
            if captured is not None and captured.confirmed:
                values = captured.once(inputs)
            else:
                captured, recorded = self._record(captured, inputs)
                # copies, since a result may be a parameter, or a view of one
                values = [_wrap(convert(y, y.dtype), None) for y in recorded.outputs]
            self._last, self._inputs, self._epoch_plan = captured, inputs, None
            return captured.rebuild(values)
        finally:
            self._running.release()

    def _begin(self):
        """Keep other threads out, until `_running` is released."""
        if not self._running.acquire(False):
            raise ReplayMismatch("replay: another thread is running this step")

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
            For a negative `n`, or another number of learning rates; or from a kernel, such as
            for a label out of range: then nothing of this run is kept.
        KeyboardInterrupt
            On Ctrl-C, within 100 ms or one step, whichever is longer; every step up to
            then is done, none by half.

        Notes
        -----
        A step that was not called twice before is captured first, for which the function runs
        without lasting effect on any tensor.
        """
        n = whole_number("replay", "n", n, 0)
        every = whole_number("replay", "record_every", record_every, 1)
        self._begin()
        try:
            inputs = [_as_input(x) for x in inputs] or self._inputs
            captured = self._prepared(inputs)
            self._last, self._inputs, self._epoch_plan = captured, inputs, None
            tables, alive = self._rates(captured, captured.plan, lr, n)
            given = [x.array.address for x in inputs]
            rates = alive and alive[1]
            report = progress and (lambda done, n, _: progress(done, n))
            values = captured.run(captured.plan, given, tables, n, every, report, rates)
            return captured.rebuild([_wrap(y, None) for y in values])
        finally:
            self._running.release()

    def epoch(self, data, batch_size, order=None, scale=1.0, lr=None, progress=None, watch=None):
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
        watch : function (done, n, results), optional
            The same, and ``results()`` is what `epoch` would return after the batches done.

        Returns
        -------
        As the function; each tensor has a first axis for the batches.  If the last batch is
        shorter and the tensor has the rows of a batch, those of all batches follow each other.

        Raises
        ------
        ValueError, TypeError
            If lengths, scales or numbers of rows do not fit; or from a kernel, such as for a
            label out of range: then nothing of this run is kept.
        CaptureError, ReplayMismatch
            As a call.
        """
        self._begin()
        try:
            sets = self._data_sets(data, scale)
            size = whole_number("epoch", "batch_size", batch_size, 1)
            order = as_order(order, sets.rows)
            whole, rest = divmod(order.size, size)
            parts = [(0, whole, size)] if whole else []
            parts += [(whole * size, 1, rest)] if rest else []
            count = whole + (rest > 0)
            if lr is not None:
                lr = _floats("epoch", lr, count)
            ready = []
            for start, steps, rows in parts:
                captured = self._captured.get(sets.key(rows))
                if captured is not None and captured.confirmed:
                    captured.check_surroundings()
                else:
                    captured = self._prepared(sets.batch(order, start, rows), another=True)
                ready.append((start, steps, captured, *sets.plan(captured, rows)))
            if len(ready) == 2:
                _check_joinable(ready[0][2].shapes, ready[1][2].shapes, size, rest)
            found, done = [], 0
            for start, steps, captured, plan, index_slot in ready:
                rates = None if lr is None else lr[done : done + steps]
                tables, alive = self._rates(captured, plan, rates, steps)
                tables[index_slot] = order.address + 8 * start

                def report(more, _, values, captured=captured, done=done, before=tuple(found)):
                    if progress is not None:
                        progress(done + more, count)
                    if watch is not None:
                        so_far = [*before, [index_view(y, slice(more)) for y in values]]
                        watch(done + more, count, lambda: _results(captured, so_far))

                given = [0] * len(captured.inputs)
                found.append(captured.run(plan, given, tables, steps, 1, report, rates))
                self._last, self._epoch_plan = captured, plan
                done += steps
            if not found:
                return None
            return _results(self._last, found)
        finally:
            self._running.release()

    def _data_sets(self, data, scale):
        """The data sets of an epoch; those of the last one, if they are the same."""
        if self._sets is None or not self._sets.are(data, scale):
            self._sets = DataSets(data, scale)
        else:
            self._sets.refresh()
        return self._sets

    # ---- capturing --------------------------------------------------------------------------

    def _captured_for(self, inputs, another=False):
        key = _key(inputs)
        if key not in self._captured and self._captured and not another:
            known = next(iter(self._captured))
            raise ReplayMismatch(
                f"replay: the inputs are {_listed(key)}, but the step was captured with "
                f"{_listed(known)}; capture(fn) again for others"
            )
        return self._captured.get(key)

    def _record(self, captured, inputs):
        """Run the function, write it down, and make or confirm the plan."""
        if captured is not None:
            captured.release_plan()  # the step needs the memory once more
        recorded = Recording(self._function, inputs)
        if captured is None:
            captured = Captured(recorded, self._function, self._passes)
            self._captured[_key(inputs)] = captured
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
        captured = self._captured_for(inputs, another)
        gradients = {}  # leaf -> its gradient before; put back at the end only, so that
        try:  # the second recording sees what the first has left, as in eager mode
            while captured is None or not captured.confirmed:
                captured, recorded = self._record(captured, inputs)
                recorded.restore()
                for leaf, before, *_ in recorded.gradients:
                    gradients.setdefault(leaf, before)
                del recorded  # and the contents that it keeps
        finally:
            for leaf, before in gradients.items():
                leaf.grad = before
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
        rates = _floats("replay", lr, n)
        memory = kernels.doubles(rates)
        return {plan.rate_slot: kernels.number_of(memory)}, (memory, rates)


def _key(inputs):
    """What tells one captured step from another: shapes and dtypes of its inputs."""
    return tuple([(x.shape, x.dtype) for x in inputs])


def _check_joinable(whole, rest, size, rows):
    """Raise unless the results of whole batches and of the shorter last one can be joined."""
    for (one, *_), (other, *_) in zip(whole, rest, strict=True):
        if one != other and (one[:1], other[:1], one[1:]) != ((size,), (rows,), other[1:]):
            raise ValueError(
                f"epoch: a result of shape {one} has the shape {other} for the last, shorter "
                f"batch: only its first axis may be that of the batch; use a batch_size that "
                f"divides the number of rows"
            )


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


def _results(captured, parts):
    """What the function returns, of all batches: `parts` are those of full size, and the last."""
    return captured.rebuild([_wrap(joined(values), None) for values in zip(*parts)])


def _listed(key):
    return ", ".join(f"{dtype} of shape {shape}" for shape, dtype in key) or "none"


def _floats(caller, values, n):
    values = [float(value) for value in values]
    if len(values) != n:
        raise ValueError(f"{caller}: {n} steps, but {len(values)} learning rates")
    return values
