"""What would be swallowed is refused: subclasses of classes that are read as data, look-alikes, patched instances."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from problems import double_integrator_problem

import scpo_ctrl
from scpo_ctrl import AdaptOptions, ControlProblem, Policy, ScpoError, adapt, lqr, save_result, scenarios
from scpo_ctrl.codegen import export
from scpo_ctrl.errors import ClassError
from scpo_ctrl.loop.metrics import Metrics
from scpo_ctrl.models import Plant, double_integrator
from scpo_ctrl.problem.function_problem import FunctionProblem
from scpo_ctrl.sealed import Sealed

PUBLIC = [getattr(scpo_ctrl, name) for name in scpo_ctrl.__all__]
SEALED = [Metrics, Plant] + [one for one in PUBLIC if isinstance(one, type) and issubclass(one, Sealed)]


def test_every_public_class_that_is_read_as_data_is_sealed():
    names = {one.__name__ for one in SEALED}
    data = {"AdaptOptions", "Backup", "ControlProblem", "Imitation", "MetricOptions", "Policy", "Quadratic", "Result"}
    data |= {"DeviceOptions"}
    assert names == data | {"Constraint", "Controller", "ControllerPolicy", "Cost", "Metrics", "Plant", "Scenarios"}
    for name in ("Problem", "FunctionProblem", "UserObjective"):  # behaviour of the user's own goes here
        assert type("Own", (getattr(scpo_ctrl, name),), {})


@pytest.mark.parametrize("sealed", SEALED, ids=lambda one: one.__name__)
def test_a_subclass_is_refused_with_what_to_use_instead(sealed):
    with pytest.raises(ScpoError, match=rf"class Own extends {sealed.__name__}, .*; \w+") as caught:
        type("Own", (sealed,), {"residual": lambda self, x, theta: 0 * x})
    assert isinstance(caught.value, TypeError)


@pytest.fixture(scope="module")
def problem():
    return double_integrator_problem()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p, like: ControlProblem(like(p.policy), p.scenarios, p.objective_data), "policy is of class"),
        (lambda p, like: ControlProblem(p.policy, like(p.scenarios), p.objective_data), "scenarios is of class"),
        (lambda p, like: ControlProblem(p.policy, p.scenarios, like(p.objective_data)), "objective is of class"),
        (lambda p, like: ControlProblem(p.policy, p.scenarios, p.objective_data, {}), "metrics is of class dict"),
        (lambda p, like: Policy(like(p.plant), p.backup), "plant is of class"),
        (lambda p, like: Policy(p.plant, like(p.backup)), "backup is of class"),
        (lambda p, like: lqr(like(p.plant), [1.0, 1.0], [1.0]), "plant is of class"),
        (lambda p, like: lqr(double_integrator, [1.0, 1.0], [1.0]), "plant is of class function"),
        (lambda p, like: scenarios(p.plant, like(p.backup), horizon=3, count=2), "backup is of class"),
        (lambda p, like: FunctionProblem([0.0], lambda t: t - 1, lambda t: (0.0, t)), "objective is of class function"),
        (lambda p, like: adapt(like(p)), "problem is of class"),
        (lambda p, like: adapt(ControlProblem), "problem is the class ControlProblem itself"),
        (lambda p, like: adapt(p, {"steps": 3}), "options is of class dict"),
        (lambda p, like: adapt(p, AdaptOptions(steps=1), resume_from=like(p)), "resume_from is of class"),
        (lambda p, like: save_result(like(p), "nowhere"), "result is of class"),
        (lambda p, like: export(like(p), "nowhere"), "result is of class"),
    ],
)
def test_a_look_alike_is_refused_by_name(problem, call, words):
    def like(one):
        return SimpleNamespace(**{key: getattr(one, key) for key in dir(type(one)) if not key.startswith("__")})

    with pytest.raises(ClassError, match=words):
        call(problem, like)


def test_an_instance_cannot_be_patched(problem):
    for one in (problem.policy, problem.plant, problem.backup, problem.scenarios):
        with pytest.raises(dataclasses.FrozenInstanceError):
            one.residual = np.zeros
