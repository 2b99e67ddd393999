"""How far a plant is from its model, by transitions measured on the plant, or simulated in its place."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.models import Plant
from scpo_ctrl.shown import Entries, Shown, counted, numbers

ROUNDING = 1e-9  # of a prediction, relative to |x_next| or the width of the bounds: below it the model is not wrong


@dataclass(frozen=True, repr=False)
class Mismatch(Shown):
    """What the measured transitions say of the model: errors are x_next - f(x, u, p_nominal), per state [x_units].

    Attributes
    ----------
    count : int
        Transitions measured.
    largest : numpy.ndarray, shape (nx,)
        Largest absolute error.
    rms : numpy.ndarray, shape (nx,)
        Root mean square error.
    half_widths : numpy.ndarray, shape (nx,)
        Largest disturbance in the scenarios; 0 where they have none.
    exceeds : numpy.ndarray, shape (nx,)
        Bool, whether the largest error is beyond the half width.
    uncovered : int
        Transitions outside all that the scenarios' parameters and half widths predict for one step.
    violations : int
        Transitions whose u or x_next is outside the plant's bounds.
    margin : float
        Least distance of an x_next to a bound of the state, negative outside; inf before the first one.

    Examples
    --------
    After the example of `adapt`:

    >>> adapter = sc.Adapter(problem)
    >>> adapter.observe([1.0, 0.0], [-0.1], [0.9995, -0.012])  # the model says -0.01
    >>> found = adapter.mismatch()
    >>> found.largest.round(4), found.uncovered
    (array([0.   , 0.002]), 1)
    """

    count: int
    largest: np.ndarray
    rms: np.ndarray
    half_widths: np.ndarray
    exceeds: np.ndarray
    uncovered: int
    violations: int
    margin: float

    def _shown(self) -> tuple[str, Entries]:
        rows = [
            ("largest error", numbers(self.largest)),
            ("not predicted", f"{self.uncovered} of them, by no parameters and disturbances of the scenarios"),
            ("out of bounds", f"{self.violations} of them"),
        ]
        return f"{counted(self.count, 'transition')} measured", rows


class Errors:
    """Running numbers of `Mismatch`.

    Parameters
    ----------
    plant : Plant
        Whose bounds count.
    units : numpy.ndarray, shape (nx,)
        Of its states, see `Units`; rounding is relative to them.
    half_widths : numpy.ndarray, shape (nx,)
        Of the disturbance [x_units].
    resolution : float
        Of what is measured, relative.
    """

    def __init__(self, plant: Plant, units: np.ndarray, half_widths: np.ndarray, resolution: float = ROUNDING) -> None:
        self._plant, self._units, self._half_widths, self._resolution = plant, units, half_widths, resolution
        self.count = self._uncovered = self._violations = 0
        self._largest, self._squares, self._rounding = np.zeros(plant.nx), np.zeros(plant.nx), np.zeros(plant.nx)
        self._margin = np.inf

    def add(
        self, u: np.ndarray, x_next: np.ndarray, nominal: np.ndarray, within: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """Count transitions.

        Parameters
        ----------
        u : numpy.ndarray, shape (n, nu)
            Inputs that were applied.
        x_next : numpy.ndarray, shape (n, nx)
            States that followed.
        nominal : numpy.ndarray, shape (n, nx)
            What the model predicts at nominal parameters.
        within : tuple of numpy.ndarray, shape (n, nx)
            Least and largest that it predicts at the parameters of the scenarios.
        """
        if not len(u):
            return
        plant, rounding = self._plant, self._resolution * np.maximum(self._units, np.abs(x_next))
        error, (low, high) = np.abs(x_next - nominal), within
        beyond = np.maximum(low - x_next, x_next - high)
        margin = np.minimum(x_next - plant.x_min, plant.x_max - x_next).min(axis=1)
        outside = (margin < 0) | (u < plant.u_min).any(axis=1) | (u > plant.u_max).any(axis=1)
        self.count += len(u)
        self._largest = np.maximum(self._largest, error.max(axis=0))
        with np.errstate(over="ignore"):
            self._squares = self._squares + (error**2).sum(axis=0)
        self._rounding = np.maximum(self._rounding, rounding.max(axis=0))
        self._uncovered += int((beyond > self._half_widths + rounding).any(axis=1).sum())
        self._violations += int(outside.sum())
        self._margin = min(self._margin, float(margin.min()))

    def summary(self) -> Mismatch:
        """Return the numbers so far.

        Returns
        -------
        Mismatch
        """
        return Mismatch(
            count=self.count,
            largest=self._largest.copy(),
            rms=np.sqrt(self._squares / max(1, self.count)),
            half_widths=self._half_widths.copy(),
            exceeds=self._largest > self._half_widths + self._rounding,
            uncovered=self._uncovered,
            violations=self._violations,
            margin=self._margin,
        )
