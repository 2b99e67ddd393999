"""The closed loop of a RUN folder once more, in numpy, for its verification: nothing is shared but the plant model."""

from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg

from scpo_ctrl.errors import RecordError
from scpo_ctrl.models import Plant
from scpo_ctrl.verification.margins import SHIFTS, Margins
from scpo_ctrl.verification.stability import Rest

_AT_REST = 1e3  # size of the numbers behind local stability, which the place of the equilibrium moves
_CHUNK = 20_000  # closed loops stepped at once


class ClosedLoop:
    """The closed loop in numpy, written from the definitions in docs/method.md.

    Parameters
    ----------
    plant : Plant
    tables : dict
        The problem file.
    arrays : dict of str to numpy.ndarray
        The recorded scenarios.
    """

    def __init__(self, plant: Plant, tables: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.plant, self.options, self.policy = plant, tables["metrics"], tables["policy"]
        self.P, self.K, self.largest_rho = _lqr(plant, tables["backup"])
        self.rho = float(tables["backup"].get("rho", self.largest_rho))
        self.z0 = arrays["scenario_x0"] - plant.x_eq
        self.p, self.w = arrays["scenario_p"], arrays["scenario_w"]
        self.horizon = int(tables["scenarios"]["horizon"])
        self.objective = tables["objective"]
        self.rest = Rest(plant, tables, self.K, self.P, self.rho)
        self.metrics = 0
        self.x = np.zeros((len(self.z0), self.horizon + 1, plant.nx))  # trajectories of the last policy stepped
        self.u = np.zeros((len(self.z0), self.horizon, plant.nu))  # its commands before saturation
        if self.w.shape[:2] != (len(self.z0), self.horizon) or self.p.shape != (len(self.z0), plant.npar):
            raise RecordError("the recorded scenarios do not have the shapes that problem.toml asks for")

    def level(self, z: np.ndarray) -> np.ndarray:
        """V of deviations along the last axis."""
        return np.asarray(((z @ self.P) * z).sum(axis=-1))

    def at_rest(self) -> np.ndarray:
        """Which scenarios stay at the equilibrium for ever, whatever the policy (S,)."""
        rest, count = self.plant, len(self.z0)
        moved = np.array(
            rest.function.map(count)(np.tile(rest.x_eq, (count, 1)).T, np.tile(rest.u_eq, (count, 1)).T, self.p.T)
        ).T
        still = (moved == rest.x_eq).all(axis=1) & (self.z0 == 0).all(axis=1)
        return np.asarray(still & ~self.w.any(axis=(1, 2)))

    def residual(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Residual of one policy at deviations (k, nx)."""
        a, zero, rest = z / np.array(self.policy["scale"]), np.zeros((1, self.plant.nx)), theta
        for width in self.policy.get("hidden", []):
            W, b, rest = np.split(rest, [width * a.shape[1], width * (a.shape[1] + 1)])
            W = W.reshape(width, -1)
            a, zero = np.tanh(a @ W.T + b), np.tanh(zero @ W.T + b)
        return np.asarray((a - zero) @ rest.reshape(self.plant.nu, -1).T * np.array(self.policy["input_scale"]))

    def command(self, thetas: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Commands before saturation of policies (C, d) at deviations (C, k, nx)."""
        residual = np.stack([self.residual(theta, z[i]) for i, theta in enumerate(thetas)])
        return np.asarray(self.plant.u_eq - z @ self.K.T + residual)

    def sizes(self, kind: str) -> np.ndarray:
        """Sizes of the numbers behind the metrics of a kind: of each "state" or "command", or of V, in their units."""
        if kind in ("state", "command"):
            low, high = (getattr(self.plant, f"{'x' if kind == 'state' else 'u'}_{end}") for end in ("min", "max"))
            return np.max(np.abs(np.where(np.isfinite([low, high]), [low, high], 0.0)), axis=0)
        return np.array([max(self.rho, float(self.level(self.z0).max()))])

    @cached_property
    def settled(self) -> np.ndarray:
        """Where each scenario's loop is at rest under the backup, which contraction is about (S, nx)."""
        return self.rest.places(self.p)

    def contraction_limits(self) -> np.ndarray:
        """Return what V of the last state must not exceed (E8), of each scenario (S,)."""
        floor = self.options.get("contraction_floor", 0.0) * self.rho
        return np.maximum(self.options["contraction"] * self.level(self.z0 + self.plant.x_eq - self.settled), floor)

    def margins(self, thetas: np.ndarray) -> tuple[Margins, np.ndarray]:
        """Margins and mean costs of policies (C, d)."""
        chunk = max(1, _CHUNK // len(self.z0))
        parts = [self._step_all(thetas[i : i + chunk]) for i in range(0, len(thetas), chunk)]
        worst, cost = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
        if self.rest.is_metric:
            at_rest = self.rest.metrics(thetas)
            worst, self.metrics = (
                np.maximum(worst, at_rest.max(axis=1) + _AT_REST * SHIFTS[:, 0]),
                self.metrics + at_rest.shape[1],
            )
        return Margins.below(worst), cost

    def imitation_errors(self, thetas: np.ndarray, csv_data: bytes) -> np.ndarray:
        """Mean squared errors of the commands of policies (C, d) against the expert's."""
        _, *rows = csv_data.decode().splitlines()
        data = np.array([[float(entry) for entry in row.split(",")] for row in rows])
        x, u = np.split(data, [self.plant.nx], axis=1)
        z = (x - self.plant.x_eq)[None]
        return np.array([((self.command(theta[None], z)[0] - u) ** 2).sum(axis=1).mean() for theta in thetas])

    def _step_all(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Largest metrics (E6)-(E8), each with `SHIFTS`, and mean cost of policies, by stepping all scenarios."""
        C, S, plant = len(thetas), len(self.z0), self.plant
        path, command = self.options.get("path", True), self.options.get("command", True)
        step = plant.function.map(C * S)
        x, p = np.tile(self.z0 + plant.x_eq, (C, 1)), np.tile(self.p, (C, 1)).T  # policies slowest
        worst, cost = np.full((len(SHIFTS), C, S), -np.inf), np.zeros(C * S)
        self.metrics = 0
        for t in range(self.horizon + 1):
            self.x[:, t] = x[-S:]
            if path:
                worst = self._above(worst, x, plant.x_min, plant.x_max, self.sizes("state"))
            if t == self.horizon:
                break
            u = self.command(thetas, (x - plant.x_eq).reshape(C, S, -1)).reshape(C * S, -1)
            self.u[:, t] = u[-S:]
            if path and command:
                worst = self._above(worst, u, plant.u_min, plant.u_max, self.sizes("command"))
            u = np.clip(u, plant.u_min, plant.u_max)
            cost += self._stage(x, u)
            x = np.array(step(x.T, u.T, p)).T
            if self.w.shape[2]:
                x = x + np.tile(self.w[:, t], (C, 1))
        return self._final(worst, x), cost.reshape(C, S).mean(axis=1) / self.horizon

    def _stage(self, x: np.ndarray, u: np.ndarray) -> np.ndarray | float:
        """Cost of a time step of each closed loop."""
        if self.objective["kind"] != "quadratic":
            return 0.0
        Q, R = np.array(self.objective["Q"]), np.array(self.objective["R"])
        return np.asarray((x - self.plant.x_eq) ** 2 @ Q + (u - self.plant.u_eq) ** 2 @ R)

    def _final(self, worst: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Take the metrics of the last state into the worst ones; the largest of each policy."""
        options, S, error = self.options, worst.shape[2], SHIFTS * self.sizes("level")
        final = self.level((x - self.plant.x_eq).reshape(*worst.shape[1:], -1))
        if options.get("terminal", False):
            worst, self.metrics = np.fmax(worst, final / self.rho - 1 + error / self.rho), self.metrics + S
        if options.get("contraction") is not None:
            own = self.level(x.reshape(*worst.shape[1:], -1) - self.settled)
            metric = own - self.contraction_limits()
            worst, self.metrics = np.fmax(worst, metric + error), self.metrics + S
        return np.asarray(np.where(np.isfinite(final), worst, np.inf).max(axis=2))

    def _above(
        self, worst: np.ndarray, values: np.ndarray, low: np.ndarray, high: np.ndarray, sizes: np.ndarray
    ) -> np.ndarray:
        """Take how far values (C·S, k) are above their bounds into the worst metrics (shifts, C, S)."""
        self.metrics += int(np.isfinite(low).sum() + np.isfinite(high).sum()) * worst.shape[2]
        over = np.max(np.maximum(values - high, low - values) + SHIFTS * sizes, axis=2)
        return np.maximum(worst, np.where(np.isnan(over), np.inf, over).reshape(worst.shape))

    def csv_faults(self, csv_data: bytes) -> list[str]:
        """List where imitation.csv is not as a save writes it, so that readers might find other numbers in it."""
        header, *rows = csv_data.decode(errors="replace").split("\n")
        names = [f"x{i}" for i in range(self.plant.nx)] + [f"u{i}" for i in range(self.plant.nu)]
        try:
            whole = all(",".join(repr(float(entry)) for entry in row.split(",")) == row for row in rows[:-1])
        except ValueError:
            whole = False
        if header != ",".join(names) or len(rows) < 2 or rows[-1] or not whole:
            return ["imitation.csv is not as a save writes it: other commands may read other numbers from it"]
        return []

    def level_faults(self, table: dict[str, Any]) -> list[str]:
        """List what does not hold of the level: inside all bounds, and recorded where it was found by simulation.

        Whether the set is invariant on a nonlinear plant is not searched for again.
        """
        if not self.plant.is_linear and "rho" not in table:
            return ["problem.toml has no [backup] rho, the level that was found by simulation"]
        if not 0 < self.rho <= self.largest_rho * (1 + 1e-9):
            return [
                f"the level rho = {self.rho:.6g} leaves the bounds; the largest inside them is {self.largest_rho:.6g}"
            ]
        return []


def _lqr(plant: Plant, table: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, float]:
    """P, K and the largest level inside all bounds, computed in units in which the weights have ones as diagonals."""
    A, B = plant.linearise()
    Q, R = (np.diag(w) if np.ndim(w) == 1 else np.array(w) for w in (table["Q"], table["R"]))
    s, v = 1 / np.sqrt(np.diag(Q)), 1 / np.sqrt(np.diag(R))
    A, B, Q, R = A * s / s[:, None], B * v / s[:, None], Q * s * s[:, None], R * v * v[:, None]
    P = scipy.linalg.solve_discrete_are(A, B, Q, R)
    K = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
    eq = np.append(plant.x_eq, plant.u_eq)
    room = np.minimum(np.append(plant.x_max, plant.u_max) - eq, eq - np.append(plant.x_min, plant.u_min))
    rows = np.vstack([np.eye(plant.nx), K])
    reach = np.einsum("ij,jk,ik->i", rows, np.linalg.inv(P), rows)
    levels = (room / np.append(s, v))[reach > 0] ** 2 / reach[reach > 0]
    return P / s / s[:, None], K * v[:, None] / s, float(np.min(levels))
