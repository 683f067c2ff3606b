"""BoundSocket: binding now, and choosing later whether a server or a client uses it."""

from __future__ import annotations

import os

from ._base import TYPE_CHECKING, cast
from ._base import validation as check
from ._base.info import Info
from ._base.option_table import Settings, option_set
from ._core.address import is_ip
from ._core.bound import BoundBase
from ._core.names import add_node_names
from ._options.paths import path_bytes
from .errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self, Unpack

    from ._typing.infos import AddressInfo
    from ._typing.keywords import BoundOptions

BOUND_OPTIONS = option_set("BoundSocket")


class BoundSocket(Settings, BoundBase):
    """A local address that is bound now and used later.

    The constructor binds it. server.listen(bound) or Socket(handle=bound) adopts it, once; then
    every method raises. If it is collected without having been adopted or closed, it is closed,
    with a ResourceWarning.

    Args:
        options: a mapping of the options below; keywords win over it.
        port: int 0..65535, or numeric text, default 0: 0 lets the system choose one.
        host: literal address, default '0.0.0.0', with ipv6_only '::': names are not resolved.
        path: str, bytes or os.PathLike: a unix socket or named pipe; cannot be combined with the
            others.
        ipv6_only: bool, default False: '::' accepts no IPv4.
        reuse_port: bool, default False: several processes share the port (SO_REUSEPORT).

    Raises: OSError (syscall 'bind'), ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION),
        ArgValueError (ERR_INVALID_ARG_VALUE), RangeError (ERR_SOCKET_BAD_PORT).

    Node: net.BoundSocket
    """

    _path: Any = None

    _option_functions = ("BoundSocket",)

    def __init__(
        self, options: Mapping[str, Any] | None = None, **keywords: Unpack[BoundOptions]
    ) -> None:
        self._refuse_second_init()
        given = {
            name: value
            for name, value in BOUND_OPTIONS.read(options, cast("dict[str, Any]", keywords)).items()
            if value is not None
        }
        path = given.get("path")
        if path is not None:
            if not isinstance(path, (str, bytes, os.PathLike)):
                raise check.arg_type_error("options.path", "string", path)
            if len(given) > 1:
                raise check.arg_value_error(
                    "options",
                    BOUND_OPTIONS.as_node(given),
                    "path is mutually exclusive with host, port, ipv6Only, and reusePort",
                    "path cannot be combined with host, port, ipv6_only or reuse_port",
                )
            self._bind_pipe(path_bytes(path, "options.path"))
            self._path = path
            return
        host = given.get("host")
        if host is not None:
            host = check.validate_string(host, "options.host")
            if not is_ip(host):
                raise check.arg_value_error(
                    "options.host",
                    host,
                    "must be a numeric IP address; net.BoundSocket does not perform DNS resolution",
                )
        port = check.validate_port(given.get("port", 0), "options.port")
        ipv6_only = check.validate_boolean(given.get("ipv6_only", False), "options.ipv6Only")
        reuse_port = check.validate_boolean(given.get("reuse_port", False), "options.reusePort")
        if host is None:
            host = "::" if ipv6_only else "0.0.0.0"
        self._bind_tcp(host, port, ipv6_only, reuse_port)

    def address(self) -> AddressInfo | Any:
        """Return the bound address: a mapping (address, family, port), or an IPC path.

        Raises: StateError (ERR_SOCKET_HANDLE_ADOPTED), OSError (syscall 'getsockname').

        Node: boundSocket.address()
        """
        name = self._local_name()
        if name is None:
            return self._path
        return Info(address=name[0], family=name[2], port=name[1])

    def fd(self) -> int:
        """Return the descriptor, which this object still owns; -1 on Windows.

        Raises: StateError (ERR_SOCKET_HANDLE_ADOPTED).

        Node: boundSocket.fd()
        """
        return self._fileno()

    def close(self) -> None:
        """Release the address, and remove the file of a path.

        Raises: StateError (ERR_SOCKET_HANDLE_ADOPTED), also if it is already closed.

        Node: boundSocket.close()
        """
        self._close()

    @property
    def is_pipe(self) -> bool:
        """True if it is bound to a path. Node: boundSocket.isPipe"""
        return self._pipe

    def __enter__(self) -> Self:
        """Return it. Node: none"""
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it, unless it was adopted or closed. Node: boundSocket[Symbol.dispose]()"""
        if self._is_open():
            self._close()

    def __del__(self) -> None:
        # As of Python's sockets: a forgotten one is warned of, and nothing leaks.
        try:
            shown = repr(self)
        except Exception:
            # Collected in another thread, or in a forked child.
            shown = object.__repr__(self)
        if self._drop():
            import warnings

            warnings.warn(f"unclosed {shown}", ResourceWarning, stacklevel=1, source=self)

    def __repr__(self) -> str:
        where: Any = "adopted or closed"
        if self._is_open():
            try:
                where = self.address()
            except (OSError, StateError):
                where = "closed with its loop"
        if isinstance(where, Info):
            where = f"{where['address']}:{where['port']}"
        return f"<{type(self).__name__} {where}>"


add_node_names(BoundSocket)
