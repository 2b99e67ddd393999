"""The reference by IPOPT: its program is the problem's, its derivatives are right, and it is no worse than adapting."""

from __future__ import annotations

import casadi as ca
import ipopt_reference
import nonlinear_reference
import numpy as np
import pytest
from multiple_shooting import MultipleShooting
from problems import double_integrator_problem, scalar_problem, two_input_problem

from scpo_ctrl import AdaptOptions, ControlProblem, MetricOptions, UserObjective, adapt
from scpo_ctrl.errors import DomainError


def with_metrics(problem, **options):
    return ControlProblem(problem.policy, problem.scenarios, problem.objective_data, MetricOptions(**options))


@pytest.mark.parametrize(
    "problem",
    [
        with_metrics(double_integrator_problem(), contraction=0.5),
        with_metrics(two_input_problem(hidden=(2,)), terminal=True, contraction=0.9),
        scalar_problem(),
    ],
    ids=["contraction", "terminal", "no level"],
)
def test_the_program_is_the_problem_and_its_derivatives_are_exact(problem):
    program = MultipleShooting(problem)
    rng = np.random.default_rng(0)
    theta = problem.theta_initial + 1e-3 * rng.normal(size=problem.theta_dim)  # saturation does not act
    values = ca.Function("values", [program.w], [program.objective, program.constraints])
    steps = program.count * program.block

    def cost(point):
        return float(values(point)[0])

    def constraints(point):
        return np.array(values(point)[1])[:, 0]

    w, other = program.start(theta), program.start(problem.theta_initial)
    np.testing.assert_allclose(constraints(w)[:steps], 0, atol=1e-12)
    fall = problem.objective(problem.theta_initial) - problem.objective(theta)
    assert (cost(other) - cost(w)) * problem.objective(problem.theta_initial) == pytest.approx(fall, rel=1e-9)
    rows, g = problem.scenario_metrics.rows, problem.metrics(theta)[problem.of_scenarios]
    g = g.reshape(problem.scenarios.count, -1)
    scale = {"terminal": 1.0, "contraction": 1 / problem.backup.rho}
    ends = [scale[row.kind] * g[:, k] for k, row in enumerate(rows) if row.kind in scale]
    np.testing.assert_allclose(constraints(w)[steps:], np.max(ends, axis=0) if ends else [], atol=1e-12)

    w = w + 1e-2 * rng.normal(size=w.size)  # off the dynamics, where their derivatives show
    weights, h = rng.normal(size=len(constraints(w))), 1e-6
    factor, multipliers = ca.MX.sym("f"), ca.MX.sym("g", weights.size)
    jacobian = ca.Function("J", [program.w], [program._jacobian()])
    gradient = ca.Function("slope", [program.w], [ca.gradient(program.objective, program.w)])
    curvature = ca.Function("H", [program.w, factor, multipliers], [program._hessian(factor, multipliers)])

    def lagrangian(point):
        return 0.7 * np.array(gradient(point))[:, 0] + jacobian(point).sparse().T @ weights

    differences = [(constraints(w + d) - constraints(w - d)) / (2 * h) for d in h * np.eye(w.size)]
    np.testing.assert_allclose(np.array(jacobian(w)), np.stack(differences, axis=1), atol=1e-6)
    differences = [(lagrangian(w + d) - lagrangian(w - d)) / (2 * h) for d in h * np.eye(w.size)]
    np.testing.assert_allclose(np.array(curvature(w, 0.7, weights)), np.triu(np.stack(differences, axis=1)), atol=1e-5)


def test_the_bounds_are_those_of_the_metrics():
    problem = two_input_problem(hidden=(2,), count=2, horizon=3)
    program = MultipleShooting(problem)
    bounds, plant = program.bounds(), problem.plant
    low, high = (bounds[key][program.d :].reshape(-1, plant.nu + plant.nx) for key in ("lbx", "ubx"))
    np.testing.assert_allclose(low, np.tile(np.concatenate([plant.u_min, plant.x_min]), (6, 1)), atol=1e-6)
    np.testing.assert_allclose(high, np.tile(np.concatenate([plant.u_max, plant.x_max]), (6, 1)), atol=1e-6)
    assert (low > np.concatenate([plant.u_min, plant.x_min])).all()
    assert np.isinf([*bounds["lbx"][: program.d], *bounds["ubx"][: program.d]]).all()
    diverging = program.start(np.full(problem.theta_dim, 1e3))
    assert ((diverging >= bounds["lbx"] - 1e-6) & (diverging <= bounds["ubx"] + 1e-6)).all()


def test_every_start_leads_to_the_same_optimum_and_adapting_to_none_below():
    problem = double_integrator_problem(hidden=())
    starts = ipopt_reference.random_starts(problem, 3)
    assert len({tuple(theta) for _, theta in starts}) == 3
    optima = list(ipopt_reference.optimise(problem, starts))
    best = ipopt_reference.best(optima)
    assert best.feasible
    assert {optimum.status for optimum in optima} == {"Solve_Succeeded"}
    np.testing.assert_allclose([optimum.objective for optimum in optima], best.objective, rtol=1e-6)
    assert best.violation == max(0.0, problem.metrics(best.theta).max())
    assert best.objective == problem.objective(best.theta)
    adapted = adapt(problem, AdaptOptions(steps=60, audit=False))
    assert best.objective <= adapted.objective_final + 1e-6
    assert nonlinear_reference.share(adapted, best) > 0.9


def test_the_best_feasible_iterate_counts():
    problem = double_integrator_problem(hidden=())
    program = MultipleShooting(problem)
    judge = ipopt_reference._Judge(program)
    good = problem.theta_initial
    better = adapt(problem, AdaptOptions(steps=10, audit=False)).theta
    unsafe = good - 50.0
    assert problem.metrics(unsafe).max() > 0
    expected = [unsafe, good, better, better, better]
    for theta, kept in zip([unsafe, good, better, good, unsafe], expected, strict=True):
        judge.eval([ca.DM(program.start(theta))])
        np.testing.assert_array_equal(judge.theta, kept)
        assert judge.reached == (problem.objective(kept), max(0.0, problem.metrics(kept).max()))


def test_what_it_is_not_meant_for_is_refused():
    base = double_integrator_problem(hidden=())
    off = ControlProblem(base.policy, base.scenarios, base.objective_data, MetricOptions(command=False))
    user = ControlProblem(base.policy, base.scenarios, UserObjective(lambda theta: (0.0, 0 * theta)))
    for problem in (off, user):
        with pytest.raises(DomainError, match="quadratic objective, and metrics that bound the command"):
            list(ipopt_reference.optimise(problem, []))
    unsafe = ipopt_reference.Optimum("far", base.theta_initial, 0.0, 1.0, 3, 0.1, "Infeasible_Problem_Detected")
    with pytest.raises(ValueError, match="no feasible point"):
        ipopt_reference.best([unsafe])
