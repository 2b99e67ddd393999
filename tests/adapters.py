"""Adapters at work on a mass whose model may be another one, and what their results share with the batch loop's."""

from __future__ import annotations

import numpy as np

from scpo_ctrl import ControlProblem, MetricOptions, Policy, Quadratic, RunStatus, Scenarios, lqr
from scpo_ctrl.models import double_integrator


def assert_same_bits(one, other):
    """Two results are equal in all but the time they took."""
    columns = other.history.columns()
    for name, column in one.history.columns().items():
        np.testing.assert_array_equal(column, columns[name], err_msg=name)
    assert one.state.keys() == other.state.keys()
    for name, value in one.state.items():
        np.testing.assert_array_equal(value, other.state[name], err_msg=name)
    np.testing.assert_array_equal(one.theta, other.theta)
    for name in ("status", "steps", "rollouts", "objective_initial", "objective_final", "margin_initial", "options"):
        assert getattr(one, name) == getattr(other, name), name


def mass_problem(masses, *, disturbance=0.0, horizon=20, **metrics):
    """Return the double integrator of R3 with a small network, from six states with each of the masses."""
    plant = double_integrator()
    backup = lqr(plant, [0.1, 0.1], [10.0])
    angle = np.arange(6) * np.pi / 3
    x0 = (
        0.9
        * np.column_stack([np.cos(angle), np.sin(angle)])
        @ np.linalg.cholesky(backup.rho * np.linalg.inv(backup.P)).T
    )
    count = len(x0) * len(masses)
    w = np.full((count, horizon, 2), disturbance) if disturbance else np.zeros((count, horizon, 0))
    batch = Scenarios(np.tile(x0, (len(masses), 1)), np.repeat(masses, len(x0))[:, None], w, horizon)
    return ControlProblem(
        Policy(plant, backup, (4,)), batch, Quadratic([1.0, 0.1], [0.05]), MetricOptions(**metrics), seed=1
    )


def moved(x, u, mass):
    """The exact motion of a mass over 0.1 s, written again."""
    return np.array([x[0] + 0.1 * x[1] + 0.005 * u[0] / mass, x[1] + 0.1 * u[0] / mass])


def drive(adapter, x, samples, mass=1.0):
    """Drive the mass with the adapter, and return states (samples + 1, 2) and inputs (samples, 1)."""
    states, inputs = [np.asarray(x, dtype=float)], []
    for _ in range(samples):
        inputs.append(adapter.command(states[-1]))
        states.append(moved(states[-1], inputs[-1], mass))
        adapter.observe(states[-2], inputs[-1], states[-1])
    return np.array(states), np.array(inputs)


def finished(adapter):
    """Step to the end, counting."""
    steps = 0
    while adapter.status is RunStatus.RUNNING:
        adapter.step()
        steps += 1
    return adapter.result(), steps
