"""The latest samples of a plant at work, beside its run: samples.npz."""

import io
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from scpo_ctrl.adaptation.measured import Samples
from scpo_ctrl.models import Plant
from scpo_ctrl.reading import LARGEST_DATA, opened, unpacked
from scpo_ctrl.record.atomic import write_atomic

SAMPLES_FILE = "samples.npz"


@dataclass(frozen=True)
class SavedSamples:
    """Samples as saved, with the names of what was measured."""

    number: np.ndarray  # (T,) they count from 1
    values: np.ndarray  # (T, nx + nu) states and inputs [units]
    acted: np.ndarray  # (T,) whether the backup's input was applied
    interventions: np.ndarray  # () samples of the whole run at which it was
    labels: np.ndarray  # (nx + nu,)
    units: np.ndarray  # (nx + nu,)
    bounds: np.ndarray  # (nx + nu, 2) [units]
    states: np.ndarray  # () nx
    dt: np.ndarray  # () sample time [s], 0 where a step has none


def save_samples(path: Path, samples: Samples, plant: Plant) -> None:
    """Write the samples of a plant into the RUN folder.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.
    samples : Samples
    plant : Plant
        That they are of.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    saved = SavedSamples(
        number=samples.number,
        values=np.hstack([samples.x, samples.u]),
        acted=samples.acted,
        interventions=np.array(samples.interventions),
        labels=np.array([*plant.x_labels, *plant.u_labels], dtype=str),
        units=np.array([*plant.x_units, *plant.u_units], dtype=str),
        bounds=np.vstack([np.append(plant.x_min, plant.u_min), np.append(plant.x_max, plant.u_max)]).T,
        states=np.array(plant.nx),
        dt=np.array(plant.dt or 0.0),
    )
    buffer = io.BytesIO()
    np.savez(buffer, **vars(saved))
    write_atomic(path / SAMPLES_FILE, buffer.getvalue())


def load_samples(path: Path) -> SavedSamples | None:
    """Read the samples beside a run.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.

    Returns
    -------
    SavedSamples or None
        None where there are none.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or is damaged.
    """
    try:
        with opened(path / SAMPLES_FILE, LARGEST_DATA) as file:
            arrays = unpacked(file, LARGEST_DATA)
    except FileNotFoundError:
        return None
    missing = [field.name for field in fields(SavedSamples) if field.name not in arrays]
    if missing:
        raise ValueError(f"{SAMPLES_FILE} has no {missing[0]}")
    found = SavedSamples(**{field.name: arrays[field.name] for field in fields(SavedSamples)})
    count, width = found.number.size, found.labels.size
    shapes = {"values": (count, width), "acted": (count,), "units": (width,), "bounds": (width, 2)}
    if wrong := next((name for name, shape in shapes.items() if getattr(found, name).shape != shape), None):
        raise ValueError(f"{wrong} of {SAMPLES_FILE} has another shape than its labels and numbers ask for")
    return found
