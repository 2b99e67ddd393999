"""The host's end of the byte stream to a device: frames, requests and what they mean."""

import struct
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from scpo_ctrl.device.port import Port
from scpo_ctrl.errors import DeviceError

PROTOCOL = 1  # SCPO_LINK_VERSION in scpo_link.h
_START = 0xA5
_HASH = 64  # characters of SCPO_INPUT_HASH
OUTCOMES = (
    "adapting",
    "committed",
    "rejected",
    "converged",
    "start_unsafe",
    "start_bad",
    "no_data",
    "audited",
    "withdrawn",
)


def crc16(data: bytes) -> int:
    """Return the CRC-16/CCITT-FALSE of some bytes.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    int
    """
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """Return a frame.

    Parameters
    ----------
    kind : bytes
        One byte, its type.
    payload : bytes

    Returns
    -------
    bytes
    """
    body = kind + struct.pack("<H", len(payload)) + payload
    return bytes([_START]) + body + struct.pack("<H", crc16(body))


@dataclass(frozen=True)
class Progress:
    """What the adaptation on a device has come to; costs are in the device's own unit, 0 where it has no counter."""

    outcome: str  # one of OUTCOMES
    steps: int
    commits: int
    tries: int
    unsafe: int
    pieces: int
    projections: int
    audits: int | None  # None: what is committed becomes active at once
    fresh: int  # points that they drew
    objective: float
    margin: float
    dearest_piece: int
    dearest_step: int
    projecting: int  # cost of all projections
    auditing: int  # cost of all points of audits
    all: int  # cost of everything


@dataclass(frozen=True)
class Answer:
    """What a control call gave."""

    status: int
    cost: int
    u: np.ndarray  # (nu,)


@dataclass(frozen=True)
class Sample:
    """A sample that a device kept: what it measured and what it applied."""

    number: int  # counts up, also over samples that found no room
    status: int
    x: np.ndarray  # (nx,)
    u: np.ndarray  # (nu,)


class Device:
    """A device with a controller and its adaptation, as `scpo_server_receive` answers.

    Parameters
    ----------
    port : Port

    Raises
    ------
    DeviceError
        If it does not answer, or speaks another version.
    """

    def __init__(self, port: Port) -> None:
        self.port = port
        answer = self.ask(b"V")
        if len(answer) != 6 + _HASH or answer[0] != PROTOCOL:
            version = answer[0] if answer else None
            raise DeviceError(f"the device speaks version {version} of the link, this package {PROTOCOL}; export anew")
        self.nx, self.nu, self.theta_dim = answer[2], answer[3], int.from_bytes(answer[4:6], "little")
        self.real = np.dtype("<f4" if answer[1] == 4 else "<f8")
        self.input_hash = answer[6:].decode("ascii", errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.port.close()

    def ask(self, kind: bytes, payload: bytes = b"") -> bytes:
        """Send a request and return the payload of the answer.

        Parameters
        ----------
        kind : bytes
        payload : bytes

        Returns
        -------
        bytes

        Raises
        ------
        DeviceError
            If it is refused, lost or damaged.
        """
        self.port.write(frame(kind, payload))
        silent = time.monotonic() + self.port.timeout
        while self.port.read(1)[0] != _START:
            if time.monotonic() > silent:
                raise DeviceError(f"what {self.port.path} sends is no frame; check the line's speed")
        head = self.port.read(3)
        rest = self.port.read(int.from_bytes(head[1:], "little") + 2)
        if crc16(head + rest[:-2]) != int.from_bytes(rest[-2:], "little"):
            raise DeviceError(f"an answer of the device at {self.port.path} is damaged; check the line and its speed")
        if head[:1] != kind:
            raise DeviceError(f"the device refuses the request {kind.decode()!r}: export anew, and flash it")
        return rest[:-2]

    def control(self, x: np.ndarray) -> Answer:
        """Return the device's input for a state.

        Parameters
        ----------
        x : numpy.ndarray, shape (nx,)

        Returns
        -------
        Answer
        """
        answer = self.ask(b"X", np.asarray(x, self.real).tobytes())
        u = np.frombuffer(answer[5:], self.real).astype(float)
        return Answer(answer[0], int.from_bytes(answer[1:5], "little"), u)

    def load(self, theta: np.ndarray) -> int:
        """Make parameters the active ones, from which the adaptation goes on; returns the device's status.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        int
        """
        return self.ask(b"T", np.asarray(theta, self.real).tobytes())[0]

    def active(self) -> np.ndarray:
        """Return the active parameters.

        Returns
        -------
        numpy.ndarray, shape (d,)
        """
        return np.frombuffer(self.ask(b"G"), self.real).astype(float)

    def committed(self) -> np.ndarray:
        """Return the committed parameters of a device that audits, which are active once they have passed.

        Returns
        -------
        numpy.ndarray, shape (d,)
        """
        return np.frombuffer(self.ask(b"C"), self.real).astype(float)

    def refer(self, x: np.ndarray, u: np.ndarray) -> int:
        """Set what the objective asks for, from which the adaptation begins anew; returns the device's status.

        Parameters
        ----------
        x : numpy.ndarray, shape (nx,), or (N, nx) where it tracks
        u : numpy.ndarray, shape (nu,) or (N, nu)

        Returns
        -------
        int
        """
        return self.ask(b"F", np.concatenate([x, u], axis=-1).astype(self.real).tobytes())[0]

    def observe(self, x: np.ndarray, u: np.ndarray) -> int:
        """Give an example of the expert to a device that imitates; returns its status, 8 where there is no room now.

        Parameters
        ----------
        x : numpy.ndarray, shape (nx,)
        u : numpy.ndarray, shape (nu,)

        Returns
        -------
        int
        """
        return self.ask(b"O", np.concatenate([x, u]).astype(self.real).tobytes())[0]

    def parameters(self, low: np.ndarray, high: np.ndarray) -> int:
        """Replace the ranges of the plant parameters, from which the adaptation begins anew; returns the status.

        Parameters
        ----------
        low, high : numpy.ndarray, shape (np,)

        Returns
        -------
        int
            4 where they do not lie in the declared ranges.
        """
        return self.ask(b"P", np.concatenate([low, high]).astype(self.real).tobytes())[0]

    def adapt(self, pieces: int) -> Progress:
        """Let the device do pieces of its adaptation, at most until a step ends.

        Parameters
        ----------
        pieces : int

        Returns
        -------
        Progress
        """
        answer = self.ask(b"A", struct.pack("<I", pieces))
        steps, commits, tries, unsafe, pieces, projections = struct.unpack_from("<6I", answer, 1)
        size = self.real.itemsize
        objective, margin = np.frombuffer(answer[25 : 25 + 2 * size], self.real).astype(float)
        end = 25 + 2 * size + 24
        dearest_piece, dearest_step, projecting, everything = struct.unpack_from("<2I2Q", answer, end - 24)
        audits, fresh, auditing = struct.unpack_from("<2IQ", answer, end) if len(answer) > end else (None, 0, 0)
        return Progress(
            outcome=OUTCOMES[answer[0]],
            steps=steps,
            commits=commits,
            tries=tries,
            unsafe=unsafe,
            pieces=pieces,
            projections=projections,
            audits=audits,
            fresh=fresh,
            objective=float(objective),
            margin=float(margin),
            dearest_piece=dearest_piece,
            dearest_step=dearest_step,
            projecting=projecting,
            auditing=auditing,
            all=everything,
        )

    def samples(self) -> list[Sample]:
        """Return samples that wait, the oldest first, as many as an answer holds.

        Returns
        -------
        list of Sample
        """
        answer, found = self.ask(b"R"), []
        each = 5 + self.real.itemsize * (self.nx + self.nu)
        for k in range(answer[0]):
            one = answer[5 + k * each : 5 + (k + 1) * each]
            values = np.frombuffer(one[5:], self.real).astype(float)
            found.append(Sample(int.from_bytes(one[:4], "little"), one[4], values[: self.nx], values[self.nx :]))
        return found

    def walk(self, scenario: int, x: np.ndarray) -> None:
        """Let an emulated board control its own model while the line is quiet.

        Parameters
        ----------
        scenario : int
            Whose plant parameters it has.
        x : numpy.ndarray, shape (nx,)
            Where it begins.
        """
        self.ask(b"W", struct.pack("<H", scenario) + np.asarray(x, self.real).tobytes())

    def stack(self, pieces: int = 0) -> int:
        """Return the bytes of stack that work took at most; emulated boards only.

        Parameters
        ----------
        pieces : int
            Of the adaptation; a control call where 0.

        Returns
        -------
        int
        """
        return int.from_bytes(self.ask(b"S", struct.pack("<BI", pieces > 0, pieces)), "little")
