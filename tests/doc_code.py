"""The code of a page, run as a reader would: in a folder of its own, where it may write."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from scpo_ctrl import cli

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


def walk(text: str, name: str, folder: Path) -> dict[str, object]:
    """Do what a tutorial says, in its order, and compare what is printed.

    Blocks of python are run, toml whose first line names a file is written to it, each line of sh is a command, and
    each line of text must have been printed by the block before.
    """
    found: dict[str, object] = {}
    printed = ""
    with contextlib.chdir(folder):
        for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if language == "python":
                assert len(block.splitlines()) <= LONGEST
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(compile(block, name, "exec"), found)
                printed = out.getvalue()
            elif language == "toml" and (file := re.match(r"# (\w+\.toml)\n", block)):
                Path(file[1]).write_text(block, encoding="utf-8")
            elif language == "sh":
                printed = "".join(map(_called, block.splitlines()))
            elif language == "text":
                missing = [line for line in block.splitlines() if line.strip() not in printed]
                assert not missing, f"{name}: not printed: {missing[0]!r}; printed was:\n{printed}"
    return found


def _called(line: str) -> str:
    """Return what a command prints; `# exit status 1` behind it says how it ends."""
    words = shlex.split(line, comments=True)
    status = int(said[1]) if (said := re.search(r"# exit status (\d)", line)) else 0
    if words[0] != "scpo-ctrl":
        if shutil.which(words[0]) is None:
            return ""
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return done.stdout
    out = io.StringIO()
    with mock.patch.object(sys, "argv", words), contextlib.redirect_stdout(out):
        try:
            cli.main()
        except SystemExit as done:
            assert (done.code or 0) == status, f"{line}: exit status {done.code}"
    return out.getvalue()
