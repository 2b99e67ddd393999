"""Stability at rest as a report words it: of corners of the parameter ranges, and of what lies between them."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from plain import AdaptOptions

from scpo_ctrl import ControlProblem, Imitation, MetricOptions, Policy, Quadratic, adapt, lqr, scenarios
from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.models import Plant
from scpo_ctrl.report.answers import answers
from scpo_ctrl.report.at_rest import is_stable, worst_inside
from scpo_ctrl.report.wording import headline, stability


def adapted(gain: float):
    """Adapt x⁺ = 0.9 x + b(p) u, whose b is 1 at both ends of p in [0, 1] and 2 between them, to u = -gain x."""
    x, u, p = (ca.SX.sym(name) for name in "xup")
    bounds = {"x_min": [-1.0], "x_max": [1.0], "u_min": [-3.0], "u_max": [3.0]}
    f = 0.9 * x + (1 + 4 * p * (1 - p)) * u
    plant = Plant(name="hump", x=x, u=u, p=p, f=f, p_nominal=[0.0], p_labels=("angle",), dt=0.1, **bounds)
    backup = lqr(plant, [0.2], [1.0], parameters={"angle": (0.0, 1.0)})
    batch = scenarios(plant, backup, horizon=4, count=8, level=0.3, parameters={"angle": (0.0, 1.0)})
    states = np.linspace(-1, 1, 21)[:, None]
    problem = ControlProblem(Policy(plant, backup), batch, Imitation(states, -gain * states))
    return adapt(problem, AdaptOptions(steps=10), progress=False)


def test_a_loop_that_is_unstable_between_the_corners_is_not_called_stable():
    result = adapted(0.98)
    gain = -float(result.policy([1e-3])[0]) / 1e-3
    assert result.summary()["spectral_radius_final"] == pytest.approx(
        abs(0.9 - gain)
    )  # of the corners, as the record says
    radius, where = worst_inside(result)
    assert radius == pytest.approx(2 * gain - 0.9, rel=1e-3) and radius > 1 and where == "for angle = 0.5"
    assert not is_stable(result)
    said = stability(result, lambda value: f"{value:.3g}")
    assert said.endswith(
        "0.08, the largest at nominal parameters and the corners of their ranges, but 1.06 for angle = 0.5"
    )
    assert "not stable at rest" in headline(result, result.margin()).word
    assert answers(result, [])[0].said.startswith("not stable")


def test_a_loop_that_is_stable_everywhere_is_called_so():
    result = adapted(0.5)
    assert is_stable(result) and worst_inside(result)[0] < 1
    assert "not stable" not in headline(result, result.margin()).word
    assert "but" not in stability(result, str)


@pytest.mark.parametrize("options", [{}, {"command": False}, {"stability": False, "contraction": 0.99}])
@pytest.mark.parametrize("black_box", [False, True])
def test_rest_that_the_input_cannot_hold_is_none(options, black_box):
    x, u, p = (ca.SX.sym(name) for name in "xup")
    bounds = {"x_min": [-2.0], "x_max": [2.0], "u_min": [-1.0], "u_max": [1.0]}
    f = x + 0.1 * (u - p)
    plant = Plant(name="tank", x=x, u=u, p=p, f=f, p_nominal=[0.0], p_labels=("outflow",), dt=0.1, **bounds)
    backup = lqr(plant, [0.1], [0.1])

    def problem(most: float) -> ControlProblem:
        batch = scenarios(plant, backup, horizon=4, count=4, level=0.2, parameters={"outflow": (-0.2, most)})
        box = {"simulator": lambda x, u, p: x + 0.1 * (u - p)} if black_box else {}
        return ControlProblem(Policy(plant, backup), batch, Quadratic([1.0], [0.1]), MetricOptions(**options), **box)

    fits = problem(1.0)  # held by all of the input
    assert fits.spectral_radius(fits.theta_initial) < 1
    with pytest.raises(UnsafeStartError, match=r"within the bounds .* no equilibrium for outflow = 1.2; narrow"):
        problem(1.2)
