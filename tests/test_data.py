"""Data sets, IDX files, splits and batches."""

import gzip
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_act as tga
from tinygrad_act import Tensor, data

EXCERPT = Path(__file__).resolve().parent.parent / "examples" / "mnist"


# ---- points in the plane --------------------------------------------------------------------


def noisy_spiral(n, seed):
    return data.spiral(n, noise=0.1, seed=seed)


@pytest.mark.parametrize("make", [data.xor, data.circle, noisy_spiral, data.gauss])
def test_points_follow_from_the_seed_alone(make):
    x, t = make(101, seed=3)
    assert x.shape == (101, 2) and t.shape == (101, 1) and x.dtype == t.dtype == "float32"
    assert set(t.numpy().ravel()) == {0.0, 1.0}
    assert abs(t.numpy().mean() - 0.5) < 0.15
    tga.manual_seed(99)
    again, same = make(101, seed=3)
    assert again.tolist() == x.tolist() and same.tolist() == t.tolist()
    assert make(101, seed=4)[0].tolist() != x.tolist()


def test_circle_is_a_disc_in_a_ring():
    x, t = (a.numpy() for a in data.circle(400))
    radius = np.hypot(*x.T)
    inner = t.ravel() == 1
    assert radius[inner].max() <= 2.5 and inner.sum() == 200
    assert 3.499 <= radius[~inner].min() and radius[~inner].max() <= 5.001
    noisy = data.circle(400, noise=0.3)[1].numpy().ravel()
    assert 0.05 < (noisy != t.ravel()).mean() < 0.4


def test_spirals_are_images_of_each_other():
    x, t = (a.numpy() for a in data.spiral(200))
    first, second = x[t.ravel() == 1], x[t.ravel() == 0]
    np.testing.assert_allclose(first, -second, atol=1e-5)
    radius = np.hypot(*first.T)
    assert (np.diff(radius) > 0).all() and radius[0] == 0
    moved = data.spiral(200, noise=0.5)[0].numpy() - x
    assert 0.3 < np.abs(moved).max() <= 0.5


def test_gauss_has_two_centres():
    x, t = (a.numpy() for a in data.gauss(2000))
    for one, centre in ((1, 2), (0, -2)):
        cloud = x[t.ravel() == one]
        np.testing.assert_allclose(cloud.mean(axis=0), centre, atol=0.1)
        np.testing.assert_allclose(cloud.var(axis=0), 0.5, atol=0.06)
    wide = data.gauss(2000, noise=0.5)[0].numpy()
    assert wide[:1000].var(axis=0).mean() == pytest.approx(4.0, rel=0.1)


def test_xor_in_the_plane_goes_by_signs():
    x, t = (a.numpy() for a in data.xor(300))
    assert ((x[:, 0] * x[:, 1] < 0) == t.ravel()).all()


def test_misuse_of_points():
    with pytest.raises(ValueError, match="circle: n must be a whole number"):
        data.circle(0)
    with pytest.raises(ValueError, match="gauss: noise is -1"):
        data.gauss(noise=-1)


# ---- MNIST ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "n"), [("train", 4000), ("test", 1000)])
def test_excerpt_of_mnist(part, n):
    images, labels = data.mnist(EXCERPT, part)
    assert images.shape == (n, 28, 28) and images.dtype == "uint8"
    assert labels.shape == (n,) and labels.dtype == "int64"
    pixels, digits = images.numpy(), labels.numpy()
    assert pixels.min() == 0 and pixels.max() == 255 and 30 < pixels.mean() < 37
    counts = np.bincount(digits)
    assert len(counts) == 10 and counts.min() > 0.08 * n and counts.max() < 0.13 * n
    # a 1 has the least ink, and a 0 a hole in the middle
    ink = [pixels[digits == d].mean() for d in range(10)]
    assert np.argmin(ink) == 1
    assert np.argmin([pixels[digits == d, 13:15, 13:15].mean() for d in range(10)]) == 0


def test_excerpt_is_small():
    assert sum(path.stat().st_size for path in EXCERPT.glob("*.gz")) < 1_200_000


def test_excerpt_is_made_by_the_command_beside_it(tmp_path):
    """From the excerpt itself, since its beginnings are its own."""
    code = (EXCERPT / "excerpt.py").read_text()
    (tmp_path / "excerpt.py").write_text(code)
    root = str(EXCERPT.parent.parent)
    subprocess.run(
        [sys.executable, "excerpt.py", str(EXCERPT)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        check=True,
    )
    for path in EXCERPT.glob("*.gz"):
        assert gzip.decompress((tmp_path / path.name).read_bytes()) == gzip.decompress(
            path.read_bytes()
        )


def test_files_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TGA_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"train-images.* in {tmp_path}/mnist; .*download"):
        data.mnist()
    folder = tmp_path / "fashion_mnist"
    folder.mkdir()
    data.write_idx(folder / "t10k-images-idx3-ubyte", Tensor(np.ones((2, 28, 28), "uint8")))
    data.write_idx(folder / "t10k-labels-idx1-ubyte.gz", Tensor(np.array([3, 7], "uint8")))
    images, labels = data.fashion_mnist(part="test")
    assert images.shape == (2, 28, 28) and labels.tolist() == [3, 7]
    monkeypatch.delenv("TGA_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data.cache_folder() == tmp_path / "cache" / "tinygrad_act"
    with pytest.raises(ValueError, match="part is 'valid'"):
        data.mnist(part="valid")


def test_download_asks_pooch_with_the_sum(tmp_path, monkeypatch):
    asked = []

    class Pooch:
        @staticmethod
        def retrieve(url, known_hash, fname, path):
            asked.append((url, known_hash))
            data.write_idx(
                path / fname,
                Tensor(np.zeros((1, 28, 28) if "images" in fname else (1,), "uint8")),
            )
            return str(path / fname)

    monkeypatch.setitem(sys.modules, "pooch", Pooch)
    images, labels = data.mnist(tmp_path, "test", download=True)
    assert images.shape == (1, 28, 28) and labels.tolist() == [0]
    assert [url.rpartition("/")[2] for url, _ in asked] == [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]
    assert all(len(known.removeprefix("md5:")) == 32 for _, known in asked)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"tinygrad_act\[data\]"):
        data.mnist(tmp_path, "train", download=True)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 5), ()], ids=str)
@pytest.mark.parametrize("name", ["x", "x.gz"])
def test_idx_files_come_back(tmp_path, shape, name):
    x = Tensor(np.arange(math.prod(shape), dtype="uint8").reshape(shape))
    data.write_idx(tmp_path / name, x)
    y = data.read_idx(tmp_path / name)
    assert y.shape == shape and y.dtype == "uint8" and y.tolist() == x.tolist()
    data.write_idx(tmp_path / "again.gz", x)
    data.write_idx(tmp_path / "once_more.gz", x)
    assert (tmp_path / "again.gz").read_bytes() == (tmp_path / "once_more.gz").read_bytes()


WHOLE = b"\0\0\x08\x02\0\0\0\x02\0\0\0\x03abcdef"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"no IDX file: it begins with b''"),
        (b"PK\x03\x04 a zip file", r"no IDX file: it begins with b'PK"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "elements of type 0x0d, not bytes"),
        (WHOLE[:7], "truncated: it ends within the sizes"),
        (WHOLE[:-1], r"is truncated: its shape \(2, 3\) needs 6 bytes, but 5 follow"),
        (WHOLE + b"g", r"is too long: its shape \(2, 3\) needs 6 bytes, but 7 follow"),
        (gzip.compress(WHOLE)[:-9], "damaged or truncated"),
        (gzip.compress(WHOLE)[:12] + bytes(20), "damaged or truncated"),
        (gzip.compress(WHOLE[:-1]), "is truncated"),
    ],
)
def test_files_that_are_wrong(tmp_path, content, words):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        data.read_idx(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value)


def test_files_that_do_not_belong_together(tmp_path):
    data.write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", Tensor(np.ones((2, 28, 28), "uint8")))
    data.write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", Tensor(np.ones(3, "uint8")))
    with pytest.raises(ValueError, match=r"\(2, 28, 28\).*\(3,\)"):
        data.mnist(tmp_path, "test")
    with pytest.raises(TypeError, match="needs uint8, but x is float32"):
        data.write_idx(tmp_path / "x", Tensor([1.0]))


# ---- splits and batches ---------------------------------------------------------------------


def test_permutations_follow_from_seed_and_epoch():
    order = data.permutation(1000, seed=5, epoch=2)
    assert order.dtype == "int64" and sorted(order.tolist()) == list(range(1000))
    tga.manual_seed(0)
    assert data.permutation(1000, seed=5, epoch=2).tolist() == order.tolist()
    others = [(5, 3), (6, 2), (2, 5), (-1, 0), (0, 0)]
    drawn = [tuple(data.permutation(1000, seed, epoch).tolist()) for seed, epoch in others]
    assert len({*drawn, tuple(order.tolist())}) == 6
    assert data.permutation(0).tolist() == []


def test_every_place_is_equally_likely():
    places = np.array([data.permutation(8, epoch=e).tolist() for e in range(2000)])
    counts = np.array([np.bincount(column, minlength=8) for column in places.T])
    assert ((counts - 250) ** 2 / 250).sum() < 49 + 5 * math.sqrt(2 * 49)  # chi-squared


@pytest.mark.parametrize("batch_size", [1, 3, 10, 99])
@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_hold_each_row_once(batch_size, shuffled):
    x, t = Tensor(np.arange(20.0).reshape(10, 2)), Tensor(np.arange(10))
    order = data.permutation(10, seed=1) if shuffled else None
    pieces = list(data.batches((x, t), batch_size, order))
    assert [len(a) for a, _ in pieces] == [
        min(batch_size, 10 - i) for i in range(0, 10, batch_size)
    ]
    rows = np.concatenate([a.numpy() for a, _ in pieces])
    labels = np.concatenate([b.numpy() for _, b in pieces])
    assert labels.tolist() == (order.tolist() if shuffled else list(range(10)))
    assert (rows == x.numpy()[labels]).all()
    assert pieces[0][1].dtype == "int64"


def test_order_may_be_of_numpy():
    x = Tensor([[1.0], [2.0], [3.0]])
    for order in (np.array([2, 0, 2]), np.array([2, 0, 2], "int32")):
        pieces = [piece.tolist() for (piece,) in data.batches(x, 2, order)]
        assert pieces == [[[3.0], [1.0]], [[3.0]]]
    for wrong in ([2, 0], np.array([True, False]), np.array([[1]]), Tensor([1.0]), 3):
        with pytest.raises(TypeError, match="batches: order must be"):
            data.batches(x, 2, wrong)


def test_batches_of_one_tensor_and_misuse():
    ((a,), (b,)) = data.batches(Tensor([1.0, 2.0, 3.0]), 2)
    assert a.tolist() == [1.0, 2.0] and b.tolist() == [3.0]
    with pytest.raises(ValueError, match=r"first sizes must be equal.*\(2,\), \(3,\)"):
        data.batches((Tensor([1.0, 2.0]), Tensor([1.0, 2.0, 3.0])), 1)
    with pytest.raises(ValueError, match=r"the shapes are \(\)"):
        data.batches(Tensor(1.0), 1)
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, not 0"):
        data.batches(Tensor([1.0]), 0)
    with pytest.raises(TypeError, match="must be Tensors, not list"):
        data.batches([[1.0]], 1)


def test_split_parts_the_rows():
    x, t = data.circle(50)
    train, held_out = data.split((x, t), 0.2, seed=7)
    assert train[0].shape == (40, 2) and held_out[1].shape == (10, 1)
    rows = {tuple(row) for part in (train, held_out) for row in part[0].tolist()}
    assert rows == {tuple(row) for row in x.tolist()}
    assert data.split((x, t), 0.2, seed=7)[1][0].tolist() == held_out[0].tolist()
    with pytest.raises(ValueError, match="share of 0.001 of 50 rows"):
        data.split((x, t), 0.001)
