"""The cover of a RUN folder once more: its tree is the declared set, and each of its boxes keeps every metric.

Nothing is searched for, and nothing shared with the prover but the model's expressions and the letters of the tree. All
proved boxes are enclosed again by another method in doubles (`covered`), a box that this leaves open in halves of it; a
sample of them, which follows from policy and tree, again in Arb's ball arithmetic (`covered_arb`).
"""

import hashlib
import json
import math
from typing import Any

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.cover_words import for_ever, over_the_horizon
from scpo_ctrl.reading import parsed_json
from scpo_ctrl.verification.covered import ALLOWED, CoveredBoxes

SAMPLE = 32  # boxes in Arb
_AT_ONCE = 1024
_HALVINGS = 8  # of a number, of boxes that are open to the other method
_KEYS = {
    "kind", "proved", "refuted", "undecided_percent", "sentence", "blocks", "boxes", "seconds", "allowed", "level",
    "widened", "cones", "numbers", "counterexample", "letters", "theta_digest", "problem_digest", "version",
}  # fmt: skip
_SECTIONS = ("plant", "backup", "policy", "scenarios", "metrics")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def cover_faults(
    text: str, problem: ControlProblem, tables: dict[str, Any], theta: np.ndarray, *, sample: int = SAMPLE
) -> list[str]:
    """List what of cover_proof.json does not hold.

    Parameters
    ----------
    text : str
        Its content.
    problem : ControlProblem
        Of problem.toml.
    tables : dict
        What that says.
    theta : numpy.ndarray, shape (d,)
        The final policy.
    sample : int
        How many boxes are checked in Arb.

    Returns
    -------
    list of str
        Each begins with cover_proof.json.
    """
    try:
        stated = parsed_json(text)
        if not isinstance(stated, dict) or set(stated) != _KEYS:
            wrong = sorted(_KEYS ^ set(stated)) if isinstance(stated, dict) else ["all of it"]
            return [f"cover_proof.json has keys missing or too many: {', '.join(wrong)[:200]}"]
        faults = _digest_faults(stated, tables, theta)
        if faults:
            return faults
        boxes = CoveredBoxes(problem, theta)
        faults = _stated_faults(stated, boxes)
        if faults or not stated["proved"]:
            return faults
        cones, low, high = leaves(stated["letters"], boxes)
        return _box_faults(boxes, cones, low, high, _seed(stated), sample)
    except DomainError as error:
        return [f"cover_proof.json cannot be checked: {error}"]
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        return [f"cover_proof.json is damaged ({type(error).__name__}: {error})"]


def _digest_faults(stated: dict[str, Any], tables: dict[str, Any], theta: np.ndarray) -> list[str]:
    """Name what was changed since the cover was made."""
    sections = {name: dict(tables[name]) for name in _SECTIONS if name in tables}
    sections["scenarios"].pop("learned", None)
    right = {
        "theta_digest": (hashlib.sha256(np.asarray(theta, dtype="<f8").tobytes()), "the policy"),
        "problem_digest": (hashlib.sha256(json.dumps(sections, sort_keys=True).encode()), "the problem"),
    }
    return [
        f"{key} of cover_proof.json is not that of the run: {what} was changed since; `scpo-ctrl certify --kind cover` "
        "makes a new one"
        for key, (found, what) in right.items()
        if stated[key] != found.hexdigest()
    ]


def _stated_faults(stated: dict[str, Any], boxes: CoveredBoxes) -> list[str]:
    """Name what it says otherwise than the run, or than its letters."""
    letters, proved = stated["letters"], stated["proved"]
    if not isinstance(letters, str) or type(proved) is not bool or type(stated["refuted"]) is not bool:
        return ["cover_proof.json says proved, refuted or letters in a form that no cover has"]
    pending, widened = _open(letters, boxes), stated["widened"]
    right: dict[str, Any] = {
        "kind": "cover",
        "allowed": ALLOWED,
        "level": boxes.declared.level,
        "cones": boxes.cones,
        "boxes": len(letters),
        "proved": pending == 0 and "?" not in letters and not stated["refuted"],
    }
    if boxes.cut():
        return ["cover_proof.json is of ellipsoids that reach beyond the state bounds, which no cover is"]
    faults = [f"cover_proof.json says {key} = {stated[key]!r:.80}, right is {right[key]!r}" for key in right
              if stated[key] != right[key]]  # fmt: skip
    if len(stated["numbers"]) != boxes.size:
        faults.append(f"cover_proof.json has boxes of {len(stated['numbers'])} numbers, right is {boxes.size}")
    if type(widened) not in (int, float) or not 0 <= widened < 1:
        faults.append(f"cover_proof.json says widened = {widened!r:.80}, which no cover has")
    seconds = stated["seconds"]
    if type(seconds) is not float or not (math.isfinite(seconds) and seconds >= 0):
        return [*faults, f"cover_proof.json says seconds = {seconds!r:.80}, which no cover took"]
    if proved and not faults:
        count = f"{len(letters):,}".replace(",", " ")
        says = f"{over_the_horizon(boxes.problem)}; {for_ever(boxes.problem)}"
        sentence = f"proved ({count} boxes, {seconds:.3g} s): {says}"
        for key, value in (
            ("sentence", sentence),
            ("undecided_percent", 0.0),
            ("blocks", ""),
            ("counterexample", None),
        ):
            if stated[key] != value:
                faults.append(f"cover_proof.json says {key} = {stated[key]!r:.200}, right is {value!r}")
    return faults


def _open(letters: str, boxes: CoveredBoxes) -> int:
    """Return how many boxes have no letter, from their number alone."""
    halved = sum(letters.count(letter) for letter in _LETTERS[: boxes.size])
    if halved + letters.count(".") + letters.count("?") != len(letters):
        raise ValueError("a letter that no box has")
    pending = boxes.cones
    for letter in letters:  # none comes after the last box
        if not pending:
            raise ValueError("letters of more boxes than there are")
        pending += -1 if letter in ".?" else 1
    return pending


def leaves(letters: str, boxes: CoveredBoxes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes of a tree that are not halved.

    Parameters
    ----------
    letters : str
        Of all boxes, in the order of their numbers: the cones, and two boxes for each halved one.
    boxes : CoveredBoxes

    Returns
    -------
    cones : numpy.ndarray of int, shape (B,)
    low, high : numpy.ndarray, shape (size, B)
    """
    size, total = boxes.size, len(letters)
    cones = np.zeros(total, dtype=int)
    low, high = np.full((total, size), -1.0), np.full((total, size), 1.0)
    cones[: boxes.cones] = np.arange(boxes.cones)
    if boxes.has_states:
        low[: boxes.cones, 0] = 0.0
    after, last = boxes.cones, np.zeros(total, dtype=bool)
    for k, letter in enumerate(letters):
        if letter == ".":
            last[k] = True
            continue
        i = _LETTERS.index(letter)
        for child in (after, after + 1):
            cones[child], low[child], high[child] = cones[k], low[k], high[k]
        high[after, i] = low[after + 1, i] = (low[k, i] + high[k, i]) / 2
        after += 2
    return cones[last], low[last].T, high[last].T


def _seed(stated: dict[str, Any]) -> int:
    return int(hashlib.sha256((stated["letters"] + stated["theta_digest"]).encode()).hexdigest(), 16)


def _box_faults(
    boxes: CoveredBoxes, cones: np.ndarray, low: np.ndarray, high: np.ndarray, seed: int, sample: int
) -> list[str]:
    """Name the first box of which a metric is not shown to be kept."""
    for cone in range(boxes.cones):
        some = np.flatnonzero(cones == cone)
        for start in range(0, some.size, _AT_ONCE):
            part = some[start : start + _AT_ONCE]
            kept = kept_boxes(boxes, cone, low[:, part], high[:, part])
            if not kept.all():
                return [_not_kept(cone, low[:, part[~kept][0]], high[:, part[~kept][0]], "doubles")]
    from scpo_ctrl.verification.covered_arb import sample_holds

    outer = np.flatnonzero(low[0] > 0) if boxes.has_states else np.arange(cones.size)
    chosen = np.random.default_rng(seed).permutation(outer)[:sample]
    kept = sample_holds(boxes, cones[chosen], low[:, chosen], high[:, chosen])
    if kept.all():
        return []
    first = chosen[~kept][0]
    return [_not_kept(int(cones[first]), low[:, first], high[:, first], "Arb")]


def _not_kept(cone: int, low: np.ndarray, high: np.ndarray, how: str) -> str:
    return (
        f"cover_proof.json: the box from {low.tolist()} to {high.tolist()} of cone {cone} is not shown to keep every "
        f"metric, re-checked in {how}"
    )


def kept_boxes(boxes: CoveredBoxes, cone: int, low: np.ndarray, high: np.ndarray, left: int = _HALVINGS) -> np.ndarray:
    """Return on which boxes of a cone every metric is kept, where one is open in halves of it.

    Parameters
    ----------
    boxes : CoveredBoxes
    cone : int
    low, high : numpy.ndarray, shape (size, B)
    left : int
        How often a box may be halved.

    Returns
    -------
    numpy.ndarray of bool, shape (B,)
    """
    kept = boxes.holds(cone, low, high)
    open_ = np.flatnonzero(~kept)
    if not open_.size or not left or not boxes.size or open_.size > max(64, kept.size // 4):
        return kept
    axis = left % boxes.size
    middle = (low[axis] + high[axis]) / 2
    upper, lower = high[:, open_].copy(), low[:, open_].copy()
    upper[axis] = lower[axis] = middle[open_]
    first = kept_boxes(boxes, cone, low[:, open_], upper, left - 1)
    second = np.zeros(open_.size, dtype=bool)
    if first.any():
        second[first] = kept_boxes(boxes, cone, lower[:, first], high[:, open_][:, first], left - 1)
    kept[open_] = first & second
    return kept
