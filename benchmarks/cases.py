"""What a topic consists of: cases that are timed, and groups of cases that are summed up."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

OURS = "tinygrad_act"


class Case(NamedTuple):
    """One thing that every peer does in its own way.

    Attributes
    ----------
    name : str
        The same for every peer.
    call : function without arguments, or float
        What is timed; or the figure, where something else has measured it: seconds, or what
        the topic's `show` says.
    per : int
        How many steps or ops one call does; the figure is the time of one.
    value : function without arguments, optional
        Some floats that all peers must agree on: whoever computes something else is not
        compared.  It runs once, before anything is timed.
    """

    name: str
    call: Callable | float
    per: int = 1
    value: Callable | None = None


class Group(NamedTuple):
    """Cases whose ratios are summed up in one line.

    Attributes
    ----------
    label : str
    belongs : function (case name) -> bool
    against : tuple of str, optional
        Columns of which the fastest counts in each case.  Default: all peers.
    ours : str
        The column that they are compared with.
    """

    label: str
    belongs: Callable = lambda case: True
    against: Iterable | None = None
    ours: str = OURS


def peer_of(column):
    """The package that a column belongs to: 'torch' of 'torch_by_hand'."""
    return OURS if column.startswith(OURS) else column.split("_")[0]
