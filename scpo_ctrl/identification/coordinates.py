"""The coordinates in which parameters are fitted: above their limit, whatever a step does, and about one in size."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import Plant


@dataclass(frozen=True)
class Coordinates:
    """Of parameters: p = a + (p_nominal - a) exp q where there is a limit a below, p = p_nominal + s q elsewhere."""

    nominal: np.ndarray  # (k,) [p_units], at q = 0
    above: np.ndarray  # (k,) limits below [p_units], -inf for none
    size: np.ndarray  # (k,) what one of q is at nominal [p_units]

    @classmethod
    def of(cls, plant: Plant, places: list[int]) -> "Coordinates":
        """Return those of some parameters of a plant.

        Parameters
        ----------
        plant : Plant
        places : list of int
            In p.

        Returns
        -------
        Coordinates

        Raises
        ------
        DomainError
            If a nominal value is not above its limit.
        """
        nominal, above = plant.p_nominal[places], plant.p_above[places]
        low = np.flatnonzero(nominal <= above)
        if low.size:
            i = low[0]
            raise DomainError(
                f"plant {plant.name!r}: {plant.p_labels[places[i]]} is {nominal[i]:g} at nominal, not above its limit "
                f"{above[i]:g}; give it a nominal value that is"
            )
        by_itself = np.where(nominal == 0, 1.0, np.abs(nominal))
        return cls(nominal, above, np.where(np.isfinite(above), nominal - above, by_itself))

    def values(self, q: np.ndarray) -> np.ndarray:
        """Return the parameters at coordinates.

        Parameters
        ----------
        q : numpy.ndarray, shape (k,)

        Returns
        -------
        numpy.ndarray, shape (k,)
            [p_units]
        """
        limited = np.isfinite(self.above)
        base, grown = np.where(limited, self.above, 0.0), self.size * np.exp(np.where(limited, q, 0.0))
        # at q = 0 exactly the nominal value
        return np.where(limited & (q != 0), base + grown, self.nominal + np.where(limited, 0.0, self.size * q))

    def slopes(self, q: np.ndarray) -> np.ndarray:
        """Return the derivatives of the parameters by their coordinates.

        Parameters
        ----------
        q : numpy.ndarray, shape (k,)

        Returns
        -------
        numpy.ndarray, shape (k,)
            [p_units]
        """
        return self.size * np.exp(np.where(np.isfinite(self.above), q, 0.0))
