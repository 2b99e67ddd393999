"""The line that follows a command on a terminal: what it shows, and where it is not shown."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from problem_files import KINDS, write
from problems import double_integrator_problem
from processes import BARE
from rich.console import Console

from scpo_ctrl import AdaptOptions, ScpoError, adapt, progress
from scpo_ctrl.adaptation.binding import room
from scpo_ctrl.progress import Line
from scpo_ctrl.record.files import load_result
from scpo_ctrl.rounding import down
from scpo_ctrl.terminal import say


def on_a_terminal(*arguments, raw=False, **variables):
    """Return what a command shows on a terminal that its stderr is, its stdout, and its status."""
    ours, theirs = os.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "170"} | variables
    words, options = [*BARE, *map(str, arguments)], {"stdout": subprocess.PIPE, "env": environment}
    with subprocess.Popen(words, stderr=theirs, **options) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # at its end
            while part := os.read(ours, 100_000):
                shown += part
        out = process.stdout.read()
    os.close(ours)
    text = shown.decode() if raw else re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    return text, out.decode(), process.returncode


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
    assert re.search(r"margin [0-9.]+ %", shown) and "12/12  audit 100 %  objective" in shown


WIDTHS = (40, 60, 80, 100, 120, 160, 200)
FIELDS = ("objective 1.2403", "margin 0.012 %", "accepted 120 of 150")
MORE = ("stationarity 1.2e-05", "active 12")


def drawn(line, width):
    """Return what rich draws of a line on a terminal of a width."""
    console = Console(width=width, force_terminal=True, file=io.StringIO())
    console.print(line)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue()).removesuffix("\n")


def test_the_line_fits_every_width_and_drops_the_least_important_first():
    line = Line("adapt", 400, shown=False)
    line.show(123)
    line._fields, line._more = FIELDS, MORE
    before = 0
    for width in WIDTHS:
        shown = drawn(line, width)
        assert "\n" not in shown and len(shown) <= width
        assert shown.removeprefix("adapt ").lstrip("━").startswith(" 123/400")
        fields = shown.split("  ")[1:]
        assert "  ".join(fields) == "  ".join([*FIELDS, "0:00", *MORE][: len(fields)])  # whole ones, in this order
        assert len(fields) >= before  # a wider line says no less
        before = len(fields)
        assert fields[0] == FIELDS[0] and (width < 80 or len(fields) >= 3)
    assert before == 6


@pytest.mark.parametrize(("name", "unit", "done", "total"), [("certify", "rollouts", 8192, 138149), ("pil", "", 3, 30)])
def test_the_line_of_rollouts_fits_every_width(name, unit, done, total):
    line = Line(name, unit=unit, shown=False)
    line.show(done, total)
    for width in WIDTHS:
        shown = drawn(line, width)
        assert len(shown) <= width and f"{done:>{len(str(total))}}/{total}" in shown
        assert not unit or (f"/{total} {unit}" in shown) == (width >= 60)
    assert len(drawn(line, 12)) <= 12  # nothing but the count


def test_the_line_of_an_audit_says_so_first():
    line = Line("adapt", 60, shown=False)
    line.show(60)
    line._fields = ("audit  58 %", *FIELDS)
    assert drawn(line, 40).endswith("60/60  audit  58 %") or "audit  58 %  objective" in drawn(line, 40)


def test_a_step_log_has_a_line_for_every_step_in_columns_that_fit(tmp_path, run):
    outcome = run("adapt", write(tmp_path / "problem.toml"), "--out", tmp_path / "run", "--verbose")
    heading, head, *rows = outcome.err.splitlines()
    assert heading == "method newton, gradients exact"
    assert head.split() == ["step", "objective", "margin", "|step|", "radius", "rejected", "tries"]
    result = load_result(tmp_path / "run")
    assert [int(row.split()[0]) for row in rows] == [1, 2, 3, 4, 5]
    assert all(len(row) <= 80 for row in (head, *rows))
    assert {row.index(" %") for row in rows} == {rows[0].index(" %")}  # one below the other
    assert float(rows[-1].split()[1]) == pytest.approx(result.objective_final, rel=1e-5)
    lengths = [f"{trial.delta_norm:.2g}" for trial in result.history.rows if trial.is_committed]
    assert [row[34:].split()[0] for row in rows] == lengths


def test_nothing_is_escaped_where_the_terminal_shall_not_be_drawn_on(tmp_path):
    """With NO_COLOR, and in a file, lines are plain."""
    problem = write(tmp_path / "problem.toml")
    shown, _, status = on_a_terminal("adapt", problem, "--out", tmp_path / "run", raw=True, NO_COLOR="1")
    assert status == 0 and "5/5" in shown and "\x1b" not in shown


def test_a_run_in_python_shows_its_line_where_it_is_asked_to(capfd):
    problem, options = double_integrator_problem(), AdaptOptions(steps=10)
    results = [adapt(problem, options, progress=progress) for progress in (None, False, True)]
    shown = capfd.readouterr().err.splitlines()
    assert [line.split()[1] for line in shown] == [f"{step}/10" for step in range(1, 11)]  # of the last alone
    assert "objective" in shown[0] and "\x1b" not in "".join(shown)
    assert all(np.array_equal(result.theta, results[0].theta) for result in results)
    with pytest.raises(ScpoError, match="progress is 3, expected true, false or None"):
        adapt(problem, options, progress=3)


def test_what_takes_less_than_a_second_shows_nothing_and_what_takes_longer_does(capfd, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    with Line("audit", 10, plain_after=0.0) as line:
        for done in range(1, 11):
            now[0] = 0.15 * done
            line.show(done)
    assert [text.split()[1] for text in capfd.readouterr().err.splitlines()] == ["7/10", "8/10", "9/10", "10/10"]


def test_in_a_notebook_one_output_changes(monkeypatch):
    contents = []

    class Handle:
        def update(self, content, raw):
            assert raw
            contents.append(content["text/plain"])

    def display(content, raw, display_id):
        assert raw and display_id
        contents.append(content["text/plain"])
        return Handle()

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    with Line("adapt", 4, shown=True) as line:
        line.show(2, fields=["objective 1"])
        line.show(4, fields=["objective 0"])
    assert contents[0].startswith("adapt ----") and "4/4  objective 0" in contents[-1]
    assert "##########" in contents[-1]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_summary_breaks_between_words_and_hangs_below_its_text(monkeypatch, capsys, width):
    text = "status     finished: All steps were done; more steps may improve the policy further."
    say(text)
    assert capsys.readouterr().out == f"{text}\n"  # in a file one line
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    say(text)
    first, *rest = capsys.readouterr().out.splitlines()
    assert rest and all(line.startswith(" " * 11) and line[11] != " " and len(line) <= width for line in rest)
    assert " ".join([first, *(line.strip() for line in rest)]) == text


@pytest.mark.table(3)
@pytest.mark.parametrize(
    "words",
    [
        ["certify", "--kind", "scenario", "--epsilon", "0.001"],
        ["falsify", "--budget", 3000],
        ["simulate", "--episodes", 3000],
    ],
)
def test_progress_of_rollouts_on_a_terminal(copy_of, run, words):
    folder = copy_of()
    shown, out, _ = on_a_terminal(words[0], folder, *words[1:])
    assert words[0] in shown and re.search(r"[0-9]+/[0-9]+ rollouts", shown)
    assert "rollouts " not in out.split("\n")[0][:10]  # the line is on stderr alone
    quiet, out, _ = on_a_terminal(words[0], folder, *words[1:], "--json")
    assert "rollouts" not in quiet.split("scpo-ctrl:")[0]
    assert json.loads(out)
    piped = run(words[0], folder, *words[1:])
    assert all(line.startswith("scpo-ctrl: ") for line in piped.err.splitlines())
