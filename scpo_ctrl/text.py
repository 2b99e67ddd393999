"""Text of users on its way to a terminal or a file: what would move the cursor or turn the line is made visible."""

import unicodedata

_JOINERS = "\u200c\u200d"  # some scripts need them between letters


def one_line(text: str) -> str:
    """Return text on one line, a blank for every character that shows nothing.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Without control characters, line breaks, marks that turn the direction of writing, and halves of characters.
    """
    return "".join(c if _shows(c) else " " for c in text)


def visible(text: str) -> str:
    r"""Return text on one line, an escape sequence for every character that shows nothing.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Such as ``\x1b`` for the character that begins a command to a terminal.
    """
    return "".join(c if _shows(c) else c.encode("unicode_escape").decode() for c in text)


def noun_of(count: int, noun: str) -> str:
    """Return a noun as it stands behind a count.

    Parameters
    ----------
    count : int
    noun : str
        In the singular.

    Returns
    -------
    str
    """
    if count == 1:
        return noun
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"


def _shows(character: str) -> bool:
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
