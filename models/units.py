"""Units: a plant counted in parts of its bounds, so that no number depends on the units that its user chose."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError

if TYPE_CHECKING:
    from scpo_ctrl.models.plant import Plant

_FAR = 1e50  # a bound so many times farther than the inputs' reach is none
_ROUNDING = 8 * np.finfo(float).eps  # of a reach, times the number of states: what is below may be zero


@dataclass(frozen=True)
class Units:
    """What counts as one of each state and each input."""

    x: np.ndarray  # (nx,) [x_units], > 0
    u: np.ndarray  # (nu,) [u_units], > 0

    @classmethod
    def of(cls, plant: "Plant") -> "Units":
        """Return the bounds' half widths, or the distance to the only bound of a state.

        Without any bound it is how far the inputs can push a state within nx steps. All of them scale as states and
        inputs do: in these units a plant has the same numbers whatever its user's units are, up to rounding.

        Parameters
        ----------
        plant : Plant

        Returns
        -------
        Units
        """
        return cls.around(plant, *plant.linearise())

    @classmethod
    def around(cls, plant: "Plant", A: np.ndarray, B: np.ndarray) -> "Units":
        """Return the same for a plant whose linearisation is known.

        Parameters
        ----------
        plant : Plant
        A : numpy.ndarray, shape (nx, nx)
        B : numpy.ndarray, shape (nx, nu)

        Returns
        -------
        Units
        """
        u = (plant.u_max - plant.u_min) / 2
        x = cls.of_bounds(plant)
        with np.errstate(over="ignore"):
            near = x <= _FAR * reach(A, B * u)
        return cls(_completed(np.where(near, x, np.inf), A, B, u), u)

    @staticmethod
    def of_bounds(plant: "Plant") -> np.ndarray:
        """Return the half widths of the state's bounds, or the distance to the only one; infinite without any.

        Parameters
        ----------
        plant : Plant

        Returns
        -------
        numpy.ndarray, shape (nx,)
        """
        with np.errstate(over="ignore"):
            half = (plant.x_max - plant.x_min) / 2
            nearer = np.minimum(plant.x_max - plant.x_eq, plant.x_eq - plant.x_min)
        return np.where(np.isfinite(half), half, nearer)

    def plant(self, plant: "Plant") -> "Plant":
        """Return a plant in these units.

        Parameters
        ----------
        plant : Plant

        Returns
        -------
        Plant
            Of the same parameters, sampling time and names.
        """
        x, u = ca.SX.sym("x", plant.nx), ca.SX.sym("u", plant.nu)
        f = ca.substitute(plant.f, ca.vertcat(plant.x, plant.u), ca.vertcat(ca.DM(self.x) * x, ca.DM(self.u) * u))
        y = ca.substitute(plant.y, plant.x, ca.DM(self.x) * x)
        ends = [(key, f"{key}_{end}") for key in ("x", "u") for end in ("min", "max", "eq")]
        bounds = {name: getattr(plant, name) / getattr(self, key) for key, name in ends}
        return plant.replace(x=x, u=u, f=f / ca.DM(self.x), y=y, **bounds)


def reach(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return how far inputs of at most one push each state within nx steps: max over k < nx and inputs of |(AᵏB)_ij|.

    Parameters
    ----------
    A : numpy.ndarray, shape (nx, nx)
    B : numpy.ndarray, shape (nx, nu)

    Returns
    -------
    numpy.ndarray, shape (nx,)
        Zero where it is no more than rounding.
    """
    most, terms = np.zeros(len(A)), np.zeros(len(A))
    push, size = B, np.abs(B)
    for _ in range(len(A)):
        if not np.isfinite(size).all():
            break
        most, terms = np.maximum(most, np.abs(push).max(axis=1)), np.maximum(terms, size.max(axis=1))
        with np.errstate(over="ignore", invalid="ignore"):
            push, size = A @ push, np.abs(A) @ size
    return np.where(most > _ROUNDING * len(A) * terms, most, 0.0)


def balanced(A: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return A and B in units of the states that the inputs' reach gives.

    Parameters
    ----------
    A : numpy.ndarray, shape (nx, nx)
    B : numpy.ndarray, shape (nx, nu)
        In units of the inputs.

    Returns
    -------
    A : numpy.ndarray, shape (nx, nx)
    B : numpy.ndarray, shape (nx, nu)

    Raises
    ------
    DomainError
        If an entry leaves the range of a double.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        x = _completed(np.full(len(A), np.inf), A, B, np.ones(B.shape[1]))
        A, B = A * x / x[:, None], B / x[:, None]
    if not (np.isfinite(A).all() and np.isfinite(B).all()):
        raise DomainError(
            "the entries of the plant's A and B are so far apart that in the units of what its inputs reach they leave "
            "the range of a double; check the largest and the smallest of them"
        )
    return A, B


def _completed(x: np.ndarray, A: np.ndarray, B: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Put a unit where there is none: the inputs' reach; where there is no reach, what moves a known state by one."""
    x = np.where(np.isfinite(x), x, reach(A, B * u))
    if (x > 0).all():
        return x
    known = x > 0
    if not known.any():
        return np.ones_like(x)
    effect = reach(A.T, np.diag(1 / np.where(known, x, 1.0))[:, known])
    return np.where(known, x, np.divide(1.0, effect, out=np.ones_like(x), where=effect > 0))
