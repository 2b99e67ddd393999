"""What a control law in integers takes on processors without a floating-point unit, beside float in software.

python examples/benchmarks/fixed_point.py [--targets cortex-m0plus ...]

R3's network of 12 units, adapted for 20 steps. Instructions are counted by the emulator, of 100 states the most; they
are not cycles. Bytes are those of a program that only calls the function, all libraries included, less those of an
empty one. A Cortex-M3 executes the code of a Cortex-M0+ here, which QEMU has no board with: the same instructions.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests")]

from device_problems import r3_problem
from support.common import print_table

import scpo_ctrl as sc
from scpo_ctrl.codegen import TARGETS, export
from scpo_ctrl.codegen.targets import Target
from scpo_ctrl.device.emulator import build, check_tools, instructions_per_tick

BOARDS = ("cortex-m0plus", "cortex-m3", "cortex-m4f")
CALLS = {
    "`scpo_control`, float": "(void)scpo_control(scpo_theta_initial, x[k], u)",
    "`scpo_controller_control`, float": "(void)scpo_controller_control(&controller, x[k], u)",
    "`scpo_fixed_command`": "scpo_fixed_command(&scpo_fixed_initial, counts[k], v)",
    "`scpo_fixed_commit`, in the background": "(void)scpo_fixed_commit(&fixed, scpo_theta_initial)",
}
MAIN = r"""
#include <stdint.h>
#include <stdio.h>
#include "scpo_fixed.h"
#include "vectors.h"
#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
static scpo_controller controller;
static scpo_fixed fixed;
static scpo_real u[SCPO_NU];
static int32_t v[SCPO_NU];
#define x scpo_test_x
#define counts scpo_test_fixed_x
int main(void)
{
    uint32_t before, nothing, most = 0;
    int k;
    (void)scpo_controller_begin(&controller, scpo_theta_initial);
    REGISTER(TIMER + 8) = REGISTER(TIMER + 4) = 0xFFFFFFFFu, REGISTER(TIMER) = 1u;
    before = REGISTER(TIMER + 4);
    nothing = before - REGISTER(TIMER + 4);
    for (k = 0; k < 100; k++) {
        uint32_t ticks = REGISTER(TIMER + 4);
        int n;
        for (n = 0; n < 8; n++) {
            CALL;
        }
        ticks -= REGISTER(TIMER + 4) + nothing;
        most = ticks > most ? ticks : most;
    }
    printf("TICKS %lu\n", (unsigned long)most);
    return 0;
}
"""
ALONE = """
#include "scpo_fixed.h"
extern scpo_controller controller;
extern scpo_real x[1][SCPO_NX], u[SCPO_NU];
extern int32_t counts[1][SCPO_NX], v[SCPO_NU];
extern scpo_fixed fixed;
scpo_controller controller;
scpo_fixed fixed;
scpo_real x[1][SCPO_NX], u[SCPO_NU];
int32_t counts[1][SCPO_NX], v[SCPO_NU];
int main(void)
{
    const int k = 0;
    (void)k;
    CALL;
    return (int)u[0] + v[0];
}
"""


def run(*command: object) -> str:
    """Return what a command prints."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def program(target: Target, folder: Path, work: Path, text: str, call: str, name: str) -> Path:
    """Build a program that calls a function."""
    source, made = work / f"{name}.c", work / f"{name}.elf"
    source.write_text(text.replace("CALL;", f"{call};"), encoding="utf-8")
    sources = [source, *sorted((folder / "src").glob("*.c")), folder / "test" / "vectors.c"]
    build(target, sources, [folder / "include", folder / "test"], made)
    return made


def instructions(target: Target, elf: Path) -> float:
    """Return instructions of a call at most."""
    console = ("-chardev", "stdio,id=console", "-semihosting-config", "enable=on,target=native,chardev=console")
    board = ("-M", target.machine, "-display", "none", "-monitor", "none", "-serial", "none", "-icount", "shift=6")
    ticks = re.search(r"TICKS (\d+)", run("qemu-system-arm", *board, *console, "-kernel", elf))
    assert ticks is not None
    return int(ticks[1]) * instructions_per_tick(target) / 8


def size(target: Target, elf: Path) -> int:
    """Return bytes of code and constants of a program."""
    return int(run(f"{target.tools}size", elf).splitlines()[1].split()[0])


def column(target: Target, result: sc.Result, work: Path) -> list[tuple[str, str]]:
    """Return instructions and bytes of each function on a target."""
    check_tools(target)
    folder = work / target.name
    export(result, folder, target.name, "float", measured=False, fixed=True)
    empty = size(target, program(target, folder, work, ALONE, "", "empty"))
    found = []
    for call in CALLS.values():
        count = instructions(target, program(target, folder, work, MAIN, call, "main"))
        bytes_alone = size(target, program(target, folder, work, ALONE, call, "alone")) - empty
        found.append((f"{count:,.0f}", f"{bytes_alone:,}"))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", choices=BOARDS, default=BOARDS)
    options = parser.parse_args()
    result = sc.adapt(r3_problem(), sc.AdaptOptions(steps=20, audit=False))
    with tempfile.TemporaryDirectory() as name:
        columns = [column(TARGETS[target], result, Path(name)) for target in options.targets]
    heads = [f"{target}, {what}" for target in options.targets for what in ("instructions", "bytes")]
    rows = [[call, *(cell for of in columns for cell in of[k])] for k, call in enumerate(CALLS)]
    print_table(["", *heads], rows)


if __name__ == "__main__":
    main()
