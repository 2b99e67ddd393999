"""Gradients are exact where that takes fewer operations, sampled for black boxes, and the record names which."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import reference_runs
from problems import double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.adaptation.gradients import chosen_gradients, operations
from scpo_ctrl.adaptation.region import sample_region
from scpo_ctrl.adaptation.state import resolved
from scpo_ctrl.models import linear

NONE = sc.AdaptOptions(steps=0, audit=False)


def linear_problem(A, B, hidden):
    """A network on a linear plant within bounds of one."""
    nx, nu = np.shape(B)
    plant = linear(A, B, 0.1, (-np.ones(nx), np.ones(nx), -np.ones(nu), np.ones(nu)))
    backup = sc.lqr(plant, [1.0] * nx, [1.0] * nu)
    starts = sc.scenarios(plant, backup, horizon=4, count=2, level=0.5)
    return sc.ControlProblem(sc.Policy(plant, backup, hidden), starts, sc.Quadratic([1.0] * nx, [1.0] * nu))


def wide_problem(nx=8, nu=4):
    """A dense stable plant with many inputs, whose rollouts are cheap beside its sensitivities."""
    A = 0.9 * np.linalg.qr(np.random.default_rng(3).normal(size=(nx, nx)))[0]
    return linear_problem(A, 0.1 * np.eye(nx, nu), (16,))


def black_box():
    """The double integrator with its model as a black box in the plant's place."""
    problem = double_integrator_problem((2,))
    f = problem.plant.function
    return sc.ControlProblem(problem.policy, problem.scenarios, problem.objective_data, simulator=f)


def test_what_is_counted_is_what_a_step_does():
    """By hand, for x1 + x2 / 10 + u / 200 and x2 + u / 10: three products and three sums, and A and B are constants."""
    problem = linear_problem([[1, 0.1], [0, 1]], [[0.005], [0.1]], (3,))
    d, metrics = problem.theta_dim, problem.rows_per_scenario / 4
    assert d == 12
    for p in (1, d):
        count = operations(problem, p)
        assert count.sampled == pytest.approx(p * (d + 6 * 3 + 6 + 3 * metrics))
        assert count.exact == pytest.approx(p * (d + 2 * (3 + 2 + 2) + metrics) + d)


def test_sensitivities_are_taken_where_they_are_cheaper_than_rollouts():
    narrow, wide = double_integrator_problem((3,)), wide_problem()
    assert resolved(narrow, NONE).gradients == "exact"
    assert resolved(wide, NONE).gradients == "sampled"
    for problem in (narrow, wide):  # neither scenarios nor a seed are counted
        more = sc.scenarios(problem.plant, problem.backup, horizon=4, count=5, level=0.3, seed=1)
        other = sc.ControlProblem(problem.policy, more, problem.objective_data, seed=2)
        assert chosen_gradients(other, NONE) == chosen_gradients(problem, NONE)
    for word in ("exact", "sampled"):  # what is asked for is done
        assert resolved(wide, dataclasses.replace(NONE, gradients=word)).gradients == word


def test_a_jacobian_of_expressions_is_taken_for_many_directions_only():
    problem = reference_runs.regression()  # nine parameters
    assert [chosen_gradients(problem, sc.AdaptOptions(directions=p)) for p in (0, 3, 2)] == [
        "exact", "exact", "sampled",
    ]  # fmt: skip


def test_a_black_box_is_sampled():
    result = sc.adapt(black_box(), NONE)
    assert result.options.gradients == "sampled" and "gradients     sampled, of the metrics" in repr(result)
    expert = sc.UserObjective(lambda theta: (float(theta @ theta), 2 * theta))
    problem = double_integrator_problem((2,))
    assert resolved(sc.ControlProblem(problem.policy, problem.scenarios, expert), NONE).gradients == "sampled"


def test_an_exact_gradient_has_no_error():
    """e of (E4) is zero whatever L and the metrics' errors are; sampled, both count."""
    problem = double_integrator_problem((3,))
    theta, (_, g) = problem.theta_initial, problem.evaluate(problem.theta_initial)
    d, L = theta.size, np.full(g.size, 7.0)
    for word, expected in (("exact", 0.0), ("sampled", np.sqrt(d) * (7.0 * 1e-5 / 2))):
        options = sc.AdaptOptions(gradients=word, metric_error=0.0)
        region = sample_region(problem, theta, g, L, np.eye(d), 0.5, options)
        cone = region.cone(np.zeros(d), L[region.rows])
        np.testing.assert_allclose(cone.e[~region.linear], expected, rtol=1e-12)
        assert (cone.L[~region.linear] == 7.0).all()


def test_the_record_names_what_was_chosen_and_is_checked(tmp_path):
    result = sc.adapt(double_integrator_problem((2,)), sc.AdaptOptions(steps=2, audit=False))
    assert "gradients     exact, of the metrics" in repr(result)
    result.save(tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert summary["gradients"] == "exact"
    assert 'gradients = "exact"' in (tmp_path / "run" / "problem.toml").read_text(encoding="utf-8")
    assert sc.verify(tmp_path / "run").passed
    (tmp_path / "run" / "result.json").write_text(json.dumps(summary | {"gradients": "sampled"}), encoding="utf-8")
    checked = sc.verify(tmp_path / "run")
    assert not checked.passed and any("gradients = 'sampled'" in fault for fault in checked.faults)


def test_both_reach_the_same():
    """Where a run converges, the objective does not depend on how gradients were taken."""
    ends = {
        word: sc.adapt(double_integrator_problem(()), sc.AdaptOptions(steps=60, gradients=word, audit=False))
        for word in ("exact", "sampled")
    }
    assert all(end.is_safe() for end in ends.values())
    assert ends["exact"].objective_final == pytest.approx(ends["sampled"].objective_final, rel=1e-5)
