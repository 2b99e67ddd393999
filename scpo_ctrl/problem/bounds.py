"""Bounds on the parameters of a controller, as metrics that are linear in θ: (E5) keeps them exactly."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.problem.doors import Block


@dataclass(frozen=True)
class BoundsPart:
    """The metrics of the bounds of a controller's parameters, upper ones first: their L is zero, their gradients known.

    Each is the controller's own parameter less its bound, in what one of θ is of it: its sign is exact in doubles, so a
    parameter is within its bounds exactly where the metrics are at or below zero.
    """

    policy: ControllerPolicy
    keeps_clear = False

    @staticmethod
    def of(policy: LoopPolicy) -> "list[BoundsPart]":
        """Return the part of a policy, none where it has no bounds.

        Parameters
        ----------
        policy : Policy or ControllerPolicy

        Returns
        -------
        list of BoundsPart
        """
        has_any = isinstance(policy, ControllerPolicy) and policy.controller.bounded.any()
        return [BoundsPart(policy)] if has_any and isinstance(policy, ControllerPolicy) else []

    @cached_property
    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The parameter, the sign and the bound of each metric, (k,)."""
        of = self.policy.controller
        upper, lower = np.flatnonzero(np.isfinite(of.theta_max)), np.flatnonzero(np.isfinite(of.theta_min))
        signs = np.concatenate([np.ones(upper.size), -np.ones(lower.size)])
        return np.concatenate([upper, lower]), signs, np.concatenate([of.theta_max[upper], of.theta_min[lower]])

    @property
    def varies(self) -> np.ndarray:
        """All of them; see `Part`."""
        return np.ones(self._rows[0].size, dtype=bool)

    @property
    def units(self) -> np.ndarray:
        """What one of θ is of each parameter; see `Part`."""
        return np.array(self.policy.scale)[self._rows[0]]

    def label(self, index: int) -> str:
        """Return parameter and bound; see `Part`."""
        (which, signs, bounds), of = self._rows, self.policy.controller
        sign, i = "<=" if signs[index] > 0 else ">=", which[index]
        return f"{of.theta_labels[i]} {sign} {bounds[index]:g} {of.theta_units[i]}".rstrip()

    def remedy(self, index: int) -> str:
        """Return what to do about a metric; see `Part`."""
        return "widen the bounds of the parameter, or begin with a controller that keeps them"

    def metrics(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics; see `Part`."""
        which, signs, bounds = self._rows
        own = self.policy.controller.theta_initial + np.array(self.policy.scale) * thetas
        return np.asarray(signs * (own[:, which] - bounds) / self.units)

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics; see `Part`."""
        return self.metrics(thetas)

    def blocks(self, columns: int) -> list[Block]:
        """Return one block; see `Part`."""
        return [Block(slice(0, self._rows[0].size), None, linear=True)]

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, scenarios: slice | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return differences, which only rounding tells from the gradients; see `Part`."""
        rows = (self.metrics(thetas) - g) / sigma
        return rows, np.einsum("ki,ki->i", rows, rows)

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, scenarios: slice | None) -> np.ndarray:
        """Return their gradients, which are the same everywhere; see `Part`."""
        which, signs, _ = self._rows
        basis = np.eye(theta.size) if D is None else D
        return np.asarray(signs * basis[:, which])

    def gradients(self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
        """Return gradients; see `Part`."""
        weights = multipliers + curvatures * self.metrics(thetas)
        return weights @ self.jacobian(thetas[0], None, None).T
