"""`scpo-ctrl pil`: the export on emulated boards controls the plant in Python, then adapts itself."""

import json
from dataclasses import replace

import numpy as np
import pytest
from device_problems import r3_problem, unadapted
from exports import require
from forms import times
from problems import double_integrator_problem, two_input_problem

from scpo_ctrl import adapt
from scpo_ctrl.codegen import TARGETS
from scpo_ctrl.device import emulator
from scpo_ctrl.device.link import Device, Port
from scpo_ctrl.device.pil import pil
from scpo_ctrl.errors import CompilerError, DeviceError, DomainError

KEYS = {
    "code_bytes", "ram_bytes", "stack_bytes", "control_instructions", "projection_instructions", "slice_instructions",
    "step_instructions",
}  # fmt: skip
STEPS = times(15, 2)


def require_target(name):
    require(TARGETS[name].compiler, emulator.emulator_of(TARGETS[name]))


@pytest.fixture
def _hardly_any_stack(monkeypatch):
    """The adaptation's stack, which two other tests look at, is measured over a few pieces."""
    monkeypatch.setattr("scpo_ctrl.device.pil._STACK_PIECES", 20)


def test_r3_on_a_cortex_m4f_stays_within_its_memory_and_is_never_late():
    require_target("cortex-m4f")
    done = pil(unadapted(r3_problem()), target="cortex-m4f", steps=STEPS, samples=60, audited=False)
    print(done)
    assert done.passed and done.largest_difference <= 1e-6
    assert done.violations == 0 and done.commits >= STEPS - 1 and done.worst_margin > 0
    assert done.code_bytes <= 13_000 and done.ram_bytes <= 11_000 and done.stack_bytes <= 700
    assert done.control_instructions <= 1800 and done.slice_instructions <= 60_000
    assert done.step_instructions <= 2_000_000 and done.dearest_step_instructions <= 8_000_000


def test_an_audited_adaptation_is_never_late_either():
    require_target("cortex-m4f")
    done = pil(unadapted(r3_problem()), target="cortex-m4f", steps=4, samples=10)
    assert done.passed and done.audits >= 1 and done.audited == 4000 * done.audits and done.fresh_violations == 0
    assert done.guarded is None
    assert done.code_bytes <= 16_500 and done.ram_bytes <= 11_264 and done.stack_bytes <= 700
    assert done.slice_instructions <= 60_000 and done.dearest_step_instructions <= 8_000_000


@pytest.mark.usefixtures("_hardly_any_stack")
def test_the_guard_of_a_wild_policy_is_in_time():
    """R3 with parameters far from safe ones: the device replaces what Python's guard does, within 1800 instructions."""
    require_target("cortex-m4f")
    safe = unadapted(r3_problem())
    wild = replace(safe, theta=np.random.default_rng(5).normal(0, 3.0, safe.theta.shape))
    done = pil(wild, target="cortex-m4f", steps=0, samples=60, within="level")
    print(done)
    assert done.passed and done.guarded > 20 and done.astray == 0
    assert done.control_instructions <= 1800


@pytest.mark.parametrize("target", ["cortex-m7", "cortex-m33", "rv32imafc"])
@pytest.mark.usefixtures("_hardly_any_stack")
def test_every_board_adapts(target):
    require_target(target)
    problem = double_integrator_problem()
    done = pil(unadapted(problem), target=target, steps=3, samples=10, audited=False)
    assert done.passed and done.commits >= 1 and done.objective_final < done.objective_initial
    assert done.target == target and done.step_instructions > 10_000


@pytest.mark.usefixtures("_hardly_any_stack")
def test_the_command_prints_its_keys(tmp_path, capsys, monkeypatch):
    from click.testing import CliRunner

    from scpo_ctrl.cli import cli
    from scpo_ctrl.commands import device

    require_target("cortex-m4f")
    (tmp_path / "history.npz").touch()
    monkeypatch.setattr(device, "load_result", lambda run: unadapted(double_integrator_problem()))
    made = []

    def once(*given, **options):
        if not made:
            made.append(pil(*given, **options))
        return made[0]

    monkeypatch.setattr(device, "pil", once)  # shown twice, in JSON and in words
    arguments = ["pil", str(tmp_path), "--target", "cortex-m4f", "--steps", "2", "--samples", "5"]
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    values = json.loads(done.stdout)
    assert values["passed"] and values.keys() >= KEYS and all(values[key] > 0 for key in KEYS)
    assert "instructions at most" in CliRunner().invoke(cli, arguments).stdout
    for wrong in ([], ["--target", "cortex-m4f", "--port", "/dev/null"], ["--port", "/dev/null", "--real", "float"]):
        assert CliRunner().invoke(cli, ["pil", str(tmp_path), *wrong]).exit_code == 2


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(emulator, "missing", lambda target: ("arm-none-eabi-gcc",))
    with pytest.raises(DeviceError, match="arm-none-eabi-gcc not found; apt-get install gcc-arm-none-eabi"):
        pil(unadapted(double_integrator_problem()), target="cortex-m4f")
    with pytest.raises(DeviceError, match="'host' is no emulated board"):
        pil(unadapted(double_integrator_problem()), target="host")
    with pytest.raises(DeviceError, match="either a target"):
        pil(unadapted(double_integrator_problem()))


def _ask(target, program):
    with emulator.Emulator(target, program) as board:
        Device(Port(board.port))


def test_a_program_that_does_not_build_or_start_is_said(tmp_path, monkeypatch):
    require_target("cortex-m4f")
    target = TARGETS["cortex-m4f"]
    (tmp_path / "x.c").write_text("int main(void) { return no_such_thing; }\n")
    with pytest.raises(CompilerError, match="no_such_thing"):
        emulator.build(target, [tmp_path / "x.c"], [], tmp_path / "x.elf")
    with pytest.raises(DeviceError, match=r"is gone|was closed|cannot be opened"):
        _ask(target, tmp_path / "none.elf")
    monkeypatch.setattr(emulator, "emulator_of", lambda target: "true")
    with pytest.raises(DeviceError, match="did not start: it said nothing"):
        emulator.Emulator(target, tmp_path / "none.elf")


def test_what_a_device_does_not_have_is_refused():
    import scpo_ctrl as sc

    problem = two_input_problem()
    bounded = sc.ControlProblem(
        problem.policy, problem.scenarios, problem.objective_data, sc.MetricOptions(du_max=np.full(2, 0.5))
    )
    with pytest.raises(DomainError, match="constraints of the user's own, or du_max"):
        pil(adapt(bounded, sc.AdaptOptions(steps=0, audit=False)), target="cortex-m4f")
