"""Points that Optuna chooses: the same ones whoever goes on, and by what came of those before."""

from __future__ import annotations

import json

import distributed
import pytest
import tomli_w
from problem_files import write

from scpo_ctrl.campaign import study
from scpo_ctrl.campaign.folder import opened
from scpo_ctrl.campaign.submit import Submission, points
from scpo_ctrl.campaign.summary import write_tables
from scpo_ctrl.campaign.sweep import read_sweep
from scpo_ctrl.errors import MissingPackageError, ProblemFileError, RecordError

pytest.importorskip("optuna")
RANDOM = {
    "sampler": "optuna",
    "count": 6,
    "round": 2,
    "seed": 5,
    "adapt": {"radius": {"log": [0.01, 1.0]}, "steps": {"integers": [1, 2]}},
    "scenarios": {"seed": {"choice": [3, 5]}},
}


def sweep_of(folder, random=RANDOM, **parts):
    write(folder / "p.toml")
    (folder / "s.toml").write_text(tomli_w.dumps({"problem": "p.toml", "random": random} | parts))
    return read_sweep(folder / "s.toml", limit=1000)


def chosen(sweep, campaign):
    return [point.changes for point in points(sweep, campaign)]


def test_a_study_that_goes_on_has_the_points_of_one_that_was_not_interrupted(tmp_path, client):
    sweep, halves, stopped = sweep_of(tmp_path), [], []

    def connect():
        return distributed.Client(client.scheduler.address)

    def stop(tally):
        if tally.done >= 3:
            stopped.append(tally.done)
        return bool(stopped)

    with opened(tmp_path / "halves", sweep) as campaign:
        Submission(sweep, campaign, stop).run(connect, returns=False)
        halves.append(chosen(sweep, campaign))
        assert write_tables(sweep, campaign).not_run[-1] == 5
        Submission(sweep, campaign, lambda tally: False).run(connect, returns=False)
        halves.append(chosen(sweep, campaign))
        assert len(halves[0]) == 4 and halves[1][:4] == halves[0] and len(halves[1]) == 6
        summary = write_tables(sweep, campaign)
        assert (summary.finished + len(summary.duplicates), summary.not_run) == (6, [])
        for file in (campaign.folder / study.ASKED).iterdir():  # asked once more, when all has been run
            before = file.read_text()
            file.unlink()
            study.ask(sweep, campaign, int(file.stem))
            assert file.read_text() == before


def test_what_is_asked_for_follows_from_what_came_of_others(tmp_path, monkeypatch):
    sweep = sweep_of(tmp_path, RANDOM | {"count": 60, "round": 20})
    best = {}
    for wanted in (0.02, 0.5):  # results that are best at this radius
        with opened(tmp_path / str(wanted), sweep) as campaign:
            radii = {campaign.name(changes): changes["adapt.radius"] for changes in chosen(sweep, campaign)}

            def came(_, name, radii=radii, wanted=wanted):
                return {"violations": 0, "objective_final": abs(radii[name] - wanted) / wanted}

            monkeypatch.setattr(type(campaign), "summary", came)
            for number in (1, 2):
                study.ask(sweep, campaign, number)
                asked = chosen(sweep, campaign)[20 * number :]
                radii |= {campaign.name(changes): changes["adapt.radius"] for changes in asked}
        best[wanted] = sorted(changes["adapt.radius"] for changes in asked)[len(asked) // 2]
    assert best[0.02] < 0.06 and best[0.5] > 0.2  # medians; 0.1 is that of draws


def test_the_first_round_is_that_of_random_draws(tmp_path):
    sweep = sweep_of(tmp_path)
    with opened(tmp_path / "out", sweep) as campaign:
        asked = chosen(sweep, campaign)
    drawn = sweep_of(tmp_path, {key: value for key, value in RANDOM.items() if key not in ("sampler", "round")})
    assert asked == [drawn.changes(k) for k in range(2)]


def test_choices_are_told_apart_and_need_not_be_finite(tmp_path):
    choice = [1, True, 1.0, float("inf"), float("nan"), [1]]
    sweep = sweep_of(tmp_path, {"sampler": "optuna", "count": 30, "round": 15, "adapt": {"radius": {"choice": choice}}})
    (draw,) = sweep.draws.values()
    with opened(tmp_path / "out", sweep) as campaign:
        study.ask(sweep, campaign, 1)
        found = [changes["adapt.radius"] for changes in chosen(sweep, campaign)]
    assert len(found) == 30 and {draw.place(value) for value in found} == set(range(6))


@pytest.mark.parametrize(
    ("random", "parts", "word"),
    [
        (RANDOM | {"sampler": "tpe"}, {}, "sampler is 'tpe', expected one of random, optuna"),
        (RANDOM | {"round": 0}, {}, "round is 0"),
        (RANDOM, {"grid": {"adapt.seed": [1, 2]}}, "have points of their own"),
        ({"count": 3, "round": 2, "adapt": {"seed": {"integers": [0, 9]}}}, {}, "leave it out"),
    ],
)
def test_a_sampler_that_does_not_hold_is_refused(tmp_path, random, parts, word):
    with pytest.raises(ProblemFileError, match=word):
        sweep_of(tmp_path, random, **parts)


def test_optuna_that_is_not_installed_is_named(tmp_path, run, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(study, "import_module", missing)
    with pytest.raises(MissingPackageError, match=r"scpo-ctrl\[optuna\]"):
        study.require()
    sweep_of(tmp_path)
    done = run("sweep", tmp_path / "s.toml", "--out", tmp_path / "out", "--json")
    assert done.status == 2 and "Optuna, which is not installed" in done.err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("point", "fits"),
    [
        ({"adapt.radius": 0.5, "adapt.steps": 1, "scenarios.seed": 3}, True),
        ({"adapt.radius": 1.5, "adapt.steps": 1, "scenarios.seed": 3}, False),
        ({"adapt.radius": 0.5, "adapt.steps": 1.0, "scenarios.seed": 3}, False),
        ({"adapt.radius": 0.5, "adapt.steps": 1, "scenarios.seed": 4}, False),
        ({"adapt.radius": 0.5, "adapt.steps": 1}, False),
        (3, False),
    ],
)
def test_a_round_has_points_that_can_be_drawn(tmp_path, point, fits):
    sweep = sweep_of(tmp_path)
    with opened(tmp_path / "out", sweep) as campaign:
        (campaign.folder / study.ASKED).mkdir()
        for count in (0, 1, 2, 3):
            (campaign.folder / study.ASKED / "1.json").write_text(json.dumps([point] * count))
            if fits and count == 2:
                assert chosen(sweep, campaign)[2:] == [point] * 2
                continue
            with pytest.raises(RecordError, match=r"does not hold 2 points that \[random\] can give"):
                chosen(sweep, campaign)


def test_a_round_that_cannot_be_read_is_named(tmp_path):
    sweep = sweep_of(tmp_path)
    with opened(tmp_path / "out", sweep) as campaign:
        (campaign.folder / study.ASKED).mkdir()
        (campaign.folder / study.ASKED / "1.json").write_text(json.dumps([])[:1])
        with pytest.raises(RecordError, match=r"1\.json: cannot be read"):
            chosen(sweep, campaign)
