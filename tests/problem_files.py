"""Problem files to change in one place and write, for tests of what reads them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

REMOVE = object()

ZOO_PLANT = {"kind": "double_integrator"}
LINEAR_PLANT = {
    "kind": "linear",
    "dt": 0.1,
    "A": [[1.0, 0.1], [0.0, 1.0]],
    "B": [[0.005], [0.1]],
    "x_min": [-5.0, -1.5],
    "x_max": [5.0, 1.5],
    "u_min": [-1.0],
    "u_max": [1.0],
}
TWO_INPUT_PLANT = {
    "kind": "linear",
    "dt": 0.1,
    "A": [[0.95, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 0.85]],
    "B": [[0.0, 0.1], [0.1, 0.0], [0.2, 0.05]],
    "x_min": [-2.0, -2.5, -3.0],
    "x_max": [3.0, 2.5, 2.0],
    "u_min": [-0.7, -0.4],
    "u_max": [0.5, 0.6],
}
EQUATIONS_PLANT = {
    "kind": "equations",
    "name": "pendulum",
    "dt": 0.05,
    "states": [
        {"name": "angle", "unit": "rad", "min": -2.0, "max": 2.0, "derivative": "rate"},
        {
            "name": "rate",
            "unit": "rad/s",
            "min": -4.0,
            "max": 4.0,
            "derivative": "(torque/m - g*sin(angle))/l - 0.3*rate",
        },
    ],
    "inputs": [{"name": "torque", "unit": "N m", "min": -2.0, "max": 2.0}],
    "parameters": [{"name": "m", "unit": "kg", "nominal": 1.0, "above": 0.0}],
    "constants": {"g": 9.81, "l": 1.0},
}
BASE: dict[str, dict[str, Any]] = {
    "plant": ZOO_PLANT,
    "backup": {"kind": "lqr", "Q": [0.1, 0.1], "R": [10.0]},
    "policy": {"kind": "mlp", "hidden": [3]},
    "objective": {"kind": "quadratic", "Q": [1.0, 0.1], "R": [0.05]},
    "scenarios": {"count": 3, "horizon": 8},
    "adapt": {"steps": 5, "audit": False},
}


def tables(changes: dict[str, Any] | None = None, base: dict[str, dict[str, Any]] = BASE) -> dict[str, Any]:
    """Return a problem with changes: "section.key" or "section" to a value, or to REMOVE."""
    result: dict[str, Any] = copy.deepcopy(base)
    for where, value in (changes or {}).items():
        section, _, key = where.partition(".")
        place, name = (result.setdefault(section, {}), key) if key else (result, section)
        if value is REMOVE:
            del place[name]
        else:
            place[name] = copy.deepcopy(value)
    return result


def write(path: Path, changes: dict[str, Any] | None = None, base: dict[str, dict[str, Any]] = BASE) -> Path:
    """Write a problem file with changes, and return its path."""
    path.write_text(tomli_w.dumps(tables(changes, base)), encoding="utf-8")
    return path


def write_expert(path: Path, nx: int = 2, nu: int = 1, rows: int = 12) -> Path:
    """Write states and a linear expert's inputs as CSV."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-0.5, 0.5, (rows, nx))
    u = -0.3 * x[:, :nu] - 0.5 * x[:, -nu:]
    header = ",".join([*(f"x{i}" for i in range(nx)), *(f"u{i}" for i in range(nu))])
    np.savetxt(path, np.hstack([x, u]), delimiter=",", header=header, comments="", fmt="%.17g")
    return path


IMITATION = {"objective": {"kind": "imitation", "csv": "expert.csv"}}
TWO_INPUTS = {
    "plant": TWO_INPUT_PLANT,
    "backup": {"kind": "lqr", "Q": [0.1] * 3, "R": [10.0, 5.0]},
    "objective": {"kind": "quadratic", "Q": [1.0, 0.5, 0.1], "R": [0.05, 0.1]},
}
# Constraints, limits of change and costs as expressions of position, velocity, force and mass.
POWER = {"name": "power", "expression": "force*velocity", "bound": 0.05, "unit": "W"}
PAIR = {
    "name": ["ellipse", "braking"],
    "expression": ["(position/5)**2 + velocity**2", "-mass*force*velocity"],
    "bound": [2.0, 0.3],
    "scale": [1.0, 0.3],
}
ENERGY = {
    "kind": "expression",
    "stage": "0.5*force**2 + position**2 + force*velocity",
    "terminal": "position**2 + velocity**2",
    "R_du": [0.1],
}
RESIDUALS = {
    "kind": "expression",
    "least_squares": True,
    "stage": ["position + 0.1*position**2", "0.3*sin(force)"],
    "terminal": ["velocity"],
}
LIMITS = {"du_max": [0.15], "constraints": [POWER, PAIR]}
# Loops under controllers, which are their own backup: one with memory and audits, saturated, with several memories, and
# one whose plant shows less than its state.
CONTROLLERS: dict[str, dict[str, Any]] = {
    "pid, audited": {
        "backup": REMOVE,
        "policy": {"kind": "pid", "kp": 0.3, "ki": 0.01, "kd": 0.8, "filter_time": 0.1},
        "scenarios": {"count": 4, "horizon": 20, "level": 0.5, "parameters": {"mass": [0.9, 1.1]}},
        "metrics": {"contraction": 0.99},
        "adapt": {"steps": 12, "audit_rollouts": 500, "guards": 8},
    },
    "pid, expressions": {
        "backup": REMOVE,
        "policy": {"kind": "pid", "kp": 0.3, "ki": 0.01, "kd": 0.8, "filter_time": 0.1},
        "objective": {
            "kind": "quadratic",
            "Q": [[1.0, 0.2], [0.2, 0.1]],
            "R": [0.05],
            "P_N": [[2.0, 0.1, 0.0, 0.0], [0.1, 1.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.5], [0.0, 0.0, 0.5, 1.0]],
            "R_du": [0.3],
        },
        "scenarios": {"count": 4, "horizon": 20, "level": 0.3, "parameters": {"mass": [0.9, 1.1]}},
        "metrics": {
            "du_max": [0.5],
            "constraints": [
                {"name": "drift", "expression": "(filtered_position - position)**2", "bound": 0.9, "unit": "m^2"},
                {"name": "power", "expression": "force*velocity*mass", "bound": 0.3, "unit": "W"},
            ],
        },
        "adapt": {"steps": 8, "audit_rollouts": 500, "guards": 8},
    },
    "pid, signals": {
        "plant": {
            **ZOO_PLANT,
            "sensor_noise": [0.001, 0.0],
            "signals": {"mass": {"kind": "ramp", "before": 1.0, "after": [0.95, 1.05], "over": 1.0}},
        },
        "backup": REMOVE,
        "policy": {
            "kind": "pid",
            "kp": 0.3,
            "ki": 0.01,
            "kd": 0.8,
            "filter_time": 0.1,
            "reference": {
                "position reference": {"kind": "step", "before": 0.0, "after": [-0.5, 0.5], "at": [0.2, 0.5]}
            },
        },
        "objective": {"kind": "tracking", "Q": [1.0], "R": [0.05]},
        "scenarios": {"count": 4, "horizon": 20, "level": 0.1},
        "metrics": {"constraints": [{"kind": "overshoot", "reference": "position reference", "most": 9.0}]},
        "adapt": {"steps": 8, "audit_rollouts": 500, "guards": 8},
    },
    "gains over a state, saturated": {
        "backup": REMOVE,
        "policy": {
            "kind": "gain_schedule",
            "points": [-1.0, 0.0, 1.0],
            "gains": [[[0.2, 0.6]], [[0.15, 0.5]], [[0.2, 0.6]]],
            "signal": 1,
        },
        "metrics": {"command": False, "terminal": True},
    },
    "lqi, one step from a cloud": {
        "backup": REMOVE,
        "policy": {"kind": "lqi", "Q": [1.0, 1.0, 0.1], "R": [10.0], "reference": [0.3]},
        "scenarios": {"count": 3, "horizon": 8, "level": 0.5, "disturbance": [1e-4, 1e-4]},
        "metrics": {"one_step": 1e-4, "cloud": 11, "contraction_floor": 0.1},
    },
    "lqg": {
        "plant": {"kind": "quadruple_tank"},
        "backup": REMOVE,
        "policy": {
            "kind": "lqg",
            "Q": [0.1] * 4,
            "R": [10.0, 10.0],
            "process_noise": [0.01] * 4,
            "sensor_noise": [0.1, 0.1],
        },
        "objective": {"kind": "quadratic", "Q": [1.0, 1.0, 0.0, 0.0], "R": [0.1, 0.1]},
        "scenarios": {"count": 3, "horizon": 8, "level": 0.5, "draw": "low_discrepancy"},
    },
    "load moves the point of rest": {
        "plant": {"kind": "buck_converter"},
        "backup": REMOVE,
        "policy": {"kind": "pid", "kp": 0.001, "ki": 6.0},
        "objective": {"kind": "quadratic", "Q": [0.0, 1.0], "R": [0.1]},
        "scenarios": {"count": 4, "horizon": 30, "level": 0.5, "parameters": {"load": [2.5, 4.0]}},
        "metrics": {"contraction": 0.99, "contraction_floor": 0.6},
    },
}
# One run of each kind that the record and its verification must hold for.
KINDS: dict[str, dict[str, Any]] = {
    "audited": {"adapt": {"steps": 12, "audit_rollouts": 500, "guards": 8}},
    "mlp": {"metrics.contraction": 0.95},
    "linear policy, terminal": {"policy": {"kind": "linear"}, "metrics": {"terminal": True}},
    "contraction to a floor": {"metrics": {"path": False, "contraction": 0.8, "contraction_floor": 0.3}},
    "expressions, audited": {
        "objective": ENERGY,
        "scenarios": {"count": 4, "horizon": 12, "level": 0.35, "parameters": {"mass": [0.9, 1.1]}},
        "metrics": LIMITS,
        "adapt": {"steps": 12, "audit_rollouts": 500, "guards": 8},
    },
    "expressions, one step, saturated": {
        "objective": RESIDUALS,
        "scenarios.level": 0.35,
        "metrics": LIMITS | {"command": False, "one_step": 0.001, "cloud": 11, "contraction_floor": 0.1},
    },
    "two layers, saturated": {"policy.hidden": [3, 2], "policy.scale": [2.0, 0.5], "metrics.command": False},
    "one step from a cloud": {
        "plant": {"kind": "cart_pole"},
        "backup": {"kind": "lqr", "Q": [1.0] * 4, "R": [1.0]},
        "objective": {"kind": "quadratic", "Q": [1.0, 0.1, 1.0, 0.1], "R": [0.01]},
        "scenarios": {"count": 3, "horizon": 8, "level": 0.5, "disturbance": [1e-4] * 4, "disturbance_fixed": 0.5},
        "scenarios.parameters": {"pole_mass": [0.09, 0.11]},
        "metrics": {"one_step": 0.001, "cloud": 11, "contraction_floor": 0.1},
    },
    "one step, in a box, audited": {
        "scenarios": {"count": 4, "horizon": 8, "box": [[-1.0, -0.3], [2.0, 0.3]], "seed": 3},
        "metrics": {"one_step": 0.01, "cloud": 13, "contraction": 0.95},
        "adapt": {"steps": 12, "audit_rollouts": 500, "guards": 8},
    },
    "path off": {"metrics": {"path": False, "terminal": True, "contraction": 0.95}},
    "parameters, disturbance": {
        "scenarios.level": 0.4,
        "scenarios.parameters": {"mass": [0.9, 1.1]},
        "scenarios.disturbance": [0.001, 0.002],
    },
    "disturbance in part fixed": {
        "scenarios.level": 0.4,
        "scenarios.disturbance": [0.001, 0.002],
        "scenarios.disturbance_fixed": 0.75,
    },
    "nonlinear, parameters": {
        "plant": {"kind": "cart_pole"},
        "backup": {"kind": "lqr", "Q": [1.0] * 4, "R": [1.0]},
        "objective": {"kind": "quadratic", "Q": [1.0, 0.1, 1.0, 0.1], "R": [0.01]},
        "scenarios.parameters": {"pole_mass": [0.05, 0.15], "cart_mass": [0.5, 1.5]},
        "metrics.terminal": True,
    },
    "parameters that move the equilibrium": {
        "plant": {"kind": "planar_quadrotor"},
        "backup": {"kind": "lqr", "Q": [1.0, 1.0, 10.0, 5.0, 10.0, 1.0], "R": [100.0, 100.0]},
        "objective": {"kind": "quadratic", "Q": [100.0, 1.0, 100.0, 1.0, 1.0, 0.01], "R": [1.0, 1.0]},
        "scenarios": {"horizon": 10, "count": 4, "level": 0.9, "parameters": {"mass": [0.02565, 0.02835]}},
        "metrics": {"contraction": 0.99, "contraction_floor": 0.2},
    },
    "a level set that is designed": {
        "backup": {"kind": "lmi", "decay": 0.98},
        "scenarios": {"count": 4, "horizon": 8, "parameters": {"mass": [0.9, 1.1]}, "disturbance": [0.0, 0.001]},
        "metrics": {"terminal": True},
    },
    "initial states": {"scenarios": {"horizon": 8, "initial_states": [[1.0, 0.2], [-2.0, 0.5], [0.0, 0.0]]}},
    "spread in a level": {
        "scenarios": {
            "count": 5,
            "horizon": 8,
            "level": 0.4,
            "draw": "low_discrepancy",
            "parameters": {"mass": [0.9, 1.1]},
        },
        "scenarios.disturbance": [0.001, 0.002],
    },
    "spread in a box": {
        "scenarios": {
            "count": 4,
            "horizon": 8,
            "box": [[-1.0, -0.3], [2.0, 0.3]],
            "draw": "low_discrepancy",
            "seed": 3,
        },
    },
    "drawn from a box": {"scenarios": {"count": 4, "horizon": 8, "box": [[-1.0, -0.3], [2.0, 0.3]]}},
    "imitation": IMITATION,
    "two inputs": TWO_INPUTS | {"adapt.method": "adam"},
    "exact gradients": {"adapt.gradients": "exact"},
    "exact gradients in a subspace": {"adapt.method": "momentum", "adapt.gradients": "exact", "adapt.directions": 4},
    "diagonal preconditioner": {"policy": {"kind": "linear"}, "adapt.preconditioner": [4.0, 0.5]},
    "full preconditioner": {
        "policy": {"kind": "linear"},
        "adapt.method": "lbfgs",
        "adapt.preconditioner": [[4.0, 1.0], [1.0, 2.0]],
    },
    "matrix weights": {"plant": LINEAR_PLANT, "backup.Q": [[0.1, 0.02], [0.02, 0.1]], "adapt.directions": 5},
    "equations": {
        "plant": EQUATIONS_PLANT,
        "backup": {"kind": "lqr", "Q": [1.0, 0.1], "R": [0.1]},
        "scenarios.parameters": {"m": [0.9, 1.1]},
    },
    **CONTROLLERS,
}
