"""Bounds of a plant's second derivatives on boxes, by intervals, for smoothness constants that hold provably."""

import casadi as ca
import numpy as np

from scpo_ctrl.adaptation.policy_bounds import spectral_norm
from scpo_ctrl.invariance.intervals import Enclosure, Interval, magnitude
from scpo_ctrl.models import Plant


class PlantBounds:
    """A plant along trajectories; states count in units of `scale`, inputs in one `unit`, in all norms.

    Parameters
    ----------
    plant : Plant
    scale : numpy.ndarray, shape (nx,)
        [x_units]
    unit : float
        [u_units]
    """

    def __init__(self, plant: Plant, scale: np.ndarray, unit: float) -> None:
        self.plant, self.scale, self.unit = plant, scale, unit
        eta, units = ca.vertcat(plant.x, plant.u), ca.diag(ca.DM(np.append(scale, np.full(plant.nu, unit))))
        rows = [units @ ca.hessian(plant.f[i], eta)[0] @ units / scale[i] for i in range(plant.nx)]
        bends = ca.Function("bends", [ca.vertcat(eta, plant.p)], ca.cse([ca.densify(row) for row in rows]))
        self._bends = Enclosure(bends)
        slopes = [ca.densify(ca.jacobian(plant.f, by)) for by in (plant.x, plant.u)]
        self._step = ca.Function("step", [plant.x, plant.u, plant.p], [plant.f, *map(ca.vec, slopes)])

    def at(self, x: np.ndarray, v: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the next states and their derivatives.

        Parameters
        ----------
        x : numpy.ndarray, shape (S, nx)
        v : numpy.ndarray, shape (S, nu)
        p : numpy.ndarray, shape (S, np)

        Returns
        -------
        following : numpy.ndarray, shape (S, nx)
        A : numpy.ndarray, shape (S, nx, nx)
        B : numpy.ndarray, shape (S, nx, nu)
        """
        following, *slopes = (part.full().T for part in self._step.map(len(x))(x.T, v.T, p.T))
        A, B = (part.reshape(len(x), -1, self.plant.nx).swapaxes(1, 2) for part in slopes)
        return following, A, B

    def curvature(self, x: np.ndarray, v: np.ndarray, p: np.ndarray, e: np.ndarray, dv: np.ndarray) -> np.ndarray:
        """Bound the norm of the second derivative, a bilinear map, near points.

        Parameters
        ----------
        x : numpy.ndarray, shape (S, nx)
        v : numpy.ndarray, shape (S, nu)
        p : numpy.ndarray, shape (S, np)
        e : numpy.ndarray, shape (S,)
            How far other states are from x at most, scaled.
        dv : numpy.ndarray, shape (S,)
            How far other inputs are from v at most.

        Returns
        -------
        numpy.ndarray, shape (S,)
            Infinite where nothing is known.
        """
        off = np.hstack([e[:, None] * self.scale, np.repeat(dv[:, None], self.plant.nu, axis=1), np.zeros_like(p)])
        point = np.hstack([x, v, p])
        off += 1e-12 * (np.abs(point) + off)  # what the sums have rounded, and more
        entries = [magnitude(part) for part in self._bends(Interval(point - off, point + off))]
        return np.asarray(np.sqrt(np.sum(spectral_norm(np.stack(entries, axis=1)) ** 2, axis=1)))
