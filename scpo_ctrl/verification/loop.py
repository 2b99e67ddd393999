"""The closed loop of a RUN folder once more, in numpy, for its verification: nothing is shared but the plant model."""

from functools import cached_property
from typing import Any

import numpy as np

from scpo_ctrl.errors import RecordError
from scpo_ctrl.verification.law import Law
from scpo_ctrl.verification.margins import SHIFTS, Margins
from scpo_ctrl.verification.over_time import ended, over_time
from scpo_ctrl.verification.stability import Rest

_AT_REST = 1e3  # size of the numbers behind local stability, which the place of the equilibrium moves
_CHUNK = 20_000  # closed loops stepped at once


class ClosedLoop:
    """The closed loop in numpy, written from the definitions in docs/method.md.

    Parameters
    ----------
    law : Law
    tables : dict
        The problem file.
    arrays : dict of str to numpy.ndarray
        The recorded scenarios.
    rest : Rest, optional
        Of another loop under the same law and tables, which knows the derivatives of policies.
    """

    def __init__(
        self, law: Law, tables: dict[str, Any], arrays: dict[str, np.ndarray], rest: Rest | None = None
    ) -> None:
        self.law, self.options = law, tables["metrics"]
        plant = self.plant = law.plant
        self.P, self.rho = law.P, law.rho
        self.z0 = arrays["scenario_x0"] - plant.x_eq
        self.p, self.w = arrays["scenario_p"], arrays["scenario_w"]
        self.horizon = int(tables["scenarios"]["horizon"])
        self.rest = Rest(law, tables) if rest is None else rest
        self.metrics = 0
        self.cost_sizes = np.zeros(0)  # of the numbers behind the costs of the policies stepped last (C,)
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
        if not self.law.rests_whatever_theta:
            return np.zeros(count, dtype=bool)
        still, step = (self.z0 == 0).all(axis=1), rest.function.map(count)
        x, u = (np.tile(at, (count, 1)).T for at in (rest.x_eq, rest.u_eq))
        for p in over_time(rest, self.p, self.horizon)[: None if rest.signals else 1]:
            still &= (rest.x_eq == np.array(step(x, u, p.T)).T).all(axis=1)
        return np.asarray(still & ~self.w.any(axis=(1, 2)))

    def sizes(self, kind: str) -> np.ndarray:
        """Sizes of the numbers behind the metrics of a kind: of each "state" or "command", or of V, in their units."""
        if kind in ("state", "command"):
            low, high = (getattr(self.plant, f"{'x' if kind == 'state' else 'u'}_{end}") for end in ("min", "max"))
            return np.max(np.abs(np.where(np.isfinite([low, high]), [low, high], 0.0)), axis=0)
        return np.array([max(self.rho, float(self.level(self.z0).max()))])

    @cached_property
    def settled(self) -> np.ndarray:
        """Where each scenario's loop is at rest under the backup, which contraction is about (S, nx)."""
        return self.rest.places(ended(self.plant, self.p))

    def contraction_limits(self) -> np.ndarray:
        """Return what V of the last state must not exceed (E8), of each scenario (S,)."""
        floor = self.options.get("contraction_floor", 0.0) * self.rho
        return np.maximum(self.options["contraction"] * self.level(self.z0 + self.plant.x_eq - self.settled), floor)

    def margins(self, thetas: np.ndarray) -> tuple[Margins, np.ndarray]:
        """Margins and mean costs of policies (C, d)."""
        chunk = max(1, _CHUNK // len(self.z0))
        parts = [self._step_all(thetas[i : i + chunk]) for i in range(0, len(thetas), chunk)]
        worst, cost, self.cost_sizes = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
        if self.rest.is_metric:
            at_rest = self.rest.metrics(thetas)
            worst, self.metrics = (
                np.maximum(worst, at_rest.max(axis=1) + _AT_REST * SHIFTS[:, 0]),
                self.metrics + at_rest.shape[1],
            )
        if self.law.bounds:
            over, sizes = self.law.beyond(thetas)
            worst = np.maximum(worst, (over + SHIFTS * sizes).max(axis=2))
        return Margins.below(worst), cost

    def imitation_errors(self, thetas: np.ndarray, csv_data: bytes) -> np.ndarray:
        """Mean squared errors of the commands of policies (C, d) against the expert's."""
        _, *rows = csv_data.decode().splitlines()
        data = np.array([[float(entry) for entry in row.split(",")] for row in rows])
        x, u = np.split(data, [self.plant.nx], axis=1)
        z, p = (x - self.plant.x_eq)[None], np.tile(self.plant.p_nominal, (len(x), 1))
        return np.array([((self.law.command(theta[None], z, p)[0] - u) ** 2).sum(axis=1).mean() for theta in thetas])

    def _step_all(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Largest metrics (E6)-(E8), each with `SHIFTS`, mean costs of policies and their sizes, by stepping them."""
        C, S, plant, written = len(thetas), len(self.z0), self.plant, self.law.written
        path, command = self.options.get("path", True), self.options.get("command", True)
        step = plant.function.map(C * S)
        x, over_all = np.tile(self.z0 + plant.x_eq, (C, 1)), over_time(plant, self.p, self.horizon)  # policies slowest
        worst, cost, size = np.full((len(SHIFTS), C, S), -np.inf), np.zeros(C * S), np.zeros(C * S)
        before = np.tile(plant.u_eq, (C * S, 1))
        self.metrics = 0
        for t in range(self.horizon + 1):
            self.x[:, t], p = x[-S:], np.tile(over_all[t], (C, 1))
            if path:
                worst = self._above(worst, x, plant.x_min, plant.x_max, self.sizes("state"))
            if t == self.horizon:
                break
            u = self.law.command(thetas, (x - plant.x_eq).reshape(C, S, -1), over_all[t]).reshape(C * S, -1)
            self.u[:, t] = u[-S:]
            if path and command:
                worst = self._above(worst, u, plant.u_min, plant.u_max, self.sizes("command"))
            u = np.clip(u, plant.u_min, plant.u_max)
            before = u if t == 0 else before
            worst = self._limited(worst, t, (x, u, before, p))
            stage = written.stage(x, u, before, p)
            cost, size, before = cost + stage, size + np.abs(stage), u
            x = np.array(step(x.T, u.T, p.T)).T
            if self.w.shape[2]:
                x = x + np.tile(self.w[:, t], (C, 1))
        worst, end = self._limited(worst, self.horizon, (x, before, before, p)), written.end(x, p)
        means = ((of.reshape(C, S).mean(axis=1) / self.horizon) for of in (cost + end, size + np.abs(end)))
        return self._final(worst, x), *means

    def _limited(self, worst: np.ndarray, t: int, at: tuple[np.ndarray, ...]) -> np.ndarray:
        """Take constraints and limits of the inputs' change at a time into the worst metrics (shifts, C, S)."""
        which = self.law.written.at(t, self.horizon)
        if not which.size:
            return worst
        self.metrics += which.size * worst.shape[2]
        over, sizes = (part[:, which] for part in self.law.written.excess(*at))
        return np.maximum(worst, np.max(over + SHIFTS * sizes, axis=2).reshape(worst.shape))

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
