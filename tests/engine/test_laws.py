"""Laws of controllers (E10) in the engines: lanes against CasADi, derivatives against differences, and whole runs."""

import casadi as ca
import numpy as np
import pytest
from motors import RANGES, loaded_motor

import scpo_ctrl as sc
from scpo_ctrl.assurance import Fresh
from scpo_ctrl.controllers import pid, state_feedback
from scpo_ctrl.engine import rollout
from scpo_ctrl.engine.casadi_engine import CasadiEngine
from scpo_ctrl.engine.lanes import LaneEngine
from scpo_ctrl.errors import DimensionError, DomainError, UnsafeStartError
from scpo_ctrl.loop.controlled import ControllerPolicy, controlled
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.models import Plant, linear

needs_compiler = pytest.mark.skipif(rollout.find_compiler() is None, reason="no C compiler")


ONE = ([[0.9]], [[0.1]], 0.1, ([-1.0], [1.0], [-5.0], [5.0]))
TWO = (np.eye(2), np.eye(2), 0.1, ([-1.0] * 2, [1.0] * 2, [-5.0] * 2, [5.0] * 2))


def problem(**metrics):
    plant = loaded_motor()
    policy = controlled(plant, pid(plant, 0.8, 0.6, 0.1, filter_time=0.2, filtered=(-2.0, 3.0)), parameters=RANGES)
    batch = sc.scenarios(
        policy.plant,
        policy.backup,
        horizon=30,
        count=10,
        level=0.4,
        parameters=RANGES,
        disturbance=[0.002, 0.002, 0, 0],
    )
    options = {"contraction": 0.9, "contraction_floor": 0.7, "terminal": True} | metrics
    return sc.ControlProblem(policy, batch, sc.Quadratic([10.0, 0.0], [0.1]), sc.MetricOptions(**options))


@pytest.mark.table(2)
@needs_compiler
@pytest.mark.parametrize("command", [True, False])
def test_lanes_and_casadi_agree_on_everything(command):
    lanes = problem(command=command).rollouts
    assert isinstance(lanes._engine, LaneEngine)
    other = lanes.over(lanes.batch)
    constants = lanes._engine._constants
    stage = rollout.Stage(constants["Q"], constants["R"])
    other._engine = CasadiEngine(rollout.Loop(lanes.policy, lanes.metrics, stage))
    rng = np.random.default_rng(1)
    theta, wide = 0.2 * rng.normal(size=3), 3.0 * rng.normal(size=(4, 3))  # some of these are cut
    multipliers = rng.uniform(size=lanes.batch.count * len(lanes.metrics.rows))
    for mine, theirs in zip(lanes.evaluate(wide), other.evaluate(wide), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(lanes.sample(wide), other.sample(wide), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(lanes.jacobian(theta), other.jacobian(theta), rtol=1e-8, atol=1e-9)
    for mine, theirs in zip(lanes.gradient(theta), other.gradient(theta), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        lanes.lagrangian_gradients(theta[None], multipliers, multipliers),
        other.lagrangian_gradients(theta[None], multipliers, multipliers),
        rtol=1e-8, atol=1e-9,
    )  # fmt: skip
    for mine, theirs in zip(lanes.gauss_newton(theta), other.gauss_newton(theta), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10)
    shaped = multipliers.reshape(lanes.batch.count, -1)
    for saturated in (True, False):
        found = lanes.scenario_gradients(theta, shaped, saturated=saturated)
        for mine, theirs in zip(found, other.scenario_gradients(theta, shaped, saturated=saturated), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-9)
    for mine, theirs in zip(lanes.trajectories(theta), other.trajectories(theta), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-11)


def test_derivatives_are_those_of_the_metrics():
    given = problem()
    rng, h = np.random.default_rng(0), 1e-6
    theta, direction = 0.1 * rng.normal(size=3), rng.normal(size=3)
    ends = given.sample(np.stack([theta + h * direction, theta - h * direction]))
    slope = (ends[0] - ends[1]) / (2 * h)
    for block in given.blocks(3):
        found = given.jacobian(theta, direction[None], block)[0]
        np.testing.assert_allclose(found, slope[block.metrics], rtol=1e-5, atol=1e-7)


def test_a_rollout_is_what_the_plant_and_the_controller_do_step_by_step():
    given, plant = problem(), loaded_motor()
    theta, batch = np.array([0.3, -0.2, 0.1]), given.scenarios
    values = given.policy.parameters(theta)
    kp, ki, kd = (values[name] for name in ("kp", "ki", "kd"))
    X, U = given.trajectories(theta)
    for s in range(batch.count):
        x, integral, last = batch.x0[s, :2], batch.x0[s, 2], batch.x0[s, 3]
        for t in range(batch.horizon):
            y = batch.p[s, 1] * x[0]
            v = kp * (0.5 - y) + integral - kd * (y - last) / 0.3
            u = np.clip(v, -3, 3)
            memory = [integral + ki * 0.1 * (0.5 - y) + 0.1 * (u - v), last + 0.1 / 0.3 * (y - last)]
            np.testing.assert_allclose(X[s, t], [*x, integral, last], atol=1e-9)
            np.testing.assert_allclose(U[s, t], [v, *memory], atol=1e-9)
            integral, last = np.clip(memory, [-6.0, -2.0], [6.0, 3.0])
            x = np.array(plant.function(x, u, batch.p[s]))[:, 0] + batch.w[s, t, :2]


def test_a_pid_is_adapted_stays_a_pid_and_passes_its_audit():
    given = problem()
    result = sc.adapt(given, sc.AdaptOptions(steps=40, audit_rollouts=4000))
    assert result.is_safe() and result.final_audit.passed
    fresh = Fresh.drawn(given, result.theta, 0, 20_000, 987)
    start = Fresh.drawn(given, given.theta_initial, 0, 20_000, 987)
    assert fresh.violations == 0 and fresh.objective < 0.9 * start.objective
    assert set(given.policy.parameters(result.theta)) == {"kp", "ki", "kd"}
    assert given.policy.parameters(given.theta_initial) == pytest.approx({"kp": 0.8, "ki": 0.6, "kd": 0.1})
    assert given.spectral_radius(result.theta) < 1


def test_numbers_do_not_depend_on_units():
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    ends = []
    for unit in (1.0, 1e6):
        f = ca.vertcat(x[0] + 0.1 * x[1], 0.98 * x[1] + 0.1 * u / unit)
        plant = Plant(
            name="axis",
            x=x,
            u=u,
            f=f,
            dt=0.1,
            y=x[0],
            x_min=[-1, -1],
            x_max=[1, 1],
            u_min=[-2 * unit],
            u_max=[2 * unit],
        )
        policy = controlled(plant, pid(plant, 1.0 * unit, 0.05 * unit, 1.5 * unit, filter_time=0.1))
        batch = sc.scenarios(policy.plant, policy.backup, horizon=40, count=8, level=0.5)
        given = sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 0.0], [0.01 / unit**2]))
        result = sc.adapt(given, sc.AdaptOptions(steps=15, audit=False))
        ends.append(np.array(list(given.policy.parameters(result.theta).values())) / unit)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"command": ca.SX.sym("z")}, DomainError, "depends on"),
        ({"memory": ca.SX(2, 1)}, DimensionError, "memory has 2 entries"),
        ({"memory_max": [-1.0]}, sc.ScpoError, "do not hold memory_initial"),
        ({"theta_labels": ("a", "a")}, DomainError, "same name"),
        ({"theta_labels": ("a",)}, DimensionError, "theta_labels has 1"),
        ({"theta_initial": [1.0, np.inf]}, DomainError, "theta_initial"),
        ({"u": ca.SX.sym("u", 2)}, DimensionError, "u has 2 symbols"),
        ({"theta_initial": [-5.0, 1.0]}, UnsafeStartError, "not stable at rest"),
        ({"y": ca.SX.sym("y", 2)}, DomainError, "depends on"),
    ],
)
def test_controllers_that_are_refused(change, error, says):
    theta, y, r, xi, u = (ca.SX.sym(n, k) for n, k in (("theta", 2), ("y", 1), ("r", 1), ("xi", 1), ("u", 1)))
    data = {
        "name": "law", "theta": theta, "theta_initial": [3.0, 0.5], "y": y, "r": r, "xi": xi, "u": u,
        "command": theta[0] * (r - y) + xi, "memory": xi + 0.1 * theta[1] * (r - y),
        "memory_min": [-5.0], "memory_max": [5.0],
    }  # fmt: skip
    plant = linear(*ONE)
    assert isinstance(controlled(plant, Controller(**data)), ControllerPolicy)
    with pytest.raises(error, match=says):
        controlled(plant, Controller(**(data | change)))


def test_a_parameter_that_does_nothing_is_refused():
    plant = linear(*ONE)
    theta, y = ca.SX.sym("theta", 2), ca.SX.sym("y")
    law = Controller(
        name="law", theta=theta, theta_initial=[3.0, 1.0], y=y, command=-theta[0] * y, theta_labels=("a", "b")
    )
    with pytest.raises(DomainError, match="parameter b of controller 'law' changes no command"):
        controlled(plant, law)


def test_what_a_law_cannot_yet_do_is_refused_in_words(tmp_path):
    given = problem()
    with pytest.raises(DomainError, match="Adapter knows residual policies"):
        sc.Adapter(given)
    with pytest.raises(DomainError, match="certified mode"):
        sc.adapt(given, sc.AdaptOptions(mode="certified"))


@pytest.mark.parametrize(
    ("plant", "reference", "error", "says"),
    [
        (ONE, [0.5, 0.5], DimensionError, "reference"),
        (ONE, [2.0], UnsafeStartError, "needs room within"),
        (TWO, None, DimensionError, "measures 2"),
    ],
)
def test_loops_that_do_not_fit_are_refused(plant, reference, error, says):
    with pytest.raises(error, match=says):
        controlled(linear(*plant), pid(linear(*ONE), 3.0, 1.0), reference=reference)


def test_state_feedback_as_a_controller_is_the_linear_policy():
    plant = linear([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]], 0.1, ([-1.0, -1.0], [1.0, 1.0], [-1.0], [1.0]))
    backup = sc.lqr(plant, [1.0, 1.0], [1.0])
    policy = controlled(plant, state_feedback(plant, backup.K))
    rng = np.random.default_rng(2)
    theta, states = rng.normal(size=2), rng.uniform(-1, 1, (5, 2))
    K = np.array(list(policy.parameters(theta).values()))
    np.testing.assert_allclose(policy(states, theta)[:, 0], np.clip(-states @ K, -1, 1), atol=1e-12)
    linear_policy = sc.Policy(plant, backup)
    change = -(K - backup.K[0]) * np.array(linear_policy.scale) / np.array(linear_policy.input_scale)
    np.testing.assert_allclose(policy(states, theta), linear_policy(states, change), atol=1e-12)
