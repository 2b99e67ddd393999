"""Pages that are made from the code: a line `<!-- from the code: NAME -->` becomes what the code says today."""

import re

import reference
from sphinx.application import Sphinx

MARK = re.compile(r"^<!-- from the code: (\w+) -->$", re.MULTILINE)


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = MARK.sub(lambda found: getattr(reference, found[1])(), source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill in pages as they are read."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
