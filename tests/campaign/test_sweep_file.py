"""Sweep files: which points there are, in which order, and what is refused before any is made."""

from __future__ import annotations

from datetime import date, time

import pytest
import tomli_w
from problem_files import BASE, write

from scpo_ctrl.campaign.draws import Draw
from scpo_ctrl.campaign.sweep import changed, read_sweep
from scpo_ctrl.errors import ProblemFileError


def read(folder, limit=1000, **parts):
    write(folder / "p.toml")
    (folder / "s.toml").write_text(tomli_w.dumps({"problem": "p.toml"} | parts))
    return read_sweep(folder / "s.toml", limit=limit)


def test_a_grid_is_a_product_and_a_list_stands_side_by_side(tmp_path):
    sweep = read(
        tmp_path,
        grid={"adapt": {"seed": [0, 1]}, "objective.R": [[0.1], [0.2], [0.3]]},
        list={"policy.hidden": [[3], [4]], "scenarios.count": [5, 6]},
    )
    assert sweep.count == 2 * 3 * 2
    found = [tuple(map(str, sweep.changes(k).values())) for k in range(sweep.count)]
    assert len(set(found)) == sweep.count
    assert found == sorted(found)
    assert {(hidden, count) for _, _, hidden, count in found} == {("[3]", "5"), ("[4]", "6")}


def test_draws_are_the_same_wherever_they_are_made(tmp_path):
    """Neither other keys nor the number of points change a draw; another seed does."""
    mass, seed = {"plant.nominal.mass": {"uniform": [0.5, 1.5]}}, {"adapt.seed": {"integers": [0, 10**6]}}
    alone = read(tmp_path, random={"count": 3, "seed": 7, **mass})
    more = read(tmp_path, random={"count": 9, "seed": 7, **seed, **mass}, grid={"scenarios.count": [2, 3]})
    other = read(tmp_path, random={"count": 3, "seed": 8, **mass})
    drawn = [alone.changes(k)["plant.nominal.mass"] for k in range(3)]
    assert drawn == [more.changes(k)["plant.nominal.mass"] for k in range(3)]
    assert drawn == [more.changes(9 + k)["plant.nominal.mass"] for k in range(3)]  # each grid point has them all
    assert drawn != [other.changes(k)["plant.nominal.mass"] for k in range(3)]
    assert drawn == [1.02432260902, 1.15942432939, 0.550270488327]  # for ever: a folder is resumed by them


def test_draws_fill_their_ranges():
    n = 2000
    uniform = [Draw("uniform", (-1.0, 3.0)).value("a", 0, k) for k in range(n)]
    log = [Draw("log", (1e-4, 1.0)).value("a", 0, k) for k in range(n)]
    whole = [Draw("integers", (2, 4)).value("a", 0, k) for k in range(n)]
    assert -1 <= min(uniform) < -0.98 and 2.98 < max(uniform) <= 3
    assert 0.45 < sum(value < 1e-2 for value in log) / n < 0.55
    assert set(whole) == {2, 3, 4}
    narrow = Draw("uniform", (0.12345678901234, 0.12345678901236))  # within the last digit that is drawn
    assert {narrow.value("a", 0, k) for k in range(20)} <= set(narrow.values)
    assert {Draw("choice", ("lqr", [1])).value("a", 0, k) == "lqr" for k in range(20)} == {True, False}


def test_ten_million_points_are_counted_and_refused(tmp_path):
    axes = {f"scenarios.parameters.p{k}": list(range(100)) for k in range(3)} | {"adapt.seed": list(range(10))}
    with pytest.raises(ProblemFileError, match=r"10,000,000 points \(100 scenarios.*nothing was started.*--limit"):
        read(tmp_path, grid=axes, limit=100_000)
    assert read(tmp_path, grid=axes, limit=10**7).count == 10**7


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, "changes nothing"),
        ({"grip": {"adapt.seed": [1]}}, "unknown key 'grip'"),
        ({"grid": 3}, r"expected a section \[grid\]"),
        ({"grid": {"adapt.seed": 3}}, "expected a list"),
        ({"grid": {"adapt.seed": []}}, "expected a list"),
        ({"grid": {"adaptt.seed": [1]}}, "in no section"),
        ({"grid": {"adapt.seed": [1]}, "list": {"adapt.seed": [2]}}, "adapt.seed is changed twice"),
        ({"grid": {"plant": [{}], "plant.nominal.mass": [1.0]}}, "plant and plant.nominal.mass are changed twice"),
        ({"list": {"adapt.seed": [1, 2], "adapt.steps": [3]}}, "different lengths: adapt.seed 2, adapt.steps 1"),
        ({"random": {"adapt.seed": {"integers": [0, 9]}}}, "'count' is missing"),
        ({"random": {"count": 0, "adapt.seed": {"integers": [0, 9]}}}, "count is 0"),
        ({"random": {"count": 2}}, "names no key"),
        ({"random": {"count": 2, "adapt.seed": [1, 2]}}, "expected what it is drawn from"),
        ({"random": {"count": 2, "adapt.seed": {"integers": [0, 1.5]}}}, "expected two whole numbers"),
        ({"random": {"count": 2, "adapt.radius": {"log": [0.0, 1.0]}}}, "expected two positive numbers"),
        ({"random": {"count": 2, "adapt.radius": {"log": [1e-320, 1.0]}}}, "of a finite ratio"),
        ({"random": {"count": 2, "adapt.radius": {"uniform": [2.0, 1.0]}}}, "the least first"),
        ({"grid": {"objective.R": [[0.1], [date(1979, 5, 27)]]}}, "1979-05-27, a date or time"),
        ({"random": {"count": 2, "adapt.seed": {"choice": [time(7, 32)]}}}, "07:32:00, a date or time"),
        ({"random": {"count": 2, "adapt.radius": {"uniform": [0.0, 1.0], "log": [1.0, 2.0]}}}, "expected one of"),
    ],
)
def test_what_is_no_sweep(tmp_path, parts, said):
    with pytest.raises(ProblemFileError, match=said):
        read(tmp_path, **parts)


def test_keys_lead_into_tables_and_lists():
    found = changed(BASE, {"objective.R.0": 0.3, "plant.nominal.mass": 2.0, "policy.hidden": [7]})
    assert (found["objective"]["R"], found["plant"]["nominal"], found["policy"]["hidden"]) == (
        [0.3],
        {"mass": 2.0},
        [7],
    )
    assert BASE["objective"]["R"] == [0.05]
    for key in ("objective.R.1", "objective.R.x", "scenarios.count.of"):
        with pytest.raises(ProblemFileError, match="leads nowhere"):
            changed(BASE, {key: 1})
