"""The errors and warnings of pyuvnet.

Owns every public exception class, which users have from `pyuvnet.errors`; imports nothing of ours.
System errors are not here: they are plain `OSError` subclasses, built where libuv reports them.

Node throws TypeError and RangeError. Each class below also derives from the built-in exception
which a Python programmer would expect in its place, so that both `except pyuvnet.Error` and
`except ValueError` catch it.
"""

from __future__ import annotations

# The C module and not `socket`: the latter costs more to import than the rest of this package.
import _socket

from . import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from typing import Any

__all__ = [
    "AbortError",
    "AbortTimeoutError",
    "AddressError",
    "AggregateError",
    "ArgTypeError",
    "ArgValueError",
    "ClosedError",
    "ConnectTimeoutError",
    "DeadlineError",
    "Error",
    "FrameError",
    "IncompleteReadError",
    "KeepAliveWarning",
    "MaxListenersExceededWarning",
    "RangeError",
    "ResolveError",
    "StateError",
    "SystemCallError",
    "TimeoutOverflowWarning",
]


class Error(Exception):
    """The base of all errors of pyuvnet that do not come from the operating system.

    Args:
        message: Node's text; also `str(error)`, except for AggregateError.
        code: Node's code, such as `'ERR_INVALID_ARG_TYPE'`.

    Attributes:
        errno: None, so that an 'error' listener can read it from any error.
        syscall: None, like errno.
        address: None, like errno.
        port: None, like errno.
        reason: None, like errno; of a TLSError, OpenSSL's reason.

    Node: errors.Error, error.code
    """

    code: str | None
    message: str
    # What a listener of 'error' may look at, since most errors there are the system's.
    errno: int | None = None
    syscall: str | None = None
    address: str | None = None
    port: int | None = None
    reason: Any = None

    def __init__(self, message: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    @property
    def name(self) -> str:
        """Node's class name for such an error. Node: error.name"""
        return "Error"

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        code = "" if self.code is None else f", code={self.code!r}"
        return f"{type(self).__name__}({self.message!r}{code})"


class ArgTypeError(Error, TypeError):
    """An argument has the wrong type, is missing or is unknown.

    Node: TypeError [ERR_INVALID_ARG_TYPE], [ERR_MISSING_ARGS], [ERR_UNKNOWN_ENCODING]
    """

    @property
    def name(self) -> str:
        """Node's class name for such an error. Node: error.name"""
        return "TypeError"


class SettingError(Error, AttributeError):  # type: ignore[misc]
    """An option was assigned as an attribute, where it would have no effect. Node: none"""


class ArgValueError(Error, ValueError, TypeError):
    """An argument has the right type but an unusable value.

    It is also a `TypeError`, because Node throws one.

    Node: TypeError [ERR_INVALID_ARG_VALUE]
    """

    @property
    def name(self) -> str:
        """Node's class name for such an error. Node: error.name"""
        return "TypeError"


class RangeError(Error, ValueError):
    """A number is out of range.

    Node: RangeError [ERR_OUT_OF_RANGE], [ERR_SOCKET_BAD_PORT], [ERR_INVALID_ADDRESS_FAMILY]
    """

    @property
    def name(self) -> str:
        """Node's class name for such an error. Node: error.name"""
        return "RangeError"


class AddressError(Error, ValueError):
    """A string is not an IP address of the requested family.

    Node: Error [ERR_INVALID_ADDRESS]
    """


class StateError(Error, RuntimeError):
    """The object's state does not allow this operation.

    Node: Error [ERR_SERVER_NOT_RUNNING], [ERR_STREAM_WRITE_AFTER_END], [ERR_INVALID_STATE]
    """


class ClosedError(StateError, ConnectionError):
    """The stream or connection is closed: the peer disconnected, or it was destroyed here.

    It is also a `ConnectionError`, so that one `except ConnectionError` is enough for all input and
    output in a coroutine. A mistake of the program, such as a write after its own end(), is a plain
    `StateError`.

    Node: Error [ERR_STREAM_DESTROYED], [ERR_STREAM_PREMATURE_CLOSE], [ERR_SOCKET_CLOSED],
    [ERR_SOCKET_CLOSED_BEFORE_CONNECTION]
    """

    # OSError picks its arguments apart in __new__ when there are two of them, which would take the
    # message for an errno.
    def __new__(cls, message: str = "", code: str | None = None) -> ClosedError:
        return ConnectionError.__new__(cls, message)


class FrameError(StateError):
    """A stream received data that its framing does not accept.

    The code is ERR_FRAME_TOO_LONG (over the limit), ERR_FRAME_INCOMPLETE (the stream ended inside a
    frame) or ERR_FRAME_INVALID (a prefix is not a valid length).

    Node: none
    """


class IncompleteReadError(Error, EOFError):
    """The stream ended before a reader got what it was waiting for.

    Args:
        partial: the bytes that had arrived.
        expected: how many bytes it was waiting for; None if unknown.

    Node: none (asyncio.IncompleteReadError)
    """

    partial: bytes
    expected: int | None

    def __init__(self, partial: bytes = b"", expected: int | None = None) -> None:
        wanted = "" if expected is None else f" of {expected}"
        super().__init__(
            f"The stream ended after {len(partial)}{wanted} bytes", "ERR_FRAME_INCOMPLETE"
        )
        self.partial = partial
        self.expected = expected

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.partial, self.expected), self.__dict__.copy()


class ConnectTimeoutError(Error, TimeoutError):
    """No address of a host could be connected to in time.

    Node: Error [ERR_SOCKET_CONNECTION_TIMEOUT]
    """

    # For the reason that ClosedError has one.
    def __new__(cls, message: str = "", code: str | None = None) -> ConnectTimeoutError:
        return super().__new__(cls, message)


class DeadlineError(StateError, TimeoutError):
    """A deadline of a socket has passed, and the socket was destroyed.

    The code is that of the deadline: ERR_SOCKET_IDLE, ERR_FIRST_BYTE_TIMEOUT, ERR_WRITE_TIMEOUT,
    ERR_MAX_LIFETIME, ERR_DEADLINE or ERR_TOO_SLOW.

    Node: none
    """

    # For the reason that ClosedError has one.
    def __new__(cls, message: str = "", code: str | None = None) -> DeadlineError:
        return TimeoutError.__new__(cls, message)


class AbortError(Error):
    """The operation was aborted by a signal.

    Args:
        message: the text.
        cause: the signal's reason; kept as `cause`, and as `__cause__` if it is an exception.

    Node: AbortError [ABORT_ERR], error.cause
    """

    cause: Any

    def __init__(self, message: str = "The operation was aborted", cause: Any = None) -> None:
        super().__init__(message, "ABORT_ERR")
        self.cause = cause
        if isinstance(cause, BaseException):
            self.__cause__ = cause

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor again, since the default way loses __cause__.
        return type(self), (self.message, self.cause), self.__dict__.copy()

    @property
    def name(self) -> str:
        """Node's class name for such an error. Node: error.name"""
        return "AbortError"


class AbortTimeoutError(Error, TimeoutError):
    """The time of `AbortSignal.timeout()` has passed: the reason of such a signal.

    Not an `AbortError`: Node tells the two apart by name too. An aborted operation raises an
    `AbortError` with this one as its `cause`. Node's code is the number of `TIMEOUT_ERR`, 23.

    Node: DOMException [TimeoutError]
    """

    # For the reason that ClosedError has one.
    def __new__(cls, message: str = "", code: str | None = None) -> AbortTimeoutError:
        return super().__new__(cls, message)

    def __init__(
        self,
        message: str = "The operation was aborted due to timeout",
        code: str | None = "TIMEOUT_ERR",
    ) -> None:
        super().__init__(message, code)

    @property
    def name(self) -> str:
        """Node's class name for such an error. Node: error.name"""
        return "TimeoutError"


class AggregateError(Error):
    """Every address that was tried failed.

    Its `message` is empty, as in Node; `str(error)` contains the texts of all errors.
    It is not an `ExceptionGroup`, because handlers written for a single error must keep working;
    `as_group()` returns one.

    Args:
        errors: the errors, in the order of the attempts; `code` is that of the first.

    Node: AggregateError, error.errors
    """

    errors: list[Exception]

    def __init__(self, errors: Iterable[Exception] = ()) -> None:
        self.errors = list(errors)
        super().__init__("", getattr(self.errors[0], "code", None) if self.errors else None)

    def __str__(self) -> str:
        return "; ".join(map(str, self.errors))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,), self.__dict__.copy()

    @property
    def name(self) -> str:
        """Node's class name for such an error. Node: error.name"""
        return "AggregateError"

    @property
    def exceptions(self) -> tuple[Exception, ...]:
        """The errors as a tuple, as an `ExceptionGroup` calls them. Node: none"""
        return tuple(self.errors)

    def as_group(self) -> ExceptionGroup[Exception]:
        """Return the errors as an `ExceptionGroup`, for `except*`.

        Raises:
            ValueError: there are no errors.

        Node: none
        """
        return ExceptionGroup("all connection attempts failed", self.errors)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.errors!r})"


class SystemCallError(OSError):
    """The base of all errors that the operating system reports.

    Each is also an instance of Python's class for its errno: one with the code
    `'ECONNREFUSED'` is a `ConnectionRefusedError`. Attributes that do not apply are None.

    Attributes:
        code: Node's code, such as `'ECONNREFUSED'`.
        message: Node's text, which is `str(error)`.
        name: The name of the class which Node uses, 'Error'.
        syscall: The call that failed, such as `'connect'`.
        address: The address or path that it was called with.
        port: The port that it was called with.
        dest: Always None.
        hostname: The name that was looked up.
        host: The host that was connected to, of a TLS handshake that the peer has cut off.
        path: The path that was connected to, likewise.
        local_address: The local address, of a connection attempt that failed.
        local_port: The local port, of a connection attempt that failed.
        reason: OpenSSL's reason, which only a TLSError has.

    Node: error.code, error.syscall
    """

    code: str
    message: str
    name: str = "Error"
    syscall: str | None = None
    address: str | None = None
    port: int | None = None
    dest: str | None = None
    hostname: str | None = None
    host: str | None = None
    path: str | bytes | PathLike[str] | None = None
    local_address: str | None = None
    localAddress: str | None = None
    local_port: int | None = None
    localPort: int | None = None
    # Any, as a listener of 'error' may get an error with one, and this class stands for all.
    reason: Any = None


class ResolveError(SystemCallError, _socket.gaierror):
    """A name could not be resolved.

    Args:
        errno: the `EAI_*` value of the `socket` module.
        message: Node's text, `getaddrinfo ENOTFOUND host`; also `str(error)`.
        code: Node's code: `'ENOTFOUND'`, `'EAI_AGAIN'`, ...
        hostname: the name that was looked up.
        syscall: the call that failed.

    Node: error.code, error.hostname, error.syscall
    """

    # OSError picks its arguments apart in __new__; it may see the first two only, for a third one
    # would be a file name.
    def __new__(
        cls,
        errno: int | None = None,
        message: str = "",
        code: str | None = None,
        hostname: str | None = None,
        syscall: str | None = "getaddrinfo",
    ) -> ResolveError:
        return super().__new__(cls, errno, message)

    def __init__(
        self,
        errno: int | None = None,
        message: str = "",
        code: str | None = None,
        hostname: str | None = None,
        syscall: str | None = "getaddrinfo",
    ) -> None:
        super().__init__(errno, message)
        self.message = message
        self.code = code  # type: ignore[assignment]
        self.hostname = hostname
        self.syscall = syscall

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.errno!r}, {self.message!r}, code={self.code!r})"


class MaxListenersExceededWarning(RuntimeWarning):
    """Many listeners were added for one event, which may indicate a leak.

    Node: MaxListenersExceededWarning
    """


class TimeoutOverflowWarning(RuntimeWarning):
    """A duration does not fit into 32 bits, so another one is used.

    Node: TimeoutOverflowWarning
    """


class KeepAliveWarning(RuntimeWarning):
    """A keep-alive duration is below one second, and is therefore truncated to 0.

    Node: KeepAliveWarning
    """


# Users see the public module: in tracebacks, and in pickles, which outlive the layout of a package.
for _name in __all__:
    globals()[_name].__module__ = "pyuvnet.errors"
del _name
