"""Entries of matrices as parameters of a controller, with names."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.validate import as_array

Bounds = Mapping[str, Sequence[float]]  # by parameter its least and its largest value, infinite for none
_COMPOUND = frozenset(" /*·")  # what a unit of several has in it
_MOST_NAMED = 12  # parameters in a message


class _ThetaBounds(TypedDict):
    """Fields of a controller."""

    theta_min: np.ndarray
    theta_max: np.ndarray


class Coefficients:
    """Matrices whose entries, all or some, are parameters θ.

    Parameters
    ----------
    free : mapping of str to numpy.ndarray, optional
        Which entries of each matrix; all by default.
    **matrices : numpy.ndarray
        By name.
    """

    def __init__(self, free: Mapping[str, np.ndarray] | None = None, /, **matrices: np.ndarray) -> None:
        self.labels: list[str] = []
        values: list[float] = []
        places = []
        for name, matrix in matrices.items():
            entries = np.argwhere(np.ones(matrix.shape, dtype=bool) if free is None else free[name])
            places.append((name, matrix, entries))
            values += [float(matrix[i, j]) for i, j in entries]
            self.labels += [name if matrix.size == 1 else f"{name}{i}{j}" for i, j in entries]
        if not values:
            raise DomainError("the controller has no coefficient that is not zero; nothing of it can be adapted")
        self.values = np.array(values)
        self.theta = ca.SX.sym("theta", len(values))
        self._matrices, start = {}, 0
        for name, matrix, entries in places:
            expression = ca.SX(ca.DM(matrix))
            for i, j in entries.tolist():
                expression[i, j] = self.theta[start]
                start += 1
            self._matrices[name] = expression

    def __getitem__(self, name: str) -> ca.SX:
        """Return a matrix as an expression of θ."""
        return self._matrices[name]


def theta_bounds(labels: Sequence[str], bounds: Bounds | None) -> _ThetaBounds:
    """Return bounds of some parameters as those of all.

    Parameters
    ----------
    labels : sequence of str
        Of all parameters.
    bounds : mapping of str to (low, high), optional
        [theta_units]

    Returns
    -------
    dict
        ``theta_min`` and ``theta_max`` of a `Controller`, shape (d,); infinite where there is no bound.

    Raises
    ------
    DomainError
        If it is no mapping, or names an unknown parameter.
    DimensionError
        If a parameter has not two numbers.
    """
    low, high = np.full(len(labels), -np.inf), np.full(len(labels), np.inf)
    if bounds is not None and not isinstance(bounds, Mapping):
        raise DomainError(f'bounds is {shown(bounds)}, expected (low, high) by parameter, such as {{"kp": (0.0, 5.0)}}')
    for label, ends in (bounds or {}).items():
        if label not in labels:
            known = ", ".join(labels[:_MOST_NAMED]) + (", …" if len(labels) > _MOST_NAMED else "")
            raise DomainError(f"bounds names the unknown parameter {shown(label)}; known: {known}")
        at = list(labels).index(label)
        low[at], high[at] = as_array(f"bounds of {label}", ends, (2,), finite=False)
    return {"theta_min": low, "theta_max": high}


def sampling_time(plant: Plant, what: str) -> float:
    """Return the sampling time of a plant.

    Parameters
    ----------
    plant : Plant
    what : str
        What needs it, for the message.

    Returns
    -------
    float
        [s]

    Raises
    ------
    DomainError
        If the plant is continuous.
    """
    if plant.dt is None:
        raise DomainError(f"{what} needs the sampling time of plant {plant.name!r}; discretise it first")
    return plant.dt


def shown_at_rest(plant: Plant) -> np.ndarray:
    """Return what sensors show at the plant's equilibrium.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    numpy.ndarray, shape (ny,)
    """
    return np.array(ca.Function("h", [plant.x, plant.p], [plant.measured])(plant.x_eq, plant.p_nominal))[:, 0]


def sees_state(plant: Plant, what: str) -> None:
    """Refuse a plant whose sensors show something else than its state.

    Parameters
    ----------
    plant : Plant
    what : str
        What needs the state, for the message.

    Raises
    ------
    DomainError
        If they do.
    """
    if plant.y.numel() and not (plant.y.shape == plant.x.shape and ca.is_equal(plant.y, plant.x, 10)):
        raise DomainError(f"{what} needs the whole state, and plant {plant.name!r} shows y only; use lqg, or a PID")


def headroom(plant: Plant) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds of an integral part of the command: the command's, half their width farther apart at either end.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    low, high : numpy.ndarray, shape (nu,)
        [u_units]
    """
    half = (plant.u_max - plant.u_min) / 2
    return plant.u_min - half, plant.u_max + half


def unit_of_gain(u: str, y: str, more: str = "") -> str:
    """Return the unit of a gain.

    Parameters
    ----------
    u, y : str
        Units of what it moves, and of what it multiplies; empty for none.
    more : str
        What it is also divided by.

    Returns
    -------
    str
        Such as "V/rad", "V/(rad s)", "V/(m/s)" and "(m/s)/rad"; empty where the units are the same.
    """
    if u == y and not more:
        return ""
    below = f"({y}) {more}" if more and set(y) & _COMPOUND else f"{y} {more}".strip()
    above = f"({u})" if "/" in u else u or "1"
    return f"{above}/{f'({below})' if set(below) & _COMPOUND else below}" if below else u
