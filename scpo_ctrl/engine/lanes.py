"""Rollouts by C on lanes of scenarios, compiled once for a plant and the shape of a policy."""

import ctypes
from ctypes import byref

import numpy as np

from scpo_ctrl.compiled import most_threads
from scpo_ctrl.engine.library import Library
from scpo_ctrl.engine.loop import Loop
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.rest import BackupRest
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.models.varying import over_time, pulled_back, settled

WIDTH = 8  # scenarios summed at a time, which C rolls out as many of as a register holds
_MOST_GROUPS = 64  # of blocks whose sums are kept apart; a constant, so that threads do not change a sum
_GROUP_BYTES = 1 << 27  # of all sums of groups together
_THETAS_AT_ONCE = 8  # in an item of work, as in evaluate.c
_SMALL = 2_000_000  # operations below which threads cost more than they bring

_address = ctypes.c_void_p
_long, _double = ctypes.c_long, ctypes.c_double


class _Batch(ctypes.Structure):
    """engine_batch of engine.h."""

    _fields_ = (
        *((name, _long) for name in ("scenarios", "horizon", "rows", "path", "command", "terminal", "contraction")),
        ("rho", _double),
        ("gamma", _double),
        ("floor", _double),
        *(
            (name, _address)
            for name in ("x0", "p", "signals", "w", "x_rest", "x_eq", "u_eq", "x_min", "x_max", "u_min", "u_max")
        ),
        *((name, _address) for name in ("factor", "K", "P", "Q", "R")),
    )


def aligned(lanes: int) -> np.ndarray:
    """Return memory for lanes, aligned as their loads want.

    Parameters
    ----------
    lanes : int

    Returns
    -------
    numpy.ndarray, shape (8 lanes,)
        Not initialised.
    """
    memory = np.empty(WIDTH * (lanes + 1))
    start = -memory.ctypes.data % (8 * WIDTH) // 8
    return memory[start : start + WIDTH * lanes]


def threads_for(items: int, operations: float) -> int:
    """Return how many threads share some work: none but the caller's where it is small.

    Parameters
    ----------
    items : int
        That can be done at the same time.
    operations : float
        Of all items together, roughly.

    Returns
    -------
    int
    """
    return 1 if operations < _SMALL else min(items, most_threads())


class LaneEngine:
    """The engine in C; see `Engine` for what its methods do.

    Every scenario is computed by itself and every sum has a fixed order, so the same arguments give the same bits
    however many threads there are and however the caller splits its stacks.
    """

    def __init__(self, loop: Loop) -> None:
        policy, metrics = loop.policy, loop.metrics
        plant, options = policy.plant, metrics.options
        self._library, self._plant = Library(loop), plant
        self._rows, self._nx, self._nu = len(metrics.rows), plant.nx, plant.nu
        hidden = policy.hidden if isinstance(policy, Policy) else ()
        self._step_cost = 4 * policy.theta_dim + 40 * sum(hidden) + 50 * plant.nx
        self._constants = {
            key: np.ascontiguousarray(value, dtype=float)
            for key, value in {
                "x_eq": plant.x_eq, "u_eq": plant.u_eq, "x_min": plant.x_min, "x_max": plant.x_max,
                "u_min": plant.u_min, "u_max": plant.u_max, "factor": _factor(policy),
                "K": policy.backup.K, "P": policy.backup.P, "Q": loop.stage.Q, "R": loop.stage.R,
            }.items()
        }  # fmt: skip
        self._weights = _input_weights(policy)
        self._rest = BackupRest(plant, policy.backup, policy.at_start) if options.contraction is not None else None
        self._bound: _Batch | None = None
        self._flags = {
            "rows": self._rows,
            "path": options.path,
            "command": options.command,
            "terminal": options.terminal,
            "contraction": options.contraction is not None,
            "rho": policy.backup.rho,
            "gamma": options.contraction or 0.0,
            "floor": metrics.floor,
        }

    def prepare(self) -> None:
        """Compile all derivatives."""
        self._library.complete()

    def metrics(self, batch: Scenarios, thetas: np.ndarray, out: np.ndarray, *, saturated: bool) -> None:
        """Fill `out` with metrics."""
        self._evaluate(batch, thetas, out, None, saturated=saturated)

    def differences(
        self,
        batch: Scenarios,
        thetas: np.ndarray,
        origin: np.ndarray,
        sigma: float,
        out: np.ndarray,
        *,
        saturated: bool,
    ) -> np.ndarray:
        """Fill `out` with differences of metrics and return their squares."""
        thetas, squares = thetas * self._weights, np.empty(out.shape[1])
        threads, work = self._workers(batch, len(thetas))
        chunks = -(-len(thetas) // _THETAS_AT_ONCE)
        packed = aligned((1 + chunks) * _blocks(batch) * self._rows)
        self._library.engine_differences(
            byref(self._bind(batch)), len(thetas), _data(thetas), saturated, _data(origin), sigma, _data(out),
            _data(squares), _data(packed), threads, _data(work),
        )  # fmt: skip
        return squares

    def evaluate(self, batch: Scenarios, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return metrics and mean costs."""
        metrics = np.empty((len(thetas), batch.count * self._rows))
        cost = np.empty((len(thetas), batch.count))
        self._evaluate(batch, thetas, metrics, cost, saturated=True)
        return metrics, np.add.reduce(cost, axis=1) / batch.count

    def gradient(self, batch: Scenarios, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return mean cost and gradient by the adjoint."""
        cost, gradients = self._gradients(batch, theta[None], saturated=True)
        return float(cost[0]), gradients[0]

    def lagrangian_gradients(
        self, batch: Scenarios, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray, *, saturated: bool
    ) -> np.ndarray:
        """Return gradients of mean cost plus linear and quadratic terms of the metrics by the adjoint."""
        return self._gradients(batch, thetas, (multipliers, curvatures), saturated=saturated)[1]

    def _gradients(
        self,
        batch: Scenarios,
        thetas: np.ndarray,
        terms: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
        *,
        saturated: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean costs (K,) and gradients (K, d); terms are multipliers and curvatures, (m,) each."""
        thetas, (count, d) = thetas * self._weights, thetas.shape
        groups = self._groups(batch, count * d)
        cost, gradients = np.empty((count, batch.count)), np.zeros((count, groups, d))
        threads = threads_for(count * groups, 4 * self._operations(batch, count))
        bound = self._bind(batch)
        work = aligned(threads * self._library.engine_gradient_size(byref(bound)))
        multipliers, curvatures = (None if values is None else np.ascontiguousarray(values) for values in terms)
        packed = None if multipliers is None else aligned(2 * _blocks(batch) * self._rows)
        self._library.engine_gradient(
            byref(bound), count, _data(thetas), _data(multipliers), _data(curvatures), _data(packed), saturated, groups,
            _data(cost), _data(gradients), threads, _data(work),
        )  # fmt: skip
        sums = np.add.reduce(cost, axis=1), np.add.reduce(gradients, axis=1)
        return sums[0] / batch.count, sums[1] / (batch.count * batch.horizon) * self._weights

    def jacobian(self, batch: Scenarios, theta: np.ndarray, D: np.ndarray | None, *, saturated: bool) -> np.ndarray:
        """Return derivatives of the metrics by forward sensitivities."""
        count = theta.size if D is None else len(D)
        theta, D = theta * self._weights, None if D is None else D * self._weights
        jacobian = np.empty((count, batch.count * self._rows))
        threads = threads_for(_blocks(batch), count * self._operations(batch, 1))
        work = aligned(threads * self._library.engine_jacobian_size(count))
        bound = self._bind(batch)
        self._library.engine_jacobian(
            byref(bound), _data(theta), count, _data(D), saturated, _data(jacobian), threads, _data(work)
        )
        return jacobian if D is not None else jacobian * self._weights[:, None]

    def scenario_gradients(
        self, batch: Scenarios, theta: np.ndarray, multipliers: np.ndarray, *, saturated: bool = True
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gradients of weighted metrics with respect to each scenario by the adjoint."""
        theta = theta * self._weights
        bound = self._bind(batch)
        rests = bound.arrays["x_rest"]
        arrays = batch.x0, batch.p, bound.arrays["signals"], batch.w, rests
        gradients = [np.empty(array.shape) for array in arrays]
        threads = threads_for(_blocks(batch), 4 * self._operations(batch, 1))
        work = aligned(threads * self._library.engine_scenario_gradients_size(byref(bound)))
        self._library.engine_scenario_gradients(
            byref(bound), _data(theta), _data(multipliers), saturated,
            *(_data(gradient) if gradient.size else None for gradient in gradients), threads, _data(work),
        )  # fmt: skip
        gx0, gp, by_signals, gw, moved = gradients
        if self._rest and rests.size:
            gp += np.einsum("sij,si->sj", self._rest.slopes(rests, settled(self._plant, batch.p)), moved)
        return gx0, pulled_back(self._plant, batch.p, gp, by_signals), gw

    def rests(self, batch: Scenarios) -> np.ndarray | None:
        """Return where contraction is about, None for the nominal equilibrium."""
        return self._bind(batch).arrays["x_rest"] if self._rest and self._rest.moves else None

    def gauss_newton(self, batch: Scenarios, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return mean cost, gradient and Gauss-Newton matrix by forward sensitivities."""
        theta, d = theta * self._weights, theta.size
        groups = self._groups(batch, d * d)
        cost, gradient, H = np.empty(batch.count), np.zeros((groups, d)), np.zeros((groups, d, d))
        threads = threads_for(groups, d * self._operations(batch, 1))
        work = aligned(threads * self._library.engine_gauss_newton_size())
        bound = self._bind(batch)
        self._library.engine_gauss_newton(
            byref(bound), _data(theta), groups, _data(cost), _data(gradient), _data(H), threads, _data(work)
        )
        steps = batch.count * batch.horizon
        lower = np.tril(H.sum(axis=0)) * (2 / steps) * self._weights[:, None] * self._weights
        return float(cost.mean()), gradient.sum(axis=0) / steps * self._weights, lower + np.tril(lower, -1).T

    def trajectories(self, batch: Scenarios, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return states and commands."""
        theta, S, N = theta * self._weights, batch.count, batch.horizon
        X, U = np.empty((S, N + 1, self._nx)), np.empty((S, N, self._nu))
        threads = threads_for(_blocks(batch), self._operations(batch, 1))
        work = aligned(threads * self._library.engine_evaluate_size())
        bound = self._bind(batch)
        self._library.engine_trajectories(byref(bound), _data(theta), _data(X), _data(U), threads, _data(work))
        return X, U

    def _evaluate(
        self, batch: Scenarios, thetas: np.ndarray, metrics: np.ndarray, cost: np.ndarray | None, *, saturated: bool
    ) -> None:
        threads, work = self._workers(batch, len(thetas))
        thetas = thetas * self._weights
        self._library.engine_evaluate(
            byref(self._bind(batch)), len(thetas), _data(thetas), saturated, _data(metrics), _data(cost), threads,
            _data(work),
        )  # fmt: skip

    def _workers(self, batch: Scenarios, count: int) -> tuple[int, np.ndarray]:
        """Return how many threads roll out `count` θ, and their memory."""
        items = -(-count // _THETAS_AT_ONCE) * _blocks(batch)
        threads = threads_for(items, self._operations(batch, count))
        return threads, aligned(threads * self._library.engine_evaluate_size())

    def _bind(self, batch: Scenarios) -> _Batch:
        """Return a batch in C's layout, the last one again; it holds the arrays that it points to."""
        bound = self._bound  # another thread may put its own there meanwhile
        if bound is None or bound.batch is not batch:
            arrays = {key: np.ascontiguousarray(getattr(batch, key), dtype=float) for key in ("x0", "p", "w")}
            rests = self._rest.places(settled(self._plant, batch.p)) if self._rest else None
            arrays["signals"] = np.ascontiguousarray(over_time(self._plant, batch.p, batch.horizon))
            arrays |= {"x_rest": np.zeros((0, self._nx)) if rests is None else rests, **self._constants}
            addresses = {key: _data(array) if array.size else None for key, array in arrays.items()}
            bound = _Batch(scenarios=batch.count, horizon=batch.horizon, **self._flags, **addresses)
            bound.arrays, bound.batch = arrays, batch
            self._bound = bound
        return bound

    def _operations(self, batch: Scenarios, count: int) -> float:
        return float(count) * batch.count * batch.horizon * self._step_cost

    @staticmethod
    def _groups(batch: Scenarios, size: int) -> int:
        """How many sums of `size` numbers are kept apart: enough for the threads, within bounded memory."""
        return max(1, min(_blocks(batch), _MOST_GROUPS, _GROUP_BYTES // (8 * size)))


def _factor(policy: LoopPolicy) -> np.ndarray:
    """Return what multiplies z before a network."""
    return 1 / np.array(policy.scale) if isinstance(policy, Policy) else np.zeros(0)


def _input_weights(policy: LoopPolicy) -> np.ndarray:
    """Return what multiplies θ in C, whose residual has no input scale: the output layer's rows have it, (d,)."""
    weights = np.ones(policy.theta_dim)
    if isinstance(policy, ControllerPolicy):
        return weights
    weights[policy.theta_dim - policy.plant.nu * policy.widths[-2] :] = np.repeat(policy.input_scale, policy.widths[-2])
    return weights


def _blocks(batch: Scenarios) -> int:
    return -(-batch.count // WIDTH)


def _data(array: np.ndarray | None) -> int | None:
    return None if array is None else array.ctypes.data
