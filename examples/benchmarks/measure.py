"""Compile the C of a solver, and measure instructions, bytes of code and RAM, and the quality of the answers."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from generated import HERE, GenerationError, Program, last_error
from instances import Case, gap, violation

CORTEX_M4F = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
CLOCKS = ["-D_POSIX_TIMERS=1", "-D_POSIX_MONOTONIC_CLOCK=1"]  # solvers that time themselves find them declared
WRAPPED = [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc", "free")]


@dataclass(frozen=True)
class Compiler:
    """A compiler and its options."""

    prefix: str  # of the tools' names
    flags: list[str]


HOST = Compiler("", ["-O2"])
DEVICE = Compiler("arm-none-eabi-", ["-Os", *CORTEX_M4F, *CLOCKS])


@dataclass(frozen=True)
class Bytes:
    """Memory that is known at link time: code with constants, and variables."""

    code: int
    variables: int


def run(command: list[object]) -> str:
    """Run a tool and return its standard output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise GenerationError(last_error(done.stderr))
    return done.stdout


def compiled(program: Program, folder: Path, compiler: Compiler) -> list[Path]:
    """Compile the sources of a solver, a section for each function and variable."""
    folder.mkdir(parents=True)
    options = [*compiler.flags, "-w", "-ffunction-sections", "-fdata-sections", *program.flags]

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.stem}_{hashlib.sha256(str(source).encode()).hexdigest()[:8]}.o"
        run([f"{compiler.prefix}gcc", *options, "-c", source, "-o", target])
        return target

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(compile_one, program.sources))


def linked_bytes(program: Program, objects: list[Path], compiler: Compiler) -> Bytes:
    """Return the bytes of what the entries reach in the solver's own code; the C library is left out."""
    whole = objects[0].with_name("whole.o")
    wanted = [word for name in program.entries for word in ("-u", name)]
    run([f"{compiler.prefix}ld", "-r", "--gc-sections", "-e", program.entries[0], *wanted, *objects, "-o", whole])
    line = run([f"{compiler.prefix}size", whole]).splitlines()[1].split()
    return Bytes(int(line[0]), int(line[1]) + int(line[2]))


def executable(program: Program, objects: list[Path], d: int, m: int) -> Path:
    """Link the solver with its adapter and the driver."""
    target = objects[0].with_name("bench")
    adapter = target.with_suffix(".o")
    options = [*HOST.flags, "-w", f"-DDIM={d}", f"-DCOUNT={m}", f"-I{HERE / 'c'}", *program.flags]
    run(["gcc", *options, "-c", program.adapter, "-o", adapter])
    drivers = [HERE / "c" / "main.c", HERE / "c" / "heap.c"]
    run(["gcc", *options, *WRAPPED, *drivers, adapter, *objects, "-lm", "-o", target])
    return target


def adapter_bytes(program: Program, executable: Path) -> dict[str, int]:
    """Return the sizes of the variables that the adapter holds for any user of the solver."""
    lines = [line.split() for line in run(["nm", "-S", executable.with_suffix(".o")]).splitlines()]
    return {line[-1]: int(line[1], 16) for line in lines if len(line) == 4 and line[-1] in program.memory}


@dataclass(frozen=True)
class Run:
    """What the answers cost, and how good they are."""

    instructions: float  # mean for a projection
    gap: float  # largest
    violation: float  # largest
    heap: int  # bytes at the peak


def measured(program: Path, cases: list[Case], best: list[float]) -> Run:
    """Run the cases once and twice under callgrind: the difference leaves set-up, reading and writing out."""
    data, answers = program.with_name("cases.bin"), program.with_name("answers.bin")
    flat = [np.concatenate([case.u, case.c, case.G.ravel(), case.e, case.L, [case.r]]) for case in cases]
    np.concatenate(flat).tofile(data)
    counts = [instructions([program, data, len(cases), passes, answers]) for passes in (1, 2)]
    run([program, data, len(cases), 1, answers])
    numbers = np.fromfile(answers)
    deltas = numbers[:-1].reshape(len(cases), -1)
    return Run(
        instructions=(counts[1] - counts[0]) / len(cases),
        gap=max(gap(case, delta, value) for case, delta, value in zip(cases, deltas, best, strict=True)),
        violation=max(violation(case, delta) for case, delta in zip(cases, deltas, strict=True)),
        heap=int(numbers[-1]),
    )


def instructions(command: list[object]) -> int:
    """Return how many instructions a command takes, by callgrind."""
    words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode or found is None:
        raise GenerationError(f"valgrind: {last_error(done.stderr)}")
    return int(found[1])
