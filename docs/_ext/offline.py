"""The built pages ask nothing of the network: what would be loaded from elsewhere ends the build."""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"'>\s]+"
    r"|<link\b(?![^>]*rel=[\"'](?:canonical|author)[\"'])[^>]*\bhref=[\"']?(?:https?:)?//[^\"'>\s]+"
    r"|@import\s+[\"'(]*(?:url\()?[\"']?(?:https?:)?//[^\"')\s]+|url\([\"']?(?:https?:)?//[^\"')]+"
)


def loaded_from_elsewhere(folder: Path) -> list[str]:
    """Return what pages and style sheets of a folder load from another server, each with its file."""
    files = sorted(path for suffix in ("html", "css") for path in folder.rglob(f"*.{suffix}"))
    return [
        f"{path.relative_to(folder)}: {found}"
        for path in files
        for found in LOADED.findall(path.read_text(encoding="utf-8"))
    ]


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        found = loaded_from_elsewhere(Path(app.outdir))
        if found:
            raise ExtensionError("pages load from another server: " + "; ".join(found[:5]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Check what was built."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
