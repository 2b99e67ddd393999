"""Symbols and expressions of a plant as the user has them, made SX."""

from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.validate import as_scalar

_MOST_ENTRIES = 10_000  # of a list or array: each becomes an object of CasADi


def expressions(name: str, x: Any, u: Any, p: Any, f: Any) -> tuple[ca.SX, ca.SX, ca.SX, ca.SX]:
    """Return symbols and the expression of a plant as columns of SX.

    Parameters
    ----------
    name : str
        Of the plant.
    x, u, p : casadi.SX or casadi.MX, or a list of them
        Symbols.
    f : casadi.SX or casadi.MX, a list of them, or casadi.Function
        Expression of the symbols, or a function of (x, u) or (x, u, p).

    Returns
    -------
    x, u, p, f : casadi.SX

    Raises
    ------
    DomainError
        If something is of another kind, f has other symbols, or MX that cannot be made SX.
    DimensionError
        If there are no states or no inputs, or f has another size than x.
    """
    x, u, p = (_column(name, key, value) for key, value in (("x", x), ("u", u), ("p", p)))
    nx, nu = x.numel(), u.numel()
    if nx < 1 or nu < 1:
        raise DimensionError(f"plant {name!r} has {nx} states and {nu} inputs, expected at least one of each")
    symbols = [x, u, p]
    f = _called(name, f, symbols) if isinstance(f, ca.Function) else _column(name, "f", f)
    if f.shape != (nx, 1):
        raise DimensionError(f"plant {name!r}: f has shape {f.shape}, expected ({nx}, 1)")
    mixed = [key for key, value in zip("xup", symbols, strict=True) if value.numel() and type(value) is not type(f)]
    if mixed and f.is_constant():
        f, mixed = type(x)(ca.DM(f)), []
    if mixed:
        raise DomainError(
            f"plant {name!r}: {mixed[0]} is {type(symbols['xup'.index(mixed[0])]).__name__} and f is "
            f"{type(f).__name__}; make all of them with casadi.SX.sym"
        )
    return _as_sx(name, symbols, f)


def outputs(name: str, given: tuple[Any, Any], y: Any, symbols: tuple[ca.SX, ca.SX]) -> ca.SX:
    """Return the expression of what sensors show as a column of SX.

    Parameters
    ----------
    name : str
        Of the plant.
    given : tuple
        States and parameters as the user has them.
    y : casadi.SX or casadi.MX, or a list of them
        Expression of these.
    symbols : tuple of casadi.SX
        States and parameters that stand for them.

    Returns
    -------
    casadi.SX, shape (ny, 1)
        Empty where none is given.

    Raises
    ------
    DomainError
        If it is of another kind, or depends on anything else.
    """
    if isinstance(y, ca.SX) and not y.numel():
        return ca.SX(0, 1)
    columns = [_column(name, key, value) for key, value in zip("xp", given, strict=True)]
    try:
        measured = ca.Function("h", columns, [_column(name, "y", y)], {"allow_free": True})
        if measured.has_free():
            free = measured.get_free()[0]
            raise DomainError(f"plant {name!r}: y depends on {free}, which is none of x and p; sensors show the state")
        check_operations(f"plant {name!r}: y", measured)
        return ca.SX(measured.expand()(*symbols))
    except RuntimeError as error:
        raise DomainError(f"plant {name!r}: y cannot be made a function of x and p: {error}") from error


def check_operations(what: str, function: ca.Function) -> None:
    """Refuse an operation that no C library has: a compiled function that calls it would end the process.

    Parameters
    ----------
    what : str
        Of the message.
    function : casadi.Function
        Whose expressions they are.

    Raises
    ------
    DomainError
        If there is one.
    """
    inner = function.find_functions() if function.is_a("MXFunction") else []
    for one in (function, *inner):
        known = one.is_a("SXFunction") or one.is_a("MXFunction")
        if known and ca.OP_ERFINV in (one.instruction_id(k) for k in range(one.n_instructions())):
            raise DomainError(f"{what} has erfinv, which no C library has; write it with its inverse, erf")


def as_symbols(name: str, value: Any) -> Any:
    """Return `value` if it is a column of CasADi symbols.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : casadi.SX or casadi.MX, shape (n, 1)

    Returns
    -------
    casadi.SX or casadi.MX

    Raises
    ------
    DomainError
        If it is none.
    """
    if not isinstance(value, (ca.SX, ca.MX)) or not value.is_valid_input() or value.shape[1] != 1 or not value.numel():
        raise DomainError(f"{name} is {shown(value)}, expected a column of symbols such as casadi.SX.sym({name!r}, 2)")
    return value


def as_expression(name: str, value: Any, symbols: Any, size: int | None = None, *, compiled: bool = True) -> Any:
    """Return `value` as a column of expressions of some symbols, and of nothing else.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : casadi.SX, casadi.MX, casadi.DM or float
    symbols : casadi.SX or casadi.MX
    size : int, optional
        Number of entries.
    compiled : bool
        Whether it must have C.

    Returns
    -------
    casadi.SX or casadi.MX

    Raises
    ------
    DomainError
        If it is of another kind, depends on other symbols, or has an operation that must have C and has none.
    DimensionError
        If it has another size, or is no column.
    """
    kind = type(symbols)
    if isinstance(value, (float, int)):
        value = as_scalar(name, value)
    if isinstance(value, (ca.DM, float)):
        value = kind(value)
    if not isinstance(value, kind):
        raise DomainError(f"{name} is {shown(value)}, expected a casadi.{kind.__name__} expression of the symbols")
    if value.shape[1] != 1 or value.shape[0] != (size or value.shape[0]) or not value.numel():
        raise DimensionError(f"{name} has shape {value.shape}, expected {(size or 'any', 1)}")
    function = ca.Function("f", [symbols], [value], {"allow_free": True})
    if function.has_free():
        raise DomainError(f"{name} depends on {function.get_free()[0]}, which is none of the symbols")
    if compiled:
        check_operations(name, function)
    return value


def _column(name: str, key: str, value: Any) -> Any:
    """Return an expression, or a list of them, as a column."""
    expected = {
        "f": "a CasADi expression, a list of them or a casadi.Function",
        "y": "a CasADi expression or a list of them",
    }.get(key, "a column of CasADi symbols")
    size = value.size if isinstance(value, np.ndarray) else len(value) if isinstance(value, (list, tuple)) else 0
    if size > _MOST_ENTRIES:
        raise DimensionError(f"plant {name!r}: {key} has {size} entries, more than {_MOST_ENTRIES}; make it smaller")
    try:
        if size:
            value = ca.vertcat(*value)
        if isinstance(value, (ca.DM, float)) and key == "f":
            value = ca.SX(value)  # a state that is constant
    except Exception as error:  # CasADi raises NotImplementedError, RuntimeError and others
        raise DomainError(f"plant {name!r}: {key} is {shown(value)}, expected {expected}") from error
    if not isinstance(value, (ca.SX, ca.MX)):
        raise DomainError(f"plant {name!r}: {key} is {shown(value)}, expected {expected}")
    return value.T if value.shape[0] == 1 else value


def _called(name: str, f: ca.Function, symbols: list[Any]) -> Any:
    """Return the first result of a function of the symbols."""
    if f.n_in() not in (2, 3) or f.n_out() < 1:
        raise DomainError(f"plant {name!r}: f takes {f.n_in()} arguments, expected a function of (x, u) or (x, u, p)")
    try:
        return f(*symbols[: f.n_in()]) if f.n_out() == 1 else f(*symbols[: f.n_in()])[0]
    except Exception as error:
        raise DimensionError(f"plant {name!r}: f is {f}, which does not fit its symbols x, u and p") from error


def _as_sx(name: str, symbols: list[Any], f: Any) -> tuple[ca.SX, ca.SX, ca.SX, ca.SX]:
    """Check that f is an expression of the symbols and nothing else, and turn MX into SX."""
    for key, value in zip("xup", symbols, strict=True):
        if not value.is_valid_input():
            raise DomainError(
                f"plant {name!r}: {key} is {shown(value)}, expected symbols such as casadi.SX.sym({key!r}, 2)"
            )
    given = [symbol for symbol in symbols if symbol.numel()]
    entries = [entry for symbol in given for entry in ca.symvar(symbol)]
    if len({hash(entry.element_hash() if isinstance(entry, ca.SX) else entry) for entry in entries}) < len(entries):
        raise DomainError(f"plant {name!r}: a symbol is in more than one place of x, u and p; give each its own")
    try:
        function = ca.Function("f", given, [f], {"allow_free": True})
    except RuntimeError as error:
        raise DomainError(f"plant {name!r}: f cannot be made a function of x, u and p: {error}") from error
    if function.has_free():
        free = function.get_free()[0]
        raise DomainError(f"plant {name!r}: f depends on {free}, which is none of x, u and p; name it in p")
    check_operations(f"plant {name!r}: f", function)
    if isinstance(f, ca.SX):
        x, u, p = (value if value.numel() else ca.SX(0, 1) for value in symbols)
        return x, u, p, f
    x, u, p = (ca.SX.sym(key, value.numel()) for key, value in zip("xup", symbols, strict=True))
    try:
        return x, u, p, ca.SX(function.expand()(*(symbol for symbol in (x, u, p) if symbol.numel())))
    except RuntimeError as error:
        raise DomainError(
            f"plant {name!r}: f is an MX expression that has no SX form; write it with casadi.SX, or give the plant's "
            "linear model here and it as the simulator of ControlProblem"
        ) from error
