"""Smoothness constants that provably hold around θ, bounds of the second derivatives (E4).

With z = x - x_eq and the command -K z + φ(z, θ), the loop is z⁺ = A z + B (-K z + φ(z, θ)) + w. Let F_t be its Jacobian
along the trajectory of θ, G_tj = F_{t-1} … F_{j+1} B, and let e, s, h be how far a trajectory of the ball ‖Δ‖ ≤ r is
from that one, and its first and second derivatives along a unit direction δ. All three obey the linearised loop, driven
by what φ leaves over (docs/method.md, "Certified constants"):

    e⁺ = F e + B (φ_θ Δ + remainder)
    s⁺ = F s + B ((φ_z' - φ_z) s + φ_θ' δ)
    h⁺ = F h + B ((φ_z' - φ_z) h + φ_zz'[s, s] + 2 φ_zθ'[s, δ] + φ_θθ'[δ, δ])

where a prime means anywhere in the ball. So a row c of h_t is at most Σ_j ‖cᵀG_tj‖ times a bound of what drives h_j. A
plant that is not linear has F and B of each time, and drives all three by what its own second derivative, bounded by
intervals (`PlantBounds`), leaves over, with the unit matrix in B's place.
"""

from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl.adaptation.plant_bounds import PlantBounds
from scpo_ctrl.adaptation.policy_bounds import PolicyBounds, spectral_norm
from scpo_ctrl.engine.rollout import Rollouts
from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.intervals import NoEnclosureError
from scpo_ctrl.loop.controlled import residual_policy
from scpo_ctrl.loop.level import is_affine
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.problem import Problem

_ROUNDING = 1e-9  # relative, added to the bounds for the arithmetic that computes them


def smoothness_bounds(problem: Problem, theta: np.ndarray, radius: float) -> np.ndarray:
    """Bound the Hessian norm of every metric, in `metric_units`, of the smooth loop on the ball ‖Δ‖ ≤ radius around θ.

    Parameters
    ----------
    problem : ControlProblem
    theta : numpy.ndarray, shape (d,)
    radius : float
        > 0.

    Returns
    -------
    numpy.ndarray, shape (m,)
        Smoothness constants; zero where a metric is affine in θ.

    Raises
    ------
    DomainError
        If the problem is none for which bounds are known, or a bound is not finite.
    """
    problem = certifiable(problem)
    one_step = problem.one_step
    with np.errstate(over="ignore", invalid="ignore"):
        bounds = _bounds(problem.rollouts, theta, radius)
        if one_step is not None:
            bounds = np.append(bounds, _bounds(one_step.rollouts, theta, radius) * one_step.scale)
    if not np.isfinite(bounds).all():
        raise DomainError(
            f"no finite smoothness constant exists for {problem.metric_label(int(np.argmin(np.isfinite(bounds))))} "
            f"within the radius {radius:g}; make radius smaller or the horizon shorter, or use mode 'verified'"
        )
    return bounds * (1 + _ROUNDING)


def certifiable(problem: Problem) -> ControlProblem:
    """Return the problem if its smoothness can be bounded.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    ControlProblem

    Raises
    ------
    DomainError
        If its plant has no model whose second derivatives have enclosures, or saturation is part of its loop.
    """
    remedy = "give smoothness, or use mode 'verified'"
    if not isinstance(problem, ControlProblem) or problem.has_simulator:
        raise DomainError(f"mode 'certified' can bound smoothness for the model of a plant only; {remedy}")
    residual_policy(problem.policy, "certified mode")
    if problem.policy.plant.signals:
        raise DomainError(f"mode 'certified' has no smoothness bound for signals that vary over time; {remedy}")
    try:
        _plant_bounds(problem.rollouts, problem.scenarios.x0[:1], problem.scenarios.p[:1])
    except NoEnclosureError as error:
        raise DomainError(
            f"mode 'certified' has no smoothness bound for plant {problem.plant.name!r}: {error}; {remedy}"
        ) from error
    if problem.stability is not None:
        raise DomainError(
            "mode 'certified' has no smoothness bound for local stability at rest; set stability = false in the "
            f"metrics, or {remedy}"
        )
    if problem.scenario_metrics.steps is not None:
        raise DomainError(
            "mode 'certified' has no smoothness bound for constraints by expressions and limits of the inputs' change; "
            f"leave constraints and du_max out, or {remedy}"
        )
    if not problem.scenario_metrics.bounds_command:
        raise DomainError(
            "mode 'certified' has no smoothness bound where saturation is part of the closed loop: it has kinks; set "
            f"command = true and path = true in the metrics, or {remedy}"
        )
    return problem


def _plant_bounds(loop: Rollouts, x: np.ndarray, p: np.ndarray) -> PlantBounds | None:
    """Return what bounds a plant that is not linear for every value of its parameters, tried at points."""
    plant, policy = loop.policy.plant, residual_policy(loop.policy, "certified mode")
    if is_affine(plant):
        return None
    bounds = PlantBounds(plant, np.array(policy.scale), max(policy.input_scale))
    zero = np.zeros(len(x))
    bounds.curvature(x, np.tile(plant.u_eq, (len(x), 1)), p, zero, zero)
    return bounds


def _bounds(loop: Rollouts, theta: np.ndarray, radius: float) -> np.ndarray:
    """Return the bounds of the metrics of some rollouts, (m,)."""
    tube = _Tube.start(loop, theta, radius)
    states, commands = [tube.state_rows()], []
    for t in range(loop.batch.horizon):
        commands.append(tube.advance(t))
        states.append(tube.state_rows())
    return _in_order(loop, np.stack(states, axis=1), np.stack(commands, axis=1), tube.level_row())


@dataclass
class _Tube:
    """All trajectories of the ball at one time, as bounds around the one of θ. S scenarios, t past steps."""

    loop: Rollouts
    theta: np.ndarray  # (d,)
    radius: float  # r
    policy: PolicyBounds
    A: np.ndarray  # (S, nx, nx)
    B: np.ndarray  # (S, nx, nu)
    drift: np.ndarray  # (S, nx) f(x_eq, u_eq) - x_eq, zero at nominal parameters
    z: np.ndarray  # (S, nx) deviation of the trajectory of θ
    J: np.ndarray  # (S, nx, d) its derivative
    G: np.ndarray  # (S, t, nx, nu) what a push of the input at a past step does now
    pushes: np.ndarray  # (3, S, t) bounds of what drove e, s - Jδ and h at past steps
    plant: PlantBounds | None  # of a plant that is not linear
    G_state: np.ndarray  # (S, t, nx, nx) what a push of the state at a past step does now; empty for a linear plant
    bends: np.ndarray  # (3, S, t) bounds of such pushes

    @classmethod
    def start(cls, loop: Rollouts, theta: np.ndarray, radius: float) -> "_Tube":
        plant, batch = loop.policy.plant, loop.batch
        S, nx, nu = batch.count, plant.nx, plant.nu
        f = plant.function(ca.DM(plant.x_eq), ca.DM(plant.u_eq), plant.p)
        jacobians = [ca.jacobian(plant.f, plant.x), ca.jacobian(plant.f, plant.u)]
        at_rest = ca.substitute(jacobians, [plant.x, plant.u], [ca.DM(plant.x_eq), ca.DM(plant.u_eq)])
        columns = ca.Function("plant", [plant.p], [ca.vec(ca.horzcat(*at_rest)), f - ca.DM(plant.x_eq)])
        AB, drift = (part.full().T for part in columns.map(S)(batch.p.T))
        AB = AB.reshape(S, nx + nu, nx).swapaxes(1, 2)
        return cls(
            loop=loop,
            theta=theta,
            radius=radius,
            policy=PolicyBounds(residual_policy(loop.policy, "certified mode"), theta, radius),
            A=AB[:, :, :nx],
            B=AB[:, :, nx:],
            drift=drift,
            z=batch.x0 - plant.x_eq,
            J=np.zeros((S, nx, theta.size)),
            G=np.zeros((S, 0, nx, nu)),
            pushes=np.zeros((3, S, 0)),
            plant=_plant_bounds(loop, batch.x0, batch.p),
            G_state=np.zeros((S, 0, nx, nx)),
            bends=np.zeros((3, S, 0)),
        )

    def advance(self, t: int) -> np.ndarray:
        """Go one step on; return bounds of the command's second derivatives before it, (S, nu)."""
        policy, batch, r = residual_policy(self.loop.policy, "certified mode"), self.loop.batch, self.radius
        scale = np.array(policy.scale)
        e, s_off, h = self._reached(np.diag(1 / scale))
        s = spectral_norm(self.J / scale[:, None]) + s_off
        phi_z, phi_theta = self.policy.jacobians(self.z)
        zz, zt, tt = self.policy.curvature(self.z, e)
        turn = zz * e + zt * r  # of φ_z in the ball
        pushes = np.stack(
            [
                spectral_norm(phi_theta) * r + (zz * e**2 + 2 * zt * e * r + tt * r**2) / 2,
                turn * s + zt * e + tt * r,
                turn * h + zz * s**2 + 2 * zt * s + tt,
            ]
        )
        gain = phi_z - policy.backup.K
        commands = self._row_bounds(gain) + pushes[2][:, None]
        x = policy.plant.x_eq + self.z
        v = policy.commands(x[None], self.theta[None])[0]
        w = batch.w[:, t] if batch.w.shape[2] else 0.0
        if self.plant is None:
            push = np.einsum("sij,sj->si", self.B, v - policy.plant.u_eq)
            self.z = np.einsum("sij,sj->si", self.A, self.z) + push + self.drift + w
        else:
            steep = spectral_norm(gain * scale)
            off = steep * e + pushes[0]  # of the command, and its first and second derivatives
            first = (steep + turn) * s + spectral_norm(phi_theta) + zt * e + tt * r
            second = steep * h + pushes[2]
            bends = self._bends(x, v, (e, s, h), (off, first, second))
            following, self.A, self.B = self.plant.at(x, v, batch.p)
            self.z = following - policy.plant.x_eq + w
        F = self.A + self.B @ gain
        self.J = F @ self.J + self.B @ phi_theta
        self.G = np.concatenate([F[:, None] @ self.G, self.B[:, None]], axis=1)
        self.pushes = np.concatenate([self.pushes, pushes[:, :, None]], axis=2)
        if self.plant is not None:
            fresh = np.broadcast_to(np.diag(scale), (len(F), 1, *F.shape[1:]))
            self.G_state = np.concatenate([F[:, None] @ self.G_state, fresh], axis=1)
            self.bends = np.concatenate([self.bends, bends[:, :, None]], axis=2)
        return commands

    def _bends(
        self, x: np.ndarray, v: np.ndarray, states: tuple[np.ndarray, ...], inputs: tuple[np.ndarray, ...]
    ) -> np.ndarray:
        """Bounds of what the plant's second derivative adds to e, s - Jδ and h, (3, S), from those of both (S,)."""
        assert self.plant is not None
        e, s, h = (np.hypot(state, given / self.plant.unit) for state, given in zip(states, inputs, strict=True))
        M = self.plant.curvature(x, v, self.loop.batch.p, states[0], inputs[0])
        return np.stack([M * e**2 / 2, M * e * s, M * (e * h + s**2)])

    def state_rows(self) -> np.ndarray:
        """Bounds of the states' second derivatives, (S, nx)."""
        return self._row_bounds(np.broadcast_to(np.eye(self.z.shape[1]), self.A.shape))

    def level_row(self) -> np.ndarray:
        """Bounds of the second derivative of V = zᵀPz, 2 sᵀPs + 2 zᵀPh, (S,)."""
        P = self.loop.policy.backup.P
        root = np.linalg.cholesky(P).T
        e, s_off, h = self._reached(root)
        s = spectral_norm(root @ self.J) + s_off
        about, rests = [self.z], self.loop.rests()  # contraction is about where the backup settles, terminal is not
        about += [] if rests is None else [self.z + self.loop.policy.plant.x_eq - rests]
        return 2 * s**2 + 2 * (np.max([self._row_bounds((z @ P)[:, None])[:, 0] for z in about], axis=0) + e * h)

    def _row_bounds(self, rows: np.ndarray) -> np.ndarray:
        """Bounds of rows · h, (S, k) for rows (S, k, nx)."""
        reach = np.linalg.norm(np.einsum("skx,stxu->stku", rows, self.G), axis=3)
        bounds = np.asarray(np.einsum("stk,st->sk", reach, self.pushes[2]))
        if self.plant is None:
            return bounds
        reach = np.linalg.norm(np.einsum("skx,stxu->stku", rows, self.G_state), axis=3)
        return bounds + np.einsum("stk,st->sk", reach, self.bends[2])

    def _reached(self, W: np.ndarray) -> np.ndarray:
        """Bounds of ‖W e‖, ‖W (s - Jδ)‖ and ‖W h‖, (3, S)."""
        bounds = np.asarray(np.einsum("st,kst->ks", spectral_norm(W @ self.G), self.pushes))
        if self.plant is None:
            return bounds
        return bounds + np.einsum("st,kst->ks", spectral_norm(W @ self.G_state), self.bends)


def _in_order(loop: Rollouts, states: np.ndarray, commands: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Arrange bounds (S, N + 1, nx), (S, N, nu) and (S,) as `Metrics.rows` does, (m,)."""
    plant, options, S = loop.policy.plant, loop.metrics.options, len(states)
    parts = []
    for low, high, bounds in ((plant.x_min, plant.x_max, states), (plant.u_min, plant.u_max, commands)):
        which = np.concatenate([np.flatnonzero(np.isfinite(high)), np.flatnonzero(np.isfinite(low))])
        parts.append(bounds[:, :, which].reshape(S, -1))
    if options.terminal:
        parts.append(level[:, None] / loop.policy.backup.rho)
    if options.contraction is not None:
        parts.append(level[:, None])
    return np.concatenate(parts, axis=1).ravel()
