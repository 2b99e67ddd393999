"""Whether the loop of a run is stable at rest: at corners of the parameter ranges, and at points inside them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.in_units import local_stability

CORNERS = "the largest at nominal parameters and the corners of their ranges"


@lru_cache(maxsize=1)  # a page asks several times
def worst_inside(result: Result) -> tuple[float, str]:
    """Return the largest spectral radius of the final loop at points inside the parameter ranges.

    Parameters
    ----------
    result : Result

    Returns
    -------
    radius : float
        Zero where no parameter has a range, or a black box would be called; infinite without an equilibrium.
    where : str
        For which parameters, in words.
    """
    problem = result.problem
    if not isinstance(problem, ControlProblem) or problem.has_simulator:
        return 0.0, ""
    corners = local_stability(problem.policy, problem.scenarios, Units.of(problem.plant), None)
    if corners.count < 2:
        return 0.0, ""
    inside = corners.inside()
    radii = inside.spectral_radii(result.theta)
    worst = int(np.argmax(radii))
    return float(radii[worst]), inside.where(worst).removeprefix(" ")


def is_stable(result: Result) -> bool:
    """Return whether the final loop is stable at rest for all parameters that were looked at, as far as it is modelled.

    Parameters
    ----------
    result : Result

    Returns
    -------
    bool
    """
    radius = result.problem.spectral_radius(result.theta)
    return radius is None or (radius < 1 and worst_inside(result)[0] < 1)
