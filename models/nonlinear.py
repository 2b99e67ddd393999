"""Nonlinear systems of python-control as plants: their linearisation, and themselves as a simulator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_array, as_scalar, as_texts

_PART = 1e-3  # of the bounds' width, that differences reach
_AT_REST = 1e-7  # of the bounds' width, that an equilibrium may move in a sample
_TOLERANCE = 1e-9  # of integration, relative to the state and to the bounds' width

_MOST_DERIVATIVES = 20_000  # in a sample

Simulator = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def from_nonlinear(
    system: Any,
    *,
    x_min: ArrayLike,
    x_max: ArrayLike,
    u_min: ArrayLike,
    u_max: ArrayLike,
    dt: float | None = None,
    x_eq: ArrayLike | None = None,
    u_eq: ArrayLike | None = None,
    x_units: Sequence[str] = (),
    u_units: Sequence[str] = (),
) -> tuple[Plant, Simulator]:
    """Make a plant and a simulator from a ``NonlinearIOSystem`` of python-control; its outputs play no part.

    Its Python cannot be differentiated, so it is a black box for ``ControlProblem(…, simulator=simulator)``, stepped
    state by state: slow, and with nothing proved. The plant is its linearisation, by differences, and has the bounds,
    the equilibrium and the names; the backup is designed on it. Write larger problems with CasADi.

    Parameters
    ----------
    system : control.NonlinearIOSystem
        Continuous or discrete, with as many states and inputs as bounds; its parameters stay as they are.
    x_min, x_max, u_min, u_max : array_like
        Bounds, finite, shapes (nx,) and (nu,).
    dt : float, optional
        Sampling time [s] of a continuous system, whose input is held; a discrete one has its own.
    x_eq, u_eq : array_like, optional
        The equilibrium; the origin by default.
    x_units, u_units : sequence of str
        Units of states and inputs.

    Returns
    -------
    plant : Plant
        Discrete and linear, about the equilibrium.
    simulator : callable
        ``(x, u, p) -> x_next`` of stacks of shapes (n, nx), (n, nu) and (n, 0).

    Raises
    ------
    DomainError
        If it is no such system, has no sampling time, or is not at rest at the equilibrium.
    DimensionError, BoundsError
        As of `Plant`.
    """
    if not hasattr(system, "updfcn") or not hasattr(system, "dynamics"):
        raise DomainError(f"the system is {shown(system)}, expected a NonlinearIOSystem of python-control")
    nx, nu = system.nstates, system.ninputs
    if not nx or not nu:
        raise DomainError("the system does not say how many states and inputs it has; give it states= and inputs=")
    bounds: dict[str, Any] = {
        "x_min": as_array("x_min", x_min, (nx,)),
        "x_max": as_array("x_max", x_max, (nx,)),
        "u_min": as_array("u_min", u_min, (nu,)),
        "u_max": as_array("u_max", u_max, (nu,)),
    }
    x_eq, u_eq = (
        np.zeros(n) if value is None else as_array(key, value, (n,))
        for key, value, n in (("x_eq", x_eq, nx), ("u_eq", u_eq, nu))
    )
    x, u = ca.SX.sym("x", nx), ca.SX.sym("u", nu)
    still = Plant(  # which checks bounds and names
        name=str(getattr(system, "name", None) or "nonlinear"),
        x=x,
        u=u,
        f=x,
        x_eq=x_eq,
        u_eq=u_eq,
        x_labels=tuple(system.state_labels),
        u_labels=tuple(system.input_labels),
        x_units=as_texts("x_units", x_units),
        u_units=as_texts("u_units", u_units),
        source="linearisation of a NonlinearIOSystem of python-control",
        **bounds,
    )
    time, simulator = _simulator(system, dt, still.x_max - still.x_min)
    A, B = _linearised(simulator, still)
    f = ca.DM(x_eq) + ca.mtimes(ca.DM(A), x - ca.DM(x_eq)) + ca.mtimes(ca.DM(B), u - ca.DM(u_eq))
    return still.replace(f=f, dt=time), simulator


class _UndefinedError(Exception):
    """A derivative is not finite."""


def _simulator(system: Any, dt: float | None, widths: np.ndarray) -> tuple[float, Simulator]:
    """Return the sampling time, and a sample of the system as a function of stacks."""
    if system.dt is True or system.dt is None:
        raise DomainError("the system has no sampling time; give it dt in seconds, or dt=0 if it is continuous")
    own = as_scalar("the system's dt", system.dt, at_least=0.0)
    if own and dt is not None:
        raise DomainError(f"the system is discrete already (dt = {own:g} s); leave dt out")
    if not own and dt is None:
        raise DomainError("the system is continuous; give the sampling time dt [s]")
    time = own or as_scalar("dt", dt, above=0.0)

    def sample(x: np.ndarray, u: np.ndarray) -> np.ndarray:
        if own:
            return np.asarray(system.dynamics(0.0, x, u), dtype=float)
        return _integrated(lambda t, x: np.asarray(system.dynamics(t, x, u), dtype=float), x, time, widths)

    def simulator(x: np.ndarray, u: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.array([sample(*row) for row in zip(x, u, strict=True)]).reshape(x.shape)

    return time, simulator


def _integrated(
    ode: Callable[[float, np.ndarray], np.ndarray], x: np.ndarray, time: float, widths: np.ndarray
) -> np.ndarray:
    """Return the state after a time, infinite where it does not last that long."""
    from scipy.integrate import solve_ivp  # takes half a second to import

    evaluated = 0

    def flow(t: float, x: np.ndarray) -> np.ndarray:
        nonlocal evaluated
        evaluated += 1
        if evaluated > _MOST_DERIVATIVES:
            raise DomainError(
                f"a sample of {time:g} s takes more than {_MOST_DERIVATIVES} evaluations of the system: it is too fast "
                "for that, or its bounds are too narrow; sample faster, or take what settles in a sample for settled"
            )
        derivative = ode(t, x)
        if not np.isfinite(derivative).all():  # SciPy would look for a step for ever
            raise _UndefinedError
        return derivative

    try:
        with np.errstate(all="ignore"):
            solved = solve_ivp(flow, (0.0, time), x, "DOP853", rtol=_TOLERANCE, atol=_TOLERANCE * widths)
    except _UndefinedError:
        return np.full(len(x), np.inf)
    return solved.y[:, -1] if solved.success else np.full(len(x), np.inf)


def _linearised(simulator: Simulator, plant: Plant) -> tuple[np.ndarray, np.ndarray]:
    """Return A and B by central differences of fourth order, at the equilibrium of a plant."""
    nx, rest = plant.nx, np.append(plant.x_eq, plant.u_eq)
    widths = np.append(plant.x_max - plant.x_min, plant.u_max - plant.u_min)
    moves = _PART * np.diag(widths)
    points = rest + np.vstack([0 * rest, moves, -moves, 2 * moves, -2 * moves])
    after = simulator(points[:, :nx], points[:, nx:], np.zeros((len(points), 0)))
    if not np.isfinite(after).all():
        raise DomainError("the system is not finite about its equilibrium; check x_eq, u_eq and dt")
    drift = np.abs(after[0] - plant.x_eq)
    moving = np.flatnonzero(drift > _AT_REST * widths[:nx])
    if moving.size:
        label, moved = plant.x_labels[moving[0]], drift[moving[0]]
        raise DomainError(
            f"the system is not at rest at (x_eq, u_eq): its {label} moves by {moved:.3g} in a sample; give x_eq and "
            "u_eq at which it is"
        )
    near, back, far, farther_back = np.split(after[1:], 4)
    slopes = (8 * (near - back) - (far - farther_back)) / (12 * _PART * widths[:, None])
    return slopes[:nx].T, slopes[nx:].T
