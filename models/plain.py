"""A plant as plain data, such as JSON holds: its expressions as a list of operations, which nothing needs to run."""

from typing import Any

import casadi as ca

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models import signals
from scpo_ctrl.models.operations import check_keys, from_operations, from_table, to_operations, to_table
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.sealed import as_instance

FORMATS = 1, 2, 3  # of the data: of a plant without outputs of its own, with them, and with signals
_FIELDS = {
    "x": {"labels": "x_labels", "units": "x_units", "min": "x_min", "max": "x_max", "equilibrium": "x_eq"},
    "u": {"labels": "u_labels", "units": "u_units", "min": "u_min", "max": "u_max", "equilibrium": "u_eq"},
    "p": {"labels": "p_labels", "units": "p_units", "nominal": "p_nominal", "above": "p_above"},
}
_OUTPUTS = {"labels": "y_labels", "units": "y_units"}
_KEYS = ("format", "name", "source", "dt", *_FIELDS, "operations", "f")


def to_plain(plant: Plant) -> dict[str, Any]:
    """Return a plant as plain data.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    dict
        Of numbers, texts, lists and tables, no number infinite or undefined. ``f`` lists results of `operations`, of
        the entries "x", "u" and "p"; where the plant has outputs, ``h`` does, and ``y`` names them.

    Raises
    ------
    DomainError
        If an expression has an operation that is none of the list.
    """
    as_instance("plant", plant, Plant)
    shows = bool(plant.y.numel())
    data: dict[str, Any] = {
        "format": FORMATS[2 if plant.signals else shows],
        "name": plant.name,
        "source": plant.source,
        "dt": plant.dt,
    }
    data |= {stem: to_table(plant, fields) for stem, fields in _FIELDS.items()}
    outputs = {"f": plant.f} | ({"h": plant.y} if shows else {})
    data |= {"y": to_table(plant, _OUTPUTS)} if shows else {}
    data |= {"signals": [signals.to_table(signal) for signal in plant.signals]} if plant.signals else {}
    return data | to_operations(f"plant {plant.name!r}", {"x": plant.x, "u": plant.u, "p": plant.p}, outputs)


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
    shows, varies = (isinstance(data, dict) and key in data for key in ("y", "signals"))
    check_keys("the plant", data, (*_KEYS, *(("y", "h") if shows else ()), *(("signals",) if varies else ())))
    if data["format"] != FORMATS[2 if varies else shows]:
        raise DomainError(
            f"format is {shown(data['format'])}, this version reads {', '.join(map(str, FORMATS))}, with y from "
            f"{FORMATS[1]} on and signals in {FORMATS[2]}; use the one that wrote it"
        )
    fields: dict[str, Any] = {}
    for stem, names in _FIELDS.items():
        fields |= from_table(stem, data[stem], names)
    fields |= from_table("y", data["y"], _OUTPUTS) if shows else {}
    symbols = {stem: ca.SX.sym(stem, len(data[stem]["labels"])) for stem in _FIELDS}
    found = dict(zip(("f", "y"), from_operations(data, symbols, ("f", "h") if shows else ("f",)), strict=False))
    if varies:
        fields["signals"] = tuple(signals.from_table(table) for table in _listed(data["signals"]))
    return Plant(name=data["name"], source=data["source"], dt=data["dt"], **found, **symbols, **fields)


def _listed(tables: Any) -> list[Any]:
    if not isinstance(tables, list) or not tables:
        raise DomainError(f"signals is {shown(tables)}, expected a list of tables")
    return tables
