"""The controllers of examples/controllers.py, a few steps of each."""

import controllers
import numpy as np
import pytest


@pytest.mark.parametrize("name", controllers.LOOPS)
def test_a_textbook_controller_gets_better_and_stays_safe(name, monkeypatch, capsys):
    monkeypatch.setattr(controllers, "FRESH", 2000)
    outcome = controllers.run(controllers.LOOPS[name](), steps=6, fresh=2000)
    assert outcome.end.violations == 0 and outcome.result.is_safe() and outcome.result.final_audit.passed
    assert outcome.end.objective < 0.95 * outcome.start.objective
    assert "passed" in controllers.row(name, outcome)
    printed = controllers.numbers(outcome.result)
    assert printed.count("->") == outcome.result.theta.size
    np.testing.assert_array_equal(outcome.result.theta_initial, 0)


def test_the_script_prints_its_table(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(controllers, "run", lambda problem, steps: controllers.Outcome(*fixed(problem)))
    controllers.main(["--only", "converter", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert "200 control vectors" in lines[4] and lines[4].endswith(" 0 failures")
    assert len(lines) == 5 and lines[2].count("|") == lines[0].count("|") and "kp 0.001 -> 0.001" in lines[3]


def fixed(problem):
    result = controllers.adapt(problem, controllers.AdaptOptions(steps=0, audit_rollouts=500))
    fresh = controllers.Fresh.drawn(problem, result.theta, 0, 500, 1)
    return result, fresh, fresh
