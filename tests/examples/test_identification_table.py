"""The table of fits to logs: its logs are those of the plants, and its columns say what they should."""

from __future__ import annotations

import dataclasses

import identification
import numpy as np


def test_logs_follow_the_plant_with_disturbances_within_their_half_widths():
    case = dataclasses.replace(identification.cases()[1], samples=60)
    rng = np.random.default_rng(0)
    p = identification.parameters(case, 3, rng)
    assert p.tolist() == [[0.14, 0.8, 0.5]] * 3
    x, u = identification.simulated(case, p, rng)
    for states, inputs in zip(x, u, strict=True):
        f = case.plant.function.map(59)
        w = states[1:] - np.array(f(states[:-1].T, inputs[:-1].T, np.tile(p[0][:, None], 59))).T
        assert (np.abs(w) <= np.array(case.half) + 1e-12).all()
        assert (np.abs(w).max(axis=0) > 0.8 * np.array(case.half)).all()


def test_logs_of_other_plants_are_refused_and_own_ones_raise_no_doubt():
    rows = identification.of_others()
    assert len(rows) == 18
    for plant, other, answer in rows:
        assert answer == ("0 doubts" if plant == other else "refused"), (plant, other)


def test_a_row_counts_what_holds():
    name, numbers = "R3, random", identification.row(identification.cases()[4], 5)
    assert numbers.startswith(name)
    error, largest, held, covered, least, low, high, *counts = numbers.removeprefix(name).split()
    assert 0 < float(error.rstrip("%")) <= float(largest.rstrip("%")) < 10
    assert held == "100.0%" and float(least.rstrip("%")) >= 99 and float(covered.rstrip("%")) >= 99
    assert 1 < float(low) <= float(high) < 1.4 and counts == ["0"] * 3
