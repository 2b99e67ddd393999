"""Safety metrics of a rollout, (E6)-(E8): one smooth number per (scenario, time, bound), safe at or below zero."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.constraint import SMALLEST, Constraint, StepMetrics
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units
from scpo_ctrl.sealed import Sealed, as_instance
from scpo_ctrl.shown import ShownAsWritten
from scpo_ctrl.validate import as_array, as_count, as_flag, as_scalar, as_stack

_INSTEAD = "for other metrics or another loop give a Problem subclass or a FunctionProblem"
CLOUD = 256  # states, where one step is conditioned and their number is not given


@dataclass(frozen=True, kw_only=True, repr=False)
class MetricOptions(ShownAsWritten, Sealed, instead=_INSTEAD):
    """Which safety metrics are computed.

    Parameters
    ----------
    path : bool, optional
        State bounds for t = 0…N and, with `command`, input bounds for t = 0…N-1 (E6).
    command : bool, optional
        Bound the command before saturation; False makes saturation part of the closed loop.
    terminal : bool, optional
        V(x_N) / ρ - 1 ≤ 0 (E7).
    contraction : float or None, optional
        γ in (0, 1): V(x_N) - max(γ V(x_0), c ρ) ≤ 0 (E8), about x_eq(p).
    contraction_floor : float, optional
        c in [0, 1), a part of ρ: how near to rest is near enough.
    stability : bool, optional
        Of the loop at rest, nominal and at every corner of the parameter ranges (E11).
    one_step : float or None, optional
        a in (0, 1): V(x⁺) - max((1 - a) V(x), c ρ) ≤ 0 on a cloud of states (E13).
    cloud : int or None, optional
        How many states; 256 where one_step is given.
    constraints : Constraint or sequence of Constraint or None, optional
        h(x, u, p) ≤ bound at every step; one, or several.
    du_max : array_like or None, shape (nu,), optional
        Largest changes, > 0, infinite for none: |u_t - u_{t-1}| ≤ du_max, t = 1…N-1 [u_units].

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> metrics = sc.MetricOptions(contraction=0.5, du_max=[0.2])
    >>> metrics.path, metrics.stability, metrics.terminal
    (True, True, False)
    """

    path: bool = True
    command: bool = True
    terminal: bool = False
    contraction: float | None = None
    contraction_floor: float = 0.0
    stability: bool = True
    one_step: float | None = None
    cloud: int | None = None
    constraints: tuple[Constraint, ...] | None = None
    du_max: np.ndarray | None = None

    def __post_init__(self) -> None:
        for key in ("path", "command", "terminal", "stability"):
            object.__setattr__(self, key, as_flag(key, getattr(self, key)))
        if self.contraction is not None:
            object.__setattr__(self, "contraction", as_scalar("contraction", self.contraction, above=0.0))
            if self.contraction >= 1:
                raise DomainError(f"contraction is {self.contraction:g}, expected a number in (0, 1)")
        floor = as_scalar("contraction_floor", self.contraction_floor, at_least=0.0)
        object.__setattr__(self, "contraction_floor", floor)
        if floor >= 1:
            raise DomainError(f"contraction_floor is {floor:g}, a part of rho; expected a number in [0, 1)")
        if floor and self.contraction is None and self.one_step is None:
            raise DomainError("contraction_floor is where contraction ends; give contraction or one_step too")
        self._check_cloud()
        self._put_constraints()
        own = self.constraints is not None or self.du_max is not None
        if not (own or self.path or self.terminal or self.contraction is not None):
            raise DomainError("no metric is switched on; set path = true, terminal = true or contraction = 0.3")

    def _put_constraints(self) -> None:
        value: Any = () if self.constraints is None else self.constraints
        given: tuple[Constraint, ...] = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        for one in given:
            as_instance("constraints", one, Constraint)
        names = [name for one in given for name in one.name]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DomainError(f"constraint {twice!r} is given twice; give each its own name")
        object.__setattr__(self, "constraints", given or None)
        if self.du_max is not None:
            du_max = np.atleast_1d(as_stack("du_max", self.du_max))
            if du_max.ndim != 1 or not du_max.size or not (du_max >= SMALLEST).all():
                raise DomainError(
                    f"du_max is {shown(self.du_max)}, how much each input may change in a step; expected a number "
                    "above 0 for each"
                )
            if not np.isfinite(du_max).any():
                raise DomainError("du_max is infinite for each input, which limits nothing; leave it out")
            object.__setattr__(self, "du_max", du_max)

    def resolved(self, plant: Plant, inputs: int) -> "MetricOptions":
        """Check that constraints and limits fit a plant, and return the options with their scales.

        Parameters
        ----------
        plant : Plant
            Of the loop.
        inputs : int
            How many of its inputs are inputs, and not memories that follow.

        Returns
        -------
        MetricOptions

        Raises
        ------
        DimensionError
            If du_max has not one number for each input.
        DomainError, BoundsError
            See `Constraint.resolved`.
        """
        constraints, du_max = self.constraints, self.du_max
        if constraints is not None:
            constraints = tuple(one.resolved(plant) for one in constraints)
        if du_max is not None:
            if np.size(du_max) not in (inputs, plant.nu):
                raise DimensionError(f"du_max has {np.size(du_max)} entries, expected {inputs}: one for each input")
            du_max = np.append(du_max, np.full(plant.nu - np.size(du_max), np.inf))
        return replace(self, constraints=constraints, du_max=du_max)

    def in_units(self, plant: Plant, scaled: Plant, units: Units) -> "MetricOptions":
        """Return the same for the plant in other units.

        Parameters
        ----------
        plant, scaled : Plant
        units : Units
            That `scaled` counts in.

        Returns
        -------
        MetricOptions
        """
        constraints, du_max = self.constraints, self.du_max
        if constraints is not None:
            constraints = tuple(one.in_units(plant, scaled, units) for one in constraints)
        return replace(self, constraints=constraints, du_max=None if du_max is None else du_max / units.u)

    def _check_cloud(self) -> None:
        if self.one_step is None:
            if self.cloud is not None:
                raise DomainError("cloud is how many states have conditions on one step; give one_step too")
            return
        a = as_scalar("one_step", self.one_step, above=0.0)
        if not 0 < 1 - a < 1:
            raise DomainError(f"one_step is {a:g}, the part of V that a step removes; expected a number in (0, 1)")
        object.__setattr__(self, "one_step", a)
        object.__setattr__(self, "cloud", as_count("cloud", CLOUD if self.cloud is None else self.cloud, at_least=1))

    @property
    def of_one_step(self) -> "MetricOptions":
        """The metrics (E13) as those of a rollout over one step: bounds, and contraction by 1 - a.

        Raises
        ------
        DomainError
            Without one_step.
        """
        if self.one_step is None:
            raise DomainError("these metrics have no condition on one step; give one_step")
        contraction = 1 - self.one_step
        return replace(self, terminal=False, contraction=contraction, stability=False, one_step=None, cloud=None)

    @property
    def contracted(self) -> str:
        """What V(x_N) must not exceed (E8), in words."""
        part = f"{self.contraction:g} V(x_0)"
        return f"max({part}, {self.contraction_floor:g} rho)" if self.contraction_floor else part

    @property
    def contraction_at_rest(self) -> str:
        """What contraction comes to where x_0 is at rest; empty where it is no metric."""
        if self.contraction is None:
            return ""
        return f"0 <= {self.contraction_floor:g} rho" if self.contraction_floor else "0 <= 0"


@dataclass(frozen=True)
class Row:
    """What one metric of a scenario means."""

    kind: str  # "state", "command", "rate", "terminal", "contraction" or "one step", or the name of a constraint
    time: int  # step t, 0…N
    label: str  # the condition in words, with units
    unit: str = ""  # of its bound
    fixed: bool = False  # whether the initial state alone decides it

    @property
    def in_words(self) -> str:
        """Time and condition."""
        return f"t = {self.time}: {self.label}"


@dataclass(frozen=True)
class Metrics(Sealed, instead=_INSTEAD):
    """The metrics of one scenario, as expressions over its trajectory."""

    plant: Plant
    backup: Backup
    horizon: int
    options: MetricOptions

    @property
    def bounds_command(self) -> bool:
        """Whether the command before saturation is bounded by metrics."""
        return self.options.path and self.options.command

    @cached_property
    def steps(self) -> StepMetrics | None:
        """Constraints and limits of the inputs' change, as metrics of one time step; None if there are none."""
        constraints, du_max = self.options.constraints, self.options.du_max
        if constraints is None and du_max is None:
            return None
        limits = np.full(self.plant.nu, np.inf) if du_max is None else du_max
        limits = as_array("du_max", limits, (self.plant.nu,), finite=False)
        return StepMetrics.of(self.plant, tuple(constraints or ()), limits)

    @property
    def floor(self) -> float:
        """V(x_N) that contraction (E8) allows from any start, c ρ."""
        return self.options.contraction_floor * self.backup.rho

    def contraction_limits(self, x0: np.ndarray, rests: np.ndarray | None = None) -> np.ndarray:
        """Return the largest V(x_N) that contraction allows, max(γ V(x_0), c ρ).

        Parameters
        ----------
        x0 : numpy.ndarray, shape (S, nx)
            Initial states.
        rests : numpy.ndarray, shape (S, nx), optional
            Where each scenario's loop under the backup is at rest; the nominal equilibrium if None.

        Returns
        -------
        numpy.ndarray, shape (S,)
        """
        V = self.about_rest(x0, rests)
        return np.maximum((self.options.contraction or 0.0) * V, self.floor)

    def about_rest(self, x: np.ndarray, rests: np.ndarray | None) -> np.ndarray:
        """Return V(x - x_eq(p)), as contraction counts it.

        Parameters
        ----------
        x : numpy.ndarray, shape (..., S, nx)
        rests : numpy.ndarray, shape (S, nx), or None
            As in `contraction_limits`.

        Returns
        -------
        numpy.ndarray, shape (..., S)
        """
        return self.backup.level(x, self.plant.x_eq) if rests is None else self.backup.level(x - rests)

    def expression(
        self,
        X: ca.MX,
        U: ca.MX,
        rest: ca.MX | None = None,
        applied: ca.MX | None = None,
        p: ca.MX | None = None,
    ) -> ca.MX:
        """Return the metrics of one trajectory.

        Parameters
        ----------
        X : casadi.MX, shape (nx, N + 1)
            States.
        U : casadi.MX, shape (nu, N)
            Commands before saturation.
        rest : casadi.MX, shape (nx, 1), optional
            Where the loop under the backup is at rest; the nominal equilibrium if None.
        applied : casadi.MX, shape (nu, N), optional
            The inputs that constraints are of; the commands if None.
        p : casadi.MX, shape (np, N + 1), optional
            Plant parameters over time; nominal if None.

        Returns
        -------
        casadi.MX, shape (m / S, 1)
            In the order of `rows`.
        """
        parts = []
        if self.options.path:
            parts.append(self._box(X, self.plant.x_min, self.plant.x_max))
            if self.options.command:
                parts.append(self._box(U, self.plant.u_min, self.plant.u_max))
        if self.steps is not None:
            nominal = ca.repmat(ca.DM(self.plant.p_nominal), 1, X.shape[1])
            parts.append(_over_time(self.steps, X, U if applied is None else applied, nominal if p is None else p))
        if self.options.terminal:
            parts.append(self._level(X[:, -1]) / self.backup.rho - 1)  # (E7)
        if self.options.contraction is not None:
            limit = self.options.contraction * self._level(X[:, 0], rest)
            parts.append(self._level(X[:, -1], rest) - (ca.fmax(limit, self.floor) if self.floor else limit))  # (E8)
        return ca.vertcat(*parts)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """What each metric of a scenario means, in the order of `expression`."""
        plant, N, rows = self.plant, self.horizon, []
        boxes = [("state", N + 1, plant.x_min, plant.x_max, plant.x_labels, plant.x_units)]
        if self.options.command:
            boxes.append(("command", N, plant.u_min, plant.u_max, plant.u_labels, plant.u_units))
        for kind, steps, low, high, labels, units in boxes if self.options.path else []:
            bounds = [
                (f"{labels[i]} {sign} {bound[i]:g} {units[i]}".rstrip(), units[i])
                for sign, bound in (("<=", high), (">=", low))
                for i in np.flatnonzero(np.isfinite(bound))
            ]
            fixed = kind == "state"
            rows += [Row(kind, t, label, unit, fixed and t == 0) for t in range(steps) for label, unit in bounds]
        if self.steps is not None:
            states, which = self.steps.states, self.steps.rows
            rows += [
                Row(which[i].kind, t, which[i].label, which[i].unit, t == 0 and i < states)
                for t in range(N + 1)
                for i in self.steps.at(t, N)
            ]
        if self.options.terminal:
            rows.append(Row("terminal", N, "V(x_N) <= rho"))
        if self.options.contraction is not None:
            rows.append(Row("contraction", N, f"V(x_N) <= {self.options.contracted}"))
        return tuple(rows)

    @cached_property
    def varies(self) -> np.ndarray:
        """Which metrics of a scenario depend on θ: all but those of the state at t = 0, shape (m / S,), bool."""
        return np.array([not row.fixed for row in self.rows])

    def in_bounds(self, units: Units) -> np.ndarray:
        """Return what one of each metric of the loop in other units is in the units of its bound.

        Parameters
        ----------
        units : Units
            Of the loop, whose V counts in parts of ρ.

        Returns
        -------
        numpy.ndarray, shape (m / S,)
        """
        plant, parts = self.plant, []
        boxes = [(self.horizon + 1, plant.x_min, plant.x_max, units.x)]
        if self.options.command:
            boxes.append((self.horizon, plant.u_min, plant.u_max, units.u))
        for steps, low, high, unit in boxes if self.options.path else []:
            parts.append(np.tile(np.concatenate([unit[np.isfinite(high)], unit[np.isfinite(low)]]), steps))
        if self.steps is not None:
            parts.append(self.steps.over_time(np.array([row.scale for row in self.steps.rows]), self.horizon))
        if self.options.terminal:
            parts.append(np.ones(1))
        if self.options.contraction is not None:
            parts.append(np.full(1, self.backup.rho))
        return np.concatenate(parts)

    def _level(self, x: ca.MX, rest: ca.MX | None = None) -> ca.MX:
        z = x - (ca.DM(self.plant.x_eq) if rest is None else rest)
        return z.T @ ca.DM(self.backup.P) @ z

    @staticmethod
    def _box(trajectory: ca.MX, low: np.ndarray, high: np.ndarray) -> ca.MX:
        """H ≤ 0 for every finite bound, time by time: first the upper ones, then the lower ones (E6)."""
        upper, lower = np.flatnonzero(np.isfinite(high)), np.flatnonzero(np.isfinite(low))
        above = trajectory[upper.tolist(), :] - ca.DM(high[upper])
        below = ca.DM(low[lower]) - trajectory[lower.tolist(), :]
        return ca.vec(ca.vertcat(above, below))


def _over_time(steps: StepMetrics, X: ca.MX, U: ca.MX, p: ca.MX) -> ca.MX:
    """Return the metrics of all time steps, one behind the other."""
    N = U.shape[1]
    before = ca.horzcat(U[:, 0], U[:, : N - 1])  # at t = 0 there is no change
    values = steps.function.map(N)(X[:, :N], U, before, p[:, :N])
    first = len(steps.rows) - steps.changes
    end = steps.at_end(X[:, N], p[:, N]) if steps.states else ca.MX(0, 1)
    of_all = ca.vertcat(values[:first, 0], ca.vec(values[:, 1:]), end)
    known = ca.sum1(ca.vec(X)) + ca.sum1(ca.vec(U)) <= ca.inf
    return of_all + ca.if_else(known, 0, np.nan)  # a maximum of CasADi's has a number where one of two is none
