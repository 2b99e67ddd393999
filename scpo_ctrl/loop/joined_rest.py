"""Where the loop of a plant and a controller is at rest, which is the equilibrium of the two joined."""

import casadi as ca
import numpy as np

from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.loop.constraint import check_at_rest
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units

SMOOTH = 1  # the result of a law in which nothing is cut
_NEWTON, _RESTS = 50, 1e-10  # steps to where the loop is at rest, and what it may still move by, in units of its bounds


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
        Of the loop: states (x, ξ), inputs (u, m).
    law : casadi.Function
        (s, p, θ) -> (v, m), of which result `SMOOTH` is as if nothing were cut.
    controller : Controller

    Returns
    -------
    Plant

    Raises
    ------
    DomainError
        If the law has no finite value or derivative at the plant's equilibrium, where the search begins.
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
        if not (np.isfinite(size) and np.isfinite(slope).all()) or (least <= _RESTS and size >= least):
            break
        if size < least:  # which a Newton step from far off need not be
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
            value = 0.0 if abs(values[i]) <= error[i] else values[i]
            raise UnsafeStartError(
                f"the loop of {joined.name!r} comes to rest with {labels[i]} = {value:.4g}, which needs room within "
                f"({low[i]:g}, {high[i]:g}); choose another reference (of a signal, where it begins), or wider bounds"
            )
    return joined.replace(x_eq=x, u_eq=u)
