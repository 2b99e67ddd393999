"""Constraints h(x, u, p) <= bound and limits of how fast inputs change, as safety metrics of a problem."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from plain_loop import cart, rolled
from problems import double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.adaptation.binding import binding
from scpo_ctrl.controllers import pid
from scpo_ctrl.engine import rollout
from scpo_ctrl.engine.casadi_engine import CasadiEngine
from scpo_ctrl.engine.lanes import LaneEngine
from scpo_ctrl.errors import BoundsError, ClassError, DimensionError, DomainError, UnsafeStartError
from scpo_ctrl.models import Plant, double_integrator
from scpo_ctrl.models.units import Units
from scpo_ctrl.report import page

MASSES = {"mass": (0.8, 1.2)}


def constraints(plant, power=0.8):
    """Return two of the input, one of a parameter too, and two of the state that were written as one."""
    x, u, p = plant.x, plant.u, plant.p
    return [
        sc.Constraint(name=("power", "braking"), expression=[u * x[1] * p[0], -u * x[1]], bound=power, unit="W"),
        sc.Constraint(name="ellipse", expression=x[0] ** 2 / 25 + x[1] ** 2 * p[0], bound=4.0, scale=2.0),
    ]


def problem(plant=None, *, hidden=(5,), level=0.5, horizon=25, count=12, objective=None, ranges=MASSES, **metrics):
    plant = double_integrator() if plant is None else plant
    backup = sc.lqr(plant, [0.1, 0.1], [10.0], parameters=ranges)
    options = {"horizon": horizon, "count": count, "level": level, "disturbance": [0.001, 0.001]}
    batch = sc.scenarios(plant, backup, parameters=ranges, **options)
    metrics = {"constraints": constraints(plant), "du_max": [0.3]} | metrics
    objective = sc.Quadratic([1.0, 0.1], [0.05]) if objective is None else objective
    return sc.ControlProblem(sc.Policy(plant, backup, hidden), batch, objective, sc.MetricOptions(**metrics))


def by_hand(given, theta, batch, power=0.8):
    """Return the metrics that are expressions as `Metrics.rows` arranges them, in their units (S, k)."""
    X, _, U = rolled(given, theta, batch, cart)
    u, v, p = U[:, :, 0], X[:, :, 1], batch.p
    columns = []
    for t in range(batch.horizon + 1):
        columns.append(X[:, t, 0] ** 2 / 25 + v[:, t] ** 2 * p[:, 0] - 4)
        if t < batch.horizon:
            columns += [u[:, t] * v[:, t] * p[:, 0] - power, -u[:, t] * v[:, t] - power]
            if t:
                columns += [u[:, t] - u[:, t - 1] - 0.3, u[:, t - 1] - u[:, t] - 0.3]
    return np.stack(columns, axis=1)


def own_rows(given):
    """Return which metrics of a scenario are expressions."""
    return [
        i for i, row in enumerate(given.scenario_metrics.rows) if row.kind not in ("state", "command", "contraction")
    ]


@pytest.mark.parametrize("engine", ["lanes", "casadi", "black box"])
@pytest.mark.parametrize("command", [True, False])
def test_values_are_those_of_a_loop_in_numpy(engine, command, monkeypatch):
    if engine == "casadi":
        monkeypatch.setattr(rollout, "find_compiler", lambda: None)
    given = problem(command=command, contraction=0.9)
    if engine == "black box":
        options = given.scenario_metrics.options
        given = sc.ControlProblem(given.policy, given.scenarios, given.objective_data, options, simulator=cart)
    expected_engine = {"lanes": LaneEngine, "casadi": CasadiEngine}.get(engine)
    assert expected_engine is None or isinstance(given.rollouts._engine, expected_engine)
    rng, own = np.random.default_rng(1), own_rows(given)
    for size in (0.0, 0.3, 3.0):  # the last one saturates
        theta = given.theta_initial + size * rng.normal(size=given.theta_dim)
        found = given.metrics(theta)[given.of_scenarios].reshape(given.scenarios.count, -1)[:, own]
        np.testing.assert_allclose(found, by_hand(given, theta, given.scenarios), atol=1e-11)


@pytest.mark.parametrize("horizon", [1, 2, 9])
@pytest.mark.parametrize("limited", [False, True])
def test_constraints_of_the_input_alone_hold_on_every_engine(limited, horizon, monkeypatch):
    plant = double_integrator()
    power = sc.Constraint(name="power", expression=plant.u * plant.x[1] * plant.p[0], bound=0.8)
    one = {"constraints": power, "du_max": [0.3] if limited and horizon > 1 else None}
    lanes = problem(plant, horizon=horizon, **one)
    box = sc.ControlProblem(
        lanes.policy, lanes.scenarios, lanes.objective_data, lanes.scenario_metrics.options, simulator=cart
    )
    monkeypatch.setattr(rollout, "find_compiler", lambda: None)
    plain = problem(plant, horizon=horizon, **one)
    theta = lanes.theta_initial + 0.3 * np.random.default_rng(4).normal(size=lanes.theta_dim)
    X, _, U = rolled(lanes, theta, lanes.scenarios, cart)
    expected = U[:, :, 0] * X[:, :-1, 1] * lanes.scenarios.p - 0.8
    at = [i for i, row in enumerate(lanes.scenario_metrics.rows) if row.kind == "power"]
    for given in (lanes, plain, box):
        found = given.metrics(theta)[given.of_scenarios].reshape(given.scenarios.count, -1)[:, at]
        np.testing.assert_allclose(found, expected, atol=1e-11)


def test_rows_are_named_in_order_and_what_the_initial_state_decides_is_fixed():
    given = problem(horizon=3)
    rows = [row for row in given.scenario_metrics.rows if row.kind not in ("state", "command")]
    first, last = ["ellipse", "power", "braking"], ["ellipse"]
    assert [row.kind for row in rows] == first + 2 * [*first, "rate", "rate"] + last
    assert [row.time for row in rows] == [0] * 3 + [1] * 5 + [2] * 5 + [3]
    assert [row.fixed for row in rows] == [True] + [False] * 13
    assert [rows[i].label for i in (0, 1, 6, 7)] == [
        "ellipse <= 4", "power <= 0.8 W", "change of force <= 0.3 N", "change of force >= -0.3 N",
    ]  # fmt: skip
    index = given.scenario_metrics.rows.index(rows[1])
    assert given.metric_label(index) == "scenario 0, t = 0: power <= 0.8 W"
    assert "raise the bound of power" in given.remedy(index)
    assert "raise du_max" in given.remedy(given.scenario_metrics.rows.index(rows[7]))
    units = given.scenario_metrics.in_bounds(Units.of(given.plant))[-len(rows) :]
    np.testing.assert_allclose(units[:5], [2.0, 0.8, 0.8, 2.0, 0.8])
    np.testing.assert_allclose(units[6:8], 0.3)


@pytest.mark.parametrize("command", [True, False])
def test_derivatives_are_those_of_differences(command):
    given = problem(command=command, terminal=True, one_step=0.001, contraction_floor=0.01, cloud=9)
    rng, h = np.random.default_rng(2), 1e-6
    theta, direction = given.theta_initial + 0.2 * rng.normal(size=given.theta_dim), rng.normal(size=given.theta_dim)
    ends = given.sample(np.stack([theta + h * direction, theta - h * direction]))
    slope = (ends[0] - ends[1]) / (2 * h)
    found = np.hstack([given.jacobian(theta, direction[None], block)[0] for block in given.blocks(1)])
    np.testing.assert_allclose(found, slope, atol=2e-7 * np.abs(slope).max())
    weights = rng.uniform(size=slope.size)
    of_cost = given.lagrangian_gradients(theta[None], 0 * weights)[0]
    gradient = given.lagrangian_gradients(theta[None], weights)[0] - of_cost
    np.testing.assert_allclose(gradient @ direction, weights @ slope, rtol=1e-6)


def test_gradients_by_scenarios_are_those_of_differences():
    given = problem(one_step=0.001, contraction_floor=0.01, cloud=3)
    theta = given.theta_initial + 0.1 * np.random.default_rng(3).normal(size=given.theta_dim)
    batch, h = given.scenarios, 1e-6
    weights = np.random.default_rng(4).normal(size=(batch.count, len(given.fresh.rows)))

    def value(x0, p, w):
        moved = sc.Scenarios(x0, p, w, batch.horizon)
        return (given.evaluate_scenarios(theta, moved)[1] * weights).sum(axis=1)

    point = [batch.x0, batch.p, batch.w]
    for k, gradient in enumerate(given.scenario_gradients(theta, batch, weights)):
        direction = np.random.default_rng(k).normal(size=gradient.shape)
        ends = [[part + sign * h * direction if i == k else part for i, part in enumerate(point)] for sign in (1, -1)]
        slopes = (value(*ends[0]) - value(*ends[1])) / (2 * h)
        along = (gradient * direction).reshape(batch.count, -1).sum(axis=1)
        np.testing.assert_allclose(along, slopes, rtol=1e-5, atol=1e-5)


def test_constraints_of_a_loop_with_memory_are_those_of_its_plant():
    x, u = ca.SX.sym("x", 1), ca.SX.sym("u")
    plant = Plant(name="one", x=x, u=u, f=0.9 * x + 0.1 * u, dt=0.1, x_min=[-1], x_max=[1], u_min=[-5], u_max=[5])
    policy = sc.controlled(plant, pid(plant, 3.0, 1.0))
    batch = sc.scenarios(policy.plant, policy.backup, horizon=8, count=5, level=0.5)
    power = sc.Constraint(name="power", expression=plant.u * plant.x, bound=3.0)
    kept = sc.Constraint(name="memory", expression=policy.plant.x[1] ** 2, bound=50.0)
    options = sc.MetricOptions(constraints=[power, kept], du_max=2.0)
    given = sc.ControlProblem(policy, batch, sc.Quadratic([1.0], [0.1], R_du=[0.5], P_N=[2.0]), options)
    theta = np.array([0.5, -0.3])
    X, U = given.trajectories(theta)
    u = np.clip(U[:, :, 0], -5, 5)
    found = given.metrics(theta)[given.of_scenarios].reshape(5, -1)
    for i, row in enumerate(given.scenario_metrics.rows):
        t, change = row.time, np.diff(u, axis=1, prepend=u[:, :1])
        at = min(t, 7)
        wanted = {
            "power": u[:, at] * X[:, at, 0] - 3, "memory": X[:, t, 1] ** 2 - 50,
            "rate": (change[:, at] if "<=" in row.label else -change[:, at]) - 2,
        }.get(row.kind)  # fmt: skip
        if wanted is not None:
            np.testing.assert_allclose(found[:, i], wanted, atol=1e-11)
    kinds = [row.kind for row in given.scenario_metrics.rows]
    assert kinds.count("rate") == 2 * 7 and kinds.count("power") == 8 and kinds.count("memory") == 9
    cost = (X[:, :-1, 0] ** 2 + 0.1 * u**2 + 0.5 * np.diff(u, axis=1, prepend=u[:, :1]) ** 2).sum(axis=1)
    assert given.objective(theta) == pytest.approx((cost + 2 * X[:, -1, 0] ** 2).mean() / 8, rel=1e-12)


def in_units(x, u, **changes):
    """Return the problem in units that are that much smaller, its run of a few steps, and θ in them."""
    plant = Units(1 / np.array(x), 1 / np.array(u)).plant(double_integrator())
    s, v, p = plant.x / ca.DM(x), plant.u / ca.DM(u), plant.p
    own = [
        sc.Constraint(name="power", expression=v * s[1] * x[1] * u[0], bound=0.35 * x[1] * u[0]),
        sc.Constraint(name="ellipse", expression=s[0] ** 2 / 25 + s[1] ** 2 * p[0], bound=4.0),
    ]
    weights = np.array([[1.0, 0.2], [0.2, 0.1]]) / np.outer(x, x)
    objective = sc.Quadratic(weights, [0.05 / u[0] ** 2], P_N=3 * weights, R_du=[0.1 / u[0] ** 2])
    backup = sc.lqr(plant, [0.1 / x[0] ** 2, 0.1 / x[1] ** 2], [10.0 / u[0] ** 2], parameters=MASSES)
    batch = sc.scenarios(plant, backup, horizon=20, count=8, level=0.3, parameters=MASSES)
    start = double_integrator()
    native = sc.lqr(start, [0.1, 0.1], [10.0], parameters=MASSES)
    drawn = sc.scenarios(start, native, horizon=20, count=8, level=0.3, parameters=MASSES)
    batch = sc.Scenarios(drawn.x0 * x, batch.p, batch.w, 20)
    options = sc.MetricOptions(constraints=own, du_max=[0.05 * u[0]])
    given = sc.ControlProblem(sc.Policy(plant, backup, (4,)), batch, objective, options)
    return given, sc.adapt(given, sc.AdaptOptions(steps=8, **changes))


@pytest.mark.parametrize("method", ["newton", "gauss_newton"])
def test_runs_do_not_depend_on_units(method):
    runs = {}
    for name, x, u in (("own", [1, 1], [1]), ("binary", [2.0**20, 2.0**-13], [2.0**9]), ("any", [1e3, 3e-5], [7e4])):
        runs[name] = in_units(np.array(x, dtype=float), np.array(u, dtype=float), method=method)
    given, theta = runs["own"][0], runs["own"][1].theta
    binary, metrics = runs["binary"][0], given.parts.metrics(theta[None])
    np.testing.assert_array_equal(binary.parts.metrics(theta[None]), metrics)
    assert binary.objective(theta) == given.objective(theta)
    for name in ("binary", "any"):  # derivatives are equal to rounding, which differences of gradients make larger
        np.testing.assert_allclose(runs[name][1].theta, theta, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(runs["any"][0].parts.metrics(theta[None]), metrics, atol=1e-10)


def test_a_run_rides_a_power_limit_and_never_breaks_it():
    def power_of(given, theta, batch):
        X, _, U = rolled(given, theta, batch, cart)
        return np.abs(U[:, :, 0] * X[:, :-1, 1])

    limit, plant = 0.3, double_integrator()
    x, u = plant.x, plant.u
    power = sc.Constraint(name=("power", "braking"), expression=[u * x[1], -u * x[1]], bound=limit, unit="W")
    sizes = {"level": 0.35, "count": 16, "ranges": None, "du_max": None}
    given, free = problem(plant, constraints=power, **sizes), problem(plant, constraints=None, **sizes)
    result, other = (sc.adapt(one, sc.AdaptOptions(steps=60, audit_rollouts=10_000)) for one in (given, free))
    assert result.is_safe() and result.final_audit.passed
    fresh = given.scenarios.declared.random(0, 20_000, 4711)
    found = power_of(given, result.theta, fresh)
    assert 0.95 * limit < found.max() <= limit  # it rides
    assert (
        power_of(free, other.theta, fresh).max(axis=1) > limit
    ).mean() > 0.1  # without the limit it would not keep it
    assert result.objective_final < 0.9 * result.objective_initial
    every = result.everywhere
    counts = binding(every, every.metrics(result.theta)).kinds
    assert set(counts) == {"state", "command", "power", "braking"}
    assert counts["braking"][1] == 25 * every.scenarios.count and counts["braking"][0] + counts["power"][0] > 0
    text = page.render_report(result, pictures=False)
    assert "Constraints: power ≤ 0.3 W, braking ≤ 0.3 W" in text and "braking" in text.split("Constraints:")[0]


def test_a_run_keeps_a_limit_of_change_that_it_rides():
    limit = 0.1
    sizes = {"level": 0.35, "count": 16, "ranges": None, "constraints": None}
    given, free = problem(du_max=[limit], **sizes), problem(du_max=None, **sizes)
    result, other = (sc.adapt(one, sc.AdaptOptions(steps=30, audit_rollouts=10_000)) for one in (given, free))
    fresh = given.scenarios.declared.random(0, 20_000, 4711)
    change = [
        np.abs(np.diff(rolled(one, run.theta, fresh, cart)[2][:, :, 0], axis=1))
        for one, run in ((given, result), (free, other))
    ]
    assert result.final_audit.passed and 0.95 * limit < change[0].max() <= limit < change[1].max()


def test_metrics_that_no_policy_changes_are_recognised():
    plant = double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.Scenarios(np.array([[0.0, 0.0], [1.0, 0.0]]), np.ones((2, 1)), np.zeros((2, 5, 0)), 5)
    touching = sc.Constraint(name="position", expression=plant.x[0] ** 2, bound=1.0)
    options = sc.MetricOptions(constraints=touching, du_max=[0.1])
    given = sc.ControlProblem(sc.Policy(plant, backup, (3,)), batch, sc.Quadratic([1.0, 0.1], [0.05]), options)
    rows = len(given.scenario_metrics.rows)
    first = next(i for i, row in enumerate(given.scenario_metrics.rows) if row.kind == "position")
    assert not given.varies[:rows].any()  # a scenario at rest
    assert not given.varies[rows + first] and given.metrics(given.theta_initial)[rows + first] == 0.0
    assert given.varies[rows + first + 1]
    result = sc.adapt(given, sc.AdaptOptions(steps=5))
    assert result.objective_final < result.objective_initial and result.is_safe()


def test_conditions_on_one_step_hold_constraints_too():
    given = problem(one_step=0.001, contraction_floor=0.01, cloud=20, du_max=None)
    rows, theta = given.one_step.rows, given.theta_initial
    assert [row.kind for row in rows][-5:] == ["ellipse", "power", "braking", "ellipse", "one step"]
    cloud = given.one_step.cloud
    X, _, U = rolled(given, theta, cloud, cart)
    found = given.metrics(theta)[given.of_cloud].reshape(20, -1)
    wanted = U[:, 0, 0] * X[:, 0, 1] * cloud.p[:, 0] - 0.8
    np.testing.assert_allclose(found[:, [row.kind for row in rows].index("power")], wanted, atol=1e-11)


def test_an_unsafe_start_and_attacks_name_the_constraint():
    plant = double_integrator()
    with pytest.raises(UnsafeStartError, match=r"braking <= 0.05 W.*raise the bound of braking"):
        sc.adapt(problem(constraints=constraints(plant, 0.05)[0], plant=plant), sc.AdaptOptions(steps=1))
    given = problem(constraints=constraints(plant, 0.2)[0], plant=plant, level=0.9)
    found = sc.falsify(given, given.theta_initial, budget=2000)
    assert found.found and found.unit == "W" and found.metric.endswith((": power <= 0.2 W", ": braking <= 0.2 W"))
    assert found.excess == pytest.approx(by_hand(given, given.theta_initial, found.scenario, 0.2).max(), rel=1e-6)
    audit = sc.audit(given, given.theta_initial, rollouts=500, seed=1)
    assert not audit.passed and audit.metric in ("power <= 0.2 W", "braking <= 0.2 W")


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda p: {"expression": double_integrator().x[0]}, DomainError, "something else than plant"),
        (lambda p: {"expression": ca.SX.sym("z")}, DomainError, "constraint 'c' depends on z"),
        (lambda p: {"expression": ca.MX.sym("z")}, DomainError, "expected casadi.SX"),
        (lambda p: {"expression": 3.0}, DomainError, "expected casadi.SX"),
        (lambda p: {"expression": []}, DomainError, "expected casadi.SX"),
        (lambda p: {"expression": p.x}, DimensionError, r"shape \(2, 1\), expected \(1, 1\): a name for each"),
        (lambda p: {"expression": ca.SX(1)}, DomainError, "depends on no state and no input"),
        (lambda p: {"expression": p.p}, DomainError, "depends on no state and no input"),
        (lambda p: {"expression": ca.log(p.x[0])}, DomainError, "is -inf at the equilibrium"),
        (lambda p: {"expression": p.x[0] / p.x[1]}, DomainError, "is nan at the equilibrium"),
        (lambda p: {"expression": ca.norm_2(p.x)}, DomainError, "not differentiable at the equilibrium.*square"),
        (lambda p: {"expression": p.x[0] + 1}, BoundsError, "has 1, not below the bound 1"),
        (lambda p: {"bound": np.nan}, DomainError, "bound"),
        (lambda p: {"bound": np.inf}, DomainError, "bound"),
        (lambda p: {"bound": [1.0, 2.0]}, DimensionError, "bound"),
        (lambda p: {"bound": "1"}, DomainError, "bound"),
        (lambda p: {"scale": 0.0}, DomainError, "scale is 0.*above 0"),
        (lambda p: {"scale": np.nan}, DomainError, "scale"),
        (lambda p: {"scale": 1e-320}, DomainError, "scale is .*above 0"),
        (lambda p: {"name": "  "}, DomainError, "reports call it by that"),
        (lambda p: {"name": "command"}, DomainError, "means something else"),
        (lambda p: {"name": ""}, DomainError, "reports call it by that"),
        (lambda p: {"name": ()}, DomainError, "needs a name"),
        (lambda p: {"name": ("a", "b")}, DimensionError, "a name for each entry"),
        (lambda p: {"name": 3}, DomainError, "name is 3"),
        (lambda p: {"unit": ("m", "s")}, DimensionError, "unit has 2"),
    ],
)  # fmt: skip
def test_constraints_that_are_refused(make, error, says):
    plant = double_integrator()
    data = {"name": "c", "expression": plant.x[0], "bound": 1.0}
    assert problem(plant, constraints=sc.Constraint(**data)).varies.any()
    with pytest.raises(error, match=says):
        problem(plant, constraints=sc.Constraint(**(data | make(plant))))


@pytest.mark.parametrize(
    ("metrics", "error", "says"),
    [
        ({"du_max": [0.1, 0.1]}, DimensionError, "du_max has 2 entries, expected 1"),
        ({"du_max": [0.0]}, DomainError, "above 0 for each"),
        ({"du_max": [np.nan]}, DomainError, "above 0 for each"),
        ({"du_max": [1e-320]}, DomainError, "above 0 for each"),
        ({"du_max": []}, DomainError, "above 0 for each"),
        ({"du_max": "fast"}, DomainError, "du_max"),
        ({"constraints": "power"}, ClassError, "constraints"),
        ({"constraints": [3]}, ClassError, "constraints"),
    ],
)
def test_options_that_are_refused(metrics, error, says):
    with pytest.raises(error, match=says):
        problem(**metrics)


def test_a_limit_of_changes_needs_a_change():
    alone = {"path": False, "stability": False, "constraints": None}
    assert problem(horizon=2, **alone).varies.size == 12 * 2
    with pytest.raises(DomainError, match="over horizon = 1 no input changes"):
        problem(horizon=1, **alone)


def test_operations_without_c_are_left_to_casadi_or_refused():
    plant = double_integrator()
    strange = sc.Constraint(name="c", expression=ca.remainder(plant.x[0], 50.0), bound=9.0)
    given = problem(plant, constraints=strange)
    assert isinstance(given.rollouts._engine, CasadiEngine)
    found = given.metrics(given.theta_initial)[given.of_scenarios].reshape(given.scenarios.count, -1)
    first = [row.kind for row in given.scenario_metrics.rows].index("c")
    np.testing.assert_allclose(found[:, first], given.scenarios.x0[:, 0] - 9.0)
    with pytest.raises(DomainError, match="erfinv, which no C library has"):
        problem(plant, constraints=sc.Constraint(name="c", expression=ca.erfinv(plant.x[0] / 9), bound=9.0))


def test_a_name_is_given_once_and_a_limit_may_be_infinite():
    one, other = (constraints(double_integrator())[0] for _ in range(2))
    with pytest.raises(DomainError, match="'power' is given twice"):
        sc.MetricOptions(constraints=[one, other])
    with pytest.raises(DomainError, match="limits nothing"):
        sc.MetricOptions(du_max=[np.inf, np.inf])
    assert sc.MetricOptions(path=False, constraints=[one]).constraints == (one,)
    assert sc.MetricOptions(constraints=[]).constraints is None


def test_certified_mode_refuses_constraints():
    given = double_integrator_problem()
    options = sc.MetricOptions(constraints=constraints(given.plant), stability=False)
    given = sc.ControlProblem(given.policy, given.scenarios, given.objective_data, options)
    with pytest.raises(DomainError, match="no smoothness bound for constraints"):
        sc.adapt(given, sc.AdaptOptions(mode="certified"))
