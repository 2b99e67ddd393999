"""The guard (E9) as C: whether an input keeps the next state in the proved set, point by point of the parameters."""

from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl.codegen.expressions import Graph, Writer, read
from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.guard import Guard
from scpo_ctrl.models.instructions import instructions

_STATES = 20_000  # on which rounding is measured
_FACTOR = 8.0  # times the largest error seen
_FLOOR = {"float": 1e-6, "double": 1e-12}
_MOST = 0.02  # of V that rounding may take
_NUMPY: dict[int, np.ufunc] = {
    ca.OP_ADD: np.add, ca.OP_SUB: np.subtract, ca.OP_MUL: np.multiply, ca.OP_DIV: np.divide, ca.OP_NEG: np.negative,
    ca.OP_SQRT: np.sqrt, ca.OP_SIN: np.sin, ca.OP_COS: np.cos, ca.OP_TAN: np.tan, ca.OP_EXP: np.exp, ca.OP_LOG: np.log,
    ca.OP_TANH: np.tanh, ca.OP_ATAN: np.arctan, ca.OP_SINH: np.sinh, ca.OP_COSH: np.cosh, ca.OP_ASINH: np.arcsinh,
    ca.OP_EXPM1: np.expm1, ca.OP_POW: np.power, ca.OP_CONSTPOW: np.power, ca.OP_SQ: np.square,
}  # fmt: skip


@dataclass(frozen=True)
class GuardCode:
    """A guard in the words of its C."""

    common: tuple[str, ...]  # statements of what no parameter changes
    each: tuple[str, ...]  # statements of one point
    shared: int  # numbers that the first give to the second
    varied: tuple[str, ...]  # labels of the parameters that differ between points
    points: np.ndarray  # (k, len(varied))
    limit: float  # what V of the next state must not exceed, in parts of what passes
    rounding: float  # what arithmetic takes of it
    lost: float  # of the radius of the set, to values between points and disturbances
    rho: float


def guard_code(guard: Guard, real: str, prefix: str) -> GuardCode:
    """Write a guard as C.

    Parameters
    ----------
    guard : Guard
    real : str
        "float" or "double".
    prefix : str
        Of every name of the export.

    Returns
    -------
    GuardCode

    Raises
    ------
    DomainError
        If there is no C for an operation, or rounding would take too much.
    """
    plant = guard.plant
    varied = np.flatnonzero(np.ptp(guard.points, axis=0) > 0).tolist()
    x, u, p = (ca.SX.sym(name, n) for name, n in (("x", plant.nx), ("u", plant.nu), ("p", len(varied))))
    level = ca.Function("guard", [x, u, p], ca.cse([guard.level(x, u, _filled(guard, varied, p))]))
    graph, ((wanted,),) = read(f"the guard of plant {plant.name!r}", level)
    moved = _moved(graph)
    frontier = sorted({
        operand
        for number, (name, *_) in enumerate(graph.nodes)
        if moved[number] and name not in ("input", "constant")
        for operand in graph.operands(number)
        if not moved[operand] and graph.nodes[operand][0] not in ("input", "constant")
    })  # fmt: skip
    frontier = frontier if moved[wanted] else [wanted]
    writer = Writer(
        f"the guard of plant {plant.name!r}", graph, real, f"{prefix}_real", prefix, {}, [*frontier, wanted]
    )
    for number in writer.inputs():
        which, entry = graph.nodes[number][1]
        writer.names[number] = ("x[{}]", "u[{}]", "p[{}]")[which].format(entry)
    common = writer.statements({f"c[{k}]": number for k, number in enumerate(frontier)})
    writer.names.update({number: f"c[{k}]" for k, number in enumerate(frontier)})
    each = writer.statements({"level": wanted})
    points = np.unique(guard.points[:, varied], axis=0) if varied else np.zeros((1, 0))
    rounding = _rounding(guard, level, points, real)
    return GuardCode(
        tuple(common), tuple(each), len(frontier), tuple(plant.p_labels[i] for i in varied), points, 1 - rounding,
        rounding, guard.between + guard.pushed, guard.rho,
    )  # fmt: skip


def _filled(guard: Guard, varied: list[int], p: ca.SX) -> ca.SX:
    """Return all parameters, those that do not differ between points as numbers."""
    fixed = guard.points[0]
    return ca.vertcat(*(p[varied.index(i)] if i in varied else fixed[i] for i in range(guard.plant.npar)))


def _moved(graph: Graph) -> list[bool]:
    """Return which operations depend on a parameter."""
    moved: list[bool] = []
    for number, (name, of, _) in enumerate(graph.nodes):
        moved.append(of[0] == 2 if name == "input" else any(moved[k] for k in graph.operands(number)))
    return moved


def _rounding(guard: Guard, level: ca.Function, points: np.ndarray, real: str) -> float:
    """Return what arithmetic may do to V where it is about one, measured on states of the set and inputs in bounds."""
    if real == "double":
        return _FLOOR[real]
    plant, rng = guard.plant, np.random.default_rng(5)
    root = np.linalg.cholesky(guard.rho * np.linalg.inv(guard.P))
    towards = rng.normal(size=(_STATES, plant.nx))
    towards *= (rng.uniform(size=(_STATES, 1)) ** 0.5) / np.linalg.norm(towards, axis=1, keepdims=True)
    x = plant.x_eq + towards @ root.T
    u = rng.uniform(plant.u_min, plant.u_max, (_STATES, plant.nu))
    u[::2] = plant.u_eq - (x[::2] - plant.x_eq) @ guard.K.T
    p = points[rng.integers(0, len(points), _STATES)]
    given = [column.astype(np.float32) for column in (x, u, p)]
    exact = _evaluated(level, [column.astype(float) for column in given])
    found = _evaluated(level, given).astype(float)
    near = exact < 4.0
    error = _FACTOR * float(np.max(np.abs(found - exact)[near], initial=0.0))
    if not error <= _MOST:
        raise DomainError(
            f"float takes {error:.2g} of what the guard of plant {plant.name!r} compares with 1; export with real = "
            "'double', or choose other units"
        )
    return max(error, _FLOOR[real])


def _evaluated(function: ca.Function, columns: list[np.ndarray]) -> np.ndarray:
    """Return the first result in the arithmetic of the columns."""
    kind, memory = columns[0].dtype.type, dict[int, np.ndarray]()
    result = np.zeros(len(columns[0]), dtype=kind)
    for done in instructions(function):
        if done.operation == ca.OP_OUTPUT:
            result = memory[done.takes[0]]
        elif done.operation == ca.OP_CONST:
            memory[done.place] = np.full(len(columns[0]), done.value, dtype=kind)
        elif done.operation == ca.OP_INPUT:
            memory[done.place] = columns[done.entry[0]][:, done.entry[1]]
        else:
            memory[done.place] = _applied(done.operation, [memory[k] for k in done.takes], kind)
    return result


def _applied(operation: int, takes: list[np.ndarray], kind: type) -> np.ndarray:
    if operation == ca.OP_ASSIGN:
        return takes[0]
    if operation == ca.OP_TWICE:
        return takes[0] + takes[0]
    if operation == ca.OP_INV:
        return kind(1) / takes[0]
    known = _NUMPY.get(operation)
    if known is None:
        raise DomainError("the guard has an operation whose rounding is not known; export with real = 'double'")
    return np.asarray(known(*takes[: known.nin]))
