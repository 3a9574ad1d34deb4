"""build.py: from csrc/*.c to tinygrad_act/_kernels.abi3.so.  One definition, three ways in:

    python build.py [--force]     rebuild in place, after a change in csrc/
    pip, uv, hatchling            call the build hook at the end of this file
    python -m build               means the PyPA tool of that name; this file steps aside for it

The extension is what cffi makes of the marked region of csrc/tga.h, linked with every csrc/*.c.
It uses Python's stable ABI alone, so that one wheel serves every Python from PYTHON_ABI on.  What
is up to date is not built again: the output carries the key of what it was built from, and objects
are kept in build/.  From the environment:

    CC, CFLAGS, LDFLAGS   as usual; the flags of this file come after CFLAGS
    TGA_WERROR=1          a warning is an error
    TGA_SANITIZE=1        with the address and undefined-behaviour sanitizers, see .ci/sanitize
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent

# `python -m build` in this directory finds this file before the tool: a module run by name has a
# spec, a script has none.
if __name__ == "__main__" and __spec__ is not None:
    sys.path = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
    try:
        runpy.run_module("build", run_name="__main__", alter_sys=True)
    except ImportError as error:
        raise SystemExit(f"{error}: pip install build; or is `python build.py` meant?") from None
    raise SystemExit

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # python build.py needs cffi alone
    BuildHookInterface = object

CSRC = ROOT / "csrc"
OUTPUT = ROOT / "tinygrad_act" / "_kernels.abi3.so"
PYTHON_ABI = (3, 11)
CALLS = CSRC / "calls.def"
CALLS_HEAD = """/* calls.def: the entry points that a plan can call, made from tga.h by build.py.
 *
 * CALL(name, its parameters, the words of a call as arguments)
 *   i integer   d double   r read   w written   l struct   L list of pointers
 */
#ifndef CALL
#define CALL(...)
#endif

"""

source_hash = runpy.run_path(str(ROOT / "tinygrad_act" / "_build_info.py"))["source_hash"]


# What to build: flags, and the C file that cffi writes ------------------------------------------


def compile_flags() -> list[str]:
    """The flags of every C file.  The arithmetic ones are part of what the kernels promise."""
    flags = ["-std=gnu11", "-fPIC", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra"]
    flags += ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
    if os.environ.get("TGA_SANITIZE") == "1":
        flags += ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
    else:
        flags += ["-O3"]
    if os.environ.get("TGA_WERROR") == "1":
        flags += ["-Werror"]
    return shlex.split(os.environ.get("CFLAGS", "")) + platform_flags() + flags


def binding_flags() -> list[str]:
    """Those of the C file that cffi writes, besides."""
    include = {sysconfig.get_path("include"), sysconfig.get_path("platinclude")}
    limited_api = f"-DPy_LIMITED_API=0x{PYTHON_ABI[0]:02x}{PYTHON_ABI[1]:02x}0000"
    # what an older cffi writes uses alloca and memset without asking for them
    missing = ["-include", "alloca.h", "-include", "string.h"]
    include = [f"-I{path}" for path in sorted(include)]
    return [limited_api, "-Wno-extra", *missing, "-I", str(CSRC), *include]


def link_flags() -> list[str]:
    flags = ["-shared", "-pthread"]
    if sys.platform == "darwin":
        flags = ["-bundle", "-undefined", "dynamic_lookup"]
    if os.environ.get("TGA_SANITIZE") == "1":
        flags += ["-fsanitize=address,undefined"]
    return platform_flags() + flags + shlex.split(os.environ.get("LDFLAGS", ""))


def platform_flags() -> list[str]:
    return [f"-mmacosx-version-min={macos_target()}"] if sys.platform == "darwin" else []


def macos_target() -> str:
    """The oldest macOS to run on, as the running Python has it; arm64 begins with 11.0."""
    variable = "MACOSX_DEPLOYMENT_TARGET"
    target = os.environ.get(variable) or sysconfig.get_config_var(variable) or "11.0"
    major, minor = (target.split(".") + ["0"])[:2]
    if int(major) >= 11 or platform.machine() == "arm64":
        return f"{max(int(major), 11)}.0"
    return f"{major}.{minor}"


def wheel_tag() -> str:
    """cp311-abi3-<platform>: made for 3.11, good for every later one."""
    name = sysconfig.get_platform()  # linux-x86_64
    if sys.platform == "darwin":  # not get_platform's: it may say universal2, we compile for one
        name = f"macosx-{macos_target()}-{platform.machine()}"
    return f"cp{PYTHON_ABI[0]}{PYTHON_ABI[1]}-abi3-{name.replace('-', '_').replace('.', '_')}"


def cdef() -> str:
    """The region of tga.h that declares what Python may call."""
    header = (CSRC / "tga.h").read_text(encoding="utf-8")
    return header.split("/* cdef-begin */")[1].split("/* cdef-end */")[0]


def write_calls() -> None:
    """Bring csrc/calls.def up to date: what of tga.h a plan can call, for plan.c.

    That is every function that returns a status and writes somewhere: a pointer that is not to
    const says so.
    """
    lines = []
    header = re.sub(r"/\*.*?\*/", "", cdef(), flags=re.DOTALL)
    for name, declared in re.findall(r"^int tga_(\w+)\(([^)]*)\);", header, re.MULTILINE):
        parameters = [" ".join(one.split()) for one in declared.split(",")]
        kinds = [kind_of_parameter(one) for one in parameters]
        if name.startswith("plan_") or not {"w", "L"} & set(kinds):
            continue
        casts = {"int": "(int)v[{}].i", "uint64_t": "(uint64_t)v[{}].i", "int64_t": "v[{}].i"}
        words = []
        for i, (one, kind) in enumerate(zip(parameters, kinds)):
            word = casts[one.split()[0]] if kind == "i" else "v[{}].p"
            words.append(f"v[{i}].d" if kind == "d" else word.format(i))
        named = [f"{re.split('[ *]', one)[-1]}:{kind}" for one, kind in zip(parameters, kinds)]
        lines.append(f'CALL({name}, "{" ".join(named)}",\n     {", ".join(words)})\n')
    text = CALLS_HEAD + "".join(lines) + "\n#undef CALL\n"
    if lines and (not CALLS.exists() or CALLS.read_text(encoding="utf-8") != text):
        CALLS.write_text(text, encoding="utf-8")


def kind_of_parameter(declaration: str) -> str:
    """i: integer, d: double, r: read, w: written, L: list of pointers, l: a struct."""
    if "**" in declaration:
        return "L"
    if "*" not in declaration:
        return "d" if declaration.startswith("double") else "i"
    if declaration.startswith("const tga_"):
        return "l"
    return "r" if declaration.startswith("const") else "w"


def emit_binding(path: Path) -> None:
    """Write the C file of the module tinygrad_act._kernels."""
    from cffi import FFI  # not setuptools, which new virtual environments lack

    ffi = FFI()
    ffi.cdef(cdef())
    ffi.set_source("tinygrad_act._kernels", '#include "tga.h"')
    with contextlib.redirect_stdout(None):  # it reports every file
        ffi.emit_c_code(str(path))


def build_key(sources: str) -> bytes:
    """Names all that the output depends on; found again in the output, there is nothing to do."""
    import cffi

    parts = [os.environ.get("CC", ""), *compile_flags(), *binding_flags(), *link_flags()]
    parts += [sources, cffi.__version__, platform.machine()]
    return f"tinygrad_act built from {digest(*parts)}".encode()


def digest(*parts: str | bytes) -> str:
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(b"%d:%b" % (len(data), data))
    return sha.hexdigest()[:16]


# The compiler, and one clear line where something is missing ------------------------------------


def fail(line: str):
    raise SystemExit(f"tinygrad_act {line}")


def check_platform() -> None:
    if sys.platform == "win32":
        fail("needs Linux or macOS; on Windows, use WSL")
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        fail("needs CPython with its stable ABI, not PyPy or a free-threaded build")


def find_compiler() -> list[str]:
    """$CC; or Python's own if it is there (often it is not), cc, gcc, clang: the first that works.

    Nothing is remembered: a failure may be mended in the next minute.
    """
    given = os.environ.get("CC")
    reason = f"CC={given} is not there" if given else ""
    for name in [given] if given else [sysconfig.get_config_var("CC") or "", "cc", "gcc", "clang"]:
        command = shlex.split(name)
        if not given:
            command = command[:1]  # without Python's own flags
        if command and shutil.which(command[0]):
            complaint = probe(command, "int probe;")
            if not complaint:
                return command
            reason = f"{shlex.join(command)} does not work ({complaint})"
    hint = "install gcc or clang (Debian/Ubuntu: apt install gcc libc6-dev)"
    fail(f"needs a C compiler: {f'{reason}; ' if reason else ''}{hint}")


def check_headers(compiler: list[str]) -> None:
    """What the real compile needs, on trivial programs, so that an error names what to install."""
    flags = [*compile_flags(), "-w"]
    if error := probe(compiler, "int probe;", flags):
        fail(f"cannot compile with {shlex.join([*compiler, *flags])}: {error}")
    if probe(compiler, "#include <math.h>\n#include <pthread.h>\n#include <stdlib.h>\n", flags):
        fail("needs the headers of the C library (Debian/Ubuntu: apt install libc6-dev)")
    if probe(compiler, "#include <Python.h>\n", [*flags, *binding_flags()]):
        python = "Python {}.{}".format(*sys.version_info)
        fail(f"needs Python.h, the headers of {python} (Debian/Ubuntu: apt install python3-dev)")
    if error := probe(compiler, "int probe;", [*flags, *link_flags()], link=True):
        fail(f"cannot link with {shlex.join(compiler)}: {error}")


def probe(compiler: list[str], program: str, flags: list[str] = (), link: bool = False) -> str:
    """Compile a trivial program; the first line of the complaint, empty if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(program)
        mode = [] if link else ["-c"]
        command = [*compiler, *flags, *mode, str(source), "-o", f"{folder}/probe"]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return run.stderr.partition("\n")[0] or "no message" if run.returncode else ""


# Building -----------------------------------------------------------------------------------------


def build(force: bool = False) -> str:
    """Bring the extension up to date; returns a line that says what was done."""
    start = time.perf_counter()
    check_platform()
    write_calls()
    sources = source_hash(ROOT)
    key = build_key(sources)
    name = OUTPUT.relative_to(ROOT)
    if not force and OUTPUT.exists() and key in OUTPUT.read_bytes():
        return f"{name} is up to date"
    compiler = find_compiler()
    check_headers(compiler)

    folder = ROOT / "build" / digest(*compiler, *compile_flags())
    folder.mkdir(parents=True, exist_ok=True)
    binding, stamp = folder / "_kernels.c", folder / "_build_key.c"
    emit_binding(binding)
    stamp.write_text(f'const char tga_build_key[] = "{key.decode()}";\n')
    flags = compile_flags()
    headers = [p.read_bytes() for p in sorted(CSRC.iterdir()) if p.suffix in (".h", ".def")]
    jobs = {}  # object -> command
    for source in [*sorted(CSRC.glob("*.c")), binding, stamp]:
        text = source.read_bytes()
        special = binding_flags() if b"#include <Python.h>" in text or source == binding else []
        if b"TGA_SOURCE_HASH" in text:  # one file alone, so that the other objects can be kept
            special += [f'-DTGA_SOURCE_HASH="{sources}"']
        output = folder / f"{source.stem}-{digest(text, *headers, *special)}.o"
        jobs[output] = [*compiler, *flags, *special, "-c", str(source), "-o"]

    todo = [output for output in jobs if force or not output.exists()]
    todo.sort(key=lambda output: not output.name.startswith("isa_"))  # the long ones first
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failed = list(pool.map(lambda output: make(jobs[output], output), todo))
    if any(failed):
        fail(f"does not compile; the complaint of {shlex.join(compiler)} is above")
    linked = folder / f"{os.getpid()}-{OUTPUT.name}"
    if make([*compiler, *map(str, jobs), *link_flags(), "-lm", "-o"], linked):
        fail(f"does not link; the complaint of {shlex.join(compiler)} is above")
    check_loads(linked)
    linked.replace(OUTPUT)  # a rename: the library in use, if there is one, is not overwritten
    for old in set(folder.glob("*.o")) - set(jobs):
        old.unlink(missing_ok=True)
    work = f"{len(todo)} of {len(jobs)} files, {time.perf_counter() - start:.1f} s"
    return f"{name} built with {shlex.join(compiler)}: {work}"


def make(command: list[str], output: Path) -> int:
    """Run the command, which ends in -o, and pass on what it says; returns its exit code.

    Written under another name and renamed, so that what is half-written is never taken for whole.
    """
    fresh = output.with_name(f"{output.name}.{os.getpid()}.tmp")
    try:
        command = [*command, str(fresh)]
        run = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
        sys.stderr.write(run.stderr)  # in one piece: several compilers talk at once
        if run.returncode == 0:
            fresh.replace(output)
        return run.returncode
    finally:
        fresh.unlink(missing_ok=True)


def check_loads(library: Path) -> None:
    """What tga.h declares and csrc/ lacks is no error to the linker: Python could provide it."""
    if os.environ.get("TGA_SANITIZE") == "1":  # loads only where the sanitizer came first
        return
    try:
        ctypes.CDLL(str(library), mode=os.RTLD_NOW)
    except OSError as error:
        library.unlink()
        fail(f"is built, yet cannot be loaded: {error}")


class ExtensionHook(BuildHookInterface):
    """Hatchling calls this for wheels and editable installs, and already for their metadata."""

    def initialize(self, version: str, build_data: dict) -> None:
        if not OUTPUT.exists():
            # uv takes an editable wheel from its cache if what [tool.uv] cache-keys names has the
            # age that it had before that build.  So the tree must not look again as it does now,
            # without the extension, or it would not come back after `git clean`.
            os.utime(__file__)
        print(build(), file=sys.stderr)
        build_data["pure_python"] = False
        build_data["tag"] = wheel_tag()
        build_data["artifacts"].append(str(OUTPUT.relative_to(ROOT)))  # ignored by git, yet shipped


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--force"]):
        raise SystemExit("usage: python build.py [--force]")
    print(build(force="--force" in sys.argv))
