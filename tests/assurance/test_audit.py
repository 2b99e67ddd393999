"""Audits: what fresh scenarios show, found again by the search where drawing alone misses it, on black boxes too."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import scpo_ctrl
from scpo_ctrl import ControlProblem, MetricOptions, Policy, Quadratic, Scenarios, lqr, scenarios
from scpo_ctrl.assurance import Fresh, audit, violation_bound
from scpo_ctrl.errors import ClassError, DimensionError, DomainError
from scpo_ctrl.models import double_integrator, linear


def interval_problem(limit: float, **given) -> ControlProblem:
    """Return x⁺ = 0.9 x + 0.5 u with |x₀| declared up to a level, whose command -K x breaks a bound beyond `limit`."""
    plant = linear([[0.9]], [[0.5]], 0.1, ([-2.0], [2.0], [-1.0], [1.0]))
    backup = lqr(plant, [1.0], [1.0])
    K = float(backup.K[0, 0])
    tight = plant.replace(u_min=np.array([-K * limit]), u_max=np.array([K * limit]))
    batch = scenarios(tight, backup, horizon=3, count=2, level=0.01, **given)
    wide = scenarios(tight, backup, horizon=3, count=2, level=1.0, **given).declared
    batch = Scenarios(batch.x0, batch.p, batch.w, 3, wide)
    return ControlProblem(Policy(tight, backup), batch, Quadratic([1.0], [0.1]), MetricOptions())


def test_the_share_that_violates_is_the_one_that_geometry_says():
    problem = interval_problem(0.5)
    reach = float(problem.backup.extent[0])
    fresh = Fresh.drawn(problem, problem.theta_initial, 0, 20_000, 1)
    assert fresh.violations / 20_000 == pytest.approx(1 - 0.5 / reach, abs=0.02)
    again = Fresh.drawn(problem, problem.theta_initial, 5_000, 100, 1)
    np.testing.assert_array_equal(again.worst, fresh.worst[5_000:5_100])


def test_an_audit_finds_a_sliver_that_drawing_misses():
    problem = interval_problem(0.5)
    reach = float(problem.backup.extent[0])
    thin = interval_problem(reach * (1 - 1e-6))
    found = audit(thin, thin.theta_initial, rollouts=500, seed=2)
    assert found.violations == 0 and not found.passed
    assert found.counterexamples.count > 0 and found.worst > 0
    assert "u0" in found.metric
    none = audit(interval_problem(reach * (1 + 1e-9)), thin.theta_initial, rollouts=500, seed=2)
    assert none.passed and none.worst <= 0
    assert none.epsilon == pytest.approx(1 - 1e-6 ** (1 / 500))


def test_the_snippet_of_the_guarantees_runs(capsys):
    text = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    problem = interval_problem(5.0)
    names: dict[str, object] = {"problem": problem, "theta": problem.theta_initial}
    exec(code, names)
    first, second, third = capsys.readouterr().out.splitlines()
    found = names["found"]
    assert isinstance(found, scpo_ctrl.Audit)
    assert first == f"{found.passed} 0 0 {found.epsilon}"
    assert second.startswith("no violation in 13 809 fresh scenarios: at most 0.001 of them violate, at confidence")
    assert third.startswith("no violation found in ") and "that is no proof" in third


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"problem": None}, ClassError),
        ({"theta": [0.0, 0.0]}, DimensionError),
        ({"rollouts": 0}, DomainError),
        ({"seed": -1}, DomainError),
    ],
)
def test_wrong_arguments_of_an_audit_are_named(change, error):
    problem = interval_problem(5.0)
    arguments = {"problem": problem, "theta": problem.theta_initial, "rollouts": 10, "seed": 0} | change
    with pytest.raises(error, match=next(iter(change))):
        audit(arguments.pop("problem"), arguments.pop("theta"), **arguments)


def test_a_monitor_hears_of_every_part_and_may_end_it():
    problem, calls = interval_problem(5.0), []
    audit(problem, problem.theta_initial, rollouts=9000, seed=0, monitor=lambda *at: calls.append(at))
    done, totals = np.array(calls).T
    assert (np.diff(done) >= 0).all() and done[0] <= 4096 and done[-1] == totals[-1]
    assert len(set(totals)) == 1

    def ends(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(problem, problem.theta_initial, rollouts=9000, seed=0, monitor=ends)


@pytest.mark.parametrize("black_box", [False, True])
def test_the_search_goes_to_the_worst_corner_of_everything(black_box):
    plant = double_integrator()
    backup = lqr(plant, [0.1, 0.1], [10.0])
    batch = scenarios(
        plant, backup, horizon=8, count=4, level=0.3, parameters={"mass": (0.8, 1.2)}, disturbance=[0.01, 0.02]
    )
    step = {"simulator": lambda x, u, p: np.array(plant.function.map(len(x))(x.T, u.T, p.T)).T} if black_box else {}
    problem = ControlProblem(Policy(plant, backup), batch, Quadratic([1.0, 0.1], [0.05]), MetricOptions(), **step)
    found = audit(problem, problem.theta_initial, rollouts=400, seed=1)
    drawn = Fresh.drawn(problem, problem.theta_initial, 0, 20_000, 9)
    assert found.worst >= drawn.worst.max() - 1e-9
    assert found.passed == (found.worst <= 0)


def test_scenarios_made_by_hand_have_nothing_to_draw_from():
    problem = interval_problem(0.5)
    batch = problem.scenarios
    bare = problem.with_scenarios(Scenarios(batch.x0, batch.p, batch.w, batch.horizon), problem.theta_initial)
    with pytest.raises(DomainError, match="name no declared set"):
        audit(bare, bare.theta_initial, rollouts=10, seed=0)


def test_bounds_cover_what_they_say():
    """Of many experiments with a known probability, at most a part β has a bound below it."""
    rng, beta = np.random.default_rng(0), 0.05
    for probability in (0.002, 0.02, 0.3):
        counts = rng.binomial(400, probability, 1000)
        bounds = np.array([violation_bound(int(k), 400, beta) for k in range(401)])[counts]
        assert np.mean(bounds < probability) <= beta + 0.02
    assert violation_bound(5, 5, beta) == 1.0
    assert violation_bound(0, 1000, 1e-6) == pytest.approx(1 - 1e-6 ** (1 / 1000))
