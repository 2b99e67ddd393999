"""The tree of halvings of a cover, which says by itself that its boxes are all of the declared set.

Boxes are numbered in the order in which they come up: the whole of each cone first, then two for each box that is
halved, in the order of these. Each has a letter: ``.`` for proved, ``?`` for given up, a number's letter for halved
across it. Boxes are looked at in this order, so those without a letter are the last ones: they are where to go on.
"""

import numpy as np

from scpo_ctrl.errors import RecordError
from scpo_ctrl.proof.region import Region

DECIDED, UNDECIDED = -1, -2
DEEPEST = 40  # halvings of one number
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # of the numbers that boxes are halved across
_PROVED, _GIVEN_UP = ".", "?"


class Tree:
    """A tree of halvings of a region.

    Parameters
    ----------
    region : Region
    letters : str
        Of its boxes so far.

    Raises
    ------
    RecordError
        If the letters are those of no tree of this region.
    """

    def __init__(self, region: Region, letters: str = "") -> None:
        self.region = region
        self._codes = bytearray()
        self._cones = np.arange(region.cones)
        self._low, self._high = region.whole()
        self._lost = 0.0  # volume given up
        start = 0
        while start < len(letters):
            step = letters[start : start + len(self._cones)]
            self.close(_codes(step, region.size))
            start += len(step)
            if not len(self._cones) and start < len(letters):
                raise RecordError("it has letters for more boxes than there are")

    @property
    def letters(self) -> str:
        """The letter of each box that was looked at."""
        return self._codes.decode()

    @property
    def count(self) -> int:
        """How many boxes were looked at."""
        return len(self._codes)

    @property
    def pending(self) -> int:
        """How many boxes wait to be looked at."""
        return len(self._cones)

    @property
    def is_closed(self) -> bool:
        """Whether all boxes are proved."""
        return not len(self._cones) and _GIVEN_UP.encode() not in self._codes

    @property
    def undecided(self) -> float:
        """Which part of the region is not decided, about."""
        return float(self._lost + self.region.volumes(self._low, self._high).sum())

    def front(self, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the boxes that are next.

        Parameters
        ----------
        most : int

        Returns
        -------
        cones : numpy.ndarray of int, shape (B,)
        low, high : numpy.ndarray, shape (size, B)
        """
        return self._cones[:most], self._low[:, :most], self._high[:, :most]

    def close(self, codes: np.ndarray) -> None:
        """Take what was found of the boxes that are next.

        Parameters
        ----------
        codes : numpy.ndarray of int, shape (B,)
            DECIDED, UNDECIDED, or which number each is to be halved across.
        """
        n = len(codes)
        cones, low, high = self.front(n)
        self._lost += float(self.region.volumes(low, high)[codes == UNDECIDED].sum())
        self._codes += "".join(_letter(code) for code in codes.tolist()).encode()
        halved = np.flatnonzero(codes >= 0)
        which = codes[halved]
        left, right = high[:, halved].copy(), low[:, halved].copy()
        rows = np.arange(halved.size)
        middle = (low[which, halved] + high[which, halved]) / 2
        left[which, rows], right[which, rows] = middle, middle
        children = [
            np.stack(ends, axis=-1).reshape(len(low), -1) for ends in ((low[:, halved], right), (left, high[:, halved]))
        ]
        self._cones = np.concatenate([self._cones[n:], np.repeat(cones[halved], 2)])
        self._low = np.concatenate([self._low[:, n:], children[0]], axis=1)
        self._high = np.concatenate([self._high[:, n:], children[1]], axis=1)


def _letter(code: int) -> str:
    if code >= 0:
        return LETTERS[code]
    return _PROVED if code == DECIDED else _GIVEN_UP


def _codes(letters: str, size: int) -> np.ndarray:
    known = {_PROVED: DECIDED, _GIVEN_UP: UNDECIDED} | {letter: k for k, letter in enumerate(LETTERS[:size])}
    try:
        return np.array([known[letter] for letter in letters], dtype=np.int16)
    except KeyError as error:
        raise RecordError(f"it has the letter {error.args[0]!r}, which no box has") from error
