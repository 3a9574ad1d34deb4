"""How one case is timed: many short samples, of which the median counts."""

import statistics
import time


def seconds_per_call(function, at_least=0.02, samples=7):
    """The median over samples of the time of one call, in seconds.

    Parameters
    ----------
    function : callable without arguments
    at_least : float
        Seconds that one sample takes, so that the clock's own cost vanishes.
    samples : int
    """
    calls = 1
    while (elapsed := _time(function, calls)) < at_least / 4:
        calls *= 4
    calls = max(1, round(calls * at_least / elapsed))
    return statistics.median(_time(function, calls) / calls for _ in range(samples))


def _time(function, calls):
    repeat = range(calls)
    start = time.perf_counter()
    for _ in repeat:
        function()
    return time.perf_counter() - start
