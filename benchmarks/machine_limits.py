"""What limits.c measures: the greatest speeds of the processor and of the memory."""

import os
import subprocess
from functools import cache

from . import native


@cache
def limit(what, nbytes=0):
    """Operations or bytes a second, with as many threads as this process may use.

    Parameters
    ----------
    what : {'fma_float32', 'fma_float64', 'read', 'copy', 'triad', 'copy_triad'}
    nbytes : int
        The size of one array.
    """
    program = native.build("limits.c")
    command = [program, what, os.environ.get("TGA_NUM_THREADS", "1"), str(nbytes)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
