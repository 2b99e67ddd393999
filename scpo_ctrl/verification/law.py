"""What a RUN folder says of its policy, for its verification: a law of the loop's state, and the level set of it."""

from typing import Any, Protocol

import casadi as ca
import numpy as np

from scpo_ctrl.models import Plant
from scpo_ctrl.verification.written import Written


class Law(Protocol):
    """The policy of a record, written again from the definitions in docs/method.md."""

    plant: Plant  # of the loop: with what a controller remembers among states and inputs
    K: np.ndarray  # (nu, nx) gain at rest
    P: np.ndarray  # (nx, nx) of V
    rho: float  # level of V
    largest_rho: float  # inside all bounds
    rests_whatever_theta: bool  # whether no policy moves a loop that is at its equilibrium
    written: Written  # constraints and cost of the loop

    @property
    def bounds(self) -> int:
        """How many bounds parameters have."""
        ...

    def command(self, thetas: np.ndarray, z: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return commands before saturation.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (C, d)
        z : numpy.ndarray, shape (C, k, nx)
            Deviations from the equilibrium.
        p : numpy.ndarray, shape (k, np)
            Plant parameters.

        Returns
        -------
        numpy.ndarray, shape (C, k, nu)
        """
        ...

    def near(self, theta: np.ndarray | None, z: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the command of one policy as if nothing were saturated, and its derivative by the state.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,), or None
            None for the backup.
        z : numpy.ndarray, shape (nx,)
        p : numpy.ndarray, shape (np,)

        Returns
        -------
        command : numpy.ndarray, shape (nu,)
        gain : numpy.ndarray, shape (nu, nx)
        """
        ...

    def backup(self, x: ca.SX, p: ca.SX) -> ca.SX:
        """Return the expression of the backup's command before saturation.

        Parameters
        ----------
        x : casadi.SX, shape (nx, 1)
        p : casadi.SX, shape (np, 1)

        Returns
        -------
        casadi.SX, shape (nu, 1)
        """
        ...

    def beyond(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far parameters are beyond each of their bounds, and the sizes of the numbers behind that.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (C, d)

        Returns
        -------
        beyond, sizes : numpy.ndarray, shape (C, bounds)
        """
        ...

    def level_faults(self) -> list[str]:
        """List what does not hold of the level: inside all bounds, and recorded where it was found by simulation.

        Whether the set is invariant on a nonlinear plant is not searched for again.

        Returns
        -------
        list of str
        """
        ...

    def start_faults(self, theta: np.ndarray, z: np.ndarray) -> list[str]:
        """List where initial parameters are not the backup.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        z : numpy.ndarray, shape (k, nx)
            Deviations at which they are compared.

        Returns
        -------
        list of str
        """
        ...

    def parameter_faults(self, stated: Any, thetas: np.ndarray) -> list[str]:
        """List what is wrong with the parameters that result.json states.

        Parameters
        ----------
        stated : object
            Its key "parameters", None where it has none.
        thetas : numpy.ndarray, shape (2, d)
            Of the first and the last policy.

        Returns
        -------
        list of str
        """
        ...


def largest_level(plant: Plant, P: np.ndarray, K: np.ndarray, x: np.ndarray, u: np.ndarray) -> float:
    """Return the largest level inside all bounds.

    Parameters
    ----------
    plant : Plant
    P, K : numpy.ndarray
        In units of x and u.
    x : numpy.ndarray, shape (nx,)
        [x_units]
    u : numpy.ndarray, shape (nu,)
        [u_units]

    Returns
    -------
    float
    """
    eq = np.append(plant.x_eq, plant.u_eq)
    room = np.minimum(np.append(plant.x_max, plant.u_max) - eq, eq - np.append(plant.x_min, plant.u_min))
    rows = np.vstack([np.eye(plant.nx), K])
    reach = np.einsum("ij,jk,ik->i", rows, np.linalg.inv(P), rows)
    levels = (room / np.append(x, u))[reach > 0] ** 2 / reach[reach > 0]
    return float(np.min(levels))


def outside_faults(rho: float, largest: float) -> list[str]:
    """List that a level is not inside all bounds.

    Parameters
    ----------
    rho, largest : float

    Returns
    -------
    list of str
    """
    if 0 < rho <= largest * (1 + 1e-9):
        return []
    return [f"the level rho = {rho:.6g} leaves the bounds; the largest inside them is {largest:.6g}"]
