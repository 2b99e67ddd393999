"""Runs of loops under controllers, forged by somebody who makes all digests anew; and their laws written again."""

from __future__ import annotations

import hashlib
import json
import tomllib

import casadi as ca
import numpy as np
import pytest
import scipy.linalg
import tomli_w
from problem_files import CONTROLLERS
from run_folders import edit_summary, faults, make_run, rewrite

import scpo_ctrl as sc
from scpo_ctrl.errors import ScpoError
from scpo_ctrl.record.files import load_arrays, read_problem
from scpo_ctrl.report.page import render_report
from scpo_ctrl.verification.verify import law_of, verify

CODE = """
from scpo_ctrl.controllers import pid


def make_controller(plant):
    return pid(plant, 0.3, 0.01, 0.8, filter_time=0.1)
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run whose controller was made in Python, and stands in controller.json."""
    folder = tmp_path_factory.mktemp("python") / "one"
    folder.mkdir()
    (folder / "law.py").write_text(CODE)
    changes = CONTROLLERS["pid, audited"] | {"policy": {"kind": "python", "file": "law.py"}}
    return make_run(folder, changes, trust=True)


@pytest.fixture
def forged(recorded, tmp_path):
    """Copy it, and change problem.toml or controller.json as somebody would who knows how the digests are made."""

    def forge(edit=None, law=None):
        run = tmp_path / "run"
        run.mkdir()
        for file in recorded.iterdir():
            (run / file.name).write_bytes(file.read_bytes())
        tables = tomllib.loads((run / "problem.toml").read_text())
        if law is not None:
            data = json.loads((run / "controller.json").read_text())
            law(data)
            content = (json.dumps(data) + "\n").encode()
            (run / "controller.json").write_bytes(content)
            tables["policy"]["sha256"] = hashlib.sha256(content).hexdigest()
        if edit is not None:
            edit(tables)
        (run / "problem.toml").write_text(tomli_w.dumps(tables))
        rewrite(run, sign=True)
        return run

    return forge


def test_the_record_itself_passes(recorded, forged):
    assert verify(recorded).faults == ()
    assert verify(forged(edit=lambda tables: None, law=lambda data: None)).faults == ()


def test_the_python_of_the_problem_file_is_compared(recorded):
    problem = recorded.parent / "problem.toml"
    assert verify(recorded, problem=problem, trust=True).faults == ()
    with pytest.raises(ScpoError, match=r"\[policy\] kind is 'python', which runs"):
        verify(recorded, problem=problem)
    (recorded.parent / "law.py").write_text(CODE.replace("0.3,", "0.31,"))
    said = "; ".join(verify(recorded, problem=problem, trust=True).faults)
    (recorded.parent / "law.py").write_text(CODE)
    assert "the run is of another problem: [policy] sha256 is" in said


def set_in(place, key, value):
    place[key] = value


LAWS = {
    "a gain": (lambda d: set_in(d["theta"]["initial"], 0, 0.31), "recorded|level|margin|objective"),
    "slightly": (lambda d: set_in(d["theta"]["initial"], 0, 0.3 * (1 + 1e-6)), "recorded|level|margin|objective"),
    "a label": (lambda d: set_in(d["theta"]["labels"], 0, "kq"), r"result.json says parameters\[0\]"),
    "a unit": (lambda d: set_in(d["theta"]["units"], 2, "kg"), r"result.json says parameters\[2\]"),
    "bounds of memory": (lambda d: set_in(d["xi"]["max"], 0, 0.2), "level|margin|recorded"),
    "memory at rest": (lambda d: set_in(d["xi"], "max", [1e-12, 5.0]), "level|margin|recorded|comes to rest"),
    "a constant": (
        lambda d: set_in(next(o for o in d["operations"] if o[0] == "constant"), 1, 0.123),
        "recorded|level|margin|objective|rest|stable",
    ),
    "an operation": (
        lambda d: set_in(next(o for o in d["operations"] if o[0] == "sub"), 0, "add"),
        "recorded|level|margin|objective|rest|stable",
    ),
}


@pytest.mark.parametrize(("law", "words"), LAWS.values(), ids=LAWS)
def test_a_controller_changed_while_the_results_say_otherwise(forged, law, words):
    run = forged(law=law)
    try:
        said = faults(run)
    except ScpoError as error:
        said = str(error)
    assert any(word in said for word in words.replace("\\", "").split("|")), said


def test_a_controller_changed_alone(forged):
    run = forged()
    (run / "controller.json").write_text((run / "controller.json").read_text().replace('"kp"', '"kq"'))
    with pytest.raises(ScpoError, match=r"controller.json: was changed: its SHA-256 is .*, that of \[policy\]"):
        verify(run)
    (run / "controller.json").unlink()
    with pytest.raises(ScpoError, match=r"controller.json: cannot be read"):
        verify(run)


SECTIONS = {
    "a smaller level": (lambda t: set_in(t["policy"], "rho", 0.9 * t["policy"]["rho"]), "initial states"),
    "a larger level": (lambda t: set_in(t["policy"], "rho", 1.1 * t["policy"]["rho"]), "leaves the bounds"),
    "no level": (lambda t: t["policy"].pop("rho"), "problem.toml has no [policy] rho"),
    "another reference": (lambda t: set_in(t["policy"], "reference", [0.1]), "recorded"),
    "two references": (lambda t: set_in(t["policy"], "reference", [0.0, 0.0]), "reference"),
    "a backup": (lambda t: set_in(t, "backup", {"kind": "lqr", "Q": [1.0], "R": [1.0]}), "leave the section out"),
    "a residual": (lambda t: set_in(t, "policy", {"kind": "linear"}), "no section [backup]"),
    "weights": (lambda t: set_in(t["objective"], "Q", [2.0, 0.1]), "objective"),
}


@pytest.mark.parametrize(("edit", "words"), SECTIONS.values(), ids=SECTIONS)
def test_a_problem_changed_while_the_results_say_otherwise(forged, edit, words):
    run = forged(edit=edit)
    try:
        said = faults(run)
    except ScpoError as error:
        said = str(error)
    assert words in said


def test_parameters_of_the_result_are_those_of_theta(forged):
    run = forged()
    rows = json.loads((run / "result.json").read_text())["parameters"]
    whole = json.dumps(rows)
    for key, value in (("after", rows[0]["after"] * (1 + 1e-6)), ("before", 0.3 + 1e-8), ("label", "ki"), ("unit", "")):
        edit_summary(run, parameters=[rows[0] | {key: value}, *rows[1:]])
        assert "result.json says parameters[0] = " in faults(run) and "np." not in faults(run), key
    for wrong in (rows[:2], None, {}, [*rows, rows[0]], [1, 2, 3], [rows[0] | {"more": 1}, *rows[1:]]):
        edit_summary(run, parameters=wrong)
        assert "result.json says parameters" in faults(run)
    edit_summary(run, parameters=[rows[0] | {"after": True}, *rows[1:]])
    assert "parameters[0]" in faults(run)
    edit_summary(run, parameters=json.loads(whole))
    assert verify(run).faults == ()


def test_a_residual_has_no_parameters_with_names(copy_of):
    run = copy_of("mlp")
    assert "parameters" not in json.loads((run / "result.json").read_text())
    edit_summary(run, parameters=[])
    assert "result.json says parameters = [], which no save writes" in faults(run)


@pytest.mark.parametrize("which", ["theta_initial", "state_theta"])
def test_theta_changed(forged, which):
    run = forged()
    theta = load_arrays(run)[which] + 1e-6
    rewrite(run, sign=True, **{which: theta})
    assert faults(run)


def test_gains_in_the_report(forged):
    run = forged()
    (run / "report.html").write_text(render_report(sc.load_result(run), pictures=False), encoding="utf-8")
    assert verify(run).faults == ()
    page = (run / "report.html").read_text(encoding="utf-8")
    own = sc.load_result(run).problem.policy.parameters(sc.load_result(run).theta)["kp"]
    assert page.count(repr(own)) == 2  # value and title
    (run / "report.html").write_text(page.replace(repr(own), repr(own * 1.01)), encoding="utf-8")
    assert "report.html says" in faults(run)
    (run / "report.html").write_text(page.replace("V/m", "V/mm").replace(">kp<", ">kq<"), encoding="utf-8")
    assert "report.html says" in faults(run)


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_the_law_written_again_is_that_of_the_loop(runs, kind):
    policy = sc.load_result(runs[kind]).problem.policy
    law = law_of(tomllib.loads(read_problem(runs[kind])[0]), runs[kind])
    plant, rng = policy.plant, np.random.default_rng(4)
    np.testing.assert_allclose(law.plant.x_eq, plant.x_eq, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(law.plant.u_eq, plant.u_eq, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(law.K, policy.backup.K, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(law.P, policy.backup.P, rtol=1e-8, atol=1e-8 * np.abs(policy.backup.P).min())
    np.testing.assert_allclose(law._scale, policy.scale, rtol=1e-8)
    thetas = 0.5 * rng.normal(size=(3, policy.theta_dim))
    half = 0.2 * policy.backup.extent
    z = rng.uniform(-half, half, (3, 6, plant.nx)) * 8  # far enough for saturation
    p = np.tile(plant.p_nominal, (6, 1))
    found = np.clip(law.command(thetas, z, p), plant.u_min, plant.u_max)
    expected = np.stack([policy(z[i] + plant.x_eq, theta) for i, theta in enumerate(thetas)])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    x, p = ca.SX.sym("x", plant.nx), ca.SX.sym("p", plant.npar)
    written = ca.Function("backup", [x, p], [law.backup(x, p)])
    for _ in range(20):  # of today, nothing cut
        at = (
            plant.x_eq + rng.uniform(-1, 1, plant.nx) * policy.backup.extent,
            plant.p_nominal + rng.normal(size=plant.npar),
        )
        np.testing.assert_allclose(np.array(written(*at)), np.array(policy.at_start(*at)), rtol=1e-9, atol=1e-9)
    A, B = law.plant.linearise()
    loop = A - B @ law.K
    Q = law.P - loop.T @ law.P @ loop  # of the Lyapunov equation, diagonal in units of the bounds
    P = scipy.linalg.solve_discrete_lyapunov(loop.T, np.diag(np.diag(Q)))
    np.testing.assert_allclose(law.P, P, rtol=1e-5, atol=1e-7 * np.abs(P).max())
