"""How much of every bound the scenarios use: by hand from their trajectories, and said where it is a sliver."""

from __future__ import annotations

import numpy as np
import pytest
from plain import AdaptOptions
from problems import control_problem

import scpo_ctrl as sc
from scpo_ctrl.controllers import pid
from scpo_ctrl.models import dc_motor, double_integrator, input_delay
from scpo_ctrl.report.reach import reach, reach_lines


def loop_of(level: float, **bounds) -> sc.ControlProblem:
    plant = double_integrator().replace(**{key: np.array(value) for key, value in bounds.items()})
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=12, count=6, level=level)
    return sc.ControlProblem(sc.Policy(plant, backup, (3,)), batch, sc.Quadratic([1.0, 0.1], [0.05]))


def test_it_is_the_largest_part_of_the_way_to_either_bound():
    problem = loop_of(0.4, x_min=[-2.0, -1.5], u_max=[3.0])
    result = sc.adapt(problem, AdaptOptions(steps=4))
    found = reach(result)
    assert [one.name for one in found] == [*problem.plant.x_labels, *problem.plant.u_labels]
    assert [one.is_state for one in found] == [True, True, False]
    for theta, key in ((result.theta_initial, "before"), (result.theta, "after")):
        X, U = problem.trajectories(theta)
        want = [
            max(X[..., 0].max() / 5.0, -X[..., 0].min() / 2.0),
            np.abs(X[..., 1]).max() / 1.5,
            max(U.max() / 3.0, -U.min() / 1.0),
        ]
        assert [getattr(one, key) for one in found] == pytest.approx(want, rel=1e-12)


def test_what_a_controller_remembers_has_its_own_bounds():
    plant = dc_motor()
    policy = sc.controlled(plant, pid(plant, 1.0, 2.0))
    batch = sc.scenarios(policy.plant, policy.backup, horizon=20, count=4, level=0.5)
    result = sc.adapt(sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 0.0], [1e-4])), AdaptOptions(steps=1))
    found = {one.name: one for one in reach(result)}
    assert list(found) == ["position", "speed", "voltage", "integral"]
    _, U = result.problem.trajectories(result.theta)
    assert found["integral"].after == pytest.approx(np.abs(U[..., 1] / policy.plant.u_max[1]).max(), rel=1e-9)


def test_slivers_are_pointed_out_and_where_there_is_no_bound_nothing_is_said():
    small = sc.adapt(loop_of(1e-4), AdaptOptions(steps=1))
    first, *notes = reach_lines(small)
    assert first.startswith("reach      of the bounds, on the run's scenarios: ")
    assert len(notes) == 2 and "position reaches 0." in notes[0] and "raise the level" in notes[1]
    wide = sc.adapt(loop_of(0.8, x_min=[-np.inf, -1.5], x_max=[np.inf, 1.5]), AdaptOptions(steps=1))
    (line,) = reach_lines(wide)
    assert "position" not in line and "velocity" in line


def test_a_dead_time_is_said_once():
    plant = input_delay(double_integrator(), 2)
    backup = sc.lqr(plant, [0.1] * 4, [10.0])
    batch = sc.scenarios(plant, backup, horizon=12, count=4, level=0.5)
    task = sc.ControlProblem(sc.Policy(plant, backup, (2,)), batch, sc.Quadratic([1.0, 0.1, 0.0, 0.0], [0.05]))
    text = " ".join(reach_lines(sc.adapt(task, AdaptOptions(steps=0))))
    assert "force" in text and "applied" not in text


def test_functions_of_the_user_have_no_bounds():
    zero = sc.UserObjective(lambda theta: (float(theta @ theta), 2 * theta))
    problem = sc.FunctionProblem(np.ones(2), lambda thetas: thetas[:, :1] - 2.0, zero)
    result = sc.adapt(problem, AdaptOptions(steps=1))
    assert reach(result) == [] and reach_lines(result) == []
    assert reach(sc.adapt(control_problem(double_integrator(), (2,), count=2, horizon=3), AdaptOptions(steps=0)))
