"""A residual policy on an LQR backup once more, in numpy, for the verification of its record."""

from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.models import Plant
from scpo_ctrl.verification.law import largest_level, outside_faults
from scpo_ctrl.verification.written import Written


class ResidualLaw:
    """u_eq - K (x - x_eq) + φ_θ(x - x_eq).

    Parameters
    ----------
    plant : Plant
    tables : dict
        The problem file.
    folder : pathlib.Path
        Where the files are that it names.
    """

    rests_whatever_theta = True
    bounds = 0

    def __init__(self, plant: Plant, tables: dict[str, Any], folder: Path = Path()) -> None:
        self.plant, self._policy, self._backup = plant, tables["policy"], tables["backup"]
        of_kind = _lqr if tables["backup"]["kind"] == "lqr" else _given
        self.P, self.K, self.largest_rho = of_kind(plant, tables["backup"])
        self.rho = float(tables["backup"].get("rho", self.largest_rho))
        self.written = Written(plant, plant.nu, tables, folder)

    def residual(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Residual of one policy at deviations (k, nx)."""
        a, zero, rest = z / np.array(self._policy["scale"]), np.zeros((1, self.plant.nx)), theta
        for width in self._policy.get("hidden", []):
            W, b, rest = np.split(rest, [width * a.shape[1], width * (a.shape[1] + 1)])
            W = W.reshape(width, -1)
            a, zero = np.tanh(a @ W.T + b), np.tanh(zero @ W.T + b)
        return np.asarray((a - zero) @ rest.reshape(self.plant.nu, -1).T * np.array(self._policy["input_scale"]))

    def command(self, thetas: np.ndarray, z: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Commands before saturation of policies (C, d) at deviations (C, k, nx)."""
        residual = np.stack([self.residual(theta, z[i]) for i, theta in enumerate(thetas)])
        return np.asarray(self.plant.u_eq - z @ self.K.T + residual)

    def near(self, theta: np.ndarray | None, z: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the command of one policy at a deviation, and its derivative; of the backup without parameters."""
        command, gain = self.plant.u_eq - self.K @ z, -self.K
        if theta is None:
            return command, gain
        scale, inputs = np.array(self._policy["scale"]), np.array(self._policy["input_scale"])
        a, zero, slope, rest = z / scale, np.zeros_like(z), np.diag(1 / scale), theta
        for width in self._policy.get("hidden", []):
            W, b, rest = np.split(rest, [width * a.size, width * (a.size + 1)])
            W = W.reshape(width, -1)
            a, zero = np.tanh(W @ a + b), np.tanh(W @ zero + b)
            slope = (1 - a**2)[:, None] * (W @ slope)
        W = rest.reshape(self.plant.nu, -1) * inputs[:, None]
        return command + W @ (a - zero), gain + W @ slope

    def backup(self, x: ca.SX, p: ca.SX) -> ca.SX:
        """Return the expression of the backup's command; see `Law`."""
        return ca.DM(self.plant.u_eq) - ca.DM(self.K) @ (x - ca.DM(self.plant.x_eq))

    def beyond(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return nothing: weights of a residual have no bounds; see `Law`."""
        return np.zeros((len(thetas), 0)), np.zeros((len(thetas), 0))

    def level_faults(self) -> list[str]:
        """List what does not hold of the level; see `Law`."""
        if not self.plant.is_linear and "rho" not in self._backup:
            return ["problem.toml has no [backup] rho, the level that was found by simulation"]
        return [*outside_faults(self.rho, self.largest_rho), *self._shape_faults()]

    def _shape_faults(self) -> list[str]:
        """List what does not hold of V along the backup's linearised loop, whoever has designed it."""
        A, B = self.plant.linearise()
        units = np.sqrt(self.rho / np.diag(self.P))
        P, loop = self.P * units * units[:, None] / self.rho, (A - B @ self.K) * units / units[:, None]
        if not np.allclose(P, P.T, rtol=0, atol=1e-9) or np.linalg.eigvalsh(P)[0] <= 0:
            return ["[backup] P is not symmetric positive definite"]
        root = np.linalg.cholesky(P)
        if not np.linalg.norm(np.linalg.solve(root, (root.T @ loop).T), 2) < 1:
            return ["[backup] V grows along the backup's linearised loop: P is no certificate for this K"]
        return []

    def start_faults(self, theta: np.ndarray, z: np.ndarray) -> list[str]:
        """List where initial parameters are not the backup; see `Law`."""
        if self.residual(theta, z).any():
            return ["the initial parameters are not the backup: their residual is not zero"]
        return []

    def parameter_faults(self, stated: Any, thetas: np.ndarray) -> list[str]:
        """List that there are parameters with names, which no residual has."""
        return [] if stated is None else [f"result.json says parameters = {stated!r:.200}, which no save writes"]


def _given(plant: Plant, table: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, float]:
    """P, K and the largest level inside all bounds of a backup that is given as numbers, in units of its set."""
    P, K = (np.array(table[key], dtype=float) for key in ("P", "K"))
    s, v = 1 / np.sqrt(np.diag(P)), (plant.u_max - plant.u_min) / 2
    return P, K, largest_level(plant, P * s * s[:, None], K * s / v[:, None], s, v)


def _lqr(plant: Plant, table: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, float]:
    """P, K and the largest level inside all bounds, computed in units in which the weights have ones as diagonals."""
    from scipy.linalg import solve_discrete_are  # takes long to import

    A, B = plant.linearise()
    Q, R = (np.diag(w) if np.ndim(w) == 1 else np.array(w) for w in (table["Q"], table["R"]))
    s, v = 1 / np.sqrt(np.diag(Q)), 1 / np.sqrt(np.diag(R))
    A, B, Q, R = A * s / s[:, None], B * v / s[:, None], Q * s * s[:, None], R * v * v[:, None]
    P = solve_discrete_are(A, B, Q, R)
    K = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
    return P / s / s[:, None], K * v[:, None] / s, largest_level(plant, P, K, s, v)
