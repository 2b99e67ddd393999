"""Objectives ℓ(θ): closed-loop quadratic cost, imitation of data, or the user's own."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.compiled import StackFunction, compile_functions
from scpo_ctrl.engine.loop import Stage
from scpo_ctrl.errors import DimensionError, EvaluationError, ProblemFileError, cause
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.sizes import MOST_COLUMNS, MOST_ROWS
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.symbols import as_expression, as_symbols
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.cost import Cost, fitted, padded, quadratic_terms, terms_in_units
from scpo_ctrl.problem.oracle import Oracle
from scpo_ctrl.reading import LARGEST_DATA, opened
from scpo_ctrl.sealed import Sealed, as_instance
from scpo_ctrl.shown import Entries, Shown, ShownAsWritten, counted
from scpo_ctrl.validate import as_array, as_count, as_function, as_path
from scpo_ctrl.weights import as_weight

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")  # what float() takes besides is no CSV

ValueAndGradient = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True, repr=False)
class Quadratic(ShownAsWritten, Sealed, instead="for another objective give a UserObjective"):
    """Mean over scenarios and t = 0…N-1 of z_tᵀ Q z_t + v_tᵀ R v_t: deviations from rest, v the applied input.

    A weight is given as a matrix, as its diagonal, or as one number for all states or inputs. The sum over time,
    which is divided by N, has z_Nᵀ P_N z_N too where `P_N` is given, and Δu_tᵀ R_du Δu_t of the changes of the input,
    t = 1…N-1, where `R_du` is.

    Parameters
    ----------
    Q : array_like, shape (nx, nx), (nx,) or ()
        Of the state, positive semidefinite.
    R : array_like, shape (nu, nu), (nu,) or ()
        Of the input, positive semidefinite.
    P_N : array_like or None, shape (nx, nx), (nx,) or (), optional
        Of the last state.
    R_du : array_like or None, shape (nu, nu), (nu,) or (), optional
        Of changes of the input.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> objective = sc.Quadratic(Q=[1.0, 0.1], R=[0.05])
    >>> full = sc.Quadratic(Q=[[1.0, 0.2], [0.2, 0.1]], R=[0.05], R_du=[0.1])
    """

    Q: np.ndarray
    R: np.ndarray
    P_N: np.ndarray | None = None
    R_du: np.ndarray | None = None

    def __post_init__(self) -> None:
        for key in ("Q", "R", "P_N", "R_du"):
            if getattr(self, key) is not None or key in ("Q", "R"):
                object.__setattr__(self, key, as_weight(key, getattr(self, key)))

    @property
    def is_diagonal(self) -> bool:
        """Whether it weighs each state and input by itself, and nothing else."""
        return max(self.Q.ndim, self.R.ndim) < 2 and self.P_N is None and self.R_du is None

    def of_sizes(self, nx: int, nu: int) -> "Quadratic":
        """Return the same with diagonals in place of numbers for all states or inputs.

        Parameters
        ----------
        nx, nu : int

        Returns
        -------
        Quadratic
        """
        sizes = {"Q": nx, "R": nu, "P_N": nx, "R_du": nu}
        numbers = {key: getattr(self, key) for key in sizes if np.ndim(getattr(self, key)) == 0}
        filled = {key: np.full(sizes[key], value) for key, value in numbers.items() if value is not None}
        return replace(self, **filled) if filled else self

    def with_memory(self, policy: ControllerPolicy) -> "Quadratic":
        """Return the weights of a loop whose controller remembers something: those of the plant, and none of memories.

        Parameters
        ----------
        policy : ControllerPolicy

        Returns
        -------
        Quadratic
            Equal where there is a weight for each state and input of the loop already.

        Raises
        ------
        DimensionError
            If there is not a weight for each state and each input.
        """
        nm, weights = policy.controller.memories, {}
        for key, full in zip(("Q", "R", "P_N", "R_du"), (policy.plant.nx, policy.plant.nu) * 2, strict=True):
            W = getattr(self, key)
            if W is None:
                continue
            if len(W) not in (full - nm, full):
                or_full = f", or {full} with what the controller remembers" if nm else ""
                raise DimensionError(f"objective {key} has {len(W)} entries, expected {full - nm}{or_full}")
            weights[key] = padded(W, full - len(W))
        return Quadratic(**weights)

    def check_fit(self, plant: Plant) -> None:
        """Check the sizes.

        Parameters
        ----------
        plant : Plant

        Raises
        ------
        DimensionError
            If there is not a weight for each state and each input.
        """
        as_instance("plant", plant, Plant)
        for key, size in (("Q", plant.nx), ("R", plant.nu), ("P_N", plant.nx), ("R_du", plant.nu)):
            if getattr(self, key) is not None:
                fitted(key, getattr(self, key), size)

    def stage(self, plant: Plant, units: Units) -> Stage:
        """Return the cost for a plant in other units.

        Parameters
        ----------
        plant : Plant
        units : Units

        Returns
        -------
        Stage
        """
        if self.is_diagonal:
            return Stage(self.Q * units.x**2, self.R * units.u**2)
        terms = quadratic_terms(plant, self.Q, self.R, self.P_N, self.R_du)
        return Stage(np.zeros(plant.nx), np.zeros(plant.nu), terms_in_units(terms, plant, units))


@dataclass(frozen=True, repr=False)
class Imitation(Shown, Sealed, instead="for another objective give a UserObjective"):
    """Mean squared error of the command (before saturation) against an expert's data.

    Parameters
    ----------
    x : array_like, shape (k, nx)
        States [x_units].
    u : array_like, shape (k, nu)
        The expert's inputs [u_units].

    Examples
    --------
    >>> import numpy as np
    >>> import scpo_ctrl as sc
    >>> x = np.array([[1.0, 0.0], [0.0, 0.5], [-1.0, 0.2]])
    >>> objective = sc.Imitation(x, u=-x @ [[0.5], [0.8]])
    """

    x: np.ndarray
    u: np.ndarray

    def __post_init__(self) -> None:
        x = as_array("imitation x", self.x, (None, None))
        u = as_array("imitation u", self.u, (len(x), None))
        if not len(x):
            raise DimensionError("the imitation data is empty; give at least one row")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "u", u)

    @classmethod
    def from_csv(cls, path: str | Path, nx: int, nu: int) -> "Imitation":
        """Read columns x0…, u0… from a CSV file with a header.

        Parameters
        ----------
        path : str or pathlib.Path
        nx, nu : int
            Number of states and inputs.

        Returns
        -------
        Imitation
            The data.

        Raises
        ------
        ProblemFileError
            If the file is missing, a column is, or an entry is not a finite number.
        """
        path = as_path("path", path)
        nx, nu = (as_count(key, n, at_least=1, at_most=MOST_COLUMNS) for key, n in (("nx", nx), ("nu", nu)))
        data = read_csv(path, [f"x{i}" for i in range(nx)] + [f"u{i}" for i in range(nu)])
        return cls(data[:, :nx], data[:, nx:])

    def compiled(self, policy: LoopPolicy) -> tuple[StackFunction, StackFunction]:
        """Return value and (value, gradient) over all rows of the data, compiled for a policy.

        Parameters
        ----------
        policy : Policy or ControllerPolicy

        Returns
        -------
        value, value_and_gradient : StackFunction

        Raises
        ------
        DimensionError
            If the data does not fit the plant.
        """
        nx, nu = policy.plant.nx, policy.plant.nu
        if self.x.shape[1] != nx or self.u.shape[1] != nu:
            raise DimensionError(
                f"imitation data has {self.x.shape[1]} states and {self.u.shape[1]} inputs, the plant {nx} and {nu}"
            )
        x, u, theta = ca.SX.sym("x", nx), ca.SX.sym("u", nu), ca.SX.sym("theta", policy.theta_dim)
        error = ca.Function("error", [x, u, theta], [ca.sumsqr(policy.command(x, theta) - u)])
        rows = len(self.x)
        point, xs, us = ca.MX.sym("theta", policy.theta_dim), ca.MX.sym("x", nx, rows), ca.MX.sym("u", nu, rows)
        mean = ca.sum2(error.map("errors", "serial", rows, [2], [])(xs, us, point)) / rows
        functions = [
            ca.Function("imitation", [point, xs, us], [mean]),
            ca.Function("imitation_gradient", [point, xs, us], [mean, ca.gradient(mean, point)]),
        ]
        value, gradient = (StackFunction(f, [self.x.T, self.u.T]) for f in compile_functions(functions))
        return value, gradient

    def _shown(self) -> tuple[str, Entries]:
        return f"{counted(len(self.x), 'command')} of an expert", []


@dataclass(frozen=True, repr=False)
class UserObjective(ShownAsWritten):
    """Any objective with a first-order oracle: ``function(theta) -> (value, gradient)``.

    Parameters
    ----------
    function : callable
        ``theta -> (value, gradient)``, θ and gradient of shape (d,).

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> objective = sc.UserObjective(lambda theta: (float(theta @ theta), 2 * theta))
    """

    function: ValueAndGradient

    def __post_init__(self) -> None:
        as_function("function", self.function)

    @classmethod
    def from_casadi(cls, theta: ca.SX | ca.MX, expression: ca.SX | ca.MX) -> "UserObjective":
        """Make an objective from a CasADi expression of θ; its gradient comes from algorithmic differentiation.

        Parameters
        ----------
        theta : casadi.SX or casadi.MX, shape (d, 1)
            Symbols.
        expression : casadi.SX or casadi.MX, scalar
            The objective.

        Returns
        -------
        UserObjective
        """
        expression = as_expression("expression", expression, as_symbols("theta", theta), 1, compiled=False)
        return cls(Oracle(ca.Function("objective", [theta], [expression, ca.gradient(expression, theta)])))

    def oracle(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return value and gradient, with every failure of the user's function named.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        value : float
        gradient : numpy.ndarray, shape (d,)

        Raises
        ------
        EvaluationError
            If the function raises.
        DimensionError
            If the gradient has the wrong shape.
        """
        theta = as_array("theta", theta, (None,))
        try:
            value, gradient = self.function(theta)
            value, gradient = float(value), np.asarray(gradient, dtype=float)
        except Exception as error:
            raise EvaluationError(f"the objective raised {cause(error)}") from error
        if gradient.shape != theta.shape:
            raise DimensionError(f"the objective's gradient has shape {gradient.shape}, expected {theta.shape}")
        return value, gradient


Objective = Quadratic | Cost | Imitation | UserObjective


def _check_length(path: Path, file: BinaryIO) -> None:
    """Refuse a CSV of too many lines before any of them is read."""
    data = file.read()
    file.seek(0)
    lines = max(data.count(end) for end in (b"\n", b"\r"))
    if lines > MOST_ROWS + 1:
        raise ProblemFileError(f"{path}: has {lines} lines, more than {MOST_ROWS} rows; keep every k-th of them")


def read_csv(path: Path, names: list[str]) -> np.ndarray:
    """Read columns of a CSV file with a header.

    Parameters
    ----------
    path : pathlib.Path
    names : list of str
        Of the columns.

    Returns
    -------
    numpy.ndarray, shape (k, len(names))

    Raises
    ------
    ProblemFileError
        If the file is missing, a column is, or an entry is not a finite number.
    """
    try:
        with opened(path, LARGEST_DATA) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            _check_length(path, file)
            reader = csv.DictReader(text, strict=True, skipinitialspace=True)
            _check_header(path, list(reader.fieldnames or []), names)
            rows = [_row(path, reader.line_num, names, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ProblemFileError(f"{path}: cannot be read as CSV: {reason}") from error
    if not rows:
        raise ProblemFileError(f"{path}: no data below the header; give at least one row")
    return np.array(rows)


def _check_header(path: Path, found: list[str], names: list[str]) -> None:
    """Refuse a CSV without the columns that are needed."""
    wrong = next((name for name in names if found.count(name) != 1), None)
    if wrong is None:
        return
    expected = f"expected {', '.join(names)}"
    for separator in ";\t|":
        if any(separator in field for field in found):
            raise ProblemFileError(
                f"{path}: its entries are separated by {separator!r}; separate them by ',', {expected}"
            )
    how = "there more than once" if wrong in found else "missing"
    raise ProblemFileError(f"{path}: column {wrong!r} is {how}; {expected}")


def _row(path: str | Path, line: int, names: list[str], row: dict[str | None, Any]) -> list[float]:
    if None in row:
        raise ProblemFileError(f"{path}: line {line} has more entries than the header; write numbers with a dot")
    return [_number(path, line, name, row[name]) for name in names]


def _number(path: str | Path, line: int, name: str, text: ArrayLike) -> float:
    value = float(str(text)) if _NUMBER.fullmatch(str(text).strip(" ")) else np.nan
    if not np.isfinite(value):
        raise ProblemFileError(
            f"{path}: line {line}, column {name!r} is {shown(text)}, expected a finite number such as -1.5e-3"
        )
    return value
