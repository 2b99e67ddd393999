"""Damaged files of a RUN folder: one line that names the file, for whatever reads it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from problem_files import write
from run_folders import rewrite, same_arrays

from scpo_ctrl.errors import RecordError, ScpoError
from scpo_ctrl.record.files import load_arrays, load_result
from scpo_ctrl.verification.verify import verify

KILLED = """
import os
from pathlib import Path
from scpo_ctrl.cli import main

renamed, real = [], Path.replace

def replace(path, target):
    if len(renamed) == {done}:
        os._exit(9)
    renamed.append(target)
    return real(path, target)

Path.replace = replace
main()
"""


@pytest.mark.parametrize("name", ["history.npz", "result.json", "theta.npy", "problem.toml"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise", "folder"])
def test_damaged_files(copy_of, run, name, damage):
    folder = copy_of()
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "noise": b"\xff\x00\x80" * 50}[damage])
    outcome = run("verify", folder, "--json")
    assert outcome.status == 2
    assert f"{folder}" in outcome.line
    assert name in outcome.line
    if name != "theta.npy":  # it is written for others, and not read again
        with pytest.raises(ScpoError, match=name):
            load_result(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"theta": np.zeros((2, 3))},
        {"theta": np.array("text")},
        {"scenario_x0": np.zeros((0, 2))},
        {"scenario_w": np.zeros((3, 80, 0))},
        {"scenario_p": np.zeros((3, 4))},
        {"committed": np.zeros(3, dtype=bool)},
        {"theta_initial": np.zeros(0)},
    ],
)
def test_arrays_that_do_not_fit(copy_of, run, changes):
    folder = copy_of()
    rewrite(folder, sign=True, **changes)
    outcome = run("verify", folder, "--json")
    assert outcome.status == 2
    assert f"{folder}: " in outcome.line
    if "committed" not in changes and "scenario" not in str(changes):
        with pytest.raises(RecordError, match=str(folder)):
            load_result(folder)


def test_an_array_removed(copy_of, run):
    folder = copy_of()
    arrays = load_arrays(folder)
    for name in arrays:
        np.savez(folder / "history.npz", **{key: value for key, value in arrays.items() if key != name})
        outcome = run("verify", folder, "--json")
        assert outcome.status in (1, 2), name
        assert outcome.err.count("\n") == 1


def test_a_foreign_archive_is_not_unpickled(copy_of, run):
    folder = copy_of()
    np.savez(folder / "history.npz", theta=np.array([print], dtype=object))
    outcome = run("verify", folder)
    assert outcome.status == 2
    assert "history.npz: is damaged" in outcome.line


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_process_killed_while_it_replaced_the_files(tmp_path, run, done):
    """What is left between two renames: verification says what mends it, and resuming does."""
    problem = write(tmp_path / "problem.toml")
    folder = tmp_path / "run"
    assert run("adapt", problem, "--out", folder, "--steps", 3).status == 0
    earlier = load_result(folder)
    words = [
        sys.executable,
        "-c",
        KILLED.format(done=done),
        "adapt",
        problem,
        "--out",
        folder,
        "--steps",
        "5",
        "--resume",
    ]
    killed = subprocess.run(words, capture_output=True, check=False, timeout=60)
    assert killed.returncode == 9, killed.stderr
    assert any(path.suffix == ".tmp" for path in folder.iterdir())
    np.testing.assert_array_equal(load_result(folder).theta, earlier.theta)
    found = verify(folder)
    assert "with --resume mends them" in found.faults[0]
    assert found.violations == 0
    assert run("adapt", problem, "--out", folder, "--steps", 5, "--resume").status == 0
    assert verify(folder).passed
    assert run("adapt", problem, "--out", tmp_path / "whole", "--steps", 5).status == 0
    same_arrays(folder, tmp_path / "whole")
