"""Local stability of the closed loop at rest (E11): a smooth metric for each vertex of the parameter ranges.

With A the derivative of the next state by the state at the closed loop's equilibrium, the metric says
T = tr(P⁻¹ (A^M)ᵀ P A^M) ≤ γ, as log₄((T + δ) / (γ + δ)) ≤ 0: T itself grows so steeply beyond γ that no smoothness
constant around it is of use, its logarithm by one for each factor of two in ‖A^M‖. The trace is the squared Frobenius
norm of A^M in the norm of P, which bounds the spectral one: so the metric says ‖A^M‖² ≤ γ < 1, exponential stability of
that equilibrium. It is the same in any units.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.compiled import StackFunction, compile_functions
from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.loop.controlled import LoopPolicy
from scpo_ctrl.loop.dense_stability import BEYOND, DenseMetric, chained_loop
from scpo_ctrl.loop.rest import AT_REST, BEYOND_BOUNDS, beyond_bounds, settle
from scpo_ctrl.loop.sizes import check_stability
from scpo_ctrl.models.varying import settled, settling

GAMMA = 0.5  # γ of (E11)
FLOOR = 1e-6  # δ: what is below decays fast enough
_MOST_COMPILED = 24  # states up to which C pays: compiling takes long for dense derivatives, and matrices dominate
_MOST_WEIGHTS = 2000  # parameters likewise
_CORNERS = 6  # parameters with a range up to which all vertices are taken; a fixed choice of as many beyond
_INSIDE = 64  # points inside the ranges, where a report looks too
_ROOM = 0.25  # part of γ that the backup must reach: M is the least power of two for which it does
_MOST_DOUBLINGS = 24  # of M
_UNSTABLE = 1e100  # squared norm of a power beyond which it only grows
_NEWTON = 3  # steps from there inside the metric, which make its derivatives those of the place of rest as well

_Stacked = Callable[[np.ndarray], list[np.ndarray]]  # of stacks (K, d + nx)


def vertices(ranges: np.ndarray) -> np.ndarray:
    """Return the corners of the parameter ranges; a fixed choice of them where there are too many.

    Parameters
    ----------
    ranges : numpy.ndarray, shape (np, 2)
        Low and high of each parameter.

    Returns
    -------
    numpy.ndarray, shape (count, np)
    """
    varied = np.flatnonzero(ranges[:, 0] < ranges[:, 1])
    if varied.size <= _CORNERS:
        sides = np.array(list(itertools.product((0, 1), repeat=varied.size)), dtype=int)
    else:
        sides = np.random.default_rng(0).integers(0, 2, (2**_CORNERS, varied.size))
    corners = np.tile(ranges[:, 0], (len(sides), 1))
    corners[:, varied] = ranges[varied, sides]
    return corners


@dataclass(frozen=True)
class LocalStability:
    """The metrics (E11) of a policy, at nominal plant parameters and at the vertices of their ranges."""

    policy: LoopPolicy
    ranges: np.ndarray  # (np, 2) of the plant parameters [p_units]

    @cached_property
    def parameters(self) -> np.ndarray:
        """The plant parameters of each metric: corners of the ranges, and nominal ones within them, shape (k, np)."""
        nominal = self.policy.plant.p_nominal
        inside = (nominal >= self.ranges[:, 0]) & (nominal <= self.ranges[:, 1])
        return np.unique(np.vstack([nominal[None][: int(inside.all())], self._corners]), axis=0)

    @property
    def _corners(self) -> np.ndarray:
        """Corners of the ranges, what varies over time where it ends."""
        plant = self.policy.plant
        return settled(plant, vertices(settling(plant, self.ranges)))

    def inside(self) -> "LocalStability":
        """Return the same at plant parameters spread evenly over their ranges, of which corners need not be the worst.

        Returns
        -------
        LocalStability
            To ask for its spectral radii.
        """
        ranges = settling(self.policy.plant, self.ranges)
        varied = np.flatnonzero(ranges[:, 0] < ranges[:, 1])
        ratio = 2.0  # the root of r^(k + 1) = r + 1, whose powers spread points most evenly
        for _ in range(_NEWTON * _NEWTON):
            ratio = (1 + ratio) ** (1 / (varied.size + 1))
        numbers = (0.5 + np.arange(_INSIDE)[:, None] * ratio ** -(1.0 + np.arange(varied.size))) % 1
        points = np.tile(ranges[:, 0], (_INSIDE, 1))
        points[:, varied] += numbers * (ranges[varied, 1] - ranges[varied, 0])
        other = LocalStability(self.policy, self.ranges)
        vars(other)["parameters"] = settled(self.policy.plant, points)
        return other

    @cached_property
    def _at_backup(self) -> np.ndarray:
        """Parameters with which the policy is the backup."""
        return self.policy.theta_initial(0)

    @property
    def count(self) -> int:
        """Number of metrics k."""
        return len(self.parameters)

    def label(self, index: int) -> str:
        """Return what a metric means, in words.

        Parameters
        ----------
        index : int

        Returns
        -------
        str
        """
        return f"local stability at rest{self.where(index)}"

    def where(self, index: int) -> str:
        """Return the plant parameters of a metric, in words; nothing where there is no choice.

        Parameters
        ----------
        index : int

        Returns
        -------
        str
        """
        plant = self.policy.plant
        varied = np.flatnonzero((settling(plant, self.ranges) != plant.p_nominal[:, None]).any(axis=1))
        values = (f"{plant.p_labels[i]} = {self.parameters[index, i]:g} {plant.p_units[i]}".rstrip() for i in varied)
        return " for " + ", ".join(values) if varied.size else ""

    def equilibria(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the closed loop is at rest for each vertex, and its derivative there.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        x : numpy.ndarray, shape (k, nx)
            NaN where no equilibrium is found, or its command is beyond the bounds.
        A : numpy.ndarray, shape (k, nx, nx)
        """
        x = self._rest(theta)
        derivatives = [np.array(self._loop(at, p, theta)[1]) for at, p in zip(x, self.parameters, strict=True)]
        return x, np.array(derivatives)

    def _rest(self, theta: np.ndarray) -> np.ndarray:
        """Where the loop is at rest for each vertex, by damped Newton steps from the nominal equilibrium, (k, nx)."""
        nx = self.policy.plant.nx

        def loop(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = [self._loop(at, p, theta) for at, p in zip(x, self.parameters[rows], strict=True)]
            following, A = (np.array([np.array(part[i]) for part in found]) for i in (0, 1))
            return following.reshape(-1, nx), A.reshape(-1, nx, nx)

        x = settle(loop, np.tile(self.policy.plant.x_eq, (self.count, 1)), self.policy.backup)
        commands = [np.array(self._loop(at, p, theta)[2])[:, 0] for at, p in zip(x, self.parameters, strict=True)]
        return self._held(x, np.array(commands))

    def _held(self, x: np.ndarray, commands: np.ndarray) -> np.ndarray:
        """Return places of rest, NaN where their command is beyond its bounds, so that the loop is not at rest."""
        beyond = beyond_bounds(self.policy.plant, commands)
        return np.where((beyond <= BEYOND_BOUNDS)[:, None], x, np.nan)

    def spectral_radii(self, theta: np.ndarray) -> np.ndarray:
        """Return the spectral radius of the closed loop at rest for each vertex, infinite where it has no equilibrium.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        numpy.ndarray, shape (k,)
        """
        x, A = self.equilibria(theta)
        found = np.isfinite(x).all(axis=1) & np.isfinite(A).all(axis=(1, 2))
        radii = np.full(self.count, np.inf)
        radii[found] = np.abs(np.linalg.eigvals(A[found])).max(axis=1)
        return radii

    def metrics(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)

        Returns
        -------
        numpy.ndarray, shape (K, k)
            Infinite where the loop has no equilibrium that is found from the nominal one and that its input holds.
        """
        values, moved = self._from(np.tile(self._rest(thetas[0]), (len(thetas), 1, 1)), thetas)
        far = np.flatnonzero(~(moved <= AT_REST).all(axis=1))  # from the first one: each from its own place of rest
        if far.size:
            values[far], moved[far] = self._from(np.array([self._rest(theta) for theta in thetas[far]]), thetas[far])
        return np.where((moved <= AT_REST) & ~np.isnan(values), values, np.inf)  # NaN: a power that overflows

    def _from(self, starts: np.ndarray, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return metrics (K, k), and how far from rest they are, for places to start from (K, k, nx)."""
        parts = [function(np.hstack([thetas, starts[:, i]])) for i, function in enumerate(self._functions[0])]
        return np.hstack([part[0] for part in parts]), np.hstack([part[1] for part in parts])

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None = None) -> np.ndarray:
        """Return derivatives of the metrics along directions.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        D : numpy.ndarray, shape (p, d), optional
            The full basis if None.

        Returns
        -------
        numpy.ndarray, shape (p, k)
        """
        columns = self._with_gradients(theta[None])[1][0]
        return columns if D is None else D @ columns

    def gradients(self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
        """Return gradients of Σ λ_i g_i + κ_i g_i² / 2.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)
        multipliers, curvatures : numpy.ndarray, shape (k,)
            λ and κ.

        Returns
        -------
        numpy.ndarray, shape (K, d)
        """
        values, columns = self._with_gradients(thetas)
        return np.asarray(np.einsum("kdi,ki->kd", columns, multipliers + curvatures * values))

    def check(self) -> None:
        """Refuse a backup that is not stable at rest for some of the parameters, or sizes beyond what a run can bear.

        Raises
        ------
        DomainError
            As `check_stability` does.
        UnsafeStartError
            As `power` does.
        """
        plant, d = self.policy.plant, self.policy.theta_dim
        check_stability(plant.nx, self.count, d)
        check_stability(plant.nx, self.count, d, self.power.bit_length() - 1)

    def check_rest(self) -> None:
        """Refuse a backup whose loop does not come to rest for some of the parameters.

        Raises
        ------
        UnsafeStartError
            That names them.
        """
        lost = np.flatnonzero(~np.isfinite(self._rest(self._at_backup)).all(axis=1))
        if lost.size:
            raise UnsafeStartError(
                "within the bounds of its inputs the closed loop of the backup has no equilibrium"
                f"{self.where(lost[0])}; {self._remedy()}"
            )

    @cached_property
    def power(self) -> int:
        """M, the least power of two for which the backup reaches a quarter of γ at every vertex.

        Raises
        ------
        UnsafeStartError
            If it has no equilibrium at a vertex, or is not stable there.
        """
        self.check_rest()
        derivatives = self.equilibria(self._at_backup)[1]
        powers = self._root.T @ derivatives @ self._inverse_root
        for doublings in range(_MOST_DOUBLINGS):
            sizes = np.sum(powers**2, axis=(1, 2))
            if (sizes <= _ROOM * GAMMA).all():
                return 2**doublings
            if not (sizes < _UNSTABLE).all():
                break
            powers = powers @ powers
        radii = self.spectral_radii(self._at_backup)
        worst = int(np.argmax(radii))
        raise UnsafeStartError(
            f"the backup is not stable at rest{self.where(worst)}: its spectral radius is {radii[worst]:.6g}; "
            f"{self._remedy()}"
        )

    def _remedy(self) -> str:
        return "narrow the parameter ranges, or design a backup that holds all of them"

    @cached_property
    def _root(self) -> np.ndarray:
        """C of P = C Cᵀ, in which V is the square of the length of Cᵀz."""
        unit = 1 / np.sqrt(np.diag(self.policy.backup.P))
        return np.linalg.cholesky(self.policy.backup.P * unit[:, None] * unit) / unit[:, None]

    @cached_property
    def _inverse_root(self) -> np.ndarray:
        return np.linalg.inv(self._root).T

    @cached_property
    def _loop(self) -> ca.Function:
        """(x, p, θ) -> the next state of the loop without saturation, its derivative by x, and the command."""
        policy = self.policy
        if self._is_dense:
            return chained_loop(policy)
        x, p = ca.SX.sym("x", policy.plant.nx), ca.SX.sym("p", policy.plant.npar)
        theta = ca.SX.sym("theta", policy.theta_dim)
        command = policy.command(x, theta, p)
        following = policy.plant.function(x, command, p)
        return ca.Function("closed_loop", [x, p, theta], [following, ca.jacobian(following, x), command])

    @property
    def _is_dense(self) -> bool:
        """Whether states or parameters are so many that matrices are left to numpy."""
        return self.policy.plant.nx > _MOST_COMPILED or self.policy.theta_dim > _MOST_WEIGHTS

    @cached_property
    def _functions(self) -> tuple[list[_Stacked], list[_Stacked]]:
        """θ and x -> metric and how far from rest; -> metric and its gradient; one for each vertex."""
        if not self._is_dense:
            return self._compiled()
        unit, doublings = float(np.sqrt(self.policy.backup.rho)), self.power.bit_length() - 1
        fixed = (self._root, self._inverse_root, unit, doublings, GAMMA, FLOOR, _NEWTON)
        metrics = [DenseMetric(self._loop, self.policy.plant, p, *fixed) for p in self.parameters]
        return [metric.values for metric in metrics], [metric.gradients for metric in metrics]

    def _compiled(self) -> tuple[list[_Stacked], list[_Stacked]]:
        """Return the same for few states, as expressions that are compiled."""
        nx, npar = self.policy.plant.nx, self.policy.plant.npar
        theta, start, p = (
            ca.MX.sym(name, size) for name, size in (("t", self.policy.theta_dim), ("x", nx), ("p", npar))
        )
        x = start
        for _ in range(_NEWTON):
            following, A, command = self._loop(x, p, theta)
            x = x + ca.solve(ca.MX.eye(nx) - A, following - x, "qr")
        following, A, command = self._loop(x, p, theta)
        power = ca.DM(self._root.T) @ A @ ca.DM(self._inverse_root)
        for _ in range(self.power.bit_length() - 1):
            power = power @ power
        g = ca.log((ca.sumsqr(power) + FLOOR) / (GAMMA + FLOOR)) / np.log(4)
        moved = ca.norm_2(ca.DM(self._root.T / np.sqrt(self.policy.backup.rho)) @ (following - x))
        low, high = ca.DM(self.policy.plant.u_min), ca.DM(self.policy.plant.u_max)
        moved += BEYOND * ca.fmax(ca.mmax(ca.fmax(command - high, low - command) / ((high - low) / 2)), 0.0)
        both = ca.vertcat(theta, start)
        inputs = [ca.MX.sym("both", both.size1()), p]
        whole = ca.Function("metric", [theta, start, p], [g, moved, ca.gradient(g, theta)])
        outputs = whole(inputs[0][: theta.size1()], inputs[0][theta.size1() :], p)
        values, gradients = compile_functions(
            [
                ca.Function("stability", inputs, outputs[:2]),
                ca.Function("stability_gradient", inputs, [outputs[0], outputs[2]]),
            ]
        )
        corners = self.parameters
        return [StackFunction(values, [p]) for p in corners], [StackFunction(gradients, [p]) for p in corners]

    def _with_gradients(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return metrics (K, k) and their gradients (K, d, k), for parameters that are close to each other."""
        starts = np.tile(self._rest(thetas[0]), (len(thetas), 1, 1))
        parts = [function(np.hstack([thetas, starts[:, i]])) for i, function in enumerate(self._functions[1])]
        return np.hstack([part[0] for part in parts]), np.stack([part[1] for part in parts], axis=2)
