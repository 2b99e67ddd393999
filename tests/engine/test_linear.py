"""Dense plants: tables and loops instead of a statement an entry, with the same numbers."""

import casadi as ca
import numpy as np
import pytest

from scpo_ctrl import ControlProblem, Policy, Quadratic, lqr, scenarios
from scpo_ctrl.compiled import find_compiler
from scpo_ctrl.engine import linear
from scpo_ctrl.engine.casadi_engine import CasadiEngine
from scpo_ctrl.engine.emit import model_header
from scpo_ctrl.engine.loop import Loop, Stage
from scpo_ctrl.engine.rollout import Rollouts
from scpo_ctrl.models import Plant


def dense(n: int, *, nonlinear: bool = False) -> Plant:
    rng = np.random.default_rng(n)
    A, B = rng.normal(size=(n, n)), rng.normal(size=(n, 2))
    A *= 0.9 / np.abs(np.linalg.eigvals(A)).max()
    x, u = ca.SX.sym("x", n), ca.SX.sym("u", 2)
    f = ca.DM(A) @ x + ca.DM(B) @ u
    if nonlinear:
        f[1] += 0.01 * ca.sin(x[0]) ** 2
    bounds = {"x_min": -9 * np.ones(n), "x_max": 9 * np.ones(n), "u_min": -np.ones(2), "u_max": np.ones(2)}
    return Plant(name="dense", x=x, u=u, f=f, dt=0.1, **bounds)


def policy_of(plant: Plant) -> Policy:
    return Policy(plant, lqr(plant, np.ones(plant.nx), 10 * np.ones(2)), (6,))


@pytest.mark.parametrize("nonlinear", [False, True])
def test_tables_hold_the_plants_numbers(nonlinear: bool) -> None:
    plant = dense(20, nonlinear=nonlinear)
    part = linear.linear_part(plant)
    assert part.rows == [i for i in range(20) if not (nonlinear and i == 1)]
    M = np.zeros((20, 22))
    for i in range(20):
        M[i, part.columns[part.starts[i] : part.starts[i + 1]]] = part.values[part.starts[i] : part.starts[i + 1]]
    A, B = plant.linearise()
    assert np.array_equal(M[part.rows], np.hstack([A, B])[part.rows])


def test_neighbours_with_the_same_columns_are_one_matrix() -> None:
    assert linear.linear_part(dense(20)).rows_alike == list(range(20, 0, -1))
    alike = linear.linear_part(dense(20, nonlinear=True)).rows_alike
    assert alike[:2] == [1, 1]  # the second row is statements
    assert alike[2:] == list(range(18, 0, -1))


def test_statements_grow_with_states_not_with_entries() -> None:
    counts = [model_header(policy_of(dense(n))).count(";\n") for n in (20, 40)]
    assert counts[1] - counts[0] <= 2 * 20


def test_small_plants_are_written_as_before() -> None:
    assert linear.linear_part(dense(4)).rows == []


@pytest.mark.table(2)
@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("nonlinear", [False, True])
def test_loops_agree_with_casadi(nonlinear: bool) -> None:
    policy = policy_of(dense(16, nonlinear=nonlinear))
    batch = scenarios(policy.plant, policy.backup, horizon=6, count=5)
    weights = np.ones(16), np.ones(2)
    problem = ControlProblem(policy, batch, Quadratic(*weights))
    other = CasadiEngine(Loop(policy, problem.scenario_metrics, Stage(*weights)))
    theta = problem.theta_initial + 0.01 * np.random.default_rng(0).normal(size=policy.theta_dim)
    mine = Rollouts(policy, batch, problem.scenario_metrics, Quadratic(*weights))
    for ours, theirs in zip(mine.evaluate(theta[None]), other.evaluate(batch, theta[None]), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(mine.gradient(theta), other.gradient(batch, theta), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    jacobian = other.jacobian(batch, theta, None, saturated=False)
    assert np.allclose(mine.jacobian(theta, None), jacobian, rtol=1e-9, atol=1e-11)
    for ours, theirs in zip(mine.gauss_newton(theta), other.gauss_newton(batch, theta), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-11)
