"""One exported tree, many builds: CMake's two ways, the C++ class, names in headers, every prefix, pointers."""

import re
import shutil

import pytest
from exports import STRICT, contents, need, result_of, run

from scpo_ctrl.codegen import export
from scpo_ctrl.codegen.builds import signals_of
from scpo_ctrl.codegen.context import make_context
from scpo_ctrl.codegen.literals import string

from conftest import TREES, run_of  # isort: skip

NASTY = ("vectors", "test", "all", "install", "clean", "help", "scpo_x")  # `m` is refused: test_codegen_names.py
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


def test_cmake_installed_and_as_a_part(tree, tmp_path):
    need("cmake", "gcc")
    folder, quiet = tree("memory"), ("-DCMAKE_C_COMPILER=gcc", "-Werror=dev", "-DSERVO_TEST=OFF")
    run("cmake", "-S", folder, "-B", tmp_path / "built", *quiet, f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'there'}")
    run("cmake", "--build", tmp_path / "built", "--target", "install", "-j2")
    assert (tmp_path / "there/include/servo/servo.hpp").is_file()
    project(tmp_path / "finds", "servo", "find_package(servo 0.1 CONFIG REQUIRED)")
    project(tmp_path / "holds", "servo", f'add_subdirectory("{folder}" servo)')
    for name in ("finds", "holds"):
        prefix = f"-DCMAKE_PREFIX_PATH={tmp_path / 'there'}"
        run("cmake", "-S", tmp_path / name, "-B", tmp_path / name / "b", *quiet[:2], prefix)
        run("cmake", "--build", tmp_path / name / "b", "-j2")
        run(tmp_path / name / "b" / "app")
    assert not list((tmp_path / "holds").rglob("servo-config*.cmake"))  # a part installs nothing by itself


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
    ("kind", "prefix"), [*(("adapting", prefix) for prefix in NASTY), ("plain", "test"), ("memory", "scpo_x")]
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


def test_a_prefix_of_every_tool_builds_with_make_and_cmake(tree, tmp_path):
    need("gcc", "make", "cmake")
    folder = tmp_path / "tree"
    shutil.copytree(tree("adapting", "test"), folder)
    assert " 0 failures" in run("make", "-C", folder, "test", "CC=gcc", f"CFLAGS=-std=c99 {STRICT}")
    run("cmake", "-S", folder, "-B", tmp_path / "b", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'there'}", "-DTEST_TEST=OFF")
    run("cmake", "--build", tmp_path / "b", "--target", "install", "-j2")
    project(tmp_path / "finds", "test", "find_package(test CONFIG REQUIRED)")
    run("cmake", "-S", tmp_path / "finds", "-B", tmp_path / "f", f"-DCMAKE_PREFIX_PATH={tmp_path / 'there'}")
    run("cmake", "--build", tmp_path / "f")


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
def test_the_class_of_cpp(kind, tree, tmp_path):
    need("gcc", "g++")
    folder = tree(kind)
    body = CLASS.get(kind, CLASS["network"]).replace("UPPER_real", "servo_real")
    body = body.replace("PREFIX", "servo").replace("UPPER", "SERVO")
    other = "static servo_real other[SERVO_NTHETA];"
    (tmp_path / "main.cpp").write_text(f'#include "servo.hpp"\n{other}\nint main()\n{{\n(void)other;{body}\n}}\n')
    for source in (folder / "src").glob("*.c"):
        run("gcc", "-O1", "-std=c99", f"-I{folder / 'include'}", "-c", source, "-o", tmp_path / f"{source.stem}.o")
    flags = "-std=c++11 -Wall -Wextra -pedantic -Werror -fno-exceptions -fno-rtti".split()
    objects = sorted(tmp_path.glob("*.o"))
    run("g++", *flags, f"-I{folder / 'include'}", tmp_path / "main.cpp", *objects, "-o", tmp_path / "main")
    run(tmp_path / "main")


@pytest.mark.parametrize("kind", TREES)
def test_names_with_units_are_strings(kind, tree, tmp_path):
    """Whatever labels hold, the program prints them as they are."""
    need("gcc")
    signals = signals_of(make_context(run_of(kind), "host", None, "servo"))
    groups = {signals.letter: signals.measured, "r": signals.references, "u": signals.inputs, "theta": signals.parameters}
    groups = {key.upper(): entries for key, entries in groups.items() if entries}
    prints = "".join(
        f"static const char *const {key}[SERVO_N{key}] = SERVO_{key}_NAMES;\n" for key in groups
    ) + "int main(void)\n{\nint i;\n" + "".join(
        f"for (i = 0; i < SERVO_N{key}; i++) {{ puts({key}[i]); }}\n" for key in groups
    )  # fmt: skip
    (tmp_path / "main.c").write_text(
        f'#include <stdio.h>\n#include "servo_config.h"\n{prints}return SERVO_DT_US != (unsigned)(1000000 * SERVO_DT + (servo_real)0.5);\n}}\n'
    )
    run("gcc", f"-I{tree(kind) / 'include'}", *STRICT.split(), tmp_path / "main.c", "-o", tmp_path / "main")
    wanted = [entry.text for entries in groups.values() for entry in entries]
    lines = [text.encode() for text in wanted]
    assert run(tmp_path / "main").encode().splitlines() == lines


def test_a_string_of_c():
    assert string("a\\b\"c??/µ\n1") == '"a\\134b\\042c\\077\\077/\\302\\265 1"'


def test_numbers_out_of_a_byte_stream_are_aligned(tree, tmp_path):
    """The link's own code takes reals from bytes at any address; a pointer of the user's has the alignment of its type."""
    need("gcc")
    folder = tree("adapting")
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
    flags = [f"-I{folder / 'include'}", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    run("gcc", *flags, tmp_path / "main.c", *(folder / "src").glob("*.c"), "-lm", "-o", tmp_path / "main")
    run(tmp_path / "main")
