"""Signals that end a process, at every stage of a command: no traceback, the right status, nothing half written."""

from __future__ import annotations

import os
import pty
import random
import signal
import subprocess
import sys
import time

import pytest
from problem_files import KINDS, write
from processes import BARE
from run_folders import content, same_arrays

from scpo_ctrl.record.files import load_result
from scpo_ctrl.stop import SIGNALS, Stop, Stopped, answered, uninterrupted
from scpo_ctrl.verification.verify import verify

ENDLESS = {"adapt.tolerance": 0.0, "adapt.patience": 1_000_000, "adapt.steps": 1_000_000}
SENDS = """
import importlib, os, sys
from types import SimpleNamespace

def send(function, number, times, at):
    calls = []
    def sends(*arguments, **options):
        calls.append(None)
        for _ in range(times if len(calls) == at else 0):
            os.kill(os.getpid(), number)
        return function(*arguments, **options)
    return sends

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), number)

module, attribute, number, times = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if attribute == "import":
    sys.meta_path.insert(0, Finder)
else:
    place = importlib.import_module(module)
    attribute, _, at = attribute.partition(":")
    setattr(place, attribute, send(getattr(place, attribute), number, times, int(at or 1)))
if module not in ("matplotlib", "scpo_ctrl.report.page"):  # a report takes most of the time of a small run
    sys.modules["scpo_ctrl.report.page"] = SimpleNamespace(write_report=lambda result, path: None)
del sys.argv[1:5]
sys.argv[0] = "scpo-ctrl"
from scpo_ctrl.__main__ import main
main()
"""
PLACES = {
    "import of numpy": ("numpy", "import"),
    "import of the command line": ("scpo_ctrl.cli", "import"),
    "import of the command": ("scpo_ctrl.commands.adapt", "import"),
    "import of the report": ("matplotlib", "import"),
    "problem": ("scpo_ctrl.commands.adapt", "read_problem_file"),
    "start": ("scpo_ctrl.adaptation.adapt", "start"),
    "compilation": ("subprocess", "run"),
    "loop": ("scpo_ctrl.adaptation.adapt", "try_step:2"),
    "save": ("os", "fsync:3"),
    "audit of the safe start": ("scpo_ctrl.assurance.audit", "climb"),
    "audit": ("scpo_ctrl.assurance.audit", "climb:2"),
    "report": ("scpo_ctrl.report.page", "render_report"),
    "summary": ("scpo_ctrl.commands.adapt", "_finish"),
}


def stopped(problem, folder, place, number, times=1):
    """Run a command that sends itself a signal."""
    environment = os.environ | ({"XDG_CACHE_HOME": str(folder.parent / "cache")} if place == "compilation" else {})
    words = [sys.executable, "-c", SENDS, *PLACES[place], str(int(number)), str(times)]
    words += ["adapt", str(problem), "--out", str(folder), "--steps", "3"]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, env=environment)


def nothing_half_written(folder):
    if folder.exists():
        assert not [path.name for path in folder.iterdir() if path.suffix == ".tmp"]
        assert verify(folder).faults == ()


@pytest.mark.table(4)
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_at_every_stage(tmp_path, place):
    folder, number = tmp_path / "run", signal.SIGINT if len(place) % 2 else signal.SIGHUP
    changes = KINDS["audited"] if "audit" in place else {}
    done = stopped(write(tmp_path / "problem.toml", changes), folder, place, number)
    assert "Traceback" not in done.stderr
    if place in ("loop", "save", "audit"):  # there is something to go on from
        assert done.returncode == 1, done.stderr
        assert "stopping after this step" in done.stderr
        assert "status     interrupted" in done.stdout
    elif place == "import of the command line":
        assert (done.returncode, done.stderr) == (-number, "")  # as of any program that does not answer it
    else:
        assert done.returncode == 128 + number, done.stderr
        begun = place not in ("import of numpy", "import of the command")
        remedy = "`--resume` goes on" if begun else "nothing is left half written"
        assert done.stderr.splitlines()[-1].startswith(f"scpo-ctrl: interrupted; {remedy}")
    nothing_half_written(folder)
    assert folder.exists() == (place in ("loop", "save", "audit", "report", "summary"))


def test_a_signal_in_an_audit_ends_it_and_resumes_to_the_same_numbers(tmp_path, run):
    problem = write(tmp_path / "problem.toml", KINDS["audited"])
    done = stopped(problem, tmp_path / "run", "audit", signal.SIGTERM)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == "scpo-ctrl: stopping after this step; once more to stop at once"
    cut = load_result(tmp_path / "run")
    assert (len(cut.audits), cut.final_audit) == (1, None)  # that of the safe start
    assert run("adapt", problem, "--out", tmp_path / "run", "--steps", 3, "--resume", "--json").status == 0
    assert run("adapt", problem, "--out", tmp_path / "whole", "--steps", 3, "--json").status == 0
    same_arrays(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (
            ["certify", "--kind", "scenario", "--epsilon", "0.01"],
            ("scpo_ctrl.assurance.certificate", "violation_bound:3"),
        ),
        (["falsify", "--budget", "2000"], ("scpo_ctrl.assurance.falsify", "climb")),
        (["simulate", "--episodes", "50"], ("scpo_ctrl.assurance.simulate", "rows_of")),
        (["verify"], ("scpo_ctrl.verification.verify", "history_faults")),
    ],
)
def test_a_signal_in_a_command_that_rolls_out_for_long(tmp_path, copy_of, words, place):
    run = copy_of()
    before = content(run)
    command = [sys.executable, "-c", SENDS, *place, str(int(signal.SIGINT)), "1", words[0], str(run), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (128 + signal.SIGINT, "")
    assert done.stderr == "scpo-ctrl: interrupted; nothing is left half written\n"
    assert content(run) == before


def test_a_signal_waits_from_the_moment_on_that_a_state_may_be_seen():
    stop = Stop()
    with answered(stop), stop.steps():
        stop.wait()
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked()
    early = Stop()
    with answered(early), pytest.raises(Stopped), early.steps():
        signal.raise_signal(signal.SIGTERM)
    late = Stop()
    with answered(late), pytest.raises(Stopped):
        with late.steps():
            late.wait()
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.table(4)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_every_signal_saves_the_last_step(tmp_path, number):
    folder = tmp_path / "run"
    done = stopped(write(tmp_path / "problem.toml"), folder, "loop", number)
    assert done.returncode == 1, done.stderr
    assert load_result(folder).steps == 2
    nothing_half_written(folder)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 1), (signal.SIGXCPU, 1)])
def test_only_a_user_insists(tmp_path, number, status):
    """A lost terminal and a used-up limit repeat their signals; the last step is saved all the same."""
    done = stopped(write(tmp_path / "problem.toml", {"adapt.steps": 3}), tmp_path / "run", "loop", number, times=2)
    if number is signal.SIGTERM and done.returncode == 1:
        pytest.skip("the kernel made one signal of two")
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    nothing_half_written(tmp_path / "run")


def test_signals_at_random_moments(tmp_path):
    problem, draw = write(tmp_path / "problem.toml", ENDLESS), random.Random(4)
    for k in range(3):
        number, folder = draw.choice(SIGNALS), tmp_path / f"run{k}"
        words = [*BARE, "adapt", str(problem), "--out", str(folder)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(draw.uniform(0.3, 3.0))
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        assert process.returncode in (1, 128 + number, -number), err
        nothing_half_written(folder)


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    problem, folder = write(tmp_path / "problem.toml"), tmp_path / "run"
    words = [sys.executable, "-c", SENDS, *PLACES["loop"], str(int(signal.SIGHUP)), "1", "adapt", str(problem)]
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh"]  # as nohup does
    done = subprocess.run([*ignoring, *words, "--out", str(folder)], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert load_result(folder).steps == 5


def test_a_terminal_that_is_closed(tmp_path):
    problem, folder = write(tmp_path / "problem.toml", ENDLESS), tmp_path / "run"
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [*BARE, "adapt", str(problem), "--out", str(folder)])
    deadline = time.monotonic() + 60
    while not (folder / "history.npz").exists():
        os.read(terminal, 1000)  # as long as it has something to show
        assert time.monotonic() < deadline
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status)
    assert load_result(folder).status.name == "INTERRUPTED"
    nothing_half_written(folder)


def test_a_reader_of_the_progress_that_goes_away_does_not_end_the_run(tmp_path):
    read, written = os.pipe()
    os.close(read)
    words = [*BARE, "adapt", str(write(tmp_path / "problem.toml"))]
    words += ["--out", str(tmp_path / "run")]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=written, check=False, timeout=60)
    os.close(written)
    assert done.returncode == 0
    assert load_result(tmp_path / "run").steps == 5


def test_what_is_written_is_finished_first():
    stop, done = Stop(), []
    with answered(stop):
        with pytest.raises(Stopped), uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            done.append(stop.number)
        assert done == [None]
        assert stop.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_nothing_that_takes_long_is_imported_before_the_command_answers():
    code = (
        "import sys, scpo_ctrl.__main__; print([m for m in sys.modules if m in ('numpy', 'casadi', 'click', 'rich')])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_every_public_name_is_there():
    import scpo_ctrl

    for name in scpo_ctrl.__all__:
        assert getattr(scpo_ctrl, name) is not None
    assert scpo_ctrl.models.make_plant
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = scpo_ctrl.nothing
