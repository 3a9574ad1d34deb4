"""Measure tinygrad_act and its peers, side by side in one run.

    python -m benchmarks                              every topic, every installed peer
    python -m benchmarks gemm limits --threads 1,2    two topics, with 1 and with 2 threads
    python -m benchmarks --peer torch,jax --rounds 5 --json results.json
    python -m benchmarks --report benchmarks/RESULTS.md

Each peer runs in a fresh process, and the peers take turns for several rounds; a figure
is the best of the rounds' medians.  The ratio is the peer's time over ours: above 1, we
are faster.  Who computes something else than we do is not compared.

With one thread and all peers it takes about a quarter of an hour, of which the activations
take a third, longer when PyTorch compiles for the first time; below each table stands
how long it took.
"""

import argparse
import importlib
import json
import shlex
import sys
import time

from .report import machine, section
from .rounds import IN_C, PEERS, measure, missing
from .topics import TOPICS


def main():
    options = read_options()
    command = f"python -m benchmarks {shlex.join(sys.argv[1:])}".strip()
    pages = [f"# Results\n\n{machine()}\n\nMade by `{command}`.\n"]
    print(pages[0])
    peers = []
    for peer in (*options.peer, *IN_C):
        reason = missing(peer)
        if reason:
            print(f"{peer} takes no part: {reason}")
        else:
            peers.append(peer)

    results = {}
    for topic in options.topics:
        for threads in options.threads:
            if threads > options.threads[0] and not threaded(topic):
                continue
            count = threads if threaded(topic) else 1
            start = time.perf_counter()
            times = measure(topic, peers, count, options.rounds)
            minutes = (time.perf_counter() - start) / 60
            results.setdefault(topic, {})[count] = times
            page = section(topic, times).replace("\n", f" ({plural(count)})\n", 1)
            page += f"\nTook {minutes:.1f} minutes.\n"
            pages.append(page)
            print(page, flush=True)
            if options.json:
                with open(options.json, "w") as file:
                    json.dump({"machine": machine(), "command": command, "seconds": results}, file)
            if options.report:
                with open(options.report, "w") as file:
                    file.write("\n".join(pages))


def threaded(topic):
    return getattr(importlib.import_module(f"benchmarks.topics.{topic}"), "THREADED", False)


def plural(threads):
    return "1 thread" if threads == 1 else f"{threads} threads"


def read_options():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("topics", nargs="*", metavar="topic", help=f"of {', '.join(TOPICS)}; default: all")
    add("--peer", type=split, default=PEERS, help=f"default: {','.join(PEERS)}")
    add("--threads", type=counts, default=[1], help="one or several, as 1,2; default: 1")
    add("--rounds", type=int, default=3, help="default: 3")
    add("--json", metavar="FILE", help="write the seconds of all rounds there")
    add("--report", metavar="FILE", help="write the tables there, too")
    options = parser.parse_args()
    for given, known in ((options.topics, TOPICS), (options.peer, PEERS)):
        for name in given:
            if name not in known:
                parser.error(f"no {name!r} here; there are {', '.join(known)}")
    options.topics = options.topics or TOPICS
    return options


def split(text):
    return [name.strip() for name in text.split(",")]


def counts(text):
    return sorted(int(number) for number in text.split(","))


if __name__ == "__main__":
    main()
