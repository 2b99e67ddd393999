"""A serial line on this computer."""

import contextlib
import os
import select
import termios
import tty

from scpo_ctrl.errors import DeviceError

_SPEEDS = {9600: termios.B9600, 57600: termios.B57600, 115200: termios.B115200, 230400: termios.B230400}


class Port:
    """A serial line, or a pseudo-terminal of an emulator.

    Parameters
    ----------
    path : str
        Such as /dev/ttyUSB0.
    baud : int
        Of a real line [bit/s].
    timeout : float
        Longest silence within an answer [s].

    Raises
    ------
    DeviceError
        If it cannot be opened.
    """

    def __init__(self, path: str, *, baud: int = 115200, timeout: float = 10.0) -> None:
        self.path, self.timeout = path, timeout
        if baud not in _SPEEDS:
            raise DeviceError(f"baud is {baud}, expected one of {', '.join(map(str, _SPEEDS))}")
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY)
            try:
                tty.setraw(self._file)
                settings = termios.tcgetattr(self._file)
                settings[4] = settings[5] = _SPEEDS[baud]
                termios.tcsetattr(self._file, termios.TCSANOW, settings)
            except BaseException:
                os.close(self._file)
                raise
        except (OSError, termios.error) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no serial line"
            raise DeviceError(f"{path} cannot be opened: {reason}; connect the device, and check its name") from error

    def write(self, data: bytes) -> None:
        """Send bytes.

        Parameters
        ----------
        data : bytes

        Raises
        ------
        DeviceError
            If the line is gone.
        """
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            raise DeviceError(f"{self.path} is gone: {error.strerror}; connect the device again") from error

    def read(self, count: int) -> bytes:
        """Receive bytes.

        Parameters
        ----------
        count : int

        Returns
        -------
        bytes

        Raises
        ------
        DeviceError
            If none come for as long as the timeout.
        """
        found = b""
        while len(found) < count:
            if not select.select([self._file], [], [], self.timeout)[0]:
                raise DeviceError(
                    f"the device at {self.path} is silent for {self.timeout:g} s; check that its program calls "
                    "scpo_server_receive, and the line's speed"
                )
            try:
                part = os.read(self._file, count - len(found))
            except OSError as error:
                raise DeviceError(f"{self.path} is gone: {error.strerror}; connect the device again") from error
            if not part:
                raise DeviceError(f"{self.path} was closed; connect the device again")
            found += part
        return found

    def close(self) -> None:
        """Close the line."""
        with contextlib.suppress(OSError):
            os.close(self._file)
