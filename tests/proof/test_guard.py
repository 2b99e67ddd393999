"""The guard (E9): no θ leaves the proved set under it, what it costs, and what it refuses."""

import json

import casadi as ca
import numpy as np
import pytest
from forms import times
from problem_files import write

import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.invariance.guard import Liveness
from scpo_ctrl.loop.level import parameter_ranges
from scpo_ctrl.models import cart_pole, dc_motor, double_integrator, planar_quadrotor
from scpo_ctrl.proof.guarded import guard, guarded_runs

CART = {"cart_mass": (0.8, 1.2)}  # of both masses +-50 % examples/benchmarks/guards.py
R3 = double_integrator()
KINDS = {
    "R3": lambda: problem(R3, sc.lqr(R3, [0.1, 0.1], [10.0])),
    "R3, mass, pushed": lambda: problem(
        R3,
        sc.lmi(R3, parameters={"mass": (0.8, 1.3)}, disturbance=[0.0, 0.01]),
        parameters={"mass": (0.8, 1.3)},
        disturbance=[0.0, 0.01],
    ),
    "R4, cart": lambda: problem(cart_pole(), sc.lmi(cart_pole(), parameters=CART), parameters=CART),
    "R5": lambda: problem(planar_quadrotor(), sc.lmi(planar_quadrotor())),
}


def problem(plant, backup, **declared):
    """Return a problem with a small network."""
    policy = sc.Policy(plant, backup, hidden=(4,))
    batch = sc.scenarios(plant, backup, count=3, level=0.5, horizon=20, seed=1, **declared)
    return sc.ControlProblem(policy, batch, sc.Quadratic(np.ones(plant.nx), np.ones(plant.nu)), sc.MetricOptions())


@pytest.fixture(scope="module", params=KINDS)
def guarded(request):
    of = KINDS[request.param]()
    return of, guard(of)


def drawn(of, rng, count):
    """Return states in the proved set, half of them on its surface, and parameters, many at ends of their ranges."""
    plant, (unit, root) = of.plant, of.backup.shape
    towards = rng.normal(size=(count, plant.nx))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    length = np.where(rng.uniform(size=(count, 1)) < 0.5, 1 - 1e-8, rng.uniform(size=(count, 1)))
    ranges = of.scenarios.declared.ranges
    sides = rng.uniform(size=(count, plant.npar))
    p = np.where(rng.uniform(size=sides.shape) < 0.5, np.round(sides), sides) * np.ptp(ranges, axis=1) + ranges[:, 0]
    return plant.x_eq + unit * ((length * towards) @ root.T), p


def worst_push(of, following):
    """Return the disturbance at a corner of its half widths that raises V most."""
    half = of.scenarios.declared.half
    if not half.size:
        return np.zeros_like(following)
    slope = 2 * (following - of.plant.x_eq) @ of.backup.P
    return np.where(slope >= 0, half, -half)


def test_no_policy_leaves_the_set(guarded):
    of, held = guarded
    plant, rng, count = of.plant, np.random.default_rng(7), times(100_000)
    x, p = drawn(of, rng, count)
    theta = rng.normal(size=of.theta_dim) * 10.0 ** rng.uniform(-2, 3)
    wild = plant.u_min + rng.uniform(size=(count, plant.nu)) * (plant.u_max - plant.u_min)
    step = plant.function.map(count)
    acted = np.zeros(3, dtype=int)
    for k, u in enumerate((of.policy(x, theta), wild, np.where(rng.uniform(size=wild.shape) < 0.5, *bounds(plant)))):
        applied, acts = held.apply(x, u)
        assert (applied >= plant.u_min).all() and (applied <= plant.u_max).all()
        following = np.array(step(x.T, applied.T, p.T)).T
        following = following + worst_push(of, following)
        assert (of.backup.level(following, plant.x_eq) <= of.backup.rho).all()
        acted[k] = acts.sum()
    assert 0 < acted[1] < count  # it lets pass what it can


def bounds(plant):
    """Return the bounds of inputs."""
    return plant.u_min, plant.u_max


def test_the_worst_input_that_passes_is_near_the_surface():
    """A guard that lets little pass would be no use: the farthest input that passes ends near the surface."""
    of = KINDS["R3, mass, pushed"]()
    held, (unit, root) = guard(of), of.backup.shape
    x = np.tile(unit * (root @ [0.0, 0.999]), (2001, 1))
    u = np.linspace(of.plant.u_min, of.plant.u_max, 2001)
    _, acted = held.apply(x, u)
    level = np.array(held.function.map(2001)(x.T, u.T)).ravel()
    assert acted.any() and not acted.all()
    assert level[~acted].max() <= 1 < level[acted].min()
    assert level[~acted].max() > 0.9


def test_the_points_stand_for_all_parameters_between(guarded):
    of, held = guarded
    plant, rng, count = of.plant, np.random.default_rng(3), 20_000
    x, _ = drawn(of, rng, count)
    ranges = parameter_ranges(plant, None) if not plant.npar else of.scenarios.declared.ranges
    u = plant.u_min + rng.uniform(size=(count, plant.nu)) * (plant.u_max - plant.u_min)
    T, step = np.linalg.cholesky(held.P / held.rho).T, plant.function.map(count)

    def length(p):
        following = np.array(step(x.T, u.T, np.broadcast_to(p, (count, plant.npar)).T))
        return np.linalg.norm(T @ (following - plant.x_eq[:, None]), axis=0)

    at_points = np.max([length(p) for p in held.points], axis=0)
    between = rng.uniform(ranges[:, 0], ranges[:, 1], (20, plant.npar))
    for p in between:
        assert (length(p) <= at_points + held.between + 1e-9).all()
    level = np.array(held.function.map(count)(x.T, u.T)).ravel()
    assert np.allclose(np.sqrt(level) * held.room, at_points, rtol=1e-9)


def test_what_is_no_number_gets_the_input_at_rest(guarded):
    of, held = guarded
    x, u = np.tile(of.plant.x_eq, (3, 1)), np.tile(of.plant.u_eq, (3, 1))
    x[0, 0], u[1, 0], x[2, 0] = np.nan, np.inf, np.inf
    applied, acted = held.apply(x, u)
    assert acted.all() and np.isfinite(applied).all()
    assert np.allclose(applied[:2], of.plant.u_eq)
    with pytest.raises(DimensionError, match="expected"):
        held.apply(x, u[:2])


def test_runs_under_the_guard_cost_what_a_plain_loop_says():
    of = KINDS["R3, mass, pushed"]()
    held, theta = guard(of), np.random.default_rng(2).normal(size=of.theta_dim)
    found = guarded_runs(of, theta, held, episodes=50, seed=4)
    batch = of.scenarios.declared.random(0, 50, (1 << 51) + 4)
    cost, acted = 0.0, 0
    for start, p, w in zip(batch.x0, batch.p, batch.w, strict=True):
        x = start
        for t in range(batch.horizon):
            u, acts = held.apply(x, np.clip(of.policy(x, theta), of.plant.u_min, of.plant.u_max))
            cost += (x @ x + u @ u) / batch.horizon / 50
            acted += int(acts)
            x = np.array(of.plant.function(x, u, p))[:, 0] + w[t]
    assert found.acted == acted > 0 and found.escapes == 0
    assert np.isclose(found.cost, cost, rtol=1e-12)
    assert found.where.shape == (acted, 2)


def test_the_improvement_of_a_run_survives():
    result = sc.adapt(KINDS["R3"](), sc.AdaptOptions(steps=15, audit=False))
    found = guarded_runs(result.problem, result.theta, guard(result.problem), episodes=2000)
    assert found.escapes == 0 and found.kept > 0.9
    assert found.cost_without < found.cost_backup


def test_what_is_not_proved_is_refused():
    wide = {"mass": (0.3, 3.0)}
    of = problem(R3, sc.lqr(R3, [0.1, 0.1], [10.0], parameters=wide), parameters=wide)
    with pytest.raises(DomainError, match=r"a step may multiply the length by.*kind = \"lmi\""):
        guard(of)
    many, names = ca.SX.sym("p", 7), "abcdefg"
    moved = R3.f + 1e-4 * ca.vertcat(0, ca.sum1(many))
    moved = ca.substitute(moved, R3.p, ca.DM(R3.p_nominal))
    plant = R3.replace(
        p=many, p_nominal=np.zeros(7), p_labels=tuple(names), p_units=("",) * 7, p_above=-np.ones(7) * 9, f=moved
    )
    with pytest.raises(DomainError, match=r"2\^7 next states"):
        guard(problem(plant, sc.lqr(plant, [0.1, 0.1], [10.0]), parameters=dict.fromkeys(names, (-1.0, 1.0))))


def under(law, plant, level=0.8):
    """Return a problem of a motor under a controller."""
    loop = sc.controlled(plant, law)
    batch = sc.scenarios(loop.plant, loop.backup, count=3, level=level, horizon=30)
    return sc.ControlProblem(loop, batch, sc.Quadratic(np.ones(plant.nx), np.ones(1)), sc.MetricOptions())


def integrating():
    """Return a motor of which both states are measured, under state feedback with integral action."""
    motor = dc_motor().replace(y=ca.SX(0, 1), y_labels=(), y_units=())
    return under(sc.controllers.lqi(motor, [1.0, 1e-4, 10.0], [0.1], tracked=[0]), motor)


def test_no_numbers_of_a_controller_leave_the_set_of_its_loop():
    """What it remembers is a state as any other, and the controller as it runs today is the backup."""
    of = integrating()
    held, (unit, root), rng, count = guard(of), of.backup.shape, np.random.default_rng(5), 20_000
    towards = rng.normal(size=(count, 3))
    towards *= (1 - 1e-8) / np.linalg.norm(towards, axis=1, keepdims=True)
    s = of.plant.x_eq + unit * (towards @ root.T)
    for size in (0.1, 1.0, 100.0):
        applied, acted = held.apply(s, of.policy(s, size * rng.normal(size=of.theta_dim)))
        following = np.array(of.plant.function.map(count)(s.T, applied.T, of.plant.p_nominal)).T
        assert (of.backup.level(following, of.plant.x_eq) <= of.backup.rho).all() and acted.any()
    assert not held.apply(s, of.policy(s, of.theta_initial))[1].any()
    theta = np.array([0.3, -0.9, 0.6])
    found = guarded_runs(of, theta, held, episodes=20, seed=2)
    cost, acts = 0.0, 0
    for start in of.scenarios.declared.random(0, 20, (1 << 51) + 2).x0:
        s = start
        for _ in range(30):
            u, acted = held.apply(s, of.policy(s, theta))
            cost += (s[:2] @ s[:2] + u[0] ** 2) / 30 / 20
            acts += int(acted)
            s = np.array(of.plant.function(s, u, of.plant.p_nominal))[:, 0]
    assert found.acted == acts > 0 and found.escapes == 0 and np.isclose(found.cost, cost, rtol=1e-12)


def test_outputs_that_are_less_than_the_state_are_refused_with_or_without_an_observer():
    motor, weights = dc_motor(), {"Q": [1.0, 1e-4], "R": [0.1], "process_noise": [1e-6, 1.0], "sensor_noise": [1e-6]}
    for law in (sc.controllers.pid(motor, 1.0, 2.0, 0.02, filter_time=2e-3), sc.controllers.lqg(motor, **weights)):
        with pytest.raises(DomainError, match=r"does not determine the 2 states .* an estimate has an error"):
            guard(under(law, motor, 0.5))
    x, theta = ca.SX.sym("x", 2), ca.SX.sym("theta", 2)
    sine = sc.Controller(
        name="sine", theta=theta, theta_initial=[0.1, 0.5], y=x, command=-theta[0] * ca.sin(x[0]) - theta[1] * x[1]
    )
    with pytest.raises(DomainError, match="no straight line"):
        guard(under(sine, R3, 0.2))
    result = sc.adapt(integrating(), sc.AdaptOptions(steps=0, audit=False))
    with pytest.raises(DomainError, match="the C of controller 'LQI' has no guard"):
        export(result, "nowhere", guarded=True)


def test_an_adapter_counts_what_the_guard_does():
    of = KINDS["R3"]()
    adapter = sc.Adapter(of, sc.AdaptOptions(steps=2, audit=False), guarded=True)
    plain = sc.Adapter(of, sc.AdaptOptions(steps=2, audit=False))
    assert adapter.command([0.5, 0.1]) == plain.command([0.5, 0.1]) and adapter.interventions == 0
    adapter._at_work = 20 * np.random.default_rng(1).normal(size=of.theta_dim)  # as no step would commit it
    x = np.array([0.0, 0.7 * of.backup.extent[1]])
    for _ in range(100):
        x = np.array(of.plant.function(x, adapter.command(x), 1.0))[:, 0]
        assert of.backup.level(x) <= of.backup.rho
    assert adapter.interventions > 0
    with pytest.raises(DomainError, match="liveness is of the guard"):
        sc.Adapter(of, sc.AdaptOptions(audit=False), liveness=5)


def test_the_backup_takes_over_where_v_does_not_halve():
    of = KINDS["R3"]()
    timer = Liveness(guard(of), 10)
    still = np.array([1.0, 0.0])
    assert [timer.handed_over(still) for _ in range(13)] == [False] * 11 + [True] * 2
    assert not timer.handed_over(still / 2)  # a quarter of V
    assert not any(timer.handed_over(still * 1e-3) for _ in range(50))  # below the floor
    adapter = sc.Adapter(of, sc.AdaptOptions(steps=1, audit=False), guarded=True, liveness=40)
    adapter._at_work = of.theta_initial.copy()
    adapter._at_work[-4:] = 0.7  # a policy that holds the plant away from rest
    x = np.array([2.0, 0.0])
    levels = []
    for _ in range(600):
        x = np.array(of.plant.function(x, adapter.command(x), 1.0))[:, 0]
        levels.append(of.backup.level(x) / of.backup.rho)
    assert min(levels) < 0.02 and adapter.interventions > 0
    alone = sc.Adapter(of, sc.AdaptOptions(steps=1, audit=False), guarded=True)
    alone._at_work = adapter._at_work
    for _ in range(600):
        x = np.array(of.plant.function(x, alone.command(x), 1.0))[:, 0]
    assert of.backup.level(x) > 0.05 * of.backup.rho  # without the timer it stays there


def test_the_command(tmp_path, run):
    changes = {"backup": {"kind": "lmi"}, "scenarios.level": 0.4}
    assert run("adapt", write(tmp_path / "p.toml", changes), "--out", tmp_path / "run").status == 0
    outcome = run("guard", tmp_path / "run", "--episodes", 500)
    assert outcome.status == 0 and "under the guard: 0 of" in outcome.out
    written = json.loads((tmp_path / "run" / "guard.json").read_text())
    assert written["escapes"] == 0 and written["episodes"] == 500
    assert sc.verify(tmp_path / "run").passed  # the report is of before
    assert run("report", tmp_path / "run", pictures=True).status == 0
    assert "Where the guard acts" in (tmp_path / "run" / "report.html").read_text()
    assert sc.verify(tmp_path / "run").passed
    again = json.loads(run("guard", tmp_path / "run", "--episodes", 500, "--json").out)
    assert again["cost"] == written["cost"]
    (tmp_path / "run" / "guard.json").write_text("{}")
    outcome = run("report", tmp_path / "run")
    assert outcome.status == 2 and "guard.json is damaged" in outcome.line
    wide = {"scenarios.parameters": {"mass": [0.3, 3.0]}, "scenarios.level": 0.1}
    assert run("adapt", write(tmp_path / "q.toml", wide), "--out", tmp_path / "wide").status == 0
    outcome = run("guard", tmp_path / "wide")
    assert outcome.status in (1, 2) and "a guard needs a set that its backup is proved to keep" in outcome.line


def test_near_the_backup_an_input_passes_without_a_next_state(guarded):
    of, found = guarded
    rng, plant = np.random.default_rng(12), of.plant
    x, p = drawn(of, rng, 40_000)
    least, per = found.near()
    backup = plant.u_eq - (x - plant.x_eq) @ found.K.T
    u = np.clip(backup + rng.normal(size=backup.shape) / per * rng.uniform(0, 1, (len(x), 1)), plant.u_min, plant.u_max)
    length = np.linalg.norm((x - plant.x_eq) @ found.root.T, axis=1)
    near = length <= least - np.abs(u - backup) @ per
    level = np.array(found.function.map(len(x))(x.T, u.T)).ravel()
    assert 0.05 < near.mean() < 0.95 and (level[near] <= 1).all()
    following = np.array(plant.function.map(len(x))(x.T, u.T, p.T)).T - plant.x_eq
    assert (np.linalg.norm(following @ found.root.T, axis=1)[near] <= found.room).all()
    assert level[near].max() > 0.5  # it says something
