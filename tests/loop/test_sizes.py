"""Sizes beyond what a run can bear are refused with their number, before anything of that size is made."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from scpo_ctrl import ControlProblem, Policy, Quadratic, Scenarios, lqr, scenarios
from scpo_ctrl.errors import DomainError, ProblemFileError
from scpo_ctrl.loop.sizes import check_policy, check_rollouts, check_stability, most_rollouts
from scpo_ctrl.models import double_integrator
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


@pytest.mark.parametrize(
    ("horizon", "nx", "nu", "d"), [(200, 3, 2, 2), (1, 2, 1, 0), (160, 5, 2, 5000), (50, 4, 3, 48)]
)
def test_the_most_rollouts_pass_and_one_more_does_not(horizon: int, nx: int, nu: int, d: int) -> None:
    most = most_rollouts(horizon, nx, nu, d)
    check_rollouts(most, horizon, nx, nu, d)
    with pytest.raises(DomainError):
        check_rollouts(most + 1, horizon, nx, nu, d)


def test_local_stability() -> None:
    check_stability(150, 1, 2000, 5)
    with pytest.raises(DomainError, match=r"local stability of 600 states with 2000 .* operations a step.* stability"):
        check_stability(600, 1, 2000, 5)


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
    assert toml.loads(".".join("a" * 65) + " = 1")
    with pytest.raises(tomllib.TOMLDecodeError, match="line 2 has a key of 65 dots, more than 64"):
        toml.loads("b = 1\n" + ".".join("a" * 66) + " = 1")


DOTS = "www." * 1000


@pytest.mark.parametrize(
    "text",
    [
        f'x = "{DOTS}"',
        f"x = '{DOTS}'",
        f'x = "a\\"b {DOTS}"',
        f'x = """\n{DOTS}"" \\""" \n{DOTS}""""',
        f"x = '''\n{DOTS}''\\\n{DOTS}''''",
        f"# {DOTS}\nx = 1",
        f"x = 1 # it's {DOTS}",
        f"x = [1.5, # {DOTS}\n 2.5]",
        f'"{DOTS}" = 1',
        f"x = [{'1.5, ' * 1000}]",
    ],
)
def test_dots_in_strings_and_comments_are_no_depth(text: str) -> None:
    assert toml.loads(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    "before",
    ['x = """a"""" # "\n', "x = '''a'''' # '\n", 'x = "#"\n', 'x = "\\\\"\n', "x = '\\'\n", "x = 1 # \"\"\"'''\n"],
)
@pytest.mark.parametrize("part", ["a", r'"\"a"', '"' + "k" * 300 + '"', "'#'", f"a{' ' * 20}"])
def test_no_string_or_comment_hides_a_deep_key(before: str, part: str) -> None:
    assert tomllib.loads(before)
    with pytest.raises(tomllib.TOMLDecodeError, match="line 2 has a key of 4999 dots"):
        toml.loads(f"{before}{'.'.join([part] * 5000)} = 1")


def test_whole_numbers_of_numpy() -> None:
    plant = double_integrator()
    backup = lqr(plant, [0.1, 0.1], [10.0])
    assert scenarios(plant, backup, horizon=np.int16(4), count=np.uint8(3)).x0.shape == (3, 2)
    for count, horizon in ((np.int64(10**8), 2), (np.int32(10**6), np.int32(10**6))):
        with pytest.raises(DomainError, match="numbers a rollout, more than"):
            scenarios(plant, backup, count=count, horizon=horizon)
    batch = Scenarios(np.zeros((1, 2)), np.ones((1, 1)), np.zeros((1, 127, 0)), np.int8(127))
    assert batch.horizon + 1 == 128
    assert ControlProblem(Policy(plant, backup), batch, Quadratic([1.0, 0.1], [0.05])).theta_dim == 2


@pytest.mark.parametrize("horizon", [10**7, 2**62])
def test_given_initial_states_over_a_long_horizon(horizon: int) -> None:
    plant = double_integrator()
    with pytest.raises(DomainError, match=r"count = 1 scenarios over horizon = .* numbers a rollout, more than"):
        scenarios(plant, lqr(plant, [0.1, 0.1], [10.0]), horizon=horizon, initial_states=[[0.1, 0.1]])


def test_rows_of_imitation_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "MOST_ROWS", 10)
    path = tmp_path / "expert.csv"
    path.write_text("x0,u0\n" + "1,2\n" * 10)
    assert len(Imitation.from_csv(path, 1, 1).x) == 10
    path.write_text("x0,u0\n" + "1,2\n" * 11)
    with pytest.raises(ProblemFileError, match="has 12 lines, more than 10 rows"):
        Imitation.from_csv(path, 1, 1)
    with pytest.raises(DomainError, match=r"nx is 1000000000000, expected .* <= 10000"):
        Imitation.from_csv(path, 10**12, 1)
