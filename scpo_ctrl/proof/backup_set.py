"""Proof that the backup keeps its level set: for all states in it, all parameters and disturbances in their ranges.

With F(x, p) the next state under the backup, nothing cut, and z = x - x_eq, the mean value theorem says
F(x, p) - x_eq = J̄ z + d(p), d(p) = F(x_eq, p) - x_eq the drift and J̄ in the convex hull of the Jacobians of F on the
level set. So in the norm √V no state of {V ≤ ρ} leaves it if ‖J‖ √ρ + ‖d‖ + ‖w‖ ≤ √ρ for all of them. J depends on few
variables; on a box of widths w_k it is within Σ_k w_k²/8 sup |∂²J/∂η_k²| of what its corners span, and the norm is
convex. Corners are evaluated, second derivatives enclosed, boxes halved where that does not do.

A parameter may change from step to step: the proof is of one step, for any value in range.
"""

import dataclasses
import itertools
import time
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.level import linear_law
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import drawn_ranges, first_varying, still
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.intervals import Interval, NoEnclosureError, enclosure, magnitude

SLACK = 1e-9  # relative, of norms: more than what rounding does to them, or the set is not tried
WHOLE = 1 - 4 * SLACK  # of ρ, which is the largest level inside all bounds but for rounding: what is to be proved
MOST_BOXES = 30_000
_AT_ONCE = 1 << 16  # corners
_MOST_VARIABLES = 10  # that J depends on: each doubles the corners of a box
_LEVELS = 12  # halvings of the search for the largest level
_ROUNDING = 100.0  # of a norm, in units of eps · n² · cond


@dataclass(frozen=True)
class SetProof:
    """What was proved of a backup's level set, or what is in the way."""

    proved: bool  # of {V ≤ ρ}, ρ rounded down by a few parts in 1e9
    level: float  # part of ρ for which it is proved, 0 if for none
    rho: float
    boxes: int  # looked at for the level that is proved, or for ρ
    seconds: float
    contraction: float  # the largest bound of √(V(x⁺) / V(x)) without drift and disturbance, at that level
    drift: float  # of parameters, in parts of √ρ
    disturbance: float  # in parts of √ρ
    variables: tuple[str, ...]  # that the Jacobian or the drift depends on
    blocks: str  # what is in the way of the whole level; empty where it is proved

    def sentence(self) -> str:
        """Return what is proved, in words."""
        how = f"{self.boxes} box{'es' * (self.boxes != 1)}, {self.seconds:.2g} s"
        says = "no state of it leaves it, or a bound, in any step under the backup"
        if self.proved:
            return f"proved of {{V <= rho}}: {says} ({how})"
        part = f"; of {{V <= {self.level:.3g} rho}} it is proved ({how})" if self.level else ""
        return f"not proved of {{V <= rho}}: {self.blocks}{part}"

    def summary(self, plant: Plant, ranges: np.ndarray, half: np.ndarray) -> dict[str, Any]:
        """Return what is written of it.

        Parameters
        ----------
        plant : Plant
        ranges : numpy.ndarray, shape (np, 2)
        half : numpy.ndarray, shape (nx,) or (0,)
            As it was proved for.

        Returns
        -------
        dict
        """
        first = first_varying(plant)
        numbers = dataclasses.asdict(self)
        numbers["contraction"] = self.contraction if np.isfinite(self.contraction) else None
        parameters = {plant.p_labels[i]: ranges[i].tolist() for i in still(plant)}
        reached = plant.p_labels[first : first + len(plant.signals)]
        signals = {label: list(of.reach) for label, of in zip(reached, plant.signals, strict=True)}
        own = {"parameters": parameters, "signals": signals, "disturbance_half": half.tolist()}
        return {"kind": "backup", **numbers, **own}


@dataclass(frozen=True)
class _Loop:
    """The loop under the backup, and the coordinates T z in which V is ρ times the squared length."""

    T: np.ndarray  # (nx, nx)
    back: np.ndarray  # (nx, nx) its inverse
    jacobian: ca.Function  # η -> (J, d)
    bends: ca.Function  # η -> second derivatives of T J T⁻¹ and T d by each η_k, as columns
    labels: tuple[str, ...]
    middle: np.ndarray  # (k,)
    reach: np.ndarray  # (k,) at level one; of parameters half their range
    scales: np.ndarray  # (k,) bool: whether the reach grows with √level
    rounding: float


def declared_ranges(problem: ControlProblem) -> tuple[np.ndarray, np.ndarray]:
    """Return ranges of parameters (np, 2) and half widths of the disturbance of the set that a problem declares.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    ranges, half : numpy.ndarray

    Raises
    ------
    DomainError
        If its scenarios declare none, or a black box is in the plant's place.
    """
    declared = problem.scenarios.declared
    if problem.has_simulator:
        raise DomainError("a black box has no Jacobian to enclose; only of a plant's model can something be proved")
    if declared is None:
        raise DomainError("the scenarios declare no set; draw them with scpo_ctrl.scenarios")
    return declared.ranges, declared.half


def prove_backup_set(
    policy: LoopPolicy,
    ranges: np.ndarray,
    half: np.ndarray | None = None,
    *,
    most_boxes: int = MOST_BOXES,
) -> SetProof:
    """Prove that no state leaves the backup's level set, and that it is inside all bounds.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
        Whose backup it is: an LQR, or the controller as it runs today.
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters; those that vary over time take any value that their signals reach.
    half : numpy.ndarray, shape (nx,), optional
        Half widths of the disturbance.
    most_boxes : int
        Where to give up.

    Returns
    -------
    SetProof
        If ρ is not proved, of the largest part of it that is found to be.

    Raises
    ------
    NoEnclosureError
        If an operation of the plant has no enclosure, as those that have a kink.
    DomainError
        If the Jacobian depends on too many variables.
    """
    began, plant, backup = time.perf_counter(), policy.plant, policy.backup
    ranges = _reach(plant, np.asarray(ranges, dtype=float))
    loop = _loop(policy, ranges)
    unit, root = backup.shape
    T = np.linalg.inv(root) / unit  # √V = √ρ |T z|
    pushed = 0.0 if half is None or not half.size else _largest_push(T, half)
    outside = _outside(policy, ranges, WHOLE)
    found = _held(loop, WHOLE, pushed, most_boxes) if not outside else _Held(False, 0, np.inf, np.inf, outside)
    level, at = (WHOLE, found) if found.holds else _largest(policy, ranges, loop, pushed, most_boxes, found)
    spent = time.perf_counter() - began
    return SetProof(
        found.holds, level, backup.rho, at.boxes, spent, at.norm, at.drift, pushed, loop.labels, found.blocks
    )  # fmt: skip


@dataclass(frozen=True)
class _Held:
    """Whether a level holds, and what was seen."""

    holds: bool
    boxes: int
    norm: float
    drift: float  # in parts of √ρ, whatever the level
    blocks: str


def _reach(plant: Plant, ranges: np.ndarray) -> np.ndarray:
    """Return ranges with those of what varies over time, and of the numbers of signals, which f does not depend on."""
    ranges, first = ranges.copy(), first_varying(plant)
    for i, ends in drawn_ranges(plant).items():
        ranges[i] = ends
    for k, signal in enumerate(plant.signals):
        ranges[first + k] = signal.reach
    if plant.signals:
        ranges[-1] = 0.0, np.inf
    return ranges


def _loop(policy: LoopPolicy, ranges: np.ndarray) -> _Loop:
    """Return what is to be bounded, and over what."""
    plant, backup = policy.plant, policy.backup
    unit, root = backup.shape
    inverse = np.linalg.inv(root)
    x, u, p = plant.x, plant.u, plant.p
    law, gain = _law(policy)
    if gain is None:  # the command is an expression of the state
        F = ca.substitute(plant.f, u, law(x, p))
        J, symbols = ca.jacobian(F, x), ca.vertcat(x, p)
        middle, reach = np.append(plant.x_eq, ranges.mean(axis=1)), np.append(backup.extent, np.ptp(ranges, axis=1) / 2)
        labels = (*plant.x_labels, *plant.p_labels)
    else:
        J = ca.jacobian(plant.f, x) - ca.jacobian(plant.f, u) @ ca.sparsify(ca.DM(gain))
        symbols = ca.vertcat(x, u, p)
        commanded = np.linalg.norm(gain * unit @ root, axis=1)
        middle = np.concatenate([plant.x_eq, plant.u_eq, ranges.mean(axis=1)])
        reach = np.concatenate([backup.extent, commanded, np.ptp(ranges, axis=1) / 2])
        labels = (*plant.x_labels, *plant.u_labels, *plant.p_labels)
    rest = [ca.DM(plant.x_eq), law(ca.DM(plant.x_eq), p), p]
    drift = plant.function(*rest) - ca.DM(plant.x_eq)
    J, d = ca.densify(J), ca.densify(drift)
    both = ca.vertcat(ca.vec(J), d)
    depends = np.array(ca.which_depends(both, symbols, 1, False), dtype=bool) & (reach > 0)
    which = np.flatnonzero(depends).tolist()
    if len(which) > _MOST_VARIABLES:
        names = ", ".join(labels[i] for i in which)
        raise DomainError(f"the Jacobian depends on {len(which)} variables ({names}), more than {_MOST_VARIABLES}")
    fixed = [i for i in range(symbols.numel()) if i not in which]
    eta = ca.vertcat(*(symbols[i] for i in which)) if which else ca.SX.sym("none", 0)
    at = ca.vertcat(*(symbols[i] for i in fixed)) if fixed else ca.SX(0, 1)
    values = np.where(np.isfinite(middle), middle, 0.0)[fixed]
    J, d = ca.substitute([J, d], [at], [ca.DM(values)]) if fixed else (J, d)
    T, back = inverse / unit, unit[:, None] * root
    seen = ca.DM(T) @ J @ ca.DM(back), ca.DM(T) @ d  # tighter than bounds of J's own second derivatives
    bends = [
        ca.densify(ca.jacobian(ca.jacobian(ca.vec(part), eta[k]), eta[k])) for k in range(len(which)) for part in seen
    ]
    rounding = _ROUNDING * np.finfo(float).eps * plant.nx**2 * float(np.linalg.cond(root))
    return _Loop(
        T,
        back,
        ca.Function("jacobian", [eta], [J, d]),
        ca.Function("bends", [eta], bends),
        tuple(labels[i] for i in which),
        middle[which],
        reach[which],
        np.array([i < len(labels) - plant.npar for i in which], dtype=bool),
        rounding,
    )


def _law(policy: LoopPolicy) -> tuple[ca.Function, np.ndarray | None]:
    """Return the backup's (x, p) -> u, and its gain where it is u_eq - K (x - x_eq) whatever p is."""
    if not isinstance(policy, ControllerPolicy):
        return linear_law(policy.plant, policy.backup.K), policy.backup.K
    law, plant = policy.at_start, policy.plant
    s, p = ca.SX.sym("s", plant.nx), ca.SX.sym("p", plant.npar)
    command = law(s, p)
    slope = ca.simplify(ca.jacobian(command, ca.vertcat(s, p)))
    is_affine = not ca.depends_on(slope, ca.vertcat(s, p)) and not ca.depends_on(command, p)
    return law, policy.backup.K if is_affine else None


def _outside(policy: LoopPolicy, ranges: np.ndarray, level: float) -> str:
    """Name the first bound that a part of the level set is beyond, or the command on it; empty if none is."""
    plant, backup = policy.plant, policy.backup
    unit, root = backup.shape
    size, grown = np.sqrt(level), 1 + SLACK
    law, gain = _law(policy)
    spans = [("x", plant.x_eq - size * grown * backup.extent, plant.x_eq + size * grown * backup.extent)]
    if gain is not None:
        commanded = size * grown * np.linalg.norm(gain * unit @ root, axis=1)
        spans.append(("u", plant.u_eq - commanded, plant.u_eq + commanded))
    else:
        both = ca.SX.sym("both", plant.nx + plant.npar)
        command = ca.Function("command", [both], [law(both[: plant.nx], both[plant.nx :])])
        ends = (np.append(spans[0][1], ranges[:, 0])[None], np.append(spans[0][2], ranges[:, 1])[None])
        (found,) = enclosure(command, Interval(*ends))
        spans.append(("u", found.low[0, :, 0], found.high[0, :, 0]))
    for stem, low, high in spans:
        least, most = getattr(plant, f"{stem}_min"), getattr(plant, f"{stem}_max")
        beyond = np.flatnonzero((low < least) | (high > most))
        if beyond.size:
            return f"the set reaches beyond the bounds of {getattr(plant, f'{stem}_labels')[beyond[0]]}"
    return ""


def _largest_push(T: np.ndarray, half: np.ndarray) -> float:
    """Return the largest length of a disturbance, in parts of √ρ."""
    pushed = np.flatnonzero(half)
    if pushed.size > 16:  # corners are too many
        return float(np.linalg.norm(T[:, pushed], axis=0) @ half[pushed]) * (1 + SLACK)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=pushed.size)))
    return float(np.linalg.norm(signs * half[pushed] @ T[:, pushed].T, axis=1).max()) * (1 + SLACK)


def _held(loop: _Loop, level: float, pushed: float, most_boxes: int) -> _Held:
    """Return whether {V ≤ level · ρ} is kept, by boxes."""
    size = np.sqrt(level)
    reach = loop.reach * np.where(loop.scales, size, 1.0) * (1 + SLACK)
    low, high = loop.middle - reach, loop.middle + reach
    for _ in range(2):  # what the sums have rounded
        low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
    low, high = low[None], high[None]
    seen, norm, drift, chunk = 0, 0.0, 0.0, max(1, _AT_ONCE >> loop.middle.size)
    if loop.rounding > SLACK:
        return _Held(False, 0, np.inf, np.inf, "its shape is so thin that rounding decides; count in other units")

    def holds(norms: np.ndarray, drifts: np.ndarray) -> np.ndarray:
        return (norms + SLACK) * size + drifts + pushed <= size * (1 - SLACK)

    while len(low):
        children = []
        for start in range(0, len(low), chunk):
            some = slice(start, start + chunk)
            corners, between, bends = _bounds(loop, low[some], high[some])
            seen += len(bends)
            norms, drifts = corners[0] + between[0], corners[1] + between[1]
            closed, lost = holds(norms, drifts), ~holds(*corners)
            norm = max(norm, float(norms[closed].max(initial=0.0)))
            drift = max(drift, float(drifts[closed].max(initial=0.0)))
            if lost.any() or seen > most_boxes:
                worst = int(np.argmax(corners[0] + corners[1] / size))
                blocks = _blocking(loop, low[some][worst], high[some][worst], corners, worst)
                blocks = blocks if lost.any() else f"not decided after {seen} boxes: {blocks}"
                return _Held(False, seen, norm, drift, blocks)
            if not closed.all():
                children.append(_halved(low[some][~closed], high[some][~closed], bends[~closed]))
        low, high = (np.vstack(ends) for ends in zip(*children, strict=True)) if children else (low[:0], high[:0])
    return _Held(True, seen, norm, drift, "")


def _bounds(
    loop: _Loop, low: np.ndarray, high: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return the largest ‖T J T⁻¹‖ and |T d| of corners of boxes (n, k), what is added between them, and by what."""
    n, k = low.shape
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=k))).reshape(2**k, k)
    points = np.where(corners[None] > 0, high[:, None], low[:, None]).reshape(n * 2**k, k)
    J, d = enclosure(loop.jacobian, Interval(points, points))
    size_T, size_back = np.abs(loop.T), np.abs(loop.back)
    known = np.isfinite(J.low).all(axis=(1, 2)) & np.isfinite(J.high).all(axis=(1, 2))
    norms = np.full(len(points), np.inf)
    M = loop.T @ ((J.low + J.high)[known] / 2) @ loop.back
    loose = size_T @ (J.high - J.low)[known] @ size_back
    norms[known] = np.linalg.norm(M, ord=2, axis=(1, 2)) + np.linalg.norm(loose, axis=(1, 2))
    drifts = np.linalg.norm(size_T @ magnitude(d), axis=(1, 2))
    at_corners = norms.reshape(n, -1).max(axis=1), drifts.reshape(n, -1).max(axis=1)
    if not k:
        return at_corners, (np.zeros(n), np.zeros(n)), np.zeros((n, 0))
    parts = [magnitude(part)[:, :, 0] for part in enclosure(loop.bends, Interval(low, high))]
    eighth = (high - low) ** 2 / 8
    with np.errstate(invalid="ignore", over="ignore"):
        added = [_known(part * eighth[:, j // 2, None]) for j, part in enumerate(parts)]
    between = tuple(np.linalg.norm(sum(added[half::2]), axis=1) for half in (0, 1))
    each = [np.linalg.norm(added[j], axis=1) + np.linalg.norm(added[j + 1], axis=1) for j in range(0, 2 * k, 2)]
    return at_corners, (between[0], between[1]), np.stack(each, axis=1)


def _known(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), np.inf, values)


def _halved(low: np.ndarray, high: np.ndarray, effect: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halve boxes across the variable that adds most."""
    which, rows = effect.argmax(axis=1), np.arange(len(low))
    middle = (low[rows, which] + high[rows, which]) / 2
    left, right = high.copy(), low.copy()
    left[rows, which], right[rows, which] = middle, middle
    return np.vstack([low, right]), np.vstack([left, high])


def _largest(
    policy: LoopPolicy, ranges: np.ndarray, loop: _Loop, pushed: float, most_boxes: int, whole: _Held
) -> tuple[float, _Held]:
    """Return the largest part of ρ that is found to hold, by halving; zero where none is."""
    low, high, best = 0.0, WHOLE, whole
    for _ in range(_LEVELS):
        middle = (low + high) / 2
        found = (
            _Held(False, 0, np.inf, np.inf, "")
            if _outside(policy, ranges, middle)
            else _held(loop, middle, pushed, most_boxes)
        )
        if found.holds:
            low, best = middle, found
        else:
            high = middle
    return low, best


def _blocking(
    loop: _Loop, low: np.ndarray, high: np.ndarray, at_corners: tuple[np.ndarray, np.ndarray], worst: int
) -> str:
    """Say in words where a set is not shown to be kept."""
    norm, drift = float(at_corners[0][worst]), float(at_corners[1][worst])
    where = ", ".join(
        f"{label} in [{a:.4g}, {b:.4g}]" for label, a, b in zip(loop.labels, low, high, strict=True)
    )  # fmt: skip
    at = f" at {where}" if where else ""
    return f"a step may multiply the length by {norm:.4g}" + (f" and add {drift:.3g}" if drift > SLACK else "") + at


__all__ = ["NoEnclosureError", "SetProof", "prove_backup_set"]
