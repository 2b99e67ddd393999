"""The family of errors: each names what is wrong, where, and the remedy.

Every class also has the built-in parent that a caller would expect, so ``except ValueError`` works. The attribute
``exit_status`` is what the command line returns: 1 the run or the check failed, 2 the input is wrong.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from scpo_ctrl.text import visible


class ScpoError(Exception):
    """Base of every error that this package raises on purpose; its message is one line, whatever names are in it.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> try:
    ...     sc.AdaptOptions(steps=-1)
    ... except sc.ScpoError as error:
    ...     print(error)
    steps is -1, expected a whole number >= 0
    """

    exit_status = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(visible(message))


class ScpoWarning(UserWarning):
    """Something that works, but hardly as it was meant."""

    def __init__(self, message: str = "") -> None:
        super().__init__(visible(message))


def cause(error: Exception) -> str:
    """Return class and message of an error on one line, to be part of another message.

    Parameters
    ----------
    error : Exception

    Returns
    -------
    str
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


class DimensionError(ScpoError, ValueError):
    """An array has the wrong shape."""


class DomainError(ScpoError, ValueError):
    """A value is not finite, or outside the range in which it means something."""


class ClassError(ScpoError, TypeError):
    """An object is not of the class that is needed, or a class is extended whose behaviour is generated from data."""


class ProblemFileError(ScpoError, ValueError):
    """A problem file is missing, malformed, or has an unknown or missing key."""


class RecordError(ScpoError, ValueError):
    """A RUN folder is missing, incomplete, or does not belong together."""


class BlobError(ScpoError, ValueError):
    """Bytes of parameters are damaged, of another format, or of another problem."""


class MissingPackageError(ScpoError, ImportError):
    """An optional package is not installed."""


class OutputError(ScpoError, OSError):
    """A file or a folder cannot be written."""


class CompilerError(ScpoError, RuntimeError):
    """A C compiler is missing, or refused a generated file."""


class BackupError(ScpoError, ValueError):
    """No backup controller can be designed, or the one given does not hold."""


class UncontrollableError(BackupError):
    """The input does not reach every state of the plant."""


class UnstabilisableError(UncontrollableError):
    """The input does not reach an unstable mode of the plant: no controller stabilises it."""


class BoundsError(BackupError):
    """The bounds do not hold the equilibrium in their interior."""


class UnsafeStartError(ScpoError, ValueError):
    """The safe start is not safe: a metric is positive at the initial parameters."""

    exit_status = 1


class EvaluationError(ScpoError, ArithmeticError):
    """An objective or a metric of the user raised, or returned something that is not a finite number."""

    exit_status = 1


class WorkerError(ScpoError, RuntimeError):
    """A process that shares the work cannot be started, raised an error, or died more often than is tried again."""

    exit_status = 1


class DeviceError(ScpoError, OSError):
    """A device, or its emulator, is not there, does not answer, or is not what it should be."""

    exit_status = 1


class ClusterError(ScpoError, ConnectionError):
    """A scheduler of Dask does not answer, or its workers are of other versions."""


@contextmanager
def one_for_each(labels: Sequence[str]) -> Iterator[None]:
    """Let an error of a shape say what the entries are of.

    Parameters
    ----------
    labels : sequence of str

    Raises
    ------
    DimensionError
        That of what stands below it, with the labels.
    """
    try:
        yield
    except DimensionError as error:
        raise DimensionError(f"{error}, one for each of: {', '.join(labels)}") from error
