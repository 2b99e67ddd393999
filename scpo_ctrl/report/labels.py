"""Labels of axes."""

import textwrap

from scpo_ctrl.models import Plant
from scpo_ctrl.text import visible

_WIDTH = 20  # characters of a line beside an axis


def axis_label(plant: Plant, stem: str, index: int, gap: str = "\n") -> str:
    """Return the label of a signal with its unit.

    Parameters
    ----------
    plant : Plant
    stem : {"x", "u"}
    index : int
    gap : str
        Between both.

    Returns
    -------
    str
    """
    return labelled(getattr(plant, f"{stem}_labels")[index], getattr(plant, f"{stem}_units")[index], gap)


def labelled(label: str, unit: str, gap: str = "\n") -> str:
    """Return a label with its unit; one that stands beside an axis, with the unit in a line below, is wrapped.

    Parameters
    ----------
    label, unit : str
    gap : str
        Between both.

    Returns
    -------
    str
    """
    said = "\n".join(textwrap.wrap(visible(label), _WIDTH) or [""]) if gap == "\n" else visible(label)
    return said + (f"{gap}[{visible(unit)}]" if unit else "")


def time_label(plant: Plant) -> str:
    """Return the label of the time axis.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    str
    """
    return "time [s]" if plant.dt else "time step"
