"""What is left of a log beside the model's predictions: the disturbance, and what speaks against it being one."""

from collections.abc import Sequence

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.identification.log import Windows
from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units

_NO_BETTER = 1.5  # times the motion of a state: a residual of that size means that the model predicts nothing
_MOST, _NEARLY = 0.8, 0.9  # of the motion, and of a residual's variance: so does one that state and input explain
_NOTED = 0.1  # of a residual's variance (or twice of its correlation): less is not worth a word
_SURE = 1e-6  # probability that an independent disturbance looks like a doubt
_ROUNDING = 1e-12  # of the size of a state: a smaller residual is no disturbance


def disturbance(windows: Windows, error: np.ndarray, margin: float) -> np.ndarray:
    """Return half widths of the disturbance: the largest residuals with a margin.

    Parameters
    ----------
    windows : Windows
        Of one step.
    error : numpy.ndarray, shape (W, nx)
        Residuals of one step [x_units].
    margin : float
        In parts of the largest.

    Returns
    -------
    numpy.ndarray, shape (nx,)
        Zero where nothing but rounding is left [x_units].
    """
    largest = np.abs(error).max(axis=0)
    size = np.maximum(np.abs(windows.x0).max(axis=0), np.abs(windows.x).max(axis=(0, 1)))
    return np.where(largest <= _ROUNDING * size, 0.0, (1 + margin) * largest)


def beyond(count: int, states: int, confidence: float) -> float:
    """Return the largest part of fresh residuals that may lie outside the largest of a log, state by state.

    The box of the largest residuals is fixed by one of them for each state; so the part outside it has, at worst, a
    beta distribution, if residuals are independent and alike.

    Parameters
    ----------
    count : int
        Residuals of the log.
    states : int
    confidence : float

    Returns
    -------
    float
    """
    from scipy.special import betaincinv

    return float(betaincinv(states, count - states + 1, confidence)) if count > states else 1.0


def check_model(plant: Plant, windows: Windows, error: np.ndarray) -> None:
    """Refuse a log of another plant.

    It is one where the fitted model predicts worse than that nothing moves, or errs by more than the bounds leave, or
    by most of the motion while a linear function of state and input would predict nearly all of that. Under the right
    model the disturbance is independent of what it is added to, so that states move by more than it.

    Parameters
    ----------
    plant : Plant
    windows : Windows
        Of one step.
    error : numpy.ndarray, shape (W, nx)
        Residuals of one step at the fitted parameters [x_units].

    Raises
    ------
    DomainError
        If it is one.
    """
    remedy = "this is a log of another plant, or its units, columns or sampling time are others"
    rms, motion = (np.sqrt((of**2).mean(axis=0)) for of in (error, windows.x[:, 0] - windows.x0))
    size = np.abs(windows.x).max(axis=(0, 1))
    missed = (rms > _MOST * motion) & (_explained(windows, error) > _NEARLY)
    worse = np.flatnonzero((missed | (rms > _NO_BETTER * motion)) & (rms > _ROUNDING * size))
    if worse.size:
        i = worse[0]
        raise DomainError(
            f"the fitted model errs by {rms[i]:.3g} {plant.x_units[i]} in {plant.x_labels[i]} from sample to sample, "
            f"where that moves by {motion[i]:.3g}: {remedy}"
        )
    largest, half = np.abs(error).max(axis=0), Units.of_bounds(plant)
    far = np.flatnonzero(largest >= half)
    if far.size:
        i = far[0]
        raise DomainError(
            f"the fitted model errs by up to {largest[i]:.3g} {plant.x_units[i]} in {plant.x_labels[i]} in a sample, "
            f"more than half of what its bounds leave, {half[i]:.3g}: {remedy}"
        )


def doubts(plant: Plant, windows: Windows, error: np.ndarray) -> tuple[str, ...]:
    """Return what speaks against what was assumed of a disturbance, a sentence each.

    Parameters
    ----------
    plant : Plant
    windows : Windows
        Of one step.
    error : numpy.ndarray, shape (W, nx)
        Residuals of one step [x_units].

    Returns
    -------
    tuple of str
    """
    from scipy.special import chdtri, ndtri

    W, nx = error.shape
    found = []
    with np.errstate(all="ignore"):
        rms = np.sqrt((error**2).mean(axis=0))
        offset = error.mean(axis=0) / rms
        together = windows.run[1:] == windows.run[:-1]
        follows = (error[1:] * error[:-1])[together].mean(axis=0) / rms**2 if together.any() else np.zeros(nx)
        explained = _explained(windows, error)
    real = rms > _ROUNDING * np.abs(windows.x).max(axis=(0, 1))
    sure = -ndtri(_SURE / 2) / np.sqrt(W)
    most = max(_NOTED, float(chdtri(nx + plant.nu, _SURE)) / W)
    rows: Sequence[tuple[np.ndarray, str]] = (
        (
            offset**2 > max(_NOTED, sure**2),
            "have a mean of {:.0%} of their size: a part of it is constant",
        ),
        (np.abs(follows) > max(2 * _NOTED, sure), "are correlated from sample to sample ({:+.2f}): not independent"),
        (explained > most, "depend on state and input ({:.0%} of their variance): the plant differs in structure"),
    )
    for (hit, text), value in zip(rows, (offset, follows, explained), strict=True):
        found += [f"the residuals of {plant.x_labels[i]} {text.format(value[i])}" for i in np.flatnonzero(hit & real)]
    outside = ((windows.u[:, 0] < plant.u_min) | (windows.u[:, 0] > plant.u_max)).any(axis=0)
    advice = "leaves its bounds in the log; log the input that is applied, after saturation"
    return (*found, *(f"{plant.u_labels[i]} {advice}" for i in np.flatnonzero(outside)))


def _explained(windows: Windows, error: np.ndarray) -> np.ndarray:
    """Return which part of the residuals' variance a linear function of state and input explains (adjusted R²)."""
    regressors = np.hstack([windows.x0, windows.u[:, 0]])
    X, e = regressors - regressors.mean(axis=0), error - error.mean(axis=0)
    size = np.sqrt((X**2).sum(axis=0))
    X = X[:, size > 0] / size[size > 0]
    W, free = len(e), len(e) - X.shape[1] - 1
    if free < 1 or not (np.isfinite(X).all() and np.isfinite(e).all()):
        return np.zeros(e.shape[1])
    left = e - X @ np.linalg.lstsq(X, e, rcond=1e-10)[0]
    return 1 - (left**2).sum(axis=0) / (e**2).sum(axis=0) * (W - 1) / free
