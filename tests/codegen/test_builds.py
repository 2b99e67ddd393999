"""One exported tree, many builds: CMake's two ways, the C++ class, names in headers, every prefix, pointers."""

import os
import re
import shutil

import pytest
from exports import STRICT, contents, need, result_of, run

from scpo_ctrl.codegen import export
from scpo_ctrl.codegen.builds import signals_of
from scpo_ctrl.codegen.context import make_context
from scpo_ctrl.codegen.literals import string

from conftest import TREES, run_of  # isort: skip

ALL = os.environ.get("SCPO_EXPORT_NAMES") == "all"
NASTY = ("vectors", "test", "all", "install", "clean", "help", "scpo_x")  # `m` is refused: test_codegen_names.py
TOGETHER = NASTY if ALL else ("test",)  # each takes two seconds
USER = """
#include "{prefix}.h"
int main(void)
{{
    {prefix}_workspace work;
    (void)work;
    return {prefix}_theta[0] == {prefix}_theta[0] ? 0 : 1;
}}
"""


def project(folder, prefix, found):
    """Write a project whose program links to an export."""
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.10)\nproject(user C)\n{found}\n"
        f"add_executable(app main.c)\ntarget_link_libraries(app PRIVATE {prefix}::{prefix})\n"
    )
    (folder / "main.c").write_text(USER.format(prefix=prefix))


@pytest.mark.parametrize("prefix", TOGETHER)
def test_make_and_cmake(prefix, tree, tmp_path):
    """The vectors by make; cmake's two ways: installed and found, and as a part of another project."""
    need("make", "cmake", "gcc")
    folder, there, upper = tmp_path / "tree", tmp_path / "there", prefix.upper()
    shutil.copytree(tree("adapting", prefix), folder)
    assert " 0 failures" in run("make", "-C", folder, "test", "CC=gcc", f"CFLAGS=-std=c99 {STRICT}")
    quiet = ("-DCMAKE_C_COMPILER=gcc", "-Werror=dev", f"-D{upper}_TEST=OFF")
    run("cmake", "-S", folder, "-B", tmp_path / "b", *quiet, f"-DCMAKE_INSTALL_PREFIX={there}")
    run("cmake", "--build", tmp_path / "b", "--target", "install", "-j2")
    assert (there / "include" / prefix / f"{prefix}.hpp").is_file()
    found = f"find_package({prefix} 0.1 CONFIG REQUIRED)"
    for name, line in {"finds": found, "holds": f'add_subdirectory("{tree("plain", prefix)}" held)'}.items():
        project(tmp_path / name, prefix, line)
        build = tmp_path / name / "b"
        run("cmake", "-S", tmp_path / name, "-B", build, *quiet[:2], f"-DCMAKE_PREFIX_PATH={there}")
        run("cmake", "--build", build, "-j2")
        run(build / "app")
    assert not list((tmp_path / "holds").rglob(f"{prefix}-config*.cmake"))  # a part installs nothing by itself


def test_nothing_of_a_build_system_that_was_not_asked_for(tmp_path):
    done = export(result_of("linear_1_1"), tmp_path / "c", measured=False)
    assert not [name for name in done.files if name.startswith("boards")]
    assert "fmu" not in (tmp_path / "c" / "Makefile").read_text() + (tmp_path / "c" / "README.md").read_text()
    before = contents(tmp_path / "c")
    export(result_of("linear_1_1"), tmp_path / "c", measured=False, builds=True)  # takes the place of the other one
    assert {"boards/README.md", "boards/scpo.a2l"} <= contents(tmp_path / "c").keys()
    export(result_of("linear_1_1"), tmp_path / "c", measured=False)
    assert contents(tmp_path / "c") == before


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        *(("adapting", prefix) for prefix in (NASTY if ALL else ("all", "install"))),
        ("plain", "test"),
        ("memory", "scpo_x"),
    ],
)
def test_every_prefix_compiles(kind, prefix, tree):
    """All functions, with the headers of their own names and nothing of another name."""
    need("gcc")
    folder = tree(kind, prefix)
    sources = [*(folder / "src").glob("*.c"), *(folder / "boards/common").glob("*.c")]
    includes = [f"-I{folder / 'include'}", f"-I{folder / 'boards/common'}"]
    run("gcc", "-std=c99", *STRICT.split(), "-Wcast-align=strict", "-fsyntax-only", *includes, *sources)
    for name, text in contents(folder).items():
        assert prefix.startswith("scpo") or not re.search(rb"\b(scpo|SCPO)_", text), name
        assert not re.search(r"(^|/|_)scpo[_.]", name) or prefix.startswith("scpo"), name


CLASS = {
    "network": """
        static PREFIX_loop loop;
        if (loop.begin() != UPPER_OK) { return 1; }
        for (int i = 0; i < UPPER_NTHETA; i++) { other[i] = PREFIX_theta[i] / 2; }
        UPPER_real x[UPPER_NX] = {0.1f}, u[UPPER_NU], v[UPPER_NU];
        for (int k = 0; k < 2; k++) {
            if (loop.control(x, u) != PREFIX_control(k ? other : PREFIX_theta, x, v) || u[0] != v[0]) { return 2; }
            if (loop.load(other) != UPPER_OK) { return 3; }
        }
        other[0] /= 0 * other[0];
        if (loop.load(other) != UPPER_BAD_THETA || loop.control(x, u) != UPPER_OK || u[0] != v[0]) { return 4; }
        return loop.controller()->active > 1;""",
    "memory": """
        static PREFIX_loop loop;
        PREFIX_memory memory = PREFIX_memory_initial;
        loop.begin();
        UPPER_real y[UPPER_NY] = {0.1f}, r[UPPER_NR] = {0.3f}, u[UPPER_NU], v[UPPER_NU];
        for (int k = 0; k < 9; k++) {
            if (loop.control(y, r, u) != PREFIX_control(PREFIX_theta, y, r, &memory, v) || u[0] != v[0]) { return 2; }
        }
        return loop.memory().sin_2 != memory.sin_2;""",
    "feedback": """
        static PREFIX_loop loop;
        loop.begin();
        UPPER_real y[UPPER_NY] = {0.1f}, u[UPPER_NU], v[UPPER_NU];
        return loop.control(y, u) != PREFIX_control(PREFIX_theta, y, v) || u[0] != v[0];""",
}


@pytest.mark.parametrize("kind", TREES)
def test_the_class_of_cpp(kind, library, tmp_path):
    need("g++")
    flags, linked = library(kind)
    body = CLASS.get(kind, CLASS["network"]).replace("UPPER_real", "servo_real")
    body = body.replace("PREFIX", "servo").replace("UPPER", "SERVO")
    other = "static servo_real other[SERVO_NTHETA];"
    (tmp_path / "main.cpp").write_text(f'#include "servo.hpp"\n{other}\nint main()\n{{\n(void)other;{body}\n}}\n')
    flags = [*["-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fno-exceptions", "-fno-rtti"], flags[-2]]
    run("g++", *flags, tmp_path / "main.cpp", *linked, "-o", tmp_path / "main")
    run(tmp_path / "main")


@pytest.mark.parametrize("kind", TREES)
def test_names_with_units_are_strings(kind, tree, tmp_path):
    """Whatever labels hold, the program prints them as they are."""
    need("gcc")
    signals = signals_of(make_context(run_of(kind), "host", None, "servo"))
    groups = {
        signals.letter: signals.measured,
        "r": signals.references,
        "u": signals.inputs,
        "theta": signals.parameters,
    }
    groups = {key.upper(): entries for key, entries in groups.items() if entries}
    arrays = "".join(f"static const char *const {key}[SERVO_N{key}] = SERVO_{key}_NAMES;\n" for key in groups)
    puts = "".join(f"for (i = 0; i < SERVO_N{key}; i++) {{ puts({key}[i]); }}\n" for key in groups)
    same = "SERVO_DT_US != (unsigned)(1000000 * SERVO_DT + (servo_real)0.5)"
    (tmp_path / "main.c").write_text(
        f'#include <stdio.h>\n#include "servo_config.h"\n{arrays}int main(void)\n{{\nint i;\n{puts}return {same};\n}}\n'
    )
    run("gcc", f"-I{tree(kind) / 'include'}", *STRICT.split(), tmp_path / "main.c", "-o", tmp_path / "main")
    wanted = [entry.text for entries in groups.values() for entry in entries]
    lines = [text.encode() for text in wanted]
    assert run(tmp_path / "main").encode().splitlines() == lines


def test_a_string_of_c():
    assert string('a\\b"c??/µ\n1') == '"a\\134b\\042c\\077\\077/\\302\\265 1"'


def test_numbers_out_of_a_byte_stream_are_aligned(tree, library, tmp_path):
    """The link's own code takes reals out of bytes at any address; no cast raises an alignment."""
    need("gcc")
    _, linked = library("adapting")  # of it what takes no bytes
    taking = [tree("adapting") / f"src/servo_{name}.c" for name in ("link", "server", "blob")]
    (tmp_path / "main.c").write_text("""
#include <string.h>
#include "servo_link.h"
static servo_controller controller;
static servo_adapter adapter;
static struct { char shift; servo_server server; } odd;
static int answers;
static void put(void *user, unsigned char byte) { (void)user; answers += byte == SERVO_LINK_START; }
static unsigned crc(unsigned sum, unsigned char byte)
{
    int k;
    sum ^= (unsigned)byte << 8;
    for (k = 0; k < 8; k++) { sum = (sum & 0x8000u ? (sum << 1) ^ 0x1021u : sum << 1) & 0xFFFFu; }
    return sum;
}
int main(void)
{
    const servo_real x[SERVO_NX] = {1};
    unsigned char frame[6 + sizeof x] = {SERVO_LINK_START, SERVO_LINK_CONTROL, sizeof x, 0};
    unsigned sum = 0xFFFFu;
    size_t k;
    (void)servo_controller_begin(&controller, servo_theta);
    servo_adapter_begin(&adapter, &controller);
    odd.server.controller = &controller;
    odd.server.adapter = &adapter;
    odd.server.put = put;
    memcpy(frame + 4, x, sizeof x);
    for (k = 1; k < 4 + sizeof x; k++) { sum = crc(sum, frame[k]); }
    frame[4 + sizeof x] = (unsigned char)sum;
    frame[5 + sizeof x] = (unsigned char)(sum >> 8);
    for (k = 0; k < sizeof frame; k++) { servo_server_receive(&odd.server, frame[k]); }
    return odd.server.link.bad || !answers;
}
""")
    flags = [f"-I{tree('adapting') / 'include'}", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    run("gcc", *flags, tmp_path / "main.c", *taking, *linked, "-o", tmp_path / "main")
    run(tmp_path / "main")
