"""Exported controllers on emulated microcontrollers: their vectors, instructions of a step, bytes that are linked."""

import re
from pathlib import Path

import controller_exports
import pytest
from exports import require, run
from test_pil import EMULATOR, LINK, QEMU, build, emulate

from scpo_ctrl.codegen import TARGETS, export

INSTRUCTIONS, BYTES = 250, 1024  # of the motor's PID on a Cortex-M4F in float, at most
STEP = r"""
#include <stdint.h>
#include <stdio.h>
#include "scpo.h"
#include "vectors.h"
#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define TIMER 0x40000000u /* CMSDK timer 0, which counts down */
int main(void)
{
    scpo_memory memory = scpo_memory_initial;
    scpo_real u[SCPO_NU];
    uint32_t before, nothing, most = 0;
    int k;
    REGISTER(TIMER + 8) = REGISTER(TIMER + 4) = 0xFFFFFFFFu, REGISTER(TIMER) = 1u;
    before = REGISTER(TIMER + 4);
    nothing = before - REGISTER(TIMER + 4);
    for (k = 0; k < 100; k++) {
        uint32_t ticks = REGISTER(TIMER + 4);
        int n;
        for (n = 0; n < 16; n++) {
            (void)scpo_control(scpo_theta, scpo_test_y[k], scpo_test_r[k], &memory, u);
        }
        ticks -= REGISTER(TIMER + 4) + nothing;
        most = ticks > most ? ticks : most;
    }
    printf("TICKS %lu\n", (unsigned long)most);
    return 0;
}
"""
SMALL = """
#include "scpo.h"
int main(void)
{
    scpo_memory memory = scpo_memory_initial;
    scpo_real y[SCPO_NY] = {0}, u[SCPO_NU];
    return (int)scpo_control(scpo_theta, y, scpo_reference, &memory, u);
}
"""


@pytest.mark.table(4)
@pytest.mark.parametrize("name", ["pid", "lqg", "gain_schedule"])
@pytest.mark.parametrize("target", ["cortex-m4f", "cortex-m7"])
def test_vectors_on_the_device(target, name, tmp_path):
    require(TARGETS[target].compiler, QEMU)
    export(controller_exports.result_of(name), tmp_path / "c", target=target, measured=False)
    device = emulate(build(tmp_path / "c", target), target)
    assert device.returncode == 0, device.stdout[-2000:] + device.stderr
    assert "200 control vectors" in device.stdout and " 0 failures" in device.stdout


def compiled(folder: Path, main: str, *flags: str | Path) -> Path:
    """Compile a program for the emulated board, with what it takes of the export."""
    (folder / "main.c").write_text(main)
    includes = [f"-I{folder / 'c' / name}" for name in ("include", "test")]
    options = ("-std=gnu99", *TARGETS["cortex-m4f"].flags, *includes, folder / "main.c", EMULATOR / "startup.c")
    run("arm-none-eabi-gcc", *options, *flags, *LINK, "-lm", "-o", folder / "main.elf")
    return folder / "main.elf"


@pytest.mark.parametrize("flags", ["-O2", "-Os"])
def test_a_pid_takes_few_instructions(flags, tmp_path):
    require(TARGETS["cortex-m4f"].compiler, QEMU)
    export(controller_exports.result_of("pid"), tmp_path / "c", target="cortex-m4f", measured=False)
    sources = [*(tmp_path / "c" / "src").glob("*.c"), tmp_path / "c" / "test" / "vectors.c"]
    program = compiled(tmp_path, STEP, flags, *sources)
    done = emulate(program, "cortex-m4f", "-icount", "shift=6")  # 64 ns an instruction, 40 ns a tick
    instructions = int(re.search(r"TICKS (\d+)", done.stdout)[1]) * 40 / 64 / 16
    print(f"{flags}: {instructions:.0f} instructions a step, the loop that calls it included")
    assert 50 < instructions <= INSTRUCTIONS


def test_who_calls_a_step_links_nothing_else(tmp_path):
    require(TARGETS["cortex-m4f"].compiler, "make")
    export(controller_exports.result_of("pid"), tmp_path / "c", target="cortex-m4f", measured=False)
    run("make", "-C", tmp_path / "c", "target")
    program = compiled(tmp_path, SMALL, "-Os", tmp_path / "c" / "build" / "cortex-m4f" / "libscpo.a")
    symbols = run("arm-none-eabi-nm", "-S", program)
    found = {name: int(size, 16) for size, name in re.findall(r"^\w+ (\w+) \w (scpo_[\w.]+)$", symbols, re.MULTILINE)}
    numbers = {name for name in found if re.match(r"scpo_(theta|memory|u|reference)", name)}
    code = sum(size for name, size in found.items() if name not in numbers)
    print(f"code of a step {code} bytes, numbers {sum(found[name] for name in numbers)}: {sorted(found)}")
    assert not [name for name in found if re.search("project|dual|start|dot", name)]
    assert 100 < code <= BYTES


def test_sizes_are_in_the_readme(tmp_path):
    require(TARGETS["cortex-m4f"].compiler)
    done = export(controller_exports.result_of("lqi"), tmp_path / "c", target="cortex-m4f")
    assert done.resources["static_bytes"] == 0  # no state of its own: functions can be called from several contexts
    assert 20 < done.resources["control_stack_bytes"] < 400
    assert f"| code | {done.resources['code_bytes']} |" in (tmp_path / "c" / "README.md").read_text()
