"""What an export has of a policy in integers: its numbers, how far it is off, and vectors to be replayed."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.codegen.fixed_bound import error_bound, error_within
from scpo_ctrl.codegen.fixed_law import TABLE, FixedLaw
from scpo_ctrl.codegen.fixed_margin import in_integers, metrics_under
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.problem.control_problem import ControlProblem

VECTORS = 200
_ENDS = (-(2**31), 2**31 - 1, 0)  # counts that a range need not hold
_ROOM = 2.0  # between the exported parameters and those that the second bound is for


@dataclass(frozen=True, kw_only=True)
class FixedCode:
    """A policy in integers in the words of its C."""

    law: FixedLaw
    weights: np.ndarray  # of all rows, one behind the other
    shifts: np.ndarray
    at_zero: np.ndarray
    error: np.ndarray  # (nu,) proved bound on what inputs are off [u_units], at the exported parameters
    limit: float  # no |θ_k| is larger where the next bound holds
    error_within: np.ndarray  # (nu,) [u_units]
    margin: float  # -max g of the loop in integers, local stability not among them
    change: float  # largest change of a metric beside the same loop in double
    x: np.ndarray  # (VECTORS, nx) counts
    u: np.ndarray  # (VECTORS, nu) the inputs they give, in counts

    @property
    def low(self) -> np.ndarray:
        """Smallest states of the ranges [x_units]."""
        return self.law.states(self.law.low)

    @property
    def high(self) -> np.ndarray:
        """Largest states of the ranges [x_units]."""
        return self.law.states(self.law.high)

    @property
    def table(self) -> np.ndarray:
        """The table of tanh."""
        return TABLE


def fixed_code(result: Result, theta: np.ndarray, law: FixedLaw) -> FixedCode:
    """Prepare the exported parameters, bound what their inputs are off, and roll out the loop in integers.

    Parameters
    ----------
    result : Result
        Of a `ControlProblem` with a residual policy.
    theta : numpy.ndarray, shape (d,)
        The exported parameters, as rounded.
    law : FixedLaw

    Returns
    -------
    FixedCode

    Raises
    ------
    DomainError
        If parameters are too large.
    """
    problem = result.everywhere
    assert isinstance(problem, ControlProblem) and isinstance(problem.policy, Policy)
    policy = problem.policy
    parameters = law.prepared(theta)
    limit = 2.0 ** np.ceil(np.log2(max(_ROOM * np.abs(theta).max(), 1.0)))
    metrics = metrics_under(problem, in_integers(law, parameters))
    exact = metrics_under(problem, lambda x: policy.commands(x[None], theta[None])[0])
    x = _states(law)
    return FixedCode(
        law=law,
        weights=np.concatenate([rows.ravel() for rows in parameters.rows]),
        shifts=np.concatenate(parameters.shifts),
        at_zero=np.append(parameters.at_zero, 0),
        error=error_bound(law, policy, theta, parameters),
        limit=float(limit),
        error_within=error_within(law, policy, float(limit)),
        margin=margin_of(metrics),
        change=float(np.abs(metrics - exact).max(initial=0.0)),
        x=x,
        u=law.control(parameters, x),
    )


def _states(law: FixedLaw) -> np.ndarray:
    """Draw counts inside the ranges and, a quarter of them, any others."""
    rng = np.random.default_rng(20251213)
    size = (VECTORS, len(law.low))
    inside = rng.integers(law.low, law.high + 1, size)
    others = rng.choice([*_ENDS, *law.low.tolist(), *law.high.tolist()], size)
    return np.where(rng.uniform(size=size) < 0.75, inside, others)
