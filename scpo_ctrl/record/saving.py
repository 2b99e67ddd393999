"""When a run that goes on saves its state."""

import math
import time

from scpo_ctrl.adaptation.state import State
from scpo_ctrl.record.folder import RunFolder

_EVERY = 2.0  # s between two saves, and at least 20 times what a save takes


class Saving:
    """Saves the state of a run at once, and then now and then.

    Parameters
    ----------
    folder : RunFolder
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder, self._due = folder, -math.inf

    def save(self, state: State) -> None:
        """Save the state if it is time to.

        Parameters
        ----------
        state : State
        """
        began = time.monotonic()
        if began >= self._due:
            self._folder.save(state.result())
            ended = time.monotonic()
            self._due = ended + max(_EVERY, 20 * (ended - began))
