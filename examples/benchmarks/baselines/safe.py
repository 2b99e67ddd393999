"""Methods that mean to keep every policy safe, by smoothness constants or by verification; SCPO among them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from baselines.oracle import ROUNDING, SAMPLING_RADIUS, Oracle
from scpo_ctrl import AdaptOptions, adapt, project
from scpo_ctrl.adaptation.state import State

_LEAST_CURVATURE = 1e-9
_SMALLEST_RADIUS = 1e-7  # of samples: below it, differences are mostly rounding
_SHORTEST = 1e-9  # a step below this length changes nothing
_ARMIJO = 1e-4  # γ of SS-QCQP
_FIRST_WEIGHT = 1e-3  # w⁰ of SS-QCQP, its authors' number
_MANY_STEPS = 1_000_000  # the budget ends SCPO before


def scpo(oracle: Oracle, *, audit: bool = False) -> Iterator[np.ndarray]:
    """SCPO; deployed is what it commits.

    Parameters
    ----------
    oracle : Oracle
    audit : bool
        Whether commits are audited, as the package does by default where a set of scenarios is declared; rollouts of
        fresh scenarios do not count. What an audit withdraws was deployed all the same.

    Yields
    ------
    numpy.ndarray, shape (d,)
    """
    committed: list[tuple[np.ndarray, int]] = []
    spent = [0]  # rollouts after each step

    def monitor(state: State) -> bool:
        if not committed or not np.array_equal(committed[-1][0], state.theta):
            committed.append((state.theta.copy(), state.rollouts))
        spent.append(state.rollouts)
        return state.rollouts + max(np.diff(spent)) > oracle.budget  # the next step might not be paid for

    options = AdaptOptions(steps=_MANY_STEPS, seed=oracle.seed, gradients="sampled", audit=audit)
    result = adapt(oracle.problem, options, monitor=monitor)
    if audit:  # a run that was stopped has no last audit
        result = adapt(oracle.problem, replace(options, steps=result.steps), resume_from=result)
    for theta, rollouts in committed:
        oracle.spend_until(rollouts)
        yield theta
    oracle.spend_until(min(result.rollouts, oracle.budget))
    if not (committed and np.array_equal(committed[-1][0], result.theta)):
        yield result.theta  # of an earlier step: the last audit withdrew what came after it


def log_barrier(oracle: Oracle, *, weight: float, caution: float) -> Iterator[np.ndarray]:
    """Descend the barrier ℓ − η Σ log(−g_i) with step lengths that keep every iterate safe if the constants are right.

    LB-SGD of I. Usmanova, Y. As, M. Kamgarpour, A. Krause, "Log Barriers for Safe Black-box Optimization", arXiv
    2207.10415, with sampled gradients: with margins α_i = −g_i, the barrier's gradient b and slopes s_i = ∇g_iᵀb/‖b‖, a
    step has length min(min_i α_i / (2|s_i| + √(α_i M_i)), ‖b‖/M), M = M_0 + 2η Σ M_i/α_i + 4η Σ s_i²/α_i². The
    paper takes M_i as known. Here they are second differences at the start, times `caution`; a deployed violation
    doubles them and returns to the last safe iterate.

    Parameters
    ----------
    oracle : Oracle
    weight : float
        η.
    caution : float
        Factor on the smoothness constants.

    Yields
    ------
    numpy.ndarray, shape (d,)
    """
    theta = oracle.problem.theta_initial
    M = caution * np.maximum(oracle.curvature(theta), _LEAST_CURVATURE)
    safe, g = theta, oracle.metrics(theta)
    while (g < 0).all():
        gradient, margin = oracle.gradient(safe), -g
        G = oracle.sampled_jacobian(safe, g)
        barrier = gradient + weight * (1 / margin) @ G
        norm = float(np.linalg.norm(barrier))
        if norm == 0:
            return
        slopes = np.abs(G @ barrier) / norm
        while True:
            smoothness = caution * objective_curvature(oracle, safe, gradient)
            smoothness += weight * float(2 * np.sum(M / margin) + 4 * np.sum((slopes / margin) ** 2))
            length = min(float(np.min(margin / (2 * slopes + np.sqrt(margin * M)))), norm / smoothness)
            theta = safe - length / norm * barrier
            g_new = oracle.metrics(theta)
            yield theta
            if (g_new <= 0).all():
                break
            M = 2 * M
        safe, g = theta, g_new


def objective_curvature(oracle: Oracle, theta: np.ndarray, gradient: np.ndarray) -> float:
    """Return the second difference of ℓ along its gradient: M_0 where it matters."""
    direction = 1e-3 * gradient / max(float(np.linalg.norm(gradient)), _SHORTEST)
    ahead, behind = oracle.objective(theta + direction), oracle.objective(theta - direction)
    return abs(ahead - 2 * oracle.objective(theta) + behind) / 1e-6


def szo_qq(oracle: Oracle, *, proximity: float, caution: float) -> Iterator[np.ndarray]:
    """Minimise over local feasible sets of quadratic approximations, gradients of the metrics sampled.

    SZO-QQ of B. Guo, Y. Jiang, G. Ferrari-Trecate, M. Kamgarpour, "Safe Zeroth-Order Optimization Using Quadratic Local
    Approximations", arXiv 2303.16659. With constants L_i of Lipschitz continuity and M_i of smoothness known, samples
    at a distance ν = min_i(−g_i)/(L_max √d) are safe, and so is every Δ with

        g_i + Ĝ_iᵀΔ + 2 M_i ‖Δ‖² ≤ 0   for all i:

    the error of Ĝ_i is at most M_i ν √d / 2, so it and the curvature cost at most M_i ‖Δ‖² beyond ‖Δ‖ = ν √d, and
    nearer to θ Lipschitz continuity alone keeps every metric negative. The next iterate minimises ∇ℓᵀΔ + μ‖Δ‖² there:
    an objective known by its gradient, μ holds its curvature and their proximal term. That is a projection (E5) with
    e = 0, L = 4M and no radius. ν is cut to the sampling radius of all methods, and to 1e-7 from below.

    The paper takes L_i and M_i as known. Here they are the first gradients and second differences at the start, times
    `caution`; a deployed violation doubles M and returns to the last safe iterate. The budget ends the run, not their
    test for an η-KKT pair.

    Parameters
    ----------
    oracle : Oracle
    proximity : float
        μ.
    caution : float
        Factor on the constants.

    Yields
    ------
    numpy.ndarray, shape (d,)
    """
    theta = oracle.problem.theta_initial
    M = caution * np.maximum(oracle.curvature(theta), _LEAST_CURVATURE)
    safe, g = theta, oracle.metrics(theta)
    radius, root = SAMPLING_RADIUS, np.sqrt(theta.size)
    lipschitz = 0.0
    while (g < 0).all():  # iterates are strictly safe, until rounding takes the last margin
        if lipschitz > 0:
            radius = min(SAMPLING_RADIUS, max(float(np.min(-g)) / (lipschitz * root), _SMALLEST_RADIUS))
        G = oracle.sampled_jacobian(safe, g, radius)
        lipschitz = lipschitz or caution * float(np.linalg.norm(G, axis=1).max())
        wanted = -oracle.gradient(safe) / (2 * proximity)
        while True:
            delta = project(wanted, g, G, 0.0, 4 * M, np.inf).delta
            if np.linalg.norm(delta) <= _SHORTEST:
                return
            theta = safe + delta
            g_new = oracle.metrics(theta)
            yield theta
            if (g_new <= ROUNDING).all():
                break
            M = 2 * M
        safe, g = theta, g_new


def ss_qcqp(oracle: Oracle, *, scale: float) -> Iterator[np.ndarray]:
    """Follow the solution of a QCQP with known gradients, and backtrack until the step is safe and lowers ℓ.

    SS-QCQP of J. Wang, M. Fazlyab, "Anytime-Feasible First-Order Optimization via Safe Sequential QCQP", arXiv
    2511.19675, their algorithm 1: the direction is

        u = argmin ½‖u + ∇ℓ‖²   s.t.   ∇g_iᵀu ≤ −α g_i − w_i ‖u‖²   for all i,   α = 1,

    a projection (E5) with e = 0, L = 2w and no radius; the step length t starts at 1 and is halved until θ + tu is safe
    and ℓ falls by γt∇ℓᵀu; w_i starts at 1e-3 and grows to ‖∇g_i(θ⁺) − ∇g_i(θ)‖ / 2‖θ⁺ − θ‖, their (32). Nothing in it
    is scaled to the objective, so its scale is tuned.

    Parameters
    ----------
    oracle : Oracle
    scale : float
        Factor on the objective.

    Yields
    ------
    numpy.ndarray, shape (d,)
    """
    theta = oracle.problem.theta_initial
    g, G, objective = oracle.metrics(theta), oracle.exact_jacobian(theta), scale * oracle.objective(theta)
    w = np.full(g.size, _FIRST_WEIGHT)
    while True:
        gradient = scale * oracle.gradient(theta)
        u = project(-gradient, g, G, 0.0, 2 * w, np.inf).delta
        norm, slope, t = float(np.linalg.norm(u)), float(gradient @ u), 1.0
        while True:
            if t * norm <= _SHORTEST:
                return
            tried = theta + t * u
            g_tried = oracle.metrics(tried)
            value = scale * oracle.objective(tried)
            if (g_tried <= 0).all() and value <= objective + _ARMIJO * t * slope:
                break
            t /= 2
        yield tried
        G_tried = oracle.exact_jacobian(tried)
        w = np.maximum(w, np.linalg.norm(G_tried - G, axis=1) / (2 * t * norm))
        theta, g, G, objective = tried, g_tried, G_tried, value
