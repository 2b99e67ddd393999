"""backup_proof.json once more: what it says is proved is of this run, and holds."""

import json
from typing import Any

import numpy as np

from scpo_ctrl.models.varying import first_varying, still
from scpo_ctrl.verification.law import Law
from scpo_ctrl.verification.over_time import ranges as given_ranges

_AGREEMENT = 1e-9  # of ρ, which is computed anew
_WHOLE = 1 - 1e-8  # part of ρ from which on all of it is said to be proved
_NUMBERS = ("level", "rho", "seconds", "disturbance", "tilt")
_BOUNDS = ("contraction", "drift")  # null where no level is proved
_KEYS = {
    *_NUMBERS, *_BOUNDS, "kind", "proved", "boxes", "variables", "blocks", "parameters", "signals",
    "disturbance_half", "splits", "tilt",
}  # fmt: skip


def proof_faults(text: str | None, law: Law, table: dict[str, Any]) -> tuple[list[str], str]:
    """List what of backup_proof.json does not hold, and say what is proved.

    Parameters
    ----------
    text : str, optional
        Its content; None where a run has none.
    law : Law
        Of the record.
    table : dict
        Section [scenarios] of its problem file, every default filled in.

    Returns
    -------
    faults : list of str
    sentence : str
        Empty where there are faults, or nothing is proved.
    """
    if text is None:
        return [], ""
    try:
        stated = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return [f"backup_proof.json is damaged ({error}); write it anew with `scpo-ctrl certify`"], ""
    fault = _form_fault(stated) or _other_run_fault(stated, law, table)
    if not fault and stated["level"]:
        from scpo_ctrl.verification.backup_proof import Claim, claim_fault  # python-flint is of use here alone

        fault = claim_fault(
            law,
            _reached(law, table),
            np.array(table.get("disturbance", np.zeros(law.plant.nx)), dtype=float),
            Claim(
                level=float(stated["level"]),
                contraction=float(stated["contraction"]),
                drift=float(stated["drift"]),
                disturbance=float(stated["disturbance"]),
                variables=tuple(stated["variables"]),
                splits=stated["splits"],
                tilt=float(stated["tilt"]),
            ),
        )
    if fault:
        return [f"backup_proof.json: {fault}"], ""
    part = "rho" if stated["proved"] else f"{stated['level']:.3g} rho"
    count = sum(generation.count(-1) + generation.count(-3) for generation in stated["splits"])
    how = f"{count} box{'es' * (count != 1)} in ball arithmetic"
    return [], f"proved, and re-checked ({how}): no state of {{V <= {part}}} leaves it" if count else ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _is_size(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < np.inf


def _form_fault(stated: Any) -> str:
    """Return what is not of the form that such a file has."""
    if not isinstance(stated, dict) or set(stated) != _KEYS:
        apart = sorted(_KEYS ^ set(stated)) if isinstance(stated, dict) else ["all of it"]
        return f"keys are missing or too many: {', '.join(apart)[:200]}"
    right = {key: _is_size(stated[key]) for key in (*_NUMBERS, *_BOUNDS)}
    right |= {key: right[key] or (stated[key] is None and not stated["level"]) for key in _BOUNDS}
    right["kind"], right["blocks"] = stated["kind"] == "backup", isinstance(stated["blocks"], str)
    right["level"] = right["level"] and stated["level"] <= 1
    right["tilt"] = right["tilt"] and stated["tilt"] < 1
    right["proved"] = stated["proved"] is bool(right["level"] and stated["level"] >= _WHOLE)
    names = stated["variables"]
    right["variables"] = isinstance(names, list) and all(isinstance(name, str) for name in names)
    right["boxes"] = type(stated["boxes"]) is int
    wrong = next((key for key, holds in right.items() if not holds), None)
    if wrong is not None:
        return f"{wrong} = {stated[wrong]!r:.200} is not what such a file has"
    splits = stated["splits"]
    if not isinstance(splits, list) or not all(
        isinstance(generation, list) and all(type(which) is int and -3 <= which < len(names) for which in generation)
        for generation in splits
    ):
        return f"splits has entries that are no variable, -1, -2 or -3, of which there are {len(names)}"
    if bool(splits) is not bool(stated["level"]):
        return f"splits has {len(splits)} generations of boxes, and level = {stated['level']!r}"
    least, most = sum(one.count(-1) + one.count(-3) for one in splits), sum(len(one) for one in splits)
    if splits and not least <= stated["boxes"] <= most:
        return f"boxes = {stated['boxes']!r:.200}, and splits has {least} that are closed, of {most}"
    return ""


def _other_run_fault(stated: dict[str, Any], law: Law, table: dict[str, Any]) -> str:
    """Return what is not of this run."""
    if not abs(stated["rho"] - law.rho) <= _AGREEMENT * law.rho:
        return f"rho = {stated['rho']!r}, the run has {law.rho!r}"
    plant, reached, first = law.plant, _reached(law, table), first_varying(law.plant)
    varying = range(first, first + len(plant.signals))
    right = {
        "parameters": {plant.p_labels[i]: reached[i].tolist() for i in still(plant)},
        "signals": {plant.p_labels[i]: reached[i].tolist() for i in varying},
        "disturbance_half": [float(value) for value in table.get("disturbance", ())],
    }
    wrong = next((key for key, value in right.items() if stated[key] != value), None)
    return "" if wrong is None else f"{wrong} = {stated[wrong]!r:.200}, the run has {right[wrong]!r:.200}"


def _reached(law: Law, table: dict[str, Any]) -> np.ndarray:
    """Return between which values each plant parameter may be, (np, 2); of the time, from zero on."""
    plant = law.plant
    given = given_ranges(plant, table.get("parameters", {}))
    reached = np.array(
        [given.get(label, (nominal, nominal)) for label, nominal in zip(plant.p_labels, plant.p_nominal, strict=True)]
    )
    reached, first = reached.reshape(-1, 2).astype(float), first_varying(plant)
    for k, signal in enumerate(plant.signals):
        reached[first + k] = signal.reach
    if plant.signals:
        reached[-1] = 0.0, np.inf
    return reached
