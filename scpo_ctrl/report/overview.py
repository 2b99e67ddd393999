"""One figure of a run: what the policy does, and how it came about."""

from collections.abc import Callable

from matplotlib.figure import Figure, FigureBase

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.errors import DomainError
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.figures import draw_phase, style
from scpo_ctrl.report.history_figures import draw_convergence
from scpo_ctrl.sealed import as_instance


def plot(result: Result) -> Figure:
    """Draw a run in one figure: trajectories before and after, and its history.

    Parameters
    ----------
    result : Result
        With a plant, or with one tried step at least.

    Returns
    -------
    matplotlib.figure.Figure
        For a notebook, or for its `savefig`. Above is the phase portrait, or for a single state the state over time;
        below are objective, margin and stationarity over the tried steps.

    Raises
    ------
    DomainError
        If there is nothing to draw.

    Examples
    --------
    After the example of `adapt`:

    >>> figure = sc.plot(result)
    >>> [len(part.axes) for part in figure.subfigs]
    [1, 3]
    """
    as_instance("result", result, Result)
    parts: list[tuple[Callable[[FigureBase, Result], object], float]] = []
    if isinstance(result.problem, ControlProblem):
        parts.append((draw_phase, 5.6))
    if len(result.history):
        parts.append((draw_convergence, 7.4))
    if not parts:
        raise DomainError("the run has no plant and no tried step, so there is nothing to draw; let it do steps")
    heights = [height for _, height in parts]
    with style():
        figure = Figure(figsize=(10.0, sum(heights)), layout="constrained")
        places = figure.subfigures(len(parts), 1, height_ratios=heights, squeeze=False)[:, 0]
        for place, (draw, _) in zip(places, parts, strict=True):
            draw(place, result)
    return figure
