"""The guard (E9) of a polytope: an input passes that keeps the next state in it, for all that is in range.

At the points p_k of the parameters it asks F_j (f(x, u, p_k) - x_eq) ≤ 1 - |F_j| h for every facet: between them the
next state is in their hull, but for a rest that h holds as it holds the disturbance (see `polytope`).
"""

from dataclasses import dataclass, field
from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.invariance.guard import Guard
from scpo_ctrl.invariance.intervals import Interval, enclosure, magnitude
from scpo_ctrl.invariance.jacobians import SLACK
from scpo_ctrl.invariance.polytope import Polytope
from scpo_ctrl.models import Plant


@dataclass(frozen=True)
class PolytopeGuard(Guard):
    """Whether a next state stays in a polytope. P and ρ are of the largest level set that the polytope holds."""

    polytope: Polytope = field(kw_only=True)

    @property
    def set_name(self) -> str:
        """What is kept, in words."""
        return f"the polytope of {len(self.polytope.F)} facets"

    @property
    def extent(self) -> np.ndarray:
        """How far the set reaches along each axis, shape (nx,)."""
        return self.polytope.extent

    @cached_property
    def rows(self) -> np.ndarray:
        """The facets, so that what the next state may be at a point is at most 1, shape (m, nx)."""
        F = self.polytope.F
        room = (1 - np.abs(F) @ self.polytope.loop.push) * (1 - SLACK)
        return np.asarray(F / room[:, None])

    @cached_property
    def inner(self) -> np.ndarray:
        """T of a level set {|T z| ≤ 1} of what passes: whoever is in it need not ask the facets, shape (nx, nx)."""
        C = np.linalg.cholesky(self.P)
        reach = float(np.linalg.norm(np.linalg.solve(C, self.rows.T), axis=0).max())
        return np.asarray(C.T * reach * (1 + SLACK))

    @cached_property
    def pushes(self) -> np.ndarray:
        """Bounds of |F_j ∂f/∂u_i| over facets and parameters in range, shape (nu,)."""
        plant = self.plant
        columns = ca.densify(ca.simplify(ca.jacobian(plant.f, plant.u)))
        (found,) = enclosure(
            ca.Function("columns", [plant.p], [columns]), Interval(self.ranges[None, :, 0], self.ranges[None, :, 1])
        )
        return np.asarray((np.abs(self.rows) @ magnitude(found)[0]).max(axis=0))

    def near(self) -> None:
        """Return no condition: there is none here that is cheaper than a next state."""

    def holds(self, z: np.ndarray) -> np.ndarray:
        """Return which states are in the set; see `Guard.holds`."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.polytope.gauge(z) <= 1)

    def surface(self, towards: np.ndarray) -> np.ndarray:
        """Return points of the surface in some directions; see `Guard.surface`."""
        z = super().surface(towards)
        length = np.linalg.norm(towards, axis=1) / self.polytope.gauge(z)
        return np.asarray(z * length[:, None])

    def level(self, x: ca.SX, u: ca.SX, p: ca.SX) -> ca.SX:
        """Return the largest of all facets of the next state at a point, at most 1; see `Guard.level`."""
        return ca.mmax(ca.sparsify(ca.DM(self.rows)) @ self.following(x, u, p))


def polytope_guard(plant: Plant, K: np.ndarray, P: np.ndarray, polytope: Polytope) -> PolytopeGuard:
    """Return the guard of a polytope that a backup is proved to keep.

    Parameters
    ----------
    plant : Plant
        Discrete and linear, without signals.
    K : numpy.ndarray, shape (nu, nx)
    P : numpy.ndarray, shape (nx, nx)
        Of V.
    polytope : Polytope

    Returns
    -------
    PolytopeGuard
    """
    loop, F = polytope.loop, np.abs(polytope.F)
    between, pushed = (float((F @ part).max()) if part.size else 0.0 for part in (loop.between, loop.half))
    rho = polytope.largest_level(P)
    return PolytopeGuard(
        plant, K, P, rho, loop.ranges, loop.half, loop.points, between, pushed, polytope=polytope
    )  # fmt: skip
