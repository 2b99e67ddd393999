"""What the user wrote of a time step, once more: constraints, limits of the inputs' change, and costs.

The expressions are evaluated, and their derivatives taken, by CasADi. Which metrics there are at which time, what they
count in, and what a cost adds up to is computed here, from the definitions in docs/your-plant.md.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units
from scpo_ctrl.record.metrics import read_constraints
from scpo_ctrl.record.objectives import read_cost
from scpo_ctrl.record.plants import constants_of
from scpo_ctrl.verification.rows import AtRows

_SIZES = {"Q": "nx", "R": "nu", "P_N": "nx", "R_du": "nu"}


@dataclass(frozen=True)
class Limit:
    """One bound of every time step: h(x, u, p) ≤ bound, or a change of an input."""

    kind: str
    label: str
    bound: float
    scale: float  # that counts as one
    room: float  # from the equilibrium to the bound
    first: int  # time of the first
    of_input: bool  # whether it has none of the last state


class Written:
    """Metrics and cost of a time step by the user's expressions and weights, for rows of states and inputs.

    Parameters
    ----------
    plant : Plant
        Of the loop.
    inputs : int
        How many of its inputs are inputs, and not memories that follow.
    tables : dict
        The problem file.
    folder : pathlib.Path
        Where the files are that it names.
    """

    def __init__(self, plant: Plant, inputs: int, tables: dict[str, Any], folder: Path = Path()) -> None:
        self._plant, self._objective, self._at_rows = plant, tables["objective"], AtRows()
        du_max = np.array(tables["metrics"].get("du_max", np.full(inputs, np.inf)), dtype=float)
        self._du_max = np.append(du_max, np.full(plant.nu - du_max.size, np.inf))
        given = tables["metrics"].get("constraints")
        constants = constants_of(tables["plant"])
        constraints = () if given is None else read_constraints(given, plant, folder, constants)
        symbols, z = [plant.x, plant.u, plant.p], ca.vertcat(plant.x, plant.u)
        h = ca.vertcat(ca.SX(0, 1), *(one.expression for one in constraints))
        self._h = ca.Function("h", symbols, [ca.densify(h), ca.densify(ca.jacobian(h, z))])
        rest = np.array(self._h(plant.x_eq, plant.u_eq, plant.p_nominal)[0]).ravel()
        of_input = ca.which_depends(h, plant.u, 1, True) if h.numel() else []
        limits, places = [], iter(zip(rest.tolist(), of_input, strict=True))
        for one in constraints:
            for i, name in enumerate(one.name):
                at_rest, moved = next(places)
                bound, unit = float(one.bound[i]), one.unit[i]
                scale = bound - at_rest if one.scale is None else float(one.scale[i])
                label = f"{name} <= {bound:g} {unit}".rstrip()
                limits.append(Limit(name, label, bound, scale, bound - at_rest, 0, bool(moved)))
        self._limited = np.flatnonzero(np.isfinite(self._du_max))
        for k in self._limited:
            most, label, unit = float(self._du_max[k]), f"change of {plant.u_labels[k]}", plant.u_units[k]
            for sign, end in (("<=", most), (">=", -most)):
                limits.append(Limit("rate", f"{label} {sign} {end:g} {unit}".rstrip(), most, most, most, 1, True))
        self.limits = tuple(limits)
        self._put_cost(tables, folder)

    def _put_cost(self, tables: dict[str, Any], folder: Path) -> None:
        plant, table = self._plant, tables["objective"]
        weights = {key: np.array(table[key], dtype=float) for key in _SIZES if key in table}
        self._squares, self._ends = False, False
        if table["kind"] in ("expression", "recorded"):
            cost = read_cost(table, plant, folder, constants_of(tables["plant"]))
            self._squares, self._ends = cost.least_squares, cost.terminal is not None
            terminal = ca.SX(0, 1) if cost.terminal is None else cost.terminal
            self._stage = ca.Function("stage", [plant.x, plant.u, plant.p], [ca.densify(cost.stage)])
            self._terminal = ca.Function("terminal", [plant.x, plant.p], [ca.densify(terminal)])
            weights = {} if cost.R_du is None else {"R_du": cost.R_du}
        self._weights = {key: np.pad(W, (0, getattr(plant, _SIZES[key]) - len(W))) for key, W in weights.items()}

    def at(self, t: int, horizon: int) -> np.ndarray:
        """Return which of the limits there are at a time, (k,)."""
        there = [one.first <= t and not (one.of_input and t == horizon) for one in self.limits]
        return np.flatnonzero(there)

    def excess(self, x: np.ndarray, u: np.ndarray, before: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far states and applied inputs are above all limits, and the sizes of the numbers behind it.

        Parameters
        ----------
        x : numpy.ndarray, shape (n, nx)
        u, before : numpy.ndarray, shape (n, nu)
            The input that is applied, and the one before.
        p : numpy.ndarray, shape (n, np)

        Returns
        -------
        excess : numpy.ndarray, shape (n, len(limits))
            In the units of the bounds; infinite where it is not a number.
        sizes : numpy.ndarray, shape (n, len(limits))
        """
        plant, count = self._plant, self._h.numel_out(0)
        h, slopes = (
            (np.array(part).T for part in self._at_rows(self._h, x, u, p)) if count else (np.zeros((len(x), 0)),) * 2
        )
        slopes = slopes.reshape(len(x), plant.nx + plant.nu, count)
        bounds = np.array([one.bound for one in self.limits])
        change = (u - before)[:, self._limited]
        both = np.stack([change, -change], axis=2).reshape(len(x), -1)
        values = np.hstack([h, both])
        behind = np.einsum("nik,i->nk", np.abs(slopes), self._signals)
        behind = np.maximum(np.maximum(np.abs(h), behind), np.abs(bounds[:count]))
        of_change = np.repeat(2 * self._signals[plant.nx :][self._limited], 2)
        known = np.isfinite(np.hstack([x, u])).all(axis=1, keepdims=True)
        over = np.where(known & ~np.isnan(values), values - bounds, np.inf)
        return over, np.hstack([behind, np.broadcast_to(of_change, both.shape)])

    @cached_property
    def _signals(self) -> np.ndarray:
        """Sizes of states and inputs, (nx + nu,)."""
        plant, units = self._plant, Units.of(self._plant)
        ends = [np.append(getattr(plant, f"x_{end}"), getattr(plant, f"u_{end}")) for end in ("min", "max")]
        reach = np.abs(np.append(plant.x_eq, plant.u_eq)) + np.append(units.x, units.u)
        return np.maximum(np.max(np.abs(np.where(np.isfinite(ends), ends, 0.0)), axis=0), reach)

    def stage(self, x: np.ndarray, u: np.ndarray, before: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return the cost of a time step for rows of states and applied inputs, (n,); arguments as of `excess`."""
        plant, total = self._plant, np.zeros(len(x))
        if self._objective["kind"] == "quadratic":
            total = _weighed(self._weights["Q"], x - plant.x_eq) + _weighed(self._weights["R"], u - plant.u_eq)
        elif self._objective["kind"] != "imitation":
            total = self._added(np.array(self._at_rows(self._stage, x, u, p)).T)
        return total + _weighed(self._weights["R_du"], u - before) if "R_du" in self._weights else total

    def end(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return the cost of rows of last states, (n,)."""
        if "P_N" in self._weights:
            return _weighed(self._weights["P_N"], x - self._plant.x_eq)
        return self._added(np.array(self._at_rows(self._terminal, x, p)).T) if self._ends else np.zeros(len(x))

    def _added(self, values: np.ndarray) -> np.ndarray:
        """Return the cost that rows of values are: their squares summed up, or the only one."""
        return np.asarray((values**2).sum(axis=1) if self._squares else values[:, 0])


def _weighed(W: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return zᵀWz of rows."""
    return np.asarray(z**2 @ W if W.ndim == 1 else ((z @ W) * z).sum(axis=1))
