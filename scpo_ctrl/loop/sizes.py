"""Sizes that a run can bear, estimated from the numbers alone before anything of that size is made."""

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown

MOST_NUMBERS = 10_000_000  # in the trajectories of all scenarios
MOST_METRICS = 15_000_000  # a step holds tens of numbers of each
MOST_OPERATIONS = 1e12  # of sampling all gradients once, minutes of a core
_MOST_SAMPLED = 300  # directions of a step: with more parameters it is sampled along fewer of them
_SOLVED = 1  # products of matrices that three Newton steps to the place of rest are worth
MOST_PARAMETERS = 100_000  # of a policy
MOST_LAYERS = 64  # each is code of its own
MOST_ROWS = 1_000_000  # of imitation data
MOST_COLUMNS = 10_000  # of states or inputs there
MOST_DOTS = 64  # in a key of a problem file


def check_rollouts(count: int, horizon: int, nx: int, nu: int, theta_dim: int = 0) -> None:
    """Refuse scenarios whose trajectories, metrics or work are beyond what a run can bear.

    Parameters
    ----------
    count, horizon : int
        Scenarios, and steps of each.
    nx, nu : int
        States and inputs.
    theta_dim : int
        Parameters of the policy; work is not estimated where 0.

    Raises
    ------
    DomainError
        With the number estimated.
    """
    what = f"count = {shown(count)} scenarios over horizon = {shown(horizon)} steps are"
    numbers = count * (horizon + 1) * (nx + nu)
    if numbers > MOST_NUMBERS:
        raise DomainError(f"{what} {shown(numbers)} numbers a rollout, more than {MOST_NUMBERS}; lower one of them")
    metrics = 2 * numbers  # two bounds of each number
    if metrics > MOST_METRICS:
        raise DomainError(f"{what} up to {shown(metrics)} safety metrics, more than {MOST_METRICS}; lower one of them")
    operations = float(count) * _operations(horizon, nx, nu, theta_dim)
    if theta_dim and operations > MOST_OPERATIONS:
        raise DomainError(
            f"{what} about {operations:.2g} operations a step with {theta_dim} parameters, more than "
            f"{MOST_OPERATIONS:.0e}; lower one of them, or the widths in hidden"
        )


def most_rollouts(horizon: int, nx: int, nu: int, theta_dim: int) -> int:
    """Return how many scenarios `check_rollouts` lets pass at once, one at least.

    Parameters
    ----------
    horizon, nx, nu, theta_dim : int
        As of `check_rollouts`.

    Returns
    -------
    int
    """
    numbers = max(1, (horizon + 1) * (nx + nu))
    work = _operations(horizon, nx, nu, theta_dim)
    by_work = int(MOST_OPERATIONS / work) if theta_dim and work else MOST_NUMBERS
    return max(1, min(MOST_NUMBERS // numbers, MOST_METRICS // (2 * numbers), by_work))


def _operations(horizon: int, nx: int, nu: int, theta_dim: int) -> int:
    """Return about how many operations sampling the gradients of one scenario takes."""
    return horizon * (min(theta_dim, _MOST_SAMPLED) + 1) * (4 * theta_dim + 2 * nx * (nx + nu))


def check_metrics(count: int, rows: int) -> None:
    """Refuse more metrics than a run can bear.

    Parameters
    ----------
    count, rows : int
        Scenarios, and metrics of each.

    Raises
    ------
    DomainError
        With the number found.
    """
    if count * rows > MOST_METRICS:
        raise DomainError(
            f"count = {count} scenarios with {rows} safety metrics each are {count * rows}, more than {MOST_METRICS}; "
            "lower count or horizon, or leave constraints out"
        )


def check_stability(nx: int, count: int, theta_dim: int, doublings: int = 0) -> None:
    """Refuse metrics of local stability whose matrices are more work than a run can bear.

    Parameters
    ----------
    nx, count : int
        States, and metrics: corners of the parameter ranges.
    theta_dim : int
        Parameters of the policy, along each of which a step samples the metrics.
    doublings : int
        How often the loop's matrix is squared.

    Raises
    ------
    DomainError
        With the number estimated.
    """
    products = doublings + _SOLVED + 2  # two into the norm of P
    operations = 2.0 * count * (theta_dim + 1) * 2 * products * float(nx) ** 3
    if operations > MOST_OPERATIONS:
        raise DomainError(
            f"local stability of {nx} states with {theta_dim} parameters takes about {operations:.2g} operations a "
            f"step, more than {MOST_OPERATIONS:.0e}; lower the widths in hidden, or set stability = false"
        )


def check_policy(hidden: tuple[int, ...], theta_dim: int) -> None:
    """Refuse a network that is too deep to compile or too large to adapt.

    Parameters
    ----------
    hidden : tuple of int
        Widths of its layers.
    theta_dim : int
        Number of parameters.

    Raises
    ------
    DomainError
        With the number found.
    """
    if len(hidden) > MOST_LAYERS:
        raise DomainError(f"hidden has {len(hidden)} layers, more than {MOST_LAYERS}; give fewer, wider ones")
    if theta_dim > MOST_PARAMETERS:
        raise DomainError(f"hidden gives {theta_dim} parameters, more than {MOST_PARAMETERS}; make it smaller")
