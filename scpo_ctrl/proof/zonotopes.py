"""Zonotopes, and affine forms over them: enclosures of values that keep how they depend on each other.

A zonotope holds values x_i = c_i + Σ_k G_ik ζ_k + l_i, |ζ_k| ≤ 1 shared by all of them and |l_i| ≤ loose_i by itself.
An affine form over it is y = c + Σ_i a_i (x_i - c_i) + e, |e| ≤ error. All is for many boxes at once; they come last.

Rounding is part of what is enclosed. An IEEE operation with the result y has an error of at most u |y|, u = 2⁻⁵³, and
of at most 2⁻¹⁰⁷⁵ where y underflows. Each operation here adds to the error of its form `EPS` = 2u times the absolute
values of all that it rounds (slopes times how far their variable reaches), which is at least twice what rounding can do
to it: the other half pays for the sum of absolute values being rounded itself, which takes less than a part of
(n + 1) u from it. The error is then grown by 16 `EPS`, for less than 16 roundings of its own, and by `TINY` for
underflows of numbers that reach less than 2¹⁰⁰. What is beyond that, infinite or not a number is `lost`: not a number
in all that follows from it, which no comparison ever finds to hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

EPS = 2.0**-52
TINY = 2.0**-900
_FARTHEST = 2.0**100
_GROWN = 1 + 16 * EPS


@dataclass(frozen=True)
class Forms:
    """Affine forms over the values of zonotopes."""

    centre: np.ndarray  # (n, B)
    slopes: np.ndarray  # (n, V, B)
    error: np.ndarray  # (n, B), ≥ 0

    def __getitem__(self, some: slice | list[int]) -> "Forms":
        return Forms(self.centre[some], self.slopes[some], self.error[some])


@dataclass(frozen=True)
class Zonotopes:
    """Zonotopes of V values with K symbols, one for each of B boxes."""

    centre: np.ndarray  # (V, B)
    gens: np.ndarray  # (V, K, B)
    loose: np.ndarray  # (V, B), ≥ 0

    @classmethod
    def of_boxes(cls, low: np.ndarray, high: np.ndarray) -> "Zonotopes":
        """Return boxes, a symbol for each value.

        Parameters
        ----------
        low, high : numpy.ndarray, shape (V, B)

        Returns
        -------
        Zonotopes
        """
        centre = low + (high - low) / 2
        half = np.maximum(high - centre, centre - low) * _GROWN  # of differences that are rounded
        return cls(centre, _diagonal(half), np.where(half > 0, TINY, 0.0))

    @classmethod
    def joined(cls, parts: "Sequence[Zonotopes]") -> "Zonotopes":
        """Return zonotopes of the same values and symbols over the boxes of all parts.

        Parameters
        ----------
        parts : sequence of Zonotopes

        Returns
        -------
        Zonotopes
        """
        return cls(
            *(np.concatenate([getattr(one, key) for one in parts], axis=-1) for key in ("centre", "gens", "loose"))
        )

    @property
    def reach(self) -> np.ndarray:
        """How far each value is from its centre at most, shape (V, B)."""
        grown = 1 + (self.gens.shape[1] + 8) * EPS
        reach = (np.abs(self.gens).sum(axis=1) + self.loose) * grown
        return np.where(reach < _FARTHEST, reach, np.nan)

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Low and high ends of each value, shapes (V, B)."""
        reach = self.reach
        wide = reach + EPS * (np.abs(self.centre) + reach)
        return self.centre - wide, self.centre + wide

    def part(self, boxes: np.ndarray) -> "Zonotopes":
        """Return those of some boxes.

        Parameters
        ----------
        boxes : numpy.ndarray of bool or int

        Returns
        -------
        Zonotopes
        """
        return Zonotopes(self.centre[:, boxes], self.gens[:, :, boxes], self.loose[:, boxes])

    def rows(self, some: slice | list[int]) -> "Zonotopes":
        """Return some of the values.

        Parameters
        ----------
        some : slice or list of int

        Returns
        -------
        Zonotopes
        """
        return Zonotopes(self.centre[some], self.gens[some], self.loose[some])

    def beside(self, other: "Zonotopes") -> "Zonotopes":
        """Return these values and others over the same symbols, those that one of them has more included.

        Parameters
        ----------
        other : Zonotopes
            Its first symbols are the same ones.

        Returns
        -------
        Zonotopes
        """
        K = max(self.gens.shape[1], other.gens.shape[1])
        gens = np.concatenate([_padded(self.gens, K), _padded(other.gens, K)])
        return Zonotopes(
            np.concatenate([self.centre, other.centre]), gens, np.concatenate([self.loose, other.loose])
        )  # fmt: skip

    def values_of(self, forms: Forms, *, symbols: bool) -> "Zonotopes":
        """Return what forms over these values are.

        Parameters
        ----------
        forms : Forms
        symbols : bool
            Whether the error of each value becomes a symbol of its own, as it should where the value is used more than
            once; otherwise it is loose, and grows as if signs did not matter.

        Returns
        -------
        Zonotopes
        """
        (V, K, B), n = self.gens.shape, len(forms.centre)
        gens = np.zeros((n, K + n if symbols else K, B))
        with np.errstate(all="ignore"):
            sizes = np.abs(forms.slopes)
            for j in range(n):
                for i in range(V):
                    gens[j, :K] += forms.slopes[j, i] * self.gens[i]
            slack = (sizes * self.loose).sum(axis=1) + (V + 2) * EPS * (sizes * self.reach).sum(axis=1)
            loose = slack * (_GROWN + V * EPS) + TINY
            own = (loose + forms.error) * _GROWN
        if not symbols:
            return Zonotopes(forms.centre, gens, own)
        gens[np.arange(n), K + np.arange(n)] = own
        return Zonotopes(forms.centre, gens, np.zeros((n, B)))

    def about(self, point: np.ndarray) -> "Zonotopes":
        """Return the values less a point.

        Parameters
        ----------
        point : numpy.ndarray, shape (V,)

        Returns
        -------
        Zonotopes
        """
        centre = self.centre - point[:, None]
        return Zonotopes(centre, self.gens, (self.loose + EPS * np.abs(centre)) * _GROWN + TINY)

    def pushed(self, half: np.ndarray) -> "Zonotopes":
        """Return the values with something added to some of them, each with a symbol of its own.

        Parameters
        ----------
        half : numpy.ndarray, shape (V,)
            Half widths of what is added.

        Returns
        -------
        Zonotopes
        """
        which = np.flatnonzero(half)
        K = self.gens.shape[1]
        gens = _padded(self.gens, K + which.size)
        gens[which, K + np.arange(which.size)] = half[which, None]
        return Zonotopes(self.centre, gens, self.loose)

    def reduced(self, kept: int, frame: np.ndarray) -> "Zonotopes":
        """Return zonotopes that hold these, with as many symbols as values beside the first ones.

        Parameters
        ----------
        kept : int
            So many symbols stay.
        frame : numpy.ndarray, shape (V, V)
            Coordinates in which values are compared; the box that replaces the other symbols lies along the principal
            axes of these there.

        Returns
        -------
        Zonotopes
        """
        E = np.moveaxis(np.concatenate([self.gens[:, kept:], _diagonal(self.loose)], axis=1), -1, 0)  # (B, V, symbols)
        inner = frame @ E
        usable = np.nan_to_num(inner @ inner.swapaxes(1, 2), nan=0.0, posinf=0.0, neginf=0.0)
        axes = np.linalg.eigh(usable)[1]
        W, back = np.linalg.inv(frame) @ axes, axes.swapaxes(1, 2) @ frame
        seen = back @ E
        left = np.abs(E - W @ seen).sum(axis=2)
        sizes = np.abs(seen).sum(axis=2)
        rounded = np.abs(E).sum(axis=2) + (np.abs(W) @ sizes[:, :, None])[:, :, 0]
        count = E.shape[1] + E.shape[2] + 8
        box = W * (sizes * (1 + count * EPS))[:, None, :]
        loose = (left + count * EPS * rounded).T * _GROWN + TINY
        return Zonotopes(self.centre, np.concatenate([self.gens[:, :kept], np.moveaxis(box, 0, -1)], axis=1), loose)


def _diagonal(values: np.ndarray) -> np.ndarray:
    """Return values (n, B) as symbols of their own, (n, n, B)."""
    n = len(values)
    gens = np.zeros((n, n, values.shape[1]))
    gens[np.arange(n), np.arange(n)] = values
    return gens


def _padded(gens: np.ndarray, K: int) -> np.ndarray:
    more = K - gens.shape[1]
    return np.concatenate([gens, np.zeros((len(gens), more, gens.shape[2]))], axis=1) if more else gens


def quadratic_above(
    last: Zonotopes, first: Zonotopes, P: np.ndarray, factor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bound aᵀPa - factor · bᵀPb from above, a and b over the same symbols.

    Parameters
    ----------
    last, first : Zonotopes
        a and b, shape (n, ...) each; one of them may have more symbols.
    P : numpy.ndarray, shape (n, n)
        Symmetric.
    factor : float
        ≥ 0; zero for aᵀPa alone.

    Returns
    -------
    above : numpy.ndarray, shape (B,)
    linear : numpy.ndarray, shape (K, B)
        Its slopes by the symbols.
    bent : numpy.ndarray, shape (K, B)
        What each symbol adds by being bent.

    Notes
    -----
    With a = c + Gζ + l: aᵀPa = cᵀPc + 2cᵀPGζ + ζᵀGᵀPGζ + 2(a - l)ᵀPl + lᵀPl. Each coefficient of the difference is
    computed from products of three numbers and sums of less than 2n² of them, so that rounding is at most (2n² + 4) u
    of the sum of their absolute values, and that sum over all coefficients at most |a|ᵀ|P||a| + factor |b|ᵀ|P||b|
    with |a| and |b| the largest absolute values.
    """
    K = max(last.gens.shape[1], first.gens.shape[1])
    n = len(P)
    G, H = (np.moveaxis(_padded(one.gens, K), -1, 0) for one in (last, first))  # (B, n, K)
    c, d = last.centre.T, first.centre.T
    Pc, Pd = c @ P, d @ P
    linear = 2 * (np.einsum("bi,bik->bk", Pc, G) - factor * np.einsum("bi,bik->bk", Pd, H))
    bent = G.swapaxes(1, 2) @ (P @ G) - factor * (H.swapaxes(1, 2) @ (P @ H))
    own = np.einsum("bkk->bk", bent)
    across = np.abs(bent).sum(axis=2) - np.abs(own)
    constant = np.einsum("bi,bi->b", Pc, c) - factor * np.einsum("bi,bi->b", Pd, d)
    found = constant + np.abs(linear).sum(axis=1) + (np.maximum(own, 0.0) + across).sum(axis=1)
    sizes, slack = np.zeros(len(found)), np.zeros(len(found))
    for one, weight in ((last, 1.0), (first, factor)):
        most = (np.abs(one.centre) + one.reach).T
        pulled = most @ np.abs(P)
        sizes += weight * np.einsum("bi,bi->b", pulled, most)
        slack += weight * 2 * np.einsum("bi,bi->b", pulled, one.loose.T)  # |2(a - l)ᵀPl + lᵀPl| ≤ 2|a|ᵀ|P|l, + lᵀPl
        slack += weight * np.einsum("bi,ij,bj->b", one.loose.T, np.abs(P), one.loose.T)
    above = found + (slack + (4 * n * n + 2 * K + 64) * EPS * sizes) * _GROWN + TINY
    return above, linear.T, (np.maximum(own, 0.0) + across).T
