"""The tutorials do what they say, and print it: one after the other, in one process, on small problems."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_code import walk
from exports import STRICT, need, result_of, run
from forms import LONG

from scpo_ctrl.codegen import export

DOCS = Path(__file__).parents[2] / "docs"
SLOW = {"bad-expert", "board", "certify"}  # in `make long`
PAGES = sorted([*(DOCS / "tutorials").glob("*.md"), *(DOCS / "howto").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_prints_what_it_shows(page, tmp_path):
    if page.stem in SLOW and not LONG:
        pytest.skip("`make long` runs it")
    walk(page.read_text(encoding="utf-8"), page.name, tmp_path)


def test_guarantees_in_python(tmp_path):
    """The code of that page, for the problem of the tutorial."""
    if not LONG:
        pytest.skip("`make long` runs it")
    found = walk((DOCS / "tutorials" / "certify.md").read_text(encoding="utf-8"), "certify.md", tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "guarantees.md").read_text(encoding="utf-8"), re.DOTALL)
    found["theta"] = found["result"].theta
    exec(block, found)
    assert found["found"].passed and found["certificate"].passed and not found["attack"].found


def test_the_c_of_the_pages_compiles(tmp_path):
    if not LONG:
        pytest.skip("`make long` runs it")
    need("gcc")
    export(result_of("mlp_2_1"), tmp_path / "c", adapting=True, target="host")
    blocks = [block for page in PAGES for block in re.findall(r"^```c\n(.*?)^```", page.read_text(), re.DOTALL | re.M)]
    assert len(blocks) == 2
    for block in blocks:
        (tmp_path / "block.c").write_text(block, encoding="utf-8")
        flags = (*STRICT.split(), "-std=c99", "-fsyntax-only", f"-I{tmp_path / 'c' / 'include'}")
        run("gcc", *flags, tmp_path / "block.c")


@pytest.mark.parametrize("shown", ["2", "11\n2"])
def test_what_is_not_printed_is_found(shown, tmp_path):
    with pytest.raises(AssertionError, match="not printed: '2'"):
        walk(f"```python\nprint(1)\nprint(11)\n```\n\n```text\n{shown}\n```\n", "page.md", tmp_path)


def test_a_command_that_fails_is_found(tmp_path):
    walk("```sh\nscpo-ctrl verify nothing  # exit status 2\n```\n", "page.md", tmp_path)
    with pytest.raises(AssertionError, match="verify nothing: exit status 2"):
        walk("```sh\nscpo-ctrl verify nothing\n```\n", "page.md", tmp_path)
