"""The C of docs/device.md, compiled against stand-ins for the libraries that it is for, saves and loads."""

from __future__ import annotations

import doctest
import re

import pytest
from store_builds import HERE, SANITIZE, STRICT, build, run

PAGE = HERE.parents[1] / "docs" / "device.md"
BLOCKS = dict(re.findall(r"```c\n/\* (store_\w+)\.c \*/\n(.*?)```", PAGE.read_text(), re.DOTALL))
ON_STORE = """
#include <stdio.h>
{setup}
int main(void)
{{
    static scpo_store store, again;
    scpo_real theta[SCPO_NTHETA] = {{0.5f, -0.25f}};
    int k;
    {open}
    for (k = 0; k < 200; k++) {{
        theta[0] = (scpo_real)k;
        if (scpo_store_save(&store, theta) == SCPO_STORE_BUSY) {{
            if (scpo_store_prepare(&store, 1) != SCPO_STORE_OK || scpo_store_save(&store, theta) != SCPO_STORE_OK) {{
                return 1;
            }}
        }}
    }}
    theta[0] = theta[1] = 0;
    {again}
    return scpo_store_load(&again, theta) == SCPO_STORE_OK && (int)theta[0] == 199 && (int)(theta[1] * 4) == -1 ? 0 : 2;
}}
"""
ON_BLOBS = """
#include <stdio.h>
int main(void)
{{
    static {kind} files;
    scpo_real theta[SCPO_NTHETA] = {{0.5f, -0.25f}};
    uint32_t sequence = 0;
    if ({prefix}_load(&files, theta, &sequence) == 0 || {prefix}_save(&files, theta, 7) != 0) {{
        return 1;
    }}
    theta[0] = theta[1] = 0;
    return {prefix}_load(&files, theta, &sequence) == 0 && (int)(theta[1] * 4) == -1 && sequence == 7 ? 0 : 2;
}}
"""
CHIP = """
static unsigned char chip[4096];
int chip_read(uint32_t at, unsigned char *data, uint32_t size) { memcpy(data, chip + at, size); return 0; }
int chip_write(uint32_t at, const unsigned char *data, uint32_t size)
{
    const int crosses = at / 32u != (at + size - 1u) / 32u;
    memcpy(chip + at, data, size);
    return size > 32u || crosses ? -1 : 0;
}
"""
MAINS = {
    "store_zephyr": ON_STORE.format(
        setup="static scpo_flash flash;",
        open="if (store_open(&store, &flash, 4096) != 0) { return 3; }",
        again="(void)store_open(&again, &flash, 4096);",
    ),
    "store_eeprom": ON_STORE.format(
        setup=CHIP,
        open="if (scpo_store_begin(&store, &eeprom) != SCPO_STORE_OK) { return 3; }",
        again="(void)scpo_store_begin(&again, &eeprom);",
    ),
    "store_nvs": ON_BLOBS.format(kind="struct nvs_fs", prefix="nvs"),
    "store_littlefs": ON_BLOBS.format(kind="lfs_t", prefix="file"),
}


def test_there_are_no_others():
    assert set(BLOCKS) == set(MAINS)


@pytest.mark.parametrize("name", MAINS)
def test_it_saves_and_loads(tmp_path, name):
    (tmp_path / "main.c").write_text(BLOCKS[name] + MAINS[name])
    flags = [flag for flag in STRICT if flag not in ("-Wcast-qual", "-Wshadow")]  # a flash_area is const, user is not
    program = build(tmp_path, [tmp_path / "main.c"], "main", *SANITIZE, *flags, f"-I{HERE / 'stubs'}")
    assert run(program) == (0, "")


def test_the_python_of_the_page():
    found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.attempted >= 4
    assert found.failed == 0
