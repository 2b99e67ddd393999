"""Pages that are made from the code: a line `<!-- from the code: NAME -->` becomes what the code says today."""

import dataclasses
import re

import reference
from sphinx.application import Sphinx

MARK = re.compile(r"^<!-- from the code: (\w+) -->$", re.MULTILINE)


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = MARK.sub(lambda found: getattr(reference, found[1])(), source[0])


def _docstring(_app: Sphinx, _what: str, _name: str, found: object, _options: object, lines: list[str]) -> None:
    """Let |x| be a size and no substitution, and list the fields that a dataclass explains beside them."""
    code = (">>>", "...")
    lines[:] = [line if line.lstrip().startswith(code) else line.replace("|", "\\|") for line in lines]
    if dataclasses.is_dataclass(found) and isinstance(found, type):
        place = next((i for i, line in enumerate(lines) if line.startswith(".. rubric:: Examples")), len(lines))
        lines[place:place] = reference.field_list(found)


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill in pages as they are read."""
    app.connect("source-read", _fill)
    app.connect("autodoc-process-docstring", _docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
