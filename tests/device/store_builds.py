"""The parameter store, compiled for this computer, and programs that use it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STORE = HERE.parents[1] / "codegen" / "runtime" / "store"
SOURCES = sorted((STORE / "src").glob("*.c"))
HASH = bytes.fromhex("0123456789abcdef")
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-Wshadow", "-Wcast-qual", "-pedantic", "-Werror")
SANITIZE = ("-g1", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def need_compiler() -> None:
    """Skip without gcc."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")


def write_config(folder: Path, real: str, count: int, problem: bytes = HASH) -> None:
    """Write the header that the exporter generates."""
    (folder / "scpo_config.h").write_text(
        "#ifndef SCPO_CONFIG_H\n#define SCPO_CONFIG_H\n"
        f"typedef {real} scpo_real;\n#define SCPO_REAL_IS_DOUBLE {int(real == 'double')}\n"
        f"#define SCPO_NTHETA {count}\n#define SCPO_PROBLEM_HASH {', '.join(map(str, problem))}\n#endif\n"
    )


def build(
    folder: Path,
    sources: Sequence[Path | str],
    output: str,
    *flags: str,
    real: str = "float",
    count: int = 2,
    problem: bytes = HASH,
    runtime: Sequence[Path] = SOURCES,
) -> Path:
    """Compile the store with more sources."""
    need_compiler()
    write_config(folder, real, count, problem)
    includes = [f"-I{path}" for path in (folder, STORE / "include", STORE / "src", HERE)]
    command = ["gcc", "-std=c99", *flags, *includes, *sources, *runtime, "-o", folder / output]
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / output


def run(program: Path, *arguments: object) -> tuple[int, str]:
    """Run a program; its exit status and what it printed."""
    done = subprocess.run([str(x) for x in (program, *arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr
