"""A service manager's sockets, which it passes in, and the state that is reported to it."""

from __future__ import annotations

import _socket
import os

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._core.errors import make_os_error
from ..errors import ArgValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_FD = 3
# The NOTIFY_SOCKET of a service manager whose main process is a successor now: with
# NotifyAccess=all, STOPPING=1 of this one would be taken for the service's, and end the successor.
_replaced: str | None = None
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


def listen_fds() -> Mapping[str, list[int]]:
    """Return the listening descriptors that a service manager has handed to this process.

    They are numbered from 3 on, as LISTEN_FDS says, if LISTEN_PID names this process. Their names
    are those of LISTEN_FDNAMES (systemd's FileDescriptorName=), or 'unknown'. The variables
    are removed, so that no child takes them for its own, and a second call finds none; for the same
    reason the descriptors are not inherited any more.

    Returns: a dict of name to list of int, in the order of the descriptors; empty if none came.
    Raises: ArgValueError (ERR_INVALID_ARG_VALUE) if a variable is malformed; OSError (syscall
        'fcntl') if a descriptor is not open.

    Node: none
    """
    given = {name: os.environ.pop(name, None) for name in _VARIABLES}
    pid, count, names = given["LISTEN_PID"], given["LISTEN_FDS"], given["LISTEN_FDNAMES"]
    if pid is None or count is None:
        return {}
    if _number("LISTEN_PID", pid) != os.getpid():
        return {}
    descriptors = range(FIRST_FD, FIRST_FD + _number("LISTEN_FDS", count))
    each = names.split(":") if names else ["unknown"] * len(descriptors)
    if len(each) != len(descriptors):
        raise _malformed(
            f"LISTEN_FDNAMES has {len(each)} names ({names!r}), but LISTEN_FDS says "
            f"{len(descriptors)}"
        )
    for fd in descriptors:
        try:
            os.set_inheritable(fd, False)
        except OSError as error:
            raise make_os_error(-(error.errno or 0), "fcntl", f"descriptor {fd}") from None
    found: dict[str, list[int]] = {}
    for name, fd in zip(each, descriptors, strict=True):
        found.setdefault(name, []).append(fd)
    return found


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _malformed(f"{name} must be a decimal number, not {text!r}")
    return int(text)


def _malformed(text: str) -> ArgValueError:
    return ArgValueError(f"The environment variable {text}", "ERR_INVALID_ARG_VALUE")


def notify(state: str) -> bool:
    """Tell the service manager about this process, as sd_notify() does.

    Args:
        state: str, such as 'READY=1', 'STOPPING=1', 'WATCHDOG=1' or 'STATUS=...'; several lines are
            several of them.

    Returns: bool, False if nothing was sent: there is no NOTIFY_SOCKET, or a handover has made
        another process the main one.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), ArgValueError (ERR_INVALID_ARG_VALUE); OSError
        (syscall 'sendto') if the service manager cannot be reached.

    Node: none
    """
    check.validate_string(state, "state")
    if "=" not in state or "\0" in state:
        raise check.arg_value_error("state", state, "must be lines of NAME=VALUE")
    path = os.environ.get("NOTIFY_SOCKET")
    if not path or path == _replaced:
        return False
    address = os.fsencode(path)
    if address[:1] == b"@":
        address = b"\0" + address[1:]
    one = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        # Its queue is hardly ever full; a service manager that hangs must not hang the program.
        one.settimeout(0.1)
        one.sendto(state.encode("utf-8", "surrogateescape"), address)
    except OSError as error:
        raise make_os_error(-(error.errno or 11), "sendto", path) from None
    finally:
        one.close()
    return True


def announce_successor(pid: int) -> None:
    """Make a process the service manager's main one, and leave what is to be said to that.

    Raises: OSError (syscall 'sendto') if the service manager cannot be reached.
    """
    global _replaced
    path = os.environ.get("NOTIFY_SOCKET")
    _replaced = None
    try:
        notify(f"MAINPID={pid}")
    finally:
        _replaced = path
