"""What is rolled out on Dask's workers is what one process finds, to the last bit, whoever is killed meanwhile."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import tasks
from planted import interval_problem

from scpo_ctrl.assurance import audit, certificate, certify, falsify, tally
from scpo_ctrl.campaign import cluster
from scpo_ctrl.campaign.anywhere import on_schedulers
from scpo_ctrl.errors import ClusterError, DomainError, EvaluationError, WorkerError

distributed = pytest.importorskip("distributed")


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(certificate, "_PART", 100)
    monkeypatch.setattr(tally, "_LEAST", 20)


@pytest.mark.table(3)
@pytest.mark.parametrize(
    ("share", "budget"),
    [(-1e-6, 900), (0.01, 900), (-1e-6, 20_000)],  # batches and local search; found at once; strategies too
)
def test_an_attack_finds_the_same(client, share, budget):
    problem, places = interval_problem(share), {"workers": on_schedulers([client.scheduler.address])}
    places["problems"] = partial(tasks.intervals, share)
    one = falsify(problem, problem.theta_initial, budget=budget, seed=1)
    other = falsify(problem, problem.theta_initial, budget=budget, seed=1, **places)
    assert (one.rollouts, one.worst, one.row, one.means) == (other.rollouts, other.worst, other.row, other.means)
    assert one.found == (share > 0)
    assert all(np.array_equal(getattr(one.scenario, k), getattr(other.scenario, k)) for k in ("x0", "p", "w"))


def test_an_audit_finds_the_same(client):
    problem, places = interval_problem(0.01), {"workers": on_schedulers([client.scheduler.address])}
    one = audit(problem, problem.theta_initial, rollouts=5000, seed=3)
    places["problems"] = partial(tasks.intervals, 0.01)
    other = audit(problem, problem.theta_initial, rollouts=5000, seed=3, **places)
    assert (one.violations, one.worst, one.objective) == (other.violations, other.worst, other.objective)
    assert one.violations > 1 and np.array_equal(one.counterexamples.x0, other.counterexamples.x0)


def test_tasks_go_to_all_clusters_in_order_and_once(client):
    address = client.scheduler.address
    with on_schedulers([address] * 3)(tasks.twice) as do:  # three clients, as of three clusters
        found = list(do(range(2000)))
    assert found == [2 * k for k in range(2000)]


@pytest.mark.long
def test_a_task_that_kills_every_worker_is_given_up(client):
    spread = on_schedulers([client.scheduler.address])
    with spread(tasks.deadly) as do, pytest.raises(WorkerError, match="each worker that had it died"):
        list(do([0.5]))
    with spread(tasks.twice) as do:
        assert list(do([4])) == [8]


def test_a_scheduler_that_comes_back_is_given_what_it_has_forgotten(client, monkeypatch):
    address, lost = client.scheduler.address, []
    existing = cluster.existing

    @contextmanager
    def forgetful(address):
        with existing(address) as again:
            if not lost:
                submit = again.submit

                def once(*arguments, **options):
                    future = submit(*arguments, **options)
                    lost.append(future)
                    if len(lost) == 5:
                        again.cancel(lost)  # which is what a new scheduler knows of them
                    return future

                again.submit = once
            yield again

    monkeypatch.setattr(cluster, "existing", forgetful)
    with on_schedulers([address])(tasks.twice) as do:
        assert list(do(range(50))) == [2 * k for k in range(50)]
    assert len(lost) >= 5


def test_errors_are_those_of_the_task_and_other_problems_are_refused(client):
    spread = on_schedulers([client.scheduler.address])
    with spread(tasks.refusing) as do, pytest.raises(ClusterError, match="ValueError: no licence"):
        list(do([0]))
    with spread(tasks.lost_rollouts) as do, pytest.raises(EvaluationError, match="left the mesh"):
        list(do([0]))
    problem = interval_problem(0.01)
    with pytest.raises(WorkerError, match="rounds otherwise"):
        certify(problem, problem.theta_initial, epsilon=0.1, workers=spread, problems=partial(tasks.intervals, 0.02))
    with pytest.raises(WorkerError, match=r"cannot be sent.*a function of a module"), spread(lambda: None):
        pass
    with pytest.raises(DomainError, match="give problems"):
        certify(problem, problem.theta_initial, epsilon=0.1, workers=spread)


def test_a_scheduler_of_another_version_is_refused(client, monkeypatch):
    has = distributed.__version__
    monkeypatch.setattr(distributed, "__version__", "1900.1.0")
    with pytest.raises(ClusterError, match=rf"scheduler tcp:.* has distributed {has}, this machine 1900\.1\.0"):
        cluster.check_versions(client)


def test_the_commands_take_schedulers(tmp_path, client, run, monkeypatch):
    from run_folders import make_run

    folder, address = make_run(tmp_path, {"adapt.steps": 0}), client.scheduler.address
    options = ("certify", folder, "--kind", "scenario", "--epsilon", "0.05")
    here = run(*options)
    alone = (folder / "certificate.json").read_bytes()
    there = run(*options, "--scheduler", address, "--scheduler", address)
    assert (there.status, (folder / "certificate.json").read_bytes()) == (here.status, alone)
    one, other = (
        run("falsify", folder, "--budget", "3000", "--json", *more) for more in ((), ("--scheduler", address))
    )
    assert (one.status, one.out) == (other.status, other.out)
    assert run(*options, "--scheduler", address, "--workers", "2").status == 2
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    gone = run("falsify", folder, "--scheduler", "tcp://127.0.0.1:9")
    assert gone.status == 2 and "tcp://127.0.0.1:9: no Dask scheduler answers" in gone.line


@pytest.mark.usefixtures("small_parts")
def test_a_certificate_has_the_same_bytes_though_a_worker_is_killed(tmp_path, client):
    problem, options = interval_problem(0.01), {"epsilon": 0.01, "seed": 2}
    alone = certify(problem, problem.theta_initial, **options)
    places = {"workers": on_schedulers([client.scheduler.address])}
    problems = partial(tasks.intervals, 0.01, tmp_path)
    done = certify(problem, problem.theta_initial, problems=problems, **places, **options)
    assert (tmp_path / "once").exists()  # and its process is no more
    assert done.text() == alone.text() and alone.violations > 1
    first = certify(problem, problem.theta_initial, problems=problems, stop_early=True, **places, **options)
    assert first.text() == certify(problem, problem.theta_initial, stop_early=True, **options).text()
    assert first.rollouts == alone.violating[0] + 1
