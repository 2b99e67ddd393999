"""One-step conditions (E13) once more: the cloud drawn anew from its seed, and single steps of the closed loop."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from scpo_ctrl.verification.binding import Bound, bounds_of
from scpo_ctrl.verification.draw import initial, ranges_of, spread_numbers
from scpo_ctrl.verification.law import Law
from scpo_ctrl.verification.loop import ClosedLoop

_STREAM = 0xC10D  # of the seeds of clouds
_KINDS = 0x51DE  # stream of which face, and which sequence
_SMALLEST = 1e-3  # part of the way to the boundary at which small levels begin
_MOST_CORNERS = 10  # parameters with a range up to which corners come in turn
_ROUNDING = 1e-8  # of a state of the cloud, relative to the extent of the level set


def single_steps(law: Law, tables: dict[str, Any], x0: np.ndarray, p: np.ndarray, w: np.ndarray) -> ClosedLoop:
    """Return the loop over single steps, whose metrics are bounds and the decrease of V.

    Parameters
    ----------
    law : Law
    tables : dict
        The problem file, which asks for one_step.
    x0, p, w : numpy.ndarray
        Of scenarios, whose first steps are meant.

    Returns
    -------
    ClosedLoop
    """
    metrics = {key: value for key, value in tables["metrics"].items() if key not in ("one_step", "cloud", "terminal")}
    metrics |= {"contraction": 1 - tables["metrics"]["one_step"], "stability": False}
    changed = {"metrics": metrics, "scenarios": tables["scenarios"] | {"horizon": 1}}
    return ClosedLoop(law, tables | changed, {"scenario_x0": x0, "scenario_p": p, "scenario_w": w[:, :1]})


def cloud_loop(law: Law, tables: dict[str, Any], arrays: dict[str, np.ndarray]) -> ClosedLoop | None:
    """Return the loop over the recorded cloud, None where the problem has no conditions on one step.

    Parameters
    ----------
    law : Law
    tables : dict
        The problem file.
    arrays : dict of str to numpy.ndarray
        history.npz.

    Returns
    -------
    ClosedLoop or None
    """
    if "one_step" not in tables["metrics"]:
        return None
    return single_steps(law, tables, arrays["cloud_x0"], arrays["cloud_p"], arrays["cloud_w"])


def decrease_of(loop: ClosedLoop) -> Bound:
    """Return how V decreases over single steps that were just taken.

    Parameters
    ----------
    loop : ClosedLoop
        Of `single_steps`.

    Returns
    -------
    Bound
    """
    *_, last = cloud_bounds(loop)
    return last


def cloud_bounds(loop: ClosedLoop) -> list[Bound]:
    """Return the metrics of single steps that were just taken, bound by bound, the decrease of V last.

    Parameters
    ----------
    loop : ClosedLoop
        Of `single_steps`.

    Returns
    -------
    list of Bound
    """
    gamma, found = loop.options["contraction"], []
    for bound in bounds_of(loop):
        is_decrease = bound.kind == "contraction"
        label = bound.label.replace("V(x_N)", "V(x_1)") if is_decrease else bound.label
        room = bound.room * (1 - gamma) / gamma if is_decrease else bound.room  # what a step must remove
        found.append(replace(bound, kind="one step", label=label, room=room, of="cloud_state"))
    return found


def cloud_faults(loop: ClosedLoop | None, tables: dict[str, Any], arrays: dict[str, np.ndarray]) -> list[str]:
    """List where a recorded cloud is not the one that the problem file gives.

    Parameters
    ----------
    loop : ClosedLoop or None
        Of `cloud_loop`.
    tables : dict
        The problem file.
    arrays : dict of str to numpy.ndarray
        history.npz.

    Returns
    -------
    list of str
    """
    if loop is None:
        extra = sorted(name for name in arrays if name.startswith("cloud_"))
        return [f"history.npz has {extra[0]}, yet problem.toml asks for no one_step"] if extra else []
    x0, p, w = _drawn(loop, tables["scenarios"], int(tables["metrics"]["cloud"]))
    found = arrays["cloud_x0"], arrays["cloud_p"], arrays["cloud_w"]
    if any(one.shape != other.shape for one, other in zip(found, (x0, p, w), strict=True)):
        return ["the recorded cloud does not have as many states as problem.toml asks for"]
    extent = np.sqrt(loop.rho * np.diag(np.linalg.inv(loop.P)))
    is_right = (np.abs(found[0] - x0) <= _ROUNDING * extent).all(), np.array_equal(found[1], p), (found[2] == w).all()
    names = ("states", "plant parameters", "disturbances")
    return [
        f"the recorded {name} of the cloud are not those of problem.toml, drawn from its seed"
        for name, right in zip(names, is_right, strict=True)
        if not right
    ]


def _drawn(loop: ClosedLoop, table: dict[str, Any], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return states, parameters and disturbances of the cloud: half from the edges of the set, half from its inside."""
    inside, edges = np.random.SeedSequence([int(table["seed"]), _STREAM]).generate_state(2).tolist()
    parts = [_edges(loop, table, count - count // 2, edges), _inside(loop, table, count // 2, inside)]
    x, p, w = (np.concatenate(part) for part in zip(*parts, strict=True))
    low, high = ranges_of(loop, table)
    half, fixed = np.array(table.get("disturbance", ()), dtype=float), table.get("disturbance_fixed", 0.0)
    constant, varying = np.split(2 * w - 1, 2, axis=1)
    disturbances = (fixed * constant + (1 - fixed) * varying) * half
    return initial(loop, table, x), low + p * (high - low), disturbances[:, None]


def _edges(loop: ClosedLoop, table: dict[str, Any], count: int, seed: int) -> list[np.ndarray]:
    """Return numbers of points whose states are on the boundary, every fourth on a small level."""
    nx, (x, p, w) = loop.plant.nx, _numbers(loop, table, count, seed)
    boundary, rng = np.arange(count) % 4 != 3, np.random.default_rng([seed, _KINDS])
    x[:, -1] = np.where(boundary, 1.0, _SMALLEST ** (nx * x[:, -1]))
    if "box" in table:
        some = np.flatnonzero(boundary)
        face, end, at_corner = (
            rng.integers(0, nx, some.size),
            rng.integers(0, 2, some.size),
            rng.integers(0, 2, some.size),
        )
        x[some, 1 + face] = end
        some = some[at_corner == 1]
        x[some, 1:-1] = np.floor(x[some, 1:-1] + 0.5)
    _into_corners(loop, table, p, seed)
    size = w.shape[1] // 2
    ends = np.floor(w + 0.5)
    begins = rng.integers(0, 4, count) != 3  # sequences that begin with their constant
    ends[begins, size:] = ends[begins, :size]
    return [x, p, ends]


def _inside(loop: ClosedLoop, table: dict[str, Any], count: int, seed: int) -> list[np.ndarray]:
    x, p, w = _numbers(loop, table, count, seed)
    _into_corners(loop, table, p, seed)
    return [x, p, np.floor(w + 0.5)]


def _into_corners(loop: ClosedLoop, table: dict[str, Any], p: np.ndarray, seed: int) -> None:
    """Move the parameters of every other point into a corner of their ranges."""
    low, high = ranges_of(loop, table)
    varied, count = np.flatnonzero(low < high), len(p[::2])
    p[::2] = 0.0
    if len(varied) <= _MOST_CORNERS:
        corners = np.array(list(itertools.product((0.0, 1.0), repeat=len(varied))))
        p[::2, varied] = corners[np.arange(count) % len(corners)]
    else:
        p[::2, varied] = np.random.default_rng(seed).integers(0, 2, (count, len(varied)))


def _numbers(loop: ClosedLoop, table: dict[str, Any], count: int, seed: int) -> list[np.ndarray]:
    """Return numbers in (0, 1) of states, parameters and disturbances, the first of which are spread evenly."""
    nx, npar = loop.plant.nx, loop.plant.npar
    return np.split(spread_numbers(loop, table, count, seed), [2 + nx, 2 + nx + npar], axis=1)
