"""The line that follows a command on a terminal: what it shows, and where it is not shown."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from problem_files import KINDS, write

from scpo_ctrl.adaptation.binding import room
from scpo_ctrl.record.files import load_result
from scpo_ctrl.rounding import down

COMMAND = [sys.executable, "-m", "scpo_ctrl"]


def on_a_terminal(*arguments):
    """Return what a command shows on a terminal that its stderr is, its stdout, and its status."""
    ours, theirs = os.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "170"}
    words, options = [*COMMAND, *map(str, arguments)], {"stdout": subprocess.PIPE, "env": environment}
    with subprocess.Popen(words, stderr=theirs, **options) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # at its end
            while part := os.read(ours, 100_000):
                shown += part
        out = process.stdout.read()
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()), out.decode(), process.returncode


def test_progress_on_a_terminal(tmp_path):
    shown, _, status = on_a_terminal("adapt", write(tmp_path / "problem.toml"), "--out", tmp_path / "run")
    assert status == 0, shown
    for text in (
        "the safe start is checked",
        "5/5",
        "objective 6.4",
        "stationarity",
        "accepted 5 of 5",
        "active",
    ):
        assert text in shown
    result = load_result(tmp_path / "run")
    g = result.everywhere.metrics(result.theta)
    varies = result.everywhere.varies
    size = np.append(room(result.everywhere), np.full(g.size - room(result.everywhere).size, np.inf))
    least = 100 * (-g / size)[varies & np.isfinite(size)].min()
    assert f"margin {down(least, 2)} %" in shown
    audited = write(tmp_path / "audited.toml", KINDS["audited"])
    shown, _, _ = on_a_terminal("adapt", audited, "--out", tmp_path / "audited")
    assert re.search(r"margin [0-9.]+ %", shown) and shown.rstrip().rpartition(":")[0].endswith("audit 100 % 0:00")


@pytest.mark.parametrize(
    "words",
    [
        ["certify", "--kind", "scenario", "--epsilon", "0.001"],
        ["falsify", "--budget", 3000],
        ["simulate", "--episodes", 3000],
    ],
)
def test_progress_of_rollouts_on_a_terminal(copy_of, words):
    run = copy_of()
    shown, out, _ = on_a_terminal(words[0], run, *words[1:])
    assert words[0] in shown and re.search(r"[0-9]+/[0-9]+ rollouts", shown)
    assert "rollouts " not in out.split("\n")[0][:10]  # the line is on stderr alone
    quiet, out, _ = on_a_terminal(words[0], run, *words[1:], "--json")
    assert "rollouts" not in quiet.split("scpo-ctrl:")[0]
    assert json.loads(out)
    piped = subprocess.run(
        [*COMMAND, words[0], run, *map(str, words[1:])], capture_output=True, text=True, check=False, timeout=60
    )
    assert all(line.startswith("scpo-ctrl: ") for line in piped.stderr.splitlines())
