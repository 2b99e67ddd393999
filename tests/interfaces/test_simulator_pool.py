"""A simulator in processes of its own, which fails in every way at single states: each costs one row, and no more."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import tasks
from planted import interval_problem

from scpo_ctrl.assurance import certify
from scpo_ctrl.errors import EvaluationError, WorkerError
from scpo_ctrl.interfaces import SimulatorPool

REASONS = {
    tasks.RAISES: "the simulator raised ValueError: out of the mesh",
    tasks.DIES: "its process ended with status 7",
    tasks.KILLED: "its process was killed by SIGKILL",
    tasks.HANGS: "took longer than 0.2 s",
    tasks.COMPLEX: "the simulator returned complex128, expected real numbers",
    tasks.SHAPE: "the simulator returned shape (3,), expected (1, 1)",
}


def stack(x):
    x = np.asarray(x, dtype=float)[:, None]
    return x, np.full_like(x, 0.1), np.zeros((len(x), 0))


def test_every_failure_costs_its_own_row():
    x = np.linspace(-1, 0.4, 23)
    failing = [*REASONS, tasks.NAN, np.inf]
    places = [3, 4, 9, 14, 20, 22, 11, 17]
    x = np.insert(x, np.sort(places), 0.0)
    x[np.sort(places)] = failing
    with SimulatorPool(tasks.failing, workers=2, timeout=0.2) as pool:
        found = pool(*stack(x))[:, 0]
        lost = np.isin(x, failing)
        assert np.array_equal(found[~lost], 0.5 * x[~lost] + 0.1)
        assert np.isnan(found[lost]).all()
        assert {float(step.x[0]): step.reason for step in pool.lost} == REASONS
        assert np.array_equal(pool(*stack([0.2, 0.4]))[:, 0], [0.2, 0.30000000000000004])


def test_a_policy_is_certified_on_a_pool_to_the_same_bytes():
    alone = interval_problem(0.02, simulator=tasks.failing())
    with SimulatorPool(tasks.failing, workers=2) as pool:
        shared = interval_problem(0.02, simulator=pool)
        one, other = (
            certify(problem, problem.theta_initial, epsilon=0.05, seed=1).text() for problem in (alone, shared)
        )
    assert one == other


@pytest.mark.parametrize(
    ("factory", "error", "word"),
    [
        (tasks.never, EvaluationError, "OSError: no display"),
        (tasks.refusing, WorkerError, "no licence"),
        (partial(print, "x"), WorkerError, "NoneType"),
    ],
)
def test_a_simulator_that_never_works_is_named(factory, error, word):
    with SimulatorPool(factory, workers=1) as pool, pytest.raises(error, match=word):
        pool(*stack([0.1, 0.2]))


def test_a_simulator_that_is_not_made_in_time_and_a_pool_that_is_closed_are_named():
    pool = SimulatorPool(tasks.hanging, workers=1, ready_within=0.1)
    with pool, pytest.raises(WorkerError, match=r"not been ready 0\.1 s after its start"):
        pool(*stack([0.1]))
    with pytest.raises(WorkerError, match="ended; make others"):
        pool(*stack([0.1]))
