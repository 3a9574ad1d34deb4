"""What build.py and pyproject.toml promise, as far as seconds can tell; .ci/run does the rest.

Building is tried on a toy: a copy of build.py with a header and a source of five lines.
"""

import ctypes
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tinygrad_act import _build_info, _kernels

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def load_builder(root):
    spec = importlib.util.spec_from_file_location("tinygrad_act_build", root / "build.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    return builder


@pytest.fixture(scope="module")
def builder():
    return load_builder(ROOT)


# The extension in use --------------------------------------------------------


def test_extension_is_of_these_sources():
    built_from = _kernels.ffi.string(_kernels.lib.tga_source_hash()).decode()
    assert built_from == _build_info.source_hash(ROOT), "run: python build.py"


def test_extension_exports_its_init_function_alone():
    library = ctypes.CDLL(_kernels.__file__)
    assert hasattr(library, "PyInit__kernels")
    for name in dir(_kernels.lib):
        assert not hasattr(library, name), name


def test_cdef_is_plain_declarations(builder):
    region = builder.cdef()
    for line in re.findall(r"^\s*#.*", region, re.MULTILINE):
        assert re.fullmatch(r"#define \w+ \d+", line), line
    assert "__attribute__" not in region


# The hash --------------------------------------------------------------------


def test_source_hash_follows_the_sources(tmp_path):
    assert _build_info.source_hash(tmp_path) is None
    csrc = tmp_path / "csrc"
    csrc.mkdir()
    assert _build_info.source_hash(tmp_path) is None
    hashes = []

    def changed():
        hashes.append(_build_info.source_hash(tmp_path))
        return hashes.count(hashes[-1]) == 1

    (tmp_path / "build.py").write_text("")
    assert changed()
    for name in ("a.c", "a.h", "a.tmpl.h", "a.def"):
        (csrc / name).write_text("")
        assert changed(), f"{name} appears"
        (csrc / name).write_text("text")
        assert changed(), f"{name} changes"
    (csrc / "a.c").rename(csrc / "b.c")
    assert changed(), "a.c is renamed"
    (csrc / "b.c~").write_text("an editor's copy")
    assert not changed()


# Building --------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy(tmp_path_factory, builder):
    """A tree that builds in a second; its _kernels module has one function, which returns 42."""
    try:
        builder.check_headers(builder.find_compiler())
    except SystemExit as reason:
        pytest.skip(str(reason))
    root = tmp_path_factory.mktemp("toy")
    for name in ("build.py", "tinygrad_act/_build_info.py"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes((ROOT / name).read_bytes())
    (root / "tinygrad_act" / "__init__.py").touch()
    (root / "csrc").mkdir()
    (root / "csrc" / "tga.h").write_text("/* cdef-begin */\nint answer(void);\n/* cdef-end */\n")
    (root / "csrc" / "answer.c").write_text('#include "tga.h"\nint answer(void) { return 42; }\n')
    return root


def run(root, *arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={**os.environ, "TGA_SANITIZE": "", **environment},
        capture_output=True,
        text=True,
    )


def test_build_and_rebuild(toy):
    ask = "from tinygrad_act._kernels import lib; print(lib.answer())"

    first = run(toy, "build.py")
    assert first.stdout.startswith("tinygrad_act/_kernels.abi3.so built with "), first
    assert "3 of 3 files" in first.stdout
    assert run(toy, "-c", ask).stdout == "42\n"

    # nothing to do: no compiler is asked for
    again = run(toy, "build.py", PATH="")
    assert again.stdout == "tinygrad_act/_kernels.abi3.so is up to date\n", again

    # one file changes: that one and the key are compiled, and a user of the old library keeps it
    old = (toy / "tinygrad_act" / "_kernels.abi3.so").stat().st_ino
    source = toy / "csrc" / "answer.c"
    source.write_text(source.read_text().replace("42", "43"))
    changed = run(toy, "build.py")
    assert "2 of 3 files" in changed.stdout, changed
    assert run(toy, "-c", ask).stdout == "43\n"
    assert (toy / "tinygrad_act" / "_kernels.abi3.so").stat().st_ino != old

    # an error shows what the compiler says, and the extension stays
    source.write_text("int answer(void) { return forty_two; }\n")
    failed = run(toy, "build.py")
    assert failed.returncode == 1 and "forty_two" in failed.stderr, failed
    assert "does not compile" in failed.stderr.splitlines()[-1]
    assert run(toy, "-c", ask).stdout == "43\n"

    # so it does when a declared function is nowhere defined, which the linker lets pass
    source.write_text("int unasked(void) { return 0; }\n")
    failed = run(toy, "build.py")
    assert "cannot be loaded" in failed.stderr and "answer" in failed.stderr, failed
    assert run(toy, "-c", ask).stdout == "43\n"
    libraries = [path.name for path in toy.rglob("*") if path.suffix in (".so", ".tmp")]
    assert libraries == ["_kernels.abi3.so"]


def test_python_m_build_is_the_tool_not_this_file(tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "__main__.py").write_text("import sys; print('the tool', sys.argv[1:])")
    (tmp_path / "build" / "__init__.py").touch()
    result = run(ROOT, "-m", "build", "--wheel", PYTHONPATH=str(tmp_path))
    assert result.stdout == "the tool ['--wheel']\n", result


# A missing prerequisite is one line that says what to install ------------------


def one_line(raised):
    message = str(raised.value)
    assert message.startswith("tinygrad_act ") and "\n" not in message
    return message


def test_no_compiler(builder, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit) as raised:
        builder.find_compiler()
    assert "apt install gcc libc6-dev" in one_line(raised)


def test_cc_is_not_there(builder, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler --fast")
    with pytest.raises(SystemExit) as raised:
        builder.find_compiler()
    assert "CC=no-such-compiler --fast is not there" in one_line(raised)


@pytest.mark.parametrize(
    ("trouble", "advice"),
    [
        ("int probe", "does not work (no message)"),
        ("math.h", "apt install libc6-dev"),
        ("Python.h", "apt install python3-dev"),
    ],
)
def test_compiler_without(builder, monkeypatch, tmp_path, trouble, advice):
    """A compiler that fails on every program that holds the text `trouble`."""
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\n! grep -q "{trouble}" -- "$@" 2>/dev/null\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(SystemExit) as raised:
        builder.check_headers(builder.find_compiler())
    assert advice in one_line(raised)


def test_compiler_that_works_is_taken_when_the_first_does_not(builder, monkeypatch, tmp_path):
    for name, code in (("cc", 1), ("gcc", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(builder.sysconfig, "get_config_var", lambda name: "gone -pthread")
    assert builder.find_compiler() == ["gcc"]


# The project file ------------------------------------------------------------


def test_run_time_needs_numpy_and_cffi_alone():
    assert sorted(PROJECT["dependencies"]) == ["cffi", "numpy"]


def test_version_is_in_the_changelog():
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_one_wheel_for_every_python(builder):
    floor = PROJECT["requires-python"].removeprefix(">=").replace(".", "")
    assert re.fullmatch(rf"cp{floor}-abi3-(linux|macosx_\d+_\d+)_\w+", builder.wheel_tag())
