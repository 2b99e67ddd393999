"""No number that decides depends on the units of states and inputs: design, scenarios, steps, commands, records."""

from __future__ import annotations

import importlib.resources
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from exports import need, run
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import AdaptOptions
from problems import control_problem, double_integrator_problem, two_input_problem
from run_folders import faults, make_run, rewrite

from scpo_ctrl import (
    ControlProblem,
    MetricOptions,
    Policy,
    Quadratic,
    adapt,
    load_problem,
    lqr,
    scenarios,
    verify,
)
from scpo_ctrl.adaptation.proven_smoothness import smoothness_bounds
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.codegen import export
from scpo_ctrl.errors import ProblemFileError, RecordError, UncontrollableError, UnstabilisableError
from scpo_ctrl.loop.backup import contraction
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.models import Plant, cart_pole, linear
from scpo_ctrl.models.units import Units, reach
from scpo_ctrl.record.files import load_arrays, load_result

R3 = str(importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml")


def random_scales(rng: np.random.Generator, plant: Plant, *, powers_of_two=False) -> tuple[np.ndarray, np.ndarray]:
    """Return what one unit of each state and input is in new units, over 1e±9."""
    exponents = [rng.uniform(-30, 30, n) for n in (plant.nx, plant.nu)]
    x, u = (2.0 ** (np.round(e) if powers_of_two else e) for e in exponents)
    return x, u


def rescaled(problem: ControlProblem, x: np.ndarray, u: np.ndarray, weight: float = 1.0) -> ControlProblem:
    """Return a problem in other units, designed anew there."""
    policy, batch, objective = problem.policy, problem.scenarios, problem.objective_data
    plant = Units(1 / x, 1 / u).plant(problem.plant)
    Q, R = 0.1 * np.ones(plant.nx) / x**2, 10.0 * np.ones(plant.nu) / u**2
    other = Policy(plant, lqr(plant, Q, R), policy.hidden, policy.init, at_bounds=policy.at_bounds)
    moved = Scenarios(batch.x0 * x, batch.p, batch.w * x if batch.w.size else batch.w, batch.horizon)
    cost = Quadratic(weight * objective.Q / x**2, weight * objective.R / u**2)
    options = problem.scenario_metrics.options
    return ControlProblem(other, moved, cost, options, seed=3)


def native(problem: ControlProblem) -> ControlProblem:
    """Return a problem in its own units, made in the same way."""
    return rescaled(problem, np.ones(problem.plant.nx), np.ones(problem.plant.nu))


def in_other_options(problem: ControlProblem, options: MetricOptions) -> ControlProblem:
    return ControlProblem(problem.policy, problem.scenarios, problem.objective_data, options)


def for_method(problem: ControlProblem, method: str) -> ControlProblem:
    """Return a problem without local stability for certified mode, which has no bound for it."""
    options = problem.scenario_metrics.options
    return problem if method != "certified" else in_other_options(problem, replace(options, stability=False))


def cart_pole_problem() -> ControlProblem:
    problem = control_problem(cart_pole(), (4,), horizon=8)
    return in_other_options(problem, MetricOptions(terminal=True))


EVERYTHING = MetricOptions(terminal=True, contraction=0.95)
PROBLEMS = {
    "network": lambda: in_other_options(double_integrator_problem((6,)), EVERYTHING),
    "two inputs, shifted, a bound missing": lambda: in_other_options(two_input_problem(3, (3,)), EVERYTHING),
    "linear": lambda: in_other_options(two_input_problem(4, ()), EVERYTHING),
    "nonlinear": cart_pole_problem,
}
METHODS = {
    "newton": {"method": "newton"},
    "newton_krylov": {"method": "newton_krylov", "directions": 6},
    "exact gauss_newton": {"method": "gauss_newton", "gradients": "exact"},
    "gradient": {"method": "gradient"},
    "lbfgs in a subspace": {"method": "lbfgs", "directions": 3},
    "adam": {"method": "adam"},
    "momentum": {"method": "momentum"},
    "certified": {"method": "gradient", "mode": "certified", "radius": 0.02},
}


# --- design -------------------------------------------------------------------------------------------------------


def random_plant(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    nx = int(rng.integers(1, 9))
    nu = int(rng.integers(1, min(nx, 3) + 1))
    A = rng.normal(size=(nx, nx))
    A *= rng.uniform(0.5, 1.2) / np.abs(np.linalg.eigvals(A)).max()
    x_max = rng.uniform(0.5, 5, nx)
    x_max[rng.uniform(size=nx) < 0.2] = np.inf
    return A, rng.normal(size=(nx, nu)), x_max, rng.uniform(0.5, 5, nu)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31))
def test_design_level_and_scenarios_are_those_of_other_units(seed):
    rng = np.random.default_rng(seed)
    A, B, x_max, u_max = random_plant(rng)
    plant = linear(A, B, 0.1, (-x_max, x_max, -u_max, u_max))
    x, u = random_scales(rng, plant)
    bounds = (-x_max * x, x_max * x, -u_max * u, u_max * u)
    other = linear(A * x[:, None] / x, B * x[:, None] / u, 0.1, bounds)
    Q, R = rng.uniform(0.1, 2, plant.nx), rng.uniform(0.1, 2, plant.nu)
    one, two = lqr(plant, Q, R), lqr(other, Q / x**2, R / u**2)
    np.testing.assert_allclose(two.K * x / u[:, None], one.K, atol=1e-9 * np.abs(one.K).max())
    np.testing.assert_allclose(two.P * x * x[:, None], one.P, atol=1e-9 * np.abs(one.P).max())
    assert two.rho == pytest.approx(one.rho, rel=1e-9)
    assert contraction(other, two) == pytest.approx(contraction(plant, one), rel=1e-9)
    drawn = [scenarios(p, b, horizon=3, count=5).x0 for p, b in ((plant, one), (other, two))]
    np.testing.assert_allclose(drawn[1] / x, drawn[0], atol=1e-9 * np.abs(drawn[0]).max())
    np.testing.assert_allclose(two.extent / x, one.extent, rtol=1e-9)


def motor() -> tuple[np.ndarray, np.ndarray]:
    A = np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 10.0], [0.0, -2.0, -20.0]])
    whole = scipy.linalg.expm(np.block([[A, np.array([[0.0], [0.0], [2.0]])], [np.zeros((1, 4))]]) * 0.02)
    return whole[:3, :3], whole[:3, 3:]


def sampled(A, B, dt) -> tuple[np.ndarray, np.ndarray]:
    n, m = np.shape(B)
    whole = scipy.linalg.expm(np.block([[np.array(A), np.array(B)], [np.zeros((m, n + m))]]) * dt)
    return whole[:n, :n], whole[:n, n:]


FIELD = {  # A, B, bounds of states and inputs, in SI where nothing else is said
    "motor": (*motor(), [3.0, 50.0, 20.0], [24.0]),
    "motor, states in other units": (
        motor()[0] * np.array([[1.0], [1e3], [1e-3]]) / np.array([1.0, 1e3, 1e-3]),
        motor()[1] * np.array([[1.0], [1e3], [1e-3]]), [3.0, 50e3, 20e-3], [24.0],
    ),
    "piezo stage": (*sampled([[0, 1], [-(2 * np.pi * 400) ** 2, -100]], [[0], [6e-1]], 1e-4), [1e-5, 2e-2], [150.0]),
    "building zone, K and J": (*sampled([[-1e-4, 2e-11], [50.0, -1e-3]], [[0], [1.0]], 60), [5.0, 1e9], [5e3]),
    "double integrator in nm": (*sampled([[0, 1], [0, 0]], [[0], [1e9]], 1e-3), [1e4, 1e6], [1.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELD)
def test_plants_of_the_field_are_not_refused_for_their_units(name):
    A, B, x_max, u_max = (np.array(part) for part in FIELD[name])
    plant = linear(A, B, 0.02, (-x_max, x_max, -u_max, u_max))
    backup = lqr(plant, 1 / x_max**2, 1 / u_max**2)
    assert contraction(plant, backup) < 1
    if name.startswith("motor,"):
        A, B, _, _ = FIELD["motor"]
        first = linear(A, B, 0.02, (-x_max / [1, 1e3, 1e-3], x_max / [1, 1e3, 1e-3], -u_max, u_max))
        expected = lqr(first, [1, 1e3, 1e-3] * np.array([1, 1e3, 1e-3]) / x_max**2, 1 / u_max**2).K
        np.testing.assert_allclose(backup.K * [1, 1e3, 1e-3], expected, rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31))
def test_what_no_input_reaches_is_refused_in_every_unit(seed):
    rng = np.random.default_rng(seed)
    nx = int(rng.integers(2, 6))
    A, T = np.diag(rng.uniform(0.3, 0.9, nx) * rng.choice([-1, 1], nx)), rng.normal(size=(nx, nx))
    grows = bool(rng.integers(2))
    A[0, 0] = 1.1 if grows else 0.5
    B = rng.normal(size=(nx, 1))
    B[0] = 0.0
    A, B = T @ A @ np.linalg.inv(T), T @ B
    x, u = 10 ** rng.uniform(-9, 9, nx), 10 ** rng.uniform(-9, 9, 1)
    plant = linear(A * x[:, None] / x, B * x[:, None] / u, 0.1, (-x, x, -u, u))
    with pytest.raises(UnstabilisableError if grows else UncontrollableError):
        lqr(plant, 1 / x**2, 1 / u**2)


def test_reach_that_is_only_rounding_is_none():
    A = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.1, -0.1, 0.5]])
    B = np.array([[0.1], [0.3 - 0.2], [0.0]])  # both states move alike, to rounding
    assert reach(A, B)[2] == 0.0
    assert (reach(A, B)[:2] > 0).all()


# --- steps --------------------------------------------------------------------------------------------------------


def options_of(name: str, method: str, steps: int) -> AdaptOptions:
    """Return options; of a nonlinear plant bounds are finite in a small ball alone."""
    small = {"radius": 1e-3} if name == "nonlinear" and method == "certified" else {}
    return AdaptOptions(steps=steps, **(METHODS[method] | small))


@pytest.mark.table(5)
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", METHODS)
def test_steps_are_the_same_bits_in_units_that_differ_by_powers_of_two(name, method):
    problem = for_method(PROBLEMS[name](), method)
    x, u = random_scales(np.random.default_rng(len(name)), problem.plant, powers_of_two=True)
    base, options = native(problem), options_of(name, method, 4)
    one, two = adapt(base, options), adapt(rescaled(problem, x, u), options)
    assert len(one.history) and one.history.column("committed").any()
    for key in ("theta", "verdict", "objective", "stationarity", "smoothness_max", "active", "predicted"):
        np.testing.assert_array_equal(two.history.column(key), one.history.column(key))
    np.testing.assert_array_equal(
        two.problem.metrics(two.theta) / two.problem.metric_units, one.problem.metrics(one.theta) / base.metric_units
    )


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", ["newton", "gradient", "lbfgs in a subspace", "certified"])
def test_steps_are_the_same_to_rounding_in_any_units(name, method):
    problem, rng = for_method(PROBLEMS[name](), method), np.random.default_rng(7)
    options = options_of(name, method, 3)
    one, weight = adapt(native(problem), options), 1e7
    two = adapt(rescaled(problem, *random_scales(rng, problem.plant), weight), options)
    moved = np.abs(one.theta - one.theta_initial).max()
    np.testing.assert_allclose(two.theta_initial, one.theta_initial, rtol=1e-9)
    np.testing.assert_array_equal(two.history.column("verdict"), one.history.column("verdict"))
    np.testing.assert_allclose(two.history.column("theta"), one.history.column("theta"), atol=1e-4 * moved)
    np.testing.assert_allclose(two.history.column("objective") / weight, one.history.column("objective"), rtol=1e-6)


def test_commands_and_smoothness_are_those_of_other_units():
    problem, rng = PROBLEMS["two inputs, shifted, a bound missing"](), np.random.default_rng(1)
    problem = for_method(problem, "certified")
    x, u = random_scales(rng, problem.plant)
    one, two = native(problem), rescaled(problem, x, u)
    theta = one.theta_initial + 0.3 * rng.normal(size=one.theta_dim)
    states = one.plant.x_eq + rng.normal(size=(20, one.plant.nx))
    np.testing.assert_allclose(two.policy(states * x, theta) / u, one.policy(states, theta), rtol=1e-9, atol=1e-12)
    bounds = [smoothness_bounds(problem, theta, 0.05) for problem in (one, two)]
    np.testing.assert_allclose(bounds[1], bounds[0], rtol=1e-6)
    np.testing.assert_allclose(two.sample(theta[None]), one.sample(theta[None]), atol=1e-9)
    X, U = two.trajectories(theta)
    np.testing.assert_allclose(X / x, one.trajectories(theta)[0], atol=1e-9)
    np.testing.assert_allclose(U / u, one.trajectories(theta)[1], atol=1e-9)


# --- problems of the field ----------------------------------------------------------------------------------------


def r3_in_newtons(newtons: float) -> ControlProblem:
    """Return R3 for a mass such that one unit of its input is so many newtons."""
    base = load_problem(R3)
    plant = base.plant
    A, B = plant.linearise()
    u = np.array([newtons])
    heavy = linear(A, B / u, 0.1, (plant.x_min, plant.x_max, plant.u_min * u, plant.u_max * u))
    policy = Policy(heavy, lqr(heavy, [0.1, 0.1], 10.0 / u**2), (12,))
    metrics = replace(base.scenario_metrics.options, stability=False)
    return ControlProblem(policy, base.scenarios, Quadratic([1.0, 0.1], 0.05 / u**2), metrics)


@pytest.mark.long
@pytest.mark.parametrize("newtons", [1e6, 1e4])
def test_a_heavy_mass_in_newtons_reaches_what_it_reaches_in_meganewtons(newtons):
    result = adapt(r3_in_newtons(newtons), AdaptOptions(steps=450))
    assert result.status is RunStatus.CONVERGED and result.is_safe()
    assert result.objective_final == pytest.approx(1.2405, abs=2e-3)


def drone() -> ControlProblem:
    """Return twelve states around hovering: position, attitude and their rates, commanded by four rotors in newtons."""
    g, mass, arm, inertia = 9.81, 1.2, 0.2, np.array([0.012, 0.012, 0.022])
    A, B = np.zeros((12, 12)), np.zeros((12, 4))
    A[:3, 3:6], A[6:9, 9:] = np.eye(3), np.eye(3)
    A[3, 7], A[4, 6] = g, -g
    B[5] = 1 / mass
    B[9:] = np.array([[0, 1, 0, -1], [-1, 0, 1, 0], [0.1, -0.1, 0.1, -0.1]]) * arm / inertia[:, None]
    x_max = np.array([3, 3, 3, 2, 2, 2, 0.4, 0.4, 0.8, 2, 2, 2])
    plant = linear(*sampled(A, B, 0.05), 0.05, (-x_max, x_max, np.full(4, -2.0), np.full(4, 2.0)))
    backup = lqr(plant, 1 / x_max**2, np.full(4, 20.0))
    batch = scenarios(plant, backup, horizon=20, count=6, level=0.8)
    return ControlProblem(Policy(plant, backup), batch, Quadratic(1 / x_max**2, np.full(4, 0.05)), EVERYTHING)


def wave_energy() -> ControlProblem:
    """Return a stiff heaving buoy with radiation memory, commanded in kilonewtons against tonnes."""
    mass, stiffness, damping = 300.0, 800.0, 20.0
    A = [[0, 1, 0], [-stiffness / mass, -damping / mass, -1 / mass], [0, 400.0, -8.0]]
    x_max = np.array([2.0, 3.0, 400.0])
    plant = linear(*sampled(A, [[0], [1 / mass], [0]], 0.1), 0.1, (-x_max, x_max, [-300.0], [300.0]))
    backup = lqr(plant, 1 / x_max**2, [1e-3])
    batch = scenarios(plant, backup, horizon=30, count=8, level=0.8)
    return ControlProblem(Policy(plant, backup, (6,)), batch, Quadratic(1 / x_max**2, [1e-6]), EVERYTHING)


@pytest.mark.parametrize(
    ("problem", "x", "u"), [(drone, 1.0, 1e4), (wave_energy, [1.0, 1.0, 1e3], 1e3)], ids=["drone", "wave energy"]
)
def test_counts_and_newtons_reach_the_same(problem, x, u):
    problem, options = problem(), AdaptOptions(steps=25)
    x, u = np.broadcast_to(x, problem.plant.nx), np.broadcast_to(u, problem.plant.nu)
    plant = Units(1 / x, 1 / u).plant(problem.plant)
    backup = problem.backup.in_units(Units(1 / x, 1 / u))
    batch = scenarios(plant, backup, horizon=problem.scenarios.horizon, count=problem.scenarios.count, level=0.8)
    cost = Quadratic(problem.objective_data.Q / x**2, problem.objective_data.R / u**2)
    other = ControlProblem(Policy(plant, backup, problem.policy.hidden), batch, cost, EVERYTHING)
    one, two = adapt(problem, options), adapt(other, options)
    gain = one.objective_initial - one.objective_final
    assert gain > 0.02 * one.objective_initial
    assert two.objective_final == pytest.approx(one.objective_final, abs=5e-2 * gain)
    assert one.is_safe() and two.is_safe()


@pytest.mark.parametrize("real", ["float", "double"])
def test_exported_commands_are_those_of_python_in_odd_units(tmp_path, real):
    """The export's own test replays Python's commands, with errors relative to the width of the bounds."""
    need("make", "cc")
    problem = PROBLEMS["two inputs, shifted, a bound missing"]()
    problem = rescaled(problem, np.array([1e-7, 1e3, 1e5]), np.array([1e6, 1e-6]))
    export(adapt(problem, AdaptOptions(steps=3)), tmp_path / "c", real=real, measured=False)
    run("make", "-C", tmp_path / "c", "test")
    data = (tmp_path / "c" / "src" / "scpo_data.c").read_text()
    assert "scpo_input_scale[SCPO_NU]" in data


# --- records ------------------------------------------------------------------------------------------------------

NANO = {  # R3 in nm, mm/s and uN
    "plant": {
        "kind": "linear", "dt": 0.1, "A": [[1.0, 1e5], [0.0, 1.0]], "B": [[5.0], [1e-4]],
        "x_min": [-5e9, -1.5e3], "x_max": [5e9, 1.5e3], "u_min": [-1e6], "u_max": [1e6],
    },
    "backup": {"kind": "lqr", "Q": [1e-19, 1e-7], "R": [1e-11]},
    "objective": {"kind": "quadratic", "Q": [1e-18, 1e-7], "R": [5e-14]},
    "metrics": {"contraction": 0.95},
}  # fmt: skip


def test_a_record_is_checked_as_closely_in_any_units(tmp_path):
    folder = make_run(tmp_path / "nano", NANO)
    assert verify(folder).passed
    margin = load_arrays(folder)["margin"].copy()
    rewrite(folder, sign=True, margin=margin * (1 + 1e-4))
    assert "has margin" in faults(folder)
    rewrite(folder, sign=True, margin=margin, objective=load_arrays(folder)["objective"] * (1 + 1e-6))
    assert "has objective" in faults(folder)


def test_a_record_of_other_units_of_theta_is_refused(tmp_path):
    folder = make_run(tmp_path / "old", {})
    arrays = {name: array for name, array in load_arrays(folder).items() if name != "format"}
    np.savez(folder / "history.npz", **arrays)
    for read in (load_result, verify):
        with pytest.raises(RecordError, match=r"written by an earlier version.*run `adapt` again"):
            read(folder)
    theta, policy = load_arrays(folder)["theta_initial"], load_problem(folder / "problem.toml").policy
    learned = {"x0": policy.plant.x_eq[None], "p": np.zeros((1, 0)), "w": np.zeros((1, 8, 0)), "theta_initial": theta}
    np.savez(folder / "learned.npz", **learned)
    text = (folder / "problem.toml").read_text().replace("[scenarios]", '[scenarios]\nlearned = "learned.npz"')
    (folder / "problem.toml").write_text(text)
    with pytest.raises(ProblemFileError, match="written by another version"):
        load_problem(folder / "problem.toml")
