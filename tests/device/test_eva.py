"""Frama-C's EVA over the C of an adaptation: no alarm but those that docs/misra.md explains. All of it: `make eva`."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import audited_cases
import numpy as np
import pytest
from device_problems import r3_problem, unadapted
from exports import need

import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.models import double_integrator

HERE = Path(__file__).parent
KNOWN = HERE.parents[1] / "docs" / "misra.md"
LONG = bool(os.environ.get("SCPO_EVA"))
CONTROL = ("control", "data", "dual")
FRESH = ("data", "control", "fresh", "model", "rollout")
ADAPT = ("adapt", "audit", "exact", "fresh", "model", "rollout", "scaling", "stability", "working_set")
SMALL_SETS = (
    "-DSCPO_NROWS=2", "-DSCPO_MEMORY=2", "-DSCPO_GUARDS=2", "-DSCPO_EDGES=1", "-DSCPO_TAKEN=2", "-DSCPO_AUDIT_POINTS=3",
)  # fmt: skip
_kept: list[tempfile.TemporaryDirectory] = []


class Analysis(NamedTuple):
    """A driver of tests/device/eva, what is analysed with it, and how precisely."""

    driver: str
    sources: tuple[str, ...]
    size: str  # "R3", or "small": R3 with two units, scenarios and steps; or one of audited_cases
    precision: tuple[str, ...] = ("-eva-precision", "2")
    defined: tuple[str, ...] = ()


LINK = (*CONTROL, "link", "server")
SERVED = ("-eva-precision", "2", "-eva-slevel", "200")
HISTORY = ("-eva-interprocedural-history", "-eva-partition-history")
PRECISE = ("-eva-precision", "1", "-eva-interprocedural-splits")
LOOPS = ("-eva-slevel-merge-after-loop", "scpo_scan,scpo_roll,scpo_largest_of,scpo_worst_of")
AUDITED = "scpo_worst_of:1,scpo_roll:1"
ROLLED = "scpo_scan:0,scpo_roll:0,scpo_keep_peak:0,scpo_note:0,scpo_largest_of:0,scpo_set_back_off:0"
PROJECTION = ("-eva-precision", "2", "-eva-slevel", "300")
WHOLE = ("project", "dual", "dual_step")
FEW = ("-DSCPO_MAX_DIM=5", "-DSCPO_MAX_ACTIVE=2")


def adaptation(phase: int, stage: int) -> Analysis:
    """Return the analysis of a phase of the adaptation; in the long ones states that rollouts leave join."""
    precision = {
        4: (*PRECISE, *HISTORY, "4", "-eva-slevel", "100"),
        5: (*PRECISE, *HISTORY, "32", "-eva-slevel", "1000", "-eva-slevel-function", AUDITED, *LOOPS),
        8: (*PRECISE, "-eva-slevel", "30", "-eva-slevel-function", ROLLED, *LOOPS),
    }.get(phase, (*PRECISE, *HISTORY, "12", "-eva-slevel", "500"))
    defined = (*SMALL_SETS, f"-DPHASE={phase}", f"-DSTAGE={stage}")
    if phase in (0, 4):  # the driver includes scpo_adapt.c, with a verification that answers anything
        return Analysis("adapt", (*CONTROL, *ADAPT[1:]), "small", precision, (*defined, "-DIN_ITS_PLACE"))
    return Analysis("adapt", (*CONTROL, *ADAPT), "small", precision, defined)


ANALYSES = {
    "control": Analysis("control", (*CONTROL, "guard"), "R3"),
    "supervise": Analysis("supervise", (*CONTROL, "guard", "supervise", "model"), "R3"),
    "link RECEIVE": Analysis("link", LINK, "small", (*SERVED, *HISTORY, "2"), ("-DPART=RECEIVE",)),
    "link SERVE": Analysis("link", LINK, "small", SERVED, ("-DPART=SERVE",)),
    "store": Analysis(
        "store", ("blob", "store", "sectors"), "small",
        ("-eva-precision", "1", "-eva-slevel", "20", "-eva-auto-loop-unroll", "64"),
    ),
    **{
        f"projection {part}": Analysis("projection", WHOLE, "small", PROJECTION, (*FEW, f"-DPART={part}"))
        for part in ("BEGIN", "GUESS", "SWEEP", "STEP")
    },
    "projection NEWTON": Analysis(
        "projection", ("project", "dual"), "small", PROJECTION, (*FEW, "-DPART=NEWTON", "-DIN_ITS_PLACE")
    ),
    **{f"fresh {size}": Analysis("fresh", FRESH, size) for size in ("small", "box_disturbed", "centres")},
    **{
        f"adapt {phase} {stage}": adaptation(phase, stage)
        for phase in range(-1, 9)  # 7: what a user asks for, 8: the pieces of a verification
        for stage in range({1: 9, 5: 2, 7: 2, 8: 5}.get(phase, 1))
    },
}  # fmt: skip
SHORT = ("control",)  # in seconds


@functools.cache
def exported(size: str) -> Path:
    """Return the folder of an export that adapts and audits, in float."""
    folder = tempfile.TemporaryDirectory(prefix="scpo_eva_")
    _kept.append(folder)
    guarded = size == "R3"
    if size == "R3":
        problem = r3_problem()
    elif size != "small":
        problem = getattr(audited_cases, size)()
    else:
        plant = double_integrator()
        backup = sc.lqr(plant, [0.1, 0.1], [10.0])
        batch = sc.scenarios(plant, backup, horizon=2, count=2, level=0.3)
        objective = sc.Quadratic(np.array([1.0, 0.1]), np.array([0.05]))
        problem = sc.ControlProblem(
            sc.Policy(plant, backup, hidden=(2,)), batch, objective, sc.MetricOptions(stability=True)
        )
    path = Path(folder.name) / "c"
    export(unadapted(problem), path, real="float", measured=False, adapting=True, guarded=guarded)
    return path


def alarms(analysis: Analysis) -> set[tuple[str, str]]:
    """Return the files and texts of all alarms."""
    folder = exported(analysis.size)
    share = subprocess.run(["frama-c", "-print-share-path"], capture_output=True, text=True, check=True).stdout.strip()
    includes = [f"-I{path}" for path in (folder / "include", folder / "src", HERE / "eva", share)]
    barrier = "'-DSCPO_BARRIER()=((void)0)'"  # no assembly
    command = [
        *("frama-c", "-eva", *analysis.precision, "-warn-special-float", "none", "-machdep", "x86_64"),
        *(
            "-eva-msg-key=-initial-state,-final-states",
            f"-cpp-extra-args={' '.join([*includes, *analysis.defined, barrier])}",
        ),
        *(folder / "src" / f"scpo_{name}.c" for name in analysis.sources),
        HERE / "eva" / f"{analysis.driver}.c",
    ]
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "ANALYSIS SUMMARY" in done.stdout, done.stdout[-3000:] + done.stderr
    found = re.findall(r"^\[eva:alarm\] (\S+):\d+: Warning: \n((?: .*\n)+)", done.stdout, re.MULTILINE)
    print(re.search(r"\d+ functions analyzed.*", done.stdout)[0], len(found), "alarms")
    return {(Path(file).name, " ".join(text.split())) for file, text in found}


def explained() -> set[tuple[str, str]]:
    """Return the alarms of the list."""
    rows = re.findall(r"^\| `(\w+\.c)` \| `(.+?)` \| .+ \|$", KNOWN.read_text(), re.MULTILINE)
    return {(file, text) for file, text in rows}


@functools.cache
def found_by(name: str) -> frozenset[tuple[str, str]]:
    return frozenset(alarms(ANALYSES[name]))


@pytest.fixture(autouse=True)
def frama_c():
    if shutil.which("frama-c") is None:
        print("skipped: frama-c not found; `make eva` installs frama-c-base")
    need("gcc", "frama-c")


@pytest.mark.parametrize("name", ANALYSES if LONG else SHORT)
def test_no_alarm_but_those_of_the_list(name):
    assert found_by(name) <= explained()


@pytest.mark.skipif(not LONG, reason="takes minutes: make eva")
def test_the_list_has_no_alarm_that_is_not_raised():
    assert explained() == frozenset().union(*map(found_by, ANALYSES))


def test_the_analysis_sees_a_fault(tmp_path):
    """The judge itself: a bound that is one too many."""
    (tmp_path / "fault.c").write_text(
        "int x[3];\nint main(void) { for (int i = 0; i <= 3; i++) { x[i] = i; } return 0; }\n"
    )
    done = subprocess.run(["frama-c", "-eva", tmp_path / "fault.c"], capture_output=True, text=True, check=False)
    assert "[eva:alarm]" in done.stdout
