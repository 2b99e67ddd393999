"""Bounds on the parameters of a controller: linear metrics that every committed policy keeps to the last bit."""

from __future__ import annotations

import dataclasses
import json
import re

import casadi as ca
import numpy as np
import pytest
from problem_files import CONTROLLERS
from run_folders import faults, make_run

import scpo_ctrl as sc
from scpo_ctrl.adaptation.region import sample_region
from scpo_ctrl.codegen import export
from scpo_ctrl.controllers import gain_schedule, linear_controller, lqg, lqi, pid, state_feedback
from scpo_ctrl.errors import BoundsError, DimensionError, DomainError, ProblemFileError, ScpoError
from scpo_ctrl.loop.plain import controller_from_plain, controller_to_plain
from scpo_ctrl.models import dc_motor, linear
from scpo_ctrl.problem.guarded import GuardedProblem
from scpo_ctrl.report.tables import gain_rows
from scpo_ctrl.report.wording import gains

BOUNDS = {"kp": (0.0, 5.0), "kd": (0.02, np.inf)}
WAYS = {
    "newton": {},
    "gauss_newton": {"method": "gauss_newton"},
    "sampled": {"method": "gradient", "smoothness": 50.0},
    "exact": {"method": "adam", "gradients": "exact", "smoothness": 50.0},
    "audited": {"audit": True, "audit_rollouts": 500},
}


def motor_problem(bounds=None, start=(1.0, 2.0, 0.02)) -> sc.ControlProblem:
    plant = dc_motor()
    policy = sc.controlled(plant, pid(plant, *start, filter_time=2e-3, bounds=bounds))
    batch = sc.scenarios(policy.plant, policy.backup, horizon=60, count=8, level=0.5)
    return sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 0.0], [1e-4]))


@pytest.mark.parametrize("way", WAYS)
def test_every_committed_policy_keeps_the_bounds_exactly(way):
    problem = motor_problem(BOUNDS)
    result = sc.adapt(problem, sc.AdaptOptions(**({"steps": 12, "audit": False} | WAYS[way])))
    own = [problem.policy.parameters(theta) for theta in result.committed]
    assert len(own) > 2 and result.is_safe() and own[0] == {"kp": 1.0, "ki": 2.0, "kd": 0.02}
    assert all(0.0 <= of["kp"] <= 5.0 and of["kd"] >= 0.02 for of in own)
    if "method" not in WAYS[way] or way == "gauss_newton":
        assert own[-1]["kp"] > 4.99, "without bounds it goes to 8: they are met"


def test_a_bound_far_away_changes_no_number_of_a_run():
    runs = [sc.adapt(motor_problem(b), sc.AdaptOptions(steps=4, audit=False, method="gradient", smoothness=30.0))
            for b in (None, {"kp": (-1e6, 1e6), "ki": (-np.inf, np.inf)})]  # fmt: skip
    np.testing.assert_array_equal(*(run.committed for run in runs))
    assert [run.problem.varies.size - runs[0].problem.varies.size for run in runs] == [0, 2]


def test_their_rows_have_exact_gradients_no_curvature_and_no_error():
    problem = motor_problem(BOUNDS)
    d, m = problem.theta_dim, problem.varies.size
    g = problem.evaluate(problem.theta_initial)[1]
    D = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0]
    options = sc.AdaptOptions(sampling_radius=0.3)
    region = sample_region(problem, problem.theta_initial, g, np.full(m, 7.0), D, 10.0, options)
    rows = region.linear
    cone = region.cone(np.ones(d), np.full(region.rows.size, 7.0))
    assert rows.sum() == 3 and (cone.L[rows] == 0).all() and (cone.e[rows] == 0).all()
    assert (cone.L[~rows] == 7).all() and (cone.e[~rows] > 0).all()
    np.testing.assert_array_equal(region.G[rows], [D[:, 0], -D[:, 0], -D[:, 2]])


def test_the_metrics_are_what_a_parameter_is_beyond_its_bound():
    problem = motor_problem(BOUNDS)
    thetas = np.random.default_rng(1).normal(size=(5, 3))
    found = problem.metrics(thetas)[:, -3:]
    for theta, row in zip(thetas, found, strict=True):
        own = problem.policy.parameters(theta)
        np.testing.assert_allclose(row, [own["kp"] - 5.0, -own["kp"], 0.02 - own["kd"]], rtol=1e-12)
    labels = [problem.metric_label(problem.varies.size - k) for k in (3, 2, 1)]
    assert labels == ["kp <= 5 V/rad", "kp >= 0 V/rad", "kd >= 0.02 V s/rad"]


def test_their_gradients_are_those_of_the_lagrangian():
    part, (weights, kappa) = motor_problem(BOUNDS).parts.parts[-1], np.random.default_rng(2).uniform(size=(2, 3))
    thetas, h = np.random.default_rng(1).normal(size=(2, 3)), 1e-5

    def lagrangian(at):
        g = part.metrics(at[None])[0]
        return weights @ g + kappa @ g**2 / 2

    slopes = [[(lagrangian(at + h * e) - lagrangian(at - h * e)) / (2 * h) for e in np.eye(3)] for at in thetas]
    np.testing.assert_allclose(part.gradients(thetas, weights, kappa), slopes, rtol=1e-7)


def test_guards_take_no_back_off_from_them():
    problem = motor_problem(BOUNDS)
    guarded = GuardedProblem(problem, problem.scenarios.part(slice(0, 2)), 0.05)
    size = problem.varies.size
    np.testing.assert_array_equal(guarded._back_off[size - 3 : size], 0.0)


def test_what_is_met_is_said():
    result = sc.adapt(motor_problem(BOUNDS), sc.AdaptOptions(steps=15, audit=False))
    kp, ki, kd = result.parameters()
    assert kp["bounds"] == [0.0, 5.0] and "bounds" not in ki and kd["bounds"] == [0.02, None]
    lines = gains(result)
    assert lines[0].endswith("V/rad, at its bound 5") and "bound" not in lines[1]
    assert [row["kept"] for row in gain_rows(result)][:2] == ["0 … 5, met", ""]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    changes = CONTROLLERS["pid, audited"]
    start = changes["policy"]["kp"]
    bounds = {"kp": [0.9 * start, 2 * start], "kd": [-np.inf, 3.0]}
    changes = changes | {"policy": changes["policy"] | {"bounds": bounds}}
    return make_run(tmp_path_factory.mktemp("bounds"), changes)


def test_a_run_folder_with_bounds_verifies_and_one_with_others_does_not(recorded, tmp_path, run):
    assert sc.verify(recorded).passed
    result = sc.load_result(recorded)
    assert result.problem.policy.controller.theta_max[2] == 3.0 and len(result.committed) > 1
    sc.save_result(result, tmp_path / "python")  # and as data, in controller.json
    assert sc.verify(tmp_path / "python").passed
    after = result.problem.policy.parameters(result.theta)["kp"]
    text = (recorded / "problem.toml").read_text()
    forged = tmp_path / "forged"
    forged.mkdir()
    for file in recorded.iterdir():
        (forged / file.name).write_bytes(file.read_bytes())
    start = result.problem.policy.controller.theta_initial[0]
    assert start < after <= 2 * start
    narrower = text.replace(repr(2 * float(start)), repr(float(start + after) / 2))
    assert narrower != text
    (forged / "problem.toml").write_text(narrower)
    assert "is unsafe" in faults(forged)
    summary = json.loads((recorded / "result.json").read_text())
    summary["parameters"][0]["bounds"] = None
    (recorded / "result.json").write_text(json.dumps(summary))
    assert "parameters[0]" in faults(recorded)


def test_there_and_back_as_data():
    plant = dc_motor()
    free, bounded = (pid(plant, 1.0, 2.0, bounds=b) for b in (None, {"ki": (-np.inf, 3.0)}))
    assert "min" not in controller_to_plain(free)["theta"], "files of controllers without bounds stay as they were"
    data = json.loads(json.dumps(controller_to_plain(bounded), allow_nan=False))
    back = controller_from_plain(data)
    np.testing.assert_array_equal(back.theta_max, [np.inf, 3.0])
    np.testing.assert_array_equal(back.theta_min, [-np.inf, -np.inf])
    for change in ({"max": [1.0]}, {"max": [5.0, "nan"]}, {"max": [0.5, 3.0]}, {"least": [0, 0]}, {"min": None}):
        with pytest.raises(ScpoError):
            controller_from_plain(data | {"theta": data["theta"] | change})
    del data["theta"]["min"]
    with pytest.raises(DomainError, match="expected a table of"):
        controller_from_plain(data)


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        ({"kq": (0, 1)}, DomainError, "unknown parameter 'kq'; known: kp, ki"),
        ({"kp": 3.0}, DimensionError, "bounds of kp"),
        ({"kp": (0, 1, 2)}, DimensionError, "bounds of kp"),
        ({"kp": (0, np.nan)}, DomainError, "bounds of kp"),
        ({"kp": (2.0, 3.0)}, BoundsError, "kp = 1 is outside its bounds"),
        ({"kp": (1.0, 1.0)}, BoundsError, "hold no interval"),
        ({"kp": (3.0, 0.0)}, BoundsError, "hold no interval"),
        ([("kp", 0, 1)], DomainError, "expected .low, high. by parameter"),
    ],
)
def test_bad_bounds(bounds, error, message):
    with pytest.raises(error, match=message):
        pid(dc_motor(), 1.0, 2.0, bounds=bounds)


def test_wrong_arrays_of_a_controller_of_ones_own():
    theta, y = ca.SX.sym("theta", 2), ca.SX.sym("y", 2)
    law = {"name": "own", "theta": theta, "theta_initial": [1, 2], "y": y, "command": -theta.T @ y}
    of = sc.Controller(**law, theta_max=[2, np.inf])
    np.testing.assert_array_equal(of.bounded, [True, False])
    for wrong in ({"theta_min": [0.0]}, {"theta_max": [np.nan, 3]}, {"theta_max": "5"}, {"theta_min": [1.5, 0]}):
        with pytest.raises(ScpoError, match=r"theta_m|bounds"):
            sc.Controller(**law, **wrong)


def test_every_constructor_takes_bounds():
    shown = linear([[1.0, 0.1], [0.0, 0.9]], [[0.0], [0.1]], 0.1, ([-2, -5], [2, 5], [-8], [8]))
    control = pytest.importorskip("control")
    made = [
        state_feedback(shown, [[3.0, 2.0]], bounds={"K00": (0, 4)}),
        lqi(shown, [1.0, 1.0, 1.0], [1.0], bounds={"Ki": (-5, 5)}),
        lqg(shown.replace(y=shown.x[0]), [1.0, 1.0], [1.0], [0.1, 0.1], [0.1], bounds={"L00": (0, 9)}),
        gain_schedule(shown, [-1, 1], [[[3, 2]], [[3, 2]]], signal=0, bounds={"K1_01": (0, 4)}),
        linear_controller(
            shown.replace(y=shown.x[0]), control.ss([[0.5]], [[1.0]], [[2.0]], [[1.0]], 0.1), memory=9.0,
            bounds={"C": (0, 3)},
        ),
    ]  # fmt: skip
    assert [int(of.bounded.sum()) for of in made] == [1] * 5


def test_bad_bounds_of_a_problem_file_are_one_line(tmp_path, run):
    for text, said in (("{ kq = [0.0, 1.0] }", "unknown parameter"), ("{ kp = [2.0, 3.0] }", "outside its bounds"),
                       ("3", "expected (low, high)"), ('{ kp = ["a", 3] }', "bounds of kp")):  # fmt: skip
        file = tmp_path / "p.toml"
        file.write_text(
            f'[plant]\nkind = "dc_motor"\n[policy]\nkind = "pid"\nkp = 1.0\nki = 2.0\nbounds = {text}\n'
            '[objective]\nkind = "quadratic"\nQ = [1, 0]\nR = [1]\n[scenarios]\nhorizon = 5\ncount = 2\n'
        )
        done = run("adapt", file, "--out", tmp_path / "run")
        assert done.status == 2 and said in done.err and len(done.err.splitlines()) == 1
        with pytest.raises((ProblemFileError, ScpoError)):
            sc.load_problem(file)


@pytest.mark.table(2)
@pytest.mark.parametrize("real", ["float", "double"])
def test_exported_parameters_keep_the_bounds_in_the_type_of_the_target(real, tmp_path):
    """The nearest float to 0.02 is below it, that to 5.1 below, and a run comes to 1e-12 of a bound."""
    result = sc.adapt(
        motor_problem({"kp": (0.0, 5.1), "kd": (0.02, np.inf), "ki": (0.7, 2.0)}),
        sc.AdaptOptions(steps=8, audit=False, method="gradient", smoothness=50.0),
    )
    of, policy = result.problem.policy.controller, result.problem.policy
    pushed = dataclasses.replace(result, theta=(np.array([5.1, 0.7, 0.02]) - of.theta_initial) / np.array(policy.scale))
    for one in (result, pushed):
        text = (export(one, tmp_path / f"{real}{one is pushed}", real=real).path / "src" / "scpo_data.c").read_text()
        for name in ("theta", "theta_backup"):
            (row,) = re.findall(rf"scpo_{name}\[SCPO_NTHETA\] = \{{(.*?)\}}", text, re.DOTALL)
            values = [float(v) for v in re.findall(r"-?\d[\d.eE+-]*", re.sub(r"/\*.*?\*/", "", row))]
            stored = np.array(values, dtype=np.float32 if real == "float" else float).astype(float)
            assert (stored >= of.theta_min).all() and (stored <= of.theta_max).all()
