"""Commands of the assurance wing, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest


@pytest.fixture
def invoke():
    """Run a command in a process of its own."""

    def run(*arguments) -> SimpleNamespace:
        command = [sys.executable, "-m", "scpo_ctrl", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert "Traceback" not in done.stderr
        return SimpleNamespace(exit_code=done.returncode, output=done.stdout, stderr=done.stderr)

    return run
