"""The reference by IPOPT: its program is the problem's, its derivatives are right, and it is no worse than adapting."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from problems import double_integrator_problem, two_input_problem

from scpo_ctrl import AdaptOptions, ControlProblem, MetricOptions, UserObjective, adapt
from scpo_ctrl.errors import DomainError

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "examples" / "benchmarks"))

import ipopt_reference
import nonlinear_reference


@pytest.mark.parametrize("problem", [double_integrator_problem(), two_input_problem(hidden=(2,))], ids=["one", "two"])
def test_the_program_is_the_problem_and_its_derivatives_are_exact(problem):
    program = ipopt_reference._Program(problem, 10)
    rng = np.random.default_rng(0)
    theta = problem.theta_initial + 1e-3 * rng.normal(size=problem.theta_dim)  # saturation does not act
    weights, h = rng.uniform(size=problem.varies.sum()), 1e-6
    assert float(program.cost(theta)) == pytest.approx(problem.objective(theta), rel=1e-12)
    np.testing.assert_allclose(
        np.array(program.metrics(theta))[:, 0], problem.metrics(theta)[problem.varies], atol=1e-12
    )
    steps = h * np.eye(problem.theta_dim)

    def gradient(point):
        return 0.7 * np.array(program.slope(point)[1])[:, 0] + np.array(program.jacobian(point)[1]).T @ weights

    jacobian = np.stack(
        [np.array(program.metrics(theta + d) - program.metrics(theta - d))[:, 0] / (2 * h) for d in steps], axis=1
    )
    np.testing.assert_allclose(np.array(program.jacobian(theta)[1]), jacobian, atol=1e-6)
    np.testing.assert_allclose(np.array(program.slope(theta)[1])[:, 0], problem.gradient(theta), atol=1e-10)
    hessian = np.stack([(gradient(theta + d) - gradient(theta - d)) / (2 * h) for d in steps], axis=1)
    np.testing.assert_allclose(np.array(program.curvature(theta, 0.7, weights)), np.triu(hessian), atol=1e-5)


def test_a_few_metrics_at_first_lead_to_the_same_optimum(monkeypatch):
    problem = double_integrator_problem(hidden=())
    starts = ipopt_reference.random_starts(problem, 3)
    assert len({tuple(theta) for _, theta in starts}) == 3
    optima = list(ipopt_reference.optimise(problem, starts))
    best = ipopt_reference.best(optima)
    assert best.feasible
    assert best.violation == max(0.0, problem.metrics(best.theta).max())
    assert best.objective == problem.objective(best.theta)
    adapted = adapt(problem, AdaptOptions(steps=60))
    assert best.objective <= adapted.objective_final + 1e-6
    assert nonlinear_reference.share(adapted, best) > 0.9
    monkeypatch.setattr(ipopt_reference, "_FIRST", 1)
    (one,) = ipopt_reference.optimise(problem, starts[:1])
    assert one.objective == pytest.approx(best.objective, rel=1e-6)


def test_what_it_is_not_meant_for_is_refused():
    base = double_integrator_problem(hidden=())
    off = ControlProblem(base.policy, base.scenarios, base._objective, MetricOptions(command=False))
    user = ControlProblem(base.policy, base.scenarios, UserObjective(lambda theta: (0.0, 0 * theta)))
    for problem in (off, user):
        with pytest.raises(DomainError, match="quadratic objective, and metrics that bound the command"):
            list(ipopt_reference.optimise(problem, []))
    unsafe = ipopt_reference.Optimum("far", base.theta_initial, 0.0, 1.0, 3, 0.1, "Infeasible_Problem_Detected")
    with pytest.raises(ValueError, match="no feasible point"):
        ipopt_reference.best([unsafe])
