"""Metrics and objective of the user's own as a problem: Python functions of stacks, or CasADi expressions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.compiled import StackFunction, compile_functions
from scpo_ctrl.errors import DimensionError, EvaluationError, cause
from scpo_ctrl.models.pickled import shallow
from scpo_ctrl.models.symbols import as_expression, as_symbols
from scpo_ctrl.problem.doors import Block
from scpo_ctrl.problem.objective import UserObjective
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.shown import Entries, Shown, counted
from scpo_ctrl.validate import as_function, as_texts


class FunctionProblem(Shown, Problem):
    """The user's own metrics and objective, no plant: metrics of stacks, and a first-order oracle.

    Parameters
    ----------
    theta_initial : array_like, shape (d,)
        The safe start.
    metrics : callable
        ``(K, d) -> (K, m)``, all rows at once.
    objective : UserObjective
        What is minimised.
    labels : sequence of str, optional
        What the metrics mean, for reports.

    Examples
    --------
    >>> import numpy as np
    >>> import scpo_ctrl as sc
    >>> objective = sc.UserObjective(lambda theta: (float(((theta - 2) ** 2).sum()), 2 * (theta - 2)))
    >>> inside = sc.FunctionProblem([0.0, 0.0], lambda thetas: (thetas**2).sum(axis=1, keepdims=True) - 1, objective)
    >>> sc.adapt(inside, sc.AdaptOptions(steps=50)).theta.round(2)
    array([0.71, 0.71])
    """

    def __init__(
        self,
        theta_initial: ArrayLike,
        metrics: Callable[[np.ndarray], np.ndarray],
        objective: UserObjective,
        *,
        labels: tuple[str, ...] = (),
    ) -> None:
        as_instance("objective", objective, UserObjective)
        super().__init__(theta_initial)
        as_function("metrics", metrics)
        self._user_metrics, self._objective, self._labels = metrics, objective, as_texts("labels", labels)
        self._count = self._metrics(self.theta_initial[None]).shape[1]
        if self._labels and len(self._labels) != self._count:
            raise DimensionError(
                f"labels has {len(self._labels)} entries, expected one for each of {self._count} metrics"
            )

    @classmethod
    def from_casadi(
        cls,
        theta: ca.SX | ca.MX,
        objective: ca.SX | ca.MX,
        metrics: ca.SX | ca.MX,
        theta_initial: ArrayLike,
        *,
        labels: tuple[str, ...] = (),
    ) -> FunctionProblem:
        """Make a problem from CasADi expressions of θ, compiled where a compiler is there; it has derivatives.

        Parameters
        ----------
        theta : casadi.SX or casadi.MX, shape (d, 1)
            Symbols.
        objective : casadi.SX or casadi.MX, scalar
        metrics : casadi.SX or casadi.MX, shape (m, 1)
        theta_initial : array_like, shape (d,)
            The safe start.
        labels : tuple of str, optional
            What the metrics mean, for reports.

        Returns
        -------
        FunctionProblem
        """
        return CasadiProblem(theta, objective, metrics, theta_initial, labels=labels)

    @cached_property
    def varies(self) -> np.ndarray:
        """All True: nothing is known about the user's metrics, shape (m,), bool."""
        return np.ones(self._count, dtype=bool)

    def metric_label(self, index: int) -> str:
        """Return the user's label of a metric."""
        return self._labels[index] if self._labels else super().metric_label(index)

    def _metrics(self, thetas: np.ndarray) -> np.ndarray:
        try:
            values = np.asarray(self._user_metrics(thetas), dtype=float)
        except Exception as error:
            raise EvaluationError(f"the metrics raised {cause(error)}") from error
        if values.ndim != 2 or len(values) != len(thetas):
            raise DimensionError(
                f"the metrics returned shape {values.shape} for {len(thetas)} policies, expected (K, m)"
            )
        return values

    def _value(self, theta: np.ndarray) -> float:
        return self._objective.oracle(theta)[0]

    def _gradient(self, theta: np.ndarray) -> np.ndarray:
        return self._objective.oracle(theta)[1]

    def _shown(self) -> tuple[str, Entries]:
        return f"{counted(self.theta_dim, 'parameter')}, {counted(self._count, 'metric')}", []


class CasadiProblem(FunctionProblem):
    """Metrics and objective as CasADi expressions of θ, with exact derivatives.

    Parameters
    ----------
    theta, objective, metrics, theta_initial, labels
        As in `FunctionProblem.from_casadi`.
    """

    def __init__(
        self,
        theta: ca.SX | ca.MX,
        objective: ca.SX | ca.MX,
        metrics: ca.SX | ca.MX,
        theta_initial: ArrayLike,
        *,
        labels: tuple[str, ...] = (),
    ) -> None:
        as_symbols("theta", theta)
        objective = as_expression("objective", objective, theta, 1)
        metrics = as_expression("metrics", metrics, theta)
        self._expressions = theta, objective, metrics
        functions = [
            ca.Function("metrics", [theta], [metrics]),
            ca.Function("oracle", [theta], [objective, ca.gradient(objective, theta)]),
        ]
        stack, oracle = (StackFunction(function, []) for function in compile_functions(functions))

        def value_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = oracle(point[None])
            return float(value[0, 0]), gradient[0]

        super().__init__(
            theta_initial, lambda thetas: stack(thetas)[0], UserObjective(value_and_gradient), labels=labels
        )

    def __getstate__(self) -> dict[str, Any]:
        theta, *expressions = self._expressions
        kept = {key: getattr(self, key) for key in ("theta_initial", "_labels", "_fixed")}
        return {"expressions": ca.Function("expressions", [theta], expressions), "kept": kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        function, kept = state["expressions"], state["kept"]
        theta = (ca.SX if function.is_a("SXFunction") else ca.MX).sym("theta", function.size1_in(0))
        objective, metrics = function.call([theta], True, False)  # inlined, as it was
        again = CasadiProblem(theta, objective, metrics, kept["theta_initial"])
        vars(self).update(vars(again) | kept)

    def __copy__(self) -> CasadiProblem:
        return shallow(self)

    @property
    def has_derivatives(self) -> bool:
        """True."""
        return True

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, block: Block) -> np.ndarray:
        """Return exact derivatives; see `Problem.jacobian`."""
        columns = self._derivatives[0](theta[None])[0].reshape(theta.size, -1)  # CasADi's follow each other
        J = columns[:, block.metrics]
        return J if D is None else D @ J

    def lagrangian_gradients(
        self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray | None = None
    ) -> np.ndarray:
        """Return gradients of objective and metrics together; see `Problem.lagrangian_gradients`."""
        terms = np.concatenate([multipliers, np.zeros_like(multipliers) if curvatures is None else curvatures])
        return self._derivatives[1](np.hstack([thetas, np.tile(terms, (len(thetas), 1))]))[0]

    @cached_property
    def _derivatives(self) -> tuple[StackFunction, StackFunction]:
        """Jacobian of the metrics, and gradient of the Lagrangian, below whose θ the terms of its metrics stand."""
        theta, objective, metrics = self._expressions
        count = metrics.numel()
        terms = type(theta).sym("terms", 2 * count)
        lagrangian = objective + ca.dot(terms[:count] + terms[count:] * metrics / 2, metrics)
        gradient = ca.Function("gradient", [theta, terms], [ca.gradient(lagrangian, theta)])
        point = ca.MX.sym("point", theta.numel() + 2 * count)
        stacked = gradient(point[: theta.numel()], point[theta.numel() :])
        functions = [
            ca.Function("jacobian", [theta], [ca.vec(ca.densify(ca.jacobian(metrics, theta)))]),
            ca.Function("lagrangian", [point], [stacked]),
        ]
        jacobian, lagrangian_gradient = (StackFunction(function, []) for function in compile_functions(functions))
        return jacobian, lagrangian_gradient
