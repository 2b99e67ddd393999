"""The server of the live page: on this machine only, two addresses, nothing else."""

import select
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from socketserver import TCPServer
from typing import Any

from scpo_ctrl.errors import cause
from scpo_ctrl.live.page import page
from scpo_ctrl.live.watched import Watched
from scpo_ctrl.terminal import warn

ADDRESS = "127.0.0.1"
MOST_CLIENTS = 64  # at once; more are turned away, and come again
_LOOK = 0.25  # [s] between looks at the folder
_BEAT = 15.0  # [s] after which a silent stream says that it is alive
_PATIENCE = 10.0  # [s] for a request, and for a client that does not read
_AGAIN = 1000  # [ms] after which a browser comes again
_CLOSED = 0.5  # [s] between looks whether a client is still there
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Server(ThreadingHTTPServer):
    """The live page of a RUN folder, which `serve_forever` looks at between requests.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder; it need not be there yet.
    port : int
        0 for a free one.

    Raises
    ------
    OSError
        If the port is taken.
    """

    request_queue_size = 16

    def __init__(self, path: Path, port: int = 0) -> None:
        self.watched = Watched(path)
        self._places = threading.BoundedSemaphore(MOST_CLIENTS)
        super().__init__((ADDRESS, port), _Handler)
        self.url = f"http://{ADDRESS}:{self.server_port}/"
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}
        if self.server_port == 80:
            self.hosts |= {ADDRESS, "localhost"}

    def serve_forever(self, poll_interval: float = _LOOK) -> None:
        """Serve until `shutdown`, or an exception such as that of Ctrl-C.

        Parameters
        ----------
        poll_interval : float
            Between looks at the folder [s].
        """
        try:
            super().serve_forever(poll_interval)
        finally:
            self.watched.close()

    def service_actions(self) -> None:
        """Look at the folder."""
        self.watched.look()

    def server_bind(self) -> None:
        """Bind without asking for the name of the machine, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Answer in a thread, as long as there are few."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Answer, in a thread of its own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Say in one line what went wrong; a client that has gone is no fault."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, OSError):
            warn(f"a request failed: {cause(error)}")


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of / and /events."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = _PATIENCE

    def do_GET(self) -> None:
        if self._is_refused():
            return
        if self.path == "/":
            self._start(page()[0])
        elif self.path == "/events":
            self._stream()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET

    def version_string(self) -> str:
        return "scpo-ctrl"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal free."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with the name of what is wrong, and nothing of the request."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code = HTTPStatus.METHOD_NOT_ALLOWED
        body = f"{int(code)} {HTTPStatus(code).phrase}\n".encode()
        self.send_response(code)
        self._end_headers("text/plain; charset=utf-8", len(body), {"Allow": "GET, HEAD"} if code == 405 else {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _is_refused(self) -> bool:
        """Whether another page asks: by a name of its own for this machine (DNS rebinding), or for the events."""
        hosts = self.headers.get_all("Host") or []
        is_ours = len(hosts) == 1 and hosts[0].lower() in self.server.hosts
        is_own_page = self.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
        if is_ours and (is_own_page or self.path == "/"):
            return False
        self.send_error(HTTPStatus.FORBIDDEN)
        return True

    def _start(self, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self._end_headers("text/html; charset=utf-8", len(body), {"Content-Security-Policy": page()[1]})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self) -> None:
        """Send the view, then what is new, until the client goes or the server ends."""
        self.send_response(HTTPStatus.OK)
        self._end_headers("text/event-stream; charset=utf-8", None, {})
        if self.command == "HEAD":
            return
        self.wfile.write(f"retry: {_AGAIN}\n\n".encode())
        version, name, silent = 0, self.headers.get("Last-Event-ID"), 0.0
        while True:
            last, (version, view) = version, self.server.watched.wait(version, _CLOSED)
            if view is None or self._has_gone():
                return
            silent = 0.0 if version != last else silent + _CLOSED
            if version != last:
                self.wfile.write(view.event(view.known(name)))
                name = view.name
            elif silent >= _BEAT:
                self.wfile.write(b": still here\n\n")
                silent = 0.0

    def _has_gone(self) -> bool:
        """Whether the client has closed its end; it has nothing more to say otherwise."""
        return bool(select.select([self.connection], [], [], 0)[0])

    def _end_headers(self, kind: str, length: int | None, more: dict[str, str]) -> None:
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        policy = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
        for name, value in (_HEADERS | policy | more).items():
            self.send_header(name, value)
        self.end_headers()
