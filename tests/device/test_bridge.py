"""The host adapts what an emulated board runs: it takes in its samples, and sends policies back."""

import csv

import numpy as np
import pytest
from device_problems import r3_problem, unadapted
from exports import require
from problems import double_integrator_problem

from scpo_ctrl.codegen import TARGETS, export
from scpo_ctrl.device.bridge import bridge
from scpo_ctrl.device.emulator import BOARD, Emulator, build, emulator_of
from scpo_ctrl.device.link import Device, Port
from scpo_ctrl.errors import DeviceError, OutputError

TARGET = TARGETS["cortex-m4f"]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program of an emulated board with R3."""
    require(TARGET.compiler, emulator_of(TARGET))
    folder = tmp_path_factory.mktemp("bridge")
    export(unadapted(r3_problem()), folder / "c", target=TARGET.name, measured=False, adapting=True)
    sources = [*sorted((folder / "c" / "src").glob("*.c")), BOARD / "main.c"]
    build(TARGET, sources, [folder / "c" / "include", folder / "c" / "src"], folder / "board.elf")
    return folder / "board.elf"


@pytest.fixture
def board(program):
    with Emulator(TARGET, program) as emulated:
        yield emulated


def test_a_policy_gets_better_on_the_device_that_it_runs_on(board, tmp_path):
    problem = r3_problem()
    device = Device(Port(board.port))
    device.walk(0, problem.scenarios.x0[0])
    device.port.close()
    counts = []
    save = lambda adapter: counts.append(len(adapter.samples().number))  # noqa: E731
    done, result = bridge(unadapted(problem), board.port, steps=12, log=tmp_path / "log.csv", save=save)
    assert len(counts) == 12 and counts == sorted(counts) and counts[-1] <= done.transitions
    device = Device(Port(board.port))
    active = device.active()
    device.port.close()
    assert done.steps == 12 and done.sent >= 2 and done.refused == 0
    assert done.samples > 20 and 10 < done.transitions < done.samples and done.uncovered == 0
    assert done.objective_final < done.objective_initial
    rounded = active.astype(np.float32).astype(float)
    assert np.array_equal(active, rounded) and problem.metrics(active).max() <= 0
    assert any(np.allclose(active, theta, rtol=1e-6) for theta in result.committed)
    rows = list(csv.reader((tmp_path / "log.csv").read_text().splitlines()))
    assert rows[0] == ["sample", "x0", "x1", "u0"] and len(rows) == done.samples + 1
    numbers = np.array(rows[1:], dtype=float)
    follow = np.flatnonzero(np.diff(numbers[:, 0]) == 1)
    x, u, after = numbers[follow, 1:3], numbers[follow, 3], numbers[follow + 1, 1:3]
    assert np.abs(np.column_stack([x[:, 0] + 0.1 * x[:, 1] + 0.005 * u, x[:, 1] + 0.1 * u]) - after).max() < 1e-5


def test_a_device_with_another_policy_and_a_log_that_cannot_be_written_are_refused(board, tmp_path):
    with pytest.raises(DeviceError, match="export of another run"):
        bridge(unadapted(r3_problem(hidden=(3,))), board.port)
    with pytest.raises(OutputError, match="cannot be written"):
        bridge(unadapted(r3_problem()), board.port, log=tmp_path / "none" / "log.csv")


def test_the_command_records_where_it_says(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from scpo_ctrl import load_result
    from scpo_ctrl.cli import cli
    from scpo_ctrl.commands import device
    from scpo_ctrl.device.bridge import BridgeRun

    result = unadapted(double_integrator_problem())
    done = BridgeRun(
        samples=3, transitions=2, uncovered=0, steps=1, sent=1, refused=0, objective_initial=2.0, objective_final=1.0,
        status="finished",
    )  # fmt: skip
    (tmp_path / "history.npz").touch()
    monkeypatch.setattr(device, "load_result", lambda run: result)
    monkeypatch.setattr(device, "bridge", lambda *arguments, **options: (done, result))
    arguments = ["bridge", str(tmp_path), "--port", "/dev/null", "--json"]
    first = CliRunner().invoke(cli, arguments)
    assert first.exit_code == 0 and '"sent": 1' in first.stdout
    assert np.array_equal(load_result(tmp_path / "bridge").theta, result.theta)
    again = CliRunner().invoke(cli, arguments)
    assert isinstance(again.exception, OutputError) and "is there already" in str(again.exception)
    assert CliRunner().invoke(cli, [*arguments, "--overwrite"]).exit_code == 0
