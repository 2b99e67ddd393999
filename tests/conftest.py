"""Fixtures that several test files share."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import report_runs
from forms import LONG, left_out
from known_levels import KnownLevels
from problems import double_integrator_problem
from run_folders import Runs

from scpo_ctrl import compiled
from scpo_ctrl.adaptation import guards
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.cli import main
from scpo_ctrl.loop import backup
from scpo_ctrl.proof.guarded import GuardedRuns
from scpo_ctrl.record.atomic import write_atomic
from scpo_ctrl.report.page import render_report
from scpo_ctrl.verification import audits


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out most cases of large tables, unless a test is named on the command line."""
    if any("::" in name for name in config.args):
        return
    if out := left_out(items):
        config.hook.pytest_deselected(items=out)
        gone = set(map(id, out))
        items[:] = [item for item in items if id(item) not in gone]


@pytest.fixture(scope="session", autouse=True)
def _short_audits() -> None:
    """Audits draw fewer scenarios, but where a test asks for a number: a run of five steps needs no 100 000."""
    guards.OF_MODEL, guards.OF_BOX = 1000, 200
    audits.FULL, audits.SAMPLE = 1000, 50


@pytest.fixture(scope="session", autouse=True)
def _compiled_quickly() -> None:
    """Rollouts are compiled in two thirds of the time, to the same bits; `make long` compiles them as users do."""
    if not LONG:
        compiled.NATIVE = tuple("-O1" if flag == "-O2" else flag for flag in compiled.NATIVE)


@pytest.fixture(scope="session", autouse=True)
def _levels_known() -> None:
    """The level of a nonlinear plant is searched for once, though many tests read a problem; `make long` does not."""
    if not LONG:
        backup.LevelSearch = KnownLevels


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on stderr, after nothing on stdout; where compiling took long, after that it did."""
        assert self.out == ""
        said = re.sub(r"^scpo-ctrl: compiling [^\n]*\n", "", self.err)
        assert said.count("\n") == 1, self.err
        assert said.endswith("\n")
        assert "Traceback" not in said
        return said.removesuffix("\n")


@pytest.fixture(scope="session")
def plain() -> Result:
    """A run of the double integrator, to draw reports of."""
    return report_runs.run(double_integrator_problem())


@pytest.fixture(scope="session")
def page(plain: Result) -> str:
    """Its report."""
    return render_report(plain)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command in this process, capturing what it writes to the file descriptors.

    Reports have no pictures, which take most of the time of a small run, unless a test asks for them.
    """

    def call(*arguments: object, pictures: bool = False) -> Outcome:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["scpo-ctrl", *map(str, arguments)])
            if not pictures:
                patch.setattr("scpo_ctrl.report.page.write_report", _without_pictures)
            capfd.readouterr()
            with pytest.raises(SystemExit) as stop:
                main()
        out, err = capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return Outcome(stop.value.code, out, err)

    return call


def _without_pictures(result: Result, path: Path, guarded: GuardedRuns | None = None) -> None:
    write_atomic(path, render_report(result, pictures=False, guarded=guarded).encode())


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A run of each kind, by name; to be left as they are."""
    workers = "PYTEST_XDIST_WORKER" in os.environ  # then above the folder of each one is that of all
    root = tmp_path_factory.getbasetemp().parent / "runs" if workers else tmp_path_factory.mktemp("runs")
    return Runs(root)


@pytest.fixture
def copy_of(runs: Runs, tmp_path: Path) -> Callable[..., Path]:
    """Copy a run, to be tampered with."""

    def copy(kind: str = "mlp") -> Path:
        return Path(shutil.copytree(runs[kind], tmp_path / "run", dirs_exist_ok=True))

    return copy
