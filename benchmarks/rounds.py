"""The rounds of one topic: each peer in a fresh process, one after the other, several times.

A figure is the best of the rounds' medians, since other work on the machine can only add
to a time.  Peers take turns, so that a slow minute hits all of them.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys

from . import native
from .cases import OURS, peer_of

PEERS = ("numpy", "scipy", "torch", "jax", "tensorflow")
ALWAYS = (OURS, "python")
IN_C = ("limit", "c")
LONGEST = 900  # seconds that a process may take before it counts as failed
TOLERANCE = 1e-4


def measure(topic, peers, threads, rounds, say=print):
    """All times of one topic.

    Returns
    -------
    dict
        ``{column: {case: [seconds, one for each round]}}``; ours comes first.
    """
    module = importlib.import_module(f"benchmarks.topics.{topic}")
    columns = [name for name in columns_of(module) if peer_of(name) in (*ALWAYS, *peers)]
    times = {column: {} for column in columns}
    values = {}
    for _ in range(rounds):
        for column in list(times):
            try:
                answer = run(topic, column, threads)
            except RuntimeError as error:
                if peer_of(column) == OURS:
                    raise SystemExit(f"{topic}: {column}: {error}") from None
                say(f"{topic}: {column} is left out: {error}")
                del times[column]
                continue
            for case, found in answer.items():
                times[column].setdefault(case, []).append(found["seconds"])
                if found["value"] is not None:
                    values.setdefault(case, {})[column] = found["value"]
    tolerance = getattr(module, "TOLERANCE", TOLERANCE)
    for case, column, reason in disagreements(values, tolerance):
        say(f"{topic}: {column} is left out of {case}: it computes {reason}")
        times.get(column, {}).pop(case, None)
    return times


def columns_of(module):
    """The names of the module's columns, ours first, in the order of the file."""
    known = (*ALWAYS, *IN_C, *PEERS)
    functions = [name for name, value in vars(module).items() if callable(value)]
    names = [name for name in functions if peer_of(name) in known]
    return sorted(names, key=lambda name: peer_of(name) != OURS)


def missing(package):
    """Why the peer cannot take part, or None if it can."""
    if package in IN_C:
        return None if native.has_compiler() else "there is no C compiler"
    return None if importlib.util.find_spec(package) else "it is not installed"


def run(topic, column, threads):
    """What one worker process finds out."""
    command = [sys.executable, "-m", "benchmarks.worker", topic, column, str(threads)]
    try:
        done = subprocess.run(
            command, env=environment(threads), capture_output=True, text=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it took more than {LONGEST} s") from None
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it failed"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def environment(threads):
    """The environment in which every library computes with so many threads."""
    variables = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", JAX_PLATFORMS="cpu")
    for library in ("TGA_NUM", "OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "TF_NUM_INTRAOP"):
        variables[f"{library}_THREADS"] = str(threads)
    variables["TF_NUM_INTEROP_THREADS"] = "1"
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return variables


def disagreements(values, tolerance):
    """Whose value of a case is not ours: (case, column, what it is and what ours is)."""
    for case, of in values.items():
        ours = next((value for column, value in of.items() if peer_of(column) == OURS), None)
        for column, value in of.items():
            if ours is None or len(ours) != len(value):
                continue
            if not all(abs(a - b) <= tolerance * max(1, abs(a)) for a, b in zip(ours, value)):
                yield case, column, f"{value}, and we {ours}"
