"""polytope_proof.json once more: what it says is proved is of this run, and holds."""

from typing import Any

import numpy as np

from scpo_ctrl.reading import parsed_json
from scpo_ctrl.verification.law import Law
from scpo_ctrl.verification.proof_file import is_size, other_run_fault, reached

_KEYS = {
    "kind", "facets", "extent", "left", "seconds", "parameters", "disturbance_half", "inverse", "cells", "between",
    "multipliers",
}  # fmt: skip
_MOST_CELLS = 1000


def polytope_faults(text: str | None, law: Law, table: dict[str, Any]) -> tuple[list[str], str]:
    """List what of polytope_proof.json does not hold, and say what is proved.

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
        Empty where there are faults, or there is no such file.
    """
    if text is None:
        return [], ""
    try:
        stated = parsed_json(text)
    except ValueError as error:
        return [f"polytope_proof.json is damaged ({error}); write it anew with `scpo-ctrl certify`"], ""
    fault = _form_fault(stated, law) or other_run_fault(stated, law, table, ("parameters", "disturbance_half"))
    if not fault:
        from scpo_ctrl.verification.polytope_proof import PolytopeClaim, polytope_fault  # python-flint is of use here

        half = np.array(table.get("disturbance", np.zeros(law.plant.nx)), dtype=float)
        names = ("facets", "extent", "between", "inverse", "cells", "left", "multipliers")
        claim = PolytopeClaim(**{name: stated[name] for name in names})
        fault = polytope_fault(law, reached(law, table), half, claim)
    if fault:
        return [f"polytope_proof.json: {fault}"], ""
    count = len(stated["facets"])
    return [], f"proved, and re-checked (in ball arithmetic): no state of a polytope of {count} facets leaves it"


def _form_fault(stated: Any, law: Law) -> str:
    """Return what is not of the form that such a file has."""
    if not isinstance(stated, dict) or set(stated) != _KEYS:
        apart = sorted(_KEYS ^ set(stated)) if isinstance(stated, dict) else ["all of it"]
        return f"keys are missing or too many: {', '.join(apart)[:200]}"
    plant = law.plant
    if plant.signals:
        return "the plant has signals, and a polytope is of none"
    facets = stated["facets"]
    right = {
        "kind": stated["kind"] == "polytope",
        "facets": _is_list(facets, None) and len(facets) > 0 and all(_is_row(row, plant.nx) for row in facets),
        "extent": _is_row(stated["extent"], plant.nx) and all(value > 0 for value in stated["extent"]),
        "between": _is_row(stated["between"], plant.nx) and all(value >= 0 for value in stated["between"]),
        "left": is_size(stated["left"]),
        "seconds": is_size(stated["seconds"]),
        "inverse": _is_list(stated["inverse"], plant.npar) and all(type(one) is bool for one in stated["inverse"]),
        "cells": _is_list(stated["cells"], plant.npar)
        and all(type(one) is int and 1 <= one <= _MOST_CELLS for one in stated["cells"]),
    }
    right["multipliers"] = right["facets"] and _are_multipliers(stated["multipliers"], len(facets))
    wrong = next((key for key, holds in right.items() if not holds), None)
    return "" if wrong is None else f"{wrong} = {stated[wrong]!r:.200} is not what such a file has"


def _is_list(value: Any, size: int | None) -> bool:
    return isinstance(value, list) and (size is None or len(value) == size)


def _is_row(value: Any, size: int) -> bool:
    return _is_list(value, size) and all(type(one) in (int, float) and abs(one) < np.inf for one in value)


def _are_multipliers(rows: Any, count: int) -> bool:
    """Whether each row names some facets, in order, and as many numbers that are not negative."""
    return _is_list(rows, None) and all(
        isinstance(row, dict)
        and set(row) == {"of", "are"}
        and _is_list(row["of"], None)
        and all(type(k) is int and 0 <= k < count for k in row["of"])
        and sorted(set(row["of"])) == row["of"]
        and _is_list(row["are"], len(row["of"]))
        and all(is_size(value) for value in row["are"])
        for row in rows
    )
