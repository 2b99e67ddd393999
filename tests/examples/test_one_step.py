"""The table of what conditions on one step cost: a guard acts where it is said to, and a row is what a run gives."""

from __future__ import annotations

import dataclasses

import numpy as np
import one_step as table

from scpo_ctrl import AdaptOptions


def test_a_guard_acts_where_v_does_not_fall_or_the_command_is_beyond_its_bounds():
    problem = table.conditioned(table.shipped("double_integrator")[0], 0.01, 4, 0.1)
    theta = problem.theta_initial + 0.2 * np.random.default_rng(0).normal(size=problem.theta_dim)
    assert table.acts(problem, problem.theta_initial, 200) == (0.0, 0.0)
    batch = problem.scenarios.declared.random(0, 200, table.SEED)
    x, u = problem.trajectories(theta, batch)
    V = np.einsum("sti,ij,stj->st", x, problem.backup.P, x) / problem.backup.rho
    guarded = (V[:, 1:] > np.maximum(0.99 * V[:, :-1], 0.1) + 1e-9) | (np.abs(u[..., 0]) > 1 + 1e-9)
    assert 0 < guarded[:, 0].mean() < 1
    np.testing.assert_allclose(table.acts(problem, theta, 200), (guarded[:, 0].mean(), guarded.mean()), rtol=1e-12)


def test_a_row_of_the_table():
    problem, options = table.shipped("double_integrator")
    checked = table.conditioned(problem, 0.002, 32, 0.0)
    few = dataclasses.replace(options, steps=6, audit=False)
    plain, conditioned = (
        [cell.strip() for cell in table.row("R3", of, checked, few, 500).split("|")[1:-1]] for of in (problem, checked)
    )
    assert plain[0] == "R3" and plain[4] == conditioned[4] == "none"
    assert float(conditioned[2].split()[0]) < float(plain[2].split()[0])
    start, end = (float(text) for text in conditioned[1].split(" → "))
    assert end < start and float(plain[1].split(" → ")[1]) < start
    audited = dataclasses.replace(AdaptOptions(steps=2, guards=4, audit_rollouts=200), seed=options.seed)
    assert "| passed |" in table.row("R3", checked, checked, audited, 50)
