"""Checks of what the methods of a problem are given: arrays of the right shape are passed on as they are."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.doors import Check, array, checked, stack, whole
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.messages import shown
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_count, as_scalar


@dataclass(frozen=True)
class Block:
    """A part of the metric vector that is sampled at once."""

    metrics: slice
    scenarios: slice | None  # the same part of the scenarios; None for metrics of none
    linear: bool = False  # whether the metrics are linear in θ: sampled they have exact gradients, and L = 0


def _point(problem: Any, name: str, value: Any) -> np.ndarray:
    return array(name, value, (problem.theta_dim,))


def _stack(problem: Any, name: str, value: Any) -> np.ndarray:
    return array(name, value, (None, problem.theta_dim))


def _directions(problem: Any, name: str, value: Any) -> np.ndarray | None:
    return None if value is None else _stack(problem, name, value)


def _of_metrics(problem: Any, name: str, value: Any) -> np.ndarray:
    return array(name, value, (problem.varies.size,))


def _stack_of_metrics(problem: Any, name: str, value: Any) -> np.ndarray:
    return stack(name, value, problem.varies.size)


def _of_metrics_or_none(problem: Any, name: str, value: Any) -> np.ndarray | None:
    return None if value is None else _of_metrics(problem, name, value)


def _rows(_problem: Any, name: str, value: Any) -> np.ndarray:
    return array(name, value, (None, None))


def _index(problem: Any, name: str, value: Any) -> int:
    return as_count(name, value, at_most=problem.varies.size - 1)


def _radius(_problem: Any, name: str, value: Any) -> float:
    return as_scalar(name, value, above=0.0)


def _block(problem: Any, name: str, value: Any) -> Any:
    as_instance(name, value, Block)
    if not isinstance(value.metrics, slice):
        raise DomainError(f"{name} has metrics {shown(value.metrics)}, expected a slice; blocks(columns) gives blocks")
    return value


def _scenarios(_problem: Any, name: str, value: Any) -> Scenarios:
    as_instance(name, value, Scenarios)
    found: Scenarios = value
    return found


_CHECKS: dict[str, dict[str, Check]] = {
    "evaluate": {"theta": _point},
    "sample": {"thetas": _stack},
    "blocks": {"columns": whole(at_least=1)},
    "differences": {"thetas": _stack, "g": _of_metrics, "sigma": _radius, "block": _block},
    "jacobian": {"theta": _point, "D": _directions, "block": _block},
    "lagrangian_gradients": {"thetas": _stack, "multipliers": _of_metrics, "curvatures": _of_metrics_or_none},
    "gauss_newton": {"theta": _point},
    "spectral_radius": {"theta": _point},
    "find_fixed": {"g": _of_metrics},
    "in_bounds_units": {"g": _stack_of_metrics},
    "metric_label": {"index": _index},
    "remedy": {"index": _index},
    "evaluate_scenarios": {"theta": _point, "scenarios": _scenarios},
    "scenario_gradients": {"theta": _point, "scenarios": _scenarios, "multipliers": _rows},
    "contraction_limits": {"scenarios": _scenarios},
    "rests": {"scenarios": _scenarios},
}


class Checked:
    """Base of a class whose methods of these names check what they are given, also where a subclass writes its own."""

    def __init_subclass__(cls, **others: Any) -> None:
        super().__init_subclass__(**others)
        for name, checks in _CHECKS.items():
            if inspect.isfunction(vars(cls).get(name)):
                setattr(cls, name, checked(**checks)(vars(cls)[name]))
