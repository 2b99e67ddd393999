"""One version and one list of dependencies, wherever they stand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scpo_ctrl import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PLACES = {
    "CITATION.cff": r"^version: (\S+)$",
    ".ci/recipe/recipe.yaml": r'^  version: "(\S+)"$',
    "CHANGELOG.md": r"^## (\d\S*)",  # the first one: versions stand newest first
}
CONDA = {"matplotlib": "matplotlib-base"}  # names that differ


@pytest.mark.parametrize(("name", "pattern"), PLACES.items())
def test_the_version_is_the_same_everywhere(name, pattern):
    found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert found and found[1] == PROJECT["version"]


def test_the_version_is_semantic_and_that_of_the_installation():
    assert re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.]+)?", PROJECT["version"])
    assert __version__ == PROJECT["version"], "install anew: make demo"


def test_the_header_of_exported_c_takes_it_from_the_package():
    headers = [*(ROOT / "codegen" / "templates").rglob("scpo_config.h.jinja")]
    assert len(headers) == 2
    for header in headers:
        assert re.findall(r'^#define SCPO_VERSION "(.*)"$', header.read_text(), re.MULTILINE) == ["{{ version }}"]


def test_the_recipe_asks_for_what_the_package_asks_for():
    recipe = (ROOT / ".ci" / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
    run = recipe.split("  run:\n")[1].split("\n\n")[0]
    listed = dict(re.findall(r"^    - (\S+) (\S+)$", run, re.MULTILINE))
    needed = [Requirement(text) for text in PROJECT["dependencies"]]
    wanted = {CONDA.get(one.name, one.name): str(one.specifier) for one in needed}
    assert len(wanted) == len(needed)
    assert listed == {"python": PROJECT["requires-python"], **wanted}


def test_the_citation_names_the_package_and_the_paper():
    """The keys that the format demands, and only known ones: a file that readers refuse is no citation."""
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    known = {
        "cff-version",
        "message",
        "title",
        "authors",
        "type",
        "abstract",
        "version",
        "license",
        "keywords",
        "references",
    }
    assert set(cited) <= known
    assert [one["name"] for one in cited["authors"]] == [one["name"] for one in PROJECT["authors"]]
    assert (cited["title"], cited["license"]) == (PROJECT["name"], PROJECT["license"]["text"])
    (paper,) = cited["references"]
    assert [one["value"] for one in paper["identifiers"]] == ["arXiv:2512.13788"]
    assert all({"type", "title", "authors"} <= set(one) for one in cited["references"])
