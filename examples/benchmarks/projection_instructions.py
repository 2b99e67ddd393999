"""Instructions of one projection in double on this computer: callgrind counts scpo_project and what it calls.

    python examples/benchmarks/projection_instructions.py

Random strictly feasible instances (the regime "plain" of tests/projection_cases.py), gcc -O2, mean over the instances.
Needs gcc and valgrind.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "codegen" / "runtime"
SOURCES = sorted((RUNTIME / "src").glob("scpo_[dp]*.c"))
SIZES = ((5, 4), (20, 10), (21, 20))
COUNT = 200
CONFIG = """#ifndef SCPO_CONFIG_H
#define SCPO_CONFIG_H
typedef {real} scpo_real;
#define SCPO_REAL_IS_DOUBLE {double}
#define SCPO_NX 1
#define SCPO_NU 1
#define SCPO_NTHETA 1
#define SCPO_HIDDEN 0
#endif
"""
MAIN = r"""
#include <stdio.h>
#include "scpo.h"
#include "instances.h"
static scpo_workspace work;
__attribute__((noinline)) int measured(const scpo_projection *problem, scpo_real *delta);
int measured(const scpo_projection *problem, scpo_real *delta) { return (int)scpo_project(problem, delta); }
int main(void)
{
    scpo_real delta[DIM];
    int capped = 0;
    for (int k = 0; k < INSTANCES; k++) {
        const scpo_projection problem = {DIM, ROWS, u[k], c[k], G[k], e[k], L[k], r[k], &work};
        capped += measured(&problem, delta) != SCPO_OK;
    }
    return capped;
}
"""


def plain(rng: np.random.Generator, p: int, m: int) -> dict[str, np.ndarray]:
    """Return rows that cut into a step of length about 1, strictly feasible at 0."""
    u = rng.normal(size=p)
    u *= np.exp(rng.uniform(-0.5, 1.0)) / np.linalg.norm(u)
    G = rng.normal(size=(m, p))
    size = np.linalg.norm(G, axis=1)
    c = -size * rng.uniform(0.01, 0.5, m)
    e, L = size * rng.uniform(0.0, 0.2, m), size * rng.uniform(0.0, 1.0, m)
    return {"u": u, "c": c, "G": G.ravel(), "e": e, "L": L, "r": np.array([rng.uniform(0.5, 5.0)])}


def write_instances(folder: Path, p: int, m: int, count: int, seed: int = 0) -> None:
    """Write instances.h with plain instances."""
    rng = np.random.default_rng([seed, p, m])
    write_cases(folder, [plain(rng, p, m) for _ in range(count)])


def write_cases(folder: Path, cases: list[dict[str, np.ndarray]]) -> None:
    """Write instances.h; all are of the same size."""
    p, m = cases[0]["u"].size, cases[0]["c"].size
    lines = [f"#define DIM {p}", f"#define ROWS {m}", f"#define INSTANCES {len(cases)}"]
    for name in cases[0]:
        rows = [", ".join(f"(scpo_real){x:.17g}" for x in case[name]) for case in cases]
        if name == "r":
            lines.append(f"static const scpo_real r[] = {{{', '.join(rows)}}};")
        else:
            body = ",\n".join("{" + row + "}" for row in rows)
            lines.append(f"static const scpo_real {name}[][{len(cases[0][name])}] = {{{body}}};")
    (folder / "instances.h").write_text("\n".join(lines) + "\n")


def instructions(folder: Path, p: int, m: int) -> float:
    """Return instructions per solve."""
    write_instances(folder, p, m, COUNT)
    (folder / "main.c").write_text(MAIN)
    (folder / "scpo_config.h").write_text(CONFIG.format(real="double", double=1))
    includes = [f"-I{folder}", f"-I{RUNTIME / 'include'}"]
    command = ["gcc", "-std=c99", "-O2", *includes, *SOURCES, folder / "main.c", "-o", folder / "main", "-lm"]
    subprocess.run([str(x) for x in command], check=True)
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", "--toggle-collect=measured"]
    done = subprocess.run([*tool, str(folder / "main")], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{done.returncode} instances were not solved\n{done.stderr}")
    return int(re.search(r"Collected : (\d+)", done.stderr)[1]) / COUNT


def main() -> None:
    missing = [tool for tool in ("gcc", "valgrind") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"not measured: {' and '.join(missing)} not found")
    print(f"projection, x86 double, gcc -O2: instructions per solve (callgrind), mean of {COUNT} plain instances\n")
    print("  p    m   instructions")
    for p, m in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{p:3d}  {m:3d}   {instructions(Path(folder), p, m):12,.0f}", flush=True)


if __name__ == "__main__":
    main()
