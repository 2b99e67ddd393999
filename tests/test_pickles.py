"""What is pickled or copied in full is the same: to the last bit, in a process that has seen nothing of it."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import casadi as ca
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl import controllers, interfaces, models
from scpo_ctrl.errors import ClassError, DomainError
from scpo_ctrl.models import signals


def again(one):
    """Return what a pickle of an object gives."""
    return pickle.loads(pickle.dumps(one))


def box(x, u, p):
    """Step a double integrator of 0.1 s."""
    following = np.stack([x[:, 0] + 0.1 * x[:, 1], x[:, 1] + 0.1 * u[:, 0] / p[:, 0]], axis=1)
    return following + 0.005 * u / p * [1.0, 0.0]


def squares(theta):
    """Return an objective of parameters alone."""
    return float(theta @ theta), 2 * theta


def below_one(thetas):
    """Return metrics of parameters alone."""
    return thetas - 1.0


def by_expressions():
    plant = models.double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    power = sc.Constraint(name="power", expression=plant.u * plant.x[1], bound=2.0, unit="W")
    metrics = sc.MetricOptions(constraints=power, contraction=0.9, one_step=0.01, du_max=[0.9])
    cost = sc.Cost(plant.x[0] ** 2 + plant.u**2 / plant.p, terminal=plant.x[1] ** 2, R_du=0.1)
    batch = sc.scenarios(plant, backup, horizon=25, count=5, level=0.3, parameters={"mass": (0.9, 1.1)})
    return sc.ControlProblem(sc.Policy(plant, backup, (3,)), batch, cost, metrics)


def by_a_controller():
    motor = models.dc_motor()
    law = controllers.pid(motor, kp=0.5, ki=1.0, kd=0.02, filter_time=2e-3, bounds={"kp": (0.1, 2.0)})
    loop = sc.controlled(motor, law, reference={law.r_labels[0]: signals.step(0.0, (-0.3, 0.3), at=0.01)})
    batch = sc.scenarios(loop.plant, loop.backup, horizon=20, count=3, level=0.05)
    return sc.ControlProblem(loop, batch, sc.tracking(loop, Q=[1.0]))


def loop():
    plant = models.double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=4, count=2)
    return sc.ControlProblem(sc.Policy(plant, backup, (2,)), batch, sc.Quadratic([1.0, 0.1], [0.05]))


def by_a_box():
    one = loop()
    expert = sc.Imitation(np.array([[0.1, 0.0], [0.0, 0.1]]), np.array([[-0.1], [0.1]]))
    return sc.ControlProblem(one.policy, one.scenarios, expert, simulator=box)


def by_expressions_of_theta():
    theta = ca.MX.sym("theta", 2)
    return sc.FunctionProblem.from_casadi(theta, ca.sumsqr(theta - 2), ca.exp(theta) - 3, [0.0, 0.5], labels=("a", "b"))


def by_functions():
    return sc.FunctionProblem([0.1, 0.2], below_one, sc.UserObjective(squares))


PROBLEMS = [by_expressions, by_a_controller, by_a_box, by_expressions_of_theta, by_functions]


def numbers(problem):
    """Return numbers that everything in a problem enters."""
    theta = problem.theta_initial + 0.01
    objective, metrics = problem.evaluate(theta)
    found = [metrics, problem.gradient(theta), np.array([objective])]
    if problem.has_derivatives:
        found.append(problem.lagrangian_gradients(theta[None], np.ones(metrics.size))[0])
    return np.concatenate(found), [problem.metric_label(i) for i in range(metrics.size)], repr(problem)


def headers(problem):
    """Return the C of a problem's loop."""
    return problem.rollouts._engine._library._header


@pytest.fixture(scope="module")
def elsewhere():
    """Call functions of this module in a process that has seen nothing; arguments and results are pickled."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


@pytest.fixture(scope="module")
def problems():
    return [make() for make in PROBLEMS]


def all_numbers(problems):
    return [numbers(one) for one in problems]


def test_problems_in_another_process_have_the_same_bits(problems, elsewhere):
    for problem, (values, labels, shown) in zip(problems, elsewhere(all_numbers, problems), strict=True):
        mine = numbers(problem)
        assert np.array_equal(values, mine[0])
        assert (labels, shown) == mine[1:]


def all_problems():
    return [make() for make in PROBLEMS]


def test_problems_come_back_from_another_process(problems, elsewhere):
    """What was made there works here, with symbols that nobody here had."""
    for problem, other in zip(problems, elsewhere(all_problems), strict=True):
        assert np.array_equal(numbers(other)[0], numbers(problem)[0])


def test_copies_in_full_share_no_array(problems):
    for problem in problems:
        other = copy.deepcopy(problem)
        before = numbers(problem)[0]
        assert np.array_equal(numbers(other)[0], before)
        other.theta_initial += 1.0
        assert np.array_equal(numbers(problem)[0], before)
    mine = problems[0]
    other = copy.deepcopy(mine)
    other.scenarios.x0[:] = 0.0
    assert mine.scenarios.x0.any()
    assert mine.policy.backup.evidence == other.policy.backup.evidence == "proved"
    assert not again(mine.policy.backup).P.flags.writeable


def test_a_problem_over_other_scenarios_keeps_what_it_was_posed_on(problems):
    mine = problems[0]
    other = mine.with_scenarios(mine.scenarios.part(slice(0, 2)), mine.theta_initial + 0.01)
    loaded = again(other)
    assert loaded.scenarios.count == 2
    assert np.array_equal(loaded.theta_initial, other.theta_initial)
    assert np.array_equal(loaded.one_step.cloud.x0, mine.one_step.cloud.x0)
    assert np.array_equal(numbers(loaded)[0], numbers(other)[0])


def test_runs_go_on_from_a_pickle_to_the_same_bits(problems):
    options = sc.AdaptOptions(steps=3, audit=False)
    first = sc.adapt(problems[0], replace(options, steps=1))
    loaded = again(first)
    assert (repr(loaded), loaded.is_safe()) == (repr(first), True)
    gone_on = sc.adapt(loaded.problem, options, resume_from=loaded)
    assert np.array_equal(gone_on.theta, sc.adapt(problems[0], options).theta)


def loaded_apart(plant, cost):
    """Return a plant as it is here, and the value of a cost that was pickled by itself."""
    plant, cost = pickle.loads(plant), pickle.loads(cost)
    ones = [np.full(size, 2.0) for size in (plant.nx, plant.nu, plant.nu)]
    return plant, float(cost.terms(plant, plant.nu).stage(*ones, plant.p_nominal))


@pytest.mark.table(1)
@pytest.mark.parametrize("make", [models.double_integrator, models.cart_pole, models.afti_16, models.buck_converter])
def test_plants_have_the_same_expressions(make, elsewhere):
    plant = make()
    other, value = elsewhere(loaded_apart, pickle.dumps(plant), pickle.dumps(sc.Cost(plant.x[0] ** 2 * plant.u[0])))
    assert value == 8.0
    assert other.function.serialize() == plant.function.serialize()
    assert repr(other) == repr(plant)
    assert other.x[0].element_hash() == plant.x[0].element_hash()  # at home they are the plant's own symbols
    with pytest.raises(DomainError, match="symbol"):
        sc.Cost(make().x[0] ** 2).terms(again(plant), plant.nu)


def test_compiled_loops_are_found_again(problems):
    """The C of a loop that was loaded is that of the loop, so nothing is compiled twice."""
    for mine in problems[:2]:
        assert headers(again(mine)) == headers(mine)


def test_threads_that_load_at_once_get_the_same_symbols():
    plants = [models.double_integrator() for _ in range(20)]
    data = [pickle.dumps(plant) for plant in plants]
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(pickle.loads, data * 4))
    for i, plant in enumerate(plants):
        assert {one.x[1].element_hash() for one in loaded[i::20]} == {plant.x[1].element_hash()}


def test_what_is_at_work_says_what_to_hand_over():
    with interfaces.SimulatorPool(box_factory, workers=1) as pool:
        for one, remedy in ((sc.Adapter(loop()), "resume_from=result"), (pool, "its factory")):
            for act in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(ClassError, match=remedy):
                    act(one)


def box_factory():
    """Return a simulator, for a pool."""
    return box
