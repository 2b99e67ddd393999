"""The code in docs/ runs as it stands."""

import re
from pathlib import Path

import pytest

from scpo_ctrl import load_problem

DOCS = Path(__file__).parents[2] / "docs"
DATA = Path(__file__).parents[2] / "scpo_ctrl" / "data"


@pytest.mark.parametrize("name", ["controllers.md"])
def test_code_in_docs_runs(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        assert len(block.splitlines()) <= 25
        exec(compile(block, name, "exec"), found)  # as a reader would
    result, numbers = found["result"], found["numbers"]
    assert result.is_safe() and result.final_audit.passed
    assert list(numbers) == ["kp", "ki", "kd"] and numbers["kp"] != 20.0
    assert result.objective_final < 0.75 * result.objective_initial


def test_the_problem_file_in_the_docs_is_one(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", (DOCS / "controllers.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "motor.toml").write_text(block, encoding="utf-8")
    read, shipped = (load_problem(path) for path in (tmp_path / "motor.toml", DATA / "motor_pid.toml"))
    assert read.metrics([0.1, 0.0, 0.1]).tobytes() == shipped.metrics([0.1, 0.0, 0.1]).tobytes()
