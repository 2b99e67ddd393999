"""Loops under references that vary: against a plain simulation, whole runs, costs of tracking, and what is refused."""

import re
from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from loops import loaded_arm
from motors import RANGES, loaded_motor
from plain import AdaptOptions

import scpo_ctrl as sc
from scpo_ctrl import signals
from scpo_ctrl.controllers import pid
from scpo_ctrl.errors import BackupError, DimensionError, DomainError, ScpoError, UnsafeStartError
from scpo_ctrl.loop.backup import check_backup
from scpo_ctrl.models import Plant, dc_motor, discretise, quantise, sensor_noise, with_signals
from scpo_ctrl.models.varying import signal_count

GAINS = {"kp": 1.0, "ki": 2.0, "kd": 0.02, "filter_time": 2e-3}
MOVES = signals.step(0.0, (-0.5, 0.5), at=(0.01, 0.03))


def servo(reference=None, **options):
    motor = dc_motor()
    controller = sc.controllers.pid(motor, **GAINS)
    label = controller.r_labels[0]
    return sc.controlled(motor, controller, reference={label: MOVES if reference is None else reference}, **options)


def problem(loop, cost=None, **options):
    given = {"horizon": 150, "count": 8, "level": 0.02, "parameters": {"inertia": (3e-6, 3.5e-6)}} | options
    batch = sc.scenarios(loop.plant, loop.backup, **given)
    metrics = sc.MetricOptions(contraction=0.9, contraction_floor=0.02)
    return sc.ControlProblem(loop, batch, cost or sc.tracking(loop, [1.0], [1e-4]), metrics)


@pytest.fixture(scope="module")
def moved():
    return problem(servo())


def simulated(loop, theta, x0, p, r):
    """Return states and commands of one scenario from κ, η and f, given the reference at each step."""
    of, plant = loop.controller, loop.controlled_plant
    own = of.theta_initial + np.array(loop.scale) * theta
    kappa = ca.Function("kappa", [of.xi, of.y, of.r, of.theta], [of.command])
    eta = ca.Function("eta", [of.xi, of.y, of.r, of.u, of.theta], [of.memory])
    h = ca.Function("h", [plant.x, plant.p], [plant.measured])
    x, xi, X, U = x0[: plant.nx], x0[plant.nx :], [x0], []
    for value in r:
        y = h(x, p)
        v = np.array(kappa(xi, y, value, own))[:, 0]
        u = np.clip(v, plant.u_min, plant.u_max)
        xi = np.array(eta(xi, y, value, u if of.u.numel() else [], own))[:, 0]
        U.append(np.append(v, xi))
        xi = np.clip(xi, of.memory_min, of.memory_max)
        x = np.array(plant.function(x, u, p))[:, 0]
        X.append(np.append(x, xi))
    return np.array(X), np.array(U)


def test_rollouts_are_those_of_a_plain_simulation(moved):
    loop, batch = moved.policy, moved.scenarios
    theta = 0.1 * np.random.default_rng(0).normal(size=loop.theta_dim)
    X, U = moved.trajectories(theta)
    fixed = loop.controlled_plant.npar
    t = loop.plant.dt * np.arange(batch.horizon)
    for s in range(batch.count):
        after, at = batch.p[s, fixed : fixed + 2]
        r = np.where(t >= at, after, 0.0)
        x, u = simulated(loop, theta, batch.x0[s], batch.p[s, :fixed], r)
        np.testing.assert_allclose(X[s], x, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(U[s], u, rtol=1e-8, atol=1e-8)


def test_what_is_tracked_costs_the_error(moved):
    loop, batch, theta = moved.policy, moved.scenarios, np.zeros(moved.theta_dim)
    X, U = moved.trajectories(theta)
    fixed = loop.controlled_plant.npar
    t = loop.plant.dt * np.arange(batch.horizon)
    r = np.where(t >= batch.p[:, fixed + 1, None], batch.p[:, fixed, None], 0.0)
    u = np.clip(U[:, :, 0], loop.plant.u_min[0], loop.plant.u_max[0])
    cost = ((X[:, :-1, 0] - r) ** 2 + 1e-4 * u**2).sum(axis=1).mean() / batch.horizon
    assert moved.objective(theta) == pytest.approx(cost, rel=1e-9)


def test_itae_is_time_times_error():
    loop = servo(signals.step(0.0, 0.4))
    itae = problem(loop, sc.tracking(loop, [2.0], kind="itae"))
    X, _ = itae.trajectories(np.zeros(3))
    t = loop.plant.dt * np.arange(150)
    expected = (2.0 * t * np.abs(X[:, :-1, 0] - 0.4)).sum(axis=1).mean() / 150
    rounded = 2.0 * t.mean() * 1e-3 * 0.4  # at most: by how much the corner at zero error is
    assert expected - rounded <= itae.objective(np.zeros(3)) <= expected


def test_a_constant_as_a_signal_is_that_constant():
    one, other = servo(0.3), servo(signals.constant(0.3))
    assert one.plant.npar + 2 == other.plant.npar  # the reference and the time
    np.testing.assert_array_equal(one.plant.x_eq, other.plant.x_eq)
    assert (one.backup.rho, one.backup.evidence) == (other.backup.rho, other.backup.evidence)
    np.testing.assert_array_equal(one.scale, other.scale)
    mine = problem(one, sc.Cost((one.plant.x[0] - 0.3) ** 2))
    theirs = problem(other, sc.tracking(other, [1.0]))
    np.testing.assert_array_equal(mine.scenarios.x0, theirs.scenarios.x0)
    theta = np.full(one.theta_dim, 0.05)
    np.testing.assert_allclose(mine.metrics(theta), theirs.metrics(theta), rtol=1e-9, atol=1e-12)
    assert mine.objective(theta) == pytest.approx(theirs.objective(theta), rel=1e-9)


def test_contraction_is_about_where_the_reference_ends(moved):
    rests = moved.rests(moved.scenarios)
    fixed = moved.policy.controlled_plant.npar
    np.testing.assert_allclose(rests[:, 0], moved.scenarios.p[:, fixed], atol=1e-9)
    assert moved.spectral_radius(np.zeros(moved.theta_dim)) < 1


def test_adapts_and_stays_safe_on_scenarios_it_never_saw(moved):
    result = sc.adapt(moved, sc.AdaptOptions(steps=15, audit_rollouts=3000))
    assert result.objective_final < 0.5 * moved.objective(np.zeros(moved.theta_dim))
    fresh = moved.scenarios.declared.random(10_000_000, 2000, 7)
    there = moved.with_scenarios(fresh, result.theta)
    assert there.metrics(result.theta).max() <= 0
    assert np.ptp(fresh.p[:, moved.policy.controlled_plant.npar]) > 0.9


def test_a_search_moves_the_numbers_of_the_signal(moved):
    found = sc.falsify(moved, np.array([1.5, 0.0, 0.0]), budget=4000)
    assert found.worst > moved.metrics(np.zeros(3)).max()


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: sc.controlled(dc_motor(), pid(dc_motor(), **GAINS), reference={"x": 1.0}), DomainError, "'x'"),
        (lambda: servo(signals.step(50.0, 0.0)), ScpoError, "comes to rest with"),
        (lambda: problem(servo(), sc.Quadratic([1.0, 0.0], [1e-4])), DomainError, "tracking"),
        (lambda: sc.tracking(servo(), [1.0, 2.0]), DimensionError, "Q has 2"),
        (lambda: sc.tracking(servo(), [1.0], outputs=["nothing"]), DomainError, "measured signal: 0"),
        (lambda: sc.tracking(servo(0.1), [1.0], kind="itae"), DomainError, "no reference varies"),
        (lambda: sc.adapt(problem(servo(signals.step(0.0, 9.0)))), UnsafeStartError, "position"),
        (lambda: problem(servo(), parameters={"position reference after": (0, 1)}), DomainError, "signal"),
    ],
)  # fmt: skip
def test_bad_input(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_a_load_that_swings_about_its_mean_is_not_rest():
    plant = with_signals(loaded_arm(), {"load": signals.sine(0.0, 0.3, 0.5)})
    backup = sc.lqr(plant, [1.0, 1.0], [1.0])
    batch = sc.scenarios(plant, backup, horizon=20, initial_states=[[0.0, 0.0], [0.1, 0.0]])
    swung = sc.ControlProblem(sc.Policy(plant, backup), batch, sc.Quadratic([1.0, 1.0], [0.1]))
    assert np.ptp(swung.trajectories(swung.theta_initial)[0][0]) > 0.05
    assert not swung.at_rest.any() and not swung.notes()
    late = with_signals(loaded_arm(), {"load": signals.step(0.0, 0.3, at=5.0)})  # after the last of 20 steps
    still = replace(swung.policy, plant=late), sc.scenarios(late, backup, horizon=20, initial_states=[[0.0, 0.0]])
    assert sc.ControlProblem(*still, sc.Quadratic([1.0, 1.0], [0.1])).at_rest.all()


def noisy():
    motor = sensor_noise(loaded_motor(), 0.01)
    law = pid(motor, 0.8, 0.6, 0.1, filter_time=0.2, filtered=(-2.0, 3.0))
    moves = {law.r_labels[0]: signals.step(0.5, (0.3, 0.7), at=(0.2, 0.5))}
    loop = sc.controlled(quantise(motor, 0.02), law, reference=moves)
    batch = sc.scenarios(loop.plant, loop.backup, horizon=20, count=6, level=0.1, parameters=RANGES)
    return loop, batch


def test_local_stability_is_said_of_what_moves_the_place_of_rest():
    loop, batch = noisy()
    told = sc.ControlProblem(loop, batch, sc.tracking(loop, [1.0])).stability
    for i in range(told.count):
        assert re.findall(r"(?:for |, )([^=]*) =", told.label(i)) == ["friction", "gain", "y0 reference after"]


def test_corners_have_noise_and_rounding_of_their_own():
    loop, batch = noisy()
    labels, drawn = loop.plant.p_labels, batch.declared.edge(64, 3).p
    seeds = drawn[:, [i for i, label in enumerate(labels) if label.endswith("seed")]]
    assert seeds.shape == (64, 2) and np.unique(seeds).size == 128
    after = drawn[::2, labels.index("y0 reference after")]
    assert set(after) == {0.3, 0.7}  # while numbers that have an order are in corners


def test_points_are_told_apart_by_what_is_drawn():
    loop, batch = noisy()
    moved = batch.p.copy()
    moved[:, -signal_count(loop.plant) :] += 1e6
    places = [batch.declared.coordinates(points) for points in (batch, replace(batch, p=moved))]
    np.testing.assert_array_equal(*places)


def test_what_is_told_of_a_scenario_is_what_was_drawn_and_means_something():
    arm = loaded_arm()
    x, u, p = arm.x, arm.u, arm.p
    arm = arm.replace(f=ca.vertcat(x[0] + 0.1 * x[1], 0.95 * x[1] + 0.1 * (p[1] * u - p[0])))
    plant = with_signals(arm, {"load": signals.step(0.0, (-0.1, 0.1), 0.5)})
    backup = sc.lqr(plant, [1.0, 1.0], [1.0])
    with pytest.raises(BackupError, match=r"at gain = -3: V/rho"):
        check_backup(plant, backup, parameters={"gain": (-3.0, 1.0)})
    loop, _ = noisy()
    one = sc.scenarios(loop.plant, loop.backup, horizon=20, count=1, level=1e-4)
    _, U = sc.ControlProblem(loop, one, sc.tracking(loop, [1.0])).trajectories(np.zeros(3))
    most = np.abs(np.diff(U[0, :, 0])).max()
    tight = sc.ControlProblem(loop, one, sc.tracking(loop, [1.0]), sc.MetricOptions(du_max=[1.01 * most]))
    with pytest.raises(UnsafeStartError, match="declared set is larger") as caught:
        sc.adapt(tight, sc.AdaptOptions(steps=2, audit_rollouts=500))
    assert "y0 reference at" in str(caught.value) and "seed" not in str(caught.value)


def test_rest_is_found_far_from_the_equilibrium_of_the_plant(tmp_path):
    x, d = ca.SX.sym("x", 2), ca.SX.sym("d")  # a boost converter from 12 V: current, voltage; duty cycle
    f = ca.vertcat((12 - 0.08 * x[0] - (1 - d) * x[1]) / 1e-4, ((1 - d) * x[0] - x[1] / 12) / 470e-6)

    def rests(v):
        on = (12 + np.sqrt(144 - 0.32 * v**2 / 12)) / (2 * v)  # 1 - d
        return [v / 12 / on, v], [1 - on]

    ends = {"x_min": [-2.0, 5.0], "x_max": [15.0, 32.0], "u_min": [0.0], "u_max": [0.8]}
    x_eq, u_eq = rests(24.0)
    plant = discretise(Plant(name="boost", x=x, u=d, f=f, y=x[1], x_eq=x_eq, u_eq=u_eq, **ends), 2e-5)
    loop = sc.controlled(plant, pid(plant, kp=0.001, ki=8.0), reference=[14.0])
    assert loop.plant.x_eq[:2] == pytest.approx(rests(14.0)[0], rel=1e-8)
    batch = sc.scenarios(loop.plant, loop.backup, horizon=5, count=2, level=0.1)
    result = sc.adapt(sc.ControlProblem(loop, batch, sc.Quadratic([0.0, 1.0], [0.1])), AdaptOptions(steps=0))
    result.save(tmp_path / "RUN")
    assert sc.verify(tmp_path / "RUN").passed
