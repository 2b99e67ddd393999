"""The code in docs/ runs as it stands."""

import re
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import tomli_w
from doc_code import made_by
from problem_files import tables

from scpo_ctrl import load_problem

DOCS = Path(__file__).parents[2] / "docs"
DATA = Path(__file__).parents[2] / "scpo_ctrl" / "data"


@cache
def made(name):
    """Return what the code of a page has made, once."""
    return made_by((DOCS / name).read_text(encoding="utf-8"), name)


def test_the_controller_that_runs_today():
    found = made("controllers.md")
    result, numbers = found["result"], found["numbers"]
    assert result.is_safe() and result.final_audit.passed
    assert list(numbers) == ["kp", "ki", "kd"] and numbers["kp"] != 20.0
    assert result.objective_final < 0.75 * result.objective_initial
    servo = found["faster"]  # a law of one's own
    assert servo.final_audit.passed and servo.objective_final < 0.65 * servo.objective_initial


def test_the_problem_file_in_the_docs_is_one(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", (DOCS / "controllers.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "motor.toml").write_text(block, encoding="utf-8")
    read, shipped = (load_problem(path) for path in (tmp_path / "motor.toml", DATA / "motor_pid.toml"))
    assert read.metrics([0.1, 0.0, 0.1]).tobytes() == shipped.metrics([0.1, 0.0, 0.1]).tobytes()


def test_your_constraint_and_your_cost():
    found = made("your-plant.md")
    result = found["result"]
    assert result.is_safe() and result.final_audit.passed
    X, U = result.problem.trajectories(result.theta)
    power = np.abs(U[:, :, 0] * X[:, :-1, 1])
    assert 0.8 * 0.3 < power.max() <= 0.3 and np.abs(np.diff(U[:, :, 0], axis=1)).max() <= 0.15
    for name in ("result", "economic", "quadratic"):
        assert found[name].is_safe() and found[name].objective_final < found[name].objective_initial
    quick, servo = found["quick"], found["servo"]
    assert quick.is_safe() and quick.final_audit.passed and quick.objective_final < 0.5 * quick.objective_initial
    X, U = quick.problem.trajectories(quick.theta)
    after = quick.problem.scenarios.p[:, servo.plant.p_labels.index("position reference after")]
    assert ((X[:, :, 0] - after[:, None]) * after[:, None] <= 0.1 * (after[:, None] ** 2 + 0.05**2)).all()
    assert np.abs(np.diff(U[:, :, 0], axis=1)).max() <= 6.0
    assert np.abs(X[:, 120:, 0] - after[:, None]).max() <= 0.25


def test_the_expressions_of_a_problem_file_are_those_of_your_plant(tmp_path):
    text = (DOCS / "problem-file.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "metrics.constraints" in block)
    given = tables({"policy.hidden": [6], "scenarios": {"horizon": 30, "count": 16, "level": 0.35}})
    (tmp_path / "p.toml").write_text(tomli_w.dumps(given | tomllib.loads(block)), encoding="utf-8")
    read, economic = load_problem(tmp_path / "p.toml"), made("your-plant.md")["economic"]
    assert sorted(read.metrics(economic.theta)) == sorted(economic.problem.metrics(economic.theta))  # in another order
    assert read.objective(economic.theta) == economic.objective_final
