"""Programs that solve (E5) by C code: our runtime, and what qocogen and cvxpygen generate for one size.

Each function writes its code below a folder and returns a Program: what to compile, to link and to count.
"""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from instances import Case, conic

HERE = Path(__file__).resolve().parent
RUNTIME = HERE.parents[1] / "codegen" / "runtime"
_TARGETS = ("cpg", "amd", "qdldlobject")  # of cmake, which together are the generated solver


class GenerationError(RuntimeError):
    """A generator, or the configuration of its code, failed."""


@dataclass
class Program:
    """The C of a solver."""

    name: str
    adapter: Path  # implements bench.h
    sources: list[Path]
    entries: list[str]  # functions that a user calls
    flags: list[str] = field(default_factory=list)  # -I and -D
    memory: list[str] = field(default_factory=list)  # variables of the adapter that any user needs


def ours(folder: Path, d: int, m: int, real: str) -> Program:
    """Configure the runtime's projection for one size."""
    folder.mkdir(parents=True)
    values = {
        "SCPO_REAL_IS_DOUBLE": int(real == "double"),
        "SCPO_MAX_DIM": d,
        "SCPO_MAX_ACTIVE": m,
        "SCPO_NX": 1,
        "SCPO_NU": 1,
        "SCPO_NTHETA": 1,
        "SCPO_HIDDEN": 0,
    }
    lines = [f"typedef {real} scpo_real;", *(f"#define {name} {value}" for name, value in values.items())]
    (folder / "scpo_config.h").write_text("\n".join(lines) + "\n")
    return Program(
        name=f"scpo-ctrl, {real}",
        adapter=HERE / "c" / "ours.c",
        sources=sorted((RUNTIME / "src").glob("scpo_[dp]*.c")),
        entries=["scpo_project"],
        flags=[f"-I{folder}", f"-I{RUNTIME / 'include'}"],
        memory=["work", "data", "answer"],
    )


def qocogen(folder: Path, d: int, m: int) -> Program:
    """Generate a solver with qocogen for the conic form."""
    import qocogen as package

    ones = np.ones
    form = conic(Case(ones(d), -ones(m), ones((m, d)), ones(m), ones(m), 1.0))
    folder.mkdir(parents=True)
    n, rows = form.cost.size, form.h.size
    with contextlib.redirect_stdout(io.StringIO()):
        package.generate_solver(
            n, rows, 0, None, form.cost, None, None, form.A, form.h, form.linear, 2, np.array(form.cones), str(folder)
        )
    code = folder / "qoco_custom"
    entries = ["set_default_settings", "load_data", "update_c", "update_G", "update_h", "qoco_custom_solve"]
    sources = [path for path in sorted(code.glob("*.c")) if path.name != "runtest.c"]
    flags = [f"-I{code}", "-DDISABLE_PRINTING"]
    return Program("qocogen", HERE / "c" / "qocogen.c", sources, entries, flags, ["work"])


def cvxpygen(folder: Path, d: int, m: int, solver: str) -> Program:
    """Generate a solver with cvxpygen; cmake configures it and says what belongs to it."""
    from cvxpygen import cpg

    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        cpg.generate_code(modelled(d, m), code_dir=str(folder), solver=solver, wrapper=False)
    commands = configured(folder / "c", folder / "build")
    sources = {Path(command["file"]) for command in commands if "/cpg_example.c" not in command["file"]}
    words = [word for command in commands for word in shlex.split(command["command"])]
    entries = ["cpg_set_solver_default_settings", *(f"cpg_update_{name}" for name in "ucGeLr"), "cpg_solve"]
    return Program(
        name=f"cvxpygen + {solver}",
        adapter=HERE / "c" / "cvxpygen.c",
        sources=sorted(sources),
        entries=[*entries, "cpg_retrieve_prim"],
        flags=sorted({word for word in words if word.startswith(("-I", "-D"))}),
    )


def modelled(d: int, m: int) -> object:
    """Return (E5) as a user would write it in CVXPY, with parameters for all data."""
    import cvxpy as cp

    u, c, G = cp.Parameter(d, name="u"), cp.Parameter(m, name="c"), cp.Parameter((m, d), name="G")
    e, L, r = (cp.Parameter(m, name="e"), cp.Parameter(m, name="L"), cp.Parameter(name="r"))
    a, t, s = cp.Variable(d, name="a"), cp.Variable(name="t"), cp.Variable(name="s")
    constraints = [c + G @ a + cp.multiply(e, t) + cp.multiply(L, s) / 2 <= 0, cp.norm(a) <= t, t <= r]
    return cp.Problem(cp.Minimize(s - 2 * u @ a), [*constraints, cp.square(t) <= s])


def configured(code: Path, build: Path) -> list[dict[str, str]]:
    """Let cmake configure generated code; return its compile commands."""
    beside = Path(sys.executable).with_name("cmake")
    cmake = str(beside) if beside.exists() else shutil.which("cmake")
    if cmake is None:
        raise GenerationError("cmake is not installed")
    command = [cmake, "-S", str(code), "-B", str(build), "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-Wno-dev"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GenerationError(last_error(done.stderr))
    commands = json.loads((build / "compile_commands.json").read_text())
    return [entry for entry in commands if any(f"/{name}.dir/" in entry["command"] for name in _TARGETS)]


def last_error(text: str) -> str:
    """Return the line of a tool's output that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no message"])[0].split("/")[-1][:100]
