"""The guard (E9) as C: a first condition that most inputs meet, then the next state point by point of the parameters.

What only parameters give is computed at export, in a table with a row for each point; what none of them moves, once
before the points.
"""

from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl.codegen.arithmetic import evaluated
from scpo_ctrl.codegen.expressions import NAMES, Graph, Writer, read
from scpo_ctrl.codegen.guard_rounding import check_backup, near_in, taken_off
from scpo_ctrl.codegen.identifiers import identifiers
from scpo_ctrl.invariance.guard import Guard
from scpo_ctrl.invariance.polytope_guard import PolytopeGuard
from scpo_ctrl.text import one_line

_WORTH = 3  # times the operations of the first condition: what next states take where it is worth asking
_PARAMETERS = 2  # which input of a level they are, behind x and u
_LOCAL = {"x", "u", "k", "of", "square", "reach", "level", "z", *(f"t{k}" for k in range(1, 10_000))}


@dataclass(frozen=True)
class GuardCode:
    """A guard in the words of its C."""

    reads: tuple[tuple[str, str], ...]  # name and place of what is read
    near: tuple[str, ...]  # statements of the first condition; none where it is not worth it
    least: float  # the largest |T z| that meets it
    common: tuple[str, ...]  # statements of what no parameter moves
    each: tuple[str, ...]  # statements of the level at one point
    columns: tuple[str, ...]  # how the numbers of a row follow from parameters
    rows: np.ndarray  # (k, columns), without columns where there is one point
    assumed: tuple[str, ...]  # the ranges of parameters and disturbances
    facets: np.ndarray | None  # (m, nx) of what passes, where the set is a polytope
    both_ways: bool  # whether each facet stands for the opposite one too
    limit: float  # of the level, which is 1 but for rounding
    rounding: float  # what rounding may do to it
    lost: float  # of the radius of the set, to values between points and disturbances
    rho: float


def guard_code(guard: Guard, real: str, prefix: str) -> GuardCode:
    """Write a guard as C.

    Parameters
    ----------
    guard : Guard
        With its proof.
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
        If there is no C for an operation, or rounding takes more than there is room for.
    """
    check_backup(guard, real)
    level, near = _Level.of(guard), near_in(guard, real)
    rounding = taken_off(guard, level.graph, [level.number, *level.following], level.rows, real)
    return _Writing(guard, level, real, prefix).code(near, rounding)


@dataclass(frozen=True)
class _Level:
    """The level of a next state: a graph of states, inputs and the numbers of a row that only parameters give."""

    graph: Graph
    number: int  # of the level
    following: list[int]  # of the next state less the equilibrium, where its facets are asked
    rows: np.ndarray  # (k, columns)
    whole: Graph  # of parameters too
    columns: list[int]  # their numbers there
    varied: list[int]  # parameters that differ between points

    @classmethod
    def of(cls, guard: Guard) -> "_Level":
        """Split what a guard computes."""
        plant, varied = guard.plant, np.flatnonzero(np.ptp(guard.points, axis=0) > 0).tolist()
        x, u, q = (ca.SX.sym(name, n) for name, n in (("x", plant.nx), ("u", plant.nu), ("q", len(varied))))
        p = ca.SX(ca.DM(guard.points[0]))
        for k, i in enumerate(varied):
            p[i] = q[k]
        wanted = [guard.level(x, u, p)]
        if isinstance(guard, PolytopeGuard):
            z = guard.following(x, u, p)
            wanted = [guard.squared(guard.inner, z), ca.densify(z)]
        whole, outputs = read(_owner(guard), ca.Function("level", [x, u, q], ca.cse(wanted)))
        reached = [number for entries in outputs for number in entries]
        moved, graph, columns, new = _moved(whole), Graph(), list[int](), dict[int, int]()
        for number in whole.reached(reached):
            name, of, value = whole.nodes[number]
            if name == "constant":
                new[number] = graph.constant(value)
            elif moved[number] == {_PARAMETERS}:
                continue  # a column, where anything else takes it
            elif name == "input":
                new[number] = graph.entry(*of)
            else:
                for operand in of:
                    if operand not in new:
                        new[operand] = graph.entry(_PARAMETERS, len(columns))
                        columns.append(operand)
                new[number] = graph.result(name, *(new[operand] for operand in of))
        for number in reached:
            if number not in new:  # parameters alone give it
                new[number] = graph.entry(_PARAMETERS, len(columns))
                columns.append(number)
        rows = np.zeros((1, 0))
        if columns:
            none = np.zeros((0, len(guard.points)))
            rows = np.unique(evaluated(whole, columns, (none, none, guard.points[:, varied].T)).T, axis=0)
        level, *following = (new[number] for number in reached)
        return cls(graph, level, following, rows, whole, columns, varied)

    def common(self) -> list[int]:
        """Return what no parameter moves and what they move takes."""
        moved = _moved(self.graph)
        reached = self.graph.reached([self.number, *self.following])
        taken = {of for k in reached if _PARAMETERS in moved[k] for of in self.graph.operands(k)}
        return [k for k in sorted(taken) if _PARAMETERS not in moved[k] and self.graph.operands(k)]


def _facets(guard: PolytopeGuard) -> tuple[np.ndarray, bool]:
    """Return the facets of what passes: one of each two where all have an opposite one, and whether that is so."""
    rows = guard.rows
    opposite = {(-row + 0.0).tobytes() for row in rows}
    if not all((row + 0.0).tobytes() in opposite for row in rows):
        return rows, False
    first = [next(entry for entry in row if entry) > 0 for row in rows]
    return rows[first], True


def _moved(graph: Graph) -> list[set[int]]:
    """Return which inputs move each result."""
    moved: list[set[int]] = []
    for number, (name, of, _) in enumerate(graph.nodes):
        moved.append({of[0]} if name == "input" else set[int]().union(*(moved[k] for k in graph.operands(number))))
    return moved


def _owner(guard: Guard) -> str:
    return f"the guard of plant {guard.plant.name!r}"


@dataclass(frozen=True)
class _Writing:
    guard: Guard
    level: _Level
    real: str
    prefix: str

    def code(self, near: tuple[float, np.ndarray] | None, rounding: float) -> GuardCode:
        """Write all statements."""
        guard, level = self.guard, self.level
        first = [] if near is None else self._condition(*near)
        graph, wanted = level.graph, [*level.following, level.number]
        if len(level.rows) * len(graph.reached([level.number])) < _WORTH * len(graph.reached(first)):
            first, near = [], None
        writer = Writer(_owner(guard), graph, self.real, f"{self.prefix}_real", self.prefix, {}, [*first, *wanted])
        names, reads = self._names(), {}
        for number in writer.inputs():
            which, entry = graph.nodes[number][1]
            writer.names[number] = f"of[{entry}]" if which == _PARAMETERS else names["xu"[which]][entry]
            if which != _PARAMETERS:
                reads[which, entry] = writer.names[number], f"{'xu'[which]}[{entry}]"
        lines = writer.statements(dict(zip(("square", "reach"), first, strict=False)))
        common = writer.named(level.common()) if level.columns else []
        each = writer.statements(dict(zip(self._outputs(), wanted, strict=True)))
        facets, both_ways = _facets(guard) if isinstance(guard, PolytopeGuard) else (None, False)
        assert not writer.helpers  # they have a kink, of which there is no proof
        return GuardCode(
            reads=tuple(reads[key] for key in sorted(reads)),
            near=tuple(lines),
            least=0.0 if near is None else near[0],
            common=tuple(common),
            each=tuple(each),
            columns=self._columns(),
            rows=level.rows,
            assumed=_assumed(guard),
            facets=facets,
            both_ways=both_ways,
            limit=1 - rounding,
            rounding=rounding,
            lost=guard.between + guard.pushed,
            rho=guard.rho,
        )

    def _condition(self, least: float, per: np.ndarray) -> list[int]:
        """Add |T z|² and least - Σ_j per_j |u_j - backup_j| to the graph."""
        guard, plant, graph = self.guard, self.guard.plant, self.level.graph
        x, u = ca.SX.sym("x", plant.nx), ca.SX.sym("u", plant.nu)
        z = x - ca.DM(plant.x_eq)
        away = u - ca.DM(plant.u_eq) + ca.DM(guard.K) @ z
        reach = ca.SX(least)
        for j in range(plant.nu):
            reach -= per[j] * ca.fabs(away[j])
        own, outputs = read(
            _owner(guard), ca.Function("near", [x, u], [ca.sumsqr(ca.sparsify(ca.DM(guard.root)) @ z), reach])
        )
        new: list[int] = []
        for name, of, value in own.nodes:
            if name == "constant":
                new.append(graph.constant(value))
            else:
                new.append(graph.entry(*of) if name == "input" else graph.result(name, *(new[k] for k in of)))
        return [new[number] for (number,) in outputs]

    def _outputs(self) -> list[str]:
        """Return what is assigned at each point."""
        return [*(f"z[{i}]" for i in range(len(self.level.following))), "level"]

    def _names(self) -> dict[str, tuple[str, ...]]:
        """Give states and inputs names of their own."""
        plant, taken, found = self.guard.plant, _LOCAL | NAMES, dict[str, tuple[str, ...]]()
        for key, labels in (("x", plant.x_labels), ("u", plant.u_labels)):
            own = (f"{key}_{label}" if label.lower().startswith(f"{self.prefix}_") else label for label in labels)
            found[key] = identifiers(own, key, taken)
            taken = taken | set(found[key])
        return found

    def _columns(self) -> tuple[str, ...]:
        """Return the statements that give a row, which nothing compiles."""
        level, labels = self.level, self.guard.plant.p_labels
        names = identifiers([labels[i] for i in level.varied], "p", _LOCAL | NAMES)
        writer = Writer(_owner(self.guard), level.whole, "double", "double", self.prefix, {}, level.columns)
        for number in writer.inputs():
            writer.names[number] = names[level.whole.nodes[number][1][1]]
        return tuple(writer.statements({f"of[{k}]": number for k, number in enumerate(level.columns)}))


def _assumed(guard: Guard) -> tuple[str, ...]:
    """Return for which parameters and disturbances it was proved, in words."""
    plant, found = guard.plant, []
    for label, unit, (low, high) in zip(plant.p_labels, plant.p_units, guard.ranges, strict=True):
        found.append(f"{label} {low:.6g}" + (f" ... {high:.6g}" if high > low else "") + (f" {unit}" if unit else ""))
    if guard.half.size:
        for label, unit, half in zip(plant.x_labels, plant.x_units, guard.half, strict=True):
            found.append(f"disturbance of {label} up to {half:.6g}" + (f" {unit}" if unit else ""))
    return tuple(one_line(text) for text in found)
