"""What binds at the final policy once more, from the trajectories of the verification, those of a cloud included.

Rounding may decide whether a metric binds, or which of two equally close ones comes first. So the record's own choice
is followed wherever the recomputed margins allow it, and is a fault where they do not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scpo_ctrl.models.units import Units
from scpo_ctrl.verification.loop import ClosedLoop
from scpo_ctrl.verification.margins import AGREEMENT
from scpo_ctrl.verification.over_time import over_time

_TIGHT = 0.01  # a metric binds within this part of the distance from the equilibrium to its bound
_ROWS = 10  # of the closest metrics
_LEVEL = 1e-9  # a margin that falls by less, of that distance, stays level
_SMALLEST = np.finfo(float).tiny  # distance that stands for none


@dataclass(frozen=True)
class Bound:
    """The metrics of one bound, in every scenario over time."""

    kind: str
    label: str
    start: int  # time of the first
    margin: np.ndarray  # (S, T)
    room: np.ndarray  # (S, 1) distance from the equilibrium to the bound
    varies: np.ndarray  # (S, 1) False where no policy can change them
    error: float  # of a margin
    unit: float  # in which the loop counts it when it compares metrics of different bounds
    of: str = "scenario"  # what S counts, by its name in the record
    fixed: bool = False  # whether the initial state alone decides it

    def binds(self, error: float) -> np.ndarray:
        """Whether they bind, their margins being larger by an error; what is not a number binds, (S, T)."""
        return ~(self.margin + error > _TIGHT * self.room)

    def and_of(self, others: "Bound") -> "Bound":
        """Return the metrics of the same bound in these scenarios and others after them."""
        return replace(
            self,
            margin=np.vstack([self.margin, others.margin]),
            room=np.vstack([self.room, others.room]),
            varies=np.vstack([self.varies, others.varies]),
            error=max(self.error, others.error),
        )

    def part(self, error: float = 0.0) -> np.ndarray:
        """Margins, larger by an error, over the distance, (S, T)."""
        return (self.margin + error) / np.maximum(self.room, _SMALLEST)


def binding_faults(loop: ClosedLoop, cloud: list[Bound], recorded: Any, guards: ClosedLoop | None = None) -> list[str]:
    """List what the record's account of what binds at the final policy has wrong.

    Parameters
    ----------
    loop : ClosedLoop
        Which has just stepped the final policy.
    cloud : list of Bound
        Of the same policy over single steps from a cloud of states; none where the problem has none.
    recorded : object
        "binding" of result.json.
    guards : ClosedLoop, optional
        The same on the guards of the run, which count as scenarios after the others.

    Returns
    -------
    list of str
    """
    try:
        bounds, parts = list(bounds_of(loop)), {"scenario": slice(0, len(loop.z0))}
        if guards is not None:
            bounds = [one.and_of(other) for one, other in zip(bounds, bounds_of(guards), strict=True)]
            parts["guard"] = slice(len(loop.z0), len(loop.z0) + len(guards.z0))
        if cloud:
            parts["cloud_state"] = slice(0, len(cloud[0].margin))
        return _faults([*bounds, *cloud], parts, recorded)
    except (LookupError, TypeError, ValueError, AttributeError):
        return [f"result.json says binding = {recorded!r:.200}, which is not what a save writes"]


def _faults(bounds: list[Bound], parts: dict[str, slice], recorded: dict[str, Any]) -> list[str]:
    """List the first thing of each entry that the bounds do not allow; parts are where scenarios and guards stand."""
    flagged = [name for name in parts if name != "cloud_state"]
    keys = {f"{name}s{end}" for name in flagged for end in ("", "_never")}
    if set(recorded) != {"within", "metrics", "closest"} | keys:
        raise ValueError
    faults = [] if recorded["within"] == _TIGHT else [_says("within", recorded["within"], _TIGHT)]
    sure, perhaps = ([bound.binds(sign * bound.error) & bound.varies for bound in bounds] for sign in (1, -1))
    kinds = dict.fromkeys(bound.kind for bound in bounds)
    counts = [
        {kind: sum(int(b.sum()) for b, of in zip(binds, bounds, strict=True) if of.kind == kind) for kind in kinds}
        for binds in (sure, perhaps)
    ]
    found = recorded["metrics"]
    if set(found) != set(kinds) or not all(counts[0][kind] <= found[kind] <= counts[1][kind] for kind in kinds):
        faults.append(_says("metrics", found, counts[0]))
    own = [bound.of == "scenario" for bound in bounds]
    flags = [
        np.any([binds.any(axis=1) for binds, is_own in zip(of, own, strict=True) if is_own], axis=0)
        for of in (sure, perhaps)
    ]
    for name in flagged:
        faults += _never_faults(f"{name}s", flags[0][parts[name]], flags[1][parts[name]], recorded)
    return faults + _closest_faults(bounds, parts, recorded["closest"])


def _never_faults(name: str, sure: np.ndarray, perhaps: np.ndarray, recorded: dict[str, Any]) -> list[str]:
    """Name what is wrong with which scenarios, or guards, are said to bind."""
    said, never = recorded[f"{name}_never"], np.zeros(len(sure), dtype=bool)
    for first, last in said:
        never[first : last + 1] = True
    if _runs(never) != said or (never & sure).any() or not (never | perhaps).all():
        return [_says(f"{name}_never", said, _runs(~sure))]
    count = int((~never).sum())
    return [] if recorded[name] == count else [_says(name, recorded[name], count)]


def _closest_faults(bounds: list[Bound], parts: dict[str, slice], recorded: list[dict[str, Any]]) -> list[str]:
    """Name the first row of the closest metrics that is not the closest of what the rows before it leave."""
    taken = [np.zeros(bound.margin.shape, dtype=bool) for bound in bounds]
    number, free = 0, _free(bounds, taken)
    while number < _ROWS and any(of.any() for of in free):
        if number == len(recorded):
            return [_says("closest", f"{number} rows", "there are more")]
        row = recorded[number]
        least = min(np.min(bound.part(bound.error)[of]) for bound, of in zip(bounds, free, strict=True) if of.any())
        name, place = _place(row, parts)
        matches = (
            _matching(bound, of, least, place, row) if (bound.of == "cloud_state") == (name == "cloud_state") else None
            for bound, of in zip(bounds, free, strict=True)
        )
        match = next(((i, place, found) for i, found in enumerate(matches) if found), None)
        if match is None:
            return [f"result.json says binding closest[{number}] = {row!r}, the rollouts do not"]
        taken[match[0]][match[1], match[2]] = True
        number, free = number + 1, _free(bounds, taken)
    return [] if number == len(recorded) else [_says("closest", f"{len(recorded)} rows", f"{number} rows")]


def _free(bounds: list[Bound], taken: list[np.ndarray]) -> list[np.ndarray]:
    """Return which metrics of each bound are left; those that no policy can change come last."""
    varying = [~of & bound.varies for bound, of in zip(bounds, taken, strict=True)]
    return varying if any(of.any() for of in varying) else [~of for of in taken]


def _place(row: dict[str, Any], parts: dict[str, slice]) -> tuple[str, int]:
    """Return what a row names, and where that stands; -1 where it names none."""
    if not {"time", "bound", "margin"} <= set(row):
        raise ValueError
    for name, part in parts.items():
        if set(row) == {name, "time", "bound", "margin"}:
            number = row[name]
            return name, part.start + number if type(number) is int and 0 <= number < part.stop - part.start else -1
    return "", -1


def _matching(bound: Bound, free: np.ndarray, least: float, scenario: int, row: dict[str, Any]) -> slice | None:
    """Return the valley of the metric that a row names, where it is free and may be the closest."""
    if scenario < 0 or bound.label != row["bound"]:
        return None
    first, last = row["time"]
    part, lowest = bound.part()[scenario], bound.part(-bound.error)[scenario]
    for at in np.flatnonzero(free[scenario] & (lowest <= least)):
        near, valley = _walk(part, int(at))
        agrees = abs(bound.margin[scenario, at] - row["margin"]) <= bound.error
        if agrees and [near.start + bound.start, near.stop - 1 + bound.start] == [first, last]:
            return valley
    return None


def _walk(part: np.ndarray, at: int) -> tuple[slice, slice]:
    """Return the time steps around one that are as close within `_TIGHT`, and with those that rise from them."""
    near, valley = [at, at], [at, at]
    for end, sign, stop in ((0, -1, -1), (1, 1, part.size)):
        k = at
        while k + sign != stop and part[k + sign] <= part[at] + _TIGHT:
            k += sign
        near[end] = k
        while k + sign != stop and part[k + sign] >= part[k] - _LEVEL:
            k += sign
        valley[end] = k
    return slice(near[0], near[1] + 1), slice(valley[0], valley[1] + 1)


def bounds_of(loop: ClosedLoop) -> Iterator[Bound]:
    """Metrics (E6)-(E8) of the trajectories, bound by bound.

    Parameters
    ----------
    loop : ClosedLoop
        Which has just stepped a policy.

    Yields
    ------
    Bound
    """
    plant, options, level_error = loop.plant, loop.options, AGREEMENT * float(loop.sizes("level")[0])
    moving, own = ~loop.at_rest()[:, None], Units.of(plant)
    boxes = [("state", loop.x, plant.x_min, plant.x_max, plant.x_eq, plant.x_labels, plant.x_units, own.x)]
    if options.get("command", True):
        boxes.append(("command", loop.u, plant.u_min, plant.u_max, plant.u_eq, plant.u_labels, plant.u_units, own.u))
    for kind, values, low, high, eq, labels, units, unit in boxes if options.get("path", True) else []:
        for sign, word, bound in ((1.0, "<=", high), (-1.0, ">=", low)):
            for i in np.flatnonzero(np.isfinite(bound)):
                error = AGREEMENT * float(loop.sizes(kind)[i])
                label = f"{labels[i]} {word} {bound[i]:g} {units[i]}".rstrip()
                margin, room = sign * (bound[i] - values[..., i]), np.full((len(values), 1), sign * (bound[i] - eq[i]))
                fixed = 1 if kind == "state" else 0  # steps at the start that no policy can change
                for start, stop, varies in ((0, fixed, moving & False), (fixed, values.shape[1], moving)):
                    if start < stop:
                        there, parts = margin[:, start:stop], float(unit[i])
                        yield Bound(kind, label, start, there, room, varies, error, parts, fixed=stop == fixed)
    yield from _limits_of(loop, moving)
    final = loop.level(loop.x[:, -1] - plant.x_eq)[:, None]
    if options.get("terminal", False):
        one = np.ones_like(final)
        error = level_error / loop.rho
        yield Bound("terminal", "V(x_N) <= rho", loop.horizon, 1 - final / loop.rho, one, moving, error, 1.0)
    gamma = options.get("contraction")
    if gamma is not None:
        room, floor, limit = loop.contraction_limits()[:, None], options.get("contraction_floor"), f"{gamma:g} V(x_0)"
        word = f"V(x_N) <= {f'max({limit}, {floor:g} rho)' if floor else limit}"
        final = loop.level(loop.x[:, -1] - loop.settled)[:, None]
        yield Bound("contraction", word, loop.horizon, room - final, room, moving, level_error, loop.rho)


def _limits_of(loop: ClosedLoop, moving: np.ndarray) -> Iterator[Bound]:
    """Constraints and limits of the inputs' change along the trajectories, bound by bound."""
    written, N, plant = loop.law.written, loop.horizon, loop.plant
    if not written.limits:
        return
    applied = np.clip(loop.u, plant.u_min, plant.u_max)
    margins = np.full((len(loop.x), N + 1, len(written.limits)), np.inf)
    errors, over_all = np.zeros(len(written.limits)), over_time(plant, loop.p, N)
    for t in range(N + 1):
        now, last = applied[:, min(t, N - 1)], applied[:, max(0, min(t, N - 1) - 1)]
        which = written.at(t, N)
        over, sizes = (part[:, which] for part in written.excess(loop.x[:, t], now, last, over_all[t]))
        margins[:, t, which] = -over
        errors[which] = np.maximum(errors[which], AGREEMENT * np.where(np.isfinite(sizes), sizes, 0.0).max(axis=0))
    for i, one in enumerate(written.limits):
        room, stop, fixed = np.full((len(loop.x), 1), one.room), N + (not one.of_input), 0 if one.of_input else 1
        for start, end, varies in ((0, fixed, moving & False), (max(fixed, one.first), stop, moving)):
            if start < end:
                margin, error = margins[:, start:end, i], float(errors[i])
                yield Bound(one.kind, one.label, start, margin, room, varies, error, one.scale, fixed=end == fixed)


def _runs(flags: np.ndarray) -> list[list[int]]:
    """Return runs of neighbouring scenarios that are set, as pairs of the first and the last."""
    runs: list[list[int]] = []
    for i in np.flatnonzero(flags):
        if runs and runs[-1][1] == i - 1:
            runs[-1][1] = int(i)
        else:
            runs.append([int(i), int(i)])
    return runs


def _says(key: str, recorded: Any, found: Any) -> str:
    return f"result.json says binding {key} = {recorded!r}, the rollouts say {found!r}"
