"""Costs by expressions and by full weights: values, derivatives, runs, and what is refused."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from plain_loop import cart, rolled

import scpo_ctrl as sc
from scpo_ctrl.errors import DimensionError, DomainError, EvaluationError, ScpoError
from scpo_ctrl.models import Plant, double_integrator
from scpo_ctrl.problem.cost import root

MASSES = {"mass": (0.8, 1.2)}
Q, R, P_N, R_du = np.array([[1.0, 0.3], [0.3, 0.1]]), [0.05], np.array([[5.0, 1.0], [1.0, 2.0]]), [0.7]


def problem(cost, plant=None, **metrics):
    plant = double_integrator() if plant is None else plant
    backup = sc.lqr(plant, [0.1, 0.1], [10.0], parameters=MASSES)
    batch = sc.scenarios(plant, backup, horizon=20, count=12, level=0.5, parameters=MASSES)
    return sc.ControlProblem(sc.Policy(plant, backup, (4,)), batch, cost, sc.MetricOptions(**metrics))


def theta_of(given, size=0.3, seed=1):
    return given.theta_initial + size * np.random.default_rng(seed).normal(size=given.theta_dim)


def quadratic_by_hand(given, theta):
    X, _, U = rolled(given, theta, given.scenarios, cart)
    change = np.diff(U, axis=1)
    stage = np.einsum("sti,ij,stj->s", X[:, :-1], Q, X[:, :-1]) + 0.05 * (U**2).sum(axis=(1, 2))
    end = np.einsum("si,ij,sj->s", X[:, -1], P_N, X[:, -1])
    return float((stage + 0.7 * (change**2).sum(axis=(1, 2)) + end).mean() / given.scenarios.horizon)


def central(function, theta, h=1e-6):
    moves = h * np.eye(theta.size)
    return np.array([(function(theta + move) - function(theta - move)) / (2 * h) for move in moves])


@pytest.mark.parametrize("size", [0.0, 0.3, 3.0])
def test_full_weights_are_those_of_the_sum(size):
    given = problem(sc.Quadratic(Q, R, P_N=P_N, R_du=R_du))
    theta = theta_of(given, size)
    assert given.objective(theta) == pytest.approx(quadratic_by_hand(given, theta), rel=1e-12)


def test_weights_that_are_diagonal_after_all_are_the_diagonal_ones():
    diagonal, full = sc.Quadratic([1.0, 0.1], R), sc.Quadratic([1.0, 0.1], R, P_N=[0.0, 0.0])
    one, other = problem(diagonal), problem(full)
    theta = theta_of(one)
    assert one.objective(theta) == pytest.approx(other.objective(theta), rel=1e-13)
    np.testing.assert_allclose(one.gradient(theta), other.gradient(theta), rtol=1e-11)
    np.testing.assert_allclose(one.gauss_newton(theta), other.gauss_newton(theta), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("name", ["quadratic", "energy", "squares"])
@pytest.mark.parametrize("command", [True, False])
def test_derivatives_are_those_of_differences(name, command):
    plant = double_integrator()
    x, u, p = plant.x, plant.u, plant.p
    cost = {
        "quadratic": sc.Quadratic(Q, R, P_N=P_N, R_du=R_du),
        "energy": sc.Cost(ca.exp(u * x[1]) * p[0] + x[0] ** 4, x[0] ** 2 * p[0], R_du=[0.2]),
        "squares": sc.Cost(ca.vertcat(x[0] * p[0], ca.sin(u)), ca.tanh(x), least_squares=True, R_du=[0.2]),
    }[name]
    given = problem(cost, plant, command=command)
    theta = theta_of(given)
    slopes = central(given.objective, theta)
    np.testing.assert_allclose(given.gradient(theta), slopes, rtol=1e-5, atol=1e-8 * np.abs(slopes).max())
    if command:  # of the loop without saturation, which is the same here
        none = np.zeros(given.varies.size)
        np.testing.assert_allclose(given.lagrangian_gradients(theta[None], none)[0], given.gradient(theta), rtol=1e-9)
    if name == "energy":
        with pytest.raises(DomainError, match="not known to be a sum of squares"):
            given.gauss_newton(theta)
        return

    def residuals(point):
        X, _, U = rolled(given, point, given.scenarios, cart)
        change = np.diff(U, axis=1)
        if name == "quadratic":
            parts = [
                X[:, :-1] @ np.array(root(Q)).T,
                np.sqrt(0.05) * U,
                np.sqrt(0.7) * change,
                X[:, -1] @ np.array(root(P_N)).T,
            ]
        else:
            parts = [X[:, :-1, 0] * given.scenarios.p, np.sin(U), np.sqrt(0.2) * change, np.tanh(X[:, -1])]
        return np.concatenate([part.ravel() for part in parts]) / np.sqrt(given.scenarios.count * 20)

    J = central(residuals, theta)
    assert float(residuals(theta) @ residuals(theta)) == pytest.approx(given.objective(theta), rel=1e-12)
    np.testing.assert_allclose(given.gauss_newton(theta), 2 * J @ J.T, rtol=1e-4, atol=1e-6)


def test_roots_of_weights():
    for W in (Q, P_N, np.array([[1.0, 1.0], [1.0, 1.0]]), np.diag([2.0, 0.0]), 1e12 * Q):
        L = np.array(root(W))
        np.testing.assert_allclose(L.T @ L, W, rtol=1e-12, atol=1e-12 * np.abs(W).max())
    assert root(np.ones((2, 2))).shape[0] == 1 and root(np.array([2.0, 0.0])).shape == (1, 2)


@pytest.mark.parametrize("method", ["newton", "gradient", "lbfgs"])
def test_an_economic_cost_falls(method):
    """Electric energy of a drive, drawn and lost in its resistance, beside how far it is from where it should be."""
    plant = double_integrator()
    x, u = plant.x, plant.u
    energy = u * x[1] + 0.5 * u**2
    given = problem(sc.Cost(energy + 0.1 * x[0] ** 2), plant)
    result = sc.adapt(given, sc.AdaptOptions(steps=25, method=method, audit=False))

    def by_hand(theta):
        X, _, U = rolled(given, theta, given.scenarios, cart)
        return float((U[:, :, 0] * X[:, :-1, 1] + 0.5 * U[:, :, 0] ** 2 + 0.1 * X[:, :-1, 0] ** 2).mean())

    assert result.objective_final == pytest.approx(by_hand(result.theta), rel=1e-12)
    assert result.objective_initial == pytest.approx(by_hand(given.theta_initial), rel=1e-12)
    assert result.is_safe() and result.objective_final < 0.99 * result.objective_initial


def test_a_weight_of_changes_makes_inputs_smoother():
    ends = []
    for weight in (None, [20.0]):
        given = problem(sc.Quadratic([1.0, 0.1], R, R_du=weight))
        result = sc.adapt(given, sc.AdaptOptions(steps=20, audit=False))
        _, _, U = rolled(given, result.theta, given.scenarios, cart)
        ends.append(float((np.diff(U, axis=1) ** 2).sum()))
    assert ends[1] < 0.5 * ends[0]


def test_a_cost_of_a_black_box_is_that_of_its_model():
    cost = sc.Quadratic(Q, R, P_N=P_N, R_du=R_du)
    model = problem(cost)
    box = sc.ControlProblem(model.policy, model.scenarios, cost, sc.MetricOptions(), simulator=cart)
    theta = theta_of(model)
    assert box.objective(theta) == pytest.approx(model.objective(theta), rel=1e-12)
    np.testing.assert_allclose(box.gradient(theta), model.gradient(theta), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(box.gauss_newton(theta), model.gauss_newton(theta), rtol=1e-4, atol=1e-6)
    energy = sc.Cost(model.plant.u**2 * model.plant.p[0], model.plant.x[0] ** 2)
    pair = [
        sc.ControlProblem(model.policy, model.scenarios, energy, sc.MetricOptions(), simulator=step)
        for step in (None, cart)
    ]
    assert pair[1].objective(theta) == pytest.approx(pair[0].objective(theta), rel=1e-12)
    assert sc.adapt(pair[1], sc.AdaptOptions(steps=2, audit=False)).is_safe()
    with pytest.raises(ScpoError, match="sum of squares"):
        pair[1].gauss_newton(theta)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda p: sc.Cost(double_integrator().x[0]), DomainError, "something else than plant"),
        (lambda p: sc.Cost(ca.MX.sym("x")), DomainError, "expected casadi.SX"),
        (lambda p: sc.Cost(None), DomainError, "stage cost is None"),
        (lambda p: sc.Cost("energy"), DomainError, "stage cost is 'energy'"),
        (lambda p: sc.Cost(np.nan), DomainError, "stage is nan"),
        (lambda p: sc.Cost(True), DomainError, "stage cost is True"),
        (lambda p: sc.Cost(p.x), DimensionError, r"shape \(2, 1\), expected one number"),
        (lambda p: sc.Cost(ca.SX(0, 1)), DimensionError, "shape"),
        (lambda p: sc.Cost(0), DomainError, "depends on no state and no input"),
        (lambda p: sc.Cost(p.p[0]), DomainError, "depends on no state and no input"),
        (lambda p: sc.Cost(ca.log(p.x[0])), DomainError, "the stage cost is -inf at the equilibrium"),
        (lambda p: sc.Cost(ca.norm_2(p.x)), DomainError, "stage cost is not differentiable"),
        (lambda p: sc.Cost(p.u, p.u), DomainError, "terminal cost depends on the input"),
        (lambda p: sc.Cost(p.u, ca.sqrt(p.x[0])), DomainError, "terminal cost is not differentiable"),
        (lambda p: sc.Cost(p.u**2, R_du=[1.0, 1.0]), DimensionError, "R_du has 2 entries, expected 1"),
        (lambda p: sc.Cost(p.u**2, R_du=[-1.0]), DomainError, r"R_du\[0\]"),
        (lambda p: sc.Quadratic(Q, R, P_N=[1.0]), DimensionError, "P_N has 1 entries, expected 2"),
        (lambda p: sc.Quadratic(Q, R, R_du=np.eye(2)), DimensionError, "R_du has 2 entries"),
        (lambda p: sc.Quadratic(np.eye(3) + 0.1, R), DimensionError, "Q has 3 entries"),
        (lambda p: sc.Quadratic([[1.0, 2.0], [2.0, 1.0]], R), DomainError, "not positive semidefinite"),
        (lambda p: sc.Quadratic([[0.0, 1.0], [1.0, 1.0]], R), DomainError, "not positive semidefinite"),
        (lambda p: sc.Quadratic([[1.0, 0.2], [0.1, 1.0]], R), DomainError, "not symmetric"),
        (lambda p: sc.Quadratic([[1.0, np.nan], [np.nan, 1.0]], R), DomainError, "Q"),
        (lambda p: sc.Quadratic([[-1.0, 0.1], [0.1, 1.0]], R), DomainError, r"Q\[0, 0\]"),
    ],
)  # fmt: skip
def test_costs_that_are_refused(make, error, says):
    plant = double_integrator()
    with pytest.raises(error, match=says):
        problem(make(plant), plant)


def test_semidefinite_weights_are_not_refused_for_rounding():
    rng = np.random.default_rng(0)
    for _ in range(200):
        L = rng.normal(size=(rng.integers(1, 5), 5)) * 10.0 ** rng.uniform(-8, 8, 5)
        W = L.T @ L
        sc.Quadratic((W + W.T) / 2, R)


def test_a_cost_that_is_not_a_number_at_the_safe_start_is_named():
    plant = double_integrator()
    with pytest.raises(EvaluationError, match="the objective is nan at the safe start"):
        sc.adapt(problem(sc.Cost(ca.log(0.5 + plant.x[0])), plant), sc.AdaptOptions(steps=1))


def test_a_cost_with_memory_and_several_inputs():
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u", 2)
    f = ca.vertcat(0.9 * x[0] + 0.1 * u[0], 0.8 * x[1] + 0.1 * u[1])
    bounds = {"x_min": [-1, -1], "x_max": [1, 1], "u_min": [-5, -5], "u_max": [5, 5]}
    plant = Plant(name="two", x=x, u=u, f=f, dt=0.1, **bounds)
    theta, y, xi = ca.SX.sym("theta", 2), ca.SX.sym("y", 2), ca.SX.sym("xi", 2)
    law = sc.Controller(
        name="two PI", theta=theta, theta_initial=[2.0, 1.0], y=y, xi=xi, command=-theta[0] * y - xi,
        memory=xi + 0.1 * theta[1] * y, memory_min=[-4, -4], memory_max=[4, 4],
    )  # fmt: skip
    policy = sc.controlled(plant, law)
    batch = sc.scenarios(policy.plant, policy.backup, horizon=6, count=4, level=0.5)
    smooth = np.array([[1.0, 0.5], [0.5, 1.0]])
    cost = sc.Cost(u[0] * u[1] + ca.sumsqr(x), R_du=smooth)
    given = sc.ControlProblem(policy, batch, cost, sc.MetricOptions(du_max=[1.0, np.inf]))
    point = np.array([0.3, -0.2])
    X, U = given.trajectories(point)
    U = np.clip(U[:, :, :2], -5, 5)
    change = np.diff(U, axis=1)
    stage = U[:, :, 0] * U[:, :, 1] + (X[:, :-1, :2] ** 2).sum(axis=2)
    total = stage.sum(axis=1) + np.einsum("sti,ij,stj->s", change, smooth, change)
    assert given.objective(point) == pytest.approx(total.mean() / 6, rel=1e-12)
    assert {row.label for row in given.scenario_metrics.rows if row.kind == "rate"} == {
        "change of u0 <= 1", "change of u0 >= -1",
    }  # fmt: skip
    np.testing.assert_allclose(given.gradient(point), central(given.objective, point), rtol=1e-6)
    weights = sc.Quadratic(np.eye(2) + 0.1, np.eye(2) + 0.1, P_N=np.eye(2), R_du=[1.0, 2.0])
    full = sc.ControlProblem(policy, batch, weights)
    np.testing.assert_allclose(full.gradient(point), central(full.objective, point), rtol=1e-6)
    of_loop = sc.Quadratic(np.eye(2) + 0.1, np.eye(2) + 0.1, P_N=policy.backup.P)  # V of states and memories
    X, U = sc.ControlProblem(policy, batch, of_loop).trajectories(point)
    U = np.clip(U[:, :, :2], -5, 5)
    total = sum(np.einsum("sti,ij,stj->s", z, np.eye(2) + 0.1, z) for z in (X[:, :-1, :2], U))
    total += np.einsum("si,ij,sj->s", X[:, -1], policy.backup.P, X[:, -1])
    assert sc.ControlProblem(policy, batch, of_loop).objective(point) == pytest.approx(total.mean() / 6, rel=1e-12)
    for key, W, says in (("Q", [1.0], "Q has 1 entries, expected 2, or 4"), ("R_du", [1.0] * 3, "R_du has 3 entries")):
        given = {"Q": np.ones(2), "R": np.ones(2)} | {key: W}
        with pytest.raises(DimensionError, match=says):
            sc.ControlProblem(policy, batch, sc.Quadratic(**given))
