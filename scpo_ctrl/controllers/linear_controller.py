"""Any linear controller that python-control has: lead-lag, a transfer function, a state-space design."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.controllers.coefficients import Bounds, Coefficients, sampling_time, shown_at_rest, theta_bounds
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_stack


def linear_controller(plant: Plant, system: Any, *, memory: ArrayLike, bounds: Bounds | None = None) -> Controller:
    """Make the controller ξ⁺ = A ξ + B (r - y), v = u_eq + C ξ + D (r - y), its coefficients as parameters.

    Parameters
    ----------
    plant : Plant
        Discrete.
    system : control.StateSpace or control.TransferFunction
        From the errors r - y of all measured signals to the commands, with the plant's sampling time; of a continuous
        one take control.sample_system first.
    memory : array_like, shape (nm,) or a number
        How far from zero each of its states may be, in either direction.
    bounds : mapping of str to (low, high), optional
        Of parameters by label, such as {"A00": (0.0, 5.0)} [theta_units]; infinite for none. Every policy that is
        committed keeps them exactly.

    Returns
    -------
    Controller
        θ is the entries of A, B, C and D that are not zero; ones in A and B are its structure, and stay.

    Raises
    ------
    DomainError
        If it is no such system, continuous, of another sampling time, or of more zeros than poles.
    DimensionError
        If it does not fit the plant.
    BoundsError
        If a parameter is outside its bounds.
    """
    import control

    as_instance("plant", plant, Plant)
    dt = sampling_time(plant, "linear_controller")
    if not isinstance(system, (control.StateSpace, control.TransferFunction)):
        raise DomainError(f"system is {shown(system)}, expected a control.StateSpace or control.TransferFunction")
    if not (system.dt is True or np.isclose(float(system.dt or 0.0), dt, rtol=1e-9, atol=0.0)):
        raise DomainError(
            f"system has the sampling time {system.dt}, plant {plant.name!r} {dt:g} s; take "
            f"control.sample_system(system, {dt:g})"
        )
    try:
        state = control.ss(system)
    except ValueError as error:  # more zeros than poles
        raise DomainError(f"system has no states that give it ({error}); no controller knows the future") from error
    A, B, C, D = (np.atleast_2d(np.asarray(getattr(state, key), dtype=float)) for key in "ABCD")
    nm, ny = state.nstates, plant.measured.numel()
    if (state.ninputs, state.noutputs) != (ny, plant.nu):
        raise DimensionError(
            f"system has {state.ninputs} inputs and {state.noutputs} outputs, expected {ny} errors and {plant.nu} "
            "commands"
        )
    parts = {name: part for name, part in zip("ABCD", (A, B, C, D), strict=True) if part.size}
    free = {name: (part != 0) & ((part != 1) | (name in "CD")) for name, part in parts.items()}
    found = Coefficients(free, **parts)
    xi, y, r = ca.SX.sym("xi", nm), ca.SX.sym("y", ny), ca.SX.sym("r", ny)
    command = ca.DM(plant.u_eq) + found["D"] @ (r - y)
    size = as_stack("memory", memory)
    if size.shape not in ((), (1,), (nm,)):
        raise DimensionError(f"memory has shape {size.shape}, expected a number or one for each of {nm} states")
    size = np.broadcast_to(size, (nm,))
    return Controller(
        name=getattr(system, "name", None) or "linear controller",
        theta=found.theta,
        theta_initial=found.values,
        theta_labels=tuple(found.labels),
        **theta_bounds(found.labels, bounds),
        y=y,
        r=r,
        r_nominal=shown_at_rest(plant),
        r_labels=tuple(f"{label} reference" for label in plant.measured_labels),
        r_units=plant.measured_units,
        xi=xi,
        command=command + found["C"] @ xi if nm else command,
        memory=found["A"] @ xi + found["B"] @ (r - y) if nm else ca.SX(0, 1),
        memory_min=-size,
        memory_max=size,
    )
