"""A batch of scenarios: what is rolled out at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.units import Units
from scpo_ctrl.sealed import Sealed, as_instance
from scpo_ctrl.shown import Entries, Shown, counted
from scpo_ctrl.validate import as_array, as_count

if TYPE_CHECKING:
    from scpo_ctrl.loop.declared import DeclaredSet


@dataclass(frozen=True, eq=False, repr=False)
class Scenarios(Shown, Sealed, instead="give its arrays x0, p and w the values that you need"):
    """A batch of S scenarios over a horizon of N steps.

    Parameters
    ----------
    x0 : array_like, shape (S, nx)
        Initial states [x_units].
    p : array_like, shape (S, np)
        Plant parameters [p_units].
    w : array_like, shape (S, N, nx) or (S, N, 0)
        Disturbances, added to the next state [x_units], or none; N = horizon.
    horizon : int
        N, number of steps.
    declared : DeclaredSet or None, optional
        The set Z (E12) that they are points of, where it is known.
    described : dict or None, optional
        The arguments of `scenarios` that the first of them are made by.

    Examples
    --------
    >>> import numpy as np
    >>> import scpo_ctrl as sc
    >>> mine = sc.Scenarios(x0=np.array([[1.0, 0.0]]), p=np.array([[1.0]]), w=np.zeros((1, 30, 0)), horizon=30)
    >>> mine.count, mine.declared is None  # no set is declared, so none can be audited
    (1, True)
    """

    x0: np.ndarray
    p: np.ndarray
    w: np.ndarray
    horizon: int
    declared: "DeclaredSet | None" = None
    described: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        N = as_count("horizon", self.horizon, at_least=1)
        object.__setattr__(self, "horizon", N)
        x0 = self._kept("x0", (None, None))
        self._kept("p", (len(x0), None))
        self._kept("w", (len(x0), N, None))

    def _kept(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Check an array; one of float64 is kept as it is, as large as it may be."""
        value = getattr(self, key)
        kept = type(value) is np.ndarray and value.dtype == np.float64 and value.ndim == len(shape)
        if not kept or any(n not in (None, k) for n, k in zip(shape, value.shape, strict=True)):
            value = as_array(key, value, shape, finite=False)
            object.__setattr__(self, key, value)
        return value

    @property
    def count(self) -> int:
        """Number of scenarios S."""
        return len(self.x0)

    def part(self, which: slice | np.ndarray) -> "Scenarios":
        """Return some of the scenarios.

        Parameters
        ----------
        which : slice or numpy.ndarray of int

        Returns
        -------
        Scenarios
            Views of the same arrays for a slice, copies for numbers.
        """
        if not isinstance(which, slice):
            which = np.asarray(which)
            numbers = which.dtype.kind == "b" or (which.dtype.kind in "iu" and (abs(which) <= self.count - 1).all())
            if which.ndim != 1 or not numbers or (which.dtype.kind == "b" and which.size != self.count):
                raise DomainError(f"which is {shown(which)}, expected numbers of scenarios below {self.count}")
        return Scenarios(self.x0[which], self.p[which], self.w[which], self.horizon, self.declared)

    def and_then(self, others: "Scenarios") -> "Scenarios":
        """Return these scenarios with others after them.

        Parameters
        ----------
        others : Scenarios
            Of the same horizon and shapes.

        Returns
        -------
        Scenarios
        """
        as_instance("others", others, Scenarios)
        for key in ("x0", "p", "w"):
            mine, other = (getattr(one, key).shape[1:] for one in (self, others))
            if mine != other:
                raise DimensionError(f"others has {key} of shape (S, {other}), expected (S, {mine}) as these have")
        x0, p, w = (np.concatenate([getattr(self, key), getattr(others, key)]) for key in ("x0", "p", "w"))
        return Scenarios(x0, p, w, self.horizon, self.declared, self.described)

    def in_units(self, units: Units) -> "Scenarios":
        """Return the same scenarios for the plant in other units.

        Parameters
        ----------
        units : Units

        Returns
        -------
        Scenarios
        """
        return Scenarios(self.x0 / units.x, self.p, self.w / units.x if self.w.size else self.w, self.horizon)

    def _shown(self) -> tuple[str, Entries]:
        varying = int(np.count_nonzero((self.p != self.p[:1]).any(axis=0)))
        rows = [
            ("parameters", f"{varying} of {self.p.shape[1]} vary" if self.p.shape[1] else "none"),
            ("disturbance", "of every step" if self.w.size else "none"),
            ("points of", self.declared.distribution if self.declared else "no declared set, so none can be audited"),
        ]
        return f"{counted(self.count, 'scenario')} over {counted(self.horizon, 'step')}", rows
