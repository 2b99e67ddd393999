"""The byte stream to a device: frames in Python and in C, requests, and what is damaged or refused."""

import contextlib
import ctypes
import os
import struct
import subprocess
import threading
import tty

import numpy as np
import pytest
from device_problems import r3_problem, unadapted
from exports import STRICT, need

from scpo_ctrl.codegen import export
from scpo_ctrl.device.link import Device, Port, crc16, frame
from scpo_ctrl.errors import DeviceError

SERVER = r"""
#include <string.h>
#include "scpo_link.h"
static scpo_controller controller;
static scpo_adapter adapter;
static scpo_telemetry telemetry;
static scpo_server server;
static unsigned char out[1 << 16];
static int length;
static void put(void *user, unsigned char byte) { (void)user; if (length < (int)sizeof out) { out[length++] = byte; } }
static uint32_t now(void *user) { static uint32_t ticks; (void)user; return ticks += 7u; }
void begin(void)
{
    memset(&server, 0, sizeof server);
    memset(&telemetry, 0, sizeof telemetry);
    (void)scpo_controller_begin(&controller, scpo_theta_initial);
    scpo_adapter_begin(&adapter, &controller);
    server.controller = &controller, server.adapter = &adapter, server.telemetry = &telemetry;
    server.put = put, server.clock = now;
}
int give(const unsigned char *bytes, int count, unsigned char *answer)
{
    int k;
    length = 0;
    for (k = 0; k < count; k++) { scpo_server_receive(&server, bytes[k]); }
    memcpy(answer, out, (size_t)length);
    return length;
}
unsigned bad(void) { return server.link.bad; }
"""


@pytest.fixture(scope="module")
def problem():
    return r3_problem()


def served(problem, folder, *, audited=True):
    """Return the C of a device's answers as a function of bytes, in float."""
    need("gcc")
    export(unadapted(problem), folder / "c", real="float", measured=False, adapting=True, audited=audited)
    (folder / "server.c").write_text(SERVER)
    sources = [*sorted((folder / "c" / "src").glob("*.c")), folder / "server.c"]
    includes = [f"-I{folder / 'c' / part}" for part in ("include", "src")]
    flags = ["-std=c99", "-O0", "-shared", "-fPIC", "-Wno-missing-prototypes", *STRICT.split()]
    subprocess.run(["gcc", *flags, *includes, *map(str, sources), "-o", str(folder / "s.so"), "-lm"], check=True)
    library = ctypes.CDLL(str(folder / "s.so"))
    answer = ctypes.create_string_buffer(1 << 16)

    def give(data: bytes) -> bytes:
        count = library.give(data, len(data), answer)
        return answer.raw[:count]

    give.begin, give.bad = library.begin, library.bad
    return give


@contextlib.contextmanager
def at_a_line(server):
    """Give a device at the other end of a pseudo-terminal, answered by the C."""
    server.begin()
    ours, theirs = os.openpty()
    tty.setraw(ours)

    def serve():
        while not (data := os.read(ours, 4096)).endswith(b"END"):
            answer = server(data)
            while answer:
                answer = answer[os.write(ours, answer) :]

    thread = threading.Thread(target=serve)
    thread.start()
    port = Port(os.ttyname(theirs), timeout=10.0)
    try:
        yield Device(port)
    finally:
        port.write(b"END")
        thread.join()
        port.close()
        os.close(ours)
        os.close(theirs)


@pytest.fixture(scope="module")
def server(problem, tmp_path_factory):
    return served(problem, tmp_path_factory.mktemp("link"))


@pytest.fixture
def device(server):
    with at_a_line(server) as device:
        yield device


def test_the_checksum_is_the_published_one():
    assert crc16(b"123456789") == 0x29B1  # CRC-16/CCITT-FALSE of the catalogue of parametrised CRC algorithms


def test_a_device_answers_what_the_policy_says(device, problem):
    rng = np.random.default_rng(0)
    theta = rng.normal(size=problem.theta_dim).astype(np.float32).astype(float)
    assert (device.nx, device.nu, device.theta_dim) == (2, 1, 48)
    assert device.load(theta) == 0 and np.array_equal(device.active(), theta)
    for x in rng.uniform(-1, 1, (20, 2)).astype(np.float32).astype(float):
        answer = device.control(x)
        assert answer.status == 0 and answer.cost == 7
        assert np.abs(answer.u - problem.policy(x, theta)).max() < 2e-6
    assert device.load(np.full(48, np.nan)) == 5 and np.array_equal(device.active(), theta)  # SCPO_BAD_THETA


def test_a_device_adapts_when_it_is_asked(device, problem):
    assert device.load(problem.theta_initial) == 0
    before = device.adapt(0)
    for _ in range(5):
        progress = device.adapt(100_000)
        assert progress.outcome == "committed"
        assert problem.metrics(device.committed()).max() <= 0
    assert progress.objective < problem.objective(problem.theta_initial) and before.steps == 0
    assert abs(progress.objective - problem.objective(device.committed())) < 1e-5
    assert np.array_equal(device.active(), problem.theta_initial.astype(np.float32)) and progress.audits == 1
    while progress.outcome in ("committed", "rejected"):
        progress = device.adapt(100_000)
    assert progress.outcome == "audited" and progress.audits > 1 and progress.fresh == 4000 * progress.audits
    assert np.array_equal(device.active(), device.committed()) and problem.metrics(device.active()).max() <= 0
    assert device.refer(np.array([0.5, 0.0]), np.zeros(1)) == 0
    assert device.refer(np.array([np.nan, 0.0]), np.zeros(1)) == 4  # SCPO_BAD_STATE
    assert device.adapt(100_000).outcome == "committed"


def test_samples_wait_for_the_host(server):
    server.begin()
    for k in range(20):
        server(frame(b"X", np.array([k, 1.0], np.float32).tobytes()))
    answer = server(frame(b"R"))[4:-2]
    count, lost = answer[0], int.from_bytes(answer[1:5], "little")
    each = [answer[5 + 17 * k : 22 + 17 * k] for k in range(count)]
    assert lost == 4 and [struct.unpack("<Ibff", one[:13])[0] for one in each] == list(range(count))
    assert [struct.unpack_from("<f", one, 5)[0] for one in each] == list(range(count))


def test_no_damage_is_taken_for_a_request(server):
    server.begin()
    rng, whole = np.random.default_rng(1), frame(b"X", np.array([0.5, 1.0], np.float32).tobytes())
    wanted = server(whole)
    assert wanted and server.bad() == 0
    for place in range(len(whole)):
        for bit in range(8):
            broken = bytearray(whole)
            broken[place] ^= 1 << bit
            answer = server(bytes(broken) + bytes(600))  # what it waits for, and more
            assert answer != wanted and not answer.startswith(wanted[:1] + b"X")
    for _ in range(2000):
        server(rng.bytes(int(rng.integers(1, 300))))
    server(bytes(600))
    assert server(whole)[4:] == wanted[4:]  # it finds its way back


def test_requests_that_do_not_exist_are_refused(server):
    server.begin()
    for request in (frame(b"?"), frame(b"X", b"123"), frame(b"T"), frame(b"A", b"\1\2\3\4\5"), frame(b"P")):
        answer = server(request)
        assert answer[1:2] == b"N" and answer[4:5] == request[1:2]


@pytest.mark.parametrize(("path", "says"), [("/dev/null", "no serial line"), ("/dev/no-such-line", "No such file")])
def test_what_is_no_device_is_said(path, says):
    with pytest.raises(DeviceError, match=says):
        Port(path)


def test_a_silent_device_and_an_odd_speed_are_said():
    ours, theirs = os.openpty()
    with pytest.raises(DeviceError, match="expected one of 9600"):
        Port(os.ttyname(theirs), baud=12345)
    port = Port(os.ttyname(theirs), timeout=0.05)
    with pytest.raises(DeviceError, match=r"is silent for 0\.05 s"):
        Device(port)
    os.close(ours)
    with pytest.raises(DeviceError, match=r"is gone|was closed"):
        port.read(1)
    port.close()
    os.close(theirs)
