"""The generated part of the rollout engine: a plant's expressions as C statements on lanes, and the policy's shape."""

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import casadi as ca
import jinja2
import numpy as np

from scpo_ctrl.engine.linear import linear_part, without
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.models.instructions import instructions
from scpo_ctrl.models.varying import signal_count

# CasADi's operations in C, arguments in braces; those that are missing are left to CasADi's own rollouts.
_C = {
    ca.OP_ASSIGN: "{0}",
    ca.OP_ADD: "{0} + {1}",
    ca.OP_SUB: "{0} - {1}",
    ca.OP_MUL: "{0} * {1}",
    ca.OP_DIV: "{0} / {1}",
    ca.OP_NEG: "-{0}",
    ca.OP_SQ: "{0} * {0}",
    ca.OP_TWICE: "{0} + {0}",
    ca.OP_INV: "1.0 / {0}",
    ca.OP_LT: "choose({0} < {1}, all(1.0), all(0.0))",
    ca.OP_LE: "choose({0} <= {1}, all(1.0), all(0.0))",
    ca.OP_EQ: "choose({0} == {1}, all(1.0), all(0.0))",
    ca.OP_NE: "choose({0} != {1}, all(1.0), all(0.0))",
    ca.OP_NOT: "choose({0} == 0.0, all(1.0), all(0.0))",
    ca.OP_AND: "choose(({0} != 0.0) & ({1} != 0.0), all(1.0), all(0.0))",
    ca.OP_OR: "choose(({0} != 0.0) | ({1} != 0.0), all(1.0), all(0.0))",
    ca.OP_IF_ELSE_ZERO: "choose({0} != 0.0, {1}, all(0.0))",
    ca.OP_FMIN: "lane_min({0}, {1})",
    ca.OP_FMAX: "lane_max({0}, {1})",
    ca.OP_FABS: "lane_abs({0})",
    ca.OP_SIGN: "lane_sign({0})",
    ca.OP_CONSTPOW: "lane_pow({0}, {1})",
    ca.OP_POW: "lane_pow({0}, {1})",
    ca.OP_ATAN2: "lane_atan2({0}, {1})",
    ca.OP_FMOD: "lane_fmod({0}, {1})",
    ca.OP_HYPOT: "lane_hypot({0}, {1})",
    ca.OP_COPYSIGN: "lane_copysign({0}, {1})",
} | {
    getattr(ca, f"OP_{name.upper()}"): f"lane_{name}({{0}})"
    for name in (
        "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
        "exp", "expm1", "log", "log1p", "erf", "floor", "ceil",
    )
}  # fmt: skip


class UnknownOperationError(Exception):
    """A plant uses an operation that the engine has no C for."""


@dataclass(frozen=True)
class Code:
    """An SX function in C."""

    statements: list[str]
    temporaries: int  # a0, a1, …
    rows: list[list[int]]  # per output, of its nonzeros
    columns: list[list[int]]


def emit(function: ca.Function, inputs: Sequence[str], outputs: Sequence[str]) -> Code:
    """Write an SX function as C statements on lanes.

    Parameters
    ----------
    function : casadi.Function
        Of dense inputs.
    inputs : sequence of str
        C for an entry of each, its number in braces.
    outputs : sequence of str
        Names of the arrays in C, which hold the nonzeros.

    Returns
    -------
    Code

    Raises
    ------
    UnknownOperationError
        If there is no C for an operation.
    """
    statements = []
    for done in instructions(function):
        if done.operation == ca.OP_CONST:
            statements.append(f"a{done.place} = all({_number(done.value)});")
        elif done.operation == ca.OP_INPUT:
            which, entry = done.entry
            statements.append(f"a{done.place} = {inputs[which].format(entry)};")
        elif done.operation == ca.OP_OUTPUT:
            which, entry = done.entry
            statements.append(f"{outputs[which]}[{entry}] = a{done.takes[0]};")
        elif done.operation in _C:
            arguments = [f"a{i}" for i in done.takes]
            statements.append(f"a{done.place} = {_C[done.operation].format(*arguments)};")
        else:
            raise UnknownOperationError(f"operation {done.operation} of CasADi")
    triplets = [function.sparsity_out(i).get_triplet() for i in range(function.n_out())]
    rows, columns = ([list(triplet[k]) for triplet in triplets] for k in (0, 1))
    return Code(statements, function.sz_w(), rows, columns)


_STATE, _INPUT, _PARAMETER, _THETA = "x[{}]", "u[{}]", "p[{}]", "all(theta[{}])"


def model_header(
    policy: LoopPolicy, constraints: dict[str, Any] | None = None, cost: dict[str, Any] | None = None
) -> str:
    """Return ``model.h``: what the engine's fixed C needs to know of plant, policy, and expressions of a step.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    constraints, cost : dict, optional
        Of `constraints_in_c` and `cost_in_c`, where there are any.

    Returns
    -------
    str
        Equal for problems that differ in numbers outside the plant's expressions only.

    Raises
    ------
    UnknownOperationError
        If there is no C for an operation of the plant.
    """
    plant = policy.plant
    arguments, names = [plant.x, plant.u, plant.p], [_STATE, _INPUT, _PARAMETER]
    part = linear_part(plant)
    f = without(plant, part)
    jacobians = [ca.jacobian(f, plant.x), ca.jacobian(f, plant.u)]
    step = ca.Function("step", arguments, [ca.densify(f)])
    adjoint = ca.SX.sym("lambda", plant.nx)
    by_p = ca.Function("by_p", [*arguments, adjoint], [ca.densify(ca.jtimes(f, plant.p, adjoint, True))])
    return _template().render(
        nx=plant.nx,
        nu=plant.nu,
        np=plant.npar,
        theta_dim=policy.theta_dim,
        signals=signal_count(policy.plant),
        **(_shape(policy) if isinstance(policy, Policy) else {"layers": [], "law": _law(policy)}),
        high=np.flatnonzero(np.isfinite(plant.x_max)).tolist(),
        low=np.flatnonzero(np.isfinite(plant.x_min)).tolist(),
        part=part,
        values=[_number(value) for value in part.values],
        step=emit(step, names, ["next"]),
        jacobians=emit(ca.Function("jacobians", arguments, jacobians), names, ["A", "B"]),
        by_p=emit(by_p, [*names, "lambda[{}]"], ["p_delta"]),
        constraints=constraints,
        cost=cost,
    )


def _shape(policy: Policy) -> dict[str, Any]:
    """Return the layers of a network for the template."""
    layers, parameters, last = [], 0, 0
    for columns, rows in zip(policy.widths, policy.hidden, strict=False):
        layers.append((rows, columns, parameters, last, last + columns))
        parameters, last = parameters + rows * (columns + 1), last + columns
    activations = sum(policy.widths[:-1])
    return {"law": [], "layers": layers, "activations": activations, "last": policy.widths[-2], "output": parameters}


def _law(policy: ControllerPolicy) -> list[dict[str, Any]]:
    """Return the functions of a law for the template: command, derivatives and adjoint, as applied and smooth."""
    plant, functions = policy.plant, []
    x, p, theta = (ca.SX.sym(n, k) for n, k in (("x", plant.nx), ("p", plant.npar), ("theta", policy.theta_dim)))
    delta, names = ca.SX.sym("delta", plant.nu), [_STATE, _PARAMETER, _THETA]
    for stem, saturated in (("law", True), ("law_smooth", False)):
        v = ca.densify(policy.command(x, theta, p, saturated=saturated))
        slopes = [ca.densify(ca.jacobian(v, by).T) for by in (x, theta)]  # row by row in C
        adjoints = [ca.densify(ca.jtimes(v, by, delta, True)) for by in (x, theta, p)]
        parts = [
            (stem, [v], ["command"], "lane *command", "command [NU]"),
            (f"{stem}_jacobians", slopes, ["C", "policy"], "lane *C, lane *policy", "C [NU][NX], policy [NU][NTHETA]"),
            (f"{stem}_adjoint", adjoints, ["by_x", "by_theta", "by_p"],
             "const lane *delta, lane *by_x, lane *by_theta, lane *by_p", "from the adjoints of the command to others"),
        ]  # fmt: skip
        for name, values, outputs, arguments, meaning in parts:
            inputs = [x, p, theta, delta] if "adjoint" in name else [x, p, theta]
            code = emit(ca.Function("part", inputs, values), [*names, "delta[{}]"], outputs)
            functions.append({"name": name, "code": code, "arguments": arguments, "meaning": meaning})
    return functions


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = importlib.resources.files("scpo_ctrl.engine").joinpath("c/model.h.jinja").read_text(encoding="utf-8")
    return environment.from_string(text)


def _number(value: float) -> str:
    """Return a C expression that is exactly `value`, infinite and undefined ones included."""
    if np.isnan(value):
        return "NAN"
    if np.isinf(value):
        return "-INFINITY" if value < 0 else "INFINITY"
    text = f"{value:.17g}"
    return text if "." in text or "e" in text else f"{text}.0"  # -0 would be an integer
