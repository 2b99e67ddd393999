"""Logs of plants whose parameters and disturbances are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scpo_ctrl.models import Plant


def logged(
    plant: Plant,
    p: list[float],
    half: list[float],
    excitation: float,
    steps: int = 400,
    seed: int = 0,
    offset: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return states and inputs of a plant that a random input moves around its equilibrium."""
    rng = np.random.default_rng(seed)
    u = plant.u_eq + offset + excitation * np.repeat(rng.uniform(-1, 1, (-(-steps // 5), plant.nu)), 5, axis=0)[:steps]
    w = rng.uniform(-1, 1, (steps, plant.nx)) * half
    x = np.tile(plant.x_eq, (steps, 1))
    for t in range(steps - 1):
        x[t + 1] = np.array(plant.function(x[t], u[t], p))[:, 0] + w[t]
    return x, u


def write_log(path: Path, x: np.ndarray, u: np.ndarray, **columns: np.ndarray) -> Path:
    """Write a log as CSV, columns such as sample or t first."""
    names = [*columns, *(f"x{i}" for i in range(x.shape[1])), *(f"u{i}" for i in range(u.shape[1]))]
    data = np.column_stack([*columns.values(), x, u])
    np.savetxt(path, data, delimiter=",", header=",".join(names), comments="", fmt="%.17g")
    return path
