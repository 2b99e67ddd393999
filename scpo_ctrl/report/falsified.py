"""The picture of a scenario that breaks a policy: inputs and states over time against their bounds."""

import io

import numpy as np
from matplotlib.figure import Figure

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.assurance.falsify import Falsification
from scpo_ctrl.report import figures
from scpo_ctrl.report.labels import axis_label, time_label
from scpo_ctrl.report.limits_figure import closest, draw_limited, limit_label
from scpo_ctrl.report.trajectories import limited, memories, plant_problem, shown_plant, shown_states
from scpo_ctrl.rounding import up
from scpo_ctrl.text import visible


def falsified_figure(result: Result, attack: Falsification) -> Figure:
    """Draw the safe start and the final policy on the scenario that was found.

    Parameters
    ----------
    result : Result
        Of a problem with a plant.
    attack : Falsification

    Returns
    -------
    matplotlib.figure.Figure
    """
    problem = plant_problem(result)
    plant = shown_plant(problem)
    before, after = (problem.trajectories(theta, attack.scenario) for theta in (result.theta_initial, result.theta))
    states = shown_states(plant, np.concatenate([before[0], after[0]]))
    signals = [(1, "u", i) for i in range(plant.nu - memories(problem))] + [(0, "x", i) for i in states]
    pairs = zip(*(limited(problem, attack.scenario.p, *side) for side in (before, after)), strict=True)
    limits, styles = closest(list(pairs)), ((figures.BEFORE, "safe start"), (figures.AFTER, "final policy"))
    with figures.style():
        figure = Figure(figsize=(7.0, 1.0 + 1.6 * (len(signals) + len(limits))), layout="constrained")
        axes = figure.subplots(len(signals) + len(limits), 1, sharex=True, squeeze=False)[:, 0]
        for ax, (which, stem, i) in zip(axes, signals, strict=False):
            low, high = (getattr(plant, f"{stem}_{end}")[i] for end in ("min", "max"))
            drawn = [side[which][:, :, i] for side in (before, after)]
            ax.set_xlim(0, attack.scenario.horizon * (plant.dt or 1.0))
            figures.draw_bounds(ax, np.concatenate(drawn), low, high)
            for values, (colour, name) in zip(drawn, styles, strict=True):
                figures.draw_signal(ax, plant, values, colour, name, hold=stem == "u")
            remembered = stem == "x" and i >= plant.nx - memories(problem)
            ax.set_ylabel(("memory\n" if remembered else "") + axis_label(problem.plant, stem, i))
        for ax, pair in zip(axes[len(signals) :], limits, strict=True):
            draw_limited(ax, plant, list(pair), pair, list(styles))
            ax.set_ylabel(limit_label(pair[0]))
        axes[-1].set_xlabel(time_label(plant))
        axes[0].legend(loc="best")
        axes[0].set_title(visible(f"{attack.metric}, broken by {up(attack.excess)} {attack.unit}".rstrip()))
    return figure


def falsified_png(result: Result, attack: Falsification) -> bytes:
    """Return falsified.png.

    Parameters
    ----------
    result : Result
    attack : Falsification

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    falsified_figure(result, attack).savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
