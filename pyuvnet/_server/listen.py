"""What listen() was asked for: its forms, sorted and checked before anything changes.

May import what names the kinds of handles, and nothing that opens one.
"""

from __future__ import annotations

import os
import sys

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.hints import hint, hint_tuple
from .._base.option_table import option_set
from .._core.bound import BoundBase
from .._core.server_base import ServerBase
from .._core.socket_methods import SocketMethods
from .._options.kernel import feature_unavailable, kernel_options
from .._options.paths import check_one_place, check_place, is_path, path_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..abort import AbortSignal

LISTEN_OPTIONS = option_set("listen")
DEFAULT_BACKLOG = 511
# Set in a worker of a cluster: ask(server, plan, address, port, address_type) gets the handle from
# the primary, and then calls server._listen_shared() or _listen_refused(). None: it is our own.
ask_primary: Callable[[Any, ListenPlan, Any, int | None, int | None], object] | None = None
_NEITHER = 'must have the property "port" or "path"'
_NO_PLACE = "listen() needs a port, a path, or something with a descriptor"
_ABSTRACT = (
    "can not set readableAll or writableAllt to true when path is abstract unix socket"  # Node's
)


class ListenPlan:
    """One call of listen(): exactly one of handle, fd, path and port says where.

    Args:
        args, keywords, callback: as listen() was called.

    Raises: what listen() raises for its arguments.
    """

    handle: BoundBase | ServerBase | SocketMethods | None = None
    fd: int | None = None
    path: Any = None
    name: bytes = b""
    mode: int = -1
    group: int = -1
    unlink_stale: bool = False
    port: int = 0
    host: str | None = None
    signal: AbortSignal | None = None
    callback: Callable[[], object] | None

    def __init__(self, args: tuple[Any, ...], keywords: dict[str, Any], callback: Any) -> None:
        if args and callable(args[-1]) and not isinstance(args[-1], os.PathLike):
            callback = args[-1] if callback is None else callback
            args = args[:-1]
        elif callback is not None and not callable(callback):
            raise check.arg_type_error("callback", "function", callback)
        self.callback = callback
        self.options, shown = _options_of(args, keywords)
        options = self.options
        backlog = options.get("backlog")
        # None: the default, or, for a descriptor that listens already, what it has.
        self.backlog = check.validate_int32(backlog, "options.backlog") if backlog else None
        self.ipv6_only = options.get("ipv6_only") is True
        self.reuse_port = options.get("reuse_port") is True
        # Node: who shares a port by itself does not by the primary.
        self.exclusive = bool(options.get("exclusive")) or self.reuse_port
        self.readable_all = options.get("readable_all") is True
        self.writable_all = options.get("writable_all") is True
        self._take_file(options)
        # The order of these decisions is Node's: what comes first hides the faults of the others.
        if options.get("handle") is None or not self._take_handle(options["handle"]):
            self.signal = check.validate_abort_signal(options.get("signal"), "options.signal")
            if self.fd is None:
                self.fd = _descriptor(options.get("fd"))
            if self.fd is None:
                self._take_address(shown)
        self.kernel = kernel_options(options, self.path is None)
        if self.path is None:
            for name in ("mode", "group", "unlink_stale"):
                if options.get(name) is not None and options[name] is not False:
                    raise check.arg_value_error(
                        f"options.{name}", options[name], "has no effect without a path"
                    )

    def _take_file(self, options: dict[str, Any]) -> None:
        """What the file of a path is to be like, and the options of the kernel."""
        mode, group = options.get("mode"), options.get("group")
        if mode is not None:
            self.mode = check.validate_integer(mode, "options.mode", 0, 0o777)
            if self.readable_all or self.writable_all:
                raise check.arg_value_error(
                    "options.mode",
                    mode,
                    "cannot be used with readableAll or writableAll",
                    "mode excludes readable_all and writable_all",
                )
        if group is not None:
            self.group = _group_number(group)
        if sys.platform == "win32" and (mode is not None or group is not None):
            raise feature_unavailable("mode" if mode is not None else "group")
        stale = options.get("unlink_stale")
        if stale is not None:
            self.unlink_stale = check.validate_boolean(stale, "options.unlink_stale")

    def _take_handle(self, value: Any) -> bool:
        """A handle or what has one; False if it only names a descriptor."""
        if isinstance(value, BoundBase):
            value._check_open()
            self.handle = value
        elif isinstance(value, (ServerBase, SocketMethods)) and _has_handle(value):
            self.handle = value
        else:
            named = value.get("fd") if check.is_mapping(value) else getattr(value, "fd", None)
            self.fd = _descriptor(named)
            if self.fd is None:
                raise _no_place(value)
            return False
        return True

    def _take_address(self, shown: Any) -> None:
        options = self.options
        port, path = options.get("port"), options.get("path")
        empty = isinstance(path, (str, bytes)) and not path
        if port is None and "port" in options and empty:
            path = None
        if port is None and path is None:
            # listen(host=...) leaves the port to its default; a mapping has to say it.
            wrong = any(options.get(name) is not None for name in ("fd", "handle"))
            if "port" not in options and (wrong or check.is_mapping(shown)):
                raise check.arg_value_error("options", self._shown(shown), _NEITHER, _NO_PLACE)
        elif path is not None and not self._is_port(port):
            if not isinstance(path, (str, bytes, os.PathLike)) or empty:
                python = "path must be str, bytes or os.PathLike, and not empty"
                raise check.arg_value_error("options", self._shown(shown), python=python)
            self.name = path_bytes(path, "options.path")
            if self.name[:1] == b"\0" and (
                self.readable_all or self.writable_all or self.mode >= 0 or self.group >= 0
            ):
                python = "readable_all, writable_all, mode and group need a path that is a file"
                raise check.arg_value_error("options", self._shown(shown), _ABSTRACT, python)
            self.path = path
            return
        elif not self._is_port(port):
            python = "port must be int or str"
            raise check.arg_value_error("options", self._shown(shown), python=python)
        else:
            self.port = check.validate_port(port, "options.port")
        host = options.get("host")
        if host is not None:
            host = check.validate_string(host, "hostname")
            if "\0" in host:
                raise check.arg_value_error("hostname", host, "must be a string without null bytes")
            self.host = host or None

    @staticmethod
    def _is_port(value: Any) -> bool:
        """Whether a value is judged as a port at all."""
        return isinstance(value, str) or check.as_number(value) is not None

    def _shown(self, given: Any) -> Any:
        """The options for the text of an error: the caller's own mapping, if there is one."""
        return given if check.is_mapping(given) else LISTEN_OPTIONS.as_node(self.options)


def _no_place(value: Any) -> Exception:
    """The error for a first argument that says nowhere to listen."""
    error = check.arg_value_error("options", value, _NEITHER, _NO_PLACE)
    hint_tuple(error, "listen", value)
    if callable(value):
        hint(
            error,
            "The port comes first. What listens for connections is passed to create_server(), or "
            "to promises.listen() as connection_listener.",
        )
    return error


def _group_number(group: Any) -> int:
    """The number of a group. Raises: ArgTypeError, ArgValueError."""
    if isinstance(group, str):
        try:
            import grp

            return grp.getgrnam(group).gr_gid
        except (ImportError, KeyError, ValueError):
            raise check.arg_value_error("options.group", group, "must be a group here") from None
    if check.as_number(group) is None:
        raise check.arg_type_error("options.group", ["string", "number"], group)
    return check.validate_integer(group, "options.group", 0, 2**32 - 2)


def _has_handle(value: ServerBase | SocketMethods) -> bool:
    value._check()
    if isinstance(value, ServerBase):
        return value.listening
    return value.connecting or not value.pending


def _descriptor(value: Any) -> int | None:
    """The descriptor that a value names, -1 for a number that none can be; None if it is none."""
    number = check.as_number(value)
    if number is None or not number >= 0:
        return None
    return int(number) if isinstance(number, int) or number.is_integer() else -1


def _options_of(args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The options by their canonical names, and the mapping that they came from, or None."""
    first = args[0] if args else None
    if check.is_mapping(first):
        return LISTEN_OPTIONS.read(first, keywords), None if keywords else first
    positional: dict[str, Any] = {}
    if is_path(first):
        check_place("listen", args, keywords.get("port"))
        positional["path"] = first
    elif first is None or isinstance(first, (bool, str)) or check.as_number(first) is not None:
        positional["port"] = first
    elif callable(first) and not hasattr(first, "fd"):
        raise _no_place(first)
    else:
        positional["handle"] = first
    if "port" in positional:
        rest = list(args[1:])
        # listen(port, backlog) is Node's form without host.
        if rest and isinstance(rest[0], int) and not isinstance(rest[0], bool):
            rest.insert(0, None)
        if rest and rest[0] is not None:
            positional["host"] = rest[0]
        if len(rest) > 1:
            positional["backlog"] = rest[1]
        if first is None and not args:
            del positional["port"]
    else:
        backlogs = [value for value in args[1:3] if value is not None]
        if backlogs:
            positional["backlog"] = backlogs[0]
    given = LISTEN_OPTIONS.read(None, keywords)
    # None is the same as not given.
    named = {key: value for key, value in given.items() if value is not None or key == "port"}
    if named.get("port", 0) is None and "port" in positional:
        del named["port"]
    options = positional | named
    # None as the port is what listen() has without arguments.
    check_one_place(options)
    return options, None
