"""How much of every bound the scenarios of a run reach: what is said of the run is said of that part."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.trajectories import Limited, bound_use, limited, memories

_SLIVER = 0.05  # of a bound: less is pointed out
_MOST = 6  # names in a line for a terminal


@dataclass(frozen=True)
class Reach:
    """The part of the way from rest to a bound that trajectories go, at most; 1 at the bound, 0 without one."""

    name: str
    is_state: bool
    before: float  # under the backup
    after: float  # under the final policy
    said: str = ""  # of a constraint: how large it becomes, of its bound [unit]

    @property
    def either(self) -> float:
        """Under the one that goes further."""
        return max(self.before, self.after)


def reach(result: Result) -> list[Reach]:
    """Return how much of each bound a run's own scenarios use: states, inputs, memories, then constraints.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of Reach
        Empty where the problem has no plant.
    """
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        return []
    parts = [_used(problem, theta) for theta in (result.theta_initial, result.theta)]
    plant, nm = problem.plant, memories(problem)
    names = [*plant.x_labels[: plant.nx - nm], *plant.u_labels[: plant.nu - nm], *plant.x_labels[plant.nx - nm :]]
    states = [True] * (plant.nx - nm) + [False] * plant.nu
    of_bounds = [Reach(*row) for row in zip(names, states, *parts, strict=True)]
    return of_bounds + [used for _, used in limits_reached(result)]


def limits_reached(result: Result) -> list[tuple[Limited, Reach]]:
    """Return how much of each constraint, and of each limit of an input's change, a run's own scenarios use.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of tuple
        What it is along the trajectories of the final policy, and how much they use; empty where there is none.
    """
    problem = result.problem
    if not isinstance(problem, ControlProblem) or problem.scenario_metrics.steps is None:
        return []
    p = problem.scenarios.p
    before, after = (limited(problem, p, *problem.trajectories(at)) for at in (result.theta_initial, result.theta))
    return [(b, Reach(b.name, False, a.used, b.used, _said(b))) for a, b in zip(before, after, strict=True)]


def reach_lines(result: Result) -> list[str]:
    """Return the same in lines for a terminal, with a note for each state that hardly leaves its rest.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of str
    """
    found = [one for one in reach(result) if one.either > 0 and not _on_its_way(result, one)]
    if not found:
        return []
    closest = sorted(found, key=lambda one: -one.after)[:_MOST]
    said = ", ".join(f"{one.name} {one.said or _percent(one.after)}" for one in closest)
    slivers = [one for one in found if one.is_state and one.either < _SLIVER][:_MOST]
    return [
        f"reach      of the bounds, on the run's scenarios: {said}",
        *(
            f"note       {one.name} reaches {_percent(one.either)} of its bounds: the run says nothing of the rest; "
            "raise the level, or declare a box or initial states"
            for one in slivers
        ),
    ]


def _used(problem: ControlProblem, theta: np.ndarray) -> list[float]:
    """Return the part of each bound that a policy uses: states, inputs, memories."""
    plant, nm = problem.plant, memories(problem)
    X, U = problem.trajectories(theta)
    of_x = bound_use(X, plant.x_min, plant.x_max, plant.x_eq)
    of_u = bound_use(np.clip(U, plant.u_min, plant.u_max), plant.u_min, plant.u_max, plant.u_eq)
    return [*of_x[: plant.nx - nm].tolist(), *of_u.tolist()]


def _on_its_way(result: Result, one: Reach) -> bool:
    """Whether it is a state of a dead time, which repeats an input."""
    labels = result.problem.plant.u_labels if isinstance(result.problem, ControlProblem) else ()
    return one.is_state and any(one.name.startswith(f"{label} applied ") for label in labels)


def _said(one: Limited) -> str:
    """Return the largest value along the trajectories beside the bound, of a change its largest size."""
    values = one.values[np.isfinite(one.values)]
    largest = float((np.abs(values) if np.isfinite(one.low) else values).max(initial=-np.inf))
    return f"{largest:.3g} of {one.high:.3g} {one.unit}".rstrip()


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %" if part < 0.995 else "100 %"
