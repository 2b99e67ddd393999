"""PID control with derivative filter, set-point weight and anti-windup.

K. J. Åström and T. Hägglund, "Advanced PID Control", ISA 2006, sections 3.4 to 3.6 and 13.3 (backward differences).
"""

from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl.controllers.coefficients import (
    Bounds,
    headroom,
    sampling_time,
    shown_at_rest,
    theta_bounds,
    unit_of_gain,
)
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.models import Plant
from scpo_ctrl.models.labelled import Place, as_place
from scpo_ctrl.models.varying import first_varying, without_signals
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array, as_choice, as_scalar

FORMS = ("parallel", "standard")
_NAMES = {"parallel": ("kp", "ki", "kd"), "standard": ("K", "Ti", "Td")}
ANTI_WINDUP = ("back_calculation", "conditional", "none")


@dataclass(frozen=True)
class _Memory:
    """One thing that the controller remembers."""

    label: str
    unit: str
    symbol: ca.SX
    following: ca.SX
    start: float  # [unit], as the bounds
    low: float
    high: float


def pid(
    plant: Plant,
    kp: float,
    ki: float | None = None,
    kd: float | None = None,
    *,
    measurement: Place = 0,
    filter_time: float | None = None,
    filtered: tuple[float, float] | None = None,
    setpoint_weight: float = 1.0,
    form: str = "parallel",
    anti_windup: str = "back_calculation",
    tracking_time: float | None = None,
    bounds: Bounds | None = None,
) -> Controller:
    """Make a P, PI, PD or PID controller of one measurement for a plant with one input.

    v = kp (b r - y) + I - kd dy_f/dt in the parallel form; in the standard one the three numbers are K, Ti [s] and
    Td [s], with kp = K, ki = K / Ti, kd = K Td. I is a part of the command, so that changing ki moves nothing at rest.
    The derivative is of y behind a filter of first order, dy_f/dt = (y - y_f) / (T_f + dt) by the implicit Euler rule;
    a step of r does not go through it. Without ki, the input at the plant's equilibrium stands in the place of I.

    Parameters
    ----------
    plant : Plant
        Discrete, with one input.
    kp : float
        [u_unit / y_unit]; K in the standard form.
    ki : float, optional
        [u_unit / (y_unit s)], not 0; Ti [s] in the standard form. P or PD control without.
    kd : float, optional
        [u_unit s / y_unit]; Td [s] in the standard form. P or PI control without.
    measurement : int or str
        Which of the plant's measured signals is y, by number or label.
    filter_time : float, optional
        Of the derivative's filter [s], > 0; needed with kd.
    filtered : tuple of float, optional
        Least and largest value of the filtered y [y_unit]; the bounds of the state where it is one with finite bounds.
    setpoint_weight : float
        b, in [0, 1]; other than 1 it weights the distance of r from where the plant is at rest.
    form : {"parallel", "standard"}
    anti_windup : {"back_calculation", "conditional", "none"}
        Back-calculation: I follows u - v within `tracking_time`. Conditional: I stands still while the command is
        beyond a bound and the error would drive it farther.
    tracking_time : float, optional
        Of back-calculation [s]; ten samples by default.
    bounds : mapping of str to (low, high), optional
        Of parameters by label, such as {"kp": (0.0, 5.0)} [theta_units]; infinite for none. Every policy that is
        committed keeps them exactly.

    Returns
    -------
    Controller
        θ is (kp, ki, kd), those of them that are given.

    Raises
    ------
    DomainError
        If a number or a choice is wrong or without effect, or the plant is continuous or has several inputs.
    BoundsError
        If a parameter is outside its bounds.
    """
    dt = _sampled(plant)
    as_choice("form", form, FORMS)
    as_choice("anti_windup", anti_windup, ANTI_WINDUP)
    _check_used(ki, kd, anti_windup, filter_time=filter_time, filtered=filtered, tracking_time=tracking_time)
    b = as_scalar("setpoint_weight", setpoint_weight, at_least=0.0, at_most=1.0)
    numbers = _numbers(form, kp, ki, kd)
    which = as_place("measurement", measurement, plant.measured_labels, "measured signal")
    theta, shown = ca.SX.sym("theta", len(numbers)), ca.SX.sym("y", plant.measured.numel())
    gains, y = dict(zip(numbers, ca.vertsplit(theta), strict=True)), shown[which]
    r, u, integral = (ca.SX.sym(name) for name in ("r", "u", "I"))
    error = _weighted(b, r, y, float(shown_at_rest(plant)[which]))
    command, memories = theta[0] * error + (ca.DM(plant.u_eq) if ki is None else integral), []
    if kd is not None:
        slow = as_scalar("filter_time", 0.0 if filter_time is None else filter_time, above=0.0)
        last = _filter(plant, which, y, dt / (slow + dt), filtered)
        gain = gains["kd"] if form == "parallel" else theta[0] * gains["Td"]
        command, memories = command - gain * (y - last.symbol) / (slow + dt), [last]
    if ki is not None:
        per_second = gains["ki"] if form == "parallel" else theta[0] / gains["Ti"]
        following = _integral(per_second * dt * (r - y), integral, command, u, dt, anti_windup, tracking_time)
        ends = (float(end[0]) for end in headroom(plant))
        memories.insert(0, _Memory("integral", plant.u_units[0], integral, following, float(plant.u_eq[0]), *ends))
    return Controller(
        name=f"P{'I' * (ki is not None)}{'D' * (kd is not None)}",
        theta=theta,
        theta_initial=np.array(list(numbers.values())),
        y=shown,
        r=r,
        u=ca.SX(0, 1) if ki is None else u,
        r_nominal=shown_at_rest(plant)[[which]],
        r_labels=(f"{plant.measured_labels[which]} reference",),
        r_units=(_unit(plant, which),),
        xi=ca.vertcat(ca.SX(0, 1), *(memory.symbol for memory in memories)),
        command=command,
        memory=ca.vertcat(ca.SX(0, 1), *(memory.following for memory in memories)),
        memory_initial=np.array([memory.start for memory in memories]),
        memory_min=np.array([memory.low for memory in memories]),
        memory_max=np.array([memory.high for memory in memories]),
        theta_labels=tuple(numbers),
        **theta_bounds(tuple(numbers), bounds),
        theta_units=tuple(unit for name, unit in _theta_units(plant, which, form).items() if name in numbers),
        memory_labels=tuple(memory.label for memory in memories),
        memory_units=tuple(memory.unit for memory in memories),
        source="Åström and Hägglund, Advanced PID Control, ISA 2006",
    )


def _numbers(form: str, kp: object, ki: object, kd: object) -> dict[str, float]:
    """Return the numbers that are given, by name."""
    given = zip(_NAMES[form], (kp, ki, kd), strict=True)
    numbers = {name: as_scalar(name, value) for name, value in given if value is not None or name == _NAMES[form][0]}
    if numbers.get("ki") == 0.0:
        raise DomainError("ki is 0, an integral that keeps what it began with; leave ki out for P or PD control")
    if numbers.get("Ti") == 0.0:
        raise DomainError("Ti is 0 s, an integral without bounds; give a time, or leave ki out for P or PD control")
    return numbers


def _check_used(ki: float | None, kd: float | None, anti_windup: str, **given: object) -> None:
    """Refuse what would be without effect."""
    if ki is None and anti_windup != ANTI_WINDUP[0]:
        raise DomainError("anti_windup is without effect here: it goes with ki; leave it out")
    for key, value in given.items():
        of_derivative = key != "tracking_time"
        missing = kd is None if of_derivative else ki is None or anti_windup != "back_calculation"
        if value is not None and missing:
            needs = "kd" if of_derivative else "ki" if ki is None else 'anti_windup = "back_calculation"'
            raise DomainError(f"{key} is without effect here: it goes with {needs}; leave it out")


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


def _sampled(plant: Plant) -> float:
    """Return the sampling time of a plant with one input."""
    as_instance("plant", plant, Plant)
    dt = sampling_time(plant, "pid")
    if plant.nu != 1:
        raise DomainError(f"pid has one command and plant {plant.name!r} {plant.nu} inputs; write a Controller for all")
    return dt


def _weighted(b: float, r: ca.SX, y: ca.SX, rest: float) -> ca.SX:
    """Return the error with a set-point weight, of distances from rest, or the integral would hold kp (1 - b) rest."""
    return b * r - y if b == 1.0 or not rest else b * (r - rest) - (y - rest)


def _filter(plant: Plant, which: int, y: ca.SX, part: float, given: tuple[float, float] | None) -> _Memory:
    """Return the filter of first order whose derivative is taken, which goes a part of the way to y in a sample."""
    last, label = ca.SX.sym("y_f"), f"filtered {plant.measured_labels[which]}"
    ends = _filter_bounds(plant, which, given)
    start = float(shown_at_rest(plant)[which])
    return _Memory(label, _unit(plant, which), last, last + part * (y - last), start, *ends)


def _filter_bounds(plant: Plant, which: int, given: tuple[float, float] | None) -> tuple[float, float]:
    if given is not None:
        low, high = as_array("filtered", given, (2,))
        return float(low), float(high)
    first = first_varying(plant)  # of what varies, as noise does
    still = without_signals(plant, plant.measured[which])
    shows = [i for i in range(plant.nx) if ca.is_equal(still, plant.x[i])]
    low, high = (float(ends[shows[0]]) if shows else np.inf for ends in (plant.x_min, plant.x_max))
    for k, signal in enumerate(plant.signals):
        if ca.depends_on(plant.measured[which], plant.p[first + k]):
            low, high = low + signal.reach[0], high + signal.reach[1]
    if not np.isfinite(high - low):
        raise DomainError(
            f"the filtered {plant.measured_labels[which]} has no bounds; give the least and the largest value that "
            "it may take, filtered = (low, high)"
        )
    return low, high


def _unit(plant: Plant, which: int) -> str:
    return plant.measured_units[which]


def _theta_units(plant: Plant, which: int, form: str) -> dict[str, str]:
    u, y = plant.u_units[0], _unit(plant, which)
    gain = unit_of_gain(u, y)
    units = (
        (gain, unit_of_gain(u, y, "s"), unit_of_gain(f"{u} s".strip(), y)) if form == "parallel" else (gain, "s", "s")
    )
    return dict(zip(_NAMES[form], units, strict=True))
