"""The code in docs/ runs as it stands."""

import re
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parents[2] / "docs"


def run_code_of(name, monkeypatch, tmp_path):
    """Return what the code of a page has made, run as a reader would."""
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        assert len(block.splitlines()) <= 25
        exec(compile(block, name, "exec"), found)
    return found


def test_the_controller_that_runs_today(monkeypatch, tmp_path):
    found = run_code_of("controllers.md", monkeypatch, tmp_path)
    result, numbers = found["result"], found["numbers"]
    assert result.is_safe() and result.final_audit.passed
    assert list(numbers) == ["kp", "ki", "kd"] and numbers["kp"] != 20.0
    assert result.objective_final < 0.75 * result.objective_initial


def test_your_constraint_and_your_cost(monkeypatch, tmp_path):
    found = run_code_of("your-plant.md", monkeypatch, tmp_path)
    result = found["result"]
    assert result.is_safe() and result.final_audit.passed
    X, U = result.problem.trajectories(result.theta)
    power = np.abs(U[:, :, 0] * X[:, :-1, 1])
    assert 0.8 * 0.3 < power.max() <= 0.3 and np.abs(np.diff(U[:, :, 0], axis=1)).max() <= 0.15
    for name in ("result", "economic", "quadratic"):
        assert found[name].is_safe() and found[name].objective_final < found[name].objective_initial
