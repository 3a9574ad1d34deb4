"""Does the suite notice a wrong derivative?  This flips each sign and changes each factor to see.

    python tests/mutants.py [--only python|c] [--file NAME] [--op NAME] [--list] [TEST ...]

Every `df`, `vjp` and backward of C is changed in one place at a time (mutants_python.py and
mutants_c.py say how), and the tests run until one fails: the mutant is killed.  Where none
fails it has survived, and either a test is missing, or the change makes no difference, and why
stands in docs/mutants.md, from where it is read.

All happens on a copy of the tree, with a library of the base instruction set that contains
every mutant of C.  The suite is collected once.  A first run, without a mutant, tells which
tests execute which derivative, and how long they take; then each mutant gets a forked process,
and in it all the tests that execute it, the quickest of its op first.  A test that does not
execute the mutant cannot notice it: examples are derandomized, so that it would run as before.

--only python|c   mutants of one language
--file NAME       mutants in files whose path contains this, such as ops/pooling or conv.tmpl
--op NAME         mutants of one op, and the tests whose names contain it
-k EXPRESSION     tests that match it, as of pytest
--list            print the mutants, run nothing
--verbose         print which test killed each
--jobs N          processes at a time; default: the number of processors
--tree DIR        where the copy is made, and kept; default: a temporary directory
TEST              files or folders of tests; default: all
"""

import argparse
import contextlib
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mutants_c
import mutants_python
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "mutants.md"
COPIED = ["tinygrad_act", "csrc", "tests", "docs", "examples", "benchmarks", "build.py",
          "pyproject.toml", "README.md"]  # fmt: skip

NOT_EXECUTED = "no test executes it"

# A mutant of which docs/mutants.md says that it makes no difference gets tests of so much
# processor time, as a check of what the page says.
SECONDS_OF_EXPLAINED = 5

# These start processes of their own, in which no mutant is, or look at the tree itself.
LEFT_OUT = [
    "tests/test_packaging.py",
    "tests/test_docs.py",
    "tests/test_doc_examples.py",
    "tests/test_xor.py",
]


# ---- the copy of the tree -------------------------------------------------------------------


def make_tree(tree, with_c):
    """Copy what tests need to `tree`, and build the library; returns the mutants of C."""
    ignore = shutil.ignore_patterns("_kernels*", "__pycache__", "mutants*.py")
    for name in COPIED:
        source, target = ROOT / name, tree / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=ignore)
        elif source.exists():
            shutil.copy(source, target)
    mutants = mutants_c.write(tree / "csrc", empty=not with_c)
    build = tree / "build.py"
    build.write_text(build.read_text().replace('"-O3"', '"-O1"'))  # it is built once, run briefly
    run = subprocess.run(
        [sys.executable, "build.py"], cwd=tree, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise SystemExit(f"the mutants of C do not compile:\n{run.stderr}")
    return mutants


def explained():
    """The survivors that docs/mutants.md explains, as (function, original, mutated)."""
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \| `(.+?)` \|", _read(PAGE), re.MULTILINE)
    return {(function, a.replace("\\|", "|"), b.replace("\\|", "|")) for function, a, b in rows}


def _read(path):
    return path.read_text(encoding="utf-8") if path.exists() else ""


# ---- inside pytest --------------------------------------------------------------------------


class Runner:
    """A plugin: after collection, runs mutants in the place of the tests."""

    def __init__(self, options, c_mutants):
        self.options = options
        self.c_mutants = c_mutants
        self.outcome = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session):
        """A failure need not be made small, and is enough."""
        from hypothesis import Phase, settings

        settings.register_profile(
            "mutants",
            parent=settings.get_profile("dev"),
            phases=[Phase.explicit, Phase.generate],
            report_multiple_bugs=False,
        )
        settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        if session.testsfailed:
            return None  # of collecting; pytest says which
        self.items = session.items
        sites = mutants_python.sites()
        mutants = [] if self.options.only == "c" else mutants_python.mutants(sites)
        mutants += self.c_mutants
        mutants = [m for m in mutants if _wanted(m, self.options)]
        started = time.perf_counter()
        first = self.baseline(sites, mutants)
        print(f"{len(self.items)} tests without a mutant: {time.perf_counter() - started:.0f} s")
        print(f"{len(mutants)} mutants", flush=True)
        for name in first["failed"]:
            print(f"    left out, since it fails without a mutant: {name}")
        self.outcome = self.run_all(mutants, first)
        return True

    # ---- the first run ----------------------------------------------------------------------

    def baseline(self, sites, mutants):
        """Which tests execute which site, and how many seconds of processor time they take."""
        number = {id(site): i for i, site in enumerate(sites)}

        def run():
            reached = set()
            mutants_python.watch(sites, lambda site: reached.add(f"python {number[id(site)]}"))
            library = _library()
            marks = mutants_c.marks(library, len(self.c_mutants))
            tests, failed = [], []
            for item, following in zip(self.items, [*self.items[1:], None]):
                start = time.process_time()
                passed = _passes(item, following)
                seconds = time.process_time() - start
                reached.update(f"c {i}" for i, byte in enumerate(marks) if byte)
                _clear(marks)
                if not passed:
                    failed.append(item.nodeid)
                tests.append([passed, seconds, sorted(reached)])
                reached.clear()
            return {"tests": tests, "failed": failed}

        child = Child(run, seconds=3600)
        child.wait()
        if not isinstance(child.result, dict):
            raise SystemExit(f"the suite does not run through without a mutant: {child.result}")
        executed = {}
        for place, (passed, seconds, reached) in enumerate(child.result["tests"]):
            for key in reached if passed else []:
                executed.setdefault(key, []).append((seconds, place))
        self.keys = {
            id(m): f"c {m.number}" if m.language == "c" else f"python {number[id(m.site)]}"
            for m in mutants
        }
        return {"executed": executed, "failed": child.result["failed"]}

    # ---- all others -------------------------------------------------------------------------

    def run_all(self, mutants, first):
        """(mutant, what killed it or None) of each; as many at a time as there are jobs."""
        waiting, running, done = list(reversed(mutants)), [], []
        known = explained()
        while waiting or running:
            while waiting and len(running) < self.options.jobs:
                mutant = waiting.pop()
                tests = self.tests_of(mutant, first["executed"].get(self.keys[id(mutant)], []))
                if mutant.signature in known:
                    tests = _first_seconds(tests, SECONDS_OF_EXPLAINED)
                limit = 10 + 20 * sum(seconds for seconds, _ in tests)
                child = Child(lambda m=mutant, t=tests: self.run_one(m, t), limit)
                running.append((mutant, child))
            select.select([child.pipe for _, child in running], [], [], 5)
            for mutant, child in [pair for pair in running if pair[1].is_done()]:
                running.remove((mutant, child))
                done.append((mutant, child.result))
                if self.options.verbose:
                    _say(mutant, f"{child.result or 'survived'} ({child.seconds:.1f} s)")
                elif len(done) % 100 == 0:
                    print(f"{len(done)} of {len(mutants)}", flush=True)
        return done

    def tests_of(self, mutant, executed):
        """The tests that execute a mutant, those that carry the name of its op first."""
        words = re.compile("|".join(rf"\b{re.escape(op)}\b" for op in mutant.ops) or "$^")

        def rank(test):
            seconds, place = test
            return not words.search(self.items[place].nodeid), seconds

        found = sorted(executed, key=rank)
        if self.options.op:
            found = [test for test in found if not rank(test)[0]] or found
        return found

    def run_one(self, mutant, tests):
        if mutant.language == "c":
            mutant.enforce(_library())
        else:
            mutant.enforce()
        items = [self.items[place] for _, place in tests]
        for item, following in zip(items, [*items[1:], None]):
            if not _passes(item, following):
                return item.nodeid
        return None if items else NOT_EXECUTED


def _wanted(mutant, options):
    return (not options.op or options.op in mutant.ops) and options.file in mutant.place


def _first_seconds(tests, seconds):
    """Of tests in order, as many as take so long."""
    taken, total = [], 0.0
    for test in tests:
        total += test[0]
        if total > seconds:
            break
        taken.append(test)
    return taken


def _passes(item, following):
    from _pytest.runner import runtestprotocol

    item._initrequest()
    reports = runtestprotocol(item, log=False, nextitem=following)
    return not any(report.failed for report in reports)


def _library():
    import ctypes

    from tinygrad_act import _kernels

    return ctypes.CDLL(_kernels.__file__)


def _clear(marks):
    for i, byte in enumerate(marks):
        if byte:
            marks[i] = 0


# ---- processes ------------------------------------------------------------------------------


class Child:
    """A forked process that computes a result; what ends it otherwise is the result, too.

    Limited in processor time, which does not depend on what else the machine does; and in
    time by the clock, generously, in case that it waits for what never comes.
    """

    def __init__(self, function, seconds):
        sys.stdout.flush()
        self.result = "died"
        self.start = time.monotonic()
        self.deadline = self.start + 60 + 10 * seconds
        self.pipe, end = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(end)
            return
        status = 1
        try:
            os.close(self.pipe)
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            limit = int(time.process_time() + seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
            result = json.dumps([function()]).encode()
            with os.fdopen(end, "wb") as stream:
                stream.write(result)
            status = 0
        except SystemExit as error:
            os.write(end, json.dumps([f"SystemExit: {error}"]).encode())
            status = 0
        except Exception as error:  # of the mutant's: the code does not even compile
            os.write(end, json.dumps([f"invalid: {type(error).__name__}: {error}"]).encode())
            status = 0
        finally:
            os._exit(status)

    def is_done(self):
        """Whether the process has ended; takes its result as it comes."""
        if select.select([self.pipe], [], [], 0)[0]:
            self.wait()
        elif time.monotonic() > self.deadline:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        else:
            return False
        return True

    def wait(self):
        with os.fdopen(self.pipe, "rb") as stream:
            content = stream.read()
        _, status = os.waitpid(self.pid, 0)
        self.seconds = time.monotonic() - self.start
        if content and os.waitstatus_to_exitcode(status) == 0:
            (self.result,) = json.loads(content)
        else:
            self.result = f"died: exit status {os.waitstatus_to_exitcode(status)}"


# ---- the report -----------------------------------------------------------------------------


def _say(mutant, note=""):
    print(f"{mutant.place}: {mutant.function}\n    {mutant.original}\n    {mutant.mutated}")
    if note:
        print(f"    {note}")


def report(outcome):
    """Print what was killed and what was not; returns the exit code."""
    known = explained()
    name = {"python": "Python", "c": "C"}
    groups = {"killed": [], "invalid": [], "explained": [], "survived": []}
    stale = []
    unnoticed = {m.signature for m, result in outcome if result in (None, NOT_EXECUTED)}
    for mutant, result in outcome:
        is_known = mutant.signature in known
        if result in (None, NOT_EXECUTED):
            groups["explained" if is_known else "survived"].append((mutant, result or "survived"))
        elif result.startswith("invalid"):
            groups["invalid"].append((mutant, result))
        else:
            groups["killed"].append((mutant, result))
            if is_known and mutant.signature not in unnoticed:  # the same may stand in two places
                stale.append((mutant, result))
    parts = []
    for language in ("python", "c"):
        total = sum(m.language == language for m, _ in outcome)
        killed = sum(m.language == language for m, _ in groups["killed"])
        parts += [f"{name[language]} {killed} of {total}"] if total else []
    for title in ("invalid", "survived"):
        for mutant, result in groups[title]:
            _say(mutant, result)
    for mutant, result in stale:
        _say(mutant, f"explained in {PAGE.name} as one that cannot be noticed, but was: {result}")
    total = len(outcome) - len(groups["invalid"])
    print(
        f"killed {len(groups['killed'])} of {total} ({', '.join(parts)}), "
        f"{len(groups['explained'])} explained in docs/mutants.md, "
        f"{len(groups['survived'])} not explained"
        + (f", {len(groups['invalid'])} invalid" if groups["invalid"] else "")
    )
    return 1 if groups["survived"] or stale or groups["invalid"] else 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["python", "c"])
    parser.add_argument("--file", default="")
    parser.add_argument("--op")
    parser.add_argument("-k", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--tree", type=Path)
    parser.add_argument("tests", nargs="*", metavar="TEST")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        tree = options.tree or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tree = tree.resolve()
        tree.mkdir(parents=True, exist_ok=True)
        c_mutants = make_tree(tree, with_c=options.only != "python")
        os.chdir(tree)
        sys.path.insert(0, str(tree))
        if options.list:
            found = [] if options.only == "c" else mutants_python.mutants(mutants_python.sites())
            for mutant in [*found, *c_mutants]:
                if _wanted(mutant, options):
                    _say(mutant)
            return 0
        runner = Runner(options, c_mutants)
        arguments = ["-q", "-s", "--tb=no", "--no-header", "--no-summary"]
        arguments += ["-p", "no:cacheprovider", "-p", "no:faulthandler"]
        arguments += [f"--ignore={path}" for path in LEFT_OUT]
        arguments += ["-k", options.k] if options.k else []
        os.environ["HYPOTHESIS_PROFILE"] = "dev"
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        status = pytest.main([*arguments, *options.tests], plugins=[runner])
        return report(runner.outcome) if runner.outcome is not None else int(status) or 1


if __name__ == "__main__":
    raise SystemExit(main())
