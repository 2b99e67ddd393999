"""Random expressions, right ones and damaged ones: SymPy's value at random points, or an error of one line.

``python tests/fuzz_expressions.py --count 100000 --seed 1`` draws more than the suite does.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tokenize

import casadi as ca

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.expression import expression

NAMES = ("x", "y", "k1", "theta_dot")
UNARY = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh")
UNARY += ("exp", "log", "sqrt", "abs", "fabs", "sign")
NASTY = (
    "__import__('os').abort()", "(lambda: x)()", "x.__class__", "[x for x in (1,)]", "(x := 1)", "f'{x}'", "print(x)",
    "9**9**9**9", "x[0]", "{1: x}", "x if y else k1", "eval(x)", "x\0", "\uff53in(x)", "\u212a1", "x\u200b", "*x", "x!",
    "not x", "x and y", "x == y", "1j", "True", "...", "'x'", "x;y", "#", "x =", "yield x", "await x", "0x", "1e999",
    "`x`", "::", "(" * 60, ")" * 60, "-" * 80, "max(x)", "sin()", "atan2(x)", "if_else(x, 1, 2)", "sin(x=1)", "1/0",
    "0**-1", "log(-1)",
)  # fmt: skip


def text(rng: random.Random, depth: int) -> str:
    """Return a random expression that is right but for its domain."""
    if depth == 0 or rng.random() < 0.15:
        return rng.choice((*NAMES, *NAMES, "pi", f"{rng.uniform(0.1, 4):.3g}", str(rng.randint(0, 5)), "2e-1", ".5"))
    a, b, c, d = (text(rng, depth - 1) for _ in range(4))
    power = rng.choice(("**2", "**3", "**-1", "**0.5", " ** 1.5"))
    forms = (
        f"{a} {rng.choice('+-')} {b}",
        f"{a} - ({b})",
        f"({a}) * ({b})",
        f"{a}/({b})",
        f"({a}){power}",
        rng.choice((f"-{a}", f"+({a})")),
        f"{rng.choice(UNARY)}({a})",
        rng.choice((f"atan2({a}, {b})", f"min({a}, {b})", f"max({a}, {b}, {c})")),
        f"if_else({a} {rng.choice(('<', '<=', '>', '>='))} {b}, {c}, {d})",
    )
    return rng.choice(forms)


def damaged(rng: random.Random, right: str) -> str:
    """Return an expression with a piece taken out, put in, or put in place of another."""
    start = rng.randrange(len(right) + 1)
    end = min(len(right), start + rng.choice((0, 0, 1, 1, 3)))
    nasty, letter, sign = rng.choice(NASTY), chr(rng.randrange(0x250)), rng.choice("()+-*/.,<>= \n")
    return right[:start] + rng.choice(("", nasty, nasty, letter, sign)) + right[end:]


def check(rng: random.Random, written: str) -> str:
    """Compare an expression with SymPy's, and return "equal", "undefined" at these points, or "refused"."""
    symbols = {name: ca.SX.sym(name) for name in NAMES}
    try:
        found = expression("f", written, symbols)
    except DomainError as error:
        message = str(error)
        if "\n" in message or (
            "character " not in message and "Unicode" not in message and "characters" not in message
        ):
            raise AssertionError(f"{written!r} is refused without a place: {message}") from error
        return "refused"
    function, exact, compared = ca.Function("f", list(symbols.values()), [found]), Reference(written), 0
    for _ in range(2):
        point = [rng.uniform(-2, 2) for _ in NAMES]
        value, wanted = float(function(*point)), exact.value(point)
        if wanted is None or not math.isfinite(value):  # complex, or beyond a double
            continue
        compared += 1
        rounding = abs(exact.in_doubles(point) - wanted)
        if not abs(value - wanted) <= 1e-12 * abs(wanted) + 100 * rounding:
            raise AssertionError(f"{written!r} is {value!r} at {point}, SymPy has {wanted!r} (rounding {rounding:.1g})")
    return "equal" if compared else "undefined"


class Reference:
    """SymPy's value of an expression, with 60 digits from numbers that are the doubles that they are."""

    def __init__(self, written: str) -> None:
        import sympy

        self._text = " ".join(written.split())
        self._known = {name: getattr(sympy, name) for name in UNARY if hasattr(sympy, name)}
        self._known |= {"abs": sympy.Abs, "fabs": sympy.Abs, "min": sympy.Min, "max": sympy.Max, "atan2": sympy.atan2}
        self._known |= {"if_else": lambda c, a, b: a if c else b, "pi": sympy.Float(math.pi, 60)}
        self._known |= {"exactly": lambda value: value if isinstance(value, int) else sympy.Float(value, 60)}

    def value(self, point: list[float]) -> float | None:
        """Return the value, rounded; None where it is no finite real number."""
        import sympy
        from sympy.parsing.sympy_parser import parse_expr

        at = {name: sympy.Float(value, 60) for name, value in zip(NAMES, point, strict=True)}
        try:
            found = sympy.sympify(parse_expr(self._text, self._known | at, transformations=(_exactly,)))
            value = sympy.N(found, 30)
            return float(value) if value.is_finite and value.is_real else None
        except (TypeError, ValueError, OverflowError, ZeroDivisionError):  # such as where it compares what is complex
            return None

    def in_doubles(self, point: list[float]) -> float:
        """Return the value in Python's arithmetic of doubles, infinite where it gives none."""
        known = {name: getattr(math, name) for name in UNARY if hasattr(math, name)} | {"pi": math.pi}
        known |= {"abs": abs, "min": min, "max": max, "atan2": math.atan2, "sign": lambda v: (v > 0) - (v < 0)}
        known |= {"if_else": lambda c, a, b: a if c else b, "__builtins__": {}}
        try:
            return float(eval(self._text, known | dict(zip(NAMES, point, strict=True))))
        except (TypeError, ValueError, OverflowError, ZeroDivisionError):
            return math.inf


def _exactly(tokens, _, __):
    """Take each number for the double that is nearest to it."""
    wrapped = []
    for kind, word in tokens:
        around = (tokenize.NAME, "exactly"), (tokenize.OP, "("), (tokenize.OP, ")")
        wrapped += [*around[:2], (kind, word), around[2]] if kind == tokenize.NUMBER else [(kind, word)]
    return wrapped


def survey(count: int, seed: int) -> dict[str, int]:
    """Check so many expressions, half of them damaged, and return how many were of each kind."""
    rng, found = random.Random(seed), {"equal": 0, "undefined": 0, "refused": 0}
    for i in range(count):
        written = text(rng, rng.randint(0, 3))
        found[check(rng, damaged(rng, written) if i % 2 else written)] += 1
    return found


def main() -> int:
    """Check as many as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(survey(options.count, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
