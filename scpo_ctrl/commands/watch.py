"""The command that shows a run while it goes on."""

import errno
import os
import sys
import threading
import webbrowser
from pathlib import Path

import click

from scpo_ctrl.errors import OutputError
from scpo_ctrl.live import Server
from scpo_ctrl.stop import Stop
from scpo_ctrl.terminal import print_json, say


def watch_run(run: Path, port: int, no_open: bool, as_json: bool) -> int:
    """Show RUN in a browser while it goes on, or before it begins; Ctrl-C ends this, and not the run."""
    click.get_current_context().ensure_object(Stop).remedy = "the run itself goes on"
    try:
        server = Server(run, port)
    except OSError as error:
        remedy = "choose another --port, or leave it out"
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            remedy = "see whether this machine has the address 127.0.0.1"
        raise OutputError(f"--port {port}: cannot be listened on: {error.strerror}; {remedy}") from error
    with server:
        if as_json:
            print_json({"watch": server.url, "run": str(run)})
        else:
            say(f"{server.url} shows {run}; Ctrl-C ends this, and not the run")
        sys.stdout.flush()
        if not no_open and not as_json and _has_screen():
            threading.Thread(target=webbrowser.open, args=[server.url], daemon=True).start()
        server.serve_forever()
    return 0


def _has_screen() -> bool:
    """Whether a browser could open a window; one in this terminal would take it."""
    is_named = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and (sys.platform == "darwin" or is_named)
