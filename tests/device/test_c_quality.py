"""What compilers, analysers and a fuzzer say about the C of an adaptation: docs/misra.md lists what is known."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from device_problems import r3_problem, unadapted
from exports import need, run

import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.codegen.device import device_code
from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import linear

HERE = Path(__file__).parent
DEVIATIONS = HERE.parents[1] / "docs" / "misra.md"
LONG = bool(os.environ.get("SCPO_FUZZ"))  # see `make fuzz`
PATIENCE = 3600 if LONG else 120  # for a fuzzer [s], on a machine that has other work
WARNINGS = (
    "-Wall -Wextra -Wconversion -Wsign-conversion -Wdouble-promotion -Wshadow -Wcast-align=strict -Wcast-qual -Wvla "
    "-Wundef -Wfloat-equal -Wswitch-default -Wmissing-declarations -pedantic -Werror"
)
STANDARDS = {"c99": "gcc", "c11": "gcc", "c++11": "g++", "c++17": "g++"}
SANITIZE = f"-g1 -O{int(LONG)} -fsanitize=address,undefined,alignment -fno-sanitize-recover=all"
# What an export has for the adaptation; in the short form what takes an analyser seconds only.
NEW = ("adapt", "audit", "fresh", "exact", "rollout", "scaling", "working_set", "link", "server", "supervise", "model")
SHORT = ("audit", "fresh", "link", "server", "supervise")
OFTEN = ("-DSCPO_AUDIT_POINTS=40", "-DSCPO_AUDIT_FIRST=2")  # audits, so that fuzzers reach their ends
_kept: list[tempfile.TemporaryDirectory] = []


@functools.cache
def exported(real: str, guarded: bool, audited: bool = True) -> Path:
    """Return the folder of the export of R3 that adapts."""
    folder = tempfile.TemporaryDirectory(prefix="scpo_quality_")
    _kept.append(folder)
    path = Path(folder.name) / "c"
    export(unadapted(r3_problem()), path, real=real, measured=False, adapting=True, guarded=guarded, audited=audited)
    return path


@functools.cache
def sanitized(real: str, guarded: bool, audited: bool) -> list[Path]:
    """Return the objects of such an export, which sanitizers watch."""
    folder = exported(real, guarded, audited)
    objects = folder / "objects"
    objects.mkdir()
    flags = ["-std=c99", *SANITIZE.split(), *OFTEN, "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    run("gcc", *flags, *includes(folder), "-c", *sorted((folder / "src").glob("*.c")), cwd=objects)
    return sorted(objects.glob("*.o"))


def includes(folder: Path) -> list[str]:
    return [f"-I{folder / part}" for part in ("include", "src")]


def sources(folder: Path, names: tuple[str, ...]) -> list[Path]:
    return [folder / "src" / f"scpo_{name}.c" for name in names]


@pytest.mark.parametrize(
    ("standard", "real", "guarded"),
    [("c99", "float", True), ("c++17", "double", True), ("c11", "double", False), ("c++11", "float", False)][
        : 4 if LONG else 2
    ],
)
def test_no_warning_in_any_standard(standard, real, guarded):
    compiler = STANDARDS[standard]
    need(compiler)
    folder = exported(real, guarded)
    language = ["-x", "c++"] if compiler == "g++" else []
    every = sorted((folder / "src").glob("*.c")) if LONG else sources(folder, NEW)
    run(compiler, f"-std={standard}", "-fsyntax-only", *WARNINGS.split(), *includes(folder), *language, *every)


@pytest.mark.parametrize(("real", "guarded"), [("float", True), ("double", False)][: 2 if LONG else 1])
def test_gcc_analyzer(tmp_path, real, guarded):
    need("gcc")
    folder = exported(real, guarded)
    for source in sources(folder, NEW if LONG else SHORT):
        strict = ("-std=c99", "-O2", "-fanalyzer", "-Wall", "-Wextra", "-Werror")
        run("gcc", *strict, *includes(folder), "-c", source, "-o", tmp_path / "x.o")


def test_clang_tidy():
    need("clang-tidy")
    folder = exported("double", True)
    checks = "--checks=-*,bugprone-*,cert-*,-bugprone-easily-swappable-parameters,-bugprone-implicit-widening*"
    chosen = sources(folder, NEW if LONG else SHORT)
    run("clang-tidy", checks, "--warnings-as-errors=*", "--quiet", *chosen, "--", "-std=c99", *includes(folder))


def deviations() -> dict[str, int]:
    """Return the rules of the list, and how often each is reported."""
    rows = re.findall(r"^\| (\d+\.\d+) \| \w+ \| (\d+) \|", DEVIATIONS.read_text(), re.MULTILINE)
    return {rule: int(count) for rule, count in rows}


def reported(folder: Path, chosen: list[Path]) -> tuple[Counter[str], str]:
    """Return how often cppcheck reports each rule of MISRA C:2012, and what else it says."""
    command = ["cppcheck", "--addon=misra", "--enable=warning,style,performance,portability", "--inline-suppr"]
    # with a definition: as it is compiled, not in a dozen of the ways that macros may be set
    quiet = ["--suppress=missingIncludeSystem", "--suppress=variableScope", "--quiet", "--std=c99", "-DNDEBUG"]
    done = subprocess.run(
        [*command, *quiet, "--template={id} {file}:{line} {message}", *includes(folder), *map(str, chosen)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stderr.splitlines()
    rules = Counter(found[1] for line in said if (found := re.match(r"misra-c2012-(\d+\.\d+)", line)))
    return rules, "\n".join(line for line in said if not line.startswith("misra-c2012-"))


def need_misra(folder: Path) -> None:
    """Skip, with the reason, without cppcheck's addon for MISRA."""
    need("cppcheck")
    probe = folder / "probe.c"
    probe.write_text("int f(int a);\nint f(int a)\n{\n    if (a) { return 1; }\n    return 0;\n}\n")
    if not reported(folder, [probe])[0]:
        print("skipped: cppcheck has no addon misra; apt-get install cppcheck")
        pytest.skip("cppcheck has no addon misra")


def test_every_report_of_misra_is_in_the_list(tmp_path):
    need_misra(tmp_path)
    folder = exported("float", True)
    chosen = sorted((folder / "src").glob("*.c")) if LONG else sources(folder, ("link", "server"))
    rules, others = reported(folder, chosen)
    print(dict(sorted(rules.items())))
    assert others == ""
    known = deviations()
    if not LONG:  # those on what nobody uses are about all files together
        rules = Counter({rule: count for rule, count in rules.items() if not rule.startswith("2.")})
    assert set(rules) <= set(known)
    # The list tells how many; a quarter more is a reason to look at them again.
    assert all(count <= 1.25 * known[rule] + 2 for rule, count in rules.items())
    if LONG:
        assert set(known) <= set(rules)  # what is not reported any more leaves the list


@pytest.mark.parametrize("audited", [False, True])
def test_no_byte_from_outside_does_harm(audited, tmp_path):
    """Random bytes and nearly right frames, under sanitizers, alignment among them; the long form is `make fuzz`."""
    need("gcc")
    for real in ("float", "double") if LONG else ("float",):
        folder = exported(real, audited, audited)
        program = tmp_path / f"fuzz_{real}"
        flags = ["-std=c99", *SANITIZE.split(), *OFTEN, "-Wall", "-Wextra", "-Wconversion", "-Werror"]
        every = [HERE / "fuzz_link.c", *sanitized(real, audited, audited)]
        run("gcc", *flags, *includes(folder), *every, "-o", program, "-lm")
        for seed in range(1, 5 if LONG else 2):
            said = run(program, seed, 10_000_000 if LONG else 500_000, timeout=PATIENCE)
            print(said, end="")
            found = dict(zip(said.split()[::2], map(int, said.split()[1::2]), strict=True))
            assert found["wrong"] == 0
            assert found["answered"] > 2_000 and found["refused"] > 100 and found["steps"] > 5


def test_every_public_function_keeps_its_promises(tmp_path):
    """10^8 calls with any numbers in the long form: inputs in bounds, steps feasible, active parameters finite."""
    need("gcc")
    total = Counter()
    for real in ("float", "double") if LONG else ("float",):
        folder = exported(real, True)
        program = tmp_path / f"public_{real}"
        flags = ["-std=gnu99", *SANITIZE.split(), *OFTEN, "-Wall", "-Wextra", "-Werror"]
        every = [HERE / "fuzz_public.c", *sanitized(real, True, True)]
        run("gcc", *flags, *includes(folder), *every, "-o", program, "-lm")
        for seed in range(1, 26 if LONG else 2):
            said = run(program, seed, 2_000_000 if LONG else 100_000, timeout=PATIENCE)
            total.update(dict(zip(said.split()[::2], map(int, said.split()[1::2]), strict=True)))
    print(dict(total))
    assert total["wrong"] == 0
    assert total["executions"] >= (100_000_000 if LONG else 100_000)
    kinds = ("control", "controller", "project", "guess", "poll", "adapter", "supervisor", "blob")
    assert all(total[kind] > total["executions"] / 1_000 for kind in (*kinds, "moved"))
    assert total["audited"] > total["executions"] / 20_000


def test_sizes_that_frames_cannot_state_are_refused(tmp_path):
    """At compile time; and before that, where it is exported."""
    need("gcc")
    folder = exported("float", False)
    for sizes in (("-DSCPO_LINK_SIZE=65536U",), ("-DSCPO_TELEMETRY=12",)):
        chosen = ["gcc", "-std=c99", "-fsyntax-only", *sizes, *includes(folder), *sources(folder, ("link", "server"))]
        done = subprocess.run([str(x) for x in chosen], capture_output=True, text=True, check=False)
        assert done.returncode != 0 and re.search("scpo_payload_is_short|scpo_ring_wraps", done.stderr)


def test_a_policy_that_no_frame_carries_is_refused():
    problem = r3_problem(hidden=(90, 90))
    assert problem.theta_dim > 8181
    with pytest.raises(DomainError, match="a frame of the serial link carries 8181 in double"):
        device_code(problem, "double")


def test_a_device_of_one_parameter_tells_its_version(tmp_path):
    """The smallest payload holds the longest of the other answers, and a count of samples stays a byte."""
    need("gcc")
    plant = linear([[1.1]], [[1.0]], 0.1, ([-1.0], [1.0], [-1.0], [1.0]))
    backup = sc.lqr(plant, [1.0], [1.0])
    batch = sc.scenarios(plant, backup, horizon=5, count=2, level=0.3)
    problem = sc.ControlProblem(sc.Policy(plant, backup), batch, sc.Quadratic([1.0], [0.1]))
    assert problem.theta_dim == 1
    export(unadapted(problem), tmp_path / "c", real="float", measured=False, adapting=True)
    (tmp_path / "one.c").write_text(ONE)
    folder = tmp_path / "c"
    changing = [*sources(folder, ("link", "server")), tmp_path / "one.c"]
    others = sorted(set((folder / "src").glob("*.c")) - set(changing))
    run("gcc", "-std=c99", *includes(folder), "-c", *others, cwd=tmp_path)
    objects = sorted(tmp_path.glob("*.o"))
    for more in ((), ("-DSCPO_TELEMETRY=1024", "-DSCPO_LINK_SIZE=16384U")):
        program = tmp_path / "one"
        run("gcc", "-std=c99", *more, *includes(folder), *changing, *objects, "-o", program, "-lm")
        version, count, length = map(int, run(program).split())
        assert version == 6 + 64
        assert length == 5 + count * 13 and 0 < count <= 255


ONE = r"""
#include <stdio.h>
#include "scpo_link.h"
static scpo_controller controller;
static scpo_adapter adapter;
static scpo_telemetry telemetry;
static scpo_server server;
static unsigned char out[1 << 16];
static int length;
static void put(void *user, unsigned char byte) { (void)user; out[length++] = byte; }
static void keep(void *user, unsigned char byte) { (void)user; scpo_server_receive(&server, byte); }
static void ask(unsigned char type)
{
    scpo_server host = {0};
    host.put = keep;
    length = 0;
    scpo_link_send(&host, type, out, 0);
}
int main(void)
{
    scpo_real x = 0, u = 0;
    int k;
    (void)scpo_controller_begin(&controller, scpo_theta_start);
    scpo_adapter_begin(&adapter, &controller);
    server.controller = &controller, server.adapter = &adapter, server.telemetry = &telemetry, server.put = put;
    ask('V');
    printf("%d ", out[2] + 256 * out[3]);
    for (k = 0; k < 1000; k++) { scpo_telemetry_put(&telemetry, &x, &u, SCPO_OK); }
    ask('R');
    printf("%d %d\n", out[4], out[2] + 256 * out[3]);
    return 0;
}
"""
