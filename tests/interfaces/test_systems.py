"""Loops and controllers as systems of python-control: against rollouts, and wired to a plant by names."""

from __future__ import annotations

import casadi as ca
import control
import numpy as np
import pytest
from motors import RANGES, loaded_motor
from problems import double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.controllers import pid
from scpo_ctrl.errors import ClassError, DimensionError, DomainError
from scpo_ctrl.models import dc_motor, double_integrator, quantise, signals, to_statespace


@pytest.fixture(scope="module")
def motor():
    """Return a nonlinear loop with two memories, a measured output that depends on a parameter, and disturbances."""
    plant = loaded_motor()
    policy = sc.controlled(plant, pid(plant, 0.8, 0.6, 0.1, filter_time=0.2, filtered=(-2.0, 3.0)), parameters=RANGES)
    batch = sc.scenarios(
        policy.plant, policy.backup, horizon=40, count=5, level=0.8, parameters=RANGES, disturbance=[0.01, 0.02, 0, 0]
    )
    return sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 0.0], [0.1]), sc.MetricOptions(stability=False))


def times(problem):
    return np.arange(problem.scenarios.horizon) * problem.plant.dt


@pytest.mark.parametrize("theta", [np.zeros(3), np.array([0.4, -0.3, 0.2]), np.array([8.0, -5.0, 6.0])])
def test_a_loop_with_memory_is_its_rollouts(motor, theta):
    X, U = motor.trajectories(theta)
    loop, batch, plant = sc.closed_loop(motor.policy, theta), motor.scenarios, motor.plant
    assert (loop.state_labels, loop.dt) == (["x0", "x1", "integral", "filtered y0"], plant.dt)
    assert (loop.input_labels, loop.output_labels) == (["w_x0", "w_x1"], ["y0", "u0"])
    for s in range(batch.count):
        found = control.input_output_response(
            loop, times(motor), batch.w[s, :, :2].T, batch.x0[s],
            params=dict(zip(plant.p_labels, batch.p[s], strict=True)),
        )  # fmt: skip
        np.testing.assert_allclose(found.states.T, X[s, :-1], atol=1e-9)
        np.testing.assert_allclose(found.outputs[0], batch.p[s, 1] * X[s, :-1, 0], atol=1e-9)
        np.testing.assert_allclose(found.outputs[1], np.clip(U[s, :, 0], -3, 3), atol=1e-9)


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_a_residual_policy_is_its_rollouts(hidden):
    problem = double_integrator_problem(hidden, count=3, horizon=30)
    theta = problem.theta_initial + 0.3 * np.random.default_rng(0).normal(size=problem.theta_dim)
    X, U = problem.trajectories(theta)
    loop = sc.closed_loop(problem.policy, theta, disturbance=False)
    assert loop.ninputs == 0 and loop.output_labels == ["y_position", "y_velocity", "force"]
    for s in range(3):
        found = control.input_output_response(loop, times(problem), 0, problem.scenarios.x0[s])
        np.testing.assert_allclose(found.states.T, X[s, :-1], atol=1e-9)
        np.testing.assert_allclose(found.outputs[2], np.clip(U[s, :, 0], -1, 1), atol=1e-9)


def plant_system(plant):
    """Return a plant as somebody would write it who has one of their own, with the names of to_statespace."""
    h = (lambda x: x) if not plant.y.numel() else (lambda x: x[:1])
    return control.NonlinearIOSystem(
        lambda t, x, u, params: np.array(plant.function(x, u, plant.p_nominal))[:, 0], lambda t, x, u, params: h(x),
        dt=plant.dt, inputs=list(plant.u_labels), states=list(plant.x_labels),
        outputs=to_statespace(plant).output_labels, name="plant",
    )  # fmt: skip


@pytest.mark.parametrize("shows", ["state", "position"])
def test_a_controller_alone_is_wired_to_a_plant_by_names(shows):
    plant = dc_motor()
    if shows == "state":
        plant = plant.replace(y=ca.SX(0, 1), y_labels=(), y_units=())
    policy = sc.controlled(plant, pid(plant, 1.0, 2.0, 0.02, filter_time=2e-3))
    theta = np.array([0.1, 0.001, 0.2])
    alone = sc.controller_system(policy, theta, reference=True)
    reference = policy.controller.r_labels[0]
    names = ["y_position", "y_speed"] if shows == "state" else ["position"]
    assert alone.input_labels == [*names, reference] and alone.output_labels == ["voltage"]
    wired = control.interconnect([plant_system(plant), alone], inputs=[reference], outputs=list(names), name="wired")
    loop = sc.closed_loop(policy, theta, reference=True, disturbance=False)
    t = np.arange(200) * plant.dt
    r = np.where(t > 50 * plant.dt, 0.5, 0.0)  # a step of the reference, which no run has
    one, other = (control.input_output_response(of, t, r) for of in (wired, loop))
    np.testing.assert_allclose(one.states, other.states, atol=1e-12)
    assert np.abs(other.outputs[0][-1] - 0.5) < 0.2
    constant = control.input_output_response(sc.closed_loop(policy, theta), t, 0, [0.3, 0, 0, 0.3])
    given = control.input_output_response(loop, t, 0 * t, [0.3, 0, 0, 0.3])
    np.testing.assert_allclose(constant.states, given.states, atol=1e-12)


def test_a_residual_policy_alone_has_no_state():
    problem = double_integrator_problem((4,), count=2, horizon=5)
    theta = problem.theta_initial + 0.1
    alone = sc.controller_system(problem.policy, theta)
    assert alone.nstates == 0 and alone.input_labels == ["y_position", "y_velocity"]
    x = np.array([0.4, -0.2])
    np.testing.assert_allclose(alone.output(0.0, [], x), problem.policy(x, theta), atol=1e-12)


def test_a_plant_with_sensors_as_statespace_shows_them():
    plant = loaded_motor()
    found = to_statespace(plant)
    np.testing.assert_allclose(found.C, [[1.0, 0.0]])
    assert found.output_labels == ["y0"] and found.D.shape == (1, 1)


def test_what_does_not_fit(motor):
    policy, plant = motor.policy, double_integrator()
    with pytest.raises(DimensionError, match="theta has shape"):
        sc.closed_loop(policy, np.zeros(2))
    with pytest.raises(DomainError, match=r"theta\[1\] is nan"):
        sc.controller_system(policy, [0.0, np.nan, 0.0])
    with pytest.raises(ClassError, match="policy is of class"):
        sc.closed_loop(motor, np.zeros(3))
    with pytest.raises(DomainError, match="reference"):
        sc.closed_loop(policy, np.zeros(3), reference="yes")
    residual = sc.Policy(plant, sc.lqr(plant, [0.1, 0.1], [10.0]))
    with pytest.raises(DomainError, match="a residual policy has no references"):
        sc.closed_loop(residual, np.zeros(residual.theta_dim), reference=True)
    with pytest.raises(DomainError, match="params has 'load'"):
        control.input_output_response(sc.closed_loop(policy, np.zeros(3)), times(motor), 0, params={"load": 1.0})
    twice = plant.replace(x_labels=("position", "position"))
    with pytest.raises(DomainError, match=r"two inputs of .* are called 'w_position'"):
        sc.closed_loop(sc.Policy(twice, sc.lqr(twice, [0.1, 0.1], [10.0])), np.zeros(2))


def test_signals_run_as_they_do_in_rollouts():
    motor = quantise(dc_motor(), 0.01)
    moves = {"position reference": signals.step(0.0, (-0.5, 0.5), (0.01, 0.03))}
    policy = sc.controlled(motor, pid(motor, 1.0, 2.0, 0.02, filter_time=2e-3), reference=moves)
    batch = sc.scenarios(policy.plant, policy.backup, horizon=60, count=3, level=0.01)
    problem = sc.ControlProblem(policy, batch, sc.tracking(policy, [1.0]))
    theta = np.array([0.3, 0.0, 0.1])
    loop, t = sc.closed_loop(policy, theta, disturbance=False), policy.plant.dt * np.arange(61)
    X, _ = problem.trajectories(theta)
    assert "position reference" not in loop.params and "time" not in loop.params
    for s in range(3):
        params = dict(zip(policy.plant.p_labels, batch.p[s].tolist(), strict=True))
        params = {label: params[label] for label in loop.params}
        found = control.input_output_response(loop, t, 0, batch.x0[s], params=params)
        np.testing.assert_allclose(found.states.T, X[s], rtol=1e-9, atol=1e-9)
