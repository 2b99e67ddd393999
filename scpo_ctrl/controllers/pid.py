"""PID control with derivative filter, set-point weight and anti-windup.

K. J. Åström and T. Hägglund, "Advanced PID Control", ISA 2006, sections 3.4 to 3.6 and 13.3 (backward differences).
"""

import casadi as ca
import numpy as np

from scpo_ctrl.controllers.coefficients import headroom, sampling_time, shown_at_rest
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.models import Plant
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array, as_choice, as_count, as_scalar

FORMS = ("parallel", "standard")
ANTI_WINDUP = ("back_calculation", "conditional", "none")


def pid(
    plant: Plant,
    kp: float,
    ki: float,
    kd: float | None = None,
    *,
    measurement: int = 0,
    filter_time: float | None = None,
    filtered: tuple[float, float] | None = None,
    setpoint_weight: float = 1.0,
    form: str = "parallel",
    anti_windup: str = "back_calculation",
    tracking_time: float | None = None,
) -> Controller:
    """Make a PID controller of one measurement for a plant with one input.

    v = kp (b r - y) + I - kd dy_f/dt in the parallel form; in the standard one the three numbers are K, Ti [s] and
    Td [s], with kp = K, ki = K / Ti, kd = K Td. I is a part of the command, so that changing ki moves nothing at rest.
    The derivative is of y behind a filter of first order; a step of r does not go through it.

    Parameters
    ----------
    plant : Plant
        Discrete, with one input.
    kp : float
        [u_unit / y_unit]; K in the standard form.
    ki : float
        [u_unit / (y_unit s)]; Ti [s] in the standard form.
    kd : float, optional
        [u_unit s / y_unit]; Td [s] in the standard form. PI control without.
    measurement : int
        Which of the plant's measured signals is y.
    filter_time : float, optional
        Of the derivative's filter [s], > 0; needed with kd.
    filtered : tuple of float, optional
        Least and largest value of the filtered y [y_unit]; the bounds of the state where it is one with finite bounds.
    setpoint_weight : float
        b, in [0, 1].
    form : {"parallel", "standard"}
    anti_windup : {"back_calculation", "conditional", "none"}
        Back-calculation: I follows u - v within `tracking_time`. Conditional: I stands still while the command is
        beyond a bound and the error would drive it farther.
    tracking_time : float, optional
        Of back-calculation [s]; ten samples by default.

    Returns
    -------
    Controller
        θ is (kp, ki, kd) as given.

    Raises
    ------
    DomainError
        If a number or a choice is wrong, or the plant is continuous or has several inputs.
    """
    as_instance("plant", plant, Plant)
    dt = sampling_time(plant, "pid")
    if plant.nu != 1:
        raise DomainError(f"pid has one command and plant {plant.name!r} {plant.nu} inputs; write a Controller for all")
    as_choice("form", form, FORMS)
    as_choice("anti_windup", anti_windup, ANTI_WINDUP)
    weight = as_scalar("setpoint_weight", setpoint_weight, at_least=0.0, at_most=1.0)
    names = ("kp", "ki", "kd") if form == "parallel" else ("K", "Ti", "Td")
    values = [as_scalar(name, value) for name, value in zip(names, (kp, ki, kd), strict=True) if value is not None]
    signals = plant.measured.numel()
    which = as_count("measurement", measurement, at_most=signals - 1)
    theta, y, r = ca.SX.sym("theta", len(values)), ca.SX.sym("y", signals), ca.SX.sym("r")
    u, integral = ca.SX.sym("u"), ca.SX.sym("I")
    gains = [theta[0], theta[1] if form == "parallel" else theta[0] / theta[1]]
    command, memory = gains[0] * (weight * r - y[which]) + integral, [integral]
    low, high = (ends.tolist() for ends in headroom(plant))
    start, labels, units = [float(plant.u_eq[0])], ["integral"], [plant.u_units[0]]
    if kd is not None:
        slow, last = as_scalar("filter_time", 0.0 if filter_time is None else filter_time, above=0.0), ca.SX.sym("y_f")
        gain = theta[2] if form == "parallel" else theta[0] * theta[2]
        command = command - gain * (y[which] - last) / (slow + dt)
        memory.append(last)
        ends = _filter_bounds(plant, which, filtered)
        low, high = [*low, ends[0]], [*high, ends[1]]
        start.append(float(shown_at_rest(plant)[which]))
        labels, units = [*labels, f"filtered {_label(plant, which)}"], [*units, _unit(plant, which)]
    following = [_integral(gains[1] * dt * (r - y[which]), integral, command, u, dt, anti_windup, tracking_time)]
    if kd is not None:
        following.append(last + dt / (slow + dt) * (y[which] - last))
    return Controller(
        name="PID" if kd is not None else "PI",
        theta=theta,
        theta_initial=np.array(values),
        y=y,
        r=r,
        u=u,
        r_nominal=shown_at_rest(plant)[[which]],
        xi=ca.vertcat(*memory),
        command=command,
        memory=ca.vertcat(*following),
        memory_initial=np.array(start),
        memory_min=np.array(low),
        memory_max=np.array(high),
        theta_labels=names[: len(values)],
        theta_units=_theta_units(plant, which, form)[: len(values)],
        memory_labels=tuple(labels),
        memory_units=tuple(units),
        source="Åström and Hägglund, Advanced PID Control, ISA 2006",
    )


def _sampled(plant: Plant, what: str) -> float:
    """Return the sampling time of a plant that a controller of one command fits."""
    if plant.dt is None:
        raise DomainError(f"{what} needs the sampling time of plant {plant.name!r}; discretise it first")
    if plant.nu != 1:
        raise DomainError(
            f"{what} has one command and plant {plant.name!r} {plant.nu} inputs; combine one for each input"
        )
    return plant.dt


def _integral(
    change: ca.SX, integral: ca.SX, command: ca.SX, u: ca.SX, dt: float, anti_windup: str, tracking_time: float | None
) -> ca.SX:
    """Return what follows of the integral part of the command."""
    if anti_windup == "none":
        return integral + change
    if anti_windup == "conditional":
        beyond = command - u  # positive above the upper bound
        return integral + ca.if_else(beyond * change > 0, 0.0, change)
    time = as_scalar("tracking_time", 10 * dt if tracking_time is None else tracking_time, at_least=dt)
    return integral + change + dt / time * (u - command)


def _filter_bounds(plant: Plant, which: int, given: tuple[float, float] | None) -> tuple[float, float]:
    if given is not None:
        low, high = as_array("filtered", given, (2,))
        return float(low), float(high)
    shows = [i for i in range(plant.nx) if ca.is_equal(plant.measured[which], plant.x[i])]
    low, high = (float(ends[shows[0]]) if shows else np.inf for ends in (plant.x_min, plant.x_max))
    if not np.isfinite(high - low):
        raise DomainError(
            f"the filtered {_label(plant, which)} has no bounds; give the least and the largest value that it may "
            "take, filtered = (low, high)"
        )
    return low, high


def _label(plant: Plant, which: int) -> str:
    return plant.measured_labels[which]


def _unit(plant: Plant, which: int) -> str:
    return (plant.y_units if plant.y.numel() else plant.x_units)[which]


def _theta_units(plant: Plant, which: int, form: str) -> tuple[str, str, str]:
    gain = f"{plant.u_units[0] or '1'}/({_unit(plant, which) or '1'})"
    return (gain, f"{gain}/s", f"{gain} s") if form == "parallel" else (gain, "s", "s")
