"""Branches of the runtime that the tests' C programs take, counted by gcov: `make coverage` prints the table."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import audited_cases
import device_runs
import pytest
from device_problems import r3_problem, unadapted
from exports import need, run
from store_builds import HERE, SOURCES, STORE, write_config

import scpo_ctrl as sc
from scpo_ctrl.codegen import export

TABLE = HERE.parents[1] / "docs" / "misra.md"
STORED = ("scpo_blob.c", "scpo_sectors.c", "scpo_store.c")
GENERATED = ("scpo_model.c", "scpo_guard.c")  # counted, but not of the runtime
OFTEN = ("-DSCPO_AUDIT_POINTS=40", "-DSCPO_AUDIT_FIRST=2", "-DSCPO_GUARDS=20", "-DSCPO_TAKEN=2")  # audits
FLAGS = ("-std=gnu99", "-O0", "--coverage", "-w", *OFTEN)
pytestmark = pytest.mark.skipif(not os.environ.get("SCPO_COVERAGE"), reason="takes a minute: make coverage")


def compiled(folder: Path, sources: list[Path], includes: list[str]) -> list[Path]:
    """Compile the runtime once, so that all programs add to the same counts."""
    folder.mkdir()
    run("gcc", *FLAGS, *includes, "-c", *sources, cwd=folder)
    return sorted(folder.glob("*.o"))


def counted(folder: Path) -> Counter[tuple[str, int, int, int]]:
    """Return how often each branch was taken: by file, line, how many the line has, and which of them it is."""
    counts: Counter[tuple[str, int, int, int]] = Counter()
    done = run(
        "gcov", "--json-format", "--stdout", "--branch-probabilities", *sorted(folder.glob("*.gcno")), cwd=folder
    )
    for text in done.splitlines():
        for file in json.loads(text)["files"]:
            name = Path(file["file"]).name
            if re.fullmatch(r"scpo_\w+\.c", name):
                for line in file["lines"]:
                    for place, branch in enumerate(line["branches"]):
                        counts[name, line["line_number"], len(line["branches"]), place] += branch["count"]
    return counts


def adapting(folder: Path, problem: sc.ControlProblem, guarded: bool) -> Counter[tuple[str, int, int, int]]:
    """Count on an export: calls, frames, and an adaptation of 300 steps."""
    folder.mkdir()
    tree = folder / "c"
    export(unadapted(problem), tree, real="float", measured=False, adapting=True, guarded=guarded)
    includes = [f"-I{tree / part}" for part in ("include", "src")] + [f"-I{HERE}"]
    sources = [path for path in sorted((tree / "src").glob("*.c")) if path.name not in STORED]
    objects = compiled(folder / "adapting", sources, includes)
    (folder / "driver.c").write_text(device_runs._DRIVER)
    programs = {}
    names = ("fuzz_public", "fuzz_link", "branches", "audits_interleaved")
    for source in (*(HERE / f"{name}.c" for name in names), folder / "driver.c"):
        programs[source.stem] = folder / source.stem
        stored = [tree / "src" / name for name in STORED]
        run(
            "gcc",
            "-std=gnu99",
            "-O1",
            "--coverage",
            "-w",
            *OFTEN,
            *includes,
            source,
            *stored,
            *objects,
            "-o",
            programs[source.stem],
            "-lm",
        )
    run(programs["fuzz_public"], 3, 1_000_000 if guarded else 100_000)
    run(programs["fuzz_link"], 3, 500_000 if guarded else 50_000)
    if guarded:  # what it expects is of this export
        run(programs["branches"])
    run(programs["audits_interleaved"], 1, 2_000 if guarded else 300)
    run(programs["driver"], 300 if guarded else 60, 150, 0.5)
    return counted(folder / "adapting")


def storing(folder: Path) -> Counter[tuple[str, int, int, int]]:
    """Count on the parameter store: power cuts, failures, and foreign bytes."""
    write_config(folder, "float", 2)
    includes = [f"-I{path}" for path in (folder, STORE / "include", STORE / "src", HERE)]
    objects = compiled(folder / "storing", SOURCES, includes)
    simulated = (HERE / "flash_sim.c",)
    programs = {
        "power_cuts": (simulated, [("random", 1, 40_000), ("failing", 1, 40_000)]),
        "fuzz_blob": (simulated, [(1, 20_000, 5_000)]),
        "branches_of_store": ((), [()]),
    }
    for name, (more, words) in programs.items():
        linked = (*includes, HERE / f"{name}.c", *more, *objects)
        run("gcc", "-std=gnu99", "-O1", "-w", "--coverage", *linked, "-o", folder / name)
        for arguments in words:  # what the first two find is judged in test_power_cuts.py
            done = subprocess.run([folder / name, *map(str, arguments)], capture_output=True, check=False)
            assert more or done.returncode == 0
    return counted(folder / "storing")


def test_branches_of_the_runtime(tmp_path):
    need("gcc", "gcov")
    assert shutil.which("gcov")
    counts = storing(tmp_path)
    for name, problem, guarded in (
        ("edges", r3_problem(stability=True), True),
        ("box", audited_cases.box_disturbed(), False),
        ("layers", r3_problem(hidden=(6, 5)), False),
    ):
        for branch, times in adapting(tmp_path / name, problem, guarded).items():
            counts[branch] += times  # also where it is none
    rows = {}
    for name in sorted({branch[0] for branch in counts}):
        of_file = {branch: times for branch, times in counts.items() if branch[0] == name}
        for (_, line, several, place), times in sorted(of_file.items()):
            if times == 0:
                print(f"{name}:{line}: branch {place + 1} of {several} not taken")
        taken, all_ = sum(times > 0 for times in of_file.values()), len(of_file)
        rows[name] = (taken, all_)
        print(f"| {name} | {taken} of {all_} | {100 * taken / all_:.1f} % |")
    runtime = [row for name, row in rows.items() if name not in GENERATED]
    share = sum(taken for taken, _ in runtime) / sum(all_ for _, all_ in runtime)
    print(
        f"| all of the runtime | {sum(t for t, _ in runtime)} of {sum(a for _, a in runtime)} | {100 * share:.1f} % |"
    )
    assert share >= 0.95
    listed = re.findall(r"^\| (scpo_\w+\.c) \| \d+ of \d+ \|", TABLE.read_text(), re.MULTILINE)
    assert set(listed) == set(rows)
