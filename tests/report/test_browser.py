"""The pages in a browser: at every width, in light and dark, by mouse and by keys, printed, and without script."""

import importlib.util
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from browser import Browser

from scpo_ctrl.report.compare import compared, render_compared

WIDTHS = 390, 800, 1400


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def report(page, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page)
    return path


@pytest.fixture(scope="module")
def side_by_side(plain, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("compare") / "compare.html"
    path.write_text(render_compared([compared("first", plain), compared("<i>second</i>", plain)]))
    return path


@pytest.fixture
def opened(browser, report) -> Browser:
    browser.open(report)
    return browser


def paths(browser: Browser, selector: str) -> list[str]:
    return browser.value(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.getAttribute('d'))")


def choose(browser: Browser, element: str, value: str, event: str) -> None:
    browser.value(
        f"(() => {{ const one = document.getElementById('{element}'); one.value = '{value}';"
        f"one.dispatchEvent(new Event('{event}')); }})()"
    )
    browser.frames()


def middle(browser: Browser, name: str) -> tuple[float, float, float, float]:
    """Return where the first chart of a panel is, scrolled into view: left, top, width, height."""
    browser.value(f"document.querySelector('[data-live={name}] .chart svg').scrollIntoView({{ block: 'center' }})")
    browser.frames()
    box = f"document.querySelector('[data-live={name}] .chart svg').getBoundingClientRect()"
    return tuple(browser.value(f"(({{ left, top, width, height }}) => [left, top, width, height])({box})"))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_screen_nor_asks_for_anything(browser, report, side_by_side, width, dark):
    for page in (report, side_by_side):
        browser.open(page, width, dark=dark)
        assert browser.value("document.documentElement.scrollWidth") == width
        assert browser.value("document.documentElement.className") == "live"
        assert browser.complaints == []
        assert browser.requests == [page.absolute().as_uri()]
        overflowing = "[...document.querySelectorAll('.tiles div')].filter((one) => one.scrollWidth > one.clientWidth)"
        assert browser.value(f"{overflowing}.length") == 0
        ground = re.findall(r"\d+", browser.value("getComputedStyle(document.body).backgroundColor"))
        assert (int(ground[0]) < 128) == dark


CHECKED = [("report", 1400, False), ("compare", 390, True)]
if os.environ.get("SCPO_PAGES"):
    CHECKED = [(name, width, dark) for name in ("report", "compare") for width in WIDTHS for dark in (False, True)]


@pytest.mark.parametrize(("name", "width", "dark"), CHECKED)
def test_the_pages_are_accessible(browser, report, side_by_side, name, width, dark):
    found = importlib.util.find_spec("axe_core_python")
    if found is None:
        pytest.skip("axe-core-python is not installed")
    browser.open({"report": report, "compare": side_by_side}[name], width, dark=dark)
    browser.value((Path(found.submodule_search_locations[0]) / "axe.min.js").read_text() + ";0")
    inside = "{ exclude: [['.static svg > *'], ['.chart svg > *']] }"  # thousands of lines
    violations = "found.violations.map((one) => one.id + ': ' + one.nodes[0].html)"
    assert browser.value(f"axe.run({inside}).then((found) => {violations})") == []


def test_values_on_hovering_are_those_of_the_run(opened, plain):
    left, top, wide, high = middle(opened, "signals")
    opened.mouse("mouseMoved", left + wide / 2, top + high / 2)
    said = opened.value("document.querySelector('[data-live=signals] .tip').textContent")
    scenario, side, value, time = re.fullmatch(
        r"scenario (\d+), (before|after): \w+ (\S+) \S+ at t = (\S+)", said.replace("−", "-")
    ).groups()
    theta = plain.theta_initial if side == "before" else plain.theta
    _, U = plain.problem.trajectories(theta)
    at = round(float(time) / plain.problem.plant.dt)
    assert float(value) == pytest.approx(U[int(scenario), at, 0], rel=1e-3)
    dots = opened.value("document.querySelectorAll('.dot').length")
    assert dots == 2 * opened.value(
        "document.querySelectorAll('[data-live=signals] .chart, [data-live=phase] .chart').length"
    )


def test_scrubbing_through_committed_steps_changes_the_portrait(opened, plain):
    last = paths(opened, "[data-live=phase] .after")
    assert last != paths(opened, "[data-live=phase] .before")
    choose(opened, "explore-step", "0", "input")
    assert paths(opened, "[data-live=phase] .after") == paths(opened, "[data-live=phase] .before")
    assert opened.value("document.getElementById('explore-where').textContent").startswith("backup: objective")
    opened.value("document.getElementById('explore-step').focus()")
    opened.key("End", 35)
    opened.frames()
    assert paths(opened, "[data-live=phase] .after") == last
    assert "(final)" in opened.value("document.getElementById('explore-where').textContent")


def test_a_chosen_scenario_stands_out_in_every_plot(opened):
    charts = opened.value("document.querySelectorAll('[data-live=signals] .chart, [data-live=phase] .chart').length")
    choose(opened, "explore-scenario", "1", "change")
    assert (
        len(paths(opened, "[data-live=signals] .chosen, [data-live=phase] .chosen")) == 2 * charts
    )  # before and after
    assert len(paths(opened, "[data-live=convergence] .chosen")) == 1  # its margin
    left, top, _, _ = middle(opened, "phase")
    start = re.match(r"M(\S+) ([0-9.]+)", paths(opened, "[data-live=phase] .dim.after")[-1])
    x, y = left + float(start.group(1)), top + float(start.group(2))
    opened.mouse("mouseMoved", x, y)
    opened.mouse("mousePressed", x, y, pressed=True)
    opened.mouse("mouseReleased", x, y)
    tip = opened.value("document.querySelector('[data-live=phase] .tip').textContent")
    said = opened.value("document.getElementById('explore-scenario').selectedOptions[0].textContent")
    assert said.split(":")[0] == tip.split(",")[0] != "scenario 1"


@pytest.mark.parametrize(
    ("shows", "sides"), [("before", {"before"}), ("after", {"after"}), ("both", {"before", "after"})]
)
def test_before_and_after(opened, shows, sides):
    opened.value(f"document.querySelector('[value={shows}]').click()")
    for side in ("before", "after"):
        assert bool(paths(opened, f"[data-live=phase] .{side}")) == (side in sides)


def test_zoom_by_keys_and_by_dragging(opened):
    def ticks() -> list[str]:
        return opened.value(
            "[...document.querySelectorAll('[data-live=signals] .axis text')].map((one) => one.textContent)"
        )

    whole = ticks()
    opened.value("document.querySelector('[data-live=signals] .chart svg').focus()")
    opened.key("+", 187)
    assert ticks() != whole
    opened.key("0", 48)
    assert ticks() == whole
    left, top, wide, high = middle(opened, "signals")
    opened.mouse("mouseMoved", left + wide / 3, top + high / 3)
    opened.mouse("mousePressed", left + wide / 3, top + high / 3, pressed=True)
    opened.mouse("mouseMoved", left + wide / 2, top + high / 2, pressed=True)
    assert opened.value("document.querySelectorAll('.selection').length") == 1
    opened.mouse("mouseReleased", left + wide / 2, top + high / 2)
    assert ticks() != whole
    assert opened.value("document.querySelectorAll('.selection').length") == 0


def test_numbers_keep_their_exponents(opened):
    shown = {2.0714e-6: "2.071\u202f×\u202f10⁻⁶", -1e200: "−1\u202f×\u202f10²⁰⁰", 2.395518988: "2.396", 0.0: "0"}
    for value, text in shown.items():
        assert opened.value(f"shown({value!r})") == text
    values = 10.0 ** np.random.default_rng(0).uniform(-12, 12, 50)
    for value in values.tolist():
        text = opened.value(f"shown({value!r})").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        assert float(text.replace("\u202f×\u202f10", "e")) == pytest.approx(value, rel=1e-3)


def test_on_paper_and_without_script_the_pictures_are_there(browser, report):
    visible = "[...document.querySelectorAll('{}')].filter((one) => one.offsetParent !== null).length"
    browser.open(report)
    count = browser.value("document.querySelectorAll('.static').length")
    assert browser.value(visible.format(".static")) == 0
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.value(visible.format(".static")) == count
    assert browser.value(visible.format(".live-charts, .explore, .choose")) == 0
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    pages = len(re.findall(rb"/Type\s*/Page\b", browser.printed()))
    assert 2 <= pages <= 6
    browser.open(report, script=False)
    assert browser.value(visible.format(".static")) == count
    assert browser.value(visible.format(".live-charts, .explore")) == 0
    browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_report_read_in_the_dark_is_printed_like_a_paper(browser, report):
    """Black on white, numbered, as many pages from light as from dark, every part visible and nothing scrolled."""
    pages = set()
    for dark in (False, True):
        browser.open(report, dark=dark)
        pages.add(int(re.search(rb"/Type\s*/Pages\s*/Count (\d+)", browser.printed())[1]))
    assert len(pages) == 1
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser.call("Emulation.setEmulatedMedia", media="print", features=[scheme])
    for part, low, high in (("color", 0, 64), ("backgroundColor", 255, 255)):
        channels = re.findall(r"\d+", browser.value(f"getComputedStyle(document.body).{part}"))
        assert all(low <= int(one) <= high for one in channels[:3])
    hidden = (
        "[...document.querySelectorAll('h1, h2, table, .static svg, footer')].filter((one) => !one.checkVisibility())"
    )
    assert browser.value(f"{hidden}.length") == 0
    cut = "[...document.querySelectorAll('.static')].filter((one) => getComputedStyle(one).overflowX !== 'visible')"
    assert browser.value(f"{cut}.length") == 0
    rules = "[...document.styleSheets[0].cssRules].map((one) => one.cssText).join()"
    assert "counter(pages)" in browser.value(rules) or "@bottom-right" not in browser.value(rules)
    browser.call("Emulation.setEmulatedMedia", media="", features=[])


def test_a_run_stands_out_beside_others(browser, side_by_side):
    browser.open(side_by_side)
    assert browser.value("document.querySelectorAll('main i').length") == 0
    names = browser.value("[...document.querySelectorAll('[data-run]')].map((one) => one.textContent)")
    assert names == ["first", "<i>second</i>"]
    browser.value("document.querySelectorAll('[data-run]')[1].click()")
    assert len(paths(browser, ".run-1.chosen")) == len(paths(browser, ".run-0.dim")) == 2
