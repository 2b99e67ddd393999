"""A cost as plain data, such as JSON holds: its expressions as a list of operations, which nothing needs to run."""

from typing import Any

import casadi as ca

from scpo_ctrl.loop.plain import FORMAT, check_format, check_sizes, sizes_of, symbols_of
from scpo_ctrl.models import Plant
from scpo_ctrl.models.operations import check_keys, from_operations, to_operations
from scpo_ctrl.problem.cost import Cost

_EXPRESSIONS = ("stage", "terminal")
_KEYS = ("format", "least_squares", "R_du", "x", "u", "p", "operations", *_EXPRESSIONS)


def cost_to_plain(cost: Cost, plant: Plant) -> dict[str, Any]:
    """Return a cost as plain data.

    Parameters
    ----------
    cost : Cost
    plant : Plant
        Whose symbols it has.

    Returns
    -------
    dict
        Of numbers, lists and tables. ``stage`` and ``terminal`` list results of `operations`, of the entries "x", "u"
        and "p"; the latter, and ``R_du``, are empty where there is none.

    Raises
    ------
    DomainError
        If an expression has an operation that is none of the list.
    """
    weight = [] if cost.R_du is None else cost.R_du.tolist()
    data = {"format": FORMAT, "least_squares": cost.least_squares, "R_du": weight} | sizes_of(plant)
    parts = {"stage": cost.stage, "terminal": ca.SX(0, 1) if cost.terminal is None else cost.terminal}
    return data | to_operations("the cost", symbols_of(plant), parts)


def cost_from_plain(data: Any, plant: Plant) -> Cost:
    """Return the cost that plain data stand for.

    Parameters
    ----------
    data : dict
        As `cost_to_plain` returns.
    plant : Plant
        Whose symbols it gets.

    Returns
    -------
    Cost

    Raises
    ------
    DomainError
        If something is unknown, missing or of another kind.
    DimensionError
        If the plant has another number of states, inputs or parameters, or as of `Cost`.
    """
    check_keys("the file of the cost", data, _KEYS)
    check_format(data)
    check_sizes(data, plant)
    stage, terminal = from_operations(data, symbols_of(plant), _EXPRESSIONS)
    weight = None if data["R_du"] == [] else data["R_du"]
    ends = terminal if terminal.numel() else None
    return Cost(stage, ends, least_squares=data["least_squares"], R_du=weight)
