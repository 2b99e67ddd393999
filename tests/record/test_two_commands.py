"""Two processes at one folder: what was looked at may have changed by the time that it is acted on."""

from __future__ import annotations

import shutil
import sys
import threading

import pytest
from problem_files import write
from run_folders import content

from scpo_ctrl import load_result, save_result, verify
from scpo_ctrl.adaptation.adapt import adapt
from scpo_ctrl.errors import OutputError
from scpo_ctrl.record import folder as folder_module
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.folder import RunFolder, is_unfinished


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """A run after each of its steps, and another run."""
    root, found = tmp_path_factory.mktemp("states"), []
    file = read_problem_file(write(root / "problem.toml"))
    adapt(file.problem, file.options, monitor=lambda state: found.append(state.result()))
    other = read_problem_file(write(root / "other.toml", {"scenarios.seed": 5}))
    return file, found, other, adapt(other.problem, other.options)


def is_mine(folder):
    return "seed = 5" not in (folder / "problem.toml").read_text()


@pytest.mark.parametrize("overwrite", [False, is_unfinished, is_mine])
def test_a_run_that_was_finished_meanwhile_is_kept(tmp_path, states, overwrite):
    file, results, other, finished = states
    with RunFolder(tmp_path / "run", file, overwrite=overwrite) as late:  # the folder is not there yet
        with RunFolder(tmp_path / "run", other) as early:
            early.save(finished)
        before = content(tmp_path / "run")
        with pytest.raises(OutputError, match="holds a run already"):
            late.save(results[-1])
    assert content(tmp_path / "run") == before


def test_overwrite_replaces_it(tmp_path, states):
    file, results, other, finished = states
    with RunFolder(tmp_path / "run", file, overwrite=True) as late:
        with RunFolder(tmp_path / "run", other) as early:
            early.save(finished)
        late.save(results[-1])
    assert load_result(tmp_path / "run").options.steps == file.options.steps


def test_a_later_state_does_not_replace_another_run(tmp_path, states, monkeypatch):
    _, results, other, finished = states
    folder, elsewhere = tmp_path / "run", tmp_path / "other"
    save_result(results[1], folder)
    with RunFolder(elsewhere, other) as target:
        target.save(finished)
    lock = RunFolder._lock

    def late(self):
        shutil.rmtree(folder)
        shutil.copytree(elsewhere, folder)
        lock(self)

    monkeypatch.setattr(RunFolder, "_lock", late)
    with pytest.raises(OutputError, match="holds a run already"):
        save_result(results[3], folder)
    assert content(folder) == content(elsewhere)


def test_a_folder_replaced_between_opening_and_locking(tmp_path, states, monkeypatch):
    file, results, _, _ = states
    (tmp_path / "run").mkdir()
    lock = folder_module.fcntl.flock

    def late(handle, how):
        (tmp_path / "run").rmdir()
        (tmp_path / "run").mkdir()
        lock(handle, how)

    monkeypatch.setattr(folder_module.fcntl, "flock", late)
    with RunFolder(tmp_path / "run", file) as target, pytest.raises(OutputError, match="removed or replaced it"):
        target.save(results[0])


def test_a_save_removes_the_report_of_the_earlier_state(tmp_path, states):
    file, results, _, _ = states
    with RunFolder(tmp_path / "run", file) as target:
        target.save(results[0])
        (tmp_path / "run" / "report.html").write_text("of the first step")
        target.save(results[1])
    assert not (tmp_path / "run" / "report.html").exists()


def test_readers_see_one_state_while_another_process_saves(tmp_path, states):
    file, results, _, _ = states
    folder, stop = tmp_path / "run", threading.Event()
    with RunFolder(folder, file) as target:
        target.save(results[0])

        def save():
            while not stop.is_set():
                for result in results:
                    target.save(result)
                    stop.wait(0.7)

        saving = threading.Thread(target=save)
        saving.start()
        try:
            for _ in range(6):
                assert verify(folder).faults == ()
                assert load_result(folder).steps in range(1, 6)
        finally:
            stop.set()
            saving.join()


def test_a_report_is_of_the_last_state(tmp_path, states, run, monkeypatch):
    from scpo_ctrl.report import page

    file, results, _, _ = states
    folder, written = tmp_path / "run", []
    with RunFolder(folder, file) as target:
        target.save(results[0])

        def write_report(result, path, guarded=None):
            written.append(result.steps)
            path.write_text(page.render_report(result, pictures=False))
            if len(written) == 1:
                target.save(results[2])

        monkeypatch.setattr(page, "write_report", write_report)
        assert run("report", folder, pictures=True).status == 0
    assert written == [1, 3]
    assert verify(folder).faults == ()


def test_an_export_does_not_replace_what_came_meanwhile(tmp_path, states, monkeypatch):
    from scpo_ctrl.codegen import export as export_function

    _, results, _, _ = states
    target = tmp_path / "c"
    export_function(results[-1], target, measured=False)
    module = sys.modules["scpo_ctrl.codegen.export"]
    write_files = module._write

    def late(folder, files):
        write_files(folder, files)
        (target / "thesis.txt").write_text("mine")

    monkeypatch.setattr(module, "_write", late)
    with pytest.raises(OutputError, match=f"{target} holds thesis.txt"):
        export_function(results[-1], target, measured=False)
    assert (target / "thesis.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]
