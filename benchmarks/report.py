"""The tables: times, ratios, geometric means, and where we are slowest by comparison.

A ratio is the peer's time over ours: above 1 we are faster, below 1 it is printed bold.
"""

import importlib
import math
import os
import platform
import statistics
from functools import partial
from importlib import metadata

from .cases import OURS, Group, peer_of

NO_PEERS = (OURS, "limit", "c", "python")  # a floor to compare with, but nobody's framework


def section(topic, times):
    """One topic's Markdown: title, sums of the groups, one row for each case."""
    module = importlib.import_module(f"benchmarks.topics.{topic}")
    title = module.__doc__.splitlines()[0].rstrip(".")
    best = {
        column: {case: min(seconds) for case, seconds in cases.items()}
        for column, cases in times.items()
    }
    parts = [f"## {topic}: {title}"]
    groups = getattr(module, "GROUPS", [Group("all")])
    parts.append(sums(groups, best))
    place, rate = getattr(module, "place", None), getattr(module, "rate", None)
    show = getattr(module, "show", partial(figure, rate=rate))
    parts.append(grids(best, place) if place else details(best, show))
    parts.append(spread(times))
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head, rows):
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---- sums ---------------------------------------------------------------------------------


def sums(groups, best):
    """One line for each group: geometric mean, the smallest ratio, how many are losses."""
    rows = []
    for group in groups:
        ratios = sorted(ratios_of(group, best))
        if not ratios:
            continue
        mean = math.exp(statistics.fmean(math.log(ratio) for ratio, _, _ in ratios))
        least, case, column = ratios[0]
        losses = sum(ratio < 1 for ratio, _, _ in ratios)
        rows.append(
            [group.label, "/".join(group.against or ["the fastest"]), ratio_text(mean)]
            + [ratio_text(least), f"{case}: {column}", f"{losses} of {len(ratios)}"]
        )
    head = ["ratio, theirs / ours", "against", "geometric mean", "smallest", "which is", "below 1"]
    return table(head, rows) if rows else ""


def ratios_of(group, best):
    """(ratio, case, column) of each case of the group, against the fastest in it."""
    for case, ours in best.get(group.ours, {}).items():
        if not group.belongs(case):
            continue
        found = fastest(case, best, group.against)
        if found:
            seconds, column = found
            yield seconds / ours, case, column


def fastest(case, best, columns=None):
    """(seconds, column) of the fastest peer, or of the fastest of the columns named."""
    if columns is None:
        columns = [column for column in best if peer_of(column) not in NO_PEERS]
    found = [(best[c][case], c) for c in columns if case in best.get(c, {})]
    return min(found, default=None)


def ratio_text(ratio):
    return f"**{ratio:.2f}**" if ratio < 1 else f"{ratio:.2f}" if ratio < 99.5 else f"{ratio:.0f}"


# ---- the cases -------------------------------------------------------------------------------


def details(best, show=None):
    """One row for each case: each column's time, and in brackets its ratio to our first column.

    `show` makes words of a figure; by default it is a time.
    """
    show = show or figure
    cases = list(dict.fromkeys(case for column in best.values() for case in column))
    compared = any(peer_of(c) == OURS for c in best) and len(best) > 1
    head = ["", *best] + ["fastest peer"] * compared
    rows = []
    for case in cases:
        candidates = [c for c, times in best.items() if peer_of(c) == OURS and case in times]
        reference = candidates[0] if candidates else None
        ours = best[reference][case] if candidates else None
        row = [case]
        for column, seconds in best.items():
            if case not in seconds:
                row.append("")
            elif column == reference or ours is None:
                row.append(show(seconds[case], case))
            else:
                ratio = ratio_text(seconds[case] / ours)
                row.append(f"{show(seconds[case], case)} ({ratio})")
        if compared:
            found = fastest(case, best)
            row.append(f"{found[1]} {ratio_text(found[0] / ours)}" if found and ours else "")
        rows.append(row)
    return table(head, rows)


def grids(best, place):
    """Tables in which a cell is a case: our time, and the ratio of the fastest peer."""
    tables = {}
    for case, ours in best.get(OURS, {}).items():
        found = fastest(case, best)
        title, row, column = place(case)
        text = figure(ours, case)
        if found:
            text += f"; {ratio_text(found[0] / ours)} {found[1]}"
        tables.setdefault(title, {}).setdefault(row, {})[column] = text
    parts = []
    for title, rows in tables.items():
        columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
        lines = [[row, *[cells.get(c, "") for c in columns]] for row, cells in rows.items()]
        parts.append(table([title, *columns], lines))
    return "\n\n".join(parts)


def figure(seconds, case, rate=None):
    """A time for people; or, where the topic says how much work it is, the speed."""
    amount, unit = rate(case) if rate else (0, "")
    if amount:
        return f"{amount / seconds / 1e9:.1f} {unit}"
    scales = {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
    unit = next((unit for unit, size in scales.items() if seconds >= size), "ns")
    value = seconds / scales[unit]
    return f"{value:.3g} {unit}" if value < 99.5 else f"{value:.0f} {unit}"


def spread(times):
    """How far the rounds are apart, since a ratio cannot be more exact than that."""
    found = [
        max(seconds) / min(seconds) - 1
        for cases in times.values()
        for seconds in cases.values()
        if len(seconds) > 1
    ]
    if len(found) < 2:
        return ""
    middle, ninth = statistics.median(found), statistics.quantiles(found, n=10)[-1]
    return (
        f"From the fastest round to the slowest: {middle:.0%} in the middle of the cases, "
        f"{ninth:.0%} in nine of ten."
    )


# ---- the machine ---------------------------------------------------------------------------


def machine():
    """One paragraph: what was measured on, and with which versions."""
    from tinygrad_act import isa

    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}; kernels for {isa()}. "
        f"{', '.join(versions())}."
    )


def versions():
    """Of Python, of ours, and of the peers that are installed."""
    yield f"Python {platform.python_version()}"
    names = (OURS, "numpy", "scipy", "torch", "jax", "tensorflow", "tensorflow-cpu")
    for package in names:
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            pass


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            info = dict(line.split(":", 1) for line in file if ":" in line)
        names = {key.strip(): value.strip() for key, value in info.items()}
        return f"{names['model name']} (family {names['cpu family']}, model {names['model']})"
    except (OSError, KeyError, ValueError):
        return platform.processor() or platform.machine()
