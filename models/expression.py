"""Expressions that users write as text, made CasADi's: arithmetic and a list of functions, and nothing else.

Python's parser makes a tree of the text, and each node of it must be one that is listed here. Nothing is evaluated but
numbers by CasADi, so no text can run anything; its length, its depth and exponents are limited.
"""

import ast
import keyword
import re
import warnings
from collections.abc import Callable, Mapping

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.validate import as_text

_LONGEST = 2000  # characters
_DEEPEST = 50  # parentheses, signs and powers within each other
_LARGEST_EXPONENT = 100.0
_LONGEST_NAME = 100  # characters
_FOREIGN = re.compile(r"[^A-Za-z0-9_+\-*/().,<>= \t\r\n]")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

CONSTANTS = {"pi": np.pi}
_OF_ONE: dict[str, Callable[[ca.SX], ca.SX]] = {
    name: getattr(ca, name)
    for name in (
        "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
        "exp", "log", "sqrt", "fabs", "sign",
    )
} | {"abs": ca.fabs}  # fmt: skip
_OF_TWO = {"atan2": ca.atan2}
_OF_MANY = {"min": ca.fmin, "max": ca.fmax}
FUNCTIONS = (*_OF_ONE, *_OF_TWO, *_OF_MANY, "if_else")
_BINARY: dict[type, Callable[[ca.SX, ca.SX], ca.SX]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}
_COMPARISONS: dict[type, Callable[[ca.SX, ca.SX], ca.SX]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


def as_symbol_name(where: str, name: object) -> str:
    """Return a name that expressions can use.

    Parameters
    ----------
    where : str
        What is named, for the error message.
    name : str

    Returns
    -------
    str

    Raises
    ------
    DomainError
        If it is no word of Latin letters, digits and underscores, or means something already.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise DomainError(
            f"{where} is {shown(name)}, expected a letter and then letters, digits and underscores, at most "
            f"{_LONGEST_NAME}: expressions use it"
        )
    if name in FUNCTIONS or name in CONSTANTS or keyword.iskeyword(name):
        raise DomainError(f"{where} is {name!r}, which means something in expressions already; choose another name")
    return name


def expression(where: str, text: object, symbols: Mapping[str, ca.SX | float]) -> ca.SX:
    """Return the expression that a text stands for.

    Parameters
    ----------
    where : str
        What the expression is, for the error message.
    text : str
        Of numbers, names, ``+ - * / **``, parentheses, ``pi`` and functions: sin, cos, tan, asin, acos, atan, atan2,
        sinh, cosh, tanh, asinh, acosh, atanh, exp, log, sqrt, abs (or fabs), sign, min and max of two or more, and
        ``if_else(a < b, then, otherwise)``.
    symbols : mapping of str to casadi.SX or float
        What the names stand for.

    Returns
    -------
    casadi.SX, shape (1, 1)

    Raises
    ------
    DomainError
        If the text is another one; the message names the place in it, and what is allowed.
    """
    return _Reader(where, as_text(where, text, at_most=_LONGEST), symbols).value


class _Reader:
    """Reads one text; `value` is what it stands for."""

    def __init__(self, where: str, text: str, symbols: Mapping[str, ca.SX | float]) -> None:
        self._where, self._text, self._symbols = where, text, symbols
        foreign = _FOREIGN.search(text)
        if foreign:
            raise self._error(foreign.start(), f"{shown(foreign[0])} is not allowed")
        body = re.sub(r"\s", " ", text)
        self._before = len(body) - len(body.lstrip())  # which Python would take for an indentation
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # as of "1if", which Python only frowns at
                tree = ast.parse(body.strip(), mode="eval").body
        except SyntaxError as error:
            at = min(self._before + max(0, (error.offset or 1) - 1), len(text))
            raise self._error(at, "it is no complete expression") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise self._error(0, "it is nested too deeply, or a number is too long") from error
        self.value = self._finite(tree, self._read(tree, 0))

    def _read(self, node: ast.expr, depth: int) -> ca.SX:
        """Return what a node stands for."""
        if depth > _DEEPEST:
            raise self._refused(node, f"it is nested deeper than {_DEEPEST}; split it up")
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name():
                return self._named(node)
            case ast.BinOp():
                return self._chain(node, depth)
            case ast.UnaryOp(op=ast.USub()):
                return -self._read(node.operand, depth + 1)
            case ast.UnaryOp(op=ast.UAdd()):
                return self._read(node.operand, depth + 1)
            case ast.Call():
                return self._finite(node, self._called(node, depth + 1))
            case ast.Compare():
                raise self._refused(node, "a comparison is allowed as the first argument of if_else only")
        raise self._refused(node, f"a Python {type(node).__name__} is not allowed")

    def _number(self, node: ast.Constant) -> ca.SX:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            raise self._refused(node, f"{shown(node.value)} is not allowed")
        try:
            return self._finite(node, ca.SX(float(node.value)))
        except OverflowError as error:
            raise self._refused(node, "the number is out of range") from error

    def _named(self, node: ast.Name) -> ca.SX:
        if node.id in self._symbols:
            return ca.SX(self._symbols[node.id])
        if node.id in CONSTANTS:
            return ca.SX(CONSTANTS[node.id])
        raise self._refused(node, f"{shown(node.id)} is no name here")

    def _chain(self, node: ast.expr, depth: int) -> ca.SX:
        """Return sums and products from left to right, however many terms they have."""
        chain: list[ast.BinOp] = []
        while isinstance(node, ast.BinOp):
            chain.append(node)
            node = node.left
        value = self._read(node, depth + 1)
        for link in reversed(chain):
            if type(link.op) not in _BINARY:
                raise self._refused(link, "this operator is not allowed")
            right = self._read(link.right, depth + 1)
            if isinstance(link.op, ast.Pow) and right.is_constant() and abs(float(right)) > _LARGEST_EXPONENT:
                raise self._refused(link.right, f"the exponent is beyond {_LARGEST_EXPONENT:g}")
            if isinstance(link.op, ast.Div) and right.is_constant() and float(right) == 0:
                raise self._refused(link.right, "this is zero, and divides")
            value = self._finite(link, _BINARY[type(link.op)](value, right))
        return value

    def _called(self, node: ast.Call, depth: int) -> ca.SX:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS:
            raise self._refused(node, f"{shown(name)} is no function here" if name else "only functions can be called")
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise self._refused(node, f"{name} takes arguments by their place only")
        expected = {**dict.fromkeys(_OF_ONE, 1), **dict.fromkeys(_OF_TWO, 2), "if_else": 3}.get(name)
        count = len(node.args)
        if count != expected and (expected or count < 2):
            wanted = {None: "two or more arguments", 1: "one argument"}.get(expected, f"{expected} arguments")
            raise self._refused(node, f"{name} takes {wanted}, not {count}")
        if name == "if_else":
            return ca.if_else(self._condition(node.args[0], depth), *(self._read(a, depth) for a in node.args[1:]))
        values = [self._read(argument, depth) for argument in node.args]
        if name in _OF_ONE:
            return _OF_ONE[name](values[0])
        if name in _OF_TWO:
            return _OF_TWO[name](values[0], values[1])
        result = values[0]
        for value in values[1:]:
            result = _OF_MANY[name](result, value)
        return result

    def _condition(self, node: ast.expr, depth: int) -> ca.SX:
        if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
            raise self._refused(node, "if_else needs one comparison first, by <, <=, > or >=")
        sides = (self._read(side, depth) for side in (node.left, node.comparators[0]))
        return _COMPARISONS[type(node.ops[0])](*sides)

    def _finite(self, node: ast.expr, value: ca.SX) -> ca.SX:
        if value.is_constant() and not np.isfinite(float(value)):
            raise self._refused(node, f"this is {float(value)}, not a finite number")
        return value

    def _refused(self, node: ast.expr, what: str) -> DomainError:
        return self._error(self._before + node.col_offset, what)

    def _error(self, at: int, what: str) -> DomainError:
        names = ", ".join(self._symbols)
        return DomainError(
            f"{self._where} = {shown(self._text)}: character {at + 1}: {what}; allowed are numbers, + - * / **, "
            f"parentheses, pi, the functions {', '.join(FUNCTIONS)}, and the names {shown(names)[1:-1] or 'of none'}"
        )
