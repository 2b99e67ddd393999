"""The Python of a page, run as a reader would: in a folder of its own, where it may write."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

LONGEST = 25  # lines of a block


def made_by(text: str, name: str, folder: Path | None = None) -> dict[str, object]:
    """Return what the blocks of a text have made, one after the other; files that they read are in the folder."""
    found: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty if folder is None else folder):
        for block in blocks:
            assert len(block.splitlines()) <= LONGEST
            exec(compile(block, name, "exec"), found)
    return found
