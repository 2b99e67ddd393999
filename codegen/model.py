"""The functions of a model, in CasADi and as C."""

from dataclasses import dataclass

import casadi as ca

from scpo_ctrl.codegen.expressions import Writer, read
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.cost import quadratic
from scpo_ctrl.problem.objective import Quadratic


@dataclass(frozen=True)
class Function:
    """A function of the model in C."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    lines: tuple[str, ...]
    unused: tuple[str, ...]
    helpers: tuple[str, ...]


@dataclass(frozen=True)
class ModelFunction:
    """A function of the model, as what is written in C and evaluated in numpy alike."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    computes: ca.Function
    adds: bool = False  # to what the outputs hold


def model_functions(problem: ControlProblem) -> tuple[ModelFunction, ...]:
    """Return the plant's step, the stage cost, and the adjoints of both.

    Parameters
    ----------
    problem : ControlProblem
        That `check_device` does not refuse.

    Returns
    -------
    tuple of ModelFunction
        model_step, model_adjoint, and of a Quadratic stage, stage_adjoint.
    """
    plant, data = problem.plant, problem.objective_data
    x, u, p = plant.x, plant.u, plant.p
    after, reference = ca.SX.sym("after", plant.nx), ca.SX.sym("reference", plant.nx + plant.nu)
    symbols = {"x": x, "u": u, "p": p, "after": after, "reference": reference}

    def function(name: str, inputs: tuple[str, ...], outputs: dict[str, ca.SX], *, adds: bool = False) -> ModelFunction:
        dense = [ca.densify(value) for value in outputs.values()]
        computes = ca.Function(name, [symbols[key] for key in inputs], dense)
        return ModelFunction(name, inputs, tuple(outputs), computes, adds)

    adjoint = {"by_x": ca.jtimes(plant.f, x, after, True), "by_u": ca.jtimes(plant.f, u, after, True)}
    model = (
        function("model_step", ("x", "u", "p"), {"next": plant.f}),
        function("model_adjoint", ("x", "u", "p", "after"), adjoint),
    )
    if not isinstance(data, Quadratic):
        return model
    stage = quadratic(data.Q, x - reference[: plant.nx]) + quadratic(data.R, u - reference[plant.nx :])
    slopes = {"by_x": ca.gradient(stage, x), "by_u": ca.gradient(stage, u)}
    return (
        *model,
        function("stage", ("x", "u", "reference"), {"cost": stage}),
        function("stage_adjoint", ("x", "u", "reference"), slopes, adds=True),
    )


def written(owner: str, of: ModelFunction, real: str, prefix: str) -> Function:
    """Write a function of the model in C.

    Parameters
    ----------
    owner : str
        What it is of, for messages.
    of : ModelFunction
    real : str
        "float" or "double".
    prefix : str
        Of every name of the export.

    Returns
    -------
    Function
    """
    graph, found = read(owner, of.computes)
    wanted = [number for numbers in found for number in numbers]
    writer = Writer(owner, graph, real, f"{prefix}_real", prefix, {}, wanted)
    used, zero = set[str](), graph.constant(0.0)
    for number in writer.inputs():
        which, entry = graph.nodes[number][1]
        used.add(of.inputs[which])
        writer.names[number] = f"{of.inputs[which]}[{entry}]"
    lines: list[str] = []
    for key, numbers in zip(of.outputs, found, strict=True):
        targets = [key if key == "cost" else f"{key}[{i}]" for i in range(len(numbers))]
        if of.adds:
            added = {target: number for target, number in zip(targets, numbers, strict=True) if number != zero}
            used |= {key} if added else set()
            lines += writer.named([number for number in added.values() if graph.operands(number)])
            lines += [f"{target} += {writer.operand(number)};" for target, number in added.items()]
        else:
            used.add(key)
            lines += writer.statements(dict(zip(targets, numbers, strict=True)))
    unused = tuple(key for key in (*of.inputs, *of.outputs) if key not in used)
    helpers = tuple(sorted(writer.helpers))
    return Function(of.name, of.inputs, of.outputs, tuple(lines), unused, helpers)
