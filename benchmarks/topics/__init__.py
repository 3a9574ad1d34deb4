"""The topics: each a module with one function for each column of its table.

Such a function is named after a peer's package, with a style where there are several:
``torch``, ``torch_by_hand``.  It yields a `Case` for each thing the peer does.  ``limit``
is the machine's own peer, measured by a C program; ``c_...`` are programs in C.

The first line of the module's docstring is the title.  Besides it may have

    GROUPS      which cases are summed up in one line, against whom
    THREADED    True if more threads make a difference; else it is run with one
    TOLERANCE   how far the values of two peers may be apart, relatively; default: 1e-4
    rate(case)  the amount of work of a case and its unit, for a figure such as GFLOP/s
    show(figure, case)  a figure in words, where it is no time
    place(case) its table, row and column, where one row for each case would be too long
"""

TOPICS = (
    "limits",
    "gemm",
    "activations",
    "bandwidth",
    "overhead",
    "xor_step",
    "import_time",
    "xor_replay",
    "playground",
    "job",
    "cnn",
    "memory",
)
