"""R4 and R5 as they ship, a few steps of each: safe, verified from the files, resumed to the same bits, reported."""

from __future__ import annotations

import importlib.resources
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from run_folders import same_arrays

from scpo_ctrl import AdaptOptions, adapt, load_problem, load_result

GALLERY = Path(__file__).parents[2] / "examples" / "gallery"
DATA = importlib.resources.files("scpo_ctrl") / "data"


@pytest.mark.long
@pytest.mark.parametrize(("name", "evidence"), [("cart_pole", "proved"), ("planar_quadrotor", "simulated")])
def test_adapts_and_verifies(tmp_path, run, name, evidence):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    path = tmp_path / f"{name}.toml"
    shutil.copy(str(DATA / f"{name}.toml"), path)
    drawn = name == "cart_pole"  # pictures of one are enough
    assert run("adapt", path, "--out", whole, "--steps", 3, pictures=drawn).status == 0
    result = load_result(whole)
    problem = result.problem
    assert result.is_safe() and len(result.committed) > 1
    assert result.objective_final < 0.9 * result.objective_initial
    assert np.ptp(problem.scenarios.p, axis=0)[:2].all()
    outcome = run("verify", whole)
    assert (outcome.status, outcome.err) == (0, "")

    report = (whole / "report.html").read_text(encoding="utf-8")
    assert f"backup level ρ, {evidence}" in report and ("which is no proof" in report) == (evidence == "simulated")
    recorded = tomllib.loads((whole / "problem.toml").read_text(encoding="utf-8"))["backup"]["rho"]
    assert recorded == problem.backup.rho
    assert run("adapt", path, "--out", parts, "--steps", 1).status == 0
    assert run("adapt", path, "--out", parts, "--steps", 3, "--resume").status == 0
    same_arrays(whole, parts)


def test_the_zoo_is_listed(run):
    out = run("plants").out
    for words in ("cart_pole: states position [m]", "planar_quadrotor: states position [m]", "thrust 1 [N]", "Barto"):
        assert words in out


def test_a_first_step_that_diverges_does_not_stall_a_run():
    """The speed at which a ball leaves a turning beam grows without end: a metric at 1e16 says nothing of curvature."""
    problem = load_problem(GALLERY / "ball_and_beam.toml")
    result = adapt(problem, AdaptOptions(steps=8, audit=False))
    first = result.history.columns()
    assert first["margin"][0] < -1e6 and not first["committed"][0]  # the first try did diverge
    assert first["committed"][1:].all() and result.objective_final < 0.9 * result.objective_initial
    assert first["smoothness_max"][2:].max() < 1e6  # what it left behind is forgotten after a step
