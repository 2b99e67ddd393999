"""Options of a run that goes on: what may change, and what an earlier version did not know."""

from __future__ import annotations

import dataclasses

import pytest
from problem_files import write
from run_folders import content, rewrite, same_arrays

from scpo_ctrl.adaptation.adapt import adapt
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.errors import RecordError
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.files import load_result
from scpo_ctrl.verification.verify import verify


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
    """problem.toml of an earlier version lacks their keys: they are the defaults, and gradients are sampled."""
    problem = write(tmp_path / "problem.toml", {"adapt.gradients": "sampled"})
    assert run("adapt", problem, "--out", tmp_path / "run").status == 0
    path, options = tmp_path / "run" / "problem.toml", load_result(tmp_path / "run").options
    new = ("gradients", "probes", "barrier", "barrier_min", "tolerance")
    lines = [line for line in path.read_text().splitlines() if line.split(" = ")[0] not in new]
    path.write_text("\n".join(lines) + "\n")
    rewrite(tmp_path / "run", sign=True)
    assert load_result(tmp_path / "run").options == options
    for asked, steps in ((path, 6), (problem, 7)):
        assert run("adapt", asked, "--out", tmp_path / "run", "--resume", "--steps", steps, "--json").status == 0
        assert load_result(tmp_path / "run").options.gradients == "sampled"
    assert verify(tmp_path / "run").passed


def test_a_run_goes_on_with_its_gradients_where_they_are_left_to_the_package(tmp_path, run):
    """As runs do that began before exact ones were chosen; only a file that asks for others is refused."""
    left, asks, other = (
        write(tmp_path / f"{name}.toml", {"adapt.gradients": value} if value else {})
        for name, value in (("left", None), ("asks", "sampled"), ("other", "exact"))
    )
    assert read_problem_file(left).options.gradients == "exact"
    for name, steps in (("long", [7]), ("short", [3, 7])):
        for count, problem in zip(steps, [asks, left], strict=False):
            resumes = ["--resume"] if count != steps[0] else []
            assert run("adapt", problem, "--out", tmp_path / name, "--steps", count, *resumes).status == 0
    same_arrays(tmp_path / "long", tmp_path / "short")
    assert verify(tmp_path / "short", problem=left).passed and not verify(tmp_path / "short", problem=other).passed
    earlier = load_result(tmp_path / "short")
    later = adapt(earlier.problem, AdaptOptions(steps=8, audit=False), resume_from=earlier)
    assert later.options == dataclasses.replace(earlier.options, steps=8)
    before = content(tmp_path / "short")
    outcome = run("adapt", other, "--out", tmp_path / "short", "--resume", "--steps", 8)
    assert outcome.status == 2 and "[adapt] gradients: 'sampled' there, 'exact' here" in outcome.line
    assert content(tmp_path / "short") == before


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
