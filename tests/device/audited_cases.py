"""Problems whose audits on the device draw from sets of every kind, and the flags of options for their C."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import casadi as ca
import device_runs

import scpo_ctrl as sc
from scpo_ctrl.device import DeviceOptions
from scpo_ctrl.models import Plant, dc_motor, double_integrator

MACROS = {
    "rows": "NROWS", "tries": "TRIES", "patience": "PATIENCE", "audit_points": "AUDIT_POINTS",
    "audit_first": "AUDIT_FIRST", "audit_most": "AUDIT_MOST", "guards": "GUARDS", "edges": "EDGES", "taken": "TAKEN",
    "step_rollouts": "STEP_ROLLOUTS", "back_off": "BACK_OFF", "directions": "NDIRECTIONS",
}  # fmt: skip
_kept: list[tempfile.TemporaryDirectory] = []


def one_state() -> sc.ControlProblem:
    """Return a plant of one state whose gain and drift have ranges, from an interval."""
    x, u, p = ca.SX.sym("x"), ca.SX.sym("u"), ca.SX.sym("p", 2)
    plant = Plant(
        name="one", x=x, u=u, p=p, p_labels=("gain", "drift"), p_nominal=[0.2, 1.0], f=p[1] * x + p[0] * u, dt=0.1,
        x_min=[-1.0], x_max=[1.0], u_min=[-3.0], u_max=[3.0],
    )  # fmt: skip
    ranges = {"gain": (0.15, 0.25), "drift": (0.95, 1.05)}
    backup = sc.lqr(plant, [1.0], [1.0], parameters=ranges)
    batch = sc.scenarios(plant, backup, horizon=12, count=2, box=[[-0.9], [0.9]], parameters=ranges)
    return sc.ControlProblem(sc.Policy(plant, backup, (3,)), batch, sc.Quadratic([1.0], [0.01]))


def box_disturbed(
    initial_states: list[list[float]] | None = None, neighbourhood: float | None = None, fixed: float = 0.3, **options
) -> sc.ControlProblem:
    """Return the double integrator with ranges and disturbances, from a box or around centres."""
    plant, ranges = double_integrator(), {"mass": (0.8, 1.25)}
    backup = sc.lqr(plant, [0.1, 0.1], [10.0], parameters=ranges)
    extent = 0.4 * backup.extent
    of_set = {"count": 3, "box": [-extent, extent]}
    if initial_states is not None:
        of_set = {"initial_states": initial_states, "neighbourhood": neighbourhood}
    batch = sc.scenarios(
        plant, backup, horizon=14, parameters=ranges, disturbance=[0.002, 0.004], disturbance_fixed=fixed, **of_set
    )
    metrics = sc.MetricOptions(**({"contraction": 0.9, "contraction_floor": 0.2, "stability": False} | options))
    return sc.ControlProblem(sc.Policy(plant, backup, (4,)), batch, sc.Quadratic([1.0, 0.1], [0.05]), metrics)


def centres() -> sc.ControlProblem:
    """Return the same around three centres."""
    return box_disturbed([[0.5, 0.0], [-0.5, 0.2], [0.1, -0.3]], 0.2, 1.0, stability=True)


def ranges_alone() -> sc.ControlProblem:
    """Return a plant from two states alone, of a range of masses."""
    plant, ranges = double_integrator(), {"mass": (0.8, 1.25)}
    backup = sc.lqr(plant, [0.1, 0.1], [10.0], parameters=ranges)
    batch = sc.scenarios(
        plant, backup, horizon=20, initial_states=[[1.2, 0.0], [0.0, 0.0]], neighbourhood=0.0, parameters=ranges
    )
    metrics = sc.MetricOptions(stability=False, contraction=0.9, contraction_floor=0.05)
    return sc.ControlProblem(sc.Policy(plant, backup, (4,)), batch, sc.Quadratic([1.0, 0.1], [0.05]), metrics)


def motor(seed: int = 0, *, disturbed: bool = False) -> sc.ControlProblem:
    """Return a servo of a range of loads and windings, from its level set."""
    plant = dc_motor(dt=2e-3)
    ranges = {"resistance": (3.2, 5.0), "inertia": (2.6e-6, 3.9e-6)}
    backup = sc.lqr(plant, [1.0, 1e-5], [0.1], parameters=ranges)
    extent = 0.5 * backup.extent
    of_set = {"level": 0.8}
    if disturbed:
        of_set = {"box": [-extent, extent], "disturbance": [0.001, 1.0], "disturbance_fixed": 0.5}
    batch = sc.scenarios(plant, backup, horizon=30, count=6, parameters=ranges, **of_set)
    metrics = sc.MetricOptions(contraction=None if disturbed else 0.8)
    objective = sc.Quadratic([20.0, 1e-4], [0.001])
    return sc.ControlProblem(sc.Policy(plant, backup, (8,)), batch, objective, metrics, seed=seed)


def disturbed_motor(seed: int = 0) -> sc.ControlProblem:
    """Return the same from a box, with disturbances of which half is constant."""
    return motor(seed, disturbed=True)


def flags(options: DeviceOptions) -> str:
    """Return options as macros."""
    chosen = {key: getattr(options, key) for key in MACROS}
    if options.gradients != "sampled":
        chosen.pop("directions")
    if not options.tries:
        chosen.pop("tries")
    return " ".join(f"-DSCPO_{MACROS[key]}={value}" for key, value in chosen.items())


@functools.cache
def exported(make, real: str = "double", gradients: str = "exact") -> Path:
    """Return the folder of the C of a problem, which stays until the tests end."""
    folder = tempfile.TemporaryDirectory(prefix="scpo_audited_")
    _kept.append(folder)
    return device_runs.exported(make(), Path(folder.name) / "c", real, gradients=gradients)


def program(folder: Path, more: str) -> Path:
    """Return the driver of device_runs, built with flags."""
    return device_runs.compiled(folder, f"{device_runs.FLAGS} {more}")
