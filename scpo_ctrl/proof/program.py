"""SX functions of one column as groups of instructions of one kind that do not wait for each other."""

from collections import defaultdict
from dataclasses import dataclass, field

import casadi as ca
import numpy as np

from scpo_ctrl.invariance.intervals import NoEnclosureError
from scpo_ctrl.models.instructions import Instruction, instructions, operation_name

_LINES = {
    ca.OP_TANH, ca.OP_EXP, ca.OP_LOG, ca.OP_SQRT, ca.OP_INV, ca.OP_FABS, ca.OP_SIN, ca.OP_COS, ca.OP_TAN, ca.OP_ATAN,
    ca.OP_SINH, ca.OP_COSH, ca.OP_ASINH, ca.OP_EXPM1,
}  # fmt: skip
_TWO = {ca.OP_ADD: "add", ca.OP_SUB: "sub", ca.OP_MUL: "mul", ca.OP_FMAX: "larger", ca.OP_FMIN: "smaller"}
_NONE = np.zeros(0)


@dataclass(frozen=True)
class Group:
    """Instructions of one kind; values have a row each in a memory that is never used twice."""

    kind: str  # "add", "sub", "mul", "square", "scale", "unscale", "larger", "smaller" or "line"
    into: np.ndarray  # (m,) rows of the results
    takes: tuple[np.ndarray, ...]  # (m,) each, rows of the arguments
    numbers: np.ndarray = field(default_factory=lambda: _NONE)  # (m,) that values are scaled by
    operation: int = ca.OP_FABS  # of a line
    exponent: float = 0.0  # of a power


@dataclass(frozen=True)
class Program:
    """A function in the order of its evaluation."""

    constants: np.ndarray  # the first rows
    inputs: np.ndarray  # rows of the inputs
    entries: np.ndarray  # which entry of the argument each is
    groups: tuple[Group, ...]
    outputs: np.ndarray  # rows of the entries of the result
    size: int  # rows

    @classmethod
    def of(cls, function: ca.Function) -> "Program":
        """Return the program of a function from one column to one dense column.

        Parameters
        ----------
        function : casadi.Function

        Returns
        -------
        Program

        Raises
        ------
        NoEnclosureError
            If an operation has no enclosure; it is named.
        """
        return _Writer(function).program()


class _Writer:
    """Gives each value a row, and puts instructions into groups."""

    def __init__(self, function: ca.Function) -> None:
        self.function = function
        self.constants: dict[float, int] = {}
        self.level: dict[int, int] = {}
        self.waiting: dict[tuple[int, str, int, float], list[tuple[int, tuple[int, ...], float]]] = defaultdict(list)
        every = list(instructions(function))
        values = [done.value for done in every if done.operation == ca.OP_CONST]
        # Numbers that other operations take: 2 for a double, -1 for a sign, 0 where a result is empty.
        for value in (*values, 0.0):
            self.constants.setdefault(value, len(self.constants))
        self.value_of = {row: value for value, row in self.constants.items()}
        self.level |= dict.fromkeys(self.value_of, 0)
        self.rows = len(self.constants)
        self.every = every

    def program(self) -> Program:
        memory: dict[int, int] = {}
        inputs, entries = [], []
        outputs = np.full(self.function.size1_out(0), self.constants[0.0])
        for done in self.every:
            if done.operation == ca.OP_CONST:
                memory[done.place] = self.constants[done.value]
            elif done.operation == ca.OP_OUTPUT:
                outputs[done.entry[1]] = memory[done.takes[0]]
            elif done.operation == ca.OP_INPUT:
                inputs.append(self._new(0))
                entries.append(done.entry[1])
                memory[done.place] = inputs[-1]
            else:
                memory[done.place] = self._written(done, [memory[place] for place in done.takes])
        numbers = np.array(list(self.constants))
        rows, which = np.array(inputs, dtype=int), np.array(entries, dtype=int)
        return Program(numbers, rows, which, tuple(self._groups()), outputs, self.rows)

    def _new(self, level: int) -> int:
        self.level[self.rows] = level
        self.rows += 1
        return self.rows - 1

    def _written(self, done: Instruction, takes: list[int]) -> int:
        """Note an instruction, and return the row of its result."""
        operation = done.operation
        if operation in (ca.OP_POW, ca.OP_CONSTPOW) and takes[1] not in self.value_of:
            raise NoEnclosureError("a power whose exponent is not a number has no enclosure by affine forms")
        if operation == ca.OP_ASSIGN:
            row = takes[0]
        elif operation in _LINES:
            row = self._put("line", takes[:1], operation=operation)
        elif operation in (ca.OP_POW, ca.OP_CONSTPOW):
            row = self._put("line", takes[:1], operation=ca.OP_POW, exponent=self.value_of[takes[1]])
        elif operation == ca.OP_SQ:
            row = self._put("square", takes[:1])
        elif operation in (ca.OP_TWICE, ca.OP_NEG):
            row = self._put("scale", takes[:1], 2.0 if operation == ca.OP_TWICE else -1.0)
        else:
            row = self._of_two(operation, takes)
        return row

    def _of_two(self, operation: int, takes: list[int]) -> int:
        """Note an instruction with two arguments; one that is a number scales the other."""
        left, right = takes[:2] if len(takes) > 1 else (takes[0], takes[0])
        if operation == ca.OP_DIV and right in self.value_of:
            return self._put("unscale", [left], self.value_of[right])
        if operation == ca.OP_DIV:
            return self._put("mul", [left, self._put("line", [right], operation=ca.OP_INV)])
        if operation == ca.OP_MUL and left in self.value_of:
            return self._put("scale", [right], self.value_of[left])
        if operation == ca.OP_MUL and right in self.value_of:
            return self._put("scale", [left], self.value_of[right])
        if operation not in _TWO:
            raise NoEnclosureError(f"the operation {operation_name(operation)} has no enclosure by affine forms")
        return self._put(_TWO[operation], [left, right])

    def _put(
        self, kind: str, takes: list[int], number: float = 0.0, *, operation: int = ca.OP_FABS, exponent: float = 0.0
    ) -> int:
        level = 1 + max(self.level[row] for row in takes)
        row = self._new(level)
        self.waiting[level, kind, operation, exponent].append((row, tuple(takes), number))
        return row

    def _groups(self) -> list[Group]:
        groups = []
        for (_, kind, operation, exponent), members in sorted(self.waiting.items(), key=lambda one: one[0]):
            rows, takes, numbers = zip(*members, strict=True)
            columns = tuple(np.array(column) for column in zip(*takes, strict=True))
            groups.append(Group(kind, np.array(rows), columns, np.array(numbers), operation, exponent))
        return groups
