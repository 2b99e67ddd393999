"""The projection on emulated microcontrollers: bytes of code and workspace, instructions per solve.

    python examples/benchmarks/projection_on_targets.py

Code at -Os, repair and checks included, libm and libgcc not; workspace for 20 dimensions and 10 constraints at once;
instructions (not cycles) at -O2 under QEMU, everything included: mean over random strictly feasible instances, their
largest, and the largest over instances of all regimes of tests/projection_cases.py, degenerate ones included. Below the
table, per size, what the caps in the source allow at most: iterations, sweeps, and multiplications with an addition.
Needs gcc-arm-none-eabi, gcc-riscv64-unknown-elf with picolibc, qemu-system-arm and qemu-system-misc; what is missing is
said.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from projection_instructions import CONFIG, ROOT, RUNTIME, SIZES, SOURCES, write_cases, write_instances

from scpo_ctrl.codegen.targets import TARGETS, Target
from scpo_ctrl.device.emulator import BOARD

sys.path.insert(0, str(ROOT / "tests"))
from projection_cases import REGIMES, cases

COUNT = 20
EACH = 4  # instances of every regime
RUNS = (
    ("cortex-m3", "float"),
    ("cortex-m4f", "float"),
    ("cortex-m7", "float"),
    ("cortex-m7", "double"),
    ("cortex-m33", "float"),
    ("rv32imafc", "float"),
)
M33_MEMORY = (("0x00000000, LENGTH", "0x10000000, LENGTH"), ("0x20000000, LENGTH", "0x38000000, LENGTH"))
MAIN = r"""
#include <stdint.h>
#include <stdio.h>
#include "scpo.h"
#include "instances.h"
#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#if defined __riscv
static void start(void) {}
static uint32_t now(void)
{
    uint32_t x;
    __asm__ volatile(".option push\n.option arch,+zicsr\ncsrr %0, minstret\n.option pop" : "=r"(x)::"memory");
    return x;
}
#else /* CMSDK timer 0, which counts down */
static void start(void) { REGISTER(TIMER + 8) = REGISTER(TIMER + 4) = 0xFFFFFFFFu, REGISTER(TIMER) = 1u; }
static uint32_t now(void) { return ~REGISTER(TIMER + 4); }
#endif
static scpo_workspace work;
int main(void)
{
    scpo_real delta[DIM];
    uint32_t most = 0;
    uint32_t sum = 0;
    int capped = 0;
    start();
    for (int k = 0; k < INSTANCES; k++) {
        const scpo_projection problem = {DIM, ROWS, u[k], c[k], G[k], e[k], L[k], r[k], &work};
        uint32_t ticks = now();
        capped += scpo_project(&problem, delta) != SCPO_OK;
        ticks = now() - ticks;
        most = ticks > most ? ticks : most;
        sum += ticks;
    }
    printf("TICKS %lu %lu %d\n", (unsigned long)sum, (unsigned long)most, capped);
    return 0;
}
"""


def run(*command: object) -> str:
    """Run a command; return what it printed."""
    text = [str(x) for x in command]
    return subprocess.run(
        text, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True
    ).stdout


def includes(folder: Path) -> tuple[str, str]:
    return f"-I{folder}", f"-I{RUNTIME / 'include'}"


def code_and_workspace(target: Target, folder: Path) -> tuple[int, int]:
    """Return bytes of code at -Os, and of the workspace."""
    objects = []
    for source in SOURCES:
        objects.append(folder / f"{source.stem}.o")
        run(target.compiler, "-std=c99", "-Os", *target.flags, *includes(folder), "-c", source, "-o", objects[-1])
    probe = folder / "probe.c"
    probe.write_text('#include "scpo.h"\nextern scpo_workspace work;\nscpo_workspace work = {0, 0, 1};\n')
    sizes = ("-DSCPO_MAX_DIM=20", "-DSCPO_MAX_ACTIVE=10")
    run(target.compiler, "-std=c99", *target.flags, *sizes, *includes(folder), "-c", probe, "-o", folder / "probe.o")
    rows = run(f"{target.tools}size", *objects, folder / "probe.o").splitlines()[1:]
    return sum(int(row.split()[0]) for row in rows[:-1]), int(rows[-1].split()[1])


def link_flags(target: Target, folder: Path) -> list[object]:
    """Return what the linker needs for the emulated board."""
    if target.name == "rv32imafc":
        symbols = ["flash=0x80000000", "flash_size=0x200000", "ram=0x80200000", "ram_size=0x200000"]
        return ["--oslib=semihost", "--crt0=hosted", *(f"-Wl,--defsym=__{symbol}" for symbol in symbols)]
    script = (BOARD / "link.ld").read_text()
    if target.name == "cortex-m33":
        for old, new in M33_MEMORY:
            script = script.replace(old, new)
    (folder / "link.ld").write_text(script)
    return [BOARD / "startup.c", "--specs=rdimon.specs", "-nostartfiles", "-T", folder / "link.ld"]


def of_all_regimes(p: int, m: int, real: str) -> list[dict[str, np.ndarray]]:
    """Return instances of every regime."""
    number = np.float64 if real == "double" else np.float32
    found = [case for name in REGIMES for case in cases(name, EACH, ((p, m),), seed=3, real=number)]
    return [{**case._asdict(), "G": case.G.ravel(), "r": np.array([case.r])} for case in found]


def measured(target: Target, folder: Path, real: str, p: int, m: int) -> str:
    """Return instructions per solve: mean and largest of the plain instances, largest of all regimes."""
    write_instances(folder, p, m, COUNT)
    mean, most, capped = instructions(target, folder, COUNT)
    every = of_all_regimes(p, m, real)
    write_cases(folder, every)
    _, worst, capped_too = instructions(target, folder, len(every))
    return f"{mean:10,.0f} {most:10,.0f}{'*' if capped else ' '}{worst:11,.0f}{'*' if capped_too else ' '}"


def most_work(p: int, m: int) -> str:
    """Return what the caps allow, for a working set of all m constraints and the radius."""
    source = "".join(file.read_text() for file in [RUNTIME / "src" / "scpo_internal.h", *SOURCES])
    newton, trials = (int(re.search(rf"#define SCPO_MAX_{name} (\d+)", source)[1]) for name in ("NEWTON", "SEARCH"))
    shrink = 50  # in double the repair's least part, 4 eps, doubles so often before it gives up
    k = m + 1
    point = 2 * k * p + 8 * k + p  # w, its products with the rows, derivatives
    change = k * (k + 1) * (k + 2) // 6 + 5 * k * (k + 1)  # factor, two substitutions, gains
    step = (1 + trials) * point + 6 * (k + 1) * change
    sweeps = newton + shrink  # each takes one off the budget, those that only repair too
    join = (k + 1) * p + 8
    total = newton * step + sweeps * m * (2 * p + 16 + join)
    return f"({p}, {m}): {newton} iterations, {sweeps} sweeps, {total:,} multiplications"


def instructions(target: Target, folder: Path, count: int) -> tuple[float, float, int]:
    """Return mean and largest of the instructions per solve, and how many met a cap."""
    (folder / "main.c").write_text(MAIN)
    timer = "-DTIMER=0x50000000u" if target.name == "cortex-m33" else "-DTIMER=0x40000000u"
    flags = ["-std=gnu99", "-O2", timer, *target.flags, *includes(folder)]
    program = folder / "main.elf"
    run(target.compiler, *flags, *SOURCES, folder / "main.c", *link_flags(target, folder), "-lm", "-o", program)
    riscv = target.name == "rv32imafc"
    machine = ["-M", target.machine, *(["-bios", "none"] if riscv else [])]
    console = ["-chardev", "stdio,id=sh0", "-semihosting-config", "enable=on,target=native,chardev=sh0"]
    quiet = ["-display", "none", "-monitor", "none", "-serial", "none", "-icount", "shift=0" if riscv else "shift=6"]
    output = run("qemu-system-riscv32" if riscv else "qemu-system-arm", *machine, *console, *quiet, "-kernel", program)
    total, most, capped = (int(x) for x in re.search(r"TICKS (\d+) (\d+) (\d+)", output).groups())
    scale = 1 if riscv else (50 if target.name == "cortex-m33" else 40) / 64  # [instructions per tick]
    return total * scale / count, most * scale, capped


def main() -> None:
    print(f"projection on emulated targets; instructions per solve, mean and largest of {COUNT} plain instances,")
    print(f"and largest of {EACH} instances of each of {len(REGIMES)} regimes (* marks instances that met a cap)\n")
    heads = "".join(f"{f'({p}, {m})':>36}" for p, m in SIZES)
    print(f"{'target':12}{'real':8}{'code':>7}{'work':>7}{heads}")
    for name, real in RUNS:
        target = TARGETS[name]
        emulator = "qemu-system-riscv32" if name == "rv32imafc" else "qemu-system-arm"
        missing = [tool for tool in (target.compiler, emulator) if shutil.which(tool) is None]
        if missing:
            print(f"{name:12}{real:8}  not measured: {' and '.join(missing)} not found")
            continue
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            (folder / "scpo_config.h").write_text(CONFIG.format(real=real, double=int(real == "double")))
            code, work = code_and_workspace(target, folder)
            counts = "  ".join(measured(target, folder, real, p, m) for p, m in SIZES)
        print(f"{name:12}{real:8}{code:7d}{work:7d} {counts}", flush=True)
    print("\nat most, whatever the numbers are:")
    for p, m in SIZES:
        print(most_work(p, m))


if __name__ == "__main__":
    main()
