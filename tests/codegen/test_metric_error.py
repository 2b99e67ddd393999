"""ε of an exported adaptation: how far metrics in float are from those in double, on policies that were not seen."""

import numpy as np
import pytest
from device_problems import r3_problem

import scpo_ctrl as sc
from scpo_ctrl.codegen.device import device_code
from scpo_ctrl.codegen.expressions import read
from scpo_ctrl.codegen.metric_error import FACTOR, LEAST, _metrics
from scpo_ctrl.models import cart_pole


def cart_pole_problem():
    plant = cart_pole()
    backup = sc.lqr(plant, [1.0, 1.0, 10.0, 1.0], [1.0])
    batch = sc.scenarios(plant, backup, horizon=20, count=6, level=0.6, parameters={"pole_mass": (0.05, 0.15)})
    return sc.ControlProblem(
        sc.Policy(plant, backup, hidden=(6,)),
        batch,
        sc.Quadratic(np.ones(4), np.ones(1)),
        sc.MetricOptions(contraction=0.9, terminal=True, stability=False),
    )


def step_of(plant):
    graph, (after,) = read("plant", plant.function)
    return graph, after


PROBLEMS = {"R3": r3_problem, "R4": cart_pole_problem}


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_covers_policies_that_were_not_seen(name):
    problem = PROBLEMS[name]()
    code, policy = device_code(problem, "float"), problem.policy
    graph, after = step_of(policy.plant)
    rng = np.random.default_rng(123)
    sizes = np.repeat([0.01, 0.05, 0.2, 0.5], 12)
    thetas = problem.theta_initial + sizes[:, None] * rng.normal(size=(sizes.size, problem.theta_dim))
    thetas = thetas.astype(np.float32).astype(float)
    exact, rounded = (_metrics(policy, code, graph, after, thetas, n) for n in (np.float64, np.float32))
    safe = np.nanmax(exact, axis=0) <= 0
    largest = np.abs(exact - rounded)[(np.abs(exact) <= 0.1) & safe].max(initial=0.0)
    assert 0 < largest <= code.epsilon
    assert code.epsilon <= 2 * FACTOR * max(LEAST["float"], largest)  # and is no waste


@pytest.mark.parametrize("name", PROBLEMS)
def test_its_metrics_are_those_of_the_problem(name):
    problem = PROBLEMS[name]()
    code, policy = device_code(problem, "float"), problem.policy
    graph, after = step_of(policy.plant)
    theta = problem.theta_initial + 0.05 * np.random.default_rng(5).normal(size=problem.theta_dim)
    found = _metrics(policy, code, graph, after, theta, np.float64)
    metrics = problem.rollouts.evaluate(theta[None])[0][0].reshape(problem.scenarios.count, -1)  # in parts of bounds
    bounds = [
        k for k, row in enumerate(problem.scenario_metrics.rows) if row.kind in ("state", "command") and not row.fixed
    ]
    boxes = found[: len(bounds)]
    assert np.allclose(np.sort(boxes, axis=0), np.sort(metrics[:, bounds].T, axis=0), rtol=0, atol=1e-9)


def test_double_has_the_least_one():
    assert device_code(r3_problem(), "double").epsilon == LEAST["double"]
