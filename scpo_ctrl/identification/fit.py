"""Least squares over sensitivities: parameters by weighted prediction errors, and how sure they are."""

import contextlib
from dataclasses import dataclass

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.identification.coordinates import Coordinates
from scpo_ctrl.identification.log import Windows
from scpo_ctrl.identification.prediction import Prediction
from scpo_ctrl.models import Plant

_REACH = np.log(100.0)  # of the first fit, which may have too many parameters, in coordinates
_TOLERANCE = 1e-10  # of a fit
_EVALUATIONS = 200
_REWEIGHTED = 4  # times that weights follow the residuals
_ROUNDING = 16 * np.finfo(float).eps  # of a state: smaller residuals are none


@dataclass(frozen=True)
class Fit:
    """Parameters fitted to windows, in coordinates."""

    q: np.ndarray  # (k,) coordinates
    sigma: np.ndarray  # (H, nx) root mean square residuals, by step of the window [x_units]
    error: np.ndarray  # (W, H, nx) measured - predicted [x_units]
    S: np.ndarray  # (W, H nx, k) sensitivities by the coordinates, in parts of sigma


class LeastSquares:
    """The prediction errors of a log as a function of some parameters.

    Parameters
    ----------
    plant : Plant
    windows : Windows
    places : list of int
        Of the parameters in p.
    """

    def __init__(self, plant: Plant, windows: Windows, places: list[int]) -> None:
        self.plant, self.windows, self.places = plant, windows, places
        self.coordinates = Coordinates.of(plant, places)
        self._predict = Prediction(plant, windows, places)
        largest = np.maximum(np.abs(windows.x0).max(axis=0), np.abs(windows.x).max(axis=(0, 1)))
        self._least = np.where(largest > 0, _ROUNDING * largest, 1.0)

    def at(self, q: np.ndarray, sigma: np.ndarray | None = None) -> Fit:
        """Return residuals and sensitivities.

        Parameters
        ----------
        q : numpy.ndarray, shape (k,)
            Coordinates.
        sigma : numpy.ndarray, shape (H, nx), optional
            What counts as one of each residual; by default their own root mean square.

        Returns
        -------
        Fit
        """
        p = self.plant.p_nominal.copy()
        p[self.places] = self.coordinates.values(q)
        x, S = self._predict(p)
        error = self.windows.x - x
        if sigma is None:
            sigma = np.maximum(np.sqrt((error**2).mean(axis=0)), self._least)
        slopes = S * self.coordinates.slopes(q) / sigma[..., None]
        return Fit(q, sigma, error, slopes.reshape(len(S), -1, len(q)))

    def solve(self, q: np.ndarray, sigma: np.ndarray, reach: float = np.inf) -> np.ndarray:
        """Minimise the sum of squares of the residuals, each in parts of what counts as one of it.

        Parameters
        ----------
        q : numpy.ndarray, shape (k,)
            Where to begin.
        sigma : numpy.ndarray, shape (H, nx)
            [x_units]
        reach : float
            Bound on the size of every coordinate; where there is one, the search need not end.

        Returns
        -------
        numpy.ndarray, shape (k,)

        Raises
        ------
        DomainError
            If the model is not finite where the search begins, or the search does not end.
        """
        from scipy.optimize import least_squares

        known: list[Fit] = []

        def fit(at: np.ndarray) -> Fit:
            if not known or not np.array_equal(known[-1].q, at):
                known[:] = [self.at(at.copy(), sigma)]
            return known[-1]

        begin = fit(q)
        if not all(np.isfinite(values).all() for values in (sigma, (begin.error / sigma) ** 2, begin.S**2)):
            raise DomainError(
                f"plant {self.plant.name!r} is not finite over this log at its nominal parameters; check units, order "
                "of the columns and nominal values, or give a shorter horizon"
            )
        tolerance = dict.fromkeys(("ftol", "xtol", "gtol"), _TOLERANCE)
        found = None
        with contextlib.suppress(np.linalg.LinAlgError, ValueError):  # derivatives that are not finite
            found = least_squares(
                lambda at: (fit(at).error / sigma).ravel(),
                q,
                lambda at: -fit(at).S.reshape(-1, len(q)),
                bounds=(-reach, reach),
                max_nfev=_EVALUATIONS,
                **tolerance,
            )
        if found is None or (found.status == 0 and not np.isfinite(reach)):
            raise DomainError(
                f"the fit of plant {self.plant.name!r} did not end within {_EVALUATIONS} evaluations; check that it is "
                "this plant's log, begin with better nominal parameters, or name fewer"
            )
        return np.asarray(found.x)

    def first(self) -> Fit:
        """Return what residuals are like when everything is fitted that may be, within reach of the nominal values.

        Returns
        -------
        Fit
        """
        q = np.zeros(len(self.places))
        return self.at(self.solve(q, self.at(q).sigma, _REACH))

    def fitted(self, sigma: np.ndarray) -> Fit:
        """Fit, with weights that follow the residuals.

        Parameters
        ----------
        sigma : numpy.ndarray, shape (H, nx)
            To begin with [x_units].

        Returns
        -------
        Fit
        """
        q = np.zeros(len(self.places))
        for _ in range(_REWEIGHTED):
            q = self.solve(q, sigma)
            sigma = self.at(q).sigma
        return self.at(q)


def half_ranges(fit: Fit, confidence: float) -> np.ndarray:
    """Return half widths of ranges that hold all coordinates together.

    The variance is the larger one, coordinate by coordinate, of the inverse of the information matrix and of the
    jackknife: how much the answer changes when a window is left out, to first order. That one holds for disturbances
    that depend on each other within a window, or whose size changes.

    Parameters
    ----------
    fit : Fit
    confidence : float
        That all are held; Bonferroni's inequality and Student's t make it so.

    Returns
    -------
    numpy.ndarray, shape (k,)
    """
    from scipy.special import stdtrit

    W, _, k = fit.S.shape
    residual = (fit.error / fit.sigma).reshape(W, -1)
    rows = fit.S.reshape(-1, k)
    size = np.sqrt((rows**2).sum(axis=0))  # so that the matrix is near one
    inverse = np.linalg.inv((rows / size).T @ (rows / size))
    parts = fit.S / size
    left = (rows / size).T @ (rows / size) - np.einsum("wrk,wrl->wkl", parts, parts)  # (W, k, k), without each window
    without = np.linalg.solve(left, np.einsum("wrk,wr->wk", parts, residual)[..., None])[..., 0]
    jackknife = ((without - without.mean(axis=0)) ** 2).sum(axis=0) * (W - 1) / W
    variance = np.maximum(np.diag(inverse) * W / (W - k), jackknife)
    factor = stdtrit(W - k, 1 - (1 - confidence) / (2 * k))
    return factor * np.sqrt(variance) / size
