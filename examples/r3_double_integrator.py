"""R3: from a slow backup to a fast policy, safe on its scenarios at every step.

A double integrator (a mass on a line) is brought to rest by a careful LQR, which is safe and slow. A small network on
top of it learns to be fast, in closed loop with the plant's model, and no policy that is committed on the way leaves
the bounds. `scpo-ctrl demo` does the same from the command line, and exports C.

    python examples/r3_double_integrator.py [--steps N] [--figure PATH]
"""

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from support.common import FRESH, arguments, margins, print_table, save, violating_part, violations

from scpo_ctrl import AdaptOptions, ControlProblem, Result, adapt, load_problem
from scpo_ctrl.report.figures import AFTER, BEFORE, INK, phase_figure, style

# --- Problem ---------------------------------------------------------------------------------------------------------
# The problem file that ships with the package.
#   plant      |position| <= 5 m, |velocity| <= 1.5 m/s, |acceleration| <= 1 m/s², a sample every 0.1 s
#   backup     LQR with Q = 0.1 I, R = 10
#   policy     the backup plus a 2-12-1 tanh network: 48 parameters
#   objective  x' diag(1, 0.1) x + 0.05 u², the mean over 32 scenarios of 50 time steps
#   safety     the bounds at each time step, and contraction V(x_N) <= 0.3 V(x_0): 9760 metrics

OPTIMUM = 1.24023  # the best objective known for the same policies and metrics: IPOPT, from a random start
STEPS = 400


def make_problem() -> ControlProblem:
    """Load the problem; `load_problem` does the same for a file of yours."""
    return load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml"))


# --- Adaptation ------------------------------------------------------------------------------------------------------
# All options have defaults; gradients are sampled here, as in the paper. Every step is tried on the model in all
# scenarios before it is committed.


@dataclass(frozen=True)
class Outcome:
    """What came out, for the table, the figure and the tests."""

    result: Result  # safe on its scenarios
    audited: Result  # and beside them
    objective: np.ndarray  # (accepted + 1,) of every committed policy of the former, the backup first


def run(steps: int = STEPS) -> Outcome:
    """Adapt the backup, with and without audits on fresh scenarios (E12), which are the default."""
    problem = make_problem()
    options = AdaptOptions(steps=steps, gradients="sampled")
    result, audited = (adapt(problem, replace(options, audit=audit)) for audit in (False, True))
    history = result.history
    committed = history.column("objective")[history.column("committed")]
    return Outcome(result, audited, np.append(result.objective_initial, committed))


def share(problem: ControlProblem, theta: np.ndarray) -> float:
    """Return the improvement of a policy relative to what is achievable."""
    start, end = problem.objective(problem.theta_initial), problem.objective(theta)
    return float((start - end) / (start - OPTIMUM))


# --- What came out ---------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Run, print a table and write the figure."""
    options = arguments(__doc__, "r3_double_integrator", STEPS, argv)
    outcome = run(options.steps)
    result = outcome.result
    problem = result.problem
    margin, audited = margins(problem, result.committed), outcome.audited
    start, *thetas = result.theta_initial, result.theta, audited.theta
    beside = [f"{violating_part(problem, theta):.2%}" for theta in (start, *thetas)]
    ends = [problem.trajectories(theta)[0][:, -1] for theta in (start, *thetas)]
    left = [np.max(problem.backup.level(end) / problem.backup.level(problem.scenarios.x0)) for end in ends]
    table = print_table(
        ["R3, double integrator", "backup", "adapted", "audited too"],
        [
            [
                "violations, of committed policies",
                "",
                violations(margin),
                violations(margins(problem, audited.committed)),
            ],
            [f"violating, of {FRESH} fresh scenarios", *beside],
            ["objective", *(f"{problem.objective(theta):.3f}" for theta in (start, *thetas))],
            [
                f"share of what is achievable ({OPTIMUM:.3f})",
                "0%",
                *(f"{share(problem, theta):.2%}" for theta in thetas),
            ],
            ["tries rejected", "", *(f"{run.summary()['rejected']}" for run in (result, audited))],
            ["margin", *(f"{margins(problem, theta[None])[0]:.3g}" for theta in (start, *thetas))],
            ["largest V(x_N) / V(x_0), metric: <= 0.3", *(f"{value:.2g}" for value in left)],
        ],
    )
    save(draw(outcome), options.figure, table)
    print(f"figure: {options.figure}")


def draw(outcome: Outcome) -> Figure:
    """Draw the report's phase portrait, with the objective over the steps in the corner that it leaves free."""
    figure = phase_figure(outcome.result)
    with style():
        ax = figure.axes[0].inset_axes((2.75, 0.63, 2.05, 0.70), transform=figure.axes[0].transData)
        draw_objective(ax, outcome)
    return figure


def draw_objective(ax: Axes, outcome: Outcome) -> None:
    """Draw the objective of every committed policy, between the backup's and the optimum."""
    steps = np.arange(outcome.objective.size)
    ax.plot(steps, outcome.objective, color=AFTER, linewidth=1.8)
    ax.axhline(OPTIMUM, color=INK, linewidth=0.9, linestyle=":")
    ax.plot(0, outcome.objective[0], "s", color=BEFORE, markersize=5, clip_on=False, zorder=3)
    ax.annotate(f"backup {outcome.objective[0]:.3f}", (0, outcome.objective[0]), (7, -3), textcoords="offset points")
    final = f"adapted {outcome.objective[-1]:.3f}"
    ax.annotate(final, (steps[-1], outcome.objective[-1]), (0, 4), textcoords="offset points", ha="right", color=AFTER)
    ax.annotate(f"optimum {OPTIMUM:.3f}", (steps[-1], OPTIMUM), (0, -12), textcoords="offset points", ha="right")
    ax.set(xlim=(0, max(1, steps[-1])), ylim=(0.0, 2.6), xlabel="step", title="objective")
    ax.set_xscale("symlog", linthresh=10)  # most of the improvement comes early
    ax.set_xticks([tick for tick in (0, 5, 10, 30, 100, 400) if tick <= steps[-1]])
    ax.xaxis.set_major_formatter("{x:.0f}")
    ax.minorticks_off()
    ax.set_yticks([0, 1, 2])
    ax.tick_params(labelsize=8)


if __name__ == "__main__":
    main()
