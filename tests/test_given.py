"""What commands are given: wrong words and places are refused before anything slow, and Tab completes right ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from problem_files import write

from scpo_ctrl.choices import DEVICE_GRADIENTS, REALS, TARGETS, WITHIN
from scpo_ctrl.codegen import TARGETS as KNOWN
from scpo_ctrl.usage import given

# The command, what is wrong about it, the exit status, and what the line says. {run} is a RUN folder, {file} a file.
WRONG = [
    ("adapt none --out new", 2, "none: cannot be read: No such file"),
    ("adapt . --out new", 2, "cannot be read: Is a directory"),
    ("adapt {file} --out {file}", 2, "is not a folder; choose another --out"),
    ("adapt {file} --out {file}/new", 2, "is not a folder; choose another --out"),
    ("adapt {file} --out new --learn none", 2, "none: cannot be read"),
    ("adapt {file} --out new --steps few", 2, "'few'"),
    ("demo --out {file}", 2, "is not a folder"),
    ("verify none", 2, "none: is not a RUN folder"),
    ("verify {run} --problem none", 2, "none: cannot be read"),
    ("verify {run} --trust", 2, "--trust goes with --problem"),
    ("report {file}", 2, "is not a RUN folder"),
    ("compare {run} none", 2, "none: is not a RUN folder"),
    ("compare {run}", 2, "only one RUN"),
    ("compare {run} {run}", 2, "is given twice"),
    ("certify none --kind scenario", 2, "none: is not a RUN folder"),
    ("certify {run} --kind scenarios", 2, "did you mean scenario?"),
    ("certify {run} --kind cover --epsilon 0.1", 2, "--epsilon is of --kind scenario"),
    ("falsify none", 2, "none: is not a RUN folder"),
    ("falsify {run} --budget 0", 2, "0 is not in the range"),
    ("simulate none", 2, "none: is not a RUN folder"),
    ("simulate {run} --plant none", 2, "none: cannot be read"),
    ("simulate {run} --set mass", 2, "expected LABEL=NUMBER"),
    ("guard none", 2, "none: is not a RUN folder"),
    ("guard {run} --within polygon", 2, "did you mean polytope?"),
    ("export none --out new", 2, "none: is not a RUN folder"),
    ("export {run} --out {file}", 2, "is not a folder"),
    ("export {run} --out new --target cortex-m4", 2, "did you mean cortex-m4f?"),
    ("export {run} --out new --target z80", 2, "none of host, cortex-m0plus"),
    ("export {run} --out new --real half", 2, "'half' is none of float, double"),
    ("export {run} --out new --within polytope", 2, "--within goes with --guard"),
    ("export {run} --out new --examples 3", 2, "--examples goes with --adapt"),
    ("export {run} --out new --x-step 1", 2, "goes with --fixed"),
    ("pil none --target cortex-m4f", 2, "none: is not a RUN folder"),
    ("pil {run} --target cortex-m4", 2, "did you mean cortex-m4f?"),
    ("pil {run} --target host", 2, "none of cortex-m0plus"),
    ("pil {run} --port none", 1, "none cannot be opened: No such file"),
    ("pil {run} --port {file}", 1, "it is no serial line"),
    ("pil {run}", 2, "give either --target or --port"),
    ("bridge none --port /dev/null", 2, "none: is not a RUN folder"),
    ("bridge {run} --port none", 1, "none cannot be opened"),
    ("bridge {run} --port /dev/null --out {file}", 2, "is not a folder"),
    ("bridge {run} --port /dev/null --log none/log.csv", 2, "none/log.csv: is a folder, or in none"),
    ("identify none {file}", 2, "none: cannot be read"),
    ("identify {file} none", 2, "none: cannot be read"),
    ("identify {file} {file} --out none/new.toml", 2, "is a folder, or in none"),
    ("identify {file} {file} --overwrite", 2, "--overwrite goes with --out"),
]


@pytest.mark.table(1)
@pytest.mark.parametrize(("words", "status", "said"), WRONG, ids=[words for words, *_ in WRONG])
def test_what_is_wrong_is_said_before_the_work_is_imported(tmp_path, run, monkeypatch, words, status, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "history.npz").touch()
    (tmp_path / "file").touch()
    monkeypatch.setattr(given, "import_module", lambda name: pytest.fail(f"{name} is imported"))
    before = sorted(tmp_path.rglob("*"))
    outcome = run(*words.format(run="run", file="file").split())
    assert outcome.status == status
    assert said in outcome.line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words", ["adapt file --out new/run", "export run --out c", "certify run --kind backup", "compare run run2 --out a"]
)
def test_what_may_not_be_written_is_said_before_the_work_is_imported(tmp_path, run, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    for name in ("run", "run2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.npz").touch()
    (tmp_path / "file").touch()
    monkeypatch.setattr(given, "import_module", lambda name: pytest.fail(f"{name} is imported"))
    monkeypatch.setattr("scpo_ctrl.places.os.access", lambda path, mode: mode == os.R_OK)  # root may write anywhere
    outcome = run(*words.split())
    assert outcome.status == 2 and "not writable" in outcome.line


def test_a_folder_with_something_else_is_refused_before_the_problem_is_read(tmp_path, run, monkeypatch):
    problem = write(tmp_path / "problem.toml")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    from scpo_ctrl.commands import adapt

    monkeypatch.setattr(adapt, "read_problem_file", lambda *_, **__: pytest.fail("the problem is read"))
    outcome = run("adapt", problem, "--out", tmp_path / "full")
    assert outcome.status == 2 and "holds 'notes.txt' but no run" in outcome.line


def test_the_words_offered_are_those_that_are_known():
    from scpo_ctrl.codegen.device import GRADIENTS
    from scpo_ctrl.proof.guarded import WITHIN as KEPT

    assert tuple(KNOWN) == TARGETS
    assert (REALS, DEVICE_GRADIENTS, WITHIN) == (("float", "double"), GRADIENTS, KEPT)
    assert all(target.machine for name, target in KNOWN.items() if name != "host")


def said(folder, shell, asks):
    """Return what a shell of its own prints, in a folder with a run, where the command is found."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"no {shell[0]} on this machine")
    (folder / "runs" / "first").mkdir(parents=True)
    (folder / "runs" / "first" / "history.npz").touch()
    (folder / "runs" / "notes").mkdir()
    tool = folder / "scpo-ctrl"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m scpo_ctrl "$@"\n')
    tool.chmod(0o755)
    at_home = os.environ | {"HOME": str(folder)}
    done = subprocess.run(
        [*shell, asks], cwd=folder, env=at_home, capture_output=True, text=True, check=True, timeout=120
    )
    assert not done.stderr
    return done.stdout.splitlines()


def test_bash_completes_commands_options_targets_and_runs(tmp_path):
    """Through the script that the command prints, in a bash of its own."""
    asks = """
        PATH=$PWD:$PATH
        eval "$(scpo-ctrl --completion bash)"
        for line in "certi" "export --ta" "export runs/first --target cortex-m" "verify ru"; do
            COMP_WORDS=(scpo-ctrl $line) COMP_CWORD=$(wc -w <<< "$line") COMPREPLY=()
            _scpo_ctrl_completion scpo-ctrl
            echo "${COMPREPLY[@]}"
        done"""
    boards = "cortex-m0plus cortex-m3 cortex-m4f cortex-m7 cortex-m33"
    assert said(tmp_path, ("bash", "-c"), asks) == ["certify", "--target", boards, "runs/first"]


def test_fish_shows_whole_descriptions(tmp_path):
    asks = """
        set PATH $PWD $PATH
        scpo-ctrl --completion fish | source
        complete -C "scpo-ctrl dem"
        complete -C "scpo-ctrl export runs/first --target cortex-m3"
        complete -C "scpo-ctrl verify ru"
    """
    demo = "demo\tAdapt, verify, report, export and replay an example."
    assert said(tmp_path, ("fish", "--no-config", "-c"), asks) == [demo, "cortex-m3", "cortex-m33", "runs/first"]


def test_zsh_completes_where_nothing_else_has_asked_it_to(tmp_path):
    asks = "PATH=$PWD:$PATH; scpo-ctrl --completion zsh > script; . ./script; print $_comps[scpo-ctrl]"
    assert said(tmp_path, ("zsh", "-f", "-c"), asks) == ["_scpo_ctrl_completion"]


def cpu(code):
    """Return the least CPU time of a few runs of a program [s]."""
    times = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, *code], stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(times)


def test_help_takes_hardly_longer_than_importing_numpy():
    of_numpy = cpu(["-c", "import numpy"])
    for code in (["-m", "scpo_ctrl", "--help"], ["-m", "scpo_ctrl", "certify", "--help"], ["-c", "import scpo_ctrl"]):
        assert cpu(code) < 3 * of_numpy, code
