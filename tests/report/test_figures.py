"""Figures of the report: trajectories, level sets, bounds and signals are those of the run."""

import copy
import dataclasses

import numpy as np
import pytest
from problems import control_problem, scalar_problem, two_input_problem
from report_runs import bounds_drawn, headings, run, svgs

from scpo_ctrl import ControlProblem, MetricOptions
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.models import linear
from scpo_ctrl.report.figures import phase_figure, signals_figure
from scpo_ctrl.report.page import render_report
from scpo_ctrl.report.trajectories import level_set, projections, roll, shown_states, spread, state_use


@pytest.fixture(scope="module")
def two_inputs() -> Result:
    return run(two_input_problem())


# --- trajectories and the level set -------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [(0, 1), (1, 3), (3, 0)])
def test_projected_level_set_holds_every_state_and_touches_them(pair):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(4, 4))
    P, rho = root @ root.T + 0.1 * np.eye(4), 2.5
    ring = level_set(P, rho, pair, 2000)
    z = rng.normal(size=(200_000, 4))
    z *= np.sqrt(rho / np.einsum("ki,ij,kj->k", z, P, z))[:, None]  # all on the boundary of {V ≤ ρ}
    for angle in np.linspace(0, np.pi, 7):
        normal = np.array([np.cos(angle), np.sin(angle)])
        reached, drawn = np.max(z[:, pair] @ normal), np.max(ring @ normal)
        assert reached <= drawn * (1 + 1e-5)
        assert reached >= 0.97 * drawn
    assert np.allclose(ring[0], ring[-1])


def test_phase_portrait_draws_that_ellipse_around_the_equilibrium(two_inputs):
    plant, backup = two_inputs.problem.plant, two_inputs.problem.backup
    X = two_inputs.problem.trajectories(two_inputs.theta)[0]
    figure = phase_figure(two_inputs)
    pairs = projections(plant, X)
    assert len(figure.axes) == len(pairs) == 2
    for ax, pair in zip(figure.axes, pairs, strict=True):
        ring = level_set(backup.P, backup.rho, pair) + plant.x_eq[list(pair)]
        assert any(line.get_xydata().shape == ring.shape and np.allclose(line.get_xydata(), ring) for line in ax.lines)
        assert ax.get_xlabel() == plant.x_labels[pair[0]]
        assert ax.get_ylabel() == plant.x_labels[pair[1]]


def test_trajectories_before_and_after_are_those_of_the_policies(plain):
    rolled = roll(plain, 64)
    X, U = plain.problem.trajectories(plain.theta)
    assert np.array_equal(rolled.X_after, X)
    assert np.array_equal(rolled.U_after, U)
    assert np.allclose(rolled.U_before, -rolled.X_before[:, :-1] @ plain.problem.backup.K.T, rtol=0, atol=1e-12)


def test_a_choice_of_scenarios_rolls_out_as_all_of_them_and_keeps_the_tightest():
    problem = control_problem(linear([[0.9]], [[0.5]], 0.1, ([-2.0], [2.0], [-1.0], [1.0])), count=40)
    w = np.random.default_rng(2).uniform(-0.05, 0.05, (40, 10, 1))
    disturbed = dataclasses.replace(problem.scenarios, w=w)
    problem = ControlProblem(problem.policy, disturbed, problem.objective_data, problem.scenario_metrics.options)
    result = run(problem, steps=2)
    rolled = roll(result, 5)
    X, _ = problem.trajectories(result.theta)
    assert rolled.scenarios.size == 5
    assert np.array_equal(rolled.X_after, X[rolled.scenarios])
    worst = problem.metrics(result.theta)[problem.of_scenarios].reshape(40, -1).max(axis=1)
    assert int(np.argmax(worst)) in rolled.scenarios
    assert problem.rollouts.batch.count == 40


def test_spread_chooses_each_point_once_and_the_far_ones():
    points = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    assert spread(points, 1, 3).tolist() == [1, 2, 3]
    assert spread(np.zeros((6, 2)), 4, 5).size == np.unique(spread(np.zeros((6, 2)), 4, 5)).size == 5
    assert spread(points, 0, 9).tolist() == [0, 1, 2, 3, 4]


def test_projections_pair_a_coordinate_with_its_rate():
    dt = 0.1
    A = np.eye(4) + dt * np.eye(4, k=2)  # two coordinates, then their rates
    A[2, 2] = A[3, 3] = 0.9
    plant = linear(A, np.eye(4)[:, 2:], dt, (-np.ones(4), np.array([1, 1, np.inf, 1]), -np.ones(2), np.ones(2)))
    X = np.array([[0.1, 0.5, 7.0, -0.2]])
    assert state_use(plant, X).tolist() == pytest.approx([0.1, 0.5, 0.0, 0.2])
    assert projections(plant, X) == [(1, 3), (0, 2)]
    assert shown_states(plant, X) == [0, 1, 2, 3]
    assert state_use(plant, np.full((2, 4), np.nan)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("nx", "panels"), [(1, 0), (2, 1), (3, 2), (4, 2), (6, 4), (10, 4)])
def test_projections_are_as_many_as_the_page_has_room_for(nx, panels):
    plant = linear(0.9 * np.eye(nx), np.ones((nx, 1)), 0.1, (-np.ones(nx), np.ones(nx), [-1.0], [1.0]))
    X = np.arange(nx) / nx
    pairs = projections(plant, X)
    assert len(set(pairs)) == panels
    assert len(shown_states(plant, X)) == min(nx, 8)
    if nx > 2:
        assert len(set(np.ravel(pairs))) == min(nx, 2 * panels)  # as many states as the panels can show
        assert pairs[0] == (nx - 2, nx - 1)  # no rates here: the states closest to their bounds


def test_signals_stand_between_their_bounds_before_and_after(two_inputs):
    plant = two_inputs.problem.plant
    axes = np.array(signals_figure(two_inputs).axes).reshape(6, 2)
    labels = [ax.get_ylabel() for ax in axes[:, 0]]
    assert labels == ["valve\n[%]", "heater\n[kW]", "x0", "x1", "x2", "x3"]
    for i, row in enumerate(axes[:2]):
        for ax in row:
            assert bounds_drawn(ax) == pytest.approx([plant.u_min[i], plant.u_max[i]])
    assert plant.x_max[3] == np.inf
    for ax in axes[5]:
        assert bounds_drawn(ax) == pytest.approx([plant.x_min[3]])
        assert np.isfinite(ax.get_ylim()).all()
        assert ax.get_title(loc="right") == ""  # a bound that is not there is not out of view either


def test_a_bound_far_from_every_value_is_named_instead_of_drawn():
    plant = linear(0.9 * np.eye(2), np.eye(2), 0.1, (-np.ones(2), [1.0, 1e4], -np.ones(2), np.ones(2)))
    result = run(control_problem(plant), steps=1)
    for ax in (phase_figure(result).axes[0], signals_figure(result).axes[7]):
        assert bounds_drawn(ax)[0] == -1.0
        assert ax.get_ylim()[1] < 10
        assert "bound 1e+04 out of view" in ax.get_title(loc="right")


def test_inputs_beyond_their_bounds_are_cut_where_saturation_is_part_of_the_loop(plain, page):
    problem = plain.problem
    assert "on the input before saturation" in page
    loose = type(problem)(
        problem.policy, problem.scenarios, problem.objective_data, MetricOptions(command=False, terminal=True)
    )
    theta = problem.theta_initial.copy()
    theta[-problem.policy.widths[-2] :] = 50.0
    result = dataclasses.replace(plain, problem=loose, theta=theta)
    assert np.abs(roll(result, 64).U_after).max() > 2
    (lines,) = signals_figure(result).axes[1].collections
    assert len(lines.get_paths()) == problem.scenarios.count
    assert max(np.abs(path.vertices[:, 1]).max() for path in lines.get_paths()) == 1.0
    notes = render_report(dataclasses.replace(result, theta=plain.theta), pictures=False)
    assert "the input is saturated inside the closed loop" in notes
    assert "Terminal metric: V(x_N) ≤ ρ" in notes


def test_a_diverged_rollout_does_not_set_the_scale(plain):
    def diverged(theta, scenarios=None):
        X, U = type(plain.problem.rollouts).trajectories(plain.problem.rollouts, theta, scenarios)
        X[0, 3:], U[1, 2:] = 1e200, np.nan
        return X, U

    result = dataclasses.replace(plain, problem=with_trajectories(plain.problem, diverged))
    for figure in (phase_figure(result), signals_figure(result)):
        for ax in figure.axes:
            assert np.abs(ax.get_ylim()).max() < 20


def with_trajectories(problem, trajectories):
    """Return a copy of a problem that draws other trajectories."""
    problem = copy.copy(problem)
    problem.rollouts = copy.copy(problem.rollouts)
    problem.trajectories = trajectories
    return problem


def test_one_state_is_drawn_over_time_with_the_level_set_as_a_band():
    result = run(scalar_problem())
    plant, backup = result.problem.plant, result.problem.backup
    (ax,) = phase_figure(result).axes
    assert ax.get_xlabel() == "time [s]"
    half = np.sqrt(backup.rho / backup.P[0, 0])
    levels = [float(line.get_ydata()[0]) for line in ax.lines if line.get_color() == "#009e73"]
    assert levels == pytest.approx([-half, half])
    assert set(bounds_drawn(ax)) <= {-2.0, 2.0}
    assert ax.get_xlim()[1] == pytest.approx(result.problem.scenarios.horizon * plant.dt)
    page = render_report(result)
    assert headings(page)[0] == "State and level set"
    assert "1 of 1 committed policy" not in page
    assert len(svgs(page)) == 4
