"""The documentation site: `make docs` builds it, offline; a warning is an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from scpo_ctrl import __all__, __version__

project = "scpo-ctrl"
author = "The scpo-ctrl developers"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "from_code",
    "offline",
]
exclude_patterns = ["_ext"]
source_suffix = {".md": "markdown"}

myst_heading_anchors = 4  # as GitHub numbers them: pages read the same there
myst_enable_extensions = ["colon_fence", "deflist"]

default_role = "py:obj"
highlight_language = "none"
nitpicky = True
# Types in words ("ndarray, (nx,)"), and what lies below the public names.
nitpick_ignore_regex = [("py:.*", rf"(?!scpo_ctrl\.(?:{'|'.join(__all__)})$).*")]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstring has them
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # of a dataclass: its fields are in its docstring

html_theme = "furo"
html_title = f"scpo-ctrl {release}"
html_show_sourcelink = False
html_copy_source = False
