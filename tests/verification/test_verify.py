"""Verification of a RUN folder: it passes on what `adapt` wrote, and on nothing that was changed afterwards."""

from __future__ import annotations

import ast
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from problem_files import KINDS
from run_folders import edit_summary, faults, rewrite

import scpo_ctrl
from scpo_ctrl import verify as verify_function
from scpo_ctrl.errors import RecordError
from scpo_ctrl.record.files import load_arrays, load_result, read_problem
from scpo_ctrl.verification import stability
from scpo_ctrl.verification.loop import ClosedLoop
from scpo_ctrl.verification.one_step import cloud_loop
from scpo_ctrl.verification.verify import law_of

MODULE = Path(scpo_ctrl.__file__).with_name("verification") / "verify.py"


@pytest.mark.parametrize("kind", KINDS)
def test_passes_on_what_adapt_wrote(runs, kind):
    found = verify_function(runs[kind])
    result = load_result(runs[kind])
    assert found.faults == ()
    assert found.passed
    assert found.policies == len(result.committed) > 2
    assert found.scenarios == result.problem.scenarios.count
    assert found.metrics == result.problem.varies.size
    assert found.violations == 0
    assert found.worst_margin == pytest.approx(result.worst_margin(), abs=1e-11)


def test_what_is_kept_of_policies_at_rest_has_a_limit_and_changes_nothing(runs, monkeypatch):
    run = runs["expressions, audited"]
    found = verify_function(run)
    monkeypatch.setattr(stability, "_KEPT", 0)
    assert verify_function(run) == found


@pytest.mark.parametrize("kind", KINDS)
def test_recomputes_metrics_and_objective_independently(runs, kind):
    problem = load_result(runs[kind]).problem
    text, csv_data = read_problem(runs[kind])
    tables = tomllib.loads(text)
    law, arrays = law_of(tables, runs[kind]), load_arrays(runs[kind])
    loop, cloud = ClosedLoop(law, tables, arrays), cloud_loop(law, tables, arrays)
    rng = np.random.default_rng(0)
    spread = np.geomspace(0.01, 30.0, 20)[:, None]  # from hardly changed to unsafe
    thetas = problem.theta_initial + spread * rng.normal(size=(20, problem.theta_dim))
    margins, costs = loop.margins(thetas)
    if cloud is not None:
        margins = margins.and_of(cloud.margins(thetas)[0])
    if csv_data:
        costs = loop.imitation_errors(thetas, csv_data)
    expected = -problem.metrics(thetas).max(axis=1)
    assert (expected < 0).any() or not problem.scenario_metrics.options.command
    np.testing.assert_allclose(margins.exact, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(costs, problem.objective(thetas), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(loop.rho, problem.backup.rho, rtol=1e-9)
    np.testing.assert_allclose(law.K, problem.backup.K, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("change", [1e-12, 0.5, np.nan, np.inf, 1e300])
@pytest.mark.parametrize("which", [0, -1])
def test_a_committed_policy_changed(copy_of, change, which):
    run = copy_of()
    theta, committed = load_arrays(run)["theta"].copy(), np.flatnonzero(load_arrays(run)["committed"])
    theta[committed[which], 0] += change
    rewrite(run, theta=theta)
    assert "the digest differs" in faults(run)


def test_every_array_of_the_history_is_guarded(copy_of):
    run = copy_of("parameters, disturbance")
    whole = load_arrays(run)
    for name, array in whole.items():
        if array.size == 0 or name in ("digest", "format"):  # of another format nothing is read
            continue
        changed = array.copy()
        if array.dtype.kind in "iuf":
            changed.flat[0] = array.flat[0] + 1
        elif array.dtype.kind == "b":
            changed.flat[0] = not array.flat[0]
        else:
            changed.flat[0] = "CONVERGED" if array.flat[0] != "CONVERGED" else "FINISHED"
        np.savez(run / "history.npz", **(whole | {name: changed}))
        with np.errstate(all="ignore"):
            assert "the digest differs" in faults(run), name


def test_an_unsafe_policy_with_a_digest_made_anew(copy_of):
    run = copy_of()
    theta, committed = load_arrays(run)["theta"].copy(), np.flatnonzero(load_arrays(run)["committed"])
    theta[committed[1], -1] += 50.0
    rewrite(run, sign=True, theta=theta)
    found = verify_function(run)
    assert found.violations == 1
    assert found.worst_margin < 0
    assert "committed policy 2 is unsafe" in "; ".join(found.faults)
    assert "digest" not in "; ".join(found.faults)


def test_an_unsafe_policy_with_everything_made_to_fit_but_its_safety(copy_of):
    run = copy_of()
    result = load_result(run)
    arrays = load_arrays(run)
    last = np.flatnonzero(arrays["committed"])[-1]
    theta, delta = arrays["theta"].copy(), arrays["delta_norm"].copy()
    before = theta[np.flatnonzero(arrays["committed"])[-2]]
    theta[last, -1] += 50.0
    delta[last] = np.linalg.norm(theta[last] - before)
    objective = arrays["objective"].copy()
    objective[last] = result.problem.objective(theta[last])
    rewrite(run, sign=True, theta=theta, delta_norm=delta, state_theta=theta[last], objective=objective)
    np.save(run / "theta.npy", theta[last])
    edit_summary(run, objective_final=float(objective[last]))
    assert "is unsafe: its margin is -" in faults(run)


def test_an_unsafe_policy_flagged_as_committed(copy_of):
    run = copy_of()
    arrays = load_arrays(run)
    committed, verdict, theta = (arrays[name].copy() for name in ("committed", "verdict", "theta"))
    row = np.flatnonzero(committed)[1]
    committed[row] = False
    rewrite(run, sign=True, committed=committed)
    assert "whose verdict says so" in faults(run)
    verdict[row] = 1
    rewrite(run, sign=True, committed=committed, verdict=verdict)
    assert f"row {row + 1} of history.npz is not a step" in faults(run)
    assert "accepted" in faults(run)
    assert theta.shape == load_arrays(run)["theta"].shape


def test_a_row_removed(copy_of):
    run = copy_of()
    arrays = load_arrays(run)
    rows = len(arrays["committed"])
    row = np.flatnonzero(arrays["committed"])[1]
    shorter = {name: np.delete(a, row, axis=0) for name, a in arrays.items() if a.ndim and len(a) == rows}
    columns = {"theta", "committed", "objective", "margin"}
    assert columns <= set(shorter)
    rewrite(run, **{name: a for name, a in shorter.items() if not name.startswith(("state", "scenario"))})
    assert "the digest differs" in faults(run)
    rewrite(run, sign=True)
    assert "is not a step from the policy committed before it" in faults(run)


def test_recorded_numbers_are_recomputed(copy_of):
    run = copy_of("imitation")
    arrays = load_arrays(run)
    row = np.flatnonzero(arrays["committed"])[0]
    for name in ("margin", "objective"):
        changed = arrays[name].copy()
        changed[row] *= 0.999
        rewrite(run, sign=True, **{name: changed})
        assert f"committed policy 1 has {name}" in faults(run)
        rewrite(run, sign=True, **{name: arrays[name]})


def test_a_start_that_is_not_the_backup(copy_of):
    run = copy_of("linear policy, terminal")
    rewrite(run, sign=True, theta_initial=load_arrays(run)["theta_initial"] + 1e-9)
    assert "the initial parameters are not the backup" in faults(run)


@pytest.mark.parametrize("change", [1e-15, 1.0])
def test_final_parameters_swapped(copy_of, change):
    run = copy_of()
    theta = np.load(run / "theta.npy")
    theta[-1] += change if change == 1.0 else 2 * abs(np.spacing(theta[-1]))
    np.save(run / "theta.npy", theta)
    assert faults(run) == "theta.npy is not the last committed policy of history.npz"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", "converged"),
        ("steps", 4),
        ("accepted", 1),
        ("rejected", 99),
        ("violations", 1),
        ("worst_margin", 0.5),
        ("worst_margin", None),
        ("objective_initial", 99.0),
        ("objective_final", 0.0),
        ("theta_dim", 3),
        ("metrics", 1),
        ("rollouts", 1),
        ("stationarity", 1e-9),
        ("stationarity", None),
    ],
)
def test_a_summary_edited(copy_of, key, value):
    run = copy_of()
    edit_summary(run, **{key: value})
    assert f"result.json says {key} = {value!r}" in faults(run)


def test_a_summary_of_another_save(copy_of):
    run = copy_of()
    edit_summary(run, digest="0" * 64)
    assert "result.json is of another save" in faults(run)
    assert "--resume" in faults(run)


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("mlp", "velocity_max = 1.5", "velocity_max = 2.5"),
        ("mlp", "dt = 0.1", "dt = 0.05"),
        ("mlp", "path = true", "path = false"),
        ("mlp", "contraction = 0.95", "contraction = 0.99"),
        ("mlp", "horizon = 8", "horizon = 8.0"),
        ("mlp", "level = 0.8", "level = 1.0"),
        ("mlp", "radius = 1.0", "radius = 2.0"),
        ("parameters, disturbance", "0.9,", "0.8,"),
        ("initial states", "-2.0,", "-2.1,"),
        ("matrix weights", "5.0,", "6.0,"),
    ],
)
def test_a_problem_changed(copy_of, kind, old, new):
    run = copy_of(kind)
    text = (run / "problem.toml").read_text()
    assert old in text
    (run / "problem.toml").write_text(text.replace(old, new, 1))
    assert "the digest differs" in faults(run)


def test_a_finished_run_has_done_its_steps(copy_of):
    run = copy_of()
    text = (run / "problem.toml").read_text()
    (run / "problem.toml").write_text(text.replace("steps = 5", "steps = 50"))
    assert faults(run) == "the run is finished after 5 steps, yet problem.toml asks for 50"


def test_imitation_data_changed(copy_of):
    run = copy_of("imitation")
    text = (run / "imitation.csv").read_text()
    (run / "imitation.csv").write_text(text.replace("0.", "0.9", 1))
    assert "imitation.csv" in faults(run)
    with pytest.raises(RecordError, match="the digest differs"):
        load_result(run)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rho = ", "rho = 9", "leaves the bounds; the largest inside them is"),
        ("rho = ", "rho = -", "leaves the bounds"),
        ("rho = ", "# rho = ", "has no [backup] rho"),
    ],
)
def test_a_simulated_level_changed(copy_of, old, new, said):
    run = copy_of("nonlinear, parameters")
    text = (run / "problem.toml").read_text()
    assert text.count(old) == 1
    (run / "problem.toml").write_text(text.replace(old, new))
    rewrite(run, sign=True)
    assert said in faults(run)
    assert "digest" not in faults(run)


def test_a_level_moved_inside_the_bounds_leaves_scenarios_outside_it(copy_of):
    run = copy_of("nonlinear, parameters")
    rho = tomllib.loads((run / "problem.toml").read_text())["backup"]["rho"]
    text = (run / "problem.toml").read_text().replace(f"rho = {rho!r}", f"rho = {0.01 * rho!r}")
    (run / "problem.toml").write_text(text)
    rewrite(run, sign=True)
    assert "initial states are not those of problem.toml, drawn from seed 0" in faults(run)


def test_a_disturbance_that_varies_more_than_its_fixed_part_leaves(copy_of):
    run = copy_of("disturbance in part fixed")
    changed = load_arrays(run)["scenario_w"].copy()
    changed[0, 0, 0], changed[0, 1, 0] = -0.001, 0.001  # within the half width, but a swing of all of it
    rewrite(run, sign=True, scenario_w=changed)
    assert "disturbances are not those of problem.toml" in faults(run)


@pytest.mark.parametrize(
    ("kind", "name", "change", "said"),
    [
        ("mlp", "scenario_x0", np.array([0.0, 3.0]), "drawn from seed 0 and level 0.8"),
        ("initial states", "scenario_x0", np.array([1e-12, 0.0]), "initial states are not those of problem.toml"),
        ("parameters, disturbance", "scenario_p", np.array([0.5]), "plant parameters mass are not those"),
        ("mlp", "scenario_p", np.array([1e-9]), "plant parameters mass are not those"),
        ("parameters, disturbance", "scenario_w", np.array([0.01, 0.0]), "disturbances are not those"),
        ("parameters, disturbance", "scenario_w", np.array([np.nan, 0.0]), "disturbances are not those"),
        ("mlp", "scenario_x0", np.array([-1e-6, 0.0]), "drawn from seed 0 and level 0.8"),
    ],
)
def test_a_scenario_moved(copy_of, kind, name, change, said):
    run = copy_of(kind)
    changed = load_arrays(run)[name].copy()
    changed[..., : len(change)] += change
    rewrite(run, sign=True, **{name: changed})
    assert said in faults(run)


def test_command_line(copy_of, run):
    folder = copy_of()
    outcome = run("verify", folder)
    assert (outcome.status, outcome.err) == (0, "")
    assert "passed" in outcome.out
    outcome = run("verify", folder, "--json")
    assert (outcome.status, outcome.err) == (0, "")
    assert json.loads(outcome.out)["passed"] is True

    theta = load_arrays(folder)["theta"].copy()
    theta[np.flatnonzero(load_arrays(folder)["committed"])[0], -1] = 1e300
    rewrite(folder, theta=theta)
    outcome = run("verify", folder, "--json")
    assert outcome.status == 1
    shown = json.loads(outcome.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert shown["passed"] is False
    assert shown["violations"] == 1
    assert outcome.err.count("\n") == 1
    outcome = run("verify", folder)
    assert outcome.status == 1
    assert "FAILED" in outcome.out
    assert outcome.err.count("\n") == 1
    assert "the digest differs" in outcome.err


OWN = ("loop", "redraw", "history", "binding", "law", "residual", "controlled", "stability")  # what is computed anew
SHARED = {"errors", "models", "verification"}
CONTROLLER = "scpo_ctrl.loop.controller"  # its expressions are shared as the plant model's are: data, no loop


def test_shares_only_plant_model_and_controller_with_the_loop():
    for path in MODULE.parent.glob("*.py"):
        found = {
            node.module.split(".")[1]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("scpo_ctrl.")
            and node.module != CONTROLLER
        }
        assert found <= SHARED or path.stem not in OWN, path
        assert not found & {"loop", "engine", "projection"}, path
