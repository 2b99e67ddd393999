"""The doors agree: a problem file takes what Python takes, and wrong input leaves with one line, without warnings."""

from __future__ import annotations

import tomllib
import warnings

import numpy as np
import pytest
from problem_files import LINEAR_PLANT, write

from scpo_ctrl import (
    AdaptOptions,
    Backup,
    ControlProblem,
    FunctionProblem,
    MetricOptions,
    Policy,
    UserObjective,
    adapt,
    codegen,
    load_problem,
    lqr,
    scenarios,
    verify,
)
from scpo_ctrl.adaptation.state import start
from scpo_ctrl.controllers import pid
from scpo_ctrl.errors import DimensionError, DomainError, ProblemFileError, ScpoError, UnsafeStartError
from scpo_ctrl.messages import shown
from scpo_ctrl.models import actuator_lag, cart_pole, dc_motor, double_integrator, linear
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.validate import as_array, as_count, as_path, as_scalar

INF = np.inf


def test_infinite_state_bounds_in_a_problem_file(tmp_path, run):
    plant = LINEAR_PLANT | {"x_min": [-INF, -1.5], "x_max": [INF, 1.5]}
    path = write(tmp_path / "problem.toml", {"plant": plant, "metrics.terminal": True, "adapt.steps": 2})
    folder = tmp_path / "run"
    assert run("adapt", path, "--out", folder, "--json").status == 0
    assert tomllib.loads((folder / "problem.toml").read_text())["plant"]["x_max"] == [INF, 1.5]
    assert run("verify", folder, "--json").status == 0
    assert run("report", folder, "--json", pictures=True).status == 0
    assert run("export", folder, "--out", tmp_path / "c", "--json").status == 0
    assert load_problem(path).plant.x_min[0] == -INF


def test_numbers_and_vectors_in_a_problem_file_are_written_out(tmp_path, run):
    changes = {
        "plant": LINEAR_PLANT | {"B": [0.005, 0.1], "u_min": -1, "u_max": [[1.0]]},
        "backup.R": 10.0,
        "backup.Q": [[0.1], [0.1]],
        "policy.hidden": 3,
        "objective.Q": [[1.0, 0.0], [0.0, 0.1]],
        "objective.R": 0.05,
    }
    short, long = write(tmp_path / "short.toml", changes), write(tmp_path / "long.toml", {"plant": LINEAR_PLANT})
    assert read_problem_file(short).text() == read_problem_file(long).text()
    assert run("adapt", short, "--out", tmp_path / "run", "--steps", "1", "--json").status == 0
    assert run("verify", tmp_path / "run", "--json").status == 0


@pytest.mark.parametrize("digits", [f"0x{'f' * 5000}", f"0b{'1' * 20000}", "9" * 400])
@pytest.mark.parametrize("key", ["steps", "seed", "patience", "tries", "directions", "count", "horizon", "dt"])
def test_huge_whole_numbers(tmp_path, run, key, digits):
    section = {"count": "scenarios", "horizon": "scenarios", "dt": "plant"}.get(key, "adapt")
    path = write(tmp_path / "problem.toml", {f"{section}.{key}": 123454321})
    path.write_text(path.read_text().replace("123454321", digits))
    outcome = run("adapt", path, "--out", tmp_path / "run")
    assert outcome.status == 2
    assert outcome.line.startswith(f"scpo-ctrl: {path}: [{section}] ")
    assert f" {key} " in outcome.line
    assert " digits" in outcome.line and len(outcome.line) < 500


@pytest.mark.parametrize("rho", [10**400, -(10**5000), INF, -INF, np.nan, True, "1", [1.0, 2.0], None], ids=type)
def test_levels_that_are_no_number(rho):
    with pytest.raises(DomainError, match=r"rho is .*, expected a finite number"):
        Backup([[1.0]], [[1.0]], rho)


def test_whole_numbers_have_a_largest(tmp_path):
    assert as_count("n", 2**63 - 1) == 2**63 - 1
    with pytest.raises(
        DomainError, match="n is 9223372036854775808, expected a whole number >= 0 and <= 9223372036854775807"
    ):
        as_count("n", 2**63)
    assert as_count("n", np.int8(3)) == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros(1000), "an array of shape (1000,)"),
        (np.float32(0.5), "0.5"),
        (object(), "a object"),
        ([object()], "[a object]"),
        (len, "the function len"),
        (int, "the class int"),
        ("x" * 100, "'" + "x" * 27),
    ],
)
def test_values_in_messages(value, text):
    assert shown(value).startswith(text)
    assert len(shown(value)) <= 60 and "\n" not in shown(value)


def test_whole_numbers_that_cannot_be_printed():
    assert shown(10**5000) == "a whole number of 5000 digits"
    assert shown([-(10**5000)]) == "[a whole number of 5000 digits]"


def test_lists_that_hold_themselves_or_are_deep():
    endless: list = []
    endless.append(endless)
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    for value in (endless, deep):
        with pytest.raises(DomainError, match=r"x is .*, expected"):
            as_array("x", value, (2,))
        with pytest.raises(DomainError, match=r"x is .*, expected a finite number"):
            as_scalar("x", value)
        with pytest.raises(DomainError, match=r"preconditioner is .*, expected an array"):
            AdaptOptions(preconditioner=value)
    with pytest.raises(DomainError, match=r"path is .*, expected the name"):
        as_path("path", "x" * 5000)


def test_a_fault_of_our_own_is_one_line_and_can_be_traced(tmp_path, run, monkeypatch):
    def fail(*_args, **_options):
        raise LookupError("lost\nand gone")

    path = write(tmp_path / "problem.toml")
    monkeypatch.setattr("scpo_ctrl.record.config.ControlProblem", fail)
    outcome = run("adapt", path, "--out", tmp_path / "run")
    assert outcome.status == 1
    assert "LookupError: lost and gone; this is a fault of scpo-ctrl, please report it" in outcome.line
    monkeypatch.setenv("SCPO_TRACEBACK", "1")
    monkeypatch.setattr("sys.argv", ["scpo-ctrl", "adapt", str(path), "--out", str(tmp_path / "run")])
    from scpo_ctrl.cli import main

    with pytest.raises(LookupError):
        main()


def test_warnings_of_libraries_are_not_shown(tmp_path, run, monkeypatch):
    def warn(*_args, **_options):
        warnings.warn("overflow encountered", RuntimeWarning, stacklevel=1)
        raise DomainError("wrong")

    monkeypatch.setattr("scpo_ctrl.record.config.ControlProblem", warn)
    shown_before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        outcome = run("adapt", write(tmp_path / "problem.toml"), "--out", tmp_path / "run")
    assert outcome.line.endswith(": wrong")
    assert warnings.showwarning is shown_before


def advice(problem: Problem) -> str:
    with pytest.raises(UnsafeStartError) as caught:
        start(problem, AdaptOptions(method="gradient"))
    return str(caught.value)


def changed(tmp_path, changes) -> ControlProblem:
    return load_problem(write(tmp_path / "p.toml", changes))


def test_advice_fits_the_metric_that_is_broken(tmp_path):
    contraction = advice(changed(tmp_path, {"metrics.contraction": 0.001}))
    assert "raise contraction, lengthen the horizon" in contraction
    assert "level" not in contraction.split(";")[1]  # V(x_N) / V(x_0) is the same at every level

    early = advice(changed(tmp_path, {"scenarios": {"horizon": 4, "initial_states": [[0.0, 0.5], [4.95, 0.4]]}}))
    assert "t = 4" in early and "horizon" not in early
    assert "move initial_states towards the equilibrium" in early

    disturbed = advice(changed(tmp_path, {"scenarios.disturbance": [1.5, 1.5]}))
    assert "make disturbance smaller" in disturbed and "horizon" not in disturbed
    hasty = advice(changed(tmp_path, {"backup.R": [1e-2], "scenarios": {"horizon": 4, "initial_states": [[4.0, 0.0]]}}))
    assert "let it saturate (command = false)" in hasty
    varied = advice(changed(tmp_path, {"scenarios.parameters": {"mass": [0.01, 0.02]}, "metrics.stability": False}))
    assert "narrow the ranges of the plant parameters" in varied


def test_advice_for_the_end_of_the_horizon(tmp_path):
    problem = changed(
        tmp_path,
        {"scenarios": {"horizon": 2, "initial_states": [[4.9, 0.0]]}, "metrics": {"path": False, "terminal": True}},
    )
    assert "lengthen the horizon" in advice(problem)
    saturated = changed(tmp_path, {"metrics": {"command": False, "contraction": 0.001}})
    assert "lower the level of the scenarios" in advice(saturated)  # where saturation acts, the level counts


def test_functions_of_the_user_get_no_advice_about_scenarios():
    problem = FunctionProblem(np.zeros(2), lambda thetas: thetas + 1, UserObjective(lambda theta: (0.0, theta)))
    assert "start from parameters at which every metric is at or below zero" in advice(problem)


def test_wrong_kinds_of_arguments_are_named():
    plant = cart_pole()
    for call, words in (
        (lambda: lqr("plant", [1.0], [1.0]), "plant is of class str, expected an object of class Plant"),
        (
            lambda: scenarios(plant, None, horizon=3, count=1),
            "backup is of class NoneType, expected an object of class Backup",
        ),
        (lambda: adapt(3), "problem is of class int, expected an object of class Problem"),
        (lambda: MetricOptions(path=1), "path is 1, expected true or false"),
        (lambda: linear(1, 1, 0.1, None), r"bounds is None, expected \(x_min, x_max, u_min, u_max\)"),
        (lambda: load_problem(3), "path is 3, expected the name of a file or a folder"),
    ):
        with pytest.raises(ScpoError, match=words):
            call()


class Unprintable:
    """What raises wherever it can."""

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")


@pytest.mark.parametrize("value", [[], {}, np.ones((2, 2)), Unprintable(), "x" * 10_000, "\n"], ids=type)
@pytest.mark.parametrize("key", ["target", "real", "prefix"])
def test_options_of_an_export_of_any_kind(key, value):
    options = {"target": "host", "real": "double", "prefix": "scpo"} | {key: value}
    for call in (codegen.check_options, lambda **given: codegen.export(None, "c", **given)):
        with pytest.raises(DomainError, match=f"^{key} ") as caught:
            call(**options)
        assert len(str(caught.value)) < 500


def test_names_are_short_enough_to_be_shown():
    plant = cart_pole()
    assert plant.replace(name="x" * 1000, source="x" * 10_000).name == "x" * 1000
    for changes in ({"name": "x" * 1001}, {"x_labels": ["x" * 1001, *"bcd"]}, {"u_units": ["x" * 1001]}):
        with pytest.raises(DomainError, match="has 1001 characters, more than 1000; shorten it"):
            plant.replace(**changes)


@pytest.mark.parametrize("text", ["a\nb", "a\r\x1b[2J", "a\u202eb", "\n\n"])
def test_messages_are_one_line_whatever_names_are_in_them(tmp_path, text):
    plant = cart_pole()
    calls = (
        lambda: load_problem(tmp_path / text),
        lambda: verify(tmp_path / text),
        lambda: plant.replace(x_labels=[text, *"bcd"], x_min=[-np.inf] * 4, x_eq=[100.0, 0, 0, 0]).linearise(),
        lambda: scenarios(plant, lqr(plant, [1.0] * 4, [1.0]), horizon=3, count=1, parameters={text: [1, 2]}),
        lambda: as_scalar("x", type(text, (), {})),
    )
    for call in calls:
        with pytest.raises(ScpoError) as caught:
            call()
        assert str(caught.value).isprintable()
    assert str(ProblemFileError(str(ProblemFileError(text)))) == str(ProblemFileError(text))


def test_lists_of_more_entries_than_a_plant_has_symbols():
    with pytest.raises(DimensionError, match="u has 10000000000 entries, more than 10000"):
        cart_pole().replace(u=np.broadcast_to(1.0, (10**5, 10**5)))


def test_arrays_that_would_be_lists_of_more_than_memory_holds(tmp_path):
    huge = np.broadcast_to(1, (10**5, 10**5))
    policy = load_problem(write(tmp_path / "problem.toml")).policy
    for call in (lambda: AdaptOptions(preconditioner=huge), lambda: Policy(policy.plant, policy.backup, huge)):
        with pytest.raises(DomainError, match=r"has shape \(100000, 100000\), more than \d+ entries"):
            call()
    with pytest.raises(DomainError, match=r"preconditioner has shape .*, more than 10000000 entries"):
        AdaptOptions(preconditioner=np.ones((4000, 4000)))


def test_matrices_whose_entries_no_unit_brings_together():
    A, B = [[1e150, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 0.85]], [[0.0, 0.1], [0.1, 0.0], [0.2, 0.05]]
    plant = linear(A, B, 0.1, ([-2.0] * 3, [2.0] * 3, [-1.0] * 2, [1.0] * 2))
    with pytest.raises(DomainError, match="A and B are so far apart"):
        lqr(plant, [0.1] * 3, [1.0] * 2)


@pytest.mark.parametrize("weight", [-1e300, -1e-300, 0.0])
def test_weights_that_are_not_positive(weight):
    with pytest.raises(DomainError, match=r"R is not positive definite|R\[0\] is .* > 0"):
        lqr(linear([[0.9]], [[1.0]], 0.1, ([-1], [1], [-1], [1])), [1.0], [[weight]])


@pytest.mark.parametrize("value", [None, [], "x", np.ones(2), Unprintable()], ids=type)
def test_scenarios_of_another_kind(tmp_path, value):
    problem = load_problem(write(tmp_path / "problem.toml"))
    with pytest.raises(ScpoError, match="scenarios is of class"):
        problem.with_scenarios(value, problem.theta_initial)


def test_what_a_monitor_raises_is_passed_on(tmp_path):
    def stop(_state):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        adapt(load_problem(write(tmp_path / "problem.toml")), AdaptOptions(steps=2), monitor=stop)


def test_what_the_fuzzer_of_calls_found():
    plant = dc_motor()
    with pytest.raises(ScpoError, match="kp is None"):
        pid(plant, None, 1.0, 0.1, filter_time=1e-3)
    backup = lqr(double_integrator(), [0.1, 0.1], [10.0])
    assert np.isnan(backup.level([0.1, np.inf], [0.0, np.inf]))
    at_once = actuator_lag(double_integrator(), 5e-324)
    np.testing.assert_allclose(np.array(at_once.function([0.0, 0.0, 0.0], [1.0], [1.0]))[:, 0], [0.005, 0.1, 1.0])
