"""Metrics that cannot move: recognised, named, and in the way of no method; violated ones are refused by name."""

import casadi as ca
import numpy as np
import pytest
from plain import AdaptOptions

from scpo_ctrl import (
    ControlProblem,
    FunctionProblem,
    MetricOptions,
    Policy,
    Quadratic,
    UserObjective,
    adapt,
    lqr,
    scenarios,
)
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.errors import DomainError, UnsafeStartError
from scpo_ctrl.models import Plant
from scpo_ctrl.report.tables import details

METHODS = ("gradient", "momentum", "adam", "lbfgs", "newton", "gauss_newton")
REST = [1.0, 5.0]


def buck(starts, floor=0.0, **more) -> ControlProblem:
    """Return an averaged buck converter about 1 A, 5 V (12 V in, 5 ohm), from given states."""
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("vin")
    z, v = x - ca.DM(REST), u - 0.5
    f = ca.DM(REST) + ca.vertcat(0.95 * z[0] - 0.05 * z[1] + 0.1 * p * v, 0.2 * z[0] + 0.9 * z[1])
    plant = Plant(
        name="buck", x=x, u=u, p=p, f=f, dt=5e-5, p_nominal=np.array([10.0]), p_labels=("vin",),
        x_min=[0.0, 3.0], x_max=[2.0, 7.0], u_min=[0.0], u_max=[1.0], x_eq=REST, u_eq=[0.5],
    )  # fmt: skip
    backup = lqr(plant, [0.1, 0.1], [10.0])
    batch = scenarios(plant, backup, horizon=40, initial_states=starts, **more)
    metrics = MetricOptions(contraction=0.3, contraction_floor=floor)
    return ControlProblem(Policy(plant, backup, (4,)), batch, Quadratic([1.0, 1.0], [0.05]), metrics)


MOVING = [[1.2, 5.1], [0.8, 5.2], [1.1, 4.8], [0.9, 4.9]]


@pytest.mark.parametrize("method", METHODS)
def test_a_start_at_the_equilibrium_is_named_and_stops_no_method(method):
    options = AdaptOptions(method=method, steps=15)
    with_rest, without = adapt(buck([REST, *MOVING]), options), adapt(buck(MOVING), options)
    assert len(with_rest.committed) > 1
    fallen = [1 - one.objective_final / one.objective_initial for one in (with_rest, without)]
    assert fallen[0] >= 0.9 * fallen[1] > 0
    assert with_rest.is_safe()
    (note,) = with_rest.notes()
    assert "scenario 0 starts at the equilibrium" in note
    assert ("note", note) in details(with_rest)
    assert without.notes() == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"contraction": 0.3}, "its metrics (of the contraction, 0 <= 0) are satisfied"),
        ({"contraction": 0.3, "contraction_floor": 0.01}, "its metrics (of the contraction, 0 <= 0.01 rho) are"),
        ({}, "its metrics are satisfied"),
    ],
)
def test_the_note_states_what_contraction_comes_to_at_rest(options, said):
    problem = buck([REST, *MOVING])
    other = ControlProblem(problem.policy, problem.scenarios, Quadratic([1.0, 1.0], [0.05]), MetricOptions(**options))
    (note,) = other.notes()
    assert said in note
    row = [metric.kind for metric in other.scenario_metrics.rows].index("contraction") if options else None
    at_zero = other.metrics(other.theta_initial)[row] if options else 0.0  # of scenario 0, which rests
    assert at_zero == -options.get("contraction_floor", 0.0) * other.backup.rho


def test_only_a_scenario_that_stays_at_rest_is_left_out():
    assert buck([REST, *MOVING]).at_rest.tolist() == [True] + 4 * [False]
    drifting = buck([REST, *MOVING], disturbance=[0.01, 0.01])
    assert not drifting.at_rest.any()
    with pytest.raises(UnsafeStartError, match=r"scenario 0 starts at the equilibrium, .* leave that start out"):
        adapt(drifting)
    within = adapt(buck([REST, *MOVING], floor=0.05, disturbance=[0.01, 0.01]), AdaptOptions(steps=3))
    assert within.is_safe()
    assert len(within.committed) > 1
    with pytest.raises(UnsafeStartError, match="raise contraction or contraction_floor"):
        adapt(buck([REST, *MOVING], floor=1e-9, disturbance=[0.01, 0.01]))


def casadi_problem(constant):
    theta = ca.SX.sym("theta", 2)
    objective = (theta[0] - 2) ** 2 + (theta[1] + 1) ** 2
    metrics = ca.vertcat(theta[0] - 1, constant + 0 * theta[0], -1 - theta[1])
    return FunctionProblem.from_casadi(theta, objective, metrics, np.zeros(2), labels=("a", "constant", "b"))


@pytest.mark.parametrize("method", [one for one in METHODS if one != "gauss_newton"])
def test_a_constant_zero_of_the_users_is_named_and_stops_no_method(method):
    result = adapt(casadi_problem(0.0), AdaptOptions(method=method, steps=60))
    assert result.objective_final < 1.5  # 1 at (1, -1); 5 at the start
    assert result.status is not RunStatus.STALLED
    assert result.is_safe()
    (note,) = result.notes()
    assert note.endswith("no step is bent to it: constant")
    assert ("note", note) in details(result)


def test_constant_zeros_of_a_function_are_counted_and_moving_ones_kept():
    def metrics(thetas):
        zero = np.zeros(len(thetas))
        return np.column_stack([zero, thetas[:, 0], zero, thetas[:, 1]])

    objective = UserObjective(lambda theta: (float(np.sum((theta + 1) ** 2)), 2 * (theta + 1)))
    result = adapt(FunctionProblem(np.zeros(2), metrics, objective), AdaptOptions(steps=20))
    assert result.problem.moves.tolist() == [False, True, False, True]
    assert result.objective_final < 0.1
    assert "2 metrics are satisfied and cannot move" in result.notes()[0]


def test_a_metric_that_seemed_constant_still_counts_in_verification():
    def metrics(thetas):  # zero near the start, positive beyond any probe
        return np.where(np.abs(thetas[:, :1]) < 8, 0.0, 1.0)

    objective = UserObjective(lambda theta: (float((theta[0] - 20) ** 2), 2 * (theta - 20)))
    result = adapt(FunctionProblem(np.zeros(1), metrics, objective), AdaptOptions(steps=60))
    assert not result.problem.moves.any()
    assert (np.abs(result.committed) < 8).all()
    assert result.theta[0] > 1


def test_a_constant_is_refused_where_it_is_violated_or_nothing_is_verified():
    with pytest.raises(UnsafeStartError, match="constant is exceeded by"):
        adapt(casadi_problem(0.1))
    with pytest.raises(DomainError, match="constant is zero at the safe start and around it"):
        adapt(casadi_problem(0.0), AdaptOptions(method="gradient", mode="certified", smoothness=1.0))
