"""Wrong input: exit status, one line that names file, section, key and remedy, and nothing left behind."""

from __future__ import annotations

import math
import re

import pytest
from problem_files import IMITATION, LINEAR_PLANT, REMOVE, write

NAN, INF = math.nan, math.inf


CERTIFIED = {"adapt.mode": "certified", "adapt.smoothness": 10.0}
LINEAR = {"policy": {"kind": "linear"}}  # two parameters


def linear(**changes):
    return {"plant": LINEAR_PLANT | changes}


# What is changed, and what the line must say besides the file.
WRONG = [
    # sections and keys
    ({"plannt": {}}, ["'plannt'", "known:", "plant"]),
    ({"steps": 3}, ["'steps'", "known:"]),
    ({"plant": REMOVE}, ["[plant] is missing"]),
    ({"scenarios": REMOVE}, ["[scenarios] is missing"]),
    ({"objective": 3}, ["objective is 3", "[objective]"]),
    ({"metrics": [1]}, ["metrics is [1]", "[metrics]"]),
    ({"plant.mas": 1.0}, ["[plant]", "'mas'", "known:", "velocity_max"]),
    (linear(C=[[1.0]]), ["[plant]", "'C'", "known:", "x_min"]),
    ({"backup.N": 1.0}, ["[backup]", "'N'", "known:"]),
    ({"policy.layers": [3]}, ["[policy]", "'layers'", "hidden"]),
    ({"policy.kind": "linear"}, ["[policy]", "'hidden'", "known: kind"]),
    ({"objective.S": [1.0]}, ["[objective]", "'S'", "known:"]),
    ({"scenarios.N": 5}, ["[scenarios]", "'N'", "horizon"]),
    ({"scenarios.parameters": {"weight": [1, 2]}}, ["[scenarios]", "'weight'", "mass"]),
    ({"metrics.contracting": 0.3}, ["[metrics]", "'contracting'", "contraction"]),
    ({"adapt.step": 3}, ["[adapt]", "'step'", "steps"]),
    # kinds
    ({"plant.kind": REMOVE}, ["[plant]", "'kind' is missing", "linear", "double_integrator"]),
    ({"plant.kind": "rocket"}, ["[plant]", "'rocket'", "linear", "double_integrator"]),
    ({"plant.kind": ["linear"]}, ["[plant]", "kind is ['linear']"]),
    ({"backup.kind": "mpc"}, ["[backup]", "'mpc'", "lqr"]),
    ({"policy.kind": 3}, ["[policy]", "kind is 3", "linear, mlp"]),
    ({"objective.kind": "speed"}, ["[objective]", "'speed'", "quadratic, tracking, expression, imitation, recorded"]),
    ({"adapt.mode": "fast"}, ["[adapt]", "mode is 'fast'", "verified"]),
    ({"adapt.method": True}, ["[adapt]", "method is True", "adam"]),
    ({"adapt.solver": "QP"}, ["[adapt]", "solver is 'QP'", "CLARABEL"]),
    # plant
    (linear(A=REMOVE), ["[plant]", "'A' is missing", "needed:"]),
    (linear(A=[[1.0, 0.1]]), ["[plant]", "A has shape (1, 2)", "square"]),
    (linear(A=[[1.0, 0.1], [0.0]]), ["[plant]", "A is", "equal length"]),
    (linear(A=[[1.0, NAN], [0.0, 1.0]]), ["[plant]", "A[0, 1] is nan"]),
    (linear(A=[[1.0, True], [0.0, 1.0]]), ["[plant]", "A is", "numbers"]),
    (linear(A="eye"), ["[plant]", "A is 'eye'", "numbers"]),
    (linear(A=[["1", "0"], ["0", "1"]]), ["[plant]", "A is", "numbers"]),
    (linear(B=[[0.1]]), ["[plant]", "B has shape (1, 1)", "(2, any)"]),
    (linear(B=[0.005, 0.1, 0.2]), ["[plant]", "B has shape (3,)"]),
    (linear(B=[[INF], [1.0]]), ["[plant]", "B[0, 0] is inf"]),
    (linear(B=[[], []]), ["[plant]", "B has no columns"]),
    (linear(dt=0.0), ["[plant]", "dt is 0.0", "> 0"]),
    (linear(dt=-0.1), ["[plant]", "dt is -0.1", "> 0"]),
    (linear(dt="0.1"), ["[plant]", "dt is '0.1'"]),
    (linear(dt=NAN), ["[plant]", "dt is nan"]),
    (linear(x_min=[5.0, -1.5], x_max=[-5.0, 1.5]), ["[plant]", "x_min[0] = 5", "x_max[0] = -5", "swap"]),
    (linear(u_min=[1.0]), ["[plant]", "u_min[0] = 1", "u_max[0]"]),
    (linear(x_max=[5.0]), ["[plant]", "x_max has shape (1,)", "(2,)"]),
    (linear(x_max=5.0), ["[plant]", "x_max is 5.0", "(2,)"]),
    (linear(u_max=[INF]), ["[plant]", "u_max[0] is inf"]),
    (linear(x_max=[5.0, "fast"]), ["[plant]", "x_max is [5.0, 'fast']"]),
    (linear(u_max=[10**400]), ["[plant]", "u_max is", "range of a double"]),
    (linear(u_max=[True]), ["[plant]", "u_max is [True]"]),
    (linear(x_min=[1.0, -1.5]), ["[plant]", "x_min[0] = 1", "origin"]),
    (linear(u_min=[-2.0], u_max=[-1.0]), ["[plant]", "u_min[0] = -2", "origin"]),
    (linear(x_labels=["position"]), ["[plant]", "x_labels has 1 entries", "2"]),
    (linear(x_labels="ab"), ["[plant]", "x_labels is 'ab'", "list"]),
    (linear(u_units=[1]), ["[plant]", "u_units[0] is 1", "text"]),
    (linear(name=3), ["[plant]", "name is 3"]),
    (linear(source=3), ["[plant]", "source is 3"]),
    ({"plant.velocity_max": -1.5}, ["[plant]", "velocity_max is -1.5", "> 0"]),
    ({"plant.velocity_max": "fast"}, ["[plant]", "velocity_max is 'fast'"]),
    # backup
    ({"backup.Q": REMOVE}, ["[backup]", "'Q' is missing"]),
    ({"backup.Q": [0.1]}, ["[backup]", "Q has shape (1,)", "(2,)"]),
    ({"backup.Q": [0.1, 0.0]}, ["[backup]", "Q[1] is 0.0", "> 0"]),
    ({"backup.Q": [0.1, NAN]}, ["[backup]", "Q[1] is nan"]),
    ({"backup.Q": [[0.1, 0.2], [0.0, 0.1]]}, ["[backup]", "Q is [[0.1, 0.2], [0.0, 0.1]], not symmetric"]),
    ({"backup.Q": [[0.1, 0.2], [0.2, 0.1]]}, ["[backup]", "Q is [[0.1, 0.2], [0.2, 0.1]], not positive definite"]),
    ({"backup.R": [0.0]}, ["[backup]", "R[0] is 0.0", "> 0"]),
    ({"backup.R": [-1.0]}, ["[backup]", "R[0] is -1.0", "> 0"]),
    ({"backup.R": [False]}, ["[backup]", "R is [False]"]),
    ({"backup.Q": -10.0}, ["[backup]", "Q is -10", "> 0"]),
    ({"backup.R": [[10.0, 1.0]]}, ["[backup]", "R has shape (2,)", "(1,)"]),
    ({"backup.R": "ten"}, ["[backup]", "R is 'ten'"]),
    ({"backup.allow_uncontrollable": 1}, ["[backup]", "allow_uncontrollable is 1", "true or false"]),
    (linear(B=[[0.1], [0.0]]), ["[backup]", "not stabilisable"]),
    (linear(A=[[0.9, 0.0], [0.0, 0.8]], B=[[0.1], [0.0]]), ["[backup]", "not controllable", "allow_uncontrollable"]),
    # policy
    ({"policy.at_bounds": "yes"}, ["[policy]", "at_bounds is 'yes'", "true or false"]),
    ({"policy.hidden": []}, ["[policy]", "hidden is []", "[12]"]),
    ({"policy.hidden": "12"}, ["[policy]", "hidden is '12'", "[12]"]),
    ({"policy.hidden": [0]}, ["[policy]", "hidden[0] is 0", ">= 1"]),
    ({"policy.hidden": [True]}, ["[policy]", "hidden[0] is True"]),
    ({"policy.hidden": [3.5]}, ["[policy]", "hidden[0] is 3.5"]),
    ({"policy.hidden": [10**9]}, ["[policy]", "hidden", "parameters, more than"]),
    ({"policy.init": -0.1}, ["[policy]", "init is -0.1", ">= 0"]),
    ({"policy.init": NAN}, ["[policy]", "init is nan"]),
    ({"policy.scale": [1.0]}, ["[policy]", "scale has shape (1,)", "(2,)"]),
    ({"policy.scale": [1.0, 0.0]}, ["[policy]", "scale is [1.0, 0.0]", "positive"]),
    ({"policy.scale": 2.0}, ["[policy]", "scale is 2.0", "(2,)"]),
    # objective
    ({"objective.R": REMOVE}, ["[objective]", "'R' is missing"]),
    ({"objective.Q": [1.0]}, ["[objective]", "Q has shape (1,)", "(2,)"]),
    ({"objective.Q": [1.0, -1.0]}, ["[objective]", "Q[1] is -1.0", ">= 0"]),
    ({"objective.R": [INF]}, ["[objective]", "R[0] is inf"]),
    ({"objective.Q": [[1.0, 0.5], [0.4, 1.0]]}, ["[objective]", "Q is [[1.0, 0.5], [0.4, 1.0]], not symmetric"]),
    ({"objective.Q": [[1.0, 0.5], [0.5]]}, ["[objective]", "Q is [[1.0, 0.5], [0.5]]", "equal length"]),
    ({"objective.R": [True]}, ["[objective]", "R is [True]"]),
    ({"objective": {"kind": "imitation"}}, ["[objective]", "'csv' is missing"]),
    ({"objective": {"kind": "imitation", "csv": 3}}, ["[objective]", "csv is 3", "file"]),
    ({"objective": {"kind": "imitation", "csv": "none.csv"}}, ["[objective]", "none.csv", "No such file"]),
    ({"objective": {"kind": "imitation", "csv": "."}}, ["[objective]", "directory"]),
    ({"objective": {"kind": "imitation", "csv": "a\0b"}}, ["[objective]", "csv is 'a\\x00b'"]),
    # scenarios
    ({"scenarios.count": REMOVE}, ["[scenarios]", "count", "initial_states"]),
    ({"scenarios.initial_states": [[0.1, 0.1]]}, ["[scenarios]", "count", "not both"]),
    ({"scenarios.count": 0}, ["[scenarios]", "count is 0", ">= 1"]),
    ({"scenarios.count": -3}, ["[scenarios]", "count is -3", ">= 1"]),
    ({"scenarios.count": 2.5}, ["[scenarios]", "count is 2.5", "whole"]),
    ({"scenarios.count": True}, ["[scenarios]", "count is True"]),
    ({"scenarios.count": 10**12}, ["[scenarios]", "count = 1000000000000", "lower"]),
    ({"scenarios.horizon": 0}, ["[scenarios]", "horizon is 0", ">= 1"]),
    ({"scenarios.horizon": REMOVE}, ["[scenarios]", "'horizon' is missing"]),
    ({"scenarios.horizon": 10**30}, ["[scenarios]", "horizon is 1000", "<= 9223372036854775807"]),
    ({"scenarios.horizon": "long"}, ["[scenarios]", "horizon is 'long'"]),
    ({"scenarios.level": 0.0}, ["[scenarios]", "level is 0.0", "> 0"]),
    ({"scenarios.level": 1.0000001}, ["[scenarios]", "level is 1.0000001", "<= 1"]),
    ({"scenarios.seed": -1}, ["[scenarios]", "seed is -1", ">= 0"]),
    (
        {"scenarios": {"horizon": 5, "initial_states": [[6.0, 0.0]]}},
        ["[scenarios]", "initial_states[0][0] = 6", "outside"],
    ),
    ({"scenarios": {"horizon": 5, "initial_states": [[1.0, NAN]]}}, ["[scenarios]", "initial_states[0, 1] is nan"]),
    ({"scenarios": {"horizon": 5, "initial_states": [[1.0]]}}, ["[scenarios]", "initial_states has shape (1, 1)"]),
    ({"scenarios": {"horizon": 5, "initial_states": []}}, ["[scenarios]", "initial_states"]),
    ({"scenarios": {"horizon": 5, "initial_states": "all"}}, ["[scenarios]", "initial_states is 'all'"]),
    (
        {"scenarios": {"horizon": 5, "level": 0.5, "box": [[-1.0, 0.0], [1.0, 0.5]], "count": 2}},
        ["[scenarios]", "level"],
    ),
    ({"scenarios.parameters": [1.0, 2.0]}, ["[scenarios]", "parameters is [1.0, 2.0]", "table"]),
    ({"scenarios.parameters": {"mass": [1.1, 0.9]}}, ["[scenarios]", "parameters.mass", "swapped"]),
    ({"scenarios.parameters": {"mass": 1.1}}, ["[scenarios]", "parameters.mass is 1.1"]),
    ({"scenarios.disturbance": [0.1]}, ["[scenarios]", "disturbance has shape (1,)", "(2,)"]),
    ({"scenarios.disturbance": [0.1, -0.1]}, ["[scenarios]", "disturbance is [0.1, -0.1]", ">= 0"]),
    ({"scenarios.disturbance": [0.1, INF]}, ["[scenarios]", "disturbance[1] is inf"]),
    ({"scenarios.parameters": {"mass": [0.0, 1.0]}}, ["[scenarios]", "parameters.mass = [0, 1] reaches 0 kg"]),
    ({"scenarios.disturbance": [0.1, 3.0]}, ["[scenarios]", "disturbance[1] = 3 m/s", "[-1.5, 1.5]", "smaller"]),
    ({"scenarios.disturbance_fixed": 0.5}, ["[scenarios]", "disturbance_fixed", "half widths"]),
    (
        {"scenarios.disturbance": [0.1, 0.1], "scenarios.disturbance_fixed": 1.5},
        ["[scenarios]", "disturbance_fixed is 1.5", "<= 1"],
    ),
    ({"backup.rho": 100.0}, ["[backup]", "rho = 100 leaves the bounds", "largest inside them is 54.66"]),
    ({"backup.rho": "wide"}, ["[backup]", "rho is 'wide'"]),
    # metrics
    ({"metrics.path": 1}, ["[metrics]", "path is 1", "true or false"]),
    ({"metrics.path": False}, ["[metrics]", "no metric", "terminal"]),
    ({"metrics.contraction": 1.0}, ["[metrics]", "contraction is 1", "(0, 1)"]),
    ({"metrics.contraction": 0.0}, ["[metrics]", "contraction is 0.0", "> 0"]),
    ({"metrics": {"contraction": 0.5, "contraction_floor": 1.0}}, ["[metrics]", "contraction_floor is 1", "[0, 1)"]),
    ({"metrics.contraction_floor": 0.1}, ["[metrics]", "contraction_floor", "give contraction or one_step too"]),
    ({"metrics.contraction": NAN}, ["[metrics]", "contraction is nan"]),
    ({"metrics.contraction": False}, ["[metrics]", "contraction is False"]),
    # adapt
    ({"adapt.steps": -1}, ["[adapt]", "steps is -1", ">= 0"]),
    ({"adapt.steps": 2**63}, ["[adapt]", "steps is 9223372036854775808", "<= 9223372036854775807"]),
    ({"adapt.steps": 1.5}, ["[adapt]", "steps is 1.5", "whole"]),
    ({"adapt.seed": -1}, ["[adapt]", "seed is -1", ">= 0"]),
    ({"adapt.radius": 0}, ["[adapt]", "radius is 0.0", "> 0"]),
    ({"adapt.radius": INF}, ["[adapt]", "radius is inf"]),
    ({"adapt.sampling_radius": 2.0}, ["[adapt]", "sampling_radius is 2.0", "<= 1"]),
    ({"adapt.directions": 1000}, ["[adapt]", "directions is 1000", "12"]),
    ({"adapt.tries": 0}, ["[adapt]", "tries is 0", ">= 1"]),
    ({"adapt.decay": 1.5}, ["[adapt]", "decay is 1.5"]),
    ({"adapt.growth": 1.0}, ["[adapt]", "growth is 1.0", "> 1"]),
    ({"adapt.mode": "certified", "metrics": {"command": False}}, ["[adapt]", "'certified'", "smoothness"]),
    ({"adapt.smoothness": -1.0}, ["[adapt]", "smoothness is -1.0", "> 0"]),
    ({"adapt.method": "newtn"}, ["[adapt]", "method is 'newtn'", "auto, newton, newton_krylov, gauss_newton, lbfgs"]),
    ({"adapt.gradients": "adjoint"}, ["[adapt]", "gradients is 'adjoint'", "sampled, exact"]),
    (CERTIFIED | {"adapt.method": "newton"}, ["[adapt]", "'certified'", "'newton'", "use 'gradient'"]),
    (CERTIFIED | {"adapt.method": "gauss_newton"}, ["[adapt]", "'certified'", "'gauss_newton'", "use 'gradient'"]),
    ({"adapt.probes": -1}, ["[adapt]", "probes is -1", ">= 0"]),
    ({"adapt.probes": 1.5}, ["[adapt]", "probes is 1.5", "whole"]),
    ({"adapt.barrier": 0.0}, ["[adapt]", "barrier is 0.0", "> 0"]),
    ({"adapt.barrier": NAN}, ["[adapt]", "barrier is nan"]),
    ({"adapt.barrier_min": 1.0}, ["[adapt]", "barrier_min is 1.0", "<= 2e-05"]),
    ({"adapt.barrier": 1e-9}, ["[adapt]", "barrier_min is 1e-08", "<= 1e-09"]),
    ({"adapt.tolerance": -1e-6}, ["[adapt]", "tolerance is -1e-06", ">= 0"]),
    ({"adapt.tolerance": "tight"}, ["[adapt]", "tolerance is 'tight'"]),
    ({"adapt.preconditioner": [1.0, 2.0]}, ["[adapt]", "preconditioner has shape (2,)", "(12,) or (12, 12)"]),
    ({"adapt.preconditioner": []}, ["[adapt]", "preconditioner", "(12,) or (12, 12)"]),
    ({"adapt.preconditioner": 3.0}, ["[adapt]", "preconditioner is 3.0", "an array of shape"]),
    ({"adapt.preconditioner": "diag"}, ["[adapt]", "preconditioner is 'diag'"]),
    ({"adapt.preconditioner": [*[1.0] * 11, "1"]}, ["[adapt]", "preconditioner", "numbers"]),
    ({"adapt.preconditioner": [*[1.0] * 11, 0.0]}, ["[adapt]", "preconditioner[11] is 0", "positive"]),
    ({"adapt.preconditioner": [*[1.0] * 11, NAN]}, ["[adapt]", "preconditioner[11] is nan"]),
    ({"adapt.preconditioner": [[1.0], [1.0, 2.0]]}, ["[adapt]", "preconditioner", "equal length"]),
    (LINEAR | {"adapt.preconditioner": [[1.0, 2.0], [0.0, 1.0]]}, ["[adapt]", "preconditioner is not symmetric"]),
    (LINEAR | {"adapt.preconditioner": [[1.0, 2.0], [2.0, 1.0]]}, ["[adapt]", "not positive definite", "identity"]),
    (
        {"adapt.preconditioner": [1.0] * 12, "adapt.method": "newton"},
        ["[adapt]", "'newton' scales the basis itself", "preconditioner"],
    ),
]


def name(case):
    changes, said = case
    return f"{[*changes][-1]}: {said[-1]}"


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=map(name, WRONG))
def test_wrong_problem(tmp_path, run, changes, said):
    path = write(tmp_path / "problem.toml", clean(changes))
    outcome = run("adapt", path, "--out", tmp_path / "run", "--json")
    assert outcome.status == 2
    assert outcome.line.startswith(f"scpo-ctrl: {path}: ")
    for text in said:
        assert text in outcome.line
    assert "wrong kind" not in outcome.line
    assert list(tmp_path.iterdir()) == [path]


def clean(changes):
    """Leave out keys of whole sections that are to be missing."""
    return {
        where: {key: entry for key, entry in value.items() if entry is not REMOVE} if isinstance(value, dict) else value
        for where, value in changes.items()
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "[plant] is missing"),
        (b"[plant", "is not valid TOML"),
        (b"[plant]\nkind = 'linear'\nkind = 'linear'\n", "is not valid TOML"),
        (b"\x00\xff\xfe\x80" * 99, "not UTF-8 text"),
        (b"x = " + b"9" * 5000, "is not valid TOML"),
        (b"x = " + b"[" * 5000, "is not valid TOML"),
        (b"plant = 1979-05-27\n", "is missing"),
        (b'{"plant": {}}', "is not valid TOML"),
    ],
)
def test_malformed_file(tmp_path, run, content, said):
    path = tmp_path / "problem.toml"
    path.write_bytes(content)
    outcome = run("adapt", path, "--out", tmp_path / "run")
    assert outcome.status == 2
    assert outcome.line.startswith(f"scpo-ctrl: {path}: ")
    assert said in outcome.line
    assert list(tmp_path.iterdir()) == [path]


def test_missing_file_and_folder_as_file(tmp_path, run):
    outcome = run("adapt", tmp_path / "none.toml", "--out", tmp_path / "run")
    assert (outcome.status, "none.toml: cannot be read: No such file" in outcome.line) == (2, True)
    outcome = run("adapt", tmp_path, "--out", tmp_path / "run")
    assert (outcome.status, "cannot be read: Is a directory" in outcome.line) == (2, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "'x0' is missing"),
        ("x0,x1\n1,2\n", "'u0' is missing"),
        ("x0,x1,u0\n", "no data"),
        ("x0,x1,u0\n1,2,three\n", "line 2, column 'u0' is 'three'"),
        ("x0,x1,u0\n1,nan,3\n", "line 2, column 'x1' is 'nan'"),
        ("x0,x1,u0\n1,2,3\n1,inf,3\n", "line 3, column 'x1' is 'inf'"),
        ("x0,x1,u0\n1,2\n", "line 2"),
        ("x0,x1,u0\n1,,3\n", "line 2, column 'x1'"),
        pytest.param("x0,x1,u0\n1,5,2,0,1\n", "line 2"),
        pytest.param("x0,x0,x1,u0\n1,2,3,4\n", "x0"),
        (b"\xff\x00\x80", "cannot be read"),
        (b"x0,x1,u0\n1,2,\x00\n", "line 2"),
    ],
)
def test_malformed_imitation_data(tmp_path, run, content, said):
    path = write(tmp_path / "problem.toml", IMITATION)
    data = tmp_path / "expert.csv"
    data.write_bytes(content if isinstance(content, bytes) else content.encode())
    outcome = run("adapt", path, "--out", tmp_path / "run")
    assert outcome.status == 2
    assert f"{path}: [objective] {data}" in outcome.line
    assert said in outcome.line
    assert sorted(tmp_path.iterdir()) == [data, path]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metrics.contraction": 0.001}, ["V(x_N) <= 0.001 V(x_0)", "lengthen the horizon"]),
        ({"scenarios": {"horizon": 2, "initial_states": [[4.99, 1.4]]}}, [">= -1 N is exceeded by 0.12"]),
        ({"scenarios.parameters": {"mass": [0.01, 0.01]}}, ["for mass = 0.01 kg", "spectral radius is"]),
        ({"scenarios.disturbance": [1.5, 1.5]}, ["exceeded"]),
    ],
)
def test_unsafe_start(tmp_path, run, changes, said):
    path = write(tmp_path / "problem.toml", changes)
    outcome = run("adapt", path, "--out", tmp_path / "a" / "run")
    assert outcome.status == 1
    assert re.match(
        rf"scpo-ctrl: {path}: the (safe start is unsafe: scenario|backup is not stable at rest)", outcome.line
    )
    for text in said:
        assert text in outcome.line
    assert list(tmp_path.iterdir()) == [path]
