"""Controllers in problem files: each constructor by its name, Python, and data; defaults filled in; wrong keys."""

from __future__ import annotations

import importlib.util
import inspect
import tomllib
from importlib.resources import files
from pathlib import Path

import control
import numpy as np
import pytest
from problem_files import REMOVE, tables, write

import scpo_ctrl as sc
from scpo_ctrl import controllers
from scpo_ctrl.errors import (
    BackupError,
    ClassError,
    DimensionError,
    DomainError,
    ProblemFileError,
    ScpoError,
    UnsafeStartError,
)
from scpo_ctrl.models import buck_converter, dc_motor, make_plant, quadruple_tank
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.controllers import CONSTRUCTORS

DATA = files("scpo_ctrl") / "data"
PID = {"kind": "pid", "kp": 1.0, "ki": 2.0, "kd": 0.02, "filter_time": 2e-3}
TANK_Q = {"objective": {"kind": "quadratic", "Q": [1.0, 1.0, 0.0, 0.0], "R": [0.1, 0.1]}}
PI = {"kind": "pid", "kp": 0.2, "ki": 0.01, "kd": 0.8, "filter_time": 0.1}


def double():
    return make_plant("double_integrator")


# Section [policy], plant, and the same controller in Python.
SAME = {
    "pid": (PID, dc_motor, lambda p: controllers.pid(p, 1.0, 2.0, 0.02, filter_time=2e-3)),
    "standard pid": (
        {"kind": "pid", "kp": 1.0, "ki": 0.5, "form": "standard", "setpoint_weight": 0.5, "tracking_time": 0.05},
        dc_motor,
        lambda p: controllers.pid(p, 1.0, 0.5, form="standard", setpoint_weight=0.5, tracking_time=0.05),
    ),
    "pd": (
        {"kind": "pid", "kp": 1.0, "kd": 0.02, "filter_time": 2e-3},
        dc_motor,
        lambda p: controllers.pid(p, 1.0, kd=0.02, filter_time=2e-3),
    ),
    "lqi": (
        {"kind": "lqi", "Q": [1.0, 1.0, 0.1], "R": 10.0},
        double,
        lambda p: controllers.lqi(p, [1.0, 1.0, 0.1], [10.0]),
    ),
    "lqg": (
        {"kind": "lqg", "Q": [0.1] * 4, "R": [10.0] * 2, "process_noise": [0.01] * 4, "sensor_noise": [0.1] * 2},
        quadruple_tank,
        lambda p: controllers.lqg(p, np.full(4, 0.1), [10.0, 10.0], np.full(4, 0.01), [0.1, 0.1]),
    ),
    "state_feedback": (
        {"kind": "state_feedback", "K": [[0.1, 0.5]]},
        double,
        lambda p: controllers.state_feedback(p, [[0.1, 0.5]]),
    ),
    "gain_schedule": (
        {"kind": "gain_schedule", "points": [-1, 1], "gains": [[[0.1, 0.5]], [[0.2, 0.6]]], "signal": 1},
        double,
        lambda p: controllers.gain_schedule(p, [-1, 1], [[[0.1, 0.5]], [[0.2, 0.6]]], signal=1),
    ),
}


def changes(policy, plant):
    nx, nu = plant.nx, plant.nu
    return {
        "plant": {"kind": plant.name},
        "backup": REMOVE,
        "policy": policy,
        "objective": {"kind": "quadratic", "Q": [1.0] * nx, "R": [0.1] * nu},
        "scenarios.level": 0.3,
    }


@pytest.mark.parametrize("name", SAME)
def test_each_constructor_has_the_keys_of_its_arguments_and_makes_the_same_loop(tmp_path, name):
    table, make, by_hand = SAME[name]
    plant = make()
    policy = sc.load_problem(write(tmp_path / "p.toml", changes(table, plant))).policy
    same = sc.controlled(plant, by_hand(plant))
    theta, s = 0.1 * np.arange(policy.theta_dim), same.plant.x_eq + 0.01 * np.arange(same.plant.nx)
    assert policy(s, theta).tobytes() == same(s, theta).tobytes()
    assert policy.parameters(theta) == same.parameters(theta)
    assert policy.backup.P.tobytes() == same.backup.P.tobytes() and policy.backup.rho == same.backup.rho


def test_every_constructor_and_every_argument_is_a_key(tmp_path):
    assert {*CONSTRUCTORS} == {*controllers.__all__}
    assert {table["kind"] for table, *_ in SAME.values()} | {"linear_controller"} == {*CONSTRUCTORS}
    for kind, make in CONSTRUCTORS.items():
        path = write(tmp_path / "p.toml", changes({"kind": kind, "unknown": 1}, double()))
        with pytest.raises(ProblemFileError, match=r"\[policy\] unknown key 'unknown'; known: ") as caught:
            read_problem_file(path)
        known = set(str(caught.value).partition("known: ")[2].split(", "))
        keys = {*"ABCD", "name"} if kind == "linear_controller" else set()
        assert known - keys == {"kind", *list(inspect.signature(make).parameters)[1:]} - {"system"}


def test_linear_controllers_by_matrices_and_by_a_transfer_function(tmp_path):
    one_output = tmp_path / "plant.py"
    one_output.write_text(
        "from scpo_ctrl.models import make_plant\n"
        "def make_plant_():\n"
        "    plant = make_plant('double_integrator')\n"
        "    return plant.replace(y=plant.x[0])\n"
    )
    base = changes({}, double()) | {"plant": {"kind": "python", "file": "plant.py", "function": "make_plant_"}}
    lead = {"kind": "linear_controller", "memory": 5.0, "numerator": [8.0, -7.8], "denominator": [1.0, -0.2]}
    file = read_problem_file(write(tmp_path / "p.toml", {**base, "policy": lead}), trust=True)
    policy = file.problem.policy
    state = control.ss(control.tf([8.0, -7.8], [1.0, -0.2], 0.1))
    recorded = file.tables["policy"]
    for key in "ABCD":
        np.testing.assert_array_equal(recorded[key], getattr(state, key))
    assert "numerator" not in recorded and recorded["memory"] == [5.0]
    by_matrices = {"kind": "linear_controller", "memory": 5.0} | {key: recorded[key] for key in "ABCD"}
    again = read_problem_file(write(tmp_path / "q.toml", {**base, "policy": by_matrices}), trust=True)
    assert again.tables["policy"] == recorded
    theta, s = 0.1 * np.arange(policy.theta_dim), np.array([0.1, -0.2, 0.05])
    assert again.problem.policy(s, theta).tobytes() == policy(s, theta).tobytes()


def test_every_default_is_filled_in(tmp_path):
    file = read_problem_file(write(tmp_path / "p.toml", changes(PID, dc_motor())))
    filled = tomllib.loads(file.text())
    rho = file.problem.backup.rho
    assert "backup" not in filled
    assert filled["policy"] == PID | {
        "measurement": 0,
        "filtered": [-3.2, 3.2],
        "setpoint_weight": 1.0,
        "form": "parallel",
        "anti_windup": "back_calculation",
        "tracking_time": 10 * 1e-3,
        "reference": [0.0],
        "rho": rho,
    }
    lqg = read_problem_file(write(tmp_path / "q.toml", changes(SAME["lqg"][0], quadruple_tank()))).tables["policy"]
    assert "reference" not in lqg and np.shape(lqg["estimate"]) == (2, 4)


def test_the_level_and_the_reference_are_taken(tmp_path):
    full = sc.load_problem(write(tmp_path / "p.toml", changes(PID, dc_motor())))
    given = PID | {"rho": 0.5 * full.backup.rho, "reference": [1.0]}
    part = sc.load_problem(write(tmp_path / "q.toml", changes(given, dc_motor())))
    assert part.backup.rho == 0.5 * full.backup.rho
    assert part.plant.x_eq[0] == pytest.approx(1.0)
    np.testing.assert_allclose(full.plant.x_eq[0], 0.0, atol=1e-12)


def test_ranges_of_the_scenarios_are_those_of_the_loop(tmp_path):
    policy, _, make = SAME["gain_schedule"]
    base = changes(policy, double())
    narrow = sc.load_problem(write(tmp_path / "p.toml", base | {"scenarios.parameters": {"mass": [0.9, 1.1]}}))
    same = sc.controlled(double(), make(double()), parameters={"mass": [0.9, 1.1]})
    assert narrow.backup.rho == same.backup.rho and narrow.backup.evidence == "simulated"


def test_a_level_that_no_range_leaves_is_that_at_nominal_parameters(tmp_path):
    """The level set is where scenarios begin; metrics and audits are what keeps the loop safe on its ranges."""
    policy, _, make = SAME["gain_schedule"]
    base = changes(policy, double()) | {"scenarios.parameters": {"mass": [0.5, 2.0]}}
    wide = sc.load_problem(write(tmp_path / "p.toml", base))
    assert wide.backup.rho == sc.controlled(double(), make(double())).backup.rho
    assert wide.backup.evidence == "refuted"
    assert sc.adapt(wide, sc.AdaptOptions(steps=1, audit=False), progress=False).is_safe()
    made = sc.controlled(double(), make(double()), parameters={"mass": [0.5, 2.0]}, rho=wide.backup.rho)
    assert made.backup.rho == wide.backup.rho  # as a RUN has it


def test_disturbances_of_the_plant_disturb_no_memory(tmp_path):
    base = changes(PI, double()) | {"scenarios.disturbance": [1e-3, 2e-3]}
    file = read_problem_file(write(tmp_path / "p.toml", base))
    assert file.tables["scenarios"]["disturbance"] == [1e-3, 2e-3, 0.0, 0.0]
    assert not file.problem.scenarios.w[:, :, 2:].any() and file.problem.scenarios.w[:, :, :2].any()


def test_the_objective_weighs_the_plant_or_the_whole_loop(tmp_path):
    plain = read_problem_file(write(tmp_path / "p.toml", changes(PI, double())))
    whole = changes(PI, double()) | {"objective": {"kind": "quadratic", "Q": [1.0, 1.0, 0.0, 0.0], "R": [0.1, 0, 0]}}
    same = read_problem_file(write(tmp_path / "q.toml", whole))
    assert plain.tables["objective"]["Q"] == [1.0, 1.0]
    theta = 0.01 * np.arange(3)
    assert plain.problem.objective(theta) == same.problem.objective(theta)
    with pytest.raises(DimensionError, match=r"\[objective\] Q has shape \(3,\), expected \(2,\)"):
        read_problem_file(
            write(
                tmp_path / "r.toml",
                changes(PI, double()) | {"objective": {"kind": "quadratic", "Q": [1.0] * 3, "R": [0.1]}},
            )
        )


WRONG = {
    "a backup beside it": ({"backup": {"kind": "lqr", "Q": [1.0, 1.0], "R": [1.0]}}, ProblemFileError,
                           r"\[backup\] the controller as it runs today is the backup; leave the section out"),
    "unknown kind": ({"policy.kind": "PID"}, ProblemFileError,
                     r"\[policy\] kind is 'PID', expected one of: linear, mlp, gain_schedule, .*, recorded"),
    "no kind": ({"policy.kind": REMOVE}, ProblemFileError, r"\[policy\] key 'kind' is missing"),
    "beyond doubles": ({"policy.kp": 1e308}, UnsafeStartError, "numbers beyond the range of a double"),
    "unknown key": ({"policy.gain": 1.0}, ProblemFileError, r"\[policy\] unknown key 'gain'; known: kind, kp, ki"),
    "missing": ({"policy.kp": REMOVE}, ProblemFileError, r"\[policy\] key 'kp' is missing"),
    "a text": ({"policy.kp": "1"}, ScpoError, r"\[policy\] kp is '1'"),
    "nan": ({"policy.kp": float("nan")}, ScpoError, r"\[policy\] kp is nan"),
    "no filter": ({"policy.filter_time": REMOVE}, ScpoError, "filter_time"),
    "filter without derivative": ({"policy.kd": REMOVE}, ScpoError, "filter_time is without effect here: .* with kd"),
    "time without effect": ({"policy.anti_windup": "none", "policy.tracking_time": 1.0}, ScpoError,
                            "tracking_time is without effect here"),
    "reference": ({"policy.reference": [0.0, 1.0]}, DimensionError, r"\[policy\] reference has shape \(2,\)"),
    "reference nan": ({"policy.reference": [float("nan")]}, ScpoError, r"reference\[0\] is nan"),
    "out of reach": ({"policy.reference": [7.0]}, UnsafeStartError, "comes to rest with position = 7"),
    "unstable": ({"policy.kd": -0.1}, UnsafeStartError, "is not stable at rest"),
    "level": ({"policy.rho": 1e9}, BackupError, "leaves the bounds"),
    "level, no number": ({"policy.rho": -1.0}, ScpoError, r"\[policy\] rho is -1"),
    "wrong structure": ({"policy.filtered": 3.0}, ScpoError, r"\[policy\] filtered"),
    "states": ({"scenarios": {"horizon": 8, "initial_states": [[0.1, 0.0]]}}, DimensionError,
               r"initial_states has shape \(1, 2\), expected \(any, 4\)"),
    "no policy": ({"policy": 3, "backup": REMOVE}, ProblemFileError, "section .backup. is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "error", "words"), WRONG.values(), ids=WRONG)
def test_wrong_sections_are_refused_with_their_place(tmp_path, change, error, words):
    base = tables(changes(PI, double()))
    path = write(tmp_path / "p.toml", {key: value for key, value in change.items() if value is not REMOVE
                                       or key.split(".")[-1] in base.get(key.split(".")[0], {})}, base)  # fmt: skip
    with pytest.raises(error, match=words) as caught:
        read_problem_file(path)
    assert str(path) in str(caught.value)


CODE = """
from pathlib import Path
import casadi as ca
from scpo_ctrl import Controller
from scpo_ctrl.controllers import pid

with (Path(__file__).parent / "times run").open("a") as file:
    file.write("x")


def make_controller(plant, kp=0.2):
    return pid(plant, kp, 0.01, 0.8, filter_time=0.1)


def alone():
    theta, y = ca.SX.sym("theta", 2), ca.SX.sym("y", 2)
    return Controller(name="mine", theta=theta, theta_initial=[0.1, 0.5], y=y, command=-ca.dot(theta, y))


def wrong():
    return 3


def too_many(plant, more):
    return 3
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "law.py").write_text(CODE)

    def path(**more):
        return write(tmp_path / "p.toml", changes({"kind": "python", "file": "law.py", **more}, double()))

    return path


def test_python_makes_the_controller_with_or_without_the_plant(mine):
    by_plant = read_problem_file(mine(), trust=True)
    same = sc.controlled(double(), controllers.pid(double(), 0.2, 0.01, 0.8, filter_time=0.1))
    assert by_plant.tables["policy"]["kind"] == "recorded" and by_plant.controller is not None
    s, theta = np.array([0.1, 0.0, 0.02, 0.1]), np.full(3, 0.1)
    assert by_plant.problem.policy(s, theta).tobytes() == same(s, theta).tobytes()
    assert list(sc.load_problem(mine(function="alone")).policy.parameters([0, 0])) == ["theta0", "theta1"]


def test_python_is_run_with_trust_alone(mine, tmp_path):
    with pytest.raises(ProblemFileError, match=r"\[policy\] kind is 'python', which runs .*law.py: .* its controller"):
        read_problem_file(mine())
    assert not (tmp_path / "times run").exists()
    for function, error, words in (
        ("wrong", ClassError, "wrong returned a int, expected a Controller of scpo_ctrl"),
        ("none", ProblemFileError, "has no function 'none'"),
        ("too_many", ProblemFileError, "raised TypeError: .*more"),
    ):
        with pytest.raises(error, match=words):
            read_problem_file(mine(function=function), trust=True)


def example():
    path = Path(__file__).parents[2] / "examples" / "controllers.py"
    spec = importlib.util.spec_from_file_location("controllers_example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SHIPPED = {"motor_pid": ("motor", dc_motor), "converter_pi": ("converter", buck_converter)}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_the_loops_of_the_example(name):
    loop, plant = SHIPPED[name]
    path = DATA / f"{name}.toml"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 40
    read, made = sc.load_problem(str(path)), example().LOOPS[loop]()
    assert read.plant.name.startswith(plant().name)
    theta = 0.05 * np.arange(read.theta_dim)
    assert read.metrics(theta).tobytes() == made.metrics(theta).tobytes()
    assert read.objective(theta) == made.objective(theta)


def test_signals_are_named_in_a_file_too(tmp_path):
    plant, numbered = double(), SAME["gain_schedule"][0]
    named = numbered | {"signal": plant.x_labels[numbered["signal"]]}
    file = read_problem_file(write(tmp_path / "p.toml", changes(named, plant)))
    again = tmp_path / "q.toml"
    again.write_text(file.text())
    assert read_problem_file(again).text() == file.text()
    other = sc.load_problem(write(tmp_path / "r.toml", changes(numbered, plant)))
    theta = other.theta_initial + 0.01
    assert np.array_equal(file.problem.metrics(theta), other.metrics(theta))
    with pytest.raises(DomainError, match=r"signal is 'speed', .*: 0 'position', 1 'velocity'"):
        read_problem_file(write(tmp_path / "s.toml", changes(named | {"signal": "speed"}, plant)))
