"""Wrong words on the command line, folders that are no runs, and what the machine lacks."""

from __future__ import annotations

import importlib
import math
import pkgutil
import subprocess
import sys

import click
import pytest
from problem_files import KINDS, write, write_expert

from scpo_ctrl import usage
from scpo_ctrl.cli import cli

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing command"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["--frobnicate"], "No such option '--frobnicate'"),
        (["adapt"], "Missing argument 'PROBLEM'"),
        (["adapt", "p.toml"], "Missing option '--out'"),
        (["adapt", "p.toml", "--out"], "--out"),
        (["adapt", "p.toml", "extra", "--out", "r"], "extra"),
        (["adapt", "p.toml", "--out", "r", "--steps", "-1"], "'--steps': -1"),
        (["adapt", "p.toml", "--out", "r", "--steps", "many"], "'--steps': 'many'"),
        (["adapt", "p.toml", "--out", "r", "--seed", "-1"], "'--seed': -1"),
        (["adapt", "p.toml", "--out", "r", "--resume", "--overwrite"], "--resume and --overwrite"),
        (["verify"], "Missing argument 'RUN'"),
        (["export", "r"], "Missing option '--out'"),
        (["export", "r", "--out", "c", "--real", "half"], "'--real': 'half'"),
        (["plants", "--all"], "No such option '--all'"),
    ],
)
def test_usage(run, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    outcome = run(*arguments)
    assert outcome.status == 2
    assert said in outcome.line
    assert "--help" in outcome.line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("option", "value", "said"), [("--target", "z80", "host"), ("--prefix", "sched", "sched.h")])
def test_options_of_an_export_are_checked_before_the_run_is_loaded(tmp_path, run, option, value, said):
    (tmp_path / "history.npz").touch()
    outcome = run("export", tmp_path, "--out", tmp_path / "c", option, value)
    assert outcome.status == 2
    assert value in outcome.line and said in outcome.line
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("command", ["verify", "report", "export"])
@pytest.mark.parametrize("what", ["missing", "a file", "an empty folder", "another folder"])
def test_no_run_folder(tmp_path, run, command, what):
    folder = tmp_path / "run"
    if what == "a file":
        folder.write_text("no run")
    elif what != "missing":
        folder.mkdir()
        if what == "another folder":
            (folder / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    outcome = run(command, folder, *(["--out", tmp_path / "c"] if command == "export" else []))
    assert outcome.status == 2
    assert f"{folder}: is not a RUN folder" in outcome.line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_compiler_that_fails(tmp_path, run, monkeypatch):
    monkeypatch.setenv("CC", "/bin/false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write(tmp_path / "problem.toml")
    outcome = run("adapt", path, "--out", tmp_path / "run")
    assert outcome.status == 2
    assert "/bin/false" in outcome.line
    assert "set CC" in outcome.line
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "cache" / "scpo-ctrl").iterdir())


def test_not_enough_memory(tmp_path, run, monkeypatch):
    def fail(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr("scpo_ctrl.record.config.ControlProblem", fail)
    outcome = run("adapt", write(tmp_path / "problem.toml"), "--out", tmp_path / "run")
    assert outcome.status == 1
    assert "memory" in outcome.line
    assert "horizon" in outcome.line
    assert not (tmp_path / "run").exists()


def test_right_input_is_accepted_with_nothing_on_stderr(tmp_path, run):
    write_expert(tmp_path / "expert.csv")
    for kind in ("imitation", "parameters, disturbance"):
        path = write(tmp_path / "problem.toml", KINDS[kind] | {"adapt.steps": 0})
        outcome = run("adapt", path, "--out", tmp_path / kind, "--json")
        assert (outcome.status, outcome.err) == (0, ""), kind
        assert (tmp_path / kind / "report.html").stat().st_size > 0


def imported(code, *names):
    """Return which of these modules a program has imported at its end."""
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*[name for name in {names} if name in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.splitlines()[-1].split()


def test_help_takes_no_longer_than_the_import_of_click():
    assert not imported(
        "from scpo_ctrl.cli import cli; cli(['--help'], standalone_mode=False)", "numpy", "casadi", "rich"
    )


def test_the_table_of_commands_is_that_of_the_modules():
    """What --help lists is there, and every command that there is is listed."""
    context = click.Context(cli)
    listed = cli.list_commands(context)
    assert {cli.get_command(context, name).name for name in listed} == set(listed)
    there = set()
    for module in pkgutil.iter_modules(usage.__path__):
        contents = vars(importlib.import_module(f"scpo_ctrl.usage.{module.name}"))
        there |= {value.name for value in contents.values() if isinstance(value, click.Command)}
    assert there == set(listed)
    assert cli.get_command(context, "nothing") is None


def test_completion_knows_commands_and_options():
    context = click.Context(cli)
    assert [item.value for item in cli.shell_complete(context, "ce")] == ["certify"]
    assert "--version" in [item.value for item in cli.shell_complete(context, "--")]


def test_adapting_starts_without_what_few_commands_need():
    heavy = (
        "scipy.integrate",
        "scipy.linalg",
        "scipy.special",
        "scipy.stats",
        "scipy.optimize",
        "matplotlib",
        "control",
        "cvxpy",
        "cma",
    )
    assert not imported("import scpo_ctrl.cli, scpo_ctrl.commands.adapt", *heavy)
