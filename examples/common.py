"""What the examples share: their command line, and how they write pictures and tables."""

import argparse
import csv
from importlib import import_module
from pathlib import Path

import tinygrad_act as tga
from tinygrad_act.op import ACTIVATIONS

HERE = Path(__file__).parent


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; --help tells more\n")


def parser(text, out):
    """A command line with --out; the first line of the example's own text describes it."""
    made = OneLineParser(description=text.partition("\n")[0])
    made.add_argument(
        "--out", type=folder, default=out, metavar="DIR", help=f"for what it writes; default: {out}"
    )
    return made


def folder(text):
    try:
        Path(text).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def names(known):
    """The type of an argument that is a list of names, with commas."""

    def read(text):
        chosen = list(dict.fromkeys(name.strip() for name in text.split(",")))
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"there is no {name!r}; there are {', '.join(known)}"
                )
        return chosen

    return read


def new_figure(width, height):
    """A figure of matplotlib, or None with a word on what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print('no picture, since matplotlib is not installed: pip install -e ".[examples]"')
        return None
    return Figure(figsize=(width, height), layout="constrained")


def write_picture(figure, path):
    figure.savefig(path, dpi=100)
    print(f"written: {path}")


def write_table(path, head, rows):
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        table.writerows(rows)
    print(f"written: {path}")


def for_each(function, cases, jobs):
    """``function(*case)`` for each of the cases, in `jobs` processes at a time (extra ``sweep``).

    The results come one by one, in the order of the cases.  joblib does the work, and the
    processes share the cores.  They import the modules in which you have declared activations
    of your own.  Around the call of an example, ``joblib.parallel_config("dask")``
    or ``("ray")`` spreads it over the machines of a cluster instead.
    """
    if jobs == 1:
        return (function(*case) for case in cases)
    try:
        from joblib import Parallel, cpu_count, delayed
    except ImportError:
        raise SystemExit('--jobs needs joblib: pip install "tinygrad_act[sweep]"') from None
    threads, modules = max(1, cpu_count() // jobs), _modules_with_activations()
    work = (delayed(_in_process)(threads, modules, function, case) for case in cases)
    return Parallel(n_jobs=jobs, return_as="generator")(work)


def _in_process(threads, modules, function, case):
    for module in modules:
        import_module(module)
    tga.set_num_threads(threads)
    return function(*case)


def _modules_with_activations():
    """Where activations were declared that the package does not have."""
    modules = set()
    for name, op in ACTIVATIONS.items():
        module = getattr(getattr(op, "f", tga), "__module__", "tinygrad_act")
        if module == "__main__":
            raise SystemExit(
                f"--jobs: the activation {name!r} is declared in the script that runs, which other "
                f"processes do not run; declare it in a module of its own, and import that"
            )
        if module.partition(".")[0] != "tinygrad_act":
            modules.add(module)
    return sorted(modules)
