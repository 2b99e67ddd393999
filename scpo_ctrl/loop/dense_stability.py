"""The metric of local stability (E11) for many states: matrices in numpy instead of an expression for each entry.

By the chain rule the loop's derivative is J = f_x + f_u π_x, whose parts CasADi makes: constants on a linear plant.
What is left are products and solutions of dense matrices, by BLAS and LAPACK, and their derivatives backwards by hand.
"""

from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.compiled import StackFunction
from scpo_ctrl.loop.controlled import LoopPolicy
from scpo_ctrl.loop.rest import AT_REST, BEYOND_BOUNDS, beyond_bounds, solved
from scpo_ctrl.models import Plant

BEYOND = AT_REST / BEYOND_BOUNDS  # what a command beyond its bounds counts as moving, for each half of their width
_NUMBERS = 1_000_000  # in the matrices J of the policies that are taken at once


def chained_loop(policy: LoopPolicy) -> ca.Function:
    """Return the closed loop without saturation, and its derivative by the chain rule.

    Parameters
    ----------
    policy : Policy or ControllerPolicy

    Returns
    -------
    casadi.Function
        ``(x, p, theta) -> (x_next, J, command)`` with J of shape (nx, nx), dense.
    """
    plant = policy.plant
    x, p, theta = (ca.SX.sym(n, k) for n, k in (("x", plant.nx), ("p", plant.npar), ("theta", policy.theta_dim)))
    command = policy.command(x, theta, p)
    control = ca.Function("control", [x, p, theta], [command, ca.densify(ca.jacobian(command, x))])
    inputs = [ca.MX.sym(name, size) for name, size in (("x", plant.nx), ("p", plant.npar), ("theta", policy.theta_dim))]
    at, p, weights = inputs
    u, slope = control(at, p, weights)
    following, A, B = plant.derivatives(at, u, p)
    return ca.Function("closed_loop", inputs, [following, ca.densify(A) + ca.densify(B) @ slope, u])


@dataclass(frozen=True)
class DenseMetric:
    """The metric (E11) at one vertex, of stacks (K, d + nx) of θ and the place that the search for rest starts from."""

    loop: ca.Function  # of `chained_loop`
    plant: Plant  # whose bounds the command keeps at rest
    p: np.ndarray  # (np,) plant parameters [p_units]
    root: np.ndarray  # C of P = C Cᵀ
    inverse_root: np.ndarray  # C⁻ᵀ
    unit: float  # √ρ, in parts of which a place is at rest
    doublings: int  # log₂ M
    gamma: float
    floor: float  # δ
    newton: int  # steps to the place of rest

    def values(self, stack: np.ndarray) -> list[np.ndarray]:
        """Return metrics and how far from rest the places are.

        Parameters
        ----------
        stack : numpy.ndarray, shape (K, d + nx)

        Returns
        -------
        list of numpy.ndarray, each of shape (K, 1)
        """
        parts = [self._at_rest(stack[rows]) for rows in self._chunks(len(stack))]
        metrics = [self._metric(self._powers(J)[-1]) for _, J, _ in parts]
        return [np.concatenate(metrics)[:, None], np.concatenate([moved for *_, moved in parts])[:, None]]

    def gradients(self, stack: np.ndarray) -> list[np.ndarray]:
        """Return metrics and their gradients, the place of rest moving with θ.

        Parameters
        ----------
        stack : numpy.ndarray, shape (K, d + nx)

        Returns
        -------
        list of numpy.ndarray, shapes (K, 1) and (K, d)
        """
        parts = [self._with_gradients(stack[rows]) for rows in self._chunks(len(stack))]
        return [np.concatenate([g for g, _ in parts])[:, None], np.concatenate([slopes for _, slopes in parts])]

    def _with_gradients(self, stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return metrics (K,) and gradients (K, d) by going backwards through powers, derivative and place."""
        places, J, _ = self._at_rest(stack)
        *powers, last = self._powers(J)
        with np.errstate(over="ignore", invalid="ignore"):
            bar = last * (2 / (np.log(4) * (_squares(last) + self.floor)))[:, None, None]
            for power in reversed(powers):
                bar = bar @ power.swapaxes(1, 2) + power.swapaxes(1, 2) @ bar
            bar = self.root @ bar @ self.inverse_root.T
        by_theta, by_x = self._pulled(np.hstack([places, bar.swapaxes(1, 2).reshape(len(bar), -1)]))
        carried = solved((np.eye(J.shape[1]) - J).swapaxes(1, 2), by_x)
        return self._metric(last), by_theta + self._moved(np.hstack([places, carried]))[0]

    def _at_rest(self, stack: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return θ with the place of rest (K, d + nx), J there (K, nx, nx), and how far from rest it is (K,)."""
        places, nx = stack.copy(), len(self.root)
        following, J, command = self._stepped(places)
        for _ in range(self.newton):
            places[:, -nx:] += solved(np.eye(nx) - J, following - places[:, -nx:])
            following, J, command = self._stepped(places)
        moved = np.linalg.norm((following - places[:, -nx:]) @ self.root, axis=1) / self.unit
        return places, J, moved + BEYOND * beyond_bounds(self.plant, command)

    def _stepped(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the next states (K, nx), J (K, nx, nx) and commands (K, nu)."""
        following, entries, command = self._next(places)
        nx = following.shape[1]
        return following, entries.reshape(-1, nx, nx).swapaxes(1, 2), command

    def _powers(self, J: np.ndarray) -> list[np.ndarray]:
        """Return J in the norm of P, and its squares up to the power M."""
        with np.errstate(over="ignore", invalid="ignore"):
            powers = [self.root.T @ J @ self.inverse_root]
            for _ in range(self.doublings):
                powers.append(powers[-1] @ powers[-1])
        return powers

    def _metric(self, last: np.ndarray) -> np.ndarray:
        return np.asarray(np.log((_squares(last) + self.floor) / (self.gamma + self.floor)) / np.log(4))

    def _chunks(self, count: int) -> list[slice]:
        size = max(1, _NUMBERS // self.root.size)
        return [slice(start, start + size) for start in range(0, count, size)]

    def _stacked(self, behind: int) -> tuple[ca.MX, ca.MX, ca.MX, ca.MX]:
        """Return a column of θ, x and some numbers behind them, and the loop's x⁺, J and command there."""
        nx, d = self.loop.size1_in(0), self.loop.size1_in(2)
        column = ca.MX.sym("column", d + nx + behind)
        following, J, command = self.loop(column[d : d + nx], ca.DM(self.p), column[:d])
        return column, following, J, command

    @cached_property
    def _next(self) -> StackFunction:
        """(θ, x) -> x⁺, J column by column, command."""
        column, following, J, command = self._stacked(0)
        return StackFunction(ca.Function("next", [column], [following, ca.vec(J), command]), [])

    @cached_property
    def _pulled(self) -> StackFunction:
        """(θ, x, weights) -> the gradients by θ and x of the weighted sum of J's entries."""
        nx, d = self.loop.size1_in(0), self.loop.size1_in(2)
        column, _, J, _ = self._stacked(nx * nx)
        slopes = ca.gradient(ca.dot(column[d + nx :], ca.vec(J)), column)
        return StackFunction(ca.Function("pulled", [column], [slopes[:d], slopes[d : d + nx]]), [])

    @cached_property
    def _moved(self) -> StackFunction:
        """(θ, x, weights) -> the gradient by θ of the weighted sum of x⁺."""
        nx, d = self.loop.size1_in(0), self.loop.size1_in(2)
        column, following, *_ = self._stacked(nx)
        slopes = ca.gradient(ca.dot(column[d + nx :], following), column)
        return StackFunction(ca.Function("moved", [column], [slopes[:d]]), [])


def _squares(matrices: np.ndarray) -> np.ndarray:
    """Return squared Frobenius norms (K,), infinite where they are not numbers; each summed by itself."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.array([np.vdot(matrix, matrix) for matrix in matrices])
    return np.where(np.isnan(sums), np.inf, sums)
