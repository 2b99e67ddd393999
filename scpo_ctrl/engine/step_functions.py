"""Metrics and costs that are expressions of a time step, in numbers: for black boxes, from the model's expressions."""

import casadi as ca
import numpy as np

from scpo_ctrl.engine.loop import Loop
from scpo_ctrl.loop.stacked import StackedFunction


class StepFunctions:
    """What the user wrote of a time step of a loop, in numbers.

    Parameters
    ----------
    loop : Loop
    """

    def __init__(self, loop: Loop) -> None:
        self._steps, self._terms, metrics = loop.metrics.steps, loop.stage.terms, loop.metrics
        plant, options = metrics.plant, metrics.options
        bounds = int(np.isfinite([plant.x_min, plant.x_max]).sum())
        commands = metrics.horizon * 2 * plant.nu if options.command else 0
        self._start = ((metrics.horizon + 1) * bounds + commands) if options.path else 0
        if self._steps is not None:
            of_step, at_end = self._steps.function, self._steps.at_end
            self._metrics = StackedFunction(of_step), StackedFunction(at_end)
            self._adjoints = StackedFunction(_adjoint(of_step)), StackedFunction(_adjoint(at_end))
        if self._terms is not None:
            self._costs = StackedFunction(self._terms.stage), StackedFunction(self._terms.terminal)
            squares = self._terms.residuals, self._terms.terminal_residuals
            self._residuals = [StackedFunction(one) for one in squares if one is not None]

    @property
    def has_cost(self) -> bool:
        """Whether expressions are the cost."""
        return self._terms is not None

    def put_metrics(self, out: np.ndarray, t: int, horizon: int, *point: np.ndarray) -> None:
        """Fill in the metrics of a time step, if there are any.

        Parameters
        ----------
        out : numpy.ndarray, shape (K, S, rows)
        t, horizon : int
            t in 0…N.
        *point : numpy.ndarray, shape (K, S, n)
            State, applied input, the one before, and plant parameters; state and parameters at t = N.
        """
        if self._steps is not None:
            values = self._metrics[t == horizon](*point)[0]
            rows = self._rows(t, horizon)
            out[:, :, rows] = values[:, :, : rows.stop - rows.start]

    def add_slopes(
        self,
        p: np.ndarray,
        multipliers: np.ndarray,
        X: np.ndarray,
        U: np.ndarray,
        dX: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add derivatives of weighted metrics by the states, and return those by applied inputs and parameters.

        Parameters
        ----------
        p : numpy.ndarray, shape (S, N + 1, np)
            Plant parameters over time.
        multipliers : numpy.ndarray, shape (S, rows)
        X : numpy.ndarray, shape (S, N + 1, nx)
        U : numpy.ndarray, shape (S, N, nu)
        dX : numpy.ndarray, shape (S, N + 1, nx)
            Changed in place.

        Returns
        -------
        dU : numpy.ndarray, shape (S, N, nu)
        dp : numpy.ndarray, shape (S, N + 1, np)
        """
        dU, dp = np.zeros(U.shape), np.zeros(p.shape)
        if self._steps is None:
            return dU, dp
        N, all_rows = U.shape[1], len(self._steps.rows)
        before = np.concatenate([U[:, :1], U[:, :-1]], axis=1)
        weights = np.zeros((len(X), N, all_rows))
        for t in range(N):
            rows = self._rows(t, N)
            weights[:, t, : rows.stop - rows.start] = multipliers[:, rows]
        by_x, by_u, by_v, by_p = self._adjoints[0](X[:, :-1], U, before, p[:, :-1], weights)
        dX[:, :-1] += by_x
        dU += by_u
        dU[:, :-1] += by_v[:, 1:]
        dU[:, 0] += by_v[:, 0]
        by_end, by_p_end = self._adjoints[1](X[:, -1], p[:, -1], multipliers[:, self._rows(N, N)])
        dX[:, -1] += by_end
        return dU, np.concatenate([by_p, by_p_end[:, None]], axis=1)

    def cost(self, *point: np.ndarray) -> np.ndarray:
        """Return the summed cost of a time step, or of the last state (K,).

        Parameters
        ----------
        *point : numpy.ndarray, shape (K, S, n)
            As in `put_metrics`.

        Returns
        -------
        numpy.ndarray, shape (K,)
        """
        return np.asarray(self._costs[len(point) == 2](*point)[0].sum(axis=(1, 2)))

    def residuals(self, *point: np.ndarray) -> np.ndarray:
        """Return the residuals of a time step, or of the last state.

        Parameters
        ----------
        *point : numpy.ndarray, shape (K, S, n)
            As in `put_metrics`.

        Returns
        -------
        numpy.ndarray, shape (K, S, k)
        """
        return self._residuals[len(point) == 2](*point)[0]

    def _rows(self, t: int, horizon: int) -> slice:
        """Return where the metrics of a time step are among those of a scenario."""
        assert self._steps is not None
        start = self._start + t * len(self._steps.rows) - (self._steps.changes if t else 0)
        return slice(start, start + len(self._steps.at(t, horizon)))


def _adjoint(function: ca.Function) -> ca.Function:
    """Return the derivatives of a weighted sum of results by every argument; weights come last."""
    arguments = function.sx_in()
    values = function(*arguments)
    weights = ca.SX.sym("weights", values.numel())
    if not values.numel():
        return ca.Function("adjoint", [*arguments, weights], [ca.SX.zeros(one.shape) for one in arguments])
    slopes = [ca.densify(ca.jtimes(values, one, weights, True)) for one in arguments]
    return ca.Function("adjoint", [*arguments, weights], slopes)
