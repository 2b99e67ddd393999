"""All that the templates of an exported controller may read."""

from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.codegen.common import Common, common
from scpo_ctrl.codegen.law import Law, law_of
from scpo_ctrl.codegen.literals import literal, rounded
from scpo_ctrl.codegen.sequences import Sequences, sequences
from scpo_ctrl.codegen.targets import Target
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.models.signals import Signal

_FORGETS = 1e-3  # a memory that keeps its value for ever counts as one that loses this part of it in a step


@dataclass(frozen=True, kw_only=True)
class ControllerContext(Common):
    """What is exported: the law of a controller, its numbers, its target, and the vectors."""

    law: Law
    theta: np.ndarray  # (d,) [theta_units] after adaptation
    theta_backup: np.ndarray  # (d,) [theta_units] before it
    reference: np.ndarray  # (nr,) [r_units] that the run was made for, at first
    moves: tuple[tuple[str, float, float] | None, ...]  # (nr,) of those that varied the kind, and between what
    u_min: np.ndarray  # (nu,) rounded inwards
    u_max: np.ndarray  # (nu,) rounded inwards
    u_min_exact: np.ndarray  # (nu,)
    u_max_exact: np.ndarray  # (nu,)
    u_rest: np.ndarray  # (nu,) equilibrium input within its bounds
    memory_initial: np.ndarray  # (nm,)
    memory_min: np.ndarray  # (nm,) rounded inwards
    memory_max: np.ndarray  # (nm,) rounded inwards
    memory_min_exact: np.ndarray  # (nm,)
    memory_max_exact: np.ndarray  # (nm,)
    memory_weight: np.ndarray  # (nm,) how far each moves for a bumpless start, squared, the farthest 1
    sequences: Sequences

    def fields(self) -> dict[str, Any]:
        """Return everything by name, and the arguments that functions of C have: those of which the law has any."""
        there = [("theta", True), ("y", True), ("r", bool(self.law.r)), ("memory", bool(self.law.memory))]
        return super().fields() | {"arguments": [name for name, has in there if has]}


def make_controller_context(
    result: Result, policy: ControllerPolicy, target: Target, real: str, prefix: str
) -> ControllerContext:
    """Collect what the export of a controller needs.

    Parameters
    ----------
    result : Result
        Of a `ControlProblem` under this policy.
    policy : ControllerPolicy
    target : Target
    real : str
        "float" or "double".
    prefix : str
        Of every name in the C code.

    Returns
    -------
    ControllerContext

    Raises
    ------
    DomainError
        If a number does not fit the type, or the law has an operation for which there is no C.
    """
    controller, plant = policy.controller, policy.plant
    nu = controller.command.numel()
    exact = np.array(list(policy.parameters(result.theta).values()))
    theta, backup = (_within_bounds(controller, of, real) for of in (exact, controller.theta_initial))
    for label, value in zip(
        controller.theta_labels, np.maximum(np.abs(exact), np.abs(controller.theta_initial)), strict=True
    ):
        _check(f"parameter {label}", float(value), real)
    u_min, u_max = _inwards("u", plant.u_labels, plant.u_min[:nu], plant.u_max[:nu], real)
    low, high = _inwards("memory", controller.memory_labels, controller.memory_min, controller.memory_max, real)
    as_run = _as_run(policy, theta)
    moves = tuple((of.kind, *of.reach) if isinstance(of, Signal) else None for of in policy.reference_by_label.values())
    values: dict[str, Any] = {
        "theta": theta,
        "theta_backup": backup,
        "reference": np.array([rounded(value, real) for value in policy.reference]),
        "u_min": u_min,
        "u_max": u_max,
        "u_min_exact": plant.u_min[:nu],
        "u_max_exact": plant.u_max[:nu],
        "u_rest": np.clip([rounded(value, real) for value in plant.u_eq[:nu]], u_min, u_max),
        "memory_initial": np.clip([rounded(value, real) for value in controller.memory_initial], low, high),
        "memory_min": low,
        "memory_max": high,
        "memory_min_exact": controller.memory_min,
        "memory_max_exact": controller.memory_max,
        "memory_weight": _weight(policy, result.theta),
        "law": law_of(policy, real, prefix),
    }
    margin, hashed = margin_of(result.everywhere.metrics(as_run)), values | {"dt": plant.dt}
    shared = common(result, target, real, prefix, margin, hashed | ({"moves": moves} if any(moves) else {}))
    return ControllerContext(**shared, **values, moves=moves, sequences=sequences(policy, theta, real))


def _within_bounds(controller: Controller, exact: np.ndarray, real: str) -> np.ndarray:
    """Return parameters as a target stores them: the nearest numbers, those next to them where these leave a bound."""
    found = []
    for value, low, high in zip(exact, controller.theta_min, controller.theta_max, strict=True):
        inside = min(max(value, low), high)  # a run keeps bounds but for rounding
        nearest = rounded(inside, real)
        towards = -np.inf if nearest > high else np.inf if nearest < low else None
        found.append(nearest if towards is None else rounded(inside, real, towards))
    return np.array(found)


def _as_run(policy: ControllerPolicy, theta: np.ndarray) -> np.ndarray:
    """Return a controller's parameters as θ of the run, rounded so that they leave no bound which they keep."""
    of, scale = policy.controller, np.array(policy.scale)
    found = (theta - of.theta_initial) / scale
    for _ in range(2):  # of roundings
        own = of.theta_initial + scale * found
        out = (own > of.theta_max) & (theta <= of.theta_max), (own < of.theta_min) & (theta >= of.theta_min)
        found = found - (out[0].astype(float) - out[1]) * np.spacing(np.abs(own)) / scale
    return np.asarray(found)


def _check(what: str, value: float, real: str) -> None:
    try:
        literal(value, real)
    except DomainError as error:
        raise DomainError(f"{what}: {error}") from error


def _inwards(
    key: str, labels: tuple[str, ...], low: np.ndarray, high: np.ndarray, real: str
) -> tuple[np.ndarray, np.ndarray]:
    """Round bounds so that none grows."""
    least = np.array([rounded(bound, real, np.inf) for bound in low])
    most = np.array([rounded(bound, real, -np.inf) for bound in high])
    for i in np.flatnonzero(~(least < most)):
        raise DomainError(f"the bounds of {key} {labels[i]} coincide in {real}; export with real = 'double'")
    for i in np.flatnonzero(~np.isfinite(least + most)):
        raise DomainError(f"the bounds of {key} {labels[i]} are out of the range of {real}; choose other units")
    return least, most


def _weight(policy: ControllerPolicy, theta: np.ndarray) -> np.ndarray:
    """Return how far each memory moves for a bumpless start: the more, the longer it keeps its value.

    An integral moves, a filter that forgets stays: what the start adds to it would be gone after a few steps.
    """
    nu, nm = policy.controller.command.numel(), policy.controller.memories
    if not nm:
        return np.zeros(0)
    s, p = ca.SX.sym("s", policy.plant.nx), ca.DM(policy.plant.p_nominal)
    slope = ca.Function("slope", [s], [ca.densify(ca.jacobian(policy.command(s, ca.DM(theta), p)[nu:], s))])
    kept = np.array(slope(policy.plant.x_eq))[:, -nm:]
    width = policy.controller.memory_max - policy.controller.memory_min
    far = width / (_FORGETS + np.abs(1 - np.nan_to_num(np.diag(kept), nan=0.0)))
    return np.asarray(np.maximum((far / far.max()) ** 2, 1e-20))
