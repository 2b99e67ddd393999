"""Campaigns on a cluster of two processes: each point is its single run, whatever is killed meanwhile."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import tomli_w
from problem_files import write
from run_folders import same_arrays

import scpo_ctrl
from scpo_ctrl.adaptation.adapt import adapt
from scpo_ctrl.campaign import cluster, submit
from scpo_ctrl.campaign.folder import Failure, opened
from scpo_ctrl.campaign.page import write_page
from scpo_ctrl.campaign.point import run_point
from scpo_ctrl.campaign.summary import write_tables
from scpo_ctrl.campaign.sweep import read_sweep
from scpo_ctrl.errors import ClusterError, OutputError, ProblemFileError, RecordError
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.folder import RunFolder

distributed = pytest.importorskip("distributed")
GRID = {"adapt.seed": [0, 1, 0], "scenarios.count": [3, 0, 4]}  # two seeds are the same, and 0 scenarios are too few


def sweep_of(folder, changes=None, **parts):
    write(folder / "p.toml", changes)
    (folder / "s.toml").write_text(tomli_w.dumps({"problem": "p.toml"} | (parts or {"grid": GRID})))
    return read_sweep(folder / "s.toml", limit=1000)


def connected(client):
    """Connect to the scheduler of the fixture once more."""
    return lambda: distributed.Client(client.scheduler.address)


def check_runs(campaign, sweep, tmp_path):
    """Check that each point that has a run is equal to the run of its own problem file; return how many."""
    points = {point.name: point for point in submit.points(sweep, campaign) if campaign.summary(point.name)}
    for name in points:
        run = campaign.run(name)
        file = read_problem_file(run / "problem.toml")
        with RunFolder(tmp_path / "single" / name, file) as folder:
            folder.save(adapt(file.problem, file.options))
        same_arrays(run, tmp_path / "single" / name)
    return len(points)


def test_a_worker_is_killed_and_every_point_is_its_single_run(tmp_path, client):
    sweep, killed = sweep_of(tmp_path), []

    def kill(tally):
        if tally.done >= 3 and not killed:
            killed.extend(client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)
        return False

    with opened(tmp_path / "out", sweep) as campaign:
        tally = submit.Submission(sweep, campaign, kill).run(connected(client), returns=False)
        assert killed and (tally.total, tally.finished, tally.failed, tally.duplicates) == (9, 4, 2, 3)
        assert check_runs(campaign, sweep, tmp_path) == 4
        before = {file: file.stat().st_mtime_ns for file in campaign.folder.rglob("*.npz")}
        again = submit.Submission(sweep, campaign, lambda tally: False).run(connected(client), returns=False)
        assert (again.finished, again.failed, again.duplicates) == (4, 2, 3)
        assert before == {file: file.stat().st_mtime_ns for file in campaign.folder.rglob("*.npz")}
        summary = write_tables(sweep, campaign)
        write_page(sweep, campaign, summary)
        with pytest.raises(OutputError, match="another process is at work"), opened(tmp_path / "out", sweep):
            pass
    with (tmp_path / "out" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["point"]) for row in rows] == list(range(9))
    assert all("count is 0" in row["reason"] for row in rows if row["scenarios.count"] == "0")
    finished = [row for row in rows if row["status"] == "finished"]
    assert min(finished, key=lambda row: float(row["objective_final"]))["point"] == str(summary.ranked()[0])
    assert summary.front()[0] == summary.ranked()[0]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "4 finished" in page and "2 failed" in page and "3 equal to an earlier one" in page and "count is 0" in page


@pytest.mark.long
def test_the_client_is_killed_and_another_one_goes_on(tmp_path, client, run):
    sweep = sweep_of(tmp_path, grid={"adapt.seed": list(range(6)), "adapt.steps": [20]})
    out, shut = tmp_path / "out", {}
    address = client.scheduler.address
    command = [sys.executable, "-m", "scpo_ctrl", "sweep", tmp_path / "s.toml", "--out", out, "--scheduler", address]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not shut and process.poll() is None:
        time.sleep(0.01)
        for file in out.glob("points/*/result.json"):
            if '"finished"' in file.read_text() or '"converged"' in file.read_text():
                shut[file] = (file.stat().st_ino, file.stat().st_mtime_ns)
    process.kill()
    process.wait()
    assert shut
    outcome = run("sweep", tmp_path / "s.toml", "--out", out, "--scheduler", address, "--json")
    said = json.loads(outcome.out)
    assert (outcome.status, said["finished"], said["not_run"]) == (0, 6, 0)
    assert said["best"]["point"] == said["front"][0]
    assert all((file.stat().st_ino, file.stat().st_mtime_ns) == was for file, was in shut.items())  # not once more
    with opened(out, sweep) as campaign:
        assert check_runs(campaign, sweep, tmp_path) == 6


def test_workers_of_another_version_are_refused(client, monkeypatch):
    monkeypatch.setattr(scpo_ctrl, "__version__", "9.9.9")
    with pytest.raises(ClusterError, match=r"scpo_ctrl 0\.\d.*, this machine 9\.9\.9: .*install the same"):
        cluster.check_versions(client)


def test_a_scheduler_that_is_not_there(tmp_path, run, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    sweep_of(tmp_path, grid={"adapt.seed": [0]})
    outcome = run("sweep", tmp_path / "s.toml", "--out", tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9")
    assert outcome.status == 2
    assert "tcp://127.0.0.1:9: no Dask scheduler answers" in outcome.line and "dask scheduler" in outcome.line


def test_a_point_that_was_cut_short_goes_on(tmp_path):
    """What a killed worker saved is gone on with, and a failure of the machine is forgotten."""
    sweep = sweep_of(tmp_path, grid={"adapt.seed": [0]})
    with opened(tmp_path / "out", sweep) as campaign:
        (point,) = submit.points(sweep, campaign)
        file = read_problem_file(campaign.problem)
        states = []
        adapt(file.problem, file.options, monitor=lambda state: states.append(state.result()), progress=False)
        with RunFolder(campaign.run(point.name), file) as folder:
            folder.save(states[2])
        campaign.fail(point.name, Failure(5, again="x"))  # which nobody wrote
        assert campaign.failure(point.name) is None
        campaign.fail(point.name, Failure("no space", again=True))
        assert campaign.summary(point.name) is None
        assert run_point(str(campaign.folder), campaign.digest, point.name, point.changes) is None
        assert campaign.failure(point.name) is None
        assert check_runs(campaign, sweep, tmp_path) == 1
        campaign.folder.rename(tmp_path / "moved")
        with pytest.raises(RecordError, match=r"no readable campaign\.json"):
            run_point(str(campaign.folder), campaign.digest, point.name, point.changes)
        assert not campaign.folder.exists()


def test_folders_of_other_campaigns_and_halves(tmp_path):
    sweep, out = sweep_of(tmp_path, grid={"adapt.seed": [0]}), tmp_path / "out"
    with opened(out, sweep) as campaign:
        digest = campaign.digest
    with (
        pytest.raises(RecordError, match="another campaign"),
        opened(out, sweep_of(tmp_path, grid={"adapt.seed": [1]})),
    ):
        pass
    with opened(out, read_sweep(out / "given" / "sweep.toml", limit=10)) as campaign:  # as that error says
        assert campaign.digest == digest
    (out / "campaign.json").unlink()  # its first process ended before all was there
    shutil.rmtree(out / "points")
    shutil.rmtree(out / "failed")
    with opened(out, sweep) as campaign:
        assert campaign.digest == digest
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"holds 'notes.txt' but no campaign"), opened(tmp_path / "other", sweep):
        pass
    with pytest.raises(RecordError, match="another campaign here"):
        run_point(str(out), "0" * 64, "name", {})


def test_what_was_given_is_as_it_was_or_refused(tmp_path):
    sweep, out = sweep_of(tmp_path, grid={"adapt.seed": [0]}), tmp_path / "out"
    for folder in ("given", "points", "failed"):  # a process that was killed before there was a campaign
        (out / folder).mkdir(parents=True)
    (out / ".campaign.json.0123456789abcdef.tmp").touch()
    with opened(out, sweep) as campaign:
        before = campaign.problem.read_bytes()
    campaign.problem.unlink()
    with opened(out, sweep):
        assert campaign.problem.read_bytes() == before
    campaign.problem.write_bytes(before.replace(b"count = 3", b"count = 4"))
    with pytest.raises(RecordError, match=r"given/problem\.toml: was changed since"), opened(out, sweep):
        pass
    campaign.problem.unlink()
    campaign.problem.mkdir()
    with pytest.raises(RecordError, match=r"given/problem\.toml: cannot be read"), opened(out, sweep):
        pass
    (out / "campaign.json").unlink()
    (out / "points" / "mine").mkdir()
    with pytest.raises(OutputError, match="holds 'points' but no campaign"), opened(out, sweep):
        pass


def test_files_that_swept_tables_name_are_kept(tmp_path):
    plants = [{"kind": "python", "file": f"{name}.py"} for name in "ab"]
    sweep = sweep_of(tmp_path, grid={"plant": plants, "metrics.constraints": [[{"file": "c.py"}]]})
    for name in "abc":
        (tmp_path / f"{name}.py").write_text("raise ValueError")
    with opened(tmp_path / "out", sweep) as campaign:
        assert {path.name for path in campaign.problem.parent.glob("*.py")} == {"a.py", "b.py", "c.py"}


def test_the_same_points_in_two_folders_are_two_tasks(tmp_path):
    sweep, keys = sweep_of(tmp_path, grid={"adapt.seed": [0]}), []
    taking = SimpleNamespace(submit=lambda *_, key, pure: keys.append(key))
    for folder in ("one", "other", "one"):
        with opened(tmp_path / folder, sweep) as campaign:
            submission = submit.Submission(sweep, campaign, lambda tally: False)
            submission._submit(taking, submit.point_of(sweep, campaign, 0))
    assert keys[0] == keys[2] != keys[1]


def test_who_is_no_scheduler_and_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterError, match="no Dask scheduler answers"), cluster.existing(address):
            pass


@pytest.mark.parametrize("key", ["adapt.sed", "plant.mas", "scenarios.contu"])
def test_a_key_that_the_problem_does_not_have(tmp_path, key):
    sweep = sweep_of(tmp_path, grid={key: [1, 2]})
    said = f"unknown key '{key.split('.')[1]}'.*the sweep changes {key}"
    with pytest.raises(ProblemFileError, match=said), opened(tmp_path / "out", sweep):
        pass
    assert not (tmp_path / "out").exists()
