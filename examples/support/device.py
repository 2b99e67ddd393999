"""An exported controller on an emulated Cortex-M4F: its vectors, instructions of a step, bytes that are linked."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scpo_ctrl import ControllerPolicy, Policy
from scpo_ctrl.codegen import TARGETS
from scpo_ctrl.device.emulator import BOARD

TARGET = TARGETS["cortex-m4f"]
TOOLS = (TARGET.compiler, "qemu-system-arm")
_EMULATOR = BOARD
_STEPS = 16  # between two readings of the timer
_TICK, _INSTRUCTION = 40, 64  # ns; the second by QEMU's -icount shift=6
_STEP = r"""
#include <stdint.h>
#include <stdio.h>
#include "scpo.h"
#include "vectors.h"
#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define TIMER 0x40000000u /* CMSDK timer 0, which counts down */
int main(void)
{
    %(memory)s
    scpo_real u[SCPO_NU];
    uint32_t before, nothing, most = 0, least = 0xFFFFFFFFu;
    int k;
    REGISTER(TIMER + 8) = REGISTER(TIMER + 4) = 0xFFFFFFFFu, REGISTER(TIMER) = 1u;
    before = REGISTER(TIMER + 4);
    nothing = before - REGISTER(TIMER + 4);
    for (k = 0; k < 100; k++) {
        uint32_t ticks = REGISTER(TIMER + 4);
        int n;
        for (n = 0; n < %(steps)d; n++) {
            (void)scpo_control(%(arguments)s);
        }
        ticks -= REGISTER(TIMER + 4) + nothing;
        most = ticks > most ? ticks : most;
        least = ticks < least ? ticks : least;
    }
    printf("TICKS %%lu %%lu\n", (unsigned long)most, (unsigned long)least);
    return 0;
}
"""
_ALONE = """
#include "scpo.h"
int main(void)
{
    %(memory)s
    scpo_real y[%(inputs)s] = {0}, u[SCPO_NU];
    return (int)scpo_control(%(arguments)s);
}
"""


@dataclass(frozen=True)
class OnDevice:
    """What an exported controller takes on the emulated device, in float."""

    instructions: float  # of a step at -O2, the call included: of 100 measurements the most
    fewest: float  # of the same
    code: int  # bytes that a program which only calls a step links of the export at -Os, numbers aside
    replayed: str  # what the runner of its vectors printed


def missing() -> tuple[str, ...]:
    """Return the tools that are not installed: none where a controller can be run."""
    return tuple(tool for tool in TOOLS if shutil.which(tool) is None)


def run_on_device(policy: ControllerPolicy | Policy, folder: Path, work: Path) -> OnDevice:
    """Build an export for the emulated board, replay its vectors there, and measure a step.

    Parameters
    ----------
    policy : ControllerPolicy or Policy
        Whose export it is, with the prefix scpo.
    folder : pathlib.Path
        The export.
    work : pathlib.Path
        Where programs go.

    Returns
    -------
    OnDevice

    Raises
    ------
    RuntimeError
        If a program does not build, or a vector differs.
    """
    sources = sorted((folder / "src").glob("*.c"))
    replayed = _emulate(_build(folder, work, "test", [*sources, *sorted((folder / "test").glob("*.c"))], "-O2"))
    if " 0 failures" not in replayed:
        raise RuntimeError(f"{folder}: {replayed.strip()}")
    texts = {name: _filled(text, policy, name) for name, text in (("step", _STEP), ("alone", _ALONE))}
    for name, text in texts.items():
        (work / f"{name}.c").write_text(text, encoding="utf-8")
    program = _build(folder, work, "step", [work / "step.c", *sources, folder / "test" / "vectors.c"], "-O2")
    ticks = re.search(r"TICKS (\d+) (\d+)", _emulate(program, "-icount", "shift=6"))
    if ticks is None:
        raise RuntimeError(f"{program} printed no count")
    alone = _build(folder, work, "alone", [work / "alone.c", *sources], "-Os")
    symbols = _run(f"{TARGET.tools}nm", "-S", str(alone))
    found = {name: int(size, 16) for size, name in re.findall(r"^\w+ (\w+) \w (scpo_[\w.]+)$", symbols, re.MULTILINE)}
    code = sum(size for name, size in found.items() if not re.match(r"scpo_(theta|memory|u_|reference)", name))
    most, least = (int(count) * _TICK / _INSTRUCTION / _STEPS for count in ticks.groups())
    return OnDevice(most, least, code, next(line for line in replayed.splitlines() if "control vectors" in line))


def _filled(text: str, policy: ControllerPolicy | Policy, name: str) -> str:
    row = "[k]" if name == "step" else ""
    if isinstance(policy, Policy):
        state = f"scpo_test_x{row}" if name == "step" else "y"
        arguments = f"scpo_theta, {state}, u"
        return text % {"memory": "", "arguments": arguments, "steps": _STEPS, "inputs": "SCPO_NX"}
    law = policy.controller
    reference = f"scpo_test_r{row}" if name == "step" else "scpo_reference"
    signals = [f"scpo_test_y{row}" if name == "step" else "y"] + [reference] * bool(law.r.numel())
    arguments = ", ".join(["scpo_theta", *signals, *["&memory"] * bool(law.memories), "u"])
    memory = "scpo_memory memory = scpo_memory_initial;" if law.memories else ""
    return text % {"memory": memory, "arguments": arguments, "steps": _STEPS, "inputs": "SCPO_NY"}


def _build(folder: Path, work: Path, name: str, sources: list[Path], optimisation: str) -> Path:
    program = work / f"{name}.elf"
    flags = ("-std=gnu99", optimisation, "-ffunction-sections", "-fdata-sections", *TARGET.flags)
    link = ("--specs=rdimon.specs", "-nostartfiles", "-Wl,--gc-sections", "-T", str(_EMULATOR / "link.ld"), "-lm")
    files = [str(file) for file in (*sources, _EMULATOR / "startup.c")]
    _run(TARGET.compiler, *flags, f"-I{folder / 'include'}", f"-I{folder / 'test'}", *files, *link, "-o", str(program))
    return program


def _emulate(program: Path, *options: str) -> str:
    board = (TOOLS[1], "-M", TARGET.machine, "-display", "none", "-monitor", "none", "-serial", "none")
    console = ("-chardev", "stdio,id=console", "-semihosting-config", "enable=on,target=native,chardev=console")
    return _run(*board, *console, "-kernel", str(program), *options)


def _run(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:].strip()}")
    return done.stdout
