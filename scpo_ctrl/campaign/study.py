"""Points that Optuna chooses by what came of earlier ones, a round after the other.

What a round asks for follows from the sweep, the round's number and what came of the rounds before, and is kept in the
folder before it is run: whoever goes on, however often, goes on to the same points.
"""

import json
from importlib import import_module
from typing import Any

from scpo_ctrl.campaign.draws import Draw
from scpo_ctrl.campaign.folder import Campaign
from scpo_ctrl.campaign.sweep import Changes, Sweep
from scpo_ctrl.errors import MissingPackageError, RecordError
from scpo_ctrl.reading import parsed_json, read_text
from scpo_ctrl.record.atomic import write_atomic

ASKED = "asked"  # folder with a file for each round
_SEEDS = 1 << 32  # of Optuna


def require() -> Any:
    """Return Optuna.

    Returns
    -------
    module

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    try:
        optuna = import_module("optuna")
    except ImportError as error:
        raise MissingPackageError(
            'sampler = "optuna" needs Optuna, which is not installed; pip install "scpo-ctrl[optuna]"'
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def changes_of(sweep: Sweep, campaign: Campaign, k: int) -> Changes | None:
    """Return what a point changes.

    Parameters
    ----------
    sweep : Sweep
    campaign : Campaign
    k : int
        Its number.

    Returns
    -------
    dict or None
        None where it has not been asked for.
    """
    if k < sweep.drawn:
        return sweep.changes(k)
    number, place = divmod(k, sweep.round)
    asked = _asked(sweep, campaign, number)
    return None if asked is None else asked[place]


def ask(sweep: Sweep, campaign: Campaign, number: int) -> None:
    """Ask for the points of a round, unless they have been asked for.

    Parameters
    ----------
    sweep : Sweep
    campaign : Campaign
        With what came of all earlier rounds.
    number : int
        Of the round; the first is drawn at random and not asked for.
    """
    if _asked(sweep, campaign, number) is not None:
        return
    optuna = require()
    seed = (sweep.seed * sweep.count + number) % _SEEDS
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=sweep.round)
    study = optuna.create_study(sampler=sampler)
    distributions = {key: _distribution(draw) for key, draw in sweep.draws.items()}
    for k in range(number * sweep.round):
        changes = changes_of(sweep, campaign, k) or {}
        params = {key: draw.place(changes[key]) for key, draw in sweep.draws.items()}
        found = campaign.summary(campaign.name(changes))
        if found is None or found["violations"]:
            came = {"state": optuna.trial.TrialState.FAIL}
        else:
            came = {"value": found["objective_final"]}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, **came))
    trials = [study.ask(distributions) for _ in range(_size(sweep, number))]
    points = [{key: draw.at(trial.params[key]) for key, draw in sweep.draws.items()} for trial in trials]
    (campaign.folder / ASKED).mkdir(exist_ok=True)
    write_atomic(_file(campaign, number), json.dumps(points, indent=2).encode())


def _distribution(draw: Draw) -> Any:
    """Return what Optuna chooses a value from: of a choice its number, as values may be lists."""
    of = require().distributions
    if draw.kind == "choice":
        return of.CategoricalDistribution(tuple(range(len(draw.values))))
    if draw.kind == "integers":
        return of.IntDistribution(*draw.values)
    return of.FloatDistribution(*map(float, draw.values), log=draw.kind == "log")


def _size(sweep: Sweep, number: int) -> int:
    """Return how many points a round has."""
    return min(sweep.round, sweep.count - number * sweep.round)


def _asked(sweep: Sweep, campaign: Campaign, number: int) -> list[Changes] | None:
    """Return the points of a round that has been asked for."""
    path = _file(campaign, number)
    if not path.exists():
        return None
    try:
        points = parsed_json(read_text(path), finite=False)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read; remove it, and its round is asked for once more") from error
    is_whole = isinstance(points, list) and len(points) == _size(sweep, number)
    if not is_whole or not all(_can_be_drawn(sweep, point) for point in points):
        raise RecordError(
            f"{path}: does not hold {_size(sweep, number)} points that [random] can give; remove it, and its round is "
            "asked for once more"
        )
    return points


def _can_be_drawn(sweep: Sweep, point: Any) -> bool:
    return (
        isinstance(point, dict)
        and list(point) == list(sweep.draws)
        and all(draw.holds(point[key]) for key, draw in sweep.draws.items())
    )


def _file(campaign: Campaign, number: int) -> Any:
    return campaign.folder / ASKED / f"{number}.json"
