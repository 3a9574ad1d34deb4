"""The C programs of this directory, built with the system's compiler when they are needed."""

import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent / "build" / "benchmarks"


def compiler():
    """The compiler's command: CC, or cc."""
    return shlex.split(os.environ.get("CC", "cc"))


def has_compiler():
    return shutil.which(compiler()[0]) is not None


def build(source, *flags):
    """The path of what the compiler makes of one C file, with all that this machine can do.

    It is kept in build/, under a name that tells its source and flags.
    """
    source = HERE / source
    command = [*compiler(), "-std=gnu11", "-O3", "-march=native", "-Wno-psabi", *flags]
    key = hashlib.sha256(repr(command).encode() + source.read_bytes()).hexdigest()[:12]
    path = BUILT / f"{source.stem}-{key}"
    if not path.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, str(source), "-o", str(new), "-lm", "-pthread"], check=True)
        new.rename(path)  # whole or not at all
    return str(path)
