"""Verification of what a run says of its progress: status, stationarity, and an objective no worse than the start's."""

from __future__ import annotations

import numpy as np
import pytest
from run_folders import edit_summary, faults, rewrite

from scpo_ctrl import verify
from scpo_ctrl.adaptation.binding import binding_summary
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.record.files import load_arrays, load_result


@pytest.mark.parametrize("kind", ["mlp", "exact gradients in a subspace", "imitation"])
def test_a_status_and_a_stationarity_must_fit_each_other_and_the_rows(copy_of, kind):
    run = copy_of(kind)
    arrays = load_arrays(run)
    assert str(arrays["state_status"]) == "FINISHED"
    assert arrays["stationarity"][-1] == arrays["state_stationarity"] > 1e-6

    rewrite(run, sign=True, state_status=np.array("CONVERGED"))
    edit_summary(run, status="converged")
    assert "the run is converged, yet its stationarity is" in faults(run)

    rewrite(run, sign=True, state_status=np.array("CONVERGED"), state_stationarity=np.array(1e-9))
    edit_summary(run, status="converged", stationarity=1e-9)
    assert "the last stationarity is 1e-09, its row in history.npz says" in faults(run)

    changed = arrays["stationarity"].copy()
    changed[arrays["step"] == arrays["step"][-1]] = 1e-9
    rewrite(run, sign=True, stationarity=changed, state_status=np.array("FINISHED"))
    edit_summary(run, status="finished")
    assert "the run is finished, yet its stationarity is 1e-09, the tolerance 1e-06" in faults(run)

    rewrite(run, sign=True, stationarity=-changed, state_stationarity=-arrays["state_stationarity"])
    assert "is negative or not a number" in faults(run)

    original = {name: arrays[name] for name in ("stationarity", "state_stationarity")}
    rewrite(run, sign=True, **original, state_status=np.array("STALLED"))
    edit_summary(run, status="stalled", stationarity=float(arrays["state_stationarity"]))
    edit_summary(run, advice=RunStatus.STALLED.value)
    assert faults(run) == "the run is stalled, yet its last commits are more recent than patience allows"

    rewrite(run, sign=True, state_status=arrays["state_status"])
    edit_summary(run, status="finished", advice=RunStatus.FINISHED.value)
    assert verify(run).passed


def test_the_tries_of_a_step_start_from_the_same_parameters(copy_of):
    run = copy_of()
    arrays = load_arrays(run)
    steps, stationarity = arrays["step"].copy(), arrays["stationarity"].copy()
    steps[0] = steps[1] if len(steps) > 1 else 0
    assert steps[0] == steps[1]
    assert stationarity[0] != stationarity[1]
    rewrite(run, sign=True, step=steps)
    assert "the tries of one step in history.npz have different stationarities" in faults(run)


def test_a_commit_above_the_objective_of_the_safe_start(copy_of):
    """Everything fits, the numbers are those of the policies, and all are safe: a commit that no step would make."""
    run = copy_of("diagonal preconditioner")
    arrays, problem = load_arrays(run), load_result(run).problem
    rows = np.flatnonzero(arrays["committed"])
    worse = arrays["theta_initial"] - 0.05 * (arrays["theta"][rows[0]] - arrays["theta_initial"])
    theta = arrays["theta"].copy()
    theta[rows[0]] = worse
    start = np.vstack([arrays["theta_initial"], theta])
    delta = np.linalg.norm(theta - start[:-1], axis=1)
    assert rows.size == len(theta)
    objective, margin = arrays["objective"].copy(), arrays["margin"].copy()
    objective[rows[0]], margin[rows[0]] = problem.objective(worse), -problem.metrics(worse).max()
    assert objective[rows[0]] > arrays["objective_initial"]
    assert margin[rows[0]] > 0
    rewrite(run, sign=True, theta=theta, delta_norm=delta, objective=objective, margin=margin)
    edit_summary(run, worst_margin=float(min(arrays["margin_initial"], *margin)))
    assert faults(run).startswith("committed policy 1 has objective")
    assert "of the safe start: no step commits that" in faults(run)
    assert ";" not in faults(run)


def test_a_barrier_may_raise_the_objective_between_commits(copy_of):
    """Newton's merit falls, the objective need not: only the safe start bounds it."""
    run = copy_of("mlp")
    arrays = load_arrays(run)
    assert 'method = "newton"' in (run / "problem.toml").read_text()
    rows = np.flatnonzero(arrays["committed"])[-2:]
    for name in ("theta", "objective", "margin", "delta_norm"):
        arrays[name] = arrays[name].copy()
    last, before = rows[1], rows[0]
    origin = arrays["theta"][before]
    arrays["theta"][last] = origin + 0.1 * (arrays["theta_initial"] - origin)
    problem = load_result(run).problem
    final = arrays["theta"][last]
    arrays["objective"][last], arrays["margin"][last] = problem.objective(final), -problem.metrics(final).max()
    arrays["delta_norm"][last] = np.linalg.norm(final - origin)
    assert arrays["objective"][before] < arrays["objective"][last] < arrays["objective_initial"]
    rewrite(run, sign=True, **{name: arrays[name] for name in ("theta", "objective", "margin", "delta_norm")})
    rewrite(run, sign=True, state_theta=final, state_objective=arrays["objective"][last])
    np.save(run / "theta.npy", final)
    margins = np.append(arrays["margin_initial"], arrays["margin"][arrays["committed"]])
    account = binding_summary(problem, problem.metrics(problem.theta_initial), problem.metrics(final))
    edit_summary(run, objective_final=float(arrays["objective"][last]), worst_margin=float(margins.min()))
    edit_summary(run, binding=account, spectral_radius_final=problem.spectral_radius(final))
    assert verify(run).faults == ()
