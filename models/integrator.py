"""Discretisation of continuous plants, the input held over a sample: exact where A is constant, Runge-Kutta else."""

import warnings
from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError, ScpoWarning
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.models.units import Units
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_count, as_scalar

_MOST_SUBSTEPS = 10_000  # each makes the expressions longer
_MOST_CHOSEN = 64  # substeps that nobody asked for
_TOLERANCE = 1e-4  # of a sample's motion; models of plants are not that good
_COARSE = 1e-3  # of a sample's motion: more is worth a warning
_POINTS = 64  # at which the error is estimated
_STILL = 1e-6  # of a unit: less motion in a sample counts as so much


def discretise(plant: Plant, dt: float, *, substeps: int | None = None, tolerance: float = _TOLERANCE) -> Plant:
    """Discretise a continuous plant for an input that is held over each sample.

    A plant that is ẋ = A x + g(u, p) with constant A is discretised exactly, by the matrix exponential. Any other one
    takes as many steps of the classical fourth-order Runge-Kutta method as keep the error within the tolerance. The
    error is estimated by halving the steps, at 64 random points within the bounds, for the nominal parameters.

    Parameters
    ----------
    plant : Plant
        A continuous plant (``dt is None``).
    dt : float
        Sampling time [s], over which the input is held.
    substeps : int, optional
        Runge-Kutta steps in a sample, of a plant with constant A too; the error falls with ``(dt / substeps)**4``.
    tolerance : float
        Largest error of a state after a sample where no substeps are given, relative to how far the sample moves it at
        most, in (0, 1].

    Returns
    -------
    Plant
        The same plant with x⁺ = f(x, u, p).

    Raises
    ------
    DomainError
        If the plant is discrete already, not at rest at its equilibrium, or so stiff that 64 substeps are too few; dt
        is not positive or substeps is below 1.

    Warns
    -----
    ScpoWarning
        If the error with the given substeps is estimated to be more than 0.1 %.

    References
    ----------
    C. F. Van Loan, "Computing integrals involving the matrix exponential", IEEE Transactions on Automatic Control
    23(3), 1978. E. Hairer, S. P. Nørsett, G. Wanner, Solving Ordinary Differential Equations I, sections II.1 and II.4.
    """
    dt, tolerance = _checked(plant, dt), as_scalar("tolerance", tolerance, above=0.0, at_most=1.0)
    if substeps is not None:
        count = as_count("substeps", substeps, at_least=1, at_most=_MOST_SUBSTEPS)
        error = _SampledError(plant, dt).of(count)
        if not error <= _COARSE:
            warnings.warn(
                f"plant {plant.name!r} with dt = {dt:g} s and substeps = {count} errs by {_percent(error)} of its "
                "motion within a sample; give more substeps, or leave them out to have them chosen",
                ScpoWarning,
                stacklevel=2,
            )
        return plant.replace(f=_runge_kutta(plant, dt, count), dt=dt)
    A = _constant_A(plant)
    if A is not None:
        return plant.replace(f=_exactly(plant, dt, A), dt=dt)
    return plant.replace(f=_runge_kutta(plant, dt, _chosen(plant, dt, tolerance)), dt=dt)


def substeps_needed(plant: Plant, dt: float, *, tolerance: float = _TOLERANCE) -> int | None:
    """Return how many Runge-Kutta steps a sample `discretise` chooses.

    Parameters
    ----------
    plant : Plant
        Continuous.
    dt : float
        Sampling time [s].
    tolerance : float
        As in `discretise`.

    Returns
    -------
    int or None
        A power of two; None where the matrix exponential is exact.

    Raises
    ------
    DomainError
        As in `discretise`.
    """
    dt = _checked(plant, dt)
    return None if _constant_A(plant) is not None else _chosen(plant, dt, tolerance)


def _chosen(plant: Plant, dt: float, tolerance: float) -> int:
    """Return the least power of two whose steps err within the tolerance."""
    sampled, count = _SampledError(plant, dt), 1
    while not (error := sampled.of(count)) <= tolerance:
        count *= 2
        if count > _MOST_CHOSEN:
            raise DomainError(
                f"plant {plant.name!r} needs more than {_MOST_CHOSEN} Runge-Kutta steps for a sample of dt = {dt:g} s: "
                f"so many err by {_percent(error)} of its motion, the tolerance is {_percent(tolerance)}; sample "
                "faster, take what settles within a sample for settled, or give substeps"
            )
    return count


class _SampledError:
    """The error of Runge-Kutta steps at random points within the bounds, relative to the motion of each state."""

    def __init__(self, plant: Plant, dt: float) -> None:
        units, rng = Units.of(plant), np.random.default_rng(0)
        low, high = np.maximum(plant.x_min, plant.x_eq - units.x), np.minimum(plant.x_max, plant.x_eq + units.x)
        self._x = rng.uniform(low, high, (_POINTS, plant.nx)).T
        u = rng.uniform(plant.u_min, plant.u_max, (_POINTS, plant.nu)).T
        p, ode = np.tile(plant.p_nominal[:, None], _POINTS), plant.function.map(_POINTS)
        self._ode = lambda x: np.array(ode(x, u, p))
        self._dt, self._still = dt, _STILL * units.x
        self._after: dict[int, np.ndarray] = {}

    def of(self, count: int) -> float:
        """Return the largest error with `count` steps a sample; infinite where they end nowhere."""
        coarse, fine = self._steps(count), self._steps(2 * count)
        defined = np.isfinite(fine).all(axis=0)  # a solution may leave where f is defined
        if not defined.any():
            return np.inf
        with np.errstate(all="ignore"):
            motion = np.maximum(np.abs(fine - self._x)[:, defined].max(axis=1), self._still)
            error = (np.abs(coarse - fine)[:, defined].max(axis=1) * 16 / 15 / motion).max()
        return float(error) if np.isfinite(error) else np.inf

    def _steps(self, count: int) -> np.ndarray:
        """Return the states after a sample of `count` steps, (nx, points)."""
        if count not in self._after:
            x = self._x
            with np.errstate(all="ignore"):
                for _ in range(count):
                    x = _step(self._ode, x, self._dt / count)
            self._after[count] = x
        return self._after[count]


def _runge_kutta(plant: Plant, dt: float, substeps: int) -> ca.SX:
    """Return x⁺ after so many steps."""
    ode, x = plant.function, plant.x
    for _ in range(substeps):
        x = _step(lambda x: ode(x, plant.u, plant.p), x, dt / substeps)
    return ca.cse(x)


def _step(ode: Callable[[Any], Any], x: Any, h: float) -> Any:
    """Return x, an array or an expression, after one step of the classical Runge-Kutta method."""
    k1 = ode(x)
    k2 = ode(x + h / 2 * k1)
    k3 = ode(x + h / 2 * k2)
    k4 = ode(x + h * k3)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _constant_A(plant: Plant) -> np.ndarray | None:
    """Return ∂f/∂x, shape (nx, nx), where it depends on nothing."""
    A = ca.simplify(ca.jacobian(plant.f, plant.x))
    return None if ca.symvar(A) else np.array(ca.evalf(A))


def _exactly(plant: Plant, dt: float, A: np.ndarray) -> ca.SX:
    """Return x⁺ = x_eq + exp(A dt) (x - x_eq) + ∫₀^dt exp(A s) ds f(x_eq, u, p)."""
    from scipy.linalg import expm  # takes long to import

    nx = plant.nx
    with np.errstate(all="ignore"):
        both = expm(dt * np.block([[A, np.eye(nx)], [np.zeros((nx, 2 * nx))]]))
    if not np.isfinite(both).all():
        raise DomainError(
            f"plant {plant.name!r} leaves the range of a double within a sample of dt = {dt:g} s; check dt and units"
        )
    grown, integral = ca.DM(both[:nx, :nx]), ca.DM(both[:nx, nx:])
    at_rest = ca.substitute(plant.f, plant.x, ca.DM(plant.x_eq))
    return ca.DM(plant.x_eq) + ca.mtimes(grown, plant.x - ca.DM(plant.x_eq)) + ca.mtimes(integral, at_rest)


def _checked(plant: Plant, dt: float) -> float:
    as_instance("plant", plant, Plant)
    if plant.dt is not None:
        raise DomainError(f"plant {plant.name!r} is discrete already (dt = {plant.dt:g} s); use it as it is")
    return as_scalar("dt", dt, above=0.0)


def _percent(error: float) -> str:
    return f"{100 * error:.2g} %" if error < 1 else "more than all"
