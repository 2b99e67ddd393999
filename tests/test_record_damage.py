"""Damaged files of a RUN folder: one line that names the file, for whatever reads it."""

from __future__ import annotations

import numpy as np
import pytest
from run_folders import rewrite

from scpo_ctrl.errors import RecordError, ScpoError
from scpo_ctrl.record import load_arrays, load_result


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
