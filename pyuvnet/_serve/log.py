"""The log of serve(): one line for each event, on stderr, which nothing ever waits for.

The reader of stderr may stop reading: a terminal that is halted, a collector that hangs. A write
to a pipe that is full would then stop the process, signals included. So a line that does not fit is
lost and counted, and once lines fit again, one of them says how many were lost. Other processes
have the same stderr, so its flags stay as they are.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import stat
import sys

from .._base import TYPE_CHECKING
from .._core.loop_registry import current_loop
from .._core.timer import set_timeout
from ..errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = logging.getLogger("pyuvnet.serve")
_FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(message)s"
# Between two looks at whether lines fit again.
_AGAIN = 1000  # ms
_ours: logging.Handler | None = None


def set_up_logging(level: str) -> None:
    """Let the logger `pyuvnet` write to stderr, unless the program has set logging up."""
    global _ours
    logger = logging.getLogger("pyuvnet")
    logger.setLevel(level.upper())
    if not logger.hasHandlers():
        try:
            _ours = Handler(sys.stderr.fileno())
        except (AttributeError, OSError, ValueError):
            # The program has put something else in its place.
            _ours = logging.StreamHandler()
        _ours.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(_ours)
        # Else a program that sets logging up later would have each line twice.
        logger.propagate = False


def lost_lines() -> int:
    """How many lines of this process were lost."""
    return _ours.lost if isinstance(_ours, Handler) else 0


class Handler(logging.Handler):
    """Writes lines to a descriptor, and does not wait.

    Attributes:
        lost: int, how many lines could not be written.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd, self._writer = fd, _Writer(fd)
        self._loop = current_loop()
        self.lost = self._unsaid = 0
        # What is left of a line that was cut.
        self._rest = b""
        self._looks = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it."""
        try:
            line = self._line(record)
        except Exception:
            self.handleError(record)
            return
        if not self._put(line):
            self.lost += 1
            self._unsaid += 1
        if self._unsaid or self._rest:
            self._look_later()

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _write(self, data: bytes) -> bool:
        """Write at least the beginning, and keep the rest; False: nothing was written."""
        if not self._writer.is_for(self._fd):
            # The program has put another file in its place.
            self._writer.close()
            self._writer = _Writer(self._fd)
        try:
            count = self._writer.write(data)
        except OSError:
            # It is full, in one way or another, or its reader is gone.
            return False
        if count:
            self._rest = data[count:]
        return count > 0

    def _put(self, line: bytes) -> bool:
        """Write what is left of the last line, how many were lost, and a line, or none of it."""
        if self._rest and not (self._write(self._rest) and not self._rest):
            return False
        if self._unsaid:
            count = self._unsaid
            what = "1 line was" if count == 1 else f"{count} lines were"
            text = f"the log could not be written: {what} lost"
            record = LOG.makeRecord(LOG.name, logging.WARNING, "", 0, text, (), None)
            line = self._line(record) + line
        if line and not self._write(line):
            return False
        self._unsaid = 0
        return True

    def _look_later(self) -> None:
        """Catch up although no other line comes; in any thread."""
        if not self._looks:
            # A loop that is closed takes no call: what is left is written at exit, if it fits then.
            with contextlib.suppress(StateError):
                self._loop._push_call(self._begin_to_look, ())
                self._looks = True

    def _begin_to_look(self) -> None:
        set_timeout(self._look, _AGAIN).unref()

    def _look(self) -> None:
        self.acquire()
        try:
            self._looks = not self._put(b"") or bool(self._rest)
        finally:
            self.release()
        if self._looks:
            self._begin_to_look()

    def close(self) -> None:
        """Write what is left if it fits by now, and nothing any more."""
        super().close()
        self._put(b"")
        self._writer.close()


class _Writer:
    """Writes to a descriptor as much as fits.

    On Linux a pipe or a terminal is opened once more, as an open file with flags of its own.
    """

    def __init__(self, fd: int) -> None:
        status = os.fstat(fd)
        self._file = (status.st_dev, status.st_ino)
        self._fd, self._own, self._polls = fd, -1, False
        self._socket: socket.socket | None = None
        self._is_terminal = os.isatty(fd)
        if stat.S_ISSOCK(status.st_mode):
            self._socket = socket.socket(fileno=os.dup(fd))
        elif not stat.S_ISREG(status.st_mode):
            # Where it cannot be opened, as one of another user's: see write().
            self._polls = True
            if sys.platform == "linux":
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                with contextlib.suppress(OSError):
                    self._fd = self._own = os.open(f"/proc/self/fd/{fd}", flags)
                    self._polls = False

    def is_for(self, fd: int) -> bool:
        """Whether a descriptor is the same file as before."""
        try:
            status = os.fstat(fd)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) == self._file

    def write(self, data: bytes) -> int:
        """Write; returns how much. Raises: OSError, also if nothing fits."""
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        if self._polls:
            return self._write_polled(data)
        if self._is_terminal:
            with _in_the_background():
                return os.write(self._fd, data)
        return os.write(self._fd, data)

    def _write_polled(self, data: bytes) -> int:
        """Write in pieces for which poll() promises room, unless another process is faster."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        count = 0
        with _in_the_background():
            while count < len(data) and poll.poll(0):
                count += os.write(self._fd, data[count : count + select.PIPE_BUF])
        return count

    def close(self) -> None:
        """Write no more."""
        if self._socket is not None:
            self._socket.close()
        if self._own >= 0:
            os.close(self._own)
        self._fd = self._own = -1


@contextlib.contextmanager
def _in_the_background() -> Iterator[None]:
    """Write to a terminal also as a job in the background that may not (`stty tostop`).

    The SIGTTOU of such a write would be taken for one that is to remove a worker, again and again.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
