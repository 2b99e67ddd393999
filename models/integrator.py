"""Runge-Kutta discretisation of continuous plants, the input held over a sample."""

import casadi as ca

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_count, as_scalar

_MOST_SUBSTEPS = 10_000  # each makes the expressions longer


def discretise(plant: Plant, dt: float, *, substeps: int = 1) -> Plant:
    """Discretise a continuous plant by the classical fourth-order Runge-Kutta method.

    Parameters
    ----------
    plant : Plant
        A continuous plant (``dt is None``).
    dt : float
        Sampling time [s], over which the input is held.
    substeps : int
        Runge-Kutta steps in a sample; the global error falls with ``(dt / substeps)**4``.

    Returns
    -------
    Plant
        The same plant with x⁺ = f(x, u, p).

    Raises
    ------
    DomainError
        If the plant is discrete already, dt is not positive or substeps is below 1.

    References
    ----------
    E. Hairer, S. P. Nørsett, G. Wanner, Solving Ordinary Differential Equations I, section II.1.
    """
    as_instance("plant", plant, Plant)
    if plant.dt is not None:
        raise DomainError(f"plant {plant.name!r} is discrete already (dt = {plant.dt:g} s)")
    dt, substeps = as_scalar("dt", dt, above=0.0), as_count("substeps", substeps, at_least=1, at_most=_MOST_SUBSTEPS)
    h = dt / substeps
    ode = plant.function
    x = plant.x
    for _ in range(substeps):
        k1 = ode(x, plant.u, plant.p)
        k2 = ode(x + h / 2 * k1, plant.u, plant.p)
        k3 = ode(x + h / 2 * k2, plant.u, plant.p)
        k4 = ode(x + h * k3, plant.u, plant.p)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return plant.replace(f=ca.cse(x), dt=dt)
