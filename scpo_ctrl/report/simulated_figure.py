"""The picture of a simulation: the first and the last policy on the true plant, against the bounds."""

import io

import numpy as np
from matplotlib.figure import Figure

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.assurance.simulate import episodes_again
from scpo_ctrl.assurance.simulation import Simulation
from scpo_ctrl.models import Plant
from scpo_ctrl.report import figures
from scpo_ctrl.report.trajectories import memories, plant_problem, shown_plant, shown_states
from scpo_ctrl.text import visible

_EPISODES = 6  # drawn besides the worst ones


def simulation_figure(result: Result, simulation: Simulation, plant: Plant | None) -> Figure:
    """Draw some episodes, those where the first and the last policy come closest to a bound, or break most, among them.

    Parameters
    ----------
    result : Result
    simulation : Simulation
        Of it.
    plant : Plant or None
        The true plant, as it was given to `simulate`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    ends = simulation.policies[0], simulation.policies[-1]
    some = {policy.worst_episode for policy in ends} | set(range(min(_EPISODES, simulation.episodes)))
    sides = episodes_again(result, plant, simulation.parameters, simulation.seed, sorted(some))
    problem = plant_problem(result)
    drawn = shown_plant(problem)
    signals = [(1, "u", i) for i in range(drawn.nu - memories(problem))]
    signals += [(0, "x", i) for i in shown_states(drawn, np.concatenate([X for X, _ in sides]))]
    last = "final policy" if ends[1].is_final else f"policy of step {ends[1].step}"
    styles = ((figures.BEFORE, "safe start"), (figures.AFTER, last))
    with figures.style():
        figure = Figure(figsize=(7.0, 1.2 + 1.6 * len(signals)), layout="constrained")
        axes = figure.subplots(len(signals), 1, sharex=True, squeeze=False)[:, 0]
        for ax, (which, stem, i) in zip(axes, signals, strict=True):
            low, high = (float(getattr(drawn, f"{stem}_{end}")[i]) for end in ("min", "max"))
            values = [side[which][:, :, i] for side in sides]
            ax.set_xlim(0, problem.scenarios.horizon * (drawn.dt or 1.0))
            figures.draw_bounds(ax, np.concatenate(values), low, high)
            for part, (colour, name) in zip(values, styles, strict=True):
                figures.draw_signal(ax, drawn, part, colour, name, hold=stem == "u")
            remembered = stem == "x" and i >= drawn.nx - memories(problem)
            ax.set_ylabel(("memory\n" if remembered else "") + figures.axis_label(problem.plant, stem, i))
        axes[-1].set_xlabel(figures.time_label(drawn))
        axes[0].legend(loc="best")
        figure.suptitle(visible(f"simulated on {simulation.true_plant}"), wrap=True)
    return figure


def simulation_png(result: Result, simulation: Simulation, plant: Plant | None) -> bytes:
    """Return simulation.png.

    Parameters
    ----------
    result : Result
    simulation : Simulation
    plant : Plant or None
        As of `simulation_figure`.

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    figure = simulation_figure(result, simulation, plant)
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
