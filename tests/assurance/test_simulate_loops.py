"""simulate: controllers with memory, references and loads that vary over time, against loops of their own."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl import models, signals
from scpo_ctrl.controllers import pid
from scpo_ctrl.errors import DomainError

_STREAM = 1 << 65  # of simulations, which no audit and no certificate draws from


def drawn(problem: sc.ControlProblem, count: int, seed: int):
    return problem.scenarios.declared.random(0, count, _STREAM + seed)


def motor_problem(**reference) -> sc.ControlProblem:
    motor = models.dc_motor()
    law = pid(motor, kp=1.0, ki=2.0, kd=0.02, filter_time=2e-3)
    if not reference:
        policy = sc.controlled(motor, law)
        batch = sc.scenarios(policy.plant, policy.backup, horizon=40, count=6, level=0.3)
        weights = sc.Quadratic([1.0, 0.0], [1e-4])
        return sc.ControlProblem(policy, batch, weights, sc.MetricOptions(stability=False))
    policy = sc.controlled(motor, law, reference=reference)
    batch = sc.scenarios(policy.plant, policy.backup, horizon=40, count=6, level=1e-4)
    return sc.ControlProblem(policy, batch, sc.tracking(policy, [1.0], [1e-4]), sc.MetricOptions(stability=False))


def pid_cost(policy, theta, batch, motor, p, reference) -> tuple[float, np.ndarray]:
    """Return (Σ (r - y)² + 1e-4 u²) / N and the largest |command|, by a loop of its own; reference (S, N)."""
    law = policy.controller
    kappa = ca.Function("k", [law.xi, law.y, law.r, law.theta], [law.command])
    eta = ca.Function("e", [law.xi, law.y, law.r, law.u, law.theta], [law.memory])
    own = law.theta_initial + np.array(policy.scale) * theta
    total, largest = 0.0, np.zeros(batch.count)
    for s in range(batch.count):
        x, xi = batch.x0[s, :2], batch.x0[s, 2:]
        for t in range(batch.horizon):
            y, r = x[:1], reference[s, t]
            v = np.array(kappa(xi, y, r, own))[:, 0]
            u = np.clip(v, motor.u_min, motor.u_max)
            total += (r - y[0]) ** 2 + 1e-4 * u[0] ** 2
            largest[s] = max(largest[s], abs(v[0]))
            xi = np.clip(np.array(eta(xi, y, r, u, own))[:, 0], law.memory_min, law.memory_max)
            x = np.array(motor.function(x, u, p))[:, 0]
    return total / (batch.count * batch.horizon), largest


@pytest.fixture(scope="module")
def servo() -> sc.Result:
    return sc.adapt(motor_problem(), sc.AdaptOptions(steps=3, audit=False))


@pytest.fixture(scope="module")
def stepped() -> sc.Result:
    problem = motor_problem(**{"position reference": signals.step(0.0, (-0.5, 0.5), at=0.004)})
    return sc.adapt(problem, sc.AdaptOptions(steps=3, audit=False))


@pytest.mark.parametrize("as_plant", [False, True])
def test_a_controller_with_memory_meets_another_motor(servo, as_plant):
    problem, motor = servo.problem, models.dc_motor()
    p = [6e-6, 4.0]
    given = {"inertia": 6e-6}
    found = sc.simulate(servo, motor.replace(name="other") if as_plant else None, given, episodes=6)
    batch = drawn(problem, 6, 0)
    at_rest = np.zeros((6, 40))
    for policy, theta in zip(found.policies, servo.committed, strict=True):
        cost, _ = pid_cost(problem.policy, theta, batch, motor, p, at_rest)
        assert policy.objective == pytest.approx(cost, rel=1e-8)
        assert policy.objective != pytest.approx(policy.objective_on_model, rel=1e-3)
    assert found.x_labels == ("position", "speed")
    assert (found.mismatch.largest > 0).all()


@pytest.mark.parametrize("as_plant", [False, True])
def test_references_are_those_of_the_scenarios(stepped, as_plant):
    problem, motor = stepped.problem, models.dc_motor()
    found = sc.simulate(stepped, motor.replace(name="other") if as_plant else None, {"resistance": 5.0}, episodes=6)
    batch = drawn(problem, 6, 0)
    after = batch.p[:, problem.plant.p_labels.index("position reference after")]
    reference = np.where(np.arange(40) >= 4, after[:, None], 0.0)
    p = [float(motor.p_nominal[0]), 5.0]
    for policy, theta in zip(found.policies, stepped.committed, strict=True):
        assert policy.objective == pytest.approx(
            pid_cost(problem.policy, theta, batch, motor, p, reference)[0], rel=1e-8
        )
    itself = sc.simulate(stepped, motor if as_plant else None, episodes=6)
    assert itself.mismatch.uncovered == 0
    assert itself.policies[0].objective == pytest.approx(itself.policies[0].objective_on_model, rel=1e-12)


def test_a_larger_step_of_the_reference_is_set_by_its_number(stepped):
    problem = stepped.problem
    found = sc.simulate(stepped, parameters={"position reference after": 3.0}, episodes=4)
    cost, _ = pid_cost(
        problem.policy, stepped.theta, drawn(problem, 4, 0), models.dc_motor(), models.dc_motor().p_nominal,
        np.where(np.arange(40) >= 4, 3.0, 0.0) * np.ones((4, 1)),
    )  # fmt: skip
    assert found.policies[-1].objective == pytest.approx(cost, rel=1e-8)
    assert "outside the declared -0.5 to 0.5" in found.true_plant


@pytest.mark.parametrize("label", ["position reference", "time"])
def test_what_varies_over_time_is_not_set(stepped, label):
    with pytest.raises(DomainError, match=f"parameter '{label}' varies over time; "):
        sc.simulate(stepped, parameters={label: 1.0}, episodes=2)


def test_loads_over_time_and_another_plant_with_the_same_signal():
    mass, x = ca.SX.sym("p", 2), ca.SX.sym("x", 2)
    u = ca.SX.sym("u")
    f = ca.vertcat(x[0] + 0.1 * x[1], x[1] + 0.1 * (u - mass[1]) / mass[0])
    box = {"x_min": [-5, -1.5], "x_max": [5, 1.5], "u_min": [-1.0], "u_max": [1.0]}
    plain = models.Plant(
        name="loaded", x=x, u=u, f=f, p=mass, p_labels=("mass", "load"), p_nominal=[1.0, 0.0], p_above=[0, -np.inf],
        dt=0.1, **box,
    )  # fmt: skip
    ramp = {"load": signals.ramp(0.0, (0.0, 0.1), 0.5, over=0.5)}
    plant = models.with_signals(plain, ramp)
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=20, count=5, level=0.4)
    problem = sc.ControlProblem(
        sc.Policy(plant, backup, (3,)), batch, sc.Quadratic([1.0, 0.1], [0.05]), sc.MetricOptions(stability=False)
    )
    run = sc.adapt(problem, sc.AdaptOptions(steps=2, audit=False))
    itself = sc.simulate(run, episodes=30)
    for other in (plain.replace(name="still"), plant.replace(name="signalled")):
        found = sc.simulate(run, other, episodes=30)
        assert found.mismatch.uncovered == 0
        for one, two in zip(found.policies, itself.policies, strict=True):
            assert one.objective == pytest.approx(two.objective, rel=1e-12)
    more = sc.simulate(run, parameters={"load after": 0.4}, episodes=30)
    assert 0 < more.mismatch.uncovered < more.mismatch.count  # only while the load is beyond what was declared
    with pytest.raises(DomainError, match="signal 'load' is another one in the model"):
        sc.simulate(run, models.with_signals(plain, {"load": signals.constant(0.3)}))
    with pytest.raises(DomainError, match="signal 'mass' is none of the model's"):
        sc.simulate(run, models.with_signals(plain, {"mass": signals.constant(0.3)}))


def test_other_sensors_are_refused_and_none_are_the_models(servo):
    motor = models.dc_motor()
    with pytest.raises(DomainError, match="other outputs than the model"):
        sc.simulate(servo, motor.replace(y=2 * motor.x[0], y_labels=(), y_units=()), episodes=2)
    with pytest.raises(DomainError, match="other outputs than the model"):
        sc.simulate(servo, motor.replace(y=motor.x, y_labels=(), y_units=()), episodes=2)
    blind = sc.simulate(servo, motor.replace(y=ca.SX(0, 1), y_labels=(), y_units=()), episodes=2)
    assert blind.policies[0].objective == pytest.approx(blind.policies[0].objective_on_model, rel=1e-12)
