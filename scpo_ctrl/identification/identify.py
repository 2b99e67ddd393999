"""From a log to a model: which parameters a log tells, their values and ranges, and the disturbance that is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.choices import CONFIDENCE, MARGIN
from scpo_ctrl.errors import DomainError
from scpo_ctrl.identification.coordinates import Coordinates
from scpo_ctrl.identification.fit import Fit, LeastSquares, half_ranges
from scpo_ctrl.identification.log import Log, Windows
from scpo_ctrl.identification.rank import unidentifiable
from scpo_ctrl.identification.residuals import beyond, check_model, disturbance, doubts
from scpo_ctrl.identification.result import Identification
from scpo_ctrl.loop.numeric import plant_alone
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.plant import check_discrete
from scpo_ctrl.models.varying import still
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_count, as_scalar, as_texts

_MOST = 10_000  # steps of a window


def identify(
    plant: Plant | ControlProblem,
    x: ArrayLike,
    u: ArrayLike,
    *,
    sample: ArrayLike | None = None,
    time: ArrayLike | None = None,
    parameters: Sequence[str] | None = None,
    horizon: int = 1,
    confidence: float = CONFIDENCE,
    margin: float = MARGIN,
) -> Identification:
    """Fit plant parameters, their ranges and the disturbance's half widths to a log.

    Minimised is the sum of squares of measured minus predicted states, each in parts of its own root mean square, which
    is found along with the parameters. The sensitivities are CasADi's. Parameters with a limit below (`Plant.p_above`)
    are fitted as the logarithm of their distance from it, and so are their ranges: they never reach it. What no log
    like this can tell keeps its nominal value and is named. Parameters that vary by a signal stay at their nominal
    values.

    Parameters
    ----------
    plant : Plant or ControlProblem
        Discrete.
    x : array_like, shape (T, nx)
        Measured states [x_units].
    u : array_like, shape (T, nu)
        Inputs that were applied from each sample to the next [u_units]; the last row leads nowhere and is not used.
    sample : array_like, shape (T,), optional
        Sample numbers, rising; where one is left out the log is cut. By default there is no gap.
    time : array_like, shape (T,), optional
        Instead of them, times [s].
    parameters : sequence of str, optional
        Labels of those to fit; by default all that no signal varies.
    horizon : int
        Steps that are predicted from each measured state: 1 for one-step prediction errors, more to simulate. More than
        one is biased where u comes from feedback and there is a disturbance, to which it answers within a window.
    confidence : float
        That the ranges hold all fitted parameters together, in [0.5, 1 - 1e-9].
    margin : float
        Of the disturbance: half widths are the largest residuals of one step times 1 + margin, at least 0.

    Returns
    -------
    Identification

    Raises
    ------
    DomainError, DimensionError
        If the log is not one of this plant, too short, out of order or tells no parameter; the plant has none, is
        continuous or not finite over the log; the fit does not end; or an option is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> plant, rng = double_integrator(), np.random.default_rng(0)
    >>> x, u = np.zeros((200, 2)), rng.uniform(-1, 1, (200, 1))
    >>> for k in range(199):  # a log of a mass of 1.2 kg
    ...     x[k + 1] = np.asarray(plant.function(x[k], u[k], 1.2)).ravel() + rng.uniform(-1e-3, 1e-3, 2)
    >>> found = sc.identify(plant, x, u)
    >>> round(found.value("mass"), 2)
    1.2
    """
    if isinstance(plant, ControlProblem):
        plant = plant_alone(plant.policy)
    as_instance("plant", plant, Plant)
    horizon = as_count("horizon", horizon, at_least=1, at_most=_MOST)
    confidence = as_scalar("confidence", confidence, at_least=0.5, at_most=1 - 1e-9)
    margin = as_scalar("margin", margin, at_least=0.0)
    asked = _asked(plant, parameters)
    log = Log.of(plant, x, u, sample, time)
    steps = log.windows(1)
    windows = steps if horizon == 1 else log.windows(horizon)
    log.check_length(windows, len(asked))
    with np.errstate(all="ignore"):  # what is not finite is found where it is used
        fit, places, kept = _fitted(plant, steps, windows, asked)
        values, ranges = _ranges(plant, fit, places, confidence)
        error = _one_step(plant, steps, values)
        check_model(plant, steps, error)
        half_widths, against = disturbance(steps, error, margin), doubts(plant, steps, error)
        largest, rms = np.abs(error).max(axis=0), np.sqrt((error**2).mean(axis=0))
    return Identification(
        plant=plant,
        asked=tuple(plant.p_labels[i] for i in asked),
        kept=kept,
        values=values,
        ranges=ranges,
        largest=largest,
        rms=rms,
        half_widths=half_widths,
        doubts=against,
        beyond=beyond(len(error), plant.nx, confidence),
        transitions=len(error),
        pieces=len(log.starts),
        horizon=horizon,
        confidence=confidence,
        margin=margin,
    )


def _asked(plant: Plant, parameters: Sequence[str] | None) -> list[int]:
    """Return the places in p of the parameters to fit."""
    check_discrete(plant)
    known = {plant.p_labels[i]: i for i in still(plant)}
    if not known:
        raise DomainError(f"plant {plant.name!r} has no parameters to fit; name what is unknown in it as one")
    labels = tuple(known) if parameters is None else as_texts("parameters", parameters)
    wrong = next((label for label in labels if label not in known), None)
    if wrong is not None:
        raise DomainError(f"unknown plant parameter {shown(wrong)}; plant {plant.name!r} has: {', '.join(known)}")
    if not labels or len(set(labels)) < len(labels):
        raise DomainError(f"parameters is {shown(list(labels))}, expected labels, each once: {', '.join(known)}")
    return [known[label] for label in labels]


def _fitted(plant: Plant, steps: Windows, windows: Windows, asked: list[int]) -> tuple[Fit, list[int], dict[str, str]]:
    """Fit what the log tells, and say of the rest why not."""
    whole = LeastSquares(plant, windows, asked)
    first = whole.first()
    sigma, values = first.sigma, plant.p_nominal.copy()
    values[asked] = whole.coordinates.values(first.q)
    check_model(plant, steps, _one_step(plant, steps, values))
    labels = [plant.p_labels[i] for i in asked]
    kept = unidentifiable(whole.at(np.zeros(len(asked)), sigma).S, labels)
    while len(kept) < len(asked):
        places = [i for i in asked if plant.p_labels[i] not in kept]
        fit = (of := LeastSquares(plant, windows, places)).fitted(sigma)
        more = unidentifiable(fit.S, [plant.p_labels[i] for i in places])
        if not more:
            return fit, places, {label: kept[label] for label in labels if label in kept}
        kept |= more
        sigma = of.at(fit.q).sigma
    why = "; ".join(f"{label}: {kept[label]}" for label in labels)
    raise DomainError(f"the log tells no parameter of plant {plant.name!r} ({why}); log while the input varies more")


def _ranges(plant: Plant, fit: Fit, places: list[int], confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return parameters, and low and high of each."""
    coordinates = Coordinates.of(plant, places)
    half = half_ranges(fit, confidence)
    values = plant.p_nominal.copy()
    values[places] = coordinates.values(fit.q)
    ranges = np.repeat(values[:, None], 2, axis=1)
    for k, side in enumerate((-half, half)):
        ranges[places, k] = coordinates.values(fit.q + side)
    return values, ranges


def _one_step(plant: Plant, steps: Windows, values: np.ndarray) -> np.ndarray:
    """Return measured minus predicted states from sample to sample."""
    predicted = plant.function.map(len(steps.x0))(steps.x0.T, steps.u[:, 0].T, np.tile(values[:, None], len(steps.x0)))
    return steps.x[:, 0] - np.array(predicted).T
