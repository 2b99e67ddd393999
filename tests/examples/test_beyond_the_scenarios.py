"""The table of runs with and without audits: its loops are what they are said to be, and its rows what runs give."""

from __future__ import annotations

import beyond_the_scenarios as table
import numpy as np

from scpo_ctrl import AdaptOptions


def test_the_loops_rest_where_they_say_and_their_backups_are_stable():
    for name, problem, _ in table.loops(10, 5):
        assert problem.spectral_radius(problem.theta_initial) < 1, name
        assert problem.scenarios.declared is not None and problem.scenarios.declared.has_interior
    buck = table.buck().plant
    for load in (3.0, 10.0):
        rest = np.array(buck.function([5 / load, 5.0], 5 / 12, load))[:, 0]
        np.testing.assert_allclose(rest, [5 / load, 5.0], rtol=1e-12)


def test_a_row_counts_on_scenarios_that_no_run_saw():
    cells = table.row("heater", table.heater(), AdaptOptions(steps=6, guards=8, audit_rollouts=500), 2000)
    _, name, before, without, audited, last, radii, costs, times, _ = (cell.strip() for cell in cells.split("|"))
    assert (name, before, last) == ("heater", "", "passed")
    assert 0 <= float(without.split()[0]) <= 100 and audited.endswith(" of 2000")
    assert float(radii.split()[0]) == np.round(table.heater().spectral_radius(table.heater().theta_initial), 3)
    assert len(costs.split()) == 3 and float(times) > 0
