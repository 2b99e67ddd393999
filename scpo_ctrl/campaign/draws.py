"""Random values of a sweep, by counter-based numbers: draw k of a key is the same wherever and whenever it is drawn."""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.errors import ProblemFileError
from scpo_ctrl.messages import shown

KINDS = ("uniform", "log", "integers", "choice")
_DIGITS = 12  # of a drawn number: the last bits of a logarithm are the machine's
_LARGEST = 1 << 53
_MOST_RATIO = 1e300  # of what is uniform in the logarithm


@dataclass(frozen=True)
class Draw:
    """What a key is drawn from."""

    kind: str  # one of KINDS
    values: tuple[Any, ...]  # least and largest; of a choice all of them

    def value(self, key: str, seed: int, k: int) -> Any:
        """Return a draw.

        Parameters
        ----------
        key : str
            Of the problem file; each has numbers of its own.
        seed : int
        k : int
            Which draw.

        Returns
        -------
        object
        """
        of_key = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
        numbers = np.random.Generator(np.random.Philox(key=seed << 64 | of_key, counter=k << 64))
        if self.kind == "choice":
            return self.values[int(numbers.integers(len(self.values)))]
        low, high = self.values
        if self.kind == "integers":
            return int(numbers.integers(low, high, endpoint=True))
        at = numbers.random()
        found = low * math.exp(at * math.log(high / low)) if self.kind == "log" else low + at * (high - low)
        return min(max(_rounded(found), low), high)

    def place(self, value: Any) -> Any:
        """Return what stands for a value where others choose it: of a choice its number, else a number within bounds.

        Parameters
        ----------
        value : object

        Returns
        -------
        object
        """
        if self.kind == "choice":
            return [json.dumps(one) for one in self.values].index(json.dumps(value))  # 1, 1.0 and true are equal
        low, high = self.values
        return min(max(value, low), high)

    def at(self, place: Any) -> Any:
        """Return the value that something stands for.

        Parameters
        ----------
        place : object
            Of `place`.

        Returns
        -------
        object
        """
        if self.kind == "choice":
            return self.values[place]
        return place if self.kind == "integers" else min(max(_rounded(place), self.values[0]), self.values[1])

    def holds(self, value: Any) -> bool:
        """Return whether a value can be drawn.

        Parameters
        ----------
        value : object

        Returns
        -------
        bool
        """
        if self.kind == "choice":
            return json.dumps(value) in map(json.dumps, self.values)
        types, (low, high) = (int,) if self.kind == "integers" else (int, float), self.values
        return type(value) in types and low <= value <= high


def read_draw(key: str, table: dict[str, Any]) -> Draw:
    """Return what a key is drawn from.

    Parameters
    ----------
    key : str
    table : dict
        One of KINDS, and its values.

    Returns
    -------
    Draw

    Raises
    ------
    ProblemFileError
        If it is none.
    """
    if len(table) != 1 or next(iter(table)) not in KINDS:
        raise ProblemFileError(
            f"{key} is {shown(table)}, expected one of {', '.join(KINDS)}: {{ uniform = [0.5, 1.5] }}"
        )
    ((kind, values),) = table.items()
    if kind == "choice":
        if not isinstance(values, list) or not values:
            raise ProblemFileError(f"{key}: choice is {shown(values)}, expected a list of values")
        return Draw(kind, tuple(values))
    types = (int,) if kind == "integers" else (int, float)
    is_pair = isinstance(values, list) and len(values) == 2 and all(type(value) in types for value in values)
    is_drawn = is_pair and -_LARGEST <= values[0] < values[1] <= _LARGEST
    if not is_drawn or (kind == "log" and not (values[0] > 0 and values[1] / values[0] <= _MOST_RATIO)):
        least = {"integers": "whole numbers", "log": "positive numbers of a finite ratio"}.get(kind, "numbers")
        raise ProblemFileError(f"{key}: {kind} is {shown(values)}, expected two {least}, the least first, up to 2^53")
    return Draw(kind, tuple(values))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
