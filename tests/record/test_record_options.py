"""Options of a run that goes on: what may change, and what an earlier version did not know."""

from __future__ import annotations

import pytest
from problem_files import write
from run_folders import content, rewrite

from scpo_ctrl.adaptation.adapt import adapt
from scpo_ctrl.errors import RecordError
from scpo_ctrl.record.files import load_result
from scpo_ctrl.verification.verify import verify

pytestmark = pytest.mark.usefixtures("without_report")


def test_fewer_steps_than_are_done_are_not_resumed(tmp_path, run):
    problem = write(tmp_path / "problem.toml")
    assert run("adapt", problem, "--out", tmp_path / "run").status == 0
    before = content(tmp_path / "run")
    outcome = run("adapt", problem, "--out", tmp_path / "run", "--resume", "--steps", 2)
    assert outcome.status == 2
    assert f"{tmp_path / 'run'}: its run has done 5 steps, [adapt] steps asks for 2 in all" in outcome.line
    assert "--steps" in outcome.line
    assert content(tmp_path / "run") == before
    assert run("adapt", problem, "--out", tmp_path / "run", "--resume", "--steps", 5, "--json").status == 0
    assert load_result(tmp_path / "run").options.steps == 5


def test_a_run_before_the_options_of_today_goes_on(tmp_path, run):
    """problem.toml of an earlier version lacks their keys: they are the defaults."""
    problem = write(tmp_path / "problem.toml")
    assert run("adapt", problem, "--out", tmp_path / "run").status == 0
    path, options = tmp_path / "run" / "problem.toml", load_result(tmp_path / "run").options
    new = ("gradients", "probes", "barrier", "barrier_min", "tolerance")
    lines = [line for line in path.read_text().splitlines() if line.split(" = ")[0] not in new]
    path.write_text("\n".join(lines) + "\n")
    rewrite(tmp_path / "run", sign=True)
    assert load_result(tmp_path / "run").options == options
    assert run("adapt", problem, "--out", tmp_path / "run", "--resume", "--steps", 7, "--json").status == 0
    assert verify(tmp_path / "run").passed


def test_a_run_that_began_elsewhere_is_not_resumed(tmp_path, run):
    """Hidden units started elsewhere before `at_bounds`: the folder is read as ever, but its record cannot go on."""
    problem = write(tmp_path / "problem.toml", {"policy.at_bounds": False})
    assert run("adapt", problem, "--out", tmp_path / "run").status == 0
    path = tmp_path / "run" / "problem.toml"
    path.write_text(path.read_text().replace("at_bounds = false\n", ""))
    rewrite(tmp_path / "run", sign=True)
    assert verify(tmp_path / "run").passed
    before, result = content(tmp_path / "run"), load_result(tmp_path / "run")
    outcome = run("adapt", path, "--out", tmp_path / "run", "--resume", "--steps", 7)
    assert outcome.status == 2
    assert "the run began at other parameters" in outcome.line and "without --resume" in outcome.line
    assert content(tmp_path / "run") == before
    with pytest.raises(RecordError, match="began at other parameters"):
        adapt(result.problem, result.options, resume_from=result)
