"""Workers: results in order, whoever is killed meanwhile; errors in words; nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import tasks

from scpo_ctrl.errors import WorkerError
from scpo_ctrl.workers import Lost, Workers, in_process, in_processes


def test_a_task_whose_process_is_killed_is_done_again_and_given_up_at_last(tmp_path):
    with Workers(partial(tasks.squares, tmp_path), 2, tries=2) as workers:
        found = list(workers.results(range(20)))
        assert found[9] == Lost("its process was killed by SIGKILL")
        assert [value for k, value in enumerate(found) if k != 9] == [k * k for k in range(20) if k != 9]
        pids = workers.processes
    assert not any(is_alive(pid) for pid in pids)


def test_in_processes_gives_what_in_process_gives(tmp_path):
    work = partial(tasks.squares, tmp_path)
    for spread in (in_processes(2), in_process):  # task 3 is killed once
        with spread(work) as do:
            assert list(do(range(8))) == [k * k for k in range(8)]
            assert list(do([5])) == [25]
    with in_processes(1)(work) as do, pytest.raises(WorkerError, match="SIGKILL"):
        list(do([1, 9]))


def test_what_a_task_has_forked_says_nothing():
    with Workers(tasks.forking, 2) as workers:
        assert list(workers.results(range(20))) == list(range(20))


def test_a_process_that_dies_is_seen_though_what_it_has_forked_lives_on(tmp_path):
    with Workers(partial(tasks.orphaned, tmp_path), 1) as workers:
        try:
            assert list(workers.results([0])) == [Lost("its process ended with status 4")]
        finally:
            for left in tmp_path.iterdir():
                os.kill(int(left.name), signal.SIGKILL)


@pytest.mark.parametrize(
    ("factory", "word"),
    [(tasks.refusing, "ValueError: no licence"), (tasks.dying, "status 3"), (lambda: None, "function of a module")],
)
def test_a_worker_that_cannot_be_made_is_named(factory, word):
    with pytest.raises(WorkerError, match=word), in_processes(1)(factory) as do:
        list(do(range(3)))


def test_a_worker_has_one_thread():
    with in_processes(1)(tasks.threads) as do:
        assert list(do([0])) == [(1, "1")]
    assert "SCPO_THREADS" not in os.environ


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(tmp_path, number):
    script = tmp_path / "script.py"
    here = Path(tasks.__file__).parent
    script.write_text(
        f"import sys; sys.path.insert(0, {str(here)!r})\nimport pathlib, functools, tasks\n"
        "from scpo_ctrl.workers import in_processes\nif __name__ == '__main__':\n"
        f"    with in_processes(1)(functools.partial(tasks.sleepy, pathlib.Path({str(tmp_path / 'pids')!r}))) as do:\n"
        "        list(do([0]))\n"
    )
    (tmp_path / "pids").mkdir()
    with subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL) as started:
        until(lambda: any((tmp_path / "pids").iterdir()))
        started.send_signal(number)
        started.wait(60)
    (pid,) = (int(path.name) for path in (tmp_path / "pids").iterdir())
    until(lambda: not is_alive(pid))


def until(holds) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_ctrl_c_at_a_worker_that_starts_is_left_to_its_parent():
    """Of a terminal all processes get it, before they have begun to ignore it too."""
    with Workers(tasks.twice, 2) as workers:
        for pid in workers.processes:
            os.kill(pid, signal.SIGINT)
        pids = workers.processes
        assert list(workers.results(range(4))) == [0, 2, 4, 6]
        assert workers.processes == pids
