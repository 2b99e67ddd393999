"""The command line in a process of its own, for tests of what only a process has: signals, terminals, descriptors."""

from __future__ import annotations

import sys

COMMAND = [sys.executable, "-m", "scpo_ctrl"]
# The same, with reports without pictures, which take most of the time of a small run.
WITHOUT_PICTURES = """
import sys
from scpo_ctrl.report import page

def write_report(result, path, guarded=None):
    page.write_atomic(path, page.render_report(result, pictures=False, guarded=guarded).encode())

page.write_report = write_report
sys.argv[0] = "scpo-ctrl"
from scpo_ctrl.__main__ import main
main()
"""
PLAIN = [sys.executable, "-c", WITHOUT_PICTURES]
# The same without a report: importing what draws it takes half of the time of a small run.
WITHOUT_REPORT = """
import sys
from types import SimpleNamespace

sys.modules["scpo_ctrl.report.page"] = SimpleNamespace(write_report=lambda result, path: None)
sys.argv[0] = "scpo-ctrl"
from scpo_ctrl.__main__ import main
main()
"""
BARE = [sys.executable, "-c", WITHOUT_REPORT]
