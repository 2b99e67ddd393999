"""A loop under a controller once more, for the verification of its record: only the expressions are shared.

κ, η, h and f are evaluated, and their derivatives taken, by CasADi. How they make a loop (E10), where it comes to rest,
its linearisation, V, the level and the units of θ are computed here, from the definitions in docs/method.md.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import RecordError
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.models import Plant
from scpo_ctrl.models.signals import Signal, from_table
from scpo_ctrl.models.units import Units
from scpo_ctrl.models.varying import with_more_signals
from scpo_ctrl.verification.law import largest_level, outside_faults
from scpo_ctrl.verification.rows import AtRows
from scpo_ctrl.verification.written import Written

_STEPS, _RESTS = 50, 1e-9  # to the equilibrium, and what the loop may still move by there, in parts of its bounds
_DOUBLINGS, _VANISHED = 64, 1e-170  # of a power of the loop's matrix, and when it adds nothing any more
_POINTS = 64  # on the boundary of the level set, at which the units of θ are taken
_AGREEMENT = 1e-9  # of parameters, relative to their size
_NUMBERS = ("before", "after")  # of a parameter, which depend on θ


class ControllerLaw:
    """v = κ(ξ, h(x, p), r; θ₀ + scale · θ), and ξ⁺ = η(ξ, h(x, p), r, sat(v); θ₀ + scale · θ).

    Parameters
    ----------
    plant : Plant
        Without what the controller remembers.
    controller : Controller
    tables : dict
        The problem file.
    folder : pathlib.Path
        Where the files are that it names.
    """

    rests_whatever_theta = False  # the command at rest may depend on θ

    def __init__(self, plant: Plant, controller: Controller, tables: dict[str, Any], folder: Path = Path()) -> None:
        self._controller, self._table, self._at_rows = controller, tables["policy"], AtRows()
        plant = self._alone = self._put_reference(plant)
        self._scale = np.ones(controller.theta_dim)
        self.plant = self._joined(*self._at_rest())
        self.K = -self.near(None, np.zeros(self.plant.nx), plant.p_nominal)[1]
        units = Units.of(self.plant)
        A, B = self.plant.linearise()
        K = self.K * units.x / units.u[:, None]
        P = _lyapunov(A * units.x / units.x[:, None] - (B * units.u / units.x[:, None]) @ K)
        self.P, self.largest_rho = P / units.x / units.x[:, None], largest_level(self.plant, P, K, units.x, units.u)
        self.rho = float(self._table.get("rho", self.largest_rho))
        self._scale = self._units_of_theta()
        self.written = Written(self.plant, plant.nu, tables, folder)

    def _put_reference(self, plant: Plant) -> Plant:
        """Take references as they are at first, and return the plant with those that vary among its parameters."""
        of, given = self._controller, self._table.get("reference", [])
        varying = {}
        if isinstance(given, dict):
            found = {key: from_table(one) if isinstance(one, dict) else one for key, one in given.items()}
            varying = {label: value for label, value in found.items() if isinstance(value, Signal)}
            own = dict(zip(of.r_labels, of.r_nominal, strict=True))
            given = [found.get(label, own[label]) for label in of.r_labels]
            given = [float(one.at_first if isinstance(one, Signal) else one) for one in given]
        self._r = np.array(given, dtype=float)
        if self._r.shape != (of.r.numel(),):
            raise RecordError(f"[policy] reference has shape {self._r.shape}, the controller {of.r.numel()}")
        units = [of.r_units[of.r_labels.index(label)] for label in varying]
        plant = with_more_signals(plant, varying, units) if varying else plant
        self._moved = {of.r_labels.index(label): plant.p_labels.index(label) for label in varying}
        return plant

    def _references(self, p: np.ndarray) -> np.ndarray:
        """Return the references under plant parameters (n, np), (n, nr)."""
        r = np.tile(self._r, (len(p), 1))
        for i, place in self._moved.items():
            r[:, i] = p[:, place]
        return r

    def _parameters(self, theta: np.ndarray | None) -> np.ndarray:
        """Return the controller's own parameters, those of today without θ, (..., d)."""
        initial = self._controller.theta_initial
        return initial if theta is None else np.asarray(initial + self._scale * theta)

    def command(self, thetas: np.ndarray, z: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Commands, and memories that follow, before saturation; these see the input as it is saturated."""
        C, k, _ = z.shape
        s = (z + self.plant.x_eq).reshape(C * k, -1)
        x, xi = s[:, : self._alone.nx], s[:, self._alone.nx :]
        own, at = np.repeat(self._parameters(thetas), k, axis=0), np.tile(p, (C, 1))
        y, r = self._mapped("h", x, at), self._references(at)
        v = self._mapped("kappa", xi, y, r, own)
        u = np.clip(v, self._alone.u_min, self._alone.u_max)
        following = self._mapped("eta", xi, y, r, u[:, : self._controller.u.numel()], own)
        return np.hstack([v, following]).reshape(C, k, -1)

    def near(self, theta: np.ndarray | None, z: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return command and next memory as if nothing were saturated, and their derivative; see `Law`."""
        return self._derivative(z + self.plant.x_eq, p, self._parameters(theta))[:2]

    def backup(self, x: ca.SX, p: ca.SX) -> ca.SX:
        """Return the expression of the command, and of the memory that follows, of today; see `Law`."""
        of, f, own = self._controller, self._functions, ca.DM(self._parameters(None))
        state, xi = x[: self._alone.nx], x[self._alone.nx :]
        r = ca.vertcat(ca.SX(0, 1), *(p[self._moved[i]] if i in self._moved else one for i, one in enumerate(self._r)))
        y = f["h"](state, p)
        v = f["kappa"](xi, y, r, own)
        return ca.vertcat(v, f["eta"](xi, y, r, v[: of.u.numel()], own))

    @property
    def bounds(self) -> int:
        """How many bounds parameters have; see `Law`."""
        return int(np.isfinite([self._controller.theta_min, self._controller.theta_max]).sum())

    def beyond(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far parameters are beyond each of their bounds; see `Law`."""
        of, own = self._controller, self._parameters(thetas)
        ends = np.hstack([of.theta_max, of.theta_min])
        over, sizes = np.hstack([own - of.theta_max, of.theta_min - own]), np.abs(own) + np.abs(of.theta_initial)
        kept = np.isfinite(ends)
        return over[:, kept], np.hstack([sizes, sizes])[:, kept] + np.abs(ends[kept])

    def level_faults(self) -> list[str]:
        """List what does not hold of the level; see `Law`."""
        if "rho" not in self._table:
            return ["problem.toml has no [policy] rho, the level that the loop holds"]
        return outside_faults(self.rho, self.largest_rho)

    def start_faults(self, theta: np.ndarray, z: np.ndarray) -> list[str]:
        """List where initial parameters are not those of the controller as it runs today; see `Law`."""
        if theta.any():
            return ["the initial parameters are not those of the controller of problem.toml"]
        return []

    def parameter_faults(self, stated: Any, thetas: np.ndarray) -> list[str]:
        """Name the first parameter of result.json that is not what θ says; see `Law`."""
        of, rows = self._controller, []
        before, after = (self._parameters(theta).tolist() for theta in thetas)
        if not isinstance(stated, list) or len(stated) != of.theta_dim:
            return [f"result.json says parameters = {stated!r:.200}, expected {of.theta_dim} of them"]
        for i, row in enumerate(stated):
            right = {"label": of.theta_labels[i], "unit": of.theta_units[i], "before": before[i], "after": after[i]}
            if of.bounded[i]:
                ends = of.theta_min[i], of.theta_max[i]
                right["bounds"] = [float(end) if np.isfinite(end) else None for end in ends]
            size = {"before": abs(of.theta_initial[i]) + abs(before[i])}
            size["after"] = size["before"] + abs(after[i])
            if (
                not isinstance(row, dict)
                or set(row) != set(right)
                or any(row[key] != right[key] for key in right if key not in _NUMBERS)
                or not all(type(row[key]) is float for key in _NUMBERS)
                or not all(abs(row[key] - right[key]) <= _AGREEMENT * size[key] for key in _NUMBERS)
            ):
                rows.append(f"result.json says parameters[{i}] = {row!r:.200}, the controller and theta say {right!r}")
        return rows[:1]

    @cached_property
    def _functions(self) -> dict[str, ca.Function]:
        """Expressions of model and controller, each with its derivatives by the arguments that matter."""
        of, plant = self._controller, self._alone
        y = plant.measured
        kappa_by, eta_by = (of.xi, of.y, of.theta), (of.xi, of.y, of.u, of.theta)
        given = [of.xi, of.y, of.r]
        return {
            "h": ca.Function("h", [plant.x, plant.p], [y]),
            "kappa": ca.Function("kappa", [*given, of.theta], [of.command]),
            "eta": ca.Function("eta", [*given, of.u, of.theta], [of.memory]),
            "h_slopes": ca.Function("h_slopes", [plant.x, plant.p], [ca.densify(ca.jacobian(y, plant.x))]),
            "kappa_slopes": ca.Function("kappa_slopes", [*given, of.theta], _slopes(of.command, kappa_by)),
            "eta_slopes": ca.Function("eta_slopes", [*given, of.u, of.theta], _slopes(of.memory, eta_by)),
        }

    def _mapped(self, name: str, *rows: np.ndarray) -> np.ndarray:
        """Evaluate an expression for each row of its arguments."""
        count, function = len(rows[0]), self._functions[name]
        if not count or not function.numel_out(0):
            return np.zeros((count, function.numel_out(0)))
        return np.array(self._at_rows(function, *rows)).T

    def _derivative(self, s: np.ndarray, p: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return command and next memory where nothing is saturated, and their derivatives by s and by parameters."""
        of, f = self._controller, self._functions
        x, xi = s[: self._alone.nx], s[self._alone.nx :]
        y, h_x = np.array(f["h"](x, p))[:, 0], np.array(f["h_slopes"](x, p))
        r = self._references(p[None])[0]
        v = np.array(f["kappa"](xi, y, r, own))[:, 0]
        seen = v[: of.u.numel()]
        following = np.array(f["eta"](xi, y, r, seen, own)).reshape(-1)
        k_xi, k_y, k_own = _arrays(f["kappa_slopes"](xi, y, r, own))
        e_xi, e_y, e_u, e_own = _arrays(f["eta_slopes"](xi, y, r, seen, own))
        by_s = np.hstack([k_y @ h_x, k_xi])
        through, through_own = (part[: of.u.numel()] for part in (by_s, k_own))
        memory_by_s = np.hstack([e_y @ h_x, e_xi]) + e_u @ through
        by_own = np.vstack([k_own, e_own + e_u @ through_own])
        return np.append(v, following), np.vstack([by_s, memory_by_s]), by_own

    def _at_rest(self) -> tuple[np.ndarray, np.ndarray]:
        """Return state and command where the loop of today comes to rest, by Newton steps from the plant's own."""
        plant, of = self._alone, self._controller
        nx, own, p = plant.nx, of.theta_initial, plant.p_nominal
        ends = [(plant.x_max - plant.x_min) / 2, (of.memory_max - of.memory_min) / 2]
        unit = np.where(np.isfinite(np.concatenate(ends)), np.concatenate(ends), 1.0)
        s, best, least = np.append(plant.x_eq, of.memory_initial), None, np.inf
        for _ in range(_STEPS):
            command, gain, _ = self._derivative(s, p, own)
            v, following = command[: plant.nu], command[plant.nu :]
            x_next, f_x, f_u = (np.array(part) for part in plant.derivatives(s[:nx], v, p))
            A = np.vstack([f_u @ gain[: plant.nu], gain[plant.nu :]])
            A[:nx, :nx] += f_x
            moved = np.append(x_next[:, 0], following) - s
            size = float(np.abs(moved / unit).max())
            if not (np.isfinite(size) and np.isfinite(A).all()) or (least <= _RESTS and size >= least):
                break
            if size < least:  # which a step from far off need not be
                best, least = (s, command), size
            s = s + np.linalg.lstsq(np.eye(s.size) - A, moved, rcond=None)[0]
        if best is None or least > _RESTS:
            raise RecordError("the loop of problem.toml does not come to rest under its controller")
        return best

    def _joined(self, s: np.ndarray, command: np.ndarray) -> Plant:
        """Return the plant with what the controller remembers among its states, and what follows among its inputs."""
        plant, of = self._alone, self._controller
        m = ca.SX.sym("m", of.memories)
        endless = np.full(of.memories, np.inf)
        return plant.replace(
            x=ca.vertcat(plant.x, of.xi),
            u=ca.vertcat(plant.u, m),
            f=ca.vertcat(plant.f, m),
            x_min=np.append(plant.x_min, -endless),
            x_max=np.append(plant.x_max, endless),
            u_min=np.append(plant.u_min, of.memory_min),
            u_max=np.append(plant.u_max, of.memory_max),
            x_eq=s,
            u_eq=command,
            x_labels=(*plant.x_labels, *of.memory_labels),
            x_units=(*plant.x_units, *of.memory_units),
            u_labels=(*plant.u_labels, *(f"next {label}" for label in of.memory_labels)),
            u_units=(*plant.u_units, *of.memory_units),
        )

    def _units_of_theta(self) -> np.ndarray:
        """Return by how much each parameter moves a command by half its bounds on the level set, (d,)."""
        plant, towards = self.plant, np.random.default_rng(0).normal(size=(_POINTS, self.plant.nx))
        towards = towards / np.sqrt((towards**2).sum(axis=1, keepdims=True))
        unit = np.sqrt(self.rho / np.diag(self.P))
        root = np.linalg.cholesky(np.linalg.inv(self.P * unit * unit[:, None] / self.rho))
        half, own = (plant.u_max - plant.u_min)[:, None] / 2, self._parameters(None)
        slopes = [self._derivative(s, plant.p_nominal, own)[2] for s in plant.x_eq + unit * (towards @ root.T)]
        moved = np.abs(np.array(slopes)) / half
        return np.asarray(1 / np.where(np.isfinite(moved), moved, 0.0).max(axis=(0, 1)))


def _lyapunov(A: np.ndarray) -> np.ndarray:
    """Return the sum of (Aᵏ)ᵀ Aᵏ over all k, by doubling."""
    P, power = np.eye(len(A)), A
    for _ in range(_DOUBLINGS):
        P, power = P + power.T @ P @ power, power @ power
        if not np.abs(power).max() > _VANISHED:
            break
    if not (np.isfinite(P).all() and np.isfinite(power).all() and np.abs(power).max() < 1):
        raise RecordError("the loop of problem.toml is not stable at rest under its controller")
    return (P + P.T) / 2


def _slopes(expression: ca.SX, by: Sequence[ca.SX]) -> list[ca.SX]:
    return [ca.densify(ca.jacobian(expression, symbols)) for symbols in by]


def _arrays(parts: Sequence[ca.DM]) -> list[np.ndarray]:
    return [np.array(part).reshape(part.shape) for part in parts]
