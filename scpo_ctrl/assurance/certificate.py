"""The certificate of a policy: fresh random scenarios, a number fixed before, and what follows for all others."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import ArrayLike

from scpo_ctrl.assurance.clopper_pearson import violation_bound
from scpo_ctrl.assurance.digests import problem_digest, theta_digest
from scpo_ctrl.assurance.elsewhere import Problems, spread_over
from scpo_ctrl.assurance.fresh import declared_set
from scpo_ctrl.assurance.tally import Tally, Tallying, tallies
from scpo_ctrl.choices import BETA, EPSILON, MOST_SEED
from scpo_ctrl.errors import DomainError
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.progress import following
from scpo_ctrl.rounding import up
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.shown import Entries, Shown
from scpo_ctrl.text import noun_of
from scpo_ctrl.validate import as_array, as_count, as_flag, as_function, as_scalar
from scpo_ctrl.version import __version__
from scpo_ctrl.workers import Spread

STREAM = 1 << 64  # added to the seed: keys of Philox that no run and no audit ever uses, whose seeds are smaller

_MOST_ROLLOUTS = 10**9
_PART, _MOST_PARTS = 1 << 17, 1000  # scenarios of a part, twice as many until there are no more parts than this


@dataclass(frozen=True)
class Part:
    """What a part of the scenarios has shown."""

    first: int  # number of its first scenario
    rollouts: int
    violations: int
    worst: float  # largest metric
    worst_scenario: int  # its number


@dataclass(frozen=True, repr=False)
class Certificate(Shown):
    """What fresh random scenarios have shown of one policy; the most of them was fixed before by ε and β.

    Attributes
    ----------
    passed : bool
        The exact bound (Clopper-Pearson) is at most ε.
    planned : int
        n: the least with which no violation proves ε at confidence 1 - β.
    rollouts : int
        n, or fewer where `certify` stopped at the first violation.
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
    parts : tuple of Part
        What equal parts of the scenarios have shown, one after the other, each of which can be drawn again.
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
    planned: int
    rollouts: int
    violations: int
    epsilon: float
    beta: float
    bound: float
    closest: tuple[tuple[int, float], ...]
    worst_metric: str
    violating: tuple[int, ...]
    parts: tuple[Part, ...]
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
            "planned": self.planned,
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
            "parts": [asdict(part) | {"worst": _finite(part.worst)} for part in self.parts],
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
        among = f"{found} in {_spaced(self.rollouts)} {noun_of(self.rollouts, 'fresh scenario')}"
        if self.rollouts < self.planned:
            among += f", the last of which ended the rest of {_spaced(self.planned)}"
        if self.passed:
            return f"{among}: at most {self.epsilon:g} of them violate, at {sure}, {of}"
        return f"{among}: up to {up(self.bound)} of them violate, at {sure}, {of}"

    def _shown(self) -> tuple[str, Entries]:
        return "passed" if self.passed else "not passed", [("shown", self.sentence()), ("closest", self.worst_metric)]


def certify(
    problem: ControlProblem,
    theta: ArrayLike,
    *,
    epsilon: float = EPSILON,
    beta: float = BETA,
    seed: int | None = None,
    stop_early: bool = False,
    workers: int | Spread = 0,
    problems: Problems | None = None,
    monitor: Callable[[int, int], object] | None = None,
    progress: bool | None = None,
) -> Certificate:
    """Roll out a policy over fresh random scenarios of its declared set, and state what follows for all others.

    The number of scenarios is fixed before the first one is rolled out: the least n for which no violation would prove
    at confidence 1 - β that at most ε of all scenarios violate, `rollouts_needed`. All n are rolled out whatever they
    show, but where `stop_early` ends them at the first violation, with which no certificate passes. Whoever tries one
    policy after the other until one passes, on seeds of their own choice, proves less.

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
    stop_early : bool
        Stop at the first violation, by number: the certificate does not pass, whatever would follow.
    workers : int or Spread
        Other processes that roll out, each on a thread of its own; 0 for this process with all its threads; or what
        `campaign.anywhere.on_schedulers` makes of Dask's. The certificate is the same whatever they are.
    problems : callable, optional
        Makes the problem in a worker, such as ``functools.partial(load_problem, "problem.toml")``: a function of a
        module, with its arguments.
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
    WorkerError
        If workers cannot be started, make another problem, or die three times at the same part.

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
    spread = spread_over(workers, problems)
    tallying, size = Tallying(problem, theta, STREAM + seed), _part_size(n)
    stop_early, total, parts = as_flag("stop_early", stop_early), Tally.none(), [Tally.none()]
    with (
        following("certify", "rollouts", progress, monitor) as follow,
        closing(tallies(spread, tallying, problems, n, size)) as found,
    ):
        for (first, _), whole in found:
            stops = stop_early and whole.violations > 0
            tally = tallying((first, int(whole.violating[0]) + 1 - first)) if stops else whole
            total, parts[-1] = total + tally, parts[-1] + tally
            follow(total.rollouts, n)
            if stops:
                break
            if parts[-1].rollouts == size and total.rollouts < n:
                parts.append(Tally.none())
    bound = violation_bound(total.violations, total.rollouts, beta)
    return Certificate(
        passed=bound <= epsilon,
        planned=n,
        rollouts=total.rollouts,
        violations=total.violations,
        epsilon=float(epsilon),
        beta=float(beta),
        bound=bound,
        closest=tuple((int(number), float(value)) for number, value, _ in total.closest),
        worst_metric=problem.fresh.rows[int(total.closest[0, 2])].in_words,
        violating=tuple(total.violating.tolist()),
        parts=tuple(_part(k * size, tally) for k, tally in enumerate(parts)),
        distribution=declared.distribution,
        seed=seed,
        theta_digest=of_theta,
        problem_digest=of_problem,
    )


def _part_size(n: int) -> int:
    """Return how many scenarios a part has, whoever rolls them out."""
    size = _PART
    while size * _MOST_PARTS < n:
        size *= 2
    return size


def _part(first: int, tally: Tally) -> Part:
    number, value, _ = tally.closest[0]
    return Part(first, tally.rollouts, tally.violations, float(value), int(number))


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


def _own_seed(of_theta: str, of_problem: str | None) -> int:
    """Return a seed that follows from policy and problem."""
    return int(hashlib.sha256(f"{of_theta} {of_problem}".encode()).hexdigest(), 16) & MOST_SEED


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _spaced(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
