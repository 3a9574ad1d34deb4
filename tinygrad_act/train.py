"""Training: from data and a model to a history of its errors, in one call.

`fit` is a loop that everybody could write; what it adds is bookkeeping.  It shows how far
it is, takes a history, looks at data that were held out, and goes on after an interruption as
if nothing had happened: all that is random follows from the seed, the number of the epoch and
the state of the generator, which a checkpoint holds.
"""

import csv
import math
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from . import checkpoint, optim
from .arguments import flag, function, number, whole
from .data import batches, check_batch_size, checked_rows, end_of_first, permutation
from .graph import no_grad
from .nn import Module, evaluating
from .nn.module import keeping_modes
from .ops.random import default_generator
from .recorder import CaptureError
from .replay import ReplayMismatch
from .step import capture
from .tensor import Tensor


class History(dict):
    """What was measured after each epoch: a dict from a name, such as "loss", to a list of float.

    Examples
    --------
    >>> history = History(loss=[0.7, 0.4])
    >>> history.epochs, history["loss"][-1]
    (2, 0.4)
    """

    @property
    def epochs(self):
        """How many epochs there have been."""
        return max(map(len, self.values()), default=0)

    def add(self, values):
        """Note the values of one more epoch, a dict from str to float."""
        for name, value in values.items():
            self.setdefault(name, []).append(float(value))

    def rows(self):
        """The same by epochs: a list of dicts, with the number of the epoch from 1 on.

        What is not measured any more, since a training went on with fewer metrics, is left out.
        """
        return [
            {"epoch": i + 1, **{name: of[i] for name, of in self.items() if i < len(of)}}
            for i in range(self.epochs)
        ]

    def write_csv(self, path):
        """Write a table with a line for each epoch."""
        with open(path, "w", newline="") as file:
            table = csv.writer(file)
            names = ["epoch", *self]
            table.writerow(names)
            table.writerows([row.get(name, "") for name in names] for row in self.rows())


def accuracy(output, target):
    """The share of rows that are classified right: a Tensor of one number.

    Parameters
    ----------
    output : Tensor, (n, classes) or (n, 1) or (n,)
        Scores of the classes, of which the largest counts (the first of those that are
        equal); or the probability of the one class, which counts from above 1/2 on.
    target : Tensor
        The number of the class, integers (n,); or of the shape of `output`: 1 for the class
        that is right, else 0.

    Examples
    --------
    >>> scores = Tensor([[0.1, 0.9], [0.8, 0.2]])
    >>> accuracy(scores, Tensor([1, 1], dtype="int64")).item()
    0.5
    >>> accuracy(Tensor([[0.7], [0.2]]), Tensor([[1.0], [0.0]])).item()
    1.0
    """
    if target.shape == output.shape and (output.ndim < 2 or output.shape[-1] == 1):
        right = (output > 0.5) == (target > 0.5)
    elif target.shape == output.shape:
        right = output.argmax(axis=-1) == target.argmax(axis=-1)
    elif not target.dtype.is_float and target.shape == output.shape[:-1]:
        right = output.argmax(axis=-1) == target
    else:
        raise ValueError(
            f"accuracy: output is {output.shape} but target is {target.dtype} of shape "
            f"{target.shape}; it must be of the same shape, or integers of shape "
            f"{output.shape[:-1]}"
        )
    return right.astype("float32").mean()


METRICS = {"accuracy": accuracy}


def fit(
    model,
    data,
    loss,
    optimizer,
    epochs,
    batch_size=32,
    *,
    validation_split=None,
    validation_data=None,
    metrics=("accuracy",),
    clip=None,
    schedule=None,
    callbacks=(),
    progress=True,
    seed=0,
    scale=1 / 255,
    resume=None,
    replay=True,
):
    """Train a model, and return how its errors went.

    Parameters
    ----------
    model : Module
        From inputs to outputs.  If it is in evaluation mode, all of it is in training mode
        for the epochs, and then as it was; if it is not, those of its layers that are stay
        so.  Parameters that require no gradient do not change.
    data : pair of Tensor
        Inputs and targets, one row for each example.  Inputs of dtype uint8 become float32
        batch by batch, times `scale`.
    loss : function (output, target) -> Tensor
        The mean over a batch, such as `cross_entropy`.
    optimizer : Optimizer
    epochs : int
        How often to go through all of the data.
    batch_size : int
        Default: 32.  The last batch of an epoch may be smaller.
    validation_split : float, optional
        The share of the data, drawn at random, that is held out.
    validation_data : pair of Tensor, optional
        Other data for this purpose.
    metrics : sequence of str, or dict from str to function (output, target) -> Tensor
        What to measure besides the loss.  Default: accuracy, see `accuracy`.
    clip : pair, optional
        ("value", 0.5) puts every element of the gradients into ±0.5; ("norm", 1.0) scales
        them so that their norm is at most 1.
    schedule : Schedule, optional
        The learning rate of each step, counted from the first of all.
    callbacks : sequence of Callback
        Asked after each epoch.
    progress : bool
        Show a progress bar, with tqdm, where a terminal shows it; else a line for each epoch.
    seed : int
        Decides the order of the data and what is held out.  Default: 0.
    scale : float
        Default: 1 / 255.
    resume : str or path, optional
        A checkpoint, as `Checkpoint` writes them, to go on from; if there is none yet,
        training begins.
    replay : bool
        Write a step down and run it in C, see `capture`, which changes no bit of the results.
        Where a step cannot be replayed, a line says why, and Python runs it.  Default: True.

    Returns
    -------
    History
        "loss" and each metric, means over the batches of an epoch while they trained; with
        data held out also "val_loss" and the like, after the epoch and with the model in
        evaluation mode.

    Raises
    ------
    TypeError, ValueError
        For data of different lengths or without rows, a number of epochs below 0, unknown
        metrics, or a checkpoint of another model.

    Examples
    --------
    >>> from tinygrad_act import bce, data, manual_seed, nn, optim
    >>> manual_seed(1)
    >>> net = nn.Sequential(nn.Linear(2, 3), "tanh", nn.Linear(3, 1), "sigmoid")
    >>> adam = optim.Adam(net.parameters(), lr=0.03)
    >>> history = fit(net, data.circle(), bce, adam, 30, 10, validation_split=0.5, progress=False)
    >>> history["loss"][-1] < history["loss"][0] and history["val_accuracy"][-1] > 0.9
    True
    """
    data, rows = _checked_pair("data", data)
    check_batch_size("fit", batch_size)
    _check_kinds(model, loss, optimizer)
    epochs = whole("fit", "epochs", epochs, least=0)
    seed, scale = whole("fit", "seed", seed), number("fit", "scale", scale)
    if schedule is not None and not isinstance(schedule, optim.Schedule):
        raise TypeError(f"fit: schedule must be an optim.Schedule, not {schedule!r}")
    if validation_split is not None and validation_data is not None:
        raise ValueError("fit: give validation_split or validation_data, not both")
    callbacks = _checked_callbacks(callbacks)
    kept, held_out = _hold_out(rows, validation_split, seed)
    if held_out is not None:
        validation_data = data
    elif validation_data is not None:
        validation_data, _ = _checked_pair("validation_data", validation_data)
    metrics = _named(() if metrics is None else metrics)
    flag("fit", "progress", progress)
    flag("fit", "replay", replay)
    if resume is not None and not isinstance(resume, (str, Path)):
        raise TypeError(f"fit: resume must be a path, not {resume!r}")
    clip = _clipper(clip)

    def outputs_of(x, t):
        if x.dtype.name == "uint8":
            x = x.astype("float32") * scale
        y = model(x)
        return y, _one_number("loss", loss(y, t))

    def step(x, t):
        optimizer.zero_grad()
        y, cost = outputs_of(x, t)
        cost.backward()
        clip(optimizer.parameters)
        optimizer.step()
        with no_grad():
            return cost, *[_one_number(name, metric(y, t)) for name, metric in metrics.items()]

    def evaluate(x, t):
        y, cost = outputs_of(x, t)
        return cost, *[_one_number(name, metric(y, t)) for name, metric in metrics.items()]

    run = Run(model, optimizer, epochs, callbacks)
    names = ["loss", *metrics]  # of what is measured
    if resume is not None and Path(resume).exists():
        validated = [] if validation_data is None else [f"val_{name}" for name in names]
        run.load(resume, names + validated)
    with _training(model):
        for callback in run.callbacks:
            callback.begin(run)
        steps = math.ceil(len(kept) / batch_size)
        report = _Report(run, progress, steps, names)
        replayed = _Replayed(step, run, report) if replay else None
        while run.epoch < epochs and not run.stop:
            order = kept[permutation(len(kept), seed, run.epoch).numpy()]
            rates = schedule and schedule.values(steps, run.epoch * steps)
            report.begin()
            results = replayed and replayed.epoch(data, batch_size, order, scale, rates)
            if results is None:
                replayed = None
                results = _by_python(step, optimizer, data, batch_size, order, rates, report)
            sizes = [min(batch_size, len(order) - i * batch_size) for i in range(steps)]
            values = _means(names, results, sizes)
            if validation_data is not None:
                values |= _validate(model, evaluate, validation_data, held_out, batch_size, metrics)
            run.epoch += 1
            run.history.add(values)
            for callback in run.callbacks:
                callback.epoch(run)
            report.end(values)
        for callback in run.callbacks:
            callback.end(run)
    return run.history


@contextmanager
def _training(model):
    """A model in evaluation mode trains as any other inside, and gets its modes back after."""
    if model.training:  # then parts of it that are in evaluation mode shall stay so
        yield
        return
    with keeping_modes(model):
        model.train()
        yield


def _checked_pair(name, data):
    """Inputs and targets, and how many rows there are of them."""
    data, rows = checked_rows(f"fit: {name}", data)
    if len(data) != 2:
        raise ValueError(f"fit: {name} must be a pair, inputs and targets, not {len(data)} tensors")
    if not rows:
        shapes = " and ".join(str(x.shape) for x in data)
        raise ValueError(f"fit: {name} has no rows: the shapes are {shapes}")
    return data, rows


def _check_kinds(model, loss, optimizer):
    """What makes a training must be given, and in this order."""
    if not isinstance(model, Module):
        raise TypeError(f"fit: model must be a Module, not {model!r}")
    function("fit", "loss", loss)
    if not isinstance(optimizer, optim.Optimizer):
        raise TypeError(f"fit: optimizer must be an optim.Optimizer, not {optimizer!r}")


def _one_number(name, value):
    """What a loss or a metric returned, if it is what it should be."""
    if isinstance(value, Tensor) and value.shape == ():
        return value
    found = f"one of shape {value.shape}" if isinstance(value, Tensor) else repr(value)
    raise TypeError(f"fit: {name} must return a Tensor of one number, not {found}")


def _checked_callbacks(callbacks):
    if not isinstance(callbacks, (tuple, list)):
        hint = "; write (callback,)" if isinstance(callbacks, Callback) else f", not {callbacks!r}"
        raise TypeError(f"fit: callbacks must be a sequence{hint}")
    for one in callbacks:
        if not isinstance(one, Callback):
            raise TypeError(f"fit: a callback must be a train.Callback, not {one!r}")
    return callbacks


def _hold_out(rows, share, seed):
    """The numbers of the rows to train with, and of those held out, or None."""
    import numpy

    if share is None:
        return numpy.arange(rows), None
    end = end_of_first("fit", "validation_split", rows, share)
    order = permutation(rows, seed, epoch=-1).numpy()
    return numpy.sort(order[:end]), numpy.sort(order[end:])


def _named(metrics):
    if isinstance(metrics, dict):
        for name, metric in metrics.items():
            function("fit", f"metrics[{name!r}]", metric)
        return metrics
    if not isinstance(metrics, (tuple, list)):
        hint = f"; write ({metrics!r},)" if isinstance(metrics, str) else f", not {metrics!r}"
        raise TypeError(f"fit: metrics must be a sequence or a dict{hint}")
    for name in metrics:
        if name not in METRICS:
            raise ValueError(
                f"fit: there is no metric {name!r}; there is {', '.join(METRICS)}, or give a dict "
                f"from names to functions (output, target)"
            )
    return {name: METRICS[name] for name in metrics}


def _clipper(clip):
    if clip is None:
        return lambda parameters: None
    try:
        kind, bound = clip
        function = {"value": optim.clip_grad_value_, "norm": optim.clip_grad_norm_}[kind]
    except (TypeError, ValueError, KeyError):
        raise ValueError(
            f'fit: clip must be ("value", bound) or ("norm", bound), not {clip!r}'
        ) from None
    number("fit", "the bound of clip", bound, 0)
    return lambda parameters: function(parameters, bound)


def _means(names, results, sizes):
    """The mean of each value over batches, each counting by its rows."""
    rows = sum(sizes)
    columns = zip(*results)
    return {
        name: sum(value * size for value, size in zip(column, sizes)) / rows
        for name, column in zip(names, columns)
    }


def _by_python(step, optimizer, data, batch_size, order, rates, report):
    """An epoch, step by step: a list of what each returned, as numbers."""
    results = []
    for i, batch in enumerate(batches(data, batch_size, Tensor(order))):
        if rates:
            optimizer.lr = rates[i]
        results.append([y.item() for y in step(*batch)])
        report.step(i + 1, lambda: [sum(column) / len(column) for column in zip(*results)])
    return results


class _Replayed:
    """The same epoch in C.  None comes back once a step turns out not to be replayable."""

    def __init__(self, step, run, report):
        self.step, self.run, self.report = step, run, report
        self.captured = None

    def epoch(self, data, batch_size, order, scale, rates):
        if self.captured is not None:
            try:
                return self._run(data, batch_size, order, scale, rates)
            except ReplayMismatch:  # found before the first step: such as a frozen layer
                pass
        self.captured = capture(self.step)
        before = self.run.model.state_dict(), self.run.optimizer.state_dict()
        drawn = default_generator.get_state()
        try:
            return self._run(data, batch_size, order, scale, rates)
        except (CaptureError, ReplayMismatch) as error:
            self.run.model.load_state_dict(before[0])
            self.run.optimizer.load_state_dict(before[1])
            default_generator.set_state(drawn)
            self.report.say(f"each step is run by Python, since it cannot be replayed: {error}")
            return None

    def _run(self, data, batch_size, order, scale, rates):
        scales = [scale if x.dtype.name == "uint8" else 1.0 for x in data[:1]] + [1.0]

        def watch(done, _, results):
            self.report.step(done, lambda: [column.mean().item() for column in results()])

        columns = self.captured.epoch(data, batch_size, order, scales, rates, watch=watch)
        return list(zip(*[column.tolist() for column in columns]))


def _validate(model, evaluate, data, chosen, batch_size, metrics):
    order = None if chosen is None else Tensor(chosen)
    results, sizes = [], []
    with no_grad(), evaluating(model):
        for batch in batches(data, batch_size, order):
            results.append([y.item() for y in evaluate(*batch)])
            sizes.append(len(batch[0]))
    return _means(["val_loss", *[f"val_{name}" for name in metrics]], results, sizes)


_PARTS = ("model", "optimizer", "generator", "epoch")  # of a checkpoint; there are more


class Run:
    """A training under way, as callbacks see it.

    Attributes
    ----------
    model, optimizer : as given to `fit`
    epochs : int
        How many there shall be.
    epoch : int
        How many there have been.
    history : History
    stop : bool
        Set it to end the training.
    callbacks : list of Callback
        In the order in which they are asked: those that write checkpoints last.
    """

    def __init__(self, model, optimizer, epochs, callbacks):
        self.model = model
        self.optimizer = optimizer
        self.epochs = epochs
        self.epoch = 0
        self.history = History()
        self.stop = False
        self.callbacks = sorted(callbacks, key=lambda one: isinstance(one, Checkpoint))

    def save(self, path):
        """Write all that the rest of the training depends on, see `checkpoint.save`."""
        key, drawn = default_generator.get_state()
        words = [word - (1 << 64) if word >> 63 else word for word in (key, drawn)]
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": Tensor(words, dtype="int64"),
            "epoch": self.epoch,
            "history": dict(self.history),
            "callbacks": {name: one.state_dict() for name, one in self._named_callbacks()},
        }
        checkpoint.save(path, state)

    def load(self, path, names=()):
        """Go on from what `save` wrote.

        Parameters
        ----------
        path : str or path
        names : sequence of str
            What will be measured after each epoch.  Default: nothing.

        Raises
        ------
        ValueError
            If it is the checkpoint of another model or optimizer, or lacks something, such as
            one of `names`: both are then as they were.  The callbacks need not be those of the
            checkpoint.
        """
        state = checkpoint.load(path)
        no_checkpoint = f"fit: {path} is no checkpoint of a training"
        if missing := [name for name in _PARTS if name not in state]:
            raise ValueError(f"{no_checkpoint}: it has no {', '.join(missing)}")
        try:
            ((key, drawn), epoch) = state["generator"].tolist(), state["epoch"].item()
            history = {name: one.tolist() for name, one in state.get("history", {}).items()}
            lengths = {name: len(values) for name, values in history.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{no_checkpoint}: {error}") from None
        if not isinstance(epoch, int) or epoch < 0 or max(lengths.values(), default=epoch) != epoch:
            raise ValueError(f"{no_checkpoint}: its history is not of {epoch} epochs")
        # a metric may be given up; taken up later, its values would stand at earlier epochs
        kept = [name for name in history if lengths[name] == epoch]
        if history and (missing := [name for name in names if name not in kept]):
            raise ValueError(
                f"fit: the history of {path} has {', '.join(kept)}, but no "
                f"{', '.join(missing)}: go on with metrics that were measured at every epoch"
            )
        before = self.model.state_dict(), self.optimizer.state_dict()
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self._restore_callbacks(path, state.get("callbacks", {}))
            default_generator.set_state((key, drawn))
        except Exception:
            self.model.load_state_dict(before[0])
            self.optimizer.load_state_dict(before[1])
            raise
        self.epoch, self.history = epoch, History(history)

    def _restore_callbacks(self, path, states):
        for name, callback in self._named_callbacks():
            if name in states:
                try:
                    callback.load_state_dict(states[name])
                except KeyError as error:
                    raise ValueError(f"fit: {path}: the state of {name} has no {error}") from None

    def _named_callbacks(self):
        """Each with its class and its number among those of the class: "EarlyStopping 0"."""
        seen = {}
        for callback in self.callbacks:
            kind = type(callback).__name__
            seen[kind] = seen.get(kind, -1) + 1
            yield f"{kind} {seen[kind]}", callback


# ---- how far it is --------------------------------------------------------------------------


class _Report:
    """Tells how far the training is: a bar on a terminal, else a line for each epoch."""

    def __init__(self, run, wanted, steps, names):
        self.run, self.wanted, self.steps, self.names = run, wanted, steps, names
        self.start = time.monotonic()
        self.first = run.epoch
        self.bar = self.tqdm = None
        if wanted and sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self.tqdm = tqdm

    def begin(self):
        if self.tqdm:
            name = f"epoch {self.run.epoch + 1}/{self.run.epochs}"
            self.bar = self.tqdm(total=self.steps, desc=name, leave=False, unit=" steps")
            self.shown = time.monotonic()

    def step(self, done, means):
        """Show how many steps of the epoch are done, and what `means()` gives: their means."""
        if self.bar is None:
            return
        now = time.monotonic()
        if now - self.shown > 0.1 or done == self.steps:
            self.bar.n = done
            values = dict(zip(self.names, means()))
            self.bar.set_postfix_str(_listed(values), refresh=False)
            self.bar.refresh()
            self.shown = now

    def say(self, text):
        if self.wanted:
            print(f"fit: {text}", flush=True)

    def end(self, values):
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        if not self.wanted:
            return
        passed = time.monotonic() - self.start
        done = self.run.epoch - self.first
        left = passed / done * (self.run.epochs - self.run.epoch)
        width = len(str(self.run.epochs))
        line = f"epoch {self.run.epoch:{width}}/{self.run.epochs}  {_listed(values)}"
        remaining = f", {_duration(left)} left" if left and not self.run.stop else ""
        print(f"{line}  {_duration(passed)}{remaining}", flush=True)


def _listed(values):
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())


def _duration(seconds):
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


# ---- callbacks ------------------------------------------------------------------------------


class Callback:
    """Something to do at each epoch; derive from it, and define what you need.

    Examples
    --------
    >>> class StopWhenGood(Callback):
    ...     def epoch(self, run):
    ...         run.stop = run.history["loss"][-1] < 0.1
    """

    def begin(self, run):
        """Called once before the first epoch, after a checkpoint was loaded."""

    def epoch(self, run):
        """Called after each epoch, when its values are in ``run.history``."""

    def end(self, run):
        """Called after the last epoch."""

    def state_dict(self):
        """What a checkpoint shall hold of this callback: a dict as `checkpoint.save` takes."""
        return {}

    def load_state_dict(self, state):
        """Go on from what `state_dict` returned."""


def _sign(monitor, mode):
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"mode is {mode!r}, but must be auto, min or max")
    if mode == "auto":
        mode = "max" if monitor.endswith("accuracy") else "min"
    return 1.0 if mode == "max" else -1.0


def _monitored(owner, run, name):
    if len(run.history.get(name, ())) < run.history.epochs:
        raise ValueError(
            f"{owner}: nothing is known of {name!r}; the history has {', '.join(run.history)}"
        )
    return run.history[name][-1]


class EarlyStopping(Callback):
    """End the training when a value has not improved for some epochs.

    Parameters
    ----------
    monitor : str
        Default: "val_loss".
    patience : int
        After how many epochs in a row without improvement to stop.  Default: 5.
    min_delta : float
        By how much it must improve to count.  Default: 0.
    mode : {"auto", "min", "max"}
        Whether lower or higher is better; "auto": higher for accuracies.
    restore_best : bool
        In the end, give the model the parameters of its best epoch.  Default: False.
    """

    def __init__(
        self, monitor="val_loss", patience=5, min_delta=0.0, mode="auto", restore_best=False
    ):
        self.monitor = monitor
        self.patience = whole("EarlyStopping", "patience", patience, least=1)
        self.min_delta = number("EarlyStopping", "min_delta", min_delta)
        self.sign = _sign(monitor, mode)
        self.restore_best = flag("EarlyStopping", "restore_best", restore_best)
        self._forget()

    def _forget(self):
        self.best = -math.inf  # times sign: higher is better
        self.waited = 0
        self.best_state = {}

    def begin(self, run):
        if not run.epoch:  # not the first training with this callback, perhaps
            self._forget()
        run.stop = run.stop or self.waited >= self.patience

    def epoch(self, run):
        value = self.sign * _monitored("EarlyStopping", run, self.monitor)
        if value > self.best + self.min_delta:
            self.best, self.waited = value, 0
            if self.restore_best:
                self.best_state = run.model.state_dict()
        else:
            self.waited += 1
            run.stop = run.stop or self.waited >= self.patience

    def end(self, run):
        if self.best_state:
            run.model.load_state_dict(self.best_state)

    def state_dict(self):
        return {"best": self.best, "waited": self.waited, "best_state": self.best_state}

    def load_state_dict(self, state):
        self.best, self.waited = state["best"].item(), state["waited"].item()
        self.best_state = state.get("best_state", {})


class Checkpoint(Callback):
    """Write all that a training depends on, so that ``fit(..., resume=path)`` can go on.

    Parameters
    ----------
    path : str or path
        Ending with .npz or .safetensors.
    every : int
        After how many epochs to write, and always after the last.  Default: 1.
    best : str, optional
        Then write only if this value, such as "val_loss", is better than in all epochs after
        which this was asked before.
    mode : {"auto", "min", "max"}
        As of `EarlyStopping`.
    """

    def __init__(self, path, every=1, best=None, mode="auto"):
        self.path = Path(path)
        self.every = whole("Checkpoint", "every", every, least=1)
        self.monitor = best
        self.sign = _sign(best or "", mode)
        self.best = -math.inf

    def begin(self, run):
        if not run.epoch:
            self.best = -math.inf

    def epoch(self, run):
        if run.epoch % self.every and run.epoch != run.epochs and not run.stop:
            return
        if self.monitor is not None:
            value = self.sign * _monitored("Checkpoint", run, self.monitor)
            if not value > self.best:
                return
            self.best = value  # only now, for a value that is noted has its checkpoint
        run.save(self.path)

    def state_dict(self):
        return {"best": self.best}

    def load_state_dict(self, state):
        self.best = state["best"].item()


class CSVLog(Callback):
    """Write the history as a table, brought up to date after each epoch.

    Parameters
    ----------
    path : str or path
    """

    def __init__(self, path):
        self.path = Path(path)

    def epoch(self, run):
        run.history.write_csv(self.path)


class TensorBoard(Callback):
    """Write the history where TensorBoard can show it (extra ``tensorboard``).

    Parameters
    ----------
    folder : str or path
    histograms : bool
        How the weights of each layer, and their last gradients, are spread, too.
        Default: False.
    """

    def __init__(self, folder, histograms=False):
        self.folder = Path(folder)
        self.histograms = histograms
        self.writer = None

    def begin(self, run):
        try:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise ImportError(
                'TensorBoard: needs: pip install "tinygrad_act[tensorboard]"'
            ) from None
        self.writer = EventFileWriter(str(self.folder))

    def epoch(self, run):
        from tensorboard.compat.proto.summary_pb2 import Summary

        found = [
            Summary.Value(tag=name, simple_value=values[-1]) for name, values in run.history.items()
        ]
        found.append(Summary.Value(tag="lr", simple_value=run.optimizer.lr))
        if self.histograms:
            for name, parameter in run.model.named_parameters():
                for kind, x in (("weight", parameter), ("gradient", parameter.grad)):
                    if x is not None and x.size:
                        found.append(Summary.Value(tag=f"{name}/{kind}", histo=_histogram(x)))
        self._write(Summary(value=found), run.epoch)

    def _write(self, summary, step):
        from tensorboard.compat.proto.event_pb2 import Event

        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self.writer.flush()

    def end(self, run):
        self.writer.close()


def _histogram(x):
    import numpy
    from tensorboard.compat.proto.summary_pb2 import HistogramProto

    values = x.numpy().astype("float64").ravel()
    finite = values[numpy.isfinite(values)]
    counts, edges = numpy.histogram(finite, bins=30)
    return HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=(values * values).sum(),
        bucket_limit=edges[1:].tolist(),
        bucket=counts.tolist(),
    )
