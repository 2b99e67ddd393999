"""A plant as an environment of Gymnasium; `environment` makes it, where the package gymnasium is installed."""

from collections.abc import Mapping
from typing import Any

import casadi as ca
import gymnasium  # pyright: ignore[reportMissingImports]
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import parameters_over_time
from scpo_ctrl.problem.cost import Cost, quadratic_terms
from scpo_ctrl.problem.objective import Quadratic
from scpo_ctrl.shown import Entries, Shown, titled
from scpo_ctrl.validate import as_array, as_count


class PlantEnvironment(Shown, gymnasium.Env):
    """See `environment`.

    Parameters
    ----------
    plant : Plant
    objective : Quadratic or Cost
    scenarios : Scenarios
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  Gymnasium's form

    def __init__(self, plant: Plant, objective: Quadratic | Cost, scenarios: Scenarios) -> None:
        self.plant, self.scenarios = plant, scenarios
        if isinstance(objective, Quadratic):
            objective.check_fit(plant)
            objective = objective.of_sizes(plant.nx, plant.nu)
            self._cost = quadratic_terms(plant, objective.Q, objective.R, objective.P_N, objective.R_du)
        else:
            self._cost = objective.terms(plant, plant.nu)
        self._sensors = ca.Function("h", [plant.x, plant.p], [plant.measured])
        ny = plant.y.numel()
        low, high = (np.full(ny, -np.inf), np.full(ny, np.inf)) if ny else (plant.x_min, plant.x_max)
        self._low, self._high = low, high
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float64)
        self.action_space = gymnasium.spaces.Box(plant.u_min, plant.u_max, dtype=np.float64)
        self._scenario, self._t, self._x = 0, scenarios.horizon, scenarios.x0[0]  # at the end: reset comes first
        self._before: np.ndarray | None = None  # the input of the last step

    def _shown(self) -> tuple[str, Entries]:
        return f"{self.plant.name}, episodes from {titled(self.scenarios)}", []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode, in a scenario that is drawn or chosen.

        Parameters
        ----------
        seed : int, optional
            Of the choice, of this and of later episodes.
        options : dict, optional
            ``{"scenario": number}``

        Returns
        -------
        observation : numpy.ndarray, shape (ny,)
        info : dict
        """
        super().reset(seed=seed)
        if options is not None and not isinstance(options, Mapping):
            raise DomainError(f'options is {shown(options)}, expected a table such as {{"scenario": 3}}')
        given = {} if options is None else dict(options)
        drawn = int(self.np_random.integers(self.scenarios.count))
        self._scenario = as_count("scenario", given.pop("scenario", drawn), at_most=self.scenarios.count - 1)
        if given:
            raise DomainError(f"options has the unknown key {shown(next(iter(given)))}; known: scenario")
        self._t, self._x, self._before = 0, self.scenarios.x0[self._scenario], None
        p = self.scenarios.p[self._scenario : self._scenario + 1]
        self._p = parameters_over_time(self.plant, p, self.scenarios.horizon)[0]
        return self._observed(), self._info(saturated=False)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Apply a command for one sample.

        Parameters
        ----------
        action : array_like, shape (nu,)
            The command [u_units], cut to the bounds of the input.

        Returns
        -------
        observation : numpy.ndarray, shape (ny,)
            The last one of an episode is cut to the space where a bound is broken; ``info["state"]`` is not.
        reward : float
            Less the stage cost of state and applied input; at the horizon also less the terminal cost.
        terminated : bool
            Whether the next state breaks a bound, or is not a number.
        truncated : bool
            Whether the horizon is reached.
        info : dict
        """
        if self._t >= self.scenarios.horizon:
            raise DomainError("the episode is over; call reset before step")
        plant, command = self.plant, as_array("action", action, (self.plant.nu,))
        u, p = np.clip(command, plant.u_min, plant.u_max), self._p[self._t]
        before = u if self._before is None else self._before
        cost = float(self._cost.stage(self._x, u, before, p))
        x = np.array(plant.function(self._x, u, p))[:, 0]
        if self.scenarios.w.shape[2]:
            x = x + self.scenarios.w[self._scenario, self._t]
        self._x, self._before, self._t = x, u, self._t + 1
        info = self._info(saturated=bool((u != command).any()))
        terminated, truncated = bool(info["broken"]), self._t == self.scenarios.horizon
        if truncated:
            cost += float(self._cost.terminal(x, self._p[self._t]))
        seen = self._observed()
        if terminated:
            self._t = self.scenarios.horizon
        return seen, -cost, terminated, truncated, info

    def _observed(self) -> np.ndarray:
        shown_by_sensors = np.array(self._sensors(self._x, self._p[self._t]))[:, 0]
        known = np.nan_to_num(shown_by_sensors, nan=np.inf, posinf=np.inf, neginf=-np.inf)
        return np.clip(known, self._low, self._high)

    def _info(self, *, saturated: bool) -> dict[str, Any]:
        return {
            "state": self._x.copy(), "scenario": self._scenario, "saturated": saturated, "broken": self._broken(),
        }  # fmt: skip

    def _broken(self) -> tuple[str, ...]:
        """Return the bounds that the state breaks, in words; of what is not a number both."""
        plant, x = self.plant, self._x
        return tuple(
            f"{plant.x_labels[i]} {sign} {bound[i]:g} {plant.x_units[i]}".rstrip()
            for sign, bound, kept in (("<=", plant.x_max, x <= plant.x_max), (">=", plant.x_min, x >= plant.x_min))
            for i in np.flatnonzero(~kept)
        )
