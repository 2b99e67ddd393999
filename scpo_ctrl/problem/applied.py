"""A policy at given parameters: asked for inputs, and rolled out from any state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import settled
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.validate import as_count, as_scalar, as_stack

_LONGEST = 100_000  # steps of a simulation


AnyProblem = TypeVar("AnyProblem", bound=Problem)


class Applied(Generic[AnyProblem]):
    """Base of what has a problem and parameters of its policy."""

    problem: AnyProblem
    theta: np.ndarray

    def policy(self, x: ArrayLike) -> np.ndarray:
        """Return the input of the policy, cut to its bounds.

        Parameters
        ----------
        x : array_like, shape (..., nx)
            States [x_units]; of a controller with what it remembers behind them.

        Returns
        -------
        numpy.ndarray, shape (..., nu)
            [u_units]; of a controller with what it remembers next behind them.

        Raises
        ------
        DomainError
            If the problem has no plant.
        DimensionError
            If the last axis has another length.
        """
        return self._loop.policy(as_stack("x", x), self.theta)

    def simulate(
        self, x0: ArrayLike, *, steps: int | None = None, parameters: Mapping[str, float] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Roll out the policy on the model, without disturbances; `scpo_ctrl.simulate` takes another plant.

        Parameters
        ----------
        x0 : array_like, shape (nx,) or (S, nx)
            Initial states [x_units]; of a controller with what it remembers behind them, or without: then it begins
            with what it remembers at first.
        steps : int, optional
            How many; the horizon of the scenarios by default.
        parameters : mapping of str to float, optional
            Values of plant parameters by label [p_units]; nominal otherwise.

        Returns
        -------
        X : numpy.ndarray, shape (N + 1, nx) or (S, N + 1, nx)
            States, and what a controller remembers; not finite where a state runs away.
        U : numpy.ndarray, shape (N, nu) or (S, N, nu)
            Inputs that are applied [u_units].

        Raises
        ------
        DomainError
            If the problem has no plant, a label is unknown, or a number is out of range.
        DimensionError
            If x0 has another shape.
        """
        problem, memories = self._loop, 0
        if isinstance(problem.policy, ControllerPolicy):
            memories = problem.policy.controller.memories
        starts = _starts(problem, x0, memories)
        p = _parameters(problem.plant, parameters)
        N = problem.scenarios.horizon if steps is None else as_count("steps", steps, at_least=1, at_most=_LONGEST)
        count, plant = len(starts), problem.plant
        batch = Scenarios(starts, np.tile(p, (count, 1)), np.zeros((count, N, 0)), N)
        X, U = problem.with_scenarios(batch, self.theta).trajectories(np.asarray(self.theta, dtype=float))
        U = np.clip(U, plant.u_min, plant.u_max)[:, :, : plant.nu - memories]
        return (X[0], U[0]) if as_stack("x0", x0).ndim < 2 else (X, U)

    @property
    def _loop(self) -> ControlProblem:
        """The problem, which must have a plant."""
        if not isinstance(self.problem, ControlProblem):
            raise DomainError("the problem is of functions and has no plant, so there is no policy to ask; use theta")
        return self.problem


def _starts(problem: ControlProblem, x0: ArrayLike, memories: int) -> np.ndarray:
    """Return initial states of the loop, shape (S, nx)."""
    nx, x = problem.plant.nx, as_stack("x0", x0)
    starts = x.reshape(1, -1) if x.ndim < 2 else x
    if starts.ndim != 2 or not len(starts) or starts.shape[1] not in (nx, nx - memories):
        expected = f"({nx},)" if not memories else f"({nx - memories},), or ({nx},) with what the controller remembers"
        raise DimensionError(f"x0 has shape {x.shape}, expected {expected}, or rows of it")
    if not np.isfinite(starts).all():
        raise DomainError(f"x0 is {shown(x0)}, expected finite numbers")
    if starts.shape[1] == nx or not isinstance(problem.policy, ControllerPolicy):
        return starts
    return np.hstack([starts, np.tile(problem.policy.controller.memory_initial, (len(starts), 1))])


def _parameters(plant: Plant, given: Mapping[str, float] | None) -> np.ndarray:
    """Return the parameters of a plant, those given in place of nominal ones."""
    p = plant.p_nominal.copy()
    if given is not None and not isinstance(given, Mapping):
        raise DomainError(f"parameters is {shown(given)}, expected a mapping from labels to numbers")
    for label, value in (given or {}).items():
        if label not in plant.p_labels:
            known = ", ".join(plant.p_labels) or "none"
            raise DomainError(f"parameters has {shown(label)}; plant {plant.name!r} has {known}")
        i = plant.p_labels.index(label)
        p[i] = as_scalar(f"parameters[{label!r}]", value, above=float(plant.p_above[i]))
    return settled(plant, p[None])[0]
