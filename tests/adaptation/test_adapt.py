"""The loop: every commit safe whatever the objective wants, known optima reached, and resumed to the same bits."""

import dataclasses

import casadi as ca
import numpy as np
import pytest
import scipy.optimize
from plain import AdaptOptions
from problems import double_integrator_problem, scalar_problem, two_input_problem

from scpo_ctrl import ControlProblem, FunctionProblem, RunStatus, UserObjective, Verdict, adapt
from scpo_ctrl.adaptation.history import VERDICTS
from scpo_ctrl.errors import DimensionError, DomainError, EvaluationError, RecordError, UnsafeStartError
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import scenarios
from scpo_ctrl.models import double_integrator, linear
from scpo_ctrl.problem.objective import Quadratic


def distance_problem(target, metrics, d=3):
    """Return: minimise ‖θ - target‖² subject to the metrics, from zero."""
    target = np.asarray(target, dtype=float)
    objective = UserObjective(lambda t: (float((t - target) @ (t - target)), 2 * (t - target)))
    return FunctionProblem(np.zeros(d), metrics, objective)


def ball(thetas):
    return np.sum(thetas**2, axis=1)[:, None] - 1.0


def polytope(thetas):
    return np.column_stack([thetas.sum(axis=1) - 1, -thetas, thetas - 0.8])


@pytest.mark.parametrize("method", ["gradient", "momentum", "adam", "lbfgs"])
@pytest.mark.parametrize("probes", [0, 2])
def test_optimum_on_a_ball(method, probes):
    target = np.array([2.0, -1.0, 2.0])
    result = adapt(distance_problem(target, ball), AdaptOptions(steps=150, method=method, probes=probes))
    assert result.is_safe() and result.margin() >= 0
    np.testing.assert_allclose(result.theta, target / 3, atol=2e-3)


@pytest.mark.parametrize("solver", ["CLARABEL", "ECOS"])
def test_optimum_on_a_polytope_that_starts_at_a_vertex(solver):
    """Every coordinate starts on its bound: c = 0 for half of the metrics, the optimum is (0.8, 0.2, 0)."""
    pytest.importorskip(solver.lower())
    result = adapt(distance_problem([3.0, 1.0, -5.0], polytope), AdaptOptions(steps=60, solver=solver))
    assert result.is_safe()
    np.testing.assert_allclose(result.theta, [0.8, 0.2, 0.0], atol=2e-3)


def test_subspace_directions_reach_the_same_optimum():
    target = np.zeros(40)
    target[:4] = 1.0
    result = adapt(distance_problem(target, ball, d=40), AdaptOptions(steps=150, directions=6))
    assert result.is_safe()
    np.testing.assert_allclose(result.theta, target / 2, atol=1e-2)
    tried = np.count_nonzero(result.history.column("delta_norm") > 0)
    assert result.rollouts == 1 + 16 + result.steps * (6 + result.options.probes) + tried


@pytest.mark.parametrize("seed", range(5))
def test_a_malicious_objective_never_gets_an_unsafe_commit(seed):
    """The objective pulls straight towards whatever is nearest to unsafe, and lies about its value."""
    problem, rng = double_integrator_problem((4,), horizon=15, seed=seed), np.random.default_rng(seed)
    push = rng.normal(size=problem.theta_dim)
    calls = iter(range(10**6))
    liar = UserObjective(lambda theta: (-float(next(calls)), push + rng.normal(size=theta.size)))
    attacked = ControlProblem(problem.policy, problem.scenarios, liar, MetricOptions(contraction=0.99), seed=seed)
    result = adapt(attacked, AdaptOptions(steps=25))
    assert result.history.column("committed").sum() > 5
    assert result.is_safe()
    assert result.summary()["violations"] == 0
    assert result.worst_margin() >= 0
    unsafe = result.history.column("verdict") == VERDICTS.index(Verdict.UNSAFE)
    assert (result.history.column("margin")[unsafe] < 1e-10).all()


def test_certified_mode_needs_no_verification_and_its_bound_holds():
    target = np.array([2.0, -1.0, 2.0])
    result = adapt(distance_problem(target, ball), AdaptOptions(steps=200, mode="certified", smoothness=2.0))
    assert result.is_safe()
    assert not (result.history.column("verdict") == VERDICTS.index(Verdict.UNSAFE)).any()
    assert (result.history.column("smoothness_max") == 2.0).all()
    np.testing.assert_allclose(result.theta, target / 3, atol=5e-3)


def test_certified_mode_with_wrong_constants_stops_and_says_so():
    options = AdaptOptions(steps=50, mode="certified", smoothness=0.01, radius=2.0)
    result = adapt(distance_problem([2.0, 0, 0], ball), options)
    assert result.status is RunStatus.SMOOTHNESS_TOO_SMALL
    assert not result.is_safe()
    assert result.summary()["violations"] == 1
    with pytest.raises(DomainError, match=r"certified.*smoothness"):
        adapt(distance_problem([2.0, 0, 0], ball), AdaptOptions(mode="certified"))


def test_linear_policy_finds_the_lqr_gain_where_nothing_binds():
    """Far from all bounds and over a long horizon, the best linear policy is the LQR of the objective's own weights."""
    plant = linear([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], 0.1, ([-9.0, -9.0], [9.0, 9.0], [-90.0], [90.0]))
    backup = lqr(plant, [0.1, 0.1], [1.0])
    batch = scenarios(plant, backup, horizon=150, initial_states=np.eye(2) / 2)
    problem = ControlProblem(Policy(plant, backup), batch, Quadratic([1.0, 0.3], [0.5]), MetricOptions())
    result = adapt(problem, AdaptOptions(steps=300, radius=0.3, step_length=3))
    best = lqr(plant, [1.0, 0.3], [0.5]).K
    gain = backup.K - 90.0 * result.theta.reshape(1, 2) / problem.policy.scale  # u_max, and what divides the state
    np.testing.assert_allclose(gain, best, rtol=2e-2)


@pytest.mark.parametrize("method", ["gradient", "newton"])
def test_objective_falls_with_every_commit_and_history_adds_up(method):
    """The objective itself for first-order methods; with Newton's barrier it is never above the backup's."""
    result = adapt(two_input_problem(3, (3,)), AdaptOptions(steps=10, method=method))
    history = result.history
    committed = history.column("committed")
    values = np.append(result.objective_initial, history.column("objective")[committed])
    assert (np.diff(values) < 0).all() if method == "gradient" else (values <= values[0]).all()
    assert values[-1] == result.objective_final < values[0]
    np.testing.assert_array_equal(history.column("theta")[committed][-1], result.theta)
    for theta, margin, objective in zip(
        history.column("theta"), history.column("margin"), history.column("objective"), strict=True
    ):
        assert margin == -result.problem.metrics(theta).max()
        assert objective == result.problem.objective(theta)
    assert result.summary()["accepted"] + result.summary()["rejected"] == len(history)
    assert (np.diff(history.column("rollouts")) > 0).all()


@pytest.mark.parametrize(
    "options",
    [{}, {"method": "adam"}, {"method": "lbfgs"}, {"method": "gauss_newton"}, {"directions": 3},
     {"gradients": "exact"}, {"method": "gradient", "preconditioner": np.linspace(1, 2, 15)}],
    ids=lambda options: "-".join(options) or "newton",
)  # fmt: skip
def test_resumed_runs_give_the_same_bits(options):
    problem = two_input_problem(2, (3,))
    whole = adapt(problem, AdaptOptions(steps=8, **options))
    half = adapt(problem, AdaptOptions(steps=3, **options))
    resumed = adapt(problem, AdaptOptions(steps=8, **options), resume_from=half)
    for name, column in whole.history.columns().items():
        np.testing.assert_array_equal(column, resumed.history.columns()[name], err_msg=name)
    for name, value in whole.state.items():
        np.testing.assert_array_equal(value, resumed.state[name], err_msg=name)
    assert whole.rollouts == resumed.rollouts and whole.steps == resumed.steps > 3


def test_a_state_of_another_problem_is_refused():
    result = adapt(scalar_problem(), AdaptOptions(steps=1))
    with pytest.raises(RecordError, match="does not fit"):
        other = dataclasses.replace(result, problem=two_input_problem(2))
        adapt(other.problem, AdaptOptions(steps=2), resume_from=other)


def test_a_monitor_sees_every_step_and_can_stop():
    seen = []
    result = adapt(
        double_integrator_problem(),
        AdaptOptions(steps=9),
        monitor=lambda state: seen.append(state.step) or state.step == 4,
    )
    assert seen == [1, 2, 3, 4]
    assert result.status is RunStatus.INTERRUPTED and result.steps == 4


def test_a_run_at_its_optimum_converges():
    result = adapt(distance_problem([0.0, 0.0, 0.0], ball), AdaptOptions(steps=100, patience=3))
    assert result.status is RunStatus.CONVERGED
    assert result.steps == 1 and len(result.history) == 0
    assert result.stationarity == result.summary()["stationarity"] == 0


def test_an_unsafe_start_names_the_worst_metric():
    with pytest.raises(UnsafeStartError, match=r"second is exceeded by 0\.5"):
        labels, objective = ("first", "second"), UserObjective(lambda t: (0.0, t))
        adapt(FunctionProblem(np.zeros(1), lambda t: t * 0 + [[-1.0, 0.5]], objective, labels=labels))
    with pytest.raises(UnsafeStartError, match="metric 0 is nan, not a finite number; check the model"):
        adapt(FunctionProblem(np.zeros(1), lambda t: t * np.nan, UserObjective(lambda t: (0.0, t))))


def test_a_metric_that_diverges_beyond_the_region_is_never_committed():
    def cliff(thetas):
        return np.where(thetas[:, :1] > 0.4, np.nan, thetas[:, :1] - 1)

    result = adapt(distance_problem([2.0, 0, 0], cliff), AdaptOptions(steps=1))
    assert result.is_safe()
    assert 0 < result.theta[0] <= 0.4
    assert (result.history.column("verdict") == VERDICTS.index(Verdict.NOT_FINITE)).any()


@pytest.mark.parametrize(("beyond", "safe"), [(-5e-4, False), (-2e-3, True)])
def test_a_metric_needs_a_margin_of_its_own_error(beyond, safe):
    """ε is 1e-3 of the first metric and 5e-2 of the second, which is far from zero and asks nothing of the first."""

    def metrics(thetas):
        return np.where(thetas[:, :1] > 0.3, [[beyond, -50.0]], [[-0.9, -50.0]])

    options = AdaptOptions(steps=10, probes=0, metric_error=1e-3, sampling_radius=0.05, radius=1.0)
    result = adapt(distance_problem([1.0, 0, 0], metrics), options)
    margins, verdicts = result.history.column("margin"), result.history.column("verdict")
    far = result.history.column("theta")[:, 0] > 0.3
    assert far.any()
    np.testing.assert_array_equal(margins[far], -beyond)
    assert ((verdicts[far] == VERDICTS.index(Verdict.UNSAFE)) == (not safe)).all()
    assert (result.theta[0] > 0.3) == safe


@pytest.mark.parametrize(("beyond", "steps"), [([np.inf, -np.inf], 10), ([-1.0, -np.inf], 1)])
def test_a_try_that_diverges_to_both_sides_is_not_finite(beyond, steps):
    """Metrics of +inf and -inf together, as the bounds of a lost state have them, and no warning of their sum."""

    def metrics(thetas):
        return np.where(thetas[:, :1] > 0.3, [beyond], -1.0)

    objective = UserObjective(lambda theta: (float((theta - 1) @ (theta - 1)), 2 * (theta - 1)))
    result = adapt(FunctionProblem(np.zeros(2), metrics, objective), AdaptOptions(steps=steps, probes=0))
    assert (result.history.column("verdict") == VERDICTS.index(Verdict.NOT_FINITE)).any()
    assert result.is_safe() and result.theta[0] <= 0.3


@pytest.mark.parametrize(
    ("metrics", "objective", "error", "words"),
    [
        (lambda t: 1 / 0, lambda t: (0.0, t), EvaluationError, "metrics raised ZeroDivisionError"),
        (lambda t: np.zeros(3), lambda t: (0.0, t), DimensionError, r"expected \(K, m\)"),
        (lambda t: -np.ones((len(t), 1)), lambda t: 1 / 0, EvaluationError, "objective raised ZeroDivisionError"),
        (lambda t: -np.ones((len(t), 1)), lambda t: (0.0, np.zeros(9)), DimensionError, "gradient has shape"),
        (lambda t: -np.ones((len(t), 1)), lambda t: (np.nan, t), EvaluationError, "objective is nan"),
        (lambda t: -np.ones((len(t), 1)), lambda t: (0.0, t * np.inf), EvaluationError, "gradient.*not finite"),
    ],
)
def test_functions_of_the_user_that_fail_are_named(metrics, objective, error, words):
    with np.errstate(invalid="ignore"), pytest.raises(error, match=words):
        adapt(FunctionProblem(np.zeros(2), metrics, UserObjective(objective)), AdaptOptions(steps=2))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("steps", -1), ("steps", 2.5), ("seed", -1), ("radius", 0), ("sampling_radius", 2.0), ("mode", "trust"),
        ("tries", 0), ("method", "sgd"), ("solver", "OSQP"), ("growth", 1.0), ("decay", 1.0), ("momentum", -0.1),
        ("metric_error", np.nan), ("directions", -1), ("smoothness", 0.0), ("patience", 0), ("step_length", True),
        ("gradients", "guessed"), ("probes", -1), ("barrier", 0.0), ("barrier_min", 1.0), ("tolerance", -1e-3),
        ("radius", 1e101), ("step_length", 1e308), ("growth", 1e308), ("smoothness", 1e200), ("metric_error", 1e300),
        ("barrier", 1e308), ("probes", 1001),
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(DomainError, match=option):
        AdaptOptions(**{option: value})


def test_no_metric_varies_and_no_metric_at_all():
    free = distance_problem([1.0, 2.0, 3.0], lambda t: np.zeros((len(t), 0)))
    result = adapt(free, AdaptOptions(steps=60))
    np.testing.assert_allclose(result.theta, [1, 2, 3], atol=1e-4)
    assert result.margin() == np.inf


def constrained_problem(hidden=()):
    """Return the double integrator with bounds that the best policies run into."""
    plant = double_integrator(velocity_max=0.6)
    backup = lqr(plant, [0.1, 0.1], [10.0])
    batch = scenarios(plant, backup, horizon=30, count=8, level=0.9, seed=1)
    return ControlProblem(
        Policy(plant, backup, hidden), batch, Quadratic([1.0, 0.1], [0.05]), MetricOptions(contraction=0.5), seed=2
    )


@pytest.mark.parametrize("gradients", ["sampled", "exact"])
@pytest.mark.parametrize("method", ["newton", "gauss_newton"])
def test_curved_methods_reach_the_constrained_optimum_that_slsqp_finds(method, gradients):
    problem = constrained_problem()
    result = adapt(problem, AdaptOptions(steps=120, method=method, gradients=gradients))
    assert result.is_safe() and result.summary()["violations"] == 0
    blocks = problem.blocks(1)
    found = scipy.optimize.minimize(
        problem.objective, result.theta, jac=problem.gradient, method="SLSQP", options={"ftol": 1e-12},
        constraints={"type": "ineq", "fun": lambda t: -problem.evaluate(t)[1][problem.varies],
                     "jac": lambda t: -np.hstack([problem.jacobian(t, None, b) for b in blocks]).T[problem.varies]},
    )  # fmt: skip
    gain = result.objective_initial - found.fun
    assert result.objective_final <= found.fun + 5e-3 * gain
    assert problem.metrics(result.theta)[problem.varies].max() > -1e-2  # a bound is active there
    assert result.status is RunStatus.CONVERGED and result.stationarity <= result.options.tolerance


def test_newton_beats_the_gradient_in_steps_and_every_commit_is_safe():
    problem = constrained_problem((8,))  # with 5 units the methods are so close that rounding decides
    newton, gradient = (adapt(problem, AdaptOptions(steps=40, method=method)) for method in ("newton", "gradient"))
    assert newton.options.method == "newton" and newton.is_safe() and gradient.is_safe()
    assert newton.objective_final < gradient.objective_final


@pytest.mark.parametrize("method", ["newton", "gauss_newton", "lbfgs", "gradient", "adam"])
def test_the_unit_of_the_objective_changes_nothing(method):
    """A power of two scales every number exactly, so the policies have the same bits."""
    base = constrained_problem((5,))
    ends = []
    for factor in (1.0, 2.0**20, 2.0**-20):
        objective = Quadratic([factor, 0.125 * factor], [0.0625 * factor])
        options = base.scenario_metrics.options
        problem = ControlProblem(base.policy, base.scenarios, objective, options, seed=2)
        result = adapt(problem, AdaptOptions(steps=12, method=method))
        assert result.history.column("committed").sum() > 5
        ends.append((result.theta, result.stationarity, result.objective_final / factor))
    for theta, stationarity, objective in ends[1:]:
        np.testing.assert_array_equal(theta, ends[0][0])
        assert (stationarity, objective) == ends[0][1:]


def test_auto_takes_newton_for_a_closed_loop_cost_alone():
    control = double_integrator_problem()
    assert adapt(control, AdaptOptions(steps=0)).options.method == "newton"
    for options in (
        {"directions": 3},
        {"preconditioner": np.ones(control.theta_dim)},
        {"smoothness": 1e3, "mode": "certified"},
    ):
        assert adapt(control, AdaptOptions(steps=0, **options)).options.method == "gradient"
    assert adapt(distance_problem([1.0, 0, 0], ball), AdaptOptions(steps=0)).options.method == "gradient"


def test_a_preconditioner_scales_the_steps():
    """In the norm of the objective's own curvature the first projected step is the optimum of a loose region."""
    weights = np.array([100.0, 1.0, 1.0])
    objective = UserObjective(lambda t: (float(weights @ (t - 0.1) ** 2), 2 * weights * (t - 0.1)))
    problem = FunctionProblem(np.zeros(3), ball, objective)
    options = {"steps": 1, "method": "gradient", "step_length": 1.0, "radius": np.sqrt(weights.sum()) * 0.1}
    for M in (weights, np.diag(weights)):
        result = adapt(problem, AdaptOptions(preconditioner=M, **options))
        np.testing.assert_allclose(result.theta, 0.1, atol=1e-6)
    assert np.abs(adapt(problem, AdaptOptions(**options)).theta - 0.1).max() > 0.05


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"preconditioner": [1.0, 2.0]}, DimensionError, r"preconditioner has shape \(2,\), expected \(3,\)"),
        ({"preconditioner": [1.0, -2.0, 1.0]}, DomainError, r"preconditioner\[1\] is -2"),
        ({"preconditioner": np.ones((3, 3)) - np.eye(3)}, DomainError, "not positive definite"),
        ({"preconditioner": np.triu(np.ones((3, 3)))}, DomainError, "not symmetric"),
        ({"preconditioner": [np.nan, 1.0, 1.0]}, DomainError, "preconditioner"),
        ({"preconditioner": [5e-324, 1.0, 1.0]}, DomainError, "an entry below 1e-100; make it larger"),
        ({"preconditioner": [1e308, 1.0, 1.0]}, DomainError, r"an entry beyond 1e\+100; make it smaller"),
        ({"preconditioner": np.diag([1e20, 1.0, 1e-20])}, DomainError, "not positive definite"),
        ({"directions": 4}, DomainError, "directions is 4, expected at most the number of parameters, 3, or 0 for all"),
        ({"directions": 4, "method": "newton_krylov"}, DomainError, "directions is 4, .* or 0 for at most 60"),
        ({"method": "newton"}, DomainError, "'newton' needs a problem with derivatives"),
        ({"method": "gauss_newton"}, DomainError, "sum of squares"),
        ({"gradients": "exact"}, DomainError, "'exact' needs a problem with derivatives"),
    ],
)  # fmt: skip
def test_methods_that_do_not_suit_the_problem_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        adapt(distance_problem([1.0, 0, 0], ball), AdaptOptions(steps=2, **options))
    for bad in (
        {"mode": "certified", "smoothness": 1.0, "method": "newton"},
        {"method": "newton", "preconditioner": [1.0]},
    ):
        with pytest.raises(DomainError, match="newton"):
            AdaptOptions(**bad)


def expression_problem(target):
    """Return: minimise ‖θ - target‖² on the unit ball, θ_1 + θ_2 <= 0.5, as CasADi expressions."""
    theta = ca.SX.sym("theta", 3)
    metrics = ca.vertcat(ca.sumsqr(theta) - 1, theta[0] + theta[1] - 0.5)
    return FunctionProblem.from_casadi(theta, ca.sumsqr(theta - ca.DM(target)), metrics, np.zeros(3))


@pytest.mark.parametrize("gradients", ["sampled", "exact"])
@pytest.mark.parametrize("method", ["newton", "gradient", "lbfgs"])
def test_expressions_of_the_user_have_derivatives(method, gradients):
    """The optimum solves a linear program in the multipliers: both constraints are active."""
    problem = expression_problem([2.0, 1.0, 1.0])
    assert problem.has_derivatives
    result = adapt(problem, AdaptOptions(steps=200, method=method, gradients=gradients))
    found = scipy.optimize.minimize(
        problem.objective, np.zeros(3), jac=problem.gradient, method="SLSQP", options={"ftol": 1e-14},
        constraints={"type": "ineq", "fun": lambda t: -problem.metrics(t)},
    )  # fmt: skip
    assert result.is_safe()
    np.testing.assert_allclose(result.theta, found.x, atol=3e-3)
    theta, whole, h = result.theta, problem.blocks(1)[0], 1e-6
    differences = np.array(
        [(problem.metrics(theta + h * e) - problem.metrics(theta - h * e)) / (2 * h) for e in np.eye(3)]
    )
    np.testing.assert_allclose(problem.jacobian(theta, None, whole), differences, atol=1e-8)
    multipliers = np.array([0.7, 0.2])
    slope = problem.gradient(theta) + differences @ multipliers
    np.testing.assert_allclose(problem.lagrangian_gradients(theta[None], multipliers)[0], slope, atol=1e-7)
