"""Section [plant] of a problem file: a plant by matrices, by equations, of the zoo, by Python, or as data."""

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scpo_ctrl.models import (
    ZOO,
    Plant,
    actuator_lag,
    equations,
    input_delay,
    linear,
    make_plant,
    quantise,
    rate_limit,
    sensor_noise,
    with_nominal,
    with_signals,
)
from scpo_ctrl.models.integrator import substeps_needed
from scpo_ctrl.record.recorded import RecordedPlant, run_python
from scpo_ctrl.record.signals import signals_of, tables_of
from scpo_ctrl.record.tables import Table, beside, check_keys, kind_of, python_of, spell_out
from scpo_ctrl.validate import dimensions

_BOUNDS = ("x_min", "x_max", "u_min", "u_max")
_NAMES = ("name", "source")
# What is put around a plant, in this order: what is last meets the command first.
_AROUND: dict[str, Callable[..., Plant]] = {
    "actuator_lag": actuator_lag,
    "rate_limit": rate_limit,
    "input_delay": input_delay,
    "sensor_noise": sensor_noise,
    "quantise": quantise,
}
_LINEAR_LABELS = ("x_labels", "x_units", "u_labels", "u_units")


def build_plant(table: Table, folder: Path, *, trust: bool = False) -> tuple[Plant, RecordedPlant | None]:
    """Make the plant of section [plant].

    Parameters
    ----------
    table : dict
        Its keys and values; defaults are filled in. Python that made a plant gives way to the plant as data.
    folder : pathlib.Path
        Where the files are that it names.
    trust : bool
        Whether Python that it names is run.

    Returns
    -------
    plant : Plant
    recorded : RecordedPlant or None
        The file beside the problem that holds it; None where the section says all.

    Raises
    ------
    ProblemFileError
        If a key is unknown or missing, a file cannot be read, or Python is named and not trusted.
    ScpoError
        If a value is wrong.
    """
    around = {key: table.pop(key) for key in ("nominal", *_AROUND, "signals") if key in table}
    plant, recorded = _still(table, folder, trust=trust)
    if "nominal" in around:
        plant = with_nominal(plant, around["nominal"])
        around["nominal"] = {label: float(value) for label, value in around["nominal"].items()}
    if not around:
        return plant, recorded
    for key, function in _AROUND.items():
        if key in around:
            plant = function(plant, around[key])
            around[key] = around[key] if isinstance(around[key], int) else np.array(around[key], dtype=float).tolist()
    if "signals" in around:
        signals = signals_of(around["signals"], folder, "signals")
        plant = with_signals(plant, signals)
        around["signals"] = tables_of(signals)
    if recorded is None:
        table |= around
        return plant, None
    recorded = RecordedPlant.of(plant)
    table |= recorded.table
    return plant, recorded


def _still(table: Table, folder: Path, *, trust: bool) -> tuple[Plant, RecordedPlant | None]:
    """Make the plant without signals that the section names beside its kind."""
    kind = kind_of(table, ("linear", "equations", "python", "recorded", *sorted(ZOO)))
    if kind in ("python", "recorded"):
        recorded = _by_python(table, folder, trust=trust) if kind == "python" else _recorded(table, folder)
        plant = recorded.plant()
        recorded = RecordedPlant.of(plant)  # written by hand, it may have had another form
        table.clear()
        table |= recorded.table
        return plant, recorded
    make = {"linear": _linear, "equations": _equations}.get(kind, _of_zoo)
    return make(table), None


def constants_of(table: Table) -> dict[str, float]:
    """Return the numbers of section [plant] that expressions of the other sections may name.

    Parameters
    ----------
    table : dict
        Its keys and values, defaults filled in.

    Returns
    -------
    dict of str to float
        The constants of equations, and the numbers that a plant of the zoo is made with.
    """
    kind = table["kind"]
    named = table.get("constants", {}) if kind == "equations" else {}
    if kind in ZOO:
        named = {key: table[key] for key in inspect.signature(ZOO[kind]).parameters if key in table}
    return {key: float(value) for key, value in named.items() if isinstance(value, (int, float))}


def _by_python(table: Table, folder: Path, *, trust: bool) -> RecordedPlant:
    path, function = python_of(table, folder, "make_plant", "plant", trust=trust)
    return RecordedPlant.of(run_python(path, function, lambda make: make(), Plant))


def _recorded(table: Table, folder: Path) -> RecordedPlant:
    check_keys(table, ("file",), ("kind", "sha256"))
    return RecordedPlant.read(beside(folder, table["file"]), table.get("sha256"))


def _of_zoo(table: Table) -> Plant:
    kind = table["kind"]
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
