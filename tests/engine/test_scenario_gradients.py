"""Gradients of weighted metrics with respect to the scenarios: against differences, CasADi and a black box."""

from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from loops import EVERYTHING, EXPRESSIONS, LOADED, Case, linear_case, pendulum_case, scalar_case
from problems import two_input_problem

from scpo_ctrl.engine import lanes
from scpo_ctrl.engine import simulator as simulator_module
from scpo_ctrl.engine.lanes import LaneEngine
from scpo_ctrl.engine.loop import Loop, Stage
from scpo_ctrl.engine.rollout import Rollouts
from scpo_ctrl.engine.simulator import SimulatorEngine
from scpo_ctrl.errors import DimensionError, EvaluationError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.metrics import MetricOptions, Metrics
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.models import Plant, cart_pole, double_integrator

WIDE = MetricOptions(command=False, terminal=True, contraction=0.6)


def case_of(plant, K, P, hidden, options, *, ranges, disturbance, horizon=12, count=11):
    """Return a closed loop around any plant, some of its commands beyond their bounds."""
    rng, backup = np.random.default_rng(3), Backup(np.array(K), np.array(P), 2.0)
    x0 = plant.x_eq + rng.uniform(-0.5, 0.5, (count, plant.nx)) * np.minimum(plant.x_max - plant.x_eq, 2.0)
    p = plant.p_nominal * rng.uniform(*ranges, (count, plant.npar))
    w = rng.uniform(-1, 1, (count, horizon, plant.nx)) * disturbance if disturbance else np.zeros((count, horizon, 0))
    stage = Stage(np.ones(plant.nx), np.ones(plant.nu))
    policy = Policy(plant, backup, hidden, scale=(1.0,) * plant.nx, input_scale=(1.2,) * plant.nu)
    loop = Loop(policy, Metrics(plant, backup, horizon, options), stage)
    return Case(loop, Scenarios(x0, p, w, horizon))


def with_mass(hidden=(5,), options=EVERYTHING, **sizes):
    """Return R3 with a mass between 0.5 and 1.5 and a disturbance."""
    K, P = [[2.0, 4.0]], [[2.0, 1.0], [1.0, 3.0]]
    return case_of(double_integrator(), K, P, hidden, options, ranges=(0.5, 1.5), disturbance=0.02, **sizes)


def on_a_cart(hidden=(6,), options=EVERYTHING):
    K, P = [[-3.0, -6.0, -60.0, -15.0]], np.diag([1.0, 1.0, 40.0, 3.0]) + 0.2
    return case_of(cart_pole(), K, P, hidden, options, ranges=(0.5, 1.5), disturbance=0.01)


def with_a_dense_part():
    """Return many affine rows, which C has as tables, one with a parameter, and a last one that is not affine."""
    rng, n = np.random.default_rng(2), 15
    x, u, p = ca.SX.sym("x", n), ca.SX.sym("u", 2), ca.SX.sym("p", 2)
    f = ca.DM(rng.normal(size=(n, n)) / 6) @ x + ca.DM(rng.normal(size=(n, 2))) @ u
    f[0] += p[0]
    f[n - 1] *= p[1]
    wide = {"x_min": np.full(n, -9.0), "x_max": np.full(n, 9.0), "u_min": -np.ones(2), "u_max": np.ones(2)}
    plant = Plant(name="dense", x=x, u=u, p=p, p_nominal=np.array([0.2, 0.7]), f=f, dt=0.1, **wide)
    K = rng.normal(size=(2, n)) / 5
    return case_of(plant, K, np.eye(n), (4,), EVERYTHING, ranges=(0.5, 1.5), disturbance=0.01, horizon=4)


def two_inputs(hidden=(3, 4), options=EVERYTHING):
    problem = two_input_problem(3, hidden)
    batch = problem.scenarios
    loop = Loop(
        problem.policy, Metrics(problem.plant, problem.backup, batch.horizon, options), Stage(np.ones(3), np.ones(2))
    )
    rng = np.random.default_rng(0)
    x0 = problem.plant.x_eq + rng.uniform(-1, 1, (13, 3))
    return Case(loop, Scenarios(x0, np.zeros((13, 0)), rng.uniform(-0.1, 0.1, (13, batch.horizon, 3)), batch.horizon))


CASES = {
    **LOADED,
    "R3 with mass": with_mass(),
    "R3 with mass, linear": with_mass((), MetricOptions(contraction=0.3)),
    "R3 with mass, a floor between": with_mass((3,), MetricOptions(contraction=0.3, contraction_floor=0.25)),
    "R3 with mass, one step": with_mass(horizon=1, count=13),
    "R3 with mass, saturated": with_mass((4,), WIDE, count=9),
    "R3, no disturbance": linear_case((5,)),
    "R3, levels only": linear_case((3,), MetricOptions(path=False, terminal=True, contraction=0.4), count=3),
    "cart-pole": on_a_cart(),
    "cart-pole, saturated": on_a_cart((), WIDE),
    "two inputs, offset equilibrium": two_inputs(),
    "two inputs, saturated": two_inputs((), WIDE),
    "pendulum, two layers": pendulum_case((3, 7)),
    "dense": with_a_dense_part(),
    "scalar": scalar_case(),
    **EXPRESSIONS,
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def weights(case, seed=5):
    return np.random.default_rng(seed).normal(size=(case.batch.count, len(case.loop.metrics.rows)))


def weighted(engine, batch, theta, multipliers, *, saturated):
    """Return the weighted metrics of each scenario."""
    out = np.empty((1, multipliers.size))
    engine.metrics(batch, theta[None], out, saturated=saturated)
    return (out.reshape(multipliers.shape) * multipliers).sum(axis=1)


def differences(engine, batch, theta, multipliers, *, saturated, h=1e-6):
    """Return central differences of the weighted metrics with respect to all numbers of a scenario."""
    results = []
    for key in ("x0", "p", "w"):
        array = getattr(batch, key)
        slopes = np.empty(array.shape)
        for at in np.ndindex(array.shape[1:]):
            ends = []
            for move in (h, -h):
                moved = array.copy()
                moved[:, *at] += move
                ends.append(weighted(engine, replace(batch, **{key: moved}), theta, multipliers, saturated=saturated))
            slopes[:, *at] = (ends[0] - ends[1]) / (2 * h)
        results.append(slopes)
    return results


def close(values, expected, tolerance):
    """Compare gradients, each scenario's relative to its largest entry of all."""
    for value, wanted in zip(values, expected, strict=True):
        assert value.shape == wanted.shape
    flat, wanted = (np.hstack([array.reshape(len(array), -1) for array in arrays]) for arrays in (values, expected))
    np.testing.assert_array_less(np.abs(flat - wanted).max(axis=1), tolerance * np.abs(wanted).max(axis=1) + 1e-300)


@pytest.mark.parametrize("saturated", [True, False])
def test_gradients_are_the_limit_of_differences(case, saturated):
    engine, theta, multipliers = LaneEngine(case.loop), case.theta(), weights(case)
    gradients = engine.scenario_gradients(case.batch, theta, multipliers, saturated=saturated)
    close(gradients, differences(engine, case.batch, theta, multipliers, saturated=saturated), 1e-6)


@pytest.mark.table(4)
@pytest.mark.parametrize("saturated", [True, False])
def test_gradients_are_those_of_casadi(case, saturated, oracle):
    theta, multipliers = case.theta(), weights(case)
    values, expected = (
        engine.scenario_gradients(case.batch, theta, multipliers, saturated=saturated)
        for engine in (LaneEngine(case.loop), oracle(case.loop))
    )
    close(values, expected, 1e-9)


def step_of(plant):
    """Return a plant as a Python function of stacks."""

    def step(x, u, p):
        return np.array(plant.function.map(len(x))(x.T, u.T, p.T)).T

    return step


@pytest.mark.parametrize("saturated", [True, False])
def test_gradients_of_a_black_box_approach_them(case, saturated):
    theta, multipliers = case.theta(), weights(case)
    values, expected = (
        engine.scenario_gradients(case.batch, theta, multipliers, saturated=saturated)
        for engine in (SimulatorEngine(case.loop, step_of(case.loop.policy.plant)), LaneEngine(case.loop))
    )
    close(values, expected, 1e-7)


def test_saturation_acts_in_the_cases(case):
    """Without it, derivatives of the true loop would not be tested."""
    plant = case.loop.policy.plant
    _, U = LaneEngine(case.loop).trajectories(case.batch, case.theta())
    assert ((plant.u_min > U) | (plant.u_max < U)).any()
    assert ((plant.u_min < U) & (plant.u_max > U)).any()


def test_the_gradient_of_one_metric_is_that_of_its_scenario_and_of_no_later_time():
    """Rows are in the order of `Metrics.rows`: each is moved by what comes before it, and by its own scenario only."""
    case = CASES["R3 with mass"]
    engine, batch, theta = LaneEngine(case.loop), case.batch, case.theta()
    for i, row in enumerate(case.loop.metrics.rows):
        multipliers = np.zeros((batch.count, len(case.loop.metrics.rows)))
        multipliers[4, i] = 1.0
        gx0, gp, gw = engine.scenario_gradients(batch, theta, multipliers)
        for gradient in (gx0, gp, gw):
            assert not np.delete(gradient, 4, axis=0).any()
        assert not gw[4, row.time :].any()
        assert gx0[4].any()
        if row.kind == "state" and row.time == 0:
            assert sorted(np.abs(gx0[4])) == [0.0, 1.0]
            assert not gp.any()
        if row.kind == "state" and row.time:
            assert sorted(np.abs(gw[4, row.time - 1])) == [0.0, 1.0]


def test_beyond_its_bound_the_command_moves_nothing():
    """One step from far outside the bounds: x(1) depends on x(0) by A alone in the true loop."""
    case = with_mass((), MetricOptions(), horizon=1, count=3)
    A, B, K = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.005], [0.1]]), case.loop.policy.backup.K
    batch = replace(case.batch, x0=np.array([[4.0, 1.0], [0.1, 0.0], [-4.0, -1.0]]), p=np.ones((3, 1)))
    rows = [(row.kind, row.time, row.label) for row in case.loop.metrics.rows]
    multipliers = np.zeros((3, len(rows)))
    multipliers[:, next(i for i, row in enumerate(rows) if row[:2] == ("state", 1))] = 1.0
    engine = LaneEngine(case.loop)
    true = engine.scenario_gradients(batch, np.zeros(2), multipliers)
    smooth = engine.scenario_gradients(batch, np.zeros(2), multipliers, saturated=False)
    np.testing.assert_allclose(true[0], [A[0], (A - B @ K)[0], A[0]], rtol=1e-14)
    np.testing.assert_allclose(smooth[0], np.tile((A - B @ K)[0], (3, 1)), rtol=1e-14)
    u = np.array([[-1.0], [-0.1 * K[0, 0]], [1.0]])
    np.testing.assert_allclose(true[1], -B[0] * u, rtol=1e-13)


def test_contraction_counts_where_the_rollout_starts_too():
    """Where nothing moves but x(0) itself, x⁺ = 0: the gradient of V(x_N) - γ V(x_0) is -2 γ P z_0."""
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    bounds = {"x_min": np.full(2, -9.0), "x_max": np.full(2, 9.0), "u_min": -np.ones(1), "u_max": np.ones(1)}
    plant = Plant(name="deadbeat", x=x, u=u, f=0 * x + 0.5, dt=1.0, x_eq=np.full(2, 0.5), **bounds)
    P = np.array([[2.0, 0.5], [0.5, 1.0]])
    options = MetricOptions(path=False, contraction=0.3)
    case = case_of(plant, np.zeros((1, 2)), P, (), options, ranges=(1, 1), disturbance=0.0)
    for engine in (LaneEngine(case.loop), SimulatorEngine(case.loop, step_of(plant))):
        gx0, gp, gw = engine.scenario_gradients(case.batch, np.zeros(2), np.ones((case.batch.count, 1)))
        np.testing.assert_allclose(gx0, -0.6 * (case.batch.x0 - 0.5) @ P, rtol=1e-12)
        assert gp.shape == (case.batch.count, 0)
        assert gw.shape == (case.batch.count, 12, 0)


def test_threads_do_not_change_a_bit(monkeypatch):
    case = pendulum_case((4,), count=205, horizon=5)
    results = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(lanes, "threads_for", lambda *_, threads=threads: threads)
        results.append(LaneEngine(case.loop).scenario_gradients(case.batch, case.theta(), weights(case)))
    for other in results[1:]:
        for value, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(value, expected)


def test_parts_of_a_batch_have_the_bits_of_the_whole(case):
    engine, theta, multipliers = LaneEngine(case.loop), case.theta(), weights(case)
    whole = engine.scenario_gradients(case.batch, theta, multipliers)
    for part in (slice(0, 1), slice(1, None, 2), slice(2, None)):
        batch = case.batch.part(part)
        if batch.count:
            some = engine.scenario_gradients(batch, theta, np.ascontiguousarray(multipliers[part]))
            for value, expected in zip(some, whole, strict=True):
                np.testing.assert_array_equal(value, expected[part])


def test_chunks_of_a_black_box_change_nothing(case, monkeypatch):
    box = SimulatorEngine(case.loop, step_of(case.loop.policy.plant))
    theta, multipliers = case.theta(), weights(case)
    whole = box.scenario_gradients(case.batch, theta, multipliers)
    monkeypatch.setattr(simulator_module, "_NUMBERS", 300)
    close(box.scenario_gradients(case.batch, theta, multipliers), whole, 1e-7)  # differences enlarge what is rounded


def test_a_lost_rollout_leaves_the_gradients_of_others_alone():
    case = CASES["R3 with mass"]
    theta, multipliers = case.theta(), weights(case)
    lost = replace(case.batch, x0=case.batch.x0.copy())
    lost.x0[2] = np.nan
    others = np.arange(case.batch.count) != 2
    for engine in (LaneEngine(case.loop), SimulatorEngine(case.loop, step_of(case.loop.policy.plant))):
        values, expected = (engine.scenario_gradients(batch, theta, multipliers) for batch in (lost, case.batch))
        assert np.isnan(values[0][2]).any()
        close([v[others] for v in values], [e[others] for e in expected], 1e-7)


def test_a_black_box_is_asked_two_calls_a_step_and_never_below_a_parameter_s_limit():
    case = CASES["R3 with mass"]
    calls, step = [], step_of(case.loop.policy.plant)

    def counted(x, u, p):
        calls.append(len(x))
        assert (p > 0).all()
        return step(x, u, p)

    batch = replace(case.batch, p=np.full(case.batch.p.shape, 1e-7))  # far below the move relative to the nominal value
    SimulatorEngine(case.loop, counted).scenario_gradients(batch, 0 * case.theta(), weights(case))
    N, S = batch.horizon, batch.count
    of_rest = [1 + 4 * 2], [(1 + 4 * 2) * S, 4 * S]  # once for all, as their parameters are equal; then how it moves
    assert calls == [*of_rest[0], *[S] * N, *of_rest[1], *[2 * 3 * S] * N]


def test_rollouts_give_them_for_their_own_scenarios_and_for_others():
    case = CASES["R3 with mass"]
    rollouts, theta, multipliers = (
        Rollouts(case.loop.policy, case.batch, case.loop.metrics),
        case.theta(),
        weights(case),
    )
    expected = LaneEngine(case.loop).scenario_gradients(case.batch, theta, multipliers)
    other = case.batch.part(slice(2, 7))
    for value, wanted in zip(rollouts.scenario_gradients(theta, multipliers), expected, strict=True):
        np.testing.assert_array_equal(value, wanted)
    for value, wanted in zip(rollouts.scenario_gradients(theta, multipliers[2:7], other), expected, strict=True):
        np.testing.assert_array_equal(value, wanted[2:7])
    smooth = rollouts.scenario_gradients(theta, np.asfortranarray(multipliers), saturated=False)
    wanted = LaneEngine(case.loop).scenario_gradients(case.batch, theta, multipliers, saturated=False)
    np.testing.assert_array_equal(smooth[0], wanted[0])


def test_what_c_would_read_unchecked_is_refused():
    case = CASES["R3 with mass"]
    rollouts, theta, multipliers = (
        Rollouts(case.loop.policy, case.batch, case.loop.metrics),
        case.theta(),
        weights(case),
    )
    with pytest.raises(DimensionError, match="theta has shape"):
        rollouts.scenario_gradients(theta[:-1], multipliers)
    for wrong in (multipliers[:, :-1], multipliers[:-1], multipliers.ravel()):
        with pytest.raises(DimensionError, match=r"multipliers have shape .* expected \(11, "):
            rollouts.scenario_gradients(theta, wrong)
    for key, array in (("x0", case.batch.x0[:, :1]), ("p", case.batch.p[:, 1:]), ("w", case.batch.w[:, :, 1:])):
        with pytest.raises(DimensionError, match=f"scenarios: {key} has shape"):
            rollouts.scenario_gradients(theta, multipliers, replace(case.batch, **{key: array}))
    shorter = replace(case.batch, w=case.batch.w[:, 1:], horizon=case.batch.horizon - 1)
    with pytest.raises(DimensionError, match="horizon is 11, expected 12"):
        rollouts.scenario_gradients(theta, multipliers, shorter)


def test_a_black_box_that_raises_is_named():
    case = CASES["R3 with mass"]

    def broken(x, u, p):
        raise RuntimeError("solver gave up")

    rollouts = Rollouts(case.loop.policy, case.batch, case.loop.metrics, simulator=broken)
    with pytest.raises(EvaluationError, match="solver gave up"):
        rollouts.scenario_gradients(case.theta(), weights(case))
