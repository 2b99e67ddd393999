"""The projection where small numbers are flushed to zero, which it bears, and in rounding modes that it refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from exports import need, require, run
from test_pil import EMULATOR, LINK, QEMU, emulate
from test_runtime_projection import RUNTIME, SOURCES, write_config

from scpo_ctrl.codegen import TARGETS

DRIVER = Path(__file__).parent / "fuzz" / "modes.c"
COUNT = 1_000_000 if os.environ.get("SCPO_FUZZ") else 4_000
NEAREST, FLUSHING = 0, 1
FLAGS = (
    "-std=gnu99",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffp-contract=off",
    "-DSCPO_MAX_DIM=6",
    "-DSCPO_MAX_ACTIVE=6",
)


def judged(text: str, count: int) -> None:
    """Assert what the driver printed, of so many problems in each mode."""
    print(text, end="")
    pattern = r"mode (\d) solved (\d+) refused (\d+) moved (\d+) broken (\d+)"
    rows = [[int(word) for word in row] for row in re.findall(pattern, text)]
    assert [row[0] for row in rows] == [0, 1, 2, 3, 4]
    for mode, solved, refused, moved, broken in rows:
        bears = mode in (NEAREST, FLUSHING)
        assert (solved, refused) == ((count, 0) if bears else (0, count))
        assert broken == 0
        assert moved > count / 5 if bears else moved == 0


def build(folder: Path, sources: list[Path], real: type) -> Path:
    need("gcc")
    write_config(folder, real)
    run("gcc", *FLAGS, f"-I{folder}", f"-I{RUNTIME / 'include'}", *sources, DRIVER, "-o", folder / "modes", "-lm")
    return folder / "modes"


@pytest.mark.table(2)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="sets the modes of x86")
@pytest.mark.parametrize("real", [np.float64, np.float32], ids=["double", "float"])
def test_modes_of_this_computer(tmp_path: Path, real: type) -> None:
    judged(run(build(tmp_path, SOURCES, real), 1, COUNT), COUNT)


def test_modes_of_a_cortex_m4f(tmp_path: Path) -> None:
    require(TARGETS["cortex-m4f"].compiler, QEMU)
    write_config(tmp_path, np.float32)
    target = TARGETS["cortex-m4f"]
    files = (*SOURCES, DRIVER, EMULATOR / "startup.c", *LINK, "-lm", "-o", tmp_path / "modes.elf")
    include = (f"-I{tmp_path}", f"-I{RUNTIME / 'include'}", f"-I{RUNTIME / 'src'}")
    run(target.compiler, *target.flags, *FLAGS, "-DSEED=2", "-DCOUNT=300", *include, *files)
    judged(emulate(tmp_path / "modes.elf", "cortex-m4f").stdout, 300)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="sets the modes of x86")
def test_the_judge_sees_what_flushing_breaks(tmp_path: Path) -> None:
    """Where terms that underflow count as none, answers break them."""
    text = (RUNTIME / "src" / "scpo_project.c").read_text()
    fault = text.replace("& ~SCPO_SIGN) == 0) {", "& ~SCPO_SIGN) < SCPO_INFINITY) {")
    assert fault != text
    (tmp_path / "scpo_project.c").write_text(fault)
    others = [source for source in SOURCES if source.name != "scpo_project.c"]
    sources = [*others, tmp_path / "scpo_project.c"]
    write_config(tmp_path, np.float32)
    include = (f"-I{tmp_path}", f"-I{RUNTIME / 'include'}", f"-I{RUNTIME / 'src'}")
    run("gcc", *FLAGS, *include, *sources, DRIVER, "-o", tmp_path / "modes", "-lm")
    assert re.search(r"mode 1 .* broken [1-9]", run(tmp_path / "modes", 1, 4_000))
