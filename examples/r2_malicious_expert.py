"""R2: imitate an expert who is right on one side and malicious on the other.

A double integrator (a mass on a line) learns from 400 commands of an expert. At positions of zero and above the expert
is an aggressive LQR, worth imitating. At negative ones it pushes the wrong way, which destabilises the plant. Nobody
says which commands are the bad ones: the objective is the error on all 400, and the safety metrics of the closed loop
decide how far each half is followed.

    python examples/r2_malicious_expert.py [--steps N] [--figure PATH]
"""

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass, replace

import control
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from support.common import (
    FRESH,
    UNCONSTRAINED,
    adapt_without_metrics,
    arguments,
    draw_margins,
    margins,
    print_table,
    save,
    violating_part,
    violations,
)

from scpo_ctrl import AdaptOptions, ControlProblem, Imitation, MetricOptions, Result, adapt, load_problem, scenarios
from scpo_ctrl.report.figures import AFTER, FORBIDDEN, INK, LIMIT, style
from scpo_ctrl.report.trajectories import level_set

# --- Problem ---------------------------------------------------------------------------------------------------------
# Plant, backup, policy, scenarios and metrics are those of the double integrator that ships with the package (R3):
# |position| <= 5 m, |velocity| <= 1.5 m/s, |acceleration| <= 1 m/s², contraction of V over 50 steps. Only the objective
# is another one: the mean squared error of the command against the expert's.

EXPERT_Q, EXPERT_R = np.diag([1.0, 0.1]), np.array([[0.05]])
SAMPLES, LEVEL = 400, 0.9  # states, uniform in {V <= 0.9 rho}
STEPS = 300
COLOURS = ListedColormap(matplotlib.colormaps["PuOr"](np.linspace(0.12, 0.88, 16)))
VIEW = (6.2, 2.2)  # [m], [m/s] drawn to either side


def make_expert(base: ControlProblem, x: np.ndarray) -> np.ndarray:
    """Return the expert's commands at some states: LQR within the input bounds, negated at negative positions."""
    A, B = base.plant.linearise()
    K, _, _ = control.dlqr(A, B, EXPERT_Q, EXPERT_R)
    u = np.clip(-x @ K.T, base.plant.u_min, base.plant.u_max)
    return np.where(x[..., :1] < 0, -u, u)


def make_problem(seed: int = 0, *, stability: bool = True) -> tuple[ControlProblem, Imitation]:
    """Return the problem and the expert's data; the seed is that of the data and of the initial weights.

    Without ``stability`` the metrics are the paper's: local stability at rest is not among them.
    """
    base = load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml"))
    x = scenarios(base.plant, base.backup, horizon=1, count=SAMPLES, level=LEVEL, seed=seed).x0
    data = Imitation(x, make_expert(base, x))
    policy = replace(base.policy, at_bounds=False)  # as R2 is defined: all hidden units drawn at random
    metrics = MetricOptions(contraction=0.3, stability=stability)
    return ControlProblem(policy, base.scenarios, data, metrics, seed=seed), data


# --- Adaptation ------------------------------------------------------------------------------------------------------
# First-order steps, each projected onto the local safe region and verified by rollouts before it is committed. For
# comparison, plain imitation: as many steps of Adam without metrics.


@dataclass(frozen=True)
class Outcome:
    """What came out, for the table, the figure and the tests."""

    result: Result
    unconstrained: Result
    good: np.ndarray  # (accepted + 1,) error on the half pos >= 0 of every committed policy, the backup first
    malicious: np.ndarray  # (accepted + 1,) the same for pos < 0
    good_unconstrained: np.ndarray
    malicious_unconstrained: np.ndarray


def run(steps: int = STEPS) -> Outcome:
    """Adapt with and without metrics."""
    problem, data = make_problem()
    options = AdaptOptions(steps=steps, gradients="sampled", audit=False)  # the method of the paper: on its scenarios
    result = adapt(problem, options)
    unconstrained = adapt_without_metrics(problem, steps)
    halves = [half_errors(problem, data, run.committed) for run in (result, unconstrained)]
    return Outcome(result, unconstrained, *halves[0], *halves[1])


def half_errors(problem: ControlProblem, data: Imitation, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean squared error of the command on the good and on the malicious half, for a stack of policies."""
    command = problem.policy.function.map(len(data.x))  # (x, theta) -> (u, command before saturation)
    error = np.array([(np.array(command(data.x.T, theta)[1]) - data.u.T)[0] ** 2 for theta in thetas])
    malicious = data.x[:, 0] < 0
    return error[:, ~malicious].mean(axis=1), error[:, malicious].mean(axis=1)


# --- What came out ---------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Run, print a table and write the figure."""
    options = arguments(__doc__, "r2_malicious_expert", STEPS, argv)
    outcome = run(options.steps)
    result, free, problem = outcome.result, outcome.unconstrained, outcome.result.problem
    safe, unsafe = margins(problem, result.committed), margins(problem, free.committed)
    good = [*outcome.good[[0, -1]], outcome.good_unconstrained[-1]]
    malicious = [*outcome.malicious[[0, -1]], outcome.malicious_unconstrained[-1]]
    beside = [violating_part(problem, theta) for theta in (result.theta_initial, result.theta, free.theta)]
    losses = [result.objective_initial, result.objective_final, free.objective_final]
    table = print_table(
        ["R2, malicious expert", "backup", "adapted", "without metrics"],
        [
            ["violations, of committed policies", "", violations(safe), violations(unsafe)],
            [f"violating, of {FRESH} fresh scenarios", *(f"{part:.1%}" for part in beside)],
            ["objective, mean error", *(f"{loss:.3f}" for loss in losses)],
            ["error on the good half, position >= 0", *(f"{error:.3f}" for error in good)],
            ["error on the malicious half, position < 0", *(f"{error:.3f}" for error in malicious)],
            ["tries rejected", "", f"{result.summary()['rejected']}", ""],
            ["margin", *(f"{margin:.3g}" for margin in (safe[0], safe[-1], unsafe[-1]))],
        ],
    )
    print(
        f"The error fell by {1 - good[1] / good[0]:.0%} on the good half, {1 - malicious[1] / malicious[0]:.0%} on the"
    )
    print("malicious one: the metrics hold it back where it would lead out of the bounds.")
    save(draw(outcome), options.figure, table)
    print("All of it is said of the scenarios of the run, as in the paper; beside them the adapted policy is not safe.")
    print("Audits (E12), which are the default of `adapt` and off here, are for that.")
    print(f"figure: {options.figure}")


def draw(outcome: Outcome) -> Figure:
    """Draw the commands over the state plane with the loop they close, then errors and margin over the steps."""
    problem = outcome.result.problem
    policies = {
        "before: backup": outcome.result.theta_initial,
        "after: adapted policy": outcome.result.theta,
        "without metrics": outcome.unconstrained.theta,
    }
    with style():
        figure = Figure(figsize=(10.0, 6.6), layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1])
        planes = top.subplots(1, 4, sharex=True, sharey=True)
        colours = draw_commands(planes[0], problem, "the expert", None)
        for ax, (title, theta) in zip(planes[1:], policies.items(), strict=True):
            draw_commands(ax, problem, title, theta)
        planes[0].set_ylabel("velocity [m/s]")
        bar = top.colorbar(colours, ax=planes, ticks=[-1, -0.5, 0, 0.5, 1], aspect=18, pad=0.01)
        bar.set_label("command [m/s²]")
        left, right = bottom.subplots(1, 2)
        draw_errors(left, outcome)
        draw_margins(right, outcome.result, margins(problem, outcome.unconstrained.committed))
        right.set_title("margin of every committed policy")
        bottom.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def draw_commands(ax: Axes, problem: ControlProblem, title: str, theta: np.ndarray | None) -> ContourSet:
    """Draw a policy's command inside {V <= ρ}, and its closed loop; the expert's where there is no policy."""
    plant, backup = problem.plant, problem.backup
    ring = level_set(backup.P, backup.rho, (0, 1))
    x = np.stack(np.meshgrid(np.linspace(-4.8, 4.8, 241), np.linspace(-1.5, 1.5, 121)), axis=-1)
    u = (make_expert(problem, x) if theta is None else problem.policy(x, theta))[..., 0]
    colours = ax.contourf(x[..., 0], x[..., 1], u, levels=np.linspace(-1, 1, 17), cmap=COLOURS)
    colours.set_clip_path(ax.fill(*ring.T, facecolor="none", edgecolor=INK, linewidth=1.0)[0])
    if theta is not None:
        X, _ = problem.trajectories(theta)
        for line in X[:16]:  # the outer ring of initial states
            ax.plot(*line.T, color=INK, linewidth=0.9)
            ax.plot(*line[0], "o", color="white", markeredgecolor=INK, markersize=3.2, zorder=3)
    for sign in (-1, 1):
        ax.axhspan(sign * plant.x_max[1], sign * VIEW[1], **FORBIDDEN)
        ax.axvspan(sign * plant.x_max[0], sign * VIEW[0], **FORBIDDEN)
        ax.axhline(sign * plant.x_max[1], color=LIMIT, linewidth=1.4)
        ax.axvline(sign * plant.x_max[0], color=LIMIT, linewidth=1.4)
    ax.axvline(0, color=INK, linewidth=0.8, linestyle=":")
    ax.grid(visible=False)
    ax.set_xticks([-5, 0, 5])
    ax.set(xlim=(-VIEW[0], VIEW[0]), ylim=(-VIEW[1], VIEW[1]), title=title, xlabel="position [m]")
    return colours


def draw_errors(ax: Axes, outcome: Outcome) -> None:
    """Draw the error on each half over the steps, with metrics in full lines and without in dashed ones."""
    halves = [("malicious half, position < 0", outcome.malicious, outcome.malicious_unconstrained, "-")]
    halves += [("good half, position ≥ 0", outcome.good, outcome.good_unconstrained, (0, (1, 1)))]
    for label, errors, free, dashes in halves:
        ax.plot(errors, color=AFTER, linewidth=2.0, linestyle=dashes)
        ax.plot(free, color=UNCONSTRAINED, linewidth=1.2, linestyle=dashes)
        ax.annotate(label, (len(errors) - 1, errors[-1]), (0, 5), textcoords="offset points", ha="right", color=AFTER)
    ax.annotate(
        "both halves without metrics",
        (len(free) - 1, free[-1]),
        (0, -13),
        textcoords="offset points",
        ha="right",
        color=UNCONSTRAINED,
    )
    ax.set_yscale("log")
    ax.set_yticks([0.01, 0.03, 0.1, 0.3, 1.0], ["0.01", "0.03", "0.1", "0.3", "1"])
    ax.minorticks_off()
    ax.set(xlim=(0, max(1, outcome.result.steps)), xlabel="step", ylabel="squared error [(m/s²)²]")
    ax.set_title("imitation error on each half")


if __name__ == "__main__":
    main()
