"""What the live page says of a folder: before a run, while it goes on, when it was damaged, removed and made again."""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil

import numpy as np
import pytest
from live_runs import HOSTILE, course
from run_folders import edit_summary

from scpo_ctrl.adaptation.measured import Sample, Samples
from scpo_ctrl.live import view
from scpo_ctrl.live.saved import COLUMNS, marks, read_saved
from scpo_ctrl.live.view import MOST_ROWS, View
from scpo_ctrl.live.watched import Watched
from scpo_ctrl.record.folder import RunFolder
from scpo_ctrl.record.save import save_result


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    return course(tmp_path_factory.mktemp("course"))


@pytest.fixture
def run(steps, tmp_path):
    with RunFolder(tmp_path / "run", steps.file) as folder:
        steps.save(folder, -1)
    return tmp_path / "run"


def looked(watched) -> View:
    watched.look()
    return watched.wait(0, 0.0)[1]


def test_a_run_from_before_its_first_save_to_its_end(steps, tmp_path):
    watched = Watched(tmp_path / "run")
    assert looked(watched).facts["word"] == "Waiting for a run"
    with RunFolder(tmp_path / "run", steps.file) as folder:
        for k in (0, 3):
            steps.save(folder, k)
            seen = looked(watched)
            assert seen.facts["word"] == f"Step {steps.states[k].steps} of 8"
            assert (seen.facts["level"], seen.facts["total"]) == ("running", 8)
            assert len(seen.rows) == len(steps.states[k].history)
        assert watched.wait(0, 0.0)[0] == 3  # nothing new, no new version
        watched.look()
        assert watched.wait(0, 0.0)[0] == 3
    assert looked(watched).facts["word"] == "Paused at step 3 of 8" or steps.states[3].steps != 3
    with RunFolder(tmp_path / "run", steps.file, overwrite=True) as folder:
        steps.save(folder, -1)
    seen, result = looked(watched), steps.states[-1]
    assert (seen.facts["word"], seen.facts["advice"]) == (result.status.name.capitalize(), result.status.value)
    assert seen.facts["level"] == "unfinished"  # as it was not audited
    for name in ("objective", "margin", "verdict", "delta_norm"):
        np.testing.assert_array_equal(seen.rows[:, COLUMNS.index(name)], result.history.column(name))
    assert sum(seen.facts["counts"]) == len(result.history)
    assert [row[0] for row in seen.facts["rejected"]] == [
        str(k + 1) for k in np.flatnonzero(~result.history.column("committed"))[::-1][:12]
    ]
    assert any(HOSTILE in row[0] for row in seen.facts["nearest"])


def test_a_folder_that_is_removed_and_made_again(run, tmp_path):
    watched = Watched(run)
    assert len(looked(watched).rows)
    shutil.move(run, tmp_path / "elsewhere")
    seen = looked(watched)
    assert (seen.facts["word"], len(seen.rows)) == ("Waiting for a run", 0)
    shutil.move(tmp_path / "elsewhere", run)
    assert len(looked(watched).rows)


@pytest.mark.parametrize("name", ["history.npz", "result.json", "problem.toml", "samples.npz"])
def test_what_cannot_be_read_is_said_and_tried_again(run, name):
    watched = Watched(run)
    before = looked(watched)
    whole = (run / name).read_bytes() if (run / name).exists() else None
    (run / name).write_bytes((whole or b"PK")[:40])
    assert looked(watched).facts == before.facts  # as between two files of a save
    for _ in range(10):
        watched.look()
    seen = looked(watched)
    assert str(run) in seen.facts["trouble"] and "Trying again" in seen.facts["trouble"]
    np.testing.assert_array_equal(seen.rows, before.rows)
    if whole is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(whole)
    assert looked(watched).facts["trouble"] == ""


@pytest.mark.parametrize("is_writing", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"status": "asleep"},
        {"steps": None},
        {"steps": np.inf, "status": "running"},
        {"seconds": "x", "status": "running"},
        {"binding": 3},
        {"audit": [1]},
    ],
)
def test_a_record_that_says_other_things_ends_nothing(run, changes, is_writing):
    watched = Watched(run)
    edit_summary(run, **changes)
    with locked(run) if is_writing else contextlib.nullcontext():
        for _ in range(10):
            watched.look()
    assert "damaged" in looked(watched).facts["trouble"]


@contextlib.contextmanager
def locked(run):
    handle = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@pytest.mark.parametrize("value", [1j, np.inf, "</script>", None])
@pytest.mark.parametrize("column", ["objective", "step", "verdict"])
def test_columns_of_other_kinds_end_nothing(run, column, value):
    arrays = dict(np.load(run / "history.npz"))
    np.savez(run / "history.npz", **arrays | {column: np.full(arrays[column].shape, value)})
    watched = Watched(run)
    for _ in range(10):
        watched.look()
    json.loads(looked(watched).event(0).partition(b"data: ")[2])


def test_what_is_damaged_is_not_read_at_every_look(run, monkeypatch):
    (run / "history.npz").write_bytes(b"PK")
    watched, tries = Watched(run), []
    monkeypatch.setattr("scpo_ctrl.live.watched.read_saved", lambda path: tries.append(path) or read_saved(path))
    for _ in range(200):
        watched.look()
    assert 8 <= len(tries) <= 14  # at every look at first, and then every fortieth
    assert "damaged" in looked(watched).facts["trouble"]


def test_a_link_that_leads_nowhere_hides_no_run(run):
    (run / ".#problem.toml").symlink_to("user@host.1234")  # as an editor leaves beside a file that it has open
    (run / "zzz").symlink_to("nowhere")
    assert len(looked(Watched(run)).rows)
    assert [name for name, *_ in marks(run)] == ["history.npz", "problem.toml", "result.json"]


def test_a_pipe_in_the_place_of_a_run_blocks_nothing(run, tmp_path):
    watched = Watched(run)
    assert len(looked(watched).rows)
    shutil.move(run, tmp_path / "elsewhere")
    os.mkfifo(run)
    assert looked(watched).facts["word"] == "Waiting for a run"


def test_files_of_two_saves_are_not_shown_together(run):
    before = read_saved(run)
    watched = Watched(run)
    looked(watched)
    edit_summary(run, digest="of another save", objective_final=-1.0)
    assert "-1" not in json.dumps(looked(watched).facts["tiles"])
    assert before.summary["objective_final"] > 0


def rows_of(count, verdicts=0.0):
    rows = np.zeros((count, len(COLUMNS)))
    rows[:, 0] = np.arange(1, count + 1)
    rows[:, COLUMNS.index("verdict")] = verdicts
    return rows


def test_a_client_that_comes_back_gets_what_it_lacks():
    short, long = View({}, rows_of(5)), View({}, rows_of(9))
    assert long.known(short.name) == 5
    said = json.loads(long.event(5).decode().split("data: ")[1])
    assert (said["from"], [row[0] for row in said["rows"]]) == (5, [6.0, 7.0, 8.0, 9.0])
    assert View({}, rows_of(9, verdicts=5.0)).known(short.name) == 0  # an audit withdrew what was committed
    assert short.known(long.name) == 0  # another run
    for junk in (None, "", "1-5", "1--1-x", "1-99999999999-x", "1-5-x", "1-²-x", "\x00"):
        assert long.known(junk) == 0


def test_a_long_history_stays_small(run, monkeypatch):
    saved = read_saved(run)
    for count in (MOST_ROWS, 3 * MOST_ROWS, 100 * MOST_ROWS + 1):
        seen = view.view_of(run, dataclasses.replace(saved, rows=rows_of(count)), True)
        assert MOST_ROWS / 2 < len(seen.rows) <= MOST_ROWS
        assert seen.facts["counts"][0] == count
        assert len(seen.event(0)) < 300_000
        later = view.view_of(run, dataclasses.replace(saved, rows=rows_of(count + seen.every)), True)
        assert later.every != seen.every or later.known(seen.name) == len(seen.rows)


def test_samples_of_a_plant_at_work(run, steps):
    plant = steps.file.problem.plant
    taken = [Sample(k + 1, np.array([0.1 * k, -1.0]), np.array([0.5]), k in (2, 700)) for k in range(1000)]
    save_result(steps.states[-1], run, samples=Samples.of(taken, plant, 7))
    said = looked(Watched(run)).facts["samples"]
    assert said["said"] == "The last 500 samples; at 7 of all samples the backup took over."
    assert [signal["name"] for signal in said["signals"]] == [*plant.x_labels, *plant.u_labels]
    assert [signal["is_input"] for signal in said["signals"]] == [False, False, True]
    assert (said["t"][0], said["acted"]) == (pytest.approx(501 * plant.dt), [200])
    assert said["signals"][0]["values"][:2] == pytest.approx([50.0, 50.1])
    assert said["signals"][0]["high"] == plant.x_max[0]
