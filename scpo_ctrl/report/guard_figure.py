"""Where the guard acts: the level set, and the states at which the backup was applied in place of the policy."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scpo_ctrl.invariance.guard import LEVEL_SET
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.guarded import GuardedRuns
from scpo_ctrl.report.figures import style
from scpo_ctrl.report.labels import axis_label
from scpo_ctrl.report.trajectories import level_set, projections

_SET, _ACTED = "#5b6b7b", "#c2410c"


def guard_figure(problem: ControlProblem, guarded: GuardedRuns) -> Figure:
    """Draw the states at which the guard acted.

    Parameters
    ----------
    problem : ControlProblem
    guarded : GuardedRuns

    Returns
    -------
    matplotlib.figure.Figure
        One projection for two states, more for more of them.
    """
    plant, backup = problem.plant, problem.backup
    where = guarded.where
    unit, root = backup.shape
    edge = plant.x_eq + unit * root.T  # some points of the set, so that it is in view where the guard never acts
    pairs = projections(plant, np.vstack([where, edge])[None]) or [(0, 0)]
    columns = min(2, len(pairs))
    rows = -(-len(pairs) // columns)
    with style():
        figure = Figure(figsize=(10.0, 4.6 if rows == columns == 1 else 0.6 + 4.0 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, (i, j) in zip(axes, pairs, strict=False):
            if i == j:
                ax.plot(where[:, i], np.zeros(len(where)), "o", color=_ACTED, markersize=3.5, alpha=0.6)
                ax.axvspan(*(plant.x_eq[i] + np.array([-1, 1]) * backup.extent[i]), color=_SET, alpha=0.15)
                ax.set_yticks([])
            else:
                outline = level_set(backup.P, backup.rho, (i, j)) + plant.x_eq[[i, j]]
                ax.plot(outline[:, 0], outline[:, 1], color=_SET, linewidth=1.4)
                ax.plot(where[:, i], where[:, j], "o", color=_ACTED, markersize=3.5, alpha=0.6, markeredgewidth=0)
                ax.set_ylabel(axis_label(plant, "x", j, " "))
            ax.set_xlabel(axis_label(plant, "x", i, " "))
        for ax in axes[len(pairs) :]:
            ax.set_visible(False)
        kept = "proved set" if guarded.keeps == LEVEL_SET else "level set of the backup"
        handles = [
            Line2D([], [], color=_SET, linewidth=1.4, label=kept),
            Line2D([], [], color=_ACTED, marker="o", linestyle="", markersize=5, label="the backup is applied here"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
