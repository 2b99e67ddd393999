"""What audited runs keep of IPOPT's gain: IPOPT has fewer constraints; shares are of the numbers beside them."""

from __future__ import annotations

import numpy as np
import price_of_safety
from beyond_the_scenarios import buck
from problems import double_integrator_problem

from scpo_ctrl import AdaptOptions, adapt


def test_ipopt_reaches_no_less_than_the_run():
    problem = double_integrator_problem(hidden=())
    result = adapt(problem, AdaptOptions(steps=30, guards=8, audit_rollouts=500))
    (optimum,) = price_of_safety.optimise(price_of_safety.relaxed(problem), [("adapted", result.theta)], seconds=60.0)
    assert optimum.feasible and optimum.objective <= result.objective_final + 1e-9
    cells = price_of_safety.row("small", result, optimum, 2000)
    assert cells[1] == f"4, {result.guards.count}"
    for values, kept in ((cells[2], cells[3]), (cells[4], cells[5])):
        backup, adapted, reference = map(float, values.split(", "))
        assert abs(float(kept.rstrip("%")) / 100 - (backup - adapted) / (backup - reference)) < 2e-3
    assert 0.3 < float(cells[3].rstrip("%")) / 100 <= 1
    assert cells[6].startswith("0.00%, ")


def test_local_stability_is_left_out_and_nothing_else():
    problem = buck()
    relaxed = price_of_safety.relaxed(problem)
    np.testing.assert_array_equal(
        relaxed.metrics(problem.theta_initial), problem.metrics(problem.theta_initial)[problem.of_scenarios]
    )
    assert relaxed.objective(problem.theta_initial) == problem.objective(problem.theta_initial)
