"""Backups of a gain that is given, and backups whose level set is designed to be as large as can be proved."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import BackupError, DomainError, UnsafeStartError
from scpo_ctrl.invariance.design import Shape, shapes
from scpo_ctrl.invariance.jacobians import Law
from scpo_ctrl.invariance.level_set import FEW_BOXES, WHOLE, SetProof, prove_level_set
from scpo_ctrl.loop.backup import Backup, check_backup, claimed, largest_held
from scpo_ctrl.loop.claim import Claim
from scpo_ctrl.loop.controllable import check_controllable
from scpo_ctrl.loop.level import Ranges, bounds_of, largest_level, parameter_ranges
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.plant import check_discrete
from scpo_ctrl.models.units import Units
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array, as_scalar

DECAY = 0.99  # of √V in a step, that a level set is designed for
_TRIES = 12  # proofs that are tried, each of the largest set that is left
_LESS = 0.7  # of the level, to be tried next where one is not proved
_SAME = 0.02  # difference of ln(volume) of sets of which one is tried


def lmi(
    plant: Plant,
    *,
    K: ArrayLike | None = None,
    decay: float = DECAY,
    parameters: Ranges | None = None,
    disturbance: ArrayLike | None = None,
) -> Backup:
    """Design the backup for the largest level set that it is proved to keep, whatever the parameters and disturbances.

    The shape P, and the gain K where none is given, are designed by linear matrix inequalities at corners of what the
    plant's Jacobian depends on (`scpo_ctrl.invariance.design`); `scpo_ctrl.invariance.level_set` proves what they
    suggest, and the largest set that it proves is taken. Such a set is often many times as large as that of an LQR. The
    gain is made for its set and not for a cost: it acts as strongly as the bounds of the inputs allow.

    Parameters
    ----------
    plant : Plant
        Discrete.
    K : array_like, shape (nu, nx), optional
        Gain that is kept; else it is designed too.
    decay : float
        What a step multiplies √V by, at most, in (0, 1); less where parameters or disturbances push the state.
    parameters : mapping of str to (low, high), optional
        Ranges of plant parameters by label [p_units]; nominal otherwise.
    disturbance : array_like, shape (nx,), optional
        Half widths of what is added to the next state [x_units].

    Returns
    -------
    Backup
        Its `evidence` is "proved", with these disturbances.

    Raises
    ------
    UnstabilisableError
        If the input does not reach a mode that does not decay.
    UnsafeStartError
        If the plant is not stable under K.
    BackupError
        If the plant is continuous, or no set is proved.
    DimensionError, DomainError
        If K has a wrong shape, the plant has operations without enclosure, or a range is wrong.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> sc.lmi(double_integrator(), parameters={"mass": (0.8, 1.3)}).evidence
    'proved'
    """
    as_instance("plant", plant, Plant)
    check_discrete(plant, BackupError)
    decay = as_scalar("decay", decay, above=0.0)
    if not decay < 1:
        raise DomainError(f"decay = {decay:g}, expected a number in (0, 1), such as {DECAY:g}")
    ranges, half = parameter_ranges(plant, parameters), _half_widths(plant, disturbance)
    units = Units.of(plant)
    inner, gain = units.plant(plant), _gain(plant, K)
    start = _start(inner, None if gain is None else gain * units.x / units.u[:, None])
    inner_half = half / units.x if half.size else half
    guesses = shapes(inner, start, ranges, inner_half, decay=decay, keep=gain is not None)
    shape, rho, proof = _proved(inner, guesses, ranges, inner_half)
    claim = Claim(Law(inner, shape.K), shape.P, rho, ranges, simulated=False, found=proof)
    backup = claimed(Backup(shape.K, shape.P, rho), claim).in_units(Units(1 / units.x, 1 / units.u))
    return backup if gain is None else claimed(replace(backup, K=gain), claim)


def of_gain(plant: Plant, K: ArrayLike, *, rho: float | None = None, parameters: Ranges | None = None) -> Backup:
    """Return u = u_eq - K (x - x_eq) as a backup, P from the discrete Lyapunov equation of its loop.

    Parameters
    ----------
    plant : Plant
        Discrete.
    K : array_like, shape (nu, nx)
    rho : float, optional
        The level, instead of the largest one that holds.
    parameters : mapping of str to (low, high), optional
        Ranges of plant parameters by label [p_units] over which a nonlinear plant is simulated; nominal otherwise.

    Returns
    -------
    Backup

    Raises
    ------
    UnsafeStartError
        If the plant is not stable under K.
    BackupError
        If the plant is continuous, or no level holds.
    DimensionError, DomainError
        If K has a wrong shape or is not finite, or a range is wrong.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> sc.of_gain(double_integrator(), [[0.1, 0.5]]).evidence
    'proved'
    """
    as_instance("plant", plant, Plant)
    check_discrete(plant, BackupError)
    gain = _gain(plant, K)
    assert gain is not None
    units = Units.of(plant)
    inner, inner_gain = units.plant(plant), gain * units.x / units.u[:, None]
    held = largest_held(inner, inner_gain, lyapunov(inner, inner_gain), parameters, rho=rho, law=None)
    backup = held.in_units(Units(1 / units.x, 1 / units.u))
    return claimed(replace(backup, K=gain), backup.claim)


def given(plant: Plant, K: ArrayLike, P: ArrayLike, rho: float, parameters: Ranges | None = None) -> Backup:
    """Return a backup that is given as numbers, checked.

    Parameters
    ----------
    plant : Plant
    K : array_like, shape (nu, nx)
    P : array_like, shape (nx, nx)
    rho : float
    parameters : mapping of str to (low, high), optional

    Returns
    -------
    Backup

    Raises
    ------
    BackupError, DimensionError, DomainError
        As of `check_backup`.
    """
    gain = _gain(plant, K)
    assert gain is not None
    return check_backup(plant, Backup(gain, as_array("P", P, (plant.nx, plant.nx)), rho), parameters)


def lyapunov(inner: Plant, K: np.ndarray) -> np.ndarray:
    """Return P of AᵀPA - P = -I for the linearised loop A of a plant under a gain.

    Parameters
    ----------
    inner : Plant
        In units of its bounds.
    K : numpy.ndarray, shape (nu, nx)

    Returns
    -------
    numpy.ndarray, shape (nx, nx)

    Raises
    ------
    UnsafeStartError
        If the loop is not stable at rest.
    """
    import scipy.linalg

    A, B = inner.linearise()
    with np.errstate(over="ignore", invalid="ignore"):
        loop = A - B @ K
    if not np.isfinite(loop).all():
        raise UnsafeStartError(
            f"the loop of {inner.name!r} has numbers beyond the range of a double at rest; check its gains and their "
            "units"
        )
    radius = float(np.abs(np.linalg.eigvals(loop)).max())
    if not radius < 1:
        raise UnsafeStartError(
            f"the loop of {inner.name!r} is not stable at rest: its spectral radius is {radius:.6g}; start from a "
            "controller that holds the plant"
        )
    with warnings.catch_warnings(action="ignore"):  # what is solved badly does not pass `largest_held`
        P = scipy.linalg.solve_discrete_lyapunov(loop.T, np.eye(len(loop)))
    return np.asarray((P + P.T) / 2)


def _gain(plant: Plant, K: ArrayLike | None) -> np.ndarray | None:
    return None if K is None else as_array("K", K, (plant.nu, plant.nx))


def _half_widths(plant: Plant, disturbance: ArrayLike | None) -> np.ndarray:
    if disturbance is None:
        return np.zeros(0)
    half = as_array("disturbance", disturbance, (plant.nx,))
    if (half < 0).any():
        raise DomainError(f"disturbance is {shown(half)}, expected half widths >= 0")
    return half if half.any() else np.zeros(0)


def _start(inner: Plant, K: np.ndarray | None) -> Shape:
    """Return a shape to begin with: that of an LQR whose weights are one in units of the bounds, or of a gain."""
    if K is None:
        import control

        check_controllable(*inner.linearise(), True)
        try:
            K, P, _ = control.dlqr(*inner.linearise(), np.eye(inner.nx), np.eye(inner.nu))
        except (ValueError, np.linalg.LinAlgError, control.ControlArgument) as error:
            raise BackupError(f"the Riccati equation has no stabilising solution for this plant: {error}") from error
        K, P = np.atleast_2d(np.asarray(K)), (np.asarray(P) + np.asarray(P).T) / 2
    else:
        P = lyapunov(inner, K)
    level = largest_level(P, *bounds_of(inner, K))
    if not 0 < level < np.inf:
        raise BackupError("no bound limits the level set; give the plant at least one finite bound")
    return Shape(K, P / level)


def _proved(
    inner: Plant, guesses: Iterator[Shape], ranges: np.ndarray, half: np.ndarray
) -> tuple[Shape, float, SetProof]:
    """Return the first of ever smaller sets that is proved, and its level."""
    queue: list[tuple[float, int, float, Shape]] = []
    for k, shape in enumerate(guesses):
        level = largest_level(shape.P, *bounds_of(inner, shape.K))
        size = shape.size + inner.nx * np.log(level) / 2
        if not any(abs(size + other) < _SAME for other, *_ in queue):
            heapq.heappush(queue, (-size, k, level, shape))
    blocks = "the matrix inequalities have no solution"
    for _ in range(_TRIES):
        if not queue:
            break
        size, k, level, shape = heapq.heappop(queue)
        proof = prove_level_set(
            Law(inner, shape.K), shape.P, level, ranges, half, most_boxes=FEW_BOXES, search=False
        )  # fmt: skip
        if proof.proved:
            return shape, WHOLE * level, replace(proof, rho=WHOLE * level)
        blocks = proof.blocks
        heapq.heappush(queue, (size - inner.nx * np.log(_LESS) / 2, k, _LESS * level, shape))
    raise BackupError(
        f"no level set of plant {inner.name!r} is proved to be kept: {blocks}; narrow the ranges of the plant "
        "parameters, make the disturbance smaller, or sample faster"
    )
