"""Names of signals, parameters and memories as identifiers of C and C++."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

_LONGEST = 40  # C tells names apart by 63 characters or more
# Keywords of C and C++, and macros that headers or compilers may define with lower-case letters or one capital.
_RESERVED = """
    alignas alignof and and_eq asm assert auto bitand bitor bool break case catch char class compl complex concept const
    consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do double
    dynamic_cast else enum errno explicit export extern false far final float for friend goto huge i386 if imaginary
    inline int interface linux long main mutable namespace near new noexcept not not_eq nullptr offsetof operator or
    or_eq override private protected public register reinterpret_cast requires restrict return short signed sizeof
    small static static_assert static_cast stderr stdin stdout struct switch template this thread_local throw true try
    typedef typeid typename typeof union unix unsigned using va_arg virtual void volatile wchar_t while xor xor_eq
    DBL_MAX DBL_MIN DOMAIN EDOM EOF ERANGE FLT_MAX FLT_MIN HUGE HUGE_VAL I INFINITY MAXFLOAT M_E M_PI NAN NULL OVERFLOW
    PLOSS SING TLOSS UNDERFLOW"""


def identifiers(labels: Iterable[str], default: str, taken: Collection[str] = ()) -> tuple[str, ...]:
    """Return a different identifier for each label.

    Parameters
    ----------
    labels : iterable of str
        From a user, whatever they hold.
    default : str
        What stands, with a number, for a label of which nothing is left.
    taken : collection of str
        Identifiers that mean something else already.

    Returns
    -------
    tuple of str
    """
    found: list[str] = []
    taken = {*taken, *_RESERVED.split()}
    for k, label in enumerate(labels):
        name = _plain(label) or f"{default}{k}"
        name = name if name[0].isalpha() else f"{default}_{name}"
        name, number = name[:_LONGEST].rstrip("_"), 2
        stem = name
        while name in taken or name in found:
            name, number = f"{stem}_{number}", number + 1
        found.append(name)
    return tuple(found)


def _plain(label: str) -> str:
    """Return a label as letters, digits and underscores of ASCII, Greek letters by their names."""
    letters = []
    for c in unicodedata.normalize("NFKD", str(label)):
        if c.isascii() or unicodedata.combining(c):
            letters.append(c if c.isalnum() else "" if unicodedata.combining(c) else "_")
        else:
            name = unicodedata.name(c, "").split()
            letters.append(f"{name[-1].lower()}_" if name[:1] == ["GREEK"] and "LETTER" in name else "_")
    return re.sub(r"_+", "_", "".join(letters)).strip("_")


def named(labels: Sequence[str], units: Sequence[str]) -> tuple[str, ...]:
    """Return labels with their units, for comments.

    Parameters
    ----------
    labels, units : sequence of str

    Returns
    -------
    tuple of str
    """
    return tuple(f"{label} [{unit}]" if unit else label for label, unit in zip(labels, units, strict=True))
