"""The guard in exported C: the held-out attack, its vectors on this computer, and an export without it."""

import ctypes
import json
import subprocess

import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl.codegen import export, replay
from scpo_ctrl.compiled import find_compiler
from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import cart_pole, double_integrator, planar_quadrotor

CART = {"cart_mass": (0.8, 1.2)}
MASS = {"mass": (0.8, 1.3)}
LOOPS = {
    "R3, mass, pushed": (double_integrator, {"parameters": MASS, "disturbance": [0.0, 0.01]}),
    "R4, cart": (cart_pole, {"parameters": CART}),
    "R5": (planar_quadrotor, {}),
}
GUARDED = 6


@pytest.fixture(scope="module", params=LOOPS)
def result(request):
    make, declared = LOOPS[request.param]
    plant = make()
    backup = sc.lmi(plant, **declared)
    batch = sc.scenarios(plant, backup, count=3, level=0.5, horizon=10, seed=1, **declared)
    cost = sc.Quadratic(np.ones(plant.nx), np.ones(plant.nu))
    policy = sc.Policy(plant, backup, hidden=(4,))
    return sc.adapt(sc.ControlProblem(policy, batch, cost, sc.MetricOptions()), sc.AdaptOptions(steps=2, audit=False))


@pytest.mark.table(6)
@pytest.mark.parametrize("real", ["double", "float"])
def test_no_theta_leaves_the_set_through_the_c(result, tmp_path, real):
    exported = export(result, tmp_path / "c", real=real, guarded=True, measured=False)
    assert "0 failures" in replay(exported.path)
    library = tmp_path / "guard.so"
    sources = sorted((exported.path / "src").glob("*.c"))
    command = [*find_compiler(), "-std=c99", "-O2", "-shared", "-fPIC", f"-I{exported.path / 'include'}"]
    subprocess.run([*command, *map(str, sources), "-lm", "-o", str(library)], check=True)
    control = ctypes.CDLL(str(library)).scpo_control
    control.argtypes = [ctypes.c_void_p] * 3
    problem, kind = result.problem, np.float32 if real == "float" else np.float64
    plant, (unit, root), declared = problem.plant, problem.backup.shape, problem.scenarios.declared
    rng, count = np.random.default_rng(31), 60_000
    towards = rng.normal(size=(count, plant.nx))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    length = np.where(rng.uniform(size=(count, 1)) < 0.5, 1 - 1e-6, rng.uniform(size=(count, 1)))
    x = np.ascontiguousarray(plant.x_eq + unit * ((length * towards) @ root.T), dtype=kind)
    thetas = rng.normal(size=(200, problem.theta_dim)) * 10.0 ** rng.uniform(-2, 4, (200, 1))
    thetas[0, 0], thetas[1, :] = np.nan, np.inf
    thetas = np.ascontiguousarray(thetas, dtype=kind)
    u, status = np.zeros((count, plant.nu), dtype=kind), np.zeros(count, dtype=int)
    for i in range(count):
        at = thetas.ctypes.data + (i % 200) * thetas.strides[0]
        status[i] = control(at, x.ctypes.data + i * x.strides[0], u.ctypes.data + i * u.strides[0])
    assert (status == GUARDED).any() and (status == 0).any() and (status == 5).sum() >= 2 * count // 200
    assert (u >= plant.u_min).all() and (u <= plant.u_max).all()
    sides = rng.uniform(size=(count, plant.npar))
    sides = np.where(rng.uniform(size=sides.shape) < 0.5, np.round(sides), sides)
    p = declared.ranges[:, 0] + sides * np.ptp(declared.ranges, axis=1)
    step = plant.function.map(count)
    following = np.array(step(x.astype(float).T, u.astype(float).T, p.T)).T
    if declared.half.size:
        slope = (following - plant.x_eq) @ problem.backup.P
        following = following + np.where(slope >= 0, declared.half, -declared.half)
    inside = problem.backup.level(x.astype(float), plant.x_eq) <= problem.backup.rho
    assert inside.mean() > 0.99  # some are rounded out of it
    assert (problem.backup.level(following, plant.x_eq)[inside] <= problem.backup.rho).all()


def test_without_the_guard_the_c_has_none(result, tmp_path):
    plain = export(result, tmp_path / "c", real="double", measured=False)
    assert "src/scpo_guard.c" not in plain.files
    assert "#define SCPO_GUARD 0" in (plain.path / "include/scpo_config.h").read_text()
    assert "## The guard" not in (plain.path / "README.md").read_text()


def test_the_same_decisions_as_python(result, tmp_path):
    exported = export(result, tmp_path / "c", real="double", guarded=True, measured=False, prefix="servo")
    assert "0 failures" in replay(exported.path)
    assert "servo_guard(const servo_real *x" in (exported.path / "src/servo_guard.c").read_text()
    vectors = (exported.path / "test/vectors.c").read_text()
    acted = vectors.split("servo_test_guarded[SERVO_TEST_CONTROLS] = {")[1].split("}")[0]
    flags = np.array([int(flag) for flag in acted.replace("\n", "").split(",") if flag.strip()])
    assert len(flags) == 200 and 0 < flags.sum() < 200


def test_a_set_that_is_not_proved_exports_no_guard(tmp_path):
    plant, wide = double_integrator(), {"mass": (0.3, 3.0)}
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, count=3, level=0.1, horizon=5, parameters=wide)
    problem = sc.ControlProblem(
        sc.Policy(plant, backup, hidden=(3,)), batch, sc.Quadratic([1.0, 1.0], [1.0]), sc.MetricOptions()
    )
    result = sc.adapt(problem, sc.AdaptOptions(steps=1, audit=False))
    with pytest.raises(DomainError, match="a guard needs a set"):
        export(result, tmp_path / "c", guarded=True)
    assert not (tmp_path / "c").exists()


def test_the_command(copy_of, run, tmp_path):
    folder = copy_of("mlp")
    outcome = run("export", folder, "--out", tmp_path / "c", "--guard", "--json")
    assert outcome.status == 0 and "src/scpo_guard.c" in json.loads(outcome.out)["files"]
