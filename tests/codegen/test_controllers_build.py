"""Exports of controllers: files, compilers and languages, sanitizers, names, and what is refused."""

import os
import re
import subprocess
import sys

import casadi as ca
import numpy as np
import pytest
from controller_exports import NEAR_REST, POLICIES, result_of
from exports import STRICT, contents, need, run
from test_codegen_build import COMMANDS, LANGUAGES, SANITIZE

import scpo_ctrl as sc
from scpo_ctrl.codegen import export, replay
from scpo_ctrl.codegen.sequences import Step, sequences
from scpo_ctrl.controllers import pid
from scpo_ctrl.errors import CompilerError, DomainError
from scpo_ctrl.loop.controlled import controlled
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.models import dc_motor, linear

# Every controller with some compiler, as C and as C++, in both types.
MATRIX = [
    (name, *(("gcc", "c"), ("clang", "c++"), ("clang", "c"), ("gcc", "c++"))[k % 4], ("float", "double")[k // 2 % 2])
    for k, name in enumerate(POLICIES)
]


@pytest.mark.table(12)
@pytest.mark.parametrize(("name", "compiler", "language", "real"), MATRIX)
def test_strict_and_sanitized(name, compiler, language, real, tmp_path):
    command, standard = COMMANDS[compiler, language], LANGUAGES[language][1]
    need(command, "make")
    export(result_of(name), tmp_path / "c", real=real, measured=False)
    output = run("make", "-C", tmp_path / "c", "test", f"CC={command}", f"CFLAGS={standard} {STRICT} {SANITIZE}")
    assert "200 control vectors" in output and " 0 failures" in output
    assert ("20 bumpless starts" in output) == bool(POLICIES[name]().controller.memories)
    for file in (tmp_path / "c").rglob("*.[ch]"):
        if file.name != "vectors.c":
            assert max(map(len, file.read_text().splitlines())) <= 120, file


@pytest.mark.table(2)
@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("name", NEAR_REST)
def test_a_law_that_is_not_defined_everywhere_is_replayed_where_it_is(name, real, tmp_path):
    need("gcc", "make")
    export(result_of(name), tmp_path / "c", real=real, measured=False)
    output = run("make", "-C", tmp_path / "c", "test", "CC=gcc", f"CFLAGS=-std=c99 {STRICT} {SANITIZE}")
    assert "200 control vectors" in output and " 0 failures" in output
    step = Step.of(result_of(name).problem.policy)
    signals = sequences(step.policy, step.policy.controller.theta_initial, real).signals
    assert np.ptp(signals.y) > 0.3 and len(np.unique(signals.y)) > 150  # still far from rest, and not one value


def test_a_reference_that_varied_is_said_to_have_varied(tmp_path):
    motor = dc_motor()
    law = pid(motor, 1.0, 2.0, 0.02, filter_time=2e-3)
    moves = {"position reference": sc.signals.step(0.125, (-0.2, 0.2), at=0.01)}
    loop = controlled(motor, law, reference=moves)
    batch = sc.scenarios(loop.plant, loop.backup, horizon=20, count=2, level=1e-4)
    problem = sc.ControlProblem(loop, batch, sc.tracking(loop, [1.0]))
    export(sc.adapt(problem, sc.AdaptOptions(steps=1, audit=False)), tmp_path / "c", measured=False)
    readme = (tmp_path / "c/README.md").read_text()
    assert "0.125 at first, in the run a `step` between -0.2 and 0.2 |" in readme
    assert "shown for references that vary as the table above says." in readme
    assert "made for, at first: in the run they varied. */" in (tmp_path / "c/include/scpo.h").read_text()
    assert "    0.125, /* position reference [rad] */" in (tmp_path / "c/src/scpo_data.c").read_text()
    export(result_of("pid"), tmp_path / "still", measured=False)
    assert "varied" not in (tmp_path / "still/include/scpo.h").read_text()
    assert "shown for constant references, those of the table above." in (tmp_path / "still/README.md").read_text()


def test_the_readme_says_which_signals_the_law_does_not_read(tmp_path):
    bounds = [-1.0, -1.0, -1.0], [1.0, 1.0, 1.0], -1.0, 1.0
    plant = linear(0.9 * np.eye(3), [0.1, 0.1, 0.1], 0.01, bounds, x_labels=("a", "b", "c"), u_labels=("u",))
    loop = controlled(plant, pid(plant, 0.1, 0.1, measurement="b"))
    batch = sc.scenarios(loop.plant, loop.backup, horizon=5, count=2, level=0.1)
    problem = sc.ControlProblem(loop, batch, sc.Quadratic([1.0, 1.0, 1.0], [0.1]))
    export(sc.adapt(problem, sc.AdaptOptions(steps=0, audit=False)), tmp_path / "c", measured=False)
    text = (tmp_path / "c/README.md").read_text()
    rows = re.findall(r"\| `y\[(\d)\]` \| `\w` \| (measured|not used by the law: any finite number) \|", text)
    assert [(k, said == "measured") for k, said in rows] == [("0", False), ("1", True), ("2", False)]


@pytest.mark.table(2)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_fast_math(compiler, tmp_path):
    need(compiler, "make")
    export(result_of("lqi"), tmp_path / "c", real="float", measured=False)
    output = run("make", "-C", tmp_path / "c", "test", f"CC={compiler}", "CFLAGS=-std=c99 -O3 -ffast-math")
    assert " 0 failures" in output


def test_replay_sees_a_changed_number_and_a_changed_law(tmp_path):
    need("make", "cc")
    done = export(result_of("pid"), tmp_path / "c", measured=False)
    for file, old, new in (
        ("scpo_control.c", "0.33333", "0.43333"),
        ("scpo_data.c", "-12.0", "-11.0"),
        ("scpo_start.c", "slope[0] = 1.0", "slope[0] = -1.0"),
    ):
        source = tmp_path / "c" / "src" / file
        text = source.read_text()
        assert old in text
        source.write_text(text.replace(old, new))
        with pytest.raises(CompilerError, match=r"FAILED: (control|start)"):
            replay(done.path)  # compiles what changed
        source.write_text(text)
    assert replay(done.path).endswith(" 0 failures")


def test_arguments_exist_where_the_law_has_them(tmp_path):
    declared = {}
    for name in ("pid", "lqg", "state_feedback", "bent"):
        export(result_of(name), tmp_path / name, measured=False)
        header = (tmp_path / name / "include" / "scpo.h").read_text()
        call = re.search(r"scpo_status scpo_control\((.*?)\);", header, re.DOTALL)[1]
        declared[name] = re.findall(r"(\w+)(?: /\*.*?\*/)?(?:,|$)", call)
        assert ("scpo_bumpless_start" in header) == ("memory" in declared[name])
        assert "(E5)" in header and "scpo_project" in header and header.count("typedef enum") == 1
    assert declared == {
        "pid": ["theta", "y", "r", "memory", "u"],
        "lqg": ["theta", "y", "memory", "u"],
        "state_feedback": ["theta", "y", "u"],
        "bent": ["theta", "y", "memory", "u"],
    }


def test_names_units_and_numbers_are_in_header_and_data(tmp_path):
    result = result_of("pid")
    done = export(result, tmp_path / "c", measured=False)
    texts = {name: (tmp_path / "c" / name).read_text() for name in done.files}
    header, config, data = (texts[name] for name in ("include/scpo.h", "include/scpo_config.h", "src/scpo_data.c"))
    for line in ("y[0]  position [rad]", "r[0]  position reference [rad]", "u[0]  voltage [V], from -12 to 12"):
        assert line in header
    assert "scpo_real filtered_position; /* filtered position [rad] */" in header
    for size in ("NY 1", "NR 1", "NU 1", "NMEMORY 2", "NTHETA 3", "DT 0.001"):
        assert f"#define SCPO_{size}" in config
    kp = result.problem.policy.parameters(result.theta)["kp"]
    assert f"{kp:.17g}, /* kp [V/rad]; before adaptation 1.0 */" in data
    assert texts["README.md"].count("after adaptation |") == 3 and "no rollout verifies it" in texts["README.md"]
    assert done.margin == pytest.approx(-result.problem.metrics(result.theta).max(), abs=1e-9)


@pytest.mark.long
def test_equal_runs_give_equal_bytes_in_every_process(tmp_path):
    script = (
        "import sys, controller_exports as c; from scpo_ctrl.codegen import export; "
        "export(c.result_of('by_hand'), sys.argv[1], target='cortex-m4f', measured=False)"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / seed)], check=True, env=environment)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_the_readme_example_compiles(tmp_path):
    need("gcc")
    for name in ("pid", "state_feedback"):
        folder = tmp_path / name
        export(result_of(name), folder, prefix="servo", real="float", measured=False)
        (code,) = re.findall(r"```c\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        assert code.count("(void)servo_bumpless_start") == (name == "pid")
        (tmp_path / "main.c").write_text(code)
        flags = ["-std=c99", *STRICT.split(), f"-I{folder / 'include'}"]
        run("gcc", *flags, tmp_path / "main.c", *(folder / "src").glob("*.c"), "-lm", "-o", tmp_path / "main")
        run(tmp_path / "main")


def test_two_controllers_and_a_policy_in_one_program(tmp_path):
    """Names of one export meet none of another, in C and in C++; two loops of one controller have a memory each."""
    need("g++")
    for prefix, name in {"pump": "pid", "tank": "lqg"}.items():
        export(result_of(name), tmp_path / prefix, prefix=prefix, real="float", measured=False)
        text = "".join(file.read_text() for file in (tmp_path / prefix).rglob("*.[ch]"))
        assert not re.search(r"\bscpo_|\bSCPO_", text)
    (tmp_path / "main.c").write_text(
        '#include "pump.h"\n#include "tank.h"\nint main(void)\n{\n'
        "    pump_memory one = pump_memory_initial;\n    pump_memory two = pump_memory_initial;\n"
        "    tank_memory tank = tank_memory_initial;\n    float y[2] = {0.1f, 0.1f};\n    float u[2];\n"
        "    int bad = (int)pump_control(pump_theta_initial, y, pump_reference, &one, u);\n"
        "    bad += (int)pump_control(pump_theta, y, pump_reference, &two, y); /* u may be y */\n"
        "    bad += y[0] < u[0] || y[0] > u[0] || one.integral < two.integral || one.integral > two.integral;\n"
        "    return bad + (int)tank_control(tank_theta, u, &tank, u);\n}\n"
    )
    flags = [*STRICT.split(), *(f"-I{tmp_path / prefix / 'include'}" for prefix in ("pump", "tank"))]
    sources = [tmp_path / "main.c", *tmp_path.glob("*/src/*.c")]
    for command in (("gcc", "-std=c99"), ("g++", "-std=c++11", "-Wno-deprecated", "-x", "c++")):
        run(*command, *flags, *sources, "-lm", "-o", tmp_path / "main")
        run(tmp_path / "main")


def law(plant, **change):
    """Return a short run under a proportional law."""
    theta, y = ca.SX.sym("theta"), ca.SX.sym("y")
    data = {"name": "law", "theta": theta, "theta_initial": [2.0], "y": y, "command": -theta * y} | change
    policy = controlled(plant, Controller(**{**data, "command": change.get("command", lambda t, y: -t * y)(theta, y)}))
    batch = sc.scenarios(policy.plant, policy.backup, horizon=5, count=3, level=0.3)
    problem = sc.ControlProblem(policy, batch, sc.Quadratic([1.0], [0.1]), sc.MetricOptions(contraction=0.99))
    return sc.adapt(problem, sc.AdaptOptions(steps=0, audit=False))


ONE = ([[0.9]], [[0.1]], 0.1, ([-1.0], [1.0], [-5.0], [5.0]))


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (lambda t, y: -t * y + 1e-60 * y, "controller 'law' has the constant 1e-60, which is 0 in float"),
        (lambda t, y: -t * y + y / 1e60, "controller 'law' has a constant .* export with real = 'double'"),
    ],
)
def test_laws_that_are_refused(command, says, tmp_path):
    result = law(linear(*ONE), command=command)
    with pytest.raises(DomainError, match=says):
        export(result, tmp_path / "c", real="float")
    assert not list(tmp_path.iterdir())
    export(result, tmp_path / "c", real="double", measured=False)


def test_parameters_that_do_not_fit_float_are_refused(tmp_path):
    plant = linear([[0.9]], [[1e-40]], 0.1, ([-1.0], [1.0], [-5e40], [5e40]))
    result = law(plant, theta_initial=[1e40])
    with pytest.raises(DomainError, match=r"parameter theta0: .* export with real = 'double'"):
        export(result, tmp_path / "c", real="float")


def test_the_exported_parameters_are_those_of_the_result(tmp_path):
    """Their margin is that of the rounded numbers, in the units of the user."""
    plant = dc_motor()
    policy = controlled(plant, pid(plant, 1.0, 2.0, 0.02, filter_time=2e-3))
    batch = sc.scenarios(policy.plant, policy.backup, horizon=20, count=6, level=0.3)
    problem = sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 0.0], [1e-4]), sc.MetricOptions(contraction=0.99))
    result = sc.adapt(problem, sc.AdaptOptions(steps=2, audit=False))
    done = export(result, tmp_path / "c", real="float", measured=False)
    own = np.array(list(policy.parameters(result.theta).values()), np.float32).astype(float)
    theta = (own - policy.controller.theta_initial) / np.array(policy.scale)
    assert done.margin == pytest.approx(-problem.metrics(theta).max(), abs=1e-12)
