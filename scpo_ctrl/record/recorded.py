"""What a RUN folder holds as data in place of the Python or the objects that made it, such as plant.json."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from scpo_ctrl.errors import ClassError, ProblemFileError, ScpoError, cause
from scpo_ctrl.loop.constraint import Constraint
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.loop.plain import (
    constraints_from_plain,
    constraints_to_plain,
    controller_from_plain,
    controller_to_plain,
)
from scpo_ctrl.models import Plant
from scpo_ctrl.models.plain import from_plain, to_plain
from scpo_ctrl.problem.cost import Cost
from scpo_ctrl.problem.plain import cost_from_plain, cost_to_plain
from scpo_ctrl.reading import LARGEST_TEXT, read_bytes
from scpo_ctrl.record.tables import Table

_Made = TypeVar("_Made")

# Their names in a RUN folder.
PLANT_FILE, CONTROLLER_FILE, CONSTRAINTS_FILE, COST_FILE = (
    f"{name}.json" for name in ("plant", "controller", "constraints", "cost")
)


@dataclass(frozen=True)
class Recorded:
    """Something as data."""

    data: bytes  # content of the file
    path: Path | None = field(default=None, compare=False)  # where it was read

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
            recorded = cls(read_bytes(path, LARGEST_TEXT), path)
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

    def _whole(self, build: Callable[[Any], _Made]) -> _Made:
        """Return what the data stand for, unless they are damaged."""
        try:
            return build(json.loads(self.data))
        except (ValueError, RecursionError) as error:  # of which the errors of a plant are some
            raise ProblemFileError(
                f"{self.path or self.FILE}: it is damaged: {error}; restore it or run again"
            ) from error


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
        return self._whole(from_plain)


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
        return self._whole(controller_from_plain)


class RecordedConstraints(Recorded):
    """Constraints as data."""

    FILE, SECTION = CONSTRAINTS_FILE, "metrics"

    @classmethod
    def of(cls, constraints: Sequence[Constraint], plant: Plant) -> Self:
        """Return constraints with the content of the file to write.

        Parameters
        ----------
        constraints : sequence of Constraint
            With their scales.
        plant : Plant
            Whose symbols they have.

        Returns
        -------
        RecordedConstraints

        Raises
        ------
        DomainError
            If one has an operation that cannot be saved.
        """
        return cls(_text(constraints_to_plain(constraints, plant)))

    def constraints(self, plant: Plant) -> tuple[Constraint, ...]:
        """Return the constraints.

        Parameters
        ----------
        plant : Plant
            Whose symbols they get.

        Returns
        -------
        tuple of Constraint

        Raises
        ------
        ProblemFileError
            If the data are damaged, or of another loop.
        """
        return self._whole(lambda data: constraints_from_plain(data, plant))


class RecordedCost(Recorded):
    """A cost as data."""

    FILE, SECTION = COST_FILE, "objective"

    @classmethod
    def of(cls, cost: Cost, plant: Plant) -> Self:
        """Return a cost with the content of the file to write.

        Parameters
        ----------
        cost : Cost
        plant : Plant
            Whose symbols it has.

        Returns
        -------
        RecordedCost

        Raises
        ------
        DomainError
            If it has an operation that cannot be saved.
        """
        return cls(_text(cost_to_plain(cost, plant)))

    def cost(self, plant: Plant) -> Cost:
        """Return the cost.

        Parameters
        ----------
        plant : Plant
            Whose symbols it gets.

        Returns
        -------
        Cost

        Raises
        ------
        ProblemFileError
            If the data are damaged, or of another loop.
        """
        return self._whole(lambda data: cost_from_plain(data, plant))


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
        with _staying():
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


@contextmanager
def _staying() -> Iterator[None]:
    """Come back to the current folder, which what is run may change: other paths are relative to it."""
    here = os.open(".", os.O_RDONLY)
    try:
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def _text(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, allow_nan=False) + "\n").encode()
