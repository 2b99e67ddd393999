"""Small problems that are adapted on a device, and drivers for their C on this computer."""

import numpy as np

import scpo_ctrl as sc
from scpo_ctrl.models import double_integrator

COUNT, HORIZON, UNITS = 8, 30, 12


def r3_problem(seed: int = 0, *, stability: bool = False, hidden: tuple[int, ...] = (UNITS,)) -> sc.ControlProblem:
    """R3 with 8 scenarios around the edge of the level set and a horizon of 30, as DESIGN section 11 measured it."""
    plant = double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    root = np.linalg.cholesky(backup.rho * np.linalg.inv(backup.P))
    angles = np.arange(COUNT) * 2 * np.pi / COUNT
    sizes = np.tile([0.9, 0.45], COUNT // 2)
    x0 = (root @ (sizes * np.array([np.cos(angles), np.sin(angles)]))).T
    return sc.ControlProblem(
        sc.Policy(plant, backup, hidden=hidden),
        sc.scenarios(plant, backup, horizon=HORIZON, initial_states=x0),
        sc.Quadratic(np.array([1.0, 0.1]), np.array([0.05])),
        sc.MetricOptions(contraction=0.3, stability=stability),
        seed=seed,
    )


def unadapted(problem: sc.ControlProblem) -> sc.Result:
    """The result of a run without steps: its parameters are the safe start."""
    return sc.adapt(problem, sc.AdaptOptions(steps=0, audit=False))
