"""Metrics and objectives of rollouts, against a closed loop stepped in numpy."""

import casadi as ca
import numpy as np
import pytest
from problems import double_integrator_problem, two_input_problem
from scipy.special import erf, erfinv

from scpo_ctrl import compiled
from scpo_ctrl.errors import CompilerError, DimensionError, DomainError
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import scenarios
from scpo_ctrl.models import double_integrator
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.objective import Imitation, Quadratic, UserObjective

EVERYTHING = MetricOptions(terminal=True, contraction=0.95, stability=False)  # metrics of rollouts


def rich_problem(metrics=EVERYTHING, **changes):
    """Return the double integrator with parameter ranges and disturbances."""
    plant = double_integrator().replace(**changes)
    backup = lqr(plant, [0.1, 0.1], [10.0])
    batch = scenarios(
        plant, backup, horizon=12, count=5, level=0.5, seed=3, parameters={"mass": [0.5, 1.5]}, disturbance=[0.01, 0.02]
    )
    return ControlProblem(Policy(plant, backup, (3,)), batch, Quadratic([1.0, 0.1], [0.05]), metrics, seed=1)


def by_hand(problem, theta, *, saturated=True):
    """Return metrics and mean cost of a problem with quadratic objective, one scenario and step at a time."""
    plant, backup, policy, batch = problem.plant, problem.backup, problem.policy, problem.scenarios
    options, g, cost = problem.scenario_metrics.options, [], 0.0
    for s in range(batch.count):
        x, states, commands = batch.x0[s], [batch.x0[s]], []
        for t in range(batch.horizon):
            applied, command = (np.array(v)[:, 0] for v in policy.function(x, theta))
            commands.append(command)
            z, v = x - plant.x_eq, applied - plant.u_eq
            cost += problem.objective_data.Q @ z**2 + problem.objective_data.R @ v**2
            x = np.array(plant.function(x, applied if saturated else command, batch.p[s]))[:, 0]
            x = x + batch.w[s, t] if batch.w.size else x
            states.append(x)
        rows = []
        if options.path:
            rows += [np.concatenate([x - plant.x_max, plant.x_min - x]) for x in states]
            rows += [np.concatenate([u - plant.u_max, plant.u_min - u]) for u in commands] if options.command else []
        if options.terminal:
            rows.append([backup.level(states[-1], plant.x_eq) / backup.rho - 1])
        if options.contraction:
            first, last = (backup.level(x, plant.x_eq) for x in (states[0], states[-1]))
            rows.append([last - max(options.contraction * first, options.contraction_floor * backup.rho)])
        values = np.concatenate(rows)
        g.append(values[np.isfinite(values)])
    return np.concatenate(g), cost / batch.count / batch.horizon


@pytest.mark.parametrize(
    "metrics",
    [
        EVERYTHING,
        MetricOptions(stability=False),
        MetricOptions(command=False, terminal=True, stability=False),
        MetricOptions(path=False, contraction=0.2, stability=False),
        MetricOptions(path=False, contraction=0.2, contraction_floor=0.1, stability=False),
    ],
)
def test_metrics_and_cost_agree_with_stepping(metrics):
    problem = rich_problem(metrics)
    for scale in (0.0, 0.5, 5.0):
        theta = problem.theta_initial + scale * np.random.default_rng(0).normal(size=problem.theta_dim)
        g, cost = by_hand(problem, theta)
        np.testing.assert_allclose(problem.metrics(theta), g, rtol=1e-10, atol=1e-11)
        assert np.isclose(problem.objective(theta), cost, rtol=1e-12)
        assert g.size == problem.varies.size == problem.scenarios.count * len(problem.scenario_metrics.rows)


def test_two_inputs_shifted_equilibrium_and_missing_bounds():
    problem = two_input_problem(3, (4,), stability=False)
    theta = problem.theta_initial + 0.1 * np.random.default_rng(0).normal(size=problem.theta_dim)
    g, cost = by_hand(problem, theta)
    np.testing.assert_allclose(problem.metrics(theta), g, rtol=1e-10, atol=1e-11)
    assert np.isclose(problem.objective(theta), cost, rtol=1e-12)


def test_samples_leave_saturation_out_and_agree_where_safe():
    problem = rich_problem()
    theta = problem.theta_initial
    assert problem.metrics(theta).max() <= 0
    np.testing.assert_array_equal(problem.sample(theta[None])[0], problem.evaluate(theta)[1])
    np.testing.assert_array_equal(problem.sample(theta[None])[0] * problem.metric_units, problem.metrics(theta))
    wild = theta + 3 * np.random.default_rng(0).normal(size=(40, theta.size))
    smooth, true = problem.in_bounds_units(problem.sample(wild)), problem.metrics(wild)
    assert (true.max(axis=1) > 0).any()
    np.testing.assert_array_equal(smooth.max(axis=1) > 0, true.max(axis=1) > 0)
    np.testing.assert_allclose(smooth[0], by_hand(problem, wild[0], saturated=False)[0], rtol=1e-9, atol=1e-9)
    without = rich_problem(MetricOptions(command=False))
    np.testing.assert_array_equal(without.in_bounds_units(without.sample(wild)), without.metrics(wild))


def test_only_the_states_at_time_zero_do_not_vary():
    problem = rich_problem()
    thetas = problem.theta_initial + np.random.default_rng(0).normal(size=(30, problem.theta_dim))
    moved = np.ptp(problem.sample(thetas), axis=0) > 0
    np.testing.assert_array_equal(moved, problem.varies)


def test_labels_name_scenario_time_and_bound():
    problem = rich_problem()
    rows = len(problem.scenario_metrics.rows)
    assert problem.metric_label(rows) == "scenario 1, t = 0: position <= 5 m"
    assert problem.metric_label(2 * rows - 1) == "scenario 1, t = 12: V(x_N) <= 0.95 V(x_0)"
    g = problem.metrics(problem.theta_initial)
    low = next(i for i in range(rows) if problem.metric_label(i) == "scenario 0, t = 3: velocity >= -1.5 m/s")
    X, _ = problem.trajectories(problem.theta_initial)
    assert np.isclose(g[low], -1.5 - X[0, 3, 1], atol=1e-14)


def test_gradients_agree_with_differences():
    problem = rich_problem()
    rng = np.random.default_rng(1)
    theta, d, h = (
        problem.theta_initial + 0.1 * rng.normal(size=problem.theta_dim),
        rng.normal(size=problem.theta_dim),
        1e-6,
    )
    imitation = ControlProblem(
        problem.policy, problem.scenarios, Imitation(rng.normal(size=(9, 2)), rng.normal(size=(9, 1)))
    )
    for case in (problem, imitation):
        slope = (case.objective(theta + h * d) - case.objective(theta - h * d)) / (2 * h)
        assert np.isclose(case.gradient(theta) @ d, slope, rtol=1e-6)


def test_imitation_is_the_mean_squared_error_of_the_command():
    problem = rich_problem()
    rng = np.random.default_rng(2)
    x, u = 10 * rng.normal(size=(9, 2)), rng.normal(size=(9, 1))
    case = ControlProblem(problem.policy, problem.scenarios, Imitation(x, u))
    theta = rng.normal(size=problem.theta_dim)
    commands = np.array([np.array(problem.policy.function(row, theta)[1])[:, 0] for row in x])
    assert np.isclose(case.objective(theta), np.mean(np.sum((commands - u) ** 2, axis=1)), rtol=1e-12)


def test_stacks_and_single_parameters_give_the_same_bits():
    problem = rich_problem()
    thetas = problem.theta_initial + np.random.default_rng(0).normal(size=(300, problem.theta_dim))
    stacked = problem.metrics(thetas)
    np.testing.assert_array_equal(stacked[257], problem.metrics(thetas[257]))
    np.testing.assert_array_equal(problem.objective(thetas[:3]), [problem.objective(row) for row in thetas[:3]])


def test_without_a_compiler_the_numbers_stay_and_one_notice_appears(monkeypatch, capfd):
    fast = rich_problem()
    fast.rollouts.prepare()
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr(compiled, "_noticed", False)
    slow = rich_problem()
    double_integrator_problem()
    theta = fast.theta_initial + 0.3
    np.testing.assert_allclose(slow.metrics(theta), fast.metrics(theta), rtol=1e-11, atol=1e-12)
    for part in (None, slice(1, 3), slice(2, None)):
        for name in ("sample", "jacobian"):
            arguments = (theta,) if name == "sample" else (theta, None)
            slow_values, values = (getattr(p.rollouts, name)(*arguments, part) for p in (slow, fast))
            np.testing.assert_allclose(slow_values, values, rtol=1e-10, atol=1e-10)
    for a, b in zip(slow.rollouts.gauss_newton(theta), fast.rollouts.gauss_newton(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    notices = capfd.readouterr().err.strip().splitlines()
    assert len(notices) == 1
    assert "no-such-compiler" in notices[0]


def test_a_compiler_that_fails_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(CompilerError, match=r"false failed.*set CC"):
        rich_problem()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def compiler_script(folder, body):
    """Write a compiler of ours."""
    script = folder / "compiler"
    script.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    script.chmod(0o755)
    return str(script)


def test_a_compiler_that_does_not_know_its_computer_is_asked_again(monkeypatch, tmp_path):
    expected = rich_problem().metrics(rich_problem().theta_initial)
    script = compiler_script(tmp_path, 'case "$*" in *march=native*) exit 1 ;; esac\nexec cc "$@"')
    monkeypatch.setenv("CC", script)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.testing.assert_array_equal(rich_problem().metrics(rich_problem().theta_initial), expected)


def test_the_error_of_a_compiler_is_quoted(monkeypatch, tmp_path):
    script = compiler_script(tmp_path, "echo 'warning: odd' >&2\necho 'x.c:1: error: no vectors' >&2\nexit 1")
    monkeypatch.setenv("CC", script)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(CompilerError, match=r"failed on generated code \(x.c:1: error: no vectors\); set CC to gcc or"):
        rich_problem()


def test_a_library_is_compiled_once_and_again_where_anything_of_it_changes(monkeypatch, tmp_path):
    log = tmp_path / "log"
    script = compiler_script(tmp_path, f'echo >> {log}\nexec cc "$@"')
    monkeypatch.setenv("CC", script)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = {"f.c": "int f(void) { return 1; }"}
    first = compiled.compile_library(source)
    assert compiled.compile_library(source) == first
    assert log.read_text().count("\n") == 1
    others = {compiled.compile_library(source, native=True), compiled.compile_library({"f.c": source["f.c"] + " "})}
    monkeypatch.setattr(compiled, "_processor", lambda: "another")
    others |= {compiled.compile_library(source, native=True), compiled.compile_library(source)}
    assert len(others | {first}) == 4
    assert log.read_text().count("\n") == 4
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(CompilerError, match="no C compiler found"):
        compiled.compile_library(source)


def test_refusals():
    problem = rich_problem()
    plant, backup = problem.plant, problem.backup
    with pytest.raises(DimensionError, match="theta has shape"):
        problem.metrics(np.zeros(3))
    with pytest.raises(DomainError, match="theta"):
        problem.objective(np.full(problem.theta_dim, np.nan))
    with pytest.raises(DimensionError, match="imitation data"):
        ControlProblem(problem.policy, problem.scenarios, Imitation(np.ones((3, 1)), np.ones((3, 1))))
    with pytest.raises(DimensionError, match="objective Q"):
        ControlProblem(problem.policy, problem.scenarios, Quadratic([1.0], [1.0]))
    for arguments, words in (
        ({"count": 3, "initial_states": [[0, 0]]}, "not both"),
        ({}, "give either"),
        ({"count": 2, "box": [[0, 0], [1, 1]], "level": 0.5}, "one of level, neighbourhood and box"),
        ({"initial_states": [[6, 0]]}, r"initial_states\[0\]\[0\] = 6 m is outside"),
        ({"initial_states": np.zeros((0, 2))}, "empty"),
        ({"count": 0}, "count"),
        ({"count": 2, "level": 1.5}, "level"),
        ({"count": 2, "parameters": {"length": [1, 2]}}, "unknown plant parameter"),
        ({"count": 2, "parameters": {"mass": [2, 1]}}, "swapped"),
        ({"count": 2, "disturbance": [-1, 0]}, "half widths"),
    ):
        with pytest.raises((DomainError, DimensionError), match=words):
            scenarios(plant, backup, horizon=3, **arguments)
    for arguments, words in (
        ({"contraction": 1.0}, "contraction"),
        ({"contraction": 0.5, "contraction_floor": 1.0}, "contraction_floor is 1"),
        ({"contraction": 0.5, "contraction_floor": -0.1}, "contraction_floor"),
        ({"contraction_floor": 0.1}, "give contraction or one_step too"),
        ({"path": False}, "no metric"),
        ({"terminal": 1}, "terminal"),
    ):
        with pytest.raises(DomainError, match=words):
            MetricOptions(**arguments)


def test_a_user_objective_takes_part_in_a_control_problem():
    problem = rich_problem()
    case = ControlProblem(problem.policy, problem.scenarios, UserObjective(lambda theta: (theta @ theta, 2 * theta)))
    theta = np.arange(problem.theta_dim, dtype=float)
    assert case.objective(theta) == theta @ theta
    np.testing.assert_array_equal(case.gradient(theta), 2 * theta)
    value, g = case.evaluate(theta)
    assert value == theta @ theta
    np.testing.assert_array_equal(g * case.metric_units, case.metrics(theta))


def test_operations_that_c_does_not_have_are_evaluated_without_it():
    x = ca.SX.sym("x", 2)
    functions = [ca.Function("f", [x], [ca.erfinv(x)]), ca.Function("g", [x], [ca.erf(x)])]
    f, g = compiled.compile_functions(functions)
    np.testing.assert_allclose(np.array(f([0.3, -0.8]))[:, 0], erfinv([0.3, -0.8]), rtol=1e-7)  # as CasADi has it
    np.testing.assert_allclose(np.array(g([0.3, -0.8]))[:, 0], erf([0.3, -0.8]), rtol=1e-14)
