"""The command line from end to end: commands, signals, full disks and missing tools."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from problem_files import write
from processes import BARE, COMMAND, PLAIN
from run_folders import content, same_arrays

import scpo_ctrl
from scpo_ctrl.adaptation.result import margin_of
from scpo_ctrl.errors import EvaluationError, RecordError
from scpo_ctrl.models import ZOO
from scpo_ctrl.record.files import load_arrays, load_result
from scpo_ctrl.rounding import down
from scpo_ctrl.verification.verify import verify

ENDLESS = {"metrics.contraction": 0.95, "adapt.patience": 1_000_000, "adapt.steps": 1_000_000}


def command(*arguments, words=BARE, **options):
    """Run a command in a process of its own."""
    return subprocess.run(
        [*words, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60, **options
    )


def strict_json(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


# The commands


def test_from_problem_to_report(tmp_path, run):
    problem = write(tmp_path / "problem.toml")
    done = command("adapt", problem, "--out", tmp_path / "run", words=COMMAND)
    assert done.returncode == 0, done.stderr
    reached = load_result(tmp_path / "run").stationarity
    optimality = f"optimality finished with stationarity {reached:.2g}, where 1e-06 counts as converged\n"
    for text in ("objective  ", optimality, "accepted 5", "0 violations, worst margin", f"{tmp_path / 'run'}/"):
        assert text in done.stdout
    assert [line.split()[1] for line in done.stderr.splitlines()] == [f"{step}/5" for step in range(1, 6)]
    found = run("verify", tmp_path / "run")
    assert (found.status, found.err) == (0, "")
    assert "6 committed policies, 3 scenarios" in found.out
    assert sorted(content(tmp_path / "run")) == [
        "history.npz",
        "problem.toml",
        "report.html",
        "result.json",
        "theta.npy",
    ]


def test_json_of_every_command(tmp_path, run):
    problem, folder = write(tmp_path / "problem.toml"), tmp_path / "run"
    keys = {
        ("adapt", problem, "--out", folder): {
            "status",
            "steps",
            "accepted",
            "worst_margin",
            "seconds",
            "version",
            "run",
        },
        ("verify", folder): {"passed", "policies", "faults"},
        ("report", folder): {"report"},
        ("export", folder, "--out", tmp_path / "c"): {"path", "files", "target", "real"},
        ("plants",): set(ZOO),
    }
    for arguments, expected in keys.items():
        outcome = run(*arguments, "--json")
        assert (outcome.status, outcome.err) == (0, ""), arguments
        assert outcome.out.count("\n") == 1
        assert expected <= set(strict_json(outcome.out)), arguments


def test_an_export_says_what_was_shown_of_the_run(tmp_path, runs, run):
    result = load_result(runs["audited"])
    outcome = run("export", runs["audited"], "--out", tmp_path / "c", "--real", "double")
    _, shown, margin = outcome.out.splitlines()
    assert shown.startswith("of the run: Audited")
    assert float(margin.rpartition(" ")[2]) == float(down(margin_of(result.everywhere.metrics(result.theta))))
    plain = run("export", runs["mlp"], "--out", tmp_path / "plain").out
    assert "of the run: " in plain and "Audited" not in plain


def test_result_file_holds_what_is_promised(runs):
    summary = strict_json((runs["mlp"] / "result.json").read_text())
    assert {
        "status", "steps", "accepted", "rejected", "violations", "worst_margin", "objective_initial", "objective_final",
        "theta_dim", "metrics", "rollouts", "seconds", "version",
    } <= set(summary)  # fmt: skip
    assert summary["violations"] == 0
    assert summary["worst_margin"] >= 0
    assert summary["objective_final"] < summary["objective_initial"]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["adapt", "--help"], ["--version"]])
def test_help_and_version(run, arguments):
    outcome = run(*arguments)
    assert (outcome.status, outcome.err) == (0, "")
    assert scpo_ctrl.__version__ in outcome.out or "Usage: scpo-ctrl" in outcome.out


def test_plants_are_a_line_each(run):
    outcome = run("plants")
    assert [line.split(":")[0] for line in outcome.out.splitlines()] == sorted(ZOO)
    assert "position [m]" in outcome.out
    assert "inputs duty cycle; dt" in outcome.out  # which has no unit


def test_demo_on_a_smaller_problem(tmp_path, run, monkeypatch):
    from scpo_ctrl.commands import adapt

    small = write(tmp_path / "problem.toml")
    monkeypatch.setattr(adapt, "read_problem_file", lambda _path: adapt.ProblemFile(**vars(original(small))))
    original = scpo_ctrl.record.config.read_problem_file
    for _ in range(2):  # a second demo replaces the first
        outcome = run("demo", "--out", tmp_path / "demo", "--json")
        assert (outcome.status, outcome.err) == (0, "")
        shown = strict_json(outcome.out)
        assert shown["verified"] is True
        assert (tmp_path / "demo" / "c" / "include" / "scpo.h").exists()
    monkeypatch.setattr(adapt, "find_compiler", lambda: None)
    outcome = run("demo", "--out", tmp_path / "demo")
    assert outcome.status == 0
    assert "no C compiler found" in outcome.out
    assert f"{tmp_path / 'demo'}/ (report.html" in outcome.out


def test_steps_and_seed_on_the_command_line(tmp_path, run):
    problem = write(tmp_path / "problem.toml")
    assert run("adapt", problem, "--out", tmp_path / "a", "--steps", 0, "--seed", 3).status == 0
    result = load_result(tmp_path / "a")
    assert (result.steps, result.options.steps, result.options.seed, len(result.history)) == (0, 0, 3, 0)
    assert verify(tmp_path / "a").passed


def test_a_run_that_converges_says_so_with_a_number(tmp_path, run):
    problem = write(
        tmp_path / "problem.toml", {"policy": {"kind": "linear"}, "adapt.tolerance": 0.5, "adapt.steps": 50}
    )
    outcome = run("adapt", problem, "--out", tmp_path / "run")
    assert outcome.status == 0
    result = load_result(tmp_path / "run")
    assert result.steps < 50
    fall = result.stationarity * result.objective_initial
    assert "status     converged: " in outcome.out
    assert f"optimality converged: the objective can fall by at most about {fall:.2g} to first order" in outcome.out
    assert "Safe on its scenarios, converged" in (tmp_path / "run" / "report.html").read_text()
    assert verify(tmp_path / "run").passed


def test_brackets_in_names_are_shown_as_they_are(tmp_path, run):
    folder = tmp_path / "[bold]run[/bold]"
    outcome = run("adapt", write(tmp_path / "problem.toml"), "--out", folder)
    assert outcome.status == 0
    assert str(folder) in outcome.out


def test_equal_runs_give_equal_files(tmp_path, run):
    problem = write(tmp_path / "problem.toml")
    for name in "ab":
        assert run("adapt", problem, "--out", tmp_path / name).status == 0
    same_arrays(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "history.npz").read_bytes() == (tmp_path / "b" / "history.npz").read_bytes()


def test_names_that_are_not_text(tmp_path, run):
    folder = tmp_path / os.fsdecode(b"run\xff")
    outcome = run("adapt", write(tmp_path / "problem.toml"), "--out", folder)
    assert outcome.status == 0
    assert "run\\udcff" in outcome.out
    assert verify(folder).passed


# Stopping a run


def wait_for(condition, process, seconds=40.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def saved_steps(folder):
    with contextlib.suppress(RecordError):
        return int(load_arrays(folder)["state_step"])
    return 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_run_that_is_stopped_resumes_to_the_same_numbers(tmp_path, run, number):
    problem, folder = write(tmp_path / "problem.toml", ENDLESS), tmp_path / "run"
    started = [*PLAIN, "adapt", str(problem), "--out", str(folder), "--json"]
    with subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        least = 2 if number is signal.SIGKILL else 1  # a second save, or the first
        wait_for(lambda: saved_steps(folder) >= least, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=40)
    if number is signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 1
        assert err == "scpo-ctrl: stopping after this step; once more to stop at once\n"
        assert strict_json(out)["status"] == "interrupted"
        assert (folder / "report.html").exists()
    stopped = load_result(folder)
    assert stopped.is_safe()
    assert verify(folder).passed

    steps = stopped.steps + 5
    assert run("adapt", problem, "--out", folder, "--resume", "--steps", steps, "--json").status == 0
    assert run("adapt", problem, "--out", tmp_path / "whole", "--steps", steps, "--json").status == 0
    same_arrays(folder, tmp_path / "whole")
    assert verify(folder).passed


def test_an_interrupt_outside_the_loop(tmp_path, run, monkeypatch):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("scpo_ctrl.commands.adapt.adapt", interrupt)
    outcome = run("adapt", write(tmp_path / "problem.toml"), "--out", tmp_path / "run")
    assert outcome.status == 128 + signal.SIGINT
    assert outcome.line.startswith("scpo-ctrl: interrupted; `--resume`")
    assert not (tmp_path / "run").exists()


def test_a_second_interrupt_stops_at_once_and_keeps_the_state(tmp_path, run, monkeypatch):
    from scpo_ctrl.record.atomic import os as record_os

    saves = []
    real = record_os.fsync

    def fsync(handle):
        saves.append(handle)
        if len(saves) == 8:  # in the second save
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        real(handle)

    monkeypatch.setattr("scpo_ctrl.record.saving._EVERY", 0.0)
    monkeypatch.setattr(record_os, "fsync", fsync)
    monkeypatch.setattr("scpo_ctrl.record.saving.time", SimpleNamespace(monotonic=lambda: 0.0))  # a save every step
    problem = write(tmp_path / "problem.toml")
    outcome = run("adapt", problem, "--out", tmp_path / "run", "--json")
    monkeypatch.undo()
    assert outcome.status == 128 + signal.SIGINT
    assert outcome.out == ""
    assert [line.split(";")[0] for line in outcome.err.splitlines()] == [
        "scpo-ctrl: stopping after this step",
        "scpo-ctrl: interrupted",
    ]
    assert verify(tmp_path / "run").passed
    assert not [name for name in content(tmp_path / "run") if name.endswith(".tmp")]


def test_a_solver_that_is_not_installed(tmp_path, run, monkeypatch):
    monkeypatch.setattr("scpo_ctrl.projection.conic._installed", lambda: {"CLARABEL"})
    problem = write(tmp_path / "problem.toml", {"adapt.solver": "ECOS"})
    outcome = run("adapt", problem, "--out", tmp_path / "run")
    assert outcome.status == 2
    assert outcome.line.startswith(f"scpo-ctrl: {problem}: [adapt] solver ECOS is not installed; pip install")
    assert list(tmp_path.iterdir()) == [problem]


def test_a_failure_of_the_objective_is_a_failed_run(tmp_path, run, monkeypatch):
    def fail(*_args, **_options):
        raise EvaluationError("the objective is nan at the safe start; check the objective")

    monkeypatch.setattr("scpo_ctrl.commands.adapt.adapt", fail)
    problem = write(tmp_path / "problem.toml")
    outcome = run("adapt", problem, "--out", tmp_path / "run")
    assert outcome.status == 1
    assert outcome.line.startswith(f"scpo-ctrl: {problem}: the objective is nan")
    assert list(tmp_path.iterdir()) == [problem]


# What the machine lacks


@pytest.fixture
def mounted(tmp_path):
    """Mount a small file system in memory, which takes root; skip the test where that is not allowed."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(options):
        if os.geteuid() != 0:
            pytest.skip("mounting a small file system takes root")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


@pytest.mark.table(2)
@pytest.mark.parametrize(("options", "said"), [("size=8k", "No space left"), ("ro", "")], ids=["full", "read-only"])
def test_a_file_system_that_takes_nothing(tmp_path, mounted, options, said):
    problem, folder = write(tmp_path / "problem.toml"), mounted(options)
    done = command("adapt", problem, "--out", folder / "a" / "run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert str(folder) in done.stderr
    assert said in done.stderr
    assert not list(folder.iterdir())


@pytest.mark.table(2)
@pytest.mark.parametrize("change", [{"CC": "/nonexistent/cc"}, {"PATH": "/nonexistent"}])
def test_without_a_compiler_the_run_goes_on_with_one_notice(tmp_path, change):
    environment = {key: value for key, value in os.environ.items() if key != "CC"} | change
    done = command("adapt", write(tmp_path / "problem.toml"), "--out", tmp_path / "run", "--json", env=environment)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "no C compiler" in done.stderr
    assert "CC" in done.stderr
    assert verify(tmp_path / "run").passed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_standard_output_that_is_full():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "plants"], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert done.returncode == 2
    assert done.stderr == "scpo-ctrl: standard output: No space left on device\n"


def test_standard_output_that_is_closed(tmp_path):
    words = [*BARE, "adapt", str(write(tmp_path / "problem.toml")), "--out", str(tmp_path / "run")]
    close = ["sh", "-c", 'exec "$@" >&-', "sh"]
    done = subprocess.run([*close, *words], stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert verify(tmp_path / "run").passed


def test_a_reader_that_went_away():
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "plants"], stdout=written, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(written)
    assert (done.returncode, done.stderr) == (1, b"")
