"""What a RUN folder holds as data in place of the Python or the objects that made it: plant.json, controller.json."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from scpo_ctrl.errors import ClassError, ProblemFileError, ScpoError, cause
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.loop.plain import controller_from_plain, controller_to_plain
from scpo_ctrl.models import Plant
from scpo_ctrl.models.plain import from_plain, to_plain
from scpo_ctrl.reading import LARGEST_TEXT, read_bytes
from scpo_ctrl.record.tables import Table

_Made = TypeVar("_Made", Plant, Controller)

PLANT_FILE, CONTROLLER_FILE = "plant.json", "controller.json"  # their names in a RUN folder


@dataclass(frozen=True)
class Recorded:
    """Something as data."""

    data: bytes  # content of the file

    FILE: ClassVar[str]
    SECTION: ClassVar[str]  # of the problem file that names it

    @classmethod
    def read(cls, path: Path, sha256: object = None) -> Self:
        """Read a file.

        Parameters
        ----------
        path : pathlib.Path
        sha256 : object
            What the section says; not compared where None.

        Returns
        -------
        Recorded

        Raises
        ------
        ProblemFileError
            If it cannot be read, or is another file than the one that was named.
        """
        try:
            recorded = cls(read_bytes(path, LARGEST_TEXT))
        except OSError as error:
            raise ProblemFileError(f"{path}: cannot be read: {error.strerror}; restore it or run again") from error
        found = recorded.table["sha256"]
        if sha256 not in (None, found):
            raise ProblemFileError(
                f"{path}: was changed: its SHA-256 is {found}, that of [{cls.SECTION}] {sha256!r:.80}; restore it or "
                "run again"
            )
        return recorded

    @property
    def table(self) -> Table:
        """The keys of the section that name it."""
        return {"kind": "recorded", "file": self.FILE, "sha256": hashlib.sha256(self.data).hexdigest()}


class RecordedPlant(Recorded):
    """A plant as data."""

    FILE, SECTION = PLANT_FILE, "plant"

    @classmethod
    def of(cls, plant: Plant) -> Self:
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
        return cls(_text(to_plain(plant)))

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
        return _whole(lambda: from_plain(json.loads(self.data)))


class RecordedController(Recorded):
    """A controller as data."""

    FILE, SECTION = CONTROLLER_FILE, "policy"

    @classmethod
    def of(cls, controller: Controller) -> Self:
        """Return a controller with the content of the file to write.

        Parameters
        ----------
        controller : Controller

        Returns
        -------
        RecordedController

        Raises
        ------
        DomainError
            If it has an operation that cannot be saved.
        """
        return cls(_text(controller_to_plain(controller)))

    def controller(self) -> Controller:
        """Return the controller.

        Returns
        -------
        Controller

        Raises
        ------
        ProblemFileError
            If the data are damaged.
        """
        return _whole(lambda: controller_from_plain(json.loads(self.data)))


def run_python(path: Path, function: str, call: Callable[[Callable[..., Any]], Any], kind: type) -> Any:
    """Run the user's Python, and return what a function in it makes.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    function : str
        Name of the function.
    call : callable
        Calls it, with what it takes.
    kind : type
        What it must make.

    Returns
    -------
    object
        Of that type.

    Raises
    ------
    ProblemFileError
        If the file cannot be read, or it or the function raises.
    ClassError
        If what it makes is something else.
    """
    try:
        code = compile(read_bytes(path, LARGEST_TEXT), str(path), "exec")
        names = {"__name__": path.stem, "__file__": str(path)}
        exec(code, names)
        make = names.get(function)
        if not callable(make):
            raise ProblemFileError(f"{path}: has no function {function!r}")
        made = call(make)
    except OSError as error:
        raise ProblemFileError(f"{path}: cannot be read or run: {error.strerror or cause(error)}") from error
    except ScpoError as error:
        raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ProblemFileError(f"{path}: raised {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(made, kind):
        home = "scpo_ctrl.models" if kind is Plant else "scpo_ctrl"
        raise ClassError(f"{path}: {function} returned a {type(made).__name__}, expected a {kind.__name__} of {home}")
    return made


def _text(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, allow_nan=False) + "\n").encode()


def _whole(build: Callable[[], _Made]) -> _Made:
    """Return what data stand for, unless they are damaged."""
    try:
        return build()
    except (ValueError, RecursionError) as error:  # of which the errors of a plant are some
        raise ProblemFileError(f"it is damaged: {error}; restore it or run again") from error
