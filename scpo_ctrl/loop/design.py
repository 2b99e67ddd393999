"""LQR: the design of backups, and of controllers that exist."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import BackupError
from scpo_ctrl.loop.backup import Backup, Design, designed, largest_held
from scpo_ctrl.loop.controllable import check_controllable
from scpo_ctrl.loop.level import Ranges, out_of_range, parameter_ranges
from scpo_ctrl.loop.riccati import dlqr
from scpo_ctrl.messages import one_for_each
from scpo_ctrl.models import Plant
from scpo_ctrl.models.plant import check_discrete
from scpo_ctrl.models.units import Units
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_flag, as_scalar
from scpo_ctrl.weights import as_weight


def lqr(
    plant: Plant,
    Q: ArrayLike,
    R: ArrayLike,
    *,
    allow_uncontrollable: bool = False,
    parameters: Ranges | None = None,
    rho: float | None = None,
) -> Backup:
    """Design the backup by discrete LQR at the plant's equilibrium and check it.

    On a linear plant the level is the largest inside all bounds. On a nonlinear one it is searched for by simulation
    over the set and the parameter ranges (`LevelSearch`). `evidence` of the backup says what stands behind either, for
    these ranges and without disturbances: a proof, where one is found, or simulations, which are none.

    Parameters
    ----------
    plant : Plant
        Discrete.
    Q : array_like, shape (nx, nx), (nx,) or ()
        State weight: a symmetric positive definite matrix, its diagonal, or one number for all states.
    R : array_like, shape (nu, nu), (nu,) or ()
        Input weight, likewise.
    allow_uncontrollable : bool
        Accept a plant whose uncontrollable modes decay by themselves.
    parameters : mapping of str to (low, high), optional
        Ranges of plant parameters by label [p_units] over which a nonlinear plant is simulated; nominal otherwise.
    rho : float, optional
        The level, instead of the largest one that holds; it is checked all the same.

    Returns
    -------
    Backup
        On a linear plant with the largest ρ whose level set lies inside all state and input bounds; on a nonlinear one
        with the largest below it that passed every simulation.

    Raises
    ------
    UnstabilisableError
        If the input does not reach a mode that does not decay.
    UncontrollableError
        If the input does not reach every mode (unless `allow_uncontrollable`).
    BackupError
        If the plant is continuous, the design does not hold, or no level passes the simulations.
    DimensionError, DomainError
        If Q or R has a wrong shape, is not finite or not positive definite, or a parameter range is wrong.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> backup = sc.lqr(double_integrator(), Q=[0.1, 0.1], R=[10.0])
    >>> backup.K.round(3), backup.evidence
    (array([[0.098, 0.453]]), 'proved')
    """
    as_instance("plant", plant, Plant)
    check_discrete(plant, BackupError)
    with one_for_each(plant.x_labels):
        state_weight = _weight("Q", Q, plant.nx)
    with one_for_each(plant.u_labels):
        weights = state_weight, _weight("R", R, plant.nu)
    rho = None if rho is None else as_scalar("rho", rho, above=0.0)
    parameter_ranges(plant, parameters)  # before the design, so that its errors come first
    units = Units.of(plant)
    inner = units.plant(plant)
    check_controllable(*inner.linearise(), as_flag("allow_uncontrollable", allow_uncontrollable))
    with np.errstate(over="ignore", under="ignore"):
        Q_inner, R_inner = (w * s * s[:, None] for w, s in zip(weights, (units.x, units.u), strict=True))
    for weight in (Q_inner, R_inner):
        if not (np.isfinite(weight).all() and (np.diag(weight) > np.finfo(float).tiny).all()):
            raise out_of_range(close=bool(np.isfinite(weight).all()))
    K, P = _riccati(*inner.linearise(), Q_inner, R_inner)
    backup = largest_held(inner, K, P, parameters, rho=rho, law=None).in_units(Units(1 / units.x, 1 / units.u))
    level = rho if plant.is_linear else backup.rho
    return designed(backup, Design(*weights, bool(allow_uncontrollable), level))


def gain_of_lqr(
    A: np.ndarray, B: np.ndarray, Q: ArrayLike, R: ArrayLike, *, names: tuple[str, str] = ("Q", "R")
) -> np.ndarray:
    """Return the gain of the discrete LQR of a linear system.

    Parameters
    ----------
    A : numpy.ndarray, shape (n, n)
    B : numpy.ndarray, shape (n, m)
    Q, R : array_like
        Weights of states and inputs: matrices, their diagonals, or numbers for all entries of those.
    names : tuple of str
        What they are called, for messages.

    Returns
    -------
    numpy.ndarray, shape (m, n)

    Raises
    ------
    BackupError
        If the Riccati equation has no stabilising solution.
    DimensionError, DomainError
        If a weight has a wrong shape, is not finite or not positive definite.
    """
    weights = _weight(names[0], Q, len(A)), _weight(names[1], R, B.shape[1])
    return _riccati(A, B, *weights)[0]


def _riccati(A: np.ndarray, B: np.ndarray, Q: np.ndarray, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain K and the matrix P of the discrete LQR, solved with inputs of weight one."""
    unit = 1 / np.sqrt(np.diag(R))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # what overflows, or is solved badly, does not pass `contraction`
            K, P = dlqr(A, B * unit, Q, R * unit * unit[:, None])
        if not (np.isfinite(K).all() and np.isfinite(P).all()):
            raise ValueError("it is not finite; choose other units")
    except (ValueError, np.linalg.LinAlgError) as error:
        raise BackupError(
            f"the Riccati equation has no stabilising solution for this plant, Q and R: {error}"
        ) from error
    return unit[:, None] * K, (P + P.T) / 2


def _weight(name: str, value: ArrayLike, size: int) -> np.ndarray:
    W = as_weight(name, value, size, definite=True)
    return np.diag(W) if W.ndim == 1 else W
