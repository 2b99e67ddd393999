"""Scenarios learned while a policy was at work, and the policy at work then: an .npz beside a problem file."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.errors import DomainError, ProblemFileError
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import drawn_ranges, first_varying, settled
from scpo_ctrl.reading import LARGEST_LEARNED, read_bytes, unpacked
from scpo_ctrl.validate import as_array

LEARNED_FILE = "learned.npz"  # its name in a RUN folder
ARRAYS = ("x0", "p", "w", "theta_initial")
FORMAT = 2  # of the file; since 2, θ counts in units of the bounds


@dataclass(frozen=True)
class LearnedScenarios:
    """What a problem file has beyond the scenarios that it describes."""

    scenarios: Scenarios  # come after those that are described
    theta_initial: np.ndarray  # (d,) the safe start: the policy at work when they were learned
    data: bytes  # content of the file

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()

    @classmethod
    def of(cls, scenarios: Scenarios, theta_initial: np.ndarray) -> "LearnedScenarios":
        """Return them with the content of the file to write.

        Parameters
        ----------
        scenarios : Scenarios
        theta_initial : numpy.ndarray, shape (d,)

        Returns
        -------
        LearnedScenarios
        """
        buffer = io.BytesIO()
        arrays = (scenarios.x0, scenarios.p, scenarios.w, theta_initial)
        np.savez(buffer, format=np.array(FORMAT), **dict(zip(ARRAYS, arrays, strict=True)))  # type: ignore[arg-type]
        return cls(scenarios, theta_initial, buffer.getvalue())


def read_learned(path: Path, sha256: object = None) -> tuple[dict[str, np.ndarray], bytes]:
    """Read the file.

    Parameters
    ----------
    path : pathlib.Path
    sha256 : object
        What [scenarios] learned_sha256 says; not compared where None.

    Returns
    -------
    arrays : dict of str to numpy.ndarray
        As they are in the file.
    data : bytes
        Content of the file.

    Raises
    ------
    ProblemFileError
        If it is missing or damaged, has other arrays, or is another file than the one that was named.
    """
    try:
        data = read_bytes(path, LARGEST_LEARNED)
    except OSError as error:
        raise ProblemFileError(
            f"learned: {path}: cannot be read: {error.strerror}; put the file that was saved with the problem there"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, found):
        raise ProblemFileError(
            f"learned: {path}: was changed: its SHA-256 is {found}, learned_sha256 is {sha256}; put the file that was "
            "saved with the problem there, or leave learned_sha256 out if the change is meant"
        )
    try:
        arrays = unpacked(io.BytesIO(data), LARGEST_LEARNED)
    except ValueError as error:
        raise ProblemFileError(
            f"learned: {path}: is damaged ({error}); put the file that was saved with the problem there"
        ) from error
    if not np.array_equal(arrays.pop("format", np.zeros(0)), FORMAT) and set(arrays) == set(ARRAYS):
        raise ProblemFileError(
            f"learned: {path}: was written by another version, whose theta_initial is another controller here: entries "
            "of theta now count in units of the bounds; run `adapt` on the problem without learned, and learn again"
        )
    if set(arrays) != set(ARRAYS):
        raise ProblemFileError(
            f"learned: {path}: holds {', '.join(sorted(arrays)) or 'nothing'}, expected {', '.join(ARRAYS)}"
        )
    return arrays, data


def join_learned(
    described: Scenarios, path: Path, table: dict[str, Any], plant: Plant, size: int
) -> tuple[Scenarios, LearnedScenarios]:
    """Read learned scenarios, and put them after those that section [scenarios] describes.

    Parameters
    ----------
    described : Scenarios
        Whose horizon, parameters and disturbances the others have too.
    path : pathlib.Path
        The file.
    table : dict
        Section [scenarios]; learned_sha256 is filled in.
    plant : Plant
    size : int
        Number of parameters d of the policy.

    Returns
    -------
    Scenarios
        All of them.
    LearnedScenarios

    Raises
    ------
    ProblemFileError
        As in `read_learned`.
    DimensionError, DomainError
        If a shape differs, a number is not finite, or a parameter or a disturbance is outside its range.
    """
    arrays, data = read_learned(path, table.get("learned_sha256"))
    S, N = len(arrays["x0"]) if arrays["x0"].ndim else 0, described.horizon
    shapes = {"x0": (S, plant.nx), "p": (S, plant.npar), "w": (S, N, described.w.shape[2]), "theta_initial": (size,)}
    x0, p, w, theta = (as_array(f"learned {name}", arrays[name], shapes[name]) for name in ARRAYS)
    ends, numbers = settled(plant, p), drawn_ranges(plant)
    for i, label in enumerate(plant.p_labels):
        low, high = table.get("parameters", {}).get(label, numbers.get(i, [plant.p_nominal[i]] * 2))
        if i >= first_varying(plant):
            if not np.array_equal(p[:, i], ends[:, i]):
                raise DomainError(f"learned p has a {label} that is not where its signal ends; learn again")
        elif not ((p[:, i] >= low) & (p[:, i] <= high)).all():
            raise DomainError(f"learned p has a {label} outside [{low:g}, {high:g}], its range in parameters; widen it")
    if w.size:
        half, varying = np.array(table["disturbance"]), 1 - table.get("disturbance_fixed", 0.0)
        if not (np.abs(w) <= half).all() or not (np.ptp(w, axis=1) <= 2 * varying * half * (1 + 1e-9)).all():
            raise DomainError(f"learned w is beyond disturbance, {table['disturbance']}, or its part that may vary")
    more = Scenarios(x0, p, w, N)
    table["learned_sha256"] = hashlib.sha256(data).hexdigest()
    return described.and_then(more), LearnedScenarios(more, theta, data)
