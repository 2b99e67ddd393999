"""Figures of the documentation say the same as the text beside them: each PNG carries the table printed with it."""

import json
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image
from support.common import print_table, save

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "figures"
TABLES = {  # figures whose table stands below them, or above, in full
    "adaptation": "results.md",
    "scaling": "results.md",
    "baselines_r1": "results.md",
    "baselines_r2": "results.md",
    "online": "online.md",
    "gallery_heater": "gallery.md",
    "gallery_afti_16": "gallery.md",
}
COLUMNS = {"r1_regression": 1, "r2_malicious_expert": 2, "phase_portrait": 3}  # of the README's table


def table_of(path):
    """The rows that a figure carries, without empty cells; the first is the header."""
    with Image.open(path) as image:
        rows = json.loads(image.text["Description"])
    return [[cell for cell in row if cell] for row in rows]


def rows_of(path):
    """A figure's rows by their first cell."""
    return {name: cells for name, *cells in table_of(path)}


def text_of(name):
    """A page of the documentation."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def printed_rows(text):
    """All lines of a page, cut where two blanks or more are."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]


def readme_column(index):
    """One problem's column of the README's table, by the name of the row."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^\| \| R1,.*?\n\n", readme, re.MULTILINE | re.DOTALL).group()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    return {row[0]: row[index] for row in rows} | {"head": rows[0][index]}


def test_every_figure_is_compared():
    pages = {f"report_{width}_{scheme}" for width in (390, 800, 1400) for scheme in ("light", "dark")} | {
        "watch_1400_light"
    }
    # Signals over time, and how a page looks: beside them no number is stated.
    assert {path.stem for path in FIGURES.iterdir()} == {*TABLES, *COLUMNS, "device_walk", *pages}


@pytest.mark.parametrize(("name", "page"), TABLES.items())
def test_table_of_a_figure_stands_beside_it(name, page):
    text, table = text_of(page), table_of(FIGURES / f"{name}.png")
    assert f"](figures/{name}.png)" in text
    assert len(table) >= 8
    printed = printed_rows(text)
    missing = [row for row in table if row not in printed]
    assert not missing, f"docs/figures/{name}.png has rows that docs/{page} has not"


@pytest.mark.parametrize(("name", "column"), COLUMNS.items())
def test_readme_says_what_its_figures_say(name, column):
    said, carried = readme_column(column), rows_of(FIGURES / f"{name}.png")
    counted = next(cells[0] for key, cells in carried.items() if key.startswith("violations"))
    assert said["violations, of committed policies"] == counted
    before, after = next(cells[:2] for key, cells in carried.items() if key.startswith(("objective", "training loss")))
    assert said["objective"] == f"{before} → {after}"
    assert said["tries rejected"] == carried["tries rejected"][0]


def test_readme_says_what_matters():
    r1, r2, r3 = (rows_of(FIGURES / f"{name}.png") for name in COLUMNS)
    said = [readme_column(column)["what matters"] for column in COLUMNS.values()]
    before, after, _ = r1["squared error on the clean half"]
    assert said[0] == f"error on the clean half {before} → {after}"
    good, malicious = (
        r2[f"error on the {half}"] for half in ("good half, position >= 0", "malicious half, position < 0")
    )
    assert said[1] == f"good half {good[0]} → {good[1]}, malicious half held at {malicious[1]} of {malicious[0]}"
    (fresh,) = {row for rows in (r2, r3) for row in rows if row.startswith("violating, of")}
    beside = [readme_column(column)[fresh] for column in COLUMNS.values()]
    assert beside == ["none declared", r2[fresh][1], f"{r3[fresh][1]}; {r3[fresh][2]} where audited too"]
    share = r3["share of what is achievable (1.240)"][1].replace("%", " %")
    assert said[2] == f"{share} of the best known (1.240)"


def test_prose_says_what_the_figure_of_r3_says():
    rows = rows_of(FIGURES / "adaptation.png")
    header = table_of(FIGURES / "adaptation.png")[0][1:]
    cell = {name: dict(zip(header, cells, strict=True)) for name, cells in rows.items() if name != "R3"}
    median = {name: float(row["objective"].split()[0]) for name, row in cell.items()}
    method, results = " ".join(text_of("method.md").split()), text_of("results.md")
    reached, seeds = map(int, cell["newton, no units at bounds"]["99 %"].split(" of "))
    assert f"first-order steps end at {median['gradient']:.3f} (median of {seeds} seeds)" in method
    assert f"Gauss-Newton at {median['gauss_newton']:.3f} and Newton at {median['newton']:.3f}" in method
    assert f"({seeds - reached} of {seeds} seeds of R3)" in method
    share = cell["newton"]["least share"].replace("%", " %")
    assert f"{share} at least in {cell['newton']['99 %']} seeds" in results
    assert f"; {cell['newton']['violations']} |" in results


def test_a_figure_carries_its_table(tmp_path, capsys):
    table = print_table(["R", "ℓ → ℓ"], [["objective", "2 → 1"]])
    assert capsys.readouterr().out.splitlines()[-1] == "objective  2 → 1"
    for name in ("one.png", "two.png"):
        save(Figure(), tmp_path / name, table)
    assert table_of(tmp_path / "one.png") == [["R", "ℓ → ℓ"], ["objective", "2 → 1"]]
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
