"""Expressions as C: the same numbers, no parentheses too many, names used once, and what is refused."""

import ctypes

import casadi as ca
import numpy as np
import problems
import pytest
from exports import STRICT, need, run

import scpo_ctrl as sc
from scpo_ctrl.codegen.expressions import Writer, read
from scpo_ctrl.codegen.model import model_functions
from scpo_ctrl.codegen.model import written as write_function
from scpo_ctrl.errors import DomainError

X = ca.SX.sym("x", 3)
A, B, C = ca.vertsplit(X)
UNARY = (
    "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "atanh", "exp", "expm1",
    "log", "log1p", "erf", "floor", "ceil", "fabs", "sign",
)  # fmt: skip
HELPERS = {
    "min": "static double f_min(double a, double b) { return a < b ? a : b; }",
    "max": "static double f_max(double a, double b) { return a > b ? a : b; }",
    "sign": "static double f_sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }",
}


def written(expressions, real="double"):
    """Return a writer of expressions of X, and its statements."""
    function = ca.Function("f", [X], [ca.densify(ca.vertcat(*expressions))])
    graph, outputs = read("law", function)
    writer = Writer("law", graph, real, real, "f", {}, outputs[0])
    for number in writer.inputs():
        writer.names[number] = "abc"[graph.nodes[number][1][1]]
    return writer, writer.statements({f"v[{i}]": number for i, number in enumerate(outputs[0])})


def compiled(expressions, folder):
    """Return a function that computes expressions of (a, b, c) by their C."""
    writer, lines = written(expressions)
    reads = "".join(f"    const double {name} = x[{i}];\n" for i, name in enumerate("abc"))
    unused = "    (void)a;\n    (void)b;\n    (void)c;\n"
    helpers = "\n".join(HELPERS[name] for name in sorted(writer.helpers))
    body = "\n    ".join(lines)
    source = f"#include <math.h>\n{helpers}\nvoid f(const double *x, double *v);\nvoid f(const double *x, double *v)\n"
    (folder / "f.c").write_text(f"{source}{{\n{reads}{unused}    {body}\n}}\n")
    run("gcc", "-std=c99", *STRICT.split(), "-shared", "-fPIC", folder / "f.c", "-lm", "-o", folder / "f.so")
    loaded = ctypes.CDLL(str(folder / "f.so"))

    def call(x):
        x, v = np.ascontiguousarray(x, float), np.full(len(expressions), np.nan)
        loaded.f(x.ctypes.data_as(ctypes.c_void_p), v.ctypes.data_as(ctypes.c_void_p))
        return v

    return call


def check_equal(expressions, folder, points=200):
    need("gcc")
    ours, theirs = compiled(expressions, folder), ca.Function("f", [X], [ca.vertcat(*expressions)])
    rng = np.random.default_rng(1)
    for x in (*rng.uniform(-0.95, 0.95, (points, 3)), np.zeros(3), [0.5, 0.5, 0.5], [-0.5, 0.5, -0.5]):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(ours(x), np.array(theirs(x))[:, 0])


def test_every_operation_gives_the_same_bits(tmp_path):
    unary = [getattr(ca, name)(A) for name in UNARY]
    binary = [
        A + B, A - B, A * B, A / B, -A, A**2, 2 * A, A + A, 1 / A, ca.acosh(2 + A), (2 + A) ** B, (2 + A) ** 2.5, A**3,
        ca.fmin(A, B), ca.fmax(A, B), ca.atan2(A, B), ca.fmod(A, 0.3), ca.hypot(A, B), ca.copysign(A, B),
        A < B, A <= B, A == B, A != B, ca.logic_and(A < B, B < C), ca.logic_or(A < B, B < C), ca.logic_not(A < B),
        ca.logic_and(A, B), ca.logic_not(A), ca.if_else(A < B, C, -C), ca.if_else(A, B, C), ca.if_else(A < B, 0, C),
    ]  # fmt: skip
    check_equal([*unary, *binary], tmp_path)


def drawn(rng, depth):
    """Draw an expression."""
    if depth == 0:
        return [A, B, C, ca.SX(float(rng.normal())), ca.SX(-2.0), ca.SX(0.5)][rng.integers(6)]
    one, other = drawn(rng, depth - 1), drawn(rng, depth - 1)
    kinds = [
        one + other, one - other, one * other, one / (other**2 + 1), -one, one - (other - one), ca.fmin(one, other),
        ca.if_else(one < other, one, other), ca.if_else(ca.logic_or(one < 0, other < one), -other, one * other),
        ca.if_else(ca.logic_not(ca.logic_and(one <= other, one > 0)), one - 1, 0) + other, one * (one < other),
        one - (-other), (-one) * other, -(one * other), one / (1 + ca.fabs(other)) / 3, ca.sin(one) + 1e-3,
    ]  # fmt: skip
    return kinds[rng.integers(len(kinds))]


@pytest.mark.table(4)
@pytest.mark.parametrize("seed", range(4))
def test_random_expressions_give_the_same_bits(seed, tmp_path):
    rng = np.random.default_rng(seed)
    check_equal([drawn(rng, 1 + k % 6) for k in range(60)], tmp_path, points=50)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (A + B * C, "a + b * c"),
        ((A + B) * C, "(a + b) * c"),
        (A - (B - C), "a - (b - c)"),
        (A - B - C, "a - b - c"),
        (A / (B * C), "a / (b * c)"),
        (A + -B, "a - b"),
        (-A * B, "-a * b"),
        (-(A + B), "-(a + b)"),
        (ca.sin(A) * -0.25, "-0.25 * sin(a)"),
        (A + -0.25, "a - 0.25"),
        (ca.if_else(A < B, A, C), "a < b ? a : c"),
        (ca.if_else(A < B, 0, C), "a < b ? 0.0 : c"),
        (ca.if_else(ca.logic_and(A < B, B <= C), A, 0), "a < b && b <= c ? a : 0.0"),
        (A + ca.if_else(A, B, C), "a + (a != 0.0 ? b : c)"),
        (ca.fmin(ca.fmax(A, -1), B), "f_min(f_max(a, -1.0), b)"),
        (ca.sin(A + B), "sin(a + b)"),
        (A < B, "a < b ? 1.0 : 0.0"),
        (0.1 * A, "0.1 * a"),
    ],
)
def test_what_is_written(expression, text):
    assert written([expression])[1] == [f"v[0] = {text};"]


def test_what_is_used_twice_has_a_name():
    e = A - B
    assert written([e * C + e, ca.sin(e)])[1] == ["const double t1 = a - b;", "v[0] = t1 * c + t1;", "v[1] = sin(t1);"]
    assert written([e * C, ca.sin(e * C)])[1] == ["v[0] = (a - b) * c;", "v[1] = sin(v[0]);"]
    assert written([A, A, ca.SX(2)])[1] == ["v[0] = a;", "v[1] = a;", "v[2] = 2.0;"]


def test_float_functions_and_literals_in_float():
    (line,) = written([ca.atan2(A, 0.1) + ca.sqrt(B)], "float")[1]
    assert line == "v[0] = atan2f(a, 0.1f) + sqrtf(b);"


def test_long_sums_are_broken_before_an_operator():
    terms = [ca.sin(A + k) * ca.cos(B - k) for k in range(12)]
    lines = written([sum(terms[1:], terms[0])])[1]
    assert len(lines) > 2 and max(map(len, lines)) <= 110
    assert all(line.startswith("    ") and line.split()[0] in "+-*/" for line in lines[1:] if "t1" not in line)


@pytest.mark.parametrize(
    ("expression", "real", "says"),
    [
        (A + np.inf, "double", "'law' has a constant that cannot be exported: inf"),
        (A * np.nan, "double", "constant that cannot be exported: nan"),
        (A + 1e60, "float", "export with real = 'double'"),
        (A * 1e-60, "float", "1e-60, which is 0 in float"),
        (A.printme(B), "double", "for which there is no C; known: acos"),
    ],
)
def test_what_is_refused(expression, real, says):
    with pytest.raises(DomainError, match=says.replace("'law'", "law")):
        written([expression], real)


@pytest.mark.parametrize(("Q", "R", "added", "unused"), [
    ([1.0, 0.0], [0.05], ["by_x[0]", "by_u[0]"], set()),
    ([0.0, 0.0], [0.05], ["by_u[0]"], {"x", "by_x"}),
    ([0.0, 2.0], [0.0], ["by_x[1]"], {"u", "by_u"}),
])  # fmt: skip
def test_a_weight_of_zero_adds_nothing(Q, R, added, unused):
    of = problems.double_integrator_problem()
    problem = sc.ControlProblem(of.policy, of.scenarios, sc.Quadratic(Q, R))
    functions = {of.name: of for of in model_functions(problem)}
    stage = write_function("plant", functions["stage_adjoint"], "float", "scpo")
    assert [line.split(" += ")[0] for line in stage.lines if " += " in line] == added
    assert set(stage.unused) == unused
