"""Points of the declared set by their numbers, as audits on the device draw them: codegen/runtime/audit has the C."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.codegen.fresh_set import FreshSet
from scpo_ctrl.device.arithmetic import Arithmetic

_ROUNDS, _MULTIPLIER, _WEYL = 10, np.uint64(0xD256D193), 0x9E3779B9  # of Philox 2x32
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF)
_WORDS = 6  # of a coordinate's direction: twelve halves, that make a normal number of their sum
_TEICHROEW = (0.029899776, 0.008355968, 0.076542912, 0.252408784, 3.949846138)  # Knuth, vol. 2, 3.4.1


def word(seed: int, number: np.ndarray, place: np.ndarray | int) -> np.ndarray:
    """Return words of points: Philox 2x32 with ten rounds.

    Parameters
    ----------
    seed : int
    number : numpy.ndarray of int
        Of the points.
    place : numpy.ndarray of int
        Of the words; the shapes broadcast.

    Returns
    -------
    numpy.ndarray of uint64
        Below 2³².

    References
    ----------
    J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    right, place = np.broadcast_arrays(np.asarray(number, np.uint64), np.asarray(place, np.uint64))
    left, key = place >> np.uint64(1), seed
    for _ in range(_ROUNDS):
        product = _MULTIPLIER * left
        left = (product >> np.uint64(32)) ^ np.uint64(key) ^ right
        right = product & _LOW
        key = (key + _WEYL) & 0xFFFFFFFF
    return np.where(place & np.uint64(1), right, left)


@dataclass(frozen=True)
class Points:
    """A declared set in the arithmetic of a device: even numbers are uniform in it, odd ones on its edges."""

    arithmetic: Arithmetic
    box: bool
    centres: np.ndarray
    shape: np.ndarray
    low: np.ndarray
    high: np.ndarray
    half: np.ndarray
    fixed: Any
    rate: Any
    floor: Any
    p_range: np.ndarray
    horizon: int

    @classmethod
    def of(cls, declared: FreshSet, arithmetic: Arithmetic, p_range: np.ndarray, horizon: int) -> "Points":
        """Return the points of a set.

        Parameters
        ----------
        declared : FreshSet
        arithmetic : Arithmetic
        p_range : numpy.ndarray, shape (2, np)
            In this arithmetic.
        horizon : int

        Returns
        -------
        Points
        """
        tables = {key: arithmetic.array(getattr(declared, key)) for key in ("centres", "shape", "low", "high", "half")}
        numbers: dict[str, Any] = {key: arithmetic.number(getattr(declared, key)) for key in ("fixed", "rate", "floor")}
        return cls(arithmetic, declared.box, **tables, **numbers, p_range=p_range, horizon=horizon)

    def draw(self, seed: int, number: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the points of some numbers.

        Parameters
        ----------
        seed : int
        number : numpy.ndarray of int, shape (n,)

        Returns
        -------
        x0 : numpy.ndarray, shape (n, nx)
        p : numpy.ndarray, shape (n, np)
            Within the declared ranges.
        w : numpy.ndarray, shape (n, N, nx)
            (n, N, 0) where nothing is disturbed.
        """
        nx, npar, number = self.shape.shape[0], self.p_range.shape[1], np.asarray(number, np.int64)
        which = (word(seed, number, 0) % np.uint64(len(self.centres))).astype(int)
        offset = self._in_box(seed, number) if self.box else self._in_ball(seed, number)
        x = self.centres[which] + self.arithmetic.inner(self.shape, offset[:, None, :])
        x = np.where(x < self.low, self.low, np.where(x > self.high, self.high, x))
        places = 1 + (1 + _WORDS) * nx + np.arange(npar)
        at_corner = (number & self._kind(seed, number) & 1 == 1)[:, None]  # of the edges half are
        ends = (self._ends(seed, number[:, None], places) + 1) / self.arithmetic.number(2)
        part = np.where(at_corner, ends, self._units(seed, number[:, None], places))
        return x, self.p_range[0] + part * (self.p_range[1] - self.p_range[0]), self._disturbances(seed, number)

    def _units(self, seed: int, number: np.ndarray, place: np.ndarray | int) -> np.ndarray:
        """Return numbers in (0, 1), of 23 bits."""
        kind = self.arithmetic.number
        drawn = (word(seed, number, place) >> np.uint64(9)).astype(kind)
        return np.asarray((drawn + kind(0.5)) / kind(8388608.0))

    def _kind(self, seed: int, number: np.ndarray) -> np.ndarray:
        """Return what kind of edge points are: bits that no number of `_units` has."""
        return np.asarray(word(seed, number, 1) & np.uint64(511)).astype(np.int64)

    def _ends(self, seed: int, number: np.ndarray, place: np.ndarray | int) -> np.ndarray:
        """Return -1 or 1."""
        one = self.arithmetic.number(1)
        return np.where(word(seed, number, place) >> np.uint64(31), one, -one)

    def _distance(self, seed: int, number: np.ndarray) -> np.ndarray:
        """Return how far points are from the centre: on an edge, three of four at its end."""
        drawn = self._units(seed, number[:, None], 1 + np.arange(self.shape.shape[0])).max(axis=1)
        is_edge = number & 1 == 1
        inside = np.where(is_edge, drawn * drawn * drawn, drawn)
        return np.where(is_edge & ((number >> 1) % 4 != 3), self.arithmetic.number(1), inside)

    def _in_ball(self, seed: int, number: np.ndarray) -> np.ndarray:
        nx, one = self.shape.shape[0], self.arithmetic.number(1)
        drawn = word(seed, number[:, None], 1 + nx + np.arange(_WORDS * nx))
        halves = ((drawn >> np.uint64(16)) + (drawn & _HALF)).astype(np.int64).reshape(-1, nx, _WORDS)
        r = (halves.sum(axis=2) - _WORDS * 65535).astype(self.arithmetic.number) / self.arithmetic.number(262144)
        square, z = r * r, np.zeros_like(r)
        for coefficient in _TEICHROEW:
            z = z * square + self.arithmetic.number(coefficient)
        z = z * r
        length = np.sqrt(self.arithmetic.inner(z, z))
        return z * (self._distance(seed, number) / np.where(length > 0, length, one))[:, None]

    def _in_box(self, seed: int, number: np.ndarray) -> np.ndarray:
        nx, two = self.shape.shape[0], self.arithmetic.number(2)
        is_edge, places = number & 1 == 1, 1 + nx + np.arange(nx)
        face = is_edge[:, None] & ((word(seed, number, 0) % np.uint64(nx))[:, None] == np.arange(nx))
        inside = two * self._units(seed, number[:, None], places) - 1
        z = np.where(face, self._ends(seed, number[:, None], places), inside)
        return np.where(is_edge, self._distance(seed, number), self.arithmetic.number(1))[:, None] * z

    def _disturbances(self, seed: int, number: np.ndarray) -> np.ndarray:
        nx, N, kind = self.shape.shape[0], self.horizon, self.arithmetic.number
        if not self.half.size:
            return np.zeros((number.size, N, 0), kind)
        first, time = 1 + (1 + _WORDS) * nx + max(self.p_range.shape[1], 1), np.arange(N)[:, None]
        uniform, ends = self._units, self._ends
        edge, numbers = (number & 1 == 1)[:, None], number[:, None, None]
        at_start = first + np.arange(nx)
        constant = np.where(
            edge, ends(seed, number[:, None], at_start), kind(2) * uniform(seed, number[:, None], at_start) - 1
        )[:, None]
        places = first + nx * (1 + time) + np.arange(nx)
        switch = (uniform(seed, number, first + nx) * kind(N))[:, None, None]
        kinds = (
            constant,
            np.where(time & 1, -constant, constant),
            np.where(time.astype(kind) < switch, constant, -constant),
            ends(seed, numbers, places),
        )
        which = (self._kind(seed, number) >> 1 & 3)[:, None, None]
        chosen = np.select([which == k for k in range(4)], np.broadcast_arrays(*kinds))
        varying = np.where(edge[:, None], chosen, kind(2) * uniform(seed, numbers, places) - 1)
        return np.asarray((self.fixed * constant + (1 - self.fixed) * varying) * self.half)
