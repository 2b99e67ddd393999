"""An export that adapts carries the store, and says which problem its parameters are of."""

from __future__ import annotations

import re
import subprocess

import pytest
from exports import STRICT, need, result_of, run
from store_builds import HERE

from scpo_ctrl.codegen import export
from scpo_ctrl.problem.identity import problem_hash

PAGE = (HERE.parents[1] / "docs" / "device.md").read_text()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "c"
    result = result_of("mlp_2_1")
    export(result, folder, target="cortex-m4f", measured=False, adapting=True)
    return folder, result.problem


def test_the_problem_is_named(exported):
    folder, problem = exported
    found = re.search(r"#define SCPO_PROBLEM_HASH (.*)", (folder / "include" / "scpo_config.h").read_text())
    assert found is not None
    assert bytes(int(byte, 16) for byte in found[1].split(", ")) == problem_hash(problem)


def test_the_first_lines_of_the_page_compile(exported, tmp_path):
    need("gcc", "make")
    folder, _ = exported
    sketch = re.search(r"```c\n(static const scpo_flash flash.*?)```", PAGE, re.DOTALL)
    assert sketch is not None
    (tmp_path / "main.c").write_text(
        f"{BEFORE}{sketch[1]}int main(void)\n{{\n    start();\n    keep();\n    return 0;\n}}\n"
    )
    run("make", "-C", folder, f"CFLAGS=-std=c99 -O1 {STRICT}")
    command = [
        "gcc",
        "-std=c99",
        *STRICT.split(),
        f"-I{folder}/include",
        tmp_path / "main.c",
        folder / "build/libscpo.a",
    ]
    run(*command, "-lm", "-o", tmp_path / "main")


def test_its_size_on_a_cortex_m4(exported, tmp_path):
    need("arm-none-eabi-gcc", "arm-none-eabi-size")
    folder, _ = exported
    flags = ("-std=c99", "-Os", "-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
    objects = []
    for name in ("store", "blob"):
        objects.append(tmp_path / f"{name}.o")
        run("arm-none-eabi-gcc", *flags, f"-I{folder}/include", "-c", folder / f"src/scpo_{name}.c", "-o", objects[-1])
    sizes = [line.split() for line in run("arm-none-eabi-size", *objects).splitlines()[1:]]
    assert sum(int(size[0]) for size in sizes) <= 2600
    assert all(size[1:3] == ["0", "0"] for size in sizes)  # no global data


def test_other_exports_have_no_store(tmp_path):
    export(result_of("linear_1_1"), tmp_path / "c", measured=False)
    names = {file.name for file in (tmp_path / "c").rglob("*")}
    assert "scpo_store.h" not in names
    assert subprocess.run(["grep", "-rq", "PROBLEM_HASH", tmp_path / "c"], check=False).returncode == 1


BEFORE = """
#include "scpo_adapt.h"
#include "scpo_store.h"
static scpo_controller controller;
static int plant_stands_still(void)
{
    return 1;
}
static int my_read(void *user, uint32_t at, unsigned char *data, uint32_t size)
{
    data[size - 1] = (unsigned char)at;
    return user != 0;
}
static int my_program(void *user, uint32_t at, const unsigned char *data, uint32_t size)
{
    return user != 0 || at + size + data[0] == 0;
}
static int my_erase(void *user, uint32_t at, uint32_t size)
{
    return user != 0 || at + size == 0;
}
"""
