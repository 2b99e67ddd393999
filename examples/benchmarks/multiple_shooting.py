"""The control problem as a sparse nonlinear program: states and commands of every scenario are variables beside θ.

    minimise   ℓ(x, u)
    over       θ, and u_t, x_{t+1} for every scenario and t = 0…N-1
    such that  x_{t+1} = f(x_t, u_t, p) + w_t,   u_t = π(x_t, θ) without saturation,
               bounds of states and commands,    V(x_N) ≤ the lower one of ρ and γ V(x_0)               (E6)-(E8)

Its feasible points are those of (E1), but the trajectories of an iterate need not belong to its policy: a policy that
diverges over the horizon is no obstacle. H. G. Bock, K. J. Plitt, "A multiple shooting algorithm for direct solution of
optimal control problems", IFAC World Congress 1984.
"""

import casadi as ca
import numpy as np

from scpo_ctrl import ControlProblem, Quadratic
from scpo_ctrl.compiled import compile_functions
from scpo_ctrl.errors import DomainError

_ROOM = 1e-7  # what bounds are tightened by, so that the last rounding of the dynamics breaks no metric


class MultipleShooting:
    """The program with exact sparse derivatives, for CasADi's ``nlpsol``.

    The objective is relative to the backup's. Variables are θ, then u_t and x_{t+1} step by step, scenario by scenario;
    constraints are the dynamics and the policy in the same order, then the level at the end of every scenario.

    Parameters
    ----------
    problem : ControlProblem
        With the quadratic objective, and metrics that bound the command: then saturation never acts at feasible
        parameters.

    Raises
    ------
    DomainError
        If the objective is not quadratic, or the command is not bounded by metrics.
    """

    def __init__(self, problem: ControlProblem) -> None:
        if not (isinstance(problem.objective_data, Quadratic) and problem.scenario_metrics.bounds_command):
            raise DomainError("the reference needs the quadratic objective, and metrics that bound the command")
        self.problem = problem
        plant, batch = problem.plant, problem.scenarios
        self.d, self.nx, self.nu = problem.theta_dim, plant.nx, plant.nu
        self.count = batch.count * batch.horizon  # of steps, over all scenarios
        self.block = self.nu + self.nx
        self.size = self.d + self.count * self.block
        self.first = np.arange(self.count) % batch.horizon == 0  # steps from a given state
        self.last = np.flatnonzero(np.roll(self.first, -1))

        self.w = ca.MX.sym("w", self.size)
        trajectory = ca.reshape(self.w[self.d :], self.block, self.count)
        self.U, self.X_next = trajectory[: self.nu, :], trajectory[self.nu :, :]
        known = ca.MX(ca.DM(batch.x0.T))
        before = np.where(self.first, np.arange(self.count) // batch.horizon, batch.count - 1 + np.arange(self.count))
        X = ca.horzcat(known, self.X_next)[:, before.tolist()]
        self.arguments = [self.w[: self.d], X, self.U, ca.DM(np.repeat(batch.p, batch.horizon, axis=0).T)]
        self._stages()
        self.objective, self.levels = self._objective(), self._levels()
        noise = ca.DM(batch.w.reshape(self.count, -1).T) if batch.w.size else ca.DM.zeros(self.nx, self.count)
        gaps = self.residuals(*self.arguments) + ca.vertcat(ca.DM.zeros(self.nu, self.count), self.X_next - noise)
        self.constraints = ca.vertcat(ca.vec(gaps), self.levels)

    def solver(self, options: dict[str, object], callback: ca.Callback) -> ca.Function:
        """Return IPOPT for the program.

        Parameters
        ----------
        options : dict
            IPOPT's.
        callback : casadi.Callback
            Called after every iteration.

        Returns
        -------
        casadi.Function
            To be called with `bounds` and a start.
        """
        nothing, factor = ca.MX.sym("p", 0), ca.MX.sym("lam_f")
        multipliers = ca.MX.sym("lam_g", self.constraints.numel())
        hessian = self._hessian(factor, multipliers)
        derivatives = {
            "jac_g": ca.Function("nlp_jac_g", [self.w, nothing], [self.constraints, self._jacobian()]),
            "hess_lag": ca.Function("nlp_hess_l", [self.w, nothing, factor, multipliers], [hessian]),
        }
        program = {"x": self.w, "f": self.objective, "g": self.constraints}
        own = {"ipopt": options, "iteration_callback": callback, "print_time": False, "no_nlp_grad": True}
        return ca.nlpsol("solver", "ipopt", program, {**own, **derivatives})

    def bounds(self) -> dict[str, np.ndarray]:
        """Return the bounds of variables and constraints, as arguments of the solver.

        Returns
        -------
        dict of str to numpy.ndarray
        """
        plant, free = self.problem.plant, np.full(self.d, np.inf)
        low = np.tile(np.concatenate([plant.u_min, plant.x_min]) + _ROOM, self.count)
        high = np.tile(np.concatenate([plant.u_max, plant.x_max]) - _ROOM, self.count)
        zeros, ends = np.zeros(self.count * self.block), np.full(self.levels.numel(), -_ROOM)
        return {
            "lbx": np.concatenate([-free, low]),
            "ubx": np.concatenate([free, high]),
            "lbg": np.concatenate([zeros, np.full(ends.size, -np.inf)]),
            "ubg": np.concatenate([zeros, ends]),
        }

    def start(self, theta: np.ndarray) -> np.ndarray:
        """Return the variables of a policy and its rollouts, cut to the bounds.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        numpy.ndarray, shape (d + S N (nu + nx),)
        """
        plant = self.problem.plant
        X, U = self.problem.trajectories(theta)
        U, X = (np.nan_to_num(Z, nan=0.0, posinf=np.inf, neginf=-np.inf) for Z in (U, X[:, 1:]))
        steps = np.concatenate([np.clip(U, plant.u_min, plant.u_max), np.clip(X, plant.x_min, plant.x_max)], axis=2)
        return np.concatenate([theta, steps.ravel()])

    def _stages(self) -> None:
        """Compile the equations of one step and their derivatives, and map them over all steps."""
        policy, plant = self.problem.policy, self.problem.plant
        sizes = {"theta": self.d, "x": self.nx, "u": self.nu, "p": plant.npar, "lam": self.block}
        theta, x, u, p, multipliers = (ca.SX.sym(name, size) for name, size in sizes.items())
        z = ca.vertcat(theta, x, u)
        equations = ca.vertcat(u - policy.command(x, theta), -plant.function(x, u, p))
        J, H = ca.jacobian(equations, z), ca.triu(ca.hessian(ca.dot(multipliers, equations), z)[0])
        self._J, self._H = J.sparsity().get_triplet(), H.sparsity().get_triplet()
        functions = compile_functions(
            [
                ca.Function("equations", [theta, x, u, p], [equations]),
                ca.Function("slopes", [theta, x, u, p], [ca.vertcat(*J.nonzeros())]),
                ca.Function("curvatures", [theta, x, u, p, multipliers], [ca.vertcat(*H.nonzeros())]),
            ]
        )
        shared = [[0], []]  # θ is the same in every step
        self.residuals, self.slopes, self.curvatures = (
            f.map("steps", "serial", self.count, *shared) for f in functions
        )
        own = self.d + self.block * np.arange(self.count)[:, None]
        x_before = np.where(self.first[:, None], -1, own - self.nx + np.arange(self.nx))  # -1: given, no variable
        shared_rows = np.tile(np.arange(self.d), (self.count, 1))
        self.columns = np.hstack([shared_rows, x_before, own + np.arange(self.nu)])  # of θ, x_t and u_t

    def _objective(self) -> ca.MX:
        """Return ℓ over ℓ(θ₀), without what the given states cost."""
        objective, plant = self.problem.objective_data, self.problem.plant
        costs = ca.repmat(ca.DM(np.concatenate([objective.R, objective.Q])), 1, self.count)
        costs[self.nu :, self.last.tolist()] = 0  # x_N costs nothing
        rest = ca.DM(np.concatenate([plant.u_eq, plant.x_eq]))
        total = ca.sum2(ca.sum1(costs * (ca.vertcat(self.U, self.X_next) - rest) ** 2))
        return total / (self.count * self.problem.objective(self.problem.theta_initial))

    def _levels(self) -> ca.MX:
        """Return (V(x_N) - its limit) / ρ of every scenario; nothing where there is none."""
        backup, x_N, parts = self.problem.backup, self.X_next[:, self.last.tolist()], [ca.MX(0, 1)]
        for centres, limits in _limits(self.problem):
            Z = x_N - ca.DM(centres.T)
            parts.append((ca.sum1(Z * (ca.DM(backup.P) @ Z)).T - ca.DM(limits)) / backup.rho)
        return ca.vertcat(*parts)

    def _jacobian(self) -> ca.MX:
        """Return the derivatives of the constraints."""
        rows, columns = map(np.array, self._J)
        steps = self.block * np.arange(self.count)[:, None]
        values = ca.vec(self.slopes(*self.arguments))
        gaps = _matrix((steps.size * self.block, self.size), rows + steps, self.columns[:, columns], values)
        is_state = np.tile(np.repeat([0.0, 1.0], [self.nu, self.nx]), self.count)
        own = ca.horzcat(ca.DM(is_state.size, self.d), ca.diag(ca.sparsify(ca.DM(is_state))))  # of x_{t+1} itself
        return ca.vertcat(gaps + own, ca.jacobian(self.levels, self.w))

    def _hessian(self, factor: ca.MX, multipliers: ca.MX) -> ca.MX:
        """Return the upper triangle of the Lagrangian's Hessian."""
        rows, columns = map(np.array, self._H)
        weights = ca.reshape(multipliers[: self.count * self.block], self.block, self.count)
        values = self.curvatures(*self.arguments, weights)
        inner = (rows < self.d) & (columns < self.d)  # of θ alone: the sum over all steps
        shape, i, j = (self.size, self.size), rows[~inner], columns[~inner]
        pairs = np.sort(np.stack([self.columns[:, i], self.columns[:, j]]), axis=0)
        mixed = _matrix(shape, *pairs, ca.vec(values[np.flatnonzero(~inner).tolist(), :]))
        sums = ca.sum2(values[np.flatnonzero(inner).tolist(), :])
        own = _matrix(shape, rows[inner], columns[inner], sums)
        rest = factor * self.objective + ca.dot(multipliers[self.count * self.block :], self.levels)
        return mixed + own + ca.triu(ca.hessian(rest, self.w)[0])


def _limits(problem: ControlProblem) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what levels are about (S, nx), and the highest allowed V(x_N) of every scenario (S,)."""
    options, batch, rests = problem.scenario_metrics.options, problem.scenarios, problem.rests(problem.scenarios)
    nominal, rho = np.tile(problem.plant.x_eq, (batch.count, 1)), np.full(batch.count, problem.backup.rho)
    terminal = [(nominal, rho)] if options.terminal else []
    if options.contraction is None:
        return terminal
    limits = problem.contraction_limits(batch)
    if rests is None:  # both are about the same: the lower one counts
        return [(nominal, np.minimum(limits, rho) if options.terminal else limits)]
    return [*terminal, (rests, limits)]


def _matrix(shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray, values: ca.MX) -> ca.MX:
    """Return a sparse matrix from entries at distinct places; those with a negative row or column are left out."""
    places = np.stack([rows.ravel(), columns.ravel()])
    kept = np.flatnonzero((places >= 0).all(axis=0))
    order = kept[np.lexsort(places[:, kept])]
    starts = np.concatenate([[0], np.cumsum(np.bincount(places[1, order], minlength=shape[1]))])
    pattern = ca.Sparsity(*shape, starts.tolist(), places[0, order].tolist())
    return ca.MX(pattern, values[order.tolist()])
