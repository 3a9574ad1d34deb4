"""The harness of the benchmarks: what it reports of made-up times, and of real ones."""

import importlib
import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent))

import tinygrad_act as tga  # noqa: E402
from benchmarks import cases, nets, report, rounds, timing, topics, xor_ways  # noqa: E402
from benchmarks.topics import activations  # noqa: E402
from tinygrad_act.op import ACTIVATIONS  # noqa: E402

TIMES = {  # ours wins twice and loses once; jax does one case only
    "tinygrad_act": {"a": [2.0, 1.0], "b": [1.0, 1.0], "c": [4.0, 5.0]},
    "torch": {"a": [2.0, 3.0], "b": [8.0, 9.0], "c": [2.0, 3.0]},
    "jax_scan": {"a": [1.5, 1.8]},
    "limit": {"a": [0.5, 0.5]},
}
BEST = {column: {case: min(s) for case, s in of.items()} for column, of in TIMES.items()}


def test_ratios_are_those_of_the_fastest_peer():
    assert set(report.ratios_of(cases.Group("all"), BEST)) == {
        (1.5, "a", "jax_scan"),
        (8.0, "b", "torch"),
        (0.5, "c", "torch"),
    }


def test_a_limit_counts_only_where_it_is_named():
    assert list(report.ratios_of(cases.Group("limit", against=["limit"]), BEST)) == [
        (0.5, "a", "limit")
    ]


def test_sums_tell_mean_and_worst():
    line = report.sums([cases.Group("all"), cases.Group("none", lambda case: False)], BEST)
    mean = math.cbrt(1.5 * 8 * 0.5)
    row = f"| all | the fastest | {mean:.2f} | **0.50** | c: torch | 1 of 3 |"
    assert line.splitlines()[2:] == [row]


def test_details_mark_losses():
    rows = report.details(BEST).splitlines()
    assert rows[0] == "|  | tinygrad_act | torch | jax_scan | limit | fastest peer |"
    assert rows[2] == "| a | 1 s | 2 s (2.00) | 1.5 s (1.50) | 500 ms (**0.50**) | jax_scan 1.50 |"
    assert rows[4] == "| c | 4 s | 2 s (**0.50**) |  |  | torch **0.50** |"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ns"), (5e-10, "0.5 ns"), (1.234e-6, "1.23 µs"), (0.01, "10 ms"), (75, "75 s")],
)
def test_figures_are_short(seconds, text):
    assert report.figure(seconds, "case") == text


def test_figures_of_work_are_speeds():
    assert report.figure(2.0, "case", lambda case: (4e9, "GFLOP/s")) == "2.0 GFLOP/s"


def test_a_topic_may_show_its_figures_itself():
    row = report.details(BEST, lambda value, case: f"{value:.0f} MiB of {case}").splitlines()[2]
    assert row.startswith("| a | 1 MiB of a | 2 MiB of a (2.00) |")


def test_the_peak_of_a_process_is_its_own():
    small, large = [timing.peak_of_process(f"x = bytearray({n} << 20)") for n in (1, 60)]
    assert 50 << 20 < large - small < 70 << 20


def test_spread_is_from_round_to_round():
    assert "100% in the middle" in report.spread({"torch": {"a": [1, 2], "b": [2, 4]}})


def test_a_peer_that_computes_something_else_is_found():
    values = {
        "a": {"tinygrad_act": [1.0, 2.0], "torch": [1.0, 2.00001], "jax": [1.0, 2.1]},
        "b": {"torch": [5.0]},
        "c": {"tinygrad_act": [1.0], "torch": [math.nan]},
    }
    assert [found[:2] for found in rounds.disagreements(values, 1e-4)] == [
        ("a", "jax"),
        ("c", "torch"),
    ]


def test_a_worker_reports_times_and_values():
    answer = rounds.run("xor_step", "tinygrad_act", 1)
    assert list(answer) == [name for name, _, _ in nets.each()]
    for found in answer.values():
        assert 0 < found["seconds"] < 1
        assert all(0 < cost < 5 for cost in found["value"])


def test_a_failing_worker_says_why():
    with pytest.raises(RuntimeError, match="nobody"):
        rounds.run("xor_step", "nobody", 1)


def test_timing_divides_by_the_calls():
    assert timing.seconds_per_call(lambda: None, sample=1e-4, samples=3) < 1e-4


@pytest.mark.parametrize("topic", topics.TOPICS)
def test_topics_have_a_title_and_columns_of_known_peers(topic):
    module = importlib.import_module(f"benchmarks.topics.{topic}")
    assert module.__doc__.splitlines()[0].endswith(".")
    assert rounds.columns_of(module)
    for group in getattr(module, "GROUPS", []):
        assert {*(group.against or []), group.ours} <= {*rounds.columns_of(module)}


def test_grids_have_a_cell_for_each_case():
    place = {"a": ("one", "x", "16"), "b": ("one", "y", "16"), "c": ("two", "x", "32")}
    text = report.grids(BEST, place.get)
    rows = [line for line in text.splitlines() if "---" not in line]
    assert rows == [
        "| one | 16 |",
        "| x | 1 s; 1.50 jax_scan |",
        "| y | 1 s; 8.00 torch |",
        "",
        "| two | 32 |",
        "| x | 4 s; **0.50** torch |",
    ]


def test_activations_are_those_of_the_registry():
    names = {name for name, _ in activations.names()}
    assert {ACTIVATIONS[name] for name in names} == set(ACTIVATIONS.values()) - {tga.identity}


@pytest.mark.parametrize("hidden", nets.HIDDEN)
def test_all_ways_train_alike(hidden):
    """By hand and in C, too: else their times could not be compared."""
    sizes, steps = nets.NETS["wide 2-5-4-1"], 100
    step = xor_ways.tinygrad_act(sizes, hidden)
    ours = [float(step()) for _ in range(steps)]
    step = xor_ways.numpy(sizes, hidden)
    assert [float(step()) for _ in range(steps)] == pytest.approx(ours, rel=1e-4)
    for source in ("xor_plain.c", "xor_vector.c"):
        run = xor_ways.in_c(source, sizes, hidden, steps)
        assert list(run()) == pytest.approx(ours, rel=1e-4)
