"""The server of the live page: it serves two addresses to pages of its own, and lets go of whoever has gone."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from live_runs import served

from scpo_ctrl.live import server as server_module
from scpo_ctrl.live.saved import COLUMNS
from scpo_ctrl.live.view import View


@pytest.fixture
def server(tmp_path):
    with served(tmp_path / "run") as one:
        yield one


def answer(server, path="/", method="GET", **headers):
    """Ask once; return status, headers and the beginning of the body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    found = connection.getresponse()
    body = b"" if found.headers.get_content_type() == "text/event-stream" else found.read()
    connection.close()
    return found.status, found.headers, body


def stream(server, **headers):
    """Open the events; return the socket and a file to read them from."""
    one = socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    one.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n{lines}\r\n".encode())
    return one, one.makefile("rb")


def next_event(file):
    while not (line := file.readline()).startswith(b"data: "):
        assert line, "the stream has ended"
    return json.loads(line.removeprefix(b"data: "))


def until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def handlers():
    return [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]


def test_the_page_and_nothing_else(server, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "secret.txt").write_text("secret")
    status, headers, body = answer(server)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers and "Python" not in str(headers)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "*" not in policy
    assert not re.search(rb'(src|href)="(?!data:,)', body)
    for path in (
        "/secret.txt",
        "/run/secret.txt",
        "/../secret.txt",
        "/index.html",
        "/?x",
        "/events?x",
        "/<b>x</b>",
    ):
        status, headers, body = answer(server, path)
        assert (status, body) == (404, b"404 Not Found\n"), path
        assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "<B>"])
def test_nothing_but_get_and_head(server, method):
    status, headers, body = answer(server, "/", method)
    assert (status, headers["Allow"], body) == (405, "GET, HEAD", b"405 Method Not Allowed\n")


def test_head_has_the_headers_alone(server):
    assert answer(server, method="HEAD")[1]["Content-Length"] == answer(server)[1]["Content-Length"]
    assert answer(server, method="HEAD")[2] == b""
    assert answer(server, "/events", "HEAD")[0] == 200


def test_other_names_of_this_machine_are_refused(server):
    """A page elsewhere whose name comes to mean 127.0.0.1 is not served, nor are events to pages elsewhere."""
    port = server.server_port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}"):
        assert answer(server, Host=host)[0] == 200
    for host in (
        f"evil.example:{port}",
        "127.0.0.1",
        f"localhost:{port + 1}",
        f"127.0.0.1:{port}.evil.example",
        "",
        None,
    ):
        for path in ("/", "/events", "/other"):
            assert answer(server, path, Host=host)[::2] == (403, b"403 Forbidden\n"), host
    assert answer(server, "/events", Sec_Fetch_Site="cross-site")[0] == 403
    assert answer(server, "/events", Sec_Fetch_Site="same-origin")[0] == 200


def test_what_is_no_request_is_answered_in_a_word(server):
    for data in (
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as one:
            one.sendall(data)
            said = one.recv(4096)
        assert re.match(rb"(HTTP/1.0 )?(4\d\d|505) ", said), (data[:20], said)
        assert b"xxxx" not in said and b"\x16" not in said


def test_events_go_on_from_what_a_client_has(server):
    rows = np.arange(3.0 * len(COLUMNS)).reshape(3, -1)
    server.watched._show(View({"word": "first"}, rows[:2]))
    one, file = stream(server)
    first = next_event(file)
    assert (first["from"], len(first["rows"]), first["facts"]) == (0, 2, {"word": "first"})
    server.watched._show(View({"word": "second"}, rows))
    assert (next_event(file)["from"], one.close(), file.close()) == (2, None, None)
    again, file = stream(server, Last_Event_ID=View({}, rows[:2]).name)
    assert (next_event(file)["from"], again.close(), file.close()) == (2, None, None)
    other, file = stream(server, Last_Event_ID="1-2-0000000000000000")
    assert (next_event(file)["from"], other.close(), file.close()) == (0, None, None)
    until(lambda: not handlers())


def test_many_clients_slow_ones_and_closed_ones_leave_no_thread(server, monkeypatch):
    monkeypatch.setattr(server_module._Handler, "timeout", 0.3)
    clients = [stream(server) for _ in range(server_module.MOST_CLIENTS)]
    for _, file in clients:
        next_event(file)
    assert len(handlers()) == server_module.MOST_CLIENTS
    refused, file = stream(server)
    assert file.read() == b""  # one too many
    for one in (refused, file, *(part for pair in clients[1:] for part in pair)):
        one.close()
    until(lambda: len(handlers()) == 1)
    for k in range(200):  # the last one does not read
        server.watched._show(View({"word": "x" * 1_000_000, "k": k}, np.zeros((0, len(COLUMNS)))))
        if not handlers():
            break
        time.sleep(0.02)
    until(lambda: not handlers())
    for part in clients[0]:
        part.close()


def test_its_end_is_that_of_every_client(tmp_path):
    with served(tmp_path / "run") as server:
        one, file = stream(server)
        next_event(file)
    assert file.read() == b"\n"  # the end of the event
    until(lambda: not handlers())
    one.close()
    file.close()


def test_ctrl_c_ends_it_at_once(tmp_path):
    words = [sys.executable, "-m", "scpo_ctrl", "watch", str(tmp_path / "run"), "--no-open", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = json.loads(process.stdout.readline())
    port = int(said["watch"].rstrip("/").rsplit(":", 1)[1])
    one = socket.create_connection(("127.0.0.1", port), timeout=30)
    one.sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    assert one.recv(100)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "scpo-ctrl: interrupted; the run itself goes on\n")
    one.close()


def test_wrong_input(run, server, tmp_path):
    taken = run("watch", tmp_path / "run", "--no-open", "--port", server.server_port)
    assert taken.status == 2 and "choose another --port" in taken.line
    (tmp_path / "file").write_text("")
    assert "is not a folder; give the RUN folder" in run("watch", tmp_path / "file", "--no-open").line
    assert "--port" in run("watch", tmp_path / "run", "--port", "99999").line
