"""Section [plant] of a problem file: a plant by matrices, by equations, or of the zoo."""

import inspect

import numpy as np

from scpo_ctrl.models import ZOO, Plant, equations, linear, make_plant
from scpo_ctrl.models.integrator import substeps_needed
from scpo_ctrl.record.tables import Table, check_keys, kind_of, spell_out
from scpo_ctrl.validate import dimensions

_BOUNDS = ("x_min", "x_max", "u_min", "u_max")
_NAMES = ("name", "source")
_LINEAR_LABELS = ("x_labels", "x_units", "u_labels", "u_units")


def build_plant(table: Table) -> Plant:
    """Make the plant of section [plant].

    Parameters
    ----------
    table : dict
        Its keys and values; defaults are filled in.

    Returns
    -------
    Plant

    Raises
    ------
    ProblemFileError
        If a key is unknown or missing.
    ScpoError
        If a value is wrong.
    """
    kind = kind_of(table, ("linear", "equations", *sorted(ZOO)))
    if kind in ZOO:
        return _of_zoo(kind, table)
    return _linear(table) if kind == "linear" else _equations(table)


def _of_zoo(kind: str, table: Table) -> Plant:
    plant = make_plant(kind, **{key: value for key, value in table.items() if key != "kind"})
    defaults = inspect.signature(ZOO[kind]).parameters
    table.update({key: table.get(key, parameter.default) for key, parameter in defaults.items()})
    return plant


def _linear(table: Table) -> Plant:
    check_keys(table, ("dt", "A", "B", *_BOUNDS), ("kind", *_NAMES, *_LINEAR_LABELS))
    labels = {key: table[key] for key in (*_NAMES, *_LINEAR_LABELS) if key in table}
    x_min, x_max, u_min, u_max = (table[key] for key in _BOUNDS)
    plant = linear(table["A"], table["B"], table["dt"], (x_min, x_max, u_min, u_max), **labels)
    table["name"] = plant.name
    table |= {key: list(getattr(plant, key)) for key in _LINEAR_LABELS}
    spell_out(table, dict.fromkeys(_BOUNDS, 1) | {"A": 2})
    table["B"] = table["B"] if dimensions(table["B"]) == 2 else np.reshape(table["B"], (-1, 1)).tolist()
    return plant


def _equations(table: Table) -> Plant:
    check_keys(table, ("dt", "states", "inputs"), ("kind", "parameters", "constants", "substeps", *_NAMES))
    given = {key: value for key, value in table.items() if key != "kind"}
    plant = equations(**given)
    if "substeps" not in table and "next" not in table["states"][0]:
        chosen = substeps_needed(equations(**given | {"dt": None}), table["dt"])
        table |= {} if chosen is None else {"substeps": chosen}  # the record says it, wherever it is read
    table["name"] = plant.name
    return plant
