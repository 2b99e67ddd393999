"""The held-out attack on a guard, through the C that is exported: parameters of a policy that mean the worst."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.compiled import find_compiler
from scpo_ctrl.invariance.polytope import Polytope

OK, BAD_STATE, BAD_THETA, GUARDED = 0, 4, 5, 6
PLANTS = 4  # parameters that every state is tried with
_DRIVER = r"""
#include "scpo.h"
void attack(long count, const scpo_real *theta, const scpo_real *x, scpo_real *u, int *status)
{
    long i;
    for (i = 0; i < count; i++) {
        status[i] = (int)scpo_control(theta + i * SCPO_NTHETA, x + i * SCPO_NX, u + i * SCPO_NU);
    }
}
void farthest(long count, const scpo_real *x, const scpo_real *from, const scpo_real *to, scpo_real *u)
{
    long i;
    int j, k;
    for (i = 0; i < count; i++) {
        scpo_real low = 0, high = 1;
        for (k = 0; k < 60; k++) {
            const scpo_real part = (low + high) / 2;
            if (part == low || part == high) {
                break;
            }
            for (j = 0; j < SCPO_NU; j++) {
                u[i * SCPO_NU + j] = from[i * SCPO_NU + j] + part * (to[i * SCPO_NU + j] - from[i * SCPO_NU + j]);
            }
            *(scpo_guard(x + i * SCPO_NX, u + i * SCPO_NU) ? &low : &high) = part;
        }
        for (j = 0; j < SCPO_NU; j++) {
            u[i * SCPO_NU + j] = from[i * SCPO_NU + j] + low * (to[i * SCPO_NU + j] - from[i * SCPO_NU + j]);
        }
    }
}
"""


@dataclass(frozen=True)
class Attack:
    """What came of it."""

    tried: int  # states of the set, each with `PLANTS` parameters
    escapes: int  # next states outside the set
    beyond: int  # inputs beyond their bounds
    applied: int  # inputs of the policy that passed
    guarded: int
    bad: int  # parameters of the policy that are no numbers
    farthest: float  # largest V of a next state, in parts of ρ


class Library:
    """An export with its guard as a shared library."""

    def __init__(self, folder: Path, real: str, flags: str = "-O2"):
        self.kind = np.float32 if real == "float" else np.float64
        (folder / "driver.c").write_text(_DRIVER)
        command = [*find_compiler(), "-std=c99", *flags.split(), "-fPIC", f"-I{folder / 'include'}", "-c"]
        objects = []
        for source in [folder / "driver.c", *sorted((folder / "src").glob("*.c"))]:
            objects.append(str(source.with_suffix(".o")))
            subprocess.run([*command, str(source), "-o", objects[-1]], check=True)
        # Linked without the flags: -ffast-math would change the arithmetic of this whole process.
        shared = folder / f"guard{len(list(folder.glob('*.so')))}.so"  # no path is loaded twice
        subprocess.run([*find_compiler(), "-shared", *objects, "-lm", "-o", str(shared)], check=True)
        self._c = ctypes.CDLL(str(shared))

    def _pointers(self, *arrays):
        return [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]

    def _plain(self, *arrays):
        return [np.ascontiguousarray(array, dtype=self.kind) for array in arrays]

    def guard(self, x, u):
        """Return whether an input passes."""
        return self._c.scpo_guard(*self._pointers(*self._plain(x, u)))

    def control(self, theta, x, nu):
        """Return inputs and statuses of many states, each with its parameters."""
        theta, x = self._plain(theta, x)
        u, status = np.zeros((len(x), nu), self.kind), np.zeros(len(x), np.int32)
        self._c.attack(ctypes.c_long(len(x)), *self._pointers(theta, x, u, status))
        return u.astype(float), status

    def in_place(self, theta, x):
        """Return the first input, written to where the state is, and the status."""
        theta, both = self._plain(theta, x.copy())
        status = self._c.scpo_control(*self._pointers(theta, both, both))
        return both[0], status

    def farthest(self, x, start, to):
        """Return the inputs farthest along a line from `start` that still pass."""
        x, start, to = self._plain(x, start, to)
        u = np.zeros_like(start)
        self._c.farthest(ctypes.c_long(len(x)), *self._pointers(x, start, to, u))
        return u.astype(float)


def states(problem, rng, count):
    """Return states of the proved set, half of them on its surface, as far as a double can be."""
    plant, (unit, root) = problem.plant, problem.backup.shape
    towards = rng.normal(size=(count, plant.nx))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    length = np.where(rng.uniform(size=(count, 1)) < 0.5, 1 - 1e-7 * rng.uniform(size=(count, 1)), 1.0)
    length = np.where(rng.uniform(size=(count, 1)) < 0.3, rng.uniform(size=(count, 1)), length)
    return plant.x_eq + unit * ((length * towards) @ root.T)


def worst_thetas(policy, library, rng, x):
    """Return parameters of a linear residual: random ones, huge ones, no numbers, and those whose input just passes."""
    plant, count = policy.plant, len(x)
    theta = rng.normal(size=(count, plant.nu * plant.nx)) * 10.0 ** rng.uniform(-2, 6, (count, 1))
    z = x - plant.x_eq
    backup = np.clip(plant.u_eq - z @ policy.backup.K.T, plant.u_min, plant.u_max)
    corner = np.where(rng.uniform(size=backup.shape) < 0.5, plant.u_min, plant.u_max)
    wanted = library.farthest(x, backup, corner)
    wanted += (corner - wanted) * rng.choice([0.0, 0.0, 1e-6, 1e-3], (count, 1))
    a = z / np.asarray(policy.scale)
    residual = (wanted - (plant.u_eq - z @ policy.backup.K.T)) / np.asarray(policy.input_scale)
    just = (residual[:, :, None] * a[:, None, :] / np.sum(a**2, axis=1)[:, None, None]).reshape(count, -1)
    theta = np.where(rng.uniform(size=(count, 1)) < 0.7, just, theta)
    theta[:: count // 10, 0] = np.nan
    theta[1 :: count // 10, -1] = np.inf
    return theta


def attack(problem, library: Library, count: int, seed: int, polytope: Polytope | None = None) -> Attack:
    """Attack a guard through its C; next states are the plant's in double, at corners and inside of its ranges.

    Its set is the level set of the problem, or a polytope.
    """
    rng, plant, declared = np.random.default_rng(seed), problem.plant, problem.scenarios.declared
    x = states(problem, rng, count)
    if polytope is not None:
        z = (x - plant.x_eq) * rng.uniform(0.5, 2, (count, plant.nx))
        length = np.where(rng.uniform(size=count) < 0.5, 1 - 1e-7, rng.uniform(size=count))
        x = plant.x_eq + z * (length / polytope.gauge(z))[:, None]
    x = x.astype(library.kind).astype(float)
    x = x[_size(problem, polytope, x, 0.0) <= 1]
    u, status = library.control(worst_thetas(problem.policy, library, rng, x), x, plant.nu)
    level, step = np.zeros(len(x)), plant.function.map(len(x))
    for _ in range(PLANTS):
        sides = rng.uniform(size=(len(x), plant.npar))
        sides = np.where(rng.uniform(size=sides.shape) < 0.6, np.round(sides), sides)
        p = declared.ranges[:, 0] + sides * np.ptp(declared.ranges, axis=1)
        following = np.array(step(x.T, u.T, p.T)).T
        level = np.maximum(level, _size(problem, polytope, following, declared.half if declared.half.size else 0.0))
    return Attack(
        len(x),
        int((~(level <= 1)).sum()),
        int((~((u >= plant.u_min) & (u <= plant.u_max))).any(axis=1).sum()),
        *(int((status == kind).sum()) for kind in (OK, GUARDED, BAD_THETA)),
        float(level.max()),
    )


def _size(problem, polytope: Polytope | None, x, half):
    """Return V in parts of ρ, or the gauge of a polytope, under the worst disturbance: at most 1 inside."""
    z = x - problem.plant.x_eq
    if polytope is not None:
        return (z @ polytope.F.T + np.abs(polytope.F) @ (half + np.zeros(z.shape[1]))).max(axis=1)
    z = z + np.where(z @ problem.backup.P >= 0, half, -half)
    return problem.backup.level(z) / problem.backup.rho


def run_of(plant, backup, **declared):
    """Return a short run of a linear residual on a backup."""
    batch = sc.scenarios(plant, backup, count=3, level=0.5, horizon=10, seed=1, **declared)
    cost = sc.Quadratic(np.ones(plant.nx), np.ones(plant.nu))
    problem = sc.ControlProblem(sc.Policy(plant, backup), batch, cost, sc.MetricOptions())
    return sc.adapt(problem, sc.AdaptOptions(steps=2, audit=False))


def exported(result, folder: Path, real: str, flags: str = "-O2", within: str = "level") -> Library:
    """Export a run with its guard, and compile it."""
    export(result, folder / "c", real=real, guarded=True, within=within, measured=False)
    return Library(folder / "c", real, flags)
