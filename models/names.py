"""What the signals of a plant are called in expressions that are written as text."""

import re
from collections.abc import Mapping

import casadi as ca

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.expression import as_symbol_name, expression
from scpo_ctrl.models.plant import Plant

_WORD = re.compile(r"(?<![A-Za-z0-9_.])[A-Za-z][A-Za-z0-9_]*")
_GAP = re.compile(r"[^A-Za-z0-9_]+")


def names_of(plant: Plant) -> dict[str, ca.SX]:
    """Return states, inputs, parameters and outputs of a plant by their names in expressions.

    A name is the label, every run of other characters than letters, digits and underscores being one underscore:
    "duty cycle" is ``duty_cycle``. Where that is no name, or two of them would have it, it is the place: ``x0``,
    ``u0``, ``p0``. An output has a name only where nothing else has it.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    dict of str to casadi.SX
    """
    words = _words(plant)
    found: dict[str, ca.SX] = {}
    for stem in "xupy":
        for i, entry in enumerate(ca.vertsplit(getattr(plant, stem)) if getattr(plant, stem).numel() else []):
            word = words[stem][i]
            if stem == "y":
                if word is not None and not _is_shared(word, words):
                    found.setdefault(word, entry)
            else:
                found[f"{stem}{i}" if word is None or _is_shared(word, words) else word] = entry
    return found


def plant_expression(where: str, text: object, plant: Plant, constants: Mapping[str, float] | None = None) -> ca.SX:
    """Return the expression of a plant's signals that a text stands for.

    Parameters
    ----------
    where : str
        What the expression is, for the error message.
    text : str
        As in `scpo_ctrl.models.expression`, with the names of `names_of`.
    plant : Plant
    constants : mapping of str to float, optional
        Numbers by name, where no signal has it.

    Returns
    -------
    casadi.SX, shape (1, 1)
        Of plant.x, plant.u and plant.p.

    Raises
    ------
    DomainError
        If the text is another one, or has a name that two signals share.
    """
    names = names_of(plant)
    if isinstance(text, str):
        words = _words(plant)
        for word in _WORD.findall(text):
            if word not in names and _is_shared(word, words):
                places = [f"{stem}{i}" for stem in "xup" for i, of in enumerate(words[stem]) if of == word]
                raise DomainError(
                    f"{where}: the plant has {word!r} more than once; write {' or '.join(places)}, or give each its "
                    "own name"
                )
    return expression(where, text, dict(constants or {}) | names)


def _words(plant: Plant) -> dict[str, list[str | None]]:
    """Return what labels are as names, None where they cannot be one."""
    labels = {stem: getattr(plant, f"{stem}_labels") for stem in "xupy"}
    places = {f"{stem}{i}" for stem in "xup" for i in range(len(labels[stem]))}
    words: dict[str, list[str | None]] = {}
    for stem in "xupy":
        words[stem] = [_word(label) for label in labels[stem]]
        for i, word in enumerate(words[stem]):
            if word in places and word != f"{stem}{i}":  # which would be the place of another
                words[stem][i] = None
    return words


def _word(label: str) -> str | None:
    word = _GAP.sub("_", label).strip("_") if label.isascii() else ""
    try:
        return as_symbol_name("name", word)
    except DomainError:
        return None


def _is_shared(word: str, words: dict[str, list[str | None]]) -> bool:
    return sum(words[stem].count(word) for stem in "xup") > 1
