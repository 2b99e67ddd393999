"""Results to draw reports of, and what the tests of reports look for in them."""

import dataclasses
import re
import xml.etree.ElementTree as ET

import numpy as np
from plain import AdaptOptions

from scpo_ctrl import FunctionProblem, UserObjective, adapt
from scpo_ctrl.adaptation.history import VERDICTS, History, Trial
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.status import Verdict

STEPS = 6
VERDICTS_DRAWN = (Verdict.COMMITTED, Verdict.NO_DECREASE, Verdict.NO_STEP)


def user_problem() -> FunctionProblem:
    """Return |θ - 1|² subject to θ₁ ≤ 0.5 and a metric that never changes, without a plant."""
    return FunctionProblem(
        np.zeros(2),
        lambda thetas: np.stack([thetas[:, 0] - 0.5, np.full(len(thetas), -3.0)], axis=1),
        UserObjective(lambda theta: (float((theta - 1) @ (theta - 1)), 2 * (theta - 1))),
        labels=("first <b>bound</b> & $more$", "constant"),
    )


def run(problem, **options) -> Result:
    return adapt(problem, AdaptOptions(**{"steps": STEPS, **options}))


def trial(theta, step, verdict, objective, margin, delta_norm=0.1, stationarity=0.1) -> Trial:
    """Return a row of history with the columns that figures show."""
    return Trial(
        step=step,
        verdict=VERDICTS.index(verdict),
        objective=objective,
        margin=margin,
        worst=0,
        step_length=1.0,
        delta_norm=delta_norm,
        predicted=0.1,
        stationarity=stationarity,
        smoothness_max=10.0,
        smoothness_median=1.0,
        active=2,
        projection_status=0,
        projection_iterations=3,
        rollouts=10,
        theta=theta,
    )


def with_history(result: Result, *rows, **changes) -> Result:
    history = History(result.theta.size, [trial(result.theta, i, *row) for i, row in enumerate(rows)])
    return dataclasses.replace(result, history=history, **changes)


def svgs(page: str) -> list[ET.Element]:
    """Return every inline figure, parsed as XML."""
    found = re.findall(r"<svg\b.*?</svg>", page, flags=re.DOTALL)
    return [ET.fromstring(text) for text in found]


def texts(figure: ET.Element) -> str:
    return " | ".join(" ".join(element.itertext()) for element in figure.iter("text"))


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def marks(figure) -> dict[str, int]:
    """Return the verdicts that the margin axes mark, with how many of each."""
    labels = figure.axes[1].get_legend_handles_labels()[1]
    return {label.rsplit(" (", 1)[0]: int(label[:-1].rsplit("(", 1)[1]) for label in labels if label.endswith(")")}


def bounds_drawn(ax) -> list[float]:
    """Return the levels of the horizontal lines in the colour of limits."""
    return sorted(float(line.get_ydata()[0]) for line in ax.lines if line.get_color() == "#d55e00")
