"""What is achievable: IPOPT on the same policy class, scenarios and metrics, from many starts.

The nonlinear program min ℓ(θ) s.t. g(θ) ≤ 0 (E1) in single shooting: θ is the only variable, the rollouts are
expressions of it. Nothing here keeps the iterates safe; the answer shows how much of what is possible the safe way
reaches.

    python examples/benchmarks/ipopt_reference.py [--starts N] [--policy mlp|linear] [--seconds S]
"""

import argparse
import importlib.resources
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl import AdaptOptions, ControlProblem, Policy, Quadratic, adapt, load_problem
from scpo_ctrl.compiled import compile_functions
from scpo_ctrl.errors import DomainError

ADAPTED = "adapted"  # name of the start where the safe way ended
TOLERANCE = 1e-8  # largest metric of a point that counts as feasible
_FIRST = 500  # metrics in the first working set
_STEP = 1e-6  # of the differences of gradients
_CALL = 100  # most iterations of one call
_DONE = ("Solve_Succeeded", "Solved_To_Acceptable_Level")


@dataclass(frozen=True)
class Optimum:
    """Where IPOPT ended from one start."""

    start: str  # its name
    theta: np.ndarray  # (d,)
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
    iterations: int = 800,
    seconds: float = 1e6,
) -> Iterator[Optimum]:
    """Solve a control problem by IPOPT from every start, one after the other.

    IPOPT sees a working set of the metrics: the largest ones at the start, and those violated at a later point. It is
    called again, from where it was, until no metric outside the set is violated; then a local optimum of the working
    set is one of the whole program, with multiplier zero for every other metric.

    Parameters
    ----------
    problem : ControlProblem
        With the quadratic objective, and metrics that bound the command: then saturation never acts at feasible
        parameters, and the loop without it is smooth.
    starts : iterable of (str, numpy.ndarray of shape (d,))
        Names and parameters; they need not be safe.
    iterations : int
        Of all calls of one start, after which no further call is made.
    seconds : float
        Likewise, and the call under way ends.

    Yields
    ------
    Optimum
        In the order of the starts.

    Raises
    ------
    DomainError
        If the objective is not quadratic, or the command is not bounded by metrics.
    """
    program = _Program(problem, iterations, seconds)
    for name, start in starts:
        yield program.solve(name, start)


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
    if policy.hidden:  # tanh is at most one: at most a few hundredths of the input's range each
        spread = 0.02 * (policy.plant.u_max - policy.plant.u_min)
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


class _Call(ca.Callback):
    """A Python function of dense matrices as a CasADi function."""

    def __init__(
        self, function: Callable[..., np.ndarray], inputs: Sequence[tuple[int, int]], output: tuple[int, int]
    ) -> None:
        ca.Callback.__init__(self)
        self.function, self.inputs, self.output = function, inputs, output
        self.construct("call", {})

    def get_n_in(self) -> int:
        """Return the number of inputs."""
        return len(self.inputs)

    def get_sparsity_in(self, index: int) -> ca.Sparsity:
        """Return the shape of an input."""
        return ca.Sparsity.dense(*self.inputs[index])

    def get_sparsity_out(self, index: int) -> ca.Sparsity:
        """Return the shape of the output."""
        return ca.Sparsity.dense(*self.output)

    def eval(self, arguments: Sequence[ca.DM]) -> list[ca.DM]:
        """Call the function."""
        return [ca.DM(self.function(*map(np.array, arguments)))]


class _Program:
    """The single-shooting program with derivatives."""

    def __init__(self, problem: ControlProblem, iterations: int, seconds: float = 1e6) -> None:
        self.problem, self.iterations, self.seconds = problem, iterations, seconds
        self.options = {
            "max_iter": _CALL,
            "tol": 1e-7,
            "acceptable_tol": 1e-5,
            "acceptable_obj_change_tol": 1e-7,
            "constr_viol_tol": 1e-9,
            "bound_relax_factor": 0.0,
            "linear_solver": "mumps",
            "print_level": 0,
            "sb": "yes",
        }
        theta, cost, g = _expressions(problem)
        self.theta = theta
        d, m = theta.numel(), g.numel()
        self.cost, self.slope, self.metrics = compile_functions(
            [
                ca.Function("cost", [theta], [cost]),
                ca.Function("slope", [theta], [cost, ca.gradient(cost, theta)]),
                ca.Function("metrics", [theta], [g]),
            ]
        )
        # CasADi's own code for many directions compiles for minutes and runs slowly: these come from the engine.
        self._columns = _Call(lambda point: self._jacobian(point[:, 0]), [(d, 1)], (m, d))
        self._turn = _Call(self._curvature, [(d, 1), (1, 1), (m, 1)], (d, d))
        point, factor, weights = ca.MX.sym("point", d), ca.MX.sym("lam_f"), ca.MX.sym("lam_g", m)
        self.jacobian = ca.Function("jacobian", [point], [self.metrics(point), self._columns(point)])
        curvature = ca.triu(self._turn(point, factor, weights))
        self.curvature = ca.Function("curvature", [point, factor, weights], [curvature])

    def _jacobian(self, theta: np.ndarray) -> np.ndarray:
        """Exact derivatives of the metrics that depend on θ, (m, d)."""
        return self.problem.rollouts.jacobian(theta)[:, self.problem.varies].T

    def _curvature(self, theta: np.ndarray, factor: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Hessian of factor ℓ + weights · g, (d, d): central differences of exact gradients."""
        steps = _STEP * np.eye(len(theta))
        thetas, multipliers = theta[:, 0] + np.vstack([steps, -steps]), np.zeros(self.problem.varies.size)
        own = self.problem.rollouts.lagrangian_gradients(thetas, multipliers)
        multipliers[self.problem.varies] = weights[:, 0]
        gradients = self.problem.rollouts.lagrangian_gradients(thetas, multipliers) + (factor[0, 0] - 1) * own
        H = (gradients[: len(theta)] - gradients[len(theta) :]) / (2 * _STEP)
        return np.asarray(H + H.T) / 2

    def solve(self, name: str, start: np.ndarray) -> Optimum:
        """Solve from one start over growing working sets; the best feasible end of a call counts."""
        began = time.perf_counter()
        theta, total, status = start, 0, ""
        g = np.array(self.metrics(theta))[:, 0]
        weights, inside = np.zeros(g.size), np.zeros(g.size, dtype=bool)
        inside[np.argsort(g)[-_FIRST:]] = True
        ends = []
        while status not in _DONE and total < self.iterations and time.perf_counter() - began < self.seconds:
            left = {"max_wall_time": max(1.0, self.seconds - (time.perf_counter() - began))}
            solver = self._solver(np.flatnonzero(inside).tolist(), left, warm=total > 0)
            solution = solver(x0=theta, lam_g0=weights[inside], lbg=-np.inf, ubg=0.0)
            theta, weights[inside] = np.array(solution["x"])[:, 0], np.array(solution["lam_g"])[:, 0]
            total += int(solver.stats()["iter_count"]) + 1
            g = np.array(self.metrics(theta))[:, 0]
            more = ~(g <= TOLERANCE) & ~inside
            inside |= more
            status = "Metrics_Left_Out" if more.any() else solver.stats()["return_status"]
            objective, metrics = self.problem.evaluate(theta)
            violation = max(0.0, float(metrics.max()))
            ends.append(Optimum(name, theta, objective, violation, total, time.perf_counter() - began, status))
        return min(ends, key=lambda end: (not end.feasible, end.objective if end.feasible else end.violation))

    def _solver(self, rows: list[int], limits: dict[str, float], *, warm: bool) -> ca.Function:
        """IPOPT on the metrics of a working set."""
        again = {"warm_start_init_point": "yes", "mu_init": 1e-4} if warm else {}
        theta, nothing = self.theta, ca.MX.sym("p", 0)
        factor, few = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", len(rows))
        weights = ca.MX.zeros(self.metrics.size1_out(0))
        weights[rows] = few
        g, J = self.jacobian(theta)
        own = {
            "grad_f": ca.Function("nlp_grad_f", [theta, nothing], list(self.slope(theta))),
            "jac_g": ca.Function("nlp_jac_g", [theta, nothing], [g[rows], J[rows, :]]),
            "hess_lag": ca.Function(
                "nlp_hess_l", [theta, nothing, factor, few], [self.curvature(theta, factor, weights)]
            ),
        }
        program = {"x": theta, "f": self.cost(theta), "g": self.metrics(theta)[rows]}
        return ca.nlpsol(
            "solver",
            "ipopt",
            program,
            {"ipopt": self.options | limits | again, "print_time": False, "no_nlp_grad": True, **own},
        )


def _expressions(problem: ControlProblem) -> tuple[ca.MX, ca.MX, ca.MX]:
    """θ, ℓ(θ) and those of the metrics that depend on θ, of the loop without saturation."""
    policy, batch, metrics = problem.policy, problem.scenarios, problem.scenario_metrics
    objective = problem._objective  # the one thing that a problem does not show
    if not (isinstance(objective, Quadratic) and metrics.bounds_command):
        raise DomainError("the reference needs the quadratic objective, and metrics that bound the command")
    plant, N, nw = policy.plant, batch.horizon, batch.w.shape[2]
    x, weights, p, w = (
        ca.SX.sym(name, size) for name, size in zip("xtpw", (plant.nx, policy.theta_dim, plant.npar, nw), strict=True)
    )
    u = policy.command(x, weights)
    x_next = plant.function(x, u, p)
    z, v = x - ca.DM(plant.x_eq), u - ca.DM(plant.u_eq)
    cost = ca.dot(ca.DM(objective.Q), z**2) + ca.dot(ca.DM(objective.R), v**2)
    step = ca.Function("step", [x, weights, p, w], [x_next + w if nw else x_next, u, cost])

    theta, x0 = ca.MX.sym("theta", policy.theta_dim), ca.MX.sym("x0", plant.nx)
    q, ws = ca.MX.sym("p", plant.npar), ca.MX.sym("w", nw, N)
    X, U, cost = step.mapaccum("roll", N)(x0, ca.repmat(theta, 1, N), ca.repmat(q, 1, N), ws)
    g = metrics.expression(ca.horzcat(x0, X), U)[np.flatnonzero(metrics.varies).tolist()]
    scenario = ca.Function("scenario", [x0, q, ws, theta], [g, ca.sum2(cost) / N])
    data = [ca.DM(batch.x0.T), ca.DM(batch.p.T), ca.DM(batch.w.reshape(batch.count * N, nw).T)]
    g, cost = scenario.map("scenarios", "serial", batch.count, [3], [])(*data, theta)
    return theta, ca.sum2(cost) / batch.count, ca.vec(g)


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
        problem = ControlProblem(policy, problem.scenarios, problem._objective, problem.scenario_metrics.options)
    adapted = adapt(problem, AdaptOptions(steps=400)).theta
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
