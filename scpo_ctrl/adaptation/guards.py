"""The guards that S of (E12) begins with: edges of the declared set, on which the safe start is safe. See `audited`."""

import dataclasses

import numpy as np

from scpo_ctrl.adaptation.history import AuditRow
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.assurance.audit import Audit, audit
from scpo_ctrl.assurance.fresh import Fresh, declared_set
from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.loop.declared import DeclaredSet
from scpo_ctrl.models.varying import first_varying, seeds
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.guarded import GuardedProblem
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.problem.remedy import remedy
from scpo_ctrl.rounding import down, up
from scpo_ctrl.shown import with_unit

OF_MODEL, OF_BOX = 100_000, 5_000  # fresh scenarios of a full audit
_BETWEEN = 10  # audits between have this part of them, and a full one begins with it
_EDGES = 0xED6E  # stream of seeds of the first guards; audits have streams 0, 1, …
_BISECTIONS, _SMALLER, _LEAST = 8, 0.9, 0.01  # of a search for a set that passes, in parts of the declared one


def is_audited(problem: Problem, options: AdaptOptions) -> bool:
    """Return whether a run audits what it commits: asked for, verified on rollouts, and a set is declared.

    Parameters
    ----------
    problem : Problem
    options : AdaptOptions

    Returns
    -------
    bool
    """
    if not (options.audit and options.mode == "verified" and isinstance(problem, ControlProblem)):
        return False
    declared = problem.scenarios.declared
    return declared is not None and declared.has_interior


def guarded(problem: ControlProblem, options: AdaptOptions) -> tuple[GuardedProblem, AuditRow]:
    """Return the problem on S as it is at first, after an audit of the safe start.

    Parameters
    ----------
    problem : ControlProblem
        That names a declared set.
    options : AdaptOptions

    Returns
    -------
    problem : GuardedProblem
    row : AuditRow
        Of the audit, which passed.

    Raises
    ------
    UnsafeStartError
        If it failed: the declared set is larger than the backup holds.
    """
    theta, count = problem.theta_initial, fresh_scenarios(problem, options, full=True)
    found = audit(problem, theta, rollouts=count, seed=audit_seed(options.seed, 0), progress=False)
    check_start(problem, found, options)
    problem_on_edges = GuardedProblem(
        problem, declared_set(problem).edge(options.guards, audit_seed(options.seed, _EDGES)), options.back_off
    )
    return problem_on_edges, audit_row(found, step=0, policy=-1, back=-1, full=True, guards=options.guards)


def audit_row(found: Audit, *, step: int, policy: int, back: int, full: bool, guards: int) -> AuditRow:
    """Return the row of an audit; see `AuditRow`.

    Parameters
    ----------
    found : Audit
    step, policy, back, guards : int
    full : bool

    Returns
    -------
    AuditRow
    """
    return AuditRow(
        step=step,
        policy=policy,
        full=int(full),
        rollouts=found.rollouts,
        violations=found.violations,
        found=found.counterexamples.count,
        worst=found.worst,
        objective=found.objective,
        back=back,
        guards=guards,
    )


def fresh_scenarios(problem: ControlProblem, options: AdaptOptions, *, full: bool) -> int:
    """Return how many fresh scenarios an audit draws.

    Parameters
    ----------
    problem : ControlProblem
    options : AdaptOptions
    full : bool
        Whether it may end a run.

    Returns
    -------
    int
    """
    most = options.audit_rollouts
    if most is None:
        most = OF_BOX if problem.has_simulator else OF_MODEL
    return most if full else max(1, most // _BETWEEN)


def audit_seed(seed: int, number: int) -> int:
    """Return the seed of an audit's scenarios: those of two audits, or of two runs, have nothing to do with each other.

    Parameters
    ----------
    seed : int
        Of the run.
    number : int
        Of the audit, from 0.

    Returns
    -------
    int
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(2))


def check_start(problem: ControlProblem, found: Audit, options: AdaptOptions) -> None:
    """Check that the safe start is safe where an audit found that a policy is not.

    Parameters
    ----------
    problem : ControlProblem
    found : Audit
    options : AdaptOptions

    Raises
    ------
    UnsafeStartError
        If it is not: the declared set is larger than the backup holds. The message names the worst point, and how
        large a set passes.
    """
    if found.passed:
        return
    theta, batch = problem.theta_initial, found.counterexamples
    at_start = Fresh.of(problem, theta, batch)
    if not at_start.violations:
        return
    first = int(at_start.worst.argmax())
    batch, row = batch.part(slice(first, first + 1)), int(at_start.row[first])
    there = problem.with_scenarios(batch, theta)
    metric, plant = there.fresh.rows[row], problem.plant
    excess = with_unit(up(at_start.worst[first] * there.fresh.units[row]), metric.unit)
    told = np.setdiff1d(np.arange(first_varying(plant)), seeds(plant))
    point = ", ".join(
        f"{labels[i]} {values[i]:.4g} {units[i]}".rstrip()
        for labels, values, units, which in (
            (plant.x_labels, batch.x0[0], plant.x_units, range(plant.nx)),
            (plant.p_labels, batch.p[0], plant.p_units, told),
        )
        for i in which
    )
    raise UnsafeStartError(
        f"the declared set is larger than the backup holds: from {point} the safe start violates {metric.label}, by "
        f"{excess}; {_largest(problem, options)}; {remedy(there, 0, row)}; or adapt "
        "on the scenarios alone, audit = false"
    )


def _largest(problem: ControlProblem, options: AdaptOptions) -> str:
    """Say how large a set of the same shape passes: bisected by small audits, and confirmed by a full one."""
    declared = declared_set(problem)
    if declared.box is None and declared.size == 0:
        return "narrow the ranges"
    is_level = declared.box is None and len(declared.centres) == 1
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _passes(problem, options, middle, full=False) else (low, middle)
    while low > 0:
        shown = float(down((declared.size * low) ** 2 if is_level else low, 2))
        if _passes(problem, options, np.sqrt(shown) / declared.size if is_level else shown, full=True):
            return f"level = {shown:g} passes" if is_level else f"a set {shown:g} times as wide passes"
        low = _SMALLER * low if low > _LEAST else 0.0
    return "no smaller set of the same shape passes"


def _passes(problem: ControlProblem, options: AdaptOptions, part: float, *, full: bool) -> bool:
    """Return whether the safe start passes an audit of the declared set made smaller."""
    batch = dataclasses.replace(problem.scenarios, declared=_shrunk(declared_set(problem), part))
    smaller, count = problem.with_scenarios(batch, problem.theta_initial), fresh_scenarios(problem, options, full=full)
    return audit(
        smaller, problem.theta_initial, rollouts=count, seed=audit_seed(options.seed, 0), progress=False
    ).passed


def _shrunk(declared: DeclaredSet, part: float) -> DeclaredSet:
    if declared.box is None:
        return dataclasses.replace(declared, size=part * declared.size)
    middle = declared.box.mean(axis=0)
    return dataclasses.replace(declared, box=middle + part * (declared.box - middle))
