"""The seven jobs of docs/jobs.md: each runs as it stands, gets better, and stays safe; the script runs their C."""

import dataclasses
import functools
from types import SimpleNamespace

import jobs
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl.assurance import Fresh
from scpo_ctrl.report.response import responses

FOUND = {job.name: job for job in jobs.jobs()}
adapt = sc.adapt


def shortly(problem, options):
    """Adapt for a few steps, whatever the page says."""
    return adapt(problem, dataclasses.replace(options, steps=4, audit_rollouts=1000))


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(sc, "adapt", shortly)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Return what adapts a job, once."""

    @functools.cache
    def of(name):
        return jobs.adapted(FOUND[name], tmp_path_factory.mktemp("jobs"))

    return of


def test_there_are_seven_and_each_is_short():
    assert list(FOUND) == [
        "motor_servo", "pendulum_on_a_cart", "heater_with_dead_time", "buck_converter",
        "lq_control_with_integral_action", "an_observer", "a_pd_by_hand",
    ]  # fmt: skip
    for job in FOUND.values():
        assert len(job.text.splitlines()) <= (25 if job.language == "python" else 40)
    assert sum(job.language == "toml" for job in FOUND.values()) == 5


@pytest.mark.table(4)
@pytest.mark.parametrize("name", FOUND)
def test_a_job_gets_better_and_stays_safe(name, result):
    found = result(name)
    assert found.is_safe() and found.final_audit.passed
    fresh = [Fresh.drawn(found.problem, theta, 0, 1000, 7) for theta in (found.theta_initial, found.theta)]
    assert [end.violations for end in fresh] == [0, 0]
    assert fresh[1].objective < 0.98 * fresh[0].objective


@pytest.mark.parametrize("name", ["motor_servo", "buck_converter", "a_pd_by_hand"])
def test_references_are_followed_faster_within_their_limits(name, result):
    found = result(name)
    (answer,) = responses(found)
    (slow, _, _), (quick, beyond, _) = answer.info
    most = next(
        one.bound[0] for one in found.problem.scenario_metrics.options.constraints if "overshoot" in one.name[0]
    )
    assert quick < slow and beyond <= 101 * most  # the constraint is a little gentler than the number that is read off


def test_what_each_job_says_of_its_machine(result):
    X, U = result("buck_converter").problem.trajectories(result("buck_converter").theta)
    assert X[:, :, 0].max() <= 10 and X[:, 0, 1].max() < 1  # A; V
    X, U = result("heater_with_dead_time").problem.trajectories(result("heater_with_dead_time").theta)
    assert X[:, :, 0].max() <= 66 and X.shape[2] == 5  # degC; temperature, three powers on their way, the integral
    X, U = result("a_pd_by_hand").problem.trajectories(result("a_pd_by_hand").theta)
    assert (U[:, :, 0] * X[:, :-1, 1]).max() <= 30 and X.shape[2] == 3  # W; no integral
    X, U = result("pendulum_on_a_cart").problem.trajectories(result("pendulum_on_a_cart").theta)
    assert np.abs(X[:, :, 0] + np.sin(X[:, :, 2])).max() <= 0.6  # m
    X, U = result("an_observer").problem.trajectories(result("an_observer").theta)
    assert np.abs(X[:, :, 1]).max() <= 100 and X.shape[2] == 4  # rad/s; both states and their estimates


def test_another_cost_for_a_reference_that_varies_is_told_what_to_take(tmp_path):
    text = FOUND["motor_servo"].text.replace('"tracking"', '"quadratic"').replace("Q = [1.0]", "Q = [1.0, 0.0]")
    (tmp_path / "servo.toml").write_text(text, encoding="utf-8")
    with pytest.raises(sc.errors.ScpoError, match='kind = "tracking" in a problem file'):
        sc.load_problem(tmp_path / "servo.toml")


def verified(command, folder):
    """Do in this process, where audits are short, what the script starts a process for."""
    assert command == "verify"
    found = sc.verify(folder)
    return SimpleNamespace(communicate=lambda: ("; ".join(found.faults), None), returncode=int(not found.passed))


def test_the_script_verifies_exports_and_prints(tmp_path, monkeypatch, capsys, result):
    found = result("a_pd_by_hand")
    monkeypatch.setattr(jobs, "started", verified)
    monkeypatch.setattr(jobs, "adapted", lambda job, folder: found)
    monkeypatch.setattr(jobs, "missing", lambda: ("qemu-system-arm",))
    monkeypatch.setattr(jobs, "run", functools.partial(jobs.run, fresh=500))
    jobs.main(["--only", "a_pd_by_hand", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "qemu-system-arm not found" in printed
    assert "a_pd_by_hand: verified; scpo, float: 200 control vectors" in printed
    line = next(line for line in printed.splitlines() if line.startswith("a_pd_by_hand  "))
    assert "0 of 500" in line and "kp 400 -> " in line and "kd 30 -> " in line
    np.testing.assert_array_equal(sc.load_result(tmp_path / "a_pd_by_hand" / "run").theta_initial, 0)


@pytest.mark.long
def test_a_run_that_does_not_verify_ends_the_script(tmp_path, monkeypatch, result):
    found = result("a_pd_by_hand")
    monkeypatch.setattr(jobs, "adapted", lambda job, folder: found)
    monkeypatch.setattr(jobs, "missing", lambda: ("qemu-system-arm",))
    started = jobs.started  # a process

    def tampered(command, folder):
        np.save(folder / "theta.npy", np.load(folder / "theta.npy") + 1e-3)
        return started(command, folder)

    monkeypatch.setattr(jobs, "started", tampered)
    with pytest.raises(RuntimeError, match=r"(?s)does not verify: .*theta.npy is not the last"):
        jobs.run(FOUND["a_pd_by_hand"], tmp_path, fresh=200)
