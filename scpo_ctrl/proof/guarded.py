"""The guard (E9) at work: a policy whose input is applied where it keeps the proved set, and the backup's elsewhere."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.choices import GUARDED_EPISODES, MOST_AHEAD, WITHIN
from scpo_ctrl.compiled import StackFunction, compile_functions
from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.guard import LEVEL_SET, Guard, guard_of
from scpo_ctrl.invariance.level_set import WHOLE
from scpo_ctrl.invariance.lookahead_guard import looking_ahead
from scpo_ctrl.invariance.polytope_guard import polytope_guard
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy, residual_policy
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.objective import Quadratic
from scpo_ctrl.proof.backup_set import backup_law, declared_ranges, prove_backup_set
from scpo_ctrl.proof.polytope_set import backup_polytope
from scpo_ctrl.validate import as_array, as_choice, as_count

_STREAM = 1 << 51  # of seeds: no run, audit, certificate or simulation draws from there
_MOST_KEPT = 1000  # states at which it acted, for pictures


def guard(problem: ControlProblem, within: str = WITHIN[0], lookahead: int = 0) -> Guard:
    """Return the guard (E9) of a set that a problem's backup is proved to keep, for all that its scenarios declare.

    Parameters
    ----------
    problem : ControlProblem
        With a declared set. The set of a controller is that of its loop, with what it remembers among the states.
    within : str
        "level": the backup's level set. "polytope": the largest polytope that the backup keeps inside all bounds, of
        a residual policy on a linear plant.
    lookahead : int
        Steps within which the backup is to bring the next state into its level set, inside all bounds, where that need
        not be in the set already; of a residual policy without ranges of parameters and disturbances.

    Returns
    -------
    Guard

    Raises
    ------
    DomainError
        If the set is not proved, the plant has signals, a controller measures less than the state or is no straight
        line, or a guard would lose too much of its set.
    """
    policy = problem.policy
    plant, backup = policy.plant, policy.backup
    if plant.signals:
        raise DomainError(
            "a guard is of a set about one equilibrium, and signals move it; give a plant without signals"
        )
    lookahead = as_count("lookahead", lookahead, at_most=MOST_AHEAD)
    if as_choice("within", within, WITHIN) == "polytope":
        if lookahead:
            raise DomainError(
                "a polytope holds all that any lookahead would let pass, and more; leave one of them out, lookahead or "
                'within = "polytope"'
            )
        return polytope_guard(plant, backup.K, backup.P, backup_polytope(problem))
    if lookahead:
        residual_policy(policy, "a lookahead")
    if isinstance(policy, ControllerPolicy):
        _check_known(policy)
    ranges, half = declared_ranges(problem)
    proof = prove_backup_set(policy, ranges, half)
    if not proof.proved:
        part = f", or [backup] rho = {proof.level * backup.rho:.6g}" if proof.level else ""
        raise DomainError(
            f"a guard needs a set that its backup is proved to keep: {proof.blocks}; design one with [backup] kind = "
            f'"lmi" (scpo_ctrl.lmi){part}'
        )
    held = replace(guard_of(plant, backup.K, backup.P, WHOLE * backup.rho, ranges, half), proof=proof)
    return looking_ahead(held, lookahead) if lookahead else held


def _check_known(policy: ControllerPolicy) -> None:
    """Refuse a controller whose outputs do not say what the state is, or whose start is not u_eq - K (s - s_eq)."""
    plant, name = policy.controlled_plant, policy.controller.name
    y = plant.measured
    slope = ca.simplify(ca.jacobian(y, plant.x))
    is_linear = not ca.depends_on(y, plant.p) and not ca.depends_on(slope, plant.x)
    if not is_linear or np.linalg.matrix_rank(np.array(ca.evalf(ca.densify(slope)))) < plant.nx:
        raise DomainError(
            f"a guard needs the state itself, and what controller {name!r} measures (of {y.numel()} outputs) does not "
            f"determine the {plant.nx} states of plant {plant.name!r}; an estimate has an error, of which the guard "
            "knows no bound: measure all states, or run it without a guard, on what its audit says"
        )
    if backup_law(policy).curved is not None:
        raise DomainError(
            f"a guard applies u_eq - K (s - s_eq) where a policy does not pass, and controller {name!r} is no straight "
            "line at its start; begin with a linear law"
        )


@dataclass(frozen=True)
class GuardedRuns:
    """What became of episodes of a policy under the guard."""

    episodes: int
    samples: int
    acted: int  # samples at which the backup was applied
    episodes_acted: int
    escapes: int  # next states outside the set that began inside
    cost: float | None  # mean over episodes; None where the objective is no `Quadratic`
    cost_without: float | None  # of the policy alone
    cost_backup: float | None
    points: int  # parameters at which the guard computes next states
    lost: float  # of the radius of the set, to values between them and disturbances
    seed: int
    where: np.ndarray = field(repr=False)  # (k, nx) some states at which it acted [x_units]
    keeps: str = LEVEL_SET  # what is kept, in words

    @property
    def kept(self) -> float | None:
        """Part of the policy's improvement on the backup that is left under the guard."""
        if self.cost is None or self.cost_without is None or self.cost_backup is None:
            return None
        gained = self.cost_backup - self.cost_without
        return (self.cost_backup - self.cost) / gained if gained > 0 else None

    def sentence(self) -> str:
        """Return the numbers in words."""
        of = f" of {self.keeps}" if self.keeps != LEVEL_SET else ""
        kept = "" if self.kept is None else f"; {100 * self.kept:.4g} % of the improvement on the backup is left"
        return (
            f"under the guard{of}: {self.escapes} of {self.samples} samples leave the set; it acts in "
            f"{100 * self.acted / self.samples:.3g} % of them, in {self.episodes_acted} of {self.episodes} episodes"
            f"{kept}"
        )

    def summary(self) -> dict[str, Any]:
        """Return what is written of it.

        Returns
        -------
        dict
        """
        return asdict(self) | {"kept": self.kept, "where": self.where.tolist()}


def guarded_runs(
    problem: ControlProblem,
    theta: np.ndarray,
    guard: Guard,
    *,
    episodes: int = GUARDED_EPISODES,
    seed: int = 0,
    monitor: Callable[[int, int], None] | None = None,
) -> GuardedRuns:
    """Roll a policy out from fresh scenarios, alone and under the guard, and the backup beside it.

    Parameters
    ----------
    problem : ControlProblem
    theta : numpy.ndarray, shape (d,)
    guard : Guard
        Of the problem.
    episodes : int
        Fresh scenarios of the declared set.
    seed : int
        Of them.
    monitor : callable, optional
        Called with the number of rollouts done and that of all.

    Returns
    -------
    GuardedRuns
    """
    declared = problem.scenarios.declared
    assert declared is not None  # or there were no guard
    policy, theta = problem.policy, as_array("theta", theta, (problem.theta_dim,))
    objective = problem.objective_data
    if isinstance(policy, ControllerPolicy) and isinstance(objective, Quadratic):
        objective = objective.with_memory(policy)
    episodes, roll = as_count("episodes", episodes, at_least=1), _Roll(policy, theta, guard, declared.horizon)
    parts, done = [], 0
    for start in range(0, episodes, _part(policy, declared.horizon)):
        drawn = declared.random(start, min(_part(policy, declared.horizon), episodes - start), _STREAM + seed)
        parts.append(roll(drawn, objective))
        done += drawn.count
        if monitor is not None:
            monitor(done, episodes)
    costs = np.concatenate([part.costs for part in parts]).mean(axis=0)
    known = isinstance(objective, Quadratic)
    where = np.vstack([part.where for part in parts])
    return GuardedRuns(
        episodes=episodes,
        samples=episodes * declared.horizon,
        acted=sum(int(part.acted.sum()) for part in parts),
        episodes_acted=sum(int((part.acted > 0).sum()) for part in parts),
        escapes=sum(part.escapes for part in parts),
        cost=float(costs[0]) if known else None,
        cost_without=float(costs[1]) if known else None,
        cost_backup=float(costs[2]) if known else None,
        points=len(guard.points),
        lost=guard.between + guard.pushed,
        seed=seed,
        where=where[:: max(1, len(where) // _MOST_KEPT)][:_MOST_KEPT],
        keeps=guard.set_name,
    )


@dataclass(frozen=True)
class _Part:
    acted: np.ndarray  # (S,) samples of each episode
    escapes: int
    costs: np.ndarray  # (S, 3) guarded, alone, backup
    where: np.ndarray  # (k, nx)


def _part(policy: LoopPolicy, horizon: int) -> int:
    return max(1, 4_000_000 // (horizon * (policy.plant.nx + policy.plant.nu + 2)))


class _Roll:
    """Rollouts of a policy under the guard, alone, and of the backup."""

    def __init__(self, policy: LoopPolicy, theta: np.ndarray, guard: Guard, horizon: int) -> None:
        self._plant, self._guard, self._horizon = policy.plant, guard, horizon
        plant = policy.plant
        x, p, w = (ca.SX.sym(name, n) for name, n in (("x", plant.nx), ("p", plant.npar), ("w", plant.nx)))
        command = policy.saturate(policy.command(x, ca.DM(theta), saturated=True))
        backup = policy.saturate(ca.DM(plant.u_eq) - ca.DM(guard.K) @ (x - ca.DM(plant.x_eq)))
        passes = guard.function(x, command) <= 1
        guarded = ca.if_else(passes, command, backup)
        names, inputs = ("guarded", "alone", "backup"), (guarded, command, backup)
        functions = []
        for name, u in zip(names, inputs, strict=True):
            after = plant.function(x, u, p) + w
            step = ca.Function("step", [x, p, w], [after, u, passes if name == "guarded" else ca.SX(1)])
            start = ca.MX.sym("start", plant.nx + plant.npar + plant.nx * horizon)
            p_all = ca.repmat(start[plant.nx : plant.nx + plant.npar], 1, horizon)
            pushed = ca.reshape(start[plant.nx + plant.npar :], plant.nx, horizon)
            X, U, ok = step.mapaccum("roll", horizon)(start[: plant.nx], p_all, pushed)
            functions.append(ca.Function(name, [start], [ca.vec(X), ca.vec(U), ca.vec(ok)]))
        self._rolls = [StackFunction(function, []) for function in compile_functions(functions)]

    def __call__(self, drawn: Scenarios, objective: Any) -> _Part:
        """Roll out some scenarios."""
        plant, N, count = self._plant, self._horizon, drawn.count
        w = drawn.w if drawn.w.size else np.zeros((count, N, plant.nx))
        start = np.hstack([drawn.x0, drawn.p, w.reshape(count, -1)])
        costs = np.zeros((count, 3))
        acted, escapes, where = np.zeros(count, dtype=int), 0, np.zeros((0, plant.nx))
        for k, roll in enumerate(self._rolls):
            X, U, ok = roll(start)
            X = np.concatenate([drawn.x0[:, None], X.reshape(count, N, plant.nx)], axis=1)
            if isinstance(objective, Quadratic):
                costs[:, k] = _cost(objective, X - plant.x_eq, U.reshape(count, N, plant.nu) - plant.u_eq)
            if k == 0:
                acts = ok.reshape(count, N) < 0.5
                acted, where = acts.sum(axis=1), X[:, :-1][acts]
                inside = self._guard.holds(X - plant.x_eq)
                escapes = int((inside[:, :-1] & ~inside[:, 1:]).sum())
        return _Part(acted, escapes, costs, where)


def _cost(objective: Quadratic, z: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the cost of each episode."""
    total = _weighed(objective.Q, z[:, :-1]) + _weighed(objective.R, v)
    if objective.P_N is not None:
        total = total + _weighed(objective.P_N, z[:, -1:])
    if objective.R_du is not None:
        total = total + _weighed(objective.R_du, np.diff(v, axis=1))
    return np.asarray(total / v.shape[1])


def _weighed(W: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.einsum("sti,ij,stj->s", z, np.diag(W) if W.ndim == 1 else W, z)
