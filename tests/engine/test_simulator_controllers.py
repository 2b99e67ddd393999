"""Black boxes under controllers with memory: against the engine that knows the plant, and whole runs."""

from __future__ import annotations

import numpy as np
import pytest
from motors import RANGES, loaded_motor

import scpo_ctrl as sc
from scpo_ctrl.controllers import pid, state_feedback
from scpo_ctrl.errors import DimensionError, DomainError, EvaluationError
from scpo_ctrl.loop.black_box import BoxRest
from scpo_ctrl.loop.controlled import controlled
from scpo_ctrl.loop.numeric import box_in_loop
from scpo_ctrl.loop.rest import BackupRest
from scpo_ctrl.models import linear, sensor_noise, signals, with_signals


def step_of(plant):
    """Return a plant as a Python function of stacks, which sees no memory."""

    def step(x, u, p):
        assert x.shape[1:] == (plant.nx,) and u.shape[1:] == (plant.nu,)
        return np.array(plant.function.map(len(x))(x.T, u.T, p.T)).T

    return step


@pytest.fixture(scope="module")
def policy():
    plant = loaded_motor()
    law = pid(plant, 0.8, 0.6, 0.1, filter_time=0.2, filtered=(-2.0, 3.0), bounds={"kp": (0.0, 0.9)})
    return controlled(plant, law, parameters=RANGES)


def problem(policy, box=None, objective=None, **metrics):
    plant = policy.controlled_plant
    batch = sc.scenarios(
        policy.plant, policy.backup, horizon=20, count=6, level=0.4, parameters=RANGES, disturbance=[0.002, 0.002, 0, 0]
    )
    options = sc.MetricOptions(**({"contraction": 0.9, "contraction_floor": 0.7, "terminal": True} | metrics))
    simulator = {None: None, "Python": step_of(plant), "CasADi": plant.function}[box]
    return sc.ControlProblem(
        policy,
        batch,
        sc.Quadratic([10.0, 0.0], [0.1]) if objective is None else objective,
        options,
        simulator=simulator,
    )


@pytest.fixture(params=["Python", "CasADi"])
def pair(policy, request):
    return problem(policy), problem(policy, request.param)


def close(value, expected, tolerance):
    np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected).max()))


def test_metrics_costs_and_trajectories_are_those_of_the_plant(pair):
    known, box = pair
    for theta in (np.zeros(3), np.array([0.4, -0.2, 0.3]), np.array([3.0, -4.0, 2.0])):  # the last is cut
        close(box.metrics(theta), known.metrics(theta), 1e-8)
        close(box.objective(theta), known.objective(theta), 1e-10)
        for value, expected in zip(box.trajectories(theta), known.trajectories(theta), strict=True):
            close(value, expected, 1e-10)
    stack = np.random.default_rng(0).normal(size=(3, 3))
    close(box.sample(stack), known.sample(stack), 1e-7)


def test_a_reference_that_varies_is_the_same_around_a_box():
    motor = loaded_motor()
    alone = step_of(motor)
    law = pid(motor, 0.8, 0.6, 0.1, filter_time=0.2, filtered=(-2.0, 3.0))
    moved = controlled(motor, law, reference={law.r_labels[0]: signals.step(float(law.r_nominal[0]), (0.1, 0.3), 0.5)})
    batch = sc.scenarios(moved.plant, moved.backup, horizon=20, count=5, level=0.1)
    tracking, metrics = sc.tracking(moved, [1.0], [0.1]), sc.MetricOptions(stability=False)
    known = sc.ControlProblem(moved, batch, tracking, metrics)
    box = sc.ControlProblem(moved, batch, tracking, metrics, simulator=lambda x, u, p: alone(x, u, p[:, : motor.npar]))
    theta = np.array([0.2, -0.1, 0.1])
    close(box.objective(theta), known.objective(theta), 1e-10)
    close(box.metrics(theta), known.metrics(theta), 1e-8)
    for value, expected in zip(box.trajectories(theta), known.trajectories(theta), strict=True):
        close(value, expected, 1e-10)


def test_differences_approach_the_derivatives(pair):
    known, box = pair
    theta, D = np.array([0.3, -0.2, 0.1]), np.random.default_rng(0).normal(size=(2, 3))
    close(box.gradient(theta), known.gradient(theta), 1e-6)
    close(box.gauss_newton(theta), known.gauss_newton(theta), 1e-6)
    for one, other in zip(box.blocks(3), known.blocks(3), strict=True):
        close(box.jacobian(theta, D, one), known.jacobian(theta, D, other), 1e-5)
    multipliers = np.random.default_rng(1).uniform(size=(6, known.rows_per_scenario))
    for value, expected in zip(
        box.scenario_gradients(theta, box.scenarios, multipliers),
        known.scenario_gradients(theta, known.scenarios, multipliers), strict=True,
    ):  # fmt: skip
        close(value, expected, 1e-5)


def test_the_loop_at_rest_is_that_of_the_plant(policy, pair):
    known, box = pair
    for theta in (np.zeros(3), np.array([0.4, -0.2, 0.3])):
        assert box.spectral_radius(theta) == pytest.approx(known.spectral_radius(theta), rel=1e-6)
    p = known.scenarios.p
    boxed = BoxRest(policy.plant, policy.backup, box_in_loop(step_of(policy.controlled_plant), policy), policy.at_start)
    rest = BackupRest(policy.plant, policy.backup, policy.at_start)
    close(boxed.places(p), rest.places(p), 1e-7)
    close(boxed.slopes(rest.places(p), p), rest.slopes(rest.places(p), p), 1e-6)


def test_memory_is_exact_whatever_the_box_does(policy):
    box = box_in_loop(lambda x, u, p: np.zeros_like(x), policy)
    rng = np.random.default_rng(3)
    x, u, p = rng.normal(size=(5, 4)), rng.normal(size=(5, 3)), np.tile(policy.plant.p_nominal, (5, 1))
    found = box(x, u, p)
    np.testing.assert_array_equal(found[:, :2], 0.0)
    np.testing.assert_array_equal(found[:, 2:], u[:, 1:])


@pytest.mark.long
@pytest.mark.table(2)
@pytest.mark.parametrize("objective", [None, "cost"])
def test_adaptation_around_a_box_is_that_around_the_plant(policy, objective):
    plant = policy.controlled_plant
    cost = None if objective is None else sc.Cost((plant.x[0] - 0.5) ** 2 + 1e-3 * plant.u**2)
    audit = objective is None  # audits have nothing to do with the objective
    options = sc.AdaptOptions(steps=4, method="gradient", smoothness=20.0, audit_rollouts=20, audit=audit)
    known, box = (sc.adapt(problem(policy, of, cost), options) for of in (None, "Python"))
    assert box.is_safe() and len(box.committed) == len(known.committed) > 2
    assert (box.final_audit is not None) == audit
    np.testing.assert_allclose(box.theta, known.theta, rtol=1e-4, atol=1e-6)
    assert policy.parameters(box.theta)["kp"] <= 0.9


def test_a_box_that_differs_from_the_model_is_what_counts(policy):
    plant = policy.controlled_plant
    step = step_of(plant)
    batch = problem(policy).scenarios
    worse = sc.ControlProblem(
        policy, batch, sc.Quadratic([10.0, 0.0], [0.1]), simulator=lambda x, u, p: step(x, 0.97 * u, p)
    )
    X, U = worse.trajectories(np.zeros(3))
    at = np.array(
        [step(x[None, :2], 0.97 * u[None, :1], p[None])[0] for x, u, p in zip(X[:, 3], U[:, 3], batch.p, strict=True)]
    )
    np.testing.assert_allclose(X[:, 4, :2], at + batch.w[:, 3, :2], atol=1e-12)
    assert worse.objective(np.zeros(3)) != pytest.approx(problem(policy).objective(np.zeros(3)), rel=1e-3)


def test_a_law_without_memory_and_two_inputs():
    plant = linear(np.eye(2), np.eye(2), 0.1, ([-1.0] * 2, [1.0] * 2, [-5.0] * 2, [5.0] * 2))
    policy = controlled(plant, state_feedback(plant, [[0.5, 0.1], [0.0, 0.6]]))
    batch = sc.scenarios(plant, policy.backup, horizon=6, count=3, level=0.5)
    known, box = (
        sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 1.0], [1.0, 1.0]), simulator=of)
        for of in (None, step_of(plant))
    )
    theta = np.array([0.1, -0.2, 0.3, 0.05])
    close(box.metrics(theta), known.metrics(theta), 1e-9)


def test_what_is_wrong_with_a_box_is_said_of_the_plant(policy):
    batch = problem(policy).scenarios
    make = lambda step: sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 0.0], [1.0]), simulator=step)  # noqa: E731
    with pytest.raises(DimensionError, match=r"returned shape \(.*, 4\).*expected \(.*, 2\)"):
        make(lambda x, u, p: np.hstack([x, x]))
    with pytest.raises(EvaluationError, match="the simulator raised ZeroDivisionError"):
        make(lambda x, u, p: 1 / 0)
    with pytest.raises(DimensionError, match="takes inputs of shapes"):
        make(policy.plant.function)  # of the loop, with what is remembered
    with pytest.raises(DomainError, match="needs a problem with derivatives"):
        sc.adapt(problem(policy, "Python"), sc.AdaptOptions(method="newton"))
    lost = sc.ControlProblem(
        policy, batch, sc.Quadratic([1.0, 0.0], [1.0]), sc.MetricOptions(stability=False),
        simulator=lambda x, u, p: np.full_like(x, np.nan),
    )  # fmt: skip
    assert np.isnan(lost.metrics(np.zeros(3))).any()


def varied(policy, *, plain):
    """Return a loop whose reference, a parameter and its sensor's noise vary, around the plant or a box."""
    plant = with_signals(sensor_noise(loaded_motor(), 0.01), {"friction": signals.ramp(0.8, (0.75, 0.85), 0.3, over=1)})
    law, label = policy.controller, policy.controller.r_labels[0]
    loop = controlled(plant, law, reference={label: signals.step(0.5, (0.3, 0.7), at=(0.2, 0.9))})
    batch = sc.scenarios(loop.plant, loop.backup, horizon=20, count=6, level=0.1, parameters={"gain": (0.98, 1.02)})
    options = sc.MetricOptions(contraction=0.9, contraction_floor=0.7)
    box = None if plain else step_of(loop.controlled_plant)
    return sc.ControlProblem(loop, batch, sc.tracking(loop, [1.0], [0.1]), options, simulator=box)


def test_what_varies_is_what_it_is_at_each_step(policy):
    plant, box = varied(policy, plain=True), varied(policy, plain=False)
    theta = 0.1 * np.random.default_rng(2).normal(size=plant.theta_dim)
    close(box.metrics(theta), plant.metrics(theta), 1e-7)
    close(box.objective(theta), plant.objective(theta), 1e-10)
    for found, expected in zip(box.trajectories(theta), plant.trajectories(theta), strict=True):
        close(found, expected, 1e-10)
    weights = np.random.default_rng(5).uniform(0, 1, (box.scenarios.count, box.rows_per_scenario))
    of_box, of_plant = (each.scenario_gradients(theta, each.scenarios, weights) for each in (box, plant))
    for found, expected in zip(of_box[:2], of_plant[:2], strict=True):  # there is no disturbance
        close(found, expected, 1e-5)
