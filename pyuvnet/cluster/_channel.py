"""Channel: messages between the primary and one worker, with or without a handle.

Owns: the connection, and the descriptors that have come and belong to no message yet. A frame is a
header and a payload. A descriptor goes with the first byte of its frame; the header says which one
it is, since the kernel drops one for which the receiver has no number left, and the next frame must
not get it then. What comes is not trusted: bytes that are no frames, and messages of ours that are
not as the table has them, end the channel, and nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
from struct import Struct

from .._aio.run import next_tick
from .._base import TYPE_CHECKING
from .._base import validation as check
from .._core.passing import send_descriptor
from .._server.passing import close_all
from ..errors import ArgTypeError, ArgValueError, StateError
from ..socket import Socket
from ._messages import name_of, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from ._messages import _Table

    Sent = Callable[[BaseException | None], object]

# Length of the payload; INTERNAL, or how a message of the program's is written; whether a
# descriptor goes with it, and its inode.
_HEADER = Struct("!IBBQ")
INTERNAL = 0
JSON = 1
ADVANCED = 2
MOST_BYTES = 1 << 28  # of a payload
_MOST_DESCRIPTORS = 256  # that wait for their frames
_SEPARATORS = (",", ":")


def encode(message: Any, advanced: bool) -> tuple[int, bytes]:
    """Return the kind and the payload of a message of the program's.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), ArgValueError (ERR_INVALID_ARG_VALUE), and with
        `advanced` whatever pickling it raises.
    """
    if advanced:
        payload = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    else:
        try:
            text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=_SEPARATORS)
        except TypeError as error:
            raise ArgTypeError(
                f"The message cannot be written as JSON: {error}", "ERR_INVALID_ARG_TYPE"
            ) from None
        except (ValueError, RecursionError) as error:
            raise ArgValueError(
                f"The message cannot be written as JSON: {error}", "ERR_INVALID_ARG_VALUE"
            ) from None
        payload = text.encode("utf-8", "surrogatepass")
    if len(payload) > MOST_BYTES:
        raise check.range_error("message", f"<= {MOST_BYTES} bytes", len(payload))
    return (ADVANCED if advanced else JSON), payload


def _no_json(constant: str) -> NoReturn:
    raise ValueError(constant)


# NaN and the infinities are not JSON, and no sender writes them.
_DECODER = json.JSONDecoder(parse_constant=_no_json)


def _decode(kind: int, payload: bytes) -> Any:
    if kind == ADVANCED:
        return pickle.loads(payload)
    return _DECODER.decode(payload.decode("utf-8", "surrogatepass"))


def closed_error() -> StateError:
    """The error of sending when the channel is closed."""
    return StateError("Channel closed", "ERR_IPC_CHANNEL_CLOSED")


class Channel:
    """One end of a channel.

    Args:
        fd: the connection, which is the channel's.
        peer: what the log calls the other end.
        advanced: whether messages of the program are pickled, both ways.
        incoming, outgoing: the tables of our messages.
        on_message: called with a message of the program's and a descriptor or None, which is the
            callee's.
        on_internal: the same for one of ours, a dict that was checked.
        on_close: called once, when nothing more can come or go.
    """

    def __init__(
        self,
        fd: int,
        peer: str,
        advanced: bool,
        incoming: _Table,
        outgoing: _Table,
        on_message: Callable[[Any, int | None], object],
        on_internal: Callable[[dict[str, Any], int | None], object],
        on_close: Callable[[], object],
    ) -> None:
        self.advanced = advanced
        self.connected = True
        # Whether the program knows that it is closed: it has closed it, or was told.
        self.known_closed = False
        self._peer = peer
        self._incoming, self._outgoing = incoming, outgoing
        self._on_message, self._on_internal, self._on_close = on_message, on_internal, on_close
        self._kept = bytearray()
        self._waiting: list[int] = []
        self._socket = socket = Socket(fd=fd, handles=True)
        socket._take_descriptors = self._descriptors
        socket.on("data", self._data)
        socket.on("error", lambda error: None)
        socket.on("close", self._closed)

    @property
    def open(self) -> bool:
        """Whether anything can be sent: neither end has closed it, as far as is known."""
        socket = self._socket
        return self.connected and socket.writable and not socket.readable_ended

    def fileno(self) -> int:
        """The descriptor of the connection."""
        return self._socket.fileno()

    # ---- Sending -------------------------------------------------------------------------------

    def send_frame(self, kind: int, payload: bytes, fd: int | None, callback: Sent | None) -> bool:
        """Send a frame, and a descriptor, which is taken over; returns what write() does."""
        if fd is None:
            header = _HEADER.pack(len(payload), kind, 0, 0)
            return self._socket.write(header + payload, callback)
        # What was sent before leaves first, and may find that the other end has gone.
        self.flush()
        if not self.open:
            close_all([fd])
            if callback is not None:
                next_tick(callback, closed_error())
            return False
        header = _HEADER.pack(len(payload), kind, 1, os.fstat(fd).st_ino)
        return send_descriptor(self._socket, fd, header + payload, callback)

    def send_internal(
        self, message: dict[str, Any], fd: int | None = None, callback: Sent | None = None
    ) -> bool:
        """Send a message of ours, and a descriptor, which is taken over.

        Returns False if the channel is closed; then nothing was sent, and there is no callback.
        """
        assert name_of(message) in self._outgoing, message
        if not self.open:
            close_all([] if fd is None else [fd])
            return False
        payload = json.dumps(message, separators=_SEPARATORS).encode()
        self.send_frame(INTERNAL, payload, fd, callback)
        return True

    def flush(self) -> bool:
        """Have the kernel take what was sent in this callback; returns whether it took all."""
        # Reading the length does that.
        return self._socket.writable_length == 0 and self.open

    # ---- Receiving -----------------------------------------------------------------------------

    def _descriptors(self, descriptors: list[int], data: bytes) -> None:
        if not self.connected:
            # The program does not read any more. The other end may not know yet.
            close_all(descriptors)
            return
        self._waiting += descriptors
        if len(self._waiting) > _MOST_DESCRIPTORS:
            self._broken("has sent too many descriptors without a message")
            return
        self._data(data)

    def _data(self, data: bytes) -> None:
        if not self.connected:
            return
        kept = self._kept
        kept += data
        at = 0
        try:
            while len(kept) - at >= _HEADER.size:
                length, kind, handles, inode = _HEADER.unpack_from(kept, at)
                if length > MOST_BYTES or kind > ADVANCED or handles > 1:
                    self._broken("has sent an invalid message")
                    return
                begin = at + _HEADER.size
                if len(kept) < begin + length:
                    break
                at = begin + length
                fd = self._take(inode) if handles else None
                if not self._message(kind, bytes(kept[begin:at]), fd):
                    return
        finally:
            # Ctrl-C may raise anywhere in here, and no message may come twice.
            del kept[:at]

    def _take(self, inode: int) -> int | None:
        """The descriptor of a frame; None if it did not arrive."""
        for index, fd in enumerate(self._waiting):
            if os.fstat(fd).st_ino == inode:
                # Those before it belong to nothing.
                close_all(self._waiting[:index])
                del self._waiting[: index + 1]
                return fd
        return None

    def _message(self, kind: int, payload: bytes, fd: int | None) -> bool:
        """Hand a message out in a tick; returns False if the channel is broken."""
        if kind == ADVANCED and not self.advanced:
            # Unpickling what a stranger sends would run it.
            close_all([] if fd is None else [fd])
            self._broken("has sent an invalid message")
            return False
        try:
            message = _decode(kind, payload)
            if kind == INTERNAL:
                message = read(self._incoming, message)
        except Exception as error:
            close_all([] if fd is None else [fd])
            if kind == ADVANCED:
                logging.getLogger("pyuvnet").warning(
                    "a message of %s cannot be unpickled: %r", self._peer, error
                )
                return True
            self._broken("has sent an invalid message")
            return False
        if kind == INTERNAL and message is None:
            # Of another version.
            close_all([] if fd is None else [fd])
            return True
        next_tick(self._on_internal if kind == INTERNAL else self._on_message, message, fd)
        return True

    # ---- The end -------------------------------------------------------------------------------

    def _broken(self, why: str) -> None:
        """Close the channel, because of what the other end has done."""
        logging.getLogger("pyuvnet").warning("%s %s: its channel is closed", self._peer, why)
        self._socket.destroy()

    def disconnect(self) -> None:
        """Send what is left and close; what still arrives is ignored."""
        if not self.connected:
            return
        self.connected = False
        self.known_closed = True
        next_tick(self._over)
        socket = self._socket
        # The other end may not read.
        socket.set_timeout(1000, socket.destroy)
        socket.end(socket.destroy)
        socket.resume()

    def destroy(self) -> None:
        """Close at once."""
        self._socket.destroy()

    def leave(self) -> None:
        """Close at the end of the program, so that no warning names what was left open."""
        try:  # noqa: SIM105
            self._socket.destroy()
        except StateError:
            pass  # The loop is closed, or another thread's.

    def _closed(self, had_error: bool) -> None:
        close_all(self._waiting)
        self._waiting.clear()
        self._kept.clear()
        if self.connected:
            self.connected = False
            # After the messages that have come before.
            next_tick(self._over)

    def _over(self) -> None:
        self.known_closed = True
        on_close, self._on_close = self._on_close, lambda: None
        on_close()

    def ref(self) -> None:
        """Let the channel keep the loop alive."""
        self._socket.ref()

    def unref(self) -> None:
        """Do not let the channel keep the loop alive."""
        self._socket.unref()
