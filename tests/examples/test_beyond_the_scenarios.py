"""The table of runs with and without audits: its loops are what they are said to be, and its rows what runs give."""

from __future__ import annotations

import beyond_the_scenarios as table
import control
import numpy as np
import pytest
from published_plants import PUBLISHED

from scpo_ctrl import AdaptOptions
from scpo_ctrl.assurance import Fresh


def test_every_loop_has_a_name_of_its_own_and_every_number_of_before_a_loop():
    names = [name for name, _ in table.loops(2)]
    assert len(set(names)) == len(names) == 6 + 2 + len(PUBLISHED) + 2
    assert set(table.BEFORE) <= set(names)


def test_the_loops_rest_where_they_say_and_their_backups_are_stable():
    for name, make in table.loops(2):
        if name not in PUBLISHED:
            problem, _ = make()
            assert problem.spectral_radius(problem.theta_initial) < 1, name
            assert problem.scenarios.declared is not None and problem.scenarios.declared.has_interior
    buck = table.buck().plant
    for load in (3.0, 10.0):
        rest = np.array(buck.function([5 / load, 5.0], 5 / 12, load))[:, 0]
        np.testing.assert_allclose(rest, [5 / load, 5.0], rtol=1e-12)


def test_more_scenarios_are_those_of_the_declared_set():
    (problem, options), (shipped, own) = table.with_more("double_integrator", 512), table.shipped("double_integrator")
    assert problem.scenarios.count == 512 and options == own
    assert problem.scenarios.declared is shipped.scenarios.declared or (
        problem.scenarios.declared.size == shipped.scenarios.declared.size
    )
    V = problem.backup.level(problem.scenarios.x0) / problem.backup.rho
    assert 0.7 < V.max() <= 0.81 * (1 + 1e-12)
    np.testing.assert_array_equal(problem.theta_initial, shipped.theta_initial)


def poles(plant):
    return np.log(np.linalg.eigvals(plant.linearise()[0]).astype(complex)) / plant.dt


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("DC servo", [-9.79, -0.705 - 7.31j, -0.705 + 7.31j, 0], 6e-3),
        ("ball and plate", [-33.18, 0, 0, 0], 1e-3),
        ("AFTI-16", [-7.6636, -0.0075 - 0.0556j, -0.0075 + 0.0556j, 5.4530], 1e-3),
        ("masses", [s * 2j * np.sin(k * np.pi / 14) for k in range(1, 7) for s in (-1, 1)], 1e-9),
    ],
)
def test_published_plants_have_the_poles_that_are_published_and_backups_that_hold(name, expected, tolerance):
    problem = PUBLISHED[name]()
    assert problem.plant.name == name
    found = poles(problem.plant)
    close = [np.abs(found - pole).min() for pole in expected]
    assert max(close) <= tolerance and len(found) == len(expected)
    assert Fresh.drawn(problem, problem.theta_initial, 0, 500, 1).violations == 0


@pytest.mark.parametrize(
    ("name", "time_constants", "is_minimum"),
    [("four tanks, minimum phase", [23, 30, 62, 90], True), ("four tanks, non-minimum phase", [39, 56, 63, 91], False)],
)
def test_the_tanks_are_as_slow_as_published_and_their_zeros_where_their_names_say(name, time_constants, is_minimum):
    problem = PUBLISHED[name]()
    np.testing.assert_allclose(np.sort(-1 / poles(problem.plant).real), time_constants, atol=1.0)
    A, B = problem.plant.linearise()
    zeros = control.ss(A, B, np.eye(4)[:2], np.zeros((2, 2)), problem.plant.dt).zeros()
    assert len(zeros) == 2 and (np.abs(zeros) < 1).all() == is_minimum
    assert Fresh.drawn(problem, problem.theta_initial, 0, 500, 1).violations == 0


def test_cart_poles_differ_in_their_pole():
    slow, fast = (PUBLISHED[f"{which} cart-pole"]().plant for which in ("slow", "fast"))
    growth = [poles(plant).real.max() for plant in (slow, fast)]
    assert growth[1] / growth[0] == pytest.approx(3.0, rel=0.05)  # as the root of the lengths' ratio
    assert slow.dt > fast.dt


def test_a_row_counts_on_scenarios_that_no_run_saw():
    cells = table.row("heater", table.heater(), AdaptOptions(steps=6, guards=8, audit_rollouts=500), 2000)
    _, name, before, without, audited, last, radii, costs, times, _ = (cell.strip() for cell in cells.split("|"))
    assert (name, before, last) == ("heater", "radius 9.4", "passed")
    assert 0 <= float(without.split()[0]) <= 100 and audited.endswith(" of 2000")
    assert float(radii.split()[0]) == np.round(table.heater().spectral_radius(table.heater().theta_initial), 3)
    assert len(costs.split()) == 3 and float(times) > 0
