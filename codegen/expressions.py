"""Expressions of CasADi as C that a person would write: named inputs, nested operations, few parentheses."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import casadi as ca

from scpo_ctrl.codegen.literals import literal, rounded
from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.instructions import instructions, operation_name

_LONGEST = 240  # an operand with more characters gets a name
_WIDTH = 110  # of lines
_BREAK = re.compile(r" (?:[-+*/?:<]|<=|==|!=|&&|\|\|) ")
# How tightly an operator binds, from the loosest on.
_CHOICE, _OR, _AND, _EQUAL, _ORDER, _SUM, _PRODUCT, _SIGN, _ATOM = range(9)
_INFIX = {
    "add": ("+", _SUM), "sub": ("-", _SUM), "mul": ("*", _PRODUCT), "div": ("/", _PRODUCT), "lt": ("<", _ORDER),
    "le": ("<=", _ORDER), "eq": ("==", _EQUAL), "ne": ("!=", _EQUAL), "and": ("&&", _AND), "or": ("||", _OR),
}  # fmt: skip
_TRUTHS = ("lt", "le", "eq", "ne", "and", "or", "not")  # whose result is true or false
_FUNCTIONS = (
    "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "exp",
    "expm1", "log", "log1p", "erf", "floor", "ceil", "fabs", "pow", "atan2", "fmod", "hypot", "copysign",
)  # fmt: skip
_ALIASES = {"constpow": "pow"}
_HELPERS = {"fmin": "min", "fmax": "max", "sign": "sign"}  # functions of the export itself
_REWRITTEN = ("neg", "not", "sq", "twice", "inv", "assign", "if_else_zero")
_CODES = {getattr(ca, f"OP_{name.upper()}"): name for name in (*_INFIX, *_FUNCTIONS, *_ALIASES, *_HELPERS, *_REWRITTEN)}
NAMES = frozenset({*_FUNCTIONS, *(f"{name}f" for name in _FUNCTIONS)})  # which a local variable would hide

Key = tuple[str, tuple[int, ...], float]


@dataclass
class Graph:
    """Operations without repetition, each behind what it takes."""

    nodes: list[Key] = field(default_factory=list)  # operation, numbers of operands or an entry, value of a constant
    _numbers: dict[Key, int] = field(default_factory=dict)

    def constant(self, value: float) -> int:
        """Return the number of a constant."""
        return self._node("constant", (), value)

    def entry(self, which: int, entry: int) -> int:
        """Return the number of an entry of an input."""
        return self._node("input", (which, entry))

    def result(self, operation: str, *of: int) -> int:
        """Return the number of an operation, in the form in which it is read most easily; its value is the same."""
        a, b = of[0], of[-1]
        match operation:
            case "assign":
                found = a
            case "sq":
                found = self._node("mul", (a, a))
            case "twice":
                found = self._node("mul", (self.constant(2.0), a))
            case "inv":
                found = self._node("div", (self.constant(1.0), a))
            case "if_else_zero":
                zero, (name, condition, _) = self.constant(0.0), self.nodes[a]
                found = self._choice(condition[0], zero, b) if name == "not" else self._choice(a, b, zero)
            case "add" | "sub":
                found = self._sum(operation, a, b)
            case _:
                found = self._node(operation, of)
        return found

    def _sum(self, operation: str, a: int, b: int) -> int:
        """Two branches of one condition are one choice; what is added with a minus is subtracted."""
        (first, of_a, _), (second, of_b, value) = self.nodes[a], self.nodes[b]
        other = "sub" if operation == "add" else "add"
        if first == second == "choice" and operation == "add" and of_a[0] == of_b[0]:
            zero = self.constant(0.0)
            if (of_a[2], of_b[1]) == (zero, zero):
                return self._choice(of_a[0], of_a[1], of_b[2])
            if (of_a[1], of_b[2]) == (zero, zero):
                return self._choice(of_a[0], of_b[1], of_a[2])
        if second == "neg":
            return self._sum(other, a, of_b[0])
        if first == "neg" and operation == "add":
            return self._node("sub", (b, of_a[0]))
        if second == "constant" and value < 0:
            return self._node(other, (a, self.constant(-value)))
        return self._node(operation, (a, b))

    def _choice(self, condition: int, yes: int, no: int) -> int:
        return self._node("choice", (condition, yes, no))

    def _node(self, operation: str, of: tuple[int, ...], value: float = 0.0) -> int:
        key = (operation, of, value)
        if key not in self._numbers:
            self._numbers[key] = len(self.nodes)
            self.nodes.append(key)
        return self._numbers[key]

    def operands(self, number: int) -> tuple[int, ...]:
        """Return the numbers of what an operation takes."""
        operation, of, _ = self.nodes[number]
        return () if operation in ("input", "constant") else of

    def reached(self, roots: Sequence[int]) -> list[int]:
        """Return what is needed for some results, in the order of evaluation."""
        found, left = set[int](), list(roots)
        while left:
            number = left.pop()
            if number not in found:
                found.add(number)
                left += self.operands(number)
        return sorted(found)


def read(owner: str, function: ca.Function) -> tuple[Graph, list[list[int]]]:
    """Return what an SX function computes.

    Parameters
    ----------
    owner : str
        What it belongs to, for messages.
    function : casadi.Function
        Of dense inputs and outputs.

    Returns
    -------
    graph : Graph
    outputs : list of list of int
        Numbers of the operations that give the entries of each output.

    Raises
    ------
    DomainError
        If there is no C for an operation.
    """
    graph, held = Graph(), dict[int, int]()  # by a place the number of what it holds
    outputs = [[0] * function.numel_out(k) for k in range(function.n_out())]
    for done in instructions(function):
        if done.operation == ca.OP_OUTPUT:
            outputs[done.entry[0]][done.entry[1]] = held[done.takes[0]]
        elif done.operation == ca.OP_CONST:
            held[done.place] = graph.constant(done.value)
        elif done.operation == ca.OP_INPUT:
            held[done.place] = graph.entry(*done.entry)
        elif name := _CODES.get(done.operation):
            held[done.place] = graph.result(_ALIASES.get(name, name), *(held[place] for place in done.takes))
        else:
            raise DomainError(
                f"{owner} has the operation {operation_name(done.operation)} of CasADi, for which there is no C; "
                f"known: {', '.join(sorted(_CODES.values()))}"
            )
    return graph, outputs


@dataclass
class Writer:
    """Writes statements for the entries of outputs, and keeps what has a name already."""

    owner: str  # what the expressions belong to, for messages
    graph: Graph
    real: str  # "float" or "double"
    type: str  # its name in C
    prefix: str  # of functions of the export
    names: dict[int, str]  # of what exists before, by number
    wanted: Sequence[int]  # all entries of all outputs
    helpers: set[str] = field(default_factory=set)  # functions of the export that the statements call
    _texts: dict[int, tuple[str, int]] = field(default_factory=dict)  # C and how tightly it binds
    _temporaries: int = 0

    def __post_init__(self) -> None:
        reached = self.graph.reached(self.wanted)
        self._uses = dict.fromkeys(reached, 0)
        for number in reached:
            for operand in self.graph.operands(number):
                self._uses[operand] += 1
        for number in self.wanted:
            self._uses[number] += 1

    def inputs(self) -> list[int]:
        """Return the numbers of the entries of inputs that are needed."""
        return [number for number in self.graph.reached(self.wanted) if self.graph.nodes[number][0] == "input"]

    def statements(self, outputs: Mapping[str, int]) -> list[str]:
        """Return statements that give outputs their values.

        Parameters
        ----------
        outputs : mapping of str to int
            By the C of what is assigned to the number of its value.

        Returns
        -------
        list of str
            Lines, those that go on with another one indented.
        """
        lines: list[str] = []
        first = {number: target for target, number in reversed(list(outputs.items()))}
        for number in self._left(list(outputs.values())):
            text, binds = self._written(number)
            if number in first and self._uses[number] > 1 and not self._is_leaf(number):
                lines += _wrapped(f"{first[number]} = {self._value(number, text)};")
                self.names[number] = first[number]
            else:
                lines += self._kept(number, text, binds, named=number not in first and self._deserves(number, text))
        for target, number in outputs.items():
            if self.names.get(number) != target:
                lines += _wrapped(f"{target} = {self._value(number, self._operand(number)[0])};")
        return lines

    def named(self, numbers: Sequence[int]) -> list[str]:
        """Return statements that give results names, by which what follows takes them.

        Parameters
        ----------
        numbers : sequence of int

        Returns
        -------
        list of str
            Lines, those that go on with another one indented.
        """
        lines: list[str] = []
        for number in self._left(numbers):
            text, binds = self._written(number)
            lines += self._kept(number, text, binds, named=number in numbers or self._deserves(number, text))
        return lines

    def operand(self, number: int) -> str:
        """Return C for a result, as an operand of anything.

        Parameters
        ----------
        number : int

        Returns
        -------
        str
        """
        return self._bound(number, _ATOM)

    def _left(self, roots: Sequence[int]) -> list[int]:
        """Return what is needed for some results and has no C yet."""
        return [k for k in self.graph.reached(roots) if k not in self.names and k not in self._texts]

    def _deserves(self, number: int, text: str) -> bool:
        """Whether a result is used again, or too long to stand in another one."""
        return self._uses[number] > 1 or len(text) > _LONGEST

    def _kept(self, number: int, text: str, binds: int, *, named: bool) -> list[str]:
        """Keep the C of a result, or give it a name by the statements that are returned."""
        if self._is_leaf(number) or not named:
            self._texts[number] = text, binds
            return []
        self._temporaries += 1
        kind = "int" if self._is_truth(number) else self.type
        self.names[number] = f"t{self._temporaries}"
        return _wrapped(f"const {kind} t{self._temporaries} = {text};")

    def _is_leaf(self, number: int) -> bool:
        return self.graph.nodes[number][0] == "constant"

    def _is_truth(self, number: int) -> bool:
        return self.graph.nodes[number][0] in _TRUTHS

    def _operand(self, number: int) -> tuple[str, int]:
        return (self.names[number], _ATOM) if number in self.names else self._texts[number]

    def _value(self, number: int, text: str) -> str:
        """Return C for a number where the operation may give true or false."""
        return f"{text} ? {self._constant(1.0)} : {self._constant(0.0)}" if self._is_truth(number) else text

    def _bound(self, number: int, least: int) -> str:
        """Return C for a number, in parentheses where it binds less tightly than needed."""
        text, binds = self._operand(number)
        if self._is_truth(number):
            text, binds = self._value(number, text), _CHOICE
        return text if binds >= least else f"({text})"

    def _truth(self, number: int, least: int) -> str:
        """Return C for a condition."""
        if not self._is_truth(number):
            return self._infix("!=", _EQUAL, self._bound(number, _EQUAL + 1), self._constant(0.0), least)
        text, binds = self._operand(number)
        return text if binds >= least else f"({text})"

    @staticmethod
    def _infix(sign: str, binds: int, left: str, right: str, least: int) -> str:
        text = f"{left} {sign} {right}"
        return text if binds >= least else f"({text})"

    def _written(self, number: int) -> tuple[str, int]:
        """Return C for an operation on what has C already."""
        name, of, value = self.graph.nodes[number]
        if name == "constant":
            return self._constant(value), _SIGN if value < 0 else _ATOM
        if name in _INFIX:
            return self._between(name, of)
        if name in ("neg", "not", "choice"):
            return self._logical(name, of)
        arguments = ", ".join(self._bound(operand, _CHOICE) for operand in of)
        if name in _HELPERS:
            self.helpers.add(_HELPERS[name])
            return f"{self.prefix}_{_HELPERS[name]}({arguments})", _ATOM
        return f"{name}{'f' if self.real == 'float' else ''}({arguments})", _ATOM

    def _between(self, name: str, of: tuple[int, ...]) -> tuple[str, int]:
        """Return C for an operator between two operands: a sum of numbers depends on its order, which is kept."""
        sign, binds = _INFIX[name]
        if name in ("and", "or"):
            left, right = (self._truth(operand, _EQUAL) for operand in of)
        elif name in _TRUTHS:
            left, right = (self._bound(operand, _SUM) for operand in of)
        else:
            left, right = self._bound(of[0], binds), self._bound(of[1], binds + 1)
        return f"{left} {sign} {right}", binds

    def _logical(self, name: str, of: tuple[int, ...]) -> tuple[str, int]:
        """Return C for a minus, a negation and a choice."""
        if name == "not":
            return f"!{self._truth(of[0], _ATOM)}", _SIGN
        if name == "choice":
            yes, no = (self._bound(branch, _OR) for branch in of[1:])
            return f"{self._truth(of[0], _OR)} ? {yes} : {no}", _CHOICE
        text = self._bound(of[0], _PRODUCT)
        if self.graph.nodes[of[0]][0] in ("mul", "div") and text[0] != "-":
            return f"-{text}", _PRODUCT
        return f"-{self._bound(of[0], _ATOM)}", _SIGN

    def _constant(self, value: float) -> str:
        try:
            text = literal(value, self.real, short=True)
        except DomainError as error:
            raise DomainError(f"{self.owner} has a constant that cannot be exported: {error}") from error
        if value and not rounded(value, self.real):
            raise DomainError(
                f"{self.owner} has the constant {value:g}, which is 0 in float; export with real = 'double'"
            )
        return text


def _wrapped(statement: str) -> list[str]:
    """Break a long statement before the operators that bind least tightly of those in reach."""
    lines, start = [], ""
    while len(start + statement) > _WIDTH:
        places, depth = [], 0
        for k, c in enumerate(statement[: _WIDTH - len(start)]):
            depth += (c in "([") - (c in ")]")
            if k > _WIDTH // 3 and _BREAK.match(statement, k):
                product = statement[k + 1] in "*/"
                places.append((-depth, not product, k))
        if not places:
            break
        place = max(places)[2]
        lines.append(start + statement[:place])
        start, statement = "    ", statement[place + 1 :]
    return [*lines, start + statement]
