"""Problems and objectives with arguments that are right, for `fuzz_tables`."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import casadi as ca
import numpy as np

import scpo_ctrl as sc

Call = tuple[Callable[..., Any], dict[str, Any]]


def of_problems(it: SimpleNamespace) -> dict[str, Call]:
    """Return control problems and what they are made of."""
    return {
        "MetricOptions": (
            sc.MetricOptions,
            {
                "path": True,
                "command": True,
                "terminal": False,
                "contraction": 0.5,
                "contraction_floor": 0.01,
                "stability": True,
                "constraints": [sc.Constraint(name="c", expression=it.plant.x[0], bound=9.0)],
                "du_max": [0.5],
            },
        ),
        "Constraint": (
            sc.Constraint,
            {"name": ("c",), "expression": it.plant.x[0], "bound": [9.0], "unit": "m", "scale": [2.0]},
        ),
        "Cost": (
            sc.Cost,
            {"stage": it.plant.x[0] ** 2, "terminal": it.plant.x[1], "least_squares": False, "R_du": [0.1]},
        ),
        "ControlProblem": (
            sc.ControlProblem,
            {
                "policy": it.policy,
                "scenarios": it.batch,
                "objective": it.objective,
                "metrics": sc.MetricOptions(),
                "seed": 0,
                "simulator": lambda x, u, _p: 0.5 * x + 0 * u,
            },
        ),
        "ControlProblem.metrics": (it.problem.metrics, {"theta": it.theta}),
        "ControlProblem.objective": (it.problem.objective, {"theta": it.theta}),
        "ControlProblem.gradient": (it.problem.gradient, {"theta": it.theta}),
        "ControlProblem.with_scenarios": (
            it.problem.with_scenarios,
            {"scenarios": it.batch, "theta_initial": it.theta},
        ),
        "ControlProblem.trajectories": (it.problem.trajectories, {"theta": it.theta, "scenarios": it.batch}),
        "ControlProblem.spectral_radius": (it.problem.spectral_radius, {"theta": it.theta}),
        "ControlProblem.metric_label": (it.problem.metric_label, {"index": 0}),
        "History.column": (it.result.history.column, {"name": "margin"}),
    }


def of_objectives(it: SimpleNamespace) -> dict[str, Call]:
    """Return objectives, and problems of functions."""
    own = sc.FunctionProblem(np.zeros(2), it.metrics, it.oracle)
    return {
        "FunctionProblem.metric_label": (own.metric_label, {"index": 0}),
        "FunctionProblem": (
            sc.FunctionProblem,
            {"theta_initial": [0.0, 0.0], "metrics": it.metrics, "objective": it.oracle, "labels": ("a", "b")},
        ),
        "FunctionProblem.from_casadi": (
            sc.FunctionProblem.from_casadi,
            {"theta": it.x, "objective": ca.sumsqr(it.x), "metrics": it.x - 1, "theta_initial": [0.0, 0.0]},
        ),
        "FunctionProblem.metrics": (own.metrics, {"theta": [0.0, 0.0]}),
        "Imitation": (sc.Imitation, {"x": [[0.1, 0.2]], "u": [[0.1]]}),
        "Quadratic": (
            sc.Quadratic,
            {"Q": [[1.0, 0.1], [0.1, 0.1]], "R": [0.05], "P_N": [1.0, 1.0], "R_du": [0.1]},
        ),
        "UserObjective": (sc.UserObjective, {"function": it.oracle.function}),
        "UserObjective.from_casadi": (sc.UserObjective.from_casadi, {"theta": it.x, "expression": ca.sumsqr(it.x)}),
        "UserObjective.oracle": (it.oracle.oracle, {"theta": np.zeros(2)}),
    }
