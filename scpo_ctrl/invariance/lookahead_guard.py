"""The guard (E9) that looks ahead: an input passes where the backup brings the next state back into its level set.

The set that is kept is that of all states from which the backup, cut to its bounds, runs N steps inside all bounds of
the state and ends in {V ≤ ρ}. From such a state a step of the backup leads to another: the last N - 1 states are the
same, and {V ≤ ρ} is kept. So an input passes if the next state is one of them, and the backup may follow at any time.
"""

from dataclasses import dataclass, field, fields
from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.guard import Guard
from scpo_ctrl.invariance.jacobians import SLACK


@dataclass(frozen=True)
class LookaheadGuard(Guard):
    """Whether the backup brings a next state into {V ≤ ρ} within some steps, inside all bounds."""

    steps: int = field(kw_only=True)

    @property
    def set_name(self) -> str:
        """What is kept, in words."""
        return f"what the backup brings into its level set in {self.steps} steps"

    @cached_property
    def ahead(self) -> ca.Function:
        """The function ``z -> level`` of states: V at the end, and how far states are towards bounds before, at most 1.

        Squared, so that V and bounds count alike near 1; with a slack for rounding.
        """
        plant, z = self.plant, ca.SX.sym("z", self.plant.nx)
        rooms = np.concatenate([plant.x_max - plant.x_eq, plant.x_eq - plant.x_min])
        bounded = np.flatnonzero(np.isfinite(rooms)).tolist()
        step = self._step()
        at, worst = z, []
        for _ in range(self.steps):
            both = ca.vertcat(at, -at) / ca.DM(np.where(np.isfinite(rooms), rooms, 1.0))
            worst += [ca.fmax(both[i], 0) ** 2 / (1 - SLACK) for i in bounded]
            at = step(at)
        worst.append(self.squared(self.root, at) / (1 - SLACK))
        return ca.Function("ahead", [z], [ca.mmax(ca.vertcat(*worst))])

    def _step(self) -> ca.Function:
        """Return the function ``z -> z⁺`` under the backup, cut to its bounds."""
        plant, z = self.plant, ca.SX.sym("z", self.plant.nx)
        u = ca.fmin(ca.fmax(ca.DM(plant.u_eq) - ca.DM(self.K) @ z, ca.DM(plant.u_min)), ca.DM(plant.u_max))
        return ca.Function("step", [z], [self.following(z + ca.DM(plant.x_eq), u, ca.DM(self.points[0]))])

    def near(self) -> None:
        """Return no condition: those of the level set would be too strict."""

    def holds(self, z: np.ndarray) -> np.ndarray:
        """Return which states are in the set; see `Guard.holds`."""
        flat = z.reshape(-1, z.shape[-1])
        if not len(flat):
            return np.zeros(z.shape[:-1], dtype=bool)
        return np.asarray(np.array(self.ahead.map(len(flat))(flat.T)).reshape(z.shape[:-1]) <= 1 + SLACK)

    def level(self, x: ca.SX, u: ca.SX, p: ca.SX) -> ca.SX:
        """Return what `ahead` is of the next state; see `Guard.level`."""
        return self.ahead(self.following(x, u, p))


def looking_ahead(guard: Guard, steps: int) -> LookaheadGuard:
    """Return the guard that looks ahead of a level set's.

    Parameters
    ----------
    guard : Guard
        With its proof, of a plant at fixed parameters without disturbances.
    steps : int
        N ≥ 1.

    Returns
    -------
    LookaheadGuard

    Raises
    ------
    DomainError
        If a parameter has a range, or there are disturbances: between corners nothing would be proved.
    """
    plant = guard.plant
    if len(guard.points) > 1 or guard.half.any() or guard.between + guard.pushed > 0:
        raise DomainError(
            f"lookahead is of a model without ranges of parameters and without disturbances, and plant {plant.name!r} "
            'has such here: of a linear plant guard the polytope (within = "polytope"), which holds all that a '
            "lookahead lets pass; of others the level set"
        )
    return LookaheadGuard(**{part.name: getattr(guard, part.name) for part in fields(Guard)}, steps=steps)
