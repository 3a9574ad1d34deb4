"""How one case is timed: many short samples, of which the median counts; and its memory."""

import os
import statistics
import subprocess
import sys
import time


def seconds_per_call(function, sample=0.005, samples=9, budget=0.5):
    """The median over samples of the time of one call, in seconds.

    Parameters
    ----------
    function : callable without arguments
    sample : float
        Seconds that one sample takes at least, so that the clock's own cost vanishes.
    samples : int
        How many are taken, unless they take too long.
    budget : float
        Seconds after which the samples end, once there are three.
    """
    _time(function, 1)  # the first call may compile, allocate, touch memory
    calls = 1
    while (elapsed := _time(function, calls)) < sample / 4:
        calls *= 4
    times = [elapsed] if elapsed >= sample and calls == 1 else []  # a long call is a sample itself
    calls = max(1, round(calls * sample / elapsed))
    while len(times) < 3 or (len(times) < samples and sum(times) < budget):
        times.append(_time(function, calls))
    return statistics.median(times) / calls


def _time(function, calls):
    repeat = range(calls)
    start = time.perf_counter()
    for _ in repeat:
        function()
    return time.perf_counter() - start


def seconds_of_process(code, samples=1):
    """The median time of a process that runs `code` in Python, from its start to its end.

    The modules that it imports are kept compiled, as they are by default.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code]
    times = []
    for _ in range(samples):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def seconds_within_process(code, samples=1):
    """The median time of `code` alone, each time in a fresh process of Python."""
    timed = f"import time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
    times = []
    for _ in range(samples):
        command = [sys.executable, "-c", timed]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        times.append(float(done.stdout.split()[-1]))
    return statistics.median(times)


PEAK = """
import resource
try:
    with open("/proc/self/status") as file:
        print(*[int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM")])
except OSError:  # no Linux: there this is in bytes
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_of_process(code):
    """The most memory that a process which runs `code` in Python has held, in bytes.

    The system's other figure, ru_maxrss, would on Linux be at least that of the process which
    has started it.
    """
    command = [sys.executable, "-c", code + PEAK]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])
