"""Rollouts of black-box simulators: against the engine that knows the plant, and every way in which they fail."""

import casadi as ca
import numpy as np
import pytest
from loops import EXPRESSIONS, linear_case, loaded_case, pendulum_case, scalar_case, varying_case
from problems import double_integrator_problem

from scpo_ctrl import AdaptOptions, adapt
from scpo_ctrl.engine import simulator as simulator_module
from scpo_ctrl.engine.lanes import LaneEngine
from scpo_ctrl.engine.simulator import SimulatorEngine
from scpo_ctrl.errors import DimensionError, EvaluationError
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.objective import Quadratic

CASES = {
    "loaded": loaded_case((3,)),
    "loaded, a floor between": loaded_case((), MetricOptions(path=False, contraction=0.6, contraction_floor=0.3)),
    "linear": linear_case(),
    "linear, saturated": linear_case((4,), MetricOptions(command=False, terminal=True)),
    "levels only": linear_case((3,), MetricOptions(path=False, terminal=True, contraction=0.4)),
    "pendulum": pendulum_case((3, 4)),
    "pendulum, a floor": pendulum_case((3,), MetricOptions(contraction=0.6, contraction_floor=0.05)),
    "no parameters": scalar_case(),
    "signals": varying_case((3,)),
    **{name: case for name, case in EXPRESSIONS.items() if case.loop.stage.terms.residuals},
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def step_of(plant):
    """Return a plant as a Python function of stacks."""

    def step(x, u, p):
        return np.array(plant.function.map(len(x))(x.T, u.T, p.T)).T

    return step


def close(value, expected, tolerance):
    np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected).max()))


@pytest.fixture(params=["Python", "CasADi"])
def black_box(request, case):
    plant = case.loop.policy.plant
    return SimulatorEngine(case.loop, step_of(plant) if request.param == "Python" else plant.function)


def test_metrics_costs_and_trajectories_are_those_of_the_plant(case, black_box):
    fast = LaneEngine(case.loop)
    thetas = np.stack([case.theta(size, seed) for seed, size in enumerate((0.0, 0.3, 1.5))])
    for value, expected in zip(black_box.evaluate(case.batch, thetas), fast.evaluate(case.batch, thetas), strict=True):
        close(value, expected, 1e-11)
    shape = (3, case.batch.count * len(case.loop.metrics.rows))
    value, expected, origin = np.empty(shape), np.empty(shape), np.arange(float(shape[1]))
    black_box.metrics(case.batch, thetas, value, saturated=False)
    fast.metrics(case.batch, thetas, expected, saturated=False)
    close(value, expected, 1e-11)
    squares = black_box.differences(case.batch, thetas, origin, 0.5, value, saturated=False)
    close(squares, fast.differences(case.batch, thetas, origin, 0.5, expected, saturated=False), 1e-11)
    close(value, expected, 1e-11)
    for value, expected in zip(
        black_box.trajectories(case.batch, thetas[2]), fast.trajectories(case.batch, thetas[2]), strict=True
    ):
        close(value, expected, 1e-11)


@pytest.mark.table(4)
def test_differences_approach_the_derivatives(case, black_box):
    fast, theta, batch = LaneEngine(case.loop), case.theta(0.5), case.batch
    for name in ("gradient", "gauss_newton"):
        for value, expected in zip(
            getattr(black_box, name)(batch, theta), getattr(fast, name)(batch, theta), strict=True
        ):
            close(value, expected, 1e-6)
    D = np.random.default_rng(0).normal(size=(3, theta.size))
    for directions in (None, D):
        value = black_box.jacobian(batch, theta, directions, saturated=False)
        close(value, fast.jacobian(batch, theta, directions, saturated=False), 1e-6)


def test_chunks_change_nothing(case, monkeypatch):
    box = SimulatorEngine(case.loop, step_of(case.loop.policy.plant))
    thetas = np.stack([case.theta(0.3, seed) for seed in range(5)])
    whole, gauss_newton = box.evaluate(case.batch, thetas), box.gauss_newton(case.batch, thetas[0])
    monkeypatch.setattr(simulator_module, "_NUMBERS", 20)
    for value, expected in zip(box.evaluate(case.batch, thetas), whole, strict=True):
        close(value, expected, 1e-13)
    for value, expected in zip(box.gauss_newton(case.batch, thetas[0]), gauss_newton, strict=True):
        close(value, expected, 1e-9)  # differences enlarge what is rounded


def problem_with(simulator, stability=False, **options):
    """Return a small problem around a black box."""
    base = double_integrator_problem((), count=3, horizon=8)
    metrics = MetricOptions(stability=stability)
    return ControlProblem(
        base.policy, base.scenarios, Quadratic([1.0, 1.0], [0.05]), metrics, simulator=simulator, **options
    )


def test_adaptation_around_a_black_box_is_that_around_the_plant():
    base = double_integrator_problem((), count=3, horizon=8)
    known = adapt(base, AdaptOptions(steps=3, method="gradient"))
    unknown = adapt(problem_with(step_of(base.plant), stability=True), AdaptOptions(steps=3))
    np.testing.assert_array_equal(unknown.history.column("committed"), known.history.column("committed"))
    assert known.history.column("committed").any()
    assert unknown.is_safe()
    np.testing.assert_allclose(unknown.theta, known.theta, rtol=1e-5, atol=1e-6)


def test_a_simulator_that_differs_from_the_plant_is_what_counts():
    heavy = problem_with(lambda x, u, p: np.stack([x[:, 0] + 0.1 * x[:, 1], x[:, 1] + 0.02 * u[:, 0]], axis=1))
    base = double_integrator_problem((), count=3, horizon=8)
    assert heavy.objective(heavy.theta_initial) > base.objective(base.theta_initial)
    X, U = heavy.trajectories(heavy.theta_initial)
    np.testing.assert_allclose(X[:, 1:, 1] - X[:, :-1, 1], 0.02 * np.clip(U[:, :, 0], -1, 1), atol=1e-14)


def test_a_black_box_that_raises_is_named():
    def broken(x, u, p):
        raise RuntimeError("solver gave up")

    problem = problem_with(broken)
    with pytest.raises(EvaluationError, match="the simulator raised RuntimeError: solver gave up"):
        problem.metrics(problem.theta_initial)
    with pytest.raises(EvaluationError, match="the simulator raised RuntimeError: solver gave up"):
        problem_with(broken, stability=True)


@pytest.mark.parametrize("answer", [lambda x: x[:, :1], lambda x: x[:-1], lambda x: x.T, lambda x: 1.0])
def test_a_black_box_with_the_wrong_shape_is_named(answer):
    problem = problem_with(lambda x, u, p: answer(x))
    with pytest.raises(DimensionError, match=r"the simulator returned shape .* expected \(3, 2\)"):
        problem.metrics(problem.theta_initial)


def test_a_black_box_that_answers_no_numbers_is_named():
    problem = problem_with(lambda x, u, p: "next")
    with pytest.raises(EvaluationError, match="the simulator raised ValueError"):
        problem.metrics(problem.theta_initial)


def test_a_black_box_cannot_change_what_it_is_given():
    def rude(x, u, p):
        x[:] = 0.0
        u[:] = 7.0
        return x

    problem = problem_with(rude)
    before = problem.scenarios.x0.copy()
    X, U = problem.trajectories(problem.theta_initial)
    np.testing.assert_array_equal(problem.scenarios.x0, before)
    assert (X[:, 1:] == 0).all()
    assert (U[:, 1:] == 0).all()


def test_nan_of_a_black_box_is_a_metric_that_is_not_finite():
    calls = []

    def lost(x, u, p):
        calls.append(len(x))
        return np.where(np.abs(u) > 0.01, np.nan, x)

    problem = problem_with(lost)
    g = problem.metrics(problem.theta_initial)
    assert np.isnan(g).any()
    assert np.isfinite(g[: 4 * 3]).any()
    assert calls == [3] * 8
    for values in (
        *problem.rollouts.gauss_newton(problem.theta_initial),
        problem.rollouts.jacobian(problem.theta_initial),
    ):
        assert np.isnan(values).any()
    with pytest.raises(EvaluationError, match="not finite"):
        problem.gradient(problem.theta_initial)


def test_functions_that_do_not_fit_the_plant_are_refused():
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u", 1), ca.SX.sym("p", 1)
    for wrong, words in (
        (ca.Function("f", [x, u], [x]), "takes inputs of shapes"),
        (ca.Function("f", [u, x, p], [x]), "takes inputs of shapes"),
        (ca.Function("f", [x, u, p], [u]), "first output is not the next state"),
        (ca.Function("f", [x, u, p], []), "first output is not the next state"),
    ):
        with pytest.raises(DimensionError, match=words):
            problem_with(wrong)
