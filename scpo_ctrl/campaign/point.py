"""What a worker does: adapt a point as `scpo-ctrl adapt` does, into its RUN folder."""

import time
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np

from scpo_ctrl.adaptation.adapt import adapt
from scpo_ctrl.adaptation.state import State
from scpo_ctrl.campaign.cluster import keep_to_one_thread
from scpo_ctrl.campaign.folder import Campaign, Failure
from scpo_ctrl.campaign.sweep import Changes, changed
from scpo_ctrl.errors import CompilerError, OutputError, RecordError, ScpoError, ScpoWarning, cause
from scpo_ctrl.places import is_run
from scpo_ctrl.record.atomic import is_locked
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.folder import RunFolder, is_unfinished
from scpo_ctrl.record.saving import Saving

_PAUSE = 0.2  # s between looks at a folder in which another worker still writes
_OF_MACHINE = (OutputError, CompilerError)  # errors that another try may not have


def run_point(folder: str, digest: str, name: str, changes: Changes) -> Failure | None:
    """Adapt a point, or go on with it where a worker was killed; whatever is wrong with it is its failure.

    Parameters
    ----------
    folder : str
        Of the campaign.
    digest : str
        Of the campaign.
    name : str
        Of the point.
    changes : dict

    Returns
    -------
    Failure or None
        None where its run is finished.

    Raises
    ------
    RecordError
        If this machine has another campaign in the folder, or none.
    """
    keep_to_one_thread()
    campaign = _campaign(folder, digest)
    if Campaign(campaign.folder).digest != digest:  # by now: it may have been moved
        raise RecordError(f"{folder}: is another campaign here; give all workers the same folder under the same path")
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ScpoWarning)
            _adapt(campaign, name, changes)
    except ScpoError as error:
        failure = Failure(str(error), again=isinstance(error, _OF_MACHINE))
    except Exception as error:  # memory, or Python that the problem names
        failure = Failure(cause(error), again=True)
    else:
        campaign.forgive(name)
        return None
    campaign.fail(name, failure)
    return failure


def _adapt(campaign: Campaign, name: str, changes: Changes) -> None:
    path = campaign.run(name)
    while is_locked(path):  # a client that was killed has left a worker behind
        time.sleep(_PAUSE)
    if campaign.summary(name) is not None:
        return
    file = read_problem_file(campaign.problem, tables=changed(campaign.tables, changes), trust=True)
    if is_run(path):
        folder, earlier = RunFolder.resumed(path, file)
    else:
        folder, earlier = RunFolder(path, file, overwrite=is_unfinished), None
    with folder:
        saving = Saving(folder)

        def monitor(state: State) -> bool:
            saving.save(state)
            return False

        folder.save(adapt(file.problem, folder.file.options, resume_from=earlier, monitor=monitor, progress=False))


@lru_cache(maxsize=4)
def _campaign(folder: str, _digest: str) -> Campaign:
    return Campaign(Path(folder))
