"""The certificate of a policy: fresh random scenarios, a number fixed before, and what follows for all others."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.assurance.clopper_pearson import violation_bound
from scpo_ctrl.assurance.fresh import Fresh, declared_set
from scpo_ctrl.choices import BETA, EPSILON, MOST_SEED
from scpo_ctrl.errors import DomainError
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.progress import following
from scpo_ctrl.rounding import up
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.shown import Entries, Shown
from scpo_ctrl.validate import as_array, as_count, as_function, as_scalar
from scpo_ctrl.version import __version__

STREAM = 1 << 64  # added to the seed: keys of Philox that no run and no audit ever uses, whose seeds are smaller
SECTIONS = ("plant", "backup", "policy", "scenarios", "metrics")  # of a problem file, on which a violation depends

_MOST_ROLLOUTS = 10**9
_AT_ONCE = 1 << 13  # scenarios between two calls of the monitor
_MOST_VIOLATING = 1000  # numbers of scenarios kept
_CLOSEST = 10  # worst scenarios kept


@dataclass(frozen=True, repr=False)
class Certificate(Shown):
    """What fresh random scenarios have shown of one policy; the n of them was fixed before by ε and β.

    Attributes
    ----------
    passed : bool
        The exact bound (Clopper-Pearson) is at most ε.
    rollouts : int
        n: the least with which no violation proves ε at confidence 1 - β.
    violations : int
        Among them.
    epsilon : float
        ε, the probability that was to be shown.
    beta : float
        1 - β is the confidence.
    bound : float
        Of the probability of a violation at confidence 1 - β, from what was found.
    closest : tuple of (int, float)
        The worst scenarios: number, largest metric in `Problem.metric_units`.
    worst_metric : str
        Which metric the first of them is, in words.
    violating : tuple of int
        Numbers of violating scenarios, at most the first 1000.
    distribution : str
        That the scenarios were drawn from.
    seed : int
        Of the fresh scenarios.
    theta_digest : str
        SHA-256 of θ.
    problem_digest : str or None
        SHA-256 of the problem file's sections; None for a problem made in Python.
    version : str
        Of the package.

    Examples
    --------
    After the example of `adapt`:

    >>> print(sc.certify(problem, result.theta, epsilon=1e-2).sentence().split(",")[0])
    no violation in 1 375 fresh scenarios: at most 0.01 of them violate
    """

    passed: bool
    rollouts: int
    violations: int
    epsilon: float
    beta: float
    bound: float
    closest: tuple[tuple[int, float], ...]
    worst_metric: str
    violating: tuple[int, ...]
    distribution: str
    seed: int
    theta_digest: str
    problem_digest: str | None
    version: str = __version__

    def summary(self) -> dict[str, Any]:
        """Return the content of certificate.json.

        Returns
        -------
        dict
        """
        closest = [{"scenario": number, "metric": _finite(value)} for number, value in self.closest]
        return {
            "kind": "scenario",
            "passed": self.passed,
            "rollouts": self.rollouts,
            "violations": self.violations,
            "epsilon": self.epsilon,
            "beta": self.beta,
            "bound": self.bound,
            "worst": closest[0]["metric"],
            "worst_scenario": closest[0]["scenario"],
            "worst_metric": self.worst_metric,
            "closest": closest,
            "violating": list(self.violating),
            "distribution": self.distribution,
            "seed": self.seed,
            "theta_digest": self.theta_digest,
            "problem_digest": self.problem_digest,
            "version": self.version,
        }

    def text(self) -> str:
        """Return certificate.json; equal for the same policy, problem, ε, β and seed.

        Returns
        -------
        str
        """
        return json.dumps(self.summary(), indent=2, allow_nan=False) + "\n"

    def sentence(self) -> str:
        """Return in words what was shown, for which distribution, and no more.

        Returns
        -------
        str
        """
        found = "no violation" if not self.violations else _plural(self.violations, "violation")
        sure, of = f"confidence 1 - {self.beta:g}", f"for the distribution: {self.distribution}"
        count = f"{self.rollouts:,}".replace(",", " ")
        if self.passed:
            return f"{found} in {count} fresh scenarios: at most {self.epsilon:g} of them violate, at {sure}, {of}"
        return f"{found} in {count} fresh scenarios: up to {up(self.bound)} of them violate, at {sure}, {of}"

    def _shown(self) -> tuple[str, Entries]:
        return "passed" if self.passed else "not passed", [("shown", self.sentence()), ("closest", self.worst_metric)]


def certify(
    problem: ControlProblem,
    theta: ArrayLike,
    *,
    epsilon: float = EPSILON,
    beta: float = BETA,
    seed: int | None = None,
    monitor: Callable[[int, int], object] | None = None,
    progress: bool | None = None,
) -> Certificate:
    """Roll out a policy over fresh random scenarios of its declared set, and state what follows for all others.

    The number of scenarios is fixed before the first one is rolled out: the least n for which no violation would prove
    at confidence 1 - β that at most ε of all scenarios violate, `rollouts_needed`. All n are rolled out whatever they
    show. Whoever tries one policy after the other until one passes, on seeds of their own choice, proves less.

    Parameters
    ----------
    problem : ControlProblem
        That names a declared set, as `scenarios` and problem files do; a black box too.
    theta : array_like, shape (d,)
        The policy.
    epsilon : float
        Part of the scenarios that may violate, in (0, 1).
    beta : float
        1 - confidence, in (0, 1).
    seed : int, optional
        Of the scenarios, below 2**53. By default it follows from θ and the problem, so that nobody picks a lucky one by
        accident. Scenarios of certificates are never those of a run or an audit, whatever the seeds.
    monitor : callable, optional
        Called with the number of rollouts done and that of all.
    progress : bool, optional
        Show a line on stderr that follows it, as `adapt` does.

    Returns
    -------
    Certificate

    Raises
    ------
    DomainError
        If ε or β is outside (0, 1) or takes too many rollouts, or the problem names no declared set.
    EvaluationError
        If a black box fails.

    Examples
    --------
    After the example of `adapt`:

    >>> certificate = sc.certify(problem, result.theta, epsilon=1e-2)
    >>> certificate.passed, certificate.rollouts
    (True, 1375)
    """
    as_instance("problem", problem, ControlProblem)
    theta = as_array("theta", theta, (problem.theta_dim,))
    epsilon, beta = as_scalar("epsilon", epsilon), as_scalar("beta", beta)
    if monitor is not None:
        as_function("monitor", monitor)
    n, declared = rollouts_needed(epsilon, beta), declared_set(problem)
    of_theta, of_problem = theta_digest(theta), problem_digest(problem)
    seed = _own_seed(of_theta, of_problem) if seed is None else as_count("seed", seed, at_most=MOST_SEED)
    violations, violating = 0, np.zeros(0, dtype=np.int64)
    numbers, values, rows = np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64)
    with following("certify", "rollouts", progress, monitor) as follow:
        for first in range(0, n, _AT_ONCE):
            found = Fresh.drawn(problem, theta, first, min(_AT_ONCE, n - first), STREAM + seed)
            broken = first + np.flatnonzero(found.violates)
            violations += broken.size
            violating = np.append(violating, broken)[:_MOST_VIOLATING]
            numbers = np.append(numbers, first + np.arange(found.worst.size))
            values, rows = np.append(values, found.worst), np.append(rows, found.row)
            kept = np.argsort(-values, kind="stable")[:_CLOSEST]  # of equal ones the first
            numbers, values, rows = numbers[kept], values[kept], rows[kept]
            follow(min(first + _AT_ONCE, n), n)
    bound = violation_bound(violations, n, beta)
    return Certificate(
        passed=bound <= epsilon,
        rollouts=n,
        violations=violations,
        epsilon=float(epsilon),
        beta=float(beta),
        bound=bound,
        closest=tuple((int(number), float(value)) for number, value in zip(numbers, values, strict=True)),
        worst_metric=problem.fresh.rows[int(rows[0])].in_words,
        violating=tuple(violating.tolist()),
        distribution=declared.distribution,
        seed=seed,
        theta_digest=of_theta,
        problem_digest=of_problem,
    )


def rollouts_needed(epsilon: float, beta: float) -> int:
    """Return the least n for which no violation in n scenarios proves ε at confidence 1 - β: (1 - ε)ⁿ ≤ β.

    Parameters
    ----------
    epsilon, beta : float
        In (0, 1).

    Returns
    -------
    int

    Raises
    ------
    DomainError
        If one is outside (0, 1), or n is more than 10⁹.
    """
    epsilon, beta = (as_scalar(*given, above=0.0) for given in (("epsilon", epsilon), ("beta", beta)))
    for name, value in (("epsilon", epsilon), ("beta", beta)):
        if value >= 1:
            raise DomainError(f"{name} is {value:g}, expected a number in (0, 1)")
    least = math.log(beta) / math.log1p(-epsilon)
    if least > _MOST_ROLLOUTS:
        raise DomainError(
            f"epsilon = {epsilon:g} at beta = {beta:g} takes {least:.3g} rollouts, more than {_MOST_ROLLOUTS:.0e}; "
            "choose a larger epsilon"
        )
    n = max(1, math.ceil(least))
    while violation_bound(0, n, beta) > epsilon:  # where rounding decides
        n += 1
    return n


def theta_digest(theta: np.ndarray) -> str:
    """Return the SHA-256 of parameters, as float64 with the low byte first.

    Parameters
    ----------
    theta : numpy.ndarray, shape (d,)

    Returns
    -------
    str
    """
    return hashlib.sha256(np.ascontiguousarray(theta, dtype="<f8").tobytes()).hexdigest()


def problem_digest(problem: ControlProblem) -> str | None:
    """Return the SHA-256 of what decides on a violation: sections of the problem file, every default filled in.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    str or None
        None where no problem file describes it, or a black box is in the plant's place.
    """
    if problem.tables is None or problem.has_simulator:
        return None
    sections = {name: dict(problem.tables[name]) for name in SECTIONS if name in problem.tables}
    sections["scenarios"].pop("learned", None)  # the name of a file, whose digest is beside it
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()


def _own_seed(of_theta: str, of_problem: str | None) -> int:
    """Return a seed that follows from policy and problem."""
    return int(hashlib.sha256(f"{of_theta} {of_problem}".encode()).hexdigest(), 16) & MOST_SEED


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
