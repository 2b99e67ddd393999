"""The page of a sweep in a browser: at every width, in light and dark, for screen readers, and with nothing cut off."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import tomli_w
from browser import Browser
from problem_files import write

from scpo_ctrl.campaign import submit
from scpo_ctrl.campaign.folder import opened
from scpo_ctrl.campaign.page import write_page
from scpo_ctrl.campaign.point import run_point
from scpo_ctrl.campaign.summary import write_tables
from scpo_ctrl.campaign.sweep import read_sweep

GRID = {"scenarios.count": [3, 0], "objective.R": [[0.05], [0.5]]}  # 0 scenarios are too few


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Of two runs and two failures."""
    place = tmp_path_factory.mktemp("sweep")
    write(place / "p.toml", {"adapt.steps": 3})
    (place / "s.toml").write_text(tomli_w.dumps({"problem": "p.toml", "grid": GRID}))
    sweep = read_sweep(place / "s.toml", limit=100)
    with opened(place / "out", sweep) as campaign:
        for point in submit.points(sweep, campaign):
            failure = run_point(str(campaign.folder), campaign.digest, point.name, point.changes)
            if failure is not None:
                campaign.fail(point.name, failure)
        write_page(sweep, campaign, write_tables(sweep, campaign))
    return place / "out" / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


@pytest.mark.parametrize(("width", "dark"), [(390, True), (800, False), (1400, False)])
def test_the_page_fits_and_is_accessible(browser, page, width, dark):
    browser.open(page, width, dark=dark)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.complaints == []
    assert browser.requests == [page.absolute().as_uri()]
    ground = re.findall(r"\d+", browser.value("getComputedStyle(document.body).backgroundColor"))
    assert (int(ground[0]) < 128) == dark
    found = importlib.util.find_spec("axe_core_python")
    if found is None:
        pytest.skip("axe-core-python is not installed")
    browser.value((Path(found.submodule_search_locations[0]) / "axe.min.js").read_text() + ";0")
    violations = "found.violations.map((one) => one.id + ': ' + one.nodes[0].html)"
    assert browser.value(f"axe.run({{ exclude: [['svg > *']] }}).then((found) => {violations})") == []


def test_every_column_is_seen_on_a_wide_screen_and_links_lead_somewhere(browser, page):
    browser.open(page, 1400)
    cut = "[...document.querySelectorAll('.wide')].filter((one) => one.scrollWidth > one.clientWidth).length"
    assert browser.value(cut) == 0
    columns = "[...document.querySelectorAll('#ranked thead th')].map((one) => one.textContent)"
    assert browser.value(columns)[-2:] == ["worst margin", "audit"]
    links = browser.value("[...document.querySelectorAll('a')].map((one) => one.getAttribute('href'))")
    assert "summary.csv" in links
    assert all((page.parent / link).exists() for link in links)


def test_the_point_stays_in_sight_while_a_narrow_table_scrolls(browser, page):
    browser.open(page, 390)
    left = "document.querySelector('#ranked tbody th').getBoundingClientRect().left"
    before = browser.value(left)
    browser.value("document.querySelector('#ranked').parentElement.scrollLeft = 200; 0")
    assert browser.value("document.querySelector('#ranked').parentElement.scrollLeft") == 200
    assert browser.value(left) == before
