"""Several runs side by side: the numbers are those of each run, and what cannot be compared is refused."""

import json
import re

import numpy as np
import pytest

from scpo_ctrl.record.files import load_result
from scpo_ctrl.report.compare import compared as compared_run
from scpo_ctrl.report.compare import compared_figure, render_compared
from scpo_ctrl.report.numbers import margin, number

KINDS = "mlp", "linear policy, terminal"


@pytest.fixture(scope="module")
def two(runs):
    return [compared_run(kind, load_result(runs[kind])) for kind in KINDS]


@pytest.fixture(scope="module")
def page(two) -> str:
    return render_compared(two)


def cells(page: str, table: str) -> dict[str, list[str]]:
    text = page[page.index(f'<table id="{table}"') :]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', text[: text.index("</table>")])
    return {name: re.findall("<td>(.*?)</td>", rest) for name, rest in rows}


def test_each_number_stands_under_its_run(two, page):
    assert re.findall(r'<th scope="col">(.*?)</th>', page)[:2] == list(KINDS)
    facts = cells(page, "facts")
    for k, run in enumerate(two):
        summary = run.result.summary()
        assert facts["worst margin"][k] == margin(summary["worst_margin"])
        assert facts["rollouts"][k] == number(summary["rollouts"])
        assert facts["objective"][k].startswith(
            f"{number(summary['objective_initial'])} → {number(summary['objective_final'])}"
        )
        assert facts["committed policies that violate"][k] == f"0 of {summary['accepted'] + 1}"
        radii = [number(summary[f"spectral_radius_{end}"]) for end in ("initial", "final")]
        assert facts["spectral radius at rest"][k] == " → ".join(radii)


def test_what_differs_stands_there_and_nothing_else(page):
    differences = cells(page, "differences")
    assert "policy" in differences
    assert "horizon" not in differences
    assert all(len(set(values)) > 1 for values in differences.values())


def test_lines_are_the_committed_objectives(two):
    top, bottom = compared_figure(two).axes
    for line, of_margin, run in zip(top.lines, bottom.lines, two, strict=False):
        history = run.result.history
        committed = history.column("committed")
        assert np.array_equal(line.get_ydata()[1:-1], history.column("objective")[committed])
        assert np.array_equal(of_margin.get_ydata()[1:-1], history.column("margin")[committed])
        assert line.get_ydata()[0] == run.result.objective_initial


def test_the_page_needs_nothing_from_outside(page):
    assert "://" not in page
    assert not re.search(r"<(link|iframe|object|embed|base)\b|@import|\bsrc=", page)
    assert len(page.encode()) < 1_500_000


def test_command_writes_the_page(run, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("compare", runs["mlp"], runs[KINDS[1]], "--json")
    assert done.status == 0, done.err
    said = json.loads(done.out)
    assert said["compare"] == "compare.html"
    assert list(said["runs"]) == [str(runs["mlp"]), str(runs[KINDS[1]])]
    page = (tmp_path / "compare.html").read_text()
    assert page.count("<thead>") == 2  # what came out, what differs
    assert [entry.name for entry in tmp_path.iterdir()] == ["compare.html"]


def test_names_that_two_folders_share_are_their_paths(run, runs, tmp_path):
    assert run("compare", runs["mlp"], runs[KINDS[1]], "--out", tmp_path / "side.html").status == 0
    page = (tmp_path / "side.html").read_text()
    assert str(runs["mlp"]) in page  # both are called run


@pytest.mark.parametrize(
    ("count", "said"), [(0, "Missing argument 'RUN RUN...'"), (1, "only one RUN"), (2, "given twice")]
)
def test_what_is_no_comparison_is_refused(run, runs, tmp_path, count, said):
    outcome = run("compare", *[runs["mlp"], runs["mlp"] / "."][:count], "--out", tmp_path / "out.html")
    assert outcome.status == 2
    assert said in outcome.line
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_run_is_named(run, runs, tmp_path):
    (tmp_path / "other").mkdir()
    outcome = run("compare", runs["mlp"], tmp_path / "other", "--out", tmp_path / "out.html")
    assert outcome.status != 0
    assert "other" in outcome.line
    assert "not a RUN folder" in outcome.line
    assert not (tmp_path / "out.html").exists()
