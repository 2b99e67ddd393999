"""Pages that are made from the code: a line `<!-- from the code: NAME -->` becomes what the code says today."""

import re

import reference
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

MARK = re.compile(r"^<!-- from the code: (\w+) -->$", re.MULTILINE)


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = MARK.sub(lambda found: getattr(reference, found[1])(), source[0])


def _docstring(_app: Sphinx, _what: str, _name: str, _found: object, _options: object, lines: list[str]) -> None:
    """Let |x| be a size and no substitution."""
    code = (">>>", "...")
    lines[:] = [line if line.lstrip().startswith(code) else line.replace("|", "\\|") for line in lines]


def _unlink_words(_app: Sphinx, doctree: nodes.document) -> None:
    """Take back links of words in a type: `shape (nx,)` is no class, though a class may have a member of that name."""
    for link in list(doctree.findall(addnodes.pending_xref)):
        if link.get("reftype") == "class" and not link["reftarget"].rpartition(".")[2][:1].isupper():
            link.replace_self(link.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill in pages as they are read."""
    app.connect("source-read", _fill)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("doctree-read", _unlink_words)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
