"""Runs to export, by name, and how exports are built in tests."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import problems
import pytest

import scpo_ctrl

# Widest range of shapes: nu = 1 and 2, nx = 1…4, linear, one and two hidden layers.
SHAPES = {
    "linear_1_1": functools.partial(problems.scalar_problem),
    "mlp_2_1": functools.partial(problems.double_integrator_problem),
    "mlp_3_2": functools.partial(problems.two_input_problem, nx=3, hidden=(5, 4)),
    "linear_4_2": functools.partial(problems.two_input_problem),
}
STRICT = "-Wall -Wextra -Wconversion -Wdouble-promotion -pedantic -Werror"


@functools.cache
def result_of(shape: str) -> scpo_ctrl.Result:
    """Return a short run of a problem of this shape."""
    return scpo_ctrl.adapt(SHAPES[shape](), scpo_ctrl.AdaptOptions(steps=3))


def need(*tools: str) -> None:
    """Skip a test whose tools are not installed."""
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def require(*tools: str) -> None:
    """Skip without the tools; where CI is true they have to be there."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        reason = f"{' and '.join(missing)} not found; apt-get install gcc-arm-none-eabi qemu-system-arm"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        print(f"skipped: {reason}")
        pytest.skip(reason)


def run(*command: str | Path, cwd: Path | None = None, timeout: float = 120) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder by its name."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
