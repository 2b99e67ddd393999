"""The documentation site: its reference follows the code, its pages are found, and they answer what is asked."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w
from problem_files import BASE, EQUATIONS_PLANT, LINEAR_PLANT

import scpo_ctrl as sc
from scpo_ctrl import cli, codegen, models

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))


@pytest.fixture(scope="module")
def reference():
    """Return the module that makes the reference pages."""
    sys.path.insert(0, str(DOCS / "_ext"))
    yield importlib.import_module("reference")
    sys.path.remove(str(DOCS / "_ext"))


def text_of(page):
    """The text of a page."""
    return (DOCS / page).read_text(encoding="utf-8")


def plain(text):
    """A text without marks of code, in one case and one line."""
    return " ".join(text.replace("`", "").split()).lower()


def rows(text):
    """The cells of all tables of a page."""
    lines = (line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---"))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_public_name_has_its_place(reference):
    names = [name for group in reference.GROUPS.values() for name in group]
    assert sorted(names) == sorted(sc.__all__)


def test_options_say_what_they_are(reference):
    public = [getattr(of, name) for of in (sc, models, codegen) for name in of.__all__]
    for cls in (
        one for one in (*public, models.signals.Signal) if isinstance(one, type) and dataclasses.is_dataclass(one)
    ):
        said, fields = reference.fields_of(cls), {field.name for field in dataclasses.fields(cls)}
        assert said.keys() == fields, cls
        assert all(said.values()), cls
    assert "| `radius` | `1.0` | r, radius of the local safe region, > 0. |" in reference.adapt_keys()


def test_every_command_and_option_is_listed(reference):
    page = reference.commands()
    for name in cli.cli.list_commands(None):
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        for option in cli.cli.get_command(None, name).params:
            assert all(one in section for one in option.opts if one.startswith("--"))


def test_every_error_has_a_remedy(reference):
    said = {row[0].strip("`") for row in rows(text_of("reference/errors.md"))}
    assert said - {"error"} == {one.__name__ for one in reference.error_classes()} - {"ScpoError"}
    assert "`UnsafeStartError` | `ValueError` | 1 |" in reference.error_table()


def test_every_status_is_listed(reference):
    python, c = reference.statuses(), reference.c_statuses()
    for enum in (sc.RunStatus, sc.Verdict, sc.ProjectionStatus, sc.DeviceStatus):
        assert all(f"| `{one.name}` | {one.value} |" in python for one in enum)
    for name in ("SCPO_CAPPED", "SCPO_STORE_OK", "SCPO_CONVERGED", "SCPO_RELEASE"):
        assert f"`{name}`" in c
    for name in ("scpo_control", "scpo_project", "scpo_adapter_poll", "scpo_store_save", "scpo_supervisor_control"):
        assert f" {name}(" in reference.c_functions()


# Every kind of section whose keys are its own; [adapt], [metrics] and [scenarios] have one kind.
KINDS = [
    ("plant", LINEAR_PLANT), ("plant", EQUATIONS_PLANT), ("plant", {"kind": "recorded", "file": "p.json"}),
    ("backup", BASE["backup"]), ("backup", {"kind": "lmi"}), ("backup", {"kind": "gain", "K": [[0.1, 0.5]]}),
    ("policy", BASE["policy"]), ("policy", {"kind": "linear"}),
    *(("policy", {"kind": kind}) for kind in ("pid", "lqi", "lqg", "state_feedback", "gain_schedule")),
    ("policy", {"kind": "linear_controller"}),
    ("objective", BASE["objective"]), ("objective", {"kind": "expression", "stage": "1"}),
    ("objective", {"kind": "imitation", "csv": "x.csv"}), ("objective", {"kind": "tracking", "Q": [1.0]}),
    ("scenarios", BASE["scenarios"]), ("metrics", {}), ("adapt", {}),
]  # fmt: skip


@pytest.mark.parametrize(("section", "table"), KINDS, ids=lambda part: part if isinstance(part, str) else "")
def test_every_key_of_a_problem_file_is_listed(section, table, tmp_path):
    """What a section knows it says where a key is unknown; the page's table has all of these."""
    given = copy.deepcopy(BASE) | {section: {**table, "zzz": 1}}
    if section == "policy" and table["kind"] not in ("mlp", "linear"):
        del given["backup"]
    if table.get("kind") == "tracking":
        del given["backup"]
        given |= {"plant": {"kind": "dc_motor"}, "policy": {"kind": "pid", "kp": 1.0, "kd": 0.02, "filter_time": 2e-3}}
    (tmp_path / "p.toml").write_text(tomli_w.dumps(given), encoding="utf-8")
    with pytest.raises(sc.ScpoError, match=r"unknown key 'zzz'.*known: ") as error:
        sc.load_problem(tmp_path / "p.toml")
    known = str(error.value).split("known: ")[1].split(", ")
    documented = {key for row in rows(text_of("problem-file.md")) for key in re.findall(r"`(\w+)`", " ".join(row))}
    assert known and set(known) <= documented


def test_defaults_of_options_are_those_of_the_code():
    """Of [adapt], where a row has one default for each of its keys."""
    listed = text_of("problem-file.md").split("| `[adapt]` |")[1].split("\n\n")[0]
    compared = set()
    for row in rows(f"| `[adapt]` |{listed}"):
        keys, defaults = re.findall(r"`(\w+)`", row[1]), re.findall(r"`([^`]*)`", row[3])
        if len(keys) == len(defaults):
            found = {key: tomllib.loads(f"x = {default}")["x"] for key, default in zip(keys, defaults, strict=True)}
            assert found == {key: getattr(sc.AdaptOptions(), key) for key in keys}
            compared |= set(keys)
    unnamed = {field.name for field in dataclasses.fields(sc.AdaptOptions)} - compared
    assert unnamed <= {"smoothness", "preconditioner", "audit_rollouts"}


def test_commands_in_the_pages_exist():
    """Each `scpo-ctrl …` of a page is a command, with options that it has."""
    found = 0
    for page in (ROOT / "README.md", *PAGES):
        text = page.read_text(encoding="utf-8")
        for line in re.findall(r"^(?:    |)scpo-ctrl ([a-z]+ [^\n#]*)", text, re.MULTILINE):
            name, *words = shlex.split(line.replace("…", "").replace("[", "").replace("]", ""))
            command = cli.cli.get_command(None, name)
            assert command, f"{page.name}: {line}"
            options = {one for option in command.params for one in option.opts}
            assert {word for word in words if word.startswith("--")} <= options, f"{page.name}: {line}"
            found += 1
    assert found > 30


def test_toml_in_the_pages_is_toml():
    for page in PAGES:
        for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            tomllib.loads(block)


def test_every_page_is_found_from_the_index():
    """By the tables of contents, as the builder does."""
    seen, waiting = set(), ["index"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        for block in re.findall(r"```{toctree}\n(.*?)```", text_of(f"{page}.md"), re.DOTALL):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            folder = Path(page).parent
            waiting += [str(folder / name) for name in names]
    assert seen == {str(path.relative_to(DOCS).with_suffix("")) for path in PAGES}


def test_twenty_questions_are_answered(reference):
    """Their pages have the words of the answer, and are among the few that have all words of the search."""
    questions = rows((ROOT / "tests" / "docs_questions.md").read_text(encoding="utf-8"))[1:]
    pages = {str(path.relative_to(DOCS)): plain(path.read_text(encoding="utf-8")) for path in PAGES}
    pages["reference/errors.md"] += plain(reference.statuses() + reference.c_statuses())
    assert len(questions) >= 20
    for question, search, page, words in questions:
        for answer in words.split("; "):
            assert plain(answer) in pages[page], f"{question} {page} does not say {answer!r}"
        found = {name for name, text in pages.items() if all(word in text for word in search.lower().split())}
        assert page in found and len(found) <= 9, f"{question} {page} is not among {sorted(found)}"


def test_pages_load_nothing_from_elsewhere(tmp_path, reference):
    from offline import loaded_from_elsewhere

    (tmp_path / "a.html").write_text('<a href="https://e.org">x</a><script src="a.js"></script>', encoding="utf-8")
    assert loaded_from_elsewhere(tmp_path) == []
    for bad in ('<script src="https://e.org/a.js">', '<link rel="stylesheet" href="//e.org/a.css">'):
        (tmp_path / "a.html").write_text(bad, encoding="utf-8")
        assert len(loaded_from_elsewhere(tmp_path)) == 1
    (tmp_path / "a.html").write_text("", encoding="utf-8")
    (tmp_path / "a.css").write_text("@font-face { src: url(https://e.org/f.woff) }", encoding="utf-8")
    assert len(loaded_from_elsewhere(tmp_path)) == 1
