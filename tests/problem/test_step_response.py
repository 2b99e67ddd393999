"""Limits of step responses: what they say of a trajectory, runs that keep them, and what is refused."""

import casadi as ca
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl import signals
from scpo_ctrl.controllers import pid
from scpo_ctrl.errors import ScpoError, UnsafeStartError
from scpo_ctrl.models import dc_motor, equations, linear, with_signals

LABEL = "position reference"


def servo(signal):
    motor = dc_motor()
    controller = pid(motor, kp=1.0, ki=2.0, kd=0.02, filter_time=2e-3)
    return sc.controlled(motor, controller, reference={LABEL: signal})


def problem(loop, *constraints, count=8):
    batch = sc.scenarios(loop.plant, loop.backup, horizon=160, count=count, level=1e-4)
    return sc.ControlProblem(loop, batch, sc.tracking(loop, [1.0], [1e-4]), sc.MetricOptions(constraints=constraints))


@pytest.fixture(scope="module")
def limited():
    loop = servo(signals.step(0.0, (-0.5, 0.5), at=0.01))
    return problem(loop, sc.overshoot(loop, LABEL, 0.08), sc.settling(loop, LABEL, 0.25, 0.12))


def values(problem, theta, word):
    """Return the metrics of each scenario whose label has a word, (S, k)."""
    which = [word in row.label for row in problem.scenario_metrics.rows]
    return problem.metrics(theta)[problem.of_scenarios].reshape(problem.scenarios.count, -1)[:, which]


def test_overshoot_is_that_of_the_trajectory(limited):
    theta = np.array([1.0, 0.0, 0.0])
    X = limited.trajectories(theta)[0][:, :, 0]
    after = limited.scenarios.p[:, limited.policy.controlled_plant.npar]
    expected = (X - after[:, None]) * after[:, None] / (after[:, None] ** 2 + 0.05**2)
    found = values(limited, theta, "overshoot")
    np.testing.assert_allclose(found.max(axis=1), expected.max(axis=1) - 0.08, rtol=1e-6, atol=1e-8)
    large = np.abs(after) > 0.3
    relative = (X / after[:, None]).max(axis=1)[large] - 1
    np.testing.assert_allclose(found.max(axis=1)[large] + 0.08, relative, rtol=0.03)


def loaded_arm():
    """Return the loop of an arm on which a load begins at 0.5 s."""
    arm = equations(
        name="arm",
        dt=0.01,
        parameters=[{"name": "load", "nominal": 0.0}],
        inputs=[{"name": "voltage", "min": -12.0, "max": 12.0}],
        states=[
            {"name": "position", "min": -2.0, "max": 2.0, "derivative": "speed"},
            {"name": "speed", "min": -50.0, "max": 50.0, "derivative": "50*voltage - 10*speed + load"},
        ],
    )
    arm = with_signals(arm, {"load": signals.step(0.0, (-5.0, 5.0), at=0.5)})
    return sc.controlled(arm, pid(arm, kp=1.0), reference={LABEL: signals.step(0.0, (-0.5, 0.5), at=0.05)})


def test_overshoot_ends_where_a_load_begins():
    loop = loaded_arm()
    early, whole = sc.overshoot(loop, LABEL, 0.08, until=0.5), sc.overshoot(loop, LABEL, 0.08)
    batch = sc.scenarios(loop.plant, loop.backup, horizon=100, count=8, level=1e-4)
    both = sc.ControlProblem(loop, batch, sc.tracking(loop, [1.0]), sc.MetricOptions(constraints=[early, whole]))
    rows, g = both.scenario_metrics.rows, both.metrics(np.zeros(1))[both.of_scenarios].reshape(8, -1)
    ends, goes_on = (g[:, [row.kind == one.name[0] for row in rows]] for one in (early, whole))
    np.testing.assert_array_equal(ends[:, :50], goes_on[:, :50])
    assert (ends[:, 50:] == -0.08).all() and (goes_on[:, 50:] > 0).any()
    with pytest.raises(UnsafeStartError, match=r"end it where a load begins.* \(until\)"):
        sc.adapt(both)


def test_limits_that_begin_or_end_are_verified_at_their_times(tmp_path):
    loop = loaded_arm()
    limits = [sc.overshoot(loop, LABEL, 0.08, until=0.5), sc.settling(loop, LABEL, 0.16, after=0.8)]
    batch = sc.scenarios(loop.plant, loop.backup, horizon=100, count=8, level=1e-4)
    task = sc.ControlProblem(loop, batch, sc.tracking(loop, [1.0]), sc.MetricOptions(constraints=limits))
    result = sc.adapt(task, sc.AdaptOptions(steps=1, audit_rollouts=64))
    result.save(tmp_path / "RUN")
    found = sc.verify(tmp_path / "RUN")
    assert found.passed, found.faults


def test_settling_counts_from_its_time_on(limited):
    theta = np.zeros(3)
    X = limited.trajectories(theta)[0][:, :, 0]
    after = limited.scenarios.p[:, limited.policy.controlled_plant.npar]
    off = np.where(limited.plant.dt * np.arange(161) >= 0.12 - 1e-9, X - after[:, None], 0.0)
    found = values(limited, theta, "settled")
    np.testing.assert_allclose(found.max(axis=1), np.abs(off).max(axis=1) - 0.25, rtol=1e-6, atol=1e-8)


def test_settling_counts_the_sample_that_is_its_instant():
    plant = linear([[0.9]], [[0.1]], 0.03, ([-2.0], [2.0], [-1.0], [1.0]))
    law = pid(plant, 0.5, 0.5)
    loop = sc.controlled(plant, law, reference={law.r_labels[0]: signals.step(0.0, 0.3)})
    late = sc.settling(loop, law.r_labels[0], 0.1, after=0.33)  # 11 samples, and 11 times 0.03 is less than 0.33
    off = ca.Function("off", [loop.plant.x, loop.plant.p], [late.expression])
    found = [float(off([0.5, 0.0], [0.3, 0.03 * k])[0]) for k in range(13)]
    assert np.flatnonzero(found).tolist() == [11, 12]


def test_a_run_keeps_both_on_scenarios_it_never_saw(limited):
    result = sc.adapt(limited, sc.AdaptOptions(steps=12, audit_rollouts=2000))
    assert result.objective_final < 0.4 * result.objective_initial
    fresh = limited.scenarios.declared.random(10_000_000, 1000, 3)
    assert limited.with_scenarios(fresh, result.theta).metrics(result.theta).max() <= 0


STEP, FREE = signals.step(0.0, 0.5), signals.sine(0.0, 0.1, 1.0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sc.overshoot(servo(STEP), "x", 0.1), f"of this loop do: {LABEL}"),
        (lambda: sc.overshoot(servo(STEP), [LABEL], 0.1), "is no reference that varies"),
        (lambda: sc.overshoot(servo(0.5), LABEL, 0.1), "of this loop do: none"),
        (lambda: sc.overshoot(servo(FREE), LABEL, 0.1), "step or a ramp"),
        (lambda: sc.settling(servo(FREE), LABEL, 0.1, 0.1), "does not settle"),
        (lambda: sc.overshoot(servo(STEP), LABEL, 0.0), "most"),
        (lambda: sc.overshoot(servo(STEP), LABEL, 0.1, until=0.0), "until"),
        (lambda: sc.settling(servo(STEP), LABEL, -0.1, 0.1), "band"),
        (lambda: sc.overshoot(servo(signals.step(0.2, 0.2)), LABEL, 0.1), "does not move"),
        (lambda: sc.overshoot("servo", LABEL, 0.1), "ControllerPolicy"),
    ],
)
def test_bad_input(make, says):
    with pytest.raises(ScpoError, match=says):
        make()


def test_a_start_that_overshoots_is_refused():
    loop = servo(STEP)
    with pytest.raises(UnsafeStartError, match="overshoot"):
        sc.adapt(problem(loop, sc.overshoot(loop, LABEL, 1e-9)))


@pytest.mark.parametrize(("after", "part"), [(0.5, 1.01), (0.5 / 3, 1.09), (0.05, 2.0)])
def test_how_much_more_small_steps_may_overshoot(after, part):
    """What the docstring promises of them: most (1 + (ε / Δ)²), ε a tenth of the largest step."""
    loop = servo(signals.step(0.0, (-0.5, 0.5)))
    h, plant = sc.overshoot(loop, LABEL, 0.1).expression, loop.plant
    p = plant.p_nominal.copy()
    p[plant.p_labels.index(f"{LABEL} after")] = after
    x = plant.x_eq.copy()
    x[0] = after * (1 + 0.1 * part)
    assert float(ca.Function("h", [plant.x, plant.u, plant.p], [h])(x, plant.u_eq, p)) == pytest.approx(0.1, rel=1e-9)
