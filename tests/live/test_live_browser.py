"""The live page in a browser: it follows a run, comes back to a server that was restarted, and escapes every name."""

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from live_runs import HOSTILE, course, served

from scpo_ctrl.adaptation.measured import Sample, Samples
from scpo_ctrl.record.folder import RunFolder
from scpo_ctrl.record.samples_file import save_samples


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    return course(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


def text(browser, element):
    return browser.value(f"document.getElementById('{element}').textContent")


def until(browser, element, expected):
    end = time.monotonic() + 30
    while expected not in (said := text(browser, element)):
        assert time.monotonic() < end, said
        time.sleep(0.05)


def save_signals(run, plant):
    taken = [Sample(k + 1, np.array([0.1 * k, -1.0]), np.array([0.5]), k == 3) for k in range(20)]
    save_samples(run, Samples.of(taken, plant, 1), plant)


def test_it_follows_a_run_and_comes_back_after_a_restart(browser, steps, tmp_path):
    run, last = tmp_path / "run", steps.states[-1]
    with served(run) as server, RunFolder(run, steps.file) as folder:
        address, port = server.url, server.server_port
        browser.open(address)
        until(browser, "word", "Waiting for a run")
        steps.save(folder, 1)
        until(browser, "word", f"Step {steps.states[1].steps} of 8")
        drawn = "document.querySelectorAll('#convergence-charts .chart:first-child .mark').length"
        assert browser.value(drawn) == len(steps.states[1].history) + 1
        browser.value("document.querySelector('#convergence-charts button').focus()")
        steps.save(folder, 3)
        until(browser, "word", f"Step {steps.states[3].steps} of 8")
        browser.frames()
        assert browser.value(drawn) == len(steps.states[3].history) + 1
        assert browser.value("document.activeElement.textContent") == "+"  # what has the focus keeps it
        assert browser.value("document.title").startswith(text(browser, "word"))
    with served(run, port), RunFolder(run, steps.file, overwrite=True) as folder:
        steps.save(folder, -1)
        save_signals(run, steps.file.problem.plant)
        until(browser, "word", last.status.name.capitalize())
        until(browser, "samples-said", "the backup took over")
        browser.frames()
        assert browser.value(drawn) == len(last.history) + 1
        assert browser.value("document.querySelectorAll('#samples-charts .taken').length") == 3
        assert text(browser, "notice") == ""
        assert HOSTILE in text(browser, "nearest") and HOSTILE in text(browser, "samples")
        assert text(browser, "title") == "</script><i>plant</i>"
        assert browser.value("document.querySelectorAll('main i, #evil').length") == 0
        assert set(browser.requests) <= {address, f"{address}events"}
        assert browser.complaints == []


def test_a_lost_connection_is_said(browser, tmp_path):
    with served(tmp_path / "run") as server:
        browser.open(server.url)
        until(browser, "word", "Waiting for a run")
    until(browser, "notice", "tries again")
    with served(tmp_path / "run", server.server_port):
        end = time.monotonic() + 30
        while text(browser, "notice"):
            assert time.monotonic() < end
            time.sleep(0.05)
        browser.open("about:blank")


@pytest.fixture
def shown(browser, steps, tmp_path):
    """The page of a run and of the plant that it is at work on."""
    with RunFolder(tmp_path / "run", steps.file) as folder, served(tmp_path / "run") as server:
        steps.save(folder, 3)
        save_signals(folder.path, steps.file.problem.plant)
        yield server.url
        browser.open("about:blank")


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1400, False)])
def test_no_page_is_wider_than_the_screen(browser, shown, width, dark):
    browser.open(shown, width, dark=dark)
    until(browser, "samples-said", "took over")
    browser.frames()
    assert browser.value("document.documentElement.scrollWidth") == width
    overflowing = "[...document.querySelectorAll('.tiles div')].filter((one) => one.scrollWidth > one.clientWidth)"
    assert browser.value(f"{overflowing}.length") == 0
    assert browser.complaints == []


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1400, False)])
def test_it_is_accessible(browser, shown, width, dark):
    found = importlib.util.find_spec("axe_core_python")
    if found is None:
        pytest.skip("axe-core-python is not installed")
    browser.open(shown, width, dark=dark)
    until(browser, "samples-said", "took over")
    browser.value((Path(found.submodule_search_locations[0]) / "axe.min.js").read_text() + ";0")
    listed = "found.violations.map((one) => one.id + ': ' + one.nodes[0].html)"
    assert browser.value(f"axe.run({{ exclude: [['.chart svg > *']] }}).then((found) => {listed})") == []
