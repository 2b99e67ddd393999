"""Controllers and constraints as plain data, such as JSON holds: lists of operations, which nothing needs to run."""

from collections.abc import Sequence
from typing import Any

import casadi as ca

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.constraint import Constraint
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.operations import check_keys, from_operations, from_table, to_operations, to_table
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_count

FORMAT = 1  # of the data
_MOST = 10_000  # signals of a kind
_FIELDS = {
    "theta": {"labels": "theta_labels", "units": "theta_units", "initial": "theta_initial"},
    "xi": {
        "labels": "memory_labels",
        "units": "memory_units",
        "initial": "memory_initial",
        "min": "memory_min",
        "max": "memory_max",
    },
    "r": {"labels": "r_labels", "units": "r_units", "nominal": "r_nominal"},
}
_BOUNDS = {"min": "theta_min", "max": "theta_max"}  # of theta, only where there are any
_COUNTED = ("y", "u")  # of which the data have no more than how many there are
_LAW = ("command", "memory")
_KEYS = ("format", "name", "source", *_FIELDS, *_COUNTED, "operations", *_LAW)
_CONSTRAINT = {"names": "name", "units": "unit", "bound": "bound", "scale": "scale"}


def controller_to_plain(controller: Controller) -> dict[str, Any]:
    """Return a controller as plain data.

    Parameters
    ----------
    controller : Controller

    Returns
    -------
    dict
        Of numbers, texts, lists and tables, no number infinite or undefined. ``command`` and ``memory`` list results of
        `operations`, of the entries "theta", "xi", "r", "y" and "u".

    Raises
    ------
    DomainError
        If an expression has an operation that is none of the list.
    """
    as_instance("controller", controller, Controller)
    data: dict[str, Any] = {"format": FORMAT, "name": controller.name, "source": controller.source}
    data |= {stem: to_table(controller, fields) for stem, fields in _FIELDS.items()}
    if controller.bounded.any():
        data["theta"] |= to_table(controller, _BOUNDS)
    data |= {stem: getattr(controller, stem).numel() for stem in _COUNTED}
    inputs, law = ({name: getattr(controller, name) for name in names} for names in ((*_FIELDS, *_COUNTED), _LAW))
    return data | to_operations(f"controller {controller.name!r}", inputs, law)


def controller_from_plain(data: Any) -> Controller:
    """Return the controller that plain data stand for.

    Parameters
    ----------
    data : dict
        As `controller_to_plain` returns.

    Returns
    -------
    Controller

    Raises
    ------
    DomainError
        If something is unknown, missing or of another kind.
    DimensionError, BoundsError
        As of `Controller`.
    """
    check_keys("the controller", data, _KEYS)
    check_format(data)
    fields: dict[str, Any] = {}
    sizes = {stem: as_count(stem, data[stem], at_most=_MOST) for stem in _COUNTED}
    for stem, names in _FIELDS.items():
        more = _BOUNDS if stem == "theta" and isinstance(data[stem], dict) and set(_BOUNDS) & set(data[stem]) else {}
        found = from_table(stem, data[stem], names | more)
        fields, sizes[stem] = fields | found, len(found[next(reversed(names.values()))])
    symbols = {stem: ca.SX.sym(stem, sizes[stem]) for stem in (*_FIELDS, *_COUNTED)}
    law = dict(zip(_LAW, from_operations(data, symbols, _LAW), strict=True))
    return Controller(name=data["name"], source=data["source"], **symbols, **law, **fields)


def constraints_to_plain(constraints: Sequence[Constraint], plant: Plant) -> dict[str, Any]:
    """Return constraints as plain data.

    Parameters
    ----------
    constraints : sequence of Constraint
        With their scales.
    plant : Plant
        Whose symbols they have.

    Returns
    -------
    dict
        Of numbers, texts, lists and tables, no number infinite or undefined. ``h`` lists results of `operations`, of
        the entries "x", "u" and "p", for all constraints one behind the other.

    Raises
    ------
    DomainError
        If an expression has an operation that is none of the list.
    """
    tables = [to_table(one, _CONSTRAINT) for one in constraints]
    h = ca.vertcat(*(one.expression for one in constraints))
    data = {"format": FORMAT, "constraints": tables} | sizes_of(plant)
    return data | to_operations(f"constraint {constraints[0].name[0]!r}", symbols_of(plant), {"h": h})


def constraints_from_plain(data: Any, plant: Plant) -> tuple[Constraint, ...]:
    """Return the constraints that plain data stand for.

    Parameters
    ----------
    data : dict
        As `constraints_to_plain` returns.
    plant : Plant
        Whose symbols they get.

    Returns
    -------
    tuple of Constraint

    Raises
    ------
    DomainError
        If something is unknown, missing or of another kind.
    DimensionError
        If the plant has another number of states, inputs or parameters, or as of `Constraint`.
    """
    check_keys("the file of constraints", data, ("format", "constraints", *symbols_of(plant), "operations", "h"))
    check_format(data)
    check_sizes(data, plant)
    if not isinstance(data["constraints"], list) or not data["constraints"]:
        raise DomainError(f"constraints is {shown(data['constraints'])}, expected a list of tables")
    tables: list[dict[str, Any]] = [
        from_table(f"constraints[{i}]", table, _CONSTRAINT) for i, table in enumerate(data["constraints"])
    ]
    counts = [len(table["name"]) for table in tables]
    [h] = from_operations(data, symbols_of(plant), ("h",))
    if h.numel() != sum(counts):
        raise DimensionError(f"h has {h.numel()} entries, expected {sum(counts)}: one for each name")
    parts = ca.vertsplit(h, [sum(counts[:i]) for i in range(len(counts) + 1)])
    return tuple(Constraint(expression=part, **table) for part, table in zip(parts, tables, strict=True))


def symbols_of(plant: Plant) -> dict[str, ca.SX]:
    """Return what expressions of a plant are of, by its name in plain data.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    dict of str to casadi.SX
    """
    return {"x": plant.x, "u": plant.u, "p": plant.p}


def sizes_of(plant: Plant) -> dict[str, int]:
    """Return how many of each there are.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    dict of str to int
    """
    return {stem: symbol.numel() for stem, symbol in symbols_of(plant).items()}


def check_sizes(data: dict[str, Any], plant: Plant) -> None:
    """Refuse data that are of another plant.

    Parameters
    ----------
    data : dict
    plant : Plant

    Raises
    ------
    DimensionError
        If it has other sizes.
    """
    for stem, size in sizes_of(plant).items():
        if type(data[stem]) is not int or data[stem] != size:
            raise DimensionError(f"it is of a loop with {stem} = {shown(data[stem])} entries, this one has {size}")


def check_format(data: dict[str, Any]) -> None:
    """Refuse data that another version wrote.

    Parameters
    ----------
    data : dict

    Raises
    ------
    DomainError
        If its format is another.
    """
    if data["format"] != FORMAT:
        raise DomainError(f"format is {shown(data['format'])}, this version reads {FORMAT}; use the one that wrote it")
