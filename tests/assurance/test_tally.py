"""Tallies merge exactly, in any order and grouping, and certificates are the same bytes wherever they are made."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import tasks
from planted import interval_problem

from scpo_ctrl.assurance import Fresh, certificate, certify, tally, violation_bound
from scpo_ctrl.assurance.tally import CLOSEST, MOST_VIOLATING, Tally, Tallying, blocks
from scpo_ctrl.errors import DomainError, WorkerError


def shown(found: Tally) -> tuple:
    return found.rollouts, found.violations, found.violating.tolist(), found.closest.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_the_sum_of_parts_is_that_of_the_whole_in_any_order_and_grouping(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6000))
    worst = rng.choice([-1.0, -0.5, 0.0, 0.25, np.inf, 1e-13], n, p=rng.dirichlet(np.ones(6)))  # many are equal
    worst = np.where(rng.random(n) < rng.random(), rng.normal(size=n), worst)
    rows, first = rng.integers(0, 9, n), int(rng.integers(0, 1 << 40))
    cuts = np.unique(rng.integers(0, n + 1, int(rng.integers(0, 12))))
    pieces = [part for part in np.split(np.arange(n), cuts) if part.size]
    parts = [Tally.of(Fresh(worst[k], rows[k], 0.0), first + int(k[0])) for k in pieces] + [Tally.none()]
    while len(parts) > 1:  # any two of them
        a, b = rng.choice(len(parts), 2, replace=False)
        together = parts[a] + parts[b]
        parts = [part for k, part in enumerate(parts) if k not in (a, b)] + [together]
    violating = first + np.flatnonzero(~(worst <= 1e-12))
    order = sorted(range(n), key=lambda k: (-worst[k], k))[:CLOSEST]
    closest = [[float(first + k), worst[k], float(rows[k])] for k in order]
    assert shown(parts[0]) == (n, len(violating), violating[:MOST_VIOLATING].tolist(), closest)


@pytest.mark.parametrize("seed", range(10))
def test_blocks_cover_everything_once_and_keep_to_parts(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(tally, "_AT_ONCE", int(rng.integers(1, 400)))
    monkeypatch.setattr(tally, "_LEAST", int(rng.integers(1, 400)))
    count, size = (int(k) for k in rng.integers(1, 3000, 2))
    found = list(blocks(count, size))
    assert [k for first, most in found for k in range(first, first + most)] == list(range(count))
    assert all(first // size == (first + most - 1) // size for first, most in found)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(certificate, "_PART", 100)
    monkeypatch.setattr(tally, "_LEAST", 40)


@pytest.mark.usefixtures("small_parts")
def test_the_bytes_are_the_same_in_workers_one_of_which_is_killed(tmp_path):
    problem = interval_problem(0.01)
    options = {"epsilon": 0.01, "seed": 2}
    alone = certify(problem, problem.theta_initial, **options)
    problems = partial(tasks.intervals, 0.01, tmp_path)
    assert certify(problem, problem.theta_initial, workers=2, problems=problems, **options).text() == alone.text()
    assert (tmp_path / "once").exists()
    assert alone.violations > 1
    assert [part.first for part in alone.parts] == list(range(0, alone.rollouts, 100))
    assert sum(part.violations for part in alone.parts) == alone.violations
    assert max(part.worst for part in alone.parts) == alone.closest[0][1]


def test_workers_that_make_another_problem_or_other_bits_are_refused():
    problem, theta = (made := interval_problem(0.01)), made.theta_initial
    digest, bits = Tallying(problem, theta, 5).identity()
    assert Tallying.made(partial(tasks.intervals, 0.01), theta, 5, (digest, bits)).identity() == (digest, bits)
    with pytest.raises(WorkerError, match="rounds otherwise"):
        Tallying.made(partial(tasks.intervals, 0.01 + 1e-9), theta, 5, (digest, bits))
    with pytest.raises(WorkerError, match="another problem"):
        Tallying.made(partial(tasks.intervals, 0.01), theta, 5, ("0" * 64, bits))
    with pytest.raises(DomainError, match="give problems"):
        certify(problem, problem.theta_initial, epsilon=0.1, workers=1)


@pytest.mark.usefixtures("small_parts")
def test_stopping_early_is_at_the_first_violation_by_number_whatever_the_blocks(monkeypatch):
    problem = interval_problem(0.005)
    options = {"epsilon": 0.005, "seed": 11}
    whole = certify(problem, problem.theta_initial, **options)
    first = whole.violating[0]
    texts = set()
    for at_once in (33, 5000):
        monkeypatch.setattr(tally, "_AT_ONCE", at_once)
        monkeypatch.setattr(tally, "_LEAST", at_once)
        found = certify(problem, problem.theta_initial, stop_early=True, **options)
        texts.add(found.text())
    assert len(texts) == 1
    assert (found.rollouts, found.planned, found.violating) == (first + 1, whole.planned, (first,))
    assert not found.passed
    assert found.bound == violation_bound(1, first + 1, found.beta) > found.epsilon
    clean = interval_problem(0.0)
    one, other = (certify(clean, clean.theta_initial, stop_early=stop, epsilon=0.01).text() for stop in (False, True))
    assert one == other


def test_the_bound_holds_where_runs_stop_early():
    """Of policies that stop at their first violation, the bound overlooks the true share in at most β of all cases."""
    beta, share = 0.1, 0.02
    drawn = np.random.default_rng(0).geometric(share, 20_000)
    ends = {int(n): violation_bound(1, int(n), beta) for n in np.unique(drawn)}
    overlooked = np.mean([ends[int(n)] < share for n in drawn])
    assert overlooked <= beta
    assert np.mean([violation_bound(0, int(n), beta) < share for n in drawn]) > overlooked
