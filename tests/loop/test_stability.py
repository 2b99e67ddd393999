"""Local stability at rest (E11) against eigenvalues, both ways, and in what runs make of it."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import control_problem, double_integrator_problem, two_input_problem

from scpo_ctrl import (
    AdaptOptions,
    ControlProblem,
    MetricOptions,
    Policy,
    Quadratic,
    adapt,
    lqr,
    scenarios,
)
from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.loop.stability import FLOOR, GAMMA, LocalStability, vertices
from scpo_ctrl.models import Plant, cart_pole, double_integrator, linear


def metrics_of(policy: Policy, ranges=None) -> LocalStability:
    return LocalStability(policy, np.zeros((0, 2)) if ranges is None else np.array(ranges))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), nx=st.integers(1, 5))
def test_a_metric_that_holds_means_stable_and_one_that_fails_by_much_unstable(seed, nx):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(nx, nx))
    A *= rng.uniform(0.3, 1.1) / np.abs(np.linalg.eigvals(A)).max()
    box = np.full(nx, 2.0)
    plant = linear(A, rng.normal(size=(nx, 1)), 0.1, (-box, box, [-1.0], [1.0]))
    backup = lqr(plant, np.ones(nx), [1.0])
    policy = Policy(plant, backup, (3,))
    stability = metrics_of(policy)
    thetas = policy.theta_initial(0) + rng.normal(size=(6, policy.theta_dim)) * rng.choice([0.01, 0.1, 1.0], (6, 1))
    values = stability.metrics(thetas)[:, 0]
    C = np.linalg.cholesky(backup.P).T
    for theta, value in zip(thetas, values, strict=True):
        _, (derivative,) = stability.equilibria(theta)
        power = np.linalg.matrix_power(C @ derivative @ np.linalg.inv(C), stability.power)
        trace = np.sum(power**2)
        assert value == pytest.approx(np.log((trace + FLOOR) / (GAMMA + FLOOR)) / np.log(4), rel=1e-7, abs=1e-9)
        radius = stability.spectral_radii(theta)[0]
        if value <= 0:  # ‖A^M‖² ≤ γ in the norm of P
            assert radius <= GAMMA ** (1 / (2 * stability.power)) * (1 + 1e-9) and radius < 1
        if radius >= 1:
            assert value > 0
    assert stability.metrics(policy.theta_initial(0)[None])[0, 0] <= -0.99  # the backup


@pytest.mark.parametrize("make", [lambda: double_integrator_problem((3,)), lambda: two_input_problem(3, (2,))])
def test_derivatives_agree_with_differences(make):
    problem, rng = make(), np.random.default_rng(0)
    stability = problem.stability
    theta = problem.theta_initial + 0.05 * rng.normal(size=problem.theta_dim)
    D = rng.normal(size=(4, theta.size))
    step = 1e-6
    slopes = (stability.metrics(theta + step * D) - stability.metrics(theta - step * D)) / (2 * step)
    np.testing.assert_allclose(stability.jacobian(theta, D), slopes, rtol=1e-5, atol=1e-7)
    weights, curvatures = rng.uniform(size=(2, stability.count))
    g = stability.metrics(theta[None])[0]
    expected = stability.jacobian(theta) @ (weights + curvatures * g)
    np.testing.assert_allclose(stability.gradients(theta[None], weights, curvatures)[0], expected, rtol=1e-10)


def test_each_vertex_has_its_own_equilibrium():
    ranges = np.array([[0.5, 1.5]])
    policy = Policy(double_integrator(), lqr(double_integrator(), [0.1, 0.1], [10.0]), (2,))
    stability = metrics_of(policy, ranges)
    np.testing.assert_array_equal(stability.parameters, [[0.5], [1.0], [1.5]])
    radii = stability.spectral_radii(policy.theta_initial(0))
    for mass, radius in zip((0.5, 1.0, 1.5), radii, strict=True):
        A, B = np.array([[1, 0.1], [0, 1]]), np.array([[0.005], [0.1]]) / mass
        assert radius == pytest.approx(np.abs(np.linalg.eigvals(A - B @ policy.backup.K)).max(), abs=1e-12)
    assert "mass = 1.5 kg" in stability.label(2)
    np.testing.assert_array_equal(vertices(np.array([[0.0, 1.0], [2.0, 2.0], [3.0, 4.0]])).sum(axis=0), [2, 8, 14])


def test_a_backup_that_is_unstable_for_a_vertex_is_an_unsafe_start():
    plant = double_integrator()
    backup = lqr(plant, [10.0, 10.0], [0.01])
    batch = scenarios(plant, backup, horizon=5, count=2, level=0.1, parameters={"mass": (0.05, 1.0)})
    with pytest.raises(UnsafeStartError, match=r"not stable at rest for mass = 0.05 kg.*narrow the parameter ranges"):
        ControlProblem(Policy(plant, backup), batch, Quadratic([1.0, 1.0], [1.0]))


def buck_like() -> Plant:
    """Return a second-order converter around its set point: stable, lightly damped."""
    return linear(
        [[0.95, -0.1], [0.3, 0.9]], [[0.5], [0.08]], 5e-5, ([-2.0, -2.0], [2.0, 2.0], [-0.5], [0.5]), name="buck"
    )


def dead_time() -> Plant:
    """Return a first-order lag behind four samples of dead time."""
    A, B = np.zeros((5, 5)), np.zeros((5, 1))
    A[0, 0], A[0, 1] = 0.97, 0.03
    A[1:4, 2:5] = np.eye(3)
    B[4] = 1.0
    return linear(A, B, 1.0, ([-5.0] * 5, [5.0] * 5, [-5.0], [5.0]), name="heater")


@pytest.mark.table(2)
@pytest.mark.parametrize("make", [buck_like, dead_time])
def test_what_a_short_horizon_rewards_does_not_end_unstable_at_rest(make):
    """Over few steps an aggressive loop costs least, whether it is stable or not."""
    plant = make()
    backup = lqr(plant, np.full(plant.nx, 0.1), [10.0])
    batch = scenarios(plant, backup, horizon=6, count=6, level=0.5)
    objective = Quadratic(np.eye(plant.nx)[0] * 10, [1e-6])
    ends = {}
    for stability in (False, True):
        problem = ControlProblem(Policy(plant, backup, (6,)), batch, objective, MetricOptions(stability=stability))
        ends[stability] = adapt(problem, AdaptOptions(steps=80))
        assert ends[stability].is_safe()
    radii = {key: end.problem.spectral_radius(end.theta) for key, end in ends.items()}
    assert radii[True] < 1 - 1e-6
    assert ends[True].objective_final < ends[True].objective_initial
    assert ends[True].summary()["spectral_radius_final"] == radii[True]
    assert radii[True] <= max(radii[False], 0.999)


def test_metrics_of_stability_come_last_and_count_without_unit():
    problem = control_problem(double_integrator(), (2,))
    of = problem.of_scenarios
    assert problem.varies.size == of.stop + 1 and problem.varies[-1] and problem.metric_units[-1] == 1
    assert problem.metric_label(of.stop) == "local stability at rest"
    without = control_problem(double_integrator(), (2,), stability=False)
    theta = problem.theta_initial
    np.testing.assert_array_equal(problem.metrics(theta)[of], without.metrics(theta))


@pytest.mark.parametrize(
    ("plant", "hidden", "ranges"),
    [
        (double_integrator(), (3,), [[0.8, 1.2]]),
        (cart_pole(), (3, 2), [[0.05, 0.15], [0.9, 1.1], [0.5, 0.5]]),
        (cart_pole(), (), [[0.05, 0.15], [0.9, 1.1], [0.5, 0.5]]),
    ],
)
def test_matrices_in_numpy_say_what_compiled_expressions_say(monkeypatch, plant, hidden, ranges):
    policy, rng = Policy(plant, lqr(plant, np.ones(plant.nx), [1.0]), hidden), np.random.default_rng(0)
    compiled = metrics_of(policy, ranges)
    thetas = policy.theta_initial(0) + 0.1 * rng.normal(size=(5, policy.theta_dim))
    expected = compiled.metrics(thetas)
    weights = rng.uniform(size=(2, compiled.count))
    slopes = compiled.gradients(thetas, *weights)
    monkeypatch.setattr("scpo_ctrl.loop.stability._MOST_COMPILED", 0)
    monkeypatch.setattr("scpo_ctrl.loop.dense_stability._NUMBERS", 2 * plant.nx**2)
    dense = metrics_of(policy, ranges)
    np.testing.assert_allclose(dense.metrics(thetas), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(dense.gradients(thetas, *weights), slopes, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(dense.metrics(thetas[3:4]), dense.metrics(thetas)[3:4])  # whatever beside it


def test_matrices_in_numpy_follow_a_place_of_rest_that_moves(monkeypatch):
    monkeypatch.setattr("scpo_ctrl.loop.stability._MOST_COMPILED", 0)
    x, u, wind = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("wind")
    box = np.full(2, 2.0)
    following = ca.vertcat(x[0] + 0.1 * x[1] + 0.1 * wind, x[1] - 0.1 * ca.sin(x[0]) + 0.1 * u * (1 + x[0] ** 2))
    plant = Plant(
        name="blown", x=x, u=u, p=wind, p_nominal=np.zeros(1), f=following, dt=0.1,
        x_min=-box, x_max=box, u_min=np.array([-3.0]), u_max=np.array([3.0]),
    )  # fmt: skip
    stability = metrics_of(Policy(plant, lqr(plant, [1.0, 1.0], [1.0]), (4,)), [[-0.3, 0.3]])
    rng, step = np.random.default_rng(0), 1e-6
    theta = stability.policy.theta_initial(0) + 0.05 * rng.normal(size=stability.policy.theta_dim)
    assert np.ptp(stability.equilibria(theta)[0], axis=0).max() > 0.1
    D = rng.normal(size=(4, theta.size))
    slopes = (stability.metrics(theta + step * D) - stability.metrics(theta - step * D)) / (2 * step)
    np.testing.assert_allclose(stability.jacobian(theta, D), slopes, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("most_compiled", [24, 0])
def test_a_policy_that_rests_beyond_its_input_is_not_stable_there(monkeypatch, most_compiled):
    """x⁺ = x / 2 + u + p under u = -k x rests at u = -k p / (k + 1/2), which is beyond -0.8 for p = 1 and large k."""
    monkeypatch.setattr("scpo_ctrl.loop.stability._MOST_COMPILED", most_compiled)
    x, u, p = (ca.SX.sym(name) for name in "xup")
    bounds = {"x_min": [-9.0], "x_max": [9.0], "u_min": [-0.8], "u_max": [0.8]}
    plant = Plant(name="push", x=x, u=u, p=p, p_nominal=[0.0], f=x / 2 + u + p, dt=0.1, **bounds)
    policy = Policy(plant, lqr(plant, [0.1], [1.0]), scale=(1.0,), input_scale=(1.0,))
    stability, k0 = metrics_of(policy, [[0.0, 1.0]]), float(policy.backup.K[0, 0])
    gains = np.array([0.1, 1.2, 1.45])  # all of them stable, were it not for the bounds
    values = stability.metrics(k0 - gains[:, None])
    assert np.isfinite(values).all() and (gains / (gains + 0.5) < 0.8).all()
    far = LocalStability(policy, np.array([[0.0, 1.2]])).metrics(k0 - gains[:, None])
    np.testing.assert_array_equal(np.isfinite(far).all(axis=1), 1.2 * gains / (gains + 0.5) <= 0.8)
    assert np.isfinite(far[0]).all() and not np.isfinite(far[2]).all()
