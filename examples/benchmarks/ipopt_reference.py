"""What is achievable: IPOPT on the same policy class, scenarios and metrics, from many starts.

The nonlinear program min ℓ(θ) s.t. g(θ) ≤ 0 (E1), transcribed by multiple shooting. Nothing here keeps the iterates
safe; the answer shows how much of what is possible the safe way reaches. The parameters of every iterate are rolled out
by the package itself, and the best ones that keep all metrics count, whether IPOPT converged or ran out of time.

    python examples/benchmarks/ipopt_reference.py [--starts N] [--policy mlp|linear] [--seconds S]
"""

import argparse
import importlib.resources
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import casadi as ca
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from multiple_shooting import MultipleShooting

from scpo_ctrl import AdaptOptions, ControlProblem, Policy, adapt, load_problem

ADAPTED = "adapted"  # name of the start where the safe way ended
TOLERANCE = 1e-8  # largest metric of a point that counts as feasible
_OPTIONS = {
    "mu_strategy": "monotone",
    "mu_init": 1e-4,  # relative to the objective, as the barrier of `adapt` at its start
    "bound_push": 1e-5,
    "bound_frac": 1e-5,  # starts next to bounds stay there
    "tol": 1e-6,
    "constr_viol_tol": 1e-10,
    "acceptable_iter": 0,
    "bound_relax_factor": 0.0,
    "linear_solver": "mumps",
    "print_level": 0,
    "sb": "yes",
}


@dataclass(frozen=True)
class Optimum:
    """What IPOPT found from one start."""

    start: str  # its name
    theta: np.ndarray  # (d,) of least objective among the feasible iterates; the last one if none was
    objective: float  # ℓ(θ), of the saturated loop that the package rolls out
    violation: float  # max(0, max_i g_i(θ)), likewise
    iterations: int
    seconds: float
    status: str  # IPOPT's return status

    @property
    def feasible(self) -> bool:
        """Whether every metric holds, up to `TOLERANCE`."""
        return self.violation <= TOLERANCE


def optimise(
    problem: ControlProblem,
    starts: Iterable[tuple[str, np.ndarray]],
    *,
    iterations: int = 10_000,
    seconds: float = 1e6,
) -> Iterator[Optimum]:
    """Solve a control problem by IPOPT from every start, one after the other.

    Parameters
    ----------
    problem : ControlProblem
        With the quadratic objective, and metrics that bound the command; see `MultipleShooting`.
    starts : iterable of (str, numpy.ndarray of shape (d,))
        Names and parameters; they need not be safe.
    iterations : int
        Of one start, at most.
    seconds : float
        Likewise.

    Yields
    ------
    Optimum
        In the order of the starts.

    Raises
    ------
    DomainError
        If the objective is not quadratic, or the command is not bounded by metrics.
    """
    program = MultipleShooting(problem)
    limits = {"max_iter": iterations, "max_wall_time": seconds}
    for name, start in starts:
        began = time.perf_counter()
        judge = _Judge(program)
        solver = program.solver(_OPTIONS | limits, judge)
        solver(x0=program.start(start), **program.bounds())
        stats = solver.stats()
        taken = time.perf_counter() - began
        yield Optimum(name, judge.theta, *judge.reached, stats["iter_count"], taken, stats["return_status"])


def best(optima: Sequence[Optimum]) -> Optimum:
    """Return the feasible optimum of least objective.

    Raises
    ------
    ValueError
        If no start led to a feasible point.
    """
    feasible = [optimum for optimum in optima if optimum.feasible and np.isfinite(optimum.objective)]
    if not feasible:
        raise ValueError("IPOPT ended at no feasible point; give it more starts or iterations")
    return min(feasible, key=lambda optimum: optimum.objective)


def random_starts(problem: ControlProblem, count: int, *, seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """Return starts with a small random residual: hidden layers as the package draws them, the output layer not zero.

    Parameters
    ----------
    problem : ControlProblem
    count : int
    seed : int
        Of the first start; the others follow.

    Returns
    -------
    list of (str, numpy.ndarray of shape (d,))
    """
    policy = problem.policy
    if policy.hidden:  # tanh is at most one: mostly within two hundredths of the input range
        spread = 0.002 * (policy.plant.u_max - policy.plant.u_min)
    else:  # a third of the backup's largest gain
        spread = np.abs(policy.backup.K).max(axis=1) / 3
    starts = []
    for k in range(seed, seed + count):
        theta = policy.theta_initial(k)
        width = policy.widths[-2]
        rng = np.random.default_rng([k, 1])
        theta[theta.size - width * policy.plant.nu :] = np.repeat(spread, width) * rng.normal(size=spread.size * width)
        starts.append((f"random {k}", theta))
    return starts


class _Judge(ca.Callback):
    """Rolls out the parameters of every iterate and keeps the best."""

    def __init__(self, program: MultipleShooting) -> None:
        ca.Callback.__init__(self)
        self.problem = program.problem
        self.sizes = {"x": program.size, "lam_x": program.size, "f": 1}
        self.sizes |= dict.fromkeys(("g", "lam_g"), program.constraints.numel())
        self.theta, self.reached = np.zeros(program.d), (np.inf, np.inf)  # ℓ(θ) and the violation
        self.construct("judge", {})

    def get_n_in(self) -> int:
        """Return how many numbers and vectors a solver tells."""
        return int(ca.nlpsol_n_out())

    def get_n_out(self) -> int:
        """Return the number of outputs."""
        return 1

    def get_sparsity_in(self, index: int) -> ca.Sparsity:
        """Return the shape of an input."""
        return ca.Sparsity.dense(self.sizes.get(ca.nlpsol_out(index), 0), 1)

    def eval(self, arguments: Sequence[ca.DM]) -> list[int]:
        """Judge an iterate; 0 lets the solver go on."""
        theta = np.array(arguments[0])[: self.theta.size, 0]
        objective, g = self.problem.evaluate(theta)
        violation = float(np.nan_to_num(max(0.0, g.max()), nan=np.inf))
        if self.reached[1] > TOLERANCE or (violation <= TOLERANCE and objective < self.reached[0]):
            self.theta, self.reached = theta, (objective, violation)
        return [0]


def main(argv: Sequence[str] | None = None) -> None:
    """Print what IPOPT reaches on R3 from the adapted policy and from random starts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=8, help="random ones, beside the adapted policy (%(default)s)")
    parser.add_argument("--policy", choices=("mlp", "linear"), default="mlp", help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1e6, help="of a start, at most (default: no limit)")
    options = parser.parse_args(argv)
    problem = load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml"))
    if options.policy == "linear":
        policy = Policy(problem.plant, problem.backup)
        problem = ControlProblem(policy, problem.scenarios, problem.objective_data, problem.scenario_metrics.options)
    adapted = adapt(problem, AdaptOptions(steps=400, audit=False)).theta
    starts = [(ADAPTED, adapted), *random_starts(problem, options.starts)]
    print_optima(problem, optimise(problem, starts, seconds=options.seconds))


def print_optima(problem: ControlProblem, optima: Iterable[Optimum]) -> list[Optimum]:
    """Print a line for each start as it ends, then the best; return them all."""
    print(f"{'start':12s} {'objective':>11s} {'violation':>9s} {'iterations':>10s} {'seconds':>8s}  status")
    ended = []
    for optimum in optima:
        numbers = f"{optimum.objective:11.6f} {optimum.violation:9.1e} {optimum.iterations:10d} {optimum.seconds:8.0f}"
        print(f"{optimum.start:12s} {numbers}  {optimum.status}", flush=True)
        ended.append(optimum)
    backup = problem.objective(problem.theta_initial)
    found = f"{best(ended).objective:.6f}" if any(optimum.feasible for optimum in ended) else "not feasible"
    print(f"backup {backup:.6f}; best of {len(ended)} starts {found}", flush=True)
    return ended


if __name__ == "__main__":
    main()
