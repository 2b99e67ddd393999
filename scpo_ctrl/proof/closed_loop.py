"""A closed loop with its policy fixed, as SX functions that enclosures walk over, and what is to hold of it."""

from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.intervals import Interval, NoEnclosureError, enclosure, magnitude
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.parts import ROUNDING
from scpo_ctrl.proof.program import Program
from scpo_ctrl.proof.region import Region

ALLOWED = ROUNDING  # of a metric, in half widths of its bounds, as elsewhere: a violation is beyond it
_AT_REST = 1e-12  # of how far the level set reaches: what rounding makes of an equilibrium


@dataclass(frozen=True)
class CoveredLoop:
    """One policy in its loop: functions of columns over (x, v), v the parameters and disturbances that vary."""

    problem: ControlProblem
    theta: np.ndarray  # (d,)
    region: Region

    @classmethod
    def of(cls, problem: ControlProblem, theta: np.ndarray) -> "CoveredLoop":
        """Return the loop of a problem that can be covered.

        Parameters
        ----------
        problem : ControlProblem
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        CoveredLoop

        Raises
        ------
        DomainError
            If it has something that no cover knows; it is named.
        """
        declared, options = problem.scenarios.declared, problem.scenario_metrics.options
        if problem.has_simulator:
            raise DomainError("a black box has no expressions to enclose; certify it with --kind scenario")
        if not problem.scenario_metrics.bounds_command:
            raise DomainError(
                "a command that no metric bounds may be cut, which no cover knows; set path = true and command = true"
            )
        if declared is None:
            raise DomainError("the scenarios declare no set to cover; draw them with scpo_ctrl.scenarios")
        region = Region.of(declared)
        about_rest = options.contraction is not None or options.one_step is not None
        if about_rest and problem.rests(problem.scenarios) is not None and not _rests_at_equilibrium(problem):
            raise DomainError(
                "contraction is about an equilibrium that moves with the parameters, which no cover knows; certify it "
                "with --kind scenario, or cover the path bounds without contraction"
            )
        loop = cls(problem, theta, region)
        try:
            _ = loop.unsaturated, loop.law, loop.next, loop.own, loop.own_at_end
        except NoEnclosureError as error:
            raise DomainError(
                f"plant or law cannot be enclosed, or have a kink: {error}; certify them with --kind scenario"
            ) from error
        return loop

    @property
    def options(self) -> MetricOptions:
        """Which metrics there are."""
        return self.problem.scenario_metrics.options

    @property
    def horizon(self) -> int:
        """N."""
        return self.problem.scenarios.horizon

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """x_min, x_max, u_min, u_max, each with the room for what is no violation."""
        plant = self.problem.plant
        x, u = ((high - low) / 2 for low, high in ((plant.x_min, plant.x_max), (plant.u_min, plant.u_max)))
        x, u = (ALLOWED * np.where(np.isfinite(one), one, 1.0) for one in (x, u))
        return plant.x_min - x, plant.x_max + x, plant.u_min - u, plant.u_max + u

    @cached_property
    def law(self) -> Program:
        """(x, v) -> the command, before saturation."""
        return Program.of(ca.Function("law", [self._z], [ca.densify(self._command(saturated=True))]))

    @cached_property
    def next(self) -> Program:
        """(x, v, command) -> x⁺ without the disturbance that varies from step to step."""
        command = ca.SX.sym("c", self.problem.plant.nu)
        after = self._after(self.problem.policy.saturate(command))
        return Program.of(ca.Function("next", [ca.vertcat(self._z, command)], [ca.densify(after)]))

    @cached_property
    def own(self) -> Program | None:
        """(x, v, command before, command) -> metrics of constraints and changes of a step; None if none."""
        steps = self.problem.scenario_metrics.steps
        if steps is None:
            return None
        nu = self.problem.plant.nu
        before, now = ca.SX.sym("b", nu), ca.SX.sym("c", nu)
        saturate = self.problem.policy.saturate
        values = steps.function(self._x, saturate(now), saturate(before), self._p)
        return Program.of(ca.Function("own", [ca.vertcat(self._z, before, now)], [ca.densify(values)]))

    @cached_property
    def own_at_end(self) -> Program | None:
        """(x, v) -> metrics of constraints at the last state."""
        steps = self.problem.scenario_metrics.steps
        if steps is None or not steps.states:
            return None
        return Program.of(ca.Function("own_at_end", [self._z], [ca.densify(steps.at_end(self._x, self._p))]))

    @cached_property
    def unsaturated(self) -> Program:
        """(x, v) -> x⁺, its Jacobian by x, and the command, as a column, nothing cut."""
        command = self._command(saturated=False)
        after = self._after(command)
        J = ca.jacobian(after, self._x)
        return Program.of(ca.Function("unsaturated", [self._z], [ca.densify(ca.vertcat(after, ca.vec(J), command))]))

    @cached_property
    def is_bent(self) -> bool:
        """Whether the next state is no linear function of states, commands and parameters together."""
        plant = self.problem.plant
        z = ca.vertcat(self._z, plant.u)
        after = self._after(plant.u)
        return bool(ca.depends_on(ca.simplify(ca.jacobian(after, z)), z))

    @cached_property
    def push(self) -> np.ndarray:
        """Half widths of the disturbance that varies from step to step, (nx,)."""
        declared = self.region.declared
        if not declared.half.size:
            return np.zeros(self.problem.plant.nx)
        return np.asarray((1 - declared.fixed) * declared.half * (1 + 4e-16))

    @cached_property
    def frame(self) -> np.ndarray:
        """Coordinates in which V is ρ times the squared length, (nx, nx)."""
        unit, root = self.problem.backup.shape
        return np.asarray(np.linalg.inv(root) / unit)

    @cached_property
    def _x(self) -> ca.SX:
        return ca.SX.sym("x", self.problem.plant.nx)

    @cached_property
    def _v(self) -> ca.SX:
        return ca.SX.sym("v", len(self.region.varied) + len(self.region.pushed))

    @property
    def _z(self) -> ca.SX:
        return ca.vertcat(self._x, self._v)

    @cached_property
    def _p(self) -> ca.SX:
        """Plant parameters, those that do not vary as numbers."""
        p = ca.SX(ca.DM(self.region.declared.ranges[:, 0]))
        for k, i in enumerate(self.region.varied):
            p[i] = self._v[k]
        return p

    def _command(self, *, saturated: bool) -> ca.SX:
        policy = self.problem.policy
        at = self._p if isinstance(policy, ControllerPolicy) else None
        return policy.command(self._x, ca.SX(ca.DM(self.theta)), at, saturated=saturated)

    def _after(self, u: ca.SX) -> ca.SX:
        after = self.problem.plant.function(self._x, u, self._p)
        first = len(self.region.varied)
        for k, i in enumerate(self.region.pushed):
            after[i] += self._v[first + k]
        return after


def _rests_at_equilibrium(problem: ControlProblem) -> bool:
    """Whether the loop under the backup is at rest at the nominal equilibrium for all parameters in range."""
    declared, plant, policy = problem.scenarios.declared, problem.plant, problem.policy
    if declared is None:
        return False
    p, x_eq = ca.SX.sym("p", plant.npar), ca.DM(plant.x_eq)
    u = policy.at_start(x_eq, p) if isinstance(policy, ControllerPolicy) else ca.DM(plant.u_eq)
    drift = ca.Function("drift", [p], [ca.densify(plant.function(x_eq, u, p) - x_eq)])
    try:
        (moved,) = enclosure(drift, Interval(declared.ranges[None, :, 0], declared.ranges[None, :, 1]))
    except NoEnclosureError:
        return False
    return bool((magnitude(moved)[0, :, 0] <= _AT_REST * problem.backup.extent).all())
