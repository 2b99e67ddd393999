"""Every field of a RUN forged by somebody who makes all digests anew: refused, or said to be unverifiable."""

from __future__ import annotations

import json
import shutil
import tomllib

import numpy as np
import pytest
import tomli_w
from problem_files import KINDS, write, write_expert
from run_folders import content, edit_summary, restore, rewrite

from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.errors import ScpoError
from scpo_ctrl.record.files import load_arrays, load_result
from scpo_ctrl.report.page import write_report
from scpo_ctrl.verification.verify import verify

# What docs/method.md says that no reader can verify: how the search went, and what it would go on from.
UNVERIFIABLE = {
    "worst", "step_length", "predicted", "smoothness_max", "smoothness_median", "active", "projection_iterations",
    "projection_status", "state_L", "state_slopes", "state_active", "state_normals", "state_rng",
    "state_concluded_margin", "state_concluded_worst",
}  # fmt: skip
UNVERIFIABLE_NUMBERS = {"seconds", "version"}


def said(run, **options):
    """Return what is wrong with a run, in words."""
    try:
        return "; ".join(verify(run, **options).faults)
    except ScpoError as error:  # so wrong that it cannot be read
        return str(error)


def changed(array):
    array = array.copy()
    if array.dtype.kind == "b":
        return ~array
    return np.full_like(array, "STALLED") if array.dtype.kind == "U" else array + array.dtype.type(1)


@pytest.mark.table(4)
@pytest.mark.parametrize("kind", ["audited", "mlp", "parameters, disturbance", "imitation"])
def test_every_array_of_the_history(copy_of, kind):
    run = copy_of(kind)
    whole = content(run)
    for name, array in load_arrays(run).items():
        if not array.size or name == "digest":
            continue
        rewrite(run, sign=True, **{name: changed(array)})
        is_free = name in UNVERIFIABLE or name.startswith("state_method_")
        assert (said(run) == "") == is_free, name
        restore(run, whole)
    assert verify(run).faults == ()


def test_an_array_that_no_save_writes(copy_of):
    run = copy_of()
    rewrite(run, sign=True, certificate=np.array("proved"))
    assert "an array 'certificate', which no save writes" in said(run)


def test_every_number_and_word_of_the_summary(copy_of):
    run = copy_of()
    whole = (run / "result.json").read_text()
    for key, value in json.loads(whole).items():
        forged = {str: f"{value}9", int: 7_777_777, float: 0.125}.get(type(value), "nothing binds")
        edit_summary(run, **{key: forged})
        if key in UNVERIFIABLE_NUMBERS:
            assert said(run) == "", key
        else:
            assert key in said(run) or key == "digest", key
            assert said(run), key
        (run / "result.json").write_text(whole)
    edit_summary(run, certified=True)
    assert "result.json says certified = True, which no save writes" in said(run)
    (run / "result.json").write_text(whole.replace("{", '{\n  "violations": -1,', 1))
    assert "a key is there twice" in said(run)


@pytest.mark.parametrize(
    ("key", "value"), [("seconds", -1), ("seconds", "short"), ("version", "certified by hand"), ("version", 1)]
)
def test_what_is_unverifiable_is_of_its_kind(copy_of, key, value):
    run = copy_of()
    edit_summary(run, **{key: value})
    assert f"result.json says {key} = {value!r}, expected" in said(run)


def other(value):
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [other(entry) for entry in value]
    if isinstance(value, dict):
        return {key: other(entry) for key, entry in value.items()}
    return f"{value}2" if isinstance(value, str) else value + 1 if isinstance(value, int) else value * 1.01 or 0.01


FORGED = {  # sections by kind of problem: those of the first have their keys in the others, too
    "parameters, disturbance": ("plant", "backup", "policy", "objective", "scenarios", "metrics", "adapt"),
    "mlp": ("policy",),
    "matrix weights": ("backup", "objective"),
    "imitation": ("objective",),
    "expressions, audited": ("objective", "metrics"),
}


@pytest.mark.table(4)
@pytest.mark.parametrize("kind", FORGED)
def test_every_key_of_the_problem_against_the_file_that_was_asked_for(copy_of, tmp_path, kind):
    run = copy_of(kind)
    write_expert(tmp_path / "expert.csv")
    asked = write(tmp_path / "asked.toml", KINDS[kind])
    assert verify(run, problem=asked).faults == ()
    text, whole = (run / "problem.toml").read_text(), content(run)
    assert set(FORGED["parameters, disturbance"]) == set(tomllib.loads(text))
    for section in FORGED[kind]:
        for key, value in tomllib.loads(text)[section].items():
            forged = tomllib.loads(text)
            forged[section][key] = other(value)
            (run / "problem.toml").write_text(tomli_w.dumps(forged))
            rewrite(run, sign=True)
            assert said(run, problem=asked), (section, key)
            restore(run, whole)
    assert verify(run).faults == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenarios.seed": 1}, "[scenarios] seed is 0 in RUN, 1 in the problem file"),
        ({"scenarios.level": 0.9}, "[scenarios] level is 0.8 in RUN, 0.9"),
        ({"plant.velocity_max": 1.4}, "[plant] velocity_max is 1.5 in RUN, 1.4"),
        ({"adapt.seed": 3}, "began at other parameters"),
        ({"adapt.steps": 50}, ""),
    ],
)
def test_a_run_of_another_problem(copy_of, tmp_path, run, changes, words):
    folder = copy_of()
    asked = write(tmp_path / "asked.toml", KINDS["mlp"] | changes)
    found = said(folder, problem=asked)
    assert words in found if words else found == ""
    outcome = run("verify", folder, "--problem", asked, "--json")
    assert outcome.status == (1 if words else 0)
    assert words in outcome.err


def test_data_of_another_expert(copy_of, tmp_path):
    run = copy_of("imitation")
    rows = write_expert(tmp_path / "expert.csv").read_text().splitlines(keepends=True)
    (tmp_path / "expert.csv").write_text("".join(rows[:-1]))
    asked = write(tmp_path / "asked.toml", KINDS["imitation"])
    assert "imitation.csv does not hold the data of [objective] csv" in said(run, problem=asked)


def test_a_seed_given_on_the_command_line(tmp_path, run):
    problem = write(tmp_path / "problem.toml")
    assert run("adapt", problem, "--out", tmp_path / "run", "--seed", 3).status == 0
    assert run("verify", tmp_path / "run", "--problem", problem).status == 1
    assert run("verify", tmp_path / "run", "--problem", problem, "--seed", 3).status == 0
    assert run("verify", tmp_path / "run", "--seed", 3).status == 2


def test_easy_scenarios_for_an_unsafe_policy(copy_of):
    """Everything fits but that the scenarios are not those of the seed: what passed before."""
    run = copy_of("linear policy, terminal")
    x0 = load_arrays(run)["scenario_x0"]
    rewrite(run, sign=True, scenario_x0=0.1 * x0)
    assert "the recorded initial states are not those of problem.toml, drawn from seed 0 and level 0.8" in said(run)


@pytest.mark.parametrize("kind", ["parameters, disturbance", "disturbance in part fixed", "nonlinear, parameters"])
def test_scenarios_drawn_anew_are_those_of_the_run(runs, kind):
    assert verify(runs[kind]).faults == ()


@pytest.mark.table(10)
@pytest.mark.parametrize("kind", KINDS)
def test_any_row_removed(copy_of, kind):
    """Steps are numbered, their tries counted by rollouts: no row goes unnoticed but a first try of several."""
    run = copy_of(kind)
    arrays, whole = load_arrays(run), content(run)
    columns = list(load_result(run).history.columns())
    steps = arrays["step"]
    for row in range(len(steps)):
        tries = np.flatnonzero(steps == steps[row])
        if len(tries) > 1 and row == tries[0]:
            continue
        rewrite(run, sign=True, **{name: np.delete(arrays[name], row, axis=0) for name in columns})
        assert said(run), row
        restore(run, whole)


@pytest.fixture(scope="module")
def reported(runs, tmp_path_factory):
    run = tmp_path_factory.mktemp("reported") / "run"
    shutil.copytree(runs["mlp"], run)
    write_report(load_result(run), run / "report.html")
    return run


def test_a_report_as_it_was_written(reported):
    assert verify(reported).faults == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("committed policies satisfy all", "committed policies provably satisfy all"),
        ("<title>Safe", "<title>Proved"),
        ('"headline unfinished"', '"headline safe"'),
        ("<dt>Safe?</dt><dd><span>0", "<dt>Safe?</dt><dd><span>1"),
        ("3 scenarios", "3000 scenarios"),
        ('<td id="summary-worst_margin"><data value="', '<td id="summary-worst_margin"><data value="1'),
        ("<b>Not shown:</b>", "<b>Shown too:</b>"),
        ("</main>", "<p>Certified.</p></main>"),
        ("</style>\n</head>", ".advice { display: none }</style>\n</head>"),
        ("</defs>", "</defs><script>alert(1)</script>"),
        ("stroke-linecap: butt", "stroke-linecap: butt} .caption {color: white"),
        ("<figcaption", "<svg onload='x'></svg><figcaption"),
        ('role="img"', 'role="img" style="position: fixed"'),
        ('href="#', 'href="https://example.com/#'),
    ],
)
def test_a_report_that_says_something_else(reported, run, old, new):
    page = (reported / "report.html").read_text()
    assert old in page
    (reported / "report.html").write_text(page.replace(old, new, 1))
    try:
        outcome = run("verify", reported, "--json")
        assert outcome.status == 1
        assert "report.html" in outcome.err and "writes it anew" in outcome.err
    finally:
        (reported / "report.html").write_text(page)


def test_a_number_that_is_shown_otherwise_than_it_is(reported):
    page = (reported / "report.html").read_text()
    at = page.index("<data value=")
    end = page.index("</data>", at)
    start = page.index(">", at) + 1
    (reported / "report.html").write_text(page[:start] + "9" + page[end:])
    assert "report.html says" in said(reported)
    (reported / "report.html").write_text(page)


def test_rounding_of_another_machine_is_no_fault(reported):
    page = (reported / "report.html").read_text()
    value = load_result(reported).objective_final
    assert repr(value) in page
    (reported / "report.html").write_text(page.replace(repr(value), repr(float(np.nextafter(value, 1)))))
    assert said(reported) == ""
    (reported / "report.html").write_text(page)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("x0,x1,u0", "u0,x1,x0"),
        lambda text: text.replace("x0,x1,u0", "x0,x1,u0,u0").replace("\n", ",0.0\n").replace("u0,0.0", "u0"),
        lambda text: text.replace(",", ", "),
        lambda text: text.replace("\n0.", "\n0_0."),
        lambda text: text.replace("x0", "\ufeffx0"),
        lambda text: text + "\n",
        lambda text: "x0,x1,u0\n",
    ],
)
def test_data_that_other_readers_may_read_otherwise(copy_of, change):
    run = copy_of("imitation")
    text = (run / "imitation.csv").read_text()
    assert change(text) != text
    (run / "imitation.csv").write_text(change(text))
    rewrite(run, sign=True)
    assert said(run)


def test_data_of_another_name(copy_of):
    run = copy_of("imitation")
    (run / "easy.csv").write_bytes((run / "imitation.csv").read_bytes())
    text = (run / "problem.toml").read_text()
    (run / "problem.toml").write_text(text.replace("imitation.csv", "easy.csv"))
    rewrite(run, sign=True)
    assert "problem.toml names another csv than imitation.csv" in said(run)


def test_advice_goes_with_the_status(copy_of):
    run = copy_of()
    edit_summary(run, advice=RunStatus.CONVERGED.value)
    assert "result.json says advice = " in said(run)
