"""Checks of what methods are given, by name; arrays of the right shape are passed on as they are, however large."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from scpo_ctrl.errors import DimensionError
from scpo_ctrl.validate import LARGEST_COUNT, as_array, as_count, as_stack

Method = TypeVar("Method", bound=Callable[..., Any])
Check = Callable[[Any, str, Any], Any]  # of an object, the name of an argument, and the argument


def checked(**checks: Check) -> Callable[[Method], Method]:
    """Return a decorator of methods, which get their arguments as these checks return them.

    Parameters
    ----------
    **checks : callable
        By name of the argument.

    Returns
    -------
    callable
    """

    def decorate(method: Method) -> Method:
        names = list(inspect.signature(method).parameters)[1:]

        @functools.wraps(method)
        def at_the_door(self: Any, *given: Any, **by_name: Any) -> Any:
            arguments = dict(zip(names, given, strict=False)) | by_name
            if len(given) > len(names) or len(arguments) < len(given) + len(by_name):
                return method(self, *given, **by_name)  # which Python refuses
            for name, check in checks.items():
                if name in arguments:
                    arguments[name] = check(self, name, arguments[name])
            return method(self, **arguments)

        return at_the_door  # type: ignore[return-value]

    return decorate


def array(name: str, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return an array of a shape; its numbers may be anything, as those of a step that goes astray.

    Parameters
    ----------
    name : str
        What it is called in the error message.
    value : array_like
    shape : tuple of int or None
        None for any length.

    Returns
    -------
    numpy.ndarray
        One of float64 that has the shape is itself.
    """
    kept = type(value) is np.ndarray and value.dtype == np.float64 and value.ndim == len(shape)
    if kept and all(n in (None, k) for n, k in zip(shape, value.shape, strict=True)):
        return np.asarray(value)
    return as_array(name, value, shape, finite=False)


def stack(name: str, value: Any, last: int) -> np.ndarray:
    """Return an array whose last axis has a length, with whatever axes before it.

    Parameters
    ----------
    name : str
    value : array_like
    last : int

    Returns
    -------
    numpy.ndarray
    """
    kept = type(value) is np.ndarray and value.dtype == np.float64
    found = np.asarray(value) if kept else as_stack(name, value)
    if found.shape[-1:] != (last,):
        raise DimensionError(f"{name} has shape {found.shape}, expected (..., {last})")
    return found


def whole(at_least: int = 0, at_most: int = LARGEST_COUNT) -> Check:
    """Return the check of a whole number.

    Parameters
    ----------
    at_least, at_most : int

    Returns
    -------
    callable
    """
    return lambda _self, name, value: as_count(name, value, at_least=at_least, at_most=at_most)
