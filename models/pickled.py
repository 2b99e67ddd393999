"""Expressions in pickles and deep copies, with symbols that stay shared between the objects that share them."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from typing import Any, ClassVar, Self, TypeVar
from weakref import WeakValueDictionary

import casadi as ca

T = TypeVar("T")
_SYMBOLS, _EXPRESSIONS = "_symbols", "_expressions"  # keys of a state, and where an object keeps its symbols


class Symbol:
    """A symbol under a key that holds in every process, for as long as an object is there that has it.

    Parameters
    ----------
    key : str
    symbol : casadi.SX, shape (1, 1)
    """

    __slots__ = ("__weakref__", "key", "symbol")

    def __init__(self, key: str, symbol: ca.SX) -> None:
        self.key, self.symbol = key, symbol

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded, (self.key, self.symbol.name())


_by_key: WeakValueDictionary[str, Symbol] = WeakValueDictionary()
_by_node: WeakValueDictionary[int, Symbol] = WeakValueDictionary()  # CasADi's number of a symbol that is there
_lock = threading.Lock()


def _kept(key: str, symbol: ca.SX) -> Symbol:
    return _by_key.setdefault(key, _by_node.setdefault(symbol.element_hash(), Symbol(key, symbol)))


def _loaded(key: str, name: str) -> Symbol:
    """Return the symbol of a key, a new one where this process has none."""
    with _lock:
        return _by_key.get(key) or _kept(key, ca.SX.sym(name))


def _saved(symbol: ca.SX) -> Symbol:
    """Return a symbol with its key, a new one where it has none."""
    with _lock:
        return _by_node.get(symbol.element_hash()) or _kept(uuid.uuid4().hex, symbol)


class Pickled:
    """Base of a frozen dataclass with fields of casadi.SX, which by itself can be neither pickled nor copied in full.

    A pickle has the fields alone: what was computed from them is computed again. Expressions over symbols of the same
    object, such as a cost over a plant's, fit it after loading too, whether they were pickled together or not.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __getstate__(self) -> dict[str, Any]:
        state = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        found = {key: value for key, value in state.items() if isinstance(value, ca.SX)}
        entries = ca.symvar(ca.veccat(*found.values()))
        column = ca.vertcat(ca.SX(0, 1), *entries)
        symbols = tuple(_saved(symbol) for symbol in entries)
        vars(self)[_SYMBOLS] = symbols  # and with them their keys, as long as this object is there
        function = ca.Function("expressions", [column], list(found.values()), ["symbols"], list(found))
        return state | dict.fromkeys(found) | {_SYMBOLS: symbols, _EXPRESSIONS: function}

    def __setstate__(self, state: dict[str, Any]) -> None:
        function = state.pop(_EXPRESSIONS)
        column = ca.vertcat(ca.SX(0, 1), *(one.symbol for one in state[_SYMBOLS]))
        vars(self).update(state | dict(zip(function.name_out(), function.call([column]), strict=True)))

    def __copy__(self) -> Self:
        return shallow(self)


def shallow(one: T) -> T:
    """Return a shallow copy of an object that pickles by other means than its attributes.

    Parameters
    ----------
    one : object

    Returns
    -------
    object
        Of the same class and attributes.
    """
    other = object.__new__(type(one))
    vars(other).update(vars(one))
    return other
