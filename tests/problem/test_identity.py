"""The hash of a problem: equal where parameters may be exchanged, different where they may not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from problems import double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import double_integrator
from scpo_ctrl.problem.identity import problem_hash


def problem(
    *, plant=None, hidden=(4,), q=1.0, mass=1.2, count=6, seed=0, draws=1, horizon=10, scale=1.0, cost=1.0, **metrics
) -> sc.ControlProblem:
    plant = double_integrator() if plant is None else plant
    backup = sc.lqr(plant, [q, 0.1], [1.0], parameters={"mass": (0.8, mass)})
    ranges = {"mass": (0.8, mass)}
    batch = sc.scenarios(plant, backup, horizon=horizon, count=count, level=0.5, seed=draws, parameters=ranges)
    policy = sc.Policy(plant, backup, hidden)
    policy = replace(policy, scale=tuple(scale * np.array(policy.scale)))
    objective = sc.Quadratic(cost * np.eye(2), [0.1])
    return sc.ControlProblem(policy, batch, objective, sc.MetricOptions(**metrics), seed=seed)


@pytest.fixture(scope="module")
def one() -> bytes:
    return problem_hash(problem())


def test_it_is_eight_bytes_that_stay(one):
    assert len(one) == 8
    assert problem_hash(problem()) == one


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"cost": 3.0}, {"scale": 1 + 1e-12}], ids=["theta", "objective", "rounding"]
)
def test_what_is_no_other_problem(one, change):
    assert problem_hash(problem(**change)) == one


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": (5,)}, {"hidden": (2, 2)}, {"q": 1.001}, {"mass": 1.201}, {"count": 7}, {"draws": 2},
        {"horizon": 11}, {"scale": 1.001}, {"terminal": True}, {"contraction": 0.9}, {"stability": False},
        {"command": False}, {"one_step": 0.01}, {"path": False, "terminal": True},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_another_problem(one, change):
    assert problem_hash(problem(**change)) != one


def test_bounds_and_model(one):
    plant = double_integrator()
    tighter = replace(plant, u_max=plant.u_max * 0.999)
    damped = replace(plant, f=plant.f * 0.9999)
    hashes = {problem_hash(problem(plant=changed)) for changed in (tighter, damped)}
    assert len(hashes | {one}) == 3


def test_a_controller_of_its_own_has_none():
    from controller_exports import result_of

    with pytest.raises(DomainError, match="residual policies"):
        problem_hash(result_of("pid").problem)


def test_an_infinite_bound_is_a_number_too():
    assert len(problem_hash(double_integrator_problem())) == 8
