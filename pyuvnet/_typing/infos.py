"""What an Info holds, by where it comes from; for type checkers, nothing imports this at run time.

An Info answers Node's keys and PEP 8's, as items and as attributes; type checkers know the latter.
pyuvnet.typing has the same names for programs.
"""

from __future__ import annotations

from typing import Any, Literal


class AddressInfo(dict[str, Any]):
    """Of an end of a connection, or of a server."""

    address: str
    family: Literal["IPv4", "IPv6"]
    port: int


class ProxyInfo(dict[str, Any]):
    """Of what a PROXY header says."""

    version: Literal[1, 2]
    command: Literal["PROXY", "LOCAL"]
    tlvs: Any
    source_path: str | None
    destination_path: str | None
    local_address: str | None
    local_port: int | None
    local_family: Literal["IPv4", "IPv6"] | None
    remote_address: str | None
    remote_port: int | None
    remote_family: Literal["IPv4", "IPv6"] | None


class DropInfo(dict[str, Any]):
    """Of 'drop'."""

    reason: str
    detail: str
    local_address: str | None
    local_port: int | None
    local_family: Literal["IPv4", "IPv6"] | None
    remote_address: str | None
    remote_port: int | None
    remote_family: Literal["IPv4", "IPv6"] | None


class OverloadInfo(dict[str, Any]):
    """Of 'overload'."""

    scope: Literal["server", "loop"]
    limit: int | None
    queued: int | None
    destroyed: int
