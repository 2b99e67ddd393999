"""What binds: bounds, scenarios and times found again by hand, from trajectories and from metrics made up."""

import dataclasses
import json
import re

import numpy as np
import pytest
from problem_files import write
from problems import control_problem, double_integrator_problem, two_input_problem
from report_runs import run as adapted
from report_runs import user_problem

from scpo_ctrl import ControlProblem, MetricOptions
from scpo_ctrl.adaptation.binding import (
    CLOSEST,
    TIGHT,
    binding,
    binding_summary,
    closest_metrics,
    least_part,
    ranges,
    room,
    rooms,
)
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.models import double_integrator
from scpo_ctrl.problem.guarded import GuardedProblem
from scpo_ctrl.record.files import load_result
from scpo_ctrl.report.numbers import short
from scpo_ctrl.report.page import render_report
from scpo_ctrl.report.tables import conditions, metric_rows, what_binds


def everything(problem: ControlProblem) -> ControlProblem:
    """Return the problem with metrics of every kind."""
    options = MetricOptions(terminal=True, contraction=0.95)
    return ControlProblem(problem.policy, problem.scenarios, problem.objective_data, options)


def robust_problem() -> ControlProblem:
    """Return the double integrator with masses and disturbances that differ between scenarios."""
    problem = control_problem(double_integrator(), count=6)
    rng = np.random.default_rng(4)
    w = np.zeros((6, 10, 2))
    w[1:, :, 1] = rng.uniform(-0.01, 0.01, (5, 10))  # none in scenario 0
    batch = dataclasses.replace(problem.scenarios, p=rng.uniform(0.9, 1.1, (6, 1)), w=w)
    return ControlProblem(problem.policy, batch, problem.objective_data, problem.scenario_metrics.options)


def loose(problem: ControlProblem) -> np.ndarray:
    """Return metrics of which each has half of its room left, (S, m / S)."""
    return -0.5 * room(problem).reshape(problem.scenarios.count, -1)


def index_of(problem: ControlProblem, kind: str, label: str, time: int) -> int:
    rows = problem.scenario_metrics.rows
    return next(i for i, row in enumerate(rows) if (row.kind, row.time) == (kind, time) and row.label.startswith(label))


@pytest.mark.parametrize("make", [double_integrator_problem, two_input_problem])
def test_room_is_the_margin_at_the_equilibrium(make):
    problem = everything(make())
    rows, plant = problem.scenario_metrics.rows, problem.plant
    at_rest = dataclasses.replace(problem.scenarios, x0=np.tile(plant.x_eq, (problem.scenarios.count, 1)))
    resting = ControlProblem(problem.policy, at_rest, problem.objective_data, problem.scenario_metrics.options)
    size = room(problem).reshape(problem.scenarios.count, -1)
    found = -resting.metrics(resting.theta_initial)[resting.of_scenarios].reshape(size.shape)
    of = np.array([row.kind for row in rows])
    np.testing.assert_allclose(size[:, of != "contraction"], found[:, of != "contraction"], rtol=1e-12, atol=1e-12)
    z = problem.scenarios.x0 - plant.x_eq
    np.testing.assert_allclose(size[:, of == "contraction"][:, 0], 0.95 * np.diag(z @ problem.backup.P @ z.T))


def test_counts_by_kind_and_by_scenario():
    problem = everything(double_integrator_problem())
    g, size = loose(problem), room(problem).reshape(problem.scenarios.count, -1)
    for scenario, kind, label, time in (
        (1, "state", "velocity <=", 3),
        (1, "state", "velocity <=", 4),
        (3, "command", "force >=", 0),
        (3, "terminal", "V", 10),
        (0, "state", "position <=", 0),  # no policy can change it
    ):
        i = index_of(problem, kind, label, time)
        g[scenario, i] = -0.99 * TIGHT * size[scenario, i]
    i = index_of(problem, "state", "velocity >=", 5)
    g[2, i] = -1.01 * TIGHT * size[2, i]  # nearly
    found = binding(problem, g.ravel())
    S, N = problem.scenarios.count, problem.scenarios.horizon
    assert found.kinds == {
        "state": (2, S * 4 * N),
        "command": (1, S * 2 * N),
        "terminal": (1, S),
        "contraction": (0, S),
    }
    assert found.scenarios.tolist() == [False, True, False, True]
    g[0, index_of(problem, "contraction", "V", 10)] = np.nan
    assert binding(problem, g.ravel()).kinds["contraction"] == (1, S)
    tables = what_binds(adapted(problem, steps=0), g.ravel())
    assert tables.places == [("scenarios", "3 of 4: 0–1, 3", "1 of 4: 2")]


def test_neighbouring_times_are_one_row_and_their_slopes_none():
    problem = double_integrator_problem()
    g, size = loose(problem), room(problem).reshape(problem.scenarios.count, -1)
    left = {2: 0.30, 3: 0.10, 4: 0.004, 5: 0.002, 6: 0.011, 7: 0.2, 8: 0.05, 9: 0.4}  # two valleys: 5 and 8
    for time, part in left.items():
        i = index_of(problem, "state", "velocity <=", time)
        g[2, i] = -part * size[2, i]
    rows = closest_metrics(problem, 2 * g.ravel(), g.ravel())
    assert [(row.scenario, row.first, row.last) for row in rows[:2]] == [(2, 4, 6), (2, 8, 8)]
    assert [row.part for row in rows[:2]] == pytest.approx([0.002, 0.05])
    assert rows[0].after == pytest.approx(0.002 * 1.5)
    assert rows[0].before == pytest.approx(2 * 0.002 * 1.5)
    assert all(row.part == pytest.approx(0.5) for row in rows[2:])  # 0.1, 0.2, 0.3 and 0.4 lead down to a row above
    assert rows[0].label == "velocity <= 1.5 m/s"


def test_bounds_of_equal_labels_stay_apart():
    plant = dataclasses.replace(double_integrator(), x_labels=("x", "x"), x_units=("", ""), x_max=[1.5, 1.5])
    problem = control_problem(plant, count=2)
    g, size = loose(problem), room(problem).reshape(2, -1)
    rows = problem.scenario_metrics.rows
    first, second = (i for i, row in enumerate(rows) if (row.label, row.time) == ("x <= 1.5", 4))
    g[0, first], g[0, second] = -0.001 * size[0, first], -0.002 * size[0, second]
    found = closest_metrics(problem, g.ravel(), g.ravel())
    assert [(row.label, row.first, row.last) for row in found[:2]] == [("x <= 1.5", 4, 4)] * 2
    assert [row.part for row in found[:2]] == pytest.approx([0.001, 0.002])


def test_rounding_makes_no_valley():
    problem = double_integrator_problem()
    g, size = loose(problem), room(problem).reshape(problem.scenarios.count, -1)
    for time, part in {3: 0.1, 4: 0.3, 5: 0.3 - 1e-12, 6: 0.3, 7: 0.4}.items():
        i = index_of(problem, "state", "velocity <=", time)
        g[1, i] = -part * size[1, i]
    rows = closest_metrics(problem, g.ravel(), g.ravel())
    assert (rows[0].scenario, rows[0].first, rows[0].last) == (1, 3, 3)
    assert rows[1].part == pytest.approx(0.5)


def test_closest_is_relative_to_the_bound_and_each_row_is_a_metric():
    problem = everything(double_integrator_problem())
    result = adapted(problem)
    before, after = problem.metrics(result.theta_initial), problem.metrics(result.theta)
    rows = closest_metrics(problem, before, after)
    part = -after[problem.of_scenarios] / room(problem)
    assert len(rows) == CLOSEST
    assert rows[0].part == part[problem.varies[problem.of_scenarios]].min()
    assert [row.part for row in rows] == sorted(row.part for row in rows)
    of = problem.scenario_metrics.rows
    for row in rows:
        inside = [
            row.scenario * len(of) + i
            for i, meaning in enumerate(of)
            if meaning.label == row.label and row.first <= meaning.time <= row.last and problem.varies[i] == row.varies
        ]
        least = min(inside, key=lambda i: part[i])
        assert (row.part, row.after, row.before) == (part[least], -after[least], -before[least])
        assert (part[inside] <= row.part + TIGHT).all()


def test_what_no_policy_can_change_comes_last():
    problem = double_integrator_problem()
    g = loose(problem)
    g[0, index_of(problem, "state", "position <=", 0)] = -1e-9  # an initial state at its bound
    rows = closest_metrics(problem, g.ravel(), g.ravel())
    assert all(row.varies for row in rows)
    assert all(row.part == pytest.approx(0.5) for row in rows)


def test_a_metric_that_is_not_a_number_comes_first():
    problem = double_integrator_problem()
    g = loose(problem)
    g[3, 17] = np.nan
    first = closest_metrics(problem, g.ravel(), g.ravel())[0]
    assert np.isnan(first.after)
    assert (first.scenario, first.label) == (3, problem.scenario_metrics.rows[17].label)
    assert binding_summary(problem, g.ravel(), g.ravel())["closest"][0]["margin"] is None


def test_without_a_plant_metrics_stand_for_themselves():
    result = adapted(user_problem())
    g = result.problem.metrics(result.theta)
    rows = closest_metrics(result.problem, g, g)
    assert [(row.label, row.scenario, row.varies) for row in rows] == [
        ("first <b>bound</b> & $more$", None, True),
        ("constant", None, True),
    ]
    assert what_binds(result, g) is None


def test_conditions_name_parameters_and_disturbances_with_units():
    problem = robust_problem()
    batch = problem.scenarios
    still, pushed = conditions(problem.plant, batch, 0), conditions(problem.plant, batch, 3)
    assert still == (
        f"from position {short(batch.x0[0, 0])} m, velocity {short(batch.x0[0, 1])} m/s; mass {short(batch.p[0, 0])} kg"
    )
    w = batch.w[3, :, 1]
    assert pushed.endswith(f"disturbance of velocity up to {short(np.abs(w).max())} m/s, mean {short(w.mean())} m/s")
    assert "position" in pushed
    plain = double_integrator_problem()
    assert "mass" not in conditions(plain.plant, plain.scenarios, 0)  # nominal everywhere


def test_ranges_of_what_binds_stand_beside_those_of_all_scenarios():
    problem = robust_problem()
    g = loose(problem)
    for scenario in (2, 4):
        i = index_of(problem, "command", "force <=", 1)
        g[scenario, i] = 0.0
    result = adapted(problem, steps=0)
    spreads = {row.name: row for row in what_binds(result, g.ravel()).spreads}
    assert list(spreads) == [
        "initial position",
        "initial velocity",
        "mass",
        "disturbance of velocity, mean over time",
        "disturbance of velocity, largest",
    ]
    p = problem.scenarios.p[:, 0]
    assert spreads["mass"].every == (p.min(), p.max())
    assert spreads["mass"].binding == (p[[2, 4]].min(), p[[2, 4]].max())
    assert spreads["mass"].unit == "kg"
    largest = np.abs(problem.scenarios.w[:, :, 1]).max(axis=1)
    assert spreads["disturbance of velocity, largest"].every == (0.0, largest.max())
    assert spreads["disturbance of velocity, largest"].binding == (largest[[2, 4]].min(), largest[[2, 4]].max())
    assert what_binds(result, loose(problem).ravel()).spreads[0].binding is None
    page = render_report(result, pictures=False)
    assert '<th scope="row">mass [kg]</th>' in page
    assert "disturbance of velocity, largest [m/s]" in page


def test_times_are_given_in_steps_and_seconds():
    problem = double_integrator_problem()
    g, size = loose(problem), room(problem).reshape(problem.scenarios.count, -1)
    for time in (4, 5):
        i = index_of(problem, "state", "velocity >=", time)
        g[1, i] = -0.004 * size[1, i]
    rows = metric_rows(adapted(problem, steps=0), g.ravel(), g.ravel())
    assert (rows[0].when, rows[0].part, rows[0].label) == (
        "t = 4 … 5 (0.4 … 0.5 s)",
        pytest.approx(0.4),
        "velocity ≥ −1.5 m/s",
    )
    assert rows[0].scenario.startswith("scenario 1: from position ")


@pytest.mark.parametrize(
    ("flags", "runs"),
    [([], []), ([0, 0], []), ([1], [(0, 0)]), ([1, 1, 0, 1], [(0, 1), (3, 3)]), ([0, 1, 1], [(1, 2)])],
)
def test_runs_of_scenarios(flags, runs):
    assert ranges(np.array(flags, dtype=bool)) == runs


def test_many_runs_of_scenarios_are_cut_short():
    problem = control_problem(double_integrator(), count=120, horizon=4)
    g = loose(problem)
    g[::2, index_of(problem, "command", "force <=", 1)] = 0.0
    tables = what_binds(adapted(problem, steps=0), g.ravel())
    ((name, binding_ones, _),) = tables.places
    assert name == "scenarios"
    assert binding_ones.startswith("60 of 120: 0, 2, 4, ")
    assert binding_ones.endswith(", 46 and 36 more runs of numbers")


def test_result_file_says_what_binds(tmp_path, run):
    assert run("adapt", write(tmp_path / "problem.toml"), "--out", tmp_path / "run").status == 0
    result = load_result(tmp_path / "run")
    before, after = result.problem.metrics(result.theta_initial), result.problem.metrics(result.theta)
    stored = json.loads((tmp_path / "run" / "result.json").read_text())["binding"]
    assert stored == binding_summary(result.problem, before, after)
    found = binding(result.problem, after)
    assert stored["scenarios"] == found.scenarios.sum()
    never = [i for first, last in stored["scenarios_never"] for i in range(first, last + 1)]
    assert never == np.flatnonzero(~found.scenarios).tolist()
    assert stored["closest"][0]["time"][0] <= stored["closest"][0]["time"][1]


@pytest.fixture(scope="module")
def guarded():
    """A run with guards closer to a bound than any of its scenarios."""
    result = adapted(double_integrator_problem(), steps=0)
    K = result.problem.backup.K[0]
    worst = np.array([[2.5, 0.9], -0.995 * K / (K @ K), [-4.0, -0.9]])  # the second asks for nearly all of the force
    guards = Scenarios(worst, np.ones((3, 1)), np.zeros((3, result.problem.scenarios.horizon, 0)), 10)
    return dataclasses.replace(result, guards=guards)


def test_what_binds_names_guards_with_their_initial_states(guarded):
    everywhere, first = guarded.everywhere, guarded.problem.scenarios.count
    assert everywhere.scenarios.count == first + 3
    g = everywhere.metrics(guarded.theta)
    own = guarded.problem.metrics(guarded.theta)
    np.testing.assert_allclose(g[: first * everywhere.rows_per_scenario], own[guarded.problem.of_scenarios], atol=1e-12)
    rows = metric_rows(guarded, g, g)
    near = [row for row in rows if row.scenario.startswith("guard ")]
    assert near
    for row in near:
        number = int(row.scenario.split()[1].rstrip(":"))
        position = short(guarded.guards.x0[number, 0])
        assert f"guard {number}: from position {position} m" in row.scenario
        assert row.when.startswith("t = ")
    places = {name: (bind, never) for name, bind, never in what_binds(guarded, g).places}
    found = binding(everywhere, g).scenarios
    assert list(places) == ["scenarios", "guards"]
    assert found[first:].tolist() == [False, True, False]
    assert places["guards"] == ("1 of 3: 1", "2 of 3: 0, 2")
    page = render_report(guarded, pictures=False)
    assert "guards that bind" in page and "Guards are scenarios" in page
    assert re.search(r'<td colspan="5"[^>]*>guard ', page)
    assert "guards that bind" not in render_report(dataclasses.replace(guarded, guards=None), pictures=False)


def test_the_record_names_guards_apart_from_scenarios(guarded):
    everywhere, first = guarded.everywhere, guarded.problem.scenarios.count
    g = everywhere.metrics(guarded.theta)
    summary, found = binding_summary(everywhere, g, g, guards=3), binding(everywhere, g)
    assert summary["guards"] == found.scenarios[first:].sum()
    assert summary["scenarios"] == found.scenarios[:first].sum()
    assert summary["guards_never"] == [list(pair) for pair in ranges(~found.scenarios[first:])]
    places = [row.scenario for row in closest_metrics(everywhere, g, g)]
    said = [("guard", row["guard"]) if "guard" in row else ("scenario", row["scenario"]) for row in summary["closest"]]
    assert said == [("guard", k - first) if k >= first else ("scenario", k) for k in places]
    assert {name for name, _ in said} == {"guard", "scenario"}


def test_the_least_part_is_that_of_the_metric_closest_to_its_bound(guarded):
    problem, everywhere = GuardedProblem(guarded.problem, guarded.guards, 1e-3), guarded.everywhere
    rng, rows = np.random.default_rng(2), everywhere.rows_per_scenario
    for spread in (0.0, 0.1, 1.0):
        theta = guarded.theta + spread * rng.normal(size=guarded.theta.size)
        g = everywhere.metrics(theta)[: everywhere.scenarios.count * rows]
        part = (-g / room(everywhere))[everywhere.varies[: g.size]]
        found = least_part(problem, problem.evaluate(theta)[1], rooms(problem))
        assert found == pytest.approx(part.min(), rel=1e-9)
        alone = guarded.problem.evaluate(theta)[1]
        assert least_part(guarded.problem, alone, rooms(guarded.problem)) >= found - 1e-12
    lost = problem.evaluate(guarded.theta)[1]
    lost[5] = np.nan
    assert least_part(problem, lost, rooms(problem)) == -np.inf


def test_guards_may_make_more_rollouts_than_a_problem_may_have(guarded, monkeypatch):
    """A run on the largest problem is saved all the same."""
    from scpo_ctrl.loop import sizes

    batch = guarded.problem.scenarios
    monkeypatch.setattr(sizes, "MOST_NUMBERS", batch.count * (batch.horizon + 1) * 3)
    with pytest.raises(DomainError, match="more than"):
        guarded.problem.with_scenarios(batch.and_then(guarded.guards), guarded.theta)
    assert guarded.everywhere.scenarios.count == batch.count + 3
