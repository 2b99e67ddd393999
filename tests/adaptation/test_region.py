"""The local safe region: (E2)-(E4) on functions whose smoothness is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import double_integrator_problem

from scpo_ctrl import AdaptOptions, FunctionProblem, UserObjective, adapt
from scpo_ctrl.adaptation.region import directions, first_smoothness, sample_region
from scpo_ctrl.adaptation.scaling import Scaling
from scpo_ctrl.errors import EvaluationError
from scpo_ctrl.problem import parts as parts_module

EVERYTHING = 1e9  # a reach at which no metric is screened out


def smooth_problem(seed, d=6, m=5):
    """Return metrics 0.5 θ'Aθ + sin(b'θ) + c with exact smoothness constants and gradients."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(m, d, d))
    A = (A + A.transpose(0, 2, 1)) / 2
    b, c = rng.normal(size=(m, d)), -rng.uniform(1, 2, m)
    L = np.abs(np.linalg.eigvalsh(A)).max(axis=1) + np.sum(b**2, axis=1)

    def metrics(thetas):
        return 0.5 * np.einsum("ki,mij,kj->km", thetas, A, thetas) + np.sin(thetas @ b.T) + c

    def gradients(theta):
        return A @ theta + np.cos(b @ theta)[:, None] * b

    problem = FunctionProblem(np.zeros(d), metrics, UserObjective(lambda theta: (0.0, np.zeros(d))))
    return problem, gradients, L, rng


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([0, 3]), st.booleans(), st.floats(1e-4, 0.5))
def test_error_of_sampled_gradients_and_upper_bound_hold(seed, count, scaled, sigma):
    """In a scaled basis too: L and the radius are then measured in its norm (‖S‖² L bounds the scaled constants)."""
    problem, gradients, L, rng = smooth_problem(seed)
    theta, step = 0.1 * rng.normal(size=6), rng.normal(size=6)
    options = AdaptOptions(sampling_radius=sigma, radius=1.0, metric_error=1e-14)
    root = rng.normal(size=(6, 6))
    scaling = Scaling.from_preconditioner(root @ root.T + np.eye(6), 6) if scaled else Scaling.none(6)
    L = L * np.linalg.norm(scaling.basis(None), 2) ** 2
    z = scaling.to_scaled(step)
    Q = directions(z, np.zeros((0, 6)), count, rng)
    D = scaling.basis(Q)
    g = problem.metrics(theta)
    region = sample_region(problem, theta, g, L, D, EVERYTHING, options)
    np.testing.assert_array_equal(region.rows, np.arange(g.size))
    np.testing.assert_allclose(region.norms, np.linalg.norm(region.G, axis=1), rtol=1e-12)
    cone = region.cone(z if Q is None else Q @ z, L)
    np.testing.assert_allclose(region.step(cone.u), step, atol=1e-9)  # the step is never lost
    true = gradients(theta) @ D.T
    assert (np.linalg.norm(cone.G - true, axis=1) <= cone.e).all()  # (E3)
    alphas = rng.normal(size=(50, cone.u.size))
    alphas *= (rng.uniform(size=50) / np.linalg.norm(alphas, axis=1))[:, None]
    for alpha in alphas:  # (E4); c is at most 0, so only metrics below 0 are covered by it
        reached = problem.metrics(theta + region.step(alpha))
        assert (reached <= np.maximum(cone.bound(alpha), cone.bound(alpha) - cone.c + g) + 1e-12).all()
        shown = region.shown_smoothness(alpha, reached)
        assert (shown <= L * (1 + 1e-9)).all()
        again = region.cone(step, shown)
        assert (reached <= again.bound(alpha) + g - cone.c + 1e-9).all()  # the smallest L that would have done


def test_sampling_error_with_noisy_metrics_stays_inside_its_bound():
    problem, gradients, L, rng = smooth_problem(3)
    noise, theta = 1e-6, np.zeros(6)
    noisy = FunctionProblem(
        theta, lambda thetas: problem.metrics(thetas) + rng.uniform(-noise, noise, (len(thetas), 5)), problem._objective
    )
    for sigma in (1e-5, 2 * np.sqrt(noise / L.max()), 0.3):
        options = AdaptOptions(sampling_radius=sigma, metric_error=noise)
        region = sample_region(noisy, theta, noisy.metrics(theta), L, np.eye(6), EVERYTHING, options)
        cone = region.cone(np.ones(6), L)
        assert (np.linalg.norm(cone.G - gradients(theta), axis=1) <= cone.e).all()


def test_directions_are_orthonormal_and_never_lose_the_step():
    rng = np.random.default_rng(0)
    step, normals = rng.normal(size=40), rng.normal(size=(10, 40))
    D = directions(step, normals, 12, rng)
    np.testing.assert_allclose(D @ D.T, np.eye(12), atol=1e-12)
    np.testing.assert_allclose(D.T @ (D @ step), step, atol=1e-12)
    kept = normals[:5]  # half of the directions at the most, so that random ones remain
    np.testing.assert_allclose(kept @ D.T @ D, kept, atol=1e-10)
    assert directions(step, normals, 0, rng) is None
    assert directions(step, normals, 40, rng) is None


def test_first_smoothness_of_quadratics_is_a_multiple_of_their_curvature():
    d, curvature = 4, np.array([0.0, 2.0, 50.0])
    problem = FunctionProblem(
        np.zeros(d), lambda t: curvature / 2 * np.sum(t**2, axis=1)[:, None] - 1, UserObjective(lambda t: (0.0, t))
    )
    options = AdaptOptions(growth=2.0)
    found = first_smoothness(problem, np.zeros(d), -np.ones(3), Scaling.none(d), options, np.random.default_rng(0))
    np.testing.assert_allclose(found.L, np.maximum(2.0 * curvature, 1e-9), rtol=1e-9)
    np.testing.assert_allclose(found.slopes, 0, atol=1e-9)  # at the vertex of a parabola
    assert found.evaluations > 0
    given = first_smoothness(problem, np.zeros(d), -np.ones(3), Scaling.none(d), AdaptOptions(smoothness=7.0), None)
    assert (given.L == 7).all() and given.evaluations == 0


@pytest.mark.parametrize("beyond", [1e4, 1e20])
def test_a_probe_that_diverges_says_nothing_of_curvature(beyond):
    problem = FunctionProblem(
        np.zeros(2), lambda t: np.where(t[:, :1] > 0.05, beyond, t[:, :1] ** 2 - 1), UserObjective(lambda t: (0.0, t))
    )
    options = AdaptOptions(growth=2.0)
    found = first_smoothness(problem, np.zeros(2), -np.ones(1), Scaling.none(2), options, np.random.default_rng(0))
    assert 0 < found.L[0] <= 4.0 * (1 + 1e-9)  # of the probes along the other parameter, in which t₀ moves by less
    assert 0 <= found.slopes[0] <= 1e-9


def test_a_first_probe_that_diverges_to_a_finite_number_does_not_stall_a_run():
    """An unstable loop grows as λ^N: 1e20 a tenth of the radius away, which says nothing of the curvature here."""

    def growing(thetas):
        return 1e-3 * (1 + 20 * thetas[:, 1:2] ** 2) ** 300 + thetas[:, :1] - 1

    target = np.array([2.0, 0.0])
    distance = UserObjective(lambda theta: (float((theta - target) @ (theta - target)), 2 * (theta - target)))
    result = adapt(FunctionProblem(np.zeros(2), growing, distance), AdaptOptions(steps=20))
    assert result.is_safe()
    assert result.theta[0] > 0.5  # and not 0: half of the way to the bound


def test_a_metric_that_is_not_finite_near_a_safe_policy_is_an_error():
    problem = FunctionProblem(
        np.zeros(2), lambda t: np.where(t[:, :1] > 0, np.nan, -1.0), UserObjective(lambda t: (0.0, t))
    )
    with pytest.raises(EvaluationError, match="sampling_radius"):
        sample_region(problem, np.zeros(2), -np.ones(1), np.zeros(1), np.eye(2), 1.0, AdaptOptions())


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_metrics_that_are_screened_out_hold_within_reach(seed, reach):
    problem, _, L, rng = smooth_problem(seed)
    theta, options = 0.1 * rng.normal(size=6), AdaptOptions(sampling_radius=1e-3)
    g = problem.metrics(theta)
    region = sample_region(problem, theta, g, L, np.eye(6), reach, options)
    whole = sample_region(problem, theta, g, L, np.eye(6), EVERYTHING, options)
    np.testing.assert_array_equal(region.G, whole.G[region.rows])
    out = np.setdiff1d(np.flatnonzero(g < 0), region.rows)
    steps = rng.normal(size=(100, 6))
    steps *= reach * rng.uniform(size=(100, 1)) / np.linalg.norm(steps, axis=1, keepdims=True)
    assert (problem.metrics(theta + steps)[:, out] <= 0).all()


def test_metrics_that_only_their_error_brings_to_zero_are_kept():
    """ε = 1e-3, and √p 2ε/σ of it in each unit of length: 5e-3 within a reach of 0.5, of metrics that do not move."""
    margins = np.array([4.9e-3, 5.1e-3])
    problem = FunctionProblem(np.zeros(4), lambda t: -margins + 0 * t[:, :1], UserObjective(lambda t: (0.0, t)))
    options = AdaptOptions(sampling_radius=0.5, metric_error=1e-3)
    region = sample_region(problem, np.zeros(4), -margins, np.zeros(2), np.eye(4), 0.5, options)
    np.testing.assert_array_equal(region.rows, [0])
    np.testing.assert_allclose(region.cone(np.ones(4), np.zeros(1)).e, 8e-3)


def test_parts_of_the_scenarios_give_the_region_of_the_whole(monkeypatch):
    problem = double_integrator_problem((3,), count=20)
    theta, g = problem.theta_initial, problem.metrics(problem.theta_initial)
    L, options = np.full(g.size, 5.0), AdaptOptions()
    D = Scaling.from_preconditioner(np.linspace(1, 3, theta.size), theta.size).basis(None)
    for gradients in ("sampled", "exact"):
        options = AdaptOptions(gradients=gradients)
        whole = sample_region(problem, theta, g, L, D, 0.5, options)
        with monkeypatch.context() as patch:
            patch.setattr(parts_module, "NUMBERS", 3 * len(D) * g.size // 20)
            assert len(problem.blocks(len(D))) == 7 + 1  # of the scenarios, and local stability
            parts = sample_region(problem, theta, g, L, D, 0.5, options)
        for name in ("rows", "c", "G", "norms", "error"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_exact_gradients_are_the_limit_of_sampled_ones():
    problem = double_integrator_problem((3,))
    theta = problem.theta_initial + 0.01
    g = problem.evaluate(theta)[1]
    arguments = problem, theta, g, np.ones(g.size), np.eye(theta.size), EVERYTHING
    exact = sample_region(*arguments, AdaptOptions(gradients="exact"))
    sampled = sample_region(*arguments, AdaptOptions(sampling_radius=1e-6))
    np.testing.assert_allclose(exact.G, sampled.G, atol=1e-4)
    assert (exact.cone(np.ones(theta.size), np.ones(exact.c.size)).e == 0).all()
    assert set(exact.rows) == set(np.flatnonzero(problem.varies))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_scaling_is_its_own_inverse_and_its_norm_is_the_curvature(seed):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(5, 5))
    H, step = A + A.T, rng.normal(size=5)
    scaling = Scaling.from_curvature(H, 0.1)
    values, vectors = np.linalg.eigh(H)
    M = (vectors * (np.abs(values) + 0.1)) @ vectors.T
    np.testing.assert_allclose(np.sum(scaling.to_scaled(step) ** 2), step @ M @ step, rtol=1e-9)
    np.testing.assert_allclose(scaling.to_theta(scaling.to_scaled(step)), step, rtol=1e-9, atol=1e-9)
