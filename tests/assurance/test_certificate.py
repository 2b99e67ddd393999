"""certify: its ε on simulated cases, its stopping rule, its determinism, and its command."""

from __future__ import annotations

import json
import math

import click
import numpy as np
import pytest
from planted import interval_problem
from problems import double_integrator_problem
from run_folders import content, make_run

from scpo_ctrl import Policy, Quadratic, Scenarios, load_result, lqr, scenarios, verify
from scpo_ctrl.assurance import certificate, certify, fresh, tally, violation_bound
from scpo_ctrl.assurance.certificate import rollouts_needed
from scpo_ctrl.cli import cli
from scpo_ctrl.errors import DomainError
from scpo_ctrl.problem.control_problem import ControlProblem


def test_epsilon_holds_in_1000_cases_with_a_known_share():
    """A share of 1.2 ε passes in less than β of all cases; the exact bound covers the truth in all but β of them.

    A bound that overlooks a violation does not.
    """
    epsilon, beta, share = 0.02, 0.1, 0.024
    problem = interval_problem(share)
    found = [certify(problem, problem.theta_initial, epsilon=epsilon, beta=beta, seed=seed) for seed in range(1000)]
    n = rollouts_needed(epsilon, beta)
    assert np.mean([case.violations for case in found]) == pytest.approx(n * share, rel=0.08)
    three_sigma = 3 * math.sqrt(beta * (1 - beta) / 1000)
    assert np.mean([case.passed for case in found]) <= beta + three_sigma
    assert np.mean([case.bound < share for case in found]) <= beta + three_sigma
    assert np.mean([case.passed for case in found]) == pytest.approx((1 - share) ** n, abs=0.03)
    overlooked = [violation_bound(max(0, case.violations - 1), n, beta) for case in found]
    assert np.mean([bound < share for bound in overlooked]) > beta + three_sigma


@pytest.mark.parametrize("epsilon", [0.9, 0.5, 0.1, 1e-2, 1e-4])
@pytest.mark.parametrize("beta", [0.5, 1e-2, 1e-6, 1e-12])
def test_the_number_of_rollouts_is_the_least_that_proves_epsilon(epsilon, beta):
    n = rollouts_needed(epsilon, beta)
    assert violation_bound(0, n, beta) <= epsilon
    assert n == 1 or violation_bound(0, n - 1, beta) > epsilon
    assert n == 1 or violation_bound(1, n, beta) > epsilon  # so passed means no violation


def test_the_default_takes_138_149_rollouts():
    assert rollouts_needed(certificate.EPSILON, certificate.BETA) == 138_149


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": 1.0}, "epsilon"),
        ({"epsilon": math.nan}, "epsilon"),
        ({"beta": 0.0}, "beta"),
        ({"beta": 1.5}, "beta"),
        ({"epsilon": 1e-12}, "rollouts"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 53}, "seed"),
    ],
)
def test_what_means_nothing_is_refused(options, word):
    problem = interval_problem(0.0)
    with pytest.raises(DomainError, match=word):
        certify(problem, problem.theta_initial, **options)


def test_a_set_that_is_not_declared_is_refused():
    problem = double_integrator_problem()
    batch = problem.scenarios
    by_hand = problem.with_scenarios(Scenarios(batch.x0, batch.p, batch.w, batch.horizon), problem.theta_initial)
    with pytest.raises(DomainError, match="declared"):
        certify(by_hand, by_hand.theta_initial)


def test_the_same_seed_gives_the_same_bytes_whatever_the_chunks(monkeypatch):
    problem = double_integrator_problem()
    theta = problem.theta_initial + 0.2 * np.random.default_rng(0).normal(size=problem.theta_dim)
    one = certify(problem, theta, epsilon=0.003)
    assert one.violations > 0
    for chunk, at_once in ((1000, 64), (333, 10_000)):
        monkeypatch.setattr(tally, "_AT_ONCE", chunk)
        monkeypatch.setattr(fresh, "_AT_ONCE", at_once)
        assert certify(problem, theta, epsilon=0.003).text() == one.text()
    assert certify(problem, theta, epsilon=0.003, seed=one.seed + 1).closest != one.closest


def test_the_scenarios_are_none_of_an_audit_with_the_same_seed():
    problem = double_integrator_problem()
    declared = problem.scenarios.declared
    of_audit, of_certificate = (declared.random(0, 50, seed).x0 for seed in (5, certificate.STREAM + 5))
    assert not np.isin(of_audit, of_certificate).any()


def test_a_black_box_is_certified_with_the_same_numbers():
    model = interval_problem(0.05)
    black_box = interval_problem(0.05, simulator=lambda x, u, p: 0.5 * x + u)
    one, other = (certify(problem, problem.theta_initial, epsilon=0.01, seed=3) for problem in (model, black_box))
    assert (one.violations, one.violating) == (other.violations, other.violating)
    assert one.violations > 0
    assert other.problem_digest is None


def test_a_rollout_that_is_lost_is_a_violation():
    plant = interval_problem(0.0).plant
    backup = lqr(plant, [1.0], [1.0])
    batch = scenarios(plant, backup, horizon=2, count=4, box=[[-1.0], [1.0]])
    lost = ControlProblem(
        Policy(plant, backup),
        batch,
        Quadratic([1.0], [1.0]),
        simulator=lambda x, u, p: np.where(x > 0.5, np.nan, 0.5 * x),
    )
    found = certify(lost, lost.theta_initial, epsilon=0.05)
    assert not found.passed
    assert json.loads(found.text())["worst"] is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), {"adapt.steps": 0})


def test_the_command_writes_a_certificate_that_verifies(folder, run):
    done = run("certify", folder, "--kind", "scenario", "--epsilon", "0.01")
    stated = json.loads((folder / "certificate.json").read_text())
    assert done.status == 0
    assert stated["passed"] is True
    assert stated["kind"] == "scenario"
    assert stated["violations"] == 0
    assert "no violation in 1 375 fresh scenarios: at most 0.01 of them violate, at confidence 1 - 1e-06" in done.out
    assert verify(folder).passed
    result = load_result(folder)
    assert certify(result.problem, result.theta, epsilon=0.01).text() == (folder / "certificate.json").read_text()


def test_a_policy_that_violates_gets_exit_status_1(tmp_path, run):
    folder = make_run(tmp_path, {"adapt.steps": 5})
    done = run("certify", folder, "--kind", "scenario", "--epsilon", "0.01")
    assert done.status == 1
    assert json.loads((folder / "certificate.json").read_text())["passed"] is False
    assert verify(folder).passed  # the record is whole: it says that the policy did not pass


@pytest.mark.parametrize("options", [("--epsilon", "0"), ("--beta", "1"), ("--kind", "proof"), ("--seed", "-1")])
def test_wrong_options_end_with_status_2_and_write_nothing(folder, run, options):
    before = content(folder)
    assert run("certify", folder, *(() if "--kind" in options else ("--kind", "scenario")), *options).status == 2
    assert content(folder) == before


def test_another_save_removes_the_certificate(tmp_path, run):
    folder = make_run(tmp_path, {"adapt.steps": 1})
    run("certify", folder, "--kind", "scenario", "--epsilon", "0.1")
    assert (folder / "certificate.json").exists()
    assert run("adapt", tmp_path / "problem.toml", "--out", folder, "--resume", "--steps", "2").status == 0
    assert not (folder / "certificate.json").exists()


def test_the_commands_are_there():
    assert {"certify", "falsify"} <= set(cli.list_commands(click.Context(cli)))
