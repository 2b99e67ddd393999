"""Metrics, their gradients and the objective's, as the exported C computes them, against the problem's, by CasADi."""

import device_runs
import numpy as np
import pytest
from exports import need


def expected(problem, theta):
    """Return metrics and their gradients, in `metric_units`."""
    g, G = problem.metrics(theta) / problem.metric_units, np.zeros((problem.varies.size, theta.size))
    for block in problem.blocks(theta.size):
        G[block.metrics] = problem.jacobian(theta, None, block).T
    return g, G


def place(problem, rollout, time, signal):
    """Return where a metric of the C is in the problem's, and what it is to be multiplied by to be the same."""
    metrics, scenarios = problem.scenario_metrics, problem.scenarios
    rows, start, horizon, limits = metrics.rows, 0, scenarios.horizon, problem.contraction_limits(scenarios)
    if signal == -2:
        return problem.of_scenarios.stop + rollout, 1.0
    first = rollout * len(rows)
    if rollout >= scenarios.count:
        rows, horizon, first = problem.one_step.rows, 1, problem.of_cloud.start
        first += (rollout - scenarios.count) * len(rows)
    states, commands = (sum(row.kind == kind and row.time == 0 for row in rows) for kind in ("state", "command"))
    if signal < states:
        return first + start + time * states + signal, 1.0
    if signal < states + commands:
        return first + (horizon + 1) * states + time * commands + signal - states, 1.0
    is_last = not metrics.options.terminal or signal > states + commands or rollout >= scenarios.count
    scaled = is_last and rollout < scenarios.count
    return first + len(rows) - 1 - (not is_last and rows[-1].kind == "contraction"), (
        limits[rollout] / problem.backup.rho if scaled else 1.0
    )


@pytest.mark.table(4)
@pytest.mark.parametrize("name", device_runs.SHARED)
def test_rows_are_the_problem_s(name):
    need("gcc")
    problem = device_runs.CASES[name]()
    theta = problem.theta_initial + 0.2 * np.random.default_rng(1).normal(size=problem.theta_dim)
    program = device_runs.built(name)
    found = device_runs.lines(program, -1, given=" ".join(map(repr, theta.tolist())))
    assert all(line["kind"][0] for line in found), "a rollout is lost"
    costs = [line for line in found if line["kind"][3] == -1]
    others = [line for line in found if line["kind"][3] != -1]
    weight = 1 / (len(costs) * problem.scenarios.horizon)
    np.testing.assert_allclose(
        weight * sum(line["value"][0] for line in costs), problem.objective(theta), rtol=1e-12, atol=1e-15
    )
    gradient = problem.gradient(theta)
    np.testing.assert_allclose(
        weight * sum(np.array(line["row"]) for line in costs), gradient, rtol=1e-9, atol=1e-9 * np.abs(gradient).max()
    )
    g, G = expected(problem, theta)
    places, factors = zip(*(place(problem, *line["kind"][1:]) for line in others), strict=True)
    fixed = np.flatnonzero(~problem.varies)
    assert sorted({*places, *fixed}) == list(range(g.size)) and len({*places}) == len(places)
    values = np.array([line["value"][0] for line in others]) * factors
    rows = np.array([line["row"] for line in others]) * np.array(factors)[:, None]
    np.testing.assert_allclose(values, g[list(places)], rtol=1e-9, atol=1e-9)
    sizes = np.maximum(np.linalg.norm(G[list(places)], axis=1), 1)
    assert np.max(np.linalg.norm(rows - G[list(places)], axis=1) / sizes) <= 1e-9
