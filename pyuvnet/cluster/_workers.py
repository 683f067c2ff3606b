"""Worker: what the two ends of a worker have in common, in the primary and in the worker itself."""

from __future__ import annotations

from .._aio.run import next_tick
from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.info import Info
from .._core.names import add_node_names
from .._server.passing import close_all, destroy_unused, open_handle
from ..events import EventEmitter
from ..socket import Socket, take_descriptor
from ._channel import Channel, closed_error, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self

    from ..server import Server
    from ._process import WorkerProcess


class Worker(EventEmitter):
    """A worker: each of `cluster.workers` in the primary, `cluster.worker` in a worker.

    Attributes:
        id: int, from 1 on, never used twice.
        process: WorkerProcess, with pid, kill(), connected, disconnect(), exit_code and
            signal_code.

    Events: 'online', 'listening' (address), 'message' (message, handle), 'disconnect', 'exit'
        (code, signal), 'error' (error). Only the primary emits 'online',
        'listening' and 'exit'.

    Node: cluster.Worker
    """

    id: int
    process: WorkerProcess
    _left: bool | None = None
    _channel: Channel

    @property
    def exited_after_disconnect(self) -> bool | None:
        """True after disconnect(), and after kill() in the worker; False if it ended otherwise.

        None before.

        Node: worker.exitedAfterDisconnect
        """
        return self._left

    def send(
        self,
        message: Any,
        handle: Socket | Server | Callable[..., object] | None = None,
        options: Mapping[str, Any] | Callable[..., object] | None = None,
        callback: Callable[[BaseException | None], object] | None = None,
        *,
        keep_open: bool = False,
    ) -> bool:
        """Send a message to the other end, with or without a socket or server.

        Args:
            message: str, number, bool, None, or a list or dict of these; with the serialization
                'advanced', whatever can be pickled.
            handle: Socket of which nothing was read and nothing is buffered or queued, or Server
                that listens: it arrives as the second argument of 'message'. The socket is closed
                here; if it is sent again, the message goes without it.
            options: mapping with keep_open, as Node has it.
            callback: callable(error or None), once the message is with the kernel.
            keep_open: bool, default False: leave the socket open here too.

        Returns: bool, False if much is queued, or if the channel is closed.
        Events: 'error' (ERR_IPC_CHANNEL_CLOSED) without a callback, after 'disconnect' or
            disconnect(). A message that the other end closes the channel on is lost.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_INVALID_HANDLE_TYPE), ArgValueError
            (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE) of more than 256 MiB, StateError
            (ERR_INVALID_STATE, ERR_SOCKET_CLOSED) if the handle cannot be sent; OSError (syscall
            'dup'). Nothing has changed then.

        Node: worker.send()
        """
        if callable(handle) and not _is_handle(handle):
            handle, callback = None, handle
        elif callable(options):
            options, callback = None, options
        if options is not None:
            if not check.is_mapping(options):
                raise check.arg_type_error("options", "Object", options)
            assert not callable(options)
            keep_open = keep_open or bool(options.get("keep_open", options.get("keepOpen")))
        if callback is not None:
            check.validate_function(callback, "callback")
        kind, payload = encode(message, self._channel.advanced)
        if not self._channel.open:
            self._refuse(callback)
            return False
        if isinstance(handle, Socket) and handle._was_sent:
            # Node: the message goes without it.
            handle = None
        fd = None if handle is None else take_descriptor(handle, keep_open)
        return self._channel.send_frame(kind, payload, fd, callback)

    def _refuse(self, callback: Callable[[BaseException | None], object] | None) -> None:
        if callback is not None:
            next_tick(callback, closed_error())
        elif self._channel.known_closed:
            next_tick(self.emit, "error", closed_error())
        # Else the other end has just closed it: what is sent is lost, as if it were under way.

    def _received(self, message: Any, fd: int | None) -> None:
        """A message of the program's has come."""
        if fd is None:
            self._emit_message(message, None)
        elif self._listens_to_messages():
            handle = open_handle(fd)
            try:
                self._emit_message(message, handle)
            except BaseException:
                if handle is not None:
                    destroy_unused(handle)
                raise
        else:
            close_all([fd])

    def _listens_to_messages(self) -> bool:
        return self.listener_count("message") > 0

    def _emit_message(self, message: Any, handle: Any) -> None:
        self.emit("message", message, handle)

    def is_connected(self) -> bool:
        """Return whether the channel between primary and worker is open.

        Node: worker.isConnected()
        """
        return self._channel.open

    def is_dead(self) -> bool:
        """Return whether the worker's process has ended. Node: worker.isDead()"""
        return self.process.returncode is not None

    def disconnect(self) -> Self:
        """Close the servers of the worker, wait for them, and close the channel.

        Connections continue, and each server's 'close' waits for its own. Then the worker exits as
        soon as it has nothing left to do.

        Returns the worker. Events: 'disconnect'.

        Node: worker.disconnect()
        """
        raise NotImplementedError

    def kill(self, signal: str | int = "SIGTERM") -> None:
        """End the worker: in the primary with a signal; in the worker, disconnect and exit.

        Args:
            signal: name or number, default 'SIGTERM'.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_SIGNAL).

        Node: worker.kill()
        """
        raise NotImplementedError

    def destroy(self, signal: str | int = "SIGTERM") -> None:
        """The same as kill(). Node: worker.destroy()"""
        self.kill(signal)

    def __repr__(self) -> str:
        return f"<Worker {self.id} pid={self.process.pid}>"


def _is_handle(value: object) -> bool:
    return hasattr(value, "fileno")


def address_info(message: Mapping[str, Any]) -> Info:
    """The address of 'listening' out of a message of ours."""
    return Info(
        address_type=message.get("address_type"),
        address=message.get("address"),
        port=message.get("port"),
        fd=message.get("fd"),
    )


add_node_names(Worker)
