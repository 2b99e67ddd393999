"""The paper's two experiments as the methods see them: R1 and R2 for a seed, a budget, and the errors to report."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import r1_regression
import r2_malicious_expert

from scpo_ctrl import Problem

Errors = Callable[[np.ndarray], tuple[float, float]]  # of one θ: on the clean or good half, on the other


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is run, how long, and how its numbers are called."""

    title: str
    budget: int  # rollouts
    build: Callable[[int], tuple[Problem, Errors]]  # by seed
    halves: tuple[str, str]
    objective: str
    rollouts: str  # what one of them is
    declares_set: bool = False  # of scenarios that a policy may be audited on


def build_r1(seed: int) -> tuple[Problem, Errors]:
    """Return R1: the seed draws inputs, noise, which targets are replaced, and the network's hidden layers.

    Parameters
    ----------
    seed : int

    Returns
    -------
    problem : Problem
    errors : callable
        Mean squared error against the clean target within the bounds, on the grid points x ≤ 0 and x > 0.
    """
    grid = r1_regression.GRID
    target = np.clip(1.5 * np.sin(grid), r1_regression.LOWER, r1_regression.UPPER)

    def errors(theta: np.ndarray) -> tuple[float, float]:
        squares = (r1_regression.evaluate(theta[None], grid)[0] - target) ** 2
        return float(squares[grid <= 0].mean()), float(squares[grid > 0].mean())

    return r1_regression.make_problem(r1_regression.make_data(seed), seed), errors


def build_r2(seed: int) -> tuple[Problem, Errors]:
    """Return R2: the seed draws the expert's states and the network's hidden layer.

    Parameters
    ----------
    seed : int

    Returns
    -------
    problem : Problem
    errors : callable
        Mean squared error of the command against the expert's, at positions ≥ 0 and < 0.
    """
    problem, data = r2_malicious_expert.make_problem(seed, stability=False)  # as in the paper

    def errors(theta: np.ndarray) -> tuple[float, float]:
        good, malicious = r2_malicious_expert.half_errors(problem, data, theta[None])
        return float(good[0]), float(malicious[0])

    return problem, errors


EXPERIMENTS = {
    "r1": Experiment(
        title="R1, regression with harmful supervision",
        budget=60_000,
        build=build_r1,
        halves=("clean half", "sabotaged half"),
        objective="training loss, squared error",
        rollouts="evaluations of the metrics",
    ),
    "r2": Experiment(
        title="R2, malicious expert",
        budget=250_000,
        build=build_r2,
        halves=("good half", "malicious half"),
        objective="imitation error [(m/s²)²]",
        rollouts="closed-loop rollouts",
        declares_set=True,
    ),
}
