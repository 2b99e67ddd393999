"""Rollouts of a black-box simulator: numpy steps all parameters and scenarios at once, derivatives are differences."""

from collections.abc import Iterator

import casadi as ca
import numpy as np

from scpo_ctrl.engine.loop import Engine, Loop
from scpo_ctrl.engine.step_functions import StepFunctions
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.black_box import BoxRest, Step
from scpo_ctrl.loop.metrics import Metrics
from scpo_ctrl.loop.numeric import NumericLaw, box_in_loop, plant_alone
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units
from scpo_ctrl.models.varying import gathered, parameters_over_time, settled

_NUMBERS = 1 << 22  # at most so many at once in an array: chunks of parameters and scenarios
_STEP = np.finfo(float).eps ** (1 / 3)  # of central differences, relative to the size of what is moved, θ's at least 1


class SimulatorEngine(Engine):
    """The engine around a black box; see `Engine` for what its methods do."""

    def __init__(self, loop: Loop, simulator: Step | ca.Function) -> None:
        self._loop = loop
        self._law = NumericLaw(loop.policy)
        self._box = box_in_loop(stepping(simulator, plant_alone(loop.policy)), loop.policy)
        self._rest = BoxRest(loop.metrics.plant, loop.metrics.backup, self._box, loop.policy.at_start)
        self._steps = StepFunctions(loop)
        self._rests: tuple[Scenarios, np.ndarray] | None = None  # of the last batch

    def metrics(self, batch: Scenarios, thetas: np.ndarray, out: np.ndarray, *, saturated: bool) -> None:
        """Fill `out` with metrics."""
        self._fill(batch, thetas, out, saturated=saturated)

    def evaluate(self, batch: Scenarios, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return metrics and mean costs."""
        metrics = np.empty((len(thetas), batch.count * len(self._loop.metrics.rows)))
        return metrics, self._fill(batch, thetas, metrics, saturated=True)

    def gradient(self, batch: Scenarios, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return mean cost and gradient by central differences."""
        ends, h = _ends(theta, np.eye(theta.size))
        cost = self._fill(batch, np.vstack([theta[None], ends]), None, saturated=True)
        with np.errstate(invalid="ignore"):
            return float(cost[0]), (cost[1::2] - cost[2::2]) / (2 * h)

    def lagrangian_gradients(
        self, batch: Scenarios, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray, *, saturated: bool
    ) -> np.ndarray:
        """Refuse: differences are too rough to be differentiated again."""
        raise DomainError("a black-box simulator has no second derivatives; use another method than 'newton'")

    def jacobian(self, batch: Scenarios, theta: np.ndarray, D: np.ndarray | None, *, saturated: bool) -> np.ndarray:
        """Return derivatives of the metrics by central differences."""
        ends, h = _ends(theta, np.eye(theta.size) if D is None else D)
        metrics = np.empty((len(ends), batch.count * len(self._loop.metrics.rows)))
        self._fill(batch, ends, metrics, saturated=saturated)
        with np.errstate(invalid="ignore", over="ignore"):
            return (metrics[::2] - metrics[1::2]) / (2 * h[:, None])

    def scenario_gradients(
        self, batch: Scenarios, theta: np.ndarray, multipliers: np.ndarray, *, saturated: bool = True
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gradients of weighted metrics with respect to each scenario by an adjoint along central differences.

        Every step of the closed loop is differenced by itself, which takes 2(nx + np) steps of the simulator besides
        that of the trajectory, whatever the horizon, and gives all three gradients; its error does not grow with the
        curvature of the whole rollout, as that of differences of rollouts does. States move relative to how far
        the level set reaches, parameters relative to their value or nominal value, whichever is larger. Where a command
        is closer to its bound than such a move, the slope is one between those on both sides.
        """
        plant, rests = self._loop.policy.plant, self.rests(batch)
        gx0, gp, gw = np.empty(batch.x0.shape), np.zeros(batch.p.shape), np.empty(batch.w.shape)
        done = 0
        for part in self._parts(batch, max(2 * (plant.nx + plant.npar), batch.horizon + 1)):
            here = slice(done, done + part.count)
            done += part.count
            X, commands = self._trajectory(part, theta, saturated=saturated)
            with np.errstate(invalid="ignore", over="ignore"):
                places = None if rests is None else rests[here]
                dX, dU, moved = _slopes(self._loop.metrics, multipliers[here], X, places)
                p, dp = parameters_over_time(plant, part.p, part.horizon), np.zeros(part.p.shape)
                applied = np.clip(commands, plant.u_min, plant.u_max) if saturated else commands
                by_input, by_p = self._steps.add_slopes(p, multipliers[here], X, applied, dX)
                dU += np.where(applied == commands, by_input, 0.0)
                if places is not None and plant.npar:
                    dp = np.einsum("sij,si->sj", self._rest.slopes(places, settled(plant, part.p)), moved)
                adjoint = dX[:, -1]
                for t in range(batch.horizon - 1, -1, -1):
                    if gw.size:
                        gw[here, t] = adjoint
                    J, C = self._step_jacobians(X[:, t], p[:, t], theta, saturated=saturated)
                    back = np.einsum("jsi,si->sj", J, adjoint) + np.einsum("jsi,si->sj", C, dU[:, t])
                    adjoint = dX[:, t] + back[:, : plant.nx]
                    by_p[:, t] += back[:, plant.nx :]
                gx0[here] = adjoint
                gp[here] = gathered(plant, part.p, dp, by_p)
        return gx0, gp, gw

    def rests(self, batch: Scenarios) -> np.ndarray | None:
        """Return where contraction is about, None where there is no such metric."""
        if self._loop.metrics.options.contraction is None:
            return None
        found = self._rests  # another thread may put its own there meanwhile
        if found is None or found[0] is not batch:
            found = self._rests = batch, self._rest.places(settled(self._loop.policy.plant, batch.p))
        return found[1]

    def _step_jacobians(
        self, x: np.ndarray, p: np.ndarray, theta: np.ndarray, *, saturated: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return derivatives of next states (nx + np, S, nx) and commands (nx + np, S, nu) along x and p."""
        policy, (S, nx) = self._loop.policy, x.shape
        plant = policy.plant
        least = _STEP * np.abs(x)  # times the step, what doubles near x can tell apart
        h_x = _STEP * np.maximum(policy.backup.extent, least)
        size = np.maximum(np.abs(p), np.abs(plant.p_nominal))
        h_p = np.minimum(_STEP * np.where(size > 0, size, 1.0), (p - plant.p_above) / 2)
        moves = np.eye(nx + plant.npar)[:, None] * np.hstack([h_x, h_p])
        point = np.hstack([x, p])
        ends = np.concatenate([point + moves, point - moves])
        rows = np.broadcast_to(theta, (len(ends), theta.size))
        command = self._law.commands(ends[..., :nx], rows, ends[..., nx:], saturated=saturated)
        u = np.clip(command, plant.u_min, plant.u_max) if saturated else command
        x_next = self._box(*(a.reshape(len(ends) * S, -1) for a in (ends[..., :nx], u, ends[..., nx:])))
        widths = np.einsum("jsj->js", ends[: len(moves)] - ends[len(moves) :])[..., None]
        return tuple(
            (values[: len(moves)] - values[len(moves) :]) / widths for values in (x_next.reshape(-1, S, nx), command)
        )

    def gauss_newton(self, batch: Scenarios, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return mean cost, gradient and Gauss-Newton matrix by central differences of the trajectories."""
        d = theta.size
        ends, h = _ends(theta, np.eye(d))
        rows = np.vstack([theta[None], ends])
        cost, gradient, H = 0.0, np.zeros(d), np.zeros((d, d))
        for part in self._parts(batch, len(rows)):
            for weight, value, rest in self._residuals(part, rows):
                with np.errstate(invalid="ignore", over="ignore"):
                    now = (value[0] - rest).ravel()
                    J = ((value[1::2] - value[2::2]) / (2 * h[:, None, None])).reshape(d, -1)
                    weights = np.tile(weight, part.count)
                    cost += float(weights @ now**2)
                    gradient += 2 * J @ (weights * now)
                    H += 2 * (J * weights) @ J.T
        steps = batch.count * batch.horizon
        return cost / steps, gradient / steps, H / steps

    def _residuals(self, batch: Scenarios, thetas: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield weights (k,), values (K, S, k) and what these are at rest (k,): weighted squares add up to the cost."""
        stage, plant, before = self._loop.stage, self._loop.policy.plant, None
        over_time = parameters_over_time(plant, batch.p, batch.horizon)
        for t, x, _, u in self._roll(batch, thetas, saturated=True):
            if self._steps.has_cost:
                before = u if before is None else before
                p = np.broadcast_to(over_time[:, t], (len(thetas), *batch.p.shape))
                point = (x, p) if u is None or before is None else (x, u, before, p)
                values, before = self._steps.residuals(*point), u
                yield np.ones(values.shape[2]), values, np.zeros(values.shape[2])
            elif u is not None:
                yield stage.Q, x, plant.x_eq
                yield stage.R, u, plant.u_eq

    def trajectories(self, batch: Scenarios, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return states and commands."""
        return self._trajectory(batch, theta, saturated=True)

    def _trajectory(self, batch: Scenarios, theta: np.ndarray, *, saturated: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return states (S, N + 1, nx) and commands (S, N, nu)."""
        plant, N = self._loop.policy.plant, batch.horizon
        X, U = np.empty((batch.count, N + 1, plant.nx)), np.empty((batch.count, N, plant.nu))
        for t, x, command, _ in self._roll(batch, theta[None], saturated=saturated):
            X[:, t] = x[0]
            if command is not None:
                U[:, t] = command[0]
        return X, U

    def _fill(self, batch: Scenarios, thetas: np.ndarray, out: np.ndarray | None, *, saturated: bool) -> np.ndarray:
        """Roll out chunk by chunk; fill in the metrics and return the mean costs."""
        rows, cost = len(self._loop.metrics.rows), np.zeros(len(thetas))
        rests = None if out is None else self.rests(batch)
        for begin in range(0, len(thetas), self._thetas_at_once(batch)):
            some = slice(begin, begin + self._thetas_at_once(batch))
            done = 0
            for part in self._parts(batch, len(thetas[some])):
                end = done + part.count
                place = None if out is None else out[some].reshape(-1, batch.count, rows)[:, done:end]
                about = None if rests is None else rests[done:end]
                cost[some] += self._fill_part(part, thetas[some], place, about, saturated=saturated)
                done = end
        return cost / (batch.count * batch.horizon)

    def _fill_part(
        self,
        batch: Scenarios,
        thetas: np.ndarray,
        out: np.ndarray | None,
        rests: np.ndarray | None,
        *,
        saturated: bool,
    ) -> np.ndarray:
        """Fill in metrics (K, S, rows) and return the summed costs (K,)."""
        stage, metrics = self._loop.stage, self._loop.metrics
        plant, options, backup = metrics.plant, metrics.options, metrics.backup
        cost, before = np.zeros(len(thetas)), None
        over_time = parameters_over_time(plant, batch.p, batch.horizon)
        states = _finite_rows(plant.x_min, plant.x_max)
        commands = _finite_rows(plant.u_min, plant.u_max)
        first_command = (batch.horizon + 1) * states[0].size
        with np.errstate(invalid="ignore", over="ignore"):
            for t, x, command, u in self._roll(batch, thetas, saturated=saturated):
                if out is not None and options.path:
                    _put_rows(out, t * states[0].size, x, states)
                    if command is not None and options.command:
                        _put_rows(out, first_command + t * commands[0].size, command, commands)
                if u is not None and not self._steps.has_cost:
                    z, v = x - plant.x_eq, u - plant.u_eq
                    cost += (z**2 @ stage.Q + v**2 @ stage.R).sum(axis=1)
                applied = u if saturated else command
                before = applied if before is None else before
                p = np.broadcast_to(over_time[:, t], (len(thetas), *batch.p.shape))
                point = (x, p) if applied is None or before is None else (x, applied, before, p)
                before = applied
                if out is not None:
                    self._steps.put_metrics(out, t, batch.horizon, *point)
                if self._steps.has_cost:
                    cost += self._steps.cost(*point)
            if out is not None:
                place = out.shape[2]
                if options.contraction is not None:
                    place -= 1
                    out[:, :, place] = metrics.about_rest(x, rests) - metrics.contraction_limits(batch.x0, rests)
                if options.terminal:
                    out[:, :, place - 1] = backup.level(x, plant.x_eq) / backup.rho - 1
        return cost

    def _roll(
        self, batch: Scenarios, thetas: np.ndarray, *, saturated: bool
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray | None, np.ndarray | None]]:
        """Yield t, state (K, S, nx), command and applied input (K, S, nu) of each step; None for both at t = N."""
        plant, K, S = self._loop.policy.plant, len(thetas), batch.count
        x = np.broadcast_to(batch.x0, (K, S, plant.nx))
        over_time = parameters_over_time(plant, batch.p, batch.horizon)
        for t in range(batch.horizon):
            p = np.broadcast_to(over_time[:, t], (K, S, plant.npar))
            with np.errstate(invalid="ignore", over="ignore"):
                command = self._law.commands(x, thetas, p, saturated=saturated)
                applied = np.clip(command, plant.u_min, plant.u_max)
            yield t, x, command, applied
            u = applied if saturated else command
            x = self._box(*(a.reshape(K * S, -1) for a in (x, u, p))).reshape(K, S, -1)
            x = x + batch.w[:, t] if batch.w.size else x
        yield batch.horizon, x, None, None

    def _parts(self, batch: Scenarios, thetas: int) -> Iterator[Scenarios]:
        """Split a batch so that `thetas` times a part fits."""
        count = max(1, _NUMBERS // (thetas * self._law.width))
        for start in range(0, batch.count, count):
            yield batch.part(slice(start, start + count))

    def _thetas_at_once(self, batch: Scenarios) -> int:
        return max(1, _NUMBERS // (min(batch.count, 64) * self._law.width))


def _ends(theta: np.ndarray, D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return θ + h_j d_j and θ - h_j d_j in turns (2p, d), and the steps h (p,)."""
    size = np.maximum(1.0, np.abs(theta) @ (D != 0).T / np.maximum(np.count_nonzero(D, axis=1), 1))
    h = _STEP * size
    moves = h[:, None] * D
    return np.stack([theta + moves, theta - moves], axis=1).reshape(-1, theta.size), h


def _finite_rows(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the coordinate, the sign and the bound of each metric of one time step: sign · (x - bound) (E6)."""
    upper, lower = np.flatnonzero(np.isfinite(high)), np.flatnonzero(np.isfinite(low))
    signs = np.concatenate([np.ones(upper.size), -np.ones(lower.size)])
    return np.concatenate([upper, lower]), signs, np.concatenate([high[upper], low[lower]])


def _slopes(
    metrics: Metrics, multipliers: np.ndarray, X: np.ndarray, rests: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return derivatives of weighted metrics in states (S, N + 1, nx), commands (S, N, nu) and rests (S, nx)."""
    plant, options, backup = metrics.plant, metrics.options, metrics.backup
    dX, dU = np.zeros(X.shape), np.zeros((len(X), X.shape[1] - 1, plant.nu))
    boxes = [(dX, plant.x_min, plant.x_max)] if options.path else []
    boxes += [(dU, plant.u_min, plant.u_max)] if metrics.bounds_command else []
    start = 0
    for slopes, low, high in boxes:
        which, sign, _ = _finite_rows(low, high)
        steps = len(slopes[0])
        end = start + steps * which.size
        H = sign[:, None] * np.eye(low.size)[which]
        slopes[:] = multipliers[:, start:end].reshape(-1, steps, which.size) @ H
        start = end
    if options.terminal:
        start = multipliers.shape[1] - (1 if options.contraction is None else 2)
        dX[:, -1] += multipliers[:, start, None] / backup.rho * 2 * ((X[:, -1] - plant.x_eq) @ backup.P)
    if options.contraction is None or rests is None:
        return dX, dU, np.zeros((len(X), plant.nx))
    above = options.contraction * metrics.about_rest(X[:, 0], rests) >= metrics.floor
    parts = np.stack([np.where(above, -options.contraction, 0.0), np.ones(len(X))], axis=1)
    V_slopes = 2 * (X[:, [0, -1]] - rests[:, None]) @ backup.P
    own = multipliers[:, -1, None, None] * parts[:, :, None] * V_slopes
    dX[:, [0, -1]] += own
    return dX, dU, -own.sum(axis=1)


def _put_rows(out: np.ndarray, start: int, values: np.ndarray, rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    which, sign, bound = rows
    out[:, :, start : start + which.size] = sign * (values[:, :, which] - bound)


def stepping(simulator: Step | ca.Function, plant: Plant) -> Step:
    """Return a simulator as a function of stacks, where it is a CasADi function of columns.

    Parameters
    ----------
    simulator : callable or casadi.Function
        ``(x, u, p) -> x_next``; p may be left out where there are no parameters.
    plant : Plant
        In whose place it is.

    Returns
    -------
    callable
        Of arrays of shapes (n, nx), (n, nu) and (n, np), to one of shape (n, nx).

    Raises
    ------
    DimensionError
        If an argument or the result has another shape.
    """
    if not isinstance(simulator, ca.Function):
        return simulator
    sizes = plant.nx, plant.nu, plant.npar
    found = tuple(simulator.size_in(i) for i in range(simulator.n_in()))
    expected = tuple((size, 1) for size in sizes)
    if found != expected and not (sizes[2] == 0 and found in (expected[:2], (*expected[:2], (0, 0)))):
        raise DimensionError(f"the simulator takes inputs of shapes {found}, expected {expected} for (x, u, p)")
    if simulator.n_out() < 1 or simulator.size_out(0) != (sizes[0], 1):
        raise DimensionError(f"the simulator's first output is not the next state of shape {(sizes[0], 1)}")
    mapped: dict[int, ca.Function] = {}

    def step(x: np.ndarray, u: np.ndarray, p: np.ndarray) -> np.ndarray:
        if len(x) not in mapped:
            mapped[len(x)] = simulator.map(len(x))
        arguments = [array.T for array in (x, u, p)][: simulator.n_in()]
        result = mapped[len(x)].call([ca.DM(array) for array in arguments])[0]
        return np.array(result).T

    return step


def in_units(simulator: Step | ca.Function, plant: Plant, units: Units) -> Step:
    """Return a black box for the plant in other units.

    Parameters
    ----------
    simulator : callable or casadi.Function
        As in `Rollouts`.
    plant : Plant
        In whose place it is.
    units : Units
        Of a loop, whose first states and inputs are the plant's.

    Returns
    -------
    callable
    """
    inner, x_units, u_units = stepping(simulator, plant), units.x[: plant.nx], units.u[: plant.nu]

    def step(x: np.ndarray, u: np.ndarray, p: np.ndarray) -> np.ndarray:
        x_next = np.array(inner(x * x_units, u * u_units, p), dtype=float)
        return x_next / x_units if x_next.shape == x.shape else x_next  # another shape is refused by who called

    return step
