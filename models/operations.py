"""Expressions as plain data, such as JSON holds: a list of operations, which nothing needs to run.

CasADi's own files hold functions too, but reading one may load a library that it names. Here every operation is one
of a list, and what is read back gives the same numbers to the last bit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.instructions import instructions, operation_name

_MOST = 1_000_000  # operations
_LARGEST = float(np.finfo(float).max)
_UNARY = (
    "neg", "sq", "twice", "inv", "not", "sqrt", "fabs", "sign", "floor", "ceil", "exp", "expm1", "log", "log1p", "erf",
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
)  # fmt: skip
_BINARY = (
    "add", "sub", "mul", "div", "pow", "constpow", "fmin", "fmax", "atan2", "fmod", "hypot", "copysign",
    "lt", "le", "eq", "ne", "and", "or", "if_else_zero",
)  # fmt: skip
CODES = {name: getattr(ca, f"OP_{name.upper()}") for name in (*_UNARY, *_BINARY)}  # CasADi's numbers may change
_NAMES = {code: name for name, code in CODES.items()}
_TEXTS = ("labels", "names", "units")  # keys of tables

Fields = Mapping[str, str]  # by key of a table the field of an object that it holds


def to_operations(owner: str, inputs: Mapping[str, ca.SX], outputs: Mapping[str, ca.SX]) -> dict[str, Any]:
    """Return expressions of some symbols as plain data.

    Parameters
    ----------
    owner : str
        What they are of, for messages.
    inputs : mapping of str to casadi.SX
        Columns of symbols by name.
    outputs : mapping of str to casadi.SX
        Columns of expressions by name.

    Returns
    -------
    dict
        ``operations``: each has its name and the numbers of those whose results it takes; the name of an input takes an
        entry, "constant" a value. For each output the numbers of its entries' operations.

    Raises
    ------
    DomainError
        If an expression has an operation that is none of the list.
    """
    function = ca.Function("f", [*inputs.values()], [ca.densify(output) for output in outputs.values()])
    names, operations = [*inputs], list[list[Any]]()
    held: dict[int, int] = {}  # by a place in CasADi's memory the operation whose result is there
    results = [[0] * output.numel() for output in outputs.values()]
    for step in instructions(function):
        code, (which, entry) = step.operation, step.entry
        if code == ca.OP_OUTPUT:
            results[which][entry] = held[step.takes[0]]
            continue
        if code == ca.OP_CONST:
            operations.append(["constant", plain(step.value)])
        elif code == ca.OP_INPUT:
            operations.append([names[which], entry])
        elif code in _NAMES:
            taken = step.takes[: 1 if _NAMES[code] in _UNARY else 2]
            operations.append([_NAMES[code], *(held[place] for place in taken)])
        else:
            raise DomainError(
                f"{owner} has the operation {operation_name(code)} of CasADi, which cannot be saved; known: "
                f"{', '.join(CODES)}"
            )
        held[step.place] = len(operations) - 1
    return {"operations": operations} | dict(zip(outputs, results, strict=True))


def from_operations(data: Mapping[str, Any], inputs: Mapping[str, ca.SX], outputs: Sequence[str]) -> list[ca.SX]:
    """Return the expressions that plain data stand for.

    Parameters
    ----------
    data : mapping
        As `to_operations` returns.
    inputs : mapping of str to casadi.SX
        Columns of symbols by name.
    outputs : sequence of str

    Returns
    -------
    list of casadi.SX
        A column for each output.

    Raises
    ------
    DomainError
        If something is unknown or of another kind.
    DimensionError
        If there are too many operations.
    """
    if not all(isinstance(data[name], list) for name in ("operations", *outputs)):
        raise DomainError(f"operations or {' or '.join(outputs)} is no list")
    if len(data["operations"]) > _MOST:
        raise DimensionError(f"operations has {len(data['operations'])} entries, more than {_MOST}")
    results: list[ca.SX] = []
    for operation in data["operations"]:
        results.append(_result(operation, results, inputs))
    return [ca.vertcat(ca.SX(0, 1), *(_earlier(name, k, results) for k in data[name])) for name in outputs]


def to_table(holder: Any, fields: Fields) -> dict[str, list[Any]]:
    """Return fields of an object as a table of lists.

    Parameters
    ----------
    holder : object
    fields : mapping of str to str

    Returns
    -------
    dict
    """
    return {key: [plain(entry) for entry in getattr(holder, field)] for key, field in fields.items()}


def from_table(stem: str, table: Any, fields: Fields) -> dict[str, list[Any]]:
    """Return what a table holds, by field.

    Parameters
    ----------
    stem : str
        What the table is called, for messages.
    table : object
    fields : mapping of str to str

    Returns
    -------
    dict

    Raises
    ------
    DomainError
        If something is unknown, missing or of another kind.
    """
    check_keys(stem, table, tuple(fields))
    found: dict[str, list[Any]] = {}
    for key, field in fields.items():
        value = table[key]
        if not isinstance(value, list):
            raise DomainError(f"{stem}.{key} is {shown(value)}, expected a list")
        found[field] = value if key in _TEXTS else [number(f"{stem}.{key}", v) for v in value]
    return found


def check_keys(where: str, data: Any, keys: tuple[str, ...]) -> None:
    """Refuse what is no table of some keys.

    Parameters
    ----------
    where : str
        What it is called, for messages.
    data : object
    keys : tuple of str

    Raises
    ------
    DomainError
        If it is none.
    """
    if not isinstance(data, dict) or set(data) != set(keys):
        raise DomainError(f"{where} is {shown(data)}, expected a table of {', '.join(keys)}")


def plain(value: Any) -> Any:
    """Return text as it is, a number as one that JSON has, or as text where it has none.

    Parameters
    ----------
    value : str or float

    Returns
    -------
    str or float
    """
    return value if isinstance(value, str) else float(value) if np.isfinite(value) else str(float(value))


def number(where: str, value: Any) -> float:
    """Return the number that plain data stand for.

    Parameters
    ----------
    where : str
        What has it, for messages.
    value : object

    Returns
    -------
    float

    Raises
    ------
    DomainError
        If it is none.
    """
    if isinstance(value, str) and value in ("inf", "-inf", "nan"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > _LARGEST:
        raise DomainError(f'{where} has {shown(value)}, expected a number, "inf", "-inf" or "nan"')
    return float(value)


def _result(operation: Any, results: list[ca.SX], symbols: Mapping[str, ca.SX]) -> ca.SX:
    """Return the result of an operation on those of earlier ones."""
    where = f"operation {len(results)}"
    if not isinstance(operation, list) or not operation or not isinstance(operation[0], str):
        raise DomainError(f"{where} is {shown(operation)}, expected a list that begins with a name")
    name, arguments = operation[0], operation[1:]
    count = 2 if name in _BINARY else 1
    if len(arguments) != count or name not in (*CODES, *symbols, "constant"):
        raise DomainError(f"{where} is {shown(operation)}, which is unknown or has another number of arguments")
    if name == "constant":
        return ca.SX(number(where, arguments[0]))
    if name in symbols:
        return _earlier(where, arguments[0], ca.vertsplit(symbols[name]))
    taken = [_earlier(where, argument, results) for argument in arguments]
    return ca.SX.binary(CODES[name], *taken) if count == 2 else ca.SX.unary(CODES[name], *taken)


def _earlier(where: str, which: Any, results: list[ca.SX]) -> ca.SX:
    if isinstance(which, bool) or not isinstance(which, int) or not 0 <= which < len(results):
        raise DomainError(f"{where} takes {shown(which)}, expected a whole number from 0 to {len(results) - 1}")
    return results[which]
