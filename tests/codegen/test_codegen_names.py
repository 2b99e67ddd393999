"""Prefixes: accepted ones build with every tool and beside each other; those that meet other names are refused."""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from exports import STRICT, need, result_of, run

from scpo_ctrl import codegen
from scpo_ctrl.codegen import export
from scpo_ctrl.codegen.names import check_prefix, renamed
from scpo_ctrl.errors import DomainError

# Of C and C++, their libraries, Make, CMake, Arduino, and of the export itself. A name of theirs is no name of ours.
NASTY = (
    "int",
    "class",
    "tanh",
    "all",
    "test",
    "install",
    "clean",
    "help",
    "loop",
    "scpo_motor",
    "test_scpo",
    "vectors",
)
ACCEPTED = (
    *NASTY,
    *("double", "struct", "template", "main", "memcpy", "y0", "package", "edit_cache", "all_build", "zero_check"),
    *("size", "target", "force", "build", "src", "project", "setup", "min", "bit", "input", "isr", "cortex", "host"),
    *("scpo", "scpo_scpo", "a_scpo", "scpo_test", "test_test", "test_data", "config", "lib", "max", "ok"),
    "a" * 24,
)
# In one project of CMake: names of its own targets, and of ours; all that are accepted take half a minute.
TOGETHER = ("all", "test", "install", "clean", "help", "all_build", "vectors", "scpo_motor")
TOGETHER = ACCEPTED if os.environ.get("SCPO_EXPORT_NAMES") == "all" else TOGETHER
REFUSED = (
    "pthread", "sched", "poll", "semaphore", "math", "stdio", "float", "unistd", "newlib", "picolibc", "windows", "io",
    "arduino", "wire", "immintrin", "arm_neon", "con", "nul", "aux", "com1", "lpt9", "m", "c", "rt", "gcc", "x", "fe",
    "si", "stdatomic", "stdckdint", "xlocale",
)  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of an export by its prefix."""
    folder = tmp_path_factory.mktemp("prefixes")

    def make(prefix: str) -> Path:
        if not (folder / prefix).exists():
            export(result_of("linear_1_1"), folder / prefix, prefix=prefix, measured=False)
        return folder / prefix

    return make


@pytest.mark.table(4)
@pytest.mark.parametrize("prefix", NASTY)
def test_accepted_prefixes_compile(prefix, exported):
    """Every file, library and test, as C and as C++, with nothing but the folder of headers that a user adds."""
    need("gcc", "g++")
    folder = exported(prefix)
    sources = [*(folder / "src").glob("*.c"), *(folder / "test").glob("*.c")]
    flags = [*STRICT.split(), "-fsyntax-only", f"-I{folder / 'include'}"]
    run("gcc", "-std=c99", *flags, *sources)
    run("g++", "-std=c++11", "-Wno-deprecated", "-x", "c++", *flags, *sources)
    code = "".join(file.read_text() for file in sources)
    assert prefix.startswith("scpo") or not re.search(r"\b(scpo|SCPO)_", code)
    assert f"{prefix}_{prefix.removeprefix('scpo').lstrip('_')}_control" not in code


@pytest.mark.table(4)
@pytest.mark.parametrize("prefix", NASTY)
def test_accepted_prefixes_build_with_make(prefix, exported):
    need("gcc", "make")
    assert " 0 failures" in run("make", "-C", exported(prefix), "test", "CC=gcc", f"CFLAGS=-std=c99 {STRICT}")
    assert (exported(prefix) / "build" / f"lib{prefix}.a").is_file()


@pytest.mark.long
def test_accepted_prefixes_build_in_one_project_of_cmake(exported, tmp_path):
    """All of them in one project, whose program calls each; targets, options and headers keep apart."""
    need("cmake", "ctest", "gcc")
    linked = [f"{prefix}::{prefix}" for prefix in TOGETHER]
    lines = ["cmake_minimum_required(VERSION 3.10)", "project(whole C)", "enable_testing()"]
    lines += [f'add_subdirectory("{exported(prefix)}" "{tmp_path}/build/{k}")' for k, prefix in enumerate(TOGETHER)]
    lines += ["add_executable(app main.c)", f"target_link_libraries(app PRIVATE {' '.join(linked)})"]
    (tmp_path / "CMakeLists.txt").write_text("\n".join(lines) + "\n")
    includes = "".join(f'#include "{prefix}.h"\n' for prefix in TOGETHER)
    calls = "".join(f"    failed |= {prefix}_control({prefix}_theta_initial, x, u);\n" for prefix in TOGETHER)
    body = f"int main(void)\n{{\n    double x[1] = {{0}}, u[1];\n    int failed = 0;\n{calls}    return failed;\n}}\n"
    (tmp_path / "main.c").write_text(includes + body)
    tested = [prefix for prefix in TOGETHER if prefix in NASTY]
    options = [f"-D{prefix.upper()}_TEST=ON" for prefix in tested]
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", "-Werror=dev", "-DCMAKE_C_COMPILER=gcc", *options)
    run("cmake", "--build", tmp_path / "build", "-j2")
    said = run("ctest", cwd=tmp_path / "build")
    assert re.search(rf"100% tests passed(, 0 tests failed)? out of {len(tested)}\b", said), said
    run(tmp_path / "build" / "app")


def test_the_target_of_earlier_exports_is_still_there(exported, tmp_path):
    need("cmake", "gcc")
    (tmp_path / "CMakeLists.txt").write_text(
        f'cmake_minimum_required(VERSION 3.10)\nproject(app C)\nadd_subdirectory("{exported("ok")}" ok)\n'
        "add_executable(app main.c)\ntarget_link_libraries(app ok)\n"
    )
    (tmp_path / "main.c").write_text('#include "ok.h"\nint main(void) { return OK_NX - 1; }\n')
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", "-DCMAKE_C_COMPILER=gcc")
    run("cmake", "--build", tmp_path / "build")


@pytest.mark.parametrize("prefix", REFUSED)
def test_refused_prefixes(prefix, tmp_path):
    with pytest.raises(
        DomainError, match=f"prefix '{prefix}' cannot name .*(hide|taken|device|begin with).*; use up to"
    ):
        export(result_of("linear_1_1"), tmp_path / "c", prefix=prefix)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "prefix", ["", "A", "Motor", "a__b", "a_", "_a", "1a", "a-b", "a b", "a" * 25, "é", "a\n", 7, None]
)
def test_what_is_no_prefix(prefix):
    with pytest.raises(DomainError, match=r"cannot name .* no name of that form; use up to 24"):
        check_prefix(prefix)


def test_no_header_of_a_c_library_here_is_hidden():
    """Headers of the C libraries and compilers that are installed, one of them or all, whatever their case."""
    folders = [_newlib(), Path("/usr/lib/picolibc/riscv64-unknown-elf/include"), *map(_builtin, ("gcc", "clang", "cc"))]
    headers = {file for folder in folders if folder.is_dir() for file in folder.glob("*.h")}
    if shutil.which("dpkg"):
        done = subprocess.run(["dpkg", "-L", "libc6-dev"], capture_output=True, text=True, check=False)
        headers |= {Path(name) for name in re.findall(r"^/usr/include/[^/]+\.h$", done.stdout, re.MULTILINE)}
    assert headers or not shutil.which("gcc")
    assert _accepted({file.stem.lower() for file in headers}) == set()


def _newlib() -> Path:
    return Path("/usr/lib/arm-none-eabi/include")


def _builtin(compiler: str) -> Path:
    if not shutil.which(compiler):
        return Path(os.devnull)
    return Path(run(compiler, "-print-file-name=include").strip())


def test_no_macro_of_the_c_library_begins_like_a_name_of_ours():
    """Macros of every header of C and POSIX here, after each of which a user may include ours."""
    need("gcc")
    names = """
        assert complex ctype dirent errno fcntl fenv float inttypes iso646 limits locale math poll pthread regex sched
        semaphore setjmp signal spawn stdarg stdbool stddef stdint stdio stdlib string strings sys/socket sys/stat
        sys/time sys/types sys/wait sys/mman sys/resource termios tgmath time unistd wchar wctype"""
    headers = "".join(f"#if __has_include(<{name}.h>)\n#include <{name}.h>\n#endif\n" for name in names.split())
    done = subprocess.run(
        ["gcc", "-std=gnu2x", "-D_GNU_SOURCE", "-E", "-dM", "-x", "c", "-"],
        input=headers, capture_output=True, text=True, check=True,
    )  # fmt: skip
    macros = re.findall(r"#define ([A-Za-z]\w*)", done.stdout)
    runtime = "".join(file.read_text() for file in (Path(codegen.__file__).parent / "runtime").rglob("*.[ch]"))
    endings = {name[len("scpo") :] for name in re.findall(r"\b(?:scpo|SCPO)_\w+", runtime)}
    met = {macro[: -len(ending)].lower() for macro in macros for ending in endings if macro.endswith(ending)}
    assert "x" in met  # X_OK
    assert _accepted(met) == set()


def _accepted(names: set[str]) -> set[str]:
    accepted = set()
    for name in names:
        with contextlib.suppress(DomainError):
            accepted.add(check_prefix(name))
    return accepted


def test_one_pass():
    text = "scpo_dot(SCPO_R(1)) scpo.h test_scpo.c (SCPO) scpo-ctrl myscpo_x"
    assert renamed(text, "scpo_motor") == (
        "scpo_motor_dot(SCPO_MOTOR_R(1)) scpo_motor.h test_scpo_motor.c (SCPO) scpo-ctrl myscpo_x"
    )
    assert renamed(text, "scpo") == text
