"""Methods of what a user holds in hand, each argument replaced by what nobody means: an error in words, or a result."""

from __future__ import annotations

import copy
from functools import cache

import fuzz_calls
import fuzz_tables
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl.errors import DimensionError

WRONG = [
    None, "x", object(), [], {}, True, -1, 1.5, 10**9, [[]], ["a"], [0.1], np.zeros(3), np.zeros((2, 3)),
    np.zeros((2, 2, 2)), np.array([None]), np.full(8, np.nan), slice(None), np.ones((1, 8), dtype=complex),
]  # fmt: skip


@cache
def problems():
    """Return a problem of each kind."""
    it = fuzz_tables.here()
    own = sc.FunctionProblem(np.zeros(2), it.metrics, it.oracle)
    return it.problem, own, sc.FunctionProblem.from_casadi(it.x, it.x.T @ it.x, it.x - 1, np.zeros(2))


def of_problem(problem):
    """Return the methods of every problem, with arguments that are right."""
    theta, m, block = problem.theta_initial, problem.varies.size, problem.blocks(1)[0]
    return {
        "evaluate": {"theta": theta},
        "metrics": {"theta": theta},
        "objective": {"theta": theta},
        "gradient": {"theta": theta},
        "sample": {"thetas": theta[None]},
        "blocks": {"columns": 3},
        "differences": {"thetas": theta[None], "g": np.zeros(m), "sigma": 1e-3, "block": block},
        "jacobian": {"theta": theta, "D": np.eye(theta.size), "block": block},
        "lagrangian_gradients": {"thetas": theta[None], "multipliers": np.ones(m), "curvatures": np.ones(m)},
        "gauss_newton": {"theta": theta},
        "spectral_radius": {"theta": theta},
        "find_fixed": {"g": np.zeros(m)},
        "in_bounds_units": {"g": np.zeros(m)},
        "metric_label": {"index": 0},
        "remedy": {"index": 0},
    }


def of_loop(problem):
    """Return what a problem with a plant has besides."""
    batch, theta = problem.scenarios, problem.theta_initial
    multipliers = np.ones((batch.count, problem.rows_per_scenario))
    return {
        "evaluate_scenarios": {"theta": theta, "scenarios": batch},
        "scenario_gradients": {"theta": theta, "scenarios": batch, "multipliers": multipliers},
        "contraction_limits": {"scenarios": batch},
        "rests": {"scenarios": batch},
        "trajectories": {"theta": theta, "scenarios": batch},
        "with_scenarios": {"scenarios": batch, "theta_initial": theta},
    }


def of_parts():
    """Return methods of what problems are made of, and of what comes of them."""
    it = fuzz_tables.here()
    loop, declared, row = it.controlled, it.batch.declared, it.result.history.rows[0]
    return [
        (it.policy, "__call__", {"x": [0.1, 0.1], "theta": it.theta}),
        (it.policy, "commands", {"x": np.zeros((1, 2, 2)), "thetas": it.theta[None]}),
        (it.policy, "theta_initial", {"seed": 0}),
        (loop, "__call__", {"x": np.zeros(loop.plant.nx), "theta": np.zeros(loop.theta_dim)}),
        (loop, "parameters", {"theta": np.zeros(loop.theta_dim)}),
        (it.backup, "level", {"x": [0.1, 0.1], "x_eq": [0.0, 0.0]}),
        (it.batch, "part", {"which": slice(0, 1)}),
        (it.batch, "and_then", {"others": it.batch}),
        (declared, "random", {"first": 0, "count": 2, "seed": 1}),
        (declared, "spread", {"count": 2, "seed": 1}),
        (declared, "edge", {"count": 2, "seed": 1}),
        (declared, "cloud", {"count": 2}),
        (declared, "place", {"numbers": np.full((1, declared.columns), 0.5)}),
        (it.result, "simulate", {"x0": [0.1, 0.1], "steps": 2}),
        (it.result, "policy", {"x": [0.1, 0.1]}),
        (it.result.history, "column", {"name": "margin"}),
        (type(it.result.history)(row.theta.size), "append", {"trial": row}),
        (it.plant, "replace", {"x_min": it.plant.x_min, "x_labels": ("a", "b")}),
        (it.objective, "of_sizes", {"nx": 2, "nu": 1}),
        (it.objective, "check_fit", {"plant": it.plant}),
        (it.adapter, "command", {"x": [0.1, 0.1]}),
    ]


@cache
def table():
    """Return methods by name, with arguments that are right."""
    found = [(one, name, right) for one in problems() for name, right in of_problem(one).items()]
    found += [(problems()[0], name, right) for name, right in of_loop(problems()[0]).items()]
    return {f"{type(one).__name__}.{name}": (getattr(one, name), right) for one, name, right in found + of_parts()}


@pytest.mark.parametrize("part", range(6))
def test_wrong_arguments_are_answered_in_words(part):
    for name, (call, right) in [*table().items()][part::6]:
        assert fuzz_calls.faults(call, right) == [], name
        for key in right:
            for wrong in WRONG:
                assert fuzz_calls.faults(call, right | {key: wrong}) == [], (name, key, fuzz_calls.summary(wrong))


@pytest.mark.parametrize("name", ["evaluate", "metrics", "objective", "gradient", "sample", "lagrangian_gradients"])
def test_wrong_shapes_are_named_with_the_right_ones(name):
    for problem in problems():
        key, right = next(iter(of_problem(problem)[name].items()))
        rest = {k: v for k, v in of_problem(problem)[name].items() if k != key}
        d = problem.theta_dim
        for wrong in (np.zeros(d + 1), np.zeros((1, d + 1)), np.zeros((1, 1, d))):
            with pytest.raises(DimensionError, match=rf"^{key} has shape .*{d}"):
                getattr(problem, name)(**{key: wrong}, **rest)
        if name != "lagrangian_gradients" or problem.has_derivatives:  # what converts is taken
            lists, arrays = (getattr(problem, name)(**{key: one}, **rest) for one in (right.tolist(), right))
            assert repr(lists) == repr(arrays)


def test_methods_of_the_users_own_problems_are_checked_too():
    class Own(sc.Problem):
        varies = np.ones(1, dtype=bool)

        def _metrics(self, thetas):
            return thetas[:, :1] - 1.0

        def _value(self, theta):
            return float(theta @ theta)

        def _gradient(self, theta):
            return 2 * theta

        def sample(self, thetas):
            return self._metrics(thetas)

    own = Own([0.0, 0.0])
    with pytest.raises(DimensionError, match="thetas has shape"):
        own.sample(np.zeros(3))
    with pytest.raises(sc.ScpoError, match="theta"):
        own.evaluate("x")
    assert own.evaluate([1.0, 1.0])[0] == 2.0


def test_objects_are_found_in_sets_and_compared():
    it = fuzz_tables.here()
    for one in (it.plant, it.backup, it.policy, it.controlled, it.controlled.controller, it.batch, it.result):
        assert one in {one}
        assert one != copy.deepcopy(one)
