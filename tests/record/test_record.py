"""The RUN folder: atomic writes, resuming to the same numbers, and folders that are nobody's to touch."""

from __future__ import annotations

import errno
import os
import resource
import stat
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from problem_files import IMITATION, KINDS, LINEAR_PLANT, write, write_expert
from run_folders import content, same_arrays

import scpo_ctrl
from scpo_ctrl.adaptation.adapt import adapt
from scpo_ctrl.errors import OutputError, RecordError
from scpo_ctrl.places import check_new_file
from scpo_ctrl.record.atomic import write_atomic, write_together
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.files import load_arrays, load_result
from scpo_ctrl.record.folder import RunFolder
from scpo_ctrl.verification.verify import verify

RUN_FILES = ["history.npz", "problem.toml", "result.json", "theta.npy"]


@pytest.fixture
def no_space(monkeypatch):
    """Return a function after which the disk is full for the file of this name, or for all."""

    def fill(name=""):
        real = os.fsync

        def fsync(handle):
            if name in Path(f"/proc/self/fd/{handle}").readlink().name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(handle)

        monkeypatch.setattr(os, "fsync", fsync)

    return fill


# Atomic writes


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    """Who may write to /dev would lose a device that is given as --out."""
    os.mkfifo(tmp_path / "pipe")
    for attempt in (lambda path: write_atomic(path, b"x"), check_new_file):
        with pytest.raises(OutputError, match=r"pipe: .*is there, and is not a file"):
            attempt(tmp_path / "pipe")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"] and (tmp_path / "pipe").is_fifo()


def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert content(tmp_path) == {"file": b"new"}


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask(tmp_path, mask, mode):
    earlier = os.umask(mask)
    try:
        write_atomic(tmp_path / "file", b"x")
    finally:
        os.umask(earlier)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_concurrent_writers_leave_one_whole_file(tmp_path):
    path = tmp_path / "file"
    texts = [bytes([65 + i]) * 100_000 for i in range(8)]
    seen = set()
    write_atomic(path, texts[0])
    threads = [
        threading.Thread(target=lambda text=text: [write_atomic(path, text) for _ in range(10)]) for text in texts
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.add(path.read_bytes())
    for thread in threads:
        thread.join()
    assert seen | {path.read_bytes()} <= set(texts)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("failing", ["a", "b"])
def test_either_all_files_are_written_or_none(tmp_path, no_space, failing):
    for name in "abc":
        (tmp_path / name).write_text(f"old {name}")
    before = content(tmp_path)
    no_space(f".{failing}.")
    with pytest.raises(OutputError, match=f"{tmp_path / failing}: cannot be written: No space left on device; free"):
        write_together({tmp_path / "a": b"new", tmp_path / "b": b"new"}, remove=[tmp_path / "c"])
    assert content(tmp_path) == before


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(_handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"x")
    assert not list(tmp_path.iterdir())


# What a folder may be


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A problem file with a folder of its own."""
    return write(tmp_path_factory.mktemp("problem") / "problem.toml")


@pytest.fixture(scope="module")
def adapted(problem):
    """The problem as read, and its result."""
    file = read_problem_file(problem)
    return file, adapt(file.problem, file.options)


def test_save_and_load(adapted, tmp_path):
    file, result = adapted
    with RunFolder(tmp_path / "a" / "b" / "run", file) as folder:
        assert not list(tmp_path.iterdir())
        folder.save(result)
        folder.save(result)
    run = tmp_path / "a" / "b" / "run"
    assert sorted(content(run)) == RUN_FILES
    loaded = scpo_ctrl.load_result(str(run))
    assert loaded.summary() == result.summary()
    assert loaded.options == result.options
    np.testing.assert_array_equal(loaded.theta, result.theta)
    np.testing.assert_array_equal(loaded.theta, np.load(run / "theta.npy"))
    assert loaded.is_safe()
    for name, column in result.history.columns().items():
        np.testing.assert_array_equal(loaded.history.column(name), column)


@pytest.mark.parametrize("names", [["notes.txt"], ["problem.toml"], ["problem.toml", "expert.csv"], ["c", "theta.npy"]])
@pytest.mark.parametrize("options", [[], ["--overwrite"], ["--resume"]])
def test_a_foreign_folder_is_not_touched(problem, tmp_path, run, names, options):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("mine")
    outcome = run("adapt", problem, "--out", folder, *options)
    assert outcome.status == 2
    assert f"{folder}: holds {min(names)!r} but no run; choose another --out" in outcome.line
    assert content(folder) == dict.fromkeys(names, b"mine")


def test_an_earlier_run_is_kept_unless_asked(copy_of, problem, run):
    folder = copy_of("linear policy, terminal")
    (folder / "notes.txt").write_text("mine")
    (folder / "report.html").write_text("of the earlier run")
    before = content(folder)
    outcome = run("adapt", problem, "--out", folder)
    assert outcome.status == 2
    assert "holds a run already" in outcome.line
    assert "--resume" in outcome.line
    assert "--overwrite" in outcome.line
    assert content(folder) == before
    outcome = run("adapt", problem, "--out", folder, "--overwrite", "--json")
    assert outcome.status == 0
    assert verify(folder).passed
    assert (folder / "notes.txt").read_text() == "mine"
    assert "imitation.csv" not in content(folder)
    assert (folder / "report.html").read_text() != "of the earlier run"


def test_demo_replaces_only_a_demo(copy_of, run):
    folder = copy_of()
    before = content(folder)
    outcome = run("demo", "--out", folder)
    assert outcome.status == 2
    assert "holds a run already" in outcome.line
    assert content(folder) == before


def test_an_empty_folder_is_used(adapted, tmp_path):
    file, result = adapted
    with RunFolder(tmp_path, file) as folder:
        folder.save(result)
    assert sorted(content(tmp_path)) == RUN_FILES


def test_out_is_a_file(problem, tmp_path, run):
    path = tmp_path / "file"
    path.write_text("mine")
    for out in (path, path / "run"):
        outcome = run("adapt", problem, "--out", out)
        assert outcome.status == 2
        assert f"{out}: " in outcome.line
        assert "is not a folder; choose another --out" in outcome.line
    assert path.read_text() == "mine"


def test_out_is_not_writable(problem, tmp_path, run, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)
    outcome = run("adapt", problem, "--out", tmp_path / "run")
    assert outcome.status == 2
    assert f"{tmp_path / 'run'}: {tmp_path} is not writable; choose another --out" in outcome.line
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc, where nobody can make a folder")
def test_out_cannot_be_made_whoever_runs_it(problem, run):
    outcome = run("adapt", problem, "--out", "/proc/scpo-ctrl-run", "--json")
    assert outcome.status == 2
    assert "/proc/scpo-ctrl-run: " in outcome.line
    assert "writable" in outcome.line


def test_two_processes_cannot_write_the_same_run(adapted, problem, tmp_path, run):
    file, result = adapted
    with RunFolder(tmp_path / "run", file) as folder:
        folder.save(result)
        before = content(tmp_path)
        for option in ("--resume", "--overwrite"):
            outcome = run("adapt", problem, "--out", tmp_path / "run", option)
            assert outcome.status == 2
            assert "another process is writing there" in outcome.line
        assert content(tmp_path) == before
    assert run("adapt", problem, "--out", tmp_path / "run", "--resume").status == 0


# A disk that fills up


@pytest.mark.parametrize("name", ["theta.npy", "result.json", "problem.toml", "history.npz"])
def test_a_full_disk_at_the_first_save_leaves_nothing(problem, tmp_path, run, no_space, name):
    no_space(name)
    outcome = run("adapt", problem, "--out", tmp_path / "a" / "run")
    assert outcome.status == 2
    assert f"{tmp_path / 'a' / 'run' / name}: cannot be written: No space left on device; free" in outcome.line
    assert not list(tmp_path.iterdir())


def test_a_limit_on_the_size_of_files_is_named(tmp_path):
    path = tmp_path / "theta.npy"
    path.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written: File too large; raise the limit of a file's size"):
            write_atomic(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(tmp_path) == {"theta.npy": b"before"}


def test_a_full_disk_does_not_cost_an_earlier_run(copy_of, problem, run, no_space):
    folder = copy_of("imitation")
    before = content(folder)
    no_space("history.npz")
    outcome = run("adapt", problem, "--out", folder, "--overwrite")
    assert outcome.status == 2
    assert "No space left" in outcome.line
    assert content(folder) == before


def test_a_disk_full_in_the_middle_keeps_the_last_complete_state(problem, tmp_path, run, no_space, monkeypatch):
    monkeypatch.setattr("scpo_ctrl.record.saving._EVERY", 0.0)
    saves = []
    real = RunFolder.save

    def save(folder, result):
        saves.append(result.steps)
        if len(saves) == 2:
            no_space("result.json")
        real(folder, result)

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save", save)
        patch.setattr("scpo_ctrl.record.saving.time", SimpleNamespace(monotonic=lambda: 0.0))  # a save every step
        outcome = run("adapt", problem, "--out", folder, "--steps", "12", "--json")
    monkeypatch.undo()
    assert outcome.status == 2
    assert "result.json: cannot be written" in outcome.line
    assert "--resume goes on from the last complete state" in outcome.line
    assert load_result(folder).steps == saves[0] < saves[1]
    assert verify(folder).passed
    assert sorted(content(folder)) == RUN_FILES


# Resuming


@pytest.mark.table(15)
@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_run_goes_on_to_the_same_numbers(tmp_path, kind):
    write_expert(tmp_path / "expert.csv", *((3, 2) if "two" in kind else (2, 1)))
    path = write(tmp_path / "problem.toml", KINDS[kind])
    for name, parts in (("long", [7]), ("short", [0, 3, 3, 7])):
        for steps in parts:
            file = read_problem_file(path, steps=steps)
            found = (tmp_path / name).exists()
            folder, earlier = (
                RunFolder.resumed(tmp_path / name, file) if found else (RunFolder(tmp_path / name, file), None)
            )
            with folder:
                folder.save(adapt(file.problem, file.options, resume_from=earlier))
            assert verify(tmp_path / name).passed
    same_arrays(tmp_path / "long", tmp_path / "short")
    assert (tmp_path / "long" / "problem.toml").read_text() == (tmp_path / "short" / "problem.toml").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"plant.velocity_max": 1.6}, "[plant] velocity_max: 1.5 there, 1.6 here"),
        ({"plant": LINEAR_PLANT}, "[plant] A: 'not set' there"),
        ({"backup.R": [11.0]}, "[backup] R: [10.0] there, [11.0] here"),
        ({"policy.hidden": [4]}, "[policy] hidden: [3] there, [4] here"),
        ({"policy.init": 0.4}, "[policy] init: 0.5 there, 0.4 here"),
        ({"objective.R": [0.06]}, "[objective] R: [0.05] there, [0.06] here"),
        ({"scenarios.seed": 1}, "[scenarios] seed: 0 there, 1 here"),
        ({"metrics.terminal": True}, "[metrics] terminal: False there, True here"),
        ({"metrics.contraction": 0.95}, "[metrics] contraction: 'not set' there, 0.95 here"),
        ({"adapt.radius": 2.0}, "[adapt] radius: 1.0 there, 2.0 here"),
        ({"adapt.seed": 3}, "[adapt] seed: 0 there, 3 here"),
    ],
)
def test_another_problem_is_not_resumed(adapted, tmp_path, run, changes, said):
    file, result = adapted
    with RunFolder(tmp_path / "run", file) as folder:
        folder.save(result)
    before = content(tmp_path / "run")
    other = write(tmp_path / "other.toml", changes)
    outcome = run("adapt", other, "--out", tmp_path / "run", "--resume")
    assert outcome.status == 2
    assert f"{tmp_path / 'run'}: its problem differs in {said}" in outcome.line
    assert content(tmp_path / "run") == before


def test_other_imitation_data_are_not_resumed(tmp_path, run):
    path = write(tmp_path / "problem.toml", IMITATION)
    data = write_expert(tmp_path / "expert.csv")
    assert run("adapt", path, "--out", tmp_path / "run").status == 0
    assert run("adapt", path, "--out", tmp_path / "run", "--resume").status == 0
    assert run("adapt", tmp_path / "run" / "problem.toml", "--out", tmp_path / "run", "--resume").status == 0
    data.write_text(data.read_text() + "0,0,0\n")
    outcome = run("adapt", path, "--out", tmp_path / "run", "--resume")
    assert outcome.status == 2
    assert "[objective] csv" in outcome.line


def test_resume_without_a_run_starts_one(problem, tmp_path, run):
    assert run("adapt", problem, "--out", tmp_path / "run", "--resume", "--json").status == 0
    assert verify(tmp_path / "run").passed


@pytest.mark.parametrize("kept", [[], ["theta.npy"], ["theta.npy", "result.json", "problem.toml"]])
def test_a_first_save_that_was_killed_is_begun_anew(adapted, problem, tmp_path, run, kept):
    file, result = adapted
    folder = tmp_path / "run"
    with RunFolder(folder, file) as target:
        target.save(result)
    whole = content(folder)
    for name in set(whole) - set(kept):
        (folder / name).unlink()
    (folder / ".history.npz.0123456789abcdef.tmp").write_bytes(b"half")
    assert run("adapt", problem, "--out", folder, "--resume", "--json").status == 0
    assert sorted(content(folder)) == sorted([*RUN_FILES, "report.html"])
    assert load_arrays(folder)["theta"].tobytes() == result.history.column("theta").tobytes()


def test_a_later_save_that_was_killed_is_mended_by_resuming(problem, tmp_path, run):
    folder, other = tmp_path / "run", tmp_path / "other"
    assert run("adapt", problem, "--out", folder, "--steps", 3).status == 0
    assert run("adapt", problem, "--out", other, "--steps", 6).status == 0
    for name in ("theta.npy", "result.json"):  # in place before history.npz
        (folder / name).write_bytes((other / name).read_bytes())
    (folder / ".history.npz.0123456789abcdef.tmp").write_bytes(b"half")
    assert "--resume" in "; ".join(verify(folder).faults)
    assert load_result(folder).steps == 3
    assert run("adapt", problem, "--out", folder, "--steps", 6, "--resume").status == 0
    same_arrays(folder, other)
    assert verify(folder).passed
    assert not [name for name in content(folder) if name.endswith(".tmp")]


def test_a_history_of_another_run_is_not_loaded(copy_of, runs):
    folder = copy_of()
    (folder / "history.npz").write_bytes((runs["imitation"] / "history.npz").read_bytes())
    with pytest.raises(RecordError, match="do not belong together"):
        load_result(folder)
