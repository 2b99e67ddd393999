"""Exports compile without a warning and replay their vectors: compilers, languages, arithmetic, sanitizers, CMake."""

import re
import shutil

import problems
import pytest
from exports import SHAPES, STRICT, need, result_of, run

import scpo_ctrl
from scpo_ctrl.codegen import TARGETS, export, replay
from scpo_ctrl.codegen.build import measure
from scpo_ctrl.errors import CompilerError

SANITIZE = "-O0 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all"
LANGUAGES = {
    "c": ("", "-std=c99 -Wstrict-prototypes -Wmissing-prototypes"),
    "c++": ("++", "-std=c++11 -Wno-deprecated"),
}
COMMANDS = {("gcc", "c"): "gcc", ("gcc", "c++"): "g++", ("clang", "c"): "clang", ("clang", "c++"): "clang++"}
# Every shape of a policy and both types with both compilers, as C and as C++, in eight builds.
MATRIX = [
    (compiler, language, real, shape)
    for compiler, language, shapes in (
        ("gcc", "c", ("mlp_3_2", "linear_1_1")),
        ("gcc", "c++", ("linear_4_2", "mlp_2_1")),
        ("clang", "c", ("mlp_2_1", "linear_4_2")),
        ("clang", "c++", ("linear_1_1", "mlp_3_2")),
    )
    for real, shape in zip(("double", "float"), shapes, strict=True)
]


@pytest.mark.table(8)
@pytest.mark.parametrize(("compiler", "language", "real", "shape"), MATRIX)
def test_strict_and_sanitized(compiler, language, real, shape, tmp_path):
    command, standard = COMMANDS[compiler, language], LANGUAGES[language][1]
    need(command, "make")
    export(result_of(shape), tmp_path / "c", real=real, measured=False)
    output = run("make", "-C", tmp_path / "c", "test", f"CC={command}", f"CFLAGS={standard} {STRICT} {SANITIZE}")
    assert "200 control vectors" in output and "50 projections" in output and " 0 failures" in output


@pytest.mark.table(4)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("shape", SHAPES)
def test_optimised_without_warnings(compiler, shape, tmp_path):
    need(compiler, "make")
    export(result_of(shape), tmp_path / "c", real="float", measured=False)
    run("make", "-C", tmp_path / "c", "all", f"CC={compiler}", f"CFLAGS=-std=c99 -O3 {STRICT}")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("real", ["float", "double"])
def test_fast_math(compiler, real, tmp_path):
    """NaN and infinities are still seen; numbers may differ in the last digits."""
    need(compiler, "make")
    export(result_of("mlp_3_2"), tmp_path / "c", real=real, measured=False)
    flags = (f"CC={compiler}", "CFLAGS=-std=c99 -O3 -ffast-math")
    assert " 0 failures" in run("make", "-C", tmp_path / "c", "test", *flags)


@pytest.mark.table(2)
@pytest.mark.parametrize("real", ["float", "double"])
def test_replay_where_large_numbers_cancel(real, tmp_path):
    need("make", "cc")
    run = scpo_ctrl.adapt(problems.offset_problem(), scpo_ctrl.AdaptOptions(steps=2))
    assert " 0 failures" in replay(export(run, tmp_path / "c", real=real, measured=False).path)


def test_replay_sees_a_changed_number(tmp_path):
    need("make", "cc")
    done = export(result_of("mlp_2_1"), tmp_path / "c", measured=False)
    assert re.match(r"scpo, double: 200 control vectors, .*; 0 failures$", replay(done.path))
    data = tmp_path / "c" / "src" / "scpo_data.c"
    text = data.read_text()
    data.write_text(re.sub(r"(scpo_K.*\n +\{)", r"\g<1>0.5 + ", text))
    with pytest.raises(CompilerError, match="FAILED: control: u"):
        replay(done.path)
    data.write_text(text + "\nint broken(void) { return nothing; }\n")
    with pytest.raises(CompilerError, match="error"):
        replay(done.path)


def test_replay_without_tools(tmp_path, monkeypatch):
    done = export(result_of("linear_1_1"), tmp_path / "c", measured=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CompilerError, match="no C compiler found"):
        replay(done.path)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "make" else f"/bin/{name}")
    with pytest.raises(CompilerError, match="make not found"):
        replay(done.path)


def test_a_smaller_workspace(tmp_path):
    need("make", "gcc")
    export(result_of("mlp_2_1"), tmp_path / "c", measured=False)
    flags = f"CFLAGS=-std=c99 {STRICT} -DSCPO_MAX_DIM=4 -DSCPO_MAX_ACTIVE=4"
    output = run("make", "-C", tmp_path / "c", "test", "CC=gcc", flags)
    assert "200 control vectors" in output and " 0 failures" in output


def test_makefile_targets(tmp_path):
    need("make", "gcc", "size")
    export(result_of("linear_1_1"), tmp_path / "c", measured=False)
    make = ("make", "-C", tmp_path / "c", "CC=gcc")
    run(*make)
    assert (tmp_path / "c" / "build" / "libscpo.a").is_file()
    assert "TOTALS" in run(*make, "size")
    run(*make, "clean")
    assert not (tmp_path / "c" / "build").exists()


def test_cmake(tmp_path):
    need("cmake", "ctest")
    export(result_of("mlp_3_2"), tmp_path / "c", prefix="plant_7", measured=False)
    run("cmake", "-S", tmp_path / "c", "-B", tmp_path / "build")
    run("cmake", "--build", tmp_path / "build")
    assert "100% tests passed" in run("ctest", cwd=tmp_path / "build")


def test_readme_example(tmp_path):
    need("gcc")
    export(result_of("mlp_2_1"), tmp_path / "c", prefix="servo", real="float", measured=False)
    readme = (tmp_path / "c" / "README.md").read_text()
    (code,) = re.findall(r"```c\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "main.c").write_text(code)
    sources = sorted((tmp_path / "c" / "src").glob("*.c"))
    flags = ["-std=c99", *STRICT.split(), f"-I{tmp_path / 'c' / 'include'}"]
    run("gcc", *flags, tmp_path / "main.c", *sources, "-lm", "-o", tmp_path / "main")
    assert re.fullmatch(r"u\[0\] = -?0\ndelta = 0.2(49\d*|5)\n", run(tmp_path / "main"))


def test_two_prefixes_in_one_program(tmp_path):
    need("gcc")
    numbers = {"pump": "mlp_2_1", "valve_2": "linear_4_2"}
    flags, sources = ["-std=c99", *STRICT.split()], []
    for prefix, shape in numbers.items():
        export(result_of(shape), tmp_path / prefix, prefix=prefix, real="float", measured=False)
        flags.append(f"-I{tmp_path / prefix / 'include'}")
        sources += sorted((tmp_path / prefix / "src").glob("*.c"))
        text = "".join(file.read_text() for file in (tmp_path / prefix).rglob("*.[ch]"))
        assert not re.search(r"\bscpo_|\bSCPO_", text)
    (tmp_path / "main.c").write_text(
        '#include "pump.h"\n#include "valve_2.h"\n'
        "int main(void)\n{\n    float x[4] = {0};\n    float u[2];\n"
        "    return (int)pump_control(pump_theta_initial, x, u) + (int)valve_2_control(valve_2_theta_initial, x, u)\n"
        "        + PUMP_NX - 2 + VALVE_2_NX - 4;\n}\n"
    )
    run("gcc", *flags, tmp_path / "main.c", *sources, "-lm", "-o", tmp_path / "main")
    run(tmp_path / "main")


@pytest.mark.parametrize("name", TARGETS)
def test_measure(name, tmp_path):
    """Sizes of plausible order, or a line that says what is missing."""
    target = TARGETS[name]
    done = export(result_of("mlp_2_1"), tmp_path / "c", target=name)
    readme = (tmp_path / "c" / "README.md").read_text()
    if done.resources is None:
        assert f"{target.compiler}" in readme and "`make size" in readme
        pytest.skip(f"{target.compiler} does not work here")
    print(name, {key: value for key, value in done.resources.items() if key.endswith("bytes")})
    assert 1000 < done.resources["code_bytes"] < 20_000
    assert done.resources["static_bytes"] == 0
    assert 500 < done.resources["ram_bytes"] < 5000
    assert 50 < done.resources["control_stack_bytes"] < 1000 and 100 < done.resources["project_stack_bytes"] < 2000
    assert f"| code | {done.resources['code_bytes']} |" in readme
    if target.machine:
        need("make")
        run("make", "-C", tmp_path / "c", "target")
        assert "TOTALS" in run("make", "-C", tmp_path / "c", "size")


def test_missing_compiler_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    done = export(result_of("linear_1_1"), tmp_path / "c", target="cortex-m4f")
    assert done.resources is None
    readme = (tmp_path / "c" / "README.md").read_text()
    assert "arm-none-eabi-gcc was not found. `make size` prints" in readme


def test_compiler_that_fails_is_said(tmp_path):
    need("gcc", "size")
    export(result_of("linear_1_1"), tmp_path / "c", measured=False)
    (tmp_path / "c" / "src" / "scpo_data.c").write_text("#error broken\n")
    assert "does not compile" in measure(tmp_path / "c", TARGETS["host"], "scpo")
