"""The generated part of the rollout engine for what the user wrote of a time step: metrics and costs as expressions."""

from typing import Any

import casadi as ca

from scpo_ctrl.engine.emit import Code, emit
from scpo_ctrl.engine.loop import CostTerms
from scpo_ctrl.loop.constraint import StepMetrics

_STEP = ("x", "u", "v", "p")
_END = ("x", "p")


def constraints_in_c(steps: StepMetrics) -> dict[str, Any]:
    """Return what the template needs of the metrics of a time step.

    Parameters
    ----------
    steps : StepMetrics

    Returns
    -------
    dict
        Counts, functions and the places of nonzeros.
    """
    parts: list[dict[str, Any]] = []
    tables: dict[str, dict[str, list[int]]] = {}
    for stem, function, names in (("step", steps.function, _STEP), ("end", steps.at_end, _END)):
        arguments = function.sx_in()
        rows, moving = ca.densify(function(*arguments)), [name for name in names if name != "p"]
        delta = ca.SX.sym("delta", rows.numel())
        adjoints = [
            ca.densify(ca.jtimes(rows, by, delta, True)) if rows.numel() else ca.SX.zeros(by.shape) for by in arguments
        ]
        outputs = [f"by_{name}" for name in names]
        parts += [
            _part(f"{stem}_metrics", arguments, names, [rows], ["rows"]),
            _part(f"{stem}_metrics_adjoint", [*arguments, delta], (*names, "delta"), adjoints, outputs),
        ]
        slopes = _slopes(rows, arguments, names)
        parts.append(_part(f"{stem}_metrics_slopes", arguments, names, slopes, [f"by_{name}" for name in moving]))
        tables |= {f"{stem}_metrics_by_{name}": table for name, table in zip(moving, _places(parts[-1]), strict=True)}
    rows, states, changes = len(steps.rows), steps.states, steps.changes
    return {"end": states, "step": rows - states - changes, "change": changes, "parts": parts, "tables": tables}


def cost_in_c(terms: CostTerms) -> dict[str, Any]:
    """Return what the template needs of a cost.

    Parameters
    ----------
    terms : CostTerms

    Returns
    -------
    dict
        Counts, functions and the places of nonzeros.
    """
    parts: list[dict[str, Any]] = []
    tables: dict[str, dict[str, list[int]]] = {}
    counts = []
    sources = (
        ("step", terms.stage, terms.residuals, _STEP),
        ("end", terms.terminal, terms.terminal_residuals, _END),
    )
    for stem, function, residuals, names in sources:
        arguments = function.sx_in()
        cost, moving = ca.densify(function(*arguments)), [name for name in names if name != "p"]
        of = dict(zip(names, arguments, strict=True))
        gradients = [ca.densify(ca.gradient(cost, of[name])) for name in moving]
        outputs = [f"by_{name}" for name in moving]
        parts += [
            _part(f"{stem}_cost", arguments, names, [cost], ["cost"]),
            _part(f"{stem}_cost_gradient", arguments, names, gradients, outputs),
        ]
        r = ca.SX(0, 1) if residuals is None else ca.densify(residuals(*arguments))
        parts.append(_part(f"{stem}_residual_slopes", arguments, names, _slopes(r, arguments, names), outputs))
        tables |= {f"{stem}_residual_by_{name}": table for name, table in zip(moving, _places(parts[-1]), strict=True)}
        counts.append(r.numel())
    return {"residuals": counts[0], "end_residuals": counts[1], "parts": parts, "tables": tables}


def _part(
    name: str, arguments: list[ca.SX], names: tuple[str, ...], values: list[ca.SX], outputs: list[str]
) -> dict[str, Any]:
    """Return a function for the template."""
    code = emit(ca.Function("part", arguments, values), [f"{name}[{{}}]" for name in names], outputs)
    return {"name": name, "code": code, "inputs": names, "outputs": outputs}


def _slopes(values: ca.SX, arguments: list[ca.SX], names: tuple[str, ...]) -> list[ca.SX]:
    """Return Jacobians by all but the plant parameters."""
    return [ca.jacobian(values, by) for by, name in zip(arguments, names, strict=True) if name != "p"]


def _places(part: dict[str, Any]) -> list[dict[str, list[int]]]:
    """Return rows and columns of the nonzeros of each result."""
    code: Code = part["code"]
    return [{"rows": rows, "columns": columns} for rows, columns in zip(code.rows, code.columns, strict=True)]
