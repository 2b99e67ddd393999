"""Online use: a policy adapts while it drives a plant whose mass its model does not know.

A mass on a line is brought to rest again and again, from another state each time. The model says 1 kg, the real one is
1.2 kg; the scenarios cover 0.8 to 1.3 kg. After every 25 samples the policy takes one step of the adaptation, verified
on the model in all scenarios.

    python examples/online.py [--steps N] [--figure PATH]
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from support.common import arguments, print_table, save, violations

from scpo_ctrl import (
    Adapter,
    AdaptOptions,
    ControlProblem,
    Learned,
    MetricOptions,
    Mismatch,
    Policy,
    Quadratic,
    Result,
    Scenarios,
    lqr,
    scenarios,
)
from scpo_ctrl.models import double_integrator
from scpo_ctrl.report.figures import AFTER, BEFORE, FORBIDDEN, INK, LIMIT, style

PALE = "#8fbfdd"

# --- Problem ---------------------------------------------------------------------------------------------------------
#   plant      |position| <= 5 m, |velocity| <= 1.5 m/s, |force| <= 1 N, a sample every 0.1 s
#   backup     LQR with Q = 0.1 I, R = 10
#   policy     the backup plus a 2-12-1 tanh network: 48 parameters
#   objective  x' diag(1, 0.1) x + 0.05 u², the mean over 64 scenarios of 50 time steps
#   scenarios  from 16 directions and two sizes, each with the lightest and the heaviest mass
#   safety     the bounds at each time step, and the backup's invariant level set at the last one

MASS = 1.2  # kg, of the real plant
MODEL_MASSES = (0.8, 1.3)  # kg, of the scenarios
Q, R = np.array([1.0, 0.1]), np.array([0.05])
SIZES = (0.95, 0.5)  # of the scenarios' initial states: square roots of the level V / rho
STARTS, LEVEL = 10, 0.8  # states in which episodes begin, in turn, drawn from the level set {V <= 0.8 rho}
EPISODE = 50  # samples
STEPS, EVERY = 100, 25  # steps of the adaptation, and samples between them


def make_problem() -> ControlProblem:
    """Make the model's problem."""
    plant = double_integrator()
    backup = lqr(plant, Q=[0.1, 0.1], R=[10.0])
    angle = np.arange(16) * np.pi / 8
    ring = np.column_stack([np.cos(angle), np.sin(angle)]) @ np.linalg.cholesky(backup.rho * np.linalg.inv(backup.P)).T
    x0 = np.vstack([size * ring for size in SIZES for _ in MODEL_MASSES])
    mass = np.tile(np.repeat(MODEL_MASSES, len(ring)), len(SIZES))[:, None]
    batch = Scenarios(x0, mass, np.zeros((len(x0), EPISODE, 0)), EPISODE)
    policy = Policy(plant, backup, hidden=(12,))
    return ControlProblem(policy, batch, Quadratic(Q, R), MetricOptions(terminal=True))


def real_plant(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Move the real mass for one sample."""
    acceleration = u[0] / MASS
    return np.array([x[0] + 0.1 * x[1] + 0.005 * acceleration, x[1] + 0.1 * acceleration])


def initial_states(problem: ControlProblem) -> np.ndarray:
    """Draw the states in which episodes begin."""
    return scenarios(problem.plant, problem.backup, horizon=1, count=STARTS, level=LEVEL, seed=1).x0


# --- Adaptation ------------------------------------------------------------------------------------------------------
# The loop that a controller runs: command, apply, measure, observe. The other policy is there to compare with.


@dataclass(frozen=True)
class Outcome:
    """What was measured, a row per episode, for the table, the figure and the tests."""

    cost: np.ndarray  # (episodes, 2) mean stage cost of the backup and of the policy while it adapts
    margin: np.ndarray  # (episodes, 2) least distance of a measured state to a bound [m, m/s]
    result: Result
    mismatch: Mismatch
    learned: Learned


def drive(pilot: Adapter, x: np.ndarray, *, adapting: bool) -> tuple[float, float]:
    """Drive the real plant for an episode; return mean stage cost and margin."""
    plant, cost, margin = pilot.problem.plant, 0.0, np.inf
    for _ in range(EPISODE):
        u = pilot.command(x)
        x_next = real_plant(x, u)
        cost += (Q @ x**2 + R @ u**2) / EPISODE
        margin = min(margin, float(np.min(plant.x_max - np.abs(x_next))))
        if adapting:
            pilot.observe(x, u, x_next)
        x = x_next
    return cost, margin


def run(steps: int = STEPS) -> Outcome:
    """Drive the plant with the backup, and with the policy that adapts, from the same states."""
    problem = make_problem()
    backup, pilot = Adapter(problem), Adapter(problem, AdaptOptions(steps=steps), every=EVERY)
    starts, episodes = initial_states(problem), range(max(1, -(-steps * EVERY // EPISODE)))
    both = [(backup, False), (pilot, True)]
    pairs = [[drive(who, starts[k % STARTS], adapting=adapting) for who, adapting in both] for k in episodes]
    measured, result, mismatch = np.array(pairs), pilot.result(), pilot.mismatch()
    learned = pilot.learn_scenarios(8)  # what was measured can become scenarios of a next run
    return Outcome(measured[:, :, 0], measured[:, :, 1], result, mismatch, learned)


# --- What came out ---------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Run, print a table and write the figure."""
    options = arguments(__doc__, "online", STEPS, argv)
    outcome = run(options.steps)
    result, mismatch, learned = outcome.result, outcome.mismatch, outcome.learned
    first, last = outcome.cost[:STARTS].mean(axis=0), outcome.cost[-STARTS:].mean(axis=0)
    committed = -result.problem.metrics(result.committed).max(axis=1)
    error, looked_at = mismatch.largest, len(learned.taken) + len(learned.left_out)
    table = print_table(
        [f"online, real mass {MASS} kg", "backup", "adapting"],
        [
            ["violations, of committed policies", "", violations(committed)],
            ["violations measured, of samples", "", f"{mismatch.violations} of {mismatch.count}"],
            [f"measured cost, first {STARTS} episodes", *(f"{value:.3f}" for value in first)],
            [f"measured cost, last {STARTS} episodes", *(f"{value:.3f}" for value in last)],
            ["least margin measured [m, m/s]", *(f"{value:.2g}" for value in outcome.margin.min(axis=0))],
            ["largest error of the 1 kg model, position [m]", "", f"{error[0]:.2g}"],
            ["largest error of the 1 kg model, velocity [m/s]", "", f"{error[1]:.2g}"],
            ["samples that no scenario explains", "", f"{mismatch.uncovered} of {mismatch.count}"],
            ["measured states that are safe as scenarios", "", f"{len(learned.taken)} of {looked_at}"],
        ],
    )
    save(draw(outcome), options.figure, table)
    print(f"figure: {options.figure}")


def draw(outcome: Outcome) -> Figure:
    """Draw cost and margin of every episode."""
    with style():
        figure = Figure(figsize=(10.0, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        episodes = np.arange(1, len(outcome.cost) + 1)
        draw_cost(left, episodes, outcome)
        draw_margin(right, episodes, outcome)
        for ax in (left, right):
            ax.set(xlabel=f"episode of {EPISODE} samples", xlim=(0, len(episodes) + 1))
            ax.xaxis.get_major_locator().set_params(integer=True)
    return figure


def draw_cost(ax: Axes, episodes: np.ndarray, outcome: Outcome) -> None:
    """Draw each episode's cost, those from the same state joined, and the means of the rounds over all states."""
    for k in range(min(STARTS, len(episodes))):
        label = "from the same state" if k == 0 else None
        ax.plot(episodes[k::STARTS], outcome.cost[k::STARTS, 1], ".-", color=PALE, linewidth=0.8, label=label)
    for column, color, label in ((0, BEFORE, "backup, mean of a round"), (1, AFTER, "adapting, mean of a round")):
        for begin in range(0, len(episodes), STARTS):
            some = slice(begin, begin + STARTS)
            mean = outcome.cost[some, column].mean()
            ends = [episodes[some][0] - 0.4, episodes[some][-1] + 0.4]
            ax.plot(ends, [mean, mean], color=color, linewidth=2.2, label=label if begin == 0 else None)
    ax.set(ylim=(0.0, 1.3 * outcome.cost[:, 1].max()), title="measured cost of each episode")
    ax.legend(loc="upper right", ncols=2)


def draw_margin(ax: Axes, episodes: np.ndarray, outcome: Outcome) -> None:
    """Draw the least distance of a measured state to its bounds in each episode."""
    ax.plot(episodes, outcome.margin[:, 0], "s", color=BEFORE, markersize=3.5, label="backup")
    ax.plot(episodes, outcome.margin[:, 1], ".", color=AFTER, markersize=6, label="adapting")
    top = 1.3 * float(outcome.margin.max())
    ax.axhspan(-0.2 * top, 0, **FORBIDDEN)
    ax.axhline(0, color=LIMIT, linewidth=1.4)
    ax.text(0.985, 0.02, "beyond a bound", transform=ax.transAxes, ha="right", color=LIMIT, fontweight="bold")
    ax.set(ylim=(-0.2 * top, top), title="margin of the measured states", ylabel="least distance to a bound [m, m/s]")
    ax.yaxis.label.set_color(INK)
    ax.legend(loc="upper left", ncols=2)


if __name__ == "__main__":
    main()
