"""backup_proof.json once more: what it says is proved is of this run, and holds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scpo_ctrl.models.varying import first_varying, still
from scpo_ctrl.reading import parsed_json
from scpo_ctrl.verification.law import Law
from scpo_ctrl.verification.over_time import ranges as given_ranges

_AGREEMENT = 1e-9  # of ρ, which is computed anew
_WHOLE = 1 - 1e-8  # part of ρ from which on all of it is said to be proved
_OF_RUN = ("rho", "parameters", "signals", "disturbance_half")
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
        stated = parsed_json(text)
    except ValueError as error:
        return [f"backup_proof.json is damaged ({error}); write it anew with `scpo-ctrl certify`"], ""
    fault = _form_fault(stated) or other_run_fault(stated, law, table, _OF_RUN)
    if not fault and stated["level"]:
        from scpo_ctrl.verification.backup_proof import Claim, claim_fault  # python-flint is of use here alone

        fault = claim_fault(
            law,
            reached(law, table),
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


def is_size(value: Any) -> bool:
    """Whether a value is a number from zero on.

    Parameters
    ----------
    value : object

    Returns
    -------
    bool
    """
    return type(value) in (int, float) and 0 <= value < np.inf


def _form_fault(stated: Any) -> str:
    """Return what is not of the form that such a file has."""
    if not isinstance(stated, dict) or set(stated) != _KEYS:
        apart = sorted(_KEYS ^ set(stated)) if isinstance(stated, dict) else ["all of it"]
        return f"keys are missing or too many: {', '.join(apart)[:200]}"
    right = {key: is_size(stated[key]) for key in (*_NUMBERS, *_BOUNDS)}
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


def other_run_fault(stated: dict[str, Any], law: Law, table: dict[str, Any], keys: Sequence[str]) -> str:
    """Return what of a proof is not of this run.

    Parameters
    ----------
    stated : dict
    law : Law
    table : dict
        Section [scenarios] of its problem file, every default filled in.
    keys : sequence of str
        What is compared: of "rho", "parameters", "signals" and "disturbance_half".

    Returns
    -------
    str
        Empty if all is.
    """
    if "rho" in keys and not abs(stated["rho"] - law.rho) <= _AGREEMENT * law.rho:
        return f"rho = {stated['rho']!r}, the run has {law.rho!r}"
    plant, ends, first = law.plant, reached(law, table), first_varying(law.plant)
    varying = range(first, first + len(plant.signals))
    right = {
        "parameters": {plant.p_labels[i]: ends[i].tolist() for i in still(plant)},
        "signals": {plant.p_labels[i]: ends[i].tolist() for i in varying},
        "disturbance_half": [float(value) for value in table.get("disturbance", ())],
    }
    wrong = next((key for key, value in right.items() if key in keys and stated[key] != value), None)
    return "" if wrong is None else f"{wrong} = {stated[wrong]!r:.200}, the run has {right[wrong]!r:.200}"


def reached(law: Law, table: dict[str, Any]) -> np.ndarray:
    """Return between which values each plant parameter may be; of the time, from zero on.

    Parameters
    ----------
    law : Law
    table : dict
        Section [scenarios] of its problem file, every default filled in.

    Returns
    -------
    numpy.ndarray, shape (np, 2)
    """
    plant = law.plant
    given = given_ranges(plant, table.get("parameters", {}))
    ends = np.array(
        [given.get(label, (nominal, nominal)) for label, nominal in zip(plant.p_labels, plant.p_nominal, strict=True)]
    )
    ends, first = ends.reshape(-1, 2).astype(float), first_varying(plant)
    for k, signal in enumerate(plant.signals):
        ends[first + k] = signal.reach
    if plant.signals:
        ends[-1] = 0.0, np.inf
    return ends
