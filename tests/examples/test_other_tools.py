"""The code in docs/other-tools.md runs as it stands, section by section."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from doc_code import made_by
from fmus import packed, unpacked_fmu
from test_docs import DOCS


def run_section(heading, folder=None):
    """Return what the code under a heading has made."""
    text = (DOCS / "other-tools.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return made_by(section, "other-tools.md", folder)


def test_python_control():
    found = run_section("python-control")
    assert found["result"].is_safe() and found["policy"].parameters(found["result"].theta)["kp"] <= 5.0
    assert found["position"][-1] == pytest.approx(0.3, abs=0.1) and np.abs(found["voltage"]).max() <= 24
    problem, free = found["problem"], found["free"]
    loop = found["sc"].closed_loop(found["policy"], found["result"].theta)
    same = found["control"].input_output_response(loop, found["t"], 0, [0.2, 0.0, 0.0, 0.2])
    np.testing.assert_allclose(free.outputs[0], same.outputs[0], atol=1e-9)
    assert problem.plant.nx == loop.nstates == 4


def test_gymnasium():
    pytest.importorskip("gymnasium")
    found = run_section("Gymnasium")
    assert found["info"]["broken"] == ("velocity <= 1.5 m/s",) and found["terminated"]
    assert found["adapted"].is_safe() and found["adapted"].objective_final < found["adapted"].objective_initial


def test_fmus(tmp_path):
    packed(unpacked_fmu(tmp_path / "folder"), tmp_path / "pendulum.fmu")
    found = run_section("FMUs", tmp_path)
    assert found["better"].is_safe() and found["better"].objective_final < found["better"].objective_initial


def test_mujoco_numbers(capsys):
    pytest.importorskip("mujoco")
    import mujoco_pendulum

    before, after = mujoco_pendulum.main()
    text = (DOCS / "other-tools.md").read_text(encoding="utf-8")
    assert f"| MuJoCo | {before[0]:.3f} | {after[0]:.3f} | {before[1]} before, {after[1]} after |" in text
    said = capsys.readouterr().out
    numbers = re.search(r"cost (\S+) -> (\S+)", said)
    assert numbers and f"| {float(numbers[1]):.3f} | {float(numbers[2]):.3f} | 0 | 0 |" in text


def test_nothing_optional_is_imported_before_it_is_used():
    code = (
        "import sys, scpo_ctrl.interfaces; print([m for m in ('gymnasium', 'mujoco', 'control') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
