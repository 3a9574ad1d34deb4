"""Dropout: how much is dropped, what becomes of the rest, and that the stream decides it alone."""

import numpy as np
import pytest
from oracle import same_bits, threads

import tinygrad_act as tga
from tinygrad_act import Tensor, grad


def test_share_and_scale(dtype, isa):
    tga.manual_seed(1)
    n = 200_003
    for p in (0.1, 0.5, 0.9):
        y = tga.dropout(tga.ones(n, dtype=dtype), p).numpy()
        kept = y != 0
        assert np.allclose(y[kept], 1 / (1 - p), rtol=1e-6)
        # five standard deviations of a binomial share
        assert abs(kept.mean() - (1 - p)) < 5 * np.sqrt(p * (1 - p) / n)
        pairs = (kept[:-1] & kept[1:]).mean()
        assert abs(pairs - (1 - p) ** 2) < 5 / np.sqrt(n)


def test_gradient_goes_where_the_value_went(dtype):
    x = Tensor(np.ones((50, 7), dtype), requires_grad=True)
    y = tga.dropout(x, 0.25)
    gy = np.arange(350.0).reshape(50, 7).astype(dtype)
    (gx,) = grad(y, x, Tensor(gy))
    np.testing.assert_array_equal(gx.numpy(), y.numpy() * gy)


def test_same_stream_same_mask(dtype):
    """On every instruction set, on one thread and on two, and for both precisions."""
    results = []
    for isa in tga.supported_isas():
        for count in (1, 2):
            with tga.use_isa(isa), threads(count):
                tga.manual_seed(7)
                x = tga.ones(100_001, dtype=dtype)
                results.append((tga.dropout(x, 0.3) + tga.alpha_dropout(x, 0.3)).numpy())
    assert all(same_bits(results[0], one) for one in results[1:])
    tga.manual_seed(7)
    first = tga.dropout(tga.ones(100_001, dtype=dtype), 0.3).numpy() != 0
    second = tga.dropout(tga.ones(100_001, dtype=dtype), 0.3).numpy() != 0
    assert not np.array_equal(first, second)


def test_whole_channels(dtype):
    tga.manual_seed(3)
    y = tga.dropout2d(tga.ones(40, 5, 3, 4, dtype=dtype), 0.5).numpy()
    channels = y.reshape(200, 12)
    assert (channels == channels[:, :1]).all() and 60 < (channels[:, 0] == 0).sum() < 140


def test_alpha_dropout_keeps_mean_and_variance(isa):
    tga.manual_seed(4)
    x = tga.randn(400_000)
    for p in (0.05, 0.3):
        y = tga.alpha_dropout(x, p).numpy()
        assert abs(y.mean()) < 0.02 and abs(y.var() - 1) < 0.03


def test_not_in_training_and_at_the_ends():
    x = Tensor([1.0, -2.0, 3.0])
    for op in (tga.dropout, tga.alpha_dropout):
        assert op(x, 0.5, training=False).tolist() == x.tolist()
        assert op(x, 0.0).tolist() == x.tolist()
        assert op(x, 1.0).tolist() == [0.0, 0.0, 0.0]
    assert tga.dropout(tga.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: tga.dropout(x, 1.5), r"dropout: p must be a number from 0 to 1, not 1.5"),
        (lambda x: tga.alpha_dropout(x, "half"), r"alpha_dropout: p must be a number"),
        (lambda x: tga.dropout(x.astype("int64")), r"dropout: needs float32 or float64"),
        (lambda x: tga.dropout2d(x[0]), r"dropout2d: x is \(3,\), but must be \(n, channels"),
        (lambda x: tga.drop(x, x), r"drop: the mask must be bool, not float32"),
        (lambda x: tga.drop(x, x[0] > 0), r"drop: x is \(2, 3\) but the mask is \(3,\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(tga.ones(2, 3))
