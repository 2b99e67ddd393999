"""Local stability at rest (E11) once more, from the plant model and the definition in docs/method.md."""

import itertools
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.models import Plant
from scpo_ctrl.verification.law import Law
from scpo_ctrl.verification.over_time import ended, moves_the_end, ranges

_GAMMA, _ROOM = 0.5, 0.25  # γ of (E11), and the part of it that the backup reaches, which sets M
_FLOOR = 1e-6  # δ of (E11)
_BEYOND = 1e-9  # what a command at rest may leave its bounds by, in half their width
_CORNERS = 6  # parameters with a range up to which all corners count; a fixed choice of as many beyond
_AGREEMENT = 1e-7  # of spectral radii, relative: eigenvalues amplify rounding
_KEPT = 10_000_000  # numbers of policies and derivatives that are kept, as guards and radii ask for them again
_STEPS, _SHORTEST = 60, 1e-6  # to the equilibrium, and the least part of one
_STILL, _AT_REST = 1e-12, 1e-6  # how still the loop is there, in parts of the level set


class Rest:
    """The loop at rest: its equilibria and derivatives for nominal plant parameters and the corners of their ranges.

    Parameters
    ----------
    law : Law
    tables : dict
        The problem file.
    """

    def __init__(self, law: Law, tables: dict[str, Any]) -> None:
        self.law, P = law, law.P
        plant = self.plant = law.plant
        self.parameters = _corners(plant, ranges(plant, tables["scenarios"].get("parameters", {})))
        self.is_metric = bool(tables["metrics"].get("stability", True))
        unit = 1 / np.sqrt(np.diag(P))
        self.root = np.linalg.cholesky(P * unit[:, None] * unit).T / unit  # V(z) = |root z|²
        self.inverse, self.size = np.linalg.inv(self.root), np.sqrt(law.rho)
        self._derivatives: dict[tuple[bytes, bytes], np.ndarray] = {}  # of policies and parameters

    def metrics(self, thetas: np.ndarray) -> np.ndarray:
        """Return (E11) for policies (C, d): (C, k), infinite where a loop does not come to rest."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._metrics(thetas)

    def _metrics(self, thetas: np.ndarray) -> np.ndarray:
        return np.array([[self._metric(self._derivative(theta, p)) for p in self.parameters] for theta in thetas])

    def spectral_radius(self, theta: np.ndarray) -> float:
        """Return the largest spectral radius over the parameters; infinite where a loop does not come to rest."""
        derivatives = [self._derivative(theta, p) for p in self.parameters]
        if not all(np.isfinite(A).all() for A in derivatives):
            return np.inf
        return float(max(np.abs(np.linalg.eigvals(A)).max() for A in derivatives))

    def faults(self, summary: dict[str, Any], thetas: np.ndarray) -> list[str]:
        """List which spectral radii of result.json are not those of the first and the last policy (2, d)."""
        faults = []
        for key, theta in zip(("spectral_radius_initial", "spectral_radius_final"), thetas, strict=True):
            found, said = self.spectral_radius(theta), summary.get(key)
            agrees = (
                said is None if np.isinf(found) else type(said) is float and abs(said - found) <= _AGREEMENT * found
            )
            if not agrees:
                faults.append(f"result.json says {key} = {said!r:.200}, the loop at rest has {found:.9g}")
        return faults

    @cached_property
    def _power(self) -> int:
        """M, the least power of two for which the backup reaches a quarter of γ for all parameters."""
        powers = [self.root @ self._derivative(None, p) @ self.inverse for p in self.parameters]
        M = 1
        while max(np.sum(A**2) for A in powers) > _ROOM * _GAMMA and M < 2**24:
            powers, M = [A @ A for A in powers], 2 * M
        return M

    def _metric(self, A: np.ndarray) -> float:
        trace = float(np.sum(np.linalg.matrix_power(self.root @ A @ self.inverse, self._power) ** 2))
        return float(np.log((trace + _FLOOR) / (_GAMMA + _FLOOR)) / np.log(4)) if np.isfinite(trace) else np.inf

    def places(self, parameters: np.ndarray) -> np.ndarray:
        """Return where the loop under the backup is at rest for plant parameters (n, np), NaN if never, (n, nx)."""
        different, which = np.unique(parameters, axis=0, return_inverse=True)
        return np.array([self._settle(None, p)[0] for p in different])[which.ravel()]

    def _derivative(self, theta: np.ndarray | None, p: np.ndarray) -> np.ndarray:
        """Return the derivative at rest, of each policy once."""
        key = b"" if theta is None else theta.tobytes(), p.tobytes()
        found = self._derivatives.get(key)
        if found is None:
            found = self._derived(theta, p)
            if len(self._derivatives) * (found.size + len(key[0]) // 8) < _KEPT:
                self._derivatives[key] = found
        return found

    def _derived(self, theta: np.ndarray | None, p: np.ndarray) -> np.ndarray:
        """Return the derivative at rest; NaN where there is none, or the input does not hold it within its bounds."""
        x, A = self._settle(theta, p)
        low, high = self.plant.u_min, self.plant.u_max
        command = np.asarray(self.law.near(theta, x - self.plant.x_eq, p)[0]).ravel()
        beyond = np.maximum(command - high, low - command) / ((high - low) / 2)
        return A if (beyond <= _BEYOND).all() else np.full_like(A, np.nan)

    def _settle(self, theta: np.ndarray | None, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the loop is at rest, and the derivative of the next state by the state; NaN if it never is."""
        plant, x = self.plant, self.plant.x_eq.copy()
        following, A = self._step(theta, x, p)
        moved, part = np.linalg.norm(self.root @ (following - x)) / self.size, 1.0
        for _ in range(_STEPS):
            if moved <= _STILL or part < _SHORTEST:
                break
            try:
                move = np.linalg.solve(np.eye(plant.nx) - A, following - x)
            except np.linalg.LinAlgError:
                break
            part, best = 1.0, moved
            while part >= _SHORTEST and not moved < best:
                there, slope = self._step(theta, x + part * move, p)
                moved = np.linalg.norm(self.root @ (there - x - part * move)) / self.size
                part = part / 2 if not moved < best else part
            if moved < best:
                x, following, A = x + part * move, there, slope
            else:
                moved = best
        return (x, A) if moved <= _AT_REST else (np.full_like(x, np.nan), np.full_like(A, np.nan))

    def _step(self, theta: np.ndarray | None, x: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the next state of the loop without saturation, and its derivative by the state."""
        command, gain = self.law.near(theta, x - self.plant.x_eq, p)
        following, fx, fu = (np.array(part) for part in self._model(x, command, p))
        return following[:, 0], fx + fu @ gain

    @cached_property
    def _model(self) -> ca.Function:
        plant = self.plant
        parts = [plant.f, ca.jacobian(plant.f, plant.x), ca.jacobian(plant.f, plant.u)]
        return ca.Function("model", [plant.x, plant.u, plant.p], parts)


def _corners(plant: Plant, given: dict[str, tuple[float, float]]) -> np.ndarray:
    """Return nominal plant parameters and the corners of their ranges, each once, (k, np)."""
    moved = {name: ends for name, ends in given.items() if moves_the_end(plant, name)}
    names = [name for name in plant.p_labels if name in moved and moved[name][0] < moved[name][1]]
    if len(names) <= _CORNERS:
        sides = np.array(list(itertools.product((0, 1), repeat=len(names))), dtype=int)
    else:
        sides = np.random.default_rng(0).integers(0, 2, (2**_CORNERS, len(names)))
    base = plant.p_nominal.copy()
    for name, (low, _) in moved.items():
        base[plant.p_labels.index(name)] = low
    corners = np.tile(base, (len(sides), 1))
    for side, name in zip(sides.T, names, strict=True):
        corners[:, plant.p_labels.index(name)] = np.array(moved[name], dtype=float)[side]
    inside = all(low <= plant.p_nominal[plant.p_labels.index(name)] <= high for name, (low, high) in given.items())
    return np.unique(np.vstack([*([plant.p_nominal] if inside else []), ended(plant, corners)]), axis=0)
