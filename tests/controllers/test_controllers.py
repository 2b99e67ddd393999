"""Controllers as data (E10): each against python-control's simulation of the same loop, or sequences by hand."""

import casadi as ca
import control
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl.controllers import gain_schedule, linear_controller, lqg, lqi, pid, state_feedback
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.controlled import controlled
from scpo_ctrl.models import Plant, heater, linear

A, B, C, DT = np.array([[1.0, 0.1], [-0.2, 0.85]]), np.array([[0.0], [0.1]]), np.array([[1.0, 0.0]]), 0.1
BOUNDS = ([-2.0, -5.0], [2.0, 5.0], [-8.0], [8.0])


def servo(*, shows_state: bool = False) -> Plant:
    plant = linear(A, B, DT, BOUNDS, x_labels=("position", "velocity"), u_labels=("force",))
    return plant if shows_state else plant.replace(y=plant.x[0])


def rolled(policy, start, steps, theta=None):
    """Return states of the loop, stepped in numpy by the policy's own command."""
    theta, plant = np.zeros(policy.theta_dim) if theta is None else theta, policy.plant
    states = [np.append(start, plant.x_eq[len(start) :])]
    for _ in range(steps):
        u = policy(states[-1], theta)
        states.append(np.array(plant.function(states[-1], u, plant.p_nominal))[:, 0])
    return np.array(states)


def simulated(loop, start, steps):
    """Return the plant's states of a closed loop by python-control, from an initial state."""
    found = control.initial_response(loop, np.arange(steps + 1) * DT, start)
    return found.states.T


def test_state_feedback_is_the_loop_of_its_gain():
    plant, K = servo(shows_state=True), np.array([[3.0, 2.0]])
    policy = controlled(plant, state_feedback(plant, K))
    expected = simulated(control.ss(A - B @ K, B, np.eye(2), 0, DT), [0.5, 0.1], 40)
    np.testing.assert_allclose(rolled(policy, [0.5, 0.1], 40), expected, atol=1e-12)
    np.testing.assert_allclose(policy.backup.K, K)
    assert policy.parameters(np.zeros(2)) == {"K00": 3.0, "K01": 2.0}


def test_lqi_is_the_loop_that_python_control_makes_of_the_same_weights():
    plant = servo(shows_state=True)
    policy = controlled(plant, lqi(plant, [10.0, 1.0, 50.0], [0.1]))
    joined = np.block([[A, np.zeros((2, 1))], [-DT * C, np.eye(1)]])
    gain, _, _ = control.dlqr(joined, np.vstack([B, [[0.0]]]), np.diag([10.0, 1.0, 50.0]), [[0.1]])
    loop = control.ss(joined - np.vstack([B, [[0.0]]]) @ gain, np.zeros((3, 1)), np.eye(3), 0, DT)
    found, expected = rolled(policy, [0.3, 0.0], 60), simulated(loop, [0.3, 0.0, 0.0], 60)
    np.testing.assert_allclose(found[:, :2], expected[:, :2], atol=1e-10)
    np.testing.assert_allclose(found[:, 2], -gain[0, 2] * expected[:, 2], atol=1e-9)
    assert np.abs(found[-1]).max() < 1e-2


def test_lqg_is_the_predictor_and_feedback_of_python_control():
    plant = servo()
    policy = controlled(plant, lqg(plant, [10.0, 1.0], [0.1], [1e-3, 1e-2], [1e-2]))
    K, _, _ = control.dlqr(A, B, np.diag([10.0, 1.0]), [[0.1]])
    X, _, _ = control.dare(A.T, C.T, np.diag([1e-3, 1e-2]), [[1e-2]])
    L = A @ X @ C.T @ np.linalg.inv(C @ X @ C.T + 1e-2)  # of the predictor, from the filter's Riccati equation
    loop = np.block([[A, -B @ K], [L @ C, A - B @ K - L @ C]])
    expected = simulated(control.ss(loop, np.zeros((4, 1)), np.eye(4), 0, DT), [0.4, 0.0, 0.0, 0.0], 50)
    np.testing.assert_allclose(rolled(policy, [0.4, 0.0], 50), expected, atol=1e-8)


def test_gains_have_the_units_of_what_they_multiply():
    whole = servo(shows_state=True).replace(x_units=("m", "m/s"), u_units=("N",))
    shows = whole.replace(y=whole.x[0], y_labels=("position",), y_units=("m",))
    law = lqg(shows, [1.0, 1.0], [0.1], [1e-6, 1e-6], [1e-6])
    assert dict(zip(law.theta_labels, law.theta_units, strict=True)) == {
        "K00": "N/m", "K01": "N/(m/s)", "L00": "", "L10": "(m/s)/m"
    }  # fmt: skip
    law = lqi(whole, [1.0, 1.0, 1.0], [0.1], tracked="position")
    assert dict(zip(law.theta_labels, law.theta_units, strict=True)) == {
        "K00": "N/m", "K01": "N/(m/s)", "Ki": "N/(m s)"
    }  # fmt: skip


@pytest.mark.parametrize("form", ["parallel", "standard"])
def test_pid_is_the_loop_of_its_transfer_function(form):
    kp, ki, kd, slow = 6.0, 4.0, 1.5, 0.05
    gains = (kp, ki, kd) if form == "parallel" else (kp, kp / ki, kd / kp)
    plant = servo()
    policy = controlled(plant, pid(plant, *gains, filter_time=slow, form=form, anti_windup="none"))
    z = control.tf("z")
    z.dt = DT
    law = kp + ki * DT / (z - 1) + kd * (z - 1) / ((slow + DT) * z - slow)
    law.dt = DT
    series = control.ss(control.minreal(law, verbose=False))
    loop = control.feedback(control.ss(A, B, C, 0, DT), series)
    radius = np.abs(control.poles(loop)).max()
    assert np.abs(np.linalg.eigvals(linearised(policy))).max() == pytest.approx(radius, rel=1e-6)
    states = rolled(policy, [0.1, 0.0], 60)
    y, errors, u, last, integral = states[:, 0], [], [], 0.0, 0.0
    for k in range(60):  # the same law by its sums
        derivative = (y[k] - last) / (slow + DT)
        u.append(-kp * y[k] + integral - kd * derivative)
        last += DT / (slow + DT) * (y[k] - last)
        integral -= ki * DT * y[k]
        errors.append(y[k])
    expected = [np.array([0.1, 0.0])]
    for command in u:
        expected.append(A @ expected[-1] + B[:, 0] * command)
    np.testing.assert_allclose(states[:, :2], expected, atol=1e-12)


def linearised(policy):
    plant = policy.plant
    s, theta = ca.SX.sym("s", plant.nx), ca.DM.zeros(policy.theta_dim)
    following = plant.function(s, policy.command(s, theta), ca.DM(plant.p_nominal))
    return np.array(ca.Function("A", [s], [ca.jacobian(following, s)])(plant.x_eq))


@pytest.mark.parametrize("form", ["parallel", "standard"])
def test_pd_and_p_are_pid_without_what_is_left_out(form):
    kp, kd, slow, plant = 6.0, 1.5, 0.05, servo()
    rest = plant.replace(x_eq=[0.5, 0.0], u_eq=[1.0])  # A holds the position with a force of one
    gains = (kp, None, kd) if form == "parallel" else (kp, None, kd / kp)
    pd = controlled(rest, pid(rest, *gains, filter_time=slow, form=form), reference=[0.5])
    assert pd.controller.name == "PD" and pd.plant.x_labels[2:] == ("filtered y0",)
    state = np.array([0.3, 0.1, 0.4])
    expected = 1.0 + kp * 0.2 - kd * (0.3 - 0.4) / (slow + DT)
    np.testing.assert_allclose(pd(state, [0.0, 0.0]), [expected, 0.4 + DT / (slow + DT) * (0.3 - 0.4)], rtol=1e-12)
    p = controlled(rest, pid(rest, kp, form=form), reference=[0.5])
    assert p.controller.name == "P" and p.plant.nx == 2 and list(p.parameters([0.0])) == [*pd.parameters([0, 0])][:1]
    assert p(np.array([0.3, 0.1]), [0.0]) == pytest.approx([1.0 + kp * 0.2])


def test_anti_windup_by_hand():
    plant = servo()
    back = controlled(plant, pid(plant, 6.0, 4.0, tracking_time=0.5))
    stop = controlled(plant, pid(plant, 6.0, 4.0, anti_windup="conditional"))
    never = controlled(plant, pid(plant, 6.0, 4.0, anti_windup="none"))
    state = np.array([-1.5, 0.0, 1.0])  # error 1.5, v = 9 + 1, cut to 8
    assert back(state, np.zeros(2)) == pytest.approx([8.0, 1.0 + 4 * DT * 1.5 - DT / 0.5 * 2.0])
    assert stop(state, np.zeros(2)) == pytest.approx([8.0, 1.0])
    assert never(state, np.zeros(2)) == pytest.approx([8.0, 1.0 + 4 * DT * 1.5])
    unwinding = np.array([0.5, 0.0, 14.0])  # v = -3 + 14: cut, and the error drives it back
    assert stop(unwinding, np.zeros(2)) == pytest.approx([8.0, 14.0 - 4 * DT * 0.5])
    beyond = np.array([-1.5, 0.0, 15.9])
    assert never(beyond, np.zeros(2)) == pytest.approx([8.0, 16.0])  # memory is cut at its own bound


def test_setpoint_weight_and_reference():
    plant = servo()
    for weight in (0.0, 0.4, 1.0):
        policy = controlled(plant, pid(plant, 6.0, 4.0, setpoint_weight=weight), reference=[0.5])
        u_eq = 0.2 * 0.5 / 0.1  # what holds the position
        np.testing.assert_allclose(policy.plant.x_eq, [0.5, 0.0, u_eq - 6.0 * (weight - 1) * 0.5], atol=1e-9)
        assert policy.plant.u_eq[0] == pytest.approx(u_eq)


def test_setpoint_weight_counts_from_where_the_plant_is_at_rest():
    plant = heater()  # at 60 degC, under 41 %
    for weight, reference in ((0.0, 60.0), (0.0, 62.0), (0.6, 62.0)):
        policy = controlled(plant, pid(plant, 3.0, 0.02, setpoint_weight=weight), reference=[reference])
        u_eq = (reference - 23) / 0.9
        assert policy.plant.u_eq[0] == pytest.approx(u_eq)
        assert policy.plant.x_eq[0] == pytest.approx(reference)
        assert policy.plant.x_eq[-1] == pytest.approx(u_eq + 3.0 * (1 - weight) * (reference - 60))
        warmer = policy(policy.plant.x_eq + np.eye(policy.plant.nx)[0], np.zeros(2))
        assert warmer[0] == pytest.approx(u_eq - 3.0)


def test_a_linear_controller_is_its_transfer_function():
    plant, lead = servo(), control.tf([8.0, -7.0], [1.0, -0.5], DT)
    policy = controlled(plant, linear_controller(plant, lead, memory=20.0))
    loop = control.feedback(control.ss(A, B, C, 0, DT), control.ss(lead))
    found, expected = np.sort_complex(np.linalg.eigvals(linearised(policy))), np.sort_complex(control.poles(loop))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(
        rolled(policy, [0.2, 0.0], 30)[:, :2], simulated(loop, [0.2, 0.0, 0.0], 30)[:, :2], atol=1e-10
    )
    gain = linear_controller(plant, control.ss([], [], [], [[6.0]], DT), memory=1.0)
    assert gain.memories == 0 and gain.theta_labels == ("D",)
    np.testing.assert_allclose(controlled(plant, gain).backup.K, [[6.0, 0.0]])


def test_a_gain_schedule_interpolates_its_table():
    plant, table = servo(shows_state=True), np.array([[[2.0, 1.0]], [[6.0, 3.0]], [[4.0, 2.0]]])
    policy = controlled(plant, gain_schedule(plant, [-1.0, 0.0, 0.5], table, signal=0))
    between = (table[0] + 3 * table[1]) / 4, (table[1] + table[2]) / 2
    cases = (-2.0, table[0]), (-1.0, table[0]), (-0.25, between[0]), (0.25, between[1]), (1.0, table[2])
    for position, K in cases:
        state = np.array([position, 0.1])
        np.testing.assert_allclose(policy(state, np.zeros(6)), np.clip(-K[0] @ state, -8, 8), atol=1e-12)
    assert policy.backup.evidence == "simulated"  # its law is not linear


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda plant: pid(plant.replace(y=2 * plant.x[0]), 1.0, 1.0, 1.0, filter_time=0.1), DomainError, "filtered ="),
        (lambda plant: pid(plant, 1.0, 1.0, 1.0), DomainError, "filter_time"),
        (lambda plant: pid(plant, 1.0, np.nan), DomainError, "ki"),
        (lambda plant: pid(plant, 1.0, 0.0), DomainError, "leave ki out"),
        (lambda plant: pid(plant, 1.0, 0, form="standard"), DomainError, "Ti is 0 s, .* leave ki out"),
        (lambda plant: pid(plant, 1.0, tracking_time=1.0), DomainError, "tracking_time is without effect .* ki"),
        (lambda plant: pid(plant, 1.0, anti_windup="none"), DomainError, "anti_windup is without effect .* ki"),
        (lambda plant: pid(plant, 1.0, 1.0, form="ideal"), DomainError, "form"),
        (lambda plant: pid(plant, 1.0, 1.0, measurement=1), DomainError, "measurement"),
        (lambda plant: lqi(plant, [1.0, 1.0, 1.0], [1.0]), DomainError, "whole state"),
        (lambda plant: lqi(servo(shows_state=True), [1.0, 1.0, 1.0], [1.0], tracked=(0, 1)), DimensionError, "tracked"),
        (lambda plant: lqi(servo(shows_state=True), [1.0, 1.0], [1.0]), DimensionError, "Q"),
        (lambda plant: lqg(plant, [1.0, 1.0], [1.0], [1.0, 1.0], [-1.0]), DomainError, "sensor_noise"),
        (lambda plant: state_feedback(plant, [[1.0, 1.0]]), DomainError, "whole state"),
        (lambda plant: linear_controller(plant, control.tf([1.0], [1.0, 1.0]), memory=1.0), DomainError, "sample_sys"),
        (lambda plant: linear_controller(plant, 3.0, memory=1.0), DomainError, "control.StateSpace"),
        (lambda plant: gain_schedule(servo(shows_state=True), [1, 0], np.ones((2, 1, 2)), signal=0), DomainError, "as"),
    ],
)  # fmt: skip
def test_what_is_refused(make, error, says):
    with pytest.raises(error, match=says.replace("(", r"\(").replace(")", r"\)")):
        make(servo())


def test_a_controller_is_for_a_discrete_plant():
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    continuous = Plant(
        name="c", x=x, u=u, f=ca.vertcat(x[1], u), x_min=[-1, -1], x_max=[1, 1], u_min=[-1], u_max=[1], y=x[0]
    )
    with pytest.raises(sc.ScpoError, match="discretise"):
        pid(continuous, 1.0, 1.0)


def test_signals_are_named_or_numbered():
    plant, weights = servo(shows_state=True), ([1.0, 1.0, 1.0], [1.0])
    table = np.array([[[2.0, 1.0]], [[6.0, 3.0]]])
    same = [
        (lqi(plant, *weights, tracked=[1]), lqi(plant, *weights, tracked="velocity")),
        (pid(plant, 1.0, 1.0, measurement=1), pid(plant, 1.0, 1.0, measurement="velocity")),
        (gain_schedule(plant, [0, 1], table, signal=1), gain_schedule(plant, [0, 1], table, signal="velocity")),
    ]
    for numbered, named in same:
        for of in ("command", "memory"):
            laws = [ca.Function("law", [c.theta, c.y, c.r, c.u, c.xi], [getattr(c, of)]) for c in (numbered, named)]
            assert str(laws[0]) == str(laws[1])
            at = [np.full(laws[0].size1_in(i), 0.3 + i) for i in range(5)]
            np.testing.assert_array_equal(laws[0](*at), laws[1](*at))
        assert numbered.r_labels == named.r_labels
    loop = controlled(plant, lqi(plant, *weights))
    by_name, by_number = (sc.tracking(loop, Q=[1.0], outputs=which) for which in ("position", 0))
    assert ca.is_equal(by_name.stage, by_number.stage, 99)


@pytest.mark.parametrize("which", ["speed", 2, -1, True, 0.0, None, [[0]], {"velocity": 1}])
def test_a_signal_that_there_is_not_is_answered_by_names(which):
    plant = servo(shows_state=True)
    loop = controlled(plant, lqi(plant, [1.0, 1.0, 1.0], [1.0]))
    for name, make in {
        "tracked": lambda: lqi(plant, [1.0, 1.0, 1.0], [1.0], tracked=which),
        "measurement": lambda: pid(plant, 1.0, 1.0, measurement=which),
        "signal": lambda: gain_schedule(plant, [0, 1], np.ones((2, 1, 2)), signal=which),
        "outputs": lambda: sc.tracking(loop, Q=[1.0], outputs=[which]),
    }.items():
        with pytest.raises(DomainError, match=f"^{name}.* is .*, expected .*: 0 'position', 1 'velocity'$"):
            make()
    twins = plant.replace(x_labels=("twin", "twin"))
    with pytest.raises(DomainError, match="which several have"):
        lqi(twins, [1.0, 1.0, 1.0], [1.0], tracked="twin")
