"""The certificate of a RUN folder once more: its numbers from each other, a part of its scenarios rolled out anew."""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from scpo_ctrl.models import Plant
from scpo_ctrl.reading import parsed_json
from scpo_ctrl.rounding import up
from scpo_ctrl.verification.binding import bounds_of
from scpo_ctrl.verification.draw import distribution, drawn
from scpo_ctrl.verification.law import Law
from scpo_ctrl.verification.loop import ClosedLoop
from scpo_ctrl.verification.one_step import decrease_of, single_steps

SAMPLE = 2000  # scenarios rolled out again besides those that the certificate names, spread over all
_STREAM = 1 << 64  # added to the seed
_MOST_VIOLATING, _CLOSEST = 1000, 10
_MOST_SEED = (1 << 53) - 1
_MOST_ROLLOUTS = 10**9 + 1  # by rounding
_VIOLATION = 1e-12  # a metric violates beyond it
_ROUNDING = 1e-7  # of a metric in units of its bound: P, ρ and rollouts are computed anew
_DIVERGED = 1e3  # metrics beyond comparing: rollouts that diverge amplify rounding
_KEYS = {
    "kind", "passed", "rollouts", "violations", "epsilon", "beta", "bound", "worst", "worst_scenario", "worst_metric",
    "closest", "violating", "distribution", "seed", "theta_digest", "problem_digest", "version",
}  # fmt: skip
_SINCE = {"planned", "parts"}  # keys that earlier certificates lack
_PART_KEYS = {"first", "rollouts", "violations", "worst", "worst_scenario"}
_PART, _MOST_PARTS = 1 << 17, 1000
_AT_ONCE = 1 << 13  # scenarios of a part rolled out again together
_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
_SECTIONS = ("plant", "backup", "policy", "scenarios", "metrics")


def certificate_faults(text: str, law: Law, tables: dict[str, Any], loop: ClosedLoop, theta: np.ndarray) -> list[str]:
    """List what of certificate.json does not hold.

    Parameters
    ----------
    text : str
        Its content.
    law : Law
    tables : dict
        problem.toml.
    loop : ClosedLoop
        Of the record; P, ρ and gains are taken from it.
    theta : numpy.ndarray, shape (d,)
        The final policy.

    Returns
    -------
    list of str
        Each begins with certificate.json and names the key.
    """
    try:
        stated, faults = _read(text, tables, loop, theta)
        return faults or _rolled_faults(stated, law, tables, theta)
    except _DAMAGED as error:
        return [f"certificate.json is damaged ({type(error).__name__}: {error})"]


def part_faults(
    text: str, law: Law, tables: dict[str, Any], loop: ClosedLoop, theta: np.ndarray, part: int
) -> list[str]:
    """List what of a part of certificate.json does not hold, with all its scenarios drawn and rolled out anew.

    Parameters
    ----------
    text, law, tables, loop, theta
        As of `certificate_faults`.
    part : int
        Its place among the parts.

    Returns
    -------
    list of str
        Each begins with certificate.json.
    """
    try:
        stated, faults = _read(text, tables, loop, theta)
        if faults:
            return faults
        parts = stated.get("parts", [])
        if part >= len(parts):
            return [f"certificate.json has {len(parts)} parts, numbered from 0, and no part {part}"]
        return _redrawn_faults(stated, parts[part], law, tables, theta)
    except _DAMAGED as error:
        return [f"certificate.json is damaged ({type(error).__name__}: {error})"]


def words_of(text: str, parts: Sequence[int]) -> str:
    """Return in words what a certificate without a fault came to.

    Parameters
    ----------
    text : str
        Its content.
    parts : sequence of int
        That were drawn and rolled out anew.

    Returns
    -------
    str
    """
    stated = parsed_json(text)
    verdict = "passed" if stated["passed"] else "NOT passed"
    came = f"{verdict}, {stated['violations']} of {stated['rollouts']} fresh scenarios violate"
    if parts:
        again = sum(stated["parts"][part]["rollouts"] for part in set(parts))
        return f"{came}; all {again} of part {', '.join(map(str, sorted(set(parts))))} rolled out again"
    return f"{came}; {len(_sampled(stated))} of them rolled out again"


def _redrawn_faults(
    stated: dict[str, Any], part: dict[str, Any], law: Law, tables: dict[str, Any], theta: np.ndarray
) -> list[str]:
    """Name what a part says, and its scenarios do not."""
    first, end, worst = part["first"], part["first"] + part["rollouts"], []
    for start in range(first, end, _AT_ONCE):
        numbers = np.arange(start, min(start + _AT_ONCE, end))
        worst.append(fresh_metrics(law, tables, theta, numbers, _STREAM + stated["seed"])[0])
    found, where = np.concatenate(worst), f"certificate.json: the part from scenario {first} on"
    least, most = (int(np.count_nonzero(found > bound)) for bound in (_ROUNDING, -_ROUNDING))
    faults = []
    if not least <= part["violations"] <= most:
        faults.append(f"{where} says violations = {part['violations']}, right is {least}")
    named, value = found[part["worst_scenario"] - first], _value(part["worst"])
    if not (_agree(named, value) and _agree(float(found.max()), value)):
        faults.append(f"{where} says worst = {up(value, 9)}, right is {up(float(found.max()), 9)}")
    return faults


def _read(text: str, tables: dict[str, Any], loop: ClosedLoop, theta: np.ndarray) -> tuple[dict[str, Any], list[str]]:
    """Return what a certificate states, and what does not hold of it before a scenario is rolled out."""
    stated = parsed_json(text)
    if not isinstance(stated, dict) or set(stated) | _SINCE != _KEYS | _SINCE or len(_SINCE & set(stated)) == 1:
        wrong = sorted((_KEYS | _SINCE) ^ set(stated)) if isinstance(stated, dict) else ["all of it"]
        return {}, [f"certificate.json has keys missing or too many: {', '.join(wrong)[:200]}"]
    faults = _digest_faults(stated, tables, theta)
    if not faults:  # else it is of something else, and nothing to be rolled out again
        faults = _form_faults(stated) or _count_faults(stated) or _part_faults(stated)
        if stated["distribution"] != (right := distribution(loop, tables["scenarios"])):
            faults.append(_says("distribution", stated["distribution"], right))
    return stated, faults


def _digest_faults(stated: dict[str, Any], tables: dict[str, Any], theta: np.ndarray) -> list[str]:
    """Name what was changed since the certificate was made."""
    faults = []
    if stated["theta_digest"] != hashlib.sha256(np.asarray(theta, dtype="<f8").tobytes()).hexdigest():
        faults.append("theta_digest of certificate.json is not that of theta.npy: the policy was changed since")
    sections = {name: dict(tables[name]) for name in _SECTIONS if name in tables}
    sections["scenarios"].pop("learned", None)
    if stated["problem_digest"] != hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest():
        faults.append("problem_digest of certificate.json is not that of problem.toml: the problem was changed since")
    return [f"{fault}; `scpo-ctrl certify` makes a new one" for fault in faults]


def _form_faults(stated: dict[str, Any]) -> list[str]:
    """Name what is not of the kind that a certificate has."""
    whole = ("rollouts", "violations", "worst_scenario", "seed")
    right = {
        "kind": stated["kind"] == "scenario",
        "passed": isinstance(stated["passed"], bool),
        "version": isinstance(stated["version"], str)
        and re.fullmatch(r"[0-9][0-9a-z.+-]*", stated["version"]) is not None,
        **{key: type(stated[key]) is int and stated[key] >= 0 for key in whole},
        **{key: type(stated[key]) is float and 0 < stated[key] < 1 for key in ("epsilon", "beta")},
        "bound": type(stated["bound"]) is float,
    }
    if right["rollouts"]:
        right["rollouts"] = stated["rollouts"] <= _MOST_ROLLOUTS  # a part of more could not be rolled out again
    if right["seed"]:
        right["seed"] = stated["seed"] <= _MOST_SEED
    return [
        f"certificate.json says {key} = {stated[key]!r:.100}, which no certificate has"
        for key in right
        if not right[key]
    ]


def _count_faults(stated: dict[str, Any]) -> list[str]:
    """Name the numbers that do not follow from each other: the stopping rule, the bound, the verdict, the lists."""
    from scipy.special import betainccinv

    n, k, epsilon, beta = (stated[key] for key in ("rollouts", "violations", "epsilon", "beta"))
    faults, least, planned = [], math.log(beta) / math.log1p(-epsilon), stated.get("planned", n)
    if type(planned) is not int or not 0 <= planned - least < 1 + 1e-9 * least:
        faults.append(
            f"certificate.json says planned = {planned!r:.50}, rollouts = {n}, epsilon = {epsilon:g} and beta = "
            f"{beta:g}, which take {math.ceil(least)}"
        )
    elif n != planned and not (0 < n < planned and k == 1 and stated["violating"] == [n - 1]):
        faults.append(
            f"certificate.json says rollouts = {n} of planned = {planned}, and only the first violation, by number, "
            "ends them early"
        )
    if k > n:
        return [*faults, f"certificate.json says violations = {k} of rollouts = {n}"]
    bound = 1.0 if k == n else float(betainccinv(k + 1, n - k, beta))  # Clopper-Pearson
    if not math.isclose(stated["bound"], bound, rel_tol=1e-9):
        faults.append(_says(f"violations = {k} of rollouts = {n} and bound", stated["bound"], bound))
    if stated["passed"] != (stated["bound"] <= epsilon):
        faults.append(_says("passed", stated["passed"], stated["bound"] <= epsilon))
    violating, closest = stated["violating"], stated["closest"]
    listed = [type(number) is int and 0 <= number < n for number in violating]
    if len(violating) != min(k, _MOST_VIOLATING) or not all(listed) or sorted(set(violating)) != violating:
        faults.append(f"certificate.json has {len(violating)} entries of violating for violations = {k}, or wrong ones")
    numbers, values = [entry["scenario"] for entry in closest], [_value(entry["metric"]) for entry in closest]
    order = sorted(range(len(closest)), key=lambda i: (-values[i], numbers[i]))
    inside = all(type(number) is int and 0 <= number < n for number in numbers)
    if (
        len(closest) != min(_CLOSEST, n)
        or order != list(range(len(closest)))
        or not inside
        or len(set(numbers)) != len(numbers)
    ):
        faults.append("certificate.json has entries of closest missing, twice, or out of order")
    elif sum(value > _VIOLATION for value in values) != min(k, _CLOSEST):
        faults.append(f"certificate.json has other closest scenarios than violations = {k} leave")
    for key, right in (("worst", closest[0]["metric"]), ("worst_scenario", closest[0]["scenario"])):
        if stated[key] != right or type(stated[key]) is not type(right):
            faults.append(f"{_says(key, stated[key], right)} by the first of closest")
    return faults


def _part_faults(stated: dict[str, Any]) -> list[str]:
    """Name the parts that do not make the whole."""
    if "parts" not in stated:
        return []
    n, parts, size = stated["rollouts"], stated["parts"], _PART
    while size * _MOST_PARTS < stated["planned"]:
        size *= 2
    begins = list(range(0, n, size))
    if [part["first"] for part in parts] != begins or any(set(part) != _PART_KEYS for part in parts):
        return [f"certificate.json has other parts than {len(begins)} of {size} scenarios each, but for the last"]
    violating, faults = stated["violating"], []
    for part in parts:
        first, count, k, number = (part[key] for key in ("first", "rollouts", "violations", "worst_scenario"))
        listed = sum(first <= other < first + count for other in violating)
        if (
            not all(type(value) is int for value in (first, count, k, number))
            or count != min(size, n - first)
            or not first <= number < first + count
            or not listed <= k <= count
            or (k != listed and stated["violations"] <= _MOST_VIOLATING)
            or (_value(part["worst"]) > _VIOLATION) != (k > 0)
        ):
            faults.append(
                f"certificate.json has one of parts, from scenario {first!r:.20} on, whose numbers do not fit"
            )
    if not faults and sum(part["violations"] for part in parts) != stated["violations"]:
        faults.append(f"certificate.json has parts with other violations than {stated['violations']} together")
    first = min(parts, key=lambda part: (-_value(part["worst"]), part["worst_scenario"]))
    if not faults and (first["worst"], first["worst_scenario"]) != (stated["worst"], stated["worst_scenario"]):
        faults.append("certificate.json has parts with another worst scenario than all of it")
    return faults[:3]


def _rolled_faults(stated: dict[str, Any], law: Law, tables: dict[str, Any], theta: np.ndarray) -> list[str]:
    """Roll out again the scenarios that are named, and a sample of the others."""
    named = {entry["scenario"]: _value(entry["metric"]) for entry in stated["closest"]}
    seed, violating = stated["seed"], set(stated["violating"])
    numbers = np.array(sorted({*named, *violating, *_sampled(stated)}))
    worst, labels = fresh_metrics(law, tables, theta, numbers, _STREAM + seed)
    found = dict(zip(numbers.tolist(), worst.tolist(), strict=True))
    where = f"scenario {{}} of seed = {seed} does not give"
    faults = [
        f"certificate.json: {where.format(k)} the metric {up(value, 9)} of closest: {up(found[k], 9)}"
        for k, value in named.items()
        if not _agree(found[k], value)
    ]
    faults += [
        f"certificate.json: {where.format(k)} the violation of violating"
        for k in sorted(violating)
        if found[k] <= -_ROUNDING
    ]
    all_listed = stated["violations"] <= _MOST_VIOLATING
    last = max(violating, default=-1)  # up to here every violating one is listed
    missed = [k for k in found if found[k] > _ROUNDING and k not in violating and (all_listed or k < last)]
    faults += [
        f"certificate.json: scenario {k} violates, and is not among violations and violating" for k in missed[:1]
    ]
    least = min(named.values())
    worse = [
        k for k in found if k not in named and found[k] > least + _ROUNDING * max(1.0, abs(least)) and least < _DIVERGED
    ]
    faults += [
        f"certificate.json: scenario {k} is worse than the last of closest, and not among them" for k in worse[:1]
    ]
    first = stated["worst_scenario"]
    if not faults and stated["worst_metric"] not in labels(int(np.searchsorted(numbers, first))):
        faults.append(_says("worst_metric", stated["worst_metric"], labels(int(np.searchsorted(numbers, first)))[0]))
    return faults[:3]


def _sampled(stated: dict[str, Any]) -> range:
    """Return which scenarios are rolled out again though nothing names them."""
    step = max(1, stated["rollouts"] // SAMPLE)
    return range(int(stated["theta_digest"], 16) % step, stated["rollouts"], step)  # others for another policy


def fresh_metrics(
    law: Law, tables: dict[str, Any], theta: np.ndarray, numbers: np.ndarray, key: int
) -> tuple[np.ndarray, Any]:
    """Return the largest metric of fresh scenarios by their numbers, in units of the bounds, and which ones may be it.

    Parameters
    ----------
    law : Law
    tables : dict
        The problem file.
    theta : numpy.ndarray, shape (d,)
    numbers : numpy.ndarray of int, shape (n,)
        Of the scenarios in the endless sequence.
    key : int
        Its seed.

    Returns
    -------
    worst : numpy.ndarray, shape (n,)
    labels : callable
        Of a place among them: the metrics that may be its largest.
    """
    empty = {name: np.zeros((0, *shape)) for name, shape in _shapes(law.plant, tables).items()}
    arrays = drawn(ClosedLoop(law, tables, empty), tables["scenarios"], numbers, key)
    loop = ClosedLoop(law, tables, arrays)
    loop.margins(theta[None])
    every = list(bounds_of(loop))
    if "one_step" in tables["metrics"]:
        step = single_steps(law, tables, *(arrays[f"scenario_{key}"] for key in ("x0", "p", "w")))
        step.margins(theta[None])
        every.append(decrease_of(step))
    stacked = [np.where(np.isfinite(bound.margin), -bound.margin / bound.unit, np.inf) for bound in every]
    stacked = [  # what no policy can move counts where it is violated
        np.where(values > _VIOLATION, values, -np.inf) if bound.fixed else values
        for bound, values in zip(every, stacked, strict=True)
    ]
    worst = np.max([values.max(axis=1) for values in stacked], axis=0)

    def labels(place: int) -> list[str]:
        near = worst[place] - _ROUNDING * max(1.0, abs(worst[place])) if math.isfinite(worst[place]) else _DIVERGED
        return [
            f"t = {bound.start + t}: {bound.label}"
            for bound, values in zip(every, stacked, strict=True)
            for t in np.flatnonzero(values[place] >= near)
        ]

    return worst, labels


def _shapes(plant: Plant, tables: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    table = tables["scenarios"]
    w = (int(table["horizon"]), len(table.get("disturbance", ())))
    return {"scenario_x0": (plant.nx,), "scenario_p": (plant.npar,), "scenario_w": w}


def _agree(found: float, stated: float) -> bool:
    if min(found, stated) > _DIVERGED:
        return True
    return abs(found - stated) <= _ROUNDING * max(1.0, abs(found))


def _value(stated: float | None) -> float:
    """Return a metric; what is not finite is null in JSON."""
    if stated is None:
        return math.inf
    if type(stated) is not float or not math.isfinite(stated):
        raise ValueError(f"metric {stated!r:.50} of closest")
    return stated


def _says(key: str, stated: Any, right: Any) -> str:
    return f"certificate.json says {key} = {stated!r:.200}, right is {right!r:.200}"
