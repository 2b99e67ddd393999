"""Compiling an export: its tests on this computer, its sizes on the target."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scpo_ctrl.codegen.targets import TARGETS, Target
from scpo_ctrl.compiled import find_compiler
from scpo_ctrl.errors import CompilerError
from scpo_ctrl.validate import as_path

__all__ = ["TARGETS", "Target", "measure", "replay", "size_flags"]

_TIME_LIMIT = 300  # [s]
_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?\\n(\d+) bytes \(static\)')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_SECTION = re.compile(r"^\.s?(text|rodata|data|bss)[.\w]*\s+(\d+)\s", re.MULTILINE)


def replay(path: str | os.PathLike[str]) -> str:
    """Compile an export with this computer's compiler and replay its vectors: ``make -C path test``.

    Parameters
    ----------
    path : path-like
        The export's folder.

    Returns
    -------
    str
        The runner's line: numbers of vectors and largest errors.

    Raises
    ------
    CompilerError
        If there is no compiler or make, the code does not compile, or a vector differs.
    """
    compiler = find_compiler()
    if compiler is None:
        raise CompilerError("no C compiler found (looked for $CC, cc, gcc, clang); install one to replay the export")
    if shutil.which("make") is None:
        raise CompilerError("make not found; install it to replay the export")
    # A make that runs this program is not this make's business.
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    environment["LC_ALL"] = "C"
    command = ["make", "-C", str(as_path("path", path)), "test", f"CC={' '.join(compiler)}"]
    try:
        run = _run(command, environment)
    except subprocess.TimeoutExpired as error:
        raise CompilerError(f"{' '.join(command)} did not end within {_TIME_LIMIT} s") from error
    lines = run.stdout.strip().splitlines()
    if run.returncode != 0:
        messages = [line for line in lines + run.stderr.splitlines() if re.search(r"FAILED|error\b|\*\*\*", line)]
        raise CompilerError(f"{' '.join(command)} failed: {(messages or ['no message'])[0].strip()}")
    return next((line for line in lines if "control vectors" in line), lines[-1])


def size_flags(target: Target) -> list[str]:
    """Return the flags with which sizes are measured.

    Parameters
    ----------
    target : Target

    Returns
    -------
    list of str
    """
    return ["-std=c99", "-Os" if target.machine else "-O2", *target.flags]


def measure(folder: Path, target: Target, prefix: str) -> dict[str, Any] | str:
    """Compile an export's library for its target and measure code, data and stack.

    Parameters
    ----------
    folder : pathlib.Path
        With include/ and src/.
    target : Target
    prefix : str
        Of the names in the code.

    Returns
    -------
    dict or str
        compiler, flags, code_bytes, rodata_bytes, static_bytes, workspace_bytes, ram_bytes (the last two together),
        control_stack_bytes, project_stack_bytes and, where it adapts, adapter_poll_stack_bytes (None where not
        measured), stack_bytes (the largest). Instead, where it cannot be measured, what is missing.
    """
    for tool in (target.compiler, f"{target.tools}size"):
        if shutil.which(tool) is None:
            return f"{tool} was not found"
    with tempfile.TemporaryDirectory(prefix="scpo-ctrl-") as name:
        build = Path(name)
        try:
            return _measure(folder, build, target, prefix)
        except (subprocess.SubprocessError, OSError):
            return f"{target.compiler} does not compile for this target (is its C library installed?)"


def _measure(folder: Path, build: Path, target: Target, prefix: str) -> dict[str, Any]:
    flags, sources = size_flags(target), sorted((folder / "src").glob("*.c"))
    command = [target.compiler, *flags, f"-I{folder / 'include'}", f"-I{folder / 'src'}", "-c"]
    probe = build / "probe.c"
    adapts = (folder / "include" / f"{prefix}_adapt.h").exists()
    used = f"{prefix}_adapt.h" if adapts else f"{prefix}.h"
    size = f"sizeof({prefix}_adapter) + sizeof({prefix}_controller)" if adapts else f"sizeof({prefix}_workspace)"
    probe.write_text(f'#include "{used}"\nchar probe[{size}] = {{1}};\n', encoding="utf-8")
    _run([*command, str(probe), "-o", str(build / "probe.o")], check=True)
    graphs = []
    for source in sources:
        compiled = build / f"{source.stem}.o"
        traced = [*command, "-fcallgraph-info=su", str(source), "-o", str(compiled)]
        if _run(traced).returncode != 0:  # a compiler that does not know the option
            _run([*command, str(source), "-o", str(compiled)], check=True)
        elif compiled.with_suffix(".ci").exists():
            graphs.append(compiled.with_suffix(".ci").read_text(encoding="utf-8"))
    sizes = _sections(target, [build / f"{source.stem}.o" for source in sources])
    workspace = _sections(target, [build / "probe.o"])["data"]
    whole = graphs if len(graphs) == len(sources) else []
    called = ("control", "project", "adapter_poll") if adapts else ("control", "project")
    stacks = {f"{name}_stack_bytes": _deepest(whole, f"{prefix}_{name}") for name in called}
    static = sizes["data"] + sizes["bss"]
    version = _run([target.compiler, "-dumpfullversion", "-dumpversion"], check=True).stdout.strip()
    return {
        "compiler": f"{target.compiler} {version}",
        "flags": flags,
        "code_bytes": sizes["text"],
        "rodata_bytes": sizes["rodata"],
        "static_bytes": static,
        "adapter_bytes" if adapts else "workspace_bytes": workspace,
        "ram_bytes": static + workspace,
        **stacks,
        "stack_bytes": None if None in stacks.values() else max(filter(None, stacks.values())),
    }


def _sections(target: Target, objects: list[Path]) -> dict[str, int]:
    """Bytes of text, rodata, data and bss of some objects."""
    text = _run([f"{target.tools}size", "-A", *map(str, objects)], check=True).stdout
    sizes: dict[str, int] = dict.fromkeys(("text", "rodata", "data", "bss"), 0)
    for section, size in _SECTION.findall(text):
        sizes[section] += int(size)
    return sizes


def _deepest(graphs: Sequence[str], start: str) -> int | None:
    """Add up frames along the deepest calls from `start`; None where they are not known. There is no recursion."""
    frames = {title: int(size) for graph in graphs for title, size in _NODE.findall(graph)}
    calls: dict[str, set[str]] = {}
    for source, target in (edge for graph in graphs for edge in _EDGE.findall(graph)):
        calls.setdefault(source, set()).add(target)

    def depth(function: str) -> int:
        return frames.get(function, 0) + max(map(depth, _known(calls, function, frames)), default=0)

    return depth(start) if start in frames else None


def _known(calls: dict[str, set[str]], function: str, frames: dict[str, int]) -> Iterator[str]:
    return (called for called in calls.get(function, ()) if called in frames and called != function)


def _run(
    command: list[str], environment: dict[str, str] | None = None, *, check: bool = False
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=check,
        timeout=_TIME_LIMIT,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
