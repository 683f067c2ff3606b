"""The keyword options of the public functions, for type checkers; nothing imports this at run time.

tools/stubs.py writes them in PEP 8's spelling, from the table of options. The functions take Node's
too, which `python -m pyuvnet stubs` adds.

The facade's classes import this, so that their bases in the core stand for them here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

from .._core.blocklist import BlockList
from .._core.bound import BoundBase
from .._core.server_base import ServerBase
from .._core.socket_base import SocketBase
from ..abort import AbortSignal
from ..framing import Framing

Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Port: TypeAlias = int | str
Callback: TypeAlias = Callable[[], object]
Then: TypeAlias = Callback | None


class HasDescriptor(Protocol):
    """Anything that names a descriptor."""

    @property
    def fd(self) -> int: ...


# What listen() may be given first.
Place: TypeAlias = Port | Path | BoundBase | ServerBase | SocketBase | HasDescriptor


# Options, by tools/stubs.py


class SocketOptions(TypedDict, total=False):
    """Of Socket()."""

    allow_half_open: bool | None
    readable: bool | None
    writable: bool | None
    high_water_mark: int | None
    readable_high_water_mark: int | None
    writable_high_water_mark: int | None
    no_delay: bool | None
    keep_alive: bool | None
    keep_alive_initial_delay: float | None
    type_of_service: int | None
    block_list: BlockList | None
    max_write_buffer: int | None
    on_full: Literal["destroy", "refuse"] | None
    read_budget: int | None
    handles: bool | None
    fd: int | None
    handle: BoundBase | None
    onread: Mapping[str, Any] | None
    signal: AbortSignal | None
    encoding: str | None
    default_encoding: str | None
    capture_rejections: bool | None
    object_mode: Literal[False] | None
    readable_object_mode: Literal[False] | None
    writable_object_mode: Literal[False] | None
    framing: Framing | None


class ConnectOptions(SocketOptions, total=False):
    """Of Socket.connect(), which takes those of Socket() too and ignores them."""

    port: Port | None
    host: str | None
    path: Path | None
    family: Literal[0, 4, 6, "IPv4", "IPv6"] | None
    hints: int | None
    lookup: Callable[..., Any] | None
    local_address: str | None
    local_port: Port | None
    auto_select_family: bool | None
    auto_select_family_attempt_timeout: int | None
    timeout: float | None
    user_timeout: int | None
    not_sent_low_water: int | None
    receive_buffer: int | None
    send_buffer: int | None
    congestion: str | None
    mark: int | None
    linger: int | None
    idle_timeout: float | None
    first_byte_timeout: float | None
    write_timeout: float | None
    max_lifetime: float | None
    min_read_rate: tuple[int, float] | None
    proxy_protocol: Mapping[str, Any] | None


class ServerOptions(TypedDict, total=False):
    """Of Server() and create_server()."""

    idle_timeout: float | None
    first_byte_timeout: float | None
    write_timeout: float | None
    max_lifetime: float | None
    min_read_rate: tuple[int, float] | None
    allow_half_open: bool | None
    pause_on_connect: bool | None
    no_delay: bool | None
    keep_alive: bool | None
    keep_alive_initial_delay: float | None
    high_water_mark: int | None
    block_list: BlockList | None
    max_write_buffer: int | None
    on_full: Literal["destroy", "refuse"] | None
    write_budget: int | None
    read_budget: int | None
    max_connections: float | None
    overflow: Literal["drop", "wait"] | None
    max_per_address: int | None
    on_exhausted: Literal["wait", "shed"] | None
    reserve_descriptors: int | None
    handles: bool | None
    capture_rejections: bool | None
    framing: Framing | None
    proxy_protocol: Mapping[str, Any] | None
    name: str | None


class ListenOptions(TypedDict, total=False):
    """Of Server.listen()."""

    port: Port | None
    host: str | None
    path: Path | None
    user_timeout: int | None
    not_sent_low_water: int | None
    receive_buffer: int | None
    send_buffer: int | None
    congestion: str | None
    mark: int | None
    linger: int | None
    defer_accept: int | None
    handle: Place | None
    fd: int | None
    backlog: int | None
    ipv6_only: bool | None
    reuse_port: bool | None
    readable_all: bool | None
    writable_all: bool | None
    mode: int | None
    group: str | int | None
    unlink_stale: bool | None
    signal: AbortSignal | None
    exclusive: bool | None


class BoundOptions(TypedDict, total=False):
    """Of BoundSocket()."""

    port: Port | None
    host: str | None
    path: Path | None
    ipv6_only: bool | None
    reuse_port: bool | None


class StreamOptions(TypedDict, total=False):
    """Of Readable(), Writable() and Duplex()."""

    allow_half_open: bool | None
    readable: bool | None
    writable: bool | None
    high_water_mark: int | None
    readable_high_water_mark: int | None
    writable_high_water_mark: int | None
    encoding: str | None
    default_encoding: str | None
    read: Callable[..., Any] | None
    write: Callable[..., Any] | None
    writev: Callable[..., Any] | None
    final: Callable[..., Any] | None
    destroy: Callable[..., Any] | None
    construct: Callable[..., Any] | None
    auto_destroy: bool | None
    emit_close: bool | None
    capture_rejections: bool | None
    object_mode: Literal[False] | None
    readable_object_mode: Literal[False] | None
    writable_object_mode: Literal[False] | None
    framing: Framing | None


class AddressOptions(TypedDict, total=False):
    """Of SocketAddress()."""

    address: str | None
    family: str | None
    port: Port | None
    flowlabel: int | None


# Options end


class Connecting(ConnectOptions, total=False):
    """Those of Socket.connect() and create_connection(), the callback included."""

    listener: Then


class Listening(ListenOptions, total=False):
    """Those of Server.listen(), the callback included."""

    callback: Then
