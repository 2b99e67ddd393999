"""The projection on emulated microcontrollers: every regime and every status, in float and double."""

import re
import subprocess
from pathlib import Path

import numpy as np
import projection_cases as pc
import pytest
from exports import require, run
from test_pil import EMULATOR, LINK, QEMU, emulate
from test_runtime_projection import (
    BAD_PROBLEM,
    CAPPED,
    OK,
    RUNTIME,
    SOURCES,
    UNSAFE_START,
    assert_feasible,
    bad_problems,
    write_config,
)

from scpo_ctrl.codegen import TARGETS

SIZES = ((1, 1), (1, 6), (5, 4), (3, 12), (8, 8))
RUNS = [("cortex-m3", np.float32), ("cortex-m4f", np.float32), ("cortex-m7", np.float32), ("cortex-m7", np.float64)]
MAIN = r"""
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "scpo.h"
#include "cases.h"
#if SCPO_REAL_IS_DOUBLE
typedef uint64_t bits_t;
#else
typedef uint32_t bits_t;
#endif
static scpo_workspace work;
int main(void)
{
    static scpo_real numbers[sizeof bits / sizeof bits[0]];
    const scpo_real *next = numbers;
    memcpy(numbers, bits, sizeof bits);
    for (unsigned k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        const int p = sizes[k][0], m = sizes[k][1];
        const scpo_real *u = next, *c = u + p, *G = c + m, *e = G + m * p, *L = e + m;
        const scpo_projection problem = {p, m, u, c, G, e, L, L[m], &work};
        scpo_real delta[8];
        memset(delta, 0xff, sizeof delta);
        memset(&work, 0xff, sizeof work);
        printf("status %d", (int)scpo_project(&problem, delta));
        for (int j = 0; j < p; j++) {
            bits_t x;
            memcpy(&x, &delta[j], sizeof x);
            printf(" %08lx%08lx", (unsigned long)((uint64_t)x >> 32), (unsigned long)(x & 0xffffffffu));
        }
        printf("\n");
        next = L + m + 1;
    }
    return 0;
}
"""


def cases_of(real: type) -> list[tuple[pc.Case, int, float]]:
    """Return instances with the status they ask for, and the gap they allow."""
    limits = (1e-8, 1e-6) if real is np.float64 else (1e-2, 1e-2)
    found = [
        (case, OK, limits[name in pc.DEGENERATE])
        for name in pc.REGIMES
        for case in pc.cases(name, 10, SIZES, seed=20, real=real)
    ]
    plain = next(pc.cases("plain", 1, ((4, 3),), real=real))
    unsafe = plain._replace(c=np.abs(plain.c))
    none = np.zeros(0, dtype=real)
    inside = pc.Case(plain.u, none, np.zeros((0, 4), dtype=real), none, none, 100.0)
    refused = [(bad, BAD_PROBLEM, np.inf) for bad in bad_problems(plain)]
    return [*found, (inside, OK, 0.0), (unsafe, UNSAFE_START, np.inf), *refused]


def written(folder: Path, cases: list[pc.Case], real: type) -> None:
    """Write the instances as the bits of their numbers."""
    flat = [np.concatenate([c.u, c.c, c.G.ravel(), c.e, c.L, [c.r]]).astype(real) for c in cases]
    bits = np.concatenate(flat).view(np.uint64 if real is np.float64 else np.uint32)
    kind, suffix = ("uint64_t", "ull") if real is np.float64 else ("uint32_t", "u")
    sizes = ", ".join(f"{{{c.u.size}, {c.c.size}}}" for c in cases)
    numbers = ",\n".join(f"{x:#x}{suffix}" for x in bits)
    (folder / "cases.h").write_text(
        f"static const int sizes[][2] = {{{sizes}}};\nstatic const {kind} bits[] = {{{numbers}}};\n"
    )


def answers(
    folder: Path, target: str, cases: list[pc.Case], real: type, places: int = 12
) -> list[tuple[int, np.ndarray]]:
    """Solve the instances on an emulated board, with so many places in the working set."""
    write_config(folder, real)
    written(folder, cases, real)
    (folder / "main.c").write_text(MAIN)
    flags = ("-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror", "-DSCPO_MAX_DIM=8", f"-DSCPO_MAX_ACTIVE={places}")
    files = (*SOURCES, folder / "main.c", EMULATOR / "startup.c", *LINK, "-lm", "-o", folder / "test.elf")
    include = (f"-I{folder}", f"-I{RUNTIME / 'include'}")
    run(TARGETS[target].compiler, *TARGETS[target].flags, *flags, *include, *files)
    done: subprocess.CompletedProcess = emulate(folder / "test.elf", target)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    read = []
    for status, words in re.findall(r"^status (\d)(.*)$", done.stdout, re.MULTILINE):
        bits = np.array([int(word, 16) for word in words.split()], dtype=np.uint64)
        delta = bits.view(np.float64) if real is np.float64 else bits.astype(np.uint32).view(np.float32)
        read.append((int(status), delta))
    return read


@pytest.mark.parametrize(("target", "real"), RUNS, ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_every_regime_and_every_refusal_on_the_device(tmp_path, target, real):
    require(TARGETS[target].compiler, QEMU)
    asked = cases_of(real)
    found = answers(tmp_path, target, [case for case, _, _ in asked], real)
    assert len(found) == len(asked)
    loose = 0
    for (case, wanted, limit), (status, delta) in zip(asked, found, strict=True):
        assert status == wanted
        if wanted == OK:
            assert_feasible(case, delta)
            loose += pc.gap(case, delta) > limit
        else:
            assert not delta.any()
    print(f"{target}, {real.__name__}: {len(asked)} instances, {loose} with a gap above the limit")
    assert loose <= (0 if real is np.float64 else 0.02 * len(asked))


@pytest.mark.parametrize(("target", "real"), RUNS[1:], ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_a_capped_answer_is_feasible_on_the_device(tmp_path, target, real):
    """More constraints hold the answer than the working set has places for, so that it cannot be found."""
    require(TARGETS[target].compiler, QEMU)
    cases = list(pc.cases("small_steps", 10, ((8, 8),), seed=21, real=real))
    found = answers(tmp_path, target, cases, real, places=2)
    assert CAPPED in [status for status, _ in found]
    for case, (status, delta) in zip(cases, found, strict=True):
        assert status in (OK, CAPPED)
        assert_feasible(case, delta)
