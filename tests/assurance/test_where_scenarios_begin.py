"""What the initial state alone decides, a constraint at t = 0, counts among fresh scenarios where it is violated."""

from __future__ import annotations

import numpy as np
import pytest
from run_folders import make_run

from scpo_ctrl import (
    Constraint,
    ControlProblem,
    MetricOptions,
    Policy,
    Quadratic,
    audit,
    certify,
    falsify,
    load_result,
    lqr,
    scenarios,
    verify,
)
from scpo_ctrl.assurance import Fresh
from scpo_ctrl.models import linear

FENCE = 0.7  # of |x| <= 1: one step later all are far within


def fenced(bound: float) -> ControlProblem:
    """Return x⁺ = 0.3 x + 0.5 u from |x| <= 0.95, held to x <= bound, with scenarios that are all inside."""
    plant = linear([[0.3]], [[0.5]], 0.1, ([-1.0], [1.0], [-1.0], [1.0]))
    backup = lqr(plant, [1.0], [10.0])
    batch = scenarios(plant, backup, horizon=4, initial_states=[[0.5], [-0.5]], level=0.9)
    metrics = MetricOptions(constraints=Constraint(name="fence", expression=plant.x[0], bound=bound))
    return ControlProblem(Policy(plant, backup), batch, Quadratic([1.0], [0.1]), metrics)


@pytest.mark.parametrize("bound", [FENCE, 0.94868])
def test_scenarios_that_begin_beyond_a_constraint_violate(bound):
    problem = fenced(bound)
    theta = problem.theta_initial
    fresh = problem.scenarios.declared.random(0, 2000, 5)
    beyond = fresh.x0[:, 0] > bound
    np.testing.assert_array_equal(Fresh.of(problem, theta, fresh).violates, beyond)
    found = audit(problem, theta, rollouts=2000, seed=5)
    assert not found.passed and found.violations == np.count_nonzero(beyond)
    assert (found.counterexamples.x0[:, 0] > bound).all()
    attack = falsify(problem, theta, budget=2000)
    assert attack.found and "t = 0: fence" in attack.metric


def test_where_all_begin_within_it_nothing_of_the_beginning_is_said():
    problem = fenced(0.96)
    found = audit(problem, problem.theta_initial, rollouts=500, seed=5)
    assert found.passed and "t = 0" not in found.metric.replace("t = 0: u0", "")
    assert certify(problem, problem.theta_initial, epsilon=0.02).passed


def test_a_certificate_says_so_and_verifies(tmp_path):
    fence = [{"name": "fence", "expression": "velocity", "bound": 1.0}]
    starts = {"initial_states": [[1.0, 0.0], [-1.0, 0.5]], "horizon": 8, "level": 0.9}
    run = make_run(tmp_path, {"scenarios": starts, "metrics": {"constraints": fence}, "adapt.steps": 0})
    result = load_result(run)
    certificate = certify(result.problem, result.theta, epsilon=0.02)
    assert certificate.violations > 0 and certificate.worst_metric.startswith("t = 0: fence")
    (run / "certificate.json").write_text(certificate.text())
    assert verify(run).faults == ()
