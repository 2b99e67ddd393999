"""References of a loop (E10): constant, or signals that are parameters of its plant."""

from collections.abc import Mapping
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.signals import Signal
from scpo_ctrl.models.varying import with_more_signals
from scpo_ctrl.validate import as_array, as_scalar


def checked_references(plant: Plant, controller: Controller, reference: Any) -> tuple[np.ndarray, dict[str, Signal]]:
    """Check that plant, controller and reference fit.

    Parameters
    ----------
    plant : Plant
    controller : Controller
    reference : array_like, mapping of str to Signal or float, or None
        As `controlled` takes it.

    Returns
    -------
    r : numpy.ndarray, shape (nr,)
        What references are at first.
    signals : dict of str to Signal
        Those that vary, by label.

    Raises
    ------
    DimensionError, DomainError
        If they do not.
    """
    for what, has, needs in (
        ("measures", plant.measured.numel(), controller.y.numel()),
        ("takes", plant.nu, controller.command.numel()),
    ):
        if has != needs:
            kind = "signals" if what == "measures" else "commands"
            raise DimensionError(
                f"plant {plant.name!r} {what} {has} {kind}, controller {controller.name!r} has {needs}; "
                + ("give the plant its outputs y" if what == "measures" else "give the controller one for each input")
            )
    if not isinstance(reference, Mapping):
        given = controller.r_nominal if reference is None else reference
        return as_array("reference", given, (controller.r.numel(),)), {}
    r, labels = controller.r_nominal.copy(), controller.r_labels
    for label, value in reference.items():
        if label not in labels:
            known = ", ".join(labels) or "none"
            raise DomainError(f"unknown reference {shown(label)}; controller {controller.name!r} has: {known}")
        r[labels.index(label)] = (
            value.at_first if isinstance(value, Signal) else as_scalar(f"reference[{label!r}]", value)
        )
    return r, {label: value for label, value in reference.items() if isinstance(value, Signal)}


def with_references(plant: Plant, controller: Controller, signals: Mapping[str, Signal]) -> Plant:
    """Return the plant with the references that vary among its parameters.

    Parameters
    ----------
    plant : Plant
    controller : Controller
    signals : mapping of str to Signal

    Returns
    -------
    Plant

    Raises
    ------
    DomainError
        If a parameter has the name of a reference.
    """
    if not signals:
        return plant
    taken = next((label for label in signals if label in plant.p_labels), None)
    if taken is not None:
        raise DomainError(f"reference {taken!r} and a parameter of plant {plant.name!r} have the same name; rename one")
    units = [controller.r_units[controller.r_labels.index(label)] for label in signals]
    return with_more_signals(plant, signals, units)


def references(plant: Plant, controller: Controller, r: np.ndarray, signals: Mapping[str, Signal]) -> ca.SX:
    """Return the references as expressions.

    Parameters
    ----------
    plant : Plant
        Of `with_references`.
    controller : Controller
    r : numpy.ndarray, shape (nr,)
        At first.
    signals : mapping of str to Signal

    Returns
    -------
    casadi.SX, shape (nr, 1)
        Those that vary are parameters of the plant.
    """
    parts = [
        plant.p[plant.p_labels.index(label)] if label in signals else ca.SX(value)
        for label, value in zip(controller.r_labels, r.tolist(), strict=True)
    ]
    return ca.vertcat(*parts) if parts else ca.SX(0, 1)


def outputs_of_references(plant: Plant, controller: Controller) -> list[int] | None:
    """Return which measured signal each reference is for.

    Parameters
    ----------
    plant : Plant
    controller : Controller

    Returns
    -------
    list of int or None
        By the names that PIDs give their references, else one after the other where there are as many; None otherwise.
    """
    measured = plant.measured_labels
    names = [label.removesuffix(" reference") for label in controller.r_labels]
    if all(name in measured for name in names):
        return [measured.index(name) for name in names]
    return list(range(len(names))) if len(names) == len(measured) else None
