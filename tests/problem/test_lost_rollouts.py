"""Rollouts that are lost break constraints, compiled and not."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl.engine import rollout
from scpo_ctrl.models import Plant


@pytest.mark.parametrize("compiler", [True, False])
def test_a_lost_rollout_breaks_a_constraint_that_has_a_maximum(monkeypatch, compiler):
    """CasADi's fmax takes the number where one of two is none, and no bound of the state is a metric here."""
    if not compiler:
        monkeypatch.setattr(rollout, "find_compiler", lambda: None)
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    box = {"x_min": [-2.0, -2.0], "x_max": [2.0, 2.0], "u_min": [-1.0], "u_max": [1.0]}
    f = ca.vertcat(0.9 * x[0] + 0.1 * u, 0.5 * x[1] + 0.01 * (ca.log(x[0] + 1.5) - np.log(1.5)))
    plant = Plant(name="log", x=x, u=u, f=f, dt=0.1, **box)
    kept = sc.Constraint(name="kept", expression=ca.fmax(x[1], x[0] - 10.0), bound=2.0)
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=3, count=2, level=0.2)
    options = sc.MetricOptions(constraints=[kept], path=False, stability=False)
    given = sc.ControlProblem(sc.Policy(plant, backup, (2,)), batch, sc.Quadratic([1.0, 0.1], [0.05]), options)
    far = sc.scenarios(given.plant, given.backup, horizon=3, initial_states=[[-1.8, 0.1]], neighbourhood=0.0)
    with np.errstate(invalid="ignore"):
        _, rows = given.evaluate_scenarios(given.theta_initial, far)
    assert not (rows.max() <= 0)
