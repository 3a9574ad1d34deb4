"""The other examples: they run from the command line, say what they found, and write their files.

What they show is checked, too: the numbers on paper, and what must be true of every start.
"""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import checkpoint

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "MPLBACKEND": "agg"}


def load(name):
    """An example as a module."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(EXAMPLES))


def run(name, *arguments, cwd):
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)


def table(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def is_picture(path):
    if importlib.util.find_spec("matplotlib"):
        return path.read_bytes().startswith(b"\x89PNG")
    return not path.exists()


# ---- activations.py -------------------------------------------------------------------------


def test_activations(tmp_path):
    result = run("activations", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for name in ("sigmoid", "relu", "maxout(x, -x/2)", "softmax(x, 0)[0]"):
        assert name in result.stdout
    assert is_picture(tmp_path / "activations_out" / "activations.png")
    rows = [row for row in table(tmp_path / "activations_out" / "activations.csv")]
    sigmoid = [row for row in rows if row["activation"] == "sigmoid"]
    x, y, slope = (np.array([float(row[key]) for row in sigmoid]) for key in ("x", "y", "slope"))
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-x)), rtol=1e-12)
    assert slope.max() == 0.25 and x[slope.argmax()] == 0


def test_what_falls_all_the_way_is_monotonic(capsys):
    module = load("activations")
    for label, values in module.curves(n=101).items():
        module.describe(label, *values)
    lines = capsys.readouterr().out.splitlines()
    told = {line.split()[0] for line in lines if "not monotonic" in line}
    names = {"gelu", "gelu_tanh", "silu", "swish", "mish", "hardswish", "maxout(x,", "glu(x,"}
    assert told == names


def test_every_activation_has_a_curve():
    module = load("activations")
    assert len(module.curves(n=11)) == len(tga.op.ACTIVATIONS)


# ---- vanishing_gradient.py ------------------------------------------------------------------


@pytest.fixture(scope="module")
def vanishing():
    return load("vanishing_gradient")


def test_chain_of_sigmoids_is_the_product_of_its_derivatives(vanishing):
    local, whole = vanishing.chain(depth=10)
    assert whole == pytest.approx(np.prod(local), rel=1e-12)
    assert max(local) <= 0.25 and whole < 0.25**9


@pytest.mark.parametrize("seed", range(5))
def test_sigmoid_hears_least_in_the_first_layer(vanishing, seed):
    """And SELU, with weights made for it, about as much as in the last."""
    sizes = {name: vanishing.gradient_sizes(name, 1, seed)[0][0] for name in ("sigmoid", "selu")}
    assert sizes["sigmoid"][0] < 1e-4 * sizes["sigmoid"][-1]
    assert max(sizes["sigmoid"][:3]) < 1e-3 * min(sizes["sigmoid"][-3:])
    assert sizes["selu"][0] > 1e-2 * sizes["selu"][-1]


def test_gradients_explode_by_25_at_each_layer(vanishing):
    net = vanishing.one_unit_per_layer(5, 100.0)
    gradients = vanishing.bias_gradients(net, lambda parameters: None)
    assert gradients == pytest.approx([0.25 * 25.0**k for k in (4, 3, 2, 1, 0)], rel=1e-5)


def test_vanishing_gradient(tmp_path):
    result = run("vanishing_gradient", "--steps", 20, "--out", "here", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "0.199999978" in result.stdout
    for line in ("weights   100   by value 0.5         0.5", "dead units"):
        assert line in result.stdout
    assert is_picture(tmp_path / "here" / "gradients.png")
    rows = table(tmp_path / "here" / "gradients.csv")
    assert len(rows) == 4 * 20 and len(rows[0]) == 2 + 11


# ---- playground.py --------------------------------------------------------------------------


def test_playground(tmp_path):
    arguments = ("--activations", "tanh,relu", "--seeds", 2, "--epochs", 60)
    result = run("playground", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "of   2" in result.stdout and "relu / tanh" in result.stdout
    assert is_picture(tmp_path / "playground_out" / "boundaries.png")
    rows = table(tmp_path / "playground_out" / "epochs.csv")
    assert [(row["activation"], row["seed"]) for row in rows] == [
        (name, str(seed)) for name in ("tanh", "relu") for seed in (0, 1)
    ]
    assert all(1 <= int(row["epochs"]) <= 60 for row in rows)


def test_processes_find_the_same(tmp_path):
    pytest.importorskip("joblib", reason="runs several processes, which needs joblib")
    arguments = ("--activations", "relu", "--seeds", 3, "--epochs", 5)
    for jobs in (1, 2):
        result = run("playground", *arguments, "--jobs", jobs, "--out", jobs, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "1/epochs.csv").read_text() == (tmp_path / "2/epochs.csv").read_text()


OWN = """
import sys
sys.path.insert(0, {examples!r})
import playground
{declared}
playground.main(["--activations", "cubic", "--seeds", "2", "--epochs", "3", "--jobs", "2"])
"""
DECLARED = """
import tinygrad_act as tga
tga.activation("cubic", f=lambda x: x * x * x, df=lambda x: 3 * x * x)
"""


def test_processes_know_activations_of_your_own(tmp_path):
    pytest.importorskip("joblib", reason="runs several processes, which needs joblib")
    (tmp_path / "mine.py").write_text(DECLARED)
    for declared, code in (("import mine", 0), (DECLARED, 1)):
        (tmp_path / "script.py").write_text(OWN.format(examples=str(EXAMPLES), declared=declared))
        command = [sys.executable, "script.py"]
        result = subprocess.run(
            command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
        )
        assert result.returncode == code, result.stderr
        assert code == 0 or "'cubic' is declared in the script" in result.stderr


def test_jobs_name_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(SystemExit, match=r"tinygrad_act\[sweep\]"):
        load("common").for_each(abs, [(1,)], jobs=2)


# ---- init_table.py --------------------------------------------------------------------------


def test_init_table(tmp_path):
    result = run("init_table", "--activations", "tanh,sigmoid", "--epochs", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "sigmoid converges from 0 of 5" in result.stdout
    assert "LSUV: safe" in result.stdout
    rows = table(tmp_path / "init_out" / "table.csv")
    assert len(rows) == 2 * 5
    for row in rows:
        assert (float(row["accuracy"]) > 0.6) == (row["activation"] == "tanh"), row


# ---- mnist_cnn.py ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cnn():
    return load("mnist_cnn")


def test_mnist_cnn(tmp_path):
    result = run("mnist_cnn", "--activations", "relu,selu", "--subset", 150, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "run by Python" not in result.stdout, "every step can be replayed"
    assert "relu: 150 images" in result.stdout and "epoch 3/3" in result.stdout
    assert is_picture(tmp_path / "mnist_out" / "histories.png")
    rows = table(tmp_path / "mnist_out" / "histories.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"] * 2
    assert list(rows[0])[2:] == ["loss", "accuracy", "val_loss", "val_accuracy"]


def test_network_is_the_published_one(cnn):
    net = cnn.build("relu")
    assert "1,199,882" in net.summary((2, 1, 28, 28))  # as Keras counts it
    kinds = [type(layer).__name__ for layer in net]
    assert kinds == (
        "Conv2d Activation Conv2d Activation MaxPool2d Dropout Flatten Linear Activation Dropout "
        "Linear".split()
    )
    assert {layer.p for layer in cnn.build("selu") if isinstance(layer, tga.nn.AlphaDropout)} == {
        0.25,
        0.5,
    }


def test_every_activation_makes_a_network(cnn):
    images = tga.rand(3, 1, 28, 28)
    for name in cnn.ACTIVATIONS:
        net = cnn.build(name)
        tga.cross_entropy(net(images), tga.Tensor([1, 2, 3], dtype="int64")).backward()
        assert net(images).shape == (3, 10) and all(p.grad is not None for p in net.parameters())


# ---- mnist_mpi.py ---------------------------------------------------------------------------


def test_two_processes_train_as_one(tmp_path):
    """Within rounding, which Adam's division by the root of small squares magnifies."""
    launcher = Path(sys.executable).with_name("mpiexec")
    if importlib.util.find_spec("mpi4py") is None or not launcher.exists():
        pytest.skip("runs under MPI, and there is no mpi4py with an mpiexec beside it")
    script = [sys.executable, str(EXAMPLES / "mnist_mpi.py"), "--epochs", "1", "--out"]
    states = []
    for n in (1, 2):
        command = [str(launcher), "-n", str(n), *script, f"out{n}"]
        result = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True)
        assert result.returncode == 0, result.stderr.decode()
        states.append(checkpoint.load(tmp_path / f"out{n}" / "net.npz"))
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name].numpy(), value.numpy(), atol=1e-4)


# ---- all ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        (
            "playground",
            ["--activations", "relu,swoosh"],
            "there is no 'swoosh'; there are identity",
        ),
        ("playground", ["--seeds", "0"], "'0' is not a whole number of at least 1"),
        ("vanishing_gradient", ["--steps", "x"], "'x' is not a whole number"),
        ("activations", ["--out", "/dev/null/here"], "/dev/null/here"),
    ],
)
def test_bad_arguments_give_one_line(capsys, name, arguments, complaint):
    with pytest.raises(SystemExit) as raised:
        load(name).main(arguments)
    assert raised.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_without_matplotlib_there_are_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    load("activations").main(["--out", str(tmp_path)])
    assert capsys.readouterr().out.count("matplotlib is not installed") == 1
    assert os.listdir(tmp_path) == ["activations.csv"]
