"""A Krylov space of a Hessian, the scaling that it makes, and runs of more parameters than a Hessian has room for."""

from __future__ import annotations

import dataclasses

import casadi as ca
import numpy as np
import pytest
from test_newton import curved_problem, plan

from scpo_ctrl import AdaptOptions, ControlProblem, FunctionProblem, Policy, Quadratic, RunStatus, adapt, lqr, scenarios
from scpo_ctrl.adaptation.scaling import Scaling
from scpo_ctrl.adaptation.subspace import krylov
from scpo_ctrl.models import double_integrator


def symmetric(rng: np.random.Generator, d: int) -> np.ndarray:
    """Eigenvalues over six decades, of both signs."""
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return (Q * (rng.choice([-1, 1], d) * 10.0 ** rng.uniform(-4, 2, d))) @ Q.T


@pytest.mark.parametrize("count", [1, 5, 40, 200])
def test_the_space_holds_what_conjugate_gradients_would_find(count):
    rng = np.random.default_rng(count)
    A, b = symmetric(rng, 60), rng.normal(size=60)
    A = A @ A + 0.1 * np.eye(60)
    V, H = krylov(lambda v: A @ v, b, count)
    assert V.shape == (min(count, 60), 60)
    np.testing.assert_allclose(V @ V.T, np.eye(len(V)), atol=1e-12)
    np.testing.assert_allclose(H, V @ A @ V.T, rtol=1e-9, atol=1e-9 * np.abs(H).max())
    x, r = np.zeros(60), b.copy()
    p = r.copy()
    for _ in range(min(count, 5)):  # its recursion loses orthogonality later
        a = (r @ r) / (p @ A @ p)
        x, new = x + a * p, r - a * A @ p
        p, r = new + (new @ new) / (r @ r) * p, new
    if count <= 5:
        np.testing.assert_allclose(V.T @ np.linalg.solve(H, V @ b), x, rtol=1e-6)
    if count >= 60:
        np.testing.assert_allclose(V.T @ np.linalg.solve(H, V @ b), np.linalg.solve(A, b), rtol=1e-6)


def test_a_space_ends_where_products_bring_nothing_new():
    rng = np.random.default_rng(0)
    low = rng.normal(size=(3, 50))
    V, H = krylov(lambda v: low.T @ (low @ v), low[0], 40)
    assert len(V) == 3
    np.testing.assert_allclose(np.linalg.eigvalsh(H), np.linalg.eigvalsh(low @ low.T), rtol=1e-9)
    V, H = krylov(lambda v: v, np.zeros(5), 3)
    assert V.shape == (0, 5) and H.shape == (0, 0)


def test_the_norm_is_the_curvature_and_gradients_are_adjoint_to_steps():
    rng = np.random.default_rng(1)
    A = symmetric(rng, 30)
    V, H = krylov(lambda v: A @ v, rng.normal(size=30), 8)
    scaling = Scaling.from_curvature(H, 0.1, V)
    values, W = np.linalg.eigh(H)
    M = (W * (np.abs(values) + 0.1)) @ W.T
    z, gradient = rng.normal(size=(2, 8)), rng.normal(size=30)
    steps = scaling.to_theta(z)
    np.testing.assert_allclose(np.sum(z**2, axis=1), np.einsum("ki,ij,kj->k", steps @ V.T, M, steps @ V.T), rtol=1e-9)
    np.testing.assert_allclose(scaling.to_scaled(steps), z, rtol=1e-9)
    np.testing.assert_allclose(steps @ gradient, z @ scaling.of_gradients(gradient), rtol=1e-9)
    inside = V.T @ (V @ gradient)
    np.testing.assert_allclose(scaling.to_gradients(scaling.of_gradients(gradient)), inside, atol=1e-9)
    assert scaling.size == 8 and scaling.stretch == pytest.approx((np.abs(values).min() + 0.1) ** -0.5)
    np.testing.assert_array_equal(scaling.basis(np.eye(8)[2:4]), scaling.basis(None)[2:4])


def test_with_all_directions_the_step_is_newtons():
    problem, _ = curved_problem()
    theta = np.array([0.3, -0.4, 0.2])
    steps = []
    for method in ("newton", "newton_krylov"):
        _, planned = plan(problem, theta, method=method, radius=1e3)
        steps.append(planned.scaling.to_theta(planned.z))
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-5)


def test_a_start_where_the_objective_is_level_has_converged():
    theta = ca.SX.sym("theta", 3)
    problem = FunctionProblem.from_casadi(theta, ca.sumsqr(theta), ca.sumsqr(theta) - 1, np.zeros(3))
    result = adapt(problem, AdaptOptions(steps=5, method="newton_krylov"))
    assert result.status is RunStatus.CONVERGED and not result.theta.any()


@pytest.fixture(scope="module")
def wide() -> ControlProblem:
    """A double integrator with more weights than the whole Hessian is taken for."""
    plant = double_integrator()
    backup = lqr(plant, [0.1, 0.1], [10.0])
    starts = scenarios(plant, backup, horizon=20, count=8, level=0.5)
    return ControlProblem(Policy(plant, backup, (100,)), starts, Quadratic(Q=[1.0, 0.1], R=[0.05]))


@pytest.mark.long
def test_many_weights_get_as_far_as_few_for_a_tenth_of_the_rollouts(wide):
    assert wide.theta_dim == 400
    result = adapt(wide, AdaptOptions(steps=12, audit=False))
    assert result.options.method == "newton_krylov" and result.is_safe()
    whole = adapt(wide, AdaptOptions(steps=12, audit=False, method="newton"))
    first = adapt(wide, AdaptOptions(steps=40, audit=False, method="gradient"))
    gained = [run.objective_initial - run.objective_final for run in (result, whole, first)]
    assert gained[0] > 0.97 * max(gained[1:])
    assert result.rollouts < 0.2 * whole.rollouts and result.rollouts < 0.2 * first.rollouts


@pytest.mark.parametrize("directions", [0, 7])
def test_a_run_goes_on_to_the_same_bits(wide, directions):
    options = AdaptOptions(steps=6, audit=False, method="newton_krylov", directions=directions)
    whole = adapt(wide, options)
    half = adapt(wide, dataclasses.replace(options, steps=3))
    assert half.status is RunStatus.FINISHED
    resumed = adapt(wide, options, resume_from=half)
    for name, column in whole.history.columns().items():
        np.testing.assert_array_equal(resumed.history.column(name), column)
