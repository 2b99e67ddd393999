"""A policy on scenarios that its run never saw: how many violate, which are worst, and what follows for all others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.declared import DeclaredSet
from scpo_ctrl.loop.sizes import MOST_METRICS, MOST_OPERATIONS
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.parts import ROUNDING

Counted = Callable[[int], object]  # what it raises ends the rollouts
LOOKS, _FEWEST_LOOKS = 10_000, 200  # scenarios of a look beyond those of a run: as many as
_LOOK_OPERATIONS = 5e8  # allow, a second or less
LOOK_SEED = 0x10_0C  # of them
_AT_ONCE = 4096  # scenarios rolled out together, fewer where their metrics would not fit into memory


@dataclass(frozen=True)
class Fresh:
    """What rollouts of one policy over fresh scenarios have shown, in their order."""

    worst: np.ndarray  # (n,) largest metric of each scenario, in `Problem.metric_units`; infinite where not a number
    row: np.ndarray  # (n,) which of the scenario's metrics that is
    objective: float  # mean over the scenarios

    @property
    def violations(self) -> int:
        """How many scenarios violate a metric."""
        return int(np.count_nonzero(self.violates))

    @property
    def violates(self) -> np.ndarray:
        """Which scenarios violate a metric, by more than rounding, shape (n,), bool."""
        return ~(self.worst <= ROUNDING)

    @classmethod
    def of(
        cls,
        problem: ControlProblem,
        theta: np.ndarray,
        batch: Scenarios,
        rows: np.ndarray | None = None,
        counted: Counted | None = None,
    ) -> "Fresh":
        """Roll out one policy over given scenarios.

        Parameters
        ----------
        problem : ControlProblem
            Whose policy, metrics and objective are meant; its own scenarios do not matter.
        theta : numpy.ndarray, shape (d,)
        batch : Scenarios
        rows : numpy.ndarray of int, shape (S,), optional
            Which metric of each scenario counts, instead of its largest.
        counted : callable, optional
            Called with the number of rollouts after each part of them.

        Returns
        -------
        Fresh
        """
        parts = [
            cls.of_part(problem, theta, batch.part(part), None if rows is None else rows[part])
            for part in _parts(0, batch.count, _size(problem, batch.horizon), counted)
        ]
        return cls.joined(parts)

    @classmethod
    def drawn(
        cls,
        problem: ControlProblem,
        theta: np.ndarray,
        first: int,
        count: int,
        seed: int,
        counted: Counted | None = None,
    ) -> "Fresh":
        """Roll out one policy over points of the declared set, numbers `first` … `first + count - 1` of a sequence.

        Parameters
        ----------
        problem : ControlProblem
        theta : numpy.ndarray, shape (d,)
        first, count, seed : int
            Of `DeclaredSet.random`.
        counted : callable, optional
            Called with the number of rollouts after each part of them.

        Returns
        -------
        Fresh
        """
        declared = declared_set(problem)
        parts = [
            cls.of_part(problem, theta, declared.random(part.start, part.stop - part.start, seed))
            for part in parts_of(problem, first, count, counted)
        ]
        return cls.joined(parts)

    @classmethod
    def of_part(
        cls, problem: ControlProblem, theta: np.ndarray, batch: Scenarios, row: np.ndarray | None = None
    ) -> "Fresh":
        """Roll out one policy over so few scenarios that this can be done at once; the others as in `of`.

        Parameters
        ----------
        problem : ControlProblem
        theta : numpy.ndarray, shape (d,)
        batch : Scenarios
        row : numpy.ndarray of int, shape (S,), optional

        Returns
        -------
        Fresh
        """
        objective, values = problem.evaluate_scenarios(theta, batch)
        if row is None:
            values = problem.fresh.that_count(values)
            row = values.argmax(axis=1)  # or the first that is not a number
        worst = values[np.arange(batch.count), row]
        return cls(np.where(np.isnan(worst), np.inf, worst), row, objective)

    @classmethod
    def joined(cls, parts: list["Fresh"]) -> "Fresh":
        """Return what parts have shown, one after the other.

        Parameters
        ----------
        parts : list of Fresh

        Returns
        -------
        Fresh
        """
        sizes = np.array([part.worst.size for part in parts])
        objective = float(np.array([part.objective for part in parts]) @ sizes / sizes.sum())
        return cls(
            np.concatenate([part.worst for part in parts]), np.concatenate([part.row for part in parts]), objective
        )


def look_beyond(problem: ControlProblem, theta: np.ndarray) -> Fresh | None:
    """Roll out a policy over some fresh scenarios, always the same, to see whether it is safe beside its own ones.

    Parameters
    ----------
    problem : ControlProblem
    theta : numpy.ndarray, shape (d,)

    Returns
    -------
    Fresh or None
        None where no set is declared beyond the scenarios themselves, or a black box would be called.
    """
    declared = problem.scenarios.declared
    if declared is None or not declared.has_interior or problem.has_simulator:
        return None
    nx, nu = problem.plant.nx, problem.plant.nu
    operations = declared.horizon * (2 * nx * (nx + nu) + 4 * problem.theta_dim)  # of a rollout, about
    count = min(LOOKS, max(_FEWEST_LOOKS, int(_LOOK_OPERATIONS / operations)))
    return Fresh.drawn(problem, theta, 0, count, LOOK_SEED)


def rows_of(problem: ControlProblem, theta: np.ndarray, batch: Scenarios) -> tuple[float, np.ndarray]:
    """Return the objective and every metric of a few scenarios.

    Parameters
    ----------
    problem : ControlProblem
    theta : numpy.ndarray, shape (d,)
    batch : Scenarios
        S of them.

    Returns
    -------
    objective : float
    metrics : numpy.ndarray, shape (S, rows)
        In `Problem.metric_units`; infinite where not a number.
    """
    objective, rows = problem.evaluate_scenarios(theta, batch)
    return objective, np.nan_to_num(rows, nan=np.inf, posinf=np.inf, neginf=-np.inf)


def closeness(problem: ControlProblem, batch: Scenarios, values: np.ndarray) -> np.ndarray:
    """Return metrics to rank by: contraction per V(x_0), as it vanishes towards rest whatever θ is.

    Parameters
    ----------
    problem : ControlProblem
    batch : Scenarios
        S of them.
    values : numpy.ndarray, shape (S, rows)
        Of `rows_of`.

    Returns
    -------
    numpy.ndarray, shape (S, rows)
        Of the same signs.
    """
    plant, metrics = problem.plant, problem.scenario_metrics
    falls = np.array([row.kind in ("contraction", "one step") for row in problem.fresh.rows])
    if not falls.any():
        return values
    gamma, limit = metrics.options.contraction, problem.contraction_limits(batch)
    level = limit / gamma if gamma else np.maximum(problem.backup.level(batch.x0, plant.x_eq), metrics.floor)
    parts = np.maximum(level / problem.backup.rho, np.finfo(float).tiny)[:, None]
    return np.where(falls, values / parts, values)


def declared_set(problem: ControlProblem) -> DeclaredSet:
    """Return the declared set of a problem.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    DeclaredSet

    Raises
    ------
    DomainError
        If it has none.
    """
    declared = problem.scenarios.declared
    if declared is None:
        raise DomainError(
            "the scenarios of this problem were made by hand and name no declared set, so there is nothing to draw "
            "fresh ones from; make them with scenarios(…), or give Scenarios its `declared`"
        )
    return declared


def parts_of(problem: ControlProblem, first: int, count: int, counted: Counted | None = None) -> Iterator[slice]:
    """Yield parts of some scenarios of the declared set that are rolled out together.

    Parameters
    ----------
    problem : ControlProblem
    first, count : int
    counted : callable, optional
        Called with the number of rollouts after each part.

    Yields
    ------
    slice
        Of their numbers.
    """
    return _parts(first, count, _size(problem, declared_set(problem).horizon), counted)


def _size(problem: ControlProblem, horizon: int) -> int:
    plant, d = problem.plant, problem.theta_dim
    numbers = max(1, (horizon + 1) * (plant.nx + plant.nu))
    work = horizon * (d + 1) * (4 * d + 2 * plant.nx * (plant.nx + plant.nu))  # as `check_rollouts` counts it
    return max(1, min(_AT_ONCE, MOST_METRICS // (4 * numbers), int(MOST_OPERATIONS / (2 * work))))


def _parts(first: int, count: int, size: int, counted: Counted | None) -> Iterator[slice]:
    """Yield parts of some numbers, and say after each how many it had."""
    for start in range(first, first + count, size):
        part = slice(start, min(start + size, first + count))
        yield part
        if counted is not None:
            counted(part.stop - part.start)
