"""Plants from text: the pendulum as CasADi has it, expressions against SymPy, and nothing that text can run."""

from __future__ import annotations

import sys
import threading

import casadi as ca
import control
import fuzz_expressions
import numpy as np
import pytest
from forms import times
from problems import pendulum

from scpo_ctrl.errors import BoundsError, DomainError, ScpoError, ScpoWarning
from scpo_ctrl.models import cart_pole_ode, discretise, double_integrator, equations
from scpo_ctrl.models.expression import FUNCTIONS, expression

STATES = [
    {"name": "angle", "unit": "rad", "min": -2.0, "max": 2.0, "derivative": "rate"},
    {"name": "rate", "unit": "rad/s", "min": -2.0, "max": 2.0, "derivative": "-g*sin(angle) - 0.3*rate + torque"},
]
INPUTS = [{"name": "torque", "unit": "N m", "min": -1.0, "max": 1.0}]
PENDULUM = {"states": STATES, "inputs": INPUTS, "dt": 0.05, "constants": {"g": 9.81}, "name": "pendulum"}
CART_POLE = {  # as in R4
    "states": [
        {"name": "position", "min": -2, "max": 2, "derivative": "velocity"},
        {
            "name": "velocity", "min": -2, "max": 2,
            "derivative": "(force + m*l*rate**2*sin(angle))/(m + M) - m*l*cos(angle)/(m + M)*(g*sin(angle)"
            "- (force + m*l*rate**2*sin(angle))/(m + M)*cos(angle))/(l*(4/3 - m*cos(angle)**2/(m + M)))",
        },
        {"name": "angle", "min": -0.18, "max": 0.18, "derivative": "rate"},
        {
            "name": "rate", "min": -2, "max": 2,
            "derivative": "(g*sin(angle) - (force + m*l*rate**2*sin(angle))/(m + M)*cos(angle))"
            "/(l*(4/3 - m*cos(angle)**2/(m + M)))",
        },
    ],
    "inputs": [{"name": "force", "min": -10, "max": 10}],
    "parameters": [
        {"name": "m", "nominal": 0.1, "above": 0, "unit": "kg"},
        {"name": "M", "nominal": 1, "above": 0},
        {"name": "l", "nominal": 0.5, "above": 0},
    ],
    "constants": {"g": 9.8},
}  # fmt: skip


def test_a_pendulum_in_text_is_the_one_in_casadi():
    plant, other = equations(**PENDULUM), discretise(pendulum(), 0.05)
    point = ([0.7, -1.1], [0.4], [])
    np.testing.assert_array_equal(plant.function(*point), other.function(*point))
    assert (plant.x_labels, plant.x_units, plant.u_labels) == (("angle", "rate"), ("rad", "rad/s"), ("torque",))
    assert plant.name == "pendulum" and plant.dt == 0.05
    np.testing.assert_array_equal(plant.x_max, [2, 2])


def test_the_cart_pole_in_text_is_r4():
    plant, other, rng = equations(**CART_POLE, dt=None), cart_pole_ode(), np.random.default_rng(0)
    for _ in range(20):
        point = rng.uniform(-1, 1, 4), rng.uniform(-5, 5, 1), rng.uniform(0.1, 1.0, 3)
        np.testing.assert_allclose(plant.function(*point), other.function(*point), rtol=1e-12)
    np.testing.assert_array_equal(plant.p_nominal, other.p_nominal)
    np.testing.assert_array_equal(plant.p_above, other.p_above)
    assert plant.p_units[0] == "kg" and plant.dt is None


def test_next_values_are_taken_as_they_are():
    states = [
        {"name": "position", "next": "position + dt*velocity + dt**2/2*a"},
        {"name": "velocity", "min": -1.5, "next": "velocity + dt*a"},
    ]
    plant = equations(states=states, inputs=[{"name": "a", "min": -1, "max": 1}], constants={"dt": 0.1}, dt=0.1)
    for one, other in zip(plant.linearise(), double_integrator().linearise(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)
    np.testing.assert_array_equal(plant.x_min, [-np.inf, -1.5])
    np.testing.assert_array_equal(plant.x_max, [np.inf, np.inf])


def test_linear_equations_are_sampled_exactly():
    states = [{"name": "a", "derivative": "b"}, {"name": "b", "derivative": "-4*a - b + v"}]
    plant = equations(states=states, inputs=[{"name": "v", "min": -1, "max": 1}], dt=0.8)
    exact = control.sample_system(control.ss([[0, 1], [-4, -1]], [[0], [1]], np.eye(2), 0), 0.8)
    np.testing.assert_allclose(np.hstack(plant.linearise()), np.hstack([exact.A, exact.B]), rtol=1e-12)


def test_an_equilibrium_may_be_an_expression_of_constants_and_nominal_parameters():
    states = [{"name": "height", "derivative": "speed", "equilibrium": 1.0}]
    states += [{"name": "speed", "derivative": "thrust/mass - g"}]
    inputs = [{"name": "thrust", "min": 0.0, "max": 10.0, "equilibrium": "mass*g"}]
    parameters = [{"name": "mass", "nominal": 0.3}]
    plant = equations(states=states, inputs=inputs, parameters=parameters, constants={"g": 9.81}, dt=0.1)
    np.testing.assert_array_equal(plant.u_eq, [0.3 * 9.81])
    np.testing.assert_array_equal(np.array(plant.function(plant.x_eq, plant.u_eq, plant.p_nominal))[:, 0], plant.x_eq)
    assert plant.p_above[0] == -np.inf


def test_substeps_are_as_given():
    with pytest.warns(ScpoWarning, match="substeps = 1"):
        coarse = equations(**PENDULUM | {"dt": 0.4, "substeps": 1})
    one, chosen = (np.array(plant.function([1, 0], 0, [])) for plant in (coarse, equations(**PENDULUM | {"dt": 0.4})))
    assert np.abs(one - chosen).max() > 1e-3


def changed(key, index=0, **changes):
    """Return the pendulum with changes to one of its tables."""
    tables = [dict(table) for table in PENDULUM.get(key, [])] or [{}]
    tables[index] = {name: value for name, value in (tables[index] | changes).items() if value is not None}
    return {key: tables}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (changed("states", 1, derivative="rat + 1"), r"states\[1\].derivative \(rate\) = 'rat \+ 1': character 1: "),
        (changed("states", 1, derivative=3.0), r"states\[1\].derivative \(rate\) is 3.0, expected text"),
        (changed("states", 1, derivative=None), r"states\[1\] has neither, expected its derivative or its next value"),
        (changed("states", 1, next="rate"), r"states\[1\] has derivative and next"),
        (changed("states", 1, derivative=None, next="rate"), r"states\[1\] has next, expected .* same for all states"),
        (changed("states", 1, name="angle"), r"states\[1\].name is 'angle', which names something else too"),
        (changed("states", 0, name="g"), "which names something else too"),
        (changed("inputs", name="sin"), r"inputs\[0\].name is 'sin', which means something in expressions already"),
        (changed("inputs", name="pi"), "means something"),
        (changed("inputs", name="lambda"), "means something"),
        (changed("inputs", name="_x"), "expected a letter and then letters"),
        (changed("inputs", name="x" * 101), "at most 100"),
        (changed("inputs", name="\u03b8"), "expected a letter"),
        (changed("inputs", name=3), r"inputs\[0\].name is 3, expected a letter"),
        (changed("inputs", max=None), r"inputs\[0\] has no 'max'; needed: name, min, max"),
        (changed("inputs", max=np.inf), r"inputs\[0\].max\[0\] is inf"),
        (changed("inputs", max="1"), r"inputs\[0\].max is .*'1'"),
        (changed("inputs", maximum=1.0), r"inputs\[0\] has the unknown key 'maximum'; known: name, min, max"),
        (changed("inputs", equilibrium="torque"), r"inputs\[0\].equilibrium = 'torque': character 1: "),
        (changed("inputs", equilibrium=[0]), r"inputs\[0\].equilibrium is \[0\], expected a finite number"),
        (changed("inputs", unit=3), r"u_units\[0\] is 3"),
        ({"states": []}, "states has 0 entries, expected 1 to 1000"),
        ({"states": "angle"}, "states is 'angle', expected a list of tables"),
        ({"inputs": [3]}, r"inputs is \[3\], expected a list of tables"),
        ({"constants": [9.81]}, r"constants is \[9.81\], expected a table of numbers by name"),
        ({"constants": {"g": "9.81"}}, r"constants.g is '9.81', expected a finite number"),
        ({"constants": {"g g": 9.81}}, "a name in constants is 'g g'"),
        ({"constants": {f"c{i}": 1.0 for i in range(1001)}}, "constants has 1001 entries"),
        ({"dt": -1.0}, "dt is -1.0"),
        ({"dt": None, "states": [{"name": "angle", "next": "torque"}]}, "takes a dt"),
        ({"substeps": 2, "states": [{"name": "angle", "next": "torque"}]}, "no substeps"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_place(changes, words):
    with pytest.raises(ScpoError, match=words):
        equations(**PENDULUM | changes)


def test_bounds_that_do_not_hold_the_equilibrium_are_refused():
    with pytest.raises(BoundsError, match=r"u_min\[0\]"):
        equations(**PENDULUM | changed("inputs", equilibrium=1.0))


def value(text, **values):
    symbols = {name: ca.SX.sym(name) for name in values}
    return float(ca.Function("f", list(symbols.values()), [expression("f", text, symbols)])(*values.values()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-x**2", -4.0),
        ("2**-1", 0.5),
        ("2**3**2", 512.0),
        ("8/4/2", 1.0),
        ("7 - 4 - 2", 1.0),
        ("-(+x) * - 3", 6.0),
        ("if_else(x < 2, 10, 20)", 20.0),
        ("if_else(x <= 2, 10, sqrt(x - 5))", 10.0),
        ("if_else(x > 2, 10, 20) + if_else(x >= 2, 1, 2)", 21.0),
        ("min(3, x, 5) + max(1, x)", 4.0),
        ("atan2(-1, -x + 1)", np.arctan2(-1, -1)),
        ("abs(-x) + fabs(1 - x)", 3.0),
        ("sign(1 - x)", -1.0),
        (" x\n + 1 ", 3.0),
        (" + ".join(["x"] * 400), 800.0),
        ("pi", np.pi),
        ("1.5e1 + .5 + 0x10 + 1_0", 41.5),
    ],
)
def test_what_text_means(text, expected):
    assert value(text, x=2.0) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("__import__('os')", 12, '"\'" is not allowed'),
        ("x.real", 1, "a Python Attribute is not allowed"),
        ("(lambda: 1)()", 8, "':' is not allowed"),
        ("x + y.z", 5, "Attribute"),
        ("\uff53in(x)", 1, "not allowed"),
        ("x\0", 2, "not allowed"),
        ("9**9**9", 4, "exponent is beyond 100"),
        ("x**-101", 4, "exponent is beyond 100"),
        ("x + 1/(2 - 2)", 8, "this is zero, and divides"),
        ("x/0", 3, "this is zero, and divides"),
        ("1e400", 1, "inf, not a finite number"),
        ("x + log(-1)", 5, "nan, not a finite number"),
        ("9" * 400, 1, "out of range"),
        ("2 + 9" + "9" * 1900, 5, "out of range"),
        ("-" * 60 + "x", 52, "nested deeper than 50"),
        ("sin(" * 60 + "x" + ")" * 60, 205, "nested deeper than 50"),
        ("(" * 500 + "x" + ")" * 500, 201, "no complete expression"),
        ("  x +", 3, "no complete expression"),
        ("", 1, "no complete expression"),
        ("x y", 3, "no complete expression"),
        ("1if x else 2", 1, "no complete expression"),
        ("x // y", 1, "operator is not allowed"),
        ("x < y", 1, "first argument of if_else only"),
        ("if_else(x, 1, 2)", 9, "needs one comparison first"),
        ("if_else(x < y < 1, 1, 2)", 9, "needs one comparison first"),
        ("if_else(x < y, 1)", 1, "if_else takes 3 arguments, not 2"),
        ("sin(x, y)", 1, "sin takes one argument, not 2"),
        ("atan2(x)", 1, "atan2 takes 2 arguments, not 1"),
        ("max(x)", 1, "max takes two or more arguments, not 1"),
        ("max(*x)", 1, "by their place only"),
        ("sin(x=1)", 1, "by their place only"),
        ("sin", 1, "'sin' is no name here"),
        ("x(1)", 1, "'x' is no function here"),
        ("sin(x)(y)", 1, "only functions can be called"),
        ("1j", 1, "1j is not allowed"),
        ("True", 1, "True is not allowed"),
        ("(x, y)", 1, "Tuple is not allowed"),
        ("not x", 1, "UnaryOp is not allowed"),
    ],
)
def test_other_text_is_refused_with_its_place(text, place, words):
    with pytest.raises(DomainError) as caught:
        expression("f", text, {"x": ca.SX.sym("x"), "y": ca.SX.sym("y")})
    message = str(caught.value)
    assert f": character {place}: " in message and words in message and "\n" not in message
    assert "the functions sin, " in message and message.endswith("and the names x, y")


def test_text_that_is_too_long_is_refused():
    with pytest.raises(DomainError, match="f has 2001 characters, more than 2000"):
        expression("f", "x" * 2001, {"x": ca.SX.sym("x")})


def test_every_function_has_the_derivative_of_its_difference():
    for name in FUNCTIONS:
        call = {"atan2": "atan2(x, 0.7)", "min": "min(x, 0.2*x)", "max": "max(x, 0.2*x)"}.get(name, f"{name}(x)")
        call = "if_else(x < 1, x**3, x)" if name == "if_else" else call
        x, at, h = ca.SX.sym("x"), 1.4 if name == "acosh" else 0.4, 1e-6
        f = expression("f", call, {"x": x})
        both = ca.Function("f", [x], [f, ca.jacobian(f, x)])
        difference = (float(both(at + h)[0]) - float(both(at - h)[0])) / (2 * h)
        assert float(both(at)[1]) == pytest.approx(difference, rel=1e-7, abs=1e-9), name


def test_no_text_runs_anything():
    events, own = [], threading.get_ident()  # other threads have work of their own
    active = [True]

    def watch(event, _):
        if (
            active[0]
            and threading.get_ident() == own
            and event in ("exec", "import", "os.system", "open", "subprocess.Popen")
        ):
            events.append(event)

    sys.addaudithook(watch)  # cannot be taken away again, only told to keep quiet
    symbols = {name: ca.SX.sym(name) for name in fuzz_expressions.NAMES}
    for attack in fuzz_expressions.NASTY:
        for written in (attack, f"sin({attack})", f"x + {attack}"):
            try:
                expression("f", written, symbols)
            except DomainError:
                continue
            raise AssertionError(f"{written!r} was read")
    active[0] = False
    assert not events


def test_random_text_is_read_as_sympy_does_or_refused():
    pytest.importorskip("sympy")
    count = times(3000, 4)
    found = fuzz_expressions.survey(count, seed=0)
    assert found["equal"] > 0.4 * count and found["refused"] > 0.3 * count, found
