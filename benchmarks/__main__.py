"""Measure tinygrad_act and its peers, side by side in one run.

    python -m benchmarks                                all topics, every installed peer
    python -m benchmarks xor_step --threads 1           one topic, on one core
    python -m benchmarks --peer torch --rounds 5 --json results.json

Each peer runs in a fresh process, and the peers take turns for several rounds; a
figure is the best of the rounds' medians, since other work on the machine can only
add to a time.  The ratio is the peer's time over ours: above 1, we are faster.
"""

import argparse
import importlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys

from .topics import TOPICS

OURS = "tinygrad_act"


def main():
    arguments = parse()
    print(machine(arguments.threads))
    results = {}
    for topic in arguments.topics:
        results[topic] = measure(topic, arguments)
        print(table(topic, results[topic]), flush=True)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)


def parse():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("topics", nargs="*", metavar="topic", help=f"of {', '.join(TOPICS)}")
    parser.add_argument("--peer", default="numpy,torch", help="default: numpy,torch")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--json", metavar="FILE", help="write the seconds of all cases there")
    arguments = parser.parse_args()
    unknown = set(arguments.topics) - set(TOPICS)
    if unknown:
        parser.error(f"no such topic: {', '.join(unknown)}; there are {', '.join(TOPICS)}")
    arguments.topics = arguments.topics or list(TOPICS)
    return arguments


def measure(topic, arguments):
    """The best time of each case: {peer: {case: seconds}}."""
    module = importlib.import_module(f"benchmarks.topics.{topic}")
    peers = [OURS]
    for name, function in vars(module).items():
        package = name.split("_")[0]
        if callable(function) and package in arguments.peer.split(","):
            if is_installed(package):
                peers.append(name)
            else:
                print(f"{topic}: {package} is not installed, so it is left out")
    best = {peer: {} for peer in peers}
    for _ in range(arguments.rounds):
        for peer in peers:
            for case, seconds in run(topic, peer, arguments.threads).items():
                best[peer][case] = min(seconds, best[peer].get(case, math.inf))
    return best


def is_installed(package):
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def run(topic, peer, threads):
    """One worker process; with one thread it is bound to one core."""
    environment = dict(os.environ)
    for name in ("TGA", "OMP", "OPENBLAS", "MKL"):
        environment[f"{name}_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-m", "benchmarks.worker", topic, peer]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{topic}, {peer}: the worker failed\n{done.stderr}")
    return json.loads(done.stdout)


def machine(threads):
    """One paragraph: what was measured on, and with which versions."""
    versions = [f"Python {platform.python_version()}"]
    for package in (OURS, "numpy", "torch"):
        if is_installed(package):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    from tinygrad_act import isa

    return (
        f"{processor()}, {os.cpu_count()} cores, kernels for {isa()}, {threads} thread"
        f"{'s' * (threads > 1)}; {', '.join(versions)}"
    )


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            info = dict(line.split(":", 1) for line in file if ":" in line)
        names = {key.strip(): value.strip() for key, value in info.items()}
        return f"{names['model name']} (family {names['cpu family']}, model {names['model']})"
    except (OSError, KeyError, ValueError):
        return platform.processor() or platform.machine()


def table(topic, best):
    """A Markdown table: a row for each case, a column for each peer, and the ratios."""
    module = importlib.import_module(f"benchmarks.topics.{topic}")
    flops = getattr(module, "flops", None)
    others = [peer for peer in best if peer != OURS]
    head = [topic, OURS, *others, *[f"{peer} / ours" for peer in others]]
    rows = [head, ["---"] * len(head)]
    ratios = {peer: [] for peer in others}
    for case, ours in best[OURS].items():
        row = [case, figure(ours, case, flops)]
        row += [figure(best[peer][case], case, flops) for peer in others]
        for peer in others:
            ratio = best[peer][case] / ours
            ratios[peer].append(ratio)
            row.append(f"{ratio:.2f}")
        rows.append(row)
    means = [f"{math.exp(sum(map(math.log, r)) / len(r)):.2f}" for r in ratios.values()]
    rows.append(["geometric mean", "", *[""] * len(others), *means])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return f"\n## {topic}: {TOPICS[topic]}\n\n" + "\n".join(lines) + "\n"


def figure(seconds, case, flops):
    """A time for people; of a large matrix product, the speed."""
    if flops and flops(case) > 1e5:
        return f"{flops(case) / seconds / 1e9:.1f} GFLOP/s"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.2f} µs"
    return f"{seconds * 1e3:.2f} ms"


if __name__ == "__main__":
    main()
