"""The table of how often certificates are true: its expectations are exact, and wrong rules show in it."""

from __future__ import annotations

import math

import certificate_coverage as coverage
import numpy as np
import pytest

EPSILON, BETA, COUNT = 0.02, 0.05, 400


def test_the_hardest_probabilities_leave_exactly_beta():
    for probability in coverage.probabilities(EPSILON, BETA):
        passes, holds = coverage.expected(probability, EPSILON, BETA)
        assert holds >= 1 - BETA - 1e-6
        assert passes == pytest.approx((1 - probability) ** 149, rel=1e-9)  # n is the least: passed means no violation
    holds = [coverage.expected(p, EPSILON, BETA)[1] for p in coverage.probabilities(EPSILON, BETA)]
    np.testing.assert_allclose(sorted(holds)[: len(coverage.PROVEN_BY)], 1 - BETA, atol=1e-6)


@pytest.mark.parametrize("which", [1, 3])  # just above what no violation, and one, prove
def test_statements_hold_as_often_as_they_say_and_a_wrong_rule_is_seen(which):
    probability = coverage.probabilities(EPSILON, BETA)[which]
    violations, bounds = coverage.found(probability, COUNT, EPSILON, BETA)
    least = COUNT * (1 - BETA) - 3 * math.sqrt(COUNT * BETA * (1 - BETA))
    assert least <= coverage.true_statements(probability, bounds) < COUNT
    assert np.mean(violations) == pytest.approx(149 * probability, abs=3 * math.sqrt(149 * probability / COUNT))
    wrong = coverage.overlooking_one(violations, 149, BETA)
    assert coverage.true_statements(probability, wrong) < least
    tried_twice = coverage.better_of_two(bounds)
    assert coverage.true_statements(probability, tried_twice) < coverage.true_statements(probability, bounds)


def test_the_table_has_a_row_for_every_probability(capsys, monkeypatch):
    monkeypatch.setattr(coverage, "PROVEN_BY", (0,))
    coverage.main(["--count", "20", "--epsilon", "0.1", "--beta", "0.1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("so n = 22 rollouts;") and "18 or more" in lines[1]
    rows = [line.split() for line in lines[4:]]
    assert len(rows) == len(coverage.probabilities(0.1, 0.1)) == 2
    assert all(0 <= int(row[1]) <= 20 and int(row[5]) <= int(row[3]) and int(row[6]) <= int(row[3]) for row in rows)
