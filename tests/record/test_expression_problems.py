"""Constraints, limits of change and costs that are expressions: in problem files, and as data in RUN folders."""

from __future__ import annotations

import json
import tomllib

import casadi as ca
import numpy as np
import pytest
from problem_files import CONTROLLERS, ENERGY, KINDS, LIMITS, PAIR, POWER, REMOVE, RESIDUALS, tables, write
from run_folders import content, same_arrays

import scpo_ctrl as sc
from scpo_ctrl.errors import ProblemFileError, RecordError
from scpo_ctrl.models import double_integrator
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.files import load_arrays, load_state

INF, NAN = float("inf"), float("nan")
AUDITED, PID = KINDS["expressions, audited"], CONTROLLERS["pid, expressions"]
MASSES = {"mass": (0.9, 1.1)}


def in_python(least_squares=False, **metrics):
    """Return the problem of AUDITED, written in Python."""
    plant = double_integrator()
    (x, v), u, m = ca.vertsplit(plant.x), plant.u, plant.p
    backup = sc.lqr(plant, [0.1, 0.1], [10.0], parameters=MASSES)
    batch = sc.scenarios(plant, backup, horizon=12, count=4, level=0.35, parameters=MASSES)
    own = [
        sc.Constraint(name="power", expression=u * v, bound=0.05, unit="W"),
        sc.Constraint(
            name=("ellipse", "braking"),
            expression=[(x / 5) ** 2 + v**2, -m * u * v],
            bound=[2.0, 0.3],
            scale=[1.0, 0.3],
        ),
    ]
    cost = sc.Cost(0.5 * u**2 + x**2 + u * v, x**2 + v**2, R_du=[0.1])
    if least_squares:
        cost = sc.Cost(ca.vertcat(x + 0.1 * x**2, 0.3 * ca.sin(u)), v, least_squares=True)
    options = sc.MetricOptions(**{"constraints": own, "du_max": [0.15]} | metrics)
    return sc.ControlProblem(sc.Policy(plant, backup, (3,)), batch, cost, options)


def theta_of(problem):
    return problem.theta_initial + 0.3 * np.random.default_rng(0).normal(size=problem.theta_dim)


@pytest.mark.parametrize("least_squares", [False, True])
def test_a_file_is_what_python_says(tmp_path, least_squares):
    changes = AUDITED | ({"objective": RESIDUALS} if least_squares else {})
    file, same = sc.load_problem(write(tmp_path / "p.toml", changes)), in_python(least_squares)
    theta = theta_of(same)
    assert file.metrics(theta).tobytes() == same.metrics(theta).tobytes()
    assert file.objective(theta) == same.objective(theta)
    np.testing.assert_allclose(file.gradient(theta), same.gradient(theta), rtol=1e-12)
    assert [row.label for row in file.scenario_metrics.rows] == [row.label for row in same.scenario_metrics.rows]
    assert file.rollouts.is_least_squares == least_squares


@pytest.mark.parametrize("changes", [AUDITED, PID, AUDITED | {"objective": RESIDUALS}])
def test_the_record_has_one_form_and_every_default(tmp_path, changes):
    file = read_problem_file(write(tmp_path / "p.toml", changes))
    (tmp_path / "again.toml").write_text(file.text())
    assert read_problem_file(tmp_path / "again.toml").text() == file.text()
    assert not file.recorded()
    for one in file.tables["metrics"]["constraints"]:
        assert set(one) == {"name", "expression", "bound", "unit", "scale"}


def test_numbers_and_words_stand_for_one_entry(tmp_path):
    one = {"name": ["power"], "expression": ["force*velocity"], "bound": [0.05], "unit": ["W"]}
    weights = {"kind": "quadratic", "Q": [[1.0, 0.0], [0.0, 0.1]], "R": 0.05, "R_du": [[0.2]], "P_N": [[2, 1], [1, 3]]}
    changes = AUDITED | {"metrics": {"du_max": 0.15, "constraints": [one]}, "objective": weights}
    found = read_problem_file(write(tmp_path / "p.toml", changes)).tables
    assert found["metrics"]["constraints"] == [POWER | {"scale": 0.05}] and found["metrics"]["du_max"] == [0.15]
    expected = {"Q": [1.0, 0.1], "R": [0.05], "R_du": [0.2], "P_N": [[2.0, 1.0], [1.0, 3.0]]}
    assert found["objective"] == {"kind": "quadratic"} | expected
    unit = AUDITED | {"metrics": {"constraints": [PAIR | {"unit": "J", "bound": 3}]}}
    found = read_problem_file(write(tmp_path / "p.toml", unit)).tables["metrics"]["constraints"]
    assert found == [PAIR | {"unit": ["J", "J"], "bound": [3.0, 3.0]}]


def test_what_a_controller_remembers_has_its_label(tmp_path):
    problem = sc.load_problem(write(tmp_path / "p.toml", PID))
    theta = np.array([0.1, -0.2, 0.3])
    X, U = problem.trajectories(theta)
    u = np.clip(U[:, :, 0], -1, 1)
    found = problem.metrics(theta)[problem.of_scenarios].reshape(4, -1)
    rows = problem.scenario_metrics.rows
    for i in (i for i, row in enumerate(rows) if row.kind == "drift"):
        drift = (X[:, rows[i].time, 3] - X[:, rows[i].time, 0]) ** 2
        np.testing.assert_allclose(found[:, i], drift - 0.9, atol=1e-12)
    change = np.diff(u, axis=1, prepend=u[:, :1])
    z = X[:, :, :2] - problem.plant.x_eq[:2]
    total = np.einsum("sti,ij,stj->s", z[:, :-1], [[1.0, 0.2], [0.2, 0.1]], z[:, :-1])
    total += (0.05 * u**2 + 0.3 * change**2).sum(axis=1)
    P_N = np.array(PID["objective"]["P_N"])
    end = X[:, -1] - problem.plant.x_eq
    total += np.einsum("si,ij,sj->s", end, P_N, end)
    assert problem.objective(theta) == pytest.approx(total.mean() / 20, rel=1e-12)


def test_python_is_saved_as_data_verified_read_and_resumed(tmp_path, run):
    runs = [sc.adapt(in_python(), sc.AdaptOptions(steps=steps, audit=False)) for steps in (2, 5)]
    for result, name in zip(runs, ("run", "whole"), strict=True):
        sc.save_result(result, tmp_path / name)
    assert {"constraints.json", "cost.json"} <= set(content(tmp_path / "run"))
    assert sc.verify(tmp_path / "run").faults == ()
    back, given = sc.load_result(tmp_path / "run"), runs[0].problem
    assert back.problem.metrics(back.theta).tobytes() == given.metrics(runs[0].theta).tobytes()
    assert back.problem.objective(back.theta) == given.objective(runs[0].theta)
    again = run("adapt", tmp_path / "run" / "problem.toml", "--out", tmp_path / "run", "--resume", "--steps", 5)
    assert again.status == 0
    same_arrays(tmp_path / "run", tmp_path / "whole")
    sc.save_result(sc.load_result(tmp_path / "whole"), tmp_path / "copy")
    files = [{name: data for name, data in content(tmp_path / of).items() if name.endswith(("json", "toml"))}
             for of in ("whole", "copy")]  # fmt: skip
    assert files[0] == files[1]


def test_memories_and_least_squares_are_saved_too(tmp_path):
    policy = sc.load_problem(write(tmp_path / "p.toml", PID)).policy
    x, u, p = policy.plant.x, policy.plant.u, policy.plant.p
    batch = sc.scenarios(policy.plant, policy.backup, horizon=20, count=4, level=0.3, parameters=MASSES)
    own = [
        sc.Constraint(name="drift", expression=(x[3] - x[0]) ** 2, bound=0.9, unit="m^2"),
        sc.Constraint(name="power", expression=u[0] * x[1] * p[0], bound=0.3, unit="W"),
    ]
    cost = sc.Cost(ca.vertcat(x[0], x[3] - x[0], 0.1 * u[0]), least_squares=True, R_du=[0.3])
    problem = sc.ControlProblem(policy, batch, cost, sc.MetricOptions(constraints=own, du_max=0.5))
    result = sc.adapt(problem, sc.AdaptOptions(steps=2, audit=False))
    sc.save_result(result, tmp_path / "run")
    assert sc.verify(tmp_path / "run").faults == ()
    back = sc.load_result(tmp_path / "run").problem
    assert back.metrics(result.theta).tobytes() == problem.metrics(result.theta).tobytes()
    assert back.objective(result.theta) == problem.objective(result.theta)
    assert back.rollouts.is_least_squares
    assert tomllib.loads((tmp_path / "run" / "problem.toml").read_text())["metrics"]["du_max"] == [0.5]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run of a problem made in Python; to be left as it is."""
    path = tmp_path_factory.mktemp("saved") / "run"
    sc.save_result(sc.adapt(in_python(), sc.AdaptOptions(steps=1, audit=False)), path)
    return path


def copied(saved, tmp_path):
    (tmp_path / "run").mkdir()
    for name, data in content(saved).items():
        (tmp_path / "run" / name).write_bytes(data)
    return tmp_path / "run"


def of_another_loop(text):
    return json.dumps(json.loads(text) | {"x": 3})


@pytest.mark.parametrize("name", ["constraints.json", "cost.json"])
@pytest.mark.parametrize(
    ("forge", "says"),
    [
        (lambda text: text.replace('"format": 1', '"format": 2'), "format is 2"),
        (lambda text: text[: len(text) // 2], "it is damaged"),
        (lambda text: "[" * 100_000, "it is damaged"),
        (lambda text: text.replace('"mul", 0', '"system", 0'), "unknown or has another number of arguments"),
        (lambda text: text.replace('["u", 0]', '["u", 7]'), "takes 7"),
        (of_another_loop, "loop with x = 3 entries, this one has 2"),
        (lambda text: text.replace('"operations"', '"python"'), "expected a table of"),
        (lambda text: json.dumps(json.loads(text) | {"more": 1}), "expected a table of"),
    ],
)  # fmt: skip
def test_a_forged_file_is_refused_by_name(saved, tmp_path, name, forge, says):
    run = copied(saved, tmp_path)
    path, text = run / name, (run / name).read_text()
    path.write_text(forge(text))
    with pytest.raises(ProblemFileError, match=f"{name}: was changed: its SHA-256"):
        sc.load_result(run)
    section, key = ("metrics", "constraints") if name == "constraints.json" else ("objective", None)
    given = tomllib.loads((run / "problem.toml").read_text())
    table = given[section] if key is None else given[section][key]
    del table["sha256"]  # somebody who knows of the digest
    with pytest.raises(ProblemFileError, match=f"{name}: it is damaged: .*{says}" if "damaged" not in says else says):
        sc.load_problem(write(run / "problem.toml", {}, given))
    path.unlink()
    with pytest.raises(ProblemFileError, match=f"{name}: cannot be read: No such file"):
        sc.load_problem(run / "problem.toml")


def test_forged_numbers_of_constraints_are_refused(saved, tmp_path):
    run = copied(saved, tmp_path)
    data = json.loads((run / "constraints.json").read_text())
    given = tomllib.loads((run / "problem.toml").read_text())
    del given["metrics"]["constraints"]["sha256"]
    write(run / "problem.toml", {}, given)
    for key, value, says in (
        ("bound", ["nan"], "is nan"),
        ("bound", [-1.0], "not below the bound"),
        ("bound", [1, 2], "bound"),
        ("scale", [0.0], "above 0"),
        ("names", ["state"], "means something else"),
        ("names", [3], "name"),
        ("names", "power", "expected a list"),
        ("units", [], "unit has 0"),
    ):
        forged = json.loads(json.dumps(data))
        forged["constraints"][0][key] = value
        (run / "constraints.json").write_text(json.dumps(forged))
        with pytest.raises(sc.ScpoError, match=says):
            sc.load_problem(run / "problem.toml")
    (run / "constraints.json").write_text(json.dumps(data | {"h": data["h"][:1]}))
    with pytest.raises(sc.ScpoError, match="h has 1 entries, expected 3"):
        sc.load_problem(run / "problem.toml")
    (run / "constraints.json").write_text(json.dumps(data | {"constraints": []}))
    with pytest.raises(sc.ScpoError, match=r"constraints is \[\]"):
        sc.load_problem(run / "problem.toml")


def test_another_problem_is_not_resumed_and_what_cannot_be_saved_says_so(saved, tmp_path):
    run = copied(saved, tmp_path)
    other = sc.adapt(in_python(du_max=[0.2]), sc.AdaptOptions(steps=2, audit=False))
    with pytest.raises(sc.ScpoError, match="holds a run already"):
        sc.save_result(other, run)
    with pytest.raises(RecordError, match="digest differs"):
        text = (run / "problem.toml").read_text().replace("0.15", "0.16")
        (run / "problem.toml").write_text(text)
        load_state(run, read_problem_file(run / "problem.toml"), load_arrays(run))
    plant = double_integrator()
    problem = in_python(du_max=None, constraints=None)
    strange = sc.Constraint(name="c", expression=ca.remainder(problem.plant.x[0], 50.0), bound=9.0)
    given = sc.ControlProblem(
        problem.policy, problem.scenarios, problem.objective_data, sc.MetricOptions(constraints=strange)
    )
    with pytest.raises(sc.ScpoError, match=r"constraint 'c' has the operation .* which cannot be saved"):
        sc.save_result(sc.adapt(given, sc.AdaptOptions(steps=1, audit=False)), tmp_path / "new")
    assert not (tmp_path / "new").exists() and plant.nx == 2


def constraint(**changes):
    return {"metrics.constraints": [{key: value for key, value in (POWER | changes).items() if value is not REMOVE}]}


def cost(**changes):
    return {"objective": {key: value for key, value in (ENERGY | changes).items() if value is not REMOVE}}


QUADRATIC = {"kind": "quadratic", "Q": [1.0, 0.1], "R": [0.05]}
WRONG = [
    (constraint(name=REMOVE), 2, "[metrics] constraints[0] has no 'name'; needed: name, expression, bound"),
    (constraint(bound=REMOVE), 2, "[metrics] constraints[0] has no 'bound'"),
    (constraint(limit=3.0), 2, "[metrics] constraints[0] has the unknown key 'limit'; known: name"),
    (constraint(name=""), 2, "[metrics] name of a constraint is ''"),
    (constraint(name="rate"), 2, "'rate', which means something else"),
    (constraint(name=3), 2, "name is 3, expected a list of strings"),
    (constraint(expression="force*speed"), 2, "constraints[0].expression = 'force*speed': character 7: 'speed' is no"),
    (constraint(expression="__import__('os').system('true')"), 2, "is not allowed; allowed are numbers"),
    (constraint(expression="open(force)"), 2, "'open' is no function here"),
    (constraint(expression="force**1e9"), 2, "the exponent is beyond 100"),
    (constraint(expression="force*" * 500 + "force"), 2, "characters, more than 2000"),
    (constraint(expression=3), 2, "constraints[0].expression is 3, expected text"),
    (constraint(expression=[]), 2, "constraints[0]: expression is []"),
    (constraint(expression=["force", "velocity"]), 2, "a name for each entry"),
    (constraint(expression="3.0"), 2, "'power' depends on no state and no input"),
    (constraint(expression="mass"), 2, "'power' depends on no state and no input"),
    (constraint(expression="sqrt(position)"), 2, "not differentiable at the equilibrium"),
    (constraint(expression="1/position"), 2, "constraint 'power' is inf at the equilibrium"),
    (constraint(bound=NAN), 2, "[metrics] constraint 'power': bound[0] is nan"),
    (constraint(bound=INF), 2, "bound[0] is inf"),
    (constraint(bound="0.3"), 2, "bound is '0.3'"),
    (constraint(bound=0.0), 2, "the equilibrium of 'double_integrator' has 0, not below the bound 0 W"),
    (constraint(bound=[1.0, 2.0]), 2, "bound has shape (2,)"),
    (constraint(scale=0.0), 2, "scale is 0.0, expected above 0"),
    (constraint(unit=["W", "N"]), 2, "unit has 2 entries"),
    ({"metrics.constraints": [POWER, POWER]}, 2, "'power' is given twice"),
    ({"metrics.constraints": POWER}, 2, "expected tables [[metrics.constraints]] with the keys"),
    ({"metrics.constraints": "force < 3"}, 2, "constraints is 'force < 3', expected tables [[metrics.constraints]]"),
    ({"metrics.constraints": {"kind": "python", "file": "a.py"}}, 2, "kind is 'python', expected one of: recorded"),
    ({"metrics.constraints": {"kind": "recorded"}}, 2, "key 'file' is missing"),
    ({"metrics.constraints": {"kind": "recorded", "file": "none.json"}}, 2, "none.json: cannot be read: No such file"),
    ({"metrics.du_max": [0.1, 0.1]}, 2, "[metrics] du_max has 2 entries, expected 1: one for each input"),
    ({"metrics.du_max": [0.0]}, 2, "[metrics] du_max is [0.0]"),
    ({"metrics.du_max": [NAN]}, 2, "[metrics] du_max is [nan]"),
    ({"metrics.du_max": [INF]}, 2, "limits nothing"),
    ({"metrics.du_max": "fast"}, 2, "[metrics] du_max is 'fast'"),
    ({"metrics.limit": 3}, 2, "[metrics] unknown key 'limit'"),
    (constraint(bound=1e-6), 1, "is unsafe"),
    (cost(stage=REMOVE), 2, "[objective] key 'stage' is missing"),
    (cost(stage="force*speed"), 2, "[objective] stage = 'force*speed': character 7"),
    (cost(stage=""), 2, "[objective] stage is ''"),
    (cost(stage=["force"]), 2, "stage is a list, of residuals; set least_squares = true"),
    (cost(stage=[], least_squares=True), 2, "stage is []"),
    (cost(stage="mass", terminal="2", R_du=REMOVE), 2, "depends on no state and no input"),
    (cost(terminal="force"), 2, "[objective] the terminal cost depends on the input"),
    (cost(stage="log(position)"), 2, "stage cost is -inf at the equilibrium"),
    (cost(R_du=[1.0, 1.0]), 2, "R_du has 2 entries, expected 1"),
    (cost(R_du=[-1.0]), 2, "R_du[0] is -1.0"),
    (cost(least_squares="yes"), 2, "least_squares is 'yes', expected true or false"),
    (cost(Q=[1.0, 1.0]), 2, "unknown key 'Q'"),
    ({"objective": {"kind": "recorded", "file": "p.toml"}}, 2, "p.toml: it is damaged"),
    ({"objective": QUADRATIC | {"P_N": [1.0]}}, 2, "P_N has shape (1,), expected (2,)"),
    ({"objective": QUADRATIC | {"R_du": [[1.0, 0.5], [0.5, 1.0]]}}, 2, "R_du has shape (2, 2), expected (1, 1)"),
    ({"objective": QUADRATIC | {"Q": [[1.0, 2.0], [2.0, 1.0]]}}, 2, "not positive semidefinite"),
    ({"objective": QUADRATIC | {"stage": "force"}}, 2, "unknown key 'stage'"),
    (constraint() | {"adapt.mode": "certified", "adapt.method": "gradient"}, 2, "no smoothness bound for constraints"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "status", "says"), WRONG, ids=[says for *_, says in WRONG])
def test_wrong_problems_have_one_line_and_write_nothing(tmp_path, run, changes, status, says):
    path = write(tmp_path / "p.toml", changes)
    outcome = run("adapt", path, "--out", tmp_path / "run", "--json")
    assert outcome.status == status
    assert says in outcome.line and str(path) in outcome.line
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_line_shows_what_is_used_of_the_limits(tmp_path, run):
    changes = {"objective": ENERGY, "metrics": LIMITS, "scenarios.level": 0.35}
    path = write(tmp_path / "p.toml", changes)
    outcome = run("adapt", path, "--out", tmp_path / "run")
    [reach] = [line for line in outcome.out.splitlines() if line.startswith("reach")]
    assert outcome.status == 0 and "power 0.0235 of 0.05 W" in reach and "braking" in reach and "ellipse" in reach
    found = run("verify", tmp_path / "run", "--problem", path, "--json")
    assert json.loads(found.out)["passed"]
    table = tables(changes)
    table["metrics"]["constraints"][0]["bound"] = 0.06
    asked = write(tmp_path / "other.toml", {}, table)
    assert "another problem: [metrics] constraints" in run("verify", tmp_path / "run", "--problem", asked).err
    assert "differs in [metrics] constraints" in run("adapt", asked, "--out", tmp_path / "run", "--resume").err


def test_constants_of_the_plant_are_numbers_in_expressions(tmp_path, run):
    """The energy of the pendulum, by g and l of [plant], is that of their numbers; a run by them verifies."""
    energy = "m*l**2*rate**2/2 + m*{g}*l*(1 - cos(angle))"
    stage = "angle**2 + torque**2/(m*{g}*l)"
    named, written = (
        KINDS["equations"]
        | {
            "metrics": {"constraints": [{"name": "energy", "expression": energy.format(g=g), "bound": 9.0}]},
            "objective": {"kind": "expression", "stage": stage.format(g=g)},
            "adapt.steps": 2,
        }
        for g in ("g", "9.81")
    )
    path = write(tmp_path / "p.toml", named)
    mine, same = sc.load_problem(path), sc.load_problem(write(tmp_path / "q.toml", written))
    theta = theta_of(mine)
    assert np.array_equal(mine.metrics(theta), same.metrics(theta))
    assert mine.objective(theta) == same.objective(theta)
    assert run("adapt", path, "--out", tmp_path / "run").status == 0
    assert run("verify", tmp_path / "run", "--problem", path).status == 0
    other = {**named, "metrics": {"constraints": [{"name": "energy", "expression": "h*rate", "bound": 9.0}]}}
    with pytest.raises(sc.ScpoError, match=r"'h' is no name here.*\bg\b"):
        sc.load_problem(write(tmp_path / "r.toml", other))


def test_numbers_of_a_plant_of_the_zoo_are_names_too(tmp_path):
    part = {"name": "part", "expression": "(position/position_max)**2", "bound": 1.0}
    tens = part | {"expression": "(position/4.0)**2"}
    named, written = (
        sc.load_problem(write(tmp_path / "p.toml", {"plant.position_max": 4.0, "metrics": {"constraints": [one]}}))
        for one in (part, tens)
    )
    theta = theta_of(named)
    assert np.array_equal(named.metrics(theta), written.metrics(theta))
