"""What analysers of C say about the runtime: nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from controller_exports import result_of
from test_fuzz import unavailable
from test_runtime_projection import RUNTIME, SOURCES, write_config

from scpo_ctrl.codegen import export

# Left out: advice for C++ or C11's Annex K; easily swapped parameters (numerics is full of them); short names, plain
# numbers and declarations are the style of this project; products of int as offsets stay below SCPO_SLOTS squared, the
# ones with sizes of the problem are long.
TIDY = (
    "-*,bugprone-*,cert-*,clang-analyzer-*,misc-*,performance-*,portability-*,readability-*,"
    "-bugprone-easily-swappable-parameters,-bugprone-implicit-widening-of-multiplication-result,"
    "-readability-magic-numbers,-readability-identifier-length,"
    "-readability-isolate-declaration,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling"
)
STORE = RUNTIME / "store"
ALL = [*sorted((STORE / "src").glob("*.c")), *SOURCES]


def run(*command: object) -> str:
    """Run a command; return all that it printed, or fail with it."""
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def require(tool: str, package: str) -> None:
    """Skip without the tool, or fail where CI is true."""
    if shutil.which(tool) is None:
        unavailable(f"{tool} not found; apt-get install {package}")


@pytest.fixture(params=[np.float64, np.float32], ids=["double", "float"])
def flags(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    write_config(tmp_path, request.param)
    of_store = ("-DSCPO_PROBLEM_HASH=1,2,3,4,5,6,7,8", f"-I{STORE / 'include'}")
    return ["-std=c99", f"-I{tmp_path}", f"-I{RUNTIME / 'include'}", *of_store]


@pytest.mark.table(4)
@pytest.mark.parametrize("source", ALL, ids=lambda path: path.name)
def test_gcc_analyzer(tmp_path: Path, flags: list[str], source: Path) -> None:
    require("gcc", "gcc")
    run("gcc", *flags, "-O2", "-fanalyzer", "-Wall", "-Wextra", "-Werror", "-c", source, "-o", tmp_path / "x.o")


@pytest.mark.table(12)
@pytest.mark.parametrize("source", ALL, ids=lambda path: path.name)
def test_clang_tidy(flags: list[str], source: Path) -> None:
    require("clang-tidy", "clang-tidy")
    run("clang-tidy", f"--checks={TIDY}", "--warnings-as-errors=*", "--quiet", source, "--", *flags)


def test_clang_tidy_of_all_but_paths(flags: list[str]) -> None:
    """Paths, which take most of the time, are the test's above."""
    require("clang-tidy", "clang-tidy")
    run("clang-tidy", f"--checks={TIDY},-clang-analyzer-*", "--warnings-as-errors=*", "--quiet", *ALL, "--", *flags)


def test_cppcheck(flags: list[str]) -> None:
    require("cppcheck", "cppcheck")
    enable = ("--enable=warning,style,performance,portability", "--inconclusive")
    suppress = ("--suppress=missingIncludeSystem", "--inline-suppr")
    run("cppcheck", *enable, *suppress, "--error-exitcode=1", "--quiet", "--std=c99", *flags[1:], *ALL)


@pytest.mark.table(2)
@pytest.mark.parametrize("name", ["pid", "lqg"])
def test_exported_controllers(tmp_path: Path, name: str) -> None:
    """Literals of double only: those of float have a small f, as all of this project."""
    for tool, package in (("gcc", "gcc"), ("clang-tidy", "clang-tidy"), ("cppcheck", "cppcheck")):
        require(tool, package)
    export(result_of(name), tmp_path / "c", real="double", measured=False)
    sources = [tmp_path / "c" / "src" / f"scpo_{part}.c" for part in ("control", "start", "data")]
    options = ["-std=c99", f"-I{tmp_path / 'c' / 'include'}"]
    for source in sources:
        strict = ("-O2", "-fanalyzer", "-Wall", "-Wextra", "-Wshadow", "-Wcast-qual", "-Wfloat-equal", "-Werror")
        run("gcc", *options, *strict, "-c", source, "-o", tmp_path / "x.o")
    run("clang-tidy", f"--checks={TIDY}", "--warnings-as-errors=*", "--quiet", *sources, "--", *options)
    enable = ("--enable=warning,style,performance,portability", "--suppress=missingIncludeSystem")
    run("cppcheck", *enable, "--error-exitcode=1", "--quiet", "--std=c99", options[1], *sources)


def test_the_analysers_see_a_fault(tmp_path: Path) -> None:
    """The judges themselves: a null pointer followed is found."""
    source = tmp_path / "fault.c"
    source.write_text("int fault(void);\nint fault(void)\n{\n    int *p = 0;\n    return *p;\n}\n")
    for command in (
        ("gcc", "-fanalyzer", "-Werror", "-c", source, "-o", tmp_path / "x.o"),
        ("clang-tidy", f"--checks={TIDY}", "--warnings-as-errors=*", "--quiet", source, "--"),
        ("cppcheck", "--error-exitcode=1", "--quiet", source),
    ):
        require(command[0], command[0])
        with pytest.raises(AssertionError):
            run(*command)
