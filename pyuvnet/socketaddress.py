"""SocketAddress, which is an extension type: that makes it immutable, and quick for BlockList."""

from ._core.socketaddress import SocketAddress

__all__ = ["SocketAddress"]
