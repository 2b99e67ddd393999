"""An emulated Cortex-M4F adapts as Python says that it will: in float, whatever its compiler optimises for."""

import json

import device_runs
import pytest
from exports import need, run

from scpo_ctrl.codegen import TARGETS
from scpo_ctrl.device import device_adapter
from scpo_ctrl.device.emulator import BOARD

TARGET, STEPS = TARGETS["cortex-m4f"], 12
LINK = f"--specs=rdimon.specs -nostartfiles -Wl,--gc-sections -T {BOARD / 'link.ld'} {BOARD / 'startup.c'}"
SEMIHOSTING = "-display none -monitor none -serial none -chardev stdio,id=console"


@pytest.mark.table(2)
@pytest.mark.parametrize("optimisation", ["-Os", "-O2"])
def test_the_same_bits_on_a_microcontroller(tmp_path, optimisation):
    need(TARGET.compiler, "qemu-system-arm")
    problem = device_runs.CASES["R3"]()
    flags = f"{' '.join(TARGET.flags)} -std=c99 {optimisation} -DSTEPS={STEPS} -ffunction-sections {LINK}"
    program = device_runs.build(problem, tmp_path / "c", "float", flags, TARGET.compiler)
    found = run(
        *("qemu-system-arm", "-M", TARGET.machine, *SEMIHOSTING.split(), "-kernel", program),
        *("-semihosting-config", "enable=on,target=native,chardev=console"),
    )
    adapter = device_adapter(problem, "float")
    lines = [json.loads(line) for line in found.splitlines()]
    assert [device_runs.state(adapter, adapter.step()) for _ in range(STEPS)] == lines
    assert adapter.counts.commits > 8 and problem.metrics(adapter.theta.astype(float)).max() <= 0
