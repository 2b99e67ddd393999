"""The example that cuts a board's power: the policy that it had is the one that it goes on with."""

import sys
from pathlib import Path

import numpy as np
from exports import require

from scpo_ctrl.device.emulator import emulator_of

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "device"))

import walk


def test_a_board_goes_on_with_the_policy_that_it_had(tmp_path, monkeypatch):
    require(walk.TARGET.compiler, emulator_of(walk.TARGET))
    monkeypatch.setattr(walk, "PIECES", 150)
    problem = walk.make_problem()
    log = walk.drive(problem, walk.make_program(problem, tmp_path), 16)
    assert np.array_equal(log.before, log.after) and not np.array_equal(log.before, problem.theta_initial)
    assert log.violations == 0 and log.objective[-1] < log.objective[log.cut] < log.objective[0]
    walk.draw(log, problem.plant.dt).savefig(tmp_path / "walk.png")
