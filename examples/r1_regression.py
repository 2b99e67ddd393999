"""R1: regression with harmful supervision. The loop on your own objective and your own metrics, no plant at all.

A network learns a function from samples, some of which a saboteur has replaced. Nobody says which ones. What is known
is what the function must never do: leave its bounds. Every network that is committed on the way respects them.

    python examples/r1_regression.py [--steps N] [--figure PATH]
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import casadi as ca
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from support.common import (
    UNCONSTRAINED,
    adapt_without_metrics,
    arguments,
    draw_margins,
    margins,
    print_table,
    save,
    violations,
)

from scpo_ctrl import AdaptOptions, FunctionProblem, Result, adapt
from scpo_ctrl.report.figures import AFTER, BEFORE, FORBIDDEN, INK, LIMIT, style

# --- Problem ---------------------------------------------------------------------------------------------------------
# Data: 200 points x, uniform in [-3, 3], with targets 1.5 sin(x) + noise (standard deviation 0.05). A fraction of all
# targets, 0.3 of the 200, is replaced by +3. All of them are at x > 0, so that half is mostly wrong, the other clean.

POINTS, NOISE, FRACTION, HARMFUL = 200, 0.05, 0.3, 3.0
LOWER, UPPER = -1.2, 1.0  # bounds on f
GRID = np.linspace(-3.0, 3.0, 61)  # where they are metrics
WIDTHS = (1, 32, 32, 1)
STEPS = 100


@dataclass(frozen=True)
class Data:
    """Samples to learn from."""

    x: np.ndarray  # (200,)
    y: np.ndarray  # (200,) targets
    harmful: np.ndarray  # (200,) bool: replaced, unknown to the loop


def make_data(seed: int = 0, fraction: float = FRACTION) -> Data:
    """Draw the samples."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-3, 3, POINTS))
    y = 1.5 * np.sin(x) + rng.normal(0, NOISE, POINTS)
    right = np.flatnonzero(x > 0)
    harmful = np.zeros(POINTS, dtype=bool)
    harmful[rng.choice(right, min(round(fraction * POINTS), right.size), replace=False)] = True
    return Data(x, np.where(harmful, HARMFUL, y), harmful)


def network(theta: ca.MX, x: np.ndarray) -> ca.MX:
    """Return f_θ at some points as a CasADi expression, shape (1, points); θ stacks W, b of each layer."""
    a = ca.DM(x).T
    start = 0
    for layer, (last, width) in enumerate(itertools.pairwise(WIDTHS)):
        W = ca.reshape(theta[start : start + width * last], width, last)
        b = theta[start + width * last : start + width * (last + 1)]
        a = W @ a + ca.repmat(b, 1, x.size)
        if layer < len(WIDTHS) - 2:
            a = ca.tanh(a)
        start += width * (last + 1)
    return a


def safe_start(seed: int = 0) -> np.ndarray:
    """Return parameters with f = 0: random hidden layers, the output layer zero."""
    rng = np.random.default_rng(seed)
    layers = [
        np.concatenate([rng.normal(0, last**-0.5, width * last), rng.normal(size=width)])
        for last, width in itertools.pairwise(WIDTHS)
    ]
    return np.concatenate([*layers[:-1], np.zeros_like(layers[-1])])


def make_problem(data: Data, seed: int = 0) -> FunctionProblem:
    """Minimise the mean squared error on all targets, subject to one metric for each bound and grid point."""
    start = safe_start(seed)
    theta = ca.MX.sym("theta", start.size)
    loss = ca.sumsqr(network(theta, data.x) - ca.DM(data.y).T) / data.x.size
    f = network(theta, GRID).T
    bounds = ca.vertcat(f - UPPER, LOWER - f)  # g(θ) ≤ 0 is safe
    labels = [f"f({x:.1f}) <= {UPPER:g}" for x in GRID] + [f"f({x:.1f}) >= {LOWER:g}" for x in GRID]
    return FunctionProblem.from_casadi(theta, loss, bounds, start, labels=tuple(labels))


# --- Adaptation ------------------------------------------------------------------------------------------------------
# The loop sees numbers only: the objective with its gradient, and the values of the metrics. It estimates the metrics'
# gradients by sampling, projects each step onto the local safe region, and commits what it has verified. For
# comparison, Adam on the same objective without metrics, three times as many steps.


@dataclass(frozen=True)
class Outcome:
    """What came out, for the table, the figure and the tests."""

    data: Data
    result: Result
    unconstrained: Result
    clean_error: np.ndarray  # (accepted + 1,) of every committed network, the safe start first
    clean_error_unconstrained: float


def run(steps: int = STEPS) -> Outcome:
    """Adapt with and without metrics."""
    data = make_data()
    problem = make_problem(data)
    result = adapt(problem, AdaptOptions(steps=steps, gradients="sampled"))
    unconstrained = adapt_without_metrics(problem, steps=3 * steps)
    errors = clean_error(result.committed)
    return Outcome(data, result, unconstrained, errors, float(clean_error(unconstrained.theta[None])[0]))


def evaluate(thetas: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return f_θ(x) for a stack of parameters, shape (K, points)."""
    theta = ca.MX.sym("theta", thetas.shape[1])
    f = ca.Function("f", [theta], [network(theta, x)])
    return np.vstack([np.array(f(row)) for row in thetas])


def clean_error(thetas: np.ndarray) -> np.ndarray:
    """Return the mean squared error on the grid points x <= 0, against what a safe network can reach at best there."""
    x = GRID[GRID <= 0]
    return np.mean((evaluate(thetas, x) - np.clip(1.5 * np.sin(x), LOWER, UPPER)) ** 2, axis=1)


# --- What came out ---------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Run, print a table and write the figure."""
    options = arguments(__doc__, "r1_regression", STEPS, argv)
    outcome = run(options.steps)
    result, free, problem = outcome.result, outcome.unconstrained, outcome.result.problem
    safe, unsafe = margins(problem, result.committed), margins(problem, free.committed)
    final = np.array([result.theta_initial, result.theta, free.theta])
    fine = evaluate(final, np.linspace(-3, 3, 6001))
    between = np.minimum(UPPER - fine, fine - LOWER).min(axis=1)
    before, after = outcome.clean_error[[0, -1]]
    losses = [result.objective_initial, result.objective_final, free.objective_final]
    table = print_table(
        ["R1, regression with harmful supervision", "safe start", "adapted", "without metrics"],
        [
            ["violations, of committed networks", "", violations(safe), violations(unsafe)],
            ["training loss, harmful targets included", *(f"{loss:.3f}" for loss in losses)],
            [
                "squared error on the clean half",
                *(f"{e:.3f}" for e in (before, after, outcome.clean_error_unconstrained)),
            ],
            ["tries rejected", "", f"{result.summary()['rejected']}", ""],
            ["margin at the grid points", *(f"{margin:.4f}" for margin in margins(problem, final))],
            ["margin between them, which no metric keeps", *(f"{margin:.4f}" for margin in between)],
        ],
    )
    print(f"The error on the clean half fell {before / after:.0f} times.")
    save(draw(outcome), options.figure, table)
    print(f"figure: {options.figure}")


def draw(outcome: Outcome) -> Figure:
    """Draw data, bounds and networks on the left, training loss and margin over the steps on the right."""
    with style():
        figure = Figure(figsize=(10.0, 4.9), layout="constrained")
        axes = figure.subplot_mosaic([["fit", "loss"], ["fit", "margin"]], width_ratios=[1.75, 1])
        draw_fit(axes["fit"], outcome)
        draw_loss(axes["loss"], outcome)
        draw_margins(axes["margin"], outcome.result, margins(outcome.result.problem, outcome.unconstrained.committed))
        axes["margin"].set_title("margin of every committed network")
        axes["loss"].sharex(axes["margin"])
        axes["loss"].tick_params(labelbottom=False)
        handles, labels = axes["fit"].get_legend_handles_labels()
        rejected = axes["margin"].get_legend_handles_labels()
        figure.legend([*handles, rejected[0][-1]], [*labels, rejected[1][-1]], loc="outside lower center", ncols=3)
        figure.align_ylabels([axes["loss"], axes["margin"]])
    return figure


def draw_fit(ax: Axes, outcome: Outcome) -> None:
    """Draw the networks before, after and without metrics, over the data."""
    data, x = outcome.data, np.linspace(-3, 3, 601)
    thetas = [outcome.result.theta_initial, outcome.result.theta, outcome.unconstrained.theta]
    before, after, free = evaluate(np.array(thetas), x)
    ax.axhspan(UPPER, 4, **FORBIDDEN)
    ax.axhspan(-3, LOWER, **FORBIDDEN)
    for bound in (LOWER, UPPER):
        ax.axhline(bound, color=LIMIT, linewidth=1.4)
    clean = ~data.harmful
    ax.plot(data.x[clean], data.y[clean], "o", color="white", markeredgecolor=INK, markersize=3.5, label="clean target")
    ax.plot(data.x[~clean], data.y[~clean], "D", color=LIMIT, markersize=3.5, label="harmful target, +3")
    ax.plot(x, before, color=BEFORE, linewidth=1.6, linestyle=(0, (1, 1.2)), label="before: safe start f = 0")
    ax.plot(x, free, color=UNCONSTRAINED, linewidth=1.8, linestyle=(0, (4, 2)), label="without metrics")
    ax.plot(x, after, color=AFTER, linewidth=2.4, label="after: adapted, in bounds on the grid")
    ax.text(-2.93, UPPER + 0.09, f"bound f ≤ {UPPER:g}", color=LIMIT)
    ax.text(2.93, LOWER - 0.22, f"bound f ≥ {LOWER:g}".replace("-", "−"), color=LIMIT, ha="right")
    ax.text(0.02, 0.965, "clean half", transform=ax.transAxes, color=INK, va="top")
    ax.text(0.52, 0.965, "sabotaged half", transform=ax.transAxes, color=INK, va="top")
    ax.axvline(0, color="#999999", linewidth=0.8, linestyle=":")
    ax.set(xlim=(-3.05, 3.05), ylim=(-1.9, 3.7), xlabel="x", ylabel="f(x)", title="what the network learned")


def draw_loss(ax: Axes, outcome: Outcome) -> None:
    """Draw the training loss and the error on the clean half over the steps."""
    history, result = outcome.result.history, outcome.result
    loss = np.append(result.objective_initial, history.column("objective")[history.column("committed")])
    ax.plot(loss, color=AFTER, linewidth=1.8)
    ax.plot(outcome.clean_error, color=AFTER, linewidth=1.8, linestyle=(0, (1, 1)))
    ax.text(len(loss) - 1, loss[-1] * 1.15, "training loss", ha="right", color=AFTER)
    ax.text(len(loss) - 1, outcome.clean_error[-1] * 1.5, "error on the clean half", ha="right", color=AFTER)
    ax.set_yscale("log")
    ax.set_yticks([0.01, 0.1, 1.0], ["0.01", "0.1", "1"])
    ax.minorticks_off()
    ax.set(ylim=(0.01, 6), ylabel="squared error", title="errors over the steps")


if __name__ == "__main__":
    main()
