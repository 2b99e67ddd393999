"""Where the loop of a controller is at rest."""

import casadi as ca
import numpy as np

from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.loop.constraint import check_at_rest
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units

_NEWTON, _RESTS = 50, 1e-10  # steps to where the loop is at rest, and what it may still move by, in units of its bounds
SATURATED, SMOOTH = 0, 1  # results of the law


def _check_law(joined: Plant, law: ca.Function, controller: Controller) -> None:
    """Refuse a law without finite value and derivative at the plant's equilibrium, where the search for rest begins."""
    s, p = ca.SX.sym("s", joined.nx), ca.DM(joined.p_nominal)
    command = law(s, p, ca.DM.zeros(controller.theta_dim))[SMOOTH]
    both = ca.Function("both", [s], [command, ca.densify(ca.jacobian(command, s))])
    values, slopes = (np.array(part) for part in both(joined.x_eq))
    for label, value, slope in zip(joined.u_labels, values[:, 0], slopes, strict=True):
        check_at_rest(f"controller {controller.name!r}: the command of {label}", value, slope)


def at_rest(joined: Plant, law: ca.Function, controller: Controller) -> Plant:
    """Return the loop's plant with the equilibrium that the controller brings it to, by Newton steps from its own.

    Parameters
    ----------
    joined : Plant
        Of the loop, at rest where the plant is.
    law : casadi.Function
        ``(s, p, Δθ) -> (v, m)``, twice: see `ControllerPolicy.law`.
    controller : Controller

    Returns
    -------
    Plant

    Raises
    ------
    DomainError
        If the law has no finite value or derivative where the search begins.
    UnsafeStartError
        If the loop does not come to rest, or not inside all bounds.
    """
    _check_law(joined, law, controller)
    s, p = ca.SX.sym("s", joined.nx), ca.DM(joined.p_nominal)
    command = law(s, p, ca.DM.zeros(controller.theta_dim))[SMOOTH]
    moved = joined.function(s, command, p) - s
    step = ca.Function("step", [s], [moved, ca.jacobian(moved, s), command])
    slopes = joined.derivatives(joined.x_eq, joined.u_eq, p)[1:]
    unit = Units.around(joined, *(np.array(slope) for slope in slopes)).x
    at, best, least = joined.x_eq, None, np.inf
    for _ in range(_NEWTON):
        off, slope, u = (np.array(part) for part in step(at))
        size = float(np.abs(off[:, 0] / unit).max())
        if not (size < least and np.isfinite(slope).all()):  # or not a number
            break
        best, least = (at, u[:, 0]), size
        at = at - unit * np.linalg.lstsq(slope * unit / unit[:, None], off[:, 0] / unit, rcond=None)[0]
    if best is None or least > _RESTS:
        raise UnsafeStartError(
            f"the loop of {joined.name!r} does not come to rest; check the reference, and that the controller's memory "
            "can hold what it needs"
        )
    return _resting(joined, *best)


def _resting(joined: Plant, x: np.ndarray, u: np.ndarray) -> Plant:
    """Return the plant with this equilibrium, if it is inside all bounds by more than it may be wrong."""
    unit = Units.of_bounds(joined), (joined.u_max - joined.u_min) / 2
    for values, low, high, labels, one in (
        (x, joined.x_min, joined.x_max, joined.x_labels, unit[0]),
        (u, joined.u_min, joined.u_max, joined.u_labels, unit[1]),
    ):
        error = np.where(np.isfinite(one), _RESTS * one, 0.0)
        out = np.flatnonzero(~((values - low > error) & (high - values > error)))
        if out.size:
            i = out[0]
            raise UnsafeStartError(
                f"the loop of {joined.name!r} comes to rest with {labels[i]} = {values[i]:.4g}, outside ({low[i]:g}, "
                f"{high[i]:g}); choose another reference, or wider bounds"
            )
    return joined.replace(x_eq=x, u_eq=u)
