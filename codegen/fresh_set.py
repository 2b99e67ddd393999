"""The declared set as C has it, which audits on the device draw fresh points from (E12)."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.problem.control_problem import ControlProblem

_FAR = 3e38  # where a state has no bound; a number of both types
# Of the largest V: below it a type does not tell contraction from rounding. In float a thousandth of the set's size.
_RESOLVED = {"float": 2.0**-20, "double": 2.0**-64}


@dataclass(frozen=True)
class AuditSizes:
    """Sizes of audits and of S that may be set before compiling: macros of scpo_adapt_config.h."""

    points: int = 4000  # of an audit: half of them uniform in the set, half on its edges
    first: int = 32  # commits until the first audit, and a quarter of it the least between two
    most: int = 64  # commits between two
    guards: int = 48  # points that steps are verified at beside the scenarios
    edges: int = 16  # of these, to begin with
    taken: int = 6  # counterexamples of an audit that join them, at most
    step_rollouts: int = 72  # pieces of verifications, after which a step has no other try
    back_off: float = 0.01  # b of (E12), in the units of metrics


AUDIT = AuditSizes()


def least_between(first: int) -> int:
    """Return how many commits are between two audits at least, from how many there are before the first."""
    return (first + 3) // 4


@dataclass(frozen=True)
class FreshSet:
    """A declared set: an image of the unit ball around centres, or a box, with ranges and half widths."""

    centres: np.ndarray  # (k, nx)
    shape: np.ndarray  # (nx, nx) from the unit ball, or from [-1, 1]^nx
    box: bool
    low: np.ndarray  # (nx,) it is cut to these
    high: np.ndarray
    half: np.ndarray  # (nx,) half widths of the disturbance; (0,): none
    fixed: float  # part of it that is constant over time
    rate: float  # γ of (E8)
    floor: float  # c of (E8), in parts of ρ


def no_audits(problem: ControlProblem) -> str | None:
    """Return why a device cannot audit what it commits on a problem, in words; None where it can.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    str or None
    """
    declared = problem.scenarios.declared
    reasons = (
        (declared is None or not declared.has_interior, "the scenarios are no points of a declared set"),
        (problem.one_step is not None, "the problem has conditions on one step, which audits there do not draw"),
        (problem.rests(problem.scenarios) is not None, "the plant's parameters move its equilibrium"),
    )
    return next((reason for there, reason in reasons if there), None)


def fresh_set(problem: ControlProblem, real: str) -> FreshSet | None:
    """Return the declared set of a problem as C has it; None where a device cannot audit on it.

    Parameters
    ----------
    problem : ControlProblem
    real : str
        "float" or "double".

    Returns
    -------
    FreshSet or None
    """
    declared, plant, options = problem.scenarios.declared, problem.plant, problem.scenario_metrics.options
    if no_audits(problem) is not None or declared is None:
        return None
    if declared.box is not None:
        low, high = declared.box
        centres, shape = (low + high)[None] / 2, np.diag((high - low) / 2)
    else:
        unit, root = declared.backup.shape
        low, high, centres = plant.x_min, plant.x_max, declared.centres
        shape = declared.size * unit[:, None] * root
    rate, z = options.contraction or 0.0, problem.scenarios.x0 - plant.x_eq
    largest = np.max(np.sum(z @ problem.policy.backup.P * z, axis=1)) / problem.policy.backup.rho
    return FreshSet(
        centres=centres,
        shape=shape,
        box=declared.box is not None,
        low=np.clip(low, -_FAR, _FAR),
        high=np.clip(high, -_FAR, _FAR),
        half=declared.half,
        fixed=declared.fixed,
        rate=rate,
        floor=max(options.contraction_floor, rate * _RESOLVED[real] * largest),
    )
