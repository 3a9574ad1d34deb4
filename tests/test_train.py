"""Training: fit against the loop written out, histories, callbacks, and checkpoints."""

import csv
import math
import os
import signal
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor, checkpoint, data, nn, optim, train
from tinygrad_act.nn import Linear, Module, Sequential

ROOT = Path(__file__).resolve().parent.parent


class Noise(Module):
    """Random in training, as dropout is."""

    def forward(self, x):
        return x + 0.1 * tga.randn(*x.shape) if self.training else x


def small_net(seed=0):
    tga.manual_seed(seed)
    return Sequential(Linear(2, 4), "tanh", Noise(), Linear(4, 1), "sigmoid")


def run_fit(net, epochs, optimizer=None, **options):
    optimizer = optimizer or optim.Adam(net.parameters(), lr=0.05)
    options = {"batch_size": 16, "progress": False, **options}
    return train.fit(net, data.circle(100), tga.bce, optimizer, epochs, **options)


def bits(net):
    return [value.numpy().tobytes() for value in net.state_dict().values()]


# ---- fit is the loop ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "clip", [None, ("value", 0.01), ("norm", 0.1)], ids=["free", "by value", "by norm"]
)
def test_fit_is_the_loop_written_out(clip):
    x, t = data.circle(100)
    net = small_net()
    history = run_fit(net, 3, clip=clip, seed=5, schedule=optim.exponential(0.1, 0.9))

    again = small_net()
    adam = optim.Adam(again.parameters(), lr=0.1)
    expected, step = {"loss": [], "accuracy": []}, 0
    for epoch in range(3):
        order = data.permutation(100, seed=5, epoch=epoch)
        total = right = 0.0
        for inputs, targets in data.batches((x, t), 16, order):
            adam.lr = 0.1 * 0.9**step
            adam.zero_grad()
            y = again(inputs)
            loss = tga.bce(y, targets)
            loss.backward()
            if clip:
                clipper = getattr(optim, f"clip_grad_{clip[0]}_")
                clipper(again.parameters(), clip[1])
            adam.step()
            step += 1
            total += loss.item() * len(inputs)
            right += ((y.numpy() > 0.5) == targets.numpy()).sum()
        expected["loss"].append(total / 100)
        expected["accuracy"].append(right / 100)
    assert bits(net) == bits(again)
    assert history["loss"] == expected["loss"]
    assert history["accuracy"] == pytest.approx(expected["accuracy"], rel=1e-6)


def test_fit_learns_the_circle():
    tga.manual_seed(1)
    net = Sequential(Linear(2, 8), "tanh", Linear(8, 1), "sigmoid")
    history = run_fit(net, 40, validation_split=0.3)
    assert history["val_accuracy"][-1] > 0.95 and history["loss"][-1] < 0.2
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epochs == 40


def test_held_out_rows_are_never_trained_with():
    x = Tensor(np.arange(50.0).reshape(50, 1), dtype="float32")
    seen, evaluated = [], []

    class Spy(Module):
        def __init__(self):
            self.layer = Linear(1, 1)

        def forward(self, x):
            (seen if self.training else evaluated).append(x.numpy().ravel().copy())
            return self.layer(x) * 1e-3

    net = Spy()
    sgd = optim.SGD(net.parameters(), lr=0.0)
    options = {"metrics": {}, "validation_split": 0.2, "batch_size": 7, "progress": False}
    history = train.fit(net, (x, x), tga.mse, sgd, 2, **options)
    assert net.training
    assert [len(part) for part in seen[:6]] == [7, 7, 7, 7, 7, 5]
    first, second = np.concatenate(seen[:6]), np.concatenate(seen[6:])
    held_out = np.concatenate(evaluated[:2])
    assert len(held_out) == 10 and (held_out == np.concatenate(evaluated[2:])).all()
    assert sorted(first) == sorted(second) and (first != second).any()
    assert sorted(np.concatenate([first, held_out])) == list(range(50))
    assert list(history) == ["loss", "val_loss"]


def test_evaluation_draws_nothing_and_leaves_the_modes():
    expected = run_fit(small_net(), 2)
    net = small_net()
    net[0].eval()
    assert run_fit(net, 2, validation_data=data.circle(30, seed=9))["loss"] == expected["loss"]
    assert not net[0].training and net[1].training


class Modes(train.Callback):
    """Notes which layers of the model are in training mode."""

    def __init__(self):
        self.modes = []

    def epoch(self, run):
        self.modes.append([layer.training for layer in run.model])


@pytest.mark.parametrize("replay", [True, False])
def test_a_model_in_evaluation_mode_trains_and_is_put_back(replay):
    expected, look = small_net(), Modes()
    history = run_fit(expected, 2)
    net = small_net().eval()
    options = {"callbacks": [look], "validation_data": data.circle(30), "replay": replay}
    assert run_fit(net, 2, **options)["loss"] == history["loss"]
    assert bits(net) == bits(expected)
    assert look.modes == [[True] * 5] * 2
    assert not any(module.training for _, module in net.modules())
    with pytest.raises(ValueError, match="nothing is known"):
        run_fit(net, 1, callbacks=[train.EarlyStopping()])
    assert not any(module.training for _, module in net.modules())
    net[0].weight.requires_grad = False
    kept = net[0].weight.tolist()
    run_fit(net, 1, optim.SGD(net[3].parameters(), 0.1))
    assert net[0].weight.tolist() == kept and not net[0].weight.requires_grad


def test_bytes_become_floats():
    images, labels = data.mnist(ROOT / "examples" / "mnist", "test")
    tga.manual_seed(2)
    net = Sequential(nn.Flatten(), Linear(784, 10))
    adam = optim.Adam(net.parameters(), lr=0.01)
    history = train.fit(net, (images, labels), tga.cross_entropy, adam, 3, 50, progress=False)
    assert history["accuracy"][-1] > 0.85
    tga.manual_seed(2)
    net = Sequential(nn.Flatten(), Linear(784, 10))
    adam = optim.Adam(net.parameters(), lr=0.01)
    floats = images.astype("float32") * (1 / 255)
    again = train.fit(net, (floats, labels), tga.cross_entropy, adam, 3, 50, progress=False)
    assert again["loss"] == history["loss"]


def test_metrics_of_ones_own():
    def error(output, target):
        return (output - target).abs().mean()

    history = run_fit(small_net(), 2, metrics={"error": error}, validation_split=0.5)
    assert list(history) == ["loss", "error", "val_loss", "val_error"]
    assert 0 < history["val_error"][-1] < 1


@pytest.mark.parametrize(
    ("output", "target", "dtype", "share"),
    [
        ([[0.1, 0.9], [0.8, 0.2], [0.3, 0.3]], [1, 1, 0], "int64", 2 / 3),
        ([[0.5, 0.5], [0.5, 0.5]], [0, 1], "int64", 0.5),
        ([[0.1, 0.9], [0.8, 0.2]], [[0, 1], [0, 1]], "float32", 0.5),
        ([[0.7], [0.2], [0.5], [math.nan]], [[1], [0], [1], [1]], "float32", 0.5),
        ([0.7, 0.2], [1, 1], "float32", 0.5),
    ],
)
def test_accuracy(output, target, dtype, share):
    got = train.accuracy(Tensor(output), Tensor(target, dtype=dtype))
    assert got.item() == pytest.approx(share)


def test_accuracy_of_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"output is \(2, 3\) but target is int64.*\(3,\)"):
        train.accuracy(tga.zeros(2, 3), tga.zeros(3, dtype="int64"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": ["f1"]}, "no metric 'f1'; there is accuracy"),
        ({"clip": 0.5}, r"clip must be \(\"value\", bound\)"),
        ({"clip": ("both", 0.5)}, r"clip must be"),
        ({"validation_split": 1.0}, "validation_split of 1.0 of 100 rows"),
        ({"validation_split": 0.5, "validation_data": ()}, "not both"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_misuse_of_fit(options, words):
    net = small_net()
    before = bits(net)
    with pytest.raises(ValueError, match=words):
        run_fit(net, 1, **options)
    assert bits(net) == before
    assert run_fit(net, 0).epochs == 0 and bits(net) == before
    with pytest.raises(ValueError, match="fit: data must be a pair"):
        train.fit(net, tga.zeros(3, 2), tga.bce, optim.SGD(net.parameters(), 0.1), 1)


@pytest.mark.parametrize("epochs", [1.5, -1, True, "1"])
def test_numbers_of_epochs_that_are_none(epochs):
    with pytest.raises((TypeError, ValueError), match=f"fit: epochs must be .*, not {epochs!r}"):
        run_fit(small_net(), epochs)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"callbacks": None}, TypeError, "fit: callbacks must be a sequence, not None"),
        ({"callbacks": train.EarlyStopping()}, TypeError, r"write \(callback,\)"),
        ({"callbacks": [print]}, TypeError, "a callback must be a train.Callback, not <built-in"),
        ({"clip": ("norm", "a")}, TypeError, "fit: the bound of clip must be a number, not 'a'"),
        ({"metrics": {"f1": 3}}, TypeError, r"fit: metrics\['f1'\] must be a function, not 3"),
        (
            {"metrics": {"f1": lambda y, t: 0.5}},
            TypeError,
            "fit: f1 must return a Tensor of one number, not 0.5",
        ),
        ({"resume": 3}, TypeError, "fit: resume must be a path, not 3"),
        ({"replay": "no"}, TypeError, "fit: replay must be True or False, not 'no'"),
        ({"validation_split": "a"}, TypeError, "fit: validation_split must be a number, not 'a'"),
        ({"seed": 1.5}, TypeError, "fit: seed must be a whole number, not 1.5"),
        ({"schedule": 0.1}, TypeError, "fit: schedule must be an optim.Schedule, not 0.1"),
        ({"metrics": "accuracy"}, TypeError, r"fit: metrics must be .*; write \('accuracy',\)"),
        (
            {"validation_data": (tga.zeros(3, 2),)},
            ValueError,
            "fit: validation_data must be a pair, inputs and targets, not 1 tensors",
        ),
        (
            {"validation_data": (tga.zeros(0, 2), tga.zeros(0, 1))},
            ValueError,
            r"fit: validation_data has no rows: the shapes are \(0, 2\) and \(0, 1\)",
        ),
    ],
)
def test_options_of_fit_that_are_wrong(options, kind, words):
    with pytest.raises(kind, match=words):
        run_fit(small_net(), 1, **options)


def test_what_fit_is_given_first():
    net = small_net()
    sgd, pair = optim.SGD(net.parameters(), 0.1), data.circle(10)
    for model in (None, tga.sin):
        with pytest.raises(TypeError, match="fit: model must be a Module, not"):
            train.fit(model, pair, tga.bce, sgd, 1)
    with pytest.raises(TypeError, match="fit: loss must be a function, not 'bce'"):
        train.fit(net, pair, "bce", sgd, 1)
    with pytest.raises(TypeError, match="fit: optimizer must be an optim.Optimizer, not <class"):
        train.fit(net, pair, tga.bce, optim.SGD, 1)
    with pytest.raises(TypeError, match=r"fit: loss must return .*, not one of shape \(10, 1\)"):
        train.fit(net, pair, lambda y, t: tga.bce(y, t, reduction="none"), sgd, 1)
    with pytest.raises(TypeError, match="fit: data: data must be Tensors, not NoneType"):
        train.fit(net, None, tga.bce, sgd, 1)


def test_nothing_to_fit():
    net = small_net()
    sgd = optim.SGD(net.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"fit: data has no rows: the shapes are \(0, 2\)"):
        train.fit(net, (tga.zeros(0, 2), tga.zeros(0, 1)), tga.bce, sgd, 1)


# ---- in C, and where that cannot be ---------------------------------------------------------


@pytest.mark.parametrize("clip", [None, ("norm", 0.1)], ids=["free", "by norm"])
def test_replay_gives_the_bits_of_python(clip):
    options = {"clip": clip, "validation_split": 0.3, "schedule": optim.cosine(0.1, 30)}
    nets, histories = [], []
    for replay in (True, False):
        nets.append(small_net())
        histories.append(run_fit(nets[-1], 3, replay=replay, **options))
    assert bits(nets[0]) == bits(nets[1]) and histories[0] == histories[1]


def test_what_cannot_be_replayed_is_run_by_python(capsys):
    class Peeping(Module):
        def __init__(self):
            self.layer = Linear(2, 1)

        def forward(self, x):
            y = self.layer(x).sigmoid()
            self.seen = y.sum().item()
            return y

    def run(**options):
        tga.manual_seed(4)
        net = Peeping()
        history = run_fit(net, 2, progress=True, **options)
        return bits(net), history, capsys.readouterr().out.splitlines()

    got, history, lines = run()
    assert lines[0].startswith("fit: each step is run by Python, since it cannot be replayed: ")
    assert len(lines) == 3
    expected, same, lines = run(replay=False)
    assert got == expected and history == same and len(lines) == 2


@pytest.mark.parametrize("replay", [True, False])
def test_layers_may_be_frozen_on_the_way(replay):
    class Freeze(train.Callback):
        def epoch(self, run):
            if run.epoch == 2:
                run.model[0].eval()
                for p in run.model[0].parameters():
                    p.requires_grad = False
                self.kept = bits(run.model[0])

    net, freeze = small_net(), Freeze()
    run_fit(net, 4, callbacks=[freeze], replay=replay)
    assert bits(net[0]) == freeze.kept
    whole = small_net()
    run_fit(whole, 4, callbacks=[Freeze()], replay=not replay)
    assert bits(whole) == bits(net)


# ---- what is shown --------------------------------------------------------------------------


def test_a_line_for_each_epoch(capsys):
    run_fit(small_net(), 2, progress=True, validation_split=0.2)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 1/2  loss 0.") and "val_accuracy 0." in first
    assert first.endswith(" left") and not second.endswith(" left")


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    pytest.importorskip("tqdm", reason="shows a bar, which needs tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run_fit(small_net(), 2, progress=True)
    out, err = capsys.readouterr()
    assert "epoch 1/2" in err and "7/7" in err and "accuracy 0." in err
    assert out.startswith("epoch 1/2  loss 0.")


class Bar:
    """In place of tqdm's: keeps what it is told to show."""

    made = []

    def __init__(self, **options):
        self.made.append(self)
        self.options, self.shown = options, []

    def set_postfix_str(self, text, refresh=True):
        self.text = text

    def refresh(self):
        self.shown.append((self.n, self.text))

    def close(self):
        pass


@pytest.mark.parametrize("replay", [True, False])
def test_a_bar_shows_the_epoch_it_is_in(monkeypatch, replay):
    """Of a bar named after an epoch the values are those of this epoch, not of the one before."""
    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Bar, "made", [])
    # batches of equal size, so that the mean over batches is that over rows
    history = run_fit(small_net(), 3, batch_size=10, progress=True, replay=replay)
    for i, bar in enumerate(Bar.made):
        assert bar.options["desc"] == f"epoch {i + 1}/3"
        values = {name: values[i] for name, values in history.items()}
        assert bar.shown[-1] == (10, train._listed(values))
        assert all("loss 0." in text and "accuracy 0." in text for _, text in bar.shown)


def test_without_tqdm_there_are_lines(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run_fit(small_net(), 1, progress=True)
    out, err = capsys.readouterr()
    assert out.startswith("epoch 1/1") and not err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1:01"), (3723, "1:02:03")]
)
def test_durations(seconds, text):
    assert train._duration(seconds) == text


# ---- history and callbacks ------------------------------------------------------------------


def test_history_as_a_table(tmp_path):
    history = run_fit(small_net(), 2, callbacks=[train.CSVLog(tmp_path / "log.csv")])
    history.write_csv(tmp_path / "again.csv")
    assert (tmp_path / "log.csv").read_text() == (tmp_path / "again.csv").read_text()
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [float(row["loss"]) for row in rows] == history["loss"]
    assert train.History().epochs == 0 and train.History().rows() == []


class Script(train.Callback):
    """Puts values of our own in the place of those measured."""

    def __init__(self, **values):
        self.values = values

    def epoch(self, run):
        for name, values in self.values.items():
            run.history[name] = values[: run.epoch]


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ({"val_loss": [5, 4, 3, 3, 3, 2, 2]}, {"patience": 2}, 5),
        ({"val_loss": [5, 4, 3, 3, 2, 2, 2]}, {"patience": 2}, 7),
        ({"val_loss": [5, 4, 3.9, 3.8, 3.7, 3]}, {"patience": 2, "min_delta": 0.5}, 4),
        ({"val_accuracy": [1, 2, 3, 2, 3, 4]}, {"monitor": "val_accuracy", "patience": 1}, 4),
        ({"score": [1, 2, 1, 1, 1]}, {"monitor": "score", "mode": "max", "patience": 2}, 4),
        ({"loss": [math.nan] * 5}, {"monitor": "loss", "patience": 3}, 3),
    ],
)
def test_early_stopping(values, options, epochs):
    stopping = train.EarlyStopping(**options)
    for _ in range(2):  # it can be used again
        callbacks = [Script(**values), stopping]
        assert run_fit(small_net(), 7, callbacks=callbacks).epochs == epochs


def test_early_stopping_gives_back_the_best():
    kept = []

    class Keep(train.Callback):
        def epoch(self, run):
            kept.append(bits(run.model))

    net = small_net()
    stopping = train.EarlyStopping(patience=2, restore_best=True)
    run_fit(net, 9, callbacks=[Script(val_loss=[3, 1, 2, 2, 0]), Keep(), stopping])
    assert len(kept) == 4 and bits(net) == kept[1] != kept[3]


def test_misuse_of_callbacks():
    with pytest.raises(ValueError, match="mode is 'most'"):
        train.EarlyStopping(mode="most")
    with pytest.raises(ValueError, match="nothing is known of 'val_loss'; the history has loss"):
        run_fit(small_net(), 1, callbacks=[train.EarlyStopping()])


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="writes for TensorBoard, which is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    net = small_net()
    history = run_fit(net, 3, callbacks=[train.TensorBoard(tmp_path, histograms=True)])
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "accuracy", "lr"}
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(history["loss"])
    names = {
        f"{name}/{kind}" for name, _ in net.named_parameters() for kind in ("weight", "gradient")
    }
    assert set(events.Tags()["histograms"]) == names
    histogram = events.Histograms("0.weight/weight")[-1].histogram_value
    w = net[0].weight.numpy()
    assert histogram.num == w.size and histogram.max == w.max()
    assert sum(histogram.bucket) == w.size


def test_tensorboard_names_what_to_install(monkeypatch, tmp_path):
    for name in ("tensorboard", "tensorboard.summary.writer.event_file_writer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"tinygrad_act\[tensorboard\]"):
        run_fit(small_net(), 1, callbacks=[train.TensorBoard(tmp_path)])


# ---- files ----------------------------------------------------------------------------------

FORMATS = ["npz", "safetensors"]


def needs(format):
    if format == "safetensors":
        pytest.importorskip("safetensors", reason="writes .safetensors, which is not installed")


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_saved_comes_back(tmp_path, format):
    needs(format)
    state = {
        "file": {"self.weight": tga.randn(3, 4), "deep": {"b": Tensor([True, False])}},
        "T": tga.randn(3, 4).T,
        "empty": tga.zeros(0, 3, dtype="float64"),
        "bytes": Tensor(np.array([1, 255], "uint8")),
        "number": Tensor(3.5, dtype="float64"),
        "key": Tensor([-(2**63), 2**63 - 1], dtype="int64"),
        "count": 0,
        "values": [0.1, math.inf],
        "none": [],
    }
    path = tmp_path / f"state.{format}"
    checkpoint.save(path, state)
    got = checkpoint.load(str(path))
    assert set(got) == set(state)
    expected = {**state, "count": Tensor(0, dtype="int64"), "none": tga.zeros(0, dtype="float64")}
    expected["values"] = Tensor(state["values"], dtype="float64")
    pairs = [(got[name], expected[name]) for name in state if name != "file"]
    pairs.append((got["file"]["self.weight"], state["file"]["self.weight"]))
    pairs.append((got["file"]["deep"]["b"], state["file"]["deep"]["b"]))
    for a, b in pairs:
        assert a.dtype is b.dtype and a.shape == b.shape and a.tolist() == b.tolist()
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_is_no_pickle(tmp_path):
    path = tmp_path / "state.npz"
    checkpoint.save(path, {"w": tga.zeros(3)})
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["w.npy"] and b"pickle" not in archive.read("w.npy")
    np.savez(path, w=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="damaged or no .npz file.*allow_pickle"):
        checkpoint.load(path)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("cut", [0, 1, 60, -30])
def test_damaged_files(tmp_path, format, cut):
    needs(format)
    path = tmp_path / f"state.{format}"
    checkpoint.save(path, {"w": tga.zeros(30)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=f"state.{format} is damaged"):
        checkpoint.load(path)


def test_files_of_others(tmp_path):
    """Arrays of our dtypes are taken, in either order of bytes and of axes; others are named."""
    path = tmp_path / "state.npz"
    x = np.arange(6.0).reshape(2, 3)
    for dtype in (">f4", "<f4", ">f8", ">i8", "<i8", "u1", "?"):
        np.savez_compressed(path, **{"a/b": x.astype(dtype), "c": np.asfortranarray(x, dtype)})
        state = checkpoint.load(path)
        for got in (state["a"]["b"], state["c"]):
            assert got.dtype == np.dtype(dtype).newbyteorder("=").name
            assert got.tolist() == x.astype(dtype).tolist()
    for dtype in ("f2", ">i4", "c8", "U3", "M8[s]"):
        np.savez(path, a=np.ones(2), b=np.zeros(2, dtype))
        with pytest.raises(ValueError, match="load: .*state.npz: 'b' is of dtype ") as raised:
            checkpoint.load(path)
        assert np.dtype(dtype).name in str(raised.value)
    for names in (("a", "a/b"), ("a/b", "a")):
        np.savez(path, **dict.fromkeys(names, x))
        with pytest.raises(ValueError, match="is an array, and part of another's name"):
            checkpoint.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no array")
    with pytest.raises(ValueError, match="'notes.txt' is no array"):
        checkpoint.load(path)
    with open(path, "wb") as file:
        np.save(file, x)
    with pytest.raises(ValueError, match="damaged or no .npz file"):
        checkpoint.load(path)


def test_whatever_part_of_a_file_is_lost(tmp_path):
    """Cut off anywhere, or one byte changed: the state, or an error that names the file."""
    path, cut = tmp_path / "state.npz", tmp_path / "cut.npz"
    checkpoint.save(path, {"w": tga.zeros(30), "n": 3})
    content = path.read_bytes()
    broken = [content[:n] for n in range(0, len(content), 17)]
    broken += [content[:n] + b"\xa5" + content[n + 1 :] for n in range(0, len(content), 13)]
    refused = 0
    for one in broken:
        cut.write_bytes(one)
        try:
            checkpoint.load(cut)
        except ValueError as error:
            assert "cut.npz" in str(error)
            refused += 1
    assert refused >= len(content) // 17


@pytest.mark.parametrize("format", FORMATS)
def test_the_other_order_of_bytes_is_saved_in_this_one(tmp_path, format):
    needs(format)
    path = tmp_path / f"state.{format}"
    for dtype in (">f4", "<f4", ">i8", "<i8"):
        checkpoint.save(path, {"w": np.array([1, 258], dtype), "n": np.array(3, dtype)})
        state = checkpoint.load(path)
        assert state["w"].tolist() == [1, 258] and state["n"].item() == 3
        assert state["w"].dtype == np.dtype(dtype).name and state["n"].shape == ()


@pytest.mark.parametrize(("place", "byte"), [(8, 1), (10, 99)], ids=["encrypted", "method"])
def test_archives_that_cannot_be_unpacked(tmp_path, place, byte):
    """Of the entry in the central directory: the flags, and the method of compression."""
    path = tmp_path / "state.npz"
    checkpoint.save(path, {"w": tga.zeros(3)})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\1\2") + place] = byte
    path.write_bytes(content)
    with pytest.raises(ValueError, match="state.npz is damaged"):
        checkpoint.load(path)


def test_misuse_of_files(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"must end with .npz or .safetensors, not 'x.pkl'"):
        checkpoint.save(tmp_path / "x.pkl", {})
    with pytest.raises(ValueError, match='a name must be a str without "/"'):
        checkpoint.save(tmp_path / "x.npz", {"a/b": 1})
    with pytest.raises(TypeError, match="save: a/b is of dtype object"):
        checkpoint.save(tmp_path / "x.npz", {"a": {"b": object()}})
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"tinygrad_act\[safetensors\]"):
        checkpoint.save(tmp_path / "x.safetensors", {})
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    checkpoint.save(path, {"w": tga.ones(3)})

    def broken(*_):
        raise OSError("disk full")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, broken)
            with pytest.raises(OSError, match="disk full"):
                checkpoint.save(path, {"w": tga.zeros(3)})
        assert checkpoint.load(path)["w"].tolist() == [1.0] * 3
        assert os.listdir(tmp_path) == ["state.npz"]


# ---- going on after an interruption ---------------------------------------------------------

TRAIN = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_train import interrupted
interrupted({path!r}, {epoch}, {where!r})
"""


class Kill(train.Callback):
    """Kills the process, as the system may at any moment: before or while a checkpoint is made."""

    def __init__(self, epoch, where):
        self.at, self.where = epoch, where

    def epoch(self, run):
        if run.epoch != self.at:
            return
        if self.where == "epoch":
            os.kill(os.getpid(), signal.SIGKILL)

        def die(*_):
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(os, self.where, die)


def resumable(path, epochs, *callbacks, resume=False):
    net = small_net(seed=3)
    optimizer = optim.Adam(net.parameters(), lr=0.05)
    history = run_fit(
        net,
        epochs,
        optimizer,
        validation_split=0.3,
        schedule=optim.cosine(0.1, 40),
        callbacks=[
            train.Checkpoint(path),
            train.EarlyStopping(patience=100, restore_best=True),
            *callbacks,
        ],
        resume=path if resume else None,
    )
    return net, optimizer, history


def interrupted(path, epoch, where):
    """Run by a process of its own, which does not come to its end."""
    resumable(path, 6, Kill(epoch, where))


@pytest.mark.parametrize("where", ["epoch", "fsync", "replace"])
def test_training_that_was_killed_goes_on_to_the_same_bits(tmp_path, where):
    path = str(tmp_path / "run.npz")
    code = TRAIN.format(tests=str(ROOT / "tests"), path=path, epoch=4, where=where)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert checkpoint.load(path)["epoch"].item() == 3

    whole, whole_optimizer, whole_history = resumable(str(tmp_path / "whole.npz"), 6)
    tga.manual_seed(77)
    net, optimizer, history = resumable(path, 6, resume=True)
    assert history == whole_history and history.epochs == 6
    assert bits(net) == bits(whole)
    states = [o.state_dict() for o in (optimizer, whole_optimizer)]
    assert all(states[0][name].tolist() == states[1][name].tolist() for name in states[1])
    one, other = checkpoint.load(path), checkpoint.load(tmp_path / "whole.npz")
    assert one["generator"].tolist() == other["generator"].tolist()


def test_resume_when_there_is_nothing_or_nothing_left_to_do(tmp_path):
    path = tmp_path / "run.npz"
    net, _, history = resumable(path, 2, resume=True)
    again, _, same = resumable(path, 2, resume=True)
    assert same == history and bits(again) == bits(net)
    assert resumable(path, 3, resume=True)[2].epochs == 3


def test_early_stop_is_remembered(tmp_path):
    path = tmp_path / "run.npz"

    def run(**options):
        callbacks = [
            Script(val_loss=[1, 2, 3, 4, 5]),
            train.EarlyStopping(patience=2),
            train.Checkpoint(path),
        ]
        return run_fit(small_net(), 5, callbacks=callbacks, **options)

    assert run().epochs == 3
    assert run(resume=path).epochs == 3


def test_checkpoints_of_the_best_and_of_some(tmp_path):
    best, some = tmp_path / "best.npz", tmp_path / "some.npz"
    kept = []

    class Look(train.Checkpoint):
        def __init__(self):
            super().__init__(some, every=2)

        def epoch(self, run):
            super().epoch(run)
            kept.append(
                [checkpoint.load(p)["epoch"].item() if p.exists() else 0 for p in (best, some)]
            )

    values = Script(val_loss=[3, 2, 4, 1, 5])
    run_fit(small_net(), 5, callbacks=[Look(), train.Checkpoint(best, best="val_loss"), values])
    assert kept == [[0, 0], [1, 2], [2, 2], [2, 4], [4, 5]]


def test_the_best_of_the_epochs_that_are_asked(tmp_path):
    """A value that was not written down must not keep a later, lower one from being so."""
    path = tmp_path / "best.npz"
    kept = []

    class Look(train.Checkpoint):
        def epoch(self, run):
            super().epoch(run)
            kept.append(checkpoint.load(path)["epoch"].item() if path.exists() else 0)

    values = Script(val_loss=[1, 5, 2, 4, 3, 6, 7])
    run_fit(small_net(), 7, callbacks=[Look(path, every=2, best="val_loss"), values])
    assert kept == [0, 2, 2, 4, 4, 4, 4]
    for every in (0, 1.5, True):
        with pytest.raises((TypeError, ValueError), match=f"every must be .*not {every}"):
            train.Checkpoint(path, every=every)


def test_checkpoint_of_something_else(tmp_path):
    path = tmp_path / "run.npz"
    run_fit(small_net(), 1, callbacks=[train.Checkpoint(path)])
    other = Sequential(Linear(2, 5), "tanh", Linear(5, 1), "sigmoid")
    with pytest.raises(ValueError, match=r"0.weight: shape \(4, 2\), but \(5, 2\) is needed"):
        run_fit(other, 2, resume=path)
    checkpoint.save(path, {"w": tga.zeros(1)})
    with pytest.raises(ValueError, match="training: it has no model, optimizer, generator, epoch"):
        run_fit(small_net(), 2, resume=path)


def test_resume_with_other_metrics(tmp_path):
    path, table = tmp_path / "run.npz", tmp_path / "table.csv"
    callbacks = [train.Checkpoint(path), train.CSVLog(table)]
    run_fit(small_net(), 2, callbacks=[callbacks[0]])
    net = small_net()
    before = bits(net)
    words = "has loss, accuracy, but no val_loss, val_accuracy: go on with metrics"
    with pytest.raises(ValueError, match=words):
        run_fit(net, 3, validation_split=0.5, resume=path)
    assert bits(net) == before
    stop = train.EarlyStopping("accuracy")
    with pytest.raises(ValueError, match="nothing is known of 'accuracy'"):
        run_fit(net, 3, metrics=(), callbacks=[stop], resume=path)
    history = run_fit(net, 3, metrics=(), callbacks=callbacks, resume=path)  # fewer are no harm
    assert [len(values) for values in history.values()] == [3, 2]
    assert [len(row) for row in history.rows()] == [3, 3, 2]
    assert [line.count(",") for line in table.read_text().split()] == [2] * 4
    assert table.read_text().split()[-1].endswith(",")
    history = run_fit(small_net(), 4, metrics=(), callbacks=callbacks[:1], resume=path)
    assert {name: len(values) for name, values in history.items()} == {"loss": 4, "accuracy": 2}
    with pytest.raises(ValueError, match="has loss, but no accuracy: go on with metrics that were"):
        run_fit(net, 5, resume=path)  # its next value would stand at the third epoch


def test_checkpoints_that_lack_something(tmp_path):
    """One line says what, and the model is as it was."""
    path, broken = tmp_path / "run.npz", tmp_path / "broken.npz"
    stop = train.EarlyStopping("loss")
    run_fit(small_net(), 2, callbacks=[train.Checkpoint(path), stop])
    whole = checkpoint.load(path)

    def without(*way):
        state = checkpoint.load(path)
        place = state
        for name in way[:-1]:
            place = place[name]
        del place[way[-1]]
        return state

    cases = [
        (without("epoch"), "no checkpoint of a training: it has no epoch"),
        (without("optimizer"), "it has no optimizer"),
        (without("model", "0.bias"), "missing: 0.bias"),
        (without("optimizer", "lr"), "Adam: the state does not fit:\n  missing: lr"),
        (without("callbacks", "EarlyStopping 0", "waited"), "EarlyStopping 0 has no 'waited'"),
        ({**whole, "epoch": 1}, "its history is not of 1 epochs"),
        ({**whole, "epoch": [1, 2]}, "no checkpoint of a training: item"),
        ({**whole, "generator": 3}, "no checkpoint of a training"),
        ({**whole, "model": 3}, "a state is a dict"),
        ({**whole, "optimizer": {**whole["optimizer"], "lr": {"a": 1}}}, "lr: a dict, but a Tens"),
    ]
    for state, words in cases:
        checkpoint.save(broken, state)
        net = small_net()
        before = bits(net)
        with pytest.raises((TypeError, ValueError), match=words):
            run_fit(net, 3, resume=broken, callbacks=[train.EarlyStopping("loss")])
        assert bits(net) == before
