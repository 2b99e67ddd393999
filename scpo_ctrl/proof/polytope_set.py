"""The largest polytope that the backup of a problem keeps, for all that its scenarios declare."""

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.jacobians import LevelSet
from scpo_ctrl.invariance.level_set import reached_ranges
from scpo_ctrl.invariance.linear_loop import linear_loop
from scpo_ctrl.invariance.polytope import DECAY, Polytope, largest_polytope
from scpo_ctrl.loop.controlled import residual_policy
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.backup_set import declared_ranges
from scpo_ctrl.validate import as_scalar


def backup_polytope(problem: ControlProblem, *, decay: float = DECAY) -> Polytope:
    """Return the largest polytope inside all bounds that no state leaves under the backup, with its proof.

    Parameters
    ----------
    problem : ControlProblem
        With a residual policy on a backup, a linear plant without signals, and a declared set.
    decay : float
        What a step leaves of the polytope at most, in (0, 1): less of it is a smaller set, with more room for rounding.

    Returns
    -------
    Polytope

    Raises
    ------
    DomainError
        If the plant is none such, or there is no polytope, or none of few facets.
    """
    policy = residual_policy(problem.policy, "a polytope")
    plant, backup = policy.plant, policy.backup
    decay = as_scalar("decay", decay, above=0.0, at_most=np.nextafter(1.0, 0.0))
    if plant.signals:
        raise DomainError(
            "a polytope is of a set about one equilibrium, and signals move it; give a plant without signals"
        )
    ranges, half = declared_ranges(problem)
    level_set = LevelSet.of(backup.P, backup.rho)
    loop = linear_loop(plant, backup.K, level_set, reached_ranges(plant, ranges), half)
    return largest_polytope(plant, backup.K, level_set, loop, decay=decay)
