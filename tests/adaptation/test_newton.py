"""Newton's plan: gradient and curvature of the barrier as CasADi has them, however close a bound is; and its merit."""

import casadi as ca
import numpy as np
import pytest
from problems import double_integrator_problem

from scpo_ctrl import AdaptOptions, FunctionProblem
from scpo_ctrl.adaptation.newton import Newton


def curved_problem():
    """Two curved metrics around an objective with a saddle, and CasADi's barrier of them as a function of θ and μ."""
    theta, mu = ca.MX.sym("theta", 3), ca.MX.sym("mu")
    objective = ca.sin(theta[0]) * theta[1] + theta[2] ** 4 + ca.exp(theta[1] * theta[2])
    metrics = ca.vertcat(theta[0] ** 2 + ca.cos(theta[1]) + theta[2] - 1.5, theta[0] - theta[1] * theta[2] - 2)
    problem = FunctionProblem.from_casadi(theta, objective, metrics, np.zeros(3))
    merit = objective - mu * ca.sum1(ca.log(-metrics))
    H, gradient = ca.hessian(merit, theta)
    return problem, ca.Function("merit", [theta, mu], [merit, gradient, H])


def plan(problem, theta, **options):
    options = AdaptOptions(**({"method": "newton"} | options))
    method = Newton.start(options, problem.objective(problem.theta_initial))
    return method, method.plan(problem, theta, problem.evaluate(theta)[1])


@pytest.mark.parametrize("slack", [0.3, 1e-3, 1e-6, 1e-8])
def test_a_plan_has_the_gradient_and_the_curvature_of_the_barrier(slack):
    problem, merit = curved_problem()
    theta = np.array([0.3, -0.4, 0.0])
    theta[2] = 1.5 - slack - theta[0] ** 2 - np.cos(theta[1])  # so far the first metric is from zero
    method, planned = plan(problem, theta)
    value, gradient, H = (np.array(part) for part in merit(theta, method.barrier * method.size))
    values, vectors = np.linalg.eigh(H)
    M = (vectors * (np.abs(values) + method.damping * method.size)) @ vectors.T
    inverse = np.linalg.inv(planned.scaling.S)
    np.testing.assert_allclose(planned.gradient, gradient[:, 0], rtol=1e-6)
    np.testing.assert_allclose(inverse @ inverse * planned.curvature, M, rtol=1e-4, atol=1e-4 * np.abs(M).max())
    np.testing.assert_allclose(method.merit(problem.objective(theta), problem.metrics(theta)), value[0, 0], rtol=1e-12)


def test_gauss_newton_has_the_same_barrier():
    """Of a closed-loop cost the two differ by curvature that Gauss-Newton leaves out, not by the gradient."""
    problem = double_integrator_problem()
    theta = problem.theta_initial
    _, newton = plan(problem, theta)
    options = AdaptOptions(method="gauss_newton")
    other = Newton.start(options, problem.objective(theta)).plan(problem, theta, problem.evaluate(theta)[1])
    np.testing.assert_allclose(newton.gradient, other.gradient, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_the_merit_adds_a_logarithm_for_each_metric(count):
    rng = np.random.default_rng(count)
    method = Newton.start(AdaptOptions(method="newton"), 2.0)
    g = -(10.0 ** rng.uniform(-8, 29, count))
    expected = 5.0 - method.barrier * 2.0 * np.log(-g).sum()
    assert method.merit(5.0, g) == pytest.approx(expected, rel=1e-13)
    if count:
        g[-1] = 1e-300
        assert method.merit(5.0, g) == np.inf
        g[-1] = np.nan
        assert method.merit(5.0, g) == np.inf
