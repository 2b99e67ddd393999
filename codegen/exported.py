"""What an export has made, as data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scpo_ctrl.rounding import down
from scpo_ctrl.shown import Entries, Shown


@dataclass(frozen=True, repr=False)
class Export(Shown):
    """What was exported.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    files : tuple of str
        Their names, relative to `path`, sorted.
    target : str
        What it is compiled for.
    real : str
        "float" or "double".
    prefix : str
        Of every name in the C code.
    margin : float
        -max g at the parameters as rounded to `real`, computed in double; positive is safe.
    claim : str
        What was shown of the run's parameters, in the words of its report's headline.
    fixed_margin : float or None
        The same of the loop in integers; None where there is none.
    fixed_error : tuple of float or None
        Proved bound on what its inputs are off [u_units].
    resources : dict or None
        See `build.measure`; None where they were not measured.
    """

    path: Path
    files: tuple[str, ...]
    target: str
    real: str
    prefix: str
    margin: float
    claim: str
    fixed_margin: float | None
    fixed_error: tuple[float, ...] | None
    resources: dict[str, Any] | None

    def summary(self) -> dict[str, Any]:
        """Return the same as plain data, for JSON.

        Returns
        -------
        dict
        """
        return {**vars(self), "path": str(self.path), "files": list(self.files)}

    def _shown(self) -> tuple[str, Entries]:
        rows = [("files", str(len(self.files))), ("margin", f"{down(self.margin)}, rounded to {self.real}")]
        return f"{self.path} for {self.target} in {self.real}", [*rows, ("claim", self.claim)]
