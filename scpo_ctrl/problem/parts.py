"""Parts of a metric vector, one behind the other: of scenarios, of local stability, of a cloud of states, of guards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from scpo_ctrl.engine.rollout import Rollouts
from scpo_ctrl.loop.metrics import Row
from scpo_ctrl.loop.stability import LocalStability
from scpo_ctrl.problem.doors import Block
from scpo_ctrl.problem.problem import NUMBERS

ROUNDING = 1e-12  # of a metric, in `Problem.metric_units`: a violation is beyond it


@dataclass(frozen=True)
class Rows:
    """The metrics of one scenario: what each means."""

    rows: tuple[Row, ...]
    varies: np.ndarray  # (k,) bool, whether it depends on θ
    units: np.ndarray  # (k,) what counts as one, in the unit of its bound

    def and_one(self, row: Row, unit: float) -> "Rows":
        """Return these with another one after them, which depends on θ.

        Parameters
        ----------
        row : Row
        unit : float

        Returns
        -------
        Rows
        """
        return Rows((*self.rows, row), np.append(self.varies, True), np.append(self.units, unit))

    def that_count(self, values: np.ndarray) -> np.ndarray:
        """Return metrics of scenarios with those left out that are kept and that no policy can move.

        What the initial state alone decides, such as a constraint at t = 0, counts where it is violated. Where it is
        kept, as bounds of the state at t = 0 are by definition, it says nothing of a policy.

        Parameters
        ----------
        values : numpy.ndarray, shape (..., k)

        Returns
        -------
        numpy.ndarray, shape (..., k)
            -inf for those left out.
        """
        return np.where(self.varies | ~(values <= ROUNDING), values, -np.inf)


class Part(Protocol):
    """A part of a metric vector, in `Problem.metric_units`; its methods are those of `Problem`, of the part alone."""

    keeps_clear: bool  # whether a back-off is added; not where the metrics have room by themselves

    @property
    def varies(self) -> np.ndarray:
        """Which of its metrics depend on θ, shape (k,), bool."""
        ...

    @property
    def units(self) -> np.ndarray:
        """What counts as one of each, in the unit of its bound, shape (k,)."""
        ...

    def label(self, index: int) -> str:
        """Return what a metric means, in words."""
        ...

    def remedy(self, index: int) -> str:
        """Return what to do about a metric that is positive at the safe start."""
        ...

    def metrics(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics of a stack, (K, d) -> (K, k)."""
        ...

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return metrics to take differences of, (K, d) -> (K, k)."""
        ...

    def blocks(self, columns: int) -> list[Block]:
        """Return parts of the part, their metrics counted from its first."""
        ...

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, scenarios: slice | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled gradients of a block whose metrics at θ are g, and their squared norms."""
        ...

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, scenarios: slice | None) -> np.ndarray:
        """Return exact derivatives of a block."""
        ...

    def gradients(self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
        """Return gradients of Σ λ_i g_i + κ_i g_i² / 2, (K, d), and of the mean cost where the part has one."""
        ...


@dataclass(frozen=True)
class RolloutPart:
    """The metrics of rollouts, those of one behind those of the other."""

    rollouts: Rollouts  # in units of the bounds
    varies: np.ndarray  # (k,) bool
    units: np.ndarray  # (k,)
    name: str  # of what is rolled out, such as "scenario"
    rows: tuple[Row, ...]  # of each
    advice: Callable[[int, int], str]  # what to do about a row of one of them
    keeps_clear = True

    def only(self, which: np.ndarray) -> "RolloutPart":
        """Return the metrics of some of the rollouts.

        Parameters
        ----------
        which : numpy.ndarray of int

        Returns
        -------
        RolloutPart
        """
        batch, kept = self.rollouts.batch, np.arange(self.varies.size).reshape(self.rollouts.batch.count, -1)[which]
        over, rows = self.rollouts.over(batch.part(which)), kept.ravel()
        return replace(self, rollouts=over, varies=self.varies[rows], units=self.units[rows])

    def label(self, index: int) -> str:
        """Return which one, time and bound; see `Part`."""
        which, row = divmod(index, len(self.rows))
        return f"{self.name} {which}, {self.rows[row].in_words}"

    def remedy(self, index: int) -> str:
        """Return what to do about a metric; see `Part`."""
        return self.advice(*divmod(index, len(self.rows)))

    def metrics(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics of the true loop; see `Part`."""
        return self.rollouts.evaluate(thetas)[0]

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics without saturation where the command's bounds are metrics; see `Rollouts`."""
        return self.rollouts.sample(thetas)

    def blocks(self, columns: int) -> list[Block]:
        """Return as many rollouts at once as fit into memory; see `Part`."""
        rows, count = len(self.rows), self.rollouts.batch.count
        size = max(1, NUMBERS // max(1, columns * rows))
        parts = [slice(start, min(start + size, count)) for start in range(0, count, size)]
        return [Block(slice(part.start * rows, part.stop * rows), part) for part in parts]

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, scenarios: slice | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled gradients; see `Part`."""
        return self.rollouts.differences(thetas, g, sigma, scenarios)

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, scenarios: slice | None) -> np.ndarray:
        """Return exact derivatives, central differences for a black box; see `Part`."""
        return self.rollouts.jacobian(theta, D, scenarios)

    def gradients(self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
        """Return gradients of metrics and mean cost together; see `Part`."""
        return self.rollouts.lagrangian_gradients(thetas, multipliers, curvatures)


@dataclass(frozen=True)
class StabilityPart:
    """The metrics of local stability at rest (E11), which have room by their γ."""

    stability: LocalStability
    keeps_clear = False

    @property
    def varies(self) -> np.ndarray:
        """All of them; see `Part`."""
        return np.ones(self.stability.count, dtype=bool)

    @property
    def units(self) -> np.ndarray:
        """Ones: they have no unit; see `Part`."""
        return np.ones(self.stability.count)

    def label(self, index: int) -> str:
        """Return the parameters that a metric is for; see `Part`."""
        return self.stability.label(index)

    def remedy(self, index: int) -> str:
        """Return what to do about a metric; see `Part`."""
        return "narrow the parameter ranges, or design a backup that holds all of them"

    def metrics(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics; see `Part`."""
        return self.stability.metrics(thetas)

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics, which are smooth; see `Part`."""
        return self.stability.metrics(thetas)

    def blocks(self, columns: int) -> list[Block]:
        """Return one block; see `Part`."""
        return [Block(slice(0, self.stability.count), None)]

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, scenarios: slice | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled gradients; see `Part`."""
        rows = (self.stability.metrics(thetas) - g) / sigma
        return rows, np.einsum("ki,ki->i", rows, rows)

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, scenarios: slice | None) -> np.ndarray:
        """Return exact derivatives; see `Part`."""
        return self.stability.jacobian(theta, D)

    def gradients(self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
        """Return gradients; see `Part`."""
        return self.stability.gradients(thetas, multipliers, curvatures)


class Parts:
    """A metric vector made of parts.

    Parameters
    ----------
    parts : sequence of Part
        In the order of the vector.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self.ends = np.cumsum([0, *(part.varies.size for part in self.parts)])

    @cached_property
    def varies(self) -> np.ndarray:
        """Which metrics depend on θ, shape (m,), bool."""
        return np.concatenate([part.varies for part in self.parts])

    @cached_property
    def units(self) -> np.ndarray:
        """What counts as one of each metric, shape (m,)."""
        return np.concatenate([part.units for part in self.parts])

    @cached_property
    def keeps_clear(self) -> np.ndarray:
        """Which metrics take a back-off, shape (m,), bool."""
        return np.concatenate([np.full(part.varies.size, part.keeps_clear) for part in self.parts])

    def label(self, index: int) -> str:
        """Return what a metric means; see `Problem.metric_label`."""
        part, start = self._at(index)
        return part.label(index - start)

    def remedy(self, index: int) -> str:
        """Return what to do about a metric; see `Problem.remedy`."""
        part, start = self._at(index)
        return part.remedy(index - start)

    def metrics(self, thetas: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
        """Return the metrics of a stack.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)
        first : numpy.ndarray, shape (K, k), optional
            Those of the first part, where they are known.

        Returns
        -------
        numpy.ndarray, shape (K, m)
        """
        known = [] if first is None else [first]
        return _side_by_side([*known, *(part.metrics(thetas) for part in self.parts[len(known) :])])

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return metrics to take differences of; see `Problem.sample`."""
        return _side_by_side([part.sample(thetas) for part in self.parts])

    def blocks(self, columns: int) -> list[Block]:
        """Return parts of the metric vector that fit into memory; see `Problem.blocks`."""
        return [
            replace(block, metrics=slice(start + block.metrics.start, start + block.metrics.stop))
            for part, start in zip(self.parts, self.ends.tolist(), strict=False)
            for block in part.blocks(columns)
        ]

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, block: Block
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled gradients of a block; see `Problem.differences`."""
        return self._at(block.metrics.start)[0].differences(thetas, g[block.metrics], sigma, block.scenarios)

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, block: Block) -> np.ndarray:
        """Return exact derivatives of a block; see `Problem.jacobian`."""
        return self._at(block.metrics.start)[0].jacobian(theta, D, block.scenarios)

    def gradients(self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
        """Return gradients of all metrics, and mean costs, together; see `Problem.lagrangian_gradients`."""
        total = np.zeros_like(thetas)
        for part, start, end in zip(self.parts, self.ends, self.ends[1:], strict=False):
            total = total + part.gradients(thetas, multipliers[start:end], curvatures[start:end])
        return total

    def _at(self, index: int) -> tuple[Part, int]:
        """Return the part that a metric is of, and where it begins."""
        which = int(np.searchsorted(self.ends, index, side="right")) - 1
        return self.parts[which], int(self.ends[which])


def _side_by_side(columns: list[np.ndarray]) -> np.ndarray:
    return columns[0] if len(columns) == 1 else np.hstack(columns)
