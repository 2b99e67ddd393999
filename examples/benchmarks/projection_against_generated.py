"""The projection (E5) as C for a device: our runtime against C that qocogen and cvxpygen generate for the same size.

All solve the same random instances. Reported, with ratios to ours in double:

instructions  mean for a projection, x86, gcc -O2, by callgrind; updating the problem's data included, set-up not
gap           largest relative distance of the objective from the optimum; each solver has its own default tolerances
x86, M4F      bytes of code and constants that the solver's functions reach, gcc -O2 and Cortex-M4F gcc -Os, without
              the C library and the compiler's support functions
RAM           bytes of static variables, of the problem's data and the solver's workspace, and of the heap at its peak
              (malloc and its kin replaced at linking), all on x86; the stack is left out

    pip install 'scpo-ctrl[benchmarks]'
    python examples/benchmarks/projection_against_generated.py
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path


def require() -> None:
    """Leave with status 2 and one line of advice if a package or a tool is missing."""
    packages = ("clarabel", "cvxpy", "cvxpygen", "qocogen", "qoco", "ecos", "scipy")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        print(f"missing {', '.join(missing)}; install with: pip install 'scpo-ctrl[benchmarks]'", file=sys.stderr)
        sys.exit(2)
    tools = [name for name in ("gcc", "ld", "nm", "size", "valgrind") if shutil.which(name) is None]
    if tools:
        advice = "sudo apt-get install gcc binutils valgrind"
        print(f"missing {', '.join(tools)}; on Debian: {advice}", file=sys.stderr)
        sys.exit(2)


require()

from generated import GenerationError, Program, cvxpygen, ours, qocogen
from instances import instances, optimum, print_table
from measure import DEVICE, HOST, adapter_bytes, compiled, executable, linked_bytes, measured

SIZES = ((5, 4), (20, 10), (21, 20))  # dimension, constraints
COUNT = 20  # instances of each size
TARGETS = (  # ours in double needs at most one part in so many of the other's instructions
    ("qocogen", (20, 10), 30),
    ("qocogen", (21, 20), 20),
    ("cvxpygen + ECOS", (20, 10), 80),
    ("cvxpygen + ECOS", (21, 20), 80),
)
MOST_CODE, MOST_WORKSPACE = 3500, 1300  # bytes, ours in float
BASE = "scpo-ctrl, double"
HEAD = ["d, m", "code", "instructions", "ratio", "gap", "violation", "x86", "ratio", "M4F", "ratio", "RAM", "ratio"]


@dataclass(frozen=True)
class Row:
    """What a solver needs at one size; a text says why a number is missing."""

    name: str
    instructions: float = 0
    gap: float = 0
    violation: float = 0
    host: int = 0
    device: int | str = 0
    ram: int = 0
    workspace: int = 0  # ours: RAM without the problem's data and the answer
    failure: str = ""


def on_device(program: Program, folder: Path) -> int | str:
    """Return the bytes of code on the Cortex-M4F, or why there are none."""
    if shutil.which("arm-none-eabi-gcc") is None:
        return "no compiler"
    try:
        return linked_bytes(program, compiled(program, folder, DEVICE), DEVICE).code
    except GenerationError as error:
        return str(error)


def row(name: str, generate: Callable, folder: Path, size: tuple[int, int], judged: tuple[list, list]) -> Row:
    """Generate, compile and measure one solver."""
    try:
        program = generate(folder / "code", *size)
        objects = compiled(program, folder / "host", HOST)
        fixed = linked_bytes(program, objects, HOST)
        binary = executable(program, objects, *size)
        run = measured(binary, *judged)
    except (GenerationError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return Row(name, failure=f"does not build: {type(error).__name__}: {error}")
    held = adapter_bytes(program, binary)
    return Row(
        name=name,
        instructions=run.instructions,
        gap=run.gap,
        violation=run.violation,
        host=fixed.code,
        device=on_device(program, folder / "device"),
        ram=fixed.variables + sum(held.values()) + run.heap,
        workspace=held.get("work", 0),
    )


def rows(size: tuple[int, int], folder: Path) -> list[Row]:
    """Measure all solvers at one size."""
    cases = instances(*size, COUNT)
    judged = (cases, [optimum(case) for case in cases])
    generators: dict[str, Callable] = {
        BASE: partial(ours, real="double"),
        "scpo-ctrl, float": partial(ours, real="float"),
        "qocogen": qocogen,
        "cvxpygen + ECOS": partial(cvxpygen, solver="ECOS"),
        "cvxpygen + QOCO": partial(cvxpygen, solver="QOCO"),
    }
    return [
        row(name, generate, folder / f"{size[0]}_{size[1]}_{k}", size, judged)
        for k, (name, generate) in enumerate(generators.items())
    ]


def lines(size: tuple[int, int], found: list[Row]) -> list[list[str]]:
    """Return the lines of the table for one size."""
    base = found[0]

    def cells(value: float | str, unit: float | str) -> list[str]:
        if isinstance(value, str):
            return [value, ""]
        return [f"{value:.0f}", f"{value / unit:.1f}" if isinstance(unit, int | float) and unit else ""]

    table = []
    for one in found:
        start = [f"{size[0]}, {size[1]}", one.name]
        if one.failure:
            table.append([*start, one.failure])
            continue
        judged = [f"{one.gap:.0e}", f"{one.violation:.0e}" if one.violation else "none"]
        pairs = ((one.host, base.host), (one.device, base.device), (one.ram, base.ram))
        bytes_of = [cell for pair in pairs for cell in cells(*pair)]
        ratio = f"{one.instructions / base.instructions:.1f}" if base.instructions else ""
        table.append([*start, f"{one.instructions:.0f}", ratio, *judged, *bytes_of])
    return table


def print_targets(results: dict[tuple[int, int], list[Row]]) -> None:
    """Say of each target whether these numbers reach it."""
    print("\nTargets")
    for name, size, wanted in TARGETS:
        found = {one.name: one for one in results[size]}
        if found[name].failure or found[BASE].failure:
            print(f"  instructions, {name} / {BASE} at {size}: not measured")
            continue
        ratio = found[name].instructions / found[BASE].instructions
        verdict = "reached" if ratio >= wanted else "NOT reached"
        print(f"  instructions, {name} / {BASE} at {size}: {ratio:.1f}, at least {wanted}: {verdict}")
    small = {one.name: one for one in results[(20, 10)]}["scpo-ctrl, float"]
    sizes = (("code on the M4F", small.device, MOST_CODE), ("workspace", small.workspace, MOST_WORKSPACE))
    for what, value, most in sizes:
        verdict = "not measured" if isinstance(value, str) else "reached" if value <= most else "NOT reached"
        print(f"  {what}, {small.name} at (20, 10): {value} bytes, at most {most}: {verdict}")


def main() -> None:
    """Print the table."""
    results: dict[tuple[int, int], list[Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            results[size] = rows(size, Path(folder))
    print(f"Projection (E5) in C, {COUNT} random instances of each size.\n")
    table: list[list[str]] = []
    for size, found in results.items():
        table += [*lines(size, found), []]
    print_table(HEAD, table[:-1], texts=2)
    print_targets(results)


if __name__ == "__main__":
    main()
