"""What a log says of a plant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.models import Plant
from scpo_ctrl.models.nominal import with_nominal
from scpo_ctrl.shown import Entries, Shown, counted, few, numbers, with_unit
from scpo_ctrl.validate import as_choice

_ASSUMED = (
    "assumed: the disturbance of each sample is independent of all that was before, with mean zero; sensors show "
    "states without noise; u is the input that was applied"
)

_FEEDBACK = ", and no feedback: over several steps a controller's answers to the disturbance bias the fit"


@dataclass(frozen=True, repr=False)
class Identification(Shown):
    """Parameters of a plant, their ranges and half widths of the disturbance, fitted to a log.

    Attributes
    ----------
    plant : Plant
        As it was given.
    asked : tuple of str
        Labels of the parameters that were to be fitted.
    kept : dict of str to str
        Those of them that the log does not tell, which keep their values, with the reason.
    values : numpy.ndarray, shape (np,)
        Fitted, else nominal [p_units].
    ranges : numpy.ndarray, shape (np, 2)
        Low and high, the value itself where it was not fitted [p_units].
    largest : numpy.ndarray, shape (nx,)
        Largest residual of one step [x_units].
    rms : numpy.ndarray, shape (nx,)
        Root mean square residual of one step [x_units].
    half_widths : numpy.ndarray, shape (nx,)
        Of the disturbance: the largest residual with the margin [x_units].
    beyond : float
        Part of fresh residuals that may be outside `largest`, at most, at `confidence`.
    doubts : tuple of str
        What in the log speaks against what was assumed.
    transitions : int
        From sample to sample.
    pieces : int
        Without a gap.
    horizon : int
        Steps predicted from each measured state.
    confidence : float
        That the ranges hold all fitted parameters together.
    margin : float
        In parts of the largest residual.

    Examples
    --------
    After the example of `identify`:

    >>> found.fitted, found.half_widths.round(4)
    (('mass',), array([0.0011, 0.0011]))
    """

    plant: Plant
    asked: tuple[str, ...]
    kept: Mapping[str, str]
    values: np.ndarray
    ranges: np.ndarray
    largest: np.ndarray
    rms: np.ndarray
    half_widths: np.ndarray
    beyond: float
    doubts: tuple[str, ...]
    transitions: int
    pieces: int
    horizon: int
    confidence: float
    margin: float

    @property
    def fitted(self) -> tuple[str, ...]:
        """Labels of the parameters that were fitted."""
        return tuple(label for label in self.asked if label not in self.kept)

    @property
    def assumed(self) -> str:
        """What the fit takes for granted, in words."""
        return _ASSUMED + (_FEEDBACK if self.horizon > 1 else "")

    def value(self, label: str) -> float:
        """Return the fitted value of a parameter, or its nominal one.

        Parameters
        ----------
        label : str

        Returns
        -------
        float
            [p_units]

        Raises
        ------
        DomainError
            If the plant has no such parameter.
        """
        return float(self.values[self.plant.p_labels.index(as_choice("label", label, self.plant.p_labels))])

    def parameters(self) -> dict[str, tuple[float, float]]:
        """Return the ranges of the fitted parameters, as `scenarios` takes them.

        Returns
        -------
        dict of str to (low, high)
            [p_units]
        """
        low, high = self.ranges.T.tolist()
        at = {label: self.plant.p_labels.index(label) for label in self.fitted}
        return {label: (low[i], high[i]) for label, i in at.items()}

    def fitted_plant(self) -> Plant:
        """Return the plant with the fitted values as nominal ones, at rest at its equilibrium for them.

        Returns
        -------
        Plant
        """
        return with_nominal(self.plant, {label: self.value(label) for label in self.fitted})

    def summary(self) -> dict[str, Any]:
        """Return all of it as plain data.

        Returns
        -------
        dict
        """
        ranges, units = self.parameters(), dict(zip(self.plant.p_labels, self.plant.p_units, strict=True))
        nominal = dict(zip(self.plant.p_labels, self.plant.p_nominal.tolist(), strict=True))
        parameters = {
            label: {
                "unit": units[label],
                "nominal": nominal[label],
                "fitted": self.value(label) if label in ranges else None,
                "range": list(ranges[label]) if label in ranges else None,
                "identifiable": label in ranges,
                "reason": self.kept.get(label, ""),
            }
            for label in self.asked
        }
        columns = (self.plant.x_units, self.half_widths.tolist(), self.largest.tolist(), self.rms.tolist())
        disturbance = {
            label: {"unit": unit, "half_width": half, "largest_residual": largest, "rms_residual": rms}
            for label, unit, half, largest, rms in zip(self.plant.x_labels, *columns, strict=True)
        }
        return {
            "plant": self.plant.name,
            "parameters": parameters,
            "disturbance": disturbance,
            "transitions": self.transitions,
            "pieces": self.pieces,
            "horizon": self.horizon,
            "confidence": self.confidence,
            "margin": self.margin,
            "beyond_largest": self.beyond,
            "assumed": self.assumed,
            "doubts": list(self.doubts),
        }

    def _shown(self) -> tuple[str, Entries]:
        title = f"{len(self.fitted)} of {counted(len(self.asked), 'parameter')} fitted to "
        units = dict(zip(self.plant.p_labels, self.plant.p_units, strict=True))
        fitted = [(label, self.value(label), *self.parameters()[label]) for label in self.fitted]
        rows = few(
            [(one, with_unit(f"{value:.4g} in [{a:.4g}, {b:.4g}]", units[one])) for one, value, a, b in fitted],
            "parameter",
        )
        rows += [(label, f"kept: {reason}") for label, reason in self.kept.items()]
        rows += [("disturbance", f"within {numbers(self.half_widths)}, as {self.assumed}")]
        return title + counted(self.transitions, "transition"), rows + [("doubt", doubt) for doubt in self.doubts]
