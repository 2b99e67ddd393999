"""The arithmetic of a device: one type, sums term by term, and functions as a C library gives them.

In double every result has the bits of the C compiled on this computer, as both call its library. In float that holds
but for the logarithm of local stability and the plant's own functions, such as sine, whose last bit differs between
libraries: they are computed in double and rounded.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from scpo_ctrl.codegen.arithmetic import result
from scpo_ctrl.codegen.literals import number_type
from scpo_ctrl.errors import DomainError

_NAMES = (
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "exp", "expm1",
    "log", "log1p", "erf", "pow", "atan2", "fmod",
)  # fmt: skip
_EVERYWHERE = ("atan", "tanh", "asinh", "erf", "atan2")  # a number for each number
_FAR = 8.2  # beyond it tanh is one in float
_P = (-1.0875283e-13, 6.1358092e-11, -2.1894108e-8, 1.15473861e-5, 3.14066662e-3, 0.131166576, 0.9999999976)
_Q = (2.6000917e-4, 2.46406686e-2, 0.464499885, 1.0)


@cache
def _of_library(name: str) -> Callable[..., Any]:
    """Return a function of the C library for arrays of doubles."""
    by_c = getattr(math, name)
    if name in _EVERYWHERE:
        return np.frompyfunc(by_c, 2 if name == "atan2" else 1, 1)

    def safe(*of: float) -> float:
        try:
            return float(by_c(*of))
        except (ValueError, OverflowError):  # where C gives NaN or infinity
            return float(result(name, [np.float64(value) for value in of]))

    return np.frompyfunc(safe, 2 if name in ("pow", "atan2", "fmod") else 1, 1)


@dataclass(frozen=True)
class Arithmetic:
    """Operations in one type, "double" or "float"."""

    real: str

    @property
    def number(self) -> type[np.floating[Any]]:
        """The type."""
        return number_type(self.real)

    @property
    def epsilon(self) -> np.floating[Any]:
        """Distance from 1 to the next number."""
        return self.number(np.finfo(self.number).eps)

    @property
    def least(self) -> np.floating[Any]:
        """The least normal number."""
        return self.number(np.finfo(self.number).tiny)

    @property
    def largest(self) -> np.floating[Any]:
        """The largest number."""
        return self.number(np.finfo(self.number).max)

    def array(self, values: Any) -> np.ndarray:
        """Return numbers rounded to the type.

        Parameters
        ----------
        values : array_like

        Returns
        -------
        numpy.ndarray

        Raises
        ------
        DomainError
            If one is not finite in the type.
        """
        with np.errstate(over="ignore"):
            numbers = np.array(values, dtype=self.number)
        if not np.isfinite(numbers).all():
            worst = np.asarray(values, dtype=np.float64)[~np.isfinite(numbers)][0]
            raise DomainError(f"the number {worst:g} of the problem is none in {self.real}; take real = 'double'")
        return numbers

    def inner(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Return sums of products along the last axis, from the first on.

        Parameters
        ----------
        x : numpy.ndarray, shape (..., n)
        y : numpy.ndarray, shape (..., n)

        Returns
        -------
        numpy.ndarray or number, shape (...)
        """
        return self.sum(x * y)

    def sum(self, terms: np.ndarray) -> Any:
        """Return sums along the last axis, from the first term on.

        Parameters
        ----------
        terms : numpy.ndarray, shape (..., n)

        Returns
        -------
        numpy.ndarray or number, shape (...)
        """
        return np.add.accumulate(terms, axis=-1)[..., -1] + self.number(0)

    def length(self, x: np.ndarray) -> Any:
        """Return the Euclidean norm, shape (), of a vector, shape (n,)."""
        return np.sqrt(self.inner(x, x))

    def tanh(self, x: np.ndarray) -> np.ndarray:
        """Return tanh; in float the rational function that the runtime has instead.

        Parameters
        ----------
        x : numpy.ndarray

        Returns
        -------
        numpy.ndarray
        """
        if self.real == "double":
            return self.operate("tanh", [x])
        y = np.clip(x, self.number(-_FAR), self.number(_FAR))
        p, q = (self._polynomial(of, y * y) for of in (_P, _Q))
        return y * p / q

    def _polynomial(self, coefficients: tuple[float, ...], t: np.ndarray) -> np.ndarray:
        value: Any = self.number(coefficients[0])
        for coefficient in coefficients[1:]:
            value = value * t + self.number(coefficient)
        return value

    def operate(self, name: str, of: list[Any]) -> np.ndarray:
        """Return the result of an operation of a graph.

        Parameters
        ----------
        name : str
        of : list of numpy.ndarray
            What it takes.

        Returns
        -------
        numpy.ndarray
        """
        if name not in _NAMES:
            found = result(name, of)
            return found if found.dtype == self.number else found.astype(self.number)  # true and false are numbers too
        found = _of_library(name)(*(np.asarray(value, dtype=np.float64) for value in of))
        return np.asarray(found, dtype=np.float64).astype(self.number)
