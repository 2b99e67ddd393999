"""Layouts for boards against the rules that their tools document, and the code in them, compiled and run on stubs."""

import json
import re
from pathlib import Path

import pytest
from exports import STRICT, need, run

from scpo_ctrl.version import __version__

from conftest import TREES  # isort: skip

STUBS = Path(__file__).parent.parent / "data" / "board_stubs"
KINDS = [*TREES]
TIMERS = {"stm32": "main.h", "rp2350": "pico/time.h", "esp32c3": "driver/gptimer.h", "nrf": "nrf.h"}
# Arduino: the categories that its library specification lists.
CATEGORIES = (
    "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage",
    "Data Processing", "Other",
)  # fmt: skip
# The user's two functions: any measurement, and a count of commands that are within their bounds.
USER = """
double board_period;
int board_samples;
void servo_board_measure(servo_real *{letter}{more})
{{
    {letter}[0] = (servo_real)0.01 * (servo_real)board_samples;
{unused}}}
void servo_board_apply(const servo_real *u)
{{
    board_samples += u[0] == u[0];
}}
"""


def user(kind):
    """Return the functions that a user writes for a kind of tree."""
    more, unused = (", servo_real *r", "    (void)r;\n") if kind == "memory" else ("", "")
    return USER.format(letter="y" if kind in ("memory", "feedback") else "x", more=more, unused=unused)


@pytest.mark.table(2)
@pytest.mark.parametrize("kind", ["adapting", "memory"])
def test_timers_sample_at_dt(kind, tree, library, tmp_path):
    """Each sets its timer to SCPO_DT by its own units, and samples once in each of its interrupts."""
    flags, linked = library(kind)
    for name, header in TIMERS.items():
        (tmp_path / "main.c").write_text(
            f'#include <stdio.h>\n#include "servo_board.h"\n{user(kind)}\n#define scpo_timer_begin servo_timer_begin\n'
            f"#define BOARD_STUBS\n#include <{header}>\nint main(void)\n{{\n    (void)servo_timer_begin();\n"
            '    printf("%.9g %d", board_period / (double)SERVO_DT, board_samples);\n    return 0;\n}\n'
        )
        timer = tree(kind) / "boards/timers" / f"{name}.c"
        wrapped = ["-Dscpo_timer_begin=servo_timer_begin", f"-I{STUBS}"]
        run("gcc", "-std=c99", *flags, *wrapped, tmp_path / "main.c", timer, *linked, "-o", tmp_path / name)
        period, samples = run(tmp_path / name).split()
        assert float(period) == pytest.approx(1, rel=1e-5) and samples == "3", name


@pytest.mark.parametrize("kind", KINDS)
def test_arduino_library(kind, tree):
    """library.properties, the folders and the sketch, by the library specification 1.5, revision 2.2."""
    folder = tree(kind) / "boards" / "arduino"
    lines = (folder / "library.properties").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines)
    required = ["name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"]
    assert all(given[key].strip() for key in required)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", given["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", given["version"]) and given["version"] == __version__
    assert given["category"] in CATEGORIES
    sources = {file.name for file in (folder / "src").iterdir()}
    assert given["includes"] in sources and "utility" not in {path.name for path in folder.iterdir()}  # of layout 1.0
    for sketch in (folder / "examples").iterdir():
        assert (sketch / f"{sketch.name}.ino").is_file()
    for file in (folder / "src").iterdir():  # all that is included is beside it, or of the C library
        text = re.sub(
            r"#if \w+\n#include .*\n#endif\n", "", file.read_text(encoding="utf-8")
        )  # the next test compiles these
        names = re.findall(r'#include "([^"]+)"', text)
        assert set(names) <= sources, file.name


@pytest.mark.parametrize("kind", KINDS)
def test_arduino_sketch_samples(kind, tree, tmp_path):
    """The library as Arduino compiles it: all of src/, nothing else on the include path; the sketch as C++."""
    need("gcc", "g++")
    folder = tree(kind) / "boards" / "arduino"
    run("gcc", "-std=c99", *STRICT.split(), "-c", f"-I{folder / 'src'}", *(folder / "src").glob("*.c"), cwd=tmp_path)
    (tmp_path / "main.cpp").write_text(
        f'#include "Arduino.h"\n#include "{folder / "examples/Control/Control.ino"}"\n'
        "static unsigned long now;\nstatic int written;\n"
        "unsigned long micros() { return now; }\nint analogRead(int) { return 0; }\n"
        "void analogWrite(int, int) { written++; }\n"
        "int main()\n{\n    setup();\n"
        "    for (int k = 0; k < 40; k++) { now += SERVO_DT_US / 4; loop(); }\n"
        "    return written == 10 * 4 * (SERVO_DT_US / 4) / SERVO_DT_US ? 0 : 1;\n}\n"
    )
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", f"-I{STUBS}", f"-I{folder / 'src'}"]
    run("g++", *flags, tmp_path / "main.cpp", *sorted(tmp_path.glob("*.o")), "-lm", "-o", tmp_path / "main")
    run(tmp_path / "main")


@pytest.mark.parametrize("kind", KINDS)
def test_platformio_manifest(kind, tree):
    """library.json: required fields and their forms, files that are there."""
    folder = tree(kind, "a_b") / "boards" / "arduino" if kind == "plain" else tree(kind) / "boards" / "arduino"
    given = json.loads((folder / "library.json").read_text())
    assert {"name", "version", "description", "keywords"} <= given.keys()
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", given["name"]) and len(given["name"]) <= 50
    assert len(given["description"]) <= 255 and re.fullmatch(r"\d+\.\d+\.\d+", given["version"])
    source = folder / given["build"]["srcDir"]
    assert (source / given["headers"]).is_file() and (folder / given["build"]["includeDir"]).is_dir()
    for example in given["examples"]:
        assert all((folder / example["base"] / file).is_file() for file in example["files"])


@pytest.mark.parametrize("kind", KINDS)
def test_zephyr_module(kind, tree):
    """zephyr/module.yml, what it names, and the symbols: all that are used are defined."""
    folder = tree(kind) / "boards" / "zephyr"
    module = (folder / "zephyr" / "module.yml").read_text()
    assert re.search(r"^name: servo-export$", module, re.MULTILINE)
    found = dict(re.findall(r"^  (cmake|kconfig): (\S+)$", module, re.MULTILINE))
    assert (folder / found["cmake"] / "CMakeLists.txt").is_file() and (folder / found["kconfig"]).is_file()
    symbols = set(re.findall(r"^config (\w+)$", (folder / "Kconfig").read_text(), re.MULTILINE))
    sample = folder / "samples" / "control"
    used = "".join(file.read_text() for file in (folder / "CMakeLists.txt", sample / "prj.conf"))
    assert symbols == set(re.findall(r"CONFIG_(\w+)", used)) == {"SERVO_EXPORT", "SERVO_EXPORT_BOARD"}
    files = re.findall(r"\S+\.c\b", (folder / "CMakeLists.txt").read_text())
    assert {(folder / file).resolve() for file in files} == {
        *(tree(kind) / "src").resolve().glob("*.c"),
        (tree(kind) / "boards/common/servo_board.c").resolve(),
    }
    assert "ZEPHYR_EXTRA_MODULES ${CMAKE_CURRENT_SOURCE_DIR}/../.." in (sample / "CMakeLists.txt").read_text()
    assert (sample / "src" / "main.c").is_file() and "sample:" in (sample / "sample.yaml").read_text()


@pytest.mark.parametrize("kind", ["adapting", "memory"])
def test_zephyr_sample_runs(kind, tree, library, tmp_path):
    flags, linked = library(kind)
    (tmp_path / "period.c").write_text("double board_period;\n")
    sample = tree(kind) / "boards/zephyr/samples/control/src/main.c"
    stubbed = ["-std=c99", *flags, f"-I{STUBS}"]
    run("gcc", *stubbed, sample, tmp_path / "period.c", *linked, "-o", tmp_path / "main")
    run(tmp_path / "main")


@pytest.mark.parametrize("kind", KINDS)
def test_names_for_calibration(kind, tree, library):
    """The fragment's grammar as far as it goes, and that each symbol is one of the library, as long as it says."""
    need("nm")
    text = (tree(kind) / "boards" / "servo.a2l").read_text(encoding="utf-8")
    plain = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert plain.count("/begin ") == plain.count("/end ")
    names = re.findall(r"/begin CHARACTERISTIC (\S+) \"[^\"\n]*\"\n  (?:VALUE|VAL_BLK) 0x0 servo_value 0 ", plain)
    assert len(names) == len(set(names)) == plain.count("/begin CHARACTERISTIC")
    assert all(re.fullmatch(r"[A-Za-z_]\w*", name) for name in names)
    archive = library(kind)[1][0]
    found = re.findall(r"^\S+ (\S+) [RrDd] (\S+)$", run("nm", "-S", archive), re.MULTILINE)
    sizes = {name: int(size, 16) for size, name in found}
    width = 4 if "FLOAT32_IEEE" in plain else 8
    for block in re.findall(r"/begin CHARACTERISTIC .*?/end CHARACTERISTIC", plain, re.DOTALL):
        symbol, offset = re.findall(r'SYMBOL_LINK "(\w+)" (\d+)', block)[0]
        count = re.findall(r"MATRIX_DIM (\d+)", block)
        assert int(offset) + width * int(count[0] if count else 1) <= sizes[symbol]
        assert ("READ_ONLY" in block) == ("u_m" in symbol)
