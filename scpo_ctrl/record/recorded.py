"""Plants that a RUN folder holds as data: plant.json, in place of the Python or the objects that made them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from scpo_ctrl.errors import ClassError, ProblemFileError, ScpoError, cause
from scpo_ctrl.models import Plant
from scpo_ctrl.models.plain import from_plain, to_plain
from scpo_ctrl.reading import LARGEST_TEXT, read_bytes
from scpo_ctrl.record.tables import Table

PLANT_FILE = "plant.json"  # its name in a RUN folder


@dataclass(frozen=True)
class RecordedPlant:
    """A plant as data."""

    data: bytes  # content of the file

    @classmethod
    def of(cls, plant: Plant) -> "RecordedPlant":
        """Return a plant with the content of the file to write.

        Parameters
        ----------
        plant : Plant

        Returns
        -------
        RecordedPlant

        Raises
        ------
        DomainError
            If it has an operation that cannot be saved.
        """
        return cls((json.dumps(to_plain(plant), allow_nan=False) + "\n").encode())

    @property
    def table(self) -> Table:
        """Section [plant] of the problem file beside it."""
        return {"kind": "recorded", "file": PLANT_FILE, "sha256": hashlib.sha256(self.data).hexdigest()}

    def plant(self) -> Plant:
        """Return the plant.

        Returns
        -------
        Plant

        Raises
        ------
        ProblemFileError
            If the data are damaged.
        """
        try:
            return from_plain(json.loads(self.data))
        except (ValueError, RecursionError) as error:  # of which the errors of a plant are some
            raise ProblemFileError(f"it is damaged: {error}; restore it or run again") from error


def read_recorded(path: Path, sha256: object = None) -> RecordedPlant:
    """Read a plant that was saved as data.

    Parameters
    ----------
    path : pathlib.Path
    sha256 : object
        What [plant] sha256 says; not compared where None.

    Returns
    -------
    RecordedPlant

    Raises
    ------
    ProblemFileError
        If it cannot be read, or is another file than the one that was named.
    """
    try:
        recorded = RecordedPlant(read_bytes(path, LARGEST_TEXT))
    except OSError as error:
        raise ProblemFileError(f"{path}: cannot be read: {error.strerror}; restore it or run again") from error
    found = recorded.table["sha256"]
    if sha256 not in (None, found):
        raise ProblemFileError(
            f"{path}: was changed: its SHA-256 is {found}, that of [plant] {sha256!r:.80}; restore it or run again"
        )
    return recorded


def run_python(path: Path, function: str) -> Plant:
    """Run the user's Python, and return the plant that a function in it makes.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    function : str
        Name of the function, which takes no arguments.

    Returns
    -------
    Plant

    Raises
    ------
    ProblemFileError
        If the file cannot be read, it or the function raises, or what it makes is no plant.
    """
    try:
        code = compile(read_bytes(path, LARGEST_TEXT), str(path), "exec")
        names = {"__name__": path.stem, "__file__": str(path)}
        exec(code, names)
        make = names.get(function)
        if not callable(make):
            raise ProblemFileError(f"{path}: has no function {function!r}")
        plant = make()
    except OSError as error:
        raise ProblemFileError(f"{path}: cannot be read or run: {error.strerror or cause(error)}") from error
    except ScpoError as error:
        raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ProblemFileError(f"{path}: raised {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(plant, Plant):
        raise ClassError(f"{path}: {function} returned a {type(plant).__name__}, expected a Plant of scpo_ctrl.models")
    return plant
