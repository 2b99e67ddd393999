"""A controller as plain data, such as JSON holds: its law as a list of operations, which nothing needs to run."""

from typing import Any

import casadi as ca

from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.messages import shown
from scpo_ctrl.models.operations import check_keys, from_operations, from_table, to_operations, to_table
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_count

_FORMAT = 1  # of the data
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
    data: dict[str, Any] = {"format": _FORMAT, "name": controller.name, "source": controller.source}
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
    if data["format"] != _FORMAT:
        raise DomainError(f"format is {shown(data['format'])}, this version reads {_FORMAT}; use the one that wrote it")
    fields: dict[str, Any] = {}
    sizes = {stem: as_count(stem, data[stem], at_most=_MOST) for stem in _COUNTED}
    for stem, names in _FIELDS.items():
        more = _BOUNDS if stem == "theta" and isinstance(data[stem], dict) and set(_BOUNDS) & set(data[stem]) else {}
        found = from_table(stem, data[stem], names | more)
        fields, sizes[stem] = fields | found, len(found[next(reversed(names.values()))])
    symbols = {stem: ca.SX.sym(stem, sizes[stem]) for stem in (*_FIELDS, *_COUNTED)}
    law = dict(zip(_LAW, from_operations(data, symbols, _LAW), strict=True))
    return Controller(name=data["name"], source=data["source"], **symbols, **law, **fields)
