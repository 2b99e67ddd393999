"""Sizes beyond what a run can bear are refused with their number, before anything of that size is made."""

import tomllib
from pathlib import Path

import pytest

from scpo_ctrl.errors import DomainError, ProblemFileError
from scpo_ctrl.loop.sizes import check_policy, check_rollouts
from scpo_ctrl.problem import objective
from scpo_ctrl.problem.objective import Imitation
from scpo_ctrl.record import toml


@pytest.mark.parametrize(
    ("count", "horizon", "d", "number"),
    [
        (10, 300_000, 48, "18000060 safety metrics"),
        (1_600_000, 1, 48, "19200000 safety metrics"),
        (10**9, 10**9, 48, "numbers a rollout"),
        (10_000, 100, 20_000, "operations a step"),
    ],
)
def test_rollouts(count: int, horizon: int, d: int, number: str) -> None:
    with pytest.raises(DomainError, match=number):
        check_rollouts(count, horizon, 2, 1, d)


def test_deep_networks() -> None:
    with pytest.raises(DomainError, match="40000 layers, more than 64"):
        check_policy((1,) * 40_000, 120_000)


@pytest.mark.parametrize("text", ["{} = 1", "[{}]", "[[{}]]", "x = {{ {} = 1 }}"])
@pytest.mark.parametrize("part", ["a", '"a b"', "'a'", "1"])
def test_deep_keys(text: str, part: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match=r"line 1 has a key of 99999 dots"):
        toml.loads(text.format(".".join([part] * 100_000)))


def test_keys_and_strings_of_usual_depth() -> None:
    assert toml.loads('a.b."c d" = "1. 2. 3."') == {"a": {"b": {"c d": "1. 2. 3."}}}


def test_rows_of_imitation_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "MOST_ROWS", 10)
    path = tmp_path / "expert.csv"
    path.write_text("x0,u0\n" + "1,2\n" * 10)
    assert len(Imitation.from_csv(path, 1, 1).x) == 10
    path.write_text("x0,u0\n" + "1,2\n" * 11)
    with pytest.raises(ProblemFileError, match="more than 10 rows"):
        Imitation.from_csv(path, 1, 1)
