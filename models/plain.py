"""A plant as plain data, such as JSON holds: its expressions as a list of operations, which nothing needs to run.

CasADi's own files hold functions too, but reading one may load a library that it names. Here every operation is one
of a list, and what is read back gives the same numbers to the last bit.
"""

from collections.abc import Mapping
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.sealed import as_instance

FORMAT = 1  # of the data
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
_CODES = {name: getattr(ca, f"OP_{name.upper()}") for name in (*_UNARY, *_BINARY)}  # CasADi's numbers may change
_NAMES = {code: name for name, code in _CODES.items()}
_FIELDS = {
    "x": {"labels": "x_labels", "units": "x_units", "min": "x_min", "max": "x_max", "equilibrium": "x_eq"},
    "u": {"labels": "u_labels", "units": "u_units", "min": "u_min", "max": "u_max", "equilibrium": "u_eq"},
    "p": {"labels": "p_labels", "units": "p_units", "nominal": "p_nominal", "above": "p_above"},
}
_KEYS = ("format", "name", "source", "dt", *_FIELDS, "operations", "f")


def to_plain(plant: Plant) -> dict[str, Any]:
    """Return a plant as plain data.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    dict
        Of numbers, texts, lists and tables, no number infinite or undefined; outputs y are left out, as what is
        recorded sees the whole state. An operation has its name and the numbers
        of those whose results it takes; "x", "u" and "p" take an entry, "constant" a value. ``f`` lists results.

    Raises
    ------
    DomainError
        If an expression has an operation that is none of the list.
    """
    as_instance("plant", plant, Plant)
    operations, results = _operations(plant)
    data: dict[str, Any] = {"format": FORMAT, "name": plant.name, "source": plant.source, "dt": plant.dt}
    for stem, fields in _FIELDS.items():
        values = {key: getattr(plant, field) for key, field in fields.items()}
        data[stem] = {key: [_plain(entry) for entry in value] for key, value in values.items()}
    return data | {"operations": operations, "f": results}


def from_plain(data: Any) -> Plant:
    """Return the plant that plain data stand for.

    Parameters
    ----------
    data : dict
        As `to_plain` returns.

    Returns
    -------
    Plant

    Raises
    ------
    DomainError
        If something is unknown, missing or of another kind.
    DimensionError, BoundsError
        As of `Plant`.
    """
    _check_keys("the plant", data, _KEYS)
    if data["format"] != FORMAT:
        raise DomainError(f"format is {shown(data['format'])}, this version reads {FORMAT}; use the one that wrote it")
    fields: dict[str, Any] = {}
    for stem, names in _FIELDS.items():
        _check_keys(stem, data[stem], tuple(names))
        for key, field in names.items():
            value = data[stem][key]
            if not isinstance(value, list):
                raise DomainError(f"{stem}.{key} is {shown(value)}, expected a list")
            fields[field] = value if key in ("labels", "units") else [_number(f"{stem}.{key}", v) for v in value]
    symbols = {stem: ca.SX.sym(stem, len(data[stem]["labels"])) for stem in _FIELDS}
    if not isinstance(data["f"], list) or not isinstance(data["operations"], list):
        raise DomainError("operations or f is no list")
    if len(data["operations"]) > _MOST:
        raise DimensionError(f"operations has {len(data['operations'])} entries, more than {_MOST}")
    results: list[ca.SX] = []
    for operation in data["operations"]:
        results.append(_result(operation, results, symbols))
    f = ca.vertcat(*(_earlier("f", which, results) for which in data["f"]))
    return Plant(name=data["name"], source=data["source"], dt=data["dt"], f=f, **symbols, **fields)


def _operations(plant: Plant) -> tuple[list[list[Any]], list[int]]:
    """Return the operations of f in their order, and the numbers of its entries among them."""
    function = ca.Function("f", [plant.x, plant.u, plant.p], [ca.densify(plant.f)])
    operations: list[list[Any]] = []
    held: dict[int, int] = {}  # by a place in CasADi's memory the operation whose result is there
    results = [0] * plant.nx
    for k in range(function.n_instructions()):
        code, into = function.instruction_id(k), function.instruction_output(k)
        if code == ca.OP_OUTPUT:
            results[into[1]] = held[function.instruction_input(k)[0]]
            continue
        if code == ca.OP_CONST:
            operations.append(["constant", _plain(function.instruction_constant(k))])
        elif code == ca.OP_INPUT:
            which, entry = function.instruction_input(k)
            operations.append(["xup"[which], entry])
        elif code in _NAMES:
            taken = function.instruction_input(k)[: 1 if _NAMES[code] in _UNARY else 2]
            operations.append([_NAMES[code], *(held[place] for place in taken)])
        else:
            raise DomainError(
                f"plant {plant.name!r} has the operation {code} of CasADi, which cannot be saved; known: "
                f"{', '.join(_CODES)}"
            )
        held[into[0]] = len(operations) - 1
    return operations, results


def _result(operation: Any, results: list[ca.SX], symbols: Mapping[str, ca.SX]) -> ca.SX:
    """Return the result of an operation on those of earlier ones."""
    where = f"operation {len(results)}"
    if not isinstance(operation, list) or not operation or not isinstance(operation[0], str):
        raise DomainError(f"{where} is {shown(operation)}, expected a list that begins with a name")
    name, arguments = operation[0], operation[1:]
    count = 2 if name in _BINARY else 1
    if len(arguments) != count or name not in (*_CODES, *symbols, "constant"):
        raise DomainError(f"{where} is {shown(operation)}, which is unknown or has another number of arguments")
    if name == "constant":
        return ca.SX(_number(where, arguments[0]))
    if name in symbols:
        return _earlier(where, arguments[0], ca.vertsplit(symbols[name]))
    taken = [_earlier(where, argument, results) for argument in arguments]
    return ca.SX.binary(_CODES[name], *taken) if count == 2 else ca.SX.unary(_CODES[name], *taken)


def _earlier(where: str, which: Any, results: list[ca.SX]) -> ca.SX:
    if isinstance(which, bool) or not isinstance(which, int) or not 0 <= which < len(results):
        raise DomainError(f"{where} takes {shown(which)}, expected a whole number from 0 to {len(results) - 1}")
    return results[which]


def _plain(value: Any) -> Any:
    """Return text as it is, a number as one that JSON has, or as text where it has none."""
    return value if isinstance(value, str) else float(value) if np.isfinite(value) else str(float(value))


def _number(where: str, value: Any) -> float:
    if isinstance(value, str) and value in ("inf", "-inf", "nan"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > _LARGEST:
        raise DomainError(f'{where} has {shown(value)}, expected a number, "inf", "-inf" or "nan"')
    return float(value)


def _check_keys(where: str, data: Any, keys: tuple[str, ...]) -> None:
    if not isinstance(data, dict) or set(data) != set(keys):
        raise DomainError(f"{where} is {shown(data)}, expected a table of {', '.join(keys)}")
