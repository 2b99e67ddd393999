"""The projection on a million random instances of every regime: caps met, infeasible answers, gaps, iterations.

    python examples/benchmarks/projection_million.py [--count N] [--regimes NAMES] [--real double|float] [--size D,M]
                                                     [--resume FILE]

One C program (c/million.c, c/regimes.h) draws, solves and judges an instance after the other: the regimes of
tests/projection_cases.py, 1 to 64 dimensions and 1 to 64 constraints, log-uniform, or of one size. Feasible means (E4)
in the arithmetic of the solver and in long double. The gap is to the bound that weak duality gives with the solver's
own multipliers, in long double, relative to the objective, or to 1e-6 |u|^2 where that is less: an upper bound, on
every instance. Iterations are Newton steps and rounds of the working set. Instances come in portions of 100 000, the
same every time; --resume keeps the counts of whole portions in a file and goes on from there. A million instances take
some 15 s on a desktop-class core. Needs gcc.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from projection_instructions import CONFIG, RUNTIME, SOURCES

DRIVER = Path(__file__).parent / "c" / "million.c"
REGULAR = (
    *("plain", "exact_gradients", "small_steps", "already_inside", "far_target", "tiny_target", "radius_active"),
    *("scaled_rows", "some_on_boundary", "large_errors"),
)
DEGENERATE = (
    *("no_target", "huge_target", "all_on_boundary", "boundary_and_scaled", "boundary_cone", "boundary_wide"),
    *("boundary_exact", "nearly_boundary", "duplicates", "duplicate_gradients", "parallel_rows", "opposed_rows"),
    *("rank_deficient", "zero_rows", "curvature_spread", "polyhedron", "polyhedron_far", "normal_cone"),
)
LIMITS = {"double": (1e-8, 1e-6), "float": (1e-3, 1e-3)}  # of the gap: regular, degenerate
CHUNK = 100_000
HEAD = f"{'regime':22}{'instances':>10}{'capped':>8}{'infeasible':>12}{'gap above':>11}{'worst gap':>11}  iterations"


def build(folder: Path, real: str, size: str | None) -> Path:
    """Compile the driver with the runtime, for instances of all sizes or of one."""
    (folder / "scpo_config.h").write_text(CONFIG.format(real=real, double=int(real == "double")))
    sizes = ["-DSCPO_MAX_DIM=64", "-DSCPO_MAX_ACTIVE=64"]
    if size is not None:
        sizes += [f"-D{name}={int(number)}" for name, number in zip(("DIM", "COUNT"), size.split(","), strict=True)]
    includes = [f"-I{folder}", f"-I{RUNTIME / 'include'}", f"-I{RUNTIME / 'src'}"]
    command = ["gcc", "-std=c99", "-O3", "-ffp-contract=off", *sizes, *includes, *SOURCES, DRIVER]
    subprocess.run([str(x) for x in [*command, "-o", folder / real, "-lm"]], check=True)
    return folder / real


def counted(program: Path, regime: str, first: int, count: int, limit: float) -> dict[str, float]:
    """Run a range of instances."""
    command = [program, regime, first, count, limit]
    output = subprocess.run([str(x) for x in command], capture_output=True, text=True, check=True).stdout
    capped, infeasible, loose, worst, most, mean = output.split()
    counts = {"capped": int(capped), "infeasible": int(infeasible), "loose": int(loose), "most": int(most)}
    return {"instances": count, **counts, "worst": float(worst), "steps": float(mean) * count}


def merged(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    """Add counts; keep the worst of what is a maximum."""
    return {key: max(a[key], b[key]) if key in ("worst", "most") else a[key] + b[key] for key in a}


def line(name: str, sums: dict[str, float]) -> str:
    """Return a row of the table."""
    iterations = f"{sums['steps'] / sums['instances']:.1f}, most {sums['most']:.0f}"
    return (
        f"{name:22}{sums['instances']:10.0f}{sums['capped']:8.0f}{sums['infeasible']:12.0f}{sums['loose']:11.0f}"
        f"{sums['worst']:11.1e}  {iterations}"
    )


def table(program: Path, real: str, regimes: list[str], count: int, done: dict, save: Path | None) -> None:
    """Print a row for each regime."""
    regular, degenerate = LIMITS[real]
    print(f"\n{real}: gap above {regular:g} on the regular regimes, {degenerate:g} on the degenerate ones\n{HEAD}")
    total: dict[str, float] = {}
    for regime in regimes:
        limit = regular if regime in REGULAR else degenerate
        sums: dict[str, float] = {}
        for first in range(0, count, CHUNK):
            portion = f"{real} {regime} {first}"
            counts = done.get(portion) or counted(program, regime, first, min(CHUNK, count - first), limit)
            if save is not None and counts["instances"] == CHUNK and portion not in done:
                done[portion] = counts
                save.write_text(json.dumps(done))
            sums = merged(sums, counts) if sums else counts
        total = merged(total, sums) if total else sums
        print(line(regime, sums), flush=True)
    print(line("all", total), flush=True)


def main() -> None:
    if shutil.which("gcc") is None:
        sys.exit("not measured: gcc not found")
    parser = argparse.ArgumentParser(description="The projection on random instances by the million.")
    parser.add_argument("--count", type=int, default=1_000_000, help="instances of each regime")
    parser.add_argument("--regimes", default=",".join(REGULAR + DEGENERATE), help="separated by commas")
    parser.add_argument("--real", choices=tuple(LIMITS), action="append", help="one arithmetic only")
    parser.add_argument("--size", metavar="D,M", help="one size, each number at most 64")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep the counts here and go on from them")
    options = parser.parse_args()
    regimes = options.regimes.split(",")
    unknown = sorted(set(regimes) - {*REGULAR, *DEGENERATE})
    if options.size and options.resume:
        sys.exit("--resume keeps counts of all sizes only")
    if unknown or options.count < 1:
        sys.exit(f"no such regime: {', '.join(unknown)}" if unknown else "--count has to be at least 1")
    kept = options.resume is not None and options.resume.exists()
    done = json.loads(options.resume.read_text()) if kept else {}
    sizes = options.size or "1 to 64 dimensions, 1 to 64 constraints"
    print(f"projection, {options.count} random instances of each regime, {sizes}")
    with tempfile.TemporaryDirectory() as folder:
        for real in options.real or LIMITS:
            table(build(Path(folder), real, options.size), real, regimes, options.count, done, options.resume)


if __name__ == "__main__":
    main()
