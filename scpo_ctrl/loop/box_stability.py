"""Local stability of a black box at rest (E11): the same metrics, from differences of the box."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scpo_ctrl.loop.black_box import BlackBox
from scpo_ctrl.loop.numeric import NumericLaw
from scpo_ctrl.loop.rest import LinearisedLoop, settle
from scpo_ctrl.loop.stability import FLOOR, GAMMA, LocalStability

_STEP = 1e-4  # of differences in θ, which has no unit: those of the box leave some 1e-11 of error in a metric
_NUMBERS = 1 << 22  # at most so many at once in an array


@dataclass(frozen=True)
class BoxStability(LocalStability):
    """The metrics (E11) of a policy around a black box; see `LocalStability`."""

    box: BlackBox

    def equilibria(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the closed loop is at rest for each vertex, and its derivative there; see `LocalStability`."""
        x = self._rest(theta)
        with np.errstate(all="ignore"):
            return x, self._around(theta[None])(x, np.arange(self.count))[1]

    def metrics(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics, infinite where the loop has no equilibrium that is found; see `LocalStability`."""
        nx, nearest = self.policy.plant.nx, self._rest(thetas[0])
        starts = np.where(np.isfinite(nearest), nearest, self.policy.plant.x_eq)
        many = max(1, _NUMBERS // (self.count * nx * (1 + 4 * nx)))
        return np.vstack([self._some(thetas[i : i + many], starts) for i in range(0, len(thetas), many)])

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None = None) -> np.ndarray:
        """Return derivatives along directions by central differences in θ; see `LocalStability`."""
        moves = _STEP * (np.eye(theta.size) if D is None else D)
        with np.errstate(invalid="ignore"):
            ahead, behind = np.split(self.metrics(np.vstack([theta + moves, theta - moves])), 2)
            return np.asarray((ahead - behind) / (2 * _STEP))

    @cached_property
    def _law(self) -> NumericLaw:
        return NumericLaw(self.policy)

    def _rest(self, theta: np.ndarray) -> np.ndarray:
        starts = np.tile(self.policy.plant.x_eq, (self.count, 1))
        x = settle(self._around(theta[None]), starts, self.policy.backup)
        return self._held(x, self._commands(theta[None], x, np.arange(self.count)))

    def _some(self, thetas: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Return metrics of parameters that fit in memory, from places to start from (k, nx)."""
        loop, K = self._around(thetas), len(thetas)
        x = settle(loop, np.tile(starts, (K, 1)), self.policy.backup)
        x = self._held(x, self._commands(thetas, x, np.arange(len(x))))
        with np.errstate(all="ignore"):
            powers = self._root.T @ loop(x, np.arange(len(x)))[1] @ self._inverse_root
            for _ in range(self.power.bit_length() - 1):
                powers = powers @ powers
            g = np.log((np.sum(powers**2, axis=(1, 2)) + FLOOR) / (GAMMA + FLOOR)) / np.log(4)
        return np.where(np.isfinite(g), g, np.inf).reshape(K, self.count)

    def _around(self, thetas: np.ndarray) -> LinearisedLoop:
        """Return the loops of parameters (K, d) at each vertex, row by row, vertices fastest."""
        parameters = np.tile(self.parameters, (len(thetas), 1))

        def commands(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return self._law.commands(x, thetas[rows // self.count], parameters[rows, None], saturated=False)

        return self.box.loop(commands, parameters, self.policy.backup.extent)

    def _commands(self, thetas: np.ndarray, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the command of each loop at a state, (r, nu)."""
        parameters = self.parameters[rows % self.count]
        return self._law.commands(x[:, None], thetas[rows // self.count], parameters[:, None], saturated=False)[:, 0]

    def _remedy(self) -> str:
        return (
            "narrow the parameter ranges, correct the equilibrium of the plant that the black box stands for, or leave "
            "this metric out (stability = False)"
        )
