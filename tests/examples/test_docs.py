"""The code in docs/ runs as it stands."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


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
