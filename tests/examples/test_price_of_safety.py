"""What audited runs keep of IPOPT's gain: IPOPT's program is that of S with its back-off, and its answer keeps it."""

from __future__ import annotations

import casadi as ca
import numpy as np
import price_of_safety
import pytest
from beyond_the_scenarios import buck
from multiple_shooting import MultipleShooting
from problems import double_integrator_problem, two_input_problem

from scpo_ctrl import AdaptOptions, ControlProblem, MetricOptions, adapt
from scpo_ctrl.problem.guarded import GuardedProblem


def guarded(problem, **metrics):
    relaxed = ControlProblem(
        problem.policy, problem.scenarios, problem.objective_data, MetricOptions(stability=False, **metrics)
    )
    return GuardedProblem(relaxed, problem.scenarios.declared.edge(6, 3), 0.02)


@pytest.mark.parametrize(
    "problem",
    [
        guarded(double_integrator_problem(), contraction=0.5),
        guarded(two_input_problem(hidden=(2,)), terminal=True, contraction=0.9),
        guarded(two_input_problem(hidden=(2,)), terminal=True),
    ],
    ids=["contraction", "both", "terminal"],
)
def test_the_program_keeps_the_back_off_of_every_metric(problem):
    program, inner = MultipleShooting(problem), problem.problem
    theta = problem.theta_initial + 1e-3 * np.random.default_rng(0).normal(size=problem.theta_dim)
    whole, plant, N = program.problem, inner.plant, inner.scenarios.horizon
    assert whole.scenarios.count == inner.scenarios.count + 6
    X, U = whole.trajectories(theta)
    steps = np.concatenate([U, X[:, 1:]], axis=2)
    w = np.concatenate([theta, steps.ravel()])
    bounds = program.bounds()
    values = ca.Function("values", [program.w], [program.objective, program.constraints])(w)
    scale = np.concatenate([plant.u_max - plant.u_min, plant.x_max - plant.x_min]) / 2
    scale[~np.isfinite(scale)] = 1.0
    excess = [(w - bounds["ubx"])[program.d :], (bounds["lbx"] - w)[program.d :]]
    worst = np.max([part.reshape(-1, N, scale.size) / scale for part in excess], axis=(0, 2, 3))
    ends = (np.array(values[1])[:, 0] - bounds["ubg"])[steps.size :]
    if ends.size:
        worst = np.maximum(worst, ends.reshape(-1, whole.scenarios.count).max(axis=0))
    rows = inner.rows_per_scenario
    g = problem.evaluate(theta)[1].reshape(-1, rows)[:, inner.scenario_metrics.varies]
    units = whole.metric_units[:rows][inner.scenario_metrics.varies]
    assert units.size == g.shape[1]
    np.testing.assert_allclose(worst, g.max(axis=1), atol=2e-5)  # by the room that IPOPT's bounds leave for rounding
    start = np.concatenate([problem.theta_initial, np.concatenate(_backup(whole), axis=2).ravel()])
    falls = float(ca.Function("cost", [program.w], [program.objective])(start) - values[0])
    fall = inner.objective(problem.theta_initial) - inner.objective(theta)
    assert falls * inner.objective(problem.theta_initial) == pytest.approx(fall, rel=1e-7)


def _backup(whole):
    X, U = whole.trajectories(whole.theta_initial)
    return U, X[:, 1:]


def test_ipopt_reaches_no_less_than_the_run_and_keeps_all_of_s():
    problem = double_integrator_problem(hidden=())
    options = AdaptOptions(steps=30, guards=8, audit_rollouts=500)
    result = adapt(problem, options)
    optimum = price_of_safety.solve(result, ("adapted", result.theta), 60.0, guards=1)  # it breaks some of the others
    assert optimum.violation <= price_of_safety.EATEN * options.back_off
    assert optimum.objective <= result.objective_final + 1e-9
    cells = price_of_safety.row("small", result, optimum, 2000)
    assert cells[1] == f"4, {result.guards.count}"
    assert 0.8 < float(cells[5].rstrip("%")) / 100 <= 1.02
    assert cells[6] == "0, 0"


def test_the_best_keeps_its_back_off_where_one_does():
    def optimum(objective, violation):
        return price_of_safety.Optimum("here", np.zeros(1), objective, violation, 1, 1.0, "")

    kept, other, lower = optimum(2.0, 1e-4), optimum(3.0, 0.0), optimum(1.0, 0.1)
    assert price_of_safety.best([other, lower, kept], 0.01) is kept
    assert price_of_safety.best([lower, optimum(0.5, 0.2)], 0.01) is lower


def test_local_stability_is_left_out_and_nothing_else():
    problem = buck()
    relaxed = price_of_safety.without_stability(problem)
    np.testing.assert_array_equal(
        relaxed.metrics(problem.theta_initial), problem.metrics(problem.theta_initial)[problem.of_scenarios]
    )
    assert relaxed.objective(problem.theta_initial) == problem.objective(problem.theta_initial)
