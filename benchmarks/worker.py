"""One fresh process: one topic, one column of its table, one number of threads.

Run by ``rounds.py``, which starts one for each and takes turns.  Prints JSON: for each
case the seconds, and the value that all peers must agree on.
"""

import importlib
import json
import os
import sys

from .timing import seconds_per_call


def main(topic, column, threads):
    bind(int(threads))
    module = importlib.import_module(f"benchmarks.topics.{topic}")
    answer = {}
    for case in getattr(module, column)():
        value = list(map(float, case.value())) if case.value else None
        seconds = seconds_per_call(case.call) / case.per if callable(case.call) else case.call
        answer[case.name] = {"seconds": seconds, "value": value}
    print(json.dumps(answer))


def bind(threads):
    """Keep to as many cores as there are threads, so that no library takes more."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[-threads:])


if __name__ == "__main__":
    main(*sys.argv[1:])
