"""A run that commits nothing more says which metric or guard it is, where, and what to do."""

from __future__ import annotations

import dataclasses

import casadi as ca
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl.adaptation.history import VERDICTS, History
from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.models import Plant, double_integrator
from scpo_ctrl.report.page import render_report


def problem(**metrics):
    plant = double_integrator()
    backup = sc.lqr(plant, Q=[0.1, 0.1], R=[10.0])
    starts = sc.scenarios(plant, backup, horizon=30, count=16, level=0.5)
    kink = sc.Constraint(name="kink", expression=30 * ca.fabs(plant.x[1]), bound=45.0)
    options = sc.MetricOptions(constraints=kink, **metrics)
    return sc.ControlProblem(sc.Policy(plant, backup, (4,)), starts, sc.Quadratic([1.0, 0.1], [0.05]), options)


@pytest.fixture(scope="module")
def stalled():
    """A run of steps that are too long, with guards."""
    options = sc.AdaptOptions(
        steps=60, patience=2, tries=1, method="gradient", radius=50.0, audit_rollouts=1000, tolerance=1e-12
    )
    return sc.adapt(problem(), options)


def ended(result, *verdicts, worst=3):
    """Return a stalled run whose last rows have these verdicts."""
    row = result.history.rows[-1]
    rows = [dataclasses.replace(row, verdict=VERDICTS.index(one), worst=worst) for one in verdicts]
    committed = [one for one in result.history.rows if one.is_committed]
    history = History(result.theta.size, [*committed, *rows])
    return dataclasses.replace(result, status=sc.RunStatus.STALLED, history=history)


def test_a_stalled_run_names_the_guard_and_its_time_step(stalled):
    assert stalled.status is sc.RunStatus.STALLED
    assert stalled.guards is not None
    last = [row for row in stalled.history.rows if not row.is_committed][-1]
    first, rows = stalled.problem.varies.size, stalled.problem.rows_per_scenario
    guard, row = divmod(last.worst - first, rows)
    meaning = stalled.problem.scenario_metrics.rows[row]
    where = f"guard {guard}, t = {meaning.time}: {meaning.label}"
    assert f"unsafe, at {where}. Where that metric is smooth, lower radius" in stalled.advice()
    X, _ = stalled.problem.trajectories(last.theta, stalled.guards)
    assert max(X[guard, meaning.time, 1], -X[guard, meaning.time, 1]) > 1.5 - 0.01  # it is there that the step broke it
    assert where in " ".join(repr(stalled).split())
    assert where.replace("<=", "&lt;=") in render_report(stalled, pictures=False)


def test_what_is_said_follows_the_verdicts(stalled):
    V, label = sc.Verdict, stalled.problem.metric_label(3)
    g = stalled.everywhere.metrics(stalled.theta)
    said = ended(stalled, *[V.UNSAFE] * 3, V.NO_STEP).advice()
    assert f"3 of 4 tried steps since the last commit were unsafe, at {label}." in said
    assert f"not finite, at {label}: lower radius" in ended(stalled, *[V.NOT_FINITE] * 9).advice()
    for verdict, remedy in (
        (V.NO_DECREASE, "without a fall of the objective: smooth it"),
        (V.WITHDRAWN, "withdrawn after an audit: give more scenarios, or raise back_off"),
        (V.NO_STEP, "design a more careful backup"),
    ):
        said = ended(stalled, *[verdict] * 9, worst=-1).advice()
        assert remedy in said
        assert "Closest to its bound is " in said
        left = float(said.partition(", with ")[2].split(" left")[0])
        assert left <= -g.max() + 1e-3  # the closest of all that count, guards among them


def test_a_start_that_was_kept_says_why():
    of_functions = sc.FunctionProblem(
        [0.0],
        lambda t: np.where(t > 0, 1.0, -1.0),
        sc.UserObjective(lambda t: (-float(t[0]), -np.ones(1))),
        labels=["wall"],
    )
    result = sc.adapt(of_functions, sc.AdaptOptions(steps=3, method="gradient"))
    assert len(result.committed) == 1
    assert "unsafe, at wall." in result.advice()
    assert "since the last commit" not in result.advice()
    assert "wall" in " ".join(repr(result).split())


def test_runs_that_commit_say_nothing_of_what_held_them(stalled):
    going_on = dataclasses.replace(ended(stalled), status=sc.RunStatus.FINISHED)  # its last step was committed
    assert going_on.advice() == sc.RunStatus.FINISHED.value
    for status in (sc.RunStatus.CONVERGED, sc.RunStatus.RUNNING, sc.RunStatus.INTERRUPTED):
        assert dataclasses.replace(stalled, status=status).advice() == status.value
    broken = dataclasses.replace(stalled, status=sc.RunStatus.SMOOTHNESS_TOO_SMALL)
    assert "The bound that it left: " in broken.advice()


def test_a_run_whose_last_step_was_in_vain_does_not_say_that_more_steps_help(stalled):
    in_vain = dataclasses.replace(stalled, status=sc.RunStatus.FINISHED)
    assert in_vain.advice() == stalled.advice().removeprefix(f"{sc.RunStatus.STALLED.value} ")
    assert "unsafe, at guard " in in_vain.advice()


def test_where_parameters_move_the_rest_the_floor_of_contraction_is_named():
    x, u, load = (ca.SX.sym(name) for name in ("x", "u", "load"))
    ends = {"x_min": [-1.0], "x_max": [1.0], "u_min": [-1.0], "u_max": [1.0]}
    parameter = {"p": load, "p_labels": ("load",), "p_nominal": [0.0]}
    plant = Plant(name="loaded", x=x, u=u, f=0.9 * x + 0.1 * u + 0.01 * load, dt=0.1, **parameter, **ends)
    backup = sc.lqr(plant, Q=[1.0], R=[1.0], parameters={"load": (-1.0, 1.0)})
    for ranges, word in (
        (None, "raise contraction, "),
        ({"load": (-1.0, 1.0)}, "raise contraction or contraction_floor, "),
    ):
        starts = sc.scenarios(plant, backup, horizon=2, count=4, level=0.2, parameters=ranges)
        problem = sc.ControlProblem(
            sc.Policy(plant, backup, (2,)), starts, sc.Quadratic([1.0], [0.1]), sc.MetricOptions(contraction=0.01)
        )
        with pytest.raises(UnsafeStartError, match=word):
            sc.adapt(problem, sc.AdaptOptions(steps=1, audit=False))


def test_a_start_that_breaks_several_bounds_names_them_all():
    plant = double_integrator()
    backup = sc.lqr(plant, Q=[0.1, 0.1], R=[10.0])
    starts = sc.scenarios(plant, backup, horizon=10, count=8, level=0.5)
    slow = sc.Constraint(name="slow", expression=plant.x[1] ** 2, bound=1e-3)
    options = sc.MetricOptions(constraints=slow, du_max=[1e-3])
    policy = sc.Policy(plant, backup, (2,))
    with pytest.raises(UnsafeStartError, match=r"exceeded by .*; broken too: (.*); ") as error:
        sc.adapt(sc.ControlProblem(policy, starts, sc.Quadratic([1.0, 0.1], [0.05]), options))
    for label in ("slow <= 0.001", "change of force <= 0.001 N", "change of force >= -0.001 N"):
        assert str(error.value).count(label) == 1
