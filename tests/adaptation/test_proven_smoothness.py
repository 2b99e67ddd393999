"""Certified smoothness constants: they hold all over the ball, are not loose, and make certified mode work alone."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from certified_loops import (
    EVERYTHING,
    LOOP,
    PROBLEMS,
    ball,
    disturbed_problem,
    hessian_function,
    hessian_norms,
    parameters,
    with_metrics,
)
from problems import double_integrator_problem, scalar_problem, two_input_problem

from scpo_ctrl import AdaptOptions, ControlProblem, FunctionProblem, RunStatus, UserObjective, adapt
from scpo_ctrl.adaptation.proven_smoothness import smoothness_bounds
from scpo_ctrl.adaptation.region import first_smoothness
from scpo_ctrl.adaptation.scaling import Scaling
from scpo_ctrl.adaptation.state import resolved
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import scenarios
from scpo_ctrl.models import Plant, double_integrator
from scpo_ctrl.problem.objective import Quadratic


@pytest.mark.table(6)
@pytest.mark.parametrize("radius", [1e-4, 0.05, 0.3])
@pytest.mark.parametrize("name", PROBLEMS)
def test_bounds_hold_for_hessians_and_second_differences_all_over_the_ball(name, radius):
    problem, rng = PROBLEMS[name](), np.random.default_rng(0)
    function = hessian_function(problem)
    for theta in (problem.theta_initial, parameters(problem)):
        L = smoothness_bounds(problem, theta, radius)
        assert L.shape == problem.metrics(theta).shape
        for delta in ball(rng, radius, theta.size, 6):
            norms = hessian_norms(problem, function, theta + delta)
            assert (norms <= L * (1 + 1e-9) + 1e-12).all()
        steps = ball(rng, radius, theta.size, 40)
        g = problem.sample(theta[None])
        second = np.abs(problem.sample(theta + steps) + problem.sample(theta - steps) - 2 * g)
        rounding = 1e-14 * (1 + np.abs(g))
        assert (second <= L * np.sum(steps**2, axis=1)[:, None] + 100 * rounding).all()


@pytest.mark.parametrize("name", PROBLEMS)
def test_upper_bound_of_the_local_safe_region_holds_with_exact_gradients(name):
    """(E4) with e = 0, wherever in the ball the step ends."""
    problem, rng, radius = PROBLEMS[name](), np.random.default_rng(1), 0.1
    theta = parameters(problem, 0.1)
    L, g = smoothness_bounds(problem, theta, radius), problem.sample(theta[None])
    h = 1e-6
    basis = h * np.eye(theta.size)
    gradients = (problem.sample(theta + basis) - problem.sample(theta - basis)) / (2 * h)
    steps = ball(rng, radius, theta.size, 200)
    allowed = steps @ gradients + L / 2 * np.sum(steps**2, axis=1)[:, None]
    assert (problem.sample(theta + steps) - g <= allowed + 1e-9 * (1 + np.abs(g))).all()


def test_a_scalar_loop_has_its_exact_constants():
    """With one state, a pole in (0, 1) and x0 > 0, the ball's slowest loop is the worst, and the bound reaches it."""
    problem, radius = with_metrics(scalar_problem(horizon=12, scale=(1.0,)), EVERYTHING), 0.2
    batch = scenarios(problem.plant, problem.backup, horizon=12, initial_states=[[0.8]])
    problem = with_metrics(problem, EVERYTHING, batch)
    t, b = np.arange(13), 0.5
    pole = 0.9 - b * problem.backup.K[0, 0] + b * radius
    x = 0.8 * pole**t
    first, second = 0.8 * t * b * pole ** (t - 1.0), 0.8 * t * (t - 1) * b**2 * pole ** (t - 2.0)
    level = 2 * problem.backup.P[0, 0] * (first[-1] ** 2 + x[-1] * second[-1])
    L = smoothness_bounds(problem, np.zeros(1), radius) * problem.metric_units
    np.testing.assert_allclose(L[:26], np.repeat(second, 2), rtol=1e-8, atol=1e-15)
    np.testing.assert_allclose(L[-2:], [level / problem.backup.rho, level], rtol=1e-8)
    rows = problem.scenario_metrics.rows
    assert [row.kind for row in rows[-2:]] == ["terminal", "contraction"]
    assert {row.kind for row in rows[:26]} == {"state"}


@pytest.mark.parametrize(("name", "median", "most"), [("linear", 2.2, 3.0), ("one layer", 3.2, 5.0)])
def test_bounds_are_not_loose_in_a_small_ball(name, median, most):
    """Above the Hessian norm at θ by these factors, over all metrics whose norm is not tiny."""
    problem = PROBLEMS[name]()
    theta = parameters(problem, 0.1)
    norms = hessian_norms(problem, hessian_function(problem), theta)
    L = smoothness_bounds(problem, theta, 0.01)
    kinds = np.tile([row.kind for row in problem.scenario_metrics.rows], problem.scenarios.count)
    for kind in ("state", "command", "contraction", "terminal"):
        which = (kinds == kind) & (norms > 1e-2 * norms[kinds == kind].max())
        factor = L[which] / norms[which]
        assert np.median(factor) <= median, kind
        assert factor.max() <= most, kind


def test_metrics_that_are_affine_in_the_parameters_have_no_curvature():
    problem = with_metrics(double_integrator_problem(()), EVERYTHING)
    L = smoothness_bounds(problem, parameters(problem), 0.1).reshape(problem.scenarios.count, -1)
    for i, row in enumerate(problem.scenario_metrics.rows):
        affine = (row.kind == "state" and row.time <= 1) or (row.kind == "command" and row.time == 0)
        assert (L[:, i] == 0).all() == affine, row


def test_bounds_grow_with_the_ball_and_keep_their_order_with_bounds_missing():
    problem = with_metrics(two_input_problem(4, (), horizon=8), EVERYTHING)
    assert not np.isfinite(problem.plant.x_max).all()
    theta = parameters(problem, 0.1)
    ladder = np.array([smoothness_bounds(problem, theta, radius) for radius in (1e-3, 1e-2, 1e-1)])
    assert (np.diff(ladder, axis=0) >= 0).all()
    labels = [row.label for row in problem.scenario_metrics.rows]
    assert len(labels) * problem.scenarios.count == ladder.shape[1]


# --- the loop -----------------------------------------------------------------------------------------------------


def contraction_problem(hidden=(), horizon=25) -> ControlProblem:
    """Return the double integrator with enough scenarios and metrics for constraints to bind."""
    return with_metrics(
        double_integrator_problem(hidden, horizon=horizon, count=8), MetricOptions(stability=False, contraction=0.9)
    )


@pytest.mark.parametrize("method", ["auto", "gradient", "momentum", "adam", "lbfgs"])
def test_certified_adaptation_needs_no_constants_and_no_verification(method):
    problem = contraction_problem()
    options = AdaptOptions(steps=40, mode="certified", method=method, radius=0.03)
    result = adapt(problem, options)
    assert result.is_safe()
    assert result.worst_margin() >= 0
    assert result.status is not RunStatus.SMOOTHNESS_TOO_SMALL
    assert (result.history.column("margin") >= 0).all()  # of every step tried, not only of those committed
    assert result.objective_final < 0.9 * result.objective_initial
    tried = np.count_nonzero(result.history.column("delta_norm") > 0)
    sampled = problem.theta_dim * result.steps
    assert result.rollouts == (1 + sampled + tried) * problem.rollouts_per_theta  # nothing estimated, nothing probed


def test_certified_adaptation_of_a_network_with_disturbances():
    problem = with_metrics(disturbed_problem((3,)), MetricOptions(stability=False))
    result = adapt(problem, AdaptOptions(steps=30, mode="certified", radius=0.02, directions=5))
    assert result.is_safe()
    assert result.worst_margin() >= 0
    assert result.objective_final < result.objective_initial


def test_constants_are_those_of_the_ball_around_the_last_commit():
    problem = contraction_problem()
    options = AdaptOptions(steps=1, mode="certified", radius=0.03)
    result = adapt(problem, options)
    for _ in range(4):
        before = result.theta
        result = adapt(problem, AdaptOptions(steps=result.steps + 1, mode="certified", radius=0.03), resume_from=result)
        np.testing.assert_array_equal(result.state["L"], np.maximum(smoothness_bounds(problem, before, 0.03), 1e-9))
    straight = adapt(problem, AdaptOptions(steps=5, mode="certified", radius=0.03))
    np.testing.assert_array_equal(result.theta, straight.theta)


@pytest.mark.parametrize("M", [(4.0, 0.25), ((2.0, 0.5), (0.5, 0.3))])
def test_constants_in_a_scaled_norm_hold(M):
    problem, radius, rng = contraction_problem(), 0.02, np.random.default_rng(3)
    scaling, theta = Scaling.from_preconditioner(M, 2), parameters(problem, 0.05)
    options = AdaptOptions(mode="certified", radius=radius, preconditioner=M)
    found = first_smoothness(problem, theta, problem.evaluate(theta)[1], scaling, options, rng)
    L = found.L
    assert found.evaluations == 0
    scaled = ball(rng, radius, 2, 100)
    steps = scaling.to_theta(scaled)
    second = np.abs(problem.sample(theta + steps) + problem.sample(theta - steps) - 2 * problem.sample(theta[None]))
    assert (second <= L * np.sum(scaled**2, axis=1)[:, None] + 1e-12).all()
    result = adapt(problem, AdaptOptions(steps=15, mode="certified", radius=radius, preconditioner=M))
    assert result.worst_margin() >= 0
    assert result.objective_final < result.objective_initial


def test_certified_constants_do_not_decay_where_no_step_is_possible():
    """Both metrics are active and opposed, so the projected step is zero however small the constants get."""
    target = np.array([3.0, 0.0])
    objective = UserObjective(lambda t: (float((t - target) @ (t - target)), 2 * (t - target)))
    problem = FunctionProblem(np.zeros(2), lambda t: np.column_stack([t[:, 0], -t[:, 0]]), objective)
    result = adapt(problem, AdaptOptions(steps=4, mode="certified", smoothness=5.0, tolerance=0.0))
    assert not result.history.column("committed").any()
    assert (result.state["L"] == 5.0).all()


# --- refusals -----------------------------------------------------------------------------------------------------


def rubbing() -> ControlProblem:
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    f = ca.vertcat(x[0] + 0.1 * x[1], 0.9 * x[1] + 0.1 * u - 0.01 * x[1] * ca.fabs(x[1]))
    bounds = {"x_min": [-1.0, -1.0], "x_max": [1.0, 1.0], "u_min": [-1.0], "u_max": [1.0]}
    plant = Plant(name="rubbing", x=x, u=u, f=f, dt=0.1, **bounds)
    backup = lqr(plant, [1.0, 1.0], [1.0])
    batch = scenarios(plant, backup, horizon=3, count=2)
    return ControlProblem(Policy(plant, backup), batch, Quadratic([1.0, 1.0], [1.0]), LOOP)


def black_box() -> ControlProblem:
    problem = double_integrator_problem(())
    A, B = problem.plant.linearise()
    return with_metrics(problem, MetricOptions(stability=False), simulator=lambda x, u, p: x @ A.T + u @ B.T)


REFUSED = {
    "no plant": (
        lambda: FunctionProblem(np.zeros(1), lambda t: t - 1, UserObjective(lambda t: (0.0, t))),
        "model of a plant only; give smoothness",
    ),
    "black box": (black_box, "model of a plant only"),
    "kinks": (rubbing, "plant 'rubbing': the operation (fabs|sign) has no enclosure by intervals; give smoothness"),
    "saturated": (
        lambda: with_metrics(double_integrator_problem(()), MetricOptions(stability=False, command=False)),
        r"saturation is part.*set command = true",
    ),
    "saturated without a path": (
        lambda: with_metrics(double_integrator_problem(()), MetricOptions(stability=False, path=False, terminal=True)),
        r"saturation is part.*path = true",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_problems_without_a_bound_are_refused_at_the_door(name):
    make, said = REFUSED[name]
    problem, options = make(), AdaptOptions(mode="certified")
    for refuse in (
        lambda: resolved(problem, options),
        lambda: adapt(problem, options),
        lambda: smoothness_bounds(problem, problem.theta_initial, 0.1),
    ):
        with pytest.raises(DomainError, match=said):
            refuse()
    assert resolved(problem, AdaptOptions(mode="certified", smoothness=3.0)).smoothness == 3.0


def test_a_bound_that_overflows_is_refused_with_the_remedy():
    problem = double_integrator_problem((4,), horizon=40, stability=False)
    with pytest.raises(DomainError, match=r"scenario \d+, t = \d+.*radius 100; make radius smaller or the horizon"):
        smoothness_bounds(problem, problem.theta_initial, 100.0)


def test_the_double_integrators_mass_scales_its_bounds():
    """Twice the mass halves B, so the curvature of states one push deep falls by four."""
    problem = double_integrator_problem(())
    plant = double_integrator()
    light, heavy = (
        with_metrics(
            problem,
            MetricOptions(stability=False),
            scenarios(plant, problem.backup, horizon=2, initial_states=[[1.0, 0.2]], parameters={"mass": (m, m)}),
        )
        for m in (1.0, 2.0)
    )
    at = [smoothness_bounds(p, p.theta_initial, 1e-9) for p in (light, heavy)]
    states = [i for i, row in enumerate(light.scenario_metrics.rows) if row.kind == "state" and row.time == 2]
    np.testing.assert_allclose(at[0][states], 4 * at[1][states], rtol=1e-6)
