"""The gallery: its files begin as their textbooks say, steps and margins are what an engineer takes them for."""

import dataclasses
import functools
import tomllib
from pathlib import Path

import control
import gallery
import numpy as np
import pytest
from PIL import Image
from support import device
from support.before_after import Signal, draw
from support.step_response import Response, largest_error, largest_step, margins, opened, rest_elsewhere, step

from scpo_ctrl import AdaptOptions, controlled, lqr, scenarios
from scpo_ctrl.controllers import lqg, pid, state_feedback
from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import afti_16, ball_and_beam, cart_pole, dc_motor, heater, lane_keeping, quadruple_tank

FOLDER = Path(gallery.__file__).parent / "gallery"
SHORT = AdaptOptions(steps=4, audit_rollouts=500)


@pytest.fixture(scope="module", autouse=True)
def _loaded_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "load", functools.cache(gallery.load))
        yield


@pytest.mark.table(3)
@pytest.mark.parametrize("name", gallery.LOOPS)
def test_a_loop_is_safe_as_it_runs_today(name):
    problem, _ = gallery.load(name)
    assert problem.metrics(problem.theta_initial).max() <= 0
    assert problem.spectral_radius(problem.theta_initial) < 1
    assert problem.scenarios.declared is not None
    assert not problem.plant.name.startswith(("python", "recorded")) and problem.policy.theta_dim <= 8
    lines = (FOLDER / gallery.LOOPS[name].file).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 40


def test_every_file_is_a_loop():
    files = {path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".toml")}
    assert files == {loop.file for loop in gallery.LOOPS.values()}


def gain_of(name):
    """The gain that a problem file begins with."""
    with (FOLDER / f"{name}.toml").open("rb") as file:
        return np.array(tomllib.load(file)["policy"]["K"])


def test_gains_are_those_of_the_rules_that_files_name():
    for plant in (lane_keeping(), afti_16()):
        bryson = lqr(plant, 1 / plant.x_max**2, 1 / plant.u_max**2)
        np.testing.assert_allclose(gain_of(plant.name), bryson.K, rtol=5e-4)
    A, B = ball_and_beam(dt=0.01).linearise()
    poles = np.log(np.linalg.eigvals(A - B @ gain_of("ball_and_beam"))) / 0.01
    np.testing.assert_allclose(np.sort_complex(poles), [-12, -10, -2 - 2j, -2 + 2j], rtol=0.02)
    for name, kp, ki in (("heater", 175 / (0.9 * 190), 1 / (0.9 * 190)), ("cstr", 2.8 * 1.354, 0.0472**2 / 0.0349)):
        with (FOLDER / f"{name}.toml").open("rb") as file:
            given = tomllib.load(file)["policy"]
        np.testing.assert_allclose((given["kp"], given["ki"]), (kp, ki), rtol=5e-3)


@pytest.mark.table(6)  # and the heater, by the script
@pytest.mark.parametrize("name", ["dc_motor", "buck_converter", "lane_keeping", "quadruple_tank", "heater", "afti_16"])
def test_a_loop_gets_better_and_stays_safe(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gallery, "missing", lambda: ("no emulator",))
    outcome = gallery.run(name, tmp_path, fresh=500, options=SHORT)
    before, after = outcome.fresh
    assert after.violations == 0 and outcome.result.is_safe() and outcome.result.final_audit.passed
    assert after.objective < 0.95 * before.objective
    assert outcome.device is None and "200 control vectors" in capsys.readouterr().out
    cost, stepped = gallery.of_cost(outcome), gallery.of_step(outcome)
    assert len(cost) == len(gallery.COSTS) and cost[-2:] == ["-", "-"] and cost[5] == "0 of 500"
    assert (
        len(stepped) == len(gallery.STEPS) and gallery.numbers(outcome.result).count("->") == outcome.result.theta.size
    )
    gallery.picture(outcome, tmp_path / "figure.png", [gallery.COSTS, cost])
    with Image.open(tmp_path / "figure.png") as image:
        assert image.width >= 1000 and len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) >= 20


@pytest.mark.table(4)
@pytest.mark.parametrize("name", [name for name, loop in gallery.LOOPS.items() if loop.at_rest])
def test_a_step_begins_at_rest_and_inside_the_declared_set(name):
    problem, _ = gallery.load(name)
    loop, policy = gallery.LOOPS[name], problem.policy
    plant, law = policy.controlled_plant, policy.controller
    start = largest_step(problem, loop.held, loop.most)
    away, nx = start - policy.plant.x_eq, plant.nx
    assert policy.backup.level(away) == pytest.approx(problem.scenarios.declared.level * policy.backup.rho, rel=1e-6)
    response = step(policy, problem.theta_initial, start, 3, loop.held[0])
    change = response.y[0] - response.end
    assert np.sign(change) == np.sign(loop.most) and abs(change) > 0.02 * abs(loop.most)
    A, B = plant.linearise()
    u_rest = np.linalg.lstsq(B, (np.eye(nx) - A) @ (start[:nx] - plant.x_eq), rcond=None)[0]
    if plant.is_linear:  # an input holds it there
        held = np.array(plant.function(start[:nx], plant.u_eq + u_rest, plant.p_nominal))[:, 0]
        np.testing.assert_allclose(held, start[:nx], atol=1e-6 * np.abs(plant.x_max).max())
    if law.r.numel():  # and the loop stays there if its reference is the one of the start
        reference = np.array(policy.reference)
        reference[0] += change
        there = controlled(plant, law, reference=reference)
        np.testing.assert_allclose(there.plant.x_eq, start, rtol=1e-5, atol=1e-5 * np.abs(start).max())


def test_a_step_is_python_controls():
    plant = heater(dead_time=0.0)
    policy = controlled(plant, pid(plant, 5.0, 0.03))
    start = rest_elsewhere(policy, [0], -2.0)
    np.testing.assert_allclose(start, [58.0, 35 / 0.9])
    response = step(policy, np.zeros(2), start, 200, 0)
    A, B = plant.linearise()
    law = control.ss([[1.0]], [[5.0 * 0.03]], [[1.0]], [[5.0]], plant.dt)
    loop = control.feedback(control.series(law, control.ss(A, B, [[1.0]], 0, plant.dt)))
    expected = control.step_response(loop, response.t).outputs
    np.testing.assert_allclose(response.y, 58 + 2 * expected, atol=1e-6)
    found, info = response.info, control.step_info(expected, response.t, final_output=1.0)
    np.testing.assert_allclose(found, [info[key] for key in ("RiseTime", "Overshoot", "SettlingTime")], atol=1e-4)


def test_a_response_that_does_not_arrive_has_no_time():
    t = np.arange(11.0)
    slow = Response(t, 1 - 0.05 * t, np.zeros((11, 1)), np.zeros((10, 1)), 0.0)
    assert slow.info == (np.inf, 0.0, np.inf)
    rings = Response(t, np.array([1, 0.5, 0.0, -0.3, 0, 0.3, 0, -0.3, 0, 0.3, 0.2]), slow.x, slow.u, 0.0)
    assert rings.info[1] == pytest.approx(30) and rings.info[2] == np.inf


@pytest.mark.table(3)
@pytest.mark.parametrize("name", ["dc_motor", "buck_converter", "lane_keeping", "heater", "balancing_robot", "cstr"])
def test_margins_are_where_the_loop_becomes_unstable(name):
    policy = gallery.load(name)[0].policy
    loop = opened(policy, np.zeros(policy.theta_dim))
    gain, phase = margins(loop)
    A, B, C = (np.asarray(matrix) for matrix in (loop.A, loop.B, loop.C))

    def radius(factor):
        return np.abs(np.linalg.eigvals(A - factor * B @ C)).max()

    assert np.isfinite(gain) and 0 < phase < 180
    factor = 10 ** (gain / 20)
    assert radius(1.0) < 1 and radius(1 + 0.99 * (factor - 1)) < 1 < radius(1 + 1.01 * (factor - 1))
    assert radius(np.exp(0.98j * np.radians(phase))) < 1 < radius(np.exp(1.02j * np.radians(phase)))


def test_margins_of_a_chain_of_integrators():
    plant = ball_and_beam()
    A, B = plant.linearise()
    K = control.dlqr(A, B, np.diag([1, 0, 0, 0]), [[1e-6]])[0]
    gain, phase = margins(control.ss(A, B, K, 0, plant.dt))
    assert gain == pytest.approx(-7.36, abs=0.05) and phase == pytest.approx(56.2, abs=0.1)
    spoilt = control.stability_margins(control.ss(A, B, K, 0, plant.dt))[1]
    assert spoilt < 30  # why they are computed here


def test_what_has_no_step_or_margin_is_refused():
    tanks = gallery.load("quadruple_tank")[0].policy
    with pytest.raises(DomainError, match="2 inputs"):
        opened(tanks, np.zeros(4))
    plant = cart_pole()
    loop = controlled(plant, state_feedback(plant, lqr(plant, [1.0] * 4, [1.0]).K))
    with pytest.raises(DomainError, match="not at rest"):
        rest_elsewhere(loop, [2], 0.1)  # no force holds a pole that leans
    start = rest_elsewhere(loop, [0], 0.3)
    np.testing.assert_allclose(start, [0.3, 0, 0, 0], atol=1e-9)


def test_an_estimate_and_a_box_begin_at_rest_too():
    plant = quadruple_tank()
    loop = controlled(plant, lqg(plant, np.full(4, 0.1), [10.0] * 2, np.full(4, 0.01), [0.1] * 2))
    start = rest_elsewhere(loop, [0, 1], -0.5)
    assert start[0] == pytest.approx(plant.x_eq[0] - 0.5) and start[1] == pytest.approx(plant.x_eq[1])
    motor = dc_motor()
    servo = controlled(motor, pid(motor, 1.0, 2.0, 0.02, filter_time=2e-3))
    edges = servo.plant.x_eq + np.outer([-1, 1], [0.2, 1.0, 0.5, 0.1])
    boxed = scenarios(servo.plant, servo.backup, horizon=10, count=4, box=edges)
    problem = gallery.ControlProblem(servo, boxed, gallery.load("dc_motor")[0].objective_data)
    np.testing.assert_allclose(largest_error(problem, 0, 3.0)[0], 0.2, rtol=1e-9)
    np.testing.assert_allclose(largest_step(problem, [0], 3.0)[[0, 3]], 0.1, rtol=1e-6)  # the filter's edge comes first


def test_peaks_are_farthest_from_rest():
    signal = Signal("power", "%", [np.array([36.0, 45.0, 41.0]), np.array([80.0, 30.0, 41.0])], (0, 100), 41.0)
    assert signal.peaks == (36.0, 80.0)
    response = Response(np.arange(3.0), np.zeros(3), np.zeros((3, 1)), np.zeros((2, 1)), 0.0)
    figure = draw("t", signal, dataclasses.replace(signal, bounds=(-1e3, np.inf)), [response, response])
    assert "bounds ≥ -1000 % not shown" in figure.axes[1].get_title(loc="right")


def test_a_controller_runs_on_the_emulated_device(tmp_path):
    if device.missing():
        pytest.skip(f"{' and '.join(device.missing())} not found")
    problem, _ = gallery.load("heater")
    result = gallery.adapt(problem, AdaptOptions(steps=0, audit=False))
    folder = gallery.export(result, tmp_path / "c", target="cortex-m4f", measured=False).path
    (tmp_path / "work").mkdir()
    found = device.run_on_device(problem.policy, folder, tmp_path / "work")
    assert 50 < found.instructions < 250 and 100 < found.code < 1024 and "200 control vectors" in found.replayed
    source = folder / "src" / "scpo_data.c"
    source.write_text(source.read_text(encoding="utf-8").replace("1.02", "1.12"), encoding="utf-8")
    with pytest.raises(RuntimeError, match="FAILED"):
        device.run_on_device(problem.policy, folder, tmp_path / "work")


def test_the_script_prints_tables_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gallery, "FRESH", 200)
    monkeypatch.setattr(gallery, "run", lambda name, out: original(name, out, fresh=200, options=SHORT))
    monkeypatch.setattr(gallery, "missing", lambda: ("qemu-system-arm",))
    gallery.main(["--only", "heater", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "qemu-system-arm not found" in printed and "kp 1.023 ->" in printed
    assert [line.split()[0] for line in printed.splitlines() if line.startswith(("plant", "heater "))] == [
        "plant", "heater", "plant", "heater",
    ]  # fmt: skip
    assert (tmp_path / "heater.png").stat().st_size > 5000


original = gallery.run
