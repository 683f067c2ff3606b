"""pyuvnet connect: stdin goes to a server, and what it sends comes out of stdout."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from .. import current_loop, framing, net, run
from ..errors import Error, StateError
from .arguments import LOCAL, fail, is_path, port_number, text_of

if TYPE_CHECKING:
    import argparse
    from typing import Any

    from ..socket import Socket

CHUNK = 65536
# How long a program that feeds stdin may take to write more, in s.
MOMENT = 0.05
# Of a line that the server sends.
LONGEST_LINE = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.usage = "%(prog)s [options] HOST PORT\n       %(prog)s [options] PATH"
    parser.description = (
        "Connect to a server. What is read from stdin is sent, and what arrives is written to "
        "stdout. The end of stdin ends this side of the connection; the command ends when the "
        "server has ended its side."
    )
    parser.add_argument(
        "address",
        nargs="+",
        metavar="ADDRESS",
        help="a host and a port, or the path of a unix socket or named pipe",
    )
    parser.add_argument(
        "--line",
        action="store_true",
        help="send and print whole lines only; CRLF from the server is printed as a line feed",
    )
    parser.add_argument(
        "--crlf", action="store_true", help="as --line, and end each line that is sent with CRLF"
    )
    parser.add_argument(
        "--keep-open",
        action="store_true",
        help="keep this side open at the end of stdin, for a server that would stop responding",
    )
    tls = parser.add_argument_group("TLS")
    tls.add_argument("--tls", action="store_true", help="encrypt, and verify the certificate")
    tls.add_argument("--ca", metavar="FILE", help="trust FILE instead of the system's certificates")
    tls.add_argument(
        "--servername", metavar="NAME", help="name to verify in the certificate (default: HOST)"
    )
    tls.add_argument("--insecure", action="store_true", help="accept any certificate")


def main(options: argparse.Namespace) -> int:
    """Run it."""
    try:
        place = _place(options.address)
        if not options.tls and (options.ca or options.servername or options.insecure):
            raise ArgumentTypeError("--ca, --servername and --insecure require --tls")
    except ArgumentTypeError as error:
        fail("connect", str(error))
        return 2
    try:
        socket = _connect_tls(place, options) if options.tls else net.connect(**place)
    except OSError as error:
        return fail("connect", f"{options.ca}: {error.strerror or text_of(error)}")
    except Error as error:
        return fail("connect", error)
    connection = Connection(socket, options.tls, options.line or options.crlf)
    connection.newline = b"\r\n" if options.crlf else b"\n"
    connection.keep_open = options.keep_open
    run()
    if connection.error is None and not connection.output_closed and connection.has_left_input():
        connection.error = "the server ended the connection before all of stdin was sent"
    if connection.error is not None:
        return fail("connect", connection.error)
    return 1 if connection.output_closed else 0


def _place(words: list[str]) -> dict[str, Any]:
    """Turn the words of the command line into keywords of connect()."""
    if len(words) > 2:
        raise ArgumentTypeError(f"too many arguments: {' '.join(words[2:])}")
    if len(words) == 2:
        if not words[0]:
            raise ArgumentTypeError(f"the host is empty: use 'pyuvnet connect {LOCAL} {words[1]}'")
        return {"host": words[0], "port": port_number(words[1])}
    (text,) = words
    if is_path(text):
        return {"path": text}
    host, colon, port = text.rpartition(":")
    meant = f"{host.strip('[]') or LOCAL} {port}" if colon and port.isdecimal() else "HOST PORT"
    raise ArgumentTypeError(
        f"{text!r} is not an existing path: use 'pyuvnet connect {meant}', or ./{text} for a path"
    )


def _connect_tls(place: dict[str, Any], options: argparse.Namespace) -> Socket:
    from .. import tls

    keywords: dict[str, Any] = {"reject_unauthorized": not options.insecure}
    if options.ca:
        keywords["ca"] = Path(options.ca)
    if options.servername:
        keywords["servername"] = options.servername
    return tls.connect(**place, **keywords)


class Connection:
    """A socket between stdin and stdout.

    Args:
        socket: what is connecting.
        tls: whether it can be used at 'secureConnect' only.
        by_line: pass on whole lines.
    """

    newline = b"\n"
    keep_open = False
    output_closed = False
    # Bytes that were read from stdin, and those that the socket took.
    read_bytes = taken_bytes = 0
    # Whether the thread that reads waits for room.
    waiting = False
    reader: threading.Thread | None = None
    error: BaseException | str | None = None

    def __init__(self, socket: Socket, tls: bool, by_line: bool) -> None:
        self.socket = socket
        self.by_line = by_line
        # The part of a line that has been read so far.
        self.rest = bytearray()
        # Taken for each chunk of stdin, and given back when the socket has room for the next one.
        self.room = threading.Semaphore()
        self.loop = current_loop()
        if by_line:
            socket.set_framing(framing.Lines(limit=LONGEST_LINE))
        socket.on("secureConnect" if tls else "connect", self.begin)
        socket.on("data", self.received)
        socket.on("drain", self.room.release)
        socket.on("error", self.failed)

    def begin(self) -> None:
        """Read stdin in a thread: a terminal or a file would block the loop."""
        if sys.stdin is None:
            self.send(b"", None)
        else:
            stdin = sys.stdin.fileno()
            self.reader = threading.Thread(target=self.read, args=(stdin,), daemon=True)
            self.reader.start()

    def read(self, stdin: int) -> None:
        """Pass on what is read, until there is no more; this runs in the thread."""
        data = b"?"
        while data:
            self.waiting = True
            self.room.acquire()
            self.waiting = False
            failure = None
            try:
                data = os.read(stdin, CHUNK)
            except BlockingIOError:
                # Another process that shares it has made it non-blocking.
                select.select([stdin], [], [])
                self.room.release()
                continue
            except OSError as error:
                data, failure = b"", error
            self.read_bytes += len(data)
            # The connection, and with it the loop, may be over.
            with contextlib.suppress(StateError):
                self.loop.call_soon_threadsafe(self.send, data, failure)

    def send(self, data: bytes, failure: OSError | None) -> None:
        """Send a chunk of stdin; its end is empty."""
        if failure is not None:
            self.error = f"stdin: {failure.strerror}"
        if not self.socket.writable:
            return
        self.taken_bytes += len(data)
        chunk = self.whole_lines(data) if self.by_line else data
        room = self.socket.write(chunk) if chunk else True
        if data:
            if room:
                self.room.release()
        elif not self.keep_open:
            self.socket.end()

    def has_left_input(self) -> bool:
        """Whether there is more on stdin, at the end, which is not typed."""
        if self.reader is None or sys.stdin is None or os.isatty(stdin := sys.stdin.fileno()):
            return False
        # The thread may be reading just now: let it finish.
        self.reader.join(0 if self.waiting else MOMENT)
        if self.read_bytes > self.taken_bytes:
            return True
        try:
            readable = self.waiting and select.select([stdin], [], [], MOMENT)[0]
            return bool(readable and os.read(stdin, 1))
        except OSError:
            # Windows selects sockets only.
            return False

    def whole_lines(self, data: bytes) -> bytes:
        """Return the lines that end in a chunk; at the end of stdin, what is left."""
        if data and b"\n" not in data:
            self.rest += data
            return b""
        whole, newline, rest = data.rpartition(b"\n")
        whole = bytes(self.rest) + whole + newline
        self.rest = bytearray(rest)
        if whole and not newline:
            whole += b"\n"
        return whole.replace(b"\r\n", b"\n").replace(b"\n", self.newline)

    def received(self, data: bytes) -> None:
        """Print what arrived. Where stdout is slow this blocks, which slows the server down."""
        if sys.stdout is None:
            self.error = "stdout is closed"
            self.socket.destroy()
            return
        stdout = sys.stdout.fileno()
        left = memoryview(data + b"\n" if self.by_line else data)
        while left:
            try:
                left = left[os.write(stdout, left) :]
            except BlockingIOError:
                select.select([], [stdout], [])
            except OSError as error:
                # `pyuvnet connect ... | head -1` is not worth a message.
                self.output_closed = isinstance(error, BrokenPipeError)
                if not self.output_closed:
                    self.error = f"stdout: {error.strerror}"
                self.socket.destroy()
                return

    def failed(self, error: BaseException) -> None:
        """'error' of the socket."""
        self.error = error
        # Instead of the notes about options of functions, which the user did not call.
        if getattr(error, "verify_code", None) is not None:
            error.__notes__ = [
                "--ca FILE trusts the certificates in FILE; --insecure accepts every certificate."
            ]
        elif getattr(error, "reason", None) in ("WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE"):
            error.__notes__ = ["The server does not seem to use TLS on this port."]
