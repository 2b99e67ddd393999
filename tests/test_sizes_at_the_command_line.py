"""Sizes beyond what a run can bear, through the command line: one line with the number, in bounded memory and work."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from problem_files import write
from processes import BARE, PLAIN

MEMORY = 2 << 30  # bytes
WORK = 20  # seconds of one core


def adapt(path: Path, work: int = WORK, words: list[str] = BARE) -> subprocess.CompletedProcess[str]:
    """Run `scpo-ctrl adapt` on a problem with bounded memory and work."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (work, work))

    return subprocess.run(
        [*words, "adapt", str(path), "--out", str(path.parent / "run"), "--steps", "1"],
        capture_output=True, text=True, check=False, preexec_fn=bound, timeout=15 * work,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


def rows(folder: Path) -> dict[str, Any]:
    """Write three million rows of imitation data."""
    (folder / "expert.csv").write_text("x0,x1,u0\n" + "0.1,0.2,0.3\n" * 3_000_000)
    return {"objective": {"kind": "imitation", "csv": "expert.csv"}}


TOO_LARGE: dict[str, tuple[Callable[[Path], dict[str, Any]], list[str]]] = {
    "horizon": (
        lambda _: {"scenarios": {"count": 10, "horizon": 300_000}},
        ["[scenarios]", "up to 18000060 safety metrics, more than 15000000", "lower"],
    ),
    "count": (
        lambda _: {"scenarios": {"count": 1_600_000, "horizon": 8}},
        ["[scenarios]", "43200000 numbers a rollout, more than 10000000", "lower"],
    ),
    "initial states": (
        lambda _: {"scenarios": {"initial_states": [[0.1, 0.1]], "horizon": 10**12}},
        ["[scenarios]", "count = 1 scenarios", "3000000000003 numbers a rollout", "lower"],
    ),
    "hidden": (lambda _: {"policy.hidden": [1] * 40_000}, ["[policy]", "40000 layers, more than 64", "fewer"]),
    "rows": (rows, ["[objective]", "expert.csv: has 3000001 lines, more than 1000000 rows", "keep every k-th"]),
}


@pytest.mark.table(6)
@pytest.mark.parametrize("case", TOO_LARGE)
def test_sizes_are_refused(tmp_path: Path, case: str) -> None:
    changes, said = TOO_LARGE[case]
    check_refused(write(tmp_path / "problem.toml", changes(tmp_path)), said)


def test_deep_keys_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "problem.toml")
    path.write_text(f"{'.'.join(['a'] * 100_000)} = 1\n" + path.read_text())
    check_refused(path, ["line 1 has a key of 99999 dots, more than 64", "nest less"])


def check_refused(path: Path, said: list[str]) -> None:
    """One line on stderr that holds some texts, and nothing left behind."""
    there = sorted(path.parent.iterdir())
    done = adapt(path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"scpo-ctrl: {path}: ")
    assert done.stderr.count("\n") == 1
    for text in said:
        assert text in done.stderr
    assert sorted(path.parent.iterdir()) == there


@pytest.mark.table(2)
@pytest.mark.parametrize("n", [40, 100])
def test_a_dense_plant_runs(tmp_path: Path, n: int) -> None:
    rng = np.random.default_rng(0)
    plant = {
        "kind": "linear",
        "dt": 0.1,
        "A": (0.9 / np.sqrt(n) * rng.normal(size=(n, n))).tolist(),
        "B": rng.normal(size=(n, 1)).tolist(),
        **{key: [bound] * n for key, bound in (("x_min", -50.0), ("x_max", 50.0))},
        **{key: [bound] for key, bound in (("u_min", -1.0), ("u_max", 1.0))},
    }
    changes = {"plant": plant, "backup.Q": [0.1] * n, "objective.Q": [1.0] * n}
    done = adapt(
        write(tmp_path / "problem.toml", changes), 3 * WORK, PLAIN
    )  # it is meant to run, on a slow machine too
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
