"""Margins of a RUN folder as they are recomputed, and how far they may be rounded."""

from dataclasses import dataclass

import numpy as np

AGREEMENT = 1e-9  # of recorded and recomputed margins, relative to the size of the numbers behind a metric
ROUNDING = 1e-12  # of a metric, likewise: the default error ε of the loop
SHIFTS = np.array([0.0, -AGREEMENT, AGREEMENT, -ROUNDING])[:, None, None]  # of the metrics, for `Margins.below`


@dataclass(frozen=True)
class Margins:
    """Margins of policies (C,), in the units of their bounds."""

    exact: np.ndarray
    least: np.ndarray  # if every metric is larger by its error
    most: np.ndarray  # if every metric is smaller by its error
    rounded: np.ndarray  # if every metric is smaller by its rounding

    @classmethod
    def below(cls, worst: np.ndarray) -> "Margins":
        """Return the margins of the largest metrics of policies, with each of `SHIFTS`, shape (4, C)."""
        exact, most, least, rounded = -worst
        return cls(exact, least, most, rounded)

    @property
    def size(self) -> np.ndarray:
        """Size of the numbers behind the metric that the margin is of, (C,)."""
        return np.nan_to_num((self.most - self.least) / (2 * AGREEMENT), nan=np.inf)

    def and_of(self, others: "Margins") -> "Margins":
        """Return the margins of the same policies on these scenarios and others.

        Parameters
        ----------
        others : Margins

        Returns
        -------
        Margins
        """
        names = ("exact", "least", "most", "rounded")
        return Margins(*(np.minimum(getattr(self, name), getattr(others, name)) for name in names))

    def after(self, count: int) -> "Margins":
        """Return the same without the first policies."""
        return Margins(*(values[count:] for values in (self.exact, self.least, self.most, self.rounded)))
