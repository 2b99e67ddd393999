"""Plants from equations that are written as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.expression import as_symbol_name, expression
from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_array, as_scalar

_MOST = 1000  # states, inputs, parameters or constants
_KEYS = {
    "states": (("name",), ("derivative", "next", "unit", "min", "max", "equilibrium")),
    "inputs": (("name", "min", "max"), ("unit", "equilibrium")),
    "parameters": (("name", "nominal"), ("unit", "above")),
}

Tables = Sequence[Mapping[str, Any]]


def equations(
    *,
    states: Tables,
    inputs: Tables,
    dt: float | None,
    parameters: Tables = (),
    constants: Mapping[str, float] | None = None,
    name: str = "equations",
    substeps: int | None = None,
    source: str = "",
) -> Plant:
    """Make a plant from equations that are written as text, as in a problem file.

    Parameters
    ----------
    states : sequence of mappings
        Each has a ``name``, and its ``derivative`` or its ``next`` value as text: an expression of names and functions
        as in `scpo_ctrl.models.expression`, of one kind for all states. Optional are ``unit``, ``min`` and ``max``
        (none), and ``equilibrium`` (0).
    inputs : sequence of mappings
        Each has ``name``, ``min`` and ``max``; optional are ``unit`` and ``equilibrium`` (0).
    dt : float or None
        Sampling time [s]; derivatives are discretised. With None the plant stays continuous.
    parameters : sequence of mappings
        Each has ``name`` and ``nominal``; optional are ``unit`` and ``above``, what it must be above (no limit).
    constants : mapping of str to float, optional
        Numbers by name. An ``equilibrium`` may be an expression of them, and of the parameters at nominal.
    name : str
        Of the plant.
    substeps : int, optional
        As in `discretise`.
    source : str
        Where the equations come from.

    Returns
    -------
    Plant
        Its labels are the names.

    Raises
    ------
    DomainError
        If a key is unknown or missing, a name is used twice, or an expression cannot be read.
    BoundsError
        If the bounds do not hold the equilibrium in their interior.
    """
    listed = {"states": states, "inputs": inputs, "parameters": parameters}
    for key, tables in listed.items():
        _check_tables(key, tables)
    kind, fixed = _kind(states), _constants(constants)
    symbols = _symbols(listed, fixed)
    where = ((f"states[{i}].{kind} ({table['name']})", table[kind]) for i, table in enumerate(states))
    f = [expression(of, text, symbols) for of, text in where]
    if kind == "next" and (dt is None or substeps is not None):
        raise DomainError("the states have their next value, which takes a dt [s] and no substeps")
    data = _data(listed, symbols, fixed)
    plant = Plant(name=name, f=ca.vertcat(*f), dt=dt if kind == "next" else None, source=source, **data)
    return plant if kind == "next" or dt is None else discretise(plant, dt, substeps=substeps)


def _data(listed: Mapping[str, Tables], symbols: Mapping[str, Any], fixed: Mapping[str, float]) -> dict[str, Any]:
    """Return what the tables say of states, inputs and parameters, as fields of a plant."""
    states, inputs, parameters = listed.values()
    nominal = _numbers("parameters", parameters, "nominal")
    known = dict(fixed) | {table["name"]: float(value) for table, value in zip(parameters, nominal, strict=True)}
    data: dict[str, Any] = {
        "p_nominal": nominal,
        "p_above": _numbers("parameters", parameters, "above", -np.inf),
        "x_min": _numbers("states", states, "min", -np.inf),
        "x_max": _numbers("states", states, "max", np.inf),
        "u_min": _numbers("inputs", inputs, "min"),
        "u_max": _numbers("inputs", inputs, "max"),
        "x_eq": _equilibrium("states", states, known),
        "u_eq": _equilibrium("inputs", inputs, known),
    }
    for stem, tables in zip("xup", listed.values(), strict=True):
        names = tuple(table["name"] for table in tables)
        data[stem] = ca.vertcat(*(symbols[name] for name in names)) if names else ca.SX(0, 1)
        data |= {f"{stem}_labels": names, f"{stem}_units": tuple(table.get("unit", "") for table in tables)}
    return data


def _check_tables(key: str, tables: Tables) -> None:
    """Refuse what is no list of tables, and tables with keys that are unknown or missing."""
    required, optional = _KEYS[key]
    if not isinstance(tables, (list, tuple)) or not all(isinstance(table, Mapping) for table in tables):
        raise DomainError(f"{key} is {shown(tables)}, expected a list of tables with the keys {', '.join(required)}")
    if len(tables) > _MOST or (key != "parameters" and not tables):
        raise DimensionError(f"{key} has {len(tables)} entries, expected 1 to {_MOST}")
    for i, table in enumerate(tables):
        unknown = sorted(set(table) - {*required, *optional}, key=str)
        if unknown:
            raise DomainError(
                f"{key}[{i}] has the unknown key {shown(unknown[0])}; known: {', '.join((*required, *optional))}"
            )
        missing = [one for one in required if one not in table]
        if missing:
            raise DomainError(f"{key}[{i}] has no {missing[0]!r}; needed: {', '.join(required)}")


def _constants(constants: Mapping[str, float] | None) -> dict[str, float]:
    """Return the table of constants, each name and number checked."""
    constants = {} if constants is None else constants
    if not isinstance(constants, Mapping):
        raise DomainError(f"constants is {shown(constants)}, expected a table of numbers by name")
    if len(constants) > _MOST:
        raise DimensionError(f"constants has {len(constants)} entries, expected at most {_MOST}")
    return {
        as_symbol_name("a name in constants", name): as_scalar(f"constants.{name}", value)
        for name, value in constants.items()
    }


def _symbols(listed: Mapping[str, Tables], fixed: Mapping[str, float]) -> dict[str, Any]:
    """Return what each name stands for, refusing one that stands for two things."""
    symbols: dict[str, Any] = {}
    for key, tables in listed.items():
        for i, table in enumerate(tables):
            name = as_symbol_name(f"{key}[{i}].name", table["name"])
            if name in symbols or name in fixed:
                raise DomainError(f"{key}[{i}].name is {name!r}, which names something else too; give each its own")
            symbols[name] = ca.SX.sym(name)
    return symbols | dict(fixed)


def _kind(states: Tables) -> str:
    """Return whether all states have their derivative or their next value."""
    given = [[key for key in ("derivative", "next") if key in table] for table in states]
    for i, keys in enumerate(given):
        if len(keys) != 1 or keys != given[0]:
            found = " and ".join(keys) or "neither"
            raise DomainError(
                f"states[{i}] has {found}, expected its derivative or its next value as text, the same for all states"
            )
    return given[0][0]


def _numbers(key: str, tables: Tables, entry: str, default: float | None = None) -> np.ndarray:
    """Return a number of each table; infinite only where it is left out, or given so as a bound of a state."""
    return np.array(
        [
            as_array(f"{key}[{i}].{entry}", [table.get(entry, default)], (1,), finite=default is None)[0]
            for i, table in enumerate(tables)
        ]
    )


def _equilibrium(key: str, tables: Tables, known: Mapping[str, float]) -> np.ndarray:
    """Return the coordinates of the equilibrium, numbers or expressions of what is known."""
    values = []
    for i, table in enumerate(tables):
        where, value = f"{key}[{i}].equilibrium", table.get("equilibrium", 0.0)
        value = float(expression(where, value, known)) if isinstance(value, str) else value
        values.append(as_scalar(where, value))
    return np.array(values)
